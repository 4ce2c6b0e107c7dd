//! How far votes share their errors: hardly for independent labelers, more where some items are hard for everybody.

use super::super::correlation::STEP_Q16;
use super::{Crowd, Habit, Plan, Rng};
use crate::consensus::fixed::ONE;

fn crowd(seed: u64, classes: u16, redundancy: usize, items: u32) -> Crowd {
    let habits: Vec<Habit> = (0..20).map(|l| Habit::Right(60 + 2 * (l % 15))).collect();
    let plan = Plan {
        items,
        classes,
        redundancy,
        majority_percent: 100 / u64::from(classes),
        gold_percent: 0,
        habits: &habits,
    };
    Crowd::draw(&plan, &mut Rng(seed))
}

fn crowd_step(crowd: &Crowd) -> u32 {
    crowd.infer().table.correlation()
}

/// Calibration error in tenths of a per cent, ten bins by posterior.
fn calibration_error(crowd: &Crowd) -> (u32, u64) {
    let result = crowd.infer();
    let mut bins = [(0u64, 0u64); 10];
    for (item, &truth) in result.items.iter().zip(&crowd.truth) {
        let bin = &mut bins[(item.posterior * 10 / ONE).min(9) as usize];
        bin.0 += u64::from(item.posterior);
        bin.1 += u64::from(item.label == Some(truth)) * u64::from(ONE);
    }
    let gap: u64 = bins.iter().map(|bin| bin.0.abs_diff(bin.1)).sum();
    let error = (gap * 1_000).div_ceil(u64::from(ONE) * u64::from(crowd.items));
    (result.table.correlation(), error)
}

#[test]
fn labelers_who_err_independently_are_read_nearly_as_independent() {
    for (seed, classes, redundancy) in [(1, 2, 5), (2, 3, 5), (3, 4, 8), (4, 4, 10)] {
        let (step, error) = calibration_error(&crowd(seed, classes, redundancy, 20_000));
        println!("{classes} classes, {redundancy} votes: step {step}, error {error} / 1000");
        assert!(step * 3 <= STEP_Q16, "{classes} classes: {step}");
        assert!(error <= 60, "{classes} classes: {error}");
    }
}

#[test]
fn items_that_nobody_can_tell_raise_the_discount() {
    for (seed, classes) in [(5, 2), (6, 4)] {
        let unchanged = crowd(seed, classes, 8, 1_000);
        let mut crowd = crowd(seed, classes, 8, 1_000);
        let mut rng = Rng(seed);
        // On every third item nobody sees anything; votes are even draws.
        for vote in &mut crowd.votes {
            if vote.item % 3 == 0 {
                vote.label = rng.below(u64::from(classes)) as u16;
            }
        }
        let before = crowd_step(&unchanged);
        let after = crowd_step(&crowd);
        println!("{classes} classes: step {before}, with such items {after}");
        assert!(after >= 2 * before && after >= 1_000, "{before}, {after}");
    }
}

#[test]
fn few_votes_keep_nearly_the_full_discount() {
    for items in [1, 3, 10] {
        let step = crowd(7, 3, 3, items).infer().table.correlation();
        assert!(step * 5 >= STEP_Q16 * 4, "{items} items: {step}");
    }
}
