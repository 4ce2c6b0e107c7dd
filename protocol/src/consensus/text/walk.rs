//! The walk to a median text: one changed word at a time, as long as that brings the text closer to the weighted answers.
//!
//! Source: the greedy perturbation method for generalised median strings (Kohonen 1985; Martinez-Hinarejos, Juan, Casacuberta 2000), each
//! round of which looks at every deletion, replacement and insertion at once, from the distances of all beginnings and of all ends.
//! What it does not do: no search beyond single changes, no word that no answer has.
//! Invariants: every cost is in thousandths of a word; texts have at most 2^10 words and so tables entries below 2^21 + 2^15 (i32 has
//! room for the sum of two and a word); weights are below 2^24 and votes per item at most 64, so weighted sums stay below 2^52.

/// Cost of a word too many, too few or wrong, in thousandths.
pub(super) const WORD: u64 = 1000;
/// Discount on replacing a word by one that is spelled the same, in thousandths; other spellings get it in proportion to what they share.
pub(super) const KINSHIP: u64 = 300;
/// Words that share less than this of their letters are strangers, in thousandths.
pub(super) const KIN_MIN: u64 = 500;
/// Most steps of the walk, in words changed.
pub(super) const STEPS_MAX: usize = 24;
/// The walk is left out where its table of (place, word) would be larger than this, in cells.
pub(super) const WALK_CELLS_MAX: usize = 1 << 20;

use super::align::Band;

/// [`WORD`] as an entry of a table.
const STEP: i32 = WORD as i32;
/// An entry that no alignment reaches, far above all others: the sum of two still fits.
const NEVER: i32 = 1 << 28;

/// Whether a text is as good as all that one change leads to because answers of the weight `same`, among answers of the weight `all`, are
/// that very text: a change takes at least a replacement by kin from each of them and gives at most a word to each of the others.
pub(super) fn is_median(same: u64, all: u64) -> bool {
    same * (WORD - KINSHIP) >= (all - same) * WORD
}

/// The answers of one item with the words among them numbered from zero, and who is kin to whom.
pub(super) struct Median {
    words: Vec<u32>,
    /// The different answers, with the weight of all who gave each, and the place of the first of those.
    texts: Vec<(Vec<usize>, u64, usize)>,
    /// Cost of each word in place of each other: rows of as many cells as there are words.
    cost: Vec<i32>,
    /// Pairs of words that cost less than a whole word, both ways round: word, other word, cost; sorted.
    kin: Vec<(usize, usize, i32)>,
    /// First entry there of each word, and the end.
    kin_of: Vec<usize>,
}

/// One change of a text: place and word.
#[derive(Clone, Copy, Debug)]
enum Change {
    Delete(usize),
    Replace(usize, usize),
    Insert(usize, usize),
}

/// Distances of all beginnings and of all ends of two texts, and room to compute what follows from them.
///
/// Rows are as long as the other text and two more; the last entry of each, and those outside the [`Band`], are [`NEVER`].
#[derive(Default)]
struct Tables {
    front: Vec<i32>,
    back: Vec<i32>,
    /// Sums of both at the place at hand.
    sums: Vec<i32>,
    /// What each word saves in the answer and place at hand, and the words that save something.
    row: Vec<i32>,
    touched: Vec<usize>,
}

/// Letters at both ends of two words that are the same, each counted once.
fn ends<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let tails = a.iter().rev().zip(b.iter().rev());
    let tail = tails.take_while(|(x, y)| x == y).count();
    head + tail.min(a.len().min(b.len()) - head)
}

/// Cost of replacing one word by another: their common beginning and end count as shared.
fn replacing(a: &str, b: &str) -> u64 {
    let (shared, long) = if a.is_ascii() && b.is_ascii() {
        (ends(a.as_bytes(), b.as_bytes()), a.len().max(b.len()))
    } else {
        let [a, b] = [a, b].map(|word| word.chars().collect::<Vec<char>>());
        (ends(&a, &b), a.len().max(b.len()))
    };
    let shared = shared as u64 * 1000 / long.max(1) as u64;
    if shared < KIN_MIN {
        WORD
    } else {
        WORD - KINSHIP * shared / 1000
    }
}

impl Median {
    /// Prepares the walk; `None` where its table would be too large for texts of up to `length` words.
    pub fn new(
        texts: &[&[u32]],
        weights: &[u64],
        dictionary: &[String],
        length: usize,
    ) -> Option<Self> {
        let mut words: Vec<u32> = texts.iter().flat_map(|text| text.iter().copied()).collect();
        words.sort_unstable();
        words.dedup();
        let (count, places) = (words.len(), length + STEPS_MAX + 1);
        if count.max(1) * count.max(places) > WALK_CELLS_MAX {
            return None;
        }
        let spelled = |word: u32| &dictionary[word as usize];
        let sides: Vec<(Option<char>, Option<char>)> = words
            .iter()
            .map(|&word| (spelled(word).chars().next(), spelled(word).chars().last()))
            .collect();
        let mut kin: Vec<(usize, usize, i32)> = Vec::new();
        let mut cost = vec![STEP; count * count];
        for i in 0..count {
            cost[i * count + i] = 0;
            for j in i + 1..count {
                if sides[i].0 != sides[j].0 && sides[i].1 != sides[j].1 {
                    continue;
                }
                let price = replacing(spelled(words[i]), spelled(words[j]));
                if price < WORD {
                    let price = price as i32;
                    kin.extend([(i, j, price), (j, i, price)]);
                    cost[i * count + j] = price;
                    cost[j * count + i] = price;
                }
            }
        }
        kin.sort_unstable();
        let kin_of = (0..=count)
            .map(|word| kin.partition_point(|entry| entry.0 < word))
            .collect();
        let number = |word: &u32| words.binary_search(word).unwrap_or(0);
        let mut different: Vec<(Vec<usize>, u64, usize)> = Vec::with_capacity(texts.len());
        let mut first: Vec<usize> = Vec::with_capacity(texts.len());
        for (place, (text, &weight)) in texts.iter().zip(weights).enumerate() {
            match first.iter().position(|&other| texts[other] == *text) {
                Some(known) => different[known].1 += weight,
                None => {
                    first.push(place);
                    different.push((text.iter().map(number).collect(), weight, place));
                }
            }
        }
        Some(Self {
            texts: different,
            cost,
            kin,
            kin_of,
            words,
        })
    }

    /// Walks from `start` (words of the answers), whose distances from the answers are given in words, to a text that no single change
    /// brings closer to the weighted answers.
    pub fn walk(&self, start: &[u32], distances: &[u32]) -> Vec<u32> {
        let mut text: Vec<usize> = start
            .iter()
            .filter_map(|word| self.words.binary_search(word).ok())
            .collect();
        let mut tables = Tables::default();
        // Kin only bring texts closer.
        let mut bounds: Vec<i32> = (self.texts.iter())
            .map(|entry| distances[entry.2] as i32 * STEP)
            .collect();
        for _ in 0..STEPS_MAX {
            match self.best_change(&text, &mut bounds, &mut tables) {
                Some(Change::Delete(place)) => {
                    text.remove(place);
                }
                Some(Change::Replace(place, word)) => text[place] = word,
                Some(Change::Insert(place, word)) => text.insert(place, word),
                None => break,
            }
        }
        text.into_iter().map(|word| self.words[word]).collect()
    }

    /// The change that lowers the weighted distance most; ties by deletion, replacement, insertion, then place, then word. `bounds` are
    /// distances that those from the answers do not exceed; they become such distances of what any change leads to.
    fn best_change(
        &self,
        text: &[usize],
        bounds: &mut [i32],
        tables: &mut Tables,
    ) -> Option<Change> {
        let (m, count) = (text.len(), self.words.len());
        let mut now = 0;
        let mut deleted = vec![0u64; m];
        // What a word that no answer has would cost at each place, and what each word saves against that.
        let mut inserted = Savings::new(m + 1, count);
        let mut replaced = Savings::new(m, count);
        tables.row.clear();
        tables.row.resize(count, 0);
        for ((other, weight, _), bound) in self.texts.iter().zip(bounds) {
            let (n, width) = (other.len(), other.len() + 2);
            let band = self.fill(text, other, *bound, tables);
            let Tables {
                front,
                back,
                sums,
                row,
                touched,
            } = &mut *tables;
            let whole = back[0];
            now += weight * whole as u64;
            *bound = whole + STEP;
            for place in 0..=m {
                let columns = band.row(place);
                let (from, to) = (columns.start, columns.end.min(n));
                let front = &front[place * width..][columns];
                // Sums with the entries behind lie below the limits named above.
                let least = add(front, &back[place * width + from + 1..][..to - from], sums);
                // Every cheapest alignment passes through the place, so leaving the new word alone costs a word more than the whole.
                let at = (place, *weight, STEP + whole.min(least));
                self.save(&mut inserted, at, &other[from..], sums, (row, touched));
                if let Some(deleted) = deleted.get_mut(place) {
                    let below = &back[(place + 1) * width + from..];
                    let gap = (front.iter().zip(below))
                        .fold(NEVER, |least, (x, y)| least.min(x.wrapping_add(*y)));
                    *deleted += weight * gap as u64;
                    let least = add(front, &below[1..][..to - from], sums);
                    let at = (place, *weight, STEP + gap.min(least));
                    self.save(&mut replaced, at, &other[from..], sums, (row, touched));
                }
            }
        }
        let mut best = (now, None);
        for (place, &cost) in deleted.iter().enumerate() {
            if cost < best.0 {
                best = (cost, Some(Change::Delete(place)));
            }
        }
        let (cost, place, word) = replaced.best(best.0);
        if cost < best.0 {
            best = (cost, Some(Change::Replace(place, word)));
        }
        let (cost, place, word) = inserted.best(best.0);
        if cost < best.0 {
            best = (cost, Some(Change::Insert(place, word)));
        }
        best.1
    }

    /// Adds what the words of one answer and their kin save at a place where a strange word would cost `base`; `through` has the cost of
    /// all but the word itself where it stands in the place of each of the answer's.
    fn save(
        &self,
        savings: &mut Savings,
        (place, weight, base): (usize, u64, i32),
        other: &[usize],
        through: &[i32],
        (row, touched): (&mut [i32], &mut Vec<usize>),
    ) {
        savings.strange[place] += weight * base as u64;
        for (&word, &cost) in other.iter().zip(through) {
            // Both are below the limits named above.
            let room = base.wrapping_sub(cost);
            if room <= 0 {
                continue;
            }
            let kin = &self.kin[self.kin_of[word]..self.kin_of[word + 1]];
            for &(_, kin, cost) in [(word, word, 0)].iter().chain(kin) {
                let saving = room.wrapping_sub(cost);
                if saving > row[kin] {
                    if row[kin] == 0 {
                        touched.push(kin);
                    }
                    row[kin] = saving;
                }
            }
        }
        let cells = &mut savings.saved[place * row.len()..(place + 1) * row.len()];
        for kin in touched.drain(..) {
            cells[kin] += weight * row[kin] as u64;
            row[kin] = 0;
        }
    }

    /// Distances of all beginnings, and of all ends, of two texts whose distance is at most `bound`, in the cells that matter: those on
    /// alignments that cost at most a word more, with one word of the text more, less or other.
    fn fill(&self, text: &[usize], other: &[usize], bound: i32, tables: &mut Tables) -> Band {
        let (m, n, count) = (text.len(), other.len(), self.words.len());
        let width = n + 2;
        // One word alone for the cost, and one for the changed word, which shifts what follows.
        let band = Band::new(m, n, (bound / STEP) as usize + 2);
        let Tables { front, back, .. } = tables;
        for table in [&mut *front, &mut *back] {
            table.clear();
            table.resize((m + 1) * width, NEVER);
        }
        for (slot, j) in front[band.row(0)].iter_mut().zip(0..) {
            *slot = j * STEP;
        }
        for (slot, j) in back[m * width..][band.row(m)].iter_mut().rev().zip(0..) {
            *slot = j * STEP;
        }
        // Entries stay far below the limits named above, whatever is added.
        for (i, &word) in text.iter().enumerate() {
            let costs = &self.cost[word * count..(word + 1) * count];
            let (upper, lower) = front[i * width..(i + 2) * width].split_at_mut(width);
            let columns = band.row(i + 1);
            let mut left = NEVER;
            if columns.start == 0 {
                left = upper[0] + STEP;
                lower[0] = left;
            }
            let from = columns.start.max(1);
            let seen = other[from - 1..].iter().zip(upper[from - 1..].windows(2));
            for (slot, (&seen, pair)) in lower[from..columns.end].iter_mut().zip(seen) {
                left = pair[0]
                    .wrapping_add(costs[seen])
                    .min(left.min(pair[1]).wrapping_add(STEP));
                *slot = left;
            }
        }
        for (i, &word) in text.iter().enumerate().rev() {
            let costs = &self.cost[word * count..(word + 1) * count];
            let (upper, lower) = back[i * width..(i + 2) * width].split_at_mut(width);
            let columns = band.row(i);
            let mut right = NEVER;
            if columns.end > n {
                right = lower[n] + STEP;
                upper[n] = right;
            }
            let columns = columns.start..columns.end.min(n);
            let seen = &other[columns.clone()];
            let pairs = lower[columns.start..columns.end + 1].windows(2);
            let cells = upper[columns].iter_mut().zip(seen).zip(pairs);
            for ((slot, &seen), pair) in cells.rev() {
                right = pair[1]
                    .wrapping_add(costs[seen])
                    .min(right.min(pair[0]).wrapping_add(STEP));
                *slot = right;
            }
        }
        band
    }
}

/// Costs of one kind of change at each place.
struct Savings {
    /// Cost with a word that no answer has, by place.
    strange: Vec<u64>,
    /// What each word saves against that, by place and word.
    saved: Vec<u64>,
}

impl Savings {
    fn new(places: usize, words: usize) -> Self {
        Self {
            strange: vec![0; places],
            saved: vec![0; places * words],
        }
    }

    /// The least cost with its place and word, the first of equals; `bound` and nothing where none is below.
    fn best(&self, bound: u64) -> (u64, usize, usize) {
        let words = (self.saved.len() / self.strange.len().max(1)).max(1);
        let mut best = (bound, 0, 0);
        for (place, (row, strange)) in self.saved.chunks(words).zip(&self.strange).enumerate() {
            for (word, saving) in row.iter().enumerate() {
                if strange - saving < best.0 {
                    best = (strange - saving, place, word);
                }
            }
        }
        best
    }
}

/// Sums of two rows, as long as the shorter one; gives the least, or [`NEVER`].
fn add(front: &[i32], back: &[i32], sums: &mut Vec<i32>) -> i32 {
    sums.clear();
    sums.extend(front.iter().zip(back).map(|(x, y)| x.wrapping_add(*y)));
    sums.iter().copied().fold(NEVER, i32::min)
}
