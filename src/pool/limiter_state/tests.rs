//! Scenes for each rule; `model` compares with a naive reference at random.

use super::*;

mod model;

/// Keeps what was granted to whom, so that a test can ask and nothing is lost.
struct Desk {
    accounts: LimiterState,
    slots: BTreeMap<WaiterId, Slot>,
    /// In order.
    served: Vec<WaiterId>,
    now: Instant,
}

impl Desk {
    fn new(total: u32, per_user: Option<u32>, per_database: Option<u32>) -> Self {
        let caps = Caps {
            total,
            per_user,
            per_database,
        };
        Self {
            accounts: LimiterState::new(caps),
            slots: BTreeMap::new(),
            served: Vec::new(),
            now: Instant::now(),
        }
    }

    fn take(&mut self, key: &Key) -> Slot {
        match self
            .accounts
            .request(key.clone(), Priority::Medium, self.now)
        {
            Decision::Granted(slot) => slot,
            Decision::Queued(_) => panic!("{key:?} was queued"),
        }
    }

    fn wait(&mut self, key: &Key, priority: Priority) -> WaiterId {
        match self.accounts.request(key.clone(), priority, self.now) {
            Decision::Granted(slot) => panic!("{slot:?} was granted"),
            Decision::Queued(id) => id,
        }
    }

    fn keep(&mut self, grants: Vec<Grant>) {
        for Grant { waiter, slot } in grants {
            self.served.push(waiter);
            assert!(self.slots.insert(waiter, slot).is_none());
        }
    }

    fn release(&mut self, slot: Slot) {
        let grants = self.accounts.release(slot);
        self.keep(grants);
    }

    /// Gives back what `waiter` was granted.
    fn done(&mut self, waiter: WaiterId) {
        let slot = self.slots.remove(&waiter).expect("served");
        self.release(slot);
    }

    /// Everything comes back, and nothing is left.
    fn close(mut self) {
        while let Some((_, slot)) = self.slots.pop_first() {
            self.release(slot);
        }
        assert_eq!(self.accounts.in_use(), 0);
        assert_eq!(self.accounts.waiting(), 0);
        assert!(self.accounts.tallies(self.now).is_empty());
        assert!(self.accounts.counts.by_gate.is_empty());
        assert!(self.accounts.queue.is_clear());
    }
}

fn key(user: &str, database: &str) -> Key {
    Key::new(user, database)
}

#[test]
fn the_total_is_never_exceeded_and_order_of_arrival_holds() {
    let mut desk = Desk::new(2, None, None);
    let k = key("a", "x");
    let (one, two) = (desk.take(&k), desk.take(&k));
    let (first, second) = (desk.wait(&k, Priority::Low), desk.wait(&k, Priority::Low));
    assert_eq!(desk.accounts.in_use(), 2);
    desk.release(one);
    assert_eq!(desk.served, [first]);
    desk.release(two);
    assert_eq!(desk.served, [first, second]);
    desk.close();
}

#[test]
fn priority_comes_before_arrival() {
    let mut desk = Desk::new(1, None, None);
    let k = key("a", "x");
    let slot = desk.take(&k);
    let low = desk.wait(&k, Priority::Low);
    let medium = desk.wait(&key("b", "y"), Priority::Medium);
    let high = desk.wait(&key("c", "z"), Priority::High);
    desk.release(slot);
    desk.done(high);
    desk.done(medium);
    assert_eq!(desk.served, [high, medium, low]);
    desk.close();
}

#[test]
fn who_is_blocked_by_an_own_cap_blocks_nobody() {
    let mut desk = Desk::new(3, Some(1), Some(2));
    let a = desk.take(&key("a", "x"));
    let same_user = desk.wait(&key("a", "y"), Priority::High);
    let b = desk.take(&key("b", "x"));
    let same_database = desk.wait(&key("c", "x"), Priority::High);
    let c = desk.take(&key("d", "z"));
    desk.release(c);
    assert!(desk.served.is_empty());
    desk.release(b);
    assert_eq!(desk.served, [same_database]);
    desk.release(a);
    assert_eq!(desk.served, [same_database, same_user]);
    desk.close();
}

#[test]
fn one_release_can_serve_two() {
    let mut desk = Desk::new(9, Some(1), Some(2));
    let both = desk.take(&key("a", "x"));
    let other = desk.take(&key("b", "x"));
    let for_user = desk.wait(&key("a", "y"), Priority::Low);
    let for_database = desk.wait(&key("c", "x"), Priority::Low);
    desk.release(both);
    assert_eq!(desk.served, [for_user, for_database]);
    desk.release(other);
    desk.close();
}

#[test]
fn leaving_is_told_apart_from_being_served() {
    let mut desk = Desk::new(1, None, None);
    let k = key("a", "x");
    let slot = desk.take(&k);
    let (leaver, served) = (desk.wait(&k, Priority::Low), desk.wait(&k, Priority::Low));
    assert!(matches!(desk.accounts.leave(leaver), LeaveOutcome::Left(grants) if grants.is_empty()));
    assert!(matches!(
        desk.accounts.leave(leaver),
        LeaveOutcome::AlreadyGranted
    ));
    desk.release(slot);
    assert!(matches!(
        desk.accounts.leave(served),
        LeaveOutcome::AlreadyGranted
    ));
    assert_eq!(desk.served, [served]);
    desk.close();
}

#[test]
fn shrinking_takes_nothing_and_growing_serves() {
    let mut desk = Desk::new(3, None, None);
    let k = key("a", "x");
    let slots = [desk.take(&k), desk.take(&k), desk.take(&k)];
    let waiter = desk.wait(&k, Priority::Low);
    let caps = |total| Caps {
        total,
        per_user: None,
        per_database: None,
    };
    assert!(desk.accounts.resize(caps(1)).is_empty());
    assert_eq!(desk.accounts.in_use(), 3);
    let [one, two, three] = slots;
    desk.release(one);
    desk.release(two);
    assert!(desk.served.is_empty());
    let grants = desk.accounts.resize(caps(2));
    desk.keep(grants);
    assert_eq!(desk.served, [waiter]);
    desk.release(three);
    desk.close();
}

#[test]
fn a_cap_lifted_by_a_reload_serves_those_behind_it() {
    let mut desk = Desk::new(9, Some(1), Some(1));
    let slot = desk.take(&key("a", "x"));
    let waiter = desk.wait(&key("a", "x"), Priority::Low);
    assert_eq!(desk.accounts.obstacle(waiter), Some(BlockedBy::User));
    let grants = desk.accounts.resize(Caps {
        total: 9,
        per_user: None,
        per_database: Some(1),
    });
    desk.keep(grants);
    assert_eq!(desk.accounts.obstacle(waiter), Some(BlockedBy::Database));
    let grants = desk.accounts.resize(Caps {
        total: 2,
        per_user: None,
        per_database: None,
    });
    desk.keep(grants);
    assert_eq!(desk.accounts.obstacle(waiter), None);
    let late = desk.wait(&key("b", "y"), Priority::Low);
    assert_eq!(desk.accounts.obstacle(late), Some(BlockedBy::Total));
    desk.release(slot);
    desk.close();
}

#[test]
fn numbers_by_key() {
    let mut desk = Desk::new(1, None, None);
    let (a, b) = (key("a", "x"), key("b", "x"));
    let slot = desk.take(&a);
    desk.wait(&b, Priority::Low);
    desk.now += Duration::from_secs(2);
    desk.wait(&b, Priority::High);
    let later = desk.now + Duration::from_secs(1);
    assert_eq!(desk.accounts.longest_wait(later), Duration::from_secs(3));
    let tallies = desk.accounts.tallies(later);
    let idle = KeyUsage {
        in_use: 1,
        ..KeyUsage::default()
    };
    let busy = KeyUsage {
        in_use: 0,
        waiting: 2,
        longest_wait: Duration::from_secs(3),
    };
    assert_eq!(tallies, BTreeMap::from([(a, idle), (b, busy)]));
    desk.release(slot);
    desk.close();
}

/// Serves high-priority waiters without end until `patient` is served; says how
/// many went before it.
fn overtaken(desk: &mut Desk, busy: &[Key], patient: WaiterId, slot: Slot) -> usize {
    for key in busy {
        desk.wait(key, Priority::High);
    }
    desk.release(slot);
    for round in 0..10_000 {
        let last = *desk.served.last().expect("somebody is always served");
        if desk.slots.contains_key(&patient) {
            return desk.served.len() - 1;
        }
        desk.wait(&busy[round % busy.len()], Priority::High);
        desk.done(last);
    }
    panic!("starved");
}

#[test]
fn endless_high_priority_load_passes_a_low_waiter_a_bounded_number_of_times() {
    let mut desk = Desk::new(1, None, None);
    let slot = desk.take(&key("a", "x"));
    let low = desk.wait(&key("a", "x"), Priority::Low);
    let busy = [key("a", "x"), key("b", "y"), key("c", "z")];
    let before = overtaken(&mut desk, &busy, low, slot);
    assert_eq!(before, PATIENCE as usize);
    desk.close();
}

#[test]
fn a_long_low_queue_gets_its_share_and_no_more() {
    let mut desk = Desk::new(1, None, None);
    let slot = desk.take(&key("a", "x"));
    let lows: Vec<_> = (0..100)
        .map(|_| desk.wait(&key("a", "x"), Priority::Low))
        .collect();
    let before = overtaken(&mut desk, &[key("b", "y")], lows[9], slot);
    // The tenth low one: ten shares of the high ones before it, nine lows.
    assert_eq!(before, 10 * PATIENCE as usize + 9);
    desk.close();
}

#[test]
fn share_holds_while_the_eldest_is_blocked_by_its_own_cap() {
    let mut desk = Desk::new(2, Some(1), None);
    let stuck = desk.take(&key("stuck", "x"));
    let slot = desk.take(&key("a", "x"));
    let eldest = desk.wait(&key("stuck", "x"), Priority::Low);
    let low = desk.wait(&key("low", "x"), Priority::Low);
    let busy = [key("b", "x"), key("c", "x")];
    let before = overtaken(&mut desk, &busy, low, slot);
    assert!(before <= PATIENCE as usize, "{before}");
    assert!(!desk.served.contains(&eldest));
    desk.release(stuck);
    desk.close();
}

#[test]
fn a_waiter_for_two_caps_is_not_starved_by_those_that_need_one() {
    // `w` needs user a and database x; each is taken again as soon as it is free,
    // and never are both free at the same moment.
    let mut desk = Desk::new(9, Some(1), Some(1));
    let mut of_user = desk.take(&key("a", "y"));
    let mut of_database = desk.take(&key("b", "x"));
    let w = desk.wait(&key("a", "x"), Priority::Low);
    for round in 0.. {
        assert!(round <= PATIENCE, "starved");
        let next = desk.wait(&key("a", "y"), Priority::High);
        desk.release(of_user);
        let next_database = desk.wait(&key("b", "x"), Priority::High);
        desk.release(of_database);
        if desk.slots.contains_key(&w) {
            break;
        }
        of_user = desk.slots.remove(&next).expect("user served");
        of_database = desk.slots.remove(&next_database).expect("database served");
    }
    desk.close();
}

#[test]
fn the_same_with_connections_granted_past_the_queue() {
    let mut desk = Desk::new(9, Some(1), Some(1));
    let mut of_user = desk.take(&key("a", "y"));
    let mut of_database = desk.take(&key("b", "x"));
    let w = desk.wait(&key("a", "x"), Priority::Low);
    let retake =
        |desk: &mut Desk, key: Key| match desk.accounts.request(key, Priority::High, desk.now) {
            Decision::Granted(slot) => Some(slot),
            Decision::Queued(_) => None,
        };
    for round in 0.. {
        assert!(round <= PATIENCE, "starved");
        desk.release(of_user);
        let user_again = retake(&mut desk, key("a", "y"));
        desk.release(of_database);
        if desk.slots.contains_key(&w) {
            assert!(user_again.is_none());
            break;
        }
        of_user = user_again.expect("not kept yet");
        of_database = retake(&mut desk, key("b", "x")).expect("not kept yet");
    }
    desk.close();
}

#[test]
fn a_claimant_that_leaves_gives_up_what_was_kept() {
    let mut desk = Desk::new(9, Some(1), Some(1));
    let mut of_user = desk.take(&key("a", "y"));
    let of_database = desk.take(&key("b", "x"));
    let w = desk.wait(&key("a", "x"), Priority::Low);
    for _ in 0..PATIENCE {
        desk.release(of_user);
        of_user = desk.take(&key("a", "y"));
    }
    let shut_out = desk.wait(&key("a", "y"), Priority::High);
    desk.release(of_user);
    assert!(desk.served.is_empty(), "the place of user a is kept");
    match desk.accounts.leave(w) {
        LeaveOutcome::Left(grants) => desk.keep(grants),
        LeaveOutcome::AlreadyGranted => panic!("was not served"),
    }
    assert_eq!(desk.served, [shut_out]);
    desk.release(of_database);
    desk.close();
}

#[test]
fn ten_thousand_waiters_of_one_key() {
    let mut desk = Desk::new(22, Some(20), Some(20));
    let k = key("a", "x");
    let slots: Vec<_> = (0..20).map(|_| desk.take(&k)).collect();
    let priorities = [Priority::Low, Priority::High, Priority::Medium];
    for n in 0..10_000 {
        desk.wait(&k, priorities[n % 3]);
    }
    for slot in slots {
        desk.release(slot);
    }
    desk.close();
}

#[test]
fn ten_thousand_waiters_of_as_many_keys() {
    for (user_of, database_of) in [(1, 10_000), (10_000, 1), (100, 100)] {
        let mut desk = Desk::new(22, Some(2), Some(2));
        let mut slots = Vec::new();
        for n in 0..10_000 {
            let key = key(
                &format!("u{}", n % user_of),
                &format!("d{}", n / user_of % database_of),
            );
            match desk.accounts.request(key, Priority::Low, desk.now) {
                Decision::Granted(slot) => slots.push(slot),
                Decision::Queued(_) => {}
            }
        }
        assert!(desk.accounts.waiting() >= 9_978);
        for slot in slots {
            desk.release(slot);
        }
        desk.close();
    }
}

#[test]
#[should_panic(expected = "a slot was lost")]
#[cfg(debug_assertions)]
fn a_lost_slot_is_a_defect() {
    let mut desk = Desk::new(1, None, None);
    drop(desk.take(&key("a", "x")));
}
