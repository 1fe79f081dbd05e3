//! What is due by the clock, and databases that have to be free.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Allocator, CloseReason, GroupNumber, Idle, Phase, PoolNumber, PooledConnection};
use crate::name::Name;
use crate::pool::idle_hold::ReclaimPolicy;

impl<C: PooledConnection> Allocator<C> {
    /// What is due by the clock: connections that have been idle for too long or are
    /// too old, those that `is_dead` says the server has closed, and new ones where
    /// fewer are open than the plan keeps.
    pub(crate) fn reap(&mut self, now: Instant, is_dead: impl Fn(&C) -> bool) {
        let groups: Vec<GroupNumber> = self.groups.keys().copied().collect();
        for number in groups {
            let Some(group) = self.groups.get(&number) else {
                continue;
            };
            let (plan, members) = (Arc::clone(&group.plan), Arc::clone(&group.members));
            for &pool in &*members {
                self.close_idle(pool, CloseReason::Lost, |idle| is_dead(&idle.item));
                let old = |idle: &Idle<C>| {
                    let age = now.saturating_duration_since(idle.item.opened_at());
                    age >= plan.server_lifetime
                };
                if self
                    .idle_sets
                    .get(&pool)
                    .is_some_and(|shelf| shelf.can_open)
                {
                    self.close_idle(pool, CloseReason::Lifetime, old);
                }
            }
            self.trim(number, &members, now);
            self.ask_idle(number, &members, now);
            self.warm_up(number, &members, now);
            if let Some(&pool) = members.first() {
                self.schedule(pool, now);
            }
        }
    }

    /// Takes idle connections off the shelf to be looked at; they come back by
    /// [`Allocator::check_in`] or [`Allocator::closing`].
    pub(crate) fn inspect(&mut self, which: impl Fn(&C) -> bool) -> Vec<(PoolNumber, C)> {
        let mut taken = Vec::new();
        let pools: Vec<PoolNumber> = self.idle_sets.keys().copied().collect();
        for pool in pools {
            let Some(shelf) = self.idle_sets.get_mut(&pool) else {
                continue;
            };
            let some: Vec<_> = shelf
                .idle
                .extract_if(.., |idle| which(&idle.item))
                .collect();
            for idle in some {
                self.shift(pool, |tally| {
                    tally.idle -= 1;
                    tally.lent += 1;
                });
                taken.push((pool, idle.item));
            }
        }
        taken
    }

    /// Closes what nobody has needed for `server_idle_timeout`, down to `min_size`.
    fn trim(&mut self, number: GroupNumber, members: &[PoolNumber], now: Instant) {
        loop {
            let Some(group) = self.groups.get(&number) else {
                return;
            };
            let oldest = self
                .shelves_of(members)
                .filter(|(_, shelf)| shelf.can_spare())
                .flat_map(|(_, shelf)| shelf.idle.iter().map(|idle| idle.since))
                .min();
            let limit = group.plan.server_idle_timeout;
            let overdue = |since| now.saturating_duration_since(since) >= limit;
            if group.tally.has() <= group.plan.min_size
                || !oldest.is_some_and(overdue)
                || !self.evict(members, CloseReason::Idle)
            {
                return;
            }
        }
    }

    /// Asks clients for what they keep and have not used for `server_idle_timeout`.
    fn ask_idle(&mut self, number: GroupNumber, members: &[PoolNumber], now: Instant) {
        let Some(group) = self.groups.get(&number) else {
            return;
        };
        if group.tally.has() <= group.plan.min_size {
            return;
        }
        let limit = group.plan.server_idle_timeout;
        let overdue = |since| now.saturating_duration_since(since) >= limit;
        let idle: Vec<_> = self
            .shelves_of(members)
            .filter(|(_, shelf)| shelf.can_open)
            .flat_map(|(pool, shelf)| shelf.held.iter().map(move |(&id, held)| (pool, id, held)))
            .filter(|(_, _, held)| held.may_be_asked() && overdue(held.since))
            .map(|(pool, id, _)| (pool, id))
            .collect();
        for one in idle {
            self.ask(one, ReclaimPolicy::Idler);
        }
    }

    fn warm_up(&mut self, number: GroupNumber, members: &[PoolNumber], now: Instant) {
        let Some(group) = self.groups.get(&number) else {
            return;
        };
        if self.phase != Phase::Open || self.evicting.contains_key(&group.key.database) {
            return;
        }
        let missing = group
            .plan
            .min_size
            .min(group.plan.size)
            .saturating_sub(group.tally.total());
        let able = self
            .shelves_of(members)
            .filter(|(_, shelf)| shelf.may_try(now));
        // The startup parameters that came last are likely to come again.
        let Some((pool, _)) = able.last() else {
            return;
        };
        for _ in 0..missing {
            self.open(pool, now);
        }
    }

    /// Until [`Allocator::end_eviction`], connections to a database are closed rather than
    /// kept idle.
    pub(crate) fn evict_database(&mut self, database: &Name, now: Instant) {
        *self.evicting.entry(database.clone()).or_default() += 1;
        for pool in self.pools_of(|key| key.database == *database) {
            self.close_idle(pool, CloseReason::Vacated, |_| true);
            self.ask_all(pool);
            self.schedule(pool, now);
        }
    }

    /// Asks every client of a pool that keeps an idle connection whether it has to.
    pub(crate) fn ask_all(&mut self, pool: PoolNumber) {
        let held = self.idle_sets.get(&pool).map(|shelf| &shelf.held);
        let askable: Vec<_> = held
            .into_iter()
            .flatten()
            .filter(|(_, held)| held.may_be_asked())
            .map(|(&id, _)| id)
            .collect();
        for id in askable {
            self.ask((pool, id), ReclaimPolicy::Anyone);
        }
    }

    pub(crate) fn end_eviction(&mut self, database: &Name) {
        match self.evicting.get_mut(database) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.evicting.remove(database)),
        }
    }

    /// Whether a connection to the database is about to go.
    pub(crate) fn is_evicting(&self, database: &Name) -> bool {
        let pools = self.pools_of(|key| key.database == *database);
        self.asked(&pools) > 0
            || self
                .shelves_of(&pools)
                .any(|(_, shelf)| shelf.tally.closing > 0)
    }
}
