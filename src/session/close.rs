//! Letting a client go.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::tls::MaybeTls;

/// How long a client may take to accept its last bytes.
pub(super) const CLIENT_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Lets the client go: what was written reaches it. A plain socket needs no more for
/// that than to be closed.
pub(super) async fn client(mut stream: MaybeTls) {
    if !stream.is_tls() {
        return;
    }
    let _ = timeout(CLIENT_CLOSE_TIMEOUT, stream.shutdown()).await;
}
