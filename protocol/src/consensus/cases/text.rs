//! Leaves of transcriptions and other texts.
//!
//! The row of a labeler lists the shared errors with every later labeler, so a pair stands once, and that two voters share none is shown by
//! the row of the earlier one.

use serde::{Deserialize, Serialize};

use super::{Answers, Case, Kind, numbered, places};
use crate::consensus::text::{
    TextInput, TextItem, TextLabeler, TextResult, TextTable, text_from_table,
};

/// Transcriptions and other texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text;

/// What the table says about nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextHead {
    /// What a word more is worth to a text, in thousandths of a word of all answers.
    pub longer: u32,
}

/// What the table says about one labeler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRow {
    /// Weight, Q16.
    pub weight: u32,
    /// Later labelers with a common source of errors, and the share, Q16; by labeler.
    pub shared: Vec<(u32, u32)>,
}

impl Kind for Text {
    const NAME: &'static str = "text";
    type Task<'a> = &'a TextInput<'a>;
    type Result = TextResult;
    type Form = ();
    type Votes = Answers<String, String>;
    type Head = TextHead;
    type Row = TextRow;
    type Side = ();
    type Claim = TextItem;
    type Labeler = TextLabeler;
    type Evidence = ();

    fn sizes(task: Self::Task<'_>) -> (u32, u32) {
        (task.items, task.labelers)
    }

    fn form(_: Self::Task<'_>) {}

    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)> {
        places(task.votes, |vote| vote.item)
    }

    fn votes(task: Self::Task<'_>, item: u32, positions: &[u32]) -> Self::Votes {
        let gold = task.gold.get(&item).map(|&text| text.to_owned());
        let votes = positions.iter().map(|&at| &task.votes[at as usize]);
        Answers::new(gold, votes.map(|vote| (vote.labeler, vote.text.to_owned())))
    }

    fn head(result: &TextResult) -> TextHead {
        TextHead {
            longer: result.table.longer,
        }
    }

    fn row(result: &TextResult, labeler: u32) -> Option<TextRow> {
        let shared = &result.table.shared;
        let from = shared.partition_point(|pair| pair.0 < labeler);
        let own = shared[from..].iter().take_while(|pair| pair.0 == labeler);
        Some(TextRow {
            weight: *result.table.weight.get(labeler as usize)?,
            shared: own.map(|pair| (pair.1, pair.2)).collect(),
        })
    }

    fn claim(result: &TextResult, item: u32) -> Option<TextItem> {
        result.items.get(item as usize).cloned()
    }

    fn labeler(result: &TextResult, labeler: u32) -> Option<TextLabeler> {
        result.labelers.get(labeler as usize).copied()
    }

    fn voters(votes: &Self::Votes) -> Vec<u32> {
        votes.voters()
    }

    fn derive(case: &Case<Self>) -> Result<TextItem, &'static str> {
        let Answers { gold, votes } = &case.votes.value;
        let mut table = TextTable {
            weight: Vec::with_capacity(votes.len()),
            shared: Vec::new(),
            longer: case.head.longer,
        };
        for (own, (&(labeler, _), row)) in (0u32..).zip(votes.iter().zip(&case.rows)) {
            let row = &row.value;
            if !row.shared.is_sorted_by(|x, y| x.0 < y.0)
                || row.shared.first().is_some_and(|pair| pair.0 <= labeler)
            {
                return Err("a row");
            }
            table.weight.push(row.weight);
            for &(other, share) in &row.shared {
                if let Ok(place) = votes.binary_search_by_key(&other, |vote| vote.0) {
                    table.shared.push((own, place as u32, share));
                }
            }
        }
        let votes: Vec<(u32, &str)> = numbered(votes)
            .map(|(voter, text)| (voter, text.as_str()))
            .collect();
        text_from_table(&table, &votes, gold.as_deref()).map_err(|_| "the votes or a row")
    }
}
