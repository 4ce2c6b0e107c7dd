//! What the texts say about labelers: weight, shared errors, skill.
//!
//! **Weight.** The mean distance of a labeler's answers from the others' answers to the same items, against the mean of each item, gives
//! the share of words that are confirmed; the weight is its square over the square of the crowd's. A few pseudo-items draw it to one.
//!
//! **Shared errors.** Two people who make their own mistakes leave the consensus in different directions: the distance between them is
//! the sum of their distances from it. `(d(a, c) + d(b, c) - d(a, b)) / 2`, the Gromov product, is the way that both go together. Where
//! it exceeds the crowd's usual share of the shorter way, the two have a source in common (the same translation program, one
//! person with two accounts), and their votes on the same item share weight. Agreement on what the consensus says costs nothing.
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
use super::align::distance;
use super::words::Index;
use crate::consensus::fixed::{self, FRACTION_BITS, ONE};

/// Pseudo-items that draw a weight towards one, in items.
pub(super) const PRIOR_ITEMS: u64 = 3;
/// Largest weight, Q16.
pub(super) const WEIGHT_MAX_Q16: u64 = 8 << 16;
/// Smallest share of confirmed words that is told apart, Q16.
pub(super) const CONFIRMED_MIN_Q16: u64 = 1311;
/// Fewest shared items before shared errors count, in items.
pub(super) const SHARED_MIN: u32 = 3;
/// Words of independent errors that are added to every pair's record, in words.
pub(super) const SHARED_DOUBT: i64 = 8;
/// Smallest share of common errors that counts, Q16.
pub(super) const SHARED_LEAST_Q16: i64 = 9830;
/// Weight of a gold item against an item judged by other labelers.
pub(super) const GOLD_WEIGHT: i64 = 2;
/// Evidence of no skill that is added to everybody's record, in whole distances, Q16.
pub(super) const DOUBT_Q16: i64 = 1 << 15;
/// Parts per million in one.
const PPM: i128 = 1_000_000;

/// Distances in words between the answers of each item.
pub(super) struct Distances {
    start: Vec<usize>,
    cells: Vec<u32>,
}

impl Distances {
    pub fn new(index: &Index<'_>) -> Self {
        let mut distances = Self {
            start: Vec::with_capacity(index.items()),
            cells: Vec::new(),
        };
        for item in 0..index.items() {
            let first = distances.cells.len();
            distances.start.push(first);
            let votes = index.votes(item);
            let count = votes.len();
            distances.cells.resize(first + count * count, 0);
            for a in 0..count {
                for b in a + 1..count {
                    let (x, y) = (&index.texts[votes.start + a], &index.texts[votes.start + b]);
                    let value = distance(&x.words, &y.words);
                    distances.cells[first + a * count + b] = value;
                    distances.cells[first + b * count + a] = value;
                }
            }
        }
        distances
    }

    /// Distances of the answer in place `a` of an item from all its answers.
    pub fn row(&self, index: &Index<'_>, item: usize, a: usize) -> &[u32] {
        let count = index.votes(item).len();
        let first = self.start[item] + a * count;
        &self.cells[first..first + count]
    }
}

/// Distance over the longer of two lengths, Q16.
pub(super) fn normalised(distance: u32, a: usize, b: usize) -> u32 {
    fixed::ratio(u64::from(distance), a.max(b) as u64)
}

/// Weight of a vote as evidence about another: less where the two labelers share errors.
fn apart(table: &TextTable, a: u32, b: u32) -> u64 {
    let weight = u64::from(table.weight[b as usize]);
    (weight * u64::from(ONE - table.shared_errors(a, b))) >> FRACTION_BITS
}

/// Mean distance of the answer in place `own` from the others, `except` one, Q16; `None` without any.
fn mean_from_others(
    index: &Index<'_>,
    distances: &Distances,
    table: &TextTable,
    item: usize,
    own: usize,
    except: Option<usize>,
) -> Option<u64> {
    let votes = index.votes(item);
    let row = distances.row(index, item, own);
    let length = |place: usize| index.texts[votes.start + place].words.len();
    let (mut sum, mut weights) = (0u64, 0u64);
    for (place, &words) in row.iter().enumerate() {
        if place == own || Some(place) == except {
            continue;
        }
        let (a, b) = (
            index.labeler[votes.start + own],
            index.labeler[votes.start + place],
        );
        let weight = apart(table, a, b);
        sum += weight * u64::from(normalised(words, length(own), length(place)));
        weights += weight;
    }
    (weights > 0).then(|| sum / weights)
}

/// New weights from the distances between answers.
pub(super) fn weights(index: &Index<'_>, distances: &Distances, table: &TextTable) -> Vec<u32> {
    // Per labeler: surplus distance over the item's mean, and items.
    let mut surplus = vec![(0i64, 0u64); index.labelers];
    let (mut all, mut count) = (0u64, 0u64);
    for item in 0..index.items() {
        let votes = index.votes(item);
        let means: Vec<Option<u64>> = (0..votes.len())
            .map(|own| mean_from_others(index, distances, table, item, own, None))
            .collect();
        let known = means.iter().flatten().count() as u64;
        let sum: u64 = means.iter().flatten().sum();
        if known < 2 {
            continue;
        }
        all += sum;
        count += known;
        for (place, mean) in means.into_iter().enumerate() {
            if let Some(mean) = mean {
                let slot = &mut surplus[index.labeler[votes.start + place] as usize];
                slot.0 += mean as i64 - (sum / known) as i64;
                slot.1 += 1;
            }
        }
    }
    let usual = (all / count.max(1)).min(u64::from(ONE)) as i64;
    let one = i64::from(ONE);
    let confirmed = |distance: i64| ((one - distance).max(CONFIRMED_MIN_Q16 as i64)) as u64;
    let crowd = confirmed(usual);
    surplus
        .into_iter()
        .map(|(sum, items)| {
            let own = confirmed(usual + sum / (items + PRIOR_ITEMS) as i64);
            (((own * own) << FRACTION_BITS) / (crowd * crowd)).clamp(1, WEIGHT_MAX_Q16) as u32
        })
        .collect()
}

/// Pairs of labelers with a common source of errors: smaller index, larger index, share of the errors (Q16); sorted.
pub(super) fn shared_errors(
    index: &Index<'_>,
    distances: &Distances,
    consensus: &[Vec<u32>],
) -> Vec<(u32, u32, u32)> {
    // Per pair and item: labelers, twice the common way, twice the longest possible, in words.
    let mut ways: Vec<(u32, u32, u32, u32)> = Vec::new();
    for (item, text) in consensus.iter().enumerate() {
        let votes = index.votes(item);
        if votes.len() < 3 {
            continue;
        }
        let from: Vec<u32> = votes
            .clone()
            .map(|vote| distance(text, &index.texts[vote].words))
            .collect();
        for a in 0..votes.len() {
            let row = distances.row(index, item, a);
            for b in a + 1..votes.len() {
                ways.push((
                    index.labeler[votes.start + a],
                    index.labeler[votes.start + b],
                    from[a] + from[b] - row[b],
                    2 * from[a].min(from[b]),
                ));
            }
        }
    }
    let (common, longest) = ways.iter().fold((0u64, 0u64), |sums, way| {
        (sums.0 + u64::from(way.2), sums.1 + u64::from(way.3))
    });
    let usual = i64::from(fixed::ratio(common, longest));
    ways.sort_unstable();
    let mut pairs = Vec::new();
    for group in ways.chunk_by(|x, y| (x.0, x.1) == (y.0, y.1)) {
        if (group.len() as u64) < u64::from(SHARED_MIN) {
            continue;
        }
        let together: i64 = group.iter().map(|way| i64::from(way.2)).sum();
        let possible: i64 = group.iter().map(|way| i64::from(way.3)).sum();
        let one = i64::from(ONE);
        let above = together * one - usual * possible;
        let below = possible * (one - usual) + 2 * SHARED_DOUBT * one;
        let share = above * one / below.max(1);
        if share >= SHARED_LEAST_Q16 {
            pairs.push((group[0].0, group[0].1, share.min(one) as u32));
        }
    }
    pairs
}

/// Skill of every labeler in parts per million.
pub(super) fn skills(index: &Index<'_>, distances: &Distances, table: &TextTable) -> Vec<i64> {
    let mut own_votes: Vec<Vec<(usize, usize)>> = vec![Vec::new(); index.labelers];
    for item in 0..index.items() {
        for vote in index.votes(item) {
            own_votes[index.labeler[vote] as usize].push((item, vote));
        }
    }
    let mut used: Vec<usize> = (0..index.items())
        .filter(|&item| !index.votes(item).is_empty())
        .collect();
    used.dedup();
    (0..index.labelers as u32)
        .map(|labeler| {
            let list: Vec<(usize, usize)> = own_votes[labeler as usize]
                .iter()
                .copied()
                .filter(|&(item, _)| {
                    index.gold.contains_key(&(item as u32)) || index.votes(item).len() > 1
                })
                .collect();
            let (mut gain, mut room) = (0i64, 0i64);
            for (place, &(item, vote)) in list.iter().enumerate() {
                // With one answer alone, the next item of the task stands for another item.
                let other = if list.len() > 1 {
                    list[(place + 1) % list.len()].0
                } else {
                    let next = used.partition_point(|&used| used <= item) % used.len();
                    used[next]
                };
                let gold = index.gold.contains_key(&(item as u32));
                let near = if gold {
                    from_item(index, table, labeler, vote, item)
                } else {
                    let own = vote - index.votes(item).start;
                    mean_from_others(index, distances, table, item, own, None)
                        .map(|mean| mean as i64)
                };
                let (Some(near), Some(far)) = (near, from_item(index, table, labeler, vote, other))
                else {
                    continue;
                };
                let least = if gold {
                    0
                } else {
                    least_of_others(index, distances, table, item, vote)
                };
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
    table: &TextTable,
    labeler: u32,
    vote: usize,
    item: usize,
) -> Option<i64> {
    let own = &index.texts[vote].words;
    let between =
        |other: &[u32]| u64::from(normalised(distance(own, other), own.len(), other.len()));
    if let Some((_, gold)) = index.gold.get(&(item as u32)) {
        return Some(between(&gold.words) as i64);
    }
    let (mut sum, mut weights) = (0u64, 0u64);
    for other in index.votes(item) {
        if index.labeler[other] == labeler {
            continue;
        }
        let weight = apart(table, labeler, index.labeler[other]);
        sum += weight * between(&index.texts[other].words);
        weights += weight;
    }
    (weights > 0).then(|| (sum / weights) as i64)
}

/// Least mean distance of another answer from the remaining ones, Q16; zero where there are none.
fn least_of_others(
    index: &Index<'_>,
    distances: &Distances,
    table: &TextTable,
    item: usize,
    vote: usize,
) -> i64 {
    let votes = index.votes(item);
    let own = vote - votes.start;
    (0..votes.len())
        .filter(|&place| place != own)
        .filter_map(|place| mean_from_others(index, distances, table, item, place, Some(own)))
        .min()
        .unwrap_or(0) as i64
}
