//! Proving: a posted header whose trees show a fault needs no votes.
//!
//! A header without an audit tree is enough by itself. Whoever can derive what a wrong header should have said tries its own leaves, and those of
//! the epoch before, on the header's roots: signers who changed little leave one of their trees as it should be. Leaves that only the signers
//! know come from whoever has them (`assay dispute prove`). The proof goes to `Disputes` in turns, validators first, so that not everybody
//! pays for the same transaction.

use super::{ChainCall, Core, Millis, Notice, follow::Follower};
use crate::{
    id::{Account, Hash},
    lane::{PayoutFile, role},
    message::EpochHeader,
    settlement::fault::{TreeFault, audit_of, find, places_of},
};

/// A fault of the posted header of a lane.
#[derive(Clone, Debug)]
pub(super) struct Accusation {
    fault: Box<TreeFault>,
    /// When to take it to the chain; none before people were told.
    at: Option<Millis>,
    submitted: bool,
}

impl From<TreeFault> for Accusation {
    fn from(fault: TreeFault) -> Self {
        Self {
            fault: Box::new(fault),
            at: None,
            submitted: false,
        }
    }
}

impl Accusation {
    /// A fault that the header shows without any leaf.
    pub fn of_header(header: &EpochHeader) -> Option<Self> {
        TreeFault::of_header(header).map(Self::from)
    }
}

impl Follower {
    /// The leaves of the last adopted epoch under its header.
    fn parent(&self) -> Option<(&EpochHeader, PayoutFile)> {
        let header = &self.flat.as_ref()?.header;
        (header.epoch == self.base.epoch).then(|| (header, self.base.payout_file()))
    }

    /// A fault of a header that should have had the leaves in `own`, if it shows in them or in those of its parent.
    pub(super) fn accuse(&self, header: &EpochHeader, own: PayoutFile) -> Option<Accusation> {
        let parent = self.parent().filter(|(h, _)| h.hash() == header.parent);
        let parent = parent.map(|(h, file)| (h, places_of(&file)));
        let rows = [Some(places_of(&own)), parent.as_ref().map(|p| p.1.clone())];
        let audits = rows.each_ref().map(|row| row.as_deref().map(audit_of));
        let earlier = parent.as_ref().map(|(h, row)| (*h, row.as_slice()));
        for row in rows.iter().flatten() {
            // Without a known audit tree last: it shows the least.
            for audit in audits.iter().flatten().map(Some).chain([None]) {
                let found = find(header, row, audit.map(Vec::as_slice), earlier);
                if let Ok(Some(fault)) = found {
                    return Some(fault.into());
                }
            }
        }
        None
    }

    /// How many accounts take the proof of a fault to the chain before this one does.
    fn turn(&self, own: &Account, header: &Hash) -> usize {
        let all = self.live.accounts.iter();
        let (first, then): (Vec<_>, Vec<_>) = all.partition(|(_, a)| a.can(role::VALIDATOR));
        let place = |of: &[(&Account, _)]| {
            let place = of.iter().position(|(account, _)| *account == own)?;
            // Somebody else comes first for every header.
            Some((place + usize::from(header.0[0])) % of.len())
        };
        place(&first)
            .or_else(|| Some(first.len() + place(&then)?))
            .unwrap_or(first.len() + then.len())
    }
}

impl Core {
    pub(super) fn tick_fault(&mut self, lane: u32) {
        let (now, me) = (self.now, self.node_key());
        let params = &self.config.profile.params;
        let (step, decimals) = (u64::from(params.view_timeout_ms), params.token_decimals);
        let signs = self.config.evm.is_some();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let Some(posted) = f.posted.as_ref().filter(|p| p.accusation.is_some()) else {
            return;
        };
        let own = f.live.account_of(&me).map(|(account, _)| account);
        let turn = own.filter(|_| signs).map(|own| f.turn(&own, &posted.hash));
        let Some(posted) = f.posted.as_mut() else {
            return;
        };
        let Some(accusation) = posted.accusation.as_mut() else {
            return;
        };
        let told = accusation.at.is_some();
        let at = turn.map_or(Millis::MAX, |turn| now + turn as u64 * step);
        let at = *accusation.at.get_or_insert(at);
        let due = now >= at && !accusation.submitted;
        accusation.submitted |= due;
        let (header, fault) = (posted.header.clone(), accusation.fault.clone());
        if !told {
            let why = fault.describe(|amount| format!("{} tokens", amount.to_decimal(decimals)));
            let epoch = header.epoch;
            let next = if turn.is_some() {
                "This node takes the proof to the chain if nobody is faster"
            } else {
                "Any account with gas money can take the proof to the chain"
            };
            let text = format!(
                "lane {lane}, epoch {epoch}: the anchored header does not follow from the records that it names, and anybody can prove it: \
                 {why}. {next}"
            );
            self.notify(Notice::Alarm { text });
        }
        if due {
            let header = *header;
            self.submit(ChainCall::ProveFault { header, fault });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{amount::Amount, lane::LaneState};

    fn owed(leaves: &[(u8, u128)]) -> LaneState {
        let mut state = LaneState::genesis(0);
        let leaves = leaves.iter();
        state.owed = leaves
            .map(|(n, total)| (Account([*n; 20]), Amount(*total)))
            .collect();
        state
    }

    /// What a committee should have signed for these leaves.
    fn header(of: &LaneState) -> EpochHeader {
        let file = of.payout_file();
        EpochHeader {
            epoch: 1,
            term: 1,
            chain_block: 1,
            chain_block_hash: Hash([1; 32]),
            payout_root: file.root(),
            audit_root: file.audit_root(),
            payout_count: file.count(),
            payout_file: file.hash(),
            total_owed: file.leaves.iter().map(|l| l.1).sum(),
            ..EpochHeader::default()
        }
    }

    fn accused(own: &LaneState, header: &EpochHeader) -> Option<TreeFault> {
        let follower = Follower::new(LaneState::genesis(0));
        let found = follower.accuse(header, own.payout_file())?;
        assert!(found.fault.convicts(header));
        Some(*found.fault)
    }

    #[test]
    fn own_leaves_show_what_the_signers_changed_around_them() {
        let own = owed(&[(1, 4), (2, 5), (3, 6)]);
        let right = header(&own);
        assert_eq!(accused(&own, &right), None);
        // One leaf more than there is.
        let more = EpochHeader {
            payout_count: 4,
            ..right.clone()
        };
        let found = accused(&own, &more);
        assert!(matches!(found, Some(TreeFault::Place { index: 3, .. })));
        // The sums end elsewhere.
        let owes = EpochHeader {
            total_owed: Amount(16),
            ..right.clone()
        };
        assert!(matches!(accused(&own, &owes), Some(TreeFault::Edge(_))));
        // Other leaves, of which nothing is known.
        let other = EpochHeader {
            payout_root: Hash([7; 32]),
            ..right
        };
        assert_eq!(accused(&own, &other), None);
    }

    #[test]
    fn signers_who_forget_the_new_epoch_are_shown_by_the_leaves_of_the_one_before() {
        let (before, own) = (owed(&[(1, 4), (2, 5)]), owed(&[(1, 4), (2, 8)]));
        let mut follower = Follower::new(before.clone());
        follower.base.epoch = 1;
        let parent = header(&before);
        let mut wrong = EpochHeader {
            epoch: 2,
            parent: parent.hash(),
            ..header(&own)
        };
        wrong.payout_root = parent.payout_root;
        follower.flat = Some(crate::lane::FlatFile {
            header: parent,
            payouts: crate::lane::FlatPayouts {
                state: Hash::ZERO,
                pays: Vec::new(),
                bonuses: Vec::new(),
            },
        });
        let found = follower.accuse(&wrong, own.payout_file());
        let fault = *found.expect("the parent's leaves are its own").fault;
        assert!(fault.convicts(&wrong));
        assert!(matches!(fault, TreeFault::Mismatch { .. }), "{fault:?}");
    }
}
