//! How much each vote counts, and what its labeler may learn from it.
//!
//! What for: members of a collusion cluster are one voter. On an item they share the weight of a single vote, and their own accuracy is
//! learnt from posteriors that leave the whole cluster out, so a ring can neither outvote others nor vouch for itself.
//! What it does not do: it finds no clusters; see `collusion`.
//! Invariants: without clusters every weight is one and nothing extra is stored; the weights of a cluster on one item sum to at most one.

use super::votes::Index;
use crate::consensus::fixed::ONE;

/// No row: the vote learns from the item's own posterior.
const OWN: u32 = u32::MAX;

/// How much each vote counts and which posterior it may learn from, given the collusion clusters.
pub(super) struct Voting {
    /// Weight of each vote, Q16; empty when there are no clusters.
    weight: Vec<u32>,
    /// Row of `rows` that a clustered vote learns from; [`OWN`] for all others. Empty when there are no clusters.
    row_of_vote: Vec<u32>,
    /// (item, cluster) of each extra row.
    rows: Vec<(u32, u32)>,
    /// First extra row of each item, and the end; empty when there are no clusters.
    row_start: Vec<u32>,
    /// Cluster of each labeler.
    cluster: Vec<Option<u32>>,
}

impl Voting {
    /// Every labeler is on their own: all weights are one.
    pub fn independent(index: &Index) -> Self {
        Self {
            weight: Vec::new(),
            row_of_vote: Vec::new(),
            rows: Vec::new(),
            row_start: Vec::new(),
            cluster: vec![None; index.labelers],
        }
    }

    /// Members of one cluster share a single vote per item and learn from posteriors without their cluster.
    pub fn clustered(index: &Index, cluster: Vec<Option<u32>>, clusters: usize) -> Self {
        let mut weight = vec![ONE; index.vote_labeler.len()];
        let mut row_of_vote = vec![OWN; index.vote_labeler.len()];
        let mut rows: Vec<(u32, u32)> = Vec::new();
        let mut row_start = Vec::with_capacity(index.items + 1);
        let mut members = vec![0u32; clusters];
        let mut row_of_cluster = vec![OWN; clusters];
        for item in 0..index.items {
            let first = rows.len();
            row_start.push(first as u32);
            for vote in index.votes_of_item(item) {
                let Some(own) = cluster[index.vote_labeler[vote] as usize] else {
                    continue;
                };
                let own_slot = own as usize;
                if row_of_cluster[own_slot] == OWN {
                    row_of_cluster[own_slot] = rows.len() as u32;
                    rows.push((item as u32, own));
                }
                members[own_slot] += 1;
                row_of_vote[vote] = row_of_cluster[own_slot];
            }
            for vote in index.votes_of_item(item) {
                if let Some(own) = cluster[index.vote_labeler[vote] as usize] {
                    weight[vote] = ONE / members[own as usize];
                }
            }
            for &(_, own) in &rows[first..] {
                members[own as usize] = 0;
                row_of_cluster[own as usize] = OWN;
            }
        }
        row_start.push(rows.len() as u32);
        Self {
            weight,
            row_of_vote,
            rows,
            row_start,
            cluster,
        }
    }

    /// Cluster of a labeler.
    pub fn cluster_of(&self, labeler: u32) -> Option<u32> {
        self.cluster[labeler as usize]
    }

    /// Weight of a vote, Q16.
    #[inline]
    pub fn weight(&self, vote: usize) -> u32 {
        self.weight.get(vote).copied().unwrap_or(ONE)
    }

    /// The extra row that a vote learns from; `None` for the posterior of its item.
    pub fn row_of_vote(&self, vote: usize) -> Option<usize> {
        self.row_of_vote
            .get(vote)
            .filter(|&&row| row != OWN)
            .map(|&row| row as usize)
    }

    /// The cluster that an extra row leaves out.
    pub fn cluster_of_row(&self, row: usize) -> u32 {
        self.rows[row].1
    }

    /// Extra rows of one item, one per cluster that voted for it.
    #[inline]
    pub fn rows_of_item(&self, item: usize) -> std::ops::Range<usize> {
        if self.row_start.is_empty() {
            0..0
        } else {
            self.row_start[item] as usize..self.row_start[item + 1] as usize
        }
    }
}
