//! Headers whose trees show a fault: one honest node takes them back, without any vote.

use assay_protocol::{amount::Amount, id::Hash};

use super::village::{DISPUTES, STAKE, Village};

const MEMBERS: usize = 3;
const OUTSIDERS: usize = 4;
const LABELERS: usize = 9;

/// A village in which the committee has just posted a settlement without an audit tree, and hands out nothing of it.
fn robbed() -> Village {
    let mut v = Village::with_outsiders(MEMBERS, OUTSIDERS, LABELERS, 0);
    v.answers = |item, _| (item % 3) as u16;
    v.run(3, |_| false);
    v.publish(150, |_| {});
    v.wicked = Some(Hash::ZERO);
    v.alarms = Some(vec![]);
    assert!(v.run(200, |v| v.wicked.is_none()), "nothing was settled");
    v
}

/// Everybody but one goes to sleep, and that one takes the epoch back.
fn taken_back_by(only: usize) {
    let mut v = robbed();
    let epoch = v.ledger.epoch(0);
    v.leave_awake(only);
    let account = v.account(only);
    let before = v.ledger.balance(&account);
    assert!(
        v.run(60, |v| v.ledger.epoch(0) < epoch),
        "{:?}",
        v.call_errors
    );
    let slash = MEMBERS as u128 * (STAKE.0 * u128::from(DISPUTES.slash_bps) / 10_000 / 2);
    let after = v.ledger.balance(&account);
    assert_eq!(after, Amount(before.0 + slash), "half goes to the reporter");
    // Told once, and no second transaction for the same header.
    v.run(20, |_| false);
    assert!(v.call_errors.is_empty(), "{:?}", v.call_errors);
    let alarms = v.alarms.take().unwrap();
    let told = |(i, text): &&(usize, String)| *i == only && text.contains("has no audit tree");
    assert_eq!(alarms.iter().filter(told).count(), 1, "{alarms:?}");
}

#[test]
fn one_validator_who_is_awake_proves_a_header_without_an_audit_tree() {
    taken_back_by(MEMBERS + OUTSIDERS - 1);
}

#[test]
fn a_labeler_proves_it_when_all_validators_sleep() {
    // The client stands between validators and labelers.
    taken_back_by(MEMBERS + OUTSIDERS + 1);
}
