//! What was sent and is not answered, and the transaction that answers are about.

use super::statement_effects::StatementEffects;
use crate::wire::backend;

/// The message that has something executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecutedBy {
    /// Query or FunctionCall: ReadyForQuery ends it.
    Query,
    Execute,
}

/// A message whose answer has not come, or not all of it.
#[derive(Debug)]
pub(super) enum PendingReply {
    Query {
        digest: StatementEffects,
        /// A part of it was completed.
        begun: bool,
    },
    Execute(StatementEffects),
    /// ReadyForQuery comes: a Sync, or a Query that failed.
    Ready,
}

/// The transaction that the answers are about, implicit ones included.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// It has savepoints or the like: changes of settings are not followed.
    pub(super) divided: bool,
    /// Something in it changes settings, be it for itself.
    pub(super) sets: bool,
    /// An error was answered: messages are discarded up to the next Sync.
    pub(super) discarding: Discarding,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discarding {
    #[default]
    No,
    Yes,
}

/// Whether an error tells that the server did not begin to execute: the parser
/// raised it, of the text that it was sent, or the transaction has failed before.
pub(super) fn never_ran(body: &[u8]) -> bool {
    let has = |field| backend::error_field(body, field).is_some();
    let inside = has(b'W') || has(b'q');
    match backend::error_field(body, b'C').as_deref() {
        Some("42601") => has(b'P') && !inside,
        Some("25P02") => !inside,
        _ => false,
    }
}
