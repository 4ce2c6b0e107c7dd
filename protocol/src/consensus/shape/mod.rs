//! Objects on an item: spans of text, time segments, boxes and polygons, each with a label.
//!
//! ```text
//! votes -> sheets -> clusters (IoU) -> existence (started by the class engine)
//!                                  \-> ROUNDS x [ each object against its cluster without it -> precision, label accuracy ]
//!       -> items (objects with posteriors), labelers (skill)
//! ```
//!
//! | file | what |
//! |---|---|
//! | `geometry` | shapes, limits, overlap |
//! | `polygon` | overlap and consensus of polygons |
//! | `cluster` | which objects are the same thing |
//! | `existence` | whether a cluster is real, who misses and who invents |
//! | `belief` | one cluster and one item, from votes and table alone |
//! | `labelers` | chance-corrected skill |
//!
//! Whoever worked on an item and drew nothing at a place says that nothing is there. A cluster is a binary question with one answer per
//! labeler of the item; see `existence` for how the class engine and a model of misses and inventions answer it.
//! Edges of spans and boxes are robust weighted estimates (see `value::robust`), polygons a weighted vote of cells, labels a vote
//! weighted by each labeler's accuracy. [`item_from_table`] recomputes an item from its votes and [`ShapeTable`].
//!
//! What it does not do: no masks, no key points, no tracks over time, no relations between objects; reputation is not read.
//! Invariants: a pure function of the set of votes and gold; all objects of an item and of the wave are bounded by the limits below, so
//! that clustering, quadratic in the objects of an item, stays bounded as well. A caller admits votes by the limits: an input beyond
//! them is refused as a whole.

mod belief;
mod cluster;
mod existence;
mod geometry;
mod labelers;
mod polygon;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::belief::Scene;
pub use self::belief::{ShapeFound, ShapeItem, ShapeRow, ShapeTable, item_from_table};
use self::cluster::GOLD;
pub use self::geometry::{Frame, MAX_LENGTH, MAX_SIDE, MAX_VERTICES, Point, Shape, ShapeKind};
pub use self::labelers::ShapeLabeler;
use super::class::{MAX_CLASSES, MAX_ITEMS, MAX_LABELERS};
use super::error::ConsensusError;
use super::fixed::{FRACTION_BITS, ONE};
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/shape/1";
/// Rounds of labeler rows, in rounds.
const ROUNDS: u32 = 4;
/// Pseudo-objects that draw a labeler's precision and label accuracy towards the crowd's, in objects.
const ROW_STRENGTH: u64 = 4;
/// Weight of a gold item against an item judged by other labelers, in votes.
const GOLD_WEIGHT: u64 = 2;
/// Precision of everybody before the first round, Q16 of an object's side (0.05).
const START_DEVIATION: u32 = 3_277;
/// Label accuracy of everybody before the first round, Q16 (0.8).
const START_ACCURACY: u32 = 52_429;
/// More real objects per item than any fitted table has, Q16.
const DENSITY_MAX: u64 = 1 << 40;
/// Nobody is taken to be more precise than this, Q16 of an object's side (0.001).
const LEAST_DEVIATION: u64 = 66;
/// Most votes of one scoring run, in votes.
pub const MAX_SHAPE_VOTES: u64 = 1 << 20;
/// Most objects of one scoring run, in objects.
pub const MAX_OBJECTS: u64 = 1 << 22;
/// Most objects in one vote, in objects.
pub const MAX_VOTE_OBJECTS: u64 = 256;
/// Most objects on one item over all votes, in objects.
pub const MAX_ITEM_OBJECTS: u64 = 2_048;
/// Most vertices on one item over all votes, in vertices.
pub const MAX_ITEM_VERTICES: u64 = 1 << 14;
/// Most votes for one item, in votes.
pub const MAX_ITEM_VOTES: u64 = 255;

/// Feeds the method's name and all its parameters to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    hash_parameters(
        hasher,
        &[
            u64::from(ROUNDS),
            ROW_STRENGTH,
            GOLD_WEIGHT,
            u64::from(START_DEVIATION),
            u64::from(START_ACCURACY),
            LEAST_DEVIATION,
            u64::from(cluster::MATCH_MIN),
            u64::from(existence::ROUNDS),
            u64::from(existence::FOLLOW_MIN),
            u64::from(existence::COPIES_MIN),
            polygon::SCANLINES,
            polygon::GRID as u64,
            labelers::SHIFTS as u64,
        ],
    );
}

/// One object: where it is and what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeObject {
    /// Where it is.
    pub shape: Shape,
    /// Index of the class.
    pub label: u16,
}

/// One vote: everything that `labeler` drew on `item`; an empty list says that nothing is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShapeVote {
    /// Index of the item.
    pub item: u32,
    /// Index of the labeler.
    pub labeler: u32,
    /// The objects in any order.
    pub objects: Vec<ShapeObject>,
}

/// Everything that inference of shapes may look at.
#[derive(Clone, Copy, Debug)]
pub struct ShapeInput<'a> {
    /// The kind of shape that the task takes.
    pub kind: ShapeKind,
    /// Size of each item, in the units of the shapes.
    pub frames: &'a [Frame],
    /// Labelers of the task.
    pub labelers: u32,
    /// Classes of the label schema; one when objects have no label worth speaking of.
    pub classes: u16,
    /// The votes in any order, at most one per labeler and item.
    pub votes: &'a [ShapeVote],
    /// Opened gold: item to all its true objects.
    pub gold: &'a BTreeMap<u32, Vec<ShapeObject>>,
}

/// Result of [`infer_shapes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeResult {
    /// One entry per item.
    pub items: Vec<ShapeItem>,
    /// One entry per labeler.
    pub labelers: Vec<ShapeLabeler>,
    /// What [`item_from_table`] needs besides the votes of an item.
    pub table: ShapeTable,
}

/// Infers the objects of each item and the skill of each labeler.
///
/// # Errors
/// [`ConsensusError`] names the entry that is out of range or repeated, or the limit that is exceeded.
pub fn infer_shapes(input: &ShapeInput<'_>) -> Result<ShapeResult, ConsensusError> {
    let order = canonical(input)?;
    let mut scenes: Vec<Scene<'_>> = Vec::new();
    for of_item in order.chunk_by(|&a, &b| input.votes[a].item == input.votes[b].item) {
        let item = input.votes[of_item[0]].item;
        let votes = of_item.iter().map(|&position| &input.votes[position]);
        let gold = input.gold.get(&item).map(Vec::as_slice);
        scenes.push(Scene::new(item, votes, gold));
    }
    let mut table = existence::fit(input, &scenes)?;
    for _ in 0..ROUNDS {
        table.rows = rows(&table, &scenes);
    }
    let mut items = vec![ShapeItem::default(); input.frames.len()];
    for scene in &scenes {
        items[scene.item as usize] = belief::item(&table, scene);
    }
    for (&item, objects) in input.gold {
        items[item as usize] = gold_item(objects, items[item as usize].votes);
    }
    let labelers = labelers::judge(input, &table, &scenes);
    Ok(ShapeResult {
        items,
        labelers,
        table,
    })
}

/// The result of an item whose true objects are known.
pub(super) fn gold_item(objects: &[ShapeObject], votes: u32) -> ShapeItem {
    ShapeItem {
        objects: belief::certain(objects),
        posterior: ONE,
        votes,
    }
}

/// Sums over the objects of one labeler; weights are Q16.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Weight of objects with a geometry to compare with.
    weight: u128,
    /// Weighted distance, Q16 of a side.
    distance: u128,
    /// Weighted squared error of the others, Q32 of a side.
    others: u128,
    /// Weighted probability that the label is right, Q16.
    right: u128,
}

/// One round: every object against its cluster without its labeler.
fn rows(table: &ShapeTable, scenes: &[Scene<'_>]) -> Vec<ShapeRow> {
    let mut sums = vec![Sums::default(); table.rows.len()];
    for scene in scenes {
        for members in &scene.clusters {
            for &(sheet, object) in members {
                let sheet = &scene.sheets[sheet as usize];
                if sheet.labeler == GOLD {
                    continue;
                }
                let Some(others) = belief::believe(table, scene, members, Some(sheet.labeler))
                else {
                    continue;
                };
                let own = sheet.objects[object as usize];
                let weight = u128::from(others.posterior)
                    * u128::from(if scene.is_gold() { GOLD_WEIGHT } else { 1 });
                let sum = &mut sums[sheet.labeler as usize];
                let distance = belief::distance(&own.shape, &others.object.shape);
                sum.weight += weight;
                sum.distance += weight * u128::from(distance);
                sum.others += weight * u128::from(others.error).pow(2);
                sum.right += weight * u128::from(others.of_label(own.label, table.classes));
            }
        }
    }
    let mut crowd = Sums::default();
    let deviations: Vec<u128> = sums.iter().map(Sums::deviation).collect();
    for (sum, deviation) in sums.iter().zip(&deviations) {
        crowd.weight += sum.weight;
        crowd.distance += sum.weight * deviation;
        crowd.right += sum.right;
    }
    if crowd.weight == 0 {
        return table.rows.clone();
    }
    let strength = u128::from(ROW_STRENGTH) << FRACTION_BITS;
    let (deviation, accuracy) = (crowd.distance / crowd.weight, crowd.right / crowd.weight);
    sums.iter()
        .zip(deviations)
        .zip(&table.rows)
        .map(|((sum, own), row)| {
            let pooled = |mean_times_weight: u128, common: u128| {
                (mean_times_weight + strength * common) / (sum.weight + strength)
            };
            ShapeRow {
                hit: row.hit,
                invented: row.invented,
                group: row.group,
                deviation: (pooled(sum.weight * own, deviation) as u64)
                    .clamp(LEAST_DEVIATION, u64::from(ONE)) as u32,
                accuracy: (pooled(sum.right, accuracy) as u32).clamp(1, ONE - 1),
            }
        })
        .collect()
}

impl ShapeTable {
    /// Whether it lies within the ranges of a fitted table.
    pub(super) fn fits(&self) -> bool {
        let probability = |p: u32| 0 < p && p < ONE;
        self.density <= DENSITY_MAX
            && self.coincidence <= ONE
            && self.rows.iter().all(|row| {
                probability(row.hit)
                    && probability(row.accuracy)
                    && (LEAST_DEVIATION..=u64::from(ONE)).contains(&u64::from(row.deviation))
            })
    }
}

impl Sums {
    /// Mean distance with the others' error taken out, at least a quarter of what was seen, Q16 of a side.
    fn deviation(&self) -> u128 {
        if self.weight == 0 {
            return 0;
        }
        let seen = self.distance / self.weight;
        let square = (seen * seen).saturating_sub(self.others / self.weight);
        square.isqrt().max(seen / 4)
    }
}

/// Checks the input; gives the positions of the votes sorted by item and labeler.
pub(super) fn canonical(input: &ShapeInput<'_>) -> Result<Vec<usize>, ConsensusError> {
    if !(1..=MAX_CLASSES).contains(&input.classes) {
        return Err(ConsensusError::Classes {
            classes: input.classes,
            min: 1,
            max: MAX_CLASSES,
        });
    }
    let objects = input
        .votes
        .iter()
        .map(|vote| vote.objects.len() as u64)
        .sum();
    for (what, count, max) in [
        ("votes", input.votes.len() as u64, MAX_SHAPE_VOTES),
        ("items", input.frames.len() as u64, MAX_ITEMS),
        ("labelers", u64::from(input.labelers), MAX_LABELERS),
        ("objects", objects, MAX_OBJECTS),
    ] {
        if count > max {
            return Err(ConsensusError::TooMany { what, count, max });
        }
    }
    let items = input.frames.len() as u32;
    if !input.frames.iter().all(|frame| frame.fits(input.kind)) {
        return Err(ConsensusError::Scale {
            why: "an item is empty or too large for shapes of this kind",
        });
    }
    let mut order = Vec::with_capacity(input.votes.len());
    for (index, vote) in input.votes.iter().enumerate() {
        if vote.item >= items {
            return Err(ConsensusError::ItemOutOfRange {
                index,
                item: vote.item,
                items,
            });
        }
        if vote.labeler >= input.labelers {
            return Err(ConsensusError::LabelerOutOfRange {
                index,
                labeler: vote.labeler,
                labelers: input.labelers,
            });
        }
        let frame = input.frames[vote.item as usize];
        if let Some((object, why)) = fault(input, &vote.objects, frame) {
            return Err(ConsensusError::BadObject { index, object, why });
        }
        order.push((vote.item, vote.labeler, index));
    }
    for (&item, objects) in input.gold {
        let why = match input.frames.get(item as usize) {
            None => Some("there is no such item"),
            Some(&frame) => fault(input, objects, frame).map(|(_, why)| why),
        };
        if let Some(why) = why {
            return Err(ConsensusError::BadGold { item, why });
        }
    }
    order.sort_unstable();
    if let Some(pair) = order
        .windows(2)
        .find(|p| (p[0].0, p[0].1) == (p[1].0, p[1].1))
    {
        return Err(ConsensusError::DuplicateVote {
            first: pair[0].2,
            second: pair[1].2,
            item: pair[0].0,
            labeler: pair[0].1,
        });
    }
    for of_item in order.chunk_by(|a, b| a.0 == b.0) {
        let votes = of_item.iter().map(|&(_, _, index)| &input.votes[index]);
        check_item(of_item[0].0, votes)?;
    }
    Ok(order.into_iter().map(|(_, _, index)| index).collect())
}

/// The first object that does not fit, and why.
fn fault(
    input: &ShapeInput<'_>,
    objects: &[ShapeObject],
    frame: Frame,
) -> Option<(usize, &'static str)> {
    if objects.len() as u64 > MAX_VOTE_OBJECTS {
        return Some((MAX_VOTE_OBJECTS as usize, "a vote has at most 256 objects"));
    }
    objects.iter().enumerate().find_map(|(number, object)| {
        let why = if object.label >= input.classes {
            Some("its label is not in the schema")
        } else {
            object.shape.fault(input.kind, frame)
        };
        Some((number, why?))
    })
}

/// Holds one item to its limits.
fn check_item<'a>(
    item: u32,
    votes: impl Iterator<Item = &'a ShapeVote>,
) -> Result<(), ConsensusError> {
    let (mut count, mut objects, mut vertices) = (0u64, 0u64, 0u64);
    for vote in votes {
        count += 1;
        objects += vote.objects.len() as u64;
        for object in &vote.objects {
            if let Shape::Polygon(points) = &object.shape {
                vertices += points.len() as u64;
            }
        }
    }
    for (what, count, max) in [
        ("votes", count, MAX_ITEM_VOTES),
        ("objects", objects, MAX_ITEM_OBJECTS),
        ("vertices", vertices, MAX_ITEM_VERTICES),
    ] {
        if count > max {
            return Err(ConsensusError::TooManyOnItem {
                item,
                what,
                count,
                max,
            });
        }
    }
    Ok(())
}
