use std::collections::BTreeMap;

use super::*;
use crate::consensus::draw::Rng;

/// A review of 4-class proposals of which 70 per cent are right; reviewers 0 to 5 are able, 6 accepts all, 7 tosses a coin.
fn crowd(seed: u64) -> (Vec<u16>, Vec<u16>, Vec<ReviewVote>) {
    let mut rng = Rng(seed);
    let (mut truth, mut proposed, mut votes) = (Vec::new(), Vec::new(), Vec::new());
    for item in 0..200 {
        let right = rng.below(4) as u16;
        let shown = if rng.percent(70) {
            right
        } else {
            (right + 1 + rng.below(3) as u16) % 4
        };
        for labeler in rng.some_of(4, 8) {
            let fix = if rng.percent(85) {
                right
            } else {
                rng.below(4) as u16
            };
            let refuse = if fix != shown && rng.percent(70) {
                Verdict::Fix(fix)
            } else {
                Verdict::Reject
            };
            let wrong = shown != right;
            let verdict = match labeler {
                6 => Verdict::Accept,
                7 if rng.percent(50) => Verdict::Accept,
                7 => Verdict::Reject,
                _ if wrong == rng.percent(90) => refuse,
                _ => Verdict::Accept,
            };
            votes.push(ReviewVote {
                item,
                labeler,
                verdict,
            });
        }
        truth.push(right);
        proposed.push(shown);
    }
    (truth, proposed, votes)
}

fn infer(proposed: &[u16], votes: &[ReviewVote], gold: &BTreeMap<u32, u16>) -> ReviewResult {
    infer_review(&ReviewInput {
        proposed,
        labelers: 8,
        classes: 4,
        votes,
        gold,
        priors: &[],
    })
    .unwrap()
}

#[test]
fn a_review_mends_labels_and_pays_only_those_who_look() {
    let (mut before, mut after, mut plain) = (0, 0, 0);
    let mut skill = [0i64; 3];
    for seed in 0..10 {
        let (truth, proposed, votes) = crowd(seed);
        let result = infer(&proposed, &votes, &BTreeMap::new());
        for (item, &right) in truth.iter().enumerate() {
            let of_item = votes.iter().filter(|vote| vote.item == item as u32);
            let accepted = of_item
                .clone()
                .filter(|vote| vote.verdict == Verdict::Accept)
                .count();
            before += u32::from(proposed[item] == right);
            plain += u32::from((2 * accepted >= of_item.count()) == (proposed[item] == right));
            after += u32::from(result.items[item].label == Some(right));
        }
        skill[0] += result.labelers[..6]
            .iter()
            .map(|l| l.skill_ppm)
            .sum::<i64>()
            / 60;
        skill[1] += result.labelers[6].skill_ppm / 10;
        skill[2] += result.labelers[7].skill_ppm / 10;
    }
    println!(
        "review of 2,000 proposals: right before {before}, right after {after} (verdict of the majority right: {plain})"
    );
    println!("review: mean skill of able, always accept, coin: {skill:?}");
    assert!(after > before + 300, "{before} {after}");
    assert!(
        skill[0] > 600_000 && skill[1] == 0 && skill[2] < 60_000,
        "{skill:?}"
    );
}

#[test]
fn one_review_follows_from_its_verdicts_and_the_table_and_order_changes_nothing() {
    let (truth, proposed, mut votes) = crowd(77);
    let gold = BTreeMap::from([(0, truth[0]), (5, truth[5])]);
    let result = infer(&proposed, &votes, &gold);
    for item in (0..200).filter(|item| !gold.contains_key(item)) {
        let of_item: Vec<ReviewVote> = votes.iter().filter(|v| v.item == item).copied().collect();
        let again = review_item_from_table(&result.table, proposed[item as usize], &of_item);
        assert_eq!(result.items[item as usize], again);
    }
    assert_eq!(result.items[5].label, Some(truth[5]));
    Rng(3).shuffle(&mut votes);
    assert_eq!(result, infer(&proposed, &votes, &gold));
}

#[test]
fn verdicts_become_class_votes_and_move_posteriors() {
    let vote = |item, verdict| ReviewVote {
        item,
        labeler: 9,
        verdict,
    };
    let verdicts = [
        vote(0, Verdict::Accept),
        vote(1, Verdict::Fix(0)),
        vote(1, Verdict::Reject),
        vote(2, Verdict::Reject),
    ];
    let class = |item, label| Vote {
        item,
        labeler: 9,
        label,
    };
    assert_eq!(
        class_evidence(&[1, 2], 3, &verdicts),
        [class(0, 1), class(1, 0)]
    );
    assert_eq!(
        class_evidence(&[1, 1], 2, &verdicts),
        [class(0, 1), class(1, 0), class(1, 0)]
    );

    let stands = |stands, label| ReviewItem {
        stands,
        label,
        votes: 3,
    };
    let before = [30_000, 25_000, 10_536];
    let mut up = before;
    join_review(&mut up, 0, &stands(60_000, Some(0)), ONE);
    assert!(up[0] > before[0] && up.iter().sum::<u32>() == ONE);
    let mut down = before;
    join_review(&mut down, 0, &stands(6_000, Some(2)), ONE);
    assert!(down[0] < before[0] && down[2] > before[2] && down.iter().sum::<u32>() == ONE);
    let mut half = before;
    join_review(&mut half, 0, &stands(60_000, Some(0)), ONE / 2);
    assert!(before[0] < half[0] && half[0] < up[0]);
    let mut same = before;
    join_review(&mut same, 3, &stands(60_000, Some(0)), ONE);
    join_review(
        &mut same,
        0,
        &ReviewItem {
            stands: 0,
            label: None,
            votes: 0,
        },
        ONE,
    );
    assert_eq!(same, before);
}

#[test]
fn bad_reviews_are_named() {
    let none = BTreeMap::new();
    let check = |proposed: &[u16], verdict, item| {
        infer_review(&ReviewInput {
            proposed,
            labelers: 1,
            classes: 3,
            votes: &[ReviewVote {
                item,
                labeler: 0,
                verdict,
            }],
            gold: &none,
            priors: &[],
        })
        .map(|_| ())
    };
    assert!(check(&[2], Verdict::Accept, 0).is_ok());
    assert!(matches!(
        check(&[3], Verdict::Accept, 0),
        Err(ConsensusError::GoldOutOfRange { .. })
    ));
    assert!(matches!(
        check(&[2], Verdict::Fix(2), 0),
        Err(ConsensusError::LabelOutOfRange { .. })
    ));
    assert!(matches!(
        check(&[2], Verdict::Fix(3), 0),
        Err(ConsensusError::LabelOutOfRange { .. })
    ));
    assert!(matches!(
        check(&[2], Verdict::Reject, 1),
        Err(ConsensusError::ItemOutOfRange { .. })
    ));
}
