//! Connections that clients bring: where the proxy cannot log in, a login is the only
//! way to one, and what is closed does not come back before the next.
//!
//! So a place that is given away is gone for good, and clients with other startup
//! parameters, who cannot open what they lack, get their share when they log in or
//! never. Where the size is used up, the pool of the group that has most gives way to
//! one that has at least two fewer, as `fairness` has it between equals. It is not
//! waited for: the login has its place under the cap, and the size is exceeded by one
//! until that pool can give one back.

use std::sync::Arc;

use super::idle_set::IdleSet;
use super::{Allocator, CloseReason, GroupNumber, Phase, PoolNumber, PooledConnection};
use crate::pool::idle_hold::ReclaimPolicy;

impl<C: PooledConnection> Allocator<C> {
    /// A connection that a client opened itself: `false` if there is no room for it.
    /// It is counted as that client's. In a full group it takes the place of one of the
    /// pool that has most, or of an idle one of its own; where the client would have no
    /// other, the size gives way until somebody leaves: the cap has let the connection
    /// in, and it cannot be had again.
    pub(crate) fn adopt(&mut self, pool: PoolNumber) -> bool {
        if self.is_full(pool) {
            // Before others lose one, or this one is lost: clients that have left.
            self.retire_unused();
        }
        let Some(shelf) = self
            .idle_sets
            .get(&pool)
            .filter(|_| self.phase != Phase::Closed)
        else {
            return false;
        };
        let alone = shelf.tally.has() == 0;
        let number = shelf.group;
        let Some(group) = self.groups.get(&number) else {
            return false;
        };
        let members = Arc::clone(&group.members);
        let full = group.tally.total() - group.tally.closing >= group.plan.size;
        let fits = !full || alone || self.is_due(pool, &members) || self.exchange(pool);
        if fits {
            self.shift(pool, |tally| tally.lent += 1);
            self.settle(number, &members);
        }
        fits
    }

    /// Whether another pool of the group has so many more that one of its places is due to
    /// this one. One after the other: it may be long before that pool can give it back.
    fn is_due(&self, pool: PoolNumber, members: &[PoolNumber]) -> bool {
        let Some(shelf) = self.idle_sets.get(&pool) else {
            return false;
        };
        let group = self.groups.get(&shelf.group);
        let settled = group.is_some_and(|group| group.overshoot() == 0);
        settled && self.most(members) > shelf.tally.has() + 1
    }

    fn most(&self, members: &[PoolNumber]) -> u32 {
        let had = self.shelves_of(members).map(|(_, shelf)| shelf.tally.has());
        had.max().unwrap_or(0)
    }

    /// Closes an idle connection, be it the last: another comes in its place.
    fn exchange(&mut self, pool: PoolNumber) -> bool {
        let shelf = self.idle_sets.get(&pool);
        let Some(id) = shelf.and_then(|shelf| Some(shelf.idle.first()?.item.id())) else {
            return false;
        };
        self.close_idle(pool, CloseReason::Evicted, |idle| idle.item.id() == id) > 0
    }

    /// Whether a pool of a group beyond its size is the one to make up for it: the one
    /// that has most; though its own clients wait, if another has fewer.
    pub(super) fn owes_place(&self, pool: PoolNumber) -> bool {
        let Some(shelf) = self.idle_sets.get(&pool).filter(|shelf| shelf.can_spare()) else {
            return false;
        };
        let Some(group) = self.groups.get(&shelf.group) else {
            return false;
        };
        let own = shelf.tally.has();
        let others = self.shelves_of(&group.members);
        let had = others.map(|(_, shelf)| shelf.tally.has());
        // One that has none has no clients, or they are about to be told.
        let least = had.filter(|had| *had > 0).min();
        let ahead = least.is_some_and(|least| own > least);
        own == self.most(&group.members) && (ahead || shelf.tally.waiting == 0)
    }

    /// Where a group is beyond its size, closes what is idle in the pool that owes a
    /// place, else asks one of its clients that keeps one.
    pub(super) fn settle(&mut self, number: GroupNumber, members: &[PoolNumber]) {
        loop {
            let over = self
                .groups
                .get(&number)
                .map_or(0, |group| group.overshoot());
            if over <= self.asked(members) {
                return;
            }
            let owing = members.iter().filter(|pool| self.owes_place(**pool));
            let owing: Vec<PoolNumber> = owing.copied().collect();
            if self.evict(&owing, CloseReason::Evicted) {
                continue;
            }
            let held = |(pool, shelf): (PoolNumber, &IdleSet<C>)| {
                let askable = shelf.held.iter().filter(|(_, held)| held.may_be_asked());
                askable.map(|(&id, held)| (held.since, pool, id)).min()
            };
            let Some((_, pool, id)) = self.shelves_of(&owing).filter_map(held).min() else {
                return;
            };
            self.ask((pool, id), ReclaimPolicy::Idler);
        }
    }
}
