//! The conversation over a lease: every frame of either side is looked at once,
//! and what becomes of it is decided here. No sockets.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::commit::CommitWatch;
use super::super::flow::FrameAction;
use super::backend_pid::{KnownPid, NotificationPids};
use super::client::{PooledClient, StatementNote};
use super::description::{self, Descriptions};
pub(super) use super::inspection::{
    Admission, Blocked, ClientSide, DefinitionChanges, Health, InternalQuery, Precondition,
    ResetOutcome, Rules, ServerSide,
};
use super::policy;
use super::portals::Portals;
use crate::fault::Fault;
use crate::pool::{Connection, ServerKey};
use crate::sql::Dialect;
use crate::state::prepared::{Injected, Parse, ServerStatements};
use crate::state::tracker::{Alignment, ExecutedBy, StatementEffects};
use crate::wire::frame::Frame;
use crate::wire::frontend::{self, split_cstr};
use crate::wire::ledger::{Doubt, Ledger, TransactionStatus};

/// What a Parse of more than this does is not found out again after a wait.
const LONG: usize = 1024;

/// One lease's conversation.
#[derive(Debug)]
pub(super) struct Inspector<'a> {
    pub(super) client: &'a mut PooledClient,
    pub(super) ledger: Ledger,
    pub(super) commit: CommitWatch,
    pub(super) internal_query: InternalQuery,
    pub(super) client_side: ClientSide,
    pub(super) health: Health,
    /// Why the client's next frame waits.
    pub(super) precondition: Option<Precondition>,
    pub(super) admission: Admission,
    /// Why the client is sent away when the connection is at rest.
    pub(super) refusal: Option<Fault>,
    /// ReadyForQuery messages until the connection is this client's.
    pub(super) setup_replies: u8,
    /// Something has run since the connection was last at rest.
    pub(super) has_run: bool,
    /// The client has the connection without need, and can do without it.
    pub(super) sticky: bool,
    pub(super) changes: DefinitionChanges,
    pub(super) portals: Portals,
    /// What the text of the frame that waits does, and how that was read.
    seen: Option<(StatementNote, Dialect)>,
    /// Names in the DEALLOCATEs that are under way.
    pub(super) freeing: VecDeque<Box<[u8]>>,
    pub(super) descriptions: Descriptions,
    pub(super) key: Option<Arc<ServerKey>>,
    known_pid: KnownPid,
    pub(super) notification_pids: &'a NotificationPids,
    pub(super) rules: Rules,
}

impl<'a> Inspector<'a> {
    pub(super) fn new(
        client: &'a mut PooledClient,
        notification_pids: &'a NotificationPids,
        rules: Rules,
    ) -> Self {
        Self {
            client,
            ledger: Ledger::new(TransactionStatus::Idle),
            commit: CommitWatch::default(),
            internal_query: InternalQuery::None,
            client_side: ClientSide::Speaking,
            health: Health::Good,
            precondition: None,
            admission: Admission::Open,
            refusal: None,
            setup_replies: 0,
            has_run: false,
            sticky: false,
            changes: DefinitionChanges::default(),
            portals: Portals::default(),
            seen: None,
            freeing: VecDeque::new(),
            descriptions: Descriptions::default(),
            key: None,
            known_pid: KnownPid::default(),
            notification_pids,
            rules,
        }
    }

    /// Begins on a connection that is the client's once so many batches of the
    /// proxy's own are answered; appends to `told` what it has to know first.
    pub(super) fn begin(&mut self, batches: u8, connection: &mut Connection, told: &mut Vec<u8>) {
        for _ in 0..batches {
            self.own_query(&mut connection.statements);
        }
        self.setup_replies = batches;
        self.key = Some(Arc::clone(&connection.key));
        self.known_pid = KnownPid::of_login(&self.client.announced);
        if batches == 0 {
            connection.key.set_own(false);
            self.tell(&connection.reported, told);
        }
    }

    /// Notes a batch of the proxy's own, a simple Query.
    pub(super) fn own_query(&mut self, statements: &mut ServerStatements) {
        statements.unnamed_destroyed();
        self.ledger.on_own(frontend::QUERY);
    }

    /// Whether the server owes nothing, in no transaction, and that is certain.
    pub(super) fn is_quiescent(&self) -> bool {
        self.ledger.is_quiescent() && self.ledger.doubt() != Doubt::Syncs
    }

    /// Whether the connection can go on.
    pub(super) fn health(&self) -> Health {
        match self.ledger.doubt() {
            Doubt::None => self.health,
            Doubt::Syncs | Doubt::Lasting => self.health.max(Health::Doubtful),
        }
    }

    /// A client's message on its way to the server.
    pub(super) fn on_frontend(
        &mut self,
        held: &mut ServerSide<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> FrameAction {
        match frame.tag {
            _ if !matches!(self.internal_query, InternalQuery::None) => return FrameAction::Stop,
            // What comes behind a Terminate is for nobody, and so is what comes behind
            // a message that ends the session.
            _ if self.client_side == ClientSide::Gone || self.ledger.is_ending() => {
                return FrameAction::Drop;
            }
            frontend::COPY_DATA => return FrameAction::Pass,
            frontend::TERMINATE => {
                self.client_side = ClientSide::Gone;
                return FrameAction::Drop;
            }
            _ => {}
        }
        if !self.ledger.is_discarding() {
            match self.prepare(held, frame, before) {
                Ok(injected) => {
                    self.inject(&injected);
                    if injected.contains(&Injected::Describe) {
                        self.admission = Admission::Closed;
                        return FrameAction::Stop;
                    }
                    if let Some(name) = described_by(frame) {
                        self.descriptions.ask(name);
                    }
                }
                Err(Blocked::Need(need)) => {
                    self.precondition = Some(need);
                    return FrameAction::Stop;
                }
                // Replies will come, and then it goes on.
                Err(Blocked::Wait) => {
                    self.admission = Admission::Closed;
                    return FrameAction::Stop;
                }
                Err(Blocked::Refused(reason)) => {
                    self.seen = None;
                    policy::refusal(self.rules.on_session_state, reason, frame, before);
                    self.admission = Admission::Open;
                    self.substituted(held, frame);
                    return FrameAction::Drop;
                }
                Err(Blocked::Stale) => {
                    description::refuse_stale(before);
                    self.admission = Admission::Open;
                    self.substituted(held, frame);
                    return FrameAction::Drop;
                }
            }
        }
        if frame.tag == frontend::SYNC {
            self.client.statements.sync();
            self.client.tracker.synced();
        }
        self.admission = Admission::Open;
        self.has_run = true;
        self.commit.on_frontend(frame);
        self.ledger.on_frontend(frame);
        FrameAction::Pass
    }

    /// Sees to it that the server has what a message refers to.
    fn prepare(
        &mut self,
        held: &mut ServerSide<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Blocked> {
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
                    self.ask_whether_stale(name)?;
                    let environment = self.client.environment();
                    let statements = &mut self.client.statements;
                    return Ok(statements.uses(held.statements, name, environment, before)?);
                }
            }
            frontend::CLOSE => {
                if let Some(name) = statement_named(frame.body) {
                    self.client.statements.close(held.statements, name);
                }
            }
            frontend::FUNCTION_CALL => {
                let number = frame.body.first_chunk().copied().map(u32::from_be_bytes);
                let digest = StatementEffects::function(number);
                self.client.about_to_run(&digest, None);
                self.client.tracker.ran(&digest, ExecutedBy::Query);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn query(
        &mut self,
        held: &mut ServerSide<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Blocked> {
        let text = (frame.body.len() == frame.len)
            .then(|| frame.body.strip_suffix(b"\0").unwrap_or(frame.body));
        let noted = self.read(text);
        if let Err(blocked) = self.ask_for(&noted.digest) {
            self.look_again_at(noted);
            return Err(blocked);
        }
        let mut injected = Vec::new();
        if noted.digest.needs_alignment() != Alignment::None {
            let environment = self.client.environment();
            let statements = &mut self.client.statements;
            match statements.align(held.statements, environment, true, before) {
                Ok(aligned) => injected = aligned,
                Err(wait) => {
                    self.look_again_at(noted);
                    return Err(wait.into());
                }
            }
        }
        self.client.statements.query(held.statements);
        self.changes.kept |= self.client.about_to_run(&noted.digest, text);
        self.run(&noted.digest, ExecutedBy::Query);
        Ok(injected)
    }

    fn parse(
        &mut self,
        held: &mut ServerSide<'_>,
        frame: Frame<'_>,
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Blocked> {
        let named = split_cstr(frame.body);
        let whole = named.is_some() && frame.body.len() == frame.len;
        let (name, rest) = named.unwrap_or_default();
        let text = split_cstr(rest).filter(|_| whole).map(|(text, _)| text);
        let noted = self.read(text);
        if let Err(blocked) = self.ask_for_parse(name, &noted.digest) {
            self.look_again_at(noted);
            return Err(blocked);
        }
        let environment = self.client.environment();
        let kept = (frame.len > LONG).then(|| noted.clone());
        let parse = Parse {
            name,
            rest: whole.then_some(rest),
            note: noted,
        };
        let statements = &mut self.client.statements;
        let parsed = statements.parse(held.statements, parse, environment, before);
        if let (Err(_), Some(noted)) = (&parsed, kept) {
            self.look_again_at(noted);
        }
        Ok(parsed?)
    }

    /// What a text does; `None` is one that is too long to be read.
    fn read(&mut self, text: Option<&[u8]>) -> StatementNote {
        if self.seen.is_some()
            && let Some((noted, dialect)) = self.seen.take()
            && self.client.is_current(&noted, dialect)
        {
            return noted;
        }
        text.map_or_else(StatementNote::unread, |text| self.client.note(text))
    }

    /// The message waits, perhaps for many replies, and after each it is looked at again.
    fn look_again_at(&mut self, noted: StatementNote) {
        self.seen = Some((noted, self.client.dialect));
    }

    fn bind(
        &mut self,
        held: &mut ServerSide<'_>,
        (portal, name): (&[u8], &[u8]),
        before: &mut Vec<u8>,
    ) -> Result<Vec<Injected>, Blocked> {
        self.ask_whether_stale(name)?;
        let digest = self.client.recall(name);
        self.ask_for(&digest)?;
        let environment = self.client.environment();
        let statements = &mut self.client.statements;
        let mut injected = Vec::new();
        if digest.needs_alignment() != Alignment::None {
            injected = statements.align(held.statements, environment, false, before)?;
        }
        injected.extend(statements.uses(held.statements, name, environment, before)?);
        self.changes.kept |= self.client.bound(name, &digest);
        self.portals.bind(portal, digest);
        Ok(injected)
    }

    /// A portal that no Bind made is a cursor's, whose query ran when it was declared.
    fn execute(&mut self, portal: &[u8]) {
        let digest = self.portals.get(portal).cloned().unwrap_or_default();
        self.run(&digest, ExecutedBy::Execute);
    }

    fn inject(&mut self, injected: &[Injected]) {
        for one in injected {
            self.ledger.on_own(match one {
                Injected::Parse => frontend::PARSE,
                Injected::Close => frontend::CLOSE,
                Injected::Describe => frontend::DESCRIBE,
                Injected::Flush => frontend::FLUSH,
                Injected::Sync => frontend::SYNC,
            });
        }
    }

    fn run(&mut self, digest: &StatementEffects, via: ExecutedBy) {
        self.freeing.extend(digest.freed().iter().cloned());
        self.changes.logins |= digest.login_settings();
        let catalog = &self.client.catalog;
        catalog
            .custom_settings
            .add(digest.defined().iter().map(|name| &**name));
        if digest.ddl() {
            self.changes.definitions = true;
            catalog.changed();
            if digest.hides() {
                self.changes.hidden = true;
                catalog.hide();
            }
            if self.changes.kept {
                catalog.keep();
            }
        }
        self.changes.sessions |= digest.signals();
        let pids = self.notification_pids;
        self.known_pid.about_to_run(digest, self.key.as_ref(), pids);
        self.client.tracker.ran(digest, via);
    }

    /// A message that does nothing but fail went in place of the client's.
    fn substituted(&mut self, held: &ServerSide<'_>, frame: Frame<'_>) {
        self.has_run = true;
        if frame.tag == frontend::QUERY {
            self.client.statements.query(held.statements);
            self.client
                .tracker
                .ran(&StatementEffects::default(), ExecutedBy::Query);
        }
        if let Some(name) = described_by(frame) {
            self.descriptions.ask(name);
        }
        self.ledger.on_frontend(frame);
    }

    /// A Sync went to the server for a client that has left without one.
    pub(super) fn synced_for_gone(&mut self) {
        self.client.statements.sync();
        self.client.tracker.synced();
        self.has_run = true;
        let sync = Frame {
            tag: frontend::SYNC,
            len: 0,
            body: &[],
        };
        self.commit.on_frontend(sync);
        self.ledger.on_frontend(sync);
    }
}

/// The statement that is described.
fn described_by(frame: Frame<'_>) -> Option<&[u8]> {
    (frame.tag == frontend::DESCRIBE)
        .then(|| statement_named(frame.body))
        .flatten()
}

/// The statement that a Describe or Close names; `None` when it names a portal. One that
/// is malformed fails; until then it counts as one of the unnamed statement.
fn statement_named(body: &[u8]) -> Option<&[u8]> {
    match body.split_first() {
        Some((b'P', _)) => None,
        Some((b'S', rest)) => Some(split_cstr(rest).unwrap_or_default().0),
        _ => Some(b""),
    }
}
