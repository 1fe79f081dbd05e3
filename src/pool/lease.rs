//! A connection in the hands of one client.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::closing::UpstreamState;
use super::connection::{Connection, LeftBehind, Stale};
use super::idle_hold::IdleHold;
use super::pool_state::{CheckoutFailure, CloseReason, Counts};
use super::pools::Pool;
use crate::config::values::PoolMode;
use crate::fault::{ClientFacing, Fault, rounded};
use crate::wire::backend::error_field;
use crate::wire::frame::HEADER;
use crate::wire::sqlstate::SqlState;

/// Why a client gets no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LeaseError {
    /// In the server's own words: its whole ErrorResponse.
    #[error("the upstream refused the login: {text}")]
    Refused { response: Bytes, text: String },
    /// No connection could be made, for a reason that the proxy tells.
    #[error("{}", .0.message)]
    Failed(Fault),
    #[error("no connection became free in {:?} ({} in use, {} others waiting)", rounded(*waited), tally.lent, tally.waiting)]
    TimedOut {
        waited: Duration,
        tally: Counts,
        /// Of the pool.
        size: u32,
    },
    /// There is no connection, and only a client's own login can make one.
    #[error("the pool has no connection left, and the proxy cannot log in itself")]
    NoWay,
    #[error("no new connections are made any more")]
    Closed,
    /// As the server says it.
    #[error("canceling statement due to user request")]
    CalledOff,
}

impl ClientFacing for LeaseError {
    fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } => Fault::new(
                SqlState::INVALID_AUTHORIZATION,
                "upstream_refused",
                self.to_string(),
            ),
            Self::Failed(fault) => fault.clone(),
            Self::TimedOut { tally, size, .. } => Fault::new(
                SqlState::TOO_MANY_CONNECTIONS,
                "query_wait_timeout",
                "no upstream connection became free within query_wait_timeout",
            )
            .detail(format!(
                "{} of the pool's connections in use, {} other clients waiting.",
                tally.lent, tally.waiting
            ))
            .hint(relief(*tally, *size, PoolMode::Transaction)),
            Self::NoWay => Fault::new(
                SqlState::CONNECTION_FAILURE,
                "pool_no_way",
                self.to_string(),
            )
            .hint(
                "Connect again: with auth.mode \"passthrough\" only a client's own login \
                 opens connections.",
            ),
            Self::CalledOff => Fault::new(SqlState::QUERY_CANCELED, "called_off", self.to_string())
                .detail("It was waiting for a connection, and has not begun."),
            Self::Closed => Fault::new(SqlState::ADMIN_SHUTDOWN, "draining", self.to_string())
                .hint("Connect again: another instance, or this one after its restart."),
        }
    }
}

impl LeaseError {
    /// What the client is told to do about it, for the log.
    pub(super) fn cure(&self) -> Option<String> {
        match self {
            Self::Refused { response, .. } => {
                error_field(response.get(HEADER..).unwrap_or_default(), b'H')
            }
            other => other.fault().hint.map(Cow::into_owned),
        }
    }

    /// What a client of a pool in this mode is told.
    pub(crate) fn fault_in(&self, mode: PoolMode) -> Fault {
        match self {
            Self::TimedOut { tally, size, .. } => self.fault().hint(relief(*tally, *size, mode)),
            _ => self.fault(),
        }
    }
}

/// What stands in the way, as far as it is known here, and what helps.
const fn relief(tally: Counts, size: u32, mode: PoolMode) -> &'static str {
    if tally.lent < size {
        return "The pool may have more connections, and others have taken all that \
                limits.max_upstream_conn, max_user_connections or max_db_connections allow: \
                close idle sessions, or make other pools smaller.";
    }
    match mode {
        PoolMode::Session => {
            "A client of a session pool keeps its connection until it leaves, idle or not: \
             close idle clients, use mode \"transaction\", or raise the pool's size."
        }
        PoolMode::Transaction => {
            "Transactions are long, clients keep connections for their session state (the log \
             says `client keeps its connection`), or the pool is small: look for sessions that \
             are idle in transaction, or raise its size."
        }
        PoolMode::Statement => {
            "Statements are long, or the pool is small: look for slow ones, or raise its size."
        }
    }
}

/// What a waiter makes of [`CheckoutFailure::Login`] itself: it knows the pool.
impl From<CheckoutFailure> for LeaseError {
    fn from(failure: CheckoutFailure) -> Self {
        match failure {
            CheckoutFailure::Login | CheckoutFailure::NoWay => Self::NoWay,
            CheckoutFailure::Closed => Self::Closed,
        }
    }
}

/// Exclusive use of one connection by one client. Dropped, the connection is broken
/// off; its place is kept until the server has closed.
#[derive(Debug)]
#[must_use = "dropping a lease breaks the connection off"]
pub(crate) struct Lease {
    /// `None` only on its way out.
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
    /// It is entered as held.
    held: bool,
}

impl Lease {
    pub(super) fn new(connection: Box<Connection>, pool: Arc<Pool>, client: u64) -> Self {
        connection.key.lend_to(client);
        Self {
            connection: Some(connection),
            pool,
            held: false,
        }
    }

    /// Whether the connection is to be replaced as soon as it can be.
    pub(crate) fn is_old(&self) -> bool {
        self.can_be_replaced() && self.age() >= self.pool.plan.server_lifetime
    }

    /// Whether the proxy can open another in its place.
    pub(crate) fn can_be_replaced(&self) -> bool {
        self.pool.opener.is_some()
    }

    /// The client uses the connection from here on. Where only its own login could make
    /// it another, it is told if this one is lost later, on the shelf.
    pub(crate) fn used_by(&mut self, holder: &Arc<IdleHold>) {
        if self.can_be_replaced() {
            return;
        }
        let connection = &mut **self;
        holder.uses(connection.id);
        // The same one most of the time.
        if connection.last_client.as_ptr() != Arc::as_ptr(holder) {
            connection.last_client = Arc::downgrade(holder);
        }
    }

    /// Gives the connection back, between transactions and with everything read that
    /// the server has sent: to the next waiter, or to the shelf. A cancel that is on
    /// its way for it is waited for.
    pub(crate) fn check_in(mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.key.take_back() {
            self.pool.check_in(connection, self.held);
            return;
        }
        let pools = self.pool.pools().clone();
        self.connection = Some(connection);
        // Its client may have another by then.
        self.unlist();
        pools.spawn(async move {
            if let Some(connection) = &self.connection {
                connection.key.settled().await;
            }
            if let Some(connection) = self.connection.take() {
                self.pool.check_in(connection, self.held);
            }
        });
    }

    /// Ends a connection on which something is left that cannot be undone, unless it
    /// is the last one of clients who have no way to get another.
    pub(crate) fn retire(mut self) {
        let pool = Arc::clone(&self.pool);
        if pool
            .pools()
            .act(|room, _| room.pools.can_spare(pool.number))
        {
            self.end(UpstreamState::AtRest, CloseReason::Client);
        } else {
            if let Some(connection) = &mut self.connection {
                connection.left = LeftBehind::Full;
                connection.owner = None;
            }
            self.check_in();
        }
    }

    /// Ends the connection.
    pub(crate) fn close(mut self, state: UpstreamState) {
        self.end(state, CloseReason::Client);
    }

    /// Ends a connection that the server has ended while nobody needed it.
    pub(crate) fn lost(mut self) {
        self.end(UpstreamState::Torn, CloseReason::Lost);
    }

    /// Ends a connection that was found to be of no use on the shelf.
    pub(super) fn lose(&mut self, stale: Stale) {
        if stale == Stale::Ended {
            let meant = self.pool.pools().expects_terminations();
            self.tell_of_loss(meant);
        }
        self.end(UpstreamState::Torn, CloseReason::Lost);
    }

    fn end(&mut self, state: UpstreamState, reason: CloseReason) {
        if let Some(connection) = self.connection.take() {
            connection.key.take_back();
            self.pool.close((connection, self.held), state, reason);
        }
    }

    /// Whether nobody waits for a place under the cap, who could be given this one's.
    pub(crate) fn is_uncontested(&self) -> bool {
        !self.pool.pools().inner().limiter.is_crowded()
    }

    /// The client keeps the connection though it is idle: it can be asked for it.
    /// If somebody waits already, `idle_hold` is asked before this returns.
    pub(crate) fn hold(&mut self, holder: &Arc<IdleHold>) {
        if self.held && holder.rest() {
            return;
        }
        let Some(connection) = &self.connection else {
            return;
        };
        let (pool, id) = (connection.pool, connection.id);
        self.held = true;
        self.pool.pools().act(|room, out| {
            holder.list();
            room.holders.insert(id, (pool, Arc::clone(holder)));
            room.pools.hold(pool, id, Instant::now(), out);
        });
    }

    /// The client uses it again: it cannot be asked.
    pub(crate) fn resume(&mut self, holder: &IdleHold) {
        if self.held && !holder.resume() {
            self.unlist();
        }
    }

    /// The books forget that the connection is kept; whoever it was asked for, another
    /// is asked.
    fn unlist(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.held) else {
            return;
        };
        let (pool, id) = (connection.pool, connection.id);
        self.held = false;
        self.pool.pools().act(|room, out| {
            room.unlist(id);
            room.pools.used(pool, id, Instant::now(), out);
        });
    }

    /// The answer of one that was asked and cannot give it away. It is not asked again
    /// until it has resumed and held anew.
    pub(crate) fn refuse(&self, holder: &IdleHold) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.held) else {
            return;
        };
        let (pool, id) = (connection.pool, connection.id);
        self.pool.pools().act(|room, out| {
            holder.unlist();
            room.pools.refuse(pool, id, Instant::now(), out);
        });
        self.pool.pools().gone();
    }
}

#[expect(clippy::expect_used, reason = "taken out by what consumes the lease")]
impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_deref()
            .expect("a lease has a connection")
    }
}

#[expect(clippy::expect_used, reason = "taken out by what consumes the lease")]
impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
            .as_deref_mut()
            .expect("a lease has a connection")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end(UpstreamState::Torn, CloseReason::Client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_about_what_keeps_the_connections() {
        let hint = |lent, mode| {
            let tally = Counts {
                lent,
                ..Counts::default()
            };
            let (waited, size) = (Duration::ZERO, 2);
            let error = LeaseError::TimedOut {
                waited,
                tally,
                size,
            };
            error.fault_in(mode).hint.unwrap().into_owned()
        };
        assert!(hint(2, PoolMode::Session).contains("until it leaves, idle or not"));
        assert!(hint(2, PoolMode::Transaction).contains("idle in transaction"));
        assert!(!hint(2, PoolMode::Statement).contains("ransaction"));
        assert!(hint(1, PoolMode::Session).contains("max_upstream_conn"));
    }
}
