//! A socket with or without TLS around it, one type for both legs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

use super::accept::peer_common_name;
use super::binding::{Description, describe, peer_binding, version_name};
use super::secured::Secured;
use crate::net::{ReadAhead, Socket};

/// One leg of a session.
#[derive(Debug)]
pub(crate) enum MaybeTls {
    Plain(Socket),
    /// A client's leg. Boxed: the TLS state is large, and most clients have none.
    Accepted(Box<server::TlsStream<Socket>>),
    /// An upstream's leg.
    Connected(Box<Secured>),
}

impl MaybeTls {
    pub(crate) fn connected(stream: client::TlsStream<ReadAhead<Socket>>) -> Self {
        Self::Connected(Box::new(Secured::new(stream)))
    }

    /// Whether it is known that there will be nothing to read before the socket has
    /// something. Where that is not known, a read finds out.
    pub(crate) fn is_drained(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Accepted(_) => false,
            Self::Connected(stream) => stream.is_drained(),
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Accepted(stream) => stream.get_ref().0,
            Self::Connected(stream) => stream.get_ref().0.get_ref(),
        }
    }

    /// See [`Socket::rehome`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn rehome(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.rehome(),
            Self::Accepted(stream) => stream.get_mut().0.rehome(),
            Self::Connected(stream) => stream.get_mut().0.get_mut().rehome(),
        }
    }

    pub(crate) const fn is_tls(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// Version of TLS as Postgres names it, or `none`.
    pub(crate) fn tls_version(&self) -> &'static str {
        match self {
            Self::Plain(_) => "none",
            Self::Accepted(stream) => version_name(stream.get_ref().1),
            Self::Connected(stream) => version_name(stream.get_ref().1),
        }
    }

    /// What was agreed on with the upstream; `None` in plaintext.
    pub(crate) fn description(&self) -> Option<Description> {
        match self {
            Self::Connected(stream) => describe(stream),
            Self::Plain(_) | Self::Accepted(_) => None,
        }
    }

    /// What SCRAM-SHA-256-PLUS binds to on an upstream's leg.
    pub(crate) fn peer_binding(&self) -> Option<Vec<u8>> {
        match self {
            Self::Connected(stream) => peer_binding(stream),
            Self::Plain(_) | Self::Accepted(_) => None,
        }
    }

    /// Common name of the certificate that a client showed.
    pub(crate) fn peer_common_name(&self) -> Option<String> {
        match self {
            Self::Accepted(stream) => peer_common_name(stream),
            Self::Plain(_) | Self::Connected(_) => None,
        }
    }
}

/// Postgres says close_notify on orderly exit only: an end of file without it is
/// an end of file.
fn quiet_eof(result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    match result {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Poll::Ready(Ok(()))
        }
        other => other,
    }
}

impl AsyncRead for MaybeTls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Accepted(stream) => quiet_eof(Pin::new(stream).poll_read(cx, buf)),
            Self::Connected(stream) => quiet_eof(stream.poll_read(cx, buf)),
        }
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Accepted(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Connected(stream) => Pin::new(&mut ***stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Accepted(stream) => Pin::new(stream).poll_flush(cx),
            Self::Connected(stream) => Pin::new(&mut ***stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Accepted(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Connected(stream) => Pin::new(&mut ***stream).poll_shutdown(cx),
        }
    }
}
