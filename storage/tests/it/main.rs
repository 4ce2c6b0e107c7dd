//! Behaviour of the data directory as a whole: opening, records, shards, crashes, full disks.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod crash;
mod directory;
mod full_disk;
mod records;
mod shards;
mod support;
