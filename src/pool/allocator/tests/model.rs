//! Histories made up by chance: whatever happens, the promises hold.
//!
//! The world keeps its own list of where each connection is, from the effects
//! alone, and compares it with the books after every step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::pool::allocator::limits::PlaceUse;

#[derive(Debug, Clone)]
enum Step {
    Lease {
        pool: usize,
        client: u64,
        high: bool,
    },
    Leave(usize),
    CheckIn {
        at: usize,
        owner: bool,
        marked: bool,
        rival: bool,
    },
    Close(usize),
    Closed(usize),
    Opened(usize),
    OpenFailed {
        at: usize,
        may_pass: bool,
    },
    OpenerDies(usize),
    Hold(usize),
    Resume(usize),
    Refuse(usize),
    Relieve {
        low: bool,
    },
    Reap,
    Vacate,
    Adopt {
        pool: usize,
    },
    Expand {
        pool: usize,
    },
    /// A client that wants a connection of its own.
    Come {
        database: usize,
        high: bool,
    },
    /// The connection of such a client is closed.
    Go(usize),
    /// Such a client waits no longer.
    HangUp(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..64_usize;
    prop_oneof![
        6 => (0..5_usize, 0..9_u64, any::<bool>())
            .prop_map(|(pool, client, high)| Step::Lease { pool, client, high }),
        1 => at.clone().prop_map(Step::Leave),
        5 => (at.clone(), any::<bool>(), prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(at, owner, marked, rival)| Step::CheckIn { at, owner, marked, rival }),
        1 => at.clone().prop_map(Step::Close),
        3 => at.clone().prop_map(Step::Closed),
        5 => at.clone().prop_map(Step::Opened),
        1 => (at.clone(), any::<bool>())
            .prop_map(|(at, may_pass)| Step::OpenFailed { at, may_pass }),
        3 => (0..3_usize, any::<bool>())
            .prop_map(|(database, high)| Step::Come { database, high }),
        3 => at.clone().prop_map(Step::Go),
        1 => at.clone().prop_map(Step::HangUp),
        1 => at.clone().prop_map(Step::OpenerDies),
        2 => at.clone().prop_map(Step::Hold),
        1 => at.clone().prop_map(Step::Resume),
        1 => at.prop_map(Step::Refuse),
        1 => any::<bool>().prop_map(|low| Step::Relieve { low }),
        1 => Just(Step::Reap),
        1 => Just(Step::Vacate),
        2 => (0..5_usize).prop_map(|pool| Step::Adopt { pool }),
        2 => (0..5_usize).prop_map(|pool| Step::Expand { pool }),
        2 => (1..3000_u64).prop_map(Step::Wait),
    ]
}

/// Everything outside of the books.
struct World {
    desk: Desk,
    pools: Vec<PoolNumber>,
    /// Pool, client, and whether of high priority.
    waiting: BTreeMap<Ticket, (PoolNumber, u64, bool)>,
    lent: Vec<(PoolNumber, Thing)>,
    /// Those that have a place.
    openers: Vec<PoolNumber>,
    /// Clients that have connections of their own, and those that wait for one.
    direct: Vec<Key>,
    direct_waiting: BTreeMap<Ticket, Key>,
    closing: Vec<PoolNumber>,
    held: BTreeSet<u64>,
    /// Adoptions into full groups: so far they may be beyond their size.
    squeezed: u32,
}

fn nth<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(at % list.len()))
}

impl World {
    /// Two pools of one group, one of another, and two of one that cannot log in.
    fn new(places: u32) -> Self {
        let mut desk = Desk::capped(places);
        let shared = PoolPlan {
            min_size: 1,
            reserve_size: 1,
            ..plan(3)
        };
        let mut pools = vec![
            desk.pool("d", shared.clone()),
            desk.pool("d", shared),
            desk.pool("e", plan(2)),
        ];
        let (key, plan) = (Key::new("u", "f"), Arc::new(plan(3)));
        pools.extend([(); 2].map(|()| desk.books.enlist(&key, &plan, (false, false))));
        for &pool in &pools {
            desk.books.join(pool);
        }
        Self {
            desk,
            pools,
            waiting: BTreeMap::new(),
            lent: Vec::new(),
            openers: Vec::new(),
            direct: Vec::new(),
            direct_waiting: BTreeMap::new(),
            closing: Vec::new(),
            held: BTreeSet::new(),
            squeezed: 0,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    fn step(&mut self, step: Step) {
        let now = self.desk.now;
        match step {
            Step::Lease { pool, client, high } => self.lease(self.pools[pool], client, high),
            Step::Leave(at) => {
                let mut tickets: Vec<Ticket> = self.waiting.keys().copied().collect();
                if let Some(ticket) = nth(&mut tickets, at) {
                    let (pool, ..) = self.waiting.remove(&ticket).unwrap();
                    assert!(self.desk.books.leave(Some(pool), ticket, now));
                    assert!(!self.desk.books.leave(Some(pool), ticket, now));
                }
            }
            Step::CheckIn {
                at,
                owner,
                marked,
                rival: crowded,
            } => {
                if let Some((pool, mut thing)) = nth(&mut self.lent, at) {
                    self.held.remove(&thing.id);
                    thing.owner = owner.then_some(at as u64 % 9);
                    if marked {
                        thing.marked_by = Some(at as u64 % 9);
                    }
                    // One of elsewhere, and a login that the same pool would gain by.
                    let own = CompetingWaiter {
                        key: Key::new("u", "f"),
                        has: self.pools[3..]
                            .iter()
                            .map(|pool| self.desk.books.tally(*pool).placed())
                            .sum(),
                        ..rival(None, Priority::Medium, Duration::from_secs(1))
                    };
                    let rivals = vec![rival(None, Priority::High, Duration::from_millis(500)), own];
                    match crowded {
                        true => self.desk.check_in(pool, thing, &rivals),
                        false => self.desk.books.check_in((pool, thing), now),
                    }
                }
            }
            Step::Close(at) => {
                if let Some((pool, thing)) = nth(&mut self.lent, at) {
                    self.held.remove(&thing.id);
                    self.closing.push(pool);
                    self.desk.books.closing(pool, thing.id(), now);
                }
            }
            Step::Closed(at) => {
                if let Some(pool) = nth(&mut self.closing, at) {
                    self.desk.closed(pool);
                }
            }
            Step::Relieve { low } => {
                let priority = if low { Priority::Low } else { Priority::High };
                let rivals = [rival(None, priority, Duration::ZERO)];
                self.desk.books.reclaim_for(&rivals);
            }
            Step::Reap => self.desk.books.reap(now, |thing| thing.id % 7 == 0),
            Step::Vacate => {
                let database: Name = "d".into();
                self.desk.books.evict_database(&database, now);
                self.desk.books.end_eviction(&database);
            }
            Step::Adopt { pool } => self.adopt(self.pools[pool]),
            Step::Come { database, high } => {
                let database = ["d", "e", "g"][database];
                let priority = if high { Priority::High } else { Priority::Low };
                let _ = self.come(&Key::new("u", database), priority);
            }
            Step::Go(at) => {
                if let Some(key) = nth(&mut self.direct, at) {
                    self.desk.books.release((&key, None), None, now);
                }
            }
            Step::HangUp(at) => {
                let mut tickets: Vec<Ticket> = self.direct_waiting.keys().copied().collect();
                if let Some(ticket) = nth(&mut tickets, at) {
                    self.direct_waiting.remove(&ticket);
                    assert!(self.desk.books.leave(None, ticket, now));
                    assert!(!self.desk.books.leave(None, ticket, now));
                }
            }
            Step::Expand { pool } => {
                let _ = self.desk.books.expand(self.pools[pool], now);
            }
            Step::Wait(millis) => {
                self.desk.now += Duration::from_millis(millis);
                for &pool in &self.pools {
                    self.desk.books.schedule(pool, self.desk.now);
                }
            }
            Step::Hold(at) | Step::Resume(at) | Step::Refuse(at) => self.keep(&step, at),
            step => self.opener(step),
        }
    }

    /// Whether the client has its place at once.
    fn come(&mut self, key: &Key, priority: Priority) -> bool {
        match self.desk.books.admit(key, (priority, true), self.desk.now) {
            Admission::Admitted(_) => self.direct.push(key.clone()),
            Admission::Queued(ticket) => {
                self.direct_waiting.insert(ticket, key.clone());
                return false;
            }
            Admission::Closed => panic!("it is open"),
        }
        true
    }

    /// A client logs in by itself, and its connection joins the pool.
    fn adopt(&mut self, pool: PoolNumber) {
        let group = &self.desk.books.groups[&self.desk.books.idle_sets[&pool].group];
        let full = group.tally.total() >= group.plan.size;
        let key = group.key.clone();
        if self.come(&key, Priority::Medium) && self.desk.books.adopt(pool) {
            self.direct.pop();
            self.squeezed += u32::from(full);
            let thing = self.desk.thing();
            self.lent.push((pool, thing));
        }
    }

    fn lease(&mut self, pool: PoolNumber, client: u64, high: bool) {
        let mut want = CheckoutRequest::new(client);
        if high {
            want.priority = Priority::High;
        }
        let (books, now) = (&mut self.desk.books, self.desk.now);
        match books.lease(pool, want, now) {
            CheckoutAnswer::Taken(thing) => self.lent.push((pool, thing)),
            CheckoutAnswer::Queued(ticket) => {
                self.waiting.insert(ticket, (pool, client, high));
            }
            CheckoutAnswer::Failed(failure) => assert_eq!(failure, CheckoutFailure::NoWay),
        }
    }

    fn keep(&mut self, step: &Step, at: usize) {
        if self.lent.is_empty() {
            return;
        }
        let (pool, thing) = &self.lent[at % self.lent.len()];
        let (id, books, now) = (thing.id, &mut self.desk.books, self.desk.now);
        match step {
            Step::Hold(_) => {
                self.held.insert(id);
                books.hold(*pool, ConnectionId(id), now);
            }
            Step::Resume(_) => {
                self.held.remove(&id);
                books.end_hold(*pool, ConnectionId(id));
            }
            _ if self.held.contains(&id) => {
                books.refuse(*pool, ConnectionId(id), now);
            }
            _ => {}
        }
    }

    fn opener(&mut self, step: Step) {
        let now = self.desk.now;
        let (Step::Opened(at) | Step::OpenerDies(at) | Step::OpenFailed { at, .. }) = step else {
            return;
        };
        let Some(pool) = nth(&mut self.openers, at) else {
            return;
        };
        let books = &mut self.desk.books;
        match step {
            Step::Opened(_) => {
                self.desk.opened(pool);
            }
            Step::OpenFailed { may_pass, .. } => {
                self.closing.push(pool);
                books.open_failed(pool, may_pass, now);
            }
            _ => {
                let key = books.groups[&books.idle_sets[&pool].group].key.clone();
                books.release((&key, None), None, now);
                books.opener_gone(pool, now);
            }
        }
    }

    /// Takes in what the books say.
    fn obey(&mut self) {
        if std::mem::take(&mut self.desk.books.room_wanted) {
            self.desk.books.reclaim(self.desk.now);
        }
        for effect in std::mem::take(&mut self.desk.books.effects) {
            match effect {
                Effect::Deliver(ticket, thing) => {
                    let waiter = self.waiting.remove(&ticket).expect("it waited");
                    let (pool, client, high) = waiter;
                    // Clients of a pool that cannot log in take what there is.
                    let fits = |client| {
                        self.pools[3..].contains(&pool)
                            || thing.suits(&CheckoutRequest::new(client))
                    };
                    let earlier = self
                        .waiting
                        .range(..ticket)
                        .find(|(_, other)| (other.0, other.2) == (pool, high) && fits(other.1));
                    assert_eq!(earlier, None, "it was overtaken");
                    assert!(fits(client));
                    self.lent.push((pool, thing));
                }
                Effect::Fail(ticket, _) => {
                    self.waiting.remove(&ticket).expect("it waited");
                }
                Effect::Admit(ticket, key, _) => {
                    let waited = self.direct_waiting.remove(&ticket);
                    assert_eq!(waited.as_ref(), Some(&key));
                    self.direct.push(key);
                }
                Effect::Open(pool) => self.openers.push(pool),
                Effect::Retire(_) => panic!("all have clients"),
                Effect::Close(pool, _, reason) => {
                    if reason == CloseReason::GaveWay && self.pools[3..].contains(&pool) {
                        let shelf = &self.desk.books.idle_sets[&pool];
                        assert!(shelf.can_spare() || shelf.tally.has() == 1, "the last");
                    }
                    self.closing.push(pool);
                }
                Effect::Ask(id, _) => assert!(self.held.contains(&id.0), "it is held"),
            }
        }
    }

    fn check(&self) {
        let count = |n: usize| u32::try_from(n).unwrap();
        let now = self.desk.now;
        self.check_places();
        for (at, &pool) in self.pools.iter().enumerate() {
            let shelf = &self.desk.books.idle_sets[&pool];
            let tally = shelf.tally;
            let of = |list: &[PoolNumber]| count(list.iter().filter(|p| **p == pool).count());
            let lent: Vec<_> = self.lent.iter().map(|(pool, _)| *pool).collect();
            let queued = count(shelf.openers.len());
            let waiting: Vec<_> = self.waiting.values().map(|(pool, ..)| *pool).collect();
            assert_eq!(
                tally,
                Counts {
                    lent: of(&lent),
                    idle: count(shelf.idle.len()),
                    opening: of(&self.openers) + queued,
                    queued,
                    closing: of(&self.closing),
                    waiting: of(&waiting),
                },
                "nothing is lost"
            );
            assert_eq!(count(shelf.waiters.iter().count()), tally.waiting);
            for waiter in shelf.waiters.iter() {
                let fits = |idle: &Idle<Thing>| idle.item.suits(&waiter.want);
                assert!(!shelf.idle.iter().any(fits), "an idle one fits");
                assert!(!shelf.has_no_way(), "it would wait for ever");
            }
            let group = &self.desk.books.groups[&shelf.group];
            let most = group.plan.size + group.plan.reserve_size + self.squeezed;
            assert!(group.tally.total() <= most, "beyond its size: {at}");
            // One that is due, or the only one of each.
            let members = count(group.members.len());
            assert!(group.overshoot() <= members, "far beyond its size: {at}");
            let sum: u32 = group
                .members
                .iter()
                .map(|member| self.desk.books.idle_sets[member].tally.total())
                .sum();
            assert_eq!(sum, group.tally.total());
            // Somebody is at work for whoever waits, or nobody can be.
            let room = group.tally.total() < group.plan.size;
            if room && shelf.may_try(now) && tally.queued < crate::pool::timing::MAX_QUEUED_OPENERS
            {
                assert!(tally.opening >= tally.waiting, "room, and no opener");
            }
        }
    }

    /// No more than the cap, and nobody waits for a place that is free.
    fn check_places(&self) {
        let limits = self.desk.books.limits();
        let idle = self.desk.books.idle_sets.values();
        let idle: usize = idle.map(|shelf| shelf.idle.len()).sum();
        let taken = self.openers.len() + self.lent.len() + self.closing.len();
        let taken = taken + idle + self.direct.len();
        assert_eq!(limits.in_use() as usize, taken);
        assert!(limits.in_use() <= limits.caps().total, "the cap");
        let queued: Vec<Ticket> = (self.desk.books.idle_sets.values())
            .flat_map(|shelf| shelf.openers.iter().copied())
            .collect();
        for (ticket, waiter) in limits.waiters() {
            let known = match waiter.place_use {
                PlaceUse::Pool(_) => queued.contains(&ticket),
                _ => self.direct_waiting.contains_key(&ticket),
            };
            assert!(known && limits.in_use() == limits.caps().total);
        }
        assert_eq!(limits.waiting(), queued.len() + self.direct_waiting.len());
    }

    /// With time, and everybody giving back what they have, all are served.
    fn wind_down(&mut self) {
        for _ in 0..200 {
            self.desk.now += Duration::from_secs(2);
            self.step(Step::Reap);
            self.obey();
            while !self.closing.is_empty() {
                self.step(Step::Closed(0));
                self.obey();
            }
            while !self.direct.is_empty() {
                self.step(Step::Go(0));
                self.obey();
            }
            while !self.openers.is_empty() {
                self.step(Step::Opened(0));
                self.obey();
            }
            while !self.lent.is_empty() {
                let (at, owner, marked, rival) = (0, false, false, false);
                self.step(Step::CheckIn {
                    at,
                    owner,
                    marked,
                    rival,
                });
                self.obey();
            }
            self.desk.books.reclaim(self.desk.now);
            self.obey();
            if self.waiting.is_empty() && self.direct_waiting.is_empty() {
                return;
            }
        }
        panic!("somebody waits for ever: {:?}", self.waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_the_promises_hold(
        places in 5..14_u32,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(places);
        for step in steps {
            world.step(step);
            world.obey();
            world.check();
        }
        world.wind_down();
    }
}
