//! The whole network in one process, for people who want to see it: chain, first-contact server, validators, a client and labelers, each a
//! full node with keys, data directory and sockets of its own.
//!
//! [`run`] labels real images with known truth; [`replay`] sends somebody else's recorded answers through the same swarm. The labelers of the
//! demonstration are models of people. Nothing else is modelled: messages, transactions and files are the ones of any other node.

mod images;
mod recorded;
mod report;
mod swarm;

pub use images::{DemoOptions, run};
pub use recorded::{ReplayOptions, replay};
