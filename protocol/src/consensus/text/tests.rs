//! Tests of text inference on published sets, where they are available.

#![allow(
    clippy::disallowed_methods,
    reason = "one test reads files that cannot be part of the project; the core itself performs no IO"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;

static NO_GOLD: BTreeMap<u32, &str> = BTreeMap::new();

fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("ASSAY_DATA") {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    folder.is_dir().then_some(folder)
}

/// Rows of a file of comma-separated values with quoted fields.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    rows.remove(0);
    rows
}

/// Plain Levenshtein distance with the whole table, as a reference.
fn edits<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                (table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]))
                    .min(table[i - 1][j] + 1)
                    .min(table[i][j - 1] + 1)
            };
        }
    }
    table[a.len()][b.len()]
}

/// Word errors in parts per ten thousand of the truth's words.
fn word_errors(truth: &str, text: &str) -> usize {
    let (truth, text) = (truth.to_lowercase(), text.to_lowercase());
    let truth: Vec<&str> = truth.split_whitespace().collect();
    let text: Vec<&str> = text.split_whitespace().collect();
    edits(&truth, &text) * 10_000 / truth.len().max(1)
}

fn infer_list(items: u32, labelers: u32, votes: &[TextVote<'_>]) -> TextResult {
    infer_text(&TextInput {
        items,
        labelers,
        votes,
        gold: &NO_GOLD,
    })
    .unwrap()
}

fn number(names: &mut BTreeMap<String, u32>, name: &str) -> u32 {
    let next = names.len() as u32;
    *names.entry(name.to_owned()).or_insert(next)
}

#[test]
fn real_texts_have_fewer_word_errors_than_with_plain_rover() {
    // Mean word error rate of crowd-kit 1.4.2's ROVER, and the most accepted here, in parts per ten thousand.
    let sets = [
        ("crowdwsa_j1", 6_149, 5_980),
        ("crowdspeech_dev_clean", 846, 790),
    ];
    let Some(folder) = folder().filter(|folder| folder.join(sets[0].0).is_dir()) else {
        println!(
            "SKIPPED: no real texts found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    println!(
        "{:<24} {:>7} {:>7} {:>7}  (mean word error rate of 10,000)",
        "set", "votes", "rover", "ours"
    );
    for (name, rover, most) in sets {
        let (mut items, mut labelers) = (BTreeMap::new(), BTreeMap::new());
        let labels = rows(&folder.join(name).join("labels.csv"));
        let mut seen = std::collections::BTreeSet::new();
        let mut votes = Vec::new();
        for row in &labels {
            let (item, labeler) = (number(&mut items, &row[0]), number(&mut labelers, &row[1]));
            if seen.insert((item, labeler)) {
                votes.push(TextVote {
                    item,
                    labeler,
                    text: &row[2],
                });
            }
        }
        let result = infer_list(items.len() as u32, labelers.len() as u32, &votes);
        let truth = rows(&folder.join(name).join("truth.csv"));
        let sum: usize = truth
            .iter()
            .map(|row| {
                word_errors(
                    &row[1],
                    result.items[items[&row[0]] as usize].text.as_ref().unwrap(),
                )
            })
            .sum();
        let ours = sum / truth.len();
        println!(
            "{name:<24} {:>7} {rover:>7} {ours:>7}  pairs with shared errors: {}",
            votes.len(),
            result.table.shared.len()
        );
        let mean: i64 =
            result.labelers.iter().map(|l| l.skill_ppm).sum::<i64>() / result.labelers.len() as i64;
        println!("  mean skill {mean}");
        assert!(ours <= most, "{name}: {ours}");
    }
}
