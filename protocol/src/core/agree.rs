//! Agreeing on an epoch.
//!
//! The view's leader gathers what the members hold and it lacks, proposes a body with the header that follows from it, and each member
//! signs when its own computation gives the same header and nothing it promised is missing. A silent leader is replaced after a timeout; a
//! member signs at most one header per (lane, epoch, view), durable before it is sent. The chain arbitrates between views: the first
//! quorum header that `EpochAnchor` takes is the epoch.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asked, ChainCall, Core, Family, Millis, effect::vote_key};
use crate::{
    codec,
    crypto::recover,
    id::{EvmSignature, Hash, NodeKey, RecordId},
    lane::Applied,
    limit,
    message::{BlockNews, EpochBody, EpochHeader, Request, Response},
    verify::{Authentic, Decoded},
};

/// A proposal that we are asked to sign and whose records are on their way.
#[derive(Clone, Debug)]
pub(super) struct Evaluating {
    pub token: u64,
    pub from: NodeKey,
    pub body: EpochBody,
    pub header: EpochHeader,
    pub since: Millis,
}

#[derive(Clone, Debug)]
struct Gathering {
    body: EpochBody,
    waiting: BTreeSet<NodeKey>,
    since: Millis,
}

#[derive(Clone, Debug)]
struct Proposing {
    body: EpochBody,
    header: EpochHeader,
    digest: Hash,
    signature: EvmSignature,
    applied: Box<Applied>,
    votes: BTreeMap<u8, EvmSignature>,
    resend: BTreeMap<NodeKey, Millis>,
    submitted: bool,
}

/// Where a lane's committee stands, as one member sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreement {
    pub view: u32,
    view_since: Option<Millis>,
    gathering: Option<Gathering>,
    proposing: Option<Proposing>,
    pub evaluating: Option<Evaluating>,
    /// (epoch, view) -> header that we signed.
    pub voted: BTreeMap<(u64, u32), Hash>,
    draw_at: Millis,
}

/// Milliseconds after which an unanswered proposal is sent to a member again.
const RESEND_MS: Millis = 250;

impl Core {
    pub(super) fn tick_agree(&mut self, lane: u32) {
        if self.wants_draw(lane) {
            let again = self.now + 2_000;
            if let Some(f) = self
                .lanes
                .get_mut(&lane)
                .filter(|f| self.now >= f.agreement.draw_at)
            {
                f.agreement.draw_at = again;
                self.submit(ChainCall::DrawCommittee { lane });
            }
        }
        if !self.is_member(lane) {
            return;
        }
        self.expire_evaluation(lane);
        let profile = self.config.profile.clone();
        let timeout = u64::from(profile.params.view_timeout_ms);
        let now = self.now;
        let me = self.node_key();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        if f.posted.is_some() || f.alarmed || !f.live.head_posted {
            return;
        }
        if f.dirty {
            f.dirty = false;
            let any = f.live.ready(f.pool.values(), &profile).any;
            match (any, f.agreement.view_since) {
                (true, None) => f.agreement.view_since = Some(now),
                (false, Some(_)) => f.agreement = keep_votes(&f.agreement),
                _ => {}
            }
        }
        let Some(since) = f.agreement.view_since else {
            return;
        };
        if now >= since + timeout {
            let mut next = keep_votes(&f.agreement);
            next.view = f.agreement.view + 1;
            next.view_since = Some(now);
            next.evaluating = f.agreement.evaluating.take();
            f.agreement = next;
        }
        let members = f.live.member_keys();
        let turn = (f.live.epoch + 1 + u64::from(f.agreement.view)) % members.len().max(1) as u64;
        if members.get(turn as usize) != Some(&me) {
            return;
        }
        if f.agreement.gathering.is_none() && f.agreement.proposing.is_none() {
            self.start_gathering(lane, members, me);
        }
        self.advance_gathering(lane);
        self.advance_proposal(lane);
    }

    fn expire_evaluation(&mut self, lane: u32) {
        let now = self.now;
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let old = f
            .agreement
            .evaluating
            .as_ref()
            .is_some_and(|e| now >= e.since + limit::REQUEST_TIMEOUT_MS);
        if let (true, Some(e)) = (old, f.agreement.evaluating.take_if(|_| old)) {
            self.respond(
                e.token,
                &Response::refused(true, "could not get the records in time"),
            );
        }
    }

    fn start_gathering(&mut self, lane: u32, members: Vec<NodeKey>, me: NodeKey) {
        let profile = self.config.profile.clone();
        let now = self.now;
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let ready = f.live.ready(f.pool.values(), &profile);
        if !ready.any {
            return;
        }
        let body = EpochBody {
            lane,
            epoch: f.live.epoch + 1,
            view: f.agreement.view,
            block: f.live.block,
            records: ready.records,
        };
        let waiting: BTreeSet<NodeKey> = members.into_iter().filter(|m| *m != me).collect();
        let (epoch, view) = (body.epoch, body.view);
        f.agreement.gathering = Some(Gathering {
            body: body.clone(),
            waiting: waiting.clone(),
            since: now,
        });
        for member in waiting {
            self.ask(
                member,
                &Request::Gather { body: body.clone() },
                Asked::Gather {
                    lane,
                    epoch,
                    view,
                    from: member,
                },
            );
        }
    }

    /// Member: what do we hold that the leader's set lacks?
    pub(super) fn on_gather(&mut self, token: u64, body: &EpochBody) {
        let Some(f) = self.lanes.get(&body.lane) else {
            return self.respond(token, &Response::refused(false, "unknown lane"));
        };
        if body.epoch != f.live.epoch + 1 {
            return self.respond(
                token,
                &Response::refused(true, format!("this node is at epoch {}", f.live.epoch)),
            );
        }
        let named: BTreeSet<&RecordId> = body.records.iter().collect();
        let mut bytes = 0;
        let missing = f
            .pool
            .iter()
            .filter(|(id, _)| !named.contains(id))
            .map(|(_, r)| r.envelope().clone())
            .take_while(|e| {
                bytes += e.body.0.len() + 256;
                bytes < limit::RECORDS_BYTES_MAX
            })
            .collect();
        self.respond(token, &Response::Missing(missing));
    }

    pub(super) fn on_gathered(
        &mut self,
        lane: u32,
        epoch: u64,
        view: u32,
        from: NodeKey,
        response: Response,
    ) {
        if let Response::Missing(envelopes) = response {
            let network = self.network;
            for envelope in envelopes {
                match Decoded::from_envelope(envelope).and_then(|d| d.authenticate(&network)) {
                    // Late here, in time there: the member's promise counts, so the deadline is not asked again.
                    Ok(record) => self.take_promised(lane, record),
                    Err(fault) => self.penalise(from, &fault),
                }
            }
        }
        if let Some(g) = self
            .lanes
            .get_mut(&lane)
            .and_then(|f| f.agreement.gathering.as_mut())
            && (g.body.epoch, g.body.view) == (epoch, view)
        {
            g.waiting.remove(&from);
        }
        self.advance_gathering(lane);
    }

    fn take_promised(&mut self, lane: u32, record: Authentic) {
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let task = record.envelope().task;
        let welcome = match f.live.tasks.get(&task) {
            Some(open) => open.admits(&record, f.live.speaker(&record)).is_ok(),
            None => {
                f.live.escrows.keys().any(|k| k.0 == task)
                    && (f.live.speaker(&record).is_some()
                        || f.live.check_announce(&record, &self.config.profile).is_ok())
            }
        };
        let id = record.id();
        if welcome && f.pool.len() < limit::POOL_RECORDS_MAX && !f.pool.contains_key(&id) {
            // Durable, because members who lack it ask our storage for it.
            let value = record.envelope().to_bytes();
            f.pool.insert(id, record);
            f.dirty = true;
            self.put(Family::Record, id.0, value);
        }
    }

    /// Proposes once everybody answered, or a quorum did and the rest had its time.
    fn advance_gathering(&mut self, lane: u32) {
        let profile = self.config.profile.clone();
        let (now, me) = (self.now, self.node_key());
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let Some(g) = &f.agreement.gathering else {
            return;
        };
        let members = f.live.member_keys();
        let answered = members.len() - g.waiting.len();
        let waited = now >= g.since + u64::from(profile.params.view_timeout_ms) / 4;
        if !(g.waiting.is_empty() || waited && answered >= f.live.threshold()) {
            return;
        }
        let view = g.body.view;
        f.agreement.gathering = None;
        let ready = f.live.ready(f.pool.values(), &profile);
        let body = EpochBody {
            lane,
            epoch: f.live.epoch + 1,
            view,
            block: f.live.block,
            records: ready.records,
        };
        let Some(applied) = compute(f, &body, &profile) else {
            return;
        };
        let header = applied.header.clone();
        let digest = header.signing_digest(&profile);
        let Some(own) = self.vote(lane, &header, &digest) else {
            return;
        };
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let place = f.live.member_index(&me);
        f.computed
            .insert(header.hash(), (body.clone(), applied.clone()));
        let others: Vec<NodeKey> = members.into_iter().filter(|m| *m != me).collect();
        f.agreement.proposing = Some(Proposing {
            body,
            header,
            digest,
            signature: own,
            applied: Box::new(applied),
            votes: place.map(|p| (p, own)).into_iter().collect(),
            resend: others.into_iter().map(|m| (m, now)).collect(),
            submitted: false,
        });
        self.advance_proposal(lane);
    }

    /// Signs a header unless another one was signed in this view. The vote is durable before it leaves.
    fn vote(&mut self, lane: u32, header: &EpochHeader, digest: &Hash) -> Option<EvmSignature> {
        let hash = header.hash();
        let f = self.lanes.get_mut(&lane)?;
        let before = f.agreement.voted.get(&(header.epoch, header.view)).copied();
        if before.is_some_and(|b| b != hash) {
            return None;
        }
        f.agreement.voted.insert((header.epoch, header.view), hash);
        let signature = self.config.evm.as_ref()?.sign(digest);
        if before.is_none() {
            self.put(
                Family::Vote,
                vote_key(lane, header.epoch, header.view),
                codec::encode(&hash),
            );
        }
        Some(signature)
    }

    fn advance_proposal(&mut self, lane: u32) {
        let now = self.now;
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let threshold = f.live.threshold();
        let Some(p) = &mut f.agreement.proposing else {
            return;
        };
        if p.submitted {
            return;
        }
        if p.votes.len() >= threshold {
            p.submitted = true;
            let call = ChainCall::PostEpoch {
                header: p.header.clone(),
                settled: p.applied.settled.clone(),
                signatures: p.votes.iter().map(|(i, s)| (*i, *s)).collect(),
            };
            return self.submit(call);
        }
        let due: Vec<NodeKey> = p
            .resend
            .iter()
            .filter(|(_, at)| now >= **at)
            .map(|(k, _)| *k)
            .collect();
        let request = Request::Propose {
            body: p.body.clone(),
            header: p.header.clone(),
            signature: p.signature,
        };
        let (epoch, view) = (p.body.epoch, p.body.view);
        for member in &due {
            // Until an answer arrives nothing is sent again.
            p.resend.insert(*member, now + limit::REQUEST_TIMEOUT_MS);
        }
        for member in due {
            self.ask(
                member,
                &request,
                Asked::Vote {
                    lane,
                    epoch,
                    view,
                    from: member,
                },
            );
        }
    }

    pub(super) fn on_vote(
        &mut self,
        lane: u32,
        epoch: u64,
        view: u32,
        from: NodeKey,
        response: Response,
    ) {
        let now = self.now;
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let Some(place) = f.live.member_index(&from) else {
            return;
        };
        let account = f
            .live
            .committee
            .as_ref()
            .and_then(|c| c.members.get(usize::from(place)).copied());
        let Some(p) = &mut f.agreement.proposing else {
            return;
        };
        if (p.body.epoch, p.body.view) != (epoch, view) {
            return;
        }
        match response {
            Response::Vote(signature) if recover(&p.digest, &signature) == account => {
                p.votes.insert(place, signature);
                p.resend.remove(&from);
            }
            Response::Refused { later: true, .. } => {
                p.resend.insert(from, now + RESEND_MS);
            }
            _ => {
                p.resend.remove(&from);
            }
        }
        self.advance_proposal(lane);
    }

    /// Member: shall we sign this?
    pub(super) fn on_propose(
        &mut self,
        token: u64,
        from: NodeKey,
        body: EpochBody,
        header: EpochHeader,
        signature: &EvmSignature,
    ) {
        let lane = body.lane;
        if !self.is_member(lane) {
            return self.respond(
                token,
                &Response::refused(false, "not in the committee of this lane"),
            );
        }
        let now = self.now;
        let digest = header.signing_digest(&self.config.profile);
        let Some(f) = self.lanes.get(&lane) else {
            return;
        };
        let member = f.live.member_index(&from).is_some();
        let account = f.live.account_of(&from).map(|a| a.0).filter(|_| member);
        let signer = account.filter(|a| recover(&digest, signature) == Some(*a));
        if let Some(account) = signer.filter(|_| header.lane == lane) {
            self.on_shown(account, &header, *signature);
        }
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let why = if body.epoch != f.live.epoch + 1 || f.posted.is_some() {
            Some(format!("this node is at epoch {}", f.live.epoch))
        } else if !member {
            Some("only members propose".to_owned())
        } else if signer.is_none() {
            Some("the header does not carry its proposer's signature".to_owned())
        } else if body.records.len() > limit::EPOCH_RECORDS_MAX {
            Some("too many records".to_owned())
        } else if !f.live.head_posted || f.live.block.number < body.block.number {
            Some(format!(
                "this node knows the chain up to block {}",
                f.live.block.number
            ))
        } else if f.agreement.evaluating.is_some() {
            Some("busy with another proposal".to_owned())
        } else {
            None
        };
        if let Some(why) = why {
            return self.respond(token, &Response::refused(true, why));
        }
        let missing = f.missing(&body);
        f.agreement.evaluating = Some(Evaluating {
            token,
            from,
            body,
            header,
            since: now,
        });
        if missing.is_empty() {
            return self.resume_evaluation(lane);
        }
        let ids: Vec<RecordId> = missing.into_iter().take(limit::RECORDS_ASKED_MAX).collect();
        self.ask(
            from,
            &Request::GetRecords { ids },
            Asked::Records { lane, from },
        );
    }

    /// The proposer did not give a record that its own proposal names.
    pub(super) fn give_up_evaluation(&mut self, lane: u32, from: NodeKey) {
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        if let Some(e) = f.agreement.evaluating.take_if(|e| e.from == from) {
            self.respond(
                e.token,
                &Response::refused(
                    true,
                    "the proposal's records could not be had from its proposer",
                ),
            );
        }
    }

    /// Goes on with the proposal under evaluation once more records are here.
    pub(super) fn resume_evaluation(&mut self, lane: u32) {
        let profile = self.config.profile.clone();
        let Some(f) = self.lanes.get_mut(&lane) else {
            return;
        };
        let Some(e) = f.agreement.evaluating.clone() else {
            return;
        };
        let missing = f.missing(&e.body);
        if !missing.is_empty() {
            let under_way =
                self.is_asking(|a| matches!(a, Asked::Records { lane: l, .. } if *l == lane));
            if !under_way {
                let ids = missing.into_iter().take(limit::RECORDS_ASKED_MAX).collect();
                self.ask(
                    e.from,
                    &Request::GetRecords { ids },
                    Asked::Records { lane, from: e.from },
                );
            }
            return;
        }
        f.agreement.evaluating = None;
        let response = match compute_checked(f, &e.body, &profile) {
            Ok(applied) if applied.header == e.header => {
                let digest = e.header.signing_digest(&profile);
                f.computed
                    .insert(e.header.hash(), (e.body.clone(), applied));
                match self.vote(lane, &e.header, &digest) {
                    Some(signature) => Response::Vote(signature),
                    None => Response::refused(false, "another header was signed in this view"),
                }
            }
            Ok(_) => Response::refused(false, "the records give another header"),
            Err(why) => Response::refused(true, why),
        };
        self.respond(e.token, &response);
    }

    /// Votes that were durable before a restart.
    pub(super) fn restore_vote(&mut self, lane: u32, epoch: u64, view: u32, header: Hash) {
        if let Some(f) = self.lanes.get_mut(&lane).filter(|f| epoch > f.base.epoch) {
            f.agreement.voted.insert((epoch, view), header);
            // Never go back to a view in which something was signed.
            f.agreement.view = f.agreement.view.max(view);
        }
    }
}

/// A fresh start that does not forget what was signed.
fn keep_votes(old: &Agreement) -> Agreement {
    Agreement {
        voted: old.voted.clone(),
        view: old.view,
        draw_at: old.draw_at,
        ..Agreement::default()
    }
}

fn compute(
    f: &super::follow::Follower,
    body: &EpochBody,
    profile: &crate::network::NetworkProfile,
) -> Option<Applied> {
    compute_checked(f, body, profile).ok()
}

/// Computes the epoch and checks that nothing promised is missing from it.
fn compute_checked(
    f: &super::follow::Follower,
    body: &EpochBody,
    profile: &crate::network::NetworkProfile,
) -> Result<Applied, String> {
    let records: Vec<&Authentic> = body.records.iter().filter_map(|id| f.record(id)).collect();
    let news: Vec<BlockNews> = f.news.iter().cloned().collect();
    let applied = f
        .base
        .apply(body, &records, &news, profile)
        .map_err(|e| e.to_string())?;
    // A task that this epoch moves must take every record that we promised for it.
    for (id, record) in &f.pool {
        let task = record.envelope().task;
        let Some(before) = f.live.tasks.get(&task) else {
            continue;
        };
        let moved = applied
            .state
            .tasks
            .get(&task)
            .is_none_or(|after| after.phase != before.phase);
        let promised = before.admits(record, f.live.speaker(record)).is_ok();
        if moved && promised && body.records.binary_search(id).is_err() {
            return Err(format!("record {} was promised and is missing", id.short()));
        }
    }
    Ok(applied)
}
