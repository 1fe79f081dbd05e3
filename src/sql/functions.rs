//! What is known of function names: the list of pg_catalog, and the watched ones.
//!
//! Invariant: a name is [`FunctionClass::Pure`] only if every function of that name in
//! pg_catalog, in every listed version, leaves nothing behind in the session. It
//! says nothing about functions of the same name elsewhere. An unqualified call
//! can reach such a one in two ways: the search path names pg_catalog behind
//! another schema, or a function of another schema fits the types of the
//! arguments better. Only the catalog can exclude both.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::effects::Marks;
use super::name::Ident;
use super::token::TokenKind;

const LIST: &str = include_str!("functions.txt");
const KEYWORDS: &str = include_str!("keywords.txt");

/// What a call by a name may do to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionClass {
    /// Nothing that outlives the transaction, nor anything that tells which
    /// session it runs in.
    Pure,
    /// What the marks say, and no more.
    Marked(Marks),
    /// Runs code that the text does not show; and what the marks say.
    Opaque(Marks),
}

static CLASSES: LazyLock<HashMap<&'static [u8], FunctionClass>> = LazyLock::new(|| {
    let entry = |line: &'static str| {
        let (name, word) = line.split_once(' ').unwrap_or((line, ""));
        (name.as_bytes(), class_of(word))
    };
    lines(LIST).map(entry).collect()
});

static CATEGORIES: LazyLock<HashMap<&'static [u8], Category>> = LazyLock::new(|| {
    let entry = |line: &'static str| {
        let (word, letter) = line.split_once(' ')?;
        let category = match letter {
            "r" | "c" => Category::NoFunction,
            "t" => Category::FunctionOrType,
            _ => Category::Other,
        };
        Some((word.as_bytes(), category))
    };
    lines(KEYWORDS).filter_map(entry).collect()
});

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.starts_with('#'))
}

fn class_of(word: &str) -> FunctionClass {
    FunctionClass::Marked(match word {
        "" => return FunctionClass::Pure,
        // Runs a query given as text, or the queries behind a table's name.
        "dynamic" => return FunctionClass::Opaque(Marks::DYNAMIC),
        // Evaluates expressions of indexes, domains and the like.
        "user_code" => return FunctionClass::Opaque(Marks::NONE),
        "set_config" => Marks::SET_CONFIG,
        "advisory" => Marks::ADVISORY_LOCK,
        "advisory_xact" => Marks::ADVISORY_XACT,
        "advisory_unlock" => Marks::ADVISORY_UNLOCK,
        // Leaves a value to currval and lastval.
        "sequence_set" => Marks::SEQUENCE_SET,
        "sequence_get" => Marks::SEQUENCE_GET,
        // Descriptors, which end with the transaction.
        "large_object" => Marks::LARGE_OBJECT,
        "notify" => Marks::NOTIFY,
        "seed" => Marks::SEED,
        "signal" => Marks::SIGNAL,
        "server" => Marks::SERVER,
        "xact_id" => Marks::XACT_ID,
        "identity" => Marks::IDENTITY,
        "reads_session" => Marks::READS_SESSION,
        // "session", and whatever a later list may say: state of another sort.
        _ => Marks::SESSION,
    })
}

/// Looks a name up that is in lower case.
pub(crate) fn class(name: &[u8]) -> Option<FunctionClass> {
    if name.starts_with(b"dblink") {
        // Connections of its own, kept by name in the session.
        return Some(FunctionClass::Opaque(Marks::DBLINK));
    }
    CLASSES.get(name).copied()
}

/// What the call `schema.name(` may do; `None` when nothing is known.
pub(super) fn class_of_call(schema: Option<Ident<'_>>, name: Ident<'_>) -> Option<FunctionClass> {
    let mut buffer = [0; 64];
    let found = class(folded(name, &mut buffer)?)?;
    let dblink = found == FunctionClass::Opaque(Marks::DBLINK);
    let here = schema.is_none_or(|schema| schema.is("pg_catalog"));
    (here || dblink).then_some(found)
}

fn folded<'b>(name: Ident<'b>, buffer: &'b mut [u8; 64]) -> Option<&'b [u8]> {
    if name.kind() != TokenKind::Word {
        return name.inside();
    }
    let room = buffer.get_mut(..name.raw().len())?;
    room.copy_from_slice(name.raw());
    room.make_ascii_lowercase();
    Some(room)
}

/// What sort of keyword a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    /// No function can have this name unless it is quoted or behind a dot.
    NoFunction,
    /// Usually syntax, but a function can have this name.
    FunctionOrType,
    /// A keyword that names things like any other word, in some version at least.
    Other,
}

/// `None` for a word that is a keyword in none of the listed versions.
pub(super) fn category(word: &[u8]) -> Option<Category> {
    let mut buffer = [0; 32];
    let room = buffer.get_mut(..word.len())?;
    room.copy_from_slice(word);
    room.make_ascii_lowercase();
    CATEGORIES.get(&*room).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_lists_are_sorted_and_plain() {
        for file in [LIST, KEYWORDS] {
            let names: Vec<_> = lines(file)
                .map(|line| line.split(' ').next().unwrap())
                .collect();
            assert!(names.len() > 400);
            assert!(names.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()));
        }
        for line in lines(LIST) {
            let mut parts = line.split(' ');
            let name = parts.next().unwrap();
            assert!(!name.is_empty() && name.len() <= 63 && name.is_ascii());
            let word = parts.next();
            assert!(word != Some("") && parts.next().is_none(), "{line}");
            // Words this file does not know are all one.
            let unknown = word.is_some_and(|word| word != "session");
            let session =
                class_of(word.unwrap_or_default()) == FunctionClass::Marked(Marks::SESSION);
            assert!(!(unknown && session), "{line}");
        }
    }

    #[test]
    fn sql_functions_are_classed() {
        for pure in ["now", "lower", "count", "jsonb_build_object", "left", "age"] {
            assert_eq!(class(pure.as_bytes()), Some(FunctionClass::Pure), "{pure}");
        }
        for other in ["set_config", "nextval", "pg_backend_pid", "no_such_thing"] {
            assert_ne!(
                class(other.as_bytes()),
                Some(FunctionClass::Pure),
                "{other}"
            );
        }
        assert_eq!(
            class(b"dblink_connect"),
            Some(FunctionClass::Opaque(Marks::DBLINK))
        );
        assert_eq!(category(b"Select"), Some(Category::NoFunction));
        assert_eq!(category(b"json_table"), Some(Category::Other));
        assert_eq!(category(b"left"), Some(Category::FunctionOrType));
        assert_eq!(category(b"users"), None);
    }
}
