//! Alignment of word sequences: distances, the word transition network, places in each other.
//!
//! Sources: Levenshtein distance in bit vectors after Myers ("A fast bit-vector algorithm for approximate string matching", J. ACM 1999) in the
//! form of Hyyro (2003); the network and its vote follow Fiscus ("A post-processing system to yield reduced word error rates: ROVER", ASRU
//! 1997), with weighted slots.
//! Invariants: every cost is in thousandths of a word; weights are below 2^24 and votes per item at most 64, so a network's weight stays
//! below 2^30; texts have at most 2^10 words and networks at most 2^16 slots, so table entries stay below 2^27.

use super::walk::WORD;

/// [`WORD`] as an entry of a table.
const STEP: u32 = WORD as u32;
/// Longest text that is compared word by word in one bit vector, in words.
const VECTOR_WORDS: usize = u64::BITS as usize;

/// Distances from one text to several: where each word stands in the one, as bits.
pub(super) struct Distance {
    /// By word; all zero between calls.
    places: Vec<u64>,
    row: Vec<u32>,
}

impl Distance {
    /// Room for words with numbers below `words`.
    pub fn new(words: usize) -> Self {
        Self {
            places: vec![0; words],
            row: Vec::new(),
        }
    }

    /// Levenshtein distance in words from `one` to each of `others`.
    pub fn each<'t>(
        &mut self,
        one: &[u32],
        others: impl IntoIterator<Item = &'t [u32]>,
        mut found: impl FnMut(u32),
    ) {
        if one.is_empty() || one.len() > VECTOR_WORDS {
            others
                .into_iter()
                .for_each(|other| found(by_rows(one, other, &mut self.row)));
            return;
        }
        for (place, &word) in one.iter().enumerate() {
            self.places[word as usize] |= 1 << place;
        }
        for other in others {
            found(by_bits(one.len(), other, &self.places));
        }
        for &word in one {
            self.places[word as usize] = 0;
        }
    }
}

/// Distance of a text of `length` words, at least one and at most [`VECTOR_WORDS`], whose words have the bits `places`.
///
/// The table of distances is walked by columns, one word of `other` each. Neighbouring cells differ by at most one, so a column is kept
/// as two sets of places: where it rises and where it falls.
fn by_bits(length: usize, other: &[u32], places: &[u64]) -> u32 {
    let last = 1u64 << (length - 1);
    let (mut rises, mut falls) = (u64::MAX, 0u64);
    let mut distance = length as u32;
    for &word in other {
        let equal = places[word as usize];
        let diagonal = ((equal & rises).wrapping_add(rises) ^ rises) | equal | falls;
        let mut more = falls | !(diagonal | rises);
        let mut less = diagonal & rises;
        // A rise and a fall exclude each other; a fall is only possible from a distance of at least one.
        distance = distance
            .wrapping_add(u32::from(more & last != 0))
            .wrapping_sub(u32::from(less & last != 0));
        more = (more << 1) | 1;
        less <<= 1;
        rises = less | !(diagonal | more);
        falls = more & diagonal;
    }
    distance
}

/// Distance by the table, one row at a time, for texts of any length.
fn by_rows(a: &[u32], b: &[u32], row: &mut Vec<u32>) -> u32 {
    row.clear();
    row.extend(0..=b.len() as u32);
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i as u32 + 1;
        let mut left = row[0];
        for (y, slot) in b.iter().zip(&mut row[1..]) {
            let replaced = diagonal + u32::from(x != y);
            diagonal = *slot;
            left = replaced.min(left + 1).min(diagonal + 1);
            *slot = left;
        }
    }
    row[b.len()]
}

/// One place of the network: words with weight and votes, sorted; `None` is no word.
type Slot = Vec<(Option<u32>, u64, u32)>;

/// A word transition network that grows by one aligned text at a time.
#[derive(Default)]
pub(super) struct Network {
    slots: Vec<Slot>,
    /// Slots before the text at hand, and empty ones whose memory is used again.
    old: Vec<Slot>,
    spare: Vec<Slot>,
    weight: u64,
    votes: u32,
    table: Vec<u32>,
    /// Cost of each slot without a word, and of each word of the text at each slot.
    skip: Vec<u32>,
    reading: Vec<u32>,
    text: Positions,
}

/// Where each word stands in the text at hand.
#[derive(Default)]
struct Positions {
    /// By word: the last position plus one; all zero between texts.
    last: Vec<u32>,
    /// By position: the one before it with the same word, plus one.
    before: Vec<u32>,
}

impl Positions {
    fn set(&mut self, words: &[u32]) {
        self.before.clear();
        for (position, &word) in (1..).zip(words) {
            let last = &mut self.last[word as usize];
            self.before.push(*last);
            *last = position;
        }
    }

    fn forget(&mut self, words: &[u32]) {
        for &word in words {
            self.last[word as usize] = 0;
        }
    }

    fn each(&self, word: u32, mut found: impl FnMut(usize)) {
        let mut next = self.last[word as usize] as usize;
        while next > 0 {
            found(next - 1);
            next = self.before[next - 1] as usize;
        }
    }
}

impl Network {
    /// A network without texts, for words with numbers below `words`.
    pub fn new(words: usize) -> Self {
        let mut network = Self::default();
        network.text.last.resize(words, 0);
        network
    }

    /// Forgets all texts.
    pub fn clear(&mut self) {
        self.spare.extend(self.slots.drain(..).map(|mut slot| {
            slot.clear();
            slot
        }));
        (self.weight, self.votes) = (0, 0);
    }

    /// Lowers the costs of a slot at the positions of a text that have one of its words to the share of the weight that says otherwise; gives
    /// the cost of no word.
    fn costs(weight: u64, slot: &Slot, text: &Positions, out: &mut [u32]) -> u32 {
        let cost = |own: u64| ((weight - own) * WORD / weight) as u32;
        let mut skip = STEP;
        for &(word, own, _) in slot {
            match word {
                None => skip = cost(own),
                Some(word) => text.each(word, |position| out[position] = cost(own)),
            }
        }
        skip
    }

    /// Aligns a text and adds its votes. Among equal alignments a match comes before a skipped slot, and that before a new one.
    pub fn add(&mut self, words: &[u32], weight: u64) {
        let (n, m) = (self.slots.len(), words.len());
        let width = m + 1;
        self.text.set(words);
        self.skip.clear();
        self.reading.clear();
        self.reading.resize(n * m, STEP);
        self.table.clear();
        self.table.extend((0..width as u32).map(|j| j * STEP));
        self.table.resize((n + 1) * width, 0);
        for (i, slot) in self.slots.iter().enumerate() {
            let reading = &mut self.reading[i * m..(i + 1) * m];
            let skip = Self::costs(self.weight, slot, &self.text, reading);
            self.skip.push(skip);
            let (upper, lower) = self.table[i * width..(i + 2) * width].split_at_mut(width);
            let mut left = upper[0] + skip;
            lower[0] = left;
            for ((slot, &cost), pair) in lower[1..].iter_mut().zip(&*reading).zip(upper.windows(2))
            {
                // Entries are far below the limits named above.
                left = pair[0]
                    .wrapping_add(cost)
                    .min(pair[1].wrapping_add(skip))
                    .min(left.wrapping_add(STEP));
                *slot = left;
            }
        }
        self.text.forget(words);
        let (table, reading, skip) = (&self.table, &self.reading, &self.skip);
        std::mem::swap(&mut self.slots, &mut self.old);
        let (mut i, mut j) = (n, m);
        while i > 0 || j > 0 {
            let here = table[i * width + j];
            let matched = i > 0
                && j > 0
                && here == table[(i - 1) * width + j - 1] + reading[(i - 1) * m + j - 1];
            let skipped = i > 0 && here == table[(i - 1) * width + j] + skip[i - 1];
            let mut slot = if matched || skipped {
                i -= 1;
                self.old.pop().unwrap_or_default()
            } else {
                let mut fresh = self.spare.pop().unwrap_or_default();
                if self.votes > 0 {
                    fresh.push((None, self.weight, self.votes));
                }
                fresh
            };
            let word = if skipped && !matched {
                None
            } else {
                j -= 1;
                Some(words[j])
            };
            match slot.binary_search_by_key(&word, |entry| entry.0) {
                Ok(place) => {
                    slot[place].1 += weight;
                    slot[place].2 += 1;
                }
                Err(place) => slot.insert(place, (word, weight, 1)),
            }
            self.slots.push(slot);
        }
        self.slots.reverse();
        self.weight += weight;
        self.votes += 1;
    }

    /// The heaviest word of each slot; ties by votes, then no word before words in their order.
    pub fn best(&self) -> Vec<u32> {
        let best = |slot: &Slot| {
            let mut first = slot.first().copied()?;
            for &entry in &slot[1..] {
                if (entry.1, entry.2) > (first.1, first.2) {
                    first = entry;
                }
            }
            first.0
        };
        self.slots.iter().filter_map(best).collect()
    }
}

/// The cells of a table of two texts that an alignment of a given cost can pass.
///
/// A cell in row `i` and column `j` lies `j - i` off the diagonal. To get there and from there to the last cell takes at least as many
/// words alone as the ways off the diagonal are long.
#[derive(Clone, Copy)]
pub(super) struct Band {
    below: usize,
    above: usize,
    columns: usize,
}

impl Band {
    /// For texts of `rows` and `columns` words and alignments with at most `alone` words that stand alone.
    pub fn new(rows: usize, columns: usize, alone: usize) -> Self {
        let stray = alone.saturating_sub(rows.abs_diff(columns)) / 2;
        Self {
            below: rows.saturating_sub(columns) + stray,
            above: columns.saturating_sub(rows) + stray,
            columns,
        }
    }

    /// Columns of a row; never none.
    pub fn row(self, row: usize) -> std::ops::Range<usize> {
        row.saturating_sub(self.below)..(row + self.above).min(self.columns) + 1
    }
}

/// An entry of a table of distances that no cheapest alignment passes.
const FAR: u32 = 1 << 30;

/// For each word of `text`, the position in `other` that a cheapest alignment gives it, with an equal word or another; among equally cheap ways
/// back from the end, two words in one place come before a word of `text` alone, and that before a word of `other` alone. `distance` is
/// that of the two texts: no cheapest alignment strays further than it allows, so the table has no other cells.
pub(super) fn aligned(
    text: &[u32],
    other: &[u32],
    distance: u32,
    table: &mut Vec<u32>,
) -> Vec<Option<usize>> {
    let (mut i, mut j) = (text.len(), other.len());
    let mut found = vec![None; i];
    // Equal words at the end stand in one place in some cheapest alignment, and the way back takes it.
    while i > 0 && j > 0 && text[i - 1] == other[j - 1] {
        (i, j) = (i - 1, j - 1);
        found[i] = Some(j);
    }
    let (width, band) = (j + 1, Band::new(i, j, distance as usize));
    table.clear();
    table.extend(0..width as u32);
    table.resize((i + 1) * width, FAR);
    for (row, &word) in text[..i].iter().enumerate() {
        let (upper, lower) = table[row * width..(row + 2) * width].split_at_mut(width);
        let cells = band.row(row + 1);
        let mut left = FAR;
        if cells.start == 0 {
            left = row as u32 + 1;
            lower[0] = left;
        }
        let from = cells.start.max(1);
        let seen = other[from - 1..].iter().zip(upper[from - 1..].windows(2));
        for (slot, (&seen, pair)) in lower[from..cells.end].iter_mut().zip(seen) {
            left = (pair[0] + u32::from(word != seen)).min(left.min(pair[1]) + 1);
            *slot = left;
        }
    }
    while i > 0 && j > 0 {
        let here = table[i * width + j];
        let differ = u32::from(text[i - 1] != other[j - 1]);
        if here == table[(i - 1) * width + j - 1] + differ {
            (i, j) = (i - 1, j - 1);
            found[i] = Some(j);
        } else if here == table[(i - 1) * width + j] + 1 {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found
}
