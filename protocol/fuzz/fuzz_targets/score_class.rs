//! Scoring of arbitrary votes: an error, or a result that does not depend on the order of the votes. Arithmetic is overflow-checked.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use assay_protocol::consensus::{ClassInput, GoldPrior, Vote, infer_class};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Case {
    items: u8,
    labelers: u8,
    classes: u8,
    votes: Vec<(u8, u8, u8)>,
    gold: BTreeMap<u8, u8>,
    priors: Option<(u32, u32)>,
}

fuzz_target!(|case: Case| {
    let votes: Vec<Vote> = case
        .votes
        .iter()
        .map(|&(item, labeler, label)| Vote {
            item: (item % 32).into(),
            labeler: (labeler % 20).into(),
            label: (label % 10).into(),
        })
        .collect();
    let gold: BTreeMap<u32, u16> = case
        .gold
        .iter()
        .map(|(item, class)| (u32::from(*item % 33), u16::from(*class % 11)))
        .collect();
    let priors: Vec<GoldPrior> = case
        .priors
        .map_or_else(Vec::new, |(alpha_milli, beta_milli)| {
            vec![
                GoldPrior {
                    alpha_milli,
                    beta_milli
                };
                (case.labelers % 21).into()
            ]
        });
    let mut input = ClassInput {
        items: (case.items % 33).into(),
        labelers: (case.labelers % 21).into(),
        classes: (case.classes % 11).into(),
        votes: &votes,
        gold: &gold,
        priors: &priors,
    };
    let Ok(result) = infer_class(&input) else {
        return;
    };
    let mut turned = votes.clone();
    turned.reverse();
    input.votes = &turned;
    assert_eq!(infer_class(&input).as_ref(), Ok(&result));
    for item in 0..input.items {
        let row = result.posteriors_of(item).expect("one row per item");
        assert_eq!(row.iter().sum::<u32>(), 65_536);
    }
    for labeler in &result.labelers {
        assert!(labeler.skill_ppm.abs() <= 1_000_000);
    }
});
