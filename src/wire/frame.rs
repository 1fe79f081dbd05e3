//! The only reader of a length field.
//!
//! After startup every message is a frame: one tag byte, a four-byte big-endian
//! length that counts itself, a body. [`Walker`] follows frames through a stream
//! chunk by chunk without gathering them: a frame larger than the buffer is
//! announced once and then let through unseen.

/// Bytes of a frame before its body.
pub(crate) const HEADER: usize = 5;

/// A frame larger than the buffer is announced with at least this many bytes of
/// its body, enough for the names at the beginning of Bind and Parse.
const PREVIEW: usize = 512;

/// What is known of a frame when it is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) tag: u8,
    /// Length of the whole body in bytes, however much of it is in `body`.
    pub(crate) len: usize,
    /// The body, or its beginning where the frame is streamed.
    pub(crate) body: &'a [u8],
}

/// A length field that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid message length {len} in a message of type 0x{tag:02x}")]
pub(crate) struct BadLength {
    pub(crate) tag: u8,
    pub(crate) len: i32,
}

/// Tag and body length at the beginning of `bytes`; `None` when fewer than
/// [`HEADER`] bytes are there.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<(u8, usize)>, BadLength> {
    let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let len = i32::from_be_bytes([a, b, c, d]);
    match usize::try_from(len) {
        Ok(total) if total >= 4 => Ok(Some((tag, total - 4))),
        _ => Err(BadLength { tag, len }),
    }
}

/// Follows the frames of one direction of one connection.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    /// Bytes still to come of a frame that is being streamed.
    streaming: usize,
}

impl Walker {
    /// Whether the last byte let through was the last of a frame, so that a
    /// message of our own may follow it.
    pub(crate) const fn at_boundary(&self) -> bool {
        self.streaming == 0
    }

    /// Shows each frame that begins in `chunk` to `visit` once, and returns how
    /// many bytes of `chunk` may go on. The rest begins a frame that fits into
    /// `capacity` but is not all here: it must stay in front of the next bytes,
    /// so that a peer which dies in it leaves no torn frame behind.
    ///
    /// # Errors
    /// A length below four or above `i32::MAX` at the very beginning, or what
    /// `visit` returns.
    pub(crate) fn walk<E: From<BadLength>>(
        &mut self,
        chunk: &[u8],
        capacity: usize,
        mut visit: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut at = self.streaming.min(chunk.len());
        self.streaming -= at;
        while let Some(rest) = chunk.get(at..) {
            let (tag, len) = match header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                // What stands before it is good: it goes on first.
                Err(_) if at > 0 => break,
                Err(error) => return Err(error.into()),
            };
            let here = rest.get(HEADER..).unwrap_or_default();
            if let Some(body) = here.get(..len) {
                visit(Frame { tag, len, body })?;
                at += HEADER + len;
            } else if HEADER + len <= capacity || here.len() < PREVIEW.min(len) {
                break;
            } else {
                visit(Frame {
                    tag,
                    len,
                    body: here,
                })?;
                self.streaming = len - here.len();
                at = chunk.len();
            }
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&(i32::try_from(body.len()).unwrap() + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// Feeds `stream` in chunks of `step` through a buffer of `capacity` bytes;
    /// returns the tags seen and the bytes let through.
    fn carry(stream: &[u8], step: usize, capacity: usize) -> (Vec<(u8, usize)>, Vec<u8>) {
        let (mut walker, mut buffer, mut out, mut seen) =
            (Walker::default(), Vec::new(), Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffer.extend_from_slice(piece);
            let n = walker
                .walk::<BadLength>(&buffer, capacity, |f| {
                    seen.push((f.tag, f.len));
                    Ok(())
                })
                .unwrap();
            out.extend(buffer.drain(..n));
            assert!(buffer.len() < capacity, "a full buffer must make progress");
        }
        (seen, out)
    }

    #[test]
    fn every_split_sees_each_frame_once_and_changes_no_byte() {
        let mut stream = frame(b'Q', b"select 1\0");
        stream.extend(frame(b'D', &[7; 3000]));
        stream.extend(frame(b'Z', b"I"));
        stream.extend(frame(b'1', b""));
        let expected = vec![(b'Q', 9), (b'D', 3000), (b'Z', 1), (b'1', 0)];
        for step in (1..40).chain([511, 512, 513, 1024, 3005, 4000]) {
            let (seen, out) = carry(&stream, step, 1024);
            assert_eq!(seen, expected, "step {step}");
            assert_eq!(out, stream, "step {step}");
        }
    }

    #[test]
    fn a_small_frame_is_held_until_it_is_whole() {
        let whole = frame(b'D', &[1; 100]);
        let mut walker = Walker::default();
        let n = walker
            .walk::<BadLength>(&whole[..50], 1024, |_| panic!("not whole yet"))
            .unwrap();
        assert_eq!(n, 0);
        assert!(walker.at_boundary());
    }

    #[test]
    fn what_stands_before_a_lie_goes_on() {
        let stream = [&frame(b'Q', b"select 1\0")[..], b"Q\0\0\0\x03"].concat();
        let mut walker = Walker::default();
        let n = walker.walk::<BadLength>(&stream, 1024, |_| Ok(()));
        assert_eq!(n, Ok(stream.len() - HEADER));
        let rest = &stream[stream.len() - HEADER..];
        let refused = walker.walk::<BadLength>(rest, 1024, |_| Ok(()));
        assert_eq!(refused, Err(BadLength { tag: b'Q', len: 3 }));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for len in [0_i32, 3, -1, i32::MIN] {
            let mut bytes = vec![b'Q'];
            bytes.extend_from_slice(&len.to_be_bytes());
            assert_eq!(header(&bytes), Err(BadLength { tag: b'Q', len }));
        }
    }
}
