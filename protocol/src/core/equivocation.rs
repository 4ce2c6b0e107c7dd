//! Members who sign two headers for one view.
//!
//! A proposal carries its proposer's own signature. Whoever holds two of one member for one view of one term, or one beside the posted
//! header that the member signed as well, takes both to `Disputes.proveEquivocation`. A member that follows the rules never signs twice:
//! its vote is durable before it leaves, restarts included.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChainCall, Core, Notice, follow::Follower};
use crate::{
    id::{Account, EvmSignature},
    limit,
    message::EpochHeader,
};

/// Views beyond our own of which proposals are kept. Members may be ahead of us; but nobody can push an earlier header of its own out of
/// memory with views to come.
const VIEWS_AHEAD: u32 = 2;

/// What members signed and showed us for the next epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// The first header by view and member.
    headers: BTreeMap<(u32, Account), (EpochHeader, EvmSignature)>,
    /// Who was accused: once per epoch is enough.
    accused: BTreeSet<Account>,
}

impl Shown {
    /// Keeps a signed proposal; gives the one that the member showed for the same view before, when that is another.
    fn note(
        &mut self,
        account: Account,
        header: &EpochHeader,
        signature: EvmSignature,
    ) -> Option<(EpochHeader, EvmSignature)> {
        let key = (header.view, account);
        if let Some(before) = self.headers.get(&key) {
            return (before.0 != *header).then(|| before.clone());
        }
        self.headers.insert(key, (header.clone(), signature));
        // The oldest view matters least: what is posted belongs to a recent one.
        if self.headers.len() > limit::PROPOSALS_KEPT_MAX {
            self.headers.pop_first();
        }
        None
    }
}

impl Follower {
    /// Whether the posted header carries the signature of this member of the committee.
    fn posted_signer(&self, account: &Account) -> bool {
        let (Some(posted), Some(committee)) = (&self.posted, &self.live.committee) else {
            return false;
        };
        let place = committee.members.binary_search(account).ok();
        let signed = |place| posted.signers.iter().any(|s| usize::from(*s) == place);
        posted.header.term == committee.term && place.is_some_and(signed)
    }

    /// The posted header, when it stands against `header` of the same view and term.
    fn posted_against(&self, header: &EpochHeader) -> Option<&EpochHeader> {
        let posted = self.posted.as_ref()?;
        let view = |h: &EpochHeader| (h.lane, h.epoch, h.view, h.term);
        (view(&posted.header) == view(header) && *posted.header != *header)
            .then_some(&*posted.header)
    }
}

impl Core {
    /// A member showed us a header for the next epoch with its own signature, which is verified.
    pub(super) fn on_shown(
        &mut self,
        account: Account,
        header: &EpochHeader,
        signature: EvmSignature,
    ) {
        let Some(f) = self.lanes.get_mut(&header.lane) else {
            return;
        };
        let term = f.live.committee.as_ref().map(|c| c.term);
        let near = header.view <= f.agreement.view.saturating_add(VIEWS_AHEAD);
        if header.epoch != f.live.epoch + 1 || Some(header.term) != term || !near {
            return;
        }
        if let Some((first, first_signature)) = f.shown.note(account, header, signature) {
            return self.accuse(account, first, first_signature, header, Some(signature));
        }
        if let Some(posted) = f.posted_against(header).cloned()
            && f.posted_signer(&account)
        {
            self.accuse(account, header.clone(), signature, &posted, None);
        }
    }

    /// A header was posted: did one of its signers show us another for the same view?
    pub(super) fn compare_shown(&mut self, lane: u32) {
        let Some(f) = self.lanes.get(&lane) else {
            return;
        };
        let other = f.shown.headers.iter().filter_map(|((_, account), (h, s))| {
            let posted = f.posted_against(h)?;
            f.posted_signer(account)
                .then(|| (*account, h.clone(), *s, posted.clone()))
        });
        for (account, header, signature, posted) in other.collect::<Vec<_>>() {
            self.accuse(account, header, signature, &posted, None);
        }
    }

    fn accuse(
        &mut self,
        account: Account,
        proposed: EpochHeader,
        signature: EvmSignature,
        other: &EpochHeader,
        other_signature: Option<EvmSignature>,
    ) {
        let known = self.lanes.get_mut(&other.lane);
        let first = known.is_some_and(|f| f.shown.accused.insert(account));
        if !first || self.config.evm.is_none() {
            return;
        }
        self.notify(Notice::DoubleSigned {
            lane: other.lane,
            epoch: other.epoch,
            account,
        });
        self.submit(ChainCall::ProveEquivocation {
            account,
            proposed: Box::new(proposed),
            signature,
            other: Box::new(other.clone()),
            other_signature,
        });
    }
}
