//! Logins that have a place at the server while their clients have proven nothing yet.
//!
//! With passthrough it is the server that asks, so that a client costs a place as soon as
//! it has named a user. Two rules keep clients that say no more from taking all of them:
//!
//! * *Share.* Only for so many logins at a time, a quarter of the places, do others lose an
//!   idle connection. What is free anyway they may have.
//! * *Silence.* While somebody waits, the client that has left its server's question
//!   unanswered for longest gives way, once that was a moment.
//!
//! Invariant: a login is counted from its place on until the server is satisfied, or has let
//! go of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::limiter::Contention;

/// How long a client that was asked is safe, though others wait: first, and for a while
/// after one has given way. Those that are alive answer within milliseconds.
const MOMENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(250));
/// That while.
const ALERT: Duration = Duration::from_secs(10);
/// How long it may take though nobody waits.
const ANSWER: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody waits.
const LOOK: Duration = Duration::from_millis(100);

/// The part of all places that these logins may take from others.
pub(super) const fn share(total: u32) -> usize {
    total.div_ceil(4) as usize
}

/// All such logins of one upstream.
#[derive(Debug, Default)]
pub(super) struct Unproven {
    logins: Mutex<Logins>,
}

#[derive(Debug, Default)]
struct Logins {
    last: u64,
    /// Since when their clients owe an answer.
    asked: BTreeMap<u64, Option<Instant>>,
    gave_way_at: Option<Instant>,
}

/// One of them, until dropped.
#[derive(Debug)]
pub(crate) struct Probation {
    crowd: Arc<Contention>,
    number: u64,
}

/// Why a login ends for its client's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Others wait for the place.
    GaveWay(Duration),
    TooLong(Duration),
}

impl Unproven {
    pub(super) fn count(&self) -> usize {
        self.logins.lock().asked.len()
    }
}

impl Logins {
    /// Whether login `number` is over, while `waiting` others wait.
    fn silence(&mut self, number: u64, waiting: usize, now: Instant) -> Option<Silence> {
        let since = (*self.asked.get(&number)?)?;
        let silent = now.saturating_duration_since(since);
        if silent >= ANSWER {
            return Some(Silence::TooLong(ANSWER));
        }
        let alert = self
            .gave_way_at
            .is_some_and(|at| now.saturating_duration_since(at) < ALERT);
        let moment = if alert { MOMENT.1 } else { MOMENT.0 };
        // The first of two that were asked at once is the one that came first.
        let longer = |(other, asked): (&u64, &Option<Instant>)| {
            asked.is_some_and(|at| (at, *other) < (since, number))
        };
        let before = self.asked.iter().filter(|login| longer(*login)).count();
        if silent < moment || before >= waiting {
            return None;
        }
        self.gave_way_at = Some(now);
        // It has no turn any more, though a place until the server has closed.
        self.asked.insert(number, None);
        Some(Silence::GaveWay(moment))
    }
}

impl Probation {
    pub(super) fn new(crowd: &Arc<Contention>) -> Self {
        let mut logins = crowd.unproven.logins.lock();
        logins.last += 1;
        let number = logins.last;
        logins.asked.insert(number, None);
        Self {
            crowd: Arc::clone(crowd),
            number,
        }
    }

    /// Whether it is the client's turn.
    pub(crate) fn awaits_client(&self, awaits: bool) {
        let mut logins = self.crowd.unproven.logins.lock();
        if let Some(asked) = logins.asked.get_mut(&self.number) {
            *asked = awaits.then(|| asked.unwrap_or_else(Instant::now));
        }
    }

    /// Completes when the client has been silent for too long.
    pub(crate) async fn outstayed(&self) -> Silence {
        loop {
            sleep(LOOK).await;
            let waiting = self.crowd.waiting();
            let mut logins = self.crowd.unproven.logins.lock();
            if let Some(silence) = logins.silence(self.number, waiting, Instant::now()) {
                return silence;
            }
        }
    }
}

impl Drop for Probation {
    fn drop(&mut self) {
        self.crowd.unproven.logins.lock().asked.remove(&self.number);
        // For the next one others may have to make room.
        self.crowd.look_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(now: Instant, silent_for: &[u64]) -> Logins {
        let since = |seconds: &u64| Some(now - Duration::from_millis(*seconds));
        Logins {
            asked: (0..).zip(silent_for.iter().map(since)).collect(),
            ..Logins::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_gives_way_to_who_waits_and_nobody_to_nobody() {
        tokio::time::advance(ANSWER).await;
        let now = Instant::now();
        let mut logins = logins(now, &[1500, 5000, 500]);
        let gave_way = Some(Silence::GaveWay(MOMENT.0));
        for number in 0..3 {
            assert_eq!(logins.silence(number, 0, now), None);
        }
        assert_eq!(logins.silence(0, 1, now), None, "the other comes first");
        assert_eq!(logins.silence(1, 1, now), gave_way);
        logins.gave_way_at = None;
        assert_eq!(logins.silence(2, 9, now), None, "it may still answer");
        assert_eq!(logins.silence(0, 9, now), gave_way);
        let gave_way = Some(Silence::GaveWay(MOMENT.1));
        assert_eq!(logins.silence(2, 9, now), gave_way, "patience is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_login_though_nobody_waits() {
        let crowd = Arc::<Contention>::default();
        let login = Probation::new(&crowd);
        let began = Instant::now();
        login.awaits_client(true);
        tokio::time::advance(ANSWER / 2).await;
        login.awaits_client(true);
        assert_eq!(login.outstayed().await, Silence::TooLong(ANSWER));
        assert!(began.elapsed() < ANSWER + LOOK * 2);
        assert_eq!(crowd.unproven.count(), 1);
        drop(login);
        assert_eq!(crowd.unproven.count(), 0);
    }
}
