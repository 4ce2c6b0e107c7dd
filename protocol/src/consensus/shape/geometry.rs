//! Shapes on an item: their limits, their size, and how far two of them are the same.
//!
//! What for: spans of text, time segments, boxes and polygons are compared by one number, intersection over union in Q16.
//! What it does not do: no rotation, no curves, no masks.
//! Invariants: coordinates are whole units of the frame (characters, milliseconds, pixels or any finer unit that the task declares), so
//! every area is exact; spans are below 2^31 long, sides of frames below 2^20, areas below 2^40. The overlap of spans and boxes is
//! exact. For polygons, which may be concave or cross themselves, it is measured on scanlines; see `polygon`.

use serde::{Deserialize, Serialize};

use super::polygon;
use crate::consensus::fixed::ratio;

/// Longest item of a span task, in characters or milliseconds.
pub const MAX_LENGTH: u32 = (1 << 31) - 1;
/// Longest side of a frame with boxes or polygons, in units.
pub const MAX_SIDE: u32 = (1 << 20) - 1;
/// Most vertices of a polygon, in vertices.
pub const MAX_VERTICES: usize = 256;

/// A vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Distance from the left edge.
    pub x: u32,
    /// Distance from the upper edge.
    pub y: u32,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shape {
    /// A span of text in characters, or a time segment in milliseconds, from `start` up to but without `end`.
    Span {
        /// First unit inside.
        start: u32,
        /// First unit behind.
        end: u32,
    },
    /// A box with edges along the axes.
    Box {
        /// Left edge.
        x: u32,
        /// Upper edge.
        y: u32,
        /// Width, at least one.
        w: u32,
        /// Height, at least one.
        h: u32,
    },
    /// A closed polygon by its vertices in order, filled by the even-odd rule.
    Polygon(Vec<Point>),
}

/// Which shapes a task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShapeKind {
    /// Spans of text or time segments.
    Span,
    /// Boxes.
    Box,
    /// Polygons.
    Polygon,
}

/// Size of an item, in the units of its shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Width of the picture, or length of the text or recording.
    pub width: u32,
    /// Height of the picture; one for texts and recordings.
    pub height: u32,
}

impl Frame {
    /// The frame of a text or recording.
    #[must_use]
    pub fn of_length(length: u32) -> Self {
        Self {
            width: length,
            height: 1,
        }
    }

    /// Whether shapes of `kind` can be measured in it.
    pub(super) fn fits(self, kind: ShapeKind) -> bool {
        match kind {
            ShapeKind::Span => (1..=MAX_LENGTH).contains(&self.width) && self.height == 1,
            ShapeKind::Box | ShapeKind::Polygon => {
                (1..=MAX_SIDE).contains(&self.width) && (1..=MAX_SIDE).contains(&self.height)
            }
        }
    }
}

/// Smallest box that holds a shape: left, upper, right, lower edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

impl Bounds {
    /// Smallest bounds that hold both.
    pub fn join(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// Area of the common part; spans have height one.
    fn overlap(self, other: Self) -> u64 {
        let side = |low: u32, high: u32| u64::from(high.saturating_sub(low));
        side(self.left.max(other.left), self.right.min(other.right))
            * side(self.top.max(other.top), self.bottom.min(other.bottom))
    }
}

impl Shape {
    /// Why the shape cannot stand on an item of this kind and size, if so.
    pub(super) fn fault(&self, kind: ShapeKind, frame: Frame) -> Option<&'static str> {
        let bounds = match (self, kind) {
            (Self::Span { start, end }, ShapeKind::Span) if start < end => self.bounds(),
            (Self::Span { .. }, ShapeKind::Span) => return Some("the span is empty"),
            (&Self::Box { x, y, w, h }, ShapeKind::Box) => {
                if w == 0 || h == 0 {
                    return Some("the box is empty");
                }
                if x.checked_add(w).is_none() || y.checked_add(h).is_none() {
                    return Some("it reaches beyond the item");
                }
                self.bounds()
            }
            (Self::Polygon(vertices), ShapeKind::Polygon) => {
                if !(3..=MAX_VERTICES).contains(&vertices.len()) {
                    return Some("a polygon has 3 to 256 vertices");
                }
                let bounds = self.bounds();
                if bounds.right > frame.width || bounds.bottom > frame.height {
                    return Some("it reaches beyond the item");
                }
                if self.area() == 0 {
                    return Some("the polygon has no area");
                }
                bounds
            }
            _ => return Some("the task takes another kind of shape"),
        };
        (bounds.right > frame.width || bounds.bottom > frame.height)
            .then_some("it reaches beyond the item")
    }

    /// Bounds of a shape; a polygon without vertices has none to speak of.
    pub(super) fn bounds(&self) -> Bounds {
        match *self {
            Self::Span { start, end } => Bounds {
                left: start,
                top: 0,
                right: end,
                bottom: 1,
            },
            Self::Box { x, y, w, h } => Bounds {
                left: x,
                top: y,
                right: x.saturating_add(w),
                bottom: y.saturating_add(h),
            },
            Self::Polygon(ref vertices) => {
                let of_one = |p: &Point| Bounds {
                    left: p.x,
                    top: p.y,
                    right: p.x,
                    bottom: p.y,
                };
                let first = vertices
                    .first()
                    .map_or(of_one(&Point { x: 0, y: 0 }), of_one);
                vertices.iter().map(of_one).fold(first, Bounds::join)
            }
        }
    }

    /// Length of a span, area of a box or (by the shoelace formula, halves rounded down) of a polygon, in square units.
    ///
    /// A polygon that crosses itself has the difference of its left-handed and right-handed parts; admission refuses zero.
    #[must_use]
    pub fn area(&self) -> u64 {
        match self {
            Self::Span { start, end } => u64::from(end.saturating_sub(*start)),
            Self::Box { w, h, .. } => u64::from(*w) * u64::from(*h),
            Self::Polygon(vertices) => {
                let next = vertices.iter().cycle().skip(1);
                let twice: i128 = vertices
                    .iter()
                    .zip(next)
                    .map(|(a, b)| {
                        i128::from(a.x) * i128::from(b.y) - i128::from(b.x) * i128::from(a.y)
                    })
                    .sum();
                (twice.unsigned_abs() / 2) as u64 // below 2^41 for admitted polygons
            }
        }
    }

    /// Intersection over union, Q16; zero for shapes of different kinds. Exact for spans and boxes, see `polygon` for polygons.
    #[must_use]
    pub fn iou(&self, other: &Self) -> u32 {
        let common = self.bounds().overlap(other.bounds());
        if common == 0 {
            return 0;
        }
        match (self, other) {
            (Self::Polygon(a), Self::Polygon(b)) => {
                polygon::iou(a, b, self.bounds().join(other.bounds()))
            }
            (Self::Span { .. }, Self::Span { .. }) | (Self::Box { .. }, Self::Box { .. }) => {
                ratio(common, self.area() + other.area() - common)
            }
            _ => 0,
        }
    }

    /// The same shape at the same relative place on an item of another size, at least one unit large.
    pub(super) fn carried(&self, from: Frame, to: Frame) -> Self {
        if from == to {
            return self.clone();
        }
        let scaled = |at: u32, from: u32, to: u32| {
            ((u64::from(at) * u64::from(to) / u64::from(from.max(1))) as u32).min(to)
        };
        let edges = |low: u32, high: u32, from: u32, to: u32| {
            let low = scaled(low, from, to).min(to.saturating_sub(1));
            (low, scaled(high, from, to).max(low + 1))
        };
        match *self {
            Self::Span { start, end } => {
                let (start, end) = edges(start, end, from.width, to.width);
                Self::Span { start, end }
            }
            Self::Box { x, y, w, h } => {
                let (left, right) = edges(x, x.saturating_add(w), from.width, to.width);
                let (top, bottom) = edges(y, y.saturating_add(h), from.height, to.height);
                Self::Box {
                    x: left,
                    y: top,
                    w: right - left,
                    h: bottom - top,
                }
            }
            Self::Polygon(ref vertices) => Self::Polygon(
                vertices
                    .iter()
                    .map(|p| Point {
                        x: scaled(p.x, from.width, to.width),
                        y: scaled(p.y, from.height, to.height),
                    })
                    .collect(),
            ),
        }
    }
}
