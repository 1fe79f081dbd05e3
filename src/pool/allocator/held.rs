//! Connections that clients keep between two transactions, and what becomes of it when
//! they are asked for them.

use tokio::time::Instant;

use super::idle_set::Held;
use super::{Allocator, ConnectionId, PoolNumber, PooledConnection};
use crate::pool::idle_hold::ReclaimPolicy;

impl<C: PooledConnection> Allocator<C> {
    /// A client keeps its connection though it does not use it now.
    pub(crate) fn hold(&mut self, pool: PoolNumber, id: ConnectionId, now: Instant) {
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            shelf.held.insert(id, Held::since(now));
            let group = self.groups.get(&shelf.group);
            if group.is_some_and(|group| self.evicting.contains_key(&group.key.database)) {
                self.ask((pool, id), ReclaimPolicy::Anyone);
            } else {
                self.ask_for_claim((pool, id));
            }
        }
        self.schedule(pool, now);
    }

    /// It uses it again; who waits for it may get another.
    pub(crate) fn used(&mut self, pool: PoolNumber, id: ConnectionId, now: Instant) {
        self.end_hold(pool, id);
        self.schedule(pool, now);
    }

    /// It is at rest, but was used a moment ago; who waits for it may get another.
    pub(crate) fn touched(&mut self, pool: PoolNumber, id: ConnectionId, now: Instant) {
        let held = self.idle_sets.get_mut(&pool).map(|shelf| &mut shelf.held);
        if let Some(held) = held.and_then(|held| held.get_mut(&id)) {
            (held.asked, held.since) = (false, now);
        }
        self.schedule(pool, now);
    }

    /// It uses it again, or closes it, or has given it back.
    pub(crate) fn end_hold(&mut self, pool: PoolNumber, id: ConnectionId) {
        if let Some(shelf) = self.idle_sets.get_mut(&pool) {
            shelf.held.remove(&id);
        }
    }

    /// It cannot give it back: it is not asked again before it has used it.
    pub(crate) fn refuse(&mut self, pool: PoolNumber, id: ConnectionId, now: Instant) {
        let held = self.idle_sets.get_mut(&pool).map(|shelf| &mut shelf.held);
        if let Some(held) = held.and_then(|held| held.get_mut(&id)) {
            (held.asked, held.refused) = (false, true);
        }
        self.fail_claim((pool, id));
        self.schedule(pool, now);
    }
}
