//! Overruling: taking back a posted epoch that no proof is against and that this node cannot derive.
//!
//! A validator to which a posted header does not follow from its own records, or to which nobody has handed those out for
//! `overrule_secs`, signs that it be taken back and asks the other validators for theirs. Whoever holds enough of them takes them to
//! `Disputes.overrule`, which weighs them: more than half of the registry's weight is needed, silence keeps the epoch
//! (`protocol/decisions/0012-the-registry-overrules.md`).

use std::collections::BTreeMap;

use super::{
    Asked, ChainCall, Core, Millis, Notice,
    follow::{Follower, Posted},
};
use crate::{
    crypto::recover,
    id::{Account, EvmSignature, Hash, NodeKey},
    lane::role,
    limit,
    message::{EpochHeader, Request, Response},
};

/// Heaviest weight of a validator in multiples of the lightest (`Registry.STAKE_CAP_FACTOR`).
const WEIGHT_CAP: usize = 4;

/// Signatures against the posted header of a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrule {
    votes: BTreeMap<Account, EvmSignature>,
    ask_at: BTreeMap<NodeKey, Millis>,
    /// When to take the votes to the chain, and how many went there last.
    submit_at: Option<Millis>,
    submitted: usize,
    /// People were told that nobody hands the content out.
    told: bool,
}

/// A posted epoch that this node refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// Struct hash of the header.
    pub header: Hash,
    /// Chain time of the post, seconds.
    pub posted_at: u64,
    /// The header does not follow from its records; otherwise nobody hands these out.
    pub wrong: bool,
    /// Validators whose signature against it this node holds.
    pub votes: usize,
    /// Registered validators.
    pub validators: usize,
}

impl Follower {
    /// The posted header, if this node holds it to be wrong. It has to have asked for its content for `overrule_secs` itself: one that has
    /// just started, or was cut off, knows nothing.
    fn refuses(&self, overrule_secs: u32, now: Millis) -> Option<&Posted> {
        let posted = self.posted.as_ref()?;
        let derived = self.computed.contains_key(&posted.hash);
        let secs = u64::from(overrule_secs);
        let late = self.live.block.time >= posted.time + secs;
        let asked = self.fetch.since.is_some_and(|t| now >= t + secs * 1_000);
        let unserved = late && asked && self.fetch.turn > self.members_twice();
        (!derived && (posted.wrong || unserved)).then_some(posted)
    }

    /// Requests after which every member was asked twice.
    pub(super) fn members_twice(&self) -> usize {
        2 * self.live.member_keys().len().max(1)
    }

    /// Registered validators, ascending by account.
    fn validators(&self) -> impl Iterator<Item = (Account, NodeKey)> {
        let all = self.live.accounts.iter();
        all.filter(|(_, a)| a.can(role::VALIDATOR))
            .map(|(account, a)| (*account, a.node_key))
    }
}

impl Core {
    /// Posted epochs that this node refuses.
    pub fn disputes(&self) -> Vec<Dispute> {
        let secs = self.config.profile.params.overrule_secs;
        let lanes = self.lanes.iter();
        let refused = lanes.filter_map(|(lane, f)| Some((*lane, f, f.refuses(secs, self.now)?)));
        refused
            .map(|(lane, f, posted)| Dispute {
                lane,
                epoch: posted.header.epoch,
                header: posted.hash,
                posted_at: posted.time,
                wrong: posted.wrong,
                votes: f.overrule.votes.len(),
                validators: f.validators().count(),
            })
            .collect()
    }

    fn vote_against(&self, header: &Hash) -> Option<EvmSignature> {
        let digest = EpochHeader::overrule_digest(header, &self.config.profile);
        Some(self.config.evm.as_ref()?.sign(&digest))
    }

    /// Validator: do we refuse this header too?
    pub(super) fn on_overrule(&mut self, token: u64, lane: u32, header: &Hash) {
        let secs = self.config.profile.params.overrule_secs;
        let known = self.lanes.get(&lane);
        let refused = known
            .and_then(|f| f.refuses(secs, self.now))
            .map(|p| p.hash);
        let validator = self.own_account(lane, role::VALIDATOR).is_some();
        let vote = self
            .vote_against(header)
            .filter(|_| validator && refused == Some(*header));
        let response = match vote {
            Some(signature) => Response::Vote(signature),
            None => Response::refused(true, "this node has no reason to take that header back"),
        };
        self.respond(token, &response);
    }

    pub(super) fn tick_overrule(&mut self, lane: u32) {
        let (now, me) = (self.now, self.node_key());
        let params = self.config.profile.params.clone();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let Some(posted) = f.refuses(params.overrule_secs, now).cloned() else {
            return;
        };
        let (header, hash) = (posted.header, posted.hash);
        if !posted.wrong && !std::mem::replace(&mut f.overrule.told, true) {
            let text = format!(
                "lane {lane}, epoch {}: nobody has handed out what the anchored header is made of for {} seconds. This node goes on asking; \
                 validators who see the same sign that the epoch be taken back",
                header.epoch, params.overrule_secs
            );
            self.notify(Notice::Alarm { text });
        }
        let Some(own) = self.own_account(lane, role::VALIDATOR) else {
            return;
        };
        let Some(signature) = self.vote_against(&hash) else {
            return;
        };
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let validators: Vec<(Account, NodeKey)> = f.validators().collect();
        f.overrule.votes.insert(own, signature);
        let silent: Vec<NodeKey> = validators
            .iter()
            .filter(|(account, key)| {
                *key != me
                    && !f.overrule.votes.contains_key(account)
                    && f.overrule.ask_at.get(key).is_none_or(|at| now >= *at)
            })
            .map(|(_, key)| *key)
            .collect();
        for key in &silent {
            f.overrule
                .ask_at
                .insert(*key, now + limit::REQUEST_TIMEOUT_MS);
        }
        // Weights differ by the cap at most, so fewer cannot be a majority; the contract knows whether these are one.
        let votes = f.overrule.votes.len();
        let enough = votes * (WEIGHT_CAP + 1) > validators.len();
        if enough && votes > f.overrule.submitted {
            // Everybody collects; who comes first is different for every header, and the others wait for it.
            let place = validators.iter().position(|(a, _)| *a == own).unwrap_or(0);
            let rank = (place + usize::from(hash.0[0])) % validators.len().max(1);
            let at = *f
                .overrule
                .submit_at
                .get_or_insert(now + rank as u64 * u64::from(params.view_timeout_ms));
            if now >= at {
                f.overrule.submitted = votes;
                f.overrule.submit_at = Some(now + limit::RETRY_MS);
                let votes = f.overrule.votes.iter().map(|(a, s)| (*a, *s)).collect();
                self.submit(ChainCall::Overrule {
                    header: *header,
                    votes,
                });
            }
        }
        for key in silent {
            let request = Request::Overrule { lane, header: hash };
            let asked = Asked::Overrule {
                lane,
                header: hash,
                from: key,
            };
            self.ask(key, &request, asked);
        }
    }

    pub(super) fn on_overrule_vote(
        &mut self,
        lane: u32,
        header: Hash,
        from: NodeKey,
        response: Response,
    ) {
        let Response::Vote(signature) = response else {
            return;
        };
        let digest = EpochHeader::overrule_digest(&header, &self.config.profile);
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        if f.posted.as_ref().is_none_or(|p| p.hash != header) {
            return;
        }
        let account = f.validators().find(|(_, key)| *key == from).map(|v| v.0);
        if let Some(account) = account.filter(|a| recover(&digest, &signature) == Some(*a)) {
            f.overrule.votes.insert(account, signature);
        }
    }
}
