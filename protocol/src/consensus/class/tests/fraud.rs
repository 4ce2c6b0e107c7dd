//! The suspicion score, the interval of the skill, and answer times.

use super::super::features::margin_milli;
use super::super::{
    FRAUD_FEATURES, Flag, LabelerResult, Pace, Signals, fraud_features, infer_class_with,
};
use super::{Crowd, Habit, Plan, Rng, mixed_habits};
use crate::consensus::ConsensusError;

fn crowd(habits: &[Habit], items: u32, redundancy: usize, seed: u64) -> Crowd {
    let plan = Plan {
        items,
        classes: 4,
        redundancy,
        majority_percent: 40,
        gold_percent: 5,
        habits,
    };
    Crowd::draw(&plan, &mut Rng(seed))
}

#[test]
fn guessers_are_suspects_and_careful_labelers_are_not() {
    let habits = mixed_habits();
    let (mut suspects, mut wronged) = (0, 0);
    for seed in 0..100 {
        let result = crowd(&habits, 300, 4, seed).infer();
        for (labeler, habit) in result.labelers.iter().zip(&habits) {
            let flagged = labeler.flag != Flag::Clear;
            match habit {
                Habit::Right(_) => wronged += u32::from(flagged),
                _ => suspects += u32::from(flagged),
            }
        }
    }
    println!("of 600 guessers and copies {suspects} flagged, of 1,000 honest {wronged}");
    assert!(suspects >= 580 && wronged <= 10, "{suspects} {wronged}");
}

#[test]
fn the_interval_covers_the_skill_of_a_long_record() {
    // Skill over very many votes stands for the true one; intervals over few votes should cover it about 95 times in 100.
    let habits = vec![Habit::Right(85); 10];
    let long = crowd(&habits, 20_000, 5, 1).infer().labelers[0].skill_ppm;
    let (mut covered, mut all) = (0, 0);
    for seed in 0..100 {
        for labeler in &crowd(&habits, 60, 5, 100 + seed).infer().labelers {
            assert!(
                labeler.skill_low_ppm <= labeler.skill_ppm
                    && labeler.skill_ppm <= labeler.skill_high_ppm
            );
            covered += u32::from((labeler.skill_low_ppm..=labeler.skill_high_ppm).contains(&long));
            all += 1;
        }
    }
    println!("skill {long}: covered {covered} of {all}");
    assert!(covered * 100 >= all * 92, "{covered} of {all}");
}

#[test]
fn an_idle_labeler_is_clear_and_knows_no_bounds() {
    let mut with = crowd(&[Habit::Right(90); 5], 20, 3, 1);
    with.habits.push(Habit::Uniform);
    let result = with.infer();
    let idle = result.labelers[5];
    assert_eq!((idle.votes, idle.fraud_ppm, idle.flag), (0, 0, Flag::Clear));
    assert_eq!(
        (idle.skill_low_ppm, idle.skill_high_ppm),
        (-1_000_000, 1_000_000)
    );
    assert_eq!(idle.gold_accuracy_ppm(), None);
    assert_eq!(
        fraud_features(&LabelerResult::default()).len(),
        FRAUD_FEATURES.len()
    );
}

#[test]
fn a_hurried_labeler_is_slower_to_earn_trust() {
    let crowd = crowd(&[Habit::Right(85); 6], 80, 3, 4);
    let seconds: Vec<u32> = crowd
        .votes
        .iter()
        .map(|vote| {
            if vote.labeler == 2 {
                1
            } else {
                20 + vote.item % 7
            }
        })
        .collect();
    let input = crowd.input();
    let signals = Signals {
        seconds: &seconds,
        machines: &[],
    };
    let timed = infer_class_with(&input, &signals).unwrap();
    let plain = crowd.infer();
    let hasty = timed.labelers[2];
    assert_eq!(
        hasty
            .pace
            .map(|pace: Pace| (pace.median_seconds, pace.fast_ppm)),
        Some((1, 1_000_000))
    );
    assert!(hasty.fraud_ppm > plain.labelers[2].fraud_ppm);
    for (with, without) in timed.labelers.iter().zip(&plain.labelers) {
        assert_eq!(
            (with.skill_ppm, with.cluster),
            (without.skill_ppm, without.cluster),
            "times never touch pay"
        );
        assert_eq!(without.pace, None);
    }
    assert_eq!(timed.items, plain.items);
    let short = Signals {
        seconds: &seconds[1..],
        machines: &[],
    };
    assert_eq!(
        infer_class_with(&input, &short).map(|_| ()),
        Err(ConsensusError::SecondsCount {
            seconds: seconds.len() - 1,
            votes: seconds.len()
        })
    );
}

#[test]
fn the_margin_counts_right_answers_in_deviations() {
    let one = 65_536;
    // 20 answers in 4 classes need 11 right ones; where nothing is in doubt the variance is a twentieth.
    assert_eq!(margin_milli(20, 4, 20 * one, 0), 42_491);
    assert_eq!(margin_milli(20, 4, 11 * one, 0), 2_236);
    assert_eq!(margin_milli(20, 4, 10 * one, 0), -2_236);
    // Coins: 20 answers in 2 classes need 14; 10 are expected with a variance of 5.
    assert_eq!(margin_milli(20, 2, 10 * one, 5 * one), -1_557);
    assert_eq!(margin_milli(0, 2, 0, 0), 0);
    let most = 1 << 24;
    assert_eq!(margin_milli(most, 256, most * one, 0), 64_000);
    assert_eq!(margin_milli(most, 2, 0, most * one / 4), -64_000);
}

#[test]
fn guessers_fall_short_of_the_right_answers_that_honest_work_needs() {
    let habits = mixed_habits();
    let mut wrong = 0;
    for seed in 0..50 {
        let result = crowd(&habits, 300, 4, 400 + seed).infer();
        for (labeler, habit) in result.labelers.iter().zip(&habits) {
            match habit {
                Habit::Right(95) => wrong += u32::from(labeler.margin_milli < 3_000),
                Habit::Right(_) => wrong += u32::from(labeler.margin_milli < 0),
                _ => wrong += u32::from(labeler.margin_milli > -1_000),
            }
        }
    }
    println!("of 800 labelers {wrong} on the wrong side");
    assert!(wrong <= 8, "{wrong}");
}
