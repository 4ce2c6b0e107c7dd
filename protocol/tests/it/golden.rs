//! Golden vectors: the bytes of every format, for this code and for anybody else's. `vectors/golden.json` changes only on purpose:
//! `ASSAY_BLESS=1 cargo test -p assay-protocol golden` writes it anew.

use std::collections::BTreeMap;

use assay_protocol::{
    amount::Amount,
    codec,
    core::epoch_key,
    crypto::{BINDING_DOMAIN, EvmKey, NodeKeypair, binding_message},
    id::{Account, EvmSignature, Hash, Salt, TaskId},
    lane::{Bonus, Evidence, FlatFile, FlatPay, FlatPayouts, LaneState, PayoutFile, state_root},
    merkle::{self, ShareTree},
    message::{
        Announce, Answer, BlockRef, Commit, Custody, Enrol, Envelope, EpochBody, EpochHeader,
        GoldOpen, Kind, Receipt, Request, Response, Reveal, SettledTask, commit_digest, gold_root,
    },
};

use crate::score_roots;
use crate::village::{Village, profile};

/// A header with a different value in each field.
pub fn header() -> EpochHeader {
    EpochHeader {
        lane: 1,
        epoch: 2,
        view: 3,
        term: 4,
        parent: Hash([5; 32]),
        chain_block: 6,
        chain_block_hash: Hash([7; 32]),
        records_root: Hash([8; 32]),
        state_root: Hash([9; 32]),
        payout_root: Hash([10; 32]),
        audit_root: Hash([16; 32]),
        payout_count: 17,
        loss_root: Hash([11; 32]),
        reputation_root: Hash([12; 32]),
        payout_file: Hash([13; 32]),
        total_owed: Amount(14),
        settled_hash: EpochHeader::hash_settled(&[SettledTask {
            task: TaskId([3; 32]),
            client: Account([15; 20]),
        }]),
    }
}

fn vectors() -> BTreeMap<String, String> {
    let profile = profile();
    let network = profile.id();
    let node = NodeKeypair::from_seed(&[1; 32]);
    let evm = EvmKey::from_secret(&[2; 32]).unwrap();
    let task = TaskId([3; 32]);
    let manifest = Village::new(1, 0, 0).manifest(8, |_| {}).0;
    let header = header();
    let env = |kind, body: Vec<u8>| {
        // The body is canonical already; it is signed as it is.
        let mut e = Envelope::sign(&node, network, kind, task, 0, 0, &());
        e.body = assay_protocol::id::Blob(body);
        e.sig = node.sign(kind.domain(), &e.signed_bytes());
        e
    };
    let reveal = Reveal {
        answers: vec![Answer(1, 2), Answer(5, 0)],
        salt: Salt([4; 32]),
    };
    let gold = GoldOpen {
        entries: vec![(1, 2)],
        salt: Salt([4; 32]),
    };
    let body = EpochBody {
        lane: 0,
        epoch: 1,
        view: 0,
        block: BlockRef {
            number: 9,
            hash: Hash([1; 32]),
            time: 100,
        },
        records: vec![env(Kind::Enrol, codec::encode(&Enrol { capacity: 5 })).id()],
    };
    let file = PayoutFile {
        lane: 0,
        epoch: 1,
        leaves: (1..=5u8)
            .map(|i| (Account([i; 20]), Amount(u128::from(i) * 100)))
            .collect(),
    };
    let proofs = file.clone().proofs();
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        ("network-id".into(), network.0.to_vec()),
        ("manifest".into(), codec::encode(&manifest)),
        ("manifest/id".into(), manifest.id().0.to_vec()),
        (
            "gold-root".into(),
            gold_root(&gold.salt, &gold.entries).0.to_vec(),
        ),
        (
            "commit-digest".into(),
            commit_digest(
                &network,
                &task,
                0,
                &evm.account(),
                &reveal.answers,
                &reveal.salt,
            )
            .0
            .to_vec(),
        ),
        (
            "binding-signature".into(),
            node.sign(
                BINDING_DOMAIN,
                &binding_message(1, Account([1; 20]), evm.account(), 0, node.public()),
            )
            .0
            .to_vec(),
        ),
        (
            "receipt".into(),
            codec::encode(&Receipt::sign(&node, &network, body.records[0], 77)),
        ),
        ("epoch-body".into(), codec::encode(&body)),
        ("epoch-key".into(), epoch_key(1, 2)),
        ("header".into(), codec::encode(&header)),
        ("header/hash".into(), header.hash().0.to_vec()),
        (
            "header/digest".into(),
            header.signing_digest(&profile).0.to_vec(),
        ),
        (
            "header/signature".into(),
            evm.sign(&header.signing_digest(&profile)).0.to_vec(),
        ),
        (
            "lane-state/genesis-root".into(),
            LaneState::genesis(0).root().0.to_vec(),
        ),
        ("payout/root".into(), file.root().0.to_vec()),
        ("payout/file-hash".into(), file.hash().0.to_vec()),
        ("payout/audit-root".into(), file.audit_root().0.to_vec()),
        (
            "payout/claim".into(),
            codec::encode(&proofs.claim(&Account([3; 20])).unwrap()),
        ),
        (
            "payout/subtree".into(),
            codec::encode(&proofs.subtree(0, 1).unwrap()),
        ),
        ("merkle/empty".into(), merkle::root(vec![]).0.to_vec()),
        (
            "request/propose".into(),
            codec::encode(&Request::Propose {
                body: body.clone(),
                header,
                signature: EvmSignature([7; 64]),
            }),
        ),
        (
            "request/get-epoch".into(),
            codec::encode(&Request::GetEpoch { lane: 0, epoch: 3 }),
        ),
        (
            "response/refused".into(),
            codec::encode(&Response::refused(true, "later")),
        ),
    ]);
    for (kind, bytes) in [
        (Kind::Announce, codec::encode(&Announce { manifest })),
        (Kind::Custody, codec::encode(&Custody { bytes: 10 })),
        (Kind::Enrol, codec::encode(&Enrol { capacity: 5 })),
        (
            Kind::Commit,
            codec::encode(&Commit {
                digest: Hash([6; 32]),
            }),
        ),
        (Kind::Reveal, codec::encode(&reveal)),
        (Kind::GoldOpen, codec::encode(&gold)),
    ] {
        all.insert(
            format!("record/{}", format!("{kind:?}").to_lowercase()),
            codec::encode(&env(kind, bytes)),
        );
    }
    all.extend(asset_vectors());
    all.extend(score_roots::vectors());
    all.into_iter().map(|(k, v)| (k, hex::encode(v))).collect()
}

/// Shares, bonuses and reputations; `contracts/test/Vectors.t.sol` reads the roots and leaves of this list from the file.
fn asset_vectors() -> Vec<(String, Vec<u8>)> {
    let account = |i| Account([i; 20]);
    let weights = vec![
        (account(0x11), Amount(1)),
        (account(0x22), Amount(1_000_000)),
        (account(0x33), Amount(7)),
    ];
    let tree = ShareTree::new(weights.clone()).unwrap();
    let (task, other, client) = (TaskId([0xaa; 32]), TaskId([0xbb; 32]), account(0xcc));
    let bonus = |task, scored| Bonus {
        task,
        client,
        scored,
        weights: weights.clone(),
    };
    let flat = FlatPayouts {
        state: Hash([0xdd; 32]),
        pays: vec![FlatPay {
            task: other,
            client,
            payee: account(0x22),
            amount: Amount(1_000_000),
        }],
        bonuses: vec![bonus(task, true), bonus(other, false)],
    };
    let file = FlatFile {
        header: header(),
        payouts: flat.clone(),
    };
    let mut state = LaneState::genesis(0);
    let domain = Hash([0x55; 32]);
    for (i, alpha_milli, beta_milli) in [(0x11, 1000, 0), (0x22, 95_000, 4321), (0x33, u32::MAX, 1)]
    {
        let evidence = Evidence {
            alpha_milli,
            beta_milli,
        };
        state.evidence.insert((account(i), domain), evidence);
    }
    let reputation = state.reputation_proof(&account(0x22), &domain).unwrap();
    let all = [
        ("share/root", tree.shares().root.0.to_vec()),
        ("share/claim", codec::encode(&tree.claim(1).unwrap())),
        ("bonus/leaf", flat.bonuses[0].leaf().unwrap().0.to_vec()),
        ("bonus/flat-root", flat.flat_root().0.to_vec()),
        (
            "bonus/state-root",
            state_root(&flat.state, &flat.flat_root()).0.to_vec(),
        ),
        ("bonus/flat-payouts", codec::encode(&flat)),
        (
            "bonus/proof",
            codec::encode(&file.fallback(&task, &client).bonus.unwrap()),
        ),
        ("reputation/root", state.reputation_root().0.to_vec()),
        ("reputation/proof", codec::encode(&reputation)),
    ];
    all.map(|(name, bytes)| (name.into(), bytes)).into()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "blessing writes the committed file"
)]
fn every_format_has_the_bytes_of_its_golden_vector() {
    let now = vectors();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/golden.json");
    if std::env::var_os("ASSAY_BLESS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors")).unwrap();
        std::fs::write(path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let golden: BTreeMap<String, String> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(
        golden.keys().collect::<Vec<_>>(),
        now.keys().collect::<Vec<_>>(),
        "every vector is read"
    );
    for (name, bytes) in &golden {
        assert_eq!(
            bytes, &now[name],
            "{name} changed: other nodes could not read it"
        );
    }
}

#[test]
fn golden_records_authenticate_and_round_trip() {
    let network = profile().id();
    let mut records = 0;
    for (name, text) in vectors() {
        let bytes = hex::decode(text).unwrap();
        if name.starts_with("record/") && name != "record/announce" {
            let decoded = assay_protocol::verify::Decoded::parse(&bytes).unwrap();
            let record = decoded.authenticate(&network).unwrap();
            assert_eq!(record.envelope().to_bytes(), bytes);
            records += 1;
        }
    }
    assert_eq!(records, 5);
}
