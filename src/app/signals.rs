//! What the process is told by signals.
//!
//! HUP has two senders. An administrator means a reload; a terminal that closes means
//! the end of what was started in it, or else a proxy that nobody sees would keep the
//! port. `nohup` and its like ignore HUP for the programs that they start, and what is
//! ignored at the start stays ignored.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// How long the kernel may take to part a process from a terminal that has closed: HUP
/// can come first.
const PARTING: Duration = Duration::from_millis(500);
/// Between looks whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// The bit of HUP in the masks of `/proc/self/status`.
const HUP: u64 = 1;

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShutdownRequest {
    /// TERM or INT, or HUP for a terminal that is gone.
    Drain,
    /// QUIT.
    Quit,
}

#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    /// `None` where it was ignored at the start.
    hangup: Option<Signal>,
    /// Whether the process was started in a terminal.
    terminal: bool,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let hangup = match ignores(&fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup,
            terminal: has_terminal(),
        })
    }

    pub(super) async fn next(&mut self) -> ShutdownRequest {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return ShutdownRequest::Drain,
                _ = self.interrupt.recv() => return ShutdownRequest::Drain,
                _ = self.quit.recv() => return ShutdownRequest::Quit,
                () = received(&mut self.hangup) => {
                    if self.terminal && terminal_goes().await {
                        tracing::warn!("the terminal in which pgsluice was started is closed");
                        self.terminal = false;
                        return ShutdownRequest::Drain;
                    }
                    tracing::warn!(
                        "reload is not supported yet: restart to apply a new configuration"
                    );
                }
            }
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether HUP is among the signals that a process with this `/proc/PID/status` ignores.
fn ignores(status: &str) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HUP != 0)
}

/// Whether the process has a terminal that its signals come from.
fn has_terminal() -> bool {
    fs::File::open("/dev/tty").is_ok()
}

/// Whether the process has lost its terminal, or is about to.
async fn terminal_goes() -> bool {
    for _ in 0..PARTING.as_millis() / LOOK.as_millis() {
        if !has_terminal() {
            return true;
        }
        sleep(LOOK).await;
    }
    !has_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_tells_of_hup() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t1\nSigIgn:\t{mask}\nSigCgt:\t1\n");
        assert!(ignores(&status("0000000000000001")));
        assert!(ignores(&status("0000000000001003")));
        assert!(!ignores(&status("0000000000001002")));
        assert!(!ignores(""));
    }
}
