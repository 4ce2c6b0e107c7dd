//! How hard a picture is, and what it is mistaken for: squared distances to the mean picture of each class.
//!
//! Means are taken over the whole demonstration set, so this eye measures likeness and is no fair image reader. Integers only.

use std::sync::OnceLock;

use crate::dataset::digits::{self, CLASSES, EDGE};

/// Pixels of a picture.
const PIXELS: usize = EDGE * EDGE;
/// Steps of a mean pixel between two grey levels, so that rounding does not decide.
const STEPS: i32 = 16;
/// Share of the way to the next class, in thousandths, below which a picture is as easy as can be. 500 is half way: as hard as
/// can be. Of the set's pictures about 7 % lie below and 10 % beyond half way.
const EASY: u64 = 200;
const HARD: u64 = 500;
/// Difficulty of what is not a picture of the set.
const DIFFICULTY_UNREADABLE: u32 = 500;

/// Squared distance of a picture to each class.
pub type Distances = [u64; CLASSES as usize];

/// What an eye says about a picture of known class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// 0 (looks like its class) to 1,000 (looks at least as much like another).
    pub difficulty: u32,
    /// The other class that looks most alike; none when the picture cannot be read or no other class is known.
    pub confused_with: Option<u16>,
}

/// The mean pictures.
#[derive(Clone, Debug)]
pub struct Eye {
    means: Vec<[i32; PIXELS]>,
}

impl Eye {
    /// The eye of the demonstration set, computed once.
    pub fn shared() -> &'static Self {
        static EYE: OnceLock<Eye> = OnceLock::new();
        EYE.get_or_init(|| Self::new(&digits::load()))
    }

    fn new(pictures: &[digits::Digit]) -> Self {
        let mean = |class: u16| {
            let (mut sums, mut count) = ([0i32; PIXELS], 0i32);
            for picture in pictures.iter().filter(|p| u16::from(p.class) == class) {
                count += 1;
                for (sum, &pixel) in sums.iter_mut().zip(&picture.pixels) {
                    *sum += i32::from(pixel) * STEPS;
                }
            }
            sums.map(|sum| (2 * sum + count) / (2 * count.max(1)))
        };
        Self {
            means: (0..CLASSES).map(mean).collect(),
        }
    }

    /// Distances of an encoded picture; `None` for anything but a picture of the demonstration set.
    pub fn distances(&self, picture: &[u8]) -> Option<Distances> {
        let pixels = digits::decode_png(picture)?;
        let mut distances = [0; CLASSES as usize];
        for (distance, mean) in distances.iter_mut().zip(&self.means) {
            *distance = pixels
                .iter()
                .zip(mean)
                .map(|(&pixel, &mean)| {
                    u64::from((i32::from(pixel) * STEPS - mean).unsigned_abs()).pow(2)
                })
                .sum();
        }
        Some(distances)
    }

    /// The nearest class below `classes`, other than `except`.
    pub fn nearest(&self, distances: &Distances, classes: u16, except: Option<u16>) -> Option<u16> {
        (0..classes.min(CLASSES))
            .filter(|&c| Some(c) != except)
            .min_by_key(|&c| distances[usize::from(c)])
    }

    /// How hard a picture of class `truth` is among `classes` classes.
    pub fn look(&self, distances: Option<&Distances>, truth: u16, classes: u16) -> Look {
        let unreadable = Look {
            difficulty: DIFFICULTY_UNREADABLE,
            confused_with: None,
        };
        let Some(distances) = distances else {
            return unreadable;
        };
        let Some(&own) = distances.get(usize::from(truth)) else {
            return unreadable;
        };
        let confused_with = self.nearest(distances, classes, Some(truth));
        let Some(other) = confused_with.map(|c| distances[usize::from(c)]) else {
            return unreadable;
        };
        let way = own * 1_000 / (own + other).max(1);
        let difficulty = (way.clamp(EASY, HARD) - EASY) * 1_000 / (HARD - EASY);
        Look {
            difficulty: difficulty as u32,
            confused_with,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_pictures_look_like_their_class() {
        let eye = Eye::shared();
        let digits = digits::load();
        let right = |d: &&digits::Digit| {
            let distances = eye.distances(&digits::png(d)).unwrap();
            eye.nearest(&distances, CLASSES, None) == Some(u16::from(d.class))
        };
        // A nearest-mean reader gets about 90 % of this set right.
        assert_eq!(digits.iter().filter(right).count(), 1_797 - 171);
    }

    #[test]
    fn a_mean_picture_is_easy_and_one_half_way_is_hard() {
        let eye = Eye::shared();
        let mut distances = [1_000; CLASSES as usize];
        distances[3] = 0;
        distances[8] = 900;
        assert_eq!(
            eye.look(Some(&distances), 3, 10),
            Look {
                difficulty: 0,
                confused_with: Some(8)
            }
        );
        assert_eq!(
            eye.look(Some(&distances), 8, 10),
            Look {
                difficulty: 1_000,
                confused_with: Some(3)
            }
        );
        distances[3] = 900;
        assert_eq!(eye.look(Some(&distances), 3, 10).difficulty, 1_000);
        assert_eq!(
            eye.look(Some(&distances), 3, 5).confused_with,
            Some(0),
            "class 8 does not exist in this task"
        );
    }

    #[test]
    fn what_cannot_be_read_is_medium_hard() {
        let eye = Eye::shared();
        assert_eq!(eye.distances(b"not a picture"), None);
        let look = Look {
            difficulty: 500,
            confused_with: None,
        };
        assert_eq!(eye.look(None, 3, 10), look);
        assert_eq!(eye.look(Some(&[5; 10]), 12, 20), look, "no such digit");
        assert_eq!(
            eye.look(Some(&[5; 10]), 0, 1),
            look,
            "nothing to confuse it with"
        );
        assert_eq!(
            eye.look(Some(&[0; 10]), 0, 10).difficulty,
            0,
            "equal means divide by nothing"
        );
    }
}
