//! Reads from the socket in large pieces for a reader that asks for small ones.
//!
//! The TLS engine asks for a record at a time, and a server writes records of
//! 8 KiB: read one by one they cost a system call each. What is read ahead is
//! copied once, which costs less, and only where more than one record was there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffers;

/// A socket, and what was read from it beyond what was asked for.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    inner: S,
    /// Borrowed while bytes are in it.
    buffer: Option<Vec<u8>>,
    start: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self {
            inner,
            buffer: None,
            start: 0,
            end: 0,
        }
    }

    /// Whether nothing is kept: the next read asks the socket.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) const fn get_ref(&self) -> &S {
        &self.inner
    }

    pub(crate) const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    fn release(&mut self) {
        (self.start, self.end) = (0, 0);
        if let Some(buffer) = self.buffer.take() {
            buffers::give(buffer);
        }
    }
}

impl<S> Drop for ReadAhead<S> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_empty() {
            let buffer = this.buffer.get_or_insert_with(buffers::take);
            let mut ahead = ReadBuf::new(buffer);
            let read = Pin::new(&mut this.inner).poll_read(cx, &mut ahead);
            (this.start, this.end) = (0, ahead.filled().len());
            if this.end == 0 {
                this.release();
                return read;
            }
        }
        let bytes = this.buffer.as_deref().unwrap_or_default();
        let bytes = bytes.get(this.start..this.end).unwrap_or_default();
        let n = bytes.len().min(into.remaining());
        into.put_slice(bytes.get(..n).unwrap_or_default());
        this.start += n;
        if this.is_empty() {
            this.release();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_once_and_in_order_and_the_end_is_seen() {
        let (mut far, near) = tokio::io::duplex(100_000);
        let sent: Vec<u8> = (0..90_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let mut near = ReadAhead::new(near);
        let (mut got, mut piece) = (Vec::new(), [0; 777]);
        loop {
            match near.read(&mut piece).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(&piece[..n]),
            }
        }
        assert!(got == sent);
        assert!(near.buffer.is_none(), "an empty buffer is given back");
    }
}
