//! Connections that clients bring, where only they can.

use super::*;

/// Pools of one user and database, of `size` connections together, which cannot log in.
fn desk(size: u32, pools: usize) -> (Desk, Vec<PoolNumber>) {
    let mut desk = Desk::new();
    let (key, plan) = (Key::new("u", "d"), Arc::new(plan(size)));
    let pools = (0..pools).map(|_| desk.books.enlist(&key, &plan, (false, false)));
    let pools: Vec<PoolNumber> = pools.collect();
    for &pool in &pools {
        desk.books.join(pool);
    }
    (desk, pools)
}

impl Desk {
    /// A login, whose connection is used on, if it may join.
    fn adopts(&mut self, pool: PoolNumber) -> Option<Thing> {
        let adopted = self.books.adopt(pool);
        adopted.then(|| self.thing())
    }

    /// Logins that all join, and leave their connections on the shelf.
    fn join(&mut self, pool: PoolNumber, count: u32) {
        for _ in 0..count {
            let thing = self.adopts(pool).expect("it has room");
            self.check_in(pool, thing, &[]);
        }
    }

    fn have(&self, pools: &[PoolNumber]) -> Vec<u32> {
        let had = pools.iter().map(|pool| self.books.tally(*pool).has());
        had.collect()
    }
}

#[test]
fn logins_take_no_more_from_others_than_an_equal_share_however_idle_those_are() {
    let (mut desk, pools) = desk(8, 2);
    desk.join(pools[0], 4);
    desk.now += Duration::from_mins(1);
    desk.join(pools[1], 12);
    assert_eq!(desk.have(&pools), [4, 4]);
    let (mut desk, pools) = self::desk(8, 3);
    desk.join(pools[0], 20);
    desk.join(pools[1], 20);
    assert_eq!(desk.have(&pools), [4, 4, 0]);
    desk.join(pools[2], 20);
    assert_eq!(desk.have(&pools), [3, 3, 2]);
}

#[test]
fn a_place_that_is_due_is_given_up_by_the_next_that_comes_back_though_its_clients_wait() {
    let (mut desk, pools) = desk(4, 2);
    let mut busy: Vec<_> = (0..4).filter_map(|_| desk.adopts(pools[0])).collect();
    for client in 0..8 {
        desk.wait(pools[0], client);
    }
    assert!(desk.adopts(pools[1]).is_some(), "it would have none");
    assert!(desk.adopts(pools[1]).is_none(), "one is owed already");
    assert_eq!(desk.said(), [""; 0]);
    desk.check_in(pools[0], busy.remove(0), &[]);
    assert_eq!(desk.said(), ["close 1 evicted"]);
    desk.check_in(pools[0], busy.remove(0), &[]);
    assert_eq!(desk.said(), ["2 to 1"], "one is enough");
    assert!(
        desk.adopts(pools[1]).is_some(),
        "three are two more than one"
    );
    desk.check_in(pools[0], busy.remove(0), &[]);
    assert_eq!(desk.said(), ["close 3 evicted"]);
    assert!(desk.adopts(pools[1]).is_none(), "they are equal");
    assert_eq!(desk.have(&pools), [2, 2]);
}

#[test]
fn who_has_fewest_keeps_what_is_idle_until_who_has_most_makes_up_for_it() {
    let (mut desk, pools) = desk(3, 2);
    let busy: Vec<_> = (0..3).filter_map(|_| desk.adopts(pools[0])).collect();
    let first = desk.adopts(pools[1]).expect("it would have none");
    desk.check_in(pools[1], first, &[]);
    assert_eq!((desk.said(), desk.have(&pools)), (vec![], vec![3, 1]));
    for thing in busy {
        desk.check_in(pools[0], thing, &[]);
    }
    assert_eq!(desk.said(), ["close 1 evicted"]);
    assert_eq!(desk.have(&pools), [2, 1]);
}

#[test]
fn a_client_that_keeps_one_is_asked_for_a_place_that_is_due_until_one_gives_it() {
    let (mut desk, pools) = desk(2, 2);
    let busy: Vec<_> = (0..2).filter_map(|_| desk.adopts(pools[0])).collect();
    let ids = [busy[0].id(), busy[1].id()];
    desk.books.hold(pools[0], ids[0], desk.now);
    assert!(desk.adopts(pools[1]).is_some());
    assert_eq!(desk.said(), ["ask 1"]);
    desk.books.hold(pools[0], ids[1], desk.now);
    assert_eq!(desk.said(), [""; 0], "one is asked");
    desk.books.refuse(pools[0], ids[0], desk.now);
    assert_eq!(desk.said(), ["ask 2"]);
    desk.books.used(pools[0], ids[1], desk.now);
    assert_eq!(desk.said(), [""; 0], "nobody is left to ask");
    desk.books.hold(pools[0], ids[1], desk.now);
    assert_eq!(desk.said(), ["ask 2"]);
    let [_, second] = busy.try_into().unwrap();
    desk.check_in(pools[0], second, &[]);
    assert_eq!(desk.said(), ["close 2 evicted"]);
    assert_eq!(desk.have(&pools), [1, 1]);
}

#[test]
fn in_a_full_pool_a_login_takes_the_place_of_an_idle_one_of_its_own_or_none() {
    let (mut desk, pools) = desk(2, 1);
    desk.join(pools[0], 2);
    let new = desk.adopts(pools[0]).expect("two are idle");
    assert_eq!(desk.said(), ["close 1 evicted"]);
    desk.closed(pools[0]);
    let _other = desk.take(pools[0], 1);
    assert!(desk.adopts(pools[0]).is_none());
    desk.check_in(pools[0], new, &[]);
    assert_eq!(desk.said(), [""; 0]);
}
