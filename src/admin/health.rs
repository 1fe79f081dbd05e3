//! Whether the proxy is fit for what it is there for. None of it asks the database:
//! to restart a proxy mends no server, and ends sessions that would have waited.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a worker may take to come by: as long as those who probe usually wait.
const PROMPT: Duration = Duration::from_secs(1);

/// Answers to those who start, restart and route to the proxy.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    workers: Vec<Handle>,
    closing: CancellationToken,
}

impl Health {
    /// For a proxy that listens: before, nobody can ask.
    pub(crate) const fn new(workers: Vec<Handle>, closing: CancellationToken) -> Self {
        Self { workers, closing }
    }

    /// Whether each thread that sessions live on takes up a task.
    pub(crate) async fn is_alive(&self) -> bool {
        let tasks: Vec<_> = self
            .workers
            .iter()
            .map(|worker| worker.spawn(async {}))
            .collect();
        let all_done = async {
            for task in tasks {
                if task.await.is_err() {
                    return false;
                }
            }
            true
        };
        timeout(PROMPT, all_done).await.unwrap_or(false)
    }

    /// Whether new clients are let in.
    pub(crate) fn is_ready(&self) -> bool {
        !self.closing.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[tokio::test]
    async fn a_worker_that_does_nothing_more_shows() {
        let here = Handle::current();
        let closing = CancellationToken::new();
        let well = Health::new(vec![here.clone()], closing.clone());
        assert!(well.is_alive().await);
        // Nobody drives it.
        let stuck = Builder::new_current_thread().build().unwrap();
        let stuck_worker = Health::new(vec![here.clone(), stuck.handle().clone()], closing.clone());
        assert!(!stuck_worker.is_alive().await);
        let gone = stuck.handle().clone();
        stuck.shutdown_background();
        assert!(!Health::new(vec![here, gone], closing).is_alive().await);
    }

    #[tokio::test]
    async fn a_proxy_that_drains_is_alive_and_not_ready() {
        let closing = CancellationToken::new();
        let health = Health::new(vec![Handle::current()], closing.clone());
        assert!(health.is_ready());
        closing.cancel();
        assert!(!health.is_ready());
        assert!(health.is_alive().await);
    }
}
