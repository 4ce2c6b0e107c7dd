//! Polygons without exact clipping: overlap on scanlines, consensus on a grid of cells.
//!
//! Exact clipping of polygons needs rational coordinates of any size. Instead, [`iou`] cuts both polygons along [`SCANLINES`] horizontal
//! lines, evenly spread over the height that they cover together, and compares lengths there. Crossings are computed in 1/256 unit.
//! Between two lines the width of a polygon is linear except where a vertex or a crossing lies, so the midpoint rule is exact on all
//! other strips: with v vertices the error is below (v + crossings) / SCANLINES^2 of the area of the bounds plus the rounding of a
//! crossing, 1/128 unit per line. Equal polygons give exactly one.
//!
//! The consensus of several polygons is a vote of cells: a grid of [`GRID`] x [`GRID`] cells over the bounds, a cell is inside when
//! polygons of more than half of the weight cover its centre, the largest connected part is kept, its border is followed through the
//! middles of the cell edges (which cuts stairs into slopes without moving the border on average) and thinned to at most
//! `MAX_VERTICES` points. A border is off by less than half a cell, 1/192 of the side of the bounds; holes are filled.
//!
//! What it does not do: no holes, no parts: the result is one simple outline.
//! Invariants: coordinates below 2^20, so in 1/256 units below 2^28; products stay below 2^57; everything is bounded by the grid.

use super::geometry::{Bounds, MAX_VERTICES, Point};
use crate::consensus::fixed::ratio;

/// Lines on which two polygons are compared, in lines.
pub(super) const SCANLINES: u64 = 128;
/// Cells along each side of the consensus grid, in cells.
pub(super) const GRID: usize = 96;
/// Fraction bits of a crossing, in bits.
const CROSS_BITS: u32 = 8;

/// Crossings of the polygon with line `line` of `lines` over `bounds`, sorted, in 1/256 unit.
fn crossings(vertices: &[Point], bounds: Bounds, line: u64, lines: u64, out: &mut Vec<i64>) {
    out.clear();
    // Heights are scaled by twice the number of lines, so that the middle of each strip is a whole number.
    let scale = 2 * lines as i64;
    let height = i64::from(bounds.bottom - bounds.top);
    let at = i64::from(bounds.top) * scale + (2 * line as i64 + 1) * height;
    let mut previous = match vertices.last() {
        Some(last) => last,
        None => return,
    };
    for vertex in vertices {
        let (low, high) = if previous.y < vertex.y {
            (previous, vertex)
        } else {
            (vertex, previous)
        };
        previous = vertex;
        let (y_low, y_high) = (i64::from(low.y) * scale, i64::from(high.y) * scale);
        if y_low <= at && at < y_high {
            let from = i64::from(low.x) << CROSS_BITS;
            let run = i64::from(high.x) - i64::from(low.x);
            // At most 2^20 x 2^28 x 2^8.
            out.push(from + ((run * (at - y_low)) << CROSS_BITS).div_euclid(y_high - y_low));
        }
    }
    out.sort_unstable();
}

/// Summed length of the intervals.
fn length(crossings: &[i64]) -> u64 {
    crossings
        .chunks_exact(2)
        .map(|pair| pair[1].abs_diff(pair[0]))
        .sum()
}

/// Length of the common part of two lists of intervals.
fn common_length(a: &[i64], b: &[i64]) -> u64 {
    let (mut i, mut j, mut sum) = (0, 0, 0u64);
    while i + 1 < a.len() && j + 1 < b.len() {
        let (low, high) = (a[i].max(b[j]), a[i + 1].min(b[j + 1]));
        sum += (high - low).max(0).unsigned_abs();
        if a[i + 1] < b[j + 1] {
            i += 2;
        } else {
            j += 2;
        }
    }
    sum
}

/// Intersection over union of two polygons, Q16; `bounds` holds both.
pub(super) fn iou(a: &[Point], b: &[Point], bounds: Bounds) -> u32 {
    let (mut common, mut all) = (0u64, 0u64);
    let (mut cross_a, mut cross_b) = (Vec::new(), Vec::new());
    for line in 0..SCANLINES {
        crossings(a, bounds, line, SCANLINES, &mut cross_a);
        crossings(b, bounds, line, SCANLINES, &mut cross_b);
        let both = common_length(&cross_a, &cross_b);
        common += both;
        all += length(&cross_a) + length(&cross_b) - both;
    }
    ratio(common, all)
}

/// Votes of cells: how much weight covers each cell of the grid over `bounds`.
pub(super) struct Cells {
    bounds: Bounds,
    weight: Vec<u64>,
    total: u64,
}

impl Cells {
    /// An empty vote.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            weight: vec![0; GRID * GRID],
            total: 0,
        }
    }

    /// Adds the weight of one polygon to every cell whose centre it covers.
    pub fn add(&mut self, vertices: &[Point], weight: u64) {
        self.total += weight;
        let left = i64::from(self.bounds.left) << CROSS_BITS;
        let width = i64::from(self.bounds.right - self.bounds.left) << CROSS_BITS;
        let mut cross = Vec::new();
        for (row, cells) in self.weight.chunks_exact_mut(GRID).enumerate() {
            crossings(vertices, self.bounds, row as u64, GRID as u64, &mut cross);
            for pair in cross.chunks_exact(2) {
                // The centre of column c is left + (2c + 1) width / (2 GRID).
                let column = |at: i64| {
                    let half = (2 * GRID as i64 * (at - left)).div_euclid(width.max(1));
                    ((half + 1).div_euclid(2)).clamp(0, GRID as i64) as usize
                };
                cells[column(pair[0])..column(pair[1]).max(column(pair[0]))]
                    .iter_mut()
                    .for_each(|cell| *cell += weight);
            }
        }
    }

    /// Outline of the largest connected part of the cells that more than half of the weight covers; `None` when there is none.
    pub fn outline(&self) -> Option<Vec<Point>> {
        let inside: Vec<bool> = self
            .weight
            .iter()
            .map(|&cell| cell * 2 > self.total)
            .collect();
        let part = largest_part(&inside)?;
        let border = border(&part);
        let thinned = thin(border);
        let (width, height) = (
            u64::from(self.bounds.right - self.bounds.left),
            u64::from(self.bounds.bottom - self.bounds.top),
        );
        // Border points are in half cells; rounded to the nearest unit.
        let unit = |half_cells: i32, side: u64| {
            ((half_cells.unsigned_abs() as u64 * side + GRID as u64) / (2 * GRID as u64)) as u32
        };
        let mut points: Vec<Point> = thinned
            .into_iter()
            .map(|(x, y)| Point {
                x: self.bounds.left + unit(x, width),
                y: self.bounds.top + unit(y, height),
            })
            .collect();
        points.dedup();
        (points.len() >= 3).then_some(points)
    }
}

/// The largest set of cells connected by edges, the first one in reading order among equals.
fn largest_part(inside: &[bool]) -> Option<Vec<bool>> {
    let mut part = vec![0u32; inside.len()];
    let (mut best, mut best_size, mut parts) = (0, 0usize, 0);
    let mut open = Vec::new();
    for start in 0..inside.len() {
        if !inside[start] || part[start] != 0 {
            continue;
        }
        parts += 1;
        part[start] = parts;
        open.push(start);
        let mut size = 0;
        while let Some(cell) = open.pop() {
            size += 1;
            let (x, y) = (cell % GRID, cell / GRID);
            let mut visit = |next: usize| {
                if inside[next] && part[next] == 0 {
                    part[next] = parts;
                    open.push(next);
                }
            };
            if x > 0 {
                visit(cell - 1);
            }
            if x + 1 < GRID {
                visit(cell + 1);
            }
            if y > 0 {
                visit(cell - GRID);
            }
            if y + 1 < GRID {
                visit(cell + GRID);
            }
        }
        if size > best_size {
            (best, best_size) = (parts, size);
        }
    }
    (best_size > 0).then(|| part.iter().map(|&number| number == best).collect())
}

/// Follows the outer border clockwise; gives the middle of every cell edge on it, in half cells.
fn border(part: &[bool]) -> Vec<(i32, i32)> {
    let set = |x: i32, y: i32| {
        let side = GRID as i32;
        (0..side).contains(&x) && (0..side).contains(&y) && part[(y * side + x) as usize]
    };
    let Some(first) = part.iter().position(|&cell| cell) else {
        return Vec::new();
    };
    // The first cell in reading order has nothing above and left of it: its upper edge is on the outer border.
    let start = ((first % GRID) as i32, (first / GRID) as i32);
    let (mut x, mut y) = start;
    let (mut dx, mut dy) = (1, 0);
    let mut middles = Vec::new();
    // Every edge of every cell is walked at most once per side.
    for _ in 0..4 * GRID * GRID {
        middles.push((2 * x + dx, 2 * y + dy));
        (x, y) = (x + dx, y + dy);
        // The two cells ahead, right and left of the direction of travel, with y pointing down.
        let (right, left) = match (dx, dy) {
            (1, 0) => (set(x, y), set(x, y - 1)),
            (0, 1) => (set(x - 1, y), set(x, y)),
            (-1, 0) => (set(x - 1, y - 1), set(x - 1, y)),
            _ => (set(x, y - 1), set(x - 1, y - 1)),
        };
        if !right {
            (dx, dy) = (-dy, dx);
        } else if left {
            (dx, dy) = (dy, -dx);
        }
        if (x, y) == start && (dx, dy) == (1, 0) {
            break;
        }
    }
    middles
}

/// Drops the points that matter least: all whose triangle with their neighbours is at most an eighth of a cell, then more until the limit
/// is kept (Visvalingam and Whyatt 1993). Ties by position.
fn thin(mut points: Vec<(i32, i32)>) -> Vec<(i32, i32)> {
    /// Twice the area of a triangle, in quarters of a cell.
    fn twice(a: (i32, i32), b: (i32, i32), c: (i32, i32)) -> u32 {
        ((b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1)).unsigned_abs()
    }
    // Straight runs first and in one pass: they are most of the points.
    let count = points.len();
    let corner = |k: usize| {
        twice(
            points[(k + count - 1) % count],
            points[k],
            points[(k + 1) % count],
        ) > 0
    };
    let kept: Vec<(i32, i32)> = (0..count)
        .filter(|&k| corner(k))
        .map(|k| points[k])
        .collect();
    points = kept;
    let of = |points: &[(i32, i32)], k: usize| {
        let count = points.len();
        twice(
            points[(k + count - 1) % count],
            points[k],
            points[(k + 1) % count],
        )
    };
    let mut areas: Vec<u32> = (0..points.len()).map(|k| of(&points, k)).collect();
    while points.len() > 4 {
        let mut at = 0;
        for (k, &area) in areas.iter().enumerate() {
            if area < areas[at] {
                at = k;
            }
        }
        if areas[at] > 1 && points.len() <= MAX_VERTICES {
            break;
        }
        points.remove(at);
        areas.remove(at);
        // Only the two neighbours have a new triangle.
        let count = points.len();
        for neighbour in [(at + count - 1) % count, at % count] {
            areas[neighbour] = of(&points, neighbour);
        }
    }
    points
}
