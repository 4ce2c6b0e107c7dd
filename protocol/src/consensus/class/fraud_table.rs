//! Weights of the fraud model, Q16 bits (base-2 log odds); written by `protocol/training/train_fraud.py`, do not edit.

/// Weight per feature.
#[rustfmt::skip]
pub(super) const WEIGHTS: [i64; 18] = [
    -245_568, // looked_near
    -153_952, // looked_far
    -86_944, // looked_per_vote
    -152_272, // skill
    -101_264, // skill_low
    -414_112, // skill_high
    328_032, // dependence
    -89_056, // agreement
    -34_992, // gold_seen
    -79_056, // gold_right
    227_232, // copies
    295_776, // cluster
    44_144, // entropy
    254_336, // run
    137_360, // fast
    -598_704, // slow
    -84_304, // margin_near
    -91_936, // margin_far
];
/// Constant term.
pub(super) const BIAS: i64 = 355_232;
/// Score from which a labeler is flagged, in parts per million.
pub(super) const FLAG_PPM: u32 = 830_000;
