//! Reorganisations of every depth at every state: what a node is told is the final chain, and everything is paid exactly once.

use super::{
    round::{Actor, Again, Books, Round, STAKE, STEPS, Step, until},
    *,
};

/// Blocks that a reorganisation may replace here.
const FINALITY: u64 = 64;
const VALIDATOR: [u8; 32] = [1; 32];
const CLIENT: [u8; 32] = [0x31; 32];
const RELAYER: [u8; 32] = [0x41; 32];

/// A network in which a round can begin, again and again.
struct Town {
    world: World,
    round: Round,
    start: u64,
}

impl Town {
    async fn build(finality: u64, params: DeployParams) -> Self {
        let world = world_with(finality, params).await;
        world.rich(&RELAYER, 0).await;
        let round = world.round(&VALIDATOR, &CLIENT).await;
        let start = world.number("dev_snapshot", json!([]));
        Self {
            world,
            round,
            start,
        }
    }

    /// Back to before the round, with so many blocks on top that no reorganisation reaches below.
    fn reset(&mut self) {
        let known = self.world.dev.call("dev_revert", json!([self.start]));
        assert_eq!(known, Ok(json!(true)));
        self.start = self.world.number("dev_snapshot", json!([]));
        self.world.mine(2 * FINALITY);
    }

    fn people(&self) -> People {
        let actor = |secret| Actor::start(&self.world.profile, secret, &MemoryStore::default());
        People {
            validator: actor(Some(VALIDATOR)),
            client: actor(Some(CLIENT)),
            relayer: actor(Some(RELAYER)),
            watcher: actor(None),
        }
    }
}

struct People {
    validator: Actor,
    client: Actor,
    relayer: Actor,
    watcher: Actor,
}

impl People {
    fn senders(&self) -> [&Actor; 3] {
        [&self.validator, &self.client, &self.relayer]
    }

    async fn register(&self, town: &Town) {
        self.validator
            .chain
            .register(
                4,
                Amount(STAKE),
                &node(1),
                Hash([1; 32]),
                town.round.validator,
            )
            .await
            .expect("registers");
    }

    /// Does a step; it is in a block when this returns.
    async fn take(&self, step: Step, town: &Town) {
        let (world, round) = (&town.world, &town.round);
        match step {
            Step::Registered => self.register(town).await,
            Step::Drawn => {
                let call = ChainCall::DrawCommittee { lane: 0 };
                self.validator.chain.submit(call);
            }
            Step::Funded => self.client.chain.submit(fund(1, 1_000, 50)),
            Step::ToppedUp => assert!(round.top_up(world)),
            Step::Posted => {
                // The committee signs over final blocks only.
                world.mine(FINALITY);
                let settled = round.settled();
                let header = round.header(world, &settled);
                self.validator
                    .chain
                    .submit(round.post(world, header, settled));
            }
            Step::Claimed => {
                let claim = round.claim();
                let done = self.relayer.chain.claim(&claim).await.expect("pays");
                assert_eq!(done.amount, claim.total);
            }
            Step::SubtreeClaimed => {
                let done = self.relayer.chain.claim_subtree(&round.subtree()).await;
                assert!(done.expect("pays").is_some());
            }
        }
        until(&format!("{step:?}"), || world.shows(step, round), || {}).await;
    }

    /// Waits until everything up to a step is in the chain again; blocks come meanwhile, and the stranger looks after its own.
    async fn recover(&self, upto: Step, town: &Town) {
        let (world, round) = (&town.world, &town.round);
        let shown = |step: &&Step| world.shows(**step, round);
        until(
            &format!("everything up to {upto:?} again"),
            || {
                STEPS
                    .iter()
                    .take_while(|s| **s <= upto)
                    .filter(shown)
                    .count()
                    == upto as usize + 1
            },
            || {
                if upto >= Step::ToppedUp
                    && world.shows(Step::Funded, round)
                    && !world.shows(Step::ToppedUp, round)
                {
                    assert!(round.top_up(world));
                }
                world.mine(1);
            },
        )
        .await;
    }

    /// Blocks come until every outbox is empty and the watcher has seen the last step; what it saw must be the final chain.
    async fn settle(&self, town: &Town) -> Books {
        let world = &town.world;
        let last = world.head();
        until(
            "everything final",
            || {
                self.senders().iter().all(|a| a.store.is_empty())
                    && self
                        .watcher
                        .blocks()
                        .last()
                        .is_some_and(|b| b.block.number >= last)
            },
            || world.mine(4),
        )
        .await;
        for actor in self.senders() {
            assert_eq!(actor.failures(), Vec::<String>::new());
        }
        world.is_what_was_told(&self.watcher.blocks());
        world.books(&town.round)
    }
}

/// A whole round, with one reorganisation at a state.
async fn play(town: &mut Town, disturbance: Option<(Step, u64, Again)>) -> Books {
    town.reset();
    let people = town.people();
    for step in STEPS {
        people.take(step, town).await;
        if let Some((_, depth, again)) = disturbance.filter(|(at, ..)| *at == step) {
            town.world.reorg(depth, again);
            people.recover(step, town).await;
        }
    }
    people.settle(town).await
}

async fn every_state(depth: u64) {
    let mut town = Town::build(FINALITY, dev_params()).await;
    let undisturbed = play(&mut town, None).await;
    for step in STEPS {
        for again in [Again::Never, Again::SameOrder, Again::OtherOrder] {
            let books = play(&mut town, Some((step, depth, again))).await;
            assert_eq!(books, undisturbed, "at {step:?}, depth {depth}, {again:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_of_one_block_at_any_state_changes_nobodys_money() {
    every_state(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_of_two_blocks_at_any_state_changes_nobodys_money() {
    every_state(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_of_seven_blocks_at_any_state_changes_nobodys_money() {
    every_state(7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_of_thirty_two_blocks_at_any_state_changes_nobodys_money() {
    every_state(32).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_as_deep_as_finality_allows_at_any_state_changes_nobodys_money() {
    every_state(FINALITY).await;
}

/// Claims start an hour after the epoch, so that an epoch with a proven fault can be taken back.
mod revoked {
    use assay_protocol::message::EpochHeader;

    use super::{
        super::{
            super::{
                bindings::{DevToken, Disputes},
                facts::abi_header,
            },
            round::{PAYEES, STRANGER, account},
        },
        *,
    };

    /// Seconds between an epoch and its first claim.
    const DELAY: u32 = 3_600;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum At {
        Posted,
        Revoked,
    }

    fn disputes(world: &World) -> Account {
        let call = EpochAnchor::disputesCall {};
        world.view(world.profile.contracts.anchor, call).into()
    }

    fn is_revoked(world: &World, faulty: &EpochHeader) -> bool {
        let call = Disputes::faultyCall {
            headerHash: faulty.hash().into(),
        };
        world.view(disputes(world), call)
    }

    fn head(world: &World) -> Hash {
        let call = EpochAnchor::headCall { lane: 0 };
        let head = world.view(world.profile.contracts.anchor, call);
        head.hash.into()
    }

    /// The stranger proves that a header with payees has no audit tree, and is paid for it.
    fn prove(town: &Town, h: &EpochHeader) {
        let chain = vec![abi_header!(Disputes, h)];
        let e = Disputes::Evidence {
            chain,
            // The signers keep their stake here, so that they can make it good.
            signatures: Default::default(),
            reporter: account(&STRANGER).into(),
        };
        let call = Disputes::proveNoAuditCall { e };
        assert!(town.world.send(&STRANGER, disputes(&town.world), &call));
    }

    async fn play(town: &mut Town, disturbance: Option<(At, u64, Again)>) -> Books {
        town.reset();
        let (world, round) = (&town.world, &town.round);
        let people = town.people();
        for step in &STEPS[..4] {
            people.take(*step, town).await;
        }
        world.mine(FINALITY);
        let settled = round.settled();
        let good = round.header(world, &settled);
        let faulty = EpochHeader {
            audit_root: Hash::ZERO,
            ..good.clone()
        };
        let call = round.post(world, faulty.clone(), settled);
        people.validator.chain.submit(call);
        let posted = || head(world) == faulty.hash();
        until("the faulty epoch", posted, || {}).await;
        if let Some((At::Posted, depth, again)) = disturbance {
            world.reorg(depth, again);
            until("the faulty epoch again", posted, || world.mine(1)).await;
        }
        prove(town, &faulty);
        let revoked = || is_revoked(world, &faulty);
        assert!(revoked() && head(world) == Hash::ZERO);
        if let Some((At::Revoked, depth, again)) = disturbance {
            world.reorg(depth, again);
            until("the epoch revoked again", revoked, || {
                if posted() {
                    prove(town, &faulty);
                } else {
                    world.mine(1);
                }
            })
            .await;
        }

        // The next committee settles the same task with the same money. Nobody asks for it before the loss of the first is final.
        let still = || people.validator.store.is_empty();
        until("what came before is final", still, || world.mine(1)).await;
        let call = ChainCall::DrawCommittee { lane: 0 };
        people.validator.chain.submit(call);
        until("a new committee", || world.shows(Step::Drawn, round), || {}).await;
        let (chain_block, chain_block_hash) = world.finalized();
        let good = EpochHeader {
            term: good.term + 1,
            chain_block,
            chain_block_hash,
            settled_hash: EpochHeader::hash_settled(&[]),
            ..good
        };
        let call = round.post(world, good.clone(), Vec::new());
        people.validator.chain.submit(call);
        until("the good epoch", || head(world) == good.hash(), || {}).await;
        world
            .dev
            .call("dev_increaseTime", json!([DELAY + 1]))
            .expect("moves");
        world.mine(1);
        people.take(Step::Claimed, town).await;
        people.take(Step::SubtreeClaimed, town).await;
        people.settle(town).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reorganisation_around_a_revoked_epoch_changes_nobodys_money() {
        let params = DeployParams {
            activation_delay: DELAY,
            unbond_seconds: 3 * u64::from(DELAY),
            ..dev_params()
        };
        let mut town = Town::build(FINALITY, params).await;
        let undisturbed = play(&mut town, None).await;
        for (at, again) in [
            (At::Posted, Again::Never),
            (At::Revoked, Again::Never),
            (At::Revoked, Again::SameOrder),
            (At::Revoked, Again::OtherOrder),
        ] {
            for depth in [1, 2, 7, 32, FINALITY] {
                let books = play(&mut town, Some((at, depth, again))).await;
                assert_eq!(books, undisturbed, "at {at:?}, depth {depth}, {again:?}");
            }
        }
        let call = DevToken::balanceOfCall {
            account: PAYEES[0].0.into(),
        };
        let paid = town.world.view(town.world.profile.contracts.token, call);
        assert_eq!(units(paid), PAYEES[0].1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_rewrites_final_blocks_stops_the_client_and_nothing_more_is_signed() {
    // A shallow rewrite that keeps the height, one that a longer chain hides, one that leaves a shorter chain.
    for (back, forth) in [(20, 20), (20, 90), (40, 10)] {
        let world = world_with(8, dev_params()).await;
        let owner = world.rich(&CLIENT, 10_000).await;
        world.mine(40);
        let before = world.number("dev_snapshot", json!([]));
        world.mine(back);
        let (front, url) = Front::open(world.dev.clone()).await;
        let profile = world.behind(url);
        let mut client = start(&profile, Some(CLIENT), &MemoryStore::default());
        let last = world.finalized().0;
        let told = |e: &ChainEvent| matches!(e, ChainEvent::News(n) if n.last().is_some_and(|b| b.block.number >= last));
        client.until("the last final block", told).await;
        let call = json!([before]);
        assert_eq!(world.dev.call("dev_revert", call), Ok(json!(true)));
        // Another time makes other blocks.
        world
            .dev
            .call("dev_increaseTime", json!([10]))
            .expect("moves");
        world.mine(forth);
        client.chain.submit(fund(1, 1_000, 50));
        let why = client.refused().await;
        assert!(
            why.contains("contradicts itself") && why.contains("Choose a trustworthy endpoint"),
            "{why}"
        );
        let error = client.chain.submit_durably(fund(2, 1, 1)).await;
        assert!(matches!(error, Err(ChainError::Stopped(_))), "{error:?}");
        assert_eq!(front.distinct(), [], "back {back}, forth {forth}");
        assert_eq!(world.nonce(owner), 0);
    }
}
