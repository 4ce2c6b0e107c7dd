//! Reviews against a second, plain implementation from the formulas of the header.

use std::collections::BTreeMap;

use super::*;
use crate::consensus::draw::Rng;
use crate::consensus::tests::plain_binary::{self, Plain};

#[test]
fn the_engine_agrees_with_the_plain_implementation_on_ten_thousand_cases() {
    let mut rng = Rng(22);
    let (mut grouped, mut mended, mut refused) = (0, 0, 0);
    for number in 0..10_000 {
        let bits = 1 + rng.below(2) as u32;
        let classes = 1u16 << bits;
        let (items, labelers, drawn) = plain_binary::draw(number, bits, &mut rng);
        let proposed: Vec<u16> = (0..items)
            .map(|_| rng.below(classes.into()) as u16)
            .collect();
        let mut gold = BTreeMap::new();
        for item in 0..items {
            if rng.percent(12) {
                gold.insert(item, rng.below(classes.into()) as u16);
            }
        }
        let priors = plain_binary::priors(labelers, &mut rng);
        let votes: Vec<ReviewVote> = drawn
            .iter()
            .map(|&(item, labeler, own)| ReviewVote {
                item,
                labeler,
                verdict: match own as u16 {
                    own if own == proposed[item as usize] => Verdict::Accept,
                    _ if rng.percent(40) => Verdict::Reject,
                    own => Verdict::Fix(own),
                },
            })
            .collect();
        let result = infer_review(&ReviewInput {
            proposed: &proposed,
            labelers,
            classes,
            votes: &votes,
            gold: &gold,
            priors: &priors,
        })
        .unwrap();

        let answers: Vec<_> = votes
            .iter()
            .map(|vote| {
                let yes = matches!(vote.verdict, Verdict::Accept);
                (vote.item, vote.labeler, yes)
            })
            .collect();
        let known = gold
            .iter()
            .map(|(&item, &label)| (item, label == proposed[item as usize]))
            .collect();
        let plain = Plain::new(items, labelers, &answers, &known, &priors);
        let rows: Vec<_> = result
            .table
            .rows
            .iter()
            .map(|row| (row.hit, row.alarm, row.group))
            .collect();
        assert_eq!((result.table.prior, &rows), (plain.prior, &plain.rows));
        for (item, found) in (0u32..).zip(&result.items) {
            let of_item = || votes.iter().filter(move |vote| vote.item == item);
            let stands = plain.posterior[item as usize];
            // Support of each class among the fixes: how much better than chance the reviewers tell right from wrong.
            let support = |label: u16| -> i64 {
                let fixes = of_item().filter(|vote| vote.verdict == Verdict::Fix(label));
                fixes
                    .map(|vote| {
                        let (hit, alarm, _) = plain.rows[vote.labeler as usize];
                        (i64::from(hit) - i64::from(alarm)).max(1)
                    })
                    .sum()
            };
            let most = (0..classes).map(support).max().unwrap_or(0);
            let fixed = (0..classes).find(|&label| most > 0 && support(label) == most);
            let label = match gold.get(&item) {
                Some(&label) => Some(label),
                None if of_item().count() == 0 => None,
                None if stands >= 1 << 15 => Some(proposed[item as usize]),
                None => fixed,
            };
            let expected = ReviewItem {
                stands,
                label,
                votes: of_item().count() as u32,
            };
            assert_eq!(*found, expected, "case {number}, item {item}");
            let moved = label.is_some() && label != Some(proposed[item as usize]);
            mended += u32::from(moved && !gold.contains_key(&item));
            refused += u32::from(label.is_none() && expected.votes > 0);
        }
        for (labeler, found) in (0u32..).zip(&result.labelers) {
            let expected = ReviewLabeler {
                votes: votes.iter().filter(|vote| vote.labeler == labeler).count() as u32,
                skill_ppm: plain.skill_ppm[labeler as usize],
            };
            assert_eq!(*found, expected, "case {number}, labeler {labeler}");
            grouped += u32::from(plain.rows[labeler as usize].2.is_some());
        }
    }
    assert!(
        grouped > 50 && mended > 1_000 && refused > 200,
        "{grouped} {mended} {refused}"
    );
}
