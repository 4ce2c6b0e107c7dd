//! Which labelers answer from one sheet: the pair agreement test and the clusters it yields.
//!
//! What for: a ring that copies answers looks like independent agreement and would outvote honest labelers. Agreement alone proves
//! nothing, since two careful labelers agree because both are right. So a pair is suspicious only when it agrees more than **both** of
//! two innocent explanations allow on the very items it shares:
//!
//! 1. *the truth*: both are drawn independently from their own confusion matrices given the posterior of each item;
//! 2. *the item*: each agrees with the partner as often as with everybody else who voted there (hard items make honest labelers err
//!    together, popular items make them agree).
//!
//! With `n` shared items, `a` agreements and `p` the larger explanation (one agreement added, for what is not known exactly), the
//! Chernoff-Hoeffding bound says that independent voters reach `a` with probability at most `2^(-n KL(a/n || p))`. A pair is flagged when
//! that exponent exceeds log2(pairs tested) + [`FAMILY_BITS`]: at most about one honest crowd in 10,000 contains a false flag from chance.
//! Flagged pairs are joined to clusters by union-find.
//!
//! What it does not do: no slashing (statistics only cost weight and co-assignment), and no verdict on who copied whom. It misses rings
//! that share fewer than about nine items per pair, and rings that are the majority on their items, where the posterior itself is theirs.
//! Invariants: integers only; the result depends on the set of votes alone; clusters are listed by their smallest member.

use std::collections::BTreeMap;

use super::model::Expert;
use super::votes::Index;
use crate::consensus::fixed::{self, FRACTION_BITS, ONE, log2};

/// Fewest items a pair must share to be tested, in items.
pub(super) const SHARED_MIN: u32 = 6;
/// Evidence demanded beyond one bit per doubling of the pairs tested: log2 of 10,000, in Q16 bits.
pub(super) const FAMILY_BITS: i64 = 870_858;
/// Most voters of one item that enter the pair test, in votes; a window that starts at a different voter for each item.
pub(super) const WINDOW: usize = 64;

/// What a pair did on the items it shares.
#[derive(Clone, Copy, Debug, Default)]
struct Overlap {
    shared: u32,
    agreed: u32,
}

/// Finds clusters of labelers who answer from one sheet; each is sorted and has at least two members.
///
/// `expert` must be a matrix expert; `posterior` is the blended posterior, `classes` entries per item.
pub(super) fn clusters(index: &Index, expert: &Expert, posterior: &[u32]) -> Vec<Vec<u32>> {
    let agreements = agreements(index);
    let mut overlap = vec![Overlap::default(); index.labelers];
    let mut touched: Vec<u32> = Vec::new();
    let mut tested: u64 = 0;
    let mut suspects: Vec<(u32, u32, i64)> = Vec::new();
    for labeler in 0..index.labelers as u32 {
        for &vote in index.votes_of_labeler(labeler as usize) {
            for other in partners(index, vote as usize) {
                let partner = index.vote_labeler[other];
                if partner <= labeler {
                    continue;
                }
                let slot = &mut overlap[partner as usize];
                if slot.shared == 0 {
                    touched.push(partner);
                }
                slot.shared += 1;
                slot.agreed +=
                    u32::from(index.vote_label[other] == index.vote_label[vote as usize]);
            }
        }
        for partner in touched.drain(..) {
            let seen = std::mem::take(&mut overlap[partner as usize]);
            if seen.shared < SHARED_MIN {
                continue;
            }
            tested += 1;
            // Cheapest explanation first; most pairs end here.
            if bits(seen, Explained::by_chance(index)) <= FAMILY_BITS {
                continue;
            }
            let pair = Pair::new(index, labeler, partner);
            let mut evidence = bits(seen, pair.with_others(index, &agreements));
            if evidence > FAMILY_BITS {
                evidence = evidence.min(bits(seen, pair.with_truth(index, expert, posterior)));
            }
            if evidence > FAMILY_BITS {
                suspects.push((labeler, partner, evidence));
            }
        }
    }
    let demanded = log2(tested.max(1)) + FAMILY_BITS;
    let links: Vec<(u32, u32)> = suspects
        .into_iter()
        .filter(|suspect| suspect.2 > demanded)
        .map(|(left, right, _)| (left, right))
        .collect();
    join(index.labelers, &links)
}

/// Where the window of an item starts, and how many votes it holds.
fn window(index: &Index, item: usize) -> (usize, usize) {
    let count = index.votes_of_item(item).len().max(1);
    (item % count, WINDOW.min(count))
}

/// Whether a vote lies in the window of its item.
fn inside(index: &Index, vote: usize) -> bool {
    let item = index.vote_item[vote] as usize;
    let range = index.votes_of_item(item);
    let (offset, length) = window(index, item);
    (vote - range.start + range.len() - offset) % range.len() < length
}

/// How many others in its item's window gave the same label, per vote.
fn agreements(index: &Index) -> Vec<u32> {
    let mut result = vec![0; index.vote_label.len()];
    for (vote, slot) in result.iter_mut().enumerate() {
        let own = index.vote_label[vote];
        *slot = partners(index, vote)
            .filter(|&other| index.vote_label[other] == own)
            .count() as u32;
    }
    result
}

/// The votes on the same item that are compared with `vote`, itself excluded; none for a vote outside the window.
///
/// Votes inside a window are compared with each other only, so the relation is symmetric.
fn partners(index: &Index, vote: usize) -> impl Iterator<Item = usize> + '_ {
    let item = index.vote_item[vote] as usize;
    let range = index.votes_of_item(item);
    let (offset, length) = window(index, item);
    let steps = if inside(index, vote) { 0..length } else { 0..0 };
    steps
        .map(move |step| range.start + (offset + step) % range.len())
        .filter(move |&other| other != vote)
}

/// Expected agreement `agreement / of`, both Q16.
#[derive(Clone, Copy, Debug)]
struct Explained {
    agreement: u64,
    of: u64,
}

impl Explained {
    /// Two labelers who draw labels evenly: hardly any innocent pair agrees less.
    fn by_chance(index: &Index) -> Self {
        Self {
            agreement: u64::from(ONE) / index.classes as u64,
            of: u64::from(ONE),
        }
    }
}

/// Evidence against `explained`, in Q16 bits: n KL(a/n || p), zero when the pair agrees no more than explained.
fn bits(seen: Overlap, explained: Explained) -> i64 {
    let one = u64::from(ONE);
    let shared = u64::from(seen.shared);
    let agreed = u64::from(seen.agreed);
    // One agreement among n + 1 items is added: the explanation is itself an estimate.
    let mean = shared * u64::from(fixed::ratio(explained.agreement, explained.of));
    let p = ((mean + one) / (shared + 1)).clamp(1, one - 1);
    if agreed * one <= p * shared {
        return 0;
    }
    // p carries 16 fraction bits that the plain counts do not.
    let scale = log2(shared) - (i64::from(FRACTION_BITS) << FRACTION_BITS);
    let disagreed = shared - agreed;
    let mut total = agreed as i64 * (log2(agreed) - log2(p) - scale);
    if disagreed > 0 {
        total += disagreed as i64 * (log2(disagreed) - log2(one - p) - scale);
    }
    total
}

/// The shared votes of a pair: (vote of the left, vote of the right).
struct Pair {
    left: u32,
    right: u32,
    votes: Vec<(u32, u32)>,
}

impl Pair {
    fn new(index: &Index, left: u32, right: u32) -> Self {
        let mut votes = Vec::new();
        for &vote in index.votes_of_labeler(left as usize) {
            let range = index.votes_of_item(index.vote_item[vote as usize] as usize);
            let Ok(position) = index.vote_labeler[range.clone()].binary_search(&right) else {
                continue;
            };
            let other = range.start + position;
            if inside(index, vote as usize) && inside(index, other) {
                votes.push((vote, other as u32));
            }
        }
        Self { left, right, votes }
    }

    /// How often the two agree with everybody else on the shared items.
    fn with_others(&self, index: &Index, agreements: &[u32]) -> Explained {
        let one = u64::from(ONE);
        let mut sum = Explained {
            agreement: 0,
            of: 0,
        };
        for &(left, right) in &self.votes {
            let (left, right) = (left as usize, right as usize);
            let mutual = u64::from(index.vote_label[left] == index.vote_label[right]);
            let (_, length) = window(index, index.vote_item[left] as usize);
            sum.of += 2 * (length as u64 - 2) * one;
            sum.agreement +=
                (u64::from(agreements[left]) + u64::from(agreements[right]) - 2 * mutual) * one;
        }
        if sum.of == 0 {
            Explained::by_chance(index)
        } else {
            sum
        }
    }

    /// How often the two would agree if each answered independently given the truth.
    fn with_truth(&self, index: &Index, expert: &Expert, posterior: &[u32]) -> Explained {
        let classes = index.classes;
        let mut both = vec![0u64; classes];
        for left in index.columns_of_labeler(self.left as usize) {
            let label = index.column_label[left];
            for right in index
                .columns_of_labeler(self.right as usize)
                .filter(|&r| index.column_label[r] == label)
            {
                for (class, sum) in both.iter_mut().enumerate() {
                    let product = u64::from(expert.column_probability(left, class))
                        * u64::from(expert.column_probability(right, class));
                    *sum += product >> FRACTION_BITS;
                }
            }
        }
        let mut sum = Explained {
            agreement: 0,
            of: 0,
        };
        for &(left, _) in &self.votes {
            let first = index.vote_item[left as usize] as usize * classes;
            let row = &posterior[first..first + classes];
            sum.agreement += row
                .iter()
                .zip(&both)
                .map(|(&q, &agree)| (u64::from(q) * agree) >> FRACTION_BITS)
                .sum::<u64>();
            sum.of += u64::from(ONE);
        }
        sum
    }
}

/// Connected components of the links with at least two members, sorted by smallest member.
fn join(labelers: usize, links: &[(u32, u32)]) -> Vec<Vec<u32>> {
    let mut parent: Vec<u32> = (0..labelers as u32).collect();
    for &(left, right) in links {
        let (a, b) = (root(&mut parent, left), root(&mut parent, right));
        // The smaller number becomes the root, so the outcome does not depend on the order of the links.
        parent[a.max(b) as usize] = a.min(b);
    }
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for labeler in 0..labelers as u32 {
        let top = root(&mut parent, labeler);
        if top != labeler {
            members
                .entry(top)
                .or_insert_with(|| vec![top])
                .push(labeler);
        }
    }
    members.into_values().collect()
}

/// Root of a union-find tree, halving the path on the way.
fn root(parent: &mut [u32], mut node: u32) -> u32 {
    while parent[node as usize] != node {
        let grandparent = parent[parent[node as usize] as usize];
        parent[node as usize] = grandparent;
        node = grandparent;
    }
    node
}
