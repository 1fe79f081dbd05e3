//! From a statement's kind and what was found in its text to its effects.
//!
//! Invariant: one arm for each kind, so that a new kind must say what it does.

use super::calls::CallSummary;
use super::definition;
use super::effects::{Certainty, Effects, Marks};
use super::kind::{Command, Direction, Discarded, Explained, ObjectType, Scope, Set, Value};

pub(super) fn effects(kind: Command<'_>, found: &CallSummary) -> Effects {
    let mut effects = own(kind, found.concurrently);
    effects.add(found.text.marks, found.text.certainty);
    if found.executes && matches!(kind, Command::Create { .. } | Command::Explain { .. }) {
        effects.add(Marks::PREPARED, Certainty::Opaque);
    }
    if evaluates(kind) {
        effects.add(found.query.marks, found.query.certainty);
    }
    effects
}

/// Whether expressions in the text are evaluated, now or later.
const fn evaluates(kind: Command<'_>) -> bool {
    match kind {
        Command::Select
        | Command::SelectInto { .. }
        | Command::Values
        | Command::Table
        | Command::Insert
        | Command::Update
        | Command::Delete
        | Command::Merge
        | Command::Prepare(_)
        | Command::Execute(_)
        | Command::Declare { .. }
        | Command::Call
        | Command::Copy { .. }
        | Command::Explain { .. }
        | Command::Alter(_)
        | Command::Unknown => true,
        Command::Create { object, .. } => matches!(
            object,
            ObjectType::Domain
                | ObjectType::ForeignTable
                | ObjectType::Index
                | ObjectType::MaterializedView
                | ObjectType::Policy
                | ObjectType::Rule
                | ObjectType::Schema
                | ObjectType::Statistics
                | ObjectType::Table
                | ObjectType::View
        ),
        _ => false,
    }
}

/// What the kind does, whatever else its text says.
fn own(kind: Command<'_>, concurrently: bool) -> Effects {
    use Certainty::{Exact, Opaque, TextClean, Unknown};
    let (marks, certainty) = match kind {
        Command::Begin { .. }
        | Command::Rollback { .. }
        | Command::Savepoint(_)
        | Command::Release(_)
        | Command::RollbackTo(_) => (Marks::TRANSACTION, Exact),
        // Deferred triggers run.
        Command::Commit { .. } | Command::PrepareTransaction => (Marks::TRANSACTION, TextClean),
        Command::SetConstraints => (Marks::NONE, TextClean),
        Command::CommitPrepared | Command::RollbackPrepared => (Marks::NO_BLOCK, Exact),
        Command::Set(set) => (set_marks(&set), Exact),
        Command::Reset(_) => (Marks::SETTING, Exact),
        Command::Show(_) => (Marks::READS_SESSION, Exact),
        Command::Discard(what) => (discard_marks(what), Exact),
        Command::Listen(_) | Command::Unlisten(_) => (Marks::LISTEN, Exact),
        Command::Notify(_) => (Marks::NOTIFY, Exact),
        Command::Prepare(_) => (Marks::PREPARED, TextClean),
        // The text that it runs was judged when it was prepared, or never seen.
        Command::Execute(_) => (Marks::PREPARED, Opaque),
        Command::Deallocate(_) => (Marks::PREPARED, Exact),
        Command::Declare { hold: true, .. } => (Marks::CURSOR | Marks::CURSOR_HOLD, TextClean),
        Command::Declare { .. } | Command::Fetch(_) | Command::Move(_) => {
            (Marks::CURSOR, TextClean)
        }
        Command::Close(_) => (Marks::CURSOR, Exact),
        Command::Load => (Marks::LIBRARY, Opaque),
        Command::Do | Command::Call => (Marks::NONE, Opaque),
        Command::Copy {
            direction: Direction::From,
            ..
        } => (Marks::WRITES, TextClean),
        Command::Copy { .. } => (Marks::NONE, TextClean),
        Command::Lock => (Marks::NONE, Exact),
        Command::Checkpoint => (Marks::SERVER, Exact),
        Command::Explain { analyze, inner } => explained(analyze, inner),
        Command::Create { .. }
        | Command::Alter(_)
        | Command::Drop(_)
        | Command::CreateDatabase { .. }
        | Command::AlterDatabase { .. }
        | Command::DropDatabase(_) => definition(kind, concurrently),
        Command::Select | Command::Values | Command::Table => (Marks::NONE, TextClean),
        Command::SelectInto { temp } => (temp_if(temp) | Marks::DDL | Marks::WRITES, TextClean),
        Command::Insert
        | Command::Update
        | Command::Delete
        | Command::Merge
        | Command::Truncate => (Marks::WRITES, TextClean),
        Command::Analyze
        | Command::Comment
        | Command::Grant
        | Command::Revoke
        | Command::RefreshMaterializedView
        | Command::SecurityLabel => (Marks::NONE, TextClean),
        // The first two are refused for partitioned tables, which do not show.
        Command::Cluster | Command::Reindex | Command::Vacuum => (Marks::NO_BLOCK, TextClean),
        Command::Reassign => (Marks::DDL, TextClean),
        Command::ImportForeignSchema => (Marks::DDL, Opaque),
        Command::Unknown => (Marks::NONE, Unknown),
    };
    Effects { marks, certainty }
}

const fn temp_if(temp: bool) -> Marks {
    if temp { Marks::TEMP } else { Marks::NONE }
}

fn set_marks(set: &Set<'_>) -> Marks {
    let mut marks = match set.scope {
        Scope::Session | Scope::SessionCharacteristics => Marks::SETTING,
        Scope::Local | Scope::Transaction => Marks::SETTING_LOCAL,
    };
    let name = set.name.setting();
    if name.as_deref() == Some(b"seed".as_slice()) {
        marks |= Marks::SEED;
    }
    // Objects are made in the first schema of the path, which may be temporary.
    if let Value::Raw(value) = set.value
        && value
            .windows(7)
            .any(|part| part.eq_ignore_ascii_case(b"pg_temp"))
    {
        marks |= Marks::TEMP;
    }
    marks
}

fn discard_marks(what: Discarded) -> Marks {
    match what {
        Discarded::All => {
            Marks::SETTING
                | Marks::PREPARED
                | Marks::CURSOR
                | Marks::LISTEN
                | Marks::TEMP
                | Marks::NO_BLOCK
        }
        Discarded::Temp => Marks::TEMP,
        Discarded::Plans | Discarded::Sequences => Marks::NONE,
    }
}

/// Without ANALYZE only the planner looks at it, and evaluates what is constant.
fn explained(analyze: bool, inner: Explained<'_>) -> (Marks, Certainty) {
    let (marks, certainty) = match inner {
        Explained::Query | Explained::Declare => (Marks::WRITES, Certainty::TextClean),
        Explained::Execute(_) if analyze => (Marks::PREPARED | Marks::WRITES, Certainty::Opaque),
        Explained::Execute(_) => return (Marks::PREPARED, Certainty::Opaque),
        Explained::Create { temp } => (
            temp_if(temp) | Marks::DDL | Marks::WRITES,
            Certainty::TextClean,
        ),
        Explained::Refresh => (Marks::WRITES, Certainty::TextClean),
    };
    if analyze {
        (marks, certainty)
    } else {
        (Marks::NONE, certainty)
    }
}

fn definition(kind: Command<'_>, concurrently: bool) -> (Marks, Certainty) {
    let alone = Marks::DDL | Marks::ALONE | Marks::NO_BLOCK;
    let marks = match kind {
        Command::Create { object, temp } => {
            let marks = temp_if(temp) | definition::marks(object, concurrently);
            if marks.has(Marks::LIBRARY) {
                return (marks, Certainty::Opaque);
            }
            marks
        }
        Command::Alter(object) | Command::Drop(object) => definition::marks(object, concurrently),
        Command::AlterDatabase { vacates: false, .. } => Marks::DDL,
        _ => alone,
    };
    (marks, Certainty::TextClean)
}
