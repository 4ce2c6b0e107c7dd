//! Right pairs of trees show no fault; every change of one that a corrupt quorum signs does.

use proptest::prelude::*;

use super::*;

/// What a quorum signs, and what stood before it.
#[derive(Clone, Debug)]
struct Signed {
    parent: EpochHeader,
    older: Vec<Place<Payout>>,
    header: EpochHeader,
    payouts: Vec<Place<Payout>>,
    audits: Vec<Place<Audit>>,
}

fn header(epoch: u64, parent: Hash) -> EpochHeader {
    EpochHeader {
        lane: 1,
        epoch,
        term: 1,
        parent,
        chain_block: epoch,
        chain_block_hash: Hash([1; 32]),
        ..EpochHeader::default()
    }
}

fn row(leaves: &[(Account, u128)]) -> Vec<Place<Payout>> {
    let place = |(payee, total): &(Account, u128)| {
        Place::Leaf(Payout {
            payee: *payee,
            total: Amount(*total),
        })
    };
    leaves.iter().map(place).collect()
}

fn payee(n: u32) -> Account {
    let mut account = [0; 20];
    account[..4].copy_from_slice(&n.to_be_bytes());
    Account(account)
}

impl Signed {
    /// A right pair of trees after another.
    fn right(older: &[(Account, u128)], leaves: &[(Account, u128)]) -> Self {
        let mut parent = header(6, Hash([9; 32]));
        let old = row(older);
        let sum = |leaves: &[(Account, u128)]| Amount(leaves.iter().map(|l| l.1).sum());
        parent.payout_count = older.len() as u32;
        parent.payout_root = merkle::root(nodes(&old, Payout::hash));
        parent.audit_root = merkle::root(nodes(&audit_of(&old), Audit::hash));
        parent.total_owed = sum(older);
        let mut signed = Self {
            header: header(7, parent.hash()),
            parent,
            older: old,
            payouts: row(leaves),
            audits: audit_of(&row(leaves)),
        };
        signed.header.payout_count = leaves.len() as u32;
        signed.header.total_owed = sum(leaves);
        signed.sign();
        signed
    }

    /// The header names the trees as they are laid out now.
    fn sign(&mut self) {
        self.header.payout_root = merkle::root(nodes(&self.payouts, Payout::hash));
        self.header.audit_root = merkle::root(nodes(&self.audits, Audit::hash));
    }

    /// Other payout leaves, with sums and number that fit them; what is owed in all stays, because the anchor compares it with the money.
    fn lay_out(&mut self, leaves: Vec<Place<Payout>>) {
        self.header.payout_count = leaves.len() as u32;
        self.audits = audit_of(&leaves);
        self.payouts = leaves;
    }

    fn find(&self) -> Result<Option<TreeFault>, LeavesError> {
        let parent = Some((&self.parent, self.older.as_slice()));
        find(&self.header, &self.payouts, Some(&self.audits), parent)
    }

    /// The fault that is found, which convicts this header and no right one.
    fn fault(&self) -> TreeFault {
        let fault = self.find().expect("the header's leaves").expect("a fault");
        assert!(fault.convicts(&self.header), "{fault:?}");
        fault
    }
}

/// Payees and what they are owed, in payee order.
type Owed = Vec<(Account, u128)>;

/// Payees of an epoch and of the one before it: whoever was owed something is owed that or more.
fn ledgers() -> impl Strategy<Value = (Owed, Owed)> {
    let payees = prop::collection::btree_map(any::<u32>(), (0u8..3, 1u64.., 0u64..), 1..40);
    payees.prop_map(|all| {
        let (mut older, mut leaves) = (Vec::new(), Vec::new());
        for (n, (kind, then, more)) in all {
            let (then, more) = (u128::from(then), u128::from(more));
            if kind > 0 {
                older.push((payee(n), then));
            }
            leaves.push((payee(n), then + more));
        }
        (older, leaves)
    })
}

/// One change of a right pair of trees.
#[derive(Clone, Copy, Debug)]
enum Change {
    Drop,
    DropAndOwe,
    Swap,
    Duplicate,
    Shrink,
    ShrinkAndGive,
    Before,
    Owed,
    PayoutHole,
    AuditHole,
    PayoutExtra,
    AuditExtra,
    NoAudit,
    OtherPayee,
    OtherTotal,
    Opaque,
    Longer,
    Shorter,
    Overflow,
}

const CHANGES: [Change; 19] = [
    Change::Drop,
    Change::DropAndOwe,
    Change::Swap,
    Change::Duplicate,
    Change::Shrink,
    Change::ShrinkAndGive,
    Change::Before,
    Change::Owed,
    Change::PayoutHole,
    Change::AuditHole,
    Change::PayoutExtra,
    Change::AuditExtra,
    Change::NoAudit,
    Change::OtherPayee,
    Change::OtherTotal,
    Change::Opaque,
    Change::Longer,
    Change::Shorter,
    Change::Overflow,
];

impl Change {
    /// Whether the pair of trees admits the change, and it is a fault then that leaves can show.
    fn applies(self, signed: &Signed, older: &[(Account, u128)], at: usize) -> bool {
        let n = signed.payouts.len();
        let known =
            matches!(signed.payouts[at], Place::Leaf(l) if older.iter().any(|o| o.0 == l.payee));
        let (deep, full) = (n > 1 && (n - 1).is_power_of_two(), n.is_power_of_two());
        match self {
            Self::Drop | Self::DropAndOwe | Self::Swap | Self::ShrinkAndGive if n == 1 => false,
            // The chain refuses a zero root for money that is owed.
            Self::PayoutHole if n == 1 => false,
            Self::DropAndOwe | Self::ShrinkAndGive => known,
            // In a tree of another depth no proof reaches a leaf.
            Self::Longer | Self::AuditExtra => !full,
            Self::Shorter => n > 1 && !deep,
            _ => true,
        }
    }

    fn make(self, signed: &mut Signed, older: &[(Account, u128)], at: usize, by: u64) {
        let by = u128::from(by) + 1;
        let n = signed.payouts.len();
        let mut leaves = signed.payouts.clone();
        let Place::Leaf(here) = leaves[at] else {
            unreachable!("right trees hold leaves")
        };
        let mut audit = Audit {
            payout: here,
            before: match signed.audits[at] {
                Place::Leaf(leaf) => leaf.before,
                _ => unreachable!("right trees hold leaves"),
            },
        };
        let total = |total: u128| {
            Place::Leaf(Payout {
                total: Amount(total),
                ..here
            })
        };
        match self {
            Self::Drop | Self::DropAndOwe => {
                leaves.remove(at);
                signed.lay_out(leaves);
                if matches!(self, Self::DropAndOwe) {
                    signed.header.total_owed.0 -= here.total.0;
                }
            }
            Self::Swap => {
                leaves.swap(at, (at + 1) % n);
                signed.lay_out(leaves);
            }
            Self::Duplicate => {
                leaves.insert(at, leaves[at]);
                signed.lay_out(leaves);
            }
            Self::Shrink => {
                leaves[at] = total(here.total.0.saturating_sub(by));
                signed.lay_out(leaves);
            }
            Self::ShrinkAndGive => {
                let then = older.iter().find(|o| o.0 == here.payee).map_or(0, |o| o.1);
                let (next, loss) = ((at + 1) % n, here.total.0 - then + 1);
                leaves[at] = total(here.total.0 - loss);
                if let Place::Leaf(other) = &mut leaves[next] {
                    other.total.0 += loss;
                }
                signed.lay_out(leaves);
            }
            Self::Before => {
                audit.before.0 += by;
                signed.audits[at] = Place::Leaf(audit);
            }
            Self::Owed => signed.header.total_owed.0 += by,
            Self::PayoutHole => signed.payouts[at] = Place::Empty,
            Self::AuditHole => signed.audits[at] = Place::Empty,
            Self::PayoutExtra => signed.payouts.push(total(by)),
            Self::AuditExtra => signed.audits.push(Place::Leaf(audit)),
            Self::NoAudit => {}
            Self::OtherPayee => {
                audit.payout.payee.0[19] ^= 1;
                signed.audits[at] = Place::Leaf(audit);
            }
            Self::OtherTotal => {
                leaves[at] = total(here.total.0 + by);
                signed.payouts = leaves;
            }
            Self::Opaque => signed.payouts[at] = Place::Other(Hash([3; 32])),
            Self::Longer => signed.header.payout_count += 1,
            Self::Shorter => signed.header.payout_count -= 1,
            Self::Overflow => {
                audit.before = Amount(u128::MAX);
                signed.audits[at] = Place::Leaf(audit);
            }
        }
        signed.sign();
        if matches!(self, Self::NoAudit) {
            signed.header.audit_root = Hash::ZERO;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_right_pair_of_trees_shows_no_fault((older, leaves) in ledgers()) {
        let signed = Signed::right(&older, &leaves);
        prop_assert_eq!(signed.find(), Ok(None));
        let alone = find(&signed.header, &signed.payouts, None, None);
        prop_assert_eq!(alone, Ok(None));
    }

    #[test]
    fn every_single_change_that_a_quorum_signs_is_found(
        (older, leaves) in ledgers(),
        at in any::<prop::sample::Index>(),
        by: u64,
    ) {
        let right = Signed::right(&older, &leaves);
        let at = at.index(leaves.len());
        for change in CHANGES {
            if !change.applies(&right, &older, at) {
                continue;
            }
            let mut wrong = right.clone();
            change.make(&mut wrong, &older, at, by);
            let found = wrong.find();
            let Ok(Some(fault)) = &found else {
                return Err(TestCaseError::fail(format!("{change:?} at {at}: {found:?}")));
            };
            prop_assert!(fault.convicts(&wrong.header), "{:?} gave {:?}", change, fault);
            prop_assert!(!fault.convicts(&right.header), "{:?} gave {:?}", change, fault);
            prop_assert!(!fault.describe(|a| a.0.to_string()).is_empty());
        }
    }

    #[test]
    fn a_changed_proof_convicts_nobody(
        (older, leaves) in ledgers(),
        pick in prop::sample::select(CHANGES.to_vec()),
        at in any::<prop::sample::Index>(),
        by: u64,
    ) {
        let at = at.index(leaves.len());
        let mut wrong = Signed::right(&older, &leaves);
        prop_assume!(pick.applies(&wrong, &older, at));
        pick.make(&mut wrong, &older, at, by);
        let flip = |proof: &mut Vec<Hash>| proof.push(Hash::ZERO);
        let mut fault = wrong.fault();
        match &mut fault {
            TreeFault::Disorder { second, .. } => flip(&mut second.proof),
            TreeFault::Place { proof, .. } | TreeFault::Mismatch { proof, .. } => flip(proof),
            TreeFault::NoAudit => wrong.header.audit_root = Hash([1; 32]),
            TreeFault::Edge(leaf) => flip(&mut leaf.proof),
            TreeFault::Sum { first, .. } => flip(&mut first.proof),
            TreeFault::Shrunk { earlier, .. } => flip(&mut earlier.proof),
            TreeFault::Omitted { around, .. } => flip(&mut around[0].proof),
        }
        prop_assert!(!fault.convicts(&wrong.header));
    }

    #[test]
    fn leaves_and_headers_of_anybody_make_no_panic(
        rows in prop::collection::vec((0u8..4, any::<[u8; 20]>(), any::<u128>(), any::<u128>()), 0..20),
        count: u32,
        owed: u128,
        own_roots: bool,
    ) {
        let mut payouts = Vec::new();
        let mut audits = Vec::new();
        for (kind, payee, total, before) in rows {
            let payout = Payout { payee: Account(payee), total: Amount(total) };
            payouts.push(match kind {
                0 => Place::Empty,
                1 => Place::Other(Hash([kind; 32])),
                _ => Place::Leaf(payout),
            });
            audits.push(if kind == 3 { Place::Empty } else { Place::Leaf(Audit { payout, before: Amount(before) }) });
        }
        let mut accused = header(7, Hash::ZERO);
        accused.payout_count = count;
        accused.total_owed = Amount(owed);
        if own_roots {
            accused.payout_root = merkle::root(nodes(&payouts, Payout::hash));
            accused.audit_root = merkle::root(nodes(&audits, Audit::hash));
        }
        if let Ok(Some(fault)) = find(&accused, &payouts, Some(&audits), None) {
            prop_assert!(fault.convicts(&accused));
        }
    }
}

#[test]
fn leaves_of_another_tree_are_refused_by_name() {
    let signed = Signed::right(&[(payee(1), 4)], &[(payee(1), 5), (payee(2), 6)]);
    let other = Signed::right(&[(payee(1), 3)], &[(payee(1), 5), (payee(2), 7)]);
    let parent = Some((&signed.parent, signed.older.as_slice()));
    let given = |payouts, audits, parent| find(&signed.header, payouts, Some(audits), parent);
    assert_eq!(
        given(&other.payouts, &signed.audits, parent),
        Err(LeavesError::Root(Tree::Payout))
    );
    assert_eq!(
        given(&signed.payouts, &other.audits, parent),
        Err(LeavesError::Root(Tree::Audit))
    );
    assert_eq!(
        given(
            &signed.payouts,
            &signed.audits,
            Some((&signed.parent, &other.older))
        ),
        Err(LeavesError::Root(Tree::Parent))
    );
    assert_eq!(
        given(
            &signed.payouts,
            &signed.audits,
            Some((&other.parent, &other.older))
        ),
        Err(LeavesError::Parent)
    );
    assert_eq!(given(&signed.payouts, &signed.audits, parent), Ok(None));
}

#[test]
fn a_tree_with_too_few_levels_is_said_to_be_beyond_every_proof() {
    let mut signed = Signed::right(&[], &[(payee(1), 5), (payee(2), 6)]);
    signed.header.payout_count = 3;
    assert_eq!(
        signed.find(),
        Err(LeavesError::Shallow {
            tree: Tree::Payout,
            levels: 1,
            needed: 2
        })
    );
}

#[test]
fn pay_that_goes_to_another_newcomer_shows_in_no_leaf() {
    let mut signed = Signed::right(&[(payee(1), 5)], &[(payee(1), 5), (payee(2), 6)]);
    signed.lay_out(row(&[(payee(1), 5), (payee(3), 6)]));
    signed.sign();
    assert_eq!(signed.find(), Ok(None));
}

#[test]
fn without_the_audit_tree_the_payout_tree_still_shows_its_faults() {
    let mut signed = Signed::right(&[(payee(1), 5)], &[(payee(1), 5), (payee(2), 6)]);
    signed.lay_out(row(&[(payee(1), 4), (payee(2), 7)]));
    signed.sign();
    let parent = Some((&signed.parent, signed.older.as_slice()));
    let found = find(&signed.header, &signed.payouts, None, parent).unwrap();
    assert!(matches!(found, Some(TreeFault::Shrunk { .. })), "{found:?}");
}

#[test]
fn an_empty_tree_with_a_root_is_a_filled_place() {
    let mut accused = header(7, Hash::ZERO);
    accused.audit_root = Hash([4; 32]);
    let fault = find(&accused, &[], None, None).unwrap().expect("a fault");
    assert!(matches!(
        fault,
        TreeFault::Place {
            audit: true,
            index: 0,
            ..
        }
    ));
    assert!(fault.convicts(&accused));
}

#[test]
fn a_payee_is_missed_before_between_and_behind_the_others() {
    let all = [(payee(1), 5), (payee(2), 6), (payee(3), 7)];
    for gone in 0..3 {
        let mut signed = Signed::right(&all, &all);
        let mut leaves = row(&all);
        leaves.remove(gone);
        signed.lay_out(leaves);
        signed.header.total_owed = Amount(18 - all[gone].1);
        signed.sign();
        let fault = signed.fault();
        let TreeFault::Omitted {
            earlier, around, ..
        } = &fault
        else {
            panic!("{fault:?}");
        };
        assert_eq!(earlier.payee, all[gone].0);
        assert_eq!(around.len(), if gone == 1 { 2 } else { 1 });
        let text = fault.describe(|a| format!("{} units", a.0));
        assert!(text.contains(&format!("{} units", all[gone].1)), "{text}");
    }
}

#[test]
fn a_duplicated_payee_is_named_as_such() {
    let mut signed = Signed::right(&[], &[(payee(1), 5), (payee(2), 6)]);
    signed.lay_out(row(&[(payee(1), 5), (payee(1), 6)]));
    signed.sign();
    let text = signed.fault().describe(|a| a.0.to_string());
    assert!(text.contains("stands twice"), "{text}");
}
