//! One direction of a session: read a chunk, look at its frames, pass it on.
//!
//! Bytes are never changed. What may be written is whole frames, and frames too
//! large for the buffer as they come; the beginning of a frame that is not here
//! yet waits in front of the next bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffers::{self, BUFFER};
use crate::tls::MaybeTls;
use crate::wire::frame::{self, BadLength, Frame, Walker};

/// Which side of a flow failed: a read error is the source's, a write error the
/// destination's.
#[derive(Debug)]
pub(super) enum FlowError {
    Source(io::Error),
    Destination(io::Error),
    BadLength(BadLength),
}

impl From<BadLength> for FlowError {
    fn from(error: BadLength) -> Self {
        Self::BadLength(error)
    }
}

/// How far a flow came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The source has nothing more now.
    Empty,
    /// The destination takes nothing more now.
    Full,
    /// The source has ended, and everything it sent is written.
    Ended,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Borrowed while bytes are in it.
    buffer: Option<Vec<u8>>,
    /// `start..ready` may be written, `ready..end` waits for the rest of a frame.
    start: usize,
    ready: usize,
    end: usize,
    walker: Walker,
    unflushed: bool,
    source_ended: bool,
    /// Bytes read since this was last asked for.
    carried: u64,
}

impl Flow {
    /// A flow that begins with what was read ahead of it.
    pub(super) fn with_ahead(ahead: &[u8], visit: impl FnMut(Frame<'_>)) -> Self {
        let mut flow = Self::default();
        if !ahead.is_empty() {
            let mut buffer = buffers::take();
            if buffer.len() < ahead.len() {
                buffer.resize(ahead.len(), 0);
            }
            if let Some(to) = buffer.get_mut(..ahead.len()) {
                to.copy_from_slice(ahead);
            }
            flow.buffer = Some(buffer);
            flow.end = ahead.len();
            // A length that lies is met again, and reported, by the next turn.
            let _ = flow.walk(visit);
        }
        flow
    }

    /// Whether nothing is half-way, so that a message of our own may be written
    /// to the destination.
    pub(super) const fn is_clear(&self) -> bool {
        self.walker.at_boundary() && self.start == self.ready && !self.unflushed
    }

    /// Whether nothing at all is held, not even the beginning of a frame.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_clear() && self.start == self.end
    }

    pub(super) const fn take_carried(&mut self) -> u64 {
        std::mem::replace(&mut self.carried, 0)
    }

    /// Stops reading: what is held and cannot be written is dropped.
    pub(super) const fn end_source(&mut self) {
        self.source_ended = true;
        self.end = self.ready;
    }

    /// Adds a message of our own behind everything that may be written.
    pub(super) fn append(&mut self, message: &[u8]) {
        let buffer = self.buffer.get_or_insert_with(buffers::take);
        (self.start, self.ready, self.end) = (0, message.len(), message.len());
        if let Some(to) = buffer.get_mut(..message.len()) {
            to.copy_from_slice(message);
        }
    }

    /// Carries until one side has to be waited for.
    pub(super) fn turn(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut MaybeTls,
        destination: &mut MaybeTls,
        mut visit: impl FnMut(Frame<'_>),
    ) -> Result<Turn, FlowError> {
        loop {
            if self
                .poll_drain(cx, destination)
                .map_err(FlowError::Destination)?
                .is_pending()
            {
                return Ok(Turn::Full);
            }
            if self.source_ended {
                self.release();
                return Ok(Turn::Ended);
            }
            self.check_next()?;
            match self.poll_fill(cx, source).map_err(FlowError::Source)? {
                Poll::Pending => {
                    self.release();
                    return Ok(Turn::Empty);
                }
                Poll::Ready(0) => self.end_source(),
                Poll::Ready(n) => {
                    self.carried += n as u64;
                    self.walk(&mut visit)?;
                }
            }
        }
    }

    /// Writes and flushes what may go on.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        destination: &mut MaybeTls,
    ) -> io::Result<Poll<()>> {
        while self.start < self.ready {
            let bytes = self.buffer.as_deref().unwrap_or_default();
            let bytes = bytes.get(self.start..self.ready).unwrap_or_default();
            match Pin::new(&mut *destination).poll_write(cx, bytes)? {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => self.start += n,
            }
            self.unflushed = true;
        }
        if self.unflushed {
            match Pin::new(destination).poll_flush(cx)? {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(()) => self.unflushed = false,
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut MaybeTls,
    ) -> io::Result<Poll<usize>> {
        let buffer = self.buffer.get_or_insert_with(buffers::take);
        // Everything ready has been written: what is left begins a frame.
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            (self.start, self.ready) = (0, 0);
        }
        let mut into = ReadBuf::new(buffer.get_mut(self.end..).unwrap_or_default());
        match Pin::new(source).poll_read(cx, &mut into)? {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(()) => {
                let n = into.filled().len();
                self.end += n;
                Ok(Poll::Ready(n))
            }
        }
    }

    /// Whether what is held can be the beginning of a frame.
    fn check_next(&self) -> Result<(), BadLength> {
        let bytes = self.buffer.as_deref().unwrap_or_default();
        frame::header(bytes.get(self.ready..self.end).unwrap_or_default()).map(|_| ())
    }

    fn walk(&mut self, mut visit: impl FnMut(Frame<'_>)) -> Result<(), BadLength> {
        let bytes = self.buffer.as_deref().unwrap_or_default();
        let bytes = bytes.get(self.start..self.end).unwrap_or_default();
        let n = self.walker.walk(bytes, BUFFER, |frame| {
            visit(frame);
            Ok::<_, BadLength>(())
        })?;
        self.ready = self.start + n;
        Ok(())
    }

    fn release(&mut self) {
        if self.start == self.end
            && let Some(buffer) = self.buffer.take()
        {
            (self.start, self.ready, self.end) = (0, 0, 0);
            buffers::give(buffer);
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            buffers::give(buffer);
        }
    }
}
