//! Scores a file of texts or comparisons: `score_text_pairs (text|pair) labels.csv`.
//!
//! Reads `task,worker,label` with quoted fields (a comparison's task is `left|right`, its label the better of the two) and prints
//! `task,label` for texts, `item,score` (thousandths of log-odds) for comparisons. Only the first of a worker's answers to a text counts.

#![allow(
    clippy::disallowed_methods,
    reason = "an example reads its input; the core itself performs no IO"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;

use assay_protocol::consensus::{
    Comparison, Outcome, PairInput, TextInput, TextVote, infer_pairs, infer_text,
};

/// Fields of the rows after the first one.
fn rows(text: &str) -> Vec<Vec<String>> {
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
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows.drain(..1.min(rows.len()));
    rows
}

#[derive(Default)]
struct Names<'a> {
    numbers: BTreeMap<&'a str, u32>,
    list: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn number(&mut self, name: &'a str) -> u32 {
        let next = self.list.len() as u32;
        *self.numbers.entry(name).or_insert_with(|| {
            self.list.push(name);
            next
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, path] = &arguments[..] else {
        return Err("usage: score_text_pairs (text|pair) labels.csv".into());
    };
    let rows = rows(&std::fs::read_to_string(path)?);
    if let Some(row) = rows.iter().find(|row| row.len() < 3) {
        return Err(format!("three fields expected: {row:?}").into());
    }
    let (mut objects, mut workers) = (Names::default(), Names::default());
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if kind == "text" {
        let (mut votes, mut seen) = (Vec::new(), BTreeSet::new());
        for row in &rows {
            let (item, labeler) = (objects.number(&row[0]), workers.number(&row[1]));
            if seen.insert((item, labeler)) {
                votes.push(TextVote {
                    item,
                    labeler,
                    text: &row[2],
                });
            }
        }
        let result = infer_text(&TextInput {
            items: objects.list.len() as u32,
            labelers: workers.list.len() as u32,
            votes: &votes,
            gold: &BTreeMap::new(),
        })?;
        writeln!(out, "task,label")?;
        for (name, item) in objects.list.iter().zip(&result.items) {
            let text = item.text.as_deref().unwrap_or_default();
            writeln!(out, "{name},\"{}\"", text.replace('"', "\"\""))?;
        }
    } else {
        let mut votes = Vec::new();
        for row in &rows {
            let (left, right) = row[0].split_once('|').ok_or("a task is `left|right`")?;
            votes.push(Comparison {
                labeler: workers.number(&row[1]),
                left: objects.number(left),
                right: objects.number(right),
                outcome: if row[2] == left {
                    Outcome::Left
                } else if row[2] == right {
                    Outcome::Right
                } else {
                    Outcome::Tie
                },
            });
        }
        let result = infer_pairs(&PairInput {
            objects: objects.list.len() as u32,
            labelers: workers.list.len() as u32,
            sided: false,
            votes: &votes,
        })?;
        writeln!(out, "item,score")?;
        for (name, object) in objects.list.iter().zip(&result.objects) {
            writeln!(out, "{name},{}", object.score_milli)?;
        }
    }
    Ok(())
}
