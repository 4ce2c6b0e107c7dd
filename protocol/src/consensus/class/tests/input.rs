use std::collections::BTreeMap;

use crate::consensus::ConsensusError;

use super::super::{
    ClassInput, ClassVotes, GoldPrior, MAX_CLASSES, MAX_ITEMS, MAX_LABELERS, Vote, infer_class,
    item_from_table, majority,
};
use super::Rng;

static NO_GOLD: BTreeMap<u32, u16> = BTreeMap::new();

fn votes(list: &[(u32, u32, u16)]) -> Vec<Vote> {
    list.iter()
        .map(|&(item, labeler, label)| Vote {
            item,
            labeler,
            label,
        })
        .collect()
}

fn input(items: u32, labelers: u32, classes: u16, votes: &[Vote]) -> ClassInput<'_> {
    ClassInput {
        items,
        labelers,
        classes,
        votes,
        gold: &NO_GOLD,
        priors: &[],
    }
}

fn refusal(input: ClassInput<'_>) -> ConsensusError {
    let error = infer_class(&input).unwrap_err();
    let sorted = ClassVotes::new(&input).and_then(ClassVotes::infer);
    assert_eq!(sorted.unwrap_err(), error);
    assert_eq!(majority(&input).unwrap_err(), error);
    error
}

#[test]
fn a_task_without_votes_has_no_labels() {
    let result = infer_class(&input(3, 2, 4, &[])).unwrap();
    assert!(
        result
            .items
            .iter()
            .all(|item| item.label.is_none() && item.posterior == 0 && item.votes == 0)
    );
    assert_eq!(result.posteriors_of(2).unwrap().iter().sum::<u32>(), 65_536);
    assert_eq!(result.posteriors_of(3), None);
    assert!(
        result
            .labelers
            .iter()
            .all(|labeler| labeler.votes == 0 && labeler.skill_ppm == 0)
    );
    assert!(infer_class(&input(0, 0, 2, &[])).unwrap().items.is_empty());
}

#[test]
fn sorted_votes_give_the_result_of_the_whole_input() {
    let mut rng = Rng(41);
    for _ in 0..300 {
        let (items, labelers, classes) = (1 + rng.below(12), 1 + rng.below(9), 2 + rng.below(4));
        let mut list = Vec::new();
        for item in 0..items as u32 {
            for labeler in 0..labelers as u32 {
                if rng.percent(70) {
                    list.push((item, labeler, rng.below(classes) as u16));
                }
            }
        }
        let gold = BTreeMap::from([(rng.below(items) as u32, rng.below(classes) as u16)]);
        let prior = |_| GoldPrior {
            alpha_milli: rng.below(9_000) as u32,
            beta_milli: rng.below(9_000) as u32,
        };
        let priors: Vec<GoldPrior> = (0..labelers).map(prior).collect();
        let votes = votes(&list);
        let input = ClassInput {
            gold: &gold,
            priors: &priors,
            ..input(items as u32, labelers as u32, classes as u16, &votes)
        };
        let sorted = ClassVotes::new(&input).unwrap();
        assert_eq!(sorted.infer().unwrap(), infer_class(&input).unwrap());
    }
}

#[test]
fn a_single_vote_decides_its_item_but_earns_no_skill() {
    let list = votes(&[(0, 0, 2)]);
    let result = infer_class(&input(1, 1, 3, &list)).unwrap();
    assert_eq!(result.items[0].label, Some(2));
    assert!(result.items[0].posterior > 65_536 / 3);
    assert_eq!(result.labelers[0].skill_ppm, 0);
    assert_eq!(result.labelers[0].spammer_ppm, 1_000_000);
}

#[test]
fn one_labeler_alone_is_not_judged_by_their_own_votes() {
    let list: Vec<Vote> = (0..500)
        .map(|item| Vote {
            item,
            labeler: 0,
            label: (item % 3) as u16,
        })
        .collect();
    let result = infer_class(&input(500, 1, 3, &list)).unwrap();
    assert!(
        result
            .items
            .iter()
            .zip(&list)
            .all(|(item, vote)| item.label == Some(vote.label))
    );
    assert_eq!(
        (
            result.labelers[0].votes,
            result.labelers[0].skill_ppm,
            result.labelers[0].agreement_ppm
        ),
        (500, 0, 0)
    );
}

#[test]
fn all_votes_equal_give_that_label_everywhere_and_prove_nobody_skilled() {
    let list: Vec<Vote> = (0..40)
        .flat_map(|item| {
            (0..4).map(move |labeler| Vote {
                item,
                labeler,
                label: 1,
            })
        })
        .collect();
    let result = infer_class(&input(40, 4, 5, &list)).unwrap();
    assert!(
        result
            .items
            .iter()
            .all(|item| item.label == Some(1) && item.posterior > 59_000)
    );
    assert!(
        result
            .labelers
            .iter()
            .all(|labeler| labeler.skill_ppm.abs() < 1_000),
        "{:?}",
        result.labelers
    );
    assert!(result.clusters.is_empty());
}

#[test]
fn ties_go_to_the_smallest_label() {
    let list = votes(&[(0, 0, 2), (0, 1, 1), (1, 0, 1), (1, 1, 2)]);
    assert_eq!(
        majority(&input(2, 2, 3, &list)).unwrap(),
        [Some(1), Some(1)]
    );
    for list in [[(0, 0, 2), (0, 1, 1)], [(0, 0, 1), (0, 1, 2)]] {
        let result = infer_class(&input(1, 2, 3, &votes(&list))).unwrap();
        assert_eq!(result.items[0].label, Some(1));
    }
}

#[test]
fn gold_is_the_truth_whatever_the_votes_say() {
    let list = votes(&[(0, 0, 1), (0, 1, 1), (0, 2, 1)]);
    let gold = BTreeMap::from([(0, 0), (1, 1)]);
    let result = infer_class(&ClassInput {
        gold: &gold,
        ..input(2, 3, 2, &list)
    })
    .unwrap();
    assert_eq!(
        (
            result.items[0].label,
            result.items[0].posterior,
            result.items[0].votes
        ),
        (Some(0), 65_536, 3)
    );
    assert_eq!((result.items[1].label, result.items[1].votes), (Some(1), 0));
    assert!(
        result
            .labelers
            .iter()
            .all(|labeler| (labeler.gold_seen, labeler.gold_right) == (1, 0))
    );
}

#[test]
fn errors_name_the_offending_entry() {
    let good = votes(&[(0, 0, 1), (1, 1, 0)]);
    let with = |extra: (u32, u32, u16)| {
        let mut list = good.clone();
        list.extend(votes(&[extra]));
        refusal(input(2, 2, 2, &list))
    };
    assert_eq!(
        with((0, 1, 2)),
        ConsensusError::LabelOutOfRange {
            index: 2,
            label: 2,
            classes: 2
        }
    );
    assert_eq!(
        with((2, 0, 1)),
        ConsensusError::ItemOutOfRange {
            index: 2,
            item: 2,
            items: 2
        }
    );
    assert_eq!(
        with((1, 2, 1)),
        ConsensusError::LabelerOutOfRange {
            index: 2,
            labeler: 2,
            labelers: 2
        }
    );
    assert_eq!(
        with((0, 0, 0)),
        ConsensusError::DuplicateVote {
            first: 0,
            second: 2,
            item: 0,
            labeler: 0
        }
    );
    assert!(with((0, 1, 2)).to_string().contains("vote 2"));
    for classes in [0, 1, MAX_CLASSES + 1] {
        assert!(matches!(
            refusal(input(2, 2, classes, &[])),
            ConsensusError::Classes { .. }
        ));
    }
    let gold = BTreeMap::from([(1, 2)]);
    let bad_gold = ClassInput {
        gold: &gold,
        ..input(2, 2, 2, &good)
    };
    assert_eq!(
        refusal(bad_gold),
        ConsensusError::GoldOutOfRange {
            item: 1,
            label: 2,
            items: 2,
            classes: 2
        }
    );
    let short = ClassInput {
        priors: &[GoldPrior::default()],
        ..input(2, 2, 2, &good)
    };
    assert_eq!(
        refusal(short),
        ConsensusError::PriorCount {
            priors: 1,
            labelers: 2
        }
    );
}

#[test]
fn oversized_tasks_are_refused_before_memory_is_taken() {
    let too_many =
        |items, labelers, classes| refusal(input(items, labelers, classes, &[])).to_string();
    assert!(too_many(MAX_ITEMS as u32 + 1, 1, 2).contains("items"));
    assert!(too_many(1, MAX_LABELERS as u32 + 1, 2).contains("labelers"));
    assert!(too_many(MAX_ITEMS as u32, 1, 256).contains("posterior cells"));
    assert!(too_many(1, MAX_LABELERS as u32, 256).contains("labeler cells"));
}

#[test]
fn a_labeler_with_a_million_votes_is_counted_without_overflow() {
    let items = 1 << 20;
    let list: Vec<Vote> = (0..items)
        .flat_map(|item| {
            let right = (item % 3) as u16;
            let second = u16::from(item % 7 == 0).abs_diff(right).min(2);
            [(0, right), (1, second)].map(|(labeler, label)| Vote {
                item,
                labeler,
                label,
            })
        })
        .collect();
    let result = infer_class(&input(items, 2, 3, &list)).unwrap();
    assert_eq!(result.labelers[0].votes, 1 << 20);
    assert!(
        result.labelers[0].skill_ppm > 600_000,
        "{:?}",
        result.labelers
    );
    for item in (0..items).step_by(1_001) {
        let first = item as usize * 2;
        let votes: Vec<(u32, u16)> = list[first..first + 2]
            .iter()
            .map(|vote| (vote.labeler, vote.label))
            .collect();
        assert_eq!(
            item_from_table(&result.table, &votes).as_deref(),
            result.posteriors_of(item)
        );
    }
}

#[test]
fn an_item_with_many_thousand_votes_keeps_a_posterior() {
    let list: Vec<Vote> = (0..100_000)
        .map(|labeler| Vote {
            item: 0,
            labeler,
            label: u16::from(labeler % 10 == 0),
        })
        .collect();
    let result = infer_class(&input(1, 100_000, 4, &list)).unwrap();
    assert_eq!(result.items[0].label, Some(0));
    assert_eq!(result.posteriors_of(0).unwrap().iter().sum::<u32>(), 65_536);
}

#[test]
fn a_table_refuses_votes_that_it_was_not_made_from() {
    let list = votes(&[(0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0)]);
    let result = infer_class(&input(3, 3, 3, &list)).unwrap();
    let table = &result.table;
    assert_eq!((table.classes(), table.labelers()), (3, 3));
    assert_eq!(item_from_table(table, &[(3, 0)]), None);
    assert_eq!(item_from_table(table, &[(2, 0)]), None);
    assert_eq!(item_from_table(table, &[(0, 2)]), None);
    assert_eq!(
        item_from_table(table, &[]).as_deref(),
        result.posteriors_of(2)
    );
    assert_eq!(
        item_from_table(table, &[(1, 1), (0, 1)]).as_deref(),
        result.posteriors_of(0)
    );
    assert_eq!(table.labeler_bytes(3), None);
    // Cluster, gain, then two labels with three logs in each of two matrices.
    assert_eq!(
        table.labeler_bytes(0).map(|bytes| bytes.len()),
        Some(8 + 8 + 2 * (2 + 2 * 3 * 4))
    );
    let mut other = list.clone();
    other[3].label = 2;
    let other = infer_class(&input(3, 3, 3, &other)).unwrap();
    assert_eq!(table.hash(), result.table.clone().hash());
    assert_ne!(table.hash(), other.table.hash());
}

#[test]
fn classes_that_nobody_uses_change_little() {
    let list: Vec<Vote> = (0..60)
        .flat_map(|item| {
            (0..3).map(move |labeler| Vote {
                item,
                labeler,
                label: u16::from(item % 2 == 0),
            })
        })
        .collect();
    let result = infer_class(&input(60, 3, 256, &list)).unwrap();
    assert!(
        result
            .items
            .iter()
            .zip(0..)
            .all(|(item, number)| item.label == Some(u16::from(number % 2 == 0)))
    );
    assert!(
        result
            .labelers
            .iter()
            .all(|labeler| labeler.skill_ppm > 950_000),
        "{:?}",
        result.labelers
    );
}
