//! What one item says about the labelers who voted on it, as a summand that can be added and taken back.
//!
//! What for: all that is known about labelers is sums of integers over items ([`Evidence`]), so an item that got another vote is taken out as
//! it was and put in as it is; see `rescore`.
//!
//! Votes within the fit boundary are read as `labelers` reads them: without what their own item taught about their labeler. A later vote never
//! taught anything, so it is read from the table; a label without a column is read by the labeler's one skill. Members of a cluster share
//! one vote, early or late. The habit that a later vote is compared with is the one at the boundary.
//!
//! What it does not do: it fits nothing and concludes nothing.
//! Invariants: adding an item and taking it back leaves every sum as it was; without later votes and gold the summand is the one that
//! `labelers` adds; sums never wrap in the end (bounds as there), though a step on the way may.

use std::collections::BTreeMap;

use super::Fit;
use super::features::{Common, LOOKED_SHARES};
use super::labelers::{self, Column, Evidence, GOLD_WEIGHT, doubt};
use super::model::{EXPERTS, Expert, by_classes, weigh};
use super::verdict::joint_odds;
use super::votes::Index;
use crate::consensus::fixed::ONE;

/// What came after the fit boundary for one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LateItem {
    /// (labeler, label), by labeler.
    pub votes: Vec<(u32, u16)>,
    pub gold: Option<u16>,
}

/// One vote on the item at hand.
struct Ballot {
    labeler: u32,
    label: u16,
    /// Number of its column in [`Evidence`].
    column: u32,
    /// P(label) by habit, Q16.
    habit: u32,
    cluster: Option<u32>,
}

/// The evidence about all labelers, with columns for labels that were not in use at the fit boundary.
pub(super) struct Tally {
    pub evidence: Evidence,
    /// Number of each column beyond those of the index, by (labeler, label).
    extra: BTreeMap<(u32, u16), u32>,
    /// P(label) by habit for later votes, per column, Q16.
    late_habit: Vec<u32>,
    // Scratch space.
    ballots: Vec<Ballot>,
    counts: Vec<u32>,
    /// Log evidence of each ballot, `classes` entries each, per expert: before and after weighing.
    unweighted: [Vec<i64>; EXPERTS],
    weighted: [Vec<i64>; EXPERTS],
}

impl Tally {
    /// The evidence at the fit boundary.
    pub fn new(index: &Index, fit: &Fit, common: &Common) -> Self {
        let evidence = labelers::gather(index, &fit.voting, &fit.experts, common);
        let late_habit = (0..index.column_label.len())
            .map(|column| {
                let votes = index.votes_of_labeler(index.column_labeler[column] as usize);
                common.habit(
                    usize::from(index.column_label[column]),
                    u64::from(evidence.uses[column]) + 1,
                    votes.len() as u64 + 1,
                )
            })
            .collect();
        Self {
            evidence,
            extra: BTreeMap::new(),
            late_habit,
            ballots: Vec::new(),
            counts: vec![0; index.classes],
            unweighted: Default::default(),
            weighted: Default::default(),
        }
    }

    /// Columns in use: those of the index and those of later votes.
    pub fn columns(&self) -> usize {
        self.evidence.own.len()
    }

    /// All columns of one labeler, into `out`.
    pub fn columns_of(&self, index: &Index, labeler: u32, out: &mut Vec<Column>) {
        out.clear();
        out.extend(labelers::columns_of(index, labeler as usize));
        let extra = self.extra.range((labeler, 0)..=(labeler, u16::MAX));
        out.extend(extra.map(|(&(_, label), &column)| (column as usize, usize::from(label))));
    }

    /// Whether a column for this vote exists.
    pub fn has_column(&self, index: &Index, labeler: u32, label: u16) -> bool {
        self.column(index, labeler, label).is_some()
    }

    fn column(&self, index: &Index, labeler: u32, label: u16) -> Option<u32> {
        let columns = index.columns_of_labeler(labeler as usize);
        match index.column_label[columns.clone()].binary_search(&label) {
            Ok(at) => Some((columns.start + at) as u32),
            Err(_) => self.extra.get(&(labeler, label)).copied(),
        }
    }

    /// Counts a later vote among the labeler's own, with a new column if need be; to be called once per later vote, before [`Tally::change`].
    pub fn enrol(&mut self, index: &Index, common: &Common, labeler: u32, label: u16) {
        let column = match self.column(index, labeler, label) {
            Some(column) => column as usize,
            None => {
                let column = self.columns();
                let classes = index.classes;
                let votes = index.votes_of_labeler(labeler as usize).len() as u64;
                let evidence = &mut self.evidence;
                evidence.own.push(0);
                evidence.joint.resize(evidence.joint.len() + classes, 0);
                evidence.uses.push(0);
                evidence.judged.push(0);
                self.late_habit
                    .push(common.habit(usize::from(label), 1, votes + 1));
                self.extra.insert((labeler, label), column as u32);
                column
            }
        };
        self.evidence.uses[column] += 1;
    }

    /// Replaces what an item said about its voters by what it says with `new` votes, by labeler, and `gold`, if that is what came.
    pub fn change(
        &mut self,
        (index, fit, common): (&Index, &Fit, &Common),
        item: u32,
        late: &LateItem,
        new: &[(u32, u16)],
        gold: Option<u16>,
    ) {
        let before = self.gather(index, fit, item, &late.votes, new);
        let old = index.gold[item as usize].or(late.gold);
        let scene = Scene {
            index,
            fit,
            common,
            item: item as usize,
        };
        let states = [(before, old), (self.ballots.len(), old.or(gold))];
        by_classes!(index.classes, change(self, &scene, states));
    }

    /// Lists the votes on an item: those within the boundary, earlier late ones, new ones. Gives the number of all but the last.
    fn gather(
        &mut self,
        index: &Index,
        fit: &Fit,
        item: u32,
        late: &[(u32, u16)],
        new: &[(u32, u16)],
    ) -> usize {
        let mut ballots = std::mem::take(&mut self.ballots);
        ballots.clear();
        let ballot = |labeler, label, column, habit| Ballot {
            labeler,
            label,
            column,
            habit,
            cluster: fit.voting.cluster_of(labeler),
        };
        for vote in index.votes_of_item(item as usize) {
            let column = index.vote_column[vote];
            let habit = self.evidence.habit[column as usize];
            let (labeler, label) = (index.vote_labeler[vote], index.vote_label[vote]);
            ballots.push(ballot(labeler, label, column, habit));
        }
        for &(labeler, label) in late.iter().chain(new) {
            let column = self
                .column(index, labeler, label)
                .expect("later votes are enrolled before they are told");
            let habit = self.late_habit[column as usize];
            ballots.push(ballot(labeler, label, column, habit));
        }
        self.ballots = ballots;
        self.ballots.len() - new.len()
    }
}

/// What a change is about.
struct Scene<'a> {
    index: &'a Index,
    fit: &'a Fit,
    common: &'a Common,
    item: usize,
}

/// See [`Tally::change`]: takes the first state back and adds the second; a state is a number of ballots and the gold.
fn change<const K: usize, const R: usize>(
    tally: &mut Tally,
    scene: &Scene<'_>,
    states: [(usize, Option<u16>); 2],
) {
    let classes = if K == 0 { scene.index.classes } else { K };
    let mut prior = [[0i64; R]; EXPERTS];
    if states.iter().any(|state| state.1.is_none()) {
        let gain = &scene.fit.experts[EXPERTS - 1].gain;
        for ((expert, prior), evidence) in (scene.fit.experts.iter())
            .zip(&mut prior)
            .zip(&mut tally.unweighted)
        {
            let (index, voting) = (scene.index, &scene.fit.voting);
            expert.unweighted_evidence(index, voting, scene.item, &mut prior[..classes], evidence);
            for ballot in &tally.ballots[evidence.len() / classes..] {
                let gain = gain[ballot.labeler as usize];
                table_evidence(expert, index, ballot, (classes, gain), evidence);
            }
        }
    }
    for ((votes, gold), sign) in states.into_iter().zip([u64::MAX, 1]) {
        tell::<K, R>(tally, scene, &prior, votes, gold, sign);
    }
}

/// Adds what the first `votes` ballots say, `sign` times: one, or minus one modulo 2^64.
fn tell<const K: usize, const R: usize>(
    tally: &mut Tally,
    scene: &Scene<'_>,
    prior: &[[i64; R]; EXPERTS],
    votes: usize,
    gold: Option<u16>,
    sign: u64,
) {
    let classes = if K == 0 { scene.index.classes } else { K };
    let ballots = &tally.ballots[..votes];
    tally.counts.fill(0);
    for ballot in ballots {
        tally.counts[usize::from(ballot.label)] += 1;
    }
    let mut row = [0u32; R];
    let row = &mut row[..classes];
    let mut teller = Teller {
        evidence: &mut tally.evidence,
        common: scene.common,
        counts: &tally.counts,
        others: (votes as u64).saturating_sub(1),
        sign,
    };
    if let Some(label) = gold {
        row[usize::from(label)] = ONE;
        for ballot in ballots {
            teller.vote::<K>(ballot, true, row);
        }
        return;
    }
    if votes < 2 {
        return;
    }
    let clustered = ballots.iter().any(|ballot| ballot.cluster.is_some());
    if clustered {
        for (weighted, unweighted) in tally.weighted.iter_mut().zip(&tally.unweighted) {
            weighted.clear();
            weighted.extend_from_slice(&unweighted[..votes * classes]);
            for (ballot, part) in ballots.iter().zip(weighted.chunks_exact_mut(classes)) {
                if ballot.cluster.is_some() {
                    let members = ballots
                        .iter()
                        .filter(|other| other.cluster == ballot.cluster);
                    weigh(part, ONE / members.count() as u32);
                }
            }
        }
    }
    let evidence = if clustered {
        &tally.weighted
    } else {
        &tally.unweighted
    };
    let mut all = *prior;
    for (all, evidence) in all.iter_mut().zip(evidence) {
        for part in evidence[..votes * classes].chunks_exact(classes) {
            all.iter_mut()
                .zip(part)
                .for_each(|(sum, value)| *sum += *value);
        }
    }
    let mut rest = [[0i64; R]; EXPERTS];
    let mut odds = [0i64; R];
    for (at, ballot) in ballots.iter().enumerate() {
        let left_out = |other: usize| {
            other == at || (ballot.cluster.is_some() && ballots[other].cluster == ballot.cluster)
        };
        // Outside clusters only the vote itself is left out.
        let group = if ballot.cluster.is_some() {
            0..votes
        } else {
            at..at + 1
        };
        if ballot.cluster.is_some() && group.clone().all(left_out) {
            continue;
        }
        for ((all, evidence), rest) in all.iter().zip(evidence).zip(&mut rest) {
            let rest = &mut rest[..classes];
            rest.copy_from_slice(&all[..classes]);
            for other in group.clone().filter(|&other| left_out(other)) {
                let removed = &evidence[other * classes..(other + 1) * classes];
                rest.iter_mut()
                    .zip(removed)
                    .for_each(|(sum, value)| *sum -= *value);
            }
        }
        let logs = rest.each_ref().map(|logs| &logs[..classes]);
        joint_odds(logs, &mut odds[..classes], row);
        teller.vote::<K>(ballot, false, row);
    }
}

/// Appends what the table says about a later vote; `gain` is the log odds of a right answer of its labeler.
fn table_evidence(
    expert: &Expert,
    index: &Index,
    ballot: &Ballot,
    (classes, gain): (usize, i64),
    evidence: &mut Vec<i64>,
) {
    let first = evidence.len();
    evidence.resize(first + classes, 0);
    let column = ballot.column as usize;
    if expert.gain.is_empty() && column < index.column_label.len() {
        let logs = &expert.column_log[column * classes..(column + 1) * classes];
        for (slot, &log) in evidence[first..].iter_mut().zip(logs) {
            *slot = i64::from(log);
        }
    } else {
        evidence[first + usize::from(ballot.label)] = gain;
    }
}

/// Adds single votes to the sums.
struct Teller<'a> {
    evidence: &'a mut Evidence,
    common: &'a Common,
    /// Votes per label on the item.
    counts: &'a [u32],
    /// Votes on the item but one.
    others: u64,
    /// One, or minus one modulo 2^64.
    sign: u64,
}

impl Teller<'_> {
    /// Adds one vote whose item looks like `row` to everybody else.
    #[inline(always)]
    fn vote<const K: usize>(&mut self, ballot: &Ballot, gold: bool, row: &[u32]) {
        let classes = row.len();
        let evidence = &mut *self.evidence;
        let (labeler, column) = (ballot.labeler as usize, ballot.column as usize);
        let label = usize::from(ballot.label);
        // One or minus one modulo 2^32.
        let (sign, one) = (self.sign, self.sign as u32);
        let weight = if gold { GOLD_WEIGHT } else { 1 }.wrapping_mul(sign);
        let add = |sum: &mut u64, value: u64| *sum = sum.wrapping_add(value);
        let count = |sum: &mut u32, value: u32| *sum = sum.wrapping_add(value);
        add(&mut evidence.weight[labeler], weight);
        add(&mut evidence.own[column], weight);
        let truth = &mut evidence.truth[labeler * classes..(labeler + 1) * classes];
        let joint = &mut evidence.joint[column * classes..(column + 1) * classes];
        for ((truth, joint), &r) in truth.iter_mut().zip(joint).zip(row) {
            let share = weight.wrapping_mul(u64::from(r));
            add(truth, share);
            add(joint, share);
        }
        count(&mut evidence.judged[column], one);
        let mut looked = [0i64; LOOKED_SHARES.len()];
        let same = u64::from(self.counts[label]) - 1;
        let right = self.common.add::<K>(
            row,
            gold,
            label,
            (same, self.others),
            ballot.habit,
            &mut looked,
        );
        let right = u64::from(right);
        add(&mut evidence.right[labeler], right.wrapping_mul(sign));
        add(
            &mut evidence.doubt[labeler],
            doubt(right).wrapping_mul(sign),
        );
        for (sum, value) in evidence.looked[labeler].iter_mut().zip(looked) {
            *sum += value * sign as i64;
        }
        if gold {
            let trail = &mut evidence.trail[labeler];
            count(&mut trail.gold_seen, one);
            count(&mut trail.gold_right, one * u32::from(row[label] == ONE));
        } else {
            count(&mut evidence.peer_items[labeler], one);
            let agreed = u64::from(row[label]).wrapping_mul(sign);
            add(&mut evidence.peer_agreement[labeler], agreed);
        }
    }
}
