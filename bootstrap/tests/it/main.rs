//! The server from outside: as a library over loopback, and as a program with signals.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod program;
mod server;
