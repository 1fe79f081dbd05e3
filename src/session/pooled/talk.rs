//! The conversation over a lease: every frame of either side is looked at once,
//! and what becomes of it is decided here. No sockets.

use crate::config::values::{OnSessionState, PoolMode};
use crate::state::parameters::Parameters;
use crate::state::proof;
use crate::state::statements::{Injected, Server};
use crate::state::check;
use crate::state::trace::Digest;
use crate::wire::frame::Frame;
use crate::wire::frontend::{self, split_cstr};
use crate::wire::ledger::{Ledger, Origin, Reply, Settled, TransactionStatus};
use crate::wire::backend;

use super::super::commit::CommitWatch;
use super::super::flow::Step;
use super::guest::{Guest, Noted};

/// What the connection at the other end holds, as far as a conversation changes it.
#[derive(Debug)]
pub(super) struct Held<'a> {
    pub(super) statements: &'a mut Server,
    pub(super) reported: &'a mut Parameters,
}

/// Work of the proxy's own on the connection, while the client's messages wait.
#[derive(Debug)]
pub(super) enum Errand {
    /// None: the client has the connection.
    None,
    /// Asking what the client has left.
    Check(check::Reader),
    /// Asking the catalog.
    Census(proof::Reader),
    /// Ending the transaction of a client that has left.
    Rollback,
}

/// What is still to be expected of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientSide {
    Speaking,
    /// It said Terminate, or closed.
    Gone,
}

/// Whether the connection can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    Good,
    /// An answer fitted no question: it serves this client, and nobody after it.
    Doubtful,
    /// The server has announced the end of the session.
    Farewell,
    /// What was to make it this client's failed: nothing that follows may be believed.
    Broken,
}

/// Something has to happen before a frame may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// Nobody may be connected to this database.
    Vacant(Vec<u8>),
    /// A place among those who may keep a connection.
    Pin,
}

/// What a conversation may do; from the pool's settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) mode: PoolMode,
    pub(super) on_session_state: OnSessionState,
}

/// One lease's conversation.
#[derive(Debug)]
pub(super) struct Talk<'a> {
    pub(super) guest: &'a mut Guest,
    pub(super) ledger: Ledger,
    pub(super) commit: CommitWatch,
    pub(super) errand: Errand,
    pub(super) client: ClientSide,
    pub(super) health: Health,
    /// Why the client's next frame waits.
    pub(super) need: Option<Need>,
    /// What the next frame needs has been seen to.
    pub(super) satisfied: bool,
    /// ReadyForQuery messages until the connection is this client's.
    pub(super) introducing: u8,
    /// Something has run since the connection was last at rest.
    pub(super) stirred: bool,
    pub(super) changes: Changes,
    rules: Rules,
}

/// Definitions that what ran may have changed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Changes {
    /// Of anything: plans and proofs are stale.
    pub(super) definitions: bool,
    /// Of what new logins begin with.
    pub(super) logins: bool,
}

impl<'a> Talk<'a> {
    /// `introduction` is how many batches of the proxy's own go first.
    pub(super) fn new(guest: &'a mut Guest, rules: Rules) -> Self {
        Self {
            guest,
            ledger: Ledger::new(TransactionStatus::Idle),
            commit: CommitWatch::default(),
            errand: Errand::None,
            client: ClientSide::Speaking,
            health: Health::Good,
            need: None,
            satisfied: false,
            introducing: 0,
            stirred: false,
            changes: Changes::default(),
            rules,
        }
    }

    /// Notes a batch of the proxy's own, a simple Query.
    pub(super) fn own_query(&mut self) {
        self.ledger.on_request(frontend::QUERY, Origin::Proxy);
    }

    /// A client's message on its way to the server.
    pub(super) fn on_frontend(
        &mut self,
        held: &mut Held<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Step {
        match frame.tag {
            _ if !matches!(self.errand, Errand::None) => return Step::Stop,
            // What comes behind a Terminate is for nobody.
            _ if self.client == ClientSide::Gone => return Step::Drop,
            frontend::COPY_DATA => return Step::Pass,
            frontend::TERMINATE => {
                self.client = ClientSide::Gone;
                return Step::Drop;
            }
            _ => {}
        }
        if !self.ledger.is_discarding() {
            let step = self.prepare(held, frame, before);
            if step != Step::Pass {
                return step;
            }
        }
        self.satisfied = false;
        self.stirred = true;
        self.commit.on_frontend(frame);
        self.ledger.on_frontend(frame);
        Step::Pass
    }

    /// Sees to it that the server has what a message refers to.
    fn prepare(&mut self, held: &mut Held<'_>, frame: Frame<'_>, before: &mut Vec<u8>) -> Step {
        match frame.tag {
            frontend::QUERY => return self.query(held, frame, before),
            frontend::PARSE => return self.parse(held, frame, before),
            frontend::BIND => {
                let statement = split_cstr(frame.body).and_then(|(_, rest)| split_cstr(rest));
                if let Some((name, _)) = statement {
                    return self.bind(held, name, before);
                }
            }
            frontend::DESCRIBE => {
                if let Some(name) = statement_named(frame.body) {
                    let environment = self.guest.environment();
                    let statements = &mut self.guest.statements;
                    let injected = statements.uses(held.statements, name, environment, before);
                    self.inject(&injected);
                }
            }
            frontend::CLOSE => {
                if let Some(name) = statement_named(frame.body) {
                    self.guest.statements.close(held.statements, name);
                }
            }
            frontend::FUNCTION_CALL => {
                let in_block = self.in_block();
                self.guest.trace.ran(&Digest::of_function_call(), in_block);
            }
            _ => {}
        }
        Step::Pass
    }

    fn query(&mut self, held: &mut Held<'_>, frame: Frame<'_>, before: &mut Vec<u8>) -> Step {
        let noted = if frame.body.len() == frame.len {
            let text = frame.body.strip_suffix(b"\0").unwrap_or(frame.body);
            self.guest.note(text)
        } else {
            Noted::unread()
        };
        if self.must_wait(&noted.digest) {
            return Step::Stop;
        }
        if noted.digest.needs_alignment() {
            let environment = self.guest.environment();
            let statements = &mut self.guest.statements;
            let injected = statements.align(held.statements, environment, before, true);
            self.inject(&injected);
        }
        self.guest.statements.query(held.statements);
        self.run(&noted.digest);
        Step::Pass
    }

    fn parse(&mut self, held: &mut Held<'_>, frame: Frame<'_>, before: &mut Vec<u8>) -> Step {
        let Some((name, rest)) = split_cstr(frame.body) else {
            return Step::Pass;
        };
        let whole = frame.body.len() == frame.len;
        let noted = match split_cstr(rest) {
            Some((text, _)) if whole => self.guest.note(text),
            _ => Noted::unread(),
        };
        let environment = self.guest.environment();
        let rest = whole.then_some(rest);
        let statements = &mut self.guest.statements;
        let injected = statements.parse(held.statements, name, rest, noted, environment, before);
        self.inject(&injected);
        Step::Pass
    }

    /// A statement that is bound is taken for run.
    fn bind(&mut self, held: &mut Held<'_>, name: &[u8], before: &mut Vec<u8>) -> Step {
        let noted = match self.guest.statements.note(name) {
            Some(noted) if self.guest.is_current(noted) => noted.clone(),
            Some(_) => self.guest.note_again(name),
            None => Noted::unread(),
        };
        if self.must_wait(&noted.digest) {
            return Step::Stop;
        }
        let environment = self.guest.environment();
        let statements = &mut self.guest.statements;
        let injected = if noted.digest.needs_alignment() {
            statements.align(held.statements, environment, before, false)
        } else {
            statements.uses(held.statements, name, environment, before)
        };
        self.inject(&injected);
        self.run(&noted.digest);
        Step::Pass
    }

    fn inject(&mut self, injected: &[Injected]) {
        for one in injected {
            let tag = match one {
                Injected::Parse => frontend::PARSE,
                Injected::Close => frontend::CLOSE,
                Injected::Sync => frontend::SYNC,
            };
            self.ledger.on_request(tag, Origin::Proxy);
        }
    }

    fn run(&mut self, digest: &Digest) {
        self.changes.definitions |= digest.ddl();
        self.changes.logins |= digest.login_settings();
        if digest.ddl() {
            self.guest.knowledge.changed();
        }
        let in_block = self.in_block();
        self.guest.trace.ran(digest, in_block);
    }

    /// Whether what comes next may run in a transaction block; when in doubt, it does.
    fn in_block(&self) -> bool {
        !self.ledger.is_quiescent()
    }

    /// Whether something has to happen first; notes what.
    fn must_wait(&mut self, digest: &Digest) -> bool {
        if self.satisfied {
            return false;
        }
        self.need = digest.alone().map(|name| Need::Vacant(name.to_vec()));
        self.need.is_some()
    }

    /// A message from the server.
    pub(super) fn on_backend(
        &mut self,
        held: &mut Held<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Step {
        if self.health == Health::Broken {
            return Step::Drop;
        }
        let reply = self.ledger.on_backend(frame).unwrap_or_else(|unexpected| {
            tracing::warn!(session = self.guest.id, %unexpected, "puzzling answer");
            self.health = self.health.max(Health::Doubtful);
            Reply {
                origin: Origin::Client,
                settled: Settled::Nothing,
            }
        });
        let statements = &mut self.guest.statements;
        match reply.settled {
            Settled::Parse => statements.parsed(held.statements),
            Settled::Close => statements.closed(held.statements),
            Settled::Failed(n) if n > 0 => statements.failed(held.statements, n),
            _ => {}
        }
        match frame.tag {
            backend::PARAMETER_STATUS => self.report(held, frame, reply.origin),
            // What comes before the connection is this client's was for another.
            backend::NOTIFICATION_RESPONSE if self.introducing > 0 => Step::Drop,
            backend::NOTIFICATION_RESPONSE => Step::Pass,
            _ if reply.origin == Origin::Proxy => {
                self.own_reply(held, frame, before);
                Step::Drop
            }
            _ => {
                self.client_reply(held, frame);
                Step::Pass
            }
        }
    }

    fn client_reply(&mut self, held: &mut Held<'_>, frame: Frame<'_>) {
        match frame.tag {
            backend::COMMAND_COMPLETE => {
                let tag = frame.body.strip_suffix(b"\0").unwrap_or(frame.body);
                if matches!(tag, b"DISCARD ALL" | b"DEALLOCATE ALL") {
                    self.guest.statements.all_deallocated(held.statements);
                }
                self.guest.trace.tag(tag, &mut self.guest.settings);
            }
            backend::ERROR_RESPONSE => {
                self.guest.trace.failed();
                if backend::is_fatal(frame.body) {
                    self.health = self.health.max(Health::Farewell);
                } else if is_stale_plan(frame.body) {
                    held.statements.all_stale();
                }
            }
            backend::READY_FOR_QUERY if self.ledger.owes_nothing() => self.commit.settled(),
            _ => {}
        }
    }

    fn report(&mut self, held: &mut Held<'_>, frame: Frame<'_>, origin: Origin) -> Step {
        let parameter = split_cstr(frame.body)
            .and_then(|(name, rest)| Some((name, split_cstr(rest)?.0)));
        let Some((name, value)) = parameter else {
            self.health = self.health.max(Health::Doubtful);
            return Step::Pass;
        };
        held.reported.set(name, value);
        if origin == Origin::Proxy {
            return Step::Drop;
        }
        if self.guest.known.set(name, value) {
            self.guest.read_dialect();
            self.guest.trace.reported();
        }
        Step::Pass
    }

    fn own_reply(&mut self, held: &mut Held<'_>, frame: Frame<'_>, before: &mut Vec<u8>) {
        if self.introducing > 0 {
            match frame.tag {
                backend::ERROR_RESPONSE => {
                    let error = backend::error_field(frame.body, b'M');
                    tracing::warn!(session = self.guest.id, ?error, "a connection could not be handed over");
                    self.health = Health::Broken;
                }
                backend::READY_FOR_QUERY => {
                    self.introducing -= 1;
                    if self.introducing == 0 {
                        self.tell(held, before);
                    }
                }
                _ => {}
            }
            return;
        }
        match &mut self.errand {
            Errand::Check(reader) => reader.on_frame(frame),
            Errand::Census(reader) => reader.on_frame(frame),
            Errand::Rollback | Errand::None => {}
        }
    }

    /// Tells the client what is different on this connection from what it knows.
    pub(super) fn tell(&mut self, held: &Held<'_>, out: &mut Vec<u8>) {
        let known = &self.guest.known;
        if known.is_shared_with(held.reported) {
            return;
        }
        for (name, value) in known.differences(held.reported) {
            out.extend_from_slice(&backend::parameter_status(name, value));
        }
        self.guest.know(held.reported.clone());
    }
}

/// The statement that a Describe or Close names; `None` when it names a portal.
fn statement_named(body: &[u8]) -> Option<&[u8]> {
    let (b'S', rest) = body.split_first()? else {
        return None;
    };
    Some(split_cstr(rest)?.0)
}

/// Whether a prepared statement's plan no longer fits what the client was told.
fn is_stale_plan(body: &[u8]) -> bool {
    backend::error_field(body, b'C').as_deref() == Some("0A000")
        && backend::error_field(body, b'R').as_deref() == Some("RevalidateCachedQuery")
}
