//! Verification in stages that are types: bytes -> [`Decoded`] -> [`Authentic`] -> admissible (by the core's memory).
//!
//! A function that needs a checked record asks for the type, so forgetting a check does not compile. Each failure names its
//! verdict and its penalty, or nobody's fault.

use crate::{
    codec::{self, DecodeError},
    crypto::SignatureError,
    id::{NetworkId, RecordId},
    limit,
    message::{Announce, Commit, Custody, Enrol, Envelope, GoldOpen, Kind, Reveal},
};

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take it and pass it on.
    Accept,
    /// Drop it; nobody is at fault (late, early, unknown here).
    Ignore,
    /// Drop it; no honest node could have sent it.
    Reject,
}

/// How much worse the sender's standing gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// Not at fault.
    None,
    /// Careless: wrong network, oversize.
    Light,
    /// Hostile: forged, malformed, wrong bytes for a hash.
    Heavy,
}

/// A refused message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Fault {
    /// Fate of the message.
    pub verdict: Verdict,
    /// Fate of the sender.
    pub penalty: Penalty,
    /// For logs and for the sender.
    pub why: String,
}

impl Fault {
    /// Late, early or unknown: nobody's fault.
    pub fn ignore(why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ignore,
            penalty: Penalty::None,
            why: why.into(),
        }
    }

    /// No honest node sends this.
    pub fn reject(penalty: Penalty, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Reject,
            penalty,
            why: why.into(),
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        let penalty = if matches!(error, DecodeError::Oversize { .. }) {
            Penalty::Light
        } else {
            Penalty::Heavy
        };
        Self::reject(penalty, error.to_string())
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        Self::reject(Penalty::Heavy, error.to_string())
    }
}

/// The body of a record, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "manifests are few; a box would cost every other record an allocation"
)]
pub enum Body {
    /// A manifest.
    Announce(Announce),
    /// Shards held.
    Custody(Custody),
    /// A labeler takes part.
    Enrol(Enrol),
    /// Blinded answers.
    Commit(Commit),
    /// Answers.
    Reveal(Reveal),
    /// Gold.
    GoldOpen(GoldOpen),
}

/// Canonical in form: envelope and body decoded, nothing signed is believed yet.
#[derive(Clone, Debug)]
pub struct Decoded {
    envelope: Envelope,
    body: Body,
}

impl Decoded {
    /// From bytes off the wire.
    ///
    /// # Errors
    /// A [`Fault`] for bytes that are no canonical record.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        Self::from_envelope(codec::decode::<Envelope>(bytes, limit::REQUEST_BYTES_MAX)?)
    }

    /// From an envelope that came inside another message.
    ///
    /// # Errors
    /// A [`Fault`] for a body that is not of the envelope's kind.
    pub fn from_envelope(envelope: Envelope) -> Result<Self, Fault> {
        if envelope.v != 1 {
            return Err(Fault::reject(
                Penalty::Light,
                format!("envelope version {} is unknown", envelope.v),
            ));
        }
        let body = match envelope.kind {
            Kind::Announce => Body::Announce(envelope.open()?),
            Kind::Custody => Body::Custody(envelope.open()?),
            Kind::Enrol => Body::Enrol(envelope.open()?),
            Kind::Commit => Body::Commit(envelope.open()?),
            Kind::Reveal => Body::Reveal(envelope.open()?),
            Kind::GoldOpen => Body::GoldOpen(envelope.open()?),
        };
        Ok(Self { envelope, body })
    }

    /// Checks network, signature and the rules that need no memory.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn authenticate(self, network: &NetworkId) -> Result<Authentic, Fault> {
        let e = &self.envelope;
        if e.network != *network {
            return Err(Fault::reject(
                Penalty::Light,
                "signed for another network, chain or contract",
            ));
        }
        match &self.body {
            Body::Announce(a) if a.manifest.id() != e.task => {
                return Err(Fault::reject(
                    Penalty::Heavy,
                    "the manifest does not hash to the task id",
                ));
            }
            Body::Reveal(r) if !strictly_rising(r.answers.iter().map(|a| a.0)) => {
                return Err(Fault::reject(
                    Penalty::Heavy,
                    "answers must rise strictly by item",
                ));
            }
            Body::Reveal(r) if r.answers.len() > limit::ANSWERS_MAX => {
                return Err(Fault::reject(
                    Penalty::Light,
                    "too many answers in one reveal",
                ));
            }
            Body::GoldOpen(g) if !strictly_rising(g.entries.iter().map(|g| g.0)) => {
                return Err(Fault::reject(
                    Penalty::Heavy,
                    "gold entries must rise strictly by item",
                ));
            }
            _ => {}
        }
        e.check_signature()?;
        Ok(Authentic {
            id: e.id(),
            envelope: self.envelope,
            body: self.body,
        })
    }
}

fn strictly_rising(items: impl Iterator<Item = u32>) -> bool {
    let mut last = None;
    for item in items {
        if last.is_some_and(|last| item <= last) {
            return false;
        }
        last = Some(item);
    }
    true
}

/// Signed by its sender for this network and well-formed; whether it is welcome now is for the core to say.
#[derive(Clone, Debug)]
pub struct Authentic {
    id: RecordId,
    envelope: Envelope,
    body: Body,
}

impl Authentic {
    /// The record's name.
    pub fn id(&self) -> RecordId {
        self.id
    }

    /// The signed envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The decoded body.
    pub fn body(&self) -> &Body {
        &self.body
    }
}
