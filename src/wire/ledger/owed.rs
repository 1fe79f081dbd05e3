//! What each message of a client asks for.

use super::super::frame::Frame;
use super::super::frontend;

/// A request whose reply has not come yet.
///
/// One byte, without a payload: it is compared for every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    /// Simple Query: everything up to ReadyForQuery.
    Query,
    /// FunctionCall: a response and ReadyForQuery.
    Function,
    Parse,
    Bind,
    /// Of a statement.
    Describe,
    DescribePortal,
    Execute,
    /// Of a statement.
    Close,
    ClosePortal,
    /// Sync: ReadyForQuery.
    Sync,
    /// A Flush with a body: an error. A proper one has no reply.
    Flush,
    /// CopyDone or CopyFail: no reply, but it ends a part of the stream in which
    /// Sync means nothing.
    CopyEnd,
    /// What the server has no name for: it says so, and ends the session.
    End,
    /// An empty Query of the proxy's own: EmptyQueryResponse and ReadyForQuery. Whatever
    /// else comes before was owed already.
    Marker,
    /// Its EmptyQueryResponse has come.
    MarkerSeen,
}

/// What a message of each type asks for, by its tag.
const BY_TAG: [Option<Owed>; 256] = by_tag();

const fn by_tag() -> [Option<Owed>; 256] {
    let mut table = [Some(Owed::End); 256];
    let known = [
        (frontend::COPY_DONE, Some(Owed::CopyEnd)),
        (frontend::COPY_FAIL, Some(Owed::CopyEnd)),
        (frontend::SYNC, Some(Owed::Sync)),
        (frontend::QUERY, Some(Owed::Query)),
        (frontend::FUNCTION_CALL, Some(Owed::Function)),
        (frontend::PARSE, Some(Owed::Parse)),
        (frontend::BIND, Some(Owed::Bind)),
        (frontend::DESCRIBE, Some(Owed::Describe)),
        (frontend::EXECUTE, Some(Owed::Execute)),
        (frontend::CLOSE, Some(Owed::Close)),
        (frontend::FLUSH, None),
        (frontend::COPY_DATA, None),
        (frontend::TERMINATE, None),
    ];
    let mut at = 0;
    while at < known.len() {
        let (tag, owed) = known[at];
        table[tag as usize] = owed;
        at += 1;
    }
    table
}

impl Owed {
    /// What a message asks for, well-formed or not; `None` is nothing wherever it comes.
    #[inline]
    pub(super) fn by(frame: Frame<'_>) -> Option<Self> {
        let of_portal = || frame.body.first() == Some(&b'P');
        match BY_TAG[usize::from(frame.tag)] {
            Some(Self::Describe) if of_portal() => Some(Self::DescribePortal),
            Some(Self::Close) if of_portal() => Some(Self::ClosePortal),
            None if frame.tag == frontend::FLUSH && frame.len > 0 => Some(Self::Flush),
            owed => owed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_knows_ends_the_session() {
        for tag in 0..=u8::MAX {
            for body in [&b""[..], b"x"] {
                let len = body.len();
                let ends = Owed::by(Frame { tag, len, body }) == Some(Owed::End);
                assert_eq!(ends, !frontend::is_known(tag), "{tag}");
            }
        }
    }
}
