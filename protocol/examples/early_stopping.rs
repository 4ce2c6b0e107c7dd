//! How many labels the stopping rule saves, on recorded crowds.
//!
//! `cargo run --release -p assay-protocol --example early_stopping -- DATA rte dog weather` with DATA a folder of sets, each with
//! `labels.csv` (`task,worker,label`) and `truth.csv` (`task,label`). Votes are asked for in random orders (three seeds): two for
//! every item, then rounds of one more for each item whose posterior is below the target. Printed beside it: the share of the votes
//! that equal redundancy for all items needs for the same accuracy (linear between whole redundancies).

#![allow(
    clippy::disallowed_methods,
    reason = "a program that reads files beside the core, not the core"
)]

use std::{collections::BTreeMap, fs, path::Path};

use assay_protocol::consensus::{ClassInput, Vote, infer_class};

/// Orders of the votes that the figures are a mean of.
const SEEDS: u64 = 3;
/// Targets, Q16: 0.90, 0.95, 0.98, 0.99.
const TARGETS: [(u32, &str); 7] = [
    (45_875, "0.70"),
    (52_429, "0.80"),
    (55_706, "0.85"),
    (58_982, "0.90"),
    (62_259, "0.95"),
    (64_225, "0.98"),
    (64_881, "0.99"),
];
/// Votes per item before the rule is asked.
const FIRST: usize = 2;

struct Set {
    classes: u16,
    labelers: u32,
    /// Votes of each item in file order.
    votes: Vec<Vec<Vote>>,
    truth: Vec<Option<u16>>,
}

fn number(ids: &mut BTreeMap<String, u32>, id: &str) -> u32 {
    let next = ids.len() as u32;
    *ids.entry(id.to_owned()).or_insert(next)
}

fn load(dir: &Path) -> Result<Set, Box<dyn std::error::Error>> {
    let (mut items, mut labelers, mut classes) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut votes: Vec<Vec<Vote>> = Vec::new();
    for line in fs::read_to_string(dir.join("labels.csv"))?.lines().skip(1) {
        let mut cells = line.split(',');
        let mut cell = || cells.next().ok_or("a line with fewer than three cells");
        let item = number(&mut items, cell()?);
        let labeler = number(&mut labelers, cell()?);
        let label = number(&mut classes, cell()?) as u16;
        votes.resize_with(items.len(), Vec::new);
        let of_item = &mut votes[item as usize];
        // The first answer of a labeler counts.
        if of_item.iter().all(|vote| vote.labeler != labeler) {
            of_item.push(Vote {
                item,
                labeler,
                label,
            });
        }
    }
    let mut truth = vec![None; votes.len()];
    for line in fs::read_to_string(dir.join("truth.csv"))?.lines().skip(1) {
        let mut cells = line.split(',');
        if let (Some(task), Some(label)) = (cells.next(), cells.next())
            && let Some(&item) = items.get(task)
        {
            truth[item as usize] = Some(number(&mut classes, label) as u16);
        }
    }
    Ok(Set {
        classes: classes.len() as u16,
        labelers: labelers.len() as u32,
        votes,
        truth,
    })
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

impl Set {
    fn total(&self) -> usize {
        self.votes.iter().map(Vec::len).sum()
    }

    /// Posteriors of the chosen labels, and the number of right ones, when each item shows its first `asked` votes.
    fn infer(&self, asked: &[usize]) -> (Vec<u32>, usize) {
        let shown = self.votes.iter().zip(asked);
        let votes: Vec<Vote> = shown.flat_map(|(v, n)| v[..*n].iter().copied()).collect();
        let gold = BTreeMap::new();
        let input = ClassInput {
            items: self.votes.len() as u32,
            labelers: self.labelers,
            classes: self.classes,
            votes: &votes,
            gold: &gold,
            priors: &[],
        };
        let result = infer_class(&input).expect("a loaded set is within its own ranges");
        let right = result.items.iter().zip(&self.truth);
        let right = right.filter(|(item, truth)| truth.is_some() && item.label == **truth);
        let right = right.count();
        (
            result.items.iter().map(|item| item.posterior).collect(),
            right,
        )
    }

    /// (votes used, right labels) of the stopping rule.
    fn adaptive(&self, target: u32) -> (usize, usize) {
        let mut asked: Vec<usize> = self.votes.iter().map(|v| v.len().min(FIRST)).collect();
        loop {
            let (posteriors, right) = self.infer(&asked);
            let mut more = false;
            for ((n, votes), posterior) in asked.iter_mut().zip(&self.votes).zip(posteriors) {
                if posterior < target && *n < votes.len() {
                    *n += 1;
                    more = true;
                }
            }
            if !more {
                return (asked.iter().sum(), right);
            }
        }
    }

    /// (votes used, right labels) for each redundancy from one on.
    fn uniform(&self) -> Vec<(usize, usize)> {
        let most = self.votes.iter().map(Vec::len).max().unwrap_or(0);
        (1..=most)
            .map(|k| {
                let asked: Vec<usize> = self.votes.iter().map(|v| v.len().min(k)).collect();
                (asked.iter().sum(), self.infer(&asked).1)
            })
            .collect()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let data = args
        .next()
        .ok_or("usage: early_stopping DATA SET...; DATA is a folder of sets")?;
    println!(
        "| set | target | votes used | accuracy | with all votes | equal redundancy needs | saved |"
    );
    println!("|---|---|---|---|---|---|---|");
    for name in args {
        let mut set = load(&Path::new(&data).join(&name))?;
        let known = set.truth.iter().flatten().count().max(1);
        let total = set.total();
        let mut uniform: Vec<(u64, u64)> = Vec::new();
        let mut adaptive = [(0u64, 0u64); TARGETS.len()];
        for seed in 1..=SEEDS {
            let mut rng = Rng(seed);
            for votes in &mut set.votes {
                for i in (1..votes.len()).rev() {
                    votes.swap(i, rng.below(i + 1));
                }
            }
            let curve = set.uniform();
            uniform.resize(curve.len(), (0, 0));
            for (sum, point) in uniform.iter_mut().zip(curve) {
                *sum = (sum.0 + point.0 as u64, sum.1 + point.1 as u64);
            }
            for (sum, (target, _)) in adaptive.iter_mut().zip(TARGETS) {
                let (used, right) = set.adaptive(target);
                *sum = (sum.0 + used as u64, sum.1 + right as u64);
            }
        }
        let all = uniform.last().copied().unwrap_or_default();
        for ((used, right), (_, target)) in adaptive.iter().copied().zip(TARGETS) {
            let needed = needed(&uniform, right);
            let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
            println!(
                "| {name} | {target} | {:.1} % | {:.2} % | {:.2} % | {:.1} % | {:.1} % |",
                percent(used, SEEDS * total as u64),
                percent(right, SEEDS * known as u64),
                percent(all.1, SEEDS * known as u64),
                100.0 * needed / (SEEDS * total as u64) as f64,
                100.0 * (1.0 - used as f64 / needed),
            );
        }
    }
    Ok(())
}

/// Votes that equal redundancy needs for `right` labels; all of them when it never gets there.
fn needed(curve: &[(u64, u64)], right: u64) -> f64 {
    let mut before = (0, 0);
    for &(votes, here) in curve {
        if here >= right {
            let share = (right - before.1) as f64 / (here - before.1).max(1) as f64;
            return before.0 as f64 + share * (votes - before.0) as f64;
        }
        before = (votes, here.max(before.1));
    }
    curve.last().map_or(0.0, |last| last.0 as f64)
}
