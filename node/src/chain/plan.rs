//! The next step towards an intent, decided by what the chain holds now.
//!
//! Reads only. Because every step starts from the chain's state, a step that was lost, or taken by somebody else, or taken twice
//! changes nothing: the next look finds what is left to do.

use alloy::{
    consensus::Header,
    primitives::{Address, B256, Bytes, U256, keccak256},
    rlp::Encodable as _,
    rpc::types::{Filter, Log},
    sol_types::{SolCall, SolError, SolEvent},
};
use assay_protocol::{
    amount::Amount,
    id::{Account, Hash, TaskId},
    lane::{Claim, FlatClaim, SubtreeClaim},
    message::{Envelope, EpochHeader},
    network::NetworkProfile,
};

use super::{
    bindings::{DevToken, EpochAnchor, PrevrandaoBeacon, Registry, RewardDistributor, TaskEscrow},
    endpoint::{At, Endpoint},
    error::RpcFault,
    facts,
    intent::Intent,
    revert::{Advice, explain},
    stake::LaneLoss,
};

/// Blocks after which a header's block is too old for the anchor (its `BLOCK_WINDOW`).
const ANCHOR_WINDOW_BLOCKS: u64 = 256;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a transaction; `last` when the intent is reached with it.
    Send {
        to: Account,
        data: Bytes,
        last: bool,
        name: &'static str,
    },
    /// The chain holds what was asked for.
    Done,
    /// Something else has to happen first.
    Wait(String),
    /// It can never happen.
    Fail(String),
}

pub(super) fn send<C: SolCall>(to: Account, call: &C, last: bool, name: &'static str) -> Step {
    Step::Send {
        to,
        data: call.abi_encode().into(),
        last,
        name,
    }
}

fn subtree_call(claim: &SubtreeClaim) -> RewardDistributor::claimSubtreeCall {
    RewardDistributor::claimSubtreeCall {
        epoch: claim.epoch,
        first: U256::from(claim.first),
        leaves: claim.packed().into(),
        proof: claim.proof.iter().map(|h| B256::from(*h)).collect(),
    }
}

/// Reads the chain for one account.
pub(super) struct Planner<'a> {
    pub endpoint: &'a Endpoint,
    pub profile: &'a NetworkProfile,
    pub account: Account,
}

impl Planner<'_> {
    pub async fn next(&self, intent: &Intent) -> Result<Step, RpcFault> {
        match intent {
            Intent::Fund { .. } => self.fund(intent).await,
            Intent::Draw { lane } => self.draw(*lane).await,
            Intent::Post { .. } => self.post(intent).await,
            Intent::ForceRecord { client, record } => self.force_record(client, record).await,
            Intent::Overrule { header, votes } => self.overrule(header, votes).await,
            Intent::ProveEquivocation(e) => self.prove_equivocation(e).await,
            Intent::ProveFault { header, fault } => self.prove(header, fault).await,
            Intent::Register { .. } => self.register(intent).await,
            Intent::Claim(claim) => self.claim(claim).await,
            Intent::ClaimSubtree(claim) => self.claim_subtree(claim).await,
            Intent::OpenFallback { task, client } => self.open_fallback(task, client).await,
            Intent::ClaimFallback { header, claim } => self.claim_fallback(header, claim).await,
            Intent::CloseFallback { task, client } => self.close_fallback(task, client).await,
            Intent::PayIn {
                till,
                token,
                amount,
                since,
            } => self.pay_in(till, *token, *amount, *since).await,
            Intent::RecordSplit(proof) => self.record_split(proof).await,
            Intent::ClaimShare {
                till,
                token,
                claim,
                paid,
            } => self.claim_share(till, *token, claim, *paid).await,
            Intent::PublishDataset {
                task,
                first,
                royalty_bps,
            } => self.publish_dataset(task, first, *royalty_bps).await,
            Intent::RaiseStake { target } => self.raise_stake(*target).await,
            Intent::Unbond { registration } => self.unbond(*registration).await,
            Intent::Withdraw {
                registration,
                losses,
            } => self.withdraw(*registration, losses).await,
        }
    }

    fn tokens(&self, units: u128) -> String {
        Amount(units).to_decimal(self.profile.params.token_decimals)
    }

    /// The step that makes `amount` of our tokens available to `spender`; none when they are.
    async fn allow(
        &self,
        spender: Account,
        amount: u128,
        purpose: &str,
    ) -> Result<Option<Step>, RpcFault> {
        let (token, owner) = (self.profile.contracts.token, self.account.into());
        let balance = self
            .endpoint
            .view(token, DevToken::balanceOfCall { account: owner })
            .await?;
        if balance < U256::from(amount) {
            return Ok(Some(Step::Fail(format!(
                "account 0x{} holds {} tokens, {purpose} needs {}; send it {} more and ask again",
                self.account,
                self.tokens(balance.saturating_to()),
                self.tokens(amount),
                self.tokens(amount.saturating_sub(balance.saturating_to())),
            ))));
        }
        let allowed = self
            .endpoint
            .view(
                token,
                DevToken::allowanceCall {
                    owner,
                    spender: spender.into(),
                },
            )
            .await?;
        if allowed >= U256::from(amount) {
            return Ok(None);
        }
        let call = DevToken::approveCall {
            spender: spender.into(),
            value: U256::from(amount),
        };
        Ok(Some(send(token, &call, false, "approve")))
    }

    async fn fund(&self, intent: &Intent) -> Result<Step, RpcFault> {
        let Intent::Fund {
            task,
            lane,
            deposit,
            gold_bond,
        } = intent
        else {
            return Ok(wrong_kind());
        };
        let (escrow, id) = (self.profile.contracts.escrow, B256::from(task.0));
        let held = self
            .endpoint
            .view(
                escrow,
                TaskEscrow::escrowsCall {
                    taskId: id,
                    client: self.account.into(),
                },
            )
            .await?;
        if held.deposit != 0 {
            let enough =
                held.deposit >= deposit.0 && held.goldBond >= gold_bond.0 && held.lane == *lane;
            return Ok(if enough {
                Step::Done
            } else {
                Step::Fail(format!(
                    "the task is funded already, in lane {} with a deposit of {} and a gold bond of {}, which is not what was asked \
                     for (lane {lane}, {} and {}); top it up, or publish the task under another id",
                    held.lane,
                    self.tokens(held.deposit),
                    self.tokens(held.goldBond),
                    self.tokens(deposit.0),
                    self.tokens(gold_bond.0),
                ))
            });
        }
        let Some(need) = deposit.checked_add(*gold_bond) else {
            return Ok(Step::Fail(
                "deposit and gold bond together exceed 2^128 base units".to_owned(),
            ));
        };
        if let Some(step) = self.allow(escrow, need.0, "the task").await? {
            return Ok(step);
        }
        let call = TaskEscrow::fundCall {
            taskId: id,
            lane: *lane,
            deposit: deposit.0,
            goldBond: gold_bond.0,
        };
        Ok(send(escrow, &call, true, "fund"))
    }

    async fn register(&self, intent: &Intent) -> Result<Step, RpcFault> {
        let Intent::Register {
            node_key,
            seal_key,
            payee,
            roles,
            stake,
            nonce,
            binding,
        } = intent
        else {
            return Ok(wrong_kind());
        };
        let registry = self.profile.contracts.registry;
        let known = self
            .endpoint
            .view(
                registry,
                Registry::accountsCall {
                    account: self.account.into(),
                },
            )
            .await?;
        if known.nodeKey == B256::from(node_key.0) {
            return Ok(Step::Done);
        }
        if known.nodeKey != B256::ZERO {
            return Ok(Step::Fail(format!(
                "account 0x{} is registered with another node key, {}; unbond and withdraw it first, or use its key",
                self.account,
                Hash::from(known.nodeKey)
            )));
        }
        if known.nonce != *nonce {
            return Ok(Step::Fail(format!(
                "the account has registered {} times, the signature of the node key is for number {nonce}; ask again",
                known.nonce
            )));
        }
        let owner = self
            .endpoint
            .view(
                registry,
                Registry::accountOfNodeKeyCall {
                    nodeKey: B256::from(node_key.0),
                },
            )
            .await?;
        if !owner.is_zero() {
            return Ok(Step::Fail(format!(
                "the node key belongs to account 0x{} already; one node key serves one account",
                Account::from(owner)
            )));
        }
        if let Some(step) = self.allow(registry, stake.0, "the stake").await? {
            return Ok(step);
        }
        let call = Registry::registerCall {
            nodeKey: B256::from(node_key.0),
            sealKey: (*seal_key).into(),
            payee: (*payee).into(),
            roles: *roles,
            stake: stake.0,
            binding: Bytes::copy_from_slice(&binding.0),
        };
        Ok(send(registry, &call, true, "register"))
    }

    /// What the registry says of our account.
    async fn own(&self) -> Result<Registry::Account, RpcFault> {
        let account = self.account.into();
        self.endpoint
            .view(
                self.profile.contracts.registry,
                Registry::accountsCall { account },
            )
            .await
    }

    fn not_registered(&self) -> Step {
        Step::Fail(format!(
            "account 0x{} is not registered; a running node with `roles` in its settings registers it",
            self.account
        ))
    }

    async fn raise_stake(&self, target: Amount) -> Result<Step, RpcFault> {
        let registry = self.profile.contracts.registry;
        let own = self.own().await?;
        if own.nodeKey.is_zero() {
            return Ok(self.not_registered());
        }
        let Some(amount) = target.0.checked_sub(own.stake).filter(|more| *more > 0) else {
            return Ok(Step::Done);
        };
        if own.readyAt != 0 {
            return Ok(Step::Fail(
                "the account is leaving; withdraw the stake, then register again".to_owned(),
            ));
        }
        if let Some(step) = self.allow(registry, amount, "the stake").await? {
            return Ok(step);
        }
        let call = Registry::addStakeCall { amount };
        Ok(send(registry, &call, true, "add stake"))
    }

    async fn unbond(&self, registration: u64) -> Result<Step, RpcFault> {
        let own = self.own().await?;
        if own.nonce == 0 {
            return Ok(self.not_registered());
        }
        if own.nodeKey.is_zero() || own.nonce != registration || own.readyAt != 0 {
            return Ok(Step::Done);
        }
        let call = Registry::requestUnbondCall {};
        Ok(send(
            self.profile.contracts.registry,
            &call,
            true,
            "request unbond",
        ))
    }

    async fn withdraw(&self, registration: u64, losses: &[LaneLoss]) -> Result<Step, RpcFault> {
        let registry = self.profile.contracts.registry;
        let own = self.own().await?;
        if own.nonce == 0 {
            return Ok(self.not_registered());
        }
        if own.nodeKey.is_zero() || own.nonce != registration {
            return Ok(Step::Done);
        }
        if own.readyAt == 0 {
            return Ok(Step::Fail(
                "the account is not leaving; ask for that first (`assay stake unbond`)".to_owned(),
            ));
        }
        let now = self.endpoint.latest().await?.time;
        if now < own.readyAt {
            return Ok(Step::Fail(format!(
                "the stake can be withdrawn from Unix time {} on, in {} seconds",
                own.readyAt,
                own.readyAt - now
            )));
        }
        let (mut heads, mut per_lane) = (Vec::new(), Vec::new());
        for loss in losses {
            match self.head_of(loss).await? {
                Ok(head) => heads.push(head),
                Err(step) => return Ok(step),
            }
            let leaf = |l: &super::stake::LossLeaf| Registry::LossLeaf {
                account: l.account.into(),
                lossTotal: l.total.0,
                index: U256::from(l.index),
                proof: l.proof.iter().map(|h| B256::from(*h)).collect(),
            };
            per_lane.push(loss.leaves.iter().map(leaf).collect());
        }
        let call = Registry::withdrawCall {
            heads,
            perLane: per_lane,
        };
        Ok(send(registry, &call, true, "withdraw"))
    }

    /// The header that a proof of loss stands under, if it is still the lane's last one.
    async fn head_of(
        &self,
        loss: &LaneLoss,
    ) -> Result<Result<Registry::EpochHeader, Step>, RpcFault> {
        let anchor = self.profile.contracts.anchor;
        let lane = loss.lane;
        let head = self
            .endpoint
            .view(anchor, EpochAnchor::headCall { lane })
            .await?;
        if head.epoch != loss.epoch || (head.epoch != 0 && head.hash != B256::from(loss.header)) {
            return Ok(Err(Step::Fail(format!(
                "lane {lane} is at epoch {} now, the proof of what the account has lost is of epoch {}; ask again",
                head.epoch, loss.epoch
            ))));
        }
        if head.epoch == 0 {
            return Ok(Ok(Registry::EpochHeader {
                lane,
                ..Default::default()
            }));
        }
        let posted = self.posted_in(lane, loss.epoch, loss.since).await?;
        let found = posted
            .into_iter()
            .find(|header| facts::header(header).hash() == loss.header);
        let Some(h) = found else {
            return Ok(Err(Step::Wait(format!(
                "the endpoint does not show the header of epoch {} of lane {lane}",
                loss.epoch
            ))));
        };
        Ok(Ok(Registry::EpochHeader {
            lane: h.lane,
            epoch: h.epoch,
            view: h.view,
            term: h.term,
            parent: h.parent,
            chainBlock: h.chainBlock,
            chainBlockHash: h.chainBlockHash,
            recordsRoot: h.recordsRoot,
            stateRoot: h.stateRoot,
            payoutRoot: h.payoutRoot,
            auditRoot: h.auditRoot,
            payoutCount: h.payoutCount,
            lossRoot: h.lossRoot,
            reputationRoot: h.reputationRoot,
            payoutFile: h.payoutFile,
            totalOwed: h.totalOwed,
            settledHash: h.settledHash,
        }))
    }

    async fn post(&self, intent: &Intent) -> Result<Step, RpcFault> {
        let Intent::Post {
            header,
            settled,
            signatures,
        } = intent
        else {
            return Ok(wrong_kind());
        };
        let anchor = self.profile.contracts.anchor;
        let head = self
            .endpoint
            .view(anchor, EpochAnchor::headCall { lane: header.lane })
            .await?;
        if head.epoch >= header.epoch {
            let posted = if head.epoch == header.epoch {
                head.hash.into()
            } else {
                self.posted(header).await?
            };
            return Ok(if posted == header.hash() {
                Step::Done
            } else {
                Step::Fail(format!(
                    "another header, {posted}, is posted as this epoch; ours is {}",
                    header.hash()
                ))
            });
        }
        if head.epoch + 1 < header.epoch {
            return Ok(Step::Wait(format!(
                "epoch {} is not posted yet",
                header.epoch - 1
            )));
        }
        let now = self.endpoint.latest().await?.number;
        if now < header.chain_block {
            return Ok(Step::Wait(format!(
                "the endpoint is at block {now}, the header at {}",
                header.chain_block
            )));
        }
        if now + 1 - header.chain_block > ANCHOR_WINDOW_BLOCKS {
            return Ok(Step::Fail(format!(
                "the header's block {} is more than {ANCHOR_WINDOW_BLOCKS} blocks old (now {now}); the committee has to sign a newer one",
                header.chain_block
            )));
        }
        let call = EpochAnchor::postCall {
            header: facts::abi_header!(EpochAnchor, header),
            settled: settled
                .iter()
                .map(|s| EpochAnchor::SettledTask {
                    taskId: s.task.0.into(),
                    client: s.client.into(),
                })
                .collect(),
            signers: signatures.iter().fold(U256::ZERO, |bits, (place, _)| {
                bits | (U256::from(1) << usize::from(*place))
            }),
            signatures: signatures
                .iter()
                .flat_map(|(_, s)| s.0)
                .collect::<Vec<_>>()
                .into(),
        };
        Ok(send(anchor, &call, true, "post"))
    }

    /// Hash of the header that was posted as this one's epoch, from the anchor's event; zero when the endpoint shows none.
    pub async fn posted(&self, header: &EpochHeader) -> Result<Hash, RpcFault> {
        let posted = self.posted_in(header.lane, header.epoch, header.chain_block);
        Ok(posted
            .await?
            .last()
            .map_or(Hash::ZERO, |h| facts::header(h).hash()))
    }

    /// Headers that were posted as an epoch of a lane from block `since` on; several when one was revoked.
    async fn posted_in(
        &self,
        lane: u32,
        epoch: u64,
        since: u64,
    ) -> Result<Vec<EpochAnchor::EpochHeader>, RpcFault> {
        let filter = Filter::new()
            .address(Address::from(self.profile.contracts.anchor))
            .event_signature(EpochAnchor::EpochPosted::SIGNATURE_HASH)
            .topic1(B256::from(U256::from(lane)))
            .topic2(B256::from(U256::from(epoch)))
            .from_block(since);
        let logs: Vec<Log> = self.endpoint.ask("eth_getLogs", (filter,)).await?;
        Ok(logs
            .iter()
            .filter_map(|log| EpochAnchor::EpochPosted::decode_log_data_validate(log.data()).ok())
            .map(|posted| posted.header)
            .collect())
    }

    async fn force_record(&self, client: &Account, record: &Envelope) -> Result<Step, RpcFault> {
        let escrow = self.profile.contracts.escrow;
        let (task, client) = (B256::from(record.task.0), Address::from(*client));
        let bytes = record.to_bytes();
        let filter = Filter::new()
            .address(Address::from(escrow))
            .event_signature(TaskEscrow::RecordForced::SIGNATURE_HASH)
            .topic1(task)
            .topic2(client.into_word())
            .from_block(self.profile.start_block);
        let logs: Vec<Log> = self.endpoint.ask("eth_getLogs", (filter,)).await?;
        let there = logs
            .iter()
            .filter_map(|log| TaskEscrow::RecordForced::decode_log_data_validate(log.data()).ok())
            .any(|forced| *forced.record == *bytes);
        if there {
            return Ok(Step::Done);
        }
        let call = TaskEscrow::forceRecordCall {
            taskId: task,
            client,
            record: bytes.into(),
        };
        Ok(send(escrow, &call, true, "force a record"))
    }

    async fn claim(&self, claim: &Claim) -> Result<Step, RpcFault> {
        let distributor = self.profile.contracts.distributor(claim.lane);
        let (lane, epoch, payee) = (claim.lane, claim.epoch, claim.payee.into());
        let paid = self
            .endpoint
            .view(distributor, RewardDistributor::paidCall { payee })
            .await?;
        if paid >= U256::from(claim.total.0) {
            return Ok(Step::Done);
        }
        if let Some(step) = self.not_claimable(lane, epoch, &claim.root).await? {
            return Ok(step);
        }
        let call = RewardDistributor::claimCall {
            epoch,
            payee,
            total: claim.total.0,
            index: U256::from(claim.index),
            proof: claim.proof.iter().map(|h| B256::from(*h)).collect(),
        };
        Ok(send(distributor, &call, true, "claim"))
    }

    async fn claim_subtree(&self, claim: &SubtreeClaim) -> Result<Step, RpcFault> {
        let distributor = self.profile.contracts.distributor(claim.lane);
        let found = self.not_claimable(claim.lane, claim.epoch, &claim.root);
        if let Some(step) = found.await? {
            return Ok(step);
        }
        let call = subtree_call(claim);
        let due = self
            .endpoint
            .view_as(self.account, distributor, call.clone())
            .await;
        match due {
            Ok(due) if due.is_zero() => Ok(Step::Done),
            Ok(_) => Ok(send(distributor, &call, true, "claim a subtree")),
            Err(fault) => match fault.revert() {
                Some(data) => Ok(Step::Fail(explain(data).1)),
                None => Err(fault),
            },
        }
    }

    /// What stands between a claim and its root; none when nothing does.
    pub async fn not_claimable(
        &self,
        lane: u32,
        epoch: u64,
        root: &Hash,
    ) -> Result<Option<Step>, RpcFault> {
        let distributor = self.profile.contracts.distributor(lane);
        let kept = self
            .endpoint
            .view(distributor, RewardDistributor::rootsCall { epoch })
            .await?;
        if kept.root.is_zero() {
            let head = self
                .endpoint
                .view(
                    self.profile.contracts.anchor,
                    EpochAnchor::headCall { lane },
                )
                .await?;
            return Ok(Some(if head.epoch < epoch {
                Step::Wait(format!("epoch {epoch} is not posted yet"))
            } else {
                Step::Fail(format!(
                    "the payout root of epoch {epoch} is not kept any more (the lane is at epoch {}); ask a node for a claim of a newer epoch, it covers this one",
                    head.epoch
                ))
            }));
        }
        if kept.root != root.0[..24] {
            return Ok(Some(Step::Fail(format!(
                "the claim proves root {root}, the chain holds one that starts with {} for epoch {epoch}",
                alloy::primitives::hex::encode(kept.root)
            ))));
        }
        if !kept.claimable {
            return Ok(Some(Step::Wait(format!(
                "claims of epoch {epoch} start at Unix time {}",
                kept.activatesAt
            ))));
        }
        Ok(None)
    }

    /// The step with this escrow call, if the chain takes it now; `refused` reads a refusal before the general explanation does.
    async fn escrow_step<C: SolCall + Clone>(
        &self,
        call: C,
        name: &'static str,
        refused: impl Fn(&[u8]) -> Option<Step>,
    ) -> Result<Step, RpcFault> {
        let escrow = self.profile.contracts.escrow;
        match self
            .endpoint
            .view_as(self.account, escrow, call.clone())
            .await
        {
            Ok(_) => Ok(send(escrow, &call, true, name)),
            Err(fault) => match fault.revert() {
                Some(data) => Ok(refused(data).unwrap_or_else(|| Step::Fail(explain(data).1))),
                None => Err(fault),
            },
        }
    }

    async fn open_fallback(&self, task: &TaskId, client: &Account) -> Result<Step, RpcFault> {
        let call = TaskEscrow::openFallbackCall {
            taskId: task.0.into(),
            client: (*client).into(),
        };
        self.escrow_step(call, "open the fallback", |data| {
            if TaskEscrow::InFallback::abi_decode(data).is_ok() {
                return Some(Step::Done);
            }
            let active = TaskEscrow::LaneActive::abi_decode(data).ok()?;
            Some(Step::Fail(format!(
                "lane {} is at work, or was until lately; if it stays silent, the task's escrow can pay from Unix time {} on",
                active.lane, active.possibleAt
            )))
        })
        .await
    }

    async fn claim_fallback(
        &self,
        header: &EpochHeader,
        claim: &FlatClaim,
    ) -> Result<Step, RpcFault> {
        let call = TaskEscrow::claimFallbackCall {
            taskId: claim.pay.task.0.into(),
            client: claim.pay.client.into(),
            header: facts::abi_header!(TaskEscrow, header),
            claim: TaskEscrow::FallbackClaim {
                payee: claim.pay.payee.into(),
                amount: claim.pay.amount.0,
                stateHash: claim.state.into(),
                index: U256::from(claim.index),
                proof: claim.proof.iter().map(|h| B256::from(*h)).collect(),
            },
        };
        self.escrow_step(call, "pay from the fallback", |data| {
            let paid = TaskEscrow::AlreadyPaid::abi_decode(data).is_ok();
            paid.then_some(Step::Done)
        })
        .await
    }

    async fn close_fallback(&self, task: &TaskId, client: &Account) -> Result<Step, RpcFault> {
        let (task, client) = (B256::from(task.0), Address::from(*client));
        let call = TaskEscrow::fallbacksCall {
            taskId: task,
            client,
        };
        let held = self.endpoint.view(self.profile.contracts.escrow, call);
        if held.await?.closed {
            return Ok(Step::Done);
        }
        let call = TaskEscrow::closeFallbackCall {
            taskId: task,
            client,
        };
        self.escrow_step(call, "close the fallback", |data| {
            let running = TaskEscrow::FallbackRunning::abi_decode(data).ok()?;
            Some(Step::Fail(format!(
                "payees can still prove their claims until Unix time {}",
                running.closesAt
            )))
        })
        .await
    }

    /// With more validators than seats: request, wait for the beacon, record its value, draw.
    async fn draw(&self, lane: u32) -> Result<Step, RpcFault> {
        let anchor = self.profile.contracts.anchor;
        let call = EpochAnchor::drawCommitteeCall { lane };
        let fault = match self
            .endpoint
            .view_as(self.account, anchor, call.clone())
            .await
        {
            Ok(_) => return Ok(send(anchor, &call, true, "draw")),
            Err(fault) => fault,
        };
        let Some(data) = fault.revert().cloned() else {
            return Err(fault);
        };
        if EpochAnchor::TermRunning::abi_decode(&data).is_ok() {
            return Ok(Step::Done);
        }
        if EpochAnchor::DrawNotRequested::abi_decode(&data).is_ok() {
            return Ok(send(
                anchor,
                &EpochAnchor::requestDrawCall { lane },
                false,
                "request the draw",
            ));
        }
        if let Ok(waiting) = EpochAnchor::BeaconNotReady::abi_decode(&data) {
            return self.record(waiting.r#ref).await;
        }
        let (advice, text) = explain(&data);
        Ok(if advice == Advice::Permanent {
            Step::Fail(text)
        } else {
            Step::Wait(text)
        })
    }

    /// The step that records the randomness of block `number` with the beacon.
    async fn record(&self, number: u64) -> Result<Step, RpcFault> {
        let wait = |why: &str| {
            Ok(Step::Wait(format!(
                "the randomness of block {number} decides the draw: {why}"
            )))
        };
        let Some(row) = self.endpoint.header(At::Number(number)).await? else {
            return wait("it is not mined yet");
        };
        let header: Header = self
            .endpoint
            .ask("eth_getBlockByNumber", (format!("{number:#x}"), false))
            .await?;
        let mut rlp = Vec::new();
        header.encode(&mut rlp);
        if Hash::from(keccak256(&rlp)) != row.hash {
            return wait(
                "this endpoint's header does not hash to the block's hash, so it cannot be proven from here",
            );
        }
        let call = PrevrandaoBeacon::recordCall {
            blockNumber: number,
            rlpHeader: rlp.into(),
        };
        match self
            .endpoint
            .view_as(self.account, self.profile.contracts.beacon, call.clone())
            .await
        {
            Ok(_) => Ok(send(
                self.profile.contracts.beacon,
                &call,
                false,
                "record the beacon",
            )),
            Err(fault) => match fault.revert() {
                Some(data) => wait(&explain(data).1),
                None => Err(fault),
            },
        }
    }
}

fn wrong_kind() -> Step {
    Step::Fail("an intent was planned as another kind".to_owned())
}
