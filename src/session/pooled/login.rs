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
use super::super::new_session::{Ahead, NewSession, OpenFailure, while_client_stays};
use super::super::registry::{CancelSlot, CancelTarget};
use super::super::service::Route;
use super::super::wait_log;
use super::backend_pid::AnnouncedBackend;
use crate::config::values::{PoolPlan, User};
use crate::pool::{
    self, CheckoutRequest, Closing, IdleHold, Key, LeaseError, OpenerPlan, PoolHandle, PoolId,
};
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
pub(in super::super) struct PoolRequest {
    pub(in super::super) key: Key,
    pub(in super::super) plan: Arc<PoolPlan>,
}

/// A client that is logged in.
#[derive(Debug)]
pub(in super::super) struct PooledLogin {
    pub(super) route: Arc<Route>,
    pub(super) pool: PoolHandle,
    pub(super) plan: Arc<PoolPlan>,
    pub(super) cancel_slot: Arc<CancelSlot>,
    /// What the client has been told.
    pub(super) known: Parameters,
    /// The process that the client has been told, and its connection.
    pub(super) announced: AnnouncedBackend,
    /// How its pool reaches it.
    pub(super) idle_hold: Arc<IdleHold>,
}

impl PoolRequest {
    /// The pool that serves it: its connections begin as the client's would.
    fn pool(
        &self,
        route: &Route,
        startup: &StartupMessage,
        opener: Option<&dyn Fn() -> OpenerPlan>,
    ) -> PoolHandle {
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
    session: &NewSession<'_>,
    request: PoolRequest,
    (stream, ahead): Ahead,
    closing: Closing,
    captured: CapturedLogin,
) -> PooledLogin {
    let route = Arc::clone(&session.route);
    let pool = request.pool(&route, &session.client.startup, None);
    let opened = Opened {
        stream,
        ahead,
        key: captured.key,
        reported: captured.reported,
        notices: Bytes::new(),
    };
    let mut known = Parameters::default();
    for (name, value) in opened.reported.iter() {
        // A login that reports too much has failed before.
        let _ = known.set(name, value);
    }
    let client = session.entry.handle().id;
    let pid = opened.key.as_ref().map(CancelKey::pid);
    let idle_hold = Arc::default();
    let connection = pool.adopt(client, opened, closing).map(|mut lease| {
        let _ = lease.give_to(client);
        known.unify(&lease.reported);
        lease.used_by(&idle_hold);
        let connection = (lease.id(), Arc::downgrade(&lease.key));
        lease.check_in();
        connection
    });
    PooledLogin {
        route,
        pool,
        plan: request.plan,
        cancel_slot: captured.cancel_slot,
        known,
        announced: AnnouncedBackend::new(pid, connection),
        idle_hold,
    }
}

/// Lets a client in whom the proxy has checked.
pub(in super::super) async fn log_in(
    session: NewSession<'_>,
    user: &User,
    request: PoolRequest,
) -> Result<PooledLogin, OpenFailure> {
    let NewSession {
        client,
        entry,
        service,
        route,
    } = session;
    let (startup, key) = (&client.startup, &request.key);
    let opener = &|| OpenerPlan {
        startup: startup.for_pool(key.user.as_bytes(), key.database.as_bytes()),
        user: user.upstream_user.clone(),
        password: user.upstream_password.clone(),
        password_key: user.upstream_password_key.clone(),
        channel_binding: route.upstream.config().channel_binding,
    };
    let pool = request.pool(&route, startup, Some(opener));
    let deadline = Instant::now() + request.plan.query_wait_timeout;
    let checkout = CheckoutRequest::new(entry.handle().id);
    let idle_hold = Arc::default();
    let introduced = {
        // Who has to wait hears of an outage as who comes anew does.
        let introduction = pin!(async {
            tokio::select! {
                biased;
                introduced = pool.introduce(checkout, &idle_hold, deadline) => introduced,
                fault = route.upstream.refuses_logins() => Err(LeaseError::Failed(fault)),
            }
        });
        let waiting = wait_log::noted(introduction, entry.handle(), service, || pool.wait());
        let waiting = pin!(waiting);
        while_client_stays(&mut client.stream, waiting).await?
    };
    let introduction = introduced.map_err(|error| match error {
        LeaseError::Refused { response, text } => OpenFailure::Refused { response, text },
        error => OpenFailure::Fault(error.fault_in(request.plan.mode)),
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
    Ok(PooledLogin {
        route,
        pool,
        plan: request.plan,
        cancel_slot,
        known: introduction.parameters,
        announced: AnnouncedBackend::new(
            Some(introduction.pid),
            Some((introduction.connection, introduction.key)),
        ),
        idle_hold,
    })
}
