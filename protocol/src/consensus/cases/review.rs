//! Leaves of review verdicts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answers, Case, Kind, evidence_of, numbered, places};
use crate::consensus::binary::{BinaryRow, BinaryTable};
use crate::consensus::class::GoldPrior;
use crate::consensus::review::{
    ReviewInput, ReviewItem, ReviewLabeler, ReviewResult, ReviewVote, Verdict, check,
    review_item_from_table, with_gold,
};

/// Verdicts on labels that somebody else gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review;

/// What is known about one proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewInputs {
    /// The proposed label.
    pub proposed: u16,
    /// Verdicts, and the true label if opened.
    pub answers: Answers<u16, Verdict>,
}

impl Kind for Review {
    const NAME: &'static str = "review";
    type Task<'a> = &'a ReviewInput<'a>;
    type Result = ReviewResult;
    /// Classes of the label schema.
    type Form = u16;
    type Votes = ReviewInputs;
    /// Log2 odds that a proposal stands before any verdict, Q16.
    type Head = i64;
    type Row = BinaryRow;
    type Side = ();
    type Claim = ReviewItem;
    type Labeler = ReviewLabeler;
    type Evidence = GoldPrior;

    fn sizes(task: Self::Task<'_>) -> (u32, u32) {
        (task.proposed.len() as u32, task.labelers)
    }

    fn form(task: Self::Task<'_>) -> u16 {
        task.classes
    }

    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)> {
        places(task.votes, |vote| vote.item)
    }

    fn votes(task: Self::Task<'_>, item: u32, positions: &[u32]) -> ReviewInputs {
        let votes = positions.iter().map(|&at| &task.votes[at as usize]);
        let votes = votes.map(|vote| (vote.labeler, vote.verdict));
        ReviewInputs {
            proposed: task.proposed[item as usize],
            answers: Answers::new(task.gold.get(&item).copied(), votes),
        }
    }

    fn evidence(task: Self::Task<'_>) -> Vec<GoldPrior> {
        evidence_of(task.priors, task.labelers)
    }

    fn head(result: &ReviewResult) -> i64 {
        result.table.prior
    }

    fn row(result: &ReviewResult, labeler: u32) -> Option<BinaryRow> {
        result.table.rows.get(labeler as usize).copied()
    }

    fn claim(result: &ReviewResult, item: u32) -> Option<ReviewItem> {
        result.items.get(item as usize).copied()
    }

    fn labeler(result: &ReviewResult, labeler: u32) -> Option<ReviewLabeler> {
        result.labelers.get(labeler as usize).copied()
    }

    fn voters(votes: &ReviewInputs) -> Vec<u32> {
        votes.answers.voters()
    }

    fn derive(case: &Case<Self>) -> Result<ReviewItem, &'static str> {
        let ReviewInputs { proposed, answers } = &case.votes.value;
        let votes: Vec<ReviewVote> = numbered(&answers.votes)
            .map(|(labeler, &verdict)| ReviewVote {
                item: 0,
                labeler,
                verdict,
            })
            .collect();
        let known: BTreeMap<u32, u16> = answers.gold.iter().map(|&label| (0, label)).collect();
        check(&ReviewInput {
            proposed: &[*proposed],
            labelers: case.rows.len() as u32,
            classes: case.form,
            votes: &votes,
            gold: &known,
            priors: &[],
        })
        .map_err(|_| "the verdicts")?;
        let table = BinaryTable {
            prior: case.head,
            rows: case.rows.iter().map(|row| row.value).collect(),
        };
        if !table.fits() {
            return Err("a row");
        }
        let item = review_item_from_table(&table, *proposed, &votes);
        Ok(match answers.gold {
            Some(label) => with_gold(item, *proposed, label),
            None => item,
        })
    }
}
