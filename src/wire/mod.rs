//! Bytes to frames and back: the Postgres frontend/backend protocol.
//!
//! No sockets, no clock, nothing of ours: every other room may name this one,
//! this one names only `secret`. Decoding never panics on what a peer sends,
//! and never changes a byte of what is only carried.

pub(crate) mod frame;
pub(crate) mod startup;

pub(crate) mod backend;
pub(crate) mod frontend;
pub(crate) mod sqlstate;

pub(crate) mod password;
pub(crate) mod scram;

pub(crate) mod ledger;
