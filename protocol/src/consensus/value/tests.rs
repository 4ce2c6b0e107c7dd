pub(in crate::consensus) mod reference;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::consensus::draw::Rng;

/// How a simulated labeler reads.
#[derive(Clone, Copy)]
enum Habit {
    /// Offset and standard deviation.
    Able(i64, i64),
    Uniform,
    Constant(i64),
    /// A draw from the distribution of true values.
    Frequencies,
}

struct Crowd {
    scale: ValueScale,
    labelers: u32,
    truth: Vec<i64>,
    votes: Vec<ValueVote>,
}

impl Crowd {
    /// True values are normal around `centre` with deviation `spread`, cut to the scale.
    fn draw(
        scale: ValueScale,
        (centre, spread): (i64, i64),
        habits: &[Habit],
        items: u32,
        k: usize,
        rng: &mut Rng,
    ) -> Self {
        let on_scale = |value: i64| {
            let inside = value.clamp(scale.min, scale.max) - scale.min;
            scale.min + (inside + scale.step / 2) / scale.step * scale.step
        };
        let mut crowd = Self {
            scale,
            labelers: habits.len() as u32,
            truth: Vec::new(),
            votes: Vec::new(),
        };
        for item in 0..items {
            let truth = on_scale(centre + rng.normal(spread));
            for labeler in rng.some_of(k, habits.len()) {
                let value = match habits[labeler as usize] {
                    Habit::Able(offset, sd) => truth + offset + rng.normal(sd),
                    Habit::Uniform => {
                        scale.min + rng.below((scale.max - scale.min + 1) as u64) as i64
                    }
                    Habit::Constant(value) => value,
                    Habit::Frequencies => centre + rng.normal(spread),
                };
                crowd.votes.push(ValueVote {
                    item,
                    labeler,
                    value: on_scale(value),
                });
            }
            crowd.truth.push(truth);
        }
        crowd
    }

    fn infer(&self, gold: &BTreeMap<u32, i64>) -> ValueResult {
        infer_values(&ValueInput {
            items: self.truth.len() as u32,
            labelers: self.labelers,
            scale: self.scale,
            votes: &self.votes,
            gold,
        })
        .unwrap()
    }

    /// Summed absolute errors, in hundredths, of a random labeler, the mean, the median and the inferred value.
    fn errors(&self, result: &ValueResult) -> [i64; 4] {
        let mut sums = [0; 4];
        for of_item in self.votes.chunk_by(|a, b| a.item == b.item) {
            let item = of_item[0].item as usize;
            let mut values: Vec<i64> = of_item.iter().map(|vote| 100 * vote.value).collect();
            let single = values[0];
            values.sort_unstable();
            let mean = values.iter().sum::<i64>() / values.len() as i64;
            let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2;
            let ours = 100 * result.items[item].value.unwrap();
            for (sum, guess) in sums.iter_mut().zip([single, mean, median, ours]) {
                *sum += (guess - 100 * self.truth[item]).abs();
            }
        }
        sums
    }
}

fn habits(able: &[(i64, i64, usize)], lazy: &[Habit]) -> Vec<Habit> {
    let able = able
        .iter()
        .flat_map(|&(offset, sd, count)| vec![Habit::Able(offset, sd); count]);
    able.chain(lazy.iter().copied()).collect()
}

const NUMBERS: ValueScale = ValueScale {
    min: 0,
    max: 10_000,
    step: 1,
    tolerance: 100,
};
const STARS: ValueScale = ValueScale {
    min: 100,
    max: 900,
    step: 100,
    tolerance: 50,
};

#[test]
fn values_beat_the_mean_the_median_and_a_single_labeler() {
    let lazy = [
        Habit::Uniform,
        Habit::Uniform,
        Habit::Constant(5_000),
        Habit::Frequencies,
    ];
    let mixed = [(0, 100, 4), (0, 300, 4), (400, 200, 3), (-400, 200, 3)];
    let cases = [
        (
            "numbers, able only",
            NUMBERS,
            (5_000, 1_500),
            habits(&mixed, &[]),
        ),
        (
            "numbers, 14 able + 4 lazy",
            NUMBERS,
            (5_000, 1_500),
            habits(&mixed, &lazy),
        ),
        (
            "numbers, equal labelers",
            NUMBERS,
            (5_000, 1_500),
            habits(&[(0, 200, 14)], &[]),
        ),
        (
            "rating 1-9, 12 able + 3 lazy",
            STARS,
            (500, 180),
            habits(
                &[(0, 60, 5), (80, 90, 4), (-80, 90, 3)],
                &[Habit::Uniform, Habit::Constant(500), Habit::Frequencies],
            ),
        ),
    ];
    println!(
        "{:<30} {:>2} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "mean absolute error", "k", "single", "mean", "median", "ours", "interval"
    );
    for (name, scale, truth, habits) in &cases {
        for k in [3, 5, 7] {
            let (mut sums, mut inside, mut items) = ([0; 4], 0, 0);
            for seed in 0..10 {
                let crowd = Crowd::draw(
                    *scale,
                    *truth,
                    habits,
                    200,
                    k,
                    &mut Rng(seed * 31 + k as u64),
                );
                let result = crowd.infer(&BTreeMap::new());
                for (sum, error) in sums.iter_mut().zip(crowd.errors(&result)) {
                    *sum += error;
                }
                for (item, &truth) in result.items.iter().zip(&crowd.truth) {
                    inside += u32::from((item.low..=item.high).contains(&truth));
                    items += 1;
                }
            }
            let mean = sums.map(|sum| sum / i64::from(items));
            let show = |value: i64| format!("{}.{:02}", value / 100, value % 100);
            println!(
                "{name:<30} {k:>2} {:>9} {:>9} {:>9} {:>9} {:>7} %",
                show(mean[0]),
                show(mean[1]),
                show(mean[2]),
                show(mean[3]),
                inside * 100 / items
            );
            assert!(mean[3] < mean[0], "{name} {k}: {mean:?}");
            if *name == "numbers, equal labelers" {
                // The mean is the best there is for equal normal errors.
                assert!(mean[3] * 100 <= mean[1] * 108, "{name} {k}: {mean:?}");
            } else {
                assert!(
                    mean[3] < mean[1] && mean[3] < mean[2],
                    "{name} {k}: {mean:?}"
                );
            }
            assert!(
                inside * 100 >= items * 88,
                "{name} {k}: {inside} of {items} inside"
            );
        }
    }
}

#[test]
fn lazy_values_earn_nothing_and_able_ones_do() {
    let lazy = [
        Habit::Constant(5_000),
        Habit::Constant(0),
        Habit::Uniform,
        Habit::Frequencies,
    ];
    let habits = habits(&[(0, 300, 8), (100, 200, 4)], &lazy);
    for votes in [5, 20, 60] {
        let (mut skill, mut able) = ([0i64; 4], 0i64);
        let seeds = 600 / i64::from(votes);
        for seed in 0..seeds {
            let crowd = Crowd::draw(
                NUMBERS,
                (5_000, 1_500),
                &habits,
                votes * 4,
                4,
                &mut Rng(seed as u64),
            );
            let result = crowd.infer(&BTreeMap::new());
            for (sum, labeler) in skill.iter_mut().zip(&result.labelers[12..]) {
                assert!(labeler.skill_ppm <= 1_000_000);
                *sum += labeler.skill_ppm;
            }
            // In every single wave, not only on average.
            assert!(result.labelers[12].skill_ppm <= 0 && result.labelers[13].skill_ppm <= 0);
            able += result.labelers[..12]
                .iter()
                .map(|l| l.skill_ppm)
                .sum::<i64>()
                / 12;
        }
        let skill = skill.map(|sum| sum / seeds);
        println!(
            "values, {votes} votes each: mean skill of constant middle, constant end, uniform, frequencies: {skill:?}; able {}",
            able / seeds
        );
        assert!(skill.iter().all(|&mean| mean <= 0), "{skill:?}");
        assert!(able / seeds > 500_000);
    }
}

#[test]
fn offsets_and_precision_are_found() {
    let habits = habits(&[(0, 50, 5), (300, 100, 5), (-300, 100, 5)], &[]);
    let crowd = Crowd::draw(NUMBERS, (5_000, 1_500), &habits, 600, 5, &mut Rng(8));
    let rows = crowd.infer(&BTreeMap::new()).table.rows;
    for (labeler, row) in rows.iter().enumerate() {
        let (offset, sd) = [(0, 50), (300, 100), (-300, 100)][labeler / 5];
        let (bias, deviation) = (row.bias / 256, row.deviation / 256);
        println!(
            "labeler {labeler}: offset {bias} (true {offset}), deviation {deviation} (true {})",
            sd * 80 / 100
        );
        assert!((bias - offset).abs() < 60, "{labeler}: {bias}");
        assert!(
            (sd / 3..sd * 3 / 2).contains(&deviation),
            "{labeler}: {deviation}"
        );
    }
}

#[test]
fn gold_clamps_its_item_and_judges_those_who_answered_it() {
    let votes = [(0, 0, 10), (0, 1, 90), (1, 0, 20), (1, 1, 80)];
    let votes: Vec<ValueVote> = votes
        .iter()
        .map(|&(item, labeler, value)| ValueVote {
            item,
            labeler,
            value,
        })
        .collect();
    let gold = BTreeMap::from([(0, 10), (1, 20)]);
    let result = infer_values(&ValueInput {
        items: 3,
        labelers: 2,
        scale: ValueScale {
            min: 0,
            max: 100,
            step: 1,
            tolerance: 0,
        },
        votes: &votes,
        gold: &gold,
    })
    .unwrap();
    assert_eq!(
        (result.items[0].value, result.items[0].posterior),
        (Some(10), ONE)
    );
    assert_eq!(result.items[2], ValueItem::default());
    assert_eq!(
        (result.labelers[0].skill_ppm, result.labelers[0].gold_seen),
        (1_000_000, 2)
    );
    assert_eq!(result.labelers[1].skill_ppm, -1_000_000);
}

#[test]
fn bad_values_are_named() {
    let infer = |scale, votes: &[(u32, u32, i64)]| {
        let votes: Vec<ValueVote> = votes
            .iter()
            .map(|&(item, labeler, value)| ValueVote {
                item,
                labeler,
                value,
            })
            .collect();
        infer_values(&ValueInput {
            items: 2,
            labelers: 300,
            scale,
            votes: &votes,
            gold: &BTreeMap::new(),
        })
        .map(|_| ())
    };
    assert_eq!(
        infer(STARS, &[(0, 0, 100), (0, 1, 150)]),
        Err(ConsensusError::ValueOutOfRange {
            index: 1,
            value: 150,
            min: 100,
            max: 900,
            step: 100
        })
    );
    assert!(matches!(
        infer(STARS, &[(2, 0, 100)]),
        Err(ConsensusError::ItemOutOfRange { .. })
    ));
    assert!(matches!(
        infer(STARS, &[(0, 300, 100)]),
        Err(ConsensusError::LabelerOutOfRange { .. })
    ));
    assert!(matches!(
        infer(STARS, &[(0, 3, 100), (0, 3, 100)]),
        Err(ConsensusError::DuplicateVote { .. })
    ));
    for scale in [
        ValueScale {
            min: 5,
            max: 5,
            step: 1,
            tolerance: 0,
        },
        ValueScale {
            min: 0,
            max: 10,
            step: 3,
            tolerance: 0,
        },
        ValueScale {
            min: 0,
            max: 10,
            step: 0,
            tolerance: 0,
        },
        ValueScale {
            min: 0,
            max: i64::MAX,
            step: 1,
            tolerance: 0,
        },
        ValueScale {
            min: 0,
            max: 10,
            step: 1,
            tolerance: 11,
        },
    ] {
        assert!(matches!(
            infer(scale, &[]),
            Err(ConsensusError::Scale { .. })
        ));
    }
    let many: Vec<_> = (0..256).map(|labeler| (1, labeler, 100)).collect();
    assert!(matches!(
        infer(STARS, &many),
        Err(ConsensusError::TooManyOnItem { item: 1, .. })
    ));
    assert!(infer(STARS, &many[1..]).is_ok());
}

#[test]
fn the_ends_of_the_widest_scale_do_not_overflow() {
    let scale = ValueScale {
        min: -MAX_VALUE,
        max: MAX_VALUE,
        step: 1,
        tolerance: 0,
    };
    let votes: Vec<ValueVote> = (0..40)
        .flat_map(|item| {
            (0..255).map(move |labeler| ValueVote {
                item,
                labeler,
                value: if (item + labeler) % 2 == 0 {
                    MAX_VALUE
                } else {
                    -MAX_VALUE
                },
            })
        })
        .collect();
    let input = ValueInput {
        items: 40,
        labelers: 255,
        scale,
        votes: &votes,
        gold: &BTreeMap::new(),
    };
    let result = infer_values(&input).unwrap();
    assert!(result.items.iter().all(|item| item.value.is_some()));
}

/// The weighted median by definition: the least weighted distance, straight from the list.
fn plain_cost(readings: &[Reading], at: i64) -> i128 {
    let distance = |r: &Reading| i128::from(r.value.abs_diff(at)) * i128::from(r.share);
    readings.iter().map(distance).sum()
}

proptest! {
    #[test]
    fn estimates_lie_between_the_readings_ignore_order_and_mirror(
        values in proptest::collection::vec((-1_000_000i64..1_000_000, 1u64..50_000), 1..12),
        seed: u64,
    ) {
        let mut readings: Vec<Reading> = values
            .iter()
            .map(|&(value, deviation)| Reading { value, deviation, share: ONE })
            .collect();
        let first = robust::estimate(&mut readings).unwrap();
        prop_assert!(readings[0].value <= first.value && first.value <= readings[readings.len() - 1].value);
        let mut mirrored: Vec<Reading> =
            readings.iter().map(|r| Reading { value: -r.value, ..*r }).collect();
        Rng(seed).shuffle(&mut readings);
        prop_assert_eq!(robust::estimate(&mut readings).unwrap(), first);
        let mirror = robust::estimate(&mut mirrored).unwrap();
        prop_assert_eq!(mirror.half_width, first.half_width);
        // With balanced weights the middle is exact; else the median is one reading, mirrored the same one.
        prop_assert!((mirror.value + first.value).abs() <= 1);
    }

    #[test]
    fn far_liars_move_the_estimate_by_no_more_than_the_others_spread(
        honest in proptest::collection::vec(-1_000i64..1_000, 3..9),
        liar in 1_000_000i64..1_000_000_000,
    ) {
        let reading = |value| Reading { value, deviation: 500, share: ONE };
        let mut readings: Vec<Reading> = honest.iter().copied().map(reading).collect();
        readings.push(reading(liar));
        let value = robust::estimate(&mut readings).unwrap().value;
        // Two Huber steps of at most two deviations of 500 each.
        prop_assert!((-1_000..=3_000).contains(&value), "{}", value);
    }

    #[test]
    fn the_median_has_the_least_weighted_distance(
        values in proptest::collection::vec(-1_000i64..1_000, 1..10),
    ) {
        // Equal deviations so small that the Huber steps cannot move far: what remains is the median.
        let mut readings: Vec<Reading> = values
            .iter()
            .map(|&value| Reading { value: value * 1_000, deviation: 1, share: ONE })
            .collect();
        let value = robust::estimate(&mut readings).unwrap().value;
        let best = readings.iter().map(|r| plain_cost(&readings, r.value)).min().unwrap();
        prop_assert!(plain_cost(&readings, value) <= best + i128::from(ONE) * 10 * 4);
    }

    #[test]
    fn any_crowd_gives_items_that_follow_from_the_table_in_any_order(
        seed: u64, items in 1u32..20, k in 1usize..6,
    ) {
        let habits = habits(&[(0, 300, 4), (200, 100, 2)], &[Habit::Uniform, Habit::Constant(100)]);
        let mut crowd = Crowd::draw(STARS, (500, 200), &habits, items, k, &mut Rng(seed));
        let gold = BTreeMap::from([(0, crowd.truth[0])]);
        let result = crowd.infer(&gold);
        for of_item in crowd.votes.chunk_by(|a, b| a.item == b.item) {
            let item = of_item[0].item;
            if item != 0 {
                prop_assert_eq!(result.items[item as usize], item_from_table(&result.table, of_item));
            }
        }
        Rng(seed).shuffle(&mut crowd.votes);
        prop_assert_eq!(result, crowd.infer(&gold));
    }
}
