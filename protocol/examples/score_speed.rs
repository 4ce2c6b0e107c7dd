//! What scoring costs: CPU time and memory of one run over a synthetic crowd.
//!
//! `cargo run --release --example score_speed -- [votes] [seed]` (1,000,000 votes by default, five per item, 500 per labeler, 4 classes at
//! 40/30/20/10 %; seven labelers in ten are able, two answer at random, one favours a class). CPU time and the peak of the resident set come from
//! `/proc/self`, so they show on Linux only.

#![allow(
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    reason = "a measuring program: it reads the process statistics and prints figures"
)]

use std::collections::BTreeMap;

use assay_protocol::consensus::{ClassInput, Vote, infer_class};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

const CLASSES: u16 = 4;
const PER_ITEM: u32 = 5;

fn crowd(votes: u32, rng: &mut Rng) -> (Vec<Vote>, Vec<u16>, u32) {
    let items = votes / PER_ITEM;
    let labelers = (votes / 500).max(PER_ITEM);
    let skill: Vec<u64> = (0..labelers).map(|_| 55 + rng.below(40)).collect();
    let mut list = Vec::with_capacity(votes as usize);
    let mut truth = Vec::with_capacity(items as usize);
    for item in 0..items {
        let class = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3][rng.below(10) as usize];
        truth.push(class);
        let mut chosen: Vec<u32> = Vec::with_capacity(PER_ITEM as usize);
        while chosen.len() < PER_ITEM as usize {
            let labeler = rng.below(u64::from(labelers)) as u32;
            if !chosen.contains(&labeler) {
                chosen.push(labeler);
            }
        }
        for labeler in chosen {
            let draw = rng.below(100);
            let label = match labeler % 10 {
                0..=6 if draw < skill[labeler as usize] => class,
                0..=6 => (class + 1 + rng.below(u64::from(CLASSES) - 1) as u16) % CLASSES,
                9 if draw < 70 => 1,
                _ => rng.below(u64::from(CLASSES)) as u16,
            };
            list.push(Vote {
                item,
                labeler,
                label,
            });
        }
    }
    (list, truth, labelers)
}

/// CPU time of this process in nanoseconds.
fn nanoseconds() -> u64 {
    std::fs::read_to_string("/proc/self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// Peak resident set in KiB.
fn peak() -> String {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmHWM"))?;
            Some(
                line.split_whitespace()
                    .skip(1)
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        })
        .unwrap_or_else(|| "unknown".to_owned())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| {
        arguments
            .next()
            .and_then(|given| given.parse().ok())
            .unwrap_or(default)
    };
    let votes = number(1_000_000) as u32;
    let mut rng = Rng(number(1));
    let (list, truth, labelers) = crowd(votes, &mut rng);
    println!("peak before scoring {}", peak());
    let gold = BTreeMap::new();
    let input = ClassInput {
        items: truth.len() as u32,
        labelers,
        classes: CLASSES,
        votes: &list,
        gold: &gold,
        priors: &[],
    };
    let before = nanoseconds();
    let result = match infer_class(&input) {
        Ok(result) => result,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    let used = nanoseconds() - before;
    let right = result
        .items
        .iter()
        .zip(&truth)
        .filter(|(item, class)| item.label == Some(**class))
        .count();
    println!(
        "{} votes, {} items, {labelers} labelers: {} us CPU, {} right, {} clusters, peak {}",
        list.len(),
        truth.len(),
        used / 1_000,
        right,
        result.clusters.len(),
        peak()
    );
}
