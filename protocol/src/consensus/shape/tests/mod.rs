//! Tests of shapes: seeded integer crowds with known truth. No public set of boxes by several labelers with their ids and the truth is
//! known, so simulated ones have to do.

mod accuracy;
mod forms;
mod input;
mod plain;
mod plain_geometry;
mod reference;
mod skill;

use std::collections::BTreeMap;

use super::*;
use crate::consensus::draw::Rng;

/// How a simulated labeler works.
#[derive(Clone, Copy)]
pub(super) enum Habit {
    /// Draws what is there.
    Able {
        /// Standard deviation of an edge or vertex, in thousandths of the object's side.
        jitter: i64,
        /// Objects overlooked, in per cent.
        miss: u64,
        /// Chance of one invented object, in per cent.
        invent: u64,
        /// Labels that are right, in per cent.
        right: u64,
    },
    /// Never draws anything.
    Empty,
    /// Always the whole item.
    Whole,
    /// Always the same object in the middle.
    Spot,
    /// As many objects of the usual sizes as usual, anywhere.
    Anywhere,
}

pub(super) const CAREFUL: Habit = Habit::Able {
    jitter: 40,
    miss: 5,
    invent: 5,
    right: 95,
};
pub(super) const TIRED: Habit = Habit::Able {
    jitter: 110,
    miss: 20,
    invent: 15,
    right: 80,
};
pub(super) const HASTY: Habit = Habit::Able {
    jitter: 70,
    miss: 35,
    invent: 5,
    right: 85,
};
pub(super) const EAGER: Habit = Habit::Able {
    jitter: 80,
    miss: 5,
    invent: 60,
    right: 85,
};
pub(super) const LAZY: [Habit; 4] = [Habit::Empty, Habit::Whole, Habit::Spot, Habit::Anywhere];

pub(super) const CLASSES: u16 = 4;

/// A circle of 16 directions, in thousandths.
const CIRCLE: [(i64, i64); 16] = [
    (1000, 0),
    (924, 383),
    (707, 707),
    (383, 924),
    (0, 1000),
    (-383, 924),
    (-707, 707),
    (-924, 383),
    (-1000, 0),
    (-924, -383),
    (-707, -707),
    (-383, -924),
    (0, -1000),
    (383, -924),
    (707, -707),
    (924, -383),
];

pub(super) struct Crowd {
    pub kind: ShapeKind,
    pub frames: Vec<Frame>,
    pub labelers: u32,
    pub truth: Vec<Vec<ShapeObject>>,
    pub votes: Vec<ShapeVote>,
}

fn edge(at: i64, side: u32) -> u32 {
    at.clamp(0, i64::from(side)) as u32
}

/// Edges in order and at least one unit apart.
fn edges(low: i64, high: i64, side: u32) -> (u32, u32) {
    let low = edge(low, side).min(side - 1);
    (low, edge(high, side).max(low + 1))
}

/// An object of the usual size, anywhere.
pub(super) fn anywhere(kind: ShapeKind, frame: Frame, rng: &mut Rng) -> ShapeObject {
    let (width, height) = (i64::from(frame.width), i64::from(frame.height));
    let size = |side: i64, rng: &mut Rng| side / 12 + rng.below(side as u64 / 5 + 1) as i64 + 1;
    let shape = match kind {
        ShapeKind::Span => {
            let length = size(width, rng);
            let start = rng.below((width - length) as u64) as i64;
            let (start, end) = edges(start, start + length, frame.width);
            Shape::Span { start, end }
        }
        ShapeKind::Box => {
            let (w, h) = (size(width, rng), size(height, rng));
            let (x, y) = (
                rng.below((width - w) as u64) as i64,
                rng.below((height - h) as u64) as i64,
            );
            Shape::Box {
                x: x as u32,
                y: y as u32,
                w: w as u32,
                h: h as u32,
            }
        }
        ShapeKind::Polygon => {
            let radius = size(height, rng).max(20) / 2 + 10;
            let x = radius + rng.below((width - 2 * radius) as u64) as i64;
            let y = radius + rng.below((height - 2 * radius) as u64) as i64;
            let ring = CIRCLE.iter().map(|&(dx, dy)| {
                let r = radius * (50 + rng.below(51) as i64) / 100;
                Point {
                    x: edge(x + dx * r / 1_000, frame.width),
                    y: edge(y + dy * r / 1_000, frame.height),
                }
            });
            Shape::Polygon(ring.collect())
        }
    };
    ShapeObject {
        shape,
        label: rng.below(u64::from(CLASSES)) as u16,
    }
}

/// The object as a labeler of this precision draws it.
fn jittered(object: &Shape, frame: Frame, jitter: i64, rng: &mut Rng) -> Shape {
    let mut moved =
        |at: u32, side: u32| i64::from(at) + rng.normal(jitter * i64::from(side) / 10) / 100;
    match *object {
        Shape::Span { start, end } => {
            let (start, end) = edges(
                moved(start, end - start),
                moved(end, end - start),
                frame.width,
            );
            Shape::Span { start, end }
        }
        Shape::Box { x, y, w, h } => {
            let (x0, x1) = edges(moved(x, w), moved(x + w, w), frame.width);
            let (y0, y1) = edges(moved(y, h), moved(y + h, h), frame.height);
            Shape::Box {
                x: x0,
                y: y0,
                w: x1 - x0,
                h: y1 - y0,
            }
        }
        Shape::Polygon(ref vertices) => {
            let bounds = object.bounds();
            let side = bounds.right - bounds.left;
            let ring = vertices.iter().map(|p| Point {
                x: edge(moved(p.x, side), frame.width),
                y: edge(moved(p.y, side), frame.height),
            });
            let drawn = Shape::Polygon(ring.collect());
            if drawn.area() == 0 {
                object.clone()
            } else {
                drawn
            }
        }
    }
}

fn answer(
    habit: Habit,
    kind: ShapeKind,
    frame: Frame,
    truth: &[ShapeObject],
    rng: &mut Rng,
) -> Vec<ShapeObject> {
    let (right_edge, bottom) = (frame.width, frame.height);
    let rectangle = |x: u32, y: u32, w: u32, h: u32| match kind {
        ShapeKind::Span => Shape::Span {
            start: x,
            end: x + w,
        },
        ShapeKind::Box => Shape::Box { x, y, w, h },
        ShapeKind::Polygon => Shape::Polygon(vec![
            Point { x, y },
            Point { x: x + w, y },
            Point { x: x + w, y: y + h },
            Point { x, y: y + h },
        ]),
    };
    match habit {
        Habit::Able {
            jitter,
            miss,
            invent,
            right,
        } => {
            let mut drawn = Vec::new();
            for object in truth {
                if rng.percent(miss) {
                    continue;
                }
                let other =
                    ((u64::from(object.label) + 1 + rng.below(3)) % u64::from(CLASSES)) as u16;
                let label = if rng.percent(right) {
                    object.label
                } else {
                    other
                };
                let shape = jittered(&object.shape, frame, jitter, rng);
                drawn.push(ShapeObject { shape, label });
            }
            if rng.percent(invent) {
                drawn.push(anywhere(kind, frame, rng));
            }
            drawn
        }
        Habit::Empty => Vec::new(),
        Habit::Whole => vec![ShapeObject {
            shape: rectangle(0, 0, right_edge, bottom),
            label: 0,
        }],
        Habit::Spot => vec![ShapeObject {
            shape: rectangle(
                right_edge / 3,
                bottom / 3,
                right_edge / 3,
                (bottom / 3).max(1),
            ),
            label: 1,
        }],
        Habit::Anywhere => (0..rng.below(5))
            .map(|_| anywhere(kind, frame, rng))
            .collect(),
    }
}

impl Crowd {
    /// None to four objects per item that hardly overlap, items of two sizes.
    pub fn draw(kind: ShapeKind, habits: &[Habit], items: usize, k: usize, rng: &mut Rng) -> Self {
        let mut crowd = Self {
            kind,
            frames: Vec::new(),
            labelers: habits.len() as u32,
            truth: Vec::new(),
            votes: Vec::new(),
        };
        for item in 0..items {
            let frame = match (kind, rng.percent(50)) {
                (ShapeKind::Span, big) => Frame::of_length(if big { 60_000 } else { 2_000 }),
                (_, true) => Frame {
                    width: 1_920,
                    height: 1_080,
                },
                (_, false) => Frame {
                    width: 640,
                    height: 480,
                },
            };
            let mut truth: Vec<ShapeObject> = Vec::new();
            for _ in 0..rng.below(5) {
                let object = anywhere(kind, frame, rng);
                if truth
                    .iter()
                    .all(|other| other.shape.iou(&object.shape) < 6_554)
                {
                    truth.push(object);
                }
            }
            for labeler in rng.some_of(k, habits.len()) {
                let objects = answer(habits[labeler as usize], kind, frame, &truth, rng);
                crowd.votes.push(ShapeVote {
                    item: item as u32,
                    labeler,
                    objects,
                });
            }
            crowd.frames.push(frame);
            crowd.truth.push(truth);
        }
        crowd
    }

    pub fn infer(&self, gold: &BTreeMap<u32, Vec<ShapeObject>>) -> ShapeResult {
        infer_shapes(&ShapeInput {
            kind: self.kind,
            frames: &self.frames,
            labelers: self.labelers,
            classes: CLASSES,
            votes: &self.votes,
            gold,
        })
        .unwrap()
    }

    pub fn votes_of(&self, item: usize) -> Vec<ShapeVote> {
        let of_item = self.votes.iter().filter(|vote| vote.item == item as u32);
        of_item.cloned().collect()
    }
}
