//! Ratings and numbers.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use assay_protocol::consensus::{
    infer_values,
    value::{ValueInput, ValueScale, ValueVote},
};

use super::{Crowd, Habit, Rng, admitted, choose, habits};

struct Values {
    items: u32,
    labelers: u32,
    scale: ValueScale,
    votes: Vec<ValueVote>,
    gold: BTreeMap<u32, i64>,
}

/// Ratings and numbers.
pub fn value(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let (min, step, steps) = match rng.below(4) {
        0 => (1, 1, 4),
        1 => (-50, 5, 20),
        2 => (0, 1, 10_000),
        _ => (-(1 << 40), 1 << 20, 1 << 21),
    };
    let scale = ValueScale {
        min,
        max: min + step * steps,
        step,
        tolerance: step * rng.from(0, steps / 4),
    };
    let mut crowd = Values {
        items,
        labelers: habits.len() as u32,
        scale,
        votes: Vec::new(),
        gold: BTreeMap::new(),
    };
    let at = |place: i64| min + step * place.clamp(0, steps);
    for item in 0..items {
        let truth = rng.from(0, steps);
        if rng.percent(8) {
            crowd.gold.insert(item, at(truth));
        }
        for labeler in rng.some_of(7, crowd.labelers) {
            let off = i64::from(labeler % 5) - 2;
            let place = match habits[labeler as usize] {
                Habit::Able(right) => {
                    let spread = steps * (100 - right as i64) / 100;
                    truth + off * steps / 40 + rng.from(-spread, spread) / 2
                }
                other => choose(other, item, 0, steps as u64 + 1, rng) as i64,
            };
            crowd.votes.push(ValueVote {
                item,
                labeler,
                value: at(place),
            });
        }
    }
    Box::new(crowd)
}

impl Crowd for Values {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_values(&ValueInput {
            items: self.items,
            labelers: self.labelers,
            scale: self.scale,
            votes: &self.votes,
            gold: &self.gold,
        }));
        write!(out, "{result:?}")
    }
}
