//! Texts: transcriptions and the like.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    TextInput, TextResult, TextVote, cases::Text, infer_text, text_from_table,
};

use super::{
    Context, Outcome,
    error::ScoreError,
    measure, share,
    sheet::{Sheet, decimal, millionths},
    votes::Votes,
};

/// Scores texts.
pub(super) fn score<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
) -> Result<Outcome<'a>, ScoreError> {
    let list: Vec<TextVote<'_>> = votes
        .rows
        .iter()
        .map(|row| TextVote {
            item: row.task,
            labeler: row.worker,
            text: votes.labels.get(row.label),
        })
        .collect();
    let gold: BTreeMap<u32, &str> = context
        .gold_of(&votes.tasks)
        .into_iter()
        .map(|(task, fact)| (task, fact.label.as_str()))
        .collect();
    let input = TextInput {
        items: votes.tasks.len() as u32,
        labelers: votes.workers.len() as u32,
        votes: &list,
        gold: &gold,
    };
    let result = infer_text(&input)?;
    let mut outcome = Outcome {
        shown: context.show::<Text>(votes, &input, &result, context.asked(votes))?,
        ..Outcome::default()
    };
    outcome.note_gold(gold.len(), context.gold.len());
    if !context.truth.is_empty() {
        measure_against(votes, &result, context, &mut outcome);
    }
    outcome.explanation = context.explain(
        votes,
        |task| {
            let item = &result.items[task as usize];
            vec![
                ("text".to_owned(), item.text.clone().unwrap_or_default()),
                (
                    "expected share of right words".to_owned(),
                    share(item.posterior),
                ),
            ]
        },
        |task, row| {
            let weight = i64::from(result.table.weight[row.worker as usize]);
            let others: Vec<(u32, &str)> = votes
                .rows_of(task)
                .iter()
                .filter(|other| other.worker != row.worker)
                .map(|other| (other.worker, votes.labels.get(other.label)))
                .collect();
            let without = text_from_table(&result.table, &others, None).ok();
            (
                result.labelers[row.worker as usize].skill_ppm,
                format!("weight {}", decimal((weight * 1_000) >> 16, 3)),
                without.and_then(|item| item.text),
            )
        },
    );
    if context.full {
        let list = &result.labelers;
        outcome.labelers = Sheet::default()
            .text("worker", votes.workers.iter())
            .whole("votes", list.iter().map(|l| Some(l.votes)))
            .share("skill", list.iter().map(|l| Some(l.skill_ppm)))
            .share(
                "weight",
                result.table.weight.iter().map(|&w| Some(millionths(w))),
            );
    }
    let (texts, rest): (Vec<_>, Vec<_>) = result
        .items
        .into_iter()
        .map(|item| (item.text.unwrap_or_default(), (item.posterior, item.votes)))
        .unzip();
    outcome.items = Sheet::default()
        .text("task", votes.tasks.iter())
        .text("label", texts)
        .share(
            "posterior",
            rest.iter().map(|item| Some(millionths(item.0))),
        )
        .whole("votes", rest.iter().map(|item| Some(item.1)));
    Ok(outcome)
}

fn measure_against(
    votes: &Votes,
    result: &TextResult,
    context: &Context<'_>,
    outcome: &mut Outcome<'_>,
) {
    let (truth, other) = context.truth_of(&votes.tasks);
    let errors: Vec<(usize, usize)> = truth
        .iter()
        .map(|&(task, text)| {
            let own = result.items[task as usize].text.as_deref();
            measure::word_errors(text, own.unwrap_or_default())
        })
        .collect();
    let rate = |&(errors, words): &(usize, usize)| errors as f64 / words.max(1) as f64;
    let all = errors
        .iter()
        .fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
    outcome.note_truth(truth.len(), other);
    outcome.measures = BTreeMap::from([
        ("word_error_rate", measure::mean(errors.iter().map(rate))),
        ("corpus_word_error_rate", rate(&all)),
    ]);
}
