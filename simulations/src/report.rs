//! The report of a run: tables for people, JSON for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use assay_protocol::task::Reason;
use comfy_table::{CellAlignment, Table, TableStyle, presets};
use serde::Serialize;

use crate::{
    checks::{Accuracy, Check, measure_accuracy},
    evidence::Evidence,
    network::Traffic,
    scenario::{Role, Scenario},
};

/// What a run gave. Everything but `timing` follows from scenario and seed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed.
    pub seed: u64,
    /// BLAKE3 over everything that was delivered and ordered, hex.
    pub digest: String,
    /// Every check held.
    pub passed: bool,
    /// Nodes.
    pub peers: usize,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Groups of labelers, then the others.
    pub populations: Vec<Group>,
    /// Labels right.
    pub accuracy: Accuracy,
    /// Tasks.
    pub tasks: Vec<TaskLine>,
    /// Checks.
    pub checks: Vec<Check>,
    /// Epochs anchored.
    pub epochs: u64,
    /// Traffic.
    pub traffic: Traffic,
    /// Chain calls that took effect.
    pub calls_done: BTreeMap<String, u64>,
    /// Chain calls that reverted.
    pub calls_reverted: BTreeMap<String, u64>,
    /// Commands that cores refused, by reason.
    pub refused_commands: BTreeMap<String, u64>,
    /// Nodes that went down.
    pub crashes: u64,
    /// Of them, with the loss of a write under way.
    pub writes_lost: u64,
    /// Events.
    pub events: u64,
    /// By kind.
    pub events_by_kind: BTreeMap<String, u64>,
    /// Entries of the trace.
    pub trace_entries: u64,
    /// Speed.
    pub timing: Speed,
}

/// One population.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Role.
    pub role: &'static str,
    /// Nodes.
    pub count: u32,
    /// Places in tasks: a labeler in two tasks counts twice.
    pub enrolled: u64,
    /// Counted votes.
    pub votes: u64,
    /// Of them right.
    pub votes_right: u64,
    /// Mean skill above chance of those with votes, parts per million.
    pub skill_mean_ppm: i64,
    /// Earned, base units.
    pub earned: String,
    /// Lost, base units.
    pub lost: String,
    /// Earned less lost, base units.
    pub net: String,
    /// Places in tasks flagged as part of a copying cluster.
    pub flagged: u64,
    /// Places in tasks whose commit was not revealed in time, or not as committed.
    pub unrevealed: u64,
    /// Places in tasks that were drawn and gave no commit in time.
    pub absent: u64,
    /// Penalties given to its nodes.
    pub penalties: u64,
}

/// One task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskLine {
    /// Title.
    pub title: String,
    /// Id.
    pub id: String,
    /// Items.
    pub items: usize,
    /// Labelers that were let in.
    pub labelers: usize,
    /// Counted votes.
    pub votes: usize,
    /// How it ended.
    pub end: String,
    /// Paid for labels, base units.
    pub paid: String,
    /// Back to the client, base units.
    pub refund: String,
    /// From the funding to the first node that saw the end, simulated milliseconds.
    pub took_ms: Option<u64>,
}

/// How fast it went on this machine.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    /// Wall clock, milliseconds.
    pub wall_ms: u64,
    /// Processor time, milliseconds.
    pub cpu_ms: u64,
    /// Events per second of processor time.
    pub events_per_cpu_second: u64,
}

impl Report {
    /// Sums the evidence up.
    pub fn new(scenario: &Scenario, evidence: &Evidence, checks: Vec<Check>) -> Self {
        let cpu_ms = evidence.timing.cpu.as_millis() as u64;
        let epochs = evidence
            .nodes
            .iter()
            .filter_map(|n| n.headers.keys().map(|k| k.1).max())
            .max();
        Self {
            scenario: scenario.name.clone(),
            seed: evidence.seed,
            digest: evidence.digest.to_string(),
            passed: checks.iter().all(|c| c.passed),
            peers: evidence.nodes.len(),
            simulated_ms: evidence.simulated_ms,
            populations: groups(scenario, evidence),
            accuracy: measure_accuracy(evidence),
            tasks: tasks(evidence),
            checks,
            epochs: epochs.unwrap_or(0),
            traffic: evidence.traffic,
            calls_done: evidence.calls_done.clone(),
            calls_reverted: evidence.calls_reverted.clone(),
            refused_commands: evidence.refused_commands.clone(),
            crashes: evidence.crashes,
            writes_lost: evidence.writes_lost,
            events: evidence.events,
            events_by_kind: evidence.events_by_kind.clone(),
            trace_entries: evidence.trace_entries,
            timing: Speed {
                wall_ms: evidence.timing.wall.as_millis() as u64,
                cpu_ms,
                events_per_cpu_second: evidence.events * 1_000 / cpu_ms.max(1),
            },
        }
    }

    /// Tables for a terminal (`fancy`: lines drawn) or for a file.
    pub fn to_text(&self, fancy: bool) -> String {
        let style = if fancy {
            presets::UTF8_NO_BORDERS
        } else {
            presets::NOTHING
        };
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        line(format!(
            "{}: {} peers, {} s simulated, seed {}\n",
            self.scenario,
            self.peers,
            self.simulated_ms / 1_000,
            self.seed
        ));
        line(self.labeler_table(style));
        line(self.task_table(style));
        let a = &self.accuracy;
        line(format!(
            "accuracy without gold items: network {} ({} of {}), majority {} ({})",
            percent(a.network_right, a.items),
            a.network_right,
            a.items,
            percent(a.majority_right, a.items),
            a.majority_right
        ));
        line(self.traffic_text());
        line(format!("digest {}\n", self.digest));
        for check in &self.checks {
            let verdict = if check.passed { "ok    " } else { "FAILED" };
            line(format!(
                "{verdict} {}: {}",
                check.name,
                if check.passed {
                    &check.detail
                } else {
                    check.rule
                }
            ));
            if !check.passed {
                line(format!("       seen: {}", check.detail));
            }
        }
        out
    }

    fn labeler_table(&self, style: TableStyle) -> String {
        let mut table = table(
            style,
            &[
                "group",
                "peers",
                "enrolled",
                "votes",
                "right",
                "skill",
                "earned",
                "lost",
                "net",
                "flagged",
                "absent",
                "unrevealed",
                "penalties",
            ],
        );
        for g in &self.populations {
            table.add_row(vec![
                g.name.clone(),
                g.count.to_string(),
                g.enrolled.to_string(),
                g.votes.to_string(),
                percent(g.votes_right, g.votes),
                thousandths(g.skill_mean_ppm, g.votes),
                g.earned.clone(),
                g.lost.clone(),
                g.net.clone(),
                g.flagged.to_string(),
                g.absent.to_string(),
                g.unrevealed.to_string(),
                g.penalties.to_string(),
            ]);
        }
        finish(table)
    }

    fn task_table(&self, style: TableStyle) -> String {
        let mut table = table(
            style,
            &[
                "task", "items", "labelers", "votes", "paid", "refund", "took", "end",
            ],
        );
        for t in &self.tasks {
            table.add_row(vec![
                t.title.clone(),
                t.items.to_string(),
                t.labelers.to_string(),
                t.votes.to_string(),
                t.paid.clone(),
                t.refund.clone(),
                t.took_ms
                    .map_or_else(|| "-".into(), |ms| format!("{} s", ms / 1_000)),
                t.end.clone(),
            ]);
        }
        finish(table)
    }

    fn traffic_text(&self) -> String {
        let t = &self.traffic;
        let mut out = format!(
            "epochs {}; {} requests, {} answers, {} gossip copies ({} duplicates); {} KiB; {} lost, {} doubled, {} timeouts\n",
            self.epochs,
            t.requests,
            t.responses,
            t.gossip_copies,
            t.gossip_duplicates,
            t.bytes / 1024,
            t.lost,
            t.duplicated,
            t.timeouts
        );
        let reverted: u64 = self.calls_reverted.values().sum();
        let done: u64 = self.calls_done.values().sum();
        // Writing into a string cannot fail.
        let _ = write!(
            out,
            "{} crashes ({} with a lost write); {done} transactions, {reverted} reverted; {} events, {} per CPU second; {} ms CPU, {} ms wall",
            self.crashes,
            self.writes_lost,
            self.events,
            self.timing.events_per_cpu_second,
            self.timing.cpu_ms,
            self.timing.wall_ms
        );
        out
    }
}

fn table(style: TableStyle, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_header(header.to_vec());
    table
}

/// Numbers to the right, names to the left.
fn finish(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let text: String = table
        .lines()
        .map(|l| format!("{}\n", l.trim_end()))
        .collect();
    text
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    let thousandths = part * 1_000 / whole;
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

fn thousandths(ppm: i64, votes: u64) -> String {
    if votes == 0 {
        return "-".into();
    }
    let sign = if ppm < 0 { "-" } else { "" };
    let value = ppm.unsigned_abs() / 1_000;
    format!("{sign}{}.{:03}", value / 1_000, value % 1_000)
}

#[derive(Clone, Copy, Default)]
struct Sums {
    skill: i64,
    skilled: i64,
    earned: u128,
    lost: u128,
}

fn groups(scenario: &Scenario, evidence: &Evidence) -> Vec<Group> {
    let name = |role| match role {
        Role::Client => "client",
        Role::Labeler => "labeler",
        Role::Validator => "validator",
    };
    let mut groups: Vec<Group> = scenario
        .population
        .iter()
        .map(|p| Group {
            name: p.name.clone(),
            role: name(p.role),
            count: p.count,
            ..Group::default()
        })
        .collect();
    let mut sums = vec![Sums::default(); groups.len()];
    let node_of = evidence.node_of();
    for node in &evidence.nodes {
        groups[node.population].penalties += node.penalties;
    }
    for task in &evidence.tasks {
        let Some(outcome) = evidence.outcome_of(task) else {
            continue;
        };
        let of: Vec<Option<usize>> = outcome
            .labelers
            .iter()
            .map(|l| {
                node_of
                    .get(&l.account)
                    .map(|n| evidence.nodes[*n].population)
            })
            .collect();
        for (labeler, group) in outcome.labelers.iter().zip(&of) {
            let Some(group) = *group else { continue };
            groups[group].enrolled += 1;
            groups[group].flagged += u64::from(labeler.cluster.is_some());
            groups[group].unrevealed += u64::from(labeler.reason == Reason::Unrevealed);
            groups[group].absent += u64::from(labeler.reason == Reason::Absent);
            let sum = &mut sums[group];
            sum.earned += labeler.earned.0;
            sum.lost += labeler.lost.0;
            if labeler.votes > 0 {
                sum.skill += labeler.skill_ppm;
                sum.skilled += 1;
            }
        }
        for (item, index, label) in &outcome.votes {
            if let Some(Some(group)) = of.get(*index as usize) {
                groups[*group].votes += 1;
                groups[*group].votes_right +=
                    u64::from(task.truth.get(*item as usize) == Some(label));
            }
        }
    }
    for (group, sum) in groups.iter_mut().zip(sums) {
        group.skill_mean_ppm = sum.skill / sum.skilled.max(1);
        group.earned = sum.earned.to_string();
        group.lost = sum.lost.to_string();
        group.net = (sum.earned as i128 - sum.lost as i128).to_string();
    }
    groups.sort_by_key(|g| g.role != "labeler");
    groups
}

fn tasks(evidence: &Evidence) -> Vec<TaskLine> {
    evidence
        .tasks
        .iter()
        .map(|task| {
            let outcome = evidence.outcome_of(task);
            let end = match outcome {
                None => "not over".to_owned(),
                Some(o) => o.cancelled.map_or_else(
                    || {
                        o.waves
                            .iter()
                            .map(|w| format!("gold {w:?}"))
                            .collect::<Vec<_>>()
                            .join(", ")
                            .to_lowercase()
                    },
                    |reason| format!("cancelled: {reason:?}"),
                ),
            };
            let money = |f: fn(&assay_protocol::task::Money) -> u128| {
                outcome.map_or(0, |o| f(&o.money)).to_string()
            };
            TaskLine {
                title: task.title.clone(),
                id: task.id.to_string(),
                items: task.truth.len(),
                labelers: outcome.map_or(0, |o| o.labelers.len()),
                votes: outcome.map_or(0, |o| o.votes.len()),
                end,
                paid: money(|m| m.paid.0),
                refund: money(|m| m.refund.0),
                took_ms: task
                    .finished_ms
                    .zip(task.funded_ms)
                    .map(|(end, start)| end.saturating_sub(start)),
            }
        })
        .collect()
}
