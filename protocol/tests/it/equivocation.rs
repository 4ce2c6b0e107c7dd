//! Members who sign two headers for one view: found by whoever sees both, and punished on the chain.

use assay_protocol::{
    amount::Amount,
    core::Notice,
    id::{Account, EvmSignature, Hash},
    message::{EpochBody, EpochHeader, Request, Response},
};

use super::village::{DISPUTES, STAKE, Village};

const MEMBERS: usize = 4;
const VALIDATORS: usize = MEMBERS + 1;

fn village() -> Village {
    let mut v = Village::with_outsiders(MEMBERS, 1, 9, 0);
    v.answers = |item, _| (item % 3) as u16;
    v.run(3, |_| false);
    v
}

fn leaving(v: &Village, i: usize) -> bool {
    !v.live(0).accounts[&v.account(i)].can(assay_protocol::lane::role::VALIDATOR)
}

/// Who told its people of whom.
fn accusations(v: &Village) -> Vec<(usize, Account)> {
    let told = v.people.iter().enumerate().flat_map(|(i, p)| {
        p.notices.iter().filter_map(move |notice| match notice {
            Notice::DoubleSigned { account, .. } => Some((i, *account)),
            _ => None,
        })
    });
    told.collect()
}

fn tokens(v: &Village) -> Amount {
    v.ledger.balances().map(|b| *b.1).sum()
}

/// What one member loses: half goes to the reporter and half is burned, so balances grow by it.
fn one_slash() -> u128 {
    STAKE.0 * u128::from(DISPUTES.slash_bps) / 10_000
}

/// A header for the next epoch that its records would not give, with what it is said to be made of.
fn proposal(v: &Village, view: u32, owed: u128) -> (EpochBody, EpochHeader) {
    let live = v.live(0);
    let block = live.block;
    let body = EpochBody {
        lane: 0,
        epoch: live.epoch + 1,
        view,
        block,
        records: vec![],
    };
    let header = EpochHeader {
        epoch: body.epoch,
        view,
        term: live.committee.as_ref().unwrap().term,
        parent: live.head,
        chain_block: block.number,
        chain_block_hash: block.hash,
        state_root: Hash([1; 32]),
        total_owed: Amount(owed),
        ..EpochHeader::default()
    };
    (body, header)
}

/// Member `from` shows a header to member `to`, signed by `signer`; gives why it was refused.
fn show(
    v: &mut Village,
    from: usize,
    to: usize,
    signer: usize,
    (body, header): (EpochBody, EpochHeader),
) -> String {
    let signature = v.people[signer]
        .evm
        .sign(&header.signing_digest(&v.profile));
    let from = v.people[from].node.public();
    let request = Request::Propose {
        body,
        header,
        signature,
    };
    match v.ask(from, to, &request) {
        Some(Response::Refused { why, .. }) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_leader_who_shows_one_member_another_header_than_the_posted_one_pays_and_the_epoch_stays() {
    let mut v = village();
    // Whenever the first leads, the fourth sees another header than the rest.
    v.two_faced.insert((0, 3));
    let before = tokens(&v);
    v.publish(60, |_| {});
    assert!(
        v.run(200, |v| (0..VALIDATORS).all(|i| v.outcome(i).is_some())),
        "{:?}",
        v.call_errors
    );
    let outcome = v.outcome(4).unwrap();
    assert!(outcome.cancelled.is_none() && outcome.money.is_conserved());
    let locked = Amount(outcome.money.deposit.0 + outcome.money.gold_bond.0);
    v.run(5, |_| false);
    assert!(leaving(&v, 0), "the two-faced member is out");
    assert!((1..VALIDATORS).all(|i| !leaving(&v, i)), "and nobody else");
    let told = accusations(&v);
    assert!(told.iter().all(|t| *t == (3, v.account(0))), "{told:?}");
    v.mine(DISPUTES.activation_delay);
    let paid: Amount = v.claim_all(4).values().copied().sum();
    assert_eq!(paid, locked, "what was posted is paid in full");
    // It may have led more than one epoch before it left the committee.
    let lost = tokens(&v).0 - before.0;
    assert!(lost > 0 && lost.is_multiple_of(one_slash()), "{lost}");
}

#[test]
fn two_signed_proposals_for_one_view_convict_without_an_epoch() {
    let mut v = village();
    let before = tokens(&v);
    let (first, second) = (proposal(&v, 0, 1), proposal(&v, 0, 2));
    show(&mut v, 0, 1, 0, first);
    show(&mut v, 0, 1, 0, second.clone());
    // Shown again it is not reported again.
    show(&mut v, 0, 1, 0, second);
    v.run(2, |_| false);
    assert_eq!(v.call_errors, [] as [String; 0]);
    assert!(leaving(&v, 0) && (1..VALIDATORS).all(|i| !leaving(&v, i)));
    assert_eq!(tokens(&v).0 - before.0, one_slash());
    assert_eq!(accusations(&v), [(1, v.account(0))]);
}

#[test]
fn headers_of_other_views_or_terms_or_shown_twice_accuse_nobody() {
    let mut v = village();
    let old_term = |mut p: (EpochBody, EpochHeader)| {
        p.1.term -= 1;
        p
    };
    for shown in [
        proposal(&v, 0, 1),
        proposal(&v, 0, 1),
        proposal(&v, 1, 2),
        proposal(&v, 2, 3),
        old_term(proposal(&v, 0, 4)),
        // Too far ahead to be kept.
        proposal(&v, 1_000, 5),
        proposal(&v, 1_000, 6),
    ] {
        show(&mut v, 0, 1, 0, shown);
    }
    // Another member's header for the same view is its own.
    let others = proposal(&v, 0, 7);
    show(&mut v, 2, 1, 2, others);
    v.run(2, |_| false);
    assert!((0..VALIDATORS).all(|i| !leaving(&v, i)));
    assert_eq!(accusations(&v), []);
}

#[test]
fn a_proposal_counts_only_with_the_signature_of_the_member_that_sent_it() {
    let mut v = village();
    let shown = proposal(&v, 0, 1);
    assert!(show(&mut v, 0, 1, 2, shown).contains("proposer's signature"));
    // Nobody can be framed: these headers carry the signature of another member, or of none.
    let shown = proposal(&v, 0, 2);
    assert!(show(&mut v, 2, 1, 0, shown).contains("proposer's signature"));
    let (body, header) = proposal(&v, 0, 3);
    let from = v.people[0].node.public();
    let forged = Request::Propose {
        body,
        header,
        signature: EvmSignature([7; 64]),
    };
    assert!(matches!(
        v.ask(from, 1, &forged),
        Some(Response::Refused { .. })
    ));
    v.run(2, |_| false);
    assert!((0..VALIDATORS).all(|i| !leaving(&v, i)));
    assert_eq!(accusations(&v), []);
}
