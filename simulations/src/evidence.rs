//! What a run left behind: the only thing that checks and reports look at.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use assay_protocol::{
    amount::Amount,
    codec,
    core::Family,
    id::{Account, Hash, TaskId},
    lane::PayoutFile,
    task::TaskOutcome,
};

use crate::{
    chain::Chain,
    network::Traffic,
    sim::{Node, Remains},
    task::Plan,
};

/// Everything that was seen.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Seed that was used.
    pub seed: u64,
    /// Digest over the trace.
    pub digest: Hash,
    /// Simulated time at the end, milliseconds.
    pub simulated_ms: u64,
    /// Tasks in the order of the scenario.
    pub tasks: Vec<TaskEvidence>,
    /// Nodes in the order of the scenario.
    pub nodes: Vec<NodeEvidence>,
    /// Every distinct outcome that some node computed, by the hash of its bytes.
    pub outcomes: BTreeMap<Hash, TaskOutcome>,
    /// Money on chain.
    pub money: MoneyEvidence,
    /// Alarms of nodes.
    pub alarms: Vec<String>,
    /// Nodes that adopted two headers for one epoch.
    pub conflicts: Vec<String>,
    /// Honest nodes penalised by honest nodes: who, whom, why.
    pub unjust: Vec<String>,
    /// Refused commands by reason.
    pub refused_commands: BTreeMap<String, u64>,
    /// Traffic.
    pub traffic: Traffic,
    /// Chain calls that took effect.
    pub calls_done: BTreeMap<String, u64>,
    /// Chain calls that reverted, with the reason.
    pub calls_reverted: BTreeMap<String, u64>,
    /// Events handed to nodes and to the chain.
    pub events: u64,
    /// Of them, by kind.
    pub events_by_kind: BTreeMap<String, u64>,
    /// Entries of the trace: events and orders.
    pub trace_entries: u64,
    /// Nodes that went down.
    pub crashes: u64,
    /// Of them, in the middle of a write that was lost.
    pub writes_lost: u64,
    /// How long it took; not part of the digest.
    pub timing: Timing,
    /// Places of the populations whose sum must not be above zero.
    pub must_not_profit: Vec<usize>,
    /// Luck allowed to them: this many times price x sqrt(votes).
    pub profit_luck: u32,
    /// Luck allowed to the network's labels: this many times the square root of the items that only one method has right.
    pub accuracy_luck: u64,
}

/// One task.
#[derive(Clone, Debug)]
pub struct TaskEvidence {
    /// Id.
    pub id: TaskId,
    /// Title.
    pub title: String,
    /// Its client's node took the command to publish it.
    pub published: bool,
    /// Price of a label at full skill, base units.
    pub price: u128,
    /// True label by item.
    pub truth: Vec<u16>,
    /// Simulated time of the funding, milliseconds.
    pub funded_ms: Option<u64>,
    /// Simulated time at which the first node saw its end.
    pub finished_ms: Option<u64>,
    /// Hash of the outcome that the first honest node computed.
    pub outcome: Option<Hash>,
}

/// One node.
#[derive(Clone, Debug)]
pub struct NodeEvidence {
    /// Name.
    pub name: String,
    /// Place of its population.
    pub population: usize,
    /// Account.
    pub account: Account,
    /// It deviates from the protocol.
    pub hostile: bool,
    /// It is up at the end.
    pub up: bool,
    /// Outcomes on its disk, by task.
    pub outcomes: BTreeMap<TaskId, Hash>,
    /// Headers that it adopted, by (lane, epoch).
    pub headers: BTreeMap<(u32, u64), Hash>,
    /// (task, item, label) of reveals that a quorum took in.
    pub acknowledged: Vec<(TaskId, u32, u16)>,
    /// Penalties that others gave it.
    pub penalties: u64,
    /// Their points.
    pub penalty_points: u64,
}

/// Money on chain at the end.
#[derive(Clone, Debug)]
pub struct MoneyEvidence {
    /// The first change of the token supply, if there was any.
    pub supply_changed: Option<String>,
    /// Released by escrows.
    pub released: Amount,
    /// Owed by the last payout root.
    pub owed: Amount,
    /// Paid when everybody claimed once.
    pub claimed: Amount,
    /// Paid when everybody claimed again.
    pub claimed_again: Amount,
    /// Claims that the chain refused the first time although something was owed.
    pub claims_refused: Vec<String>,
    /// Supply before and after the claims.
    pub supply: (Amount, Amount),
}

impl Evidence {
    /// Looks at everything that is left.
    pub(crate) fn gather(remains: Remains, timing: Timing) -> io::Result<Self> {
        let Remains {
            scenario,
            seed,
            simulated_ms,
            nodes,
            mut chain,
            plans,
            published,
            counts,
            traffic,
            trace,
            finished_ms,
        } = remains;
        let mut outcomes = BTreeMap::new();
        let seen: Vec<NodeEvidence> = nodes
            .iter()
            .enumerate()
            .map(|(place, node)| look(node, &plans, counts.penalties.get(&place), &mut outcomes))
            .collect();
        let tasks = plans
            .iter()
            .zip(published)
            .map(|(plan, published)| TaskEvidence {
                id: plan.id,
                title: plan.manifest.title.clone(),
                published,
                price: plan.manifest.price.0,
                truth: plan.truth.clone(),
                funded_ms: chain.funded_ms.get(&plan.id).copied(),
                finished_ms: finished_ms.get(&plan.id).copied(),
                outcome: seen
                    .iter()
                    .filter(|n| !n.hostile)
                    .find_map(|n| n.outcomes.get(&plan.id).copied()),
            })
            .collect();
        let unjust = counts.blamed.iter().map(|(by, whom, points, why)| {
            format!(
                "{} gave {} {points} points: {why}",
                nodes[*by].name, nodes[*whom].name
            )
        });
        let text = |map: &BTreeMap<&'static str, u64>| {
            map.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
        };
        let groups = scenario.population.iter().enumerate();
        Ok(Self {
            seed,
            simulated_ms,
            tasks,
            outcomes,
            money: claim_everything(&mut chain, &nodes),
            alarms: counts.alarms,
            conflicts: counts.conflicts,
            unjust: unjust.collect(),
            refused_commands: counts.refused_commands,
            traffic,
            calls_done: text(&chain.done),
            calls_reverted: chain.reverted.clone(),
            events: counts.events,
            events_by_kind: text(&counts.by_kind),
            crashes: counts.crashes,
            writes_lost: counts.writes_lost,
            timing,
            must_not_profit: groups
                .filter(|(_, p)| p.must_not_profit)
                .map(|(i, _)| i)
                .collect(),
            profit_luck: scenario.checks.profit_luck,
            accuracy_luck: scenario.checks.accuracy_luck.into(),
            nodes: seen,
            trace_entries: trace.entries,
            digest: trace.finish()?,
        })
    }

    /// The outcome that counts for a task: the first honest node's. That all are equal is a check of its own.
    pub fn outcome_of(&self, task: &TaskEvidence) -> Option<&TaskOutcome> {
        self.outcomes.get(&task.outcome?)
    }

    /// Place of the node behind an account.
    pub fn node_of(&self) -> BTreeMap<Account, usize> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(i, n)| (n.account, i))
            .collect()
    }
}

fn look(
    node: &Node,
    plans: &[Plan],
    penalties: Option<&(u64, u64)>,
    outcomes: &mut BTreeMap<Hash, TaskOutcome>,
) -> NodeEvidence {
    let mut own = BTreeMap::new();
    for plan in plans {
        let Some(bytes) = node.disk.outcome(&plan.id) else {
            continue;
        };
        let hash = Hash(*blake3::hash(bytes).as_bytes());
        own.insert(plan.id, hash);
        if !outcomes.contains_key(&hash)
            && let Ok(outcome) = codec::decode::<TaskOutcome>(bytes, usize::MAX)
        {
            outcomes.insert(hash, outcome);
        }
    }
    let acknowledged = node.acknowledged.iter().flat_map(|((task, _), answers)| {
        answers.iter().map(|(item, label)| (*task, *item, *label))
    });
    NodeEvidence {
        name: node.name.clone(),
        population: node.population,
        account: node.account,
        hostile: node.actor.is_hostile(),
        up: node.core.is_some(),
        outcomes: own,
        headers: node.headers.clone(),
        acknowledged: acknowledged.collect(),
        penalties: penalties.map_or(0, |p| p.0),
        penalty_points: penalties.map_or(0, |p| p.1),
    }
}

/// Everybody claims with the newest payout file that an honest node holds, twice.
fn claim_everything(chain: &mut Chain, nodes: &[Node]) -> MoneyEvidence {
    let totals = chain.ledger.released(0);
    let before = chain.ledger.supply();
    let file = nodes
        .iter()
        .filter(|n| !n.actor.is_hostile())
        .filter_map(|n| n.disk.get(Family::Payout, &0u32.to_be_bytes()))
        .filter_map(|bytes| codec::decode::<PayoutFile>(bytes, usize::MAX).ok())
        .max_by_key(|file| file.epoch)
        .map(PayoutFile::proofs);
    let claims: Vec<_> = file
        .iter()
        .flat_map(|p| p.file().leaves.iter().filter_map(|l| p.claim(&l.0)))
        .collect();
    let mut refused = Vec::new();
    let mut claim_all = |ledger: &mut assay_protocol::settlement::Ledger, note: bool| {
        let mut sum = Amount::ZERO;
        for claim in &claims {
            match ledger.claim(claim) {
                Ok(amount) => sum = Amount(sum.0 + amount.0),
                Err(error) if note => refused.push(format!("{}: {error}", claim.payee)),
                Err(_) => {}
            }
        }
        sum
    };
    let claimed = claim_all(&mut chain.ledger, true);
    let claimed_again = claim_all(&mut chain.ledger, false);
    MoneyEvidence {
        supply_changed: chain.supply_broken.map(|(block, before, after)| {
            format!("block {block} changed the supply from {before} to {after}")
        }),
        released: totals.released,
        owed: totals.owed,
        claimed,
        claimed_again,
        claims_refused: refused,
        supply: (before, chain.ledger.supply()),
    }
}

/// How long a run took. For people only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Wall clock.
    pub wall: Duration,
    /// Processor time of the thread; the wall clock where the system does not tell.
    pub cpu: Duration,
}

/// A running watch.
pub(crate) struct Watch(Instant, Option<Duration>);

impl Timing {
    pub(crate) fn start() -> Watch {
        Watch(Instant::now(), cpu_time())
    }
}

impl Watch {
    pub(crate) fn stop(self) -> Timing {
        let wall = self.0.elapsed();
        let cpu = self
            .1
            .zip(cpu_time())
            .and_then(|(from, to)| to.checked_sub(from))
            .unwrap_or(wall);
        Timing { wall, cpu }
    }
}

/// Time that this thread has spent on a processor, where Linux tells.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(
        text.split_whitespace().next()?.parse().ok()?,
    ))
}
