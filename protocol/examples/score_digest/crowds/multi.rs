//! Sets of labels.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use assay_protocol::consensus::{GoldPrior, MultiInput, MultiVote, infer_multi};

use super::{Crowd, Rng, admitted, choose, habits, priors};

struct Sets {
    items: u32,
    labelers: u32,
    labels: u16,
    votes: Vec<MultiVote>,
    gold: BTreeMap<u32, Vec<u16>>,
    priors: Vec<GoldPrior>,
}

/// Sets of labels.
pub fn multi(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let labels = 1 + rng.below(8) as u16;
    let mut crowd = Sets {
        items,
        labelers: habits.len() as u32,
        labels,
        votes: Vec::new(),
        gold: BTreeMap::new(),
        priors: priors(habits.len(), rng),
    };
    let set = |bits: u64| (0..labels).filter(|label| bits >> label & 1 == 1).collect();
    let answers = 1 << labels;
    for item in 0..items {
        let truth = rng.below(answers) & rng.below(answers);
        if rng.percent(10) {
            crowd.gold.insert(item, set(truth));
        }
        for labeler in rng.some_of(6, crowd.labelers) {
            let own = choose(habits[labeler as usize], item, truth, answers, rng);
            let mut labels: Vec<u16> = set(if rng.percent(50) { own } else { own | truth });
            rng.shuffle(&mut labels);
            crowd.votes.push(MultiVote {
                item,
                labeler,
                labels,
            });
        }
    }
    Box::new(crowd)
}

impl Crowd for Sets {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
        for vote in &mut self.votes {
            rng.shuffle(&mut vote.labels);
        }
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_multi(&MultiInput {
            items: self.items,
            labelers: self.labelers,
            labels: self.labels,
            votes: &self.votes,
            gold: &self.gold,
            priors: &self.priors,
        }));
        write!(out, "{result:?}")
    }
}
