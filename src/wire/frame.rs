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
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Walker {
    /// Bytes still to come of a frame that is being streamed.
    streaming: usize,
}

impl Walker {
    /// At the beginning of a stream.
    pub(crate) const NEW: Self = Self { streaming: 0 };

    /// Whether the last byte let through was the last of a frame, so that a
    /// message of our own may follow it.
    pub(crate) const fn at_boundary(&self) -> bool {
        self.streaming == 0
    }

    /// The next piece of `chunk`, which is then to be taken off its front.
    ///
    /// `capacity` says for a tag up to which size a frame is waited for until it is
    /// whole: meanwhile it must stay in front of the next bytes, so that a peer which
    /// dies in it leaves no torn frame behind. Zero: it is announced by its header.
    ///
    /// # Errors
    /// A length below four or above `i32::MAX`.
    pub(crate) fn next<'c>(
        &mut self,
        chunk: &'c [u8],
        capacity: impl Fn(u8) -> usize,
    ) -> Result<Piece<'c>, BadLength> {
        if self.streaming > 0 {
            let n = self.streaming.min(chunk.len());
            self.streaming -= n;
            return Ok(if n == 0 {
                Piece::Partial
            } else {
                Piece::Rest(n)
            });
        }
        let Some((tag, len)) = header(chunk)? else {
            return Ok(Piece::Partial);
        };
        let here = chunk.get(HEADER..).unwrap_or_default();
        if let Some(body) = here.get(..len) {
            let frame = Frame { tag, len, body };
            let here = HEADER + len;
            return Ok(Piece::Frame { frame, here });
        }
        let capacity = capacity(tag);
        if capacity > 0 && (HEADER + len <= capacity || here.len() < PREVIEW.min(len)) {
            return Ok(Piece::Partial);
        }
        self.streaming = len - here.len();
        let frame = Frame {
            tag,
            len,
            body: here,
        };
        let here = chunk.len();
        Ok(Piece::Frame { frame, here })
    }
}

/// What a chunk begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'c> {
    /// So many bytes of a frame that was announced before.
    Rest(usize),
    /// A frame, of which so many bytes are here.
    Frame { frame: Frame<'c>, here: usize },
    /// Nothing, or the beginning of a frame that is waited for.
    Partial,
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Walker {
        /// Shows each frame that begins in `chunk` to `visit`, and returns how many
        /// bytes of `chunk` may go on.
        fn walk<E: From<BadLength>>(
            &mut self,
            chunk: &[u8],
            capacity: usize,
            mut visit: impl FnMut(Frame<'_>) -> Result<(), E>,
        ) -> Result<usize, E> {
            let mut at = 0;
            loop {
                match self.next(chunk.get(at..).unwrap_or_default(), |_| capacity) {
                    Ok(Piece::Rest(n)) => at += n,
                    Ok(Piece::Frame { frame, here }) => {
                        visit(frame)?;
                        at += here;
                    }
                    Ok(Piece::Partial) => return Ok(at),
                    // What stands before it is good: it goes on first.
                    Err(_) if at > 0 => return Ok(at),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

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
