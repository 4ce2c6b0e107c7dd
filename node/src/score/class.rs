//! Class labels: one of a few per answer.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    ClassInput, ClassResult, ClassScoring, ClassVotes, ConsensusError, Flag, LabelerResult,
    MAX_CLASSES, MIN_CLASSES, Signals, Vote, infer_class_with,
};

use super::{
    Context, Kind, Outcome,
    checkable::Shown,
    error::ScoreError,
    explain::{self, Asked, TaskExplanation},
    measure,
    roots::Roots,
    sheet::{Sheet, millionths},
    votes::{Row, Votes},
};

/// Up to this many labels get a column with their posterior.
const POSTERIOR_COLUMNS_MAX: usize = 32;
/// Q16 one.
const ONE: f64 = 65_536.0;

/// What the engine said, and how much it was given.
pub(super) struct Judged {
    result: ClassResult,
    explanation: Option<TaskExplanation>,
    roots: Option<Roots>,
    answers: u64,
    gold: usize,
}

/// Runs the engine, which takes the rows out of `votes`: they are most of what a file needs, and nobody asks for them again.
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
    let asked = asked(votes, context)?;
    let mut judged = infer(votes, &gold, asked, context);
    if let Err(ConsensusError::DuplicateVote { .. }) = judged {
        // Rare enough that files without repetitions need not pay for the search.
        votes.drop_repeated();
        judged = infer(votes, &gold, asked, context);
    }
    Ok(judged?)
}

/// What is to be explained, if anything.
fn asked(votes: &Votes, context: &Context<'_>) -> Result<Option<Asked>, ScoreError> {
    let options = context.options;
    let Some(task) = options
        .explain
        .as_ref()
        .and_then(|task| votes.tasks.find(task))
    else {
        return Ok(None);
    };
    let worker = options.explain_worker.as_ref().map(|name| {
        let answered = votes.workers.find(name).filter(|&worker| {
            let mut rows = votes.rows.iter();
            rows.any(|row| row.task == task && row.worker == worker)
        });
        answered.ok_or_else(|| {
            let why = format!("the worker {name:?} gave no answer to the explained task");
            ScoreError::whole(&options.labels, why)
        })
    });
    Ok(Some(Asked {
        task,
        worker: worker.transpose()?,
    }))
}

/// Puts the engine's result into tables and figures.
pub(super) fn outcome<'a>(votes: &'a Votes, context: &Context<'_>, judged: Judged) -> Outcome<'a> {
    let Judged {
        result,
        explanation,
        roots,
        answers,
        gold,
    } = judged;
    let flagged = result.labelers.iter().filter(|l| l.flag != Flag::Clear);
    let mut outcome = Outcome {
        items: items(votes, &result, context.full),
        flagged: Some(flagged.count() as u64),
        labels: Some(votes.labels.len() as u64),
        answers: Some(answers),
        checkable: explanation,
        shown: Shown {
            roots,
            ..Shown::default()
        },
        ..Outcome::default()
    };
    outcome.note_gold(gold, context.gold.len());
    if context.full {
        outcome.labelers = labelers(votes, &result.labelers);
    }
    if !context.truth.is_empty() {
        measure_against(votes, &result, context, &mut outcome);
    }
    outcome.clusters = Some(result.clusters);
    outcome
}

/// One run over the rows, which come back when some of them are repetitions.
fn infer(
    votes: &mut Votes,
    gold: &BTreeMap<u32, u16>,
    asked: Option<Asked>,
    context: &Context<'_>,
) -> Result<Judged, ConsensusError> {
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
    let sorted = match ClassVotes::new(&input) {
        Ok(sorted) => sorted,
        Err(error) => {
            let back = list.into_iter().map(|vote| Row {
                task: vote.item,
                worker: vote.labeler,
                label: u32::from(vote.label),
            });
            votes.rows = back.collect();
            return Err(error);
        }
    };
    let (mut explanation, mut roots) = (None, None);
    if asked.is_some() || context.full {
        let scoring = ClassScoring::fit(&input)?;
        let explained = asked.map(|asked| explain::explain(&input, &scoring, votes, asked));
        explanation = explained.transpose()?;
        let heads = || (scoring.input_head(), scoring.score_head());
        roots = context
            .full
            .then(heads)
            .map(|(input, score)| Roots::new(Kind::Class, votes, input, score));
    }
    let answers = list.len() as u64;
    let result = if votes.seconds.is_empty() {
        drop(list);
        sorted.infer()?
    } else {
        drop(sorted);
        let signals = Signals {
            seconds: &votes.seconds,
            machines: &[],
        };
        infer_class_with(&input, &signals)?
    };
    Ok(Judged {
        result,
        explanation,
        roots,
        answers,
        gold: gold.len(),
    })
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
