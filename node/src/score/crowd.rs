//! Recorded answers as numbers, for those who send them through a swarm instead of scoring them at once.
//!
//! Invariant: every index in [`CrowdData`] points into its list; the order of the rows changes nothing but the choice among several
//! answers of one worker to one task.

use std::{collections::BTreeMap, path::Path};

use super::{
    Kind,
    error::ScoreError,
    names::Names,
    votes::{Known, read, read_known},
};

/// Class answers of a crowd, with the truth where it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrowdData {
    /// Task names in byte order; a task is an index into them.
    pub tasks: Vec<String>,
    /// Worker names in byte order; a worker is an index into them.
    pub workers: Vec<String>,
    /// Label names in byte order, of answers and of truth; a label is an index into them.
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

/// Reads answers (`task,worker,label`) and, when given, truth (`task,label`).
///
/// # Errors
/// The first problem, with file and line.
pub fn read_crowd(answers: &Path, truth: Option<&Path>) -> Result<CrowdData, ScoreError> {
    let facts = match truth
        .map(|path| read_known(path, Kind::Class))
        .transpose()?
    {
        Some(Known::Labels(facts)) => facts,
        _ => Vec::new(),
    };
    let mut file = read(answers, Kind::Class, &facts, &|_| ())?;
    file.drop_repeated();
    if file.labels.len() > usize::from(u16::MAX) {
        let why = format!(
            "{} different labels, at most {}; free text is not a class label",
            file.labels.len(),
            u16::MAX
        );
        return Err(ScoreError::whole(answers, why));
    }
    let mut votes: Vec<_> = file
        .rows
        .iter()
        .map(|row| (row.task, row.worker, row.label as u16))
        .collect();
    votes.sort_unstable();
    let mut data = CrowdData {
        tasks: list(&file.tasks),
        workers: list(&file.workers),
        labels: list(&file.labels),
        votes,
        repeats: file.repeated,
        ..CrowdData::default()
    };
    for fact in facts {
        let place = |names: &[String], name: &String| names.binary_search(name).ok();
        match (
            place(&data.tasks, &fact.task),
            place(&data.labels, &fact.label),
        ) {
            (Some(task), Some(label)) => {
                data.truth.insert(task as u32, label as u16);
            }
            _ => data.truth_unanswered += 1,
        }
    }
    Ok(data)
}

fn list(names: &Names) -> Vec<String> {
    names.iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(answers: &[u8], truth: Option<&[u8]>) -> Result<CrowdData, ScoreError> {
        let folder = tempfile::TempDir::new().unwrap();
        let (votes, known) = (
            folder.path().join("labels.csv"),
            folder.path().join("truth.csv"),
        );
        std::fs::write(&votes, answers).unwrap();
        if let Some(truth) = truth {
            std::fs::write(&known, truth).unwrap();
        }
        read_crowd(&votes, truth.map(|_| known.as_path()))
    }

    #[test]
    fn names_become_sorted_indices_and_the_first_answer_counts() {
        let answers = b"task,worker,label,unused\nt2,w9,dog,x\nt1,w9,cat,x\nt2,w1,cat,x\nt2,w9,cat,x\nt2,w9,dog,x\n";
        let truth = b"\xef\xbb\xbflabel,task\r\nbird,t1\r\ndog,t3\r\n";
        let data = crowd(answers, Some(truth)).unwrap();
        assert_eq!(data.tasks, ["t1", "t2"]);
        assert_eq!(data.workers, ["w1", "w9"]);
        assert_eq!(data.labels, ["bird", "cat", "dog"]);
        assert_eq!(data.votes, [(0, 1, 1), (1, 0, 1), (1, 1, 2)]);
        assert_eq!(data.truth, BTreeMap::from([(0, 0)]));
        assert_eq!((data.repeats, data.truth_unanswered), (2, 1));
    }

    #[test]
    fn free_text_is_not_a_class_label() {
        let mut answers = String::from("task,worker,label\n");
        for n in 0..=u32::from(u16::MAX) {
            answers += &format!("t{n},w,text {n}\n");
        }
        let refused = crowd(answers.as_bytes(), None).unwrap_err().to_string();
        assert!(refused.contains("65536 different labels"), "{refused}");
    }

    #[test]
    fn a_wrong_line_of_the_truth_is_named() {
        let refused = crowd(
            b"task,worker,label\nt,w,a\n",
            Some(b"task,label\nt,a\nt,b\n"),
        );
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("truth.csv, line 3"), "{text}");
    }
}
