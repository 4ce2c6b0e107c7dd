//! Roots of one small task of every kind, for the golden vectors.

use std::collections::BTreeMap;

use assay_protocol::consensus::{
    ClassInput, ClassScoring, Comparison, InputHead, MultiInput, MultiVote, Outcome, PairInput,
    Ranking, RankingInput, ReviewInput, ReviewVote, ScoreHead, TextInput, TextVote, Verdict, Vote,
    cases::{Kind, Multi, Pair, Ranked, Review, Score, Shapes, Text, Value},
    infer_multi, infer_pairs, infer_rankings, infer_review, infer_shapes, infer_text, infer_values,
    shape::{Frame, Point, Shape, ShapeInput, ShapeKind, ShapeObject, ShapeVote},
    value::{ValueInput, ValueScale, ValueVote},
};

type Vectors = Vec<(String, Vec<u8>)>;

fn roots(name: &str, input: InputHead, score: ScoreHead) -> Vectors {
    let all = [("input", input.root()), ("score", score.root())];
    let entry = |(of, root): (&str, assay_protocol::id::Hash)| {
        (format!("score/{name}/{of}-root"), root.0.to_vec())
    };
    all.map(entry).into()
}

fn of<K: Kind>(name: &str, task: K::Task<'_>, result: &K::Result) -> Vectors {
    let score = Score::<K>::new(task, result).unwrap();
    let mut vectors = roots(name, score.input_head(), score.score_head());
    let case = score.case(0).unwrap();
    assert!(case.check(&score.score_head().root()).is_ok());
    vectors.push((format!("score/{name}/case"), case.encode()));
    vectors
}

/// Each of three labelers on each of two items.
fn each<V>(mut vote: impl FnMut(u32, u32) -> V) -> Vec<V> {
    let pairs = (0..2).flat_map(|item| (0..3).map(move |labeler| (item, labeler)));
    pairs.map(|(item, labeler)| vote(item, labeler)).collect()
}

/// All vectors.
pub fn vectors() -> Vectors {
    [
        class(),
        text(),
        value(),
        multi(),
        review(),
        pair(),
        order(),
        shape("span", ShapeKind::Span),
        shape("box", ShapeKind::Box),
        shape("polygon", ShapeKind::Polygon),
    ]
    .concat()
}

fn class() -> Vectors {
    let scoring = ClassScoring::fit(&ClassInput {
        items: 2,
        labelers: 3,
        classes: 3,
        votes: &each(|item, labeler| Vote {
            item,
            labeler,
            label: (item + labeler / 2) as u16,
        }),
        gold: &BTreeMap::from([(1, 1)]),
        priors: &[],
    })
    .unwrap();
    roots("class", scoring.input_head(), scoring.score_head())
}

fn text() -> Vectors {
    let answers = [
        "The giant tree.",
        "the giant tree",
        "a tree",
        "été",
        "été",
        "",
    ];
    let input = TextInput {
        items: 2,
        labelers: 3,
        votes: &each(|item, labeler| TextVote {
            item,
            labeler,
            text: answers[(3 * item + labeler) as usize],
        }),
        gold: &BTreeMap::from([(1, "Été.")]),
    };
    of::<Text>("text", &input, &infer_text(&input).unwrap())
}

fn value() -> Vectors {
    let input = ValueInput {
        items: 2,
        labelers: 3,
        scale: ValueScale {
            min: -10,
            max: 50,
            step: 5,
            tolerance: 2,
        },
        votes: &each(|item, labeler| ValueVote {
            item,
            labeler,
            value: 5 * i64::from(3 * item + labeler) - 5,
        }),
        gold: &BTreeMap::from([(1, 15)]),
    };
    of::<Value>("value", &input, &infer_values(&input).unwrap())
}

fn multi() -> Vectors {
    let input = MultiInput {
        items: 2,
        labelers: 3,
        labels: 4,
        votes: &each(|item, labeler| MultiVote {
            item,
            labeler,
            labels: (item as u16..3 - (labeler / 2) as u16).collect(),
        }),
        gold: &BTreeMap::from([(1, vec![2, 1])]),
        priors: &[],
    };
    of::<Multi>("multi", &input, &infer_multi(&input).unwrap())
}

fn review() -> Vectors {
    let verdicts = [Verdict::Accept, Verdict::Reject, Verdict::Fix(2)];
    let input = ReviewInput {
        proposed: &[0, 1],
        labelers: 3,
        classes: 3,
        votes: &each(|item, labeler| ReviewVote {
            item,
            labeler,
            verdict: verdicts[(labeler + item) as usize % 3],
        }),
        gold: &BTreeMap::from([(1, 1)]),
        priors: &[],
    };
    of::<Review>("review", &input, &infer_review(&input).unwrap())
}

fn pair() -> Vectors {
    let outcomes = [Outcome::Left, Outcome::Tie, Outcome::Right];
    let input = PairInput {
        objects: 3,
        labelers: 3,
        sided: true,
        votes: &each(|item, labeler| Comparison {
            labeler,
            left: item,
            right: 2,
            outcome: outcomes[labeler as usize],
        }),
    };
    of::<Pair>("pair", &input, &infer_pairs(&input).unwrap())
}

fn order() -> Vectors {
    let orders: [&[u32]; 3] = [&[0, 1, 2], &[2, 0], &[]];
    let input = RankingInput {
        objects: 3,
        labelers: 3,
        votes: &each(|item, labeler| Ranking {
            labeler,
            order: orders[(item + labeler) as usize % 3],
        }),
    };
    of::<Ranked>("ranking", &input, &infer_rankings(&input).unwrap())
}

fn shape(name: &str, kind: ShapeKind) -> Vectors {
    let object = |at: u32, label: u16| {
        let shape = match kind {
            ShapeKind::Span => Shape::Span {
                start: at,
                end: at + 20,
            },
            ShapeKind::Box => Shape::Box {
                x: at,
                y: 3,
                w: 20,
                h: 10,
            },
            ShapeKind::Polygon => Shape::Polygon(
                [(at, 0), (at + 20, 2), (at + 10, 30)]
                    .map(|(x, y)| Point { x, y })
                    .into(),
            ),
        };
        ShapeObject { shape, label }
    };
    let frame = match kind {
        ShapeKind::Span => Frame::of_length(100),
        ShapeKind::Box | ShapeKind::Polygon => Frame {
            width: 100,
            height: 50,
        },
    };
    let input = ShapeInput {
        kind,
        frames: &[frame; 2],
        labelers: 3,
        classes: 2,
        votes: &each(|item, labeler| ShapeVote {
            item,
            labeler,
            objects: vec![object(labeler, 0), object(60 + 9 * labeler, item as u16)],
        }),
        gold: &BTreeMap::from([(1, vec![object(60, 1), object(1, 0)])]),
    };
    of::<Shapes>(name, &input, &infer_shapes(&input).unwrap())
}
