//! Claims: a client wants one connection and no other, because it knows that one's
//! process id.
//!
//! Who claims is in no queue: nothing is opened or closed for its sake, and it waits
//! for no longer than whoever has the connection uses it. The claim comes before
//! those who wait for any connection, or a busy pool would never meet it.

use super::{
    Allocator, CheckoutAnswer, CheckoutFailure, ConnectionId, Effect, Phase, PoolNumber,
    PooledConnection,
};
use super::{CheckoutRequest, Ticket};
use crate::pool::idle_hold::ReclaimPolicy;

impl<C: PooledConnection> Allocator<C> {
    /// A client wants this connection, which it knows to exist.
    pub(crate) fn claim(
        &mut self,
        (pool, id): (PoolNumber, ConnectionId),
        want: &CheckoutRequest,
    ) -> CheckoutAnswer<C> {
        let ticket = self.next_ticket();
        let Some(shelf) = self
            .idle_sets
            .get_mut(&pool)
            .filter(|_| self.phase != Phase::Closed)
        else {
            return CheckoutAnswer::Failed(CheckoutFailure::Closed);
        };
        let at = shelf.idle.iter().position(|idle| idle.item.id() == id);
        if let Some(at) = at {
            if shelf.idle.get(at).is_none_or(|idle| !idle.item.suits(want)) {
                return CheckoutAnswer::Failed(CheckoutFailure::NoWay);
            }
            let item = shelf.idle.swap_remove(at).item;
            self.shift(pool, |tally| {
                tally.idle -= 1;
                tally.lent += 1;
            });
            return CheckoutAnswer::Taken(item);
        }
        let refused = shelf.held.get(&id).is_some_and(|held| held.refused);
        if refused || shelf.claims.contains_key(&id) {
            return CheckoutAnswer::Failed(CheckoutFailure::NoWay);
        }
        shelf.claims.insert(id, (ticket, want.clone()));
        if shelf.held.get(&id).is_some_and(|held| !held.asked) {
            self.ask((pool, id), ReclaimPolicy::Anyone);
        }
        CheckoutAnswer::Queued(ticket)
    }

    /// Whoever claimed it has gone. `false` if no claim of this ticket stands.
    pub(super) fn unclaim(&mut self, pool: PoolNumber, ticket: Ticket) -> bool {
        let claims = self.idle_sets.get_mut(&pool).map(|shelf| &mut shelf.claims);
        claims.is_some_and(|claims| {
            let before = claims.len();
            claims.retain(|_, (known, _)| *known != ticket);
            claims.len() < before
        })
    }

    /// A connection that comes back goes to who claims it, if anybody does.
    pub(super) fn meet_claim(&mut self, pool: PoolNumber, item: C) -> Option<C> {
        let claims = self.idle_sets.get_mut(&pool).map(|shelf| &mut shelf.claims);
        match claims.and_then(|claims| claims.remove(&item.id())) {
            Some((ticket, want)) if item.suits(&want) => {
                self.effects.push(Effect::Deliver(ticket, item));
                None
            }
            Some((ticket, _)) => {
                self.effects
                    .push(Effect::Fail(ticket, CheckoutFailure::NoWay));
                Some(item)
            }
            None => Some(item),
        }
    }

    /// The connection cannot be had.
    pub(super) fn fail_claim(&mut self, (pool, id): (PoolNumber, ConnectionId)) {
        let claims = self.idle_sets.get_mut(&pool).map(|shelf| &mut shelf.claims);
        if let Some((ticket, _)) = claims.and_then(|claims| claims.remove(&id)) {
            self.effects
                .push(Effect::Fail(ticket, CheckoutFailure::NoWay));
        }
    }

    /// A client keeps the connection though it does not use it now.
    pub(super) fn ask_for_claim(&mut self, (pool, id): (PoolNumber, ConnectionId)) {
        let shelf = self.idle_sets.get(&pool);
        if shelf.is_some_and(|shelf| shelf.claims.contains_key(&id)) {
            self.ask((pool, id), ReclaimPolicy::Anyone);
        }
    }

    /// Nothing can be had any more.
    pub(super) fn fail_claims(&mut self, pool: PoolNumber) {
        let claims = self.idle_sets.get_mut(&pool).map(|shelf| &mut shelf.claims);
        for (_, (ticket, _)) in claims.map(std::mem::take).unwrap_or_default() {
            self.effects
                .push(Effect::Fail(ticket, CheckoutFailure::Closed));
        }
    }
}
