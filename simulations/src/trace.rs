//! The trace: everything that was delivered to a node and everything that a node ordered, in order, under one BLAKE3 digest.
//!
//! Two runs with one digest did the same things at the same simulated times. A line of the optional file is one entry:
//! `{"t":<ms>,"node":<place>,"kind":"<kind>","hash":"<16 hex digits>"}`.

use std::io::{self, Write};

use assay_protocol::{
    codec,
    core::{ChainCall, Effect, Notice, Op},
    id::Hash,
    verify::{Penalty, Verdict},
};

/// Where entries go.
pub struct Trace {
    hasher: blake3::Hasher,
    out: Option<Box<dyn Write>>,
    failed: Option<io::Error>,
    /// Entries so far.
    pub entries: u64,
}

/// The bytes of an entry's payload, hashed as they come; lengths keep parts apart.
#[derive(Default)]
pub struct Payload(blake3::Hasher);

impl Payload {
    /// Adds a part.
    #[must_use]
    pub fn bytes(mut self, part: &[u8]) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    fn hash(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }
}

impl Trace {
    /// An empty trace, copied to `out` when given.
    pub fn new(out: Option<Box<dyn Write>>) -> Self {
        Self {
            hasher: blake3::Hasher::new_derive_key("assay/simulations/1/trace"),
            out,
            failed: None,
            entries: 0,
        }
    }

    /// Adds an entry.
    pub fn note(&mut self, time_ms: u64, node: usize, kind: &str, payload: &Payload) {
        let payload = payload.hash();
        self.entries += 1;
        self.hasher.update(&time_ms.to_le_bytes());
        self.hasher.update(&(node as u64).to_le_bytes());
        self.hasher.update(&(kind.len() as u64).to_le_bytes());
        self.hasher.update(kind.as_bytes());
        self.hasher.update(&payload.0);
        if let (Some(out), None) = (&mut self.out, &self.failed) {
            let hash = &payload.to_string()[..16];
            let line = format!(
                "{{\"t\":{time_ms},\"node\":{node},\"kind\":\"{kind}\",\"hash\":\"{hash}\"}}\n"
            );
            self.failed = out.write_all(line.as_bytes()).err();
        }
    }

    /// Adds an order of a node.
    pub fn effect(&mut self, time_ms: u64, node: usize, effect: &Effect) {
        let (kind, payload) = describe(effect);
        self.note(time_ms, node, kind, &payload);
    }

    /// The digest over all entries.
    ///
    /// # Errors
    /// The first failure to write the file.
    pub fn finish(self) -> io::Result<Hash> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(mut out) = self.out {
            out.flush()?;
        }
        Ok(Hash(*self.hasher.finalize().as_bytes()))
    }
}

fn describe(effect: &Effect) -> (&'static str, Payload) {
    let p = Payload::default();
    match effect {
        Effect::Verdict { token, verdict } => {
            let verdict = match verdict {
                Verdict::Accept => 0,
                Verdict::Ignore => 1,
                Verdict::Reject => 2,
            };
            ("order verdict", p.number(*token).number(verdict))
        }
        Effect::Persist(ops) => ("order persist", ops.iter().fold(p, persisted)),
        Effect::Publish { topic, bytes } => {
            ("order publish", p.bytes(topic.as_bytes()).bytes(bytes))
        }
        Effect::Request {
            id,
            to,
            bytes,
            timeout_ms,
        } => (
            "order request",
            p.number(*id).bytes(&to.0).bytes(bytes).number(*timeout_ms),
        ),
        Effect::Respond { token, bytes } => ("order respond", p.number(*token).bytes(bytes)),
        Effect::FetchShards { task, shards, from } => {
            let p = from.iter().fold(p.bytes(&task.0), |p, key| p.bytes(&key.0));
            ("order fetch", p.bytes(&codec::encode(shards)))
        }
        Effect::Penalise { peer, penalty, why } => (
            "order penalise",
            p.bytes(&peer.0)
                .number(points(*penalty).into())
                .bytes(why.as_bytes()),
        ),
        Effect::Submit(call) => ("order submit", called(p, call)),
        Effect::Notify(notice) => ("order notify", noticed(p, notice)),
    }
}

/// Penalty points: careless 1, hostile 10.
pub fn points(penalty: Penalty) -> u32 {
    match penalty {
        Penalty::None => 0,
        Penalty::Light => 1,
        Penalty::Heavy => 10,
    }
}

fn persisted(p: Payload, op: &Op) -> Payload {
    match op {
        Op::Put { family, key, value } => {
            p.number(1).number(*family as u64).bytes(key).bytes(value)
        }
        Op::Delete { family, key } => p.number(2).number(*family as u64).bytes(key),
    }
}

/// The payload of a transaction.
pub fn called(p: Payload, call: &ChainCall) -> Payload {
    match call {
        ChainCall::Fund {
            task,
            lane,
            deposit,
            gold_bond,
        } => p
            .number(1)
            .bytes(&codec::encode(&(task, lane, deposit, gold_bond))),
        ChainCall::DrawCommittee { lane } => p.number(2).number((*lane).into()),
        ChainCall::PostEpoch {
            header,
            settled,
            signatures,
        } => p
            .number(3)
            .bytes(&codec::encode(&(header, settled, signatures))),
        ChainCall::ForceRecord { client, record } => {
            p.number(5).bytes(&codec::encode(&(client, record)))
        }
        ChainCall::Overrule { header, votes } => {
            p.number(4).bytes(&codec::encode(&(header, votes)))
        }
        ChainCall::ProveEquivocation {
            account,
            proposed,
            signature,
            other,
            other_signature,
        } => p.number(6).bytes(&codec::encode(&(
            account,
            proposed,
            signature,
            other,
            other_signature,
        ))),
        ChainCall::ProveFault { header, fault } => {
            p.number(7).bytes(&codec::encode(&(header, fault)))
        }
    }
}

fn noticed(p: Payload, notice: &Notice) -> Payload {
    match notice {
        Notice::Announced { task } => p.number(1).bytes(&task.0),
        Notice::InCustody { task } => p.number(2).bytes(&task.0),
        Notice::Phase { task, phase, wave } => p
            .number(3)
            .bytes(&task.0)
            .bytes(phase.as_bytes())
            .bytes(&codec::encode(wave)),
        Notice::Assigned {
            task,
            wave,
            items,
            deadline,
        } => p
            .number(4)
            .bytes(&task.0)
            .bytes(&codec::encode(&(wave, items, deadline))),
        Notice::Delivered { task, record, kind } => p
            .number(5)
            .bytes(&task.0)
            .bytes(&record.0)
            .bytes(kind.as_bytes()),
        Notice::Anchored { header, signers } => p
            .number(6)
            .bytes(&codec::encode(header))
            .number(*signers as u64),
        Notice::Finished { outcome } => p.number(7).bytes(&codec::encode(outcome)),
        Notice::Alarm { text } => p.number(8).bytes(text.as_bytes()),
        Notice::Forced { task, record, kind } => p
            .number(11)
            .bytes(&task.0)
            .bytes(&record.0)
            .bytes(kind.as_bytes()),
        Notice::Revoked { lane, from } => p.number(10).number((*lane).into()).number(*from),
        Notice::DoubleSigned {
            lane,
            epoch,
            account,
        } => p
            .number(12)
            .number((*lane).into())
            .number(*epoch)
            .bytes(&account.0),
        Notice::FallbackOpened {
            task,
            client,
            payees,
        } => p
            .number(9)
            .bytes(&task.0)
            .bytes(&client.0)
            .number(*payees as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_node_kind_payload_and_order_all_change_the_digest() {
        let digest = |entries: &[(u64, usize, &str, u64)]| {
            let mut trace = Trace::new(None);
            for (time, node, kind, payload) in entries {
                trace.note(*time, *node, kind, &Payload::default().number(*payload));
            }
            trace.finish().unwrap()
        };
        let base = digest(&[(1, 2, "a", 3), (1, 2, "b", 3)]);
        assert_eq!(base, digest(&[(1, 2, "a", 3), (1, 2, "b", 3)]));
        for other in [
            [(1, 2, "b", 3), (1, 2, "a", 3)],
            [(2, 2, "a", 3), (1, 2, "b", 3)],
            [(1, 3, "a", 3), (1, 2, "b", 3)],
            [(1, 2, "a", 4), (1, 2, "b", 3)],
        ] {
            assert_ne!(base, digest(&other), "{other:?}");
        }
    }
}
