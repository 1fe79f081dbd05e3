//! What a definition does about code that keeps state in the server's process, for
//! clients other than the one that makes it: they may have used what is gone by the
//! time the catalog answers.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{catalog, census};
use crate::wire::sql::effects::Certainty;
use crate::wire::sql::kind::{Kind, ObjectType};
use crate::wire::sql::token::TokenKind;
use crate::wire::sql::{Dialect, Statement, statements};

/// The greater, the more has to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keepers {
    #[default]
    Untouched,
    /// There may be more of it: the next answer of the catalog shows that.
    Added,
    /// Some may be gone by then, or what led to it.
    Changed,
}

/// Extensions of the census's list that have functions which keep something.
const EXCEPT: [&str; 3] = ["hll", "isn", "postgres_fdw"];

/// The extensions that the census takes to keep nothing.
static BELIEVED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let census = std::str::from_utf8(census()).unwrap_or_default();
    let known = census.split("known(how, extension)").nth(1).unwrap_or("");
    let lists = known.split("string_to_array('").skip(1).take(3);
    let names = lists.filter_map(|list| list.split('\'').next());
    let names = names.flat_map(str::split_ascii_whitespace);
    names.filter(|name| !EXCEPT.contains(name)).collect()
});

impl Keepers {
    /// Of a text that may add such code, or take it away. `None`: it is not known.
    /// `any`: there may be some.
    pub(crate) fn of(text: Option<&[u8]>, dialect: Dialect, any: bool) -> Self {
        let all = text.map(|text| statements(text, dialect));
        let most = all.and_then(|all| all.map(|one| of_statement(&one)).max());
        most.unwrap_or(Of::Anything).given(any)
    }
}

/// What one statement does, whatever there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Nothing,
    Removes,
    Adds,
    Anything,
}

impl Of {
    const fn given(self, any: bool) -> Keepers {
        match (self, any) {
            (Self::Nothing, _) | (Self::Removes, false) => Keepers::Untouched,
            (Self::Adds, _) | (Self::Anything, false) => Keepers::Added,
            (Self::Removes | Self::Anything, true) => Keepers::Changed,
        }
    }
}

fn of_statement(statement: &Statement<'_>) -> Of {
    match statement.kind {
        Kind::Create { object, .. } => match object {
            ObjectType::Extension if is_believed(statement) => Of::Nothing,
            _ if replaces(statement) => Of::Anything,
            _ => Of::Adds,
        },
        Kind::Alter(object) | Kind::Drop(object) => match object {
            ObjectType::Extension if is_believed(statement) => Of::Nothing,
            _ => Of::Removes,
        },
        Kind::Begin { .. } | Kind::Commit { .. } | Kind::Rollback { .. } => Of::Nothing,
        Kind::Savepoint(_) | Kind::Release(_) | Kind::Set(_) | Kind::Comment | Kind::Grant => {
            Of::Nothing
        }
        _ if statement.effects.certainty == Certainty::Exact => Of::Nothing,
        _ => Of::Anything,
    }
}

/// Whether a text may take away what was there, or what led to it.
pub(crate) fn removes(text: Option<&[u8]>, dialect: Dialect) -> bool {
    let makes = |one: Statement<'_>| matches!(of_statement(&one), Of::Nothing | Of::Adds);
    text.is_none_or(|text| !statements(text, dialect).all(makes))
}

fn replaces(statement: &Statement<'_>) -> bool {
    let mut tokens = statement.tokens().skip(1);
    tokens
        .next()
        .is_none_or(|token| catalog::is_word(&token, "or"))
}

/// Whether all extensions that it names are believed, and it is about no others.
fn is_believed(statement: &Statement<'_>) -> bool {
    let mut tokens = statement.tokens().skip(2).filter(|token| {
        let is = |word: &str| catalog::is_word(token, word);
        !(is("if") || is("not") || is("exists"))
    });
    let alters = matches!(statement.kind, Kind::Alter(_) | Kind::Create { .. });
    let believed = |name: &[u8]| {
        let name = std::str::from_utf8(name).unwrap_or_default();
        let plain = name.trim_matches('"').to_ascii_lowercase();
        BELIEVED.contains(&*plain)
    };
    if alters {
        let named = tokens.next().is_some_and(|token| believed(token.text));
        return named && !tokens.any(|token| catalog::is_word(&token, "cascade"));
    }
    let mut names =
        tokens.filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName));
    names.all(|name| believed(name.text) || catalog::is_word(&name, "restrict"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sql::Backslash;

    const PLAIN: Dialect = Dialect {
        backslash: Backslash::Plain,
        ascii_safe: true,
    };

    #[test]
    fn what_adds_such_code_is_told_from_what_may_take_it_away() {
        use Keepers::{Added, Changed, Untouched};
        for (text, expected) in [
            ("create extension hstore", Untouched),
            (
                "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" SCHEMA public",
                Untouched,
            ),
            (
                "begin; create extension if not exists plpgsql; commit",
                Untouched,
            ),
            ("alter extension postgis update", Untouched),
            (
                "drop extension if exists hstore, citext restrict",
                Untouched,
            ),
            ("drop extension hstore cascade", Changed),
            ("create extension earthdistance cascade", Added),
            ("create extension isn", Added),
            ("create extension orafce", Added),
            ("create extension hstore; create extension orafce", Added),
            ("drop extension isn", Changed),
            ("drop extension hstore, isn", Changed),
            (
                "create function f() returns int language c as 'x', 'y'",
                Added,
            ),
            (
                "create or replace function f() returns int language c as 'x', 'y'",
                Changed,
            ),
            ("do $$ begin execute 'x'; end $$", Changed),
        ] {
            let found = Keepers::of(Some(text.as_bytes()), PLAIN, true);
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(Keepers::of(None, PLAIN, true), Changed);
    }

    #[test]
    fn where_there_is_none_none_can_be_taken_away() {
        use Keepers::{Added, Untouched};
        for (text, expected) in [
            ("drop extension nosuch", Untouched),
            ("alter extension isn update", Untouched),
            (
                "create or replace procedure p() language plperl as 'x'",
                Added,
            ),
            ("do $$ begin execute 'x'; end $$", Added),
        ] {
            let found = Keepers::of(Some(text.as_bytes()), PLAIN, false);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_only_makes_things_removes_nothing() {
        for (text, expected) in [
            ("create table t (a int); create index on t (a)", false),
            ("drop extension hstore", false),
            ("drop function f()", true),
            ("alter function f() rename to g", true),
            ("create or replace view v as select 1", true),
            ("begin; drop trigger x on t; commit", true),
        ] {
            assert_eq!(removes(Some(text.as_bytes()), PLAIN), expected, "{text}");
        }
        assert!(removes(None, PLAIN));
    }

    #[test]
    fn the_list_is_the_censuss() {
        assert!(BELIEVED.len() > 50, "{}", BELIEVED.len());
        for name in ["hstore", "timescaledb", "amcheck"] {
            assert!(BELIEVED.contains(name), "{name}");
        }
        for name in ["isn", "checkauthtrigger", "crosstab"] {
            assert!(!BELIEVED.contains(name), "{name}");
        }
    }
}
