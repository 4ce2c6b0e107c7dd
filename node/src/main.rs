//! The `assay` program. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    assay_node::cli::main()
}
