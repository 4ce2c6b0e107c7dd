//! Roots and cases of every kind: one root whatever the order of votes, every honest case holds, every change is caught, and hostile
//! cases - those whose proofs all hold included - do no harm.

mod samples;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value as Json;

use self::samples::{Objects, Sample};
use super::*;
use crate::consensus::draw::Rng;
use crate::consensus::{Comparison, Outcome};

/// Runs a test for every kind.
macro_rules! of_every_kind {
    ($test:ident) => {
        $test::<Text>();
        $test::<Value>();
        $test::<Multi>();
        $test::<Review>();
        $test::<Shapes>();
        $test::<Pair>();
        $test::<Ranked>();
    };
}

/// Crowds per kind.
const CROWDS: u64 = 120;

/// All cases of a crowd with their score root.
fn cases<K: Sample>(crowd: &K::Crowd) -> (Hash, Vec<Case<K>>) {
    K::task(crowd, |task| {
        let result = K::infer(task);
        let score = Score::<K>::new(task, &result).unwrap();
        let items = 0..score.input_head().items;
        let cases = items.map(|item| score.case(item).unwrap()).collect();
        assert!(score.case(score.input_head().items).is_err());
        (score.score_head().root(), cases)
    })
}

/// A case with votes and rows.
fn busy<K: Sample>(seed: u64) -> (Hash, Case<K>) {
    for seed in seed.. {
        let (root, cases) = cases::<K>(&K::draw(&mut Rng(seed)));
        if let Some(case) = cases.into_iter().find(|case| case.rows.len() > 1) {
            return (root, case);
        }
    }
    unreachable!("most crowds have items with two voters")
}

#[test]
fn the_order_of_the_votes_changes_no_root() {
    fn one_root<K: Sample>() {
        let roots = |crowd: &K::Crowd| {
            K::task(crowd, |task| {
                let result = K::infer(task);
                let score = Score::<K>::new(task, &result).unwrap();
                (score.input_head().root(), score.score_head().root())
            })
        };
        let mut seen = BTreeSet::new();
        for seed in 0..CROWDS {
            let mut rng = Rng(seed);
            let mut crowd = K::draw(&mut rng);
            let first = roots(&crowd);
            for _ in 0..3 {
                K::shuffle(&mut crowd, &mut rng);
                assert_eq!(roots(&crowd), first, "{} {seed}", K::NAME);
            }
            seen.insert(first);
        }
        assert!(seen.len() as u64 > CROWDS * 4 / 5, "{}", K::NAME);
    }
    of_every_kind!(one_root);
}

#[test]
fn every_honest_case_holds_and_is_read_again() {
    fn holds<K: Sample>() {
        let mut rows = 0;
        for seed in 0..CROWDS {
            let (root, cases) = cases::<K>(&K::draw(&mut Rng(seed)));
            for case in cases {
                let found = case.check(&root);
                assert_eq!(found, Ok(Finding::Right), "{} {seed}", K::NAME);
                assert_eq!(Case::decode(&case.encode()), Ok(case.clone()));
                rows += case.rows.len();
            }
        }
        assert!(rows > 300, "{}: {rows}", K::NAME);
    }
    of_every_kind!(holds);
}

/// Whether bytes are refused, or read as a case that does not hold.
fn is_refused<K: Kind>(bytes: &[u8], root: &Hash) -> bool {
    match Case::<K>::decode(bytes) {
        Ok(case) => case.check(root).is_err(),
        Err(_) => true,
    }
}

#[test]
fn every_changed_byte_of_a_case_is_caught() {
    fn caught<K: Sample>() {
        let (root, case) = busy::<K>(40);
        let mut bytes = case.encode();
        for at in 0..bytes.len() {
            for bit in [0, 3, 7] {
                bytes[at] ^= 1 << bit;
                assert!(is_refused::<K>(&bytes, &root), "{} byte {at}", K::NAME);
                bytes[at] ^= 1 << bit;
            }
        }
    }
    of_every_kind!(caught);
}

/// Places of a document that hold a number, a text or a truth value, and its lists with something in them.
fn places(value: &Json, path: &str, out: &mut Vec<String>) {
    match value {
        Json::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{path}/{key}"), out);
            }
        }
        Json::Array(list) => {
            if !list.is_empty() {
                out.push(path.to_owned());
            }
            for (at, inner) in list.iter().enumerate() {
                places(inner, &format!("{path}/{at}"), out);
            }
        }
        Json::Null => {}
        _ => out.push(path.to_owned()),
    }
}

/// Numbers at the ends of types and of ranges.
const WILD: [i64; 14] = [
    0,
    1,
    -1,
    65_535,
    65_536,
    1 << 20,
    u32::MAX as i64,
    1 << 40,
    1 << 51,
    1 << 62,
    -(1 << 40),
    -(1 << 51),
    i64::MAX,
    i64::MIN,
];

/// Changes one place: a number by one or to a wild one, one sign of a text, a truth value, or the length of a list.
fn change(value: &mut Json, rng: &mut Rng) {
    match value {
        Json::Bool(truth) => *truth = !*truth,
        Json::Number(number) => {
            let near = number.as_i64().map_or(0, |old| old ^ 1);
            let wild = WILD[rng.below(WILD.len() as u64) as usize];
            *value = (if rng.percent(50) { near } else { wild }).into();
        }
        Json::String(text) => {
            let at = rng.below(text.chars().count().max(1) as u64) as usize;
            let new = |old: char| if old == '7' { '8' } else { '7' };
            let signs = text.chars().enumerate();
            *text = signs
                .map(|(place, old)| if place == at { new(old) } else { old })
                .collect();
        }
        Json::Array(list) => {
            let at = rng.below(list.len() as u64) as usize;
            if rng.percent(50) {
                list.remove(at);
            } else {
                list.insert(at, list[at].clone());
            }
        }
        _ => {}
    }
}

/// A copy of a case with one place changed; `None` when that is no case.
fn tampered<K: Kind>(case: &Case<K>, within: &[&str], rng: &mut Rng) -> Option<Case<K>> {
    let mut json = serde_json::to_value(case).unwrap();
    let mut all = Vec::new();
    places(&json, "", &mut all);
    all.retain(|place| within.is_empty() || within.iter().any(|part| place.starts_with(part)));
    let place = &all[rng.below(all.len() as u64) as usize];
    change(json.pointer_mut(place).unwrap(), rng);
    serde_json::from_value(json).ok()
}

/// Puts leaves into a tree, with fresh proofs; gives its root.
fn plant<'s, T: Serialize + 's>(
    key: &Key,
    count: u32,
    leaves: impl Iterator<Item = (u32, &'s mut Shown<T>)>,
) -> Hash {
    let mut all: Vec<(u32, &mut Shown<T>)> = leaves.collect();
    let mut hashes = vec![Hash([7; 32]); count as usize];
    for (position, shown) in &all {
        if let Some(slot) = hashes.get_mut(*position as usize) {
            *slot = leaf(key, *position, &shown.value);
        }
    }
    let tree = ScoreTree::new(hashes);
    for (position, shown) in &mut all {
        shown.proof = tree.proof(*position).unwrap_or_default();
    }
    tree.root()
}

/// The same case from somebody who signs any root: all heads and proofs fit what it says.
fn resigned<K: Kind>(mut case: Case<K>) -> Case<K> {
    let (items, labelers) = (case.input.items.min(99), case.input.labelers.min(99));
    let voters = K::voters(&case.votes.value).into_iter();
    let sides = K::sides(case.item, &case.votes.value).into_iter();
    case.score.table_root = plant(&Keys::<K>::ROW, labelers, voters.zip(case.rows.iter_mut()));
    case.sides_root = plant(&Keys::<K>::SIDE, items, sides.zip(case.sides.iter_mut()));
    let item = case.item;
    let claim = [(item, &mut case.claim)].into_iter();
    case.score.items_root = plant(&Keys::<K>::CLAIM, items, claim);
    let votes = [(item, &mut case.votes)].into_iter();
    case.input.items_root = plant(&Keys::<K>::VOTES, items, votes);
    case.input.form = form::<K>(&case.form);
    case.score.table = head::<K>(&case.head, &case.sides_root);
    case.score.input = case.input.root();
    case.score.algorithm = Hash(algorithm_id());
    case
}

#[test]
fn every_changed_field_of_a_case_is_caught() {
    fn caught<K: Sample>() {
        let mut rng = Rng(7);
        let (mut changed, mut seed) = (0, 0);
        while changed < 400 {
            seed += 1;
            let (root, case) = busy::<K>(seed);
            for _ in 0..40 {
                if let Some(other) = tampered(&case, &[], &mut rng)
                    && other != case
                {
                    assert!(other.check(&root).is_err(), "{}: {other:?}", K::NAME);
                    changed += 1;
                }
            }
        }
    }
    of_every_kind!(caught);
}

#[test]
fn a_signed_root_over_a_wrong_result_is_shown_to_be_wrong() {
    fn shown<K: Sample>() {
        let mut rng = Rng(8);
        let mut wrong = 0;
        for seed in 0..60 {
            let (_, case) = busy::<K>(seed);
            let Some(lie) = tampered(&case, &["/claim/value"], &mut rng) else {
                continue;
            };
            if lie.claim.value == case.claim.value {
                continue;
            }
            let lie = resigned(lie);
            let honest = case.claim.value.clone();
            assert_eq!(lie.check(&lie.score.root()), Ok(Finding::Wrong(honest)));
            wrong += 1;
        }
        assert!(wrong > 10, "{}: {wrong}", K::NAME);
    }
    of_every_kind!(shown);
}

#[test]
fn changed_votes_and_rows_under_a_signed_root_are_scored_or_refused_and_never_panic() {
    fn scored<K: Sample>() {
        let mut rng = Rng(9);
        let (mut right, mut wrong, mut refused) = (0, 0, 0);
        for seed in 0..60 {
            let (_, case) = busy::<K>(seed);
            for changes in 1..30 {
                let mut hostile = case.clone();
                let parts = ["/votes/value", "/rows", "/sides", "/head", "/form"];
                for _ in 0..1 + changes % 3 {
                    hostile = tampered(&hostile, &parts, &mut rng).unwrap_or(hostile);
                }
                let hostile = resigned(hostile);
                match hostile.check(&hostile.score.root()) {
                    Ok(Finding::Right) => right += 1,
                    Ok(Finding::Wrong(_)) => wrong += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        let name = K::NAME;
        println!("{name}: {right} right, {wrong} wrong, {refused} refused");
        assert!(right.min(wrong).min(refused) > 10, "{name}");
    }
    of_every_kind!(scored);
}

#[test]
fn a_leaf_of_one_tree_is_none_of_another() {
    fn keys<K: Kind>() -> Vec<Key> {
        vec![
            Keys::<K>::FORM,
            Keys::<K>::VOTES,
            Keys::<K>::EVIDENCE,
            Keys::<K>::HEAD,
            Keys::<K>::ROW,
            Keys::<K>::SIDE,
            Keys::<K>::CLAIM,
            Keys::<K>::LABELER,
        ]
    }
    let mut all = Vec::new();
    macro_rules! collect {
        ($($kind:ident),*) => { $(all.extend(keys::<$kind>());)* };
    }
    collect!(Text, Value, Multi, Review, Shapes, Pair, Ranked);
    assert_eq!(
        &Keys::<Review>::LABELER,
        b"assay/consensus/review/labeler/1"
    );
    assert_eq!(&Keys::<Text>::ROW, b"assay/consensus/text/row/1      ");
    let leaves: BTreeSet<[u8; 32]> = all.iter().map(|key| leaf(key, 3, &5u32).0).collect();
    assert_eq!(leaves.len(), 7 * 8);
    for other in ["class/", "root/", "tree/"] {
        let start = format!("assay/consensus/{other}");
        assert!(all.iter().all(|key| !key.starts_with(start.as_bytes())));
    }

    fn swapped<K: Sample>() {
        let (_, case) = busy::<K>(3);
        let swaps: [fn(&mut Case<K>); 4] = [
            |case| std::mem::swap(&mut case.score.items_root, &mut case.score.table_root),
            |case| std::mem::swap(&mut case.score.items_root, &mut case.input.items_root),
            |case| std::mem::swap(&mut case.score.labelers_root, &mut case.score.table_root),
            |case| std::mem::swap(&mut case.input.labelers_root, &mut case.input.items_root),
        ];
        for swap in swaps {
            let mut other = case.clone();
            swap(&mut other);
            other.score.input = other.input.root();
            let found = other.check(&other.score.root());
            assert!(
                matches!(
                    found,
                    Err(CaseError::NotShown { .. } | CaseError::RowNotShown { .. })
                ),
                "{found:?}"
            );
        }
    }
    of_every_kind!(swapped);
}

#[test]
fn a_case_of_another_score_algorithm_or_kind_is_refused() {
    let (root, case) = busy::<Pair>(5);
    let (other, _) = busy::<Pair>(6);
    assert!(matches!(
        case.check(&other),
        Err(CaseError::OtherRoot { .. })
    ));
    let mut old = case.clone();
    old.score.algorithm = Hash([1; 32]);
    assert!(matches!(
        old.check(&old.score.root()),
        Err(CaseError::OtherAlgorithm { .. })
    ));
    assert!(is_refused::<Ranked>(&case.encode(), &root));
    assert!(is_refused::<Text>(&case.encode(), &root));
}

#[test]
fn the_result_of_another_task_has_no_trees() {
    let crowds = [30, 31].map(|seed| {
        let mut crowd = Pair::draw(&mut Rng(seed));
        crowd.objects = seed as u32;
        crowd
    });
    let other = Pair::task(&crowds[1], Pair::infer);
    Pair::task(&crowds[0], |task| {
        assert_eq!(
            Score::<Pair>::new(task, &other).unwrap_err(),
            ConsensusError::ForeignTable
        );
    });
    let mut outside = Pair::draw(&mut Rng(1));
    let result = Pair::task(&outside, Pair::infer);
    outside.votes.push(Comparison {
        labeler: 0,
        left: 0,
        right: 999,
        outcome: Outcome::Tie,
    });
    Pair::task(&outside, |task| {
        assert!(matches!(
            Score::<Pair>::new(task, &result).unwrap_err(),
            ConsensusError::ItemOutOfRange { item: 999, .. }
        ));
    });
}

#[test]
fn an_object_that_was_compared_with_too_many_others_has_no_case_but_its_opponents_have() {
    let objects = CASE_VOTES_MAX as u32 + 1;
    let votes = (1..objects).map(|other| Comparison {
        labeler: 0,
        left: 0,
        right: other,
        outcome: Outcome::Left,
    });
    let crowd = Objects {
        objects,
        labelers: 1,
        sided: false,
        votes: votes.collect(),
    };
    Pair::task(&crowd, |task| {
        let result = Pair::infer(task);
        let score = Score::<Pair>::new(task, &result).unwrap();
        assert!(matches!(
            score.case(0),
            Err(ConsensusError::TooManyOnItem { item: 0, .. })
        ));
        let root = score.score_head().root();
        assert_eq!(score.case(9).unwrap().check(&root), Ok(Finding::Right));
    });
}

#[test]
fn tasks_without_items_or_votes_have_roots() {
    let crowd = Objects {
        objects: 0,
        labelers: 0,
        sided: false,
        votes: Vec::new(),
    };
    Pair::task(&crowd, |task| {
        let result = Pair::infer(task);
        let score = Score::<Pair>::new(task, &result).unwrap();
        assert_eq!(score.input_head().items_root, Hash::ZERO);
        assert!(score.case(0).is_err());
    });
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_or_the_check_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        seed in 0u64..50,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        fn harmless<K: Sample>(bytes: &[u8], seed: u64, flips: &[(prop::sample::Index, u8)]) {
            assert!(Case::<K>::decode(bytes).is_err());
            let mut changed = busy::<K>(seed).1.encode();
            for (at, byte) in flips {
                let at = at.index(changed.len());
                changed[at] = *byte;
            }
            if let Ok(case) = Case::<K>::decode(&changed) {
                assert_eq!(case.encode(), changed);
                let _ = case.check(&case.score.root());
                let hostile = resigned(case);
                let _ = hostile.check(&hostile.score.root());
            }
        }
        harmless::<Text>(&bytes, seed, &flips);
        harmless::<Value>(&bytes, seed, &flips);
        harmless::<Multi>(&bytes, seed, &flips);
        harmless::<Review>(&bytes, seed, &flips);
        harmless::<Shapes>(&bytes, seed, &flips);
        harmless::<Pair>(&bytes, seed, &flips);
        harmless::<Ranked>(&bytes, seed, &flips);
    }
}
