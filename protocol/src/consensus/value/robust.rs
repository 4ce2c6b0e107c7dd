//! One quantity, several readings of different precision: a weighted median, refined by Huber steps, and its error.
//!
//! What for: a mean is ruined by one liar and a median throws away two thirds of what five careful people say. The weighted median
//! (weights one over the deviation of the source, the optimum for Laplace errors) is the start; [`HUBER_STEPS`] steps of a Huber
//! estimate (weights one over the squared deviation, readings further away than [`CLAMP`] deviations pulled in) follow.
//! Bickel, "One-step Huber estimates in the linear model", 1975, gives the idea.
//!
//! What it does not do: it does not know where readings come from.
//! Invariants: readings lie within plus and minus 2^52 and deviations within 1 to 2^52; products are formed in 128 bits; the result lies
//! between the smallest and the largest reading; the order of readings changes nothing.

use crate::consensus::fixed::{FRACTION_BITS, ONE};

/// Huber steps after the median, in steps.
pub(in crate::consensus) const HUBER_STEPS: u32 = 2;
/// Readings further from the estimate than this many of their own deviations are pulled in, in deviations.
pub(in crate::consensus) const CLAMP: i64 = 2;
/// The most precise source counts at most this many times a less precise one, in times.
pub(in crate::consensus) const PRECISION_RATIO_MAX: u64 = 16;
/// Half width of a 95 % interval per mean absolute deviation of a normal error: 1.96 x sqrt(pi / 2), in hundredths.
const INTERVAL_CENTI: u128 = 246;

/// One reading of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::consensus) struct Reading {
    /// The value read.
    pub value: i64,
    /// Mean absolute error of its source, at least one.
    pub deviation: u64,
    /// Share of one voter that this reading has, Q16.
    pub share: u32,
}

/// An estimate and half the width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::consensus) struct Estimate {
    pub value: i64,
    pub half_width: u64,
}

/// Estimates the quantity; `None` without readings. Sorts `readings`.
pub(in crate::consensus) fn estimate(readings: &mut [Reading]) -> Option<Estimate> {
    readings.sort_unstable();
    estimate_sorted(readings, |_| true)
}

/// Estimates from those sorted readings that `keep` accepts by position.
pub(in crate::consensus) fn estimate_sorted(
    readings: &[Reading],
    keep: impl Fn(usize) -> bool,
) -> Option<Estimate> {
    let kept = || {
        readings
            .iter()
            .enumerate()
            .filter(|(position, _)| keep(*position))
            .map(|(_, reading)| reading)
    };
    let finest = kept().map(|reading| reading.deviation).min()?.max(1);
    let mut value = median(kept, finest);
    for _ in 0..HUBER_STEPS {
        let (mut above, mut below) = (0i128, 0i128);
        for reading in kept() {
            let weight = i128::from(square_weight(reading, finest));
            let reach = i128::from(reading.deviation) * i128::from(CLAMP);
            let apart = i128::from(reading.value) - i128::from(value);
            above += weight * apart.clamp(-reach, reach);
            below += weight;
        }
        if below == 0 {
            break;
        }
        // Rounded to the nearest, half away from zero, so that mirrored readings give the mirrored estimate.
        let half = below / 2;
        let step = if above < 0 {
            above - half
        } else {
            above + half
        } / below;
        value += step as i64; // no longer than the farthest reading is away
    }
    let (mut precision, mut spread, mut shares) = (0u128, 0u128, 0u128);
    for reading in kept() {
        let apart = u128::from(reading.value.abs_diff(value));
        let deviations = (apart << FRACTION_BITS) / u128::from(reading.deviation.max(1));
        precision += u128::from(square_weight(reading, finest));
        spread += u128::from(reading.share) * deviations.min(u128::from(ONE) << 6);
        shares += u128::from(reading.share);
    }
    // Readings that disagree more than their sources usually do widen the interval in proportion.
    let stretch = (spread / shares.max(1)).max(u128::from(ONE));
    let root = (precision << FRACTION_BITS).isqrt().max(1);
    let half_width = (u128::from(finest) * INTERVAL_CENTI * stretch / root).div_ceil(100);
    Some(Estimate {
        value,
        half_width: half_width as u64, // below 2^52 x 2.46 x 64
    })
}

/// Lower weighted median, or the middle of the lower and the upper one when the weights balance exactly.
fn median<'a, I: Iterator<Item = &'a Reading>>(kept: impl Fn() -> I, finest: u64) -> i64 {
    let total: u128 = kept()
        .map(|reading| u128::from(weight(reading, finest)))
        .sum();
    let mut below = 0u128;
    let mut lower = None;
    for reading in kept() {
        if let Some(lower) = lower {
            return midpoint(lower, reading.value);
        }
        below += u128::from(weight(reading, finest));
        if below * 2 > total {
            return reading.value;
        }
        if below * 2 == total {
            lower = Some(reading.value);
        }
    }
    lower.unwrap_or(0)
}

/// The middle of two values, rounded towards zero so that mirrored readings give the mirrored middle.
fn midpoint(a: i64, b: i64) -> i64 {
    (a + b) / 2
}

/// Share over deviation, relative to the finest source, at least one.
fn weight(reading: &Reading, finest: u64) -> u64 {
    let relative = (u128::from(finest) << FRACTION_BITS) / u128::from(reading.deviation.max(1));
    let relative = (relative as u64).clamp(u64::from(ONE) / PRECISION_RATIO_MAX, u64::from(ONE));
    ((u64::from(reading.share) * relative) >> FRACTION_BITS).max(1)
}

/// Share over squared deviation, relative to the finest source, at least one.
fn square_weight(reading: &Reading, finest: u64) -> u64 {
    let relative = (u128::from(finest) << FRACTION_BITS) / u128::from(reading.deviation.max(1));
    let relative = (relative as u64).clamp(u64::from(ONE) / PRECISION_RATIO_MAX, u64::from(ONE));
    ((u64::from(reading.share) * ((relative * relative) >> FRACTION_BITS)) >> FRACTION_BITS).max(1)
}
