//! Why one task of kind class has its label: an object per answer that anybody can check from itself; and the check of a file of such
//! objects, or of cases of the other kinds.
//!
//! ```text
//! answers -> ClassScoring -> one Explanation per answer --+--> JSON
//!                                                         +--> derived again -> text
//! file -> explanations -> derived again -> right, or the field that is wrong
//! ```
//!
//! What it does not do: it computes no result of its own; text says what [`Explanation::rederive`] gave. Names of task, workers and labels
//! stand beside the objects and are proven by nobody: a score knows numbers.
//! Invariants: a file to check is at most [`FILE_BYTES_MAX`] long and never panics; what holds in JSON holds in text, and the other way round.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use assay_protocol::{
    consensus::{
        ClassInput, ClassScoring, ConsensusError, Derived, Explanation, Flag, LabelerResult,
    },
    id::Hash,
};
use serde::Serialize;
use serde_json::Value;

use super::{checkable::ItemCase, decimal, error::ScoreError, share, votes::Votes};

/// Most answers explained at once: every object holds all answers to the task.
pub const EXPLAINED_MAX: usize = 64;
/// Longest file that is checked, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Why one task has its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskExplanation {
    /// The task.
    pub task: String,
    /// Names of the labels, by the number that the objects use.
    pub labels: Vec<String>,
    /// Answers to the task; `votes` holds the first [`EXPLAINED_MAX`] of them.
    pub answers: u64,
    /// The answers, by worker.
    pub votes: Vec<ExplainedAnswer>,
}

/// One answer, and why it had the effect that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedAnswer {
    /// Who.
    pub worker: String,
    /// What can be checked.
    pub explanation: Explanation,
}

/// Whose answers to which task are explained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub task: u32,
    pub worker: Option<u32>,
}

/// Explains answers of a scored task.
pub(super) fn explain(
    input: &ClassInput<'_>,
    scoring: &ClassScoring,
    votes: &Votes,
    asked: Asked,
) -> Result<TaskExplanation, ConsensusError> {
    let here = input.votes.iter().filter(|vote| vote.item == asked.task);
    let mut workers: Vec<u32> = here.map(|vote| vote.labeler).collect();
    workers.sort_unstable();
    let answers = workers.len() as u64;
    workers.retain(|worker| asked.worker.is_none_or(|asked| asked == *worker));
    workers.truncate(EXPLAINED_MAX);
    let explained = workers.into_iter().map(|worker| {
        Ok(ExplainedAnswer {
            worker: votes.workers.get(worker).to_owned(),
            explanation: Explanation::of(scoring, asked.task, worker, None)?,
        })
    });
    Ok(TaskExplanation {
        task: votes.tasks.get(asked.task).to_owned(),
        labels: votes.labels.iter().map(str::to_owned).collect(),
        answers,
        votes: explained.collect::<Result<_, ConsensusError>>()?,
    })
}

impl TaskExplanation {
    /// Lines for people, all from what the objects derive.
    pub(super) fn print(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        writeln!(out, "task {}", tame(&self.task))?;
        let mut root = None;
        for (place, answer) in self.votes.iter().enumerate() {
            let object = &answer.explanation;
            let derived = object.rederive().map_err(io::Error::other)?;
            if place == 0 {
                self.print_item(&derived, out)?;
            }
            write!(
                out,
                "  {} said {}: {}",
                tame(&answer.worker),
                tame(&self.label(Some(object.answer))),
                about(&object.labeler.result)
            )?;
            if derived.weight != ONE {
                write!(out, ", weight {}", share(derived.weight))?;
            }
            if let Some(right) = derived.gold_right {
                let judged = if right { "right" } else { "wrong" };
                write!(out, ", {judged} by the known label")?;
            }
            let without = &derived.without.result;
            writeln!(
                out,
                "; without this answer: {} {}",
                tame(&self.label(without.label)),
                share(without.posterior)
            )?;
            root = Some(derived.score_root);
        }
        let more = self.answers.saturating_sub(self.votes.len() as u64);
        if more > 0 {
            writeln!(
                out,
                "  {more} more answers; --explain-worker explains one of them"
            )?;
        }
        match root {
            Some(root) => writeln!(out, "score root {root}"),
            None => Ok(()),
        }
    }

    fn print_item(&self, derived: &Derived, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let item = &derived.item;
        writeln!(out, "  label: {}", tame(&self.label(item.result.label)))?;
        writeln!(out, "  posterior: {}", share(item.result.posterior))?;
        let posteriors = item.posteriors.iter().copied();
        let mut likely: Vec<(u32, &String)> = posteriors.zip(&self.labels).collect();
        likely.sort_by_key(|&(p, name)| (std::cmp::Reverse(p), name));
        for (p, name) in likely {
            writeln!(out, "  p({}): {}", tame(name), share(p))?;
        }
        Ok(())
    }

    /// Name of a label; a task with one label has a second class without a name.
    fn label(&self, label: Option<u16>) -> String {
        match label {
            None => "nothing".to_owned(),
            Some(label) => match self.labels.get(usize::from(label)) {
                Some(name) => name.clone(),
                None => format!("label {label}"),
            },
        }
    }
}

/// Q16 one.
const ONE: u32 = 1 << 16;

/// What is said of a worker.
fn about(labeler: &LabelerResult) -> String {
    let digits = |ppm: i64| decimal(ppm / 1_000, 3);
    let mut about = format!(
        "skill {}, 95 % between {} and {}, {} answers",
        digits(labeler.skill_ppm),
        digits(labeler.skill_low_ppm),
        digits(labeler.skill_high_ppm),
        labeler.votes
    );
    match labeler.flag {
        Flag::Clear => {}
        Flag::Suspect => about.push_str(", flagged suspect"),
        Flag::Ring => about.push_str(", flagged ring"),
    }
    about
}

fn tame(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// Outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedFile {
    /// Explanations in the file.
    pub checked: u64,
    /// Those that hold.
    pub right: u64,
    /// One entry per explanation, in the order of the file.
    pub explanations: Vec<CheckedExplanation>,
}

/// Outcome for one explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedExplanation {
    /// Task or object of a case, if the file says so; nothing proves the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose answer, if the file says so; nothing proves the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Whether everything follows.
    pub right: bool,
    /// Number of the item.
    pub item: u32,
    /// Number of the labeler; a case is about all answers to an item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labeler: Option<u32>,
    /// The score that it belongs to; compare it with the published one.
    pub score_root: String,
    /// Number of the label that follows; absent where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<u16>,
    /// Its posterior in millionths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posterior_ppm: Option<i64>,
    /// What follows in a case, with numbers instead of names; absent where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The first field or part that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong: Option<&'static str>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Checks the explanations and cases in a file: the JSON of `assay score KIND --explain`, or such objects alone. Each is derived again from itself
/// and, where `score_root` is given, compared with that root; all must belong to one score.
///
/// # Errors
/// [`ScoreError`] for a file that cannot be read or holds no explanation.
pub fn check_explanations(
    path: &Path,
    score_root: Option<Hash>,
) -> Result<CheckedFile, ScoreError> {
    let file = File::open(path).map_err(|error| ScoreError::io("read", path, error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ScoreError::io("read", path, error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let why = format!("the file is longer than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(ScoreError::whole(path, why));
    }
    let bad = |error: serde_json::Error| {
        ScoreError::whole(path, format!("this is no explanation: {error}"))
    };
    let mut found = Vec::new();
    find(serde_json::from_slice(&bytes).map_err(bad)?, &mut found);
    if found.is_empty() {
        let why = "there is no explanation in it; assay score KIND LABELS.csv --explain TASK --json writes one";
        return Err(ScoreError::whole(path, why));
    }
    let mut asked = score_root;
    let mut explanations = Vec::new();
    for (name, value) in found {
        explanations.push(if value.get("kind").is_some() {
            let case: ItemCase = serde_json::from_value(value).map_err(bad)?;
            case.check(name, &mut asked)
        } else {
            let object: Explanation = serde_json::from_value(value).map_err(bad)?;
            check(name, &object, &mut asked)
        });
    }
    Ok(CheckedFile {
        checked: explanations.len() as u64,
        right: explanations.iter().filter(|one| one.right).count() as u64,
        explanations,
    })
}

/// The first score root that holds is the one that all others must have.
fn check(
    worker: Option<String>,
    object: &Explanation,
    asked: &mut Option<Hash>,
) -> CheckedExplanation {
    let derived = object
        .rederive()
        .map_err(|wrong| (wrong.field(), wrong.to_string()));
    let derived = derived.and_then(|derived| {
        let root = *asked.get_or_insert(derived.score_root);
        if derived.score_root == root {
            Ok(derived)
        } else {
            let why = format!("it belongs to another score than {root}");
            Err((SCORE_ROOT, why))
        }
    });
    let result = derived.as_ref().ok().map(|derived| derived.item.result);
    let (wrong, why) = derived.err().unzip();
    CheckedExplanation {
        name: None,
        worker,
        right: wrong.is_none(),
        item: object.case.claim.item,
        labeler: Some(object.labeler.labeler),
        score_root: object.case.score.root().to_string(),
        label: result.and_then(|result| result.label),
        posterior_ppm: result.map(|result| super::sheet::millionths(result.posterior)),
        result: None,
        wrong,
        why,
    }
}

const SCORE_ROOT: &str = "the score root";

/// The explanations and cases in a document, with the names of workers or items where those stand beside them.
fn find(value: Value, found: &mut Vec<(Option<String>, Value)>) {
    match value {
        Value::Array(list) => list.into_iter().for_each(|value| find(value, found)),
        Value::Object(map) if map.contains_key("case") => {
            found.push((None, Value::Object(map)));
        }
        Value::Object(mut map) => {
            let name = match map.remove("worker").or_else(|| map.remove("item")) {
                Some(Value::String(name)) => Some(name),
                _ => None,
            };
            for key in ["explanation", "votes", "cases", "checkable"] {
                if let Some(value) = map.remove(key) {
                    let first = found.len();
                    find(value, found);
                    if let [(own, _)] = &mut found[first..] {
                        *own = own.take().or(name.clone());
                    }
                }
            }
        }
        _ => {}
    }
}
