//! One who waits: for a connection of a pool, or for a place for one of its own.

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Delivery, Outcome, Pools};
use crate::config::values::Priority;
use crate::pool::allocator::Admission;
use crate::pool::ids::{PoolNumber, Ticket};
use crate::pool::key::Key;
use crate::pool::permit::{Permit, Refusal};

/// A place in a queue, left on drop.
pub(super) struct Waiting {
    pools: Pools,
    /// `None` waits for a place.
    pool: Option<PoolNumber>,
    ticket: Ticket,
    pub(super) mailbox: oneshot::Receiver<Outcome>,
    pub(super) since: Instant,
    /// The mailbox was emptied, or the queue left.
    pub(super) over: bool,
}

impl Pools {
    /// Waits for a place for a connection of a client's own until `deadline`; one that is
    /// free is given even if that has passed. `is_proven`: somebody has vouched for the
    /// client. Dropping the future at any point leaves nothing behind.
    pub(crate) async fn admit(
        &self,
        key: Key,
        (priority, is_proven): (Priority, bool),
        deadline: Instant,
    ) -> Result<Permit, Refusal> {
        let mut waiting = match self.request_place(&key, (priority, is_proven))? {
            Ok(permit) => return Ok(permit),
            Err(waiting) => waiting,
        };
        match timeout_at(deadline, &mut waiting.mailbox).await {
            Ok(outcome) => {
                waiting.over = true;
                self.settle_place(outcome.ok()).ok_or(Refusal::Closed)
            }
            Err(_elapsed) => waiting.give_up_place(),
        }
    }

    /// A place, if one is free.
    pub(in crate::pool) fn try_admit(&self, key: Key, priority: Priority) -> Option<Permit> {
        let admitted = {
            let mut state = self.inner.state.lock();
            let has_room = state.allocator.limits().has_room(&key);
            let now = Instant::now();
            has_room
                && matches!(
                    state.allocator.admit(&key, (priority, true), now),
                    Admission::Admitted(_)
                )
        };
        admitted.then(|| self.permit(key, None))
    }

    pub(super) fn request_place(
        &self,
        key: &Key,
        (priority, is_proven): (Priority, bool),
    ) -> Result<Result<Permit, Waiting>, Refusal> {
        let since = Instant::now();
        self.act(
            |state| match state.allocator.admit(key, (priority, is_proven), since) {
                Admission::Admitted(login) => Ok(Ok(self.permit(key.clone(), login))),
                Admission::Queued(ticket) => {
                    let (sender, mailbox) = oneshot::channel();
                    state.mailboxes.insert(ticket, sender);
                    Ok(Err(Waiting::new(self, (None, ticket), mailbox, since)))
                }
                Admission::Closed => Err(Refusal::Closed),
            },
        )
    }

    fn settle_place(&self, outcome: Option<Outcome>) -> Option<Permit> {
        match outcome? {
            Ok(Delivery::Place(key, login)) => Some(self.permit(key, login)),
            Ok(Delivery::Connection(_)) | Err(_) => None,
        }
    }
}

impl Waiting {
    pub(super) fn new(
        pools: &Pools,
        (pool, ticket): (Option<PoolNumber>, Ticket),
        mailbox: oneshot::Receiver<Outcome>,
        since: Instant,
    ) -> Self {
        Self {
            pools: pools.clone(),
            pool,
            ticket,
            mailbox,
            since,
            over: false,
        }
    }

    /// Leaves the queue; what had come already is handed back instead.
    pub(super) fn leave(&mut self) -> Option<Outcome> {
        self.over = true;
        let (pool, ticket) = (self.pool, self.ticket);
        let waited = self.pools.act(|state| {
            state.mailboxes.remove(&ticket);
            state.allocator.leave(pool, ticket, Instant::now())
        });
        match waited {
            true => None,
            false => self.mailbox.try_recv().ok(),
        }
    }

    /// The time is over. If the place came at this very moment, it counts.
    pub(super) fn give_up_place(&mut self) -> Result<Permit, Refusal> {
        let seen = {
            let state = self.pools.inner.state.lock();
            let limits = state.allocator.limits();
            let blocked_by = limits.blocked_by(self.ticket);
            blocked_by.map(|blocked_by| Refusal::TimedOut {
                waited: self.since.elapsed(),
                blocked_by,
                in_use: limits.in_use(),
                waiting: limits.waiting().saturating_sub(1),
            })
        };
        let came = self.leave();
        match self.pools.settle_place(came) {
            Some(permit) => Ok(permit),
            None => Err(seen.unwrap_or(Refusal::Closed)),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        match self.leave() {
            Some(Ok(Delivery::Connection(connection))) => {
                let item = (connection.pool, connection);
                let now = Instant::now();
                self.pools.act(|state| state.allocator.check_in(item, now));
            }
            place => drop(self.pools.settle_place(place)),
        }
    }
}
