//! Messages: what participants sign, and what nodes ask each other.
//!
//! One file per kind. This module only says what the bytes mean; whether a message is welcome is decided in `verify` and in the core.

mod chain;
mod envelope;
mod header;
mod manifest;
mod record;
mod wire;

pub use chain::{BlockNews, BlockRef, ChainFact};
pub use envelope::{Envelope, Kind};
pub use header::{EpochHeader, SettledTask};
pub use manifest::{
    AssignmentRule, Durations, ItemEntry, ItemSet, Manifest, ManifestError, ShardRef, TaskKind,
    WavePlan, gold_root,
};
pub use record::{
    Announce, Answer, Commit, Custody, Enrol, GoldOpen, Receipt, Reveal, commit_digest,
};
pub use wire::{EpochBody, Request, Response, topic};
