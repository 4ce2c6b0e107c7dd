//! Comparisons of two objects, and orders of several.

use std::fmt::{Result, Write};

use assay_protocol::consensus::{
    Comparison, Outcome, PairInput, Ranking, RankingInput, infer_pairs, infer_rankings,
};

use super::{Crowd, Rng, admitted, choose, habits};

struct Comparisons {
    objects: u32,
    labelers: u32,
    sided: bool,
    votes: Vec<Comparison>,
}

/// Comparisons of two objects; twelve votes per object.
pub fn pair(objects: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(objects, rng);
    let mut crowd = Comparisons {
        objects,
        labelers: habits.len() as u32,
        sided: rng.percent(50),
        votes: Vec::new(),
    };
    for vote in 0..if objects < 2 { 0 } else { 12 * objects } {
        let labeler = rng.below(u64::from(crowd.labelers)) as u32;
        let left = rng.below(u64::from(objects)) as u32;
        let right = (left + 1 + rng.below(u64::from(objects) - 1) as u32) % objects;
        let better = u64::from(left > right);
        let outcome = match choose(habits[labeler as usize], vote, better, 2, rng) {
            _ if rng.percent(5) => Outcome::Tie,
            0 => Outcome::Right,
            _ => Outcome::Left,
        };
        crowd.votes.push(Comparison {
            labeler,
            left,
            right,
            outcome,
        });
    }
    Box::new(crowd)
}

impl Crowd for Comparisons {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_pairs(&PairInput {
            objects: self.objects,
            labelers: self.labelers,
            sided: self.sided,
            votes: &self.votes,
        }));
        write!(out, "{result:?}")
    }
}

struct Orders {
    objects: u32,
    labelers: u32,
    votes: Vec<(u32, Vec<u32>)>,
}

/// Orders of up to seven objects; three orders per object.
pub fn ranking(objects: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(objects, rng);
    let mut crowd = Orders {
        objects,
        labelers: habits.len() as u32,
        votes: Vec::new(),
    };
    for vote in 0..3 * objects {
        let labeler = rng.below(u64::from(crowd.labelers)) as u32;
        let mut order = rng.some_of(7, objects);
        let key = |&object: &u32| {
            let habit = habits[labeler as usize];
            choose(habit, vote, u64::from(object), u64::from(objects), rng)
        };
        order.sort_by_cached_key(key);
        crowd.votes.push((labeler, order));
    }
    Box::new(crowd)
}

impl Crowd for Orders {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let votes: Vec<Ranking<'_>> = self
            .votes
            .iter()
            .map(|(labeler, order)| Ranking {
                labeler: *labeler,
                order,
            })
            .collect();
        let result = admitted(infer_rankings(&RankingInput {
            objects: self.objects,
            labelers: self.labelers,
            votes: &votes,
        }));
        write!(out, "{result:?}")
    }
}
