//! `log.level`: levels by themselves or for a target, all checked here. The
//! library that reads the filter takes every unknown word for a target, and a
//! target that logs nothing silences everything.

use super::nearest::nearest;
use super::problem::Invalid;
use super::value_parsers::{Info, Kind, Shape};

/// A filter such as `info` or `pgsluice=debug,rustls=warn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(pub(crate) String);

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Other programs' words, and the level that says as much.
const OTHER_WORDS: &[(&str, &[&str])] = &[
    ("off", &["none", "silent", "quiet", "disabled", "false"]),
    (
        "error",
        &["err", "fatal", "critical", "crit", "panic", "alert"],
    ),
    ("warn", &["warning", "warnings"]),
    (
        "info",
        &["notice", "log", "information", "normal", "default"],
    ),
    ("debug", &["verbose", "debugging", "fine", "true"]),
    ("trace", &["all", "finest", "max"]),
];

/// Rooms of this crate; a test compares them with `src/lib.rs`.
const ROOMS: &[&str] = &[
    "buffers", "name", "secret", "sql", "wire", "fault", "state", "database", "config", "metrics",
    "net", "tls", "upstream", "pool", "startup", "session", "listener", "admin", "app", "toolkit",
    "cli", "demo",
];

/// Crates that say something of their own.
const CRATES: &[&str] = &[
    "pgsluice",
    "rustls",
    "tokio",
    "tokio_util",
    "mio",
    "hyper",
    "hyper_util",
    "metrics_exporter_prometheus",
];

impl Kind for LogFilter {
    const INFO: Info = Info {
        name: "log filter",
        shape: Shape::Text,
        secret: false,
        words: &[],
        example: r#""info""#,
    };

    fn parse(text: &str) -> Result<Self, Invalid> {
        let directives = || {
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
        };
        if directives().next().is_none() {
            return Err(Invalid::new("is empty", format!("write {}", words())));
        }
        directives().try_for_each(directive)?;
        Ok(Self(text.to_owned()))
    }
}

fn directive(text: &str) -> Result<(), Invalid> {
    if text.contains(['[', '{']) {
        let message = format!("{text:?} filters by spans, and there are none");
        return Err(Invalid::new(message, "write TARGET=LEVEL, or a level"));
    }
    match text.split_once('=') {
        Some((name, word)) => {
            target(name.trim())?;
            level(word.trim())
        }
        // A target by itself is all that it says.
        None if target(text).is_ok() => Ok(()),
        None => level(text),
    }
}

fn level(word: &str) -> Result<(), Invalid> {
    let lower = word.to_lowercase();
    if LEVELS.contains(&lower.as_str()) {
        return Ok(());
    }
    let meant = OTHER_WORDS
        .iter()
        .find(|(_, words)| words.contains(&lower.as_str()))
        .map(|(level, _)| *level);
    let near = || nearest(&lower, LEVELS.iter().copied());
    let near_target = || nearest(&lower, CRATES.iter().copied());
    let fix = match meant.or_else(near).or_else(near_target) {
        Some(word) => format!("write {word:?}"),
        None => format!("write {}", words()),
    };
    Err(Invalid::new(format!("there is no level {word:?}"), fix))
}

fn target(name: &str) -> Result<(), Invalid> {
    let plain = name.replace('-', "_");
    let (root, rest) = name.split_once("::").unwrap_or((name, ""));
    if root != "pgsluice" {
        if CRATES.contains(&root) {
            return Ok(());
        }
        let near = nearest(&plain, CRATES.iter().copied());
        let room =
            || nearest(&plain, ROOMS.iter().copied()).map(|room| format!("pgsluice::{room}"));
        return Err(no_target(name, near.map(str::to_owned).or_else(room)));
    }
    let room = rest.split("::").next().unwrap_or_default();
    if room.is_empty() || ROOMS.contains(&room) {
        return Ok(());
    }
    let near = nearest(room, ROOMS.iter().copied());
    Err(no_target(
        name,
        near.map(|room| format!("pgsluice::{room}")),
    ))
}

fn no_target(name: &str, near: Option<String>) -> Invalid {
    let fix = match near {
        Some(near) => format!("write {near:?}"),
        None => format!("write one of {}", CRATES.join(", ")),
    };
    Invalid::new(format!("there is no target {name:?}"), fix)
}

fn words() -> String {
    let quoted: Vec<String> = LEVELS.iter().map(|level| format!("{level:?}")).collect();
    quoted.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(text: &str) -> String {
        LogFilter::parse(text).unwrap_err().fix
    }

    #[test]
    fn a_filter_of_known_words_is_taken() {
        for text in [
            "info",
            "WARN",
            "off",
            "pgsluice=debug",
            "pgsluice",
            "pgsluice::pool=trace, rustls=warn",
            "warn,pgsluice::session::pooled=debug",
        ] {
            assert!(LogFilter::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_slip_is_refused_with_the_nearest_word() {
        for (text, meant) in [
            ("warning", "\"warn\""),
            ("verbose", "\"debug\""),
            ("inf", "\"info\""),
            ("Fatal", "\"error\""),
            ("pgslice=debug", "\"pgsluice\""),
            ("pgslice", "\"pgsluice\""),
            ("pgsluice=debgu", "\"debug\""),
            ("pgsluice::pools=debug", "\"pgsluice::pool\""),
            ("pool=debug", "\"pgsluice::pool\""),
            ("info,rustles=warn", "\"rustls\""),
        ] {
            assert_eq!(fix(text), format!("write {meant}"), "{text}");
        }
        assert!(fix("5").contains("\"trace\""));
        assert!(fix("[span]=info").contains("LEVEL"));
        assert!(fix(" , ").contains("\"info\""));
        assert!(fix("sqlx=info").contains("pgsluice"));
    }

    #[test]
    fn the_rooms_are_those_of_the_crate() {
        let root = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"));
        let written = root.unwrap();
        let rooms: Vec<&str> = written
            .lines()
            .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
            .filter(|room| *room != "tests")
            .collect();
        assert_eq!(rooms, ROOMS);
    }
}
