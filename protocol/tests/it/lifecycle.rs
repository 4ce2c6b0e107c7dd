//! Whole tasks from publication to pay.

use assay_protocol::{
    amount::Amount,
    core::{Command, GoldSecret},
    id::{Hash, Salt},
    message::{AssignmentRule, WavePlan},
    task::{CancelReason, GoldState, Reason},
};

use crate::village::Village;

fn settled(v: &Village) -> bool {
    (0..v.people.len())
        .filter(|i| !v.down.contains(i))
        .all(|i| v.outcome(i).is_some())
}

#[test]
fn a_task_is_published_labelled_over_two_waves_scored_and_paid() {
    let mut v = Village::new(4, 6, 0);
    v.run(3, |_| false);
    let task = v.publish(40, |_| {});
    assert!(
        v.run(120, settled),
        "not settled; errors: {:?}",
        v.call_errors
    );
    let outcome = v.outcome(0).unwrap().clone();
    assert_eq!(outcome.task, task);
    assert_eq!(outcome.cancelled, None);
    assert_eq!(outcome.waves.len(), 2);
    for (item, result) in outcome.items.iter().enumerate() {
        assert_eq!(result.label, Some((item % 3) as u16), "item {item}");
    }
    assert!(outcome.money.is_conserved());
    // Everybody agreed with the truth: 40 items x 3 labels at full price.
    assert_eq!(outcome.money.paid, Amount(40 * 3 * 1_000));
    assert!(
        outcome
            .labelers
            .iter()
            .all(|l| l.reason == Reason::FullSkill && l.lost == Amount::ZERO)
    );
    assert!(
        outcome
            .waves
            .iter()
            .all(|w| matches!(w, GoldState::Counted { voided: 0 }))
    );
    for i in 1..v.people.len() {
        assert_eq!(
            v.outcome(i),
            Some(&outcome),
            "node {i} computed another outcome"
        );
        assert_eq!(v.people[i].headers, v.people[0].headers);
    }
    let before = v.ledger.supply();
    let paid = v.claim_all(v.people.len() - 1);
    let total: Amount = paid.values().copied().sum();
    assert_eq!(
        total,
        Amount(outcome.money.deposit.0 + outcome.money.gold_bond.0)
    );
    assert_eq!(v.ledger.supply(), before, "claims make no money");
    assert!(v.claim_all(0).is_empty(), "nobody is paid twice");
}

#[test]
fn an_open_task_counts_every_answer_up_to_k_max() {
    let mut v = Village::new(3, 5, 0);
    v.run(3, |_| false);
    let (mut manifest, _) = v.manifest(12, |_| {});
    manifest.assignment = AssignmentRule::Open { k_max: 4 };
    manifest.waves = vec![WavePlan {
        fresh: 12,
        gold_count: 0,
        gold_root: Hash::ZERO,
    }];
    manifest.labelers_max = 5;
    let gold = vec![GoldSecret {
        entries: vec![],
        salt: Salt([0; 32]),
    }];
    let client = v.client();
    v.command(
        client,
        Command::Publish {
            manifest: Box::new(manifest),
            gold,
        },
    )
    .unwrap();
    assert!(v.run(120, settled), "errors: {:?}", v.call_errors);
    let outcome = v.outcome(0).unwrap();
    assert_eq!(
        outcome.votes.len(),
        12 * 4,
        "five answered each item, four count"
    );
    assert!(outcome.items.iter().all(|i| i.votes == 4));
    assert!(outcome.money.is_conserved());
}

#[test]
fn the_client_may_vanish_after_funding_and_everybody_is_paid() {
    let mut v = Village::new(4, 5, 0);
    v.run(3, |_| false);
    v.publish(20, |_| {});
    let client = v.client();
    assert!(v.run(40, |v| {
        v.people[0]
            .core
            .as_ref()
            .unwrap()
            .live(0)
            .unwrap()
            .escrows
            .len()
            == 1
            || !v.people[0]
                .core
                .as_ref()
                .unwrap()
                .live(0)
                .unwrap()
                .tasks
                .is_empty()
    }));
    v.kill(client);
    assert!(v.run(200, settled), "errors: {:?}", v.call_errors);
    let outcome = v.outcome(0).unwrap();
    assert!(outcome.waves.iter().all(|w| *w == GoldState::Withheld));
    assert!(outcome.money.is_conserved());
    assert_eq!(outcome.money.paid, Amount(20 * 3 * 1_000));
    assert!(
        outcome.money.bond_shares.0 > 0,
        "the gold bond goes to those who revealed"
    );
}

#[test]
fn too_few_labelers_give_a_full_refund_after_one_extension() {
    let mut v = Village::new(3, 2, 0);
    v.run(3, |_| false);
    v.publish(20, |_| {});
    assert!(v.run(80, settled));
    let outcome = v.outcome(0).unwrap();
    assert_eq!(outcome.cancelled, Some(CancelReason::TooFewLabelers));
    assert_eq!(
        outcome.money.refund.0,
        outcome.money.deposit.0 + outcome.money.gold_bond.0
    );
}

#[test]
fn one_of_four_validators_may_be_down_all_the_time() {
    let mut v = Village::new(4, 5, 0);
    v.run(3, |_| false);
    v.kill(2);
    v.publish(16, |_| {});
    assert!(v.run(250, settled), "errors: {:?}", v.call_errors);
    v.revive(2);
    assert!(v.run(30, settled), "the revived validator catches up");
    assert_eq!(v.outcome(2), v.outcome(0));
}

#[test]
fn any_node_may_be_killed_in_any_round_and_nothing_acknowledged_is_lost() {
    // Every node, at rounds spread over the whole life of the task.
    for victim in 0..9 {
        for at in (4..40).step_by(5) {
            let mut v = Village::new(4, 4, 0);
            v.run(3, |_| false);
            v.publish(12, |_| {});
            v.run(at, |_| false);
            if v.people[victim].core.is_some() {
                v.kill(victim);
                v.run(2, |_| false);
                v.revive(victim);
            }
            assert!(
                v.run(250, settled),
                "victim {victim} at {at}: {:?}",
                v.call_errors
            );
            let outcome = v.outcome(0).unwrap();
            assert!(outcome.money.is_conserved());
            assert!(
                outcome
                    .labelers
                    .iter()
                    .all(|l| l.lost == Amount::ZERO && l.reason == Reason::FullSkill),
                "victim {victim} at {at}: {:?}",
                outcome.labelers
            );
        }
    }
}
