//! Announcements, and the committee's custody of the shards behind them.

use std::collections::BTreeSet;

use super::{Core, Effect, Family, Notice, Op, follow::Follower};
use crate::{
    id::{NodeKey, TaskId},
    limit,
    message::{Custody, Kind, ShardRef},
    verify::{Authentic, Body, Fault, Penalty},
};

/// A task that somebody wants done.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub record: Authentic,
    pub lane: u32,
    /// Chain time at which we heard of it.
    pub since: u64,
    /// Who told us, to ask for the shards.
    pub from: NodeKey,
    pub shards: Shards,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shards {
    /// Not wanted (we are not in the committee).
    Elsewhere,
    /// Asked for.
    Fetching,
    /// Failed; again at this local time.
    RetryAt(u64),
    /// Here and verified; the custody vote is on its way.
    Held,
}

/// All shards of a task, the item index first.
pub(super) fn shards_of(record: &Authentic) -> Vec<ShardRef> {
    let Body::Announce(announce) = record.body() else {
        return Vec::new();
    };
    let items = &announce.manifest.items;
    std::iter::once(items.index)
        .chain(items.shards.iter().copied())
        .collect()
}

impl Core {
    /// Takes an announcement in.
    ///
    /// # Errors
    /// A [`Fault`] when no honest client could have sent it, or when there is no room.
    pub(super) fn admit_announce(&mut self, record: Authentic, from: NodeKey) -> Result<(), Fault> {
        let task = record.envelope().task;
        if self.announced.contains_key(&task) {
            return Ok(());
        }
        let Body::Announce(announce) = record.body() else {
            return Err(Fault::ignore("not an announcement"));
        };
        let lanes = self.config.profile.params.lanes;
        let lane = announce.manifest.lane(lanes);
        if let Err(error) = announce
            .manifest
            .check(&self.network, &self.config.profile.params)
        {
            return Err(Fault::reject(Penalty::Light, error.to_string()));
        }
        let f = self
            .lanes
            .get(&lane)
            .ok_or_else(|| Fault::ignore("a lane that this node does not follow"))?;
        // The client may have registered in a block that we have not seen yet.
        f.live
            .check_announce(&record, &self.config.profile)
            .map_err(Fault::ignore)?;
        let funded = f.live.escrows.keys().any(|k| k.0 == task) || f.live.tasks.contains_key(&task);
        let since = f.live.block.time;
        if !funded {
            self.make_room_for_unfunded(&record)?;
        }
        let value = record.envelope().to_bytes();
        let id = record.id();
        let mut ops = vec![Op::Put {
            family: Family::Announce,
            key: task.0.to_vec(),
            value: value.clone(),
        }];
        if self.is_member(lane) {
            ops.push(Op::Put {
                family: Family::Record,
                key: id.0.to_vec(),
                value,
            });
            ops.push(Op::Put {
                family: Family::Promise,
                key: id.0.to_vec(),
                value: since.to_be_bytes().to_vec(),
            });
            if let Some(f) = self.lanes.get_mut(&lane) {
                f.pool.insert(id, record.clone());
                f.dirty = true;
            }
        }
        self.persist(ops);
        self.announced.insert(
            task,
            Announced {
                record,
                lane,
                since,
                from,
                shards: Shards::Elsewhere,
            },
        );
        self.notify(Notice::Announced { task });
        self.tick_custody();
        Ok(())
    }

    /// Unfunded announcements are cheap to make, so they are few and small.
    fn make_room_for_unfunded(&mut self, record: &Authentic) -> Result<(), Fault> {
        let unfunded: Vec<&Announced> = self
            .announced
            .values()
            .filter(|a| !self.is_backed(a))
            .collect();
        if unfunded.len() >= limit::UNFUNDED_TASKS_MAX {
            return Err(Fault::ignore(
                "too many unfunded announcements; fund the task, then announce it again",
            ));
        }
        let held: u64 = unfunded
            .iter()
            .flat_map(|a| shards_of(&a.record))
            .map(|s| s.bytes)
            .sum();
        let more: u64 = shards_of(record).iter().map(|s| s.bytes).sum();
        if held.saturating_add(more) > limit::UNFUNDED_SHARD_BYTES_MAX {
            return Err(Fault::ignore(format!(
                "{more} bytes of shards before funding, {} are free; fund the task, then announce it again",
                limit::UNFUNDED_SHARD_BYTES_MAX.saturating_sub(held)
            )));
        }
        Ok(())
    }

    fn is_backed(&self, announced: &Announced) -> bool {
        let task = announced.record.envelope().task;
        self.lanes.get(&announced.lane).is_some_and(|f| {
            f.live.tasks.contains_key(&task) || f.live.escrows.keys().any(|k| k.0 == task)
        })
    }

    pub(super) fn tick_custody(&mut self) {
        let me = self.node_key();
        let mut fetch = Vec::new();
        let mut forget = Vec::new();
        for (task, a) in &self.announced {
            let Some(f) = self.lanes.get(&a.lane) else {
                continue;
            };
            let old = f.live.block.time.saturating_sub(a.since) > limit::UNFUNDED_SECS_MAX;
            if old && !self.is_backed(a) && !self.own_tasks.contains_key(task) {
                forget.push(*task);
            } else if self.is_member(a.lane)
                && match a.shards {
                    Shards::Elsewhere => true,
                    Shards::RetryAt(at) => self.now >= at,
                    Shards::Fetching | Shards::Held => false,
                }
            {
                fetch.push((*task, sources(f, a, me)));
            }
        }
        for task in forget {
            if let Some(a) = self.announced.remove(&task) {
                let id = a.record.id();
                if let Some(f) = self.lanes.get_mut(&a.lane) {
                    f.pool.retain(|_, r| r.envelope().task != task);
                }
                self.persist(vec![
                    Op::Delete {
                        family: Family::Announce,
                        key: task.0.to_vec(),
                    },
                    Op::Delete {
                        family: Family::Promise,
                        key: id.0.to_vec(),
                    },
                ]);
            }
        }
        for (task, from) in fetch {
            if let Some(a) = self.announced.get_mut(&task) {
                a.shards = Shards::Fetching;
                let shards = shards_of(&a.record);
                self.emit(Effect::FetchShards { task, shards, from });
            }
        }
    }

    pub(super) fn on_shards_ready(&mut self, task: TaskId) {
        let Some(a) = self.announced.get_mut(&task) else {
            return;
        };
        if !matches!(a.shards, Shards::Fetching) {
            return;
        }
        a.shards = Shards::Held;
        let (lane, client) = (a.lane, a.record.envelope().sender);
        let bytes = shards_of(&a.record).iter().map(|s| s.bytes).sum();
        let envelope = self.sign(Kind::Custody, task, 0, 0, &Custody { bytes });
        let record = crate::verify::Decoded::from_envelope(envelope.clone())
            .and_then(|d| d.authenticate(&self.network));
        if let Ok(record) = record {
            let me = self.node_key();
            // Our own vote goes into our own pool like anybody's; a refusal means that the task is open already.
            if self.take_in(record, me).is_ok() {
                self.deliver(lane, envelope, BTreeSet::from([client]));
            }
        }
    }

    pub(super) fn on_shards_failed(&mut self, task: TaskId) {
        let again = self.now + limit::RETRY_MS * 2;
        if let Some(a) = self
            .announced
            .get_mut(&task)
            .filter(|a| a.shards == Shards::Fetching)
        {
            a.shards = Shards::RetryAt(again);
        }
    }
}

/// Who may have the shards: the client, whoever told us, the other members.
fn sources(f: &Follower, a: &Announced, me: NodeKey) -> Vec<NodeKey> {
    let mut from = vec![a.record.envelope().sender, a.from];
    from.extend(f.live.member_keys());
    let mut seen = BTreeSet::new();
    from.retain(|k| *k != me && seen.insert(*k));
    from
}
