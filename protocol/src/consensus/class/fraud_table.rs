//! Weights of the fraud model, Q16 bits (base-2 log odds); written by `protocol/training/train_fraud.py`, do not edit.

/// Weight per feature.
#[rustfmt::skip]
pub(super) const WEIGHTS: [i64; 16] = [
    -262_544, // looked_near
    -161_424, // looked_far
    -79_184, // looked_per_vote
    -188_000, // skill
    -98_560, // skill_low
    -292_864, // skill_high
    59_600, // dependence
    -505_968, // agreement
    52_704, // gold_seen
    -200_960, // gold_right
    252_784, // copies
    345_680, // cluster
    65_264, // entropy
    186_224, // run
    132_928, // fast
    -615_696, // slow
];
/// Constant term.
pub(super) const BIAS: i64 = 530_064;
/// Score from which a labeler is flagged, in parts per million.
pub(super) const FLAG_PPM: u32 = 720_000;
