//! What every part of `resolve` works with, and the checks that several of them make.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::app_env;
use crate::config::layer::{Merged, Set};
use crate::config::problem::{Invalid, Location, Origin, Problems};
use crate::config::schema::{Section, env_name};
use crate::config::values::Keepalive;

/// What every part of `resolve` works with.
pub(super) struct Resolver<'a> {
    pub(super) merged: &'a Merged,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) problems: &'a mut Problems,
}

pub(super) fn zero_is_none(set: &Set<u32>) -> Option<u32> {
    Some(set.value).filter(|count| *count > 0)
}

pub(super) fn at_least_one(desk: &mut Resolver<'_>, set: &Set<u32>) -> u32 {
    if set.value == 0 {
        desk.problems.add(
            &set.at,
            Invalid::new("must be at least 1", "write a number greater than 0"),
        );
    }
    set.value
}

pub(super) fn some_time(desk: &mut Resolver<'_>, set: &Set<Duration>) -> Duration {
    if set.value.is_zero() {
        desk.problems.add(
            &set.at,
            Invalid::new("must be longer than 0", "write for example \"30s\""),
        );
    }
    set.value
}

/// The four settings of TCP liveness, under either side's names.
pub(super) struct KeepaliveKeys<'a> {
    pub(super) idle: &'a Set<Duration>,
    pub(super) interval: &'a Set<Duration>,
    pub(super) count: &'a Set<u32>,
    pub(super) user_timeout: &'a Set<Duration>,
}

pub(super) fn keepalive(desk: &mut Resolver<'_>, keys: &KeepaliveKeys<'_>) -> Keepalive {
    // The kernel counts whole seconds up to 32767, and probes up to 127.
    for set in [keys.idle, keys.interval] {
        let whole = set.value.subsec_nanos() == 0;
        if !whole || !(1..=32_767).contains(&set.value.as_secs()) {
            let bad = Invalid::new(
                "must be whole seconds, from 1s to 32767s",
                "write for example \"30s\"",
            );
            desk.problems.add(&set.at, bad);
        }
    }
    if !(1..=127).contains(&keys.count.value) {
        desk.problems.add(
            &keys.count.at,
            Invalid::new("must be from 1 to 127", "write for example 3"),
        );
    }
    if keys.user_timeout.value.as_millis() > i32::MAX as u128 {
        desk.problems.add(
            &keys.user_timeout.at,
            Invalid::new("is too long", "write at most \"24d\""),
        );
    }
    Keepalive {
        idle: keys.idle.value,
        interval: keys.interval.value,
        count: keys.count.value,
        user_timeout: keys.user_timeout.value,
    }
}

/// Reads every entry of a repeated section: its name and its table.
pub(super) fn entries(desk: &Resolver<'_>, section: &Section) -> Vec<String> {
    desk.merged.entries(section)
}

/// A key of an entry that must be written, and how to write it in the kind of
/// source that the entry came from. `at` is the entry.
pub(super) fn missing(
    at: &Location,
    (section, entry): (&Section, &str),
    key: &str,
    fix: &str,
) -> (Location, Invalid) {
    let mut at = at.clone();
    at.key = format!("{}.{key}", at.key);
    let fix = match &at.origin {
        Origin::Env(variable) => {
            let own = || env_name(section, entry, key);
            let name =
                app_env::name_of(variable, section.name, key).map_or_else(own, str::to_owned);
            format!("set {name}; in a file, {fix}")
        }
        Origin::Default | Origin::File(_) | Origin::Flag(_) => fix.to_owned(),
    };
    (at, Invalid::new("is missing", fix))
}
