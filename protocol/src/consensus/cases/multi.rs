//! Leaves of sets of labels.

use std::collections::BTreeMap;

use super::{Answers, Case, Kind, evidence_of, numbered, places};
use crate::consensus::binary::{BinaryRow, BinaryTable};
use crate::consensus::class::GoldPrior;
use crate::consensus::multi::{
    MultiInput, MultiItem, MultiLabeler, MultiResult, MultiTable, MultiVote, certain, check,
    multi_item_from_table,
};

/// Sets of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multi;

/// A set in one order.
fn sorted(labels: &[u16]) -> Vec<u16> {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    labels
}

impl Kind for Multi {
    const NAME: &'static str = "multi";
    type Task<'a> = &'a MultiInput<'a>;
    type Result = MultiResult;
    /// Labels of the schema.
    type Form = u16;
    type Votes = Answers<Vec<u16>, Vec<u16>>;
    /// Log2 odds of each label before any vote, Q16.
    type Head = Vec<i64>;
    /// One row per label.
    type Row = Vec<BinaryRow>;
    type Side = ();
    type Claim = MultiItem;
    type Labeler = MultiLabeler;
    type Evidence = GoldPrior;

    fn sizes(task: Self::Task<'_>) -> (u32, u32) {
        (task.items, task.labelers)
    }

    fn form(task: Self::Task<'_>) -> u16 {
        task.labels
    }

    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)> {
        places(task.votes, |vote| vote.item)
    }

    fn votes(task: Self::Task<'_>, item: u32, positions: &[u32]) -> Self::Votes {
        let votes = positions.iter().map(|&at| &task.votes[at as usize]);
        let votes = votes.map(|vote| (vote.labeler, sorted(&vote.labels)));
        Answers::new(task.gold.get(&item).map(|set| sorted(set)), votes)
    }

    fn evidence(task: Self::Task<'_>) -> Vec<GoldPrior> {
        evidence_of(task.priors, task.labelers)
    }

    fn head(result: &MultiResult) -> Vec<i64> {
        let tables = result.table.labels.iter();
        tables.map(|table| table.prior).collect()
    }

    fn row(result: &MultiResult, labeler: u32) -> Option<Vec<BinaryRow>> {
        let tables = result.table.labels.iter();
        tables
            .map(|table| table.rows.get(labeler as usize).copied())
            .collect()
    }

    fn claim(result: &MultiResult, item: u32) -> Option<MultiItem> {
        result.items.get(item as usize).cloned()
    }

    fn labeler(result: &MultiResult, labeler: u32) -> Option<MultiLabeler> {
        result.labelers.get(labeler as usize).copied()
    }

    fn voters(votes: &Self::Votes) -> Vec<u32> {
        votes.voters()
    }

    fn derive(case: &Case<Self>) -> Result<MultiItem, &'static str> {
        let Answers { gold, votes } = &case.votes.value;
        let labels = usize::from(case.form);
        if case.head.len() != labels || case.rows.iter().any(|row| row.value.len() != labels) {
            return Err("the number of labels in the table");
        }
        let votes: Vec<MultiVote> = numbered(votes)
            .map(|(labeler, labels)| MultiVote {
                item: 0,
                labeler,
                labels: labels.clone(),
            })
            .collect();
        let known: BTreeMap<u32, Vec<u16>> = gold.iter().map(|set| (0, set.clone())).collect();
        check(&MultiInput {
            items: 1,
            labelers: case.rows.len() as u32,
            labels: case.form,
            votes: &votes,
            gold: &known,
            priors: &[],
        })
        .map_err(|_| "the votes")?;
        let tables = case
            .head
            .iter()
            .enumerate()
            .map(|(label, &prior)| BinaryTable {
                prior,
                rows: case.rows.iter().map(|row| row.value[label]).collect(),
            });
        let table = MultiTable {
            labels: tables.collect(),
        };
        if !table.labels.iter().all(BinaryTable::fits) {
            return Err("a row");
        }
        Ok(match gold {
            Some(set) => certain(case.form, set, votes.len() as u32),
            None => multi_item_from_table(&table, &votes),
        })
    }
}
