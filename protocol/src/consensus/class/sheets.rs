//! The sheet test: groups whose common answers contradict what everybody else knows; `collusion` explains it.
//!
//! What it does not do: it forms no links, and tests no pairs.
//! Invariants: integers only; an item adds at most 16 bits of evidence either way, so sums over 2^24 items fit; a group is only found when
//! the others on its sheet gave more votes in the whole task.

use super::collusion::{
    BLIND_CONTRADICTED, CLEAR_Q16, FAMILY_BITS, HALF_CONTRADICTED, HALF_MEMBERS_MIN, LEVELS_Q16,
    LOYAL_PERCENT, Link, TRUST_FULL_Q16, TRUST_Q16, join,
};
use super::model::Expert;
use super::votes::Index;
use super::voting::Voting;
use crate::consensus::fixed::{self, FRACTION_BITS, ONE, log2};

/// Looks for groups whose common sheet contradicts everybody else, and adds links between their members.
pub(super) fn sheets(
    index: &Index,
    voting: &Voting,
    expert: &Expert,
    links: &[Link],
    found: &mut Vec<(u32, u32)>,
) {
    if links.is_empty() {
        return;
    }
    let mut judge = Judge::new(index);
    for &(left, right) in found.iter() {
        judge.taken[left as usize] = true;
        judge.taken[right as usize] = true;
    }
    for level in LEVELS_Q16 {
        let strong: Vec<(u32, u32)> = links
            .iter()
            .filter(|link| {
                link.excess >= level
                    && !judge.taken[link.left as usize]
                    && !judge.taken[link.right as usize]
            })
            .map(|link| (link.left, link.right))
            .collect();
        for group in join(index.labelers, &strong) {
            let Some(ring) = judge.contradicts(index, voting, expert, &group) else {
                continue;
            };
            for pair in ring.windows(2) {
                found.push((pair[0], pair[1]));
            }
            for labeler in ring {
                judge.taken[labeler as usize] = true;
            }
        }
    }
}

/// Judges whether a group's sheet is independent of what everybody else knows about the same items.
struct Judge {
    /// Group mark per labeler.
    member: Vec<bool>,
    /// Labelers found in a ring: they have no say about others.
    taken: Vec<bool>,
    /// Group votes per label of the current item.
    counts: Vec<u32>,
}

/// The sheet of a group on one item, and what the others think there.
struct Entry {
    item: u32,
    label: u16,
    /// Posterior of the sheet's label from the others' votes, Q16.
    others: u32,
    /// The others' favourite.
    favourite: u16,
    /// Whether the others clearly favour another label than the sheet.
    contradicted: bool,
}

impl Judge {
    fn new(index: &Index) -> Self {
        Self {
            member: vec![false; index.labelers],
            taken: vec![false; index.labelers],
            counts: vec![0; index.classes],
        }
    }

    /// The members of `group` who stick to a sheet that contradicts the others, if the evidence suffices.
    fn contradicts(
        &mut self,
        index: &Index,
        voting: &Voting,
        expert: &Expert,
        group: &[u32],
    ) -> Option<Vec<u32>> {
        group
            .iter()
            .for_each(|&labeler| self.member[labeler as usize] = true);
        let sheet = self.sheet(index, voting, expert, group);
        let ring = self.verdict(index, group, &sheet);
        group
            .iter()
            .for_each(|&labeler| self.member[labeler as usize] = false);
        ring
    }

    /// Items with a clear favourite among at least two members.
    fn sheet(
        &mut self,
        index: &Index,
        voting: &Voting,
        expert: &Expert,
        group: &[u32],
    ) -> Vec<Entry> {
        let classes = index.classes;
        let mut items: Vec<u32> = group
            .iter()
            .flat_map(|&labeler| index.votes_of_labeler(labeler as usize))
            .map(|&vote| index.item_of(vote as usize) as u32)
            .collect();
        items.sort_unstable();
        let mut sheet = Vec::new();
        for run in items.chunk_by(|a, b| a == b).filter(|run| run.len() >= 2) {
            let votes = index.votes_of_item(run[0] as usize);
            if votes.len() == run.len() && index.gold[run[0] as usize].is_none() {
                continue;
            }
            self.counts.fill(0);
            for vote in votes.filter(|&vote| self.member[index.vote_labeler[vote] as usize]) {
                self.counts[usize::from(index.vote_label[vote])] += 1;
            }
            let label = argmax(&self.counts);
            // A plurality of less than half of the members, or a tie, is no sheet.
            if self.counts[label] * 2 > run.len() as u32 {
                sheet.push((run[0], label as u16));
            }
        }
        // The sheet's own label shares are the prior for what the others say: where they say nothing, nothing is contradicted.
        let mut shares = vec![1u64; classes];
        sheet
            .iter()
            .for_each(|&(_, label)| shares[usize::from(label)] += 1);
        let total = log2(shares.iter().sum());
        let shares: Vec<i64> = shares.iter().map(|&count| log2(count) - total).collect();
        let mut class_log = vec![0; classes];
        let mut evidence = Vec::new();
        let mut row = vec![0u32; classes];
        sheet
            .into_iter()
            .map(|(item, label)| {
                let mut logs = shares.clone();
                if let Some(truth) = index.gold[item as usize] {
                    row.fill(0);
                    row[usize::from(truth)] = ONE;
                } else {
                    expert.evidence_of_item(
                        index,
                        voting,
                        item as usize,
                        &mut class_log,
                        &mut evidence,
                    );
                    for (vote, says) in index
                        .votes_of_item(item as usize)
                        .zip(evidence.chunks_exact(classes))
                    {
                        let labeler = index.vote_labeler[vote] as usize;
                        if !self.member[labeler] && !self.taken[labeler] {
                            logs.iter_mut()
                                .zip(says)
                                .for_each(|(sum, value)| *sum += value);
                        }
                    }
                    fixed::normalise(&mut logs, &mut row);
                }
                let favourite = argmax(&row);
                Entry {
                    item,
                    label,
                    others: row[usize::from(label)],
                    favourite: favourite as u16,
                    contradicted: favourite != usize::from(label) && row[favourite] >= CLEAR_Q16,
                }
            })
            .collect()
    }

    /// Whether the others on a group's sheet gave more votes, on all items, than the group.
    ///
    /// Two factions contradict each other alike; the one that the task knows less of has to give way.
    fn outvoted(&self, index: &Index, group: &[u32], sheet: &[Entry]) -> bool {
        let votes = |labeler: u32| index.votes_of_labeler(labeler as usize).len();
        let own: usize = group.iter().map(|&labeler| votes(labeler)).sum();
        let mut others: Vec<u32> = sheet
            .iter()
            .flat_map(|entry| &index.vote_labeler[index.votes_of_item(entry.item as usize)])
            .copied()
            .filter(|&labeler| !self.member[labeler as usize] && !self.taken[labeler as usize])
            .collect();
        others.sort_unstable();
        others.dedup();
        others.into_iter().map(votes).sum::<usize>() > own
    }

    /// Compares the sheet as a blind draw with the sheet as a view of the same truth.
    fn verdict(&self, index: &Index, group: &[u32], sheet: &[Entry]) -> Option<Vec<u32>> {
        let mut shares = vec![1u64; index.classes];
        sheet
            .iter()
            .for_each(|entry| shares[usize::from(entry.label)] += 1);
        let total: u64 = shares.iter().sum();
        // Blind against seeing, and half blind against seeing; see the header.
        let (mut blind_bits, mut half_bits) = (0i64, 0i64);
        for entry in sheet {
            let blind = u64::from(fixed::ratio(shares[usize::from(entry.label)], total)).max(1);
            let seen = |trust: u32| {
                let (trust, doubt) = (u64::from(trust), u64::from(ONE - trust));
                log2(((trust * u64::from(entry.others) + doubt * blind) >> FRACTION_BITS).max(1))
            };
            blind_bits += log2(blind) - seen(TRUST_Q16);
            half_bits += seen(ONE / 2) - seen(TRUST_FULL_Q16);
        }
        // How the members voted where their sheet contradicts the others.
        let mut sides = vec![(0u32, 0u32); group.len()];
        let (mut contradicted, mut loyal, mut all) = (0usize, 0u64, 0u64);
        for entry in sheet.iter().filter(|entry| entry.contradicted) {
            contradicted += 1;
            for vote in index.votes_of_item(entry.item as usize) {
                if let Ok(position) = group.binary_search(&index.vote_labeler[vote]) {
                    let label = index.vote_label[vote];
                    sides[position].0 += u32::from(label == entry.label);
                    sides[position].1 += u32::from(label == entry.favourite);
                    loyal += u64::from(label == entry.label);
                    all += 1;
                }
            }
        }
        let demanded = FAMILY_BITS + log2(index.labelers as u64);
        let blind = contradicted * BLIND_CONTRADICTED >= sheet.len() && blind_bits > demanded;
        let half = group.len() >= HALF_MEMBERS_MIN
            && contradicted * HALF_CONTRADICTED >= sheet.len()
            && loyal * 100 >= all * LOYAL_PERCENT
            && half_bits > demanded;
        if (!blind && !half) || !self.outvoted(index, group, sheet) {
            return None;
        }
        // Who of the group sides with the others where the sheet contradicts them does not belong to it.
        let ring: Vec<u32> = group
            .iter()
            .zip(&sides)
            .filter(|(_, (sheet, others))| *sheet > 2 * others)
            .map(|(&labeler, _)| labeler)
            .collect();
        (ring.len() >= 2).then_some(ring)
    }
}

/// Position of the largest value, the first among equals.
fn argmax(values: &[u32]) -> usize {
    let mut best = 0;
    for (position, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = position;
        }
    }
    best
}
