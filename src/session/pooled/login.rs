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
use super::super::registry::{CancelTarget, Entry, Seat};
use super::super::{Route, Service, Unopened, while_client_stays};
use crate::config::values::{PoolPlan, User};
use crate::fault::ClientFacing as _;
use crate::pool::{ConnectionId, Opener, Pool, PoolId, Want};
use crate::startup::Admitted;
use crate::state::parameters::Parameters;
use crate::wire::startup::{CancelKey, StartupMessage, Version};
use crate::wire::backend;

/// Length of a cancel key's secret before and from protocol 3.2 on, in bytes.
const SECRET: (usize, usize) = (4, 32);

/// What a client asks for, as the upstream knows it.
#[derive(Debug)]
pub(in super::super) struct Wish {
    pub(in super::super) user: String,
    pub(in super::super) database: String,
    pub(in super::super) plan: Arc<PoolPlan>,
}

/// A client that is logged in.
#[derive(Debug)]
pub(in super::super) struct Welcomed {
    pub(super) pool: Arc<Pool>,
    pub(super) plan: Arc<PoolPlan>,
    pub(super) seat: Arc<Seat>,
    /// What the client has been told.
    pub(super) known: Parameters,
    /// The connection whose process the client believes to have.
    pub(super) home: Option<ConnectionId>,
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
pub(in super::super) async fn welcome(
    client: &mut Admitted,
    user: &User,
    entry: &mut Entry,
    (route, wish): (&Route, Wish),
) -> Result<Welcomed, Unopened> {
    let startup = client.startup.for_pool(&wish.user, &wish.database);
    let opener = Opener::new(startup.clone(), user);
    let pool = wish.pool(route, &startup, Some(opener));
    let deadline = Instant::now() + wish.plan.query_wait_timeout;
    let want = Want {
        client: entry.handle().id,
        prefer: None,
    };
    let waiting = pool.introduce(want, deadline);
    let introduction = while_client_stays(&mut client.stream, waiting)
        .await?
        .map_err(|error| Unopened::Fault(error.fault()))?;

    let newest = client.startup.version() >= Version::NEWEST;
    let secret: Vec<u8> = (0..if newest { SECRET.1 } else { SECRET.0 })
        .map(|_| rand::random())
        .collect();
    let key = CancelKey::with_secret(introduction.pid, &secret);
    let mut greeting = BytesMut::from(&backend::authentication(0, &[])[..]);
    for (name, value) in introduction.parameters.iter() {
        greeting.extend_from_slice(&backend::parameter_status(name, value));
    }
    greeting.extend_from_slice(&backend::backend_key_data(&key.key_data()));
    greeting.extend_from_slice(&backend::READY_IDLE);
    let seat = Arc::new(Seat::default());
    entry.set_cancel_key(key, CancelTarget::Pooled(Arc::clone(&seat)));
    client
        .stream
        .send(&greeting)
        .await
        .map_err(|_| Unopened::Left)?;
    Ok(Welcomed {
        pool,
        plan: wish.plan,
        seat,
        known: introduction.parameters,
        home: Some(introduction.connection),
    })
}
