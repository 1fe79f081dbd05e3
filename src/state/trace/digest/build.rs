//! What the kinds and marks of a statement mean for its digest.

use std::borrow::Cow;

use super::super::hold::{Drawn, Leaves, Reason, Residue};
use super::super::spelling;
use super::{Alignment, Change, Digest, Rare, Traits};
use crate::wire::sql::Statement;
use crate::wire::sql::effects::Marks;
use crate::wire::sql::kind::{Discarded, Kind, ObjectType, Scope, Set, Setting, Value, Which};
use crate::wire::sql::name::{Ident, Path};

impl Digest {
    pub(super) fn by_marks(&mut self, kind: Kind<'_>, marks: Marks) {
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

    pub(super) fn by_kind(&mut self, statement: &Statement<'_>, rare: &mut Rare) {
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
                if let Which::Named(name) = which {
                    self.alignment = Alignment::Needed;
                    rare.freed.extend(folded(name));
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
            rare.created.extend(created(&set.name));
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
            // The search path of this moment resolves it, not that of another time.
            (b"default_text_search_config", Value::Raw(value))
                if value.contains(&b'"') || !value.contains(&b'.') =>
            {
                self.check(Reason::Setting);
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
                    rare.created.extend(created(&path));
                }
                rare.changes.push(Change::Reset((&*name).into()));
            }
            None => self.check(Reason::Setting),
        }
    }

    /// Calls of set_config: the text may show the name and how far it reaches.
    pub(super) fn set_configs(&mut self, statement: &Statement<'_>, rare: &mut Rare) {
        for call in statement.set_configs() {
            let Some(name) = call.name.and_then(spelling::literal) else {
                // It may be a custom setting, and no catalog would list it.
                self.leaves
                    .add(Leaves::hard(Reason::Setting, Residue::Close));
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

/// The custom setting that there is from here on, if there was none.
fn created(path: &Path<'_>) -> Option<Box<[u8]>> {
    path.spelled().map(Cow::into_owned).map(Into::into)
}

fn folded(name: Ident<'_>) -> Option<Box<[u8]>> {
    name.bytes().map(Cow::into_owned).map(Into::into)
}
