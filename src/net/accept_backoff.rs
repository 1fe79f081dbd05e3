//! An accept that failed: how long to pause, and whether to say so again.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::Listener;

/// First and longest pause.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How often one thing is said.
const AGAIN: Duration = Duration::from_secs(10);

/// Failures of one accept loop. Out of descriptors, mostly: it passes when somebody
/// leaves, and until then a loop without pauses would only burn the core.
#[derive(Debug, Default)]
pub(crate) struct AcceptBackoff {
    failures: u32,
    log: RateLimited,
}

impl AcceptBackoff {
    /// Somebody was accepted.
    pub(crate) const fn is_over(&mut self) {
        self.failures = 0;
    }

    /// Logs the failure, if that was not done just now, and says how long to pause.
    pub(crate) fn after(&mut self, listener: &Listener, error: &io::Error) -> Duration {
        if let Some(times) = self.log.due(Instant::now()) {
            let fix = is_out_of_descriptors(error)
                .then_some("raise the limit on open files (ulimit -n, LimitNOFILE=)");
            let address = listener.address();
            tracing::warn!(address, %error, fix, times, "accept failed");
        }
        let pause = PAUSE.0.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        pause.min(PAUSE.1)
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    number == Some(nix::libc::EMFILE) || number == Some(nix::libc::ENFILE)
}

/// Lets a repeated event through now and then.
#[derive(Debug, Default)]
pub(crate) struct RateLimited {
    last: Option<Instant>,
    times: u64,
}

impl RateLimited {
    /// It has happened. How often since it was last said, if it is time to say it.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u64> {
        self.times += 1;
        if self.last.is_some_and(|last| now < last + AGAIN) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_to_a_second_and_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let options = crate::net::UnixOptions {
            port: 5432,
            mode: 0o700,
            group: None,
        };
        let listener = Listener::bind_unix(dir.path(), &options).unwrap();
        let error = io::Error::from_raw_os_error(nix::libc::EMFILE);
        let mut setback = AcceptBackoff::default();
        let pauses: Vec<_> = (0..40)
            .map(|_| setback.after(&listener, &error).as_millis())
            .collect();
        assert_eq!(pauses[..4], [5, 10, 20, 40]);
        assert_eq!(pauses[8..], [1000; 32]);
        setback.is_over();
        assert_eq!(setback.after(&listener, &error).as_millis(), 5);
    }

    #[test]
    fn what_repeats_is_said_once_in_ten_seconds_with_its_number() {
        let mut seldom = RateLimited::default();
        let began = Instant::now();
        let said: Vec<_> = (0..25)
            .filter_map(|second| seldom.due(began + Duration::from_secs(second)))
            .collect();
        assert_eq!(said, [1, 10, 10]);
    }
}
