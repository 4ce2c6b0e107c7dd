//! Made-up crowds of every kind, from a seed: the same votes on every machine.
//!
//! They are meant to reach every part of the engines, not to look like people: careful and careless labelers, constant answers, groups
//! that copy, gold, reputation, answer times, items and labelers without votes.

mod class;
mod multi;
mod pair;
mod review;
mod shape;
mod text;
mod value;

use std::fmt::{Result, Write};

use assay_protocol::consensus::{ConsensusError, GoldPrior};

pub use class::class;
pub use multi::multi;
pub use pair::{pair, ranking};
pub use review::review;
pub use shape::{boxes, polygon, span};
pub use text::text;
pub use value::value;

pub struct Rng(pub u64);

impl Rng {
    /// A number below `bound`, which is at least one.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn from(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Some labelers, each once.
    fn some_of(&mut self, most: u64, labelers: u32) -> Vec<u32> {
        let count = self.below(most + 1).min(u64::from(labelers)) as usize;
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let labeler = self.below(u64::from(labelers)) as u32;
            if !chosen.contains(&labeler) {
                chosen.push(labeler);
            }
        }
        chosen
    }
}

/// Votes of one kind that can be scored.
pub trait Crowd {
    /// Puts the votes into another order.
    fn shuffle(&mut self, rng: &mut Rng);

    /// Scores the votes and writes all that the result holds.
    fn score(&self, out: &mut dyn Write) -> Result;
}

/// The result; a refusal would name the position of a vote, which is not the same in every order.
fn admitted<T>(result: std::result::Result<T, ConsensusError>) -> T {
    match result {
        Ok(result) => result,
        Err(error) => panic!("a made-up crowd was refused: {error}"),
    }
}

/// How a labeler works.
#[derive(Clone, Copy)]
enum Habit {
    /// Right this often, in per cent.
    Able(u64),
    /// Answers without looking.
    Blind,
    /// The same answer always.
    Constant(u64),
    /// Hands in the sheet of a group.
    Copies(u64),
}

/// Labelers for a crowd of `items`: few for small crowds, about 500 votes each in large ones.
fn habits(items: u32, rng: &mut Rng) -> Vec<Habit> {
    let count = 1 + rng.below(12) + u64::from(items) / 100;
    let mut habit = || match rng.below(10) {
        0 => Habit::Blind,
        1 => Habit::Constant(rng.below(1 << 32)),
        2 | 3 => Habit::Copies(rng.below(2)),
        _ => Habit::Able(50 + rng.below(48)),
    };
    (0..count).map(|_| habit()).collect()
}

/// A number that depends on the item and the group alone.
fn sheet(item: u32, group: u64) -> u64 {
    Rng(u64::from(item) << 8 | group).below(1 << 32)
}

/// The answer of a labeler who chooses among `answers`.
fn choose(habit: Habit, item: u32, truth: u64, answers: u64, rng: &mut Rng) -> u64 {
    match habit {
        Habit::Able(right) if rng.percent(right) => truth,
        Habit::Able(_) | Habit::Blind => rng.below(answers),
        Habit::Constant(value) => value % answers,
        Habit::Copies(group) => sheet(item, group) % answers,
    }
}

fn priors(labelers: usize, rng: &mut Rng) -> Vec<GoldPrior> {
    if rng.percent(60) {
        return Vec::new();
    }
    let mut prior = || GoldPrior {
        alpha_milli: rng.below(30_000) as u32,
        beta_milli: rng.below(10_000) as u32,
    };
    (0..labelers).map(|_| prior()).collect()
}
