//! What a person runs before, during and after the move of a database.
//!
//! `connect` opens a session of the toolkit's own on an upstream, as the proxy would; `check`
//! finds out whether it can; `verify` compares two databases.

pub(crate) mod check;
pub(crate) mod connect;
pub(crate) mod verify;
