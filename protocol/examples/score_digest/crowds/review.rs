//! Verdicts on proposed labels.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use assay_protocol::consensus::{GoldPrior, ReviewInput, ReviewVote, Verdict, infer_review};

use super::{Crowd, Rng, admitted, choose, habits, priors};

struct Reviews {
    proposed: Vec<u16>,
    labelers: u32,
    classes: u16,
    votes: Vec<ReviewVote>,
    gold: BTreeMap<u32, u16>,
    priors: Vec<GoldPrior>,
}

/// Verdicts on proposed labels.
pub fn review(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let classes = 2 + rng.below(5);
    let mut crowd = Reviews {
        proposed: Vec::new(),
        labelers: habits.len() as u32,
        classes: classes as u16,
        votes: Vec::new(),
        gold: BTreeMap::new(),
        priors: priors(habits.len(), rng),
    };
    for item in 0..items {
        let truth = rng.below(classes);
        let proposed = if rng.percent(70) {
            truth
        } else {
            rng.below(classes)
        } as u16;
        crowd.proposed.push(proposed);
        if rng.percent(8) {
            crowd.gold.insert(item, truth as u16);
        }
        for labeler in rng.some_of(6, crowd.labelers) {
            let own = choose(habits[labeler as usize], item, truth, classes, rng) as u16;
            let verdict = if own == proposed {
                Verdict::Accept
            } else if rng.percent(30) {
                Verdict::Reject
            } else {
                Verdict::Fix(own)
            };
            crowd.votes.push(ReviewVote {
                item,
                labeler,
                verdict,
            });
        }
    }
    Box::new(crowd)
}

impl Crowd for Reviews {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_review(&ReviewInput {
            proposed: &self.proposed,
            labelers: self.labelers,
            classes: self.classes,
            votes: &self.votes,
            gold: &self.gold,
            priors: &self.priors,
        }));
        write!(out, "{result:?}")
    }
}
