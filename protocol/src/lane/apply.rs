//! One epoch: from the state before it, its records and its chain facts to the state after it and the header that says so.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bonus::Bonus,
    fallback::{FlatPayouts, state_root},
    state::{Evidence, LaneState, role},
    trees::records_root,
};
use crate::{
    amount::Amount,
    id::{Account, Hash, NodeKey, RecordId, TaskId},
    limit,
    message::{BlockNews, EpochBody, EpochHeader, Kind, SettledTask},
    network::NetworkProfile,
    task::{CancelReason, LabelerOutcome, Money, Phase, TaskOutcome, TaskState},
    verify::{Authentic, Body},
};

/// Why a body is not the next epoch. Whoever proposed it was wrong, or is looking at another chain block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Not the epoch after this state, or another lane.
    #[error("epoch {got} of lane {got_lane} does not follow epoch {have} of lane {have_lane}")]
    NotNext {
        /// Epoch of the body.
        got: u64,
        /// Lane of the body.
        got_lane: u32,
        /// Epoch of the state.
        have: u64,
        /// Lane of the state.
        have_lane: u32,
    },
    /// The previous header is not anchored in any block up to the body's.
    #[error("the previous header is not anchored up to block {0}")]
    ParentNotAnchored(u64),
    /// The chain facts given do not reach the body's block, or it has another hash there.
    #[error("the body's block {0} is not the one in the chain facts")]
    WrongBlock(u64),
    /// No committee is drawn.
    #[error("no committee is drawn for lane {0}")]
    NoCommittee(u32),
    /// The records given are not the ones named.
    #[error("record {0} of the body is missing or doubled")]
    WrongRecords(RecordId),
    /// A record that no phase awaits.
    #[error("record {id} does not belong here: {why}")]
    ForeignRecord {
        /// The record.
        id: RecordId,
        /// Why not.
        why: String,
    },
    /// Records for a task whose phase does not close yet.
    #[error("task {0} is not due")]
    NotDue(TaskId),
    /// Nothing changes.
    #[error("the epoch changes nothing")]
    Empty,
}

/// A computed epoch.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The state after it; its head is the header's hash.
    pub state: LaneState,
    /// The only header that fits.
    pub header: EpochHeader,
    /// Tasks whose escrow it releases.
    pub settled: Vec<SettledTask>,
    /// Their outcomes.
    pub outcomes: Vec<TaskOutcome>,
    /// What the tasks that stayed open would pay without a committee, and how bonuses are shared.
    pub flat: FlatPayouts,
}

/// What a committee member could put into the next epoch.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// Names of the records of every task that is due, strictly rising.
    pub records: Vec<RecordId>,
    /// Something would change.
    pub any: bool,
}

impl LaneState {
    /// Who may send a record of this kind about this task: the account it speaks for.
    pub fn speaker(&self, record: &Authentic) -> Option<Account> {
        let sender = &record.envelope().sender;
        match record.envelope().kind {
            Kind::Enrol => self.labeler(sender),
            Kind::Commit | Kind::Reveal | Kind::GoldOpen => self.account_of(sender).map(|(a, _)| a),
            Kind::Announce => self
                .account_of(sender)
                .filter(|(_, a)| a.can(role::CLIENT))
                .map(|(a, _)| a),
            Kind::Custody => {
                let (account, _) = self.account_of(sender)?;
                self.committee
                    .as_ref()?
                    .members
                    .binary_search(&account)
                    .ok()
                    .map(|_| account)
            }
        }
    }

    /// Whether an announcement may ever become a task here: the client is registered, speaks for itself and the terms hold.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn check_announce(
        &self,
        record: &Authentic,
        profile: &NetworkProfile,
    ) -> Result<(), String> {
        let Body::Announce(announce) = record.body() else {
            return Err("not an announcement".into());
        };
        let manifest = &announce.manifest;
        manifest
            .check(&profile.id(), &profile.params)
            .map_err(|e| e.to_string())?;
        if manifest.lane(profile.params.lanes) != self.lane {
            return Err(format!(
                "the task belongs to lane {}",
                manifest.lane(profile.params.lanes)
            ));
        }
        match self.speaker(record) {
            Some(account) if account == manifest.client => Ok(()),
            Some(_) => Err("the manifest names another client than the sender".into()),
            None => Err("the client is not registered with this node key".into()),
        }
    }

    /// Whether the escrow holds what the manifest asks.
    pub fn is_funded(&self, record: &Authentic, profile: &NetworkProfile) -> bool {
        let Body::Announce(announce) = record.body() else {
            return false;
        };
        let (task, client) = (record.envelope().task, announce.manifest.client);
        match (
            self.escrows.get(&(task, client)),
            announce.manifest.required(&profile.params),
        ) {
            (Some(e), Some((deposit, bond))) => e.deposit >= deposit && e.gold_bond >= bond,
            _ => false,
        }
    }

    /// Chooses, from a pool of records, what the next epoch could hold at this state's block.
    pub fn ready<'a>(
        &self,
        pool: impl Iterator<Item = &'a Authentic>,
        profile: &NetworkProfile,
    ) -> Ready {
        let mut by_task: BTreeMap<TaskId, Vec<&Authentic>> = BTreeMap::new();
        for record in pool {
            by_task
                .entry(record.envelope().task)
                .or_default()
                .push(record);
        }
        let mut ready = Ready::default();
        let none = Vec::new();
        for (id, task) in &self.tasks {
            let records = by_task.get(id).unwrap_or(&none);
            let fits = |r: &&Authentic| task.admits(r, self.speaker(r)).is_ok();
            let fitting: Vec<_> = records
                .iter()
                .copied()
                .filter(fits)
                .map(|r| (r.envelope().sender, r.id()))
                .collect();
            // Those that came by the chain count without being named.
            let forced = task.forced(&profile.id());
            let forced = forced.iter().filter(fits).map(|r| r.envelope().sender);
            let senders = fitting.iter().map(|f| f.0).chain(forced);
            let senders = senders.collect::<BTreeSet<_>>().len();
            if task.closes(self.block.time, senders) {
                ready.any = true;
                ready.records.extend(fitting.iter().map(|f| f.1));
            }
        }
        for (task, client) in self.escrows.keys() {
            let records = by_task.get(task).unwrap_or(&none);
            match self.opening_set(*client, records, profile) {
                Some(set) => {
                    ready.any = true;
                    ready.records.extend(set);
                }
                None => ready.any |= self.is_overdue(*task, *client, profile),
            }
        }
        ready.records.sort_unstable();
        ready.records.dedup();
        ready.records.truncate(limit::EPOCH_RECORDS_MAX);
        ready
    }

    fn is_overdue(&self, task: TaskId, client: Account, profile: &NetworkProfile) -> bool {
        self.escrows
            .get(&(task, client))
            .is_some_and(|e| self.block.time >= e.since + u64::from(profile.params.custody_secs))
    }

    /// The announcement and custody records that open a task, when they suffice.
    fn opening_set(
        &self,
        client: Account,
        records: &[&Authentic],
        profile: &NetworkProfile,
    ) -> Option<Vec<RecordId>> {
        if self.tasks.len() >= limit::TASKS_OPEN_MAX {
            return None;
        }
        let announce = records
            .iter()
            .filter(|r| r.envelope().kind == Kind::Announce)
            .min_by_key(|r| r.id())?;
        let fits = matches!(announce.body(), Body::Announce(a) if a.manifest.client == client)
            && self.check_announce(announce, profile).is_ok()
            && self.is_funded(announce, profile);
        let custody: BTreeMap<NodeKey, RecordId> = records
            .iter()
            .filter(|r| r.envelope().kind == Kind::Custody && self.speaker(r).is_some())
            .map(|r| (r.envelope().sender, r.id()))
            .collect();
        if !fits || custody.len() < self.threshold() {
            return None;
        }
        Some(
            std::iter::once(announce.id())
                .chain(custody.into_values())
                .collect(),
        )
    }

    /// Computes the epoch that `body` describes. `records` are the named ones in any order; `news` are the chain blocks after this
    /// state's block, at least up to the body's.
    ///
    /// # Errors
    /// [`ApplyError`] when the body is not a possible next epoch.
    pub fn apply(
        &self,
        body: &EpochBody,
        records: &[&Authentic],
        news: &[BlockNews],
        profile: &NetworkProfile,
    ) -> Result<Applied, ApplyError> {
        if body.lane != self.lane || body.epoch != self.epoch + 1 {
            return Err(ApplyError::NotNext {
                got: body.epoch,
                got_lane: body.lane,
                have: self.epoch,
                have_lane: self.lane,
            });
        }
        let mut state = self.clone();
        state.scores.clear();
        for block in news.iter().filter(|n| n.block.number <= body.block.number) {
            state.ingest(block, profile);
        }
        if state.block != body.block {
            return Err(ApplyError::WrongBlock(body.block.number));
        }
        if !state.head_posted {
            return Err(ApplyError::ParentNotAnchored(body.block.number));
        }
        let by_task = group(body, records)?;
        let mut step = Step {
            state,
            profile,
            settled: Vec::new(),
            outcomes: Vec::new(),
            bonuses: Vec::new(),
            changed: false,
        };
        step.run(&by_task)?;
        step.finish(body)
    }
}

fn group<'a>(
    body: &EpochBody,
    records: &[&'a Authentic],
) -> Result<BTreeMap<TaskId, Vec<&'a Authentic>>, ApplyError> {
    let mut named: BTreeMap<RecordId, &'a Authentic> =
        records.iter().map(|r| (r.id(), *r)).collect();
    let mut by_task: BTreeMap<TaskId, Vec<&'a Authentic>> = BTreeMap::new();
    for (i, id) in body.records.iter().enumerate() {
        if i > 0 && body.records[i - 1] >= *id {
            return Err(ApplyError::WrongRecords(*id));
        }
        let record = named.remove(id).ok_or(ApplyError::WrongRecords(*id))?;
        by_task
            .entry(record.envelope().task)
            .or_default()
            .push(record);
    }
    Ok(by_task)
}

struct Step<'p> {
    state: LaneState,
    profile: &'p NetworkProfile,
    settled: Vec<SettledTask>,
    /// With their clients.
    outcomes: Vec<(Account, TaskOutcome)>,
    bonuses: Vec<Bonus>,
    changed: bool,
}

impl Step<'_> {
    fn run(&mut self, by_task: &BTreeMap<TaskId, Vec<&Authentic>>) -> Result<(), ApplyError> {
        for (id, records) in by_task {
            if self.state.tasks.contains_key(id) || self.open_task(*id, records)? {
                continue;
            }
            let id = records.first().map_or(RecordId([0; 32]), |r| r.id());
            return Err(ApplyError::ForeignRecord {
                id,
                why: "no escrow and no open task".into(),
            });
        }
        let open: Vec<TaskId> = self.state.tasks.keys().copied().collect();
        let none = Vec::new();
        for id in open {
            // A task opened in this very epoch has its records used up.
            let opened_now = by_task
                .get(&id)
                .is_some_and(|r| r.iter().any(|r| r.envelope().kind == Kind::Announce));
            if !opened_now {
                self.advance(id, by_task.get(&id).unwrap_or(&none))?;
            }
        }
        self.cancel_overdue();
        Ok(())
    }

    /// Opens the task that an announcement with a quorum of custody votes describes.
    fn open_task(&mut self, id: TaskId, records: &[&Authentic]) -> Result<bool, ApplyError> {
        let clients: Vec<Account> = self
            .state
            .escrows
            .keys()
            .filter(|k| k.0 == id)
            .map(|k| k.1)
            .collect();
        for client in clients {
            let Some(set) = self.state.opening_set(client, records, self.profile) else {
                continue;
            };
            let announced = records.iter().find_map(|r| match r.body() {
                Body::Announce(a) if a.manifest.client == client => Some((r, a)),
                _ => None,
            });
            let Some((record, announce)) = announced else {
                continue;
            };
            if let Some(extra) = records.iter().find(|r| !set.contains(&r.id())) {
                return Err(ApplyError::ForeignRecord {
                    id: extra.id(),
                    why: "not needed to open the task".into(),
                });
            }
            let Some(escrow) = self.state.escrows.remove(&(id, client)) else {
                continue;
            };
            let manifest = announce.manifest.clone();
            let deadline = self.state.block.time + u64::from(manifest.durations.enrol_secs);
            let asked = vec![0; manifest.items.count as usize];
            let task = TaskState {
                manifest,
                id,
                client_key: record.envelope().sender,
                deposit: escrow.deposit,
                gold_bond: escrow.gold_bond,
                phase: Phase::Enrolling {
                    deadline,
                    extended: false,
                },
                labelers: Vec::new(),
                waves: Vec::new(),
                votes: Vec::new(),
                gold: BTreeMap::new(),
                asked,
                clusters: Vec::new(),
                fee_shares: BTreeMap::new(),
                forced: Vec::new(),
            };
            self.state.tasks.insert(id, task);
            self.changed = true;
            return Ok(true);
        }
        Ok(false)
    }

    fn advance(&mut self, id: TaskId, records: &[&Authentic]) -> Result<(), ApplyError> {
        let Some(mut task) = self.state.tasks.remove(&id) else {
            return Ok(());
        };
        let mut speakers = Vec::with_capacity(records.len());
        for record in records {
            let speaker = self.state.speaker(record);
            task.admits(record, speaker)
                .map_err(|e| ApplyError::ForeignRecord {
                    id: record.id(),
                    why: e.to_string(),
                })?;
            speakers.extend(speaker.map(|s| (s, *record)));
        }
        let forced = task.forced(&self.profile.id());
        let forced = forced
            .iter()
            .filter(|f| !records.iter().any(|r| r.id() == f.id()));
        for record in forced {
            let speaker = self.state.speaker(record);
            // Welcome when it came; whoever lost its part since then has none.
            if let (Some(speaker), Ok(())) = (speaker, task.admits(record, speaker)) {
                speakers.push((speaker, record));
            }
        }
        let senders = speakers.iter().map(|s| s.0).collect::<BTreeSet<_>>().len();
        if !task.closes(self.state.block.time, senders) {
            if records.is_empty() {
                self.state.tasks.insert(id, task);
                return Ok(());
            }
            return Err(ApplyError::NotDue(id));
        }
        self.changed = true;
        let chosen = crate::task::choose(speakers.into_iter());
        let time = self.state.block.time;
        match task.phase {
            Phase::Enrolling { .. } => task.close_enrolment(&chosen, time),
            Phase::Labeling { .. } => task.close_commits(&chosen, time),
            Phase::Revealing { .. } => task.close_reveals(&chosen, time),
            Phase::OpeningGold { .. } => {
                let views = self.state.views(&task);
                task.close_gold(chosen.values().next(), &views);
            }
            Phase::Drawing { .. } | Phase::Settled | Phase::Cancelled { .. } => {}
        }
        task.forced.clear();
        match task.phase {
            Phase::Settled => self.settle(&task),
            Phase::Cancelled { reason } => self.refund_task(&task, reason),
            _ => {
                self.state.tasks.insert(id, task);
            }
        }
        Ok(())
    }

    fn release(
        &mut self,
        task: TaskId,
        client: Account,
        amount: Amount,
        credits: BTreeMap<Account, Amount>,
    ) {
        for (payee, credit) in credits {
            let sum = self.state.owed.entry(payee).or_default();
            *sum = Amount(sum.0 + credit.0);
        }
        self.state.total_owed = Amount(self.state.total_owed.0 + amount.0);
        if !self.state.moved.remove(&(task, client)) {
            self.settled.push(SettledTask { task, client });
        }
    }

    fn settle(&mut self, task: &TaskState) {
        let views = self.state.views(task);
        let client_payee = self.state.payee_of(&task.manifest.client);
        let settlement = task.settle(&self.profile.params, &views, client_payee, |account| {
            self.state.payee_of(account)
        });
        for (account, loss) in &settlement.losses {
            let sum = self.state.lost.entry(*account).or_default();
            *sum = Amount(sum.0 + loss.0);
        }
        let domain = LaneState::domain(task.manifest.kind.name());
        for (account, (right, wrong)) in &settlement.evidence {
            let e: &mut Evidence = self.state.evidence.entry((*account, domain)).or_default();
            e.alpha_milli = e.alpha_milli.saturating_add(right.saturating_mul(1000));
            e.beta_milli = e.beta_milli.saturating_add(wrong.saturating_mul(1000));
        }
        let amount = Amount(task.deposit.0 + task.gold_bond.0);
        let client = task.manifest.client;
        self.release(task.id, client, amount, settlement.credits);
        let outcome = settlement.outcome;
        let pay_of = |l: &LabelerOutcome| (self.state.payee_of(&l.account), l.earned);
        let budget = task.manifest.label_budget().unwrap_or_default();
        let rest = budget.checked_sub(outcome.money.paid).unwrap_or_default();
        self.bonuses.extend(Bonus::new(
            (task.id, client),
            true,
            outcome.labelers.iter().map(pay_of),
            (client_payee, rest),
        ));
        if let Some(score) = &outcome.score {
            self.state.scores.insert(task.id, score.root);
        }
        self.outcomes.push((client, outcome));
    }

    fn refund_task(&mut self, task: &TaskState, reason: CancelReason) {
        let payee = self.state.payee_of(&task.manifest.client);
        self.refund(
            task.id,
            task.manifest.client,
            payee,
            task.deposit,
            task.gold_bond,
            reason,
        );
    }

    fn refund(
        &mut self,
        task: TaskId,
        client: Account,
        payee: Account,
        deposit: Amount,
        gold_bond: Amount,
        reason: CancelReason,
    ) {
        let amount = Amount(deposit.0 + gold_bond.0);
        self.release(task, client, amount, BTreeMap::from([(payee, amount)]));
        self.bonuses
            .extend(Bonus::new((task, client), true, [], (payee, deposit)));
        let outcome = TaskOutcome {
            task,
            cancelled: Some(reason),
            items: Vec::new(),
            labelers: Vec::new(),
            votes: Vec::new(),
            waves: Vec::new(),
            money: Money {
                deposit,
                gold_bond,
                paid: Amount::ZERO,
                fees: Amount::ZERO,
                bond_shares: Amount::ZERO,
                refund: amount,
            },
            score: None,
            bonus: None,
        };
        self.outcomes.push((client, outcome));
    }

    fn cancel_overdue(&mut self) {
        let overdue: Vec<_> = self
            .state
            .escrows
            .keys()
            .copied()
            .filter(|(t, c)| self.state.is_overdue(*t, *c, self.profile))
            .collect();
        for (task, client) in overdue {
            if let Some(escrow) = self.state.escrows.remove(&(task, client)) {
                self.changed = true;
                let payee = self.state.payee_of(&client);
                self.refund(
                    task,
                    client,
                    payee,
                    escrow.deposit,
                    escrow.gold_bond,
                    CancelReason::NotReady,
                );
            }
        }
    }

    fn finish(self, body: &EpochBody) -> Result<Applied, ApplyError> {
        let Self {
            mut state,
            settled,
            mut outcomes,
            bonuses,
            changed,
            ..
        } = self;
        if !changed {
            return Err(ApplyError::Empty);
        }
        let Some(committee) = &state.committee else {
            return Err(ApplyError::NoCommittee(state.lane));
        };
        let term = committee.term;
        let parent = state.head;
        state.epoch = body.epoch;
        state.head = Hash::ZERO;
        state.head_posted = false;
        let (payout, flat) = (state.payout_file(), state.flat_payouts(bonuses));
        let flat_tree = flat.tree();
        let flat_root = flat_tree.root();
        let header = EpochHeader {
            lane: state.lane,
            epoch: state.epoch,
            view: body.view,
            term,
            parent,
            chain_block: body.block.number,
            chain_block_hash: body.block.hash,
            records_root: records_root(&body.records),
            state_root: state_root(&flat.state, &flat_root),
            payout_root: payout.root(),
            audit_root: payout.audit_root(),
            payout_count: payout.count(),
            loss_root: state.loss_root(),
            reputation_root: state.reputation_root(),
            payout_file: payout.hash(),
            total_owed: state.total_owed,
            settled_hash: EpochHeader::hash_settled(&settled),
        };
        for (task, proof) in state.score_proofs(&header, flat_root) {
            let mut own = outcomes.iter_mut().filter(|(_, o)| o.task == task);
            if let Some(score) = own.next().and_then(|(_, o)| o.score.as_mut()) {
                score.proof = Some(Box::new(proof));
            }
        }
        for (client, outcome) in &mut outcomes {
            let proof = flat.bonus(&flat_tree, &outcome.task, client, &header);
            outcome.bonus = proof.map(Box::new);
        }
        state.head = header.hash();
        Ok(Applied {
            state,
            header,
            settled,
            outcomes: outcomes.into_iter().map(|(_, o)| o).collect(),
            flat,
        })
    }
}
