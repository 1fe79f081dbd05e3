//! Who holds which upstream connection, and who waits for one.

pub(crate) mod accounts;
mod gatekeeper;

pub(crate) use accounts::{Caps, Key};
pub(crate) use gatekeeper::{Gatekeeper, Permit};
