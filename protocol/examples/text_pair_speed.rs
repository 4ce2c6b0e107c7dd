//! What inference from texts and from comparisons costs, and how many words are wrong: CPU time of repeated runs over a folder of data.
//!
//! `cargo run --release --example text_pair_speed -- FOLDER [repeats] [half]` reads `labels.csv` and `truth.csv` (`task,worker,label`, comparisons
//! with tasks `LEFT|RIGHT`) and prints CPU microseconds of one run (the least of the repeats) and, for texts, the mean word error rate in
//! parts per ten thousand over all items, those with even and those with odd numbers. With `half` 0 or 1 only the items of that half are in the run
//! at all. CPU time comes from `/proc/self`, so it shows on Linux only.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measuring program: it reads files and prints figures, and stops at the first fault"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use assay_protocol::consensus::{
    Comparison, Outcome, PairInput, TextInput, TextVote, infer_pairs, infer_text,
};

/// CPU time of this process in nanoseconds.
fn nanoseconds() -> u64 {
    std::fs::read_to_string("/proc/self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// Rows of a file of comma-separated values with quoted fields.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
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

fn number(names: &mut BTreeMap<String, u32>, name: &str) -> u32 {
    let next = names.len() as u32;
    *names.entry(name.to_owned()).or_insert(next)
}

/// Word errors in parts per ten thousand of the truth's words, by the plain table.
fn word_errors(truth: &str, text: &str) -> usize {
    let (truth, text) = (truth.to_lowercase(), text.to_lowercase());
    let text: Vec<&str> = text.split_whitespace().collect();
    let mut row: Vec<usize> = (0..=text.len()).collect();
    let mut words = 0;
    for word in truth.split_whitespace() {
        let mut diagonal = row[0];
        row[0] += 1;
        for (j, other) in text.iter().enumerate() {
            let replaced = diagonal + usize::from(word != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
        words += 1;
    }
    row[text.len()] * 10_000 / words.max(1)
}

/// Least CPU time of `repeats` runs in microseconds, and the result.
fn timed<T>(repeats: u32, mut run: impl FnMut() -> T) -> (u64, T) {
    let mut least = u64::MAX;
    let mut result = None;
    for _ in 0..repeats.max(1) {
        let before = nanoseconds();
        result = Some(run());
        least = least.min(nanoseconds() - before);
    }
    (least / 1_000, result.unwrap())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(&arguments[0]);
    let repeats = arguments.get(1).map_or(10, |n| n.parse().unwrap());
    let half: Option<u32> = arguments.get(2).map(|n| n.parse().unwrap());
    let labels = rows(&folder.join("labels.csv"));
    let (mut items, mut labelers) = (BTreeMap::new(), BTreeMap::new());
    if labels.iter().all(|row| row[0].contains('|')) {
        let votes: Vec<Comparison> = labels
            .iter()
            .map(|row| {
                let (left, right) = row[0].split_once('|').unwrap();
                let outcome = if row[2] == left {
                    Outcome::Left
                } else {
                    Outcome::Right
                };
                Comparison {
                    labeler: number(&mut labelers, &row[1]),
                    left: number(&mut items, left),
                    right: number(&mut items, right),
                    outcome,
                }
            })
            .collect();
        let input = PairInput {
            objects: items.len() as u32,
            labelers: labelers.len() as u32,
            sided: false,
            votes: &votes,
        };
        let (used, result) = timed(repeats, || infer_pairs(&input).unwrap());
        let sum: i64 = result.objects.iter().map(|o| o.score_milli.abs()).sum();
        let skill: i64 = result.labelers.iter().map(|l| l.skill_ppm).sum();
        println!("{used} us CPU; sum of scores {sum}, of skills {skill}");
        return;
    }
    let mut seen = BTreeSet::new();
    let mut votes = Vec::new();
    for row in &labels {
        let (item, labeler) = (number(&mut items, &row[0]), number(&mut labelers, &row[1]));
        if half.is_none_or(|half| item % 2 == half) && seen.insert((item, labeler)) {
            votes.push(TextVote {
                item,
                labeler,
                text: &row[2],
            });
        }
    }
    let gold = BTreeMap::new();
    let input = TextInput {
        items: items.len() as u32,
        labelers: labelers.len() as u32,
        votes: &votes,
        gold: &gold,
    };
    let (used, result) = timed(repeats, || infer_text(&input).unwrap());
    let mut errors = [(0, 0); 2];
    for row in rows(&folder.join("truth.csv")) {
        let item = items[&row[0]];
        if let Some(text) = &result.items[item as usize].text {
            let sums = &mut errors[item as usize % 2];
            sums.0 += word_errors(&row[1], text);
            sums.1 += 1;
        }
    }
    let mean = |sum: (usize, usize)| sum.0 / sum.1.max(1);
    let skill: i64 = result.labelers.iter().map(|l| l.skill_ppm).sum();
    println!(
        "{used} us CPU; word errors of 10,000: {} (even {}, odd {}); sum of skills {skill}",
        mean((errors[0].0 + errors[1].0, errors[0].1 + errors[1].1)),
        mean(errors[0]),
        mean(errors[1])
    );
}
