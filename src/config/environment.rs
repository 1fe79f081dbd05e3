//! `PGSLUICE_…` variables and flags: any key, by its path.

use std::collections::BTreeMap;

use super::layer::{Layer, Place};
use super::lookup::{KnownKey, Miss, locate};
use super::meant;
use super::problem::{Invalid, Location, Origin, Problems};
use super::schema::{Path, Repeat, Section};

const PREFIX: &str = "PGSLUICE_";

/// Whether a variable of this name says something about a key.
pub(super) fn is_ours(variable: &str) -> bool {
    variable.starts_with(PREFIX)
}

/// Reads every variable that starts with `PGSLUICE_`; `file` knows the spelling
/// of names that capitals cannot give back.
pub(super) fn variables(
    env: &BTreeMap<String, String>,
    file: &Layer,
    problems: &mut Problems,
) -> Layer {
    let mut layer = Layer::new("environment");
    for (variable, text) in env {
        let Some(path) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        // The test suite's own switches reach the proxies that it starts.
        if from_orchestrator(path, text) || path.starts_with("TEST_") {
            continue;
        }
        let lower = path.to_lowercase();
        let names: Vec<&str> = lower.split("__").collect();
        let origin = Origin::Env(variable.clone());
        match locate(&names, "__") {
            Ok(found) => put(&mut layer, respelled(found, file), text, origin),
            Err(miss) => {
                let guess = || meant::in_environment(PREFIX, &names);
                file_miss(
                    problems,
                    (miss, guess),
                    &at(lower.replace("__", "."), origin),
                );
            }
        }
    }
    layer
}

/// Reads the flags: dotted key to text.
pub(super) fn flags(flags: &BTreeMap<String, String>, problems: &mut Problems) -> Layer {
    let mut layer = Layer::new("flags");
    for (key, text) in flags {
        let names: Vec<&str> = key.split('.').collect();
        let origin = Origin::Flag(key.clone());
        match locate(&names, ".") {
            Ok(found) => put(&mut layer, found, text, origin),
            Err(miss) => {
                let guess = || meant::in_flag(&names);
                file_miss(problems, (miss, guess), &at(key.clone(), origin));
            }
        }
    }
    layer
}

/// What was meant counts as written, so that nothing is called missing for it.
fn file_miss(
    problems: &mut Problems,
    (miss, guess): (Miss, impl FnOnce() -> (Invalid, Option<Path>)),
    at: &Location,
) {
    let (bad, meant) = match miss {
        Miss::Bad(bad) => (bad, None),
        Miss::Unknown => guess(),
    };
    problems.add(at, bad);
    if let Some(path) = meant {
        problems.excuse(path.to_string());
    }
}

/// Kubernetes and docker links describe a service called `pgsluice` to every pod
/// in such variables (`PGSLUICE_SERVICE_HOST`, `PGSLUICE_PORT_5432_TCP_ADDR`);
/// they are no mistake of the user.
fn from_orchestrator(path: &str, text: &str) -> bool {
    path == "PORT" && text.contains("://")
        || path.starts_with("PORT_")
        || path.starts_with("SERVICE_")
}

fn at(key: String, origin: Origin) -> Location {
    Location {
        key,
        origin,
        line: None,
    }
}

fn put(layer: &mut Layer, found: KnownKey, text: &str, origin: Origin) {
    let place = Place { origin, line: None };
    let mut entry = found.path.clone();
    entry.0.pop();
    if entry.0.len() > 1 {
        layer.open(entry, place.clone());
    }
    layer.put_text(found.path, found.key, text, place);
}

/// `PGSLUICE_UPSTREAMS__MY_DB__PORT` means the file's `[upstreams.my-db]` if there
/// is one, else `my_db`.
fn respelled(mut found: KnownKey, file: &Layer) -> KnownKey {
    let section = found.path.0.first().and_then(|name| Section::named(name));
    if let (Some(section), 3) = (section, found.path.0.len())
        && section.repeat == Repeat::Named
    {
        let plain = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
        let written = file.entries(section);
        if let Some(name) = written
            .into_iter()
            .find(|name| plain(name) == plain(&found.path.0[1]))
        {
            found.path.0[1] = name;
        }
    }
    found
}
