//! What each message of a client asks for.

use super::super::frame::Frame;
use super::super::frontend;

/// A request whose reply has not come yet.
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
    /// So many of CopyDone and CopyFail: no reply, but each ends a part of the
    /// stream in which Sync means nothing.
    CopyEnds(u32),
    /// What the server has no name for: it says so, and ends the session.
    End,
    /// An empty Query of the proxy's own: an EmptyQueryResponse, which may have been
    /// seen, and ReadyForQuery. Whatever else comes before was owed already.
    Marker {
        seen: bool,
    },
}

impl Owed {
    /// What a message asks for, well-formed or not; `None` is nothing wherever it comes.
    pub(super) fn by(frame: Frame<'_>) -> Option<Self> {
        let of_portal = frame.body.first() == Some(&b'P');
        Some(match frame.tag {
            frontend::COPY_DONE | frontend::COPY_FAIL => Self::CopyEnds(1),
            frontend::SYNC => Self::Sync,
            frontend::QUERY => Self::Query,
            frontend::FUNCTION_CALL => Self::Function,
            frontend::PARSE => Self::Parse,
            frontend::BIND => Self::Bind,
            frontend::DESCRIBE if of_portal => Self::DescribePortal,
            frontend::DESCRIBE => Self::Describe,
            frontend::EXECUTE => Self::Execute,
            frontend::CLOSE if of_portal => Self::ClosePortal,
            frontend::CLOSE => Self::Close,
            frontend::FLUSH if frame.len > 0 => Self::Flush,
            frontend::FLUSH | frontend::COPY_DATA | frontend::TERMINATE => return None,
            _ => Self::End,
        })
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
