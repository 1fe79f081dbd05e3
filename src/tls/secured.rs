//! An upstream's leg: TLS over a socket that is read ahead.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufRead as _, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::net::{ReadAhead, Socket};

/// Knows when there is nothing more to read in any layer. The stream within finds out
/// by going through all of them down to the socket, which costs a tenth of what a
/// transaction does.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: TlsStream<ReadAhead<Socket>>,
    /// Came behind bytes that were good, and is told once they are.
    late: Option<io::Error>,
}

impl Secured {
    pub(super) const fn new(stream: TlsStream<ReadAhead<Socket>>) -> Self {
        Self { stream, late: None }
    }

    /// Whether there will be nothing to read before the socket has something.
    pub(super) fn is_drained(&self) -> bool {
        let (socket, session) = self.stream.get_ref();
        self.late.is_none() && socket.is_empty() && session.wants_read()
    }

    /// As much as is here, of however many records.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.late.take() {
            return Poll::Ready(Err(error));
        }
        let before = into.filled().len();
        loop {
            match Pin::new(&mut self.stream).poll_fill_buf(cx) {
                // The end, which is seen again.
                Poll::Ready(Ok([])) => break,
                Poll::Ready(Ok(bytes)) => {
                    let n = bytes.len().min(into.remaining());
                    into.put_slice(bytes.get(..n).unwrap_or_default());
                    Pin::new(&mut self.stream).consume(n);
                }
                Poll::Pending if into.filled().len() == before => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(Err(error)) if into.filled().len() == before => {
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Err(error)) => {
                    self.late = Some(error);
                    break;
                }
            }
            if into.remaining() == 0 || self.is_drained() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Deref for Secured {
    type Target = TlsStream<ReadAhead<Socket>>;

    fn deref(&self) -> &Self::Target {
        &self.stream
    }
}

/// For everything but reading.
impl DerefMut for Secured {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.stream
    }
}
