//! Who holds which upstream connection, and who waits for one.
//!
//! `accounts` and `gatekeeper` keep the cap: every connection, pooled or a client's
//! own, has a [`Permit`] from before its dial until the server has closed. `books`
//! decides which client gets which pooled connection, and `pools` carries that out.

mod accounts;
mod books;
mod closing;
mod connection;
mod gatekeeper;
mod keeper;
mod lease;
mod opening;
mod plan;
mod pools;

pub(crate) use accounts::{Caps, Key};
pub(crate) use closing::{Closing, Place, UpstreamState};
pub(crate) use gatekeeper::{Gatekeeper, Permit};

#[allow(
    unused_imports,
    reason = "sessions do not pool yet: transaction mode is being built"
)]
pub(crate) use self::{
    books::ConnectionId,
    connection::{CancelGuard, Connection, Left, ServerKey},
    keeper::keep,
    lease::{Holder, Lease, LeaseError},
    plan::{Opener, OpenerPlan, Placeholders, PoolId, PoolPlan, Want},
    pools::{Pool, Pools, Vacancy},
};
