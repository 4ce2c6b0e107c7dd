//! Registry, escrow, anchor and distributor as one pure state machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    amount::Amount,
    crypto::{hash, recover},
    id::{Account, Blob, EvmSignature, Hash, NodeKey, Signature, TaskId},
    lane::{Claim, FlatClaim, SubtreeClaim, role},
    limit, merkle,
    message::{BlockNews, BlockRef, ChainFact, EpochHeader, SettledTask},
    network::NetworkProfile,
    settlement::fault::TreeFault,
};

/// Why a contract would revert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Not enough tokens.
    #[error("{account} holds {held}, {needed} are needed")]
    Balance {
        /// Who.
        account: Account,
        /// Has.
        held: Amount,
        /// Needs.
        needed: Amount,
    },
    /// Registered already, or the node key is taken.
    #[error("account or node key is registered already")]
    Registered,
    /// The account is unknown.
    #[error("{0} is not registered")]
    Unknown(Account),
    /// The escrow exists already, or does not exist, or is released.
    #[error("escrow of task {0}: {1}")]
    Escrow(TaskId, &'static str),
    /// A committee is drawn and its term runs, or nobody can sit on one.
    #[error("lane {0} cannot draw a committee now")]
    Draw(u32),
    /// The header does not follow the last one.
    #[error("header does not follow: {0}")]
    Header(&'static str),
    /// Too few good signatures.
    #[error("{got} good signatures, {needed} are needed")]
    Quorum {
        /// Good ones.
        got: usize,
        /// Threshold.
        needed: usize,
    },
    /// The lane is not silent for long enough.
    #[error("lane {lane} is silent for long enough at {at} (Unix seconds)")]
    LaneActive {
        /// Lane.
        lane: u32,
        /// When the fallback can be opened if nothing happens.
        at: u64,
    },
    /// The task is not in fallback, the window still runs, or the proof does not fit.
    #[error("fallback of task {0}: {1}")]
    Fallback(TaskId, &'static str),
    /// What is owed is not what was released.
    #[error("owed {owed} but released {released}")]
    NotConserved {
        /// By the header.
        owed: Amount,
        /// By the escrows.
        released: Amount,
    },
    /// The voters are no majority, not in order, or did not sign this.
    #[error("the votes weigh {given} of {all}, and more than half is needed")]
    Votes {
        /// Weight of the good votes.
        given: Amount,
        /// Weight of all validators.
        all: Amount,
    },
    /// The leaves of a proof are not those of the header, or show no fault.
    #[error("the proof shows no fault of the header")]
    NoFault,
    /// The claim's proof does not lead to an active root.
    #[error("the proof does not lead to an active root")]
    Proof,
    /// Everything was paid before.
    #[error("nothing is due")]
    NothingDue,
}

#[derive(Clone, Debug)]
struct Member {
    node_key: NodeKey,
    roles: u8,
    leaving: bool,
    stake: Amount,
    /// Block that holds the registration.
    since: u64,
}

#[derive(Clone, Debug)]
struct Escrow {
    deposit: Amount,
    gold_bond: Amount,
    released: bool,
    lane: u32,
    funded_at: u64,
    fallback: Option<Fallback>,
    /// Top-ups by the block that will hold them; a header counts those up to its own block.
    late: BTreeMap<u64, Amount>,
}

/// A task that is paid without a committee.
#[derive(Clone, Debug)]
struct Fallback {
    /// The lane's head when it was opened.
    header: Hash,
    /// Deposit that is not paid yet.
    left: Amount,
    closes_at: u64,
    closed: bool,
    /// Leaves that were paid.
    paid: BTreeSet<Hash>,
}

impl Escrow {
    /// Whether an epoch can take the money.
    fn is_open(&self) -> bool {
        !self.released && self.fallback.is_none()
    }

    /// Tokens that the escrow still holds.
    fn held(&self) -> Amount {
        match &self.fallback {
            Some(f) if f.closed => Amount::ZERO,
            Some(f) => Amount(f.left.0 + self.gold_bond.0),
            None if self.released => Amount::ZERO,
            None => Amount(self.deposit.0 + self.gold_bond.0),
        }
    }

    /// Deposit and bond at the end of `block`.
    fn at(&self, block: u64) -> Amount {
        let late: Amount = self.late.range(block + 1..).map(|l| *l.1).sum();
        Amount(self.deposit.0 + self.gold_bond.0 - late.0)
    }
}

#[derive(Clone, Debug)]
struct Posted {
    header: Hash,
    root: Hash,
    count: u32,
    /// Time from which the root pays and cannot be taken back.
    active_at: u64,
    signatures: Vec<EvmSignature>,
}

/// What the contracts are deployed with that decides who may take an epoch back, and what that costs its signers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisputeTerms {
    /// `RewardDistributor.ACTIVATION_DELAY`, seconds.
    pub activation_delay: u64,
    /// `Registry.minValidatorStake`, base units.
    pub min_validator_stake: Amount,
    /// `Registry.slashBps`, ten thousandths.
    pub slash_bps: u16,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    /// Last term that was drawn.
    term: u64,
    committee: Option<(u64, Vec<Account>, u16)>,
    epoch: u64,
    head: Hash,
    /// What was posted, by epoch; the last [`ROOTS_KEPT`].
    posted: BTreeMap<u64, Posted>,
    /// Hashes of all headers up to the head.
    headers: BTreeMap<u64, Hash>,
    owed: Amount,
    released: Amount,
    drawn_at: u64,
    /// Time of the last post, draw or revocation; 0 for none.
    active_at: u64,
    /// Time of the last draw or revocation that counts as a sign of life.
    silent_since: u64,
    /// Epoch at the last draw or revocation, and how many of them there were since the last post.
    draws: (u64, u32),
}

impl Lane {
    fn note_draw(&mut self, now: u64) {
        let before = if self.draws.0 == self.epoch {
            self.draws.1
        } else {
            0
        };
        self.draws = (self.epoch, before + 1);
        self.active_at = now;
        if before < IDLE_DRAWS {
            self.silent_since = now;
        }
    }

    /// Last sign of life; 0 for none.
    fn last_activity(&self) -> u64 {
        if self.draws.1 > 0 && self.draws.0 == self.epoch {
            self.silent_since
        } else {
            self.active_at
        }
    }
}

/// Totals of a lane, for conservation checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Released by escrows.
    pub released: Amount,
    /// Owed by the last root.
    pub owed: Amount,
}

/// Roots that stay claimable.
const ROOTS_KEPT: usize = 16;
/// Draws without a post between them that count as signs of life (`EpochAnchor.IDLE_DRAWS`).
const IDLE_DRAWS: u32 = 3;
/// Most that a validator weighs, in minimum stakes (`Registry.STAKE_CAP_FACTOR`).
const STAKE_CAP_FACTOR: u128 = 4;
/// The whole stake in `slashBps`.
const ALL_BPS: u128 = 10_000;
/// Where burned stakes go (`Registry.BURN_ADDRESS`).
const BURN_ADDRESS: Account = Account([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xde, 0xad,
]);
/// Largest committee of the twin: everybody, up to this.
const COMMITTEE_MAX: usize = 21;

/// The chain as the contracts see it.
#[derive(Clone, Debug)]
pub struct Ledger {
    profile: NetworkProfile,
    seed: Hash,
    block: BlockRef,
    /// Time of the block that is being filled.
    now: u64,
    fallback_secs: u64,
    disputes: DisputeTerms,
    recent: BTreeMap<u64, Hash>,
    pending: Vec<ChainFact>,
    members: BTreeMap<Account, Member>,
    balances: BTreeMap<Account, Amount>,
    escrows: BTreeMap<(TaskId, Account), Escrow>,
    lanes: BTreeMap<u32, Lane>,
    paid: BTreeMap<(u32, Account), Amount>,
    claimed: Amount,
    staked: Amount,
    /// Who was punished for signing which header.
    punished: BTreeSet<(Hash, Account)>,
}

impl Ledger {
    /// An empty chain. `seed` makes block hashes and randomness.
    pub fn new(profile: NetworkProfile, seed: Hash) -> Self {
        Self {
            profile,
            seed,
            block: BlockRef {
                number: 0,
                hash: Hash::ZERO,
                time: 0,
            },
            now: 0,
            fallback_secs: u64::MAX,
            disputes: DisputeTerms::default(),
            recent: BTreeMap::new(),
            pending: Vec::new(),
            members: BTreeMap::new(),
            balances: BTreeMap::new(),
            escrows: BTreeMap::new(),
            lanes: BTreeMap::new(),
            paid: BTreeMap::new(),
            claimed: Amount::ZERO,
            staked: Amount::ZERO,
            punished: BTreeSet::new(),
        }
    }

    /// The same, with a fallback after `seconds` of silence (`TaskEscrow.FALLBACK_SECONDS`); without it there is none.
    #[must_use]
    pub fn with_fallback(mut self, seconds: u64) -> Self {
        self.fallback_secs = seconds;
        self
    }

    /// The same, with these terms for taking epochs back; without them every root pays at once and stays.
    #[must_use]
    pub fn with_disputes(mut self, terms: DisputeTerms) -> Self {
        self.disputes = terms;
        self
    }

    /// Calls from now on are in a block of this time, in seconds.
    pub fn begin(&mut self, time: u64) {
        self.now = time;
    }

    /// Closes a block at `time` (seconds, never before the last one's).
    pub fn mine(&mut self, time: u64) -> BlockNews {
        let number = self.block.number + 1;
        let time = time.max(self.block.time);
        let parts: [&[u8]; 4] = [
            &self.seed.0,
            &number.to_be_bytes(),
            &time.to_be_bytes(),
            &self.block.hash.0,
        ];
        let block = BlockRef {
            number,
            time,
            hash: hash("assay/1/ledger-block", &parts),
        };
        let randao = hash("assay/1/ledger-randao", &parts);
        BlockNews {
            block,
            randao,
            facts: self.close(block),
        }
    }

    /// Closes a block that a real chain made; gives the facts of the block. With it the twin follows a chain instead of being one.
    pub fn close(&mut self, block: BlockRef) -> Vec<ChainFact> {
        self.block = block;
        self.now = self.now.max(block.time);
        self.recent.insert(block.number, block.hash);
        if self.recent.len() > 256 {
            self.recent.pop_first();
        }
        std::mem::take(&mut self.pending)
    }

    /// Facts of the block that is not closed yet.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Makes tokens, as a development token does.
    pub fn mint(&mut self, to: Account, amount: Amount) {
        let sum = self.balances.entry(to).or_default();
        *sum = Amount(sum.0.saturating_add(amount.0));
    }

    /// The token's `transfer`.
    ///
    /// # Errors
    /// [`LedgerError::Balance`].
    pub fn transfer(
        &mut self,
        from: Account,
        to: Account,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        self.take(from, amount)?;
        self.mint(to, amount);
        Ok(())
    }

    /// Every account that ever held tokens, with what it holds.
    pub fn balances(&self) -> impl Iterator<Item = (&Account, &Amount)> {
        self.balances.iter()
    }

    /// Tokens of an account.
    pub fn balance(&self, account: &Account) -> Amount {
        self.balances.get(account).copied().unwrap_or_default()
    }

    fn take(&mut self, from: Account, amount: Amount) -> Result<(), LedgerError> {
        let held = self.balance(&from);
        let left = held.checked_sub(amount).ok_or(LedgerError::Balance {
            account: from,
            held,
            needed: amount,
        })?;
        self.balances.insert(from, left);
        Ok(())
    }

    /// `Registry.register`.
    ///
    /// # Errors
    /// [`LedgerError`].
    #[allow(clippy::too_many_arguments, reason = "the contract's own parameters")]
    pub fn register(
        &mut self,
        account: Account,
        node_key: NodeKey,
        seal_key: Hash,
        payee: Account,
        roles: u8,
        stake: Amount,
        binding: Signature,
    ) -> Result<(), LedgerError> {
        let taken = self.members.values().any(|m| m.node_key == node_key);
        if self.members.contains_key(&account) || taken {
            return Err(LedgerError::Registered);
        }
        self.take(account, stake)?;
        self.staked = Amount(self.staked.0 + stake.0);
        self.members.insert(
            account,
            Member {
                node_key,
                roles,
                leaving: false,
                stake,
                since: self.block.number + 1,
            },
        );
        self.pending.push(ChainFact::Registered {
            account,
            node_key,
            seal_key,
            payee,
            roles,
            stake,
            nonce: 0,
            binding,
        });
        Ok(())
    }

    /// `Registry.requestUnbond`.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub fn request_unbond(&mut self, account: Account) -> Result<(), LedgerError> {
        self.members
            .get_mut(&account)
            .ok_or(LedgerError::Unknown(account))?
            .leaving = true;
        self.pending.push(ChainFact::UnbondRequested { account });
        Ok(())
    }

    /// `TaskEscrow.fund`.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn fund(
        &mut self,
        client: Account,
        task: TaskId,
        lane: u32,
        deposit: Amount,
        gold_bond: Amount,
    ) -> Result<(), LedgerError> {
        if self.escrows.contains_key(&(task, client)) {
            return Err(LedgerError::Escrow(task, "funded already"));
        }
        self.take(client, Amount(deposit.0 + gold_bond.0))?;
        self.escrows.insert(
            (task, client),
            Escrow {
                deposit,
                gold_bond,
                released: false,
                lane,
                funded_at: self.now,
                fallback: None,
                late: BTreeMap::new(),
            },
        );
        self.pending.push(ChainFact::Funded {
            task,
            client,
            lane,
            deposit,
            gold_bond,
        });
        Ok(())
    }

    /// `TaskEscrow.topUp`.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn top_up(
        &mut self,
        from: Account,
        task: TaskId,
        client: Account,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        if self
            .escrows
            .get(&(task, client))
            .is_none_or(|e| !e.is_open())
        {
            return Err(LedgerError::Escrow(task, "not open"));
        }
        self.take(from, amount)?;
        if let Some(escrow) = self.escrows.get_mut(&(task, client)) {
            escrow.deposit = Amount(escrow.deposit.0 + amount.0);
            let late = escrow.late.entry(self.block.number + 1).or_default();
            *late = Amount(late.0 + amount.0);
            let deposit = escrow.deposit;
            self.pending.push(ChainFact::ToppedUp {
                task,
                client,
                deposit,
            });
        }
        Ok(())
    }

    /// `TaskEscrow.forceRecord`: anyone, for anyone.
    ///
    /// # Errors
    /// [`LedgerError::Escrow`].
    pub fn force_record(
        &mut self,
        task: TaskId,
        client: Account,
        record: Blob,
    ) -> Result<(), LedgerError> {
        let fits = (1..=limit::FORCED_BYTES_MAX).contains(&record.0.len());
        if !self.escrows.contains_key(&(task, client)) || !fits {
            return Err(LedgerError::Escrow(task, "not funded, or no record"));
        }
        self.pending.push(ChainFact::RecordForced {
            task,
            client,
            record,
        });
        Ok(())
    }

    /// `EpochAnchor.drawCommittee` while the registry is no larger than the committee: everybody, in account order.
    ///
    /// # Errors
    /// [`LedgerError::Draw`].
    pub fn draw_committee(&mut self, lane: u32) -> Result<(), LedgerError> {
        let members: Vec<Account> = self
            .members
            .iter()
            .filter(|(_, m)| m.roles & role::VALIDATOR != 0 && !m.leaving)
            .map(|(a, _)| *a)
            .collect();
        let term_epochs = self.profile.params.term_epochs;
        let state = self.lanes.entry(lane).or_default();
        let running = state.committee.is_some() && state.epoch < state.drawn_at + term_epochs;
        if lane >= self.profile.params.lanes
            || members.is_empty()
            || members.len() > COMMITTEE_MAX
            || running
        {
            return Err(LedgerError::Draw(lane));
        }
        let threshold = (2 * members.len()).div_ceil(3) as u16;
        let term = state.term + 1;
        state.term = term;
        state.committee = Some((term, members.clone(), threshold));
        state.drawn_at = state.epoch;
        state.note_draw(self.now);
        self.pending.push(ChainFact::CommitteeDrawn {
            lane,
            term,
            members,
            threshold,
        });
        Ok(())
    }

    /// `EpochAnchor.post`.
    ///
    /// # Errors
    /// [`LedgerError`]; the state is unchanged then.
    pub fn post_epoch(
        &mut self,
        poster: Account,
        header: &EpochHeader,
        settled: &[SettledTask],
        signatures: &[(u8, EvmSignature)],
    ) -> Result<(), LedgerError> {
        let lane = self
            .lanes
            .get(&header.lane)
            .ok_or(LedgerError::Header("no committee is drawn"))?;
        let Some((term, members, threshold)) = &lane.committee else {
            return Err(LedgerError::Header("no committee is drawn"));
        };
        if header.epoch != lane.epoch + 1 || header.parent != lane.head {
            return Err(LedgerError::Header("not the next epoch"));
        }
        if header.term != *term {
            return Err(LedgerError::Header("another term"));
        }
        if header.chain_block > self.block.number {
            return Err(LedgerError::Header("its block is in the future"));
        }
        if self.recent.get(&header.chain_block) != Some(&header.chain_block_hash) {
            return Err(LedgerError::Header(
                "its block is not on this chain, or too old",
            ));
        }
        if header.settled_hash != EpochHeader::hash_settled(settled) {
            return Err(LedgerError::Header(
                "the settled tasks are not the ones signed",
            ));
        }
        let digest = header.signing_digest(&self.profile);
        let rising = signatures.windows(2).all(|w| w[0].0 < w[1].0);
        let good = signatures
            .iter()
            .filter(|(i, s)| {
                members
                    .get(usize::from(*i))
                    .is_some_and(|m| recover(&digest, s) == Some(*m))
            })
            .count();
        let needed = usize::from(*threshold);
        if !rising || good < needed || good != signatures.len() {
            return Err(LedgerError::Quorum { got: good, needed });
        }
        let oldest = (header.epoch + 1).checked_sub(ROOTS_KEPT as u64);
        let kept = oldest.and_then(|epoch| lane.posted.get(&epoch));
        if kept.is_some_and(|p| self.now < p.active_at) {
            return Err(LedgerError::Header("no root would be active after it"));
        }
        let mut released = lane.released;
        for s in settled {
            let escrow = self
                .escrows
                .get(&(s.task, s.client))
                .filter(|e| e.is_open())
                .ok_or(LedgerError::Escrow(s.task, "not open"))?;
            released = Amount(released.0 + escrow.at(header.chain_block).0);
        }
        if header.total_owed != released || header.total_owed < lane.owed {
            return Err(LedgerError::NotConserved {
                owed: header.total_owed,
                released,
            });
        }
        let empty = header.total_owed == Amount::ZERO;
        if (header.payout_root == Hash::ZERO) != empty || (header.payout_count == 0) != empty {
            return Err(LedgerError::Header(
                "an empty tree owes nothing, and only it",
            ));
        }
        for s in settled {
            if let Some(escrow) = self.escrows.get_mut(&(s.task, s.client)) {
                escrow.released = true;
                self.pending.push(ChainFact::Released {
                    task: s.task,
                    client: s.client,
                    amount: escrow.at(header.chain_block),
                });
                // What was paid in after the header's block is the client's again (`returnLateTopUp`).
                let rest = escrow.deposit.0 + escrow.gold_bond.0 - escrow.at(header.chain_block).0;
                self.mint(s.client, Amount(rest));
            }
        }
        let hash = header.hash();
        if let Some(lane) = self.lanes.get_mut(&header.lane) {
            lane.released = released;
            lane.owed = header.total_owed;
            lane.epoch = header.epoch;
            lane.head = hash;
            lane.active_at = self.now;
            let posted = Posted {
                header: hash,
                root: header.payout_root,
                count: header.payout_count,
                active_at: self.now + self.disputes.activation_delay,
                signatures: signatures.iter().map(|s| s.1).collect(),
            };
            lane.posted.insert(header.epoch, posted);
            lane.headers.insert(header.epoch, hash);
            while lane.posted.len() > ROOTS_KEPT {
                lane.posted.pop_first();
            }
        }
        self.pending.push(ChainFact::EpochPosted {
            header: Box::new(header.clone()),
            signers: signatures.iter().map(|s| s.0).collect(),
            poster,
        });
        Ok(())
    }

    /// Signatures under the header that was posted as an epoch and was not taken back; none when it is no longer kept.
    pub fn signatures(&self, lane: u32, epoch: u64) -> &[EvmSignature] {
        let posted = self.lanes.get(&lane).and_then(|l| l.posted.get(&epoch));
        posted.map_or(&[], |p| &p.signatures)
    }

    /// `Disputes.overrule`: validators who weigh more than half take a posted header back before its root is active, with all epochs after
    /// it; the lane's committee is dismissed, and whoever signed the header pays and is out. Money that moved stays where it is.
    ///
    /// # Errors
    /// [`LedgerError::Header`] when it is not posted or too old, [`LedgerError::Votes`].
    pub fn overrule(
        &mut self,
        reporter: Account,
        header: &EpochHeader,
        signatures: &[EvmSignature],
        votes: &[(Account, EvmSignature)],
    ) -> Result<(), LedgerError> {
        let (lane, from, hash) = (header.lane, header.epoch, header.hash());
        let posted = self.lanes.get(&lane).and_then(|l| l.posted.get(&from));
        if posted.is_none_or(|p| p.header != hash || self.now >= p.active_at) {
            return Err(LedgerError::Header("not posted, or active already"));
        }
        let weight = |m: &Member| {
            let cap = self.disputes.min_validator_stake.0 * STAKE_CAP_FACTOR;
            let votes = m.roles & role::VALIDATOR != 0 && !m.leaving;
            let known = m.since <= header.chain_block;
            Amount(if votes && known {
                m.stake.0.min(cap)
            } else {
                0
            })
        };
        let digest = EpochHeader::overrule_digest(&hash, &self.profile);
        let all: Amount = self.members.values().map(weight).sum();
        let signed = votes.iter().all(|(a, s)| recover(&digest, s) == Some(*a));
        let rising = votes.windows(2).all(|w| w[0].0 < w[1].0);
        let members = votes.iter().filter_map(|v| self.members.get(&v.0));
        let given: Amount = members.map(weight).sum();
        if !signed || !rising || given.0 * 2 <= all.0 {
            return Err(LedgerError::Votes { given, all });
        }
        self.convict(reporter, header, signatures)
    }

    /// `Disputes.proveDisorder` and its like: a fault of a posted header takes it back while its root is not active, and all epochs after it;
    /// whoever signed it pays, once, and is out.
    ///
    /// # Errors
    /// [`LedgerError::Header`] when it does not stand, [`LedgerError::NoFault`].
    pub fn prove_fault(
        &mut self,
        reporter: Account,
        header: &EpochHeader,
        signatures: &[EvmSignature],
        fault: &TreeFault,
    ) -> Result<(), LedgerError> {
        let lane = self.lanes.get(&header.lane);
        let stands = lane.and_then(|l| l.headers.get(&header.epoch));
        if stands != Some(&header.hash()) {
            return Err(LedgerError::Header("not posted, or taken back"));
        }
        if !fault.convicts(header) {
            return Err(LedgerError::NoFault);
        }
        self.convict(reporter, header, signatures)
    }

    /// The lane goes back when it still can, and the signers pay.
    fn convict(
        &mut self,
        reporter: Account,
        header: &EpochHeader,
        signatures: &[EvmSignature],
    ) -> Result<(), LedgerError> {
        let (lane, from, hash) = (header.lane, header.epoch, header.hash());
        let digest = header.signing_digest(&self.profile);
        let signers: Option<Vec<Account>> =
            signatures.iter().map(|s| recover(&digest, s)).collect();
        let known = signers.filter(|all| all.iter().all(|a| self.members.contains_key(a)));
        let signers = known.ok_or(LedgerError::Header("signed by somebody unknown"))?;
        let waits = |l: &&mut Lane| l.posted.get(&from).is_some_and(|p| self.now < p.active_at);
        if let Some(state) = self.lanes.get_mut(&lane).filter(waits) {
            state.epoch = from - 1;
            state.head = header.parent;
            state.draws.1 = 0;
            state.note_draw(self.now);
            state.posted.retain(|epoch, _| *epoch < from);
            state.headers.retain(|epoch, _| *epoch < from);
            state.committee = None;
            self.pending.push(ChainFact::EpochsRevoked { lane, from });
        }
        let once: BTreeSet<Account> = signers.into_iter().collect();
        for account in once {
            if self.punished.insert((hash, account)) {
                self.slash(account, reporter);
            }
        }
        Ok(())
    }

    fn slash(&mut self, account: Account, reporter: Account) {
        let Some(member) = self.members.get_mut(&account) else {
            return;
        };
        let taken = Amount(member.stake.0 * u128::from(self.disputes.slash_bps) / ALL_BPS);
        let rewarded = Amount(taken.0 / 2);
        member.stake = Amount(member.stake.0 - taken.0);
        let leaves = !std::mem::replace(&mut member.leaving, true);
        self.staked = Amount(self.staked.0 - taken.0);
        self.mint(reporter, rewarded);
        self.mint(BURN_ADDRESS, Amount(taken.0 - rewarded.0));
        if leaves {
            self.pending.push(ChainFact::UnbondRequested { account });
        }
    }

    /// `TaskEscrow.openFallback`: anyone, when the lane has been silent for long enough.
    ///
    /// # Errors
    /// [`LedgerError::Escrow`], [`LedgerError::LaneActive`].
    pub fn open_fallback(&mut self, task: TaskId, client: Account) -> Result<(), LedgerError> {
        let escrow = self
            .escrows
            .get_mut(&(task, client))
            .filter(|e| e.is_open())
            .ok_or(LedgerError::Escrow(task, "not open"))?;
        let lane = self.lanes.get(&escrow.lane);
        let since = lane.map_or(0, Lane::last_activity).max(escrow.funded_at);
        let at = since.saturating_add(self.fallback_secs);
        if self.now < at {
            return Err(LedgerError::LaneActive {
                lane: escrow.lane,
                at,
            });
        }
        let header = lane.map_or(Hash::ZERO, |l| l.head);
        escrow.fallback = Some(Fallback {
            header,
            left: escrow.deposit,
            closes_at: self.now.saturating_add(self.fallback_secs),
            closed: false,
            paid: BTreeSet::new(),
        });
        self.pending.push(ChainFact::FallbackOpened {
            task,
            client,
            header,
        });
        Ok(())
    }

    /// The running fallback of a task.
    fn running(&mut self, task: TaskId, client: Account) -> Result<&mut Fallback, LedgerError> {
        self.escrows
            .get_mut(&(task, client))
            .and_then(|e| e.fallback.as_mut())
            .filter(|f| !f.closed)
            .ok_or(LedgerError::Fallback(task, "is not open"))
    }

    /// `TaskEscrow.claimFallback`: anyone, for anyone. Gives what was paid.
    ///
    /// # Errors
    /// [`LedgerError::Fallback`].
    pub fn claim_fallback(
        &mut self,
        header: &EpochHeader,
        claim: &FlatClaim,
    ) -> Result<Amount, LedgerError> {
        let pay = claim.pay;
        let fallback = self.running(pay.task, pay.client)?;
        let refused = |why| Err(LedgerError::Fallback(pay.task, why));
        if fallback.header != header.hash() {
            return refused("was opened at another header");
        }
        if !claim.is_valid(&header.state_root) {
            return refused("the proof does not lead to the header");
        }
        if fallback.paid.contains(&pay.leaf()) {
            return refused("the payee has been paid");
        }
        let due = pay.amount.min(fallback.left);
        if due == Amount::ZERO {
            return refused("the deposit is spent");
        }
        fallback.paid.insert(pay.leaf());
        fallback.left = Amount(fallback.left.0 - due.0);
        self.mint(pay.payee, due);
        Ok(due)
    }

    /// `TaskEscrow.closeFallback`: after the window, the rest is the client's. Gives it.
    ///
    /// # Errors
    /// [`LedgerError::Fallback`].
    pub fn close_fallback(&mut self, task: TaskId, client: Account) -> Result<Amount, LedgerError> {
        let now = self.now;
        let fallback = self.running(task, client)?;
        if now < fallback.closes_at {
            return Err(LedgerError::Fallback(task, "its window still runs"));
        }
        fallback.closed = true;
        let left = fallback.left;
        let bond = self
            .escrows
            .get(&(task, client))
            .map_or(Amount::ZERO, |e| e.gold_bond);
        let rest = Amount(left.0 + bond.0);
        self.mint(client, rest);
        Ok(rest)
    }

    /// `RewardDistributor.claim`: anyone, for anyone. Returns what was paid now.
    ///
    /// # Errors
    /// [`LedgerError::Proof`] or [`LedgerError::NothingDue`].
    pub fn claim(&mut self, claim: &Claim) -> Result<Amount, LedgerError> {
        let fits = self.stands(claim.lane, claim.epoch, &claim.root, claim.proof.len());
        if !fits || !claim.is_valid() {
            return Err(LedgerError::Proof);
        }
        let due = self.pay(claim.lane, claim.payee, claim.total);
        if due == Amount::ZERO {
            return Err(LedgerError::NothingDue);
        }
        Ok(due)
    }

    /// `RewardDistributor.claimSubtree`: pays whatever is due to any of the payees, possibly nothing.
    ///
    /// # Errors
    /// [`LedgerError::Proof`].
    pub fn claim_subtree(&mut self, claim: &SubtreeClaim) -> Result<Amount, LedgerError> {
        let depth = usize::from(claim.height) + claim.proof.len();
        if !self.stands(claim.lane, claim.epoch, &claim.root, depth) || !claim.is_valid() {
            return Err(LedgerError::Proof);
        }
        let dues = claim.leaves.iter();
        Ok(dues
            .map(|(payee, total)| self.pay(claim.lane, *payee, *total))
            .sum())
    }

    /// Whether an epoch's tree is kept, has this root and this depth.
    fn stands(&self, lane: u32, epoch: u64, root: &Hash, depth: usize) -> bool {
        let kept = self.lanes.get(&lane).and_then(|l| l.posted.get(&epoch));
        kept.is_some_and(|p| {
            p.root == *root && merkle::depth(p.count) == depth && self.now >= p.active_at
        })
    }

    /// Pays what is not paid yet of a proven leaf.
    fn pay(&mut self, lane: u32, payee: Account, total: Amount) -> Amount {
        let paid = self.paid.entry((lane, payee)).or_default();
        let due = total.checked_sub(*paid).unwrap_or_default();
        *paid = Amount(paid.0 + due.0);
        self.claimed = Amount(self.claimed.0 + due.0);
        self.mint(payee, due);
        due
    }

    /// Payout root of a kept epoch.
    pub fn root(&self, lane: u32, epoch: u64) -> Option<Hash> {
        self.lanes.get(&lane)?.posted.get(&epoch).map(|p| p.root)
    }

    /// What was paid so far: (lane, payee, base units).
    pub fn paid(&self) -> impl Iterator<Item = (u32, Account, Amount)> {
        self.paid
            .iter()
            .map(|((lane, payee), paid)| (*lane, *payee, *paid))
    }

    /// Last epoch of a lane, 0 before the first.
    pub fn epoch(&self, lane: u32) -> u64 {
        self.lanes.get(&lane).map_or(0, |l| l.epoch)
    }

    /// All that was ever claimed.
    pub fn claimed(&self) -> Amount {
        self.claimed
    }

    /// Totals of a lane.
    pub fn released(&self, lane: u32) -> Released {
        self.lanes.get(&lane).map_or(
            Released {
                released: Amount::ZERO,
                owed: Amount::ZERO,
            },
            |l| Released {
                released: l.released,
                owed: l.owed,
            },
        )
    }

    /// Every token that exists: balances, stakes, open escrows, and what the distributor still holds. Constant but for [`Self::mint`].
    pub fn supply(&self) -> Amount {
        let balances: Amount = self.balances.values().copied().sum();
        let open: Amount = self.escrows.values().map(Escrow::held).sum();
        let released: Amount = self.lanes.values().map(|l| l.released).sum();
        Amount(balances.0 + self.staked.0 + open.0 + released.0 - self.claimed.0)
    }
}
