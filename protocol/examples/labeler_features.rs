//! Exports what scoring says about labelers of real crowds with simulated attackers among them: the training data of the fraud model.
//!
//! ```text
//! cargo run --release -p assay-protocol --example labeler_features -- CROWDS_FOLDER > features.csv
//! ```
//!
//! One line per labeler: crowd, kind (honest, weak, uniform, frequency, constant, ring), run, then one column per fraud feature. Honest are labelers
//! with at least eight checked answers who are clearly better than guessing on the known truth; other real labelers are `weak` and are not used
//! for training. The folder has one sub-folder per crowd with `labels.csv` and `truth.csv`.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program beside the core that reads files and prints"
)]

#[path = "../src/consensus/class/tests/attacks.rs"]
mod attacks;

use std::collections::BTreeMap;
use std::path::PathBuf;

use assay_protocol::consensus::{
    ClassInput, FRAUD_FEATURES, Signals, Vote, fraud_features, infer_class_with,
};
use attacks::{Crowd, Ring, Rng, Spam};

/// Crowds in the export, and simulated runs of each.
const CROWDS: [(&str, u64); 8] = [
    ("adult2", 6),
    ("bluebirds", 18),
    ("cifar10n", 2),
    ("dog", 12),
    ("music_sim", 18),
    ("product", 12),
    ("rte", 12),
    ("weather", 18),
];

fn main() {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .or_else(attacks::folder);
    let Some(folder) = folder else {
        eprintln!("give the folder of the crowds as the first argument");
        std::process::exit(2);
    };
    println!("crowd,kind,run,{}", FRAUD_FEATURES.join(","));
    for (name, runs) in CROWDS {
        let real = Crowd::load(&folder.join(name));
        for run in 0..runs {
            export(name, &real, run);
        }
    }
}

/// One run: spammers of all kinds and perhaps a ring, with or without gold and answer times.
fn export(name: &str, real: &Crowd, run: u64) {
    let mut rng = Rng(run.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ u64::from(real.items));
    let mut crowd = real.clone();
    if run % 3 == 1 {
        crowd.seconds.clear();
    }
    let each = [20, 12, 30][(run % 3) as usize];
    let accounts = (real.labelers / 15).clamp(2, 20);
    let mut kinds = real.kinds();
    for (spam, kind) in [
        (Spam::Uniform, "uniform"),
        (Spam::Frequency, "frequency"),
        (Spam::Constant, "constant"),
    ] {
        crowd.add_spammers(spam, accounts, each, &mut rng);
        kinds.resize(crowd.labelers as usize, kind);
    }
    if run.is_multiple_of(2) {
        let ring = Ring {
            members: 2 + (run % 5) as u32 * 2,
            items: 40,
            noise_percent: [5, 20][(run / 2 % 2) as usize],
            honest_percent: 0,
        };
        crowd.add_ring(ring, &mut rng);
        kinds.resize(crowd.labelers as usize, "ring");
    }
    let gold = match run % 4 {
        0 => real.some_gold(10, &mut rng),
        1 => real.some_gold(40, &mut rng),
        _ => BTreeMap::new(),
    };
    let votes: Vec<Vote> = crowd
        .votes
        .iter()
        .map(|&(item, labeler, label)| Vote {
            item,
            labeler,
            label,
        })
        .collect();
    let input = ClassInput {
        items: crowd.items,
        labelers: crowd.labelers,
        classes: crowd.classes,
        votes: &votes,
        gold: &gold,
        priors: &[],
    };
    let signals = Signals {
        seconds: &crowd.seconds,
        machines: &[],
    };
    let result = infer_class_with(&input, &signals).expect("the crowds are well formed");
    for (labeler, kind) in result.labelers.iter().zip(kinds) {
        let features = fraud_features(labeler).map(|feature| feature.to_string());
        println!("{name},{kind},{run},{}", features.join(","));
    }
}
