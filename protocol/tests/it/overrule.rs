//! Epochs that their records do not give, signed by the whole committee: taken back by the rest of the registry, or not.

use std::collections::BTreeSet;

use assay_protocol::{
    amount::Amount,
    crypto::EvmKey,
    id::{Account, EvmSignature, Hash},
    message::EpochHeader,
    settlement::LedgerError,
};

use super::village::{DISPUTES, STAKE, Village};

/// Members of the first committee and validators beside it; the members are less than half.
const MEMBERS: usize = 3;
const OUTSIDERS: usize = 4;
const VALIDATORS: usize = MEMBERS + OUTSIDERS;

fn crowd(item: u32, labeler: usize) -> u16 {
    let right = (item % 3) as u16;
    let wrong = (item as usize * 31 + labeler * 17).is_multiple_of(11);
    if wrong { (right + 1) % 3 } else { right }
}

/// A village in which the committee has just posted a settlement that its records do not give.
fn robbed(served: bool) -> Village {
    let mut v = Village::with_outsiders(MEMBERS, OUTSIDERS, 9, 0);
    v.answers = crowd;
    v.run(3, |_| false);
    v.publish(150, |_| {});
    v.wicked = Some(Hash([0xee; 32]));
    v.served = served;
    v.alarms = Some(vec![]);
    assert!(v.run(200, |v| v.wicked.is_none()), "nothing was settled");
    assert_eq!(seats(&v), (0..MEMBERS).collect());
    v
}

fn seats(v: &Village) -> BTreeSet<usize> {
    v.committee().into_iter().collect()
}

/// What the members lose together for signing it.
fn stakes_lost() -> Amount {
    Amount(MEMBERS as u128 * STAKE.0 * u128::from(DISPUTES.slash_bps) / 10_000)
}

/// The next committee settles the task with the money that moved with the wrong epoch, and everybody is paid.
fn settled_again(v: &mut Village, epoch: u64) {
    let moved = v.ledger.released(0);
    let supply = v.ledger.supply();
    let outsiders = MEMBERS..VALIDATORS;
    let done = v.run(200, |v| outsiders.clone().all(|i| v.outcome(i).is_some()));
    assert!(done, "{:?}", v.call_errors);
    assert_eq!(seats(v), outsiders.collect());
    assert_eq!(v.ledger.epoch(0), epoch);
    assert_eq!(v.ledger.released(0), moved, "no money moved twice");
    let outcome = v.outcome(MEMBERS).unwrap();
    assert!(outcome.cancelled.is_none() && outcome.money.is_conserved());
    let locked = Amount(outcome.money.deposit.0 + outcome.money.gold_bond.0);
    assert_eq!(locked, moved.released);
    assert!(v.claim_all(MEMBERS).is_empty(), "the root waits");
    v.mine(DISPUTES.activation_delay);
    let paid: Amount = v.claim_all(MEMBERS).values().copied().sum();
    assert_eq!(paid, locked);
    assert_eq!(v.ledger.supply(), supply);
}

#[test]
fn an_epoch_that_its_records_do_not_give_is_taken_back_and_settled_again() {
    let mut v = robbed(true);
    let epoch = v.ledger.epoch(0);
    let before: Amount = v.ledger.balances().map(|b| *b.1).sum();
    assert!(
        v.run(40, |v| v.ledger.epoch(0) < epoch),
        "{:?}",
        v.call_errors
    );
    let after: Amount = v.ledger.balances().map(|b| *b.1).sum();
    // Half to the reporter, half burned. The leader had shown the others the right header for the same view: that is a second offence,
    // which takes the same part of what is left.
    let kept = 10_000 - u128::from(DISPUTES.slash_bps);
    let second = stakes_lost().0 / MEMBERS as u128 * kept / 10_000;
    assert_eq!(after.0 - before.0, stakes_lost().0 + second);
    let alarms = v.alarms.take().unwrap();
    assert!(
        alarms
            .iter()
            .all(|(_, text)| text.contains("does not follow from the records"))
    );
    assert!(
        (MEMBERS..VALIDATORS).all(|i| alarms.iter().any(|a| a.0 == i)),
        "{alarms:?}"
    );
    settled_again(&mut v, epoch);
}

#[test]
fn an_epoch_whose_records_nobody_hands_out_is_taken_back_after_the_notice() {
    let mut v = robbed(false);
    let epoch = v.ledger.epoch(0);
    for i in 0..MEMBERS {
        v.down.insert(i);
    }
    // A round takes a second.
    let notice = v.profile.params.overrule_secs as usize;
    assert!(
        !v.run(notice - 1, |v| v.ledger.epoch(0) < epoch),
        "too early"
    );
    assert!(
        v.run(40, |v| v.ledger.epoch(0) < epoch),
        "{:?}",
        v.call_errors
    );
    // What the members promised to take in is gone with them; the others settle with what was delivered to them or anchored.
    let alarms = v.alarms.take().unwrap();
    assert!((MEMBERS..VALIDATORS).all(|i| alarms.iter().filter(|a| a.0 == i).count() == 1));
    assert!(
        alarms
            .iter()
            .all(|(_, text)| text.contains("nobody has handed out")),
        "{alarms:?}"
    );
}

#[test]
fn validators_who_are_half_of_the_weight_take_nothing_back() {
    let mut v = robbed(true);
    let epoch = v.ledger.epoch(0);
    // One outsider and the members are gone: three of seven are left.
    for i in (0..MEMBERS).chain([MEMBERS]) {
        v.down.insert(i);
    }
    assert!(!v.run(100, |v| v.ledger.epoch(0) < epoch));
    assert!(
        v.call_errors
            .iter()
            .all(|e| e.contains("more than half is needed")),
        "{:?}",
        v.call_errors
    );
    assert_eq!(v.ledger.epoch(0), epoch);
}

#[test]
fn nobody_asks_for_an_honest_epoch_to_be_taken_back() {
    let mut v = Village::with_outsiders(MEMBERS, OUTSIDERS, 9, 0);
    v.answers = crowd;
    v.run(3, |_| false);
    v.publish(150, |_| {});
    let all = 0..VALIDATORS + 10;
    assert!(v.run(200, |v| all.clone().all(|i| v.outcome(i).is_some())));
    // Long after the last one, with a node that knows nothing and has to fetch everything.
    v.mine(u64::from(v.profile.params.overrule_secs) + 1);
    v.kill(VALIDATORS - 1);
    v.people[VALIDATORS - 1].disk.clear();
    v.down.remove(&(VALIDATORS - 1));
    v.start(VALIDATORS - 1);
    assert!(v.run(100, |v| v.outcome(VALIDATORS - 1).is_some()));
    assert_eq!(v.call_errors, [] as [String; 0]);
}

fn votes(
    v: &Village,
    header: &Hash,
    of: impl Iterator<Item = usize>,
) -> Vec<(Account, EvmSignature)> {
    let digest = EpochHeader::overrule_digest(header, &v.profile);
    let sign = |key: &EvmKey| (key.account(), key.sign(&digest));
    let mut votes: Vec<_> = of.map(|i| sign(&v.people[i].evm)).collect();
    votes.sort_by_key(|v| v.0);
    votes
}

#[test]
fn the_twin_takes_a_header_back_exactly_as_the_contract_does() {
    let v = robbed(false);
    let header = v.last_posted();
    let hash = header.hash();
    let reporter = Account([0x77; 20]);
    let accused = v.ledger.evidence(&header, reporter).unwrap();
    let refused = |votes: &[(Account, EvmSignature)]| {
        let mut ledger = v.ledger.clone();
        let error = ledger.overrule(&accused, votes).unwrap_err();
        assert_eq!(ledger.epoch(0), header.epoch);
        error
    };
    let half = votes(&v, &hash, 0..3);
    let all = Amount(VALIDATORS as u128 * STAKE.0);
    let given = Amount(3 * STAKE.0);
    assert_eq!(refused(&half), LedgerError::Votes { given, all });
    let twice: Vec<_> = votes(&v, &hash, 0..3)
        .into_iter()
        .flat_map(|v| [v, v])
        .collect();
    assert!(matches!(refused(&twice), LedgerError::Votes { .. }));
    let other = votes(&v, &Hash([1; 32]), 0..VALIDATORS);
    assert!(matches!(refused(&other), LedgerError::Votes { .. }));
    // The client and the labelers are registered and have no weight.
    let people = votes(&v, &hash, VALIDATORS..v.people.len());
    let nothing = Amount::ZERO;
    assert_eq!(
        refused(&people),
        LedgerError::Votes {
            given: nothing,
            all
        }
    );
    let mut late = v.ledger.clone();
    late.begin(u64::MAX);
    let most = votes(&v, &hash, MEMBERS..VALIDATORS);
    let error = late.overrule(&accused, &most);
    assert!(matches!(error, Err(LedgerError::Header(_))));
    let mut ledger = v.ledger.clone();
    ledger.overrule(&accused, &most).unwrap();
    assert_eq!(ledger.epoch(0), header.epoch - 1);
    assert_eq!(ledger.supply(), v.ledger.supply());
    let half = Amount(stakes_lost().0 / 2);
    assert_eq!(ledger.balance(&reporter), half);
    let again = ledger.overrule(&accused, &most);
    assert!(matches!(again, Err(LedgerError::Header(_))));
}
