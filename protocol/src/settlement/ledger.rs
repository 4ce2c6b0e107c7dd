//! Registry, escrow, anchor and distributor as one pure state machine.

mod disputes;
mod stakes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    amount::Amount,
    crypto::{hash, recover},
    id::{Account, Blob, EvmSignature, Hash, NodeKey, Signature, TaskId},
    lane::{Claim, FlatClaim, SubtreeClaim, role},
    limit, merkle,
    message::{BlockNews, BlockRef, ChainFact, EpochHeader, SettledTask},
    network::NetworkProfile,
};

pub use disputes::Evidence;
use disputes::Offence;
pub use stakes::{LossLeaf, Stake, Withdrawn};

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
    /// The account may not do this now.
    #[error("account {0}: {1}")]
    Member(Account, &'static str),
    /// The account does not show what it has lost in a lane.
    #[error("losses in lane {0}: {1}")]
    Losses(u32, &'static str),
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
    /// The claim's proof does not lead to an active root.
    #[error("the proof does not lead to an active root")]
    Proof,
    /// Everything was paid before.
    #[error("nothing is due")]
    NothingDue,
    /// The token sends nothing to the zero account.
    #[error("the zero account receives nothing")]
    Nobody,
    /// The evidence shows no fault of this header.
    #[error("no fault is shown: {0}")]
    NoFault(&'static str),
    /// The evidence names signers wrongly.
    #[error("signatures of a faulty header: {0}")]
    Signers(&'static str),
}

#[derive(Clone, Debug)]
struct Member {
    node_key: NodeKey,
    roles: u8,
    /// Time from which the stake can be withdrawn, for an account that is leaving.
    ready_at: Option<u64>,
    stake: Amount,
    /// Block that holds the registration.
    since: u64,
}

impl Member {
    /// Whether it can be drawn and votes.
    fn is_validator(&self) -> bool {
        self.roles & role::VALIDATOR != 0 && self.ready_at.is_none()
    }
}

/// What the registry and the anchor keep of an account, registered or not.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// Registrations so far.
    nonce: u64,
    /// Losses burned so far.
    burned: Amount,
    banned: bool,
    /// Committees it sits in.
    seats: u32,
    /// When it last left one.
    served_until: u64,
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
    /// Top-ups that the settling header did not count and that the client has not taken yet.
    returnable: Amount,
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
            None if self.released => self.returnable,
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
    header: EpochHeader,
    /// Time from which the root pays and cannot be taken back.
    active_at: u64,
    signatures: Vec<EvmSignature>,
}

impl Posted {
    /// Whether a distributor takes this for its tree: the bytes of the root that it keeps, and the depth.
    fn is(&self, root: Option<Hash>, depth: usize) -> bool {
        let own = kept_root(&self.header.payout_root);
        root.is_some_and(|root| own == kept_root(&root))
            && merkle::depth(self.header.payout_count) == depth
    }
}

/// Whether a node stands under a root: the check of `PositionalMerkle.verify`. The zero root holds nothing.
fn stands(root: &Hash, node: &Hash, index: u64, proof: &[Hash]) -> bool {
    *root != Hash::ZERO && proof.len() <= DEPTH_MAX && merkle::verify(root, node, index, proof)
}

fn kept_root(root: &Hash) -> &[u8] {
    &root.0[..ROOT_BYTES]
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

/// What the contracts are deployed with that decides who takes part and when committees change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberTerms {
    /// `Registry.minLabelerBond`, base units.
    pub min_labeler_bond: Amount,
    /// `Registry.unbondSeconds`.
    pub unbond_secs: u64,
    /// `EpochAnchor.committeeMax`.
    pub committee_max: u8,
    /// `EpochAnchor.termEpochs`.
    pub term_epochs: u64,
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
    owed: Amount,
    released: Amount,
    /// What was paid of it; a distributor can also hold tokens that somebody sent it.
    spent: Amount,
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
/// Largest committee where nothing else is said.
const COMMITTEE_MAX: u8 = 21;
/// Seconds without a post after which a committee can be replaced before its term is over (`EpochAnchor.STALL_SECONDS`).
const STALL_SECS: u64 = 2 * 86_400;
/// Most validators at one time (`Registry.MAX_VALIDATORS`).
const VALIDATORS_MAX: usize = 600;
/// Deposits and gold bonds stay below this (`TaskEscrow` packs them into 96 bits).
const ESCROW_LIMIT: u128 = 1 << 96;
/// Longest proof of a leaf (`PositionalMerkle.MAX_DEPTH`).
const DEPTH_MAX: usize = 40;
/// Bytes of a payout root that a distributor keeps.
const ROOT_BYTES: usize = 24;

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
    terms: MemberTerms,
    recent: BTreeMap<u64, Hash>,
    pending: Vec<ChainFact>,
    members: BTreeMap<Account, Member>,
    past: BTreeMap<Account, Past>,
    /// Owners of node keys, those of banned accounts for ever.
    node_keys: BTreeMap<NodeKey, Account>,
    /// Hashes of headers with a proven fault.
    faulty: BTreeSet<Hash>,
    /// Who was punished for what.
    punished: BTreeSet<(Offence, Account)>,
    balances: BTreeMap<Account, Amount>,
    escrows: BTreeMap<(TaskId, Account), Escrow>,
    lanes: BTreeMap<u32, Lane>,
    paid: BTreeMap<(u32, Account), Amount>,
    claimed: Amount,
    staked: Amount,
}

impl Ledger {
    /// An empty chain. `seed` makes block hashes and randomness.
    pub fn new(profile: NetworkProfile, seed: Hash) -> Self {
        let terms = MemberTerms {
            min_labeler_bond: Amount::ZERO,
            unbond_secs: 0,
            committee_max: COMMITTEE_MAX,
            term_epochs: profile.params.term_epochs,
        };
        Self {
            profile,
            terms,
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
            past: BTreeMap::new(),
            node_keys: BTreeMap::new(),
            faulty: BTreeSet::new(),
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

    /// The same, with these terms for taking part; without them nobody needs a stake, and it comes home at once.
    #[must_use]
    pub fn with_members(mut self, terms: MemberTerms) -> Self {
        self.terms = terms;
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
    /// [`LedgerError::Balance`], [`LedgerError::Nobody`].
    pub fn transfer(
        &mut self,
        from: Account,
        to: Account,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        if from == Account::default() || to == Account::default() {
            return Err(LedgerError::Nobody);
        }
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

    /// What the token says that an account holds: of a contract, all that it keeps for others and what was sent to it besides.
    pub fn holdings(&self, account: &Account) -> Amount {
        let contracts = &self.profile.contracts;
        let mut held = self.balance(account);
        if *account == contracts.registry {
            held = Amount(held.0 + self.staked.0);
        }
        if *account == contracts.escrow {
            held = Amount(held.0 + self.escrows.values().map(|e| e.held().0).sum::<u128>());
        }
        let lanes = contracts.distributors.iter().zip(0..);
        for (_, lane) in lanes.filter(|(distributor, _)| *distributor == account) {
            held = Amount(held.0 + self.unspent(lane).0);
        }
        held
    }

    /// What was released for a lane and is not paid.
    fn unspent(&self, lane: u32) -> Amount {
        let lane = self.lanes.get(&lane);
        lane.map_or(Amount::ZERO, |l| Amount(l.released.0 - l.spent.0))
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
        let refused = |why| Err(LedgerError::Member(account, why));
        if self.members.contains_key(&account) || self.node_keys.contains_key(&node_key) {
            return Err(LedgerError::Registered);
        }
        if self.past(&account).banned {
            return refused("is banned");
        }
        if node_key == NodeKey([0; 32]) || payee == Account::default() {
            return refused("the node key and the payee must not be zero");
        }
        let all = role::CLIENT | role::LABELER | role::VALIDATOR;
        if roles == 0 || roles & !all != 0 {
            return refused("there are no such roles");
        }
        if stake < self.least_stake(roles) {
            return refused("the stake is below the least of its roles");
        }
        let validators = self.members.values().filter(|m| m.is_validator()).count();
        if roles & role::VALIDATOR != 0 && validators >= VALIDATORS_MAX {
            return refused("all places of validators are taken");
        }
        self.take(account, stake)?;
        self.staked = Amount(self.staked.0 + stake.0);
        self.node_keys.insert(node_key, account);
        let past = self.past.entry(account).or_default();
        let nonce = past.nonce;
        past.nonce += 1;
        self.members.insert(
            account,
            Member {
                node_key,
                roles,
                ready_at: None,
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
            nonce,
            binding,
        });
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
        let fits = (1..ESCROW_LIMIT).contains(&deposit.0) && gold_bond.0 < ESCROW_LIMIT;
        if lane >= self.profile.params.lanes || !fits {
            return Err(LedgerError::Escrow(task, "no such lane or amount"));
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
                returnable: Amount::ZERO,
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
        let open = self.escrows.get(&(task, client)).filter(|e| e.is_open());
        let deposit = open.ok_or(LedgerError::Escrow(task, "not open"))?.deposit;
        let sum = deposit.checked_add(amount);
        if amount == Amount::ZERO || sum.is_none_or(|s| s.0 >= ESCROW_LIMIT) {
            return Err(LedgerError::Escrow(task, "no such amount"));
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

    /// `TaskEscrow.returnLateTopUp`: anyone, for the client. Gives what came too late for the header that settled the task.
    ///
    /// # Errors
    /// [`LedgerError::Escrow`].
    pub fn return_late_top_up(
        &mut self,
        task: TaskId,
        client: Account,
    ) -> Result<Amount, LedgerError> {
        let escrow = self.escrows.get_mut(&(task, client));
        let late = escrow.map(|e| std::mem::take(&mut e.returnable));
        let late = late.filter(|late| *late != Amount::ZERO);
        let late = late.ok_or(LedgerError::Escrow(task, "nothing came late"))?;
        self.mint(client, late);
        Ok(late)
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
        let members = self.members.iter().filter(|(_, m)| m.is_validator());
        let members: Vec<Account> = members.map(|(a, _)| *a).collect();
        let fits = (1..=usize::from(self.terms.committee_max)).contains(&members.len());
        if lane >= self.profile.params.lanes || !fits || self.serves(lane) {
            return Err(LedgerError::Draw(lane));
        }
        self.dismiss(lane);
        for member in &members {
            self.past.entry(*member).or_default().seats += 1;
        }
        let state = self.lanes.entry(lane).or_default();
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

    /// Whether a lane's committee cannot be replaced yet.
    fn serves(&self, lane: u32) -> bool {
        self.lanes.get(&lane).is_some_and(|l| {
            let running = l.epoch < l.drawn_at + self.terms.term_epochs;
            l.committee.is_some() && running && self.now < l.active_at + STALL_SECS
        })
    }

    /// Nobody serves a lane any more.
    fn dismiss(&mut self, lane: u32) {
        let committee = self.lanes.get_mut(&lane).and_then(|l| l.committee.take());
        for member in committee.map(|c| c.1).unwrap_or_default() {
            let past = self.past.entry(member).or_default();
            past.seats -= 1;
            past.served_until = self.now;
        }
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
        let mut named = BTreeSet::new();
        for s in settled {
            let escrow = self
                .escrows
                .get(&(s.task, s.client))
                .filter(|e| e.is_open() && e.lane == header.lane)
                .filter(|_| named.insert((s.task, s.client)))
                .ok_or(LedgerError::Escrow(s.task, "not open in this lane"))?;
            released = Amount(released.0 + escrow.at(header.chain_block).0);
        }
        if header.total_owed != released || header.total_owed < lane.owed {
            return Err(LedgerError::NotConserved {
                owed: header.total_owed,
                released,
            });
        }
        let empty = header.total_owed == Amount::ZERO;
        let no_root = kept_root(&header.payout_root) == [0; ROOT_BYTES];
        if no_root != empty || (header.payout_count == 0) != empty {
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
                // What was paid in after the header's block waits for the client (`returnLateTopUp`).
                let rest = escrow.deposit.0 + escrow.gold_bond.0 - escrow.at(header.chain_block).0;
                escrow.returnable = Amount(rest);
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
                header: header.clone(),
                active_at: self.now + self.disputes.activation_delay,
                signatures: signatures.iter().map(|s| s.1).collect(),
            };
            lane.posted.insert(header.epoch, posted);
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
        if pay.payee == Account::default() {
            return Err(LedgerError::Nobody);
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
    /// [`LedgerError::Proof`] or [`LedgerError::NothingDue`]; [`LedgerError::Balance`] when a tree owes more than there is.
    pub fn claim(&mut self, claim: &Claim) -> Result<Amount, LedgerError> {
        let due = self.claim_many(claim.lane, claim.epoch, std::slice::from_ref(claim))?;
        if due == Amount::ZERO {
            return Err(LedgerError::NothingDue);
        }
        Ok(due)
    }

    /// `RewardDistributor.claimMany`: pays whatever is due to any of the payees, possibly nothing. The claims are of this lane and epoch.
    ///
    /// # Errors
    /// [`LedgerError::Proof`], [`LedgerError::Balance`]; then nobody is paid.
    pub fn claim_many(
        &mut self,
        lane: u32,
        epoch: u64,
        claims: &[Claim],
    ) -> Result<Amount, LedgerError> {
        let kept = self.claimable(lane, epoch)?;
        let stands =
            |c: &Claim| (c.lane, c.epoch) == (lane, epoch) && kept.is(c.leads_to(), c.proof.len());
        if !claims.iter().all(stands) {
            return Err(LedgerError::Proof);
        }
        self.pay(lane, claims.iter().map(|c| (c.payee, c.total)))
    }

    /// `RewardDistributor.claimSubtree`: pays whatever is due to any of the payees, possibly nothing. The zero account is an empty place.
    ///
    /// # Errors
    /// [`LedgerError::Proof`], [`LedgerError::Balance`]; then nobody is paid.
    pub fn claim_subtree(&mut self, claim: &SubtreeClaim) -> Result<Amount, LedgerError> {
        let depth = usize::from(claim.height) + claim.proof.len();
        let kept = self.claimable(claim.lane, claim.epoch)?;
        if !kept.is(claim.leads_to(), depth) {
            return Err(LedgerError::Proof);
        }
        let leaves = claim.leaves.iter().copied();
        self.pay(claim.lane, leaves.filter(|l| l.0 != Account::default()))
    }

    /// An epoch's tree, if anything can be claimed on it.
    fn claimable(&self, lane: u32, epoch: u64) -> Result<&Posted, LedgerError> {
        let kept = self.lanes.get(&lane).and_then(|l| l.posted.get(&epoch));
        kept.filter(|p| {
            self.now >= p.active_at && kept_root(&p.header.payout_root) != [0; ROOT_BYTES]
        })
        .ok_or(LedgerError::Proof)
    }

    /// Pays what is not paid yet of proven leaves, one after the other; all or nothing.
    fn pay(
        &mut self,
        lane: u32,
        leaves: impl Iterator<Item = (Account, Amount)>,
    ) -> Result<Amount, LedgerError> {
        let distributor = self.profile.contracts.distributor(lane);
        let mut held = self.unspent(lane).0 + self.balance(&distributor).0;
        let mut paid = BTreeMap::new();
        let mut dues = Vec::new();
        for (payee, total) in leaves {
            let before = self.paid.get(&(lane, payee)).copied().unwrap_or_default();
            let before: &mut Amount = paid.entry(payee).or_insert(before);
            let due = Amount(total.0.saturating_sub(before.0));
            if due == Amount::ZERO {
                continue;
            }
            if payee == Account::default() {
                return Err(LedgerError::Nobody);
            }
            if due.0 > held {
                return Err(LedgerError::Balance {
                    account: distributor,
                    held: Amount(held),
                    needed: due,
                });
            }
            // What the distributor pays itself stays.
            if payee != distributor {
                held -= due.0;
            }
            *before = total;
            dues.push((payee, due));
        }
        for (payee, due) in &dues {
            let own = self.unspent(lane).min(*due);
            if let Some(lane) = self.lanes.get_mut(&lane) {
                lane.spent = Amount(lane.spent.0 + own.0);
            }
            if own < *due {
                // There is as much: it was counted above.
                self.take(distributor, Amount(due.0 - own.0))?;
            }
            self.mint(*payee, *due);
        }
        let due: Amount = dues.iter().map(|d| d.1).sum();
        self.claimed = Amount(self.claimed.0 + due.0);
        let paid = paid
            .into_iter()
            .map(|(payee, total)| ((lane, payee), total));
        self.paid.extend(paid);
        Ok(due)
    }

    /// Payout root of a kept epoch.
    pub fn root(&self, lane: u32, epoch: u64) -> Option<Hash> {
        let posted = self.lanes.get(&lane)?.posted.get(&epoch);
        posted.map(|p| p.header.payout_root)
    }

    /// What was paid so far: (lane, payee, base units).
    pub fn paid(&self) -> impl Iterator<Item = (u32, Account, Amount)> {
        self.paid
            .iter()
            .map(|((lane, payee), paid)| (*lane, *payee, *paid))
    }

    /// Header hash of a lane's last epoch; zero before the first.
    pub fn head(&self, lane: u32) -> Hash {
        self.lanes.get(&lane).map_or(Hash::ZERO, |l| l.head)
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
        let unspent: u128 = self.lanes.values().map(|l| l.released.0 - l.spent.0).sum();
        Amount(balances.0 + self.staked.0 + open.0 + unspent)
    }
}
