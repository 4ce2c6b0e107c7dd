//! A second, plain implementation of the layer between yes-or-no questions and the class engine, for the references of the kinds that
//! stand on it. Only the class engine, which has a reference of its own, and the fixed-point primitives are shared.

use std::collections::BTreeMap;

use crate::consensus::draw::Rng;
use crate::consensus::fixed::{log2, normalise};
use crate::consensus::{ClassInput, GoldPrior, Vote, infer_class};

/// Q16 one.
const Q16: u128 = 1 << 16;

/// One answer: question, labeler, whether it was yes.
pub(in crate::consensus) type Answer = (u32, u32, bool);

/// What is found out about yes-or-no questions.
pub(in crate::consensus) struct Plain {
    /// Log2 odds of yes before any answer, Q16.
    pub prior: i64,
    /// How often yes is said when it is true and when it is not, Q16, and the group, per labeler.
    pub rows: Vec<(u32, u32, Option<u32>)>,
    /// Posterior of yes per question, Q16.
    pub posterior: Vec<u32>,
    /// Weight times chance of disagreeing by luck, per labeler, Q16.
    pub information: Vec<i128>,
    /// Skill per labeler in parts per million.
    pub skill_ppm: Vec<i64>,
}

impl Plain {
    pub fn new(
        questions: u32,
        labelers: u32,
        answers: &[Answer],
        gold: &BTreeMap<u32, bool>,
        priors: &[GoldPrior],
    ) -> Self {
        let votes: Vec<Vote> = answers
            .iter()
            .map(|&(item, labeler, yes)| Vote {
                item,
                labeler,
                label: yes.into(),
            })
            .collect();
        let gold_labels = gold
            .iter()
            .map(|(&item, &yes)| (item, yes.into()))
            .collect();
        let engine = infer_class(&ClassInput {
            items: questions,
            labelers,
            classes: 2,
            votes: &votes,
            gold: &gold_labels,
            priors,
        })
        .unwrap();
        let p = |question: u32| u128::from(engine.posteriors_of(question).unwrap()[1]);
        let weight = |question: &u32| if gold.contains_key(question) { 2 } else { 1 };
        // How often `of` says yes among questions that are yes, or that are not: yes-answers, answers, Q16.
        let rate = |of: &dyn Fn(u32) -> bool, real: bool| {
            let (mut yes_answers, mut all) = (0, 0);
            for &(question, labeler, yes) in answers {
                if of(labeler) {
                    let truth = if real { p(question) } else { Q16 - p(question) };
                    all += weight(&question) * truth;
                    yes_answers += weight(&question) * truth * u128::from(yes);
                }
            }
            (yes_answers, all)
        };
        let crowd = |real: bool| {
            let (yes, all) = rate(&|_| true, real);
            (2 * yes + Q16) * Q16 / (2 * all + 2 * Q16)
        };
        let own = |labeler: u32, real: bool| {
            let (yes, all) = rate(&|other| other == labeler, real);
            let drawn = (yes + 3 * crowd(real)) * Q16 / (all + 3 * Q16);
            drawn.clamp(1, Q16 - 1) as u32
        };
        let group = |labeler: u32| {
            let mut numbers = 0..engine.clusters.len();
            let number = numbers.find(|&number| engine.clusters[number].contains(&labeler));
            number.map(|number| number as u32)
        };
        let rows: Vec<_> = (0..labelers)
            .map(|labeler| (own(labeler, true), own(labeler, false), group(labeler)))
            .collect();
        let yes: u128 = (0..questions).map(p).sum();
        let no = u128::from(questions) * Q16 - yes;
        let log = |mass: u128| log2((mass + Q16) as u64);
        let mut plain = Self {
            prior: log(yes) - log(no),
            rows,
            posterior: Vec::new(),
            information: Vec::new(),
            skill_ppm: engine.labelers.iter().map(|own| own.skill_ppm).collect(),
        };
        plain.posterior = (0..questions)
            .map(|question| match gold.get(&question) {
                Some(&yes) => u32::from(yes) << 16,
                None => plain.of_question(answers, question),
            })
            .collect();
        let informative = |question: u32| {
            let voters = answers.iter().filter(|answer| answer.0 == question).count();
            gold.contains_key(&question) || voters > 1
        };
        for labeler in 0..labelers {
            // Every own answer against every truth that the labeler met: how much of it differs.
            let met: Vec<(u128, u128, bool)> = answers
                .iter()
                .filter(|answer| answer.1 == labeler && informative(answer.0))
                .map(|answer| {
                    let truth = u128::from(plain.posterior[answer.0 as usize]);
                    (weight(&answer.0), truth, answer.2)
                })
                .collect();
            let total: u128 = met.iter().map(|one| one.0).sum();
            let mut apart = 0;
            for &(weight, _, said) in &met {
                for &(other, truth, _) in &met {
                    apart += weight * other * if said { Q16 - truth } else { truth };
                }
            }
            plain.information.push((apart / total.max(1)) as i128);
        }
        plain
    }

    /// Posterior of yes of one question from the answers to it and the rows.
    fn of_question(&self, answers: &[Answer], question: u32) -> u32 {
        let mut odds = self.prior;
        for &(_, labeler, yes) in answers.iter().filter(|answer| answer.0 == question) {
            let (hit, alarm, group) = self.rows[labeler as usize];
            let said = |rate: u32| u64::from(if yes { rate } else { (1 << 16) - rate });
            let alike = answers.iter().filter(|other| {
                other.0 == question && group.is_some() && self.rows[other.1 as usize].2 == group
            });
            odds += (log2(said(hit)) - log2(said(alarm))) / alike.count().max(1) as i64;
        }
        let mut out = [0; 2];
        normalise(&mut [0, odds], &mut out);
        out[1]
    }
}

/// Answers of a small crowd, or now and then of one that is large enough for groups: number of items, labelers, then for each vote item,
/// labeler and a number of up to `bits` bits that most agree on.
pub(in crate::consensus) fn draw(
    number: u32,
    bits: u32,
    rng: &mut Rng,
) -> (u32, u32, Vec<(u32, u32, u64)>) {
    let large = number.is_multiple_of(100);
    let items = if large { 80 } else { rng.below(8) as u32 };
    let labelers = 1 + rng.below(6) as u32 + u32::from(large) * 5;
    let density = if large { 90 } else { 10 + rng.below(91) };
    let mut votes = Vec::new();
    for item in 0..items {
        let truth = rng.below(1 << bits);
        let copied = rng.below(1 << bits);
        for labeler in 0..labelers {
            if rng.percent(density) {
                let own = match (large, labeler) {
                    (true, 0..3) => copied,
                    _ if rng.percent(70) => truth,
                    _ => rng.below(1 << bits),
                };
                votes.push((item, labeler, own));
            }
        }
    }
    rng.shuffle(&mut votes);
    (items, labelers, votes)
}

/// Reputation for everybody, or for nobody.
pub(in crate::consensus) fn priors(labelers: u32, rng: &mut Rng) -> Vec<GoldPrior> {
    let count = labelers * u32::from(rng.percent(30));
    let mut prior = || GoldPrior {
        alpha_milli: rng.below(20_000) as u32,
        beta_milli: rng.below(20_000) as u32,
    };
    (0..count).map(|_| prior()).collect()
}
