//! One task's life: who labels what, when a phase closes, what a wave's answers are worth.
//!
//! ```text
//! (funded, announced, in custody) -> Enrolling -> Drawing(w) -> Labeling(w) -> Revealing(w) -> OpeningGold(w) -> Settled
//!                                        |            ^                                            |
//!                                        v            +---------- next wave, if it has items ------+
//!                                    Cancelled (full refund)
//! ```
//!
//! Pure: the same records and chain facts give the same state, byte for byte. A wave needs a header for each closing set, so
//! that enrolment precedes the assignment's randomness, commits precede reveals, and reveals precede gold.
//! Labels, money and reputation of other tasks are not known here; the lane composes them.

mod draw;
mod outcome;
mod score;
mod state;

pub use draw::{DrawInput, draw, proven_skill};
pub use outcome::{
    ItemOutcome, LabelerOutcome, Money, Reason, RepeatError, TaskOutcome, TaskScore,
};
pub use score::{LabelerView, Settlement};
pub(crate) use state::choose;
pub use state::{
    CancelReason, Commitment, Enrolled, GoldState, Phase, RecordFault, TaskState, WaveLabeler,
    WaveState,
};
