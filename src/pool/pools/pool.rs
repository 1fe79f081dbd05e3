//! What clients ask of one pool: to wait for a connection, to give it back, to bring one.

use std::sync::Arc;
use std::task::Context;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Outcome, Pool, Pools, Work};
use crate::pool::closing::{Closing, UpstreamState};
use crate::pool::connection::Connection;
use crate::pool::lease::{Lease, LeaseError};
use crate::pool::limiter_state::Key;
use crate::pool::plan::CheckoutRequest;
use crate::pool::pool_state::{CheckoutAnswer, CloseReason, ConnectionId, PoolState, Ticket};
use crate::upstream::Opened;

type Shelves = PoolState<Box<Connection>>;
/// A connection, or the wait for one.
type Sought<'a> = Result<Box<Connection>, Waiting<'a>>;

/// A place in the queue, left on drop.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    ticket: Ticket,
    mailbox: oneshot::Receiver<Outcome>,
    over: bool,
}

impl Pool {
    pub(in crate::pool) const fn pools(&self) -> &Pools {
        &self.pools
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(self.id.user.clone(), self.id.database.clone())
    }

    /// How metrics and logs call it.
    pub(crate) fn label(&self) -> String {
        self.key().label()
    }

    /// Waits for a connection until `deadline`, in line with the other clients of this
    /// pool. Which one it gets is told in `pool_state`; whether it has another client's
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
        let connection = self
            .pools
            .inner
            .state
            .lock()
            .pools
            .take(self.number, want)?;
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
        let mut waiting = match self.ask(want, began)? {
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
            return waiting.settle(outcome.ok());
        } else if reserve.is_some() {
            self.look_again();
        }
        let outcome = timeout_at(deadline, &mut waiting.mailbox).await;
        metrics.waited(began.elapsed());
        match outcome {
            Ok(outcome) => waiting.settle(outcome.ok()),
            Err(_elapsed) => waiting.give_up(began),
        }
    }

    /// This very connection, if it can be had until `deadline`; see `pool_state::claims`.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        id: ConnectionId,
        want: CheckoutRequest,
        deadline: Instant,
    ) -> Option<Lease> {
        let client = want.client;
        let answer = self.enquire(|books, out| books.claim((self.number, id), &want, out));
        let connection = match answer.ok()? {
            Ok(connection) => connection,
            Err(mut waiting) => match timeout_at(deadline, &mut waiting.mailbox).await {
                Ok(outcome) => waiting.settle(outcome.ok()).ok()?,
                Err(_elapsed) => waiting.leave()?.ok()?,
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

    fn ask(
        self: &Arc<Self>,
        want: CheckoutRequest,
        now: Instant,
    ) -> Result<Sought<'_>, LeaseError> {
        self.enquire(|books, out| books.lease(self.number, want, now, out))
    }

    fn enquire(
        self: &Arc<Self>,
        question: impl FnOnce(&mut Shelves, &mut Work) -> CheckoutAnswer<Box<Connection>>,
    ) -> Result<Sought<'_>, LeaseError> {
        let mut jobs = Vec::new();
        let answer = {
            let mut room = self.pools.inner.state.lock();
            let mut out = std::mem::take(&mut room.work);
            let answer = match question(&mut room.pools, &mut out) {
                CheckoutAnswer::Taken(connection) => Ok(Ok(connection)),
                CheckoutAnswer::Failed(failure) => Err(failure.into()),
                CheckoutAnswer::Queued(ticket) => {
                    let (sender, mailbox) = oneshot::channel();
                    room.mailboxes.insert(ticket, sender);
                    Ok(Err(Waiting {
                        pool: self,
                        ticket,
                        mailbox,
                        over: false,
                    }))
                }
            };
            room.dispatch(out, &mut jobs);
            answer
        };
        self.pools.perform(jobs);
        answer
    }

    /// A client is done with the pool. Where the proxy cannot log in, what is idle there
    /// is of use to nobody once the last has left: others get its place if they wait.
    pub(crate) fn leave(self: Arc<Self>) {
        let (pools, barren) = (self.pools.clone(), self.opener.is_none());
        drop(self);
        if barren && pools.inner.limiter.is_crowded() {
            pools.retire_unused();
        }
    }

    /// Clients that keep an idle connection, and with it a place that others need, are
    /// asked whether they have to.
    pub(crate) fn ask_holders(&self) {
        let pool = self.number;
        self.pools.act(|room, out| room.pools.ask_all(pool, out));
    }

    /// The clock may allow what it did not before.
    pub(in crate::pool) fn look_again(&self) {
        let pool = self.number;
        self.pools
            .act(|room, out| room.pools.schedule(pool, Instant::now(), out));
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
        if self.pools.inner.state.lock().pools.is_full(pool) {
            // Before others lose one, or this one is lost: clients that have left.
            self.pools.retire_unused();
        }
        if self.pools.act(|room, out| room.pools.adopt(pool, out)) {
            self.pools
                .inner
                .upstream
                .metrics()
                .pool_opened(&self.label());
            return Some(Lease::new(connection, Arc::clone(self), client));
        }
        let (closing, stream) = connection.into_closing(UpstreamState::AtRest);
        self.pools.spawn(closing.close(stream));
        None
    }

    pub(in crate::pool) fn check_in(&self, connection: Box<Connection>, held: bool) {
        let rivals = self.pools.competing_waiters();
        let (pool, id) = (connection.pool, connection.id);
        self.pools.act(|room, out| {
            if held {
                room.unlist(id);
            }
            let now = Instant::now();
            room.pools.check_in((pool, connection), now, &rivals, out);
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
        let (pool, id) = (connection.pool, connection.id);
        self.pools.count_closed(pool, reason);
        self.pools.act(|room, out| {
            if held {
                room.unlist(id);
            }
            room.pools.closing(pool, id, Instant::now(), out);
        });
        let (closing, stream) = connection.into_closing(state);
        self.pools.close_in_background(pool, closing, stream);
    }
}

impl Waiting<'_> {
    /// What came, `None` if the mailbox was dropped.
    fn settle(&mut self, outcome: Option<Outcome>) -> Result<Box<Connection>, LeaseError> {
        self.over = true;
        match outcome {
            // A login that failed is what stands behind it, if there was one.
            Some(Err(LeaseError::NoWay)) => Err(self
                .pool
                .last_error
                .lock()
                .clone()
                .unwrap_or(LeaseError::NoWay)),
            Some(outcome) => outcome,
            None => Err(LeaseError::Closed),
        }
    }

    /// The time is over. If a connection came at this very moment, it counts.
    fn give_up(&mut self, began: Instant) -> Result<Box<Connection>, LeaseError> {
        if let Some(outcome) = self.leave() {
            return self.settle(Some(outcome));
        }
        let failed = self.pool.last_error.lock().clone();
        Err(failed.unwrap_or_else(|| LeaseError::TimedOut {
            waited: began.elapsed(),
            size: self.pool.plan.size,
            tally: self
                .pool
                .pools
                .inner
                .state
                .lock()
                .pools
                .tally(self.pool.number),
        }))
    }

    /// Gives the place up; what had come already is handed back instead.
    fn leave(&mut self) -> Option<Outcome> {
        self.over = true;
        let (pool, ticket) = (self.pool.number, self.ticket);
        let waited = self.pool.pools.act(|room, out| {
            room.mailboxes.remove(&ticket);
            room.pools.leave(pool, ticket, Instant::now(), out)
        });
        match waited {
            true => None,
            false => self.mailbox.try_recv().ok(),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Some(Ok(connection)) = self.leave() {
            self.pool.check_in(connection, false);
        }
    }
}
