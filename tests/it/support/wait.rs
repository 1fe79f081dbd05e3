//! Waiting for something that can be observed, and never longer than a deadline.

use std::time::Duration;

use tokio::time::Instant;

/// Time for what should take milliseconds, on a machine that has other things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds; fails the test at the deadline.
pub(crate) async fn until(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) {
    until_some(deadline, what, async || condition().await.then_some(())).await;
}

/// Waits until `probe` returns a value; fails the test at the deadline.
pub(crate) async fn until_some<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
