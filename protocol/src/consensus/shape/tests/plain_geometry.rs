//! Plain geometry for `plain`: overlap, carrying, pairing and clusters, from their definitions.

use super::super::*;

const Q16: u64 = 1 << 16;

/// Position of a sheet and of an object on it.
pub(super) type Member = (usize, usize);

/// Intersection over union; lengths are taken edge by edge.
pub(super) fn overlap(a: &Shape, b: &Shape) -> u64 {
    let common = |low: u32, high: u32, other_low: u32, other_high: u32| {
        let (from, to) = (low.max(other_low), high.min(other_high));
        u64::from(to.max(from) - from)
    };
    let (both, of_a, of_b) = match (a, b) {
        (&Shape::Span { start, end }, &Shape::Span { start: s, end: e }) => (
            common(start, end, s, e),
            u64::from(end - start),
            u64::from(e - s),
        ),
        (
            &Shape::Box { x, y, w, h },
            &Shape::Box {
                x: x2,
                y: y2,
                w: w2,
                h: h2,
            },
        ) => (
            common(x, x + w, x2, x2 + w2) * common(y, y + h, y2, y2 + h2),
            u64::from(w) * u64::from(h),
            u64::from(w2) * u64::from(h2),
        ),
        _ => return a.iou(b).into(),
    };
    both * Q16 / (of_a + of_b - both)
}

/// The same place on an item of another size.
pub(super) fn carried(shape: &Shape, from: Frame, to: Frame) -> Shape {
    if from == to {
        return shape.clone();
    }
    let scaled = |at: u32, from: u32, to: u32| {
        (u64::from(at) * u64::from(to) / u64::from(from)).min(to.into()) as u32
    };
    let pair = |low: u32, high: u32, from: u32, to: u32| {
        let low = scaled(low, from, to).min(to - 1);
        (low, scaled(high, from, to).max(low + 1))
    };
    match shape {
        &Shape::Span { start, end } => {
            let (start, end) = pair(start, end, from.width, to.width);
            Shape::Span { start, end }
        }
        &Shape::Box { x, y, w, h } => {
            let (left, right) = pair(x, x + w, from.width, to.width);
            let (top, bottom) = pair(y, y + h, from.height, to.height);
            Shape::Box {
                x: left,
                y: top,
                w: right - left,
                h: bottom - top,
            }
        }
        Shape::Polygon(points) => {
            let moved = points.iter().map(|point| Point {
                x: scaled(point.x, from.width, to.width),
                y: scaled(point.y, from.height, to.height),
            });
            Shape::Polygon(moved.collect())
        }
    }
}

/// One to one from the best down, the first among equals; zeros stay alone. Gives the values of the pairs.
pub(super) fn best_pairs(
    left: usize,
    right: usize,
    value: impl Fn(usize, usize) -> u64,
) -> Vec<u64> {
    let mut open: Vec<(usize, usize)> = (0..left)
        .flat_map(|i| (0..right).map(move |j| (i, j)))
        .collect();
    let mut pairs = Vec::new();
    loop {
        let mut best = (0, (0, 0));
        for &(i, j) in &open {
            if value(i, j) > best.0 {
                best = (value(i, j), (i, j));
            }
        }
        if best.0 == 0 {
            return pairs;
        }
        pairs.push(best.0);
        open.retain(|&(i, j)| i != best.1.0 && j != best.1.1);
    }
}

/// Clusters of the objects of one item, by their first members.
pub(super) fn clusters(sheets: &[(u32, Vec<ShapeObject>)]) -> Vec<Vec<Member>> {
    let all: Vec<Member> = (0..sheets.len())
        .flat_map(|sheet| (0..sheets[sheet].1.len()).map(move |object| (sheet, object)))
        .collect();
    let mut pairs = Vec::new();
    for &a in &all {
        for &b in all.iter().filter(|b| b.0 > a.0) {
            let (x, y) = (&sheets[a.0].1[a.1], &sheets[b.0].1[b.1]);
            let value = overlap(&x.shape, &y.shape);
            if value >= 22_938 {
                let cost = if x.label == y.label { 0 } else { value / 4 };
                pairs.push((Q16 - (value - cost), a, b));
            }
        }
    }
    pairs.sort();
    let mut clusters: Vec<Vec<Member>> = all.iter().map(|&one| vec![one]).collect();
    for (_, a, b) in pairs {
        let of = |one| clusters.iter().position(|cluster| cluster.contains(&one));
        let (x, y) = (of(a).unwrap(), of(b).unwrap());
        let twice = clusters[x]
            .iter()
            .any(|one| clusters[y].iter().any(|other| other.0 == one.0));
        if x != y && !twice {
            let moved = clusters.remove(x.max(y));
            clusters[x.min(y)].extend(moved);
            clusters[x.min(y)].sort();
        }
    }
    clusters.sort();
    clusters
}

/// How far two shapes are apart, Q16 of the second one's side.
pub(super) fn apart(own: &Shape, truth: &Shape) -> u64 {
    let side = |a: [u32; 2], b: [u32; 2]| {
        let off = u64::from(a[0].abs_diff(b[0]) + a[1].abs_diff(b[1]));
        (off * Q16 / (2 * u64::from(b[1] - b[0]))).min(Q16)
    };
    match (own, truth) {
        (&Shape::Span { start, end }, &Shape::Span { start: s, end: e }) => {
            side([start, end], [s, e])
        }
        (
            &Shape::Box { x, y, w, h },
            &Shape::Box {
                x: x2,
                y: y2,
                w: w2,
                h: h2,
            },
        ) => (side([x, x + w], [x2, x2 + w2]) + side([y, y + h], [y2, y2 + h2])) / 2,
        _ => Q16 - overlap(own, truth),
    }
}
