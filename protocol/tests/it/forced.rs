//! Records that come by the chain because the committee takes none.

use assay_protocol::{
    amount::Amount,
    core::Notice,
    id::{Blob, TaskId},
    message::{ChainFact, Durations, Envelope, Kind, Manifest},
    task::TaskOutcome,
};

use super::village::Village;

fn crowd(item: u32, labeler: usize) -> u16 {
    let right = (item % 3) as u16;
    let wrong = (item as usize * 31 + labeler * 17).is_multiple_of(11);
    if wrong { (right + 1) % 3 } else { right }
}

/// Phases long enough to ask the committee twice before the chain.
fn patient(m: &mut Manifest) {
    m.durations = Durations {
        enrol_secs: 40,
        commit_secs: 60,
        reveal_secs: 40,
        gold_secs: 20,
    };
}

fn village() -> (Village, TaskId) {
    let mut v = Village::new(4, 9, 0);
    v.answers = crowd;
    v.run(3, |_| false);
    let task = v.publish(60, patient);
    (v, task)
}

fn finish(v: &mut Village) -> TaskOutcome {
    let all = 0..v.people.len();
    let done = v.run(600, |v| all.clone().all(|i| v.outcome(i).is_some()));
    assert!(done, "{:?}", v.call_errors);
    let outcome = v.outcome(0).unwrap().clone();
    assert!(all.clone().all(|i| v.outcome(i) == Some(&outcome)));
    outcome
}

/// Kinds of the records that stand in the chain's log, with their senders' places.
fn forced(v: &Village) -> Vec<(usize, Kind)> {
    let facts = v.blocks.iter().flat_map(|b| &b.facts);
    let records = facts.filter_map(|fact| match fact {
        ChainFact::RecordForced { record, .. } => {
            let e: Envelope = assay_protocol::codec::decode(&record.0, usize::MAX).ok()?;
            let sender = v.people.iter().position(|p| p.node.public() == e.sender)?;
            Some((sender, e.kind))
        }
        _ => None,
    });
    records.collect()
}

#[test]
fn a_labeler_whom_the_whole_committee_ignores_is_heard_by_the_chain_and_paid() {
    let (mut v, _) = village();
    let ignored = v.client() + 3;
    v.censored.insert(ignored);
    let outcome = finish(&mut v);
    let account = v.account(ignored);
    let of = |o: &TaskOutcome| o.labelers.iter().find(|l| l.account == account).cloned();
    let own = of(&outcome).expect("takes part");
    assert!(own.votes > 0 && own.earned > Amount::ZERO, "{own:?}");
    // Everybody has about the same number of items, so nobody was left with a part.
    let least = outcome.labelers.iter().map(|l| l.votes).min().unwrap();
    assert!(own.votes <= 2 * least);
    let forced = forced(&v);
    assert!(
        forced.iter().all(|(sender, _)| *sender == ignored),
        "{forced:?}"
    );
    for kind in [Kind::Enrol, Kind::Commit, Kind::Reveal] {
        assert!(
            forced.iter().any(|(_, k)| *k == kind),
            "{kind:?} in {forced:?}"
        );
    }
    let refused = v.call_errors.iter().find(|e| e.contains("escrow"));
    assert_eq!(refused, None);
    assert!(outcome.money.is_conserved());
}

#[test]
fn a_client_whom_the_whole_committee_ignores_opens_its_gold_by_the_chain() {
    let (mut v, _) = village();
    assert!(v.run(100, |v| v.ledger.epoch(0) > 0), "the task is open");
    let client = v.client();
    v.censored.insert(client);
    let outcome = finish(&mut v);
    let gold = forced(&v)
        .iter()
        .filter(|f| **f == (client, Kind::GoldOpen))
        .count();
    assert_eq!(gold, outcome.waves.len());
    assert!(gold > 0);
    let undisturbed = finish(&mut village().0);
    assert_eq!(outcome.waves, undisturbed.waves, "no gold was lost");
}

#[test]
fn with_a_willing_committee_nothing_is_forced() {
    let (mut v, _) = village();
    finish(&mut v);
    assert_eq!(forced(&v), []);
    let told = v.people.iter().flat_map(|p| &p.notices);
    assert!(!told.into_iter().any(|n| matches!(n, Notice::Forced { .. })));
}

#[test]
fn records_that_come_both_ways_count_once() {
    let mut plain = village().0;
    let expected = finish(&mut plain);
    let (mut v, _) = village();
    v.doubled = true;
    assert_eq!(finish(&mut v), expected);
    assert!(forced(&v).len() > 20);
    let heads = |v: &Village| {
        v.people[0]
            .headers
            .iter()
            .map(|h| h.payout_root)
            .collect::<Vec<_>>()
    };
    assert_eq!(heads(&v), heads(&plain));
}

#[test]
fn what_is_no_record_or_not_awaited_or_late_changes_nothing() {
    let expected = finish(&mut village().0);
    let (mut v, task) = village();
    let account = v.account(v.client());
    let mut old: Vec<Vec<u8>> = vec![];
    for round in 0..600 {
        if (0..v.people.len()).all(|i| v.outcome(i).is_some()) {
            break;
        }
        v.round();
        // Everything that was ever sent is sent again, long after its time, and cut, and as it is not.
        let records = v.people.iter().flat_map(|p| p.disk.iter());
        let records = records.filter(|((f, _), _)| *f == assay_protocol::core::Family::Record);
        old.extend(records.map(|(_, bytes)| bytes.clone()).take(3));
        let Some(bytes) = old.get(round / 40).cloned() else {
            continue;
        };
        let mut damaged = bytes.clone();
        let at = round % damaged.len();
        damaged[at] ^= 1;
        for junk in [damaged, bytes[..bytes.len() / 2].to_vec(), vec![0xff; 100]] {
            let _ = v.ledger.force_record(task, account, Blob(junk));
        }
        let _ = v.ledger.force_record(task, account, Blob(bytes));
    }
    assert_eq!(finish(&mut v), expected);
}

#[test]
fn the_twin_takes_records_about_funded_tasks_only_and_no_longer_than_the_contract_does() {
    let (mut v, task) = village();
    assert!(v.run(100, |v| v.ledger.epoch(0) > 0));
    let account = v.account(v.client());
    let long = |bytes| Blob(vec![1; bytes]);
    v.ledger.force_record(task, account, long(32_768)).unwrap();
    v.ledger
        .force_record(task, account, long(32_769))
        .unwrap_err();
    v.ledger.force_record(task, account, long(0)).unwrap_err();
    let other = TaskId([9; 32]);
    v.ledger.force_record(other, account, long(1)).unwrap_err();
}
