//! The engine against the plain implementation of `plain`, on small crowds of every kind of shape.

use super::super::*;
use super::plain::Plain;
use crate::consensus::draw::Rng;

/// An object whose edges are off by up to `loose` units.
fn drawn(kind: ShapeKind, frame: Frame, at: [u32; 4], loose: u32, rng: &mut Rng) -> Shape {
    let mut edges = |low: u32, high: u32, side: u32| {
        let mut off = |at: u32| {
            let moved = at + rng.below(2 * u64::from(loose) + 1) as u32;
            moved.saturating_sub(loose).min(side)
        };
        let low = off(low).min(side - 1);
        (low, off(high).max(low + 1))
    };
    let (x, right) = edges(at[0], at[0] + at[2], frame.width);
    let (y, bottom) = match kind {
        ShapeKind::Span => (0, 1),
        _ => edges(at[1], at[1] + at[3], frame.height),
    };
    let point = |x, y| Point { x, y };
    match kind {
        ShapeKind::Span => Shape::Span {
            start: x,
            end: right,
        },
        ShapeKind::Box => Shape::Box {
            x,
            y,
            w: right - x,
            h: bottom - y,
        },
        ShapeKind::Polygon => Shape::Polygon(vec![
            point(x, y),
            point(right, y),
            point(right, bottom),
            point((x + right) / 2, bottom),
            point(x, (y + bottom).div_ceil(2)),
        ]),
    }
}

struct Case {
    kind: ShapeKind,
    frames: Vec<Frame>,
    labelers: u32,
    classes: u16,
    votes: Vec<ShapeVote>,
    gold: BTreeMap<u32, Vec<ShapeObject>>,
}

impl Case {
    /// Every hundredth is large enough for groups: labelers 0, 1 and 2 then hand in the same objects.
    fn draw(number: u32, rng: &mut Rng) -> Self {
        let large = number.is_multiple_of(100);
        let kind = match rng.below(if large { 9 } else { 10 }) {
            0..4 => ShapeKind::Span,
            4..9 => ShapeKind::Box,
            _ => ShapeKind::Polygon,
        };
        let mut case = Self {
            kind,
            frames: Vec::new(),
            labelers: 1 + rng.below(5) as u32 + u32::from(large) * 4,
            classes: 1 + rng.below(3) as u16,
            votes: Vec::new(),
            gold: BTreeMap::new(),
        };
        let same = rng.percent(60);
        let density = 20 + rng.below(81);
        for item in 0..if large { 20 } else { rng.below(6) as u32 } {
            let height = if kind == ShapeKind::Span { 1 } else { 120 };
            let width = if same {
                160
            } else {
                60 + rng.below(300) as u32
            };
            let frame = Frame { width, height };
            case.frames.push(frame);
            let place = |rng: &mut Rng| {
                let mut below = |bound| rng.below(bound) as u32;
                [below(50), below(80), 6 + below(40), 6 + below(30)]
            };
            let any_label = |rng: &mut Rng| rng.below(case.classes.into()) as u16;
            let truth: Vec<([u32; 4], u16)> = (0..rng.below(3))
                .map(|_| (place(rng), any_label(rng)))
                .collect();
            let copied: Vec<ShapeObject> = truth
                .iter()
                .map(|&(at, label)| ShapeObject {
                    shape: drawn(kind, frame, at, 3, rng),
                    label,
                })
                .collect();
            if rng.percent(12) {
                case.gold.insert(item, copied.clone());
            }
            for labeler in 0..case.labelers {
                if !rng.percent(density) && !large {
                    continue;
                }
                let mut objects = Vec::new();
                for &(at, right) in &truth {
                    if rng.percent(15) {
                        continue;
                    }
                    let label = if rng.percent(85) {
                        right
                    } else {
                        any_label(rng)
                    };
                    let shape = drawn(kind, frame, at, 1 + labeler, rng);
                    objects.push(ShapeObject { shape, label });
                }
                if rng.percent(15) {
                    let shape = drawn(kind, frame, place(rng), 2, rng);
                    let label = any_label(rng);
                    objects.push(ShapeObject { shape, label });
                }
                if large && labeler < 3 {
                    objects = copied.clone();
                }
                case.votes.push(ShapeVote {
                    item,
                    labeler,
                    objects,
                });
            }
        }
        rng.shuffle(&mut case.votes);
        case
    }
}

#[test]
fn the_engine_agrees_with_the_plain_implementation_on_ten_thousand_cases() {
    let mut rng = Rng(31);
    let (mut objects, mut skilled, mut grouped, mut gold) = (0, 0, 0, 0);
    for number in 0..10_000 {
        let case = Case::draw(number, &mut rng);
        let input = ShapeInput {
            kind: case.kind,
            frames: &case.frames,
            labelers: case.labelers,
            classes: case.classes,
            votes: &case.votes,
            gold: &case.gold,
        };
        let result = infer_shapes(&input).unwrap();
        let plain = Plain::new(&input);
        assert_eq!(result.table, plain.table, "case {number}");
        for (item, found) in (0u32..).zip(&result.items) {
            assert_eq!(*found, plain.item(item), "case {number}, item {item}");
            objects += found.objects.len();
        }
        for (labeler, found) in (0u32..).zip(&result.labelers) {
            let expected = plain.labeler(labeler);
            assert_eq!(*found, expected, "case {number}, labeler {labeler}");
            skilled += u32::from(found.skill_ppm != 0);
            grouped += u32::from(found.cluster.is_some());
        }
        gold += case.gold.len();
    }
    assert!(
        objects > 10_000 && skilled > 5_000 && grouped > 50 && gold > 1_000,
        "{objects} {skilled} {grouped} {gold}"
    );
}
