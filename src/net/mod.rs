//! Sockets: binding, accepting, dialling, and the options set on each.
//!
//! The only room that names `socket2`. It knows addresses, not Postgres.

mod bind;
mod bind_error;
mod dial;
pub(crate) mod framed;
mod lobby;
mod owner;
mod read_ahead;
mod resolver;
mod setback;
mod socket;

pub(crate) use bind::{Listener, UnixOptions};
pub(crate) use bind_error::BindError;
pub(crate) use dial::{DialError, Reach, dial};
pub(crate) use lobby::{Lobby, Visit};
pub(crate) use read_ahead::ReadAhead;
pub(crate) use resolver::Resolver;
pub(crate) use setback::{Seldom, Setback};
pub(crate) use socket::{Glance, Peer, Portable, Socket};
