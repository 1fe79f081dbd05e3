//! Scenes for each rule; `model` compares with a naive reference at random.

use tokio::time::Instant;

use super::*;
use crate::config::values::Priority;

mod model;

/// Keeps what was granted to whom, so that a test can ask and nothing is lost.
struct Scene {
    limits: Limits,
    last: u64,
    /// What those have who were granted a place from the queue.
    places: BTreeMap<Ticket, Key>,
    /// In order.
    served: Vec<Ticket>,
}

impl Scene {
    fn new(total: u32, per_user: Option<u32>, per_database: Option<u32>) -> Self {
        let caps = Caps {
            total,
            per_user,
            per_database,
        };
        Self {
            limits: Limits::new(caps),
            last: 0,
            places: BTreeMap::new(),
            served: Vec::new(),
        }
    }

    /// `None`: the place is taken at once.
    fn request(&mut self, key: &Key, priority: Priority) -> Option<Ticket> {
        self.last += 1;
        let ticket = Ticket(self.last);
        let waiter = PlaceWaiter {
            key: key.clone(),
            priority,
            since: Instant::now(),
            place_use: PlaceUse::Client,
        };
        (!self.limits.request(ticket, waiter)).then_some(ticket)
    }

    fn take(&mut self, key: &Key) -> Key {
        assert_eq!(
            self.request(key, Priority::Medium),
            None,
            "{key:?} is queued"
        );
        key.clone()
    }

    fn wait(&mut self, key: &Key, priority: Priority) -> Ticket {
        self.request(key, priority).expect("it has to wait")
    }

    /// Lets in whoever may go in.
    fn serve(&mut self) {
        while let Some((ticket, waiter)) = self.limits.next_grant() {
            self.served.push(ticket);
            assert!(self.places.insert(ticket, waiter.key).is_none());
        }
    }

    fn release(&mut self, key: Key) {
        self.limits.release(&key);
        self.serve();
    }

    fn leave(&mut self, ticket: Ticket) -> bool {
        let waited = self.limits.leave(ticket);
        self.serve();
        waited
    }

    fn resize(&mut self, caps: Caps) {
        self.limits.resize(caps);
        self.serve();
    }

    /// Gives back what `waiter` was granted.
    fn done(&mut self, waiter: Ticket) {
        let key = self.places.remove(&waiter).expect("served");
        self.release(key);
    }

    /// Everything comes back, and nothing is left.
    fn close(mut self) {
        while let Some((_, key)) = self.places.pop_first() {
            self.release(key);
        }
        assert_eq!(self.limits.in_use(), 0);
        assert_eq!(self.limits.waiting(), 0);
        assert!(self.limits.in_use_by_key().is_empty());
        assert!(self.limits.counts.by_gate.is_empty());
        assert!(self.limits.queue.is_clear());
    }
}

fn key(user: &str, database: &str) -> Key {
    Key::new(user, database)
}

#[test]
fn the_total_is_never_exceeded_and_order_of_arrival_holds() {
    let mut scene = Scene::new(2, None, None);
    let k = key("a", "x");
    let (one, two) = (scene.take(&k), scene.take(&k));
    let (first, second) = (scene.wait(&k, Priority::Low), scene.wait(&k, Priority::Low));
    assert_eq!(scene.limits.in_use(), 2);
    scene.release(one);
    assert_eq!(scene.served, [first]);
    scene.release(two);
    assert_eq!(scene.served, [first, second]);
    scene.close();
}

#[test]
fn priority_comes_before_arrival() {
    let mut scene = Scene::new(1, None, None);
    let k = key("a", "x");
    let place = scene.take(&k);
    let low = scene.wait(&k, Priority::Low);
    let medium = scene.wait(&key("b", "y"), Priority::Medium);
    let high = scene.wait(&key("c", "z"), Priority::High);
    scene.release(place);
    scene.done(high);
    scene.done(medium);
    assert_eq!(scene.served, [high, medium, low]);
    scene.close();
}

#[test]
fn who_is_blocked_by_an_own_cap_blocks_nobody() {
    let mut scene = Scene::new(3, Some(1), Some(2));
    let a = scene.take(&key("a", "x"));
    let same_user = scene.wait(&key("a", "y"), Priority::High);
    let b = scene.take(&key("b", "x"));
    let same_database = scene.wait(&key("c", "x"), Priority::High);
    let c = scene.take(&key("d", "z"));
    scene.release(c);
    assert!(scene.served.is_empty());
    scene.release(b);
    assert_eq!(scene.served, [same_database]);
    scene.release(a);
    assert_eq!(scene.served, [same_database, same_user]);
    scene.close();
}

#[test]
fn one_release_can_serve_two() {
    let mut scene = Scene::new(9, Some(1), Some(2));
    let both = scene.take(&key("a", "x"));
    let other = scene.take(&key("b", "x"));
    let for_user = scene.wait(&key("a", "y"), Priority::Low);
    let for_database = scene.wait(&key("c", "x"), Priority::Low);
    scene.release(both);
    assert_eq!(scene.served, [for_user, for_database]);
    scene.release(other);
    scene.close();
}

#[test]
fn leaving_is_told_apart_from_being_served() {
    let mut scene = Scene::new(1, None, None);
    let k = key("a", "x");
    let place = scene.take(&k);
    let (leaver, served) = (scene.wait(&k, Priority::Low), scene.wait(&k, Priority::Low));
    assert!(scene.leave(leaver) && scene.served.is_empty());
    assert!(!scene.leave(leaver));
    scene.release(place);
    assert!(!scene.leave(served));
    assert_eq!(scene.served, [served]);
    scene.close();
}

#[test]
fn shrinking_takes_nothing_and_growing_serves() {
    let mut scene = Scene::new(3, None, None);
    let k = key("a", "x");
    let places = [scene.take(&k), scene.take(&k), scene.take(&k)];
    let waiter = scene.wait(&k, Priority::Low);
    let caps = |total| Caps {
        total,
        per_user: None,
        per_database: None,
    };
    scene.resize(caps(1));
    assert!(scene.served.is_empty());
    assert_eq!(scene.limits.in_use(), 3);
    let [one, two, three] = places;
    scene.release(one);
    scene.release(two);
    assert!(scene.served.is_empty());
    scene.resize(caps(2));
    assert_eq!(scene.served, [waiter]);
    scene.release(three);
    scene.close();
}

#[test]
fn a_cap_lifted_by_a_reload_serves_those_behind_it() {
    let mut scene = Scene::new(9, Some(1), Some(1));
    let place = scene.take(&key("a", "x"));
    let waiter = scene.wait(&key("a", "x"), Priority::Low);
    assert_eq!(scene.limits.blocked_by(waiter), Some(BlockedBy::User));
    scene.resize(Caps {
        total: 9,
        per_user: None,
        per_database: Some(1),
    });
    assert_eq!(scene.limits.blocked_by(waiter), Some(BlockedBy::Database));
    scene.resize(Caps {
        total: 2,
        per_user: None,
        per_database: None,
    });
    assert_eq!(scene.limits.blocked_by(waiter), None);
    let late = scene.wait(&key("b", "y"), Priority::Low);
    assert_eq!(scene.limits.blocked_by(late), Some(BlockedBy::Total));
    scene.release(place);
    scene.close();
}

/// Serves high-priority waiters without end until `patient` is served; says how
/// many went before it.
fn overtaken(scene: &mut Scene, busy: &[Key], patient: Ticket, place: Key) -> usize {
    for key in busy {
        scene.wait(key, Priority::High);
    }
    scene.release(place);
    for round in 0..10_000 {
        let last = *scene.served.last().expect("somebody is always served");
        if scene.places.contains_key(&patient) {
            return scene.served.len() - 1;
        }
        scene.wait(&busy[round % busy.len()], Priority::High);
        scene.done(last);
    }
    panic!("starved");
}

#[test]
fn endless_high_priority_load_passes_a_low_waiter_a_bounded_number_of_times() {
    let mut scene = Scene::new(1, None, None);
    let place = scene.take(&key("a", "x"));
    let low = scene.wait(&key("a", "x"), Priority::Low);
    let busy = [key("a", "x"), key("b", "y"), key("c", "z")];
    let before = overtaken(&mut scene, &busy, low, place);
    assert_eq!(before, PASSES_BEFORE_TURN as usize);
    scene.close();
}

#[test]
fn a_long_low_queue_gets_its_share_and_no_more() {
    let mut scene = Scene::new(1, None, None);
    let place = scene.take(&key("a", "x"));
    let lows: Vec<_> = (0..100)
        .map(|_| scene.wait(&key("a", "x"), Priority::Low))
        .collect();
    let before = overtaken(&mut scene, &[key("b", "y")], lows[9], place);
    // The tenth low one: ten shares of the high ones before it, nine lows.
    assert_eq!(before, 10 * PASSES_BEFORE_TURN as usize + 9);
    scene.close();
}

#[test]
fn share_holds_while_the_eldest_is_blocked_by_its_own_cap() {
    let mut scene = Scene::new(2, Some(1), None);
    let stuck = scene.take(&key("stuck", "x"));
    let place = scene.take(&key("a", "x"));
    let eldest = scene.wait(&key("stuck", "x"), Priority::Low);
    let low = scene.wait(&key("low", "x"), Priority::Low);
    let busy = [key("b", "x"), key("c", "x")];
    let before = overtaken(&mut scene, &busy, low, place);
    assert!(before <= PASSES_BEFORE_TURN as usize, "{before}");
    assert!(!scene.served.contains(&eldest));
    scene.release(stuck);
    scene.close();
}

#[test]
fn a_waiter_for_two_caps_is_not_starved_by_those_that_need_one() {
    // `w` needs user a and database x; each is taken again as soon as it is free,
    // and never are both free at the same moment.
    let mut scene = Scene::new(9, Some(1), Some(1));
    let mut of_user = scene.take(&key("a", "y"));
    let mut of_database = scene.take(&key("b", "x"));
    let w = scene.wait(&key("a", "x"), Priority::Low);
    for round in 0.. {
        assert!(round <= PASSES_BEFORE_TURN, "starved");
        let next = scene.wait(&key("a", "y"), Priority::High);
        scene.release(of_user);
        let next_database = scene.wait(&key("b", "x"), Priority::High);
        scene.release(of_database);
        if scene.places.contains_key(&w) {
            break;
        }
        of_user = scene.places.remove(&next).expect("user served");
        of_database = scene
            .places
            .remove(&next_database)
            .expect("database served");
    }
    scene.close();
}

#[test]
fn the_same_with_connections_granted_past_the_queue() {
    let mut scene = Scene::new(9, Some(1), Some(1));
    let mut of_user = scene.take(&key("a", "y"));
    let mut of_database = scene.take(&key("b", "x"));
    let w = scene.wait(&key("a", "x"), Priority::Low);
    let retake = |scene: &mut Scene, key: Key| match scene.request(&key, Priority::High) {
        None => Some(key),
        Some(_) => None,
    };
    for round in 0.. {
        assert!(round <= PASSES_BEFORE_TURN, "starved");
        scene.release(of_user);
        let user_again = retake(&mut scene, key("a", "y"));
        scene.release(of_database);
        if scene.places.contains_key(&w) {
            assert!(user_again.is_none());
            break;
        }
        of_user = user_again.expect("not kept yet");
        of_database = retake(&mut scene, key("b", "x")).expect("not kept yet");
    }
    scene.close();
}

#[test]
fn a_claimant_that_leaves_gives_up_what_was_kept() {
    let mut scene = Scene::new(9, Some(1), Some(1));
    let mut of_user = scene.take(&key("a", "y"));
    let of_database = scene.take(&key("b", "x"));
    let w = scene.wait(&key("a", "x"), Priority::Low);
    for _ in 0..PASSES_BEFORE_TURN {
        scene.release(of_user);
        of_user = scene.take(&key("a", "y"));
    }
    let shut_out = scene.wait(&key("a", "y"), Priority::High);
    scene.release(of_user);
    assert!(scene.served.is_empty(), "the place of user a is kept");
    assert!(scene.leave(w), "it was not served");
    assert_eq!(scene.served, [shut_out]);
    scene.release(of_database);
    scene.close();
}

#[test]
fn ten_thousand_waiters_of_one_key() {
    let mut scene = Scene::new(22, Some(20), Some(20));
    let k = key("a", "x");
    let places: Vec<_> = (0..20).map(|_| scene.take(&k)).collect();
    let priorities = [Priority::Low, Priority::High, Priority::Medium];
    for n in 0..10_000 {
        scene.wait(&k, priorities[n % 3]);
    }
    for place in places {
        scene.release(place);
    }
    scene.close();
}

#[test]
fn ten_thousand_waiters_of_as_many_keys() {
    for (user_of, database_of) in [(1, 10_000), (10_000, 1), (100, 100)] {
        let mut scene = Scene::new(22, Some(2), Some(2));
        let mut places = Vec::new();
        for n in 0..10_000 {
            let key = key(
                &format!("u{}", n % user_of),
                &format!("d{}", n / user_of % database_of),
            );
            if scene.request(&key, Priority::Low).is_none() {
                places.push(key);
            }
        }
        assert!(scene.limits.waiting() >= 9_978);
        for place in places {
            scene.release(place);
        }
        scene.close();
    }
}
