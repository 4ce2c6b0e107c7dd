//! Class labels: one of a few per answer.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    ClassInput, ClassResult, ConsensusError, Flag, LabelerResult, MAX_CLASSES, MIN_CLASSES,
    Signals, Vote, infer_class_with, item_from_table,
};

use super::{
    Context, Outcome,
    error::ScoreError,
    measure, share,
    sheet::{Sheet, decimal, millionths},
    votes::{Row, Votes},
};

/// Up to this many labels get a column with their posterior.
const POSTERIOR_COLUMNS_MAX: usize = 32;
/// Q16 one.
const ONE: f64 = 65_536.0;

/// What the engine said, and how much gold it was given.
pub(super) struct Judged {
    result: ClassResult,
    gold: usize,
}

/// Runs the engine; repeated answers are taken out of `votes`.
pub(super) fn judge(votes: &mut Votes, context: &Context<'_>) -> Result<Judged, ScoreError> {
    let classes = votes.labels.len();
    if classes > usize::from(MAX_CLASSES) {
        let why = format!(
            "there are {classes} different labels, and a class task has at most {MAX_CLASSES}; are the answers texts or numbers? Then name that kind"
        );
        return Err(ScoreError::whole(&context.options.labels, why));
    }
    let mut gold = BTreeMap::new();
    for (task, fact) in context.gold_of(&votes.tasks) {
        // The labels of gold were numbered with those of the answers.
        if let Some(label) = votes.labels.find(&fact.label) {
            gold.insert(task, label as u16);
        }
    }
    let mut result = infer(votes, &gold);
    if let Err(ConsensusError::DuplicateVote { .. }) = result {
        // Rare enough that files without repetitions need not pay for the search.
        votes.drop_repeated();
        result = infer(votes, &gold);
    }
    Ok(Judged {
        result: result?,
        gold: gold.len(),
    })
}

/// Puts the engine's result into tables and figures.
pub(super) fn outcome<'a>(votes: &'a Votes, context: &Context<'_>, judged: Judged) -> Outcome<'a> {
    let Judged { result, gold } = judged;
    let flagged = result.labelers.iter().filter(|l| l.flag != Flag::Clear);
    let mut outcome = Outcome {
        items: items(votes, &result, context.full),
        flagged: Some(flagged.count() as u64),
        labels: Some(votes.labels.len() as u64),
        ..Outcome::default()
    };
    outcome.note_gold(gold, context.gold.len());
    if context.full {
        outcome.labelers = labelers(votes, &result.labelers);
    }
    if !context.truth.is_empty() {
        measure_against(votes, &result, context, &mut outcome);
    }
    outcome.explanation = context.explain(
        votes,
        |task| about_task(votes, &result, task),
        |task, row| about_vote(votes, &result, task, row),
    );
    outcome.clusters = Some(result.clusters);
    outcome
}

/// One run over the rows, which come back.
fn infer(votes: &mut Votes, gold: &BTreeMap<u32, u16>) -> Result<ClassResult, ConsensusError> {
    // Rows and the engine's votes have one size, so the conversions reuse the memory.
    let rows = std::mem::take(&mut votes.rows);
    let list: Vec<Vote> = rows
        .into_iter()
        .map(|row| Vote {
            item: row.task,
            labeler: row.worker,
            label: row.label as u16,
        })
        .collect();
    let input = ClassInput {
        items: votes.tasks.len() as u32,
        labelers: votes.workers.len() as u32,
        classes: (votes.labels.len() as u16).max(MIN_CLASSES),
        votes: &list,
        gold,
        priors: &[],
    };
    let signals = Signals {
        seconds: &votes.seconds,
        machines: &[],
    };
    let result = infer_class_with(&input, &signals);
    votes.rows = list
        .into_iter()
        .map(|vote| Row {
            task: vote.item,
            worker: vote.labeler,
            label: u32::from(vote.label),
        })
        .collect();
    result
}

fn label_of<'a>(votes: &'a Votes, result: &ClassResult, task: u32) -> &'a str {
    match result.items[task as usize].label {
        Some(label) if usize::from(label) < votes.labels.len() => {
            votes.labels.get(u32::from(label))
        }
        _ => "",
    }
}

fn items<'a>(votes: &'a Votes, result: &ClassResult, full: bool) -> Sheet<'a> {
    let tasks = 0..votes.tasks.len() as u32;
    let mut sheet = Sheet::default().text("task", votes.tasks.iter()).text(
        "label",
        tasks.clone().map(|task| label_of(votes, result, task)),
    );
    if !full {
        return sheet;
    }
    let list = &result.items;
    sheet = sheet
        .share(
            "posterior",
            list.iter().map(|item| Some(millionths(item.posterior))),
        )
        .whole("votes", list.iter().map(|item| Some(item.votes)));
    if votes.labels.len() <= POSTERIOR_COLUMNS_MAX {
        for (class, name) in votes.labels.iter().enumerate() {
            let of_class = tasks.clone().map(|task| {
                let row = result.posteriors_of(task)?;
                Some(millionths(*row.get(class)?))
            });
            sheet = sheet.share(format!("p({name})"), of_class);
        }
    }
    sheet
}

fn flag(labeler: &LabelerResult) -> &'static str {
    match labeler.flag {
        Flag::Clear => "",
        Flag::Suspect => "suspect",
        Flag::Ring => "ring",
    }
}

fn labelers<'a>(votes: &'a Votes, list: &[LabelerResult]) -> Sheet<'a> {
    let pace = |l: &LabelerResult| l.pace;
    Sheet::default()
        .text("worker", votes.workers.iter())
        .whole("votes", list.iter().map(|l| Some(l.votes)))
        .share("skill", list.iter().map(|l| Some(l.skill_ppm)))
        .share("skill_low", list.iter().map(|l| Some(l.skill_low_ppm)))
        .share("skill_high", list.iter().map(|l| Some(l.skill_high_ppm)))
        .share("agreement", list.iter().map(|l| Some(l.agreement_ppm)))
        .whole("gold_seen", list.iter().map(|l| Some(l.gold_seen)))
        .whole("gold_right", list.iter().map(|l| Some(l.gold_right)))
        .share("spammer", list.iter().map(|l| Some(l.spammer_ppm)))
        .share("fraud", list.iter().map(|l| Some(l.fraud_ppm)))
        .text("flag", list.iter().map(|l| flag(l)))
        .whole("cluster", list.iter().map(|l| l.cluster))
        .whole("longest_run", list.iter().map(|l| Some(l.longest_run)))
        .whole(
            "median_seconds",
            list.iter().map(|l| Some(pace(l)?.median_seconds)),
        )
        .share("fast", list.iter().map(|l| Some(pace(l)?.fast_ppm)))
}

fn measure_against(
    votes: &Votes,
    result: &ClassResult,
    context: &Context<'_>,
    outcome: &mut Outcome<'_>,
) {
    let (truth, other) = context.truth_of(&votes.tasks);
    let pairs: Vec<(&str, &str)> = truth
        .iter()
        .map(|&(task, label)| (label, label_of(votes, result, task)))
        .collect();
    let judged: Vec<(f64, bool)> = truth
        .iter()
        .zip(&pairs)
        .map(|(&(task, _), (label, own))| {
            let posterior = f64::from(result.items[task as usize].posterior) / ONE;
            (posterior, label == own)
        })
        .collect();
    outcome.note_truth(truth.len(), other);
    outcome.measures = BTreeMap::from([
        ("accuracy", measure::accuracy(&pairs)),
        ("macro_f1", measure::macro_f1(&pairs)),
        ("calibration_error", measure::calibration_error(&judged)),
    ]);
}

fn about_task(votes: &Votes, result: &ClassResult, task: u32) -> Vec<(String, String)> {
    let item = &result.items[task as usize];
    let mut lines = vec![
        ("label".to_owned(), label_of(votes, result, task).to_owned()),
        ("posterior".to_owned(), share(item.posterior)),
    ];
    let row = result.posteriors_of(task).unwrap_or_default();
    let mut likely: Vec<(u32, &str)> = row.iter().copied().zip(votes.labels.iter()).collect();
    likely.sort_by_key(|&(p, name)| (std::cmp::Reverse(p), name));
    for (p, name) in likely {
        lines.push((format!("p({name})"), share(p)));
    }
    lines
}

fn about_vote(
    votes: &Votes,
    result: &ClassResult,
    task: u32,
    row: Row,
) -> (i64, String, Option<String>) {
    let labeler = &result.labelers[row.worker as usize];
    let digits = |ppm: i64| decimal(ppm / 1_000, 3);
    let mut about = format!(
        "95 % between {} and {}, {} answers",
        digits(labeler.skill_low_ppm),
        digits(labeler.skill_high_ppm),
        labeler.votes
    );
    if labeler.flag != Flag::Clear {
        about.push_str(&format!(", flagged {}", flag(labeler)));
    }
    let others: Vec<(u32, u16)> = votes
        .rows_of(task)
        .iter()
        .filter(|other| other.worker != row.worker)
        .map(|other| (other.worker, other.label as u16))
        .collect();
    let without = item_from_table(&result.table, &others).and_then(|row| {
        let mut best = 0;
        for class in 1..row.len() {
            if row[class] > row[best] {
                best = class;
            }
        }
        (best < votes.labels.len())
            .then(|| format!("{} {}", votes.labels.get(best as u32), share(row[best])))
    });
    (labeler.skill_ppm, about, without)
}
