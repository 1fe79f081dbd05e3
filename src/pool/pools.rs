//! The pools of one upstream: the door to the books, which several threads use.
//!
//! Not here: the rules (`pool_state`), and how connections are made (`connector`). This is
//! one lock around the books, a mailbox for each waiter, and the promise that
//! whatever is dropped, and whenever, gives back what it had.
//!
//! Invariant: the lock is never held across an await; a connection is always in
//! exactly one of four places: a [`Lease`](super::Lease), a shelf, a mailbox, the task that
//! closes it. A mailbox is filled, and abandoned, under the lock only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::closing::{Closing, UpstreamState};
use super::connection::Connection;
use super::connector;
use super::idle_hold::{IdleHold, ReclaimAnswer};
use super::lease::LeaseError;
use super::limiter::ConnectionLimiter;
use super::limiter_state::Key;
use super::plan::{Opener, PoolId, PoolPlan};
use super::pool_state::{CloseReason, CompetingWaiter, Ticket};
use super::pool_state::{ConnectionId, Effect, Effects, PoolNumber, PoolState};
use crate::name::Name;
use crate::state::parameters::Parameters;
use crate::tls::MaybeTls;
use crate::upstream::Upstream;

mod login_greeting;
mod pool;

pub(crate) use login_greeting::LoginGreeting;

#[cfg(test)]
mod tests;

/// Waiters at the cap that are looked at when a connection comes back.
const RIVALS: usize = 16;
/// How long after a client has ended others by their process ids it may be seen.
const TERMINATING: Duration = Duration::from_secs(5);
/// How long somebody who needs a database to be free waits for it: as long as
/// Postgres itself.
const VACATING: Duration = Duration::from_secs(5);

/// All pools of one upstream. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) upstream: Arc<Upstream>,
    pub(super) limiter: ConnectionLimiter,
    pub(super) state: Mutex<PoolsInner>,
    /// Bounds the logins in flight.
    pub(super) logins: Semaphore,
    /// An opener that waits for a slot may be needless.
    pub(super) withdrawn: Notify,
    /// A connection is gone, or will not go.
    gone: Notify,
    generation: AtomicU32,
    /// When a client has ended others by their process ids, if one ever has.
    terminated_at: Mutex<Option<Instant>>,
    last_connection: AtomicU64,
    tasks: TaskTracker,
    /// For what is dropped outside of any runtime.
    main: Handle,
}

#[derive(Debug)]
pub(super) struct PoolsInner {
    pub(super) pools: PoolState<Box<Connection>>,
    mailboxes: HashMap<Ticket, oneshot::Sender<Outcome>>,
    pub(super) holders: HashMap<ConnectionId, (PoolNumber, Arc<IdleHold>)>,
    pub(super) by_number: HashMap<PoolNumber, Arc<Pool>>,
    /// Several where plans differ.
    by_id: HashMap<PoolId, Vec<PoolNumber>>,
    /// Empty: what is done most often is not to allocate.
    work: Work,
}

type Outcome = Result<Box<Connection>, LeaseError>;
pub(super) type Work = Effects<Box<Connection>>;

/// The connections of one user, database and set of startup parameters.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) number: PoolNumber,
    pub(super) id: PoolId,
    pub(super) plan: Arc<PoolPlan>,
    pub(super) opener: Opener,
    /// Of the last login, if that failed.
    pub(super) last_error: Mutex<Option<LeaseError>>,
    /// The last one that was given.
    introduction: Mutex<Option<LoginGreeting>>,
    /// An opener has come to its end.
    settled: Notify,
    /// What the last connection reported at its login.
    pub(super) reported: Mutex<Parameters>,
    pools: Pools,
}

/// What is done once the lock is released.
enum Deferred {
    Open(Arc<Pool>),
    Withdraw,
    /// Somebody was asked in vain.
    Relieve,
    Close(Box<Connection>, CloseReason),
}

impl Pools {
    /// `max_logins` bounds the logins in flight; `main` runs what is left to do
    /// when a thread ends.
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        gatekeeper: ConnectionLimiter,
        max_logins: Option<u32>,
        main: Handle,
    ) -> Self {
        let logins = max_logins.map_or(Semaphore::MAX_PERMITS, |max| max as usize);
        let room = PoolsInner {
            pools: PoolState::new(),
            mailboxes: HashMap::default(),
            holders: HashMap::default(),
            by_number: HashMap::default(),
            by_id: HashMap::default(),
            work: Vec::new(),
        };
        Self {
            inner: Arc::new(Inner {
                upstream,
                limiter: gatekeeper,
                state: Mutex::new(room),
                logins: Semaphore::new(logins.clamp(1, Semaphore::MAX_PERMITS)),
                withdrawn: Notify::new(),
                gone: Notify::new(),
                generation: AtomicU32::new(0),
                terminated_at: Mutex::new(None),
                last_connection: AtomicU64::new(0),
                tasks: TaskTracker::new(),
                main,
            }),
        }
    }

    /// The pool of this name, plan and way to log in, if it is there: most clients find
    /// it, and need not make what only a new one takes.
    pub(crate) fn known(&self, id: &PoolId, plan: &PoolPlan, opens: bool) -> Option<Arc<Pool>> {
        self.inner.state.lock().known(id, plan, opens)
    }

    /// The pool of this name, made if it is not there. The plan and the opener of a
    /// pool that is there stay as they are.
    pub(crate) fn pool(&self, id: PoolId, plan: Arc<PoolPlan>, opener: Opener) -> Arc<Pool> {
        let mut room = self.inner.state.lock();
        if let Some(pool) = room.known(&id, &plan, opener.is_some()) {
            return pool;
        }
        let key = Key::new(id.user.clone(), id.database.clone());
        let number = room.pools.enlist(&key, &plan, opener.is_some());
        let pool = Arc::new(Pool {
            number,
            id: id.clone(),
            plan,
            opener,
            last_error: Mutex::new(None),
            introduction: Mutex::new(None),
            settled: Notify::new(),
            reported: Mutex::default(),
            pools: self.clone(),
        });
        room.by_number.insert(number, Arc::clone(&pool));
        room.by_id.entry(id).or_default().push(number);
        pool
    }

    /// Which generation of logins new clients belong to. What logins begin with may
    /// change (ALTER ROLE .. SET): connections from before are for clients from before.
    pub(crate) fn generation(&self) -> u32 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// Clients that come from now on get connections that are opened from now on.
    /// Idle connections of pools that have no client left are closed soon.
    pub(crate) fn bump_generation(&self) {
        self.inner.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A client may just have ended others by their process ids.
    pub(crate) fn expect_terminations(&self) {
        *self.inner.terminated_at.lock() = Some(Instant::now());
    }

    /// Whether connections that end now may have been ended by a client.
    pub(crate) fn expects_terminations(&self) -> bool {
        let at = *self.inner.terminated_at.lock();
        at.is_some_and(|at| at.elapsed() < TERMINATING)
    }

    /// Closes what is idle, now and whenever a connection comes back; all who wait fail.
    pub(crate) fn close_all(&self) {
        self.act(|room, out| room.pools.close(Instant::now(), out));
        self.inner.withdrawn.notify_waiters();
        self.inner.tasks.close();
    }

    /// Completes, after [`Pools::close_all`], when the servers have let go of all
    /// connections but those that clients still have.
    pub(crate) async fn all_closed(&self) {
        self.inner.tasks.wait().await;
    }

    /// Frees a database of connections that no client uses: those that are idle are
    /// closed, clients that keep one are asked for it. Returns when the server has let
    /// go of them, or after five seconds. While the result lives, connections to the
    /// database that are given back are closed unless somebody waits for them.
    pub(crate) async fn evict_database(&self, database: Name) -> DatabaseEviction {
        let vacancy = DatabaseEviction {
            pools: self.clone(),
            database,
        };
        self.act(|room, out| {
            room.pools
                .evict_database(&vacancy.database, Instant::now(), out)
        });
        let vacated = async {
            loop {
                let gone = self.inner.gone.notified();
                if !self.inner.state.lock().pools.is_evicting(&vacancy.database) {
                    return;
                }
                gone.await;
            }
        };
        let _ = timeout(VACATING, vacated).await;
        vacancy
    }

    /// Forgets pools that nobody can use any more: of generations past, or empty.
    pub(super) fn retire_unused(&self) {
        let generation = self.generation();
        self.act(|room, out| {
            let unused: Vec<(PoolId, PoolNumber)> = room
                .by_number
                .values()
                // One count is the map's.
                .filter(|pool| Arc::strong_count(pool) == 1)
                .filter(|pool| {
                    let empty = room.pools.tally(pool.number) == Default::default();
                    // Whoever comes next has to log in itself, and brings a connection.
                    let barren = pool.opener.is_none();
                    let useless = empty && pool.plan.min_size == 0;
                    useless || barren || pool.id.generation != generation
                })
                .map(|pool| (pool.id.clone(), pool.number))
                .collect();
            for (id, number) in unused {
                room.by_number.remove(&number);
                room.pools.retire(number, out);
                if let Some(numbers) = room.by_id.get_mut(&id) {
                    numbers.retain(|known| *known != number);
                    if numbers.is_empty() {
                        room.by_id.remove(&id);
                    }
                }
            }
        });
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Who waits at the cap, for the books to judge.
    pub(super) fn competing_waiters(&self) -> Vec<CompetingWaiter> {
        if !self.inner.limiter.is_crowded() {
            return Vec::new();
        }
        let petitioners = self.inner.limiter.cap_waiters(RIVALS).into_iter();
        petitioners
            .map(|petitioner| CompetingWaiter {
                key: petitioner.key,
                obstacle: petitioner.obstacle,
                pool: petitioner.pool,
                priority: petitioner.priority,
                waited: petitioner.waited,
                has: petitioner.in_use,
            })
            .collect()
    }

    /// Changes the books, and does what follows from it.
    pub(super) fn act<T>(&self, change: impl FnOnce(&mut PoolsInner, &mut Work) -> T) -> T {
        let mut jobs = Vec::new();
        let result = {
            let mut room = self.inner.state.lock();
            let mut out = std::mem::take(&mut room.work);
            let result = change(&mut room, &mut out);
            room.dispatch(out, &mut jobs);
            result
        };
        self.perform(jobs);
        result
    }

    fn perform(&self, jobs: Vec<Deferred>) {
        for job in jobs {
            match job {
                Deferred::Open(pool) => connector::begin(&pool),
                Deferred::Withdraw => self.inner.withdrawn.notify_waiters(),
                Deferred::Relieve => self.reclaim(),
                Deferred::Close(mut connection, reason) => {
                    let pool = connection.pool;
                    if reason == CloseReason::Lost {
                        connection.tell_of_loss(self.expects_terminations());
                    }
                    self.count_closed(pool, reason);
                    let (closing, stream) = connection.into_closing(UpstreamState::AtRest);
                    self.close_in_background(pool, closing, stream);
                }
            }
        }
    }

    /// Closes a connection that the books count as closing.
    pub(super) fn close_in_background(
        &self,
        pool: PoolNumber,
        closing: Closing,
        mut stream: MaybeTls,
    ) {
        let counted = ClosingGuard {
            pools: self.clone(),
            pool,
        };
        self.spawn(async move {
            // The thread that it was used on may end before the server has closed.
            let _ = stream.rehome();
            closing.close(stream).await;
            drop(counted);
        });
    }

    /// Somebody who waits for connections to go should look again.
    pub(super) fn gone(&self) {
        self.inner.gone.notify_waiters();
    }

    pub(super) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.inner.last_connection.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let here = Handle::try_current();
        let runtime = here.as_ref().unwrap_or(&self.inner.main);
        self.inner.tasks.spawn_on(task, runtime);
    }

    fn count_closed(&self, pool: PoolNumber, reason: CloseReason) {
        let room = self.inner.state.lock();
        if let Some(pool) = room.by_number.get(&pool) {
            let generation = pool.id.generation;
            tracing::debug!(
                pool = pool.label(),
                generation,
                reason = reason.label(),
                "connection leaves its pool"
            );
            let metrics = self.inner.upstream.metrics();
            metrics.pool_closed(&pool.label(), reason.label());
        }
    }
}

/// A connection that is closing; dropped when the server has let go of it.
#[derive(Debug)]
pub(super) struct ClosingGuard {
    pub(super) pools: Pools,
    pub(super) pool: PoolNumber,
}

impl Drop for ClosingGuard {
    fn drop(&mut self) {
        let pool = self.pool;
        self.pools
            .act(|room, out| room.pools.closed(pool, Instant::now(), out));
        self.pools.gone();
    }
}

/// A database that somebody needs to be free; see [`Pools::evict_database`].
#[derive(Debug)]
#[must_use = "once it is dropped, idle connections to the database are kept again"]
pub(crate) struct DatabaseEviction {
    pools: Pools,
    database: Name,
}

impl Drop for DatabaseEviction {
    fn drop(&mut self) {
        let mut room = self.pools.inner.state.lock();
        room.pools.end_eviction(&self.database);
    }
}

impl PoolsInner {
    fn known(&self, id: &PoolId, plan: &PoolPlan, opens: bool) -> Option<Arc<Pool>> {
        let numbers = self.by_id.get(id)?.iter();
        numbers
            .filter_map(|number| self.by_number.get(number))
            .find(|pool| *pool.plan == *plan && pool.opener.is_some() == opens)
            .map(Arc::clone)
    }

    /// Nobody keeps this connection any more.
    pub(super) fn unlist(&mut self, id: ConnectionId) {
        if let Some((_, holder)) = self.holders.remove(&id) {
            holder.unlist();
        }
    }

    /// Fills mailboxes, and collects what is to be done without the lock.
    fn dispatch(&mut self, work: Work, jobs: &mut Vec<Deferred>) {
        let mut work = VecDeque::from(work);
        while let Some(effect) = work.pop_front() {
            match effect {
                Effect::Deliver(ticket, connection) => {
                    let pool = connection.pool;
                    let undelivered = match self.mailboxes.remove(&ticket) {
                        Some(mailbox) => mailbox.send(Ok(connection)).err(),
                        None => Some(Ok(connection)),
                    };
                    if let Some(Ok(connection)) = undelivered {
                        let mut more = Vec::new();
                        let now = Instant::now();
                        self.pools.check_in((pool, connection), now, &[], &mut more);
                        work.extend(more);
                    }
                }
                Effect::Fail(ticket, failure) => {
                    if let Some((mailbox, error)) = self
                        .mailboxes
                        .remove(&ticket)
                        .map(|mailbox| (mailbox, failure.into()))
                    {
                        // Whoever is gone needs no telling.
                        let _ = mailbox.send(Err(error));
                    }
                }
                Effect::Open(pool) => {
                    if let Some(pool) = self.by_number.get(&pool) {
                        jobs.push(Deferred::Open(Arc::clone(pool)));
                    }
                }
                Effect::Withdraw(_) => jobs.push(Deferred::Withdraw),
                Effect::Close(_, connection, reason) => {
                    jobs.push(Deferred::Close(connection, reason))
                }
                Effect::Ask(id, whom) => {
                    let Some((pool, holder)) = self.holders.get(&id) else {
                        continue;
                    };
                    let (pool, asked) = (*pool, holder.ask(whom));
                    let mut more = Vec::new();
                    match asked {
                        ReclaimAnswer::Told => continue,
                        ReclaimAnswer::Busy => {
                            self.holders.remove(&id);
                            self.pools.used(pool, id, Instant::now(), &mut more);
                        }
                        ReclaimAnswer::Used => {
                            self.pools.touched(pool, id, Instant::now(), &mut more)
                        }
                    }
                    work.extend(more);
                    jobs.push(Deferred::Relieve);
                }
            }
        }
        self.work = work.into();
    }
}
