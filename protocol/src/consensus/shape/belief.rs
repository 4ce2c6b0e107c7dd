//! What is believed about one cluster and one item, from the votes of the item and the labeler table alone.
//!
//! What for: the published items, the lessons for labelers (with their own vote left out) and a dispute about a single item all use the
//! same few functions.
//! What it does not do: it learns nothing.
//! Invariants: an estimated span or box is never empty; members of one collusion cluster share the weight of one voter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cluster::{self, Cluster, GOLD, Sheet};
use super::existence;
use super::geometry::{Bounds, Point, Shape};
use super::polygon::Cells;
use super::{ShapeObject, ShapeVote};
use crate::consensus::fixed::{FRACTION_BITS, ONE, log2, normalise};
use crate::consensus::value::{Reading, estimate_sorted};

/// Fraction bits of edges while they are estimated, in bits.
const EDGE_BITS: u32 = 8;

/// How one labeler draws and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeRow {
    /// How often a real object is drawn, Q16, strictly between zero and one.
    pub hit: u32,
    /// Objects per item that are not there, Q16; may exceed one.
    pub invented: u32,
    /// Spans and boxes: mean distance of an edge from its place; polygons: one minus the overlap. Q16 of the object's side, at least 66.
    pub deviation: u32,
    /// Probability that the label of a real object is right, Q16, strictly between zero and one.
    pub accuracy: u32,
    /// Labelers of one group count as one voter: a collusion cluster, or copies of one another's objects.
    pub group: Option<u32>,
}

/// Everything that an item's result depends on besides its votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeTable {
    /// Classes of the label schema.
    pub classes: u16,
    /// Real objects per item, Q16.
    pub density: u64,
    /// Chance that two unrelated objects match, Q16.
    pub coincidence: u32,
    /// One row per labeler.
    pub rows: Vec<ShapeRow>,
}

/// One object that is believed to be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeFound {
    /// Where and what it is.
    pub object: ShapeObject,
    /// Probability that there is such an object, Q16.
    pub posterior: u32,
    /// Probability of its label, given that it is there, Q16.
    pub label_posterior: u32,
    /// Labelers who drew it.
    pub votes: u32,
}

/// What the votes say about one item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeItem {
    /// Objects with a posterior above one half, sorted; the gold objects where the item is gold.
    pub objects: Vec<ShapeFound>,
    /// Probability that this list is right: every cluster is rightly taken or left, every label is right, and nothing was overlooked by
    /// all. Q16; how exactly the edges are placed is not part of it. Zero without votes and gold.
    pub posterior: u32,
    /// Votes given.
    pub votes: u32,
}

/// One item: its sheets sorted by labeler, gold last, and their clusters.
pub(super) struct Scene<'a> {
    pub item: u32,
    pub sheets: Vec<Sheet<'a>>,
    pub clusters: Vec<Cluster>,
}

impl<'a> Scene<'a> {
    /// Sorts and clusters the votes of one item.
    pub fn new(
        item: u32,
        votes: impl Iterator<Item = &'a ShapeVote>,
        gold: Option<&'a [ShapeObject]>,
    ) -> Self {
        let mut sheets: Vec<Sheet<'a>> = votes
            .map(|vote| cluster::sheet(vote.labeler, &vote.objects))
            .collect();
        sheets.extend(gold.map(|objects| cluster::sheet(GOLD, objects)));
        sheets.sort_by_key(|sheet| sheet.labeler);
        let clusters = cluster::clusters(&sheets);
        Self {
            item,
            sheets,
            clusters,
        }
    }

    /// Whether the truth is known.
    pub fn is_gold(&self) -> bool {
        self.sheets
            .last()
            .is_some_and(|sheet| sheet.labeler == GOLD)
    }
}

/// What is believed about one cluster.
#[derive(Clone)]
pub(super) struct Belief {
    /// Estimated place, most probable label.
    pub object: ShapeObject,
    /// Probability that it is there, Q16.
    pub posterior: u32,
    /// Probability of each class, Q16.
    labels: Vec<u32>,
    /// Labelers who drew it.
    votes: u32,
    /// Mean absolute error of an edge, Q16 of a side; zero for gold and polygons.
    pub error: u64,
}

impl Belief {
    fn known(object: &ShapeObject) -> Self {
        Self {
            object: object.clone(),
            posterior: ONE,
            labels: Vec::new(),
            votes: 0,
            error: 0,
        }
    }

    /// Probability of a label given that the object is there, Q16; `classes` as in the table.
    pub fn of_label(&self, label: u16, classes: u16) -> u32 {
        if classes == 1 {
            return ONE;
        }
        match self.labels.get(usize::from(label)) {
            Some(&p) => p,
            None => u32::from(label == self.object.label) * ONE,
        }
    }
}

/// What is believed about a cluster, leaving out one labeler and their collusion cluster; `None` when nobody else drew it, or when gold
/// says that it is not there.
pub(super) fn believe(
    table: &ShapeTable,
    scene: &Scene<'_>,
    members: &Cluster,
    without: Option<u32>,
) -> Option<Belief> {
    if scene.is_gold() {
        // Gold is the last sheet, and clusters are sorted.
        let &(sheet, object) = members.last()?;
        let sheet = &scene.sheets[sheet as usize];
        let known = sheet.labeler == GOLD;
        return known.then(|| Belief::known(sheet.objects[object as usize]));
    }
    let drawn = drawn(table, scene, members, without);
    let posterior = presence(table, scene, members, without);
    describe(table, &drawn, posterior)
}

/// Probability that a cluster is there, leaving out one labeler and their collusion cluster, Q16.
pub(super) fn presence(
    table: &ShapeTable,
    scene: &Scene<'_>,
    members: &Cluster,
    without: Option<u32>,
) -> u32 {
    let mut answers = existence::answers(scene, members);
    answers.retain(|answer| !left_out(table, answer.labeler, without));
    existence::posterior(table, &answers)
}

/// Group of a labeler, if any.
fn group(table: &ShapeTable, labeler: u32) -> Option<u32> {
    table.rows.get(labeler as usize)?.group
}

/// Members of each group among some labelers.
pub(super) fn groups(
    table: &ShapeTable,
    labelers: impl Iterator<Item = u32>,
) -> BTreeMap<u32, u32> {
    let mut members = BTreeMap::new();
    for number in labelers.filter_map(|labeler| group(table, labeler)) {
        *members.entry(number).or_default() += 1;
    }
    members
}

/// Whether `labeler` is the one left out, or stands in the same collusion cluster.
pub(super) fn left_out(table: &ShapeTable, labeler: u32, without: Option<u32>) -> bool {
    without.is_some_and(|own| {
        own == labeler
            || group(table, own).is_some_and(|number| group(table, labeler) == Some(number))
    })
}

/// An object of a cluster with what is known about its labeler.
struct Drawn<'a> {
    object: &'a ShapeObject,
    row: ShapeRow,
    /// Share of one voter, Q16.
    share: u32,
}

/// The objects of a cluster with their weights; objects of labelers outside the table are left out.
fn drawn<'a>(
    table: &ShapeTable,
    scene: &Scene<'a>,
    members: &Cluster,
    without: Option<u32>,
) -> Vec<Drawn<'a>> {
    let kept = || {
        members
            .iter()
            .map(|&(sheet, object)| (&scene.sheets[sheet as usize], object))
            .filter(|(sheet, _)| !left_out(table, sheet.labeler, without))
    };
    let members = groups(table, kept().map(|(sheet, _)| sheet.labeler));
    kept()
        .filter_map(|(sheet, object)| {
            let row = *table.rows.get(sheet.labeler as usize)?;
            Some(Drawn {
                object: sheet.objects[object as usize],
                row,
                share: row.group.map_or(ONE, |own| ONE / members[&own]),
            })
        })
        .collect()
}

/// Place and label from the drawn objects; `None` without any.
fn describe(table: &ShapeTable, drawn: &[Drawn<'_>], posterior: u32) -> Option<Belief> {
    let (shape, error) = match &drawn.first()?.object.shape {
        Shape::Span { .. } => {
            let ([start, end], error) = edges(drawn, |bounds| [bounds.left, bounds.right])?;
            let end = end.max(start + 1);
            (Shape::Span { start, end }, error)
        }
        Shape::Box { .. } => {
            let ([x, right], across) = edges(drawn, |bounds| [bounds.left, bounds.right])?;
            let ([y, bottom], down) = edges(drawn, |bounds| [bounds.top, bounds.bottom])?;
            let shape = Shape::Box {
                x,
                y,
                w: right.saturating_sub(x).max(1),
                h: bottom.saturating_sub(y).max(1),
            };
            (shape, across.midpoint(down))
        }
        Shape::Polygon(_) => (Shape::Polygon(outline(drawn)?), 0),
    };
    let labels = labels(table, drawn);
    let mut best = 0;
    for (label, &p) in labels.iter().enumerate() {
        if p > labels[best] {
            best = label;
        }
    }
    Some(Belief {
        object: ShapeObject {
            shape,
            label: best as u16,
        },
        posterior,
        labels,
        votes: drawn.len() as u32,
        error,
    })
}

/// Estimates two opposite edges; also the mean absolute error of one, Q16 of the side.
fn edges(drawn: &[Drawn<'_>], of_bounds: impl Fn(Bounds) -> [u32; 2]) -> Option<([u32; 2], u64)> {
    let pairs: Vec<[u32; 2]> = drawn
        .iter()
        .map(|one| of_bounds(one.object.shape.bounds()))
        .collect();
    // One side for all: a labeler must not look precise for drawing small.
    let sides: u64 = pairs.iter().map(|pair| u64::from(pair[1] - pair[0])).sum();
    let side = ((sides << EDGE_BITS) / drawn.len() as u64).max(1);
    let mut result = [0; 2];
    let mut half_width = 0;
    for (edge, slot) in result.iter_mut().enumerate() {
        let mut readings: Vec<Reading> = drawn
            .iter()
            .zip(&pairs)
            .map(|(one, pair)| Reading {
                value: i64::from(pair[edge]) << EDGE_BITS,
                // Below 2^39 x 2^16.
                deviation: ((u64::from(one.row.deviation) * side) >> FRACTION_BITS).max(1),
                share: one.share,
            })
            .collect();
        readings.sort_unstable();
        let estimate = estimate_sorted(&readings, |_| true)?;
        *slot = ((estimate.value + (1 << (EDGE_BITS - 1))) >> EDGE_BITS) as u32; // between two edges
        half_width += estimate.half_width;
    }
    // Half a width is 2.46 mean absolute errors; two edges were added.
    let error = ((u128::from(half_width) * 50 / 246) << FRACTION_BITS) / u128::from(side);
    Some((result, (error as u64).min(u64::from(ONE))))
}

/// Outline of a vote of cells; of one or two polygons, or of polygons with nothing in common, the most precise labeler's.
fn outline(drawn: &[Drawn<'_>]) -> Option<Vec<Point>> {
    let vertices = |one: &Drawn<'_>| match &one.object.shape {
        Shape::Polygon(vertices) => vertices.clone(),
        Shape::Span { .. } | Shape::Box { .. } => Vec::new(),
    };
    let finest = drawn.iter().map(|one| one.row.deviation).min()?;
    if drawn.len() > 2 {
        let bounds = drawn
            .iter()
            .map(|one| one.object.shape.bounds())
            .reduce(Bounds::join)?;
        let mut cells = Cells::new(bounds);
        for one in drawn {
            let weight = u64::from(one.share) * u64::from(finest) / u64::from(one.row.deviation);
            cells.add(&vertices(one), weight.max(1));
        }
        if let Some(outline) = cells.outline() {
            return Some(outline);
        }
    }
    drawn
        .iter()
        .find(|one| one.row.deviation == finest)
        .map(vertices)
}

/// Posterior of each class from the labels of a cluster, Q16, all classes being equally likely before.
fn labels(table: &ShapeTable, drawn: &[Drawn<'_>]) -> Vec<u32> {
    let classes = u64::from(table.classes);
    let mut logs = vec![0i64; usize::from(table.classes)];
    if classes > 1 {
        for one in drawn {
            let accuracy = u64::from(one.row.accuracy);
            let gain = log2(accuracy * (classes - 1)) - log2(u64::from(ONE) - accuracy);
            if let Some(log) = logs.get_mut(usize::from(one.object.label)) {
                *log += gain * i64::from(one.share) / i64::from(ONE);
            }
        }
    }
    let mut out = vec![0; logs.len()];
    normalise(&mut logs, &mut out);
    out
}

/// How far two shapes of one kind are apart, Q16: mean distance of edges over the side of the second, or one minus the overlap.
pub(super) fn distance(own: &Shape, truth: &Shape) -> u32 {
    let (a, b) = (own.bounds(), truth.bounds());
    let along = |a: [u32; 2], b: [u32; 2]| {
        let apart = u64::from(a[0].abs_diff(b[0])) + u64::from(a[1].abs_diff(b[1]));
        ((apart << FRACTION_BITS) / (2 * u64::from(b[1].saturating_sub(b[0]).max(1))))
            .min(u64::from(ONE)) as u32
    };
    let across = || along([a.left, a.right], [b.left, b.right]);
    match truth {
        Shape::Span { .. } => across(),
        Shape::Box { .. } => across().midpoint(along([a.top, a.bottom], [b.top, b.bottom])),
        Shape::Polygon(_) => ONE - own.iou(truth),
    }
}

/// The gold objects as they are published.
pub(super) fn certain(objects: &[ShapeObject]) -> Vec<ShapeFound> {
    let mut found: Vec<ShapeFound> = objects
        .iter()
        .map(|object| ShapeFound {
            object: object.clone(),
            posterior: ONE,
            label_posterior: ONE,
            votes: 0,
        })
        .collect();
    found.sort_unstable();
    found
}

/// What is believed about an item that is not gold.
pub(super) fn item(table: &ShapeTable, scene: &Scene<'_>) -> ShapeItem {
    let one = u64::from(ONE);
    let mut result = ShapeItem {
        votes: scene
            .sheets
            .iter()
            .filter(|sheet| sheet.labeler != GOLD)
            .count() as u32,
        ..ShapeItem::default()
    };
    if result.votes == 0 {
        return result;
    }
    // Q32, so that products over many objects lose little.
    let mut product = 1u64 << 32;
    let mut times = |p: u64| product = (product * p) >> FRACTION_BITS;
    for belief in scene
        .clusters
        .iter()
        .filter_map(|members| believe(table, scene, members, None))
    {
        times(u64::from(belief.posterior.max(ONE - belief.posterior)));
        if belief.posterior * 2 <= ONE {
            continue;
        }
        let label_posterior = belief.of_label(belief.object.label, table.classes);
        times(u64::from(label_posterior));
        result.objects.push(ShapeFound {
            object: belief.object,
            posterior: belief.posterior,
            label_posterior,
            votes: belief.votes,
        });
    }
    // Expected objects that everybody overlooked.
    let mut missed = table.density;
    for sheet in &scene.sheets {
        if let Some(row) = table.rows.get(sheet.labeler as usize) {
            missed = (missed * (one - u64::from(row.hit))) >> FRACTION_BITS;
        }
    }
    times(one.saturating_sub(missed));
    result.posterior = (product >> (32 - FRACTION_BITS)) as u32;
    result.objects.sort_unstable();
    result
}

/// Recomputes one item from its votes and the table; the same result as [`infer_shapes`](super::infer_shapes) gives for an item that is
/// not gold. The votes must be admissible and for one item; votes of labelers outside the table are ignored.
#[must_use]
pub fn item_from_table(table: &ShapeTable, votes: &[ShapeVote]) -> ShapeItem {
    let known = |vote: &&ShapeVote| (vote.labeler as usize) < table.rows.len();
    let number = votes.first().map_or(0, |vote| vote.item);
    item(table, &Scene::new(number, votes.iter().filter(known), None))
}
