//! Spans, boxes and polygons.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use assay_protocol::consensus::{
    infer_shapes,
    shape::{Frame, Point, Shape, ShapeInput, ShapeKind, ShapeObject, ShapeVote},
};

use super::{Crowd, Habit, Rng, admitted, choose, habits, sheet};

struct Shapes {
    kind: ShapeKind,
    frames: Vec<Frame>,
    labelers: u32,
    classes: u16,
    votes: Vec<ShapeVote>,
    gold: BTreeMap<u32, Vec<ShapeObject>>,
}

/// Spans.
pub fn span(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    shapes(ShapeKind::Span, items, rng)
}

/// Boxes.
pub fn boxes(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    shapes(ShapeKind::Box, items, rng)
}

/// Polygons.
pub fn polygon(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    shapes(ShapeKind::Polygon, items, rng)
}

/// Eight directions, in thousandths.
const CIRCLE: [(i64, i64); 8] = [
    (1000, 0),
    (707, 707),
    (0, 1000),
    (-707, 707),
    (-1000, 0),
    (-707, -707),
    (0, -1000),
    (707, -707),
];

/// An object around a place, every edge off by up to `loose` thousandths of its size.
fn drawn(
    kind: ShapeKind,
    frame: Frame,
    (x, y, size): (i64, i64, i64),
    loose: i64,
    rng: &mut Rng,
) -> Shape {
    let mut off = |at: i64, side: u32| {
        let moved = at + rng.from(-loose, loose) * size / 1_000;
        moved.clamp(0, i64::from(side)) as u32
    };
    let mut edges = |at: i64, side: u32| {
        let low = off(at - size, side).min(side - 1);
        (low, off(at + size, side).max(low + 1))
    };
    match kind {
        ShapeKind::Span => {
            let (start, end) = edges(x, frame.width);
            Shape::Span { start, end }
        }
        ShapeKind::Box => {
            let (left, right) = edges(x, frame.width);
            let (top, bottom) = edges(y, frame.height);
            Shape::Box {
                x: left,
                y: top,
                w: right - left,
                h: bottom - top,
            }
        }
        ShapeKind::Polygon => {
            let ring = CIRCLE.map(|(dx, dy)| Point {
                x: off(x + dx * size / 1_000, frame.width),
                y: off(y + dy * size / 1_000, frame.height),
            });
            let ring = Shape::Polygon(ring.to_vec());
            if ring.area() > 0 {
                return ring;
            }
            let corner = |x, y| Point { x, y };
            Shape::Polygon(vec![
                corner(0, 0),
                corner(frame.width, 0),
                corner(0, frame.height),
            ])
        }
    }
}

fn shapes(kind: ShapeKind, items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let classes = 1 + rng.below(4);
    let mut crowd = Shapes {
        kind,
        frames: Vec::new(),
        labelers: habits.len() as u32,
        classes: classes as u16,
        votes: Vec::new(),
        gold: BTreeMap::new(),
    };
    for item in 0..items {
        let frame = Frame {
            width: [2, 60, 640, 1_000_000][rng.below(4) as usize],
            height: if kind == ShapeKind::Span {
                1
            } else {
                [2, 480, 700_000][rng.below(3) as usize]
            },
        };
        crowd.frames.push(frame);
        let (width, height) = (i64::from(frame.width), i64::from(frame.height));
        let place = |rng: &mut Rng| {
            let size = 1 + width.min(if kind == ShapeKind::Span {
                width
            } else {
                height
            }) / 8;
            (
                rng.from(0, width),
                rng.from(0, height),
                1 + rng.from(0, size),
            )
        };
        let truth: Vec<_> = (0..rng.below(4))
            .map(|_| (place(rng), rng.below(classes)))
            .collect();
        if rng.percent(6) {
            let object = |&(place, label): &(_, u64)| ShapeObject {
                shape: drawn(kind, frame, place, 0, &mut Rng(1)),
                label: label as u16,
            };
            crowd.gold.insert(item, truth.iter().map(object).collect());
        }
        for labeler in rng.some_of(5, crowd.labelers) {
            let mut objects = Vec::new();
            let habit = habits[labeler as usize];
            for &(at, label) in &truth {
                let (shape, label) = match habit {
                    Habit::Able(right) if rng.percent(right) => {
                        let own = choose(habit, item, label, classes, rng);
                        (drawn(kind, frame, at, 2 * (100 - right as i64), rng), own)
                    }
                    Habit::Copies(group) => {
                        let mut own = Rng(sheet(item, group) ^ label);
                        (drawn(kind, frame, at, 200, &mut own), label)
                    }
                    _ => continue,
                };
                objects.push(ShapeObject {
                    shape,
                    label: label as u16,
                });
            }
            if matches!(habit, Habit::Blind) || rng.percent(10) {
                objects.push(ShapeObject {
                    shape: drawn(kind, frame, place(rng), 100, rng),
                    label: rng.below(classes) as u16,
                });
            }
            crowd.votes.push(ShapeVote {
                item,
                labeler,
                objects,
            });
        }
    }
    Box::new(crowd)
}

impl Crowd for Shapes {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
        for vote in &mut self.votes {
            rng.shuffle(&mut vote.objects);
        }
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_shapes(&ShapeInput {
            kind: self.kind,
            frames: &self.frames,
            labelers: self.labelers,
            classes: self.classes,
            votes: &self.votes,
            gold: &self.gold,
        }));
        write!(out, "{result:?}")
    }
}
