//! Carrying out what a core orders.

use std::rc::Rc;

use assay_protocol::{
    core::{Core, Effect, Notice, WorkStage},
    id::{Hash, NodeKey, TaskId},
    verify::Verdict,
};

use super::{Event, Simulation};
use crate::{actor::EXTRA_REQUEST, trace::points};

impl Simulation {
    /// Carries out a node's orders until one has to wait for the disk.
    pub(super) fn perform(&mut self, node: usize) {
        loop {
            let n = &mut self.nodes[node];
            if n.writing.is_some() {
                break;
            }
            let Some(effect) = n.core.as_mut().and_then(Core::next_effect) else {
                break;
            };
            for effect in n.actor.act(effect, &self.roster) {
                self.trace.effect(self.queue.now(), node, &effect);
                self.carry_out(node, effect);
            }
        }
        self.schedule_wake(node);
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        let life = self.nodes[node].life;
        match effect {
            Effect::Persist(ops) => {
                if self.scenario.disk.write_ms == 0 {
                    self.nodes[node].disk.apply(ops);
                } else {
                    self.nodes[node].writing = Some(ops);
                    self.queue
                        .push(self.scenario.disk.write_ms, Event::Written { node, life });
                    if self.nodes[node].doomed {
                        self.queue
                            .push(self.scenario.disk.write_ms / 2, Event::Crash { node });
                    }
                }
            }
            Effect::Publish { bytes, .. } => {
                let bytes: Rc<[u8]> = bytes.into();
                let id = Hash(*blake3::hash(&bytes).as_bytes());
                self.spread(node, None, id, &bytes);
            }
            Effect::Verdict { token, verdict } => {
                if let Some((from, id, bytes)) = self.nodes[node].held.remove(&token)
                    && verdict == Verdict::Accept
                {
                    self.spread(node, Some(from), id, &bytes);
                }
            }
            Effect::Request {
                id,
                to,
                bytes,
                timeout_ms,
            } => self.send_request(node, id, to, bytes.into(), timeout_ms),
            Effect::Respond { token, bytes } => {
                if let Some((to, asker_life, id)) = self.nodes[node].replies.remove(&token) {
                    self.send_response(node, to, asker_life, id, bytes.into());
                }
            }
            Effect::FetchShards { task, from, .. } => self.fetch_shards(node, task, &from),
            Effect::Penalise { peer, penalty, why } => {
                if let Some(&blamed) = self.index.get(&peer) {
                    let points = points(penalty);
                    *self.nodes[node].points.entry(blamed).or_default() += points;
                    let sum = self.counts.penalties.entry(blamed).or_default();
                    *sum = (sum.0 + 1, sum.1 + u64::from(points));
                    let unjust = !self.nodes[node].actor.is_hostile()
                        && !self.nodes[blamed].actor.is_hostile();
                    if unjust {
                        self.counts.blamed.push((node, blamed, points, why));
                    }
                }
            }
            Effect::Submit(call) => {
                let chain = &self.scenario.chain;
                let after =
                    chain.submit_ms + self.nodes[node].luck.between(0, chain.submit_jitter_ms);
                let from = self.nodes[node].account;
                self.queue.push(
                    after,
                    Event::Call {
                        from,
                        call: Box::new(call),
                    },
                );
            }
            Effect::Notify(notice) => self.on_notice(node, &notice),
        }
    }

    fn send_request(
        &mut self,
        node: usize,
        id: u64,
        to: NodeKey,
        bytes: Rc<[u8]>,
        timeout_ms: u64,
    ) {
        let life = self.nodes[node].life;
        self.network.traffic.requests += 1;
        if id < EXTRA_REQUEST {
            self.nodes[node].pending.insert(id);
            self.queue
                .push(timeout_ms, Event::Timeout { node, life, id });
        }
        let Some(&to) = self.index.get(&to) else {
            return;
        };
        for after in self.network.send(&mut self.ports, node, to, bytes.len()) {
            self.queue.push(
                after,
                Event::Request {
                    from: node,
                    life,
                    to,
                    id,
                    bytes: bytes.clone(),
                },
            );
        }
    }

    /// From the first of `from` that is up: the client always has the data, a member once it voted for custody.
    fn fetch_shards(&mut self, node: usize, task: TaskId, from: &[NodeKey]) {
        let life = self.nodes[node].life;
        let Some(plan) = self.places.get(&task).map(|p| &self.plans[*p]) else {
            return;
        };
        let (client, bytes) = (plan.client, plan.bytes());
        let source = from
            .iter()
            .filter_map(|k| self.index.get(k).copied())
            .find(|s| {
                self.nodes[*s].core.is_some()
                    && (*s == client || self.nodes[*s].shards.contains(&task))
            });
        let (after, arrived) = match source {
            Some(source) => self.network.download(&mut self.ports, source, node, bytes),
            None => (assay_protocol::limit::RETRY_MS, false),
        };
        let traffic = &mut self.network.traffic;
        if arrived {
            traffic.shards_fetched += 1;
        } else {
            traffic.shards_failed += 1;
        }
        self.queue.push(
            after,
            Event::Shards {
                node,
                life,
                task,
                arrived,
            },
        );
    }

    fn on_notice(&mut self, node: usize, notice: &Notice) {
        match notice {
            Notice::Phase {
                task,
                phase: "enrolling",
                ..
            } => self.consider(node, *task),
            Notice::Phase {
                task,
                phase: "labeling",
                ..
            }
            | Notice::Assigned { task, .. } => self.take_up(node, *task),
            Notice::Delivered {
                task,
                kind: "reveal",
                ..
            } => self.acknowledge(node, *task),
            Notice::Anchored { header, .. } => {
                let hash = header.hash();
                let before = self.nodes[node]
                    .headers
                    .insert((header.lane, header.epoch), hash);
                if before.is_some_and(|b| b != hash) {
                    let name = &self.nodes[node].name;
                    self.counts.conflicts.push(format!(
                        "{name} adopted two headers for epoch {}",
                        header.epoch
                    ));
                }
            }
            Notice::Finished { outcome } => {
                let now = self.queue.now();
                self.finished_ms.entry(outcome.task).or_insert(now);
            }
            Notice::Alarm { text } => {
                let line = format!(
                    "{} at {} ms: {text}",
                    self.nodes[node].name,
                    self.queue.now()
                );
                self.counts.alarms.push(line);
            }
            _ => {}
        }
    }

    /// A quorum took our reveal in: its answers must be counted.
    fn acknowledge(&mut self, node: usize, task: TaskId) {
        let n = &mut self.nodes[node];
        let latest = n.core.as_ref().and_then(|core| {
            let of_task = core.work().range((task, 0)..=(task, u8::MAX));
            of_task
                .rev()
                .find(|(_, work)| work.stage == WorkStage::Revealed)
                .map(|(key, work)| (*key, work.answers.clone()))
        });
        n.acknowledged.extend(latest);
    }
}
