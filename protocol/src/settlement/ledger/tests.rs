use super::*;
use crate::{
    crypto::EvmKey,
    lane::PayoutFile,
    merkle::{AUDIT_LEAF, LOSS_LEAF, Tree},
    network::{CodeHashes, Contracts, Extras, Params},
    settlement::fault::{AuditLeaf, PayoutLeaf, TreeFault},
};

const STAKE: Amount = Amount(1_001);
const DELAY: u64 = 3_600;
const UNBOND: u64 = 2 * DELAY;
const TASK: TaskId = TaskId([1; 32]);
const REPORTER: Account = Account([0x77; 20]);

fn key(n: u8) -> EvmKey {
    EvmKey::from_secret(&[n; 32]).unwrap()
}

fn account(n: u8) -> Account {
    key(n).account()
}

fn payee(n: u8) -> Account {
    Account([n; 20])
}

/// Four validators in the committee of lane 0 of two; account 9 is the client, 8 a labeler.
struct World {
    ledger: Ledger,
    time: u64,
    last: BlockNews,
    headers: Vec<EpochHeader>,
}

/// The trees of an epoch, which need not fit together.
#[derive(Clone, Default)]
struct Trees {
    payout: Vec<(Account, u128)>,
    /// (payee, total, before); none: no tree.
    audit: Option<Vec<(Account, u128, u128)>>,
    count: u32,
    owed: u128,
    losses: Vec<(Account, u128)>,
}

impl Trees {
    fn right(leaves: &[(Account, u128)]) -> Self {
        let mut before = 0;
        let audit = leaves.iter().map(|(payee, total)| {
            before += total;
            (*payee, *total, before - total)
        });
        Self {
            audit: Some(audit.collect()),
            payout: leaves.to_vec(),
            count: leaves.len() as u32,
            owed: leaves.iter().map(|l| l.1).sum(),
            losses: Vec::new(),
        }
    }

    fn payout_tree(&self) -> Tree {
        let leaves = self.payout.iter();
        let hash = |l: &(Account, u128)| {
            if l.0 == Account::default() {
                Hash::ZERO
            } else {
                PayoutFile::leaf(&l.0, Amount(l.1))
            }
        };
        Tree::new(leaves.map(hash).collect())
    }

    fn audit_tree(&self) -> Tree {
        let leaves = self.audit.iter().flatten().map(|(payee, total, before)| {
            let (total, before) = (total.to_be_bytes(), before.to_be_bytes());
            merkle::leaf(AUDIT_LEAF, &[&payee.0, &total, &before])
        });
        Tree::new(leaves.collect())
    }

    fn loss_tree(&self) -> Tree {
        let leaves = self.losses.iter();
        let leaf = |l: &(Account, u128)| merkle::leaf(LOSS_LEAF, &[&l.0.0, &l.1.to_be_bytes()]);
        Tree::new(leaves.map(leaf).collect())
    }

    fn leaf(&self, index: usize) -> PayoutLeaf {
        let (payee, total) = self.payout[index];
        PayoutLeaf {
            payee,
            total: Amount(total),
            index: index as u64,
            proof: self.payout_tree().proof(index).unwrap(),
        }
    }

    fn audited(&self, index: usize) -> AuditLeaf {
        let (payee, total, before) = self.audit.as_ref().unwrap()[index];
        AuditLeaf {
            payee,
            total: Amount(total),
            before: Amount(before),
            index: index as u64,
            proof: self.audit_tree().proof(index).unwrap(),
        }
    }

    fn place(&self, audit: bool, index: usize) -> TreeFault {
        let tree = if audit {
            self.audit_tree()
        } else {
            self.payout_tree()
        };
        TreeFault::Place {
            audit,
            node: match self.payout.get(index) {
                Some((payee, total)) if !audit && *payee != Account::default() => {
                    PayoutFile::leaf(payee, Amount(*total))
                }
                _ => Hash::ZERO,
            },
            index: index as u64,
            proof: tree.proof(index).unwrap(),
        }
    }

    fn loss(&self, index: usize) -> LossLeaf {
        let (account, total) = self.losses.get(index).copied().unwrap_or_default();
        LossLeaf {
            account,
            total: Amount(total),
            index: index as u64,
            proof: self.loss_tree().proof(index).unwrap(),
        }
    }

    fn claim(&self, epoch: u64, index: usize) -> Claim {
        let leaf = self.leaf(index);
        Claim {
            lane: 0,
            epoch,
            payee: leaf.payee,
            total: leaf.total,
            index: leaf.index,
            proof: leaf.proof,
            root: self.payout_tree().root(),
        }
    }
}

impl World {
    fn new() -> Self {
        let at = |n: u8| Account([n; 20]);
        let profile = NetworkProfile {
            name: "twin".into(),
            chain_id: 31_337,
            dev: true,
            rpc: vec![],
            bootstrap: vec![],
            start_block: 1,
            contracts: Contracts {
                token: at(0xa1),
                registry: at(0xa2),
                escrow: at(0xa3),
                anchor: at(0xa4),
                distributors: vec![at(0xa5), at(0xa6)],
                beacon: at(0xa7),
            },
            code: CodeHashes::none(2),
            extras: Extras::default(),
            params: Params {
                lanes: 2,
                ..Params::dev()
            },
        };
        let mut ledger = Ledger::new(profile, Hash([9; 32]))
            .with_fallback(10 * DELAY)
            .with_disputes(DisputeTerms {
                activation_delay: DELAY,
                min_validator_stake: STAKE,
                slash_bps: 2_500,
            })
            .with_members(MemberTerms {
                min_labeler_bond: Amount(10),
                unbond_secs: UNBOND,
                committee_max: 4,
                term_epochs: 2,
            });
        ledger.begin(1_000);
        for n in 1..=9 {
            ledger.mint(account(n), Amount(1_000_000));
        }
        let last = ledger.mine(1_000);
        let mut world = Self {
            ledger,
            time: 1_000,
            last,
            headers: Vec::new(),
        };
        for n in 1..=4 {
            world.register(n, role::VALIDATOR, STAKE).unwrap();
        }
        world.register(8, role::LABELER, Amount(10)).unwrap();
        world.ledger.draw_committee(0).unwrap();
        world
            .ledger
            .fund(account(9), TASK, 0, Amount(900), Amount(100))
            .unwrap();
        world.pass(1);
        world
    }

    fn pass(&mut self, seconds: u64) {
        self.last = self.ledger.mine(self.time);
        self.time += seconds;
        self.ledger.begin(self.time);
    }

    fn register(&mut self, n: u8, roles: u8, stake: Amount) -> Result<(), LedgerError> {
        let (who, key) = (account(n), NodeKey([n; 32]));
        let binding = Signature([0; 64]);
        self.ledger
            .register(who, key, Hash::ZERO, who, roles, stake, binding)
    }

    fn header(&self, trees: &Trees, settled: &[SettledTask]) -> EpochHeader {
        EpochHeader {
            lane: 0,
            epoch: self.ledger.epoch(0) + 1,
            view: 0,
            term: self.ledger.lanes[&0].term,
            parent: self.ledger.head(0),
            chain_block: self.last.block.number,
            chain_block_hash: self.last.block.hash,
            records_root: Hash([1; 32]),
            state_root: Hash([2; 32]),
            payout_root: trees.payout_tree().root(),
            audit_root: trees.audit_tree().root(),
            payout_count: trees.count,
            loss_root: trees.loss_tree().root(),
            reputation_root: Hash::ZERO,
            payout_file: Hash::ZERO,
            total_owed: Amount(trees.owed),
            settled_hash: EpochHeader::hash_settled(settled),
        }
    }

    fn sign(&self, header: &EpochHeader, of: &[u8]) -> Vec<EvmSignature> {
        let digest = header.signing_digest(&self.ledger.profile);
        of.iter().map(|n| key(*n).sign(&digest)).collect()
    }

    /// Posts with the whole committee's signatures.
    fn post(&mut self, trees: &Trees, settled: &[SettledTask]) -> Result<(), LedgerError> {
        let header = self.header(trees, settled);
        let (_, members, _) = self.ledger.lanes[&0].committee.clone().unwrap();
        let digest = header.signing_digest(&self.ledger.profile);
        let place = |m: &Account| (1..=9).find(|n| account(*n) == *m).unwrap();
        let signed = members.iter().map(|m| key(place(m)).sign(&digest));
        let signatures: Vec<(u8, EvmSignature)> = (0..).zip(signed).collect();
        let posted = self
            .ledger
            .post_epoch(REPORTER, &header, settled, &signatures);
        posted.map(|()| self.headers.push(header))
    }

    fn evidence(&self, of: u8) -> Evidence {
        let chain = vec![self.headers.last().unwrap().clone()];
        Evidence {
            signatures: self.sign(&chain[0], &[of]),
            chain,
            reporter: REPORTER,
        }
    }

    /// Nothing of it changed the state.
    fn refuses<T: std::fmt::Debug>(
        &mut self,
        call: impl FnOnce(&mut Ledger) -> Result<T, LedgerError>,
    ) -> LedgerError {
        let before = format!("{:?}", self.ledger);
        let error = call(&mut self.ledger).unwrap_err();
        assert_eq!(format!("{:?}", self.ledger), before, "after {error}");
        error
    }
}

fn settles() -> [SettledTask; 1] {
    [SettledTask {
        task: TASK,
        client: account(9),
    }]
}

#[test]
fn a_stake_grows_leaves_and_comes_home_after_its_time() {
    let mut w = World::new();
    w.register(5, role::CLIENT, Amount(7)).unwrap();
    let (who, supply) = (account(5), w.ledger.supply());
    w.refuses(|l| l.add_stake(who, Amount::ZERO));
    w.refuses(|l| l.add_stake(who, Amount(1_000_000)));
    w.refuses(|l| l.add_stake(account(6), Amount(1)));
    w.ledger.add_stake(who, Amount(5)).unwrap();
    w.refuses(|l| l.withdraw(who, &[], &[]));
    w.ledger.request_unbond(who).unwrap();
    w.refuses(|l| l.request_unbond(who));
    w.refuses(|l| l.add_stake(who, Amount(1)));
    w.pass(UNBOND - 1);
    w.refuses(|l| l.withdraw(who, &[], &[]));
    w.pass(1);
    let home = w.ledger.withdraw(who, &[], &[]).unwrap();
    assert_eq!((home.paid, home.burned), (Amount(12), Amount::ZERO));
    assert_eq!(w.ledger.balance(&who), Amount(1_000_000));
    w.refuses(|l| l.withdraw(who, &[], &[]));
    w.register(5, role::CLIENT, Amount(7)).unwrap();
    assert_eq!(w.ledger.supply(), supply);
}

#[test]
fn who_sat_in_a_committee_answers_for_it_after_it_is_replaced() {
    let mut w = World::new();
    let who = account(1);
    w.ledger.request_unbond(who).unwrap();
    w.pass(2 * UNBOND);
    let why = w.refuses(|l| l.withdraw(who, &[], &[]));
    assert!(matches!(why, LedgerError::Member(..)), "{why}");
    // The term still runs; two days of silence end it.
    w.refuses(|l| l.draw_committee(0));
    w.pass(STALL_SECS);
    w.ledger.draw_committee(0).unwrap();
    w.pass(UNBOND - 1);
    w.refuses(|l| l.withdraw(who, &[], &[]));
    w.pass(1);
    assert_eq!(w.ledger.withdraw(who, &[], &[]).unwrap().paid, STAKE);
}

#[test]
fn a_labeler_leaves_with_what_its_shown_losses_leave_and_owes_the_rest() {
    let mut w = World::new();
    let who = account(8);
    let mut others: Vec<Account> = [payee(0x01), payee(0xfe), who].to_vec();
    others.sort();
    let trees = Trees {
        losses: others
            .iter()
            .map(|a| (*a, if *a == who { 14 } else { 3 }))
            .collect(),
        ..Trees::default()
    };
    w.post(&trees, &[]).unwrap();
    w.ledger.request_unbond(who).unwrap();
    w.pass(UNBOND);
    let heads = [
        w.headers[0].clone(),
        EpochHeader {
            lane: 1,
            ..w.headers[0].clone()
        },
    ];
    let own = trees.losses.iter().position(|l| l.0 == who).unwrap();
    let shown = [vec![trees.loss(own)], vec![]];
    let wrong = [
        vec![],
        vec![trees.loss(own - 1)],
        vec![trees.loss(own - 1), trees.loss(own + 1)],
        vec![LossLeaf {
            total: Amount::ZERO,
            ..trees.loss(own)
        }],
        // Padding ends the tree, and does not stand for anybody.
        vec![trees.loss(3)],
    ];
    for leaves in wrong {
        let why = w.refuses(|l| l.withdraw(who, &heads, &[leaves, vec![]]));
        assert!(matches!(why, LedgerError::Losses(0, _)), "{why}");
    }
    w.refuses(|l| l.withdraw(who, &heads[..1], &shown[..1]));
    let other = EpochHeader {
        loss_root: Hash::ZERO,
        ..heads[0].clone()
    };
    w.refuses(|l| l.withdraw(who, &[other, heads[1].clone()], &[vec![], vec![]]));
    let supply = w.ledger.supply();
    let home = w.ledger.withdraw(who, &heads, &shown).unwrap();
    assert_eq!((home.paid, home.burned), (Amount::ZERO, Amount(10)));
    assert_eq!(w.ledger.balance(&BURN_ADDRESS), Amount(10));
    assert_eq!(w.ledger.supply(), supply);
    // Four are still owed, and only they are taken of the next stake.
    w.register(8, role::LABELER, Amount(10)).unwrap();
    w.ledger.request_unbond(who).unwrap();
    w.pass(UNBOND);
    let home = w.ledger.withdraw(who, &heads, &shown).unwrap();
    assert_eq!((home.paid, home.burned), (Amount(6), Amount(4)));
}

#[test]
fn who_has_no_leaf_shows_the_gap_where_it_would_stand() {
    let mut rows: Vec<(Account, u128)> = [0x10, 0x30, 0x50].map(|n| (payee(n), 5)).to_vec();
    let shows = |trees: &Trees, who: u8, places: &[usize]| {
        let leaves: Vec<LossLeaf> = places.iter().map(|i| trees.loss(*i)).collect();
        let root = trees.loss_tree().root();
        stakes::loss_of(&payee(who), 0, &root, &leaves)
    };
    let three = Trees {
        losses: rows.clone(),
        ..Trees::default()
    };
    rows.push((payee(0x70), 5));
    let four = Trees {
        losses: rows,
        ..Trees::default()
    };
    for (who, places, trees) in [
        (0x01, &[0][..], &three),
        (0x20, &[0, 1], &three),
        (0x60, &[2, 3], &three),
        (0x80, &[3], &four),
    ] {
        assert_eq!(shows(trees, who, places), Ok(Amount::ZERO), "{who:#x}");
    }
    for (who, places, trees) in [
        (0x01, &[1][..], &three),
        (0x30, &[0, 2], &three),
        (0x40, &[0, 1], &three),
        (0x20, &[1, 0], &three),
        (0x60, &[3], &three),
        (0x60, &[2], &three),
        (0x80, &[2], &four),
        (0x20, &[], &four),
    ] {
        assert!(shows(trees, who, places).is_err(), "{who:#x} {places:?}");
    }
}

/// Each kind of fault with its proof, and proofs of the same kind that show nothing.
#[test]
fn every_fault_of_a_tree_costs_its_signers_and_takes_the_lane_back() {
    let three = [(payee(1), 500), (payee(2), 300), (payee(3), 200)];
    let right = Trees::right(&three);
    let unordered = Trees::right(&[three[1], three[0], three[2]]);
    let doubled = Trees::right(&[three[0], (payee(1), 300), three[2]]);
    let four = [three[0], three[1], (payee(3), 150), (payee(4), 50)];
    let beyond = Trees {
        count: 3,
        ..Trees::right(&four)
    };
    let hole = Trees {
        payout: vec![three[0], (Account::default(), 0), three[2]],
        ..right.clone()
    };
    let no_audit = Trees {
        audit: None,
        ..right.clone()
    };
    let mut other = right.clone();
    other.payout[1].1 = 301;
    let mut skewed = right.clone();
    skewed.audit.as_mut().unwrap()[2].2 = 801;
    let start = Trees {
        audit: Some(vec![
            (payee(1), 500, 1),
            (payee(2), 300, 501),
            (payee(3), 200, 801),
        ]),
        ..right.clone()
    };
    let mismatch = |t: &Trees, i: usize, node: (Account, u128)| TreeFault::Mismatch {
        audit: t.audited(i),
        node: PayoutFile::leaf(&node.0, Amount(node.1)),
        proof: t.payout_tree().proof(i).unwrap(),
    };
    let disorder = |t: &Trees, a: usize, b: usize| TreeFault::Disorder {
        first: t.leaf(a),
        second: t.leaf(b),
    };
    let sum = |t: &Trees, a: usize, b: usize| TreeFault::Sum {
        first: t.audited(a),
        second: t.audited(b),
    };
    let cases: Vec<(Trees, TreeFault, Vec<TreeFault>)> = vec![
        (
            unordered.clone(),
            disorder(&unordered, 0, 1),
            vec![
                disorder(&unordered, 1, 2),
                disorder(&unordered, 1, 0),
                disorder(&unordered, 0, 0),
                disorder(&right, 0, 1),
            ],
        ),
        (
            doubled.clone(),
            disorder(&doubled, 0, 1),
            vec![disorder(&doubled, 1, 2)],
        ),
        (
            beyond.clone(),
            beyond.place(false, 3),
            vec![beyond.place(false, 2)],
        ),
        (
            hole.clone(),
            hole.place(false, 1),
            vec![
                hole.place(false, 0),
                hole.place(false, 3),
                right.place(false, 1),
            ],
        ),
        (
            no_audit.clone(),
            TreeFault::NoAudit,
            vec![TreeFault::Edge(right.audited(0))],
        ),
        (
            other.clone(),
            mismatch(&other, 1, other.payout[1]),
            vec![
                mismatch(&other, 0, other.payout[0]),
                mismatch(&other, 1, right.payout[1]),
            ],
        ),
        (
            start.clone(),
            TreeFault::Edge(start.audited(0)),
            vec![TreeFault::Edge(start.audited(1)), sum(&start, 0, 1)],
        ),
        (
            skewed.clone(),
            sum(&skewed, 1, 2),
            vec![sum(&skewed, 0, 1), sum(&skewed, 0, 2), TreeFault::NoAudit],
        ),
        (
            skewed.clone(),
            TreeFault::Edge(skewed.audited(2)),
            vec![TreeFault::Edge(skewed.audited(0))],
        ),
    ];
    for (trees, proof, wrong) in cases {
        let mut w = World::new();
        w.post(&trees, &settles()).unwrap();
        let evidence = w.evidence(2);
        for nothing in wrong {
            let why = w.refuses(|l| l.prove(&evidence, &nothing));
            assert!(matches!(why, LedgerError::NoFault(_)), "{nothing:?}: {why}");
        }
        convicts(w, &proof);
    }
}

#[test]
fn a_payee_of_the_epoch_before_who_is_owed_less_or_missing_is_a_fault() {
    let before = Trees::right(&[(payee(2), 600), (payee(4), 300), (payee(6), 100)]);
    let shrunk = Trees::right(&[(payee(2), 599), (payee(4), 301), (payee(6), 100)]);
    let without = Trees::right(&[(payee(2), 600), (payee(6), 400)]);
    let cut = Trees::right(&[(payee(4), 900), (payee(6), 100)]);
    let begin = || {
        let mut w = World::new();
        w.post(&before, &settles()).unwrap();
        w
    };
    let parent = Box::new(begin().headers[0].clone());
    let less = |then: usize, now: usize| TreeFault::Shrunk {
        parent: parent.clone(),
        earlier: before.leaf(then),
        now: shrunk.leaf(now),
    };
    let omitted = |t: &Trees, then: usize, around: &[usize]| TreeFault::Omitted {
        parent: parent.clone(),
        earlier: before.leaf(then),
        around: around.iter().map(|i| t.leaf(*i)).collect(),
    };
    let stranger = TreeFault::Shrunk {
        parent: Box::new(EpochHeader {
            view: 1,
            ..(*parent).clone()
        }),
        earlier: before.leaf(0),
        now: shrunk.leaf(0),
    };
    for (trees, proof, wrong) in [
        (
            &shrunk,
            less(0, 0),
            vec![
                less(1, 1),
                less(2, 2),
                less(0, 1),
                stranger,
                omitted(&shrunk, 1, &[0, 2]),
            ],
        ),
        (
            &without,
            omitted(&without, 1, &[0, 1]),
            vec![
                omitted(&without, 0, &[0, 1]),
                omitted(&without, 1, &[0]),
                omitted(&without, 1, &[1, 0]),
                omitted(&without, 1, &[]),
            ],
        ),
        (
            &cut,
            omitted(&cut, 0, &[0]),
            vec![omitted(&cut, 1, &[0]), omitted(&cut, 0, &[1])],
        ),
    ] {
        let mut w = begin();
        w.pass(1);
        w.post(trees, &[]).unwrap();
        let evidence = w.evidence(2);
        for nothing in wrong {
            w.refuses(|l| l.prove(&evidence, &nothing));
        }
        convicts(w, &proof);
    }
}

/// The proof takes the last epoch back, and its signer pays.
fn convicts(mut w: World, proof: &TreeFault) {
    let (supply, epoch) = (w.ledger.supply(), w.ledger.epoch(0));
    let evidence = w.evidence(2);
    let nobody = Evidence {
        reporter: Account::default(),
        ..evidence.clone()
    };
    w.refuses(|l| l.prove(&nobody, proof));
    let forged = Evidence {
        signatures: w.sign(&evidence.chain[0], &[2, 0x55]),
        ..evidence.clone()
    };
    let why = w.refuses(|l| l.prove(&forged, proof));
    assert!(matches!(why, LedgerError::Signers(_)), "{why}");
    assert_eq!(w.ledger.prove(&evidence, proof), Ok(true), "{proof:?}");
    assert_eq!(
        (w.ledger.epoch(0), w.ledger.head(0)),
        (epoch - 1, evidence.chain[0].parent)
    );
    // A quarter of 1,001; half of it goes to the reporter, the odd unit is burned.
    assert_eq!(w.ledger.balance(&REPORTER), Amount(125));
    assert_eq!(w.ledger.balance(&BURN_ADDRESS), Amount(125));
    assert_eq!(w.ledger.supply(), supply);
    let slashed = w.ledger.stakes().find(|s| s.0 == account(2)).unwrap().1;
    assert_eq!((slashed.stake, slashed.banned), (Amount(751), true));
    let why = w.refuses(|l| l.prove(&evidence, proof));
    assert!(matches!(why, LedgerError::Header(_)), "{why}");
    // The others were left out; each pays once.
    let hash = evidence.chain[0].hash();
    let more = w.sign(&evidence.chain[0], &[1, 2, 3, 3]);
    assert_eq!(w.ledger.punish(&hash, &more, REPORTER), Ok(2));
    assert_eq!(w.ledger.punish(&hash, &more, REPORTER), Ok(0));
    w.refuses(|l| l.punish(&Hash([1; 32]), &more, REPORTER));
    // The committee is dismissed; those who are left draw another at once.
    w.ledger.draw_committee(0).unwrap();
    assert_eq!(
        w.ledger.lanes[&0].committee.as_ref().unwrap().1,
        [account(4)]
    );
    let money = Trees::right(&[(payee(9), w.ledger.released(0).released.0)]);
    w.pass(1);
    w.post(&money, &[]).unwrap();
}

#[test]
fn a_fault_shown_after_the_root_is_active_costs_stakes_and_takes_nothing_back() {
    let mut w = World::new();
    let faulty = Trees {
        audit: None,
        ..Trees::right(&[(payee(1), 1_000)])
    };
    w.post(&faulty, &settles()).unwrap();
    let accused = w.headers[0].clone();
    w.pass(DELAY);
    w.post(&Trees::right(&[(payee(1), 1_000)]), &[]).unwrap();
    let short = Evidence {
        signatures: w.sign(&accused, &[1, 2, 3, 4]),
        chain: vec![accused.clone()],
        reporter: REPORTER,
    };
    w.refuses(|l| l.prove(&short, &TreeFault::NoAudit));
    let evidence = Evidence {
        chain: w.headers.clone(),
        ..short
    };
    assert_eq!(w.ledger.prove(&evidence, &TreeFault::NoAudit), Ok(false));
    assert_eq!(w.ledger.epoch(0), 2);
    assert_eq!(w.ledger.balance(&REPORTER), Amount(4 * 125));
    // Shown again: nobody pays twice, and nothing is refused.
    assert_eq!(w.ledger.prove(&evidence, &TreeFault::NoAudit), Ok(false));
    assert_eq!(w.ledger.balance(&REPORTER), Amount(4 * 125));
    assert_eq!(w.ledger.claim(&faulty.claim(1, 0)), Ok(Amount(1_000)));
}

#[test]
fn whoever_is_banned_never_comes_back_and_its_node_key_neither() {
    let mut w = World::new();
    let first = w.header(&Trees::default(), &[]);
    let second = EpochHeader {
        records_root: Hash([7; 32]),
        ..first.clone()
    };
    let signed = |w: &World, of: &[u8]| -> Vec<_> {
        let (a, b) = (w.sign(&first, of), w.sign(&second, of));
        a.into_iter().zip(b).collect()
    };
    let pairs = signed(&w, &[3]);
    w.refuses(|l| l.prove_equivocation(&first, &first, &pairs, REPORTER));
    let later = EpochHeader {
        view: 1,
        ..second.clone()
    };
    w.refuses(|l| l.prove_equivocation(&first, &later, &pairs, REPORTER));
    w.refuses(|l| l.prove_equivocation(&second, &first, &pairs, REPORTER));
    let mixed = vec![(pairs[0].0, w.sign(&second, &[4])[0])];
    w.refuses(|l| l.prove_equivocation(&first, &second, &mixed, REPORTER));
    let forged = signed(&w, &[0x55]);
    w.refuses(|l| l.prove_equivocation(&first, &second, &forged, REPORTER));
    assert_eq!(
        w.ledger
            .prove_equivocation(&first, &second, &pairs, REPORTER),
        Ok(1)
    );
    let swapped: Vec<_> = pairs.iter().map(|p| (p.1, p.0)).collect();
    assert_eq!(
        w.ledger
            .prove_equivocation(&second, &first, &swapped, REPORTER),
        Ok(0)
    );
    w.pass(STALL_SECS);
    w.ledger.draw_committee(0).unwrap();
    w.pass(UNBOND);
    let left = w.ledger.withdraw(account(3), &[], &[]).unwrap();
    assert_eq!(left.paid, Amount(751));
    let why = w.register(3, role::CLIENT, Amount::ZERO).unwrap_err();
    assert_eq!(why, LedgerError::Registered, "the node key stays taken");
    let (who, other) = (account(3), NodeKey([0x33; 32]));
    let binding = Signature([0; 64]);
    let why = w.refuses(|l| l.register(who, other, Hash::ZERO, who, 1, Amount::ZERO, binding));
    assert!(matches!(why, LedgerError::Member(..)), "{why}");
    // A header that was signed before costs an account without a stake nothing more.
    let third = EpochHeader {
        epoch: 9,
        ..first.clone()
    };
    let fourth = EpochHeader { epoch: 9, ..second };
    let pair = vec![(w.sign(&third, &[3])[0], w.sign(&fourth, &[3])[0])];
    assert_eq!(
        w.ledger
            .prove_equivocation(&third, &fourth, &pair, REPORTER),
        Ok(1)
    );
    assert_eq!(w.ledger.balance(&REPORTER), Amount(125));
}

#[test]
fn a_tree_that_owes_more_than_its_lane_has_pays_until_that_is_spent() {
    let mut w = World::new();
    let greedy = Trees {
        owed: 1_000,
        ..Trees::right(&[(payee(1), 900), (payee(2), 150)])
    };
    w.post(&greedy, &settles()).unwrap();
    w.pass(DELAY);
    let both = [greedy.claim(1, 0), greedy.claim(1, 1)];
    let why = w.refuses(|l| l.claim_many(0, 1, &both));
    assert!(matches!(why, LedgerError::Balance { .. }), "{why}");
    assert_eq!(w.ledger.claim(&both[0]), Ok(Amount(900)));
    w.refuses(|l| l.claim(&both[1]));
    // Somebody fills it up.
    let (giver, distributor) = (account(9), w.ledger.profile.contracts.distributor(0));
    let supply = w.ledger.supply();
    w.ledger.transfer(giver, distributor, Amount(51)).unwrap();
    assert_eq!(w.ledger.holdings(&distributor), Amount(151));
    assert_eq!(w.ledger.claim_many(0, 1, &both), Ok(Amount(150)));
    assert_eq!(w.ledger.holdings(&distributor), Amount(1));
    assert_eq!(w.ledger.supply(), supply);
    assert_eq!(w.ledger.claim(&both[1]), Err(LedgerError::NothingDue));
}

#[test]
fn a_task_is_settled_once_and_in_its_own_lane() {
    let mut w = World::new();
    let other = TaskId([2; 32]);
    let client = account(9);
    w.ledger
        .fund(client, other, 1, Amount(1_000), Amount::ZERO)
        .unwrap();
    let [task] = settles();
    let twice = Trees::right(&[(payee(1), 2_000)]);
    let foreign = SettledTask {
        task: other,
        client,
    };
    for settled in [[task, task], [task, foreign]] {
        let why = w.post(&twice, &settled).unwrap_err();
        assert!(matches!(why, LedgerError::Escrow(..)), "{why}");
    }
    w.post(&Trees::right(&[(payee(1), 1_000)]), &[task])
        .unwrap();
}

#[test]
fn a_top_up_behind_the_headers_block_goes_back_to_the_client_once() {
    let mut w = World::new();
    let client = account(9);
    w.refuses(|l| l.return_late_top_up(TASK, client));
    w.ledger
        .top_up(account(8), TASK, client, Amount(40))
        .unwrap();
    let supply = w.ledger.supply();
    w.post(&Trees::right(&[(payee(1), 1_000)]), &settles())
        .unwrap();
    let escrow = w.ledger.profile.contracts.escrow;
    assert_eq!(w.ledger.holdings(&escrow), Amount(40));
    let before = w.ledger.balance(&client);
    assert_eq!(w.ledger.return_late_top_up(TASK, client), Ok(Amount(40)));
    assert_eq!(w.ledger.balance(&client).0 - before.0, 40);
    assert_eq!(w.ledger.supply(), supply);
    w.refuses(|l| l.return_late_top_up(TASK, client));
}

#[test]
fn only_what_the_contracts_take_is_registered_and_funded() {
    let mut w = World::new();
    let (who, key) = (account(6), NodeKey([6; 32]));
    let sign = Signature([0; 64]);
    let zero = (NodeKey([0; 32]), Account::default());
    for (key, payee, roles, stake) in [
        (zero.0, who, role::CLIENT, 0),
        (key, zero.1, role::CLIENT, 0),
        (key, who, 0, 0),
        (key, who, 8 | role::CLIENT, 0),
        (key, who, role::LABELER, 9),
        (key, who, role::LABELER | role::VALIDATOR, 1_000),
        (NodeKey([1; 32]), who, role::CLIENT, 0),
        (key, who, role::CLIENT, 2_000_000),
    ] {
        let stake = Amount(stake);
        w.refuses(|l| l.register(who, key, Hash::ZERO, payee, roles, stake, sign));
    }
    for (lane, deposit, bond) in [(0, 0, 1), (2, 1, 1), (0, 1 << 96, 0), (0, 1, 1 << 96)] {
        let task = TaskId([3; 32]);
        w.refuses(|l| l.fund(who, task, lane, Amount(deposit), Amount(bond)));
    }
    w.refuses(|l| l.top_up(who, TASK, account(9), Amount::ZERO));
    w.refuses(|l| l.top_up(who, TASK, account(9), Amount(1 << 96)));
    w.refuses(|l| l.transfer(who, Account::default(), Amount(1)));
}
