//! A client's data: from a file of items to a task's manifest and shards, and from a finished task back to a file of labels.
//!
//! ```text
//!   items file or folder --items--> SourceItem \
//!                                               build --> Manifest, gold secrets, item index, shards
//!   task file or flags ----spec---> TaskSpec   /
//!
//!   Manifest + item index + TaskOutcome --export--> JSONL, CSV
//! ```
//!
//! [`digits`] is the built-in demonstration set.
//!
//! What it does not do: no network, no chain, no clock, and no randomness of its own (the caller gives a seed). It decides
//! nothing about labels or money: those rules stand in the protocol.
//! Invariants: equal inputs give equal bytes; the place of an item says nothing about whether it is gold; a file is written
//! whole or not at all.

pub mod build;
pub mod digits;
pub mod export;
pub mod items;
pub mod spec;

mod chance;
mod pack;

pub use build::{BuildError, Built, build};
pub use export::{Export, ExportError, Format};
pub use items::{ItemsError, SourceItem};
pub use spec::{Decimal, SpecError, TaskSpec};

pub(crate) use chance::Chance;
