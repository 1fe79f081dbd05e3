//! Sockets: binding, accepting, dialling, and the options set on each.
//!
//! The only room that names `socket2`. It knows addresses, not Postgres.

mod accept_backoff;
mod accept_limit;
mod bind;
mod bind_error;
mod dial;
pub(crate) mod framed;
mod owner;
mod read_ahead;
mod resolver;
mod socket;

pub(crate) use accept_backoff::{AcceptBackoff, RateLimited};
pub(crate) use accept_limit::{AcceptLimit, PendingConnection};
pub(crate) use bind::{Listener, UnixOptions};
pub(crate) use bind_error::BindError;
pub(crate) use dial::{DialError, DialOptions, dial};
pub(crate) use read_ahead::ReadAhead;
pub(crate) use resolver::Resolver;
pub(crate) use socket::{DetachedSocket, Peeked, Peer, Socket};
