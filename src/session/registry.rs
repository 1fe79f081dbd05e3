//! The sessions there are, who they belong to, and the keys that cancel them.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;
use foldhash::HashMap;
use parking_lot::Mutex;

use super::handle::{Handle, StopOrder};
use super::limits::LimitWatch;
use crate::config::values::{Limits, Timeouts};
use crate::fault::{ClientFacing, Fault};
use crate::name::Name;
use crate::net::Peer;
use crate::pool::ServerKey;
use crate::upstream::{Unreachable, Upstream};
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::CancelKey;

/// Why a client gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientRejected {
    #[error("too many clients already ({0})")]
    Clients(u32),
    #[error("too many clients already for this user ({0})")]
    UserClients(u32),
    #[error("too many clients already for this database ({0})")]
    DatabaseClients(u32),
    #[error("the proxy is shutting down")]
    Draining,
}

impl ClientFacing for ClientRejected {
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
    /// The names are shared with the handles.
    by_user: HashMap<Name, u32>,
    by_database: HashMap<Name, u32>,
}

/// Where a cancel request goes.
#[derive(Debug, Clone)]
pub(crate) enum CancelTarget {
    /// To this server, with the client's own key, which is the server's.
    Direct(Arc<Upstream>),
    /// To whatever connection the client has at that moment.
    Pooled(Arc<CancelSlot>),
}

/// Which connection a pooled client has now, for whoever wants to cancel.
#[derive(Debug)]
pub(crate) struct CancelSlot {
    client: u64,
    upstream: Arc<Upstream>,
    place: Mutex<CancelState>,
    /// Of the client's own task, while it waits.
    called_off: AtomicWaker,
}

#[derive(Debug, Default)]
enum CancelState {
    /// Without a connection, and without need of one.
    #[default]
    Nowhere,
    /// In the queue, with a statement that nobody has seen yet.
    Waiting,
    /// In the queue, with one that it does not want any more.
    CalledOff,
    Connected(Arc<ServerKey>),
}

impl CancelSlot {
    pub(crate) fn new(client: u64, upstream: Arc<Upstream>) -> Self {
        Self {
            client,
            upstream,
            place: Mutex::default(),
            called_off: AtomicWaker::new(),
        }
    }

    /// The client wants a connection, and has to wait for it.
    pub(crate) fn wait(&self) {
        let mut place = self.place.lock();
        if matches!(*place, CancelState::Nowhere) {
            *place = CancelState::Waiting;
        }
    }

    /// Completes when the client no longer wants what it waits for.
    /// Awaited by the client's own task only.
    pub(crate) async fn called_off(&self) {
        poll_fn(|cx| {
            self.called_off.register(cx.waker());
            match *self.place.lock() {
                CancelState::CalledOff => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    /// The client has this connection from here on, unless it no longer wants it.
    #[must_use]
    pub(crate) fn take(&self, key: &Arc<ServerKey>) -> bool {
        let mut place = self.place.lock();
        let wanted = !matches!(*place, CancelState::CalledOff);
        if wanted {
            *place = CancelState::Connected(Arc::clone(key));
        }
        wanted
    }

    /// The client has none: a cancel from here on is for nobody.
    pub(crate) fn leave(&self) {
        *self.place.lock() = CancelState::Nowhere;
    }

    fn key(&self) -> Option<Arc<ServerKey>> {
        match &*self.place.lock() {
            CancelState::Connected(key) => Some(Arc::clone(key)),
            _ => None,
        }
    }

    /// Whether the client was waiting, and now is not.
    fn call_off(&self) -> bool {
        let mut place = self.place.lock();
        let waits = matches!(*place, CancelState::Waiting | CancelState::CalledOff);
        if waits {
            *place = CancelState::CalledOff;
            self.called_off.wake();
        }
        waits
    }

    /// Cancels what runs on the client's connection, which goes to nobody else
    /// meanwhile, or what it waits for one with; says how that ended.
    ///
    /// # Errors
    /// The upstream cannot be reached.
    async fn cancel(&self) -> Result<&'static str, Unreachable> {
        if self.call_off() {
            return Ok("called_off");
        }
        let Some(key) = self.key() else {
            return Ok("idle");
        };
        match key.begin_cancel(self.client).await {
            Some(guard) => self.upstream.cancel(guard.key()).await.map(sent),
            None => Ok("idle"),
        }
    }

    /// Cancels what runs on the client's connection, be it the proxy's own.
    ///
    /// # Errors
    /// The upstream cannot be reached.
    pub(crate) async fn cancel_at_once(&self) -> Result<(), Unreachable> {
        let guard = self
            .key()
            .and_then(|key| key.begin_cancel_at_once(self.client));
        if let Some(guard) = guard {
            self.upstream.cancel(guard.key()).await?;
        }
        Ok(())
    }
}

/// What became of a request that was for the upstream.
const fn sent(forwarded: bool) -> &'static str {
    if forwarded { "forwarded" } else { "limited" }
}

impl CancelTarget {
    /// Delivers a cancel request with the client's `key`; says how that ended.
    ///
    /// # Errors
    /// The upstream cannot be reached.
    pub(crate) async fn cancel(&self, key: &CancelKey) -> Result<&'static str, Unreachable> {
        match self {
            Self::Direct(upstream) => upstream.cancel(key).await.map(sent),
            // Boxed: the task of an idle client, which this may become, is small.
            Self::Pooled(cancel_slot) => Box::pin(cancel_slot.cancel()).await,
        }
    }
}

/// The register of one proxy.
#[derive(Debug)]
pub(crate) struct Registry {
    limits: Limits,
    next_id: AtomicU64,
    draining: AtomicBool,
    sessions: Mutex<Sessions>,
    /// By the key that its client was given; with the session that it is of.
    keys: Mutex<HashMap<CancelKey, (Arc<Handle>, CancelTarget)>>,
    limited: LimitWatch,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next_id: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            sessions: Mutex::default(),
            keys: Mutex::default(),
            limited: LimitWatch::default(),
        }
    }

    /// Enters a client, unless a limit on clients says no.
    ///
    /// # Errors
    /// See [`ClientRejected`].
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &[u8],
        database: &[u8],
        peer: Peer,
    ) -> Result<Entry, ClientRejected> {
        let mut sessions = self.sessions.lock();
        // Under the lock: an order to all is given under it too, so nobody slips by.
        if self.draining.load(Ordering::Relaxed) {
            return Err(ClientRejected::Draining);
        }
        let limits = &self.limits;
        let count = |of: &HashMap<Name, u32>, name: &[u8]| of.get(name).copied().unwrap_or(0);
        if sessions.by_id.len() >= limits.max_client_conn as usize {
            return Err(ClientRejected::Clients(limits.max_client_conn));
        }
        match limits.max_user_client_connections {
            Some(max) if count(&sessions.by_user, user) >= max => {
                return Err(ClientRejected::UserClients(max));
            }
            _ => {}
        }
        match limits.max_db_client_connections {
            Some(max) if count(&sessions.by_database, database) >= max => {
                return Err(ClientRejected::DatabaseClients(max));
            }
            _ => {}
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let user = join(&mut sessions.by_user, user);
        let database = join(&mut sessions.by_database, database);
        let handle = Arc::new(Handle::new(id, user, database, peer));
        sessions.by_id.insert(handle.id, Arc::clone(&handle));
        drop(sessions);
        Ok(Entry {
            registry: Arc::clone(self),
            handle,
            key: None,
        })
    }

    /// A client that is not let in, for the log: it has a number, too.
    pub(crate) fn outsider(&self, user: &[u8], database: &[u8], peer: Peer) -> Arc<Handle> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Arc::new(Handle::new(id, user.into(), database.into(), peer))
    }

    /// Where a cancel request with this key must go, and whose it is.
    pub(crate) fn cancel_target(&self, key: &CancelKey) -> Option<(Arc<Handle>, CancelTarget)> {
        self.keys.lock().get(key).cloned()
    }

    /// Gives every session an order; from now on nobody enters.
    pub(crate) fn order_all(&self, order: StopOrder) {
        let sessions = self.sessions.lock();
        self.draining.store(true, Ordering::Relaxed);
        for handle in sessions.by_id.values() {
            handle.give(order);
        }
    }

    /// The sessions that may last only so long.
    pub(crate) const fn limited(&self) -> &LimitWatch {
        &self.limited
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

    /// Limits that hold for the session from here on; once a session.
    pub(crate) fn set_limits(&self, limits: Timeouts) {
        self.registry.limited.enter(&self.handle, limits);
    }

    /// Makes the session cancellable with the key that its client is given.
    pub(crate) fn set_cancel_key(&mut self, key: CancelKey, target: CancelTarget) {
        self.clear_cancel_key();
        let session = (Arc::clone(&self.handle), target);
        self.registry.keys.lock().insert(key.clone(), session);
        self.key = Some(key);
    }

    /// The same with a key of the proxy's own: `propose` makes them, until there is one
    /// that nobody else was given.
    pub(crate) fn issue_cancel_key(
        &mut self,
        target: CancelTarget,
        propose: impl FnMut() -> CancelKey,
    ) -> CancelKey {
        self.clear_cancel_key();
        let mut keys = self.registry.keys.lock();
        let key = vacant(&keys, propose);
        keys.insert(key.clone(), (Arc::clone(&self.handle), target));
        drop(keys);
        self.key = Some(key.clone());
        key
    }

    /// From here on a cancel for this session is for nobody.
    pub(crate) fn clear_cancel_key(&mut self) -> Option<CancelKey> {
        let key = self.key.take()?;
        let mut keys = self.registry.keys.lock();
        // Servers do not know of each other: another may have given the same one since.
        if keys
            .get(&key)
            .is_some_and(|(session, _)| session.id == self.handle.id)
        {
            keys.remove(&key);
        }
        Some(key)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.clear_cancel_key();
        self.registry.limited.leave(&self.handle);
        let mut sessions = self.registry.sessions.lock();
        sessions.by_id.remove(&self.handle.id);
        leave(&mut sessions.by_user, &self.handle.user);
        leave(&mut sessions.by_database, &self.handle.database);
    }
}

/// Counts one more; returns the name as all of them share it.
fn join(counts: &mut HashMap<Name, u32>, name: &[u8]) -> Name {
    let name = match counts.get_key_value(name) {
        Some((known, _)) => known.clone(),
        None => name.into(),
    };
    *counts.entry(name.clone()).or_default() += 1;
    name
}

fn leave(counts: &mut HashMap<Name, u32>, name: &Name) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

/// A key that nobody else was given.
fn vacant<T>(keys: &HashMap<CancelKey, T>, mut propose: impl FnMut() -> CancelKey) -> CancelKey {
    loop {
        let key = propose();
        if !keys.contains_key(&key) {
            return key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clients_are_given_one_cancel_key() {
        let key = |secret: u8| CancelKey::with_secret(1, [secret; 4][..].into());
        let taken = HashMap::from_iter([(key(1), ()), (key(2), ())]);
        let mut secrets = [1, 2, 1, 3].into_iter();
        let given = vacant(&taken, || key(secrets.next().unwrap()));
        assert_eq!(given, key(3));
    }
}
