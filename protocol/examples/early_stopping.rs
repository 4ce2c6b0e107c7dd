//! How many labels the stopping rule saves, on recorded crowds.
//!
//! `cargo run --release -p assay-protocol --example early_stopping -- DATA rte dog weather` with DATA a folder of sets, each with
//! `labels.csv` (`task,worker,label`) and `truth.csv` (`task,label`). In random orders (the first twenty; `SEEDS=80` for the first 80,
//! `SEEDS=41-80` for orders that nothing was chosen on) two votes are shown for every item, then more for each item that the rule wants them for at the target, and everything is inferred again, until no
//! item wants more. Who is asked next:
//!
//! - anybody: one more vote, the next in the random order;
//! - the skilled: one more vote, of the labeler with most proven skill so far;
//! - the network: up to two more votes, drawn as the network draws them (`assay_protocol::task::draw`), so that nobody is preferred for
//!   more than three even shares of the wave.
//!
//! Only recorded votes can be asked for, so no labeler gives more than they gave; an item can get as many votes as were recorded.
//!
//! Printed beside it: the share of the votes that equal redundancy for all items in the same random orders needs for the same accuracy
//! (linear between whole redundancies, the first crossing of the mean curve), and what is saved against that. After the sign are
//! standard errors over the orders: of the mean accuracy, and by jackknife of what is saved. "Tables of all" is the accuracy of the same
//! votes read with what all votes of the set tell about the labelers: about what it has more was lost by learning the labelers from few
//! votes, the rest by votes not asked for. It flatters a little, since those tables were fitted to the unasked votes of the same items.

#![allow(
    clippy::disallowed_methods,
    reason = "a program that reads files beside the core, not the core"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::Path,
};

use assay_protocol::{
    consensus::{
        ClassInput, ClassResult, ClassTable, StoppingRule, Vote, infer_class, item_from_table,
    },
    id::{Account, Hash, TaskId},
    task::{DrawInput, draw, proven_skill},
};

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

    /// Right labels when the shown votes are read with another table.
    fn read_with(&self, table: &ClassTable, shown: &[Vec<Vote>]) -> usize {
        let label = |votes: &Vec<Vote>| {
            let votes: Vec<(u32, u16)> = votes.iter().map(|v| (v.labeler, v.label)).collect();
            let row = item_from_table(table, &votes)?;
            let top = row.iter().max()?;
            row.iter().position(|p| p == top)
        };
        let right = shown.iter().zip(&self.truth);
        let right = right.filter(|(votes, truth)| {
            truth.is_some_and(|truth| label(votes) == Some(usize::from(truth)))
        });
        right.count()
    }

    /// (votes used, right labels, right labels when read with `table`) of the stopping rule.
    fn adaptive(
        &self,
        target: u32,
        whom: Whom,
        seed: u64,
        table: &ClassTable,
    ) -> (usize, usize, usize) {
        let mut shown = self.first(FIRST);
        let rest = self.votes.iter().zip(&shown);
        let mut rest: Vec<Vec<Vote>> = rest.map(|(v, s)| v[s.len()..].to_vec()).collect();
        for wave in 1u64.. {
            let (result, right) = self.infer(&shown);
            let rule = StoppingRule::new(&result, target);
            let wanted = (0u32..).zip(&shown).zip(&rest);
            let wanted = wanted.filter(|((item, shown), rest)| {
                let seen: Vec<(u32, u16)> = shown.iter().map(|v| (v.labeler, v.label)).collect();
                rule.wants_more(*item, &seen, rest.len() as u16)
            });
            let wanted: Vec<u32> = wanted.map(|((item, _), _)| item).collect();
            if wanted.is_empty() {
                let used = shown.iter().map(Vec::len).sum();
                return (used, right, self.read_with(table, &shown));
            }
            let skills: Vec<i64> = result.labelers.iter().map(proven_skill).collect();
            let asked: Vec<(u32, u32)> = match whom {
                Whom::Anybody => {
                    let next = wanted.iter();
                    next.map(|&i| (i, rest[i as usize][0].labeler)).collect()
                }
                Whom::Skilled => {
                    let skill = |vote: &&Vote| skills[vote.labeler as usize];
                    let best = |i: u32| rest[i as usize].iter().max_by_key(skill);
                    let next = wanted.iter();
                    next.filter_map(|&i| Some((i, best(i)?.labeler))).collect()
                }
                Whom::Network => self.drawn(&wanted, &rest, &skills, seed << 16 | wave),
            };
            for (item, labeler) in asked {
                let rest = &mut rest[item as usize];
                if let Some(at) = rest.iter().position(|vote| vote.labeler == labeler) {
                    shown[item as usize].push(rest.remove(at));
                }
            }
        }
        unreachable!("each wave shows at least one more of finitely many votes")
    }

    /// (item, labeler) of up to two more votes per wanted item in the network's draw among those whose vote is recorded and not shown.
    fn drawn(
        &self,
        wanted: &[u32],
        rest: &[Vec<Vote>],
        skills: &[i64],
        wave: u64,
    ) -> Vec<(u32, u32)> {
        let account = |l: u32| {
            let mut account = [0; 20];
            account[..4].copy_from_slice(&l.to_be_bytes());
            Account(account)
        };
        let people = 0..self.labelers;
        let people: Vec<_> = people
            .map(|l| (account(l), u32::MAX, account(l), true))
            .collect();
        let of_item = |item: u32| &rest[item as usize];
        let mut before = BTreeSet::new();
        for &item in wanted {
            let open: BTreeSet<u32> = of_item(item).iter().map(|v| v.labeler).collect();
            let closed = (0..self.labelers).filter(|l| !open.contains(l));
            before.extend(closed.map(|l| (item, l)));
        }
        let wanted = wanted.iter().map(|&i| (i, of_item(i).len().min(2) as u16));
        let wanted: Vec<(u32, u16)> = wanted.collect();
        let mut beacon = [0; 32];
        beacon[..8].copy_from_slice(&wave.to_be_bytes());
        let assigned = draw(&DrawInput {
            task: TaskId([0; 32]),
            wave: 1,
            beacon: Hash(beacon),
            wanted: &wanted,
            skills,
            labelers: &people,
            before: &before,
            clusters: &[],
        });
        let pairs = assigned.into_iter();
        pairs
            .flat_map(|(labeler, items)| items.into_iter().map(move |item| (item, labeler)))
            .collect()
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
    Network,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let data = args
        .next()
        .ok_or("usage: early_stopping DATA SET...; DATA is a folder of sets")?;
    let seeds = orders(std::env::var("SEEDS").ok().as_deref())?;
    let mut runs = Vec::new();
    for (whom, name) in [
        (Whom::Anybody, "anybody"),
        (Whom::Skilled, "the skilled"),
        (Whom::Network, "the network"),
    ] {
        runs.extend(TARGETS.map(|(target, wanted)| (whom, name, target, wanted)));
    }
    println!(
        "| set | then asked | target | votes used | accuracy | tables of all | with all votes | equal redundancy needs | saved |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for name in args {
        let mut set = load(&Path::new(&data).join(&name))?;
        let known = set.truth.iter().flatten().count().max(1);
        let total = set.total();
        let (all, _) = set.infer(&set.votes);
        let mut curves: Vec<Vec<(u64, u64)>> = Vec::new();
        let mut adaptive: Vec<Vec<(u64, u64)>> = vec![Vec::new(); runs.len()];
        let mut reread = vec![0; runs.len()];
        // Each order shuffles the one before, so those left out are drawn too.
        for seed in 1..=*seeds.end() {
            let mut rng = Rng(seed);
            for votes in &mut set.votes {
                for i in (1..votes.len()).rev() {
                    votes.swap(i, rng.below(i + 1));
                }
            }
            if !seeds.contains(&seed) {
                continue;
            }
            let curve = set.uniform().into_iter();
            curves.push(
                curve
                    .map(|(used, right)| (used as u64, right as u64))
                    .collect(),
            );
            for ((points, reread), run) in adaptive.iter_mut().zip(&mut reread).zip(&runs) {
                let (used, right, read) = set.adaptive(run.2, run.0, seed, &all.table);
                points.push((used as u64, right as u64));
                *reread += read;
            }
        }
        for ((points, reread), (_, whom, _, target)) in adaptive.iter().zip(&reread).zip(&runs) {
            let mean = Mean::of(&curves, points, None);
            let without = |order| Mean::of(&curves, points, Some(order)).saved();
            let votes = |part: f64| 100.0 * part / total as f64;
            let labels = |part: f64| 100.0 * part / known as f64;
            println!(
                "| {name} | {whom} | {target} | {:.1} % | {:.2} ± {:.2} % | {:.2} % | {:.2} % | {:.1} % | {:.1} ± {:.1} % |",
                votes(mean.used),
                labels(mean.right),
                labels(jackknife(points.len(), |order| {
                    Mean::of(&curves, points, Some(order)).right
                })),
                labels(*reread as f64 / points.len() as f64),
                labels(mean.right_with_all),
                votes(mean.needed),
                mean.saved(),
                jackknife(points.len(), without),
            );
        }
    }
    Ok(())
}

/// The orders asked for: all up to a number, or those between two.
fn orders(asked: Option<&str>) -> Result<RangeInclusive<u64>, Box<dyn std::error::Error>> {
    let Some(asked) = asked else {
        return Ok(1..=SEEDS);
    };
    let (from, to) = asked.split_once('-').unwrap_or(("1", asked));
    let orders = from.parse::<u64>()?.max(1)..=to.parse()?;
    if orders.is_empty() {
        return Err("SEEDS must name at least one order".into());
    }
    Ok(orders)
}

/// Means over the orders.
struct Mean {
    used: f64,
    right: f64,
    right_with_all: f64,
    needed: f64,
}

impl Mean {
    /// Of all orders but one.
    fn of(curves: &[Vec<(u64, u64)>], points: &[(u64, u64)], but: Option<usize>) -> Self {
        let mut uniform = vec![(0, 0); curves.first().map_or(0, Vec::len)];
        let (mut used, mut right) = (0, 0);
        let orders = curves.iter().zip(points).enumerate();
        for (_, (curve, point)) in orders.filter(|(order, _)| Some(*order) != but) {
            for (sum, point) in uniform.iter_mut().zip(curve) {
                *sum = (sum.0 + point.0, sum.1 + point.1);
            }
            used += point.0;
            right += point.1;
        }
        let orders = (points.len() - usize::from(but.is_some())).max(1) as f64;
        Self {
            used: used as f64 / orders,
            right: right as f64 / orders,
            right_with_all: uniform.last().map_or(0, |last| last.1) as f64 / orders,
            needed: needed(&uniform, right) / orders,
        }
    }

    /// Percent.
    fn saved(&self) -> f64 {
        100.0 * (1.0 - self.used / self.needed.max(1.0))
    }
}

/// Standard error of what `without` tells without each of `orders` orders.
fn jackknife(orders: usize, without: impl Fn(usize) -> f64) -> f64 {
    let values: Vec<f64> = (0..orders).map(without).collect();
    let mean = values.iter().sum::<f64>() / orders as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares * (orders as f64 - 1.0).max(0.0) / orders as f64).sqrt()
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
