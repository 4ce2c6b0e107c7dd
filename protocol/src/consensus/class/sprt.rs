//! How many gold items a labeler has to answer: Wald's sequential probability ratio test (1945) in integers.
//!
//! What for: a fixed number of gold items wastes them. After each one the log-likelihood of an able labeler (right with probability `p1`)
//! against a guesser (right once in `K`) moves by one of two constants; the test ends when the sum leaves the band
//!
//! ```text
//! reject  at or below  log2( alpha / (1 - beta) )        alpha = able labelers rejected   5 %
//! accept  at or above  log2( (1 - alpha) / beta )        beta  = guessers accepted        1 %
//! ```
//!
//! and both error rates stay at about these values (the overshoot makes them a little smaller in sum).
//! What it does not do: it assigns no gold and ends no task; it decides on admission to more work, never on pay of past work.
//! Invariants: integers only; the sum stays below 2^53 for 2^32 items; equal answers give equal decisions in any order only at the same
//! count, since the test may end earlier on another order - callers feed items in the order of the task.

use super::super::fixed::{ONE, log2};

/// Able labelers that are rejected, in per cent.
pub const ABLE_REJECTED_PERCENT: u64 = 5;
/// Guessers that are accepted, in per cent.
pub const GUESSERS_ACCEPTED_PERCENT: u64 = 1;
/// One in parts per million.
const PPM: u64 = 1_000_000;

/// Where a sequential test stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Another gold item is needed.
    Continue,
    /// The labeler answers better than a guesser.
    Accept,
    /// The labeler answers like a guesser.
    Reject,
}

/// A sequential test of one labeler on gold items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoldTest {
    /// Step of a right answer, Q16 bits, positive.
    right: i64,
    /// Step of a wrong answer, Q16 bits, negative.
    wrong: i64,
    /// Sum of the steps, Q16 bits.
    sum: i64,
    decided: Decision,
}

impl GoldTest {
    /// A fresh test for `classes` classes against a labeler who is right with probability `able_ppm` (parts per million).
    ///
    /// `None` unless there are at least two classes and `able_ppm` lies above chance and below one million.
    #[must_use]
    pub fn new(classes: u16, able_ppm: u32) -> Option<Self> {
        let (classes, able) = (u64::from(classes), u64::from(able_ppm));
        if classes < 2 || able >= PPM || able * classes <= PPM {
            return None;
        }
        let million = log2(PPM);
        let right = log2(able * classes) - million;
        let wrong = log2((PPM - able) * classes) - million - log2(classes - 1);
        // Just above chance both steps can round to nothing, and the test would never end.
        (right > 0 && wrong < 0).then_some(Self {
            right,
            wrong,
            sum: 0,
            decided: Decision::Continue,
        })
    }

    /// The step of a right and of a wrong answer, in Q16 bits.
    #[must_use]
    pub fn steps(&self) -> (i64, i64) {
        (self.right, self.wrong)
    }

    /// The bounds: reject at or below the first, accept at or above the second, in Q16 bits.
    #[must_use]
    pub fn bounds() -> (i64, i64) {
        let alpha = log2(ABLE_REJECTED_PERCENT);
        let beta = log2(GUESSERS_ACCEPTED_PERCENT);
        (
            alpha - log2(100 - GUESSERS_ACCEPTED_PERCENT),
            log2(100 - ABLE_REJECTED_PERCENT) - beta,
        )
    }

    /// Takes the answer to one more gold item; a decision once made stays.
    pub fn answer(&mut self, right: bool) -> Decision {
        if self.decided == Decision::Continue {
            self.sum += if right { self.right } else { self.wrong };
            let (reject, accept) = Self::bounds();
            if self.sum <= reject {
                self.decided = Decision::Reject;
            } else if self.sum >= accept {
                self.decided = Decision::Accept;
            }
        }
        self.decided
    }

    /// The decision so far.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decided
    }

    /// The evidence so far, in Q16 bits: positive for an able labeler.
    #[must_use]
    pub fn evidence_bits(&self) -> i64 {
        self.sum
    }
}

/// Feeds the parameters to `hasher`; see `algorithm_id`.
pub(super) fn parameters() -> [u64; 3] {
    [
        ABLE_REJECTED_PERCENT,
        GUESSERS_ACCEPTED_PERCENT,
        u64::from(ONE),
    ]
}
