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
mod connection;
mod keeper;
mod lease;
mod opening;
mod plan;
mod pools;

pub(crate) use accounts::{Caps, Key};
pub(crate) use books::ConnectionId;
pub(crate) use closing::{Closing, Place, UpstreamState};
pub(crate) use connection::{CancelGuard, Connection, Left, ServerKey};
pub(crate) use gatekeeper::{Gatekeeper, Permit};
pub(crate) use keeper::keep;
pub(crate) use lease::{Holder, Lease, LeaseError};
pub(crate) use plan::{Opener, OpenerPlan, Placeholders, PoolId, PoolPlan, Want};
pub(crate) use pools::{Pool, Pools, Vacancy};
