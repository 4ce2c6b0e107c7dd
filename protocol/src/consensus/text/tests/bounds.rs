//! Long texts, and inputs that nobody would give: distances stay right and nothing panics.

use proptest::prelude::*;

use super::super::*;
use super::edits;
use crate::consensus::draw::Rng;

#[test]
fn long_texts_have_the_same_distances_with_and_without_bit_vectors() {
    let mut rng = Rng(64);
    for case in 0..400 {
        let length = |rng: &mut Rng| match case % 3 {
            0 => 60 + rng.below(8),
            1 => rng.below(130),
            _ => 64 + rng.below(2),
        };
        let draw =
            |rng: &mut Rng| -> Vec<u32> { (0..length(rng)).map(|_| rng.below(5) as u32).collect() };
        let one = draw(&mut rng);
        let others: Vec<Vec<u32>> = (0..3).map(|_| draw(&mut rng)).collect();
        let mut expected = others.iter().map(|other| edits(&one, other) as u32);
        let mut measure = Distance::new(5);
        measure.each(&one, others.iter().map(|other| &other[..]), |found| {
            assert_eq!(Some(found), expected.next());
        });
        assert_eq!(expected.next(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answers_make_the_engine_panic(
        votes in proptest::collection::vec((0u32..5, 0u32..6, "\\PC{0,40}|[ab ,.\u{0}\u{130}]{0,150}"), 0..24),
        items in 0u32..5,
        labelers in 0u32..6,
        gold in proptest::collection::btree_map(0u32..5, "\\PC{0,12}", 0..3),
    ) {
        let votes: Vec<TextVote<'_>> = votes
            .iter()
            .map(|(item, labeler, text)| TextVote { item: *item, labeler: *labeler, text })
            .collect();
        let gold = gold.iter().map(|(&item, text)| (item, &text[..])).collect();
        if let Ok(result) = infer_text(&TextInput { items, labelers, votes: &votes, gold: &gold }) {
            prop_assert!(result.labelers.iter().all(|labeler| labeler.skill_ppm.abs() <= 1_000_000));
            prop_assert!(result.items.iter().all(|item| item.posterior <= ONE));
        }
    }

    #[test]
    fn no_table_makes_the_engine_panic(
        weight in proptest::collection::vec(any::<u32>(), 0..5),
        mut shared in proptest::collection::vec((0u32..8, 0u32..8, 0u32..70_000), 0..5),
        longer in 0u32..300,
        texts in proptest::collection::vec((0u32..5, "[abc ]{0,12}"), 0..4),
    ) {
        shared.sort_unstable();
        let table = TextTable { weight, shared, longer };
        let votes: Vec<(u32, &str)> = texts.iter().map(|(labeler, text)| (*labeler, &text[..])).collect();
        let _ = text_from_table(&table, &votes, None);
    }
}
