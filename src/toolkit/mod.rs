//! What a person runs before, during and after the move of a database.
//!
//! `connect` opens a session of the toolkit's own on an upstream, as the proxy would.

pub(crate) mod connect;
