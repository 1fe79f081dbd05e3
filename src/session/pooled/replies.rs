//! The server's side of a conversation: what its messages mean for what is known
//! of the client and the connection, and whom they are for.

use super::super::flow::FrameAction;
use super::super::handle::log_session;
use super::description;
use super::inspector::{
    Admission, ClientSide, Health, Inspector, InternalQuery, ResetOutcome, ServerSide,
};
use crate::config::values::PoolMode;
use crate::fault::Fault;
use crate::state::parameters::Parameters;
use crate::wire::backend;
use crate::wire::frame::Frame;
use crate::wire::frontend::split_cstr;
use crate::wire::ledger::{Origin, Reply, Settled, TransactionStatus};
use crate::wire::sqlstate::SqlState;

impl Inspector<'_> {
    /// A message from the server.
    pub(super) fn on_backend(
        &mut self,
        held: &mut ServerSide<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> FrameAction {
        if self.health == Health::Broken {
            return FrameAction::Drop;
        }
        let reply = self.ledger.on_backend(frame).unwrap_or_else(|unexpected| {
            // One is enough for the log, and for the connection.
            if self.health == Health::Good {
                log_session!(warn, &self.client.handle, %unexpected, "unexpected reply");
                self.health = Health::Doubtful;
            }
            Reply {
                origin: Origin::Client,
                settled: Settled::Nothing,
            }
        });
        let statements = &mut self.client.statements;
        if self.admission == Admission::Closed {
            self.admission = Admission::Open;
        }
        match reply.settled {
            Settled::Parse => statements.parsed(held.statements),
            Settled::Close => statements.closed(held.statements),
            Settled::Query if reply.origin == Origin::Client => statements.queried(held.statements),
            Settled::Failed(skipped) => {
                let begun = skipped.begun && !is_malformed(frame.body);
                statements.failed(held.statements, skipped.count, begun);
                self.descriptions.skip(skipped.describes);
            }
            _ => {}
        }
        match frame.tag {
            backend::PARAMETER_STATUS => self.report(held, frame, reply.origin),
            // Another connection will do for the client, and never said that.
            backend::ERROR_RESPONSE
                if self.sticky && self.ledger.is_quiescent() && backend::is_fatal(frame.body) =>
            {
                self.health = self.health.max(Health::Terminated);
                FrameAction::Drop
            }
            // What comes before the connection is this client's was for another.
            backend::NOTIFICATION_RESPONSE if self.setup_replies > 0 => FrameAction::Drop,
            backend::NOTIFICATION_RESPONSE => self.notification_pids.translate(frame, before),
            _ if reply.origin == Origin::Proxy => {
                self.own_reply(held, frame, before);
                FrameAction::Drop
            }
            _ => {
                self.client_reply(held, frame);
                match frame.tag {
                    backend::READY_FOR_QUERY if self.is_forbidden() => FrameAction::Drop,
                    backend::ERROR_RESPONSE => description::translate(frame, before),
                    _ => FrameAction::Pass,
                }
            }
        }
    }

    /// In statement mode a client that has a transaction open is sent away; the
    /// transaction is rolled back.
    fn is_forbidden(&mut self) -> bool {
        let open = self.ledger.status() != TransactionStatus::Idle;
        if self.rules.mode == PoolMode::Statement && open {
            self.client_side = ClientSide::Gone;
            self.refusal = Some(no_transactions());
        }
        self.refusal.is_some()
    }

    fn client_reply(&mut self, held: &mut ServerSide<'_>, frame: Frame<'_>) {
        let client = &mut *self.client;
        match frame.tag {
            backend::COMMAND_COMPLETE => {
                let tag = frame.body.strip_suffix(b"\0").unwrap_or(frame.body);
                if matches!(tag, b"DISCARD ALL" | b"DEALLOCATE ALL") {
                    client.statements.all_deallocated(held.statements);
                }
                if tag == b"DEALLOCATE"
                    && let Some(name) = self.freeing.pop_front()
                {
                    client.statements.deallocated(held.statements, &name);
                }
                client.tracker.tag(tag);
            }
            backend::PARAMETER_DESCRIPTION | backend::ROW_DESCRIPTION | backend::NO_DATA => {
                if let Some(told) = self.descriptions.on_backend(frame)
                    && let Some(name) = self.descriptions.answered()
                {
                    client.statements.described(&name, told);
                }
            }
            backend::EMPTY_QUERY_RESPONSE | backend::PORTAL_SUSPENDED => client.tracker.tag(b""),
            backend::ERROR_RESPONSE => {
                client.tracker.failed(frame.body);
                if backend::is_fatal(frame.body) {
                    self.health = self.health.max(Health::Terminated);
                } else if is_stale_plan(frame.body) {
                    held.statements.plan_refused();
                }
            }
            backend::READY_FOR_QUERY => {
                let status = self.ledger.status();
                client.tracker.settle(status, self.ledger.owes_nothing());
                if self.ledger.owes_nothing() {
                    self.freeing.clear();
                    self.commit.settled();
                }
                if self.ledger.is_quiescent() {
                    self.portals.clear();
                }
            }
            _ => {}
        }
    }

    fn report(
        &mut self,
        held: &mut ServerSide<'_>,
        frame: Frame<'_>,
        origin: Origin,
    ) -> FrameAction {
        let parameter =
            split_cstr(frame.body).and_then(|(name, rest)| Some((name, split_cstr(rest)?.0)));
        let Some((name, value)) = parameter else {
            self.health = self.health.max(Health::Doubtful);
            return FrameAction::Pass;
        };
        if held.reported.set(name, value).is_err() {
            // It may not be remembered what this one is like: it is for nobody else.
            self.health = self.health.max(Health::Doubtful);
            return FrameAction::Pass;
        }
        if origin == Origin::Proxy {
            return FrameAction::Drop;
        }
        if self.client.known.set(name, value) == Ok(true) {
            self.client.read_dialect();
            self.client.tracker.reported(name);
        }
        FrameAction::Pass
    }

    fn own_reply(&mut self, held: &ServerSide<'_>, frame: Frame<'_>, before: &mut Vec<u8>) {
        if self.setup_replies > 0 {
            match frame.tag {
                backend::ERROR_RESPONSE => {
                    let error = backend::error_field(frame.body, b'M');
                    log_session!(
                        warn,
                        &self.client.handle,
                        error,
                        "a connection could not be handed over"
                    );
                    self.health = Health::Broken;
                }
                backend::READY_FOR_QUERY => {
                    self.setup_replies -= 1;
                    if self.setup_replies == 0 {
                        if let Some(key) = &self.key {
                            key.set_own(false);
                        }
                        self.tell(held.reported, before);
                    }
                }
                _ => {}
            }
            return;
        }
        match &mut self.internal_query {
            InternalQuery::Probe(reader) => reader.on_backend(frame),
            InternalQuery::CatalogQuery(_, reader) if frame.tag == backend::DATA_ROW => {
                // One that is streamed cannot be read.
                let whole = frame.body.len() == frame.len;
                reader.row(if whole { frame.body } else { &[] });
            }
            InternalQuery::CatalogQuery(..) => {}
            InternalQuery::Reset(outcome) => match frame.tag {
                backend::ERROR_RESPONSE => *outcome = ResetOutcome::No,
                backend::DATA_ROW
                    if frame.body.last() == Some(&b't') && *outcome == ResetOutcome::Yes =>
                {
                    *outcome = ResetOutcome::AllBut;
                }
                _ => {}
            },
            InternalQuery::Rollback | InternalQuery::Marker => {}
            InternalQuery::None => {
                if let Some(found) = self.descriptions.on_backend(frame) {
                    self.client.statements.verified(&found);
                }
            }
        }
    }

    /// Tells the client what is different on this connection from what it knows.
    pub(super) fn tell(&mut self, reported: &Parameters, out: &mut Vec<u8>) {
        if self.client.known.is_shared_with(reported) {
            return;
        }
        for (name, value) in self.client.known.differences(reported) {
            backend::put_parameter_status(out, name, value);
        }
        self.client.know(reported.clone());
    }
}

/// What a client in statement mode is told that opens a transaction.
fn no_transactions() -> Fault {
    Fault::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        "transaction_block",
        "transaction blocks are not allowed in statement pooling mode",
    )
    .detail("The transaction has been rolled back.")
    .hint("Set the pool's mode to \"transaction\".")
}

/// Whether the message itself was at fault, before anything was done about it.
fn is_malformed(body: &[u8]) -> bool {
    let code = backend::error_field(body, b'C');
    matches!(code.as_deref(), Some("08P01" | "22021"))
}

/// Whether a prepared statement's plan no longer fits what the client was told.
fn is_stale_plan(body: &[u8]) -> bool {
    backend::error_field(body, b'C').as_deref() == Some("0A000")
        && backend::error_field(body, b'R').as_deref() == Some("RevalidateCachedQuery")
}
