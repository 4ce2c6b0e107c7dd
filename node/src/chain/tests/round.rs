//! One round of money, step by step, so that the tests beside it can let the chain, a process or an endpoint fail at every step.

use alloy::{
    eips::eip2718::Encodable2718,
    primitives::B256,
    rpc::types::{Filter, Log, Transaction},
    sol_types::{SolCall, SolEvent},
};
use assay_protocol::{
    id::EvmSignature,
    lane::{Claim, PayoutFile, SubtreeClaim},
    message::{EpochHeader, SettledTask},
};

use super::{
    super::wallet::{Draft, Fees},
    *,
};

pub(super) const TASK: TaskId = TaskId([1; 32]);
pub(super) const DEPOSIT: u128 = 1_000;
pub(super) const TOP_UP: u128 = 25;
pub(super) const STAKE: u128 = 100_000_000;
/// Whom the epoch owes what it releases.
pub(super) const PAYEES: [(Account, Amount); 3] = [
    (Account([0xa1; 20]), Amount(500)),
    (Account([0xb2; 20]), Amount(300)),
    (Account([0xc3; 20]), Amount(275)),
];
/// Tops up the task, and hands in proofs: somebody with a wallet and no node.
pub(super) const STRANGER: [u8; 32] = [0x32; 32];

pub(super) fn account(secret: &[u8; 32]) -> Account {
    EvmKey::from_secret(secret).expect("a key").account()
}

/// Looks again until something holds, and lets `between` happen meanwhile.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool, between: impl Fn()) {
    let deadline = tokio::time::Instant::now() + WAIT;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        between();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// How far the round is, in the order of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Registered,
    Drawn,
    Funded,
    ToppedUp,
    /// The epoch is posted, and with it the task's money released.
    Posted,
    Claimed,
    SubtreeClaimed,
}

pub(super) const STEPS: [Step; 7] = [
    Step::Registered,
    Step::Drawn,
    Step::Funded,
    Step::ToppedUp,
    Step::Posted,
    Step::Claimed,
    Step::SubtreeClaimed,
];

/// What becomes of the transactions that a reorganisation takes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// They are forgotten; who wants them sends them again.
    Never,
    /// Mined again in later blocks.
    SameOrder,
    /// Mined again in later blocks, the accounts in the opposite order; some come too early to work.
    OtherOrder,
}

/// What the chain itself says that has happened, and where the money is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Books {
    /// Tokens by account, contracts included.
    tokens: Vec<(String, u128)>,
    /// Events of the contracts by name.
    events: BTreeMap<String, usize>,
}

impl World {
    pub(super) fn view<C: SolCall>(&self, to: Account, call: C) -> C::Return {
        let request =
            json!({"to": Address::from(to), "input": hex::encode_prefixed(call.abi_encode())});
        let data = self
            .dev
            .call("eth_call", json!([request, "latest"]))
            .expect("answers");
        let data = hex::decode(data.as_str().expect("text")).expect("hex");
        C::abi_decode_returns_validate(&data).expect("decodes")
    }

    /// Sends a call from an account that no node serves; true when it worked.
    pub(super) fn send<C: SolCall>(&self, secret: &[u8; 32], to: Account, call: &C) -> bool {
        self.send_data(secret, to, call.abi_encode()).1
    }

    /// The same with the call's bytes; also names the transaction.
    pub(super) fn send_data(&self, secret: &[u8; 32], to: Account, data: Vec<u8>) -> (Hash, bool) {
        let wallet = Wallet::new(secret, self.profile.chain_id).expect("a key");
        let draft = Draft {
            to: Some(to),
            data: data.into(),
            gas_limit: 2_000_000,
            fees: Fees::from_base(20_000_000_000, 1),
        };
        let signed = wallet
            .sign(draft, self.nonce(wallet.account()))
            .expect("signs");
        self.dev
            .call(
                "eth_sendRawTransaction",
                json!([hex::encode_prefixed(&signed.raw.0)]),
            )
            .expect("is taken");
        let receipt = self
            .dev
            .call(
                "eth_getTransactionReceipt",
                json!([B256::from(signed.hash)]),
            )
            .expect("a receipt");
        (signed.hash, receipt["status"] == "0x1")
    }

    pub(super) fn number(&self, method: &str, params: Value) -> u64 {
        let answer = self.dev.call(method, params).expect("answers");
        u64::from_str_radix(answer.as_str().expect("text").trim_start_matches("0x"), 16)
            .expect("hex")
    }

    pub(super) fn head(&self) -> u64 {
        self.number("eth_blockNumber", json!([]))
    }

    fn block(&self, tag: &Value, full: bool) -> Value {
        self.dev
            .call("eth_getBlockByNumber", json!([tag, full]))
            .expect("answers")
    }

    pub(super) fn finalized(&self) -> (u64, Hash) {
        let block = self.block(&json!("finalized"), false);
        let row: (alloy::primitives::U64, B256) = (
            serde_json::from_value(block["number"].clone()).expect("a number"),
            serde_json::from_value(block["hash"].clone()).expect("a hash"),
        );
        (row.0.to(), row.1.into())
    }

    pub(super) fn hash_of(&self, number: u64) -> Hash {
        let block = self.block(&json!(format!("{number:#x}")), false);
        let hash: B256 = serde_json::from_value(block["hash"].clone()).expect("a block");
        hash.into()
    }

    /// Replaces the newest blocks.
    pub(super) fn reorg(&self, depth: u64, again: Again) {
        let head = self.head();
        let mut dropped: Vec<(Address, Vec<u8>)> = Vec::new();
        for number in head + 1 - depth..=head {
            for tx in self.block(&json!(format!("{number:#x}")), true)["transactions"]
                .as_array()
                .expect("a list")
            {
                let tx: Transaction = serde_json::from_value(tx.clone()).expect("a transaction");
                dropped.push((tx.inner.signer(), tx.inner.inner().encoded_2718()));
            }
        }
        self.dev
            .call("dev_reorg", json!([depth]))
            .expect("reorganises");
        match again {
            Again::Never => return,
            Again::SameOrder => {}
            Again::OtherOrder => {
                let mut accounts: Vec<Address> = Vec::new();
                for (from, _) in dropped.iter().rev() {
                    if !accounts.contains(from) {
                        accounts.push(*from);
                    }
                }
                // A stable sort: the nonces of an account keep their order.
                dropped.sort_by_key(|(from, _)| accounts.iter().position(|a| a == from));
            }
        }
        for (_, raw) in dropped {
            let raw = hex::encode_prefixed(raw);
            // One whose sender was faster is refused, as any chain would.
            let _ = self.dev.call("eth_sendRawTransaction", json!([raw]));
        }
    }

    pub(super) fn logs(&self, from: u64, to: u64) -> Vec<Log> {
        let filter = Filter::new().from_block(from).to_block(to);
        let logs = self.dev.call("eth_getLogs", json!([filter])).expect("logs");
        serde_json::from_value(logs).expect("logs")
    }

    /// Whether the newest block shows a step done.
    pub(super) fn shows(&self, step: Step, round: &Round) -> bool {
        let c = &self.profile.contracts;
        let escrow = || {
            self.view(
                c.escrow,
                TaskEscrow::escrowsCall {
                    taskId: TASK.0.into(),
                    client: round.client.into(),
                },
            )
        };
        let paid = |n: usize| {
            let payee = PAYEES[n].0.into();
            let paid = self.view(c.distributor(0), RewardDistributor::paidCall { payee });
            units(paid) == PAYEES[n].1
        };
        match step {
            Step::Registered => {
                let account = round.validator.into();
                self.view(c.registry, Registry::accountsCall { account })
                    .nodeKey
                    != B256::ZERO
            }
            Step::Drawn => {
                let seated = self.view(c.anchor, EpochAnchor::committeeCall { lane: 0 });
                !seated.members.is_empty()
            }
            Step::Funded => escrow().deposit != 0,
            Step::ToppedUp => escrow().deposit == DEPOSIT + TOP_UP,
            Step::Posted => self.view(c.anchor, EpochAnchor::headCall { lane: 0 }).epoch == 1,
            Step::Claimed => paid(0),
            Step::SubtreeClaimed => (0..PAYEES.len()).all(paid),
        }
    }

    /// The facts of a block, straight from the chain's own log.
    fn facts(&self, number: u64) -> Vec<ChainFact> {
        self.logs(number, number)
            .iter()
            .filter_map(|log| {
                super::super::facts::fact(&self.profile.contracts, log.address().into(), log.data())
                    .expect("decodes")
            })
            .collect()
    }

    /// Everything delivered is the final chain: each block once, in order, with its own facts.
    pub(super) fn is_what_was_told(&self, blocks: &[BlockNews]) {
        let first = blocks.first().map_or(0, |b| b.block.number);
        assert_eq!(first, self.profile.start_block);
        for (news, number) in blocks.iter().zip(first..) {
            assert_eq!(news.block.number, number, "no gap, nothing twice");
            assert_eq!(
                news.block.hash,
                self.hash_of(number),
                "block {number} is of a dropped branch"
            );
            assert_eq!(news.facts, self.facts(number), "facts of block {number}");
        }
    }

    pub(super) fn books(&self, round: &Round) -> Books {
        let c = &self.profile.contracts;
        let mut holders: Vec<(String, Account)> = vec![
            ("escrow".into(), c.escrow),
            ("registry".into(), c.registry),
            ("distributor".into(), c.distributor(0)),
            ("validator".into(), round.validator),
            ("client".into(), round.client),
            ("stranger".into(), account(&STRANGER)),
        ];
        holders.extend(PAYEES.iter().map(|(a, _)| (format!("payee {a}"), *a)));
        let tokens = holders.into_iter().map(|(name, holder)| {
            let call = DevToken::balanceOfCall {
                account: holder.into(),
            };
            (name, units(self.view(c.token, call)).0)
        });
        let tokens: Vec<_> = tokens.collect();
        let mut events = BTreeMap::new();
        for log in self.logs(0, self.head()) {
            let name = match log.topic0().copied().unwrap_or_default() {
                Registry::Registered::SIGNATURE_HASH => "Registered",
                EpochAnchor::CommitteeDrawn::SIGNATURE_HASH => "CommitteeDrawn",
                EpochAnchor::EpochPosted::SIGNATURE_HASH => "EpochPosted",
                EpochAnchor::EpochsRevoked::SIGNATURE_HASH => "EpochsRevoked",
                TaskEscrow::Funded::SIGNATURE_HASH => "Funded",
                TaskEscrow::ToppedUp::SIGNATURE_HASH => "ToppedUp",
                TaskEscrow::Released::SIGNATURE_HASH => "Released",
                DevToken::Transfer::SIGNATURE_HASH => {
                    let moved = DevToken::Transfer::decode_log_data_validate(log.data())
                        .expect("a transfer");
                    let paid = PAYEES.iter().any(|(a, _)| Address::from(*a) == moved.to);
                    if !paid || moved.value.is_zero() {
                        continue;
                    }
                    "paid a payee"
                }
                _ => continue,
            };
            *events.entry(name.to_owned()).or_default() += 1;
        }
        Books { tokens, events }
    }

    /// Gas money and tokens for everybody.
    pub(super) async fn round(&self, validator: &[u8; 32], client: &[u8; 32]) -> Round {
        for (secret, tokens) in [(validator, 500_000_000), (client, 10_000)] {
            if self.nonce(account(secret)) == 0 {
                self.rich(secret, tokens).await;
            }
        }
        self.rich(&STRANGER, 10_000).await;
        let c = &self.profile.contracts;
        let call = DevToken::approveCall {
            spender: c.escrow.into(),
            value: U256::from(10_000),
        };
        assert!(self.send(&STRANGER, c.token, &call));
        Round {
            validator: account(validator),
            client: account(client),
            signer: EvmKey::from_secret(validator).expect("a key"),
        }
    }
}

/// Who takes part in a round, and the papers they hand in.
pub(super) struct Round {
    pub validator: Account,
    pub client: Account,
    signer: EvmKey,
}

impl Round {
    pub(super) fn top_up(&self, world: &World) -> bool {
        let call = TaskEscrow::topUpCall {
            taskId: TASK.0.into(),
            client: self.client.into(),
            amount: TOP_UP,
        };
        world.send(&STRANGER, world.profile.contracts.escrow, &call)
    }

    pub(super) fn settled(&self) -> Vec<SettledTask> {
        vec![SettledTask {
            task: TASK,
            client: self.client,
        }]
    }

    /// The first epoch's header, over everything that is final now.
    pub(super) fn header(&self, world: &World, settled: &[SettledTask]) -> EpochHeader {
        let head = world.view(
            world.profile.contracts.anchor,
            EpochAnchor::headCall { lane: 0 },
        );
        let (chain_block, chain_block_hash) = world.finalized();
        let file = self.file();
        EpochHeader {
            lane: 0,
            epoch: 1,
            view: 0,
            term: head.term,
            parent: Hash::ZERO,
            chain_block,
            chain_block_hash,
            records_root: Hash([1; 32]),
            state_root: Hash([2; 32]),
            payout_root: file.root(),
            audit_root: file.audit_root(),
            payout_count: file.count(),
            loss_root: Hash([3; 32]),
            reputation_root: Hash([4; 32]),
            payout_file: file.hash(),
            total_owed: PAYEES.iter().map(|(_, total)| *total).sum(),
            settled_hash: EpochHeader::hash_settled(settled),
        }
    }

    pub(super) fn sign(&self, world: &World, header: &EpochHeader) -> Vec<(u8, EvmSignature)> {
        let digest = header.signing_digest(&world.profile);
        vec![(0, self.signer.sign(&digest))]
    }

    pub(super) fn post(
        &self,
        world: &World,
        header: EpochHeader,
        settled: Vec<SettledTask>,
    ) -> ChainCall {
        ChainCall::PostEpoch {
            signatures: self.sign(world, &header),
            header,
            settled,
        }
    }

    pub(super) fn file(&self) -> PayoutFile {
        PayoutFile {
            lane: 0,
            epoch: 1,
            leaves: PAYEES.to_vec(),
        }
    }

    pub(super) fn claim(&self) -> Claim {
        self.file()
            .proofs()
            .claim(&PAYEES[0].0)
            .expect("has a leaf")
    }

    pub(super) fn subtree(&self) -> SubtreeClaim {
        self.file().proofs().subtree(0, 2).expect("has leaves")
    }
}

/// A chain client whose events somebody always reads.
pub(super) struct Actor {
    pub chain: Chain,
    pub store: MemoryStore,
    events: Arc<Mutex<Vec<ChainEvent>>>,
}

impl Actor {
    pub(super) fn start(
        profile: &NetworkProfile,
        secret: Option<[u8; 32]>,
        store: &MemoryStore,
    ) -> Self {
        Self::read(super::start(profile, secret, store), store)
    }

    /// Reads a client's events from now on.
    pub(super) fn read(mut client: Client, store: &MemoryStore) -> Self {
        let events = Arc::<Mutex<Vec<ChainEvent>>>::default();
        let sink = Arc::clone(&events);
        tokio::spawn(async move {
            while let Some(event) = client.events.recv().await {
                sink.lock().expect("lock").push(event);
            }
        });
        Self {
            chain: client.chain,
            store: store.clone(),
            events,
        }
    }

    pub(super) fn events(&self) -> Vec<ChainEvent> {
        self.events.lock().expect("lock").clone()
    }

    /// The blocks delivered so far.
    pub(super) fn blocks(&self) -> Vec<BlockNews> {
        let news = self.events().into_iter().filter_map(|event| match event {
            ChainEvent::News(news) => Some(news),
            _ => None,
        });
        news.flatten().collect()
    }

    /// Jobs that failed for good.
    pub(super) fn failures(&self) -> Vec<String> {
        let failed = |event| match event {
            ChainEvent::Failed {
                why,
                permanent: true,
                ..
            } => Some(why),
            _ => None,
        };
        self.events().into_iter().filter_map(failed).collect()
    }
}
