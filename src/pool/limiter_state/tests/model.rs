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
    Pass(u8),
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
        1 => any::<u8>().prop_map(Event::Pass),
    ]
}

/// The rules, word by word, without any index.
struct Reference {
    caps: Caps,
    holders: Vec<Key>,
    waiters: Vec<(WaiterId, Key, Priority)>,
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
            Some((_, claimant, _)) if self.passes >= PATIENCE => (
                u32::from(claimant.user == key.user),
                u32::from(claimant.database == key.database),
            ),
            _ => (0, 0),
        };
        self.fits_beside(key, kept)
    }

    fn hold(&mut self, key: Key, id: Option<WaiterId>) {
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

    fn remove(&mut self, at: usize) -> (WaiterId, Key, Priority) {
        if at == 0 {
            self.passes = 0;
        }
        self.waiters.remove(at)
    }

    fn serve(&mut self) -> Vec<WaiterId> {
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
        if self.passes >= PATIENCE && self.fits(&self.waiters.first()?.1) {
            self.overtakings = 0;
            return Some(0);
        }
        let may_go = || (0..self.waiters.len()).filter(|&at| self.is_open_to(&self.waiters[at].1));
        let eldest = may_go().next()?;
        let first = may_go().min_by_key(|&at| (self.waiters[at].2, at))?;
        if first == eldest || self.overtakings >= PATIENCE {
            self.overtakings = 0;
            return Some(eldest);
        }
        self.overtakings += 1;
        Some(first)
    }
}

struct Run {
    desk: Desk,
    reference: Reference,
    /// Slots that were granted past the queue.
    direct: Vec<Slot>,
    arrived: BTreeMap<WaiterId, (Key, Priority, Instant)>,
}

impl Run {
    fn new(caps: Caps) -> Self {
        Self {
            desk: Desk::new(caps.total, caps.per_user, caps.per_database),
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
                if let Some(slot) = self.any_slot(index) {
                    let key = slot.key().expect("held").clone();
                    self.release(slot, &key);
                }
            }
            Event::Leave(index) => {
                if !self.arrived.is_empty() {
                    let at = index.index(self.arrived.len());
                    let id = *self.arrived.keys().nth(at).expect("in range");
                    self.leave(id);
                }
            }
            Event::Resize(caps) => {
                self.reference.caps = caps;
                let grants = self.desk.accounts.resize(caps);
                self.agree(grants);
            }
            Event::Pass(millis) => self.desk.now += Duration::from_millis(millis.into()),
        }
    }

    fn any_slot(&mut self, index: Index) -> Option<Slot> {
        let (direct, granted) = (self.direct.len(), self.desk.slots.len());
        if direct + granted == 0 {
            return None;
        }
        let at = index.index(direct + granted);
        if at < direct {
            return Some(self.direct.swap_remove(at));
        }
        let id = *self.desk.slots.keys().nth(at - direct)?;
        self.desk.slots.remove(&id)
    }

    fn request(&mut self, key: Key, priority: Priority) {
        let expected = !self.reference.total_full() && self.reference.is_open_to(&key);
        let now = self.desk.now;
        match self.desk.accounts.request(key.clone(), priority, now) {
            Decision::Granted(slot) => {
                assert!(expected, "granted what the reference queues");
                let overtaken = self.reference.waiters.iter().find(|(_, k, _)| *k == key);
                assert_eq!(overtaken, None, "past the queue of its own key");
                self.reference.hold(key, None);
                self.direct.push(slot);
            }
            Decision::Queued(id) => {
                assert!(!expected, "queued what the reference grants");
                self.reference.waiters.push((id, key.clone(), priority));
                self.arrived.insert(id, (key, priority, now));
            }
        }
    }

    fn release(&mut self, slot: Slot, key: &Key) {
        let held = self.reference.holders.iter().position(|k| k == key);
        self.reference.holders.swap_remove(held.expect("held"));
        let grants = self.desk.accounts.release(slot);
        self.agree(grants);
    }

    fn leave(&mut self, id: WaiterId) {
        let at = self.reference.waiters.iter().position(|(w, ..)| *w == id);
        match (self.desk.accounts.leave(id), at) {
            (LeaveOutcome::Left(grants), Some(at)) => {
                self.reference.remove(at);
                self.agree(grants);
            }
            (LeaveOutcome::AlreadyGranted, None) => {}
            (departure, at) => panic!("{departure:?} of {at:?}"),
        }
    }

    fn agree(&mut self, grants: Vec<Grant>) {
        let served: Vec<_> = grants.iter().map(|grant| grant.waiter).collect();
        let waiting_before = self.reference.waiters.clone();
        for grant in &grants {
            // First of its key and priority.
            let (key, priority, _) = &self.arrived[&grant.waiter];
            assert_eq!(grant.slot.key(), Some(key));
            let queue = waiting_before
                .iter()
                .filter(|(_, k, p)| (k, p) == (key, priority));
            let ahead = queue.take_while(|(id, ..)| *id != grant.waiter);
            assert!(
                ahead.into_iter().all(|(id, ..)| served.contains(id)),
                "not in order"
            );
        }
        if !grants.is_empty() {
            self.desk.keep(grants);
            self.caps_hold(&served);
        }
        assert_eq!(served, self.reference.serve());
    }

    /// Where something was granted, no cap is exceeded.
    fn caps_hold(&self, served: &[WaiterId]) {
        let caps = self.desk.accounts.caps();
        assert!(self.desk.accounts.in_use() <= caps.total);
        let keys = self.direct.iter().chain(self.desk.slots.values());
        let keys: Vec<_> = keys.map(|slot| slot.key().expect("held")).collect();
        for (key, ..) in served.iter().map(|id| &self.arrived[id]) {
            let of_user = keys.iter().filter(|k| k.user == key.user).count() as u32;
            let of_database = keys.iter().filter(|k| k.database == key.database).count() as u32;
            assert!(caps.per_user.is_none_or(|cap| of_user <= cap));
            assert!(caps.per_database.is_none_or(|cap| of_database <= cap));
        }
    }

    fn check(&self) {
        let (accounts, reference) = (&self.desk.accounts, &self.reference);
        assert_eq!(
            accounts.in_use() as usize,
            self.direct.len() + self.desk.slots.len()
        );
        assert_eq!(accounts.in_use() as usize, reference.holders.len());
        assert_eq!(accounts.waiting(), reference.waiters.len());
        if !reference.total_full() {
            for (id, key, _) in &reference.waiters {
                assert!(!reference.is_open_to(key), "{id:?} waits for a free place");
            }
        }
        let first = reference.waiters.first().map(|(id, ..)| self.arrived[id].2);
        let longest = first.map_or(Duration::ZERO, |since| self.desk.now - since);
        assert_eq!(accounts.longest_wait(self.desk.now), longest);
        let mut tallies = accounts.tallies(self.desk.now);
        for key in &reference.holders {
            tallies.get_mut(key).expect("tallied").in_use -= 1;
        }
        for (_, key, _) in &reference.waiters {
            tallies.get_mut(key).expect("tallied").waiting -= 1;
        }
        assert!(
            tallies
                .values()
                .all(|tally| tally.in_use == 0 && tally.waiting == 0)
        );
        accounts.queue.check(|gate| accounts.counts.has_room(gate));
    }

    /// Everybody leaves or gives back, and nothing is left.
    fn close(mut self) {
        let waiting: BTreeSet<_> = self.reference.waiters.iter().map(|(id, ..)| *id).collect();
        for id in waiting {
            self.leave(id);
        }
        for slot in self.direct {
            self.desk.release(slot);
        }
        self.desk.close();
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
