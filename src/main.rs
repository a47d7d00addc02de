//! The exit code; all else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    kmswatch::cli::main()
}
