//! Review verdicts on a label that somebody proposed.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    MAX_CLASSES, MIN_CLASSES, ReviewInput, ReviewVote, Verdict, cases::Review, infer_review,
    review_item_from_table,
};

use super::{
    Context, Outcome,
    error::ScoreError,
    measure,
    names::Names,
    share,
    sheet::{Sheet, millionths},
    votes::Votes,
};

/// What precedes the corrected label.
const FIX: &str = "fix:";

/// Scores verdicts.
pub(super) fn score<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
) -> Result<Outcome<'a>, ScoreError> {
    let gold = context.gold_of(&votes.tasks);
    let classes = Names::of(
        votes
            .proposed
            .iter()
            .map(|&label| votes.labels.get(label))
            .chain(
                votes
                    .labels
                    .iter()
                    .filter_map(|text| text.strip_prefix(FIX)),
            )
            .chain(gold.iter().map(|(_, fact)| fact.label.as_str())),
    );
    if classes.len() > usize::from(MAX_CLASSES) {
        let why = format!(
            "there are {} different labels, and a review has at most {MAX_CLASSES}",
            classes.len()
        );
        return Err(ScoreError::whole(&context.options.labels, why));
    }
    let number = |name: &str| classes.find(name).map_or(0, |class| class as u16);
    let mut proposed: Vec<Option<u32>> = vec![None; votes.tasks.len()];
    let mut list = Vec::with_capacity(votes.rows.len());
    for ((row, &own), &line) in votes.rows.iter().zip(&votes.proposed).zip(&votes.lines) {
        let bad = |why: String| ScoreError::line(&context.options.labels, u64::from(line), why);
        let first = *proposed[row.task as usize].get_or_insert(own);
        if first != own {
            let (task, first, own) = (
                votes.tasks.get(row.task),
                votes.labels.get(first),
                votes.labels.get(own),
            );
            return Err(bad(format!(
                "the task {task:?} proposes {own:?}, and {first:?} in an earlier row; give each proposal a task of its own"
            )));
        }
        let text = votes.labels.get(row.label);
        let verdict = match (text, text.strip_prefix(FIX)) {
            ("accept", _) => Verdict::Accept,
            ("reject", _) => Verdict::Reject,
            (_, Some(label)) if !label.is_empty() => Verdict::Fix(number(label)),
            _ => {
                return Err(bad(format!(
                    "{text:?} is not a verdict; write accept, reject or fix:LABEL"
                )));
            }
        };
        list.push(ReviewVote {
            item: row.task,
            labeler: row.worker,
            verdict,
        });
    }
    let known: BTreeMap<u32, u16> = gold
        .iter()
        .map(|(task, fact)| (*task, number(&fact.label)))
        .collect();
    let shown: Vec<u16> = proposed
        .iter()
        .map(|label| label.map_or(0, |label| number(votes.labels.get(label))))
        .collect();
    let input = ReviewInput {
        proposed: &shown,
        labelers: votes.workers.len() as u32,
        classes: (classes.len() as u16).max(MIN_CLASSES),
        votes: &list,
        gold: &known,
        priors: &[],
    };
    let result = infer_review(&input)?;
    let name = |label: Option<u16>| match label {
        Some(label) if usize::from(label) < classes.len() => {
            classes.get(u32::from(label)).to_owned()
        }
        _ => String::new(),
    };
    let items = &result.items;
    let workers = &result.labelers;
    let mut outcome = Outcome {
        items: Sheet::default()
            .text("task", votes.tasks.iter())
            .text("label", items.iter().map(|item| name(item.label)))
            .share(
                "stands",
                items.iter().map(|item| Some(millionths(item.stands))),
            )
            .text("proposed", shown.iter().map(|&label| name(Some(label))))
            .whole("votes", items.iter().map(|item| Some(item.votes))),
        labelers: Sheet::default()
            .text("worker", votes.workers.iter())
            .whole("votes", workers.iter().map(|l| Some(l.votes)))
            .share("skill", workers.iter().map(|l| Some(l.skill_ppm))),
        labels: Some(classes.len() as u64),
        shown: context.show::<Review>(votes, &input, &result, context.asked(votes))?,
        ..Outcome::default()
    };
    outcome.note_gold(known.len(), context.gold.len());
    if !context.truth.is_empty() {
        let (truth, other) = context.truth_of(&votes.tasks);
        let labels: Vec<(&str, String)> = truth
            .iter()
            .map(|&(task, label)| (label, name(items[task as usize].label)))
            .collect();
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(a, b)| (*a, b.as_str())).collect();
        outcome.note_truth(truth.len(), other);
        outcome.measures = BTreeMap::from([
            ("accuracy", measure::accuracy(&pairs)),
            ("macro_f1", measure::macro_f1(&pairs)),
        ]);
    }
    outcome.explanation = context.explain(
        votes,
        |task| {
            let item = &items[task as usize];
            vec![
                ("proposed".to_owned(), name(Some(shown[task as usize]))),
                ("label".to_owned(), name(item.label)),
                ("the proposal stands with".to_owned(), share(item.stands)),
            ]
        },
        |task, row| {
            let others: Vec<ReviewVote> = list
                .iter()
                .filter(|vote| vote.item == task && vote.labeler != row.worker)
                .copied()
                .collect();
            let without = review_item_from_table(&result.table, shown[task as usize], &others);
            let without = format!("stands with {}", share(without.stands));
            (
                workers[row.worker as usize].skill_ppm,
                String::new(),
                Some(without),
            )
        },
    );
    Ok(outcome)
}
