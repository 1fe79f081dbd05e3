//! Places under the caps: for clients' own connections, and for those of pools.

use tokio::time::Instant;

use super::limits::{Caps, Limits, PlaceUse, PlaceWaiter};
use super::{
    Allocator, CheckoutFailure, Effect, Key, LoginNumber, Phase, PoolNumber, PooledConnection,
    Priority, Silence, Ticket,
};

/// Answer to a client that wants a connection of its own.
#[derive(Debug)]
#[must_use]
pub(crate) enum Admission {
    Admitted(Option<LoginNumber>),
    Queued(Ticket),
    Closed,
}

impl<C: PooledConnection> Allocator<C> {
    /// A client wants a place for a connection of its own. `is_proven`: somebody has
    /// vouched for it.
    pub(crate) fn admit(
        &mut self,
        key: &Key,
        (priority, is_proven): (Priority, bool),
        now: Instant,
    ) -> Admission {
        if self.phase != Phase::Open {
            return Admission::Closed;
        }
        let place_use = match is_proven {
            true => PlaceUse::Client,
            false => PlaceUse::UnprovenClient,
        };
        let ticket = self.next_ticket();
        let waiter = PlaceWaiter {
            key: key.clone(),
            priority,
            since: now,
            place_use,
        };
        match self.limits.request(ticket, waiter) {
            true => Admission::Admitted(self.login(place_use)),
            false => {
                self.room_wanted = true;
                Admission::Queued(ticket)
            }
        }
    }

    /// The server has let go of a connection, of one of `pool` that was closing if that is
    /// given.
    pub(crate) fn release(
        &mut self,
        (key, pool): (&Key, Option<PoolNumber>),
        login: Option<LoginNumber>,
        now: Instant,
    ) {
        if let Some(login) = login {
            self.proven(login);
        }
        self.limits.release(key);
        if let Some(pool) = pool {
            self.shift(pool, |tally| tally.closing -= 1);
        }
        self.serve_places(now);
        if let Some(pool) = pool {
            self.schedule(pool, now);
            self.forget(pool);
        }
    }

    /// A client that waits for a place hangs up, or its time is over. `false`: it had been
    /// served before, and what it got is where the [`Effect`] was sent.
    pub(super) fn leave_place_queue(&mut self, ticket: Ticket, now: Instant) -> bool {
        let waited = self.limits.leave(ticket);
        if waited {
            self.serve_places(now);
        }
        waited
    }

    /// New caps: nothing is taken from anybody.
    #[cfg_attr(not(test), expect(dead_code, reason = "for reload"))]
    pub(crate) fn resize(&mut self, caps: Caps, now: Instant) {
        self.limits.resize(caps);
        self.serve_places(now);
    }

    /// Gives places to those whose turn has come, as many as there are.
    pub(super) fn serve_places(&mut self, now: Instant) {
        let mut admitted = Vec::new();
        while let Some((ticket, waiter)) = self.limits.next_grant() {
            let PlaceUse::Pool(pool) = waiter.place_use else {
                let login = self.login(waiter.place_use);
                self.effects.push(Effect::Admit(ticket, waiter.key, login));
                continue;
            };
            if let Some(shelf) = self.idle_sets.get_mut(&pool) {
                shelf.openers.retain(|opener| *opener != ticket);
            }
            self.shift(pool, |tally| tally.queued -= 1);
            self.effects.push(Effect::Open(pool));
            admitted.push(pool);
        }
        for pool in admitted {
            self.schedule(pool, now);
        }
    }

    fn login(&mut self, place_use: PlaceUse) -> Option<LoginNumber> {
        (place_use == PlaceUse::UnprovenClient).then(|| self.unproven.add())
    }

    /// The server is satisfied with the client of a login.
    pub(crate) fn proven(&mut self, login: LoginNumber) {
        self.unproven.remove(login);
        // For the next one others may have to make room.
        self.room_wanted |= self.limits.waiting() > 0;
    }

    pub(crate) fn awaits_client(&mut self, login: LoginNumber, awaits: bool, now: Instant) {
        self.unproven.awaits_client(login, awaits, now);
    }

    /// Whether a login is over for its client's silence.
    pub(crate) fn silence(&mut self, login: LoginNumber, now: Instant) -> Option<Silence> {
        self.unproven.silence(login, self.limits.waiting(), now)
    }

    /// No place is given from here on, and all who wait for one fail.
    pub(crate) fn drain(&mut self, now: Instant) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
        }
        for (ticket, waiter) in self.limits.dismiss_all() {
            let PlaceUse::Pool(pool) = waiter.place_use else {
                let failure = CheckoutFailure::Closed;
                self.effects.push(Effect::Fail(ticket, failure));
                continue;
            };
            if let Some(shelf) = self.idle_sets.get_mut(&pool) {
                shelf.openers.clear();
                shelf.can_open = false;
            }
            self.shift(pool, |tally| {
                tally.queued -= 1;
                tally.opening -= 1;
            });
            self.schedule(pool, now);
        }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }
}
