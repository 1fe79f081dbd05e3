//! The exit codes.

use std::process::ExitCode;

/// What a command ended as; the numbers are the contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    /// A difference, or something that was not compared.
    Different = 1,
    /// Usage or configuration.
    Usage = 2,
    Preflight = 3,
    /// No connection, TLS or login.
    Connect = 4,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
