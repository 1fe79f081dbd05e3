//! The sessions there are: who they belong to, the keys that cancel them, and the
//! orders they are given.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use crate::config::values::Limits;
use crate::fault::{ClientFacing, Fault};
use crate::net::Peer;
use crate::upstream::Upstream;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::CancelKey;

/// What every session is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// End when nothing is owed and no transaction is open.
    Drain,
    /// End now.
    End,
}

/// What a session is doing, for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Activity {
    Waiting,
    LoggingIn,
    Idle,
    Active,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting for a connection",
            Self::LoggingIn => "logging in",
            Self::Idle => "idle",
            Self::Active => "active",
        })
    }
}

/// One session, as others see it.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) peer: Peer,
    activity: AtomicU8,
    /// Zero, or one more than the [`Order`]; only ever grows.
    order: AtomicU8,
    waker: AtomicWaker,
}

impl Handle {
    /// Called by the session's own task at each turn; the task is woken when an
    /// order comes, and again when a stricter one follows.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Option<Order> {
        let order = self.order();
        if order == Some(Order::End) {
            return order;
        }
        self.waker.register(cx.waker());
        // An order given in between was given to the old waker.
        self.order()
    }

    /// Completes when any order has been given.
    pub(crate) async fn ordered(&self) -> Order {
        poll_fn(|cx| self.poll_order(cx).map_or(Poll::Pending, Poll::Ready)).await
    }

    fn order(&self) -> Option<Order> {
        match self.order.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Order::Drain),
            _ => Some(Order::End),
        }
    }

    fn give(&self, order: Order) {
        self.order.fetch_max(order as u8 + 1, Ordering::AcqRel);
        self.waker.wake();
    }

    pub(crate) fn set_activity(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    pub(crate) fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) {
            0 => Activity::Waiting,
            1 => Activity::LoggingIn,
            2 => Activity::Idle,
            _ => Activity::Active,
        }
    }
}

/// Why a client gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    #[error("too many clients already ({0})")]
    Clients(u32),
    #[error("too many clients already for this user ({0})")]
    UserClients(u32),
    #[error("too many clients already for this database ({0})")]
    DatabaseClients(u32),
    #[error("the proxy is shutting down")]
    Draining,
}

impl ClientFacing for NoRoom {
    fn fault(&self) -> Fault {
        let (sqlstate, label, hint) = match self {
            Self::Clients(_) => (
                SqlState::TOO_MANY_CONNECTIONS,
                "max_client_conn",
                "Close clients that are no longer needed, or raise `max_client_conn`.",
            ),
            Self::UserClients(_) => (
                SqlState::TOO_MANY_CONNECTIONS,
                "max_user_client_connections",
                "Close clients that are no longer needed, or raise `max_user_client_connections`.",
            ),
            Self::DatabaseClients(_) => (
                SqlState::TOO_MANY_CONNECTIONS,
                "max_db_client_connections",
                "Close clients that are no longer needed, or raise `max_db_client_connections`.",
            ),
            Self::Draining => (
                SqlState::ADMIN_SHUTDOWN,
                "draining",
                "Connect again: another instance, or this one after its restart, will answer.",
            ),
        };
        Fault::new(sqlstate, label, self.to_string()).hint(hint)
    }
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: HashMap<u64, Arc<Handle>>,
    by_user: HashMap<String, u32>,
    by_database: HashMap<String, u32>,
}

/// The register of one proxy.
#[derive(Debug)]
pub(crate) struct Registry {
    limits: Limits,
    next_id: AtomicU64,
    draining: AtomicBool,
    sessions: Mutex<Sessions>,
    /// By the key that its client was given.
    keys: Mutex<HashMap<CancelKey, Arc<Upstream>>>,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next_id: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            sessions: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// Enters a client, unless a limit on clients says no.
    ///
    /// # Errors
    /// See [`NoRoom`].
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: String,
        database: String,
        peer: Peer,
    ) -> Result<Entry, NoRoom> {
        let mut sessions = self.sessions.lock();
        // Under the lock: an order to all is given under it too, so nobody slips by.
        if self.draining.load(Ordering::Relaxed) {
            return Err(NoRoom::Draining);
        }
        let limits = &self.limits;
        let count = |of: &HashMap<String, u32>, name: &String| of.get(name).copied().unwrap_or(0);
        if sessions.by_id.len() >= limits.max_client_conn as usize {
            return Err(NoRoom::Clients(limits.max_client_conn));
        }
        match limits.max_user_client_connections {
            Some(max) if count(&sessions.by_user, &user) >= max => {
                return Err(NoRoom::UserClients(max));
            }
            _ => {}
        }
        match limits.max_db_client_connections {
            Some(max) if count(&sessions.by_database, &database) >= max => {
                return Err(NoRoom::DatabaseClients(max));
            }
            _ => {}
        }
        let handle = Arc::new(Handle {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            user,
            database,
            peer,
            activity: AtomicU8::new(Activity::Waiting as u8),
            order: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        });
        *sessions.by_user.entry(handle.user.clone()).or_default() += 1;
        *sessions
            .by_database
            .entry(handle.database.clone())
            .or_default() += 1;
        sessions.by_id.insert(handle.id, Arc::clone(&handle));
        drop(sessions);
        Ok(Entry {
            registry: Arc::clone(self),
            handle,
            key: None,
        })
    }

    /// Where a cancel request with this key must go.
    pub(crate) fn cancel_target(&self, key: &CancelKey) -> Option<Arc<Upstream>> {
        self.keys.lock().get(key).map(Arc::clone)
    }

    /// Gives every session an order; from now on nobody enters.
    pub(crate) fn order_all(&self, order: Order) {
        let sessions = self.sessions.lock();
        self.draining.store(true, Ordering::Relaxed);
        for handle in sessions.by_id.values() {
            handle.give(order);
        }
    }

    /// The sessions that are still there.
    pub(crate) fn handles(&self) -> Vec<Arc<Handle>> {
        self.sessions
            .lock()
            .by_id
            .values()
            .map(Arc::clone)
            .collect()
    }
}

/// A session's place in the register; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Entry {
    registry: Arc<Registry>,
    handle: Arc<Handle>,
    key: Option<CancelKey>,
}

impl Entry {
    pub(crate) const fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Makes the session cancellable with the key that its client is given.
    pub(crate) fn set_cancel_key(&mut self, key: CancelKey, upstream: &Arc<Upstream>) {
        self.clear_cancel_key();
        self.registry
            .keys
            .lock()
            .insert(key.clone(), Arc::clone(upstream));
        self.key = Some(key);
    }

    /// From here on a cancel for this session is for nobody.
    pub(crate) fn clear_cancel_key(&mut self) -> Option<CancelKey> {
        let key = self.key.take()?;
        self.registry.keys.lock().remove(&key);
        Some(key)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.clear_cancel_key();
        let mut sessions = self.registry.sessions.lock();
        sessions.by_id.remove(&self.handle.id);
        leave(&mut sessions.by_user, &self.handle.user);
        leave(&mut sessions.by_database, &self.handle.database);
    }
}

fn leave(counts: &mut HashMap<String, u32>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}
