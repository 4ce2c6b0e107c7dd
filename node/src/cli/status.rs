//! `assay status`, `config` and `version`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    args::ConfigCommand,
    client::Api,
    config,
    failure::{Exit, Failure},
    folder::{self, Folder},
    text::{self, Printer},
};
use crate::api::model::StatusView;

/// Shows the running node.
///
/// # Errors
/// No running node.
pub async fn status(folder: &Folder, printer: Printer) -> Result<(), Failure> {
    let status: StatusView = Api::open(folder)?.get("/v1/status").await?;
    if printer.json {
        printer.data(&status)
    } else {
        printer.line(&describe(&status, now()))
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|d| d.as_secs())
        .unwrap_or_default()
}

fn describe(s: &StatusView, now: u64) -> String {
    let decimals = s.network.token_decimals;
    let tokens = |a: assay_protocol::amount::Amount| a.to_decimal(decimals);
    let value = if s.network.dev {
        ", development network, no value"
    } else {
        ""
    };
    let nodes = s.peers.iter().filter(|p| p.node).count();
    let mut lines = vec![
        format!(
            "node      {} (version {}, up {}, pid {})",
            s.node.peer_id,
            s.version,
            text::secs(s.node.uptime_secs),
            s.node.pid
        ),
        format!(
            "network   {} on chain {}{value}",
            s.network.name, s.network.chain_id
        ),
        format!(
            "listen    {}",
            if s.node.listen.is_empty() {
                "-".to_owned()
            } else {
                s.node.listen.join(" ")
            }
        ),
        format!(
            "peers     {} connected, {nodes} of them nodes",
            s.peers.len()
        ),
    ];
    let behind = if s.chain.block_time == 0 {
        "nothing seen yet".to_owned()
    } else {
        format!(
            "{} old, {} blocks behind the endpoint",
            text::secs(now.saturating_sub(s.chain.block_time)),
            s.chain.lag_blocks
        )
    };
    lines.push(format!("chain     block {} ({behind})", s.chain.followed));
    if let Some(error) = &s.chain.error {
        lines.push(format!("          the endpoint cannot be asked: {error}"));
    }
    for l in &s.lanes {
        let committee = match (l.committee, l.member) {
            (0, _) => "no committee yet".to_owned(),
            (n, true) => format!(
                "committee of {n}, quorum {}, this node is a member",
                l.threshold
            ),
            (n, false) => format!("committee of {n}, quorum {}", l.threshold),
        };
        lines.push(format!(
            "lane {:<4} epoch {}, {} tasks, {committee}",
            l.lane, l.epoch, l.tasks
        ));
    }
    if let Some(a) = &s.account {
        let roles = if a.roles.is_empty() {
            "none".to_owned()
        } else {
            a.roles.join(", ")
        };
        lines.push(format!(
            "account   0x{} (registration: {})",
            a.account, a.registration
        ));
        lines.push(format!(
            "          roles {roles}; stake {} tokens, lost {}",
            tokens(a.stake),
            tokens(a.lost)
        ));
        let held = match (&a.tokens, &a.native_wei) {
            (Some(t), Some(wei)) => format!("{} tokens, {wei} wei", tokens(*t)),
            _ => "unknown".to_owned(),
        };
        let due = a
            .paid
            .and_then(|paid| a.owed.checked_sub(paid))
            .map_or_else(|| "unknown".to_owned(), tokens);
        lines.push(format!("balance   {held}"));
        lines.push(format!(
            "pay       to 0x{}: {} tokens in total, {due} to claim",
            a.payee,
            tokens(a.owed)
        ));
    }
    for d in &s.deliveries {
        let refusal = d
            .last_refusal
            .as_deref()
            .map(|r| format!("; last refusal: {}", text::cell(r)))
            .unwrap_or_default();
        lines.push(format!(
            "sending   {} for task {}: {} of {} receipts{refusal}",
            d.kind,
            d.task.short(),
            d.receipts,
            d.threshold
        ));
    }
    lines.join("\n")
}

/// Reads or changes settings.
///
/// # Errors
/// Missing or wrong settings.
pub fn config(folder: &Folder, what: &ConfigCommand, printer: Printer) -> Result<(), Failure> {
    let path = folder.config_path();
    match what {
        ConfigCommand::Path if printer.json => printer.data(&serde_json::json!({ "path": path })),
        ConfigCommand::Path => printer.line(&path.display().to_string()),
        ConfigCommand::Show => {
            let config = folder.config()?;
            if printer.json {
                printer.data(&config.all())
            } else {
                printer.line(config.to_toml().trim_end())
            }
        }
        ConfigCommand::Get { name } => {
            let value = folder.config()?.get(name)?;
            if printer.json {
                printer.data(&value)
            } else {
                printer.line(&value)
            }
        }
        ConfigCommand::Set { name, value } => {
            let new = folder.config()?.with(name, value)?;
            new.resolve(&folder.profile(&new)?)?;
            let text = std::fs::read_to_string(&path)
                .map_err(|e| Failure::file(Exit::Config, "read", &path, &e))?;
            folder::replace(&path, 0o600, &config::change_line(&text, name, &new))?;
            printer.say("changed; it takes effect when the node starts again");
            if printer.json {
                printer.data(&new.all())
            } else {
                Ok(())
            }
        }
    }
}

/// Shows the version.
///
/// # Errors
/// When standard output is closed.
pub fn version(printer: Printer) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let devchain = cfg!(feature = "devchain");
    if printer.json {
        return printer.data(&serde_json::json!({ "version": version, "devchain": devchain }));
    }
    printer.line(&format!(
        "assay {version}{}",
        if devchain {
            ""
        } else {
            " (without development networks)"
        }
    ))
}
