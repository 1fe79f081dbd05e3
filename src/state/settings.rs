//! The settings that a client has changed, and how to change them again elsewhere.
//!
//! Two sources: statements that are sure to mean the same again (`SET name =
//! literal`, kept as they were spelled), and values that the server named in a
//! check. The text of a replay is ASCII, whatever the values are, and means the
//! same under every setting that a connection may begin with.
//!
//! Not exact to the last bit: the server itself shows a setting of type real with
//! six digits, so that an adopted one may be off by a rounding.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock};

use super::literal::put_literal;
use super::probe::Findings;

/// A client with more than this is asked about instead.
const MAX_ENTRIES: usize = 200;
const MAX_STATEMENT: usize = 4096;
/// DateStyle is set in parts; more spellings than this are not followed.
const MAX_PARTS: usize = 16;

/// Settings that change no statement's meaning, only its surroundings.
const NOT_IN_FINGERPRINT: &[&[u8]] = &[
    b"application_name",
    b"client_min_messages",
    b"idle_in_transaction_session_timeout",
    b"idle_session_timeout",
    b"lock_timeout",
    b"statement_timeout",
    b"transaction_timeout",
];

/// Of this process alone: nobody can look for settings that have one fingerprint.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What one client has changed; empty ones cost a pointer. A copy costs next to nothing
/// until one of the two is changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    changed: Option<Arc<Changed>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Changed {
    /// One for each name, but for DateStyle; in the order in which they were changed
    /// first, in which EXPLAIN (SETTINGS) of a server from 16 on shows them.
    entries: Vec<Entry>,
    /// Custom settings (with a dot) that exist because the client named them:
    /// they never go away, and are '' where they have no value.
    placeholders: Vec<Box<[u8]>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// In lower case.
    name: Box<[u8]>,
    how: How,
    /// Of both: they may be long, and are asked for with each message.
    hash: u64,
}

impl Entry {
    fn new(name: Box<[u8]>, how: How) -> Self {
        let hash = FINGERPRINTS.hash_one((&name, &how));
        Self { name, how, hash }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum How {
    Statement(Box<[u8]>),
    Value(Box<[u8]>),
}

/// When in a replay a setting has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Values that follow are read in it.
    Encoding,
    Any,
    /// May take the right to the others away.
    Role,
    /// May stop the others, or make them talk.
    Late,
}

impl Turn {
    const ALL: [Self; 4] = [Self::Encoding, Self::Any, Self::Role, Self::Late];

    fn of(name: &[u8]) -> Self {
        match name {
            b"client_encoding" => Self::Encoding,
            b"role" => Self::Role,
            _ if NOT_IN_FINGERPRINT.contains(&name) => Self::Late,
            _ => Self::Any,
        }
    }
}

impl Settings {
    /// Notes a statement that set `name` (in lower case) and nothing else, to be
    /// replayed as it is. False if it cannot be kept: only the server knows then.
    #[must_use]
    pub(crate) fn record(&mut self, name: &[u8], statement: &[u8]) -> bool {
        let plain = |byte: &u8| byte.is_ascii() && !matches!(byte, b'\\' | 0);
        if statement.len() > MAX_STATEMENT || !statement.iter().all(plain) {
            return false;
        }
        self.put(name, How::Statement(statement.into()))
    }

    /// Notes a value that `name` (in lower case) was given; as [`Self::record`].
    #[must_use]
    pub(crate) fn record_value(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.put(name, How::Value(value.into()))
    }

    fn put(&mut self, name: &[u8], how: How) -> bool {
        let changed = self.change();
        let entry = Entry::new(name.into(), how);
        let is_same = |old: &Entry| old.name.eq_ignore_ascii_case(name);
        if name != b"datestyle"
            && let Some(at) = changed.entries.iter().position(is_same)
        {
            // Code may spell it in more than one way.
            changed.entries.retain(|old| !is_same(old));
            changed.entries.insert(at, entry);
            return true;
        }
        // `DMY` keeps the style, `ISO` keeps the order. The same again makes its
        // first time meaningless.
        changed.entries.retain(|old| *old != entry);
        let parts = changed.entries.iter().filter(|old| old.name == entry.name);
        if parts.count() >= MAX_PARTS || changed.entries.len() >= MAX_ENTRIES {
            return false;
        }
        changed.entries.push(entry);
        !name.contains(&b'.') || self.create(name)
    }

    /// The client has named a custom setting, with or without lasting effect. False
    /// if it has named too many.
    #[must_use]
    pub(crate) fn create(&mut self, name: &[u8]) -> bool {
        let changed = self.change();
        let placeholders = &mut changed.placeholders;
        let known = placeholders
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name));
        let room = placeholders.len() < MAX_ENTRIES;
        if !known && room {
            placeholders.push(name.into());
        }
        known || room
    }

    /// RESET, or SET to DEFAULT.
    pub(crate) fn reset(&mut self, name: &[u8]) {
        if self.changes(name) {
            self.change().entries.retain(|entry| *entry.name != *name);
        }
        self.shrink();
    }

    /// RESET ALL, which leaves the role alone.
    pub(crate) fn reset_all(&mut self) {
        if !self.entries().is_empty() {
            let entries = &mut self.change().entries;
            entries.retain(|entry| *entry.name == *b"role");
        }
        self.shrink();
    }

    /// DISCARD ALL.
    pub(crate) fn discard_all(&mut self) {
        if !self.entries().is_empty() {
            self.change().entries.clear();
        }
        self.shrink();
    }

    /// The server's truth replaces everything that was thought before, but for the order.
    pub(crate) fn adopt(&mut self, found: &Findings) {
        let mut changed = Changed::default();
        let mut add = |name: &[u8], value: &[u8]| {
            let name = name.to_ascii_lowercase().into();
            changed
                .entries
                .push(Entry::new(name, How::Value(value.into())));
        };
        for (name, value) in found.settings() {
            add(name, value);
        }
        if let Some(role) = found.role() {
            add(b"role", role);
        }
        for (name, value) in found.custom() {
            if !value.is_empty() {
                add(name, value);
            }
            changed.placeholders.push(name.into());
        }
        let known = self.entries();
        changed.entries.sort_by_cached_key(|entry| {
            let place = known.iter().position(|known| known.name == entry.name);
            place.unwrap_or(known.len())
        });
        self.changed = Some(Arc::new(changed));
        self.shrink();
    }

    /// What it is that has changed, and nobody else's.
    fn change(&mut self) -> &mut Changed {
        Arc::make_mut(self.changed.get_or_insert_default())
    }

    fn shrink(&mut self) {
        let empty = |changed: &Changed| changed.entries.is_empty();
        if self
            .changed
            .as_deref()
            .is_some_and(|changed| empty(changed) && changed.placeholders.is_empty())
        {
            self.changed = None;
        }
    }

    /// Nothing to replay.
    pub(crate) const fn is_empty(&self) -> bool {
        self.changed.is_none()
    }

    /// Whether the client has changed `name` (in lower case).
    pub(crate) fn changes(&self, name: &[u8]) -> bool {
        self.entries().iter().any(|entry| *entry.name == *name)
    }

    /// Custom settings that this client ever created, as it spelled them first.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &[u8]> {
        let changed = self.changed.iter();
        changed.flat_map(|changed| changed.placeholders.iter().map(|name| &**name))
    }

    fn entries(&self) -> &[Entry] {
        self.changed
            .as_deref()
            .map_or(&[], |changed| &changed.entries)
    }

    /// What a statement's meaning may depend on; 0 if that is nothing. It takes
    /// two spellings of one value for two values.
    pub(crate) fn fingerprint(&self) -> u64 {
        let matters = |name: &[u8]| !NOT_IN_FINGERPRINT.contains(&name) && !name.contains(&b'.');
        let mut sum = 0_u64;
        let mut parts = 0_u64;
        for entry in self.entries().iter().filter(|entry| matters(&entry.name)) {
            let mut hash = entry.hash;
            if *entry.name == *b"datestyle" {
                parts += 1;
                hash = FINGERPRINTS.hash_one((hash, parts));
            }
            // The order of the others means nothing.
            sum = sum.wrapping_add(hash | 1);
        }
        sum
    }

    /// Whether everything that is replayed is the same, down to its order: who has the
    /// same needs no replay.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.changed, &other.changed) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other) || own == other,
            _ => false,
        }
    }

    /// SQL that makes a fresh connection (of the same startup parameters) have
    /// these settings; nothing if there are none. It returns rows.
    pub(crate) fn replay(&self, out: &mut Vec<u8>) {
        let Some(changed) = &self.changed else { return };
        let start = out.len();
        let mut script = Script {
            out,
            start,
            open: None,
        };
        for turn in Turn::ALL {
            for entry in &changed.entries {
                if Turn::of(&entry.name) == turn {
                    match &entry.how {
                        How::Statement(text) => script.statement(text),
                        How::Value(value) => script.value(changed.spelled(entry), value, false),
                    }
                }
            }
        }
        for name in &changed.placeholders {
            let set = |entry: &Entry| entry.name.eq_ignore_ascii_case(name);
            if !changed.entries.iter().any(set) {
                script.value(name, b"", true);
            }
        }
    }
}

impl Changed {
    /// A custom setting is shown as it was spelled when it was created.
    fn spelled<'a>(&'a self, entry: &'a Entry) -> &'a [u8] {
        let mut spelled = self.placeholders.iter();
        spelled
            .find(|name| name.eq_ignore_ascii_case(&entry.name))
            .unwrap_or(&entry.name)
    }
}

/// Statements with semicolons between them.
struct Script<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// The last statement is a SELECT of so many columns, which may have more.
    open: Option<usize>,
}

impl Script<'_> {
    /// More columns than this a SELECT may not have, by far.
    const MAX_COLUMNS: usize = 500;

    fn separate(&mut self) {
        if self.out.len() > self.start {
            self.out.extend_from_slice(b"; ");
        }
    }

    fn statement(&mut self, text: &[u8]) {
        self.separate();
        self.open = None;
        self.out.extend_from_slice(text);
    }

    fn value(&mut self, name: &[u8], value: &[u8], local: bool) {
        match self.open {
            Some(columns) if columns < Self::MAX_COLUMNS => {
                self.open = Some(columns + 1);
                self.out.extend_from_slice(b", ");
            }
            _ => {
                self.separate();
                self.open = Some(1);
                self.out.extend_from_slice(b"SELECT ");
            }
        }
        self.out.extend_from_slice(b"pg_catalog.set_config(");
        put_literal(name, self.out);
        self.out.push(b',');
        put_literal(value, self.out);
        let end: &[u8] = if local { b",true)" } else { b",false)" };
        self.out.extend_from_slice(end);
    }
}

#[cfg(test)]
mod tests;
