//! The `pgsluice` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgsluice::run()
}
