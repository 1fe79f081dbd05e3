//! The log: whole lines to stderr, from a thread of its own.
//!
//! A log is no reason to hold a session up: a reader that is slow or gone, or a
//! disk that is full, costs lines, and how many is said as soon as there is room.
//! Names that clients choose are in these lines, so control characters are not.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::values::{Log, LogFormat};

/// Lines that may wait for stderr.
const MAX_WAITING: usize = 4096;
/// How long the last lines may take when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Sends logs to stderr, in the format and from the level that were asked for,
/// and what is still on its way when this is dropped.
pub(super) fn start(log: &Log) -> Result<Flush, String> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| format!("log.level: {error}\n  fix: \"info\""))?;
    let queue = Arc::new(Queue::default());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(Lines(Arc::clone(&queue)));
    let started = match log.format {
        LogFormat::Text => lines.with_target(false).with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| error.to_string())?;
    let source = Arc::clone(&queue);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || source.drain_to(&mut io::stderr()))
        .map_err(|error| format!("the log cannot be started: {error}"))?;
    Ok(Flush(queue))
}

/// Waits for the last lines when it is dropped.
#[derive(Debug)]
#[must_use = "dropped at once, it waits for nothing"]
pub(super) struct Flush(Arc<Queue>);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.flush(LAST_WORDS);
    }
}

/// Lines on their way to stderr.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<String>,
    /// Taken, and not written yet.
    in_hand: bool,
    dropped: u64,
}

impl Queue {
    fn push(&self, line: String) {
        let mut waiting = self.waiting.lock();
        if waiting.lines.len() < MAX_WAITING {
            waiting.lines.push_back(line);
            self.changed.notify_all();
        } else {
            waiting.dropped += 1;
        }
    }

    /// Writes what comes, for ever. A line that cannot be written is lost: there
    /// is no other place to say so.
    fn drain_to(&self, out: &mut impl Write) {
        loop {
            let (lines, dropped) = self.take();
            for line in lines {
                let _ = out.write_all(line.as_bytes());
            }
            if dropped > 0 {
                tracing::warn!(dropped, "log lines lost: stderr did not take them in time");
            }
            self.waiting.lock().in_hand = false;
            self.changed.notify_all();
        }
    }

    fn take(&self) -> (VecDeque<String>, u64) {
        let mut waiting = self.waiting.lock();
        self.changed
            .wait_while(&mut waiting, |waiting| waiting.lines.is_empty());
        waiting.in_hand = true;
        let dropped = std::mem::take(&mut waiting.dropped);
        (std::mem::take(&mut waiting.lines), dropped)
    }

    fn flush(&self, limit: Duration) {
        let mut waiting = self.waiting.lock();
        self.changed.wait_while_for(
            &mut waiting,
            |waiting| waiting.in_hand || !waiting.lines.is_empty(),
            limit,
        );
    }
}

/// Takes one line a call: the subscriber hands over whole events.
#[derive(Debug, Clone)]
struct Lines(Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push(one_line(&String::from_utf8_lossy(event)));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The event with every control character but its last line feed spelled out:
/// what a client calls itself must not look like a line of the log.
fn one_line(event: &str) -> String {
    let mut line = String::with_capacity(event.len() + 1);
    for c in event.trim_end_matches('\n').chars() {
        if c.is_control() {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(
            one_line("user \"x\n2026 INFO y\u{1b}[31m\u{9b}ü\"\n"),
            "user \"x\\n2026 INFO y\\u{1b}[31m\\u{9b}ü\"\n"
        );
    }

    #[test]
    fn a_reader_that_takes_nothing_costs_lines_and_no_time() {
        let queue = Queue::default();
        for _ in 0..MAX_WAITING + 7 {
            queue.push("line\n".to_owned());
        }
        let (lines, dropped) = queue.take();
        assert_eq!((lines.len(), dropped), (MAX_WAITING, 7));
        queue.flush(Duration::from_millis(1));
    }
}
