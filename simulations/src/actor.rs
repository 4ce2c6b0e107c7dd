//! Bad actors: each wraps an honest core from outside and changes what it orders. The core itself knows nothing of them.
//!
//! A new attacker is one arm of [`Actor::act`] and one name in [`ActorKind`].

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{
    amount::Amount,
    codec,
    core::Effect,
    crypto::{EvmKey, NodeKeypair, hash},
    id::{Blob, NetworkId, NodeKey, RecordId},
    limit,
    message::{Commit, Envelope, EpochBody, EpochHeader, Kind, Request, Response, topic},
    network::NetworkProfile,
};

use crate::{rng::Stream, scenario::ActorKind};

/// Requests of a wrapper carry ids from here on, so that they never meet the core's own; their answers go to nobody.
pub const EXTRA_REQUEST: u64 = 1 << 63;
/// Earlier records that a replayer sends again with each new one.
const REPLAYED_MAX: usize = 4;

/// The wrapper of one node.
pub struct Actor {
    /// What it does.
    pub kind: ActorKind,
    keys: NodeKeypair,
    /// What a second header is signed with; only for who shows one.
    signer: Option<(EvmKey, NetworkProfile)>,
    network: NetworkId,
    topic: String,
    luck: Stream,
    extra: u64,
    seen: BTreeSet<RecordId>,
    sent: Vec<Envelope>,
    sides: BTreeMap<NodeKey, bool>,
}

impl Actor {
    /// A wrapper that holds the node's own keys, as its owner would.
    pub fn new(
        kind: ActorKind,
        (keys, evm): (NodeKeypair, &EvmKey),
        profile: &NetworkProfile,
        luck: Stream,
    ) -> Self {
        let signs = kind == ActorKind::TwoFaced;
        Self {
            kind,
            keys,
            signer: signs.then(|| (evm.clone(), profile.clone())),
            network: profile.id(),
            topic: topic(&profile.name, "class"),
            luck,
            extra: EXTRA_REQUEST,
            seen: BTreeSet::new(),
            sent: Vec::new(),
            sides: BTreeMap::new(),
        }
    }

    /// Whether it deviates from the protocol.
    pub fn is_hostile(&self) -> bool {
        self.kind != ActorKind::Honest
    }

    /// What the node does instead of `effect`. `roster` is everybody's node key.
    pub fn act(&mut self, effect: Effect, roster: &[NodeKey]) -> Vec<Effect> {
        if !self.is_hostile() {
            return vec![effect];
        }
        match effect {
            Effect::Request {
                id,
                to,
                bytes,
                timeout_ms,
            } => match codec::decode::<Request>(&bytes, limit::REQUEST_BYTES_MAX) {
                Ok(request) => self.ask(id, to, request, timeout_ms, roster),
                Err(_) => vec![Effect::Request {
                    id,
                    to,
                    bytes,
                    timeout_ms,
                }],
            },
            Effect::Respond { token, bytes } => self.respond(token, bytes),
            other => vec![other],
        }
    }

    fn ask(
        &mut self,
        id: u64,
        to: NodeKey,
        request: Request,
        timeout_ms: u64,
        roster: &[NodeKey],
    ) -> Vec<Effect> {
        let own = |request: &Request| Effect::Request {
            id,
            to,
            bytes: codec::encode(request),
            timeout_ms,
        };
        match (self.kind, request) {
            (ActorKind::Withholder, Request::Submit { envelope })
                if envelope.kind == Kind::Reveal =>
            {
                Vec::new()
            }
            (ActorKind::GoldWithholder, Request::Submit { envelope })
                if envelope.kind == Kind::GoldOpen =>
            {
                Vec::new()
            }
            (ActorKind::Mute, Request::Gather { .. } | Request::Propose { .. }) => Vec::new(),
            (
                ActorKind::Liar,
                Request::Propose {
                    body,
                    header,
                    signature,
                },
            ) => vec![own(&Request::Propose {
                body,
                header: one_more_owed(header),
                signature,
            })],
            (
                ActorKind::TwoFaced,
                Request::Propose {
                    body,
                    header,
                    signature,
                },
            ) => {
                let shown = if self.sees_the_other(to) {
                    self.other_proposal(body, header)
                } else {
                    Request::Propose {
                        body,
                        header,
                        signature,
                    }
                };
                vec![own(&shown)]
            }
            (ActorKind::Equivocator, Request::Submit { envelope })
                if envelope.kind == Kind::Commit =>
            {
                let shown = if self.sees_the_other(to) {
                    self.other_commit(&envelope)
                } else {
                    envelope
                };
                vec![own(&Request::Submit { envelope: shown })]
            }
            (ActorKind::Forger, Request::Submit { envelope }) => {
                let mut effects = self.forged(&envelope, to, roster);
                effects.push(own(&Request::Submit { envelope }));
                effects
            }
            (ActorKind::Replayer, Request::Submit { envelope }) => {
                let mut effects = vec![own(&Request::Submit {
                    envelope: envelope.clone(),
                })];
                effects.extend(self.replayed(envelope, to));
                effects
            }
            (ActorKind::Oversize, Request::Submit { envelope }) => {
                let mut effects = vec![own(&Request::Submit {
                    envelope: envelope.clone(),
                })];
                effects.extend(self.oversized(&envelope, to));
                effects
            }
            (_, request) => vec![own(&request)],
        }
    }

    fn respond(&mut self, token: u64, bytes: Vec<u8>) -> Vec<Effect> {
        if self.kind == ActorKind::Mute {
            return Vec::new();
        }
        if self.kind == ActorKind::Liar
            && let Ok(Response::Vote(mut signature)) =
                codec::decode(&bytes, limit::RESPONSE_BYTES_MAX)
        {
            signature.0[7] ^= 0x55;
            return vec![Effect::Respond {
                token,
                bytes: codec::encode(&Response::Vote(signature)),
            }];
        }
        vec![Effect::Respond { token, bytes }]
    }

    fn extra(&mut self, to: NodeKey, bytes: Vec<u8>) -> Effect {
        self.extra += 1;
        Effect::Request {
            id: self.extra,
            to,
            bytes,
            timeout_ms: limit::REQUEST_TIMEOUT_MS,
        }
    }

    fn submit(&mut self, to: NodeKey, envelope: Envelope) -> Effect {
        self.extra(to, codec::encode(&Request::Submit { envelope }))
    }

    /// Every second member that we meet is shown the other one.
    fn sees_the_other(&mut self, to: NodeKey) -> bool {
        let next = self.sides.len() % 2 == 1;
        *self.sides.entry(to).or_insert(next)
    }

    /// Another commit of ours under the same number.
    fn other_commit(&self, envelope: &Envelope) -> Envelope {
        let digest = hash("assay/simulations/1/other-commit", &[&envelope.id().0]);
        Envelope::sign(
            &self.keys,
            self.network,
            Kind::Commit,
            envelope.task,
            envelope.wave,
            envelope.seq,
            &Commit { digest },
        )
    }

    /// Another header for the same view, with our signature as well.
    fn other_proposal(&self, body: EpochBody, header: EpochHeader) -> Request {
        let header = one_more_owed(header);
        let (evm, profile) = self
            .signer
            .as_ref()
            .expect("two-faced actors have a signer");
        Request::Propose {
            signature: evm.sign(&header.signing_digest(profile)),
            body,
            header,
        }
    }

    fn forged(&mut self, envelope: &Envelope, to: NodeKey, roster: &[NodeKey]) -> Vec<Effect> {
        let mut broken = envelope.clone();
        broken.sig.0[3] ^= 1;
        let mut stolen = envelope.clone();
        stolen.sender = roster[self.luck.below(roster.len() as u64) as usize];
        let stolen = Some(stolen).filter(|s| s.sender != envelope.sender);
        let gossip = broken.to_bytes();
        let mut effects = vec![self.submit(to, broken)];
        effects.extend(stolen.map(|s| self.submit(to, s)));
        if self.seen.insert(envelope.id()) {
            effects.push(Effect::Publish {
                topic: self.topic.clone(),
                bytes: gossip,
            });
        }
        effects
    }

    fn replayed(&mut self, envelope: Envelope, to: NodeKey) -> Vec<Effect> {
        let earlier: Vec<Envelope> = self
            .sent
            .iter()
            .rev()
            .filter(|e| (e.task, e.kind, e.wave) != (envelope.task, envelope.kind, envelope.wave))
            .take(REPLAYED_MAX)
            .cloned()
            .collect();
        let mut effects = Vec::new();
        for old in earlier {
            if old.task != envelope.task {
                let mut moved = old.clone();
                moved.task = envelope.task;
                effects.push(self.submit(to, moved));
            }
            effects.push(self.submit(to, old));
        }
        if self.seen.insert(envelope.id()) {
            self.sent.push(envelope);
        }
        effects
    }

    fn oversized(&mut self, envelope: &Envelope, to: NodeKey) -> Vec<Effect> {
        if !self.seen.insert(envelope.id()) {
            return Vec::new();
        }
        let body = Blob(vec![7; envelope.kind.body_bytes_max() + 1]);
        let fat = Envelope::sign(
            &self.keys,
            self.network,
            envelope.kind,
            envelope.task,
            envelope.wave,
            envelope.seq + 1,
            &body,
        );
        vec![
            self.submit(to, fat),
            self.extra(to, vec![0; limit::REQUEST_BYTES_MAX + 1]),
            Effect::Publish {
                topic: self.topic.clone(),
                bytes: vec![0; limit::GOSSIP_BYTES_MAX + 1],
            },
        ]
    }
}

/// A header that no records give.
fn one_more_owed(header: EpochHeader) -> EpochHeader {
    EpochHeader {
        total_owed: Amount(header.total_owed.0 + 1),
        ..header
    }
}
