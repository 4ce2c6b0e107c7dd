//! Faults of signed headers as the `Disputes` contract sees them: what shows one, who pays for it, and where the lane goes back to.

use std::collections::BTreeSet;

use super::{Ledger, LedgerError};
use crate::{
    amount::Amount,
    crypto::recover,
    id::{Account, EvmSignature, Hash},
    lane::PayoutFile,
    merkle::{self, AUDIT_LEAF},
    message::{ChainFact, EpochHeader},
};

/// Which header is accused, of whom, by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// All headers from the accused one to the lane's last.
    pub chain: Vec<EpochHeader>,
    /// Signatures of the accused header, in any order.
    pub signatures: Vec<EvmSignature>,
    /// Receives half of what the signers lose.
    pub reporter: Account,
}

/// A leaf of a payout tree with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutLeaf {
    /// Payee.
    pub payee: Account,
    /// Total ever owed.
    pub total: Amount,
    /// Place.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

/// A leaf of an audit tree with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLeaf {
    /// Payee.
    pub payee: Account,
    /// Total ever owed.
    pub total: Amount,
    /// Sum of the totals before it.
    pub before: Amount,
    /// Place.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

/// What shows that a header is wrong, whoever signed it: the calls `prove…` of the contract but for equivocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultProof {
    /// Two payout leaves, the first before the second, whose payees do not ascend.
    Disorder {
        /// The one before.
        first: PayoutLeaf,
        /// The one behind.
        second: PayoutLeaf,
    },
    /// A place that is empty below the number of leaves, or not empty beyond it.
    Place {
        /// Of the audit tree, else of the payout tree.
        audit: bool,
        /// What stands there; zero for nothing.
        node: Hash,
        /// Place.
        index: u64,
        /// Siblings from the bottom.
        proof: Vec<Hash>,
    },
    /// Payout leaves and no audit tree.
    NoAudit,
    /// An audit leaf, and something else in its place of the payout tree.
    Mismatch {
        /// The audit leaf.
        audit: AuditLeaf,
        /// What stands in its place.
        node: Hash,
        /// Siblings of that.
        proof: Vec<Hash>,
    },
    /// The first audit leaf with a sum before it, or the last one that does not reach what is owed.
    Edge(AuditLeaf),
    /// Two neighbours in the audit tree whose sums do not fit together.
    Sum {
        /// The one before.
        first: AuditLeaf,
        /// The one behind.
        second: AuditLeaf,
    },
    /// A payee is owed less than in the epoch before.
    Shrunk {
        /// Header of the epoch before.
        parent: Box<EpochHeader>,
        /// The payee's leaf there.
        earlier: PayoutLeaf,
        /// The payee's leaf now.
        now: PayoutLeaf,
    },
    /// A payee of the epoch before is missing.
    Omitted {
        /// Header of the epoch before.
        parent: Box<EpochHeader>,
        /// The payee's leaf there.
        earlier: PayoutLeaf,
        /// The neighbours it would stand between now, or the one at the edge of the tree.
        around: Vec<PayoutLeaf>,
    },
}

/// What an account is punished for, once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Offence {
    /// A faulty header.
    Header(Hash),
    /// Two headers for one (lane, epoch, view, term).
    Twice(u32, u64, u32, u64),
}

impl PayoutLeaf {
    fn stands(&self, header: &EpochHeader) -> Result<(), LedgerError> {
        let leaf = PayoutFile::leaf(&self.payee, self.total);
        place(header, false, &leaf, self.index, &self.proof)
    }
}

impl AuditLeaf {
    fn stands(&self, header: &EpochHeader) -> Result<(), LedgerError> {
        let (total, before) = (self.total.0.to_be_bytes(), self.before.0.to_be_bytes());
        let leaf = merkle::leaf(AUDIT_LEAF, &[&self.payee.0, &total, &before]);
        place(header, true, &leaf, self.index, &self.proof)
    }

    /// Sum up to and with it; none beyond 128 bits, which no header owes.
    fn after(&self) -> Option<Amount> {
        self.before.checked_add(self.total)
    }
}

/// Only whole proofs count: the depth follows from the number of leaves.
fn place(
    header: &EpochHeader,
    audit: bool,
    node: &Hash,
    index: u64,
    proof: &[Hash],
) -> Result<(), LedgerError> {
    let root = if audit {
        &header.audit_root
    } else {
        &header.payout_root
    };
    if proof.len() == merkle::depth(header.payout_count) && super::stands(root, node, index, proof)
    {
        Ok(())
    } else {
        Err(LedgerError::NoFault("a leaf does not stand in its tree"))
    }
}

impl FaultProof {
    /// Whether it shows a fault of this header.
    ///
    /// # Errors
    /// [`LedgerError::NoFault`].
    pub fn shows(&self, accused: &EpochHeader) -> Result<(), LedgerError> {
        let count = u64::from(accused.payout_count);
        let shown = match self {
            Self::Disorder { first, second } => {
                first.stands(accused)?;
                second.stands(accused)?;
                first.index < second.index && first.payee >= second.payee
            }
            Self::Place {
                audit,
                node,
                index,
                proof,
            } => {
                place(accused, *audit, node, *index, proof)?;
                (*index < count) == (*node == Hash::ZERO)
            }
            Self::NoAudit => count != 0 && accused.audit_root == Hash::ZERO,
            Self::Mismatch { audit, node, proof } => {
                audit.stands(accused)?;
                place(accused, false, node, audit.index, proof)?;
                *node != PayoutFile::leaf(&audit.payee, audit.total)
            }
            Self::Edge(leaf) => {
                leaf.stands(accused)?;
                let bad_start = leaf.index == 0 && leaf.before != Amount::ZERO;
                let last = leaf.index + 1 == count;
                bad_start || last && leaf.after() != Some(accused.total_owed)
            }
            Self::Sum { first, second } => {
                first.stands(accused)?;
                second.stands(accused)?;
                first.index + 1 == second.index && first.after() != Some(second.before)
            }
            Self::Shrunk {
                parent,
                earlier,
                now,
            } => {
                is_parent(accused, parent)?;
                earlier.stands(parent)?;
                now.stands(accused)?;
                earlier.payee == now.payee && now.total < earlier.total
            }
            Self::Omitted {
                parent,
                earlier,
                around,
            } => {
                is_parent(accused, parent)?;
                earlier.stands(parent)?;
                for leaf in around {
                    leaf.stands(accused)?;
                }
                let missing = match around.as_slice() {
                    [edge] => {
                        let last = edge.index + 1 == count;
                        edge.index == 0 && earlier.payee < edge.payee
                            || last && earlier.payee > edge.payee
                    }
                    [left, right] => {
                        left.index + 1 == right.index
                            && left.payee < earlier.payee
                            && earlier.payee < right.payee
                    }
                    _ => false,
                };
                // A leaf of nothing may be left out.
                missing && earlier.total != Amount::ZERO
            }
        };
        if shown {
            Ok(())
        } else {
            Err(LedgerError::NoFault("these leaves are as they should be"))
        }
    }
}

fn is_parent(accused: &EpochHeader, parent: &EpochHeader) -> Result<(), LedgerError> {
    if parent.hash() == accused.parent {
        Ok(())
    } else {
        Err(LedgerError::Header("not the epoch before"))
    }
}

impl Ledger {
    /// The header that a chain of them accuses: each is the parent of the next, and the last one is its lane's last.
    ///
    /// # Errors
    /// [`LedgerError::Header`].
    pub fn accused<'a>(&self, chain: &'a [EpochHeader]) -> Result<&'a EpochHeader, LedgerError> {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
            return Err(LedgerError::Header("no header is accused"));
        };
        if chain
            .windows(2)
            .any(|pair| pair[1].parent != pair[0].hash())
        {
            return Err(LedgerError::Header("a header is missing in between"));
        }
        if last.epoch == 0 || last.hash() != self.head(last.lane) {
            return Err(LedgerError::Header("not up to the lane's last"));
        }
        Ok(first)
    }

    /// `Disputes.prove…`: whoever signed the faulty header pays and is out, and the lane goes back to the epoch before it while the
    /// header's root is not active. Says whether it went back.
    ///
    /// # Errors
    /// [`LedgerError::Header`], [`LedgerError::NoFault`], [`LedgerError::Signers`]; the state is unchanged then.
    pub fn prove(&mut self, evidence: &Evidence, proof: &FaultProof) -> Result<bool, LedgerError> {
        let accused = self.accused(&evidence.chain)?;
        proof.shows(accused)?;
        self.convict(accused, &evidence.signatures, evidence.reporter)
    }

    /// `Disputes.proveEquivocation`: whoever signed two headers for one view pays and is out. `signatures` are pairs of one account's
    /// under the first and the second header. Says how many accounts had not been punished for it before.
    ///
    /// # Errors
    /// [`LedgerError::Header`] for headers that do not contradict each other, [`LedgerError::Signers`].
    pub fn prove_equivocation(
        &mut self,
        first: &EpochHeader,
        second: &EpochHeader,
        signatures: &[(EvmSignature, EvmSignature)],
        reporter: Account,
    ) -> Result<usize, LedgerError> {
        let view = |h: &EpochHeader| Offence::Twice(h.lane, h.epoch, h.view, h.term);
        if first.hash() == second.hash() || view(first) != view(second) {
            return Err(LedgerError::Header("no two headers of one view"));
        }
        let (once, again): (Vec<_>, Vec<_>) = signatures.iter().copied().unzip();
        let signers = recover_all(&first.signing_digest(&self.profile), &once)?;
        if signers != recover_all(&second.signing_digest(&self.profile), &again)? {
            return Err(LedgerError::Signers("not the same under both headers"));
        }
        self.punish_all(&view(first), signers, reporter)
    }

    /// `Disputes.punish`: more signers of a header whose fault was proven before. Says how many had not been punished for it.
    ///
    /// # Errors
    /// [`LedgerError::NoFault`], [`LedgerError::Signers`].
    pub fn punish(
        &mut self,
        header: &Hash,
        signatures: &[EvmSignature],
        reporter: Account,
    ) -> Result<usize, LedgerError> {
        if !self.faulty.contains(header) {
            return Err(LedgerError::NoFault("none was proven of this header"));
        }
        let digest = EpochHeader::digest_of(header, &self.profile);
        let signers = recover_all(&digest, signatures)?;
        self.punish_all(&Offence::Header(*header), signers, reporter)
    }

    /// What a proven fault costs.
    pub(super) fn convict(
        &mut self,
        accused: &EpochHeader,
        signatures: &[EvmSignature],
        reporter: Account,
    ) -> Result<bool, LedgerError> {
        let hash = accused.hash();
        let signers = recover_all(&accused.signing_digest(&self.profile), signatures)?;
        self.can_be_punished(&signers, reporter)?;
        self.faulty.insert(hash);
        let rewound = self.rewind(accused);
        self.punish_all(&Offence::Header(hash), signers, reporter)?;
        Ok(rewound)
    }

    /// `EpochAnchor.rewind`: takes an epoch of the lane back with all after it, unless its root is active or no longer kept. Money that
    /// moved stays where it is.
    fn rewind(&mut self, accused: &EpochHeader) -> bool {
        let (lane, from) = (accused.lane, accused.epoch);
        let kept = self.lanes.get(&lane).and_then(|l| l.posted.get(&from));
        if kept.is_none_or(|p| self.now >= p.active_at) {
            return false;
        }
        self.dismiss(lane);
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.epoch = from - 1;
            state.head = accused.parent;
            state.draws.1 = 0;
            state.note_draw(self.now);
            state.posted.retain(|epoch, _| *epoch < from);
        }
        self.pending.push(ChainFact::EpochsRevoked { lane, from });
        true
    }

    fn can_be_punished(&self, signers: &[Account], reporter: Account) -> Result<(), LedgerError> {
        if reporter == Account::default() {
            return Err(LedgerError::Nobody);
        }
        // A forged signature recovers an account that nobody holds.
        if signers.iter().any(|a| self.past(a).nonce == 0) {
            return Err(LedgerError::Signers("of somebody who never registered"));
        }
        Ok(())
    }

    fn punish_all(
        &mut self,
        offence: &Offence,
        signers: Vec<Account>,
        reporter: Account,
    ) -> Result<usize, LedgerError> {
        self.can_be_punished(&signers, reporter)?;
        let mut punished = 0;
        for account in signers.into_iter().collect::<BTreeSet<_>>() {
            if self.punished.insert((offence.clone(), account)) {
                self.slash(account, reporter);
                punished += 1;
            }
        }
        Ok(punished)
    }
}

fn recover_all(digest: &Hash, signatures: &[EvmSignature]) -> Result<Vec<Account>, LedgerError> {
    let signers = signatures.iter().map(|s| recover(digest, s));
    signers
        .collect::<Option<_>>()
        .ok_or(LedgerError::Signers("one recovers nobody"))
}
