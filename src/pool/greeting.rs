//! What a client is told of a connection at its login.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::connection::ServerKey;
use super::ids::ConnectionId;
use crate::state::parameters::Parameters;

/// What a client needs to be told of its connection before it has one.
#[derive(Debug, Clone)]
pub(crate) struct LoginGreeting {
    pub(crate) connection: ConnectionId,
    /// Gone with the connection.
    pub(crate) key: Weak<ServerKey>,
    /// Of the server's process, zero if it has none.
    pub(crate) pid: u32,
    pub(crate) parameters: Parameters,
    /// The same as messages, of which there are a dozen, behind the notices of the
    /// connection's login: made once for all clients that are told the same.
    pub(crate) messages: Arc<[u8]>,
    pub(super) notices: Bytes,
}
