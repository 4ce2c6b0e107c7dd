//! First contact: the server a node dials when it knows nobody yet, and the few rules both sides of that call share.
//!
//! What it is for: a Kademlia server that hands out addresses, a circuit relay that introduces nodes behind a
//! NAT, and an AutoNAT server that tells a node whether it can be reached. The modules [`names`], [`address`],
//! [`transport`] and [`routing`] are also used by the node, so that both ends agree on protocol names and on
//! which addresses may be dialled.
//!
//! What it does not do: it joins no gossip topic, opens no task exchange, stores no record and keeps nothing on
//! disk but its key. It never links the node.
//!
//! Invariants:
//! - the server learns peer ids and addresses, never tasks, labels or payments;
//! - nothing is dialled that the [`address::AddressPolicy`] does not allow, whoever asked for it;
//! - every table it keeps is bounded by a number in [`ServerLimits`] or by libp2p's own bucket sizes.

pub mod address;
pub mod key_file;
pub mod names;
pub mod routing;
mod server;
pub mod transport;

pub use server::{Server, ServerConfig, ServerError, ServerHandle, ServerLimits};
