//! The watcher: finalised blocks in order, without a gap, with the facts in them.
//!
//! Trusts no answer it can check: chain id, code and wiring of the contracts, block numbers, parent hashes, the block hash of every
//! log, the bloom filter of every block, and, where one is configured, a second endpoint: final blocks and the events in them must be
//! the same there. What can be a passing fault is waited out; what proves every endpoint wrong stops the client for good.
//! It cannot see through a single endpoint that lies consistently: then two have to be configured.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use alloy::{
    primitives::{Address, B256, Bloom, U64, U256},
    rpc::types::{Filter, Log},
    sol_types::SolCall,
};
use assay_protocol::{
    id::{Account, Hash},
    message::{BlockNews, BlockRef, ChainFact},
    network::Pinned,
};

use super::{
    ChainEvent, Health, NEWS_BLOCKS_MAX, Shared,
    bindings::{
        EpochAnchor, Registry, ReputationAnchor, TaskEscrow, datasets::DatasetShares,
        pool::BonusPool,
    },
    endpoint::{At, Endpoint, HeaderRow},
    error::RpcFault,
    facts, token,
};

/// Failed rounds in a row after which the endpoint counts as down.
const DOWN_AFTER_FAILURES: u32 = 2;
/// Rounds without a new final block after which the other endpoint is asked whether it has one.
const STALE_ROUNDS: u32 = 10;
/// Delivered blocks whose hashes are remembered, to notice that a final block changed.
const RECENT_BLOCKS: usize = 256;

/// Why a round ended early.
enum Trouble {
    /// May pass.
    Retry(String),
    /// Never passes: the endpoint is wrong. With another endpoint to turn to, that one decides.
    Stop(String),
}

impl From<RpcFault> for Trouble {
    fn from(fault: RpcFault) -> Self {
        Self::Retry(fault.to_string())
    }
}

/// What one round found.
enum Found {
    /// More blocks may be waiting.
    More,
    /// Up to date.
    Nothing,
}

/// The watching task.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    /// Next block to deliver.
    next: u64,
    /// Blocks to ask for at once.
    span: u64,
    /// Highest final block seen, in this run or before it.
    high: u64,
    /// The final block that was believed last.
    tip: Option<(u64, Hash)>,
    /// Rounds since it moved.
    idle: u32,
    recent: VecDeque<(u64, Hash)>,
    /// The endpoint in use has been checked since the last failure.
    identified: bool,
    /// What was told last; none before the first news.
    up: Option<bool>,
}

impl Watcher {
    pub fn new(shared: Arc<Shared>, first_block: u64) -> Self {
        // What an earlier run processed was final; an endpoint that does not know it yet is behind.
        let high = if first_block > shared.profile.start_block {
            first_block - 1
        } else {
            0
        };
        Self {
            shared,
            next: first_block,
            span: NEWS_BLOCKS_MAX as u64,
            high,
            tip: None,
            idle: 0,
            recent: VecDeque::with_capacity(RECENT_BLOCKS),
            identified: false,
            up: None,
        }
    }

    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (mut failures, mut wrong) = (0, 0);
        loop {
            let why = match self.round().await {
                Ok(found) => {
                    (failures, wrong) = (0, 0);
                    if matches!(found, Found::Nothing) {
                        tokio::time::sleep(shared.poll).await;
                    }
                    continue;
                }
                Err(Trouble::Retry(why)) => {
                    wrong = 0;
                    why
                }
                Err(Trouble::Stop(why)) => {
                    wrong += 1;
                    if wrong >= shared.endpoints.count() {
                        tracing::error!(why, "chain watcher: stopped");
                        shared.health.send_replace(Health::Stopped(why.clone()));
                        shared
                            .emit(ChainEvent::Failed {
                                what: "follow the chain".to_owned(),
                                why,
                                permanent: true,
                            })
                            .await;
                        return;
                    }
                    why
                }
            };
            failures += 1;
            self.identified = false;
            shared.health.send_replace(Health::Checking);
            tracing::warn!(why, failures, "chain watcher: will try again");
            if failures >= DOWN_AFTER_FAILURES && self.up != Some(false) {
                self.up = Some(false);
                shared.emit(ChainEvent::Down { why }).await;
            }
            shared.endpoints.rotate();
            tokio::time::sleep(super::backoff(shared.poll, failures)).await;
        }
    }

    async fn round(&mut self) -> Result<Found, Trouble> {
        let shared = Arc::clone(&self.shared);
        let endpoint = shared.endpoints.current();
        if !self.identified {
            self.identify(endpoint).await?;
        }
        let tip = endpoint.header(At::Finalized).await?.ok_or_else(|| {
            Trouble::Retry(format!("{} knows no finalized block yet", endpoint.label))
        })?;
        if let Some((number, hash)) = self
            .recent
            .iter()
            .chain(&self.tip)
            .find(|(n, _)| *n == tip.number)
            && *hash != tip.hash
        {
            return Err(self.contradiction(endpoint, *number, *hash).await?);
        }
        if let Some((number, hash)) = self.tip.filter(|(n, _)| *n < tip.number) {
            // Nothing rests on the new tip before it is known to stand on the old one.
            let row = endpoint.header(At::Number(number)).await?;
            if row.is_none_or(|row| row.hash != hash) {
                return Err(self.contradiction(endpoint, number, hash).await?);
            }
        }
        if tip.number < self.high {
            return Err(Trouble::Retry(format!(
                "{} is behind: its finalized block is {}, {} has been seen; waiting until it catches up",
                endpoint.label, tip.number, self.high
            )));
        }
        if !self.identified || tip.number > self.high {
            self.compare_with_witness(endpoint, &tip).await?;
        }
        if tip.number > self.high {
            self.idle = 0;
        } else {
            self.idle += 1;
            if self.idle.is_multiple_of(STALE_ROUNDS) {
                self.compare_progress(endpoint, &tip).await?;
            }
        }
        self.high = tip.number;
        self.tip = Some((tip.number, tip.hash));
        self.identified = true;
        shared.finalized.send_replace((tip.number, tip.hash));
        shared.health.send_replace(Health::Up);
        if self.up != Some(true) {
            self.up = Some(true);
            shared
                .emit(ChainEvent::Up {
                    chain_id: shared.profile.chain_id,
                })
                .await;
        }
        // Without a reader there is nobody to tell; the sender still needs the final block's number.
        if tip.number < self.next || shared.events.is_closed() {
            return Ok(Found::Nothing);
        }
        let last = tip.number.min(self.next.saturating_add(self.span - 1));
        let Some(news) = self.fetch(endpoint, self.next, last).await? else {
            return Ok(Found::More);
        };
        for block in &news {
            if self.recent.len() == RECENT_BLOCKS {
                self.recent.pop_front();
            }
            self.recent
                .push_back((block.block.number, block.block.hash));
        }
        shared.emit(ChainEvent::News(news)).await;
        self.next = last + 1;
        self.span = (self.span * 2).min(NEWS_BLOCKS_MAX as u64);
        Ok(if last < tip.number {
            Found::More
        } else {
            Found::Nothing
        })
    }

    // ---- is it our chain? ------------------------------------------------------------------

    async fn identify(&self, endpoint: &Endpoint) -> Result<(), Trouble> {
        let profile = &self.shared.profile;
        let chain_id: U64 = endpoint.ask("eth_chainId", ()).await?;
        let chain_id: u64 = chain_id.to();
        if chain_id != profile.chain_id {
            return Err(Trouble::Stop(format!(
                "{} serves chain {chain_id}, network {:?} lives on chain {}; correct the RPC address or use the profile of the right network",
                endpoint.label, profile.name, profile.chain_id
            )));
        }
        let head = endpoint.latest().await?.number;
        let c = &profile.contracts;
        for contract in profile.pinned() {
            self.holds(endpoint, chain_id, head, &contract).await?;
        }
        if let Err(why) = token::symbol(endpoint, profile).await? {
            return Err(Trouble::Stop(format!(
                "the reward token 0x{}: {why}; use the profile of the right network",
                c.token
            )));
        }
        self.wired(
            endpoint,
            "registry",
            c.registry,
            Registry::anchorCall {},
            "anchor",
            c.anchor,
        )
        .await?;
        self.wired(
            endpoint,
            "registry",
            c.registry,
            Registry::tokenCall {},
            "token",
            c.token,
        )
        .await?;
        self.wired(
            endpoint,
            "escrow",
            c.escrow,
            TaskEscrow::anchorCall {},
            "anchor",
            c.anchor,
        )
        .await?;
        self.wired(
            endpoint,
            "escrow",
            c.escrow,
            TaskEscrow::tokenCall {},
            "token",
            c.token,
        )
        .await?;
        for (lane, distributor) in c.distributors.iter().enumerate() {
            self.wired(
                endpoint,
                "anchor",
                c.anchor,
                EpochAnchor::distributorsCall(U256::from(lane)),
                "distributor",
                *distributor,
            )
            .await?;
        }
        self.wired(
            endpoint,
            "anchor",
            c.anchor,
            EpochAnchor::registryCall {},
            "registry",
            c.registry,
        )
        .await?;
        self.wired(
            endpoint,
            "anchor",
            c.anchor,
            EpochAnchor::beaconCall {},
            "beacon",
            c.beacon,
        )
        .await?;
        let disputes = Pinned {
            name: "disputes contract".to_owned(),
            address: endpoint
                .view(c.anchor, EpochAnchor::disputesCall {})
                .await?
                .into(),
            code: profile.code.disputes,
        };
        self.holds(endpoint, chain_id, head, &disputes).await?;
        let extras = &profile.extras;
        if let Some(at) = extras.reputation.map(|e| e.address) {
            let call = ReputationAnchor::anchorCall {};
            self.wired(endpoint, "reputation anchor", at, call, "anchor", c.anchor)
                .await?;
        }
        if let Some(at) = extras.bonuses.map(|e| e.address) {
            let call = BonusPool::anchorCall {};
            self.wired(endpoint, "bonus pool", at, call, "anchor", c.anchor)
                .await?;
            let call = BonusPool::escrowCall {};
            self.wired(endpoint, "bonus pool", at, call, "escrow", c.escrow)
                .await?;
        }
        if let (Some(datasets), Some(splitter)) = (extras.datasets, extras.splitter) {
            let (at, call) = (datasets.address, DatasetShares::splitterCall {});
            self.wired(
                endpoint,
                "data sets",
                at,
                call,
                "splitter",
                splitter.address,
            )
            .await?;
        }
        let lanes = endpoint.view(c.anchor, EpochAnchor::lanesCall {}).await?;
        if lanes != profile.params.lanes {
            return Err(Trouble::Stop(format!(
                "the anchor 0x{} has {lanes} lanes, the profile says {}; use the profile of the right network",
                c.anchor, profile.params.lanes
            )));
        }
        Ok(())
    }

    /// Whether the chain has the contract with the code that the profile pins.
    async fn holds(
        &self,
        endpoint: &Endpoint,
        chain_id: u64,
        head: u64,
        contract: &Pinned,
    ) -> Result<(), Trouble> {
        let profile = &self.shared.profile;
        let Pinned {
            name,
            address,
            code,
        } = contract;
        match endpoint.code_hash(*address).await? {
            Some(found) if found == *code => Ok(()),
            Some(found) => Err(Trouble::Stop(format!(
                "{}: the {name} at 0x{address} has code with hash {found}, the profile pins {code} (chain {chain_id}, block {head}); do not                  use this network before whoever gave you the profile has explained it",
                endpoint.label
            ))),
            None => {
                let why = format!(
                    "{}: there is no contract at the {name}'s address 0x{address}",
                    endpoint.label
                );
                // An endpoint that still synchronises has not seen the deployment.
                Err(if head < profile.start_block {
                    Trouble::Retry(format!(
                        "{why} at block {head}; the network starts at block {}",
                        profile.start_block
                    ))
                } else {
                    Trouble::Stop(format!(
                        "{why} (chain {chain_id}, block {head}); the profile is of another network, or the chain was started anew"
                    ))
                })
            }
        }
    }

    async fn wired<C: SolCall<Return = Address>>(
        &self,
        endpoint: &Endpoint,
        name: &str,
        at: Account,
        call: C,
        field: &str,
        expected: Account,
    ) -> Result<(), Trouble> {
        let found = Account::from(endpoint.view(at, call).await?);
        if found == expected {
            return Ok(());
        }
        Err(Trouble::Stop(format!(
            "the {name} 0x{at} works with {field} 0x{found}, the profile names 0x{expected}; use the profile of the right network"
        )))
    }

    // ---- blocks ----------------------------------------------------------------------------

    /// A final block has another hash than before. Asked once more, because a balancer may have mixed two answers.
    async fn contradiction(
        &self,
        endpoint: &Endpoint,
        number: u64,
        hash: Hash,
    ) -> Result<Trouble, Trouble> {
        let again = endpoint.header(At::Number(number)).await?;
        Ok(match again {
            Some(row) if row.hash != hash => Trouble::Stop(format!(
                "the endpoint contradicts itself: {} now gives hash {} for final block {number}, which was {hash}; the chain was \
                 started anew, or final blocks were rewritten. Choose a trustworthy endpoint and start again with an empty state",
                endpoint.label, row.hash
            )),
            _ => Trouble::Retry(format!(
                "{} mixes answers about block {number}",
                endpoint.label
            )),
        })
    }

    /// The news of `from..=to`; none when the endpoint wants a smaller range, which the next round asks for.
    async fn fetch(
        &mut self,
        endpoint: &Endpoint,
        from: u64,
        to: u64,
    ) -> Result<Option<Vec<BlockNews>>, Trouble> {
        let rows = endpoint.headers(from, to).await?;
        let mut before = self.recent.back().copied();
        for row in &rows {
            if let Some((number, hash)) = before
                && row.parent != hash
            {
                return Err(if number < from {
                    self.contradiction(endpoint, number, hash).await?
                } else {
                    Trouble::Retry(format!(
                        "{} mixes answers: block {} does not follow {number}",
                        endpoint.label, row.number
                    ))
                });
            }
            before = Some((row.number, row.hash));
        }
        if let Some(last) = rows.last() {
            self.compare_with_witness(endpoint, last).await?;
        }

        let mut by_block = match self.events(endpoint, &rows).await {
            Ok(events) => events,
            Err(fault @ RpcFault::Garbage { .. }) => return Err(fault.into()),
            Err(fault) => {
                // Endpoints limit how much they search, and this client how much it reads; the next try asks for less.
                self.span = ((to - from).div_ceil(2)).max(1);
                return match fault {
                    RpcFault::Refused { .. } if to > from => {
                        tracing::debug!(%fault, blocks = self.span, "asking for fewer blocks at once");
                        Ok(None)
                    }
                    fault => Err(fault.into()),
                };
            }
        };
        if let Some(witness) = self.shared.endpoints.witness()
            && let Ok(others) = self.events(witness, &rows).await
            && let Some(number) = (from..=to).find(|n| by_block.get(n) != others.get(n))
        {
            return Err(Trouble::Retry(format!(
                "the endpoints disagree about the events of final block {number}: {} and {}; nothing is signed until they agree",
                endpoint.label, witness.label
            )));
        }
        let news = rows.into_iter().map(|row| BlockNews {
            facts: by_block.remove(&row.number).unwrap_or_default(),
            block: BlockRef {
                number: row.number,
                hash: row.hash,
                time: row.time,
            },
            randao: row.randao,
        });
        Ok(Some(news.collect()))
    }

    /// The facts of these neighbouring blocks.
    async fn events(
        &self,
        endpoint: &Endpoint,
        rows: &[HeaderRow],
    ) -> Result<BTreeMap<u64, Vec<ChainFact>>, RpcFault> {
        let contracts = &self.shared.profile.contracts;
        let watched = Filter::new().address(vec![
            contracts.registry.into(),
            contracts.escrow.into(),
            contracts.anchor.into(),
        ]);
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(BTreeMap::new());
        };
        let filter = watched
            .clone()
            .from_block(first.number)
            .to_block(last.number);
        let logs: Vec<Log> = endpoint.ask("eth_getLogs", (filter,)).await?;
        let mut by_block = self.sort(endpoint, rows, logs)?;
        for row in rows {
            let silent = !by_block.contains_key(&row.number);
            if silent
                && row
                    .bloom
                    .is_some_and(|bloom| facts::may_hold_facts(&bloom, contracts))
            {
                // A log index that lags behind the blocks answers "nothing"; asked by hash, it has to know the block.
                let filter = watched.clone().at_block_hash(B256::from(row.hash));
                let logs: Vec<Log> = endpoint.ask("eth_getLogs", (filter,)).await?;
                by_block.append(&mut self.sort(endpoint, std::slice::from_ref(row), logs)?);
            }
        }
        Ok(by_block)
    }

    /// An endpoint whose final block stands still while the other one's moves on has lost the chain.
    async fn compare_progress(&self, endpoint: &Endpoint, tip: &HeaderRow) -> Result<(), Trouble> {
        let Some(witness) = self.shared.endpoints.witness() else {
            return Ok(());
        };
        match witness.header(At::Finalized).await {
            Ok(Some(row)) if row.number > tip.number => Err(Trouble::Retry(format!(
                "{} stands still: its finalized block is {}, {} is at {}; using the other one",
                endpoint.label, tip.number, witness.label, row.number
            ))),
            _ => Ok(()),
        }
    }

    /// With two endpoints, both have to give a final block the same hash.
    async fn compare_with_witness(
        &self,
        endpoint: &Endpoint,
        last: &HeaderRow,
    ) -> Result<(), Trouble> {
        let Some(witness) = self.shared.endpoints.witness() else {
            return Ok(());
        };
        let (ours, theirs) = match witness.header(At::Number(last.number)).await {
            Ok(Some(theirs)) => (Some(last.clone()), theirs),
            // One that is behind has to agree about what it has; otherwise whoever is ahead would always be right.
            Ok(None) => match witness.header(At::Finalized).await {
                Ok(Some(theirs)) if theirs.number < last.number => {
                    (endpoint.header(At::Number(theirs.number)).await?, theirs)
                }
                _ => return Ok(()),
            },
            // One that is down says nothing either way.
            Err(_) => return Ok(()),
        };
        match ours {
            Some(ours) if ours.hash != theirs.hash => Err(Trouble::Retry(format!(
                "the endpoints disagree about final block {}: {} says {}, {} says {}; nothing is signed until they agree",
                ours.number, endpoint.label, ours.hash, witness.label, theirs.hash
            ))),
            _ => Ok(()),
        }
    }

    /// Facts by block, in log order.
    fn sort(
        &self,
        endpoint: &Endpoint,
        rows: &[HeaderRow],
        mut logs: Vec<Log>,
    ) -> Result<BTreeMap<u64, Vec<ChainFact>>, RpcFault> {
        let contracts = &self.shared.profile.contracts;
        let garbage = |why: String| RpcFault::garbage(&endpoint.label, "eth_getLogs", why);
        let first = rows.first().map_or(0, |row| row.number);
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        let mut by_block: BTreeMap<u64, Vec<ChainFact>> = BTreeMap::new();
        let mut before = None;
        for log in &logs {
            let (Some(number), Some(hash), Some(index)) =
                (log.block_number, log.block_hash, log.log_index)
            else {
                return Err(garbage("a log without its place".to_owned()));
            };
            let row = number
                .checked_sub(first)
                .and_then(|at| rows.get(usize::try_from(at).ok()?));
            if log.removed || row.is_none_or(|row| row.hash != Hash::from(hash)) {
                return Err(garbage(format!(
                    "a log of block {number} ({hash}), which is not among the final blocks asked for"
                )));
            }
            let known = |bloom: Bloom| bloom.contains_raw_log(log.address(), log.topics());
            if row.and_then(|row| row.bloom).is_some_and(|b| !known(b)) {
                return Err(garbage(format!(
                    "a log of block {number} that the block's own filter does not know"
                )));
            }
            if before.replace((number, index)) == Some((number, index)) {
                return Err(garbage(format!("log {index} of block {number} twice")));
            }
            let contract = Account::from(log.address());
            if let Some(fact) = facts::fact(contracts, contract, log.data()).map_err(garbage)? {
                by_block.entry(number).or_default().push(fact);
            }
        }
        Ok(by_block)
    }
}
