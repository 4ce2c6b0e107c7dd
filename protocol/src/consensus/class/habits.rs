//! Whether labelers have habits of their own, or differ in skill only.
//!
//! What for: a confusion matrix per labeler explains two things with the same numbers: what one labeler does that others do not, and what
//! all do alike. The first can be learnt, since the others contradict it. The second cannot: votes that lean towards a class because
//! everybody is misled look the same as a class that is more frequent, and expectation maximisation settles on the latter. On recorded crowds
//! whose labelers share their leanings (links between records, facts) matrices label up to eight per cent of the items worse than one skill
//! per labeler and a class prior; where labelers lean apart (relevance of pages, birds, music) it is the other way round, by up to 28.
//!
//! The statistic is the overdispersion of how often labelers name each label. Given the items' posteriors, a labeler of this accuracy who
//! errs as the crowd does names label `l` in a share of the votes that is known:
//!
//! ```text
//! error(c) = min(1, crowd's error(c) x labeler's error / crowd's error)         E(l | c) = error(c) x confusion(l | c),  or 1 - error(c)
//! S(l) = votes for l - sum over c of votes on c x E(l | c)                      V(l) = sum over c of votes on c x E(l | c) (1 - E(l | c))
//! beyond = sum over labelers, l of  S^2 - V                                     whole = sum over labelers, l of  votes x V
//! ```
//!
//! Without habits `beyond` has mean zero; `beyond / whole` is the intraclass correlation of a beta-binomial count. Over 21 recorded crowds it
//! was, times the classes beyond the first, at most 0.07 on nine, 0.074 on one and at least 0.15 on the others; [`OWN_PART`] stands close to
//! the nine. A crowd is read by [`PLAIN`](super::model::PLAIN) where it is smaller **and** errors are clearly shared (see
//! `correlation`): labelers who err independently do show what all of them do alike.
//!
//! What it does not do: it judges no labeler.
//! Invariants: counts of one labeler stay below 2^36 (2^20 votes, Q16), so squares stay below 2^72 and the sums over 2^24 labelers below 2^112.

use crate::consensus::fixed::ONE;

/// Labelers have habits from one part in this many of what `whole` is, per class beyond the first.
pub(super) const OWN_PART: i128 = 14;

/// What all labelers of a task have in common; Q16.
pub(super) struct Crowd<'a> {
    /// Share of wrong votes.
    pub wrong: u64,
    /// Share of wrong votes per class.
    pub error: Vec<u64>,
    /// P(label | class, vote wrong), one entry per class for each label.
    pub confusion: &'a [u64],
}

/// What the counts of a matrix expert say about habits.
#[derive(Clone, Default)]
pub(super) struct Habits {
    /// P(class | class) per labeler and class, Q16.
    pub right: Vec<u32>,
    /// Squared differences beyond chance, Q32 votes squared.
    beyond: i128,
    /// What they would be if each labeler repeated one vote, Q32 votes squared.
    whole: i128,
}

impl Habits {
    /// Adds a labeler with this share of wrong votes (Q16), votes on each class and votes for each label (both expected, Q16).
    pub fn add(&mut self, crowd: &Crowd<'_>, wrong: u64, row: &[u64], given: &[u64]) {
        let (one, classes) = (u64::from(ONE), row.len());
        let votes: u64 = row.iter().sum();
        let error = crowd.error.iter();
        let error: Vec<u64> = error
            .map(|&error| (error * wrong / crowd.wrong.max(1)).min(one))
            .collect();
        let mut variance = 0u128;
        for (label, &given) in given.iter().enumerate() {
            let mut expected = 0u64;
            for (class, (&votes, &error)) in row.iter().zip(&error).enumerate() {
                let share = if class == label {
                    one - error
                } else {
                    (error * crowd.confusion[label * classes + class]) / one
                };
                let named = votes * share / one;
                expected += named;
                variance += u128::from(named) * u128::from(one - share);
            }
            let miss = i128::from(given) - i128::from(expected);
            self.beyond += miss * miss;
        }
        self.beyond -= variance as i128; // below 2^60
        self.whole += ((u128::from(votes) * variance) / u128::from(one)) as i128; // below 2^80
    }

    /// Whether labelers of a task with so many classes have habits of their own; yes while nothing is known.
    pub fn differ(&self, classes: usize) -> bool {
        self.beyond * (classes as i128 - 1) * OWN_PART >= self.whole
    }
}
