//! Money: conserved to the unit whatever people do, and the ledger twin refuses what the contracts refuse.

use assay_protocol::{
    amount::Amount,
    consensus::{PayRule, pay},
    crypto::{EvmKey, hash},
    id::{Account, EvmSignature, Hash, TaskId},
    lane::PayoutFile,
    message::{EpochHeader, SettledTask},
    settlement::LedgerError,
    task::Reason,
};
use proptest::prelude::*;

use crate::village::{Village, keys};

fn run(answers: fn(u32, usize) -> u16, edit: impl FnOnce(&mut Village)) -> Village {
    let mut v = Village::new(3, 9, 0);
    v.answers = answers;
    v.run(3, |_| false);
    edit(&mut v);
    v.publish(150, |_| {});
    assert!(
        v.run(200, |v| (0..3).all(|i| v.outcome(i).is_some())),
        "{:?}",
        v.call_errors
    );
    v
}

/// Labelers 4 to 9 are right; 10 always says 0; 11 and 12 give one made-up answer sheet.
fn crowd(item: u32, labeler: usize) -> u16 {
    match labeler {
        10 => 0,
        11 | 12 => u16::from(hash("sheet", &[&item.to_be_bytes()]).0[0] % 3),
        _ => (item % 3) as u16,
    }
}

#[test]
fn spammers_and_copiers_earn_nothing_and_honest_labelers_are_paid_in_full() {
    let v = run(crowd, |_| {});
    let outcome = v.outcome(0).unwrap();
    let (mut net, mut full) = (0i128, 0i128);
    for i in 4..=12 {
        let account = v.account(i);
        let line = outcome
            .labelers
            .iter()
            .find(|l| l.account == account)
            .unwrap();
        if i < 10 {
            assert_eq!(
                line.reason,
                Reason::FullSkill,
                "honest labeler {i}: {line:?}"
            );
            assert_eq!(line.earned, Amount(u128::from(line.votes) * 1_000));
        } else {
            net += line.earned.0 as i128 - line.lost.0 as i128;
            full += i128::from(line.votes) * 1_000;
        }
    }
    // Zero in expectation; a sample of some hundred answers scatters a little around it.
    assert!(
        net * 10 <= full,
        "the three bad labelers earn {net} of {full}"
    );
    assert!(outcome.money.is_conserved());
}

/// As [`crowd`], but 10 to 12 are lucky in the first wave (items below 112) and guess in the second.
fn fading(item: u32, labeler: usize) -> u16 {
    let roll = hash("own", &[&item.to_be_bytes(), &labeler.to_be_bytes()]).0;
    match labeler {
        10..=12 if item >= 112 || roll[0] > 100 => u16::from(roll[1] % 3),
        _ => (item % 3) as u16,
    }
}

/// A wave that was paid by what was known then would pay luck, or a ring that only a later wave gives away.
#[test]
fn earnings_and_losses_follow_from_the_votes_and_the_skill_that_the_outcome_shows() {
    for answers in [crowd, fading] {
        let v = run(answers, |_| {});
        let outcome = v.outcome(0).unwrap();
        let rule = PayRule::with_price(1_000);
        for line in &outcome.labelers {
            let owed = pay(&rule, u64::from(line.votes), line.skill_ppm);
            let earned = if line.cluster.is_some() {
                0
            } else {
                owed.earned
            };
            assert_eq!(
                (line.earned.0, line.lost.0),
                (earned, owed.lost),
                "{line:?}"
            );
        }
    }
}

#[test]
fn escrow_payouts_fees_and_refund_add_up_in_the_ledger_twin() {
    let mut v = run(crowd, |_| {});
    let supply = v.ledger.supply();
    let outcome = v.outcome(0).unwrap().clone();
    let totals = v.ledger.released(0);
    let locked = Amount(outcome.money.deposit.0 + outcome.money.gold_bond.0);
    assert_eq!((totals.released, totals.owed), (locked, locked));
    let paid: Amount = v.claim_all(1).values().copied().sum();
    assert_eq!(paid, locked);
    assert_eq!(v.ledger.supply(), supply);
}

/// The whole committee posts a settlement that does not follow from the records. Once the chain has taken it back, the next committee settles the
/// same task with the money that has already moved.
#[test]
fn a_relayer_pays_every_payee_of_a_subtree_once_and_nobody_else() {
    let mut v = run(crowd, |_| {});
    let proofs = v.payout_file(5).proofs();
    let claim = proofs.subtree(0, 2).unwrap();
    let due: Amount = claim.leaves.iter().map(|l| l.1).sum();
    let supply = v.ledger.supply();
    // One of them has been paid before.
    v.ledger
        .claim(&proofs.claim(&claim.leaves[1].0).unwrap())
        .unwrap();
    let rest = Amount(due.0 - claim.leaves[1].1.0);
    assert_eq!(v.ledger.claim_subtree(&claim), Ok(rest));
    assert_eq!(v.ledger.claim_subtree(&claim), Ok(Amount::ZERO));
    assert_eq!(v.ledger.claimed(), due);
    assert_eq!(v.ledger.supply(), supply);
    let mut forged = claim.clone();
    forged.leaves[0].1 = Amount(forged.leaves[0].1.0 + 1);
    assert_eq!(v.ledger.claim_subtree(&forged), Err(LedgerError::Proof));
    // An inner node of the tree passed off as a tree of its own.
    let mut shallow = claim;
    shallow.proof.pop();
    assert_eq!(v.ledger.claim_subtree(&shallow), Err(LedgerError::Proof));
}

#[test]
fn a_claim_works_from_an_exported_proof_with_every_node_dead() {
    let mut v = run(crowd, |_| {});
    let mine = v.account(5);
    let exported = serde_json::to_string(&v.payout_file(5).proofs().claim(&mine).unwrap()).unwrap();
    for i in 0..v.people.len() {
        v.kill(i);
    }
    let claim = serde_json::from_str(&exported).unwrap();
    let before = v.ledger.balance(&mine);
    let paid = v.ledger.claim(&claim).unwrap();
    assert!(paid > Amount::ZERO);
    assert_eq!(v.ledger.balance(&mine).0, before.0 + paid.0);
    assert_eq!(v.ledger.claim(&claim), Err(LedgerError::NothingDue));
    let mut forged = claim;
    forged.total = Amount(forged.total.0 + 1);
    assert_eq!(v.ledger.claim(&forged), Err(LedgerError::Proof));
}

#[test]
fn a_top_up_after_the_epochs_block_cannot_stop_the_settlement() {
    let mut v = Village::new(3, 4, 0);
    v.run(3, |_| false);
    let task = v.publish(12, |_| {});
    let client = v.client();
    let account = v.account(client);
    for _ in 0..200 {
        if v.outcome(0).is_some() {
            break;
        }
        // Every round a hostile client pays one unit more.
        let _ = v.ledger.top_up(account, task, account, Amount(1));
        v.round();
    }
    assert!(v.outcome(0).is_some(), "{:?}", v.call_errors);
    assert!(v.outcome(0).unwrap().money.is_conserved());
}

#[test]
fn the_ledger_refuses_forged_quorums_foreign_blocks_and_unbalanced_books() {
    let mut v = Village::new(4, 3, 0);
    v.run(6, |_| false);
    let key = |i: usize| -> EvmKey { keys(i as u8, 0).1 };
    let mut order: Vec<(Account, usize)> = (0..4).map(|i| (v.account(i), i)).collect();
    order.sort();
    let block = v.blocks.last().unwrap().block;
    let header = EpochHeader {
        lane: 0,
        epoch: 1,
        view: 0,
        term: 1,
        parent: Hash::ZERO,
        chain_block: block.number,
        chain_block_hash: block.hash,
        records_root: Hash::ZERO,
        state_root: Hash::ZERO,
        payout_root: Hash::ZERO,
        audit_root: Hash::ZERO,
        payout_count: 0,
        loss_root: Hash::ZERO,
        reputation_root: Hash::ZERO,
        payout_file: Hash::ZERO,
        total_owed: Amount::ZERO,
        settled_hash: EpochHeader::hash_settled(&[]),
    };
    let profile = v.profile.clone();
    let sign = |header: &EpochHeader, places: &[u8]| -> Vec<(u8, EvmSignature)> {
        let digest = header.signing_digest(&profile);
        places
            .iter()
            .map(|p| (*p, key(order[usize::from(*p)].1).sign(&digest)))
            .collect()
    };
    let poster = v.account(0);
    let post = |header: &EpochHeader, settled: &[SettledTask], sigs: &[(u8, EvmSignature)]| {
        v.ledger
            .clone()
            .post_epoch(poster, header, settled, sigs)
            .map(|()| v.ledger.has_pending())
    };
    assert!(matches!(
        post(&header, &[], &sign(&header, &[0, 1])),
        Err(LedgerError::Quorum { .. })
    ));
    assert!(matches!(
        post(&header, &[], &sign(&header, &[0, 1, 1])),
        Err(LedgerError::Quorum { .. })
    ));
    let mut swapped = sign(&header, &[0, 1, 2]);
    swapped[2].0 = 3;
    assert!(matches!(
        post(&header, &[], &swapped),
        Err(LedgerError::Quorum { .. })
    ));
    let mut stale = header.clone();
    stale.chain_block_hash = Hash([1; 32]);
    assert!(matches!(
        post(&stale, &[], &sign(&stale, &[0, 1, 2])),
        Err(LedgerError::Header(_))
    ));
    let mut second = header.clone();
    second.epoch = 2;
    assert!(matches!(
        post(&second, &[], &sign(&second, &[0, 1, 2])),
        Err(LedgerError::Header(_))
    ));
    let mut greedy = header.clone();
    greedy.total_owed = Amount(1);
    assert!(matches!(
        post(&greedy, &[], &sign(&greedy, &[0, 1, 2])),
        Err(LedgerError::NotConserved { .. })
    ));
    let settled = [SettledTask {
        task: TaskId([1; 32]),
        client: poster,
    }];
    let mut foreign = header.clone();
    foreign.settled_hash = EpochHeader::hash_settled(&settled);
    assert!(matches!(
        post(&foreign, &settled, &sign(&foreign, &[0, 1, 2])),
        Err(LedgerError::Escrow(..))
    ));
    assert!(post(&header, &[], &sign(&header, &[0, 1, 2])).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_leaf_of_a_payout_file_proves_itself(amounts in proptest::collection::vec(1u128..1 << 90, 1..40)) {
        let leaves: Vec<(Account, Amount)> =
            amounts.iter().zip(0u8..).map(|(a, i)| (Account([i; 20]), Amount(*a))).collect();
        let file = PayoutFile { lane: 0, epoch: 1, leaves };
        let proofs = file.proofs();
        for (payee, total) in &proofs.file().leaves {
            let claim = proofs.claim(payee).unwrap();
            prop_assert!(claim.is_valid());
            let mut more = claim.clone();
            more.total = Amount(total.0 + 1);
            prop_assert!(!more.is_valid());
            let mut other = claim;
            other.payee = Account([0xff; 20]);
            prop_assert!(!other.is_valid());
        }
    }
}
