//! Spelling of the chosen words: case from those who gave the word, marks at its edges from all who have something in its place.
//!
//! What for: a full stop belongs to the place and not to the word, so it must not be lost because the answers end in different words.
//! What it does not do: no rule of any language; nothing is written that no answer has.
//! Invariant: weights are below 2^24 and votes per item at most 64, so sums stay below 2^30.

use super::align::aligned;
use super::words::Text;

/// Votes for strings: string, weight, count.
#[derive(Clone, Debug, Default)]
struct Ballot<'a>(Vec<(&'a str, u64, u32)>);

impl<'a> Ballot<'a> {
    fn add(&mut self, string: &'a str, weight: u64) {
        match self.0.iter_mut().find(|entry| entry.0 == string) {
            Some(entry) => {
                entry.1 += weight;
                entry.2 += 1;
            }
            None => self.0.push((string, weight, 1)),
        }
    }

    /// The heaviest string; ties by count, then the first by its bytes.
    fn best(&self) -> Option<&'a str> {
        let order = |entry: &&(&'a str, u64, u32)| (entry.1, entry.2, std::cmp::Reverse(entry.0));
        self.0.iter().max_by_key(order).map(|entry| entry.0)
    }
}

/// What the answers have in the place of one chosen word.
#[derive(Clone, Debug, Default)]
pub(super) struct Place<'a> {
    cores: Ballot<'a>,
    before: Ballot<'a>,
    after: Ballot<'a>,
}

/// Marks before, core, marks after; a word of nothing but marks is a core.
fn parts(word: &str) -> (&str, &str, &str) {
    // Most words have no marks. (A literal empty string has no address, and to compare with it is slow on some processors.)
    let bytes = word.as_bytes();
    if [bytes.first(), bytes.last()]
        .into_iter()
        .all(|byte| byte.is_some_and(u8::is_ascii_alphanumeric))
    {
        return (&word[..0], word, &word[word.len()..]);
    }
    let mark = |c: char| !c.is_alphanumeric();
    let tail = word.trim_start_matches(mark);
    if tail.is_empty() {
        return (&word[..0], word, &word[word.len()..]);
    }
    let core = tail.trim_end_matches(mark);
    let head = word.len() - tail.len();
    (&word[..head], core, &tail[core.len()..])
}

/// Adds the votes of one answer to each of the chosen `words`, from which it has the given `distance`.
pub(super) fn vote<'a>(
    words: &[u32],
    text: &Text<'a>,
    (distance, weight): (u32, u64),
    places: &mut [Place<'a>],
    table: &mut Vec<u32>,
) {
    let (Some(last), Some(end)) = (places.len().checked_sub(1), text.words.len().checked_sub(1))
    else {
        return;
    };
    for (place, found) in aligned(words, &text.words, distance, table)
        .into_iter()
        .enumerate()
    {
        if let Some(position) = found {
            let (before, core, after) = parts(text.spelled[position]);
            if text.words[position] == words[place] {
                places[place].cores.add(core, weight);
            }
            // Marks at the ends of an answer belong to the ends of the text, wherever the words went.
            if position > 0 && place > 0 {
                places[place].before.add(before, weight);
            }
            if position < end && place < last {
                places[place].after.add(after, weight);
            }
        }
    }
    places[0].before.add(parts(text.spelled[0]).0, weight);
    places[last].after.add(parts(text.spelled[end]).2, weight);
}

impl Place<'_> {
    /// Writes the word as it is published; `otherwise` gives a spelling where no answer has the word in this place.
    pub fn write<'b>(&self, out: &mut String, otherwise: impl FnOnce() -> &'b str) {
        let own = self.cores.best();
        let core = own.unwrap_or_else(|| parts(otherwise()).1);
        if !core.contains(char::is_alphanumeric) {
            out.push_str(core);
            return;
        }
        out.push_str(self.before.best().unwrap_or_default());
        out.push_str(core);
        out.push_str(self.after.best().unwrap_or_default());
    }
}
