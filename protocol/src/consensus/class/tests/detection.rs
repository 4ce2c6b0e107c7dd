use std::collections::BTreeMap;

use super::super::{ClassInput, ClassResult, Flag, Signals, Vote, infer_class_with};
use super::attacks::{Crowd, Ring, Rng, Spam, folder};

/// Scores a crowd.
pub(super) fn infer(crowd: &Crowd, gold: &BTreeMap<u32, u16>) -> ClassResult {
    let votes: Vec<Vote> = crowd
        .votes
        .iter()
        .map(|&(item, labeler, label)| Vote {
            item,
            labeler,
            label,
        })
        .collect();
    let input = ClassInput {
        items: crowd.items,
        labelers: crowd.labelers,
        classes: crowd.classes,
        votes: &votes,
        gold,
        priors: &[],
    };
    let signals = Signals {
        seconds: &crowd.seconds,
        machines: &[],
    };
    infer_class_with(&input, &signals).unwrap()
}

/// Labelers of `crowd` that carry a flag, among `labelers`.
fn flagged(result: &ClassResult, labelers: impl Iterator<Item = u32>) -> usize {
    labelers
        .filter(|&labeler| result.labelers[labeler as usize].flag != Flag::Clear)
        .count()
}

/// Caught and all spammers, flagged and all honest labelers at the published threshold, and the spammers caught when the threshold is set
/// so that one honest labeler in a hundred would be flagged.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    caught: usize,
    spammers: usize,
    wronged: usize,
    honest: usize,
    caught_at_one_percent: usize,
}

impl Tally {
    fn per_mille(part: usize, whole: usize) -> usize {
        part * 1_000 / whole.max(1)
    }
}

fn spam_run(real: &Crowd, spam: Spam, votes: usize, gold_percent: u64) -> Tally {
    let honest = real.honest(20);
    let mut tally = Tally::default();
    for seed in 0..6 {
        let mut rng = Rng(seed * 7_919 + votes as u64);
        let mut crowd = real.clone();
        let accounts = real.labelers / 5;
        let first = crowd.add_spammers(spam, accounts, votes, &mut rng);
        let gold = crowd.some_gold(gold_percent, &mut rng);
        let result = infer(&crowd, &gold);
        let score = |labeler: u32| {
            let labeler = &result.labelers[labeler as usize];
            labeler.fraud_ppm + 1_000_000 * u32::from(labeler.cluster.is_some())
        };
        let mut scores: Vec<u32> = honest.iter().map(|&labeler| score(labeler)).collect();
        scores.sort_unstable();
        let bound = scores[scores.len() - 1 - scores.len() / 100];
        tally.caught += flagged(&result, first..crowd.labelers);
        tally.spammers += accounts as usize;
        tally.wronged += flagged(&result, honest.iter().copied());
        tally.honest += honest.len();
        tally.caught_at_one_percent += (first..crowd.labelers)
            .filter(|&labeler| score(labeler) > bound)
            .count();
    }
    tally
}

#[test]
fn independent_spammers_are_caught_among_real_labelers() {
    let Some(folder) = folder() else {
        println!(
            "SKIPPED: no real crowds found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    println!(
        "crowd votes gold kind: caught (per mille) / honest flagged, caught with 1 % of the honest flagged"
    );
    // Floors in per mille at the published threshold: what was measured less about two standard errors, and at most 1.5 % of the
    // honest flagged. On rte ten honest labelers are right on only 14 of 20 two-class items, and one guesser in seventeen is as well.
    for (name, floors) in [("dog", [930, 880, 980]), ("rte", [810, 810, 980])] {
        let real = Crowd::load(&folder.join(name));
        for (votes, gold) in [(20, 0), (20, 50), (12, 0)] {
            for (spam, floor) in [Spam::Uniform, Spam::Frequency, Spam::Constant]
                .into_iter()
                .zip(floors)
            {
                let tally = spam_run(&real, spam, votes, gold);
                let caught = Tally::per_mille(tally.caught, tally.spammers);
                let wronged = Tally::per_mille(tally.wronged, tally.honest);
                let at_one = Tally::per_mille(tally.caught_at_one_percent, tally.spammers);
                println!("{name:<4} {votes} {gold:>2} % {spam:?}: {caught} / {wronged}, {at_one}");
                assert!(wronged <= 15, "{name} {spam:?}: {tally:?}");
                assert!(votes < 20 || caught >= floor, "{name} {spam:?}: {tally:?}");
            }
        }
    }
}

/// Items with the true label among `items`.
fn right(crowd: &Crowd, result: &ClassResult, items: &[u32]) -> usize {
    items
        .iter()
        .filter(|&&item| result.items[item as usize].label == crowd.truth.get(&item).copied())
        .count()
}

#[test]
fn rings_of_two_to_twenty_are_caught_and_do_not_capture_their_items() {
    let Some(folder) = folder() else {
        println!(
            "SKIPPED: no real crowds found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    for name in ["rte", "dog"] {
        let real = Crowd::load(&folder.join(name));
        let calm = infer(&real, &BTreeMap::new());
        for (noise_percent, honest_percent) in [(5, 0), (20, 0), (5, 50)] {
            let (mut with, mut without, mut items) = (0, 0, 0);
            for members in [2, 3, 5, 8, 10, 12, 20] {
                let (mut caught, mut wronged) = (0, 0);
                for seed in 0..4 {
                    let mut rng = Rng(seed + 100 * u64::from(members));
                    let mut crowd = real.clone();
                    let ring = Ring {
                        members,
                        items: 60,
                        noise_percent,
                        honest_percent,
                    };
                    let (first, attacked) = crowd.add_ring(ring, &mut rng);
                    let result = infer(&crowd, &BTreeMap::new());
                    let ringed =
                        |labeler: u32| result.labelers[labeler as usize].flag == Flag::Ring;
                    caught += (first..crowd.labelers)
                        .filter(|&labeler| ringed(labeler))
                        .count();
                    wronged += (0..first).filter(|&labeler| ringed(labeler)).count();
                    with += right(&crowd, &result, &attacked);
                    without += right(&crowd, &calm, &attacked);
                    items += attacked.len();
                }
                let caught = Tally::per_mille(caught, 4 * members as usize);
                println!(
                    "{name} {noise_percent} % noise, {honest_percent} % honest, ring of {members}: {caught} caught, {wronged} honest"
                );
                assert_eq!(wronged, 0, "{name}, ring of {members}");
                // Noisy and half-honest rings are harder; the figures are printed.
                if (noise_percent, honest_percent) == (5, 0) {
                    assert!(caught >= 990, "{name}, ring of {members}: {caught}");
                }
            }
            let (with, without) = (
                Tally::per_mille(with, items),
                Tally::per_mille(without, items),
            );
            println!(
                "{name} {noise_percent} % noise, {honest_percent} % honest: attacked items {with}, without attack {without}"
            );
            if honest_percent == 0 {
                assert!(with + 10 >= without, "{name}: {with} against {without}");
            }
        }
    }
}

#[test]
fn hardly_a_real_labeler_is_taken_for_a_ring() {
    let Some(folder) = folder() else {
        println!(
            "SKIPPED: no real crowds found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    for name in [
        "adult2",
        "bluebirds",
        "cifar10n",
        "dog",
        "music_sim",
        "product",
        "rte",
        "weather",
    ] {
        let real = Crowd::load(&folder.join(name));
        let result = infer(&real, &BTreeMap::new());
        let ringed: usize = result.clusters.iter().map(Vec::len).sum();
        let suspects = flagged(&result, 0..real.labelers) - ringed;
        let honest: Vec<u32> = (0..)
            .zip(real.kinds())
            .filter(|(_, kind)| *kind == "honest")
            .map(|(labeler, _)| labeler)
            .collect();
        let wronged = flagged(&result, honest.iter().copied());
        println!(
            "{name}: {} labelers, {ringed} in rings, {suspects} suspects; of {} who are right beyond chance {wronged} flagged",
            real.labelers,
            honest.len()
        );
        // Three votes an item and one class in eight: on product many who look cannot be told from those who do not.
        let bound = if name == "product" { 70 } else { 25 };
        assert!(
            wronged * 1_000 <= honest.len() * bound,
            "{name}: {wronged} of {}",
            honest.len()
        );
        assert!(
            ringed * 100 <= real.labelers as usize,
            "{name}: {:?}",
            result.clusters
        );
    }
}
