//! A second, plain implementation of values: every sum is taken straight from the list of votes, all numbers are wide, nothing is shared
//! with the engine but the power of two.

use std::collections::BTreeMap;

use super::super::*;
use crate::consensus::draw::Rng;
use crate::consensus::fixed::exp2_q30;

/// Q16 one, and 1/256 units per unit of the scale.
const Q16: i128 = 1 << 16;
const FINE: i128 = 256;

/// What one labeler is taken to do, in 1/256 units: offset, mean absolute error.
type Row = (i128, i128);

/// A reading: value, mean absolute error of its source, share of one voter (Q16).
pub(in crate::consensus) type Seen = (i128, i128, i128);

struct Case {
    items: u32,
    labelers: u32,
    scale: ValueScale,
    votes: Vec<ValueVote>,
    gold: BTreeMap<u32, i64>,
}

impl Case {
    fn draw(rng: &mut Rng) -> Self {
        let step = [1, 1, 5, 1 << 18][rng.below(4) as usize];
        let most = [2, 5, 40, 1 << 20][rng.below(4) as usize];
        let steps = 1 + rng.below(most) as i64;
        let min = [0, -7, 1_000, -(1 << 39)][rng.below(4) as usize];
        let scale = ValueScale {
            min,
            max: min + step * steps,
            step,
            tolerance: rng.below((step * steps) as u64 + 1) as i64,
        };
        let mut case = Self {
            items: rng.below(8) as u32,
            labelers: 1 + rng.below(7) as u32,
            scale,
            votes: Vec::new(),
            gold: BTreeMap::new(),
        };
        let any = |rng: &mut Rng| min + step * rng.below(steps as u64 + 1) as i64;
        let density = 10 + rng.below(91);
        for item in 0..case.items {
            let truth = any(rng);
            if rng.percent(15) {
                case.gold.insert(item, truth);
            }
            for labeler in 0..case.labelers {
                if rng.percent(density) {
                    let close = (truth + step * (rng.below(5) as i64 - 2)).clamp(min, scale.max);
                    let value = if rng.percent(70) { close } else { any(rng) };
                    case.votes.push(ValueVote {
                        item,
                        labeler,
                        value,
                    });
                }
            }
        }
        rng.shuffle(&mut case.votes);
        case
    }

    fn width(&self) -> i128 {
        i128::from(self.scale.max - self.scale.min) * FINE
    }

    /// The votes on an item with offsets removed, leaving out one labeler.
    fn seen(&self, rows: &[Row], item: u32, without: Option<u32>) -> Vec<Seen> {
        let kept = |vote: &&ValueVote| vote.item == item && Some(vote.labeler) != without;
        let seen = self.votes.iter().filter(kept).map(|vote| {
            let (offset, deviation) = rows[vote.labeler as usize];
            (i128::from(vote.value) * FINE - offset, deviation, Q16)
        });
        seen.collect()
    }

    /// What is known about a vote's item without the vote: value, half width, weight; half width zero stands for gold.
    fn lesson(&self, rows: &[Row], vote: &ValueVote) -> Option<(i128, i128, i128)> {
        let (value, half) = match self.gold.get(&vote.item) {
            Some(&truth) => (i128::from(truth) * FINE, 0),
            None => estimate(&self.seen(rows, vote.item, Some(vote.labeler)))?,
        };
        Some((value, half, if half == 0 { 2 } else { 1 }))
    }

    /// Offsets and errors of all labelers after eight rounds.
    fn rows(&self) -> Vec<Row> {
        let width = self.width();
        let mut crowd = (width / 4).max(1);
        let mut rows = vec![(0, crowd); self.labelers as usize];
        for _ in 0..8 {
            let mut next = Vec::new();
            let (mut weights, mut total) = (0, 0);
            for labeler in 0..self.labelers {
                let (mut weight, mut residual, mut distance, mut others) = (0, 0, 0, 0);
                for vote in self.votes.iter().filter(|vote| vote.labeler == labeler) {
                    let Some((value, half, counts)) = self.lesson(&rows, vote) else {
                        continue;
                    };
                    let apart = i128::from(vote.value) * FINE - value;
                    weight += counts;
                    residual += counts * apart.max(-4 * crowd).min(4 * crowd);
                    distance += counts * (apart - rows[labeler as usize].0).abs();
                    others += counts * (half.min(width) * 100 / 246).pow(2);
                }
                let mut deviation = 0;
                if weight > 0 {
                    let mean = distance / weight;
                    let pure = (mean * mean - others / weight).max(0).isqrt();
                    deviation = pure.max(mean / 4);
                }
                weights += weight;
                total += weight * deviation;
                next.push((weight, residual, deviation));
            }
            if weights == 0 {
                break;
            }
            crowd = (total / weights).max(1).min(width);
            rows = next
                .into_iter()
                .map(|(weight, residual, deviation)| {
                    let pooled = (weight * deviation + 4 * crowd) / (weight + 4);
                    (residual / (weight + 4), pooled.max(1))
                })
                .collect();
        }
        rows
    }

    fn item(&self, rows: &[Row], item: u32) -> ValueItem {
        let seen = self.seen(rows, item, None);
        let votes = seen.len() as u32;
        if let Some(&value) = self.gold.get(&item) {
            return ValueItem {
                value: Some(value),
                low: value,
                high: value,
                posterior: 1 << 16,
                votes,
            };
        }
        let Some((value, half)) = estimate(&seen) else {
            return ValueItem::default();
        };
        let half = half + half / i128::from(votes);
        let [min, max, step] =
            [self.scale.min, self.scale.max, self.scale.step].map(|units| i128::from(units) * FINE);
        let value = value.max(min).min(max);
        // The nearest step by looking at the two around the value; the lower one where both are equally near.
        let lower = min + (value - min) / step * step;
        let nearest = if value - lower <= lower + step - value {
            lower
        } else {
            lower + step
        }
        .min(max);
        let low = (value - half).div_euclid(FINE) * FINE;
        let high = -(-(value + half)).div_euclid(FINE) * FINE;
        let tolerance = (i128::from(self.scale.tolerance) * FINE).max(step / 2);
        // 283,241 is log2 of twenty in Q16.
        let exponent = tolerance * 283_241 / half.max(1);
        let tail = exp2_q30(-i64::try_from(exponent).unwrap_or(i64::MAX)) >> 14;
        ValueItem {
            value: Some((nearest / FINE) as i64),
            low: (low.max(min).min(max).min(nearest) / FINE) as i64,
            high: (high.max(min).min(max).max(nearest) / FINE) as i64,
            posterior: (1 << 16) - tail as u32,
            votes,
        }
    }

    fn labeler(&self, rows: &[Row], labeler: u32) -> ValueLabeler {
        let own = || {
            self.votes
                .iter()
                .filter(move |vote| vote.labeler == labeler)
        };
        let mut lessons = Vec::new();
        let (mut error, mut total) = (0, 0);
        for vote in own() {
            if let Some((truth, _, weight)) = self.lesson(rows, vote) {
                error += weight * (i128::from(vote.value) * FINE - truth).abs();
                total += weight;
                lessons.push((truth, weight));
            }
        }
        // The best of all constant answers: the median is one, and the best is at one of the values.
        let distance = |at: i128| -> i128 {
            let apart = lessons
                .iter()
                .map(|&(truth, weight)| weight * (truth - at).abs());
            apart.sum()
        };
        let lazy = lessons.iter().map(|&(truth, _)| distance(truth)).min();
        let lazy = lazy.unwrap_or(0);
        let mut result = ValueLabeler {
            votes: own().count() as u32,
            gold_seen: own()
                .filter(|vote| self.gold.contains_key(&vote.item))
                .count() as u32,
            skill_ppm: 0,
            error: (error / total.max(1)) as u64,
        };
        if lazy > 0 {
            let skill = (lazy - error) * 1_000_000 / lazy;
            result.skill_ppm = skill.clamp(-1_000_000, 1_000_000) as i64;
        }
        result
    }
}

/// Robust estimate: value and half width of its interval.
pub(in crate::consensus) fn estimate(seen: &[Seen]) -> Option<(i128, i128)> {
    let finest = seen.iter().map(|one| one.1).min()?;
    // How precise a source is against the finest one, at least a sixteenth.
    let relative = |one: &Seen| (finest * Q16 / one.1).clamp(Q16 / 16, Q16);
    let line = |one: &Seen| (one.2 * relative(one) / Q16).max(1);
    let square = |one: &Seen| (one.2 * (relative(one) * relative(one) / Q16) / Q16).max(1);
    let total: i128 = seen.iter().map(line).sum();
    let up_to = |at: i128| -> i128 { seen.iter().filter(|one| one.0 <= at).map(line).sum() };
    let values = || seen.iter().map(|one| one.0);
    let lower = values().filter(|&at| 2 * up_to(at) >= total).min()?;
    let mut value = lower;
    if 2 * up_to(lower) == total {
        let upper = values().filter(|&at| at > lower).min()?;
        value = (lower + upper) / 2;
    }
    for _ in 0..2 {
        let pull: i128 = seen
            .iter()
            .map(|one| square(one) * (one.0 - value).max(-2 * one.1).min(2 * one.1))
            .sum();
        let weight: i128 = seen.iter().map(square).sum();
        // To the nearest, halves away from zero.
        value += pull.signum() * ((pull.abs() + weight / 2) / weight);
    }
    let spread: i128 = seen
        .iter()
        .map(|one| one.2 * ((one.0 - value).abs() * Q16 / one.1).min(64 * Q16))
        .sum();
    let shares: i128 = seen.iter().map(|one| one.2).sum();
    let stretch = (spread / shares).max(Q16);
    let precision: i128 = seen.iter().map(square).sum();
    let root = (precision * Q16).isqrt();
    let half = finest * 246 * stretch / root;
    Some((value, half / 100 + i128::from(half % 100 > 0)))
}

#[test]
fn the_engine_agrees_with_the_plain_implementation_on_ten_thousand_cases() {
    let mut rng = Rng(16);
    let (mut judged, mut gold) = (0, 0);
    for number in 0..10_000 {
        let case = Case::draw(&mut rng);
        let result = infer_values(&ValueInput {
            items: case.items,
            labelers: case.labelers,
            scale: case.scale,
            votes: &case.votes,
            gold: &case.gold,
        })
        .unwrap();
        let rows = case.rows();
        for (row, &(bias, deviation)) in result.table.rows.iter().zip(&rows) {
            assert_eq!(
                (i128::from(row.bias), i128::from(row.deviation)),
                (bias, deviation),
                "case {number}"
            );
        }
        for (item, found) in (0u32..).zip(&result.items) {
            assert_eq!(*found, case.item(&rows, item), "case {number}, item {item}");
        }
        for (labeler, found) in (0u32..).zip(&result.labelers) {
            let expected = case.labeler(&rows, labeler);
            assert_eq!(*found, expected, "case {number}, labeler {labeler}");
            judged += u32::from(found.skill_ppm != 0);
        }
        gold += case.gold.len();
    }
    assert!(judged > 10_000 && gold > 3_000, "{judged} {gold}");
}
