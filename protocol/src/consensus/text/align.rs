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
/// Rows of a table of distances that are kept in one bit vector.
const VECTOR_WORDS: usize = u64::BITS as usize;

/// Distances from one text to several: where each word stands in the one, as bits.
pub(super) struct Distance {
    /// By word; all zero between calls.
    places: Vec<u64>,
    /// By word of the other text: how the bottom of the block above changes there.
    edge: Vec<Edge>,
}

impl Distance {
    /// Room for words with numbers below `words`.
    pub fn new(words: usize) -> Self {
        Self {
            places: vec![0; words],
            edge: Vec::new(),
        }
    }

    /// Levenshtein distance in words from `one` to each of `others`.
    pub fn each<'t>(
        &mut self,
        one: &[u32],
        others: impl IntoIterator<Item = &'t [u32]>,
        mut found: impl FnMut(u32),
    ) {
        let mut others = others.into_iter();
        if one.is_empty() || one.len() > VECTOR_WORDS {
            others.for_each(|other| found(self.by_blocks(one, other)));
            return;
        }
        self.mark(one);
        // Each step waits for the one before it, so two texts at once take little more time than one.
        while let Some(first) = others.next() {
            let second = others.next();
            let texts = [first, second.unwrap_or_default()];
            let mut columns = [Column::new(one.len()), Column::new(one.len())];
            let both = texts[0].len().min(texts[1].len());
            let [x, y] = &mut columns;
            for (&word, &other) in texts[0].iter().zip(texts[1]) {
                x.step(self.places[word as usize], Edge::TOP);
                y.step(self.places[other as usize], Edge::TOP);
            }
            for (column, text) in columns.iter_mut().zip(texts) {
                for &word in &text[both..] {
                    column.step(self.places[word as usize], Edge::TOP);
                }
            }
            found(columns[0].distance);
            if second.is_some() {
                found(columns[1].distance);
            }
        }
        self.forget(one);
    }

    fn mark(&mut self, words: &[u32]) {
        for (place, &word) in words.iter().enumerate() {
            self.places[word as usize] |= 1 << place;
        }
    }

    fn forget(&mut self, words: &[u32]) {
        for &word in words {
            self.places[word as usize] = 0;
        }
    }

    /// Distance of texts of any length, in blocks of [`VECTOR_WORDS`] rows.
    fn by_blocks(&mut self, one: &[u32], other: &[u32]) -> u32 {
        let mut distance = other.len();
        self.edge.clear();
        self.edge.resize(other.len(), Edge::TOP);
        for (number, block) in one.chunks(VECTOR_WORDS).enumerate() {
            self.mark(block);
            let mut column = Column::new(block.len());
            for (&word, edge) in other.iter().zip(&mut self.edge) {
                *edge = column.step(self.places[word as usize], *edge);
            }
            self.forget(block);
            distance = number * VECTOR_WORDS + column.distance as usize;
        }
        distance as u32
    }
}

/// How a row of the table changes from one column to the next: by one up or down, or not at all.
#[derive(Clone, Copy)]
struct Edge {
    more: u64,
    less: u64,
}

impl Edge {
    /// The top of the table: no words of the one text against ever more of the other.
    const TOP: Self = Self { more: 1, less: 0 };
}

/// A column of the table of distances, or a block of one.
///
/// The table is walked by columns, one word of the other text each. Neighbouring cells differ by at most one, so a column is kept as two
/// sets of rows: where it rises and where it falls.
struct Column {
    rises: u64,
    falls: u64,
    last: u32,
    /// The lowest cell, as if the block were the first.
    distance: u32,
}

impl Column {
    /// The first column of a block of so many rows, at least one and at most [`VECTOR_WORDS`].
    fn new(rows: usize) -> Self {
        Self {
            rises: u64::MAX,
            falls: 0,
            last: rows as u32 - 1,
            distance: rows as u32,
        }
    }

    /// The column for the next word of the other text, which stands in the rows `equal`; gives how the bottom changes where the row above
    /// the block changes by `top`.
    #[inline]
    fn step(&mut self, equal: u64, top: Edge) -> Edge {
        let (rises, falls) = (self.rises, self.falls);
        let equal = equal | top.less;
        let diagonal = ((equal & rises).wrapping_add(rises) ^ rises) | equal | falls;
        let more = falls | !(diagonal | rises);
        let less = diagonal & rises;
        let bottom = Edge {
            more: more >> self.last & 1,
            less: less >> self.last & 1,
        };
        // A rise and a fall exclude each other; a fall is only possible from a distance of at least one.
        self.distance = self
            .distance
            .wrapping_add(bottom.more as u32)
            .wrapping_sub(bottom.less as u32);
        let (more, less) = (more << 1 | top.more, less << 1 | top.less);
        self.rises = less | !(diagonal | more);
        self.falls = more & diagonal;
        bottom
    }
}

/// One place of the network: words with weight and votes, sorted; `None` is no word.
type Slot = Vec<(Option<u32>, u64, u32)>;

/// A word transition network that grows by one aligned text at a time.
#[derive(Default)]
pub(super) struct Network {
    slots: Vec<Slot>,
    /// Empty slots whose memory is used again.
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
        let cost = |own: u64| match weight - own {
            0 => 0,
            other => (other * WORD / weight) as u32,
        };
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
            let mut diagonal = upper[0];
            for ((slot, &above), &cost) in lower[1..].iter_mut().zip(&upper[1..]).zip(&*reading) {
                // Entries are far below the limits named above.
                let others = diagonal.wrapping_add(cost).min(above.wrapping_add(skip));
                diagonal = above;
                left = others.min(left.wrapping_add(STEP));
                *slot = left;
            }
        }
        self.text.forget(words);
        let (table, reading, skip) = (&self.table, &self.reading, &self.skip);
        let (mut i, mut j) = (n, m);
        // New slots are put in behind those that are still to be passed.
        while i > 0 || j > 0 {
            let here = table[i * width + j];
            let matched = i > 0
                && j > 0
                && here == table[(i - 1) * width + j - 1] + reading[(i - 1) * m + j - 1];
            let skipped = i > 0 && here == table[(i - 1) * width + j] + skip[i - 1];
            if matched || skipped {
                i -= 1;
            } else {
                let mut fresh = self.spare.pop().unwrap_or_default();
                if self.votes > 0 {
                    fresh.push((None, self.weight, self.votes));
                }
                self.slots.insert(i, fresh);
            }
            let word = if skipped && !matched {
                None
            } else {
                j -= 1;
                Some(words[j])
            };
            let slot = &mut self.slots[i];
            match slot.iter().position(|entry| entry.0 >= word) {
                Some(place) if slot[place].0 == word => {
                    slot[place].1 += weight;
                    slot[place].2 += 1;
                }
                place => slot.insert(place.unwrap_or(slot.len()), (word, weight, 1)),
            }
        }
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
