//! Loops that are to run for as long as the process does: one that panics is begun
//! again, and the log says so. Without this it would end in silence, and what it did
//! would not be done any more.

use std::any::Any;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Before a loop that has panicked begins again: it may do so at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs what `begin` makes, again whenever it panics, until it ends by itself or, where
/// it has panicked, until `stop`. `what` says in the log what was interrupted.
pub(crate) async fn supervise<F>(what: &str, stop: &CancellationToken, begin: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Dropped, this takes the loop along.
    while let Err(error) = Running(tokio::spawn(begin())).join().await {
        let Ok(panic) = error.try_into_panic() else {
            // The runtime is going down.
            return;
        };
        tracing::error!(
            what,
            panic = text(&*panic),
            "a loop has panicked and begins again"
        );
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// A task that ends when this is dropped.
struct Running(tokio::task::JoinHandle<()>);

impl Running {
    async fn join(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What was said with a panic.
fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    let text = panic.downcast_ref::<&str>().copied().or_else(owned);
    text.unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_begins_again() {
        let begun = Arc::new(AtomicU32::new(0));
        let again = || {
            let begun = Arc::clone(&begun);
            async move {
                let before = begun.fetch_add(1, Ordering::Relaxed);
                assert!(before >= 2, "not yet");
            }
        };
        supervise("a test", &CancellationToken::new(), again).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_does_not_outlive_the_process() {
        let stop = CancellationToken::new();
        stop.cancel();
        let panics = || async { panic!("always") };
        supervise("a test", &stop, panics).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_ends_with_its_supervisor() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(async move {
            let begin = || {
                let held = Arc::clone(&held);
                async move {
                    let _held = held;
                    std::future::pending::<()>().await;
                }
            };
            supervise("a test", &stop, begin).await;
        });
        tokio::task::yield_now().await;
        supervisor.abort();
        let _ = supervisor.await;
        while Arc::strong_count(&alive) > 1 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}
