//! The door to the accounts of one upstream: tasks wait here for a slot.
//!
//! Not here: the rules (`limiter_state`). This is one lock around them, a mailbox for
//! each waiter, and the promise that whatever is dropped, and whenever, gives
//! back what it had.
//!
//! Invariant: the lock is never held across an await, and a slot is always in
//! exactly one of three places: a [`Permit`], a mailbox, the hands of the lock's
//! holder. A mailbox is filled, and abandoned, under the lock only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::limiter_state::{
    BlockedBy, Caps, Decision, Grant, Key, LeaveOutcome, LimiterState, Slot,
};
use super::limiter_state::{KeyUsage, WaiterId};
use super::pool_state::PoolNumber;
use super::probation::{Probation, Unproven, share};
use crate::config::values::Priority;
use crate::fault::{ClientFacing, Fault, rounded};
use crate::wire::sqlstate::SqlState;

#[cfg(test)]
mod tests;

/// How far pools look into the queue.
const LOOKED_AT: usize = 256;

/// Admits to one upstream. Clones are the same door.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimiter {
    inner: Arc<Mutex<LimiterInner>>,
    crowd: Arc<Contention>,
}

/// What pools look at to know whether others are in need of a slot.
#[derive(Debug, Default)]
pub(super) struct Contention {
    /// As of the last change; read without the lock.
    waiting: AtomicUsize,
    /// Somebody queued.
    queued: Notify,
    pub(super) unproven: Unproven,
}

impl Contention {
    /// As of a moment ago.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Somebody who waits may have become a reason to make room.
    pub(super) fn look_again(&self) {
        if self.waiting() > 0 {
            self.queued.notify_one();
        }
    }
}

/// Somebody in the queue, as the pools see it, which can make room.
#[derive(Debug, Clone)]
pub(crate) struct CapWaiter {
    pub(crate) key: Key,
    pub(crate) priority: Priority,
    pub(crate) waited: Duration,
    pub(crate) obstacle: BlockedBy,
    /// The pool it would open a connection for; `None` is a client that waits for a
    /// connection of its own.
    pub(crate) pool: Option<PoolNumber>,
    /// What its key has.
    pub(crate) in_use: u32,
}

/// One connection's slot, given back on drop. Held from before the dial until
/// the server has let go.
#[derive(Debug)]
#[must_use = "dropping a permit gives the slot back"]
pub(crate) struct Permit {
    room: Arc<Mutex<LimiterInner>>,
    /// `None` only while dropping.
    slot: Option<Slot>,
    /// While nobody vouches for the client. Of a login that failed until the server has let
    /// go: others are not to lose a connection for the next before.
    probation: Option<Probation>,
}

/// Whom a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A client's that has proven who it is.
    Clients,
    /// A client's that has yet to do so, over the connection.
    Strangers,
    Pools(PoolNumber),
}

/// A slot on its way to a waiter.
type Granted = (Slot, Option<Probation>);

/// Why nobody was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// SQLSTATE 53300.
    #[error("no connection became free in {:?} ({in_use} in use, {waiting} others waiting)", rounded(*waited))]
    TimedOut {
        waited: Duration,
        /// The cap that stood in the way at the end.
        obstacle: BlockedBy,
        in_use: u32,
        waiting: usize,
    },
    /// SQLSTATE 57P01: the proxy is going down.
    #[error("no new connections are made any more")]
    Closed,
}

impl ClientFacing for Refusal {
    fn fault(&self) -> Fault {
        match self {
            Self::TimedOut {
                obstacle,
                in_use,
                waiting,
                ..
            } => Fault::new(
                SqlState::TOO_MANY_CONNECTIONS,
                "query_wait_timeout",
                "no upstream connection became free within query_wait_timeout",
            )
            .detail(format!("{in_use} in use, {waiting} other clients waiting."))
            .hint(match obstacle {
                BlockedBy::Total => {
                    "All connections of limits.max_upstream_conn are in use: close idle \
                     sessions, or raise it if the cluster's limit permits."
                }
                BlockedBy::User => {
                    "The user is at limits.max_user_connections: close idle sessions of \
                     this user, or raise it."
                }
                BlockedBy::Database => {
                    "The database is at limits.max_db_connections: close idle sessions to \
                     it, or raise it."
                }
            }),
            Self::Closed => Fault::new(SqlState::ADMIN_SHUTDOWN, "draining", self.to_string())
                .hint("Connect again: another instance, or this one after its restart."),
        }
    }
}

/// The numbers at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) caps: Caps,
    pub(crate) in_use: u32,
    pub(crate) waiting: usize,
    pub(crate) longest_wait: Duration,
    pub(crate) by_key: BTreeMap<Key, KeyUsage>,
}

#[derive(Debug)]
struct LimiterInner {
    state: LimiterState,
    mailboxes: HashMap<WaiterId, oneshot::Sender<Granted>>,
    whose: HashMap<WaiterId, Whose>,
    crowd: Arc<Contention>,
    closed: bool,
}

/// A place in the queue, left on drop.
#[derive(Debug)]
pub(super) struct QueuePlace {
    room: Arc<Mutex<LimiterInner>>,
    id: WaiterId,
    mailbox: oneshot::Receiver<Granted>,
    since: Instant,
    /// The mailbox was emptied, or the place left.
    over: bool,
}

impl ConnectionLimiter {
    pub(crate) fn new(caps: Caps) -> Self {
        let crowd = Arc::<Contention>::default();
        let room = LimiterInner {
            state: LimiterState::new(caps),
            mailboxes: HashMap::default(),
            whose: HashMap::default(),
            crowd: Arc::clone(&crowd),
            closed: false,
        };
        Self {
            inner: Arc::new(Mutex::new(room)),
            crowd,
        }
    }

    /// Waits for a slot until `deadline`; one that is free is given even if that
    /// has passed. Dropping the future at any point leaves nothing behind.
    pub(crate) async fn admit(
        &self,
        key: Key,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Permit, Refusal> {
        self.wait(Whose::Clients, (key, priority), deadline).await
    }

    /// The same for a login whose client has proven nothing yet.
    pub(crate) async fn admit_unproven(
        &self,
        key: Key,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Permit, Refusal> {
        let admitted = self.wait(Whose::Strangers, (key, priority), deadline);
        let mut permit = admitted.await?;
        permit
            .probation
            .get_or_insert_with(|| Probation::new(&self.crowd));
        Ok(permit)
    }

    async fn wait(
        &self,
        whose: Whose,
        (key, priority): (Key, Priority),
        deadline: Instant,
    ) -> Result<Permit, Refusal> {
        let mut waiting = match self.ask(key, priority, whose)? {
            Admission::Admitted(permit) => return Ok(permit),
            Admission::Wait(waiting) => waiting,
        };
        match timeout_at(deadline, waiting.turn()).await {
            Ok(admitted) => admitted,
            Err(_elapsed) => waiting.give_up(),
        }
    }

    /// Whether anybody waits. As of a moment ago: a hint, and cheap.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowd.waiting() > 0
    }

    /// Whether a connection would be let in at once. As of a moment ago.
    pub(super) fn has_room(&self, key: &Key) -> bool {
        let room = self.inner.lock();
        !room.closed && room.state.has_room(key)
    }

    /// Completes when somebody has queued since the last time.
    pub(super) async fn somebody_queued(&self) {
        self.crowd.queued.notified().await;
    }

    /// The first `limit` waiters by priority, then in order of arrival, of those that
    /// have waited for longest: whoever comes behind them is looked at later. Of logins
    /// that have proven nothing no more than are due to have a place.
    pub(super) fn cap_waiters(&self, limit: usize) -> Vec<CapWaiter> {
        let now = Instant::now();
        let room = self.inner.lock();
        let of = |waiter| match room.whose.get(&waiter) {
            Some(Whose::Pools(pool)) => Some(*pool),
            _ => None,
        };
        let share = share(room.state.caps().total);
        let mut due = share.saturating_sub(self.crowd.unproven.count());
        let mut is_due = |waiter: &WaiterId| {
            if room.whose.get(waiter) != Some(&Whose::Strangers) {
                return true;
            }
            let is_due = due > 0;
            due = due.saturating_sub(1);
            is_due
        };
        let mut petitions: Vec<_> = room.state.waiter_views(LOOKED_AT).collect();
        petitions.sort_by_key(|petition| petition.priority);
        petitions
            .into_iter()
            .filter(|petition| is_due(&petition.waiter))
            .take(limit)
            .map(|petition| CapWaiter {
                pool: of(petition.waiter),
                key: petition.key.clone(),
                priority: petition.priority,
                waited: now.saturating_duration_since(petition.since),
                obstacle: petition.obstacle,
                in_use: petition.in_use,
            })
            .collect()
    }

    /// New caps: nothing is taken from holders.
    pub(crate) fn resize(&self, caps: Caps) {
        let mut room = self.inner.lock();
        let grants = room.state.resize(caps);
        room.deliver(grants);
    }

    /// Refuses everybody from now on, those who wait included.
    pub(crate) fn close(&self) {
        let mut room = self.inner.lock();
        room.closed = true;
        // A waiter whose mailbox is gone wakes up and leaves by itself.
        room.mailboxes.clear();
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let room = self.inner.lock();
        Snapshot {
            caps: room.state.caps(),
            in_use: room.state.in_use(),
            waiting: room.state.waiting(),
            longest_wait: room.state.longest_wait(now),
            by_key: room.state.tallies(now),
        }
    }

    /// Asks for a slot.
    pub(super) fn ask(
        &self,
        key: Key,
        priority: Priority,
        whose: Whose,
    ) -> Result<Admission, Refusal> {
        let since = Instant::now();
        let mut room = self.inner.lock();
        if room.closed {
            return Err(Refusal::Closed);
        }
        match room.state.request(key, priority, since) {
            Decision::Granted(slot) => Ok(Admission::Admitted(self.permit(slot))),
            Decision::Queued(id) => {
                let (sender, mailbox) = oneshot::channel();
                room.mailboxes.insert(id, sender);
                room.whose.insert(id, whose);
                room.count();
                self.crowd.queued.notify_one();
                Ok(Admission::Wait(QueuePlace {
                    room: Arc::clone(&self.inner),
                    id,
                    mailbox,
                    since,
                    over: false,
                }))
            }
        }
    }

    fn permit(&self, slot: Slot) -> Permit {
        Permit {
            room: Arc::clone(&self.inner),
            slot: Some(slot),
            probation: None,
        }
    }
}

/// Answer to a request.
#[derive(Debug)]
pub(super) enum Admission {
    Admitted(Permit),
    Wait(QueuePlace),
}

impl LimiterInner {
    fn release(&mut self, slot: Slot) {
        let grants = self.state.release(slot);
        self.deliver(grants);
    }

    /// Puts slots into mailboxes. What cannot be delivered goes back, which may
    /// be a grant to the next: a loop, as many may have gone at once.
    fn deliver(&mut self, mut grants: Vec<Grant>) {
        while let Some(Grant { waiter, slot }) = grants.pop() {
            // Counted before anybody can look how many there are.
            let is_stranger = self.whose.remove(&waiter) == Some(Whose::Strangers);
            let probation = is_stranger.then(|| Probation::new(&self.crowd));
            let undelivered = match self.mailboxes.remove(&waiter) {
                Some(mailbox) => mailbox.send((slot, probation)).err(),
                None => Some((slot, probation)),
            };
            if let Some((slot, _)) = undelivered {
                grants.extend(self.state.release(slot));
            }
        }
        self.count();
    }

    fn count(&self) {
        let waiting = self.state.waiting();
        self.crowd.waiting.store(waiting, Ordering::Release);
    }
}

impl QueuePlace {
    /// Waits for as long as it takes. Cancel-safe: the place is kept.
    pub(super) async fn turn(&mut self) -> Result<Permit, Refusal> {
        let (slot, probation) = (&mut self.mailbox).await.map_err(|_| Refusal::Closed)?;
        self.over = true;
        Ok(self.permit(slot, probation))
    }

    fn permit(&self, slot: Slot, probation: Option<Probation>) -> Permit {
        Permit {
            room: Arc::clone(&self.room),
            slot: Some(slot),
            probation,
        }
    }

    /// The time is over. If the slot came at this very moment, it counts.
    fn give_up(&mut self) -> Result<Permit, Refusal> {
        let room = Arc::clone(&self.room);
        let mut room = room.lock();
        let obstacle = room.state.obstacle(self.id);
        match (self.leave(&mut room), obstacle) {
            (Some((slot, probation)), _) => Ok(self.permit(slot, probation)),
            (None, Some(obstacle)) => Err(Refusal::TimedOut {
                waited: self.since.elapsed(),
                obstacle,
                in_use: room.state.in_use(),
                waiting: room.state.waiting(),
            }),
            // Granted, but there was no mailbox to put it in.
            (None, None) => Err(Refusal::Closed),
        }
    }

    /// Gives the place up; a slot that had been granted is handed back instead.
    fn leave(&mut self, room: &mut LimiterInner) -> Option<Granted> {
        self.over = true;
        match room.state.leave(self.id) {
            LeaveOutcome::Left(grants) => {
                room.mailboxes.remove(&self.id);
                room.whose.remove(&self.id);
                room.deliver(grants);
                None
            }
            LeaveOutcome::AlreadyGranted => self.mailbox.try_recv().ok(),
        }
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let room = Arc::clone(&self.room);
        let mut room = room.lock();
        if let Some((slot, _)) = self.leave(&mut room) {
            room.release(slot);
        }
    }
}

impl Permit {
    pub(super) const fn probation(&self) -> Option<&Probation> {
        self.probation.as_ref()
    }

    /// The server is satisfied with the client.
    pub(super) fn proven(&mut self) {
        self.probation = None;
    }

    /// Whose connection this is for.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.slot.as_ref().and_then(Slot::key)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.room.lock().release(slot);
        }
    }
}
