use super::super::cluster::{clusters, pair_up, sheet};
use super::*;

/// Sums over items: hits at overlap one half, guesses, true objects, overlap of the pairs (Q16), right labels among the hits.
#[derive(Clone, Copy, Default)]
struct Score {
    hits: u64,
    guesses: u64,
    truths: u64,
    overlap: u64,
    named: u64,
}

impl Score {
    fn add(&mut self, guess: &[ShapeObject], truth: &[ShapeObject]) {
        self.guesses += guess.len() as u64;
        self.truths += truth.len() as u64;
        for (i, j, overlap) in pair_up(guess.len(), truth.len(), |i, j| {
            guess[i].shape.iou(&truth[j].shape)
        }) {
            self.overlap += u64::from(overlap);
            if overlap >= ONE / 2 {
                self.hits += 1;
                self.named += u64::from(guess[i].label == truth[j].label);
            }
        }
    }

    /// F1 at overlap one half, mean overlap over true objects (a missed one counts zero), F1 with the right label; tenths of a per cent.
    fn figures(&self) -> [u64; 3] {
        [
            2_000 * self.hits / (self.guesses + self.truths).max(1),
            1_000 * self.overlap / (u64::from(ONE) * self.truths.max(1)),
            2_000 * self.named / (self.guesses + self.truths).max(1),
        ]
    }
}

/// Clusters that more than half of the labelers drew, mean edges (polygons: the first one drawn), most frequent label.
fn majority(votes: &[ShapeVote]) -> Vec<ShapeObject> {
    let sheets: Vec<_> = votes
        .iter()
        .map(|vote| sheet(vote.labeler, &vote.objects))
        .collect();
    let mut guess = Vec::new();
    for members in clusters(&sheets) {
        if members.len() * 2 <= votes.len() {
            continue;
        }
        let drawn: Vec<&ShapeObject> = members
            .iter()
            .map(|&(s, o)| sheets[s as usize].objects[o as usize])
            .collect();
        let bounds: Vec<_> = drawn.iter().map(|object| object.shape.bounds()).collect();
        let mean = |of: &dyn Fn(usize) -> u32| {
            ((0..bounds.len()).map(|i| u64::from(of(i))).sum::<u64>() / bounds.len() as u64) as u32
        };
        let (left, right) = (mean(&|i| bounds[i].left), mean(&|i| bounds[i].right));
        let (top, bottom) = (mean(&|i| bounds[i].top), mean(&|i| bounds[i].bottom));
        let shape = match &drawn[0].shape {
            Shape::Span { .. } => Shape::Span {
                start: left,
                end: right,
            },
            Shape::Box { .. } => Shape::Box {
                x: left,
                y: top,
                w: right - left,
                h: bottom - top,
            },
            polygon @ Shape::Polygon(_) => polygon.clone(),
        };
        let count = |label| drawn.iter().filter(|object| object.label == label).count();
        let label = (0..CLASSES)
            .rev()
            .max_by_key(|&label| count(label))
            .unwrap();
        guess.push(ShapeObject { shape, label });
    }
    guess
}

#[test]
fn shapes_beat_majority_with_means_and_a_single_labeler() {
    let able = [
        vec![CAREFUL; 5],
        vec![TIRED; 4],
        vec![HASTY; 2],
        vec![EAGER; 2],
    ]
    .concat();
    let crowds = [
        ("able only", able.clone()),
        ("with 4 lazy", [able, LAZY.to_vec()].concat()),
    ];
    let mut failures = Vec::new();
    println!(
        "F1 at 0.5 / mean overlap over true objects / F1 at 0.5 with the right label, per cent"
    );
    println!(
        "{:<8} {:<12} {:>2} {:>20} {:>20} {:>20}",
        "kind", "crowd", "k", "single", "majority, means", "ours"
    );
    for (kind, seeds, items) in [
        (ShapeKind::Span, 6, 150),
        (ShapeKind::Box, 6, 150),
        (ShapeKind::Polygon, 2, 80),
    ] {
        for (name, habits) in &crowds {
            for k in [3, 5, 7] {
                let mut scores = [Score::default(); 3];
                for seed in 0..seeds {
                    let crowd =
                        Crowd::draw(kind, habits, items, k, &mut Rng(seed * 101 + k as u64));
                    let result = crowd.infer(&BTreeMap::new());
                    for (item, truth) in crowd.truth.iter().enumerate() {
                        let votes = crowd.votes_of(item);
                        let found = &result.items[item].objects;
                        let ours: Vec<ShapeObject> =
                            found.iter().map(|found| found.object.clone()).collect();
                        scores[0].add(&votes[0].objects, truth);
                        scores[1].add(&majority(&votes), truth);
                        scores[2].add(&ours, truth);
                    }
                }
                let figures = scores.map(|score| score.figures());
                let show = |f: [u64; 3]| f.map(|v| format!("{}.{}", v / 10, v % 10)).join(" / ");
                let [single, plain, ours] = figures;
                let kind = format!("{kind:?}");
                println!(
                    "{kind:<8} {name:<12} {k:>2} {:>20} {:>20} {:>20}",
                    show(single),
                    show(plain),
                    show(ours)
                );
                // Among able labelers a plain majority hardly invents anything; the estimate must not be worse by more than half a
                // point there, and better wherever somebody is lazy. Places must always be better.
                let margin = if *name == "able only" { 5 } else { 0 };
                let better = (0..3).all(|part| ours[part] > single[part])
                    && ours[0] + margin > plain[0]
                    && ours[1] > plain[1]
                    && ours[2] + margin > plain[2];
                if !better {
                    failures.push(format!("{kind} {name} {k}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
#[ignore = "large; run alone to measure processor time"]
fn ten_thousand_items_with_boxes_are_scored() {
    let habits = [vec![CAREFUL; 50], vec![TIRED; 40], vec![EAGER; 10]].concat();
    let crowd = Crowd::draw(ShapeKind::Box, &habits, 10_000, 5, &mut Rng(1));
    let objects: usize = crowd.votes.iter().map(|vote| vote.objects.len()).sum();
    let result = crowd.infer(&BTreeMap::new());
    println!(
        "{} votes, {objects} boxes, {} items",
        crowd.votes.len(),
        result.items.len()
    );
}

#[test]
#[ignore = "large; run alone to measure processor time"]
fn a_thousand_items_with_polygons_are_scored() {
    let habits = [vec![CAREFUL; 50], vec![TIRED; 40], vec![EAGER; 10]].concat();
    let crowd = Crowd::draw(ShapeKind::Polygon, &habits, 1_000, 5, &mut Rng(1));
    let objects: usize = crowd.votes.iter().map(|vote| vote.objects.len()).sum();
    let result = crowd.infer(&BTreeMap::new());
    println!(
        "{} votes, {objects} polygons, {} items",
        crowd.votes.len(),
        result.items.len()
    );
}

#[test]
fn published_posteriors_say_how_often_lists_and_objects_are_right() {
    let habits = [
        vec![CAREFUL; 5],
        vec![TIRED; 4],
        vec![HASTY; 2],
        vec![EAGER; 2],
    ]
    .concat();
    // Per class of posterior: sum of posteriors, objects that exist, objects.
    let mut classes = [[0u64; 3]; 4];
    for seed in 0..10 {
        let crowd = Crowd::draw(ShapeKind::Box, &habits, 150, 5, &mut Rng(seed));
        let result = crowd.infer(&BTreeMap::new());
        for (item, truth) in result.items.iter().zip(&crowd.truth) {
            for found in &item.objects {
                let class = (found.posterior / 8_193) as usize - 4;
                let real = truth
                    .iter()
                    .any(|t| t.shape.iou(&found.object.shape) >= ONE / 3);
                classes[class][0] += u64::from(found.posterior);
                classes[class][1] += u64::from(real);
                classes[class][2] += 1;
            }
        }
    }
    println!("boxes, posterior of existence against share that exists, per mille");
    for [sum, real, count] in classes {
        let count = count.max(1);
        println!(
            "{:>6} objects: said {}, real {}",
            count,
            (sum * 1_000 / count) >> 16,
            real * 1_000 / count
        );
    }
    let [sum, real, count] = classes
        .iter()
        .fold([0; 3], |a, c| [a[0] + c[0], a[1] + c[1], a[2] + c[2]]);
    assert!(((sum * 1_000 / count) >> 16).abs_diff(real * 1_000 / count) <= 30);
}
