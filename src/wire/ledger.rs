//! What the upstream still owes the client: a queue of expected replies.
//!
//! A counter will not do: an error makes the server skip everything up to the
//! next Sync, a simple Query in between included, and a Sync that is sent along
//! with the start of a COPY is swallowed. The queue holds each request until its
//! reply has been seen, so that "nothing is owed" is knowledge, not a guess. Requests
//! of the proxy's own stand in the same queue, so that their replies are told apart
//! from the client's.

use std::collections::VecDeque;

use super::backend;
use super::frame::Frame;
use super::frontend;

/// Transaction status that ReadyForQuery reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

/// A request whose reply has not come yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    /// Simple Query: everything up to ReadyForQuery.
    Query,
    /// FunctionCall: a response and ReadyForQuery.
    Function,
    Parse,
    Bind,
    Describe,
    Execute,
    /// Of a statement.
    Close,
    ClosePortal,
    /// Sync: ReadyForQuery.
    Sync,
    /// CopyDone or CopyFail: no reply, but it ends the part of the stream in
    /// which Sync means nothing.
    CopyEnd,
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
}

impl Ledger {
    /// Of a connection that has just said ReadyForQuery.
    pub(crate) const fn new(status: TransactionStatus) -> Self {
        Self {
            owed: VecDeque::new(),
            status,
            batch: Batch::Closed,
            copying_in: false,
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

    /// Whether the server waits for more from the client: rows of a COPY, or the Sync
    /// of a batch.
    pub(crate) fn awaits_client(&self) -> bool {
        self.copying_in || self.batch != Batch::Closed
    }

    /// Whether the server discards what comes, up to the next Sync.
    pub(crate) fn is_discarding(&self) -> bool {
        self.batch == Batch::Failed
    }

    pub(crate) const fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Notes a client's message on its way to the upstream.
    pub(crate) fn on_frontend(&mut self, frame: Frame<'_>) {
        let of_portal = frame.tag == frontend::CLOSE && frame.body.first() == Some(&b'P');
        match owed(frame.tag) {
            Some(_) if of_portal => self.note(Owed::ClosePortal, Origin::Client),
            Some(owed) => self.note(owed, Origin::Client),
            None => {}
        }
    }

    /// Notes a message of the proxy's own of this type.
    pub(crate) fn on_own(&mut self, tag: u8) {
        if let Some(owed) = owed(tag) {
            self.note(owed, Origin::Proxy);
        }
    }

    fn note(&mut self, owed: Owed, origin: Origin) {
        match owed {
            Owed::CopyEnd if self.copying_in => {
                self.copying_in = false;
                return;
            }
            // One is enough: a server outside of COPY drops them without a word, so
            // a client could add to the queue without end.
            Owed::CopyEnd => {
                if self.owed.back().is_some_and(|last| last.owed != owed) {
                    self.owed.push_back(Request { owed, origin });
                }
                return;
            }
            Owed::Sync if self.copying_in => return,
            Owed::Sync => self.batch = Batch::Closed,
            _ => {}
        }
        if self.batch == Batch::Failed {
            return;
        }
        self.batch = match owed {
            // A simple Query or a FunctionCall commits what stands before it.
            Owed::Sync | Owed::Query | Owed::Function => Batch::Closed,
            _ => Batch::Open,
        };
        self.owed.push_back(Request { owed, origin });
    }

    /// Settles what a message from the upstream answers.
    ///
    /// # Errors
    /// When it answers nothing that was asked.
    pub(crate) fn on_backend(&mut self, frame: Frame<'_>) -> Result<Reply, Unexpected> {
        let origin = self
            .front()
            .map_or(Origin::Client, |request| request.origin);
        let settled = match frame.tag {
            backend::PARSE_COMPLETE => {
                self.settle(frame.tag, Owed::Parse)?;
                Settled::Parse
            }
            backend::CLOSE_COMPLETE if self.front_owed() == Some(Owed::ClosePortal) => {
                self.settle(frame.tag, Owed::ClosePortal)?;
                Settled::Nothing
            }
            backend::CLOSE_COMPLETE => {
                self.settle(frame.tag, Owed::Close)?;
                Settled::Close
            }
            backend::ERROR_RESPONSE => return Ok(self.fail(origin)),
            backend::READY_FOR_QUERY => match self.ready(frame)? {
                Owed::Query => Settled::Query,
                _ => Settled::Ready,
            },
            tag => {
                self.part(tag)?;
                Settled::Nothing
            }
        };
        Ok(Reply { origin, settled })
    }

    /// A message that ends no batch and prepares nothing.
    fn part(&mut self, tag: u8) -> Result<(), Unexpected> {
        let in_query = self.front_owed() == Some(Owed::Query);
        match tag {
            backend::BIND_COMPLETE => self.settle(tag, Owed::Bind),
            backend::PORTAL_SUSPENDED => self.settle(tag, Owed::Execute),
            backend::NO_DATA => self.settle(tag, Owed::Describe),
            backend::ROW_DESCRIPTION if !in_query => self.settle(tag, Owed::Describe),
            backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE if !in_query => {
                self.settle(tag, Owed::Execute)
            }
            backend::COPY_IN_RESPONSE => self.begin_copy_in(tag),
            _ => Ok(()),
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

    fn front_owed(&mut self) -> Option<Owed> {
        self.front().map(|request| request.owed)
    }

    fn settle(&mut self, tag: u8, owed: Owed) -> Result<(), Unexpected> {
        if self.front_owed() == Some(owed) {
            self.owed.pop_front();
            Ok(())
        } else {
            Err(Unexpected(tag))
        }
    }

    /// The server reads COPY data from here: Syncs that are already on their way
    /// are swallowed up to the end of the copy, wherever that is.
    fn begin_copy_in(&mut self, tag: u8) -> Result<(), Unexpected> {
        if !matches!(self.front_owed(), Some(Owed::Query | Owed::Execute)) {
            return Err(Unexpected(tag));
        }
        while let Some(&next) = self.owed.get(1) {
            match next.owed {
                Owed::Sync => drop(self.owed.remove(1)),
                Owed::CopyEnd => {
                    self.owed.remove(1);
                    return Ok(());
                }
                // The server will refuse it with an error, which settles the rest.
                _ => return Ok(()),
            }
        }
        self.copying_in = true;
        Ok(())
    }

    fn fail(&mut self, origin: Origin) -> Reply {
        self.copying_in = false;
        let mut skipped = Skipped {
            count: 0,
            begun: false,
        };
        let front = self.front_owed();
        if matches!(
            front,
            None | Some(Owed::Query | Owed::Function | Owed::Sync)
        ) {
            let settled = Settled::Failed(skipped);
            return Reply { origin, settled };
        }
        skipped.begun = matches!(front, Some(Owed::Parse | Owed::Close));
        while let Some(request) = self.front().filter(|next| next.owed != Owed::Sync) {
            let counts = matches!(request.owed, Owed::Parse | Owed::Close | Owed::Query);
            skipped.count += usize::from(counts);
            self.owed.pop_front();
        }
        if self.owed.is_empty() {
            self.batch = Batch::Failed;
        }
        // What the proxy put into a client's batch fails in the client's name.
        let origin = self.front().map_or(Origin::Client, |sync| sync.origin);
        let settled = Settled::Failed(skipped);
        Reply { origin, settled }
    }

    fn ready(&mut self, frame: Frame<'_>) -> Result<Owed, Unexpected> {
        self.status = match frame.body {
            b"I" => TransactionStatus::Idle,
            b"T" => TransactionStatus::InTransaction,
            b"E" => TransactionStatus::Failed,
            _ => return Err(Unexpected(frame.tag)),
        };
        match self.front_owed() {
            Some(owed @ (Owed::Query | Owed::Function | Owed::Sync)) => {
                self.owed.pop_front();
                self.copying_in = false;
                self.front();
                Ok(owed)
            }
            _ => Err(Unexpected(frame.tag)),
        }
    }
}

/// What a message of this type asks for.
const fn owed(tag: u8) -> Option<Owed> {
    Some(match tag {
        frontend::COPY_DONE | frontend::COPY_FAIL => Owed::CopyEnd,
        frontend::SYNC => Owed::Sync,
        frontend::QUERY => Owed::Query,
        frontend::FUNCTION_CALL => Owed::Function,
        frontend::PARSE => Owed::Parse,
        frontend::BIND => Owed::Bind,
        frontend::DESCRIBE => Owed::Describe,
        frontend::EXECUTE => Owed::Execute,
        frontend::CLOSE => Owed::Close,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
