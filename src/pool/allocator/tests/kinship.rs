//! Who is served first where a connection would have to move to another thread.

use super::*;

/// What `make` makes on a thread of its own.
fn elsewhere<T: Send>(make: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(make).join().unwrap())
}

/// A pool of one, whose connection is out; it belongs to this thread.
fn desk() -> (Desk, PoolNumber, Thing) {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(1));
    let _first = desk.wait(pool, 1);
    desk.opened(pool);
    desk.said();
    let thing = Thing {
        id: 1,
        ..desk.thing()
    };
    (desk, pool, thing)
}

impl Desk {
    /// Of a client on another thread.
    fn wait_elsewhere(&mut self, pool: PoolNumber, client: u64) -> Ticket {
        let want = elsewhere(|| CheckoutRequest::new(client));
        match self.books.lease(pool, want, self.now) {
            CheckoutAnswer::Queued(ticket) => ticket,
            answer => panic!("{answer:?}"),
        }
    }
}

#[test]
fn one_on_the_connections_thread_goes_before_one_that_came_hardly_before_it() {
    let (mut desk, pool, thing) = desk();
    let stranger = desk.wait_elsewhere(pool, 2);
    desk.now += Duration::from_millis(4);
    let kin = desk.wait(pool, 3);
    // However long both have waited.
    desk.now += Duration::from_millis(400);
    desk.check_in(pool, thing.clone(), &[]);
    assert_eq!(desk.said(), [format!("1 to {}", kin.0)]);
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", stranger.0)]);
}

#[test]
fn nobody_is_passed_over_by_those_who_come_later() {
    let (mut desk, pool, thing) = desk();
    let stranger = desk.wait_elsewhere(pool, 2);
    desk.now += Duration::from_millis(6);
    let kin = desk.wait(pool, 3);
    desk.check_in(pool, thing.clone(), &[]);
    assert_eq!(desk.said(), [format!("1 to {}", stranger.0)]);
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", kin.0)]);
}

#[test]
fn a_higher_priority_goes_before_one_on_the_connections_thread() {
    let (mut desk, pool, thing) = desk();
    let kin = desk.wait(pool, 2);
    let mut want = elsewhere(|| CheckoutRequest::new(3));
    want.priority = Priority::High;
    let CheckoutAnswer::Queued(urgent) = desk.books.lease(pool, want, desk.now) else {
        panic!("a connection was to be had");
    };
    desk.check_in(pool, thing.clone(), &[]);
    assert_eq!(desk.said(), [format!("1 to {}", urgent.0)]);
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", kin.0)]);
}
