//! `assay bonus`: partner tokens beside a task's main reward, through the running node, whose outbox survives a crash.

use super::{
    args::BonusCommand,
    claim,
    client::Api,
    failure::{Exit, Failure},
    folder::Folder,
    text::{self, Printer, cell},
};
use crate::api::model::{
    BonusView, PayInDone, PayInOrder, ShareLine, ShareOrder, SharesDone, TillLine,
};

/// Locks, shows or collects a bonus.
///
/// # Errors
/// No running node, an unknown task, an amount that is none, a contract that refuses.
pub async fn run(folder: &Folder, what: &BonusCommand, printer: Printer) -> Result<(), Failure> {
    let api = Api::open(folder)?;
    match what {
        BonusCommand::Lock {
            task,
            amount,
            token,
        } => {
            let task = api.task_id(task).await?;
            let order = PayInOrder {
                token: *token,
                amount: amount.clone(),
                version: None,
            };
            let done: PayInDone = api.post(&format!("/v1/bonus/{task}/lock"), &order).await?;
            paid_in(&done, "locked", printer)
        }
        BonusCommand::Show { task } => {
            let task = api.task_id(task).await?;
            let view: BonusView = api.get(&format!("/v1/bonus/{task}")).await?;
            if printer.json {
                return printer.data(&view);
            }
            printer.line(&describe(&view))
        }
        BonusCommand::Claim {
            task,
            token,
            everyone,
        } => {
            let task = api.task_id(task).await?;
            let payee = if *everyone {
                None
            } else {
                Some(claim::own_payee(&api).await?)
            };
            let order = ShareOrder {
                token: *token,
                payee,
                version: None,
            };
            let done: SharesDone = api.post(&format!("/v1/bonus/{task}/claim"), &order).await?;
            paid_out(&done, printer)
        }
    }
}

/// Says what arrived in a till.
pub(super) fn paid_in(done: &PayInDone, verb: &str, printer: Printer) -> Result<(), Failure> {
    if printer.json {
        return printer.data(done);
    }
    printer.line(&format!(
        "{verb} {} {} (transaction 0x{}, {} gas)",
        done.received.to_decimal(done.decimals),
        cell(&done.symbol),
        done.tx,
        done.gas_used
    ))
}

/// Says who was paid from a till.
pub(super) fn paid_out(done: &SharesDone, printer: Printer) -> Result<(), Failure> {
    if printer.json {
        printer.data(done)?;
    } else {
        if let Some(tx) = done.recorded {
            printer.line(&format!(
                "recorded how the bonus is shared (transaction 0x{tx})"
            ))?;
        }
        for line in &done.paid {
            printer.line(&paid(line))?;
        }
        if done.paid.is_empty() && done.failed.is_none() {
            printer.say("nothing is due to whom was asked for");
        }
    }
    match &done.failed {
        Some(body) => {
            Err(Failure::new(Exit::Chain, body.error.clone()).next(body.what_next.clone()))
        }
        None => Ok(()),
    }
}

fn paid(line: &ShareLine) -> String {
    format!(
        "paid {} {} to 0x{} (transaction 0x{}, {} gas)",
        line.amount.to_decimal(line.decimals),
        cell(&line.symbol),
        line.payee,
        line.tx,
        line.gas_used
    )
}

/// A table of a till's tokens.
pub(super) fn tokens(lines: &[TillLine]) -> String {
    let mut table = text::table(["TOKEN", "ADDRESS", "ARRIVED", "PAID OUT"]);
    for line in lines {
        table.add_row([
            cell(&line.symbol),
            format!("0x{}", line.token),
            line.income.to_decimal(line.decimals),
            line.paid.to_decimal(line.decimals),
        ]);
    }
    table.trim_fmt()
}

fn describe(view: &BonusView) -> String {
    if !view.locked {
        return "no bonus was locked for this task".to_owned();
    }
    let shared = match (view.recorded, view.refund_at) {
        (true, _) => "how it is shared is recorded: `assay bonus claim` collects".to_owned(),
        (false, None) => {
            "how it is shared follows when the task is settled; then `assay bonus claim`".to_owned()
        }
        (false, Some(at)) => format!(
            "its client can have it back from Unix time {at} on, unless `assay bonus claim` is asked before"
        ),
    };
    format!("{}\n{shared}", tokens(&view.tokens))
}

#[cfg(test)]
mod tests {
    use assay_protocol::{
        amount::Amount,
        id::{Account, TaskId},
    };

    use super::*;

    #[test]
    fn every_stage_of_a_bonus_says_what_comes_next() {
        let view = BonusView {
            task: TaskId([1; 32]),
            locked: true,
            recorded: false,
            refund_at: None,
            tokens: vec![TillLine {
                token: Account([2; 20]),
                symbol: "PAR\u{7}TNER".into(),
                decimals: 2,
                income: Amount(12_345),
                paid: Amount(45),
            }],
        };
        let said = describe(&view);
        assert!(said.contains("123.45") && said.contains("0.45"), "{said}");
        assert!(!said.contains('\u{7}'), "names of tokens are foreign text");
        assert!(said.contains("when the task is settled"), "{said}");
        let refund = BonusView {
            refund_at: Some(77),
            ..view.clone()
        };
        assert!(describe(&refund).contains("Unix time 77"));
        let recorded = BonusView {
            recorded: true,
            ..view.clone()
        };
        assert!(describe(&recorded).contains("collects"));
        let none = BonusView {
            locked: false,
            ..view
        };
        assert_eq!(describe(&none), "no bonus was locked for this task");
    }
}
