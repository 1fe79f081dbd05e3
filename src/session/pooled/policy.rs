//! Statements that would make a client keep its connection, where that is not to be.
//!
//! The error is the server's own work: a statement that raises it goes in place of
//! the client's, so that the transaction fails, and the batch is skipped, as with
//! any other error.

use crate::config::values::OnSessionState;
use crate::state::tracker::HoldReason;
use crate::wire::frame::Frame;
use crate::wire::frontend;
use crate::wire::sqlstate::SqlState;

/// Appends a message that fails in place of `frame`, a Query, a Parse or a Bind.
pub(super) fn refusal(
    policy: OnSessionState,
    reason: HoldReason,
    frame: Frame<'_>,
    out: &mut Vec<u8>,
) {
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
    // A Bind has no text to put an error into, and a Parse runs none.
    let name = format!("pgsluice: {message} ({})", reason.label());
    frontend::failing_bind(&name, out);
}
