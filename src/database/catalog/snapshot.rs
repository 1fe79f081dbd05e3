//! Names that lead to a trace, and the judgement of a statement by its words.
//!
//! Invariant: what is not understood is [`CatalogVerdict::Unproven`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::fnv::Fnv;
use super::process_state::ProcessStateNames;
use crate::sql::Statement;
use crate::sql::calls::Call;
use crate::sql::effects::{Certainty, Marks};
use crate::sql::functions::FunctionClass;
use crate::sql::kind::{Command, Direction, Explained, ObjectType};
use crate::sql::name::Ident;
use crate::sql::token::{Token, TokenKind};

/// The server cuts longer names.
const MAX_NAME: usize = 63;

/// Where code makes more custom settings than this, nobody can ask for them all.
const MAX_CUSTOM: usize = 200;

/// What the catalog proves of a statement. What the statement's own marks say is
/// not repeated here. Greater is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CatalogVerdict {
    /// It leaves nothing behind in the session that its text does not show.
    Clean,
    /// It may leave a value to currval and lastval, and nothing else.
    Sequence,
    Unproven,
    /// Unproven, and it may leave custom settings of names that nobody knows: asking
    /// the server does not tell what was left.
    Hidden,
    /// It may leave what the server's process keeps beside all that the server knows
    /// of: C code's own, variables of a language.
    Library,
}

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taint {
    /// Nothing: the name of a function that is known.
    None,
    Sequence,
    Unproven,
    /// Makes custom settings of names that its code does not show.
    Hidden,
    /// Keeps state in the process.
    Library,
}

/// How a statement uses what it names: 0 reads rows, 1 changes or removes some, 2
/// makes some. A name's taint holds from its level up.
type Level = u8;

/// No statement has this level.
const NEVER: Level = u8::MAX;

/// What is known of all objects of one name.
#[derive(Debug, Clone, Copy)]
struct Entry {
    library: Level,
    hidden: Level,
    unproven: Level,
    sequence: Level,
    is_function: bool,
}

impl Entry {
    const NOTHING: Self = Self {
        library: NEVER,
        hidden: NEVER,
        unproven: NEVER,
        sequence: NEVER,
        is_function: false,
    };

    fn join(&mut self, other: &Self) {
        self.library = self.library.min(other.library);
        self.hidden = self.hidden.min(other.hidden);
        self.unproven = self.unproven.min(other.unproven);
        self.sequence = self.sequence.min(other.sequence);
    }

    const fn verdict(&self, level: Level) -> CatalogVerdict {
        if level >= self.library {
            CatalogVerdict::Library
        } else if level >= self.hidden {
            CatalogVerdict::Hidden
        } else if level >= self.unproven {
            CatalogVerdict::Unproven
        } else if level >= self.sequence {
            CatalogVerdict::Sequence
        } else {
            CatalogVerdict::Clean
        }
    }
}

/// What a census found. Immutable once it is read.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each happens by itself")]
pub(crate) struct Catalog {
    names: HashMap<Box<[u8]>, Entry, BuildHasherDefault<Fnv>>,
    /// Of names in other characters than ASCII, as if all were one: their bytes
    /// depend on the client's encoding.
    foreign: Option<Entry>,
    /// Something that is used without a name may leave a trace.
    everything: Option<CatalogVerdict>,
    /// So may an event trigger.
    definitions: Option<CatalogVerdict>,
    /// Some object is unproven at least.
    suspects: bool,
    hides: bool,
    keeps: bool,
    process_state: ProcessStateNames,
    /// Custom settings that code shows to be made by it.
    custom: Vec<Box<[u8]>>,
}

impl Catalog {
    pub(super) fn add(&mut self, taint: Taint, level: Level, name: &[u8]) {
        let verdict = match taint {
            Taint::None => CatalogVerdict::Clean,
            Taint::Sequence => CatalogVerdict::Sequence,
            Taint::Unproven => CatalogVerdict::Unproven,
            Taint::Hidden => CatalogVerdict::Hidden,
            Taint::Library => CatalogVerdict::Library,
        };
        // Tables of these names only cost certainty.
        if name == b"everything" {
            self.everything = self.everything.max(Some(verdict));
        } else if name == b"definitions" {
            let is_clean = verdict == CatalogVerdict::Clean;
            let verdict = (!is_clean).then(|| verdict.max(CatalogVerdict::Unproven));
            self.definitions = self.definitions.max(verdict);
        } else if name == b"*tables" {
            self.process_state.of_tables = true;
        }
        self.suspects |= verdict >= CatalogVerdict::Unproven;
        self.hides |= verdict == CatalogVerdict::Hidden;
        self.keeps |= verdict == CatalogVerdict::Library;
        if taint == Taint::Library && !name.is_empty() {
            self.process_state.add(name);
        }
        let entry = if name.is_empty() {
            self.foreign.get_or_insert(Entry::NOTHING)
        } else {
            let entry = self.names.entry(name.into());
            entry.or_insert(Entry::NOTHING)
        };
        match taint {
            Taint::None => entry.is_function = true,
            Taint::Sequence => entry.sequence = entry.sequence.min(level),
            Taint::Unproven => entry.unproven = entry.unproven.min(level),
            Taint::Hidden => entry.hidden = entry.hidden.min(level),
            Taint::Library => entry.library = entry.library.min(level),
        }
    }

    pub(super) fn add_custom(&mut self, name: &[u8]) {
        if self.custom.len() < MAX_CUSTOM {
            self.custom.push(name.into());
        } else {
            self.hides = true;
        }
    }

    /// The custom settings that code of this database may make, as it spells them.
    pub(crate) fn custom(&self) -> impl Iterator<Item = &[u8]> {
        self.custom.iter().map(|name| &**name)
    }

    /// Whether there is code that may make custom settings of unknown names.
    pub(crate) fn hides(&self) -> bool {
        self.hides
    }

    /// Whether there is code that keeps state in the server's process.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Of what runs code whose name would show if it kept state.
    fn anything_named(&self) -> CatalogVerdict {
        if self.hides() {
            CatalogVerdict::Hidden
        } else {
            CatalogVerdict::Unproven
        }
    }

    pub(crate) fn judge(&self, statement: &Statement<'_>) -> CatalogVerdict {
        let marks = statement.effects.marks;
        let mut verdict = match statement.effects.certainty {
            // Runs nobody's code.
            Certainty::Exact => return CatalogVerdict::Clean,
            Certainty::Unknown => return self.anything(),
            Certainty::Opaque if !self.knows_calls(statement) => {
                self.opaque(statement).max(self.own(statement))
            }
            _ => self.own(statement),
        };
        verdict = verdict.max(self.everything.unwrap_or(CatalogVerdict::Clean));
        if is_definition(statement) {
            verdict = verdict.max(self.definitions.unwrap_or(CatalogVerdict::Clean));
        }
        if marks.has(Marks::SEQUENCE_SET) {
            verdict = verdict.max(CatalogVerdict::Sequence);
        }
        let worst = match (self.keeps, self.hides) {
            (true, _) => CatalogVerdict::Library,
            (_, true) => CatalogVerdict::Hidden,
            _ => CatalogVerdict::Unproven,
        };
        if verdict < worst {
            verdict = verdict.max(match self.of_names(statement) {
                Some((names, level)) => names.verdict(level),
                None => self.anything(),
            });
        }
        let uncounted = self.custom.len() >= MAX_CUSTOM && !marks.has(Marks::DDL);
        match verdict {
            CatalogVerdict::Unproven if uncounted => self.anything_named(),
            other => other,
        }
    }

    /// Of what may run anything.
    fn anything(&self) -> CatalogVerdict {
        match self.keeps {
            true => CatalogVerdict::Library,
            false => self.anything_named(),
        }
    }

    /// Of a statement that calls what is not known, or runs what does not show.
    fn opaque(&self, statement: &Statement<'_>) -> CatalogVerdict {
        let dynamic = |call: Call<'_>| matches!(call.class, Some(FunctionClass::Opaque(_)));
        match statement.kind {
            Command::Do if self.keeps && self.may_reach_process_state(statement) => {
                CatalogVerdict::Library
            }
            _ if self.keeps && statement.calls().any(dynamic) => CatalogVerdict::Library,
            Command::Create { .. } | Command::Alter(_) => CatalogVerdict::Unproven,
            _ => self.anything_named(),
        }
    }

    fn may_reach_process_state(&self, statement: &Statement<'_>) -> bool {
        let is_foreign = self.has_foreign_name();
        self.process_state.may_be_reached_by(statement, is_foreign)
    }

    /// Whether a definition may take away, or add, a way to code that keeps state in
    /// the server's process, and stays. An extension comes and goes with its code.
    pub(crate) fn concerns_process_state(&self, statement: &Statement<'_>) -> bool {
        let wide = |token: Token<'_>| is_word(&token, "cascade") || is_word(&token, "owned");
        let whole = matches!(
            statement.kind,
            Command::Create {
                object: ObjectType::Extension,
                ..
            } | Command::Alter(ObjectType::Extension)
                | Command::Drop(ObjectType::Extension)
        );
        let named = || !whole && self.judge(statement) == CatalogVerdict::Library;
        self.keeps() && (named() || statement.tokens().any(wide))
    }

    /// What all names of the text lead to together, and the statement's level.
    fn of_names(&self, statement: &Statement<'_>) -> Option<(Entry, Level)> {
        let mut names = Entry::NOTHING;
        let mut words = Words::default();
        for token in statement.tokens() {
            words.add(&token);
            if token.kind == TokenKind::Operator {
                if let Some(entry) = self.names.get(token.text) {
                    names.join(entry);
                }
                continue;
            }
            if !is_name(&token) {
                continue;
            }
            let mut buffer = [0; MAX_NAME];
            let name = folded(&token, &mut buffer)?;
            if *name == *b"pg_settings" {
                // An update of that view is a SET.
                names.unproven = names.unproven.min(1);
            } else if let Some(entry) = self.entry(&name) {
                names.join(entry);
            }
        }
        Some((names, level(statement.kind, words.level)))
    }

    /// Whether a name of other characters than ASCII leads to state in the process.
    fn has_foreign_name(&self) -> bool {
        self.foreign.is_some_and(|entry| entry.library != NEVER)
    }

    fn entry(&self, name: &[u8]) -> Option<&Entry> {
        if name.is_ascii() {
            self.names.get(name)
        } else {
            self.foreign.as_ref()
        }
    }

    /// What the kind does that neither marks nor names say.
    fn own(&self, statement: &Statement<'_>) -> CatalogVerdict {
        let unproven = match statement.kind {
            Command::Prepare(_)
            | Command::Execute(_)
            | Command::Do
            | Command::Load
            | Command::Unknown => true,
            Command::Create { object, .. } | Command::Alter(object) => runs_library(object),
            // Expressions of indexes are evaluated, of all tables where none is named.
            Command::Analyze | Command::Cluster | Command::Reindex | Command::Vacuum => {
                self.suspects
            }
            // Reaches all tables that reference this one.
            Command::Truncate => statement.tokens().any(|token| is_word(&token, "cascade")),
            _ => false,
        };
        match statement.kind {
            Command::Create { .. } | Command::Alter(_) if unproven => CatalogVerdict::Unproven,
            Command::Analyze
            | Command::Cluster
            | Command::Reindex
            | Command::Truncate
            | Command::Vacuum
                if unproven && self.process_state.of_tables =>
            {
                CatalogVerdict::Library
            }
            _ if unproven => self.anything_named(),
            // A new column may be filled from a new sequence.
            Command::Alter(ObjectType::Table) => CatalogVerdict::Sequence,
            _ => CatalogVerdict::Clean,
        }
    }

    /// Whether every function that is called by name is built in or in the census,
    /// and nothing else makes the statement opaque.
    fn knows_calls(&self, statement: &Statement<'_>) -> bool {
        let expressions = match statement.kind {
            Command::Explain { inner, .. } => !matches!(inner, Explained::Execute(_)),
            Command::Select
            | Command::SelectInto { .. }
            | Command::Values
            | Command::Table
            | Command::Insert
            | Command::Update
            | Command::Delete
            | Command::Merge
            | Command::Declare { .. }
            | Command::Call
            | Command::Copy { .. }
            | Command::Create { .. }
            | Command::Alter(_) => true,
            _ => false,
        };
        let marks = statement.effects.marks;
        expressions
            && !marks.has(Marks::PREPARED)
            && !marks.has(Marks::LIBRARY)
            && statement.calls().all(|call| match call.class {
                Some(FunctionClass::Pure | FunctionClass::Marked(_)) => true,
                Some(FunctionClass::Opaque(_)) => false,
                None => self.knows_function(call.name),
            })
    }

    fn knows_function(&self, name: Ident<'_>) -> bool {
        let name = name.bytes().filter(|name| name.is_ascii());
        let entry = name.and_then(|name| self.names.get(&*name));
        entry.is_some_and(|entry| entry.is_function)
    }
}

/// Whether defining it runs code of a library: its initialisation, a validator, a
/// test.
const fn runs_library(object: ObjectType) -> bool {
    matches!(
        object,
        ObjectType::AccessMethod
            | ObjectType::Aggregate
            | ObjectType::Conversion
            | ObjectType::Extension
            | ObjectType::ForeignDataWrapper
            | ObjectType::ForeignTable
            | ObjectType::Function
            | ObjectType::Language
            | ObjectType::Procedure
            | ObjectType::Routine
            | ObjectType::Server
            | ObjectType::Subscription
            | ObjectType::TextSearch
            | ObjectType::UserMapping
    )
}

/// Whether event triggers may fire for it. Errs towards true.
const fn is_definition(statement: &Statement<'_>) -> bool {
    if statement.effects.marks.has(Marks::DDL) {
        return true;
    }
    matches!(
        statement.kind,
        Command::Comment
            | Command::Grant
            | Command::Revoke
            | Command::RefreshMaterializedView
            | Command::Reindex
            | Command::SecurityLabel
            | Command::Reassign
            | Command::ImportForeignSchema
            | Command::Cluster
            | Command::Vacuum
            | Command::Explain { .. }
    )
}

/// The level of a statement with words of that level.
fn level(kind: Command<'_>, of_words: Level) -> Level {
    match kind {
        // The mark WRITES does not see a WITH before the verb within a WITH.
        Command::Select | Command::Values | Command::Table | Command::Declare { .. } => of_words,
        Command::Copy {
            direction: Direction::To,
            ..
        } => of_words,
        Command::Update | Command::Delete | Command::Truncate => of_words.max(1),
        _ => 2,
    }
}

/// The level of the words that change or make rows, or ask for a default.
#[derive(Default)]
struct Words {
    level: Level,
    /// FOR, or FOR NO KEY, came last: an UPDATE behind it only locks.
    locks: bool,
}

impl Words {
    fn add(&mut self, token: &Token<'_>) {
        let is = |word: &str| is_word(token, word);
        let level = match token.text.len() {
            5 if is("merge") => 2,
            6 if is("insert") => 2,
            7 if is("default") => 2,
            6 if is("delete") => 1,
            6 if is("update") && !self.locks => 1,
            _ => 0,
        };
        self.level = self.level.max(level);
        self.locks = is("for") || self.locks && (is("no") || is("key"));
    }
}

fn is_word(token: &Token<'_>, word: &str) -> bool {
    token.text.eq_ignore_ascii_case(word.as_bytes())
}

const fn is_name(token: &Token<'_>) -> bool {
    matches!(
        token.kind,
        TokenKind::Word | TokenKind::QuotedName | TokenKind::UnicodeName
    )
}

/// The name as the catalog has it; `None` if that is not certain.
fn folded<'b>(token: &Token<'b>, buffer: &'b mut [u8; MAX_NAME]) -> Option<Cow<'b, [u8]>> {
    if token.kind != TokenKind::Word {
        return Ident::of(token)?.bytes();
    }
    if !token.text.iter().any(u8::is_ascii_uppercase) {
        return (token.text.len() <= MAX_NAME).then_some(Cow::Borrowed(token.text));
    }
    let room = buffer.get_mut(..token.text.len())?;
    room.copy_from_slice(token.text);
    room.make_ascii_lowercase();
    Some(Cow::Borrowed(room))
}
