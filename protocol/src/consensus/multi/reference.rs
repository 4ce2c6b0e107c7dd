//! Sets of labels against a second, plain implementation: label by label, from the formulas of the header.

use std::collections::BTreeMap;

use super::*;
use crate::consensus::draw::Rng;
use crate::consensus::tests::plain_binary::{self, Plain};

fn set(bits: u64) -> Vec<u16> {
    (0..16).filter(|label| bits >> label & 1 == 1).collect()
}

#[test]
fn the_engine_agrees_with_the_plain_implementation_on_ten_thousand_cases() {
    let mut rng = Rng(21);
    let (mut grouped, mut skilled) = (0, 0);
    for number in 0..10_000 {
        let labels = 1 + rng.below(4) as u16;
        let (items, labelers, drawn) = plain_binary::draw(number, labels.into(), &mut rng);
        let mut gold = BTreeMap::new();
        for item in 0..items {
            if rng.percent(12) {
                gold.insert(item, rng.below(1 << labels));
            }
        }
        let priors = plain_binary::priors(labelers, &mut rng);
        let votes: Vec<MultiVote> = drawn
            .iter()
            .map(|&(item, labeler, bits)| {
                let mut labels = set(bits);
                rng.shuffle(&mut labels);
                MultiVote {
                    item,
                    labeler,
                    labels,
                }
            })
            .collect();
        let result = infer_multi(&MultiInput {
            items,
            labelers,
            labels,
            votes: &votes,
            gold: &gold
                .iter()
                .map(|(&item, &bits)| (item, set(bits)))
                .collect(),
            priors: &priors,
        })
        .unwrap();

        let questions: Vec<Plain> = (0..labels)
            .map(|label| {
                let has = |bits: u64| bits >> label & 1 == 1;
                let answers: Vec<_> = drawn
                    .iter()
                    .map(|&(item, labeler, bits)| (item, labeler, has(bits)))
                    .collect();
                let known = gold
                    .iter()
                    .map(|(&item, &bits)| (item, has(bits)))
                    .collect();
                Plain::new(items, labelers, &answers, &known, &priors)
            })
            .collect();
        for (table, plain) in result.table.labels.iter().zip(&questions) {
            let rows: Vec<_> = table
                .rows
                .iter()
                .map(|row| (row.hit, row.alarm, row.group))
                .collect();
            assert_eq!((table.prior, &rows), (plain.prior, &plain.rows), "{number}");
        }
        for (item, found) in (0u32..).zip(&result.items) {
            let of_item = drawn.iter().filter(|vote| vote.0 == item).count();
            let posteriors: Vec<u32> = questions
                .iter()
                .map(|plain| plain.posterior[item as usize])
                .collect();
            let mut expected = MultiItem {
                labels: Vec::new(),
                posterior: 0,
                posteriors,
                votes: of_item as u32,
            };
            if of_item > 0 || gold.contains_key(&item) {
                let mut product = 1u128 << 32;
                for (label, &p) in expected.posteriors.iter().enumerate() {
                    let no = (1 << 16) - p;
                    if p > no {
                        expected.labels.push(label as u16);
                    }
                    product = product * u128::from(p.max(no)) / (1 << 16);
                }
                expected.posterior = (product / (1 << 16)) as u32;
            }
            assert_eq!(*found, expected, "case {number}, item {item}");
        }
        for (labeler, found) in (0u32..).zip(&result.labelers) {
            let (mut above, mut below) = (0, 0);
            for plain in &questions {
                let information = plain.information[labeler as usize];
                above += i128::from(plain.skill_ppm[labeler as usize]) * information;
                below += information;
            }
            let groups = questions.iter().map(|plain| plain.rows[labeler as usize].2);
            let expected = MultiLabeler {
                votes: drawn.iter().filter(|vote| vote.1 == labeler).count() as u32,
                skill_ppm: (above / below.max(1)) as i64,
                flagged_labels: groups.flatten().count() as u32,
            };
            assert_eq!(*found, expected, "case {number}, labeler {labeler}");
            grouped += found.flagged_labels;
            skilled += u32::from(found.skill_ppm != 0);
        }
    }
    assert!(grouped > 100 && skilled > 5_000, "{grouped} {skilled}");
}
