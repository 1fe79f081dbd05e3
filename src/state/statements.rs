//! Prepared statements: which the client knows, which the connection holds.

/// What one server connection holds.
#[derive(Debug, Default)]
pub(crate) struct Server {}
