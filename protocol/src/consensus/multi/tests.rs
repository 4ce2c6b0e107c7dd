use std::collections::BTreeMap;

use super::*;
use crate::consensus::draw::Rng;

/// How a simulated labeler fills a set.
#[derive(Clone, Copy)]
enum Habit {
    /// Finds each true label and leaves each wrong one out with these probabilities in per cent.
    Able(u64, u64),
    /// Always the same set.
    Constant(&'static [u16]),
    /// Each label by its frequency.
    Frequencies,
    /// Each label by the toss of a coin.
    Coin,
}

/// Frequencies of the labels in per cent.
const COMMON: [u64; 6] = [60, 40, 25, 15, 8, 5];

struct Crowd {
    habits: Vec<Habit>,
    truth: Vec<Vec<u16>>,
    votes: Vec<MultiVote>,
}

impl Crowd {
    fn draw(habits: &[Habit], items: u32, k: usize, rng: &mut Rng) -> Self {
        let by_frequency = |rng: &mut Rng| -> Vec<u16> {
            (0..6)
                .filter(|&l| rng.percent(COMMON[usize::from(l)]))
                .collect()
        };
        let mut crowd = Self {
            habits: habits.to_vec(),
            truth: Vec::new(),
            votes: Vec::new(),
        };
        for item in 0..items {
            let truth = by_frequency(rng);
            for labeler in rng.some_of(k, habits.len()) {
                let labels = match habits[labeler as usize] {
                    Habit::Able(find, leave) => (0..6)
                        .filter(|label| {
                            if truth.contains(label) {
                                rng.percent(find)
                            } else {
                                !rng.percent(leave)
                            }
                        })
                        .collect(),
                    Habit::Constant(set) => set.to_vec(),
                    Habit::Frequencies => by_frequency(rng),
                    Habit::Coin => (0..6).filter(|_| rng.percent(50)).collect(),
                };
                crowd.votes.push(MultiVote {
                    item,
                    labeler,
                    labels,
                });
            }
            crowd.truth.push(truth);
        }
        crowd
    }

    fn infer(&self, gold: &BTreeMap<u32, Vec<u16>>) -> MultiResult {
        infer_multi(&MultiInput {
            items: self.truth.len() as u32,
            labelers: self.habits.len() as u32,
            labels: 6,
            votes: &self.votes,
            gold,
            priors: &[],
        })
        .unwrap()
    }

    /// True positives, wrong labels and missed labels of one guess per item.
    fn compare(&self, guess: impl Fn(u32) -> Vec<u16>) -> [u64; 3] {
        let mut counts = [0; 3];
        for (item, truth) in (0u32..).zip(&self.truth) {
            let guess = guess(item);
            let hits = guess.iter().filter(|label| truth.contains(label)).count();
            counts[0] += hits as u64;
            counts[1] += (guess.len() - hits) as u64;
            counts[2] += (truth.len() - hits) as u64;
        }
        counts
    }

    fn votes_of(&self, item: u32) -> Vec<MultiVote> {
        let of_item = self.votes.iter().filter(|vote| vote.item == item);
        of_item.cloned().collect()
    }
}

/// F1 in tenths of a per cent.
fn f1([hits, wrong, missed]: [u64; 3]) -> u64 {
    2_000 * hits / (2 * hits + wrong + missed).max(1)
}

const LAZY: [Habit; 4] = [
    Habit::Constant(&[]),
    Habit::Constant(&[0, 1]),
    Habit::Frequencies,
    Habit::Coin,
];

#[test]
fn sets_are_better_than_the_majority_of_each_label_and_than_one_labeler() {
    let able = [
        Habit::Able(85, 95),
        Habit::Able(70, 97),
        Habit::Able(90, 85),
    ];
    let habits: Vec<Habit> = able.iter().cycle().take(12).chain(&LAZY).copied().collect();
    println!(
        "multi-label, 300 items, 6 labels, 12 able + 4 lazy labelers, micro F1 in per cent, 10 seeds"
    );
    println!("{:>3} {:>8} {:>9} {:>8}", "k", "single", "majority", "ours");
    for k in [3, 5, 7] {
        let mut sums = [[0u64; 3]; 3];
        for seed in 0..10 {
            let mut rng = Rng(seed + 100 * k as u64);
            let crowd = Crowd::draw(&habits, 300, k, &mut rng);
            let result = crowd.infer(&BTreeMap::new());
            let majority = |item| {
                let votes = crowd.votes_of(item);
                let count = |label| votes.iter().filter(|v| v.labels.contains(&label)).count();
                (0..6)
                    .filter(|&label| 2 * count(label) > votes.len())
                    .collect()
            };
            let results = [
                crowd.compare(|item| crowd.votes_of(item)[0].labels.clone()),
                crowd.compare(majority),
                crowd.compare(|item| result.items[item as usize].labels.clone()),
            ];
            for (sum, counts) in sums.iter_mut().zip(results) {
                (0..3).for_each(|part| sum[part] += counts[part]);
            }
        }
        let [single, majority, ours] = sums.map(f1);
        let tenths = |value: u64| format!("{}.{}", value / 10, value % 10);
        println!(
            "{k:>3} {:>8} {:>9} {:>8}",
            tenths(single),
            tenths(majority),
            tenths(ours)
        );
        assert!(
            ours > majority + 10 && ours > single + 50,
            "{k}: {ours} {majority} {single}"
        );
    }
}

#[test]
fn lazy_sets_earn_nothing_and_able_ones_do() {
    let habits: Vec<Habit> = [Habit::Able(88, 96); 12]
        .iter()
        .chain(&LAZY)
        .copied()
        .collect();
    let (mut lazy, mut able) = ([0i64; 4], 0i64);
    let seeds = 40;
    for seed in 0..seeds {
        let crowd = Crowd::draw(&habits, 120, 4, &mut Rng(seed));
        let result = crowd.infer(&BTreeMap::new());
        for (sum, labeler) in lazy.iter_mut().zip(&result.labelers[12..]) {
            *sum += labeler.skill_ppm;
        }
        let of_able = &result.labelers[..12];
        able += of_able.iter().map(|labeler| labeler.skill_ppm).sum::<i64>() / 12;
    }
    let lazy = lazy.map(|sum| sum / seeds as i64);
    println!(
        "multi-label: mean skill of always nothing, always two labels, frequencies, coin: {lazy:?}; able: {}",
        able / seeds as i64
    );
    assert_eq!(
        lazy[..2],
        [0, 0],
        "constant sets have no skill in any crowd"
    );
    // About 30 votes on 6 labels: one wave scatters by 0.08, the mean over the seeds by 0.013.
    assert!(lazy.iter().all(|&skill| skill < 40_000), "{lazy:?}");
    assert!(able / seeds as i64 > 600_000);
}

#[test]
fn one_item_follows_from_its_votes_and_the_table_and_order_changes_nothing() {
    let habits: Vec<Habit> = [Habit::Able(85, 93); 6]
        .iter()
        .chain(&LAZY)
        .copied()
        .collect();
    let mut rng = Rng(5);
    let mut crowd = Crowd::draw(&habits, 60, 5, &mut rng);
    let gold = BTreeMap::from([(3, crowd.truth[3].clone()), (7, crowd.truth[7].clone())]);
    let result = crowd.infer(&gold);
    for item in (0..60).filter(|item| !gold.contains_key(item)) {
        let again = multi_item_from_table(&result.table, &crowd.votes_of(item));
        assert_eq!(result.items[item as usize], again);
    }
    assert_eq!(result.items[3].labels, crowd.truth[3]);
    assert_eq!(result.items[3].posterior, ONE);
    for vote in &mut crowd.votes {
        rng.shuffle(&mut vote.labels);
    }
    rng.shuffle(&mut crowd.votes);
    assert_eq!(result, crowd.infer(&gold));
}

#[test]
fn bad_sets_are_named() {
    let vote = |item, labeler, labels: &[u16]| MultiVote {
        item,
        labeler,
        labels: labels.to_vec(),
    };
    let infer = |labels, votes: &[MultiVote], gold: &[(u32, Vec<u16>)]| {
        infer_multi(&MultiInput {
            items: 2,
            labelers: 2,
            labels,
            votes,
            gold: &gold.iter().cloned().collect(),
            priors: &[],
        })
    };
    assert_eq!(
        infer(3, &[vote(0, 0, &[1]), vote(0, 1, &[2, 2])], &[]),
        Err(ConsensusError::RepeatedLabel { index: 1, label: 2 })
    );
    assert_eq!(
        infer(3, &[vote(0, 0, &[3])], &[]),
        Err(ConsensusError::LabelOutOfRange {
            index: 0,
            label: 3,
            classes: 3
        })
    );
    assert!(matches!(
        infer(3, &[vote(1, 0, &[]), vote(1, 0, &[])], &[]),
        Err(ConsensusError::DuplicateVote {
            first: 0,
            second: 1,
            ..
        })
    ));
    assert!(matches!(
        infer(0, &[], &[]),
        Err(ConsensusError::Classes { .. })
    ));
    assert!(matches!(
        infer(3, &[], &[(2, vec![])]),
        Err(ConsensusError::BadGold { item: 2, .. })
    ));
    let empty = infer(3, &[], &[]).unwrap();
    assert_eq!(
        (empty.items[0].posterior, empty.labelers[1].skill_ppm),
        (0, 0)
    );
}
