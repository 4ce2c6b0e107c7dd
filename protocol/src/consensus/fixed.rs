//! Fixed-point numbers for truth inference: Q16 probabilities and base-2 logarithms.
//!
//! What for: every machine must compute the same posterior bit for bit, and the platform's `exp` and `ln` do not promise that.
//! What it does not do: no rounding modes, no negative mantissas, no general mathematics.
//! Invariants: only integer operations; tables are built at compile time from integer square roots and squarings; every function is
//! total (no argument panics) and monotone in its argument.

/// One, as a Q16 number: probabilities and weights are multiples of 1/65,536.
pub const ONE: u32 = 1 << 16;
/// Fraction bits of a Q16 number, in bits.
pub const FRACTION_BITS: u32 = 16;
/// Index bits of both tables; linear interpolation between entries keeps the error below one Q16 step.
const TABLE_BITS: u32 = 10;
/// Intervals per table.
const TABLE_LEN: usize = 1 << TABLE_BITS;
/// Powers are shifted right by at most this, which leaves zero, in bits.
const SHIFT_MAX_BITS: u64 = 63;

/// `LOG2[i]` is log2(1 + i/1024) in Q30, the last entry being exactly one.
static LOG2: [u32; TABLE_LEN + 1] = log2_table();
/// `EXP2[i]` is 2^(i/1024) in Q30, the last entry being exactly two.
static EXP2: [u32; TABLE_LEN + 1] = exp2_table();

/// Builds the logarithm table bit by bit: squaring a number in `[1, 2)` doubles its logarithm, a carry past two is the next bit.
const fn log2_table() -> [u32; TABLE_LEN + 1] {
    let mut table = [0u32; TABLE_LEN + 1];
    let mut i = 0;
    while i <= TABLE_LEN {
        let mut x: u64 = ((TABLE_LEN + i) as u64) << (30 - TABLE_BITS);
        let mut y: u32 = 0;
        if x >= 2 << 30 {
            y = 1 << 30;
        } else {
            let mut bit = 30;
            while bit > 0 {
                bit -= 1;
                x = (x * x) >> 30;
                if x >= 2 << 30 {
                    x >>= 1;
                    y |= 1 << bit;
                }
            }
        }
        table[i] = y;
        i += 1;
    }
    table
}

/// Builds the power table as products of the repeated square roots of two.
const fn exp2_table() -> [u32; TABLE_LEN + 1] {
    let mut roots = [0u64; TABLE_BITS as usize];
    let mut root: u64 = (2u64 << 60).isqrt();
    let mut j = 0;
    while j < TABLE_BITS as usize {
        roots[j] = root;
        root = (root << 30).isqrt();
        j += 1;
    }
    let mut table = [0u32; TABLE_LEN + 1];
    let mut i = 0;
    while i < TABLE_LEN {
        let mut power: u64 = 1 << 30;
        let mut j = 0;
        while j < TABLE_BITS as usize {
            if (i >> (TABLE_BITS as usize - 1 - j)) & 1 == 1 {
                power = (power * roots[j]) >> 30;
            }
            j += 1;
        }
        table[i] = power as u32;
        i += 1;
    }
    table[TABLE_LEN] = 2 << 30;
    table
}

/// log2 of `x` in Q16, rounded down; zero for `x` = 0 (callers pass positive counts).
///
/// Range: 0 to 64 * 65,536, so sums of 2^40 of them fit in an `i64`.
#[inline]
#[must_use]
pub fn log2(x: u64) -> i64 {
    if x <= 1 {
        return 0;
    }
    let exponent = 63 - x.leading_zeros();
    // The mantissa in [2^63, 2^64): the leading one, the table index, then the interpolation weight.
    let mantissa = x << (63 - exponent);
    let index = ((mantissa >> (63 - TABLE_BITS)) as usize) & (TABLE_LEN - 1);
    let weight = (mantissa >> (63 - TABLE_BITS - 20)) & ((1 << 20) - 1);
    let low = u64::from(LOG2[index]);
    let high = u64::from(LOG2[index + 1]);
    let fraction = low + (((high - low) * weight) >> 20);
    (i64::from(exponent) << FRACTION_BITS) + (fraction >> 14) as i64
}

/// 2 to the power `y` (Q16, clamped to at most zero) as a Q30 number, rounded down; zero below 2^-31.
#[inline]
#[must_use]
pub fn exp2_q30(y: i64) -> u64 {
    exp2_of_negative(y.min(0))
}

/// [`exp2_q30`] of an exponent that is not positive.
#[inline(always)]
fn exp2_of_negative(y: i64) -> u64 {
    let whole = (y >> FRACTION_BITS).unsigned_abs().min(SHIFT_MAX_BITS) as u32;
    let fraction = (y & i64::from(ONE - 1)) as u64;
    let index = (fraction >> (FRACTION_BITS - TABLE_BITS)) as usize;
    let weight = fraction & ((1 << (FRACTION_BITS - TABLE_BITS)) - 1);
    let low = u64::from(EXP2[index]);
    let high = u64::from(EXP2[index + 1]);
    // Every table entry is below 2^32 and the weight below 2^6; shifts by more than 31 bits leave zero.
    low.wrapping_add(high.wrapping_sub(low).wrapping_mul(weight) >> (FRACTION_BITS - TABLE_BITS))
        >> whole
}

/// Turns base-2 log weights (Q16) into probabilities (Q16) that sum to exactly [`ONE`].
///
/// Rounds down and gives the remainder to the largest entry, the first one among equals. `out` and `logs` have equal length; an empty
/// slice stays empty. `logs` is used as scratch space.
#[inline]
pub fn normalise(logs: &mut [i64], out: &mut [u32]) {
    let Some(&first) = logs.first() else { return };
    let top = logs.iter().fold(first, |top, &value| top.max(value));
    let mut sum: u64 = 0;
    for value in logs.iter_mut() {
        let power = exp2_of_negative(value.wrapping_sub(top));
        *value = power as i64;
        sum = sum.wrapping_add(power); // at most 2^30 x 2^16 classes
    }
    let mut left = ONE;
    // The largest entry contributes 2^30, so the sum is at least 2^30, the reciprocal at most 2^32 and each product at most 2^62.
    let reciprocal = (1u64 << 62) / sum;
    for (slot, &power) in out.iter_mut().zip(logs.iter()) {
        let share = ((power as u64).wrapping_mul(reciprocal) >> 46) as u32;
        *slot = share;
        left = left.wrapping_sub(share); // the shares sum to at most one
    }
    // Only the largest entries are 2^30: 2 to a negative Q16 number is less. No branch and no index: both would stall short rows.
    for (slot, &power) in out.iter_mut().zip(logs.iter()) {
        let rest = if power == 1 << 30 { left } else { 0 };
        *slot = slot.wrapping_add(rest); // at most one
        left = left.wrapping_sub(rest);
    }
}

/// `part / whole` in Q16, rounded down and clamped to [`ONE`]; zero when `whole` is zero.
#[inline]
#[must_use]
pub fn ratio(part: u64, whole: u64) -> u32 {
    if whole == 0 {
        return 0;
    }
    // Counts stay far below 2^48; the wide division only serves arguments out of any real range.
    if part < 1 << 48 {
        return ((part << FRACTION_BITS) / whole).min(u64::from(ONE)) as u32;
    }
    let quotient = (u128::from(part) << FRACTION_BITS) / u128::from(whole);
    quotient.min(u128::from(ONE)) as u32
}

/// Feeds both tables to a hasher, so that the algorithm id changes with any of their bits.
pub(super) fn hash_tables(hasher: &mut blake3::Hasher) {
    for table in [&LOG2, &EXP2] {
        for entry in table {
            hasher.update(&entry.to_le_bytes());
        }
    }
}
