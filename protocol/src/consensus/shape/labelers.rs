//! Skill of a labeler of shapes: how well their answers fit what everybody else says, against how well they fit other items.
//!
//! An answer `a` (all objects of one labeler on one item) is scored against a list of believed objects with probabilities `p`, computed
//! **without the labeler's own vote and collusion cluster** (or against gold, with double weight): objects are paired one to one, a pair
//! counting overlap x P(label) x p, and
//!
//! ```text
//! score = (2 sum of pairs + e) / (number of own objects + sum of p + e)
//! ```
//!
//! which is one for a perfect answer and falls with loose edges, wrong labels, misses and false alarms alike; `e` is the probability
//! that nothing is there if nothing was drawn, so that a right empty answer scores one.
//!
//! **Skill** is `(A - E) / (1 - E)`: `A` is the mean score of the answers on their own items, `E` the mean score of the same answers laid
//! on the labeler's *other* items (scaled to their size), over [`SHIFTS`] cyclic shifts of the labeler's list of items, spread evenly.
//!
//! **Why laziness earns nothing.** Every shift uses each answer and each item once. If all answers are equal - always nothing, always
//! the whole picture, always the same spot - the score on an item does not depend on which answer is laid on it, so each shift gives the
//! same sum and `A = E` up to the rounding of scaled coordinates. If answers are drawn without looking at the item, every pairing of
//! answers with items has the same expected score, so `A - E` is zero in expectation at any number of items. A labeler with a single
//! item has no other item to compare with and skill zero.
//!
//! What it does not do: it pays nothing and bans nobody.
//! Invariants: skill lies within plus and minus 1,000,000.

use serde::{Deserialize, Serialize};

use super::belief::{self, Belief, Scene};
use super::cluster::{GOLD, pair_up};
use super::{Frame, GOLD_WEIGHT, ShapeInput, ShapeObject, ShapeTable};
use crate::consensus::fixed::{FRACTION_BITS, ONE};

/// Most shifts that the chance score is averaged over, in shifts.
pub(super) const SHIFTS: usize = 8;

/// What the wave says about one labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeLabeler {
    /// Votes given.
    pub votes: u32,
    /// Objects drawn.
    pub objects: u32,
    /// Gold items answered.
    pub gold_seen: u32,
    /// Chance-corrected skill in parts per million.
    pub skill_ppm: i64,
    /// Mean score on the own items, in parts per million; not chance-corrected, for display only.
    pub quality_ppm: u32,
    /// Mean score of the same answers on other items, in parts per million.
    pub chance_ppm: u32,
    /// Collusion cluster, if flagged.
    pub cluster: Option<u32>,
}

/// One item as it looks to everybody but one labeler, and that labeler's answer.
struct Lesson<'a> {
    own: Vec<&'a ShapeObject>,
    frame: Frame,
    others: Vec<Belief>,
    weight: u64,
}

/// Judges every labeler.
pub(super) fn judge(
    input: &ShapeInput<'_>,
    table: &ShapeTable,
    scenes: &[Scene<'_>],
) -> Vec<ShapeLabeler> {
    let mut results = vec![ShapeLabeler::default(); input.labelers as usize];
    let mut lessons: Vec<Vec<Lesson<'_>>> = Vec::new();
    lessons.resize_with(results.len(), Vec::new);
    for scene in scenes {
        let full: Vec<Option<Belief>> = scene
            .clusters
            .iter()
            .map(|members| belief::believe(table, scene, members, None))
            .collect();
        for sheet in scene.sheets.iter().filter(|sheet| sheet.labeler != GOLD) {
            let result = &mut results[sheet.labeler as usize];
            result.votes += 1;
            result.objects += sheet.objects.len() as u32;
            result.gold_seen += u32::from(scene.is_gold());
            let alone = scene
                .sheets
                .iter()
                .all(|other| belief::left_out(table, other.labeler, Some(sheet.labeler)));
            if alone {
                continue;
            }
            lessons[sheet.labeler as usize].push(Lesson {
                own: sheet.objects.clone(),
                frame: input.frames[scene.item as usize],
                others: without(table, scene, &full, sheet.labeler),
                weight: if scene.is_gold() { GOLD_WEIGHT } else { 1 },
            });
        }
    }
    for (labeler, (result, lessons)) in results.iter_mut().zip(&lessons).enumerate() {
        result.cluster = table.rows[labeler].group;
        let total: u64 = lessons.iter().map(|lesson| lesson.weight).sum();
        let shifts = SHIFTS.min(lessons.len().saturating_sub(1));
        if shifts == 0 {
            continue;
        }
        let one = u64::from(ONE) * total;
        let own = shifted(table, lessons, 0);
        let mut chance = 0;
        for shift in 0..shifts {
            chance += shifted(table, lessons, 1 + shift * (lessons.len() - 1) / shifts);
        }
        // Sums of Q16 scores over at most 2^20 items; the mean over the shifts is rounded up, against the labeler.
        let chance = chance.div_ceil(shifts as u64);
        let ppm = |sum: u64| (u128::from(sum) * 1_000_000 / u128::from(one)) as u32;
        (result.quality_ppm, result.chance_ppm) = (ppm(own), ppm(chance));
        let above = (i128::from(own) - i128::from(chance)) * 1_000_000;
        let below = i128::from(one.saturating_sub(chance));
        if below > 0 {
            result.skill_ppm = (above / below).clamp(-1_000_000, 1_000_000) as i64;
        }
    }
    results
}

/// The believed objects of an item without one labeler.
fn without(
    table: &ShapeTable,
    scene: &Scene<'_>,
    full: &[Option<Belief>],
    labeler: u32,
) -> Vec<Belief> {
    let mut others = Vec::with_capacity(full.len());
    for (members, whole) in scene.clusters.iter().zip(full) {
        let touched = members.iter().any(|&(sheet, _)| {
            belief::left_out(table, scene.sheets[sheet as usize].labeler, Some(labeler))
        });
        let belief = if touched && !scene.is_gold() {
            belief::believe(table, scene, members, Some(labeler))
        } else {
            // Place and label do not change; only the silence of the labeler is left out.
            whole.clone().map(|mut belief| {
                if !scene.is_gold() {
                    belief.posterior = belief::presence(table, scene, members, Some(labeler));
                }
                belief
            })
        };
        others.extend(belief);
    }
    others
}

/// Summed weighted score with every answer laid on the item `shift` places further in the list.
fn shifted(table: &ShapeTable, lessons: &[Lesson<'_>], shift: usize) -> u64 {
    let mut sum = 0;
    for (number, answer) in lessons.iter().enumerate() {
        let item = &lessons[(number + shift) % lessons.len()];
        sum += item.weight * u64::from(score(table, &answer.own, answer.frame, item));
    }
    sum
}

/// Score of an answer drawn on an item of size `from`, laid on `item`; Q16.
fn score(table: &ShapeTable, own: &[&ShapeObject], from: Frame, item: &Lesson<'_>) -> u32 {
    let laid: Vec<_> = own
        .iter()
        .map(|object| object.shape.carried(from, item.frame))
        .collect();
    let times = |a: u32, b: u32| ((u64::from(a) * u64::from(b)) >> FRACTION_BITS) as u32;
    let pairs = pair_up(laid.len(), item.others.len(), |i, j| {
        let other = &item.others[j];
        let overlap = laid[i].iou(&other.object.shape);
        if overlap == 0 {
            return 0;
        }
        let named = times(overlap, other.of_label(own[i].label, table.classes));
        times(named, other.posterior)
    });
    let matched: u64 = pairs.iter().map(|&(_, _, value)| u64::from(value)).sum();
    let believed: u64 = item
        .others
        .iter()
        .map(|other| u64::from(other.posterior))
        .sum();
    let mut empty = 0;
    if own.is_empty() {
        empty = ONE;
        for other in &item.others {
            empty = times(empty, ONE - other.posterior);
        }
    }
    let above = 2 * matched + u64::from(empty);
    let below = (own.len() as u64) * u64::from(ONE) + believed + u64::from(empty);
    ((above << FRACTION_BITS) / below.max(1)) as u32
}
