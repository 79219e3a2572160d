//! The process: arguments → verb → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    labgate::cli::main()
}
