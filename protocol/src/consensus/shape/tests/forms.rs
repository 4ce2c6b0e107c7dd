use proptest::prelude::*;

use super::super::geometry::Bounds;
use super::super::polygon::{self, Cells};
use super::*;

fn points(list: &[(u32, u32)]) -> Vec<Point> {
    list.iter().map(|&(x, y)| Point { x, y }).collect()
}

/// Whether the centre of unit square (x, y) lies inside, by the even-odd rule, in exact integers.
fn covers(vertices: &[Point], x: u32, y: u32) -> bool {
    let (px, py) = (2 * i64::from(x) + 1, 2 * i64::from(y) + 1);
    let mut inside = false;
    for (k, b) in vertices.iter().enumerate() {
        let a = vertices[(k + vertices.len() - 1) % vertices.len()];
        let (ax, ay) = (2 * i64::from(a.x), 2 * i64::from(a.y));
        let (bx, by) = (2 * i64::from(b.x), 2 * i64::from(b.y));
        if (ay > py) != (by > py) {
            let cross = (bx - ax) * (py - ay) - (px - ax) * (by - ay);
            inside ^= (cross > 0) == (by > ay);
        }
    }
    inside
}

/// Intersection over union by counting unit squares, in thousandths.
fn counted(a: &[Point], b: &[Point], side: u32) -> u64 {
    let (mut common, mut all) = (0u64, 0u64);
    for y in 0..side {
        for x in 0..side {
            let (in_a, in_b) = (covers(a, x, y), covers(b, x, y));
            common += u64::from(in_a && in_b);
            all += u64::from(in_a || in_b);
        }
    }
    common * 1_000 / all.max(1)
}

#[test]
fn overlaps_of_rectangles_and_triangles_are_known() {
    let square = |x: u32, y: u32, s: u32| points(&[(x, y), (x + s, y), (x + s, y + s), (x, y + s)]);
    let boxed = |x, y, s| Shape::Box { x, y, w: s, h: s };
    for (x, y, s) in [(10, 10, 100), (60, 10, 100), (35, 70, 50), (200, 200, 10)] {
        let exact = boxed(10, 10, 100).iou(&boxed(x, y, s));
        let lines = Shape::Polygon(square(10, 10, 100)).iou(&Shape::Polygon(square(x, y, s)));
        assert!(exact.abs_diff(lines) < 700, "{exact} {lines}");
    }
    // Half of a square.
    let triangle = points(&[(10, 10), (110, 10), (10, 110)]);
    let half = Shape::Polygon(square(10, 10, 100)).iou(&Shape::Polygon(triangle.clone()));
    assert!(half.abs_diff(ONE / 2) < 100, "{half}");
    assert_eq!(Shape::Polygon(triangle.clone()).area(), 5_000);
    assert_eq!(
        Shape::Span { start: 3, end: 9 }.iou(&Shape::Span { start: 6, end: 12 }),
        ONE / 3
    );
    assert_eq!(
        Shape::Span { start: 3, end: 9 }.iou(&Shape::Span { start: 9, end: 12 }),
        0
    );
    assert_eq!(Shape::Polygon(triangle).iou(&boxed(10, 10, 100)), 0);
}

#[test]
fn the_outline_of_equal_polygons_is_the_polygon() {
    let star = points(&[
        (500, 100),
        (600, 380),
        (900, 400),
        (660, 580),
        (750, 880),
        (500, 700),
        (250, 880),
        (340, 580),
        (100, 400),
        (400, 380),
    ]);
    let hook = points(&[
        (100, 100),
        (900, 100),
        (900, 900),
        (700, 900),
        (700, 300),
        (300, 300),
        (300, 900),
        (100, 900),
    ]);
    for shape in [star, hook] {
        let whole = Shape::Polygon(shape.clone());
        let mut cells = Cells::new(whole.bounds());
        (0..3).for_each(|_| cells.add(&shape, 7));
        let outline = Shape::Polygon(cells.outline().unwrap());
        let overlap = whole.iou(&outline);
        println!(
            "outline of {} vertices: overlap {} per mille",
            shape.len(),
            (overlap * 1_000) >> 16
        );
        assert!(overlap > 64_000, "{overlap}");
    }
}

#[test]
fn an_outline_needs_a_majority_and_keeps_the_largest_part() {
    let bounds = Bounds {
        left: 0,
        top: 0,
        right: 960,
        bottom: 960,
    };
    let square = |x: u32, s: u32| points(&[(x, 100), (x + s, 100), (x + s, 100 + s), (x, 100 + s)]);
    let mut cells = Cells::new(bounds);
    cells.add(&square(0, 200), 1);
    cells.add(&square(500, 200), 1);
    assert_eq!(cells.outline(), None);
    let mut cells = Cells::new(bounds);
    // Two of three agree on a small and a large place, with a gap between them.
    let both = points(&[
        (0, 0),
        (100, 0),
        (100, 100),
        (400, 100),
        (400, 0),
        (900, 0),
        (900, 500),
        (400, 500),
        (400, 101),
        (100, 101),
        (100, 101),
        (0, 101),
    ]);
    cells.add(&both, 1);
    cells.add(&both, 1);
    cells.add(&square(0, 1), 1);
    let outline = Shape::Polygon(cells.outline().unwrap());
    let large = Shape::Polygon(points(&[(400, 0), (900, 0), (900, 500), (400, 500)]));
    assert!(outline.iou(&large) > 62_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn polygon_overlap_agrees_with_counting_unit_squares(
        a in proptest::collection::vec((0u32..300, 0u32..300), 3..12),
        b in proptest::collection::vec((0u32..300, 0u32..300), 3..12),
    ) {
        let (a, b) = (points(&a), points(&b));
        let bounds = Shape::Polygon(a.clone()).bounds().join(Shape::Polygon(b.clone()).bounds());
        prop_assume!(Shape::Polygon(a.clone()).area() > 2_000 && Shape::Polygon(b.clone()).area() > 2_000);
        let lines = (u64::from(polygon::iou(&a, &b, bounds)) * 1_000) >> 16;
        // Self-crossing random polygons with many edges are the hardest case for both ways.
        prop_assert!(lines.abs_diff(counted(&a, &b, 300)) <= 20);
        prop_assert_eq!(polygon::iou(&a, &a, bounds), ONE);
        prop_assert_eq!(polygon::iou(&a, &b, bounds), polygon::iou(&b, &a, bounds));
    }

    #[test]
    fn box_and_span_overlap_agree_with_counting(
        a in (0u32..20, 0u32..20, 1u32..20, 1u32..20),
        b in (0u32..20, 0u32..20, 1u32..20, 1u32..20),
    ) {
        let inside = |(x, y, w, h): (u32, u32, u32, u32), px: u32, py: u32| (x..x + w).contains(&px) && (y..y + h).contains(&py);
        let (mut common, mut all, mut line, mut line_all) = (0u64, 0u64, 0u64, 0u64);
        for px in 0..40 {
            let (on_a, on_b) = ((a.0..a.0 + a.2).contains(&px), (b.0..b.0 + b.2).contains(&px));
            line += u64::from(on_a && on_b);
            line_all += u64::from(on_a || on_b);
            for py in 0..40 {
                common += u64::from(inside(a, px, py) && inside(b, px, py));
                all += u64::from(inside(a, px, py) || inside(b, px, py));
            }
        }
        let boxed = |(x, y, w, h)| Shape::Box { x, y, w, h };
        let span = |(x, _, w, _): (u32, u32, u32, u32)| Shape::Span { start: x, end: x + w };
        prop_assert_eq!(u64::from(boxed(a).iou(&boxed(b))), (common << 16) / all);
        prop_assert_eq!(u64::from(span(a).iou(&span(b))), (line << 16) / line_all);
    }

    #[test]
    fn arbitrary_polygon_votes_give_simple_bounded_outlines(
        list in proptest::collection::vec(proptest::collection::vec((0u32..500, 0u32..300), 3..30), 1..5),
    ) {
        let list: Vec<Vec<Point>> = list.iter().map(|one| points(one)).collect();
        let bounds = list.iter().map(|one| Shape::Polygon(one.clone()).bounds()).reduce(Bounds::join).unwrap();
        prop_assume!(bounds.right > bounds.left && bounds.bottom > bounds.top);
        let mut cells = Cells::new(bounds);
        list.iter().for_each(|one| cells.add(one, 3));
        if let Some(outline) = cells.outline() {
            prop_assert!((3..=MAX_VERTICES).contains(&outline.len()));
            prop_assert!(outline.iter().all(|p| (bounds.left..=bounds.right).contains(&p.x) && (bounds.top..=bounds.bottom).contains(&p.y)));
        }
    }
}
