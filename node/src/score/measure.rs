//! How good results are against a known truth.
//!
//! What it does not do: nothing here enters a score; these are figures for people, so they are floating point.

use std::collections::BTreeMap;

/// Bins of the calibration error.
const BINS: usize = 10;

/// Share of equal pairs (truth, answer); zero of nothing.
pub(super) fn accuracy<T: PartialEq>(pairs: &[(T, T)]) -> f64 {
    mean(pairs.iter().map(|(truth, own)| f64::from(truth == own)))
}

/// Mean F1 over the labels that occur in the truth.
pub(super) fn macro_f1<T: Ord + Copy>(pairs: &[(T, T)]) -> f64 {
    // Per label: in the truth, in the answers, in both.
    let mut counts: BTreeMap<T, (u32, u32, u32)> = BTreeMap::new();
    for &(truth, own) in pairs {
        counts.entry(truth).or_default().0 += 1;
        counts.entry(own).or_default().1 += 1;
        if truth == own {
            counts.entry(own).or_default().2 += 1;
        }
    }
    mean(
        counts
            .values()
            .filter(|count| count.0 > 0)
            .map(|&(truth, own, both)| 2.0 * f64::from(both) / f64::from(truth + own)),
    )
}

/// Expected calibration error over ten equal bins of (posterior of the chosen label, whether it is right).
pub(super) fn calibration_error(judged: &[(f64, bool)]) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    for &(posterior, right) in judged {
        // The bin holds its upper end.
        let bin = ((posterior * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[bin].0 += posterior;
        bins[bin].1 += f64::from(right);
    }
    let gap: f64 = bins.iter().map(|(sure, right)| (sure - right).abs()).sum();
    gap / (judged.len().max(1) as f64)
}

/// Fewest words to change, and the words of the truth; words are lower-cased and split at white space.
pub(super) fn word_errors(truth: &str, own: &str) -> (usize, usize) {
    let (truth, own) = (truth.to_lowercase(), own.to_lowercase());
    let own: Vec<&str> = own.split_whitespace().collect();
    let mut last: Vec<usize> = (0..=own.len()).collect();
    let mut words = 0;
    for word in truth.split_whitespace() {
        words += 1;
        let mut row = vec![words];
        for (place, other) in own.iter().enumerate() {
            let changed = last[place] + usize::from(word != *other);
            row.push(changed.min(last[place + 1] + 1).min(row[place] + 1));
        }
        last = row;
    }
    (last[own.len()], words)
}

/// Spearman's rank correlation, ties with mean ranks; `None` where one side is constant.
pub(super) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let a = ranks(pairs.iter().map(|pair| pair.0).collect());
    let b = ranks(pairs.iter().map(|pair| pair.1).collect());
    let (ma, mb) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

fn ranks(values: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for run in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (run.len() as f64 + 1.0) / 2.0;
        run.iter().for_each(|&place| ranks[place] = rank);
        first += run.len();
    }
    ranks
}

/// Zero of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn accuracy_and_macro_f1_match_a_worked_example() {
        // Truth a a a b; answers a a b c: F1 of a is 2*2/(3+2), of b 2*0/(1+1); c is not in the truth.
        let pairs = [('a', 'a'), ('a', 'a'), ('a', 'b'), ('b', 'c')];
        close(accuracy(&pairs), 0.5);
        close(macro_f1(&pairs), 0.4);
        close(accuracy::<u8>(&[]), 0.0);
        close(macro_f1::<u8>(&[]), 0.0);
    }

    #[test]
    fn calibration_error_matches_a_worked_example() {
        // Bin (0.8, 0.9]: 0.9 + 0.9 against one right. Bin (0.5, 0.6]: 0.6 against one right. Gaps 0.8 and 0.4 over three.
        close(
            calibration_error(&[(0.9, true), (0.9, false), (0.6, true)]),
            0.4,
        );
        close(calibration_error(&[(1.0, true)]), 0.0);
        close(calibration_error(&[(0.0, true)]), 1.0);
        close(calibration_error(&[]), 0.0);
    }

    #[test]
    fn word_errors_count_the_fewest_changes() {
        assert_eq!(word_errors("the cat sat", "The  cat sat"), (0, 3));
        assert_eq!(word_errors("the cat sat", "a cat sat down"), (2, 3));
        assert_eq!(word_errors("the cat sat", ""), (3, 3));
        assert_eq!(word_errors("", "two words"), (2, 0));
    }

    #[test]
    fn spearman_matches_a_worked_example_with_ties() {
        let rising: Vec<(f64, f64)> = (0..5).map(|i| (f64::from(i), f64::from(i * i))).collect();
        close(spearman(&rising).unwrap(), 1.0);
        // Ranks 1 2.5 2.5 4 against 1 2 3 4: covariance 4.5, variances 4.5 and 5.
        let tied = [(1.0, 1.0), (2.0, 2.0), (2.0, 3.0), (3.0, 4.0)];
        close(spearman(&tied).unwrap(), 4.5 / (4.5f64 * 5.0).sqrt());
        assert_eq!(spearman(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(spearman(&[]), None);
    }
}
