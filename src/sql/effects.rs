//! What a pool needs to know of a statement.
//!
//! Invariant: [`Certainty::Exact`] is given only to statements that cannot run
//! anybody's code. A query gets [`Certainty::TextClean`] at best: the text has
//! nothing in it that the marks do not name. That proves nothing, because
//! operators, casts, domains, views, triggers, rules, defaults, policies and
//! `row.function` run functions that the text does not show. Proof is the
//! catalog's business. Marks err towards being set.

use std::ops::{BitOr, BitOrAssign};

/// How much of what a statement does is known from its text. Greater is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Certainty {
    /// Its kind and marks say all that it does to the session.
    Exact,
    /// Nothing else is in the text; what the text reaches may do anything.
    TextClean,
    /// It runs code of which the text shows no more than a name.
    Opaque,
    /// Not understood: of this text, and of what follows it, expect anything.
    Unknown,
}

/// Things that a statement does or may do; a set.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks(u32);

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Marks {
            pub(crate) const NONE: Self = Self(0);
            $($(#[$doc])* pub(crate) const $name: Self = Self(1 << $bit);)*
            const NAMES: &[(&str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

marks! {
    /// Begins, ends or divides a transaction.
    TRANSACTION = 0;
    /// May change a setting beyond the transaction: SET, RESET, DISCARD ALL.
    SETTING = 1;
    /// Changes a setting until the transaction's end.
    SETTING_LOCAL = 2;
    /// Calls set_config; [`super::Statement::set_configs`] shows how.
    SET_CONFIG = 3;
    /// Makes, uses or removes a statement prepared by SQL.
    PREPARED = 4;
    /// Makes, uses or removes a cursor.
    CURSOR = 5;
    /// Makes a cursor that outlives its transaction.
    CURSOR_HOLD = 6;
    /// Changes what the session listens to.
    LISTEN = 7;
    NOTIFY = 8;
    /// Makes or mentions a temporary object.
    TEMP = 9;
    /// Takes an advisory lock that the session holds.
    ADVISORY_LOCK = 10;
    /// Takes one that the transaction holds.
    ADVISORY_XACT = 11;
    ADVISORY_UNLOCK = 12;
    /// Leaves a value to currval and lastval.
    SEQUENCE_SET = 13;
    /// Reads it.
    SEQUENCE_GET = 14;
    /// Uses descriptors of large objects.
    LARGE_OBJECT = 15;
    DBLINK = 16;
    /// Loads a library into the server's process, which nothing undoes.
    LIBRARY = 17;
    /// Changes the session's random numbers.
    SEED = 18;
    /// Session state of another sort.
    SESSION = 19;
    /// Shows which session it is: process id, addresses.
    IDENTITY = 20;
    /// Reads state that belongs to the session: settings, cursors, statements.
    READS_SESSION = 21;
    /// Acts on another session by its process id.
    SIGNAL = 22;
    /// Acts on the server as a whole.
    SERVER = 23;
    /// Shows the transaction's number.
    XACT_ID = 24;
    /// Runs SQL that it is given as a value.
    DYNAMIC = 25;
    /// Writes rows, which runs defaults and triggers; defaults draw on sequences.
    WRITES = 26;
    /// Makes plans of prepared statements stale.
    DDL = 27;
    /// Refused in a transaction block, always or for some objects.
    NO_BLOCK = 28;
    /// Needs a database that nobody else is connected to.
    ALONE = 29;
    /// A name without its schema was taken for pg_catalog's.
    UNQUALIFIED = 30;
}

impl Marks {
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = Self::NAMES.iter().filter(|(_, mark)| self.has(*mark));
        f.debug_set().entries(set.map(|(name, _)| name)).finish()
    }
}

/// What is known of what a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) marks: Marks,
    pub(crate) certainty: Certainty,
}

impl Effects {
    pub(super) const EXACT: Self = Self {
        marks: Marks::NONE,
        certainty: Certainty::Exact,
    };

    pub(super) fn add(&mut self, marks: Marks, certainty: Certainty) {
        self.marks |= marks;
        self.certainty = self.certainty.max(certainty);
    }
}
