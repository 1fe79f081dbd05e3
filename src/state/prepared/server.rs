//! What one server connection holds, as far as the server has confirmed it.

use std::sync::Arc;

use super::entry::key;
use super::{ByName, Environment};

/// The prepared statements of one server connection. The unnamed one is among
/// them, by its empty name.
#[derive(Debug, Default)]
pub(crate) struct ServerStatements {
    /// `max_prepared_statements`: named ones beyond it are closed, the least
    /// recently used first.
    limit: usize,
    held: ByName<ServerStatement>,
    /// Number of the client that has the connection. It changes with every hand
    /// over, so what bears another number is foreign: no need to visit it then.
    tenure: u64,
    /// Uses so far: the clock of "recently".
    uses: u64,
    state: Flags,
    /// The client that bears the same number, which is never given again, has exactly
    /// what is held, and nothing else; 0 is nobody's.
    pub(super) in_line: u64,
}

#[derive(Debug, Default)]
struct Flags {
    /// SQL that names statements was let through. It may still be on its way, so
    /// nothing may be closed that would have to be parsed again behind it.
    aligned: bool,
    /// It holds statements that are not in `held`.
    untracked: bool,
}

/// One statement on the server.
#[derive(Debug)]
pub(super) struct ServerStatement {
    /// `None`: nobody can tell, so it can be closed but not shared.
    pub(super) text: Option<Arc<[u8]>>,
    /// At its Parse.
    pub(super) env: Environment,
    tenure: u64,
    used: u64,
    /// It was another client's first.
    adopted: bool,
}

/// Whose instance of a name the server holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    /// The client's own: what the client has of this name.
    Own,
    Foreign,
}

impl ServerStatements {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            // Zero is nobody's.
            tenure: 1,
            ..Self::default()
        }
    }

    /// The connection goes to another client: what it holds is foreign to it.
    pub(crate) fn handed_over(&mut self) {
        self.tenure += 1;
        self.state.aligned = false;
        self.in_line = 0;
    }

    /// The scrub sent DISCARD ALL or DEALLOCATE ALL, as a simple Query.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.state = Flags::default();
        self.in_line = 0;
    }

    /// A simple Query of the proxy's own goes first: it destroys the unnamed one.
    pub(crate) fn unnamed_destroyed(&mut self) {
        self.held.remove(&b""[..]);
    }

    /// The server refused a plan, nobody knows which. The client's own are refused
    /// again and again on a plain server, too; those that others made are not the
    /// client's fault, and are made anew.
    pub(crate) fn plan_refused(&mut self) {
        self.in_line = 0;
        for held in self.held.values_mut().filter(|held| held.adopted) {
            held.text = None;
            held.tenure = 0;
        }
    }

    /// The server refused a plan (0A000, "cached plan must not change result
    /// type"): the next use parses anew.
    #[cfg_attr(not(test), expect(dead_code, reason = "the server names no statement"))]
    pub(crate) fn stale(&mut self, name: &[u8]) {
        self.in_line = 0;
        if let Some(held) = self.held.get_mut(key(name)) {
            held.text = None;
            held.tenure = 0;
        }
    }

    /// It holds statements that could not be noted. Another client may have the
    /// connection only after [`clear`](Self::clear).
    pub(crate) fn must_be_cleared(&self) -> bool {
        self.state.untracked
    }

    /// How many named statements it holds.
    pub(crate) fn named(&self) -> usize {
        self.held.len() - usize::from(self.held.contains_key(&b""[..]))
    }

    pub(super) fn holds(&self, name: &[u8]) -> Holds {
        match self.held.get(name) {
            None => Holds::Nothing,
            Some(held) if held.tenure == self.tenure => Holds::Own,
            Some(_) => Holds::Foreign,
        }
    }

    /// Notes a use of `name`; says whether it is the client's own.
    pub(super) fn use_own(&mut self, name: &[u8]) -> bool {
        self.uses += 1;
        match self.held.get_mut(name) {
            Some(held) if held.tenure == self.tenure => {
                held.used = self.uses;
                true
            }
            _ => false,
        }
    }

    /// Makes the foreign `name` the client's own if it is what a Parse of `text`
    /// would make, and returns the text that both can share from now on. Without
    /// `now` only what was parsed under the same conditions will do.
    pub(super) fn adopt(
        &mut self,
        name: &[u8],
        text: &Arc<[u8]>,
        parsed: Environment,
        now: Option<Environment>,
    ) -> Option<Arc<[u8]>> {
        let held = self.held.get_mut(name)?;
        let shared = held.text.as_ref()?;
        let meant = match now {
            Some(now) => [parsed.settings, now.settings].contains(&held.env.settings),
            None => held.env == parsed,
        };
        if !meant || held.env.epoch < parsed.epoch || !same(shared, text) {
            return None;
        }
        held.tenure = self.tenure;
        held.used = self.uses;
        held.adopted = true;
        Some(shared.clone())
    }

    /// The text of `name`, if it is this one.
    pub(super) fn shared(&self, name: &[u8], text: &[u8]) -> Option<Arc<[u8]>> {
        let held = self.held.get(name)?.text.as_ref()?;
        (**held == *text).then(|| held.clone())
    }

    /// The server confirmed a Parse. `own`: the client has the same.
    pub(super) fn insert(
        &mut self,
        name: Box<[u8]>,
        text: Option<Arc<[u8]>>,
        env: Environment,
        own: bool,
    ) {
        self.uses += 1;
        if !own {
            self.in_line = 0;
        }
        let held = ServerStatement {
            text,
            env,
            tenure: if own { self.tenure } else { 0 },
            used: self.uses,
            adopted: false,
        };
        self.held.insert(name, held);
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        self.held.remove(name);
    }

    /// The named ones are gone. The unnamed one survives DEALLOCATE ALL.
    pub(super) fn remove_named(&mut self) {
        self.held.retain(|name, _| name.is_empty());
        self.state.untracked = false;
    }

    pub(super) fn align(&mut self) {
        self.state.aligned = true;
    }

    pub(super) fn mark_untracked(&mut self) {
        self.state.untracked = true;
    }

    /// Names of named statements that are not the client's.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &[u8]> {
        let foreign = |held: &ServerStatement| held.tenure != self.tenure;
        self.held
            .iter()
            .filter(move |(name, held)| !name.is_empty() && foreign(held))
            .map(|(name, _)| &**name)
    }

    /// The statements to close for one more, when `coming` are on their way: foreign
    /// before own, then the least recently used. Linear.
    pub(super) fn surplus(&self, coming: isize, keep: impl Fn(&[u8]) -> bool) -> Vec<&[u8]> {
        let named = self.named().saturating_add_signed(coming);
        if self.state.aligned || named < self.limit {
            return Vec::new();
        }
        let rank = |held: &ServerStatement| (held.tenure == self.tenure, held.used);
        let candidates = self.held.iter().filter(|(name, held)| {
            // What has no text could not be parsed again.
            let own = held.tenure == self.tenure;
            !(name.is_empty() || keep(name) || own && held.text.is_none())
        });
        let excess = named - self.limit + 1;
        if excess == 1 {
            let first = candidates.min_by_key(|(_, held)| rank(held));
            return first.map(|(name, _)| &**name).into_iter().collect();
        }
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_unstable_by_key(|(_, held)| rank(held));
        candidates.truncate(excess);
        candidates.into_iter().map(|(name, _)| &**name).collect()
    }
}

fn same(one: &Arc<[u8]>, other: &Arc<[u8]>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
