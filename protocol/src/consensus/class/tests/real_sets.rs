//! Accuracy on published crowds. They are not part of the project (most licences forbid it); without them the test says so and passes.

#![allow(
    clippy::disallowed_methods,
    reason = "this test reads files that cannot be part of the project; the core itself performs no IO"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::{ClassInput, ClassResult, Vote, infer_class, majority};

/// Set and the accuracy of the best published method on it, in tenths of a per cent.
pub(super) const REFERENCES: [(&str, u64); 8] = [
    ("rte", 928),
    ("product", 940),
    ("bluebirds", 889),
    ("dog", 843),
    ("weather", 860),
    ("cifar10n", 918),
    ("adult2", 769),
    ("music_sim", 669),
];
/// Largest shortfall accepted, in tenths of a per cent.
const SHORTFALL: u64 = 5;
/// Largest calibration error accepted on sets with at least [`MANY`] known truths, in tenths of a per cent.
const MISCALIBRATED: u64 = 30;
/// Known truths that make a calibration error meaningful.
const MANY: usize = 500;

pub(super) struct RealSet {
    pub votes: Vec<Vote>,
    pub truth: BTreeMap<u32, u16>,
    pub items: u32,
    pub labelers: u32,
    pub classes: u16,
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

fn number(names: &mut BTreeMap<String, u32>, name: &str) -> u32 {
    let next = names.len() as u32;
    *names.entry(name.to_owned()).or_insert(next)
}

pub(super) fn load(folder: &Path) -> RealSet {
    let labels = rows(&folder.join("labels.csv"));
    let classes: BTreeSet<&str> = labels.iter().map(|row| row[2].as_str()).collect();
    let classes: BTreeMap<&str, u16> = classes.into_iter().zip(0..).collect();
    let (mut tasks, mut workers) = (BTreeMap::new(), BTreeMap::new());
    let (mut seen, mut votes) = (BTreeSet::new(), Vec::new());
    for row in &labels {
        let (item, labeler) = (number(&mut tasks, &row[0]), number(&mut workers, &row[1]));
        // A few sets repeat answers; the first one counts, as in the protocol.
        if seen.insert((item, labeler)) {
            votes.push(Vote {
                item,
                labeler,
                label: classes[row[2].as_str()],
            });
        }
    }
    let truth = rows(&folder.join("truth.csv"))
        .iter()
        .filter_map(|row| Some((*tasks.get(&row[0])?, *classes.get(row[1].as_str())?)))
        .collect();
    RealSet {
        votes,
        truth,
        items: tasks.len() as u32,
        labelers: workers.len() as u32,
        classes: classes.len() as u16,
    }
}

pub(super) fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("ASSAY_DATA") {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    folder.is_dir().then_some(folder)
}

/// Accuracy in tenths of a per cent, rounded to the nearest.
pub(super) fn accuracy(set: &RealSet, labels: impl Fn(usize) -> Option<u16>) -> u64 {
    let right = set
        .truth
        .iter()
        .filter(|&(&item, &truth)| labels(item as usize) == Some(truth))
        .count();
    (right * 2_000 + set.truth.len()).div_euclid(2 * set.truth.len()) as u64
}

/// Expected calibration error in tenths of a per cent: ten bins by posterior of the chosen label, the mean distance of posterior and truth.
fn calibration_error(set: &RealSet, result: &ClassResult) -> u64 {
    let mut bins = [(0u64, 0u64); 10];
    for (&item, &truth) in &set.truth {
        let item = &result.items[item as usize];
        let bin = &mut bins[(item.posterior * 10 / 65_536).min(9) as usize];
        bin.0 += u64::from(item.posterior);
        bin.1 += u64::from(item.label == Some(truth)) * 65_536;
    }
    let gap: u64 = bins.iter().map(|bin| bin.0.abs_diff(bin.1)).sum();
    (gap * 1_000).div_ceil(65_536 * set.truth.len() as u64)
}

/// Macro F1 in tenths of a per cent.
fn macro_f1(set: &RealSet, result: &ClassResult) -> u64 {
    let classes = usize::from(set.classes);
    let mut table = vec![0u64; classes * classes];
    for (&item, &truth) in &set.truth {
        if let Some(label) = result.items[item as usize].label {
            table[usize::from(truth) * classes + usize::from(label)] += 1;
        }
    }
    let (mut sum, mut used) = (0, 0);
    for class in 0..classes {
        let row: u64 = table[class * classes..(class + 1) * classes].iter().sum();
        let column: u64 = table.iter().skip(class).step_by(classes).sum();
        if let Some(f1) = (2_000 * table[class * classes + class]).checked_div(row + column) {
            sum += f1;
            used += 1;
        }
    }
    sum / used.max(1)
}

#[test]
fn real_sets_are_labelled_almost_as_well_as_by_the_best_method_of_each() {
    let Some(folder) = folder() else {
        println!(
            "SKIPPED: no real crowds found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    let none = BTreeMap::new();
    println!(
        "{:<12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "set", "votes", "majority", "ours", "best", "macro F1", "calib.", "flagged"
    );
    let mut failures = Vec::new();
    for (name, best) in REFERENCES {
        let set = load(&folder.join(name));
        let input = ClassInput {
            items: set.items,
            labelers: set.labelers,
            classes: set.classes,
            votes: &set.votes,
            gold: &none,
            priors: &[],
        };
        let result = infer_class(&input).unwrap();
        let plain = majority(&input).unwrap();
        let ours = accuracy(&set, |item| result.items[item].label);
        let plain = accuracy(&set, |item| plain[item]);
        let flagged: usize = result.clusters.iter().map(Vec::len).sum();
        let error = calibration_error(&set, &result);
        let tenths = |value: u64| format!("{}.{}", value / 10, value % 10);
        println!(
            "{name:<12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {flagged:>8}",
            set.votes.len(),
            tenths(plain),
            tenths(ours),
            tenths(best),
            tenths(macro_f1(&set, &result)),
            tenths(error)
        );
        if set.truth.len() >= MANY && error > MISCALIBRATED {
            failures.push(format!("{name}: calibration error {}", tenths(error)));
        }
        if ours + SHORTFALL < best {
            failures.push(format!("{name}: {} against {}", tenths(ours), tenths(best)));
        }
        if flagged * 100 > set.labelers as usize {
            failures.push(format!(
                "{name}: {flagged} of {} labelers flagged",
                set.labelers
            ));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
