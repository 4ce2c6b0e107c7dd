//! Weights of the fraud model, Q16 bits (base-2 log odds); written by `protocol/training/train_fraud.py`, do not edit.

/// Weight per feature.
#[rustfmt::skip]
pub(super) const WEIGHTS: [i64; 16] = [
    -262_736, // looked_near
    -159_328, // looked_far
    -75_904, // looked_per_vote
    -187_664, // skill
    -99_616, // skill_low
    -293_520, // skill_high
    58_448, // dependence
    -508_224, // agreement
    54_704, // gold_seen
    -203_808, // gold_right
    271_168, // copies
    359_504, // cluster
    65_440, // entropy
    186_480, // run
    133_040, // fast
    -614_928, // slow
];
/// Constant term.
pub(super) const BIAS: i64 = 531_040;
/// Score from which a labeler is flagged, in parts per million.
pub(super) const FLAG_PPM: u32 = 720_000;
