//! Logging a new client in: into a pool, or over a connection of its own.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::handle::{Activity, log_session};
use super::login::{CapturedLogin, LoginPlan, log_client_in};
use super::new_session::{Ahead, NewSession, OpenFailure, while_client_stays};
use super::pooled::{self, PoolRequest, PooledLogin};
use super::registry::CancelSlot;
use super::wait_log;
use crate::config::values::Priority;
use crate::fault::ClientFacing as _;
use crate::name::Name;
use crate::net::framed::Framed;
use crate::pool::{CapPlace, Closing, Key};
use crate::startup::Identity;

/// A client that is logged in.
pub(super) enum LoggedIn {
    /// With a connection of its own.
    Direct {
        upstream: Ahead,
        closing: Closing,
    },
    Pooled(Box<PooledLogin>),
}

/// Which connection a client is to log in over.
struct ConnectionRequest<'a> {
    key: Key,
    priority: Priority,
    /// The database to ask for, where it is not what the client asked for.
    dbname: Option<&'a Name>,
    /// Filled in, if the connection is for a pool.
    captured: Option<&'a mut CapturedLogin>,
}

impl NewSession<'_> {
    /// Logs the client in. The slow path is boxed, so that a login into a warm pool keeps
    /// its future small.
    pub(super) async fn open(mut self) -> Result<LoggedIn, OpenFailure> {
        let route = Arc::clone(&self.route);
        let (client, service) = (&*self.client, self.service);
        let handle = Arc::clone(self.entry.handle());
        let (presented, asked) = (&handle.user, &handle.database);
        let dbname = service.database(client, asked, &route.upstream);
        let key = Key {
            user: match &client.identity {
                Identity::Relayed => presented.clone(),
                Identity::Held(user) => presented.or(&user.upstream_user),
            },
            database: dbname.clone().unwrap_or_else(|| asked.clone()),
        };
        let plan = match client.startup.is_replication() {
            true => None,
            false => {
                let pooling = &service.pooling;
                pooling.plan(asked, &key.database, presented, &key.user)
            }
        };
        let Some(plan) = plan else {
            let request = ConnectionRequest {
                key,
                priority: service.pooling.priority(presented),
                dbname: dbname.as_ref(),
                captured: None,
            };
            let (upstream, closing) = Box::pin(self.log_in(request)).await?;
            return Ok(LoggedIn::Direct { upstream, closing });
        };
        handle.set_pooled();
        self.entry.set_limits(plan.timeouts);
        let request = PoolRequest { key, plan };
        if let Identity::Held(user) = &client.identity {
            let user = Arc::clone(user);
            let login = pooled::log_in(self, &user, request).await?;
            return Ok(LoggedIn::Pooled(Box::new(login)));
        }
        let cancel_slot = CancelSlot::new(handle.id, Arc::clone(&route.upstream));
        let mut captured = CapturedLogin::new(Arc::new(cancel_slot));
        let connection = ConnectionRequest {
            key: request.key.clone(),
            priority: request.plan.priority,
            dbname: dbname.as_ref(),
            captured: Some(&mut captured),
        };
        let (upstream, closing) = Box::pin(self.log_in(connection)).await?;
        let login = pooled::adopt(&self, request, upstream, closing, captured);
        Ok(LoggedIn::Pooled(Box::new(login)))
    }

    /// Logs the client in over a connection of its own.
    async fn log_in(
        &mut self,
        request: ConnectionRequest<'_>,
    ) -> Result<(Ahead, Closing), OpenFailure> {
        // Waiting for others is not the client's slowness: its time stands still.
        let time_left = self
            .client
            .login_deadline
            .saturating_duration_since(Instant::now());
        let place = self.wait_for_place(request.key, request.priority).await?;
        let Self {
            client,
            entry,
            service,
            route,
        } = self;
        entry.handle().set_activity(Activity::LoggingIn);
        let connecting = pin!(route.upstream.connect());
        let stream = while_client_stays(&mut client.stream, connecting)
            .await?
            .map_err(|error| OpenFailure::Fault(error.fault()))?;
        client.login_deadline = Instant::now() + time_left;

        let mut closing = Closing::new(place, Arc::clone(&route.upstream));
        let tls = stream.tls_version();
        let mut upstream = Framed::new(stream);
        let plan = LoginPlan {
            upstream: &route.upstream,
            dbname: request.dbname,
            sasl_plus: service.sasl_plus,
            probation: closing.probation(),
            captured: request.captured,
        };
        match log_client_in(client, &mut upstream, entry, plan).await {
            Ok(()) => {
                closing.proven();
                let upstream_name = &route.upstream.config().name;
                log_session!(
                    info,
                    entry.handle(),
                    upstream = upstream_name,
                    tls,
                    "session started",
                );
                Ok((upstream.into_parts(), closing))
            }
            Err(failure) => Err(OpenFailure::Login {
                failure,
                upstream: upstream.into_parts().0,
                closing,
            }),
        }
    }

    /// Waits for a place under the cap.
    async fn wait_for_place(
        &mut self,
        key: Key,
        priority: Priority,
    ) -> Result<CapPlace, OpenFailure> {
        let metrics = self.route.upstream.metrics();
        let began = Instant::now();
        let deadline = began + self.service.query_wait_timeout;
        let outcome = {
            let _waiting = metrics.waiting();
            let pools = &self.route.pools;
            let wait = || pools.wait_of(&key);
            let is_proven = matches!(self.client.identity, Identity::Held(_));
            let terms = (priority, is_proven);
            let admission = pin!(pools.admit(key.clone(), terms, deadline));
            let handle = self.entry.handle();
            let waiting = pin!(wait_log::noted(admission, handle, self.service, wait));
            while_client_stays(&mut self.client.stream, waiting).await?
        };
        metrics.waited(began.elapsed());
        match outcome {
            Ok(permit) => Ok(CapPlace::new(permit, metrics.connection())),
            Err(refusal) => Err(OpenFailure::Fault(refusal.fault())),
        }
    }
}
