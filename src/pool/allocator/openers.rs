//! Openers: what makes a connection for a pool, from the queue for a place to its end.

use std::sync::Arc;

use tokio::time::Instant;

use super::limits::{PlaceUse, PlaceWaiter};
use super::{Allocator, CheckoutFailure, CloseReason, Effect, Phase, PoolNumber, PooledConnection};

impl<C: PooledConnection> Allocator<C> {
    /// One connection more, for a client that could do without it, if the cap has room; in
    /// a full group, the place of one that others have left behind. Whether to wait for it,
    /// and ask again. Not the first of a pool: who has none at all waits for it, and hears
    /// why it can't be had.
    pub(crate) fn expand(&mut self, pool: PoolNumber, now: Instant) -> bool {
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return false;
        };
        let Some(group) = self.groups.get(&shelf.group) else {
            return false;
        };
        let vacating = self.evicting.contains_key(&group.key.database);
        let has_some = shelf.tally.lent + shelf.tally.idle > 0;
        if self.phase != Phase::Open || vacating || !has_some || !shelf.may_try(now) {
            return false;
        }
        let (tally, size) = (group.tally, group.plan.size);
        if tally.total() >= size {
            // One after the other: what is closing already is somebody's place, too.
            let members = Arc::clone(&group.members);
            return tally.total() - tally.closing < size || self.clear_one(&members);
        }
        let has_room = self.limits.has_room(&group.key);
        if has_room {
            self.open(pool, now);
        }
        has_room
    }

    /// Closes what has been idle for longest in the pools of which no client is here.
    fn clear_one(&mut self, members: &[PoolNumber]) -> bool {
        let deserted = self.shelves_of(members);
        let deserted = deserted.filter(|(_, shelf)| shelf.clients == 0);
        let deserted: Vec<PoolNumber> = deserted.map(|(pool, _)| pool).collect();
        self.evict(&deserted, CloseReason::Evicted)
    }

    /// One more connection for a pool: at once if it gets a place, else when it does.
    pub(super) fn open(&mut self, pool: PoolNumber, now: Instant) {
        let ticket = self.next_ticket();
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return;
        };
        if self.phase != Phase::Open {
            shelf.can_open = false;
            return;
        }
        let Some(group) = self.groups.get(&shelf.group) else {
            return;
        };
        let waiter = PlaceWaiter {
            key: group.key.clone(),
            priority: group.plan.priority,
            since: now,
            place_use: PlaceUse::Pool(pool),
        };
        let admitted = self.limits.request(ticket, waiter);
        if admitted {
            self.effects.push(Effect::Open(pool));
        } else {
            shelf.openers.push(ticket);
            self.room_wanted = true;
        }
        self.shift(pool, |tally| {
            tally.opening += 1;
            tally.queued += u32::from(!admitted);
        });
    }

    /// Takes openers that are needed no longer out of the queue, those that came last first.
    /// Whether there was one, whose place in the group others may have.
    pub(super) fn withdraw_openers(&mut self, pool: PoolNumber, now: Instant) -> bool {
        let mut withdrawn = false;
        while let Some(shelf) = self.idle_sets.get_mut(&pool) {
            let needless =
                self.phase == Phase::Closed || shelf.tally.queued > shelf.tally.starved();
            let Some(ticket) = shelf.openers.pop_if(|_| needless) else {
                break;
            };
            withdrawn |= self.limits.leave(ticket);
            self.shift(pool, |tally| {
                tally.queued -= 1;
                tally.opening -= 1;
            });
        }
        if withdrawn {
            self.serve_places(now);
        }
        withdrawn
    }

    /// An opener is no more, and nothing came of it; it had its place. The next try
    /// waits as after a failure, or whatever ended this one would end it at once.
    pub(crate) fn opener_gone(&mut self, pool: PoolNumber, now: Instant) {
        self.shift(pool, |tally| tally.opening -= 1);
        self.back_off(pool, now);
        self.schedule(pool, now);
        self.forget(pool);
    }

    /// An opener has succeeded.
    pub(crate) fn opened(&mut self, (pool, item): (PoolNumber, C), now: Instant) {
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            (shelf.failures, shelf.retry_at) = (0, None);
        }
        self.shift(pool, |tally| tally.opening -= 1);
        let reason = self.reason_to_close(pool, &item, now);
        self.place(pool, item, (now, reason));
        self.schedule(pool, now);
    }

    /// An opener has failed; its connection, if there was one, is closing: what it
    /// counted for is given back by [`Allocator::release`]. If it is no use to try again
    /// and nothing else can serve them, all who wait have failed with it. Returns
    /// when the next attempt may be made.
    pub(crate) fn open_failed(
        &mut self,
        pool: PoolNumber,
        may_pass: bool,
        now: Instant,
    ) -> Instant {
        self.shift(pool, |tally| {
            tally.opening -= 1;
            tally.closing += 1;
        });
        let retry_at = self.back_off(pool, now);
        let tally = self.tally(pool);
        if tally.lent + tally.idle == 0 && !may_pass {
            self.fail_waiters(pool, (CheckoutFailure::Login, now));
        }
        retry_at
    }

    fn back_off(&mut self, pool: PoolNumber, now: Instant) -> Instant {
        let Some(shelf) = self.idle_sets.get_mut(&pool) else {
            return now;
        };
        let longest = self
            .groups
            .get(&shelf.group)
            .map_or_else(Default::default, |group| group.plan.login_retry);
        shelf.back_off(longest, now)
    }
}
