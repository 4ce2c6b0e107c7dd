//! Leaves of spans, time segments, boxes and polygons.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answers, Case, Kind, numbered, places};
use crate::consensus::shape::{
    Frame, ShapeInput, ShapeItem, ShapeKind, ShapeLabeler, ShapeObject, ShapeResult, ShapeRow,
    ShapeTable, ShapeVote, canonical, gold_item, item_from_table,
};

/// Spans, time segments, boxes and polygons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes;

/// What the task says about all items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeForm {
    /// The kind of shape that the task takes.
    pub kind: ShapeKind,
    /// Classes of the label schema.
    pub classes: u16,
}

/// What is known about one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeInputs {
    /// Its size.
    pub frame: Frame,
    /// What each labeler drew, and the true objects if opened; objects are sorted.
    pub answers: Answers<Vec<ShapeObject>, Vec<ShapeObject>>,
}

/// What the table says about nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeHead {
    /// Real objects per item, Q16.
    pub density: u64,
    /// Chance that two unrelated objects match, Q16.
    pub coincidence: u32,
}

/// Objects in one order.
fn sorted(objects: &[ShapeObject]) -> Vec<ShapeObject> {
    let mut objects = objects.to_vec();
    objects.sort_unstable();
    objects
}

impl Kind for Shapes {
    const NAME: &'static str = "shape";
    type Task<'a> = &'a ShapeInput<'a>;
    type Result = ShapeResult;
    type Form = ShapeForm;
    type Votes = ShapeInputs;
    type Head = ShapeHead;
    type Row = ShapeRow;
    type Side = ();
    type Claim = ShapeItem;
    type Labeler = ShapeLabeler;
    type Evidence = ();

    fn sizes(task: Self::Task<'_>) -> (u32, u32) {
        (task.frames.len() as u32, task.labelers)
    }

    fn form(task: Self::Task<'_>) -> ShapeForm {
        ShapeForm {
            kind: task.kind,
            classes: task.classes,
        }
    }

    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)> {
        places(task.votes, |vote| vote.item)
    }

    fn votes(task: Self::Task<'_>, item: u32, positions: &[u32]) -> ShapeInputs {
        let votes = positions.iter().map(|&at| &task.votes[at as usize]);
        let votes = votes.map(|vote| (vote.labeler, sorted(&vote.objects)));
        let gold = task.gold.get(&item).map(|objects| sorted(objects));
        ShapeInputs {
            frame: task.frames[item as usize],
            answers: Answers::new(gold, votes),
        }
    }

    fn head(result: &ShapeResult) -> ShapeHead {
        ShapeHead {
            density: result.table.density,
            coincidence: result.table.coincidence,
        }
    }

    fn row(result: &ShapeResult, labeler: u32) -> Option<ShapeRow> {
        result.table.rows.get(labeler as usize).copied()
    }

    fn claim(result: &ShapeResult, item: u32) -> Option<ShapeItem> {
        result.items.get(item as usize).cloned()
    }

    fn labeler(result: &ShapeResult, labeler: u32) -> Option<ShapeLabeler> {
        result.labelers.get(labeler as usize).copied()
    }

    fn voters(votes: &ShapeInputs) -> Vec<u32> {
        votes.answers.voters()
    }

    fn derive(case: &Case<Self>) -> Result<ShapeItem, &'static str> {
        let ShapeInputs { frame, answers } = &case.votes.value;
        let votes: Vec<ShapeVote> = numbered(&answers.votes)
            .map(|(labeler, objects)| ShapeVote {
                item: 0,
                labeler,
                objects: objects.clone(),
            })
            .collect();
        let gold = answers.gold.iter();
        let known: BTreeMap<u32, Vec<ShapeObject>> =
            gold.map(|objects| (0, objects.clone())).collect();
        canonical(&ShapeInput {
            kind: case.form.kind,
            frames: &[*frame],
            labelers: case.rows.len() as u32,
            classes: case.form.classes,
            votes: &votes,
            gold: &known,
        })
        .map_err(|_| "the votes")?;
        let table = ShapeTable {
            classes: case.form.classes,
            density: case.head.density,
            coincidence: case.head.coincidence,
            rows: case.rows.iter().map(|row| row.value).collect(),
        };
        if !table.fits() {
            return Err("the table");
        }
        Ok(match &answers.gold {
            Some(objects) => gold_item(objects, votes.len() as u32),
            None => item_from_table(&table, &votes),
        })
    }
}
