//! Comparisons of two objects, and orders of several.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::consensus::{
    Comparison, Outcome as Winner, PairInput, PairResult, Ranking, RankingInput,
    cases::{Pair, Ranked},
    infer_pairs, infer_rankings,
};

use super::{
    Context, Outcome,
    error::ScoreError,
    measure,
    names::Names,
    sheet::{Sheet, decimal},
    votes::{Known, Votes},
};

/// Digits behind the point of scores.
const SCORE_DIGITS: u8 = 3;
/// What a tie is called, unless an object has that name.
const TIES: [&str; 2] = ["tie", "="];

/// Scores comparisons.
pub(super) fn score_pairs<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
) -> Result<Outcome<'a>, ScoreError> {
    no_gold(context)?;
    let mut sides = Vec::with_capacity(votes.tasks.len());
    for (task, name) in votes.tasks.iter().enumerate() {
        let pair = name.split_once('|').filter(|(left, right)| {
            !left.is_empty() && !right.is_empty() && left != right && !right.contains('|')
        });
        let Some(pair) = pair else {
            let row = votes.rows.iter().position(|row| row.task as usize == task);
            let line = row.and_then(|row| votes.lines.get(row)).copied();
            return Err(ScoreError::line(
                &context.options.labels,
                u64::from(line.unwrap_or_default()),
                format!(
                    "the task {name:?} is not a pair; write LEFT|RIGHT with two different names"
                ),
            ));
        };
        sides.push(pair);
    }
    let objects = Names::of(sides.iter().flat_map(|&(left, right)| [left, right]));
    let number = |name: &str| objects.find(name).expect("all sides were collected above");
    let sides: Vec<(&str, &str, u32, u32)> = sides
        .into_iter()
        .map(|(left, right)| (left, right, number(left), number(right)))
        .collect();
    let mut list = Vec::with_capacity(votes.rows.len());
    for (row, &line) in votes.rows.iter().zip(&votes.lines) {
        let (left_name, right_name, left, right) = sides[row.task as usize];
        let label = votes.labels.get(row.label);
        let outcome = if label == left_name {
            Winner::Left
        } else if label == right_name {
            Winner::Right
        } else if TIES.contains(&label) {
            Winner::Tie
        } else {
            let why =
                format!("{label:?} is none of the two; write {left_name:?}, {right_name:?} or tie");
            return Err(ScoreError::line(
                &context.options.labels,
                u64::from(line),
                why,
            ));
        };
        list.push(Comparison {
            labeler: row.worker,
            left,
            right,
            outcome,
        });
    }
    let input = PairInput {
        objects: objects.len() as u32,
        labelers: votes.workers.len() as u32,
        sided: votes.sided,
        votes: &list,
    };
    let result = infer_pairs(&input)?;
    Ok(Outcome {
        shown: context.show::<Pair>(votes, &input, &result, asked(votes, context, &objects))?,
        ..outcome(votes, context, &objects, &result)
    })
}

/// Scores orders.
pub(super) fn score_orders<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
) -> Result<Outcome<'a>, ScoreError> {
    no_gold(context)?;
    let objects = Names::of(votes.labels.iter().flat_map(parts));
    let mut orders = Vec::with_capacity(votes.labels.len());
    for (label, text) in (0..).zip(votes.labels.iter()) {
        let order: Vec<u32> = parts(text).filter_map(|name| objects.find(name)).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() < 2 || sorted.len() < order.len() || parts(text).any(str::is_empty) {
            let why = format!(
                "{text:?} is not an order; write at least two different names, best first, like A>B>C"
            );
            return Err(context.bad_label(votes, label, why));
        }
        orders.push(order);
    }
    let list: Vec<Ranking<'_>> = votes
        .rows
        .iter()
        .map(|row| Ranking {
            labeler: row.worker,
            order: &orders[row.label as usize],
        })
        .collect();
    let input = RankingInput {
        objects: objects.len() as u32,
        labelers: votes.workers.len() as u32,
        votes: &list,
    };
    let result = infer_rankings(&input)?;
    Ok(Outcome {
        shown: context.show::<Ranked>(votes, &input, &result, asked(votes, context, &objects))?,
        ..outcome(votes, context, &objects, &result)
    })
}

/// Objects of the explained task, by name and number: those that a comparison names, or those in the orders.
fn asked<'n>(
    votes: &Votes,
    context: &Context<'_>,
    objects: &'n Names,
) -> impl Iterator<Item = (&'n str, u32)> {
    let mut asked = BTreeSet::new();
    if let Some((task, number)) = context.asked(votes) {
        asked.extend(task.split('|').filter_map(|name| objects.find(name)));
        for row in votes.rows_of(number) {
            let named = parts(votes.labels.get(row.label));
            asked.extend(named.filter_map(|name| objects.find(name)));
        }
    }
    asked
        .into_iter()
        .map(|object| (objects.get(object), object))
}

fn parts(order: &str) -> impl Iterator<Item = &str> {
    order.split('>').map(str::trim)
}

fn no_gold(context: &Context<'_>) -> Result<(), ScoreError> {
    match context.options.gold {
        Some(_) => Err(ScoreError::Option(
            "comparisons and orders take no --gold: a known winner says nothing about the distance between two objects".to_owned(),
        )),
        None => Ok(()),
    }
}

fn outcome<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
    objects: &Names,
    result: &PairResult,
) -> Outcome<'a> {
    let list = &result.objects;
    let mut outcome = Outcome {
        items: Sheet::default()
            .text("item", objects.iter().map(str::to_owned))
            .decimal(
                "score",
                SCORE_DIGITS,
                list.iter().map(|o| Some(o.score_milli)),
            )
            .decimal(
                "half_width",
                SCORE_DIGITS,
                list.iter().map(|o| i64::try_from(o.half_width_milli).ok()),
            )
            .whole("rank", list.iter().map(|o| o.rank))
            .whole("comparisons", list.iter().map(|o| Some(o.comparisons))),
        ..Outcome::default()
    };
    if context.full {
        let list = &result.labelers;
        outcome.labelers = Sheet::default()
            .text("worker", votes.workers.iter())
            .whole("votes", list.iter().map(|l| Some(l.votes)))
            .share("skill", list.iter().map(|l| Some(l.skill_ppm)))
            .share("reliability", list.iter().map(|l| Some(l.reliability_ppm)));
    }
    if votes.sided {
        let advantage = decimal(result.left_advantage_milli, SCORE_DIGITS);
        outcome.notes.push(format!(
            "the left side has an advantage of {advantage} (log-odds)"
        ));
    }
    measure_against(context, objects, result, &mut outcome);
    outcome.explanation = context.explain(
        votes,
        |task| {
            let mut lines = Vec::new();
            for name in votes.tasks.get(task).split('|') {
                if let Some(object) = objects.find(name) {
                    let object = &list[object as usize];
                    lines.push((
                        name.to_owned(),
                        format!(
                            "score {} (95 %: plus or minus {}), rank {}",
                            decimal(object.score_milli, SCORE_DIGITS),
                            decimal(object.half_width_milli as i64, SCORE_DIGITS),
                            object.rank.unwrap_or_default()
                        ),
                    ));
                }
            }
            lines
        },
        |_, row| {
            let labeler = &result.labelers[row.worker as usize];
            let reliability = decimal(i64::from(labeler.reliability_ppm / 1_000), 3);
            (
                labeler.skill_ppm,
                format!("reliability {reliability}"),
                None,
            )
        },
    );
    outcome
}

/// Share of known winners with the higher score (a half for equal ones), and the mean of Spearman's correlation over groups.
fn measure_against(
    context: &Context<'_>,
    objects: &Names,
    result: &PairResult,
    outcome: &mut Outcome<'_>,
) {
    let score = |name: &str| {
        let object = objects.find(name)?;
        Some(result.objects[object as usize].score_milli)
    };
    let (mut points, mut other) = (Vec::new(), 0);
    for known in &context.truth {
        match known {
            Known::Labels(facts) => {
                for fact in facts {
                    let pair = fact.task.split_once('|');
                    let scores = pair
                        .and_then(|(left, right)| Some((left, right, score(left)?, score(right)?)));
                    match scores {
                        Some((_, _, a, b)) if a == b => points.push(0.5),
                        Some((left, right, a, b)) => {
                            let winner = if a > b { left } else { right };
                            points.push(f64::from(u8::from(winner == fact.label)));
                        }
                        None => other += 1,
                    }
                }
                outcome.note_truth(points.len(), other);
                let share = measure::mean(points.iter().copied());
                outcome.measures.insert("pairs_right", share);
            }
            Known::Scores(scores) => {
                let mut groups: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
                for (name, group, truth) in scores {
                    if let Some(own) = score(name) {
                        let pair = (*truth, own as f64);
                        groups.entry(group).or_default().push(pair);
                    }
                }
                let each = groups.values().filter_map(|pairs| measure::spearman(pairs));
                outcome.measures.insert("spearman", measure::mean(each));
            }
        }
    }
}
