//! The waiting room: is this authentic record welcome now?

use super::{Asked, Core, Family, Op};
use crate::{
    id::NodeKey,
    limit,
    message::{Envelope, Kind, Receipt, Response},
    verify::{Authentic, Body, Decoded, Fault, Penalty, Verdict},
};

impl Core {
    pub(super) fn on_gossip(&mut self, token: u64, from: NodeKey, bytes: &[u8]) {
        let result = if bytes.len() > limit::GOSSIP_BYTES_MAX {
            Err(Fault::reject(
                Penalty::Light,
                format!(
                    "{} bytes of gossip, at most {}",
                    bytes.len(),
                    limit::GOSSIP_BYTES_MAX
                ),
            ))
        } else {
            Decoded::parse(bytes)
                .and_then(|d| d.authenticate(&self.network))
                .and_then(|record| match record.body() {
                    Body::Announce(_) => self.admit_announce(record, from),
                    _ => Err(Fault::reject(
                        Penalty::Heavy,
                        "only announcements travel by gossip",
                    )),
                })
        };
        let verdict = match &result {
            Ok(()) => Verdict::Accept,
            Err(fault) => fault.verdict,
        };
        self.emit(super::Effect::Verdict { token, verdict });
        if let Err(fault) = result {
            self.penalise(from, &fault);
        }
    }

    /// A record handed to us directly; the receipt is given after it is durable.
    pub(super) fn on_submit(&mut self, token: u64, from: NodeKey, envelope: Envelope) {
        let network = self.network;
        let result = Decoded::from_envelope(envelope)
            .and_then(|d| d.authenticate(&network))
            .and_then(|record| self.take_in(record, from));
        match result {
            Ok((record, time)) => {
                let receipt = Receipt::sign(&self.config.node, &network, record, time);
                self.respond(token, &Response::Receipt(receipt));
            }
            Err(fault) => {
                self.penalise(from, &fault);
                self.respond(
                    token,
                    &Response::refused(fault.verdict == Verdict::Ignore, fault.why),
                );
            }
        }
    }

    /// Takes a record into the pool. Emits the `Persist` that must precede the receipt.
    ///
    /// # Errors
    /// A [`Fault`] saying why not.
    pub(super) fn take_in(
        &mut self,
        record: Authentic,
        from: NodeKey,
    ) -> Result<(crate::id::RecordId, u64), Fault> {
        let (id, task, kind) = (record.id(), record.envelope().task, record.envelope().kind);
        if kind == Kind::Announce {
            let time = self.lane_time(&record);
            self.admit_announce(record, from)?;
            return Ok((id, time));
        }
        if kind == Kind::Custody && self.own_tasks.contains_key(&task) {
            let time = self.lane_time(&record);
            self.note_custody(&record)?;
            if self.lane_of(&task).is_none_or(|lane| !self.is_member(lane)) {
                return Ok((id, time));
            }
        }
        let lane = self
            .lane_of(&task)
            .ok_or_else(|| Fault::ignore("the task is not known here"))?;
        if !self.is_member(lane) {
            return Err(Fault::ignore(
                "this node is not in the committee of the task's lane",
            ));
        }
        let f = self
            .lanes
            .get_mut(&lane)
            .ok_or_else(|| Fault::ignore("unknown lane"))?;
        let time = f.live.block.time;
        if f.pool.contains_key(&id) {
            return Ok((id, time));
        }
        if kind == Kind::Custody {
            if f.live.speaker(&record).is_none() {
                return Err(Fault::ignore(
                    "only members of the committee vote for custody",
                ));
            }
            if f.live.tasks.contains_key(&task) {
                return Err(Fault::ignore("the task is already open"));
            }
        } else {
            let open = f
                .live
                .tasks
                .get(&task)
                .ok_or_else(|| Fault::ignore("the task is not open"))?;
            if open.phase.deadline().is_some_and(|d| time >= d) {
                return Err(Fault::ignore("late: the deadline of the phase has passed"));
            }
            open.admits(&record, f.live.speaker(&record))
                .map_err(|e| match e {
                    crate::task::RecordFault::Contradiction(why) => {
                        Fault::reject(Penalty::Light, why)
                    }
                    other => Fault::ignore(other.to_string()),
                })?;
        }
        if f.pool.len() >= limit::POOL_RECORDS_MAX {
            return Err(Fault::ignore(
                "this node's pool is full; try again in the next epoch",
            ));
        }
        let value = record.envelope().to_bytes();
        f.pool.insert(id, record);
        f.dirty = true;
        self.persist(vec![
            Op::Put {
                family: Family::Record,
                key: id.0.to_vec(),
                value,
            },
            Op::Put {
                family: Family::Promise,
                key: id.0.to_vec(),
                value: time.to_be_bytes().to_vec(),
            },
        ]);
        self.tick_agree(lane);
        Ok((id, time))
    }

    fn lane_time(&self, record: &Authentic) -> u64 {
        self.lane_of(&record.envelope().task)
            .and_then(|l| self.live(l))
            .or_else(|| self.live(0))
            .map_or(0, |l| l.block.time)
    }

    pub(super) fn on_announce_fetched(&mut self, task: crate::id::TaskId, response: Response) {
        let Response::Announce(envelope) = response else {
            return;
        };
        if envelope.task != task {
            return;
        }
        let (network, sender) = (self.network, envelope.sender);
        if let Ok(record) = Decoded::from_envelope(envelope).and_then(|d| d.authenticate(&network))
        {
            // A wrong answer costs nothing here: it did not hash to the task.
            let _ = self.admit_announce(record, sender);
        }
    }

    /// True while an answer to a question about this task is awaited.
    pub(super) fn is_asking(&self, matches: impl Fn(&Asked) -> bool) -> bool {
        self.asked.values().any(matches)
    }
}
