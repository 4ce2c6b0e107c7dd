//! `assay run`: the node in the foreground, its control API, and the registration of its account in the background.

use std::{fs, time::Duration};

use assay_protocol::{
    amount::Amount,
    crypto::NodeKeypair,
    id::{Account, Hash},
    network::NetworkProfile,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    args::RunArgs,
    config::Resolved,
    failure::{Exit, Failure},
    folder::{self, Folder},
    password::Passwords,
    text::Printer,
};
use crate::{
    api::{ApiConfig, ApiServer},
    chain::{self, ChainError},
    net::PeerKey,
    runtime::{Node, NodeConfig},
};

/// Time between two tries to register while something is missing.
const RETRY: Duration = Duration::from_secs(2);
/// The same when the contract or the balance stands against it.
const RETRY_REFUSED: Duration = Duration::from_secs(15);
/// Time between two looks for the final registration.
const LOOK_FINAL: Duration = Duration::from_millis(500);
/// Native currency below which a development node asks the chain for more, in wei.
const DEV_WEI_MIN: u128 = 100_000_000_000_000_000;
/// Native currency that a development node gives itself, in wei.
const DEV_WEI: u128 = 10_000_000_000_000_000_000;
/// Whole tokens beyond the stake that a development node gives itself.
const DEV_TOKENS: u128 = 100_000;

/// Runs the node until a signal, a request through the API, or a failure ends it.
///
/// # Errors
/// Wrong settings, a data directory or port that cannot be had, a node that stopped by itself.
pub async fn run(folder: &Folder, args: &RunArgs, printer: Printer) -> Result<(), Failure> {
    let mut config = folder.config()?;
    if !args.listen.is_empty() {
        config.listen.clone_from(&args.listen);
    }
    let profile = folder.profile(&config)?;
    let settings = config.resolve(&profile)?;
    let keys = folder.keys(&Passwords::new(&args.password))?;
    let account = keys.evm.account();
    let poll = match config.poll_ms {
        0 if profile.dev => chain::POLL_DEV,
        0 => chain::POLL,
        ms => Duration::from_millis(ms),
    };
    // Before anything is announced: whoever waits for the ready line may signal right after it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let node = Node::start(NodeConfig {
        data_dir: folder.store_path(),
        profile: profile.clone(),
        node: keys.node.clone(),
        evm: Some(keys.evm),
        listen: settings.listen.clone(),
        poll,
    })
    .await?;
    let (registration, progress) = watch::channel("waiting for the chain".to_owned());
    let api_port = args.api_port.unwrap_or(config.api_port);
    let api = match ApiServer::start(
        node.clone(),
        ApiConfig {
            port: api_port,
            registration: progress,
        },
    )
    .await
    {
        Ok(api) => api,
        Err(error) => {
            node.shutdown().await;
            return Err(error.into());
        }
    };
    let registering = tokio::spawn(register(
        node.clone(),
        keys.node,
        settings.clone(),
        account,
        profile,
        registration,
    ));
    let served = serve(
        folder,
        &node,
        &api,
        account,
        printer,
        &mut terminate,
        &mut interrupt,
    )
    .await;

    registering.abort();
    // A file that is gone already is what is wanted.
    let _ = fs::remove_file(folder.access_path());
    api.shutdown().await;
    node.shutdown().await;
    served
}

async fn serve(
    folder: &Folder,
    node: &Node,
    api: &ApiServer,
    account: Account,
    printer: Printer,
    terminate: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) -> Result<(), Failure> {
    let access = serde_json::to_string(api.access()).map_err(std::io::Error::from)?;
    folder::replace(&folder.access_path(), 0o600, &access)?;
    ready(node, api, account, printer)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = api.stop_asked() => {}
        reason = node.wait() => {
            let reason = reason.unwrap_or_else(|| "it was told to".to_owned());
            return Err(Failure::new(Exit::Failure, format!("the node has stopped: {reason}"))
                .next("remove the cause, then start it again; everything it promised is kept"));
        }
    }
    printer.say("stopping");
    Ok(())
}

fn ready(node: &Node, api: &ApiServer, account: Account, printer: Printer) -> Result<(), Failure> {
    let peer_id = PeerKey(node.key().0).to_string();
    let listen: Vec<String> = node
        .net()
        .listen_addrs()
        .iter()
        .map(ToString::to_string)
        .collect();
    let profile = &node.config().profile;
    if printer.json {
        return printer.data(&serde_json::json!({
            "event": "ready", "network": profile.name, "peer_id": peer_id, "listen": listen,
            "api": api.access().url, "account": format!("0x{account}"),
        }));
    }
    let value = if profile.dev {
        " (development network, no value)"
    } else {
        ""
    };
    printer.line(&format!(
        "ready: network {}{value}, account 0x{account}, peer {peer_id}, listening on {}, control API {}",
        profile.name,
        if listen.is_empty() { "nothing".to_owned() } else { listen.join(" ") },
        api.access().url
    ))
}

/// What a try to register found.
enum Step {
    Done(String),
    Wait(String, Duration),
}

/// Registers the account, trying again while something is missing. The node works meanwhile.
async fn register(
    node: Node,
    keys: NodeKeypair,
    settings: Resolved,
    account: Account,
    profile: NetworkProfile,
    progress: watch::Sender<String>,
) {
    let mut last = String::new();
    loop {
        let (text, wait) = match attempt(&node, &keys, &settings, account, &profile).await {
            Step::Done(text) => (text, None),
            Step::Wait(text, wait) => (text, Some(wait)),
        };
        if text != last {
            tracing::info!("registration: {text}");
            last.clone_from(&text);
            progress.send_replace(text);
        }
        match wait {
            None => return,
            Some(wait) => tokio::time::sleep(wait).await,
        }
    }
}

async fn attempt(
    node: &Node,
    keys: &NodeKeypair,
    settings: &Resolved,
    account: Account,
    profile: &NetworkProfile,
) -> Step {
    let me = node.key();
    let known = node
        .with_core(move |core| core.live(0).and_then(|l| l.accounts.get(&account).cloned()))
        .await;
    if let Ok(Some(known)) = known
        && known.node_key == me
    {
        // The core keeps accounts that have left, and lags behind after a start; the registry knows.
        match node.chain().stake(account).await {
            Ok(stake) if stake.ready_at.is_some() => {
                return Step::Done(
                    "leaving; `assay stake show` says when the stake can be withdrawn".to_owned(),
                );
            }
            Ok(stake) if stake.registered && stake.roles == settings.roles => {
                return Step::Done("registered".to_owned());
            }
            Ok(stake) if stake.registered => {
                return Step::Done("registered, but with other roles than the settings name; roles change only by withdrawing the stake".to_owned());
            }
            Ok(_) => {}
            Err(error) => return Step::Wait(format!("waiting for the chain: {error}"), RETRY),
        }
    }
    if settings.roles == 0 {
        return Step::Done("not wanted: the settings name no role".to_owned());
    }
    let balances = match node.chain().balances(account).await {
        Ok(balances) => balances,
        Err(error) => return Step::Wait(format!("waiting for the chain: {error}"), RETRY),
    };
    let poor = balances.native < DEV_WEI_MIN || balances.token < settings.stake;
    if profile.dev
        && poor
        && let Err(error) = fund(profile, account, settings.stake).await
    {
        return Step::Wait(format!("waiting for play money: {error}"), RETRY);
    }
    let payee = settings.payee.unwrap_or(account);
    // This version has no private items, so there is no sealing key to name yet.
    match node
        .chain()
        .register(settings.roles, settings.stake, keys, Hash::ZERO, payee)
        .await
    {
        Ok(()) => Step::Wait(
            "in a block; waiting until it is final".to_owned(),
            LOOK_FINAL,
        ),
        Err(error @ (ChainError::Rpc(_) | ChainError::Pending { .. })) => {
            Step::Wait(format!("waiting for the chain: {error}"), RETRY)
        }
        Err(ChainError::Stopped(why)) => {
            Step::Done(format!("impossible: the chain client has stopped: {why}"))
        }
        Err(error) => {
            let (decimals, stake) = (profile.params.token_decimals, settings.stake);
            let text = format!(
                "refused: {error} (account 0x{account} holds {} tokens and {} wei; the stake is {})",
                balances.token.to_decimal(decimals),
                balances.native,
                stake.to_decimal(decimals)
            );
            Step::Wait(text, RETRY_REFUSED)
        }
    }
}

/// Play money of a development chain.
async fn fund(profile: &NetworkProfile, account: Account, stake: Amount) -> Result<(), ChainError> {
    let rpc = profile
        .rpc
        .first()
        .ok_or_else(|| ChainError::Config("the profile names no RPC address".to_owned()))?;
    let unit = 10u128
        .checked_pow(u32::from(profile.params.token_decimals))
        .unwrap_or(1);
    let extra = Amount(DEV_TOKENS.saturating_mul(unit));
    let tokens = stake.checked_add(extra).unwrap_or(stake);
    chain::dev_fund(rpc, profile.contracts.token, account, DEV_WEI, tokens).await
}
