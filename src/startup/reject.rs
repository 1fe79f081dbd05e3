//! Saying no so that it is heard.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::tls::MaybeTls;

/// How long a refused client may take to read what it is told.
const REJECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What a refused client may still send before it is cut off.
const MAX_DISCARDED: usize = 1 << 20;

/// Tells the client `words`, an ErrorResponse, and closes. What the client has sent meanwhile is read and
/// dropped: closing on unread bytes would reset the connection, and the reset
/// would overtake the message.
pub(crate) async fn refuse(mut stream: MaybeTls, words: &[u8]) {
    let farewell = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        let (mut discarded, mut buffer) = (0, [0; 1024]);
        while discarded < MAX_DISCARDED {
            match stream.read(&mut buffer).await? {
                0 => break,
                n => discarded += n,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // A client that does not listen is not waited for; there is nobody to tell of it.
    let _ = timeout(REJECT_TIMEOUT, farewell).await;
}
