//! The `esplice` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    esplice::run(std::env::args_os())
}
