//! The log: whole lines to stderr, from a thread of its own.
//!
//! A log is no reason to hold a session up: a reader that is slow or gone, or a
//! disk that is full, costs lines, and how many is said at the end. Names that
//! clients choose are in these lines, so control characters are not.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, Write};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::values::{Log, LogFormat};

/// Lines that may wait for stderr.
const MAX_WAITING: usize = 4096;

/// What ends the process is logged under this target, which no filter silences.
pub(super) const FATAL: &str = "pgsluice::fatal";

/// Sends logs to stderr, in the format and from the level that were asked for,
/// and what is still on its way when this is dropped.
pub(super) fn start(log: &Log) -> Result<Flush, String> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| format!("log.level: {error}\n  fix: \"info\""))?
        .add_directive(always(FATAL)?);
    let (queue, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING)
        .thread_name("log")
        .finish(io::stderr());
    let lost = queue.error_counter();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(Lines(queue));
    let started = match log.format {
        LogFormat::Text => lines.with_target(false).with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| error.to_string())?;
    log_panics();
    Ok(Flush {
        lost,
        _guard: guard,
    })
}

/// A panic is an event like any other: one line, in the format of the log.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        let thread = thread.name();
        let text = panic.payload_as_str();
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(target: FATAL, at, thread, panic = text, trace, "a bug in pgsluice");
    }));
}

/// Lets errors of `target` through whatever else is asked for.
fn always(target: &str) -> Result<Directive, String> {
    let directive = format!("{target}={}", LevelFilter::ERROR);
    directive
        .parse()
        .map_err(|error| format!("log.level: {error}"))
}

/// Runs `report` with a log that writes each event to stderr at once, as a line of JSON:
/// for what there is to say before the log is known.
pub(super) fn as_json(report: impl FnOnce()) {
    let lines = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(io::stderr)
        .finish();
    tracing::subscriber::with_default(lines, report);
}

/// Waits for the last lines, but not for ever, when it is dropped.
#[derive(Debug)]
#[must_use = "dropped at once, it waits for nothing"]
pub(super) struct Flush {
    lost: ErrorCounter,
    _guard: WorkerGuard,
}

impl Drop for Flush {
    fn drop(&mut self) {
        let lost = self.lost.dropped_lines();
        if lost > 0 {
            tracing::warn!(lost, "log lines lost: stderr did not take them in time");
        }
    }
}

/// Takes one line a call: the subscriber hands over whole events.
#[derive(Debug, Clone)]
struct Lines(NonBlocking);

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = one_line(&String::from_utf8_lossy(event));
        self.0.write_all(line.as_bytes())?;
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
}
