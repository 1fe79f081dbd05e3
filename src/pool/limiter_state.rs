//! The cap accounts of one upstream: who may have a connection, who waits, who
//! is next. Plain arithmetic: no sockets, no clock (`now` is an argument), no
//! locks; `limiter` is the door that tasks use.
//!
//! A [`Slot`] is the right to one connection. It is taken before the dial and
//! given back when the server is known to have let go, so what the server sees
//! (logins in flight and connections that are closing included) never exceeds
//! the total.
//!
//! Who is next: priority, then order of arrival, among those whose user's and
//! database's caps have room. Two rules keep that from starving anybody, each
//! counting to [`PATIENCE`]:
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
use std::time::Duration;

use tokio::time::Instant;

use crate::config::values::Priority;
use crate::name::Name;

mod queue;

use queue::{LimiterQueue, Order, QueuedWaiter, SubLimit};

#[cfg(test)]
mod tests;

/// How often a waiter is passed over before its turn is due.
pub(crate) const PATIENCE: u32 = 8;

/// The promises; `None` is no limit. `max_upstream_conn`,
/// `max_user_connections` and `max_db_connections`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) total: u32,
    pub(crate) per_user: Option<u32>,
    pub(crate) per_database: Option<u32>,
}

/// Whose connection it is; both names as the upstream knows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) user: Name,
    pub(crate) database: Name,
}

/// The right to one connection. It cannot be copied, and a lost one would be a
/// connection that the cluster has and nobody may use.
#[derive(Debug)]
#[must_use = "a slot has to be given back with `Accounts::release`"]
pub(crate) struct Slot {
    /// `None` only on its way through `release`.
    key: Option<Key>,
}

/// A place in the queue. Never used twice; a smaller one came earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(u64);

/// Answer to a request.
#[derive(Debug)]
#[must_use]
pub(crate) enum Decision {
    Granted(Slot),
    Queued(WaiterId),
}

/// A waiter's turn has come: whoever holds the accounts passes the slot on.
#[derive(Debug)]
#[must_use]
pub(crate) struct Grant {
    pub(crate) waiter: WaiterId,
    pub(crate) slot: Slot,
}

/// What [`LimiterState::leave`] found.
#[derive(Debug)]
#[must_use]
pub(crate) enum LeaveOutcome {
    /// It was waiting. Its leaving may have let others in.
    Left(Vec<Grant>),
    /// Its slot was granted before: it is where the [`Grant`] was sent, and has
    /// to be released from there.
    AlreadyGranted,
}

/// The cap that a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockedBy {
    Total,
    User,
    Database,
}

/// A waiter, seen from outside.
#[derive(Debug)]
pub(crate) struct WaiterView<'a> {
    pub(crate) waiter: WaiterId,
    pub(crate) key: &'a Key,
    pub(crate) priority: Priority,
    pub(crate) since: Instant,
    pub(crate) obstacle: BlockedBy,
    /// What its key has.
    pub(crate) in_use: u32,
}

/// Numbers of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyUsage {
    pub(crate) in_use: u32,
    pub(crate) waiting: usize,
    pub(crate) longest_wait: Duration,
}

/// All slots and waiters of one upstream.
#[derive(Debug)]
pub(crate) struct LimiterState {
    counts: Usage,
    queue: LimiterQueue,
    /// Grants in a row that overtook the eldest waiter with room.
    overtakings: u32,
    /// The eldest waiter of all, and how often it was passed over.
    eldest: Option<(WaiterId, u32)>,
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

impl LimiterState {
    pub(crate) fn new(caps: Caps) -> Self {
        Self {
            counts: Usage {
                caps,
                in_use: 0,
                by_key: BTreeMap::new(),
                by_gate: BTreeMap::new(),
                kept: None,
            },
            queue: LimiterQueue::default(),
            overtakings: 0,
            eldest: None,
        }
    }

    /// Asks for a slot; a queued waiter is served by a later [`Grant`].
    pub(crate) fn request(&mut self, key: Key, priority: Priority, now: Instant) -> Decision {
        // Room means that no waiter of this key is overtaken: it would have gone in.
        if self.has_room(&key) {
            return Decision::Granted(self.occupy(key, None));
        }
        let waiter = QueuedWaiter {
            key,
            priority,
            since: now,
        };
        let counts = &self.counts;
        Decision::Queued(self.queue.push(waiter, |gate| counts.has_room(gate)))
    }

    /// Whether a request would be granted at once.
    pub(crate) fn has_room(&self, key: &Key) -> bool {
        let has_room = |gate| self.counts.has_room(&gate);
        self.counts.total_has_room() && key.gates().into_iter().all(has_room)
    }

    /// Takes a slot back; the server no longer has the connection.
    pub(crate) fn release(&mut self, mut slot: Slot) -> Vec<Grant> {
        if let Some(key) = slot.key.take() {
            self.counts.vacate(&key);
            self.publish(&key);
        }
        self.serve()
    }

    /// A waiter hung up, or its time is over.
    pub(crate) fn leave(&mut self, waiter: WaiterId) -> LeaveOutcome {
        match self.queue.remove(waiter) {
            Some(_) => {
                self.forget_claim_of(waiter);
                LeaveOutcome::Left(self.serve())
            }
            None => LeaveOutcome::AlreadyGranted,
        }
    }

    /// New caps. Smaller ones take nothing from holders, only from future
    /// grants. Linear in the users and databases that wait: a reload.
    pub(crate) fn resize(&mut self, caps: Caps) -> Vec<Grant> {
        self.counts.caps = caps;
        let counts = &self.counts;
        self.queue.publish_all(|gate| counts.has_room(gate));
        self.serve()
    }

    pub(crate) fn caps(&self) -> Caps {
        self.counts.caps
    }

    /// Slots that are out.
    pub(crate) fn in_use(&self) -> u32 {
        self.counts.in_use
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How long the eldest waiter has been waiting.
    pub(crate) fn longest_wait(&self, now: Instant) -> Duration {
        self.queue.eldest().map_or(Duration::ZERO, |(_, waiter)| {
            now.saturating_duration_since(waiter.since)
        })
    }

    /// What a waiter waits for; `None` if it waits no longer.
    pub(crate) fn obstacle(&self, waiter: WaiterId) -> Option<BlockedBy> {
        let [user, database] = self.queue.get(waiter)?.key.gates();
        Some(if !self.counts.has_room(&user) {
            BlockedBy::User
        } else if !self.counts.has_room(&database) {
            BlockedBy::Database
        } else {
            BlockedBy::Total
        })
    }

    /// The first `limit` waiters in order of arrival, with what they wait for.
    pub(crate) fn waiter_views(&self, limit: usize) -> impl Iterator<Item = WaiterView<'_>> {
        self.queue.iter().take(limit).map(|(waiter, known)| {
            let key = &known.key;
            WaiterView {
                waiter,
                key,
                priority: known.priority,
                since: known.since,
                obstacle: self.obstacle(waiter).unwrap_or(BlockedBy::Total),
                in_use: self.counts.by_key.get(key).copied().unwrap_or(0),
            }
        })
    }

    /// Numbers by key, of every key that holds or waits. Linear.
    pub(crate) fn tallies(&self, now: Instant) -> BTreeMap<Key, KeyUsage> {
        let mut tallies: BTreeMap<Key, KeyUsage> = BTreeMap::new();
        for (key, &in_use) in &self.counts.by_key {
            tallies.entry(key.clone()).or_default().in_use = in_use;
        }
        for (_, waiter) in self.queue.iter() {
            let tally = tallies.entry(waiter.key.clone()).or_default();
            let wait = now.saturating_duration_since(waiter.since);
            tally.waiting += 1;
            tally.longest_wait = tally.longest_wait.max(wait);
        }
        tallies
    }

    /// Lets in whoever may go in: the one place that restores the invariant.
    fn serve(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        while self.counts.total_has_room() {
            let Some(id) = self.choose() else { break };
            let Some(waiter) = self.queue.remove(id) else {
                break;
            };
            self.forget_claim_of(id);
            let slot = self.occupy(waiter.key, Some(id));
            grants.push(Grant { waiter: id, slot });
        }
        grants
    }

    fn choose(&mut self) -> Option<WaiterId> {
        if let Some(claimant) = self.claimant_with_room() {
            self.overtakings = 0;
            return Some(claimant);
        }
        let counts = &self.counts;
        let eldest = self.queue.pick(Order::Age, |gate| counts.has_room(gate))?;
        let first = self
            .queue
            .pick(Order::Priority, |gate| counts.has_room(gate))?;
        if first == eldest || self.overtakings >= PATIENCE {
            self.overtakings = 0;
            return Some(eldest);
        }
        self.overtakings += 1;
        Some(first)
    }

    /// The eldest waiter, if its turn is due and its caps have room.
    fn claimant_with_room(&self) -> Option<WaiterId> {
        let (id, passed) = self.eldest?;
        let key = &self.queue.get(id)?.key;
        (passed >= PATIENCE && self.counts.fits(key)).then_some(id)
    }

    /// Hands out a slot for `key`, to the waiter `id` or past the queue.
    fn occupy(&mut self, key: Key, id: Option<WaiterId>) -> Slot {
        self.count_pass(&key, id);
        self.counts.occupy(&key);
        self.publish(&key);
        Slot { key: Some(key) }
    }

    /// Notes whether the grant that is about to happen passes over the eldest.
    fn count_pass(&mut self, key: &Key, id: Option<WaiterId>) {
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
        if passed >= PATIENCE && self.counts.kept.is_none() {
            let claimed = waiter.key.clone();
            self.counts.kept = Some(claimed.clone());
            self.publish(&claimed);
        }
    }

    fn forget_claim_of(&mut self, gone: WaiterId) {
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

impl Slot {
    /// `None` never outside this module.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        debug_assert!(
            self.key.is_none() || std::thread::panicking(),
            "a slot was lost instead of released"
        );
    }
}

impl Key {
    pub(crate) fn new(user: impl Into<Name>, database: impl Into<Name>) -> Self {
        Self {
            user: user.into(),
            database: database.into(),
        }
    }

    /// How metrics and logs call its pool. A slash in a name does not pass for the
    /// one between the two.
    pub(crate) fn label(&self) -> String {
        let part = |name: &Name| name.to_string().replace('/', "\\x2f");
        format!("{}/{}", part(&self.database), part(&self.user))
    }

    /// The two caps, beside the total, that a connection of this key counts in.
    fn gates(&self) -> [SubLimit; 2] {
        [
            SubLimit::User(self.user.clone()),
            SubLimit::Database(self.database.clone()),
        ]
    }

    fn passes(&self, gate: &SubLimit) -> bool {
        match gate {
            SubLimit::User(user) => *user == self.user,
            SubLimit::Database(database) => *database == self.database,
        }
    }
}
