//! Clients that want labels for less: whatever one tries after funding, no honest labeler earns less than from an honest client.

use std::collections::BTreeMap;

use assay_protocol::{
    amount::Amount,
    core::{Command, GoldSecret},
    id::{Account, TaskId},
    message::gold_root,
    settlement::LedgerError,
    task::{GoldState, TaskOutcome},
};

use crate::village::Village;

const ITEMS: u32 = 24;
const VALIDATORS: usize = 3;

/// What a client does beside publishing.
struct Trick {
    name: &'static str,
    /// Changes the gold that the client commits to.
    gold: fn(&mut Vec<GoldSecret>),
    /// Before every round.
    each_round: fn(&mut Village, TaskId),
}

fn honest_gold(_: &mut Vec<GoldSecret>) {}

fn nothing(_: &mut Village, _: TaskId) {}

fn outcome(trick: &Trick) -> (Village, TaskOutcome) {
    let mut v = Village::new(VALIDATORS, 6, 0);
    v.run(3, |_| false);
    let client = v.client();
    let (mut manifest, mut gold) = v.manifest(ITEMS, |_| {});
    (trick.gold)(&mut gold);
    for (wave, secret) in manifest.waves.iter_mut().zip(&gold) {
        wave.gold_root = gold_root(&secret.salt, &secret.entries);
    }
    let manifest = Box::new(manifest);
    let task = v
        .command(client, Command::Publish { manifest, gold })
        .unwrap();
    for _ in 0..400 {
        if v.outcome(0).is_some() {
            break;
        }
        (trick.each_round)(&mut v, task);
        v.round();
    }
    let outcome = v.outcome(0).cloned();
    let outcome = outcome.unwrap_or_else(|| panic!("{}: {:?}", trick.name, v.call_errors));
    (v, outcome)
}

/// What labelers got of the task, bond shares included, by account: claimed from the ledger, not read from the outcome.
fn income(v: &mut Village) -> BTreeMap<Account, u128> {
    let first = v.client() + 1;
    let paid = v.claim_all(0);
    (first..v.people.len())
        .map(|i| v.account(i))
        .map(|a| (a, paid.get(&a).copied().unwrap_or_default().0))
        .collect()
}

#[test]
fn no_trick_of_a_client_costs_an_honest_labeler_anything() {
    let honest = Trick {
        name: "none",
        gold: honest_gold,
        each_round: nothing,
    };
    let (mut v, fair) = outcome(&honest);
    let supply = v.ledger.supply();
    let expected = income(&mut v);
    assert!(expected.values().all(|earned| *earned > 0));
    assert!(fair.labelers.iter().all(|l| l.lost == Amount::ZERO));

    let tricks = [
        Trick {
            name: "gold that contradicts every labeler",
            gold: |secrets| {
                for (_, label) in secrets.iter_mut().flat_map(|s| &mut s.entries) {
                    *label = (*label + 1) % 3;
                }
            },
            each_round: nothing,
        },
        Trick {
            name: "gold that is wrong for one class",
            gold: |secrets| {
                for (_, label) in secrets.iter_mut().flat_map(|s| &mut s.entries) {
                    *label = if *label == 1 { 2 } else { *label };
                }
            },
            each_round: nothing,
        },
        Trick {
            name: "never opening the gold",
            gold: honest_gold,
            each_round: |v, task| {
                let client = v.client();
                let seen = v.live(VALIDATORS + 1).tasks.contains_key(&task);
                if seen && !v.down.contains(&client) {
                    v.kill(client);
                }
            },
        },
        Trick {
            name: "one unit more in every block",
            gold: honest_gold,
            each_round: |v, task| {
                let account = v.account(v.client());
                let _ = v.ledger.top_up(account, task, account, Amount(1));
            },
        },
        Trick {
            name: "a second, empty escrow of the same task from another account",
            gold: honest_gold,
            each_round: |v, task| {
                let other = v.account(VALIDATORS + 6);
                let _ = v.ledger.fund(other, task, 0, Amount(1), Amount::ZERO);
            },
        },
        Trick {
            name: "opening the fallback at every chance",
            gold: honest_gold,
            each_round: |v, task| {
                let account = v.account(v.client());
                let refused = v.ledger.open_fallback(task, account);
                assert!(
                    matches!(
                        refused,
                        Err(LedgerError::LaneActive { .. } | LedgerError::Escrow(..))
                    ),
                    "{refused:?}"
                );
            },
        },
    ];
    for trick in tricks {
        let (mut v, outcome) = outcome(&trick);
        assert!(outcome.money.is_conserved(), "{}", trick.name);
        assert!(
            outcome.labelers.iter().all(|l| l.lost == Amount::ZERO),
            "{}: {:?}",
            trick.name,
            outcome.labelers
        );
        let earned = income(&mut v);
        for (account, fair) in &expected {
            // The copier of the escrow pays its own deposit, which is another account's money.
            assert!(
                earned[account] >= *fair,
                "{}: 0x{account} got {} instead of {fair}",
                trick.name,
                earned[account]
            );
        }
        assert_eq!(v.ledger.supply(), supply, "{}", trick.name);
    }
}

/// Gold that nearly everybody contradicts is the client's fault: it judges nobody, and its bond goes to those who worked.
#[test]
fn wrong_gold_costs_its_client_the_bond() {
    let wrong = Trick {
        name: "wrong gold",
        gold: |secrets| {
            for (_, label) in secrets.iter_mut().flat_map(|s| &mut s.entries) {
                *label = (*label + 1) % 3;
            }
        },
        each_round: nothing,
    };
    let (_, outcome) = outcome(&wrong);
    assert!(
        outcome
            .waves
            .iter()
            .all(|w| matches!(w, GoldState::Void | GoldState::Counted { voided: 1.. })),
        "{:?}",
        outcome.waves
    );
    assert!(outcome.money.bond_shares.0 > 0, "{:?}", outcome.money);
}
