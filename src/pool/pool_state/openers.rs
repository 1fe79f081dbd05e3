//! Openers: what makes a connection for a pool, from the queue at the cap to its end.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    CheckoutFailure, CloseReason, Effect, Effects, PoolNumber, PoolState, PooledConnection,
};

impl<C: PooledConnection> PoolState<C> {
    /// One connection more, for a client that could do without it, if the cap `has_room`; in
    /// a full group, the place of one that others have left behind: `is_deserted` says of
    /// which pools no client is here. Whether to wait for it, and ask again. Not the first
    /// of a pool: who has none at all waits for it, and hears why it can't be had.
    pub(crate) fn expand(
        &mut self,
        (pool, has_room): (PoolNumber, bool),
        is_deserted: impl Fn(PoolNumber) -> bool,
        now: Instant,
        out: &mut Effects<C>,
    ) -> bool {
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return false;
        };
        let Some(group) = self.groups.get(&shelf.group) else {
            return false;
        };
        let vacating = self.evicting.contains_key(&group.key.database);
        let has_some = shelf.tally.lent + shelf.tally.idle > 0;
        if self.closed || vacating || !has_some || !shelf.may_try(now) {
            return false;
        }
        let (tally, size) = (group.tally, group.plan.size);
        if tally.total() >= size {
            // One after the other: what is closing already is somebody's place, too.
            let members = Arc::clone(&group.members);
            return tally.total() - tally.closing < size
                || self.clear_one(&members, is_deserted, out);
        }
        if has_room {
            self.shift(pool, |tally| tally.opening += 1);
            out.push(Effect::Open(pool));
        }
        has_room
    }

    fn clear_one(
        &mut self,
        members: &[PoolNumber],
        is_deserted: impl Fn(PoolNumber) -> bool,
        out: &mut Effects<C>,
    ) -> bool {
        let deserted = members.iter().filter(|pool| is_deserted(**pool));
        let deserted: Vec<PoolNumber> = deserted.copied().collect();
        self.evict(&deserted, CloseReason::Evicted, out)
    }

    /// An opener has to wait for a slot.
    pub(crate) fn opener_queued(&mut self, pool: PoolNumber, now: Instant, out: &mut Effects<C>) {
        self.shift(pool, |tally| tally.queued += 1);
        self.schedule(pool, now, out);
    }

    /// It has got it.
    pub(crate) fn opener_admitted(&mut self, pool: PoolNumber, now: Instant, out: &mut Effects<C>) {
        self.shift(pool, |tally| tally.queued = tally.queued.saturating_sub(1));
        self.schedule(pool, now, out);
    }

    /// Whether an opener that waits for a slot may go home, and does.
    pub(crate) fn may_withdraw(
        &mut self,
        pool: PoolNumber,
        now: Instant,
        out: &mut Effects<C>,
    ) -> bool {
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return true;
        };
        let tally = shelf.tally;
        let needless = tally.queued > 0 && (self.closed || tally.queued > tally.starved());
        if needless {
            self.shift(pool, |tally| {
                tally.queued -= 1;
                tally.opening -= 1;
            });
            self.schedule(pool, now, out);
        }
        needless
    }

    /// An opener is no more, and nothing came of it; it had its slot. The next try
    /// waits as after a failure, or whatever ended this one would end it at once.
    pub(crate) fn opener_gone(&mut self, pool: PoolNumber, now: Instant, out: &mut Effects<C>) {
        self.shift(pool, |tally| tally.opening -= 1);
        self.back_off(pool, now);
        self.schedule(pool, now, out);
        self.forget(pool);
    }

    /// An opener was refused, as all others will be: the proxy is going down.
    pub(crate) fn opener_refused(&mut self, pool: PoolNumber, now: Instant, out: &mut Effects<C>) {
        self.shift(pool, |tally| tally.opening -= 1);
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            shelf.can_open = false;
        }
        self.schedule(pool, now, out);
        self.forget(pool);
    }

    /// An opener has succeeded.
    pub(crate) fn opened(
        &mut self,
        (pool, item): (PoolNumber, C),
        now: Instant,
        out: &mut Effects<C>,
    ) {
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            (shelf.failures, shelf.retry_at) = (0, None);
        }
        self.shift(pool, |tally| tally.opening -= 1);
        let reason = self.reason_to_close(pool, &item, now);
        self.place(pool, item, (now, reason), out);
        self.schedule(pool, now, out);
    }

    /// An opener has failed; its connection, if there was one, is closing: what it
    /// counted for is given back by [`PoolState::closed`]. If it is no use to try again
    /// and nothing else can serve them, all who wait have failed with it. Returns
    /// when the next attempt may be made.
    pub(crate) fn open_failed(
        &mut self,
        pool: PoolNumber,
        may_pass: bool,
        now: Instant,
        out: &mut Effects<C>,
    ) -> Instant {
        self.shift(pool, |tally| {
            tally.opening -= 1;
            tally.closing += 1;
        });
        let retry_at = self.back_off(pool, now);
        let tally = self.tally(pool);
        if tally.lent + tally.idle == 0 && !may_pass {
            self.fail_waiters(pool, (CheckoutFailure::Login, now), out);
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
