//! The caps of one upstream: how many places are taken, who waits for one, and who is
//! next. Plain arithmetic: no sockets, no clock, no locks.
//!
//! A place is the right to one connection. It is taken before the dial and given back
//! when the server is known to have let go, so what the server sees (logins in flight
//! and connections that are closing included) never exceeds the total.
//!
//! Who is next: priority, then order of arrival, among those whose user's and
//! database's caps have room. Two rules keep that from starving anybody, each
//! counting to [`PASSES_BEFORE_TURN`]:
//!
//! * *Share.* After that many grants in a row that overtook the eldest waiter
//!   with room, the next one is the eldest's.
//! * *Claim.* The eldest waiter of all, once it has been passed over that often,
//!   goes first, and a place of its user and one of its database are kept for it.
//!   Without that, a waiter whose user and database are both at their caps could
//!   see each of them free, never both at once.
//!
//! Invariant, after every operation: no grant ever went beyond a cap, and no
//! waiter waits for a place that it may take (kept places aside).

use std::collections::BTreeMap;

use crate::pool::ids::Ticket;
use crate::pool::key::{Key, SubLimit};
use crate::pool::timing::PASSES_BEFORE_TURN;

mod queue;

use queue::{Order, PlaceQueue};
pub(crate) use queue::{PlaceUse, PlaceWaiter};

#[cfg(test)]
mod tests;

/// The promises; `None` is no limit. `max_upstream_conn`,
/// `max_user_connections` and `max_db_connections`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) total: u32,
    pub(crate) per_user: Option<u32>,
    pub(crate) per_database: Option<u32>,
}

/// The cap that a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockedBy {
    Total,
    User,
    Database,
}

/// All places and their waiters.
#[derive(Debug)]
pub(crate) struct Limits {
    counts: Usage,
    queue: PlaceQueue,
    /// Grants in a row that overtook the eldest waiter with room.
    overtakings: u32,
    /// The eldest waiter of all, and how often it was passed over.
    eldest: Option<(Ticket, u32)>,
}

/// What is out, against what may be.
#[derive(Debug)]
struct Usage {
    caps: Caps,
    in_use: u32,
    by_key: BTreeMap<Key, u32>,
    by_gate: BTreeMap<SubLimit, u32>,
    /// Whose user and database have a place kept.
    kept: Option<Key>,
}

impl Limits {
    pub(crate) fn new(caps: Caps) -> Self {
        Self {
            counts: Usage {
                caps,
                in_use: 0,
                by_key: BTreeMap::new(),
                by_gate: BTreeMap::new(),
                kept: None,
            },
            queue: PlaceQueue::default(),
            overtakings: 0,
            eldest: None,
        }
    }

    /// Asks for a place: `true` if it is taken at once. Else the waiter is queued, and
    /// [`Limits::next_grant`] gives the place to it later.
    pub(crate) fn request(&mut self, ticket: Ticket, waiter: PlaceWaiter) -> bool {
        // Room means that no waiter of this key is overtaken: it would have gone in.
        if self.has_room(&waiter.key) {
            self.occupy(&waiter.key, None);
            return true;
        }
        let counts = &self.counts;
        (self.queue).push(ticket, waiter, |gate| counts.has_room(gate));
        false
    }

    /// Whether a request would be granted at once.
    pub(crate) fn has_room(&self, key: &Key) -> bool {
        let has_room = |gate| self.counts.has_room(&gate);
        self.counts.total_has_room() && key.gates().into_iter().all(has_room)
    }

    /// Takes a place back; the server no longer has the connection.
    pub(crate) fn release(&mut self, key: &Key) {
        self.counts.vacate(key);
        self.publish(key);
    }

    /// A waiter hung up, or its time is over. `false`: it waits no longer.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> bool {
        let waited = self.queue.remove(ticket).is_some();
        if waited {
            self.forget_claim_of(ticket);
        }
        waited
    }

    /// New caps. Smaller ones take nothing from holders, only from future
    /// grants. Linear in the users and databases that wait: a reload.
    pub(crate) fn resize(&mut self, caps: Caps) {
        self.counts.caps = caps;
        let counts = &self.counts;
        self.queue.publish_all(|gate| counts.has_room(gate));
    }

    /// Lets in the next waiter that may go in. To be called until there is none, after
    /// every change that is not a request: that restores the invariant.
    pub(crate) fn next_grant(&mut self) -> Option<(Ticket, PlaceWaiter)> {
        if !self.counts.total_has_room() {
            return None;
        }
        let ticket = self.choose()?;
        let waiter = self.queue.remove(ticket)?;
        self.forget_claim_of(ticket);
        self.occupy(&waiter.key, Some(ticket));
        Some((ticket, waiter))
    }

    /// Takes everybody out of the queue.
    pub(crate) fn dismiss_all(&mut self) -> Vec<(Ticket, PlaceWaiter)> {
        let waiting: Vec<Ticket> = self.queue.iter().map(|(ticket, _)| ticket).collect();
        let mut dismissed = Vec::new();
        for ticket in waiting {
            dismissed.extend(self.queue.remove(ticket).map(|waiter| (ticket, waiter)));
            self.forget_claim_of(ticket);
        }
        dismissed
    }

    pub(crate) fn caps(&self) -> Caps {
        self.counts.caps
    }

    /// Places that are taken.
    pub(crate) fn in_use(&self) -> u32 {
        self.counts.in_use
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What a waiter waits for; `None` if it waits no longer.
    pub(crate) fn blocked_by(&self, waiter: Ticket) -> Option<BlockedBy> {
        let [user, database] = self.queue.get(waiter)?.key.gates();
        Some(if !self.counts.has_room(&user) {
            BlockedBy::User
        } else if !self.counts.has_room(&database) {
            BlockedBy::Database
        } else {
            BlockedBy::Total
        })
    }

    /// In order of arrival.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = (Ticket, &PlaceWaiter)> {
        self.queue.iter()
    }

    /// Places that connections of this key have.
    pub(crate) fn in_use_by(&self, key: &Key) -> u32 {
        self.counts.by_key.get(key).copied().unwrap_or(0)
    }

    pub(crate) const fn in_use_by_key(&self) -> &BTreeMap<Key, u32> {
        &self.counts.by_key
    }

    fn choose(&mut self) -> Option<Ticket> {
        if let Some(claimant) = self.claimant_with_room() {
            self.overtakings = 0;
            return Some(claimant);
        }
        let counts = &self.counts;
        let eldest = self.queue.pick(Order::Age, |gate| counts.has_room(gate))?;
        let first = self
            .queue
            .pick(Order::Priority, |gate| counts.has_room(gate))?;
        if first == eldest || self.overtakings >= PASSES_BEFORE_TURN {
            self.overtakings = 0;
            return Some(eldest);
        }
        self.overtakings += 1;
        Some(first)
    }

    /// The eldest waiter, if its turn is due and its caps have room.
    fn claimant_with_room(&self) -> Option<Ticket> {
        let (id, passed) = self.eldest?;
        let key = &self.queue.get(id)?.key;
        (passed >= PASSES_BEFORE_TURN && self.counts.fits(key)).then_some(id)
    }

    /// Takes a place for `key`, for the waiter `id` or past the queue.
    fn occupy(&mut self, key: &Key, id: Option<Ticket>) {
        self.count_pass(key, id);
        self.counts.occupy(key);
        self.publish(key);
    }

    /// Notes whether the grant that is about to happen passes over the eldest.
    fn count_pass(&mut self, key: &Key, id: Option<Ticket>) {
        let Some((eldest, waiter)) = self.queue.eldest() else {
            return;
        };
        let passed = match self.eldest {
            Some((known, passed)) if known == eldest => passed,
            _ => 0,
        };
        if id.is_some_and(|id| id < eldest) {
            return;
        }
        // It could have gone in itself, or loses the last place of its user or
        // database. What it merely looks on at is no pass.
        let takes_last_place = || {
            let mut shared = waiter
                .key
                .gates()
                .into_iter()
                .filter(|gate| key.passes(gate));
            shared.any(|gate| self.counts.has_one_place(&gate))
        };
        let is_pass = id.is_some() && self.counts.fits(&waiter.key) || takes_last_place();
        let passed = passed.saturating_add(u32::from(is_pass));
        self.eldest = Some((eldest, passed));
        if passed >= PASSES_BEFORE_TURN && self.counts.kept.is_none() {
            let claimed = waiter.key.clone();
            self.counts.kept = Some(claimed.clone());
            self.publish(&claimed);
        }
    }

    fn forget_claim_of(&mut self, gone: Ticket) {
        if self.eldest.is_some_and(|(id, _)| id == gone) {
            self.eldest = None;
            if let Some(key) = self.counts.kept.take() {
                self.publish(&key);
            }
        }
    }

    /// Tells the queue about a change of the counts of `key`.
    fn publish(&mut self, key: &Key) {
        for gate in key.gates() {
            self.queue.publish(&gate, self.counts.has_room(&gate));
        }
    }
}

impl Usage {
    fn total_has_room(&self) -> bool {
        self.in_use < self.caps.total
    }

    fn used(&self, gate: &SubLimit) -> u32 {
        self.by_gate.get(gate).copied().unwrap_or(0)
    }

    fn cap(&self, gate: &SubLimit) -> Option<u32> {
        match gate {
            SubLimit::User(_) => self.caps.per_user,
            SubLimit::Database(_) => self.caps.per_database,
        }
    }

    /// Places left, a kept one included; `None` is no limit.
    fn places(&self, gate: &SubLimit) -> Option<u32> {
        self.cap(gate)
            .map(|cap| cap.saturating_sub(self.used(gate)))
    }

    /// Room for anybody.
    fn has_room(&self, gate: &SubLimit) -> bool {
        let kept = self.kept.as_ref().is_some_and(|key| key.passes(gate));
        self.places(gate)
            .is_none_or(|places| places > u32::from(kept))
    }

    /// Room for `key` if kept places are its own.
    fn fits(&self, key: &Key) -> bool {
        let open = |gate| self.places(&gate).is_none_or(|places| places > 0);
        key.gates().into_iter().all(open)
    }

    fn has_one_place(&self, gate: &SubLimit) -> bool {
        self.places(gate) == Some(1)
    }

    fn occupy(&mut self, key: &Key) {
        self.in_use += 1;
        *self.by_key.entry(key.clone()).or_default() += 1;
        for gate in key.gates() {
            *self.by_gate.entry(gate).or_default() += 1;
        }
    }

    fn vacate(&mut self, key: &Key) {
        self.in_use = self.in_use.saturating_sub(1);
        take_one(&mut self.by_key, key);
        for gate in key.gates() {
            take_one(&mut self.by_gate, &gate);
        }
    }
}

/// Counts down, and forgets what is zero: names come from clients.
fn take_one<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(key);
        }
    }
}
