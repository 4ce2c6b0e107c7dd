//! What a late batch costs: CPU time of a full run with its roots, and of taking a few more votes.
//!
//! `cargo run --release --example rescore_speed -- [votes] [late per cent] [seed]` (1,000,000 votes and 1 % by default, five per item, 500 per
//! labeler, 4 classes at 40/30/20/10 %; seven labelers in ten are able, two answer at random, one favours a class). The late votes are a sixth
//! opinion on items drawn at random. CPU time and the peak of the resident set come from `/proc/self`, so they show on Linux only.

#![allow(
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    reason = "a measuring program: it reads the process statistics and prints figures"
)]

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    ClassInput, ClassScoring, ItemCase, Vote, check_item, infer_class,
};

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

struct Crowd {
    items: u32,
    labelers: u32,
    votes: Vec<Vote>,
    late: Vec<Vote>,
}

fn crowd(votes: u32, late: u32, rng: &mut Rng) -> Crowd {
    let items = votes / PER_ITEM;
    let labelers = (votes / 500).max(2 * PER_ITEM);
    let skill: Vec<u64> = (0..labelers).map(|_| 55 + rng.below(40)).collect();
    let mut crowd = Crowd {
        items,
        labelers,
        votes: Vec::with_capacity(votes as usize),
        late: Vec::new(),
    };
    let mut again = vec![false; items as usize];
    let mut left = late.min(items);
    while left > 0 {
        let item = rng.below(u64::from(items)) as usize;
        left -= u32::from(!again[item]);
        again[item] = true;
    }
    for item in 0..items {
        let class = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3][rng.below(10) as usize];
        let wanted = PER_ITEM as usize + usize::from(again[item as usize]);
        let mut chosen: Vec<u32> = Vec::with_capacity(wanted);
        while chosen.len() < wanted {
            let labeler = rng.below(u64::from(labelers)) as u32;
            if !chosen.contains(&labeler) {
                chosen.push(labeler);
            }
        }
        for (number, labeler) in chosen.into_iter().enumerate() {
            let draw = rng.below(100);
            let label = match labeler % 10 {
                0..=6 if draw < skill[labeler as usize] => class,
                0..=6 => (class + 1 + rng.below(u64::from(CLASSES) - 1) as u16) % CLASSES,
                9 if draw < 70 => 1,
                _ => rng.below(u64::from(CLASSES)) as u16,
            };
            let list = if number < PER_ITEM as usize {
                &mut crowd.votes
            } else {
                &mut crowd.late
            };
            list.push(Vote {
                item,
                labeler,
                label,
            });
        }
    }
    crowd
}

/// CPU time of this process in nanoseconds.
fn nanoseconds() -> u64 {
    std::fs::read_to_string("/proc/self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// Peak resident set.
fn peak() -> String {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmHWM"))?;
            Some(line.trim_start_matches("VmHWM:").trim().to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Runs `work` and says what it took, in nanoseconds.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, u64) {
    let before = nanoseconds();
    let result = work();
    let used = nanoseconds() - before;
    println!("{what:58} {:8.4} s CPU", used as f64 / 1e9);
    (result, used)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| {
        arguments
            .next()
            .and_then(|given| given.parse().ok())
            .unwrap_or(default)
    };
    let votes = number(1_000_000) as u32;
    let percent = number(1);
    let mut rng = Rng(number(1));
    let crowd = crowd(votes, (u64::from(votes) * percent / 100) as u32, &mut rng);
    let none = BTreeMap::new();
    let input = ClassInput {
        items: crowd.items,
        labelers: crowd.labelers,
        classes: CLASSES,
        votes: &crowd.votes,
        gold: &none,
        priors: &[],
    };
    println!(
        "{} votes, {} late ones, {} items, {} labelers; peak before scoring {}",
        crowd.votes.len(),
        crowd.late.len(),
        crowd.items,
        crowd.labelers,
        peak()
    );
    let (plain, inference) = timed("inference alone", || infer_class(&input));
    drop(plain?);
    let (scoring, full) = timed("full run: inference, all trees, roots", || {
        let scoring = ClassScoring::fit(&input)?;
        println!("score root {}", scoring.score_root());
        Ok::<_, assay_protocol::consensus::ConsensusError>(scoring)
    });
    let mut scoring = scoring?;
    let (done, first) = timed("the late votes in one batch, roots", || {
        scoring.extend(&crowd.late, &none)?;
        println!("score root {}", scoring.score_root());
        Ok::<_, assay_protocol::consensus::ConsensusError>(())
    });
    done?;
    let mut other = ClassScoring::fit(&input)?;
    let mut root = other.score_root();
    let (done, tenths) = timed("the same in ten batches, roots after each", || {
        for batch in crowd.late.chunks(crowd.late.len().div_ceil(10).max(1)) {
            other.extend(batch, &none)?;
            root = other.score_root();
        }
        Ok::<_, assay_protocol::consensus::ConsensusError>(())
    });
    done?;
    let same = root == scoring.score_root() && root == other.score_root();
    let touched = crowd.late.iter().take(1_000);
    let cases: Vec<ItemCase> = touched
        .map(|vote| scoring.case(vote.item))
        .collect::<Result<_, _>>()?;
    let (right, _) = timed("checks of up to 1,000 items from their cases", || {
        let checked = cases.iter().map(|case| check_item(case, &root));
        checked
            .filter(|checked| {
                checked
                    .as_ref()
                    .is_ok_and(|checked| checked.wrong.is_none())
            })
            .count()
    });
    println!(
        "one batch is {:.2} % of a full run ({:.2} % of the inference alone), ten are {:.2} %; equal roots: {same}; {right} of {} items right; peak {}",
        100.0 * first as f64 / full as f64,
        100.0 * first as f64 / inference as f64,
        100.0 * tenths as f64 / full as f64,
        cases.len(),
        peak()
    );
    Ok(())
}
