//! End-to-end tests of Assay, one binary so that the workspace links them once.

#![allow(clippy::unwrap_used, reason = "tests")]

mod assets;
mod lockfile;
mod processes;
