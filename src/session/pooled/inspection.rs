//! The words of a conversation over a lease.

use crate::config::values::{OnSessionState, PoolMode, Scrub};
use crate::database::CatalogQuery;
use crate::database::catalog::CatalogReader;
use crate::state::parameters::Parameters;
use crate::state::prepared::{ServerStatements, Wait};
use crate::state::probe;
use crate::state::tracker::HoldReason;

/// What the connection at the other end holds, as far as a conversation changes it.
#[derive(Debug)]
pub(super) struct ServerSide<'a> {
    pub(super) statements: &'a mut ServerStatements,
    pub(super) reported: &'a mut Parameters,
}

/// Work of the proxy's own on the connection, while the client's messages wait.
#[derive(Debug)]
pub(super) enum InternalQuery {
    /// None: the client has the connection.
    None,
    /// Asking what the client has left.
    Probe(probe::ProbeReader),
    /// Asking the catalog.
    CatalogQuery(CatalogQuery, CatalogReader),
    /// Ending the transaction of a client that has left.
    Rollback,
    /// Finding out what the server still owes.
    Marker,
    /// Undoing what a client that has left may have left.
    Reset(ResetOutcome),
}

/// Whether all could be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetOutcome {
    Yes,
    /// All but a temporary schema.
    AllBut,
    No,
}

/// What is still to be expected of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientSide {
    Speaking,
    /// It said Terminate, or closed.
    Gone,
}

/// Whether the connection can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    Good,
    /// An answer fitted no question: it serves this client, and nobody after it.
    Doubtful,
    /// The server has announced the end of the session.
    Terminated,
    /// What was to make it this client's failed: nothing that follows may be believed.
    Broken,
}

/// Something has to happen before a frame may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Precondition {
    /// Nobody may be connected to this database.
    Vacant(Vec<u8>),
    /// A place among those who may keep a connection.
    Pin(HoldReason),
    /// The connection whose process id the client was told, if that can be had.
    AnnouncedBackend,
}

/// Why a message cannot go on yet.
#[derive(Debug)]
pub(super) enum Blocked {
    Need(Precondition),
    /// What the server holds depends on replies that have not come.
    Wait,
    Refused(HoldReason),
    /// It uses a statement whose result is another now.
    Stale,
}

impl From<Wait> for Blocked {
    fn from(_: Wait) -> Self {
        Self::Wait
    }
}

/// How the client's next frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    /// It waits for replies.
    Closed,
    /// What it needs has been seen to.
    Satisfied,
    /// What it needs cannot be had: it gets an error, for this reason.
    Refused(HoldReason),
}

/// What a conversation may do; from the pool's settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) mode: PoolMode,
    pub(super) on_session_state: OnSessionState,
    pub(super) scrub: Scrub,
}

/// Definitions that what ran may have changed.
#[derive(Debug, Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each happens by itself")]
pub(super) struct DefinitionChanges {
    /// Of anything: plans and proofs are stale.
    pub(super) definitions: bool,
    /// Of code that hides the names of its settings.
    pub(super) hidden: bool,
    /// Of what leads to code that keeps state in the server's process.
    pub(super) kept: bool,
    /// Of what new logins begin with.
    pub(super) logins: bool,
    /// Of what other sessions there are.
    pub(super) sessions: bool,
}
