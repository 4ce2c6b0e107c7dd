//! Small made-up crowds of every kind.

use std::collections::BTreeMap;

use super::super::{Kind, Multi, Pair, Ranked, Review, Shapes, Text, Value};
use crate::consensus::class::GoldPrior;
use crate::consensus::draw::Rng;
use crate::consensus::shape::{Frame, Point, Shape, ShapeInput, ShapeKind, ShapeObject, ShapeVote};
use crate::consensus::value::{ValueInput, ValueScale, ValueVote};
use crate::consensus::{
    Comparison, MultiInput, MultiVote, Outcome, PairInput, Ranking, RankingInput, ReviewInput,
    ReviewVote, TextInput, TextVote, Verdict, infer_multi, infer_pairs, infer_rankings,
    infer_review, infer_shapes, infer_text, infer_values,
};

/// A kind with crowds to try.
pub trait Sample: Kind {
    /// Owned votes and gold.
    type Crowd;

    fn draw(rng: &mut Rng) -> Self::Crowd;
    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng);
    fn task<R>(crowd: &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R;
    fn infer(task: Self::Task<'_>) -> Self::Result;
}

/// Votes on few items by few labelers, and gold for some.
pub struct Votes<G, V> {
    pub items: u32,
    pub labelers: u32,
    pub votes: Vec<(u32, u32, V)>,
    pub gold: BTreeMap<u32, G>,
}

impl<G, V> Votes<G, V> {
    fn draw(
        rng: &mut Rng,
        mut vote: impl FnMut(u32, &mut Rng) -> V,
        mut gold: impl FnMut(u32, &mut Rng) -> G,
    ) -> Self {
        let (items, labelers) = (1 + rng.below(6) as u32, 1 + rng.below(6) as u32);
        let mut crowd = Self {
            items,
            labelers,
            votes: Vec::new(),
            gold: BTreeMap::new(),
        };
        for item in 0..items {
            let voters = rng.below(u64::from(labelers) + 1) as usize;
            for labeler in rng.some_of(voters, labelers as usize) {
                crowd.votes.push((item, labeler, vote(item, rng)));
            }
            if rng.percent(15) {
                crowd.gold.insert(item, gold(item, rng));
            }
        }
        crowd
    }
}

fn priors(rng: &mut Rng, labelers: u32) -> Vec<GoldPrior> {
    let known = if rng.percent(50) { labelers } else { 0 };
    (0..known)
        .map(|_| GoldPrior {
            alpha_milli: rng.below(9_000) as u32,
            beta_milli: rng.below(3_000) as u32,
        })
        .collect()
}

fn words(item: u32, rng: &mut Rng) -> String {
    const WORDS: [&str; 6] = ["the", "giant,", "Giant", "tree", "straße", "été"];
    let mut words = Vec::new();
    for place in 0..4 + u64::from(item) % 3 {
        if rng.percent(85) {
            let own = if rng.percent(70) { place } else { rng.below(6) };
            words.push(WORDS[own as usize % 6]);
        }
    }
    words.join(" ")
}

impl Sample for Text {
    type Crowd = Votes<String, String>;

    fn draw(rng: &mut Rng) -> Self::Crowd {
        Votes::draw(rng, words, words)
    }

    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng) {
        rng.shuffle(&mut crowd.votes);
    }

    fn task<R>(crowd: &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R {
        let votes = crowd.votes.iter().map(|(item, labeler, text)| TextVote {
            item: *item,
            labeler: *labeler,
            text,
        });
        let gold = crowd.gold.iter().map(|(&item, text)| (item, text.as_str()));
        run(&TextInput {
            items: crowd.items,
            labelers: crowd.labelers,
            votes: &votes.collect::<Vec<_>>(),
            gold: &gold.collect(),
        })
    }

    fn infer(task: Self::Task<'_>) -> Self::Result {
        infer_text(task).unwrap()
    }
}

/// Numbers from minus 50 to 150 in steps of five.
const SCALE: ValueScale = ValueScale {
    min: -50,
    max: 150,
    step: 5,
    tolerance: 2,
};

impl Sample for Value {
    type Crowd = Votes<i64, i64>;

    fn draw(rng: &mut Rng) -> Self::Crowd {
        let near = |item: u32, rng: &mut Rng| {
            (i64::from(item) * 20 + 5 * (rng.normal(2))).clamp(SCALE.min, SCALE.max)
        };
        Votes::draw(rng, near, |item, _| i64::from(item) * 20)
    }

    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng) {
        rng.shuffle(&mut crowd.votes);
    }

    fn task<R>(crowd: &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R {
        let votes = crowd.votes.iter().map(|&(item, labeler, value)| ValueVote {
            item,
            labeler,
            value,
        });
        run(&ValueInput {
            items: crowd.items,
            labelers: crowd.labelers,
            scale: SCALE,
            votes: &votes.collect::<Vec<_>>(),
            gold: &crowd.gold,
        })
    }

    fn infer(task: Self::Task<'_>) -> Self::Result {
        infer_values(task).unwrap()
    }
}

const LABELS: u16 = 4;

fn set(item: u32, rng: &mut Rng) -> Vec<u16> {
    let mut labels: Vec<u16> = (0..LABELS)
        .filter(|&label| (u32::from(label) + item).is_multiple_of(2) ^ rng.percent(20))
        .collect();
    rng.shuffle(&mut labels);
    labels
}

impl Sample for Multi {
    type Crowd = (Votes<Vec<u16>, Vec<u16>>, Vec<GoldPrior>);

    fn draw(rng: &mut Rng) -> Self::Crowd {
        let crowd = Votes::draw(rng, set, set);
        let priors = priors(rng, crowd.labelers);
        (crowd, priors)
    }

    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng) {
        rng.shuffle(&mut crowd.0.votes);
        for (_, _, labels) in &mut crowd.0.votes {
            rng.shuffle(labels);
        }
    }

    fn task<R>((crowd, priors): &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R {
        let votes = crowd.votes.iter().map(|(item, labeler, labels)| MultiVote {
            item: *item,
            labeler: *labeler,
            labels: labels.clone(),
        });
        run(&MultiInput {
            items: crowd.items,
            labelers: crowd.labelers,
            labels: LABELS,
            votes: &votes.collect::<Vec<_>>(),
            gold: &crowd.gold,
            priors,
        })
    }

    fn infer(task: Self::Task<'_>) -> Self::Result {
        infer_multi(task).unwrap()
    }
}

const CLASSES: u16 = 5;

/// The label that an item's review is about.
fn proposed(item: u32) -> u16 {
    (item % u32::from(CLASSES)) as u16
}

impl Sample for Review {
    type Crowd = (Votes<u16, Verdict>, Vec<GoldPrior>);

    fn draw(rng: &mut Rng) -> Self::Crowd {
        let verdict = |item: u32, rng: &mut Rng| match rng.below(4) {
            0 => Verdict::Reject,
            1 => Verdict::Fix((proposed(item) + 1 + rng.below(4) as u16) % CLASSES),
            _ => Verdict::Accept,
        };
        let crowd = Votes::draw(rng, verdict, |_, rng| rng.below(5) as u16);
        let priors = priors(rng, crowd.labelers);
        (crowd, priors)
    }

    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng) {
        rng.shuffle(&mut crowd.0.votes);
    }

    fn task<R>((crowd, priors): &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R {
        let votes = crowd
            .votes
            .iter()
            .map(|&(item, labeler, verdict)| ReviewVote {
                item,
                labeler,
                verdict,
            });
        run(&ReviewInput {
            proposed: &(0..crowd.items).map(proposed).collect::<Vec<_>>(),
            labelers: crowd.labelers,
            classes: CLASSES,
            votes: &votes.collect::<Vec<_>>(),
            gold: &crowd.gold,
            priors,
        })
    }

    fn infer(task: Self::Task<'_>) -> Self::Result {
        infer_review(task).unwrap()
    }
}

type Drawn = Vec<ShapeObject>;

fn object(kind: ShapeKind, at: u32, rng: &mut Rng) -> ShapeObject {
    let mut off = |at: u32| at + rng.below(4) as u32;
    let shape = match kind {
        ShapeKind::Span => Shape::Span {
            start: off(at),
            end: off(at + 20),
        },
        ShapeKind::Box => Shape::Box {
            x: off(at),
            y: off(10),
            w: off(20),
            h: off(25),
        },
        ShapeKind::Polygon => {
            let corners = [(at, 10), (at + 20, 12), (at + 22, 40), (at + 1, 38)];
            let points = corners.map(|(x, y)| Point {
                x: off(x),
                y: off(y),
            });
            Shape::Polygon(points.to_vec())
        }
    };
    let label = u16::from(rng.percent(20)) + u16::from(at > 50);
    ShapeObject { shape, label }
}

fn picture(kind: ShapeKind, item: u32, rng: &mut Rng) -> Drawn {
    let mut drawn = Vec::new();
    for number in 0..1 + item % 3 {
        if rng.percent(85) {
            drawn.push(object(kind, 5 + 40 * number, rng));
        }
    }
    drawn
}

impl Sample for Shapes {
    type Crowd = (ShapeKind, Votes<Drawn, Drawn>);

    fn draw(rng: &mut Rng) -> Self::Crowd {
        let kinds = [ShapeKind::Span, ShapeKind::Box, ShapeKind::Polygon];
        let kind = kinds[rng.below(3) as usize];
        let drawn = |item: u32, rng: &mut Rng| picture(kind, item, rng);
        (kind, Votes::draw(rng, drawn, drawn))
    }

    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng) {
        rng.shuffle(&mut crowd.1.votes);
        for (_, _, objects) in &mut crowd.1.votes {
            rng.shuffle(objects);
        }
    }

    fn task<R>((kind, crowd): &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R {
        let frame = match kind {
            ShapeKind::Span => Frame::of_length(200),
            ShapeKind::Box | ShapeKind::Polygon => Frame {
                width: 200,
                height: 100,
            },
        };
        let votes = crowd
            .votes
            .iter()
            .map(|(item, labeler, objects)| ShapeVote {
                item: *item,
                labeler: *labeler,
                objects: objects.clone(),
            });
        run(&ShapeInput {
            kind: *kind,
            frames: &vec![frame; crowd.items as usize],
            labelers: crowd.labelers,
            classes: 3,
            votes: &votes.collect::<Vec<_>>(),
            gold: &crowd.gold,
        })
    }

    fn infer(task: Self::Task<'_>) -> Self::Result {
        infer_shapes(task).unwrap()
    }
}

/// Votes about objects, of which some are named by none.
pub struct Objects<V> {
    pub objects: u32,
    pub labelers: u32,
    pub sided: bool,
    pub votes: Vec<V>,
}

impl<V> Objects<V> {
    fn draw(rng: &mut Rng, mut vote: impl FnMut(u32, u32, &mut Rng) -> V) -> Self {
        let (objects, labelers) = (2 + rng.below(5) as u32, 1 + rng.below(5) as u32);
        let votes = (0..rng.below(30)).map(|_| {
            let labeler = rng.below(u64::from(labelers)) as u32;
            vote(labeler, objects, rng)
        });
        let votes = votes.collect();
        Self {
            objects,
            labelers,
            sided: rng.percent(50),
            votes,
        }
    }
}

impl Sample for Pair {
    type Crowd = Objects<Comparison>;

    fn draw(rng: &mut Rng) -> Self::Crowd {
        Objects::draw(rng, |labeler, objects, rng| {
            let pair = rng.some_of(2, objects as usize);
            let outcome = match rng.below(8) {
                0 => Outcome::Tie,
                1 => Outcome::Left,
                _ if pair[0] < pair[1] => Outcome::Left,
                _ => Outcome::Right,
            };
            Comparison {
                labeler,
                left: pair[0],
                right: pair[1],
                outcome,
            }
        })
    }

    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng) {
        rng.shuffle(&mut crowd.votes);
    }

    fn task<R>(crowd: &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R {
        run(&PairInput {
            objects: crowd.objects,
            labelers: crowd.labelers,
            sided: crowd.sided,
            votes: &crowd.votes,
        })
    }

    fn infer(task: Self::Task<'_>) -> Self::Result {
        infer_pairs(task).unwrap()
    }
}

impl Sample for Ranked {
    type Crowd = Objects<(u32, Vec<u32>)>;

    fn draw(rng: &mut Rng) -> Self::Crowd {
        Objects::draw(rng, |labeler, objects, rng| {
            let length = rng.below(u64::from(objects) + 1) as usize;
            (labeler, rng.some_of(length, objects as usize))
        })
    }

    fn shuffle(crowd: &mut Self::Crowd, rng: &mut Rng) {
        rng.shuffle(&mut crowd.votes);
    }

    fn task<R>(crowd: &Self::Crowd, run: impl FnOnce(Self::Task<'_>) -> R) -> R {
        let votes = crowd.votes.iter().map(|(labeler, order)| Ranking {
            labeler: *labeler,
            order,
        });
        run(&RankingInput {
            objects: crowd.objects,
            labelers: crowd.labelers,
            votes: &votes.collect::<Vec<_>>(),
        })
    }

    fn infer(task: Self::Task<'_>) -> Self::Result {
        infer_rankings(task).unwrap()
    }
}
