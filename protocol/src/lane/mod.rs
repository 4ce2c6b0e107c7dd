//! The replicated state of one lane, and the one function that moves it: [`LaneState::apply`].
//!
//! Every node that follows a lane holds the same state after the same epoch. An epoch is a set of signed records plus a chain
//! block up to which chain facts count; from the state before it, anyone computes the header that the committee must have signed.
//! Nothing here knows how records travelled.

mod apply;
mod bonus;
mod fallback;
mod ingest;
mod payout;
mod state;
mod trees;

pub use apply::{Applied, ApplyError, Ready};
pub use bonus::{Bonus, BonusProof};
pub use fallback::{Fallback, FlatClaim, FlatFile, FlatPay, FlatPayouts, state_root};
pub use payout::{Claim, PayoutFile, PayoutProofs, SubtreeClaim};
pub use state::{AccountState, Committee, EscrowState, Evidence, LaneState, role};
pub(crate) use trees::records_root;
pub use trees::{ReputationProof, ScoreProof};
