//! What a text does, digested once.
//!
//! Small, so that it can be kept with every prepared statement: what is rare is
//! behind a pointer that clones share.

use std::sync::Arc;

use super::hold::{Cleanup, HiddenCode, HoldReason, Leftovers, SequenceUse};
use super::{dynamic_settings, spelling};
use crate::sql::effects::{Certainty, Marks};
use crate::sql::kind::Command;
use crate::sql::{Dialect, Statement, statements};

mod classify;

/// What the catalog proves of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Clean,
    /// It may leave a value to currval and lastval, and nothing else.
    Sequence,
    Unproven,
    /// The same, and nobody has looked.
    Unjudged,
    /// It may leave what cannot even be asked for.
    Hidden,
    /// It may leave what only the server's process has.
    Library,
}

/// Whether a text names or lists prepared statements, so that the connection has
/// to hold exactly the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Alignment {
    #[default]
    None,
    /// It runs code that does not show, which might.
    Perhaps,
    Needed,
}

/// Objects that initdb made have lesser numbers.
const FIRST_OF_USERS: u32 = 16384;

/// Yes-or-no answers about a text; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traits(u16);

impl Traits {
    pub(super) const BEGINS: Self = Self(1);
    pub(super) const COMMITS: Self = Self(1 << 1);
    /// Savepoints and the like: what a COMMIT keeps is no longer simple.
    pub(super) const DIVIDES: Self = Self(1 << 2);
    pub(super) const LOGIN_SETTINGS: Self = Self(1 << 3);
    /// May remove what a connection is held for.
    pub(super) const RELEASES: Self = Self(1 << 4);
    pub(super) const SEVERAL: Self = Self(1 << 5);
    /// Defines code that makes custom settings of names that do not show.
    pub(super) const HIDES: Self = Self(1 << 6);
    /// Code runs that nobody has looked at.
    pub(super) const UNJUDGED: Self = Self(1 << 7);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A change of a setting that can be repeated elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SettingChange {
    Set {
        name: Box<[u8]>,
        statement: Box<[u8]>,
    },
    Value {
        name: &'static [u8],
        value: &'static [u8],
    },
    Reset(Box<[u8]>),
    ResetAll,
}

/// What few texts have.
#[derive(Debug, Clone, Default)]
struct RareEffects {
    changes: Vec<SettingChange>,
    created: Vec<Box<[u8]>>,
    suspected: Vec<Box<[u8]>>,
    defined: Vec<Box<[u8]>>,
    alone: Option<Box<[u8]>>,
    /// Prepared statements that it removes by name.
    freed: Vec<Box<[u8]>>,
}

/// What all statements of a text do.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatementEffects {
    marks: Marks,
    leaves: Leftovers,
    traits: Traits,
    alignment: Alignment,
    rare: Option<Arc<RareEffects>>,
}

/// Digests a Query's or a Parse's text. `proven` is asked about each statement
/// whose text alone is no proof.
pub(crate) fn digest(
    text: &[u8],
    dialect: Dialect,
    proven: impl Fn(&Statement<'_>) -> Proof,
) -> StatementEffects {
    let mut digest = StatementEffects::default();
    let mut rare = RareEffects::default();
    let mut count = 0_usize;
    for statement in statements(text, dialect) {
        count += 1;
        digest.add(&statement, &mut rare, &proven);
    }
    if count > 1 {
        digest.traits.add(Traits::SEVERAL);
        if digest.marks.has(Marks::TRANSACTION) {
            digest.traits.add(Traits::DIVIDES);
            if !rare.changes.is_empty() {
                rare.changes.clear();
                digest.check(HoldReason::Setting);
            }
        }
    }
    let RareEffects {
        changes,
        created,
        suspected,
        defined,
        alone,
        freed,
    } = &rare;
    let names = [created, suspected, defined, freed];
    let empty = changes.is_empty() && names.iter().all(|names| names.is_empty());
    if !empty || alone.is_some() {
        digest.rare = Some(Arc::new(rare));
    }
    digest
}

impl StatementEffects {
    /// Of a FunctionCall: a function by its number.
    pub(crate) fn function(number: Option<u32>) -> Self {
        let mut digest = Self::default();
        digest.code(HiddenCode::Unjudged);
        if number.is_none_or(|number| number >= FIRST_OF_USERS) {
            digest.traits.add(Traits::UNJUDGED);
        }
        digest
    }

    /// Of a text that was not kept: it may be anything.
    pub(crate) fn unknown() -> Self {
        Self {
            leaves: Leftovers::hard(HoldReason::Unknown, Cleanup::Close),
            alignment: Alignment::Needed,
            ..Self::default()
        }
    }

    /// Whether nothing of the text itself is kept: no name, no value.
    pub(super) const fn depends_on_marks_alone(&self) -> bool {
        self.rare.is_none()
    }

    pub(crate) const fn needs_alignment(&self) -> Alignment {
        self.alignment
    }

    /// Plans get stale, and so does what was proven from the catalog.
    pub(crate) fn ddl(&self) -> bool {
        self.marks.has(Marks::DDL) || self.leaves.hard == Some(HoldReason::Unknown)
    }

    /// Why its client will have to keep its connection, as far as the text shows.
    pub(crate) fn pins(&self) -> Option<HoldReason> {
        let leaves = &self.leaves;
        let is_state = |reason: &HoldReason| {
            !matches!(
                reason,
                HoldReason::Function
                    | HoldReason::Setting
                    | HoldReason::Role
                    | HoldReason::Sequence
            )
        };
        // What is only suspected of a text that cannot be read may be nothing.
        let known = |reason: &HoldReason| is_state(reason) && *reason != HoldReason::Unknown;
        leaves
            .hard
            .filter(known)
            .or_else(|| leaves.check.filter(known))
    }

    pub(crate) fn listens(&self) -> bool {
        self.marks.has(Marks::LISTEN)
    }

    /// Others may hear of it; triggers may see to that.
    pub(crate) fn may_notify(&self) -> bool {
        self.marks.has(Marks::NOTIFY)
            || self.marks.has(Marks::WRITES)
            || self.leaves.check == Some(HoldReason::Function)
    }

    /// It may end other sessions, by their process ids.
    pub(crate) fn signals(&self) -> bool {
        self.marks.has(Marks::SIGNAL)
    }

    /// A transaction block begins in it.
    #[cfg(test)]
    pub(crate) const fn begins_block(&self) -> bool {
        self.traits.has(Traits::BEGINS)
    }

    #[cfg(test)]
    pub(crate) const fn commits(&self) -> bool {
        self.traits.has(Traits::COMMITS)
    }

    /// The prepared statements that it removes by name, one a DEALLOCATE.
    pub(crate) fn freed(&self) -> &[Box<[u8]>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.freed)
    }

    /// The database that it needs for itself.
    pub(crate) fn alone(&self) -> Option<&[u8]> {
        self.rare.as_ref()?.alone.as_deref()
    }

    /// What sessions begin with changes (ALTER ROLE or DATABASE … SET).
    pub(crate) const fn login_settings(&self) -> bool {
        self.traits.has(Traits::LOGIN_SETTINGS)
    }

    pub(super) const fn marks(&self) -> Marks {
        self.marks
    }

    pub(super) const fn leaves(&self) -> Leftovers {
        self.leaves
    }

    pub(super) const fn traits(&self) -> Traits {
        self.traits
    }

    pub(super) fn changes(&self) -> &[SettingChange] {
        self.rare.as_ref().map_or(&[], |rare| &rare.changes)
    }

    /// Custom settings that exist once this ran, whether it succeeded or not.
    pub(super) fn created(&self) -> &[Box<[u8]>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.created)
    }

    /// Custom settings that may.
    pub(super) fn suspected(&self) -> &[Box<[u8]>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.suspected)
    }

    /// Custom settings that code which it defines may make.
    pub(crate) fn defined(&self) -> &[Box<[u8]>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.defined)
    }

    /// Whether it may define code that makes others.
    pub(crate) fn hides(&self) -> bool {
        self.traits.has(Traits::HIDES) || self.leaves.hard == Some(HoldReason::Unknown)
    }

    /// Nobody has looked at what it runs.
    pub(crate) const fn is_unjudged(&self) -> bool {
        self.traits.has(Traits::UNJUDGED)
    }

    /// It runs code that does not show.
    fn code(&mut self, code: HiddenCode) {
        self.check(HoldReason::Function);
        self.leaves.add(Leftovers::drawn(SequenceUse::Perhaps));
        self.leaves.add(Leftovers::code(code));
        self.traits.add(Traits::RELEASES);
    }

    fn check(&mut self, reason: HoldReason) {
        self.leaves.add(Leftovers::checked(reason, Cleanup::Scrub));
    }

    fn add(
        &mut self,
        statement: &Statement<'_>,
        rare: &mut RareEffects,
        proven: &impl Fn(&Statement<'_>) -> Proof,
    ) {
        let marks = statement.effects.marks;
        self.marks |= marks;
        self.by_certainty(statement, rare, proven);
        self.by_marks(statement.kind, marks);
        self.by_kind(statement, rare);
        if marks.has(Marks::DDL) || statement.kind == Command::Do {
            let hides = dynamic_settings::settings(statement.text, &mut rare.defined);
            if hides {
                self.traits.add(Traits::HIDES);
            }
            if hides && statement.kind == Command::Do {
                self.leaves
                    .add(Leftovers::hard(HoldReason::Setting, Cleanup::Close));
            }
        }
        if marks.has(Marks::SET_CONFIG) {
            self.set_configs(statement, rare);
        }
        if marks.has(Marks::READS_SESSION) && spelling::mentions(statement.text, b"pg_prepared_s") {
            self.alignment = Alignment::Needed;
        }
    }

    fn by_certainty(
        &mut self,
        statement: &Statement<'_>,
        rare: &mut RareEffects,
        proven: &impl Fn(&Statement<'_>) -> Proof,
    ) {
        let certainty = statement.effects.certainty;
        let proof = match (certainty, statement.kind) {
            (Certainty::Exact, _) => return,
            (Certainty::Unknown, _) => {
                self.leaves.add(Self::unknown().leaves);
                self.alignment = Alignment::Needed;
                self.traits.add(Traits::RELEASES);
                return;
            }
            // What they run was looked at when it was declared or deferred. What
            // EXECUTE runs was when it was prepared; DO and CALL are past proof.
            (
                _,
                Command::Commit { .. }
                | Command::PrepareTransaction
                | Command::SetConstraints
                | Command::Fetch(_)
                | Command::Move(_)
                | Command::Execute(_)
                | Command::Load,
            ) => return,
            _ => proven(statement),
        };
        match proof {
            Proof::Clean => {}
            Proof::Sequence => self.leaves.add(Leftovers::drawn(SequenceUse::Perhaps)),
            Proof::Unproven | Proof::Unjudged | Proof::Hidden | Proof::Library => {
                self.code(match proof {
                    Proof::Unjudged => HiddenCode::Unjudged,
                    _ => HiddenCode::Known,
                });
                match proof {
                    Proof::Unjudged => self.traits.add(Traits::UNJUDGED),
                    Proof::Hidden => self
                        .leaves
                        .add(Leftovers::hard(HoldReason::Setting, Cleanup::Close)),
                    Proof::Library => self
                        .leaves
                        .add(Leftovers::hard(HoldReason::Library, Cleanup::Close)),
                    _ => {}
                }
                spelling::suspects(statement.text, &mut rare.suspected);
                if certainty == Certainty::Opaque {
                    self.alignment = self.alignment.max(Alignment::Perhaps);
                }
            }
        }
    }
}
