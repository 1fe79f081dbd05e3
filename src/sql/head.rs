//! The kind of a statement, from its first words.
//!
//! Invariant: what does not follow the grammar is [`Command::Unknown`], never a guess.
//! There is no recursion, whatever the text nests.

use super::calls::CallSummary;
use super::cursor::Cursor;
use super::definition;
use super::kind::{Command, Direction, Discarded, Explained, Peer, Which};
use super::setting;

pub(super) fn kind<'a>(cursor: &mut Cursor<'a>, found: &CallSummary) -> Command<'a> {
    let kind = if cursor.eat("explain") {
        explain(cursor, found)
    } else {
        command(cursor, found)
    };
    kind.unwrap_or(Command::Unknown)
}

/// Any command but EXPLAIN.
fn command<'a>(cursor: &mut Cursor<'a>, found: &CallSummary) -> Option<Command<'a>> {
    let first = cursor.peek()?;
    if first.is_punct(b'(') {
        while cursor.eat_punct(b'(') {}
        return query(cursor, found).filter(|kind| is_select(*kind));
    }
    let word = first.folded();
    match word.as_bytes() {
        b"select" | b"with" | b"values" | b"table" | b"insert" | b"update" | b"delete"
        | b"merge" => return query(cursor, found),
        _ => cursor.next(),
    };
    match word.as_bytes() {
        b"begin" => begin(cursor),
        b"start" if cursor.sees("transaction") => begin(cursor),
        b"commit" | b"end" | b"rollback" | b"abort" | b"savepoint" | b"release" => {
            transaction(word.as_bytes(), cursor)
        }
        b"set" => setting::set(cursor),
        b"reset" => setting::named(cursor).map(Command::Reset),
        b"show" => setting::named(cursor).map(Command::Show),
        b"listen" | b"unlisten" | b"notify" | b"discard" | b"load" | b"do" | b"call" | b"lock" => {
            session(word.as_bytes(), cursor)
        }
        b"prepare" | b"execute" | b"deallocate" => prepared(word.as_bytes(), cursor),
        b"declare" | b"fetch" | b"move" | b"close" => portal(word.as_bytes(), cursor),
        b"copy" => copy(cursor),
        b"create" => definition::create(cursor),
        b"alter" => definition::alter(cursor),
        b"drop" => definition::drop(cursor),
        _ => maintenance(word.as_bytes(), cursor),
    }
}

const fn is_select(kind: Command<'_>) -> bool {
    matches!(
        kind,
        Command::Select | Command::SelectInto { .. } | Command::Values | Command::Table
    )
}

/// Takes the verb, past the common table expressions before it.
fn query<'a>(cursor: &mut Cursor<'a>, found: &CallSummary) -> Option<Command<'a>> {
    if cursor.eat("with") {
        with(cursor)?;
        while cursor.eat_punct(b'(') {}
        // A query in those parentheses may have a WITH of its own, but then it is
        // a SELECT: nothing else is allowed there.
        if cursor.sees("with") {
            return Some(select(found));
        }
    }
    let word = cursor.next()?.folded();
    Some(match word.as_bytes() {
        b"select" => select(found),
        b"values" => Command::Values,
        b"table" => Command::Table,
        b"insert" => Command::Insert,
        b"update" => Command::Update,
        b"delete" => Command::Delete,
        b"merge" => Command::Merge,
        _ => return None,
    })
}

fn select<'a>(found: &CallSummary) -> Command<'a> {
    found
        .into
        .map_or(Command::Select, |temp| Command::SelectInto { temp })
}

/// Behind `WITH`: passes `name (…) AS (…) SEARCH … CYCLE …, …`.
fn with(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.eat("recursive");
    loop {
        cursor.name()?;
        if cursor.eat_punct(b'(') {
            cursor.pass_parens();
        }
        cursor.eat("as").then_some(())?;
        cursor.eat("not");
        cursor.eat("materialized");
        cursor.eat_punct(b'(').then_some(())?;
        cursor.pass_parens();
        if cursor.eat("search") {
            pass(cursor, "set")?;
        }
        if cursor.eat("cycle") {
            pass(cursor, "using")?;
        }
        if !cursor.eat_punct(b',') {
            return Some(());
        }
    }
}

/// Passes everything up to `word` and the name behind it.
fn pass(cursor: &mut Cursor<'_>, word: &str) -> Option<()> {
    while !cursor.eat(word) {
        cursor.next()?;
    }
    cursor.name().map(drop)
}

fn begin<'a>(cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    cursor.eat_one_of(&["work", "transaction"]);
    Some(Command::Begin {
        modes: cursor.remainder(),
    })
}

fn transaction<'a>(verb: &[u8], cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    let commits = matches!(verb, b"commit" | b"end");
    let kind = match verb {
        b"savepoint" => Command::Savepoint(cursor.name()?),
        b"release" => {
            eat_before_name(cursor, "savepoint");
            Command::Release(cursor.name()?)
        }
        b"commit" | b"rollback" if cursor.eat("prepared") => {
            cursor.name_or_text()?;
            if commits {
                Command::CommitPrepared
            } else {
                Command::RollbackPrepared
            }
        }
        _ => {
            cursor.eat_one_of(&["work", "transaction"]);
            if verb == b"rollback" && cursor.eat("to") {
                eat_before_name(cursor, "savepoint");
                Command::RollbackTo(cursor.name()?)
            } else {
                let chain = cursor.eat_all(&["and", "chain"]);
                let _none = !chain && cursor.eat_all(&["and", "no", "chain"]);
                if commits {
                    Command::Commit { chain }
                } else {
                    Command::Rollback { chain }
                }
            }
        }
    };
    cursor.is_at_end().then_some(kind)
}

/// Takes a word that a name may follow, but not when it is the name itself.
fn eat_before_name(cursor: &mut Cursor<'_>, word: &str) {
    if cursor.peek_second().is_some() {
        cursor.eat(word);
    }
}

/// Commands about the session with simple operands.
fn session<'a>(verb: &[u8], cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    let kind = match verb {
        b"listen" => Command::Listen(cursor.name()?),
        b"unlisten" if cursor.peek()?.text == b"*" => {
            cursor.next();
            Command::Unlisten(Which::All)
        }
        b"unlisten" => Command::Unlisten(Which::Named(cursor.name()?)),
        b"notify" => {
            let channel = cursor.name()?;
            if cursor.eat_punct(b',') {
                cursor.name_or_text()?;
                // `U&'…' UESCAPE '…'`
                cursor.remainder();
            }
            Command::Notify(channel)
        }
        b"discard" => {
            let what = cursor.next()?.folded();
            Command::Discard(match what.as_bytes() {
                b"all" => Discarded::All,
                b"plans" => Discarded::Plans,
                b"temp" | b"temporary" => Discarded::Temp,
                b"sequences" => Discarded::Sequences,
                _ => return None,
            })
        }
        b"load" => {
            cursor.name_or_text()?;
            Command::Load
        }
        other => {
            cursor.remainder();
            match other {
                b"do" => Command::Do,
                b"call" => Command::Call,
                _ => Command::Lock,
            }
        }
    };
    cursor.is_at_end().then_some(kind)
}

fn prepared<'a>(verb: &[u8], cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    match verb {
        b"prepare" => {
            let is_text = cursor.peek_second().is_some_and(|token| token.is_text());
            if is_text && cursor.eat("transaction") {
                return Some(Command::PrepareTransaction);
            }
            let name = cursor.name()?;
            if cursor.eat_punct(b'(') {
                cursor.pass_parens();
            }
            cursor.eat("as").then_some(Command::Prepare(name))
        }
        b"execute" => cursor.name().map(Command::Execute),
        _ => {
            eat_before_name(cursor, "prepare");
            cursor.which().map(Command::Deallocate)
        }
    }
}

fn portal<'a>(verb: &[u8], cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    match verb {
        b"close" => cursor.which().map(Command::Close),
        b"declare" => {
            let name = cursor.name()?;
            while cursor.eat_one_of(&["binary", "asensitive", "insensitive", "no", "scroll"]) {}
            cursor.eat("cursor").then_some(())?;
            let hold = cursor.eat_all(&["with", "hold"]);
            let _without = !hold && cursor.eat_all(&["without", "hold"]);
            cursor.eat("for").then_some(Command::Declare { name, hold })
        }
        _ => {
            // The cursor's name is last, whatever says how far to go.
            while cursor.peek_second().is_some() {
                cursor.next();
            }
            let name = cursor.name()?;
            Some(if verb == b"move" {
                Command::Move(name)
            } else {
                Command::Fetch(name)
            })
        }
    }
}

fn copy<'a>(cursor: &mut Cursor<'a>) -> Option<Command<'a>> {
    let mut after_dot = false;
    let direction = loop {
        if cursor.eat_punct(b'(') {
            cursor.pass_parens();
            after_dot = false;
            continue;
        }
        // Behind a dot even a reserved word is a name.
        if !after_dot && cursor.eat("from") {
            break Direction::From;
        }
        if !after_dot && cursor.eat("to") {
            break Direction::To;
        }
        after_dot = cursor.next()?.is_punct(b'.');
    };
    let peer = if cursor.eat("program") {
        Peer::Program
    } else if cursor.eat_one_of(&["stdin", "stdout"]) {
        Peer::Client
    } else if cursor.next()?.is_text() {
        Peer::File
    } else {
        return None;
    };
    Some(Command::Copy { direction, peer })
}

/// Behind `EXPLAIN`.
fn explain<'a>(cursor: &mut Cursor<'a>, found: &CallSummary) -> Option<Command<'a>> {
    let mut analyze = false;
    let begins_query = |cursor: &Cursor<'_>| {
        let second = cursor.peek_second();
        second.is_some_and(|token| {
            token.is_one_of(&["select", "with", "values", "table"]) || token.is_punct(b'(')
        })
    };
    if cursor.peek()?.is_punct(b'(') && !begins_query(cursor) {
        while let Some(token) = cursor.next() {
            if token.is_one_of(&["analyze", "analyse"]) {
                let off = cursor.eat_one_of(&["false", "off"]);
                analyze |= !off;
            } else if token.is_punct(b')') {
                break;
            }
        }
    } else {
        analyze = cursor.eat_one_of(&["analyze", "analyse"]);
        cursor.eat("verbose");
    }
    let inner = match command(cursor, found)? {
        Command::Select
        | Command::Values
        | Command::Table
        | Command::Insert
        | Command::Update
        | Command::Delete
        | Command::Merge => Explained::Query,
        Command::SelectInto { temp } | Command::Create { temp, .. } => Explained::Create { temp },
        Command::Execute(name) => Explained::Execute(name),
        Command::Declare { .. } => Explained::Declare,
        Command::RefreshMaterializedView => Explained::Refresh,
        _ => return None,
    };
    Some(Command::Explain { analyze, inner })
}

/// Commands without an operand of interest.
fn maintenance<'a>(verb: &[u8], cursor: &Cursor<'a>) -> Option<Command<'a>> {
    let goes_on = |kind, word| cursor.sees(word).then_some(kind);
    Some(match verb {
        b"analyze" | b"analyse" => Command::Analyze,
        b"checkpoint" => Command::Checkpoint,
        b"cluster" => Command::Cluster,
        b"comment" => goes_on(Command::Comment, "on")?,
        b"grant" => Command::Grant,
        b"import" => goes_on(Command::ImportForeignSchema, "foreign")?,
        b"reassign" => goes_on(Command::Reassign, "owned")?,
        b"refresh" => goes_on(Command::RefreshMaterializedView, "materialized")?,
        b"reindex" => Command::Reindex,
        b"revoke" => Command::Revoke,
        b"security" => goes_on(Command::SecurityLabel, "label")?,
        b"truncate" => Command::Truncate,
        b"vacuum" => Command::Vacuum,
        _ => return None,
    })
}
