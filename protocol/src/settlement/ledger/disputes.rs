//! Faults of signed headers as the `Disputes` contract sees them: what shows one, who pays for it, and where the lane goes back to.

use std::collections::BTreeSet;

use super::{Ledger, LedgerError, Member, STAKE_CAP_FACTOR};
use crate::{
    amount::Amount,
    crypto::recover,
    id::{Account, EvmSignature, Hash},
    message::{ChainFact, EpochHeader},
    settlement::fault::TreeFault,
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

/// What an account is punished for, once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Offence {
    /// A faulty header.
    Header(Hash),
    /// Two headers for one (lane, epoch, view, term).
    Twice(u32, u64, u32, u64),
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

    /// What accuses a posted header, as anybody can gather it from the chain; none when it does not stand, or is no longer kept.
    pub fn evidence(&self, header: &EpochHeader, reporter: Account) -> Option<Evidence> {
        let posted = &self.lanes.get(&header.lane)?.posted;
        let accused = posted.get(&header.epoch).filter(|p| p.header == *header)?;
        let chain = posted.range(header.epoch..);
        Some(Evidence {
            chain: chain.map(|(_, p)| p.header.clone()).collect(),
            signatures: accused.signatures.clone(),
            reporter,
        })
    }

    /// What an account signed a header with that stands; none when it did not, or the header is no longer kept.
    pub fn posted_signature(&self, header: &EpochHeader, of: &Account) -> Option<EvmSignature> {
        let digest = header.signing_digest(&self.profile);
        let signatures = self.evidence(header, *of)?.signatures;
        let own = |s: &EvmSignature| recover(&digest, s) == Some(*of);
        signatures.into_iter().find(own)
    }

    /// `Disputes.overrule`: validators who weigh more than half take a posted header back before its root is active, with all epochs after
    /// it; the lane's committee is dismissed, and whoever signed the header pays and is out. Money that moved stays where it is.
    ///
    /// # Errors
    /// [`LedgerError::Header`] when it does not stand or is too old, [`LedgerError::Votes`], [`LedgerError::Signers`].
    pub fn overrule(
        &mut self,
        evidence: &Evidence,
        votes: &[(Account, EvmSignature)],
    ) -> Result<(), LedgerError> {
        let header = self.accused(&evidence.chain)?;
        let posted = self.lanes.get(&header.lane);
        let posted = posted.and_then(|l| l.posted.get(&header.epoch));
        if posted.is_none_or(|p| self.now >= p.active_at) {
            return Err(LedgerError::Header("active already, or no longer kept"));
        }
        let weight = |m: &Member| {
            let cap = self.disputes.min_validator_stake.0 * STAKE_CAP_FACTOR;
            let votes = m.is_validator() && m.since <= header.chain_block;
            Amount(if votes { m.stake.0.min(cap) } else { 0 })
        };
        let digest = EpochHeader::overrule_digest(&header.hash(), &self.profile);
        let all: Amount = self.members.values().map(weight).sum();
        let signed = votes.iter().all(|(a, s)| recover(&digest, s) == Some(*a));
        let rising = votes.windows(2).all(|w| w[0].0 < w[1].0);
        let members = votes.iter().filter_map(|v| self.members.get(&v.0));
        let given: Amount = members.map(weight).sum();
        if !signed || !rising || given.0 * 2 <= all.0 {
            return Err(LedgerError::Votes { given, all });
        }
        self.convict(header, &evidence.signatures, evidence.reporter)
            .map(|_| ())
    }

    /// `Disputes.prove…`: whoever signed the faulty header pays and is out, and the lane goes back to the epoch before it while the
    /// header's root is not active. Says whether it went back.
    ///
    /// # Errors
    /// [`LedgerError::Header`], [`LedgerError::NoFault`], [`LedgerError::Signers`]; the state is unchanged then.
    pub fn prove(&mut self, evidence: &Evidence, fault: &TreeFault) -> Result<bool, LedgerError> {
        let accused = self.accused(&evidence.chain)?;
        if !fault.convicts(accused) {
            return Err(LedgerError::NoFault("these leaves show none"));
        }
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
    fn convict(
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
