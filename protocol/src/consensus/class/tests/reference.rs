//! A second, plain implementation of the experts: dense tables and nested loops, sharing only the fixed-point primitives.

use std::collections::BTreeMap;

use super::super::correlation::{
    self, DOUBT_PAIRS, Excess, FREE_EXCESS_Q16, FULL_EXCESS_Q16, PRIOR_PAIRS, SHARED_Q16,
    SLOPE_TENTHS, SPREAD, STEP_MAX_Q16, STEP_Q16,
};
use super::super::counts::{ACCURACY_STRENGTH, MATRIX_STRENGTH};
use super::super::habits::OWN_PART;
use super::super::model::{EXPERTS, PLAIN, ROUNDS, SHAPES, Shape};
use super::super::verdict::{self, CORRELATION_STEPS_MAX, LAPSE};
use super::super::votes::{ClassInput, Index, Vote};
use super::super::voting::Voting;
use super::super::{ClassTable, fit_experts, infer_class, item_from_table, majority};
use super::{Habit, Plan, Rng, mixed_habits};
use crate::consensus::fixed::{ONE, log2, normalise, ratio};

struct Case {
    items: usize,
    labelers: usize,
    classes: usize,
    votes: Vec<Vote>,
    gold: BTreeMap<u32, u16>,
    cluster: Vec<Option<u32>>,
    clusters: usize,
}

impl Case {
    fn draw(rng: &mut Rng) -> Self {
        let (items, labelers) = (rng.below(9) as usize, 1 + rng.below(6) as usize);
        let classes = 2 + rng.below(4) as usize;
        let density = 1 + rng.below(100);
        let clusters = rng.below(3) as usize;
        let mut case = Self {
            items,
            labelers,
            classes,
            votes: Vec::new(),
            gold: BTreeMap::new(),
            cluster: vec![None; labelers],
            clusters,
        };
        for item in 0..items as u32 {
            if rng.percent(15) {
                case.gold.insert(item, rng.below(classes as u64) as u16);
            }
            let favourite = rng.below(classes as u64) as u16;
            for labeler in 0..labelers as u32 {
                if rng.percent(density) {
                    let label = if rng.percent(60) {
                        favourite
                    } else {
                        rng.below(classes as u64) as u16
                    };
                    case.votes.push(Vote {
                        item,
                        labeler,
                        label,
                    });
                }
            }
        }
        for cluster in case.cluster.iter_mut() {
            if clusters > 0 && rng.percent(50) {
                *cluster = Some(rng.below(clusters as u64) as u32);
            }
        }
        rng.shuffle(&mut case.votes);
        case
    }

    fn on_item(&self, item: usize) -> impl Iterator<Item = &Vote> {
        self.votes
            .iter()
            .filter(move |vote| vote.item as usize == item)
    }

    fn same_cluster(&self, left: &Vote, right: &Vote) -> bool {
        left.labeler == right.labeler
            || (self.cluster[left.labeler as usize].is_some()
                && self.cluster[left.labeler as usize] == self.cluster[right.labeler as usize])
    }

    fn weight(&self, vote: &Vote) -> u32 {
        let item = vote.item as usize;
        ONE / self
            .on_item(item)
            .filter(|other| self.same_cluster(vote, other))
            .count() as u32
    }

    fn one_hot(&self, item: usize) -> Option<Vec<u32>> {
        let label = *self.gold.get(&(item as u32))?;
        Some(
            (0..self.classes)
                .map(|class| if class == usize::from(label) { ONE } else { 0 })
                .collect(),
        )
    }

    /// Vote shares, leaving out the cluster of `without`.
    fn shares(&self, item: usize, without: Option<&Vote>) -> Vec<u32> {
        if let Some(row) = self.one_hot(item) {
            return row;
        }
        let counted: Vec<&Vote> = self
            .on_item(item)
            .filter(|vote| without.is_none_or(|other| !self.same_cluster(vote, other)))
            .collect();
        let total: u64 = counted
            .iter()
            .map(|vote| u64::from(self.weight(vote)))
            .sum();
        let share = |class: usize| {
            let votes = counted
                .iter()
                .filter(|vote| usize::from(vote.label) == class);
            votes.map(|vote| u64::from(self.weight(vote))).sum::<u64>()
        };
        if total == 0 && without.is_none() {
            return vec![ratio(1, self.classes as u64); self.classes];
        }
        (0..self.classes)
            .map(|class| ratio(share(class), total))
            .collect()
    }

    /// All rounds of an expert.
    fn fit(&self, shape: Shape) -> Fitted {
        let k = self.classes;
        let one = u64::from(ONE);
        let mut q: Vec<Vec<u32>> = (0..self.items)
            .map(|item| self.shares(item, None))
            .collect();
        // What each vote learns from.
        let clustered = |vote: &Vote| self.cluster[vote.labeler as usize].is_some();
        let mut lesson: Vec<Vec<u32>> = self
            .votes
            .iter()
            .map(|vote| self.shares(vote.item as usize, clustered(vote).then_some(vote)))
            .collect();
        let mut sums: Vec<Vec<i64>> = Vec::new();
        let mut right_shares = Vec::new();
        let mut differ = false;
        for _ in 0..ROUNDS {
            // count[labeler][class][label]
            let mut count = vec![vec![vec![0u64; k]; k]; self.labelers];
            for (vote, row) in self.votes.iter().zip(&lesson) {
                for class in 0..k {
                    count[vote.labeler as usize][class][usize::from(vote.label)] +=
                        u64::from(row[class]);
                }
            }
            let right_of =
                |table: &Vec<Vec<u64>>| (0..k).map(|class| table[class][class]).sum::<u64>();
            let total_of = |table: &Vec<Vec<u64>>| table.iter().flatten().sum::<u64>();
            let right: u64 = count.iter().map(right_of).sum();
            let total: u64 = count.iter().map(total_of).sum();
            let crowd = u64::from(ratio(2 * right + one, 2 * total + 2 * one));
            let accuracy: Vec<u64> = count
                .iter()
                .map(|table| {
                    let value = ratio(
                        right_of(table) + ACCURACY_STRENGTH * crowd,
                        total_of(table) + ACCURACY_STRENGTH * one,
                    );
                    u64::from(value).clamp(1, one - 1)
                })
                .collect();
            let mut wrong = vec![vec![one / (k as u64 - 1); k]; k];
            for class in 0..k {
                for label in 0..k {
                    wrong[class][label] +=
                        count.iter().map(|table| table[class][label]).sum::<u64>();
                }
                wrong[class][class] = 0;
            }
            let evidence = |vote: &Vote, class: usize| {
                let labeler = vote.labeler as usize;
                let label = usize::from(vote.label);
                let a = accuracy[labeler];
                let log = if shape.matrix {
                    let common = u64::from(ratio(wrong[class][label], wrong[class].iter().sum()));
                    let pooled = if class == label {
                        a
                    } else {
                        ((one - a) * common / one).max(1)
                    };
                    if !shape.own_rows {
                        return (log2(pooled) - log2(one)) * i64::from(self.weight(vote))
                            / i64::from(ONE);
                    }
                    let row: u64 = count[labeler][class].iter().sum();
                    log2(count[labeler][class][label] + MATRIX_STRENGTH * pooled)
                        - log2(row + MATRIX_STRENGTH * one)
                } else if class == label {
                    log2(a * (k as u64 - 1)) - log2(one - a)
                } else {
                    0
                };
                log * i64::from(self.weight(vote)) / i64::from(ONE)
            };
            let prior: Vec<i64> = (0..k)
                .map(|class| {
                    let mass =
                        |class: usize| one + q.iter().map(|row| u64::from(row[class])).sum::<u64>();
                    if shape.class_prior {
                        log2(mass(class)) - log2((0..k).map(mass).sum())
                    } else {
                        0
                    }
                })
                .collect();
            let log_posterior = |item: usize, without: Option<&Vote>| -> Vec<i64> {
                let counted: Vec<&Vote> = self
                    .on_item(item)
                    .filter(|vote| without.is_none_or(|other| !self.same_cluster(vote, other)))
                    .collect();
                (0..k)
                    .map(|class| {
                        prior[class]
                            + counted
                                .iter()
                                .map(|vote| evidence(vote, class))
                                .sum::<i64>()
                    })
                    .collect()
            };
            let posterior = |item: usize, without: Option<&Vote>| {
                if let Some(row) = self.one_hot(item) {
                    return row;
                }
                let alone = |other: &Vote| {
                    self.on_item(item)
                        .all(|vote| self.same_cluster(vote, other))
                };
                if without.is_some_and(alone) {
                    return vec![0; k];
                }
                let mut row = vec![0; k];
                normalise(&mut log_posterior(item, without), &mut row);
                row
            };
            let rights = count.iter().zip(&accuracy).map(|(table, &a)| {
                let share = |class: usize| {
                    let row: u64 = table[class].iter().sum();
                    ratio(
                        table[class][class] + MATRIX_STRENGTH * a,
                        row + MATRIX_STRENGTH * one,
                    )
                };
                (0..k).map(share).collect::<Vec<u32>>()
            });
            right_shares = rights.collect();
            differ = self.habits_differ(&count, &accuracy, crowd, &wrong);
            q = (0..self.items).map(|item| posterior(item, None)).collect();
            sums = (0..self.items)
                .map(|item| log_posterior(item, None))
                .collect();
            lesson = self
                .votes
                .iter()
                .map(|vote| posterior(vote.item as usize, clustered(vote).then_some(vote)))
                .collect();
        }
        Fitted {
            q,
            sums,
            right_shares,
            differ,
        }
    }

    /// Whether labelers have habits of their own: sums over labelers and labels, in so many words.
    fn habits_differ(
        &self,
        count: &[Vec<Vec<u64>>],
        accuracy: &[u64],
        crowd: u64,
        wrong: &[Vec<u64>],
    ) -> bool {
        let (k, one) = (self.classes, u64::from(ONE));
        let (mut beyond, mut whole) = (0i128, 0i128);
        for labeler in 0..self.labelers {
            let given = self.votes.iter().filter(|v| v.labeler as usize == labeler);
            if given.count() < k {
                continue;
            }
            let (mut squares, mut variance) = (0i128, 0i128);
            for label in 0..k {
                let mut miss = 0i128;
                for class in 0..k {
                    let all: u64 = count.iter().flat_map(|table| &table[class]).sum();
                    let right: u64 = count.iter().map(|table| table[class][class]).sum();
                    let crowds = u64::from(ratio(all - right + one, all + 2 * one));
                    let error = (crowds * (one - accuracy[labeler]) / (one - crowd)).min(one);
                    let common = ratio(wrong[class][label], wrong[class].iter().sum());
                    let share = if class == label {
                        one - error
                    } else {
                        error * u64::from(common) / one
                    };
                    let row: u64 = count[labeler][class].iter().sum();
                    let expected = row * share / one;
                    miss += i128::from(count[labeler][class][label]) - i128::from(expected);
                    variance += i128::from(expected) * i128::from(one - share);
                }
                squares += miss * miss;
            }
            let votes: u64 = count[labeler].iter().flatten().sum();
            beyond += squares - variance;
            whole += i128::from(votes) * variance / i128::from(one);
        }
        beyond * (k as i128 - 1) * OWN_PART >= whole
    }

    /// The median of three rows, class by class, scaled to sum to one.
    fn median(rows: [&Vec<u32>; EXPERTS]) -> Vec<u32> {
        let middle: Vec<u64> = (0..rows[0].len())
            .map(|class| {
                let mut values = rows.map(|row| row[class]);
                values.sort_unstable();
                u64::from(values[1]) + 1
            })
            .collect();
        let factor = (1u64 << 47) / middle.iter().sum::<u64>();
        let mut out: Vec<u32> = middle.iter().map(|v| ((v * factor) >> 31) as u32).collect();
        top_up(&mut out);
        out
    }

    /// How far votes share their errors: every ordered pair of votes outside clusters, every class, in so many words.
    fn excess(&self, right: &[Vec<u32>], rows: &[Vec<u32>]) -> ([i128; 2], Excess) {
        let one = i128::from(ONE);
        let (mut excess, mut pairs) = (0i128, 0i128);
        for (item, row) in rows.iter().enumerate() {
            let alone = |vote: &&Vote| self.cluster[vote.labeler as usize].is_none();
            let votes: Vec<&Vote> = self.on_item(item).filter(alone).collect();
            for (i, left) in votes.iter().enumerate() {
                for (j, other) in votes.iter().enumerate() {
                    if i == j {
                        continue;
                    }
                    for class in 0..self.classes {
                        let p = |vote: &Vote| i128::from(right[vote.labeler as usize][class]);
                        let sd = |vote: &Vote| (p(vote) * (one - p(vote))).isqrt();
                        let miss = |vote: &Vote| {
                            if usize::from(vote.label) == class {
                                one - p(vote)
                            } else {
                                -p(vote)
                            }
                        };
                        let q = row[class];
                        let q = i128::from(q - q / SPREAD + ONE / (SPREAD * self.classes as u32));
                        excess += miss(left) * miss(other) * q;
                        pairs += sd(left) * sd(other) * q;
                    }
                }
            }
        }
        let after = |prior: u32, already: u32| {
            let prior = i128::from(prior) * one * one;
            let shown = excess + prior * i128::from(already);
            (shown.max(0) / ((pairs + prior * one) / one)).min(one) as u32
        };
        let used = Excess {
            doubted: after(DOUBT_PAIRS, FULL_EXCESS_Q16),
            shown: after(PRIOR_PAIRS, 0),
        };
        ([excess, pairs], used)
    }

    /// The calibrated row of an item.
    fn calibrated(&self, item: usize, correlation: u32, sums: [&Vec<i64>; EXPERTS]) -> Vec<u32> {
        if let Some(row) = self.one_hot(item) {
            return row;
        }
        let weights: u64 = self
            .on_item(item)
            .map(|vote| u64::from(self.weight(vote)))
            .sum();
        let one = u128::from(ONE);
        let steps = (self.classes as u128 - 1).min(u128::from(CORRELATION_STEPS_MAX));
        let beyond = u128::from(weights).saturating_sub(one) * steps * u128::from(correlation);
        let scale = (one << 32) / (one + beyond / one);
        let rows = sums.map(|logs| {
            let top = *logs.iter().max().unwrap();
            let mut scaled: Vec<i64> = logs
                .iter()
                .map(|&log| -((((top - log) as u128 * scale) >> 32).min(1 << 40) as i64))
                .collect();
            let mut row = vec![0; logs.len()];
            normalise(&mut scaled, &mut row);
            row
        });
        let mut out = Self::median([&rows[0], &rows[1], &rows[2]]);
        for q in &mut out {
            *q = *q - *q / LAPSE + ONE / (LAPSE * self.classes as u32);
        }
        top_up(&mut out);
        out
    }
}

/// What all rounds of an expert leave behind.
struct Fitted {
    /// Posteriors of every item after all rounds.
    q: Vec<Vec<u32>>,
    /// The log posteriors that they come from.
    sums: Vec<Vec<i64>>,
    /// P(class | class) of each labeler in the last tables.
    right_shares: Vec<Vec<u32>>,
    /// Whether the last tables show labelers with habits of their own.
    differ: bool,
}

/// Gives what is missing to one (or too much) to the largest entry, the first among equals.
fn top_up(row: &mut [u32]) {
    let missing = i64::from(ONE) - row.iter().map(|&q| i64::from(q)).sum::<i64>();
    let top = *row.iter().max().unwrap();
    let best = row.iter().position(|&q| q == top).unwrap();
    row[best] = (i64::from(row[best]) + missing) as u32;
}

#[test]
fn ten_thousand_small_cases_agree_with_the_plain_implementation() {
    let mut rng = Rng(11);
    let (mut clustered, mut plain_cases) = (0, 0);
    let mut excesses = std::collections::BTreeSet::new();
    for case_number in 0..10_000 {
        let case = Case::draw(&mut rng);
        let input = ClassInput {
            items: case.items as u32,
            labelers: case.labelers as u32,
            classes: case.classes as u16,
            votes: &case.votes,
            gold: &case.gold,
            priors: &[],
        };
        let index = Index::new(&input).unwrap();
        let voting = if case.clusters > 0 {
            clustered += 1;
            Voting::clustered(&index, case.cluster.clone(), case.clusters)
        } else {
            Voting::independent(&index)
        };
        // Few of the small cases are read in two ways by themselves.
        let forced = (case_number % 4 == 0).then_some(true);
        let (mut readings, excess) = fit_experts(&index, &voting, forced);
        let [a, b, c] = SHAPES.map(|shape| case.fit(shape));
        let median = |of: [&Fitted; EXPERTS]| -> Vec<Vec<u32>> {
            let row = |item: usize| Case::median(of.map(|fitted| &fitted.q[item]));
            (0..case.items).map(row).collect()
        };
        let rows = median([&a, &b, &c]);
        let (sums, expected) = case.excess(&a.right_shares, &rows);
        assert_eq!(excess, expected, "case {case_number}");
        let found = correlation::sums(&index, &voting, &readings[0]);
        assert_eq!(found, sums, "case {case_number}");
        excesses.insert(sums);
        let plain = excess.shown >= SHARED_Q16 && !a.differ;
        plain_cases += u32::from(plain);
        let plain = forced.unwrap_or(plain);
        assert_eq!(readings.len(), if plain { 2 } else { 1 }, "{case_number}");
        let (a, b) = if plain {
            (case.fit(PLAIN), case.fit(PLAIN))
        } else {
            (a, b)
        };
        let experts = readings.pop().unwrap();
        let rows = verdict::sharp(&index, &voting, &experts, 1);
        let k = case.classes;
        for (item, expected) in median([&a, &b, &c]).iter().enumerate() {
            assert_eq!(
                rows[item * k..(item + 1) * k],
                *expected,
                "case {case_number}, item {item}"
            );
        }
        let correlation = excess.step();
        let above = excess.doubted.min(FULL_EXCESS_Q16);
        let above = above.saturating_sub(FREE_EXCESS_Q16);
        let base = STEP_Q16 * above / (FULL_EXCESS_Q16 - FREE_EXCESS_Q16);
        let expected = (base + excess.shown * SLOPE_TENTHS / 10).min(STEP_MAX_Q16);
        assert_eq!(correlation, expected);
        let calibrated = verdict::calibrate(&index, &voting, &experts, correlation);
        let table = ClassTable::new(index, &voting, experts, correlation);
        assert_eq!(table.correlation(), correlation);
        for (item, row) in calibrated.chunks_exact(case.classes).enumerate() {
            let expected = case.calibrated(
                item,
                correlation,
                [&a.sums[item], &b.sums[item], &c.sums[item]],
            );
            assert_eq!(row, expected, "case {case_number}, item {item}");
            if !case.gold.contains_key(&(item as u32)) {
                let votes: Vec<(u32, u16)> = case
                    .on_item(item)
                    .map(|vote| (vote.labeler, vote.label))
                    .collect();
                assert_eq!(item_from_table(&table, &votes).as_deref(), Some(row));
            }
        }
    }
    assert!(clustered > 5_000);
    assert!((50..9_950).contains(&plain_cases), "{plain_cases} plain");
    let different = excesses.len();
    assert!(different > 1_000, "{different} different excesses");
}

#[test]
fn the_order_of_votes_changes_nothing() {
    let mut rng = Rng(5);
    let habits = mixed_habits();
    for redundancy in [3, 5] {
        let plan = Plan {
            items: 300,
            classes: 10,
            redundancy,
            majority_percent: 10,
            gold_percent: 7,
            habits: &habits,
        };
        let mut crowd = super::Crowd::draw(&plan, &mut rng);
        let first = crowd.infer();
        for _ in 0..10 {
            rng.shuffle(&mut crowd.votes);
            assert_eq!(crowd.infer(), first);
        }
    }
}

#[test]
fn a_result_keeps_its_bytes_over_versions() {
    let mut rng = Rng(2_026);
    let habits = [
        vec![Habit::Right(90); 6],
        vec![Habit::Sheet; 3],
        vec![Habit::Uniform],
    ]
    .concat();
    let plan = Plan {
        items: 120,
        classes: 4,
        redundancy: 6,
        majority_percent: 40,
        gold_percent: 10,
        habits: &habits,
    };
    let crowd = super::Crowd::draw(&plan, &mut rng);
    let result = crowd.infer();
    assert_eq!(result.clusters, [[6, 7, 8]]);
    let mut hasher = blake3::Hasher::new();
    for item in 0..crowd.items {
        for q in result.posteriors_of(item).unwrap() {
            hasher.update(&q.to_le_bytes());
        }
    }
    for labeler in &result.labelers {
        hasher.update(&labeler.skill_ppm.to_le_bytes());
        hasher.update(&labeler.spammer_ppm.to_le_bytes());
        hasher.update(&labeler.agreement_ppm.to_le_bytes());
    }
    assert_eq!(
        hasher.finalize().to_hex().as_str(),
        "39afabf92f802ee8dfc1d9b92d28d284f7c436a834db0d654d1eed276d742920"
    );
}

#[test]
fn a_million_votes_fit_in_one_run() {
    let mut rng = Rng(77);
    let (items, labelers) = (200_000u32, 2_000u32);
    let mut votes = Vec::new();
    let mut truth = Vec::new();
    for item in 0..items {
        let class = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3][rng.below(10) as usize];
        truth.push(class);
        let first = rng.below(u64::from(labelers)) as u32;
        let stride = 1 + rng.below(390) as u32;
        for step in 0..5 {
            let labeler = (first + step * stride) % labelers;
            let label = match labeler % 10 {
                0..=6 if rng.percent(80) => class,
                9 if rng.percent(70) => 1,
                _ => rng.below(4) as u16,
            };
            votes.push(Vote {
                item,
                labeler,
                label,
            });
        }
    }
    let gold = BTreeMap::new();
    let input = ClassInput {
        items,
        labelers,
        classes: 4,
        votes: &votes,
        gold: &gold,
        priors: &[],
    };
    let result = infer_class(&input).unwrap();
    let plain = majority(&input).unwrap();
    let right = truth
        .iter()
        .zip(&result.items)
        .filter(|(class, item)| item.label == Some(**class))
        .count();
    let right_plain = truth
        .iter()
        .zip(&plain)
        .filter(|(class, label)| **label == Some(**class))
        .count();
    println!("a million votes: majority {right_plain}, network {right} of {items}");
    assert!(right > right_plain + 6_000);
    assert!(result.clusters.is_empty(), "{:?}", result.clusters);
}
