//! A place under the caps, given back on drop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::allocator::{BlockedBy, Silence};
use super::ids::{LoginNumber, PoolNumber};
use super::key::Key;
use crate::fault::{ClientFacing, Fault, rounded};
use crate::pool::timing::SILENCE_CHECK;
use crate::wire::sqlstate::SqlState;

/// Who counts the places.
pub(super) trait PlaceCounter: fmt::Debug + Send + Sync {
    fn release(self: Arc<Self>, place: Place);
    fn proven(self: Arc<Self>, login: LoginNumber);
    fn awaits_client(&self, login: LoginNumber, awaits: bool);
    fn silence(&self, login: LoginNumber) -> Option<Silence>;
}

/// One place, as it is counted.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) key: Key,
    /// The pool that counts the connection as closing.
    pub(super) pool: Option<PoolNumber>,
    /// While nobody vouches for the client. Of a login that failed until the server has
    /// let go: others are not to lose a connection for the next before.
    pub(super) login: Option<LoginNumber>,
}

/// The right to one connection. Held from before the dial until the server has let go.
#[derive(Debug)]
#[must_use = "dropping a permit gives the place back"]
pub(crate) struct Permit {
    counter: Arc<dyn PlaceCounter>,
    /// `None` only while dropping.
    place: Option<Box<Place>>,
    probation: Option<Probation>,
}

/// A login whose client has proven nothing yet.
#[derive(Debug)]
pub(crate) struct Probation {
    counter: Arc<dyn PlaceCounter>,
    login: LoginNumber,
}

impl Permit {
    pub(super) fn new(
        counter: Arc<dyn PlaceCounter>,
        key: Key,
        login: Option<LoginNumber>,
    ) -> Self {
        let probation = login.map(|login| Probation {
            counter: Arc::clone(&counter),
            login,
        });
        let place = Place {
            key,
            pool: None,
            login,
        };
        Self {
            counter,
            place: Some(Box::new(place)),
            probation,
        }
    }

    /// The connection is one of this pool, which counts it until it has closed.
    pub(super) fn joins(&mut self, pool: PoolNumber) {
        if let Some(place) = &mut self.place {
            place.pool = Some(pool);
        }
    }

    pub(super) const fn probation(&self) -> Option<&Probation> {
        self.probation.as_ref()
    }

    /// The server is satisfied with the client.
    pub(super) fn proven(&mut self) {
        if let Some(probation) = self.probation.take()
            && let Some(place) = &mut self.place
        {
            place.login = None;
            Arc::clone(&self.counter).proven(probation.login);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            Arc::clone(&self.counter).release(*place);
        }
    }
}

impl Probation {
    /// Whether it is the client's turn.
    pub(crate) fn awaits_client(&self, awaits: bool) {
        self.counter.awaits_client(self.login, awaits);
    }

    /// Completes when the client has been silent for too long.
    pub(crate) async fn outstayed(&self) -> Silence {
        loop {
            sleep(SILENCE_CHECK).await;
            if let Some(silence) = self.counter.silence(self.login) {
                return silence;
            }
        }
    }
}

/// Why nobody was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// SQLSTATE 53300.
    #[error("no connection became free in {:?} ({in_use} in use, {waiting} others waiting)", rounded(*waited))]
    TimedOut {
        waited: Duration,
        /// The cap that stood in the way at the end.
        blocked_by: BlockedBy,
        in_use: u32,
        waiting: usize,
    },
    /// SQLSTATE 57P01: the proxy is going down.
    #[error("no new connections are made any more")]
    Closed,
}

impl ClientFacing for Refusal {
    fn fault(&self) -> Fault {
        match self {
            Self::TimedOut {
                blocked_by,
                in_use,
                waiting,
                ..
            } => Fault::new(
                SqlState::TOO_MANY_CONNECTIONS,
                "query_wait_timeout",
                "no upstream connection became free within query_wait_timeout",
            )
            .detail(format!("{in_use} in use, {waiting} other clients waiting."))
            .hint(match blocked_by {
                BlockedBy::Total => {
                    "All connections of limits.max_upstream_conn are in use: close idle \
                     sessions, or raise it if the cluster's limit permits."
                }
                BlockedBy::User => {
                    "The user is at limits.max_user_connections: close idle sessions of \
                     this user, or raise it."
                }
                BlockedBy::Database => {
                    "The database is at limits.max_db_connections: close idle sessions to \
                     it, or raise it."
                }
            }),
            Self::Closed => Fault::new(SqlState::ADMIN_SHUTDOWN, "draining", self.to_string())
                .hint("Connect again: another instance, or this one after its restart."),
        }
    }
}
