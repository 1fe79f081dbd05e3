//! A cancel request: whom it is for, what became of it, and what the log says of that.

use crate::net::Peer;
use crate::session::{Service, log_session};
use crate::tls::MaybeTls;
use crate::wire::startup::CancelKey;

/// Forwards a cancel request, if it is for somebody. Not a byte is answered: a
/// client learns that it is done by the close, and nothing more.
pub(super) async fn cancel(service: &Service, key: &CancelKey, peer: Peer, stream: MaybeTls) {
    let Some((session, target)) = service.registry.cancel_target(key) else {
        service.metrics.cancel("unknown");
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
    service.metrics.cancel(outcome);
    let pid = key.pid();
    log_session!(debug, &session, from = %peer, pid, outcome, "cancel request");
    drop(stream);
}
