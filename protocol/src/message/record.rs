//! Bodies of the records, and the receipts for them.

use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::{
    codec,
    crypto::{NodeKeypair, SignatureError, hash, verify},
    id::{Account, Hash, NetworkId, NodeKey, RecordId, Salt, Signature, TaskId},
};

/// Body of [`super::Kind::Announce`]: the client's node publishes the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announce {
    /// The terms; their hash is the envelope's task.
    pub manifest: Manifest,
}

/// Body of [`super::Kind::Custody`]: the sender, a committee member, holds every shard of the task, verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custody {
    /// Bytes held.
    pub bytes: u64,
}

/// Body of [`super::Kind::Enrol`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// Most labels that the labeler will give in one wave.
    pub capacity: u32,
}

/// Body of [`super::Kind::Commit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// See [`commit_digest`].
    pub digest: Hash,
}

/// One answer: (item, label).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Answer(pub u32, pub u16);

/// Body of [`super::Kind::Reveal`]: all answers of the wave, sorted by item, and the salt of the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    /// Sorted by item, each item at most once.
    pub answers: Vec<Answer>,
    /// Salt of the commit.
    pub salt: Salt,
}

/// Body of [`super::Kind::GoldOpen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldOpen {
    /// (item, label), sorted by item.
    pub entries: Vec<(u32, u16)>,
    /// Salt of the commitment.
    pub salt: Salt,
}

/// The commitment to a wave's answers: bound to network (chain and contracts), task, wave and labeler, so that a copied commit
/// cannot be opened by the copier.
pub fn commit_digest(
    network: &NetworkId,
    task: &TaskId,
    wave: u8,
    labeler: &Account,
    answers: &[Answer],
    salt: &Salt,
) -> Hash {
    let answers_root = hash("assay/1/answers", &[&codec::encode(answers)]);
    hash(
        "assay/1/commit-digest",
        &[
            &network.0,
            &task.0,
            &[wave],
            &labeler.0,
            &answers_root.0,
            &salt.0,
        ],
    )
}

/// A committee member's signed promise to have a record in the set it will sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The record.
    pub record: RecordId,
    /// The member.
    pub member: NodeKey,
    /// Chain time at which it was taken in, seconds.
    pub time: u64,
    /// Strict Ed25519 over the fields above and the network.
    pub sig: Signature,
}

const RECEIPT_DOMAIN: &str = "assay/1/receipt";

impl Receipt {
    fn signed_bytes(
        network: &NetworkId,
        record: &RecordId,
        member: &NodeKey,
        time: u64,
    ) -> Vec<u8> {
        codec::encode(&(network, record, member, time))
    }

    /// Signs a receipt.
    pub fn sign(keys: &NodeKeypair, network: &NetworkId, record: RecordId, time: u64) -> Self {
        let member = keys.public();
        let sig = keys.sign(
            RECEIPT_DOMAIN,
            &Self::signed_bytes(network, &record, &member, time),
        );
        Self {
            record,
            member,
            time,
            sig,
        }
    }

    /// Checks the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check(&self, network: &NetworkId) -> Result<(), SignatureError> {
        let bytes = Self::signed_bytes(network, &self.record, &self.member, self.time);
        verify(&self.member, RECEIPT_DOMAIN, &bytes, &self.sig)
    }
}
