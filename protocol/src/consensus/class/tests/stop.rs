//! The stopping rule: what it must never do, what each of its parts is for, and a whole adaptive run.

use super::super::{ClassResult, StoppingRule, Vote, infer_class};
use super::{Crowd, Habit, Plan, Rng};
use crate::consensus::ClassInput;
use crate::consensus::fixed::ONE;

/// 0.80, 0.95 and 0.99.
const TARGETS: [u32; 3] = [52_429, 62_259, 64_881];

/// Votes left of which the tests that are about odds have no shortage.
const MANY: u16 = 100;

/// Votes left as in an ordinary task.
const FEW: u16 = 3;

fn wants_more(result: &ClassResult, item: u32, votes: &[(u32, u16)], target: u32) -> bool {
    StoppingRule::new(result, target).wants_more(item, votes, MANY)
}

fn crowd(seed: u64, classes: u16, habits: &[Habit], gold_percent: u64) -> Crowd {
    let plan = Plan {
        items: 200,
        classes,
        redundancy: 5,
        majority_percent: 100 / u64::from(classes),
        gold_percent,
        habits,
    };
    Crowd::draw(&plan, &mut Rng(seed))
}

fn votes_of(votes: &[Vote], item: u32) -> Vec<(u32, u16)> {
    let of_item = votes.iter().filter(|vote| vote.item == item);
    of_item.map(|vote| (vote.labeler, vote.label)).collect()
}

fn wanted(crowd: &Crowd, result: &ClassResult, target: u32) -> Vec<u32> {
    (0..crowd.items)
        .filter(|&item| wants_more(result, item, &votes_of(&crowd.votes, item), target))
        .collect()
}

#[test]
fn a_higher_target_never_ends_an_item_earlier() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 7), (4, 256)] {
        let crowd = crowd(seed, classes, &[Habit::Right(75); 12], 0);
        let result = crowd.infer();
        let mut before = wanted(&crowd, &result, 0);
        assert!(before.is_empty());
        for target in (1..=64).map(|step| step * (ONE / 64)) {
            let now = wanted(&crowd, &result, target);
            assert!(before.iter().all(|item| now.contains(item)), "{target}");
            before = now;
        }
        let certain = result.items.iter().filter(|item| item.posterior >= ONE);
        let certain = certain.count();
        assert_eq!(before.len() + certain, 200);
        assert!(classes > 131 || certain == 0, "certainty is never reached");
    }
}

#[test]
fn the_order_of_an_items_votes_changes_nothing() {
    let mut habits = vec![Habit::Right(80); 12];
    habits.extend([Habit::Sheet; 4]);
    let crowd = crowd(5, 3, &habits, 0);
    let result = crowd.infer();
    let mut rng = Rng(6);
    for item in 0..crowd.items {
        let mut votes = votes_of(&crowd.votes, item);
        let first = TARGETS.map(|target| wants_more(&result, item, &votes, target));
        rng.shuffle(&mut votes);
        let second = TARGETS.map(|target| wants_more(&result, item, &votes, target));
        assert_eq!(first, second, "item {item}");
    }
}

#[test]
fn gold_and_items_out_of_range_want_nothing_and_items_without_votes_want_one() {
    let mut crowd = crowd(7, 2, &[Habit::Right(60); 8], 20);
    crowd.votes.retain(|vote| vote.item != 0 && vote.item != 1);
    crowd.gold.remove(&0);
    crowd.gold.insert(1, 1);
    let result = crowd.infer();
    assert!(wants_more(&result, 0, &[], TARGETS[0]));
    assert!(!wants_more(&result, 1, &[], ONE));
    assert!(!wants_more(&result, crowd.items, &[], ONE));
    for &item in crowd.gold.keys() {
        assert!(!wants_more(
            &result,
            item,
            &votes_of(&crowd.votes, item),
            ONE
        ));
    }
}

#[test]
fn unknown_labelers_and_any_target_are_no_panic() {
    let crowd = crowd(8, 2, &[Habit::Right(90); 8], 0);
    let result = crowd.infer();
    let strangers = [(u32::MAX, 0), (u32::MAX - 1, u16::MAX)];
    for target in [0, 1, ONE - 1, ONE, u32::MAX] {
        assert_eq!(wants_more(&result, 3, &strangers, target), target > 0);
    }
}

#[test]
fn split_items_are_asked_again_more_often_than_unanimous_ones() {
    for (seed, classes) in [(9, 2), (10, 4)] {
        let crowd = crowd(seed, classes, &[Habit::Right(75); 12], 0);
        let result = crowd.infer();
        // (asked again, all) of the unanimous and of the split items.
        let mut counts = [(0, 0); 2];
        for item in 0..crowd.items {
            let votes = votes_of(&crowd.votes, item);
            let split = votes.iter().any(|vote| vote.1 != votes[0].1);
            let count = &mut counts[usize::from(split)];
            let rule = StoppingRule::new(&result, TARGETS[1]);
            count.0 += u32::from(rule.wants_more(item, &votes, FEW));
            count.1 += 1;
        }
        let [unanimous, split] = counts;
        println!("{classes} classes: {unanimous:?} of the unanimous, {split:?} of the split");
        assert!(unanimous.0 * 10 <= unanimous.1, "{unanimous:?}");
        assert!(split.0 * 6 >= split.1, "{split:?}");
    }
}

#[test]
fn a_vote_turned_to_dissent_keeps_items_open_and_closes_none() {
    let crowd = crowd(11, 4, &[Habit::Right(75); 12], 0);
    let result = crowd.infer();
    let mut kept_open = 0;
    for item in 0..crowd.items {
        let votes = votes_of(&crowd.votes, item);
        let label = result.items[item as usize].label.unwrap();
        // The same item of the same result, as if one voter more had dissented.
        let mut split = votes.clone();
        let Some(vote) = split.iter_mut().find(|vote| vote.1 == label) else {
            continue;
        };
        vote.1 = (label + 1) % 4;
        for target in TARGETS {
            let before = wants_more(&result, item, &votes, target);
            let after = wants_more(&result, item, &split, target);
            assert!(after >= before, "item {item}");
            kept_open += u32::from(after && !before);
        }
    }
    assert!(kept_open > 0);
}

#[test]
fn an_item_wants_nothing_once_the_votes_left_could_hardly_turn_it() {
    let crowd = crowd(13, 3, &[Habit::Right(75); 12], 0);
    let result = crowd.infer();
    let rule = StoppingRule::new(&result, TARGETS[2]);
    // Items by the least number of votes left with which they want more.
    let mut wanted_from = std::collections::BTreeMap::new();
    for item in 0..crowd.items {
        let votes = votes_of(&crowd.votes, item);
        assert!(!rule.wants_more(item, &votes, 0));
        let wants: Vec<u16> = (1..=MANY)
            .filter(|&left| rule.wants_more(item, &votes, left))
            .collect();
        // More votes left never end an item earlier.
        assert!(wants.windows(2).all(|w| w[1] == w[0] + 1), "item {item}");
        if let Some(&least) = wants.first() {
            assert_eq!(wants.last(), Some(&MANY));
            *wanted_from.entry(least).or_insert(0) += 1;
        }
    }
    println!("{wanted_from:?}");
    assert!(
        wanted_from.contains_key(&1),
        "an even item is worth a last vote"
    );
    assert!(wanted_from.keys().any(|&least| least > 2), "others are not");
    // Without votes, or at a target of one, any vote left is wanted.
    assert!(rule.wants_more(0, &[], 1) && !rule.wants_more(0, &[], 0));
    let certain = StoppingRule::new(&result, ONE);
    assert!((0..crowd.items).all(|i| certain.wants_more(i, &votes_of(&crowd.votes, i), 1)));
}

/// (votes bought, labels right) when the first two votes of each item are followed by one more wherever the rule asks.
fn run(crowd: &Crowd, target: u32) -> (usize, usize) {
    let all: Vec<Vec<Vote>> = (0..crowd.items)
        .map(|item| {
            crowd
                .votes
                .iter()
                .copied()
                .filter(|vote| vote.item == item)
                .collect()
        })
        .collect();
    let mut asked = vec![2; all.len()];
    loop {
        let shown = all.iter().zip(&asked).flat_map(|(votes, &n)| &votes[..n]);
        let votes: Vec<Vote> = shown.copied().collect();
        let result = infer_class(&ClassInput {
            votes: &votes,
            ..crowd.input()
        })
        .unwrap();
        let rule = StoppingRule::new(&result, target);
        let mut more = false;
        for (item, n) in asked.iter_mut().enumerate() {
            let seen = votes_of(&all[item][..*n], item as u32);
            let left = (all[item].len() - *n) as u16;
            if rule.wants_more(item as u32, &seen, left) {
                *n += 1;
                more = true;
            }
        }
        if !more {
            let labels = result.items.iter().zip(&crowd.truth);
            let right = labels
                .filter(|(item, truth)| item.label == Some(**truth))
                .count();
            return (votes.len(), right);
        }
    }
}

#[test]
fn a_simulated_crowd_needs_two_thirds_of_its_votes_for_nearly_all_of_its_accuracy() {
    for (seed, classes) in [(11, 2), (12, 4)] {
        let mut habits = vec![Habit::Right(85); 15];
        habits.extend([Habit::Right(60), Habit::Uniform, Habit::Uniform]);
        let plan = Plan {
            items: 400,
            classes,
            redundancy: 10,
            majority_percent: 100 / u64::from(classes),
            gold_percent: 0,
            habits: &habits,
        };
        let crowd = Crowd::draw(&plan, &mut Rng(seed));
        let (full, _) = crowd.right(&crowd.infer());
        let (votes, right) = run(&crowd, TARGETS[1]);
        println!(
            "{classes} classes: {votes} of {} votes, {right} right, {full} with all",
            crowd.votes.len()
        );
        assert!(votes * 3 <= crowd.votes.len() * 2, "{votes} votes");
        // At most two per cent of the items fewer.
        assert!(right + 8 >= full as usize, "{right} against {full}");
    }
}
