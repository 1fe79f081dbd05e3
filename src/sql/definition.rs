//! CREATE, ALTER and DROP.
//!
//! Invariant: only the words before the object's name are read, and of databases
//! the operands that decide who else may be connected.

use super::cursor::Cursor;
use super::effects::Marks;
use super::kind::{Command, ObjectType};
use super::name::Ident;

/// Behind `CREATE`.
pub(super) fn create<'a>(cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    cursor.eat_all(&["or", "replace"]);
    let mut temp = false;
    loop {
        if cursor.eat_one_of(&["temp", "temporary"]) {
            temp = true;
        } else if !cursor.eat_one_of(&[
            "local",
            "global",
            "unlogged",
            "unique",
            "trusted",
            "procedural",
            "constraint",
            "recursive",
        ]) {
            break;
        }
    }
    if cursor.eat_all(&["default", "conversion"]) {
        return Some(Command::Create {
            object: ObjectType::Conversion,
            temp,
        });
    }
    match object(cursor)? {
        ObjectType::Database => Some(Command::CreateDatabase {
            name: cursor.name()?,
            template: template(cursor),
        }),
        object => Some(Command::Create { object, temp }),
    }
}

/// The operand of `TEMPLATE`, with or without `=` before it.
fn template<'a>(cursor: &mut Cursor<'a>) -> Option<Ident<'a>> {
    while let Some(token) = cursor.next() {
        if token.is_word("template") {
            if cursor.peek()?.text == b"=" {
                cursor.next();
            }
            return cursor.name_or_text().filter(|name| !name.is("default"));
        }
    }
    None
}

/// Behind `ALTER`.
pub(super) fn alter<'a>(cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    if cursor.eat_all(&["default", "privileges"]) {
        return Some(Command::Alter(ObjectType::DefaultPrivileges));
    }
    match object(cursor)? {
        ObjectType::Database => {
            let name = cursor.name()?;
            let vacates =
                cursor.eat_all(&["rename", "to"]) || cursor.eat_all(&["set", "tablespace"]);
            Some(Command::AlterDatabase { name, vacates })
        }
        object => Some(Command::Alter(object)),
    }
}

/// Behind `DROP`.
pub(super) fn drop<'a>(cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    match object(cursor)? {
        ObjectType::Database => {
            cursor.eat_all(&["if", "exists"]);
            Some(Command::DropDatabase(cursor.name()?))
        }
        object => Some(Command::Drop(object)),
    }
}

fn object(cursor: &mut Cursor<'_>) -> Option<ObjectType> {
    let word = cursor.next()?.folded();
    Some(match word.as_bytes() {
        b"access" => second(cursor, "method", ObjectType::AccessMethod)?,
        b"aggregate" => ObjectType::Aggregate,
        b"cast" => ObjectType::Cast,
        b"collation" => ObjectType::Collation,
        b"conversion" => ObjectType::Conversion,
        b"database" => ObjectType::Database,
        b"domain" => ObjectType::Domain,
        b"event" => second(cursor, "trigger", ObjectType::EventTrigger)?,
        b"extension" => ObjectType::Extension,
        b"foreign" => second(cursor, "table", ObjectType::ForeignTable)
            .or_else(|| second(cursor, "data", ObjectType::ForeignDataWrapper))?,
        b"function" => ObjectType::Function,
        b"index" => ObjectType::Index,
        b"procedural" | b"language" => ObjectType::Language,
        b"large" => second(cursor, "object", ObjectType::LargeObject)?,
        b"materialized" => second(cursor, "view", ObjectType::MaterializedView)?,
        b"operator" => second(cursor, "class", ObjectType::OperatorClass)
            .or_else(|| second(cursor, "family", ObjectType::OperatorFamily))
            .unwrap_or(ObjectType::Operator),
        b"owned" => ObjectType::Owned,
        b"policy" => ObjectType::Policy,
        b"procedure" => ObjectType::Procedure,
        b"publication" => ObjectType::Publication,
        b"user" => mapping(cursor).unwrap_or(ObjectType::Role),
        b"group" | b"role" => ObjectType::Role,
        b"routine" => ObjectType::Routine,
        b"rule" => ObjectType::Rule,
        b"schema" => ObjectType::Schema,
        b"sequence" => ObjectType::Sequence,
        b"server" => ObjectType::Server,
        b"statistics" => ObjectType::Statistics,
        b"subscription" => ObjectType::Subscription,
        b"system" => ObjectType::System,
        b"table" => ObjectType::Table,
        b"tablespace" => ObjectType::Tablespace,
        b"text" => second(cursor, "search", ObjectType::TextSearch)?,
        b"transform" => ObjectType::Transform,
        b"trigger" => ObjectType::Trigger,
        b"type" => ObjectType::Type,
        b"view" => ObjectType::View,
        _ => return None,
    })
}

fn second(cursor: &mut Cursor<'_>, word: &str, object: ObjectType) -> Option<ObjectType> {
    cursor.eat(word).then_some(object)
}

/// `USER MAPPING FOR`; a user may be called `mapping`.
fn mapping(cursor: &Cursor<'_>) -> Option<ObjectType> {
    let follows = cursor.peek_second()?;
    let is_mapping = cursor.sees("mapping") && follows.is_one_of(&["for", "if"]);
    is_mapping.then_some(ObjectType::UserMapping)
}

/// What CREATE, ALTER and DROP of an object do beside changing the catalog.
/// `concurrently` is whether the word occurs anywhere.
pub(super) fn marks(object: ObjectType, concurrently: bool) -> Marks {
    let mut marks = match object {
        // All but some forms of ALTER SUBSCRIPTION and ALTER TABLESPACE.
        ObjectType::Subscription | ObjectType::System | ObjectType::Tablespace => Marks::NO_BLOCK,
        // Its script and its functions' libraries run in this session.
        ObjectType::Extension | ObjectType::Language => Marks::LIBRARY,
        _ => Marks::NONE,
    };
    if concurrently && object != ObjectType::MaterializedView {
        marks |= Marks::NO_BLOCK;
    }
    marks | Marks::DDL
}
