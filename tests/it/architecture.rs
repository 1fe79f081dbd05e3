//! The module table is true: a room names only rooms below it, an outside
//! dependency has one door, files and comments keep to their budgets.
//!
//! Textual on purpose: it sees what a reader sees. `docs/internals/architecture.md` explains
//! the table; to add an edge is a decision that shows in a diff of this file.

mod cycles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms it may name. Lowest layer first.
const ROOMS: &[(&str, &[&str])] = &[
    ("buffers", &[]),
    ("name", &[]),
    ("secret", &[]),
    ("sql", &[]),
    ("wire", &["secret"]),
    ("fault", &["wire"]),
    ("state", &["sql", "wire"]),
    ("database", &["sql", "state"]),
    ("config", &["name", "secret"]),
    ("metrics", &[]),
    ("net", &["buffers", "config", "wire"]),
    ("tls", &["config", "net", "wire"]),
    (
        "upstream",
        &[
            "config", "fault", "metrics", "name", "net", "secret", "tls", "wire",
        ],
    ),
    (
        "pool",
        &[
            "config", "fault", "metrics", "name", "net", "secret", "state", "tls", "upstream",
            "wire",
        ],
    ),
    (
        "startup",
        &["config", "fault", "name", "net", "tls", "wire"],
    ),
    (
        "session",
        &[
            "buffers", "config", "database", "fault", "metrics", "name", "net", "pool", "sql",
            "startup", "state", "tls", "upstream", "wire",
        ],
    ),
    (
        "listener",
        &[
            "metrics", "name", "net", "session", "startup", "tls", "wire",
        ],
    ),
    ("admin", &["config", "metrics", "net"]),
    (
        "app",
        &[
            "admin", "config", "listener", "metrics", "net", "pool", "session", "startup", "tls",
            "upstream",
        ],
    ),
    (
        "toolkit",
        &[
            "config", "fault", "metrics", "name", "net", "secret", "tls", "upstream", "wire",
        ],
    ),
    ("demo", &[]),
    ("cli", &["app", "config", "demo", "toolkit"]),
];

/// External crate, and the rooms that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("arc_swap", &["database", "session", "app"]),
    ("atomic_waker", &["pool", "session"]),
    ("clap", &["cli", "demo"]),
    ("figment", &["config"]),
    ("toml", &["config", "demo"]),
    ("http_body_util", &["admin"]),
    ("hyper", &["admin"]),
    ("hyper_util", &["admin"]),
    ("metrics", &["metrics"]),
    ("metrics_exporter_prometheus", &["metrics"]),
    ("nix", &["cli", "demo", "net", "startup"]),
    ("postgres_protocol", &["wire"]),
    ("rcgen", &["demo", "tls"]),
    ("rustls", &["tls"]),
    ("socket2", &["net"]),
    ("tokio_postgres", &["demo", "toolkit"]),
    ("tokio_rustls", &["tls"]),
    ("tracing_appender", &["cli"]),
    ("tracing_subscriber", &["cli"]),
    ("x509_parser", &["tls"]),
];

/// Rooms whose logic has neither sockets nor a task of its own.
const PURE: &[&str] = &["buffers", "name", "secret", "sql", "wire", "fault", "state"];

/// Lines of code in one file, comments, blank lines and tests not counted.
const MAX_CODE_LINES: usize = 400;

struct Source {
    room: String,
    path: PathBuf,
    text: String,
    /// Without comments and `#[cfg(test)]` modules.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let relative = path.strip_prefix(&root).unwrap().to_path_buf();
        let first = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let room = first.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        found.push(Source {
            room,
            code: code_of(&text),
            path: relative,
            text,
        });
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn is_test(source: &Source) -> bool {
    source
        .path
        .components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// What the compiler sees of a file outside tests, roughly.
fn code_of(text: &str) -> String {
    let until = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..until]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms that a file names as `crate::room` or in `use crate::{room::…}`.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().last();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        rooms.insert(name);
    }
    rooms
}

#[test]
fn architecture_rooms_name_only_rooms_below_them() {
    let allowed: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    for (at, (room, below)) in ROOMS.iter().enumerate() {
        for other in *below {
            let place = ROOMS.iter().position(|(name, _)| name == other);
            assert!(
                place.is_some_and(|place| place < at),
                "{room} may name {other}, which is not below it"
            );
        }
    }
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_test(source)) {
        if ["lib", "main"].contains(&source.room.as_str()) {
            continue;
        }
        let below = allowed.get(source.room.as_str());
        let below = below.unwrap_or_else(|| panic!("{} is in no room", source.path.display()));
        for name in named_rooms(&source.code) {
            if name != source.room && !below.contains(&name.as_str()) {
                wrong.push(format!("{} names {name}", source.path.display()));
            }
            used.entry(source.room.clone()).or_default().insert(name);
        }
    }
    assert!(
        wrong.is_empty(),
        "edges that the table does not have: {wrong:#?}"
    );
    for (room, below) in ROOMS {
        for other in *below {
            let is_used = used.get(*room).is_some_and(|names| names.contains(*other));
            assert!(
                is_used,
                "the table lets {room} name {other}, which it does not"
            );
        }
    }
}

#[test]
fn architecture_outside_dependencies_have_one_door() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_test(source)) {
        for (dependency, rooms) in DOORS {
            let path = format!("{dependency}::");
            let named = source.code.match_indices(&path).any(|(at, _)| {
                let before = source.code[..at].chars().last();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if named && !rooms.contains(&source.room.as_str()) {
                wrong.push(format!("{} names {dependency}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not through the door: {wrong:#?}");
}

#[test]
fn architecture_logic_has_no_sockets_and_no_clock() {
    for source in sources().iter().filter(|source| !is_test(source)) {
        if !PURE.contains(&source.room.as_str()) {
            continue;
        }
        for word in [
            "tokio",
            "std::net",
            "Instant",
            "SystemTime",
            "std::fs",
            "std::env",
        ] {
            assert!(
                !source.code.contains(word),
                "{} names {word}",
                source.path.display()
            );
        }
    }
}

#[test]
fn architecture_every_file_says_what_it_is_and_stays_small() {
    for source in sources() {
        let path = source.path.display();
        assert!(
            source.text.starts_with("//!"),
            "{path} does not begin with //!"
        );
        for word in ["TODO", "FIXME", "XXX", "unimplemented!", "todo!", "dbg!"] {
            assert!(!source.text.contains(word), "{path} contains {word}");
        }
        let lines = source
            .code
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        assert!(
            is_test(&source) || lines <= MAX_CODE_LINES,
            "{path} has {lines} lines of code"
        );
    }
}
