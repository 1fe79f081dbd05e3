//! A connection in the hands of one client.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::time::Instant;

use super::allocator::CloseReason;
use super::closing::UpstreamState;
use super::connection::{Connection, LeftBehind, Stale};
use super::idle_hold::IdleHold;
use super::pools::Pool;

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
        let can_spare = {
            let state = pool.pools().inner().state.lock();
            state.allocator.can_spare(pool.number)
        };
        if can_spare {
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
        !self.pool.pools().is_contended()
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
        self.pool.pools().act(|state| {
            holder.list();
            state.holds.insert(id, (pool, Arc::clone(holder)));
            state.allocator.hold(pool, id, Instant::now());
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
        self.pool.pools().act(|state| {
            state.unlist(id);
            state.allocator.used(pool, id, Instant::now());
        });
    }

    /// The answer of one that was asked and cannot give it away. It is not asked again
    /// until it has resumed and held anew.
    pub(crate) fn refuse(&self, holder: &IdleHold) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.held) else {
            return;
        };
        let (pool, id) = (connection.pool, connection.id);
        self.pool.pools().act(|state| {
            holder.unlist();
            state.allocator.refuse(pool, id, Instant::now());
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
