//! Cases and explanations: all hold, every change is caught and named, and hostile bytes and roots do no harm.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::super::{
    CASE_VOTES_MAX, CaseError, ClassInput, ClassScoring, ItemCase, ItemClaim, ItemResult, Vote,
    check_item, item_with_late_votes,
};
use super::rescore::Story;
use super::{Crowd, Habit, Plan, Rng};
use crate::amount::Amount;
use crate::consensus::{
    ConsensusError, EXPLANATION_BYTES_MAX, Explanation, Mismatch, Pay, PayRule, PayTerms, pay,
};
use crate::id::Hash;

fn terms(rng: &mut Rng) -> PayTerms {
    PayTerms {
        price: Amount(u128::from(rng.below(1 << 40)) << rng.below(40)),
        full_skill_ppm: 1 + rng.below(1_000_000) as u32,
        loss_cap_ppm: rng.below(1_000_001) as u32,
        least_skill_ppm: PayRule::LEAST_SKILL_PPM,
        withheld: rng.below(3),
        bond: Amount(u128::from(rng.below(1 << 50))),
    }
}

/// Explanations of all votes of a scoring.
fn explanations(story: &Story, scoring: &ClassScoring, rng: &mut Rng) -> Vec<Explanation> {
    let votes = story.batches.iter().flat_map(|batch| &batch.0);
    votes
        .map(|vote| {
            let terms = rng.percent(80).then(|| terms(rng));
            Explanation::of(scoring, vote.item, vote.labeler, terms).unwrap()
        })
        .collect()
}

#[test]
fn every_item_of_random_crowds_holds() {
    let mut rng = Rng(81);
    let mut checked = 0;
    for case_number in 0..3_000 {
        let story = Story::draw(&mut rng);
        let scoring = story.in_batches();
        let root = scoring.score_root();
        for item in 0..story.items {
            let case = scoring.case(item).unwrap();
            let result = check_item(&case, &root).unwrap();
            assert_eq!(result.wrong, None, "case {case_number}, item {item}");
            assert_eq!(result.derived, case.claim);
            assert_eq!(case.claim.posteriors, scoring.posteriors_of(item).unwrap());
            checked += 1;
        }
        assert!(scoring.case(story.items).is_err());
    }
    println!("{checked} items checked");
}

/// Places of a JSON tree that hold a number, a text or a truth value, and its lists with something in them.
fn places(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{path}/{key}"), out);
            }
        }
        Value::Array(list) => {
            if !list.is_empty() {
                out.push(path.to_owned());
            }
            for (at, inner) in list.iter().enumerate() {
                places(inner, &format!("{path}/{at}"), out);
            }
        }
        Value::Null => {}
        _ => out.push(path.to_owned()),
    }
}

/// Changes one place: a number by one, one digit of a text, a truth value, or the length of a list.
fn change(value: &mut Value, rng: &mut Rng) {
    match value {
        Value::Bool(truth) => *truth = !*truth,
        Value::Number(number) => {
            let old = number.as_i64().unwrap();
            *value = (if rng.percent(50) && old > 0 {
                old - 1
            } else {
                old + 1
            })
            .into();
        }
        Value::String(text) => {
            let at = rng.below(text.len() as u64) as usize;
            let new = if &text[at..=at] == "7" { "8" } else { "7" };
            text.replace_range(at..=at, new);
        }
        Value::Array(list) => {
            let at = rng.below(list.len() as u64) as usize;
            if rng.percent(50) {
                list.remove(at);
            } else {
                list.insert(at, list[at].clone());
            }
        }
        _ => unreachable!("places lists nothing else"),
    }
}

/// One changed copy of `whole`, and where it was changed; `None` when the change is no value of the type.
fn tampered<T: serde::Serialize + serde::de::DeserializeOwned>(
    whole: &T,
    rng: &mut Rng,
) -> Option<(T, String)> {
    let mut json = serde_json::to_value(whole).unwrap();
    let mut all = Vec::new();
    places(&json, "", &mut all);
    let path = all.swap_remove(rng.below(all.len() as u64) as usize);
    change(json.pointer_mut(&path).unwrap(), rng);
    Some((serde_json::from_value(json).ok()?, path))
}

#[test]
fn any_changed_part_of_a_case_is_caught() {
    let mut rng = Rng(82);
    let mut caught = BTreeMap::new();
    for _ in 0..600 {
        let story = Story::draw(&mut rng);
        let scoring = story.in_batches();
        let root = scoring.score_root();
        for item in 0..story.items {
            let case = scoring.case(item).unwrap();
            for _ in 0..8 {
                let Some((other, path)) = tampered(&case, &mut rng) else {
                    continue;
                };
                assert_ne!(other, case, "{path}");
                let error = check_item(&other, &root).expect_err(&path);
                let name = match error {
                    CaseError::OtherRoot { .. } => "root",
                    CaseError::NotShown { what } | CaseError::Malformed { what } => what,
                    CaseError::RowNotShown { what, labeler } => {
                        assert!(path.starts_with("/rows"), "{path}: {what} of {labeler}");
                        what
                    }
                    other => panic!("{path}: {other}"),
                };
                let part = path.split('/').nth(1).unwrap().to_owned();
                *caught.entry((part, name)).or_insert(0u32) += 1;
            }
        }
    }
    for ((part, name), times) in &caught {
        println!("{part}: {name} ({times})");
        let fits = match part.as_str() {
            "score" => *name == "root",
            "input" => *name == "the input head",
            "weights" => *name == "the class weights",
            "votes" | "votes_proof" => ["the list of votes", "the result"].contains(name),
            "claim" | "claim_proof" => *name == "the result",
            "rows" => ["row", "column", "the number of rows"].contains(name),
            _ => false,
        };
        assert!(fits, "{part} is called {name}");
    }
    assert!(caught.len() >= 9, "{caught:?}");
}

/// A change of a published result.
type Forgery = fn(&mut ItemClaim);

/// The case of an item after the published result was replaced and the tree hashed again: what a dishonest scorer would anchor.
fn forged(scoring: &mut ClassScoring, item: u32, change: Forgery) -> ItemCase {
    let mut claim = scoring.case(item).unwrap().claim;
    change(&mut claim);
    scoring.trees.items.update(&[(item, claim.hash())]);
    ItemCase {
        claim,
        ..scoring.case(item).unwrap()
    }
}

#[test]
fn a_wrong_result_under_a_root_is_shown_to_be_wrong() {
    let mut rng = Rng(83);
    let mut shown = 0;
    for _ in 0..1_000 {
        let story = Story::draw(&mut rng);
        let item = rng.below(u64::from(story.items)) as u32;
        let forgeries: [(&str, Forgery); 4] = [
            ("label", |claim| {
                let label = &mut claim.result.label;
                *label = Some(label.map_or(0, |label| label + 1));
            }),
            ("posterior", |claim| claim.result.posterior += 1),
            ("votes", |claim| claim.result.votes += 1),
            ("posteriors", |claim| claim.posteriors[0] += 1),
        ];
        for (field, forgery) in forgeries {
            let mut scoring = story.at_once();
            let honest = scoring.score_root();
            let case = forged(&mut scoring, item, forgery);
            let root = scoring.score_root();
            assert_ne!(root, honest);
            assert_eq!(check_item(&case, &root).unwrap().wrong, Some(field));
            assert!(matches!(
                check_item(&case, &honest),
                Err(CaseError::OtherRoot { .. })
            ));
            shown += 1;
        }
    }
    println!("{shown} wrong results shown");
}

#[test]
fn numbers_that_no_fit_gives_are_refused_before_they_are_added() {
    let mut rng = Rng(84);
    let mut refused = 0;
    for _ in 0..300 {
        let story = Story::draw(&mut rng);
        let mut scoring = story.at_once();
        let mut case = scoring.case(0).unwrap();
        if case.rows.is_empty() {
            continue;
        }
        let extreme = [i64::MIN, i64::MAX, -(64 << 16) - 1][rng.below(3) as usize];
        case.rows[0].row.gain = extreme;
        let labeler = case.rows[0].row.labeler;
        let leaf = case.rows[0].row.hash();
        scoring.trees.rows.update(&[(labeler, leaf)]);
        case.score = scoring.score_head();
        for voter in &mut case.rows {
            voter.proof = scoring.trees.rows.proof(voter.row.labeler).unwrap();
        }
        let error = check_item(&case, &scoring.score_root()).unwrap_err();
        assert_eq!(error, CaseError::Malformed { what: "a row" });
        refused += 1;
    }
    assert!(refused > 100);
}

/// The result of the explained item without the explained vote, from the whole table.
fn without(scoring: &ClassScoring, explanation: &Explanation) -> ItemClaim {
    let (votes, own) = (&explanation.case.votes, explanation.labeler.labeler);
    let others = |list: &[(u32, u16)]| -> Vec<(u32, u16)> {
        list.iter().copied().filter(|vote| vote.0 != own).collect()
    };
    let (within, late) = (others(&votes.votes), others(&votes.late));
    let all = within.iter().chain(&late);
    let mut posteriors = item_with_late_votes(scoring.table(), &within, &late).unwrap();
    let mut label = None;
    if let Some(gold) = votes.gold {
        posteriors.fill(0);
        posteriors[usize::from(gold.label)] = 65_536;
        label = Some(gold.label);
    } else if all.clone().count() > 0 {
        let votes_for = |label: u16| all.clone().filter(|vote| vote.1 == label).count();
        let labels = 0..posteriors.len() as u16;
        label = labels.max_by_key(|&label| {
            let posterior = posteriors[usize::from(label)];
            (posterior, votes_for(label), u16::MAX - label)
        });
    }
    ItemClaim {
        item: votes.item,
        result: ItemResult {
            label,
            posterior: label.map_or(0, |label| posteriors[usize::from(label)]),
            votes: all.count() as u32,
        },
        posteriors,
    }
}

#[test]
fn every_vote_of_random_crowds_is_explained() {
    let mut rng = Rng(85);
    let (mut paid, mut fined, mut right) = (0, 0, [0; 2]);
    for _ in 0..500 {
        let story = Story::draw(&mut rng);
        let scoring = story.in_batches();
        for explanation in explanations(&story, &scoring, &mut rng) {
            let derived = explanation.rederive().unwrap();
            let labeler = &scoring.labelers()[explanation.labeler.labeler as usize];
            assert_eq!(derived.score_root, scoring.score_root());
            assert_eq!(
                derived.item.result,
                scoring.items()[explanation.case.claim.item as usize]
            );
            assert_eq!(derived.without, without(&scoring, &explanation));
            if let (Some(claim), Some(derived)) = (explanation.pay, derived.pay) {
                // The rule again, from the outcome of the task.
                let terms = claim.terms;
                let rule = PayRule {
                    price: terms.price.0,
                    full_skill_ppm: terms.full_skill_ppm,
                    loss_cap_ppm: terms.loss_cap_ppm,
                };
                let plain = pay(&rule, u64::from(labeler.votes), labeler.skill_ppm);
                let worst = pay(&rule, terms.withheld, -1_000_000).lost;
                let expected = Pay {
                    earned: if labeler.cluster.is_some() {
                        0
                    } else {
                        plain.earned
                    },
                    lost: (plain.lost + worst).min(terms.bond.0),
                };
                assert_eq!(derived, expected);
                paid += u32::from(derived.earned > 0);
                fined += u32::from(derived.lost > 0);
            }
            if let Some(truth) = derived.gold_right {
                right[usize::from(truth)] += 1;
            }
            let bytes = explanation.encode();
            assert_eq!(Explanation::decode(&bytes), Ok(explanation));
        }
        assert!(Explanation::of(&scoring, 0, story.labelers, None).is_err());
        assert!(Explanation::of(&scoring, story.items, 0, None).is_err());
    }
    assert!(paid > 500 && fined > 500 && right[0] > 100 && right[1] > 100);
}

#[test]
fn any_changed_field_of_an_explanation_is_named() {
    let mut rng = Rng(86);
    let mut named = BTreeMap::new();
    for _ in 0..400 {
        let story = Story::draw(&mut rng);
        let scoring = story.in_batches();
        for explanation in explanations(&story, &scoring, &mut rng) {
            let Some((other, path)) = tampered(&explanation, &mut rng) else {
                continue;
            };
            assert_ne!(other, explanation);
            let error = match other.rederive() {
                Err(error) => error,
                Ok(derived) => {
                    // Other terms may lead to the same pay; nothing else may change and still hold.
                    assert!(path.starts_with("/pay/terms"), "{path}");
                    assert_eq!(derived.pay, explanation.rederive().unwrap().pay);
                    continue;
                }
            };
            let part = path.split('/').nth(1).unwrap().to_owned();
            let name = match error {
                Mismatch::Case(error) => {
                    assert!(["case"].contains(&part.as_str()), "{path}: {error}");
                    "case"
                }
                Mismatch::Field { field } => field,
            };
            *named.entry((part, name)).or_insert(0u32) += 1;
        }
    }
    println!("{named:?}");
    for (part, name) in named.keys() {
        let fits = match part.as_str() {
            "case" => ["case", "labeler"].contains(name),
            "labeler" | "labeler_proof" => *name == "labeler",
            "pay" => ["earned", "lost", "least_skill_ppm"].contains(name),
            own => own == *name,
        };
        assert!(fits, "{part} is called {name}");
    }
    for part in [
        "case",
        "labeler",
        "labeler_proof",
        "answer",
        "weight",
        "gold_right",
        "pay",
    ] {
        assert!(
            named.keys().any(|key| key.0 == part),
            "{part} never changed"
        );
    }
}

fn fixed_story() -> (Crowd, ClassScoring) {
    let habits = [
        vec![Habit::Right(90); 6],
        vec![Habit::Sheet; 3],
        vec![Habit::Uniform],
    ]
    .concat();
    let plan = Plan {
        items: 120,
        classes: 4,
        redundancy: 6,
        majority_percent: 40,
        gold_percent: 10,
        habits: &habits,
    };
    let crowd = Crowd::draw(&plan, &mut Rng(2_026));
    let (early, late) = crowd.votes.split_at(650);
    let mut scoring = ClassScoring::fit(&ClassInput {
        votes: early,
        ..crowd.input()
    })
    .unwrap();
    scoring.extend(late, &BTreeMap::new()).unwrap();
    (crowd, scoring)
}

#[test]
fn roots_and_explanations_keep_their_bytes_over_versions() {
    let (_, scoring) = fixed_story();
    assert_eq!(scoring.clusters(), [[6, 7, 8]]);
    let head = scoring.score_head();
    let roots = [
        head.input,
        head.table,
        head.table_root,
        head.items_root,
        head.labelers_root,
    ];
    let expected = [
        "66f2ec5efbd3ef78c01ad7f104d3cea9925730ae244e5ce402784947b861cef8",
        "aa18a240b6c5f2b62b01a17ceed5ddf6f30c4d2526e38bfb7c599192a9d14228",
        "77ac0fa37d295bf12e1b643588f7aadd6a3466e61e0e6b2934f830caa9891d81",
        "9867cc127328b2e374a056e33816589201eb4b4561d91636ad7baf742d6a30bf",
        "04ba8174fd211b284606a94b14f61d929a88e10d7ff8b42210e25379e1563467",
    ];
    let voter = scoring.case(119).unwrap().votes.late[0].0;
    let terms = PayTerms {
        price: Amount(1_000_000),
        full_skill_ppm: PayRule::FULL_SKILL_PPM,
        loss_cap_ppm: PayRule::LOSS_CAP_PPM,
        least_skill_ppm: PayRule::LEAST_SKILL_PPM,
        withheld: 1,
        bond: Amount(500_000),
    };
    let mut explanation = Explanation::of(&scoring, 119, voter, Some(terms)).unwrap();
    explanation.rederive().unwrap();
    // The algorithm id has a test of its own.
    explanation.case.score.algorithm = Hash::ZERO;
    let hash = blake3::hash(&explanation.encode()).to_hex();
    let got = roots.map(|root| root.to_string());
    assert_eq!(
        (got.each_ref().map(String::as_str), hash.as_str()),
        (
            expected,
            "92e90fd935f7b17a0682efb10e9fd2721659191c16b67696deb470fd5ff37f9c"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn random_bytes_are_no_explanation(bytes: Vec<u8>) {
        prop_assert!(Explanation::decode(&bytes).is_err());
    }

    #[test]
    fn changed_bytes_never_panic_and_never_hold_with_other_content(seed: u64, flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut rng = Rng(seed);
        let story = Story::draw(&mut rng);
        let scoring = story.in_batches();
        let all = explanations(&story, &scoring, &mut rng);
        prop_assume!(!all.is_empty());
        let explanation = &all[rng.below(all.len() as u64) as usize];
        let mut bytes = explanation.encode();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(other) = Explanation::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
            if other.rederive().is_ok() {
                prop_assert_eq!(other.case, explanation.case.clone());
                prop_assert_eq!(other.labeler, explanation.labeler);
            }
        }
    }
}

#[test]
fn oversized_bytes_are_refused_unread() {
    let bytes = vec![0; EXPLANATION_BYTES_MAX + 1];
    assert!(matches!(
        Explanation::decode(&bytes),
        Err(crate::codec::DecodeError::Oversize { .. })
    ));
}

#[test]
fn the_largest_explanation_fits_and_a_larger_item_is_refused() {
    let mut rng = Rng(87);
    let voters = CASE_VOTES_MAX as u32;
    let mut votes = Vec::new();
    for labeler in 0..=voters {
        for item in 0..4 {
            // One more than a case takes votes on item 0 only.
            if labeler < voters || item == 0 {
                votes.push(Vote {
                    item,
                    labeler,
                    label: rng.below(256) as u16,
                });
            }
        }
    }
    let none = BTreeMap::new();
    let scoring = ClassScoring::fit(&ClassInput {
        items: 4,
        labelers: voters + 1,
        classes: 256,
        votes: &votes,
        gold: &none,
        priors: &[],
    })
    .unwrap();
    assert!(matches!(
        scoring.case(0),
        Err(ConsensusError::TooManyOnItem { item: 0, .. })
    ));
    let explanation = Explanation::of(&scoring, 1, 9, Some(terms(&mut rng))).unwrap();
    let bytes = explanation.encode();
    println!("{} bytes for {voters} votes with 256 classes", bytes.len());
    // A row lists at most 256 labels of at most three bytes, here at most four; a number has at most nine bytes, a log five.
    let logs = 2 * 256 * 5 * CASE_VOTES_MAX;
    assert!(bytes.len() + logs + 256 * 3 * CASE_VOTES_MAX <= EXPLANATION_BYTES_MAX);
    let read = Explanation::decode(&bytes).unwrap();
    assert_eq!(read, explanation);
    read.rederive().unwrap();
}
