//! Leaves of ratings and numbers.

use std::collections::BTreeMap;

use super::{Answers, Case, Kind, numbered, places};
use crate::consensus::value::{
    ValueInput, ValueItem, ValueLabeler, ValueResult, ValueRow, ValueScale, ValueTable, ValueVote,
    canonical, item_from_table, with_gold,
};

/// Ratings and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value;

/// Largest offset of a row, in 1/256 of a unit: four times the widest scale.
const BIAS_MAX: u64 = 1 << 51;
/// Largest deviation of a row: the widest scale and the largest offset are below.
const DEVIATION_MAX: u64 = 1 << 52;

impl Kind for Value {
    const NAME: &'static str = "value";
    type Task<'a> = &'a ValueInput<'a>;
    type Result = ValueResult;
    type Form = ValueScale;
    type Votes = Answers<i64, i64>;
    type Head = ();
    type Row = ValueRow;
    type Side = ();
    type Claim = ValueItem;
    type Labeler = ValueLabeler;
    type Evidence = ();

    fn sizes(task: Self::Task<'_>) -> (u32, u32) {
        (task.items, task.labelers)
    }

    fn form(task: Self::Task<'_>) -> ValueScale {
        task.scale
    }

    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)> {
        places(task.votes, |vote| vote.item)
    }

    fn votes(task: Self::Task<'_>, item: u32, positions: &[u32]) -> Self::Votes {
        let votes = positions.iter().map(|&at| &task.votes[at as usize]);
        let votes = votes.map(|vote| (vote.labeler, vote.value));
        Answers::new(task.gold.get(&item).copied(), votes)
    }

    fn head(_: &ValueResult) {}

    fn row(result: &ValueResult, labeler: u32) -> Option<ValueRow> {
        result.table.rows.get(labeler as usize).copied()
    }

    fn claim(result: &ValueResult, item: u32) -> Option<ValueItem> {
        result.items.get(item as usize).copied()
    }

    fn labeler(result: &ValueResult, labeler: u32) -> Option<ValueLabeler> {
        result.labelers.get(labeler as usize).copied()
    }

    fn voters(votes: &Self::Votes) -> Vec<u32> {
        votes.voters()
    }

    fn derive(case: &Case<Self>) -> Result<ValueItem, &'static str> {
        let Answers { gold, votes } = &case.votes.value;
        let votes: Vec<ValueVote> = numbered(votes)
            .map(|(labeler, &value)| ValueVote {
                item: 0,
                labeler,
                value,
            })
            .collect();
        let table = ValueTable {
            scale: case.form,
            rows: case.rows.iter().map(|row| row.value).collect(),
        };
        let fits = |row: &ValueRow| {
            row.bias.unsigned_abs() <= BIAS_MAX && (1..=DEVIATION_MAX).contains(&row.deviation)
        };
        if !table.rows.iter().all(fits) {
            return Err("a row");
        }
        canonical(&ValueInput {
            items: 1,
            labelers: table.rows.len() as u32,
            scale: case.form,
            votes: &votes,
            gold: &gold
                .iter()
                .map(|&value| (0, value))
                .collect::<BTreeMap<_, _>>(),
        })
        .map_err(|_| "the scale or the votes")?;
        let item = item_from_table(&table, &votes);
        Ok(match gold {
            Some(value) => with_gold(item, *value),
            None => item,
        })
    }
}
