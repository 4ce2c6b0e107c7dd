//! `assay devnet`, `demo` and `replay`: whole networks in one process, for looking, testing and local work.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{
    args::{DemoArgs, DevnetArgs, ReplayArgs},
    failure::{Exit, Failure},
    folder::{self, Folder},
    text::Printer,
};
use crate::{
    demo::{self, DemoOptions, ReplayOptions},
    devnet::{Devnet, DevnetConfig, DevnetError},
};

/// Runs a development network until a signal ends it.
///
/// # Errors
/// A port or folder that cannot be had.
pub async fn devnet(folder: &Folder, args: &DevnetArgs, printer: Printer) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let dir = folder.path().join("devnet");
    folder::make_private_folder(&dir)?;
    // The same network goes on after a restart, so its seed stays.
    let seed_path = dir.join("seed");
    if !seed_path.exists() {
        folder::write_new(
            &seed_path,
            0o600,
            &format!("{}\n", hex::encode(folder::random()?)),
        )
        .map_err(|e| Failure::file(Exit::Failure, "write", &seed_path, &e))?;
    }
    let devnet = Devnet::start(DevnetConfig {
        dir: dir.clone(),
        chain_port: args.port,
        bootstrap_port: args.bootstrap_port,
        block_interval: Duration::from_millis(args.block_ms),
        validators_min: args.validators_min,
        seed: folder::read_key(&seed_path)?,
    })
    .await
    .map_err(|error| {
        let exit = match &error {
            DevnetError::Chain(_) => Exit::Chain,
            DevnetError::Bootstrap(_) => Exit::Network,
            DevnetError::File { .. } => Exit::Data,
            DevnetError::DevChain(_) => Exit::Failure,
        };
        Failure::new(
            exit,
            format!("the development network does not start: {error}"),
        )
        .next(format!(
            "choose another --port, or start a fresh network by removing {}",
            dir.display()
        ))
    })?;
    announce(&devnet, args, printer)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    printer.say("stopping; the chain is kept and goes on at the next start");
    devnet.shutdown().await;
    Ok(())
}

fn announce(devnet: &Devnet, args: &DevnetArgs, printer: Printer) -> Result<(), Failure> {
    let profile = devnet.profile();
    let path = devnet.profile_path();
    if printer.json {
        return printer.data(&serde_json::json!({
            "event": "ready", "profile": path, "rpc": profile.rpc, "bootstrap": profile.bootstrap,
            "chain_id": profile.chain_id, "value": false,
        }));
    }
    printer.line(&format!(
        "development chain, no value: {}",
        profile.rpc.join(" ")
    ))?;
    printer.line(&format!("profile: {}", path.display()))?;
    let file = path.display();
    printer.say(&format!(
        "\nNext, in other terminals. {} validators make the committee:",
        args.validators_min
    ));
    for n in 1..=args.validators_min {
        printer.say(&format!("  assay --data-dir v{n} init --profile {file} --role validator && assay --data-dir v{n} run"));
    }
    printer.say("a client and labelers:");
    printer.say(&format!(
        "  assay --data-dir c init --profile {file} --role client && assay --data-dir c run"
    ));
    printer.say(&format!(
        "  assay --data-dir l1 init --profile {file} --role labeler && assay --data-dir l1 run"
    ));
    printer.say("and with those running:");
    printer.say("  assay --data-dir c publish ITEMS.csv --title TITLE --labels a,b --price 0.01 --licence CC0-1.0 --enrol 2m --wait");
    printer.say("  assay --data-dir l1 work");
    printer.say("\nCtrl-C stops the chain.");
    Ok(())
}

fn held(broken: &[String], what: &str) -> Result<(), Failure> {
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failure,
        format!("{what}: did not hold: {}", broken.join("; ")),
    ))
}

/// Runs the demonstration.
///
/// # Errors
/// When a check did not hold, or it did not run at all.
pub async fn demo(args: &DemoArgs, printer: Printer) -> Result<(), Failure> {
    let options = DemoOptions {
        seed: args.seed,
        labelers: args.labelers,
        items: args.items,
        keep_running: args.keep_running,
        json: printer.json,
    };
    let broken = demo::run(options)
        .await
        .map_err(|e| Failure::new(Exit::Failure, format!("{e:#}")))?;
    held(&broken, "demonstration")
}

/// Replays recorded answers.
///
/// # Errors
/// As [`demo`].
pub async fn replay(args: &ReplayArgs, printer: Printer) -> Result<(), Failure> {
    let options = ReplayOptions {
        labels: args.labels.clone(),
        truth: args.truth.clone(),
        json: printer.json,
        seed: args.seed,
    };
    let broken = demo::replay(options)
        .await
        .map_err(|e| Failure::new(Exit::Failure, format!("{e:#}")))?;
    held(&broken, "replay")
}
