//! Money that is shared by weight: bonuses of tasks in partner tokens, and the income of data sets. Beside them, what other contracts can be
//! shown of a reputation.
//!
//! Both kinds of till have the same books (`ShareLedger`). What is paid in counts by the contract's own event, because anybody may add to a
//! till; what is drawn counts by the leaf's place.

use std::fmt;

use alloy::{
    primitives::{Address, B256, LogData, U256, aliases::U96},
    rpc::types::{Filter, Log},
    sol_types::{SolCall, SolError, SolEvent},
};
use assay_protocol::{
    amount::Amount,
    crypto::keccak,
    id::{Account, Hash, TaskId},
    lane::{BonusProof, ReputationProof},
    merkle::{ShareClaim, Shares},
    message::EpochHeader,
    network::NetworkProfile,
};
use serde::{Deserialize, Serialize};

use super::{
    Chain, ChainError, ClaimResult, StakeChange,
    bindings::{
        DevToken, EpochAnchor, ReputationAnchor,
        datasets::{self, DatasetShares},
        pool::{self, BonusPool},
        splitter::{self, RevenueSplitter},
    },
    error::RpcFault,
    facts,
    intent::Intent,
    plan::{Planner, Step, send},
    revert::explain,
    units,
};

/// An account of money that is shared by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Till {
    /// The bonus of a client's task.
    Bonus {
        /// Task.
        task: TaskId,
        /// Its client.
        client: Account,
    },
    /// The income of a version of the data set of a client's task.
    Dataset {
        /// Task.
        task: TaskId,
        /// Who published it.
        publisher: Account,
        /// From 1.
        version: u32,
    },
}

impl fmt::Display for Till {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bonus { task, .. } => write!(f, "the bonus of task {task}"),
            Self::Dataset { task, version, .. } => {
                write!(f, "version {version} of the data set of task {task}")
            }
        }
    }
}

/// keccak over two words: the key of a task's money in the escrow, and so of its bonus and its data set.
fn key_of(task: &TaskId, client: &Account) -> Hash {
    keccak(&[&task.0[..], &[0; 12], &client.0].concat())
}

fn dataset_id(task: &TaskId, publisher: &Account) -> U256 {
    U256::from_be_bytes(key_of(task, publisher).0)
}

fn missing(name: &str) -> String {
    format!("the network's profile names no contract for {name} (table `extras`)")
}

impl Till {
    /// A name of fixed length for what it holds of a token.
    pub(super) fn name(&self, token: &Account) -> Hash {
        let (key, version) = match self {
            Self::Bonus { task, client } => (key_of(task, client), 0),
            Self::Dataset {
                task,
                publisher,
                version,
            } => (key_of(task, publisher), *version),
        };
        keccak(&[&key.0[..], &version.to_be_bytes(), &token.0].concat())
    }

    /// The contract with the books; an error when the network has none.
    pub(super) fn contract(&self, profile: &NetworkProfile) -> Result<Account, String> {
        let (extra, name) = match self {
            Self::Bonus { .. } => (profile.extras.bonuses, "bonuses"),
            Self::Dataset { .. } => (profile.extras.splitter, "data sets"),
        };
        extra.map(|e| e.address).ok_or_else(|| missing(name))
    }

    /// Token and amount, if this is the event of a payment.
    pub(super) fn payment(&self, log: &LogData) -> Option<(Account, Amount)> {
        match self {
            Self::Bonus { .. } => {
                let event = BonusPool::Locked::decode_log_data_validate(log).ok()?;
                Some((event.token.into(), units(event.received)))
            }
            Self::Dataset { .. } => {
                let event = RevenueSplitter::Paid::decode_log_data_validate(log).ok()?;
                Some((event.token.into(), units(event.received)))
            }
        }
    }

    /// The payments of `payer`, or of everybody, from a block on.
    fn payments(&self, at: Account, payer: Option<Account>, since: u64) -> Filter {
        let filter = Filter::new().address(Address::from(at)).from_block(since);
        match self {
            // Only the client can pay in, so nobody else need be told apart.
            Self::Bonus { task, client } => filter
                .event_signature(BonusPool::Locked::SIGNATURE_HASH)
                .topic1(B256::from(task.0))
                .topic2(Address::from(*client).into_word()),
            Self::Dataset {
                task,
                publisher,
                version,
            } => {
                let filter = filter
                    .event_signature(RevenueSplitter::Paid::SIGNATURE_HASH)
                    .topic1(B256::from(key_of(task, publisher).0))
                    .topic2(B256::from(U256::from(*version)));
                match payer {
                    Some(payer) => filter.topic3(Address::from(payer).into_word()),
                    None => filter,
                }
            }
        }
    }
}

/// What a version of a data set fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetVersion {
    /// Hash of the content.
    pub content: Hash,
    /// BLAKE3 of the licence's text.
    pub licence: Hash,
    /// Who shares the income.
    pub shares: Shares,
}

/// A token in a till at the newest block, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TillState {
    /// All that ever arrived.
    pub income: Amount,
    /// All that was paid out.
    pub paid: Amount,
}

/// A task's bonus at the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BonusState {
    /// Something was locked.
    pub locked: bool,
    /// How it is shared, once that is recorded.
    pub shares: Option<Shares>,
    /// Unix time in seconds from which on the client can have it back without a split, if that was asked for.
    pub refund_at: Option<u64>,
}

macro_rules! abi_claim {
    ($module:ident, $claim:expr) => {{
        let claim: &ShareClaim = $claim;
        $module::ShareLedger::Claim {
            payee: claim.payee.into(),
            weight: claim.weight.0,
            index: U256::from(claim.index),
            proof: claim
                .proof
                .iter()
                .map(|node| $module::ShareTree::Node {
                    hash: node.hash.into(),
                    sum: node.sum.0,
                })
                .collect(),
        }
    }};
}

macro_rules! abi_shares {
    ($module:ident, $shares:expr) => {{
        let shares: &Shares = $shares;
        $module::ShareTree::Shares {
            root: shares.root.into(),
            totalWeight: shares.total_weight.0,
            count: shares.count,
        }
    }};
}

macro_rules! our_shares {
    ($shares:expr) => {
        Shares {
            root: $shares.root.into(),
            total_weight: Amount($shares.totalWeight),
            count: $shares.count,
        }
    };
}

impl Planner<'_> {
    /// Sends a call that would go through now; a refusal that `reached` knows is the end that was wanted.
    async fn try_now<C: SolCall + Clone>(
        &self,
        to: Account,
        call: C,
        name: &'static str,
        reached: fn(&[u8]) -> bool,
    ) -> Result<Step, RpcFault> {
        match self.endpoint.view_as(self.account, to, call.clone()).await {
            Ok(_) => Ok(send(to, &call, true, name)),
            Err(fault) => match fault.revert() {
                Some(data) if reached(data) => Ok(Step::Done),
                Some(data) => Ok(Step::Fail(explain(data).1)),
                None => Err(fault),
            },
        }
    }

    pub(super) async fn pay_in(
        &self,
        till: &Till,
        token: Account,
        amount: Amount,
        since: u64,
    ) -> Result<Step, RpcFault> {
        let at = match till.contract(self.profile) {
            Ok(at) => at,
            Err(why) => return Ok(Step::Fail(why)),
        };
        let filter = till.payments(at, Some(self.account), since);
        let logs: Vec<Log> = self.endpoint.ask("eth_getLogs", (filter,)).await?;
        let later = |log: &&Log| log.block_number.is_some_and(|number| number > since);
        let later = logs.iter().filter(later);
        let mut paid = later.filter_map(|log| till.payment(log.data()));
        if paid.any(|(with, _)| with == token) {
            return Ok(Step::Done);
        }
        let (owner, spender) = (self.account.into(), at.into());
        let need = U256::from(amount.0);
        let call = DevToken::balanceOfCall { account: owner };
        let held = self.endpoint.view(token, call).await?;
        if held < need {
            return Ok(Step::Fail(format!(
                "account 0x{} holds {held} base units of token 0x{token} and is to pay {need}; send it more and ask again",
                self.account
            )));
        }
        let call = DevToken::allowanceCall { owner, spender };
        if self.endpoint.view(token, call).await? < need {
            let call = DevToken::approveCall {
                spender,
                value: need,
            };
            return Ok(send(token, &call, false, "approve"));
        }
        let never = |_: &[u8]| false;
        match till {
            Till::Bonus { task, .. } => {
                let call = BonusPool::lockCall {
                    taskId: task.0.into(),
                    token: token.into(),
                    amount: need,
                };
                self.try_now(at, call, "lock a bonus", never).await
            }
            Till::Dataset {
                task,
                publisher,
                version,
            } => {
                let call = RevenueSplitter::payCall {
                    dataset: dataset_id(task, publisher),
                    version: *version,
                    token: token.into(),
                    amount: need,
                };
                self.try_now(at, call, "pay for a data set", never).await
            }
        }
    }

    pub(super) async fn claim_share(
        &self,
        till: &Till,
        token: Account,
        claim: &ShareClaim,
        paid: Amount,
    ) -> Result<Step, RpcFault> {
        let at = match till.contract(self.profile) {
            Ok(at) => at,
            Err(why) => return Ok(Step::Fail(why)),
        };
        if self.claimed(at, till, token, claim.index).await? > paid {
            return Ok(Step::Done);
        }
        let nothing = |data: &[u8]| BonusPool::NothingDue::abi_decode(data).is_ok();
        match till {
            Till::Bonus { task, client } => {
                let call = BonusPool::claimCall {
                    taskId: task.0.into(),
                    client: (*client).into(),
                    token: token.into(),
                    leaf: abi_claim!(pool, claim),
                };
                self.try_now(at, call, "claim a bonus", nothing).await
            }
            Till::Dataset {
                task,
                publisher,
                version,
            } => {
                let call = RevenueSplitter::claimCall {
                    dataset: dataset_id(task, publisher),
                    version: *version,
                    token: token.into(),
                    leaf: abi_claim!(splitter, claim),
                };
                self.try_now(at, call, "claim income", nothing).await
            }
        }
    }

    /// What the leaf at `index` was paid so far.
    async fn claimed(
        &self,
        at: Account,
        till: &Till,
        token: Account,
        index: u64,
    ) -> Result<Amount, RpcFault> {
        let (token, index) = (token.into(), U256::from(index));
        Ok(units(match till {
            Till::Bonus { task, client } => {
                let call = BonusPool::claimedCall {
                    taskId: task.0.into(),
                    client: (*client).into(),
                    token,
                    index,
                };
                self.endpoint.view(at, call).await?
            }
            Till::Dataset {
                task,
                publisher,
                version,
            } => {
                let call = RevenueSplitter::claimedCall {
                    dataset: dataset_id(task, publisher),
                    version: *version,
                    token,
                    index,
                };
                self.endpoint.view(at, call).await?
            }
        }))
    }

    pub(super) async fn record_split(&self, proof: &BonusProof) -> Result<Step, RpcFault> {
        let Some(at) = self.profile.extras.bonuses.map(|e| e.address) else {
            return Ok(Step::Fail(missing("bonuses")));
        };
        let bonus = &proof.bonus;
        let (task, client) = (B256::from(bonus.task.0), Address::from(bonus.client));
        let call = BonusPool::bonusOfCall {
            taskId: task,
            client,
        };
        if self.endpoint.view(at, call).await?.shares.count != 0 {
            return Ok(Step::Done);
        }
        let Some(tree) = bonus.tree() else {
            return Ok(Step::Fail("the split shares nothing".to_owned()));
        };
        let headers = if bonus.scored {
            let Some(headers) = self.up_to_head(&proof.header).await? else {
                return Ok(Step::Fail(format!(
                    "the endpoint does not show the headers of lane {} from epoch {} to its head; try again, or name another endpoint",
                    proof.header.lane, proof.header.epoch
                )));
            };
            headers
        } else {
            vec![proof.header.clone()]
        };
        let call = BonusPool::recordSplitCall {
            taskId: task,
            client,
            headers: headers
                .iter()
                .map(|h| facts::abi_header!(BonusPool, h))
                .collect(),
            split: BonusPool::Split {
                state: proof.state.into(),
                scored: bonus.scored,
                shares: abi_shares!(pool, &tree.shares()),
                index: U256::from(proof.index),
                proof: proof.proof.iter().map(|h| B256::from(*h)).collect(),
            },
        };
        self.try_now(at, call, "record a split", |_| false).await
    }

    /// The linked headers of a lane from this one to its head; none when the endpoint does not show them.
    async fn up_to_head(&self, first: &EpochHeader) -> Result<Option<Vec<EpochHeader>>, RpcFault> {
        let (anchor, lane) = (self.profile.contracts.anchor, first.lane);
        let call = EpochAnchor::headCall { lane };
        let head = self.endpoint.view(anchor, call).await?;
        let filter = Filter::new()
            .address(Address::from(anchor))
            .event_signature(EpochAnchor::EpochPosted::SIGNATURE_HASH)
            .topic1(B256::from(U256::from(lane)))
            .from_block(first.chain_block);
        let logs: Vec<Log> = self.endpoint.ask("eth_getLogs", (filter,)).await?;
        let posted: Vec<EpochHeader> = logs
            .iter()
            .filter_map(|l| EpochAnchor::EpochPosted::decode_log_data_validate(l.data()).ok())
            .map(|posted| facts::header(&posted.header))
            .collect();
        // Backwards, because an epoch that was revoked left its event.
        let (mut wanted, last) = (Hash::from(head.hash), first.hash());
        let mut headers = Vec::new();
        while wanted != last {
            let Some(next) = posted.iter().find(|h| h.hash() == wanted) else {
                return Ok(None);
            };
            wanted = next.parent;
            headers.push(next.clone());
        }
        headers.push(first.clone());
        headers.reverse();
        Ok(Some(headers))
    }

    pub(super) async fn publish_dataset(
        &self,
        task: &TaskId,
        first: &DatasetVersion,
        royalty_bps: u16,
    ) -> Result<Step, RpcFault> {
        let Some(at) = self.profile.extras.datasets.map(|e| e.address) else {
            return Ok(Step::Fail(missing("data sets")));
        };
        let dataset = dataset_id(task, &self.account);
        let call = DatasetShares::versionsCall { dataset };
        if self.endpoint.view(at, call).await? != 0 {
            return Ok(Step::Done);
        }
        let call = DatasetShares::publishCall {
            taskId: task.0.into(),
            royaltyBps: U96::from(royalty_bps),
            first: DatasetShares::Version {
                content: first.content.into(),
                licence: first.licence.into(),
                shares: abi_shares!(datasets, &first.shares),
            },
        };
        self.try_now(at, call, "publish a data set", |_| false)
            .await
    }
}

impl Chain {
    fn till_at(&self, till: &Till) -> Result<Account, ChainError> {
        let at = till.contract(&self.shared.profile);
        at.map_err(ChainError::Config)
    }

    /// Pays `amount` base units of any token into a till; tells what arrived. Returns when it is in a block (not final yet).
    ///
    /// # Errors
    /// [`ChainError::Refused`] with the contract's reason or the missing balance, [`ChainError::Pending`], [`ChainError::Rpc`].
    pub async fn pay_in(
        &self,
        till: Till,
        token: Account,
        amount: Amount,
    ) -> Result<ClaimResult, ChainError> {
        self.till_at(&till)?;
        let since = self.shared.endpoints.current().latest().await?.number;
        let intent = Intent::PayIn {
            till,
            token,
            amount,
            since,
        };
        let paid = self.payment(intent).await?;
        let odd = || {
            ChainError::Rpc(format!(
                "the endpoint shows a payment into {till} before it was made"
            ))
        };
        paid.ok_or_else(odd)
    }

    /// A token in a till.
    ///
    /// # Errors
    /// [`ChainError::Config`] when the network has no such contract, [`ChainError::Rpc`].
    pub async fn till(&self, till: Till, token: Account) -> Result<TillState, ChainError> {
        let (at, endpoint) = (self.till_at(&till)?, self.shared.endpoints.current());
        let (place, booked, paid) = match till {
            Till::Bonus { task, client } => {
                let (task, client) = (B256::from(task.0), Address::from(client));
                let call = BonusPool::tillCall {
                    taskId: task,
                    client,
                };
                let place = endpoint.view(at, call).await?;
                let call = BonusPool::ledgerCall {
                    taskId: task,
                    client,
                    token: token.into(),
                };
                let books = endpoint.view(at, call).await?;
                (place, books.income, books.paid)
            }
            Till::Dataset {
                task,
                publisher,
                version,
            } => {
                let dataset = dataset_id(&task, &publisher);
                let call = RevenueSplitter::tillCall { dataset, version };
                let place = endpoint.view(at, call).await?;
                let call = RevenueSplitter::ledgerCall {
                    dataset,
                    version,
                    token: token.into(),
                };
                let books = endpoint.view(at, call).await?;
                (place, books.income, books.paid)
            }
        };
        let call = DevToken::balanceOfCall { account: place };
        let held = endpoint.view(token, call).await?;
        Ok(TillState {
            income: units(booked.max(paid.saturating_add(held))),
            paid: units(paid),
        })
    }

    /// What the leaf at `index` of a till's tree was paid so far, in base units.
    ///
    /// # Errors
    /// As [`Self::till`].
    pub async fn share_paid(
        &self,
        till: Till,
        token: Account,
        index: u64,
    ) -> Result<Amount, ChainError> {
        let at = self.till_at(&till)?;
        Ok(self.planner().claimed(at, &till, token, index).await?)
    }

    /// The tokens that were paid into a till by its own functions, ascending.
    ///
    /// # Errors
    /// As [`Self::till`].
    pub async fn till_tokens(&self, till: Till) -> Result<Vec<Account>, ChainError> {
        let at = self.till_at(&till)?;
        let filter = till.payments(at, None, self.shared.profile.start_block);
        let endpoint = self.shared.endpoints.current();
        let logs: Vec<Log> = endpoint.ask("eth_getLogs", (filter,)).await?;
        let paid = logs.iter().filter_map(|log| till.payment(log.data()));
        let mut tokens: Vec<Account> = paid.map(|(token, _)| token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    /// Pays a leaf of a till's tree what it has earned; anyone may. Returns when it is in a block (not final yet), and nothing when nothing
    /// is due.
    ///
    /// # Errors
    /// As [`Self::pay_in`].
    pub async fn claim_share(
        &self,
        till: Till,
        token: Account,
        claim: &ShareClaim,
    ) -> Result<Option<ClaimResult>, ChainError> {
        let paid = self.share_paid(till, token, claim.index).await?;
        let claim = claim.clone();
        self.payment(Intent::ClaimShare {
            till,
            token,
            claim,
            paid,
        })
        .await
    }

    /// A task's bonus.
    ///
    /// # Errors
    /// As [`Self::till`].
    pub async fn bonus(&self, task: TaskId, client: Account) -> Result<BonusState, ChainError> {
        let at = self.till_at(&Till::Bonus { task, client })?;
        let call = BonusPool::bonusOfCall {
            taskId: task.0.into(),
            client: client.into(),
        };
        let found = self.shared.endpoints.current().view(at, call).await?;
        let refund_at: u64 = found.refundAt.to();
        Ok(BonusState {
            locked: found.locked,
            shares: (found.shares.count != 0).then(|| our_shares!(found.shares)),
            refund_at: (refund_at != 0).then_some(refund_at),
        })
    }

    /// Has the pool keep how a task's bonus is shared; anyone may. Returns when it is in a block (not final yet), and nothing when that was
    /// recorded before.
    ///
    /// # Errors
    /// As [`Self::pay_in`]; [`ChainError::Refused`] also while the epoch could be revoked.
    pub async fn record_split(
        &self,
        proof: &BonusProof,
    ) -> Result<Option<StakeChange>, ChainError> {
        self.once(Intent::RecordSplit(Box::new(proof.clone())))
            .await
    }

    /// Does what is not done yet.
    async fn once(&self, intent: Intent) -> Result<Option<StakeChange>, ChainError> {
        self.account.ok_or(ChainError::NoKey)?;
        // What is mined and not final yet is still in the outbox; asked again, it would be reported a second time.
        if let Ok(Step::Done) = self.planner().next(&intent).await {
            return Ok(None);
        }
        let done = self.submit_and_wait(intent).await?;
        Ok(done.map(|(tx, gas_used, _)| StakeChange { tx, gas_used }))
    }

    /// Publishes the data set of our task with its first version. Returns when it is in a block (not final yet), and nothing when it is
    /// published.
    ///
    /// # Errors
    /// As [`Self::pay_in`].
    pub async fn publish_dataset(
        &self,
        task: TaskId,
        first: DatasetVersion,
        royalty_bps: u16,
    ) -> Result<Option<StakeChange>, ChainError> {
        self.once(Intent::PublishDataset {
            task,
            first,
            royalty_bps,
        })
        .await
    }

    /// The versions of a client's data set, the first one first; none before it is published.
    ///
    /// # Errors
    /// [`ChainError::Config`] when the network has no data sets, [`ChainError::Rpc`].
    pub async fn dataset(
        &self,
        task: TaskId,
        publisher: Account,
    ) -> Result<Vec<DatasetVersion>, ChainError> {
        let at = self.shared.profile.extras.datasets.map(|e| e.address);
        let at = at.ok_or_else(|| ChainError::Config(missing("data sets")))?;
        let endpoint = self.shared.endpoints.current();
        let dataset = dataset_id(&task, &publisher);
        let call = DatasetShares::versionsCall { dataset };
        let count = endpoint.view(at, call).await?;
        let mut versions = Vec::new();
        for version in 1..=count {
            let call = DatasetShares::versionOfCall { dataset, version };
            let found = endpoint.view(at, call).await?;
            versions.push(DatasetVersion {
                content: found.content.into(),
                licence: found.licence.into(),
                shares: our_shares!(found.shares),
            });
        }
        Ok(versions)
    }

    /// Whether the chain confirms a labeler's evidence under this header, which has to be the lane's newest.
    ///
    /// # Errors
    /// [`ChainError::Config`] when the network has no contract for it, [`ChainError::Rpc`].
    pub async fn proves_reputation(
        &self,
        header: &EpochHeader,
        proof: &ReputationProof,
    ) -> Result<bool, ChainError> {
        let at = self.shared.profile.extras.reputation.map(|e| e.address);
        let at = at.ok_or_else(|| ChainError::Config(missing("reputations")))?;
        let call = ReputationAnchor::proveCall {
            header: facts::abi_header!(ReputationAnchor, header),
            account: proof.account.into(),
            domain: proof.domain.into(),
            alphaMilli: proof.evidence.alpha_milli.into(),
            betaMilli: proof.evidence.beta_milli.into(),
            index: U256::from(proof.index),
            proof: proof.proof.iter().map(|h| B256::from(*h)).collect(),
        };
        Ok(self.shared.endpoints.current().view(at, call).await?)
    }
}
