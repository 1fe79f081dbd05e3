//! Who gives up connections for whom at the cap.

use super::*;

#[test]
fn room_is_made_at_the_cap_one_place_for_each_who_waits() {
    let mut desk = Desk::new();
    let kept = desk.pool(
        "kept",
        PoolPlan {
            min_size: 1,
            ..plan(2)
        },
    );
    let pool = desk.pool("d", plan(3));
    for pool in [kept, pool, pool] {
        let thing = desk.lent(pool, 1);
        desk.now += Duration::from_millis(1);
        desk.check_in(pool, thing, &[]);
        desk.take(pool, 1);
    }
    for (id, pool) in [(1, kept), (2, pool), (3, pool)] {
        let mut thing = desk.thing();
        thing.id = id;
        desk.now += Duration::from_millis(1);
        desk.check_in(pool, thing, &[]);
    }
    desk.said();
    let mut one = rival(None, Priority::Low, Duration::ZERO);
    one.has = 1;
    desk.books.reclaim_for(&[one.clone()]);
    assert_eq!(desk.said(), ["close 2 evicted"], "the plan keeps the other");
    desk.books.reclaim_for(&[one.clone()]);
    assert_eq!(desk.said(), [""; 0], "help is on its way");
    desk.books.reclaim_for(&[one.clone(), one.clone()]);
    assert_eq!(desk.said(), ["close 3 evicted"]);
    let none = rival(None, Priority::Low, Duration::ZERO);
    desk.books.reclaim_for(&[one.clone(), one, none]);
    assert_eq!(desk.said(), ["close 1 evicted"]);
}

#[test]
fn who_gives_way_to_whom() {
    use Priority::{High, Low, Medium};
    let side = |priority, has| fairness::Contender { priority, has };
    let long = Duration::from_secs(1);
    let short = Duration::from_millis(100);
    let cases = [
        (side(Medium, 2), side(High, 5), Duration::ZERO, true),
        (side(Medium, 1), side(High, 5), long, false),
        (side(Medium, 1), side(High, 0), short, false),
        (side(Medium, 1), side(High, 0), long, true),
        (side(Medium, 9), side(Medium, 0), Duration::ZERO, false),
        (side(Medium, 9), side(Medium, 7), short, true),
        (side(Medium, 8), side(Medium, 7), long, false),
        (side(Medium, 1), side(Medium, 0), long, true),
        (side(High, 9), side(Low, 0), short, false),
        (side(High, 9), side(Low, 0), long, true),
        (side(High, 9), side(Low, 1), long, false),
    ];
    for (own, other, waited, gives) in cases {
        let told = fairness::gives_way(own, other, waited);
        assert_eq!(told, gives, "{own:?} {other:?} {waited:?}");
    }
}

#[test]
fn a_busy_pool_gives_way_where_it_is_due() {
    let mut desk = Desk::new();
    let pool = desk.pool("d", plan(2));
    let other = desk.pool("e", plan(2));
    let things = [desk.lent(pool, 1), desk.lent(pool, 2)];
    let ticket = desk.wait(pool, 3);
    let hungry = rival(Some(other), Priority::High, Duration::ZERO);
    let [first, second] = things;
    desk.check_in(pool, first, std::slice::from_ref(&hungry));
    assert_eq!(desk.said(), ["close 1 gave_way"]);
    desk.check_in(pool, second, &[hungry]);
    assert_eq!(desk.said(), [format!("2 to {}", ticket.0)], "one is enough");
}
