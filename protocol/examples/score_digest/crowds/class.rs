//! Class labels.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use assay_protocol::consensus::{ClassInput, GoldPrior, Signals, Vote, infer_class_with};

use super::{Crowd, Rng, admitted, choose, habits, priors};

struct Classes {
    items: u32,
    labelers: u32,
    classes: u16,
    votes: Vec<(Vote, u32)>,
    timed: bool,
    machines: Vec<u32>,
    gold: BTreeMap<u32, u16>,
    priors: Vec<GoldPrior>,
}

/// Class labels.
pub fn class(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let classes = if rng.percent(5) {
        200
    } else {
        2 + rng.below(6)
    };
    let mut crowd = Classes {
        items,
        labelers: habits.len() as u32,
        classes: classes as u16,
        votes: Vec::new(),
        timed: rng.percent(30),
        machines: rng.some_of(2, habits.len() as u32),
        gold: BTreeMap::new(),
        priors: priors(habits.len(), rng),
    };
    let known = 20 * rng.below(2);
    for item in 0..items {
        // Low classes are more frequent.
        let truth = rng.below(classes).min(rng.below(classes));
        if rng.percent(known) {
            crowd.gold.insert(item, truth as u16);
        }
        for labeler in rng.some_of(8, crowd.labelers) {
            let label = choose(habits[labeler as usize], item, truth, classes, rng) as u16;
            let seconds = rng.below(1 + 20 * u64::from(labeler % 3)) as u32;
            let vote = Vote {
                item,
                labeler,
                label,
            };
            crowd.votes.push((vote, seconds));
        }
    }
    Box::new(crowd)
}

impl Crowd for Classes {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let votes: Vec<Vote> = self.votes.iter().map(|vote| vote.0).collect();
        let mut seconds = Vec::new();
        if self.timed {
            seconds.extend(self.votes.iter().map(|vote| vote.1));
        }
        let input = ClassInput {
            items: self.items,
            labelers: self.labelers,
            classes: self.classes,
            votes: &votes,
            gold: &self.gold,
            priors: &self.priors,
        };
        let signals = Signals {
            seconds: &seconds,
            machines: &self.machines,
        };
        let result = admitted(infer_class_with(&input, &signals));
        // The table is private; the posteriors and the skills come from it.
        let rows: Vec<_> = (0..self.items)
            .map(|item| result.posteriors_of(item))
            .collect();
        write!(
            out,
            "{:?}{:?}{:?}{}{rows:?}",
            result.items, result.labelers, result.clusters, result.rounds
        )
    }
}
