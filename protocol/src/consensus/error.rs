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
    /// A vote on a set of labels names one label twice.
    #[error("vote {index} names label {label} twice; a set names each label once")]
    RepeatedLabel {
        /// Position in `votes`.
        index: usize,
        /// The label.
        label: u16,
    },
    /// A scale cannot be voted on.
    #[error("the scale cannot be used: {why}; fix the kind of the manifest")]
    Scale {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A vote gives a number outside the scale.
    #[error(
        "vote {index} gives {value}, which is not on the scale from {min} to {max} in steps of {step}; such a submission must be refused before scoring"
    )]
    ValueOutOfRange {
        /// Position in `votes`.
        index: usize,
        /// The number given.
        value: i64,
        /// Smallest number of the scale.
        min: i64,
        /// Largest number of the scale.
        max: i64,
        /// Distance between two numbers of the scale.
        step: i64,
    },
    /// One item has more of something than its limit.
    #[error("item {item} has {count} {what}: the limit is {max}")]
    TooManyOnItem {
        /// The item.
        item: u32,
        /// What is counted.
        what: &'static str,
        /// The count given.
        count: u64,
        /// The limit.
        max: u64,
    },
    /// An object of a vote does not fit the kind or its item.
    #[error(
        "object {object} of vote {index} is refused: {why}; such a submission must be refused before scoring"
    )]
    BadObject {
        /// Position in `votes`.
        index: usize,
        /// Position in the vote's own list of objects.
        object: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A gold answer does not fit the kind or its item.
    #[error(
        "the gold answer of item {item} is refused: {why}; check the gold opening against the manifest"
    )]
    BadGold {
        /// The item named.
        item: u32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A comparison or an order names one object twice.
    #[error(
        "vote {index} names object {object} twice; such a submission must be refused before scoring"
    )]
    SelfComparison {
        /// Position in `votes`.
        index: usize,
        /// The object.
        object: u32,
    },
    /// A table does not belong to the task.
    #[error(
        "the table has other sizes or ranges than the task; take it from the result of the whole task"
    )]
    ForeignTable,
    /// A text is longer than the limit.
    #[error(
        "vote {index} has {count} {what}: the limit is {max}; such a submission must be refused before scoring"
    )]
    TextTooLong {
        /// Position in `votes`.
        index: usize,
        /// What is counted.
        what: &'static str,
        /// The count given.
        count: u64,
        /// The limit.
        max: u64,
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
    /// A later vote is by a labeler who voted on the item before.
    #[error(
        "vote {index} is by labeler {labeler}, who voted on item {item} in an earlier batch; keep the one with the lowest sequence number"
    )]
    AlreadyVoted {
        /// Position in the batch.
        index: usize,
        /// The item.
        item: u32,
        /// The labeler.
        labeler: u32,
    },
    /// The gold of an item was opened before.
    #[error("the gold of item {item} was opened in an earlier batch; gold is opened once")]
    GoldTwice {
        /// The item.
        item: u32,
    },
    /// Something that was asked for does not exist.
    #[error("there is no {what} {number}: the task has {count}, counted from zero")]
    Missing {
        /// What was asked for.
        what: &'static str,
        /// Its number.
        number: u32,
        /// How many there are.
        count: u32,
    },
}
