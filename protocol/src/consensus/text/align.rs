//! Alignment of word sequences: distances, the word transition network, and the walk to a median text.
//!
//! Sources: Levenshtein distance; the network and its vote follow Fiscus ("A post-processing system to yield reduced word error rates:
//! ROVER", ASRU 1997), with weighted slots; the walk is the greedy perturbation method for generalised median strings (Kohonen 1985;
//! Martinez-Hinarejos, Juan, Casacuberta 2000), each round of which looks at every deletion, replacement and insertion at once.
//! Invariants: every cost is in thousandths of a word; weights are below 2^24 and votes per item at most 64, words at most 2^10, so
//! sums of weighted costs stay below 2^52.

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

/// Levenshtein distance in words.
pub(super) fn distance(a: &[u32], b: &[u32]) -> u32 {
    if a == b {
        return 0;
    }
    let mut row: Vec<u32> = (0..=b.len() as u32).collect();
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
    weight: u64,
    votes: u32,
}

impl Network {
    /// Cost of reading `word` at `slot`: the share of the weight that says otherwise.
    fn cost(&self, slot: &Slot, word: Option<u32>) -> u64 {
        match slot.binary_search_by_key(&word, |entry| entry.0) {
            Ok(place) => (self.weight - slot[place].1) * WORD / self.weight,
            Err(_) => WORD,
        }
    }

    /// Aligns a text and adds its votes. Among equal alignments a match comes before a skipped slot, and that before a new one.
    pub fn add(&mut self, words: &[u32], weight: u64) {
        let (n, m) = (self.slots.len(), words.len());
        let width = m + 1;
        let skip: Vec<u64> = self.slots.iter().map(|s| self.cost(s, None)).collect();
        let mut table = vec![0u64; (n + 1) * width];
        let mut reading = vec![0u64; n * m];
        for j in 1..=m {
            table[j] = table[j - 1] + WORD;
        }
        for i in 1..=n {
            table[i * width] = table[(i - 1) * width] + skip[i - 1];
            for j in 1..=m {
                let cost = self.cost(&self.slots[i - 1], Some(words[j - 1]));
                reading[(i - 1) * m + j - 1] = cost;
                table[i * width + j] = (table[(i - 1) * width + j - 1] + cost)
                    .min(table[(i - 1) * width + j] + skip[i - 1])
                    .min(table[i * width + j - 1] + WORD);
            }
        }
        let old = std::mem::take(&mut self.slots);
        let (mut i, mut j) = (n, m);
        let mut old = old.into_iter().rev();
        while i > 0 || j > 0 {
            let here = table[i * width + j];
            let matched = i > 0
                && j > 0
                && here == table[(i - 1) * width + j - 1] + reading[(i - 1) * m + j - 1];
            let skipped = i > 0 && here == table[(i - 1) * width + j] + skip[i - 1];
            let mut slot = if matched || skipped {
                i -= 1;
                old.next().unwrap_or_default()
            } else {
                let mut fresh = Slot::new();
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

/// The answers of one item with the words among them numbered from zero, and who is kin to whom.
pub(super) struct Median<'a> {
    words: Vec<u32>,
    texts: Vec<Vec<usize>>,
    weights: &'a [u64],
    /// For each word, the words (itself included) that cost less than a whole word, with their cost.
    kin: Vec<Vec<(usize, u64)>>,
}

/// Cost of replacing one word by another: their common beginning and end count as shared.
fn replacing(a: &[char], b: &[char]) -> u64 {
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let tail = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(x, y)| x == y)
        .count()
        .min(short - head);
    let shared = ((head + tail) * 1000) as u64 / long.max(1) as u64;
    if shared < KIN_MIN {
        WORD
    } else {
        WORD - KINSHIP * shared / 1000
    }
}

impl<'a> Median<'a> {
    /// Prepares the walk; `None` where its table would be too large for texts of up to `length` words.
    pub fn new(
        texts: &[&[u32]],
        weights: &'a [u64],
        dictionary: &[String],
        length: usize,
    ) -> Option<Self> {
        let mut words: Vec<u32> = texts.iter().flat_map(|text| text.iter().copied()).collect();
        words.sort_unstable();
        words.dedup();
        let places = length + STEPS_MAX + 1;
        if words.len().max(1) * words.len().max(places) > WALK_CELLS_MAX {
            return None;
        }
        let letters: Vec<Vec<char>> = words
            .iter()
            .map(|&word| dictionary[word as usize].chars().collect())
            .collect();
        let mut kin: Vec<Vec<(usize, u64)>> = (0..words.len()).map(|i| vec![(i, 0)]).collect();
        for (i, a) in letters.iter().enumerate() {
            for (j, b) in letters.iter().enumerate().skip(i + 1) {
                if a.first() != b.first() && a.last() != b.last() {
                    continue;
                }
                let cost = replacing(a, b);
                if cost < WORD {
                    kin[i].push((j, cost));
                    kin[j].push((i, cost));
                }
            }
        }
        let number = |word: &u32| words.binary_search(word).unwrap_or(0);
        Some(Self {
            texts: texts
                .iter()
                .map(|text| text.iter().map(number).collect())
                .collect(),
            weights,
            kin,
            words,
        })
    }

    /// Cost of replacing `word` by each word of `other`.
    fn costs(&self, word: usize, other: &[usize], out: &mut [u64]) {
        let kin = &self.kin[word];
        for (slot, &seen) in out.iter_mut().zip(other) {
            *slot = kin
                .iter()
                .find(|entry| entry.0 == seen)
                .map_or(WORD, |entry| entry.1);
        }
    }

    /// Walks from `start` (words of the answers) to a text that no single change brings closer to the weighted answers.
    pub fn walk(&self, start: &[u32]) -> Vec<u32> {
        let mut text: Vec<usize> = start
            .iter()
            .filter_map(|word| self.words.binary_search(word).ok())
            .collect();
        for _ in 0..STEPS_MAX {
            match self.best_change(&text) {
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

    /// The change that lowers the weighted distance most; ties by deletion, replacement, insertion, then place, then word.
    fn best_change(&self, text: &[usize]) -> Option<Change> {
        let (m, count) = (text.len(), self.words.len());
        let mut now = 0;
        let mut deleted = vec![0u64; m];
        // What a word that no answer has would cost at each place, and what each word saves against that.
        let mut strange = [vec![0u64; m + 1], vec![0u64; m]];
        let mut saved = [vec![0u64; (m + 1) * count], vec![0u64; m * count]];
        let mut row = vec![0u64; count];
        let mut touched = Vec::new();
        for (other, &weight) in self.texts.iter().zip(self.weights) {
            let width = other.len() + 1;
            let (front, back) = self.tables(text, other);
            now += weight * back[0];
            for place in 0..=m {
                let before = &front[place * width..(place + 1) * width];
                // Insertion before the place, then replacement of what stands there.
                for kind in 0..2.min(1 + m - place) {
                    let after = &back[(place + kind) * width..(place + kind + 1) * width];
                    let gap = least_sum(before, after);
                    if kind == 1 {
                        deleted[place] += weight * gap;
                    }
                    let base = WORD + gap.min(least_sum(before, &after[1..]));
                    strange[kind][place] += weight * base;
                    for ((&word, f), b) in other.iter().zip(before).zip(&after[1..]) {
                        let joined = f + b;
                        if joined >= base {
                            continue;
                        }
                        for &(kin, cost) in &self.kin[word] {
                            let saving = base.saturating_sub(joined + cost);
                            if row[kin] == 0 && saving > 0 {
                                touched.push(kin);
                            }
                            row[kin] = row[kin].max(saving);
                        }
                    }
                    for kin in touched.drain(..) {
                        saved[kind][place * count + kin] += weight * row[kin];
                        row[kin] = 0;
                    }
                }
            }
        }
        let mut best = (now, None);
        for (place, &cost) in deleted.iter().enumerate() {
            if cost < best.0 {
                best = (cost, Some(Change::Delete(place)));
            }
        }
        for kind in [1, 0] {
            let [insertions, replacements] = &saved;
            let saved = if kind == 1 { replacements } else { insertions };
            for (cell, &saving) in saved.iter().enumerate() {
                let (place, word) = (cell / count, cell % count);
                let cost = strange[kind][place] - saving;
                if cost < best.0 {
                    let change = if kind == 1 {
                        Change::Replace(place, word)
                    } else {
                        Change::Insert(place, word)
                    };
                    best = (cost, Some(change));
                }
            }
        }
        best.1
    }

    /// Distances of all beginnings, and of all ends, of two texts.
    fn tables(&self, text: &[usize], other: &[usize]) -> (Vec<u64>, Vec<u64>) {
        let (m, width) = (text.len(), other.len() + 1);
        let mut front = Vec::with_capacity((m + 1) * width);
        front.extend((0..width as u64).map(|j| j * WORD));
        let mut back = vec![0u64; (m + 1) * width];
        for (j, slot) in back[m * width..].iter_mut().rev().enumerate() {
            *slot = j as u64 * WORD;
        }
        let mut costs = vec![WORD; other.len()];
        for (i, &word) in text.iter().enumerate() {
            self.costs(word, other, &mut costs);
            let mut left = front[i * width] + WORD;
            front.push(left);
            for (j, cost) in costs.iter().enumerate() {
                let above = i * width + j;
                left = (front[above] + cost).min(left.min(front[above + 1]) + WORD);
                front.push(left);
            }
        }
        for (i, &word) in text.iter().enumerate().rev() {
            self.costs(word, other, &mut costs);
            let (upper, lower) = back[i * width..(i + 2) * width].split_at_mut(width);
            let mut right = lower[width - 1] + WORD;
            upper[width - 1] = right;
            for (j, cost) in costs.iter().enumerate().rev() {
                right = (lower[j + 1] + cost).min(right.min(lower[j]) + WORD);
                upper[j] = right;
            }
        }
        (front, back)
    }
}

/// The least sum of two entries in the same place, over the shorter of both.
fn least_sum(a: &[u64], b: &[u64]) -> u64 {
    let mut least = u64::MAX;
    for (x, y) in a.iter().zip(b) {
        least = least.min(x + y);
    }
    least
}

/// One change of a text: place and word.
#[derive(Clone, Copy, Debug)]
enum Change {
    Delete(usize),
    Replace(usize, usize),
    Insert(usize, usize),
}

/// For each word of `text`, the position in `other` that a cheapest alignment gives it, where the words are equal.
pub(super) fn matches(text: &[u32], other: &[u32]) -> Vec<Option<usize>> {
    let (m, n) = (text.len(), other.len());
    let width = n + 1;
    let mut table: Vec<u32> = vec![0; (m + 1) * width];
    for i in 0..=m {
        for j in 0..=n {
            table[i * width + j] = match (i, j) {
                (0, _) => j as u32,
                (_, 0) => i as u32,
                _ => (table[(i - 1) * width + j - 1] + u32::from(text[i - 1] != other[j - 1]))
                    .min(table[(i - 1) * width + j] + 1)
                    .min(table[i * width + j - 1] + 1),
            };
        }
    }
    let mut found = vec![None; m];
    let (mut i, mut j) = (m, n);
    while i > 0 && j > 0 {
        let differ = u32::from(text[i - 1] != other[j - 1]);
        if table[i * width + j] == table[(i - 1) * width + j - 1] + differ {
            i -= 1;
            j -= 1;
            if differ == 0 {
                found[i] = Some(j);
            }
        } else if table[i * width + j] == table[(i - 1) * width + j] + 1 {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found
}
