//! Writes a finished task as files that trainers and crowd tools read.
//!
//! | format | content |
//! |---|---|
//! | [`Format::Jsonl`] | one line per item: id, label, posterior, votes, majority, gold, and every counted vote with its labeler |
//! | [`Format::VotesCsv`] | `task,worker,label`: every counted vote (crowd-kit's columns) |
//! | [`Format::ResultsCsv`] | `task,label`: the network's labels (crowd-kit's columns); items without a counted vote are left out |
//!
//! Rows stand in item order, votes within an item in labeler order. Labelers are named by account; posteriors are decimal text
//! with six digits. Texts are written as they are, not escaped for spreadsheets: all of them were chosen by the client, and a
//! changed `-1` would be another label. It computes nothing: what the outcome says is what is written.
//! Invariant: a file appears whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use assay_protocol::{
    codec,
    id::TaskId,
    message::{ItemEntry, Manifest, TaskKind},
    task::{ItemOutcome, TaskOutcome},
};
use serde::Serialize;

/// A kind of export file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Everything, one JSON object per item.
    Jsonl,
    /// Votes for crowd-kit and its like.
    VotesCsv,
    /// Labels only.
    ResultsCsv,
}

impl Format {
    /// All formats with the names that [`Format::from_str`] takes.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("jsonl", Self::Jsonl),
        ("votes-csv", Self::VotesCsv),
        ("results-csv", Self::ResultsCsv),
    ];
}

impl FromStr for Format {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        let known = Self::NAMES.iter().find(|(name, _)| *name == text);
        known
            .map(|(_, format)| *format)
            .ok_or_else(|| ExportError::Format(text.chars().take(40).collect()))
    }
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No such format.
    #[error("unknown export format {0:?}; formats are: jsonl, votes-csv, results-csv")]
    Format(String),
    /// The task was refunded unworked.
    #[error(
        "task {0} was cancelled and refunded before anyone labelled: there is nothing to export"
    )]
    Cancelled(TaskId),
    /// Manifest, item index and outcome do not belong together.
    #[error("export of task {task}: {why}")]
    Mismatch {
        /// The manifest's task.
        task: TaskId,
        /// What does not fit, and what to do.
        why: String,
    },
    /// The file system refused.
    #[error(
        "export: cannot write {path}: {source}; check the folder, its permissions and free space"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A finished task whose parts were checked to belong together.
#[derive(Clone, Debug)]
pub struct Export<'a> {
    index: &'a [ItemEntry],
    labels: &'a [String],
    outcome: &'a TaskOutcome,
    /// Counted votes (item, labeler index, label), sorted.
    votes: Vec<(u32, u32, u16)>,
}

/// One line of the JSONL file. Field order is file order.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    label: Option<&'a str>,
    posterior: String,
    votes: u32,
    majority: Option<&'a str>,
    gold: bool,
    answers: Vec<AnswerRow<'a>>,
}

#[derive(Serialize)]
struct AnswerRow<'a> {
    labeler: String,
    label: &'a str,
}

impl<'a> Export<'a> {
    /// Checks that the three belong together.
    ///
    /// # Errors
    /// A cancelled task, or parts of different tasks.
    pub fn new(
        manifest: &'a Manifest,
        index: &'a [ItemEntry],
        outcome: &'a TaskOutcome,
    ) -> Result<Self, ExportError> {
        let task = manifest.id();
        let mismatch = |why: &str| {
            Err(ExportError::Mismatch {
                task,
                why: why.to_owned(),
            })
        };
        if outcome.task != task {
            return mismatch("the outcome is of another task; load the outcome of this one");
        }
        if outcome.cancelled.is_some() {
            return Err(ExportError::Cancelled(task));
        }
        if *blake3::hash(&codec::encode(index)).as_bytes() != manifest.items.index.hash.0 {
            return mismatch(
                "the item index is not the one that the manifest names; fetch its index shard again",
            );
        }
        if index.len() != manifest.items.count as usize || outcome.items.len() != index.len() {
            return mismatch(
                "manifest, index and outcome hold different numbers of items; the outcome is damaged, compute it again",
            );
        }
        let TaskKind::Class { labels } = &manifest.kind;
        let named = |label: u16| usize::from(label) < labels.len();
        let items_named = outcome
            .items
            .iter()
            .flat_map(|i| [i.label, i.majority])
            .flatten()
            .all(named);
        let fits = |v: &(u32, u32, u16)| {
            (v.0 as usize) < index.len() && (v.1 as usize) < outcome.labelers.len() && named(v.2)
        };
        if !items_named || !outcome.votes.iter().all(fits) {
            return mismatch(
                "a vote or label points outside the task; the outcome is damaged, compute it again",
            );
        }
        let mut votes = outcome.votes.clone();
        votes.sort_unstable();
        Ok(Self {
            index,
            labels,
            outcome,
            votes,
        })
    }

    /// Writes one format; returns the number of rows without the header.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn render(&self, format: Format, to: &mut dyn Write) -> io::Result<u64> {
        match format {
            Format::Jsonl => self.jsonl(to),
            Format::VotesCsv => self.votes_csv(to),
            Format::ResultsCsv => self.results_csv(to),
        }
    }

    /// Writes one format to `path`, replacing a file there only when the new one is complete and on disk; returns the number of rows.
    ///
    /// # Errors
    /// Those of the file system; an older file at `path` is then untouched.
    pub fn write(&self, format: Format, path: &Path) -> Result<u64, ExportError> {
        write_whole(path, |to| self.render(format, to)).map_err(|source| ExportError::Io {
            path: path.to_owned(),
            source,
        })
    }

    fn items(&self) -> impl Iterator<Item = (&'a str, &'a ItemOutcome, &[(u32, u32, u16)])> {
        let mut rest = self.votes.as_slice();
        (0u32..)
            .zip(self.index.iter().zip(&self.outcome.items))
            .map(move |(item, (entry, outcome))| {
                let (votes, later) = rest.split_at(rest.partition_point(|v| v.0 <= item));
                rest = later;
                (entry.name.as_str(), outcome, votes)
            })
    }

    fn label(&self, label: u16) -> &'a str {
        &self.labels[usize::from(label)]
    }

    fn labeler(&self, index: u32) -> String {
        format!("0x{}", self.outcome.labelers[index as usize].account)
    }

    fn jsonl(&self, to: &mut dyn Write) -> io::Result<u64> {
        let mut rows = 0;
        for (id, outcome, votes) in self.items() {
            let answer = |v: &(u32, u32, u16)| AnswerRow {
                labeler: self.labeler(v.1),
                label: self.label(v.2),
            };
            let row = Row {
                id,
                label: outcome.label.map(|l| self.label(l)),
                posterior: share_text(outcome.posterior_ppm),
                votes: outcome.votes,
                majority: outcome.majority.map(|l| self.label(l)),
                gold: outcome.gold,
                answers: votes.iter().map(answer).collect(),
            };
            serde_json::to_writer(&mut *to, &row)?;
            to.write_all(b"\n")?;
            rows += 1;
        }
        Ok(rows)
    }

    fn votes_csv(&self, to: &mut dyn Write) -> io::Result<u64> {
        let mut table = csv::Writer::from_writer(to);
        table.write_record(["task", "worker", "label"])?;
        let mut rows = 0;
        for (id, _, votes) in self.items() {
            for vote in votes {
                table.write_record([id, &self.labeler(vote.1), self.label(vote.2)])?;
                rows += 1;
            }
        }
        table.flush()?;
        Ok(rows)
    }

    fn results_csv(&self, to: &mut dyn Write) -> io::Result<u64> {
        let mut table = csv::Writer::from_writer(to);
        table.write_record(["task", "label"])?;
        let mut rows = 0;
        for (id, outcome, _) in self.items() {
            if let Some(label) = outcome.label {
                table.write_record([id, self.label(label)])?;
                rows += 1;
            }
        }
        table.flush()?;
        Ok(rows)
    }
}

/// Parts per million as a decimal share with six digits.
fn share_text(ppm: u32) -> String {
    format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)
}

/// Writes beside `path`, syncs, renames; whatever fails, nothing half-written stays at `path`.
fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<u64>,
) -> io::Result<u64> {
    // Two exports of one process to one path must not share a temporary file.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(
        ".{}-{}.part",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    ));
    let temporary = folder.join(temporary);

    let written = (|| {
        let mut to = BufWriter::new(File::create(&temporary)?);
        let rows = fill(&mut to)?;
        to.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(rows)
    })();
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // The rename itself must survive a power loss; systems that cannot sync a folder need no sync.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    written
}

#[cfg(test)]
mod tests;
