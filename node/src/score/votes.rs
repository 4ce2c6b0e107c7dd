//! The files: answers, and what is known about tasks (truth or gold).
//!
//! Columns are found by the names in the header, in any order and case; further columns are ignored.
//! Invariants: tasks, workers and labels are numbered by their names' byte order; rows keep the order of the file, which matters for
//! nothing but the choice among several answers of one worker to one task.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    Kind, Stage,
    error::ScoreError,
    names::{Collector, NameError, Names, ShortName},
    read::{ROW_BYTES_MAX, ReadError, Rows},
};

/// Most answers in a file.
pub const ROWS_MAX: usize = 1 << 24;

const TASK: &[&str] = &["task", "item", "task_id", "item_id", "object"];
const WORKER: &[&str] = &[
    "worker",
    "performer",
    "annotator",
    "labeler",
    "worker_id",
    "annotator_id",
    "reviewer",
];
const LABEL: &[&str] = &["label", "text", "answer", "response", "order", "verdict"];
const SECONDS: &[&str] = &["seconds", "duration"];
const PROPOSED: &[&str] = &["proposed", "proposal"];

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub task: u32,
    pub worker: u32,
    pub label: u32,
}

/// All answers of a file.
#[derive(Debug, Default)]
pub(super) struct Votes {
    pub tasks: Names,
    pub workers: Names,
    pub labels: Names,
    /// In the order of the file.
    pub rows: Vec<Row>,
    /// Line of the first use of each label.
    pub label_line: Vec<u32>,
    /// Line of each row, for kinds whose answers are checked against their row.
    pub lines: Vec<u32>,
    /// Answer time of each row, or empty.
    pub seconds: Vec<u32>,
    /// Proposed label of each row (a number in `labels`), for reviews.
    pub proposed: Vec<u32>,
    /// Whether the file has the columns left and right.
    pub sided: bool,
    /// Rows without an answer, left out.
    pub blank: u64,
    /// Further answers of one worker to one task, left out.
    pub repeated: u64,
    /// What people should know about the file.
    pub notes: Vec<String>,
}

struct Columns {
    task: Option<usize>,
    sides: Option<(usize, usize)>,
    worker: usize,
    label: usize,
    seconds: Option<usize>,
    proposed: Option<usize>,
}

/// Tasks that get their numbers together, in rows: many times what the machine reads at once, and few enough to stay in its caches.
const BATCH_ROWS: usize = 128;

/// A row whose task is still to be numbered.
struct Unnumbered {
    task: ShortName,
    row: u32,
    line: u64,
}

/// A file that tells how much of it was read.
struct Source<'a> {
    file: File,
    bytes: u64,
    total: u64,
    progress: &'a dyn Fn(Stage),
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes += count as u64;
        (self.progress)(Stage::Reading {
            bytes: self.bytes,
            total: self.total,
        });
        Ok(count)
    }
}

/// Opens a file and reads its header.
fn open<'a>(
    path: &Path,
    progress: &'a dyn Fn(Stage),
) -> Result<(Rows<Source<'a>>, Vec<String>), ScoreError> {
    let failed = |error| ScoreError::io("read", path, error);
    let file = File::open(path).map_err(failed)?;
    let source = Source {
        // Pipes have no length.
        total: file.metadata().map_err(failed)?.len(),
        file,
        bytes: 0,
        progress,
    };
    let mut rows = Rows::new(source).map_err(|error| stopped(path, 1, error))?;
    if !advance(&mut rows, path)? {
        return Err(ScoreError::whole(
            path,
            "the file is empty; its first line must name the columns, like task,worker,label",
        ));
    }
    let header = (0..rows.width())
        .map(|column| {
            let name = rows.field(column).unwrap_or_default();
            String::from_utf8_lossy(name).trim().to_ascii_lowercase()
        })
        .collect();
    Ok((rows, header))
}

fn advance(rows: &mut Rows<Source<'_>>, path: &Path) -> Result<bool, ScoreError> {
    rows.advance()
        .map_err(|error| stopped(path, rows.line(), error))
}

fn stopped(path: &Path, line: u64, error: ReadError) -> ScoreError {
    match error {
        ReadError::Io(error) => ScoreError::io("read", path, error),
        ReadError::TooLong => ScoreError::line(
            path,
            line,
            format!(
                "the row does not end within {} MiB; is a quote not closed?",
                ROW_BYTES_MAX >> 20
            ),
        ),
    }
}

fn find(header: &[String], names: &[&str]) -> Option<usize> {
    names
        .iter()
        .find_map(|name| header.iter().position(|own| own == name))
}

fn missing(path: &Path, header: &[String], names: &[&str]) -> ScoreError {
    ScoreError::line(
        path,
        1,
        format!(
            "there is no column {}; the columns are: {}",
            names.join(" or "),
            header.join(", ")
        ),
    )
}

impl Columns {
    fn find(kind: Kind, header: &[String], path: &Path) -> Result<Self, ScoreError> {
        let task = find(header, TASK);
        let sides = find(header, &["left"]).zip(find(header, &["right"]));
        let columns = Self {
            task,
            sides: sides.filter(|_| kind == Kind::Pair),
            worker: find(header, WORKER).ok_or_else(|| missing(path, header, &WORKER[..4]))?,
            label: find(header, LABEL).ok_or_else(|| missing(path, header, &LABEL[..2]))?,
            seconds: find(header, SECONDS).filter(|_| kind == Kind::Class),
            proposed: find(header, PROPOSED).filter(|_| kind == Kind::Review),
        };
        if kind == Kind::Review && columns.proposed.is_none() {
            return Err(missing(path, header, PROPOSED));
        }
        if columns.task.is_none() && columns.sides.is_none() && kind != Kind::Ranking {
            return Err(missing(path, header, &TASK[..2]));
        }
        Ok(columns)
    }
}

/// Reads a file of answers. The labels of gold are numbered along, so that a label that only gold has is a class as well.
pub(super) fn read(
    path: &Path,
    kind: Kind,
    gold: &[Fact],
    progress: &dyn Fn(Stage),
) -> Result<Votes, ScoreError> {
    let (mut rows, header) = open(path, progress)?;
    let columns = Columns::find(kind, &header, path)?;
    let mut votes = Votes {
        sided: columns.sides.is_some(),
        ..Votes::default()
    };
    let (mut tasks, mut workers, mut labels) = (
        Collector::default(),
        Collector::default(),
        Collector::default(),
    );
    let keeps_lines = !matches!(kind, Kind::Class | Kind::Text);
    let empty_answers = matches!(
        kind,
        Kind::Text | Kind::Multi | Kind::Span | Kind::Segment | Kind::Box | Kind::Polygon
    );
    let mut timed = columns.seconds.is_some();
    let mut pair = Vec::new();
    let mut waiting: Vec<Unnumbered> = Vec::with_capacity(BATCH_ROWS);
    while advance(&mut rows, path)? {
        let line = rows.line();
        let field = |column: usize, name: &str| {
            rows.field(column).ok_or_else(|| {
                ScoreError::line(
                    path,
                    line,
                    format!(
                        "the row has {} fields, so there is no {name}; the header has {} columns",
                        rows.width(),
                        header.len()
                    ),
                )
            })
        };
        let name = |list: &mut Collector, bytes: &[u8], name: &str| {
            if bytes.is_empty() {
                let why = format!("the {name} is empty; every row needs one");
                return Err(ScoreError::line(path, line, why));
            }
            number(list, bytes, path, line)
        };
        let label = field(columns.label, "label")?;
        if label.is_empty() && !empty_answers {
            votes.blank += 1;
            continue;
        }
        if votes.rows.len() == ROWS_MAX {
            let why = format!("more than {ROWS_MAX} answers; split the file by tasks");
            return Err(ScoreError::line(path, line, why));
        }
        let task = match (columns.sides, columns.task) {
            (Some((left, right)), _) => {
                let sides = [field(left, "left")?, field(right, "right")?];
                if sides
                    .iter()
                    .any(|side| side.is_empty() || side.contains(&b'|'))
                {
                    let why = "left and right must be names without the sign |";
                    return Err(ScoreError::line(path, line, why));
                }
                pair.clear();
                pair.extend_from_slice(sides[0]);
                pair.push(b'|');
                pair.extend_from_slice(sides[1]);
                number(&mut tasks, &pair, path, line)?
            }
            (None, Some(column)) => {
                let bytes = field(column, "task")?;
                match ShortName::of(bytes) {
                    Some(task) => {
                        let row = votes.rows.len() as u32;
                        waiting.push(Unnumbered { task, row, line });
                        0
                    }
                    None => name(&mut tasks, bytes, "task")?,
                }
            }
            // Orders may come without a task.
            (None, None) => number(&mut tasks, b"-", path, line)?,
        };
        let worker = name(&mut workers, field(columns.worker, "worker")?, "worker")?;
        let label = number(&mut labels, label, path, line)?;
        let short_line = u32::try_from(line).unwrap_or(u32::MAX);
        if labels.len() > votes.label_line.len() {
            votes.label_line.push(short_line);
        }
        if let Some(column) = columns.proposed {
            let own = name(&mut labels, field(column, "proposed")?, "proposed label")?;
            if labels.len() > votes.label_line.len() {
                votes.label_line.push(short_line);
            }
            votes.proposed.push(own);
        }
        if keeps_lines {
            votes.lines.push(short_line);
        }
        if timed && let Some(column) = columns.seconds {
            match whole_seconds(rows.field(column).unwrap_or_default()) {
                Some(seconds) => votes.seconds.push(seconds),
                None => {
                    timed = false;
                    votes.seconds = Vec::new();
                    votes.notes.push(format!(
                        "line {line} has no answer time in seconds, so answer times are not used"
                    ));
                }
            }
        }
        votes.rows.push(Row {
            task,
            worker,
            label,
        });
        if waiting.len() == BATCH_ROWS {
            number_tasks(&mut tasks, &mut waiting, &mut votes.rows, path)?;
        }
    }
    number_tasks(&mut tasks, &mut waiting, &mut votes.rows, path)?;
    if kind == Kind::Class {
        for fact in gold {
            number(&mut labels, fact.label.as_bytes(), path, fact.line)?;
        }
        votes.label_line.resize(labels.len(), 0);
    }
    votes.number_by_name(tasks, workers, labels);
    if kind != Kind::Class && kind != Kind::Pair && kind != Kind::Ranking {
        votes.drop_repeated();
    }
    if votes.blank > 0 {
        votes.notes.push(format!(
            "{} rows without an answer are left out",
            votes.blank
        ));
    }
    Ok(votes)
}

fn number(list: &mut Collector, bytes: &[u8], path: &Path, line: u64) -> Result<u32, ScoreError> {
    list.number(bytes)
        .map_err(|error| refused(path, line, error))
}

fn refused(path: &Path, line: u64, error: NameError) -> ScoreError {
    let why = match error {
        NameError::NotUtf8 => {
            "the text is not UTF-8; convert the file, for example with iconv -f latin1 -t utf-8"
        }
        NameError::TooMuch => "more than 4 GiB of different texts; split the file by tasks",
    };
    ScoreError::line(path, line, why)
}

/// Gives the waiting rows their tasks.
fn number_tasks(
    tasks: &mut Collector,
    waiting: &mut Vec<Unnumbered>,
    rows: &mut [Row],
    path: &Path,
) -> Result<(), ScoreError> {
    let mut entries = waiting.iter();
    let numbered = tasks.numbers(waiting.iter().map(|entry| entry.task), |number| {
        if let Some(entry) = entries.next() {
            rows[entry.row as usize].task = number;
        }
    });
    numbered.map_err(|error| {
        let line = entries.next().map_or(0, |entry| entry.line);
        refused(path, line, error)
    })?;
    waiting.clear();
    Ok(())
}

/// Seconds rounded down; `None` for anything else.
fn whole_seconds(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let value: f64 = text.parse().ok()?;
    (0.0..f64::from(u32::MAX))
        .contains(&value)
        .then_some(value as u32)
}

impl Votes {
    fn number_by_name(&mut self, tasks: Collector, workers: Collector, labels: Collector) {
        let (task_names, task_place) = tasks.sort();
        let (worker_names, worker_place) = workers.sort();
        let (label_names, label_place) = labels.sort();
        for row in &mut self.rows {
            row.task = task_place[row.task as usize];
            row.worker = worker_place[row.worker as usize];
            row.label = label_place[row.label as usize];
        }
        for label in &mut self.proposed {
            *label = label_place[*label as usize];
        }
        let mut label_line = vec![0; self.label_line.len()];
        for (&place, &line) in label_place.iter().zip(&self.label_line) {
            label_line[place as usize] = line;
        }
        self.label_line = label_line;
        self.tasks = task_names;
        self.workers = worker_names;
        self.labels = label_names;
    }

    /// Keeps the first answer of each worker to each task.
    pub fn drop_repeated(&mut self) {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_unstable_by_key(|&at| {
            let row = self.rows[at as usize];
            (row.task, row.worker, at)
        });
        let mut keep = vec![true; self.rows.len()];
        for run in order.chunk_by(|&a, &b| {
            let (a, b) = (self.rows[a as usize], self.rows[b as usize]);
            (a.task, a.worker) == (b.task, b.worker)
        }) {
            for &at in &run[1..] {
                keep[at as usize] = false;
                self.repeated += 1;
            }
        }
        if self.repeated == 0 {
            return;
        }
        retain(&mut self.rows, &keep);
        retain(&mut self.lines, &keep);
        retain(&mut self.seconds, &keep);
        retain(&mut self.proposed, &keep);
        self.notes.push(format!(
            "{} further answers of a worker to the same task are left out; the first in the file counts",
            self.repeated
        ));
    }

    /// Rows of one task, by worker.
    pub fn rows_of(&self, task: u32) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .rows
            .iter()
            .filter(|row| row.task == task)
            .copied()
            .collect();
        rows.sort_by_key(|row| row.worker);
        rows
    }
}

fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    if list.is_empty() {
        return;
    }
    let mut flags = keep.iter();
    list.retain(|_| flags.next().copied().unwrap_or(true));
}

/// What is known about one task or object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub task: String,
    pub label: String,
    pub line: u64,
}

/// A file of truth or gold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// Columns task, label.
    Labels(Vec<Fact>),
    /// Columns item, score, and optionally group: (item, group, score).
    Scores(Vec<(String, String, f64)>),
}

/// Reads a file of truth or gold.
pub(super) fn read_known(path: &Path, kind: Kind) -> Result<Known, ScoreError> {
    let (mut rows, header) = open(path, &|_| ())?;
    let task = find(&header, TASK).ok_or_else(|| missing(path, &header, &TASK[..2]))?;
    let score = find(&header, &["score"]).filter(|_| matches!(kind, Kind::Pair | Kind::Ranking));
    let group = find(&header, &["group"]);
    let label = match (score, find(&header, LABEL)) {
        (None, None) => return Err(missing(path, &header, &LABEL[..2])),
        (Some(column), _) | (None, Some(column)) => column,
    };
    let (mut facts, mut scores) = (Vec::new(), Vec::new());
    let mut seen = std::collections::BTreeSet::new();
    while advance(&mut rows, path)? {
        let line = rows.line();
        let text = |column: usize| -> Result<String, ScoreError> {
            let bytes = rows.field(column).ok_or_else(|| {
                ScoreError::line(path, line, "the row has fewer fields than the header")
            })?;
            String::from_utf8(bytes.to_vec())
                .map_err(|_| ScoreError::line(path, line, "the text is not UTF-8"))
        };
        let (task, label) = (text(task)?, text(label)?);
        if !seen.insert(task.clone()) {
            let why = format!("{task:?} stands twice; keep one row per task");
            return Err(ScoreError::line(path, line, why));
        }
        if score.is_some() {
            let value = label.trim().parse().ok().filter(|v: &f64| v.is_finite());
            let value = value.ok_or_else(|| {
                ScoreError::line(path, line, format!("{label:?} is not a number"))
            })?;
            scores.push((
                task,
                group.map(text).transpose()?.unwrap_or_default(),
                value,
            ));
        } else {
            facts.push(Fact { task, label, line });
        }
    }
    Ok(if score.is_some() {
        Known::Scores(scores)
    } else {
        Known::Labels(facts)
    })
}
