//! Made-up crowds of every kind, from a seed: the same votes on every machine.
//!
//! They are meant to reach every part of the engines, not to look like people: careful and careless labelers, constant answers, groups
//! that copy, gold, reputation, answer times, items and labelers without votes.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use assay_protocol::consensus::{
    ClassInput, Comparison, ConsensusError, GoldPrior, MultiInput, MultiVote, Outcome, PairInput,
    Ranking, RankingInput, ReviewInput, ReviewVote, Signals, TextInput, TextVote, Verdict, Vote,
    infer_class_with, infer_multi, infer_pairs, infer_rankings, infer_review, infer_shapes,
    infer_text, infer_values,
    shape::{Frame, Point, Shape, ShapeInput, ShapeKind, ShapeObject, ShapeVote},
    value::{ValueInput, ValueScale, ValueVote},
};

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    /// A number below `bound`, which is at least one.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn from(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Some labelers, each once.
    fn some_of(&mut self, most: u64, labelers: u32) -> Vec<u32> {
        let count = self.below(most + 1).min(u64::from(labelers)) as usize;
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let labeler = self.below(u64::from(labelers)) as u32;
            if !chosen.contains(&labeler) {
                chosen.push(labeler);
            }
        }
        chosen
    }
}

/// Votes of one kind that can be scored.
pub trait Crowd {
    /// Puts the votes into another order.
    fn shuffle(&mut self, rng: &mut Rng);

    /// Scores the votes and writes all that the result holds.
    fn score(&self, out: &mut dyn Write) -> Result;
}

/// The result; a refusal would name the position of a vote, which is not the same in every order.
fn admitted<T>(result: std::result::Result<T, ConsensusError>) -> T {
    match result {
        Ok(result) => result,
        Err(error) => panic!("a made-up crowd was refused: {error}"),
    }
}

/// How a labeler works.
#[derive(Clone, Copy)]
enum Habit {
    /// Right this often, in per cent.
    Able(u64),
    /// Answers without looking.
    Blind,
    /// The same answer always.
    Constant(u64),
    /// Hands in the sheet of a group.
    Copies(u64),
}

/// Labelers for a crowd of `items`: few for small crowds, about 500 votes each in large ones.
fn habits(items: u32, rng: &mut Rng) -> Vec<Habit> {
    let count = 1 + rng.below(12) + u64::from(items) / 100;
    let mut habit = || match rng.below(10) {
        0 => Habit::Blind,
        1 => Habit::Constant(rng.below(1 << 32)),
        2 | 3 => Habit::Copies(rng.below(2)),
        _ => Habit::Able(50 + rng.below(48)),
    };
    (0..count).map(|_| habit()).collect()
}

/// A number that depends on the item and the group alone.
fn sheet(item: u32, group: u64) -> u64 {
    Rng(u64::from(item) << 8 | group).below(1 << 32)
}

/// The answer of a labeler who chooses among `answers`.
fn choose(habit: Habit, item: u32, truth: u64, answers: u64, rng: &mut Rng) -> u64 {
    match habit {
        Habit::Able(right) if rng.percent(right) => truth,
        Habit::Able(_) | Habit::Blind => rng.below(answers),
        Habit::Constant(value) => value % answers,
        Habit::Copies(group) => sheet(item, group) % answers,
    }
}

fn priors(labelers: usize, rng: &mut Rng) -> Vec<GoldPrior> {
    if rng.percent(60) {
        return Vec::new();
    }
    let mut prior = || GoldPrior {
        alpha_milli: rng.below(30_000) as u32,
        beta_milli: rng.below(10_000) as u32,
    };
    (0..labelers).map(|_| prior()).collect()
}

struct Classes {
    items: u32,
    labelers: u32,
    classes: u16,
    votes: Vec<(Vote, u32)>,
    timed: bool,
    machines: Vec<u32>,
    gold: BTreeMap<u32, u16>,
    priors: Vec<GoldPrior>,
}

/// Class labels.
pub fn class(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let classes = if rng.percent(5) {
        200
    } else {
        2 + rng.below(6)
    };
    let mut crowd = Classes {
        items,
        labelers: habits.len() as u32,
        classes: classes as u16,
        votes: Vec::new(),
        timed: rng.percent(30),
        machines: rng.some_of(2, habits.len() as u32),
        gold: BTreeMap::new(),
        priors: priors(habits.len(), rng),
    };
    let known = 20 * rng.below(2);
    for item in 0..items {
        // Low classes are more frequent.
        let truth = rng.below(classes).min(rng.below(classes));
        if rng.percent(known) {
            crowd.gold.insert(item, truth as u16);
        }
        for labeler in rng.some_of(8, crowd.labelers) {
            let label = choose(habits[labeler as usize], item, truth, classes, rng) as u16;
            let seconds = rng.below(1 + 20 * u64::from(labeler % 3)) as u32;
            let vote = Vote {
                item,
                labeler,
                label,
            };
            crowd.votes.push((vote, seconds));
        }
    }
    Box::new(crowd)
}

impl Crowd for Classes {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let votes: Vec<Vote> = self.votes.iter().map(|vote| vote.0).collect();
        let mut seconds = Vec::new();
        if self.timed {
            seconds.extend(self.votes.iter().map(|vote| vote.1));
        }
        let input = ClassInput {
            items: self.items,
            labelers: self.labelers,
            classes: self.classes,
            votes: &votes,
            gold: &self.gold,
            priors: &self.priors,
        };
        let signals = Signals {
            seconds: &seconds,
            machines: &self.machines,
        };
        let result = admitted(infer_class_with(&input, &signals));
        // The table is private; the posteriors and the skills come from it.
        let rows: Vec<_> = (0..self.items)
            .map(|item| result.posteriors_of(item))
            .collect();
        write!(
            out,
            "{:?}{:?}{:?}{}{rows:?}",
            result.items, result.labelers, result.clusters, result.rounds
        )
    }
}

struct Sets {
    items: u32,
    labelers: u32,
    labels: u16,
    votes: Vec<MultiVote>,
    gold: BTreeMap<u32, Vec<u16>>,
    priors: Vec<GoldPrior>,
}

/// Sets of labels.
pub fn multi(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let labels = 1 + rng.below(8) as u16;
    let mut crowd = Sets {
        items,
        labelers: habits.len() as u32,
        labels,
        votes: Vec::new(),
        gold: BTreeMap::new(),
        priors: priors(habits.len(), rng),
    };
    let set = |bits: u64| (0..labels).filter(|label| bits >> label & 1 == 1).collect();
    let answers = 1 << labels;
    for item in 0..items {
        let truth = rng.below(answers) & rng.below(answers);
        if rng.percent(10) {
            crowd.gold.insert(item, set(truth));
        }
        for labeler in rng.some_of(6, crowd.labelers) {
            let own = choose(habits[labeler as usize], item, truth, answers, rng);
            let mut labels: Vec<u16> = set(if rng.percent(50) { own } else { own | truth });
            rng.shuffle(&mut labels);
            crowd.votes.push(MultiVote {
                item,
                labeler,
                labels,
            });
        }
    }
    Box::new(crowd)
}

impl Crowd for Sets {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
        for vote in &mut self.votes {
            rng.shuffle(&mut vote.labels);
        }
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_multi(&MultiInput {
            items: self.items,
            labelers: self.labelers,
            labels: self.labels,
            votes: &self.votes,
            gold: &self.gold,
            priors: &self.priors,
        }));
        write!(out, "{result:?}")
    }
}

struct Reviews {
    proposed: Vec<u16>,
    labelers: u32,
    classes: u16,
    votes: Vec<ReviewVote>,
    gold: BTreeMap<u32, u16>,
    priors: Vec<GoldPrior>,
}

/// Verdicts on proposed labels.
pub fn review(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let classes = 2 + rng.below(5);
    let mut crowd = Reviews {
        proposed: Vec::new(),
        labelers: habits.len() as u32,
        classes: classes as u16,
        votes: Vec::new(),
        gold: BTreeMap::new(),
        priors: priors(habits.len(), rng),
    };
    for item in 0..items {
        let truth = rng.below(classes);
        let proposed = if rng.percent(70) {
            truth
        } else {
            rng.below(classes)
        } as u16;
        crowd.proposed.push(proposed);
        if rng.percent(8) {
            crowd.gold.insert(item, truth as u16);
        }
        for labeler in rng.some_of(6, crowd.labelers) {
            let own = choose(habits[labeler as usize], item, truth, classes, rng) as u16;
            let verdict = if own == proposed {
                Verdict::Accept
            } else if rng.percent(30) {
                Verdict::Reject
            } else {
                Verdict::Fix(own)
            };
            crowd.votes.push(ReviewVote {
                item,
                labeler,
                verdict,
            });
        }
    }
    Box::new(crowd)
}

impl Crowd for Reviews {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_review(&ReviewInput {
            proposed: &self.proposed,
            labelers: self.labelers,
            classes: self.classes,
            votes: &self.votes,
            gold: &self.gold,
            priors: &self.priors,
        }));
        write!(out, "{result:?}")
    }
}

struct Values {
    items: u32,
    labelers: u32,
    scale: ValueScale,
    votes: Vec<ValueVote>,
    gold: BTreeMap<u32, i64>,
}

/// Ratings and numbers.
pub fn value(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let (min, step, steps) = match rng.below(4) {
        0 => (1, 1, 4),
        1 => (-50, 5, 20),
        2 => (0, 1, 10_000),
        _ => (-(1 << 40), 1 << 20, 1 << 21),
    };
    let scale = ValueScale {
        min,
        max: min + step * steps,
        step,
        tolerance: step * rng.from(0, steps / 4),
    };
    let mut crowd = Values {
        items,
        labelers: habits.len() as u32,
        scale,
        votes: Vec::new(),
        gold: BTreeMap::new(),
    };
    let at = |place: i64| min + step * place.clamp(0, steps);
    for item in 0..items {
        let truth = rng.from(0, steps);
        if rng.percent(8) {
            crowd.gold.insert(item, at(truth));
        }
        for labeler in rng.some_of(7, crowd.labelers) {
            let off = i64::from(labeler % 5) - 2;
            let place = match habits[labeler as usize] {
                Habit::Able(right) => {
                    let spread = steps * (100 - right as i64) / 100;
                    truth + off * steps / 40 + rng.from(-spread, spread) / 2
                }
                other => choose(other, item, 0, steps as u64 + 1, rng) as i64,
            };
            crowd.votes.push(ValueVote {
                item,
                labeler,
                value: at(place),
            });
        }
    }
    Box::new(crowd)
}

impl Crowd for Values {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_values(&ValueInput {
            items: self.items,
            labelers: self.labelers,
            scale: self.scale,
            votes: &self.votes,
            gold: &self.gold,
        }));
        write!(out, "{result:?}")
    }
}

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

struct Comparisons {
    objects: u32,
    labelers: u32,
    sided: bool,
    votes: Vec<Comparison>,
}

/// Comparisons of two objects; twelve votes per object.
pub fn pair(objects: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(objects, rng);
    let mut crowd = Comparisons {
        objects,
        labelers: habits.len() as u32,
        sided: rng.percent(50),
        votes: Vec::new(),
    };
    for vote in 0..if objects < 2 { 0 } else { 12 * objects } {
        let labeler = rng.below(u64::from(crowd.labelers)) as u32;
        let left = rng.below(u64::from(objects)) as u32;
        let right = (left + 1 + rng.below(u64::from(objects) - 1) as u32) % objects;
        let better = u64::from(left > right);
        let outcome = match choose(habits[labeler as usize], vote, better, 2, rng) {
            _ if rng.percent(5) => Outcome::Tie,
            0 => Outcome::Right,
            _ => Outcome::Left,
        };
        crowd.votes.push(Comparison {
            labeler,
            left,
            right,
            outcome,
        });
    }
    Box::new(crowd)
}

impl Crowd for Comparisons {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let result = admitted(infer_pairs(&PairInput {
            objects: self.objects,
            labelers: self.labelers,
            sided: self.sided,
            votes: &self.votes,
        }));
        write!(out, "{result:?}")
    }
}

struct Orders {
    objects: u32,
    labelers: u32,
    votes: Vec<(u32, Vec<u32>)>,
}

/// Orders of up to seven objects; three orders per object.
pub fn ranking(objects: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(objects, rng);
    let mut crowd = Orders {
        objects,
        labelers: habits.len() as u32,
        votes: Vec::new(),
    };
    for vote in 0..3 * objects {
        let labeler = rng.below(u64::from(crowd.labelers)) as u32;
        let mut order = rng.some_of(7, objects);
        let key = |&object: &u32| {
            let habit = habits[labeler as usize];
            choose(habit, vote, u64::from(object), u64::from(objects), rng)
        };
        order.sort_by_cached_key(key);
        crowd.votes.push((labeler, order));
    }
    Box::new(crowd)
}

impl Crowd for Orders {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let votes: Vec<Ranking<'_>> = self
            .votes
            .iter()
            .map(|(labeler, order)| Ranking {
                labeler: *labeler,
                order,
            })
            .collect();
        let result = admitted(infer_rankings(&RankingInput {
            objects: self.objects,
            labelers: self.labelers,
            votes: &votes,
        }));
        write!(out, "{result:?}")
    }
}

struct Texts {
    items: u32,
    labelers: u32,
    votes: Vec<(u32, u32, String)>,
    gold: BTreeMap<u32, String>,
}

/// Words of more than one script, with letters whose lower case has another length.
const WORDS: [&str; 24] = [
    "the",
    "The",
    "a",
    "giant",
    "giant,",
    "GIANT",
    "tree",
    "trees",
    "straße",
    "STRASSE",
    "İzmir",
    "izmir",
    "молоко",
    "МОЛОКО",
    "ὈΔΥΣΣΕΎΣ",
    "ὀδυσσεύς",
    "東京",
    "e\u{301}te",
    "été",
    "...",
    "-",
    "42",
    "'tis",
    "tis",
];

/// Transcriptions.
pub fn text(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let mut crowd = Texts {
        items,
        labelers: habits.len() as u32,
        votes: Vec::new(),
        gold: BTreeMap::new(),
    };
    let word = |rng: &mut Rng| rng.below(WORDS.len() as u64) as usize;
    let joined = |words: &[usize]| {
        let words: Vec<&str> = words.iter().map(|&word| WORDS[word]).collect();
        words.join(" ")
    };
    for item in 0..items {
        let truth: Vec<usize> = (0..rng.below(14)).map(|_| word(rng)).collect();
        if rng.percent(6) {
            crowd.gold.insert(item, joined(&truth));
        }
        for labeler in rng.some_of(6, crowd.labelers) {
            let mut own: Vec<usize> = Vec::new();
            let mut draw = |right: u64, rng: &mut Rng| {
                for &true_word in &truth {
                    match rng.below(100) {
                        hit if hit < right => own.push(true_word),
                        hit if hit % 3 == 0 => own.push(word(rng)),
                        hit if hit % 3 == 1 => own.extend([true_word, word(rng)]),
                        _ => {}
                    }
                }
            };
            match habits[labeler as usize] {
                Habit::Able(right) => draw(right, rng),
                Habit::Copies(group) => draw(60, &mut Rng(sheet(item, group))),
                Habit::Blind => own.extend((0..rng.below(9)).map(|_| word(rng))),
                Habit::Constant(value) => own.push(value as usize % WORDS.len()),
            }
            crowd.votes.push((item, labeler, joined(&own)));
        }
    }
    Box::new(crowd)
}

impl Crowd for Texts {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let votes: Vec<TextVote<'_>> = self
            .votes
            .iter()
            .map(|&(item, labeler, ref text)| TextVote {
                item,
                labeler,
                text,
            })
            .collect();
        let gold = self
            .gold
            .iter()
            .map(|(&item, text)| (item, text.as_str()))
            .collect();
        let result = admitted(infer_text(&TextInput {
            items: self.items,
            labelers: self.labelers,
            votes: &votes,
            gold: &gold,
        }));
        write!(out, "{result:?}")
    }
}
