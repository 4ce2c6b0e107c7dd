//! Ratings and numbers.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    cases,
    value::{MAX_VALUE, ValueInput, ValueScale, ValueVote, infer_values, item_from_table},
};

use super::{
    Context, Kind, Outcome,
    error::ScoreError,
    measure, share,
    sheet::{Sheet, decimal, millionths},
    votes::Votes,
};

/// Most digits behind the point.
const DIGITS_MAX: usize = 9;
/// Labelers' errors are in 1/256 of a unit; they are shown with this many digits more than the values.
const ERROR_DIGITS: u8 = 2;

/// A decimal number: its digits as an integer, and how many stand behind the point.
fn parse(text: &str) -> Result<(i64, usize), String> {
    let bad = || {
        format!(
            "{text:?} is not a number with at most {DIGITS_MAX} decimals, like 3, -0.5 or 12.75"
        )
    };
    let text_ = text.trim();
    let unsigned = text_.strip_prefix(['-', '+']).unwrap_or(text_);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return Err(bad());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > DIGITS_MAX {
        return Err(bad());
    }
    let size: i64 = format!("0{whole}{fraction}").parse().map_err(|_| bad())?;
    Ok((
        if text_.starts_with('-') { -size } else { size },
        fraction.len(),
    ))
}

/// The same number with `digits` digits behind the point.
fn widen((value, own): (i64, usize), digits: usize) -> Option<i64> {
    let factor = 10i64.checked_pow(u32::try_from(digits - own).ok()?)?;
    let value = value.checked_mul(factor)?;
    (-MAX_VALUE..=MAX_VALUE).contains(&value).then_some(value)
}

/// Scores ratings and numbers.
pub(super) fn score<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
) -> Result<Outcome<'a>, ScoreError> {
    let mut numbers = Vec::with_capacity(votes.labels.len());
    for (label, text) in (0..).zip(votes.labels.iter()) {
        numbers.push(parse(text).map_err(|why| context.bad_label(votes, label, why))?);
    }
    let mut gold = Vec::new();
    for (task, fact) in context.gold_of(&votes.tasks) {
        let number = parse(&fact.label).map_err(|why| context.bad_gold(fact.line, why))?;
        gold.push((task, number, fact.line));
    }
    let given = context
        .options
        .scale
        .as_deref()
        .map(parse_scale)
        .transpose();
    let given = given.map_err(ScoreError::Option)?;
    let all = numbers
        .iter()
        .chain(gold.iter().map(|(_, number, _)| number));
    let digits = all
        .chain(given.iter().flatten())
        .map(|number| number.1)
        .max()
        .unwrap_or_default();
    let too_large =
        || format!("the number has more than 12 digits with the {digits} decimals of this file");
    let mut fine = Vec::with_capacity(numbers.len());
    for (label, &number) in (0..).zip(&numbers) {
        fine.push(
            widen(number, digits).ok_or_else(|| context.bad_label(votes, label, too_large()))?,
        );
    }
    let mut known = BTreeMap::new();
    for (task, number, line) in gold {
        let value = widen(number, digits).ok_or_else(|| context.bad_gold(line, too_large()))?;
        known.insert(task, value);
    }
    let scale = match given {
        Some(ends) => {
            let [min, max, step] = ends.map(|end| widen(end, digits));
            let (Some(min), Some(max), Some(step)) = (min, max, step) else {
                return Err(ScoreError::Option(too_large()));
            };
            let step = step.max(0);
            if step == 0 || max <= min || (max - min) % step != 0 {
                return Err(ScoreError::Option(
                    "--scale needs MIN below MAX, and a whole number of steps between them"
                        .to_owned(),
                ));
            }
            let outside = |value: i64| value < min || value > max || (value - min) % step != 0;
            let text = |value| decimal(value, digits as u8);
            if let Some(label) = fine.iter().position(|&value| outside(value)) {
                let why = format!(
                    "{} is not on the scale from {} to {} in steps of {}",
                    text(fine[label]),
                    text(min),
                    text(max),
                    text(step)
                );
                return Err(context.bad_label(votes, label as u32, why));
            }
            scale(min, max, step)
        }
        None => scale_of(
            context.options.kind,
            fine.iter().chain(known.values()).copied(),
        ),
    };
    let list: Vec<ValueVote> = votes
        .rows
        .iter()
        .map(|row| ValueVote {
            item: row.task,
            labeler: row.worker,
            value: fine[row.label as usize],
        })
        .collect();
    let input = ValueInput {
        items: votes.tasks.len() as u32,
        labelers: votes.workers.len() as u32,
        scale,
        votes: &list,
        gold: &known,
    };
    let result = infer_values(&input)?;
    let digits = digits as u8;
    let text = |value: i64| decimal(value, digits);
    // From 1/256 of a unit.
    let error = |fine: i64| (i128::from(fine) * 100 / 256) as i64;
    let (items, workers) = (&result.items, &result.labelers);
    let mut outcome = Outcome {
        items: Sheet::default()
            .text("task", votes.tasks.iter())
            .decimal("label", digits, items.iter().map(|item| item.value))
            .decimal("low", digits, items.iter().map(|item| Some(item.low)))
            .decimal("high", digits, items.iter().map(|item| Some(item.high)))
            .share(
                "posterior",
                items.iter().map(|item| Some(millionths(item.posterior))),
            )
            .whole("votes", items.iter().map(|item| Some(item.votes))),
        labelers: Sheet::default()
            .text("worker", votes.workers.iter())
            .whole("votes", workers.iter().map(|l| Some(l.votes)))
            .share("skill", workers.iter().map(|l| Some(l.skill_ppm)))
            .decimal(
                "mean_error",
                digits + ERROR_DIGITS,
                workers
                    .iter()
                    .map(|l| Some(error(i64::try_from(l.error).ok()?))),
            )
            .decimal(
                "offset",
                digits + ERROR_DIGITS,
                result.table.rows.iter().map(|row| Some(error(row.bias))),
            ),
        shown: context.show::<cases::Value>(votes, &input, &result, context.asked(votes))?,
        ..Outcome::default()
    };
    outcome.note_gold(known.len(), context.gold.len());
    if !context.truth.is_empty() {
        let (truth, other) = context.truth_of(&votes.tasks);
        let unit = 10f64.powi(i32::from(digits));
        let mut pairs = Vec::new();
        let mut unread = 0;
        for &(task, label) in &truth {
            match label.trim().parse::<f64>().ok().filter(|v| v.is_finite()) {
                Some(wanted) => {
                    let own = items[task as usize].value.unwrap_or_default() as f64 / unit;
                    pairs.push((wanted, own));
                }
                None => unread += 1,
            }
        }
        outcome.note_truth(pairs.len(), other + unread);
        let gaps = || pairs.iter().map(|(a, b)| a - b);
        outcome.measures = BTreeMap::from([
            ("mean_absolute_error", measure::mean(gaps().map(f64::abs))),
            (
                "root_mean_square_error",
                measure::mean(gaps().map(|gap| gap * gap)).sqrt(),
            ),
            ("spearman", measure::spearman(&pairs).unwrap_or_default()),
        ]);
    }
    outcome.explanation = context.explain(
        votes,
        |task| {
            let item = &items[task as usize];
            vec![
                ("value".to_owned(), item.value.map(text).unwrap_or_default()),
                (
                    "95 %".to_owned(),
                    format!("{} to {}", text(item.low), text(item.high)),
                ),
                ("posterior".to_owned(), share(item.posterior)),
            ]
        },
        |task, row| {
            let own = &result.table.rows[row.worker as usize];
            let about = format!(
                "offset {}, mean error {}",
                decimal(error(own.bias), digits + ERROR_DIGITS),
                decimal(error(own.deviation as i64), digits + ERROR_DIGITS)
            );
            let others: Vec<ValueVote> = list
                .iter()
                .filter(|vote| vote.item == task && vote.labeler != row.worker)
                .copied()
                .collect();
            let without = item_from_table(&result.table, &others).value.map(text);
            (workers[row.worker as usize].skill_ppm, about, without)
        },
    );
    Ok(outcome)
}

fn scale(min: i64, max: i64, step: i64) -> ValueScale {
    ValueScale {
        min,
        max,
        step,
        tolerance: step / 2,
    }
}

/// From the smallest to the largest number of the file; ratings in the largest step that reaches all of them, numbers in units.
fn scale_of(kind: Kind, values: impl Iterator<Item = i64> + Clone) -> ValueScale {
    let min = values.clone().min().unwrap_or_default();
    let max = values.clone().max().unwrap_or_default();
    let step = if kind == Kind::Rating {
        values.fold(0, |step, value| common(step, value - min))
    } else {
        1
    };
    scale(min, max.max(min + step.max(1)), step.max(1))
}

/// Greatest common divisor.
fn common(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn parse_scale(text: &str) -> Result<[(i64, usize); 3], String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [min, max, step] => Ok([parse(min)?, parse(max)?, parse(step)?]),
        _ => Err(format!("--scale is MIN:MAX:STEP, like 1:5:1, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_refused() {
        for (text, want) in [
            ("3", (3, 0)),
            ("-0.50", (-5, 1)),
            ("+12.75", (1_275, 2)),
            (".5", (5, 1)),
            ("7.", (7, 0)),
            (" 1.0 ", (1, 0)),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
        for bad in [
            "",
            ".",
            "-",
            "1e3",
            "NaN",
            "1,5",
            "0.1234567891",
            "99999999999999999999",
            "--1",
            "é",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ratings_get_the_step_of_their_values() {
        let scale = scale_of(Kind::Rating, [10, 30, 20, 50].into_iter());
        assert_eq!(
            (scale.min, scale.max, scale.step, scale.tolerance),
            (10, 50, 10, 5)
        );
        let one = scale_of(Kind::Rating, [7].into_iter());
        assert_eq!((one.min, one.max, one.step), (7, 8, 1));
        let none = scale_of(Kind::Numeric, [].into_iter());
        assert_eq!((none.min, none.max, none.step), (0, 1, 1));
    }
}
