//! How a client of a pool comes in.
//!
//! Where the proxy holds the credentials, it has checked the client already: what
//! is still to be said is known from any connection of the pool. In passthrough
//! the client's own login opens a connection, which the pool then keeps if it has
//! room: no secret is needed, and none is kept.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use super::super::login::Taken;
use super::super::registry::{CancelTarget, Seat};
use super::super::{Entry, Route, Service, Unopened, while_client_stays};
use super::guest::Guest;
use super::idle::Refusal;
use super::relay::Line;
use super::{Flow, Session};
use crate::buffers::BUFFER;
use crate::config::values::{PoolPlan, User};
use crate::fault::ClientFacing as _;
use crate::pool::{Lease, Opener, Pool, PoolId, Want};
use crate::startup::Admitted;
use crate::state::parameters::Parameters;
use crate::tls::MaybeTls;
use crate::wire::startup::{CancelKey, StartupMessage, Version};
use crate::wire::{backend, frontend};

/// A text is waited for until it is whole up to this many bytes; a longer one
/// cannot be read.
const MAX_TEXT: usize = 1 << 20;

/// What a client asks for, as the upstream knows it.
#[derive(Debug)]
pub(in super::super) struct Wish {
    pub(in super::super) user: String,
    pub(in super::super) database: String,
    pub(in super::super) plan: Arc<PoolPlan>,
}

impl Wish {
    /// The pool that serves it: its connections begin as the client's would.
    fn pool(&self, route: &Route, startup: &StartupMessage, opener: Option<Opener>) -> Arc<Pool> {
        let id = PoolId {
            user: self.user.as_str().into(),
            database: self.database.as_str().into(),
            startup: startup.settings(),
            generation: route.pools.generation(),
        };
        route.pools.pool(id, &self.plan, opener)
    }
}

/// Lets a client in whom the proxy has checked.
pub(in super::super) async fn welcome_held<'s>(
    client: &mut Admitted,
    user: &User,
    (mut entry, service): (Entry, &'s Service),
    (route, wish): (&Route, Wish),
) -> Result<Ready, Unopened> {
    let mut startup = client.startup.clone();
    startup.remove_protocol_options();
    startup.set(b"user", &wish.user);
    startup.set(b"database", &wish.database);
    let opener = Opener::new(&startup, user);
    let pool = wish.pool(route, &startup, Some(opener));
}
