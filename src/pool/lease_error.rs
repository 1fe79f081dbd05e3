//! Why a client gets no connection, and what it is told.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::allocator::{CheckoutFailure, Counts};
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
