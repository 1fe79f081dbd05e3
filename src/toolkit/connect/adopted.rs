//! A connection that is logged in already, for a driver that wants to log in itself: its
//! startup message is swallowed, and it is told once more what the server has said.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::MaybeTls;
use crate::upstream::Opened;
use crate::wire::backend;

/// The stream of an [`Opened`] connection, as if nothing had been said on it yet.
#[derive(Debug)]
pub(super) struct Adopted {
    stream: MaybeTls,
    /// What the driver has still to read before the stream.
    said: bytes::Bytes,
    startup: Startup,
}

/// How much of the driver's startup message was swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Startup {
    /// Of its length, in network order: so many bytes, and their value.
    Length {
        seen: u8,
        value: usize,
    },
    Left(usize),
}

impl Startup {
    const DONE: Self = Self::Left(0);

    /// Takes what belongs to the startup message off the front; tells how much that is.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let (Self::Length { seen, value }, Some(byte)) = (&mut *self, bytes.get(taken)) {
            *value = *value << 8 | usize::from(*byte);
            *seen += 1;
            taken += 1;
            if *seen == 4 {
                *self = Self::Left(value.saturating_sub(4));
            }
        }
        if let Self::Left(left) = self {
            let rest = (*left).min(bytes.len() - taken);
            *left -= rest;
            taken += rest;
        }
        taken
    }
}

impl Adopted {
    pub(super) fn new(opened: Opened) -> Self {
        let mut said = backend::AUTHENTICATION_OK.to_vec();
        for (name, value) in opened.reported.iter() {
            backend::put_parameter_status(&mut said, name, value);
        }
        said.extend_from_slice(&backend::READY_IDLE);
        said.extend_from_slice(&opened.ahead);
        Self {
            stream: opened.stream,
            said: said.into(),
            startup: Startup::Length { seen: 0, value: 0 },
        }
    }
}

impl AsyncRead for Adopted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let most = self.said.len().min(buf.remaining());
        buf.put_slice(&self.said[..most]);
        self.said.advance(most);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Adopted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.startup != Startup::DONE && !buf.is_empty() {
            return Poll::Ready(Ok(self.startup.swallow(buf)));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_startup_message_is_swallowed_in_whatever_pieces_it_comes() {
        let message = [&[0, 0, 0, 9][..], b"hello", b"Q..."].concat();
        for piece in 1..=message.len() {
            let mut startup = Startup::Length { seen: 0, value: 0 };
            let mut through = Vec::new();
            for part in message.chunks(piece) {
                let taken = startup.swallow(part);
                through.extend_from_slice(&part[taken..]);
            }
            assert_eq!(startup, Startup::DONE, "in pieces of {piece}");
            assert_eq!(through, b"Q...", "in pieces of {piece}");
        }
    }
}
