//! Who holds which upstream connection, and who waits for one.
//!
//! Every connection, pooled or a client's own, has a `Permit` from before its dial until
//! the server has closed. `allocator` decides who gets a place and who gets which pooled
//! connection, and `pools` carries that out.

mod allocator;
mod closing;
mod connection;
mod connector;
mod greeting;
mod idle_hold;
mod ids;
mod key;
mod lease;
mod lease_error;
mod maintenance;
mod permit;
mod plan;
mod pools;
mod timing;
mod waits;

pub(crate) use self::{
    allocator::{Caps, Silence},
    closing::{CapPlace, Closing, UpstreamState},
    connection::{Connection, LeftBehind, ServerKey},
    idle_hold::IdleHold,
    ids::ConnectionId,
    key::Key,
    lease::Lease,
    lease_error::LeaseError,
    maintenance::maintain,
    permit::Probation,
    plan::{CheckoutRequest, OpenerPlan, Placeholders, PoolId, PoolPlan},
    pools::{DatabaseEviction, Pool, PoolHandle, Pools},
    waits::Wait,
};
