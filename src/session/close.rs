//! Closing both legs, and giving the connection's place back when the server has
//! let go of it.
//!
//! The place is held until the server has closed: a backend counts against its
//! limit until it has exited, and it exits before its socket closes. A server
//! that is gone for good shows by keepalive, so no other limit is set here.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::pool::Permit;
use crate::tls::MaybeTls;
use crate::upstream::Upstream;
use crate::wire::frontend::TERMINATE_MESSAGE;
use crate::wire::startup::CancelKey;

/// How long a client may take to accept its last bytes.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a statement whose client is gone may go on before it is cancelled.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(2);

/// What the upstream connection is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpstreamState {
    /// It has closed.
    Ended,
    /// Between two statements: Terminate can be said.
    AtRest,
    /// A statement runs for a client that is gone: it is cancelled.
    Busy,
    /// In the middle of a message or a login: all that can be done is to close.
    Torn,
}

/// An upstream connection's place under the cap, and how to leave it.
#[derive(Debug)]
pub(super) struct Closing {
    /// Given back by being dropped.
    _permit: Permit,
    upstream: Arc<Upstream>,
    pub(super) key: Option<CancelKey>,
    pub(super) state: UpstreamState,
}

impl Closing {
    pub(super) const fn new(permit: Permit, upstream: Arc<Upstream>) -> Self {
        Self {
            _permit: permit,
            upstream,
            key: None,
            state: UpstreamState::Torn,
        }
    }

    /// Lets go of the connection; returns when the server has.
    pub(super) async fn close(self, mut stream: MaybeTls) {
        if self.state == UpstreamState::Ended {
            return;
        }
        // The server may be gone already; reading shows it, writing need not.
        if matches!(self.state, UpstreamState::AtRest | UpstreamState::Busy) {
            let _ = stream.write_all(&TERMINATE_MESSAGE).await;
            let _ = stream.flush().await;
        }
        if self.state == UpstreamState::Busy {
            self.cancel().await;
        }
        let _ = stream.shutdown().await;
        if timeout(STATEMENT_PATIENCE, read_to_end(&mut stream))
            .await
            .is_err()
        {
            self.cancel().await;
            read_to_end(&mut stream).await;
        }
    }

    async fn cancel(&self) {
        let Some(key) = &self.key else { return };
        if let Err(error) = self.upstream.cancel(key).await {
            tracing::debug!(%error, "a statement without a client could not be cancelled");
        }
    }
}

async fn read_to_end(stream: &mut MaybeTls) {
    let mut nothing = vec![0; 8192];
    while let Ok(1..) = stream.read(&mut nothing).await {}
}

/// Lets the client go: what was written reaches it.
pub(super) async fn client(mut stream: MaybeTls) {
    let _ = timeout(CLIENT_PATIENCE, stream.shutdown()).await;
}
