//! Truth inference for transcriptions and other texts: several answers per item become one text.
//!
//! ```text
//! answers -> words -> distances -> network, best candidate, walk --> consensus
//!                         ^ weights, shared errors  <-- ROUNDS --/
//! ```
//!
//! Per item: the answer with the least weighted distance from the others starts a word transition network, the others join by their
//! distance from it, slots are voted on (weighted ROVER); the candidate with the least expected distance among the network's text and
//! the answers (minimum Bayes risk) is then changed word by word while that brings it closer to the weighted answers; at last
//! each word gets the heaviest of the spellings that the answers give it there.
//!
//! | file | what |
//! |---|---|
//! | `words` | input, limits, checks, words |
//! | `align` | distance, network, walk |
//! | `labelers` | weights, shared errors, skill |
//!
//! What it does not do: no language model, no dictionary, no repair of characters inside a word that nobody spelled that way.
//! Invariants: a pure function of the set of votes and the gold; the order of the votes changes nothing; an item's text is a function of
//! its votes and the [`TextTable`]; without gold, every word was given by some answer to the item.

mod align;
mod labelers;
mod words;

#[cfg(test)]
mod tests;

pub use words::{
    MAX_TEXT_BYTES, MAX_TEXT_CELLS, MAX_TEXT_PAIRS, MAX_TEXT_TOTAL_BYTES, MAX_TEXT_VOTES,
    MAX_TEXT_VOTES_PER_ITEM, MAX_TEXT_WORDS, TextInput, TextVote,
};

use std::collections::BTreeMap;

use self::align::{Median, Network, distance};
use self::labelers::{Distances, normalised};
use self::words::Index;
use super::error::ConsensusError;
use super::fixed::{FRACTION_BITS, ONE};
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/text/1";
/// Rounds of consensus against weights; the last one only reads.
const ROUNDS: u32 = 3;

/// Feeds the method's name, all its parameters and the Unicode version to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    let unicode = char::UNICODE_VERSION;
    hash_parameters(
        hasher,
        &[
            u64::from(unicode.0),
            u64::from(unicode.1),
            u64::from(unicode.2),
            u64::from(ROUNDS),
            align::WORD,
            align::KINSHIP,
            align::KIN_MIN,
            align::STEPS_MAX as u64,
            align::WALK_CELLS_MAX as u64,
            labelers::PRIOR_ITEMS,
            labelers::WEIGHT_MAX_Q16,
            labelers::CONFIRMED_MIN_Q16,
            u64::from(labelers::SHARED_MIN),
            labelers::SHARED_DOUBT.unsigned_abs(),
            labelers::SHARED_LEAST_Q16.unsigned_abs(),
            labelers::GOLD_WEIGHT.unsigned_abs(),
            labelers::DOUBT_Q16.unsigned_abs(),
        ],
    );
}

/// What the votes say about one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextItem {
    /// The text: the gold where there is some, `None` without votes and gold.
    pub text: Option<String>,
    /// Expected share of right words, Q16: weighted agreement of the answers with the text, with one vote of doubt added. One answer
    /// alone has a half, three equal ones three quarters; gold has 65,536.
    pub posterior: u32,
    /// Votes given.
    pub votes: u32,
}

/// What the votes say about one labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextLabeler {
    /// Votes given.
    pub votes: u32,
    /// Chance-corrected skill in parts per million, judged without the own votes: zero for texts that have nothing to do with the item.
    pub skill_ppm: i64,
}

/// Labeler table: what [`text_from_table`] needs besides the votes of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTable {
    /// Weight of each labeler, Q16.
    pub weight: Vec<u32>,
    /// Pairs with a common source of errors: smaller labeler, larger labeler, share (Q16); sorted.
    pub shared: Vec<(u32, u32, u32)>,
}

impl TextTable {
    /// Share of common errors of two labelers, Q16; zero unless listed.
    fn shared_errors(&self, a: u32, b: u32) -> u32 {
        let key = (a.min(b), a.max(b));
        self.shared
            .binary_search_by_key(&key, |pair| (pair.0, pair.1))
            .map_or(0, |place| self.shared[place].2)
    }

    fn check(&self, labelers: usize) -> Result<(), ConsensusError> {
        let fits = self.weight.len() == labelers
            && self
                .weight
                .iter()
                .all(|&weight| (1..=labelers::WEIGHT_MAX_Q16).contains(&u64::from(weight)))
            && self.shared.iter().all(|pair| pair.2 <= ONE)
            && self.shared.is_sorted_by(|x, y| (x.0, x.1) < (y.0, y.1));
        if fits {
            Ok(())
        } else {
            Err(ConsensusError::ForeignTable)
        }
    }
}

/// Result of [`infer_text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextResult {
    /// One entry per item.
    pub items: Vec<TextItem>,
    /// One entry per labeler.
    pub labelers: Vec<TextLabeler>,
    /// Weights and shared errors.
    pub table: TextTable,
}

/// Infers one text per item and the skill of each labeler.
///
/// # Errors
/// [`ConsensusError`] names the first vote that is out of range, too long or a repetition, or the limit that is exceeded.
pub fn infer_text(input: &TextInput<'_>) -> Result<TextResult, ConsensusError> {
    let index = Index::new(input)?;
    let distances = Distances::new(&index);
    let mut table = TextTable {
        weight: vec![ONE; index.labelers],
        shared: Vec::new(),
    };
    for _ in 1..ROUNDS {
        let consensus: Vec<Vec<u32>> = (0..index.items())
            .map(|item| match index.gold.get(&(item as u32)) {
                Some((_, gold)) => gold.words.clone(),
                None => words_of(&index, &distances, &table, item, false),
            })
            .collect();
        let shared = labelers::shared_errors(&index, &distances, &consensus);
        table.shared = shared;
        table.weight = labelers::weights(&index, &distances, &table);
    }
    let mut votes = vec![0u32; index.labelers];
    for &labeler in &index.labeler {
        votes[labeler as usize] += 1;
    }
    let skills = labelers::skills(&index, &distances, &table);
    Ok(TextResult {
        items: (0..index.items())
            .map(|item| judge(&index, &distances, &table, item))
            .collect(),
        labelers: votes
            .into_iter()
            .zip(skills)
            .map(|(votes, skill_ppm)| TextLabeler { votes, skill_ppm })
            .collect(),
        table,
    })
}

/// Recomputes one item from its answers and the table of the whole result; `votes` all name `item`.
///
/// # Errors
/// The same as [`infer_text`], and [`ConsensusError::ForeignTable`].
pub fn text_from_table(
    table: &TextTable,
    votes: &[(u32, &str)],
    gold: Option<&str>,
) -> Result<TextItem, ConsensusError> {
    let votes: Vec<TextVote<'_>> = votes
        .iter()
        .map(|&(labeler, text)| TextVote {
            item: 0,
            labeler,
            text,
        })
        .collect();
    let gold: BTreeMap<u32, &str> = gold.map(|text| (0, text)).into_iter().collect();
    let index = Index::new(&TextInput {
        items: 1,
        labelers: table.weight.len() as u32,
        votes: &votes,
        gold: &gold,
    })?;
    table.check(index.labelers)?;
    Ok(judge(&index, &Distances::new(&index), table, 0))
}

/// Weights of the votes on an item: those with a common source of errors share.
fn weights_of(index: &Index<'_>, table: &TextTable, item: usize) -> Vec<u64> {
    let labelers = &index.labeler[index.votes(item)];
    labelers
        .iter()
        .map(|&own| {
            let alike: u64 = labelers
                .iter()
                .filter(|&&other| other != own)
                .map(|&other| u64::from(table.shared_errors(own, other)))
                .sum();
            let weight = u64::from(table.weight[own as usize]);
            ((weight << FRACTION_BITS) / (u64::from(ONE) + alike)).max(1)
        })
        .collect()
}

/// The consensus of an item without gold, as words; without the walk it is good enough to judge labelers by, at a fraction of the cost.
fn words_of(
    index: &Index<'_>,
    distances: &Distances,
    table: &TextTable,
    item: usize,
    walk: bool,
) -> Vec<u32> {
    let votes = index.votes(item);
    let texts: Vec<&[u32]> = index.texts[votes]
        .iter()
        .map(|text| &text.words[..])
        .collect();
    let weights = weights_of(index, table, item);
    let risk = |row: &mut dyn Iterator<Item = u32>| -> u64 {
        row.zip(&weights)
            .map(|(distance, weight)| u64::from(distance) * weight)
            .sum()
    };
    let Some((least, centre)) = (0..texts.len())
        .map(|own| {
            (
                risk(&mut distances.row(index, item, own).iter().copied()),
                own,
            )
        })
        .min()
    else {
        return Vec::new();
    };
    if least == 0 {
        return texts[centre].to_vec();
    }
    let from_centre = distances.row(index, item, centre);
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&place| (place != centre, from_centre[place], place));
    let mut network = Network::default();
    for place in order {
        network.add(texts[place], weights[place]);
    }
    let voted = network.best();
    let voted_risk = risk(&mut texts.iter().map(|text| distance(&voted, text)));
    let start = if voted_risk < least {
        &voted[..]
    } else {
        texts[centre]
    };
    if !walk {
        return start.to_vec();
    }
    match Median::new(&texts, &weights, &index.dictionary, start.len()) {
        Some(median) => median.walk(start),
        None => start.to_vec(),
    }
}

/// The published result of one item.
fn judge(index: &Index<'_>, distances: &Distances, table: &TextTable, item: usize) -> TextItem {
    let votes = index.votes(item);
    let count = votes.len() as u32;
    if let Some((gold, _)) = index.gold.get(&(item as u32)) {
        return TextItem {
            text: Some((*gold).to_owned()),
            posterior: ONE,
            votes: count,
        };
    }
    if count == 0 {
        return TextItem {
            text: None,
            posterior: 0,
            votes: 0,
        };
    }
    let words = words_of(index, distances, table, item, true);
    let weights = weights_of(index, table, item);
    let mut spellings: Vec<BTreeMap<&str, (u64, u32)>> = vec![BTreeMap::new(); words.len()];
    let (mut agreement, mut all) = (0u64, u64::from(ONE));
    for (text, &weight) in index.texts[votes.clone()].iter().zip(&weights) {
        for (place, found) in align::matches(&words, &text.words).into_iter().enumerate() {
            if let Some(position) = found {
                let slot = spellings[place].entry(text.spelled[position]).or_default();
                slot.0 += weight;
                slot.1 += 1;
            }
        }
        let away = normalised(distance(&words, &text.words), words.len(), text.words.len());
        agreement += weight * u64::from(ONE - away);
        all += weight;
    }
    let spelled: Vec<&str> = words
        .iter()
        .zip(&spellings)
        .map(|(&word, found)| {
            let mut best: Option<(&str, (u64, u32))> = None;
            for (&spelling, &support) in found {
                if best.is_none_or(|(_, least)| support > least) {
                    best = Some((spelling, support));
                }
            }
            // A word that the walk moved away from where its givers have it.
            best.map_or_else(|| anywhere(index, votes.clone(), word), |(word, _)| word)
        })
        .collect();
    TextItem {
        text: Some(spelled.join(" ")),
        posterior: (agreement / all) as u32,
        votes: count,
    }
}

/// The first spelling of a word in an item's answers, by its bytes.
fn anywhere<'a>(index: &Index<'a>, votes: std::ops::Range<usize>, word: u32) -> &'a str {
    index.texts[votes]
        .iter()
        .flat_map(|text| text.words.iter().zip(&text.spelled))
        .filter(|(own, _)| **own == word)
        .map(|(_, spelled)| *spelled)
        .min()
        .unwrap_or_default()
}
