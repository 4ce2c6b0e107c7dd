//! Tests of comparison inference: the published set where it is available, seeded crowds, and the edges of the input.

#![allow(
    clippy::disallowed_methods,
    reason = "one test reads files that cannot be part of the project; the core itself performs no IO"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod reference;

use super::model::logistic;
use super::*;
use crate::consensus::draw::Rng;

fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("ASSAY_DATA") {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    folder.is_dir().then_some(folder)
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

fn compare(labeler: u32, left: u32, right: u32, outcome: Outcome) -> Comparison {
    Comparison {
        labeler,
        left,
        right,
        outcome,
    }
}

fn infer_list(objects: u32, labelers: u32, votes: &[Comparison]) -> PairResult {
    infer_pairs(&PairInput {
        objects,
        labelers,
        sided: false,
        votes,
    })
    .unwrap()
}

/// Concordant minus discordant pairs, in thousandths of all pairs; object 0 is truly best.
fn kendall_milli(objects: &[ObjectResult]) -> i64 {
    let (mut sum, mut pairs) = (0, 0);
    for (better, first) in objects.iter().enumerate() {
        for second in &objects[better + 1..] {
            pairs += 1;
            sum += (first.score_milli - second.score_milli).signum();
        }
    }
    sum * 1000 / pairs
}

#[test]
fn real_comparisons_are_ordered_as_well_as_by_the_best_published_method() {
    let Some(folder) = folder()
        .map(|folder| folder.join("spv_a"))
        .filter(|f| f.is_dir())
    else {
        println!(
            "SKIPPED: no real comparisons found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    let items = rows(&folder.join("items.csv"));
    let objects: BTreeMap<&str, u32> = items.iter().map(|r| r[0].as_str()).zip(0..).collect();
    let mut labelers = BTreeMap::new();
    let votes: Vec<Comparison> = rows(&folder.join("labels.csv"))
        .iter()
        .map(|row| {
            let next = labelers.len() as u32;
            let labeler = *labelers.entry(row[1].clone()).or_insert(next);
            let (left, right) = row[0].split_once('|').unwrap();
            let outcome = if row[2] == left {
                Outcome::Left
            } else {
                Outcome::Right
            };
            compare(labeler, objects[left], objects[right], outcome)
        })
        .collect();
    let result = infer_list(objects.len() as u32, labelers.len() as u32, &votes);
    let score = |name: &str| result.objects[objects[name] as usize].score_milli;
    let truth = rows(&folder.join("truth.csv"));
    let right = truth
        .iter()
        .filter(|row| {
            let (left, other) = row[0].split_once('|').unwrap();
            (score(left) > score(other)) == (row[1] == left)
        })
        .count();
    // Spearman without ties: 1 - 6 sum d^2 / (n (n^2 - 1)).
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&i| -items[i][2].parse::<i64>().unwrap());
    let n = items.len() as i64;
    let squares: i64 = order
        .iter()
        .zip(1..)
        .map(|(&i, place): (_, i64)| {
            let rank = i64::from(
                result.objects[objects[items[i][0].as_str()] as usize]
                    .rank
                    .unwrap(),
            );
            (rank - place).pow(2)
        })
        .sum();
    let spearman = 10_000 - 60_000 * squares / (n * (n * n - 1));
    let pairs = right * 10_000 / truth.len();
    let skills: Vec<i64> = result.labelers.iter().map(|l| l.skill_ppm).collect();
    println!(
        "spv_a: {} votes, pairs right {pairs} and Spearman {spearman} of 10,000, left advantage {}, mean skill {}",
        votes.len(),
        result.left_advantage_milli,
        skills.iter().sum::<i64>() / skills.len() as i64
    );
    assert!(pairs >= 6_500, "{pairs}");
    assert!(spearman >= 6_500, "{spearman}");
}

#[test]
fn the_logistic_function_is_antisymmetric_and_never_certain() {
    for odds in (-30i64 << 16..30 << 16).step_by(4_099) {
        assert_eq!(logistic(odds) + logistic(-odds), ONE);
        assert!(logistic(odds) > 0 && logistic(odds) < ONE);
        assert!(logistic(odds) <= logistic(odds + 4_099));
    }
    assert_eq!(logistic(0), ONE / 2);
    // 1 / (1 + e^-1) = 0.731059
    assert!(logistic(1 << 16).abs_diff(47_911) <= 2);
}

#[test]
fn twenty_objects_with_a_hundred_noisy_comparisons_each_are_put_in_order() {
    let (seeds, mut good, mut covered, mut all) = (100, 0, 0, 0);
    let mut taus = Vec::new();
    for seed in 0..seeds {
        let mut rng = Rng(seed);
        let mut votes = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        // 20 objects x 100 comparisons, each counted at both ends; one answer in five is wrong.
        while votes.len() < 1_000 {
            let (left, right) = (rng.below(20) as u32, rng.below(20) as u32);
            let labeler = rng.below(25) as u32;
            if left == right || !seen.insert((labeler, left.min(right), left.max(right))) {
                continue;
            }
            let first = (left < right) != (rng.below(100) < 20);
            let outcome = if first { Outcome::Left } else { Outcome::Right };
            votes.push(compare(labeler, left, right, outcome));
        }
        let tau = kendall_milli(&infer_list(20, 25, &votes).objects);
        taus.push(tau);
        good += u64::from(tau >= 850);

        // The same size with answers drawn from the model: do the intervals hold the true differences from the mean?
        let mut votes = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let truth = |object: u32| (i64::from(object) * 2 - 19) * 6_000;
        while votes.len() < 1_000 {
            let (left, right) = (rng.below(20) as u32, rng.below(20) as u32);
            let labeler = rng.below(25) as u32;
            if left == right || !seen.insert((labeler, left.min(right), left.max(right))) {
                continue;
            }
            let p = u64::from(logistic(truth(left) - truth(right)));
            let truthful = rng.below(100) < 90;
            let first = (rng.below(65_536) < p) == truthful;
            let outcome = if first { Outcome::Left } else { Outcome::Right };
            votes.push(compare(labeler, left, right, outcome));
        }
        for (object, result) in infer_list(20, 25, &votes).objects.iter().enumerate() {
            all += 1;
            let error = result.score_milli - truth(object as u32) * 1000 / i64::from(ONE);
            covered += u64::from(error.unsigned_abs() <= result.half_width_milli);
        }
    }
    taus.sort_unstable();
    println!(
        "Kendall tau of 1,000 over {seeds} seeds: 5th percentile {}, median {}; intervals hold {covered} of {all}",
        taus[5], taus[50]
    );
    assert!(good * 100 >= seeds * 95, "{good} of {seeds}");
    assert!(covered * 100 >= all * 85, "{covered} of {all}");
}

#[test]
fn random_and_one_sided_labelers_have_no_skill_on_average_and_honest_ones_do() {
    let mut sums = [0i64; 4];
    let mut counts = [0i64; 4];
    let mut all_random = (0i64, 0i64);
    for seed in 0..200 {
        let mut rng = Rng(1_000 + seed);
        let mut votes = Vec::new();
        // Labelers 0-11 honest, 12-15 random, 16-17 always left, 18-19 contrary; 20 votes each about 12 objects.
        for labeler in 0..20u32 {
            let mut pairs: Vec<(u32, u32)> = (0..12)
                .flat_map(|a| (a + 1..12).map(move |b| (a, b)))
                .collect();
            for _ in 0..20 {
                let (a, b) = pairs.swap_remove(rng.below(pairs.len() as u64) as usize);
                let (left, right) = if rng.below(2) == 0 { (a, b) } else { (b, a) };
                let right_answer = (left < right) == (rng.below(100) < 85);
                let first = match labeler {
                    0..12 => right_answer,
                    12..16 => rng.below(2) == 0,
                    16 | 17 => true,
                    _ => !right_answer,
                };
                let outcome = if first { Outcome::Left } else { Outcome::Right };
                votes.push(compare(labeler, left, right, outcome));
            }
        }
        let result = infer_list(12, 20, &votes);
        for (labeler, judged) in result.labelers.iter().enumerate() {
            let kind = [0, 1, 2, 3][match labeler {
                0..12 => 0,
                12..16 => 1,
                16 | 17 => 2,
                _ => 3,
            }];
            sums[kind] += judged.skill_ppm;
            counts[kind] += 1;
        }
        // A crowd in which nobody looks.
        for vote in &mut votes {
            vote.outcome = if rng.below(2) == 0 {
                Outcome::Left
            } else {
                Outcome::Right
            };
        }
        for judged in &infer_list(12, 20, &votes).labelers {
            all_random.0 += judged.skill_ppm;
            all_random.1 += 1;
        }
    }
    let means: Vec<i64> = sums
        .iter()
        .zip(counts)
        .map(|(sum, count)| sum / count)
        .collect();
    let noise = all_random.0 / all_random.1;
    println!(
        "mean skill: honest {}, random {}, always left {}, contrary {}; all random {noise}",
        means[0], means[1], means[2], means[3]
    );
    assert!(means[0] > 400_000);
    assert!(means[1].abs() < 30_000);
    assert!(means[2].abs() < 10_000);
    assert!(means[3] < -400_000);
    assert!(noise.abs() < 15_000);
}

#[test]
fn the_order_of_the_votes_changes_nothing_and_one_object_can_be_recomputed() {
    let mut rng = Rng(5);
    for _ in 0..50 {
        let (objects, labelers) = (2 + rng.below(8) as u32, 1 + rng.below(6) as u32);
        let mut votes = Vec::new();
        for labeler in 0..labelers {
            for left in 0..objects {
                for right in left + 1..objects {
                    let outcome = match rng.below(5) {
                        0 => continue,
                        1 => Outcome::Tie,
                        2 => Outcome::Right,
                        _ => Outcome::Left,
                    };
                    let flip = rng.below(2) == 0;
                    votes.push(if flip {
                        compare(labeler, right, left, outcome)
                    } else {
                        compare(labeler, left, right, outcome)
                    });
                }
            }
        }
        let result = infer_list(objects, labelers, &votes);
        let full = votes.clone();
        for i in (1..votes.len()).rev() {
            votes.swap(i, rng.below(i as u64 + 1) as usize);
        }
        assert_eq!(result, infer_list(objects, labelers, &votes));
        for object in 0..objects {
            let own: Vec<Comparison> = full
                .iter()
                .copied()
                .filter(|vote| vote.left == object || vote.right == object)
                .collect();
            let input = PairInput {
                objects,
                labelers,
                sided: false,
                votes: &own,
            };
            let mut again = object_from_table(&result.table, &input, object).unwrap();
            again.rank = result.objects[object as usize].rank;
            assert_eq!(again, result.objects[object as usize]);
        }
    }
}

#[test]
fn separate_groups_and_objects_that_always_win_stay_finite() {
    let mut votes = Vec::new();
    for labeler in 0..40 {
        votes.push(compare(labeler, 0, 1, Outcome::Left));
        votes.push(compare(labeler, 3, 2, Outcome::Right));
    }
    let result = infer_list(6, 40, &votes);
    let scores: Vec<i64> = result.objects.iter().map(|o| o.score_milli).collect();
    assert!(scores[0] > 500 && scores[0] < 20_000, "{scores:?}");
    assert!((scores[0] + scores[1]).abs() < 500 && scores[2] > scores[3]);
    assert_eq!((scores[4], result.objects[4].rank), (0, None));
    assert!(result.objects[4].half_width_milli > result.objects[0].half_width_milli);
    let empty = infer_list(0, 0, &[]);
    assert!(empty.objects.is_empty() && empty.labelers.is_empty());
    let ties: Vec<Comparison> = (0..9).map(|l| compare(l, 0, 1, Outcome::Tie)).collect();
    let tied = infer_list(2, 9, &ties);
    assert_eq!(tied.objects[0].score_milli, tied.objects[1].score_milli);
    assert!(tied.labelers.iter().all(|l| l.skill_ppm == 0));
}

#[test]
fn orders_are_read_as_their_comparisons() {
    let order = [3, 1, 0, 2];
    let other = [3, 1, 2, 0];
    let mut votes: Vec<Ranking<'_>> = (0..10)
        .map(|labeler| Ranking {
            labeler,
            order: &order,
        })
        .collect();
    votes.push(Ranking {
        labeler: 0,
        order: &other,
    });
    let input = RankingInput {
        objects: 4,
        labelers: 10,
        votes: &votes,
    };
    let result = infer_rankings(&input).unwrap();
    let ranks: Vec<u32> = result.objects.iter().map(|o| o.rank.unwrap()).collect();
    assert_eq!(ranks, [3, 2, 4, 1]);
    assert_eq!(result.labelers[0].votes, 2);
    assert!(result.labelers.iter().all(|l| l.skill_ppm > 300_000));
    let twice = [1, 1];
    let wrong = [Ranking {
        labeler: 0,
        order: &twice,
    }];
    let error = infer_rankings(&RankingInput {
        votes: &wrong,
        ..input
    })
    .unwrap_err();
    assert_eq!(
        error,
        ConsensusError::SelfComparison {
            index: 0,
            object: 1
        }
    );
}

#[test]
fn wrong_input_is_refused_with_its_position() {
    let refuse = |votes: &[Comparison]| {
        infer_pairs(&PairInput {
            objects: 3,
            labelers: 2,
            sided: false,
            votes,
        })
        .unwrap_err()
    };
    let fine = compare(0, 0, 1, Outcome::Left);
    assert_eq!(
        refuse(&[fine, compare(0, 2, 2, Outcome::Tie)]),
        ConsensusError::SelfComparison {
            index: 1,
            object: 2
        }
    );
    assert_eq!(
        refuse(&[compare(0, 0, 3, Outcome::Left)]),
        ConsensusError::ItemOutOfRange {
            index: 0,
            item: 3,
            items: 3
        }
    );
    assert_eq!(
        refuse(&[compare(2, 0, 1, Outcome::Left)]),
        ConsensusError::LabelerOutOfRange {
            index: 0,
            labeler: 2,
            labelers: 2
        }
    );
}

#[test]
fn repeating_a_comparison_adds_no_weight() {
    let once: Vec<Comparison> = vec![
        compare(0, 0, 1, Outcome::Left),
        compare(1, 0, 1, Outcome::Right),
    ];
    let mut often = once.clone();
    often.extend([once[0]; 7]);
    let (once, often) = (infer_list(2, 2, &once), infer_list(2, 2, &often));
    assert_eq!(once.objects[0].score_milli, often.objects[0].score_milli);
    assert_eq!(often.labelers[0].votes, 8);
}

#[test]
fn an_advantage_of_the_left_side_is_found_where_sides_were_shown() {
    let mut rng = Rng(77);
    let mut votes = Vec::new();
    for labeler in 0..60 {
        for _ in 0..20 {
            let left = rng.below(10) as u32;
            let right = (left + 1 + rng.below(9) as u32) % 10;
            // 1 / (1 + e^-1) of the answers name the left object, whatever it is.
            let outcome = if rng.below(1_000) < 731 {
                Outcome::Left
            } else {
                Outcome::Right
            };
            votes.push(compare(labeler, left, right, outcome));
        }
    }
    let shown = PairInput {
        objects: 10,
        labelers: 60,
        sided: true,
        votes: &votes,
    };
    let result = infer_pairs(&shown).unwrap();
    assert!(
        result.left_advantage_milli > 600,
        "{}",
        result.left_advantage_milli
    );
    let named = PairInput {
        sided: false,
        ..shown
    };
    assert_eq!(infer_pairs(&named).unwrap().left_advantage_milli, 0);
}
