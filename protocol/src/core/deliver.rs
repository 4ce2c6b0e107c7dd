//! Bringing our own records to the committee: to every member, again and again, until a quorum gave receipts or nobody awaits them any more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asked, ChainCall, Core, Family, Millis, Notice, Op, restore::OwnKey};
use crate::{
    id::{Account, NodeKey, RecordId, TaskId},
    limit,
    message::{Envelope, Kind, Request, Response},
    task::Phase,
};

/// Milliseconds for which the committee is asked before the chain is: every member twice.
const FORCE_AFTER_MS: Millis = 2 * (limit::REQUEST_TIMEOUT_MS + limit::RETRY_MS);
/// The part of a phase, counted from its end, in which a record without a quorum of receipts goes to the chain.
const FORCE_PART: u64 = 8;

/// A record on its way.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub envelope: Envelope,
    pub lane: u32,
    /// Nodes beyond the committee that want it too.
    pub extra: BTreeSet<NodeKey>,
    pub receipts: BTreeSet<NodeKey>,
    pub next_try: BTreeMap<NodeKey, Millis>,
    pub announced: bool,
    pub last_refusal: Option<String>,
    /// When it was first asked for, here and since the last start.
    pub since: Option<Millis>,
    /// It was handed to the chain.
    pub forced: bool,
}

/// How a delivery stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// Task.
    pub task: TaskId,
    /// Kind of record.
    pub kind: Kind,
    /// Members who gave receipts.
    pub receipts: usize,
    /// Receipts that make a quorum.
    pub threshold: usize,
    /// What a member last said against it.
    pub last_refusal: Option<String>,
}

impl Core {
    /// Deliveries under way.
    pub fn deliveries(&self) -> Vec<DeliveryView> {
        self.deliveries
            .values()
            .map(|d| DeliveryView {
                task: d.envelope.task,
                kind: d.envelope.kind,
                receipts: d.receipts.len(),
                threshold: self
                    .live(d.lane)
                    .map_or(0, crate::lane::LaneState::threshold),
                last_refusal: d.last_refusal.clone(),
            })
            .collect()
    }

    /// Starts a delivery; durable before the first request leaves.
    pub(super) fn deliver(&mut self, lane: u32, envelope: Envelope, extra: BTreeSet<NodeKey>) {
        let id = envelope.id();
        if self.deliveries.contains_key(&id) {
            return;
        }
        self.put(
            Family::Own,
            OwnKey::Delivery(id).to_bytes(),
            envelope.to_bytes(),
        );
        self.resume_delivery(lane, envelope, extra);
    }

    pub(super) fn resume_delivery(
        &mut self,
        lane: u32,
        envelope: Envelope,
        extra: BTreeSet<NodeKey>,
    ) {
        let delivery = Delivery {
            lane,
            extra,
            receipts: BTreeSet::new(),
            next_try: BTreeMap::new(),
            announced: false,
            last_refusal: None,
            since: None,
            forced: false,
            envelope,
        };
        self.deliveries.insert(delivery.envelope.id(), delivery);
        self.tick_deliveries();
    }

    pub(super) fn tick_deliveries(&mut self) {
        let me = self.node_key();
        let mut done = Vec::new();
        let mut send: Vec<(RecordId, NodeKey, Envelope)> = Vec::new();
        let mut force = Vec::new();
        for (id, d) in &mut self.deliveries {
            let Some(f) = self.lanes.get(&d.lane) else {
                continue;
            };
            let mut targets: Vec<NodeKey> = f.live.member_keys();
            targets.extend(d.extra.iter().copied());
            targets.retain(|t| *t != me);
            let fate = awaited(f, &d.envelope);
            let complete = !targets.is_empty() && targets.iter().all(|t| d.receipts.contains(t));
            if fate == Fate::Over || complete && d.envelope.kind != Kind::Announce {
                done.push(*id);
                continue;
            }
            if fate == Fate::Early {
                continue;
            }
            let since = *d.since.get_or_insert(self.now);
            if !d.forced
                && self.now >= since + FORCE_AFTER_MS
                && d.receipts.len() < f.live.threshold()
                && let Some(client) = closing_soon(f, &d.envelope)
            {
                d.forced = true;
                force.push((client, *id, d.envelope.clone()));
            }
            for target in targets {
                let due = d.next_try.get(&target).is_none_or(|at| self.now >= *at);
                if due && !d.receipts.contains(&target) {
                    d.next_try.insert(
                        target,
                        self.now + limit::REQUEST_TIMEOUT_MS + limit::RETRY_MS,
                    );
                    send.push((*id, target, d.envelope.clone()));
                }
            }
        }
        for (client, record, envelope) in force {
            let (task, kind) = (envelope.task, kind_name(envelope.kind));
            self.notify(Notice::Forced { task, record, kind });
            self.submit(ChainCall::ForceRecord {
                client,
                record: Box::new(envelope),
            });
        }
        for id in done {
            self.deliveries.remove(&id);
            self.persist(vec![Op::Delete {
                family: Family::Own,
                key: OwnKey::Delivery(id).to_bytes(),
            }]);
        }
        for (record, to, envelope) in send {
            if !self.ask(
                to,
                &Request::Submit { envelope },
                Asked::Deliver { record, to },
            ) {
                break;
            }
        }
    }

    pub(super) fn on_delivered(&mut self, record: RecordId, to: NodeKey, response: Response) {
        let network = self.network;
        let again = self.now + limit::RETRY_MS;
        let Some(d) = self.deliveries.get_mut(&record) else {
            return;
        };
        match response {
            Response::Receipt(r)
                if r.record == record && r.member == to && r.check(&network).is_ok() =>
            {
                d.receipts.insert(to);
                let threshold = self
                    .lanes
                    .get(&d.lane)
                    .map_or(usize::MAX, |f| f.live.threshold());
                if !d.announced && d.receipts.len() >= threshold {
                    d.announced = true;
                    let (task, kind) = (d.envelope.task, kind_name(d.envelope.kind));
                    self.notify(Notice::Delivered { task, record, kind });
                }
            }
            Response::Refused { why, .. } => {
                d.last_refusal = Some(why);
                d.next_try.insert(to, again);
            }
            _ => {
                d.next_try.insert(to, again);
            }
        }
    }
}

/// The client of the record's task, when the phase that awaits the record is about to close and the chain can take it.
fn closing_soon(f: &super::follow::Follower, envelope: &Envelope) -> Option<Account> {
    let task = f.live.tasks.get(&envelope.task)?;
    let durations = &task.manifest.durations;
    let duration = match envelope.kind {
        Kind::Announce | Kind::Custody => return None,
        Kind::Enrol => durations.enrol_secs,
        Kind::Commit => durations.commit_secs,
        Kind::Reveal => durations.reveal_secs,
        Kind::GoldOpen => durations.gold_secs,
    };
    let (now, deadline) = (f.live.block.time, task.phase.deadline()?);
    let margin = u64::from(duration).div_ceil(FORCE_PART);
    let near = now + margin >= deadline && now < deadline;
    let fits = envelope.to_bytes().len() <= limit::FORCED_BYTES_MAX;
    (near && fits).then_some(task.manifest.client)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Announce => "announce",
        Kind::Custody => "custody",
        Kind::Enrol => "enrol",
        Kind::Commit => "commit",
        Kind::Reveal => "reveal",
        Kind::GoldOpen => "gold-open",
    }
}

#[derive(PartialEq, Eq)]
enum Fate {
    Early,
    Now,
    Over,
}

/// Whether the committee can use the record now, later, or never again.
fn awaited(f: &super::follow::Follower, envelope: &Envelope) -> Fate {
    let state = &f.live;
    let Some(task) = state.tasks.get(&envelope.task) else {
        let escrowed = state.escrows.keys().any(|k| k.0 == envelope.task);
        return match envelope.kind {
            // Not open yet: announcements and custody votes are what opens it. A finished task leaves no trace in the state, and
            // its records were dropped when its end was adopted.
            Kind::Announce | Kind::Custody => Fate::Now,
            _ if escrowed => Fate::Early,
            _ => Fate::Over,
        };
    };
    let order = |phase: &Phase| match *phase {
        Phase::Enrolling { .. } => (0u16, 0u8),
        Phase::Drawing { wave, .. } => (u16::from(wave) * 4 + 1, 0),
        Phase::Labeling { wave, .. } => (u16::from(wave) * 4 + 2, 0),
        Phase::Revealing { wave, .. } => (u16::from(wave) * 4 + 3, 0),
        Phase::OpeningGold { wave, .. } => (u16::from(wave) * 4 + 4, 0),
        Phase::Settled | Phase::Cancelled { .. } => (u16::MAX, 0),
    };
    let wave = u16::from(envelope.wave);
    let wanted = match envelope.kind {
        Kind::Announce | Kind::Custody => return Fate::Over,
        Kind::Enrol => (0, 0),
        Kind::Commit => (wave * 4 + 2, 0),
        Kind::Reveal => (wave * 4 + 3, 0),
        Kind::GoldOpen => (wave * 4 + 4, 0),
    };
    match order(&task.phase).cmp(&wanted) {
        std::cmp::Ordering::Less => Fate::Early,
        std::cmp::Ordering::Equal => Fate::Now,
        std::cmp::Ordering::Greater => Fate::Over,
    }
}
