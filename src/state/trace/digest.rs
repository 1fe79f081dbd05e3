//! What a text does, digested once.
//!
//! Small, so that it can be kept with every prepared statement: what is rare is
//! behind a pointer that clones share.

use std::borrow::Cow;
use std::sync::Arc;

use super::hold::{Drawn, Leaves, Reason, Residue};
use super::spelling;
use crate::wire::sql::effects::{Certainty, Marks};
use crate::wire::sql::kind::{Discarded, Kind, ObjectType, Scope, Set, Setting, Value, Which};
use crate::wire::sql::name::Ident;
use crate::wire::sql::{Dialect, Statement, statements};

/// What the catalog proves of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Clean,
    /// It may leave a value to currval and lastval, and nothing else.
    Sequence,
    Unproven,
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

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A change of a setting that can be repeated elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
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
struct Rare {
    changes: Vec<Change>,
    created: Vec<Box<[u8]>>,
    suspected: Vec<Box<[u8]>>,
    alone: Option<Box<[u8]>>,
}

/// What all statements of a text do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digest {
    marks: Marks,
    leaves: Leaves,
    traits: Traits,
    alignment: Alignment,
    rare: Option<Arc<Rare>>,
}

/// Digests a Query's or a Parse's text. `proven` is asked about each statement
/// whose text alone is no proof.
pub(crate) fn digest(
    text: &[u8],
    dialect: Dialect,
    proven: impl Fn(&Statement<'_>) -> Proof,
) -> Digest {
    let mut digest = Digest::default();
    let mut rare = Rare::default();
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
                digest.check(Reason::Setting);
            }
        }
    }
    let Rare {
        changes,
        created,
        suspected,
        alone,
    } = &rare;
    let empty = changes.is_empty() && created.is_empty() && suspected.is_empty();
    if !empty || alone.is_some() {
        digest.rare = Some(Arc::new(rare));
    }
    digest
}

impl Digest {
    /// Of a FunctionCall: a function by its number.
    pub(crate) fn function() -> Self {
        let mut digest = Self::default();
        digest.check(Reason::Function);
        digest.leaves.add(Leaves::drawn(Drawn::Perhaps));
        digest.traits.add(Traits::RELEASES);
        digest
    }

    /// Of a text that was not kept: it may be anything.
    pub(crate) fn unknown() -> Self {
        Self {
            leaves: Leaves::hard(Reason::Unknown, Residue::Close),
            alignment: Alignment::Needed,
            ..Self::default()
        }
    }

    pub(crate) const fn needs_alignment(&self) -> Alignment {
        self.alignment
    }

    /// Plans get stale, and so does what was proven from the catalog.
    pub(crate) fn ddl(&self) -> bool {
        self.marks.has(Marks::DDL) || self.leaves.hard == Some(Reason::Unknown)
    }

    /// Why its client will have to keep its connection, as far as the text shows.
    pub(crate) fn pins(&self) -> Option<Reason> {
        let leaves = &self.leaves;
        let is_state = |reason: &Reason| {
            !matches!(
                reason,
                Reason::Function | Reason::Setting | Reason::Role | Reason::Sequence
            )
        };
        // What is only suspected of a text that cannot be read may be nothing.
        let known = |reason: &Reason| is_state(reason) && *reason != Reason::Unknown;
        leaves
            .hard
            .filter(known)
            .or_else(|| leaves.check.filter(known))
    }

    /// The database that it needs for itself.
    pub(crate) fn alone(&self) -> Option<&[u8]> {
        self.rare.as_ref()?.alone.as_deref()
    }

    /// What sessions begin with changes (ALTER ROLE or DATABASE … SET).
    pub(crate) const fn login_settings(&self) -> bool {
        self.traits.has(Traits::LOGIN_SETTINGS)
    }

    pub(crate) const fn begins_block(&self) -> bool {
        self.traits.has(Traits::BEGINS)
    }

    pub(crate) const fn commits(&self) -> bool {
        self.traits.has(Traits::COMMITS)
    }

    pub(super) const fn marks(&self) -> Marks {
        self.marks
    }

    pub(super) const fn leaves(&self) -> Leaves {
        self.leaves
    }

    pub(super) const fn traits(&self) -> Traits {
        self.traits
    }

    pub(super) fn changes(&self) -> &[Change] {
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

    fn check(&mut self, reason: Reason) {
        self.leaves.add(Leaves::checked(reason, Residue::Scrub));
    }

    fn add(
        &mut self,
        statement: &Statement<'_>,
        rare: &mut Rare,
        proven: &impl Fn(&Statement<'_>) -> Proof,
    ) {
        let marks = statement.effects.marks;
        self.marks |= marks;
        self.by_certainty(statement, rare, proven);
        self.by_marks(statement.kind, marks);
        self.by_kind(statement, rare);
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
        rare: &mut Rare,
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
                Kind::Commit { .. }
                | Kind::PrepareTransaction
                | Kind::SetConstraints
                | Kind::Fetch(_)
                | Kind::Move(_)
                | Kind::Execute(_)
                | Kind::Load,
            ) => return,
            _ => proven(statement),
        };
        match proof {
            Proof::Clean => {}
            Proof::Sequence => self.leaves.add(Leaves::drawn(Drawn::Perhaps)),
            Proof::Unproven => {
                self.check(Reason::Function);
                self.leaves.add(Leaves::drawn(Drawn::Perhaps));
                self.traits.add(Traits::RELEASES);
                spelling::suspects(statement.text, &mut rare.suspected);
                if certainty == Certainty::Opaque {
                    self.alignment = self.alignment.max(Alignment::Perhaps);
                }
            }
        }
    }

    fn by_marks(&mut self, kind: Kind<'_>, marks: Marks) {
        use Residue::{Close, Nothing, Scrub};
        const HARD: &[(Marks, Reason, Residue)] = &[
            (Marks::DBLINK, Reason::Dblink, Close),
            (Marks::LIBRARY, Reason::Library, Close),
            (Marks::SEED, Reason::Seed, Close),
            (Marks::SESSION, Reason::Session, Close),
            (Marks::IDENTITY, Reason::Identity, Nothing),
        ];
        for &(mark, reason, residue) in HARD {
            if marks.has(mark) {
                self.leaves.add(Leaves::hard(reason, residue));
            }
        }
        for (mark, reason) in [
            (Marks::ADVISORY_LOCK, Reason::AdvisoryLock),
            (Marks::CURSOR_HOLD, Reason::HoldCursor),
        ] {
            if marks.has(mark) {
                self.leaves.add(Leaves::checked(reason, Scrub));
            }
        }
        if marks.has(Marks::SEQUENCE_SET) {
            self.leaves.add(Leaves::drawn(Drawn::Surely));
        }
        if marks.has(Marks::ADVISORY_UNLOCK) {
            self.traits.add(Traits::RELEASES);
        }
        if marks.has(Marks::TEMP) && makes_objects(kind) {
            self.leaves.add(Leaves::checked(Reason::TempObject, Close));
        }
    }

    fn by_kind(&mut self, statement: &Statement<'_>, rare: &mut Rare) {
        match statement.kind {
            Kind::Begin { .. } => self.traits.add(Traits::BEGINS),
            Kind::Commit { .. } | Kind::CommitPrepared => self.traits.add(Traits::COMMITS),
            Kind::PrepareTransaction => {
                self.traits.add(Traits::COMMITS);
                self.traits.add(Traits::DIVIDES);
            }
            Kind::Savepoint(_) | Kind::Release(_) | Kind::RollbackTo(_) => {
                self.traits.add(Traits::DIVIDES);
            }
            Kind::Set(set) => self.set(&set, statement.text, rare),
            Kind::Reset(setting) => self.reset(setting, rare),
            Kind::Prepare(_) | Kind::Execute(_) => {
                self.leaves
                    .add(Leaves::checked(Reason::Prepared, Residue::Discard));
                self.alignment = Alignment::Needed;
            }
            Kind::Deallocate(which) => {
                self.traits.add(Traits::RELEASES);
                if which != Which::All {
                    self.alignment = Alignment::Needed;
                }
            }
            Kind::Listen(_) => self.check(Reason::Listen),
            Kind::Unlisten(_) | Kind::Close(_) | Kind::Drop(_) | Kind::Discard(_) => {
                self.traits.add(Traits::RELEASES);
            }
            Kind::DropDatabase(name)
            | Kind::AlterDatabase {
                name,
                vacates: true,
            } => rare.alone = folded(name),
            Kind::CreateDatabase { template, .. } => {
                rare.alone = template.map_or_else(|| Some((*b"template1").into()), folded);
            }
            Kind::AlterDatabase { .. } | Kind::Alter(ObjectType::Role | ObjectType::System)
                if spelling::has_word(statement.text, &["set", "reset"]) =>
            {
                self.traits.add(Traits::LOGIN_SETTINGS);
            }
            Kind::Explain { .. } if statement.effects.marks.has(Marks::PREPARED) => {
                self.check(Reason::Prepared);
                self.alignment = Alignment::Needed;
            }
            _ => {}
        }
    }

    fn set(&mut self, set: &Set<'_>, text: &[u8], rare: &mut Rare) {
        let Some(name) = set.name.setting() else {
            self.leaves
                .add(Leaves::hard(Reason::Setting, Residue::Scrub));
            return;
        };
        if name.contains(&b'.') {
            rare.created.push((&*name).into());
        }
        match (set.scope, set.value) {
            (Scope::Local | Scope::Transaction, _) => return,
            (Scope::SessionCharacteristics, Value::Raw(modes)) => {
                match spelling::characteristics(modes) {
                    Some(changes) => {
                        let changes = changes.into_iter();
                        rare.changes
                            .extend(changes.map(|(name, value)| Change::Value { name, value }));
                    }
                    None => self.check(Reason::Setting),
                }
                return;
            }
            _ => {}
        }
        match (&*name, set.value) {
            // These hold for the transaction, whoever sets them.
            (
                b"transaction_isolation" | b"transaction_read_only" | b"transaction_deferrable",
                _,
            ) => {}
            (b"role" | b"session_authorization", _) => {
                self.check(Reason::Role);
                self.traits.add(Traits::RELEASES);
            }
            (b"search_path", Value::Raw(_)) if self.marks.has(Marks::TEMP) => {
                // What is created from now on is temporary without saying so.
                self.leaves
                    .add(Leaves::hard(Reason::TempObject, Residue::Close));
            }
            (_, Value::Default) => rare.changes.push(Change::Reset((&*name).into())),
            (_, Value::Raw(_)) => match spelling::plain(text) {
                Some(statement) => rare.changes.push(Change::Set {
                    name: (&*name).into(),
                    statement: statement.into(),
                }),
                None => self.check(Reason::Setting),
            },
            (_, Value::Current) => self.check(Reason::Setting),
        }
    }

    fn reset(&mut self, setting: Setting<'_>, rare: &mut Rare) {
        self.traits.add(Traits::RELEASES);
        let Setting::Named(path) = setting else {
            rare.changes.push(Change::ResetAll);
            return;
        };
        match path.setting() {
            // It takes the role along.
            Some(name) if *name == *b"session_authorization" => self.check(Reason::Role),
            Some(name) => {
                // A custom setting that is not there yet: this creates it, empty.
                if name.contains(&b'.') {
                    rare.created.push((&*name).into());
                }
                rare.changes.push(Change::Reset((&*name).into()));
            }
            None => self.check(Reason::Setting),
        }
    }

    /// Calls of set_config: the text may show the name and how far it reaches.
    fn set_configs(&mut self, statement: &Statement<'_>, rare: &mut Rare) {
        for call in statement.set_configs() {
            let Some(name) = call.name.and_then(spelling::literal) else {
                // It may be a custom setting, and no catalog would list it.
                self.leaves
                    .add(Leaves::hard(Reason::Setting, Residue::Scrub));
                continue;
            };
            if name.contains(&b'.') {
                rare.created.push(name.into());
            }
            if name.eq_ignore_ascii_case(b"seed") {
                self.leaves.add(Leaves::hard(Reason::Seed, Residue::Close));
            }
            let path = name.eq_ignore_ascii_case(b"search_path");
            let plain = call
                .value
                .is_some_and(|value| !spelling::mentions(value, b"pg_temp"));
            if path && !plain && call.value.is_some() {
                self.leaves
                    .add(Leaves::hard(Reason::TempObject, Residue::Close));
            } else if call.local != Some(true) {
                self.check(Reason::Setting);
            }
        }
    }
}

/// Whether the mark TEMP can mean that something temporary is made, and not just
/// used.
const fn makes_objects(kind: Kind<'_>) -> bool {
    match kind {
        Kind::Discard(Discarded::All | Discarded::Temp) => false,
        Kind::Create { .. }
        | Kind::SelectInto { .. }
        | Kind::Alter(_)
        | Kind::Explain { .. }
        | Kind::Prepare(_)
        | Kind::Set(_)
        | Kind::Unknown => true,
        _ => false,
    }
}

fn folded(name: Ident<'_>) -> Option<Box<[u8]>> {
    name.bytes().map(Cow::into_owned).map(Into::into)
}
