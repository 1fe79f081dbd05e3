//! What a client is told at its login, where it needs no login of its own: the process
//! id of a connection, and what that reported.
//!
//! Clients tell each other apart by their process ids, as on a plain server: no two are
//! told of one connection as long as the pool may have another. Beyond that they share:
//! nobody waits for more than a login of the proxy's own takes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

use super::Pool;
use crate::pool::greeting::LoginGreeting;
use crate::pool::idle_hold::IdleHold;
use crate::pool::lease::Lease;
use crate::pool::lease_error::LeaseError;
use crate::pool::plan::CheckoutRequest;
use crate::pool::timing::GREETING_WAIT;
use crate::wire::startup::CancelKey;

impl Pool {
    /// From a connection which is that client's for now if it was nobody's. Others are
    /// told of another one for as long as `idle_hold` lives, if they can be.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub(crate) async fn introduce(
        self: &Arc<Self>,
        want: CheckoutRequest,
        holder: &Arc<IdleHold>,
        deadline: Instant,
    ) -> Result<LoginGreeting, LeaseError> {
        let newcomer = want.clone().of_newcomer();
        // On a warm pool that is all: no clock is set, and nothing waited for.
        let at_once = poll_fn(|cx| Poll::Ready(self.take(&newcomer, cx))).await;
        let found = match at_once {
            Some(lease) => Some(lease),
            // Boxed: what a login that waits for nothing keeps is small.
            None => Box::pin(self.find(&want, &newcomer, deadline)).await?,
        };
        match found {
            Some(lease) => Ok(self.tell(lease, &want, holder)),
            None => self.introduction.lock().clone().ok_or(LeaseError::NoWay),
        }
    }

    /// A connection of which nobody who is here has been told; else whatever is idle, or
    /// comes first; none if all are busy, and it is known what one would say.
    async fn find(
        self: &Arc<Self>,
        want: &CheckoutRequest,
        newcomer: &CheckoutRequest,
        deadline: Instant,
    ) -> Result<Option<Lease>, LeaseError> {
        if let Some(lease) = self.untold(newcomer, deadline).await {
            return Ok(Some(lease));
        }
        // Before it waits, for which others might lose theirs.
        if let Some(lease) = self.idle(want).await {
            return Ok(Some(lease));
        }
        if self.can_introduce() {
            return Ok(None);
        }
        let mut leasing = pin!(self.lease(want.clone(), deadline));
        let leased = poll_fn(|cx| match leasing.as_mut().poll(cx) {
            Poll::Pending if self.can_introduce() => Poll::Ready(None),
            poll => poll.map(Some),
        });
        leased.await.transpose()
    }

    /// A connection that nobody who is here has been told of: one that is idle, or, while
    /// the pool has room or can be given some, a new one.
    async fn untold(self: &Arc<Self>, want: &CheckoutRequest, deadline: Instant) -> Option<Lease> {
        let deadline = deadline.min(Instant::now() + GREETING_WAIT);
        let mut asked = false;
        loop {
            let mut settled = pin!(self.settled.notified());
            let mut gone = pin!(self.pools.inner.gone.notified());
            let _ = (settled.as_mut().enable(), gone.as_mut().enable());
            if let Some(lease) = self.idle(want).await {
                return Some(lease);
            }
            // What wakes it may be about others: an opener says that it has come to its end
            // a moment after its connection has been given to somebody. It asks for no
            // second one while one is on its way, which it would not get in a full pool.
            if !(asked && self.is_opening()) {
                if !self.expand() {
                    return None;
                }
                asked = true;
            }
            let changed = async {
                tokio::select! {
                    () = settled => {}
                    () = gone => {}
                }
            };
            timeout_at(deadline, changed).await.ok()?;
        }
    }

    /// One that is idle, and suits.
    async fn idle(self: &Arc<Self>, want: &CheckoutRequest) -> Option<Lease> {
        loop {
            let mut lease = self.take_idle(want)?;
            match lease.freshen().await {
                Ok(()) => return Some(lease),
                Err(stale) => lease.lose(stale),
            }
        }
    }

    fn take_idle(self: &Arc<Self>, want: &CheckoutRequest) -> Option<Lease> {
        let mut state = self.pools.inner.state.lock();
        let connection = state.allocator.take(self.number, want)?;
        drop(state);
        Some(Lease::new(connection, Arc::clone(self), want.client))
    }

    /// Begins to open one connection more, if that takes nothing from anybody who is here,
    /// or to make room for it: whether something is on its way.
    fn expand(&self) -> bool {
        let pool = self.number;
        self.pools
            .act(|state| state.allocator.expand(pool, Instant::now()))
    }

    /// Whether one more connection is on its way, and waits for no slot.
    fn is_opening(&self) -> bool {
        let tally = self.pools.inner.state.lock().allocator.tally(self.number);
        tally.opening > tally.queued
    }

    fn tell(
        &self,
        mut lease: Lease,
        want: &CheckoutRequest,
        holder: &Arc<IdleHold>,
    ) -> LoginGreeting {
        let connection = &mut *lease;
        connection.promise(want.client, holder);
        let introduction = {
            let mut last = self.introduction.lock();
            let alike = last
                .take()
                .filter(|last| last.parameters.is_shared_with(&connection.base))
                .filter(|last| last.notices == connection.notices);
            let messages = alike.map(|last| last.messages);
            let written = || [&*connection.notices, &connection.base.statuses()].concat();
            last.insert(LoginGreeting {
                connection: connection.id(),
                key: Arc::downgrade(&connection.key),
                pid: connection.key.key().map_or(0, CancelKey::pid),
                parameters: connection.base.clone(),
                messages: messages.unwrap_or_else(|| written().into()),
                notices: connection.notices.clone(),
            })
            .clone()
        };
        lease.check_in();
        introduction
    }

    /// Whether all connections are busy, none will be added, and it is known what one
    /// would say: a newcomer is not kept waiting for that.
    fn can_introduce(&self) -> bool {
        self.introduction.lock().is_some()
            && self.pools.inner.state.lock().allocator.is_full(self.number)
    }
}
