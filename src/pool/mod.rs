//! pool.

pub(crate) mod accounts;
pub(crate) mod gatekeeper;
