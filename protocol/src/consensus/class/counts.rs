//! Expected counts per labeler, and the evidence of a vote that follows from them: the maximisation half of every expert.
//!
//! What for: one place for the smoothing. A matrix row gets [`MATRIX_STRENGTH`] pseudo-votes of a pooled row (the labeler's accuracy on
//! the diagonal, the crowd's common mistakes off it); an accuracy gets [`ACCURACY_STRENGTH`] pseudo-votes of the crowd's.
//! What it does not do: no posteriors.
//! Invariants: a count is a sum of Q16 posteriors of at most 2^24 votes, so it stays below 2^41; every logarithm is of a positive number.

use super::habits::{Crowd, Habits};
use super::model::{Shape, by_classes};
use super::votes::Index;
use crate::consensus::fixed::{self, ONE, log2};

/// Strength of the crowd's accuracy in a labeler's own, in pseudo-votes.
pub(super) const ACCURACY_STRENGTH: u64 = 4;
/// Strength of the pooled row in a confusion matrix, in pseudo-votes.
pub(super) const MATRIX_STRENGTH: u64 = 3;
/// Expected counts, Q16, and what the crowd has in common.
#[derive(Clone)]
pub(super) struct Counts {
    classes: usize,
    matrix: bool,
    own_rows: bool,
    /// Matrix: votes per (column, class).
    column: Vec<u64>,
    /// Matrix: votes per (labeler, class).
    row: Vec<u64>,
    /// Votes that named the class, per labeler.
    right: Vec<u64>,
    /// All votes with a posterior to learn from, per labeler.
    total: Vec<u64>,
    /// The crowd's accuracy, Q16.
    crowd: u64,
    /// Matrix: the crowd's common wrong answers, P(label | class, answer wrong), Q16, `classes` per label.
    confusion: Vec<u64>,
}

impl Counts {
    /// Empty counts of the size that the shape needs.
    pub fn new(index: &Index, shape: Shape) -> Self {
        let (columns, rows) = if shape.matrix {
            (index.column_label.len(), index.labelers)
        } else {
            (0, 0)
        };
        Self {
            classes: index.classes,
            matrix: shape.matrix,
            own_rows: shape.own_rows,
            column: vec![0; columns * index.classes],
            row: vec![0; rows * index.classes],
            right: vec![0; index.labelers],
            total: vec![0; index.labelers],
            crowd: 0,
            confusion: Vec::new(),
        }
    }

    /// Takes over the finished counts of a matrix.
    pub fn start_from(&mut self, other: &Self) {
        if self.matrix {
            self.column.clone_from(&other.column);
        } else {
            self.right.clone_from(&other.right);
            self.total.clone_from(&other.total);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.column.fill(0);
        self.right.fill(0);
        self.total.fill(0);
    }

    /// Adds what an item with this posterior says about the labelers of some of its votes.
    #[inline(always)]
    pub fn learn<const K: usize>(
        &mut self,
        index: &Index,
        votes: std::ops::Range<usize>,
        lesson: &[u32],
    ) {
        let classes = if K == 0 { self.classes } else { K };
        if self.matrix {
            for &column in &index.vote_column[votes] {
                let first = column as usize * classes;
                let column = &mut self.column[first..first + classes];
                for (sum, &q) in column.iter_mut().zip(&lesson[..classes]) {
                    *sum = sum.wrapping_add(u64::from(q)); // below 2^41, see the header
                }
            }
        } else {
            let mass: u64 = lesson[..classes].iter().map(|&q| u64::from(q)).sum();
            for (&labeler, &label) in index.vote_labeler[votes.clone()]
                .iter()
                .zip(&index.vote_label[votes])
            {
                let (right, total) = (
                    &mut self.right[labeler as usize],
                    &mut self.total[labeler as usize],
                );
                *right = right.wrapping_add(u64::from(lesson[usize::from(label)]));
                *total = total.wrapping_add(mass);
            }
        }
    }

    /// Derives sums and the crowd's habits, once all items have been learnt from.
    pub fn finish(&mut self, index: &Index) {
        if self.matrix {
            by_classes!(self.classes, sum_columns(self, index));
        }
        // The crowd's accuracy starts from one pseudo-vote, half right.
        let one = u64::from(ONE);
        let (right, total): (u64, u64) = (self.right.iter().sum(), self.total.iter().sum());
        self.crowd = u64::from(fixed::ratio(2 * right + one, 2 * total + 2 * one));
    }

    /// Row sums, right answers, totals and the crowd's confusions, from the columns.
    fn sum_columns<const K: usize>(&mut self, index: &Index) {
        let classes = if K == 0 { self.classes } else { K };
        // One pseudo-vote per class, spread evenly.
        self.confusion.clear();
        self.confusion
            .resize(classes * classes, u64::from(ONE) / (classes as u64 - 1));
        for (labeler, row) in self.row.chunks_exact_mut(classes).enumerate() {
            row.fill(0);
            let mut right = 0u64;
            for number in index.columns_of_labeler(labeler) {
                let label = usize::from(index.column_label[number]);
                let column = &self.column[number * classes..(number + 1) * classes];
                let confusion = &mut self.confusion[label * classes..(label + 1) * classes];
                for ((sum, common), &count) in row.iter_mut().zip(confusion).zip(column) {
                    // All counts together are below 2^41, see the header.
                    *sum = sum.wrapping_add(count);
                    *common = common.wrapping_add(count);
                }
                right += column[label];
            }
            self.right[labeler] = right;
            self.total[labeler] = row.iter().sum();
        }
        for class in 0..classes {
            self.confusion[class * classes + class] = 0;
            let column = || (class..classes * classes).step_by(classes);
            let total = column().map(|cell| self.confusion[cell]).sum();
            for cell in column() {
                self.confusion[cell] = u64::from(fixed::ratio(self.confusion[cell], total));
            }
        }
    }

    /// An accuracy drawn towards the crowd's, Q16, strictly between zero and one.
    fn accuracy(&self, right: u64, total: u64) -> u64 {
        let one = u64::from(ONE);
        let accuracy = fixed::ratio(
            right + ACCURACY_STRENGTH * self.crowd,
            total + ACCURACY_STRENGTH * one,
        );
        u64::from(accuracy).clamp(1, one - 1)
    }

    /// Share of the pooled row, Q16: P(label | class) for somebody of this accuracy who errs like the crowd.
    fn pooled(&self, accuracy: u64, class: usize, label: usize) -> u64 {
        if class == label {
            return accuracy;
        }
        let common = self.confusion[label * self.classes + class];
        (((u64::from(ONE) - accuracy) * common) >> fixed::FRACTION_BITS).max(1)
    }

    /// Logarithm of the pooled row's share, Q16.
    fn pooled_log(&self, accuracy: u64, class: usize, label: usize) -> i64 {
        log2(self.pooled(accuracy, class, label)) - log2(u64::from(ONE))
    }

    /// Log odds of a right answer against one given wrong answer, Q16.
    fn gain(&self, accuracy: u64) -> i64 {
        log2(accuracy * (self.classes as u64 - 1)) - log2(u64::from(ONE) - accuracy)
    }

    /// Log-likelihoods of a matrix expert, with rows of the labelers' own or the pooled ones.
    pub fn column_logs(&self, index: &Index, own_rows: bool, out: &mut [i32]) {
        by_classes!(self.classes, column_logs(self, index, own_rows, out));
    }

    /// Log odds of a one-skill expert.
    pub fn gains(&self, out: &mut [i64]) {
        for ((slot, &right), &total) in out.iter_mut().zip(&self.right).zip(&self.total) {
            *slot = self.gain(self.accuracy(right, total));
        }
    }

    /// What finished counts say about the labelers' habits.
    pub fn habits(&self, index: &Index) -> Habits {
        let classes = self.classes;
        let (one, strength) = (u64::from(ONE), MATRIX_STRENGTH * u64::from(ONE));
        let mut right = vec![0u64; classes];
        for (number, column) in self.column.chunks_exact(classes).enumerate() {
            let label = usize::from(index.column_label[number]);
            right[label] += column[label];
        }
        let total = |class| self.row.iter().skip(class).step_by(classes).sum::<u64>();
        let error = right.iter().enumerate().map(|(class, &right)| {
            let total: u64 = total(class);
            u64::from(fixed::ratio(total - right + one, total + 2 * one))
        });
        let crowd = Crowd {
            wrong: one - self.crowd,
            error: error.collect(),
            confusion: &self.confusion,
        };
        let mut habits = Habits::default();
        let mut given = vec![0u64; classes];
        for (labeler, row) in self.row.chunks_exact(classes).enumerate() {
            let accuracy = self.accuracy(self.right[labeler], self.total[labeler]);
            right.fill(MATRIX_STRENGTH * accuracy);
            given.fill(0);
            for number in index.columns_of_labeler(labeler) {
                let label = usize::from(index.column_label[number]);
                let column = &self.column[number * classes..(number + 1) * classes];
                right[label] += column[label];
                given[label] = column.iter().sum();
            }
            let rows = right.iter().zip(row);
            let rights = rows.map(|(&right, &row)| fixed::ratio(right, row + strength));
            habits.right.extend(rights);
            // Fewer votes than classes show no habit, and this bounds the work by the votes.
            if index.count_of_labeler(labeler) as usize >= classes {
                habits.add(&crowd, one - accuracy, row, &given);
            }
        }
        habits
    }

    /// Log evidence of one vote after taking its own lesson out of the counts; unweighted.
    pub fn evidence(&self, index: &Index, vote: usize, lesson: &[u32], out: &mut [i64]) {
        let classes = self.classes;
        let labeler = index.vote_labeler[vote] as usize;
        let label = usize::from(index.vote_label[vote]);
        let learnt: u64 = lesson.iter().map(|&q| u64::from(q)).sum();
        let accuracy = self.accuracy(
            self.right[labeler] - u64::from(lesson[label]),
            self.total[labeler] - learnt,
        );
        if !self.matrix {
            out[label] = self.gain(accuracy);
            return;
        }
        if !self.own_rows {
            for (class, slot) in out.iter_mut().enumerate() {
                *slot = self.pooled_log(accuracy, class, label);
            }
            return;
        }
        let strength = MATRIX_STRENGTH * u64::from(ONE);
        let column = &self.column[index.vote_column[vote] as usize * classes..];
        let row = &self.row[labeler * classes..];
        for (class, slot) in out.iter_mut().enumerate() {
            let q = u64::from(lesson[class]);
            let pseudo = MATRIX_STRENGTH * self.pooled(accuracy, class, label);
            *slot = log2(column[class] - q + pseudo) - log2(row[class] - q + strength);
        }
    }
}

/// See [`Counts::sum_columns`].
fn sum_columns<const K: usize, const R: usize>(counts: &mut Counts, index: &Index) {
    counts.sum_columns::<K>(index);
}

/// See [`Counts::column_logs`].
fn column_logs<const K: usize, const R: usize>(
    counts: &Counts,
    index: &Index,
    own_rows: bool,
    out: &mut [i32],
) {
    let classes = if K == 0 { counts.classes } else { K };
    let strength = MATRIX_STRENGTH * u64::from(ONE);
    let mut row_log = [0i64; R];
    for (labeler, row) in counts.row.chunks_exact(classes).enumerate() {
        let accuracy = counts.accuracy(counts.right[labeler], counts.total[labeler]);
        for (log, &count) in row_log.iter_mut().zip(row) {
            *log = log2(count + strength);
        }
        for number in index.columns_of_labeler(labeler) {
            let label = usize::from(index.column_label[number]);
            let cells = number * classes..(number + 1) * classes;
            let logs = out[cells.clone()].iter_mut();
            if !own_rows {
                for (class, slot) in logs.enumerate() {
                    *slot = counts.pooled_log(accuracy, class, label) as i32; // between -16 and 0 bits
                }
                continue;
            }
            for (class, (slot, &count)) in logs.zip(&counts.column[cells]).enumerate() {
                let pseudo = MATRIX_STRENGTH * counts.pooled(accuracy, class, label);
                // At least -41 in Q16 by the bound on counts, at most one: fits an i32.
                *slot = (log2(count + pseudo) - row_log[class]) as i32;
            }
        }
    }
}
