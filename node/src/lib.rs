//! The Assay node: a body around the deterministic core of `assay-protocol`.
//!
//! [`runtime`] owns the core and one event loop; [`net`] is the libp2p swarm, [`chain`] the EVM client, `assay-storage` the disk. [`api`] and
//! [`cli`] are for people and hold no rules; [`keys`] keeps the account's secret; [`score`] scores any crowd's answers without a network. [`devchain`], [`devnet`] and [`demo`] give a newcomer a whole network in one process.

pub mod api;
pub mod chain;
pub mod cli;
pub mod dataset;
#[cfg(feature = "devchain")]
pub mod demo;
#[cfg(feature = "devchain")]
pub mod devchain;
#[cfg(feature = "devchain")]
pub mod devnet;
pub mod keys;
pub mod net;
pub mod people;
pub mod runtime;
pub mod score;
