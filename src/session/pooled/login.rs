//! How a client of a pool comes in.
//!
//! Where the proxy holds the credentials, it has checked the client already: what
//! is still to be said is known from any connection of the pool. In passthrough
//! the client's own login opens a connection, which the pool then keeps if it has
//! room: no secret is needed, and none is kept.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::handle::log_session;
use super::super::login::CapturedLogin;
use super::super::registry::{CancelSlot, CancelTarget, Entry};
use super::super::{Ahead, OpenFailure, Route, Service, waits, while_client_stays};
use super::client::AnnouncedBackend;
use crate::config::values::{PoolPlan, User};
use crate::pool::{
    self, CheckoutRequest, Closing, IdleHold, Key, LeaseError, OpenerPlan, Pool, PoolId,
};
use crate::startup::Admitted;
use crate::state::parameters::Parameters;
use crate::upstream::Opened;
use crate::wire::backend;
use crate::wire::startup::{CancelKey, StartupMessage, Version};

/// Length of a cancel key's secret before and from protocol 3.2 on, in bytes.
const SECRET: (usize, usize) = (4, 32);
/// More than what most clients are told at their login.
const GREETING: usize = 1024;
/// A time that no connection lives to see.
const FOREVER: Duration = Duration::from_secs(1 << 32);

/// What a client asks for: whose connections, as the upstream knows them, and how.
#[derive(Debug)]
pub(in super::super) struct Wish {
    pub(in super::super) key: Key,
    pub(in super::super) plan: Arc<PoolPlan>,
}

/// A client that is logged in.
#[derive(Debug)]
pub(in super::super) struct Welcomed {
    pub(super) route: Arc<Route>,
    pub(super) pool: Arc<Pool>,
    pub(super) plan: Arc<PoolPlan>,
    pub(super) cancel_slot: Arc<CancelSlot>,
    /// What the client has been told.
    pub(super) known: Parameters,
    /// The connection whose process the client believes to have.
    pub(super) home: Option<AnnouncedBackend>,
    pub(super) pid: Option<u32>,
    /// How its pool reaches it.
    pub(super) idle_hold: Arc<IdleHold>,
}

impl Wish {
    /// The pool that serves it: its connections begin as the client's would.
    fn pool(
        &self,
        route: &Route,
        startup: &StartupMessage,
        opener: Option<&dyn Fn() -> OpenerPlan>,
    ) -> Arc<Pool> {
        let id = PoolId {
            user: self.key.user.clone(),
            database: self.key.database.clone(),
            startup: startup.settings(),
            generation: route.pools.generation(),
        };
        let plan = plan_of_pool(&self.plan);
        if let Some(pool) = route.pools.known(&id, &plan, opener.is_some()) {
            return pool;
        }
        let opener = opener.map(|opener| Arc::new(opener()));
        route.pools.pool(id, Arc::new(plan), opener)
    }
}

/// The part of a plan that pools themselves go by.
fn plan_of_pool(plan: &PoolPlan) -> pool::PoolPlan {
    pool::PoolPlan {
        size: plan.size,
        min_size: plan.min_size,
        reserve_size: plan.reserve_size,
        reserve_timeout: plan.reserve_timeout,
        server_lifetime: plan.server_lifetime.unwrap_or(FOREVER),
        server_idle_timeout: plan.server_idle_timeout.unwrap_or(FOREVER),
        max_prepared_statements: plan.max_prepared_statements,
        login_retry: plan.login_retry,
        priority: plan.priority,
    }
}

/// Takes over from a client's own login: the connection is the pool's if it has
/// room, and the client's first.
pub(in super::super) fn adopt(
    startup: &StartupMessage,
    entry: &Entry,
    (route, wish): (Arc<Route>, Wish),
    ((stream, ahead), closing, taken): (Ahead, Closing, CapturedLogin),
) -> Welcomed {
    let pool = wish.pool(&route, startup, None);
    let opened = Opened {
        stream,
        ahead,
        key: taken.key,
        reported: taken.reported,
        notices: Bytes::new(),
    };
    let mut known = Parameters::default();
    for (name, value) in opened.reported.iter() {
        // A login that reports too much has failed before.
        let _ = known.set(name, value);
    }
    let client = entry.handle().id;
    let pid = opened.key.as_ref().map(CancelKey::pid);
    let idle_hold = Arc::default();
    let home = pool.adopt(client, opened, closing).map(|mut lease| {
        let _ = lease.give_to(client);
        known.unify(&lease.reported);
        lease.used_by(&idle_hold);
        let home = AnnouncedBackend {
            id: lease.id(),
            key: Arc::downgrade(&lease.key),
        };
        lease.check_in();
        home
    });
    Welcomed {
        route,
        pool,
        plan: wish.plan,
        cancel_slot: taken.cancel_slot,
        known,
        home,
        pid,
        idle_hold,
    }
}

/// Lets a client in whom the proxy has checked.
pub(in super::super) async fn welcome(
    client: &mut Admitted,
    user: &User,
    (entry, service): (&mut Entry, &Service),
    (route, wish): (Arc<Route>, Wish),
) -> Result<Welcomed, OpenFailure> {
    let (startup, key) = (&client.startup, &wish.key);
    let opener = &|| OpenerPlan {
        startup: startup.for_pool(key.user.as_bytes(), key.database.as_bytes()),
        user: user.upstream_user.clone(),
        password: user.upstream_password.clone(),
        password_key: user.upstream_password_key.clone(),
        channel_binding: route.upstream.config().channel_binding,
    };
    let pool = wish.pool(&route, startup, Some(opener));
    let deadline = Instant::now() + wish.plan.query_wait_timeout;
    let want = CheckoutRequest::new(entry.handle().id);
    let idle_hold = Arc::default();
    let introduced = {
        // Who has to wait hears of an outage as who comes anew does.
        let introduction = pin!(async {
            tokio::select! {
                biased;
                introduced = pool.introduce(want, &idle_hold, deadline) => introduced,
                fault = route.upstream.refuses_logins() => Err(LeaseError::Failed(fault)),
            }
        });
        let waiting = waits::noted(introduction, entry.handle(), service, || pool.wait());
        let waiting = pin!(waiting);
        while_client_stays(&mut client.stream, waiting).await?
    };
    let introduction = introduced.map_err(|error| match error {
        LeaseError::Refused { response, text } => OpenFailure::Refused { response, text },
        error => OpenFailure::Fault(error.fault_in(wish.plan.mode)),
    })?;

    let newest = client.startup.version() >= Version::NEWEST;
    let length = if newest { SECRET.1 } else { SECRET.0 };
    let cancel_slot = CancelSlot::new(entry.handle().id, Arc::clone(&route.upstream));
    let cancel_slot = Arc::new(cancel_slot);
    let key = entry.issue_cancel_key(CancelTarget::Pooled(Arc::clone(&cancel_slot)), || {
        let secret = (0..length).map(|_| rand::random()).collect();
        CancelKey::with_secret(introduction.pid, secret)
    });
    let mut greeting = Vec::with_capacity(GREETING);
    greeting.extend_from_slice(&backend::AUTHENTICATION_OK);
    greeting.extend_from_slice(&introduction.messages);
    backend::put_key_data(&mut greeting, &key);
    greeting.extend_from_slice(&backend::READY_IDLE);
    client
        .stream
        .send(&greeting)
        .await
        .map_err(|_| OpenFailure::Left)?;
    let upstream = &route.upstream.config().name;
    log_session!(info, entry.handle(), upstream, "session started");
    Ok(Welcomed {
        route,
        pool,
        plan: wish.plan,
        cancel_slot,
        known: introduction.parameters,
        home: Some(AnnouncedBackend {
            id: introduction.connection,
            key: introduction.key,
        }),
        pid: Some(introduction.pid),
        idle_hold,
    })
}
