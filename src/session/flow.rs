//! One direction of a session: read a chunk, look at its frames, pass it on.
//!
//! What may be written is whole frames, and frames too large for the buffer as they
//! come; the beginning of a frame that is not here yet waits in front of the next
//! bytes. A frame is never changed: who looks at it may drop it, put messages of
//! the proxy's own before it, or stop there for the time being.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

use crate::buffers::{self, BUFFER};
use crate::tls::MaybeTls;
use crate::wire::frame::{self, BadLength, Frame, Piece, Walker};

/// Buffers carried in one direction before the other has its turn.
const MOST_FILLS: u32 = 8;
/// Bytes that are moved for each frame without a thought, and how far more are moved at
/// most, so that there is room for what comes before the next ones.
const LITTLE: usize = 4 * 1024;
const SPARE: usize = 256 * 1024;

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
pub(super) enum Progress {
    /// The source has nothing more now, or has had its turn: then the task is woken again.
    Empty,
    /// The destination takes nothing more now.
    Full,
    /// A frame may not go on yet; everything before it is written.
    Stopped,
    /// The source has ended, and everything it sent is written.
    Ended,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameAction {
    Pass,
    Drop,
    /// It stays where it is, until [`Flow::resume`].
    Stop,
}

/// Up to which size a frame is waited for until it is whole, by its tag.
pub(super) type Capacity = fn(u8) -> usize;

/// One direction.
#[derive(Debug)]
pub(super) struct Flow {
    /// Borrowed while bytes are in it.
    buffer: Option<Vec<u8>>,
    /// `start..ready` may be written, `ready..end` waits for the rest of a frame.
    start: usize,
    ready: usize,
    end: usize,
    walker: Walker,
    capacity: Capacity,
    outlet: Destination,
    source: Source,
    /// What becomes of the rest of the frame that is being streamed.
    rest: FrameAction,
    walk: Walk,
    /// Bytes read since this was last asked for.
    carried: u64,
}

/// What is known of where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Open,
    /// After it was read last it had nothing more in any layer above its socket: as long
    /// as that has nothing, neither has it.
    Dry,
    Ended,
}

/// Where what was written stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    Flushed,
    Unflushed,
    /// Nobody takes it any more.
    Lost,
}

/// Where looking at frames stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// All that is here has been looked at.
    Done,
    /// There may be frames that nobody has looked at.
    Due,
    Stopped,
}

impl Default for Flow {
    fn default() -> Self {
        Self::new(|_| BUFFER)
    }
}

impl Flow {
    pub(super) const fn new(capacity: Capacity) -> Self {
        Self {
            buffer: None,
            start: 0,
            ready: 0,
            end: 0,
            walker: Walker::NEW,
            capacity,
            outlet: Destination::Flushed,
            source: Source::Open,
            rest: FrameAction::Pass,
            walk: Walk::Done,
            carried: 0,
        }
    }

    /// A flow that begins with what was read ahead of it.
    pub(super) fn with_ahead(mut self, ahead: &[u8]) -> Self {
        if !ahead.is_empty() {
            let mut buffer = buffers::take();
            buffers::grow(&mut buffer, ahead.len());
            if let Some(to) = buffer.get_mut(..ahead.len()) {
                to.copy_from_slice(ahead);
            }
            self.buffer = Some(buffer);
            self.end = ahead.len();
            self.walk = Walk::Due;
        }
        self
    }

    /// Whether nothing is half-way, so that a message of our own may be written
    /// to the destination.
    pub(super) const fn is_clear(&self) -> bool {
        self.walker.at_boundary()
            && self.start == self.ready
            && !matches!(self.outlet, Destination::Unflushed)
    }

    /// Whether a frame has gone on in part, and the rest of it has not come.
    pub(super) const fn is_torn(&self) -> bool {
        !self.walker.at_boundary()
    }

    /// Whether what was read so far is whole frames, all of them looked at.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.walker.at_boundary() && self.ready == self.end
    }

    /// Looks at what is here without writing it, which is for those who drop it.
    pub(super) fn look(
        &mut self,
        mut visit: impl FnMut(Frame<'_>, &mut Vec<u8>) -> FrameAction,
    ) -> Result<(), BadLength> {
        self.resume();
        match self.walk {
            Walk::Due => self.walk(&mut visit),
            Walk::Done | Walk::Stopped => Ok(()),
        }
    }

    /// Whether nothing at all is held, not even the beginning of a frame.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_clear() && self.start == self.end
    }

    pub(super) const fn take_carried(&mut self) -> u64 {
        std::mem::replace(&mut self.carried, 0)
    }

    /// Whether the source had nothing more when it was read last.
    pub(super) const fn is_dry(&self) -> bool {
        matches!(self.source, Source::Dry)
    }

    /// From here on another source is read.
    pub(super) const fn change_source(&mut self, dry: bool) {
        self.source = if dry { Source::Dry } else { Source::Open };
    }

    /// Stops reading: what is held and cannot be written is dropped.
    pub(super) const fn end_source(&mut self) {
        self.source = Source::Ended;
        self.end = self.ready;
    }

    /// The destination is gone: what is for it is read, looked at, and dropped.
    pub(super) const fn lose_outlet(&mut self) {
        self.outlet = Destination::Lost;
    }

    /// Adds messages of our own behind everything that may be written.
    pub(super) fn append(&mut self, messages: &[u8]) {
        if !messages.is_empty() {
            let gap = self.put(messages, 0, 0);
            self.close(gap);
        }
    }

    /// The same where so many bytes of no use stand before what is unseen, which is moved
    /// if that is too little room: by `spare` bytes more than it has to. Returns how many
    /// are left.
    fn put(&mut self, messages: &[u8], gap: usize, spare: usize) -> usize {
        let buffer = self.buffer.get_or_insert_with(buffers::take);
        let lacking = messages.len().saturating_sub(gap);
        let more = if lacking > 0 { lacking + spare } else { 0 };
        let unseen = self.ready + gap..self.end;
        self.end += more;
        if more > 0 {
            buffers::grow(buffer, self.end);
            buffer.copy_within(unseen.clone(), unseen.start + more);
        }
        let ready = self.ready + messages.len();
        if let Some(to) = buffer.get_mut(self.ready..ready) {
            to.copy_from_slice(messages);
        }
        self.ready = ready;
        gap + more - messages.len()
    }

    /// Moves what is unseen to where the gap before it began.
    fn close(&mut self, gap: usize) {
        if gap > 0
            && let Some(buffer) = &mut self.buffer
        {
            buffer.copy_within(self.ready + gap..self.end, self.ready);
            self.end -= gap;
        }
    }

    /// The tag of the frame that will be looked at next, once as much of it is
    /// here as will be.
    pub(super) fn upcoming(&self) -> Result<Option<u8>, BadLength> {
        let mut walker = self.walker;
        Ok(match walker.next(self.unseen(), self.capacity)? {
            Piece::Frame { frame, .. } => Some(frame.tag),
            Piece::Rest(_) | Piece::Partial => None,
        })
    }

    fn unseen(&self) -> &[u8] {
        let bytes = self.buffer.as_deref().unwrap_or_default();
        bytes.get(self.ready..self.end).unwrap_or_default()
    }

    /// The frame that was stopped at is to be looked at again.
    pub(super) fn resume(&mut self) {
        if self.walk == Walk::Stopped {
            self.walk = Walk::Due;
        }
    }

    /// Reads without looking at what comes; says whether the source goes on.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut MaybeTls,
    ) -> Poll<io::Result<bool>> {
        match self.poll_fill(cx, source)? {
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
            Poll::Ready(0) => {
                self.source = Source::Ended;
                Poll::Ready(Ok(false))
            }
            Poll::Ready(n) => {
                self.carried += n as u64;
                self.walk = Walk::Due;
                Poll::Ready(Ok(true))
            }
        }
    }

    /// Carries until one side has to be waited for.
    pub(super) fn turn(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut MaybeTls,
        destination: &mut MaybeTls,
        mut visit: impl FnMut(Frame<'_>, &mut Vec<u8>) -> FrameAction,
    ) -> Result<Progress, FlowError> {
        let mut fills = 0_u32;
        loop {
            if self.walk == Walk::Due {
                self.walk(&mut visit)?;
            }
            if self
                .poll_drain(cx, destination)
                .map_err(FlowError::Destination)?
                .is_pending()
            {
                return Ok(Progress::Full);
            }
            if self.walk == Walk::Stopped {
                return Ok(Progress::Stopped);
            }
            if self.source == Source::Ended {
                self.release();
                return Ok(Progress::Ended);
            }
            // The other direction is not to wait for the end of a long one: an error
            // should reach who is still sending.
            if fills == MOST_FILLS {
                look_up(cx);
                return Ok(Progress::Empty);
            }
            self.check_next()?;
            match self.poll_fill(cx, source).map_err(FlowError::Source)? {
                Poll::Pending => {
                    self.release();
                    return Ok(Progress::Empty);
                }
                Poll::Ready(0) => self.end_source(),
                Poll::Ready(n) => {
                    self.carried += n as u64;
                    self.walk = Walk::Due;
                    fills += 1;
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
        if self.outlet == Destination::Lost {
            self.start = self.ready;
        }
        while self.start < self.ready {
            let bytes = self.buffer.as_deref().unwrap_or_default();
            let bytes = bytes.get(self.start..self.ready).unwrap_or_default();
            match Pin::new(&mut *destination).poll_write(cx, bytes)? {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => self.start += n,
            }
            self.outlet = Destination::Unflushed;
        }
        if self.outlet == Destination::Unflushed {
            match Pin::new(destination).poll_flush(cx)? {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(()) => self.outlet = Destination::Flushed,
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut MaybeTls,
    ) -> io::Result<Poll<usize>> {
        // Spares a walk through the layers above the socket.
        if self.source == Source::Dry && source.socket().is_quiet(cx) {
            return Ok(Poll::Pending);
        }
        let buffer = self.buffer.get_or_insert_with(buffers::take);
        // What has been written is done with: what is left begins a frame.
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.ready -= self.start;
            self.start = 0;
        }
        // Of a frame that is waited for beyond the usual size.
        if self.end == buffer.len() {
            buffers::grow(buffer, 2 * self.end);
        }
        let mut into = ReadBuf::new(buffer.get_mut(self.end..).unwrap_or_default());
        match Pin::new(&mut *source).poll_read(cx, &mut into)? {
            Poll::Pending => {
                self.source = Source::Dry;
                Ok(Poll::Pending)
            }
            Poll::Ready(()) => {
                let n = into.filled().len();
                self.source = match n > 0 && source.is_drained() {
                    true => Source::Dry,
                    false => Source::Open,
                };
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

    fn walk(
        &mut self,
        visit: &mut impl FnMut(Frame<'_>, &mut Vec<u8>) -> FrameAction,
    ) -> Result<(), BadLength> {
        self.walk = Walk::Done;
        let mut before = Vec::new();
        // What is dropped stays where it is until the end, and makes room for what is put
        // before others: a buffer may be full of frames, and none moves all behind it.
        let mut gap = 0;
        let outcome = loop {
            let bytes = self.buffer.as_deref().unwrap_or_default();
            let unseen = bytes.get(self.ready + gap..self.end).unwrap_or_default();
            let waiting = unseen.len();
            let walker = self.walker;
            let (n, step) = match self.walker.next(unseen, self.capacity) {
                Ok(Piece::Partial) => break Ok(()),
                Ok(Piece::Rest(n)) => (n, self.rest),
                Ok(Piece::Frame { frame, here }) => (here, visit(frame, &mut before)),
                // What stands before it is good: it goes on first.
                Err(_) if self.ready > self.start => break Ok(()),
                Err(error) => break Err(error),
            };
            if !before.is_empty() {
                let spare = if waiting > LITTLE {
                    waiting.min(SPARE)
                } else {
                    0
                };
                gap = self.put(&before, gap, spare);
                before.clear();
            }
            match step {
                FrameAction::Pass => {
                    if gap > 0
                        && let Some(buffer) = &mut self.buffer
                    {
                        let from = self.ready + gap;
                        buffer.copy_within(from..from + n, self.ready);
                    }
                    self.ready += n;
                }
                FrameAction::Drop if gap == 0 && self.start == self.ready => {
                    self.start += n;
                    self.ready += n;
                }
                FrameAction::Drop => gap += n,
                FrameAction::Stop => {
                    self.walker = walker;
                    self.walk = Walk::Stopped;
                    break Ok(());
                }
            }
            self.rest = step;
        };
        self.close(gap);
        outcome
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

/// Has the task polled again once the event loop has looked at its sockets. A task
/// that wakes itself is polled many times before that, and hears of nothing new.
fn look_up(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            buffers::give(buffer);
        }
    }
}

#[cfg(test)]
mod tests;
