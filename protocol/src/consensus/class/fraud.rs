//! One number for the suspicion against a labeler: a logistic model over everything in [`LabelerResult`].
//!
//! What for: skill, evidence, right answers, agreement, gold, pairs, habits and times each see a part; the model weighs them, so that one published
//! threshold ([`FLAG_PPM`]) serves every task. The weights were fitted on simulated attackers in real crowds and evaluated on other crowds;
//! `protocol/training/README.md` says how, and how well. They live in `fraud_table`, which the training script writes.
//!
//! **What follows from it.** The score can only lower a labeler's weight and new work. It never slashes, and never touches the pay of
//! past work: pay follows from skill alone.
//! What it does not do: it is no proof. Some honest labelers are flagged, mostly those whose answers cannot be told from guesses.
//! Invariants: integers only; the score is a function of one [`LabelerResult`] and the table; features are bounded by 2^21 and weights by
//! 2^24, so sums stay below 2^50.

use super::fraud_table::{BIAS, FLAG_PPM, WEIGHTS};
use super::labelers::{Flag, LabelerResult};
use crate::consensus::fixed::{ONE, log2, normalise};

/// Fewest votes of a labeler that is called a suspect, in votes: fewer say nothing either way.
pub(super) const FLAG_VOTES_MIN: u32 = 10;

/// Names of the features, in the order of the weights.
pub const FRAUD_FEATURES: [&str; 18] = [
    "looked_near",
    "looked_far",
    "looked_per_vote",
    "skill",
    "skill_low",
    "skill_high",
    "dependence",
    "agreement",
    "gold_seen",
    "gold_right",
    "copies",
    "cluster",
    "entropy",
    "run",
    "fast",
    "slow",
    "margin_near",
    "margin_far",
];

/// The features of a labeler, Q16, in the order of [`FRAUD_FEATURES`].
#[must_use]
pub fn fraud_features(labeler: &LabelerResult) -> [i64; FRAUD_FEATURES.len()] {
    let one = i64::from(ONE);
    let ppm = |value: i64| value * one / 1_000_000;
    let bits = |milli: i64| milli.clamp(-64_000, 64_000) * one / 1_000;
    let looked = bits(labeler.looked_mbits);
    let margin = i64::from(labeler.margin_milli) * one / 1_000;
    let votes = i64::from(labeler.votes).max(1);
    let seen = i64::from(labeler.gold_seen);
    [
        looked.clamp(-8 * one, 8 * one) / 8,
        (looked - 8 * one).clamp(0, 32 * one) / 32,
        (bits(labeler.looked_mbits / votes)).clamp(-one, one),
        ppm(labeler.skill_ppm),
        ppm(labeler.skill_low_ppm),
        ppm(labeler.skill_high_ppm),
        one - ppm(i64::from(labeler.spammer_ppm)),
        ppm(i64::from(labeler.agreement_ppm)),
        seen * one / (seen + 4),
        (2 * i64::from(labeler.gold_right) - seen) * one / (seen + 4),
        bits(i64::from(labeler.copy_mbits)) / 32,
        i64::from(labeler.cluster.is_some()) * one,
        bits(i64::from(labeler.entropy_mbits)).clamp(-2 * one, 2 * one),
        i64::from(labeler.longest_run) * one / votes,
        labeler.pace.map_or(0, |pace| ppm(i64::from(pace.fast_ppm))),
        labeler.pace.map_or(0, |pace| {
            (log2(u64::from(pace.relative_milli) + 1) - log2(1_001)).clamp(-4 * one, 4 * one) / 4
        }),
        margin.clamp(-3 * one, 3 * one) / 3,
        (margin - 3 * one).clamp(0, 9 * one) / 9,
    ]
}

/// The suspicion against a labeler, in parts per million; zero for somebody without votes.
pub(super) fn score(labeler: &LabelerResult) -> u32 {
    if labeler.votes == 0 {
        return 0;
    }
    let one = i64::from(ONE);
    let sum: i64 = fraud_features(labeler)
        .iter()
        .zip(WEIGHTS)
        .map(|(feature, weight)| feature * weight / one)
        .sum();
    let mut logs = [0, BIAS + sum];
    let mut shares = [0; 2];
    normalise(&mut logs, &mut shares);
    (u64::from(shares[1]) * 1_000_000 / u64::from(ONE)) as u32
}

/// The published decision.
pub(super) fn flag(labeler: &LabelerResult) -> Flag {
    if labeler.cluster.is_some() {
        Flag::Ring
    } else if labeler.votes >= FLAG_VOTES_MIN && labeler.fraud_ppm >= FLAG_PPM {
        Flag::Suspect
    } else {
        Flag::Clear
    }
}

/// BLAKE3 of the table, for the algorithm id.
pub(super) fn table_hash() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for name in FRAUD_FEATURES {
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
    }
    for number in WEIGHTS.iter().chain([&BIAS, &i64::from(FLAG_PPM)]) {
        hasher.update(&number.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}
