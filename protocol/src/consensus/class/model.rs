//! Three small label models ("experts") fitted by expectation maximisation.
//!
//! What for: no single model is best on every crowd. Confusion matrices win where labelers have systematic habits, a single skill per
//! labeler wins where votes are few, and an estimated class prior helps on skewed data but misleads when the crowd is biased. Three
//! experts with fixed parameters, joined in `verdict`, stay close to the best of the three on every real set measured but those that
//! `habits` tells of.
//!
//! | expert | labeler | class weights |
//! |---|---|---|
//! | 0 | confusion matrix | estimated |
//! | 1 | confusion matrix | equal |
//! | 2 | one skill | equal |
//!
//! A labeler's matrix row is drawn towards a few pseudo-votes of a pooled row: the labeler's own accuracy (itself drawn towards the
//! crowd's) on the diagonal, and the crowd's common confusions off it. Many votes give a full Dawid-Skene matrix, few votes give a
//! one-skill model with the crowd's typical mistakes. Where labelers turn out to have no habits of their own, [`PLAIN`] takes the place of
//! both matrix experts: every row is the pooled one (see `habits`).
//!
//! ```text
//! vote shares -> counts -> [ counts -> tables -> posteriors, item by item -> counts ] x ROUNDS
//! ```
//!
//! Posteriors are never stored: a round reads the tables and adds each item's posterior to the next counts, so a run needs little more
//! memory than its votes. The number of rounds is small and fixed. On real crowds more rounds do not label better: they let the model
//! confirm itself. Crowds of more than [`SAMPLE_VOTES`] votes spend all but the last [`FULL_ROUNDS`] rounds on every n-th item.
//!
//! What it does not do: it does not read votes of a collusion cluster as independent (weights come from outside), and judges no labeler.
//! Invariants: gold rows stay one-hot; from the first round on every row sums to one exactly; a log is below 2^22 in size and an item has
//! at most 2^20 votes, so sums of logs stay below 2^43 and nothing wraps.

use super::counts::Counts;
use super::habits::Habits;
use super::votes::{Index, MAX_CLASSES};
use super::voting::Voting;
use crate::consensus::fixed::{self, ONE, log2, normalise};

/// Rounds of each expert, in rounds.
pub(super) const ROUNDS: u32 = 6;
/// Rounds at the end that read all items, in rounds; the others read a sample of large crowds.
pub(super) const FULL_ROUNDS: u32 = 2;
/// Votes that the rounds before those read at most, give or take uneven items, in votes.
pub(super) const SAMPLE_VOTES: u64 = 1 << 18;
/// A labeler with this many votes is judged without taking each vote out of their own counts: it would change them by less than the
/// crowd's noise, in votes.
pub(super) const STEADY_VOTES: u64 = 256;
/// Experts, in experts.
pub(super) const EXPERTS: usize = 3;
/// Room for one entry per class.
pub(super) const ROOM: usize = MAX_CLASSES as usize;

/// How one expert describes labelers and classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// A confusion matrix per labeler, or else one skill.
    pub matrix: bool,
    /// Class weights estimated from the posteriors, or else equal.
    pub class_prior: bool,
    /// Rows hold what the labeler does with each class, or else their accuracy and the crowd's common confusions alone.
    pub own_rows: bool,
}

/// The experts, in order; part of the algorithm id.
pub(super) const SHAPES: [Shape; EXPERTS] = [
    Shape {
        matrix: true,
        class_prior: true,
        own_rows: true,
    },
    Shape {
        matrix: true,
        class_prior: false,
        own_rows: true,
    },
    Shape {
        matrix: false,
        class_prior: false,
        own_rows: false,
    },
];

/// The expert for labelers without habits; part of the algorithm id.
pub(super) const PLAIN: Shape = Shape {
    matrix: true,
    class_prior: true,
    own_rows: false,
};

/// Every how many items the early rounds read one.
pub(super) fn stride(votes: usize) -> usize {
    (votes as u64).div_ceil(SAMPLE_VOTES).max(1) as usize
}

/// One fitted expert.
#[derive(Clone)]
pub(super) struct Expert {
    shape: Shape,
    classes: usize,
    /// Log2 of the class weights, Q16; zero when equal.
    pub class_log: Vec<i64>,
    /// Matrix: log2 P(label of the column | class), Q16, `classes` per column.
    pub column_log: Vec<i32>,
    /// Matrix without own rows: what `column_log` would be with them.
    own_log: Option<Vec<i32>>,
    /// One skill: log2 of the odds of a right answer over one given wrong answer, Q16, per labeler.
    pub gain: Vec<i64>,
    /// Counts gathered from the posteriors of the last round.
    counts: Counts,
    /// Items per class in the posteriors of the last round with one pseudo-item each, Q16.
    class_mass: Vec<u64>,
    /// What the tables were made from says about the labelers' habits; of a matrix with own rows.
    pub habits: Habits,
    /// Rounds used.
    pub rounds: u32,
}

/// What one expert knows about one item: a posterior, and the posteriors that leave one cluster out.
pub(super) struct View<const R: usize> {
    logs: [i64; R],
    /// Posterior, Q16.
    pub row: [u32; R],
    /// `classes` per cluster that voted, in the order of [`Voting::rows_of_item`]; zero where nobody else voted.
    without: Vec<u32>,
}

impl<const R: usize> View<R> {
    pub fn new() -> Self {
        Self {
            logs: [0; R],
            row: [0; R],
            without: Vec::new(),
        }
    }

    /// The posterior that a vote learns from.
    fn lesson(&self, voting: &Voting, item: usize, vote: usize, classes: usize) -> &[u32] {
        match voting.row_of_vote(vote) {
            None => &self.row[..classes],
            Some(row) => {
                let first = (row - voting.rows_of_item(item).start) * classes;
                &self.without[first..first + classes]
            }
        }
    }
}

/// Calls a function whose generic arguments are the number of classes where that is small, or else zero, and room for as many: loops
/// over classes unroll.
macro_rules! by_classes {
    ($classes:expr, $call:ident ( $($argument:expr),* )) => {
        match $classes {
            2 => $call::<2, 2>($($argument),*),
            3 => $call::<3, 3>($($argument),*),
            4 => $call::<4, 4>($($argument),*),
            5 => $call::<5, 5>($($argument),*),
            _ => $call::<0, { $crate::consensus::class::model::ROOM }>($($argument),*),
        }
    };
}
pub(super) use by_classes;

impl Expert {
    /// Fits the tables of all experts; the counts that fit them come from the last round, which is left to the caller.
    pub fn fit_all(index: &Index, voting: &Voting) -> [Self; EXPERTS] {
        let start = Self::start(index, voting);
        SHAPES.map(|shape| start.fit(shape, index, voting))
    }

    /// [`Expert::fit_all`] for [`PLAIN`].
    pub fn fit_plain(index: &Index, voting: &Voting) -> Self {
        Self::start(index, voting).fit(PLAIN, index, voting)
    }

    /// What all start from: the counts of the vote shares. Columns hold what one skill needs.
    fn start(index: &Index, voting: &Voting) -> Self {
        let mut start = Self::new(index, SHAPES[0]);
        let sparse = stride(index.vote_labeler.len());
        by_classes!(index.classes, pass(&mut start, index, voting, sparse));
        start.finish(index);
        start
    }

    fn new(index: &Index, shape: Shape) -> Self {
        let classes = index.classes;
        Self {
            shape,
            classes,
            class_log: vec![0; classes],
            column_log: if shape.matrix {
                vec![0; index.column_label.len() * classes]
            } else {
                Vec::new()
            },
            own_log: None,
            gain: if shape.matrix {
                Vec::new()
            } else {
                vec![0; index.labelers]
            },
            counts: Counts::new(index, shape),
            class_mass: vec![0; classes],
            habits: Habits::default(),
            rounds: 0,
        }
    }

    /// All rounds but the first look, which is `self`, and the last.
    fn fit(&self, shape: Shape, index: &Index, voting: &Voting) -> Self {
        let sparse = stride(index.vote_labeler.len());
        let mut expert = Self::new(index, shape);
        expert.counts.start_from(&self.counts);
        expert.class_mass.clone_from(&self.class_mass);
        while expert.rounds + 1 < ROUNDS {
            expert.make_tables(index);
            let stride = if expert.rounds + FULL_ROUNDS > ROUNDS {
                1
            } else {
                sparse
            };
            by_classes!(expert.classes, pass(&mut expert, index, voting, stride));
        }
        expert.make_tables(index);
        if shape.own_rows {
            expert.habits = expert.counts.habits(index);
        } else if shape.matrix {
            let mut logs = vec![0; expert.column_log.len()];
            expert.counts.column_logs(index, true, &mut logs);
            expert.own_log = Some(logs);
        }
        expert.clear();
        expert
    }

    /// Looks at every `stride`-th item and learns from it: one round.
    pub fn pass<const K: usize, const R: usize>(
        &mut self,
        index: &Index,
        voting: &Voting,
        stride: usize,
    ) {
        let mut view = View::<R>::new();
        self.clear();
        for item in (0..index.items).step_by(stride) {
            self.look::<K, R>(index, voting, item, &mut view);
            self.learn::<K, R>(index, voting, item, &view);
        }
    }

    fn clear(&mut self) {
        self.counts.clear();
        self.class_mass.fill(u64::from(ONE));
    }

    /// Turns counts into the tables of the next round.
    fn make_tables(&mut self, index: &Index) {
        self.finish(index);
        self.rounds += 1;
        if self.shape.matrix {
            let own_rows = self.shape.own_rows;
            self.counts
                .column_logs(index, own_rows, &mut self.column_log);
        } else {
            self.counts.gains(&mut self.gain);
        }
        if self.shape.class_prior {
            let total = log2(self.class_mass.iter().sum());
            for (slot, &mass) in self.class_log.iter_mut().zip(&self.class_mass) {
                *slot = log2(mass) - total;
            }
        }
    }

    /// Derives what follows from the counts once all items have been learnt from.
    pub fn finish(&mut self, index: &Index) {
        self.counts.finish(index);
    }

    /// Looks at one item with the current tables, or before the first round through its vote shares.
    #[inline(always)]
    pub fn look<const K: usize, const R: usize>(
        &self,
        index: &Index,
        voting: &Voting,
        item: usize,
        view: &mut View<R>,
    ) {
        let classes = if K == 0 { self.classes } else { K };
        if !voting.rows_of_item(item).is_empty() {
            self.look_at_clusters(index, voting, item, view);
        } else if let Some(label) = index.gold[item] {
            one_hot(&mut view.row[..classes], label);
        } else if self.rounds == 0 {
            let votes = index.votes_of_item(item);
            let share = &mut view.logs[..classes];
            shares(index, voting, votes, None, share, &mut view.row[..classes]);
        } else {
            let logs = &mut view.logs[..classes];
            self.add_votes::<K>(index, voting, item, logs);
            normalise(logs, &mut view.row[..classes]);
        }
    }

    /// Sum of the class weights and the evidence of all votes of an item, in `logs`.
    #[inline(always)]
    pub fn add_votes<const K: usize>(
        &self,
        index: &Index,
        voting: &Voting,
        item: usize,
        logs: &mut [i64],
    ) {
        let classes = if K == 0 { self.classes } else { K };
        logs.copy_from_slice(&self.class_log[..classes]);
        let votes = index.votes_of_item(item);
        if !voting.rows_of_item(item).is_empty() {
            for vote in votes {
                self.add_vote(index, voting, vote, 1, logs);
            }
        } else if self.shape.matrix {
            for &column in &index.vote_column[votes] {
                let first = column as usize * classes;
                let column = &self.column_log[first..first + classes];
                for (sum, &value) in logs.iter_mut().zip(column) {
                    *sum = sum.wrapping_add(i64::from(value)); // below 2^43, see the header: the check would only cost speed
                }
            }
        } else {
            for (&labeler, &label) in index.vote_labeler[votes.clone()]
                .iter()
                .zip(&index.vote_label[votes])
            {
                let sum = &mut logs[usize::from(label)];
                *sum = sum.wrapping_add(self.gain[labeler as usize]);
            }
        }
    }

    /// [`Expert::look`] at an item with members of clusters among its voters.
    #[cold]
    fn look_at_clusters<const R: usize>(
        &self,
        index: &Index,
        voting: &Voting,
        item: usize,
        view: &mut View<R>,
    ) {
        let classes = self.classes;
        let votes = index.votes_of_item(item);
        let rows = voting.rows_of_item(item);
        let mut scratch = vec![0i64; classes];
        view.without.clear();
        view.without.resize(rows.len() * classes, 0);
        if let Some(label) = index.gold[item] {
            one_hot(&mut view.row[..classes], label);
            for out in view.without.chunks_exact_mut(classes) {
                one_hot(out, label);
            }
            return;
        }
        if self.rounds > 0 {
            self.add_votes::<0>(index, voting, item, &mut view.logs[..classes]);
        }
        for (row, out) in rows.zip(view.without.chunks_exact_mut(classes)) {
            let own = voting.cluster_of_row(row);
            let rest = &mut scratch[..];
            if self.rounds == 0 {
                shares(index, voting, votes.clone(), Some(own), rest, out);
                continue;
            }
            rest.copy_from_slice(&view.logs[..classes]);
            let mut others = false;
            for vote in votes.clone() {
                if voting.cluster_of(index.vote_labeler[vote]) == Some(own) {
                    self.add_vote(index, voting, vote, -1, rest);
                } else {
                    others = true;
                }
            }
            if others {
                normalise(rest, out);
            }
        }
        let logs = &mut view.logs[..classes];
        if self.rounds == 0 {
            shares(index, voting, votes, None, logs, &mut view.row[..classes]);
        } else {
            normalise(logs, &mut view.row[..classes]);
        }
    }

    /// Adds (`sign` 1) or removes (`sign` -1) the weighted evidence of one vote.
    fn add_vote(&self, index: &Index, voting: &Voting, vote: usize, sign: i64, logs: &mut [i64]) {
        let weight = i64::from(voting.weight(vote)) * sign;
        // Truncation towards zero is odd, so removing a vote undoes adding it exactly.
        if self.shape.matrix {
            let first = index.vote_column[vote] as usize * self.classes;
            let column = &self.column_log[first..first + self.classes];
            for (sum, &value) in logs.iter_mut().zip(column) {
                *sum += i64::from(value) * weight / i64::from(ONE);
            }
        } else {
            let gain = self.gain[index.vote_labeler[vote] as usize];
            logs[usize::from(index.vote_label[vote])] += gain * weight / i64::from(ONE);
        }
    }

    /// Adds what `view` says about one item to the counts.
    #[inline(always)]
    pub fn learn<const K: usize, const R: usize>(
        &mut self,
        index: &Index,
        voting: &Voting,
        item: usize,
        view: &View<R>,
    ) {
        let classes = if K == 0 { self.classes } else { K };
        let row = &view.row[..classes];
        for (sum, &q) in self.class_mass.iter_mut().zip(row) {
            *sum = sum.wrapping_add(u64::from(q)); // at most 2^24 items of at most 2^16
        }
        if voting.rows_of_item(item).is_empty() {
            self.counts
                .learn::<K>(index, index.votes_of_item(item), row);
        } else {
            for vote in index.votes_of_item(item) {
                let lesson = view.lesson(voting, item, vote, classes);
                self.counts.learn::<0>(index, vote..vote + 1, lesson);
            }
        }
    }

    /// What each vote of an item says by itself, given only what the **other** items tell about its labeler: Q16 log evidence,
    /// `classes` entries per vote in `evidence`; the class weights without this item go to `prior`.
    ///
    /// Taking the item out of the counts matters when votes are few: otherwise a vote would pull the posterior of its item, the
    /// posterior would credit those who agree, and their credit would confirm the vote. Labelers with [`STEADY_VOTES`] votes keep it.
    pub fn evidence_of_item(
        &self,
        index: &Index,
        voting: &Voting,
        item: usize,
        prior: &mut [i64],
        evidence: &mut Vec<i64>,
    ) {
        self.unweighted_evidence(index, voting, item, prior, evidence);
        let votes = index.votes_of_item(item);
        for (vote, out) in votes.zip(evidence.chunks_exact_mut(self.classes)) {
            weigh(out, voting.weight(vote));
        }
    }

    /// [`Expert::evidence_of_item`] as if each vote had weight one.
    pub fn unweighted_evidence(
        &self,
        index: &Index,
        voting: &Voting,
        item: usize,
        prior: &mut [i64],
        evidence: &mut Vec<i64>,
    ) {
        by_classes!(
            self.classes,
            evidence_of_item(self, index, voting, item, prior, evidence)
        );
    }

    /// P(label of the column | class) in Q16 as this labeler's votes show it, for a matrix expert.
    pub fn column_probability(&self, column: usize, class: usize) -> u32 {
        let logs = self.own_log.as_ref().unwrap_or(&self.column_log);
        (fixed::exp2_q30(i64::from(logs[column * self.classes + class])) >> 14) as u32
    }
}

/// See [`Expert::pass`].
fn pass<const K: usize, const R: usize>(
    expert: &mut Expert,
    index: &Index,
    voting: &Voting,
    stride: usize,
) {
    expert.pass::<K, R>(index, voting, stride);
}

/// Scales the evidence of a vote by its weight, Q16; truncates towards zero.
pub(super) fn weigh(evidence: &mut [i64], weight: u32) {
    if weight != ONE {
        evidence
            .iter_mut()
            .for_each(|value| *value = *value * i64::from(weight) / i64::from(ONE));
    }
}

/// See [`Expert::unweighted_evidence`].
fn evidence_of_item<const K: usize, const R: usize>(
    expert: &Expert,
    index: &Index,
    voting: &Voting,
    item: usize,
    prior: &mut [i64],
    evidence: &mut Vec<i64>,
) {
    let classes = if K == 0 { expert.classes } else { K };
    let votes = index.votes_of_item(item);
    evidence.clear();
    evidence.resize(votes.len() * classes, 0);
    let mut view: Option<View<R>> = None;
    for (vote, out) in votes.zip(evidence.chunks_exact_mut(classes)) {
        let labeler = index.vote_labeler[vote] as usize;
        if index.is_steady(labeler as u32) {
            if expert.shape.matrix {
                let first = index.vote_column[vote] as usize * classes;
                for (slot, &value) in out
                    .iter_mut()
                    .zip(&expert.column_log[first..first + classes])
                {
                    *slot = i64::from(value);
                }
            } else {
                out[usize::from(index.vote_label[vote])] = expert.gain[labeler];
            }
        } else {
            let view = view.get_or_insert_with(|| {
                let mut view = View::new();
                expert.look::<K, R>(index, voting, item, &mut view);
                view
            });
            let lesson = view.lesson(voting, item, vote, classes);
            expert.counts.evidence(index, vote, lesson, out);
        }
    }
    if !expert.shape.class_prior {
        prior.fill(0);
        return;
    }
    match &view {
        None => prior.copy_from_slice(&expert.class_log),
        Some(view) => {
            for ((slot, &mass), &own) in prior.iter_mut().zip(&expert.class_mass).zip(&view.row) {
                *slot = log2(mass - u64::from(own));
            }
        }
    }
}

fn one_hot(row: &mut [u32], label: u16) {
    row.fill(0);
    row[usize::from(label)] = ONE;
}

/// Weighted vote shares of an item, leaving out one cluster; all zero when a cluster leaves nobody, equal when nobody voted at all.
fn shares(
    index: &Index,
    voting: &Voting,
    votes: std::ops::Range<usize>,
    leave_out: Option<u32>,
    share: &mut [i64],
    out: &mut [u32],
) {
    share.fill(0);
    let mut total = 0;
    for vote in votes {
        if leave_out.is_some() && voting.cluster_of(index.vote_labeler[vote]) == leave_out {
            continue;
        }
        let weight = i64::from(voting.weight(vote));
        share[usize::from(index.vote_label[vote])] += weight;
        total += weight;
    }
    if total == 0 && leave_out.is_none() {
        share.fill(1);
        total = share.len() as i64;
    }
    for (slot, &part) in out.iter_mut().zip(share.iter()) {
        *slot = fixed::ratio(part.unsigned_abs(), total.unsigned_abs());
    }
}
