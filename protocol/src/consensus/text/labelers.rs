//! What the texts say about labelers: weight, shared errors, length, skill.
//!
//! **Weight.** The mean distance of a labeler's answers from the others' answers to the same items, against the mean of each item, gives
//! the share of words that are not confirmed. A word is confirmed when neither the labeler nor the other errs there, so the root of what
//! the crowd usually confirms is the share of words that it usually has right, and a labeler's share of right words is what is confirmed of
//! theirs over that root. The weight is the information in a word of the labeler's, minus the logarithm of their share of wrong words,
//! over the crowd's: who is wrong half as often counts a fixed amount more, so that differences count for more in a good crowd, where
//! they are of skill, than in one that mostly disagrees, where they are of taste. Nothing draws a short record to one: what few answers
//! say of their giver, they say of themselves too.
//!
//! **Shared errors.** Two people who make their own mistakes leave the consensus in different directions: the distance between them is
//! the sum of their distances from it. (The answer closest to the others stands for the consensus here, as good for this as the text that
//! is published and far cheaper.) `(d(a, c) + d(b, c) - d(a, b)) / 2`, the Gromov product, is the way that both go together. Where
//! it exceeds the crowd's usual share of the shorter way, the two have a source in common (the same translation program, one
//! person with two accounts), and their votes on the same item share weight. Agreement on what the consensus says costs nothing.
//!
//! **Length.** Some crowds leave out what they do not understand, others paraphrase. Where those who say more are closer to the rest, the others
//! left something out that is true, and so did, more often than not, whoever has no word where half of the weight has one. The regression
//! of an answer's distance from the rest on its length, both against the item's mean, shows it; a crowd whose words agree by chance alone
//! has a slope of a half of its mean distance (a longer answer is a word further away for each word more, a shorter one no nearer), and as far
//! as the slope is below that, a word more is worth something to a text. It is never worth less than nothing.
//!
//! **Skill.** With distances normalised by the longer text:
//!
//! ```text
//! A = mean distance of the own answer from the others' answers to the item
//! E = mean distance of the own answer from the others' answers to another item
//! M = least mean distance of any of the others' answers from the rest of them
//! skill = sum (E - A) / (sum (E - M) + d)     d = DOUBT_Q16
//! ```
//!
//! The other item is the next one in the labeler's own list, the last one's being the first, so over a wave each answer and each item
//! occurs once on both sides: answers that do not look at the item, a constant text above all, have the same expected A and E, hence
//! expected skill zero; an answer as central as the best of the others has skill one. The own vote enters neither side.
//! Gold stands in place of the others' answers with M = 0 and weight [`GOLD_WEIGHT`].
//! Invariant: skill lies within plus and minus 1,000,000.

use super::TextTable;
use super::align::Distance;
use super::words::Index;
use crate::consensus::fixed::{self, FRACTION_BITS, ONE};

/// Largest weight, Q16.
pub(super) const WEIGHT_MAX_Q16: u64 = 8 << 16;
/// Smallest and largest share of wrong words that are told apart, Q16.
pub(super) const WRONG_Q16: (i64, i64) = (655, 64_225);
/// Fewest shared items before shared errors count, in items.
pub(super) const SHARED_MIN: u32 = 3;
/// Words of independent errors that are added to every pair's record, in words.
pub(super) const SHARED_DOUBT: i64 = 16;
/// Smallest share of common errors that counts, Q16.
pub(super) const SHARED_LEAST_Q16: i64 = 6554;
/// Most that a word more is worth to a text, in thousandths of a word.
pub(super) const LENGTH_MAX: u32 = 200;
/// What a word more is worth where the longer answers are closer by a word for each, in thousandths of a word.
pub(super) const LENGTH_SHARE: u32 = 200;
/// Furthest from the usual length of an item's answers that tells more than nearer ones, Q16 of it.
pub(super) const LENGTH_FAR_Q16: i64 = 1 << 15;
/// Weight of a gold item against an item judged by other labelers.
pub(super) const GOLD_WEIGHT: i64 = 2;
/// Evidence of no skill that is added to everybody's record, in whole distances, Q16.
pub(super) const DOUBT_Q16: i64 = 1 << 15;
/// Parts per million in one.
const PPM: i128 = 1_000_000;

/// Distances between the answers of each item.
pub(super) struct Distances {
    start: Vec<usize>,
    /// In words; per item a square of as many rows as it has answers.
    cells: Vec<u32>,
    /// Over the longer text, Q16.
    shares: Vec<u32>,
}

impl Distances {
    pub fn new(index: &Index<'_>, measure: &mut Distance) -> Self {
        let mut start = Vec::with_capacity(index.items() + 1);
        start.push(0);
        for item in 0..index.items() {
            start.push(start[item] + index.votes(item).len().pow(2));
        }
        let (mut cells, mut shares) =
            (vec![0; start[index.items()]], vec![0; start[index.items()]]);
        for (item, &first) in start[..index.items()].iter().enumerate() {
            let texts = &index.texts[index.votes(item)];
            let count = texts.len();
            for (a, one) in texts.iter().enumerate() {
                let mut b = a;
                let others = texts[a + 1..].iter().map(|text| &text.words[..]);
                measure.each(&one.words, others, |value| {
                    b += 1;
                    let share = normalised(value, one.words.len(), texts[b].words.len());
                    for cell in [first + a * count + b, first + b * count + a] {
                        cells[cell] = value;
                        shares[cell] = share;
                    }
                });
            }
        }
        Self {
            start,
            cells,
            shares,
        }
    }

    /// Distances of the answer in place `a` of an item from all its answers, in words.
    pub fn row(&self, index: &Index<'_>, item: usize, a: usize) -> &[u32] {
        let count = index.votes(item).len();
        &self.cells[self.start[item] + a * count..][..count]
    }

    /// All distances of an item over the longer text, Q16, row by row.
    fn shares(&self, item: usize) -> &[u32] {
        &self.shares[self.start[item]..self.start[item + 1]]
    }
}

/// Distance over the longer of two lengths, Q16.
pub(super) fn normalised(distance: u32, a: usize, b: usize) -> u32 {
    if distance == 0 {
        return 0;
    }
    fixed::ratio(u64::from(distance), a.max(b) as u64)
}

/// The shared errors of a table, by labeler.
pub(super) struct Shared {
    start: Vec<u32>,
    /// The other labeler and the share, Q16; sorted for each labeler.
    pairs: Vec<(u32, u32)>,
}

impl Shared {
    pub fn new(table: &TextTable) -> Self {
        let mut both: Vec<(u32, u32, u32)> = table
            .shared
            .iter()
            .flat_map(|&(a, b, share)| [(a, b, share), (b, a, share)])
            .collect();
        both.sort_unstable();
        let mut start = vec![0u32; table.weight.len() + 1];
        for &(a, _, _) in &both {
            // Names of a foreign table that no labeler has are never asked for.
            if let Some(count) = start.get_mut(a as usize + 1) {
                *count += 1;
            }
        }
        for labeler in 0..table.weight.len() {
            start[labeler + 1] += start[labeler];
        }
        Self {
            start,
            pairs: both.into_iter().map(|(_, b, share)| (b, share)).collect(),
        }
    }

    /// Share of common errors of two labelers, Q16; zero unless listed.
    pub fn errors(&self, a: u32, b: u32) -> u32 {
        let (from, to) = (self.start[a as usize], self.start[a as usize + 1]);
        if from == to {
            return 0;
        }
        let list = &self.pairs[from as usize..to as usize];
        list.binary_search_by_key(&b, |pair| pair.0)
            .map_or(0, |place| list[place].1)
    }
}

/// Weight of a vote as evidence about another: less where the two labelers share errors.
fn apart(table: &TextTable, shared: &Shared, a: u32, b: u32) -> u64 {
    let weight = u64::from(table.weight[b as usize]);
    match shared.errors(a, b) {
        0 => weight,
        errors => (weight * u64::from(ONE - errors)) >> FRACTION_BITS,
    }
}

/// Sums over the other answers of an item: weighted distances (Q16) and weights.
#[derive(Clone, Copy)]
struct Others {
    sum: u64,
    weights: u64,
}

impl Others {
    /// Mean distance, Q16; `None` without any other answer.
    fn mean(self) -> Option<u64> {
        (self.weights > 0).then(|| self.sum / self.weights)
    }
}

/// The answers of an item as evidence about each other.
#[derive(Default)]
struct Evidence {
    /// Weight of each answer as evidence about each; row by row.
    apart: Vec<u64>,
    others: Vec<Others>,
}

impl Evidence {
    fn gather(&mut self, labelers: &[u32], shares: &[u32], table: &TextTable, shared: &Shared) {
        self.apart.clear();
        self.others.clear();
        let rows = shares.chunks(labelers.len().max(1));
        for (own, (&labeler, row)) in labelers.iter().zip(rows).enumerate() {
            let mut all = Others { sum: 0, weights: 0 };
            for (place, (&other, &share)) in labelers.iter().zip(row).enumerate() {
                let weight = if place == own {
                    0
                } else {
                    apart(table, shared, labeler, other)
                };
                all.sum += weight * u64::from(share);
                all.weights += weight;
                self.apart.push(weight);
            }
            self.others.push(all);
        }
    }

    /// Least mean distance of another answer than `own` from those that remain, Q16; zero where there are none.
    fn least_without(&self, own: usize, shares: &[u32]) -> u64 {
        let count = self.others.len();
        (0..count)
            .filter(|&place| place != own)
            .filter_map(|place| {
                let (cell, all) = (place * count + own, self.others[place]);
                let rest = Others {
                    sum: all.sum - self.apart[cell] * u64::from(shares[cell]),
                    weights: all.weights - self.apart[cell],
                };
                rest.mean()
            })
            .min()
            .unwrap_or(0)
    }
}

/// New weights from the distances between answers.
pub(super) fn weights(
    index: &Index<'_>,
    distances: &Distances,
    table: &TextTable,
    shared: &Shared,
) -> (Vec<u32>, i64) {
    // Per labeler: surplus distance over the item's mean, and items.
    let mut surplus = vec![(0i64, 0u64); index.labelers];
    let (mut all, mut count) = (0u64, 0u64);
    let mut evidence = Evidence::default();
    for item in 0..index.items() {
        let labelers = &index.labeler[index.votes(item)];
        evidence.gather(labelers, distances.shares(item), table, shared);
        let means = || evidence.others.iter().map(|others| others.mean());
        let known = means().flatten().count() as u64;
        let sum: u64 = means().flatten().sum();
        if known < 2 {
            continue;
        }
        all += sum;
        count += known;
        for (&labeler, mean) in labelers.iter().zip(means()) {
            if let Some(mean) = mean {
                let slot = &mut surplus[labeler as usize];
                slot.0 += mean as i64 - (sum / known) as i64;
                slot.1 += 1;
            }
        }
    }
    let usual = (all / count.max(1)).min(u64::from(ONE)) as i64;
    let crowd = information(usual, usual);
    let weight = |(sum, items): (i64, u64)| {
        let own = information(usual + sum / items.max(1) as i64, usual);
        ((own << FRACTION_BITS) / crowd).clamp(1, WEIGHT_MAX_Q16) as u32
    };
    (surplus.into_iter().map(weight).collect(), usual)
}

/// What a word more is worth to a text, in thousandths of a word; `usual` is the crowd's mean distance, Q16.
pub(super) fn length_worth(index: &Index<'_>, distances: &Distances, usual: i64) -> u32 {
    // How far an answer's length and its distance from the others are off the item's mean, over the mean length: product and square.
    let (mut product, mut square) = (0i128, 0i128);
    for item in 0..index.items() {
        let texts = &index.texts[index.votes(item)];
        let count = texts.len() as i64;
        let words: i64 = texts.iter().map(|text| text.words.len() as i64).sum();
        if texts.len() < LENGTH_VOTES_MIN || words == 0 {
            continue;
        }
        let away = |own: usize| -> i64 {
            let row = distances.row(index, item, own);
            row.iter().map(|&distance| i64::from(distance)).sum()
        };
        let all: i64 = (0..texts.len()).map(away).sum();
        for (own, text) in texts.iter().enumerate() {
            let longer = (count * text.words.len() as i64 - words) * i64::from(ONE) / words;
            let longer = i128::from(longer.clamp(-LENGTH_FAR_Q16, LENGTH_FAR_Q16));
            let further = (count * away(own) - all) * i64::from(ONE) / ((count - 1) * words);
            product += longer * i128::from(further);
            square += longer * longer;
        }
    }
    let chance = i128::from(usual / 2) * square;
    let worth = (chance - product * i128::from(ONE)) * i128::from(LENGTH_SHARE)
        / (square * i128::from(ONE)).max(1);
    worth.clamp(0, i128::from(LENGTH_MAX)) as u32
}

/// Information in a word of somebody whose words are unconfirmed with this share, where it is usually the other, both Q16; in bits, Q16:
/// between a fiftieth and seven.
fn information(unconfirmed: i64, usual: i64) -> u64 {
    let one = i64::from(ONE);
    let right = (((one - usual).unsigned_abs() << FRACTION_BITS).isqrt() as i64).max(1);
    let wrong = one - ((one - unconfirmed) << FRACTION_BITS) / right;
    let share = wrong.clamp(WRONG_Q16.0, WRONG_Q16.1);
    fixed::log2(u64::from(ONE)).abs_diff(fixed::log2(share.unsigned_abs()))
}

/// Fewest answers of an item that tell something about lengths.
pub(super) const LENGTH_VOTES_MIN: usize = 3;

/// Pairs of labelers with enough common items to tell whether they share errors.
pub(super) struct Pairs {
    /// Smaller and larger labeler; sorted.
    labelers: Vec<(u32, u32)>,
    /// Position there of each pair of answers, item by item and row by row; [`u32::MAX`] without.
    of_answers: Vec<u32>,
}

/// Fewest answers of an item that tell something about shared errors: two and a consensus.
const SHARED_VOTES_MIN: usize = 3;

impl Pairs {
    pub fn new(index: &Index<'_>) -> Self {
        // Smaller and larger labeler, and the number of the pair of answers.
        let mut met: Vec<(u64, u32)> = Vec::new();
        for item in 0..index.items() {
            let labelers = &index.labeler[index.votes(item)];
            if labelers.len() < SHARED_VOTES_MIN {
                continue;
            }
            for (place, &a) in labelers.iter().enumerate() {
                for &b in &labelers[place + 1..] {
                    met.push((u64::from(a) << 32 | u64::from(b), met.len() as u32));
                }
            }
        }
        let mut pairs = Self {
            labelers: Vec::new(),
            of_answers: vec![u32::MAX; met.len()],
        };
        met.sort_unstable();
        for group in met.chunk_by(|x, y| x.0 == y.0) {
            if group.len() < SHARED_MIN as usize {
                continue;
            }
            for entry in group {
                pairs.of_answers[entry.1 as usize] = pairs.labelers.len() as u32;
            }
            let key = group[0].0;
            pairs.labelers.push(((key >> 32) as u32, key as u32));
        }
        pairs
    }
}

/// Pairs of labelers with a common source of errors: smaller index, larger index, share of the errors (Q16); sorted.
pub(super) fn shared_errors(
    index: &Index<'_>,
    distances: &Distances,
    measure: &mut Distance,
    pairs: &Pairs,
    centres: &[Option<usize>],
) -> Vec<(u32, u32, u32)> {
    // Twice the common way and twice the longest possible, in words: of each pair, and of all.
    let mut ways = vec![(0i64, 0i64); pairs.labelers.len()];
    let (mut common, mut longest) = (0u64, 0u64);
    let mut from: Vec<u32> = Vec::new();
    let mut met = pairs.of_answers.iter();
    for (item, &centre) in centres.iter().enumerate() {
        let texts = &index.texts[index.votes(item)];
        if texts.len() < SHARED_VOTES_MIN {
            continue;
        }
        from.clear();
        if let Some((_, gold)) = index.gold.get(&(item as u32)) {
            let texts = texts.iter().map(|text| &text.words[..]);
            measure.each(&gold.words, texts, |value| from.push(value));
        } else if let Some(centre) = centre {
            from.extend_from_slice(distances.row(index, item, centre));
        }
        for (a, &way) in from.iter().enumerate() {
            let row = distances.row(index, item, a);
            for ((&other, &between), &pair) in from.iter().zip(row).skip(a + 1).zip(&mut met) {
                let (together, possible) = (way + other - between, 2 * way.min(other));
                common += u64::from(together);
                longest += u64::from(possible);
                if let Some(sums) = ways.get_mut(pair as usize) {
                    sums.0 += i64::from(together);
                    sums.1 += i64::from(possible);
                }
            }
        }
    }
    let usual = i64::from(fixed::ratio(common, longest));
    let one = i64::from(ONE);
    let mut found = Vec::new();
    for (&(a, b), (together, possible)) in pairs.labelers.iter().zip(ways) {
        let above = together * one - usual * possible;
        let below = possible * (one - usual) + 2 * SHARED_DOUBT * one;
        let share = above * one / below.max(1);
        if share >= SHARED_LEAST_Q16 {
            found.push((a, b, share.min(one) as u32));
        }
    }
    found
}

/// One answer to an item that somebody else, or the gold, says something about.
#[derive(Clone)]
struct Said {
    item: usize,
    vote: usize,
    /// Mean distance from what is said about the item, Q16; `None` where nobody else says anything.
    near: Option<i64>,
    /// Least mean distance of another answer from the rest, Q16.
    least: i64,
}

/// Skill of every labeler in parts per million.
pub(super) fn skills(
    index: &Index<'_>,
    distances: &Distances,
    measure: &mut Distance,
    table: &TextTable,
    shared: &Shared,
) -> Vec<i64> {
    // Items with an answer, and per labeler the items and answers that others say something about, with what they say.
    let mut used: Vec<usize> = Vec::new();
    let mut own_votes: Vec<Vec<Said>> = vec![Vec::new(); index.labelers];
    let mut evidence = Evidence::default();
    for item in 0..index.items() {
        let votes = index.votes(item);
        if votes.is_empty() {
            continue;
        }
        used.push(item);
        let gold = index.gold.contains_key(&(item as u32));
        if votes.len() < 2 && !gold {
            continue;
        }
        let (labelers, shares) = (&index.labeler[votes.clone()], distances.shares(item));
        if !gold {
            evidence.gather(labelers, shares, table, shared);
        }
        for (own, vote) in votes.enumerate() {
            let (near, least) = if gold {
                (from_item(index, measure, (table, shared), vote, item), 0)
            } else {
                let near = evidence.others[own].mean().map(|mean| mean as i64);
                (near, evidence.least_without(own, shares) as i64)
            };
            own_votes[labelers[own] as usize].push(Said {
                item,
                vote,
                near,
                least,
            });
        }
    }
    own_votes
        .iter()
        .map(|list| {
            let (mut gain, mut room) = (0i64, 0i64);
            for (place, said) in list.iter().enumerate() {
                let &Said {
                    item,
                    vote,
                    near,
                    least,
                } = said;
                // With one answer alone, the next item of the task stands for another item.
                let other = if list.len() > 1 {
                    list[(place + 1) % list.len()].item
                } else {
                    let next = used.partition_point(|&used| used <= item) % used.len();
                    used[next]
                };
                let far = from_item(index, measure, (table, shared), vote, other);
                let (Some(near), Some(far)) = (near, far) else {
                    continue;
                };
                let gold = index.gold.contains_key(&(item as u32));
                let weight = if gold { GOLD_WEIGHT } else { 1 };
                gain += weight * (far - near);
                room += weight * (far - least);
            }
            let room = i128::from(room + DOUBT_Q16);
            if room <= 0 {
                return 0;
            }
            (i128::from(gain) * PPM / room).clamp(-PPM, PPM) as i64
        })
        .collect()
}

/// Mean distance of a vote's text from what others (or the gold) say about `item`, Q16; `None` where nobody else does.
fn from_item(
    index: &Index<'_>,
    measure: &mut Distance,
    (table, shared): (&TextTable, &Shared),
    vote: usize,
    item: usize,
) -> Option<i64> {
    let (labeler, own) = (index.labeler[vote], &index.texts[vote].words);
    if let Some((_, gold)) = index.gold.get(&(item as u32)) {
        let mut share = 0;
        measure.each(own, [&gold.words[..]], |value| {
            share = normalised(value, own.len(), gold.words.len());
        });
        return Some(i64::from(share));
    }
    let others = || {
        index
            .votes(item)
            .filter(|&other| index.labeler[other] != labeler)
    };
    let mut all = Others { sum: 0, weights: 0 };
    let mut votes = others();
    let texts = others().map(|other| &index.texts[other].words[..]);
    measure.each(own, texts, |value| {
        let Some(other) = votes.next() else { return };
        let share = normalised(value, own.len(), index.texts[other].words.len());
        let weight = apart(table, shared, labeler, index.labeler[other]);
        all.sum += weight * u64::from(share);
        all.weights += weight;
    });
    all.mean().map(|mean| mean as i64)
}
