//! The books of all pools of one upstream: what is idle, lent and kept, who waits,
//! and what has to happen next. No sockets, no clock (`now` is an argument), no
//! locks; `pools` carries out what is decided here.
//!
//! A *shelf* holds the connections of one user, database and set of startup
//! parameters. The shelves of a user and database make a *group*, which the sizes
//! of the plan bound: a client with unusual startup parameters needs connections
//! of its own, and they are taken from the same allowance.
//!
//! What a waiter gets is decided in this order: an idle connection that suits it;
//! a new one, while the group has room (the reserve's once somebody has waited
//! long enough); room made by closing an idle one that suits nobody who waits; a
//! connection that its client keeps though it is idle, for which that client is
//! asked. Where it is not the group but the cap of the upstream that is full,
//! [`PoolState::reclaim`] makes room for others, and `fairness` says when a busy
//! pool has to.
//!
//! Invariant, after every operation: no group goes beyond its size and reserve,
//! and no waiter waits while an idle connection suits it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::ThreadId;

use tokio::time::Instant;

use super::idle_hold::ReclaimPolicy;
use super::limiter_state::Key;
use super::plan::{CheckoutRequest, PoolPlan};
use crate::name::Name;

mod adoption;
mod aging;
mod claims;
mod fairness;
mod held;
mod idle_set;
mod openers;
mod schedule;

pub(crate) use fairness::CompetingWaiter;
use idle_set::{Held, Idle, IdleSet, PoolGroup, Waiter};

#[cfg(test)]
mod tests;

/// A pool of one upstream. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PoolNumber(pub(super) u32);

/// One server connection, for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(super) u64);

/// A place in the queue of a pool; a smaller one came earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

/// What the books want to know of a connection.
pub(crate) trait PooledConnection {
    fn id(&self) -> ConnectionId;
    /// The client whose state may still be on it, or that expects to find it.
    fn owner(&self) -> Option<u64>;
    /// Where it is registered.
    fn thread(&self) -> ThreadId;
    fn opened_at(&self) -> Instant;
    /// Whether the client may have it at all.
    fn suits(&self, want: &CheckoutRequest) -> bool;
}

/// Why a connection is closed; label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// Older than `server_lifetime`.
    Lifetime,
    /// Unused for `server_idle_timeout`.
    Idle,
    /// Its place was needed, and nobody used it.
    Evicted,
    /// Its place was due to somebody else, though others of the pool wait.
    GaveWay,
    /// Somebody needs the database to be free of connections.
    Vacated,
    /// New logins begin with other settings, and no client of old is left.
    Retired,
    Shutdown,
    /// The server had closed it, or spoke out of turn.
    Lost,
    /// By the client that had it.
    Client,
}

impl CloseReason {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Idle => "idle_timeout",
            Self::Evicted => "evicted",
            Self::GaveWay => "gave_way",
            Self::Vacated => "vacated",
            Self::Retired => "retired",
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
            Self::Client => "client",
        }
    }
}

/// Why a waiter gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckoutFailure {
    /// The login failed for a reason that will not pass.
    Login,
    /// There is no connection, and none can be made.
    NoWay,
    Closed,
}

/// What has to be done, in this order.
#[derive(Debug)]
pub(crate) enum Effect<C> {
    Deliver(Ticket, C),
    Fail(Ticket, CheckoutFailure),
    /// One more opener of this pool. It is counted already.
    Open(PoolNumber),
    /// An opener of this pool that waits for a slot is needed no longer.
    Withdraw(PoolNumber),
    /// Counted as closing from here on.
    Close(PoolNumber, C, CloseReason),
    /// The client that keeps this one is asked for it. If it turns out to use it, or to
    /// have used it not long ago: [`PoolState::used`], [`PoolState::touched`].
    Ask(ConnectionId, ReclaimPolicy),
}

pub(crate) type Effects<C> = Vec<Effect<C>>;

/// Answer to a client.
#[derive(Debug)]
#[must_use]
pub(crate) enum CheckoutAnswer<C> {
    Taken(C),
    Queued(Ticket),
    Failed(CheckoutFailure),
}

/// Numbers of a shelf, or of all shelves of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Out with clients, held ones included.
    pub(crate) lent: u32,
    pub(crate) idle: u32,
    /// Openers, with a slot or without.
    pub(crate) opening: u32,
    /// Those of them that wait for a slot.
    pub(crate) queued: u32,
    pub(crate) closing: u32,
    pub(crate) waiting: u32,
}

impl Counts {
    pub(crate) const fn total(&self) -> u32 {
        self.lent + self.idle + self.opening + self.closing
    }

    /// Connections there are, or will be without anybody else's doing.
    const fn has(&self) -> u32 {
        self.total()
            .saturating_sub(self.closing)
            .saturating_sub(self.queued)
    }

    /// Places under the cap that these take.
    const fn placed(&self) -> u32 {
        self.total().saturating_sub(self.queued)
    }

    /// Waiters for whom no opener is at work with a slot.
    const fn starved(&self) -> u32 {
        self.waiting
            .saturating_sub(self.opening.saturating_sub(self.queued))
    }
}

/// Which group a shelf is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct GroupNumber(u32);

/// All pools of one upstream.
#[derive(Debug)]
pub(crate) struct PoolState<C> {
    groups: BTreeMap<GroupNumber, PoolGroup>,
    idle_sets: BTreeMap<PoolNumber, IdleSet<C>>,
    last_pool: u32,
    last_ticket: u64,
    /// Databases that somebody needs to be free, and how many want that.
    evicting: BTreeMap<Name, u32>,
    closed: bool,
}

impl<C: PooledConnection> PoolState<C> {
    pub(crate) const fn new() -> Self {
        Self {
            groups: BTreeMap::new(),
            idle_sets: BTreeMap::new(),
            last_pool: 0,
            last_ticket: 0,
            evicting: BTreeMap::new(),
            closed: false,
        }
    }

    /// A new pool. Pools of one key with equal plans share its sizes.
    pub(crate) fn enlist(&mut self, key: &Key, plan: &Arc<PoolPlan>, can_open: bool) -> PoolNumber {
        self.last_pool += 1;
        let pool = PoolNumber(self.last_pool);
        let same = |group: &PoolGroup| group.key == *key && group.plan == *plan;
        let known = self.groups.iter().find(|(_, group)| same(group));
        let number = known.map_or(GroupNumber(pool.0), |(&number, _)| number);
        let group = self
            .groups
            .entry(number)
            .or_insert_with(|| PoolGroup::new(key.clone(), Arc::clone(plan)));
        group.members = group.members.iter().copied().chain([pool]).collect();
        self.idle_sets.insert(pool, IdleSet::new(number, can_open));
        pool
    }

    /// Forgets a pool without clients; its idle connections are closed.
    pub(crate) fn retire(&mut self, pool: PoolNumber, out: &mut Effects<C>) {
        self.close_idle(pool, CloseReason::Retired, |_| true, out);
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            shelf.retired = true;
        }
        self.forget(pool);
    }

    /// A client wants a connection now.
    pub(crate) fn lease(
        &mut self,
        pool: PoolNumber,
        want: CheckoutRequest,
        now: Instant,
        out: &mut Effects<C>,
    ) -> CheckoutAnswer<C> {
        if self.closed {
            return CheckoutAnswer::Failed(CheckoutFailure::Closed);
        }
        if let Some(item) = self.take(pool, &want) {
            return CheckoutAnswer::Taken(item);
        }
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return CheckoutAnswer::Failed(CheckoutFailure::Closed);
        };
        if shelf.has_no_way() {
            return CheckoutAnswer::Failed(CheckoutFailure::NoWay);
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let waiter = Waiter {
            ticket,
            want,
            since: now,
        };
        shelf.waiters.push(waiter);
        self.shift(pool, |tally| tally.waiting += 1);
        self.schedule(pool, now, out);
        CheckoutAnswer::Queued(ticket)
    }

    /// A connection that is idle, if one is good for the client.
    pub(crate) fn take(&mut self, pool: PoolNumber, want: &CheckoutRequest) -> Option<C> {
        let item = self.idle_sets.get_mut(&pool)?.take(want)?;
        self.shift(pool, |tally| {
            tally.idle -= 1;
            tally.lent += 1;
        });
        Some(item)
    }

    /// A waiter hung up. `false`: it had been served before, and what it got is
    /// where the [`Effect`] was sent.
    pub(crate) fn leave(
        &mut self,
        pool: PoolNumber,
        ticket: Ticket,
        now: Instant,
        out: &mut Effects<C>,
    ) -> bool {
        if self.unclaim(pool, ticket) {
            return true;
        }
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return false;
        };
        let waited = shelf.waiters.remove(ticket);
        if waited {
            self.shift(pool, |tally| tally.waiting -= 1);
            // An opener may be one too many now, and the next in line be easier to please.
            self.schedule(pool, now, out);
        }
        waited
    }

    /// A connection comes back. `competing_waiters` are those at the cap that could use its place.
    pub(crate) fn check_in(
        &mut self,
        (pool, item): (PoolNumber, C),
        now: Instant,
        rivals: &[CompetingWaiter],
        out: &mut Effects<C>,
    ) {
        self.release(pool, item.id());
        let reason = self.reason_to_close(pool, &item, now);
        let item = match reason {
            None => match self.meet_claim(pool, item, out) {
                Some(item) => item,
                None => return self.schedule(pool, now, out),
            },
            Some(_) => {
                self.fail_claim((pool, item.id()), out);
                item
            }
        };
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return;
        };
        let suits = shelf
            .waiters
            .next(now)
            .is_some_and(|waiter| shelf.fits(&item, &waiter.want));
        let reason = reason.or_else(|| {
            let due = suits && shelf.can_spare() && self.has_to_give_way(pool, now, rivals);
            due.then_some(CloseReason::GaveWay)
        });
        let reason = reason.or_else(|| {
            let owed = shelf.owes_another(&item, now);
            owed.then_some(CloseReason::Evicted)
        });
        if reason == Some(CloseReason::GaveWay)
            && let Some(group) = self.groups.get_mut(&shelf.group)
        {
            group.gave_way_at = Some(now);
        }
        self.shift(pool, |tally| tally.lent -= 1);
        self.place(pool, item, (now, reason), out);
        self.schedule(pool, now, out);
        self.reclaim(rivals, out);
    }

    /// Whether a pool has all the connections that it may have.
    pub(crate) fn is_full(&self, pool: PoolNumber) -> bool {
        let group = self.idle_sets.get(&pool).map(|shelf| shelf.group);
        let group = group.and_then(|number| self.groups.get(&number));
        group.is_some_and(|group| group.tally.total() >= group.plan.size)
    }

    /// Whether the clients of a pool can do without one of its connections.
    pub(crate) fn can_spare(&self, pool: PoolNumber) -> bool {
        self.idle_sets.get(&pool).is_none_or(IdleSet::can_spare)
    }

    /// A client closes the connection that it had.
    pub(crate) fn closing(
        &mut self,
        pool: PoolNumber,
        id: ConnectionId,
        now: Instant,
        out: &mut Effects<C>,
    ) {
        self.release(pool, id);
        self.fail_claim((pool, id), out);
        self.shift(pool, |tally| {
            tally.lent -= 1;
            tally.closing += 1;
        });
        self.schedule(pool, now, out);
    }

    /// The server has let go of a connection that was closing.
    pub(crate) fn closed(&mut self, pool: PoolNumber, now: Instant, out: &mut Effects<C>) {
        self.shift(pool, |tally| tally.closing -= 1);
        self.schedule(pool, now, out);
        self.forget(pool);
    }

    /// Nothing goes on from here: idle connections are closed, waiters fail.
    pub(crate) fn close(&mut self, now: Instant, out: &mut Effects<C>) {
        self.closed = true;
        let pools: Vec<PoolNumber> = self.idle_sets.keys().copied().collect();
        for pool in pools {
            self.fail_waiters(pool, (CheckoutFailure::Closed, now), out);
            self.fail_claims(pool, out);
            self.close_idle(pool, CloseReason::Shutdown, |_| true, out);
            if self
                .idle_sets
                .get(&pool)
                .is_some_and(|s| s.tally.queued > 0)
            {
                out.push(Effect::Withdraw(pool));
            }
        }
    }

    pub(crate) fn tally(&self, pool: PoolNumber) -> Counts {
        self.idle_sets
            .get(&pool)
            .map_or_else(Counts::default, |shelf| shelf.tally)
    }

    /// Connections of each user and database, and those of them that clients keep.
    pub(crate) fn tallies(
        &self,
    ) -> impl Iterator<Item = (&Key, Counts, impl Iterator<Item = ConnectionId>)> {
        self.groups.values().map(|group| {
            let shelves = self.shelves_of(&group.members);
            let held = shelves.flat_map(|(_, shelf)| shelf.held.keys().copied());
            (&group.key, group.tally, held)
        })
    }
}

impl<C> PoolState<C> {
    /// Changes the numbers of a shelf and of its group alike.
    fn shift(&mut self, pool: PoolNumber, change: impl Fn(&mut Counts)) {
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return;
        };
        change(&mut shelf.tally);
        if let Some(group) = self.groups.get_mut(&shelf.group) {
            change(&mut group.tally);
        }
    }

    /// Drops a retired shelf when the last of it is gone.
    fn forget(&mut self, pool: PoolNumber) {
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return;
        };
        if !shelf.retired || shelf.tally != Counts::default() {
            return;
        }
        let number = shelf.group;
        self.idle_sets.remove(&pool);
        if let Some(group) = self.groups.get_mut(&number) {
            let others = group.members.iter().filter(|member| **member != pool);
            group.members = others.copied().collect();
            if group.members.is_empty() {
                self.groups.remove(&number);
            }
        }
    }
}
