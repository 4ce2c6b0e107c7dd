use proptest::prelude::*;

use crate::consensus::fixed::{ONE, normalise};

use super::super::verdict::{blend, joint_odds, median, median_narrow};
use super::{Crowd, Habit, Plan, Rng, mixed_habits};

#[test]
fn the_network_beats_the_majority_on_the_demonstration_crowd() {
    let habits = mixed_habits();
    for redundancy in 3..=5 {
        for (items, gold_percent) in [(200, 5), (300, 7), (400, 10), (300, 0)] {
            let (mut ours, mut plain, mut wrongly_flagged) = (0, 0, 0);
            for seed in 0..60 {
                let plan = Plan {
                    items,
                    classes: 10,
                    redundancy,
                    majority_percent: 10,
                    gold_percent,
                    habits: &habits,
                };
                let crowd = Crowd::draw(&plan, &mut Rng(seed));
                let result = crowd.infer();
                let (network, majority) = crowd.right(&result);
                assert!(
                    network >= majority,
                    "seed {seed}: {network} against {majority} of {items}"
                );
                ours += network;
                plain += majority;
                wrongly_flagged += result
                    .clusters
                    .iter()
                    .flatten()
                    .filter(|&&labeler| labeler < 13)
                    .count();
                for (labeler, habit) in habits.iter().enumerate() {
                    let skill = result.labelers[labeler].skill_ppm;
                    match habit {
                        Habit::Right(95) => {
                            assert!(skill > 400_000, "seed {seed}, labeler {labeler}: {skill}")
                        }
                        Habit::Right(_) => {
                            assert!(skill > 200_000, "seed {seed}, labeler {labeler}: {skill}")
                        }
                        Habit::Constant(_) => {
                            assert!(skill.abs() < 10_000, "seed {seed}, constant: {skill}")
                        }
                        _ => assert!(skill < 300_000, "seed {seed}, labeler {labeler}: {skill}"),
                    }
                }
            }
            let items = u64::from(items) * 60;
            let per_mille = |right: u32| u64::from(right) * 1_000 / items;
            println!(
                "k {redundancy}, {gold_percent} % gold: majority {}, network {}",
                per_mille(plain),
                per_mille(ours)
            );
            assert!(per_mille(ours) >= per_mille(plain) + 80);
            assert_eq!(wrongly_flagged, 0);
        }
    }
}

#[test]
fn a_ring_with_one_answer_sheet_is_found_and_earns_nothing() {
    let habits = mixed_habits();
    let mut found = 0;
    for seed in 0..100 {
        let plan = Plan {
            items: 400,
            classes: 10,
            redundancy: 4,
            majority_percent: 10,
            gold_percent: 5,
            habits: &habits,
        };
        let result = Crowd::draw(&plan, &mut Rng(1_000 + seed)).infer();
        found += u32::from(result.clusters == [[13, 14, 15]]);
        for labeler in 13..16 {
            let result = &result.labelers[labeler];
            assert_eq!(result.cluster.is_some(), result.cluster == Some(0));
            assert!(result.skill_ppm < 150_000, "seed {seed}: {result:?}");
        }
    }
    assert!(found >= 97, "ring found in {found} of 100 crowds");
}

#[test]
fn a_ring_of_five_does_not_capture_its_items() {
    // Five copying accounts against ten honest ones; without the pair test they would outvote honest labelers on many items.
    let habits = [vec![Habit::Right(85); 10], vec![Habit::Sheet; 5]].concat();
    for seed in 0..40 {
        let plan = Plan {
            items: 300,
            classes: 5,
            redundancy: 6,
            majority_percent: 20,
            gold_percent: 5,
            habits: &habits,
        };
        let crowd = Crowd::draw(&plan, &mut Rng(seed));
        let result = crowd.infer();
        assert_eq!(result.clusters, [[10, 11, 12, 13, 14]], "seed {seed}");
        let (network, majority) = crowd.right(&result);
        assert!(
            network * 100 >= crowd.items * 94 && network > majority,
            "seed {seed}: {network}, {majority}"
        );
        for labeler in 10..15 {
            assert!(
                result.labelers[labeler].skill_ppm < 150_000,
                "seed {seed}: {:?}",
                result.labelers[labeler]
            );
        }
    }
}

#[test]
fn honest_crowds_are_never_flagged() {
    let crowds: [Vec<Habit>; 3] = [
        vec![Habit::Right(95); 16],
        [vec![Habit::Right(97); 8], vec![Habit::Right(60); 8]].concat(),
        (0..20)
            .map(|labeler| Habit::Right(55 + 2 * labeler))
            .collect(),
    ];
    for seed in 0..200 {
        for (number, habits) in crowds.iter().enumerate() {
            let classes = [2, 3, 10][(seed % 3) as usize];
            let redundancy = [3, 5, 8][((seed / 3) % 3) as usize];
            let majority_percent = [50, 10, 80][((seed / 9) % 3) as usize];
            let plan = Plan {
                items: 240,
                classes,
                redundancy,
                majority_percent,
                gold_percent: 5,
                habits,
            };
            let result = Crowd::draw(&plan, &mut Rng(7_000 + seed)).infer();
            assert!(
                result.clusters.is_empty(),
                "seed {seed}, crowd {number}: {:?}",
                result.clusters
            );
        }
    }
}

#[test]
fn honest_labelers_among_many_spammers_are_not_taken_for_a_ring() {
    // Good labelers agree with each other far more than with the noise around them.
    let habits = [vec![Habit::Right(97); 6], vec![Habit::Uniform; 8]].concat();
    for seed in 0..100 {
        let plan = Plan {
            items: 400,
            classes: 6,
            redundancy: 5,
            majority_percent: 17,
            gold_percent: 5,
            habits: &habits,
        };
        let result = Crowd::draw(&plan, &mut Rng(seed)).infer();
        assert!(
            result.clusters.is_empty(),
            "seed {seed}: {:?}",
            result.clusters
        );
    }
}

#[test]
fn the_spammer_score_separates_noise_from_knowledge_even_when_inverted() {
    // Labeler 8 swaps the two classes in nine of ten answers: useless for a majority, informative for a matrix.
    let habits = [
        vec![Habit::Right(90); 8],
        vec![Habit::Right(10), Habit::Constant(1), Habit::Uniform],
    ]
    .concat();
    let plan = Plan {
        items: 500,
        classes: 2,
        redundancy: 6,
        majority_percent: 50,
        gold_percent: 5,
        habits: &habits,
    };
    let result = Crowd::draw(&plan, &mut Rng(3)).infer();
    let score = |labeler: usize| result.labelers[labeler].spammer_ppm;
    assert!(
        (0..=8).all(|labeler| score(labeler) < 600_000),
        "{:?}",
        result.labelers
    );
    assert!(
        score(9) > 990_000 && score(10) > 900_000,
        "{:?}",
        result.labelers
    );
    assert!(result.labelers[8].skill_ppm < -500_000);
}

#[test]
fn a_ring_is_found_among_a_hundred_voters_per_item() {
    let habits = [
        vec![Habit::Right(80); 60],
        vec![Habit::Sheet; 3],
        vec![Habit::Right(80); 37],
    ]
    .concat();
    let plan = Plan {
        items: 80,
        classes: 5,
        redundancy: 100,
        majority_percent: 20,
        gold_percent: 0,
        habits: &habits,
    };
    for seed in 0..5 {
        assert_eq!(
            Crowd::draw(&plan, &mut Rng(seed)).infer().clusters,
            [[60, 61, 62]],
            "seed {seed}"
        );
    }
}

proptest! {
    #[test]
    fn one_expert_astray_does_not_leave_the_range_of_the_others(seeds in prop::collection::vec([-1i64 << 29..1 << 29, -1i64 << 20..1 << 20, -1i64 << 20..1 << 20], 2..20)) {
        let logs = |expert: usize| seeds.iter().map(|seed| seed[expert]).collect::<Vec<i64>>();
        let narrow = |expert: usize| logs(expert).iter().map(|&log| log as i32).collect::<Vec<i32>>();
        let behind = |logs: &[i64]| {
            let top = logs.iter().max().copied().unwrap();
            logs.iter().map(|log| log - top).collect::<Vec<i64>>()
        };
        let (a, b, c) = (logs(0), logs(1), logs(2));
        let (mut wide, mut slim) = (vec![0; a.len()], vec![0; a.len()]);
        median([&a, &b, &c], &mut wide);
        median_narrow([&narrow(0), &narrow(1), &narrow(2)], &mut slim);
        prop_assert_eq!(&wide, &slim);
        for ((&middle, b), c) in wide.iter().zip(behind(&b)).zip(behind(&c)) {
            prop_assert!((b.min(c)..=b.max(c)).contains(&middle));
        }
        let (mut rest, mut out) = (vec![0; a.len()], vec![0; a.len()]);
        joint_odds([&a, &b, &c], &mut rest, &mut out);
        prop_assert_eq!(out.iter().sum::<u32>(), ONE);
        if a.len() == 2 {
            let rows = [&a, &b, &c].map(|logs| {
                let mut row = vec![0; 2];
                normalise(&mut logs.clone(), &mut row);
                row
            });
            let mut blended = vec![0; 2];
            blend([&rows[0], &rows[1], &rows[2]], &mut blended);
            prop_assert!(out[0].abs_diff(blended[0]) <= 4, "{:?} {:?}", out, blended);
        }
        // Experts of one opinion are believed to the bit.
        joint_odds([&b, &b, &b], &mut rest, &mut out);
        let mut alone = vec![0; b.len()];
        normalise(&mut b.clone(), &mut alone);
        prop_assert_eq!(&out, &alone);
        blend([&alone, &alone, &alone], &mut out);
        prop_assert_eq!(out.iter().sum::<u32>(), ONE);
    }
}
