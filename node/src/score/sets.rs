//! Sets of labels: any number of them per answer.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    MAX_SET_LABELS, MultiInput, MultiVote, cases::Multi, infer_multi, multi_item_from_table,
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

/// Scores sets of labels.
pub(super) fn score<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
) -> Result<Outcome<'a>, ScoreError> {
    let gold = context.gold_of(&votes.tasks);
    let texts = votes
        .labels
        .iter()
        .chain(gold.iter().map(|(_, fact)| fact.label.as_str()));
    let schema = Names::of(texts.flat_map(parts));
    if schema.len() > usize::from(MAX_SET_LABELS) {
        let why = format!(
            "there are {} different labels, and a set has at most {MAX_SET_LABELS} to choose from",
            schema.len()
        );
        return Err(ScoreError::whole(&context.options.labels, why));
    }
    let set = |text: &str| -> Result<Vec<u16>, String> {
        let mut labels: Vec<u16> = parts(text)
            .filter_map(|name| schema.find(name))
            .map(|label| label as u16)
            .collect();
        labels.sort_unstable();
        match labels.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let name = schema.get(u32::from(pair[0]));
                Err(format!("the label {name:?} stands twice in {text:?}"))
            }
            None => Ok(labels),
        }
    };
    let sets = (0..)
        .zip(votes.labels.iter())
        .map(|(label, text)| set(text).map_err(|why| context.bad_label(votes, label, why)))
        .collect::<Result<Vec<_>, _>>()?;
    let list: Vec<MultiVote> = votes
        .rows
        .iter()
        .map(|row| MultiVote {
            item: row.task,
            labeler: row.worker,
            labels: sets[row.label as usize].clone(),
        })
        .collect();
    let mut known = BTreeMap::new();
    for (task, fact) in gold {
        let labels = set(&fact.label).map_err(|why| context.bad_gold(fact.line, why))?;
        known.insert(task, labels);
    }
    let input = MultiInput {
        items: votes.tasks.len() as u32,
        labelers: votes.workers.len() as u32,
        labels: (schema.len() as u16).max(1),
        votes: &list,
        gold: &known,
        priors: &[],
    };
    let result = infer_multi(&input)?;
    let text = |labels: &[u16]| -> String {
        let names: Vec<&str> = labels
            .iter()
            .filter(|&&label| usize::from(label) < schema.len())
            .map(|&label| schema.get(u32::from(label)))
            .collect();
        names.join("|")
    };
    let items = &result.items;
    let mut sheet = Sheet::default()
        .text("task", votes.tasks.iter())
        .text("label", items.iter().map(|item| text(&item.labels)));
    if context.full {
        sheet = sheet
            .share(
                "posterior",
                items.iter().map(|item| Some(millionths(item.posterior))),
            )
            .whole("votes", items.iter().map(|item| Some(item.votes)));
        for (label, name) in schema.iter().enumerate() {
            let of_label = items
                .iter()
                .map(|item| Some(millionths(*item.posteriors.get(label)?)));
            sheet = sheet.share(format!("p({name})"), of_label);
        }
    }
    let workers = &result.labelers;
    let mut outcome = Outcome {
        items: sheet,
        labelers: Sheet::default()
            .text("worker", votes.workers.iter())
            .whole("votes", workers.iter().map(|l| Some(l.votes)))
            .share("skill", workers.iter().map(|l| Some(l.skill_ppm)))
            .whole(
                "flagged_labels",
                workers.iter().map(|l| Some(l.flagged_labels)),
            ),
        labels: Some(schema.len() as u64),
        shown: context.show::<Multi>(votes, &input, &result, context.asked(votes))?,
        ..Outcome::default()
    };
    outcome.note_gold(known.len(), context.gold.len());
    if !context.truth.is_empty() {
        let (truth, other) = context.truth_of(&votes.tasks);
        let mut exact = Vec::new();
        // Per label: in the truth, in the result, in both.
        let mut counts: BTreeMap<&str, (u32, u32, u32)> = BTreeMap::new();
        for &(task, label) in &truth {
            let mut wanted: Vec<&str> = parts(label).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let own = &items[task as usize].labels;
            let own: Vec<&str> = own.iter().map(|&l| schema.get(u32::from(l))).collect();
            exact.push(f64::from(wanted == own));
            for &name in &wanted {
                counts.entry(name).or_default().0 += 1;
                counts.entry(name).or_default().2 += u32::from(own.contains(&name));
            }
            for &name in &own {
                counts.entry(name).or_default().1 += 1;
            }
        }
        let f1 = |&(truth, own, both): &(u32, u32, u32)| {
            2.0 * f64::from(both) / f64::from((truth + own).max(1))
        };
        let all = counts.values().fold((0, 0, 0), |sum, own| {
            (sum.0 + own.0, sum.1 + own.1, sum.2 + own.2)
        });
        outcome.note_truth(truth.len(), other);
        outcome.measures = BTreeMap::from([
            ("exact_sets", measure::mean(exact.into_iter())),
            ("micro_f1", f1(&all)),
            (
                "macro_f1",
                measure::mean(counts.values().filter(|c| c.0 > 0).map(f1)),
            ),
        ]);
    }
    outcome.explanation = context.explain(
        votes,
        |task| {
            let item = &items[task as usize];
            let mut lines = vec![
                ("labels".to_owned(), text(&item.labels)),
                ("posterior".to_owned(), share(item.posterior)),
            ];
            for (name, &p) in schema.iter().zip(&item.posteriors) {
                lines.push((format!("p({name})"), share(p)));
            }
            lines
        },
        |task, row| {
            let others: Vec<MultiVote> = list
                .iter()
                .filter(|vote| vote.item == task && vote.labeler != row.worker)
                .cloned()
                .collect();
            let without = multi_item_from_table(&result.table, &others);
            let without = format!("{} {}", text(&without.labels), share(without.posterior));
            (
                workers[row.worker as usize].skill_ppm,
                String::new(),
                Some(without),
            )
        },
    );
    Ok(outcome)
}

fn parts(set: &str) -> impl Iterator<Item = &str> {
    set.split('|').filter(|name| !name.is_empty())
}
