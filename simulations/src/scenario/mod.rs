//! The scenario file: what is simulated. Every field has a unit in its name or its sentence; unknown fields are refused.
//!
//! Times are simulated milliseconds, shares are parts per million, money is base units of the reward token.

mod check;
mod error;
mod population;

use std::path::Path;

use serde::Deserialize;

pub use error::ScenarioError;
pub use population::{ActorKind, Churn, Population, Role, Skill};

/// A whole scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name, printed in reports.
    pub name: String,
    /// What the scenario is about, one sentence.
    #[serde(default)]
    pub description: String,
    /// Seed of all randomness, unless the command line gives another.
    #[serde(default = "one")]
    pub seed: u64,
    /// Simulated time at which the run ends at the latest; tasks that are not over by then fail a check.
    pub deadline_ms: u64,
    /// The chain.
    #[serde(default)]
    pub chain: ChainModel,
    /// The network between nodes.
    #[serde(default)]
    pub network: NetworkModel,
    /// Every node's disk.
    #[serde(default)]
    pub disk: DiskModel,
    /// Parameters that all nodes share.
    #[serde(default)]
    pub protocol: ProtocolModel,
    /// How strict the checks are.
    #[serde(default)]
    pub checks: CheckModel,
    /// Who takes part.
    #[serde(default)]
    pub population: Vec<Population>,
    /// What is to be labelled.
    #[serde(default)]
    pub task: Vec<Task>,
    /// Single answers that differ from what the model would draw: for "what if" runs.
    #[serde(default)]
    pub answer_override: Vec<AnswerOverride>,
}

/// The chain model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainModel {
    /// Time between blocks.
    pub block_ms: u64,
    /// Time from a node's order to the mempool.
    pub submit_ms: u64,
    /// Up to this much more, drawn per transaction.
    pub submit_jitter_ms: u64,
    /// Blocks on top of a block before nodes act on it.
    pub finality_blocks: u32,
    /// A node hears of a new final block after 1 to this many milliseconds.
    pub notice_jitter_ms: u64,
}

impl Default for ChainModel {
    fn default() -> Self {
        Self {
            block_ms: 2_000,
            submit_ms: 200,
            submit_jitter_ms: 300,
            finality_blocks: 1,
            notice_jitter_ms: 500,
        }
    }
}

/// The network model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkModel {
    /// Names of the regions, for reading only.
    pub regions: Vec<String>,
    /// How many nodes live in each region, relative to the others.
    pub region_weights: Vec<u32>,
    /// One-way delay from the row's region to the column's.
    pub latency_ms: Vec<Vec<u64>>,
    /// Up to this much more, drawn per message; it also reorders messages.
    pub jitter_ms: u64,
    /// Share of messages that are lost (each way): the asker sees a timeout.
    pub loss_ppm: u32,
    /// Share of messages that arrive twice.
    pub duplicate_ppm: u32,
    /// Mean number of gossip neighbours.
    pub mesh_degree: u32,
    /// Share of shard downloads that fail and are tried again.
    pub shard_failure_ppm: u32,
    /// Penalty points (light 1, heavy 10) after which a node talks no more to a peer; 0: never.
    pub ban_points: u32,
}

impl Default for NetworkModel {
    fn default() -> Self {
        Self {
            regions: vec!["everywhere".into()],
            region_weights: vec![1],
            latency_ms: vec![vec![40]],
            jitter_ms: 20,
            loss_ppm: 0,
            duplicate_ppm: 0,
            mesh_degree: 8,
            shard_failure_ppm: 0,
            ban_points: 0,
        }
    }
}

/// The disk model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskModel {
    /// Time until a batch is durable; what the core ordered after it waits.
    pub write_ms: u64,
    /// Share of crashes that wait for the node's next write and strike in its middle.
    pub crash_in_write_ppm: u32,
    /// Share of crashes in the middle of a write that lose the batch being written.
    pub lose_last_write_ppm: u32,
}

/// Parameters of the network profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProtocolModel {
    /// Lanes.
    pub lanes: u32,
    /// Epochs after which the committee is drawn anew.
    pub term_epochs: u64,
    /// Blocks between an anchored header and the block that draws the next assignment.
    pub beacon_delay_blocks: u64,
    /// Chain seconds in which the committee must hold a funded task's shards.
    pub custody_secs: u32,
    /// Committee fee as a share of the label budget.
    pub fee_ppm: u32,
    /// Smallest gold bond as a share of the label budget; tasks post exactly this.
    pub gold_bond_ppm: u32,
    /// Time after which a silent leader is replaced.
    pub view_timeout_ms: u32,
}

impl Default for ProtocolModel {
    fn default() -> Self {
        Self {
            lanes: 1,
            term_epochs: 1_000,
            beacon_delay_blocks: 1,
            custody_secs: 60,
            fee_ppm: 50_000,
            gold_bond_ppm: 50_000,
            view_timeout_ms: 4_000,
        }
    }
}

/// How strict the checks are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckModel {
    /// Luck allowed to the network's labels against a plain majority of the same votes: they may be right less often by this many times the
    /// square root of the number of items that only one of the two has right, which is the spread between equally good methods; 0: none.
    pub accuracy_luck: u32,
    /// Luck allowed to a group marked `must_not_profit`: this many times `price x sqrt(votes)`, about the spread of what pure guessing
    /// is paid around its mean of zero; 0: none.
    pub profit_luck: u32,
}

impl Default for CheckModel {
    fn default() -> Self {
        Self {
            accuracy_luck: 2,
            profit_luck: 2,
        }
    }
}

/// One task.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Title.
    pub title: String,
    /// Which client publishes it: a place in the list of all clients, from 0.
    #[serde(default)]
    pub client: usize,
    /// When.
    #[serde(default = "soon")]
    pub at_ms: u64,
    /// Items.
    pub items: u32,
    /// Classes to choose from.
    pub classes: u16,
    /// How often each class is the truth, relative to the others; empty: all alike.
    #[serde(default)]
    pub class_weights: Vec<u32>,
    /// Waves; items are spread evenly over them.
    #[serde(default = "one_wave")]
    pub waves: u8,
    /// Labels per item in the wave that first shows it.
    pub k: u16,
    /// Most labels per item.
    pub k_max: u16,
    /// Share of each wave's items that are gold; 0: none.
    #[serde(default)]
    pub gold_ppm: u32,
    /// Share of the gold that is wrong: a careless or hostile client.
    #[serde(default)]
    pub gold_wrong_ppm: u32,
    /// Share of items on which skill counts for less.
    #[serde(default)]
    pub hard_ppm: u32,
    /// What is left of a labeler's skill above chance on a hard item.
    #[serde(default = "half")]
    pub hard_skill_ppm: u32,
    /// Price of a label at full skill, base units.
    #[serde(default = "thousand")]
    pub price: u64,
    /// Later waves add labels to items whose posterior is below this.
    #[serde(default = "target")]
    pub target_posterior_ppm: u32,
    /// Skill that earns the full price.
    #[serde(default = "full_skill")]
    pub full_skill_ppm: u32,
    /// Fewest labelers to start with.
    #[serde(default = "three")]
    pub labelers_min: u32,
    /// Most labelers; enrolment closes when this many came.
    pub labelers_max: u32,
    /// Most labels that a labeler takes per wave.
    #[serde(default = "thousand32")]
    pub capacity: u32,
    /// Length of the enrolment, chain seconds.
    pub enrol_secs: u32,
    /// Length of the commit phase, chain seconds.
    pub commit_secs: u32,
    /// Length of the reveal phase, chain seconds.
    pub reveal_secs: u32,
    /// Time for opening gold, chain seconds.
    #[serde(default = "gold_secs")]
    pub gold_secs: u32,
    /// Size of the task's data in bytes, which the committee downloads before the task opens.
    #[serde(default = "shard_bytes")]
    pub shard_bytes: u64,
}

/// One answer fixed by hand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerOverride {
    /// The labeler: population name, dash, place from 0; like `careful-3`.
    pub labeler: String,
    /// Place of the task in the file, from 0.
    #[serde(default)]
    pub task: usize,
    /// Item.
    pub item: u32,
    /// Its answer.
    pub label: u16,
}

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ScenarioError`] naming the file and the line or field.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            file: path.display().to_string(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses and checks a text; `file` is its name in errors.
    ///
    /// # Errors
    /// [`ScenarioError`] naming the line or field.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|e| ScenarioError::toml(file, text, &e))?;
        scenario
            .check()
            .map_err(|(field, why)| ScenarioError::Field {
                file: file.to_owned(),
                field,
                why,
            })?;
        Ok(scenario)
    }

    /// Number of nodes.
    pub fn peers(&self) -> usize {
        self.population.iter().map(|p| p.count as usize).sum()
    }
}

fn one() -> u64 {
    1
}

fn soon() -> u64 {
    15_000
}

fn one_wave() -> u8 {
    1
}

fn half() -> u32 {
    500_000
}

fn thousand() -> u64 {
    1_000
}

fn thousand32() -> u32 {
    1_000
}

fn target() -> u32 {
    950_000
}

fn full_skill() -> u32 {
    600_000
}

fn three() -> u32 {
    3
}

fn gold_secs() -> u32 {
    20
}

fn shard_bytes() -> u64 {
    1_000_000
}
