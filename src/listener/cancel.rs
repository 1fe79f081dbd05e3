//! A cancel request: whom it is for, what became of it, and what the log says of that.

use super::Server;
use crate::net::Peer;
use crate::session::log_session;
use crate::tls::MaybeTls;
use crate::wire::startup::CancelKey;

/// Forwards a cancel request, if it is for somebody. Not a byte is answered: a
/// client learns that it is done by the close, and nothing more.
pub(super) async fn cancel(front: &Server, key: &CancelKey, peer: Peer, stream: MaybeTls) {
    let Some((session, target)) = front.service.registry.cancel_target(key) else {
        front.metrics.cancel("unknown");
        let pid = key.pid();
        tracing::debug!(from = %peer, pid, outcome = "unknown", "cancel request");
        return;
    };
    let outcome = match target.cancel(key).await {
        Ok(outcome) => outcome,
        Err(error) => {
            log_session!(warn, &session, from = %peer, %error, "cancel request not delivered");
            "failed"
        }
    };
    front.metrics.cancel(outcome);
    let pid = key.pid();
    log_session!(debug, &session, from = %peer, pid, outcome, "cancel request");
    drop(stream);
}
