//! Whether a cluster is a real object, who misses what, and who invents what.
//!
//! A cluster is a question that only exists because somebody drew something: of k labelers at least one always says yes. Read as an
//! ordinary binary question, the rate of wrong yes-answers would be about 1/k for everybody, which hides that two people hardly ever
//! invent the same thing. So the class engine gives the start and the collusion clusters, and [`ROUNDS`] rounds of expectation
//! maximisation follow with a model of how clusters arise:
//!
//! ```text
//! real:      density x product over those who drew it of hit x product over the others of (1 - hit)
//! invented:  sum over those who drew it of their inventions per item
//!            x product over the rest of those who drew it of follow x product over the others of (1 - follow)
//! follow = FOLLOW_MIN + inventions per item x coincidence
//! ```
//!
//! `follow` is the chance that a labeler invents something in the same place: an invention of their own that happens to match, or being
//! fooled by the same thing ([`FOLLOW_MIN`]). `coincidence` is the chance that two unrelated objects match; it is measured without any
//! truth, on objects of different labelers on *different* items.
//!
//! **Copies.** Two labelers who hand in exactly equal boxes or polygons, [`COPIES_MIN`] times and in most of the clusters that they share,
//! where that is unusual among the other pairs, are taken as one voter, as are the engine's collusion clusters. Equal spans prove
//! nothing and are not looked at.
//!
//! What it does not do: it does not look at places or labels beyond that.
//! Invariants: probabilities lie strictly between zero and one; logs are below 2^21 in size, so sums over 255 voters stay below 2^30.

use std::collections::{BTreeMap, BTreeSet};

use super::belief::{Scene, ShapeRow, ShapeTable, groups};
use super::cluster::{GOLD, MATCH_MIN, pair_up};
use super::geometry::{Frame, Shape};
use super::{GOLD_WEIGHT, ROW_STRENGTH, START_ACCURACY, START_DEVIATION, ShapeInput};
use crate::consensus::binary;
use crate::consensus::class::Vote;
use crate::consensus::error::ConsensusError;
use crate::consensus::fixed::{FRACTION_BITS, ONE, log2, normalise, ratio};

/// Rounds of expectation maximisation, in rounds.
pub(super) const ROUNDS: u32 = 10;
/// Chance that a labeler is fooled by what fooled another, Q16 (1/32).
pub(super) const FOLLOW_MIN: u32 = ONE / 32;
/// Item shifts over which the coincidence is measured, in shifts.
const COINCIDENCE_SHIFTS: usize = 4;
/// Exactly equal objects of two labelers before they can be taken as copies, in objects.
pub(super) const COPIES_MIN: u32 = 6;

/// One voter's answer to whether a cluster is there.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub labeler: u32,
    pub drew: bool,
}

/// Probability that a cluster is real, Q16, from the answers of everybody who worked on its item; zero when nobody drew it.
pub(super) fn posterior(table: &ShapeTable, answers: &[Answer]) -> u32 {
    let one = u64::from(ONE);
    let log = |p: u64| log2(p) - i64::from(FRACTION_BITS << FRACTION_BITS);
    let mut real = log(table.density.max(1));
    let mut invented = 0i64;
    // Sum of inventions over follow, Q16: whoever was first did not follow anybody.
    let mut first = 0u64;
    let members = groups(table, answers.iter().map(|answer| answer.labeler));
    for answer in answers {
        let Some(row) = table.rows.get(answer.labeler as usize) else {
            continue;
        };
        let share = row.group.map_or(1, |group| members[&group]);
        let hit = u64::from(row.hit);
        let matching = (u64::from(row.invented) * u64::from(table.coincidence)) >> FRACTION_BITS;
        let follow = (u64::from(FOLLOW_MIN) + matching).min(one / 2);
        if answer.drew {
            real += log(hit) / i64::from(share);
            invented += log(follow) / i64::from(share);
            first += (u64::from(row.invented) << FRACTION_BITS) / follow / u64::from(share);
        } else {
            real += log(one - hit) / i64::from(share);
            invented += log(one - follow) / i64::from(share);
        }
    }
    if !answers.iter().any(|answer| answer.drew) {
        return 0;
    }
    invented += log(first.max(1));
    let mut logs = [invented, real];
    let mut out = [0; 2];
    normalise(&mut logs, &mut out);
    out[1]
}

/// The answers to one cluster.
pub(super) fn answers(scene: &Scene<'_>, members: &[(u32, u32)]) -> Vec<Answer> {
    (0u32..)
        .zip(&scene.sheets)
        .filter(|(_, sheet)| sheet.labeler != GOLD)
        .map(|(number, sheet)| Answer {
            labeler: sheet.labeler,
            drew: members
                .binary_search_by_key(&number, |member| member.0)
                .is_ok(),
        })
        .collect()
}

/// Fits the part of the table that speaks of existence.
pub(super) fn fit(
    input: &ShapeInput<'_>,
    scenes: &[Scene<'_>],
) -> Result<ShapeTable, ConsensusError> {
    let mut ballots = Vec::new();
    let mut gold = BTreeMap::new();
    let mut questions: Vec<(bool, Vec<Answer>)> = Vec::new();
    for scene in scenes {
        for members in &scene.clusters {
            let question = questions.len() as u32; // at most MAX_OBJECTS and the gold objects
            let answers = answers(scene, members);
            ballots.extend(answers.iter().map(|answer| Vote {
                item: question,
                labeler: answer.labeler,
                label: u16::from(answer.drew),
            }));
            if scene.is_gold() {
                // Gold is the last sheet, and clusters are sorted.
                let last = members
                    .last()
                    .map(|&(sheet, _)| &scene.sheets[sheet as usize]);
                let real = last.is_some_and(|sheet| sheet.labeler == GOLD);
                gold.insert(question, u16::from(real));
            }
            questions.push((scene.is_gold(), answers));
        }
    }
    let judged = binary::infer(questions.len() as u32, input.labelers, &ballots, &gold, &[])?;
    let mut table = ShapeTable {
        classes: input.classes,
        density: ONE.into(),
        coincidence: coincidence(input, scenes),
        rows: judged
            .table
            .rows
            .iter()
            .map(|row| ShapeRow {
                hit: row.hit,
                invented: row.alarm,
                deviation: START_DEVIATION,
                accuracy: START_ACCURACY,
                group: row.group,
            })
            .collect(),
    };
    join_copies(&mut table, scenes);
    let mut posteriors = judged.posterior;
    for _ in 0..ROUNDS {
        maximise(&mut table, scenes, &questions, &posteriors);
        for (slot, (known, answers)) in posteriors.iter_mut().zip(&questions) {
            if !known {
                *slot = posterior(&table, answers);
            }
        }
    }
    Ok(table)
}

/// Hit rates, inventions per item and density from the posteriors, drawn towards the crowd's.
fn maximise(
    table: &mut ShapeTable,
    scenes: &[Scene<'_>],
    questions: &[(bool, Vec<Answer>)],
    posteriors: &[u32],
) {
    let one = u64::from(ONE);
    // Per labeler, Q16: real objects seen, of them drawn, inventions, items.
    let mut sums = vec![[0u64; 4]; table.rows.len()];
    for scene in scenes {
        let weight = if scene.is_gold() { GOLD_WEIGHT } else { 1 };
        for sheet in scene.sheets.iter().filter(|sheet| sheet.labeler != GOLD) {
            sums[sheet.labeler as usize][3] += weight * one;
        }
    }
    let mut real = 0u64;
    for ((known, answers), &p) in questions.iter().zip(posteriors) {
        let weight = if *known { GOLD_WEIGHT } else { 1 };
        let p = u64::from(p);
        real += p;
        for answer in answers {
            let sum = &mut sums[answer.labeler as usize];
            sum[0] += weight * p;
            if answer.drew {
                sum[1] += weight * p;
                sum[2] += weight * (one - p);
            }
        }
    }
    let crowd = sums.iter().fold([0u64; 4], |mut crowd, sum| {
        crowd
            .iter_mut()
            .zip(sum)
            .for_each(|(all, part)| *all += part);
        crowd
    });
    // The crowd starts from one object that is drawn half of the time, and one invention on ten items.
    let hit = u64::from(ratio(2 * crowd[1] + one, 2 * crowd[0] + 2 * one));
    let invented = rate(crowd[2] + one, crowd[3] + 10 * one);
    for (row, sum) in table.rows.iter_mut().zip(&sums) {
        row.hit = ratio(sum[1] + ROW_STRENGTH * hit, sum[0] + ROW_STRENGTH * one).clamp(1, ONE - 1);
        let pooled = rate(
            sum[2] + ROW_STRENGTH * invented,
            sum[3] + ROW_STRENGTH * one,
        );
        row.invented = (pooled as u32).max(1); // at most 256 objects per item
    }
    table.density = rate(real + one, (scenes.len() as u64 + 1) * one).max(1);
}

/// `part / whole` in Q16; may exceed one.
fn rate(part: u64, whole: u64) -> u64 {
    ((u128::from(part) << FRACTION_BITS) / u128::from(whole.max(1))) as u64
}

/// Chance that two objects of different labelers on different items match, Q16.
fn coincidence(input: &ShapeInput<'_>, scenes: &[Scene<'_>]) -> u32 {
    let (mut matched, mut all) = (0u64, 0u64);
    let shifts = COINCIDENCE_SHIFTS.min(scenes.len().saturating_sub(1));
    for shift in 0..shifts {
        let step = 1 + shift * (scenes.len() - 1) / shifts;
        for (number, scene) in scenes.iter().enumerate() {
            let other = &scenes[(number + step) % scenes.len()];
            let frame = |scene: &Scene<'_>| -> Frame { input.frames[scene.item as usize] };
            let (from, to) = (frame(scene), frame(other));
            // One pair of sheets per pair of items is enough and keeps the cost linear.
            let (Some(own), Some(their)) = (
                scene.sheets.get(number % scene.sheets.len()),
                other.sheets.get(number % other.sheets.len()),
            ) else {
                continue;
            };
            if own.labeler == their.labeler || own.labeler == GOLD || their.labeler == GOLD {
                continue;
            }
            let laid: Vec<Shape> = own
                .objects
                .iter()
                .map(|o| o.shape.carried(from, to))
                .collect();
            let pairs = pair_up(laid.len(), their.objects.len(), |i, j| {
                let overlap = laid[i].iou(&their.objects[j].shape);
                if overlap >= MATCH_MIN { overlap } else { 0 }
            });
            matched += pairs.len() as u64;
            all += laid.len() as u64 * their.objects.len() as u64;
        }
    }
    ratio(matched, all)
}

/// Puts labelers who hand in equal shapes into one group, joined with the groups that are already there.
fn join_copies(table: &mut ShapeTable, scenes: &[Scene<'_>]) {
    // Clusters shared and exactly equal objects, per pair of labelers.
    let mut pairs: BTreeMap<(u32, u32), (u32, u32)> = BTreeMap::new();
    for scene in scenes {
        for members in &scene.clusters {
            let drawn = || {
                members.iter().filter_map(|&(sheet, object)| {
                    let sheet = &scene.sheets[sheet as usize];
                    let shape = &sheet.objects[object as usize].shape;
                    let counts = sheet.labeler != GOLD && !matches!(shape, Shape::Span { .. });
                    counts.then_some((sheet.labeler, shape))
                })
            };
            for (number, (a, left)) in drawn().enumerate() {
                for (b, right) in drawn().skip(number + 1) {
                    let pair = pairs.entry((a, b)).or_default();
                    pair.0 += 1;
                    pair.1 += u32::from(left == right);
                }
            }
        }
    }
    let mut rates: Vec<u32> = pairs
        .values()
        .filter(|pair| pair.0 >= COPIES_MIN)
        .map(|&(shared, equal)| ratio(u64::from(equal), u64::from(shared)))
        .collect();
    rates.sort_unstable();
    // Where half of all pairs draw equal shapes now and then, equality proves nothing.
    if rates
        .get(rates.len() / 2)
        .is_none_or(|&middle| middle > ONE / 8)
    {
        return;
    }
    let copies: BTreeSet<(u32, u32)> = pairs
        .iter()
        .filter(|&(_, &(shared, equal))| equal >= COPIES_MIN && equal * 2 > shared)
        .map(|(&pair, _)| pair)
        .collect();
    let mut next = table
        .rows
        .iter()
        .filter_map(|row| row.group)
        .max()
        .map_or(0, |top| top + 1);
    for (a, b) in copies {
        let (a, b) = (a as usize, b as usize);
        let (from, into) = match (table.rows[a].group, table.rows[b].group) {
            (None, None) => {
                table.rows[a].group = Some(next);
                table.rows[b].group = Some(next);
                next += 1;
                continue;
            }
            (Some(group), None) | (None, Some(group)) => {
                table.rows[a].group = Some(group);
                table.rows[b].group = Some(group);
                continue;
            }
            (Some(x), Some(y)) => (x.max(y), x.min(y)),
        };
        for row in table.rows.iter_mut().filter(|row| row.group == Some(from)) {
            row.group = Some(into);
        }
    }
}
