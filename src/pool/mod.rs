//! Who holds which upstream connection, and who waits for one.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "resizing is for reload, tallies for the console")
)]
pub(crate) mod accounts;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "resizing is for reload, snapshots for the console"
    )
)]
mod gatekeeper;

pub(crate) mod books;
mod closing;
pub(crate) mod plan;

pub(crate) use accounts::{Caps, Key};
pub(crate) use closing::{Closing, Place, UpstreamState};
pub(crate) use gatekeeper::{Gatekeeper, Permit};
