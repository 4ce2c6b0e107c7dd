use std::collections::BTreeMap;

use assay_protocol::{
    amount::Amount,
    consensus::{ClassInput, ClassScoring, PayTerms, Vote},
    crypto::hash,
    id::{Hash, Salt},
    lane::{PayoutFile, ScoreProof},
    merkle::{self, SCORE_LEAF, STATE_ROOT},
    task::{GoldState, LabelerOutcome, Money, Reason, TaskScore},
};

use super::*;
use crate::{
    cli::tests::profile as network,
    dataset::{SourceItem, TaskSpec, build},
};

/// A result as a node would export it: ten items of two labels, two of them gold, three labelers, one of them wrong now and then.
fn result_file() -> ResultFile {
    let profile = network();
    let mut spec = TaskSpec::new("t", vec!["a".into(), "b".into()], "0.05".into(), "CC0-1.0");
    spec.waves = Some(1);
    let item = |n: usize| SourceItem {
        name: format!("item {n}"),
        media: "text/plain".into(),
        bytes: vec![b'x'; n + 1],
        gold: (n < 2).then_some((n % 2) as u16),
    };
    let items = (0..10).map(item).collect();
    let built = build(
        &spec,
        items,
        &[1; 32],
        Account([3; 20]),
        &profile.id(),
        &profile.params,
    )
    .unwrap();
    let (manifest, index) = (built.manifest, built.index);
    let truth: Vec<u16> = (0..10).map(|n| n % 2).collect();
    let mut votes = Vec::new();
    for item in 0..10u32 {
        for labeler in 0..3u32 {
            let slip = u16::from(labeler == 2 && item % 4 == 3);
            votes.push((item, labeler, truth[item as usize] ^ slip));
        }
    }
    let gold: BTreeMap<u32, u16> = [(0, truth[0]), (5, truth[5])].into();
    let rows: Vec<Vote> = votes
        .iter()
        .map(|&(item, labeler, label)| Vote {
            item,
            labeler,
            label,
        })
        .collect();
    let scoring = ClassScoring::fit(&ClassInput {
        items: 10,
        labelers: 3,
        classes: 2,
        votes: &rows,
        gold: &gold,
        priors: &[],
    })
    .unwrap();
    let terms = PayTerms {
        price: manifest.price,
        full_skill_ppm: manifest.full_skill_ppm,
        loss_cap_ppm: manifest.loss_cap_ppm,
        least_skill_ppm: 150_000,
        withheld: 0,
        bond: Amount(1_000_000),
    };
    let labelers: Vec<LabelerOutcome> = (1u8..)
        .zip(scoring.labelers())
        .map(|(n, r)| {
            let pay = terms.reckon(r);
            LabelerOutcome {
                account: Account([n; 20]),
                votes: r.votes,
                gold_seen: r.gold_seen,
                gold_right: r.gold_right,
                skill_ppm: r.skill_ppm,
                cluster: r.cluster,
                earned: Amount(pay.earned),
                lost: Amount(pay.lost),
                reason: Reason::FullSkill,
            }
        })
        .collect();
    let paid: Amount = labelers.iter().map(|l| l.earned).sum();
    let (task, root) = (manifest.id(), scoring.score_root());
    // One task in the tree of scores: its leaf is the root.
    let scores_root = merkle::leaf(SCORE_LEAF, &[&task.0, &root.0]);
    let (rest, flat_root) = (Hash([0x11; 32]), Hash::ZERO);
    let state = hash("assay/2/lane-state", &[&rest.0, &scores_root.0]);
    let mark = |n| Hash([n; 32]);
    let header = EpochHeader {
        lane: 0,
        epoch: 7,
        view: 0,
        term: 1,
        parent: mark(1),
        chain_block: 90,
        chain_block_hash: mark(2),
        records_root: mark(3),
        state_root: merkle::leaf(STATE_ROOT, &[&state.0, &flat_root.0]),
        payout_root: mark(4),
        audit_root: mark(5),
        payout_count: 1,
        loss_root: mark(6),
        reputation_root: mark(7),
        payout_file: mark(8),
        total_owed: paid,
        settled_hash: mark(9),
    };
    let outcome = TaskOutcome {
        task,
        cancelled: None,
        bonus: None,
        items: (0..10u32)
            .zip(scoring.items())
            .map(|(item, r)| ItemOutcome {
                label: r.label,
                posterior_ppm: (u64::from(r.posterior) * 1_000_000 / 65_536) as u32,
                votes: r.votes,
                majority: r.label,
                gold: gold.contains_key(&item),
            })
            .collect(),
        labelers,
        votes,
        waves: vec![GoldState::Counted { voided: 0 }],
        money: Money {
            deposit: paid,
            gold_bond: Amount(5),
            paid,
            fees: Amount::ZERO,
            bond_shares: Amount::ZERO,
            refund: Amount(5),
        },
        score: Some(TaskScore {
            classes: 2,
            priors: Vec::new(),
            terms: vec![terms; 3],
            input: scoring.input_root(),
            root,
            proof: Some(Box::new(ScoreProof {
                header,
                rest,
                scores_root,
                flat_root,
                index: 0,
                proof: Vec::new(),
            })),
        }),
    };
    ResultFile::new(profile, manifest, index, outcome)
}

async fn report(file: &impl Serialize, rpc: Option<&str>) -> Report {
    let bytes = serde_json::to_vec(file).unwrap();
    verify(Path::new("file"), &bytes, rpc).await.unwrap()
}

fn wrong(report: &Report) -> Vec<&str> {
    let wrong = |c: &&Check| c.verdict == Verdict::Wrong;
    report
        .checks
        .iter()
        .filter(wrong)
        .map(|c| c.what.as_str())
        .collect()
}

#[tokio::test]
async fn an_honest_result_holds_and_says_what_is_left_to_ask() {
    let file = result_file();
    assert!(file.outcome.money.paid > Amount::ZERO, "somebody earned");
    let report = report(&file, None).await;
    assert_eq!(wrong(&report), Vec::<&str>::new());
    let said: Vec<&str> = report.checks.iter().map(|c| c.what.as_str()).collect();
    let header = file.outcome.score.unwrap().proof.unwrap().header.hash();
    assert!(
        said.iter()
            .any(|s| s.starts_with("the score root leads") && s.contains(&header.to_string())),
        "{said:?}"
    );
    let open: Vec<&str> = report
        .checks
        .iter()
        .filter(|c| c.verdict == Verdict::NotChecked)
        .map(|c| c.what.as_str())
        .collect();
    assert_eq!(open.len(), 5, "{open:?}");
    assert!(open[0].contains(&network().id().to_string()));
    assert!(open[4].contains("--rpc") && open[4].contains(&header.to_string()));
}

#[tokio::test]
async fn whatever_is_changed_in_a_result_is_named() {
    type Change = fn(&mut ResultFile);
    fn score(file: &mut ResultFile) -> &mut TaskScore {
        file.outcome.score.as_mut().unwrap()
    }
    let changes: [(&str, Change); 16] = [
        ("votes, gold and reputation", |f| f.outcome.votes[0].2 ^= 1),
        ("votes, gold and reputation", |f| {
            f.outcome.items[3].gold = true
        }),
        ("label and certainty", |f| {
            f.outcome.items[3].label = Some(0)
        }),
        ("label and certainty", |f| {
            f.outcome.items[3].posterior_ppm -= 1
        }),
        ("skill and group", |f| f.outcome.labelers[1].skill_ppm += 1),
        ("pay and losses", |f| f.outcome.labelers[1].earned.0 += 1),
        ("pay and losses", |f| score(f).terms[0].price.0 += 1),
        ("what the labelers earned", |f| {
            f.outcome.money.paid.0 -= 1;
            f.outcome.money.refund.0 += 1;
        }),
        ("to the unit", |f| f.outcome.money.refund.0 += 1),
        ("input root", |f| score(f).input = Hash([7; 32])),
        ("votes, gold and reputation", |f| {
            score(f).root = Hash([7; 32])
        }),
        ("leads to the state root", |f| {
            score(f).proof.as_mut().unwrap().rest = Hash([7; 32])
        }),
        ("leads to the state root", |f| {
            score(f).proof.as_mut().unwrap().header.state_root = Hash([7; 32]);
        }),
        ("belong to task", |f| f.manifest.nonce = Salt([9; 32])),
        ("belong to task", |f| f.index[0].name = "another".into()),
        ("manifest is one of network", |f| f.profile.chain_id += 1),
    ];
    for (part, change) in changes {
        let mut file = result_file();
        change(&mut file);
        let report = report(&file, None).await;
        assert!(
            wrong(&report).iter().any(|w| w.contains(part)),
            "{part}: {:?}",
            wrong(&report)
        );
    }
}

#[tokio::test]
async fn a_claim_with_another_sum_or_lane_is_wrong() {
    let payouts = PayoutFile {
        lane: 0,
        epoch: 4,
        leaves: (1..=5)
            .map(|n| (Account([n; 20]), Amount(u128::from(n))))
            .collect(),
    };
    let claim = payouts.proofs().claim(&Account([3; 20])).unwrap();
    let file = |claim: &assay_protocol::lane::Claim| serde_json::json!({ "format": claim::FORMAT, "profile": network(), "claims": [claim] });
    let honest = report(&file(&claim), None).await;
    assert_eq!(wrong(&honest), Vec::<&str>::new());
    assert!(
        honest
            .checks
            .iter()
            .any(|c| c.verdict == Verdict::NotChecked)
    );
    let mut more = claim.clone();
    more.total = Amount(4);
    assert!(wrong(&report(&file(&more), None).await)[0].contains("leads to payout root"));
    let mut other = claim;
    other.lane = 1;
    assert!(wrong(&report(&file(&other), None).await)[0].contains("lane 1"));
}

#[tokio::test]
async fn a_profile_that_contradicts_itself_is_wrong() {
    type Change = fn(&mut NetworkProfile);
    let changes: [(&str, Change); 9] = [
        ("zero address: beacon", |p| {
            p.contracts.beacon = Account::default()
        }),
        ("of its own: anchor and distributor of lane 0", |p| {
            p.contracts.distributors[0] = p.contracts.anchor;
        }),
        ("is pinned: anchor", |p| p.code.anchor = Hash::ZERO),
        ("is pinned: disputes", |p| p.code.disputes = Hash::ZERO),
        ("RPC address", |p| p.rpc = vec!["ftp://host".into()]),
        ("RPC address", |p| p.rpc.clear()),
        ("first-contact", |p| {
            p.bootstrap = vec!["/ip4/1.2.3.4/tcp/1".into()]
        }),
        ("chain id", |p| p.chain_id = 0),
        ("in its range", |p| p.params.lanes = 2),
    ];
    let check = async |profile: &NetworkProfile| {
        let text = toml::to_string(profile).unwrap();
        verify(Path::new("p"), text.as_bytes(), None).await.unwrap()
    };
    assert_eq!(wrong(&check(&network()).await), Vec::<&str>::new());
    for (part, change) in changes {
        let mut profile = network();
        change(&mut profile);
        let report = check(&profile).await;
        assert!(
            wrong(&report).iter().any(|w| w.contains(part)),
            "{part}: {:?}",
            wrong(&report)
        );
    }
}

#[tokio::test]
async fn files_of_no_known_kind_are_refused_with_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    for (bytes, why) in [
        (&b"{\"format\":\"assay-result/9\"}"[..], "unknown"),
        (b"{\"format\":\"assay-result/1\"}", "missing field"),
        (b"{\"format\":\"assay-claim/1\"}", "missing field"),
        (b"{}", "no explanation"),
        (b"[", "no explanation"),
        (b"name = 1", "no network profile"),
        (b"\xff\xfe", "not text"),
        (b"", "missing field"),
    ] {
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let refused = verify(&path, bytes, None).await.expect_err(why);
        assert_eq!(refused.exit, Exit::Data);
        assert!(refused.text.contains(why), "{refused:?}");
    }
}

#[cfg(feature = "devchain")]
#[tokio::test(flavor = "multi_thread")]
async fn with_an_endpoint_a_profile_is_compared_with_the_chain() {
    use crate::devnet::{Devnet, DevnetConfig};
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(DevnetConfig {
        dir: dir.path().to_owned(),
        chain_port: 0,
        bootstrap_port: 0,
        block_interval: Duration::from_millis(50),
        validators_min: 1,
        seed: [7; 32],
    })
    .await
    .unwrap();
    let mut given = devnet.profile().clone();
    let rpc = given.rpc[0].clone();
    let right = profile(given.clone(), Some(&rpc)).await.unwrap();
    assert_eq!(wrong(&right), Vec::<&str>::new());
    assert!(
        right
            .checks
            .last()
            .unwrap()
            .what
            .starts_with("the chain has id")
    );
    // A result of another network's header: the chain does not hold it.
    let mut file = result_file();
    file.profile = given.clone();
    let foreign = report(&file, Some(&rpc)).await;
    assert!(
        wrong(&foreign)
            .iter()
            .any(|w| w.contains("the chain holds header")),
        "{foreign:?}"
    );
    let pinned = given.code.disputes;
    given.code.disputes = Hash([9; 32]);
    let other = profile(given.clone(), Some(&rpc)).await.unwrap();
    let said = wrong(&other)[0];
    assert!(
        said.contains("disputes contract") && said.contains(&pinned.to_string()),
        "{other:?}"
    );
    given.code.disputes = pinned;
    given.contracts.escrow = Account([9; 20]);
    let other = profile(given.clone(), Some(&rpc)).await.unwrap();
    assert!(
        wrong(&other)[0].contains("no contract at the escrow's address"),
        "{other:?}"
    );
    given.chain_id += 1;
    let other = profile(given, Some(&rpc)).await.unwrap();
    assert!(wrong(&other)[0].contains("serves chain"), "{other:?}");
    devnet.shutdown().await;
}
