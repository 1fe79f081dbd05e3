//! Random histories against a reference that scans everything, every time.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Request(u8, u8, Priority),
    Release(Index),
    Leave(Index),
    Resize(Caps),
}

fn caps() -> impl Strategy<Value = Caps> {
    let small = || prop::option::weighted(0.7, 1_u32..4);
    (0_u32..7, small(), small()).prop_map(|(total, per_user, per_database)| Caps {
        total,
        per_user,
        per_database,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let priority = prop::sample::select(vec![Priority::High, Priority::Medium, Priority::Low]);
    prop_oneof![
        12 => (0_u8..3, 0_u8..3, priority).prop_map(|(user, db, p)| Event::Request(user, db, p)),
        10 => any::<Index>().prop_map(Event::Release),
        2 => any::<Index>().prop_map(Event::Leave),
        1 => caps().prop_map(Event::Resize),
    ]
}

/// The rules, word by word, without any index.
struct Reference {
    caps: Caps,
    holders: Vec<Key>,
    waiters: Vec<(Ticket, Key, Priority)>,
    overtakings: u32,
    /// Passes of the first of `waiters`.
    passes: u32,
}

impl Reference {
    fn of_user(&self, key: &Key) -> u32 {
        self.holders.iter().filter(|k| k.user == key.user).count() as u32
    }

    fn of_database(&self, key: &Key) -> u32 {
        let same = self.holders.iter().filter(|k| k.database == key.database);
        same.count() as u32
    }

    fn total_full(&self) -> bool {
        self.holders.len() as u32 >= self.caps.total
    }

    /// Room under the own caps, with `kept` places less.
    fn fits_beside(&self, key: &Key, kept: (u32, u32)) -> bool {
        let under = |cap: Option<u32>, used| cap.is_none_or(|cap| used < cap);
        under(self.caps.per_user, self.of_user(key) + kept.0)
            && under(self.caps.per_database, self.of_database(key) + kept.1)
    }

    fn fits(&self, key: &Key) -> bool {
        self.fits_beside(key, (0, 0))
    }

    /// As anybody sees it: kept places are taken.
    fn is_open_to(&self, key: &Key) -> bool {
        let kept = match self.waiters.first() {
            Some((_, claimant, _)) if self.passes >= PASSES_BEFORE_TURN => (
                u32::from(claimant.user == key.user),
                u32::from(claimant.database == key.database),
            ),
            _ => (0, 0),
        };
        self.fits_beside(key, kept)
    }

    fn hold(&mut self, key: Key, id: Option<Ticket>) {
        if let Some((eldest, waiting, _)) = self.waiters.first()
            && id.is_none_or(|id| id > *eldest)
        {
            let last_of_user =
                waiting.user == key.user && self.caps.per_user == Some(self.of_user(&key) + 1);
            let last_of_database = waiting.database == key.database
                && self.caps.per_database == Some(self.of_database(&key) + 1);
            let could_have = id.is_some() && self.fits(waiting);
            self.passes += u32::from(could_have || last_of_user || last_of_database);
        }
        self.holders.push(key);
    }

    fn remove(&mut self, at: usize) -> (Ticket, Key, Priority) {
        if at == 0 {
            self.passes = 0;
        }
        self.waiters.remove(at)
    }

    fn serve(&mut self) -> Vec<Ticket> {
        let mut served = Vec::new();
        while !self.total_full() {
            let Some(at) = self.choose() else { break };
            let (id, key, _) = self.remove(at);
            self.hold(key, Some(id));
            served.push(id);
        }
        served
    }

    fn choose(&mut self) -> Option<usize> {
        if self.passes >= PASSES_BEFORE_TURN && self.fits(&self.waiters.first()?.1) {
            self.overtakings = 0;
            return Some(0);
        }
        let may_go = || (0..self.waiters.len()).filter(|&at| self.is_open_to(&self.waiters[at].1));
        let eldest = may_go().next()?;
        let first = may_go().min_by_key(|&at| (self.waiters[at].2, at))?;
        if first == eldest || self.overtakings >= PASSES_BEFORE_TURN {
            self.overtakings = 0;
            return Some(eldest);
        }
        self.overtakings += 1;
        Some(first)
    }
}

struct Run {
    scene: Scene,
    reference: Reference,
    /// Places that were taken past the queue.
    direct: Vec<Key>,
    arrived: BTreeMap<Ticket, (Key, Priority)>,
}

impl Run {
    fn new(caps: Caps) -> Self {
        Self {
            scene: Scene::new(caps.total, caps.per_user, caps.per_database),
            reference: Reference {
                caps,
                holders: Vec::new(),
                waiters: Vec::new(),
                overtakings: 0,
                passes: 0,
            },
            direct: Vec::new(),
            arrived: BTreeMap::new(),
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Request(user, database, priority) => {
                let key = key(&format!("u{user}"), &format!("d{database}"));
                self.request(key, priority);
            }
            Event::Release(index) => {
                if let Some(key) = self.any_place(index) {
                    self.release(&key);
                }
            }
            Event::Leave(index) => {
                if !self.arrived.is_empty() {
                    let at = index.index(self.arrived.len());
                    let ticket = *self.arrived.keys().nth(at).expect("in range");
                    self.leave(ticket);
                }
            }
            Event::Resize(caps) => {
                self.reference.caps = caps;
                self.scene.resize(caps);
                self.agree();
            }
        }
    }

    fn any_place(&mut self, index: Index) -> Option<Key> {
        let (direct, granted) = (self.direct.len(), self.scene.places.len());
        if direct + granted == 0 {
            return None;
        }
        let at = index.index(direct + granted);
        if at < direct {
            return Some(self.direct.swap_remove(at));
        }
        let ticket = *self.scene.places.keys().nth(at - direct)?;
        self.scene.places.remove(&ticket)
    }

    fn request(&mut self, key: Key, priority: Priority) {
        let expected = !self.reference.total_full() && self.reference.is_open_to(&key);
        match self.scene.request(&key, priority) {
            None => {
                assert!(expected, "granted what the reference queues");
                let overtaken = self.reference.waiters.iter().find(|(_, k, _)| *k == key);
                assert_eq!(overtaken, None, "past the queue of its own key");
                self.reference.hold(key.clone(), None);
                self.direct.push(key);
            }
            Some(ticket) => {
                assert!(!expected, "queued what the reference grants");
                (self.reference.waiters).push((ticket, key.clone(), priority));
                self.arrived.insert(ticket, (key, priority));
            }
        }
    }

    fn release(&mut self, key: &Key) {
        let held = self.reference.holders.iter().position(|k| k == key);
        self.reference.holders.swap_remove(held.expect("held"));
        self.scene.release(key.clone());
        self.agree();
    }

    fn leave(&mut self, ticket: Ticket) {
        let mut waiters = self.reference.waiters.iter();
        let at = waiters.position(|(waiter, ..)| *waiter == ticket);
        assert_eq!(self.scene.leave(ticket), at.is_some());
        if let Some(at) = at {
            self.reference.remove(at);
        }
        self.agree();
    }

    /// What was granted since is what the reference grants.
    fn agree(&mut self) {
        let served = std::mem::take(&mut self.scene.served);
        let waiting_before = self.reference.waiters.clone();
        for ticket in &served {
            // First of its key and priority.
            let (key, priority) = &self.arrived[ticket];
            assert_eq!(&self.scene.places[ticket], key);
            let queue = waiting_before
                .iter()
                .filter(|(_, k, p)| (k, p) == (key, priority));
            let ahead = queue.take_while(|(waiter, ..)| waiter != ticket);
            assert!(
                ahead
                    .into_iter()
                    .all(|(waiter, ..)| served.contains(waiter)),
                "not in order"
            );
        }
        if !served.is_empty() {
            self.caps_hold(&served);
        }
        assert_eq!(served, self.reference.serve());
    }

    /// Where something was granted, no cap is exceeded.
    fn caps_hold(&self, served: &[Ticket]) {
        let caps = self.scene.limits.caps();
        assert!(self.scene.limits.in_use() <= caps.total);
        let keys: Vec<_> = (self.direct.iter().chain(self.scene.places.values())).collect();
        for (key, _) in served.iter().map(|ticket| &self.arrived[ticket]) {
            let of_user = keys.iter().filter(|k| k.user == key.user).count() as u32;
            let of_database = keys.iter().filter(|k| k.database == key.database).count() as u32;
            assert!(caps.per_user.is_none_or(|cap| of_user <= cap));
            assert!(caps.per_database.is_none_or(|cap| of_database <= cap));
        }
    }

    fn check(&self) {
        let (limits, reference) = (&self.scene.limits, &self.reference);
        assert_eq!(
            limits.in_use() as usize,
            self.direct.len() + self.scene.places.len()
        );
        assert_eq!(limits.in_use() as usize, reference.holders.len());
        assert_eq!(limits.waiting(), reference.waiters.len());
        if !reference.total_full() {
            for (ticket, key, _) in &reference.waiters {
                assert!(
                    !reference.is_open_to(key),
                    "{ticket:?} waits for a free place"
                );
            }
        }
        let mut in_use = limits.in_use_by_key().clone();
        for key in &reference.holders {
            *in_use.get_mut(key).expect("counted") -= 1;
        }
        assert!(in_use.values().all(|in_use| *in_use == 0));
        limits.queue.check(|gate| limits.counts.has_room(gate));
    }

    /// Everybody leaves or gives back, and nothing is left.
    fn close(mut self) {
        let waiting: BTreeSet<_> = self.reference.waiters.iter().map(|(id, ..)| *id).collect();
        for ticket in waiting {
            self.leave(ticket);
        }
        for key in self.direct {
            self.scene.release(key);
        }
        self.scene.close();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_history_agrees_with_the_reference(
        caps in caps(),
        events in prop::collection::vec(event(), 1..250),
    ) {
        let mut run = Run::new(caps);
        for event in events {
            run.step(event);
            run.check();
        }
        run.close();
    }
}
