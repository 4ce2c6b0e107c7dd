//! Transcriptions.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use assay_protocol::consensus::{TextInput, TextVote, infer_text};

use super::{Crowd, Habit, Rng, admitted, habits, sheet};

struct Texts {
    items: u32,
    labelers: u32,
    votes: Vec<(u32, u32, String)>,
    gold: BTreeMap<u32, String>,
}

/// Words of more than one script, with letters whose lower case has another length.
const WORDS: [&str; 24] = [
    "the",
    "The",
    "a",
    "giant",
    "giant,",
    "GIANT",
    "tree",
    "trees",
    "straße",
    "STRASSE",
    "İzmir",
    "izmir",
    "молоко",
    "МОЛОКО",
    "ὈΔΥΣΣΕΎΣ",
    "ὀδυσσεύς",
    "東京",
    "e\u{301}te",
    "été",
    "...",
    "-",
    "42",
    "'tis",
    "tis",
];

/// Transcriptions.
pub fn text(items: u32, rng: &mut Rng) -> Box<dyn Crowd> {
    let habits = habits(items, rng);
    let mut crowd = Texts {
        items,
        labelers: habits.len() as u32,
        votes: Vec::new(),
        gold: BTreeMap::new(),
    };
    let word = |rng: &mut Rng| rng.below(WORDS.len() as u64) as usize;
    let joined = |words: &[usize]| {
        let words: Vec<&str> = words.iter().map(|&word| WORDS[word]).collect();
        words.join(" ")
    };
    for item in 0..items {
        let truth: Vec<usize> = (0..rng.below(14)).map(|_| word(rng)).collect();
        if rng.percent(6) {
            crowd.gold.insert(item, joined(&truth));
        }
        for labeler in rng.some_of(6, crowd.labelers) {
            let mut own: Vec<usize> = Vec::new();
            let mut draw = |right: u64, rng: &mut Rng| {
                for &true_word in &truth {
                    match rng.below(100) {
                        hit if hit < right => own.push(true_word),
                        hit if hit % 3 == 0 => own.push(word(rng)),
                        hit if hit % 3 == 1 => own.extend([true_word, word(rng)]),
                        _ => {}
                    }
                }
            };
            match habits[labeler as usize] {
                Habit::Able(right) => draw(right, rng),
                Habit::Copies(group) => draw(60, &mut Rng(sheet(item, group))),
                Habit::Blind => own.extend((0..rng.below(9)).map(|_| word(rng))),
                Habit::Constant(value) => own.push(value as usize % WORDS.len()),
            }
            crowd.votes.push((item, labeler, joined(&own)));
        }
    }
    Box::new(crowd)
}

impl Crowd for Texts {
    fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.votes);
    }

    fn score(&self, out: &mut dyn Write) -> Result {
        let votes: Vec<TextVote<'_>> = self
            .votes
            .iter()
            .map(|&(item, labeler, ref text)| TextVote {
                item,
                labeler,
                text,
            })
            .collect();
        let gold = self
            .gold
            .iter()
            .map(|(&item, text)| (item, text.as_str()))
            .collect();
        let result = admitted(infer_text(&TextInput {
            items: self.items,
            labelers: self.labelers,
            votes: &votes,
            gold: &gold,
        }));
        write!(out, "{result:?}")
    }
}
