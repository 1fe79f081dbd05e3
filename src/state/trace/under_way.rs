//! What was sent and is not answered, and the transaction that answers are about.

use super::digest::Digest;

/// The message that has something executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Query or FunctionCall: ReadyForQuery ends it.
    Query,
    Execute,
}

/// A message whose answer has not come, or not all of it.
#[derive(Debug)]
pub(super) enum Pending {
    Query {
        digest: Digest,
        /// A part of it was completed.
        begun: bool,
    },
    Execute(Digest),
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
