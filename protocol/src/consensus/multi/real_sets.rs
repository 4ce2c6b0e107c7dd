//! A set of one label is a binary question: on published binary crowds it must be answered as well as by the class engine itself. The
//! crowds are not part of the project (most licences forbid it); without them the test says so and passes.

#![allow(
    clippy::disallowed_methods,
    reason = "this test reads files that cannot be part of the project; the core itself performs no IO"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{MultiInput, MultiVote, infer_multi};
use crate::consensus::{ClassInput, Vote, infer_class};

/// Largest shortfall against the class engine, in tenths of a per cent.
const SHORTFALL: usize = 10;

fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("ASSAY_DATA") {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    folder.is_dir().then_some(folder)
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_set_of_one_label_is_as_good_as_a_class_of_two() {
    let Some(folder) = folder() else {
        println!(
            "SKIPPED: no real crowds found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    for name in ["rte", "product", "bluebirds"] {
        let labels = rows(&folder.join(name).join("labels.csv"));
        let yes = labels.iter().map(|row| row[2].clone()).max().unwrap();
        let number = |column: usize| -> BTreeMap<String, u32> {
            let names: BTreeSet<String> = labels.iter().map(|row| row[column].clone()).collect();
            names.into_iter().zip(0..).collect()
        };
        let (tasks, workers) = (number(0), number(1));
        let mut votes: BTreeMap<(u32, u32), bool> = BTreeMap::new();
        for row in &labels {
            votes
                .entry((tasks[&row[0]], workers[&row[1]]))
                .or_insert(row[2] == yes);
        }
        let (items, labelers) = (tasks.len() as u32, workers.len() as u32);
        let class: Vec<Vote> = votes
            .iter()
            .map(|(&(item, labeler), &yes)| Vote {
                item,
                labeler,
                label: u16::from(yes),
            })
            .collect();
        let multi: Vec<MultiVote> = votes
            .iter()
            .map(|(&(item, labeler), &yes)| MultiVote {
                item,
                labeler,
                labels: vec![0; usize::from(yes)],
            })
            .collect();
        let none = BTreeMap::new();
        let class = infer_class(&ClassInput {
            items,
            labelers,
            classes: 2,
            votes: &class,
            gold: &none,
            priors: &[],
        })
        .unwrap();
        let multi = infer_multi(&MultiInput {
            items,
            labelers,
            labels: 1,
            votes: &multi,
            gold: &BTreeMap::new(),
            priors: &[],
        })
        .unwrap();
        let (mut right, mut count) = ([0, 0], 0);
        for row in rows(&folder.join(name).join("truth.csv")) {
            let Some(&item) = tasks.get(&row[0]) else {
                continue;
            };
            let truth = row[1] == yes;
            count += 1;
            right[0] += usize::from(class.items[item as usize].label == Some(u16::from(truth)));
            right[1] += usize::from(multi.items[item as usize].labels.contains(&0) == truth);
        }
        let [engine, table] = right.map(|right| right * 1_000 / count);
        println!(
            "{name}: class engine {engine} per mille, from the binary table {table} per mille"
        );
        assert!(table + SHORTFALL >= engine, "{name}");
    }
}
