//! Whether a server lets anybody in, as far as attempts have shown, and what that
//! means for new logins.
//!
//! An outage lasts from the first attempt that the server refuses as a whole (it is not
//! there, its TLS is wrong, it is starting up) to the first that it answers, be it with
//! a wrong password. Short outages are waited out. Of a longer one a client that comes
//! anew hears at once; clients that are logged in go on waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::wire::sqlstate::SqlState;

/// Pauses between attempts that are made only to see whether an outage is over: the
/// first, doubled with each, and the longest.
const PROBE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long a client's login may take to show how the server is before a probe does.
const DOUBT: Duration = Duration::from_secs(2);

/// What attempts to connect have come to.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: Mutex<State>,
    /// Connections that are logged in.
    alive: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    outage: Option<Outage>,
    last_attempt: Option<Instant>,
    /// Probes in this outage.
    probes: u32,
    /// Since when a client has been here, and nobody knows how the server is.
    in_doubt: Option<Instant>,
    /// A client was turned away in this outage.
    said: bool,
}

#[derive(Debug, Clone)]
struct Outage {
    since: Instant,
    /// Of the latest failure.
    cause: Fault,
}

/// What becomes of new logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoginPolicy {
    Admit,
    /// They are refused, before they have proven anything.
    Refuse(Fault),
}

/// The one decision about new logins, of the state alone. A pause will be one more
/// argument here, and one more answer: to wait.
fn login_policy(outage: Option<&Outage>, alive: usize, grace: Duration) -> LoginPolicy {
    match outage {
        // While connections are left they serve newcomers too.
        Some(outage) if alive == 0 && outage.since.elapsed() > grace => {
            let lasted = outage.since.elapsed().as_secs();
            LoginPolicy::Refuse(outage.cause.clone().detail(format!(
                "The server has let nobody in for {lasted} s; until it does, new logins are refused."
            )))
        }
        _ => LoginPolicy::Admit,
    }
}

impl Health {
    /// An attempt has begun, and will show how the server is.
    pub(super) fn tried(&self) {
        let mut state = self.state.lock();
        state.last_attempt = Some(Instant::now());
        state.in_doubt = None;
    }

    /// The server let nobody in.
    pub(super) fn failed(&self, mut cause: Fault) {
        cause.sqlstate = SqlState::CANNOT_CONNECT_NOW;
        let mut state = self.state.lock();
        let now = Instant::now();
        state.last_attempt = Some(now);
        let since = state.outage.as_ref().map_or(now, |outage| outage.since);
        state.outage = Some(Outage { since, cause });
    }

    /// The server answered a login, well or not.
    pub(super) fn answered(&self, upstream: &str) {
        let mut state = self.state.lock();
        if let Some(outage) = state.outage.take()
            && state.said
        {
            let seconds = outage.since.elapsed().as_secs();
            tracing::info!(
                upstream,
                seconds,
                "the upstream is back: new logins are accepted"
            );
        }
        *state = State {
            last_attempt: Some(Instant::now()),
            ..State::default()
        };
    }

    pub(super) fn policy(&self, grace: Duration) -> LoginPolicy {
        let alive = self.alive.load(Ordering::Relaxed);
        login_policy(self.state.lock().outage.as_ref(), alive, grace)
    }

    /// Somebody wants to log in, whom nobody may tell how the server is.
    pub(super) fn doubt(&self, known_for: Duration) {
        let mut state = self.state.lock();
        let last = state.last_attempt;
        let is_known = last.is_some_and(|at| at.elapsed() < known_for);
        let is_alive = self.alive.load(Ordering::Relaxed) > 0;
        if state.outage.is_some() || !is_known && !is_alive {
            state.in_doubt.get_or_insert_with(Instant::now);
        }
    }

    /// Counts one more connection that is logged in.
    pub(super) fn logged_in(&self) {
        self.alive.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one fewer.
    pub(super) fn closed(&self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nobody was turned away in this outage before; from now on somebody was.
    pub(super) fn refuses_first(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().said, true)
    }

    /// Whether it is time for an attempt that is made only to see how the server is.
    pub(crate) fn begin_probe(&self) -> bool {
        let mut state = self.state.lock();
        let (first, longest) = PROBE_PAUSE;
        let (since, pause) = match (state.in_doubt, &state.outage) {
            (Some(_), Some(_)) => (state.last_attempt, first),
            (None, Some(_)) => {
                let pause = first * 2_u32.saturating_pow(state.probes.min(16));
                (state.last_attempt, pause.min(longest))
            }
            (doubt @ Some(_), None) => (doubt, DOUBT),
            (None, None) => return false,
        };
        let due = since.is_none_or(|at| at.elapsed() >= pause);
        if due {
            // One at a time: the next is due when this one has failed.
            state.last_attempt = Some(Instant::now());
            state.probes += 1;
            state.in_doubt = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const GRACE: Duration = Duration::from_secs(15);

    fn fault(text: &'static str) -> Fault {
        Fault::new(SqlState::CANNOT_CONNECT_NOW, "dial", text)
    }

    #[tokio::test(start_paused = true)]
    async fn logins_are_refused_once_an_outage_has_lasted_and_accepted_after_the_first_answer() {
        let health = Health::default();
        assert_eq!(health.policy(GRACE), LoginPolicy::Admit);
        health.failed(fault("first"));
        advance(GRACE).await;
        health.failed(fault("latest"));
        assert_eq!(health.policy(GRACE), LoginPolicy::Admit, "not longer");
        advance(Duration::from_secs(1)).await;
        let LoginPolicy::Refuse(refusal) = health.policy(GRACE) else {
            panic!("admitted")
        };
        assert_eq!(refusal.message, "latest");
        health.answered("cluster");
        assert_eq!(health.policy(GRACE), LoginPolicy::Admit);
        health.failed(fault("again"));
        assert_eq!(health.policy(GRACE), LoginPolicy::Admit);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_probed_with_longer_and_longer_pauses_and_sooner_for_a_client() {
        let health = Health::default();
        assert!(!health.begin_probe(), "nobody wants to know");
        health.doubt(GRACE);
        assert!(!health.begin_probe(), "a login may show it");
        advance(DOUBT).await;
        assert!(health.begin_probe());
        health.failed(fault("away"));
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let mut seconds = 0;
            while !health.begin_probe() {
                advance(Duration::from_secs(1)).await;
                seconds += 1;
            }
            health.failed(fault("away"));
            pauses.push(seconds);
        }
        assert_eq!(pauses, [2, 4, 5, 5]);
        advance(Duration::from_secs(1)).await;
        assert!(!health.begin_probe());
        health.doubt(GRACE);
        assert!(health.begin_probe());
        health.answered("cluster");
        advance(GRACE * 2).await;
        assert!(!health.begin_probe());
        health.doubt(GRACE);
        health.tried();
        advance(DOUBT).await;
        assert!(!health.begin_probe(), "a login has");
    }
}
