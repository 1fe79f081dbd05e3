//! One session as others see it: what it is doing and since when, and the orders
//! that it is given.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

use crate::config::values::Timeouts;
use crate::fault::Fault;
use crate::name::Name;
use crate::net::Peer;
use crate::pool::Pool;
use crate::wire::ledger::Ledger;
use crate::wire::sqlstate::SqlState;

/// Logs an event of a session: all of them say in the same way which one it is.
macro_rules! log_session {
    ($level:ident, $handle:expr, $($rest:tt)+) => {{
        let handle: &$crate::session::Handle = $handle;
        ::tracing::$level!(
            session = handle.id,
            client = %handle.peer,
            user = &*handle.user.to_string(),
            database = &*handle.database.to_string(),
            $($rest)+
        )
    }};
}
pub(crate) use log_session;

/// What a session is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopOrder {
    /// End when nothing is owed and no transaction is open.
    Drain,
    /// End, if that is still so.
    TimedOut(Limit),
    /// End now.
    End,
}

/// A limit on how long something may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Query,
    Transaction,
    IdleTransaction,
    ClientIdle,
}

impl Limit {
    const ALL: [Self; 4] = [
        Self::Query,
        Self::Transaction,
        Self::IdleTransaction,
        Self::ClientIdle,
    ];

    /// The setting, which is also the label of the metric.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Query => "query_timeout",
            Self::Transaction => "transaction_timeout",
            Self::IdleTransaction => "idle_transaction_timeout",
            Self::ClientIdle => "client_idle_timeout",
        }
    }

    /// What the client is told.
    pub(crate) fn fault(self) -> Fault {
        let (sqlstate, text) = match self {
            Self::Query => (
                SqlState::QUERY_CANCELED,
                "terminating connection due to query_timeout",
            ),
            Self::Transaction => (
                SqlState::TRANSACTION_TIMEOUT,
                "terminating connection due to transaction_timeout",
            ),
            Self::IdleTransaction => (
                SqlState::IDLE_IN_TRANSACTION_TIMEOUT,
                "terminating connection due to idle_transaction_timeout",
            ),
            Self::ClientIdle => (
                SqlState::IDLE_SESSION_TIMEOUT,
                "terminating connection due to client_idle_timeout",
            ),
        };
        Fault::new(sqlstate, self.name(), text)
    }

    const fn of(self, timeouts: &Timeouts) -> Option<Duration> {
        match self {
            Self::Query => timeouts.query,
            Self::Transaction => timeouts.transaction,
            Self::IdleTransaction => timeouts.idle_transaction,
            Self::ClientIdle => timeouts.client_idle,
        }
    }
}

impl StopOrder {
    const fn code(self) -> u8 {
        match self {
            Self::Drain => 1,
            Self::End => 2,
            Self::TimedOut(limit) => 3 + limit as u8,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Self::Drain),
            2 => Some(Self::End),
            code => {
                let limit = Limit::ALL.get(usize::from(code - 3))?;
                Some(Self::TimedOut(*limit))
            }
        }
    }
}

/// What a session is doing, for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Activity {
    Waiting,
    LoggingIn,
    Idle,
    Active,
    /// In a transaction, with nothing asked.
    IdleInTransaction,
    /// For a place among the clients that may keep a connection.
    WaitingToPin,
}

impl Activity {
    /// Of a session with a connection.
    pub(crate) fn of(ledger: &Ledger) -> Self {
        if !ledger.owes_nothing() {
            Self::Active
        } else if ledger.is_quiescent() {
            Self::Idle
        } else {
            Self::IdleInTransaction
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting for a connection",
            Self::WaitingToPin => "waiting to keep a connection",
            Self::LoggingIn => "logging in",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::IdleInTransaction => "idle in transaction",
        })
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: u64,
    pub(crate) user: Name,
    pub(crate) database: Name,
    pub(crate) peer: Peer,
    activity: AtomicU8,
    /// It has a connection only while it does something.
    pooled: AtomicBool,
    /// Where it waits for connections once it is logged in, and how often it has.
    pool: OnceLock<Arc<Pool>>,
    pool_waits: AtomicU32,
    /// Milliseconds from `began` to the beginning of the activity, and of the
    /// transaction; kept only where there are limits.
    since: AtomicU64,
    transaction_since: AtomicU64,
    began: Instant,
    limits: OnceLock<Timeouts>,
    /// Zero, or an [`StopOrder::code`].
    order: AtomicU8,
    waker: AtomicWaker,
}

impl Handle {
    pub(crate) fn new(id: u64, user: Name, database: Name, peer: Peer) -> Self {
        Self {
            id,
            user,
            database,
            peer,
            activity: AtomicU8::new(Activity::Waiting as u8),
            pooled: AtomicBool::new(false),
            pool: OnceLock::new(),
            pool_waits: AtomicU32::new(0),
            since: AtomicU64::new(0),
            transaction_since: AtomicU64::new(0),
            began: Instant::now(),
            limits: OnceLock::new(),
            order: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Limits that hold from here on; once a session.
    pub(super) fn set_limits(&self, limits: Timeouts) {
        let _ = self.limits.set(limits);
    }

    pub(super) fn has_limits(&self) -> bool {
        self.limits.get().is_some()
    }

    /// Called by the session's own task at each turn; the task is woken when an
    /// order comes, and again when another follows.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Option<StopOrder> {
        let order = self.order();
        if order == Some(StopOrder::End) {
            return order;
        }
        self.waker.register(cx.waker());
        // An order given in between was given to the old waker.
        match self.order() {
            Some(StopOrder::TimedOut(limit)) if self.overdue() != Some(limit) => {
                let code = StopOrder::TimedOut(limit).code();
                let unless_replaced =
                    self.order
                        .compare_exchange(code, 0, Ordering::AcqRel, Ordering::Relaxed);
                unless_replaced.err().and_then(StopOrder::from_code)
            }
            order => order,
        }
    }

    /// Completes when any order has been given.
    pub(crate) async fn ordered(&self) -> StopOrder {
        poll_fn(|cx| self.poll_order(cx).map_or(Poll::Pending, Poll::Ready)).await
    }

    fn order(&self) -> Option<StopOrder> {
        StopOrder::from_code(self.order.load(Ordering::Acquire))
    }

    pub(crate) fn give(&self, order: StopOrder) {
        let given = self
            .order
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |code| {
                let replaces = match (StopOrder::from_code(code), order) {
                    (None, _) | (_, StopOrder::End) => true,
                    (Some(StopOrder::End | StopOrder::Drain), _) => false,
                    (Some(StopOrder::TimedOut(_)), order) => order == StopOrder::Drain,
                };
                replaces.then(|| order.code())
            });
        if given.is_ok() {
            self.waker.wake();
        }
    }

    pub(crate) fn set_activity(&self, activity: Activity) {
        let before = self.activity.swap(activity as u8, Ordering::Relaxed);
        if self.limits.get().is_none() {
            return;
        }
        let now = self.now();
        self.since.store(now, Ordering::Relaxed);
        if !in_transaction(before) && in_transaction(activity as u8) {
            self.transaction_since.store(now, Ordering::Relaxed);
        }
    }

    /// Its connections are those of a pool.
    pub(super) fn set_pooled(&self) {
        self.pooled.store(true, Ordering::Relaxed);
    }

    /// The pool that it has connections of; once a session.
    pub(super) fn set_pool(&self, pool: &Arc<Pool>) {
        let _ = self.pool.set(Arc::clone(pool));
    }

    /// A wait for a connection of its pool begins.
    pub(super) fn wait_for_pool(&self) {
        self.set_activity(Activity::Waiting);
        self.pool_waits.fetch_add(1, Ordering::Relaxed);
    }

    /// The pool that it waits for now, and the number of the wait.
    pub(super) fn awaited_pool(&self) -> Option<(&Pool, u32)> {
        let pool = self.pool.get()?;
        let wait = self.pool_waits.load(Ordering::Relaxed);
        (self.activity() == Activity::Waiting).then_some((pool, wait))
    }

    /// Whether it has a connection to the upstream, as far as its activity shows: one of
    /// a pool that it keeps in idleness does not.
    pub(super) fn has_connection(&self) -> bool {
        match self.activity() {
            Activity::Waiting | Activity::WaitingToPin => false,
            Activity::Idle => !self.pooled.load(Ordering::Relaxed),
            Activity::LoggingIn | Activity::Active | Activity::IdleInTransaction => true,
        }
    }

    pub(crate) fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) {
            0 => Activity::Waiting,
            1 => Activity::LoggingIn,
            2 => Activity::Idle,
            3 => Activity::Active,
            4 => Activity::IdleInTransaction,
            _ => Activity::WaitingToPin,
        }
    }

    /// The limit that the session has exceeded.
    pub(super) fn overdue(&self) -> Option<Limit> {
        let left = |limit: &Limit| self.left_of(*limit);
        Limit::ALL
            .into_iter()
            .find(|limit| left(limit) == Some(Duration::ZERO))
    }

    /// How long at least until it has exceeded one.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = |limit: Limit| self.left_of(limit);
        Limit::ALL.into_iter().filter_map(left).min()
    }

    /// All of it while nothing lasts that it limits; `None`: there is no such limit.
    fn left_of(&self, limit: Limit) -> Option<Duration> {
        let bound = limit.of(self.limits.get()?)?;
        let since = match (limit, self.activity()) {
            (Limit::Query, Activity::Active)
            | (Limit::IdleTransaction, Activity::IdleInTransaction)
            | (Limit::ClientIdle, Activity::Idle) => &self.since,
            (Limit::Transaction, Activity::Active | Activity::IdleInTransaction) => {
                &self.transaction_since
            }
            _ => return Some(bound),
        };
        let lasted = self.now().saturating_sub(since.load(Ordering::Relaxed));
        Some(bound.saturating_sub(Duration::from_millis(lasted)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

const fn in_transaction(activity: u8) -> bool {
    activity >= Activity::Active as u8
}
