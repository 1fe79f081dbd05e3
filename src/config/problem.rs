//! Where a value came from, and what is wrong with it: every problem of a
//! configuration is collected here before any is shown.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

/// Who gave a value. The order is the precedence: a later one wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Default,
    /// `proxy.toml`, or the pools file that it names.
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
    /// `--set KEY=VALUE`, by its key.
    Flag(String),
}

/// A key together with the place that gave its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) line: Option<usize>,
}

impl Location {
    /// A place that is a whole source rather than a key in it.
    pub(crate) fn source(origin: Origin) -> Self {
        Self {
            key: String::new(),
            origin,
            line: None,
        }
    }

    /// The origin as one token: `default`, `proxy.toml:12`, `env NAME`, `--set KEY`.
    pub(crate) fn origin_text(&self) -> String {
        match (&self.origin, self.line) {
            (Origin::Default, _) => "default".to_owned(),
            (Origin::File(path), Some(line)) => format!("{}:{line}", path.display()),
            (Origin::File(path), None) => path.display().to_string(),
            (Origin::Env(name), _) => format!("env {name}"),
            (Origin::Flag(key), _) => format!("--set {key}"),
        }
    }
}

/// One thing that must change before the proxy can run.
///
/// Neither text ever holds the value of a secret key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: Option<usize>,
    pub(crate) origin: Origin,
    /// Dotted path; empty when a whole source is at fault.
    pub(crate) key: String,
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) fix: String,
}

impl Problem {
    /// Where it is, as one token; see [`Location::origin_text`].
    pub(crate) fn origin_text(&self) -> String {
        let at = Location {
            key: String::new(),
            origin: self.origin.clone(),
            line: self.line,
        };
        at.origin_text()
    }

    pub(crate) fn to_json(&self) -> Json {
        json!({
            "line": self.line,
            "origin": self.origin_text(),
            "key": self.key,
            "message": self.message,
            "fix": self.fix,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.line) {
            (Origin::Default, _) => {}
            (Origin::File(path), Some(line)) => write!(f, "{}:{line}: ", path.display())?,
            (Origin::File(path), None) => write!(f, "{}: ", path.display())?,
            (Origin::Env(name), _) => write!(f, "{name}: ")?,
            (Origin::Flag(key), _) => write!(f, "--set {key}: ")?,
        }
        let repeats = matches!(&self.origin, Origin::Flag(key) if *key == self.key);
        if !self.key.is_empty() && !repeats {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// What is wrong and what would be right, before it is known where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) message: String,
    pub(crate) fix: String,
}

impl Invalid {
    pub(crate) fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fix: fix.into(),
        }
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    /// Keys that were written in a way that counts for nothing.
    excused: BTreeSet<String>,
    pub(crate) warnings: Vec<String>,
}

impl Problems {
    pub(crate) fn add(&mut self, at: &Location, bad: Invalid) {
        let problem = Problem {
            line: at.line,
            origin: at.origin.clone(),
            key: at.key.clone(),
            message: bad.message,
            fix: bad.fix,
        };
        self.excused.insert(at.key.clone());
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// The key, or section, was written, but not so that it could be used.
    pub(crate) fn excuse(&mut self, key: impl Into<String>) {
        self.excused.insert(key.into());
    }

    /// Whether something is wrong with this very key already. What would follow
    /// from its absence, or from its default in its place, is then not said.
    pub(crate) fn excuses(&self, key: &str) -> bool {
        self.excused.contains(key)
    }

    /// The same, for anything in a section.
    pub(crate) fn excuses_in(&self, section: &str) -> bool {
        let below = format!("{section}.");
        self.excused
            .iter()
            .any(|key| key == section || key.starts_with(&below))
    }

    /// Files that a key is missing, unless it was written and is wrong.
    pub(crate) fn add_missing(&mut self, at: &Location, bad: Invalid) {
        if !self.excuses(&at.key) {
            self.add(at, bad);
        }
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Keeps the value, or files what is wrong with it under `at`.
    pub(crate) fn keep<T>(&mut self, at: &Location, result: Result<T, Invalid>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(bad) => {
                self.add(at, bad);
                None
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems in reading order: by source, then by line.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.found
            .sort_by(|a, b| (&a.origin, a.line).cmp(&(&b.origin, b.line)));
        self.found
    }
}
