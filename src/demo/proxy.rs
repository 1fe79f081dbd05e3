//! What a demo asks of the proxy in front of its server.

use std::error::Error;
use std::net::SocketAddr;

/// The running proxy, as far as a demo has to do with it.
pub(crate) trait DemoProxy {
    /// Where it accepts clients.
    fn address(&self) -> SocketAddr;

    /// Secures a connection to the upstream as a session would, except that the
    /// server has to prove to be `server_name`.
    fn secure_upstream(
        &self,
        server_name: &str,
    ) -> impl Future<Output = Result<TlsFacts, Box<dyn Error + Send + Sync>>>;

    /// Ends all sessions, then the proxy.
    fn stop(self) -> impl Future<Output = ()>;
}

/// What the proxy's own side of a handshake says.
#[derive(Debug, Clone)]
pub(crate) struct TlsFacts {
    /// For example `TLSv1.3`.
    pub(crate) version: String,
    pub(crate) cipher: String,
    /// Name in the peer's certificate that was verified.
    pub(crate) peer_name: String,
}
