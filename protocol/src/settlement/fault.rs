//! Faults of payout trees: what `Disputes` takes as proof against the signers of a header, found among the leaves that they laid out.
//!
//! ```text
//! header, its leaves (payout and audit), the parent's leaves --> find --> the first fault that the contract can see, as data
//! ```
//! A right pair of trees has no such leaves, so nothing here can be turned against an honest committee. What no leaf shows (a wrong score, a
//! newcomer's pay given to somebody else, a tree of another depth, from which nobody can claim) is for the registry
//! (`protocol/decisions/0012-the-registry-overrules.md`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    id::{Account, Hash},
    lane::PayoutFile,
    merkle::{self, Misfit, Places},
    message::EpochHeader,
};

/// What stands in one place of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<L> {
    /// Nothing.
    Empty,
    /// A leaf.
    Leaf(L),
    /// A node of which only the hash is known.
    Other(Hash),
}

/// What a payout leaf says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Who is owed.
    pub payee: Account,
    /// All that was ever owed.
    pub total: Amount,
}

/// What an audit leaf says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The payout leaf that it repeats.
    pub payout: Payout,
    /// Sum of the totals before it.
    pub before: Amount,
}

impl Payout {
    fn hash(&self) -> Hash {
        PayoutFile::leaf(&self.payee, self.total)
    }
}

impl Audit {
    fn hash(&self) -> Hash {
        PayoutFile::audit_leaf(&self.payout.payee, self.payout.total, self.before)
    }

    /// The sum up to and with this leaf; `None` past 2^128, which no header can owe.
    fn after(&self) -> Option<Amount> {
        self.before.checked_add(self.payout.total)
    }
}

fn nodes<L>(row: &[Place<L>], hash: impl Fn(&L) -> Hash) -> Vec<Hash> {
    let node = |place: &Place<L>| match place {
        Place::Empty => Hash::ZERO,
        Place::Leaf(leaf) => hash(leaf),
        Place::Other(node) => *node,
    };
    row.iter().map(node).collect()
}

/// The audit tree that belongs to these payout leaves.
pub fn audit_of(payouts: &[Place<Payout>]) -> Vec<Place<Audit>> {
    let mut before = Amount::ZERO;
    let audit = |place: &Place<Payout>| {
        let Place::Leaf(payout) = place else {
            return Place::Empty;
        };
        let leaf = Audit {
            payout: *payout,
            before,
        };
        before = leaf.after().unwrap_or(Amount(u128::MAX));
        Place::Leaf(leaf)
    };
    payouts.iter().map(audit).collect()
}

/// The leaves of a file that a node keeps.
pub fn places_of(file: &PayoutFile) -> Vec<Place<Payout>> {
    let leaves = file.leaves.iter();
    leaves
        .map(|(payee, total)| {
            Place::Leaf(Payout {
                payee: *payee,
                total: *total,
            })
        })
        .collect()
}

/// A payout leaf with its proof (`Disputes.PayoutLeaf`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayoutLeaf {
    /// Who is owed.
    pub payee: Account,
    /// All that was ever owed.
    pub total: Amount,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

/// An audit leaf with its proof (`Disputes.AuditLeaf`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditLeaf {
    /// Who is owed.
    pub payee: Account,
    /// All that was ever owed.
    pub total: Amount,
    /// Sum of the totals before it.
    pub before: Amount,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

/// A fault of a header's trees with everything that `Disputes` wants to see of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreeFault {
    /// `proveDisorder`: two payout leaves that do not ascend by payee.
    Disorder {
        /// The one that stands before.
        first: PayoutLeaf,
        /// The one that stands behind it.
        second: PayoutLeaf,
    },
    /// `provePlace`: an empty place below the number of leaves, or one beyond it that is not empty.
    Place {
        /// Of the audit tree, otherwise of the payout tree.
        audit: bool,
        /// What stands there; zero when it is empty.
        node: Hash,
        /// The place.
        index: u64,
        /// Siblings from the bottom.
        proof: Vec<Hash>,
    },
    /// `proveNoAudit`: money is owed, and no audit tree shows what is.
    NoAudit,
    /// `proveMismatch`: an audit leaf that repeats something else than what stands in its place of the payout tree.
    Mismatch {
        /// The audit leaf.
        audit: AuditLeaf,
        /// What stands in its place of the payout tree.
        node: Hash,
        /// Siblings of that from the bottom.
        proof: Vec<Hash>,
    },
    /// `proveEdge`: the first sum is not zero, or the last one is not what the header owes.
    Edge(AuditLeaf),
    /// `proveSum`: two neighbouring audit leaves, the second of which does not continue the sum of the first.
    Sum {
        /// The first.
        first: AuditLeaf,
        /// Its neighbour.
        second: AuditLeaf,
    },
    /// `proveShrunk`: a payee is owed less than in the epoch before.
    Shrunk {
        /// Header of the epoch before.
        parent: Box<EpochHeader>,
        /// The payee's leaf of then.
        earlier: PayoutLeaf,
        /// The payee's leaf of the accused header.
        now: PayoutLeaf,
    },
    /// `proveOmitted`: a payee of the epoch before is missing.
    Omitted {
        /// Header of the epoch before.
        parent: Box<EpochHeader>,
        /// The payee's leaf of then.
        earlier: PayoutLeaf,
        /// The neighbours it would stand between; one when it would stand before or behind all.
        around: Vec<PayoutLeaf>,
    },
}

/// Why nothing can be said about a header from these leaves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeavesError {
    /// They are the leaves of something else.
    #[error("the {0} leaves are not those of the header: they give another root")]
    Root(Tree),
    /// The signers laid out a tree that no whole proof fits.
    #[error(
        "the {tree} leaves are those of the header, but their tree has {levels} levels where the header's number of leaves asks for {needed}: \
         nobody can claim from it, and no proof reaches its places; only the validators can take the epoch back"
    )]
    Shallow {
        /// Which tree.
        tree: Tree,
        /// Levels it has.
        levels: usize,
        /// Levels it should have.
        needed: usize,
    },
    /// The other header is not the parent.
    #[error("the header of the epoch before is not the parent of the accused one")]
    Parent,
}

/// A tree by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// What is owed.
    Payout,
    /// What is owed with the sums.
    Audit,
    /// What was owed in the epoch before.
    Parent,
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Payout => "payout",
            Self::Audit => "audit",
            Self::Parent => "parent's payout",
        })
    }
}

impl Tree {
    fn places(self, nodes: Vec<Hash>, root: &Hash, count: u32) -> Result<Places, LeavesError> {
        Places::new(nodes, root, count).map_err(|misfit| match misfit {
            Misfit::Root => LeavesError::Root(self),
            Misfit::Shallow { levels, needed } => LeavesError::Shallow {
                tree: self,
                levels,
                needed,
            },
        })
    }
}

/// A row of payout leaves under a root.
struct Payouts<'a> {
    row: &'a [Place<Payout>],
    places: Places,
}

impl<'a> Payouts<'a> {
    fn new(tree: Tree, row: &'a [Place<Payout>], of: &EpochHeader) -> Result<Self, LeavesError> {
        let nodes = nodes(row, Payout::hash);
        let places = tree.places(nodes, &of.payout_root, of.payout_count)?;
        Ok(Self { row, places })
    }

    /// Leaves that a whole proof reaches, with their places.
    fn leaves(&self) -> impl Iterator<Item = (u64, Payout)> {
        let row = if self.places.are_leaves() {
            self.row
        } else {
            &[]
        };
        let leaf = |(i, place): (usize, &Place<Payout>)| match place {
            Place::Leaf(leaf) => Some((i as u64, *leaf)),
            _ => None,
        };
        row.iter().enumerate().filter_map(leaf)
    }

    fn leaf(&self, (index, leaf): (u64, Payout)) -> PayoutLeaf {
        PayoutLeaf {
            payee: leaf.payee,
            total: leaf.total,
            index,
            proof: self.places.proof(index),
        }
    }
}

/// A row of audit leaves under a root.
struct Audits<'a> {
    row: &'a [Place<Audit>],
    places: Places,
}

impl<'a> Audits<'a> {
    fn new(row: &'a [Place<Audit>], of: &EpochHeader) -> Result<Self, LeavesError> {
        let nodes = nodes(row, Audit::hash);
        let places = Tree::Audit.places(nodes, &of.audit_root, of.payout_count)?;
        Ok(Self { row, places })
    }

    fn leaves(&self) -> impl Iterator<Item = (u64, Audit)> {
        let row = if self.places.are_leaves() {
            self.row
        } else {
            &[]
        };
        let leaf = |(i, place): (usize, &Place<Audit>)| match place {
            Place::Leaf(leaf) => Some((i as u64, *leaf)),
            _ => None,
        };
        row.iter().enumerate().filter_map(leaf)
    }

    fn leaf(&self, (index, leaf): (u64, Audit)) -> AuditLeaf {
        AuditLeaf {
            payee: leaf.payout.payee,
            total: leaf.payout.total,
            before: leaf.before,
            index,
            proof: self.places.proof(index),
        }
    }
}

/// The first fault that the leaves of a header show; none when they show none.
///
/// The leaves stand in tree order, as the signers laid them out. Without `audits` (nobody but the signers knows that tree), only faults of
/// the payout tree are found; without the `parent`, its header and leaves, none that shows in a payee of the epoch before.
///
/// # Errors
/// [`LeavesError`] when a row is not the one that its header names.
pub fn find(
    header: &EpochHeader,
    payouts: &[Place<Payout>],
    audits: Option<&[Place<Audit>]>,
    parent: Option<(&EpochHeader, &[Place<Payout>])>,
) -> Result<Option<TreeFault>, LeavesError> {
    if let Some(fault) = TreeFault::of_header(header) {
        return Ok(Some(fault));
    }
    let payouts = Payouts::new(Tree::Payout, payouts, header)?;
    if header.payout_root == Hash::ZERO {
        // Nothing is proven under the zero root; the chain takes it for a tree without leaves only.
        return Ok(None);
    }
    let audits = audits.map(|row| Audits::new(row, header)).transpose()?;
    let parent = match parent {
        Some((older, _)) if older.hash() != header.parent => return Err(LeavesError::Parent),
        Some((older, row)) => Some((older, Payouts::new(Tree::Parent, row, older)?)),
        None => None,
    };
    let count = header.payout_count;
    let found = place(false, &payouts.places, count)
        .or_else(|| place(true, &audits.as_ref()?.places, count))
        .or_else(|| disorder(&payouts))
        .or_else(|| sums(header, &payouts, audits.as_ref()?))
        .or_else(|| {
            let (older, row) = parent.as_ref()?;
            lost(header, &payouts, older, row)
        });
    Ok(found)
}

fn place(audit: bool, places: &Places, count: u32) -> Option<TreeFault> {
    let count = u64::from(count);
    let hole = places.first(0..count, true);
    let index = hole.or_else(|| places.first(count..places.width(), false))?;
    Some(TreeFault::Place {
        audit,
        node: places.node(index),
        index,
        proof: places.proof(index),
    })
}

fn disorder(payouts: &Payouts<'_>) -> Option<TreeFault> {
    let next = payouts.leaves().skip(1);
    let (first, second) = payouts
        .leaves()
        .zip(next)
        .find(|(a, b)| a.1.payee >= b.1.payee)?;
    Some(TreeFault::Disorder {
        first: payouts.leaf(first),
        second: payouts.leaf(second),
    })
}

fn sums(header: &EpochHeader, payouts: &Payouts<'_>, audits: &Audits<'_>) -> Option<TreeFault> {
    let mut last: Option<(u64, Audit)> = None;
    for here in audits.leaves() {
        let (index, leaf) = here;
        let node = payouts.places.node(index);
        if node != leaf.payout.hash() {
            return Some(TreeFault::Mismatch {
                audit: audits.leaf(here),
                node,
                proof: payouts.places.proof(index),
            });
        }
        let first = index == 0 && leaf.before != Amount::ZERO;
        let end = index + 1 == u64::from(header.payout_count);
        if first || (end && leaf.after() != Some(header.total_owed)) {
            return Some(TreeFault::Edge(audits.leaf(here)));
        }
        let before = last.filter(|(i, _)| i + 1 == index);
        if let Some(before) = before.filter(|(_, l)| l.after() != Some(leaf.before)) {
            return Some(TreeFault::Sum {
                first: audits.leaf(before),
                second: audits.leaf(here),
            });
        }
        last = Some(here);
    }
    None
}

/// Whoever is owed less than before, or is missing. The parent's leaves may stand in any order: it may be faulty too.
fn lost(
    header: &EpochHeader,
    payouts: &Payouts<'_>,
    older: &EpochHeader,
    earlier: &Payouts<'_>,
) -> Option<TreeFault> {
    // They ascend: no disorder was found.
    let known: Vec<(u64, Payout)> = payouts.leaves().collect();
    for then in earlier.leaves() {
        let (payee, total) = (then.1.payee, then.1.total);
        let behind = known.partition_point(|(_, leaf)| leaf.payee < payee);
        let right = known.get(behind);
        if let Some(now) = right.filter(|(_, leaf)| leaf.payee == payee) {
            if now.1.total < total {
                return Some(TreeFault::Shrunk {
                    parent: Box::new(older.clone()),
                    earlier: earlier.leaf(then),
                    now: payouts.leaf(*now),
                });
            }
            continue;
        }
        let left = behind.checked_sub(1).and_then(|i| known.get(i));
        let around = match (left, right) {
            (Some(l), Some(r)) if l.0 + 1 == r.0 => vec![*l, *r],
            (None, Some(r)) if r.0 == 0 => vec![*r],
            (Some(l), None) if l.0 + 1 == u64::from(header.payout_count) => vec![*l],
            // Something without a known payee stands there.
            _ => continue,
        };
        if total != Amount::ZERO {
            return Some(TreeFault::Omitted {
                parent: Box::new(older.clone()),
                earlier: earlier.leaf(then),
                around: around.into_iter().map(|l| payouts.leaf(l)).collect(),
            });
        }
    }
    None
}

impl PayoutLeaf {
    fn is_of(&self, header: &EpochHeader) -> bool {
        let node = PayoutFile::leaf(&self.payee, self.total);
        stands(&header.payout_root, header, &node, self.index, &self.proof)
    }
}

impl AuditLeaf {
    fn is_of(&self, header: &EpochHeader) -> bool {
        let node = PayoutFile::audit_leaf(&self.payee, self.total, self.before);
        stands(&header.audit_root, header, &node, self.index, &self.proof)
    }

    fn after(&self) -> Option<Amount> {
        self.before.checked_add(self.total)
    }
}

/// `Disputes._requireNode`: only whole proofs count.
fn stands(root: &Hash, header: &EpochHeader, node: &Hash, index: u64, proof: &[Hash]) -> bool {
    let whole = proof.len() == merkle::depth(header.payout_count);
    *root != Hash::ZERO && whole && merkle::verify(root, node, index, proof)
}

impl TreeFault {
    /// A fault that the header shows without any leaf.
    pub fn of_header(header: &EpochHeader) -> Option<Self> {
        if header.payout_count > 0 {
            return (header.audit_root == Hash::ZERO).then_some(Self::NoAudit);
        }
        // Without leaves the root is the only place, and has to be empty.
        let roots = [(false, header.payout_root), (true, header.audit_root)];
        let filled = roots.into_iter().find(|(_, root)| *root != Hash::ZERO);
        filled.map(|(audit, node)| Self::Place {
            audit,
            node,
            index: 0,
            proof: Vec::new(),
        })
    }

    /// Whether the proof convicts the signers of `header`: what the contract decides.
    #[must_use]
    pub fn convicts(&self, header: &EpochHeader) -> bool {
        let count = u64::from(header.payout_count);
        match self {
            Self::Disorder { first, second } => {
                first.is_of(header)
                    && second.is_of(header)
                    && first.index < second.index
                    && first.payee >= second.payee
            }
            Self::Place {
                audit,
                node,
                index,
                proof,
            } => {
                let root = if *audit {
                    &header.audit_root
                } else {
                    &header.payout_root
                };
                stands(root, header, node, *index, proof)
                    && (*index < count) == (*node == Hash::ZERO)
            }
            Self::NoAudit => count != 0 && header.audit_root == Hash::ZERO,
            Self::Mismatch { audit, node, proof } => {
                audit.is_of(header)
                    && stands(&header.payout_root, header, node, audit.index, proof)
                    && *node != PayoutFile::leaf(&audit.payee, audit.total)
            }
            Self::Edge(leaf) => {
                let start = leaf.index == 0 && leaf.before != Amount::ZERO;
                let end = leaf.index.checked_add(1) == Some(count)
                    && leaf.after() != Some(header.total_owed);
                leaf.is_of(header) && (start || end)
            }
            Self::Sum { first, second } => {
                first.is_of(header)
                    && second.is_of(header)
                    && first.index.checked_add(1) == Some(second.index)
                    && first.after() != Some(second.before)
            }
            Self::Shrunk {
                parent,
                earlier,
                now,
            } => {
                parent.hash() == header.parent
                    && earlier.is_of(parent)
                    && now.is_of(header)
                    && earlier.payee == now.payee
                    && now.total < earlier.total
            }
            Self::Omitted {
                parent,
                earlier,
                around,
            } => {
                let payee = earlier.payee;
                let missing = match around.as_slice() {
                    [one] => {
                        (one.index == 0 && payee < one.payee)
                            || (one.index.checked_add(1) == Some(count) && payee > one.payee)
                    }
                    [left, right] => {
                        left.index.checked_add(1) == Some(right.index)
                            && left.payee < payee
                            && payee < right.payee
                    }
                    _ => false,
                };
                missing
                    && parent.hash() == header.parent
                    && earlier.is_of(parent)
                    && earlier.total != Amount::ZERO
                    && around.iter().all(|leaf| leaf.is_of(header))
            }
        }
    }

    /// What is wrong, in words; `amount` writes amounts.
    pub fn describe(&self, amount: impl Fn(Amount) -> String) -> String {
        match self {
            Self::Disorder { first, second } if first.payee == second.payee => format!(
                "payee 0x{} stands twice in the payout tree, in places {} and {}",
                first.payee, first.index, second.index
            ),
            Self::Disorder { first, second } => format!(
                "the payout tree is out of order: payee 0x{} in place {} stands before payee 0x{} in place {}",
                first.payee, first.index, second.payee, second.index
            ),
            Self::Place {
                audit, node, index, ..
            } => {
                let tree = if *audit { Tree::Audit } else { Tree::Payout };
                if *node == Hash::ZERO {
                    format!(
                        "place {index} of the {tree} tree is empty, below the number of leaves that the header names"
                    )
                } else {
                    format!(
                        "place {index} of the {tree} tree is filled, beyond the number of leaves that the header names"
                    )
                }
            }
            Self::NoAudit => "the header owes money and has no audit tree".to_owned(),
            Self::Mismatch { audit, node, .. } => format!(
                "place {} of the audit tree says that payee 0x{} is owed {}, and the payout tree holds something else there (node 0x{node})",
                audit.index,
                audit.payee,
                amount(audit.total)
            ),
            Self::Edge(leaf) if leaf.index == 0 && leaf.before != Amount::ZERO => format!(
                "the sums of the audit tree start at {} instead of zero",
                amount(leaf.before)
            ),
            Self::Edge(leaf) => format!(
                "the audit tree sums up to {}, which is not what the header owes",
                leaf.after()
                    .map_or_else(|| "more than 2^128 base units".to_owned(), &amount)
            ),
            Self::Sum { first, second } => format!(
                "the sum of the audit tree does not continue from place {} to place {}: {} follows on {}",
                first.index,
                second.index,
                amount(second.before),
                first
                    .after()
                    .map_or_else(|| "more than 2^128 base units".to_owned(), &amount)
            ),
            Self::Shrunk { earlier, now, .. } => format!(
                "payee 0x{} is owed {} and was owed {} in the epoch before",
                now.payee,
                amount(now.total),
                amount(earlier.total)
            ),
            Self::Omitted { earlier, .. } => format!(
                "payee 0x{}, who was owed {} in the epoch before, is missing",
                earlier.payee,
                amount(earlier.total)
            ),
        }
    }
}

#[cfg(test)]
mod tests;
