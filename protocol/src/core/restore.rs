//! From durable records back to a running core.

use std::collections::BTreeSet;

use super::{
    Core, Work, WorkStage,
    client::OwnTask,
    custody::{Announced, Shards},
    follow::Follower,
};
use crate::{
    codec,
    crypto::hash,
    id::{Hash, RecordId, Salt, TaskId},
    lane::LaneState,
    limit,
    message::{Answer, Commit, Envelope, GoldOpen, Kind, Reveal, commit_digest},
    verify::{Authentic, Decoded},
};

/// Keys of [`super::Family::Own`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnKey {
    /// A record on its way.
    Delivery(RecordId),
    /// Work on a wave.
    Work(TaskId, u8),
    /// A task that we published.
    Task(TaskId),
}

impl OwnKey {
    /// Bytes of the key.
    pub fn to_bytes(self) -> Vec<u8> {
        let (tag, id, wave) = match self {
            Self::Delivery(id) => (b'd', id.0, None),
            Self::Work(task, wave) => (b'w', task.0, Some(wave)),
            Self::Task(task) => (b't', task.0, None),
        };
        let mut key = vec![tag];
        key.extend_from_slice(&id);
        key.extend(wave);
        key
    }

    /// The key that these bytes are.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let id: [u8; 32] = rest.get(..32)?.try_into().ok()?;
        match (tag, rest.len()) {
            (b'd', 32) => Some(Self::Delivery(RecordId(id))),
            (b'w', 33) => Some(Self::Work(TaskId(id), rest[32])),
            (b't', 32) => Some(Self::Task(TaskId(id))),
            _ => None,
        }
    }
}

/// Everything durable that a core needs, as raw rows of its families.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Values of `Snapshot`.
    pub snapshots: Vec<Vec<u8>>,
    /// Rows of `Flat`.
    pub flat: Vec<(Vec<u8>, Vec<u8>)>,
    /// Values of `Record` whose key stands in `Promise`.
    pub promised: Vec<Vec<u8>>,
    /// Values of `Announce`.
    pub announced: Vec<Vec<u8>>,
    /// Rows of `Own`.
    pub own: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows of `Vote`.
    pub votes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Rows come from our own disk: checked again, because a disk can lie.
fn authentic(network: &crate::id::NetworkId, bytes: &[u8]) -> Option<Authentic> {
    Decoded::parse(bytes)
        .and_then(|d| d.authenticate(network))
        .ok()
}

impl Core {
    pub(super) fn restore(&mut self, rows: Restored) {
        for bytes in &rows.snapshots {
            if let Ok(state) = codec::decode::<LaneState>(bytes, usize::MAX) {
                self.lanes.insert(state.lane, Follower::new(state));
            }
        }
        for (key, value) in &rows.flat {
            let lane = <[u8; 4]>::try_from(key.as_slice()).map(u32::from_be_bytes);
            if let Some(f) = lane.ok().and_then(|lane| self.lanes.get_mut(&lane)) {
                f.flat = codec::decode(value, usize::MAX).ok();
            }
        }
        for bytes in &rows.announced {
            if let Some(record) = authentic(&self.network, bytes) {
                self.restore_announcement(record);
            }
        }
        for bytes in &rows.promised {
            let Some(record) = authentic(&self.network, bytes) else {
                continue;
            };
            let lane = self.lane_of(&record.envelope().task);
            if let Some(f) = lane.and_then(|l| self.lanes.get_mut(&l)) {
                f.pool.insert(record.id(), record);
            }
        }
        for (key, value) in &rows.votes {
            let parsed = (|| {
                let lane = u32::from_be_bytes(key.get(..4)?.try_into().ok()?);
                let epoch = u64::from_be_bytes(key.get(4..12)?.try_into().ok()?);
                let view = u32::from_be_bytes(key.get(12..16)?.try_into().ok()?);
                Some((lane, epoch, view, codec::decode::<Hash>(value, 64).ok()?))
            })();
            if let Some((lane, epoch, view, header)) = parsed {
                self.restore_vote(lane, epoch, view, header);
            }
        }
        let mut deliveries = Vec::new();
        for (key, value) in &rows.own {
            match OwnKey::parse(key) {
                Some(OwnKey::Work(task, wave)) => {
                    if let Ok(work) = codec::decode::<Work>(value, usize::MAX) {
                        self.work.insert((task, wave), work);
                    }
                }
                Some(OwnKey::Task(task)) => {
                    if let Ok(own) = codec::decode::<OwnTask>(value, usize::MAX) {
                        self.own_tasks.insert(task, own);
                    }
                }
                Some(OwnKey::Delivery(_)) => {
                    deliveries
                        .extend(codec::decode::<Envelope>(value, limit::REQUEST_BYTES_MAX).ok());
                }
                None => {}
            }
        }
        for envelope in deliveries {
            let Some(lane) = self.lane_of(&envelope.task) else {
                continue;
            };
            let extra = self.custody_audience(&envelope);
            self.resume_delivery(lane, envelope, extra);
        }
        self.resume_own_work();
    }

    fn restore_announcement(&mut self, record: Authentic) {
        let crate::verify::Body::Announce(announce) = record.body() else {
            return;
        };
        let lane = announce.manifest.lane(self.config.profile.params.lanes);
        let Some(f) = self.lanes.get(&lane) else {
            return;
        };
        let (since, from) = (f.live.block.time, record.envelope().sender);
        let announced = Announced {
            lane,
            since,
            from,
            shards: Shards::Elsewhere,
            record: record.clone(),
        };
        self.announced.insert(record.envelope().task, announced);
    }

    fn custody_audience(&self, envelope: &Envelope) -> BTreeSet<crate::id::NodeKey> {
        if envelope.kind != Kind::Custody {
            return BTreeSet::new();
        }
        self.announced
            .get(&envelope.task)
            .map(|a| a.record.envelope().sender)
            .into_iter()
            .collect()
    }

    /// Commits, reveals and gold that were decided but may not have left: made again, byte for byte the same record.
    fn resume_own_work(&mut self) {
        let mut again = Vec::new();
        for ((task, wave), work) in &self.work {
            let Some(lane) = self.lane_of(task) else {
                continue;
            };
            let Some(account) = self.own_account(lane, crate::lane::role::LABELER) else {
                continue;
            };
            let salt = Salt(
                hash(
                    "assay/1/commit-salt",
                    &[&self.config.node.seed(), &task.0, &[*wave]],
                )
                .0,
            );
            let answers: Vec<Answer> = work.answers.iter().map(|(i, l)| Answer(*i, *l)).collect();
            if work.stage != WorkStage::Drafting {
                let digest = commit_digest(&self.network, task, *wave, &account, &answers, &salt);
                again.push((
                    lane,
                    self.sign(Kind::Commit, *task, *wave, 0, &Commit { digest }),
                ));
            }
            if work.stage == WorkStage::Revealed {
                again.push((
                    lane,
                    self.sign(Kind::Reveal, *task, *wave, 0, &Reveal { answers, salt }),
                ));
            }
        }
        for (task, own) in &self.own_tasks {
            for wave in &own.opened {
                if let Some(secret) = own.gold.get(usize::from(*wave)) {
                    let body = GoldOpen {
                        entries: secret.entries.clone(),
                        salt: secret.salt,
                    };
                    again.push((own.lane, self.sign(Kind::GoldOpen, *task, *wave, 0, &body)));
                }
            }
        }
        for (lane, envelope) in again {
            self.deliver(lane, envelope, BTreeSet::new());
        }
        // An order to fund may not have reached the outbox; the outbox knows whether it has.
        for own in self.own_tasks.values_mut() {
            own.funding = false;
        }
    }
}
