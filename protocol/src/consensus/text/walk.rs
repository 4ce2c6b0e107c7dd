//! The walk to a median text: one changed word at a time, as long as that brings the text closer to the weighted answers; words have a worth of
//! their own beside that.
//!
//! Source: the greedy perturbation method for generalised median strings (Kohonen 1985; Martinez-Hinarejos, Juan, Casacuberta 2000), each
//! round of which looks at every deletion, replacement and insertion at once, from the distances of all beginnings and of all ends.
//! What it does not do: no search beyond single changes, no word that no answer has.
//! Invariants: every cost is in thousandths of a word; texts have at most 2^10 words and so tables entries below 2^21 + 2^15 (i32 has
//! room for the sum of two and a word); weights are below 2^24 and votes per item at most 64, so weighted sums stay below 2^52.

/// Cost of a word too many, too few or wrong, in thousandths.
pub(super) const WORD: u64 = 1000;
/// Discount on replacing a word by one that is spelled the same, in thousandths; other spellings get it in proportion to what they share.
pub(super) const KINSHIP: u64 = 250;
/// Words that share less than this of their letters are strangers, in thousandths.
pub(super) const KIN_MIN: u64 = 500;
/// Most steps of the walk, in words changed.
pub(super) const STEPS_MAX: usize = 24;
/// The walk is left out where its table of (place, word) would be larger than this, in cells.
pub(super) const WALK_CELLS_MAX: usize = 1 << 20;
/// Tables of distances of all answers are kept up to this size, and computed twice beyond it, in cells.
const KEPT_CELLS_MAX: usize = 1 << 18;

use super::align::Band;

/// [`WORD`] as an entry of a table.
const STEP: i32 = WORD as i32;
/// An entry that no alignment reaches, far above all others: the sum of two still fits.
const NEVER: i32 = 1 << 28;

/// Whether a text is as good as all that one change leads to because answers of the weight `same`, among answers of the weight `all`, are
/// that very text: a change takes at least a replacement by kin from each of them and gives at most a word to each of the others, and a
/// word more is worth `longer`.
pub(super) fn is_median(same: u64, all: u64, longer: u32) -> bool {
    let other = (all - same) * WORD;
    same * (WORD - KINSHIP) >= other && same * WORD >= other + all * u64::from(longer)
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
    /// What a word more is worth against all answers together.
    longer: u64,
}

/// One change of a text: place and word.
#[derive(Clone, Copy, Debug)]
enum Change {
    Delete(usize),
    Replace(usize, usize),
    Insert(usize, usize),
}

/// Distances of all beginnings and of all ends of two texts.
///
/// Rows are as long as the other text and two more; the last entry of each, and those outside the [`Band`], are [`NEVER`].
#[derive(Default)]
struct Tables {
    front: Vec<i32>,
    back: Vec<i32>,
}

impl Tables {
    /// What stands before a new word and what behind it, by the word of the other text in its place: beginnings up to row `before` of
    /// the band, and ends from row `behind`.
    fn around(
        &self,
        other: &[usize],
        band: Band,
        (before, behind): (usize, usize),
    ) -> (std::ops::Range<usize>, &[i32], &[i32]) {
        let width = other.len() + 2;
        let columns = band.row(before);
        let columns = columns.start..columns.end.min(other.len());
        let front = &self.front[before * width..][columns.clone()];
        let back = &self.back[behind * width + 1..][columns.clone()];
        (columns, front, back)
    }

    /// The least that the other text costs with one change at a place, over all that may stand there.
    fn least(
        &self,
        width: usize,
        columns: std::ops::Range<usize>,
        place: usize,
        word: bool,
    ) -> Least {
        let front = &self.front[place * width..][columns.clone()];
        let ends = columns.start..columns.end + 1;
        let here = &self.back[place * width..][ends.clone()];
        let mut least = Least {
            inserted: NEVER,
            deleted: NEVER,
            replaced: NEVER,
        };
        if !word {
            for (front, here) in front.iter().zip(&here[1..]) {
                least.inserted = least.inserted.min(front.wrapping_add(*here));
            }
            return least;
        }
        let below = &self.back[(place + 1) * width..][ends];
        let behind = here[1..].iter().zip(below).zip(&below[1..]);
        for (front, ((here, below), after)) in front.iter().zip(behind) {
            least.inserted = least.inserted.min(front.wrapping_add(*here));
            least.deleted = least.deleted.min(front.wrapping_add(*below));
            least.replaced = least.replaced.min(front.wrapping_add(*after));
        }
        least
    }
}

/// The least costs of a text with one change at one place, or [`NEVER`]; a new word costs nothing itself.
struct Least {
    inserted: i32,
    deleted: i32,
    replaced: i32,
}

/// Room for the search for one change after the other, in one item after the other.
#[derive(Default)]
pub(super) struct Room {
    /// One for each different answer, or one for all of them where those would be too large.
    tables: Vec<Tables>,
    bands: Vec<Band>,
    /// Cost of a word that no answer has: of each answer, by place, where it is inserted and where it replaces one.
    strange: Vec<i32>,
    /// What each word saves against that in the answer and place at hand, and the words that save something.
    row: Vec<i32>,
    touched: Vec<usize>,
    /// What each word saves at each candidate in all answers; rows of as many as there are words.
    saved: Vec<u64>,
}

/// A place where some word may bring the text closer.
struct Candidate {
    place: usize,
    /// Whether a word is replaced there, or else inserted.
    replaced: bool,
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
        let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
        if short as u64 * 1000 < long as u64 * KIN_MIN {
            return WORD;
        }
        (ends(a.as_bytes(), b.as_bytes()), long)
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
        (length, longer): (usize, u32),
    ) -> Option<Self> {
        let mut words: Vec<u32> = texts.iter().flat_map(|text| text.iter().copied()).collect();
        words.sort_unstable();
        words.dedup();
        let (count, places) = (words.len(), length + STEPS_MAX + 1);
        if count.max(1) * count.max(places) > WALK_CELLS_MAX {
            return None;
        }
        let spelled = |word: u32| &dictionary[word as usize];
        let sides: Vec<[Option<u8>; 2]> = (words.iter())
            .map(|&word| spelled(word).as_bytes())
            .map(|bytes| [bytes.first(), bytes.last()].map(Option::<&u8>::copied))
            .collect();
        let mut kin: Vec<(usize, usize, i32)> = Vec::new();
        let mut cost = vec![STEP; count * count];
        for i in 0..count {
            cost[i * count + i] = 0;
            for j in i + 1..count {
                if sides[i][0] != sides[j][0] && sides[i][1] != sides[j][1] {
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
        // The heaviest answers leave the least hope to the changes that they are against.
        different.sort_by_key(|entry| (std::cmp::Reverse(entry.1), entry.2));
        Some(Self {
            texts: different,
            cost,
            kin,
            kin_of,
            words,
            longer: weights.iter().sum::<u64>() * u64::from(longer),
        })
    }

    /// Walks from `start` (words of the answers), whose distances from the answers are given in words, to a text that no single change
    /// brings closer to the weighted answers.
    pub fn walk(&self, start: &[u32], distances: &[u32], room: &mut Room) -> Vec<u32> {
        self.walk_within(start, distances, room, KEPT_CELLS_MAX)
    }

    /// [`Median::walk`] that keeps tables of up to so many cells; the result does not depend on it.
    pub(super) fn walk_within(
        &self,
        start: &[u32],
        distances: &[u32],
        room: &mut Room,
        cells_max: usize,
    ) -> Vec<u32> {
        let mut text: Vec<usize> = start
            .iter()
            .filter_map(|word| self.words.binary_search(word).ok())
            .collect();
        // Kin only bring texts closer.
        let mut bounds: Vec<i32> = (self.texts.iter())
            .map(|entry| distances[entry.2] as i32 * STEP)
            .collect();
        for _ in 0..STEPS_MAX {
            match self.best_change(&text, &mut bounds, room, cells_max) {
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
    ///
    /// First the least that any word could cost at each place, as long as there is hope for it: no change brings a text closer to another
    /// by more than a word, so what the answers so far lose must not exceed what the others could gain. Then each word, at the places
    /// where that least is less than what the text costs.
    fn best_change(
        &self,
        text: &[usize],
        bounds: &mut [i32],
        room: &mut Room,
        cells_max: usize,
    ) -> Option<Change> {
        let m = text.len();
        let columns: usize = self.texts.iter().map(|entry| entry.0.len() + 2).sum();
        let keep = 2 * (m + 1) * columns <= cells_max;
        let tables = if keep { self.texts.len() } else { 1 };
        if room.tables.len() < tables {
            room.tables.resize_with(tables, Tables::default);
        }
        room.bands.clear();
        room.strange.clear();
        // Every cost has the worth of the words by which its text is shorter than the longest that one change leads to.
        let mut now = self.longer;
        // By place, what a change costs at least, less what the text costs.
        let mut deleted = vec![self.longer as i64; m];
        let mut replaced = vec![0i64; m];
        let mut inserted = vec![-(self.longer as i64); m + 1];
        let mut rest: u64 = self.texts.iter().map(|entry| entry.1).sum();
        for (answer, ((other, weight, _), bound)) in self.texts.iter().zip(bounds).enumerate() {
            let width = other.len() + 2;
            // One word alone for the cost, and one for the changed word, which shifts what follows.
            let band = Band::new(m, other.len(), (*bound / STEP) as usize + 2);
            room.bands.push(band);
            let tables = &mut room.tables[if keep { answer } else { 0 }];
            self.fill(text, other, band, tables);
            let whole = tables.back[0];
            now += weight * whole as u64;
            *bound = whole + STEP;
            // Weights are below 2^30 in all, and costs below 2^22.
            let hope = (rest * WORD) as i64;
            rest -= weight;
            let more = |cost: i32| *weight as i64 * i64::from(cost - whole);
            for place in 0..=m {
                let insert = inserted[place] < hope;
                let change = place < m && (deleted[place] < hope || replaced[place] < hope);
                if !insert && !change {
                    room.strange.extend([0; 2]);
                    continue;
                }
                let least = tables.least(width, band.row(place), place, place < m);
                // Every cheapest alignment passes through the place, so leaving a new word alone costs a word more than the whole.
                let insertion = STEP + whole.min(least.inserted);
                let replacement = STEP + least.deleted.min(least.replaced);
                room.strange.extend([insertion, replacement]);
                if insert {
                    inserted[place] += more(insertion.min(least.inserted));
                }
                if change {
                    deleted[place] += more(least.deleted);
                    replaced[place] += more(replacement.min(least.replaced));
                }
            }
        }
        let cost = |more: i64| now.saturating_add_signed(more);
        let mut best = (now, None);
        for (place, &more) in deleted.iter().enumerate() {
            if cost(more) < best.0 {
                best = (cost(more), Some(Change::Delete(place)));
            }
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for (places, replaced) in [(&replaced, true), (&inserted, false)] {
            for (place, &more) in places.iter().enumerate() {
                if cost(more) < best.0 {
                    candidates.push(Candidate { place, replaced });
                }
            }
        }
        self.best_word(text, &candidates, keep, room, best)
    }

    /// The first of the cheapest words at these places, by place and word, if it is cheaper than the `best` so far.
    fn best_word(
        &self,
        text: &[usize],
        candidates: &[Candidate],
        keep: bool,
        room: &mut Room,
        mut best: (u64, Option<Change>),
    ) -> Option<Change> {
        if candidates.is_empty() {
            return best.1;
        }
        let count = self.words.len().max(1);
        // All zero between answers, so only what is new has to be set.
        room.row.resize(count.max(room.row.len()), 0);
        // By candidate: the cost of a word that no answer has, and what each word saves against that.
        let of_length = |candidate: &Candidate| if candidate.replaced { self.longer } else { 0 };
        let mut strange: Vec<u64> = candidates.iter().map(of_length).collect();
        room.saved.clear();
        room.saved.resize(candidates.len() * count, 0);
        let answers = self.texts.iter().zip(&room.bands).enumerate();
        for (answer, ((other, weight, _), &band)) in answers {
            let tables = &mut room.tables[if keep { answer } else { 0 }];
            if !keep {
                self.fill(text, other, band, tables);
            }
            let places = &room.strange[answer * 2 * (text.len() + 1)..];
            let cells = room.saved.chunks_exact_mut(count).zip(&mut strange);
            for (candidate, (saved, strange)) in candidates.iter().zip(cells) {
                let (place, step) = (candidate.place, usize::from(candidate.replaced));
                let base = places[2 * place + step];
                *strange += weight * base as u64;
                let (columns, front, back) = tables.around(other, band, (place, place + step));
                let through = front.iter().zip(back).map(|(x, y)| x.wrapping_add(*y));
                let words = other[columns].iter().copied().zip(through);
                self.save(
                    saved,
                    (*weight, base),
                    words,
                    (&mut room.row, &mut room.touched),
                );
            }
        }
        let cells = room.saved.chunks_exact(count).zip(strange);
        for (candidate, (saved, strange)) in candidates.iter().zip(cells) {
            for (word, saving) in saved.iter().enumerate() {
                if strange - saving < best.0 {
                    let change = if candidate.replaced {
                        Change::Replace(candidate.place, word)
                    } else {
                        Change::Insert(candidate.place, word)
                    };
                    best = (strange - saving, Some(change));
                }
            }
        }
        best.1
    }

    /// Adds what the words of one answer and their kin save at a place where a strange word would cost `base`; the words come with the
    /// cost of all but the word itself where it stands in the place of each of the answer's.
    fn save(
        &self,
        saved: &mut [u64],
        (weight, base): (u64, i32),
        through: impl Iterator<Item = (usize, i32)>,
        (row, touched): (&mut [i32], &mut Vec<usize>),
    ) {
        for (word, cost) in through {
            // Both are below the limits named above.
            let room = base.wrapping_sub(cost);
            if room <= 0 {
                continue;
            }
            let mut save = |word: usize, saving: i32| {
                let known = &mut row[word];
                if saving > *known {
                    if *known == 0 {
                        touched.push(word);
                    }
                    *known = saving;
                }
            };
            save(word, room);
            for &(_, kin, cost) in &self.kin[self.kin_of[word]..self.kin_of[word + 1]] {
                save(kin, room.wrapping_sub(cost));
            }
        }
        for kin in touched.drain(..) {
            saved[kin] += weight * row[kin] as u64;
            row[kin] = 0;
        }
    }

    /// Distances of all beginnings, and of all ends, of two texts in the cells of a band, which has all that matter: those on alignments
    /// that cost at most a word more, with one word of the text more, less or other.
    fn fill(&self, text: &[usize], other: &[usize], band: Band, tables: &mut Tables) {
        let (m, n, count) = (text.len(), other.len(), self.words.len());
        let width = n + 2;
        let Tables { front, back } = tables;
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
            let cells = columns.start.max(1)..columns.end;
            let seen = &other[cells.start - 1..cells.end - 1];
            let mut diagonal = upper[cells.start - 1];
            let pairs = lower[cells.clone()].iter_mut().zip(&upper[cells]);
            for ((slot, &above), &seen) in pairs.zip(seen) {
                let others = diagonal
                    .wrapping_add(costs[seen])
                    .min(above.wrapping_add(STEP));
                diagonal = above;
                left = others.min(left.wrapping_add(STEP));
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
            let cells = columns.start..columns.end.min(n);
            let seen = &other[cells.clone()];
            let mut diagonal = lower[cells.end];
            let pairs = upper[cells.clone()].iter_mut().zip(&lower[cells]);
            for ((slot, &below), &seen) in pairs.zip(seen).rev() {
                let others = diagonal
                    .wrapping_add(costs[seen])
                    .min(below.wrapping_add(STEP));
                diagonal = below;
                right = others.min(right.wrapping_add(STEP));
                *slot = right;
            }
        }
    }
}
