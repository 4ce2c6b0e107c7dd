//! The whole of text inference once more, as plainly as possible: strings for words, whole tables, every change of the walk tried and
//! measured, nothing kept from one step to the next. Slow, and compared with the engine on random crowds.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::edits;
use crate::consensus::draw::Rng;
use crate::consensus::fixed::log2;

const Q: i128 = 65_536;

struct Answer {
    labeler: u32,
    words: Vec<String>,
    spelled: Vec<String>,
}

/// Marks before, core, marks after.
fn parts(word: &str) -> [String; 3] {
    let letters: Vec<char> = word.chars().collect();
    let Some(first) = letters.iter().position(|c| c.is_alphanumeric()) else {
        return [String::new(), word.to_owned(), String::new()];
    };
    let last = letters.iter().rposition(|c| c.is_alphanumeric()).unwrap();
    [0..first, first..last + 1, last + 1..letters.len()]
        .map(|range| letters[range].iter().collect())
}

fn read(labeler: u32, text: &str) -> Answer {
    let spelled: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let words = spelled.iter().map(|word| {
        parts(word)[1]
            .chars()
            .flat_map(char::to_lowercase)
            .collect()
    });
    Answer {
        labeler,
        words: words.collect(),
        spelled,
    }
}

/// Distance over the longer text, Q16.
fn share(a: &[String], b: &[String]) -> i128 {
    let longer = a.len().max(b.len()).max(1) as i128;
    edits(a, b) as i128 * Q / longer
}

/// What the engine knows about the labelers.
struct Crowd {
    weight: Vec<i128>,
    shared: BTreeMap<(u32, u32), i128>,
    longer: i128,
}

impl Crowd {
    fn errors(&self, a: u32, b: u32) -> i128 {
        self.shared.get(&(a.min(b), a.max(b))).copied().unwrap_or(0)
    }

    fn apart(&self, a: u32, b: u32) -> i128 {
        self.weight[b as usize] * (Q - self.errors(a, b)) / Q
    }

    /// Weights of the answers to one item.
    fn votes(&self, item: &[Answer]) -> Vec<i128> {
        let weight = |own: &Answer| {
            let others = item.iter().filter(|other| other.labeler != own.labeler);
            let alike: i128 = others
                .map(|other| self.errors(own.labeler, other.labeler))
                .sum();
            (self.weight[own.labeler as usize] * Q / (Q + alike)).max(1)
        };
        item.iter().map(weight).collect()
    }
}

/// One place of the network: weight and votes of each word and of none.
type Slot = BTreeMap<Option<String>, (i128, u32)>;

fn add_to_network(
    slots: Vec<Slot>,
    (all, votes): (i128, u32),
    words: &[String],
    weight: i128,
) -> Vec<Slot> {
    let (n, m) = (slots.len(), words.len());
    let cost = |slot: &Slot, word: Option<&String>| match slot.get(&word.cloned()) {
        Some(&(own, _)) => (all - own) * 1000 / all,
        None => 1000,
    };
    let mut table = vec![vec![0; m + 1]; n + 1];
    for i in 0..=n {
        for j in 0..=m {
            let mut ways = Vec::new();
            if i > 0 && j > 0 {
                ways.push(table[i - 1][j - 1] + cost(&slots[i - 1], Some(&words[j - 1])));
            }
            if i > 0 {
                ways.push(table[i - 1][j] + cost(&slots[i - 1], None));
            }
            if j > 0 {
                ways.push(table[i][j - 1] + 1000);
            }
            table[i][j] = ways.into_iter().min().unwrap_or(0);
        }
    }
    let (mut i, mut j) = (n, m);
    let mut grown = Vec::new();
    while i > 0 || j > 0 {
        let matched = i > 0
            && j > 0
            && table[i][j] == table[i - 1][j - 1] + cost(&slots[i - 1], Some(&words[j - 1]));
        let skipped = i > 0 && table[i][j] == table[i - 1][j] + cost(&slots[i - 1], None);
        let (mut slot, word) = if matched {
            (slots[i - 1].clone(), Some(words[j - 1].clone()))
        } else if skipped {
            (slots[i - 1].clone(), None)
        } else {
            let new = if votes > 0 {
                Slot::from([(None, (all, votes))])
            } else {
                Slot::new()
            };
            (new, Some(words[j - 1].clone()))
        };
        i -= usize::from(matched || skipped);
        j -= usize::from(word.is_some());
        let entry = slot.entry(word).or_insert((0, 0));
        *entry = (entry.0 + weight, entry.1 + 1);
        grown.insert(0, slot);
    }
    grown
}

/// Cost of one word in place of another.
fn replacing(a: &str, b: &str) -> i128 {
    if a == b {
        return 0;
    }
    let [a, b]: [Vec<char>; 2] = [a, b].map(|word| word.chars().collect());
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    let head = (0..short).take_while(|&i| a[i] == b[i]).count();
    let tail = (1..=short - head)
        .take_while(|&i| a[a.len() - i] == b[b.len() - i])
        .count();
    let kin = ((head + tail) * 1000 / long) as i128;
    if kin < 500 {
        1000
    } else {
        1000 - 250 * kin / 1000
    }
}

fn costly_distance(a: &[String], b: &[String]) -> i128 {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = match (i, j) {
                (0, _) | (_, 0) => (i + j) as i128 * 1000,
                _ => (table[i - 1][j - 1] + replacing(&a[i - 1], &b[j - 1]))
                    .min(table[i - 1][j] + 1000)
                    .min(table[i][j - 1] + 1000),
            };
        }
    }
    table[a.len()][b.len()]
}

/// Every change of one word, in the order in which equals are preferred.
fn changes(text: &[String], words: &BTreeSet<String>) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for place in 0..text.len() {
        let mut other = text.to_vec();
        other.remove(place);
        all.push(other);
    }
    for place in 0..text.len() {
        for word in words {
            let mut other = text.to_vec();
            other[place] = word.clone();
            all.push(other);
        }
    }
    for place in 0..=text.len() {
        for word in words {
            let mut other = text.to_vec();
            other.insert(place, word.clone());
            all.push(other);
        }
    }
    all
}

fn risk(text: &[String], item: &[Answer], weights: &[i128]) -> i128 {
    item.iter()
        .zip(weights)
        .map(|(other, w)| edits(text, &other.words) as i128 * w)
        .sum()
}

/// The answer closest to all.
fn centre<'a>(item: &'a [Answer], crowd: &Crowd) -> Option<&'a Answer> {
    let weights = crowd.votes(item);
    item.iter()
        .min_by_key(|own| risk(&own.words, item, &weights))
}

fn consensus(item: &[Answer], crowd: &Crowd) -> Vec<String> {
    let weights = crowd.votes(item);
    let risk = |text: &[String]| risk(text, item, &weights);
    let Some(centre) = centre(item, crowd) else {
        return Vec::new();
    };
    if risk(&centre.words) == 0 {
        return centre.words.clone();
    }
    let mut order: Vec<usize> = (0..item.len()).collect();
    order.sort_by_key(|&i| {
        (
            item[i].labeler != centre.labeler,
            edits(&centre.words, &item[i].words),
            i,
        )
    });
    let (mut slots, mut all, mut votes) = (Vec::new(), 0, 0);
    for i in order {
        slots = add_to_network(slots, (all, votes), &item[i].words, weights[i]);
        all += weights[i];
        votes += 1;
    }
    let heaviest = |slot: &Slot| {
        let most = slot.values().max().copied();
        slot.iter()
            .find(|entry| Some(*entry.1) == most)
            .and_then(|entry| entry.0.clone())
    };
    let voted: Vec<String> = slots.iter().filter_map(heaviest).collect();
    let same: i128 = (item.iter().zip(&weights))
        .filter(|(answer, _)| answer.words == centre.words)
        .map(|(_, weight)| weight)
        .sum();
    let mut text = if 2 * same < all {
        voted
    } else {
        centre.words.clone()
    };
    let words: BTreeSet<String> = item
        .iter()
        .flat_map(|answer| answer.words.iter().cloned())
        .collect();
    let cost = |text: &[String]| -> i128 {
        item.iter()
            .zip(&weights)
            .map(|(other, w)| {
                (costly_distance(text, &other.words) - crowd.longer * text.len() as i128) * w
            })
            .sum()
    };
    for _ in 0..24 {
        // The first of the least.
        let best = changes(&text, &words)
            .into_iter()
            .min_by_key(|other| cost(other));
        match best {
            Some(other) if cost(&other) < cost(&text) => text = other,
            _ => break,
        }
    }
    text
}

/// Where a cheapest alignment, walked back from the end, puts each word of `text`.
fn places(text: &[String], other: &[String]) -> Vec<Option<usize>> {
    let (mut i, mut j) = (text.len(), other.len());
    let mut found = vec![None; i];
    while i > 0 && j > 0 {
        let here = edits(&text[..i], &other[..j]);
        if here == edits(&text[..i - 1], &other[..j - 1]) + usize::from(text[i - 1] != other[j - 1])
        {
            (i, j) = (i - 1, j - 1);
            found[i] = Some(j);
        } else if here == edits(&text[..i - 1], &other[..j]) + 1 {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found
}

fn elected(votes: &[(String, i128)]) -> Option<String> {
    let mut sums: BTreeMap<&str, (i128, u32)> = BTreeMap::new();
    for (string, weight) in votes {
        let sum = sums.entry(string).or_default();
        *sum = (sum.0 + weight, sum.1 + 1);
    }
    let most = sums.values().max().copied()?;
    sums.into_iter()
        .find(|entry| entry.1 == most)
        .map(|entry| entry.0.to_owned())
}

fn spell(words: &[String], item: &[Answer], weights: &[i128]) -> String {
    let mut spelled = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let mut votes = [const { Vec::new() }; 3];
        for (answer, &weight) in item.iter().zip(weights) {
            let end = answer.words.len().wrapping_sub(1);
            let found = places(words, &answer.words)[place];
            let seen = found.map(|position| parts(&answer.spelled[position]));
            if let (Some(position), Some([before, core, after])) = (found, seen) {
                if answer.words[position] == *word {
                    votes[1].push((core, weight));
                }
                if place > 0 && position > 0 {
                    votes[0].push((before, weight));
                }
                if place + 1 < words.len() && position < end {
                    votes[2].push((after, weight));
                }
            }
            if !answer.words.is_empty() && place == 0 {
                votes[0].push((parts(&answer.spelled[0])[0].clone(), weight));
            }
            if !answer.words.is_empty() && place + 1 == words.len() {
                votes[2].push((parts(&answer.spelled[end])[2].clone(), weight));
            }
        }
        let anywhere = || {
            let all = item
                .iter()
                .flat_map(|answer| answer.words.iter().zip(&answer.spelled));
            parts(
                all.filter(|(own, _)| *own == word)
                    .map(|(_, spelled)| spelled)
                    .min()
                    .unwrap(),
            )[1]
            .clone()
        };
        let core = elected(&votes[1]).unwrap_or_else(anywhere);
        let marks = |votes: &[(String, i128)]| elected(votes).unwrap_or_default();
        spelled.push(if core.contains(char::is_alphanumeric) {
            marks(&votes[0]) + &core + &marks(&votes[2])
        } else {
            core
        });
    }
    spelled.join(" ")
}

/// Mean distance of `text` from the answers, each weighing as evidence about `labeler`, except those of the `left_out`.
fn mean(
    text: &[String],
    item: &[Answer],
    crowd: &Crowd,
    labeler: u32,
    left_out: &[u32],
) -> Option<i128> {
    let (mut sum, mut all) = (0, 0);
    for other in item
        .iter()
        .filter(|other| !left_out.contains(&other.labeler))
    {
        let weight = crowd.apart(labeler, other.labeler);
        sum += weight * share(text, &other.words);
        all += weight;
    }
    (all > 0).then(|| sum / all)
}

fn shared(items: &[Vec<Answer>], texts: &[Vec<String>]) -> BTreeMap<(u32, u32), i128> {
    let mut ways: BTreeMap<(u32, u32), Vec<(i128, i128)>> = BTreeMap::new();
    for (item, text) in items.iter().zip(texts).filter(|(item, _)| item.len() >= 3) {
        for (i, a) in item.iter().enumerate() {
            for b in &item[i + 1..] {
                let (x, y) = (edits(text, &a.words) as i128, edits(text, &b.words) as i128);
                let common = x + y - edits(&a.words, &b.words) as i128;
                ways.entry((a.labeler, b.labeler))
                    .or_default()
                    .push((common, 2 * x.min(y)));
            }
        }
    }
    let sum = |list: &[(i128, i128)]| list.iter().fold((0, 0), |s, w| (s.0 + w.0, s.1 + w.1));
    let (common, longest) = sum(&ways.values().flatten().copied().collect::<Vec<_>>());
    let usual = if longest == 0 {
        0
    } else {
        common * Q / longest
    };
    let mut found = BTreeMap::new();
    for (pair, list) in ways.into_iter().filter(|(_, list)| list.len() >= 3) {
        let (together, possible) = sum(&list);
        let above = together * Q - usual * possible;
        let share = above * Q / (possible * (Q - usual) + 2 * 16 * Q).max(1);
        if share >= 6_554 {
            found.insert(pair, share.min(Q));
        }
    }
    found
}

fn weights(items: &[Vec<Answer>], crowd: &Crowd) -> (Vec<i128>, i128) {
    let mut surplus = vec![(0, 0); crowd.weight.len()];
    let (mut all, mut count) = (0, 0);
    for item in items {
        let means: Vec<(u32, i128)> = item
            .iter()
            .filter_map(|own| {
                Some((
                    own.labeler,
                    mean(&own.words, item, crowd, own.labeler, &[own.labeler])?,
                ))
            })
            .collect();
        if means.len() < 2 {
            continue;
        }
        let sum: i128 = means.iter().map(|mean| mean.1).sum();
        all += sum;
        count += means.len() as i128;
        for (labeler, mean) in &means {
            surplus[*labeler as usize].0 += mean - sum / means.len() as i128;
            surplus[*labeler as usize].1 += 1;
        }
    }
    let usual = if count == 0 { 0 } else { all / count };
    // What one has right, of two who have the usual share confirmed.
    let right = i128::from((((Q - usual) * Q) as u64).isqrt()).max(1);
    let bits = |unconfirmed: i128| {
        let wrong = Q - (Q - unconfirmed) * Q / right;
        i128::from(log2(65_536) - log2(wrong.clamp(655, 64_225) as u64))
    };
    let weight = |(sum, items): (i128, i128)| {
        (bits(usual + sum / items.max(1)) * Q / bits(usual)).clamp(1, 8 * Q)
    };
    (surplus.into_iter().map(weight).collect(), usual)
}

/// What a word more is worth.
fn longer(items: &[Vec<Answer>], usual: i128) -> i128 {
    let (mut product, mut square) = (0, 0);
    for item in items.iter().filter(|item| item.len() >= 3) {
        let count = item.len() as i128;
        let words: i128 = item.iter().map(|a| a.words.len() as i128).sum();
        if words == 0 {
            continue;
        }
        let away =
            |a: &Answer| -> i128 { item.iter().map(|b| edits(&a.words, &b.words) as i128).sum() };
        let all: i128 = item.iter().map(away).sum();
        for answer in item {
            let more = (count * answer.words.len() as i128 - words) * Q / words;
            let more = more.clamp(-Q / 2, Q / 2);
            product += more * ((count * away(answer) - all) * Q / ((count - 1) * words));
            square += more * more;
        }
    }
    if square == 0 {
        return 0;
    }
    ((usual / 2 * square - product * Q) * 200 / (square * Q)).clamp(0, 200)
}

fn skill(
    labeler: u32,
    items: &[Vec<Answer>],
    gold: &BTreeMap<usize, Answer>,
    crowd: &Crowd,
) -> i128 {
    let used: Vec<usize> = (0..items.len()).filter(|&i| !items[i].is_empty()).collect();
    let own = |item: usize| items[item].iter().find(|answer| answer.labeler == labeler);
    let list: Vec<usize> = used
        .iter()
        .copied()
        .filter(|&i| own(i).is_some() && (gold.contains_key(&i) || items[i].len() > 1))
        .collect();
    let (mut gain, mut room) = (0, 32_768);
    for (place, &item) in list.iter().enumerate() {
        let text = &own(item).unwrap().words;
        let from = |item: usize| match gold.get(&item) {
            Some(gold) => Some(share(text, &gold.words)),
            None => mean(text, &items[item], crowd, labeler, &[labeler]),
        };
        let next = if list.len() > 1 {
            list[(place + 1) % list.len()]
        } else {
            used.iter()
                .copied()
                .find(|&other| other > item)
                .unwrap_or(used[0])
        };
        let (Some(near), Some(far)) = (from(item), from(next)) else {
            continue;
        };
        let others = items[item].iter().filter(|other| other.labeler != labeler);
        let least = others
            .filter_map(|o| {
                mean(
                    &o.words,
                    &items[item],
                    crowd,
                    o.labeler,
                    &[o.labeler, labeler],
                )
            })
            .min();
        let (least, times) = if gold.contains_key(&item) {
            (0, 2)
        } else {
            (least.unwrap_or(0), 1)
        };
        gain += times * (far - near);
        room += times * (far - least);
    }
    if room <= 0 {
        0
    } else {
        (gain * 1_000_000 / room).clamp(-1_000_000, 1_000_000)
    }
}

/// What [`infer_text`] has to give.
fn plain(input: &TextInput<'_>) -> TextResult {
    let mut items: Vec<Vec<Answer>> = (0..input.items).map(|_| Vec::new()).collect();
    for vote in input.votes {
        items[vote.item as usize].push(read(vote.labeler, vote.text));
    }
    for item in &mut items {
        item.sort_by_key(|answer| answer.labeler);
    }
    let gold: BTreeMap<usize, Answer> = input
        .gold
        .iter()
        .map(|(&item, text)| (item as usize, read(0, text)))
        .collect();
    let mut crowd = Crowd {
        weight: vec![Q; input.labelers as usize],
        shared: BTreeMap::new(),
        longer: 0,
    };
    let mut usual = 0;
    for _ in 0..2 {
        let texts: Vec<Vec<String>> = (0..items.len())
            .map(|i| {
                let text = gold.get(&i).or_else(|| centre(&items[i], &crowd));
                text.map_or_else(Vec::new, |text| text.words.clone())
            })
            .collect();
        crowd.shared = shared(&items, &texts);
        (crowd.weight, usual) = weights(&items, &crowd);
    }
    crowd.longer = longer(&items, usual);
    let judged = |(i, item): (usize, &Vec<Answer>)| {
        let votes = item.len() as u32;
        if let Some(text) = input.gold.get(&(i as u32)) {
            return TextItem {
                text: Some((*text).to_owned()),
                posterior: ONE,
                votes,
            };
        }
        if item.is_empty() {
            return TextItem {
                text: None,
                posterior: 0,
                votes,
            };
        }
        let (words, weights) = (consensus(item, &crowd), crowd.votes(item));
        let agree = item
            .iter()
            .zip(&weights)
            .map(|(a, w)| w * (Q - share(&words, &a.words)));
        TextItem {
            text: Some(spell(&words, item, &weights)),
            posterior: (agree.sum::<i128>() / (Q + weights.iter().sum::<i128>())) as u32,
            votes,
        }
    };
    let votes_of = |labeler: u32| {
        input
            .votes
            .iter()
            .filter(|vote| vote.labeler == labeler)
            .count() as u32
    };
    TextResult {
        items: items.iter().enumerate().map(judged).collect(),
        labelers: (0..input.labelers)
            .map(|labeler| TextLabeler {
                votes: votes_of(labeler),
                skill_ppm: skill(labeler, &items, &gold, &crowd) as i64,
            })
            .collect(),
        table: TextTable {
            weight: crowd.weight.iter().map(|&weight| weight as u32).collect(),
            shared: crowd
                .shared
                .iter()
                .map(|(pair, &share)| (pair.0, pair.1, share as u32))
                .collect(),
            longer: crowd.longer as u32,
        },
    }
}

const WORDS: [&str; 14] = [
    "a",
    "A,",
    "ab",
    "(abc",
    "abd.",
    "b!",
    "-",
    "B",
    "\u{e9}t\u{e9}",
    "\u{c9}t\u{e9}s.",
    "transcription",
    "Transcriptions",
    "c",
    "--",
];

#[test]
fn the_engine_agrees_with_a_plain_reference_on_ten_thousand_crowds() {
    let mut rng = Rng(2_026);
    let (mut pairs, mut walked) = (0, 0);
    for case in 0..10_000 {
        // Most crowds are small; some have the same few labelers on enough items for shared errors.
        let (items, labelers, length) = match case % 4 {
            0 => (1, 1 + rng.below(5) as u32, 7),
            1 => (7 + rng.below(4) as u32, 4, 4),
            _ => (1 + rng.below(3) as u32, 1 + rng.below(4) as u32, 5),
        };
        let vocabulary = 3 + rng.below(12);
        let mut list = Vec::new();
        let mut gold_texts = BTreeMap::new();
        let text = |rng: &mut Rng| {
            let words =
                (0..rng.below(length + 1)).map(|_| WORDS[rng.below(vocabulary.min(14)) as usize]);
            words.collect::<Vec<_>>().join(" ")
        };
        for item in 0..items {
            let source = text(&mut rng);
            for labeler in 0..labelers {
                match rng.below(8) {
                    0 => {}
                    1..4 if case % 4 == 1 && labeler < 2 => {
                        list.push((item, labeler, source.clone()))
                    }
                    1 | 2 => list.push((item, labeler, source.clone() + " " + &text(&mut rng))),
                    _ => list.push((item, labeler, text(&mut rng))),
                }
            }
            if rng.below(9) == 0 {
                gold_texts.insert(item, text(&mut rng));
            }
        }
        for i in (1..list.len()).rev() {
            list.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let votes: Vec<TextVote<'_>> = list
            .iter()
            .map(|(item, labeler, text)| TextVote {
                item: *item,
                labeler: *labeler,
                text,
            })
            .collect();
        let gold = gold_texts
            .iter()
            .map(|(&item, text)| (item, &text[..]))
            .collect();
        let input = TextInput {
            items,
            labelers,
            votes: &votes,
            gold: &gold,
        };
        let result = infer_text(&input).unwrap();
        assert_eq!(result, plain(&input), "case {case}: {input:?}");
        pairs += result.table.shared.len();
        walked += result
            .items
            .iter()
            .filter(|item| {
                votes
                    .iter()
                    .all(|vote| Some(vote.text) != item.text.as_deref())
            })
            .count();
    }
    println!("{pairs} pairs with shared errors, {walked} texts that nobody gave");
    assert!(pairs > 100 && walked > 1_000);
}
