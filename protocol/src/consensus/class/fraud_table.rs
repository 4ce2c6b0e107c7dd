//! Weights of the fraud model, Q16 bits (base-2 log odds); written by `protocol/training/train_fraud.py`, do not edit.

/// Weight per feature.
#[rustfmt::skip]
pub(super) const WEIGHTS: [i64; 16] = [
    -284_624, // looked_near
    -186_288, // looked_far
    -83_872, // looked_per_vote
    -168_320, // skill
    -79_648, // skill_low
    -398_528, // skill_high
    246_224, // dependence
    -368_688, // agreement
    160, // gold_seen
    -150_688, // gold_right
    223_616, // copies
    352_848, // cluster
    60_272, // entropy
    227_904, // run
    126_912, // fast
    -601_712, // slow
];
/// Constant term.
pub(super) const BIAS: i64 = 529_744;
/// Score from which a labeler is flagged, in parts per million.
pub(super) const FLAG_PPM: u32 = 790_000;
