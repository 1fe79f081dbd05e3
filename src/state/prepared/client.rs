//! The calls of a session about its client's statements.

use std::sync::Arc;

use super::entries::{PreparedEntries, Verifying};
use super::entry::key;
use super::in_flight::Act;
use super::server::{Holds, ServerStatements};
use super::{Described, Environment, Injected, Parse, Wait, message};

/// One client's prepared statements at protocol level; `T` is what the session
/// remembers of a statement.
#[derive(Debug)]
pub(crate) struct ClientStatements<T> {
    inner: Option<Box<PreparedEntries<T>>>,
    /// Simple Queries in flight from before there was anything to keep.
    queries: u32,
}

impl<T> Default for ClientStatements<T> {
    fn default() -> Self {
        Self {
            inner: None,
            queries: 0,
        }
    }
}

/// The messages of the client's that are about to be forwarded.
impl<T> ClientStatements<T> {
    /// A Parse.
    ///
    /// # Errors
    /// [`Wait`]: hold it back.
    pub(crate) fn parse(
        &mut self,
        server: &mut ServerStatements,
        parse: Parse<'_, T>,
        env: Environment,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Wait> {
        let inner = self.inner.get_or_insert_default();
        let name = key(parse.name);
        let mut injected = Vec::new();
        // A Parse replaces the unnamed statement, whosever it was. A name that is
        // taken is the server's to complain about, if the client took it.
        if !name.is_empty() {
            inner.trusting = true;
            let ensured = inner.ensure(server, name, env, (out, &mut injected));
            inner.trusting = false;
            ensured?;
            if server.holds(name) == Holds::Nothing && !inner.in_flight.concerns(name) {
                inner.make_room(server, name, (out, &mut injected));
            }
        }
        let fresh = inner.is_fresh(server, name);
        let entry = inner.keep(server, Parse { name, ..parse }, env);
        inner.in_flight.push(name, Act::Parse(entry), fresh);
        Ok(injected)
    }

    /// A Bind, or a Describe of the statement `name`. Allocates nothing when nothing
    /// has to be injected.
    ///
    /// # Errors
    /// [`Wait`]: hold it back.
    pub(crate) fn uses(
        &mut self,
        server: &mut ServerStatements,
        name: &[u8],
        env: Environment,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Wait> {
        let name = key(name);
        let mut injected = Vec::new();
        if self.inner.is_none() && server.holds(name) == Holds::Nothing {
            return Ok(injected);
        }
        let inner = self.inner.get_or_insert_default();
        match inner.verifying {
            Verifying::Asked { .. } => return Err(Wait),
            Verifying::Retyping(_) => inner.retype(server, env, (out, &mut injected)),
            Verifying::Nothing => inner.ensure(server, name, env, (out, &mut injected))?,
        }
        Ok(injected)
    }

    /// A Close of the statement `name`: it succeeds whatever the server holds, so
    /// nothing is ever injected.
    pub(crate) fn close(&mut self, server: &ServerStatements, name: &[u8]) {
        let name = key(name);
        let inner = self.inner.get_or_insert_default();
        let fresh = inner.is_fresh(server, name);
        inner.in_flight.push(name, Act::Close, fresh);
    }

    /// A simple Query: it destroys the unnamed statement.
    pub(crate) fn query(&mut self, server: &ServerStatements) {
        match &mut self.inner {
            None => self.queries += 1,
            Some(inner) => {
                let fresh = inner.is_fresh(server, b"");
                inner.in_flight.push(b"", Act::Query, fresh);
            }
        }
    }

    /// A Sync.
    pub(crate) fn sync(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.in_flight.sync();
        }
    }

    /// SQL comes next in which statements are named or listed: PREPARE, EXECUTE,
    /// DEALLOCATE, DISCARD ALL, pg_prepared_statements. Makes the server hold exactly
    /// what this client prepared. If anything was written, and `sync` is set, it ends
    /// with a Sync: right before a simple Query, unless the client has sent extended
    /// messages without a Sync of its own behind them (it would end their skipping).
    ///
    /// # Errors
    /// [`Wait`]: hold it back.
    pub(crate) fn align(
        &mut self,
        server: &mut ServerStatements,
        env: Environment,
        sync: bool,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Wait> {
        let mut injected = Vec::new();
        if let Some(inner) = &self.inner
            && inner.in_flight.is_unsure()
        {
            return Err(Wait);
        }
        // Mostly it is so already, and then nobody goes through all names.
        if let Some(inner) = &self.inner
            && inner.is_in_line(server)
        {
            server.align();
            return Ok(injected);
        }
        let mut names: Vec<Box<[u8]>> = server.foreign().map(Into::into).collect();
        if let Some(inner) = &self.inner {
            let known = inner.entries.keys().filter(|name| !name.is_empty());
            let there =
                |name: &[u8]| server.holds(name) == Holds::Own && !inner.in_flight.concerns(name);
            names.extend(known.filter(|name| !there(name)).cloned());
        }
        server.align();
        if names.is_empty() {
            if let Some(inner) = &mut self.inner {
                inner.set_in_line(server);
            }
            return Ok(injected);
        }
        let inner = self.inner.get_or_insert_default();
        inner.trusting = true;
        let sink = (&mut *out, &mut injected);
        let ensured = names.iter().try_fold(sink, |(out, injected), name| {
            inner.ensure(server, name, env, (&mut *out, &mut *injected))?;
            Ok((out, injected))
        });
        let ensured = ensured.map(drop);
        inner.trusting = false;
        ensured?;
        inner.set_in_line(server);
        if sync && !injected.is_empty() {
            message::sync(out);
            injected.push(Injected::Sync);
            inner.in_flight.sync();
        }
        Ok(injected)
    }
}

/// The server's replies, in order.
impl<T> ClientStatements<T> {
    /// ParseComplete, injected or not.
    pub(crate) fn parsed(&mut self, server: &mut ServerStatements) {
        let op = self.inner.as_mut().and_then(|inner| inner.in_flight.pop());
        let (Some(inner), Some(op)) = (&mut self.inner, op) else {
            return;
        };
        inner.changes_on(server);
        match op.act {
            Act::Parse(Some(entry)) => {
                server.insert(op.name.clone(), entry.text.clone(), entry.env, true);
                inner.insert(op.name, entry);
            }
            Act::Parse(None) => {
                inner.remove(&op.name);
                inner.overflown = true;
                server.remove(&op.name);
                server.mark_untracked();
            }
            // No other client would get the same of this text.
            Act::InjectedTyped(env) => server.insert(op.name, None, env, true),
            Act::InjectedParse(text, env) => {
                // DEALLOCATE ALL may have come in between.
                let own = inner.entries.get(&op.name);
                let kept = own.and_then(|entry| entry.text.as_ref());
                let own = kept.is_some_and(|kept| Arc::ptr_eq(kept, &text));
                server.insert(op.name, Some(text), env, own);
            }
            _ => debug_assert!(false, "ParseComplete does not answer a Parse"),
        }
    }

    /// CloseComplete of a statement, injected or not.
    pub(crate) fn closed(&mut self, server: &mut ServerStatements) {
        let op = self.inner.as_mut().and_then(|inner| inner.in_flight.pop());
        let (Some(inner), Some(op)) = (&mut self.inner, op) else {
            return;
        };
        inner.changes_on(server);
        match op.act {
            Act::Close => inner.remove(&op.name),
            Act::InjectedClose => {}
            _ => debug_assert!(false, "CloseComplete does not answer a Close"),
        }
        server.remove(&op.name);
    }

    /// ReadyForQuery of a simple Query, whether or not it failed itself.
    pub(crate) fn queried(&mut self, server: &mut ServerStatements) {
        server.remove(b"");
        if self.queries > 0 {
            self.queries -= 1;
        } else if let Some(inner) = &mut self.inner {
            let op = inner.in_flight.pop();
            debug_assert!(matches!(op.map(|op| op.act), Some(Act::Query)));
            inner.remove(b"");
        }
    }

    /// An error made the server skip `n` of the messages in flight: of Parse, Close of
    /// a statement, Query, the client's own and injected ones alike. `begun`: the
    /// first of them is what failed, and not because the message itself was
    /// malformed (08P01, 22021), which is found before anything is done.
    pub(crate) fn failed(&mut self, server: &mut ServerStatements, n: usize, begun: bool) {
        if let Some(inner) = &mut self.inner {
            inner.verifying = Verifying::Nothing;
        }
        for at in 0..n {
            if self.queries > 0 {
                self.queries -= 1;
                continue;
            }
            let Some(inner) = &mut self.inner else { return };
            let Some(op) = inner.in_flight.pop() else {
                return;
            };
            inner.skipped(server, &op);
            let destroys = at == 0 && begun && op.name.is_empty();
            match op.act {
                Act::Parse(entry) => {
                    inner.bytes -= entry.map_or(0, |entry| entry.cost);
                    if destroys {
                        inner.remove(b"");
                        server.remove(b"");
                    }
                }
                // To the client this is a Bind that failed.
                Act::InjectedParse(..) | Act::InjectedTyped(..) if destroys => server.remove(b""),
                _ => {}
            }
        }
    }

    /// The client was told what `name` takes and returns.
    pub(crate) fn described(&mut self, name: &[u8], told: Described) {
        let inner = self.inner.as_mut();
        if let Some(entry) = inner.and_then(|inner| inner.entries.get_mut(key(name))) {
            entry.described = Some(Box::new(told));
        }
    }

    /// The reply to an injected Describe.
    pub(crate) fn verified(&mut self, found: &Described) {
        if let Some(inner) = &mut self.inner {
            inner.verified(found);
        }
    }

    /// DEALLOCATE ALL or DISCARD ALL is complete. What is in flight was sent behind it
    /// and stays; so does the unnamed statement.
    pub(crate) fn all_deallocated(&mut self, server: &mut ServerStatements) {
        server.remove_named();
        if let Some(inner) = &mut self.inner {
            inner.changes_on(server);
            inner.remove_named();
        }
    }

    /// DEALLOCATE of this name is complete, if the session can tell the name.
    pub(crate) fn deallocated(&mut self, server: &mut ServerStatements, name: &[u8]) {
        let name = key(name);
        server.remove(name);
        if let Some(inner) = &mut self.inner {
            inner.changes_on(server);
            inner.remove(name);
        }
    }
}

/// Questions.
impl<T> ClientStatements<T> {
    /// Of the definition that a Bind forwarded now would use. `None`: there is none,
    /// or it could not be kept.
    pub(crate) fn note(&self, name: &[u8]) -> Option<&T> {
        let name = key(name);
        let inner = self.inner.as_ref()?;
        match inner.in_flight.latest_act(name) {
            Some(Act::Parse(entry)) => entry.as_ref().map(|entry| &entry.note),
            Some(Act::Close | Act::Query) => None,
            _ => inner.entries.get(name).map(|entry| &entry.note),
        }
    }

    /// The query of that definition, if it was kept.
    pub(crate) fn text(&self, name: &[u8]) -> Option<&[u8]> {
        let name = key(name);
        let inner = self.inner.as_ref()?;
        let entry = match inner.in_flight.latest_act(name) {
            Some(Act::Parse(entry)) => entry.as_ref()?,
            Some(Act::Close | Act::Query) => return None,
            _ => inner.entries.get(name)?,
        };
        entry.text.as_deref()?.get(..entry.query)
    }

    /// Replaces what [`ClientStatements::note`] returns.
    pub(crate) fn note_anew(&mut self, name: &[u8], note: T) {
        let name = key(name);
        let Some(inner) = &mut self.inner else { return };
        let entry = match inner.in_flight.latest_act_mut(name) {
            Some(Act::Parse(entry)) => entry.as_mut(),
            _ => inner.entries.get_mut(name),
        };
        if let Some(entry) = entry {
            entry.note = note;
        }
    }

    /// The server would refuse a plan for `name`: what it returns has changed since
    /// the client prepared it.
    pub(crate) fn is_refused(&self, name: &[u8]) -> bool {
        let name = key(name);
        self.inner.as_ref().is_some_and(|inner| {
            !inner.in_flight.concerns(name)
                && inner.entries.get(name).is_some_and(|entry| entry.refused)
        })
    }

    /// Nothing that was announced is without a reply.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.queries == 0
            && self
                .inner
                .as_ref()
                .is_none_or(|inner| inner.in_flight.is_empty())
    }

    /// It has a statement that could not be kept, so it can be found on its present
    /// connection only.
    pub(crate) fn must_stay(&self) -> bool {
        self.inner
            .as_ref()
            .is_some_and(|inner| inner.unkept > 0 || inner.overflown)
    }
}
