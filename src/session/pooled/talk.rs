//! The conversation over a lease: every frame of either side is looked at once,
//! and what becomes of it is decided here. No sockets.

use std::collections::VecDeque;

use super::super::commit::CommitWatch;
use super::super::flow::Step;
use super::guest::{Guest, Noted};
use super::knowledge::Question;
use super::policy;
use crate::config::values::{OnSessionState, PoolMode};
use crate::fault::Fault;
use crate::pool::Connection;
use crate::state::parameters::Parameters;
use crate::state::statements::{Injected, Parse, Server, Wait};
use crate::state::trace::{Alignment, Digest, Hold, Reason, Via};
use crate::state::{check, proof};
use crate::wire::frame::Frame;
use crate::wire::frontend::{self, split_cstr};
use crate::wire::ledger::{Ledger, TransactionStatus};

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
    Census(Question, proof::Reader),
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
    Pin(Reason),
}

/// How the client's next frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// It waits for replies.
    Closed,
    /// What it needs has been seen to.
    Satisfied,
    /// What it needs cannot be had: it gets an error, for this reason.
    Refused(Reason),
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
    pub(super) gate: Gate,
    /// Why the client is sent away when the connection is at rest.
    pub(super) dismissal: Option<Fault>,
    /// ReadyForQuery messages until the connection is this client's.
    pub(super) introducing: u8,
    /// Something has run since the connection was last at rest.
    pub(super) stirred: bool,
    pub(super) changes: Changes,
    /// What executing a portal does; the unnamed one is among them.
    pub(super) portals: Vec<(Box<[u8]>, Digest)>,
    /// Names in the DEALLOCATEs that are under way.
    pub(super) freeing: VecDeque<Box<[u8]>>,
    pub(super) rules: Rules,
}

/// Definitions that what ran may have changed.
#[derive(Debug, Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each happens by itself")]
pub(super) struct Changes {
    /// Of anything: plans and proofs are stale.
    pub(super) definitions: bool,
    /// Of code that hides the names of its settings.
    pub(super) hidden: bool,
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
            gate: Gate::Open,
            dismissal: None,
            introducing: 0,
            stirred: false,
            changes: Changes::default(),
            portals: Vec::new(),
            freeing: VecDeque::new(),
            rules,
        }
    }

    /// Begins on a connection that is the client's once so many batches of the
    /// proxy's own are answered; appends to `told` what it has to know first.
    pub(super) fn begin(&mut self, batches: u8, connection: &mut Connection, told: &mut Vec<u8>) {
        for _ in 0..batches {
            self.own_query(&mut connection.statements);
        }
        self.introducing = batches;
        if batches == 0 {
            self.tell(&connection.reported, told);
        }
    }

    /// Notes a batch of the proxy's own, a simple Query.
    pub(super) fn own_query(&mut self, statements: &mut Server) {
        statements.unnamed_destroyed();
        self.ledger.on_own(frontend::QUERY);
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
            match self.prepare(held, frame, before) {
                Ok(injected) => self.inject(&injected),
                Err(Hitch::Need(need)) => {
                    self.need = Some(need);
                    return Step::Stop;
                }
                // Replies will come, and then it goes on.
                Err(Hitch::Wait) => {
                    self.gate = Gate::Closed;
                    return Step::Stop;
                }
                Err(Hitch::Refused(reason)) => {
                    policy::refusal(self.rules.on_session_state, reason, frame, before);
                    self.gate = Gate::Open;
                    self.substituted(held, frame);
                    return Step::Drop;
                }
            }
        }
        if frame.tag == frontend::SYNC {
            self.guest.statements.sync();
            self.guest.trace.synced();
        }
        self.gate = Gate::Open;
        self.stirred = true;
        self.commit.on_frontend(frame);
        self.ledger.on_frontend(frame);
        Step::Pass
    }

    /// Sees to it that the server has what a message refers to.
    fn prepare(
        &mut self,
        held: &mut Held<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Hitch> {
        match frame.tag {
            frontend::QUERY => return self.query(held, frame, before),
            frontend::PARSE => return self.parse(held, frame, before),
            frontend::BIND => {
                if let Some((portal, rest)) = split_cstr(frame.body)
                    && let Some((name, _)) = split_cstr(rest)
                {
                    return self.bind(held, (portal, name), before);
                }
            }
            frontend::EXECUTE => {
                if let Some((portal, _)) = split_cstr(frame.body) {
                    self.execute(portal);
                }
            }
            frontend::DESCRIBE => {
                if let Some(name) = statement_named(frame.body) {
                    let environment = self.guest.environment();
                    let statements = &mut self.guest.statements;
                    return Ok(statements.uses(held.statements, name, environment, before)?);
                }
            }
            frontend::CLOSE => {
                if let Some(name) = statement_named(frame.body) {
                    self.guest.statements.close(held.statements, name);
                }
            }
            frontend::FUNCTION_CALL => self.guest.trace.ran(&Digest::function(), Via::Query),
            _ => {}
        }
        Ok(Vec::new())
    }

    fn query(
        &mut self,
        held: &mut Held<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Hitch> {
        let noted = if frame.body.len() == frame.len {
            let text = frame.body.strip_suffix(b"\0").unwrap_or(frame.body);
            self.guest.note(text)
        } else {
            Noted::unread()
        };
        self.ask_for(&noted.digest)?;
        let mut injected = Vec::new();
        if noted.digest.needs_alignment() != Alignment::None {
            let environment = self.guest.environment();
            let statements = &mut self.guest.statements;
            injected = statements.align(held.statements, environment, true, before)?;
        }
        self.guest.statements.query(held.statements);
        self.run(&noted.digest, Via::Query);
        Ok(injected)
    }

    fn parse(
        &mut self,
        held: &mut Held<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Hitch> {
        let Some((name, rest)) = split_cstr(frame.body) else {
            return Ok(Vec::new());
        };
        let whole = frame.body.len() == frame.len;
        let noted = match split_cstr(rest) {
            Some((text, _)) if whole => self.guest.note(text),
            _ => Noted::unread(),
        };
        let environment = self.guest.environment();
        let parse = Parse {
            name,
            rest: whole.then_some(rest),
            note: noted,
        };
        let statements = &mut self.guest.statements;
        Ok(statements.parse(held.statements, parse, environment, before)?)
    }

    fn bind(
        &mut self,
        held: &mut Held<'_>,
        (portal, name): (&[u8], &[u8]),
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Hitch> {
        let digest = self.guest.recall(name);
        self.ask_for(&digest)?;
        let environment = self.guest.environment();
        let statements = &mut self.guest.statements;
        let mut injected = Vec::new();
        if digest.needs_alignment() != Alignment::None {
            injected = statements.align(held.statements, environment, false, before)?;
        }
        injected.extend(statements.uses(held.statements, name, environment, before)?);
        match self
            .portals
            .iter_mut()
            .find(|(known, _)| **known == *portal)
        {
            Some((_, known)) => *known = digest,
            None => self.portals.push((portal.into(), digest)),
        }
        Ok(injected)
    }

    /// A portal that no Bind made is a cursor's, whose query ran when it was declared.
    fn execute(&mut self, portal: &[u8]) {
        let known = self.portals.iter().find(|(known, _)| **known == *portal);
        let digest = known.map(|(_, digest)| digest.clone()).unwrap_or_default();
        self.run(&digest, Via::Execute);
    }

    fn inject(&mut self, injected: &[Injected]) {
        for one in injected {
            self.ledger.on_own(match one {
                Injected::Parse => frontend::PARSE,
                Injected::Close => frontend::CLOSE,
                Injected::Sync => frontend::SYNC,
            });
        }
    }

    fn run(&mut self, digest: &Digest, via: Via) {
        self.freeing.extend(digest.freed().iter().cloned());
        self.changes.logins |= digest.login_settings();
        let knowledge = &self.guest.knowledge;
        knowledge
            .names
            .add(digest.defined().iter().map(|name| &**name));
        if digest.ddl() {
            self.changes.definitions = true;
            knowledge.changed();
            if digest.hides() {
                self.changes.hidden = true;
                knowledge.hide();
            }
        }
        self.guest.trace.ran(digest, via);
    }

    /// A message that does nothing but fail went in place of the client's.
    fn substituted(&mut self, held: &Held<'_>, frame: Frame<'_>) {
        self.stirred = true;
        if frame.tag == frontend::QUERY {
            self.guest.statements.query(held.statements);
            self.guest.trace.ran(&Digest::default(), Via::Query);
        }
        self.ledger.on_frontend(frame);
    }

    /// Whether the client needs a place to keep its connection, and can wait for one
    /// without it: who is in a transaction may hold what others wait for.
    fn may_wait(&self) -> bool {
        self.guest.pin.is_none()
            && self.ledger.is_quiescent()
            && self.guest.trace.hold() == Hold::Free
    }

    /// Whether something has to happen first.
    fn ask_for(&self, digest: &Digest) -> Result<(), Hitch> {
        match self.gate {
            Gate::Satisfied => return Ok(()),
            Gate::Refused(reason) => return Err(Hitch::Refused(reason)),
            Gate::Open | Gate::Closed => {}
        }
        if let Some(database) = digest.alone() {
            return Err(Hitch::Need(Need::Vacant(database.to_vec())));
        }
        let Some(reason) = digest
            .pins()
            .filter(|_| self.rules.mode != PoolMode::Session)
        else {
            return Ok(());
        };
        match self.rules.on_session_state {
            OnSessionState::Error => Err(Hitch::Refused(reason)),
            OnSessionState::Pin if self.may_wait() => Err(Hitch::Need(Need::Pin(reason))),
            OnSessionState::Pin | OnSessionState::Ignore => Ok(()),
        }
    }
}

/// Why a message cannot go on yet.
#[derive(Debug)]
enum Hitch {
    Need(Need),
    /// What the server holds depends on replies that have not come.
    Wait,
    Refused(Reason),
}

impl From<Wait> for Hitch {
    fn from(_: Wait) -> Self {
        Self::Wait
    }
}

/// The statement that a Describe or Close names; `None` when it names a portal.
fn statement_named(body: &[u8]) -> Option<&[u8]> {
    let (b'S', rest) = body.split_first()? else {
        return None;
    };
    Some(split_cstr(rest)?.0)
}
