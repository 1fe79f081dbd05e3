//! Arguments to actions, one file a command, and the exit codes.

pub(crate) mod config;

use std::process::ExitCode;

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
