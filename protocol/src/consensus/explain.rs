//! Why an item got its label and a labeler their pay, in one object that is checked from itself alone.
//!
//! What for: every label and every amount has a reason that its labeler, the client and a stranger can repeat without the rest of the task.
//! What it does not do: it does not say that its score root is the published one - the caller compares - and does not repeat the
//! skill, which follows from all votes on the labeler's items.
//! Invariants: an explanation that derives holds no number that the check has not met: every one is proven under the score root, derived, or
//! a term of the manifest; its encoding is canonical and at most [`EXPLANATION_BYTES_MAX`] long.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::class::{
    CaseError, ClassScoring, ItemCase, ItemClaim, LabelerClaim, case_without, check_item,
};
use super::error::ConsensusError;
use super::fixed::ONE;
use super::pay::{Pay, PayRule, pay};
use super::tree::verify;
use crate::amount::Amount;
use crate::codec::{self, DecodeError};
use crate::id::Hash;

/// Most bytes of an encoded explanation: enough for 1,024 votes with 256 classes, in bytes.
pub const EXPLANATION_BYTES_MAX: usize = 8 << 20;
/// Skill at which what was committed and not revealed is charged, in parts per million.
const WITHHELD_SKILL_PPM: i64 = -1_000_000;

/// What pay follows from, besides the labeler's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayTerms {
    /// Price per label.
    pub price: Amount,
    /// Skill that earns the full price, in parts per million.
    pub full_skill_ppm: u32,
    /// Largest loss, in parts per million of the full price.
    pub loss_cap_ppm: u32,
    /// Skill below which nothing is earned, in parts per million; a part of the method.
    pub least_skill_ppm: u32,
    /// Labels committed and never revealed.
    pub withheld: u64,
    /// Stake that losses may still take.
    pub bond: Amount,
}

impl PayTerms {
    /// Pay of a labeler with this result: the pay rule over all votes, nothing earned in a cluster, the worst loss for what was
    /// withheld, and all losses within the bond.
    #[must_use]
    pub fn reckon(&self, result: &super::class::LabelerResult) -> Pay {
        let rule = PayRule {
            price: self.price.0,
            full_skill_ppm: self.full_skill_ppm,
            loss_cap_ppm: self.loss_cap_ppm,
        };
        let mut sum = pay(&rule, u64::from(result.votes), result.skill_ppm);
        if result.cluster.is_some() {
            sum.earned = 0;
        }
        sum.lost = sum
            .lost
            .saturating_add(pay(&rule, self.withheld, WITHHELD_SKILL_PPM).lost)
            .min(self.bond.0);
        sum
    }
}

/// Terms and what came of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayClaim {
    /// Terms.
    pub terms: PayTerms,
    /// Owed to the labeler.
    pub earned: Amount,
    /// Owed by the labeler.
    pub lost: Amount,
}

/// Why an item got its label, and one of its voters their pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The item: heads with the algorithm id, votes, rows of the voters, result, proofs.
    pub case: ItemCase,
    /// The labeler's result.
    pub labeler: LabelerClaim,
    /// Its proof under the score's root over labelers.
    pub labeler_proof: Vec<Hash>,
    /// The label that the labeler gave.
    pub answer: u16,
    /// Weight of that vote, Q16: one, or a part of one in a cluster.
    pub weight: u32,
    /// Whether the answer was right, where the item is gold.
    pub gold_right: Option<bool>,
    /// Pay for the whole task, where there is any.
    pub pay: Option<PayClaim>,
}

/// What an explanation derives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The score root that it belongs to; compare it with the published one.
    pub score_root: Hash,
    /// Label, posterior and posteriors of the item.
    pub item: ItemClaim,
    /// The same if this vote were missing and the table remained as it is.
    pub without: ItemClaim,
    /// Weight of the vote, Q16.
    pub weight: u32,
    /// Whether the answer was right, where the item is gold.
    pub gold_right: Option<bool>,
    /// Pay, where there is any.
    pub pay: Option<Pay>,
}

/// Why an explanation does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The item's case shows nothing.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A field says something else than what follows from the rest.
    #[error("{field} is not what follows from the rest of the explanation")]
    Field {
        /// The field.
        field: &'static str,
    },
}

impl Mismatch {
    /// The part or field that is wrong.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Field { field } => field,
            Self::Case(error) => error.part(),
        }
    }
}

impl Explanation {
    /// Explains one vote of a scored task.
    ///
    /// # Errors
    /// [`ConsensusError::Missing`] for an item out of range or a labeler who did not vote on it; otherwise as [`ClassScoring::case`].
    pub fn of(
        scoring: &ClassScoring,
        item: u32,
        labeler: u32,
        terms: Option<PayTerms>,
    ) -> Result<Self, ConsensusError> {
        let case = scoring.case(item)?;
        let missing = ConsensusError::Missing {
            what: "voter on the item with number",
            number: labeler,
            count: case.input.labelers,
        };
        let answer = answer(&case, labeler).ok_or(missing.clone())?;
        let (labeler, labeler_proof) = scoring.labeler_case(labeler).ok_or(missing)?;
        let pay = terms.map(|terms| {
            let Pay { earned, lost } = terms.reckon(&labeler.result);
            PayClaim {
                terms,
                earned: Amount(earned),
                lost: Amount(lost),
            }
        });
        Ok(Self {
            weight: weight(&case, labeler.labeler),
            gold_right: case.votes.gold.map(|gold| gold.label == answer),
            answer,
            case,
            labeler,
            labeler_proof,
            pay,
        })
    }

    /// Repeats the decision from the object alone: proofs, posterior and label, weight, gold and pay.
    ///
    /// # Errors
    /// [`Mismatch`] names the first part that is not shown, or the first field that does not follow.
    pub fn rederive(&self) -> Result<Derived, Mismatch> {
        let holds =
            |holds: bool, field: &'static str| holds.then_some(()).ok_or(Mismatch::Field { field });
        let score_root = self.case.score.root();
        let checked = check_item(&self.case, &score_root)?;
        if let Some(field) = checked.wrong {
            return Err(Mismatch::Field { field });
        }
        let claim = &self.labeler;
        holds(
            verify(
                &self.case.score.labelers_root,
                &claim.hash(),
                claim.labeler,
                self.case.input.labelers,
                &self.labeler_proof,
            ),
            "labeler",
        )?;
        let answer = answer(&self.case, claim.labeler);
        holds(answer == Some(self.answer), "answer")?;
        let weight = weight(&self.case, claim.labeler);
        holds(weight == self.weight, "weight")?;
        let gold_right = self.case.votes.gold.map(|gold| gold.label == self.answer);
        holds(gold_right == self.gold_right, "gold_right")?;
        let pay = match &self.pay {
            None => None,
            Some(claimed) => {
                let least = PayRule::LEAST_SKILL_PPM;
                holds(claimed.terms.least_skill_ppm == least, "least_skill_ppm")?;
                let pay = claimed.terms.reckon(&claim.result);
                holds(pay.earned == claimed.earned.0, "earned")?;
                holds(pay.lost == claimed.lost.0, "lost")?;
                Some(pay)
            }
        };
        Ok(Derived {
            score_root,
            without: case_without(&self.case, claim.labeler)?,
            item: checked.derived,
            weight,
            gold_right,
            pay,
        })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes; what they say is only checked by [`Explanation::rederive`].
    ///
    /// # Errors
    /// [`DecodeError`] for too many bytes, or bytes that are not the one spelling of an explanation.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, EXPLANATION_BYTES_MAX)
    }
}

/// Position of a labeler's vote in a case.
fn position(case: &ItemCase, labeler: u32) -> Option<usize> {
    let mut votes = case.votes.votes.iter().chain(&case.votes.late);
    votes.position(|vote| vote.0 == labeler)
}

/// The label that a labeler gave.
fn answer(case: &ItemCase, labeler: u32) -> Option<u16> {
    let votes = case.votes.votes.iter().chain(&case.votes.late);
    votes
        .filter(|vote| vote.0 == labeler)
        .map(|vote| vote.1)
        .next()
}

/// Weight of a voter's vote, Q16; zero for somebody who did not vote.
fn weight(case: &ItemCase, labeler: u32) -> u32 {
    let cluster = |voter: usize| case.rows.get(voter).and_then(|voter| voter.row.cluster);
    let Some(own) = position(case, labeler) else {
        return 0;
    };
    if cluster(own).is_none() {
        return ONE;
    }
    let members = (0..case.rows.len()).filter(|&voter| cluster(voter) == cluster(own));
    ONE / (members.count() as u32).max(1)
}
