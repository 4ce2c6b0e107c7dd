//! Rings and machines in simulated crowds; real crowds are in `detection`.

use std::collections::BTreeMap;

use super::super::{ClassInput, Flag, Signals, Vote, infer_class_with};
use super::{Crowd, Habit, Plan, Rng};
use crate::consensus::ConsensusError;

/// A crowd in which a ring answers a quarter of the items in the majority, and honest labelers the rest.
fn attacked(honest: u32, ring: u32, classes: u16, rng: &mut Rng) -> (u32, Vec<Vote>) {
    let items = 400;
    let mut votes = Vec::new();
    for item in 0..items {
        let truth = rng.below(u64::from(classes)) as u16;
        for labeler in 0..honest {
            if rng.percent(40) {
                let label = if rng.percent(88) {
                    truth
                } else {
                    rng.below(u64::from(classes)) as u16
                };
                votes.push(Vote {
                    item,
                    labeler,
                    label,
                });
            }
        }
        if item % 4 == 0 {
            let sheet = rng.below(u64::from(classes)) as u16;
            for labeler in honest..honest + ring {
                let label = if rng.percent(95) {
                    sheet
                } else {
                    rng.below(u64::from(classes)) as u16
                };
                votes.push(Vote {
                    item,
                    labeler,
                    label,
                });
            }
        }
    }
    (items, votes)
}

#[test]
fn a_ring_that_rules_its_items_is_found_by_what_everybody_else_knows() {
    for seed in 0..20 {
        for (ring, classes) in [(6, 2), (12, 2), (12, 5), (20, 4)] {
            let (items, votes) = attacked(20, ring, classes, &mut Rng(seed));
            let input = ClassInput {
                items,
                labelers: 20 + ring,
                classes,
                votes: &votes,
                gold: &BTreeMap::new(),
                priors: &[],
            };
            let result = infer_class_with(&input, &Signals::default()).unwrap();
            let members: Vec<u32> = (20..20 + ring).collect();
            assert_eq!(result.clusters, [members], "seed {seed}, ring of {ring}");
            for (labeler, result) in result.labelers.iter().enumerate() {
                assert_eq!(result.flag == Flag::Ring, labeler >= 20);
                assert!(
                    result.flag != Flag::Ring || result.skill_ppm < 350_000,
                    "{result:?}"
                );
            }
        }
    }
}

#[test]
fn machine_labelers_that_answer_alike_count_once() {
    // Two copies of one model: right on 70 % of the items, always together. Undeclared, their agreement is that of two labelers.
    let habits = vec![Habit::Right(90); 8];
    let plan = Plan {
        items: 120,
        classes: 4,
        redundancy: 4,
        majority_percent: 25,
        gold_percent: 0,
        habits: &habits,
    };
    let mut rng = Rng(5);
    let crowd = Crowd::draw(&plan, &mut rng);
    let mut votes = crowd.votes.clone();
    for item in 0..120 {
        let label = if rng.percent(70) {
            crowd.truth[item as usize]
        } else {
            rng.below(4) as u16
        };
        votes.extend([8, 9].map(|labeler| Vote {
            item,
            labeler,
            label,
        }));
    }
    let input = ClassInput {
        labelers: 10,
        votes: &votes,
        ..crowd.input()
    };
    let with = |machines: &[u32]| {
        let signals = Signals {
            seconds: &[],
            machines,
        };
        infer_class_with(&input, &signals).map(|result| result.clusters)
    };
    assert_eq!(with(&[9, 8]), Ok(vec![vec![8, 9]]));
    assert_eq!(
        with(&[8, 0, 3]),
        with(&[]),
        "a machine alone, or one unlike the others, is nobody's twin"
    );
    assert_eq!(
        with(&[10]),
        Err(ConsensusError::MachineOutOfRange {
            labeler: 10,
            labelers: 10
        })
    );
}
