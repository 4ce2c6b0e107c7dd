//! Truth inference for transcriptions and other texts: several answers per item become one text.
//!
//! ```text
//! answers -> words -> distances -> central answers -> network, walk -> texts
//!                                    | ^ ROUNDS
//!                           shared errors, weights, worth of a word more
//! ```
//!
//! Per item: the answer with the least weighted distance from the others starts a word transition network, the others join by their
//! distance from it, slots are voted on (weighted ROVER); the voted text is then changed word by word while that lowers its expected
//! distance from the answers (minimum Bayes risk) less what its words are worth; at last each word gets the heaviest of the spellings that the
//! answers give it, and the marks before and after it that the answers have in its place. Where answers of half of the weight are one
//! text, the walk begins there.
//!
//! | file | what |
//! |---|---|
//! | `words` | input, limits, checks, words |
//! | `align` | distance, network |
//! | `walk` | steps to the median text |
//! | `spelling` | case and marks of the chosen words |
//! | `labelers` | weights, shared errors, worth of a word more, skill |
//!
//! What it does not do: no language model, no dictionary, no repair of characters inside a word that nobody spelled that way.
//! Invariants: a pure function of the set of votes and the gold; the order of the votes changes nothing; an item's text is a function of
//! its votes and the [`TextTable`]; without gold, every word was given by some answer to the item, though perhaps with other marks at its edges.

mod align;
mod labelers;
mod spelling;
mod walk;
mod words;

#[cfg(test)]
mod tests;

pub use words::{
    MAX_TEXT_BYTES, MAX_TEXT_CELLS, MAX_TEXT_PAIRS, MAX_TEXT_TOTAL_BYTES, MAX_TEXT_VOTES,
    MAX_TEXT_VOTES_PER_ITEM, MAX_TEXT_WORDS, TextInput, TextVote,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::align::{Distance, Network};
use self::labelers::{Distances, Pairs, Shared, normalised};
use self::spelling::Place;
use self::walk::{Median, Room};
use self::words::Index;
use super::error::ConsensusError;
use super::fixed::{FRACTION_BITS, ONE};
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/text/5";
/// Rounds of central answers against weights; the last one gives the texts.
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
            walk::WORD,
            walk::KINSHIP,
            walk::KIN_MIN,
            walk::STEPS_MAX as u64,
            walk::WALK_CELLS_MAX as u64,
            labelers::WEIGHT_MAX_Q16,
            labelers::WRONG_Q16.0.unsigned_abs(),
            labelers::WRONG_Q16.1.unsigned_abs(),
            u64::from(labelers::SHARED_MIN),
            labelers::SHARED_DOUBT.unsigned_abs(),
            labelers::SHARED_LEAST_Q16.unsigned_abs(),
            u64::from(labelers::LENGTH_SHARE),
            u64::from(labelers::LENGTH_MAX),
            labelers::LENGTH_FAR_Q16.unsigned_abs(),
            labelers::LENGTH_VOTES_MIN as u64,
            labelers::GOLD_WEIGHT.unsigned_abs(),
            labelers::DOUBT_Q16.unsigned_abs(),
        ],
    );
}

/// What the votes say about one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// What a word more is worth to a text, in thousandths of a word of all answers.
    pub longer: u32,
}

impl TextTable {
    fn check(&self, labelers: usize) -> Result<(), ConsensusError> {
        let fits = self.weight.len() == labelers
            && self
                .weight
                .iter()
                .all(|&weight| (1..=labelers::WEIGHT_MAX_Q16).contains(&u64::from(weight)))
            && self.longer <= labelers::LENGTH_MAX
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
    /// Weights, shared errors, worth of a word more.
    pub table: TextTable,
}

/// Infers one text per item and the skill of each labeler.
///
/// # Errors
/// [`ConsensusError`] names the first vote that is out of range, too long or a repetition, or the limit that is exceeded.
pub fn infer_text(input: &TextInput<'_>) -> Result<TextResult, ConsensusError> {
    let index = Index::new(input)?;
    let mut desk = Desk::new(&index);
    let distances = Distances::new(&index, &mut desk.measure);
    let pairs = Pairs::new(&index);
    let mut table = TextTable {
        weight: vec![ONE; index.labelers],
        shared: Vec::new(),
        longer: 0,
    };
    let mut shared = Shared::new(&table);
    let mut usual = 0;
    let mut centres: Vec<Option<usize>> = Vec::with_capacity(index.items());
    for _ in 1..ROUNDS {
        centres.clear();
        centres.extend((0..index.items()).map(|item| {
            let weights = weights_of(&index.labeler[index.votes(item)], (&table, &shared));
            centre(&index, &distances, item, &weights).map(|(_, centre)| centre)
        }));
        table.shared =
            labelers::shared_errors(&index, &distances, &mut desk.measure, &pairs, &centres);
        shared = Shared::new(&table);
        (table.weight, usual) = labelers::weights(&index, &distances, &table, &shared);
    }
    table.longer = labelers::length_worth(&index, &distances, usual);
    let mut votes = vec![0u32; index.labelers];
    for &labeler in &index.labeler {
        votes[labeler as usize] += 1;
    }
    let skills = labelers::skills(&index, &distances, &mut desk.measure, &table, &shared);
    Ok(TextResult {
        items: (0..index.items())
            .map(|item| desk.judge(&index, &distances, (&table, &shared), item))
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
    let mut desk = Desk::new(&index);
    let distances = Distances::new(&index, &mut desk.measure);
    Ok(desk.judge(&index, &distances, (table, &Shared::new(table)), 0))
}

/// Weights of the votes on an item: those with a common source of errors share.
fn weights_of(labelers: &[u32], (table, shared): (&TextTable, &Shared)) -> Vec<u64> {
    let alike = |own: u32| -> u64 {
        let others = labelers.iter().filter(|&&other| other != own);
        others
            .map(|&other| u64::from(shared.errors(own, other)))
            .sum()
    };
    let weight = |&own: &u32| {
        let weight = u64::from(table.weight[own as usize]);
        match alike(own) {
            0 => weight,
            alike => ((weight << FRACTION_BITS) / (u64::from(ONE) + alike)).max(1),
        }
    };
    labelers.iter().map(weight).collect()
}

/// The weighted distance of an item's most central answer from the others, and its place.
fn centre(
    index: &Index<'_>,
    distances: &Distances,
    item: usize,
    weights: &[u64],
) -> Option<(u64, usize)> {
    let risk = |own: usize| -> u64 { weighted(distances.row(index, item, own), weights) };
    (0..weights.len()).map(|own| (risk(own), own)).min()
}

/// The sum of an item's distances, each with the weight of its answer.
fn weighted(distances: &[u32], weights: &[u64]) -> u64 {
    (distances.iter().zip(weights))
        .map(|(&distance, weight)| u64::from(distance) * weight)
        .sum()
}

/// Room for the work on one item after the other.
struct Desk {
    measure: Distance,
    network: Network,
    table: Vec<u32>,
    room: Room,
}

impl Desk {
    fn new(index: &Index<'_>) -> Self {
        Self {
            measure: Distance::new(index.dictionary.len()),
            network: Network::new(index.dictionary.len()),
            table: Vec::new(),
            room: Room::default(),
        }
    }

    /// The consensus of an item without gold, as words.
    fn words(
        &mut self,
        index: &Index<'_>,
        distances: &Distances,
        item: usize,
        (weights, longer): (&[u64], u32),
    ) -> Vec<u32> {
        let texts: Vec<&[u32]> = index.texts[index.votes(item)]
            .iter()
            .map(|text| &text.words[..])
            .collect();
        let Some((least, centre)) = centre(index, distances, item, weights) else {
            return Vec::new();
        };
        if least == 0 {
            return texts[centre].to_vec();
        }
        let from_centre = distances.row(index, item, centre);
        let (same, all) = (from_centre.iter().zip(weights)).fold((0, 0), |sum, entry| {
            let own = if *entry.0 == 0 { *entry.1 } else { 0 };
            (sum.0 + own, sum.1 + *entry.1)
        });
        if walk::is_median(same, all, longer) {
            return texts[centre].to_vec();
        }
        let (mut start, mut distant) = (texts[centre].to_vec(), from_centre.to_vec());
        if same < all - same {
            let mut order: Vec<usize> = (0..texts.len()).collect();
            order.sort_unstable_by_key(|&place| (place != centre, from_centre[place], place));
            self.network.clear();
            for place in order {
                self.network.add(texts[place], weights[place]);
            }
            // Even where an answer is closer to all: from what all say together the walk gets further than from what one says.
            start = self.network.best();
            distant.clear();
            let others = texts.iter().copied();
            self.measure
                .each(&start, others, |distance| distant.push(distance));
        }
        match Median::new(&texts, weights, &index.dictionary, (start.len(), longer)) {
            Some(median) => median.walk(&start, &distant, &mut self.room),
            None if least <= weighted(&distant, weights) => texts[centre].to_vec(),
            None => start,
        }
    }

    /// The published result of one item.
    fn judge(
        &mut self,
        index: &Index<'_>,
        distances: &Distances,
        table: (&TextTable, &Shared),
        item: usize,
    ) -> TextItem {
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
        let weights = weights_of(&index.labeler[votes.clone()], table);
        let words = self.words(index, distances, item, (&weights, table.0.longer));
        let texts = &index.texts[votes.clone()];
        let mut places: Vec<Place<'_>> = vec![Place::default(); words.len()];
        let (mut agreement, mut all) = (0u64, u64::from(ONE));
        let mut answers = texts.iter().zip(&weights);
        let others = texts.iter().map(|text| &text.words[..]);
        let table = &mut self.table;
        self.measure.each(&words, others, |distance| {
            let Some((text, &weight)) = answers.next() else {
                return;
            };
            spelling::vote(&words, text, (distance, weight), &mut places, table);
            let away = normalised(distance, words.len(), text.words.len());
            agreement += weight * u64::from(ONE - away);
            all += weight;
        });
        let mut text = String::new();
        for (number, (&word, place)) in words.iter().zip(&places).enumerate() {
            if number > 0 {
                text.push(' ');
            }
            // A word that the walk moved away from where its givers have it is spelled as anywhere.
            place.write(&mut text, || anywhere(index, votes.clone(), word));
        }
        TextItem {
            text: Some(text),
            posterior: (agreement / all) as u32,
            votes: count,
        }
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
