//! Statements that would make a client keep its connection, where that is not to be.
//!
//! The error is the server's own work: a statement that raises it goes in place of
//! the client's, so that the transaction fails, and the batch is skipped, as with
//! any other error.

use bytes::BufMut as _;

use crate::config::values::OnSessionState;
use crate::state::trace::Reason;
use crate::wire::frame::Frame;
use crate::wire::frontend;
use crate::wire::sqlstate::SqlState;

/// Appends a message that fails in place of `frame`, a Query or a Bind.
pub(super) fn refusal(policy: OnSessionState, reason: Reason, frame: Frame<'_>, out: &mut Vec<u8>) {
    let (sqlstate, message, hint) = match policy {
        OnSessionState::Error => (
            SqlState::FEATURE_NOT_SUPPORTED,
            "session state is not allowed in this pool",
            "Use a pool in session mode, or on_session_state = \"pin\".",
        ),
        OnSessionState::Pin | OnSessionState::Ignore => (
            SqlState::TOO_MANY_CONNECTIONS,
            "too many clients of this pool keep their connections",
            "Raise max_pinned or the size of the pool, or use less session state.",
        ),
    };
    let text = format!(
        "DO $pgsluice$BEGIN RAISE EXCEPTION USING ERRCODE = '{}', MESSAGE = 'pgsluice: {message} ({})', HINT = '{hint}'; END$pgsluice$",
        sqlstate.code(),
        reason.label(),
    );
    if frame.tag == frontend::QUERY {
        out.extend_from_slice(&frontend::query(text.as_bytes()));
        return;
    }
    // A Bind has no text: it is made to name a statement that is not there.
    out.put_u8(frontend::BIND);
    let name = format!("pgsluice: {message} ({})", reason.label());
    let body_len = 1 + name.len() + 1 + 6;
    out.put_u32(u32::try_from(4 + body_len).unwrap_or(u32::MAX));
    out.put_u8(0);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&[0; 7]);
}
