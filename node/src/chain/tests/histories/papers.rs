//! Trees that need not fit together, the proofs that come out of them, and both as the contracts want them.

use alloy::primitives::B256;
use assay_protocol::{
    lane::{Claim, PayoutFile, SubtreeClaim},
    merkle::{self, AUDIT_LEAF, LOSS_LEAF, Tree},
    message::{EpochHeader, SettledTask},
    settlement::{
        Evidence,
        fault::{AuditLeaf, PayoutLeaf, TreeFault},
    },
};

use super::{
    super::{
        super::{
            bindings::{Disputes, EpochAnchor, Registry},
            facts::abi_header,
            plan::Step,
            prove,
        },
        *,
    },
    Dice,
};

/// The payout and audit trees of an epoch.
#[derive(Clone)]
pub(super) struct Trees {
    /// What the payout tree was made from.
    pub leaves: Vec<(Account, Amount)>,
    /// What stands at its places; zero for nothing.
    nodes: Vec<Hash>,
    /// (payee, total, sum before); empty for no tree.
    audit: Vec<(Account, Amount, Amount)>,
    /// Leaves that the header names.
    pub count: u32,
    /// Whether the header's root differs behind the bytes that a distributor keeps.
    tail: bool,
}

impl Trees {
    /// Trees that owe `owed` in all, what `base` says and more; every third time with something wrong in them.
    pub(super) fn deal(
        dice: &mut Dice,
        base: &[(Account, Amount)],
        owed: u128,
        extra: &[Account],
    ) -> Self {
        let mut owes: BTreeMap<Account, u128> = BTreeMap::new();
        for (payee, total) in base.iter().filter(|l| l.0 != Account::default()) {
            let before = owes.entry(*payee).or_default();
            *before = total.0.max(*before);
        }
        let mut sum: u128 = owes.values().sum();
        for total in owes.values_mut() {
            let less = sum.saturating_sub(owed).min(*total);
            *total -= less;
            sum -= less;
        }
        for round in 0..3 {
            let rest = owed - sum;
            let more = if round == 2 {
                rest
            } else {
                dice.units(rest + 1)
            };
            let payee = match dice.pick(extra) {
                Some(odd) if dice.one_in(6) => odd,
                _ => Account([0xa1 + dice.below(7) as u8; 20]),
            };
            *owes.entry(payee).or_default() += more;
            sum += more;
        }
        let mut rows: Vec<(Account, u128)> = owes.into_iter().filter(|l| l.1 != 0).collect();
        let wrong = if dice.one_in(3) && !rows.is_empty() {
            dice.below(13)
        } else {
            usize::MAX
        };
        let at = dice.below(rows.len());
        let next = (at + 1) % rows.len().max(1);
        let some = 1 + dice.units(50);
        let moved = rows.get(at).map_or(0, |l| l.1.min(some));
        match wrong {
            0 => rows.swap(at, next),
            1 => rows[next].0 = rows[at].0,
            2 => rows[at].1 += some,
            3 => {
                rows[at].1 -= moved;
                rows[next].1 += moved;
            }
            4 if rows.len() > 1 => {
                rows[next].1 += rows[at].1;
                rows.remove(at);
            }
            5 => {
                rows[at].1 -= moved;
                rows.insert(0, (Account::default(), moved));
            }
            _ => {}
        }
        let mut before = 0;
        let audit = rows.iter().map(|(payee, total)| {
            before += total;
            (*payee, Amount(*total), Amount(before - total))
        });
        let mut audit: Vec<_> = audit.collect();
        let mut count = rows.len() as u32;
        let shift = |row: &mut (Account, Amount, Amount)| row.2 = Amount(row.2.0 + 1);
        match wrong {
            6 => rows[at].1 += some,
            7 => audit.clear(),
            8 => audit.iter_mut().for_each(shift),
            9 => audit.iter_mut().skip(next).for_each(shift),
            10 if merkle::depth(count - 1) == merkle::depth(count) => count -= 1,
            _ => {}
        }
        let leaves = rows.iter().map(|(payee, total)| (*payee, Amount(*total)));
        let leaves: Vec<(Account, Amount)> = leaves.collect();
        let mut nodes: Vec<Hash> = leaves.iter().map(|l| PayoutFile::leaf(&l.0, l.1)).collect();
        if wrong == 11 {
            nodes[at] = Hash::ZERO;
        }
        Self {
            leaves,
            nodes,
            audit,
            count,
            tail: wrong == 12,
        }
    }

    fn payouts(&self) -> Tree {
        Tree::new(self.nodes.clone())
    }

    fn audits(&self) -> Tree {
        let leaves = self.audit.iter().map(|(payee, total, before)| {
            let (total, before) = (total.0.to_be_bytes(), before.0.to_be_bytes());
            merkle::leaf(AUDIT_LEAF, &[&payee.0, &total, &before])
        });
        Tree::new(leaves.collect())
    }

    pub(super) fn payout_root(&self) -> Hash {
        let mut root = self.payouts().root();
        root.0[31] ^= u8::from(self.tail);
        root
    }

    pub(super) fn audit_root(&self) -> Hash {
        self.audits().root()
    }

    pub(super) fn claim(&self, header: &EpochHeader, at: usize) -> Option<Claim> {
        let (payee, total) = *self.leaves.get(at)?;
        let tree = self.payouts();
        Some(Claim {
            lane: header.lane,
            epoch: header.epoch,
            payee,
            total,
            index: at as u64,
            proof: tree.proof(at)?,
            root: tree.root(),
        })
    }

    /// The neighbours of a place, with the zero account at empty places.
    pub(super) fn subtree(
        &self,
        header: &EpochHeader,
        at: usize,
        height: usize,
    ) -> Option<SubtreeClaim> {
        let tree = self.payouts();
        let height = height.min(tree.height());
        let position = (at % self.nodes.len().max(1)) >> height;
        let first = position << height;
        let leaf = |i: usize| match self.nodes.get(i) {
            Some(node) if *node != Hash::ZERO => self.leaves[i],
            _ => Default::default(),
        };
        Some(SubtreeClaim {
            lane: header.lane,
            epoch: header.epoch,
            first: first as u64,
            height: height as u8,
            leaves: (first..first + (1 << height)).map(leaf).collect(),
            proof: tree.proof_above(position, height)?,
            root: tree.root(),
        })
    }

    fn leaf(&self, tree: &Tree, at: usize) -> Option<PayoutLeaf> {
        let (payee, total) = *self.leaves.get(at)?;
        Some(PayoutLeaf {
            payee,
            total,
            index: at as u64,
            proof: tree.proof(at)?,
        })
    }

    /// Whatever can be said against these trees, right or wrong.
    pub(super) fn proofs(&self, parent: Option<(&EpochHeader, &Self)>) -> Vec<TreeFault> {
        let (payouts, audits) = (self.payouts(), self.audits());
        let width = 1 << payouts.height();
        let mut all = vec![TreeFault::NoAudit];
        let leaf = |at: usize| self.leaf(&payouts, at);
        let audit = |at: usize| {
            let (payee, total, before) = *self.audit.get(at)?;
            Some(AuditLeaf {
                payee,
                total,
                before,
                index: at as u64,
                proof: audits.proof(at)?,
            })
        };
        for at in 0..width {
            for (of_audit, tree) in [(false, &payouts), (true, &audits)] {
                let node = if of_audit {
                    audit(at).map_or(Hash::ZERO, |l| {
                        let (total, before) = (l.total.0.to_be_bytes(), l.before.0.to_be_bytes());
                        merkle::leaf(AUDIT_LEAF, &[&l.payee.0, &total, &before])
                    })
                } else {
                    self.nodes.get(at).copied().unwrap_or_default()
                };
                all.extend(tree.proof(at).map(|proof| TreeFault::Place {
                    audit: of_audit,
                    node,
                    index: at as u64,
                    proof,
                }));
            }
            for (a, b) in [(at, at + 1), (at + 1, at), (0, at)] {
                let pair = leaf(a).zip(leaf(b));
                all.extend(pair.map(|(first, second)| TreeFault::Disorder { first, second }));
            }
            all.extend(audit(at).map(TreeFault::Edge));
            for next in [at + 1, at + 2] {
                let pair = audit(at).zip(audit(next));
                all.extend(pair.map(|(first, second)| TreeFault::Sum { first, second }));
            }
            let node = self.nodes.get(at).copied().unwrap_or_default();
            let both = audit(at).zip(payouts.proof(at));
            all.extend(both.map(|(audit, proof)| TreeFault::Mismatch { audit, node, proof }));
        }
        let Some((header, before)) = parent else {
            return all;
        };
        let tree = before.payouts();
        for then in 0..before.leaves.len() {
            let Some(earlier) = before.leaf(&tree, then) else {
                continue;
            };
            let parent = Box::new(header.clone());
            let same = (0..width).filter_map(leaf);
            for now in same.filter(|l| l.payee == earlier.payee) {
                all.push(TreeFault::Shrunk {
                    parent: parent.clone(),
                    earlier: earlier.clone(),
                    now,
                });
            }
            let behind = self.leaves.iter().position(|l| l.0 >= earlier.payee);
            let behind = behind.unwrap_or(self.leaves.len());
            let around = [behind.checked_sub(1), Some(behind)].into_iter().flatten();
            all.push(TreeFault::Omitted {
                parent,
                earlier,
                around: around.filter_map(leaf).collect(),
            });
        }
        all
    }
}

/// A header of which only the lane counts.
pub(super) fn blank(lane: u32) -> EpochHeader {
    EpochHeader {
        lane,
        ..EpochHeader::default()
    }
}

fn loss_tree(rows: &[(Account, Amount)]) -> Tree {
    let leaf = |l: &(Account, Amount)| merkle::leaf(LOSS_LEAF, &[&l.0.0, &l.1.0.to_be_bytes()]);
    Tree::new(rows.iter().map(leaf).collect())
}

pub(super) fn loss_root(rows: &[(Account, Amount)]) -> Hash {
    loss_tree(rows).root()
}

/// An account's own leaf, or the places where it would stand.
pub(super) fn losses(rows: &[(Account, Amount)], who: &Account) -> Vec<Registry::LossLeaf> {
    let tree = loss_tree(rows);
    let places = match rows.binary_search_by_key(who, |l| l.0) {
        Ok(own) => vec![own],
        Err(_) if rows.is_empty() => Vec::new(),
        Err(0) => vec![0],
        Err(next) => vec![next - 1, next],
    };
    let leaf = |at: usize| {
        let (account, total) = rows.get(at).copied().unwrap_or_default();
        Some(Registry::LossLeaf {
            account: account.into(),
            lossTotal: total.0,
            index: U256::from(at),
            proof: words(&tree.proof(at)?),
        })
    };
    places.into_iter().filter_map(leaf).collect()
}

pub(super) fn words(hashes: &[Hash]) -> Vec<B256> {
    hashes.iter().map(|h| B256::from(*h)).collect()
}

pub(super) fn settled(tasks: &[SettledTask]) -> Vec<EpochAnchor::SettledTask> {
    let one = |s: &SettledTask| EpochAnchor::SettledTask {
        taskId: s.task.0.into(),
        client: s.client.into(),
    };
    tasks.iter().map(one).collect()
}

pub(super) fn evidence(e: &Evidence) -> Disputes::Evidence {
    let signatures = e.signatures.iter().flat_map(|s| s.0);
    Disputes::Evidence {
        chain: e.chain.iter().map(|h| abi_header!(Disputes, h)).collect(),
        signatures: signatures.collect::<Vec<u8>>().into(),
        reporter: e.reporter.into(),
    }
}

pub(super) fn name(proof: &TreeFault) -> &'static str {
    match proof {
        TreeFault::Disorder { .. } => "proveDisorder",
        TreeFault::Place { .. } => "provePlace",
        TreeFault::NoAudit => "proveNoAudit",
        TreeFault::Mismatch { .. } => "proveMismatch",
        TreeFault::Edge(_) => "proveEdge",
        TreeFault::Sum { .. } => "proveSum",
        TreeFault::Shrunk { .. } => "proveShrunk",
        TreeFault::Omitted { .. } => "proveOmitted",
    }
}

/// The call of the contract that hands a proof in.
pub(super) fn prove_call(e: &Evidence, proof: &TreeFault) -> Vec<u8> {
    match prove::step(Account::default(), evidence(e), proof) {
        Step::Send { data, .. } => data.to_vec(),
        _ => unreachable!("a step that shows a fault is a call"),
    }
}
