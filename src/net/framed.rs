//! Whole frames over a stream, for logins: small messages, strict bounds.
//!
//! Carrying a session does not come through here; what was read beyond the login
//! is handed on by [`Framed::into_parts`], so that no byte is lost in between.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::wire::frame::{self, HEADER};

/// Postgres's limit for authentication messages (`PG_MAX_AUTH_TOKEN_LENGTH`).
pub(crate) const MAX_LOGIN_FRAME: usize = 65_535;
/// Errors and notices in a login may be longer, but not without bound.
pub(crate) const MAX_UPSTREAM_FRAME: usize = 1 << 20;

/// All that one side may say in a login.
const MAX_LOGIN: usize = 2 << 20;

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("connection closed")]
    Closed,
    #[error("connection closed in the middle of a message")]
    Torn,
    #[error(transparent)]
    BadLength(#[from] frame::BadLength),
    #[error("a message of type 0x{tag:02x} with {len} bytes is too long for a login")]
    TooLong { tag: u8, len: usize },
    #[error("more than {MAX_LOGIN} bytes are too many for a login")]
    TooMuch,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A frame in one piece.
#[derive(Debug, Clone)]
pub(crate) struct WholeFrame {
    /// Tag, length and body.
    pub(crate) bytes: Bytes,
}

impl WholeFrame {
    pub(crate) fn tag(&self) -> u8 {
        self.bytes.first().copied().unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }
}

/// A stream and what was read from it ahead.
#[derive(Debug)]
pub(crate) struct Framed<S> {
    stream: S,
    ahead: BytesMut,
    /// Bytes of the frames that were taken.
    taken: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self::with_ahead(stream, BytesMut::new())
    }

    /// `ahead` was read from the stream already.
    pub(crate) const fn with_ahead(stream: S, ahead: BytesMut) -> Self {
        Self {
            stream,
            ahead,
            taken: 0,
        }
    }

    pub(crate) const fn stream(&self) -> &S {
        &self.stream
    }

    /// The next frame, of at most `max` bytes of body. Cancel-safe.
    ///
    /// # Errors
    /// End of file, a failed read, a length that lies or exceeds `max`, too many of them.
    pub(crate) async fn read(&mut self, max: usize) -> Result<WholeFrame, FrameError> {
        loop {
            if let Some(frame) = self.buffered(max)? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// A frame that is already here.
    ///
    /// # Errors
    /// A length that lies or exceeds `max`.
    pub(crate) fn buffered(&mut self, max: usize) -> Result<Option<WholeFrame>, FrameError> {
        let Some((tag, len)) = frame::header(&self.ahead)? else {
            return Ok(None);
        };
        if len > max {
            return Err(FrameError::TooLong { tag, len });
        }
        if self.ahead.len() < HEADER + len {
            return Ok(None);
        }
        self.taken += HEADER + len;
        if self.taken > MAX_LOGIN {
            return Err(FrameError::TooMuch);
        }
        Ok(Some(WholeFrame {
            bytes: self.ahead.split_to(HEADER + len).freeze(),
        }))
    }

    /// Reads whatever comes next into the buffer. Cancel-safe.
    ///
    /// # Errors
    /// End of file, or a failed read.
    pub(crate) async fn fill(&mut self) -> Result<(), FrameError> {
        self.ahead.reserve(4096);
        match self.stream.read_buf(&mut self.ahead).await? {
            0 if self.ahead.is_empty() => Err(FrameError::Closed),
            0 => Err(FrameError::Torn),
            _ => Ok(()),
        }
    }

    /// Bytes read but not yet taken.
    pub(crate) fn ahead(&self) -> usize {
        self.ahead.remaining()
    }

    /// Writes and flushes.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The stream, and the bytes that were read ahead of it.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.ahead)
    }
}
