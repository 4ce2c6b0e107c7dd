//! Following a lane: chain facts in, anchored epochs recomputed, state adopted only when our own computation gives the same header.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Asked, Core, Effect, Family, Millis, Notice, Op,
    agree::Agreement,
    effect::{epoch_key, fallback_key},
    equivocation::Shown,
    fault::Accusation,
    overrule::Overrule,
};
use crate::{
    codec,
    id::{Account, Hash, NodeKey, RecordId, TaskId},
    lane::{Applied, Fallback, FlatFile, LaneState, records_root, role},
    limit,
    message::{BlockNews, ChainFact, EpochBody, EpochHeader, Request, Response},
    verify::{Authentic, Decoded},
};

/// An anchored epoch whose content we do not have yet.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub header: Box<EpochHeader>,
    pub hash: Hash,
    /// Places of the signers in the committee.
    pub signers: Vec<u8>,
    /// Chain time of the post, seconds.
    pub time: u64,
    /// It does not follow from the records that it names itself.
    pub wrong: bool,
    /// A fault that its leaves show, or the header alone.
    pub accusation: Option<Accusation>,
}

impl Posted {
    /// Whether `body` is what this header says it was made of.
    fn is_of(&self, body: &EpochBody, news: &VecDeque<BlockNews>) -> bool {
        let h = &self.header;
        let own = news.iter().find(|n| n.block.number == body.block.number);
        (body.lane, body.epoch, body.view) == (h.lane, h.epoch, h.view)
            && (body.block.number, body.block.hash) == (h.chain_block, h.chain_block_hash)
            && own.is_none_or(|n| n.block == body.block)
            && records_root(&body.records) == h.records_root
    }
}

/// How far the content of an epoch has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetch {
    pub body: Option<EpochBody>,
    pub asking: bool,
    /// When it was asked for first.
    pub since: Option<Millis>,
    pub retry_at: Millis,
    pub turn: usize,
}

/// One lane as this node sees it.
pub(super) struct Follower {
    pub base: LaneState,
    pub live: LaneState,
    pub news: VecDeque<BlockNews>,
    /// Records waiting for an epoch.
    pub pool: BTreeMap<RecordId, Authentic>,
    /// Records of bodies under evaluation that are not in the pool.
    pub side: BTreeMap<RecordId, Authentic>,
    pub posted: Option<Posted>,
    pub fetch: Fetch,
    pub overrule: Overrule,
    pub shown: Shown,
    /// Epochs that we computed ourselves, by header hash.
    pub computed: BTreeMap<Hash, (EpochBody, Applied)>,
    pub agreement: Agreement,
    pub dirty: bool,
    pub alarmed: bool,
    /// The flat payouts of the last adopted epoch.
    pub flat: Option<FlatFile>,
    /// Fallbacks that were opened at a header which is not adopted yet: task, client, header.
    pub opened: Vec<(TaskId, Account, Hash)>,
}

impl Follower {
    pub fn new(state: LaneState) -> Self {
        Self {
            live: state.clone(),
            base: state,
            news: VecDeque::new(),
            pool: BTreeMap::new(),
            side: BTreeMap::new(),
            posted: None,
            fetch: Fetch::default(),
            overrule: Overrule::default(),
            shown: Shown::default(),
            computed: BTreeMap::new(),
            agreement: Agreement::default(),
            dirty: true,
            alarmed: false,
            flat: None,
            opened: Vec::new(),
        }
    }

    /// A record by name, from wherever it waits.
    pub fn record(&self, id: &RecordId) -> Option<&Authentic> {
        self.pool.get(id).or_else(|| self.side.get(id))
    }

    /// Names in `body` that we do not hold.
    pub fn missing(&self, body: &EpochBody) -> Vec<RecordId> {
        body.records
            .iter()
            .filter(|id| self.record(id).is_none())
            .copied()
            .collect()
    }

    /// The header of the next epoch that the chain holds: the last one posted, because an earlier one was revoked.
    fn next_posted(&self) -> Option<Posted> {
        let mut found = None;
        let facts = self
            .news
            .iter()
            .flat_map(|n| n.facts.iter().map(|fact| (n.block.time, fact)));
        for (time, fact) in facts {
            match fact {
                ChainFact::EpochPosted {
                    header, signers, ..
                } if header.lane == self.base.lane && header.epoch == self.base.epoch + 1 => {
                    found = Some(Posted {
                        hash: header.hash(),
                        header: header.clone(),
                        signers: signers.clone(),
                        time,
                        wrong: false,
                        accusation: Accusation::of_header(header),
                    });
                }
                ChainFact::EpochsRevoked { lane, from }
                    if *lane == self.base.lane && *from <= self.base.epoch + 1 =>
                {
                    found = None;
                }
                _ => {}
            }
        }
        found
    }

    /// Whom to ask for the content of the posted epoch next. Every node keeps what it adopted, so when all members were asked twice, every
    /// other question goes to somebody else.
    fn server(&self, me: &NodeKey) -> Option<NodeKey> {
        let members: Vec<NodeKey> = self.live.member_keys();
        let accounts = self.live.accounts.values().map(|a| a.node_key);
        let (members, others): (Vec<NodeKey>, Vec<NodeKey>) = accounts
            .filter(|k| k != me)
            .partition(|k| members.contains(k));
        let beyond = self.fetch.turn.checked_sub(self.members_twice());
        let elsewhere = members.is_empty() || beyond.is_some_and(|n| n % 2 == 0);
        let peers = if elsewhere && !others.is_empty() {
            others
        } else {
            members
        };
        // Start somewhere else on every node, so that not everybody asks the first.
        let turn = usize::from(me.0[0]) + beyond.map_or(self.fetch.turn, |n| n / 2);
        peers.get(turn % peers.len().max(1)).copied()
    }

    /// The first epoch that `block` takes back.
    fn revoked(&self, block: &BlockNews) -> Option<u64> {
        let from = block.facts.iter().filter_map(|fact| match fact {
            ChainFact::EpochsRevoked { lane, from } if *lane == self.base.lane => Some(*from),
            _ => None,
        });
        from.min()
    }
}

impl Core {
    pub(super) fn on_chain(&mut self, news: Vec<BlockNews>) {
        let profile = self.config.profile.clone();
        let lanes: Vec<u32> = self.lanes.keys().copied().collect();
        let (mut alarms, mut revoked) = (Vec::new(), Vec::new());
        for lane in lanes {
            let Some(f) = self.lanes.get_mut(&lane) else {
                continue;
            };
            let before = phases(&f.live);
            for block in &news {
                let first = f.live.block.hash == Hash::ZERO;
                if block.block.number <= f.live.block.number && !first {
                    continue;
                }
                let opened = block.facts.iter().filter_map(|fact| match fact {
                    ChainFact::FallbackOpened {
                        task,
                        client,
                        header,
                    } if f.live.holds(task, client) => Some((*task, *client, *header)),
                    _ => None,
                });
                f.opened.extend(opened);
                f.live.ingest(block, &profile);
                f.news.push_back(block.clone());
                let gone = f.revoked(block);
                if let Some(from) = gone {
                    revoked.push((lane, from));
                }
                match gone {
                    Some(from) if from > f.base.epoch => {
                        // The next committee starts over from the state that this node never left.
                        f.posted = None;
                        f.fetch = Fetch::default();
                        f.overrule = Overrule::default();
                        f.shown = Shown::default();
                        f.agreement = Agreement::default();
                        f.computed.clear();
                        f.alarmed = false;
                    }
                    Some(from) if !f.alarmed => {
                        f.alarmed = true;
                        alarms.push(format!(
                            "lane {lane}: epoch {from}, which this node had adopted, was taken back. This node stops following \
                             the lane; keep its data directory as evidence and start again with an empty one"
                        ));
                    }
                    _ => {}
                }
            }
            f.dirty = true;
            if f.posted.is_none() {
                f.posted = f.next_posted();
                self.compare_shown(lane);
            }
            self.keep_fallbacks(lane);
            self.fold_old_news(lane);
            self.announce_phases(lane, &before);
            self.try_adopt(lane);
            self.watch_escrows(lane);
        }
        for (lane, from) in revoked {
            self.notify(Notice::Revoked { lane, from });
        }
        for text in alarms {
            self.notify(Notice::Alarm { text });
        }
        self.tick_labeler();
        self.tick_client();
        let lanes: Vec<u32> = self.lanes.keys().copied().collect();
        for lane in lanes {
            self.tick_agree(lane);
        }
    }

    /// A quiet lane's facts are folded into the base, so that memory stays bounded: nothing below the tip can be pinned once it is old.
    fn fold_old_news(&mut self, lane: u32) {
        let profile = self.config.profile.clone();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        if f.posted.is_some() || f.news.len() <= limit::BLOCKS_KEPT_MAX {
            return;
        }
        let fold = f.news.len() - limit::BLOCKS_KEPT_MAX / 2;
        for block in f.news.drain(..fold) {
            f.base.ingest(&block, &profile);
        }
        let (key, value) = (lane.to_be_bytes().to_vec(), codec::encode(&f.base));
        self.persist(vec![Op::Put {
            family: Family::Snapshot,
            key,
            value,
        }]);
    }

    fn announce_phases(
        &mut self,
        lane: u32,
        before: &BTreeMap<TaskId, (&'static str, Option<u8>)>,
    ) {
        let Some(f) = self.lanes.get(&lane) else {
            return;
        };
        let now = phases(&f.live);
        let changed: Vec<_> = now
            .into_iter()
            .filter(|(id, p)| before.get(id) != Some(p))
            .collect();
        for (task, (phase, wave)) in changed {
            self.notify(Notice::Phase { task, phase, wave });
        }
    }

    /// Adopts the posted epoch once its content is here.
    pub(super) fn try_adopt(&mut self, lane: u32) {
        loop {
            let Some(f) = self.lanes.get_mut(&lane) else {
                return;
            };
            let Some(posted) = f.posted.clone() else {
                return;
            };
            if !f.computed.contains_key(&posted.hash) && !self.compute_posted(lane, &posted) {
                return;
            }
            let Some(f) = self.lanes.get_mut(&lane) else {
                return;
            };
            let Some((body, applied)) = f.computed.remove(&posted.hash) else {
                return;
            };
            self.adopt(lane, &body, applied, posted.signers.len());
        }
    }

    /// Computes the posted epoch from the fetched body; false when something is still missing.
    fn compute_posted(&mut self, lane: u32, posted: &Posted) -> bool {
        let profile = self.config.profile.clone();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return false;
        };
        let Some(body) = f.fetch.body.clone() else {
            return false;
        };
        if posted.wrong || !f.missing(&body).is_empty() {
            return false;
        }
        let records: Vec<&Authentic> = body.records.iter().filter_map(|id| f.record(id)).collect();
        let news: Vec<BlockNews> = f.news.iter().cloned().collect();
        let result = f.base.apply(&body, &records, &news, &profile);
        match result {
            Ok(applied) if applied.header.hash() == posted.hash => {
                f.computed.insert(posted.hash, (body, applied));
                true
            }
            other => {
                // The body is the header's own, so the header is wrong, whoever served it.
                let own = other.as_ref().ok().map(|a| a.state.payout_file());
                let shown = own.and_then(|own| f.accuse(&posted.header, own));
                let why = other.map_or_else(
                    |e| e.to_string(),
                    |_| "its records give another header".into(),
                );
                if let Some(posted) = f.posted.as_mut() {
                    posted.wrong = true;
                    posted.accusation = posted.accusation.take().or(shown);
                }
                f.alarmed = true;
                let text = format!(
                    "lane {lane}, epoch {}: the anchored header does not follow from the records that it names ({why}). This node waits \
                     until the epoch is taken back; validators who see the same sign for that",
                    posted.header.epoch
                );
                self.notify(Notice::Alarm { text });
                false
            }
        }
    }

    fn adopt(&mut self, lane: u32, body: &EpochBody, applied: Applied, signers: usize) {
        let profile = self.config.profile.clone();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let before = phases(&f.live);
        let flat = FlatFile {
            header: applied.header.clone(),
            payouts: applied.flat,
        };
        let mut ops = vec![
            Op::Put {
                family: Family::Snapshot,
                key: lane.to_be_bytes().to_vec(),
                value: codec::encode(&applied.state),
            },
            Op::Put {
                family: Family::Epoch,
                key: epoch_key(lane, body.epoch),
                value: codec::encode(body),
            },
            Op::Put {
                family: Family::Payout,
                key: lane.to_be_bytes().to_vec(),
                value: codec::encode(&applied.state.payout_file()),
            },
            Op::Put {
                family: Family::Flat,
                key: lane.to_be_bytes().to_vec(),
                value: codec::encode(&flat),
            },
        ];
        for id in &body.records {
            if let Some(record) = f.record(id) {
                let value = record.envelope().to_bytes();
                ops.push(Op::Put {
                    family: Family::Record,
                    key: id.0.to_vec(),
                    value,
                });
            }
        }
        for outcome in &applied.outcomes {
            ops.push(Op::Put {
                family: Family::Outcome,
                key: outcome.task.0.to_vec(),
                value: codec::encode(outcome),
            });
        }
        f.base = applied.state;
        f.news.retain(|n| n.block.number > f.base.block.number);
        f.live = f.base.clone();
        for block in &f.news {
            f.live.ingest(block, &profile);
        }
        f.side.clear();
        f.computed.clear();
        f.fetch = Fetch::default();
        f.overrule = Overrule::default();
        f.shown = Shown::default();
        f.agreement = Agreement::default();
        f.dirty = true;
        f.flat = Some(flat);
        f.posted = f.next_posted();
        // Records that no phase can await any more go.
        let live = &f.live;
        let gone: Vec<RecordId> = f
            .pool
            .iter()
            .filter(|(id, r)| body.records.binary_search(id).is_ok() || !still_awaited(live, r))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            f.pool.remove(&id);
            ops.push(Op::Delete {
                family: Family::Promise,
                key: id.0.to_vec(),
            });
        }
        self.persist(ops);
        self.announce_phases(lane, &before);
        self.notify(Notice::Anchored {
            header: Box::new(applied.header),
            signers,
        });
        for outcome in applied.outcomes {
            self.announced.remove(&outcome.task);
            self.notify(Notice::Finished {
                outcome: Box::new(outcome),
            });
        }
        self.keep_fallbacks(lane);
    }

    /// Whether a task's fallback was opened at a header whose content this node does not have, so that it cannot prove what is due.
    pub fn lacks_fallback(&self, task: &TaskId) -> bool {
        let opened = self.lanes.values().flat_map(|f| &f.opened);
        opened.into_iter().any(|(opened, ..)| opened == task)
    }

    /// Keeps what paying the opened tasks takes, before the next epoch replaces the file that holds it.
    fn keep_fallbacks(&mut self, lane: u32) {
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let here = f.flat.as_ref().map_or(Hash::ZERO, |f| f.header.hash());
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut f.opened)
            .into_iter()
            .partition(|(_, _, header)| *header == here || *header == Hash::ZERO);
        f.opened = later;
        let kept = now.into_iter().map(|(task, client, header)| {
            let file = f.flat.as_ref().filter(|_| header != Hash::ZERO);
            let none = Fallback {
                header: None,
                claims: Vec::new(),
                bonus: None,
            };
            let fallback = file.map_or(none, |f| f.fallback(&task, &client));
            (task, client, fallback)
        });
        for (task, client, fallback) in kept.collect::<Vec<_>>() {
            let payees = fallback.claims.len();
            self.persist(vec![Op::Put {
                family: Family::Flat,
                key: fallback_key(&task, &client),
                value: codec::encode(&fallback),
            }]);
            self.announced.remove(&task);
            self.notify(Notice::FallbackOpened {
                task,
                client,
                payees,
            });
        }
    }

    pub(super) fn tick_follow(&mut self, lane: u32) {
        let me = self.node_key();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let (Some(posted), false) = (f.posted.clone(), f.alarmed) else {
            return;
        };
        if f.computed.contains_key(&posted.hash) || f.fetch.asking || self.now < f.fetch.retry_at {
            return;
        }
        let Some(peer) = f.server(&me) else {
            return;
        };
        f.fetch.asking = true;
        f.fetch.since.get_or_insert(self.now);
        f.fetch.retry_at = self.now + limit::RETRY_MS;
        let sent = match &f.fetch.body {
            None => {
                let request = Request::GetEpoch {
                    lane,
                    epoch: posted.header.epoch,
                };
                self.ask(
                    peer,
                    &request,
                    Asked::Epoch {
                        lane,
                        epoch: posted.header.epoch,
                    },
                )
            }
            Some(body) => {
                let mut ids = f.missing(body);
                ids.truncate(limit::RECORDS_ASKED_MAX);
                self.ask(
                    peer,
                    &Request::GetRecords { ids },
                    Asked::Records { lane, from: peer },
                )
            }
        };
        if let (false, Some(f)) = (sent, self.lanes.get_mut(&lane)) {
            f.fetch.asking = false;
        }
    }

    pub(super) fn on_epoch_body(&mut self, lane: u32, epoch: u64, response: Response) {
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        f.fetch.asking = false;
        let Some(posted) = f.posted.as_ref().filter(|p| p.header.epoch == epoch) else {
            return;
        };
        match response {
            // Another body may be that of an epoch that was taken back since.
            Response::Epoch(body)
                if body.records.len() <= limit::EPOCH_RECORDS_MAX
                    && posted.is_of(&body, &f.news) =>
            {
                f.fetch.body = Some(body);
                f.fetch.retry_at = self.now;
            }
            _ => f.fetch.turn += 1,
        }
        self.try_adopt(lane);
        self.tick_follow(lane);
    }

    pub(super) fn on_records(&mut self, lane: u32, from: NodeKey, response: Response) {
        let network = self.network;
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        f.fetch.asking = false;
        let wanted: BTreeSet<RecordId> = f
            .fetch
            .body
            .iter()
            .chain(f.agreement.evaluating.iter().map(|e| &e.body))
            .flat_map(|b| b.records.iter().copied())
            .collect();
        let mut faults = Vec::new();
        let mut any = false;
        if let Response::Records(envelopes) = response {
            for envelope in envelopes {
                match Decoded::from_envelope(envelope).and_then(|d| d.authenticate(&network)) {
                    Ok(record) if wanted.contains(&record.id()) => {
                        any = true;
                        f.side.insert(record.id(), record);
                    }
                    Ok(_) => {}
                    Err(fault) => faults.push(fault),
                }
            }
        }
        if any {
            f.fetch.retry_at = self.now;
        } else {
            f.fetch.turn += 1;
        }
        for fault in faults {
            self.penalise(from, &fault);
        }
        self.try_adopt(lane);
        if any {
            self.resume_evaluation(lane);
        } else {
            self.give_up_evaluation(lane, from);
        }
        self.tick_follow(lane);
    }

    /// Funded tasks whose announcement we miss are asked for: the chain is the second channel.
    fn watch_escrows(&mut self, lane: u32) {
        let me = self.node_key();
        let Some(f) = self.lanes.get(&lane) else {
            return;
        };
        let peers: Vec<NodeKey> = f
            .live
            .member_keys()
            .into_iter()
            .filter(|k| *k != me)
            .collect();
        let unknown: Vec<TaskId> = f
            .live
            .escrows
            .keys()
            .map(|k| k.0)
            .filter(|t| !self.announced.contains_key(t))
            .filter(|t| {
                !self
                    .asked
                    .values()
                    .any(|a| matches!(a, Asked::Announce { task } if task == t))
            })
            .collect();
        if peers.is_empty() {
            return;
        }
        for (i, task) in unknown.into_iter().take(8).enumerate() {
            let turn = usize::from(me.0[1]) + i + (self.now / limit::RETRY_MS) as usize;
            self.ask(
                peers[turn % peers.len()],
                &Request::GetAnnounce { task },
                Asked::Announce { task },
            );
        }
    }

    /// Whether this node asks the chain for a committee: validators do, when there is none or its term is over.
    pub(super) fn wants_draw(&self, lane: u32) -> bool {
        let params = &self.config.profile.params;
        let Some(live) = self.live(lane) else {
            return false;
        };
        let due = match &live.committee {
            None => {
                let validators = live
                    .accounts
                    .values()
                    .filter(|a| a.can(role::VALIDATOR))
                    .count();
                validators >= params.committee_min as usize
            }
            Some(c) => live.epoch >= c.since_epoch + params.term_epochs,
        };
        due && self.config.evm.is_some() && self.own_account(lane, role::VALIDATOR).is_some()
    }

    /// Emits an order that is safe to repeat.
    pub(super) fn submit(&mut self, call: super::ChainCall) {
        self.emit(Effect::Submit(call));
    }
}

fn phases(state: &LaneState) -> BTreeMap<TaskId, (&'static str, Option<u8>)> {
    state
        .tasks
        .iter()
        .map(|(id, t)| (*id, (t.phase.name(), t.phase.wave())))
        .collect()
}

/// Whether a waiting record may still go into an epoch.
fn still_awaited(state: &LaneState, record: &Authentic) -> bool {
    let task = record.envelope().task;
    match state.tasks.get(&task) {
        Some(open) => open.admits(record, state.speaker(record)).is_ok(),
        // Announcements and custody votes wait for the funding.
        None => {
            state.escrows.keys().any(|k| k.0 == task) || state.epoch == 0 || {
                matches!(
                    record.envelope().kind,
                    crate::message::Kind::Announce | crate::message::Kind::Custody
                )
            }
        }
    }
}
