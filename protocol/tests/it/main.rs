//! The core as its bodies see it: whole tasks, hostile messages, restarts, order of arrival.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod assets;
mod clients;
mod deaths;
mod equivocation;
mod faults;
mod forced;
mod golden;
mod hostile;
mod lifecycle;
mod money;
mod order;
mod overrule;
mod score_digest;
mod score_roots;
mod village;
