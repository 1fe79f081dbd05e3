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
use std::time::Duration;

use tokio::time::Instant;

use crate::pool::ids::LoginNumber;
use crate::pool::timing::{ALERT, ANSWER_TIMEOUT, SILENCE_ALLOWED};

/// The part of all places that these logins may take from others.
pub(super) const fn share(total: u32) -> usize {
    total.div_ceil(4) as usize
}

/// Why a login ends for its client's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Others wait for the place.
    GaveWay(Duration),
    TooLong(Duration),
}

/// All such logins of one upstream.
#[derive(Debug, Default)]
pub(crate) struct UnprovenLogins {
    last: u64,
    /// Since when their clients owe an answer.
    asked: BTreeMap<LoginNumber, Option<Instant>>,
    gave_way_at: Option<Instant>,
}

impl UnprovenLogins {
    pub(super) fn add(&mut self) -> LoginNumber {
        self.last += 1;
        let login = LoginNumber(self.last);
        self.asked.insert(login, None);
        login
    }

    pub(super) fn remove(&mut self, login: LoginNumber) {
        self.asked.remove(&login);
    }

    pub(super) fn count(&self) -> usize {
        self.asked.len()
    }

    /// Whether it is the client's turn.
    pub(crate) fn awaits_client(&mut self, login: LoginNumber, awaits: bool, now: Instant) {
        if let Some(asked) = self.asked.get_mut(&login) {
            *asked = awaits.then(|| asked.unwrap_or(now));
        }
    }

    /// Whether a login is over, while `waiting` others wait.
    pub(super) fn silence(
        &mut self,
        login: LoginNumber,
        waiting: usize,
        now: Instant,
    ) -> Option<Silence> {
        let since = (*self.asked.get(&login)?)?;
        let silent = now.saturating_duration_since(since);
        if silent >= ANSWER_TIMEOUT {
            return Some(Silence::TooLong(ANSWER_TIMEOUT));
        }
        let alert = self
            .gave_way_at
            .is_some_and(|at| now.saturating_duration_since(at) < ALERT);
        let moment = if alert {
            SILENCE_ALLOWED.1
        } else {
            SILENCE_ALLOWED.0
        };
        // The first of two that were asked at once is the one that came first.
        let longer = |(other, asked): (&LoginNumber, &Option<Instant>)| {
            asked.is_some_and(|at| (at, *other) < (since, login))
        };
        let before = self.asked.iter().filter(|login| longer(*login)).count();
        if silent < moment || before >= waiting {
            return None;
        }
        self.gave_way_at = Some(now);
        // It has no turn any more, though a place until the server has closed.
        self.asked.insert(login, None);
        Some(Silence::GaveWay(moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(now: Instant, silent_for: &[u64]) -> UnprovenLogins {
        let since = |millis: &u64| Some(now - Duration::from_millis(*millis));
        UnprovenLogins {
            asked: (0..)
                .map(LoginNumber)
                .zip(silent_for.iter().map(since))
                .collect(),
            ..UnprovenLogins::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_gives_way_to_who_waits_and_nobody_to_nobody() {
        tokio::time::advance(ANSWER_TIMEOUT).await;
        let now = Instant::now();
        let mut logins = logins(now, &[1500, 5000, 500]);
        let gave_way = Some(Silence::GaveWay(SILENCE_ALLOWED.0));
        let silence = |logins: &mut UnprovenLogins, login, waiting| {
            logins.silence(LoginNumber(login), waiting, now)
        };
        for login in 0..3 {
            assert_eq!(silence(&mut logins, login, 0), None);
        }
        assert_eq!(silence(&mut logins, 0, 1), None, "the other comes first");
        assert_eq!(silence(&mut logins, 1, 1), gave_way);
        logins.gave_way_at = None;
        assert_eq!(silence(&mut logins, 2, 9), None, "it may still answer");
        assert_eq!(silence(&mut logins, 0, 9), gave_way);
        let gave_way = Some(Silence::GaveWay(SILENCE_ALLOWED.1));
        assert_eq!(silence(&mut logins, 2, 9), gave_way, "patience is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_login_though_nobody_waits() {
        tokio::time::advance(ANSWER_TIMEOUT).await;
        let mut logins = UnprovenLogins::default();
        let login = logins.add();
        let now = Instant::now();
        logins.awaits_client(login, true, now);
        logins.awaits_client(login, true, now + ANSWER_TIMEOUT / 2);
        assert_eq!(logins.silence(login, 0, now + ANSWER_TIMEOUT / 2), None);
        let silence = logins.silence(login, 0, now + ANSWER_TIMEOUT);
        assert_eq!(silence, Some(Silence::TooLong(ANSWER_TIMEOUT)));
        assert_eq!(logins.count(), 1);
        logins.remove(login);
        assert_eq!(logins.count(), 0);
    }
}
