//! `assay score`: a file of answers in, labels and a judgement of every worker out. Works offline, on any crowd's answers.
//!
//! ```text
//! labels.csv -> read -> names -> votes --+--> engine of the kind (assay-protocol) -> sheet -> CSV, JSON, Parquet
//! gold.csv ------------------------------+                                        -> measures (truth.csv), explanation
//! ```
//!
//! | file | what |
//! |---|---|
//! | `read`, `names`, `votes` | files, without an allocation per row; names become numbers |
//! | `class`, `text`, `pair`, `sets`, `value`, `shape`, `review` | one kind each: what a label looks like, the engine's input, tables |
//! | `crowd` | the answers as numbers, for a replay |
//! | `explain` | objects that explain a label of kind class, and the check of a file of them or of cases |
//! | `checkable` | cases of one task or object of the other kinds |
//! | `roots` | the hashes that name a whole score |
//! | `sheet`, `folder` | tables, and the folder that they are written to |
//! | `measure` | accuracy, F1, calibration, word errors, rank correlation |
//!
//! What it does not do: no network, no clock, no rule of its own; what is inferred is inferred by `assay_protocol::consensus`, the code
//! that validators run.
//! Invariants: results do not depend on the order of the rows, except that the first of several answers of one worker to one task counts;
//! bad files are errors that name file and line, never a panic.

mod checkable;
mod class;
mod crowd;
mod error;
mod explain;
mod folder;
mod measure;
mod names;
mod pair;
mod read;
mod review;
mod roots;
mod sets;
mod shape;
mod sheet;
mod text;
mod value;
mod votes;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::{Path, PathBuf},
};

use assay_protocol::id::Hash;
use serde::Serialize;

pub use checkable::{CheckableItem, ItemCase};
pub use crowd::{CrowdData, read_crowd};
pub use error::ScoreError;
pub use explain::{
    CheckedExplanation, CheckedFile, EXPLAINED_MAX, ExplainedAnswer, TaskExplanation,
    check_explanations,
};

use checkable::Shown;
use names::Names;
use sheet::{Sheet, decimal};
use votes::{Fact, Known, Votes};

/// What the answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// One of a few labels: any text
    Class,
    /// Which of two is better: task LEFT|RIGHT (or columns left, right), label LEFT, RIGHT or tie
    Pair,
    /// A transcription or translation: any text; empty is silence
    Text,
    /// Several objects, best first: A>B>C; the column task may be missing
    Ranking,
    /// Any number of labels: A|B|C; empty is none
    Multi,
    /// A rating on a scale of steps: a number
    Rating,
    /// A measurement: a number with at most 9 decimals
    Numeric,
    /// Spans of text: JSON list of [START, END, "LABEL"], END not included
    Span,
    /// Time segments in milliseconds: JSON list of [START, END, "LABEL"]
    Segment,
    /// Boxes: JSON list of [X, Y, WIDTH, HEIGHT, "LABEL"]
    Box,
    /// Polygons: JSON list of [[X, Y, X, Y, X, Y, ...], "LABEL"]
    Polygon,
    /// Verdicts on the label in the column proposed: accept, reject or fix:LABEL
    Review,
}

impl Kind {
    /// The word on the command line.
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the answers are.
    pub kind: Kind,
    /// The answers.
    pub labels: PathBuf,
    /// Known truth to measure against; it does not influence the result.
    pub truth: Vec<PathBuf>,
    /// Known labels that the result takes as certain.
    pub gold: Option<PathBuf>,
    /// A task whose result is explained.
    pub explain: Option<String>,
    /// A worker whose answer alone is explained.
    pub explain_worker: Option<String>,
    /// Folder for the full tables.
    pub out: Option<PathBuf>,
    /// `MIN:MAX:STEP` of ratings and numbers.
    pub scale: Option<String>,
    /// `WIDTHxHEIGHT` or `LENGTH` of the items of shapes.
    pub frame: Option<String>,
}

/// What a run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the answers.
    Reading {
        /// Bytes read.
        bytes: u64,
        /// Bytes of the file; zero where that is not known.
        total: u64,
    },
    /// Inferring labels, and judging workers.
    Scoring {
        /// Rows with an answer.
        answers: u64,
    },
    /// Writing the result, from here on.
    Writing,
}

/// What was done, for people and scripts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Kind of the answers.
    pub kind: String,
    /// Answers that count.
    pub answers: u64,
    /// Tasks with an answer.
    pub tasks: u64,
    /// Workers.
    pub workers: u64,
    /// Different labels, where they are a fixed set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<u64>,
    /// Further answers of one worker to one task, left out.
    pub repeated: u64,
    /// Rows without an answer, left out.
    pub blank: u64,
    /// Known labels that were taken as certain.
    pub gold: u64,
    /// Workers whose answers look like guesses or copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flagged: Option<u64>,
    /// Groups of workers who answer from one sheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<u64>,
    /// Tasks with a known truth that were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<u64>,
    /// Figures against the truth, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<&'static str, f64>,
    /// What people should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Files written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Names the scoring functions; this and the roots where there is a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Hash>,
    /// Stands for all answers and all gold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_root: Option<Hash>,
    /// Stands for the input and all results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_root: Option<Hash>,
    /// Why one task has its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Why>,
}

/// Why one task has its result.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Why {
    /// Of kind class: an object per answer.
    Answers(TaskExplanation),
    /// Of any other kind: a case.
    Cases(Explanation),
}

/// Why one task has its result.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The task.
    pub task: String,
    /// What was inferred, like label and posterior.
    pub result: Vec<(String, String)>,
    /// The answers, by worker.
    pub votes: Vec<ExplainedVote>,
    /// What can be checked: one object for the task or, for pair and ranking, for each object that it is about.
    pub cases: Vec<CheckableItem>,
}

/// One answer to an explained task.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedVote {
    /// Who.
    pub worker: String,
    /// What.
    pub label: String,
    /// Chance-corrected skill, from -1 to 1.
    pub skill: String,
    /// Further remarks: interval, flag, weight.
    pub about: String,
    /// The result if this answer were missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
}

/// What an engine's module hands back.
#[derive(Debug, Default)]
struct Outcome<'a> {
    items: Sheet<'a>,
    labelers: Sheet<'a>,
    /// Members by worker number; `None` where the kind has no test for it.
    clusters: Option<Vec<Vec<u32>>>,
    flagged: Option<u64>,
    labels: Option<u64>,
    gold: u64,
    measured: Option<u64>,
    measures: BTreeMap<&'static str, f64>,
    notes: Vec<String>,
    explanation: Option<Explanation>,
    /// The same of a kind that explains itself by objects.
    checkable: Option<TaskExplanation>,
    /// Answers, where the rows are gone.
    answers: Option<u64>,
    /// Roots and cases.
    shown: Shown,
}

/// What an engine's module needs besides the answers.
struct Context<'a> {
    options: &'a Options,
    gold: Vec<Fact>,
    truth: Vec<Known>,
    /// Whether all columns are wanted.
    full: bool,
}

/// Columns of the result on standard output.
const RESULT_COLUMNS: usize = 2;

/// Scores a file. The result goes to `out`, if wanted, and to the folder of the options; the rest to the summary. `progress` is told how
/// far the run is.
///
/// # Errors
/// [`ScoreError`] says which file, which line, and what would be right.
pub fn run(
    options: &Options,
    out: Option<&mut dyn Write>,
    progress: &dyn Fn(Stage),
) -> Result<Summary, ScoreError> {
    let kind = options.kind;
    let known = |path: &PathBuf| votes::read_known(path, kind);
    let mut context = Context {
        options,
        gold: Vec::new(),
        truth: options.truth.iter().map(known).collect::<Result<_, _>>()?,
        full: options.out.is_some(),
    };
    if let Some(path) = &options.gold {
        match known(path)? {
            Known::Labels(facts) => context.gold = facts,
            Known::Scores(_) => {
                return Err(ScoreError::whole(
                    path,
                    "gold needs the columns task, label",
                ));
            }
        }
    }
    let mut votes = votes::read(&options.labels, kind, &context.gold, progress)?;
    progress(Stage::Scoring {
        answers: votes.rows.len() as u64,
    });
    if let Some(task) = &options.explain
        && votes.tasks.find(task).is_none()
    {
        return Err(ScoreError::whole(
            &options.labels,
            format!("nobody answered the task {task:?}; give a name from the column task"),
        ));
    }
    if options.explain_worker.is_some() && (kind != Kind::Class || options.explain.is_none()) {
        let why = "a worker's answer is explained for the KIND class and a TASK only";
        return Err(ScoreError::Option(why.to_owned()));
    }
    let mut summary = Summary {
        kind: kind.name(),
        tasks: votes.tasks.len() as u64,
        workers: votes.workers.len() as u64,
        ..Summary::default()
    };
    // Only this kind takes the answers away while it scores them: it shares their memory.
    let judged = if kind == Kind::Class {
        Some(class::judge(&mut votes, &context)?)
    } else {
        None
    };
    let mut outcome = match (kind, judged) {
        (Kind::Class, Some(judged)) => class::outcome(&votes, &context, judged),
        (Kind::Class, None) => Outcome::default(),
        (Kind::Pair, _) => pair::score_pairs(&votes, &context)?,
        (Kind::Text, _) => text::score(&votes, &context)?,
        (Kind::Ranking, _) => pair::score_orders(&votes, &context)?,
        (Kind::Multi, _) => sets::score(&votes, &context)?,
        (Kind::Rating | Kind::Numeric, _) => value::score(&votes, &context)?,
        (Kind::Span | Kind::Segment | Kind::Box | Kind::Polygon, _) => {
            shape::score(&votes, &context)?
        }
        (Kind::Review, _) => review::score(&votes, &context)?,
    };
    if let Some(explanation) = &mut outcome.explanation {
        explanation.cases = std::mem::take(&mut outcome.shown.items);
    }
    progress(Stage::Writing);
    if let Some(folder) = &options.out {
        summary.files = folder::write(folder, &outcome, &votes.workers)?;
    }
    if let Some(roots) = &outcome.shown.roots {
        summary.algorithm = Some(roots.algorithm);
        summary.input_root = Some(roots.input_root);
        summary.score_root = Some(roots.score_root);
    }
    if let Some(out) = out {
        let written = match (&outcome.checkable, &outcome.explanation) {
            (Some(explanation), _) => explanation.print(out),
            (None, Some(explanation)) => explanation.print(out),
            (None, None) => outcome.items.csv(RESULT_COLUMNS, out),
        };
        let written = match written.and_then(|()| out.flush()) {
            // Whoever reads has seen enough, like `head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        };
        written.map_err(|error| ScoreError::io("write", Path::new("standard output"), error))?;
    }
    summary.answers = outcome.answers.unwrap_or(votes.rows.len() as u64);
    summary.repeated = votes.repeated;
    summary.blank = votes.blank;
    summary.notes = votes.notes.clone();
    summary.notes.extend(outcome.notes);
    summary.notes.extend(outcome.shown.notes);
    if summary.answers == 0 {
        summary.notes.push("there are no answers".to_owned());
    }
    summary.labels = outcome.labels;
    summary.gold = outcome.gold;
    summary.flagged = outcome.flagged;
    summary.clusters = outcome.clusters.map(|list| list.len() as u64);
    summary.measured = outcome.measured;
    summary.measures = outcome.measures;
    let cases = outcome.explanation.map(Why::Cases);
    summary.explanation = outcome.checkable.map(Why::Answers).or(cases);
    if let (Some(folder), true) = (&options.out, !summary.files.is_empty()) {
        folder::write_summary(folder, &mut summary)?;
    }
    Ok(summary)
}

impl Explanation {
    /// Lines for people.
    fn print(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let tame = |text: &str| text.replace(|c: char| c.is_control(), " ");
        writeln!(out, "task {}", tame(&self.task))?;
        for (name, value) in &self.result {
            writeln!(out, "  {}: {}", tame(name), tame(value))?;
        }
        for vote in &self.votes {
            let ExplainedVote {
                worker,
                label,
                skill,
                about,
                without,
            } = vote;
            write!(
                out,
                "  {} said {}: skill {skill}",
                tame(worker),
                tame(label)
            )?;
            if !about.is_empty() {
                write!(out, ", {about}")?;
            }
            match without {
                Some(result) => writeln!(out, "; without this answer: {}", tame(result))?,
                None => writeln!(out)?,
            }
        }
        match self.cases.first() {
            Some(case) => writeln!(out, "score root {}", case.checkable.root()),
            None => Ok(()),
        }
    }
}

impl Context<'_> {
    /// Truth about tasks that somebody answered and that are not gold, by task; and how many rows say nothing about such a task.
    fn truth_of(&self, tasks: &Names) -> (Vec<(u32, &str)>, u64) {
        let gold: BTreeSet<&str> = self.gold.iter().map(|fact| fact.task.as_str()).collect();
        let (mut truth, mut other) = (BTreeMap::new(), 0);
        for facts in &self.truth {
            let Known::Labels(facts) = facts else {
                continue;
            };
            for fact in facts {
                match tasks.find(&fact.task) {
                    Some(task) if !gold.contains(fact.task.as_str()) => {
                        truth.insert(task, fact.label.as_str());
                    }
                    _ => other += 1,
                }
            }
        }
        (truth.into_iter().collect(), other)
    }

    /// Gold about tasks that somebody answered.
    fn gold_of<'s>(&'s self, tasks: &Names) -> Vec<(u32, &'s Fact)> {
        self.gold
            .iter()
            .filter_map(|fact| Some((tasks.find(&fact.task)?, fact)))
            .collect()
    }

    /// An error about a line of the gold file.
    fn bad_gold(&self, line: u64, why: impl Into<String>) -> ScoreError {
        let path = self.options.gold.as_deref().unwrap_or(Path::new("gold"));
        ScoreError::line(path, line, why)
    }

    /// An error about the line where a label first stands.
    fn bad_label(&self, votes: &Votes, label: u32, why: impl Into<String>) -> ScoreError {
        let line = votes.label_line.get(label as usize).copied();
        ScoreError::line(
            &self.options.labels,
            u64::from(line.unwrap_or_default()),
            why,
        )
    }

    /// The explanation that is wanted: `result` gives the lines about the task, `vote` says more about each answer to it.
    fn explain(
        &self,
        votes: &Votes,
        result: impl FnOnce(u32) -> Vec<(String, String)>,
        vote: impl Fn(u32, votes::Row) -> (i64, String, Option<String>),
    ) -> Option<Explanation> {
        let name = self.options.explain.as_ref()?;
        let task = votes.tasks.find(name)?;
        let rows = votes.rows_of(task);
        Some(Explanation {
            task: name.clone(),
            result: result(task),
            votes: rows
                .into_iter()
                .map(|row| {
                    let (skill, about, without) = vote(task, row);
                    ExplainedVote {
                        worker: votes.workers.get(row.worker).to_owned(),
                        label: votes.labels.get(row.label).to_owned(),
                        skill: decimal(skill / 1_000, 3),
                        about,
                        without,
                    }
                })
                .collect(),
            cases: Vec::new(),
        })
    }
}

impl Outcome<'_> {
    /// Notes how many rows of the truth were of no use.
    fn note_truth(&mut self, measured: usize, other: u64) {
        self.measured = Some(measured as u64);
        if other > 0 {
            self.notes.push(format!(
                "{other} rows of truth are about tasks that nobody answered or that are gold; they are not measured"
            ));
        }
    }

    /// Notes how much of the gold was used.
    fn note_gold(&mut self, used: usize, given: usize) {
        self.gold = used as u64;
        if used < given {
            self.notes.push(format!(
                "{} rows of gold are about tasks that nobody answered; they are left out",
                given - used
            ));
        }
    }
}

/// A share in Q16 as text with four digits.
fn share(q16: u32) -> String {
    decimal((sheet::millionths(q16) + 50) / 100, 4)
}
