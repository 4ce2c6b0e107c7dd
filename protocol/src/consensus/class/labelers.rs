//! What the inferred truth says about each labeler: skill for pay, agreement and habit for people to read.
//!
//! **Skill** is a chance-corrected agreement. Over the items that say something about a labeler, with weight `w` and soft truth `r`
//! (gold: one-hot, weight [`GOLD_WEIGHT`]; otherwise the blended posterior **without the labeler's own vote and without the votes of
//! their collusion cluster**, from what the other items tell about the other voters, weight one; items where nobody else voted are left
//! out), and with `W` the sum of the weights:
//!
//! ```text
//! A = sum w r(own label) / W                         observed agreement
//! E = sum over classes k of  F(k) R(k)               expected by chance, F = own label shares, R = mean of r
//! skill = (W (A - E) + m (a - c)) / (W (1 - E) + m (1 - c))
//! ```
//!
//! The second summands are gold evidence carried by reputation: `a` the past accuracy, `c` the largest R(k), `m` pseudo-votes bounded by
//! [`PRIOR_VOTES_MAX`] and by the wave's own evidence divided by [`PRIOR_SHARE`].
//!
//! **Why laziness earns nothing.** `r` does not contain the labeler's vote. If the answers are drawn without looking at the item - one
//! constant label, uniform, or following the class prior - then given how often each label and each truth occur, every pairing of
//! answers with items is equally likely, the mean of A over the pairings is E, and E, W and the denominator are the same for all of
//! them. So the expected skill is exactly zero at any class skew and any number of votes; for a constant answer A = E always. The
//! price: where the truth is the same on all items of a labeler, 1 - E vanishes and diligence cannot be told from laziness; then only
//! reputation speaks, and without it the skill is zero. (With votes by the handful, a trace of the own votes remains in what is known about others;
//! the test measures it.)
//!
//! What this file does not do: it pays nothing, and bans nobody.
//! Invariants: skill lies within plus and minus 1,000,000; ratios are truncated towards zero, so rounding never
//! turns a zero into a gain.

use super::model::{EXPERTS, Expert};
use super::verdict::blend;
use super::votes::{GoldPrior, Index};
use super::voting::Voting;
use crate::consensus::fixed::{self, ONE};

/// Weight of a gold item against an item judged by other labelers, in votes.
pub(super) const GOLD_WEIGHT: u64 = 2;
/// Most pseudo-votes that reputation may add to a labeler's evidence, in votes.
pub(super) const PRIOR_VOTES_MAX: u64 = 8;
/// Reputation may add at most one pseudo-vote per this many votes' worth of the wave's own evidence.
pub(super) const PRIOR_SHARE: u64 = 8;
/// Pseudo-votes that draw each row of the habit matrix towards the labeler's overall label shares, in votes.
pub(super) const HABIT_STRENGTH: u64 = 2;
/// Parts per million in one.
const PPM: i128 = 1_000_000;

/// What the wave says about one labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelerResult {
    /// Votes given.
    pub votes: u32,
    /// Gold items answered.
    pub gold_seen: u32,
    /// Gold items answered rightly.
    pub gold_right: u32,
    /// Chance-corrected skill in parts per million, negative when worse than chance; zero without evidence. The pay rule uses this.
    pub skill_ppm: i64,
    /// Mean posterior of the own label, seen without the own vote and cluster, on items that are not gold, in parts per million.
    /// Not chance-corrected: for display only.
    pub agreement_ppm: u32,
    /// How far the answers are independent of the truth, in parts per million: one million for constant or random answers (and without
    /// evidence), zero for answers that determine the truth, even when consistently wrong.
    pub spammer_ppm: u32,
    /// Position in the list of collusion clusters, if flagged.
    pub cluster: Option<u32>,
}

/// Sums over the votes, per labeler and per column (a labeler's use of one label); posteriors are Q16, weights are counts.
struct Evidence {
    classes: usize,
    /// Sum of weights, per labeler.
    weight: Vec<u64>,
    /// Weighted soft truth, per (labeler, class).
    truth: Vec<u64>,
    /// Sum of weights, per column.
    own: Vec<u64>,
    /// Weighted soft truth, per (column, class).
    joint: Vec<u64>,
    /// Items that others judged, per labeler.
    peer_items: Vec<u32>,
    /// Posterior of the own label on them, per labeler.
    peer_agreement: Vec<u64>,
}

impl Evidence {
    fn new(index: &Index) -> Self {
        let columns = index.column_label.len();
        Self {
            classes: index.classes,
            weight: vec![0; index.labelers],
            truth: vec![0; index.labelers * index.classes],
            own: vec![0; columns],
            joint: vec![0; columns * index.classes],
            peer_items: vec![0; index.labelers],
            peer_agreement: vec![0; index.labelers],
        }
    }

    /// Adds one vote whose item looks like `row` to everybody else.
    fn add(&mut self, index: &Index, vote: usize, weight: u64, row: &[u32]) {
        let (labeler, column) = (
            index.vote_labeler[vote] as usize,
            index.vote_column[vote] as usize,
        );
        self.weight[labeler] += weight;
        self.own[column] += weight;
        let truth = &mut self.truth[labeler * self.classes..(labeler + 1) * self.classes];
        let joint = &mut self.joint[column * self.classes..(column + 1) * self.classes];
        for ((sum, cell), &r) in truth.iter_mut().zip(joint).zip(row) {
            *sum += weight * u64::from(r);
            *cell += weight * u64::from(r);
        }
    }

    /// Gathers the evidence of all votes.
    fn collect(&mut self, index: &Index, voting: &Voting, experts: &[Expert; EXPERTS]) {
        let classes = self.classes;
        let mut peers = Peers::new(classes);
        let mut row = vec![0u32; classes];
        for item in 0..index.items {
            let votes = index.votes_of_item(item);
            if let Some(label) = index.gold[item] {
                row.fill(0);
                row[usize::from(label)] = ONE;
                votes.for_each(|vote| self.add(index, vote, GOLD_WEIGHT, &row));
                continue;
            }
            if votes.len() < 2 {
                continue;
            }
            peers.look_at(index, voting, experts, item);
            for vote in votes {
                if !peers.without(index, voting, vote, item, &mut row) {
                    continue;
                }
                self.add(index, vote, 1, &row);
                let labeler = index.vote_labeler[vote] as usize;
                self.peer_items[labeler] += 1;
                self.peer_agreement[labeler] += u64::from(row[usize::from(index.vote_label[vote])]);
            }
        }
    }

    /// The skill formula of the header, in parts per million.
    fn skill(&self, index: &Index, labeler: usize, prior: GoldPrior) -> i64 {
        let weight = i128::from(self.weight[labeler]);
        let truth = &self.truth[labeler * self.classes..(labeler + 1) * self.classes];
        let (mut agreement, mut expected) = (0i128, 0i128);
        for column in index.columns_of_labeler(labeler) {
            let label = usize::from(index.column_label[column]);
            agreement += i128::from(self.joint[column * self.classes + label]);
            expected += i128::from(self.own[column]) * i128::from(truth[label]);
        }
        // Both sides of the fraction are scaled by W and Q16: with W below 2^26 they stay below 2^69.
        let mut above = weight * agreement - expected;
        let mut below = weight * weight * i128::from(ONE) - expected;
        let carried = u64::from(prior.alpha_milli) + u64::from(prior.beta_milli);
        if carried > 0 && weight > 0 {
            let bound = (PRIOR_VOTES_MAX * 1000).min(self.weight[labeler] * 1000 / PRIOR_SHARE);
            let mass = i128::from(carried.min(bound)) * weight;
            let accuracy = i128::from(prior.alpha_milli) * i128::from(ONE) / i128::from(carried);
            let chance =
                i128::from(truth.iter().copied().max().unwrap_or(0) / self.weight[labeler]);
            above += mass * (accuracy - chance) / 1000;
            below += mass * (i128::from(ONE) - chance) / 1000;
        }
        if below <= 0 {
            return 0;
        }
        (above * PPM / below).clamp(-PPM, PPM) as i64
    }

    /// One minus the spread between the rows of the habit matrix P(label | class): equal rows mean that an answer says nothing.
    fn spammer(&self, index: &Index, labeler: usize) -> u32 {
        let truth = &self.truth[labeler * self.classes..(labeler + 1) * self.classes];
        let strength = HABIT_STRENGTH * u64::from(ONE);
        let mut spread: u128 = 0;
        for column in index.columns_of_labeler(labeler) {
            let share = u64::from(fixed::ratio(self.own[column], self.weight[labeler]));
            let (mut sum, mut squares) = (0u128, 0u128);
            for (class, &mass) in truth.iter().enumerate() {
                let count = self.joint[column * self.classes + class] + HABIT_STRENGTH * share;
                let p = u128::from(fixed::ratio(count, mass + strength));
                sum += p;
                squares += p * p;
            }
            // n sum(x^2) - (sum x)^2 is the sum over pairs of the squared difference, and never negative.
            spread += self.classes as u128 * squares - sum * sum;
        }
        let pairs = (self.classes * (self.classes - 1)) as u128;
        let ppm = PPM.unsigned_abs();
        (ppm - ((spread * ppm / pairs) >> 32).min(ppm)) as u32
    }
}

/// One item as the experts see it, and as it looks to everybody but one labeler.
struct Peers {
    classes: usize,
    /// Log evidence of each vote, per expert; see [`Expert::evidence_of_item`].
    evidence: [Vec<i64>; EXPERTS],
    /// Log posterior from all votes, per expert.
    all: [Vec<i64>; EXPERTS],
    rest: Vec<i64>,
    views: [Vec<u32>; EXPERTS],
}

impl Peers {
    fn new(classes: usize) -> Self {
        Self {
            classes,
            evidence: Default::default(),
            all: std::array::from_fn(|_| vec![0; classes]),
            rest: vec![0; classes],
            views: std::array::from_fn(|_| vec![0; classes]),
        }
    }

    fn look_at(
        &mut self,
        index: &Index,
        voting: &Voting,
        experts: &[Expert; EXPERTS],
        item: usize,
    ) {
        for ((expert, all), evidence) in experts.iter().zip(&mut self.all).zip(&mut self.evidence) {
            expert.evidence_of_item(index, voting, item, all, evidence);
            for vote in evidence.chunks_exact(self.classes) {
                all.iter_mut()
                    .zip(vote)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
    }

    /// The blended posterior without `vote` and without the votes of its labeler's cluster; says whether anybody else voted.
    fn without(
        &mut self,
        index: &Index,
        voting: &Voting,
        vote: usize,
        item: usize,
        out: &mut [u32],
    ) -> bool {
        let votes = index.votes_of_item(item);
        let own = voting.cluster_of(index.vote_labeler[vote]);
        let left_out = |other: usize| {
            other == vote || (own.is_some() && voting.cluster_of(index.vote_labeler[other]) == own)
        };
        // Outside clusters only the vote itself is left out, so items with many votes stay cheap.
        let group = if own.is_some() {
            votes.clone()
        } else {
            vote..vote + 1
        };
        if group.len() == votes.len() && votes.clone().all(left_out) {
            return false;
        }
        for ((all, evidence), view) in self.all.iter().zip(&self.evidence).zip(&mut self.views) {
            self.rest.copy_from_slice(all);
            for other in group.clone().filter(|&other| left_out(other)) {
                let first = (other - votes.start) * self.classes;
                let removed = &evidence[first..first + self.classes];
                self.rest
                    .iter_mut()
                    .zip(removed)
                    .for_each(|(sum, value)| *sum -= value);
            }
            fixed::normalise(&mut self.rest, view);
        }
        let [first, second, third] = &self.views;
        blend([first, second, third], out);
        true
    }
}

/// Judges every labeler.
pub(super) fn judge(
    index: &Index,
    voting: &Voting,
    experts: &[Expert; EXPERTS],
    priors: &[GoldPrior],
) -> Vec<LabelerResult> {
    let mut evidence = Evidence::new(index);
    evidence.collect(index, voting, experts);
    let mut results = Vec::with_capacity(index.labelers);
    for labeler in 0..index.labelers {
        let mut result = LabelerResult {
            votes: index.votes_of_labeler(labeler).len() as u32,
            skill_ppm: evidence.skill(
                index,
                labeler,
                priors.get(labeler).copied().unwrap_or_default(),
            ),
            spammer_ppm: evidence.spammer(index, labeler),
            cluster: voting.cluster_of(labeler as u32),
            ..LabelerResult::default()
        };
        for &vote in index.votes_of_labeler(labeler) {
            if let Some(truth) = index.gold[index.vote_item[vote as usize] as usize] {
                result.gold_seen += 1;
                result.gold_right += u32::from(truth == index.vote_label[vote as usize]);
            }
        }
        if evidence.peer_items[labeler] > 0 {
            let sum = u128::from(evidence.peer_agreement[labeler]) * PPM.unsigned_abs();
            result.agreement_ppm =
                ((sum / u128::from(evidence.peer_items[labeler])) >> fixed::FRACTION_BITS) as u32;
        }
        results.push(result);
    }
    results
}
