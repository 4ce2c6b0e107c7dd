//! What can be wrong with the input of truth inference.
//!
//! Every variant names the offending entry by its position in the caller's own slice, so that a rejection can be explained.

use thiserror::Error;

/// Why an input was refused; nothing was computed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConsensusError {
    /// The label schema has too few or too many classes.
    #[error(
        "{classes} classes: truth inference takes {min} to {max}; fix the label schema of the manifest"
    )]
    Classes {
        /// Classes given.
        classes: u16,
        /// Fewest classes accepted.
        min: u16,
        /// Most classes accepted.
        max: u16,
    },
    /// A size exceeds its limit.
    #[error("{count} {what}: the limit is {max}; split the task into smaller waves")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The count given.
        count: u64,
        /// The limit.
        max: u64,
    },
    /// A vote names an item that does not exist.
    #[error(
        "vote {index} is for item {item}, but there are {items} items; drop the vote or correct the item count"
    )]
    ItemOutOfRange {
        /// Position in `votes`.
        index: usize,
        /// The item named.
        item: u32,
        /// Items of the task.
        items: u32,
    },
    /// A vote names a labeler that does not exist.
    #[error(
        "vote {index} is by labeler {labeler}, but there are {labelers} labelers; drop the vote or correct the labeler count"
    )]
    LabelerOutOfRange {
        /// Position in `votes`.
        index: usize,
        /// The labeler named.
        labeler: u32,
        /// Labelers of the task.
        labelers: u32,
    },
    /// A vote gives a label outside the schema.
    #[error(
        "vote {index} gives label {label}, but there are {classes} classes; such a submission must be refused before scoring"
    )]
    LabelOutOfRange {
        /// Position in `votes`.
        index: usize,
        /// The label given.
        label: u16,
        /// Classes of the schema.
        classes: u16,
    },
    /// One labeler voted twice for one item.
    #[error(
        "votes {first} and {second} are both by labeler {labeler} for item {item}; keep the one with the lowest sequence number"
    )]
    DuplicateVote {
        /// Position of the first of the two in `votes`.
        first: usize,
        /// Position of the second of the two in `votes`.
        second: usize,
        /// The item.
        item: u32,
        /// The labeler.
        labeler: u32,
    },
    /// A gold item lies outside the task or carries a label outside the schema.
    #[error(
        "gold item {item} has label {label}, but there are {items} items and {classes} classes; check the gold opening against the manifest"
    )]
    GoldOutOfRange {
        /// The item named.
        item: u32,
        /// Its label.
        label: u16,
        /// Items of the task.
        items: u32,
        /// Classes of the schema.
        classes: u16,
    },
    /// The reputation evidence does not match the labelers.
    #[error(
        "{priors} reputation priors for {labelers} labelers; give one per labeler or none at all"
    )]
    PriorCount {
        /// Priors given.
        priors: usize,
        /// Labelers of the task.
        labelers: u32,
    },
    /// The answer times do not match the votes.
    #[error("{seconds} answer times for {votes} votes; give one per vote or none at all")]
    SecondsCount {
        /// Times given.
        seconds: usize,
        /// Votes given.
        votes: usize,
    },
    /// A labeler declared to be a machine is not one of the task.
    #[error("machine labeler {labeler} of {labelers} does not exist; count labelers from zero")]
    MachineOutOfRange {
        /// The labeler named.
        labeler: u32,
        /// Labelers of the task.
        labelers: u32,
    },
}
