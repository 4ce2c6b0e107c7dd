//! The `assay` program under a name of its own, so that Cargo builds it for the end-to-end tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    assay_node::cli::main()
}
