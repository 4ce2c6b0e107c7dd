//! Trees that a quorum signed wrongly, shown to the real contracts: each fault, found among the leaves, and the books after it.

use assay_protocol::{
    lane::PayoutFile,
    merkle,
    message::{EpochHeader, SettledTask},
    settlement::fault::{self, Audit, Payout, Place, TreeFault, audit_of, places_of},
};

use super::{
    money::{Committee, committee, file},
    *,
};
use crate::{
    api::{ApiConfig, ApiServer, model::ProofDone},
    runtime::{Node, NodeConfig},
};

const DELAY: u32 = 3_600;
const ANN: Account = Account([0xa1; 20]);
const BOB: Account = Account([0xb2; 20]);
const CYD: Account = Account([0xc3; 20]);
/// Deposit and gold bond of a task.
const MONEY: (u128, u128) = (1_000, 50);

/// The trees of the second epoch as a quorum lays them out.
struct Laid {
    payouts: Vec<Place<Payout>>,
    audits: Vec<Place<Audit>>,
    count: u32,
    no_audit: bool,
}

impl Laid {
    fn leaves(&mut self, leaves: &[(Account, u128)]) {
        let leaf = |(payee, total): &(Account, u128)| {
            Place::Leaf(Payout {
                payee: *payee,
                total: Amount(*total),
            })
        };
        self.payouts = leaves.iter().map(leaf).collect();
        self.audits = audit_of(&self.payouts);
        self.count = leaves.len() as u32;
    }

    fn audit(&mut self, place: usize) -> &mut Audit {
        match &mut self.audits[place] {
            Place::Leaf(leaf) => leaf,
            other => panic!("{other:?}"),
        }
    }

    fn sign(&self, right: EpochHeader) -> EpochHeader {
        let payouts = self.payouts.iter().map(|place| match place {
            Place::Leaf(leaf) => PayoutFile::leaf(&leaf.payee, leaf.total),
            Place::Empty => Hash::ZERO,
            Place::Other(node) => *node,
        });
        let audits = self.audits.iter().map(|place| match place {
            Place::Leaf(Audit { payout, before }) => {
                PayoutFile::audit_leaf(&payout.payee, payout.total, *before)
            }
            Place::Empty => Hash::ZERO,
            Place::Other(node) => *node,
        });
        let audit_root = merkle::root(audits.collect());
        EpochHeader {
            payout_root: merkle::root(payouts.collect()),
            audit_root: if self.no_audit {
                Hash::ZERO
            } else {
                audit_root
            },
            payout_count: self.count,
            ..right
        }
    }
}

/// Posts an epoch that two of three members sign.
async fn post(c: &mut Committee, header: EpochHeader, settled: Vec<SettledTask>) {
    let call = ChainCall::PostEpoch {
        signatures: c.sign(&header, 2),
        header,
        settled,
    };
    c.poster.chain.submit(call);
    let done = c.poster.done().await;
    let posted = matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO);
    assert!(posted, "{done:?}");
}

/// A committee of three, and the money of two tasks.
async fn rich(delay: u32) -> (Committee, impl Fn(u8) -> Vec<SettledTask>) {
    let params = DeployParams {
        activation_delay: delay,
        unbond_seconds: 3 * u64::from(DELAY),
        ..dev_params()
    };
    let c = committee(3, params).await;
    let payer = c.world.rich(&key(0x31), 10_000).await;
    let mut client = start(&c.world.profile, Some(key(0x31)), &MemoryStore::default());
    for task in [1, 2] {
        client.chain.submit(fund(task, MONEY.0, MONEY.1));
        client.done().await;
    }
    let settled = move |task: u8| {
        vec![SettledTask {
            task: TaskId([task; 32]),
            client: payer,
        }]
    };
    (c, settled)
}

/// The header of right trees over these leaves, with trees that `change` made wrong, posted.
async fn post_wrong(
    c: &mut Committee,
    owed: &[(Account, u128)],
    settled: Vec<SettledTask>,
    change: impl FnOnce(&mut Laid),
) -> (EpochHeader, Laid) {
    let leaves = owed.iter().map(|(payee, total)| (*payee, Amount(*total)));
    let right = c.header(&file(0, leaves.collect()), &settled).await;
    let mut laid = Laid {
        payouts: Vec::new(),
        audits: Vec::new(),
        count: 0,
        no_audit: false,
    };
    laid.leaves(owed);
    change(&mut laid);
    let header = laid.sign(right);
    post(c, header.clone(), settled).await;
    (header, laid)
}

/// Two epochs that the committee has posted, the second with trees that `change` made wrong, and the fault that their leaves show.
async fn robbed(
    delay: u32,
    change: impl FnOnce(&mut Laid),
) -> (Committee, [EpochHeader; 2], TreeFault) {
    let (mut c, settled) = rich(delay).await;
    let first = file(1, vec![(ANN, Amount(700)), (BOB, Amount(350))]);
    let parent = c.header(&first, &settled(1)).await;
    post(&mut c, parent.clone(), settled(1)).await;

    let owed = [(ANN, 1_000), (BOB, 600), (CYD, 500)];
    let (header, laid) = post_wrong(&mut c, &owed, settled(2), change).await;
    let earlier = places_of(&first);
    let parents = Some((&parent, earlier.as_slice()));
    let found = fault::find(&header, &laid.payouts, Some(&laid.audits), parents);
    let fault = found.expect("the header's leaves").expect("a fault");
    (c, [parent, header], fault)
}

/// What both signers lose, half of which goes to the reporter.
fn lost() -> u128 {
    100_000_000 * u128::from(dev_params().slash_bps) / 10_000
}

fn banned(c: &Committee) -> Vec<bool> {
    let registry = c.world.profile.contracts.registry;
    let banned = |account: &Account| {
        let account = (*account).into();
        c.world.view(registry, Registry::bannedCall { account })
    };
    c.members.iter().map(banned).collect()
}

/// The contracts take the proof: the lane goes back, both signers pay, and the books agree.
async fn convicted(change: impl FnOnce(&mut Laid), expected: fn(&TreeFault) -> bool) {
    let (mut c, [parent, header], fault) = robbed(DELAY, change).await;
    assert!(expected(&fault), "{fault:?}");
    let reporter = c.world.rich(&key(14), 1).await;
    let mut witness = start(&c.world.profile, Some(key(14)), &MemoryStore::default());
    let accused = witness.chain.accused(0, 2).await.expect("answers");
    let accused = accused.expect("it stands");
    assert_eq!(accused.header, header);
    assert_eq!(accused.parent.as_ref(), Some(&parent));
    let mut signers = c.members[..2].to_vec();
    signers.sort();
    let mut liable = accused.signers.clone();
    liable.sort();
    let both: Vec<_> = signers.into_iter().map(|a| (a, Amount(lost()))).collect();
    assert_eq!(liable, both);
    assert!(!accused.proven);

    let call = ChainCall::ProveFault {
        header: header.clone(),
        fault: Box::new(fault.clone()),
    };
    witness.chain.submit(call.clone());
    let done = witness.done().await;
    let sent = matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO);
    assert!(sent, "{done:?}");
    let revoked = |f: &ChainFact| matches!(f, ChainFact::EpochsRevoked { .. });
    let fact = c.watcher.fact("EpochsRevoked", revoked).await;
    assert_eq!(fact, ChainFact::EpochsRevoked { lane: 0, from: 2 });
    let head = witness.chain.head(0).await.expect("answers");
    assert_eq!((head.epoch, head.header), (1, parent.hash()));
    // The third member had not signed.
    assert_eq!(banned(&c), [true, true, false]);
    let held = witness.chain.balances(reporter).await.expect("answers");
    assert_eq!(held.token.0, 1 + 2 * (lost() / 2));

    // Somebody else who saw the same has nothing left to do.
    let mut late = start(&c.world.profile, Some(key(3)), &MemoryStore::default());
    late.chain.submit(call);
    let done = late.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx: Hash::ZERO, .. }),
        "{done:?}"
    );
    let books = audit(&c.world.profile).await.expect("the books agree");
    assert!(books.accepted > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payees_out_of_order_convict_the_signers() {
    let change = |laid: &mut Laid| laid.leaves(&[(BOB, 600), (ANN, 1_000), (CYD, 500)]);
    convicted(change, |f| matches!(f, TreeFault::Disorder { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_place_below_the_count_convicts_the_signers() {
    let fits = |f: &TreeFault| {
        matches!(
            f,
            TreeFault::Place {
                audit: false,
                index: 3,
                ..
            }
        )
    };
    convicted(|laid| laid.count = 4, fits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_beyond_the_count_of_the_audit_tree_convicts_the_signers() {
    let change = |laid: &mut Laid| laid.audits.push(laid.audits[2]);
    let fits = |f: &TreeFault| {
        matches!(
            f,
            TreeFault::Place {
                audit: true,
                index: 3,
                ..
            }
        )
    };
    convicted(change, fits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_without_an_audit_tree_convicts_the_signers() {
    let fits = |f: &TreeFault| matches!(f, TreeFault::NoAudit);
    convicted(|laid| laid.no_audit = true, fits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_leaf_that_repeats_another_total_convicts_the_signers() {
    let change = |laid: &mut Laid| laid.audit(1).payout.total.0 += 1;
    convicted(change, |f| matches!(f, TreeFault::Mismatch { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_that_do_not_start_at_zero_convict_the_signers() {
    let change = |laid: &mut Laid| laid.audit(0).before.0 = 1;
    convicted(change, |f| matches!(f, TreeFault::Edge(_))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_that_do_not_continue_convict_the_signers() {
    let change = |laid: &mut Laid| laid.audit(1).before.0 -= 1;
    convicted(change, |f| matches!(f, TreeFault::Sum { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_who_is_owed_less_than_before_convicts_the_signers() {
    let change = |laid: &mut Laid| laid.leaves(&[(ANN, 600), (BOB, 1_000), (CYD, 500)]);
    convicted(change, |f| matches!(f, TreeFault::Shrunk { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_who_is_forgotten_convicts_the_signers() {
    let change = |laid: &mut Laid| laid.leaves(&[(BOB, 1_600), (CYD, 500)]);
    convicted(change, |f| matches!(f, TreeFault::Omitted { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_under_an_active_root_costs_the_signers_and_keeps_the_epoch() {
    let change = |laid: &mut Laid| laid.audit(1).before.0 += 1;
    let (c, [parent, header], fault) = robbed(0, change).await;
    let reporter = c.world.rich(&key(14), 0).await;
    let mut witness = start(&c.world.profile, Some(key(14)), &MemoryStore::default());

    // A proof of another header is refused before it costs anything.
    let wrong = witness.chain.prove_fault(&parent, &fault).await;
    let why = wrong.expect_err("refused").to_string();
    assert!(why.contains("show no fault"), "{why}");
    assert_eq!(c.world.nonce(reporter), 0);

    let sent = witness.chain.prove_fault(&header, &fault).await;
    let sent = sent.expect("taken").expect("nobody was faster");
    assert_eq!(sent.amount.0, 2 * (lost() / 2));
    let head = witness.chain.head(0).await.expect("answers");
    assert_eq!((head.epoch, head.header), (2, header.hash()));
    assert_eq!(banned(&c), [true, true, false]);
    witness.done().await;
    // A second proof for the same header changes nothing.
    let again = witness.chain.prove_fault(&header, &fault).await;
    assert_eq!(again.expect("answers"), None);
    let accused = witness.chain.accused(0, 2).await.expect("answers");
    assert!(accused.expect("it stands").proven);
    audit(&c.world.profile).await.expect("the books agree");
}

/// A running node with the keys of this number.
async fn run(c: &Committee, n: u8, dir: &std::path::Path) -> Node {
    let config = NodeConfig {
        data_dir: dir.to_owned(),
        profile: c.world.profile.clone(),
        node: node(n),
        evm: EvmKey::from_secret(&key(n)),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        poll: Duration::from_millis(10),
    };
    Node::start(config).await.expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_proves_a_header_without_an_audit_tree_by_itself() {
    let (mut c, settled) = rich(DELAY).await;
    let account = c.world.rich(&key(14), 500_000_000).await;
    let client = start(&c.world.profile, Some(key(14)), &MemoryStore::default());
    let stake = Amount(100_000_000);
    client
        .chain
        .register(4, stake, &node(14), Hash([14; 32]), account)
        .await
        .expect("registers");
    client.chain.shutdown().await;
    let dir = tempfile::tempdir().expect("a folder");
    let honest = run(&c, 14, dir.path()).await;

    let owed = [(ANN, 700), (BOB, 350)];
    post_wrong(&mut c, &owed, settled(1), |laid| laid.no_audit = true).await;
    let revoked = |f: &ChainFact| matches!(f, ChainFact::EpochsRevoked { .. });
    let fact = c.watcher.fact("EpochsRevoked", revoked).await;
    assert_eq!(fact, ChainFact::EpochsRevoked { lane: 0, from: 1 });
    assert_eq!(banned(&c), [true, true, false]);
    let held = c.poster.chain.balances(account).await.expect("answers");
    assert_eq!(held.token.0, 400_000_000 + 2 * (lost() / 2));
    honest.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_handed_in_over_the_api_convict_the_signers_or_are_refused_with_the_reason() {
    let (mut c, settled) = rich(DELAY).await;
    let first = [(ANN, 700), (BOB, 350)];
    post_wrong(&mut c, &first, settled(1), |_| {}).await;
    let twice = [(ANN, 1_000), (BOB, 600), (BOB, 500)];
    let (header, _) = post_wrong(&mut c, &twice, settled(2), |_| {}).await;
    c.world.rich(&key(14), 0).await;
    let dir = tempfile::tempdir().expect("a folder");
    let witness = run(&c, 14, dir.path()).await;
    let (_unused, registration) = tokio::sync::watch::channel(String::new());
    let config = ApiConfig {
        port: 0,
        registration,
    };
    let api = ApiServer::start(witness.clone(), config).await;
    let api = api.expect("listens");
    let http = reqwest::Client::new();
    let order = async |epoch: u64, leaves: Option<&[(Account, u128)]>| {
        let rows: Option<Vec<Value>> = leaves.map(|leaves| {
            let row = |(payee, total): &(Account, u128)| json!({"payee": payee, "total": total.to_string()});
            leaves.iter().map(row).collect()
        });
        let url = format!("{}/v1/disputes/proofs", api.access().url);
        let answer = http
            .post(url)
            .bearer_auth(&api.access().token)
            .json(&json!({"lane": 0, "epoch": epoch, "payouts": rows}))
            .send()
            .await
            .expect("answers");
        let status = answer.status();
        (status, answer.json::<Value>().await.expect("JSON"))
    };
    for (epoch, leaves, status, part) in [
        (1, Some(&first[..]), StatusCode::CONFLICT, "show no fault"),
        (1, None, StatusCode::CONFLICT, "no fault by itself"),
        (2, Some(&first[..]), StatusCode::BAD_REQUEST, "another root"),
        (3, Some(&twice[..]), StatusCode::NOT_FOUND, "not anchored"),
    ] {
        let (got, body) = order(epoch, leaves).await;
        let text = body["error"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{body}");
        assert!(text.contains(part), "{body}");
    }

    let (status, body) = order(2, Some(&twice)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let done: ProofDone = serde_json::from_value(body).expect("a proof");
    assert!(done.fault.contains("stands twice"), "{}", done.fault);
    assert_eq!(done.header, header.hash());
    assert_eq!(done.signers.len(), 2);
    assert_eq!(done.reward.0, 2 * (lost() / 2));
    assert!(
        done.taken_back && done.tx.is_some() && done.gas_used > 0,
        "{done:?}"
    );
    assert_eq!(banned(&c), [true, true, false]);
    let (status, body) = order(2, Some(&twice)).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    api.shutdown().await;
    witness.shutdown().await;
}
