//! Who holds which upstream connection, and who waits for one.
//!
//! `accounts` and `gatekeeper` keep the cap: every connection, pooled or a client's
//! own, has a [`Permit`] from before its dial until the server has closed. `books`
//! decides which client gets which pooled connection, and `pools` carries that out.

mod accounts;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the model of the tests looks closer")
)]
mod books;
mod closing;
mod connection;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "resizing is for reload, snapshots for the console"
    )
)]
mod gatekeeper;
mod holder;
mod keeper;
mod lease;
mod opening;
mod plan;
mod pools;
mod probation;
mod waits;

pub(crate) use accounts::{Caps, Key};
pub(crate) use closing::{Closing, Place, UpstreamState};
pub(crate) use gatekeeper::{Gatekeeper, Permit};

pub(crate) use self::{
    books::ConnectionId,
    connection::{Connection, Left, ServerKey},
    holder::Holder,
    keeper::keep,
    lease::{Lease, LeaseError},
    plan::{OpenerPlan, Placeholders, PoolId, PoolPlan, Want},
    pools::{Pool, Pools, Vacancy},
    probation::{Probation, Silence},
    waits::Wait,
};
