//! What is known about votes and labelers besides the labels: answer times, and which labelers are machines.
//!
//! What for: somebody who does not look is fast, and one model run under two names is one opinion. Both are optional.
//! What it does not do: times are claims of the labelers' clocks; they enter the fraud score only, never skill, posterior or pay.
//! Invariants: integers only; votes may come in any order.

use serde::{Deserialize, Serialize};

use super::ItemResult;
use super::votes::ClassInput;
use crate::consensus::error::ConsensusError;

/// An answer is fast when it took less than one in this many parts of the crowd's median for items of the same class.
pub(super) const FAST_PART: u64 = 5;

/// Optional evidence beside the votes; the default is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals<'a> {
    /// Answer time of each vote in seconds, in the order of [`ClassInput::votes`], or empty.
    pub seconds: &'a [u32],
    /// Labelers declared to be machines, in any order.
    pub machines: &'a [u32],
}

/// How fast a labeler answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Median answer time, in seconds (the lower one of two).
    pub median_seconds: u32,
    /// Median of the labeler's times, each as a share of the crowd's median for items of the same class, in thousandths.
    pub relative_milli: u32,
    /// Share of answers that took less than a fifth of the crowd's median for items of the same class, in parts per million.
    pub fast_ppm: u32,
}

impl Signals<'_> {
    /// Checks lengths and ranges.
    pub(super) fn check(&self, input: &ClassInput<'_>) -> Result<(), ConsensusError> {
        if !self.seconds.is_empty() && self.seconds.len() != input.votes.len() {
            return Err(ConsensusError::SecondsCount {
                seconds: self.seconds.len(),
                votes: input.votes.len(),
            });
        }
        match self
            .machines
            .iter()
            .find(|&&labeler| labeler >= input.labelers)
        {
            Some(&labeler) => Err(ConsensusError::MachineOutOfRange {
                labeler,
                labelers: input.labelers,
            }),
            None => Ok(()),
        }
    }

    /// One entry per labeler; call after [`Signals::check`].
    pub(super) fn machine_of(&self, labelers: usize) -> Vec<bool> {
        let mut machine = vec![false; labelers];
        for &labeler in self.machines {
            machine[labeler as usize] = true;
        }
        machine
    }

    /// The pace of each labeler, `None` without times or votes; call after [`Signals::check`].
    pub(super) fn paces(&self, input: &ClassInput<'_>, items: &[ItemResult]) -> Vec<Option<Pace>> {
        let mut paces = vec![None; input.labelers as usize];
        if self.seconds.is_empty() {
            return paces;
        }
        let class_of = |item: u32| usize::from(items[item as usize].label.unwrap_or_default());
        let mut of_class: Vec<Vec<u32>> = vec![Vec::new(); usize::from(input.classes)];
        for (vote, &seconds) in input.votes.iter().zip(self.seconds) {
            of_class[class_of(vote.item)].push(seconds);
        }
        let medians: Vec<u64> = of_class
            .iter_mut()
            .map(|times| u64::from(median(times)).max(1))
            .collect();
        let mut own: Vec<(u32, u32, u64)> = input
            .votes
            .iter()
            .zip(self.seconds)
            .map(|(vote, &seconds)| (vote.labeler, seconds, medians[class_of(vote.item)]))
            .collect();
        own.sort_unstable();
        for run in own.chunk_by(|a, b| a.0 == b.0) {
            let mut times: Vec<u32> = run.iter().map(|entry| entry.1).collect();
            let mut relative: Vec<u32> = run
                .iter()
                .map(|&(_, seconds, median)| {
                    (u64::from(seconds) * 1_000 / median).min(u64::from(u32::MAX)) as u32
                })
                .collect();
            let fast = run
                .iter()
                .filter(|&&(_, seconds, median)| u64::from(seconds) * FAST_PART < median)
                .count() as u64;
            paces[run[0].0 as usize] = Some(Pace {
                median_seconds: median(&mut times),
                relative_milli: median(&mut relative),
                fast_ppm: (fast * 1_000_000 / run.len() as u64) as u32,
            });
        }
        paces
    }
}

/// The lower median; zero of nothing.
fn median(values: &mut [u32]) -> u32 {
    if values.is_empty() {
        return 0;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable(middle).1
}
