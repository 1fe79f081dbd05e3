//! The SQLSTATEs that pgsluice itself raises, and why each.

/// A five-character SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SqlState(&'static str);

impl SqlState {
    /// A cap was reached, or the wait for a connection took too long.
    pub(crate) const TOO_MANY_CONNECTIONS: Self = Self("53300");
    /// The upstream cannot be reached, or is paused: try again later.
    pub(crate) const CANNOT_CONNECT_NOW: Self = Self("57P03");
    /// The proxy is draining.
    pub(crate) const ADMIN_SHUTDOWN: Self = Self("57P01");
    /// The upstream connection was lost.
    pub(crate) const CONNECTION_FAILURE: Self = Self("08006");
    /// Lost while COMMIT was in flight: nobody knows whether it took effect.
    pub(crate) const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self("08007");
    pub(crate) const INVALID_PASSWORD: Self = Self("28P01");
    pub(crate) const INVALID_AUTHORIZATION: Self = Self("28000");
    /// A client was idle for too long.
    pub(crate) const IDLE_SESSION_TIMEOUT: Self = Self("57P05");
    /// A client was idle in a transaction for too long.
    pub(crate) const IDLE_IN_TRANSACTION_TIMEOUT: Self = Self("25P03");
    /// A transaction took too long.
    pub(crate) const TRANSACTION_TIMEOUT: Self = Self("25P04");
    /// A statement took too long.
    pub(crate) const QUERY_CANCELED: Self = Self("57014");
    pub(crate) const FEATURE_NOT_SUPPORTED: Self = Self("0A000");
    pub(crate) const PROTOCOL_VIOLATION: Self = Self("08P01");

    pub(crate) const fn code(self) -> &'static str {
        self.0
    }
}
