//! The assignment: a pure function of the enrolment, the beacon and what was asked before.
//!
//! Items in order of `H(beacon, item)`; each takes the labelers with least `(load, H(task, wave, beacon, item, labeler))` that have
//! capacity left, have not answered the item, share no payee and no flagged cluster with one already taken. At most a third of an
//! item's labels come from labelers without a record while others are to be had. Balanced, and checkable by everybody.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    crypto::hash,
    id::{Account, Hash, TaskId},
};

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
    for (_, item, k) in order {
        let mut candidates: Vec<(u32, Hash, u32)> = (0..input.labelers.len() as u32)
            .filter(|l| {
                load[*l as usize] < input.labelers[*l as usize].1
                    && !input.before.contains(&(item, *l))
            })
            .map(|l| (load[l as usize], rank(input, item, l), l))
            .collect();
        candidates.sort_unstable();
        let mut taken: Vec<u32> = Vec::new();
        let mut unproven = 0u16;
        // First pass holds the one-third rule; the second fills what is left with anybody.
        for strict in [true, false] {
            for &(_, _, labeler) in &candidates {
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
        draw(&DrawInput {
            task: TaskId([1; 32]),
            wave: 0,
            beacon: Hash([beacon; 32]),
            wanted,
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
}
