//! Leaves of the trees of a class task: one canonical byte string per value, little endian.
//!
//! | tree | one leaf per | bytes |
//! |---|---|---|
//! | input, items | item | item, gold, votes within the fit boundary, later votes |
//! | input, labelers | labeler | labeler, evidence carried in by reputation |
//! | table | labeler | labeler, cluster, gain, labels in use, root over one leaf per such label |
//! | score, items | item | item, label, posterior, votes, posteriors of all classes |
//! | score, labelers | labeler | everything in [`LabelerResult`] |
//!
//! What it does not do: no proofs and no judgement.
//! Invariants: a leaf says its own position; lists are preceded by their length and optional parts by a byte that says what follows, so
//! no two values share bytes; each kind of leaf has a key of its own.

use serde::{Deserialize, Serialize};

use super::{ClassTable, Flag, GoldPrior, ItemResult, LabelerResult};
use crate::consensus::tree::{Key, ScoreTree, keyed};
use crate::id::Hash;

const FORM: &Key = b"assay/consensus/class/form/1    ";
const ITEM_INPUT: &Key = b"assay/consensus/class/votes/1   ";
const LABELER_INPUT: &Key = b"assay/consensus/class/prior/1   ";
const TABLE_HEAD: &Key = b"assay/consensus/class/weights/1 ";
const TABLE_ROW: &Key = b"assay/consensus/class/row/1     ";
const TABLE_COLUMN: &Key = b"assay/consensus/class/column/1  ";
const ITEM_SCORE: &Key = b"assay/consensus/class/item/1    ";
const LABELER_SCORE: &Key = b"assay/consensus/class/labeler/1 ";

/// An opened gold label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldLabel {
    /// The true class.
    pub label: u16,
    /// Opened after the fit boundary.
    pub late: bool,
}

/// Input of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemVotes {
    /// Item.
    pub item: u32,
    /// Its gold, if opened.
    pub gold: Option<GoldLabel>,
    /// (labeler, label) of each vote within the fit boundary, by labeler.
    pub votes: Vec<(u32, u16)>,
    /// (labeler, label) of each later vote, by labeler.
    pub late: Vec<(u32, u16)>,
}

/// Published result of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemClaim {
    /// Item.
    pub item: u32,
    /// Label, posterior, votes.
    pub result: ItemResult,
    /// Posterior of each class, Q16.
    pub posteriors: Vec<u32>,
}

/// Published result of one labeler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelerClaim {
    /// Labeler.
    pub labeler: u32,
    /// What is said of this labeler.
    pub result: LabelerResult,
}

/// What the table says about no labeler in particular.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableWeights {
    /// Per matrix expert: log2 of the class weights, Q16, one per class.
    pub class_log: [Vec<i64>; 2],
    /// Correlation of the votes on an item per class beyond the first, Q16, below 2^16.
    pub correlation: u32,
}

/// What the table says about one labeler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRow {
    /// Labeler.
    pub labeler: u32,
    /// Collusion cluster.
    pub cluster: Option<u32>,
    /// log2 of the odds of a right answer over one given wrong answer, Q16.
    pub gain: i64,
    /// Labels used within the fit boundary, ascending.
    pub labels: Vec<u16>,
    /// Root over one column per such label.
    pub columns_root: Hash,
}

/// What the table says about a labeler's use of one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableColumn {
    /// Label.
    pub label: u16,
    /// Per matrix expert: log2 P(label | class), Q16, one per class.
    pub logs: [Vec<i32>; 2],
}

/// Writes numbers one after the other.
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    /// A number below 2^32, or nothing.
    fn option(&mut self, value: Option<u32>) {
        self.put([u8::from(value.is_some())]);
        self.put(value.unwrap_or(0).to_le_bytes());
    }

    fn votes(&mut self, votes: impl ExactSizeIterator<Item = (u32, u16)>) {
        self.put((votes.len() as u32).to_le_bytes());
        for (labeler, label) in votes {
            self.put(labeler.to_le_bytes());
            self.put(label.to_le_bytes());
        }
    }

    /// Leaf of an item's input.
    pub fn item_votes(
        &mut self,
        item: u32,
        gold: Option<GoldLabel>,
        votes: impl ExactSizeIterator<Item = (u32, u16)>,
        late: impl ExactSizeIterator<Item = (u32, u16)>,
    ) -> Hash {
        self.0.clear();
        self.put(item.to_le_bytes());
        let (tag, label) = gold.map_or((0, 0), |gold| (1 + u8::from(gold.late), gold.label));
        self.put([tag]);
        self.put(label.to_le_bytes());
        self.votes(votes);
        self.votes(late);
        keyed(ITEM_INPUT, &self.0)
    }

    /// Leaf of an item's result.
    pub fn item_claim(&mut self, item: u32, result: &ItemResult, posteriors: &[u32]) -> Hash {
        self.0.clear();
        self.put(item.to_le_bytes());
        self.option(result.label.map(u32::from));
        self.put(result.posterior.to_le_bytes());
        self.put(result.votes.to_le_bytes());
        self.put((posteriors.len() as u32).to_le_bytes());
        for posterior in posteriors {
            self.put(posterior.to_le_bytes());
        }
        keyed(ITEM_SCORE, &self.0)
    }

    /// Leaf of a labeler's result.
    pub fn labeler_claim(&mut self, labeler: u32, result: &LabelerResult) -> Hash {
        // Taken apart in full, so that a new field cannot be forgotten.
        let LabelerResult {
            votes,
            gold_seen,
            gold_right,
            skill_ppm,
            agreement_ppm,
            spammer_ppm,
            skill_low_ppm,
            skill_high_ppm,
            looked_mbits,
            copy_mbits,
            entropy_mbits,
            margin_milli,
            longest_run,
            pace,
            cluster,
            fraud_ppm,
            flag,
        } = *result;
        self.0.clear();
        for number in [
            labeler,
            votes,
            gold_seen,
            gold_right,
            agreement_ppm,
            spammer_ppm,
            copy_mbits,
            longest_run,
            fraud_ppm,
        ] {
            self.put(number.to_le_bytes());
        }
        for number in [skill_ppm, skill_low_ppm, skill_high_ppm, looked_mbits] {
            self.put(number.to_le_bytes());
        }
        self.put(entropy_mbits.to_le_bytes());
        self.put(margin_milli.to_le_bytes());
        self.option(pace.map(|pace| pace.median_seconds));
        self.option(pace.map(|pace| pace.relative_milli));
        self.option(pace.map(|pace| pace.fast_ppm));
        self.option(cluster);
        self.put([match flag {
            Flag::Clear => 0,
            Flag::Suspect => 1,
            Flag::Ring => 2,
        }]);
        keyed(LABELER_SCORE, &self.0)
    }

    /// Leaf of the evidence that a labeler brings.
    pub fn prior(&mut self, labeler: u32, prior: GoldPrior) -> Hash {
        self.0.clear();
        self.put(labeler.to_le_bytes());
        self.put(prior.alpha_milli.to_le_bytes());
        self.put(prior.beta_milli.to_le_bytes());
        keyed(LABELER_INPUT, &self.0)
    }

    fn column(&mut self, label: u16, logs: [&[i32]; 2]) -> Hash {
        self.0.clear();
        self.put(label.to_le_bytes());
        for logs in logs {
            self.put((logs.len() as u32).to_le_bytes());
            for log in logs {
                self.put(log.to_le_bytes());
            }
        }
        keyed(TABLE_COLUMN, &self.0)
    }

    fn row(&mut self, row: &TableRow) -> Hash {
        self.0.clear();
        self.put(row.labeler.to_le_bytes());
        self.option(row.cluster);
        self.put(row.gain.to_le_bytes());
        self.put((row.labels.len() as u32).to_le_bytes());
        for label in &row.labels {
            self.put(label.to_le_bytes());
        }
        self.put(row.columns_root.0);
        keyed(TABLE_ROW, &self.0)
    }

    fn weights(&mut self, weights: &TableWeights) -> Hash {
        self.0.clear();
        self.put(weights.correlation.to_le_bytes());
        for logs in &weights.class_log {
            self.put((logs.len() as u32).to_le_bytes());
            for log in logs {
                self.put(log.to_le_bytes());
            }
        }
        keyed(TABLE_HEAD, &self.0)
    }
}

/// Hash of the kind and the number of classes; see [`InputHead::form`](crate::consensus::InputHead::form).
pub(super) fn form(classes: usize) -> Hash {
    keyed(FORM, &(classes as u32).to_le_bytes())
}

impl ItemVotes {
    /// The leaf.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let (votes, late) = (self.votes.iter().copied(), self.late.iter().copied());
        Writer(Vec::new()).item_votes(self.item, self.gold, votes, late)
    }
}

impl ItemClaim {
    /// The leaf.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Writer(Vec::new()).item_claim(self.item, &self.result, &self.posteriors)
    }
}

impl LabelerClaim {
    /// The leaf.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Writer(Vec::new()).labeler_claim(self.labeler, &self.result)
    }
}

impl TableWeights {
    /// The hash that the score head holds.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Writer(Vec::new()).weights(self)
    }
}

impl TableRow {
    /// The leaf.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Writer(Vec::new()).row(self)
    }

    /// The row of a labeler in range.
    pub(super) fn of(table: &ClassTable, labeler: u32) -> Self {
        let (cluster, gain, labels) = table.row(labeler);
        Self {
            labeler,
            cluster,
            gain,
            labels: labels.to_vec(),
            columns_root: columns(table, labeler).root(),
        }
    }
}

impl TableColumn {
    /// The leaf.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let [first, second] = &self.logs;
        Writer(Vec::new()).column(self.label, [first, second])
    }
}

/// The tree over the columns of a labeler in range.
pub(super) fn columns(table: &ClassTable, labeler: u32) -> ScoreTree {
    let mut writer = Writer(Vec::new());
    let (_, _, labels) = table.row(labeler);
    let leaf = |&label: &u16| Some(writer.column(label, table.logs(labeler, label)?));
    ScoreTree::new(labels.iter().filter_map(leaf).collect())
}

/// The tree over the rows of a table.
pub(super) fn rows(table: &ClassTable) -> ScoreTree {
    let labelers = 0..table.labelers() as u32;
    ScoreTree::new(
        labelers
            .map(|labeler| TableRow::of(table, labeler).hash())
            .collect(),
    )
}
