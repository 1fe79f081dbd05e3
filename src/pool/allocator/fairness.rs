//! Making room for others where the cap of the upstream is reached.

use std::cmp::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::idle_set::{IdleSet, PoolGroup};
use super::limits::{BlockedBy, PlaceUse};
use super::unproven::share;
use super::{Allocator, CloseReason, CompetingWaiter, PoolNumber, PooledConnection};
use crate::config::values::Priority;
use crate::pool::idle_hold::ReclaimPolicy;
use crate::pool::key::Key;
use crate::pool::timing::{
    CLAIM_AFTER, COMPETING_SCAN, COMPETING_WAITERS, LOGIN_PAUSE, SHARE_AFTER, SLOW_LOGIN,
};

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contender {
    pub(super) priority: Priority,
    pub(super) has: u32,
}

/// Whether a pool whose own clients wait has to give a connection to `other`, which
/// has waited for so long.
///
/// A higher priority takes all but one at once. Equals share equally, moved slowly:
/// a login costs more than a transaction. Nobody is left with nothing for long,
/// whatever the priorities; where there is but one place, it goes to and fro.
pub(super) fn gives_way(own: Contender, other: Contender, waited: Duration) -> bool {
    let last_resort = other.has == 0 && waited >= CLAIM_AFTER;
    last_resort
        || match other.priority.cmp(&own.priority) {
            // High comes first.
            Ordering::Less => own.has > 1,
            Ordering::Equal => own.has > other.has + 1 && waited >= SHARE_AFTER,
            Ordering::Greater => false,
        }
}

impl<C: PooledConnection> Allocator<C> {
    /// Makes room for those who wait for a place.
    pub(crate) fn reclaim(&mut self, now: Instant) {
        let rivals = self.competing_waiters(now);
        if rivals.iter().any(|rival| rival.pool.is_none()) {
            // Before others lose one: clients of passthrough that have left.
            self.retire_unused();
        }
        self.reclaim_for(&rivals);
    }

    /// Those who wait for a place, for the pools to judge: by priority, then in order of
    /// arrival. Of logins that have proven nothing no more than are due to have a place.
    pub(super) fn competing_waiters(&self, now: Instant) -> Vec<CompetingWaiter> {
        if self.limits.waiting() == 0 {
            return Vec::new();
        }
        let share = share(self.limits.caps().total);
        let mut due = share.saturating_sub(self.unproven.count());
        let mut is_due = |place_use| {
            let is_due = place_use != PlaceUse::UnprovenClient || due > 0;
            due -= usize::from(is_due && place_use == PlaceUse::UnprovenClient);
            is_due
        };
        let mut waiting: Vec<_> = self.limits.waiters().take(COMPETING_SCAN).collect();
        waiting.sort_by_key(|(_, waiter)| waiter.priority);
        waiting
            .into_iter()
            .filter(|(_, waiter)| is_due(waiter.place_use))
            .take(COMPETING_WAITERS)
            .map(|(ticket, waiter)| CompetingWaiter {
                blocked_by: self.limits.blocked_by(ticket).unwrap_or(BlockedBy::Total),
                pool: match waiter.place_use {
                    PlaceUse::Pool(pool) => Some(pool),
                    PlaceUse::Client | PlaceUse::UnprovenClient => None,
                },
                priority: waiter.priority,
                waited: now.saturating_duration_since(waiter.since),
                has: self.limits.in_use_by(&waiter.key),
                key: waiter.key.clone(),
            })
            .collect()
    }

    /// One place for each: closes the connection that has been idle for longest, else
    /// asks a client that keeps one.
    pub(super) fn reclaim_for(&mut self, rivals: &[CompetingWaiter]) {
        if rivals.is_empty() {
            return;
        }
        let mut coming = self.coming(true);
        for rival in rivals {
            if take_one_for(&mut coming, rival) {
                continue;
            }
            let pools = self.pools_that_can_help(rival);
            if self.evict(&pools, CloseReason::Evicted) {
                continue;
            }
            let oldest = self
                .shelves_of(&pools)
                .flat_map(|(pool, shelf)| {
                    let askable = shelf.held.iter().filter(|(_, held)| held.may_be_asked());
                    askable.map(move |(&id, held)| (held.since, pool, id))
                })
                .min();
            if let Some((_, pool, id)) = oldest {
                self.ask((pool, id), ReclaimPolicy::Idler);
            }
        }
    }

    /// Whether a connection that comes back to `pool`, where somebody waits for it, has
    /// to go to others.
    pub(super) fn has_to_give_way(
        &self,
        pool: PoolNumber,
        now: Instant,
        rivals: &[CompetingWaiter],
    ) -> bool {
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return false;
        };
        let Some(group) = self.groups.get(&shelf.group) else {
            return false;
        };
        let priority = group.plan.priority;
        let own = Contender {
            priority,
            has: group.tally.has(),
        };
        let mut coming = self.coming(false);
        for rival in rivals {
            let useful = rival.pool != Some(pool) && rival.is_helped_by(&group.key);
            if !useful || take_one_for(&mut coming, rival) {
                continue;
            }
            if self.is_in(rival, shelf.group) {
                continue;
            }
            if rival.pool.is_none() && rival.key == group.key {
                if self.lets_in(rival, (shelf, group), now) {
                    return true;
                }
                continue;
            }
            let other = Contender {
                priority: rival.priority,
                has: self.has(rival),
            };
            if gives_way(own, other, rival.waited) {
                return true;
            }
        }
        if group.tally.waiting == shelf.tally.waiting || group.tally.closing > 0 {
            return false;
        }
        // Others of the same user and database, with other startup parameters.
        let own = Contender {
            priority,
            has: shelf.tally.has(),
        };
        self.shelves_of(&group.members)
            .filter(|(other, sibling)| *other != pool && sibling.can_open)
            .filter(|(_, sibling)| sibling.tally.starved() > 0)
            .any(|(_, sibling)| {
                let since = sibling.waiters.eldest().map_or(now, |waiter| waiter.since);
                let other = Contender {
                    priority,
                    has: sibling.tally.has(),
                };
                gives_way(own, other, now.saturating_duration_since(since))
            })
    }

    /// Whether a pool whose own clients wait has to give a connection to one who waits
    /// to log in as their user.
    ///
    /// In passthrough that is a client of the pool, and its connection joins it: first
    /// come, first served. One after the other, as each costs the rest a login's time;
    /// and what it opens may be for other startup parameters, so that nobody loses more
    /// than half of the places in haste.
    fn lets_in(
        &self,
        rival: &CompetingWaiter,
        (shelf, group): (&IdleSet<C>, &PoolGroup),
        now: Instant,
    ) -> bool {
        let same_key = self.groups.values().filter(|other| other.key == rival.key);
        let pooled: u32 = same_key.map(|group| group.tally.placed()).sum();
        let logging_in = rival.has.saturating_sub(pooled);
        let passed = |since| now.saturating_duration_since(since);
        let since_last = group.gave_way_at.map_or(Duration::MAX, passed);
        if logging_in > 0 || group.tally.closing > 0 {
            let slow = rival.waited >= SLOW_LOGIN && since_last >= SLOW_LOGIN;
            return slow && group.tally.has() > logging_in + 1;
        }
        let eldest = shelf.waiters.eldest().map(|waiter| passed(waiter.since));
        let first = rival.waited >= SHARE_AFTER && Some(rival.waited) > eldest;
        let own = shelf.tally.has();
        let most = own > rival.has.saturating_sub(own) + 1;
        since_last >= LOGIN_PAUSE && (first && most || rival.waited >= CLAIM_AFTER)
    }

    fn is_in(&self, rival: &CompetingWaiter, group: super::GroupNumber) -> bool {
        let shelf = rival.pool.and_then(|pool| self.idle_sets.get(&pool));
        shelf.is_some_and(|shelf| shelf.group == group)
    }

    fn has(&self, rival: &CompetingWaiter) -> u32 {
        let shelf = rival.pool.and_then(|pool| self.idle_sets.get(&pool));
        let group = shelf.and_then(|shelf| self.groups.get(&shelf.group));
        group.map_or(rival.has, |group| group.tally.has())
    }

    /// Places that will be free without anybody's doing, by key: connections that are
    /// closing, and those that clients were asked for.
    fn coming(&self, asked: bool) -> Vec<(Key, u32)> {
        let mut coming = Vec::new();
        for group in self.groups.values() {
            let held = self
                .shelves_of(&group.members)
                .flat_map(|(_, shelf)| shelf.held.values());
            let asked = match asked {
                true => held.filter(|held| held.asked).count(),
                false => 0,
            };
            let count = group.tally.closing + u32::try_from(asked).unwrap_or(u32::MAX);
            if count > 0 {
                coming.push((group.key.clone(), count));
            }
        }
        coming
    }

    /// Those whose idle connections may be taken for `rival`: none that a plan keeps,
    /// unless the rival has none at all.
    fn pools_that_can_help(&self, rival: &CompetingWaiter) -> Vec<PoolNumber> {
        let in_need = self.has(rival) == 0;
        self.groups
            .iter()
            .filter(|(number, group)| {
                let spare = group.tally.has() > group.plan.min_size;
                rival.is_helped_by(&group.key) && (in_need || spare || self.is_in(rival, **number))
            })
            .flat_map(|(_, group)| &*group.members)
            .copied()
            .collect()
    }
}

fn take_one_for(coming: &mut [(Key, u32)], rival: &CompetingWaiter) -> bool {
    let helping = coming
        .iter_mut()
        .find(|(key, count)| *count > 0 && rival.is_helped_by(key));
    helping.is_some_and(|(_, count)| {
        *count -= 1;
        true
    })
}
