//! What the upstream still owes the client: a queue of expected replies.
//!
//! A counter will not do: an error makes the server skip everything up to the
//! next Sync, a simple Query in between included, and a Sync that is sent along
//! with the start of a COPY is swallowed. The queue holds each request until its
//! reply has been seen, so that "nothing is owed" is knowledge, not a guess. Requests
//! of the proxy's own stand in the same queue, so that their replies are told apart
//! from the client's. Every message has its place here, well-formed or not; what the
//! queue cannot tell is [`Doubt`].

mod owed;

use std::collections::VecDeque;

use super::backend;
use super::frame::Frame;
use owed::Owed;

/// Transaction status that ReadyForQuery reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

/// The extended-query messages since the last Sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    Closed,
    /// No Sync has been sent for them: their implicit transaction is open.
    Open,
    /// An error was seen and no Sync is queued: the server discards what comes.
    Failed,
}

/// Whether the queue says all that the server will say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    None,
    /// Syncs were swallowed by a COPY that failed, or were not: a ReadyForQuery each
    /// may still come. A [`Marker`](Ledger::mark) finds out.
    Syncs,
    /// It may say anything.
    Lasting,
}

/// Who asked, and so whom a reply is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Client,
    Proxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request {
    owed: Owed,
    origin: Origin,
    /// How many of them follow one another; one, but for [`Owed::CopyEnd`], of which a
    /// client could add to the queue without end.
    count: u32,
}

/// What a message from the server means for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Whom it is for. Notices and reports between requests are the client's.
    pub(crate) origin: Origin,
    pub(crate) settled: Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Part of a longer reply, or of none.
    Nothing,
    Parse,
    /// Of a statement, not of a portal.
    Close,
    /// ReadyForQuery of a simple Query.
    Query,
    /// ReadyForQuery of another request.
    Ready,
    /// An error.
    Failed(Skipped),
}

/// The requests that an error leaves without a reply of their own, of those that
/// change prepared statements: Parse, Close of a statement, Query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) count: usize,
    /// The first of them is what failed.
    pub(crate) begun: bool,
    /// So many of the client's Describes of statements have no reply either.
    pub(crate) describes: usize,
}

/// What only the client can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    Sync,
    /// The rest of COPY data.
    Copy,
}

/// A message from the server that fits nothing the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unexpected message of type 0x{0:02x} from the upstream")]
pub(crate) struct Unexpected(pub(crate) u8);

/// The account of one upstream connection.
#[derive(Debug)]
pub(crate) struct Ledger {
    owed: VecDeque<Request>,
    status: TransactionStatus,
    batch: Batch,
    /// The server reads COPY data: Sync and Flush mean nothing until it ends.
    copying_in: bool,
    /// What is in doubt should this COPY fail: which of them it has swallowed.
    swallowed: Doubt,
    doubt: Doubt,
    /// The server will read no more.
    ending: bool,
}

/// The longest body of a message that is not for data; a server refuses more.
const MAX_SMALL: usize = 10_000 - 4;

impl Ledger {
    /// Of a connection that has just said ReadyForQuery.
    pub(crate) const fn new(status: TransactionStatus) -> Self {
        Self {
            owed: VecDeque::new(),
            status,
            batch: Batch::Closed,
            copying_in: false,
            swallowed: Doubt::None,
            doubt: Doubt::None,
            ending: false,
        }
    }

    /// Whether the upstream owes nothing, in no transaction: the point at which
    /// a session can be ended, or a connection handed on, without loss.
    pub(crate) fn is_quiescent(&self) -> bool {
        self.owes_nothing() && self.status == TransactionStatus::Idle
    }

    /// Whether every request has been answered and no batch is open.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.owed.is_empty() && self.batch == Batch::Closed && !self.copying_in
    }

    /// Whether the server discards what comes, up to the next Sync.
    pub(crate) fn is_discarding(&self) -> bool {
        self.batch == Batch::Failed
    }

    /// What the server waits for before it goes on, or says that it has.
    pub(crate) fn awaits(&self) -> Option<Awaited> {
        match self.batch {
            _ if self.copying_in => Some(Awaited::Copy),
            Batch::Open | Batch::Failed => Some(Awaited::Sync),
            Batch::Closed => None,
        }
    }

    pub(crate) const fn status(&self) -> TransactionStatus {
        self.status
    }

    pub(crate) const fn doubt(&self) -> Doubt {
        self.doubt
    }

    /// Whether the server ends the session, and reads nothing more.
    pub(crate) const fn is_ending(&self) -> bool {
        self.ending
    }

    /// Notes a client's message on its way to the upstream.
    pub(crate) fn on_frontend(&mut self, frame: Frame<'_>) {
        if let Some(owed) = Owed::by(frame) {
            if owed == Owed::CopyEnd && frame.len > MAX_SMALL {
                self.doubt = Doubt::Lasting;
            }
            self.note(owed, Origin::Client);
        }
    }

    /// Notes a message of the proxy's own of this type.
    pub(crate) fn on_own(&mut self, tag: u8) {
        let frame = Frame {
            tag,
            len: 0,
            body: &[],
        };
        if let Some(owed) = Owed::by(frame) {
            self.note(owed, Origin::Proxy);
        }
    }

    /// Notes an empty Query of the proxy's own, whose reply ends [`Doubt::Syncs`].
    pub(crate) fn mark(&mut self) {
        self.push(Owed::Marker, Origin::Proxy);
    }

    fn push(&mut self, owed: Owed, origin: Origin) {
        self.owed.push_back(Request {
            owed,
            origin,
            count: 1,
        });
    }

    fn note(&mut self, owed: Owed, origin: Origin) {
        match owed {
            Owed::CopyEnd => return self.note_copy_end(origin),
            Owed::Sync | Owed::Flush if self.copying_in => return self.swallow(owed),
            Owed::Sync => {
                self.batch = Batch::Closed;
                return self.push(owed, origin);
            }
            // Whatever the server is in the middle of, and whatever it discards.
            Owed::End => {
                self.ending = true;
                return self.push(owed, origin);
            }
            _ => {}
        }
        if self.doubt == Doubt::Syncs {
            self.doubt = Doubt::Lasting;
        }
        if self.batch == Batch::Failed {
            return;
        }
        self.batch = match owed {
            // A simple Query or a FunctionCall commits what stands before it.
            Owed::Query | Owed::Function => Batch::Closed,
            _ => Batch::Open,
        };
        self.push(owed, origin);
    }

    /// The COPY does, unless it has failed before.
    fn swallow(&mut self, owed: Owed) {
        let doubt = match owed {
            Owed::Sync => Doubt::Syncs,
            _ => Doubt::Lasting,
        };
        self.swallowed = self.swallowed.max(doubt);
    }

    fn note_copy_end(&mut self, origin: Origin) {
        if self.copying_in {
            self.copying_in = false;
            return;
        }
        match self.owed.back_mut() {
            // A server outside of COPY drops it without a word.
            None => {}
            Some(last) if last.owed == Owed::CopyEnd => last.count = last.count.saturating_add(1),
            Some(_) => self.push(Owed::CopyEnd, origin),
        }
    }

    /// Settles what a message from the upstream answers.
    ///
    /// # Errors
    /// When it answers nothing that was asked.
    pub(crate) fn on_backend(&mut self, frame: Frame<'_>) -> Result<Reply, Unexpected> {
        let (front, origin) = match self.front() {
            // What comes ahead of the marker's own reply was owed to the client.
            Some(request)
                if request.owed == Owed::Marker && frame.tag != backend::EMPTY_QUERY_RESPONSE =>
            {
                (Some(request.owed), Origin::Client)
            }
            Some(request) => (Some(request.owed), request.origin),
            None => (None, Origin::Client),
        };
        let settled = match (frame.tag, front) {
            (backend::DATA_ROW, Some(Owed::Query | Owed::Execute)) => Settled::Nothing,
            (backend::PARSE_COMPLETE, Some(Owed::Parse)) => self.settle(Settled::Parse),
            (backend::CLOSE_COMPLETE, Some(Owed::Close)) => self.settle(Settled::Close),
            (backend::CLOSE_COMPLETE, Some(Owed::ClosePortal))
            | (backend::BIND_COMPLETE, Some(Owed::Bind))
            | (
                backend::NO_DATA | backend::ROW_DESCRIPTION,
                Some(Owed::Describe | Owed::DescribePortal),
            ) => self.settle(Settled::Nothing),
            (
                backend::PORTAL_SUSPENDED
                | backend::COMMAND_COMPLETE
                | backend::EMPTY_QUERY_RESPONSE,
                Some(Owed::Execute),
            ) => {
                self.swallowed = Doubt::None;
                self.settle(Settled::Nothing)
            }
            (backend::ERROR_RESPONSE, _) => return self.fail(frame, (front, origin)),
            (backend::READY_FOR_QUERY, _) => match self.ready(frame, front)? {
                Owed::Query => Settled::Query,
                _ => Settled::Ready,
            },
            (backend::COPY_IN_RESPONSE, _) => self.begin_copy_in(front)?,
            (tag, _) if self.is_part(tag, front) => Settled::Nothing,
            (tag, _) => return Err(Unexpected(tag)),
        };
        Ok(Reply { origin, settled })
    }

    /// Whether a message that settles nothing can come now.
    fn is_part(&mut self, tag: u8, front: Option<Owed>) -> bool {
        match tag {
            backend::DATA_ROW
            | backend::COPY_DATA
            | backend::COPY_DONE
            | backend::COPY_OUT_RESPONSE
            | backend::COPY_BOTH_RESPONSE => matches!(front, Some(Owed::Query | Owed::Execute)),
            backend::EMPTY_QUERY_RESPONSE if front == Some(Owed::Marker) => {
                if let Some(marker) = self.owed.front_mut() {
                    marker.owed = Owed::MarkerSeen;
                }
                true
            }
            backend::ROW_DESCRIPTION
            | backend::COMMAND_COMPLETE
            | backend::EMPTY_QUERY_RESPONSE => front == Some(Owed::Query),
            backend::PARAMETER_DESCRIPTION => front == Some(Owed::Describe),
            backend::FUNCTION_CALL_RESPONSE => front == Some(Owed::Function),
            backend::NOTICE_RESPONSE
            | backend::PARAMETER_STATUS
            | backend::NOTIFICATION_RESPONSE => true,
            _ => false,
        }
    }

    fn front(&mut self) -> Option<Request> {
        while let Some(request) = self.owed.front() {
            if request.owed != Owed::CopyEnd {
                return Some(*request);
            }
            self.owed.pop_front();
        }
        None
    }

    /// The request at the front has its reply.
    fn settle(&mut self, settled: Settled) -> Settled {
        self.owed.pop_front();
        settled
    }

    /// The server reads COPY data from here: Syncs that are already on their way
    /// are swallowed up to the end of the copy, wherever that is.
    fn begin_copy_in(&mut self, front: Option<Owed>) -> Result<Settled, Unexpected> {
        if !matches!(front, Some(Owed::Query | Owed::Execute)) {
            return Err(Unexpected(backend::COPY_IN_RESPONSE));
        }
        while let Some(next) = self.owed.get_mut(1) {
            match next.owed {
                owed @ (Owed::Sync | Owed::Flush) => {
                    self.owed.remove(1);
                    self.swallow(owed);
                }
                Owed::CopyEnd => {
                    next.count -= 1;
                    if next.count == 0 {
                        self.owed.remove(1);
                    }
                    return Ok(Settled::Nothing);
                }
                // The server will refuse it with an error, which settles the rest.
                _ => return Ok(Settled::Nothing),
            }
        }
        self.copying_in = true;
        Ok(Settled::Nothing)
    }

    fn fail(
        &mut self,
        frame: Frame<'_>,
        (front, origin): (Option<Owed>, Origin),
    ) -> Result<Reply, Unexpected> {
        self.copying_in = false;
        let mut skipped = Skipped {
            count: 0,
            begun: false,
            describes: 0,
        };
        self.doubt_swallowed();
        if front.is_none() && !backend::is_fatal(frame.body) {
            return Err(Unexpected(frame.tag));
        }
        let stays = matches!(
            front,
            None | Some(
                Owed::Query
                    | Owed::Function
                    | Owed::Sync
                    | Owed::End
                    | Owed::Marker
                    | Owed::MarkerSeen
            )
        );
        if stays {
            let settled = Settled::Failed(skipped);
            return Ok(Reply { origin, settled });
        }
        skipped.begun = matches!(front, Some(Owed::Parse | Owed::Close));
        let lasts = |next: &Request| matches!(next.owed, Owed::Sync | Owed::End);
        while let Some(request) = self.front().filter(|next| !lasts(next)) {
            let counts = matches!(request.owed, Owed::Parse | Owed::Close | Owed::Query);
            skipped.count += usize::from(counts);
            let describes = request.owed == Owed::Describe && request.origin == Origin::Client;
            skipped.describes += usize::from(describes);
            self.owed.pop_front();
        }
        if self.owed.is_empty() {
            self.batch = Batch::Failed;
        }
        // What the proxy put into a client's batch fails in the client's name.
        let origin = self.front().map_or(Origin::Client, |sync| sync.origin);
        let settled = Settled::Failed(skipped);
        Ok(Reply { origin, settled })
    }

    /// If it was a COPY that failed, it is not known what it has swallowed.
    fn doubt_swallowed(&mut self) {
        let swallowed = std::mem::replace(&mut self.swallowed, Doubt::None);
        if swallowed == Doubt::None {
            return;
        }
        let countable = |request: &Request| matches!(request.owed, Owed::Sync | Owed::CopyEnd);
        let doubt = match self.owed.iter().skip(1).all(countable) {
            true => swallowed,
            false => Doubt::Lasting,
        };
        self.doubt = self.doubt.max(doubt);
    }

    fn ready(&mut self, frame: Frame<'_>, front: Option<Owed>) -> Result<Owed, Unexpected> {
        self.status = match frame.body {
            b"I" => TransactionStatus::Idle,
            b"T" => TransactionStatus::InTransaction,
            b"E" => TransactionStatus::Failed,
            _ => return Err(Unexpected(frame.tag)),
        };
        match front {
            Some(owed @ (Owed::Query | Owed::Function | Owed::Sync)) => {
                self.owed.pop_front();
                self.copying_in = false;
                self.swallowed = Doubt::None;
                self.front();
                Ok(owed)
            }
            Some(owed @ Owed::MarkerSeen) => {
                self.owed.pop_front();
                if self.doubt == Doubt::Syncs {
                    self.doubt = Doubt::None;
                }
                Ok(owed)
            }
            // Of one of the Syncs in doubt: the server discards nothing any more.
            None | Some(Owed::Marker) if self.doubt == Doubt::Syncs => {
                self.batch = Batch::Closed;
                Ok(Owed::Sync)
            }
            _ => Err(Unexpected(frame.tag)),
        }
    }
}

#[cfg(test)]
mod tests;
