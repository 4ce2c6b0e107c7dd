use proptest::prelude::*;

use super::super::fixed::{ONE, exp2_q30, log2, normalise, ratio};

#[test]
fn logarithms_of_powers_of_two_are_exact() {
    for bit in 0..64 {
        assert_eq!(log2(1 << bit), i64::from(bit) << 16);
    }
    assert_eq!(log2(0), 0);
    assert_eq!(log2(u64::MAX), (64 << 16) - 1);
}

#[test]
fn logarithms_match_known_values() {
    // log2(3), log2(10) and log2(1,000,003) times 65,536, rounded down.
    assert_eq!(
        (log2(3), log2(10), log2(1_000_003)),
        (103_872, 217_705, 1_306_235)
    );
}

#[test]
fn powers_match_known_values() {
    assert_eq!(exp2_q30(0), 1 << 30);
    assert_eq!(exp2_q30(-(1 << 16)), 1 << 29);
    assert_eq!(exp2_q30(i64::MIN), 0);
    assert_eq!(exp2_q30(i64::MAX), 1 << 30);
    // 2^-0.5 and 2^-2.25 times 2^30 are 759,250,124.9 and 225,725,792.4.
    assert!(
        exp2_q30(-(1 << 15)).abs_diff(759_250_125) < 400,
        "{}",
        exp2_q30(-(1 << 15))
    );
    assert!(
        exp2_q30(-9 * (1 << 14)).abs_diff(225_726_792) < 2_000,
        "{}",
        exp2_q30(-9 * (1 << 14))
    );
}

#[test]
fn equal_log_weights_give_equal_shares_with_the_remainder_on_the_first() {
    let mut out = [0; 3];
    normalise(&mut [5, 5, 5], &mut out);
    assert_eq!(out, [21_846, 21_845, 21_845]);
    normalise(&mut [], &mut []);
}

proptest! {
    #[test]
    fn logarithm_never_decreases(x in 1u64..u64::MAX) {
        prop_assert!(log2(x) <= log2(x + 1));
    }

    #[test]
    fn power_never_decreases_and_undoes_the_logarithm(y in -(30i64 << 16)..0) {
        prop_assert!(exp2_q30(y) <= exp2_q30(y + 1));
        // Above 2^-12 the power has enough digits to come back within three steps.
        if y > -(12 << 16) {
            let back = log2(exp2_q30(y)) - (30 << 16);
            prop_assert!((back - y).abs() <= 12, "{} became {}", y, back);
        }
    }

    #[test]
    fn probabilities_sum_to_one(logs in prop::collection::vec(-(1i64 << 42)..(1i64 << 42), 1..257)) {
        let mut logs = logs;
        let mut out = vec![0; logs.len()];
        let best = (0..logs.len()).rev().max_by_key(|&k| logs[k]).unwrap();
        normalise(&mut logs, &mut out);
        prop_assert_eq!(out.iter().sum::<u32>(), ONE);
        prop_assert!(out.iter().all(|&q| q <= out[best]));
    }

    #[test]
    fn a_ratio_is_at_most_one(part: u64, whole: u64) {
        prop_assert!(ratio(part, whole) <= ONE);
    }
}
