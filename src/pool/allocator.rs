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
//! [`Allocator::reclaim`] makes room for others, and `fairness` says when a busy
//! pool has to.
//!
//! Invariant, after every operation: no group goes beyond its size and reserve,
//! and no waiter waits while an idle connection suits it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::ids::{ConnectionId, LoginNumber, PoolNumber, Ticket};
use super::key::Key;
use super::plan::{CheckoutRequest, PoolPlan};
use crate::config::values::Priority;
use crate::name::Name;

mod adoption;
mod aging;
mod claims;
mod fairness;
mod held;
mod idle_set;
mod limits;
mod openers;
mod places;
mod schedule;
mod types;
mod unproven;

use idle_set::{Held, Idle, IdleSet, PoolGroup, Standing, Waiter};
use limits::Limits;
pub(crate) use limits::{BlockedBy, Caps};
pub(crate) use places::Admission;
pub(crate) use types::{
    CheckoutAnswer, CheckoutFailure, CloseReason, Counts, Effect, Effects, PooledConnection,
};
use types::{CompetingWaiter, GroupNumber, Phase};
pub(crate) use unproven::Silence;
use unproven::UnprovenLogins;

#[cfg(test)]
mod tests;

/// All places and pools of one upstream.
#[derive(Debug)]
pub(crate) struct Allocator<C> {
    limits: Limits,
    unproven: UnprovenLogins,
    groups: BTreeMap<GroupNumber, PoolGroup>,
    idle_sets: BTreeMap<PoolNumber, IdleSet<C>>,
    last_pool: u32,
    last_ticket: u64,
    /// Databases that somebody needs to be free, and how many want that.
    evicting: BTreeMap<Name, u32>,
    phase: Phase,
    /// Others may have to make room for somebody who waits for a place: [`Allocator::reclaim`]
    /// is to be called, once for all that come together.
    pub(crate) room_wanted: bool,
    /// To be done by the caller after each change. Kept empty rather than dropped: what is
    /// done most often is not to allocate.
    pub(crate) effects: Effects<C>,
}

impl<C: PooledConnection> Allocator<C> {
    pub(crate) fn new(caps: Caps) -> Self {
        Self {
            limits: Limits::new(caps),
            unproven: UnprovenLogins::default(),
            groups: BTreeMap::new(),
            idle_sets: BTreeMap::new(),
            last_pool: 0,
            last_ticket: 0,
            evicting: BTreeMap::new(),
            phase: Phase::Open,
            room_wanted: false,
            effects: Vec::new(),
        }
    }

    /// A new pool. Pools of one key with equal plans share its sizes.
    pub(crate) fn enlist(
        &mut self,
        key: &Key,
        plan: &Arc<PoolPlan>,
        (can_open, outdated): (bool, bool),
    ) -> PoolNumber {
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
        let idle_set = IdleSet::new(number, (can_open, outdated));
        self.idle_sets.insert(pool, idle_set);
        pool
    }

    /// A client of a pool is here from now on.
    pub(crate) fn join(&mut self, pool: PoolNumber) {
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            shelf.clients += 1;
        }
    }

    /// A client of a pool is here no longer.
    pub(crate) fn quit(&mut self, pool: PoolNumber) {
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return;
        };
        shelf.clients -= 1;
        // Whoever comes next has to log in itself, and brings a connection.
        if !shelf.can_open && shelf.clients == 0 && self.limits.waiting() > 0 {
            self.retire_unused();
        }
    }

    /// New logins begin with other settings: pools of before go when their clients have.
    pub(crate) fn outdate_pools(&mut self) {
        for shelf in self.idle_sets.values_mut() {
            shelf.outdate();
        }
    }

    /// Forgets pools that nobody can use any more, or that are empty.
    pub(crate) fn retire_unused(&mut self) {
        let unused = self.idle_sets.iter().filter(|(_, shelf)| {
            let empty = shelf.tally == Counts::default();
            let group = self.groups.get(&shelf.group);
            let useless = empty && group.is_some_and(|group| group.plan.min_size == 0);
            let busy = shelf.clients > 0 || shelf.tally.lent + shelf.tally.opening > 0;
            !busy && shelf.is_unwanted(useless)
        });
        let unused: Vec<PoolNumber> = unused.map(|(pool, _)| *pool).collect();
        for pool in unused {
            self.retire(pool);
        }
    }

    /// Forgets a pool without clients; its idle connections are closed.
    fn retire(&mut self, pool: PoolNumber) {
        self.close_idle(pool, CloseReason::Retired, |_| true);
        self.effects.push(Effect::Retire(pool));
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            shelf.standing = Standing::Retired;
        }
        self.forget(pool);
    }

    /// A client wants a connection now.
    pub(crate) fn lease(
        &mut self,
        pool: PoolNumber,
        want: CheckoutRequest,
        now: Instant,
    ) -> CheckoutAnswer<C> {
        if self.phase == Phase::Closed {
            return CheckoutAnswer::Failed(CheckoutFailure::Closed);
        }
        if let Some(item) = self.take(pool, &want) {
            return CheckoutAnswer::Taken(item);
        }
        let ticket = self.next_ticket();
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return CheckoutAnswer::Failed(CheckoutFailure::Closed);
        };
        if shelf.has_no_way() {
            return CheckoutAnswer::Failed(CheckoutFailure::NoWay);
        }
        let waiter = Waiter {
            ticket,
            want,
            since: now,
        };
        shelf.waiters.push(waiter);
        self.shift(pool, |tally| tally.waiting += 1);
        self.schedule(pool, now);
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
    pub(crate) fn leave(&mut self, pool: Option<PoolNumber>, ticket: Ticket, now: Instant) -> bool {
        let Some(pool) = pool else {
            return self.leave_place_queue(ticket, now);
        };
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
            self.schedule(pool, now);
        }
        waited
    }

    /// A connection comes back.
    pub(crate) fn check_in(&mut self, item: (PoolNumber, C), now: Instant) {
        let rivals = self.competing_waiters(now);
        self.check_in_among(item, now, &rivals);
    }

    /// `rivals` are those at the cap that could use its place.
    fn check_in_among(
        &mut self,
        (pool, item): (PoolNumber, C),
        now: Instant,
        rivals: &[CompetingWaiter],
    ) {
        self.end_hold(pool, item.id());
        let reason = self.reason_to_close(pool, &item, now);
        let item = match reason {
            None => match self.meet_claim(pool, item) {
                Some(item) => item,
                None => return self.schedule(pool, now),
            },
            Some(_) => {
                self.fail_claim((pool, item.id()));
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
        self.place(pool, item, (now, reason));
        self.schedule(pool, now);
        self.reclaim_for(rivals);
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
    pub(crate) fn closing(&mut self, pool: PoolNumber, id: ConnectionId, now: Instant) {
        self.end_hold(pool, id);
        self.fail_claim((pool, id));
        self.shift(pool, |tally| {
            tally.lent -= 1;
            tally.closing += 1;
        });
        self.schedule(pool, now);
    }

    /// Nothing goes on from here: idle connections are closed, waiters fail.
    pub(crate) fn close(&mut self, now: Instant) {
        self.drain(now);
        self.phase = Phase::Closed;
        let pools: Vec<PoolNumber> = self.idle_sets.keys().copied().collect();
        for pool in pools {
            self.fail_waiters(pool, (CheckoutFailure::Closed, now));
            self.fail_claims(pool);
            self.close_idle(pool, CloseReason::Shutdown, |_| true);
            self.withdraw_openers(pool, now);
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

impl<C> Allocator<C> {
    const fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

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
        if shelf.standing != Standing::Retired || shelf.tally != Counts::default() {
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
