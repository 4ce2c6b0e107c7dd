//! Whether labelers have habits of their own: people who lean alike do not, people who lean apart do.

use super::super::model::Expert;
use super::super::votes::Index;
use super::super::voting::Voting;
use super::super::{EXPERTS, fit_experts, verdict};
use super::{Crowd, Habit, Plan, Rng};

/// Two classes, the second on 22 % of the items; labelers right on 80 to 94 % of the plain items.
fn crowd(seed: u64, items: u32) -> Crowd {
    let habits: Vec<Habit> = (0..40).map(|l| Habit::Right(80 + l % 15)).collect();
    let plan = Plan {
        items,
        classes: 2,
        redundancy: 5,
        majority_percent: 78,
        gold_percent: 0,
        habits: &habits,
    };
    Crowd::draw(&plan, &mut Rng(seed))
}

/// On one in `part` of the items of the first class, everybody takes it for the second half of the time.
fn mislead(crowd: &mut Crowd, part: u32, seed: u64) {
    let mut rng = Rng(seed);
    for vote in &mut crowd.votes {
        if crowd.truth[vote.item as usize] == 0 && vote.item % part == 0 {
            vote.label = u16::from(rng.percent(50));
        }
    }
}

/// Items right by each reading.
fn right(crowd: &Crowd) -> Vec<usize> {
    let index = Index::new(&crowd.input()).unwrap();
    let voting = Voting::independent(&index);
    let count = |experts: &[Expert; EXPERTS]| {
        let rows = verdict::sharp(&index, &voting, experts, 1);
        let label = |row: &[u32]| u16::from(row[1] > row[0]);
        let labels = rows.chunks_exact(2).map(label);
        labels.zip(&crowd.truth).filter(|(l, t)| l == *t).count()
    };
    let (readings, _) = fit_experts(&index, &voting, None);
    readings.iter().map(count).collect()
}

#[test]
fn a_crowd_that_is_misled_alike_is_read_by_skill_alone_and_better_for_it() {
    let mut gained = 0;
    for seed in 1..=5 {
        let mut crowd = crowd(seed, 4_000);
        mislead(&mut crowd, 3, seed);
        let right = right(&crowd);
        println!("seed {seed}: {right:?} of 4000");
        assert_eq!(right.len(), 2, "seed {seed}");
        gained += right[1] as i64 - right[0] as i64;
    }
    assert!(gained > 100, "{gained} items in five crowds");
}

#[test]
fn labelers_who_lean_apart_keep_their_matrices() {
    for seed in 1..=5 {
        let mut crowd = crowd(seed, 4_000);
        mislead(&mut crowd, 3, seed);
        // Every other labeler names the second class on one vote in four, whatever it is; the rest the first.
        let mut rng = Rng(seed);
        for vote in &mut crowd.votes {
            if rng.percent(25) {
                vote.label = (vote.labeler % 2) as u16;
            }
        }
        assert_eq!(right(&crowd).len(), 1, "seed {seed}");
    }
}

#[test]
fn labelers_who_err_independently_keep_their_matrices() {
    for seed in 1..=5 {
        assert_eq!(right(&crowd(seed, 4_000)).len(), 1, "seed {seed}");
    }
}
