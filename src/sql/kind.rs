//! The kinds of statement: Postgres's commands, with the operands that pooling
//! asks about.
//!
//! Invariant: operands are spans of the text, never copies. An operand that is not
//! where the grammar wants it makes the statement [`Command::Unknown`].

use super::name::{Ident, Path};

/// One thing by name, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    All,
    Named(Ident<'a>),
}

/// How far a SET reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Session,
    /// Until the transaction's end: `SET LOCAL`.
    Local,
    /// `SET TRANSACTION`: the value holds the modes.
    Transaction,
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION`: the value holds the modes.
    SessionCharacteristics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Default,
    /// `FROM CURRENT`
    Current,
    /// As it is spelled, commas and quotes included.
    Raw(&'a [u8]),
}

/// `SET`. The spellings with names of their own (`TIME ZONE`, `NAMES`, `ROLE`,
/// `SESSION AUTHORIZATION`, `SCHEMA`, `XML OPTION`) have the setting's name here.
/// A transaction's modes have the name `transaction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set<'a> {
    pub(crate) scope: Scope,
    pub(crate) name: Path<'a>,
    pub(crate) value: Value<'a>,
}

/// The setting that RESET or SHOW names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting<'a> {
    All,
    Named(Path<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discarded {
    All,
    Plans,
    Temp,
    Sequences,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    From,
    To,
}

/// Where COPY's rows come from or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// STDIN or STDOUT: the protocol's copy mode. The server reads them alike.
    Client,
    File,
    Program,
}

/// What EXPLAIN explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Explained<'a> {
    Query,
    Execute(Ident<'a>),
    Declare,
    /// CREATE TABLE AS and CREATE MATERIALIZED VIEW.
    Create {
        temp: bool,
    },
    Refresh,
}

/// What CREATE, ALTER and DROP are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectType {
    AccessMethod,
    Aggregate,
    Cast,
    Collation,
    Conversion,
    Database,
    DefaultPrivileges,
    Domain,
    EventTrigger,
    Extension,
    ForeignDataWrapper,
    ForeignTable,
    Function,
    Index,
    Language,
    LargeObject,
    MaterializedView,
    Operator,
    OperatorClass,
    OperatorFamily,
    Owned,
    Policy,
    Procedure,
    Publication,
    Role,
    Routine,
    Rule,
    Schema,
    Sequence,
    Server,
    Statistics,
    Subscription,
    System,
    Table,
    Tablespace,
    TextSearch,
    Transform,
    Trigger,
    Type,
    UserMapping,
    View,
}

/// A command of Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// Also START TRANSACTION. The modes as they are spelled.
    Begin {
        modes: &'a [u8],
    },
    /// Also END.
    Commit {
        chain: bool,
    },
    /// Also ABORT.
    Rollback {
        chain: bool,
    },
    Savepoint(Ident<'a>),
    Release(Ident<'a>),
    RollbackTo(Ident<'a>),
    PrepareTransaction,
    CommitPrepared,
    RollbackPrepared,

    Set(Set<'a>),
    SetConstraints,
    Reset(Setting<'a>),
    Show(Setting<'a>),
    Discard(Discarded),
    Listen(Ident<'a>),
    Unlisten(Which<'a>),
    Notify(Ident<'a>),
    Prepare(Ident<'a>),
    Execute(Ident<'a>),
    Deallocate(Which<'a>),
    Declare {
        name: Ident<'a>,
        hold: bool,
    },
    Fetch(Ident<'a>),
    Move(Ident<'a>),
    Close(Which<'a>),
    Load,
    Do,
    Call,
    Copy {
        direction: Direction,
        peer: Peer,
    },
    Lock,
    Explain {
        analyze: bool,
        inner: Explained<'a>,
    },

    /// `temp` is about the spelling: in a temporary schema, or after a search path
    /// that begins with one, an object is temporary without saying so, and a view
    /// is when it reads something temporary.
    Create {
        object: ObjectType,
        temp: bool,
    },
    Alter(ObjectType),
    Drop(ObjectType),
    CreateDatabase {
        name: Ident<'a>,
        template: Option<Ident<'a>>,
    },
    /// `vacates`: RENAME TO and SET TABLESPACE, which need the database for
    /// themselves.
    AlterDatabase {
        name: Ident<'a>,
        vacates: bool,
    },
    DropDatabase(Ident<'a>),

    /// Also SELECT with WITH, whatever the WITH does; the mark WRITES says.
    Select,
    SelectInto {
        temp: bool,
    },
    Values,
    Table,
    Insert,
    Update,
    Delete,
    Merge,

    Analyze,
    Checkpoint,
    Cluster,
    Comment,
    Grant,
    ImportForeignSchema,
    Reassign,
    RefreshMaterializedView,
    Reindex,
    Revoke,
    SecurityLabel,
    Truncate,
    Vacuum,

    Unknown,
}
