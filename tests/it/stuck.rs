//! The end of the process waits for no worker: one may be busy for long, and cannot
//! hear of it.
//!
//! Here a worker is stopped as a debugger stops a thread, while all others go on.

use std::fs;
use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy};

/// Between two looks.
const MOMENT: Duration = Duration::from_millis(20);

/// A thread of the proxy that does nothing any more.
struct Stopped(Pid);

impl Stopped {
    /// Stops the thread of this name once it sleeps, and so holds no lock that others need.
    /// By the test's own thread, which it must stay with.
    async fn thread(proxy: &Proxy, name: &str) -> Self {
        let threads = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
        let thread = threads.map(|thread| thread.unwrap()).find(|thread| {
            fs::read_to_string(thread.path().join("comm"))
                .unwrap()
                .trim()
                == name
        });
        let thread = thread.unwrap();
        let id = thread.file_name().into_string().unwrap();
        let id = Pid::from_raw(id.parse().unwrap());
        let status = || fs::read_to_string(thread.path().join("status")).unwrap();
        wait::until(PATIENCE, "the thread sleeps", async || {
            // What it has been on a processor is counted there.
            let before = status();
            sleep(MOMENT).await;
            before.contains("(sleeping)") && before == status()
        })
        .await;
        ptrace::seize(id, Options::empty()).unwrap();
        ptrace::interrupt(id).unwrap();
        let status = waitpid(id, Some(WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(status, WaitStatus::PtraceEvent(..)), "{status:?}");
        Self(id)
    }

    /// Takes note that it has ended with the process: that is not over before.
    async fn ended(&self) {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        let began = Instant::now();
        while let WaitStatus::StillAlive | WaitStatus::PtraceEvent(..) =
            waitpid(self.0, Some(flags)).unwrap()
        {
            assert!(began.elapsed() < PATIENCE, "the process goes on");
            sleep(MOMENT).await;
        }
    }
}

/// Goal: `drain_timeout` holds whatever the workers do.
/// Method: the only worker, with a session and the listener on it, stands still.
async fn ends(signal: Signal) {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let mut proxy = Proxy::new(postgres)
        .toml("workers = 1\nlimits.drain_timeout = '1s'")
        .start()
        .await;
    let _client = proxy.raw_session(&database).await;
    let worker = Stopped::thread(&proxy, "worker-0").await;
    proxy.signal(signal);
    worker.ended().await;
    let (status, log) = proxy.last_words().await;
    assert!(status.success(), "{status}");
    assert!(log.contains("a worker thread is busy"), "{log}");
    assert!(log.contains("\"all_ended\":false"), "{log}");
}

#[tokio::test]
async fn a_worker_that_is_busy_does_not_outlast_the_drain() {
    ends(Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_worker_that_is_busy_does_not_outlast_a_quit() {
    ends(Signal::SIGQUIT).await;
}
