//! Cases of every kind: foreign bytes, true ones with a few bytes changed, and those of a signer who put any table and any votes under a root.
//! They are refused or scored, and are canonical to the byte. Arithmetic is overflow-checked.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use assay_protocol::consensus::{
    BinaryRow, BinaryTable, Comparison, MultiInput, MultiVote, Outcome, PairInput, Ranking,
    RankingInput, ReviewInput, ReviewVote, TextInput, TextVote, Verdict,
    cases::{Case, Kind, Multi, Pair, Ranked, Review, Score, Shapes, Text, Value},
    infer_multi, infer_pairs, infer_rankings, infer_review, infer_shapes, infer_text, infer_values,
    shape::{Frame, Shape, ShapeInput, ShapeKind, ShapeObject, ShapeVote},
    value::{ValueInput, ValueScale, ValueVote},
};
use libfuzzer_sys::fuzz_target;

const ITEMS: u32 = 2;
const LABELERS: u32 = 3;

#[derive(Debug, Arbitrary)]
struct Input {
    kind: u8,
    bytes: Vec<u8>,
    flips: Vec<(u16, u8)>,
    votes: [[u16; LABELERS as usize]; ITEMS as usize],
    gold: Option<u16>,
    texts: Vec<String>,
    scale: Option<(i64, i64, i64, i64)>,
    wild: Wild,
}

/// Numbers of one who signs any root; none leaves the table as it was fitted.
#[derive(Debug, Arbitrary)]
struct Wild {
    weight: Option<u32>,
    shared: Vec<(u32, u32, u32)>,
    bias: Option<i64>,
    deviation: Option<u64>,
    value: Option<i64>,
    prior: Option<i64>,
    rates: Option<(u32, u32)>,
    group: Option<u32>,
    density: Option<u64>,
    precision: Option<(u32, u32)>,
    shape: Option<[u32; 4]>,
    score: Option<i64>,
    information: Option<i64>,
    advantage: Option<i64>,
}

/// Whatever is read is canonical, and its check ends.
fn check<K: Kind>(bytes: &[u8]) {
    if let Ok(case) = Case::<K>::decode(bytes) {
        assert_eq!(case.encode(), bytes);
        let _ = case.check(&case.score.root());
    }
}

fn try_all<K: Kind>(input: &Input, task: K::Task<'_>, result: &K::Result) {
    check::<K>(&input.bytes);
    let Ok(score) = Score::<K>::new(task, result) else {
        return;
    };
    for item in 0..score.input_head().items {
        let Ok(case) = score.case(item) else {
            continue;
        };
        let _ = case.check(&case.score.root());
        let mut bytes = case.encode();
        for &(at, byte) in &input.flips {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        check::<K>(&bytes);
    }
}

/// One vote of each labeler on each item.
fn each<V>(input: &Input, vote: impl Fn(u32, u32, u16) -> V) -> Vec<V> {
    let mut votes = Vec::new();
    for item in 0..ITEMS {
        for labeler in 0..LABELERS {
            votes.push(vote(
                item,
                labeler,
                input.votes[item as usize][labeler as usize],
            ));
        }
    }
    votes
}

fn put<T>(slot: &mut T, wild: Option<T>) {
    if let Some(wild) = wild {
        *slot = wild;
    }
}

fn text(input: &Input) {
    let of = |number: u16| -> &str {
        let place = usize::from(number) % input.texts.len().max(1);
        input.texts.get(place).map_or("", String::as_str)
    };
    let gold = input.gold.map(|number| (0, of(number)));
    let task = TextInput {
        items: ITEMS,
        labelers: LABELERS,
        votes: &each(input, |item, labeler, number| TextVote {
            item,
            labeler,
            text: of(number),
        }),
        gold: &gold.into_iter().collect(),
    };
    let Ok(mut result) = infer_text(&task) else {
        return;
    };
    put(&mut result.table.weight[0], input.wild.weight);
    result.table.shared.extend(&input.wild.shared);
    try_all::<Text>(input, &task, &result);
}

fn value(input: &Input) {
    let honest = ValueScale {
        min: 0,
        max: 65_535,
        step: 1,
        tolerance: 3,
    };
    let mut votes = each(input, |item, labeler, number| ValueVote {
        item,
        labeler,
        value: number.into(),
    });
    let gold: BTreeMap<u32, i64> = input
        .gold
        .map(|number| (0, number.into()))
        .into_iter()
        .collect();
    let mut result = infer_values(&ValueInput {
        items: ITEMS,
        labelers: LABELERS,
        scale: honest,
        votes: &votes,
        gold: &gold,
    })
    .expect("the input is in range");
    put(&mut result.table.rows[0].bias, input.wild.bias);
    put(&mut result.table.rows[1].deviation, input.wild.deviation);
    put(&mut votes[0].value, input.wild.value);
    let scale = input
        .scale
        .map_or(honest, |(min, max, step, tolerance)| ValueScale {
            min,
            max,
            step,
            tolerance,
        });
    let task = ValueInput {
        items: ITEMS,
        labelers: LABELERS,
        scale,
        votes: &votes,
        gold: &gold,
    };
    try_all::<Value>(input, &task, &result);
}

fn distort(table: &mut BinaryTable, wild: &Wild) {
    put(&mut table.prior, wild.prior);
    if let Some((hit, alarm)) = wild.rates {
        table.rows[0] = BinaryRow {
            hit,
            alarm,
            group: wild.group,
        };
    }
}

fn multi(input: &Input) {
    let set = |bits: u16| (0..4).filter(|label| bits >> label & 1 == 1).collect();
    let mut votes = each(input, |item, labeler, bits| MultiVote {
        item,
        labeler,
        labels: set(bits),
    });
    let gold: BTreeMap<u32, Vec<u16>> = input.gold.map(|bits| (0, set(bits))).into_iter().collect();
    let honest = votes.clone();
    let task = MultiInput {
        items: ITEMS,
        labelers: LABELERS,
        labels: 4,
        votes: &honest,
        gold: &gold,
        priors: &[],
    };
    let mut result = infer_multi(&task).expect("the input is in range");
    distort(&mut result.table.labels[1], &input.wild);
    let extra = input.wild.weight.map(|label| label as u16);
    votes[0].labels.extend(extra);
    let task = MultiInput {
        votes: &votes,
        ..task
    };
    try_all::<Multi>(input, &task, &result);
}

fn review(input: &Input) {
    let mut votes = each(input, |item, labeler, number| ReviewVote {
        item,
        labeler,
        verdict: match number % 3 {
            0 => Verdict::Accept,
            1 => Verdict::Reject,
            _ => Verdict::Fix(2),
        },
    });
    let gold: BTreeMap<u32, u16> = input.gold.map(|label| (0, label % 3)).into_iter().collect();
    let honest = votes.clone();
    let task = ReviewInput {
        proposed: &[0, 1],
        labelers: LABELERS,
        classes: 3,
        votes: &honest,
        gold: &gold,
        priors: &[],
    };
    let mut result = infer_review(&task).expect("the input is in range");
    distort(&mut result.table, &input.wild);
    if let Some(label) = input.wild.weight {
        votes[0].verdict = Verdict::Fix(label as u16);
    }
    let task = ReviewInput {
        votes: &votes,
        ..task
    };
    try_all::<Review>(input, &task, &result);
}

fn shapes(input: &Input) {
    let object = |number: u16| {
        let (x, w) = (u32::from(number) % 50, 1 + u32::from(number >> 8) % 50);
        ShapeObject {
            shape: Shape::Box { x, y: 3, w, h: 10 },
            label: number % 2,
        }
    };
    let mut votes = each(input, |item, labeler, number| ShapeVote {
        item,
        labeler,
        objects: (0..number % 3).map(|more| object(number ^ more)).collect(),
    });
    let gold: BTreeMap<u32, Vec<ShapeObject>> = input
        .gold
        .map(|number| (0, vec![object(number)]))
        .into_iter()
        .collect();
    let frame = Frame {
        width: 100,
        height: 20,
    };
    let honest = votes.clone();
    let task = ShapeInput {
        kind: ShapeKind::Box,
        frames: &[frame; ITEMS as usize],
        labelers: LABELERS,
        classes: 2,
        votes: &honest,
        gold: &gold,
    };
    let mut result = infer_shapes(&task).expect("the input is in range");
    put(&mut result.table.density, input.wild.density);
    let row = &mut result.table.rows[0];
    if let Some((hit, invented)) = input.wild.rates {
        (row.hit, row.invented, row.group) = (hit, invented, input.wild.group);
    }
    if let Some((deviation, accuracy)) = input.wild.precision {
        (row.deviation, row.accuracy) = (deviation, accuracy);
    }
    if let Some([x, y, w, h]) = input.wild.shape {
        votes[0].objects.push(ShapeObject {
            shape: Shape::Box { x, y, w, h },
            label: 1,
        });
    }
    let task = ShapeInput {
        votes: &votes,
        ..task
    };
    try_all::<Shapes>(input, &task, &result);
}

fn pairs(input: &Input) {
    let votes = each(input, |item, labeler, number| Comparison {
        labeler,
        left: item,
        right: item + 1 + u32::from(number) % 2,
        outcome: match number % 5 {
            0 => Outcome::Tie,
            1 | 2 => Outcome::Left,
            _ => Outcome::Right,
        },
    });
    let task = PairInput {
        objects: ITEMS + 2,
        labelers: LABELERS,
        sided: input.gold.is_some(),
        votes: &votes,
    };
    let mut result = infer_pairs(&task).expect("the input is in range");
    let table = &mut result.table;
    put(&mut table.score[0], input.wild.score);
    put(&mut table.information[1], input.wild.information);
    put(&mut table.reliability[0], input.wild.weight);
    put(&mut table.advantage, input.wild.advantage);
    try_all::<Pair>(input, &task, &result);
}

fn orders(input: &Input) {
    let objects = ITEMS + 2;
    let orders = each(input, |item, labeler, number| {
        let first = u32::from(number) % objects;
        (labeler, [first, (first + 1 + item) % objects])
    });
    let votes: Vec<Ranking<'_>> = orders
        .iter()
        .map(|(labeler, order)| Ranking {
            labeler: *labeler,
            order,
        })
        .collect();
    let task = RankingInput {
        objects,
        labelers: LABELERS,
        votes: &votes,
    };
    let mut result = infer_rankings(&task).expect("the input is in range");
    put(&mut result.table.score[0], input.wild.score);
    put(&mut result.table.information[1], input.wild.information);
    try_all::<Ranked>(input, &task, &result);
}

fuzz_target!(|input: Input| {
    match input.kind % 7 {
        0 => text(&input),
        1 => value(&input),
        2 => multi(&input),
        3 => review(&input),
        4 => shapes(&input),
        5 => pairs(&input),
        _ => orders(&input),
    }
});
