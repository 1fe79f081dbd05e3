//! What the allocator is asked, what it answers, and what it counts.

use std::thread::ThreadId;
use std::time::Duration;

use tokio::time::Instant;

use super::limits::BlockedBy;
use crate::config::values::Priority;
use crate::pool::idle_hold::ReclaimPolicy;
use crate::pool::ids::{ConnectionId, LoginNumber, PoolNumber, Ticket};
use crate::pool::key::Key;
use crate::pool::plan::CheckoutRequest;

/// What the books want to know of a connection.
pub(crate) trait PooledConnection {
    fn id(&self) -> ConnectionId;
    /// The client whose state may still be on it, or that expects to find it.
    fn owner(&self) -> Option<u64>;
    /// Where it is registered.
    fn thread(&self) -> ThreadId;
    fn opened_at(&self) -> Instant;
    /// Whether the client may have it at all.
    fn suits(&self, want: &CheckoutRequest) -> bool;
}

/// Why a connection is closed; label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// Older than `server_lifetime`.
    Lifetime,
    /// Unused for `server_idle_timeout`.
    Idle,
    /// Its place was needed, and nobody used it.
    Evicted,
    /// Its place was due to somebody else, though others of the pool wait.
    GaveWay,
    /// Somebody needs the database to be free of connections.
    Vacated,
    /// New logins begin with other settings, and no client of old is left.
    Retired,
    Shutdown,
    /// The server had closed it, or spoke out of turn.
    Lost,
    /// By the client that had it.
    Client,
}

impl CloseReason {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Idle => "idle_timeout",
            Self::Evicted => "evicted",
            Self::GaveWay => "gave_way",
            Self::Vacated => "vacated",
            Self::Retired => "retired",
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
            Self::Client => "client",
        }
    }
}

/// Why a waiter gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckoutFailure {
    /// The login failed for a reason that will not pass.
    Login,
    /// There is no connection, and none can be made.
    NoWay,
    Closed,
}

/// What has to be done, in this order.
#[derive(Debug)]
pub(crate) enum Effect<C> {
    Deliver(Ticket, C),
    /// A client has a place for a connection of its own.
    Admit(Ticket, Key, Option<LoginNumber>),
    Fail(Ticket, CheckoutFailure),
    /// One more connection for this pool is to be opened. It has its place, and is counted.
    Open(PoolNumber),
    /// Counted as closing from here on.
    Close(PoolNumber, C, CloseReason),
    /// The client that keeps this one is asked for it. If it turns out to use it, or to
    /// have used it not long ago: `Allocator::used`, `Allocator::touched`.
    Ask(ConnectionId, ReclaimPolicy),
    /// No client can find this pool any more.
    Retire(PoolNumber),
}

pub(crate) type Effects<C> = Vec<Effect<C>>;

/// Answer to a client.
#[derive(Debug)]
#[must_use]
pub(crate) enum CheckoutAnswer<C> {
    Taken(C),
    Queued(Ticket),
    Failed(CheckoutFailure),
}

/// Numbers of a shelf, or of all shelves of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Out with clients, held ones included.
    pub(crate) lent: u32,
    pub(crate) idle: u32,
    /// Openers, with a slot or without.
    pub(crate) opening: u32,
    /// Those of them that wait for a slot.
    pub(crate) queued: u32,
    pub(crate) closing: u32,
    pub(crate) waiting: u32,
}

impl Counts {
    pub(crate) const fn total(&self) -> u32 {
        self.lent + self.idle + self.opening + self.closing
    }

    /// Connections there are, or will be without anybody else's doing.
    pub(super) const fn has(&self) -> u32 {
        self.total()
            .saturating_sub(self.closing)
            .saturating_sub(self.queued)
    }

    /// Places under the cap that these take.
    pub(super) const fn placed(&self) -> u32 {
        self.total().saturating_sub(self.queued)
    }

    /// Waiters for whom no opener is at work with a slot.
    pub(super) const fn starved(&self) -> u32 {
        self.waiting
            .saturating_sub(self.opening.saturating_sub(self.queued))
    }
}

/// Which group a shelf is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupNumber(pub(super) u32);

/// What an allocator still does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No place is given any more: connections that are there go from hand to hand.
    Draining,
    /// Connections that come back are closed.
    Closed,
}

/// Somebody who waits for a place, as those see it that can make room.
#[derive(Debug, Clone)]
pub(super) struct CompetingWaiter {
    pub(super) key: Key,
    pub(super) blocked_by: BlockedBy,
    /// The pool that wants it; `None` is a client with a connection of its own.
    pub(super) pool: Option<PoolNumber>,
    pub(super) priority: Priority,
    pub(super) waited: Duration,
    /// What its key has, in pools or not.
    pub(super) has: u32,
}

impl CompetingWaiter {
    /// Whether a place that a connection of `key` gives up would be of use.
    pub(super) fn is_helped_by(&self, key: &Key) -> bool {
        match self.blocked_by {
            BlockedBy::Total => true,
            BlockedBy::User => self.key.user == key.user,
            BlockedBy::Database => self.key.database == key.database,
        }
    }
}
