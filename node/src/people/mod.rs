//! Models of people for demonstrations and tests: who answers how, decided by a seed.
//!
//! **These are models, not people, and not an image reader.** The demonstration hands a model the item's true class, as nature
//! shows it to a person, and the model sees it through a noisy [`Eye`]: it errs more often on pictures that look unlike their
//! class, and then names the class that looks most alike. What a demonstration says about the network's accuracy is measured on
//! these answers; it says nothing about the accuracy of people.
//!
//! | kind | answers |
//! |---|---|
//! | careful | about 96 % right |
//! | tired | about 80 % right, much worse on hard pictures |
//! | spammer | any class, equally likely |
//! | constant | one class, always |
//! | ring | one random class per item, the same for all members of the ring |
//!
//! Invariants: integers only; the same person gives the same answer to the same item, however often asked.

mod eye;

use std::{fmt, str::FromStr};

use assay_protocol::{crypto::hash, id::Hash};

use crate::dataset::Chance;
pub use eye::{Eye, Look};

/// How a person answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Looks closely.
    Careful,
    /// Looks, but tires: errs on hard pictures.
    Tired,
    /// Does not look: answers at random.
    Spammer,
    /// Does not look: always the same answer.
    Constant,
    /// Copies the answers of the ring with this number.
    Ring(u32),
}

impl Kind {
    /// Error rates in parts per million: (on the easiest pictures, on the hardest). Chosen so that the average over the
    /// demonstration set is 4 % for careful and 20 % for tired people.
    const fn errors_ppm(self) -> (u32, u32) {
        match self {
            Self::Tired => (60_000, 335_000),
            _ => (5_000, 75_000),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Careful => f.write_str("careful"),
            Self::Tired => f.write_str("tired"),
            Self::Spammer => f.write_str("spammer"),
            Self::Constant => f.write_str("constant"),
            Self::Ring(ring) => write!(f, "ring:{ring}"),
        }
    }
}

/// A text that names no kind of person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of person {0:?}; kinds are: careful, tired, spammer, constant, ring:NUMBER")]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        Ok(match text {
            "careful" => Self::Careful,
            "tired" => Self::Tired,
            "spammer" => Self::Spammer,
            "constant" => Self::Constant,
            _ => {
                let ring = text.strip_prefix("ring:").and_then(|n| n.parse().ok());
                Self::Ring(ring.ok_or_else(|| KindError(text.chars().take(40).collect()))?)
            }
        })
    }
}

/// A model of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// How it answers.
    pub kind: Kind,
    /// What tells it apart from others of its kind.
    pub seed: u64,
}

impl Person {
    /// The person's answer, an index below `classes` (0 when there are none).
    ///
    /// `item` names the item (its name or hash) and decides the draw. `picture` is what the swarm delivered; anything but a
    /// picture of the demonstration set counts as medium hard. `truth` is the item's true class; without it (or with one that
    /// the task does not have) the person goes by what the picture resembles most, or guesses when it cannot be read.
    pub fn answer(&self, item: &[u8], picture: &[u8], truth: Option<u16>, classes: u16) -> u16 {
        let mut chance = Chance::new(&self.draw(item));
        match self.kind {
            Kind::Spammer | Kind::Ring(_) => any(&mut chance, classes),
            Kind::Constant => any(&mut Chance::new(&self.draw(b"")), classes),
            Kind::Careful | Kind::Tired => self.look(&mut chance, picture, truth, classes),
        }
    }

    fn look(&self, chance: &mut Chance, picture: &[u8], truth: Option<u16>, classes: u16) -> u16 {
        let eye = Eye::shared();
        let seen = eye.distances(picture);
        let resembles = || {
            seen.as_ref()
                .map(|d| eye.nearest(d, classes, None))
                .unwrap_or_default()
        };
        let Some(truth) = truth.filter(|&t| t < classes).or_else(resembles) else {
            return any(chance, classes);
        };
        let look = eye.look(seen.as_ref(), truth, classes);
        let (easy, hard) = self.kind.errors_ppm();
        if !chance.happens(easy + (hard - easy) / 1_000 * look.difficulty) {
            return truth;
        }
        match look.confused_with {
            Some(class) => class,
            // Any class but the true one.
            None if classes > 1 => {
                let other = any(chance, classes - 1);
                other + u16::from(other >= truth)
            }
            None => truth,
        }
    }

    fn draw(&self, item: &[u8]) -> Hash {
        match self.kind {
            // Without the seed: members of a ring are one mind.
            Kind::Ring(ring) => hash("assay/1/people/ring", &[&ring.to_be_bytes(), item]),
            _ => hash(
                "assay/1/people/answer",
                &[
                    &self.seed.to_be_bytes(),
                    self.kind.to_string().as_bytes(),
                    item,
                ],
            ),
        }
    }
}

/// Any class, equally likely; 0 without classes.
fn any(chance: &mut Chance, classes: u16) -> u16 {
    chance.below(u64::from(classes)) as u16
}

#[cfg(test)]
mod tests;
