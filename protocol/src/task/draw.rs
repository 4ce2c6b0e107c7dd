//! The assignment: a pure function of the enrolment, the beacon and what was asked before.
//!
//! Items in order of `H(beacon, item)`; each takes the labelers with least `(load, H(task, wave, beacon, item, labeler))` that have
//! capacity left, have not answered the item, share no payee and no flagged cluster with one already taken. At most a third of an
//! item's labels come from labelers without a record while others are to be had. Balanced, and checkable by everybody.
//!
//! An item that is asked for **again** is a doubtful one, and takes the labelers with most proven skill first ([`proven_skill`]): on
//! recorded crowds that saves about a tenth of all labels. So that the load stays spread, nobody gets more than [`SHARES_MAX`] times the even share of the wave that
//! way while others are to be had.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    consensus::LabelerResult,
    crypto::hash,
    id::{Account, Hash, TaskId},
};

/// Most labels of a wave that a labeler is preferred for, in even shares.
const SHARES_MAX: u32 = 3;

/// Votes at which half of a labeler's skill counts as proven, in votes.
const PROOF_VOTES: i64 = 10;

/// What a labeler is preferred by: the skill, drawn towards zero as long as few votes speak for it, so that luck with a handful of votes
/// is not taken for skill. Parts per million.
#[must_use]
pub fn proven_skill(labeler: &LabelerResult) -> i64 {
    // Skill is at most 10^6 either way, and votes are below 2^32, so the product is below 2^52.
    let votes = i64::from(labeler.votes);
    labeler.skill_ppm * votes / (votes + PROOF_VOTES)
}

/// What the draw depends on.
#[derive(Clone, Debug)]
pub struct DrawInput<'a> {
    /// Task.
    pub task: TaskId,
    /// Wave.
    pub wave: u8,
    /// Randomness of the fixed block after the enrolment (or the previous wave) was anchored.
    pub beacon: Hash,
    /// (item, labels wanted).
    pub wanted: &'a [(u32, u16)],
    /// [`proven_skill`] so far per labeler index, parts per million; zero for those beyond the end.
    pub skills: &'a [i64],
    /// Per labeler index: (account, capacity, payee, has a record).
    pub labelers: &'a [(Account, u32, Account, bool)],
    /// (item, labeler) pairs answered or assigned before.
    pub before: &'a BTreeSet<(u32, u32)>,
    /// Flagged clusters of labeler indexes.
    pub clusters: &'a [Vec<u32>],
}

/// Items per labeler index, rising. A labeler without items is left out.
pub fn draw(input: &DrawInput<'_>) -> BTreeMap<u32, Vec<u32>> {
    let mut cluster_of: BTreeMap<u32, usize> = BTreeMap::new();
    for (number, members) in input.clusters.iter().enumerate() {
        cluster_of.extend(members.iter().map(|m| (*m, number)));
    }
    let mut order: Vec<(Hash, u32, u16)> = input
        .wanted
        .iter()
        .map(|&(item, k)| {
            (
                hash("assay/1/draw-item", &[&input.beacon.0, &item.to_be_bytes()]),
                item,
                k,
            )
        })
        .collect();
    order.sort_unstable();
    let mut load = vec![0u32; input.labelers.len()];
    let mut assigned: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let labels: u64 = input.wanted.iter().map(|&(_, k)| u64::from(k)).sum();
    let share = labels.div_ceil((input.labelers.len() as u64).max(1));
    let most = u32::try_from(share * u64::from(SHARES_MAX)).unwrap_or(u32::MAX);
    for (_, item, k) in order {
        let again = input.before.range((item, 0)..=(item, u32::MAX)).next();
        // Sorts before the load: zero for a fresh item; the rest sorts by skill, those with their share last.
        let preferred = |l: u32| match again {
            Some(_) if load[l as usize] < most => {
                let skill = input.skills.get(l as usize).copied().unwrap_or(0);
                (0u8, Reverse(skill))
            }
            Some(_) => (1, Reverse(0)),
            None => (0, Reverse(0)),
        };
        let mut candidates: Vec<u32> = (0..input.labelers.len() as u32)
            .filter(|l| {
                load[*l as usize] < input.labelers[*l as usize].1
                    && !input.before.contains(&(item, *l))
            })
            .collect();
        candidates
            .sort_by_cached_key(|&l| (preferred(l), load[l as usize], rank(input, item, l), l));
        let mut taken: Vec<u32> = Vec::new();
        let mut unproven = 0u16;
        // First pass holds the one-third rule; the second fills what is left with anybody.
        for strict in [true, false] {
            for &labeler in &candidates {
                if taken.len() >= usize::from(k) {
                    break;
                }
                let (_, _, payee, proven) = input.labelers[labeler as usize];
                let clash = taken.contains(&labeler)
                    || taken.iter().any(|t| {
                        input.labelers[*t as usize].2 == payee
                            || cluster_of
                                .get(t)
                                .is_some_and(|c| cluster_of.get(&labeler) == Some(c))
                    });
                if clash || strict && !proven && (unproven + 1) * 3 > k {
                    continue;
                }
                unproven += u16::from(!proven);
                taken.push(labeler);
            }
        }
        for labeler in taken {
            load[labeler as usize] += 1;
            assigned.entry(labeler).or_default().push(item);
        }
    }
    for items in assigned.values_mut() {
        items.sort_unstable();
    }
    assigned
}

fn rank(input: &DrawInput<'_>, item: u32, labeler: u32) -> Hash {
    let account = input.labelers[labeler as usize].0;
    hash(
        "assay/1/draw-labeler",
        &[
            &input.task.0,
            &[input.wave],
            &input.beacon.0,
            &item.to_be_bytes(),
            &account.0,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labelers(n: u8) -> Vec<(Account, u32, Account, bool)> {
        (0..n)
            .map(|i| (Account([i; 20]), 1_000, Account([i; 20]), true))
            .collect()
    }

    fn run(
        wanted: &[(u32, u16)],
        labelers: &[(Account, u32, Account, bool)],
        before: &BTreeSet<(u32, u32)>,
        clusters: &[Vec<u32>],
        beacon: u8,
    ) -> BTreeMap<u32, Vec<u32>> {
        run_with_skills(wanted, labelers, before, clusters, beacon, &[])
    }

    fn run_with_skills(
        wanted: &[(u32, u16)],
        labelers: &[(Account, u32, Account, bool)],
        before: &BTreeSet<(u32, u32)>,
        clusters: &[Vec<u32>],
        beacon: u8,
        skills: &[i64],
    ) -> BTreeMap<u32, Vec<u32>> {
        draw(&DrawInput {
            task: TaskId([1; 32]),
            wave: 0,
            beacon: Hash([beacon; 32]),
            wanted,
            skills,
            labelers,
            before,
            clusters,
        })
    }

    proptest! {
        #[test]
        fn loads_differ_by_at_most_one_and_every_item_gets_k(n in 3u8..20, items in 1u32..60, beacon: u8) {
            let wanted: Vec<_> = (0..items).map(|i| (i, 3)).collect();
            let assigned = run(&wanted, &labelers(n), &BTreeSet::new(), &[], beacon);
            let loads: Vec<usize> = (0..u32::from(n)).map(|l| assigned.get(&l).map_or(0, Vec::len)).collect();
            prop_assert_eq!(loads.iter().sum::<usize>(), items as usize * 3);
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
            prop_assert!(assigned.values().all(|v| v.windows(2).all(|w| w[0] < w[1])));
        }
    }

    #[test]
    fn nobody_gets_an_item_twice_and_capacity_holds() {
        let mut people = labelers(4);
        people[0].1 = 2;
        let before: BTreeSet<_> = (0..10).map(|i| (i, 1)).collect();
        let wanted: Vec<_> = (0..10).map(|i| (i, 3)).collect();
        let assigned = run(&wanted, &people, &before, &[], 7);
        assert_eq!(assigned.get(&0).map(Vec::len), Some(2));
        assert_eq!(assigned.get(&1), None);
    }

    #[test]
    fn flagged_clusters_and_shared_payees_are_never_co_assigned() {
        let mut people = labelers(6);
        people[5].2 = people[4].2;
        let wanted: Vec<_> = (0..50).map(|i| (i, 3)).collect();
        let assigned = run(&wanted, &people, &BTreeSet::new(), &[vec![0, 1]], 3);
        let has = |l: u32, item: u32| assigned.get(&l).is_some_and(|v| v.contains(&item));
        for item in 0..50 {
            assert!(
                !(has(0, item) && has(1, item)),
                "cluster together on {item}"
            );
            assert!(!(has(4, item) && has(5, item)), "one payee twice on {item}");
        }
    }

    #[test]
    fn at_most_a_third_without_a_record_while_others_are_to_be_had() {
        let mut people = labelers(9);
        for person in people.iter_mut().take(5) {
            person.3 = false;
        }
        let wanted: Vec<_> = (0..40).map(|i| (i, 3)).collect();
        let assigned = run(&wanted, &people, &BTreeSet::new(), &[], 9);
        for item in 0..40 {
            let fresh = (0..5)
                .filter(|l| assigned.get(l).is_some_and(|v| v.contains(&item)))
                .count();
            assert!(
                fresh <= 1,
                "item {item} has {fresh} labels without a record"
            );
        }
    }

    #[test]
    fn items_asked_for_again_go_to_the_skilled_but_not_all_to_the_same() {
        // Ten labelers of rising skill; labeler 0 answered everything before.
        let skills: Vec<i64> = (0..10).map(|l| l * 100_000).collect();
        let before: BTreeSet<_> = (0..40).map(|item| (item, 0)).collect();
        let wanted: Vec<_> = (0..40).map(|item| (item, 1)).collect();
        let people = labelers(10);
        for beacon in 0..20 {
            let again = run_with_skills(&wanted, &people, &before, &[], beacon, &skills);
            let loads: Vec<usize> = (0..10).map(|l| again.get(&l).map_or(0, Vec::len)).collect();
            // The even share is four, so the most for one is twelve.
            assert_eq!(loads, [0, 0, 0, 0, 0, 0, 4, 12, 12, 12]);
            // Fresh items are spread evenly whatever the skills.
            let fresh = run_with_skills(&wanted, &people, &BTreeSet::new(), &[], beacon, &skills);
            assert!(fresh.len() == 10 && fresh.values().all(|items| items.len() == 4));
        }
    }

    #[test]
    fn a_skill_that_few_votes_speak_for_counts_less() {
        let of = |votes, skill_ppm| {
            proven_skill(&LabelerResult {
                votes,
                skill_ppm,
                ..LabelerResult::default()
            })
        };
        assert_eq!(of(0, 1_000_000), 0);
        assert_eq!(of(10, 900_000), 450_000);
        assert_eq!(of(10, -900_000), -450_000);
        assert!(of(3, 1_000_000) < of(60, 600_000));
        assert_eq!(of(u32::MAX, 1_000_000), 999_999);
        assert!((0..100).all(|votes| of(votes, 500_000) < of(votes + 1, 500_000)));
    }

    #[test]
    fn preferred_labelers_are_no_bottleneck() {
        // Two labelers of whom one has no capacity left after three items: the other takes the rest, beyond its shares.
        let mut people = labelers(2);
        people[1].1 = 3;
        let before: BTreeSet<_> = (0..20).map(|item| (item, 9)).collect();
        let wanted: Vec<_> = (0..20).map(|item| (item, 1)).collect();
        let drawn = run_with_skills(&wanted, &people, &before, &[], 1, &[0, 900_000]);
        let loads: Vec<usize> = (0..2).map(|l| drawn.get(&l).map_or(0, Vec::len)).collect();
        assert_eq!(loads, [17, 3]);
    }
}
