//! Names that lead to a trace, and the judgement of a statement by its words.
//!
//! Invariant: what is not understood is [`Verdict::Unproven`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::code::{self, Keepers};
use crate::wire::sql::Statement;
use crate::wire::sql::calls::Call;
use crate::wire::sql::effects::{Certainty, Marks};
use crate::wire::sql::functions::Class;
use crate::wire::sql::kind::{Direction, Explained, Kind, ObjectType};
use crate::wire::sql::name::Ident;
use crate::wire::sql::token::{Token, TokenKind};

/// The server cuts longer names.
const MAX_NAME: usize = 63;

/// Where code makes more custom settings than this, nobody can ask for them all.
const MAX_CUSTOM: usize = 200;

/// What the catalog proves of a statement. What the statement's own marks say is
/// not repeated here. Greater is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
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

    const fn verdict(&self, level: Level) -> Verdict {
        if level >= self.library {
            Verdict::Library
        } else if level >= self.hidden {
            Verdict::Hidden
        } else if level >= self.unproven {
            Verdict::Unproven
        } else if level >= self.sequence {
            Verdict::Sequence
        } else {
            Verdict::Clean
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
    everything: Option<Verdict>,
    /// So may an event trigger.
    definitions: Option<Verdict>,
    /// Some object is unproven at least.
    suspects: bool,
    hides: bool,
    keeps: bool,
    keepers: Keepers,
    /// Some table leads to what keeps state in the process.
    tables_keep: bool,
    /// Custom settings that code shows to be made by it.
    custom: Vec<Box<[u8]>>,
}

impl Catalog {
    pub(super) fn add(&mut self, taint: Taint, level: Level, name: &[u8]) {
        let verdict = match taint {
            Taint::None => Verdict::Clean,
            Taint::Sequence => Verdict::Sequence,
            Taint::Unproven => Verdict::Unproven,
            Taint::Hidden => Verdict::Hidden,
            Taint::Library => Verdict::Library,
        };
        // Tables of these names only cost certainty.
        if name == b"everything" {
            self.everything = self.everything.max(Some(verdict));
        } else if name == b"definitions" {
            let is_clean = verdict == Verdict::Clean;
            let verdict = (!is_clean).then(|| verdict.max(Verdict::Unproven));
            self.definitions = self.definitions.max(verdict);
        } else if name == b"*tables" {
            self.tables_keep = true;
        }
        self.suspects |= verdict >= Verdict::Unproven;
        self.hides |= verdict == Verdict::Hidden;
        self.keeps |= verdict == Verdict::Library;
        if taint == Taint::Library && !name.is_empty() {
            self.keepers.add(name);
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
    fn anything_named(&self) -> Verdict {
        if self.hides() {
            Verdict::Hidden
        } else {
            Verdict::Unproven
        }
    }

    pub(crate) fn judge(&self, statement: &Statement<'_>) -> Verdict {
        let marks = statement.effects.marks;
        let mut verdict = match statement.effects.certainty {
            // Runs nobody's code.
            Certainty::Exact => return Verdict::Clean,
            Certainty::Unknown => return self.anything(),
            Certainty::Opaque if !self.knows_calls(statement) => {
                self.opaque(statement).max(self.own(statement))
            }
            _ => self.own(statement),
        };
        verdict = verdict.max(self.everything.unwrap_or(Verdict::Clean));
        if is_definition(statement) {
            verdict = verdict.max(self.definitions.unwrap_or(Verdict::Clean));
        }
        if marks.has(Marks::SEQUENCE_SET) {
            verdict = verdict.max(Verdict::Sequence);
        }
        let worst = match (self.keeps, self.hides) {
            (true, _) => Verdict::Library,
            (_, true) => Verdict::Hidden,
            _ => Verdict::Unproven,
        };
        if verdict < worst {
            verdict = verdict.max(match self.of_names(statement) {
                Some((names, level)) => names.verdict(level),
                None => self.anything(),
            });
        }
        let uncounted = self.custom.len() >= MAX_CUSTOM && !marks.has(Marks::DDL);
        match verdict {
            Verdict::Unproven if uncounted => self.anything_named(),
            other => other,
        }
    }

    /// Of what may run anything.
    fn anything(&self) -> Verdict {
        match self.keeps {
            true => Verdict::Library,
            false => self.anything_named(),
        }
    }

    /// Of a statement that calls what is not known, or runs what does not show.
    fn opaque(&self, statement: &Statement<'_>) -> Verdict {
        let dynamic = |call: Call<'_>| matches!(call.class, Some(Class::Opaque(_)));
        match statement.kind {
            Kind::Do if self.keeps && code::keeps(self, statement) => Verdict::Library,
            _ if self.keeps && statement.calls().any(dynamic) => Verdict::Library,
            Kind::Create { .. } | Kind::Alter(_) => Verdict::Unproven,
            _ => self.anything_named(),
        }
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

    pub(super) const fn keepers(&self) -> &Keepers {
        &self.keepers
    }

    /// Whether one of them is not of ASCII.
    pub(super) fn has_foreign_keeper(&self) -> bool {
        self.foreign.is_some_and(|entry| entry.library != NEVER)
    }

    pub(super) const fn tables_keep(&self) -> bool {
        self.tables_keep
    }

    fn entry(&self, name: &[u8]) -> Option<&Entry> {
        if name.is_ascii() {
            self.names.get(name)
        } else {
            self.foreign.as_ref()
        }
    }

    /// What the kind does that neither marks nor names say.
    fn own(&self, statement: &Statement<'_>) -> Verdict {
        let unproven = match statement.kind {
            Kind::Prepare(_) | Kind::Execute(_) | Kind::Do | Kind::Load | Kind::Unknown => true,
            Kind::Create { object, .. } | Kind::Alter(object) => runs_library(object),
            // Expressions of indexes are evaluated, of all tables where none is named.
            Kind::Analyze | Kind::Cluster | Kind::Reindex | Kind::Vacuum => self.suspects,
            // Reaches all tables that reference this one.
            Kind::Truncate => statement.tokens().any(|token| is_word(&token, "cascade")),
            _ => false,
        };
        match statement.kind {
            Kind::Create { .. } | Kind::Alter(_) if unproven => Verdict::Unproven,
            Kind::Analyze | Kind::Cluster | Kind::Reindex | Kind::Truncate | Kind::Vacuum
                if unproven && self.tables_keep =>
            {
                Verdict::Library
            }
            _ if unproven => self.anything_named(),
            // A new column may be filled from a new sequence.
            Kind::Alter(ObjectType::Table) => Verdict::Sequence,
            _ => Verdict::Clean,
        }
    }

    /// Whether every function that is called by name is built in or in the census,
    /// and nothing else makes the statement opaque.
    fn knows_calls(&self, statement: &Statement<'_>) -> bool {
        let expressions = match statement.kind {
            Kind::Explain { inner, .. } => !matches!(inner, Explained::Execute(_)),
            Kind::Select
            | Kind::SelectInto { .. }
            | Kind::Values
            | Kind::Table
            | Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::Merge
            | Kind::Declare { .. }
            | Kind::Call
            | Kind::Copy { .. }
            | Kind::Create { .. }
            | Kind::Alter(_) => true,
            _ => false,
        };
        let marks = statement.effects.marks;
        expressions
            && !marks.has(Marks::PREPARED)
            && !marks.has(Marks::LIBRARY)
            && statement.calls().all(|call| match call.class {
                Some(Class::Pure | Class::Marked(_)) => true,
                Some(Class::Opaque(_)) => false,
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
        Kind::Comment
            | Kind::Grant
            | Kind::Revoke
            | Kind::RefreshMaterializedView
            | Kind::Reindex
            | Kind::SecurityLabel
            | Kind::Reassign
            | Kind::ImportForeignSchema
            | Kind::Cluster
            | Kind::Vacuum
            | Kind::Explain { .. }
    )
}

/// The level of a statement with words of that level.
fn level(kind: Kind<'_>, of_words: Level) -> Level {
    match kind {
        // The mark WRITES does not see a WITH before the verb within a WITH.
        Kind::Select | Kind::Values | Kind::Table | Kind::Declare { .. } => of_words,
        Kind::Copy {
            direction: Direction::To,
            ..
        } => of_words,
        Kind::Update | Kind::Delete | Kind::Truncate => of_words.max(1),
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

pub(super) fn is_word(token: &Token<'_>, word: &str) -> bool {
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

/// FNV-1a: names are short, and come from whoever may define objects, not from
/// whoever sends statements.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
