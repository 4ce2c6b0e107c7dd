//! The signed envelope around every record.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    codec::{self, DecodeError},
    crypto::{NodeKeypair, SignatureError, hash, verify},
    id::{Blob, NetworkId, NodeKey, RecordId, Signature, TaskId},
    limit,
};

/// Kinds of records; each has a signing domain of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A client's manifest.
    Announce,
    /// A committee member holds all shards of a task.
    Custody,
    /// A labeler takes part.
    Enrol,
    /// A labeler's blinded answers of a wave.
    Commit,
    /// The answers themselves.
    Reveal,
    /// The client opens a wave's gold.
    GoldOpen,
}

impl Kind {
    /// Signing domain.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Announce => "assay/1/announce",
            Self::Custody => "assay/1/custody",
            Self::Enrol => "assay/1/enrol",
            Self::Commit => "assay/1/commit",
            Self::Reveal => "assay/1/reveal",
            Self::GoldOpen => "assay/1/gold-open",
        }
    }

    /// Largest body in bytes.
    pub const fn body_bytes_max(self) -> usize {
        match self {
            Self::Announce => limit::MANIFEST_BYTES_MAX,
            Self::Custody | Self::Enrol | Self::Commit => 512,
            Self::Reveal | Self::GoldOpen => limit::BODY_BYTES_MAX,
        }
    }
}

/// A record as it travels and as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Format version, 1.
    pub v: u8,
    /// What the body is.
    pub kind: Kind,
    /// The network it is for; binds chain and contracts.
    pub network: NetworkId,
    /// The task it is about.
    pub task: TaskId,
    /// The wave it is about; 0 where waves do not matter.
    pub wave: u8,
    /// Rises per (sender, task, kind, wave); the lowest counts, two bodies at one number are an equivocation.
    pub seq: u64,
    /// Who signed.
    pub sender: NodeKey,
    /// Canonical bytes of the kind's body.
    pub body: Blob,
    /// Strict Ed25519 over everything above.
    pub sig: Signature,
}

impl Envelope {
    /// Signs `body`.
    pub fn sign<B: Serialize>(
        keys: &NodeKeypair,
        network: NetworkId,
        kind: Kind,
        task: TaskId,
        wave: u8,
        seq: u64,
        body: &B,
    ) -> Self {
        let body = Blob(codec::encode(body));
        let mut envelope = Self {
            v: 1,
            kind,
            network,
            task,
            wave,
            seq,
            sender: keys.public(),
            body,
            sig: Signature([0; 64]),
        };
        envelope.sig = keys.sign(kind.domain(), &envelope.signed_bytes());
        envelope
    }

    /// The bytes under the signature.
    pub fn signed_bytes(&self) -> Vec<u8> {
        codec::encode(&(
            self.v,
            self.kind,
            &self.network,
            &self.task,
            self.wave,
            self.seq,
            &self.sender,
            &self.body,
        ))
    }

    /// The record's name. The signature is left out, so signing twice does not make two records.
    pub fn id(&self) -> RecordId {
        RecordId(hash("assay/1/record", &[&self.signed_bytes()]).0)
    }

    /// Checks the signature only.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check_signature(&self) -> Result<(), SignatureError> {
        verify(
            &self.sender,
            self.kind.domain(),
            &self.signed_bytes(),
            &self.sig,
        )
    }

    /// The body as its type.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not a canonical `B`.
    pub fn open<B: Serialize + DeserializeOwned>(&self) -> Result<B, DecodeError> {
        codec::decode(&self.body.0, self.kind.body_bytes_max())
    }

    /// Canonical bytes of the whole envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }
}
