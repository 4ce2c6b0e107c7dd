//! What other contracts can be shown from a header: who gets which part of a bonus, and what a labeler's evidence is.

use std::collections::BTreeMap;

use assay_protocol::{
    amount::Amount,
    codec,
    core::Family,
    id::{Account, Hash, TaskId},
    lane::{Bonus, Evidence, FlatFile, FlatPay, FlatPayouts, LaneState, state_root},
    task::CancelReason,
};
use proptest::prelude::*;

use crate::{golden::header, village::Village};

fn village(labelers: usize) -> Village {
    let mut v = Village::new(3, labelers, 0);
    // The third labeler always says 0 and the others are right.
    v.answers = |item, labeler| if labeler == 6 { 0 } else { (item % 3) as u16 };
    v.run(3, |_| false);
    v.publish(60, |_| {});
    v
}

fn settled(v: &Village) -> bool {
    (0..3).all(|i| v.outcome(i).is_some())
}

fn on_disk<T: serde::Serialize + serde::de::DeserializeOwned>(v: &Village, family: Family) -> T {
    let bytes = &v.people[0].disk[&(family, 0u32.to_be_bytes().to_vec())];
    codec::decode(bytes, usize::MAX).unwrap()
}

fn flat_file(v: &Village) -> FlatFile {
    on_disk(v, Family::Flat)
}

/// Adds up by payee; nobody without anything.
fn by_payee(pays: impl IntoIterator<Item = (Account, Amount)>) -> Vec<(Account, Amount)> {
    let mut sums: BTreeMap<Account, u128> = BTreeMap::new();
    for (payee, pay) in pays {
        *sums.entry(payee).or_default() += pay.0;
    }
    let sums = sums.into_iter().filter(|(_, sum)| *sum > 0);
    sums.map(|(payee, sum)| (payee, Amount(sum))).collect()
}

#[test]
fn a_bonus_is_shared_by_what_labels_earned_and_the_rest_is_the_clients() {
    let mut v = village(6);
    assert!(v.run(200, settled), "{:?}", v.call_errors);
    let outcome = v.outcome(0).unwrap();
    let proof = outcome.bonus.as_ref().unwrap();
    assert!(proof.is_valid());
    assert!(v.people[0].headers.contains(&proof.header));
    let client = v.account(v.client());
    let bonus = &proof.bonus;
    // The labelers' part of it is what shares the income of the data set; the client's is not.
    let contributors = outcome.contributors().unwrap();
    assert_eq!(contributors.shares().total_weight, outcome.money.paid);
    let paid = outcome.labelers.iter().filter(|l| l.earned.0 > 0);
    for (index, labeler) in paid.enumerate() {
        let claim = contributors.claim(index).unwrap();
        assert_eq!(
            (claim.payee, claim.weight),
            (labeler.account, labeler.earned)
        );
    }
    assert_eq!(
        (bonus.task, bonus.client, bonus.scored),
        (outcome.task, client, true)
    );

    let state: LaneState = on_disk(&v, Family::Snapshot);
    let budget = v.manifest(60, |_| {}).0.label_budget().unwrap();
    let rest = Amount(budget.0 - outcome.money.paid.0);
    let earned = outcome.labelers.iter();
    let earned = earned.map(|l| (state.payee_of(&l.account), l.earned));
    let due = by_payee(earned.chain([(state.payee_of(&client), rest)]));
    assert_eq!(bonus.weights, due);
    assert!(outcome.labelers.iter().any(|l| l.earned == Amount::ZERO));
    assert!(due.len() > 4, "labelers and the client have parts");

    let shares = bonus.tree().unwrap().shares();
    assert_eq!(shares.total_weight, budget);
    for (payee, weight) in &due {
        let claim = proof.claim(payee).unwrap();
        assert_eq!(claim.weight, *weight);
        assert!(shares.holds(&claim));
    }
    assert_eq!(proof.claim(&Account([0xee; 20])), None);

    let mut forged = proof.clone();
    forged.bonus.weights[0].1 = Amount(forged.bonus.weights[0].1.0 + 1);
    assert!(!forged.is_valid());
    let mut forged = proof.clone();
    forged.bonus.client = Account([0xee; 20]);
    assert!(!forged.is_valid());
    let mut forged = proof.clone();
    forged.bonus.scored = false;
    assert!(!forged.is_valid());
    let mut forged = proof.clone();
    forged.bonus.weights.clear();
    assert!(!forged.is_valid());
}

#[test]
fn a_cancelled_tasks_bonus_goes_back_to_its_client() {
    let mut v = village(2);
    assert!(v.run(80, settled));
    let outcome = v.outcome(0).unwrap();
    assert_eq!(outcome.cancelled, Some(CancelReason::TooFewLabelers));
    let proof = outcome.bonus.as_ref().unwrap();
    assert!(proof.is_valid() && proof.bonus.scored);
    let state: LaneState = on_disk(&v, Family::Snapshot);
    let payee = state.payee_of(&v.account(v.client()));
    assert_eq!(proof.bonus.weights, [(payee, outcome.money.deposit)]);
}

#[test]
fn an_open_task_shares_its_bonus_at_the_flat_rate_until_it_is_settled() {
    let mut v = village(6);
    assert!(v.run(50, |v| !v.people[0].headers.is_empty()));
    assert!(
        flat_file(&v).payouts.bonuses.is_empty(),
        "nothing is accepted yet"
    );
    assert!(v.run(200, |v| !flat_file(v).payouts.pays.is_empty()));
    let file = flat_file(&v);
    let header = v.people[0].headers.last().unwrap();
    assert_eq!(file.header, *header);
    let client = v.account(v.client());
    let task = file.payouts.pays[0].task;
    let fallback = file.fallback(&task, &client);
    let proof = fallback.bonus.unwrap();
    assert!(!proof.bonus.scored && proof.is_valid());
    assert_eq!((&proof.header, proof.bonus.task), (header, task));
    assert_eq!(file.fallback(&task, &Account([0xee; 20])).bonus, None);

    let state: LaneState = on_disk(&v, Family::Snapshot);
    let budget = v.manifest(60, |_| {}).0.label_budget().unwrap();
    let pays = || file.payouts.pays.iter().map(|p| (p.payee, p.amount));
    let worth: Amount = pays().map(|p| p.1).sum();
    let rest = (state.payee_of(&client), Amount(budget.0 - worth.0));
    assert_eq!(proof.bonus.weights, by_payee(pays().chain([rest])));
    // The same tree still pays the main reward.
    assert_eq!(fallback.claims.len(), pays().count());
    for claim in fallback.claims {
        assert!(claim.is_valid(&header.state_root));
    }

    assert!(v.run(200, settled), "{:?}", v.call_errors);
    let later = flat_file(&v).payouts;
    assert!(later.pays.is_empty());
    assert!(later.bonuses.iter().all(|b| b.scored));
}

#[test]
fn a_settled_task_leaves_evidence_that_the_lanes_header_proves() {
    let mut v = village(6);
    assert!(v.run(200, settled), "{:?}", v.call_errors);
    let state: LaneState = on_disk(&v, Family::Snapshot);
    let root = v.people[0].headers.last().unwrap().reputation_root;
    let domain = LaneState::domain("class");
    let good = v.account(4);
    let proof = state.reputation_proof(&good, &domain).unwrap();
    assert!(proof.evidence.alpha_milli > 0);
    assert!(proof.is_valid(&root));
    assert_eq!(state.reputation_proof(&good, &Hash::ZERO), None);
    assert_eq!(state.reputation_proof(&Account([0xee; 20]), &domain), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_line_of_evidence_proves_itself_and_only_as_it_is(
        of in prop::collection::btree_map((any::<u8>(), 0u8..3), (any::<u32>(), any::<u32>()), 1..40),
        at in any::<prop::sample::Index>(),
    ) {
        let mut state = LaneState::genesis(0);
        for ((account, domain), (alpha_milli, beta_milli)) in &of {
            let evidence = Evidence { alpha_milli: *alpha_milli, beta_milli: *beta_milli };
            state.evidence.insert((Account([*account; 20]), Hash([*domain; 32])), evidence);
        }
        let root = state.reputation_root();
        let (account, domain) = *state.evidence.keys().nth(at.index(of.len())).unwrap();
        let proof = state.reputation_proof(&account, &domain).unwrap();
        prop_assert!(proof.is_valid(&root));
        let mut forged = proof.clone();
        forged.evidence.alpha_milli ^= 1;
        prop_assert!(!forged.is_valid(&root));
        let mut forged = proof.clone();
        forged.evidence.beta_milli ^= 1;
        prop_assert!(!forged.is_valid(&root));
        let mut forged = proof.clone();
        forged.account = Account([account.0[0] ^ 1; 20]);
        prop_assert!(!forged.is_valid(&root));
        let mut forged = proof.clone();
        forged.domain = Hash([9; 32]);
        prop_assert!(!forged.is_valid(&root));
        let mut forged = proof;
        forged.index ^= 1;
        prop_assert!(!forged.is_valid(&root));
    }

    #[test]
    fn flat_payouts_and_bonuses_of_one_file_prove_themselves_in_one_tree(
        pays in prop::collection::vec((any::<u8>(), any::<u8>(), 1u64..), 0..20),
        bonuses in prop::collection::btree_map(any::<u8>(), (any::<bool>(), 1u64.., any::<u32>()), 1..20),
    ) {
        let client = Account([0xcc; 20]);
        let amount = |a: u64| Amount(u128::from(a));
        let pay = |(task, payee, worth): &(u8, u8, u64)| FlatPay {
            task: TaskId([*task; 32]),
            client,
            payee: Account([*payee; 20]),
            amount: amount(*worth),
        };
        let bonus = |task: u8, (scored, one, two): &(bool, u64, u32)| Bonus {
            task: TaskId([task; 32]),
            client,
            scored: *scored,
            weights: vec![(Account([1; 20]), amount(*one)), (client, amount(u64::from(*two) + 1))],
        };
        let mut file = FlatFile {
            header: header(),
            payouts: FlatPayouts {
                state: Hash([7; 32]),
                pays: pays.iter().map(pay).collect(),
                bonuses: bonuses.iter().map(|(task, of)| bonus(*task, of)).collect(),
            },
        };
        let root = state_root(&file.payouts.state, &file.payouts.flat_root());
        file.header.state_root = root;
        let (mut claims, mut splits) = (0, 0);
        for task in 0..=255 {
            let fallback = file.fallback(&TaskId([task; 32]), &client);
            for claim in fallback.claims {
                prop_assert!(claim.is_valid(&root));
                claims += 1;
            }
            if let Some(proof) = fallback.bonus {
                prop_assert!(proof.is_valid());
                let mut forged = proof;
                forged.state = Hash([8; 32]);
                prop_assert!(!forged.is_valid());
                splits += 1;
            }
        }
        prop_assert_eq!(claims, pays.len());
        prop_assert_eq!(splits, bonuses.len());
    }
}
