//! What a finished task leaves behind: labels with posteriors, each labeler's result with its reason, all votes, and the money.

use serde::{Deserialize, Serialize};

use super::state::{CancelReason, GoldState};
use crate::{
    amount::Amount,
    id::{Account, TaskId},
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
}
