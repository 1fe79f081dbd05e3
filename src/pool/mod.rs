//! Who holds which upstream connection, and who waits for one.
//!
//! `limiter_state` and `limiter` keep the cap: every connection, pooled or a client's
//! own, has a [`Permit`] from before its dial until the server has closed. `pool_state`
//! decides which client gets which pooled connection, and `pools` carries that out.

mod closing;
mod connection;
mod connector;
mod idle_hold;
mod lease;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "resizing is for reload, snapshots for the console"
    )
)]
mod limiter;
mod limiter_state;
mod maintenance;
mod plan;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the model of the tests looks closer")
)]
mod pool_state;
mod pools;
mod probation;
mod waits;

pub(crate) use closing::{CapPlace, Closing, UpstreamState};
pub(crate) use limiter::{ConnectionLimiter, Permit};
pub(crate) use limiter_state::{Caps, Key};

pub(crate) use self::{
    connection::{Connection, LeftBehind, ServerKey},
    idle_hold::IdleHold,
    lease::{Lease, LeaseError},
    maintenance::maintain,
    plan::{CheckoutRequest, OpenerPlan, Placeholders, PoolId, PoolPlan},
    pool_state::ConnectionId,
    pools::{DatabaseEviction, Pool, Pools},
    probation::{Probation, Silence},
    waits::Wait,
};
