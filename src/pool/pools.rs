//! The pools and places of one upstream, which several threads share.
//!
//! Not here: the rules (`allocator`), and how connections are made (`connector`). This is
//! one lock around the allocator, a mailbox for each waiter, and the promise that
//! whatever is dropped, and whenever, gives back what it had.
//!
//! Invariant: the lock is never held across an await; a connection is always in
//! exactly one of four places: a [`Lease`](super::Lease), an idle set, a mailbox, the task
//! that closes it. A mailbox is filled, and abandoned, under the lock only.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::allocator::{Allocator, Caps, CloseReason, Effect, Silence};
use super::closing::{Closing, UpstreamState};
use super::connection::Connection;
use super::greeting::LoginGreeting;
use super::idle_hold::{IdleHold, ReclaimAnswer};
use super::ids::{ConnectionId, LoginNumber, PoolNumber, Ticket};
use super::key::Key;
use super::lease_error::LeaseError;
use super::permit::{Permit, Place, PlaceCounter};
use super::plan::{Opener, PoolId, PoolPlan};
use crate::pool::timing::TERMINATION_WINDOW;
use crate::state::parameters::Parameters;
use crate::tls::MaybeTls;
use crate::upstream::Upstream;

mod checkout;
mod eviction;
mod login_greeting;
mod open_attempt;
mod waiting;

pub(crate) use eviction::DatabaseEviction;

#[cfg(test)]
mod tests;

/// All pools of one upstream. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) upstream: Arc<Upstream>,
    pub(super) state: Mutex<State>,
    /// How many wait for a place, as of the last change; read without the lock.
    waiting: AtomicUsize,
    /// Others may have to make room for somebody who waits for a place.
    room_wanted: Notify,
    /// Bounds the logins in flight.
    pub(super) logins: Semaphore,
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
pub(super) struct State {
    pub(super) allocator: Allocator<Box<Connection>>,
    mailboxes: HashMap<Ticket, oneshot::Sender<Outcome>>,
    pub(super) holds: HashMap<ConnectionId, (PoolNumber, Arc<IdleHold>)>,
    pub(super) by_number: HashMap<PoolNumber, Arc<Pool>>,
    /// Several where plans differ.
    by_id: HashMap<PoolId, Vec<PoolNumber>>,
}

/// What a waiter gets.
#[derive(Debug)]
pub(super) enum Delivery {
    Connection(Box<Connection>),
    /// A place for a connection of its own.
    Place(Key, Option<LoginNumber>),
}

pub(super) type Outcome = Result<Delivery, LeaseError>;

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
    /// Where a client has waited last: connections for it are opened there.
    runtime: Mutex<Option<Handle>>,
    pools: Pools,
}

/// A client's membership in a pool, which lasts for as long as it has clients.
#[derive(Debug)]
pub(crate) struct PoolHandle {
    pool: Arc<Pool>,
}

/// What is done once the lock is released.
enum Deferred {
    Open(Arc<Pool>),
    Close(Option<Arc<Pool>>, Box<Connection>, CloseReason),
}

impl Pools {
    /// `max_logins` bounds the logins in flight; `main` runs what is left to do
    /// when a thread ends.
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        caps: Caps,
        max_logins: Option<u32>,
        main: Handle,
    ) -> Self {
        let logins = max_logins.map_or(Semaphore::MAX_PERMITS, |max| max as usize);
        let state = State {
            allocator: Allocator::new(caps),
            mailboxes: HashMap::default(),
            holds: HashMap::default(),
            by_number: HashMap::default(),
            by_id: HashMap::default(),
        };
        Self {
            inner: Arc::new(Inner {
                upstream,
                state: Mutex::new(state),
                waiting: AtomicUsize::new(0),
                room_wanted: Notify::new(),
                logins: Semaphore::new(logins.clamp(1, Semaphore::MAX_PERMITS)),
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
    pub(crate) fn known(&self, id: &PoolId, plan: &PoolPlan, opens: bool) -> Option<PoolHandle> {
        self.inner.state.lock().join(id, plan, opens)
    }

    /// The pool of this name, made if it is not there. The plan and the opener of a
    /// pool that is there stay as they are.
    pub(crate) fn pool(&self, id: PoolId, plan: Arc<PoolPlan>, opener: Opener) -> PoolHandle {
        let mut state = self.inner.state.lock();
        if let Some(pool) = state.join(&id, &plan, opener.is_some()) {
            return pool;
        }
        let key = Key::new(id.user.clone(), id.database.clone());
        let outdated = id.generation != self.generation();
        let number = (state.allocator).enlist(&key, &plan, (opener.is_some(), outdated));
        let pool = Arc::new(Pool {
            number,
            id: id.clone(),
            plan,
            opener,
            last_error: Mutex::new(None),
            introduction: Mutex::new(None),
            settled: Notify::new(),
            reported: Mutex::default(),
            runtime: Mutex::default(),
            pools: self.clone(),
        });
        state.by_number.insert(number, Arc::clone(&pool));
        state.by_id.entry(id).or_default().push(number);
        state.allocator.join(number);
        PoolHandle { pool }
    }

    /// Which generation of logins new clients belong to. What logins begin with may
    /// change (ALTER ROLE .. SET): connections from before are for clients from before.
    pub(crate) fn generation(&self) -> u32 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// Clients that come from now on get connections that are opened from now on.
    /// Idle connections of pools that have no client left are closed soon.
    pub(crate) fn bump_generation(&self) {
        self.act(|state| {
            self.inner.generation.fetch_add(1, Ordering::AcqRel);
            state.allocator.outdate_pools();
        });
    }

    /// A client may just have ended others by their process ids.
    pub(crate) fn expect_terminations(&self) {
        *self.inner.terminated_at.lock() = Some(Instant::now());
    }

    /// Whether connections that end now may have been ended by a client.
    pub(crate) fn expects_terminations(&self) -> bool {
        let at = *self.inner.terminated_at.lock();
        at.is_some_and(|at| at.elapsed() < TERMINATION_WINDOW)
    }

    /// No connection is opened from now on, and nobody waits for a place.
    pub(crate) fn drain(&self) {
        self.act(|state| state.allocator.drain(Instant::now()));
    }

    /// Closes what is idle, now and whenever a connection comes back; all who wait fail.
    pub(crate) fn close_all(&self) {
        self.act(|state| state.allocator.close(Instant::now()));
        self.inner.tasks.close();
    }

    /// Completes, after [`Pools::close_all`], when the servers have let go of all
    /// connections but those that clients still have.
    pub(crate) async fn all_closed(&self) {
        self.inner.tasks.wait().await;
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Whether anybody waits for a place. As of a moment ago: a hint, and cheap.
    pub(super) fn is_contended(&self) -> bool {
        self.inner.waiting.load(Ordering::Acquire) > 0
    }

    /// Completes when others may have to make room for somebody who waits for a place.
    pub(super) async fn room_wanted(&self) {
        self.inner.room_wanted.notified().await;
    }

    /// Makes room for those who wait for a place.
    pub(super) fn reclaim(&self) {
        if self.is_contended() {
            self.act(|state| state.allocator.reclaim(Instant::now()));
        }
    }

    /// Changes the state, and does what follows from it.
    pub(super) fn act<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut jobs = Vec::new();
        let result = {
            let mut state = self.inner.state.lock();
            let result = change(&mut state);
            state.dispatch(&mut jobs);
            if std::mem::take(&mut state.allocator.room_wanted) {
                self.inner.room_wanted.notify_one();
            }
            let waiting = state.allocator.limits().waiting();
            if waiting != self.inner.waiting.load(Ordering::Relaxed) {
                self.inner.waiting.store(waiting, Ordering::Release);
            }
            result
        };
        self.perform(jobs);
        result
    }

    fn perform(&self, jobs: Vec<Deferred>) {
        for job in jobs {
            match job {
                Deferred::Open(pool) => pool.open(),
                Deferred::Close(pool, mut connection, reason) => {
                    let number = connection.pool;
                    if reason == CloseReason::Lost {
                        connection.tell_of_loss(self.expects_terminations());
                    }
                    if let Some(pool) = pool {
                        pool.count_closed(reason);
                    }
                    let (closing, stream) = connection.into_closing(UpstreamState::AtRest);
                    self.close_in_background(number, closing, stream);
                }
            }
        }
    }

    /// Closes a connection that the pool counts as closing.
    pub(super) fn close_in_background(
        &self,
        pool: PoolNumber,
        mut closing: Closing,
        mut stream: MaybeTls,
    ) {
        closing.joins(pool);
        self.spawn(async move {
            // The thread that it was used on may end before the server has closed.
            let _ = stream.rehome();
            closing.close(stream).await;
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

    /// For a place that is taken.
    pub(super) fn permit(&self, key: Key, login: Option<LoginNumber>) -> Permit {
        let counter = Arc::clone(&self.inner);
        Permit::new(counter, key, login)
    }
}

impl PlaceCounter for Inner {
    fn release(self: Arc<Self>, place: Place) {
        let pools = Pools { inner: self };
        pools.act(|state| {
            let of = (&place.key, place.pool);
            state.allocator.release(of, place.login, Instant::now());
        });
        if place.pool.is_some() {
            pools.gone();
        }
    }

    fn proven(self: Arc<Self>, login: LoginNumber) {
        Pools { inner: self }.act(|state| state.allocator.proven(login));
    }

    fn awaits_client(&self, login: LoginNumber, awaits: bool) {
        let mut state = self.state.lock();
        (state.allocator).awaits_client(login, awaits, Instant::now());
    }

    fn silence(&self, login: LoginNumber) -> Option<Silence> {
        let mut state = self.state.lock();
        state.allocator.silence(login, Instant::now())
    }
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

    pub(super) fn count_closed(&self, reason: CloseReason) {
        let (pool, generation) = (self.label(), self.id.generation);
        let label = reason.label();
        tracing::debug!(
            pool,
            generation,
            reason = label,
            "connection leaves its pool"
        );
        let metrics = self.pools.inner.upstream.metrics();
        metrics.pool_closed(&pool, label);
    }
}

impl Deref for PoolHandle {
    type Target = Arc<Pool>;

    fn deref(&self) -> &Arc<Pool> {
        &self.pool
    }
}

/// The client is done with the pool. Where the proxy cannot log in, what is idle there
/// is of use to nobody once the last has left: others get its place if they wait.
impl Drop for PoolHandle {
    fn drop(&mut self) {
        let number = self.pool.number;
        self.pool.pools.act(|state| state.allocator.quit(number));
    }
}

impl State {
    fn join(&mut self, id: &PoolId, plan: &PoolPlan, opens: bool) -> Option<PoolHandle> {
        let numbers = self.by_id.get(id)?.iter();
        let pool = numbers
            .filter_map(|number| self.by_number.get(number))
            .find(|pool| *pool.plan == *plan && pool.opener.is_some() == opens)?;
        let pool = Arc::clone(pool);
        self.allocator.join(pool.number);
        Some(PoolHandle { pool })
    }

    /// Nobody keeps this connection any more.
    pub(super) fn unlist(&mut self, id: ConnectionId) {
        if let Some((_, hold)) = self.holds.remove(&id) {
            hold.unlist();
        }
    }

    /// Fills mailboxes, and collects what is to be done without the lock.
    fn dispatch(&mut self, jobs: &mut Vec<Deferred>) {
        while !self.allocator.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.allocator.effects);
            for effect in effects.drain(..) {
                self.carry_out(effect, jobs);
            }
            if self.allocator.effects.is_empty() {
                self.allocator.effects = effects;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect<Box<Connection>>, jobs: &mut Vec<Deferred>) {
        match effect {
            Effect::Deliver(ticket, connection) => {
                let pool = connection.pool;
                let undelivered = self.send(ticket, Ok(Delivery::Connection(connection)));
                if let Some(Ok(Delivery::Connection(connection))) = undelivered {
                    let now = Instant::now();
                    self.allocator.check_in((pool, connection), now);
                }
            }
            Effect::Admit(ticket, key, login) => {
                let undelivered = self.send(ticket, Ok(Delivery::Place(key, login)));
                if let Some(Ok(Delivery::Place(key, login))) = undelivered {
                    self.allocator.release((&key, None), login, Instant::now());
                }
            }
            Effect::Fail(ticket, failure) => {
                // Whoever is gone needs no telling.
                let _ = self.send(ticket, Err(failure.into()));
            }
            Effect::Open(pool) => {
                jobs.extend(self.by_number.get(&pool).cloned().map(Deferred::Open));
            }
            Effect::Close(pool, connection, reason) => {
                let pool = self.by_number.get(&pool).cloned();
                jobs.push(Deferred::Close(pool, connection, reason));
            }
            Effect::Ask(id, policy) => {
                let Some((pool, hold)) = self.holds.get(&id) else {
                    return;
                };
                let (pool, answer) = (*pool, hold.ask(policy));
                match answer {
                    ReclaimAnswer::Told => return,
                    ReclaimAnswer::Busy => {
                        self.holds.remove(&id);
                        self.allocator.used(pool, id, Instant::now());
                    }
                    ReclaimAnswer::Used => self.allocator.touched(pool, id, Instant::now()),
                }
                // Another may have what was asked for in vain.
                self.allocator.reclaim(Instant::now());
            }
            Effect::Retire(pool) => {
                if let Some(pool) = self.by_number.remove(&pool)
                    && let Some(numbers) = self.by_id.get_mut(&pool.id)
                {
                    numbers.retain(|number| *number != pool.number);
                    if numbers.is_empty() {
                        self.by_id.remove(&pool.id);
                    }
                }
            }
        }
    }

    /// Says what could not be delivered.
    fn send(&mut self, ticket: Ticket, outcome: Outcome) -> Option<Outcome> {
        match self.mailboxes.remove(&ticket) {
            Some(mailbox) => mailbox.send(outcome).err(),
            None => Some(outcome),
        }
    }
}
