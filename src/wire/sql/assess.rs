//! From a statement's kind and what was found in its text to its effects.
//!
//! Invariant: one arm for each kind, so that a new kind must say what it does.

use super::calls::Found;
use super::definition;
use super::effects::{Certainty, Effects, Marks};
use super::kind::{Direction, Discarded, Explained, Kind, ObjectType, Scope, Set, Value};

pub(super) fn effects(kind: Kind<'_>, found: &Found) -> Effects {
    let mut effects = own(kind, found.concurrently);
    effects.add(found.text.marks, found.text.certainty);
    if found.executes && matches!(kind, Kind::Create { .. } | Kind::Explain { .. }) {
        effects.add(Marks::PREPARED, Certainty::Opaque);
    }
    if evaluates(kind) {
        effects.add(found.query.marks, found.query.certainty);
    }
    effects
}

/// Whether expressions in the text are evaluated, now or later.
const fn evaluates(kind: Kind<'_>) -> bool {
    match kind {
        Kind::Select
        | Kind::SelectInto { .. }
        | Kind::Values
        | Kind::Table
        | Kind::Insert
        | Kind::Update
        | Kind::Delete
        | Kind::Merge
        | Kind::Prepare(_)
        | Kind::Execute(_)
        | Kind::Declare { .. }
        | Kind::Call
        | Kind::Copy { .. }
        | Kind::Explain { .. }
        | Kind::Alter(_)
        | Kind::Unknown => true,
        Kind::Create { object, .. } => matches!(
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
fn own(kind: Kind<'_>, concurrently: bool) -> Effects {
    use Certainty::{Exact, Opaque, TextClean, Unknown};
    let (marks, certainty) = match kind {
        Kind::Begin { .. }
        | Kind::Rollback { .. }
        | Kind::Savepoint(_)
        | Kind::Release(_)
        | Kind::RollbackTo(_) => (Marks::TRANSACTION, Exact),
        // Deferred triggers run.
        Kind::Commit { .. } | Kind::PrepareTransaction => (Marks::TRANSACTION, TextClean),
        Kind::SetConstraints => (Marks::NONE, TextClean),
        Kind::CommitPrepared | Kind::RollbackPrepared => (Marks::NO_BLOCK, Exact),
        Kind::Set(set) => (set_marks(&set), Exact),
        Kind::Reset(_) => (Marks::SETTING, Exact),
        Kind::Show(_) => (Marks::READS_SESSION, Exact),
        Kind::Discard(what) => (discard_marks(what), Exact),
        Kind::Listen(_) | Kind::Unlisten(_) => (Marks::LISTEN, Exact),
        Kind::Notify(_) => (Marks::NOTIFY, Exact),
        Kind::Prepare(_) => (Marks::PREPARED, TextClean),
        // The text that it runs was judged when it was prepared, or never seen.
        Kind::Execute(_) => (Marks::PREPARED, Opaque),
        Kind::Deallocate(_) => (Marks::PREPARED, Exact),
        Kind::Declare { hold: true, .. } => (Marks::CURSOR | Marks::CURSOR_HOLD, TextClean),
        Kind::Declare { .. } | Kind::Fetch(_) | Kind::Move(_) => (Marks::CURSOR, TextClean),
        Kind::Close(_) => (Marks::CURSOR, Exact),
        Kind::Load => (Marks::LIBRARY, Opaque),
        Kind::Do | Kind::Call => (Marks::NONE, Opaque),
        Kind::Copy {
            direction: Direction::From,
            ..
        } => (Marks::WRITES, TextClean),
        Kind::Copy { .. } => (Marks::NONE, TextClean),
        Kind::Lock => (Marks::NONE, Exact),
        Kind::Checkpoint => (Marks::SERVER, Exact),
        Kind::Explain { analyze, inner } => explained(analyze, inner),
        Kind::Create { .. }
        | Kind::Alter(_)
        | Kind::Drop(_)
        | Kind::CreateDatabase { .. }
        | Kind::AlterDatabase { .. }
        | Kind::DropDatabase(_) => definition(kind, concurrently),
        Kind::Select | Kind::Values | Kind::Table => (Marks::NONE, TextClean),
        Kind::SelectInto { temp } => (temp_if(temp) | Marks::DDL | Marks::WRITES, TextClean),
        Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge | Kind::Truncate => {
            (Marks::WRITES, TextClean)
        }
        Kind::Analyze
        | Kind::Comment
        | Kind::Grant
        | Kind::Revoke
        | Kind::RefreshMaterializedView
        | Kind::SecurityLabel => (Marks::NONE, TextClean),
        // The first two are refused for partitioned tables, which do not show.
        Kind::Cluster | Kind::Reindex | Kind::Vacuum => (Marks::NO_BLOCK, TextClean),
        Kind::Reassign => (Marks::DDL, TextClean),
        Kind::ImportForeignSchema => (Marks::DDL, Opaque),
        Kind::Unknown => (Marks::NONE, Unknown),
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

fn definition(kind: Kind<'_>, concurrently: bool) -> (Marks, Certainty) {
    let alone = Marks::DDL | Marks::ALONE | Marks::NO_BLOCK;
    let marks = match kind {
        Kind::Create { object, temp } => {
            let marks = temp_if(temp) | definition::marks(object, concurrently);
            if marks.has(Marks::LIBRARY) {
                return (marks, Certainty::Opaque);
            }
            marks
        }
        Kind::Alter(object) | Kind::Drop(object) => definition::marks(object, concurrently),
        Kind::AlterDatabase { vacates: false, .. } => Marks::DDL,
        _ => alone,
    };
    (marks, Certainty::TextClean)
}
