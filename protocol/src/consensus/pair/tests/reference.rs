//! The whole of comparison inference once more, as plainly as possible: one vote after the other, wide numbers, nothing kept from one step
//! to the next. Compared with the engine on random crowds; the log posterior itself is checked by its slope.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::model::logistic;
use super::super::*;
use super::compare;
use crate::consensus::draw::Rng;

const Q: i128 = 65_536;

/// One vote: labeler, left, right, left's share, weight.
type Vote = (usize, usize, usize, i128, i128);

/// Division towards negative infinity.
fn floor(a: i128, b: i128) -> i128 {
    a.div_euclid(b)
}

fn sigma(odds: i128) -> i128 {
    i128::from(logistic(odds as i64))
}

/// Probability that left won, given the report.
fn won(p: i128, r: i128, share: i128) -> i128 {
    let case = |t: i128| p * t * Q / (p * t + (Q - p) * (Q - t));
    match share {
        Q => case(r),
        0 => case(Q - r),
        _ => (case(r) + case(Q - r)) / 2,
    }
}

#[derive(Clone)]
struct State {
    score: Vec<i128>,
    advantage: i128,
    reliability: Vec<i128>,
}

impl State {
    fn left(&self, left: usize, right: usize) -> i128 {
        sigma(self.score[left] - self.score[right] + self.advantage)
    }

    /// Expected wins of the left and the right object of each ordered pair.
    fn masses(&self, votes: &[Vote]) -> BTreeMap<(usize, usize), (i128, i128)> {
        let mut masses = BTreeMap::new();
        for &(labeler, left, right, share, weight) in votes {
            let credit = won(self.left(left, right), self.reliability[labeler], share);
            let mass: &mut (i128, i128) = masses.entry((left, right)).or_default();
            mass.0 += weight * credit / Q;
            mass.1 += weight - weight * credit / Q;
        }
        masses
    }

    /// Gradient and curvature of each score, and of the advantage.
    fn slopes(
        &self,
        masses: &BTreeMap<(usize, usize), (i128, i128)>,
    ) -> (Vec<(i128, i128)>, (i128, i128)) {
        let mut slopes: Vec<(i128, i128)> = self
            .score
            .iter()
            .map(|&score| (-floor(score * 4_096, Q), 4_096))
            .collect();
        let mut shared = (-floor(self.advantage * 4 * Q, Q), 4 * Q);
        for (&(left, right), &(won, lost)) in masses {
            let p = self.left(left, right);
            let expected = (won + lost) * p / Q;
            let curvature = expected * (Q - p) / Q;
            slopes[left].0 += won - expected;
            slopes[right].0 -= won - expected;
            shared.0 += won - expected;
            slopes[left].1 += curvature;
            slopes[right].1 += curvature;
            shared.1 += curvature;
        }
        (slopes, shared)
    }

    fn sweep(&mut self, masses: &BTreeMap<(usize, usize), (i128, i128)>, sided: bool, times: u32) {
        for _ in 0..times {
            let (slopes, shared) = self.slopes(masses);
            for (score, slope) in self.score.iter_mut().zip(slopes) {
                *score = moved(*score, slope);
            }
            if sided {
                self.advantage = moved(self.advantage, shared);
            }
        }
    }

    fn rely(&mut self, votes: &[Vote]) {
        let mut sums = vec![(0, 0); self.reliability.len()];
        for &(labeler, left, right, share, weight) in votes {
            let credit = won(self.left(left, right), self.reliability[labeler], share);
            if share == Q / 2 {
                continue;
            }
            let truthful = if share == Q { credit } else { Q - credit };
            sums[labeler].0 += weight * truthful / Q;
            sums[labeler].1 += weight;
        }
        let (right, all) = sums
            .iter()
            .fold((0, 0), |s, own| (s.0 + own.0, s.1 + own.1));
        let mean = if all == 0 {
            0
        } else {
            (right * Q / all).min(Q)
        }
        .clamp(Q / 2, 64_881);
        for (r, (right, all)) in self.reliability.iter_mut().zip(sums) {
            *r = ((right + 20 * mean) * Q / (all + 20 * Q)).clamp(Q / 100, Q - Q / 100);
        }
    }

    /// Expected information about the difference in each ordered pair, and about each object.
    fn information(&self, votes: &[Vote]) -> (BTreeMap<(usize, usize), i128>, Vec<i128>) {
        let mut cells = BTreeMap::new();
        let mut objects = vec![4_096; self.score.len()];
        for &(labeler, left, right, _, weight) in votes {
            let (p, r) = (self.left(left, right), self.reliability[labeler]);
            let slope = floor((2 * r - Q) * (p * (Q - p) / Q), Q);
            let report = (p * r + (Q - p) * (Q - r)) / Q;
            let value = slope * slope * Q / (report * (Q - report)).max(1) * weight / Q;
            *cells.entry((left, right)).or_insert(0) += value;
            objects[left] += value;
            objects[right] += value;
        }
        (cells, objects)
    }
}

fn moved(value: i128, (gradient, curvature): (i128, i128)) -> i128 {
    let step = (gradient * Q / curvature).clamp(-Q, Q) * 2 / 3;
    (value + step).clamp(-20 * Q, 20 * Q)
}

/// Votes with the weight that repetitions leave them.
fn votes_of(input: &PairInput<'_>) -> Vec<Vote> {
    let about = |vote: &Comparison| {
        (
            vote.labeler,
            vote.left.min(vote.right),
            vote.left.max(vote.right),
        )
    };
    let share = |vote: &Comparison| match vote.outcome {
        Outcome::Left => Q,
        Outcome::Right => 0,
        Outcome::Tie => Q / 2,
    };
    let weight = |vote: &Comparison| {
        Q / input
            .votes
            .iter()
            .filter(|o| about(o) == about(vote))
            .count() as i128
    };
    let plain = |vote: &Comparison| {
        (
            vote.labeler as usize,
            vote.left as usize,
            vote.right as usize,
            share(vote),
            weight(vote),
        )
    };
    input.votes.iter().map(plain).collect()
}

fn skills(votes: &[Vote], fit: &State, sided: bool) -> Vec<i128> {
    let labelers = fit.reliability.len();
    let present: Vec<usize> = (0..labelers)
        .filter(|&l| votes.iter().any(|vote| vote.0 == l))
        .collect();
    let fold_of = |labeler: usize| {
        present
            .iter()
            .position(|&l| l == labeler)
            .map(|place| place % 5)
    };
    (0..labelers)
        .map(|labeler| {
            let Some(fold) = fold_of(labeler) else {
                return 0;
            };
            let others: Vec<Vote> = votes
                .iter()
                .copied()
                .filter(|v| fold_of(v.0) != Some(fold))
                .collect();
            let mut view = State {
                score: vec![0; fit.score.len()],
                advantage: 0,
                reliability: fit.reliability.clone(),
            };
            for _ in 0..2 {
                let mut masses = view.masses(&others);
                for vote in votes {
                    masses.entry((vote.1, vote.2)).or_default();
                }
                view.sweep(&masses, sided, 8);
            }
            let (mut n, mut s, mut r, mut agreed, mut best) = (0, 0, 0, 0, 0);
            for &(_, left, right, share, weight) in votes.iter().filter(|vote| vote.0 == labeler) {
                let p = sigma(view.score[left] - view.score[right]);
                n += weight;
                s += weight * share / Q;
                r += weight * p / Q;
                agreed += weight * ((share * p + (Q - share) * (Q - p)) / Q) / Q;
                best += weight * p.max(Q - p) / Q;
            }
            let chance = s * r + (n - s) * (n - r);
            let below = n * (best + Q) - chance;
            if below <= 0 {
                0
            } else {
                ((n * agreed - chance) * 1_000_000 / below).clamp(-1_000_000, 1_000_000)
            }
        })
        .collect()
}

/// What [`infer_pairs`] has to give.
fn plain(input: &PairInput<'_>) -> PairResult {
    let votes = votes_of(input);
    let mut state = State {
        score: vec![0; input.objects as usize],
        advantage: 0,
        reliability: vec![52_429; input.labelers as usize],
    };
    for _ in 0..25 {
        let masses = state.masses(&votes);
        state.rely(&votes);
        state.sweep(&masses, input.sided, 4);
    }
    let (cells, information) = state.information(&votes);
    let inverse = |value: i128| (1i128 << 48) / value;
    let slopes = state.slopes(&state.masses(&votes)).0;
    let milli = |value: i128| (value * 1_000 / Q) as i64;
    let mut objects: Vec<ObjectResult> = (0..input.objects as usize)
        .map(|object| {
            let mut variance = inverse(information[object]);
            for (&(left, right), &value) in &cells {
                if left == object || right == object {
                    let share = (value * Q / information[object]).min(Q);
                    let other = information[left + right - object];
                    variance += (share * share * inverse(other)) >> 32;
                }
            }
            let own = input
                .votes
                .iter()
                .filter(|v| v.left as usize == object || v.right as usize == object);
            ObjectResult {
                score_milli: milli(moved(state.score[object], slopes[object])),
                half_width_milli: ((variance.isqrt() * 1_960) >> 16) as u64,
                rank: None,
                comparisons: own.count() as u32,
            }
        })
        .collect();
    for object in 0..objects.len() {
        let key = |o: usize| {
            (
                -objects[o].score_milli,
                -i64::from(objects[o].comparisons),
                o,
            )
        };
        let better = (0..objects.len())
            .filter(|&o| objects[o].comparisons > 0 && key(o) < key(object))
            .count();
        if objects[object].comparisons > 0 {
            objects[object].rank = Some(better as u32 + 1);
        }
    }
    let skills = skills(&votes, &state, input.sided);
    let labelers = (0..input.labelers as usize).map(|labeler| PairLabeler {
        votes: input
            .votes
            .iter()
            .filter(|vote| vote.labeler as usize == labeler)
            .count() as u32,
        skill_ppm: skills[labeler] as i64,
        reliability_ppm: (state.reliability[labeler] * 1_000_000 / Q) as u32,
    });
    let narrow = |list: &[i128]| list.iter().map(|&value| value as i64).collect();
    PairResult {
        objects,
        labelers: labelers.collect(),
        left_advantage_milli: milli(state.advantage),
        table: PairTable {
            score: narrow(&state.score),
            information: narrow(&information),
            reliability: state.reliability.iter().map(|&r| r as u32).collect(),
            advantage: state.advantage as i64,
        },
    }
}

#[test]
fn the_engine_agrees_with_a_plain_reference_on_ten_thousand_crowds() {
    let mut rng = Rng(1_952);
    let mut repeated = 0;
    for case in 0..10_000 {
        let (objects, labelers) = (2 + rng.below(4) as u32, 1 + rng.below(7) as u32);
        let count = rng.below(13);
        let votes: Vec<Comparison> = (0..count)
            .map(|_| {
                let left = rng.below(u64::from(objects)) as u32;
                let right = (left + 1 + rng.below(u64::from(objects) - 1) as u32) % objects;
                let outcome = [Outcome::Left, Outcome::Left, Outcome::Right, Outcome::Tie]
                    [rng.below(4) as usize];
                compare(rng.below(u64::from(labelers)) as u32, left, right, outcome)
            })
            .collect();
        let input = PairInput {
            objects,
            labelers,
            sided: case % 2 == 0,
            votes: &votes,
        };
        assert_eq!(
            infer_pairs(&input).unwrap(),
            plain(&input),
            "case {case}: {input:?}"
        );
        repeated += usize::from(votes_of(&input).iter().any(|vote| vote.4 < Q));
    }
    assert!(repeated > 2_000, "{repeated}");
}

/// Twice the log posterior in bits, Q16, up to a constant: of the reports, the scores and the advantage.
fn log_posterior(votes: &[Vote], state: &State) -> i128 {
    let bits =
        |p: i128| i128::from(crate::consensus::fixed::log2(p.max(1) as u64 * 4_096)) - 28 * Q;
    let reports = votes.iter().map(|&(labeler, left, right, share, weight)| {
        let (p, r) = (state.left(left, right), state.reliability[labeler]);
        let report = (p * r + (Q - p) * (Q - r)) / Q;
        2 * weight * (share * bits(report) + (Q - share) * bits(Q - report)) / Q / Q
    });
    // A squared Q16 number over Q16 times the precision; log2(e) is 94,548 / 65,536.
    let prior = state
        .score
        .iter()
        .map(|&score| score * score / Q * 4_096 / Q * 94_548 / Q);
    reports.sum::<i128>() - prior.sum::<i128>()
}

#[test]
fn no_single_score_can_be_moved_by_one_to_a_better_posterior() {
    let mut rng = Rng(12);
    let mut seen = 0;
    for _ in 0..200 {
        let objects = 5;
        let votes: Vec<Comparison> = (0..150)
            .map(|n| {
                let left = rng.below(objects) as u32;
                let right = (left + 1 + rng.below(objects - 1) as u32) % objects as u32;
                let p = logistic((i64::from(right) - i64::from(left)) << 15);
                let first = (rng.below(65_536) < u64::from(p)) == (rng.below(10) > 0);
                compare(
                    n % 6,
                    left,
                    right,
                    if first { Outcome::Left } else { Outcome::Right },
                )
            })
            .collect();
        let input = PairInput {
            objects: objects as u32,
            labelers: 6,
            sided: false,
            votes: &votes,
        };
        let table = infer_pairs(&input).unwrap().table;
        let votes = votes_of(&input);
        let state = State {
            score: table.score.iter().map(|&score| i128::from(score)).collect(),
            advantage: 0,
            reliability: table.reliability.iter().map(|&r| i128::from(r)).collect(),
        };
        let here = log_posterior(&votes, &state);
        // Rounds are counted: scores of objects that nearly always win may still be on their way, but not by a unit of log-odds.
        for object in 0..objects as usize {
            for step in [-Q, Q] {
                let mut other = state.clone();
                other.score[object] += step;
                assert!(
                    log_posterior(&votes, &other) < here,
                    "object {object}, step {step}"
                );
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 2_000);
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Left),
        Just(Outcome::Right),
        Just(Outcome::Tie)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_comparisons_make_the_engine_panic(
        votes in proptest::collection::vec((0u32..6, 0u32..7, 0u32..7, outcome()), 0..60),
        objects in 0u32..7,
        labelers in 0u32..6,
        sided: bool,
    ) {
        let votes: Vec<Comparison> = votes.into_iter().map(|(l, a, b, o)| compare(l, a, b, o)).collect();
        if let Ok(result) = infer_pairs(&PairInput { objects, labelers, sided, votes: &votes }) {
            prop_assert!(result.objects.iter().all(|object| object.score_milli.abs() <= 20_000));
            prop_assert!(result.labelers.iter().all(|labeler| labeler.skill_ppm.abs() <= 1_000_000));
        }
    }

    #[test]
    fn no_orders_make_the_engine_panic(
        orders in proptest::collection::vec((0u32..4, proptest::collection::vec(0u32..7, 0..6)), 0..12),
        objects in 0u32..7,
        labelers in 0u32..4,
    ) {
        let votes: Vec<Ranking<'_>> =
            orders.iter().map(|(labeler, order)| Ranking { labeler: *labeler, order }).collect();
        let _ = infer_rankings(&RankingInput { objects, labelers, votes: &votes });
    }

    #[test]
    fn no_table_makes_the_engine_panic(
        score in proptest::collection::vec(any::<i32>(), 3),
        information in proptest::collection::vec(any::<i64>(), 3),
        reliability in proptest::collection::vec(0u32..70_000, 2),
        advantage: i32,
        object in 0u32..4,
        winner in outcome(),
    ) {
        let score = score.into_iter().map(|score| i64::from(score) >> 8).collect();
        let table = PairTable { score, information, reliability, advantage: i64::from(advantage) >> 8 };
        let votes = [compare(0, 0, 1, winner), compare(1, 2, 1, Outcome::Left)];
        let input = PairInput { objects: 3, labelers: 2, sided: true, votes: &votes };
        let _ = object_from_table(&table, &input, object);
    }
}
