//! Drives real `assay` processes: start, kill, ask. Used by the end-to-end tests; holds no assertions of its own.

mod network;

pub use network::{Network, Process, eventually};
