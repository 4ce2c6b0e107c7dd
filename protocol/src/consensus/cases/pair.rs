//! Leaves of comparisons and of orders. An item is an object; a vote stands in the leaf of every object that it names.
//!
//! An object's score follows from its own comparisons, the reliabilities of those who made them, and the scores of the objects that it was
//! compared with: the table has a row per object as well. The rank follows from the results of all objects and stands in no leaf.

use serde::{Deserialize, Serialize};

use super::{Case, Kind, Shown};
use crate::consensus::pair::{
    Comparison, ObjectResult, PairInput, PairLabeler, PairResult, PairTable, Ranking, RankingInput,
    object_from_table, ranked_object_from_table,
};

/// Comparisons of two objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair;

/// Orders of several objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked;

/// What a task of comparisons says about all objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairForm {
    /// Whether left and right are the sides that were seen.
    pub sided: bool,
}

/// An order of several objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The labeler.
    pub labeler: u32,
    /// The objects, best first.
    pub objects: Vec<u32>,
}

/// What the table says about nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairHead {
    /// Advantage of the left position, natural log-odds, Q16.
    pub advantage: i64,
}

/// What the table says about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRow {
    /// Score before the last step, natural log-odds, Q16.
    pub score: i64,
    /// Expected information, per squared natural log-odds, Q16.
    pub information: i64,
}

/// Published result of one object, but for its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectClaim {
    /// Score in thousandths of natural log-odds.
    pub score_milli: i64,
    /// Half the width of its 95 % interval, in thousandths.
    pub half_width_milli: u64,
    /// Comparisons that the object took part in.
    pub comparisons: u32,
}

impl From<&ObjectResult> for ObjectClaim {
    fn from(result: &ObjectResult) -> Self {
        Self {
            score_milli: result.score_milli,
            half_width_milli: result.half_width_milli,
            comparisons: result.comparisons,
        }
    }
}

fn head(result: &PairResult) -> PairHead {
    PairHead {
        advantage: result.table.advantage,
    }
}

fn row(result: &PairResult, labeler: u32) -> Option<u32> {
    result.table.reliability.get(labeler as usize).copied()
}

fn side(result: &PairResult, object: u32) -> Option<ObjectRow> {
    Some(ObjectRow {
        score: *result.table.score.get(object as usize)?,
        information: *result.table.information.get(object as usize)?,
    })
}

fn claim(result: &PairResult, object: u32) -> Option<ObjectClaim> {
    result.objects.get(object as usize).map(ObjectClaim::from)
}

fn labeler(result: &PairResult, labeler: u32) -> Option<PairLabeler> {
    result.labelers.get(labeler as usize).copied()
}

/// Each number once, ascending.
fn distinct(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The table of the objects and labelers of a case alone.
fn table(head: PairHead, rows: &[Shown<u32>], sides: &[Shown<ObjectRow>]) -> PairTable {
    PairTable {
        score: sides.iter().map(|side| side.value.score).collect(),
        information: sides.iter().map(|side| side.value.information).collect(),
        reliability: rows.iter().map(|row| row.value).collect(),
        advantage: head.advantage,
    }
}

/// Place of a number among those of a case, which holds it.
fn place(numbers: &[u32], number: u32) -> u32 {
    numbers.partition_point(|&other| other < number) as u32
}

impl Kind for Pair {
    const NAME: &'static str = "pair";
    type Task<'a> = &'a PairInput<'a>;
    type Result = PairResult;
    type Form = PairForm;
    /// The comparisons that the object took part in, sorted.
    type Votes = Vec<Comparison>;
    type Head = PairHead;
    /// Probability of a truthful report, Q16.
    type Row = u32;
    type Side = ObjectRow;
    type Claim = ObjectClaim;
    type Labeler = PairLabeler;
    type Evidence = ();

    fn sizes(task: Self::Task<'_>) -> (u32, u32) {
        (task.objects, task.labelers)
    }

    fn form(task: Self::Task<'_>) -> PairForm {
        PairForm { sided: task.sided }
    }

    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)> {
        let votes = (0..).zip(task.votes);
        votes
            .flat_map(|(position, vote)| [(vote.left, position), (vote.right, position)])
            .collect()
    }

    fn votes(task: Self::Task<'_>, _: u32, positions: &[u32]) -> Vec<Comparison> {
        let mut votes: Vec<Comparison> = positions
            .iter()
            .map(|&at| task.votes[at as usize])
            .collect();
        votes.sort_unstable();
        votes
    }

    fn head(result: &PairResult) -> PairHead {
        head(result)
    }

    fn row(result: &PairResult, labeler: u32) -> Option<u32> {
        row(result, labeler)
    }

    fn side(result: &PairResult, item: u32) -> Option<ObjectRow> {
        side(result, item)
    }

    fn claim(result: &PairResult, item: u32) -> Option<ObjectClaim> {
        claim(result, item)
    }

    fn labeler(result: &PairResult, number: u32) -> Option<PairLabeler> {
        labeler(result, number)
    }

    fn voters(votes: &Vec<Comparison>) -> Vec<u32> {
        distinct(votes.iter().map(|vote| vote.labeler))
    }

    fn sides(item: u32, votes: &Vec<Comparison>) -> Vec<u32> {
        let named = votes.iter().flat_map(|vote| [vote.left, vote.right]);
        distinct(named.chain([item]))
    }

    fn derive(case: &Case<Self>) -> Result<ObjectClaim, &'static str> {
        let votes = &case.votes.value;
        let (voters, objects) = (Self::voters(votes), Self::sides(case.item, votes));
        let votes: Vec<Comparison> = votes
            .iter()
            .map(|vote| Comparison {
                labeler: place(&voters, vote.labeler),
                left: place(&objects, vote.left),
                right: place(&objects, vote.right),
                outcome: vote.outcome,
            })
            .collect();
        let input = PairInput {
            objects: objects.len() as u32,
            labelers: voters.len() as u32,
            sided: case.form.sided,
            votes: &votes,
        };
        let table = table(case.head, &case.rows, &case.sides);
        let result = object_from_table(&table, &input, place(&objects, case.item));
        let result = result.map_err(|_| "the comparisons or the table")?;
        Ok(ObjectClaim::from(&result))
    }
}

impl Kind for Ranked {
    const NAME: &'static str = "order";
    type Task<'a> = &'a RankingInput<'a>;
    type Result = PairResult;
    type Form = ();
    /// The orders that name the object, sorted.
    type Votes = Vec<Order>;
    type Head = PairHead;
    /// Probability of a truthful report, Q16.
    type Row = u32;
    type Side = ObjectRow;
    type Claim = ObjectClaim;
    type Labeler = PairLabeler;
    /// Orders given: one that names no object stands in no list of votes.
    type Evidence = u32;

    fn sizes(task: Self::Task<'_>) -> (u32, u32) {
        (task.objects, task.labelers)
    }

    fn form(_: Self::Task<'_>) {}

    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)> {
        let votes = (0..).zip(task.votes);
        votes
            .flat_map(|(position, vote)| vote.order.iter().map(move |&object| (object, position)))
            .collect()
    }

    fn votes(task: Self::Task<'_>, _: u32, positions: &[u32]) -> Vec<Order> {
        let votes = positions.iter().map(|&at| &task.votes[at as usize]);
        let mut votes: Vec<Order> = votes
            .map(|vote| Order {
                labeler: vote.labeler,
                objects: vote.order.to_vec(),
            })
            .collect();
        votes.sort_unstable();
        votes
    }

    fn evidence(task: Self::Task<'_>) -> Vec<u32> {
        let mut orders = vec![0; task.labelers as usize];
        for vote in task.votes {
            if let Some(count) = orders.get_mut(vote.labeler as usize) {
                *count += 1;
            }
        }
        orders
    }

    fn head(result: &PairResult) -> PairHead {
        head(result)
    }

    fn row(result: &PairResult, labeler: u32) -> Option<u32> {
        row(result, labeler)
    }

    fn side(result: &PairResult, item: u32) -> Option<ObjectRow> {
        side(result, item)
    }

    fn claim(result: &PairResult, item: u32) -> Option<ObjectClaim> {
        claim(result, item)
    }

    fn labeler(result: &PairResult, number: u32) -> Option<PairLabeler> {
        labeler(result, number)
    }

    fn voters(votes: &Vec<Order>) -> Vec<u32> {
        distinct(votes.iter().map(|vote| vote.labeler))
    }

    fn sides(item: u32, votes: &Vec<Order>) -> Vec<u32> {
        let named = votes.iter().flat_map(|vote| vote.objects.iter().copied());
        distinct(named.chain([item]))
    }

    fn derive(case: &Case<Self>) -> Result<ObjectClaim, &'static str> {
        let votes = &case.votes.value;
        let (voters, objects) = (Self::voters(votes), Self::sides(case.item, votes));
        let orders: Vec<(u32, Vec<u32>)> = votes
            .iter()
            .map(|vote| {
                let order = vote.objects.iter().map(|&object| place(&objects, object));
                (place(&voters, vote.labeler), order.collect())
            })
            .collect();
        let votes: Vec<Ranking<'_>> = orders
            .iter()
            .map(|(labeler, order)| Ranking {
                labeler: *labeler,
                order,
            })
            .collect();
        let input = RankingInput {
            objects: objects.len() as u32,
            labelers: voters.len() as u32,
            votes: &votes,
        };
        let table = table(case.head, &case.rows, &case.sides);
        let result = ranked_object_from_table(&table, &input, place(&objects, case.item));
        let result = result.map_err(|_| "the orders or the table")?;
        Ok(ObjectClaim::from(&result))
    }
}
