//! People: which answer a labeler gives to an item, and how long it takes.
//!
//! An answer is a pure function of (seed, labeler, task, item, place in the wave): it does not depend on what else happens, so the same
//! people meet the same items in two runs that differ elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::id::TaskId;

use crate::{
    rng::{PPM, Stream},
    scenario::{Population, Scenario, Skill},
    task::Plan,
};

/// What a person remembers. Tied to the person, not to the node: it survives a crash of the node, except what is marked.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// Tasks that the person decided about.
    pub decided: BTreeSet<TaskId>,
    /// Waves being worked on since the node last started.
    pub drafting: BTreeSet<(TaskId, u8)>,
    /// When the last item in hand will be done, simulated milliseconds.
    pub busy_until: u64,
}

/// Everybody's answers.
#[derive(Clone, Debug)]
pub struct People {
    seed: u64,
    overrides: BTreeMap<(String, usize, u32), u16>,
}

impl People {
    /// The people of a scenario.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let overrides = scenario
            .answer_override
            .iter()
            .map(|o| ((o.labeler.clone(), o.task, o.item), o.label))
            .collect();
        Self { seed, overrides }
    }

    /// The label that labeler `node` gives to `item` as the `place`-th item of its wave.
    pub fn answer(
        &self,
        who: &Labeler<'_>,
        task: usize,
        plan: &Plan,
        hard_skill_ppm: u32,
        item: u32,
        place: u32,
    ) -> u16 {
        if let Some(label) = self.overrides.get(&(who.name.to_owned(), task, item)) {
            return *label;
        }
        let classes = plan.manifest.kind.classes();
        let p = who.population;
        let mut luck = Stream::new(
            self.seed,
            "answer",
            &[who.node as u64, task as u64, u64::from(item)],
        );
        match p.skill {
            Skill::Constant => p.label.min(classes - 1),
            Skill::Uniform => luck.below(u64::from(classes)) as u16,
            Skill::Ring => {
                let mut sheet = Stream::new(
                    self.seed,
                    "sheet",
                    &[who.group as u64, task as u64, u64::from(item)],
                );
                let copied = pick(
                    &mut sheet,
                    u64::from(p.accuracy_ppm[0]),
                    plan.truth[item as usize],
                    classes,
                );
                if luck.chance(p.slip_ppm) {
                    luck.below(u64::from(classes)) as u16
                } else {
                    copied
                }
            }
            Skill::Skilled => {
                let mut own = Stream::new(self.seed, "accuracy", &[who.node as u64]);
                let accuracy =
                    own.between(u64::from(p.accuracy_ppm[0]), u64::from(p.accuracy_ppm[1]));
                let chance = PPM / u64::from(classes);
                let tired = accuracy.saturating_sub(u64::from(p.fatigue_ppm) * u64::from(place));
                let mut right = tired.max(chance.min(accuracy));
                if plan.hard[item as usize] {
                    right = chance.min(right)
                        + right.saturating_sub(chance) * u64::from(hard_skill_ppm) / PPM;
                }
                pick(&mut luck, right, plan.truth[item as usize], classes)
            }
        }
    }

    /// Time that labeler `node` takes for `item`, milliseconds.
    pub fn answer_ms(&self, who: &Labeler<'_>, task: usize, item: u32) -> u64 {
        let keys = [who.node as u64, task as u64, u64::from(item)];
        Stream::new(self.seed, "answer time", &keys).quantile(&who.population.answer_ms)
    }

    /// Whether labeler `node` takes part in a task.
    pub fn takes_part(&self, who: &Labeler<'_>, task: usize) -> bool {
        Stream::new(self.seed, "takes part", &[who.node as u64, task as u64])
            .chance(who.population.takes_part_ppm)
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub struct Labeler<'a> {
    /// Place among all nodes.
    pub node: usize,
    /// Its name.
    pub name: &'a str,
    /// Place of its population.
    pub group: usize,
    /// Its population.
    pub population: &'a Population,
}

/// The truth with probability `right_ppm`, else one of the other labels.
fn pick(luck: &mut Stream, right_ppm: u64, truth: u16, classes: u16) -> u16 {
    if luck.below(PPM) < right_ppm {
        return truth;
    }
    let other = luck.below(u64::from(classes) - 1) as u16;
    if other < truth { other } else { other + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_answers_are_never_the_truth_and_reach_every_other_label() {
        let mut luck = Stream::new(1, "pick", &[]);
        let wrong: BTreeSet<u16> = (0..200).map(|_| pick(&mut luck, 0, 2, 4)).collect();
        assert_eq!(wrong.into_iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert!((0..200).all(|_| pick(&mut luck, PPM, 2, 4) == 2));
    }
}
