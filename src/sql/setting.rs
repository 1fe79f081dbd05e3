//! SET, RESET and SHOW, in all their spellings.
//!
//! Invariant: the name is that of the setting the server changes, whichever
//! spelling says so.

use super::cursor::Cursor;
use super::kind::{Command, Scope, Set, Setting, Value};
use super::name::Path;

/// Behind `SET`.
pub(super) fn set<'a>(cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    if cursor.sees("constraints") && !names_setting(cursor) {
        return Some(Command::SetConstraints);
    }
    let mut scope = Scope::Session;
    if !names_setting(cursor) {
        if cursor.eat("local") {
            scope = Scope::Local;
        } else if cursor.sees("session") && !session_begins_a_name(cursor) {
            cursor.next();
        }
    }
    let (name, value) = if names_setting(cursor) {
        generic(cursor)?
    } else if cursor.eat_all(&["session", "characteristics", "as", "transaction"]) {
        scope = Scope::SessionCharacteristics;
        (fixed("transaction"), raw(cursor)?)
    } else if cursor.eat("transaction") {
        scope = Scope::Transaction;
        (fixed("transaction"), raw(cursor)?)
    } else {
        special(cursor)?
    };
    cursor
        .is_at_end()
        .then_some(Command::Set(Set { scope, name, value }))
}

/// `SESSION AUTHORIZATION`, `SESSION CHARACTERISTICS`.
fn session_begins_a_name(cursor: &Cursor<'_>) -> bool {
    cursor
        .peek_second()
        .is_some_and(|token| token.is_one_of(&["authorization", "characteristics"]))
}

/// Whether a setting's name comes next, even if it is spelled like a keyword.
fn names_setting(cursor: &Cursor<'_>) -> bool {
    cursor.peek_second().is_some_and(|token| {
        token.text == b"=" || token.is_punct(b'.') || token.is_one_of(&["to", "from"])
    })
}

const fn fixed<'a>(name: &'static str) -> Path<'a> {
    Path::new(name.as_bytes())
}

fn raw<'a>(cursor: &mut Cursor<'a>) -> Option<Value<'a>> {
    let text = cursor.remainder();
    (!text.is_empty()).then_some(Value::Raw(text))
}

/// A value, or one of the words that stand for the default.
fn value<'a>(cursor: &mut Cursor<'a>, defaults: &[&str]) -> Option<Value<'a>> {
    let mut ahead = cursor.clone();
    if ahead.eat_one_of(defaults) && ahead.is_at_end() {
        *cursor = ahead;
        return Some(Value::Default);
    }
    raw(cursor)
}

fn generic<'a>(cursor: &mut Cursor<'a>) -> Option<(Path<'a>, Value<'a>)> {
    let name = cursor.path()?;
    if cursor.eat_all(&["from", "current"]) {
        return Some((name, Value::Current));
    }
    let assignment = cursor.next()?;
    let assigns = assignment.text == b"=" || assignment.is_word("to");
    assigns.then_some((name, value(cursor, &["default"])?))
}

fn special<'a>(cursor: &mut Cursor<'a>) -> Option<(Path<'a>, Value<'a>)> {
    let default: &[&str] = &["default"];
    let (name, defaults) = if cursor.eat_all(&["time", "zone"]) {
        ("timezone", ["default", "local"].as_slice())
    } else if cursor.eat("names") {
        if cursor.is_at_end() {
            return Some((fixed("client_encoding"), Value::Default));
        }
        ("client_encoding", default)
    } else if cursor.eat_all(&["session", "authorization"]) {
        ("session_authorization", default)
    } else if cursor.eat("role") {
        // DEFAULT is no role's name here, but NONE is.
        ("role", [].as_slice())
    } else if cursor.eat("schema") {
        ("search_path", [].as_slice())
    } else if cursor.eat_all(&["xml", "option"]) {
        ("xmloption", [].as_slice())
    } else {
        return None;
    };
    Some((fixed(name), value(cursor, defaults)?))
}

/// Behind `RESET` or `SHOW`.
pub(super) fn named<'a>(cursor: &mut Cursor<'a>) -> Option<Setting<'a>> {
    let named = |name| Setting::Named(fixed(name));
    let setting = if cursor.eat("all") {
        Setting::All
    } else if cursor.eat_all(&["time", "zone"]) {
        named("timezone")
    } else if cursor.eat_all(&["transaction", "isolation", "level"]) {
        named("transaction_isolation")
    } else if cursor.eat_all(&["session", "authorization"]) {
        named("session_authorization")
    } else {
        Setting::Named(cursor.path()?)
    };
    cursor.is_at_end().then_some(setting)
}
