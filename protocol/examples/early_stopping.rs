//! How many labels the stopping rule saves, on recorded crowds.
//!
//! `cargo run --release -p assay-protocol --example early_stopping -- DATA rte dog weather` with DATA a folder of sets, each with
//! `labels.csv` (`task,worker,label`) and `truth.csv` (`task,label`). In random orders (twenty seeds, `SEEDS=n` for others) two votes are
//! shown for every item, then one more for each item that the rule wants at the target, and everything is inferred again, until no item
//! wants more. The next vote is either the next in the random order, or the one of the labeler with most skill so far: whom the network
//! can prefer when it asks again. Only recorded votes can be asked for, so no labeler gives more than they gave.
//!
//! Printed beside it: the share of the votes that equal redundancy for all items in the same random orders needs for the same accuracy
//! (linear between whole redundancies, the first crossing of the mean curve), and what is saved against that.

#![allow(
    clippy::disallowed_methods,
    reason = "a program that reads files beside the core, not the core"
)]

use std::{collections::BTreeMap, fs, path::Path};

use assay_protocol::consensus::{ClassInput, ClassResult, Vote, infer_class, wants_more};

/// Orders of the votes that the figures are a mean of.
const SEEDS: u64 = 20;
/// Targets, Q16.
const TARGETS: [(u32, &str); 3] = [(58_982, "0.90"), (62_259, "0.95"), (64_225, "0.98")];
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

    /// What is inferred from the shown votes, and the number of right labels.
    fn infer(&self, shown: &[Vec<Vote>]) -> (ClassResult, usize) {
        let votes: Vec<Vote> = shown.iter().flatten().copied().collect();
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
        (result, right)
    }

    /// The first `count` votes of each item.
    fn first(&self, count: usize) -> Vec<Vec<Vote>> {
        let votes = self.votes.iter();
        votes.map(|v| v[..v.len().min(count)].to_vec()).collect()
    }

    /// (votes used, right labels) of the stopping rule.
    fn adaptive(&self, target: u32, whom: Whom) -> (usize, usize) {
        let mut shown = self.first(FIRST);
        let rest = self.votes.iter().zip(&shown);
        let mut rest: Vec<Vec<Vote>> = rest.map(|(v, s)| v[s.len()..].to_vec()).collect();
        loop {
            let (result, right) = self.infer(&shown);
            let mut more = false;
            for (item, (shown, rest)) in shown.iter_mut().zip(&mut rest).enumerate() {
                let seen: Vec<(u32, u16)> = shown.iter().map(|v| (v.labeler, v.label)).collect();
                if rest.is_empty() || !wants_more(&result, item as u32, &seen, target) {
                    continue;
                }
                let skill = |at: &usize| result.labelers[rest[*at].labeler as usize].skill_ppm;
                let next = match whom {
                    Whom::Anybody => 0,
                    Whom::Skilled => (0..rest.len()).max_by_key(skill).unwrap_or(0),
                };
                shown.push(rest.remove(next));
                more = true;
            }
            if !more {
                return (shown.iter().map(Vec::len).sum(), right);
            }
        }
    }

    /// (votes used, right labels) for each redundancy from one on.
    fn uniform(&self) -> Vec<(usize, usize)> {
        let most = self.votes.iter().map(Vec::len).max().unwrap_or(0);
        (1..=most)
            .map(|k| {
                let shown = self.first(k);
                let used = shown.iter().map(Vec::len).sum();
                (used, self.infer(&shown).1)
            })
            .collect()
    }
}

/// Who is asked next.
#[derive(Clone, Copy)]
enum Whom {
    Anybody,
    Skilled,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let data = args
        .next()
        .ok_or("usage: early_stopping DATA SET...; DATA is a folder of sets")?;
    let seeds = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok());
    let seeds: u64 = seeds.unwrap_or(SEEDS);
    let mut runs = Vec::new();
    for (whom, name) in [(Whom::Anybody, "anybody"), (Whom::Skilled, "the skilled")] {
        runs.extend(TARGETS.map(|(target, wanted)| (whom, name, target, wanted)));
    }
    println!(
        "| set | then asked | target | votes used | accuracy | with all votes | equal redundancy needs | saved |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for name in args {
        let mut set = load(&Path::new(&data).join(&name))?;
        let known = set.truth.iter().flatten().count().max(1);
        let total = set.total();
        let mut uniform: Vec<(u64, u64)> = Vec::new();
        let mut adaptive = vec![(0u64, 0u64); runs.len()];
        for seed in 1..=seeds {
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
            for (sum, run) in adaptive.iter_mut().zip(&runs) {
                let (used, right) = set.adaptive(run.2, run.0);
                *sum = (sum.0 + used as u64, sum.1 + right as u64);
            }
        }
        let all = uniform.last().copied().unwrap_or_default();
        for ((used, right), (_, whom, _, target)) in adaptive.iter().copied().zip(&runs) {
            let needed = needed(&uniform, right);
            let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
            println!(
                "| {name} | {whom} | {target} | {:.1} % | {:.2} % | {:.2} % | {:.1} % | {:.1} % |",
                percent(used, seeds * total as u64),
                percent(right, seeds * known as u64),
                percent(all.1, seeds * known as u64),
                100.0 * needed / (seeds * total as u64) as f64,
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
