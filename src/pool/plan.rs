//! What a pool is told about itself: plain values.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use bytes::Bytes;

use super::ids::ConnectionId;
use crate::config::values::{ChannelBinding, Priority};
use crate::name::Name;
use crate::secret::Secret;
use crate::wire::startup::StartupMessage;

/// The limits and habits of one pool. Sizes are for all startup parameters of a
/// user and database together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolPlan {
    /// Connections, those that are being opened and closed included.
    pub(crate) size: u32,
    /// Connections that are kept open, and not taken away for others' sake unless
    /// those have none at all.
    pub(crate) min_size: u32,
    /// Connections beyond `size` once a client has waited for `reserve_timeout`.
    pub(crate) reserve_size: u32,
    pub(crate) reserve_timeout: Duration,
    /// Age at which a connection is closed instead of being used again.
    pub(crate) server_lifetime: Duration,
    /// Time without use after which a connection is closed.
    pub(crate) server_idle_timeout: Duration,
    /// Named statements that a connection keeps.
    pub(crate) max_prepared_statements: usize,
    /// Longest pause between logins that fail.
    pub(crate) login_retry: Duration,
    /// Against other pools and clients of the same upstream, where the cap is reached.
    pub(crate) priority: Priority,
}

/// What makes two clients' connections interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolId {
    /// Both as the upstream knows them.
    pub(crate) user: Name,
    pub(crate) database: Name,
    /// Canonical encoding of the other startup parameters: they are what RESET
    /// goes back to.
    pub(crate) startup: Bytes,
    /// See [`Pools::generation`](super::Pools::generation).
    pub(crate) generation: u32,
}

/// How a pool makes connections of its own.
#[derive(Debug, Clone)]
pub(crate) struct OpenerPlan {
    /// As it is sent, user and database included.
    pub(crate) startup: StartupMessage,
    /// The user of `startup`, for authentication.
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    /// Where that is written, for messages.
    pub(crate) password_key: String,
    pub(crate) channel_binding: ChannelBinding,
}

/// `None`: the proxy cannot log in itself, connections come from clients' own
/// logins alone.
pub(crate) type Opener = Option<Arc<OpenerPlan>>;

/// Names of custom settings.
pub(crate) type Placeholders = BTreeSet<Box<[u8]>>;

/// What a client asks of a connection.
#[derive(Debug, Clone)]
pub(crate) struct CheckoutRequest {
    pub(crate) client: u64,
    /// The connection it used last.
    pub(crate) prefer: Option<ConnectionId>,
    /// Among the clients of its pool.
    pub(crate) priority: Priority,
    /// The custom settings that it has ever set itself: it must not see others',
    /// which cannot be removed from a connection. `None` is none.
    pub(crate) placeholders: Option<Arc<Placeholders>>,
    thread: ThreadId,
    newcomer: bool,
}

impl CheckoutRequest {
    /// Of a session that lives on the calling thread.
    pub(crate) fn new(client: u64) -> Self {
        Self {
            client,
            prefer: None,
            priority: Priority::Medium,
            placeholders: None,
            thread: std::thread::current().id(),
            newcomer: false,
        }
    }

    /// Of a client that is to be told of the connection: of none that another takes for
    /// its own.
    pub(super) const fn of_newcomer(mut self) -> Self {
        self.newcomer = true;
        self
    }

    pub(super) const fn is_newcomer(&self) -> bool {
        self.newcomer
    }

    pub(crate) const fn thread(&self) -> ThreadId {
        self.thread
    }

    /// Whether a connection with these custom settings shows nothing of others.
    pub(crate) fn tolerates(&self, placeholders: &Placeholders) -> bool {
        placeholders.is_empty()
            || self
                .placeholders
                .as_ref()
                .is_some_and(|own| placeholders.is_subset(own))
    }
}
