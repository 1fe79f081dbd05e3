//! Figures and texts as people read them.

use std::time::Duration;

/// Longest text taken over from a server, in characters.
const LONGEST: usize = 300;

/// `0.31 ms`, `12.4 ms`, `1.2 s`.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 0.001 => format!("{:.2} ms", s * 1e3),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

/// For machines.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// `41 days`, from seconds; 0 for what is over.
pub(super) fn days(seconds: i64) -> i64 {
    seconds.max(0) / 86_400
}

/// One line that cannot steer a terminal.
pub(super) fn one_line(text: &str) -> String {
    let kept = text.chars().take(LONGEST);
    let line: String = kept.map(|c| if c.is_control() { ' ' } else { c }).collect();
    line
}

/// `3 connections`, `1 connection`.
pub(super) fn count(number: impl Into<u64>, what: &str) -> String {
    let number = number.into();
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(span(Duration::from_micros(312)), "0.31 ms");
        assert_eq!(span(Duration::from_micros(12_400)), "12.4 ms");
        assert_eq!(span(Duration::from_millis(1_230)), "1.2 s");
        assert_eq!(days(86_400 * 3 + 5), 3);
        assert_eq!(days(-5), 0);
        assert_eq!(one_line("a\nb\x1b[31m"), "a b [31m");
        assert_eq!(count(1_u32, "session"), "1 session");
        assert_eq!(count(2_u32, "session"), "2 sessions");
    }
}
