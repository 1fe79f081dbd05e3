//! Prepared statements: which the client knows, which the connection holds.
//!
//! Statements keep the client's own names on the server, so its bytes pass
//! unchanged and errors are the server's own. What the connection lacks when a
//! client needs it is parsed there again, and what another client left under the
//! same name is closed: messages that are *injected* before the client's, and
//! whose replies the client does not see.
//!
//! Invariant: when a message that uses a name is read by the server, the server
//! holds of that name what the client would find on a server of its own: its
//! statement, or none.
//!
//! Both maps follow the server's word: a Parse counts when ParseComplete is seen.
//! In between it is in flight. An error makes the server skip up to the next Sync
//! and changes nothing but what the failed message itself did: a Parse of the
//! unnamed statement destroys the former one first. What is in flight in the same
//! batch can be built upon, for it is done or the user of it is skipped too. What
//! is in flight in a batch before may or may not be done; where that matters, the
//! answer is [`Wait`].
//!
//! Every message that is forwarded has to be announced here, and none that the
//! server is known to skip. In flight are Parse, Close of a statement, and Query;
//! each is settled by `parsed`, `closed`, `queried` or, in numbers, `failed`.

use foldhash::HashMap;

mod client;
mod described;
mod entries;
mod entry;
mod in_flight;
mod message;
mod server;

#[cfg(test)]
mod tests;

pub(crate) use client::ClientStatements;
pub(crate) use described::Described;
pub(crate) use server::ServerStatements;

/// What is known of names. Looked up several times for each message, and never larger
/// than a client or `max_prepared_statements` make it, so that a quick hash is enough.
type ByName<V> = HashMap<Box<[u8]>, V>;

/// A message that was injected, in the order written: one reply each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Injected {
    Close,
    Parse,
    /// Of the statement that was parsed; its reply is for [`ClientStatements::verified`], and a
    /// Flush goes behind it.
    Describe,
    Flush,
    Sync,
}

/// What the server holds of this name depends on replies that have not come: hold
/// the message back until some have, and ask again. They will come without it, for
/// a Sync stands behind what they answer. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the server holds is not known yet")]
pub(crate) struct Wait;

/// On what the meaning of a statement depends, besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Environment {
    /// Fingerprint of the client's settings: search_path and the like.
    pub(crate) settings: u64,
    /// Grows when the schema may have changed. A plan of an older epoch may have
    /// columns of yesterday, so it is nothing for a client that parsed later.
    pub(crate) epoch: u32,
}

/// A client's Parse.
#[derive(Debug)]
pub(crate) struct Parse<'a, T> {
    pub(crate) name: &'a [u8],
    /// The body behind the name: query, zero, types of the parameters. `None` if it
    /// was too long to look at as a whole.
    pub(crate) rest: Option<&'a [u8]>,
    /// What the session wants to remember of it.
    pub(crate) note: T,
}
