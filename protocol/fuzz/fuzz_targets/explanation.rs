//! Explanations: foreign bytes, true ones with a few bytes changed, and forged ones whose proofs all hold. They are refused or derive something
//! sound, and are canonical to the byte. Arithmetic is overflow-checked.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use assay_protocol::{
    amount::Amount,
    consensus::{ClassInput, ClassScoring, Explanation, PayRule, PayTerms, Vote},
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Case {
    Bytes(Vec<u8>),
    Changed(Crowd, Vec<(u16, u8)>),
    Forged(Forged),
}

#[derive(Debug, Arbitrary)]
struct Crowd {
    classes: u8,
    votes: Vec<(u8, u8, u8)>,
    gold: Option<(u8, u8)>,
    pick: u8,
    terms: Option<(u64, u32, u32, u64, u64)>,
}

/// Numbers of one who signs any root: one item, one labeler, so no tree hides a leaf.
#[derive(Debug, Arbitrary)]
struct Forged {
    crowd: Crowd,
    gain: i64,
    cluster: Option<u32>,
    correlation: u32,
    class_log: Vec<i64>,
    logs: Vec<i32>,
    votes: Vec<(u32, u16)>,
    late: Vec<(u32, u16)>,
    posteriors: Vec<u32>,
    skill_ppm: i64,
    counted: u32,
}

impl Crowd {
    fn explanation(&self, items: u32, labelers: u32) -> Option<Explanation> {
        let classes = 2 + u16::from(self.classes % 6);
        let label = |label: u8| u16::from(label) % classes;
        let votes: BTreeMap<(u32, u32), u16> = self
            .votes
            .iter()
            .map(|&(item, labeler, own)| {
                let key = (u32::from(item) % items, u32::from(labeler) % labelers);
                (key, label(own))
            })
            .collect();
        let votes: Vec<Vote> = votes
            .into_iter()
            .map(|((item, labeler), label)| Vote {
                item,
                labeler,
                label,
            })
            .collect();
        let gold = self
            .gold
            .map(|(item, own)| (u32::from(item) % items, label(own)));
        let scoring = ClassScoring::fit(&ClassInput {
            items,
            labelers,
            classes,
            votes: &votes,
            gold: &gold.into_iter().collect(),
            priors: &[],
        })
        .expect("the input is in range");
        let terms = self
            .terms
            .map(|(price, full, cap, withheld, bond)| PayTerms {
                price: Amount(price.into()),
                full_skill_ppm: full,
                loss_cap_ppm: cap,
                least_skill_ppm: PayRule::LEAST_SKILL_PPM,
                withheld,
                bond: Amount(bond.into()),
            });
        let vote = votes.get(usize::from(self.pick) % votes.len().max(1))?;
        let explanation = Explanation::of(&scoring, vote.item, vote.labeler, terms)
            .expect("the labeler voted on the item");
        assert!(explanation.rederive().is_ok());
        Some(explanation)
    }
}

impl Forged {
    fn explanation(&self) -> Option<Explanation> {
        let mut forged = self.crowd.explanation(1, 1)?;
        let case = &mut forged.case;
        fill(&mut case.weights.class_log[0], &self.class_log);
        case.weights.correlation = self.correlation;
        if !self.votes.is_empty() {
            case.votes.votes.clone_from(&self.votes);
        }
        case.votes.late.clone_from(&self.late);
        fill(&mut case.claim.posteriors, &self.posteriors);
        let voter = case.rows.first_mut()?;
        voter.row.gain = self.gain;
        voter.row.cluster = self.cluster;
        if let Some(column) = &mut voter.column {
            fill(&mut column.logs[0], &self.logs);
            voter.row.columns_root = column.hash();
        }
        forged.labeler.result.skill_ppm = self.skill_ppm;
        forged.labeler.result.votes = self.counted;
        case.input.items_root = case.votes.hash();
        case.score.table_root = case.rows[0].row.hash();
        case.score.table = case.weights.hash();
        case.score.items_root = case.claim.hash();
        case.score.labelers_root = forged.labeler.hash();
        case.score.input = case.input.root();
        Some(forged)
    }
}

/// Puts the first numbers in place of as many others.
fn fill<T: Copy>(list: &mut [T], numbers: &[T]) {
    for (slot, &number) in list.iter_mut().zip(numbers) {
        *slot = number;
    }
}

/// Whatever is read is canonical, and whatever holds is sound.
fn check(bytes: &[u8]) {
    let Ok(explanation) = Explanation::decode(bytes) else {
        return;
    };
    assert_eq!(explanation.encode(), bytes);
    if let Ok(derived) = explanation.rederive() {
        for item in [&derived.item, &derived.without] {
            assert_eq!(item.posteriors.iter().sum::<u32>(), 65_536);
        }
        assert_eq!(derived.item, explanation.case.claim);
        assert_eq!(derived.score_root, explanation.case.score.root());
    }
}

fuzz_target!(|case: Case| {
    match case {
        Case::Bytes(bytes) => check(&bytes),
        Case::Changed(crowd, flips) => {
            let Some(explanation) = crowd.explanation(3, 5) else {
                return;
            };
            let mut bytes = explanation.encode();
            for (at, byte) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            check(&bytes);
        }
        Case::Forged(forged) => {
            if let Some(explanation) = forged.explanation() {
                check(&explanation.encode());
            }
        }
    }
});
