//! Which labelers answer from one sheet: the pair test, the sheet test, and the clusters they yield.
//!
//! What for: a ring that copies answers looks like independent agreement and would outvote honest labelers. Agreement alone proves
//! nothing, since two careful labelers agree because both are right.
//!
//! **Pair test** (copies among honest labelers). A pair is suspicious when it agrees more than **both** of two innocent explanations allow
//! on the very items it shares: *the truth* (both are drawn independently from their own confusion matrices given the posterior of each
//! item, in every reading of the crowd, see `fit_experts`) and *the item* (each agrees with the partner as often as with everybody else who
//! voted there). With `n` shared items, `a` agreements and `p` the largest explanation (one agreement added, for what is not known exactly), the
//! Chernoff-Hoeffding bound says that independent voters reach `a` with probability at most `2^(-n KL(a/n || p))`. A pair is flagged when that exponent exceeds
//! log2(pairs tested) + [`FAMILY_BITS`]: at most about one honest crowd in 10,000 contains a false flag from chance.
//!
//! **Sheet test** (rings that rule their items). Once a ring is the majority on its items, both explanations above are its own work. So
//! groups are formed without them: labelers are linked when they agree beyond what their label shares explain, and connected groups, at
//! [`LEVELS_Q16`] from loose to tight, are heard as one. On the items of a group, its majority is the *sheet*, and `q` is the posterior from the
//! votes of everybody else, weighted by what their **other** items say about them, with the sheet's label shares `m` as the prior. Then
//!
//! ```text
//! evidence = sum over items of log2 m(s) - log2( t q(s) + (1 - t) m(s) ),    s the sheet's label, t = TRUST_Q16
//! ```
//!
//! compares a sheet drawn blindly with a sheet that mostly shows what the others see. Where the others know nothing, `q` equals `m`
//! and the item adds nothing: honest labelers among spammers are safe, and so are good labelers, whose sheet matches `q`. A second, stricter form finds
//! rings that copy half honest sheets: it asks for five members who stand together on what contradicts the others. Since two factions
//! contradict each other alike, only a group with fewer votes in the whole task than the others on its sheet is ever flagged.
//!
//! Flagged labelers are joined to clusters by union-find. Declared machine labelers that give the same label to all items they share
//! ([`SHARED_MIN`] or more) are one cluster without a test: one model run twice is one opinion.
//!
//! What it does not do: no slashing (statistics only cost weight and co-assignment), and no verdict on who copied whom. It misses pairs
//! that share fewer than about nine items, rings that copy good answers, and rings among labelers of whom nothing else is known.
//! Invariants: integers only; the result depends on the set of votes alone; clusters are listed by their smallest member; memory is
//! linear in votes and labelers ([`LINKS_MAX`] links each).

use std::collections::BTreeMap;

use super::model::{EXPERTS, Expert};
use super::sheets::sheets;
use super::verdict::sharp;
use super::votes::Index;
use super::voting::Voting;
use crate::consensus::fixed::{self, FRACTION_BITS, ONE, log2};

/// Fewest items a pair must share to be tested, in items.
pub(super) const SHARED_MIN: u32 = 6;
/// Evidence demanded beyond one bit per doubling of the pairs tested: log2 of 10,000, in Q16 bits.
pub(super) const FAMILY_BITS: i64 = 870_858;
/// Most voters of one item that enter the pair test, in votes; a window that starts at a different voter for each item.
pub(super) const WINDOW: usize = 64;

/// Most links kept per labeler (to labelers with larger numbers), the strongest first, in links.
pub(super) const LINKS_MAX: usize = 64;
/// Chance-corrected agreement at which linked labelers form a candidate group, loosest first, Q16.
pub(super) const LEVELS_Q16: [u32; 4] = [26_214, 36_044, 45_875, 55_705];
/// Share of a sheet that is what the others see, if its owners look at the items: 85 %, Q16.
pub(super) const TRUST_Q16: u32 = 55_705;
/// The same against owners who look at half of the items: 95 %, Q16.
pub(super) const TRUST_FULL_Q16: u32 = 62_259;
/// Fewest members of a group that may be found half blind, in labelers.
pub(super) const HALF_MEMBERS_MIN: usize = 5;
/// Posterior from which the others clearly favour a label: three quarters, Q16.
pub(super) const CLEAR_Q16: u32 = 49_152;
/// A blind sheet clearly contradicts the others on at least one item in this many: many small doubts are no contradiction.
pub(super) const BLIND_CONTRADICTED: usize = 8;
/// A half-blind sheet contradicts the others on at least one item in this many.
pub(super) const HALF_CONTRADICTED: usize = 5;
/// Members of a half-blind group that stand by the sheet where it contradicts the others, at least, in per cent.
pub(super) const LOYAL_PERCENT: u64 = 85;

/// What a pair did on the items it shares.
#[derive(Clone, Copy, Debug)]
struct Overlap {
    shared: u32,
    agreed: u32,
}

/// A pair that agrees more than two labelers who ignore the items but keep their label shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub left: u32,
    pub right: u32,
    /// Chance-corrected agreement, Q16.
    pub excess: u32,
}

/// What the search found.
pub(super) struct Rings {
    /// Groups that answer from one sheet, sorted, at least two members each.
    pub clusters: Vec<Vec<u32>>,
    /// Whether the pairs should be tested again once these clusters count as one voter each.
    pub again: bool,
    /// Strongest evidence of the pair test per labeler, in Q16 bits; zero without a suspicious pair.
    pub copy_bits: Vec<i64>,
}

/// Finds the labelers who answer from one sheet.
///
/// `known` are the rings found before: they stay, and have no say about others. While the sheet test still finds rings, pairs wait for
/// posteriors without them ([`Rings::again`]): a captured posterior makes honest labelers look like copies of each other.
///
/// `machine` tells the declared machine labelers, one entry per labeler.
pub(super) fn clusters(
    index: &Index,
    voting: &Voting,
    readings: &[[Expert; EXPERTS]],
    machine: &[bool],
    known: &[Vec<u32>],
) -> Rings {
    let mut uses = vec![0; index.column_label.len()];
    index
        .vote_column
        .iter()
        .for_each(|&column| uses[column as usize] += 1);
    let mut search = Search {
        index,
        voting,
        uses,
        readings,
        posteriors: Vec::new(),
        agreements: Vec::new(),
        tested: 0,
        suspects: Vec::new(),
        links: Vec::new(),
        machine,
        twins: Vec::new(),
    };
    search.all_pairs();
    let demanded = log2(search.tested.max(1)) + FAMILY_BITS;
    let mut copy_bits = vec![0; index.labelers];
    for &(left, right, evidence) in &search.suspects {
        for labeler in [left, right] {
            let slot: &mut i64 = &mut copy_bits[labeler as usize];
            *slot = evidence.max(*slot);
        }
    }
    let mut found: Vec<(u32, u32)> = known
        .iter()
        .flat_map(|ring| ring.windows(2).map(|pair| (pair[0], pair[1])))
        .collect();
    let before = found.len();
    // The first reading knows what each labeler tends to say.
    if let Some([expert, ..]) = readings.first() {
        sheets(index, voting, expert, &search.links, &mut found);
    }
    let again = found.len() > before;
    if !again {
        let copies = search
            .suspects
            .iter()
            .filter(|suspect| suspect.2 > demanded);
        found.extend(copies.map(|&(left, right, _)| (left, right)));
    }
    found.append(&mut search.twins);
    Rings {
        clusters: join(index.labelers, &found),
        again,
        copy_bits,
    }
}

/// The walk over all pairs.
struct Search<'a> {
    index: &'a Index,
    voting: &'a Voting,
    readings: &'a [[Expert; EXPERTS]],
    /// Joint posteriors per reading, `classes` entries per item; filled when the first pair asks.
    posteriors: Vec<Vec<u32>>,
    /// Votes per column.
    uses: Vec<u32>,
    /// How many others in its item's window gave the same label, per vote; filled when the first pair asks.
    agreements: Vec<u32>,
    /// Pairs with enough items in common.
    tested: u64,
    /// Pairs that neither the truth nor the items explain, with the evidence in Q16 bits.
    suspects: Vec<(u32, u32, i64)>,
    links: Vec<Link>,
    machine: &'a [bool],
    /// Pairs of machine labelers that answer alike.
    twins: Vec<(u32, u32)>,
}

impl Search<'_> {
    fn all_pairs(&mut self) {
        let index = self.index;
        // Items shared, and above them the agreements, in one number per partner.
        let mut overlap = vec![0u64; index.labelers];
        let packed = packed(index);
        // One entry more than partners: the last met may be written once too often.
        let mut touched = vec![0u32; index.labelers + 1];
        for labeler in 0..index.labelers as u32 {
            let mut met = 0;
            for &vote in index.votes_of_labeler(labeler as usize) {
                let own = packed[vote as usize];
                let mut meet = |other: u32| {
                    let partner = (other & PARTNER) >> LABEL_BITS;
                    let slot = &mut overlap[partner as usize];
                    // No branch: whether a partner is new cannot be foreseen.
                    touched[met] = partner;
                    met += usize::from(*slot == 0);
                    *slot += 1 + (u64::from((other ^ own) & LABEL == 0) << 32);
                };
                if own & CROWDED == 0 {
                    // Votes of an item are sorted by labeler, so every pair is met once.
                    let mut next = vote as usize;
                    while packed[next] & LAST == 0 {
                        next += 1;
                        meet(packed[next]);
                    }
                } else {
                    partners(index, vote as usize)
                        .filter(|&other| index.vote_labeler[other] > labeler)
                        .for_each(|other| meet(packed[other]));
                }
            }
            let first = self.links.len();
            for &partner in &touched[..met] {
                let seen = std::mem::take(&mut overlap[partner as usize]);
                let seen = Overlap {
                    shared: seen as u32,
                    agreed: (seen >> 32) as u32,
                };
                if seen.shared >= SHARED_MIN {
                    self.tested += 1;
                    self.test(labeler, partner, seen);
                }
            }
            if self.links.len() > first + LINKS_MAX {
                self.links[first..]
                    .sort_unstable_by_key(|link| (u32::MAX - link.excess, link.right));
                self.links.truncate(first + LINKS_MAX);
            }
        }
    }

    fn test(&mut self, left: u32, right: u32, seen: Overlap) {
        let index = self.index;
        if self.machine[left as usize] && self.machine[right as usize] && seen.agreed == seen.shared
        {
            self.twins.push((left, right));
            return;
        }
        // Cheapest explanation first; most pairs end here.
        if bits(seen, Explained::by_chance(index)) <= FAMILY_BITS {
            return;
        }
        let habits = Explained::by_habits(index, &self.uses, left, right);
        if bits(seen, habits) <= FAMILY_BITS {
            return;
        }
        self.links.push(Link {
            left,
            right,
            excess: habits.excess(seen),
        });
        if self.agreements.is_empty() {
            self.agreements = agreements(index);
        }
        let pair = Pair::new(index, left, right);
        let mut evidence = bits(seen, pair.with_others(index, &self.agreements));
        if evidence > FAMILY_BITS {
            if self.posteriors.is_empty() {
                let readings = self.readings.iter();
                let rows = readings.map(|experts| sharp(index, self.voting, experts, 1));
                self.posteriors = rows.collect();
            }
            for ([expert, ..], posterior) in self.readings.iter().zip(&self.posteriors) {
                // A matrix expert says how labelers answer.
                let explained = pair.with_truth(index, expert, posterior);
                evidence = evidence.min(bits(seen, explained));
            }
        }
        if evidence > FAMILY_BITS {
            self.suspects.push((left, right, evidence));
        }
    }
}

/// A vote in one number: its label, its labeler (below 2^20), and two marks.
const LABEL_BITS: u32 = 8;
const LABEL: u32 = (1 << LABEL_BITS) - 1;
const PARTNER: u32 = (1 << 28) - 1;
/// Mark of the last vote of its item.
const LAST: u32 = 1 << 31;
/// Mark of a vote on an item with more votes than a window holds.
const CROWDED: u32 = 1 << 30;

/// All votes in one number each: the walk by labeler jumps between items, and so meets all it needs in one place.
fn packed(index: &Index) -> Vec<u32> {
    let mut packed: Vec<u32> = index
        .vote_labeler
        .iter()
        .zip(&index.vote_label)
        .map(|(&labeler, &label)| (labeler << LABEL_BITS) | u32::from(label))
        .collect();
    for item in 0..index.items {
        let votes = &mut packed[index.votes_of_item(item)];
        if votes.len() > WINDOW {
            votes.iter_mut().for_each(|vote| *vote |= CROWDED);
        }
        if let Some(last) = votes.last_mut() {
            *last |= LAST;
        }
    }
    packed
}

/// Where the window of an item starts, and how many votes it holds.
fn window(index: &Index, item: usize) -> (usize, usize) {
    let count = index.votes_of_item(item).len().max(1);
    (item % count, WINDOW.min(count))
}

/// Whether a vote lies in the window of its item.
fn inside(index: &Index, vote: usize) -> bool {
    let item = index.item_of(vote);
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
    let item = index.item_of(vote);
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

    /// Two labelers who keep their own label shares and ignore the items.
    fn by_habits(index: &Index, uses: &[u32], left: u32, right: u32) -> Self {
        let labels = |labeler: u32| {
            index
                .columns_of_labeler(labeler as usize)
                .map(move |column| (index.column_label[column], u64::from(uses[column])))
        };
        let mut agreement = 0;
        let mut others = labels(right).peekable();
        for (label, count) in labels(left) {
            while others.next_if(|other| other.0 < label).is_some() {}
            if let Some(other) = others.next_if(|other| other.0 == label) {
                agreement += count * other.1;
            }
        }
        let votes = |labeler: u32| u64::from(index.count_of_labeler(labeler as usize));
        Self {
            agreement,
            of: votes(left) * votes(right),
        }
    }

    /// Agreement beyond the explanation, as a share of what was possible, Q16.
    fn excess(&self, seen: Overlap) -> u32 {
        let one = u64::from(ONE);
        let expected = u64::from(fixed::ratio(self.agreement, self.of)).min(one - 1);
        let observed = u64::from(fixed::ratio(u64::from(seen.agreed), u64::from(seen.shared)));
        fixed::ratio(observed.saturating_sub(expected), one - expected)
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
            let range = index.votes_of_item(index.item_of(vote as usize));
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
            let (_, length) = window(index, index.item_of(left));
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
            let first = index.item_of(left as usize) * classes;
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
pub(super) fn join(labelers: usize, links: &[(u32, u32)]) -> Vec<Vec<u32>> {
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
