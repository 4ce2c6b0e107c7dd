//! Who dies when: from every state of a task it comes to an end by timeouts alone, money is conserved, and nobody honest loses any.

use std::collections::BTreeMap;

use assay_protocol::{
    amount::Amount,
    id::{Account, TaskId},
    settlement::LedgerError,
};

use crate::village::{FALLBACK_SECS, Village};

/// Part of the price that an accepted label is worth without a committee, in tenths.
const FLAT_TENTHS: u128 = 7;
const PRICE: u128 = 1_000;

/// States of a task with two waves, in the order in which it goes through them; the number is the wave.
const STATES: [(&str, u8); 10] = [
    ("funded", 0),
    ("enrolling", 0),
    ("drawing", 0),
    ("labeling", 0),
    ("revealing", 0),
    ("opening-gold", 0),
    ("drawing", 1),
    ("labeling", 1),
    ("revealing", 1),
    ("settled", 0),
];

fn state(v: &Village, i: usize, task: &TaskId) -> (&'static str, u8) {
    if v.outcome(i).is_some() {
        return ("settled", 0);
    }
    let live = v.live(i);
    match live.tasks.get(task) {
        Some(open) => (open.phase.name(), open.phase.wave().unwrap_or(0)),
        None if live.escrows.is_empty() => ("announced", 0),
        None => ("funded", 0),
    }
}

/// A village of `validators` with a task that the first labeler sees in `at`.
fn village_in(at: (&str, u8), validators: usize) -> (Village, TaskId) {
    let mut v = Village::new(validators, 5, 0);
    v.run(3, |_| false);
    let task = v.publish(24, |m| m.price = Amount(PRICE));
    let labeler = validators + 1;
    let reached = v.run(300, |v| state(v, labeler, &task) == at);
    assert!(reached, "never {at:?}: {:?}", v.call_errors);
    (v, task)
}

fn tokens(v: &Village) -> Vec<Amount> {
    (0..v.people.len())
        .map(|i| v.ledger.balance(&v.account(i)))
        .collect()
}

/// Runs on, and asserts that the task is settled at everybody who lives, to the unit, with nothing lost by any labeler.
fn assert_settles(mut v: Village, at: (&str, u8), who: &str) {
    let supply = v.ledger.supply();
    let before = tokens(&v);
    let over = |v: &Village| {
        (0..v.people.len())
            .filter(|i| !v.down.contains(i))
            .all(|i| v.outcome(i).is_some())
    };
    assert!(
        v.run(600, over),
        "{who} dead when {at:?}: {:?}",
        v.call_errors
    );
    let labeler = v.client() + 1;
    let outcome = v.outcome(labeler).unwrap().clone();
    assert!(outcome.money.is_conserved(), "{who} dead when {at:?}");
    assert!(
        outcome.labelers.iter().all(|l| l.lost == Amount::ZERO),
        "{who} dead when {at:?}: {:?}",
        outcome.labelers
    );
    v.claim_all(labeler);
    assert_eq!(v.ledger.supply(), supply);
    for (i, old) in before.iter().enumerate().skip(labeler) {
        let earned = outcome
            .labelers
            .iter()
            .find(|l| l.account == v.account(i))
            .map_or(Amount::ZERO, |l| l.earned);
        assert!(
            v.ledger.balance(&v.account(i)).0 >= old.0 + earned.0,
            "labeler {i} of {who} dead when {at:?}"
        );
    }
}

#[test]
fn a_task_settles_from_every_state_when_its_client_dies() {
    for at in STATES {
        let (mut v, _) = village_in(at, 4);
        let client = v.client();
        v.kill(client);
        assert_settles(v, at, "the client");
    }
}

#[test]
fn a_task_settles_from_every_state_when_any_one_member_of_four_dies() {
    for at in STATES {
        for member in 0..4 {
            let (mut v, _) = village_in(at, 4);
            v.kill(member);
            assert_settles(v, at, &format!("member {member}"));
        }
    }
}

#[test]
fn a_task_settles_from_every_state_when_seven_of_twenty_one_members_die() {
    for at in STATES {
        let (mut v, _) = village_in(at, 21);
        // Every third, so that leaders are among them wherever the turn stands.
        for member in (0..21).step_by(3) {
            v.kill(member);
        }
        assert_settles(v, at, "seven of 21 members");
    }
}

/// What the last header that everybody follows accepted: labels by account.
fn accepted(v: &Village, i: usize, task: &TaskId) -> BTreeMap<Account, u128> {
    let mut counts = BTreeMap::new();
    if let Some(open) = v.live(i).tasks.get(task) {
        for (_, labeler, _) in &open.votes {
            let account = open.labelers[*labeler as usize].account;
            *counts.entry(account).or_default() += 1;
        }
    }
    counts
}

#[test]
fn a_task_ends_from_every_state_when_the_whole_committee_dies_and_accepted_labels_are_paid() {
    for at in STATES {
        let (mut v, task) = village_in(at, 4);
        // Where they die with an epoch that nobody else has, the others say so.
        v.alarms = Some(vec![]);
        for member in 0..4 {
            v.kill(member);
        }
        let (client, labeler) = (v.client(), v.client() + 1);
        let account = v.account(client);
        // What was under way with the chain arrives; the labelers follow.
        v.run(20, |_| false);
        let (supply, before) = (v.ledger.supply(), tokens(&v));
        if at.0 == "settled" {
            v.mine(FALLBACK_SECS);
            let refused = v.ledger.open_fallback(task, account);
            assert!(
                matches!(refused, Err(LedgerError::Escrow(..))),
                "{refused:?}"
            );
            assert!(!v.claim_all(labeler).is_empty());
            assert_eq!(v.ledger.supply(), supply);
            continue;
        }
        let accepted = accepted(&v, labeler, &task);
        assert_eq!(
            accepted.is_empty(),
            STATES.iter().position(|s| *s == at) < Some(5),
            "{at:?}"
        );
        let early = v.ledger.open_fallback(task, account);
        assert!(
            matches!(early, Err(LedgerError::LaneActive { .. })),
            "{early:?}"
        );
        v.mine(FALLBACK_SECS);
        v.mine(1);
        v.ledger.open_fallback(task, account).unwrap();
        let twice = v.ledger.open_fallback(task, account);
        assert!(matches!(twice, Err(LedgerError::Escrow(..))), "{twice:?}");
        v.mine(1);
        // A node that starts again has what it needs on its disk.
        v.kill(labeler);
        v.revive(labeler);
        v.run(3, |_| false);
        let Some(fallback) = v.fallback(labeler, task) else {
            // The committee died between posting an epoch and handing out its content: one that accepted nothing, this early.
            assert!(v.live(labeler).epoch < v.ledger.epoch(0), "{at:?}");
            assert!(
                v.people[labeler]
                    .core
                    .as_ref()
                    .unwrap()
                    .lacks_fallback(&task)
            );
            assert!(accepted.is_empty(), "{at:?}");
            close(&mut v, task, supply);
            continue;
        };
        assert_eq!(state(&v, labeler, &task).0, "announced", "{at:?}");
        assert_eq!(fallback.claims.len(), accepted.len(), "{at:?}");
        for claim in &fallback.claims {
            let header = fallback.header.as_ref().unwrap();
            let paid = v.ledger.claim_fallback(header, claim).unwrap();
            let labels = accepted[&claim.pay.payee];
            assert_eq!(paid, Amount(labels * PRICE * FLAT_TENTHS / 10));
            let again = v.ledger.claim_fallback(header, claim);
            assert!(matches!(again, Err(LedgerError::Fallback(..))), "{again:?}");
            let mut more = claim.clone();
            more.pay.amount = Amount(paid.0 + 1);
            let forged = v.ledger.claim_fallback(header, &more);
            assert!(
                matches!(forged, Err(LedgerError::Fallback(..))),
                "{forged:?}"
            );
        }
        close(&mut v, task, supply);
        for (i, old) in before.iter().enumerate().skip(labeler) {
            assert!(
                v.ledger.balance(&v.account(i)).0 >= old.0,
                "labeler {i}, {at:?}"
            );
        }
    }
}

/// Ends a fallback after its window, once, with the supply as it was.
fn close(v: &mut Village, task: TaskId, supply: Amount) {
    let account = v.account(v.client());
    let open = v.ledger.close_fallback(task, account);
    assert!(matches!(open, Err(LedgerError::Fallback(..))), "{open:?}");
    v.mine(FALLBACK_SECS);
    v.mine(1);
    v.ledger.close_fallback(task, account).unwrap();
    let twice = v.ledger.close_fallback(task, account);
    assert!(matches!(twice, Err(LedgerError::Fallback(..))), "{twice:?}");
    assert_eq!(v.ledger.supply(), supply);
}

/// A committee that wakes up after the fallback was opened neither settles the task a second time nor stops its labelers from being paid.
#[test]
fn a_committee_that_wakes_up_leaves_an_opened_task_alone_and_settles_the_others() {
    let (mut v, task) = village_in(("opening-gold", 0), 4);
    for member in 0..4 {
        v.kill(member);
    }
    let (labeler, account) = (v.client() + 1, v.account(v.client()));
    v.run(5, |_| false);
    v.mine(FALLBACK_SECS);
    v.mine(1);
    v.ledger.open_fallback(task, account).unwrap();
    v.mine(1);
    for member in 0..4 {
        v.revive(member);
    }
    let supply = v.ledger.supply();
    let second = v.publish(24, |m| m.title = "another".into());
    let over = |v: &Village| v.outcome(labeler).is_some_and(|o| o.task == second);
    assert!(v.run(600, over), "{:?}", v.call_errors);
    assert!(v.people[labeler].outcomes.iter().all(|o| o.task != task));
    // The header that counts is far behind the lane's head by now.
    let fallback = v.fallback(labeler, task).unwrap();
    assert!(!fallback.claims.is_empty());
    for claim in &fallback.claims {
        v.ledger
            .claim_fallback(fallback.header.as_ref().unwrap(), claim)
            .unwrap();
    }
    v.claim_all(labeler);
    assert_eq!(v.ledger.supply(), supply);
}

/// Draws cost nothing; whoever repeats them must not keep a dead lane from being called silent.
#[test]
fn repeated_draws_do_not_keep_a_dead_lane_alive() {
    let (mut v, task) = village_in(("opening-gold", 0), 4);
    for member in 0..4 {
        v.kill(member);
    }
    let account = v.account(v.client());
    v.run(5, |_| false);
    let mut opened = 0;
    for _ in 0..40 {
        v.mine(FALLBACK_SECS / 4);
        // Refused while a committee still serves its term; the attempt is what an attacker makes.
        let _ = v.ledger.draw_committee(0);
        opened += usize::from(v.ledger.open_fallback(task, account).is_ok());
    }
    assert_eq!(opened, 1);
}
