//! What has to happen after a change: the one place that restores the invariant.

use std::sync::Arc;

use tokio::time::Instant;

use super::Phase;
use super::idle_set::{IdleSet, PoolGroup, Standing};
use super::{
    Allocator, CheckoutFailure, CloseReason, Effect, GroupNumber, Held, Idle, PoolNumber,
    PooledConnection,
};
use crate::pool::idle_hold::ReclaimPolicy;
use crate::pool::key::Key;

impl<C: PooledConnection> Allocator<C> {
    /// Serves the waiters of a pool and of those that share its size, as far as it goes.
    pub(crate) fn schedule(&mut self, pool: PoolNumber, now: Instant) {
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return;
        };
        let number = shelf.group;
        let Some(group) = self.groups.get(&number) else {
            return;
        };
        let settled = group.overshoot() == 0;
        let unneeded = group.tally.waiting == 0 && group.tally.queued == 0;
        if self.phase == Phase::Closed || settled && (unneeded || group.is_at_work(shelf)) {
            return;
        }
        // Linear in the startup parameters in use, and only where somebody waits, or a
        // login has brought one too many.
        let members = Arc::clone(&group.members);
        self.settle(number, &members);
        for &member in &*members {
            self.serve(member, now);
            self.fail_hopeless(member, now);
        }
        self.launch(number, &members, now);
        if self.phase != Phase::Open {
            // No pool can open a connection any more.
            for &member in &*members {
                self.fail_hopeless(member, now);
            }
        }
        self.make_room(number, &members, now);
        self.ask_holders(number, &members);
        let mut withdrawn = false;
        for &member in &*members {
            withdrawn |= self.withdraw_openers(member, now);
        }
        if withdrawn {
            self.schedule(pool, now);
        }
    }

    /// Waiters for whom no connection will ever come fail.
    fn fail_hopeless(&mut self, pool: PoolNumber, now: Instant) {
        let failure = match self.phase != Phase::Open {
            true => CheckoutFailure::Closed,
            false => CheckoutFailure::NoWay,
        };
        while self.idle_sets.get(&pool).is_some_and(IdleSet::has_no_way)
            && self.fail_first(pool, (failure, now))
        {
            self.serve(pool, now);
        }
    }

    /// Puts a connection where it belongs: to a waiter, on the shelf, or away.
    pub(super) fn place(
        &mut self,
        pool: PoolNumber,
        item: C,
        (now, reason): (Instant, Option<CloseReason>),
    ) {
        if let Some(reason) = reason {
            self.shift(pool, |tally| tally.closing += 1);
            self.effects.push(Effect::Close(pool, item, reason));
            return;
        }
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            shelf.idle.push(Idle { item, since: now });
            self.shift(pool, |tally| tally.idle += 1);
        }
        self.serve(pool, now);
    }

    pub(super) fn reason_to_close(
        &self,
        pool: PoolNumber,
        item: &C,
        now: Instant,
    ) -> Option<CloseReason> {
        if self.phase == Phase::Closed {
            return Some(CloseReason::Shutdown);
        }
        let shelf = self.idle_sets.get(&pool)?;
        let group = self.groups.get(&shelf.group)?;
        let age = now.saturating_duration_since(item.opened_at());
        if shelf.standing == Standing::Retired {
            Some(CloseReason::Retired)
        } else if age >= group.plan.server_lifetime && shelf.can_spare() {
            Some(CloseReason::Lifetime)
        } else if shelf.tally.waiting == 0 && self.evicting.contains_key(&group.key.database) {
            Some(CloseReason::Vacated)
        } else if group.overshoot() > 0 && self.owes_place(pool) {
            Some(CloseReason::Evicted)
        } else {
            None
        }
    }

    fn serve(&mut self, pool: PoolNumber, now: Instant) {
        loop {
            let Some(shelf) = self.idle_sets.get_mut(&pool) else {
                return;
            };
            let Some(waiter) = shelf.next_served(now) else {
                return;
            };
            let (ticket, want) = (waiter.ticket, waiter.want.clone());
            let Some(item) = shelf.take(&want) else {
                return;
            };
            shelf.waiters.remove(ticket);
            self.shift(pool, |tally| {
                tally.idle -= 1;
                tally.lent += 1;
                tally.waiting -= 1;
            });
            self.effects.push(Effect::Deliver(ticket, item));
        }
    }

    /// Opens connections for those who wait, while the group may grow.
    fn launch(&mut self, number: GroupNumber, members: &[PoolNumber], now: Instant) {
        loop {
            let Some(group) = self.groups.get(&number) else {
                return;
            };
            if group.tally.total() >= self.limit(group, now) {
                return;
            }
            let wanting = self
                .shelves_of(members)
                .filter(|(_, shelf)| shelf.wants_opener(now));
            let since = |shelf: &IdleSet<C>| shelf.waiters.eldest().map(|waiter| waiter.ticket);
            let Some((pool, _)) = wanting.min_by_key(|(_, shelf)| since(shelf)) else {
                return;
            };
            self.open(pool, now);
        }
    }

    fn limit(&self, group: &PoolGroup, now: Instant) -> u32 {
        let plan = &group.plan;
        if plan.reserve_size == 0 {
            return plan.size;
        }
        let eldest = self
            .shelves_of(&group.members)
            .filter_map(|(_, shelf)| shelf.waiters.eldest())
            .map(|waiter| waiter.since)
            .min();
        let overdue = |since| now.saturating_duration_since(since) >= plan.reserve_timeout;
        match eldest {
            Some(since) if overdue(since) => plan.size.saturating_add(plan.reserve_size),
            _ => plan.size,
        }
    }

    /// Closes idle connections that suit none of those who wait, where the group has
    /// no room for others.
    fn make_room(&mut self, number: GroupNumber, members: &[PoolNumber], now: Instant) {
        let unmet: u32 = self
            .shelves_of(members)
            .filter(|(_, shelf)| shelf.wants_opener(now))
            .map(|(_, shelf)| shelf.tally.waiting - shelf.tally.opening)
            .sum();
        let Some(group) = self.groups.get(&number) else {
            return;
        };
        for _ in group.tally.closing..unmet {
            if !self.evict(members, CloseReason::Evicted) {
                return;
            }
        }
    }

    /// Closes the connection that has been idle for longest.
    pub(super) fn evict(&mut self, pools: &[PoolNumber], reason: CloseReason) -> bool {
        let oldest = self
            .shelves_of(pools)
            .filter(|(_, shelf)| shelf.can_spare())
            .flat_map(|(pool, shelf)| shelf.idle.iter().map(move |idle| (pool, idle)))
            .min_by_key(|(_, idle)| idle.since)
            .map(|(pool, idle)| (pool, idle.item.id()));
        let Some((pool, id)) = oldest else {
            return false;
        };
        self.close_idle(pool, reason, |idle| idle.item.id() == id) > 0
    }

    pub(super) fn close_idle(
        &mut self,
        pool: PoolNumber,
        reason: CloseReason,
        which: impl Fn(&Idle<C>) -> bool,
    ) -> usize {
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return 0;
        };
        let gone: Vec<_> = shelf.idle.extract_if(.., |idle| which(idle)).collect();
        let count = gone.len();
        for idle in gone {
            self.shift(pool, |tally| {
                tally.idle -= 1;
                tally.closing += 1;
            });
            self.effects.push(Effect::Close(pool, idle.item, reason));
        }
        count
    }

    /// Asks as many clients that keep an idle connection as others are in need: those
    /// of the waiters' own pools first, the longest idle first.
    fn ask_holders(&mut self, number: GroupNumber, members: &[PoolNumber]) {
        let starved: u32 = self
            .shelves_of(members)
            .map(|(_, shelf)| shelf.tally.starved())
            .sum();
        let Some(group) = self.groups.get(&number) else {
            return;
        };
        let mut coming = self.asked(members) + group.tally.closing;
        while coming < starved {
            let helps_siblings = self
                .shelves_of(members)
                .any(|(_, shelf)| shelf.can_open && shelf.tally.starved() > 0);
            let oldest = self
                .shelves_of(members)
                .filter(|(_, shelf)| helps_siblings || shelf.tally.starved() > 0)
                .flat_map(|(pool, shelf)| {
                    let other = shelf.tally.starved() == 0;
                    let askable = shelf.held.iter().filter(|(_, held)| held.may_be_asked());
                    askable.map(move |(&id, held)| (other, held.since, pool, id))
                })
                .min();
            let Some((_, _, pool, id)) = oldest else {
                return;
            };
            self.ask((pool, id), ReclaimPolicy::Idler);
            coming += 1;
        }
    }

    pub(in crate::pool) fn ask(
        &mut self,
        (pool, id): (PoolNumber, super::ConnectionId),
        whom: ReclaimPolicy,
    ) {
        let shelf = self.idle_sets.get_mut(&pool);
        if let Some(held) = shelf.and_then(|shelf| shelf.held.get_mut(&id)) {
            held.asked = true;
            self.effects.push(Effect::Ask(id, whom));
        }
    }

    /// Clients that were asked and have not answered.
    pub(super) fn asked(&self, members: &[PoolNumber]) -> u32 {
        let asked = self
            .shelves_of(members)
            .flat_map(|(_, shelf)| shelf.held.values())
            .filter(|held| held.asked);
        u32::try_from(asked.count()).unwrap_or(u32::MAX)
    }

    pub(super) fn shelves_of(
        &self,
        pools: &[PoolNumber],
    ) -> impl Iterator<Item = (PoolNumber, &IdleSet<C>)> {
        pools
            .iter()
            .filter_map(|pool| Some((*pool, self.idle_sets.get(pool)?)))
    }

    pub(super) fn fail_waiters(
        &mut self,
        pool: PoolNumber,
        (failure, now): (CheckoutFailure, Instant),
    ) {
        while self.fail_first(pool, (failure, now)) {}
    }

    fn fail_first(&mut self, pool: PoolNumber, (failure, now): (CheckoutFailure, Instant)) -> bool {
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return false;
        };
        let Some(ticket) = shelf.waiters.next(now).map(|waiter| waiter.ticket) else {
            return false;
        };
        shelf.waiters.remove(ticket);
        self.shift(pool, |tally| tally.waiting -= 1);
        self.effects.push(Effect::Fail(ticket, failure));
        true
    }

    pub(super) fn pools_of(&self, which: impl Fn(&Key) -> bool) -> Vec<PoolNumber> {
        let groups = self.groups.values().filter(|group| which(&group.key));
        groups.flat_map(|group| &*group.members).copied().collect()
    }
}

impl Held {
    pub(super) const fn may_be_asked(&self) -> bool {
        !self.asked && !self.refused
    }
}
