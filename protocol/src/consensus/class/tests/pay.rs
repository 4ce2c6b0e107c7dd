//! Strategies that try to be paid without looking at the items, against honest work in the same crowds.

use super::super::{Vote, infer_class};
use super::{Crowd, Habit, Plan, Rng};
use crate::consensus::{PayRule, pay};

/// Full pay of one vote, in base units.
const PRICE: u128 = 1_000_000;

/// Pay in parts per million of full pay.
fn pay_ppm(votes: u32, skill_ppm: i64) -> i64 {
    let wage = pay(&PayRule::with_price(PRICE), u64::from(votes), skill_ppm);
    (wage.earned as i64 - wage.lost as i64) / i64::from(votes.max(1))
}

/// The most frequent label of the others on an item, ties by smallest label.
fn visible_majority(votes: &[Vote], item: u32, classes: u16) -> Option<u16> {
    let mut counts = vec![0u32; usize::from(classes)];
    for vote in votes.iter().filter(|vote| vote.item == item) {
        counts[usize::from(vote.label)] += 1;
    }
    let top = *counts.iter().max()?;
    (top > 0).then(|| counts.iter().position(|&count| count == top).unwrap_or(0) as u16)
}

#[test]
fn opposite_sybils_earn_nothing_and_followers_no_more_than_being_right() {
    // Labelers 0 to 8 are honest, 9 copies the visible majority, 10 and 11 always give different labels drawn blindly,
    // 12 is always right.
    let habits = vec![Habit::Right(88); 9];
    let (mut grand_pair, mut grand_follower, mut cells) = (0, 0, 0);
    for classes in [2u16, 4, 10] {
        for majority_percent in [50, 75, 95] {
            for (votes, crowds) in [(5u32, 300u64), (20, 120), (100, 24)] {
                let (mut follower, mut pair, mut honest, mut perfect) = (0i64, 0i64, 0i64, 0i64);
                for seed in 0..crowds {
                    let mut rng = Rng(seed * 7_001 + u64::from(votes));
                    let plan = Plan {
                        items: votes * 3,
                        classes,
                        redundancy: 4,
                        majority_percent,
                        gold_percent: 8,
                        habits: &habits,
                    };
                    let mut crowd = Crowd::draw(&plan, &mut rng);
                    let seen = crowd.votes.clone();
                    for item in 0..votes {
                        if let Some(label) = visible_majority(&seen, item, classes) {
                            crowd.votes.push(Vote {
                                item,
                                labeler: 9,
                                label,
                            });
                        }
                        let item = votes + item;
                        let first = rng.below(u64::from(classes)) as u16;
                        let other =
                            (first + 1 + rng.below(u64::from(classes) - 1) as u16) % classes;
                        crowd.votes.push(Vote {
                            item,
                            labeler: 10,
                            label: first,
                        });
                        crowd.votes.push(Vote {
                            item,
                            labeler: 11,
                            label: other,
                        });
                        let item = votes + item;
                        let label = crowd.truth[item as usize];
                        crowd.votes.push(Vote {
                            item,
                            labeler: 12,
                            label,
                        });
                    }
                    crowd.habits.extend([Habit::Uniform; 4]);
                    let result = infer_class(&crowd.input()).unwrap();
                    let wage = |labeler: usize| {
                        let labeler = &result.labelers[labeler];
                        pay_ppm(labeler.votes, labeler.skill_ppm)
                    };
                    follower += wage(9);
                    perfect += wage(12);
                    pair += wage(10) + wage(11);
                    honest += (0..9).map(wage).sum::<i64>() / 9;
                }
                let [follower, pair, honest, perfect] =
                    [follower, pair, honest, perfect].map(|sum| sum / crowds as i64);
                println!(
                    "{classes:>2} classes, {majority_percent} %, {votes:>3} votes: follower {follower}, opposite pair {pair}, honest {honest}, always right {perfect}"
                );
                // The spread of one wage is about half of full pay at five votes, less with more: three standard errors.
                assert!(pair <= 110_000, "{pair}");
                // Who sees the votes before committing can copy the majority, and the majority is more often right than one labeler of
                // 88 %: sealed votes are the defence. But it never pays more than being right does.
                assert!(follower <= perfect + 110_000, "{follower} {perfect}");
                grand_follower += follower - perfect;
                grand_pair += pair;
                cells += 1;
            }
        }
    }
    println!(
        "over all cells: opposite pair {}, follower less always right {}",
        grand_pair / cells,
        grand_follower / cells
    );
    assert!(grand_follower / cells <= 20_000);
    assert!(grand_pair / cells <= 20_000);
}
