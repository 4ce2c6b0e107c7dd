//! The ledger twin: the contracts' rules as a pure state machine.
//!
//! It says what the chain would say to each call, so that the simulator has a chain and every test can hold the contracts' money against
//! a second account of it. It knows no gas, no transactions and no reorganisations.

pub mod fault;
mod ledger;

pub use ledger::{
    DisputeTerms, Evidence, Ledger, LedgerError, LossLeaf, MemberTerms, Released, Stake, Withdrawn,
};
