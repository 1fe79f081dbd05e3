//! The books against what they promise: single rules first, then histories made up
//! by chance.

use std::collections::VecDeque;
use std::thread::ThreadId;
use std::time::Duration;

use super::*;
use crate::config::values::Priority;

mod adoption;
mod giving_way;
mod kinship;
mod logins;
mod model;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    id: u64,
    owner: Option<u64>,
    opened_at: Instant,
    /// A custom setting that only this client may see.
    marked_by: Option<u64>,
    thread: ThreadId,
}

impl PooledConnection for Thing {
    fn id(&self) -> ConnectionId {
        ConnectionId(self.id)
    }

    fn owner(&self) -> Option<u64> {
        self.owner
    }

    fn thread(&self) -> ThreadId {
        self.thread
    }

    fn opened_at(&self) -> Instant {
        self.opened_at
    }

    fn suits(&self, want: &CheckoutRequest) -> bool {
        self.marked_by.is_none_or(|client| client == want.client)
    }
}

fn plan(size: u32) -> PoolPlan {
    PoolPlan {
        max_prepared_statements: 200,
        size,
        min_size: 0,
        reserve_size: 0,
        reserve_timeout: Duration::from_secs(5),
        server_lifetime: Duration::from_hours(1),
        server_idle_timeout: Duration::from_mins(10),
        login_retry: Duration::from_secs(1),
        priority: Priority::Medium,
    }
}

/// Books, their clock, and what they said.
struct Desk {
    books: Allocator<Thing>,
    now: Instant,
    last: u64,
}

impl Desk {
    fn new() -> Self {
        Self::capped(u32::MAX)
    }

    /// With so many places in all.
    fn capped(total: u32) -> Self {
        let caps = Caps {
            total,
            per_user: None,
            per_database: None,
        };
        Self {
            books: Allocator::new(caps),
            now: Instant::now(),
            last: 0,
        }
    }

    fn pool(&mut self, database: &str, plan: PoolPlan) -> PoolNumber {
        let key = Key::new("u", database);
        self.books.enlist(&key, &Arc::new(plan), (true, false))
    }

    fn said(&mut self) -> Vec<String> {
        let text = |effect: Effect<Thing>| match effect {
            Effect::Deliver(ticket, thing) => format!("{} to {}", thing.id, ticket.0),
            Effect::Fail(ticket, failure) => format!("{failure:?} to {}", ticket.0),
            Effect::Open(pool) => format!("open {}", pool.0),
            Effect::Admit(ticket, ..) => format!("place to {}", ticket.0),
            Effect::Retire(pool) => format!("retire {}", pool.0),
            Effect::Close(_, thing, reason) => format!("close {} {}", thing.id, reason.label()),
            Effect::Ask(id, _) => format!("ask {}", id.0),
        };
        self.books.effects.drain(..).map(text).collect()
    }

    /// A client wants a place for a connection of its own; `None`: it has it.
    fn admit(&mut self, key: &Key) -> Option<Ticket> {
        let terms = (Priority::Medium, true);
        match self.books.admit(key, terms, self.now) {
            Admission::Admitted(_) => None,
            Admission::Queued(ticket) => Some(ticket),
            Admission::Closed => panic!("it is closed"),
        }
    }

    fn lease(&mut self, pool: PoolNumber, client: u64) -> CheckoutAnswer<Thing> {
        let want = CheckoutRequest::new(client);
        self.books.lease(pool, want, self.now)
    }

    fn take(&mut self, pool: PoolNumber, client: u64) -> Thing {
        match self.lease(pool, client) {
            CheckoutAnswer::Taken(thing) => thing,
            answer => panic!("{answer:?}"),
        }
    }

    fn wait(&mut self, pool: PoolNumber, client: u64) -> Ticket {
        match self.lease(pool, client) {
            CheckoutAnswer::Queued(ticket) => ticket,
            answer => panic!("{answer:?}"),
        }
    }

    fn thing(&mut self) -> Thing {
        self.last += 1;
        Thing {
            id: self.last,
            owner: None,
            opened_at: self.now,
            marked_by: None,
            thread: std::thread::current().id(),
        }
    }

    fn opened(&mut self, pool: PoolNumber) -> u64 {
        let thing = self.thing();
        let id = thing.id;
        self.books.opened((pool, thing), self.now);
        id
    }

    fn check_in(&mut self, pool: PoolNumber, thing: Thing, rivals: &[CompetingWaiter]) {
        self.books.check_in_among((pool, thing), self.now, rivals);
    }

    /// A connection that is out with `client`.
    fn lent(&mut self, pool: PoolNumber, client: u64) -> Thing {
        self.wait(pool, client);
        self.opened(pool);
        self.books
            .effects
            .drain(..)
            .find_map(|effect| match effect {
                Effect::Deliver(_, thing) => Some(thing),
                _ => None,
            })
            .unwrap()
    }

    fn closed(&mut self, pool: PoolNumber) {
        let group = &self.books.groups[&self.books.idle_sets[&pool].group];
        let key = group.key.clone();
        self.books.release((&key, Some(pool)), None, self.now);
    }
}

fn rival(pool: Option<PoolNumber>, priority: Priority, waited: Duration) -> CompetingWaiter {
    CompetingWaiter {
        key: Key::new("u", "elsewhere"),
        blocked_by: BlockedBy::Total,
        pool,
        priority,
        waited,
        has: 0,
    }
}

#[test]
fn a_client_gets_its_own_connection_then_a_clean_one_then_the_oldest() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(4));
    let things: Vec<Thing> = (1..=4).map(|client| desk.lent(pool, client)).collect();
    for (mut thing, owner) in things.into_iter().zip([Some(1), Some(2), None, Some(4)]) {
        thing.owner = owner;
        desk.now += Duration::from_millis(1);
        desk.check_in(pool, thing, &[]);
    }
    let taken: Vec<u64> = [4, 9, 9, 9]
        .into_iter()
        .map(|client| desk.take(pool, client).id)
        .collect();
    assert_eq!(taken, [4, 3, 1, 2]);
    assert_eq!(desk.said(), [""; 0]);
}

#[test]
fn waiters_are_served_in_order_and_priority_yields_to_patience() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(1));
    let thing = desk.lent(pool, 1);
    let first = desk.wait(pool, 2);
    let mut want = CheckoutRequest::new(3);
    want.priority = Priority::High;
    let answer = desk.books.lease(pool, want.clone(), desk.now);
    assert!(matches!(answer, CheckoutAnswer::Queued(_)));
    let answer = desk.books.lease(pool, want, desk.now);
    assert!(matches!(answer, CheckoutAnswer::Queued(_)));
    assert_eq!(desk.said(), [""; 0], "the pool is full");
    desk.check_in(pool, thing.clone(), &[]);
    assert_eq!(desk.said(), [format!("1 to {}", first.0 + 1)]);
    desk.now += Duration::from_secs(1);
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", first.0)]);
}

#[test]
fn the_reserve_is_for_those_who_have_waited() {
    let mut desk = Desk::new();
    let pool = desk.pool(
        "d",
        PoolPlan {
            reserve_size: 1,
            ..plan(1)
        },
    );
    let _thing = desk.lent(pool, 1);
    desk.wait(pool, 2);
    assert_eq!(desk.said(), [""; 0]);
    desk.now += Duration::from_secs(5);
    desk.books.schedule(pool, desk.now);
    assert_eq!(desk.said(), [format!("open {}", pool.0)]);
    desk.wait(pool, 3);
    assert_eq!(desk.said(), [""; 0], "there is but one");
}

#[test]
fn holders_are_asked_when_nothing_else_helps_the_longest_idle_first() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(2));
    let things = [desk.lent(pool, 1), desk.lent(pool, 2)];
    for id in [2, 1] {
        desk.books.hold(pool, ConnectionId(id), desk.now);
        desk.now += Duration::from_millis(1);
    }
    let ticket = desk.wait(pool, 3);
    assert_eq!(desk.said(), ["ask 2"]);
    desk.books.refuse(pool, ConnectionId(2), desk.now);
    assert_eq!(desk.said(), ["ask 1"]);
    let [first, _] = things;
    desk.check_in(pool, first, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", ticket.0)]);
    // It is asked again only when it has been used.
    desk.wait(pool, 4);
    assert_eq!(desk.said(), [""; 0]);
    desk.books.end_hold(pool, ConnectionId(2));
    desk.books.hold(pool, ConnectionId(2), desk.now);
    assert_eq!(desk.said(), ["ask 2"], "at once, as somebody waits");
}

#[test]
fn who_claims_a_connection_gets_it_before_others_or_learns_that_it_cannot_be_had() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(2));
    let things = [desk.lent(pool, 1), desk.lent(pool, 2)];
    let claim = |desk: &mut Desk, id, client| {
        let want = CheckoutRequest::new(client);
        let named = (pool, ConnectionId(id));
        desk.books.claim(named, &want)
    };
    let waits = |answer: CheckoutAnswer<Thing>| match answer {
        CheckoutAnswer::Queued(ticket) => ticket,
        answer => panic!("{answer:?}"),
    };
    let waiter = desk.wait(pool, 3);
    let ticket = waits(claim(&mut desk, 1, 4));
    assert!(
        matches!(claim(&mut desk, 1, 5), CheckoutAnswer::Failed(_)),
        "one at a time"
    );
    let [first, second] = things;
    desk.check_in(pool, first.clone(), &[]);
    assert_eq!(
        desk.said(),
        [format!("1 to {}", ticket.0)],
        "before the queue"
    );
    desk.check_in(pool, first, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", waiter.0)]);

    // Who keeps it is asked, and may refuse.
    desk.books.hold(pool, ConnectionId(2), desk.now);
    let ticket = waits(claim(&mut desk, 2, 4));
    assert_eq!(desk.said(), ["ask 2"]);
    desk.books.refuse(pool, ConnectionId(2), desk.now);
    assert_eq!(desk.said(), [format!("NoWay to {}", ticket.0)]);
    assert!(matches!(claim(&mut desk, 2, 4), CheckoutAnswer::Failed(_)));

    // A claim that is given up, or whose connection goes, leaves nothing behind.
    desk.books.end_hold(pool, ConnectionId(2));
    let ticket = waits(claim(&mut desk, 2, 4));
    assert!(desk.books.leave(Some(pool), ticket, desk.now));
    desk.check_in(pool, second, &[]);
    assert_eq!(desk.said(), [""; 0]);
    let CheckoutAnswer::Taken(second) = claim(&mut desk, 2, 4) else {
        panic!("it is idle");
    };
    let ticket = waits(claim(&mut desk, 2, 5));
    desk.books.closing(pool, ConnectionId(second.id), desk.now);
    assert_eq!(desk.said(), [format!("NoWay to {}", ticket.0)]);
    assert_eq!(desk.books.tally(pool).lent, 1);
}

#[test]
fn unusual_startup_parameters_share_the_size() {
    let mut desk = Desk::new();
    let usual = desk.pool("d", plan(2));
    let unusual = desk.pool("d", plan(2));
    let other_plan = desk.pool("d", plan(1));
    let (first, second) = (desk.lent(usual, 1), desk.lent(usual, 2));
    desk.check_in(usual, first, &[]);
    desk.wait(unusual, 3);
    assert_eq!(desk.said(), ["close 1 evicted"]);
    desk.closed(usual);
    assert_eq!(desk.said(), [format!("open {}", unusual.0)]);
    desk.wait(unusual, 4);
    assert_eq!(desk.said(), [""; 0]);
    // Its own client waits as well: after a while the share is due.
    let waiter = desk.wait(usual, 5);
    desk.opened(unusual);
    desk.said();
    desk.now += Duration::from_secs(2);
    desk.check_in(usual, second, &[]);
    let served = format!("2 to {}", waiter.0);
    assert_eq!(desk.said(), [served], "one each is fair");
    desk.wait(other_plan, 6);
    assert_eq!(desk.said(), [format!("open {}", other_plan.0)]);
}

#[test]
fn nobody_gets_a_connection_that_shows_the_settings_of_others() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(1));
    let mut thing = desk.lent(pool, 1);
    thing.marked_by = Some(1);
    desk.check_in(pool, thing, &[]);
    desk.wait(pool, 2);
    assert_eq!(desk.said(), ["close 1 evicted"]);
    desk.closed(pool);
    assert_eq!(desk.said(), [format!("open {}", pool.0)]);
}

#[test]
fn who_is_hard_to_please_keeps_nobody_waiting_and_is_not_forgotten() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(1));
    let mut thing = desk.lent(pool, 1);
    thing.marked_by = Some(1);
    let picky = desk.wait(pool, 2);
    let easy = desk.wait(pool, 1);
    desk.check_in(pool, thing.clone(), &[]);
    assert_eq!(desk.said(), [format!("1 to {}", easy.0)]);
    desk.wait(pool, 1);
    desk.now += Duration::from_millis(50);
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), ["close 1 evicted"]);
    desk.closed(pool);
    assert_eq!(desk.said(), [format!("open {}", pool.0)]);
    assert_eq!(desk.opened(pool), 2);
    assert_eq!(desk.said(), [format!("2 to {}", picky.0)]);
}

#[test]
fn a_database_that_has_to_be_free_is_freed() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(3));
    let (idle, held) = (desk.lent(pool, 1), desk.lent(pool, 2));
    desk.check_in(pool, idle, &[]);
    desk.books.hold(pool, ConnectionId(2), desk.now);
    let database: Name = "d".into();
    desk.books.evict_database(&database, desk.now);
    assert_eq!(desk.said(), ["close 1 vacated", "ask 2"]);
    assert!(desk.books.is_evicting(&"d".into()));
    desk.check_in(pool, held, &[]);
    assert_eq!(desk.said(), ["close 2 vacated"]);
    desk.closed(pool);
    desk.closed(pool);
    assert!(!desk.books.is_evicting(&"d".into()));
    let thing = desk.lent(pool, 3);
    desk.books.end_eviction(&database);
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), [""; 0]);
}

#[test]
fn time_closes_what_is_old_or_unused_and_opens_what_is_missing() {
    let mut desk = Desk::new();
    let pool = desk.pool(
        "d",
        PoolPlan {
            min_size: 1,
            ..plan(3)
        },
    );
    let things = [desk.lent(pool, 1), desk.lent(pool, 2)];
    for thing in things {
        desk.check_in(pool, thing, &[]);
    }
    desk.now += Duration::from_mins(10);
    desk.books.reap(desk.now, |_| false);
    assert_eq!(desk.said(), ["close 1 idle_timeout"]);
    desk.closed(pool);
    desk.now += Duration::from_mins(50);
    desk.books.reap(desk.now, |_| false);
    assert_eq!(desk.said(), ["close 2 lifetime"]);
    desk.closed(pool);
    desk.books.reap(desk.now, |_| false);
    assert_eq!(desk.said(), [format!("open {}", pool.0)]);
    desk.opened(pool);
    desk.books.reap(desk.now, |_| true);
    assert_eq!(desk.said(), ["close 3 lost"]);
}
