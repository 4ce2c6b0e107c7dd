//! A dispute about one item: everything that its result follows from, with proofs, and the check that anybody can make.
//!
//! ```text
//! score root <- head <- result of the item             shown by proofs
//!                    <- input root <- votes and gold
//!                    <- class weights, rows and columns of the voters
//! votes + rows -> posteriors -> label                  computed again
//! ```
//!
//! What for: a wrong item under a score root is shown by its own case, at the cost of one item.
//! What it does not do: it does not ask whether the table is the right one for the votes, which takes a full run, and knows no signers.
//! Invariants: nothing is computed from numbers that are not shown to belong to the root; numbers of a hostile root are bounded before they are
//! added ([`LOG_MAX`] in size, at most [`CASE_VOTES_MAX`] of them per sum), so nothing overflows.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::correlation::STEP_MAX_Q16;
use super::leaves::{
    self, ItemClaim, ItemVotes, LabelerClaim, TableColumn, TableRow, TableWeights,
};
use super::rescore::ClassScoring;
use super::verdict::{Row, item_with_late_votes};
use super::{ClassTable, MAX_CLASSES, MIN_CLASSES, item_result};
use crate::consensus::error::ConsensusError;
use crate::consensus::fixed::ONE;
use crate::consensus::root::{InputHead, ScoreHead};
use crate::consensus::tree::verify;
use crate::id::Hash;

/// Most votes on the item of a case, in votes.
pub const CASE_VOTES_MAX: usize = 1_024;
/// Largest size of a logarithm in a table, Q16: 64 bits.
const LOG_MAX: u64 = 64 << 16;

/// One voter's part of the table, with its proofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoterRow {
    /// The row.
    pub row: TableRow,
    /// Its proof under the table root.
    pub proof: Vec<Hash>,
    /// The column of the label given; none when it was not in use within the fit boundary.
    pub column: Option<TableColumn>,
    /// The column's proof under the row's root; empty without a column.
    pub column_proof: Vec<Hash>,
}

/// Everything that the result of one item follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemCase {
    /// What the input root stands for.
    pub input: InputHead,
    /// What the score root stands for.
    pub score: ScoreHead,
    /// Votes and gold.
    pub votes: ItemVotes,
    /// Their proof under the input's root over items.
    pub votes_proof: Vec<Hash>,
    /// The published result.
    pub claim: ItemClaim,
    /// Its proof under the score's root over items.
    pub claim_proof: Vec<Hash>,
    /// Class weights of the table.
    pub weights: TableWeights,
    /// One row per vote, in the order of the votes: first those within the fit boundary.
    pub rows: Vec<VoterRow>,
}

/// Why a case shows nothing: a part of it does not belong to the root, or is no input at all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CaseError {
    /// Another score.
    #[error("the case is about score root {of}, not {asked}")]
    OtherRoot {
        /// Root of the case.
        of: Hash,
        /// Root asked about.
        asked: Hash,
    },
    /// Another method.
    #[error("the score names algorithm {of}; this program computes {own}")]
    OtherAlgorithm {
        /// Algorithm of the score.
        of: Hash,
        /// Algorithm of this program.
        own: Hash,
    },
    /// A part that the heads or proofs do not show.
    #[error("{what} of the case is not part of the score; ask for another case")]
    NotShown {
        /// The part.
        what: &'static str,
    },
    /// A voter's row that the proofs do not show.
    #[error(
        "the {what} of labeler {labeler} in the case is not part of the score; ask for another case"
    )]
    RowNotShown {
        /// Row or column.
        what: &'static str,
        /// The labeler.
        labeler: u32,
    },
    /// Something that no honest input holds.
    #[error("{what} of the case cannot be scored")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

impl CaseError {
    /// The part of the case that it is about.
    #[must_use]
    pub fn part(&self) -> &'static str {
        match self {
            Self::OtherRoot { .. } => "the score root",
            Self::OtherAlgorithm { .. } => "the algorithm",
            Self::NotShown { what } | Self::RowNotShown { what, .. } | Self::Malformed { what } => {
                what
            }
        }
    }
}

/// Outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What the votes and the table give.
    pub derived: ItemClaim,
    /// The first field in which the published result differs from it: then the score root is wrong.
    pub wrong: Option<&'static str>,
}

impl ClassScoring {
    /// The case of one item.
    ///
    /// # Errors
    /// [`ConsensusError::Missing`] for an item out of range, [`ConsensusError::TooManyOnItem`] with more than [`CASE_VOTES_MAX`] votes.
    pub fn case(&self, item: u32) -> Result<ItemCase, ConsensusError> {
        let input = self.input_head();
        let missing = ConsensusError::Missing {
            what: "item",
            number: item,
            count: input.items,
        };
        let claim = ItemClaim {
            item,
            result: *self.items().get(item as usize).ok_or(missing.clone())?,
            posteriors: self.posteriors_of(item).ok_or(missing.clone())?.to_vec(),
        };
        let votes = ItemVotes {
            item,
            gold: self.gold(item),
            votes: self.votes_within(item).collect(),
            late: self.late_on(item).to_vec(),
        };
        let count = votes.votes.len() + votes.late.len();
        if count > CASE_VOTES_MAX {
            return Err(ConsensusError::TooManyOnItem {
                item,
                what: "votes",
                count: count as u64,
                max: CASE_VOTES_MAX as u64,
            });
        }
        let rows = votes.votes.iter().chain(&votes.late);
        let rows = rows.map(|&(labeler, label)| self.voter_row(labeler, label));
        Ok(ItemCase {
            rows: rows.collect::<Option<_>>().ok_or(missing.clone())?,
            votes_proof: self.trees.votes.proof(item).ok_or(missing.clone())?,
            claim_proof: self.trees.items.proof(item).ok_or(missing)?,
            weights: TableWeights {
                class_log: self.table.class_log().clone(),
                correlation: self.table.correlation(),
            },
            score: self.score_head(),
            input,
            votes,
            claim,
        })
    }

    /// The leaf of one labeler and its proof; `None` for a labeler out of range.
    #[must_use]
    pub fn labeler_case(&self, labeler: u32) -> Option<(LabelerClaim, Vec<Hash>)> {
        let result = *self.labelers().get(labeler as usize)?;
        let proof = self.trees.labelers.proof(labeler)?;
        Some((LabelerClaim { labeler, result }, proof))
    }

    fn voter_row(&self, labeler: u32, label: u16) -> Option<VoterRow> {
        let row = TableRow::of(&self.table, labeler);
        let (column, column_proof) = match row.labels.binary_search(&label) {
            Err(_) => (None, Vec::new()),
            Ok(at) => {
                let [first, second] = self.table.logs(labeler, label)?;
                let logs = [first.to_vec(), second.to_vec()];
                let proof = leaves::columns(&self.table, labeler).proof(at as u32)?;
                (Some(TableColumn { label, logs }), proof)
            }
        };
        Some(VoterRow {
            row,
            proof: self.trees.rows.proof(labeler)?,
            column,
            column_proof,
        })
    }
}

/// Checks the result of one item under `root`: first that all parts of the case belong to it, then the result itself.
///
/// # Errors
/// [`CaseError`] names the part that does not belong to the root or cannot be scored; nothing is shown then.
pub fn check_item(case: &ItemCase, root: &Hash) -> Result<Checked, CaseError> {
    check_heads(&case.score, &case.input, root)?;
    check_weights(case)?;
    check_leaves(case)?;
    check_rows(case)?;
    let derived = derive(case)?;
    let claim = &case.claim;
    let fields = [
        ("label", claim.result.label == derived.result.label),
        (
            "posterior",
            claim.result.posterior == derived.result.posterior,
        ),
        ("votes", claim.result.votes == derived.result.votes),
        ("posteriors", claim.posteriors == derived.posteriors),
    ];
    let wrong = fields.iter().find(|(_, equal)| !equal);
    Ok(Checked {
        wrong: wrong.map(|(field, _)| *field),
        derived,
    })
}

pub(in crate::consensus) fn shown(holds: bool, what: &'static str) -> Result<(), CaseError> {
    holds.then_some(()).ok_or(CaseError::NotShown { what })
}

pub(in crate::consensus) fn sound(holds: bool, what: &'static str) -> Result<(), CaseError> {
    holds.then_some(()).ok_or(CaseError::Malformed { what })
}

/// Whether two heads belong to a root of this program's algorithm; the same for every kind.
pub(in crate::consensus) fn check_heads(
    score: &ScoreHead,
    input: &InputHead,
    root: &Hash,
) -> Result<(), CaseError> {
    let of = score.root();
    if of != *root {
        return Err(CaseError::OtherRoot { of, asked: *root });
    }
    let own = Hash(crate::consensus::algorithm_id());
    if score.algorithm != own {
        return Err(CaseError::OtherAlgorithm {
            of: score.algorithm,
            own,
        });
    }
    shown(score.input == input.root(), "the input head")
}

fn check_weights(case: &ItemCase) -> Result<(), CaseError> {
    shown(case.weights.hash() == case.score.table, "the class weights")?;
    let classes = case.weights.class_log[0].len();
    sound(
        (usize::from(MIN_CLASSES)..=usize::from(MAX_CLASSES)).contains(&classes)
            && case.weights.class_log[1].len() == classes,
        "the number of classes",
    )?;
    shown(case.input.form == leaves::form(classes), "the form")
}

fn check_leaves(case: &ItemCase) -> Result<(), CaseError> {
    let (votes, claim) = (&case.votes, &case.claim);
    let stands = |under: &Hash, leaf: Hash, item: u32, proof: &[Hash]| {
        verify(under, &leaf, item, case.input.items, proof)
    };
    shown(
        stands(
            &case.input.items_root,
            votes.hash(),
            votes.item,
            &case.votes_proof,
        ),
        "the list of votes",
    )?;
    shown(
        claim.item == votes.item
            && stands(
                &case.score.items_root,
                claim.hash(),
                claim.item,
                &case.claim_proof,
            ),
        "the result",
    )?;
    let classes = case.weights.class_log[0].len();
    let label = |label: u16| usize::from(label) < classes;
    sound(votes.gold.is_none_or(|gold| label(gold.label)), "the gold")?;
    let all = || votes.votes.iter().chain(&votes.late);
    let mut labelers: Vec<u32> = all().map(|vote| vote.0).collect();
    labelers.sort_unstable();
    let ascending = |list: &[(u32, u16)]| list.windows(2).all(|pair| pair[0].0 < pair[1].0);
    sound(
        labelers.len() <= CASE_VOTES_MAX
            && all().all(|vote| label(vote.1))
            && ascending(&votes.votes)
            && ascending(&votes.late)
            && labelers.windows(2).all(|pair| pair[0] != pair[1]),
        "the list of votes",
    )
}

fn check_rows(case: &ItemCase) -> Result<(), CaseError> {
    let classes = case.weights.class_log[0].len();
    let within = case.votes.votes.len();
    shown(
        case.rows.len() == within + case.votes.late.len(),
        "the number of rows",
    )?;
    let small = |log: i64| log.unsigned_abs() <= LOG_MAX;
    let weights = case.weights.class_log.iter().flatten();
    sound(weights.copied().all(small), "a class weight")?;
    sound(case.weights.correlation <= STEP_MAX_Q16, "the correlation")?;
    let votes = case.votes.votes.iter().chain(&case.votes.late);
    for (number, (&(labeler, label), voter)) in votes.zip(&case.rows).enumerate() {
        let row = &voter.row;
        let not_shown = |what| CaseError::RowNotShown { what, labeler };
        if row.labeler != labeler
            || !verify(
                &case.score.table_root,
                &row.hash(),
                labeler,
                case.input.labelers,
                &voter.proof,
            )
        {
            return Err(not_shown("row"));
        }
        sound(
            row.labels.windows(2).all(|pair| pair[0] < pair[1]) && small(row.gain),
            "a row",
        )?;
        match (row.labels.binary_search(&label), &voter.column) {
            (Ok(at), Some(column)) => {
                let (at, count) = (at as u32, row.labels.len() as u32);
                if column.label != label
                    || !verify(
                        &row.columns_root,
                        &column.hash(),
                        at,
                        count,
                        &voter.column_proof,
                    )
                {
                    return Err(not_shown("column"));
                }
                let logs = column.logs.iter().flatten();
                sound(
                    column.logs.iter().all(|logs| logs.len() == classes)
                        && logs.copied().map(i64::from).all(small),
                    "a column",
                )?;
            }
            (Err(_), None) if number >= within => {}
            (Err(_), None) => sound(false, "a label that the table does not know")?,
            _ => return Err(not_shown("column")),
        }
    }
    Ok(())
}

/// The result without the vote of `labeler`, from a case that has been checked: nobody else's vote or row changes.
pub(in crate::consensus) fn case_without(
    case: &ItemCase,
    labeler: u32,
) -> Result<ItemClaim, CaseError> {
    let mut case = case.clone();
    case.rows.retain(|voter| voter.row.labeler != labeler);
    case.votes.votes.retain(|vote| vote.0 != labeler);
    case.votes.late.retain(|vote| vote.0 != labeler);
    derive(&case)
}

/// The result that the votes and the table give.
fn derive(case: &ItemCase) -> Result<ItemClaim, CaseError> {
    let classes = case.weights.class_log[0].len();
    let votes = &case.votes;
    let gold = votes.gold.map(|gold| gold.label);
    let posteriors = match gold {
        Some(label) => {
            let mut row = vec![0; classes];
            row[usize::from(label)] = ONE;
            row
        }
        None => {
            let rows: Vec<_> = case
                .rows
                .iter()
                .map(|voter| Row {
                    cluster: voter.row.cluster,
                    gain: voter.row.gain,
                    column: voter
                        .column
                        .as_ref()
                        .map(|column| (column.label, &column.logs)),
                })
                .collect();
            let table =
                ClassTable::of_rows(&case.weights.class_log, case.weights.correlation, &rows);
            let numbered: Vec<(u32, u16)> = (0..)
                .zip(votes.votes.iter().chain(&votes.late))
                .map(|(number, &(_, label))| (number, label))
                .collect();
            let (within, late) = numbered.split_at(votes.votes.len());
            item_with_late_votes(&table, within, late).ok_or(CaseError::Malformed {
                what: "the list of votes",
            })?
        }
    };
    let mut counts = vec![0; classes];
    for &(_, label) in votes.votes.iter().chain(&votes.late) {
        counts[usize::from(label)] += 1;
    }
    Ok(ItemClaim {
        item: votes.item,
        result: item_result(gold, &counts, &posteriors),
        posteriors,
    })
}
