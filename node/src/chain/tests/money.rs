//! Committees, epochs and claims: a whole round of money through the real contracts.

use std::collections::BTreeMap;

use assay_protocol::{
    id::EvmSignature,
    lane::{Claim, PayoutFile, SubtreeClaim},
    message::{EpochHeader, SettledTask},
};

use super::*;

/// Registered validators and the watcher that knows their lane.
pub(super) struct Committee {
    pub world: World,
    keys: BTreeMap<Account, EvmKey>,
    pub watcher: Client,
    pub poster: Client,
    pub members: Vec<Account>,
    threshold: usize,
}

pub(super) async fn committee(size: u8, params: DeployParams) -> Committee {
    let world = world_with(0, params).await;
    let mut keys = BTreeMap::new();
    for n in 1..=size {
        let account = world.rich(&key(n), 500_000_000).await;
        let client = start(&world.profile, Some(key(n)), &MemoryStore::default());
        client
            .chain
            .register(4, Amount(100_000_000), &node(n), Hash([n; 32]), account)
            .await
            .expect("registers");
        keys.insert(account, EvmKey::from_secret(&key(n)).expect("a key"));
    }
    let mut watcher = start(&world.profile, None, &MemoryStore::default());
    let mut poster = start(&world.profile, Some(key(1)), &MemoryStore::default());
    poster.chain.submit(ChainCall::DrawCommittee { lane: 0 });
    // A draw among more validators than seats waits for blocks.
    let dev = world.dev.clone();
    let miner = tokio::spawn(async move {
        loop {
            dev.call("dev_mine", json!([1])).expect("mines");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    poster.done().await;
    miner.abort();
    let drawn = watcher
        .fact("CommitteeDrawn", |f| {
            matches!(f, ChainFact::CommitteeDrawn { .. })
        })
        .await;
    let ChainFact::CommitteeDrawn {
        lane: 0,
        term: 1,
        members,
        threshold,
    } = drawn
    else {
        panic!("{drawn:?}")
    };
    assert!(members.is_sorted());
    Committee {
        world,
        keys,
        watcher,
        poster,
        members,
        threshold: threshold.into(),
    }
}

impl Committee {
    /// The next header over everything final, without signatures.
    pub async fn header(&mut self, file: &PayoutFile, settled: &[SettledTask]) -> EpochHeader {
        let head = self.poster.chain.head(0).await.expect("answers");
        self.world.mine(1);
        let after = self.watcher.blocks.last().map_or(0, |b| b.block.number);
        self.watcher.until("a block", |e| matches!(e, ChainEvent::News(n) if n.last().is_some_and(|b| b.block.number > after))).await;
        let block = self.watcher.blocks.last().expect("read").block;
        EpochHeader {
            lane: 0,
            epoch: head.epoch + 1,
            view: 3,
            term: head.term,
            parent: head.header,
            chain_block: block.number,
            chain_block_hash: block.hash,
            records_root: Hash([1; 32]),
            state_root: Hash([2; 32]),
            payout_root: file.root(),
            audit_root: file.audit_root(),
            payout_count: file.count(),
            loss_root: Hash([3; 32]),
            reputation_root: Hash([4; 32]),
            payout_file: file.hash(),
            total_owed: file.leaves.iter().map(|(_, total)| *total).sum(),
            settled_hash: EpochHeader::hash_settled(settled),
        }
    }

    /// Posts an epoch that settles nothing and has this loss root.
    pub async fn post_losses(&mut self, loss_root: Hash) -> EpochHeader {
        let header = EpochHeader {
            loss_root,
            ..self.header(&file(1, Vec::new()), &[]).await
        };
        self.poster.chain.submit(ChainCall::PostEpoch {
            signatures: self.sign(&header, self.threshold),
            header: header.clone(),
            settled: Vec::new(),
        });
        let done = self.poster.done().await;
        assert!(
            matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO),
            "{done:?}"
        );
        header
    }

    pub fn sign(&self, header: &EpochHeader, count: usize) -> Vec<(u8, EvmSignature)> {
        let digest = header.signing_digest(&self.world.profile);
        let members = self.members.iter().enumerate().take(count);
        members
            .map(|(place, account)| (place as u8, self.keys[account].sign(&digest)))
            .collect()
    }
}

pub(super) fn file(epoch: u64, mut leaves: Vec<(Account, Amount)>) -> PayoutFile {
    leaves.sort();
    PayoutFile {
        lane: 0,
        epoch,
        leaves,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_epoch_is_posted_and_anyone_can_claim_for_the_payees() {
    let mut c = committee(5, dev_params()).await;
    assert_eq!((c.members.len(), c.threshold), (5, 4));
    // The committee is in office: drawing again is done without a transaction.
    c.poster.chain.submit(ChainCall::DrawCommittee { lane: 0 });
    assert!(matches!(
        c.poster.done().await,
        ChainEvent::Done { tx: Hash::ZERO, .. }
    ));

    let client_account = c.world.rich(&key(0x31), 10_000).await;
    let mut client = start(&c.world.profile, Some(key(0x31)), &MemoryStore::default());
    client.chain.submit(fund(1, 1_000, 50));
    client.done().await;

    let (ann, bob) = (Account([0xa1; 20]), Account([0xb2; 20]));
    let paid = file(1, vec![(ann, Amount(700)), (bob, Amount(350))]);
    let settled = vec![SettledTask {
        task: TaskId([1; 32]),
        client: client_account,
    }];
    let header = c.header(&paid, &settled).await;

    // Too few signatures, and money from nowhere: refused for good, in the contract's words.
    let few = ChainCall::PostEpoch {
        header: header.clone(),
        settled: settled.clone(),
        signatures: c.sign(&header, 3),
    };
    c.poster.chain.submit(few);
    let why = c.poster.refused().await;
    assert!(why.contains("QuorumTooSmall"), "{why}");
    let greedy = EpochHeader {
        total_owed: Amount(1_051),
        ..header.clone()
    };
    c.poster.chain.submit(ChainCall::PostEpoch {
        signatures: c.sign(&greedy, 4),
        header: greedy,
        settled: settled.clone(),
    });
    let why = c.poster.refused().await;
    assert!(why.contains("NotConserved"), "{why}");

    // The contract accepts the members' signatures over our digest, and its header hash is ours: the two EIP-712 twins agree.
    let call = ChainCall::PostEpoch {
        header: header.clone(),
        settled,
        signatures: c.sign(&header, 4),
    };
    c.poster.chain.submit(call.clone());
    let done = c.poster.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO),
        "{done:?}"
    );
    let posted = c
        .watcher
        .fact("EpochPosted", |f| {
            matches!(f, ChainFact::EpochPosted { .. })
        })
        .await;
    let poster = c.poster.chain.account().expect("has a key");
    let expected = ChainFact::EpochPosted {
        header: Box::new(header.clone()),
        signers: vec![0, 1, 2, 3],
        poster,
    };
    assert_eq!(posted, expected);
    assert_eq!(
        c.poster.chain.head(0).await,
        Ok(LaneHead {
            epoch: 1,
            header: header.hash(),
            term: 1
        })
    );
    // Another member posts the same header a little later.
    let mut late = start(&c.world.profile, Some(key(2)), &MemoryStore::default());
    late.chain.submit(call.clone());
    assert!(matches!(
        late.done().await,
        ChainEvent::Done { tx: Hash::ZERO, .. }
    ));

    let books = client.chain.totals().await.expect("answers");
    assert_eq!(
        books,
        Totals {
            released: Amount(1_050),
            claimed: Amount::ZERO
        }
    );
    let escrow = client
        .chain
        .escrow(TaskId([1; 32]), client_account)
        .await
        .expect("answers")
        .expect("funded");
    assert!(escrow.settled);

    // The client pays the gas, Ann gets the money.
    let proofs = paid.clone().proofs();
    let claim = proofs.claim(&ann).expect("has a leaf");
    let forged = Claim {
        total: Amount(701),
        ..claim.clone()
    };
    assert_eq!(
        client.chain.claim(&forged).await,
        Err(ChainError::BadClaim { payee: ann })
    );
    assert_eq!(client.chain.standing(&claim).await, Ok(Standing::Pays));
    let result = client.chain.claim(&claim).await.expect("pays");
    assert_eq!(result.amount, Amount(700));
    assert!(result.gas_used > 30_000);
    assert_eq!(
        client.chain.balances(ann).await,
        Ok(Balances {
            native: 0,
            token: Amount(700)
        })
    );
    assert_eq!(
        client.chain.claim(&claim).await,
        Err(ChainError::NothingDue {
            payee: ann,
            paid: Amount(700)
        })
    );
    // Two askers at once: one transaction, both learn of it.
    let claim = proofs.claim(&bob).expect("has a leaf");
    let before = c.world.nonce(client_account);
    let (one, two) = tokio::join!(client.chain.claim(&claim), client.chain.claim(&claim));
    assert_eq!(one, two);
    assert_eq!(one.expect("pays").amount, Amount(350));
    assert_eq!(c.world.nonce(client_account), before + 1);
    assert_eq!(client.chain.paid(0, bob).await, Ok(Amount(350)));

    // Everybody has everything: a relayer finds nothing to do, and no transaction is sent.
    let everybody = proofs.subtree(0, 7).expect("has leaves");
    assert_eq!(client.chain.claim_subtree(&everybody).await, Ok(None));
    assert_eq!(c.world.nonce(client_account), before + 1);

    // A proof that leads to a root of its own making.
    let own = file(1, vec![(bob, Amount(900))])
        .proofs()
        .claim(&bob)
        .expect("has a leaf");
    assert!(matches!(
        client.chain.standing(&own).await,
        Ok(Standing::Refused(why)) if why.contains("the chain holds")
    ));
    let early = Claim {
        epoch: 2,
        ..own.clone()
    };
    assert!(matches!(
        client.chain.standing(&early).await,
        Ok(Standing::Later(_))
    ));
    let error = client
        .chain
        .claim(&own)
        .await
        .expect_err("not the chain's root");
    assert!(
        matches!(&error, ChainError::Refused { why, .. } if why.contains("the chain holds")),
        "{error}"
    );

    // A second task; one transaction pays all three of the next tree, and again pays nothing.
    client.chain.submit(fund(2, 400, 0));
    let second_task = TaskId([2; 32]);
    let funded =
        |f: &ChainFact| matches!(f, ChainFact::Funded { task, .. } if *task == second_task);
    c.watcher.fact("Funded", funded).await;
    let cleo = Account([0xc3; 20]);
    let totals = vec![(ann, Amount(700)), (bob, Amount(450)), (cleo, Amount(300))];
    let second = file(2, totals);
    let settled = vec![SettledTask {
        task: second_task,
        client: client_account,
    }];
    let two = c.header(&second, &settled).await;
    // The next epoch builds on the hash of the first; an epoch ahead of its turn waits, then is posted.
    assert_eq!(two.parent, header.hash());
    let three = EpochHeader {
        epoch: 3,
        parent: two.hash(),
        settled_hash: EpochHeader::hash_settled(&[]),
        ..two.clone()
    };
    c.poster.chain.submit(ChainCall::PostEpoch {
        signatures: c.sign(&three, 5),
        header: three,
        settled: Vec::new(),
    });
    c.poster.chain.submit(ChainCall::PostEpoch {
        signatures: c.sign(&two, 5),
        header: two,
        settled,
    });
    c.poster.done().await;
    c.poster.done().await;
    assert_eq!(c.poster.chain.head(0).await.expect("answers").epoch, 3);
    // The one who posted epoch 1 asks again, two epochs later: the anchor's event says that it is done.
    c.poster.chain.submit(call);
    assert!(matches!(
        c.poster.done().await,
        ChainEvent::Done { tx: Hash::ZERO, .. }
    ));

    let all = second.proofs().subtree(2, 7).expect("has leaves");
    assert_eq!((all.height, all.leaves.len()), (2, 3));
    let done = client.chain.claim_subtree(&all).await.expect("pays");
    assert_eq!(done.expect("something is due").amount, Amount(400));
    for (payee, total) in &all.leaves {
        let held = client.chain.balances(*payee).await.expect("answers");
        assert_eq!(held.token, *total);
    }
    assert_eq!(client.chain.claim_subtree(&all).await, Ok(None));
    let forged = SubtreeClaim { first: 4, ..all };
    assert_eq!(
        client.chain.claim_subtree(&forged).await,
        Err(ChainError::BadClaim { payee: ann })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draw_among_more_validators_than_seats_asks_waits_records_and_draws() {
    let c = committee(
        5,
        DeployParams {
            committee_max: 3,
            ..dev_params()
        },
    )
    .await;
    assert_eq!((c.members.len(), c.threshold), (3, 2));
    assert!(c.members.iter().all(|m| c.keys.contains_key(m)));
}
