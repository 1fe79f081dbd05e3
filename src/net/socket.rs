//! A stream socket of either family, and who is at its other end.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::config::values::Keepalive;

/// A connected stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The other end of an accepted socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    /// The user that the peer's process ran as when it connected.
    Unix {
        uid: u32,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid } => write!(f, "unix(uid {uid})"),
        }
    }
}

impl Socket {
    pub(crate) const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// See [`set_tcp_options`].
    pub(crate) fn set_options(&self, keepalive: &Keepalive) {
        if let Self::Tcp(stream) = self {
            set_tcp_options(&SockRef::from(stream), keepalive);
        }
    }

    /// Waits for the first bytes and leaves them in the socket; says how many of them
    /// are in `head`. None at end of file, and on unix sockets, where nothing depends
    /// on them.
    pub(crate) async fn peek(&self, head: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(head).await,
            Self::Unix(_) => Ok(0),
        }
    }

    /// What the kernel holds for the reader right now. Asks it and not the event
    /// loop, which may not have looked, or be another thread's.
    pub(crate) fn glance(&self) -> Peeked {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Peeked::Ended,
            Ok(_) => Peeked::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Peeked::Quiet,
            Err(_) => Peeked::Ended,
        }
    }

    /// Whether the event loop knows of nothing to read. The task is woken when it does.
    pub(crate) fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
        .is_pending()
    }

    /// Registers the socket with the runtime of the calling task, where it is
    /// served by the thread that uses it. What it had heard is forgotten with the
    /// old registration.
    ///
    /// # Errors
    /// No descriptor is left for the moment that needs two; nothing has changed then.
    pub(crate) fn rehome(&mut self) -> io::Result<()> {
        *self = match self {
            Self::Tcp(stream) => {
                let twin = stream.as_fd().try_clone_to_owned()?;
                Self::Tcp(TcpStream::from_std(twin.into())?)
            }
            Self::Unix(stream) => {
                let twin = stream.as_fd().try_clone_to_owned()?;
                Self::Unix(UnixStream::from_std(twin.into())?)
            }
        };
        Ok(())
    }

    /// Takes the socket from the runtime that watches it, for another.
    ///
    /// # Errors
    /// It cannot be unwatched.
    pub(crate) fn unsettle(self) -> io::Result<DetachedSocket> {
        Ok(match self {
            Self::Tcp(stream) => DetachedSocket::Tcp(stream.into_std()?),
            Self::Unix(stream) => DetachedSocket::Unix(stream.into_std()?),
        })
    }
}

/// Sends small writes at once, and notices a peer that is gone without a word. On a
/// listening socket they are those of all that it accepts. A failure is not an
/// obstacle to serving: the options bound how late a dead peer is noticed, nothing else.
pub(super) fn set_tcp_options(socket: &SockRef<'_>, keepalive: &Keepalive) {
    let probes = TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.count);
    for (option, result) in [
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        ("SO_KEEPALIVE", socket.set_tcp_keepalive(&probes)),
        (
            "TCP_USER_TIMEOUT",
            socket.set_tcp_user_timeout(Some(keepalive.user_timeout)),
        ),
    ] {
        if let Err(error) = result {
            tracing::debug!(option, %error, "socket option not set");
        }
    }
}

/// What is there to be read from a socket, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peeked {
    Quiet,
    Bytes,
    /// End of file, or an error.
    Ended,
}

/// A socket on its way to the runtime that will serve it.
#[derive(Debug)]
pub(crate) enum DetachedSocket {
    /// That runtime watches it already.
    Here(Socket),
    /// None does.
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl DetachedSocket {
    /// The socket, watched by the runtime of the calling task.
    ///
    /// # Errors
    /// It cannot be watched.
    pub(crate) fn settle(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Here(socket) => socket,
            Self::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
