//! The deterministic core of Assay.
//!
//! Decides everything, does nothing: no IO, no clock, no unseeded randomness, no floats. Its bodies are `assay-node` (tokio, libp2p, alloy,
//! redb) and `assay-simulations` (one event queue, one seed), which drive the same [`core::Core`].
//!
//! A message walks through: [`codec`] (bytes) -> [`verify`] (form, signature) -> [`core`] (memory, rules) -> effects. The specialists
//! [`task`], [`consensus`], [`lane`], [`settlement`] are pure functions over their state. Each module uses the ones listed before it:
//! ids and amounts, [`codec`] and [`crypto`], [`message`], [`verify`], [`consensus`], [`task`], [`lane`], [`core`].

#![deny(clippy::float_arithmetic)]

pub mod amount;
pub mod codec;
pub mod consensus;
pub mod core;
pub mod crypto;
pub mod id;
pub mod lane;
pub mod limit;
pub mod merkle;
pub mod message;
pub mod network;
pub mod settlement;
pub mod task;
pub mod verify;
