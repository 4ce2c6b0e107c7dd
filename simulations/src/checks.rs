//! What must hold after every run, whatever the scenario. A check looks at [`Evidence`] only and can fail.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::id::TaskId;
use serde::Serialize;

use crate::evidence::Evidence;

/// Failures that are told in full; the rest is counted.
const TOLD_MAX: usize = 5;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Short name.
    pub name: &'static str,
    /// What must hold, one sentence.
    pub rule: &'static str,
    /// It held.
    pub passed: bool,
    /// What was seen: numbers when it held, the first failures when it did not.
    pub detail: String,
}

fn check(name: &'static str, rule: &'static str, failures: &[String], held: String) -> Check {
    let mut detail = failures
        .iter()
        .take(TOLD_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if failures.len() > TOLD_MAX {
        detail.push_str(&format!("; and {} more", failures.len() - TOLD_MAX));
    }
    let passed = failures.is_empty();
    Check {
        name,
        rule,
        passed,
        detail: if passed { held } else { detail },
    }
}

/// All checks.
pub fn all(evidence: &Evidence) -> Vec<Check> {
    vec![
        terminal(evidence),
        agreement(evidence),
        task_money(evidence),
        chain_money(evidence),
        paid_once(evidence),
        no_alarm(evidence),
        acknowledged_counted(evidence),
        no_unjust_penalty(evidence),
        accuracy(evidence),
        no_profit(evidence),
    ]
}

fn terminal(e: &Evidence) -> Check {
    let mut failures = Vec::new();
    for task in &e.tasks {
        if !task.published {
            let refused: Vec<_> = e.refused_commands.keys().cloned().collect();
            failures.push(format!(
                "{:?} was never published (refused commands: {})",
                task.title,
                refused.join(", ")
            ));
            continue;
        }
        let missing: Vec<&str> = e
            .nodes
            .iter()
            .filter(|n| !n.hostile && !n.outcomes.contains_key(&task.id))
            .map(|n| n.name.as_str())
            .collect();
        if let Some(first) = missing.first() {
            let count = missing.len();
            failures.push(format!(
                "{:?} is not over at {count} honest nodes after {} ms ({first}, ...)",
                task.title, e.simulated_ms
            ));
        }
    }
    let held = format!("{} tasks, {} ms simulated", e.tasks.len(), e.simulated_ms);
    check(
        "terminal",
        "every task is over at every honest node before the deadline",
        &failures,
        held,
    )
}

fn agreement(e: &Evidence) -> Check {
    let mut failures = e.conflicts.clone();
    let honest = || e.nodes.iter().filter(|n| !n.hostile);
    let mut headers = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    for node in honest() {
        for (epoch, hash) in &node.headers {
            let (first, name) = headers.entry(epoch).or_insert((hash, &node.name));
            if *first != hash {
                failures.push(format!(
                    "{} and {name} hold different headers of epoch {}",
                    node.name, epoch.1
                ));
            }
        }
        for (task, hash) in &node.outcomes {
            let (first, name) = outcomes.entry(task).or_insert((hash, &node.name));
            if *first != hash {
                failures.push(format!(
                    "{} and {name} hold different outcomes of task {}",
                    node.name,
                    task.short()
                ));
            }
        }
    }
    let held = format!(
        "{} epochs and {} tasks at {} honest nodes",
        headers.len(),
        outcomes.len(),
        honest().count()
    );
    check(
        "agreement",
        "honest nodes that finished a task hold equal headers and outcomes",
        &failures,
        held,
    )
}

fn task_money(e: &Evidence) -> Check {
    let failures: Vec<String> = e
        .outcomes
        .values()
        .flat_map(|outcome| {
            let task = outcome.task.short();
            let mut found = Vec::new();
            if !outcome.money.is_conserved() {
                found.push(format!("task {task}: what went in is not what came out"));
            }
            let earned: u128 = outcome.labelers.iter().map(|l| l.earned.0).sum();
            if earned != outcome.money.paid.0 {
                found.push(format!(
                    "task {task}: labelers earned {earned}, {} was paid",
                    outcome.money.paid
                ));
            }
            found
        })
        .collect();
    let held = format!("{} outcomes", e.outcomes.len());
    check(
        "task-money",
        "deposit and bond equal pay, fees, bond shares and refund; pay equals what labelers earned",
        &failures,
        held,
    )
}

fn chain_money(e: &Evidence) -> Check {
    let m = &e.money;
    let mut failures: Vec<String> = m.supply_changed.iter().cloned().collect();
    if m.released != m.owed {
        failures.push(format!(
            "escrows released {}, {} is owed",
            m.released, m.owed
        ));
    }
    let settled: u128 = e
        .tasks
        .iter()
        .filter_map(|t| e.outcome_of(t))
        .map(|o| o.money.deposit.0 + o.money.gold_bond.0)
        .sum();
    if settled != m.released.0 {
        failures.push(format!(
            "escrows released {}, the outcomes distribute {settled}",
            m.released
        ));
    }
    if m.supply.0 != m.supply.1 {
        failures.push(format!(
            "claims changed the supply from {} to {}",
            m.supply.0, m.supply.1
        ));
    }
    let held = format!("{} base units released and owed", m.released);
    check(
        "chain-money",
        "the token supply is constant, and escrows release exactly what is owed",
        &failures,
        held,
    )
}

fn paid_once(e: &Evidence) -> Check {
    let m = &e.money;
    let mut failures = m.claims_refused.clone();
    if m.claimed != m.owed {
        failures.push(format!("claims paid {}, {} is owed", m.claimed, m.owed));
    }
    if m.claimed_again.0 != 0 {
        failures.push(format!("claiming again paid {}", m.claimed_again));
    }
    check(
        "paid-once",
        "claims pay everything that is owed, and claiming again pays nothing",
        &failures,
        format!("{} base units", m.claimed),
    )
}

fn no_alarm(e: &Evidence) -> Check {
    check(
        "no-alarm",
        "no node raises an alarm",
        &e.alarms,
        "none".into(),
    )
}

fn acknowledged_counted(e: &Evidence) -> Check {
    let mut failures = Vec::new();
    let mut counted = 0u64;
    let places: BTreeMap<TaskId, _> = e
        .tasks
        .iter()
        .filter_map(|t| e.outcome_of(t).map(|o| (t.id, o)))
        .map(|(id, outcome)| {
            (
                id,
                (
                    outcome,
                    outcome.votes.iter().copied().collect::<BTreeSet<_>>(),
                ),
            )
        })
        .collect();
    for node in e.nodes.iter().filter(|n| !n.hostile) {
        for (task, item, label) in &node.acknowledged {
            let Some((outcome, votes)) = places.get(task) else {
                continue;
            };
            let index = outcome
                .labelers
                .binary_search_by(|l| l.account.cmp(&node.account));
            if index.is_ok_and(|i| votes.contains(&(*item, i as u32, *label))) {
                counted += 1;
            } else {
                failures.push(format!(
                    "{}'s label {label} for item {item} of task {} is missing",
                    node.name,
                    task.short()
                ));
            }
        }
    }
    let rule = "every label whose reveal a quorum acknowledged is counted";
    check(
        "acknowledged-work",
        rule,
        &failures,
        format!("{counted} labels"),
    )
}

fn no_unjust_penalty(e: &Evidence) -> Check {
    check(
        "no-unjust-penalty",
        "no honest node penalises an honest node",
        &e.unjust,
        "none".into(),
    )
}

/// How many items without gold were labelled right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accuracy {
    /// Items that are not opened gold.
    pub items: u64,
    /// Right by the network.
    pub network_right: u64,
    /// Right by a plain majority of the same votes.
    pub majority_right: u64,
    /// Items that only one of the two has right.
    pub discordant: u64,
}

impl Accuracy {
    /// Items by which one of two equally good methods may be behind: `times` the spread of the difference, which is the square root of the
    /// number of discordant items (McNemar 1947).
    fn luck(&self, times: u64) -> u64 {
        (times * times * self.discordant).isqrt()
    }
}

/// Over all finished tasks.
pub fn measure_accuracy(e: &Evidence) -> Accuracy {
    let mut sum = Accuracy::default();
    for task in &e.tasks {
        let Some(outcome) = e.outcome_of(task) else {
            continue;
        };
        for (item, truth) in outcome
            .items
            .iter()
            .zip(&task.truth)
            .filter(|(item, _)| !item.gold)
        {
            sum.items += 1;
            let (network, majority) = (item.label == Some(*truth), item.majority == Some(*truth));
            sum.network_right += u64::from(network);
            sum.majority_right += u64::from(majority);
            sum.discordant += u64::from(network != majority);
        }
    }
    sum
}

fn accuracy(e: &Evidence) -> Check {
    let a = measure_accuracy(e);
    let luck = a.luck(e.accuracy_luck);
    let told = format!(
        "network {} of {}, majority {}, only one of them right {}",
        a.network_right, a.items, a.majority_right, a.discordant
    );
    let failures = if a.network_right + luck < a.majority_right {
        vec![format!("{told}, luck explains {luck}")]
    } else {
        Vec::new()
    };
    check(
        "accuracy",
        "the network's labels are at least as often right as a plain majority's, but for luck",
        &failures,
        told,
    )
}

fn no_profit(e: &Evidence) -> Check {
    // (earned - lost, price^2 x votes): the second is the square of what luck may give to guessing.
    let mut sums: BTreeMap<usize, (i128, u128)> =
        e.must_not_profit.iter().map(|p| (*p, (0, 0))).collect();
    let node_of = e.node_of();
    for (task, outcome) in e
        .tasks
        .iter()
        .filter_map(|t| e.outcome_of(t).map(|o| (t, o)))
    {
        for labeler in &outcome.labelers {
            let group = node_of
                .get(&labeler.account)
                .map(|n| e.nodes[*n].population);
            if let Some(sum) = group.and_then(|g| sums.get_mut(&g)) {
                sum.0 += labeler.earned.0 as i128 - labeler.lost.0 as i128;
                sum.1 += task.price * task.price * u128::from(labeler.votes);
            }
        }
    }
    let allowed = |square: u128| (u128::from(e.profit_luck) * square.isqrt()) as i128;
    let name = |group: &usize| {
        let node = e.nodes.iter().find(|n| n.population == *group);
        node.and_then(|n| n.name.rsplit_once('-'))
            .map_or_else(String::new, |n| n.0.to_owned())
    };
    let failures: Vec<String> = sums
        .iter()
        .filter(|(_, sum)| sum.0 > allowed(sum.1))
        .map(|(g, sum)| {
            format!(
                "{} gained {}, luck explains {}",
                name(g),
                sum.0,
                allowed(sum.1)
            )
        })
        .collect();
    let held = sums
        .iter()
        .map(|(g, sum)| format!("{} {}", name(g), sum.0))
        .collect::<Vec<_>>()
        .join(", ");
    check(
        "no-profit",
        "groups marked must_not_profit earn no more than they lose, but for luck",
        &failures,
        held,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_items_that_one_method_alone_has_right_leave_room_for_luck() {
        let over = |discordant| Accuracy {
            items: 1_000,
            network_right: 900,
            majority_right: 900 + discordant,
            discordant,
        };
        assert_eq!(over(0).luck(2), 0);
        assert_eq!(over(4).luck(2), 4);
        // Nine wins of one side alone are beyond it.
        assert_eq!(over(9).luck(2), 6);
        assert_eq!(over(9).luck(0), 0);
    }
}
