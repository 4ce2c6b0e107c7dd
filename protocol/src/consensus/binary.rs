//! Yes-or-no questions: the class engine finds the truth, a small table states it.
//!
//! What for: multi-label sets, review verdicts and the existence of a matched object are all binary questions. The class engine answers
//! them (with its gold, reputation and collusion clusters); from its posteriors follows one row per labeler - how often they say yes
//! when yes is true, and how often when it is not - and the published posterior of a question is computed from its answers and those
//! rows alone. So a dispute about one question needs the table and the answers to that question, nothing else.
//!
//! ```text
//! answers -> class engine (2 classes) -> posteriors -> table (hit, alarm, prior) -> posterior of each question
//! ```
//!
//! What it does not do: it makes no questions and pays nobody.
//! Invariants: rates lie strictly between zero and one; the evidence of an answer is below 2^21 in size (Q16), so the sum over
//! 2^24 answers stays below 2^45; members of one collusion cluster share the weight of one answer per question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::class::{ClassInput, ClassResult, GoldPrior, Vote, infer_class};
use super::error::ConsensusError;
use super::fixed::{ONE, log2, normalise, ratio};
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/binary/1";
/// Pseudo-answers that draw a labeler's rates towards the crowd's, in answers.
const RATE_STRENGTH: u64 = 3;
/// Largest log2 odds of yes before any answer, either way, Q16: 64 bits.
const PRIOR_MAX: u64 = 64 << 16;
/// Weight of a gold question in what is known about a labeler, in answers.
const GOLD_WEIGHT: u64 = 2;

/// Feeds the method's name and all its parameters to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    hash_parameters(hasher, &[RATE_STRENGTH, GOLD_WEIGHT]);
}

/// What is known about one labeler's answers to binary questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinaryRow {
    /// How often yes is said when yes is true, Q16, 1 to 65,535.
    pub hit: u32,
    /// How often yes is said when no is true, Q16, 1 to 65,535.
    pub alarm: u32,
    /// Collusion cluster whose members count as one voter.
    pub group: Option<u32>,
}

impl BinaryRow {
    /// Evidence of an answer for yes: log2 of the likelihood ratio, Q16.
    fn evidence(&self, yes: bool) -> i64 {
        let (hit, alarm) = (u64::from(self.hit), u64::from(self.alarm));
        if yes {
            log2(hit) - log2(alarm)
        } else {
            log2(u64::from(ONE) - hit) - log2(u64::from(ONE) - alarm)
        }
    }
}

/// Everything that the posterior of a binary question depends on besides its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryTable {
    /// Log2 odds of yes before any answer, Q16.
    pub prior: i64,
    /// One row per labeler.
    pub rows: Vec<BinaryRow>,
}

impl BinaryTable {
    /// Whether it lies within the ranges of a fitted table.
    pub(super) fn fits(&self) -> bool {
        let rate = |rate: u32| 0 < rate && rate < ONE;
        self.prior.unsigned_abs() <= PRIOR_MAX
            && self.rows.iter().all(|row| rate(row.hit) && rate(row.alarm))
    }

    /// Posterior of yes, Q16, from the answers (labeler, yes) to one question; answers of labelers outside the table are ignored.
    #[must_use]
    pub fn posterior(&self, answers: &[(u32, bool)]) -> u32 {
        let mut odds = self.prior;
        for &(labeler, yes) in answers {
            let Some(row) = self.rows.get(labeler as usize) else {
                continue;
            };
            let evidence = row.evidence(yes);
            odds += match row.group {
                None => evidence,
                Some(group) => evidence / self.members(answers, group),
            };
        }
        let mut logs = [0, odds];
        let mut out = [0; 2];
        normalise(&mut logs, &mut out);
        out[1]
    }

    /// Answers by members of one cluster, at least one.
    fn members(&self, answers: &[(u32, bool)], group: u32) -> i64 {
        let of_group = |labeler: u32| {
            self.rows
                .get(labeler as usize)
                .is_some_and(|row| row.group == Some(group))
        };
        (answers.iter().filter(|answer| of_group(answer.0)).count() as i64).max(1)
    }
}

/// Result of [`infer`].
pub(super) struct Judged {
    pub table: BinaryTable,
    /// Posterior of yes per question, Q16; gold is exact.
    pub posterior: Vec<u32>,
    /// What the engine says about labelers.
    pub engine: ClassResult,
    /// How much the answers of each labeler can tell, in Q16 answers: their weight times the chance of disagreeing by luck.
    pub information: Vec<u64>,
}

/// Answers binary questions; `votes` have label 1 for yes and 0 for no, as has `gold`.
///
/// # Errors
/// Those of the class engine.
pub(super) fn infer(
    questions: u32,
    labelers: u32,
    votes: &[Vote],
    gold: &BTreeMap<u32, u16>,
    priors: &[GoldPrior],
) -> Result<Judged, ConsensusError> {
    let input = ClassInput {
        items: questions,
        labelers,
        classes: 2,
        votes,
        gold,
        priors,
    };
    let engine = infer_class(&input)?;
    let mut sorted = votes.to_vec();
    sorted.sort_unstable();
    let table = table(&engine, labelers, questions, &sorted, gold);
    let mut answers = Vec::new();
    let mut posterior = Vec::with_capacity(questions as usize);
    let mut crowded = Vec::with_capacity(questions as usize);
    let mut rest = sorted.as_slice();
    for question in 0..questions {
        let count = rest.iter().take_while(|vote| vote.item == question).count();
        answers.clear();
        answers.extend(
            rest[..count]
                .iter()
                .map(|vote| (vote.labeler, vote.label == 1)),
        );
        rest = &rest[count..];
        crowded.push(count > 1);
        posterior.push(match gold.get(&question) {
            Some(&label) => u32::from(label) * ONE,
            None => table.posterior(&answers),
        });
    }
    let information = information(labelers, &sorted, gold, &posterior, &crowded);
    Ok(Judged {
        table,
        posterior,
        engine,
        information,
    })
}

/// Rates of all labelers from the engine's posteriors, drawn towards the crowd's.
fn table(
    engine: &ClassResult,
    labelers: u32,
    questions: u32,
    votes: &[Vote],
    gold: &BTreeMap<u32, u16>,
) -> BinaryTable {
    let one = u64::from(ONE);
    let of_yes = |question: u32| u64::from(engine.posteriors_of(question).map_or(0, |row| row[1]));
    // Per labeler: answers and yes-answers when yes is true, the same when no is true; Q16, below 2^42.
    let mut sums = vec![[0u64; 4]; labelers as usize];
    let mut crowd = [0u64; 4];
    for vote in votes {
        let weight = if gold.contains_key(&vote.item) {
            GOLD_WEIGHT
        } else {
            1
        };
        let p = of_yes(vote.item);
        let yes = u64::from(vote.label);
        let add = [p, p * yes, one - p, (one - p) * yes].map(|part| part * weight);
        for k in 0..4 {
            sums[vote.labeler as usize][k] += add[k];
            crowd[k] += add[k];
        }
    }
    // The crowd starts from one pseudo-answer that is right half of the time.
    let crowd_hit = u64::from(ratio(2 * crowd[1] + one, 2 * crowd[0] + 2 * one));
    let crowd_alarm = u64::from(ratio(2 * crowd[3] + one, 2 * crowd[2] + 2 * one));
    let mut rows: Vec<BinaryRow> = sums
        .iter()
        .map(|&[real, hits, unreal, alarms]| {
            let rate = |yes: u64, all: u64, common: u64| {
                ratio(yes + RATE_STRENGTH * common, all + RATE_STRENGTH * one).clamp(1, ONE - 1)
            };
            BinaryRow {
                hit: rate(hits, real, crowd_hit),
                alarm: rate(alarms, unreal, crowd_alarm),
                group: None,
            }
        })
        .collect();
    for (number, members) in engine.clusters.iter().enumerate() {
        for &labeler in members {
            rows[labeler as usize].group = Some(number as u32);
        }
    }
    let yes: u64 = (0..questions).map(of_yes).sum();
    let no = u64::from(questions) * one - yes;
    BinaryTable {
        prior: log2(yes + one) - log2(no + one),
        rows,
    }
}

/// Weight times (1 - E) of each labeler, Q16, E being the agreement by chance of their own yes-share with that of the truth.
fn information(
    labelers: u32,
    votes: &[Vote],
    gold: &BTreeMap<u32, u16>,
    posterior: &[u32],
    crowded: &[bool],
) -> Vec<u64> {
    let mut sums = vec![[0u64; 3]; labelers as usize];
    for vote in votes {
        let weight = match (gold.contains_key(&vote.item), crowded[vote.item as usize]) {
            (true, _) => GOLD_WEIGHT,
            (false, true) => 1,
            (false, false) => continue,
        };
        let sum = &mut sums[vote.labeler as usize];
        sum[0] += weight;
        sum[1] += weight * u64::from(vote.label);
        sum[2] += weight * u64::from(posterior[vote.item as usize]);
    }
    sums.iter()
        .map(|&[weight, yes, truth]| {
            if weight == 0 {
                return 0;
            }
            // Disagreement by chance: yes against no and no against yes; weights are below 2^25, so products stay below 2^67.
            let other = u128::from(weight) * u128::from(ONE) - u128::from(truth);
            let apart = u128::from(yes) * other + u128::from(weight - yes) * u128::from(truth);
            (apart / u128::from(weight)) as u64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_recomputed_from_its_answers_and_the_table_alone() {
        let votes: Vec<Vote> = (0..40u32)
            .flat_map(|item| {
                (0..5u32).map(move |labeler| Vote {
                    item,
                    labeler,
                    label: u16::from((item % 3 == 0) ^ ((item * 7 + labeler * 3) % 11 == 0)),
                })
            })
            .collect();
        let gold = BTreeMap::from([(1, 0), (3, 1)]);
        let judged = infer(40, 5, &votes, &gold, &[]).unwrap();
        for question in 0..40 {
            let answers: Vec<(u32, bool)> = votes
                .iter()
                .filter(|vote| vote.item == question)
                .map(|vote| (vote.labeler, vote.label == 1))
                .collect();
            let expected = match gold.get(&question) {
                Some(&label) => u32::from(label) * ONE,
                None => judged.table.posterior(&answers),
            };
            assert_eq!(judged.posterior[question as usize], expected);
            assert_eq!(
                judged.posterior[question as usize] * 2 > ONE,
                question % 3 == 0,
                "question {question}"
            );
        }
    }

    #[test]
    fn a_cluster_weighs_as_much_as_one_labeler() {
        let row = |group| BinaryRow {
            hit: 60_000,
            alarm: 6_000,
            group,
        };
        let table = BinaryTable {
            prior: 0,
            rows: vec![row(Some(0)), row(Some(0)), row(Some(0)), row(None)],
        };
        let ring = table.posterior(&[(0, true), (1, true), (2, true)]);
        let single = table.posterior(&[(3, true)]);
        assert!(ring.abs_diff(single) <= 8, "{ring} {single}");
        assert_eq!(table.posterior(&[]), ONE / 2);
    }
}
