//! The input of text inference, its checks, and the words behind the texts.
//!
//! **Words.** A text is split at Unicode white space. Two words are equal when they agree after Unicode lower-casing and after taking off
//! leading and trailing characters that are neither letters nor digits (a word of nothing else is kept as it is), so `Giant,` and `giant`
//! vote together; the spelling that is published is chosen later among the ones given. No other normalisation is applied: composed
//! and decomposed accents differ, and scripts without spaces give one word per run of text. The Unicode version is part of the method's identity.
//! Invariants of [`Index`]: votes are sorted by (item, labeler) without repetition; word numbers follow the order of the words' bytes,
//! so comparing numbers compares words.

use std::collections::BTreeMap;

use crate::consensus::class::{MAX_ITEMS, MAX_LABELERS};
use crate::consensus::error::ConsensusError;

/// Most votes of one scoring run, in votes.
pub const MAX_TEXT_VOTES: u64 = 1 << 20;
/// Most votes on one item, in votes.
pub const MAX_TEXT_VOTES_PER_ITEM: u64 = 64;
/// Most pairs of votes on the same item over all items, in pairs.
pub const MAX_TEXT_PAIRS: u64 = 1 << 23;
/// Most bytes of one text, in bytes.
pub const MAX_TEXT_BYTES: u64 = 1 << 16;
/// Most words of one text, in words.
pub const MAX_TEXT_WORDS: u64 = 1 << 10;
/// Most bytes of all texts together, in bytes.
pub const MAX_TEXT_TOTAL_BYTES: u64 = 1 << 28;
/// Most table cells that comparing the answers of each item with each other may take, in cells: about a minute.
pub const MAX_TEXT_CELLS: u64 = 1 << 35;

/// One vote: `labeler` answered `text` to `item`; both are indices that start at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextVote<'a> {
    /// Index of the item, below [`TextInput::items`].
    pub item: u32,
    /// Index of the labeler, below [`TextInput::labelers`].
    pub labeler: u32,
    /// The answer; an empty one is a vote for silence.
    pub text: &'a str,
}

/// Everything that text inference may look at.
#[derive(Clone, Copy, Debug)]
pub struct TextInput<'a> {
    /// Items of the task; items without votes are allowed.
    pub items: u32,
    /// Labelers of the task; labelers without votes are allowed.
    pub labelers: u32,
    /// The votes in any order, at most one per labeler and item.
    pub votes: &'a [TextVote<'a>],
    /// Opened gold: item to true text, which is published as it is.
    pub gold: &'a BTreeMap<u32, &'a str>,
}

/// Words of one text: numbers, and the spelling of each.
#[derive(Debug, Default)]
pub(super) struct Text<'a> {
    pub words: Vec<u32>,
    pub spelled: Vec<&'a str>,
}

/// The canonical form of a [`TextInput`].
#[derive(Debug)]
pub(super) struct Index<'a> {
    pub labelers: usize,
    /// Labeler of each vote, votes sorted by (item, labeler).
    pub labeler: Vec<u32>,
    pub texts: Vec<Text<'a>>,
    /// First vote of each item, and the end.
    pub start: Vec<usize>,
    pub gold: BTreeMap<u32, (&'a str, Text<'a>)>,
    /// The words by number, normalised.
    pub dictionary: Vec<String>,
}

impl<'a> Index<'a> {
    pub fn new(input: &TextInput<'a>) -> Result<Self, ConsensusError> {
        at_most("items", u64::from(input.items), MAX_ITEMS)?;
        at_most("labelers", u64::from(input.labelers), MAX_LABELERS)?;
        at_most("votes", input.votes.len() as u64, MAX_TEXT_VOTES)?;
        let mut bytes = 0;
        // Item, labeler, vote, words.
        let mut order: Vec<(u32, u32, usize, usize)> = Vec::with_capacity(input.votes.len());
        for (index, vote) in input.votes.iter().enumerate() {
            if vote.item >= input.items {
                return Err(ConsensusError::ItemOutOfRange {
                    index,
                    item: vote.item,
                    items: input.items,
                });
            }
            if vote.labeler >= input.labelers {
                return Err(ConsensusError::LabelerOutOfRange {
                    index,
                    labeler: vote.labeler,
                    labelers: input.labelers,
                });
            }
            bytes += vote.text.len() as u64;
            let words = check_text(index, vote.text)?;
            order.push((vote.item, vote.labeler, index, words));
        }
        for (&item, &text) in input.gold {
            if item >= input.items {
                return Err(ConsensusError::ItemOutOfRange {
                    index: input.votes.len(),
                    item,
                    items: input.items,
                });
            }
            bytes += text.len() as u64;
            check_text(input.votes.len(), text)?;
        }
        at_most("bytes of text", bytes, MAX_TEXT_TOTAL_BYTES)?;
        order.sort_unstable();
        if let Some(pair) = order
            .windows(2)
            .find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1))
        {
            return Err(ConsensusError::DuplicateVote {
                first: pair[0].2,
                second: pair[1].2,
                item: pair[0].0,
                labeler: pair[0].1,
            });
        }
        let mut book = Book::default();
        let mut index = Self {
            labelers: input.labelers as usize,
            labeler: order.iter().map(|entry| entry.1).collect(),
            texts: order
                .iter()
                .map(|entry| book.read(input.votes[entry.2].text, entry.3))
                .collect(),
            start: Vec::with_capacity(input.items as usize + 1),
            gold: input
                .gold
                .iter()
                .map(|(&item, &text)| (item, (text, book.read(text, count_words(text)))))
                .collect(),
            dictionary: Vec::new(),
        };
        let mut vote = 0;
        for item in 0..input.items {
            index.start.push(vote);
            while vote < order.len() && order[vote].0 == item {
                vote += 1;
            }
        }
        index.start.push(vote);
        index.renumber(book);
        index.check_work()?;
        Ok(index)
    }

    pub fn items(&self) -> usize {
        self.start.len() - 1
    }

    /// Votes of an item.
    pub fn votes(&self, item: usize) -> std::ops::Range<usize> {
        self.start[item]..self.start[item + 1]
    }

    /// Replaces the numbers in order of appearance by ranks.
    fn renumber(&mut self, book: Book) {
        let short = book.short.into_iter().map(|(letters, number)| {
            let bytes = letters.to_be_bytes();
            let length = SHORT_BYTES - letters.trailing_zeros() as usize / 8;
            (
                String::from_utf8_lossy(&bytes[..length]).into_owned(),
                number,
            )
        });
        let mut words: Vec<(String, u32)> = short.chain(book.long).collect();
        words.sort_unstable();
        let mut rank = vec![0; words.len()];
        for (place, (word, number)) in words.into_iter().enumerate() {
            rank[number as usize] = place as u32;
            self.dictionary.push(word);
        }
        let gold = self.gold.values_mut().map(|(_, text)| text);
        for text in self.texts.iter_mut().chain(gold) {
            for word in &mut text.words {
                *word = rank[*word as usize];
            }
        }
    }

    fn check_work(&self) -> Result<(), ConsensusError> {
        let (mut pairs, mut cells) = (0u64, 0u64);
        for item in 0..self.items() {
            let votes = self.votes(item);
            let count = votes.len() as u64;
            at_most("votes on one item", count, MAX_TEXT_VOTES_PER_ITEM)?;
            pairs += count * count.saturating_sub(1) / 2;
            let words: u64 = votes.map(|vote| self.texts[vote].words.len() as u64).sum();
            cells += words * words;
        }
        at_most("pairs of texts", pairs, MAX_TEXT_PAIRS)?;
        at_most("alignment cells", cells, MAX_TEXT_CELLS)
    }
}

/// Longest word that is kept as a number, in bytes.
const SHORT_BYTES: usize = 8;
/// Short words that are found without a search, as a power of two.
const RECENT_BITS: u32 = 12;

/// Numbers words in order of appearance.
struct Book {
    /// Words of at most [`SHORT_BYTES`] bytes and without a zero at the end, by their bytes as one number, the first byte highest.
    short: BTreeMap<u64, u32>,
    /// The last word of `short` at each place of a table, which most words of an item are found in: the answers share them. Whoever
    /// makes words fall on one place gains no more than the search that it saves.
    recent: Vec<(u64, u32)>,
    long: BTreeMap<String, u32>,
    scratch: String,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            short: BTreeMap::new(),
            // No word has the number zero for its bytes.
            recent: vec![(0, 0); 1 << RECENT_BITS],
            long: BTreeMap::new(),
            scratch: String::new(),
        }
    }
}

/// The bytes of a word, in lower case, as one number; `None` for a word that is longer or would not come back.
fn letters(word: &[u8]) -> Option<u64> {
    if word.len() > SHORT_BYTES || word.last().is_none_or(|&last| last == 0) {
        return None;
    }
    let mut bytes = [0; SHORT_BYTES];
    for (slot, byte) in bytes.iter_mut().zip(word) {
        *slot = byte.to_ascii_lowercase();
    }
    Some(u64::from_be_bytes(bytes))
}

/// Whether the words of a text are what lies between the white space of ASCII: a vertical tab is white space to Unicode alone.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .fold(true, |plain, byte| plain & (byte < 0x80) & (byte != 0x0B))
}

fn count_words(text: &str) -> usize {
    if is_plain(text) {
        text.split_ascii_whitespace().count()
    } else {
        text.split_whitespace().count()
    }
}

impl Book {
    /// The words of a text that has so many.
    fn read<'a>(&mut self, text: &'a str, count: usize) -> Text<'a> {
        let mut spelled: Vec<&str> = Vec::with_capacity(count);
        if is_plain(text) {
            spelled.extend(text.split_ascii_whitespace());
        } else {
            spelled.extend(text.split_whitespace());
        }
        let words = spelled.iter().map(|word| self.number(word)).collect();
        Text { words, spelled }
    }

    fn number(&mut self, word: &str) -> u32 {
        if word.is_ascii() {
            let letter = u8::is_ascii_alphanumeric;
            let bytes = word.as_bytes();
            let core = match bytes.iter().position(letter) {
                Some(first) => {
                    let behind = bytes.iter().rev().take_while(|byte| !letter(byte));
                    first..bytes.len() - behind.count()
                }
                None => 0..bytes.len(),
            };
            if let Some(letters) = letters(&bytes[core.clone()]) {
                return self.short(letters);
            }
            self.scratch.clear();
            self.scratch.push_str(&word[core]);
            self.scratch.make_ascii_lowercase();
        } else {
            let core = word.trim_matches(|c: char| !c.is_alphanumeric());
            let core = if core.is_empty() { word } else { core };
            self.scratch.clear();
            self.scratch
                .extend(core.chars().flat_map(char::to_lowercase));
        }
        if let Some(letters) = letters(self.scratch.as_bytes()) {
            return self.short(letters);
        }
        if let Some(&number) = self.long.get(&self.scratch) {
            return number;
        }
        let next = self.next();
        self.long.insert(self.scratch.clone(), next);
        next
    }

    fn next(&self) -> u32 {
        (self.short.len() + self.long.len()) as u32
    }

    fn short(&mut self, letters: u64) -> u32 {
        // The multiplier of Fibonacci hashing spreads the bytes over the high bits.
        let place = letters.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - RECENT_BITS);
        let (next, recent) = (self.next(), &mut self.recent[place as usize]);
        if recent.0 != letters {
            *recent = (letters, *self.short.entry(letters).or_insert(next));
        }
        recent.1
    }
}
fn at_most(what: &'static str, count: u64, max: u64) -> Result<(), ConsensusError> {
    if count > max {
        return Err(ConsensusError::TooMany { what, count, max });
    }
    Ok(())
}

/// Checks one text and gives its words.
fn check_text(index: usize, text: &str) -> Result<usize, ConsensusError> {
    let bytes = text.len() as u64;
    let words = if bytes > MAX_TEXT_BYTES {
        0
    } else {
        count_words(text)
    };
    for (what, count, max) in [
        ("bytes", bytes, MAX_TEXT_BYTES),
        ("words", words as u64, MAX_TEXT_WORDS),
    ] {
        if count > max {
            return Err(ConsensusError::TextTooLong {
                index,
                what,
                count,
                max,
            });
        }
    }
    Ok(words)
}
