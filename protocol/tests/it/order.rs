//! The same messages in another order, from other data directories, give byte-identical headers.

use assay_protocol::{
    codec,
    consensus::{Explanation, check_item},
    core::Family,
    id::{Hash, TaskId},
    lane::{LaneState, state_root},
    message::{EpochBody, EpochHeader},
    task::{RepeatError, TaskOutcome},
    verify::{Authentic, Decoded},
};

use crate::village::Village;

struct Run {
    headers: Vec<EpochHeader>,
    outcome: TaskOutcome,
    village: Village,
}

/// Runs a task with three validators; each must have computed the same header bytes, whatever order its mail came in.
fn run(shuffle: u64, answers: fn(u32, usize) -> u16) -> Run {
    let mut v = Village::new(3, 5, shuffle);
    v.answers = answers;
    v.run(3, |_| false);
    v.publish(24, |_| {});
    assert!(v.run(150, |v| v.outcome(0).is_some()
        && v.outcome(1).is_some()
        && v.outcome(2).is_some()));
    let bytes =
        |i: usize| -> Vec<Vec<u8>> { v.people[i].headers.iter().map(codec::encode).collect() };
    assert_eq!(bytes(0), bytes(1), "validators 0 and 1 differ");
    assert_eq!(bytes(0), bytes(2), "validators 0 and 2 differ");
    Run {
        headers: v.people[0].headers.clone(),
        outcome: v.outcome(0).unwrap().clone(),
        village: v,
    }
}

fn honest(item: u32, _: usize) -> u16 {
    (item % 3) as u16
}

fn one_vote_changed(item: u32, labeler: usize) -> u16 {
    // One of the labelers errs on item 5.
    if item == 5 && labeler >= 4 {
        1
    } else {
        (item % 3) as u16
    }
}

#[test]
fn three_validators_fed_in_different_orders_produce_byte_identical_headers() {
    let reference = run(0, honest);
    for seed in 1..6 {
        let other = run(seed, honest);
        // Which members' signatures came first differs, so fees do; what labelers did and earned does not.
        assert_eq!(
            other.outcome.labelers, reference.outcome.labelers,
            "order {seed}"
        );
        assert_eq!(other.outcome.items, reference.outcome.items, "order {seed}");
    }
}

/// The anchored headers follow from bodies and records alone, in any order of the records.
#[test]
fn a_stranger_recomputes_every_header_from_the_records_in_any_order() {
    let Run {
        headers,
        outcome,
        village: v,
    } = run(3, honest);
    let proof = outcome.score.unwrap().proof.unwrap();
    let disk = &v.people[4].disk;
    let network = v.profile.id();
    for turn in 0..4usize {
        let mut state = LaneState::genesis(0);
        for header in &headers {
            let body = &disk[&(
                Family::Epoch,
                assay_protocol::core::epoch_key(0, header.epoch),
            )];
            let body: EpochBody = codec::decode(body, usize::MAX).unwrap();
            let mut records: Vec<Authentic> = body
                .records
                .iter()
                .map(|id| &disk[&(Family::Record, id.0.to_vec())])
                .map(|b| Decoded::parse(b).unwrap().authenticate(&network).unwrap())
                .collect();
            let len = records.len().max(1);
            records.rotate_left(turn % len);
            if turn == 3 {
                records.reverse();
            }
            let records: Vec<&Authentic> = records.iter().collect();
            let applied = state.apply(&body, &records, &v.blocks, &v.profile).unwrap();
            assert_eq!(codec::encode(&applied.header), codec::encode(header));
            let settles = *header == proof.header;
            assert_eq!(applied.state.scores.len(), usize::from(settles));
            let scored = applied.flat.bonuses.iter().filter(|b| b.scored);
            assert_eq!(scored.count(), usize::from(settles));
            let flat_root = applied.flat.flat_root();
            assert_eq!(applied.flat.state, applied.state.root());
            assert_eq!(
                state_root(&applied.flat.state, &flat_root),
                header.state_root
            );
            state = applied.state;
        }
    }
}

#[test]
fn a_settled_score_leads_from_the_header_to_every_item_and_vote() {
    let Run {
        headers, outcome, ..
    } = run(0, one_vote_changed);
    let score = outcome.score.as_ref().unwrap();
    let proof = score.proof.as_ref().unwrap();
    assert!(headers.contains(&proof.header));
    assert!(proof.shows(&outcome.task, &score.root));
    assert!(!proof.shows(&outcome.task, &Hash([7; 32])));
    assert!(!proof.shows(&TaskId([7; 32]), &score.root));
    let mut other = proof.clone();
    other.header.state_root = Hash([7; 32]);
    assert!(!other.shows(&outcome.task, &score.root));
    let mut other = proof.clone();
    other.rest = Hash([7; 32]);
    assert!(!other.shows(&outcome.task, &score.root));
    let mut other = proof.clone();
    other.index += 1;
    assert!(!other.shows(&outcome.task, &score.root));

    // What is on the disk of any node is enough.
    let outcome: TaskOutcome = codec::decode(&codec::encode(&outcome), usize::MAX).unwrap();
    let scoring = outcome.scoring().unwrap();
    assert_eq!(scoring.input_root(), score.input);
    for (item, settled) in (0..).zip(&outcome.items) {
        let checked = check_item(&scoring.case(item).unwrap(), &score.root).unwrap();
        assert_eq!(checked.wrong, None);
        assert_eq!(checked.derived.result.label, settled.label);
        assert_eq!(checked.derived.result.votes, settled.votes);
    }
    assert!(outcome.votes.len() > 50);
    for &(item, labeler, label) in &outcome.votes {
        let terms = score.terms[labeler as usize];
        let explanation = Explanation::of(&scoring, item, labeler, Some(terms)).unwrap();
        assert_eq!(explanation.answer, label);
        let derived = explanation.rederive().unwrap();
        assert_eq!(derived.score_root, score.root);
        let settled = &outcome.labelers[labeler as usize];
        let pay = derived.pay.unwrap();
        assert_eq!((pay.earned, pay.lost), (settled.earned.0, settled.lost.0));
        assert_eq!(explanation.labeler.result.skill_ppm, settled.skill_ppm);
    }

    let mut other = outcome.clone();
    other.votes[0].2 = (other.votes[0].2 + 1) % 3;
    assert!(matches!(
        other.scoring(),
        Err(RepeatError::OtherRoot { named, .. }) if named == score.root
    ));
    other.score = None;
    assert!(matches!(other.scoring(), Err(RepeatError::Unscored(_))));
}

#[test]
fn one_changed_vote_changes_the_root() {
    let (a, b) = (run(0, honest), run(0, one_vote_changed));
    let roots = |r: &Run| r.headers.iter().map(|h| h.records_root).collect::<Vec<_>>();
    assert_ne!(roots(&a), roots(&b));
    let states = |r: &Run| r.headers.iter().map(|h| h.state_root).collect::<Vec<_>>();
    assert_ne!(
        states(&a),
        states(&b),
        "the votes are part of the state until the task settles"
    );
    assert_ne!(a.outcome.votes, b.outcome.votes);
}
