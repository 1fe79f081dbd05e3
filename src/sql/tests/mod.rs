//! Tests of the SQL reader.

mod commands;
mod hostile;
mod splitting;

use super::effects::Certainty;
use super::kind::{Command, Setting, Value, Which};
use super::name::{Ident, Path};
use super::{Backslash, Dialect, Statement, statements};

const PLAIN: Dialect = Dialect {
    backslash: Backslash::Plain,
    ascii_safe: true,
};

const ESCAPE: Dialect = Dialect {
    backslash: Backslash::Escape,
    ascii_safe: true,
};

fn all(text: &str) -> Vec<Statement<'_>> {
    statements(text.as_bytes(), PLAIN).collect()
}

fn only(text: &str) -> Statement<'_> {
    let found = all(text);
    assert_eq!(found.len(), 1, "{text}");
    found[0]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ident(name: Ident<'_>) -> String {
    name.bytes()
        .map_or_else(|| "?".to_owned(), |name| text(&name))
}

fn path(name: Path<'_>) -> String {
    name.setting()
        .map_or_else(|| "?".to_owned(), |name| text(&name))
}

fn which(which: Which<'_>) -> String {
    match which {
        Which::All => "ALL".to_owned(),
        Which::Named(name) => ident(name),
    }
}

fn setting(setting: Setting<'_>) -> String {
    match setting {
        Setting::All => "ALL".to_owned(),
        Setting::Named(name) => path(name),
    }
}

/// The kind in one line.
fn kind(kind: Command<'_>) -> String {
    match kind {
        Command::Begin { modes } => format!("Begin {}", text(modes)).trim_end().to_owned(),
        Command::Savepoint(name) => format!("Savepoint {}", ident(name)),
        Command::Release(name) => format!("Release {}", ident(name)),
        Command::RollbackTo(name) => format!("RollbackTo {}", ident(name)),
        Command::Set(set) => {
            let value = match set.value {
                Value::Raw(value) => text(value),
                other => format!("{other:?}"),
            };
            format!("Set {:?} {} = {value}", set.scope, path(set.name))
        }
        Command::Reset(name) => format!("Reset {}", setting(name)),
        Command::Show(name) => format!("Show {}", setting(name)),
        Command::Listen(name) => format!("Listen {}", ident(name)),
        Command::Unlisten(name) => format!("Unlisten {}", which(name)),
        Command::Notify(name) => format!("Notify {}", ident(name)),
        Command::Prepare(name) => format!("Prepare {}", ident(name)),
        Command::Execute(name) => format!("Execute {}", ident(name)),
        Command::Deallocate(name) => format!("Deallocate {}", which(name)),
        Command::Declare { name, hold } => format!("Declare {} hold={hold}", ident(name)),
        Command::Fetch(name) => format!("Fetch {}", ident(name)),
        Command::Move(name) => format!("Move {}", ident(name)),
        Command::Close(name) => format!("Close {}", which(name)),
        Command::CreateDatabase { name, template } => format!(
            "CreateDatabase {} {}",
            ident(name),
            template.map_or_else(|| "-".to_owned(), ident)
        ),
        Command::AlterDatabase { name, vacates } => {
            format!("AlterDatabase {} vacates={vacates}", ident(name))
        }
        Command::DropDatabase(name) => format!("DropDatabase {}", ident(name)),
        other => format!("{other:?}").replace([' ', '{', '}'], ""),
    }
}

/// Certainty and marks in one line; the caveat about names is left out.
fn effects(statement: &Statement<'_>) -> String {
    let letter = match statement.effects.certainty {
        Certainty::Exact => 'E',
        Certainty::TextClean => 'T',
        Certainty::Opaque => 'O',
        Certainty::Unknown => 'U',
    };
    let marks = format!("{:?}", statement.effects.marks);
    let marks = marks
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|mark| !mark.is_empty() && *mark != "UNQUALIFIED");
    std::iter::once(letter.to_string())
        .chain(marks.map(str::to_owned))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Schema-qualified where it is, with `!` behind what is not known to be pure.
fn calls(text: &str) -> String {
    let statement = only(text);
    let one = |call: super::calls::Call<'_>| {
        let schema = call
            .schema
            .map_or_else(String::new, |schema| ident(schema) + ".");
        let mark = if call.class == Some(super::functions::FunctionClass::Pure) {
            ""
        } else {
            "!"
        };
        format!("{schema}{}{mark}", ident(call.name))
    };
    statement.calls().map(one).collect::<Vec<_>>().join(" ")
}
