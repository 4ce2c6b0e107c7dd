//! Hostile and clumsy messages get a clear answer and lose nothing.

use assay_protocol::{
    amount::Amount,
    codec,
    core::{Command, Input},
    crypto::NodeKeypair,
    id::{Hash, NetworkId, NodeKey, Salt, Signature, TaskId},
    message::{
        Announce, Answer, Commit, Enrol, Envelope, GoldOpen, Kind, Request, Response, Reveal,
        commit_digest,
    },
    verify::{Decoded, Penalty, Verdict},
};
use proptest::prelude::*;

use crate::village::{Village, keys};

fn sign<B: serde::Serialize>(
    v: &Village,
    i: usize,
    kind: Kind,
    task: TaskId,
    wave: u8,
    seq: u64,
    body: &B,
) -> Envelope {
    Envelope::sign(
        &v.people[i].node,
        v.profile.id(),
        kind,
        task,
        wave,
        seq,
        body,
    )
}

fn submit(v: &mut Village, from: NodeKey, to: usize, envelope: Envelope) -> Response {
    v.ask(from, to, &Request::Submit { envelope }).unwrap()
}

fn refusal(response: Response) -> String {
    match response {
        Response::Refused { why, .. } => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn in_phase(name: &str) -> (Village, TaskId) {
    let mut v = Village::new(3, 4, 0);
    v.run(3, |_| false);
    let task = v.publish(12, |_| {});
    assert!(
        v.run(60, |v| phase(v, task) == Some(name.to_owned())),
        "never {name}"
    );
    (v, task)
}

fn phase(v: &Village, task: TaskId) -> Option<String> {
    v.people[0]
        .core
        .as_ref()?
        .live(0)?
        .tasks
        .get(&task)
        .map(|t| t.phase.name().to_owned())
}

#[test]
fn a_forged_signature_is_rejected_and_penalised() {
    let (mut v, task) = in_phase("enrolling");
    let mut envelope = sign(&v, 5, Kind::Enrol, task, 0, 0, &Enrol { capacity: 5 });
    envelope.sig = Signature([1; 64]);
    let from = v.people[5].node.public();
    assert!(refusal(submit(&mut v, from, 0, envelope)).contains("signature"));
    assert_eq!(v.people[0].penalties, 1);
}

#[test]
fn a_weak_key_can_neither_sign_nor_register() {
    let (mut v, task) = in_phase("enrolling");
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut envelope = sign(&v, 5, Kind::Enrol, task, 0, 0, &Enrol { capacity: 5 });
    envelope.sender = NodeKey(identity);
    let mut sig = [0; 64];
    sig[0] = 1;
    envelope.sig = Signature(sig);
    let from = v.people[5].node.public();
    assert!(refusal(submit(&mut v, from, 0, envelope)).contains("weak"));
    // On chain anyone can claim a weak key; nodes do not count such an account.
    let (_, evm) = keys(99, 0);
    v.ledger.mint(evm.account(), Amount(10));
    let account = evm.account();
    v.ledger
        .register(
            account,
            NodeKey(identity),
            Hash([0; 32]),
            account,
            2,
            Amount(10),
            Signature(sig),
        )
        .unwrap();
    v.mine(1);
    assert!(
        !v.people[0]
            .core
            .as_ref()
            .unwrap()
            .live(0)
            .unwrap()
            .accounts
            .contains_key(&account)
    );
}

#[test]
fn a_record_of_another_network_or_task_is_refused() {
    let (mut v, task) = in_phase("enrolling");
    let from = v.people[5].node.public();
    let foreign = Envelope::sign(
        &v.people[5].node,
        NetworkId([3; 32]),
        Kind::Enrol,
        task,
        0,
        0,
        &Enrol { capacity: 5 },
    );
    assert!(refusal(submit(&mut v, from, 0, foreign)).contains("another network"));
    let unknown = sign(
        &v,
        5,
        Kind::Enrol,
        TaskId([8; 32]),
        0,
        0,
        &Enrol { capacity: 5 },
    );
    assert!(refusal(submit(&mut v, from, 0, unknown)).contains("not known"));
    // Moving a signed body to another task breaks the signature.
    let mut moved = sign(
        &v,
        5,
        Kind::Enrol,
        TaskId([8; 32]),
        0,
        0,
        &Enrol { capacity: 5 },
    );
    moved.task = task;
    assert!(refusal(submit(&mut v, from, 0, moved)).contains("signature"));
}

#[test]
fn an_unregistered_sender_cannot_enrol() {
    let (mut v, task) = in_phase("enrolling");
    let stranger = NodeKeypair::from_seed(&[77; 32]);
    let envelope = Envelope::sign(
        &stranger,
        v.profile.id(),
        Kind::Enrol,
        task,
        0,
        0,
        &Enrol { capacity: 5 },
    );
    assert!(
        refusal(submit(&mut v, stranger.public(), 0, envelope))
            .contains("not a registered labeler")
    );
}

#[test]
fn a_late_commit_and_a_late_reveal_are_refused_without_penalty() {
    let (mut v, task) = in_phase("revealing");
    let from = v.people[5].node.public();
    let late = sign(
        &v,
        5,
        Kind::Commit,
        task,
        0,
        0,
        &Commit {
            digest: Hash([1; 32]),
        },
    );
    let why = refusal(submit(&mut v, from, 0, late));
    assert!(
        why.contains("revealing") && why.contains("not awaited"),
        "{why}"
    );
    let early = sign(
        &v,
        5,
        Kind::Reveal,
        task,
        1,
        0,
        &Reveal {
            answers: vec![],
            salt: Salt([0; 32]),
        },
    );
    assert!(refusal(submit(&mut v, from, 0, early)).contains("not awaited"));
    assert_eq!(v.people[0].penalties, 0);
}

#[test]
fn a_reveal_that_does_not_open_its_commit_is_refused() {
    let (mut v, task) = in_phase("revealing");
    let from = v.people[5].node.public();
    let reveal = Reveal {
        answers: vec![Answer(0, 1)],
        salt: Salt([4; 32]),
    };
    let envelope = sign(&v, 5, Kind::Reveal, task, 0, 1, &reveal);
    assert!(refusal(submit(&mut v, from, 0, envelope)).contains("do not open the anchored commit"));
}

#[test]
fn a_copied_commit_cannot_be_opened_by_the_copier() {
    let network = NetworkId([1; 32]);
    let (alice, mallory) = (keys(1, 0).1.account(), keys(2, 0).1.account());
    let (task, salt, answers) = (TaskId([2; 32]), Salt([3; 32]), [Answer(0, 1)]);
    let of = |who| commit_digest(&network, &task, 0, &who, &answers, &salt);
    assert_ne!(of(alice), of(mallory));
    let other_wave = commit_digest(&network, &task, 1, &alice, &answers, &salt);
    let other_task = commit_digest(&network, &TaskId([9; 32]), 0, &alice, &answers, &salt);
    let other_chain = commit_digest(&NetworkId([9; 32]), &task, 0, &alice, &answers, &salt);
    assert!(
        [other_wave, other_task, other_chain]
            .iter()
            .all(|d| *d != of(alice))
    );
}

#[test]
fn a_duplicate_submission_gets_a_receipt_again_and_counts_once() {
    let (mut v, task) = in_phase("enrolling");
    let from = v.people[5].node.public();
    let envelope = sign(&v, 5, Kind::Enrol, task, 0, 0, &Enrol { capacity: 7 });
    for _ in 0..3 {
        assert!(matches!(
            submit(&mut v, from, 0, envelope.clone()),
            Response::Receipt(_)
        ));
    }
}

#[test]
fn two_commits_under_one_number_count_as_an_unopened_commit() {
    let mut v = Village::new(3, 4, 0);
    v.run(3, |_| false);
    let task = v.publish(12, |_| {});
    assert!(v.run(60, |v| phase(v, task) == Some("labeling".into())));
    // Labeler 4 signs two different commits; each goes to another member.
    let from = v.people[4].node.public();
    for member in 0..3 {
        let digest = Hash([member as u8; 32]);
        let envelope = sign(&v, 4, Kind::Commit, task, 0, 0, &Commit { digest });
        assert!(matches!(
            submit(&mut v, from, member, envelope),
            Response::Receipt(_)
        ));
    }
    assert!(
        v.run(200, |v| (0..3).all(|i| v.outcome(i).is_some())),
        "{:?}",
        v.call_errors
    );
    let account = v.account(4);
    let outcome = v.outcome(0).unwrap();
    let line = outcome
        .labelers
        .iter()
        .find(|l| l.account == account)
        .unwrap();
    assert!(
        line.lost > Amount::ZERO,
        "withholding is no free option: {line:?}"
    );
    assert!(outcome.money.is_conserved());
}

#[test]
fn gold_that_does_not_open_the_root_is_refused() {
    let (mut v, task) = in_phase("opening-gold");
    let client = v.client();
    let from = v.people[client].node.public();
    let wrong = GoldOpen {
        entries: vec![(0, 2)],
        salt: Salt([1; 32]),
    };
    let envelope = sign(&v, client, Kind::GoldOpen, task, 0, 5, &wrong);
    assert!(
        refusal(submit(&mut v, from, 0, envelope)).contains("does not open the manifest's root")
    );
    let foreign = sign(&v, 5, Kind::GoldOpen, task, 0, 5, &wrong);
    let from = v.people[5].node.public();
    assert!(refusal(submit(&mut v, from, 0, foreign)).contains("only the task's client"));
}

#[test]
fn an_unfunded_task_is_never_offered_and_an_underfunded_one_is_refunded() {
    let mut v = Village::new(3, 4, 0);
    v.run(3, |_| false);
    let (manifest, gold) = v.manifest(12, |_| {});
    let task = manifest.id();
    let client = v.client();
    let (deposit, bond) = manifest.required(&v.profile.params).unwrap();
    // The client pays one unit too little, by hand.
    let account = v.account(client);
    v.ledger
        .fund(account, task, 0, Amount(deposit.0 - 1), bond)
        .unwrap();
    v.command(
        client,
        Command::Publish {
            manifest: Box::new(manifest),
            gold,
        },
    )
    .unwrap();
    assert!(v.run(120, |v| v.outcome(0).is_some()));
    let outcome = v.outcome(0).unwrap();
    assert!(outcome.cancelled.is_some());
    assert_eq!(outcome.money.refund.0, deposit.0 - 1 + bond.0);
    assert!(
        v.people
            .iter()
            .all(|p| p.outcomes.iter().all(|o| o.labelers.is_empty()))
    );
}

#[test]
fn malformed_oversize_truncated_and_non_canonical_bytes_are_refused_with_a_reason() {
    let (mut v, task) = in_phase("enrolling");
    let good = sign(&v, 5, Kind::Enrol, task, 0, 0, &Enrol { capacity: 5 });
    let bytes = codec::encode(&Request::Submit { envelope: good });
    let from = v.people[5].node.public();
    let mut token = 1_000_000;
    let mut feed = |v: &mut Village, bytes: Vec<u8>| {
        token += 1;
        v.feed(0, Input::Request { token, from, bytes });
    };
    let before = v.people[0].penalties;
    feed(&mut v, bytes[..bytes.len() - 1].to_vec());
    feed(&mut v, [&bytes[..], &[0]].concat());
    feed(&mut v, vec![0xff; 64]);
    feed(
        &mut v,
        vec![0; assay_protocol::limit::REQUEST_BYTES_MAX + 1],
    );
    assert_eq!(v.people[0].penalties, before + 4);
    v.feed(
        0,
        Input::Gossip {
            token: 1,
            from,
            bytes: vec![7; 70_000],
        },
    );
    assert_eq!(v.people[0].penalties, before + 5);
}

#[test]
fn a_manifest_that_does_not_hash_to_its_task_is_rejected() {
    let v = Village::new(3, 3, 0);
    let (manifest, _) = v.manifest(12, |_| {});
    let client = v.client();
    let envelope = sign(
        &v,
        client,
        Kind::Announce,
        TaskId([5; 32]),
        0,
        0,
        &Announce { manifest },
    );
    let fault = Decoded::from_envelope(envelope)
        .unwrap()
        .authenticate(&v.profile.id())
        .unwrap_err();
    assert_eq!(
        (fault.verdict, fault.penalty),
        (Verdict::Reject, Penalty::Heavy)
    );
}

#[test]
fn commands_that_cannot_work_say_what_to_do() {
    let (mut v, task) = in_phase("labeling");
    let labeler = 5;
    let unknown = v
        .command(
            labeler,
            Command::Enrol {
                task: TaskId([1; 32]),
                capacity: 1,
            },
        )
        .unwrap_err();
    assert!(unknown.to_string().contains("check the id"), "{unknown}");
    let late = v
        .command(labeler, Command::Enrol { task, capacity: 1 })
        .unwrap_err();
    assert!(
        late.to_string().contains("only while it is enrolling"),
        "{late}"
    );
    let wrong = v
        .command(0, Command::Enrol { task, capacity: 1 })
        .unwrap_err();
    assert!(
        wrong.to_string().contains("not registered as a labeler"),
        "{wrong}"
    );
    let item = v
        .command(
            labeler,
            Command::Answer {
                task,
                wave: 0,
                answers: vec![Answer(4_000, 0)],
            },
        )
        .unwrap_err();
    assert!(item.to_string().contains("item 4000"), "{item}");
    let wave = v
        .command(
            labeler,
            Command::Answer {
                task,
                wave: 3,
                answers: vec![],
            },
        )
        .unwrap_err();
    assert!(wave.to_string().contains("wave 3"), "{wave}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic_a_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Decoded::parse(&bytes);
        let _ = codec::decode::<Request>(&bytes, 1 << 20);
        let _ = codec::decode::<Response>(&bytes, 1 << 20);
        let _ = codec::decode::<assay_protocol::lane::LaneState>(&bytes, 1 << 20);
    }

    #[test]
    fn a_flipped_byte_never_yields_the_same_record(at: usize, bit in 0u8..8) {
        let keys = NodeKeypair::from_seed(&[1; 32]);
        let network = NetworkId([2; 32]);
        let envelope = Envelope::sign(&keys, network, Kind::Enrol, TaskId([3; 32]), 0, 0, &Enrol { capacity: 9 });
        let mut bytes = envelope.to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        // Either it does not decode, or the signature is broken.
        if let Ok(decoded) = Decoded::parse(&bytes) {
            prop_assert!(decoded.authenticate(&network).is_err());
        }
    }

    #[test]
    fn restoring_from_any_rows_never_panics(row in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut v = Village::new(1, 0, 0);
        for family in [
            assay_protocol::core::Family::Snapshot,
            assay_protocol::core::Family::Own,
            assay_protocol::core::Family::Vote,
            assay_protocol::core::Family::Announce,
        ] {
            v.people[0].disk.insert((family, row.clone()), row.clone());
        }
        v.start(0);
    }
}
