//! The order of the waiters, and which of them stand before an open gate.
//!
//! Not here: numbers. The accounts say which gate (the cap of one user or one
//! database) is open, and the queue finds the next waiter without looking at
//! those that cannot go.
//!
//! Waiters of one key stand in one line. A line watches one of its two gates,
//! user or database. The heads of the lines at an open gate form its front, and
//! the first of each front is in `fronts`. A head whose other gate turns out to
//! be closed is not skipped: its line moves over to watch that one, and will
//! not be looked at again before that gate opens. So nothing is ever scanned,
//! and the cost is logarithmic plus the moves. One `pick` can move as many lines
//! as stand at an open gate, but each has to be brought back by a grant or
//! release elsewhere, one gate at a time, before it can move again.
//!
//! Invariant: `Group::open` is what the accounts last said, a line at an open
//! gate can be found through `fronts`, and a line at a closed one cannot go.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::config::values::Priority;
use crate::pool::ids::{PoolNumber, Ticket};
use crate::pool::key::{Key, SubLimit};

/// Who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Priority, then arrival.
    Priority,
    /// Arrival alone.
    Age,
}

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceUse {
    /// A connection of a client's own. The client has proven who it is.
    Client,
    /// The same for a client that has yet to do so, over the connection.
    UnprovenClient,
    /// A connection that this pool opens.
    Pool(PoolNumber),
}

#[derive(Debug)]
pub(crate) struct PlaceWaiter {
    pub(crate) key: Key,
    pub(crate) priority: Priority,
    pub(crate) since: Instant,
    pub(crate) place_use: PlaceUse,
}

/// One value for each [`Priority`], highest first.
type Tiers<T> = [T; 3];

/// All waiters of one key.
#[derive(Debug)]
struct KeyQueue {
    waiters: Tiers<BTreeSet<Ticket>>,
    watched: SubLimit,
}

/// The lines that watch one gate.
#[derive(Debug)]
struct LimitGroup {
    open: bool,
    /// The first waiter of each line.
    heads: Tiers<BTreeSet<Ticket>>,
    /// What `fronts` holds of this group.
    shown: Tiers<Option<Ticket>>,
}

#[derive(Debug, Default)]
pub(super) struct PlaceQueue {
    waiters: BTreeMap<Ticket, PlaceWaiter>,
    lines: BTreeMap<Key, KeyQueue>,
    groups: BTreeMap<SubLimit, LimitGroup>,
    /// The first head of every open group.
    fronts: Tiers<BTreeMap<Ticket, SubLimit>>,
}

impl PlaceQueue {
    /// Puts `waiter` at the end of its line.
    pub(super) fn push(
        &mut self,
        id: Ticket,
        waiter: PlaceWaiter,
        is_open: impl Fn(&SubLimit) -> bool,
    ) {
        let tier = waiter.priority as usize;
        let line = self
            .lines
            .entry(waiter.key.clone())
            .or_insert_with(|| KeyQueue {
                waiters: Tiers::default(),
                watched: SubLimit::User(waiter.key.user.clone()),
            });
        let becomes_head = line.waiters[tier].is_empty();
        line.waiters[tier].insert(id);
        if becomes_head {
            let gate = line.watched.clone();
            let open = is_open(&gate);
            self.groups
                .entry(gate.clone())
                .or_insert_with(|| LimitGroup::new(open))
                .heads[tier]
                .insert(id);
            self.show(&gate);
        }
        self.waiters.insert(id, waiter);
    }

    /// Takes a waiter out, wherever it stands; `None` if it waits no longer.
    pub(super) fn remove(&mut self, id: Ticket) -> Option<PlaceWaiter> {
        let waiter = self.waiters.remove(&id)?;
        let tier = waiter.priority as usize;
        let line = self.lines.get_mut(&waiter.key)?;
        let was_head = line.waiters[tier].first() == Some(&id);
        line.waiters[tier].remove(&id);
        let next = line.waiters[tier].first().copied();
        let gate = line.watched.clone();
        if line.waiters.iter().all(BTreeSet::is_empty) {
            self.lines.remove(&waiter.key);
        }
        if was_head && let Some(group) = self.groups.get_mut(&gate) {
            group.heads[tier].remove(&id);
            group.heads[tier].extend(next);
            self.show(&gate);
        }
        Some(waiter)
    }

    /// The next waiter that can pass both its gates.
    pub(super) fn pick(
        &mut self,
        order: Order,
        is_open: impl Fn(&SubLimit) -> bool,
    ) -> Option<Ticket> {
        loop {
            let mut fronts = self.fronts.iter().filter_map(BTreeMap::first_key_value);
            let (id, gate) = match order {
                Order::Priority => fronts.next(),
                Order::Age => fronts.min_by_key(|(id, _)| **id),
            }
            .map(|(&id, gate)| (id, gate.clone()))?;
            let key = self.waiters.get(&id)?.key.clone();
            let other = match gate {
                SubLimit::User(_) => SubLimit::Database(key.database.clone()),
                SubLimit::Database(_) => SubLimit::User(key.user.clone()),
            };
            if is_open(&other) {
                return Some(id);
            }
            self.watch(&key, other);
        }
    }

    /// The accounts' word on a gate.
    pub(super) fn publish(&mut self, gate: &SubLimit, open: bool) {
        if let Some(group) = self.groups.get_mut(gate)
            && group.open != open
        {
            group.open = open;
            self.show(gate);
        }
    }

    /// The accounts' word on every gate that somebody watches.
    pub(super) fn publish_all(&mut self, is_open: impl Fn(&SubLimit) -> bool) {
        let gates: Vec<SubLimit> = self.groups.keys().cloned().collect();
        for gate in gates {
            self.publish(&gate, is_open(&gate));
        }
    }

    pub(super) fn get(&self, id: Ticket) -> Option<&PlaceWaiter> {
        self.waiters.get(&id)
    }

    pub(super) fn eldest(&self) -> Option<(Ticket, &PlaceWaiter)> {
        let (&id, waiter) = self.waiters.first_key_value()?;
        Some((id, waiter))
    }

    /// In order of arrival.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, &PlaceWaiter)> {
        self.waiters.iter().map(|(&id, waiter)| (id, waiter))
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Moves the line of `key` over to `gate`, which is closed.
    fn watch(&mut self, key: &Key, gate: SubLimit) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let left = std::mem::replace(&mut line.watched, gate.clone());
        let joined = self
            .groups
            .entry(gate.clone())
            .or_insert_with(|| LimitGroup::new(false));
        for (heads, waiters) in joined.heads.iter_mut().zip(&line.waiters) {
            heads.extend(waiters.first());
        }
        if let Some(group) = self.groups.get_mut(&left) {
            for (heads, waiters) in group.heads.iter_mut().zip(&line.waiters) {
                if let Some(head) = waiters.first() {
                    heads.remove(head);
                }
            }
        }
        self.show(&left);
        self.show(&gate);
    }

    /// Brings `fronts` up to date with one group, and drops the group if empty.
    fn show(&mut self, gate: &SubLimit) {
        let Some(group) = self.groups.get_mut(gate) else {
            return;
        };
        let open = group.open;
        let rows = self.fronts.iter_mut().zip(&mut group.shown);
        for ((front, shown), heads) in rows.zip(&group.heads) {
            let head = heads.first().copied().filter(|_| open);
            if *shown == head {
                continue;
            }
            if let Some(old) = std::mem::replace(shown, head) {
                front.remove(&old);
            }
            if let Some(head) = head {
                front.insert(head, gate.clone());
            }
        }
        if group.heads.iter().all(BTreeSet::is_empty) {
            self.groups.remove(gate);
        }
    }
}

impl LimitGroup {
    fn new(open: bool) -> Self {
        Self {
            open,
            heads: Tiers::default(),
            shown: Tiers::default(),
        }
    }
}

#[cfg(test)]
impl PlaceQueue {
    pub(super) fn is_clear(&self) -> bool {
        self.waiters.is_empty()
            && self.lines.is_empty()
            && self.groups.is_empty()
            && self.fronts.iter().all(BTreeMap::is_empty)
    }

    /// The invariant at the top of this file, by looking at everything.
    pub(super) fn check(&self, is_open: impl Fn(&SubLimit) -> bool) {
        let in_lines = self.lines.values().flat_map(|line| &line.waiters);
        assert_eq!(
            in_lines.map(BTreeSet::len).sum::<usize>(),
            self.waiters.len()
        );
        for (key, line) in &self.lines {
            assert!(key.passes(&line.watched));
            let group = &self.groups[&line.watched];
            for (waiters, heads) in line.waiters.iter().zip(&group.heads) {
                assert!(waiters.first().is_none_or(|head| heads.contains(head)));
            }
        }
        let mut shown = 0;
        for (gate, group) in &self.groups {
            assert_eq!(group.open, is_open(gate), "{gate:?}");
            for (tier, heads) in group.heads.iter().enumerate() {
                let head = heads.first().copied().filter(|_| group.open);
                assert_eq!(group.shown[tier], head);
                shown += head.iter().count();
                assert!(head.is_none_or(|head| self.fronts[tier].get(&head) == Some(gate)));
            }
        }
        assert_eq!(self.fronts.iter().map(BTreeMap::len).sum::<usize>(), shown);
    }
}
