//! Groups of alike participants.

use serde::Deserialize;

/// Nodes that are alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// Name; nodes are called `name-0`, `name-1`, ...
    pub name: String,
    /// What they are registered as.
    pub role: Role,
    /// How many.
    pub count: u32,
    /// How their node deviates from the protocol.
    #[serde(default)]
    pub actor: ActorKind,
    /// Stake of each, base units.
    #[serde(default = "stake")]
    pub stake: u64,
    /// Bandwidth of each, kilobits per second, both ways.
    #[serde(default = "bandwidth")]
    pub bandwidth_kbps: u64,
    /// How they go down and come back; absent: never.
    #[serde(default)]
    pub churn: Option<Churn>,
    /// Labelers: how they answer.
    #[serde(default)]
    pub skill: Skill,
    /// Labelers: share of items answered right, drawn for each labeler between these two.
    #[serde(default = "accuracy")]
    pub accuracy_ppm: [u32; 2],
    /// Labelers: accuracy lost with every item of a wave, until chance is reached.
    #[serde(default)]
    pub fatigue_ppm: u32,
    /// Labelers with `skill = "ring"`: share of answers that slip from the ring's sheet.
    #[serde(default)]
    pub slip_ppm: u32,
    /// Labelers with `skill = "constant"`: the label they always give.
    #[serde(default)]
    pub label: u16,
    /// Labelers: time to answer an item, as evenly spaced quantiles of its distribution, smallest first.
    #[serde(default = "answer_ms")]
    pub answer_ms: Vec<u64>,
    /// Labelers: time until a person notices something new, at most; drawn from a tenth of it upwards.
    #[serde(default = "notice_ms")]
    pub notice_ms: u64,
    /// Labelers: share of tasks that each takes part in.
    #[serde(default = "always")]
    pub takes_part_ppm: u32,
    /// A check fails when this group as a whole earns more than it loses.
    #[serde(default)]
    pub must_not_profit: bool,
}

/// What a node is registered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Publishes tasks.
    Client,
    /// Labels.
    Labeler,
    /// Sits on committees.
    Validator,
}

/// How a node deviates from the protocol: a wrapper around an honest core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActorKind {
    /// Not at all.
    #[default]
    Honest,
    /// Labeler: commits and never reveals.
    Withholder,
    /// Also sends every record with a broken signature and under somebody else's name.
    Forger,
    /// Also sends records again later, and records of one task under another task's name.
    Replayer,
    /// Also sends bodies beyond the limit of their kind, and requests and gossip beyond theirs.
    Oversize,
    /// Labeler: shows half of the committee another commit under the same number.
    Equivocator,
    /// Client: never opens its gold.
    GoldWithholder,
    /// Validator: gives no receipts and no votes, proposes nothing.
    Mute,
    /// Validator: proposes headers that do not follow from the records, and votes with worthless signatures.
    Liar,
    /// Validator: signs another header as well and shows it to half of the committee.
    TwoFaced,
}

/// How labelers choose an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skill {
    /// Right with `accuracy_ppm` (less `fatigue_ppm` per item), else one of the other labels.
    #[default]
    Skilled,
    /// Any label, all alike.
    Uniform,
    /// Always `label`.
    Constant,
    /// All members copy one sheet, which is right with the first `accuracy_ppm`.
    Ring,
}

/// Going down and coming back from disk.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Mean time up; drawn between half and one and a half of it.
    pub up_ms: u64,
    /// Mean time down; drawn likewise.
    pub down_ms: u64,
}

fn stake() -> u64 {
    1_000_000_000
}

fn bandwidth() -> u64 {
    20_000
}

fn accuracy() -> [u32; 2] {
    [900_000, 900_000]
}

fn answer_ms() -> Vec<u64> {
    vec![500, 1_500, 2_500, 5_000]
}

fn notice_ms() -> u64 {
    3_000
}

fn always() -> u32 {
    1_000_000
}
