//! What the kinds and marks of a statement mean for its digest.

use std::borrow::Cow;

use super::super::hold::{Cleanup, HoldReason, Leftovers, SequenceUse};
use super::super::spelling;
use super::{Alignment, RareEffects, SettingChange, StatementEffects, Traits};
use crate::sql::Statement;
use crate::sql::effects::Marks;
use crate::sql::kind::{Command, Discarded, ObjectType, Scope, Set, Setting, Value, Which};
use crate::sql::name::{Ident, Path};
use crate::state::untracked_settings::is_untracked;

impl StatementEffects {
    pub(super) fn by_marks(&mut self, kind: Command<'_>, marks: Marks) {
        use Cleanup::{Close, Nothing, Scrub};
        const HARD: &[(Marks, HoldReason, Cleanup)] = &[
            (Marks::DBLINK, HoldReason::Dblink, Close),
            (Marks::LIBRARY, HoldReason::Library, Close),
            (Marks::SEED, HoldReason::Seed, Close),
            (Marks::SESSION, HoldReason::Session, Close),
            (Marks::IDENTITY, HoldReason::Identity, Nothing),
        ];
        for &(mark, reason, cleanup) in HARD {
            if marks.has(mark) {
                self.leaves.add(Leftovers::hard(reason, cleanup));
            }
        }
        for (mark, reason) in [
            (Marks::ADVISORY_LOCK, HoldReason::AdvisoryLock),
            (Marks::CURSOR_HOLD, HoldReason::HoldCursor),
        ] {
            if marks.has(mark) {
                self.leaves.add(Leftovers::checked(reason, Scrub));
            }
        }
        if marks.has(Marks::SEQUENCE_SET) {
            self.leaves.add(Leftovers::drawn(SequenceUse::Surely));
        }
        if marks.has(Marks::ADVISORY_UNLOCK) {
            self.traits.add(Traits::RELEASES);
        }
        if marks.has(Marks::TEMP) && makes_objects(kind) {
            self.leaves
                .add(Leftovers::checked(HoldReason::TempObject, Close));
        }
    }

    pub(super) fn by_kind(&mut self, statement: &Statement<'_>, rare: &mut RareEffects) {
        match statement.kind {
            Command::Begin { .. } => self.traits.add(Traits::BEGINS),
            Command::Commit { .. } | Command::CommitPrepared => self.traits.add(Traits::COMMITS),
            Command::PrepareTransaction => {
                self.traits.add(Traits::COMMITS);
                self.traits.add(Traits::DIVIDES);
            }
            Command::Savepoint(_) | Command::Release(_) | Command::RollbackTo(_) => {
                self.traits.add(Traits::DIVIDES);
            }
            Command::Set(set) => self.set(&set, statement.text, rare),
            Command::Reset(setting) => self.reset(setting, rare),
            Command::Prepare(_) | Command::Execute(_) => {
                self.leaves
                    .add(Leftovers::checked(HoldReason::Prepared, Cleanup::Discard));
                self.alignment = Alignment::Needed;
            }
            Command::Deallocate(which) => {
                self.traits.add(Traits::RELEASES);
                if let Which::Named(name) = which {
                    self.alignment = Alignment::Needed;
                    rare.freed.extend(folded(name));
                }
            }
            Command::Listen(_) => self.check(HoldReason::Listen),
            Command::Unlisten(_) | Command::Close(_) | Command::Drop(_) | Command::Discard(_) => {
                self.traits.add(Traits::RELEASES);
            }
            Command::DropDatabase(name)
            | Command::AlterDatabase {
                name,
                vacates: true,
            } => rare.alone = folded(name),
            Command::CreateDatabase { template, .. } => {
                rare.alone = template.map_or_else(|| Some((*b"template1").into()), folded);
            }
            Command::AlterDatabase { .. }
            | Command::Alter(ObjectType::Role | ObjectType::System)
                if spelling::has_word(statement.text, &["set", "reset"]) =>
            {
                self.traits.add(Traits::LOGIN_SETTINGS);
            }
            Command::Explain { .. } if statement.effects.marks.has(Marks::PREPARED) => {
                self.check(HoldReason::Prepared);
                self.alignment = Alignment::Needed;
            }
            _ => {}
        }
    }

    fn set(&mut self, set: &Set<'_>, text: &[u8], rare: &mut RareEffects) {
        let Some(name) = set.name.setting() else {
            self.leaves
                .add(Leftovers::hard(HoldReason::Setting, Cleanup::Scrub));
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
                        rare.changes.extend(
                            changes.map(|(name, value)| SettingChange::Value { name, value }),
                        );
                    }
                    None => self.check(HoldReason::Setting),
                }
                return;
            }
            _ => {}
        }
        match (&*name, set.value) {
            (name, _) if is_untracked(name) => {}
            (b"role" | b"session_authorization", _) => {
                self.check(HoldReason::Role);
                self.traits.add(Traits::RELEASES);
            }
            (b"search_path", Value::Raw(_)) if self.marks.has(Marks::TEMP) => {
                // What is created from now on is temporary without saying so.
                self.leaves
                    .add(Leftovers::hard(HoldReason::TempObject, Cleanup::Close));
            }
            // The search path of this moment resolves it, not that of another time.
            (b"default_text_search_config", Value::Raw(value))
                if value.contains(&b'"') || !value.contains(&b'.') =>
            {
                self.check(HoldReason::Setting);
            }
            (_, Value::Default) => rare.changes.push(SettingChange::Reset((&*name).into())),
            (_, Value::Raw(_)) => match spelling::plain(text) {
                Some(statement) => rare.changes.push(SettingChange::Set {
                    name: (&*name).into(),
                    statement: statement.into(),
                }),
                None => self.check(HoldReason::Setting),
            },
            (_, Value::Current) => self.check(HoldReason::Setting),
        }
    }

    fn reset(&mut self, setting: Setting<'_>, rare: &mut RareEffects) {
        self.traits.add(Traits::RELEASES);
        let Setting::Named(path) = setting else {
            rare.changes.push(SettingChange::ResetAll);
            return;
        };
        match path.setting() {
            // It takes the role along.
            Some(name) if *name == *b"session_authorization" => self.check(HoldReason::Role),
            Some(name) => {
                // A custom setting that is not there yet: this creates it, empty.
                if name.contains(&b'.') {
                    rare.created.extend(created(&path));
                }
                rare.changes.push(SettingChange::Reset((&*name).into()));
            }
            None => self.check(HoldReason::Setting),
        }
    }

    /// Calls of set_config: the text may show the name and how far it reaches.
    pub(super) fn set_configs(&mut self, statement: &Statement<'_>, rare: &mut RareEffects) {
        for call in statement.set_configs() {
            let Some(name) = call.name.and_then(spelling::literal) else {
                // It may be a custom setting, and no catalog would list it.
                self.leaves
                    .add(Leftovers::hard(HoldReason::Setting, Cleanup::Close));
                continue;
            };
            if name.contains(&b'.') {
                rare.created.push(name.into());
            }
            if name.eq_ignore_ascii_case(b"seed") {
                self.leaves
                    .add(Leftovers::hard(HoldReason::Seed, Cleanup::Close));
            }
            let path = name.eq_ignore_ascii_case(b"search_path");
            let plain = call
                .value
                .is_some_and(|value| !spelling::mentions(value, b"pg_temp"));
            if path && !plain && call.value.is_some() {
                self.leaves
                    .add(Leftovers::hard(HoldReason::TempObject, Cleanup::Close));
            } else if call.local != Some(true) {
                self.check(HoldReason::Setting);
            }
        }
    }
}

/// Whether the mark TEMP can mean that something temporary is made, and not just
/// used.
const fn makes_objects(kind: Command<'_>) -> bool {
    match kind {
        Command::Discard(Discarded::All | Discarded::Temp) => false,
        Command::Create { .. }
        | Command::SelectInto { .. }
        | Command::Alter(_)
        | Command::Explain { .. }
        | Command::Prepare(_)
        | Command::Set(_)
        | Command::Unknown => true,
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
