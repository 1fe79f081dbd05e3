//! One pool's connections and waiters, and what a group of pools shares.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Counts, GroupNumber, PooledConnection};
use crate::config::values::Priority;
use crate::pool::ids::{ConnectionId, PoolNumber, Ticket};
use crate::pool::key::Key;
use crate::pool::plan::{CheckoutRequest, PoolPlan};
use crate::pool::timing::{
    FIRST_RETRY, MAX_QUEUED_OPENERS, PRIORITY_YIELDS_AFTER, SAME_THREAD_DELAY, SAME_THREAD_REACH,
    UNSUITED_WAIT,
};

/// The pools of one user and database, which share a size.
#[derive(Debug)]
pub(super) struct PoolGroup {
    pub(super) key: Key,
    pub(super) plan: Arc<PoolPlan>,
    /// Replaced as a whole: it is read at every turn, and hardly ever changes.
    pub(super) members: Arc<[PoolNumber]>,
    pub(super) tally: Counts,
    /// When it last gave up a connection that its own clients waited for.
    pub(super) gave_way_at: Option<Instant>,
}

impl PoolGroup {
    /// How many more than its size it has adopted. What is closing makes room by itself.
    pub(super) fn overshoot(&self) -> u32 {
        let most = self.plan.size.saturating_add(self.plan.reserve_size);
        (self.tally.total() - self.tally.closing).saturating_sub(most)
    }

    /// Whether all that there may be is out with clients of `idle_set`, its only one, that use
    /// it: nothing can be done for others until one comes back. So it is at most turns of
    /// a pool that many share.
    pub(super) fn is_at_work<C>(&self, shelf: &IdleSet<C>) -> bool {
        let most = self.plan.size.saturating_add(self.plan.reserve_size);
        self.tally.lent >= most && self.members.len() == 1 && shelf.held.is_empty()
    }

    pub(super) fn new(key: Key, plan: Arc<PoolPlan>) -> Self {
        Self {
            key,
            plan,
            members: Arc::new([]),
            tally: Counts::default(),
            gave_way_at: None,
        }
    }
}

/// Connections that are interchangeable but for what is left on them.
#[derive(Debug)]
pub(super) struct IdleSet<C> {
    pub(super) group: GroupNumber,
    pub(super) can_open: bool,
    pub(super) standing: Standing,
    pub(super) tally: Counts,
    pub(super) idle: Vec<Idle<C>>,
    pub(super) held: BTreeMap<ConnectionId, Held>,
    pub(super) waiters: Waiters,
    /// Clients that want one connection, which somebody has, and no other.
    pub(super) claims: BTreeMap<ConnectionId, (Ticket, CheckoutRequest)>,
    /// Those that wait for a place, in order of arrival.
    pub(super) openers: Vec<Ticket>,
    /// Clients that are here.
    pub(super) clients: u32,
    /// Logins in a row that failed, and when the next may be tried.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
}

/// How long a pool stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// For as long as it has clients or connections.
    Current,
    /// Until its last client has gone: new ones are not for it.
    Outdated,
    /// Until its last connection has gone.
    Retired,
}

#[derive(Debug)]
pub(super) struct Idle<C> {
    pub(super) item: C,
    pub(super) since: Instant,
}

/// A connection that its client keeps though it is idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) since: Instant,
    pub(super) asked: bool,
    pub(super) refused: bool,
}

impl Held {
    pub(super) const fn since(since: Instant) -> Self {
        Self {
            since,
            asked: false,
            refused: false,
        }
    }
}

impl<C> IdleSet<C> {
    pub(super) fn new(group: GroupNumber, (can_open, outdated): (bool, bool)) -> Self {
        Self {
            group,
            can_open,
            standing: match outdated {
                true => Standing::Outdated,
                false => Standing::Current,
            },
            tally: Counts::default(),
            idle: Vec::new(),
            held: BTreeMap::new(),
            waiters: Waiters::default(),
            claims: BTreeMap::new(),
            openers: Vec::new(),
            clients: 0,
            failures: 0,
            retry_at: None,
        }
    }

    pub(super) fn outdate(&mut self) {
        if self.standing == Standing::Current {
            self.standing = Standing::Outdated;
        }
    }

    /// Whether it is to be retired once nobody uses it. Where the proxy cannot log in,
    /// whoever comes next has to, and brings a connection.
    pub(super) fn is_unwanted(&self, empty: bool) -> bool {
        match self.standing {
            Standing::Current => empty || !self.can_open,
            Standing::Outdated => true,
            Standing::Retired => false,
        }
    }

    /// There will be no other connections than those that are idle.
    pub(super) const fn has_no_way(&self) -> bool {
        !self.can_open && self.tally.lent == 0
    }

    /// Whether a connection may be closed for others' sake, or for its age: where the
    /// proxy cannot log in, the last one is all that the clients have.
    pub(super) const fn can_spare(&self) -> bool {
        self.can_open || self.tally.lent + self.tally.idle > 1
    }

    /// Whether one more opener would be of use now. Few of them queue for a slot: the
    /// next comes when one has got it, and others are seen who wait at the cap.
    pub(super) fn wants_opener(&self, now: Instant) -> bool {
        self.tally.waiting > self.tally.opening
            && self.tally.queued < MAX_QUEUED_OPENERS
            && self.may_try(now)
    }

    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.can_open
            && self.standing != Standing::Retired
            && self.retry_at.is_none_or(|at| at <= now)
    }

    pub(super) fn back_off(&mut self, longest: Duration, now: Instant) -> Instant {
        let pause = FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let retry_at = now + pause.min(longest.max(FIRST_RETRY));
        self.retry_at = Some(retry_at);
        retry_at
    }
}

impl<C: PooledConnection> IdleSet<C> {
    /// Whether a connection may go to who wants it. Where the proxy cannot log in there
    /// may never be a better one.
    pub(super) fn fits(&self, item: &C, want: &CheckoutRequest) -> bool {
        !self.can_open || item.suits(want)
    }

    /// The first in turn that one of the idle connections is for: who is harder to
    /// please keeps nobody waiting. One on the thread of such a connection goes before
    /// those of its priority that came hardly before it, measured by how long they
    /// wait: whose turn it is is passed over by those, and by nobody who comes later.
    pub(super) fn next_served(&self, now: Instant) -> Option<&Waiter> {
        if self.idle.is_empty() {
            return None;
        }
        let is_served = |waiter: &&Waiter| {
            let mut idle = self.idle.iter();
            idle.any(|idle| self.fits(&idle.item, &waiter.want))
        };
        let is_kin = |waiter: &&Waiter| {
            let mut idle = self.idle.iter();
            idle.any(|idle| {
                idle.item.thread() == waiter.want.thread() && self.fits(&idle.item, &waiter.want)
            })
        };
        let first = self.waiters.in_turn(now).find(is_served)?;
        if is_kin(&first) {
            return Some(first);
        }
        let equals = self.waiters.line(first.want.priority).iter();
        let (least, part) = SAME_THREAD_DELAY;
        let delay = least.max(now.saturating_duration_since(first.since) / part);
        let came_with_it = |waiter: &&Waiter| waiter.since <= first.since + delay;
        let equals = equals.take(SAME_THREAD_REACH).take_while(came_with_it);
        let kin = equals.into_iter().find(is_kin);
        Some(kin.unwrap_or(first))
    }

    /// Whether whoever is first in turn can do nothing with `item`, has waited long
    /// enough, and has nothing coming.
    pub(super) fn owes_another(&self, item: &C, now: Instant) -> bool {
        let opening = self.tally.opening.saturating_sub(self.tally.queued);
        if self.tally.closing > 0 || opening > 0 || !self.may_try(now) || !self.can_spare() {
            return false;
        }
        self.waiters.next(now).is_some_and(|waiter| {
            let waited = now.saturating_duration_since(waiter.since);
            waited >= UNSUITED_WAIT && !self.fits(item, &waiter.want)
        })
    }

    /// The connection on which the client has most of its own and least of others:
    /// that it used last, another of its own, one with nobody's state, and of the
    /// others that which has been idle for longest. Of equal ones that of its thread.
    pub(super) fn take(&mut self, want: &CheckoutRequest) -> Option<C> {
        let mut best: Option<(usize, u8, &Idle<C>)> = None;
        for (at, idle) in self.idle.iter().enumerate() {
            let suits = idle.item.suits(want);
            if self.can_open && !suits {
                continue;
            }
            let rank = rank(&idle.item, want) + if suits { 0 } else { UNSUITED };
            let better = best.is_none_or(|(_, known, other)| match rank.cmp(&known) {
                // Nobody's: the one used last, so that others can be closed.
                std::cmp::Ordering::Equal if rank / 2 == 2 => idle.since >= other.since,
                std::cmp::Ordering::Equal => idle.since < other.since,
                ordering => ordering.is_lt(),
            });
            if better {
                best = Some((at, rank, idle));
            }
        }
        let (at, ..) = best?;
        Some(self.idle.swap_remove(at).item)
    }
}

/// Added to the rank of what shows other clients' custom settings.
const UNSUITED: u8 = 16;

/// Small is good; odd ones are another thread's.
fn rank<C: PooledConnection>(item: &C, want: &CheckoutRequest) -> u8 {
    let state = if want.prefer == Some(item.id()) {
        0
    } else {
        match item.owner() {
            Some(owner) if owner == want.client => 1,
            None => 2,
            Some(_) => 3,
        }
    };
    2 * state + u8::from(item.thread() != want.thread())
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) want: CheckoutRequest,
    pub(super) since: Instant,
}

/// In order of arrival within each priority, highest first.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    lines: [VecDeque<Waiter>; 3],
}

impl Waiters {
    pub(super) fn push(&mut self, waiter: Waiter) {
        let [high, medium, low] = &mut self.lines;
        let line = match waiter.want.priority {
            Priority::High => high,
            Priority::Medium => medium,
            Priority::Low => low,
        };
        line.push_back(waiter);
    }

    fn line(&self, priority: Priority) -> &VecDeque<Waiter> {
        let [high, medium, low] = &self.lines;
        match priority {
            Priority::High => high,
            Priority::Medium => medium,
            Priority::Low => low,
        }
    }

    /// By priority, unless the eldest has lost patience.
    pub(super) fn next(&self, now: Instant) -> Option<&Waiter> {
        let eldest = self.eldest()?;
        if now.saturating_duration_since(eldest.since) >= PRIORITY_YIELDS_AFTER {
            return Some(eldest);
        }
        self.lines.iter().find_map(VecDeque::front)
    }

    /// All of them, whose turn it is first, and that one perhaps twice.
    pub(super) fn in_turn(&self, now: Instant) -> impl Iterator<Item = &Waiter> {
        self.next(now)
            .into_iter()
            .chain(self.lines.iter().flatten())
    }

    pub(super) fn eldest(&self) -> Option<&Waiter> {
        let fronts = self.lines.iter().filter_map(VecDeque::front);
        fronts.min_by_key(|waiter| waiter.ticket)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> bool {
        self.lines.iter_mut().any(|line| {
            let found = line.binary_search_by_key(&ticket, |waiter| waiter.ticket);
            found.is_ok_and(|at| line.remove(at).is_some())
        })
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.lines.iter().flatten()
    }
}
