//! Reads published crowd answers: CSV with `task,worker,label` and, when known, truth with `task,label` (crowd-kit's columns).
//!
//! Further columns are ignored. Tasks, workers and labels become dense indices in sorted (byte-wise) order, so that the same
//! answers give the same indices whatever their order in the file. It does not infer anything.
//! Invariant: every index in [`CrowdData`] points into its list.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::items::csv_text;

/// Largest CSV file in bytes.
pub const CROWD_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most rows of a CSV file.
pub const CROWD_ROWS_MAX: u64 = 20_000_000;

/// Answers of a crowd, with the truth where it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrowdData {
    /// Task names; a task is an index into them.
    pub tasks: Vec<String>,
    /// Worker names; a worker is an index into them.
    pub workers: Vec<String>,
    /// Label names, of answers and of truth; a label is an index into them.
    pub labels: Vec<String>,
    /// (task, worker, label), sorted; one per task and worker.
    pub votes: Vec<(u32, u32, u16)>,
    /// Task -> true label.
    pub truth: BTreeMap<u32, u16>,
    /// Further answers of one worker to one task, in number; the first counts.
    pub repeats: u64,
    /// Rows of truth about tasks without any answer, in number; left out.
    pub truth_unanswered: u64,
}

/// Why answers cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CrowdError {
    /// The file system refused.
    #[error("crowd answers {path}: cannot read: {source}; check the spelling and the permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A line is wrong.
    #[error("{file}, line {line}: {why}")]
    Line {
        /// The file, or `answers` and `truth` for bytes without a file.
        file: String,
        /// Line number from 1.
        line: u64,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The files as a whole are unusable.
    #[error("crowd answers: {0}")]
    Whole(String),
}

impl CrowdError {
    fn in_files(self, answers: &Path, truth: Option<&Path>) -> Self {
        match self {
            Self::Line { file, line, why } => {
                let path = if file == TRUTH {
                    truth.unwrap_or(answers)
                } else {
                    answers
                };
                Self::Line {
                    file: path.display().to_string(),
                    line,
                    why,
                }
            }
            other => other,
        }
    }
}

const ANSWERS: &str = "answers";
const TRUTH: &str = "truth";

/// Reads answers and, when given, truth from files.
///
/// # Errors
/// The first problem, with file and line.
pub fn read(answers: &Path, truth: Option<&Path>) -> Result<CrowdData, CrowdError> {
    let answer_bytes = read_bounded(answers)?;
    let truth_bytes = truth.map(read_bounded).transpose()?;
    parse(&answer_bytes, truth_bytes.as_deref()).map_err(|e| e.in_files(answers, truth))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, CrowdError> {
    let failed = |source| CrowdError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(CROWD_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > CROWD_BYTES_MAX {
        return Err(CrowdError::Whole(format!(
            "{} has more than {CROWD_BYTES_MAX} bytes; split it",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Reads answers and, when given, truth from bytes.
///
/// # Errors
/// The first problem, with its line.
pub fn parse(answers: &[u8], truth: Option<&[u8]>) -> Result<CrowdData, CrowdError> {
    // First answers by task, then worker: the map's order is the order of the result.
    let mut first: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut repeats = 0;
    rows(
        ANSWERS,
        answers,
        ["task", "worker", "label"],
        |_, [task, worker, label]| {
            let of_task = match first.get_mut(task) {
                Some(of_task) => of_task,
                None => first.entry(task.to_owned()).or_default(),
            };
            if of_task.contains_key(worker) {
                repeats += 1;
            } else {
                of_task.insert(worker.to_owned(), label.to_owned());
            }
            Ok(())
        },
    )?;
    let mut true_labels: BTreeMap<String, String> = BTreeMap::new();
    let mut truth_unanswered = 0;
    rows(
        TRUTH,
        truth.unwrap_or(b"task,label\n"),
        ["task", "label"],
        |line, [task, label]| {
            if !first.contains_key(task) {
                truth_unanswered += 1;
            } else if let Some(before) = true_labels
                .insert(task.to_owned(), label.to_owned())
                .filter(|b| b != label)
            {
                let why = format!(
                    "task {task:?} is {label:?} here and {before:?} further up; keep one of them"
                );
                return Err(CrowdError::Line {
                    file: TRUTH.into(),
                    line,
                    why,
                });
            }
            Ok(())
        },
    )?;

    let answered = || first.values().flat_map(|of_task| of_task.iter());
    let tasks: Vec<String> = first.keys().cloned().collect();
    let workers: Vec<String> = answered()
        .map(|(w, _)| w)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .cloned()
        .collect();
    let all_labels: BTreeSet<&String> = answered()
        .map(|(_, l)| l)
        .chain(true_labels.values())
        .collect();
    let labels: Vec<String> = all_labels.into_iter().cloned().collect();
    if labels.len() > usize::from(u16::MAX) {
        let why = format!(
            "{} different labels, at most {}; free text is not a class label",
            labels.len(),
            u16::MAX
        );
        return Err(CrowdError::Whole(why));
    }
    // Lists are sorted and hold every name, so each search finds its place.
    let place = |list: &[String], name: &String| list.binary_search(name).unwrap_or_default();
    let mut votes = Vec::new();
    for (task, of_task) in (0u32..).zip(first.values()) {
        votes.extend(
            of_task
                .iter()
                .map(|(w, l)| (task, place(&workers, w) as u32, place(&labels, l) as u16)),
        );
    }
    let truth = true_labels
        .iter()
        .map(|(t, l)| (place(&tasks, t) as u32, place(&labels, l) as u16))
        .collect();
    Ok(CrowdData {
        tasks,
        workers,
        labels,
        votes,
        truth,
        repeats,
        truth_unanswered,
    })
}

/// Calls `each` with line number and the wanted columns of every row.
fn rows<const N: usize>(
    file: &str,
    bytes: &[u8],
    columns: [&str; N],
    mut each: impl FnMut(u64, [&str; N]) -> Result<(), CrowdError>,
) -> Result<(), CrowdError> {
    let error = |line: u64, why: String| CrowdError::Line {
        file: file.to_owned(),
        line,
        why,
    };
    let refused = |e: &csv::Error| error(e.position().map_or(1, csv::Position::line), csv_text(e));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(|e| refused(&e))?.clone();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        *place = header.iter().position(|c| c == column).ok_or_else(|| {
            error(
                1,
                format!(
                    "no column {column:?}; the first line must name the columns {}",
                    columns.join(",")
                ),
            )
        })?;
    }
    let mut record = csv::StringRecord::new();
    let mut count = 0u64;
    while reader.read_record(&mut record).map_err(|e| refused(&e))? {
        let line = record.position().map_or(0, csv::Position::line);
        count += 1;
        if count > CROWD_ROWS_MAX {
            return Err(error(
                line,
                format!("more than {CROWD_ROWS_MAX} rows; split the file"),
            ));
        }
        let mut cells = [""; N];
        for ((cell, place), column) in cells.iter_mut().zip(places).zip(columns) {
            *cell = record.get(place).unwrap_or_default();
            if cell.is_empty() {
                return Err(error(
                    line,
                    format!("column {column:?} is empty; fill it in or remove the row"),
                ));
            }
        }
        each(line, cells)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(list: &[String]) -> Vec<&str> {
        list.iter().map(String::as_str).collect()
    }

    #[test]
    fn names_become_sorted_indices_and_the_first_answer_counts() {
        let answers = b"task,worker,label,seconds\nt2,w9,dog,3\nt1,w9,cat,4\nt2,w1,cat,5\nt2,w9,cat,6\nt2,w9,dog,7\n";
        let truth = b"\xef\xbb\xbflabel,task\r\nbird,t1\r\ndog,t3\r\nbird,t1\r\n";
        let data = parse(answers, Some(truth)).unwrap();
        assert_eq!(names(&data.tasks), ["t1", "t2"]);
        assert_eq!(names(&data.workers), ["w1", "w9"]);
        assert_eq!(names(&data.labels), ["bird", "cat", "dog"]);
        assert_eq!(data.votes, [(0, 1, 1), (1, 0, 1), (1, 1, 2)]);
        assert_eq!(data.truth, BTreeMap::from([(0, 0)]));
        assert_eq!((data.repeats, data.truth_unanswered), (2, 1));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (answers, truth, parts) in [
            (
                &b"task,worker\n"[..],
                None,
                ["answers, line 1", "no column \"label\""],
            ),
            (b"", None, ["answers, line 1", "task,worker,label"]),
            (
                b"task,worker,label\nt,w,a\nt,,a\n",
                None,
                ["answers, line 3", "\"worker\" is empty"],
            ),
            (
                b"task,worker,label\nt,w,a\nt,w\n",
                None,
                ["answers, line 3", "2 cells"],
            ),
            (
                b"task,worker,label\nt,w,\xff\n",
                None,
                ["answers, line 2", "UTF-8"],
            ),
            (
                b"task,worker,label\nt,w,a\n",
                Some(&b"task,label\nt,a\nt,b\n"[..]),
                ["truth, line 3", "\"a\" further up"],
            ),
            (
                b"task,worker,label\nt,w,a\n",
                Some(b"id,label\n"),
                ["truth, line 1", "no column \"task\""],
            ),
        ] {
            let error = parse(answers, truth)
                .expect_err("must be refused")
                .to_string();
            for part in parts {
                assert!(error.contains(part), "{error:?} does not say {part:?}");
            }
        }
    }

    #[test]
    fn files_are_named_in_errors() {
        let folder = tempfile::TempDir::new().unwrap();
        let (answers, truth) = (
            folder.path().join("labels.csv"),
            folder.path().join("truth.csv"),
        );
        std::fs::write(&answers, "task,worker,label\nt,w,a\n").unwrap();
        assert!(
            read(&answers, Some(&truth))
                .unwrap_err()
                .to_string()
                .contains("truth.csv: cannot read")
        );
        std::fs::write(&truth, "task,label\nt,\n").unwrap();
        assert!(
            read(&answers, Some(&truth))
                .unwrap_err()
                .to_string()
                .contains("truth.csv, line 2")
        );
        assert_eq!(read(&answers, None).unwrap().votes.len(), 1);
    }

    #[test]
    fn free_text_is_not_a_class_label() {
        let mut answers = String::from("task,worker,label\n");
        for n in 0..=u32::from(u16::MAX) {
            answers += &format!("t{n},w,text {n}\n");
        }
        assert!(
            parse(answers.as_bytes(), None)
                .unwrap_err()
                .to_string()
                .contains("65536 different labels")
        );
    }

    proptest! {
        #[test]
        fn row_order_does_not_matter(rows in proptest::collection::btree_map((0u8..6, 0u8..6), 0u8..4, 0..20)) {
            let text = |rows: &mut dyn Iterator<Item = (&(u8, u8), &u8)>| {
                rows.fold("task,worker,label\n".to_owned(), |text, ((t, w), l)| text + &format!("{t},{w},{l}\n"))
            };
            let forward = parse(text(&mut rows.iter()).as_bytes(), None).unwrap();
            let backward = parse(text(&mut rows.iter().rev()).as_bytes(), None).unwrap();
            prop_assert_eq!(forward.votes.len(), rows.len());
            for (vote, ((t, w), l)) in forward.votes.iter().zip(&rows) {
                let names = (&forward.tasks[vote.0 as usize], &forward.workers[vote.1 as usize], &forward.labels[usize::from(vote.2)]);
                prop_assert_eq!(names, (&t.to_string(), &w.to_string(), &l.to_string()));
            }
            prop_assert_eq!(forward, backward);
        }

        #[test]
        fn arbitrary_bytes_never_panic(answers: Vec<u8>, truth: Vec<u8>) {
            let _ = parse(&answers, Some(&truth));
            let _ = parse(&[b"task,worker,label\n", answers.as_slice()].concat(), Some(&[b"task,label\n", truth.as_slice()].concat()));
        }
    }
}
