//! Scoring that takes more votes without starting over, and keeps the trees of its scores.
//!
//! ```text
//! votes and gold within the boundary -> fit -> table, clusters, crowd's habits      (frozen)
//! later votes and gold -> touched items -> posteriors from the table, sums of labelers -> touched leaves -> roots
//! ```
//!
//! What for: a late vote costs its item and its labelers, not a run over everything. `decisions/0007` has the reasons.
//! The boundary moves by [`ClassScoring::take`]: to the last vote, when what came later has reached one part in [`REFIT_PART`] of what lies
//! within. So it depends on the sequence of batches alone.
//!
//! What it does not do: no answer times and no declared machines (claims that do not belong into a root), no withdrawal of votes.
//! Invariants: without later votes every result is that of [`infer_class`](super::infer_class); the state after any sequence of
//! [`ClassScoring::extend`] equals that after one with all of their votes and gold; a refused batch changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::features::Common;
use super::labelers::{Known, conclude};
use super::leaves::{self, GoldLabel, TableWeights, Writer};
use super::tally::{LateItem, Tally};
use super::verdict::item_with_late_votes;
use super::votes::Index;
use super::{
    ClassInput, ClassTable, Fit, GoldPrior, ItemResult, LabelerResult, MAX_CELLS, MAX_VOTES, Vote,
    item_result, items, search,
};
use crate::consensus::error::ConsensusError;
use crate::consensus::fixed::ONE;
use crate::consensus::root::{InputHead, ScoreHead};
use crate::consensus::tree::ScoreTree;
use crate::id::Hash;

/// The boundary moves when later votes and gold are at least one part in this many of those within.
pub const REFIT_PART: u64 = 8;

/// A scored class task that can take more votes.
pub struct ClassScoring {
    pub(super) index: Index,
    pub(super) fit: Fit,
    pub(super) common: Common,
    tally: Tally,
    priors: Vec<GoldPrior>,
    late: BTreeMap<u32, LateItem>,
    /// Votes within the boundary by (labeler, item), as [`step`]s; those of a labeler stand where the index says.
    steps: Vec<u32>,
    /// Later votes of each labeler, as [`step`]s in order.
    late_of_labeler: BTreeMap<u32, Vec<u32>>,
    late_votes: u64,
    late_gold: u64,
    items: Vec<ItemResult>,
    labelers: Vec<LabelerResult>,
    pub(super) table: ClassTable,
    pub(super) trees: Trees,
}

/// All trees of a score.
pub(super) struct Trees {
    algorithm: Hash,
    form: Hash,
    table: Hash,
    prior_root: Hash,
    pub rows: ScoreTree,
    pub votes: ScoreTree,
    pub items: ScoreTree,
    pub labelers: ScoreTree,
}

impl ClassScoring {
    /// Scores with the fit boundary at the last vote: a full run.
    ///
    /// # Errors
    /// As [`infer_class`](super::infer_class).
    pub fn fit(input: &ClassInput<'_>) -> Result<Self, ConsensusError> {
        let index = Index::new(input)?;
        let fit = search(&index, &vec![false; index.labelers]).decide(&index);
        Ok(Self::assemble(index, fit, input.priors))
    }

    /// All results and trees of a fit.
    pub(super) fn assemble(index: Index, fit: Fit, priors: &[GoldPrior]) -> Self {
        let common = Common::new(&index, &fit.experts[0]);
        let tally = Tally::new(&index, &fit, &common);
        let table = ClassTable::of(&index, &fit.voting, &fit.experts, fit.correlation);
        let items = items(&index, &fit.posteriors);
        let mut priors = priors.to_vec();
        priors.resize(index.labelers, GoldPrior::default());
        let steps = index.by_labeler.iter().map(|&vote| {
            let vote = vote as usize;
            step(index.item_of(vote) as u32, index.vote_label[vote])
        });
        let mut scoring = Self {
            steps: steps.collect(),
            trees: Trees::new(&index, &fit, &table, &priors, &items),
            index,
            fit,
            common,
            tally,
            priors,
            late: BTreeMap::new(),
            late_of_labeler: BTreeMap::new(),
            late_votes: 0,
            late_gold: 0,
            items,
            labelers: Vec::new(),
            table,
        };
        let everybody = 0..scoring.index.labelers as u32;
        scoring.labelers = vec![LabelerResult::default(); everybody.len()];
        let leaves = scoring.judge(everybody);
        let leaves = leaves.into_iter().map(|(_, leaf)| leaf).collect();
        scoring.trees.labelers = ScoreTree::new(leaves);
        scoring
    }

    /// Takes a batch of votes and opened gold, and moves the boundary if it is due; says whether it moved.
    ///
    /// # Errors
    /// As [`ClassScoring::extend`].
    pub fn take(
        &mut self,
        votes: &[Vote],
        gold: &BTreeMap<u32, u16>,
    ) -> Result<bool, ConsensusError> {
        self.check(votes, gold)?;
        let late = self.late_votes + self.late_gold + votes.len() as u64 + gold.len() as u64;
        let within = self.index.vote_label.len() as u64 + self.gold_within() as u64;
        if late == 0 || late * REFIT_PART < within {
            self.extend_checked(votes, gold);
            return Ok(false);
        }
        *self = self.refitted(votes, gold)?;
        Ok(true)
    }

    /// Moves the boundary to the last vote, as for settling.
    ///
    /// # Errors
    /// [`ConsensusError::TooMany`] when the columns of later votes exceed the limit of a fit.
    pub fn refit(&mut self) -> Result<(), ConsensusError> {
        if self.late_votes + self.late_gold > 0 {
            *self = self.refitted(&[], &BTreeMap::new())?;
        }
        Ok(())
    }

    /// Takes votes and opened gold beyond the boundary, in any order.
    ///
    /// # Errors
    /// [`ConsensusError`] names the entry of the batch that is out of range, repeated within the batch or known already, or the limit that is
    /// exceeded; nothing has changed then.
    pub fn extend(
        &mut self,
        votes: &[Vote],
        gold: &BTreeMap<u32, u16>,
    ) -> Result<(), ConsensusError> {
        self.check(votes, gold)?;
        self.extend_checked(votes, gold);
        Ok(())
    }

    fn check(&self, votes: &[Vote], gold: &BTreeMap<u32, u16>) -> Result<(), ConsensusError> {
        let count = self.votes() + votes.len() as u64;
        if count > MAX_VOTES {
            return Err(ConsensusError::TooMany {
                what: "votes",
                count,
                max: MAX_VOTES,
            });
        }
        let batch = ClassInput {
            items: self.index.items as u32,
            labelers: self.index.labelers as u32,
            classes: self.index.classes as u16,
            votes,
            gold,
            priors: &[],
        };
        super::votes::check_ranges(&batch)?;
        let mut order: Vec<u32> = (0..votes.len() as u32).collect();
        let key = |&at: &u32| (votes[at as usize].item, votes[at as usize].labeler, at);
        order.sort_unstable_by_key(key);
        if let Some(pair) = order.windows(2).find(|pair| {
            let ((item, labeler, _), (other, peer, _)) = (key(&pair[0]), key(&pair[1]));
            (item, labeler) == (other, peer)
        }) {
            let (item, labeler, first) = key(&pair[0]);
            return Err(ConsensusError::DuplicateVote {
                first: first as usize,
                second: pair[1] as usize,
                item,
                labeler,
            });
        }
        for (index, vote) in votes.iter().enumerate() {
            let within = self.index.votes_of_item(vote.item as usize);
            let known = self.index.vote_labeler[within]
                .binary_search(&vote.labeler)
                .is_ok()
                || self.late.get(&vote.item).is_some_and(|late| {
                    let labelers = late.votes.binary_search_by_key(&vote.labeler, |v| v.0);
                    labelers.is_ok()
                });
            if known {
                return Err(ConsensusError::AlreadyVoted {
                    index,
                    item: vote.item,
                    labeler: vote.labeler,
                });
            }
        }
        if let Some((&item, _)) = gold.iter().find(|(item, _)| self.gold(**item).is_some()) {
            return Err(ConsensusError::GoldTwice { item });
        }
        let new: BTreeSet<(u32, u16)> = votes
            .iter()
            .map(|vote| (vote.labeler, vote.label))
            .filter(|&(labeler, label)| !self.tally.has_column(&self.index, labeler, label))
            .collect();
        let cells = (self.tally.columns() + new.len()) as u64 * self.index.classes as u64;
        if cells > MAX_CELLS {
            return Err(ConsensusError::TooMany {
                what: "confusion cells",
                count: cells,
                max: MAX_CELLS,
            });
        }
        Ok(())
    }

    fn extend_checked(&mut self, votes: &[Vote], gold: &BTreeMap<u32, u16>) {
        self.late_votes += votes.len() as u64;
        self.late_gold += gold.len() as u64;
        let mut votes = votes.to_vec();
        votes.sort_unstable();
        for vote in &votes {
            self.tally
                .enrol(&self.index, &self.common, vote.labeler, vote.label);
            let own = self.late_of_labeler.entry(vote.labeler).or_default();
            own.push(step(vote.item, vote.label));
        }
        let mut voters: Vec<u32> = votes.iter().map(|vote| vote.labeler).collect();
        voters.sort_unstable();
        voters.dedup();
        for labeler in voters {
            self.measure_runs(labeler);
        }
        let mut touched: Vec<u32> = votes.iter().map(|vote| vote.item).collect();
        touched.extend(gold.keys());
        touched.sort_unstable();
        touched.dedup();
        let mut judged = vec![false; self.index.labelers];
        let mut leaves = (Vec::new(), Vec::new());
        let mut writer = Writer(Vec::new());
        let (mut rest, mut new) = (&votes[..], Vec::new());
        for item in touched {
            let mut late = self.late.remove(&item).unwrap_or_default();
            let here = rest.partition_point(|vote| vote.item == item);
            let (here, later) = rest.split_at(here);
            rest = later;
            new.clear();
            new.extend(here.iter().map(|vote| (vote.labeler, vote.label)));
            let opened = gold.get(&item).copied();
            let frozen = (&self.index, &self.fit, &self.common);
            self.tally.change(frozen, item, &late, &new, opened);
            late.votes.extend_from_slice(&new);
            late.votes.sort_unstable();
            late.gold = late.gold.or(opened);
            for labeler in self.voters(item, &late) {
                judged[labeler as usize] = true;
            }
            let (input, claim) = self.score_item(item, &late, &mut writer);
            leaves.0.push((item, input));
            leaves.1.push((item, claim));
            self.late.insert(item, late);
        }
        let judged = (0..).zip(judged).filter(|(_, judged)| *judged);
        let labelers = self.judge(judged.map(|(labeler, _)| labeler));
        self.trees.votes.update(&leaves.0);
        self.trees.items.update(&leaves.1);
        self.trees.labelers.update(&labelers);
    }

    fn voters<'a>(&'a self, item: u32, late: &'a LateItem) -> impl Iterator<Item = u32> + 'a {
        let within = self.index.votes_of_item(item as usize);
        let within = self.index.vote_labeler[within].iter().copied();
        within.chain(late.votes.iter().map(|vote| vote.0))
    }

    /// Votes within the boundary, by labeler.
    pub(super) fn votes_within(&self, item: u32) -> impl ExactSizeIterator<Item = (u32, u16)> + '_ {
        self.index.votes_of_item(item as usize).map(|vote| {
            let (labeler, label) = (self.index.vote_labeler[vote], self.index.vote_label[vote]);
            (labeler, label)
        })
    }

    /// Result and leaves (input, score) of an item with something late.
    fn score_item(&mut self, item: u32, late: &LateItem, writer: &mut Writer) -> (Hash, Hash) {
        let classes = self.index.classes;
        let gold = self.index.gold[item as usize].or(late.gold);
        let within: Vec<(u32, u16)> = self.votes_within(item).collect();
        let row = match gold {
            Some(label) => {
                let mut row = vec![0; classes];
                row[usize::from(label)] = ONE;
                row
            }
            None => item_with_late_votes(&self.table, &within, &late.votes)
                .expect("the table holds every labeler and every label within the boundary"),
        };
        let mut counts = vec![0; classes];
        for &(_, label) in within.iter().chain(&late.votes) {
            counts[usize::from(label)] += 1;
        }
        let result = item_result(gold, &counts, &row);
        let first = item as usize * classes;
        self.fit.posteriors[first..first + classes].copy_from_slice(&row);
        self.items[item as usize] = result;
        let gold = gold.map(|label| GoldLabel {
            label,
            late: late.gold.is_some(),
        });
        let votes = within.into_iter();
        let late = late.votes.iter().copied();
        (
            writer.item_votes(item, gold, votes, late),
            writer.item_claim(item, &result, &row),
        )
    }

    /// Finds the longest run of a labeler with new votes.
    fn measure_runs(&mut self, labeler: u32) {
        let starts = &self.index.labeler_start[labeler as usize..];
        let within = &self.steps[starts[0] as usize..starts[1] as usize];
        if let Some(late) = self.late_of_labeler.get_mut(&labeler) {
            late.sort_unstable();
            self.tally.evidence.trail[labeler as usize].longest_run = longest_run(within, late);
        }
    }

    /// Concludes about labelers again; gives their new leaves.
    fn judge(&mut self, labelers: impl Iterator<Item = u32>) -> Vec<(u32, Hash)> {
        let mut columns = Vec::new();
        let mut writer = Writer(Vec::new());
        let mut leaves = Vec::new();
        for labeler in labelers {
            let known = Known {
                priors: &self.priors,
                copy_bits: &self.fit.copy_bits,
                paces: &[],
            };
            self.tally.columns_of(&self.index, labeler, &mut columns);
            let result = conclude(
                &self.tally.evidence,
                &columns,
                labeler as usize,
                &self.fit.voting,
                &self.common,
                &known,
            );
            self.labelers[labeler as usize] = result;
            leaves.push((labeler, writer.labeler_claim(labeler, &result)));
        }
        leaves
    }

    fn refitted(&self, votes: &[Vote], gold: &BTreeMap<u32, u16>) -> Result<Self, ConsensusError> {
        let index = &self.index;
        let mut all: Vec<Vote> = Vec::with_capacity(self.votes() as usize + votes.len());
        let mut truth = gold.clone();
        for item in 0..index.items as u32 {
            let late = self.late.get(&item).map_or(&[][..], |late| &late.votes);
            let known = self.votes_within(item).chain(late.iter().copied());
            all.extend(known.map(|(labeler, label)| Vote {
                item,
                labeler,
                label,
            }));
            if let Some(gold) = self.gold(item) {
                truth.insert(item, gold.label);
            }
        }
        all.extend_from_slice(votes);
        Self::fit(&ClassInput {
            items: index.items as u32,
            labelers: index.labelers as u32,
            classes: index.classes as u16,
            votes: &all,
            gold: &truth,
            priors: &self.priors,
        })
    }

    /// Votes so far.
    #[must_use]
    pub fn votes(&self) -> u64 {
        self.index.vote_label.len() as u64 + self.late_votes
    }

    /// Votes beyond the fit boundary.
    #[must_use]
    pub fn late_votes(&self) -> u64 {
        self.late_votes
    }

    fn gold_within(&self) -> usize {
        self.index.gold.iter().flatten().count()
    }

    /// Gold of an item in range.
    pub(super) fn gold(&self, item: u32) -> Option<GoldLabel> {
        let late = self.late.get(&item).and_then(|late| late.gold);
        let within = self.index.gold[item as usize];
        within.or(late).map(|label| GoldLabel {
            label,
            late: late.is_some(),
        })
    }

    /// Later votes on an item, by labeler.
    pub(super) fn late_on(&self, item: u32) -> &[(u32, u16)] {
        self.late.get(&item).map_or(&[], |late| &late.votes)
    }

    /// Results of all items.
    #[must_use]
    pub fn items(&self) -> &[ItemResult] {
        &self.items
    }

    /// Results of all labelers.
    #[must_use]
    pub fn labelers(&self) -> &[LabelerResult] {
        &self.labelers
    }

    /// Collusion clusters found within the boundary, as [`ClassResult::clusters`](super::ClassResult::clusters).
    #[must_use]
    pub fn clusters(&self) -> &[Vec<u32>] {
        &self.fit.clusters
    }

    /// The frozen table.
    #[must_use]
    pub fn table(&self) -> &ClassTable {
        &self.table
    }

    /// Posteriors of all classes of one item, Q16, summing to 65,536; `None` for an item out of range.
    #[must_use]
    pub fn posteriors_of(&self, item: u32) -> Option<&[u32]> {
        let classes = self.index.classes;
        let first = (item as usize).checked_mul(classes)?;
        self.fit.posteriors.get(first..first + classes)
    }

    /// What the input root stands for.
    #[must_use]
    pub fn input_head(&self) -> InputHead {
        InputHead {
            form: self.trees.form,
            items: self.index.items as u32,
            labelers: self.index.labelers as u32,
            items_root: self.trees.votes.root(),
            labelers_root: self.trees.prior_root,
        }
    }

    /// What the score root stands for.
    #[must_use]
    pub fn score_head(&self) -> ScoreHead {
        ScoreHead {
            algorithm: self.trees.algorithm,
            input: self.input_head().root(),
            table: self.trees.table,
            table_root: self.trees.rows.root(),
            items_root: self.trees.items.root(),
            labelers_root: self.trees.labelers.root(),
        }
    }

    /// The input root.
    #[must_use]
    pub fn input_root(&self) -> Hash {
        self.input_head().root()
    }

    /// The score root.
    #[must_use]
    pub fn score_root(&self) -> Hash {
        self.score_head().root()
    }
}

impl Trees {
    /// All but the tree over the results of labelers, which are not known yet.
    fn new(
        index: &Index,
        fit: &Fit,
        table: &ClassTable,
        priors: &[GoldPrior],
        items: &[ItemResult],
    ) -> Self {
        let mut writer = Writer(Vec::new());
        let weights = TableWeights {
            class_log: table.class_log().clone(),
            correlation: table.correlation(),
        };
        let priors = (0..)
            .zip(priors)
            .map(|(labeler, prior)| writer.prior(labeler, *prior));
        let prior_root = ScoreTree::new(priors.collect()).root();
        let votes = (0..index.items).map(|item| {
            let gold = index.gold[item].map(|label| GoldLabel { label, late: false });
            let votes = index
                .votes_of_item(item)
                .map(|vote| (index.vote_labeler[vote], index.vote_label[vote]));
            writer.item_votes(item as u32, gold, votes, std::iter::empty())
        });
        let votes = ScoreTree::new(votes.collect());
        let rows = fit.posteriors.chunks_exact(index.classes);
        let claims = (0..)
            .zip(items.iter().zip(rows))
            .map(|(item, (result, row))| writer.item_claim(item, result, row));
        Self {
            items: ScoreTree::new(claims.collect()),
            algorithm: Hash(crate::consensus::algorithm_id()),
            form: leaves::form(index.classes),
            table: weights.hash(),
            prior_root,
            rows: leaves::rows(table),
            votes,
            labelers: ScoreTree::new(Vec::new()),
        }
    }
}

/// A labeler's vote in one number that sorts by item: items are below 2^24, labels below 2^8.
fn step(item: u32, label: u16) -> u32 {
    item << 8 | u32::from(label)
}

/// Most equal labels in a row of two sorted lists of steps.
fn longest_run(within: &[u32], late: &[u32]) -> u32 {
    let (mut last, mut run, mut longest) = (None, 0, 0);
    let mut follow = |step: u32| {
        let label = Some(step & 0xFF);
        run = if last == label { run + 1 } else { 1 };
        last = label;
        longest = longest.max(run);
    };
    let mut rest = within;
    for &new in late {
        let (before, after) = rest.split_at(rest.partition_point(|&step| step < new));
        before.iter().copied().for_each(&mut follow);
        follow(new);
        rest = after;
    }
    rest.iter().copied().for_each(follow);
    longest
}
