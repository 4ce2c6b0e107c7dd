//! `assay stake`: the account's stake, through the running node, whose outbox survives a crash.

use std::time::Duration;

use assay_protocol::amount::Amount;

use super::{
    args::StakeCommand,
    client::Api,
    failure::{Exit, Failure},
    folder::Folder,
    text::{self, Printer},
};
use crate::api::model::{StakeAdd, StakeDone, StakeView};

/// Shows or changes the stake.
///
/// # Errors
/// No running node, an amount that is none, a contract that refuses.
pub async fn run(folder: &Folder, what: &StakeCommand, printer: Printer) -> Result<(), Failure> {
    let decimals = folder.profile(&folder.config()?)?.params.token_decimals;
    let api = Api::open(folder)?;
    let nothing = serde_json::json!({});
    let (done, said, already): (StakeDone, _, _) = match what {
        StakeCommand::Show => {
            let view: StakeView = api.get("/v1/stake").await?;
            return if printer.json {
                printer.data(&view)
            } else {
                printer.line(&describe(&view, decimals))
            };
        }
        StakeCommand::Add { amount } => {
            let amount = Amount::parse_decimal(amount, decimals)
                .map_err(|why| Failure::new(Exit::Usage, format!("AMOUNT: {why}")))?;
            (
                api.post("/v1/stake/add", &StakeAdd { amount }).await?,
                "added to the stake",
                "the stake is that high already",
            )
        }
        StakeCommand::Unbond => (
            api.post("/v1/stake/unbond", &nothing).await?,
            "leaving: the roles end, and the stake waits for its time",
            "the account is leaving already",
        ),
        StakeCommand::Withdraw => (
            api.post("/v1/stake/withdraw", &nothing).await?,
            "left: what is not lost of the stake is back in the account; while `roles` in the settings is not empty, the node registers \
             again when it is started",
            "the stake was withdrawn already",
        ),
    };
    if printer.json {
        return printer.data(&done);
    }
    match done.tx {
        Some(tx) => printer.line(&format!(
            "{said} (transaction 0x{tx}, {} gas)",
            done.gas_used
        ))?,
        None => printer.say(already),
    }
    printer.line(&describe(&done.now, decimals))
}

fn describe(view: &StakeView, decimals: u8) -> String {
    let tokens = |a: Amount| a.to_decimal(decimals);
    let roles = if view.roles.is_empty() {
        "none".to_owned()
    } else {
        view.roles.join(", ")
    };
    let mut lines = vec![format!("account   0x{}", view.account)];
    if view.registered {
        lines.push(format!("roles     {roles}"));
        lines.push(format!(
            "stake     {} tokens (least for these roles: {})",
            tokens(view.stake),
            tokens(view.minimum)
        ));
    } else {
        lines.push("roles     none: the account is not registered".to_owned());
    }
    let leaving = match view.ready_at {
        None => format!(
            "no; after `assay stake unbond` the stake waits {}",
            text::secs(view.unbond_secs)
        ),
        Some(_) if view.serving => {
            "yes; it sits in a committee, and can withdraw when that was replaced and its time is over".to_owned()
        }
        Some(at) if at <= view.chain_time => "yes; `assay stake withdraw` takes the stake home".to_owned(),
        Some(at) => format!(
            "yes; the stake can be withdrawn in {} (Unix time {at})",
            text::secs(Duration::from_secs(at - view.chain_time).as_secs())
        ),
    };
    if view.registered {
        lines.push(format!("leaving   {leaving}"));
    }
    if view.burned.0 > 0 {
        lines.push(format!("lost      {} tokens so far", tokens(view.burned)));
    }
    if view.banned {
        lines.push(
            "banned    it signed a header with a proven fault and can never register again"
                .to_owned(),
        );
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use assay_protocol::id::Account;

    use super::*;

    #[test]
    fn every_stage_of_a_stake_says_what_comes_next() {
        let view = StakeView {
            account: Account([1; 20]),
            registered: true,
            roles: vec!["labeler".into()],
            stake: Amount(12_500_000),
            minimum: Amount(10_000_000),
            ready_at: None,
            serving: false,
            unbond_secs: 3_600,
            banned: false,
            burned: Amount::ZERO,
            chain_time: 1_000,
        };
        let said = |view: &StakeView| describe(view, 6);
        assert!(said(&view).contains("12.5 tokens (least for these roles: 10)"));
        assert!(said(&view).contains("waits 1h"));
        let at = |ready_at, serving| StakeView {
            ready_at: Some(ready_at),
            serving,
            ..view.clone()
        };
        assert!(said(&at(1_090, false)).contains("in 1m 30s (Unix time 1090)"));
        assert!(said(&at(1_000, false)).contains("assay stake withdraw"));
        assert!(said(&at(1_000, true)).contains("sits in a committee"));
        let gone = StakeView {
            registered: false,
            burned: Amount(1),
            banned: true,
            ..view
        };
        assert!(said(&gone).contains("not registered") && said(&gone).contains("0.000001"));
        assert!(said(&gone).contains("never register again"));
    }
}
