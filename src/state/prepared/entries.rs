//! What is kept for a client, and the decisions what to inject for it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::PreparedEntry;
use super::in_flight::{Act, InFlight, Latest, Op};
use super::server::{Holds, ServerStatements};
use super::{ByName, Described, Environment, Injected, Parse, Wait, message};
use crate::wire::frontend::split_cstr;

/// Bytes of definitions that a client may keep.
const BUDGET: usize = 4 << 20;
/// Beyond that names alone are kept, up to here.
const BUDGET_WITH_NAMES: usize = BUDGET + (1 << 20);
/// The longest text of an unnamed statement that is kept.
const MAX_UNNAMED: usize = 64 << 10;
/// What an entry costs besides its bytes, roughly.
const OVERHEAD: usize = 128;

#[derive(Debug)]
pub(super) struct PreparedEntries<T> {
    /// Confirmed by the server; the unnamed one by its empty name.
    pub(super) entries: ByName<PreparedEntry<T>>,
    pub(super) in_flight: InFlight<T>,
    /// Costs of all entries, those in flight included.
    pub(super) bytes: usize,
    /// Confirmed entries without a text.
    pub(super) unkept: usize,
    /// There were more names than could be kept.
    pub(super) overflown: bool,
    pub(super) verifying: Verifying,
    /// See [`ServerStatements::in_line`].
    in_line: u64,
    /// Nobody waits for an answer of [`Verifying`].
    pub(super) trusting: bool,
}

/// A statement was parsed again for a client that had been told what it takes and
/// returns: is it still so?
#[derive(Debug, Default)]
pub(super) enum Verifying {
    #[default]
    Nothing,
    /// The server was asked about this one; `typed`: it was given the types.
    Asked {
        name: Box<[u8]>,
        env: Environment,
        typed: bool,
    },
    /// It has to be parsed with the types that the client was told.
    Retyping(Box<[u8]>),
}

impl<T> Default for PreparedEntries<T> {
    fn default() -> Self {
        Self {
            entries: ByName::default(),
            in_flight: InFlight::default(),
            bytes: 0,
            unkept: 0,
            overflown: false,
            verifying: Verifying::Nothing,
            in_line: 0,
            trusting: false,
        }
    }
}

/// Where injected messages go: their bytes, and what they are.
pub(super) type Sink<'a> = (&'a mut Vec<u8>, &'a mut Vec<Injected>);

/// Numbers of [`ServerStatements::in_line`].
static LINES: AtomicU64 = AtomicU64::new(1);

impl<T> PreparedEntries<T> {
    /// The server holds, or will once all that was written is done, what the client has,
    /// and nothing else.
    pub(super) fn set_in_line(&mut self, server: &mut ServerStatements) {
        self.in_line = LINES.fetch_add(1, Ordering::Relaxed);
        server.in_line = self.in_line;
    }

    pub(super) const fn is_in_line(&self, server: &ServerStatements) -> bool {
        self.in_line != 0 && self.in_line == server.in_line
    }

    /// What the client has is about to change, on this server: no other follows.
    pub(super) const fn changes_on(&mut self, server: &ServerStatements) {
        if self.in_line != server.in_line {
            self.in_line = 0;
        }
    }

    /// The server has skipped this one, which may have been to bring both in line.
    pub(super) fn skipped(&self, server: &mut ServerStatements, op: &Op<T>) {
        let differs = match server.holds(&op.name) {
            Holds::Own => false,
            Holds::Foreign => true,
            Holds::Nothing => self.entries.contains_key(&op.name),
        };
        if differs || op.act.injected() {
            server.in_line = 0;
        }
    }

    /// Makes sure that the server has the client's statement of this name, or none.
    pub(super) fn ensure(
        &mut self,
        server: &mut ServerStatements,
        name: &[u8],
        env: Environment,
        sink: Sink<'_>,
    ) -> Result<(), Wait> {
        match self.in_flight.latest(name) {
            Some(Latest::Unsure) => return Err(Wait),
            Some(Latest::Plain) => return Ok(()),
            // It was closed, to make room or for its owner's absence.
            Some(Latest::Sure(Act::InjectedClose)) => {
                self.restore(server, name, (env, false), sink);
                return Ok(());
            }
            Some(Latest::Sure(_)) => return Ok(()),
            None => {}
        }
        if server.use_own(name) {
            return Ok(());
        }
        let kept = self.entries.get_mut(name).map(|entry| {
            // What it was described as was told under these conditions.
            let now = entry.described.is_none().then_some(env);
            ((entry.env, now), &mut entry.text)
        });
        match (server.holds(name), kept) {
            (Holds::Nothing, None) => {}
            (Holds::Nothing, Some(_)) => self.restore(server, name, (env, false), sink),
            (_, None) => self.inject_close(name, sink),
            // It cannot be parsed again: better a foreign error than a lost statement.
            (_, Some((_, None))) => {}
            (_, Some(((parsed, now), Some(text)))) => {
                if let Some(shared) = server.adopt(name, text, parsed, now) {
                    *text = shared;
                } else {
                    let (out, injected) = sink;
                    // A Parse replaces the unnamed statement.
                    if !name.is_empty() {
                        self.inject_close(name, (out, injected));
                    }
                    self.restore(server, name, (env, false), (out, injected));
                }
            }
        }
        Ok(())
    }

    /// Parses the client's statement of this name again, if it has one. The server
    /// has none by then.
    /// `typed`: with the types that the client was told.
    fn restore(
        &mut self,
        server: &ServerStatements,
        name: &[u8],
        (env, typed): (Environment, bool),
        sink: Sink<'_>,
    ) {
        let Some(entry) = self.entries.get(name) else {
            return;
        };
        let Some(text) = entry.text.clone() else {
            return;
        };
        let told = entry.described.as_ref();
        let types = told.and_then(|told| told.types.clone()).filter(|_| typed);
        let verify = told.is_some() && entry.env != env && !self.trusting;
        let (out, injected) = sink;
        if !name.is_empty() {
            self.make_room(server, name, (out, injected));
        }
        let act = match types {
            Some(types) => {
                message::parse_typed(name, &text, &types, out);
                Act::InjectedTyped(env)
            }
            None => {
                message::parse(name, &text, out);
                Act::InjectedParse(text, env)
            }
        };
        injected.push(Injected::Parse);
        self.in_flight.push(name, act, false);
        if verify {
            message::describe(name, out);
            injected.extend([Injected::Describe, Injected::Flush]);
            let name = name.into();
            self.verifying = Verifying::Asked { name, env, typed };
        }
    }

    /// What the server says of the statement that was parsed again.
    pub(super) fn verified(&mut self, found: &Described) {
        let Verifying::Asked { name, env, typed } = std::mem::take(&mut self.verifying) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&name) else {
            return;
        };
        let Some(told) = &entry.described else { return };
        if !typed && !told.takes_the_same(found) {
            self.verifying = Verifying::Retyping(name);
        } else if !told.returns_the_same(found) {
            entry.refused = true;
        } else if !typed {
            entry.env = env;
        }
    }

    /// Parses a statement once more that took other parameters than the client was
    /// told.
    pub(super) fn retype(&mut self, server: &ServerStatements, env: Environment, sink: Sink<'_>) {
        let Verifying::Retyping(name) = std::mem::take(&mut self.verifying) else {
            return;
        };
        let (out, injected) = sink;
        if !name.is_empty() {
            self.inject_close(&name, (out, injected));
        }
        self.restore(server, &name, (env, true), (out, injected));
    }

    fn inject_close(&mut self, name: &[u8], sink: Sink<'_>) {
        let (out, injected) = sink;
        message::close(name, out);
        injected.push(Injected::Close);
        self.in_flight.push(name, Act::InjectedClose, false);
    }

    /// Closes what is too much with one more statement on the server.
    pub(super) fn make_room(&mut self, server: &ServerStatements, name: &[u8], sink: Sink<'_>) {
        let (out, injected) = sink;
        let keep =
            |in_flight: &InFlight<T>, other: &[u8]| other == name || in_flight.concerns(other);
        let surplus = server.surplus(self.in_flight.growth(), |other| {
            keep(&self.in_flight, other)
        });
        for surplus in surplus {
            self.inject_close(surplus, (out, injected));
        }
    }

    /// Neither side has anything of this name.
    pub(super) fn is_fresh(&self, server: &ServerStatements, name: &[u8]) -> bool {
        server.holds(name) == Holds::Nothing && !self.entries.contains_key(name)
    }

    /// What is kept of a Parse; `None` if nothing can be.
    pub(super) fn keep(
        &mut self,
        server: &mut ServerStatements,
        parse: Parse<'_, T>,
        env: Environment,
    ) -> Option<PreparedEntry<T>> {
        let least = parse.name.len() + OVERHEAD;
        let fits = |rest: &&[u8]| {
            let short = !parse.name.is_empty() || rest.len() <= MAX_UNNAMED;
            short && self.bytes + least + rest.len() <= BUDGET
        };
        let rest = parse.rest.filter(fits);
        let cost = least + rest.map_or(0, <[u8]>::len);
        if self.bytes + cost > BUDGET_WITH_NAMES && !parse.name.is_empty() {
            self.overflown = true;
            server.mark_untracked();
            return None;
        }
        self.bytes += cost;
        let known = || self.entries.get(parse.name).and_then(|e| e.text.clone());
        let text = rest.map(|rest| {
            known()
                .filter(|known| **known == *rest)
                .or_else(|| server.shared(parse.name, rest))
                .unwrap_or_else(|| rest.into())
        });
        let query = rest.and_then(|rest| Some(split_cstr(rest)?.0.len()));
        Some(PreparedEntry {
            text,
            query: query.unwrap_or(usize::MAX),
            env,
            note: parse.note,
            cost,
            described: None,
            refused: false,
        })
    }

    pub(super) fn insert(&mut self, name: Box<[u8]>, entry: PreparedEntry<T>) {
        self.unkept += usize::from(entry.text.is_none());
        let old = self.entries.insert(name, entry);
        self.forget(old);
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        let old = self.entries.remove(name);
        self.forget(old);
    }

    pub(super) fn remove_named(&mut self) {
        let unnamed = self.entries.remove_entry(&b""[..]);
        let named = std::mem::take(&mut self.entries);
        for entry in named.into_values() {
            self.forget(Some(entry));
        }
        self.entries.extend(unnamed);
        self.overflown = false;
    }

    fn forget(&mut self, old: Option<PreparedEntry<T>>) {
        if let Some(old) = old {
            self.bytes -= old.cost;
            self.unkept -= usize::from(old.text.is_none());
        }
    }
}
