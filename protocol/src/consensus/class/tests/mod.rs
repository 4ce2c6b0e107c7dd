//! Tests of consensus scoring: seeded integer crowds, an independent reference, and real crowds where they are available.

mod attacks;
mod correlation;
mod crowds;
mod detection;
mod disputes;
mod fraud;
mod habits;
mod input;
mod pay;
mod real_sets;
mod reference;
mod rescore;
mod rings;
mod skill;
mod sprt;
mod stop;

use std::collections::BTreeMap;

use crate::consensus::draw::Rng;

use super::{ClassInput, ClassResult, Vote, infer_class, majority};

/// How a simulated labeler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Right with this probability in per cent, else an even draw among the wrong classes.
    Right(u64),
    /// An even draw among all classes.
    Uniform,
    /// Always this class.
    Constant(u16),
    /// A draw from the true class frequencies.
    Frequencies,
    /// One random answer sheet shared by all labelers with this habit.
    Sheet,
}

/// A simulated task.
pub(super) struct Crowd {
    pub items: u32,
    pub classes: u16,
    pub habits: Vec<Habit>,
    pub truth: Vec<u16>,
    pub votes: Vec<Vote>,
    pub gold: BTreeMap<u32, u16>,
}

/// What [`Crowd::draw`] needs to know; class 0 has `majority_percent`, the others share the rest evenly.
pub(super) struct Plan<'a> {
    pub items: u32,
    pub classes: u16,
    pub redundancy: usize,
    pub majority_percent: u64,
    pub gold_percent: u64,
    pub habits: &'a [Habit],
}

impl Crowd {
    pub fn draw(plan: &Plan<'_>, rng: &mut Rng) -> Self {
        let classes = u64::from(plan.classes);
        let class = |rng: &mut Rng| {
            if rng.percent(plan.majority_percent) {
                0
            } else {
                1 + rng.below(classes - 1) as u16
            }
        };
        let mut crowd = Self {
            items: plan.items,
            classes: plan.classes,
            habits: plan.habits.to_vec(),
            truth: Vec::new(),
            votes: Vec::new(),
            gold: BTreeMap::new(),
        };
        // Items go to the labelers with the least load, ties at random: everybody gets nearly the same number.
        let mut load = vec![0u64; plan.habits.len()];
        for item in 0..plan.items {
            let truth = class(rng);
            crowd.truth.push(truth);
            if rng.percent(plan.gold_percent) {
                crowd.gold.insert(item, truth);
            }
            let sheet = rng.below(classes) as u16;
            let mut order: Vec<(u64, u64, usize)> = load
                .iter()
                .enumerate()
                .map(|(labeler, &load)| (load, rng.below(1 << 40), labeler))
                .collect();
            order.sort_unstable();
            for &(_, _, labeler) in order.iter().take(plan.redundancy) {
                load[labeler] += 1;
                let label = match plan.habits[labeler] {
                    Habit::Right(percent) if rng.percent(percent) => truth,
                    Habit::Right(_) => {
                        ((u64::from(truth) + 1 + rng.below(classes - 1)) % classes) as u16
                    }
                    Habit::Uniform => rng.below(classes) as u16,
                    Habit::Constant(label) => label,
                    Habit::Frequencies => class(rng),
                    Habit::Sheet => sheet,
                };
                crowd.votes.push(Vote {
                    item,
                    labeler: labeler as u32,
                    label,
                });
            }
        }
        crowd
    }

    pub fn input(&self) -> ClassInput<'_> {
        ClassInput {
            items: self.items,
            labelers: self.habits.len() as u32,
            classes: self.classes,
            votes: &self.votes,
            gold: &self.gold,
            priors: &[],
        }
    }

    pub fn infer(&self) -> ClassResult {
        infer_class(&self.input()).unwrap()
    }

    /// Items that the network and the plain majority get right.
    pub fn right(&self, result: &ClassResult) -> (u32, u32) {
        let plain = majority(&self.input()).unwrap();
        let mut right = (0, 0);
        for (item, &truth) in self.truth.iter().enumerate() {
            right.0 += u32::from(result.items[item].label == Some(truth));
            right.1 += u32::from(plain[item] == Some(truth));
        }
        right
    }
}

/// The demonstration crowd: seven careful, three tired, two random, one constant labeler and a ring of three.
pub(super) fn mixed_habits() -> Vec<Habit> {
    let mut habits = vec![Habit::Right(95); 7];
    habits.extend([Habit::Right(75); 3]);
    habits.extend([Habit::Uniform, Habit::Uniform, Habit::Constant(3)]);
    habits.extend([Habit::Sheet; 3]);
    habits
}
