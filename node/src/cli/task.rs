//! `assay task`: lists, details, and following one task to its end.

use assay_protocol::{
    id::TaskId,
    task::{CancelReason, GoldState, TaskOutcome},
};

use super::{
    args::TaskCommand,
    claim,
    client::Api,
    failure::{Exit, Failure},
    folder::Folder,
    text::{self, Printer, cell, harmless},
};
use crate::api::model::{Event, RecoverDone, RecoverLine, RecoverOrder, TaskView};

/// Seconds that one look for news may wait.
const LOOK_SECS: u64 = 3;

/// Runs `assay task ...`.
///
/// # Errors
/// No running node, an unknown task.
pub async fn run(folder: &Folder, what: &TaskCommand, printer: Printer) -> Result<(), Failure> {
    let api = Api::open(folder)?;
    let decimals = decimals(folder)?;
    match what {
        TaskCommand::List => list(&api, decimals, printer).await,
        TaskCommand::Show { task } => {
            let task = api.task_id(task).await?;
            show(&api, task, decimals, printer).await
        }
        TaskCommand::Watch { task } => {
            let task = api.task_id(task).await?;
            watch(&api, task, decimals, printer).await
        }
        TaskCommand::Recover { task, everyone } => {
            let task = api.task_id(task).await?;
            recover(&api, task, *everyone, decimals, printer).await
        }
    }
}

/// Decimals of the network's token.
pub(super) fn decimals(folder: &Folder) -> Result<u8, Failure> {
    let config = folder.config()?;
    Ok(folder.profile(&config)?.params.token_decimals)
}

/// A table of tasks.
pub(super) fn tasks_table(tasks: &[TaskView], decimals: u8) -> String {
    let mut table = text::table([
        "TASK",
        "STATE",
        "CLOSES IN",
        "ITEMS",
        "LABELERS",
        "PRICE",
        "TITLE",
    ]);
    for t in tasks {
        let state = match t.wave {
            Some(wave) => format!("{} {}/{}", t.state, wave + 1, t.waves),
            None => t.state.clone(),
        };
        table.add_row([
            t.id.short(),
            state,
            text::left(t.deadline, t.chain_time),
            t.items.to_string(),
            t.labelers.to_string(),
            t.price.to_decimal(decimals),
            cell(&t.title),
        ]);
    }
    table.trim_fmt()
}

async fn list(api: &Api, decimals: u8, printer: Printer) -> Result<(), Failure> {
    let tasks: Vec<TaskView> = api.get("/v1/tasks").await?;
    if printer.json {
        return printer.data(&tasks);
    }
    if tasks.is_empty() {
        printer.say("No tasks are known here yet. They arrive as their clients announce them; `assay status` shows the peers.");
        return Ok(());
    }
    printer.line(&tasks_table(&tasks, decimals))
}

fn is_over(view: &TaskView) -> bool {
    matches!(view.state.as_str(), "settled" | "cancelled")
}

async fn view(api: &Api, task: TaskId) -> Result<TaskView, Failure> {
    api.get(&format!("/v1/tasks/{task}")).await
}

pub(super) async fn outcome(api: &Api, task: TaskId) -> Result<TaskOutcome, Failure> {
    api.get(&format!("/v1/tasks/{task}/outcome")).await
}

async fn show(api: &Api, task: TaskId, decimals: u8, printer: Printer) -> Result<(), Failure> {
    let view = view(api, task).await?;
    let outcome = if is_over(&view) {
        Some(outcome(api, task).await?)
    } else {
        None
    };
    if printer.json {
        return printer.data(&serde_json::json!({ "task": view, "outcome": outcome }));
    }
    printer.line(&details(&view, decimals))?;
    match outcome {
        Some(outcome) => printer.line(&summary(&outcome, decimals)),
        None => Ok(()),
    }
}

/// Everything about a task's terms and state.
pub(super) fn details(t: &TaskView, decimals: u8) -> String {
    let mut lines = vec![
        format!("task       {}", t.id),
        format!("title      {}", harmless(&t.title, false)),
        format!("state      {}", progress(t)),
        format!("client     0x{}", t.client),
        format!(
            "labels     {}",
            t.labels
                .iter()
                .map(|l| harmless(l, false))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    ];
    let labels = match t.k {
        Some(k) => format!("{k} labels each, up to {}", t.k_max),
        None => format!("open, up to {} labels each", t.k_max),
    };
    lines.push(format!(
        "items      {}, {labels}, {} waves",
        t.items, t.waves
    ));
    lines.push(format!(
        "price      {} tokens per label at full skill",
        t.price.to_decimal(decimals)
    ));
    lines.push(format!(
        "labelers   {} ({} to {})",
        t.labelers, t.labelers_min, t.labelers_max
    ));
    lines.push(format!("licence    {}", harmless(&t.licence, false)));
    for (language, guideline) in &t.guideline {
        lines.push(format!(
            "\n[{}]\n{}",
            harmless(language, false),
            harmless(guideline, true)
        ));
    }
    lines.join("\n")
}

fn progress(t: &TaskView) -> String {
    let mut line = t.state.clone();
    if let Some(wave) = t.wave {
        line.push_str(&format!(" wave {} of {}", wave + 1, t.waves));
    }
    if t.deadline.is_some() {
        line.push_str(&format!(
            ", closes in {}",
            text::left(t.deadline, t.chain_time)
        ));
    }
    if let (Some(held), Some(needed)) = (t.custody, t.custody_needed) {
        line.push_str(&format!(", held by {held} members ({needed} needed)"));
    }
    line.push_str(&format!(", {} labelers, {} votes", t.labelers, t.votes));
    if t.enrolment != "none" {
        line.push_str(&format!(", this node: {}", t.enrolment));
    }
    line
}

/// What a finished task left behind: quality, money, and everybody's reason.
pub(super) fn summary(outcome: &TaskOutcome, decimals: u8) -> String {
    let tokens = |a: assay_protocol::amount::Amount| a.to_decimal(decimals);
    let m = &outcome.money;
    if let Some(reason) = outcome.cancelled {
        let why = match reason {
            CancelReason::NotReady => "its data or its money was not there in time",
            CancelReason::TooFewLabelers => "too few labelers came",
        };
        return format!(
            "\ncancelled: {why}; {} tokens went back to the client",
            tokens(m.refund)
        );
    }
    let labelled = outcome.items.iter().filter(|i| i.label.is_some()).count();
    let changed = outcome
        .items
        .iter()
        .filter(|i| i.label.is_some() && i.label != i.majority)
        .count();
    let certain: u64 = outcome
        .items
        .iter()
        .filter(|i| i.label.is_some())
        .map(|i| u64::from(i.posterior_ppm))
        .sum();
    let mean = certain.checked_div(labelled as u64).unwrap_or(0);
    let mut lines = vec![
        String::new(),
        format!(
            "labelled   {labelled} of {} items with {} votes; mean certainty {}; {changed} differ from the plain majority",
            outcome.items.len(),
            outcome.votes.len(),
            text::percent(i64::try_from(mean).unwrap_or(i64::MAX))
        ),
        format!(
            "money      paid {}, fees {}, bond shares {}, refund {} of {} tokens",
            tokens(m.paid),
            tokens(m.fees),
            tokens(m.bond_shares),
            tokens(m.refund),
            tokens(m.deposit.checked_add(m.gold_bond).unwrap_or(m.deposit))
        ),
    ];
    for (wave, gold) in outcome.waves.iter().enumerate() {
        let text = match gold {
            GoldState::None => continue,
            GoldState::Closed => "never needed".to_owned(),
            GoldState::Counted { voided: 0 } => "counted".to_owned(),
            GoldState::Counted { voided } => format!("counted, {voided} void"),
            GoldState::Void => {
                "contradicted by the labelers: void, the bond went to them".to_owned()
            }
            GoldState::Withheld => "withheld: the bond went to the labelers".to_owned(),
        };
        lines.push(format!("gold       wave {}: {text}", wave + 1));
    }
    let mut table = text::table(["LABELER", "VOTES", "GOLD", "SKILL", "EARNED", "LOST", "WHY"]);
    for l in &outcome.labelers {
        table.add_row([
            format!("0x{}", l.account),
            l.votes.to_string(),
            format!("{}/{}", l.gold_right, l.gold_seen),
            text::percent(l.skill_ppm),
            tokens(l.earned),
            tokens(l.lost),
            l.reason.text().to_owned(),
        ]);
    }
    lines.push(String::new());
    lines.push(table.trim_fmt());
    lines.join("\n")
}

/// The parts of a view whose change is worth a line.
fn marks(t: &TaskView) -> (String, Option<u8>, u32, u64, Option<usize>, String) {
    (
        t.state.clone(),
        t.wave,
        t.labelers,
        t.votes,
        t.custody,
        t.enrolment.clone(),
    )
}

async fn recover(
    api: &Api,
    task: TaskId,
    everyone: bool,
    decimals: u8,
    printer: Printer,
) -> Result<(), Failure> {
    let payee = if everyone {
        None
    } else {
        Some(claim::own_payee(api).await?)
    };
    let done: RecoverDone = api
        .post(
            &format!("/v1/tasks/{task}/recover"),
            &RecoverOrder { payee },
        )
        .await?;
    if printer.json {
        printer.data(&done)?;
    } else {
        recovered(&done, decimals, printer)?;
    }
    match done.failed {
        Some(body) => Err(Failure::new(Exit::Chain, body.error).next(body.what_next)),
        None => Ok(()),
    }
}

fn recovered(done: &RecoverDone, decimals: u8, printer: Printer) -> Result<(), Failure> {
    if done.opened {
        printer.line("the committee has been silent for too long: the task is paid by its escrow from now on")?;
    }
    let sum = |line: &RecoverLine| {
        format!(
            "{} tokens to 0x{} (transaction 0x{}, {} gas)",
            line.amount.to_decimal(decimals),
            line.payee,
            line.tx,
            line.gas_used
        )
    };
    for line in &done.paid {
        printer.line(&format!("paid {}", sum(line)))?;
    }
    if let Some(line) = &done.returned {
        return printer.line(&format!("returned {}", sum(line)));
    }
    if done.paid.is_empty() {
        printer.say("nobody who was asked for is owed anything of this task now");
    }
    let left = done.left.to_decimal(decimals);
    if done.chain_time < done.closes_at {
        printer.say(&format!(
            "{left} tokens are left; labelers can be paid for another {}, then the rest can go to the client",
            text::left(Some(done.closes_at), done.chain_time)
        ));
    }
    Ok(())
}

/// A task in fallback has no more news here.
pub(super) fn tell_fallback(view: &TaskView, printer: Printer) {
    if !printer.json {
        printer.say(&format!(
            "its committee is gone, and its escrow pays it: `assay task recover {}`",
            view.id.short()
        ));
    }
}

async fn watch(api: &Api, task: TaskId, decimals: u8, printer: Printer) -> Result<(), Failure> {
    let mut after = api.events(None, 0).await?.next;
    let mut said = None;
    loop {
        let view = view(api, task).await?;
        let now = marks(&view);
        if said.as_ref() != Some(&now) {
            if printer.json {
                printer.data(&serde_json::json!({ "type": "task", "task": view }))?;
            } else {
                printer.line(&progress(&view))?;
            }
            said = Some(now);
        }
        if is_over(&view) {
            let outcome = outcome(api, task).await?;
            if printer.json {
                return printer.data(&serde_json::json!({ "type": "outcome", "outcome": outcome }));
            }
            return printer.line(&summary(&outcome, decimals));
        }
        if view.state == "fallback" {
            tell_fallback(&view, printer);
            return Ok(());
        }
        let news = api.events(Some(after), LOOK_SECS).await?;
        after = news.next;
        for line in news.events {
            match line.event {
                Event::Alarm { text } => printer.warn(&text),
                Event::Revoked { lane, from } => printer.warn(&text::revoked(lane, from)),
                _ => {}
            }
        }
    }
}
