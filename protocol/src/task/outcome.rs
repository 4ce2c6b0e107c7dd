//! What a finished task leaves behind: labels with posteriors, each labeler's result with its reason, all votes, and the money.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::{CancelReason, GoldState};
use crate::{
    amount::Amount,
    consensus::{ClassInput, ClassScoring, ConsensusError, GoldPrior, PayTerms, Vote},
    id::{Account, Hash, TaskId},
    lane::{BonusProof, ScoreProof},
    merkle::ShareTree,
};

/// Result of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemOutcome {
    /// The network's label; none without a single counted vote.
    pub label: Option<u16>,
    /// Its posterior in parts per million.
    pub posterior_ppm: u32,
    /// Counted votes.
    pub votes: u32,
    /// What a plain majority would have said.
    pub majority: Option<u16>,
    /// The label is opened gold.
    pub gold: bool,
}

/// Why a labeler got what it got: the rule that applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Skill at or above the manifest's full skill: full price.
    FullSkill,
    /// Skill above chance: price x skill / full skill.
    PartSkill,
    /// Answers not distinguishable from chance: no pay, and a loss in proportion when worse.
    NoSkill,
    /// Answers agree with a cluster far beyond what both share with others: no pay.
    Cluster,
    /// Committed and did not reveal: the worst quality loss.
    Unrevealed,
    /// Assigned and did not commit.
    Absent,
    /// Enrolled, but the draw gave nothing.
    NotAssigned,
}

impl Reason {
    /// One sentence for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::FullSkill => "skill at or above full skill: full price",
            Self::PartSkill => "skill above chance: price in proportion to skill",
            Self::NoSkill => "answers not distinguishable from chance",
            Self::Cluster => "answers copied within a group: no pay",
            Self::Unrevealed => "committed but did not reveal",
            Self::Absent => "assigned but did not answer",
            Self::NotAssigned => "enrolled, nothing assigned",
        }
    }
}

/// Result of one labeler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelerOutcome {
    /// Who.
    pub account: Account,
    /// Counted votes.
    pub votes: u32,
    /// Gold items answered.
    pub gold_seen: u32,
    /// Of them right.
    pub gold_right: u32,
    /// Skill above chance in parts per million; negative when worse than chance.
    pub skill_ppm: i64,
    /// Flagged cluster.
    pub cluster: Option<u32>,
    /// Pay.
    pub earned: Amount,
    /// Loss from the bond.
    pub lost: Amount,
    /// The rule that applied.
    pub reason: Reason,
}

/// Where the deposit and the bond went; `deposit + gold_bond = paid + fees + bond_shares + refund`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Locked for labels and fees.
    pub deposit: Amount,
    /// Locked against withheld gold.
    pub gold_bond: Amount,
    /// To labelers for labels.
    pub paid: Amount,
    /// To committee members.
    pub fees: Amount,
    /// Parts of the bond that went to labelers.
    pub bond_shares: Amount,
    /// Back to the client.
    pub refund: Amount,
}

impl Money {
    /// Whether every unit is accounted for.
    pub fn is_conserved(&self) -> bool {
        let checked =
            |parts: &[Amount]| parts.iter().try_fold(0u128, |sum, a| sum.checked_add(a.0));
        checked(&[self.deposit, self.gold_bond])
            == checked(&[self.paid, self.fees, self.bond_shares, self.refund])
    }
}

/// The score that a task was settled by, and what else than votes and gold it follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskScore {
    /// Classes of the task.
    pub classes: u16,
    /// Reputation that the labelers brought, in thousandths of right and wrong gold answers, in account order.
    pub priors: Vec<(u32, u32)>,
    /// What pay follows from besides the score, in account order.
    pub terms: Vec<PayTerms>,
    /// Input root.
    pub input: Hash,
    /// Score root.
    pub root: Hash,
    /// Shows that the epoch settled by this root; absent until the epoch is computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Box<ScoreProof>>,
}

/// Why a settled score cannot be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepeatError {
    /// Cancelled, or without a counted vote.
    #[error("task {0} was settled without a score")]
    Unscored(TaskId),
    /// Nobody settled this: votes, gold or reputation are not those of the score.
    #[error("the outcome's votes give score root {got}; it names {named}")]
    OtherRoot {
        /// Root that the votes give.
        got: Hash,
        /// Root that the outcome names.
        named: Hash,
    },
    /// The outcome holds something that cannot be scored.
    #[error(transparent)]
    Input(#[from] ConsensusError),
}

impl TaskOutcome {
    /// Who shares the income of the task's data set: every labeler's account by what the task paid it for labels. `None` when it paid for
    /// none.
    pub fn contributors(&self) -> Option<ShareTree> {
        let paid = self.labelers.iter().filter(|l| l.earned.0 > 0);
        ShareTree::new(paid.map(|l| (l.account, l.earned)).collect())
    }

    /// Scores the task again, for the case of any item ([`ClassScoring::case`]) and the explanation of any vote
    /// ([`Explanation::of`](crate::consensus::Explanation::of)).
    ///
    /// # Errors
    /// [`RepeatError`] for a task without a score, or when another score root comes out than the outcome names.
    pub fn scoring(&self) -> Result<ClassScoring, RepeatError> {
        let score = self
            .score
            .as_ref()
            .ok_or(RepeatError::Unscored(self.task))?;
        let vote = |&(item, labeler, label): &(u32, u32, u16)| Vote {
            item,
            labeler,
            label,
        };
        let votes: Vec<Vote> = self.votes.iter().map(vote).collect();
        let known = (0u32..)
            .zip(&self.items)
            .filter(|(_, item)| item.gold)
            .filter_map(|(number, item)| Some((number, item.label?)));
        let gold: BTreeMap<u32, u16> = known.collect();
        let prior = |&(alpha_milli, beta_milli): &(u32, u32)| GoldPrior {
            alpha_milli,
            beta_milli,
        };
        let priors: Vec<GoldPrior> = score.priors.iter().map(prior).collect();
        let scoring = ClassScoring::fit(&ClassInput {
            items: self.items.len() as u32,
            labelers: self.labelers.len() as u32,
            classes: score.classes,
            votes: &votes,
            gold: &gold,
            priors: &priors,
        })?;
        let (got, named) = (scoring.score_root(), score.root);
        if got == named {
            Ok(scoring)
        } else {
            Err(RepeatError::OtherRoot { got, named })
        }
    }
}

/// A finished task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOutcome {
    /// Task.
    pub task: TaskId,
    /// Set when it was refunded unworked.
    pub cancelled: Option<CancelReason>,
    /// Per item.
    pub items: Vec<ItemOutcome>,
    /// Per labeler, in account order.
    pub labelers: Vec<LabelerOutcome>,
    /// All counted votes: (item, labeler index, label).
    pub votes: Vec<(u32, u32, u16)>,
    /// How each wave's gold came out.
    pub waves: Vec<GoldState>,
    /// Money.
    pub money: Money,
    /// The score that it was settled by; none for a cancelled task or one without a counted vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<TaskScore>,
    /// How bonuses in partner tokens are shared; absent until the epoch is computed, and for free labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bonus: Option<Box<BonusProof>>,
}
