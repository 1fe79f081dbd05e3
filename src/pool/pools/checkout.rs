//! What clients ask of one pool: to wait for a connection, to give it back, to bring one.

use std::sync::Arc;
use std::task::Context;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::waiting::Waiting;
use super::{Delivery, Outcome, Pool, State};
use crate::pool::allocator::{CheckoutAnswer, CloseReason};
use crate::pool::closing::{Closing, UpstreamState};
use crate::pool::connection::Connection;
use crate::pool::ids::ConnectionId;
use crate::pool::lease::Lease;
use crate::pool::lease_error::LeaseError;
use crate::pool::plan::CheckoutRequest;
use crate::upstream::Opened;

/// A connection, or the wait for one.
type Sought = Result<Box<Connection>, Waiting>;

impl Pool {
    /// Waits for a connection until `deadline`, in line with the other clients of this
    /// pool. Which one it gets is told in `allocator`; whether it has another client's
    /// state on it, by its `owner`, which is for the caller to update. Dropping the
    /// future at any point leaves nothing behind.
    ///
    /// # Errors
    /// See [`LeaseError`]. While the upstream is away or on its way up, the wait goes
    /// on; what it refuses for good fails at once, unless other connections of the
    /// pool are there to wait for.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        want: CheckoutRequest,
        deadline: Instant,
    ) -> Result<Lease, LeaseError> {
        loop {
            let client = want.client;
            let connection = self.obtain(want.clone(), deadline).await?;
            let mut lease = Lease::new(connection, Arc::clone(self), client);
            match lease.freshen().await {
                Ok(()) => return Ok(lease),
                Err(stale) => lease.lose(stale),
            }
        }
    }

    /// As [`Pool::lease`], if that takes no wait: a connection is idle, on this thread,
    /// and its server has said nothing since.
    pub(crate) fn take(
        self: &Arc<Self>,
        want: &CheckoutRequest,
        cx: &mut Context<'_>,
    ) -> Option<Lease> {
        let connection = {
            let mut state = self.pools.inner.state.lock();
            state.allocator.take(self.number, want)?
        };
        let lease = Lease::new(connection, Arc::clone(self), want.client);
        if lease.is_quiet(cx) {
            return Some(lease);
        }
        lease.check_in();
        None
    }

    async fn obtain(
        self: &Arc<Self>,
        want: CheckoutRequest,
        deadline: Instant,
    ) -> Result<Box<Connection>, LeaseError> {
        let began = Instant::now();
        let mut waiting =
            match self.request(|state| state.allocator.lease(self.number, want, began))? {
                Ok(connection) => return Ok(connection),
                Err(waiting) => waiting,
            };
        let metrics = self.pools.inner.upstream.metrics();
        let _counted = metrics.waiting();
        let reserve = (self.plan.reserve_size > 0).then(|| began + self.plan.reserve_timeout);
        if let Some(at) = reserve.filter(|at| *at < deadline)
            && let Ok(outcome) = timeout_at(at, &mut waiting.mailbox).await
        {
            metrics.waited(began.elapsed());
            return self.settle(&mut waiting, outcome.ok());
        } else if reserve.is_some() {
            self.look_again();
        }
        let outcome = timeout_at(deadline, &mut waiting.mailbox).await;
        metrics.waited(began.elapsed());
        match outcome {
            Ok(outcome) => self.settle(&mut waiting, outcome.ok()),
            Err(_elapsed) => self.give_up(&mut waiting),
        }
    }

    /// This very connection, if it can be had until `deadline`; see `allocator::claims`.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        id: ConnectionId,
        want: CheckoutRequest,
        deadline: Instant,
    ) -> Option<Lease> {
        let client = want.client;
        let answer = self.request(|state| state.allocator.claim((self.number, id), &want));
        let connection = match answer.ok()? {
            Ok(connection) => connection,
            Err(mut waiting) => match timeout_at(deadline, &mut waiting.mailbox).await {
                Ok(outcome) => self.settle(&mut waiting, outcome.ok()).ok()?,
                Err(_elapsed) => {
                    let came = waiting.leave()?;
                    self.settle(&mut waiting, Some(came)).ok()?
                }
            },
        };
        let mut lease = Lease::new(connection, Arc::clone(self), client);
        match lease.freshen().await {
            Ok(()) => Some(lease),
            Err(stale) => {
                lease.lose(stale);
                None
            }
        }
    }

    fn request(
        self: &Arc<Self>,
        request: impl FnOnce(&mut State) -> CheckoutAnswer<Box<Connection>>,
    ) -> Result<Sought, LeaseError> {
        self.pools.act(|state| match request(state) {
            CheckoutAnswer::Taken(connection) => Ok(Ok(connection)),
            CheckoutAnswer::Failed(failure) => Err(failure.into()),
            CheckoutAnswer::Queued(ticket) => {
                let (sender, mailbox) = oneshot::channel();
                state.mailboxes.insert(ticket, sender);
                *self.runtime.lock() = Handle::try_current().ok();
                let queued = (Some(self.number), ticket);
                let now = Instant::now();
                Ok(Err(Waiting::new(&self.pools, queued, mailbox, now)))
            }
        })
    }

    /// Clients that keep an idle connection, and with it a place that others need, are
    /// asked whether they have to.
    pub(crate) fn ask_holders(&self) {
        let pool = self.number;
        self.pools.act(|state| state.allocator.ask_all(pool));
    }

    /// A connection that the client's own login has opened joins, and is that client's
    /// for now. Without room in the pool it is closed.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        client: u64,
        opened: Opened,
        closing: Closing,
    ) -> Option<Lease> {
        let pool = self.number;
        let id = self.pools.next_connection();
        let mut connection = match Connection::new(
            (id, pool),
            opened,
            closing,
            self.plan.max_prepared_statements,
        ) {
            Ok(connection) => connection,
            Err(parts) => {
                let (closing, stream) = *parts;
                self.pools.spawn(closing.close(stream));
                return None;
            }
        };
        connection.share(&mut self.reported.lock());
        if self.pools.act(|state| state.allocator.adopt(pool)) {
            let metrics = self.pools.inner.upstream.metrics();
            metrics.pool_opened(&self.label());
            return Some(Lease::new(connection, Arc::clone(self), client));
        }
        let (closing, stream) = connection.into_closing(UpstreamState::AtRest);
        self.pools.spawn(closing.close(stream));
        None
    }

    pub(in crate::pool) fn check_in(&self, connection: Box<Connection>, held: bool) {
        let id = connection.id;
        self.pools.act(|state| {
            if held {
                state.unlist(id);
            }
            let item = (self.number, connection);
            state.allocator.check_in(item, Instant::now());
        });
        if held {
            self.pools.gone();
        }
    }

    pub(in crate::pool) fn close(
        &self,
        (connection, held): (Box<Connection>, bool),
        state: UpstreamState,
        reason: CloseReason,
    ) {
        let (pool, id) = (self.number, connection.id);
        self.count_closed(reason);
        self.pools.act(|state| {
            if held {
                state.unlist(id);
            }
            state.allocator.closing(pool, id, Instant::now());
        });
        let (closing, stream) = connection.into_closing(state);
        self.pools.close_in_background(pool, closing, stream);
    }

    /// What came, `None` if the mailbox was dropped.
    fn settle(
        &self,
        waiting: &mut Waiting,
        outcome: Option<Outcome>,
    ) -> Result<Box<Connection>, LeaseError> {
        waiting.over = true;
        match outcome {
            Some(Ok(Delivery::Connection(connection))) => Ok(connection),
            // A login that failed is what stands behind it, if there was one.
            Some(Err(LeaseError::NoWay)) => {
                let failed = self.last_error.lock().clone();
                Err(failed.unwrap_or(LeaseError::NoWay))
            }
            Some(Err(error)) => Err(error),
            Some(Ok(Delivery::Place(..))) | None => Err(LeaseError::Closed),
        }
    }

    /// The time is over. If a connection came at this very moment, it counts.
    fn give_up(&self, waiting: &mut Waiting) -> Result<Box<Connection>, LeaseError> {
        if let Some(outcome) = waiting.leave() {
            return self.settle(waiting, Some(outcome));
        }
        let failed = self.last_error.lock().clone();
        Err(failed.unwrap_or_else(|| LeaseError::TimedOut {
            waited: waiting.since.elapsed(),
            size: self.plan.size,
            tally: (self.pools.inner.state.lock().allocator).tally(self.number),
        }))
    }
}
