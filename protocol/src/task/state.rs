//! The state of one open task and the sets of records that close its phases.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    codec::pairs,
    consensus::Vote,
    id::{Account, Hash, NetworkId, TaskId},
    message::{Answer, AssignmentRule, Envelope, Manifest, commit_digest, gold_root},
    verify::{Authentic, Body, Decoded},
};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Labelers sign up until `deadline` (chain time, seconds).
    Enrolling {
        /// Seconds of chain time.
        deadline: u64,
        /// The one extension was used.
        extended: bool,
    },
    /// The closing set is anchored or being anchored; the beacon block comes `beacon_delay_blocks` later.
    Drawing {
        /// Wave.
        wave: u8,
        /// Set once the closing header was posted.
        beacon_block: Option<u64>,
    },
    /// Assigned labelers commit.
    Labeling {
        /// Wave.
        wave: u8,
        /// Seconds of chain time.
        deadline: u64,
    },
    /// Committed labelers reveal.
    Revealing {
        /// Wave.
        wave: u8,
        /// Seconds of chain time.
        deadline: u64,
    },
    /// The client opens the wave's gold.
    OpeningGold {
        /// Wave.
        wave: u8,
        /// Seconds of chain time.
        deadline: u64,
    },
    /// Paid out.
    Settled,
    /// Refunded.
    Cancelled {
        /// Why.
        reason: CancelReason,
    },
}

impl Phase {
    /// Short name for tables and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enrolling { .. } => "enrolling",
            Self::Drawing { .. } => "drawing",
            Self::Labeling { .. } => "labeling",
            Self::Revealing { .. } => "revealing",
            Self::OpeningGold { .. } => "opening-gold",
            Self::Settled => "settled",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// The wave under way, if any.
    pub const fn wave(&self) -> Option<u8> {
        match *self {
            Self::Drawing { wave, .. }
            | Self::Labeling { wave, .. }
            | Self::Revealing { wave, .. }
            | Self::OpeningGold { wave, .. } => Some(wave),
            _ => None,
        }
    }

    /// Chain time at which the phase closes at the latest.
    pub const fn deadline(&self) -> Option<u64> {
        match *self {
            Self::Enrolling { deadline, .. }
            | Self::Labeling { deadline, .. }
            | Self::Revealing { deadline, .. }
            | Self::OpeningGold { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    /// Nothing can change any more.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Settled | Self::Cancelled { .. })
    }
}

/// Why a task was refunded without being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelReason {
    /// The committee never held its shards, its manifest never came, or the escrow was never filled up.
    NotReady,
    /// Too few labelers, also after the extension.
    TooFewLabelers,
}

/// A labeler of the task; votes name it by its place in [`TaskState::labelers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Who.
    pub account: Account,
    /// Most labels in one wave.
    pub capacity: u32,
}

/// A labeler's commit in a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Digest of answers and salt.
    pub digest: Hash,
    /// Two different commits under one number: counts as an unopened commit.
    pub equivocated: bool,
}

/// What one labeler did in one wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveLabeler {
    /// Items to label, rising; empty for open tasks, where the labeler chooses.
    pub items: Vec<u32>,
    /// The commit, if it came in time.
    pub commit: Option<Commitment>,
    /// Answers that were revealed and counted.
    pub counted: Option<u32>,
}

/// How a wave's gold came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoldState {
    /// The wave has none.
    None,
    /// Not opened yet.
    Closed,
    /// Opened, and good enough to count.
    Counted {
        /// Gold items voided by the audit.
        voided: u32,
    },
    /// Opened, but the crowd contradicts more than a fifth of it: none of it counts, the bond goes to the revealers.
    Void,
    /// Never opened: the bond goes to the revealers.
    Withheld,
}

/// One wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveState {
    /// The randomness that drew it.
    pub beacon: Hash,
    /// Per labeler index.
    #[serde(with = "pairs")]
    pub labelers: BTreeMap<u32, WaveLabeler>,
    /// Gold.
    pub gold: GoldState,
}

/// An open task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// Terms.
    pub manifest: Manifest,
    /// Its hash.
    pub id: TaskId,
    /// Ed25519 key that may open gold.
    pub client_key: crate::id::NodeKey,
    /// Locked for labels and fees.
    pub deposit: Amount,
    /// Locked against withheld gold.
    pub gold_bond: Amount,
    /// Where it stands.
    pub phase: Phase,
    /// Labelers in account order; fixed when enrolment closes.
    pub labelers: Vec<Enrolled>,
    /// Waves so far.
    pub waves: Vec<WaveState>,
    /// Counted votes of all waves.
    pub votes: Vec<(u32, u32, u16)>,
    /// Opened gold that counts.
    #[serde(with = "pairs")]
    pub gold: BTreeMap<u32, u16>,
    /// Labels asked per item so far (drawn), to hold `k_max`.
    pub asked: Vec<u16>,
    /// Clusters of copying labelers found by the last scoring.
    pub clusters: Vec<Vec<u32>>,
    /// Header signatures and postings while the task was open, by committee account: shares of the fee.
    #[serde(with = "pairs")]
    pub fee_shares: BTreeMap<Account, u64>,
    /// Records of the present phase that came by the chain; the epoch that closes the phase takes them in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<Envelope>,
}

/// Why a record does not belong to the task's present phase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// Another phase or wave; late or early, nobody's fault.
    #[error("the task is {now}; a {kind} for wave {wave} is not awaited")]
    NotAwaited {
        /// Kind of record.
        kind: &'static str,
        /// Its wave.
        wave: u8,
        /// The task's phase.
        now: &'static str,
    },
    /// The sender may not send this.
    #[error("{0}")]
    NotEntitled(&'static str),
    /// The content contradicts what was fixed before.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// Records of the closing set, one per sender: the lowest sequence number counts.
pub(crate) struct Chosen<'a> {
    pub record: &'a Authentic,
    pub equivocated: bool,
}

/// Picks one record per key: lowest (seq, id); two bodies at that seq are an equivocation.
pub(crate) fn choose<'a, K: Ord>(
    records: impl Iterator<Item = (K, &'a Authentic)>,
) -> BTreeMap<K, Chosen<'a>> {
    let mut chosen: BTreeMap<K, Chosen<'a>> = BTreeMap::new();
    for (key, record) in records {
        match chosen.get_mut(&key) {
            None => {
                chosen.insert(
                    key,
                    Chosen {
                        record,
                        equivocated: false,
                    },
                );
            }
            Some(best) => {
                let (a, b) = (best.record.envelope(), record.envelope());
                if a.seq == b.seq && best.record.id() != record.id() {
                    best.equivocated = true;
                }
                if (b.seq, record.id()) < (a.seq, best.record.id()) {
                    best.equivocated &= a.seq == b.seq;
                    best.record = record;
                }
            }
        }
    }
    chosen
}

impl TaskState {
    /// Index of a labeler.
    pub fn labeler_index(&self, account: &Account) -> Option<u32> {
        self.labelers
            .binary_search_by(|l| l.account.cmp(account))
            .ok()
            .map(|i| i as u32)
    }

    /// The wave under way.
    pub fn wave(&self) -> Option<&WaveState> {
        self.phase
            .wave()
            .and_then(|w| self.waves.get(usize::from(w)))
    }

    /// Whether any labeler may answer any item.
    pub fn is_open(&self) -> bool {
        matches!(self.manifest.assignment, AssignmentRule::Open { .. })
    }

    /// Counted votes as the scoring wants them.
    pub fn scoring_votes(&self) -> Vec<Vote> {
        self.votes
            .iter()
            .map(|&(item, labeler, label)| Vote {
                item,
                labeler,
                label,
            })
            .collect()
    }

    /// Whether `record`, sent by `account`, belongs into the set that closes the present phase.
    ///
    /// # Errors
    /// [`RecordFault`] naming why not.
    pub fn admits(&self, record: &Authentic, account: Option<Account>) -> Result<(), RecordFault> {
        let e = record.envelope();
        let not_awaited = |kind| RecordFault::NotAwaited {
            kind,
            wave: e.wave,
            now: self.phase.name(),
        };
        match (record.body(), self.phase) {
            (Body::Enrol(_), Phase::Enrolling { .. }) => account.map(|_| ()).ok_or(
                RecordFault::NotEntitled("the sender is not a registered labeler"),
            ),
            (Body::Enrol(_), _) => Err(not_awaited("enrol")),
            (Body::Commit(_), Phase::Labeling { wave, .. }) if wave == e.wave => {
                self.assigned(account).map(|_| ())
            }
            (Body::Commit(_), _) => Err(not_awaited("commit")),
            (Body::Reveal(reveal), Phase::Revealing { wave, .. }) if wave == e.wave => {
                let (_, labeler) = self.assigned(account)?;
                let commit = labeler.commit.ok_or(RecordFault::NotEntitled(
                    "no commit of this labeler was anchored",
                ))?;
                if commit.equivocated {
                    // Counting it would close the phase early on somebody who can still reveal.
                    return Err(RecordFault::NotEntitled(
                        "two different commits cannot be opened",
                    ));
                }
                let account = account.ok_or(RecordFault::NotEntitled("unknown sender"))?;
                let digest = commit_digest(
                    &e.network,
                    &self.id,
                    wave,
                    &account,
                    &reveal.answers,
                    &reveal.salt,
                );
                if digest != commit.digest {
                    return Err(RecordFault::Contradiction(
                        "the answers do not open the anchored commit",
                    ));
                }
                self.answers_fit(labeler, &reveal.answers)
            }
            (Body::Reveal(_), _) => Err(not_awaited("reveal")),
            (Body::GoldOpen(gold), Phase::OpeningGold { wave, .. }) if wave == e.wave => {
                if e.sender != self.client_key {
                    return Err(RecordFault::NotEntitled(
                        "only the task's client opens its gold",
                    ));
                }
                let plan = self.manifest.waves.get(usize::from(wave));
                let fresh = self.manifest.fresh_items(wave);
                let fits = plan.is_some_and(|p| {
                    p.gold_root == gold_root(&gold.salt, &gold.entries)
                        && p.gold_count as usize == gold.entries.len()
                }) && gold.entries.iter().all(|(item, label)| {
                    fresh.contains(item) && *label < self.manifest.kind.classes()
                });
                if fits {
                    Ok(())
                } else {
                    Err(RecordFault::Contradiction(
                        "the gold does not open the manifest's root",
                    ))
                }
            }
            (Body::GoldOpen(_), _) => Err(not_awaited("gold-open")),
            (Body::Announce(_) | Body::Custody(_), _) => Err(not_awaited("announcement")),
        }
    }

    fn assigned(&self, account: Option<Account>) -> Result<(u32, &WaveLabeler), RecordFault> {
        account
            .and_then(|a| self.labeler_index(&a))
            .and_then(|i| self.wave()?.labelers.get(&i).map(|l| (i, l)))
            .ok_or(RecordFault::NotEntitled(
                "the sender has no assignment in this wave",
            ))
    }

    fn answers_fit(&self, labeler: &WaveLabeler, answers: &[Answer]) -> Result<(), RecordFault> {
        let (classes, count) = (self.manifest.kind.classes(), self.manifest.items.count);
        if answers.iter().any(|a| a.0 >= count || a.1 >= classes) {
            return Err(RecordFault::Contradiction(
                "an answer names an item or a label that the manifest does not have",
            ));
        }
        if !self.is_open()
            && answers
                .iter()
                .any(|a| labeler.items.binary_search(&a.0).is_err())
        {
            return Err(RecordFault::Contradiction(
                "an answer is about an item that was not assigned to the sender",
            ));
        }
        Ok(())
    }

    /// How many senders the phase's closing set can have at most; reaching it closes the phase early.
    pub fn set_size_max(&self) -> usize {
        match self.phase {
            Phase::Enrolling { .. } => {
                (self.manifest.labelers_max as usize).saturating_sub(self.labelers.len())
            }
            Phase::Labeling { .. } => self.wave().map_or(0, |w| w.labelers.len()),
            Phase::Revealing { .. } => self.wave().map_or(0, |w| {
                w.labelers
                    .values()
                    .filter(|l| l.commit.is_some_and(|c| !c.equivocated))
                    .count()
            }),
            Phase::OpeningGold { .. } => 1,
            Phase::Drawing { .. } | Phase::Settled | Phase::Cancelled { .. } => usize::MAX,
        }
    }

    /// Whether the phase closes at chain time `time` with records of `senders` different senders in hand.
    pub fn closes(&self, time: u64, senders: usize) -> bool {
        let Some(deadline) = self.phase.deadline() else {
            return false;
        };
        time >= deadline || senders >= self.set_size_max()
    }

    /// Takes in a record that came by the chain in a block of this time, if the present phase awaits it. Two of one sender show all that
    /// there is to show; more are left out.
    pub(crate) fn force(&mut self, record: &Authentic, speaker: Option<Account>, time: u64) {
        let e = record.envelope();
        let late = self.phase.deadline().is_none_or(|d| time >= d);
        let known = self.forced.contains(e);
        let of_sender = self.forced.iter().filter(|f| f.sender == e.sender).count();
        if !late && !known && of_sender < 2 && self.admits(record, speaker).is_ok() {
            self.forced.push(e.clone());
        }
    }

    /// The records that came by the chain.
    pub(crate) fn forced(&self, network: &NetworkId) -> Vec<Authentic> {
        let authentic = |e: &Envelope| Decoded::from_envelope(e.clone())?.authenticate(network);
        let records = self.forced.iter().map(authentic);
        // All of them were authentic when they came.
        records.filter_map(Result::ok).collect()
    }

    /// Closes enrolment. Records must have passed [`Self::admits`].
    pub(crate) fn close_enrolment(&mut self, records: &BTreeMap<Account, Chosen<'_>>, time: u64) {
        let Phase::Enrolling { extended, .. } = self.phase else {
            return;
        };
        let mut labelers: BTreeMap<Account, u32> = self
            .labelers
            .iter()
            .map(|l| (l.account, l.capacity))
            .collect();
        for (account, chosen) in records {
            if let (Body::Enrol(enrol), false) = (chosen.record.body(), chosen.equivocated) {
                labelers.entry(*account).or_insert(enrol.capacity);
            }
        }
        // Past the limit the lowest hash of (task, account) stays: nobody can buy a place by being first.
        if labelers.len() > self.manifest.labelers_max as usize {
            let mut order: Vec<_> = labelers
                .keys()
                .map(|a| {
                    (
                        crate::crypto::hash("assay/1/enrol-order", &[&self.id.0, &a.0]),
                        *a,
                    )
                })
                .collect();
            order.sort();
            for (_, account) in order.drain(self.manifest.labelers_max as usize..) {
                labelers.remove(&account);
            }
        }
        self.labelers = labelers
            .into_iter()
            .map(|(account, capacity)| Enrolled { account, capacity })
            .collect();
        self.phase = if self.labelers.len() >= self.manifest.labelers_min as usize {
            Phase::Drawing {
                wave: 0,
                beacon_block: None,
            }
        } else if extended {
            Phase::Cancelled {
                reason: CancelReason::TooFewLabelers,
            }
        } else {
            let deadline = time + u64::from(self.manifest.durations.enrol_secs);
            Phase::Enrolling {
                deadline,
                extended: true,
            }
        };
    }

    /// Closes the commit phase.
    pub(crate) fn close_commits(&mut self, records: &BTreeMap<Account, Chosen<'_>>, time: u64) {
        let Phase::Labeling { wave, .. } = self.phase else {
            return;
        };
        let mut commits = Vec::new();
        for (account, chosen) in records {
            if let (Some(index), Body::Commit(commit)) =
                (self.labeler_index(account), chosen.record.body())
            {
                commits.push((
                    index,
                    Commitment {
                        digest: commit.digest,
                        equivocated: chosen.equivocated,
                    },
                ));
            }
        }
        if let Some(state) = self.waves.get_mut(usize::from(wave)) {
            for (index, commit) in commits {
                if let Some(labeler) = state.labelers.get_mut(&index) {
                    labeler.commit = Some(commit);
                }
            }
        }
        self.phase = Phase::Revealing {
            wave,
            deadline: time + u64::from(self.manifest.durations.reveal_secs),
        };
    }

    /// Closes the reveal phase: counts the answers.
    pub(crate) fn close_reveals(&mut self, records: &BTreeMap<Account, Chosen<'_>>, time: u64) {
        let Phase::Revealing { wave, .. } = self.phase else {
            return;
        };
        let mut answers: Vec<(u32, u32, u16)> = Vec::new();
        let mut revealed = BTreeSet::new();
        for (account, chosen) in records {
            let (Some(index), Body::Reveal(reveal)) =
                (self.labeler_index(account), chosen.record.body())
            else {
                continue;
            };
            // An equivocated commit cannot be opened; two openings of one digest are the same answers.
            if self
                .wave()
                .and_then(|w| w.labelers.get(&index))
                .and_then(|l| l.commit)
                .is_none_or(|c| c.equivocated)
            {
                continue;
            }
            revealed.insert(index);
            answers.extend(reveal.answers.iter().map(|a| (a.0, index, a.1)));
        }
        if self.is_open() {
            self.cap_open_answers(wave, &mut answers);
        }
        answers.sort_unstable();
        if let Some(state) = self.waves.get_mut(usize::from(wave)) {
            for index in revealed {
                let counted = answers.iter().filter(|a| a.1 == index).count() as u32;
                if let Some(labeler) = state.labelers.get_mut(&index) {
                    labeler.counted = Some(counted);
                }
            }
        }
        self.votes.extend(answers);
        self.votes.sort_unstable();
        let has_gold = self
            .manifest
            .waves
            .get(usize::from(wave))
            .is_some_and(|w| w.gold_count > 0);
        // Without gold the deadline is now: the wave is scored in the same epoch.
        let wait = if has_gold {
            u64::from(self.manifest.durations.gold_secs)
        } else {
            0
        };
        self.phase = Phase::OpeningGold {
            wave,
            deadline: time + wait,
        };
    }

    /// In an open task at most `k_max` answers per item count, drawn by the beacon of the wave.
    fn cap_open_answers(&self, wave: u8, answers: &mut Vec<(u32, u32, u16)>) {
        let beacon = self
            .waves
            .get(usize::from(wave))
            .map_or(Hash::ZERO, |w| w.beacon);
        let k_max = usize::from(self.manifest.assignment.k_max());
        let mut by_item: BTreeMap<u32, Vec<(u32, u32, u16)>> = BTreeMap::new();
        for answer in answers.drain(..) {
            by_item.entry(answer.0).or_default().push(answer);
        }
        for (item, mut list) in by_item {
            if list.len() > k_max {
                list.sort_by_cached_key(|a| {
                    let account = self
                        .labelers
                        .get(a.1 as usize)
                        .map_or([0; 20], |l| l.account.0);
                    crate::crypto::hash(
                        "assay/1/open-draw",
                        &[&self.id.0, &beacon.0, &item.to_be_bytes(), &account],
                    )
                });
                list.truncate(k_max);
            }
            answers.extend(list);
        }
    }
}
