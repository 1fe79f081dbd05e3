//! What a person runs before, during and after the move of a database.
//!
//! `connect` opens a session of the toolkit's own on an upstream, as the proxy would; `check`
//! finds out whether it can.

pub(crate) mod check;
#[cfg_attr(not(test), expect(dead_code, reason = "the first command comes next"))]
pub(crate) mod connect;
