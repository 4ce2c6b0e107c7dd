//! The command line: for people and scripts.
//!
//! Data goes to standard output, progress and messages to standard error; `--json` makes both machine-readable; every flag has an
//! `ASSAY_...` twin in the environment; exit codes are those of [`Exit`]. It holds no rules: `run` starts a [`crate::runtime::Node`], the
//! other commands talk to the running one through the control API ([`crate::api`]), and `init`, `wallet`, `config` work on files.

mod answers;
mod args;
mod bonus;
mod claim;
mod client;
mod config;
mod dataset;
mod dispute;
mod export;
mod failure;
mod folder;
mod init;
mod leaves;
#[cfg(feature = "devchain")]
mod network;
mod password;
mod picture;
mod publish;
mod reputation;
mod run;
mod score;
mod stake;
mod status;
mod task;
mod text;
mod verify;
mod wallet;
mod work;

#[cfg(test)]
mod tests;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use clap::{CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
pub use client::Api;
pub use failure::{Exit, Failure};
pub use folder::Folder;
use text::Printer;

/// How long work that is still under way may take after the command has ended.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);
/// How long a demonstration that was asked to stop may take to stop its nodes.
#[cfg(feature = "devchain")]
const DEMO_EXIT_PATIENCE: Duration = Duration::from_secs(20);

/// The whole of the command line's definition. Values from the environment are not shown in its help: some name secret files.
pub fn command() -> clap::Command {
    fn hide(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|arg| arg.hide_env_values(true));
        let names: Vec<String> = command
            .get_subcommands()
            .map(|c| c.get_name().to_owned())
            .collect();
        names
            .into_iter()
            .fold(command, |command, name| command.mut_subcommand(name, hide))
    }
    let mut command = Cli::command();
    // Arguments of subcommands are put off until then.
    command.build();
    hide(command)
}

/// Parses the command line, does what it says, and turns failures into messages and exit codes.
pub fn main() -> ExitCode {
    let parsed = Cli::command()
        .try_get_matches()
        // Help and mistakes, which show the definition, come from the whole of it; a run needs its own subcommand only.
        .map_err(|error| command().try_get_matches().err().unwrap_or(error))
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" with code 0; a closed terminal cannot be told anything.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let json = cli.json;
    if let Command::Score(args) = &cli.command {
        // Pure computation on files: it needs neither threads nor a node's folder.
        return finish(score::run(args, Printer { json }), json);
    }
    log_to_stderr(&cli.command);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            text::print_failure(
                &Failure::new(
                    Exit::Failure,
                    format!("the system gives no threads: {error}"),
                ),
                json,
            );
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(cli));
    // A person may still be asked for a line on a thread of its own; the process does not wait for the answer.
    runtime.shutdown_timeout(EXIT_PATIENCE);
    finish(result, json)
}

/// Says what went wrong, if anything, and gives the exit code.
fn finish(result: Result<(), Failure>, json: bool) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            text::print_failure(&failure, json);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Logs go to standard error; `ASSAY_LOG` chooses (like `debug` or `assay_node=debug,libp2p=warn`).
fn log_to_stderr(command: &Command) {
    let long_running = match command {
        Command::Run(_) => true,
        #[cfg(feature = "devchain")]
        Command::Devnet(_) => true,
        _ => false,
    };
    let usual = if long_running {
        "warn,assay_node=info,libp2p_kad=error"
    } else {
        "warn,libp2p_kad=error"
    };
    let filter = match std::env::var("ASSAY_LOG") {
        Ok(wanted) if !wanted.is_empty() => {
            EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new(usual))
        }
        _ => EnvFilter::new(usual),
    };
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let colour = !plain && std::io::stderr().is_terminal();
    // A second subscriber in one process (tests) keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .try_init();
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let printer = Printer { json: cli.json };
    let folder = Folder::find(cli.data_dir)?;
    match &cli.command {
        Command::Init(args) => init::run(&folder, args, printer),
        Command::Config(args) => status::config(&folder, &args.what, printer),
        Command::Version => status::version(printer),
        Command::Score(args) => score::run(args, printer),
        // These end in order when they are told to.
        Command::Run(args) => run::run(&folder, args, printer).await,
        #[cfg(feature = "devchain")]
        Command::Devnet(args) => network::devnet(&folder, args, printer).await,
        #[cfg(feature = "devchain")]
        Command::Demo(args) => {
            let patience = if args.keep_running {
                DEMO_EXIT_PATIENCE
            } else {
                Duration::ZERO
            };
            interruptible(network::demo(args, printer), patience).await
        }
        #[cfg(feature = "devchain")]
        Command::Replay(args) => {
            interruptible(network::replay(args, printer), Duration::ZERO).await
        }
        Command::Publish(args) => {
            interruptible(publish::run(&folder, args, printer), Duration::ZERO).await
        }
        Command::Task(args) => {
            interruptible(task::run(&folder, &args.what, printer), Duration::ZERO).await
        }
        Command::Work(args) => {
            interruptible(work::run(&folder, args, printer), Duration::ZERO).await
        }
        Command::Export(args) => {
            interruptible(export::run(&folder, args, printer), Duration::ZERO).await
        }
        Command::Claim(args) => {
            interruptible(claim::run(&folder, args, printer), Duration::ZERO).await
        }
        Command::Dispute(args) => {
            let run = dispute::run(&folder, args.what.as_ref(), printer);
            interruptible(run, Duration::ZERO).await
        }
        Command::Bonus(args) => {
            interruptible(bonus::run(&folder, &args.what, printer), Duration::ZERO).await
        }
        Command::Dataset(args) => {
            interruptible(dataset::run(&folder, &args.what, printer), Duration::ZERO).await
        }
        Command::Reputation(args) => {
            interruptible(
                reputation::run(&folder, &args.what, printer),
                Duration::ZERO,
            )
            .await
        }
        Command::Stake(args) => {
            interruptible(stake::run(&folder, &args.what, printer), Duration::ZERO).await
        }
        Command::Wallet(args) => {
            interruptible(wallet::run(&folder, args, printer), Duration::ZERO).await
        }
        Command::Verify(args) => interruptible(verify::run(args, printer), Duration::ZERO).await,
        Command::Status => interruptible(status::status(&folder, printer), Duration::ZERO).await,
    }
}

/// Does `work` until it is done or interrupted; interrupted work may take `patience` to end by itself.
async fn interruptible(
    work: impl Future<Output = Result<(), Failure>>,
    patience: Duration,
) -> Result<(), Failure> {
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        signal = tokio::signal::ctrl_c() => signal?,
    }
    match tokio::time::timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
}
