//! Spans, time segments, boxes and polygons.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    cases::Shapes,
    infer_shapes,
    shape::{
        Frame, MAX_SIDE, Point, Shape, ShapeInput, ShapeItem, ShapeKind, ShapeObject, ShapeVote,
        item_from_table,
    },
};
use serde_json::Value;

use super::{
    Context, Kind, Outcome,
    error::ScoreError,
    measure,
    names::Names,
    share,
    sheet::{Sheet, decimal, millionths},
    votes::Votes,
};

/// Two objects are the same thing from this overlap on, when results are compared with the truth.
const SAME: f64 = 0.5;

/// An object as the file has it.
#[derive(Clone, Debug, PartialEq)]
struct Drawn {
    shape: Shape,
    label: String,
}

fn shape_kind(kind: Kind) -> ShapeKind {
    match kind {
        Kind::Box => ShapeKind::Box,
        Kind::Polygon => ShapeKind::Polygon,
        _ => ShapeKind::Span,
    }
}

/// Reads one answer.
fn parse(text: &str, kind: ShapeKind) -> Result<Vec<Drawn>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let list: Vec<Value> = serde_json::from_str(text)
        .map_err(|error| format!("the answer is not a JSON list: {error}"))?;
    list.iter()
        .map(|object| {
            parse_object(object, kind).ok_or_else(|| {
                let want = match kind {
                    ShapeKind::Span => r#"[START, END, "LABEL"]"#,
                    ShapeKind::Box => r#"[X, Y, WIDTH, HEIGHT, "LABEL"]"#,
                    ShapeKind::Polygon => r#"[[X, Y, X, Y, X, Y], "LABEL"]"#,
                };
                format!("{object} is not an object of this kind; write {want} with numbers from 0 to 2^31")
            })
        })
        .collect()
}

/// An array with the label last, or a JSON object with named members.
fn parse_object(object: &Value, kind: ShapeKind) -> Option<Drawn> {
    let names: &[&[&str]] = match kind {
        ShapeKind::Span => &[&["start"], &["end"]],
        ShapeKind::Box => &[&["x"], &["y"], &["w", "width"], &["h", "height"]],
        ShapeKind::Polygon => &[&["points"]],
    };
    let (parts, label): (Vec<&Value>, Option<&Value>) = match object {
        Value::Array(parts) if parts.len() == names.len() => (parts.iter().collect(), None),
        Value::Array(parts) if parts.len() == names.len() + 1 => {
            (parts[..names.len()].iter().collect(), parts.last())
        }
        Value::Object(members) => {
            let part = |names: &&[&str]| names.iter().find_map(|name| members.get(*name));
            let parts = names.iter().map(part).collect::<Option<_>>()?;
            (parts, members.get("label"))
        }
        _ => return None,
    };
    let label = match label {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(label)) => label.clone(),
        Some(Value::Number(label)) => label.to_string(),
        Some(_) => return None,
    };
    let shape = match kind {
        ShapeKind::Span => Shape::Span {
            start: whole(parts[0])?,
            end: whole(parts[1])?,
        },
        ShapeKind::Box => Shape::Box {
            x: whole(parts[0])?,
            y: whole(parts[1])?,
            w: whole(parts[2])?,
            h: whole(parts[3])?,
        },
        ShapeKind::Polygon => {
            let mut flat = Vec::new();
            for part in parts[0].as_array()? {
                match part {
                    Value::Array(pair) if pair.len() == 2 => flat.extend(pair),
                    Value::Number(_) => flat.push(part),
                    _ => return None,
                }
            }
            let (pairs, rest) = flat.as_chunks::<2>();
            if !rest.is_empty() {
                return None;
            }
            let point = |[x, y]: &[&Value; 2]| {
                Some(Point {
                    x: whole(x)?,
                    y: whole(y)?,
                })
            };
            Shape::Polygon(pairs.iter().map(point).collect::<Option<_>>()?)
        }
    };
    Some(Drawn { shape, label })
}

/// A coordinate, rounded to the nearest whole unit.
fn whole(value: &Value) -> Option<u32> {
    let number = value.as_f64()?.round();
    (0.0..f64::from(1u32 << 31))
        .contains(&number)
        .then_some(number as u32)
}

/// The right and lower edge.
fn reach(shape: &Shape) -> (u32, u32) {
    match shape {
        Shape::Span { end, .. } => (*end, 1),
        Shape::Box { x, y, w, h } => (x.saturating_add(*w), y.saturating_add(*h)),
        Shape::Polygon(points) => points.iter().fold((0, 0), |far, point| {
            (far.0.max(point.x), far.1.max(point.y))
        }),
    }
}

fn frame_of(context: &Context<'_>, kind: ShapeKind, far: (u32, u32)) -> Result<Frame, ScoreError> {
    let Some(text) = &context.options.frame else {
        return Ok(match kind {
            ShapeKind::Span => Frame::of_length(far.0.max(1)),
            _ => Frame {
                width: far.0.clamp(1, MAX_SIDE),
                height: far.1.clamp(1, MAX_SIDE),
            },
        });
    };
    let bad = || {
        ScoreError::Option(format!(
            "--frame is WIDTHxHEIGHT for boxes and polygons, and LENGTH for spans and segments, not {text:?}"
        ))
    };
    match (kind, text.split_once('x')) {
        (ShapeKind::Span, None) => Ok(Frame::of_length(text.parse().map_err(|_| bad())?)),
        (ShapeKind::Box | ShapeKind::Polygon, Some((width, height))) => Ok(Frame {
            width: width.parse().map_err(|_| bad())?,
            height: height.parse().map_err(|_| bad())?,
        }),
        _ => Err(bad()),
    }
}

/// Scores shapes.
pub(super) fn score<'a>(
    votes: &'a Votes,
    context: &Context<'_>,
) -> Result<Outcome<'a>, ScoreError> {
    let kind = shape_kind(context.options.kind);
    let mut sheets = Vec::with_capacity(votes.labels.len());
    for (label, text) in (0..).zip(votes.labels.iter()) {
        sheets.push(parse(text, kind).map_err(|why| context.bad_label(votes, label, why))?);
    }
    let mut gold = Vec::new();
    for (task, fact) in context.gold_of(&votes.tasks) {
        let sheet = parse(&fact.label, kind).map_err(|why| context.bad_gold(fact.line, why))?;
        gold.push((task, sheet));
    }
    let drawn = || {
        sheets
            .iter()
            .chain(gold.iter().map(|(_, sheet)| sheet))
            .flatten()
    };
    let classes = Names::of(drawn().map(|object| object.label.as_str()));
    if classes.len() > usize::from(assay_protocol::consensus::MAX_CLASSES) {
        let why = format!(
            "there are {} different labels; at most 256 are possible",
            classes.len()
        );
        return Err(ScoreError::whole(&context.options.labels, why));
    }
    let far = drawn().fold((0, 0), |far, object| {
        let own = reach(&object.shape);
        (far.0.max(own.0), far.1.max(own.1))
    });
    let frame = frame_of(context, kind, far)?;
    let objects = |sheet: &[Drawn]| -> Vec<ShapeObject> {
        sheet
            .iter()
            .map(|object| ShapeObject {
                shape: object.shape.clone(),
                label: classes.find(&object.label).map_or(0, |class| class as u16),
            })
            .collect()
    };
    let list: Vec<ShapeVote> = votes
        .rows
        .iter()
        .map(|row| ShapeVote {
            item: row.task,
            labeler: row.worker,
            objects: objects(&sheets[row.label as usize]),
        })
        .collect();
    let known: BTreeMap<u32, Vec<ShapeObject>> = gold
        .iter()
        .map(|(task, sheet)| (*task, objects(sheet)))
        .collect();
    let frames = vec![frame; votes.tasks.len()];
    let input = ShapeInput {
        kind,
        frames: &frames,
        labelers: votes.workers.len() as u32,
        classes: (classes.len() as u16).max(1),
        votes: &list,
        gold: &known,
    };
    let result = infer_shapes(&input)?;
    let name = |label: u16| {
        if usize::from(label) < classes.len() {
            classes.get(u32::from(label))
        } else {
            ""
        }
    };
    let text = |item: &ShapeItem| {
        let objects = item
            .objects
            .iter()
            .map(|found| write_object(&found.object.shape, name(found.object.label)));
        Value::Array(objects.collect()).to_string()
    };
    let (items, workers) = (&result.items, &result.labelers);
    let posteriors = |item: &ShapeItem| {
        let each: Vec<String> = item
            .objects
            .iter()
            .map(|found| decimal(millionths(found.posterior), 6))
            .collect();
        format!("[{}]", each.join(","))
    };
    let mut outcome = Outcome {
        items: Sheet::default()
            .text("task", votes.tasks.iter())
            .text("label", items.iter().map(text))
            .share(
                "posterior",
                items.iter().map(|item| Some(millionths(item.posterior))),
            )
            .text("posterior_of_each", items.iter().map(posteriors))
            .whole("votes", items.iter().map(|item| Some(item.votes))),
        labelers: Sheet::default()
            .text("worker", votes.workers.iter())
            .whole("votes", workers.iter().map(|l| Some(l.votes)))
            .share("skill", workers.iter().map(|l| Some(l.skill_ppm)))
            .whole("objects", workers.iter().map(|l| Some(l.objects)))
            .share("quality", workers.iter().map(|l| Some(l.quality_ppm)))
            .whole("cluster", workers.iter().map(|l| l.cluster)),
        labels: Some(classes.len() as u64),
        shown: context.show::<Shapes>(votes, &input, &result, context.asked(votes))?,
        ..Outcome::default()
    };
    outcome.note_gold(known.len(), context.gold.len());
    if context.options.frame.is_none() {
        outcome.notes.push(format!(
            "items are taken to be {}x{} large, as far as the answers reach; --frame says otherwise",
            frame.width, frame.height
        ));
    }
    if !context.truth.is_empty() {
        let (truth, other) = context.truth_of(&votes.tasks);
        let (mut wanted, mut found, mut same, mut overlaps) = (0, 0, 0, Vec::new());
        for &(task, label) in &truth {
            let truth = parse(label, kind).map_err(|why| {
                ScoreError::Option(format!("the truth of {:?}: {why}", votes.tasks.get(task)))
            })?;
            let own: Vec<Drawn> = items[task as usize]
                .objects
                .iter()
                .map(|found| Drawn {
                    shape: found.object.shape.clone(),
                    label: name(found.object.label).to_owned(),
                })
                .collect();
            wanted += truth.len();
            found += own.len();
            for overlap in matched(&truth, &own) {
                same += 1;
                overlaps.push(overlap);
            }
        }
        outcome.note_truth(truth.len(), other);
        if kind == ShapeKind::Polygon {
            outcome
                .notes
                .push("polygons are not measured against a truth yet".to_owned());
        } else {
            let f1 = 2.0 * f64::from(same) / ((wanted + found).max(1) as f64);
            outcome.measures = BTreeMap::from([
                ("f1_at_half_overlap", f1),
                ("mean_overlap", measure::mean(overlaps.into_iter())),
            ]);
        }
    }
    outcome.explanation = context.explain(
        votes,
        |task| {
            let item = &items[task as usize];
            vec![
                ("objects".to_owned(), text(item)),
                ("posterior".to_owned(), share(item.posterior)),
                ("posterior of each".to_owned(), posteriors(item)),
            ]
        },
        |task, row| {
            let others: Vec<ShapeVote> = list
                .iter()
                .filter(|vote| vote.item == task && vote.labeler != row.worker)
                .cloned()
                .collect();
            let own = &result.table.rows[row.worker as usize];
            let about = format!(
                "draws {} of what is there, labels {} of it rightly",
                share(own.hit),
                share(own.accuracy)
            );
            let without = text(&item_from_table(&result.table, &others));
            (workers[row.worker as usize].skill_ppm, about, Some(without))
        },
    );
    Ok(outcome)
}

fn write_object(shape: &Shape, label: &str) -> Value {
    match shape {
        Shape::Span { start, end } => serde_json::json!([start, end, label]),
        Shape::Box { x, y, w, h } => serde_json::json!([x, y, w, h, label]),
        Shape::Polygon(points) => {
            let flat: Vec<u32> = points.iter().flat_map(|point| [point.x, point.y]).collect();
            serde_json::json!([flat, label])
        }
    }
}

/// Overlap of each pair of a true and a found object with one label, best first, each used once, from [`SAME`] on.
fn matched(truth: &[Drawn], own: &[Drawn]) -> Vec<f64> {
    let mut pairs = Vec::new();
    for (a, wanted) in truth.iter().enumerate() {
        for (b, found) in own.iter().enumerate() {
            let overlap = overlap(&wanted.shape, &found.shape);
            if wanted.label == found.label && overlap >= SAME {
                pairs.push((overlap, a, b));
            }
        }
    }
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
    let (mut used_a, mut used_b) = (vec![false; truth.len()], vec![false; own.len()]);
    let mut overlaps = Vec::new();
    for (overlap, a, b) in pairs {
        if !used_a[a] && !used_b[b] {
            (used_a[a], used_b[b]) = (true, true);
            overlaps.push(overlap);
        }
    }
    overlaps
}

/// Intersection over union of spans and boxes; zero for others.
fn overlap(a: &Shape, b: &Shape) -> f64 {
    let sides = |shape: &Shape| match *shape {
        Shape::Span { start, end } => Some([start, end, 0, 1].map(u64::from)),
        Shape::Box { x, y, w, h } => {
            let [x, y, w, h] = [x, y, w, h].map(u64::from);
            Some([x, x + w, y, y + h])
        }
        Shape::Polygon(_) => None,
    };
    let (Some(a), Some(b)) = (sides(a), sides(b)) else {
        return 0.0;
    };
    let area = |s: [u64; 4]| s[1].saturating_sub(s[0]) as f64 * s[3].saturating_sub(s[2]) as f64;
    let both = area([
        a[0].max(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].min(b[3]),
    ]);
    let union = area(a) + area(b) - both;
    if union > 0.0 { both / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_be_lists_or_named_members() {
        let wanted = vec![Drawn {
            shape: Shape::Box {
                x: 1,
                y: 2,
                w: 3,
                h: 4,
            },
            label: "cat".to_owned(),
        }];
        for text in [
            r#"[[1, 2, 3, 4, "cat"]]"#,
            r#"[[1.2, 1.9, 3, 4.4, "cat"]]"#,
            r#"[{"x":1,"y":2,"w":3,"h":4,"label":"cat"}]"#,
            r#"[{"x":1,"y":2,"width":3,"height":4,"label":"cat","more":1}]"#,
        ] {
            assert_eq!(parse(text, ShapeKind::Box), Ok(wanted.clone()), "{text}");
        }
        assert_eq!(parse("", ShapeKind::Box), Ok(Vec::new()));
        assert_eq!(parse("[]", ShapeKind::Span), Ok(Vec::new()));
        for bad in [
            "[[1,2,3]]",
            "{}",
            "[[1,2,3,-4]]",
            "[[1,2,3,1e99]]",
            "[1]",
            "[[1,2,3,4,[]]]",
        ] {
            assert!(parse(bad, ShapeKind::Box).is_err(), "{bad}");
        }
        let triangle = parse("[[[0,0,9,0,0,9]]]", ShapeKind::Polygon).unwrap();
        assert_eq!(
            triangle,
            parse("[[[[0,0],[9,0],[0,9]], \"\"]]", ShapeKind::Polygon).unwrap()
        );
        assert!(parse("[[[0,0,9]]]", ShapeKind::Polygon).is_err());
    }

    #[test]
    fn overlap_matches_a_worked_example() {
        let span = |start, end| Shape::Span { start, end };
        assert_eq!(overlap(&span(0, 4), &span(2, 6)), 2.0 / 6.0);
        assert_eq!(overlap(&span(0, 4), &span(4, 6)), 0.0);
        let square = |x| Shape::Box {
            x,
            y: 0,
            w: 2,
            h: 2,
        };
        assert_eq!(overlap(&square(0), &square(1)), 2.0 / 6.0);
        let drawn = |x| Drawn {
            shape: square(x),
            label: String::new(),
        };
        assert_eq!(matched(&[drawn(0), drawn(9)], &[drawn(0), drawn(0)]), [1.0]);
    }
}
