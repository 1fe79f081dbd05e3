//! Connections to come, and logins of clients that bring them.

use super::*;

#[test]
fn an_opener_at_the_cap_is_no_help_and_leaves_the_queue_when_it_is_needless() {
    let mut desk = Desk::capped(1);
    let pool = desk.pool("d", plan(2));
    let thing = desk.lent(pool, 1);
    desk.books.hold(pool, ConnectionId(1), desk.now);
    let ticket = desk.wait(pool, 2);
    assert_eq!(desk.said(), ["ask 1"]);
    assert_eq!(desk.books.tally(pool).queued, 1);
    assert!(std::mem::take(&mut desk.books.room_wanted));
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", ticket.0)]);
    assert_eq!(desk.books.tally(pool).opening, 0);
    assert_eq!(desk.books.limits().waiting(), 0);
}

#[test]
fn a_newcomer_makes_a_pool_larger_up_to_its_size_and_takes_nothing_from_others() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(2));
    let expand = |desk: &mut Desk| desk.books.expand(pool, desk.now);
    assert!(!expand(&mut desk), "who has none at all waits for it");
    let _first = desk.lent(pool, 1);
    assert!(expand(&mut desk));
    assert_eq!(desk.said(), [format!("open {}", pool.0)]);
    assert!(!expand(&mut desk), "the one that is coming counts");
    desk.books.open_failed(pool, true, desk.now);
    desk.closed(pool);
    assert!(
        !expand(&mut desk),
        "after a failure it is not tried at once"
    );
    desk.now += Duration::from_millis(100);
    assert!(expand(&mut desk));
    desk.books.close(desk.now);
    assert!(!expand(&mut desk));
}

#[test]
fn a_newcomer_takes_the_place_of_what_others_have_left_behind() {
    let mut desk = Desk::capped(3);
    let plan = plan(3);
    let pools = [1, 2, 3].map(|_| desk.pool("d", plan.clone()));
    for pool in pools {
        desk.books.join(pool);
        let thing = desk.lent(pool, 1);
        desk.check_in(pool, thing, &[]);
        desk.now += Duration::from_secs(1);
    }
    let [left, _here, own] = pools;
    desk.said();
    assert!(!desk.books.expand(own, desk.now), "all are somebody's");
    desk.books.quit(left);
    assert!(
        desk.books.expand(own, desk.now),
        "it leaves room at the cap"
    );
    assert_eq!(desk.said(), ["close 1 evicted"]);
    assert!(desk.books.expand(own, desk.now), "a place is coming");
    assert_eq!(desk.said(), [""; 0]);
    desk.closed(left);
    let other = Key::new("u", "e");
    assert_eq!(desk.admit(&other), None);
    assert!(!desk.books.expand(own, desk.now), "another was faster");
    desk.books.release((&other, None), None, desk.now);
    assert!(desk.books.expand(own, desk.now));
    assert_eq!(desk.said(), [format!("open {}", own.0)]);
}

#[test]
fn few_openers_stand_in_the_way_of_others_at_the_cap() {
    let mut desk = Desk::capped(1);
    let pool = desk.pool("d", plan(9));
    let other = Key::new("u", "e");
    assert_eq!(desk.admit(&other), None);
    for client in 1..=5 {
        desk.wait(pool, client);
    }
    assert_eq!(desk.said(), [""; 0]);
    assert_eq!(desk.books.tally(pool).queued, 2);
    let behind = desk.admit(&other).expect("it has to wait");
    desk.books.release((&other, None), None, desk.now);
    assert_eq!(desk.said(), [format!("open {}", pool.0)]);
    let tally = desk.books.tally(pool);
    assert_eq!((tally.opening, tally.queued), (3, 2), "the next has come");
    desk.books.open_failed(pool, true, desk.now);
    desk.closed(pool);
    desk.books.open_failed(pool, true, desk.now);
    desk.closed(pool);
    let said = desk.said();
    assert_eq!(said[1], format!("place to {}", behind.0), "{said:?}");
}

#[test]
fn nobody_gets_a_place_while_the_proxy_drains_and_waiters_hear_of_it() {
    let mut desk = Desk::capped(1);
    let pool = desk.pool("d", plan(2));
    let other = Key::new("u", "e");
    assert_eq!(desk.admit(&other), None);
    let (waiter, direct) = (desk.wait(pool, 1), desk.admit(&other).expect("the cap"));
    desk.books.drain(desk.now);
    let closed = |ticket: Ticket| format!("Closed to {}", ticket.0);
    assert_eq!(desk.said(), [closed(waiter), closed(direct)]);
    assert_eq!(desk.books.tally(pool), Counts::default());
    let answer = desk.books.admit(&other, (Priority::High, true), desk.now);
    assert!(matches!(answer, Admission::Closed));
    let late = desk.pool("f", plan(2));
    let waiter = desk.wait(late, 1);
    assert_eq!(desk.said(), [closed(waiter)]);
}

#[test]
fn a_failed_login_fails_those_who_have_nothing_else_to_wait_for() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(2));
    let ticket = desk.wait(pool, 1);
    desk.said();
    let first = desk.books.open_failed(pool, true, desk.now);
    desk.closed(pool);
    assert_eq!(first, desk.now + Duration::from_millis(100));
    assert_eq!(desk.said(), [""; 0], "it may pass: the wait goes on");
    desk.now = first;
    desk.books.schedule(pool, desk.now);
    assert_eq!(desk.said(), [format!("open {}", pool.0)]);
    let second = desk.books.open_failed(pool, false, desk.now);
    assert_eq!(second, desk.now + Duration::from_millis(200));
    assert_eq!(desk.said(), [format!("Login to {}", ticket.0)]);
}

#[test]
fn a_pool_that_cannot_log_in_keeps_its_last_connection_and_says_when_there_is_none() {
    let mut desk = Desk::new();
    let plan = Arc::new(plan(2));
    let pool = desk
        .books
        .enlist(&Key::new("u", "d"), &plan, (false, false));
    assert!(matches!(
        desk.lease(pool, 1),
        CheckoutAnswer::Failed(CheckoutFailure::NoWay)
    ));
    assert!(desk.books.adopt(pool));
    let thing = desk.thing();
    let ticket = desk.wait(pool, 2);
    desk.check_in(pool, thing, &[]);
    assert_eq!(desk.said(), [format!("1 to {}", ticket.0)]);
    let thing = desk.thing();
    let hungry = rival(None, Priority::High, Duration::from_mins(1));
    desk.check_in(pool, thing, &[hungry]);
    desk.now += Duration::from_hours(2);
    desk.books.reap(desk.now, |_| false);
    assert_eq!(desk.said(), [""; 0]);
    desk.take(pool, 2);
    let ticket = desk.wait(pool, 3);
    desk.books.closing(pool, ConnectionId(2), desk.now);
    assert_eq!(desk.said(), [format!("NoWay to {}", ticket.0)]);
}

/// Passthrough at the cap, where the pool is all there is, and somebody always waits
/// in it: `logins` that have come at once, each of which takes `login` once it is let in.
/// Says how long each has waited.
fn waits_of_logins(size: u32, logins: usize, login: Duration) -> Vec<Duration> {
    let tick = Duration::from_millis(1);
    let mut desk = Desk::new();
    let key = Key::new("u", "d");
    let pool = desk
        .books
        .enlist(&key, &Arc::new(plan(size)), (false, false));
    let mut lent = VecDeque::new();
    for _ in 0..size {
        assert!(desk.books.adopt(pool));
        lent.push_back(desk.thing());
    }
    for client in 0..100 {
        desk.wait(pool, client);
    }
    let (began, mut in_flight, mut waits) = (desk.now, VecDeque::new(), Vec::new());
    while waits.len() < logins && desk.now - began < Duration::from_secs(60) {
        desk.now += tick;
        let login_waits = CompetingWaiter {
            key: key.clone(),
            waited: desk.now - began,
            has: size,
            ..rival(None, Priority::Medium, Duration::ZERO)
        };
        let rivals = vec![login_waits; logins - waits.len()];
        if let Some(thing) = lent.pop_front() {
            desk.check_in(pool, thing, &rivals);
        }
        if in_flight.front().is_some_and(|&at| at <= desk.now) {
            in_flight.pop_front();
            assert!(desk.books.adopt(pool), "its place is there");
            lent.push_back(desk.thing());
        }
        for effect in std::mem::take(&mut desk.books.effects) {
            match effect {
                Effect::Deliver(_, thing) => {
                    lent.push_back(thing);
                    desk.wait(pool, 1);
                }
                Effect::Close(pool, _, reason) => {
                    assert_eq!(reason, CloseReason::GaveWay);
                    desk.closed(pool);
                    waits.push(desk.now - began);
                    in_flight.push_back(desk.now + login);
                }
                effect => panic!("{effect:?}"),
            }
        }
        assert!(desk.books.tally(pool).lent >= size.div_ceil(2));
    }
    waits
}

#[test]
fn a_login_of_its_own_user_is_let_in_by_a_pool_whose_clients_always_wait() {
    let millis = Duration::from_millis;
    for size in [2, 3, 8] {
        let alone = waits_of_logins(size, 1, millis(20));
        assert!(
            matches!(alone[..], [wait] if wait <= millis(1002)),
            "{alone:?}"
        );
    }
    let crowd = waits_of_logins(8, 100, millis(20));
    assert_eq!(crowd.len(), 100);
    let pauses = crowd.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(pauses.min() >= Some(millis(50)), "others go on meanwhile");
    assert!(crowd.last() <= Some(&millis(7000)), "{crowd:?}");
    let slow = waits_of_logins(8, 100, Duration::from_mins(2));
    assert!((2..=4).contains(&slow.len()), "{slow:?}");
    let last = waits_of_logins(1, 1, millis(20));
    assert!(last.is_empty(), "it is all that its clients have");
}
