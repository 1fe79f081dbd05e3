//! What a pooled client takes along from one connection to the next.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::super::handle::Handle;
use super::backend_pid::AnnouncedBackend;
use crate::database::DatabaseCatalog;
use crate::database::catalog::CatalogVerdict;
use crate::pool::{ConnectionId, Placeholders};
use crate::sql::{Backslash, Dialect, Statement};
use crate::state::parameters::Parameters;
use crate::state::prepared::{self, Environment};
use crate::state::tracker::{AnalysisCache, Proof, SessionTracker, StatementEffects, digest};

/// The longest definition that is read each time that it is bound.
const MAX_READ: usize = 4 * 1024;

thread_local! {
    /// Of all clients of a worker.
    static SHAPES: RefCell<AnalysisCache> = RefCell::default();
}

/// A client of a pool.
#[derive(Debug)]
pub(super) struct PooledClient {
    /// The session, by whose number pools know it; for the log.
    pub(super) handle: Arc<Handle>,
    pub(super) statements: prepared::ClientStatements<StatementNote>,
    /// What it left on its connection, and its settings.
    pub(super) tracker: SessionTracker,
    /// The parameters as the client knows them.
    pub(super) known: Parameters,
    /// How the server reads this client's texts.
    pub(super) dialect: Dialect,
    /// The process that it was told at its login, and its connection.
    pub(super) announced: AnnouncedBackend,
    /// The connection it used last.
    pub(super) last: Option<ConnectionId>,
    /// What is known of its database.
    pub(super) catalog: Arc<DatabaseCatalog>,
    /// Its place among those who may keep a connection.
    pub(super) pin: Option<OwnedSemaphorePermit>,
    /// How often it has left values of sequences behind, up to a few.
    pub(super) draws: u8,
    /// Transactions in a row for which it had the same connection at once, up to a few.
    pub(super) streak: u8,
}

/// What is remembered of a prepared statement.
#[derive(Debug, Clone)]
pub(super) struct StatementNote {
    pub(super) digest: StatementEffects,
    /// Of the catalog it was judged by.
    pub(super) edition: Option<u32>,
}

impl PooledClient {
    pub(super) fn new(
        handle: &Arc<Handle>,
        known: Parameters,
        announced: AnnouncedBackend,
        catalog: Arc<DatabaseCatalog>,
    ) -> Self {
        let mut client = Self {
            handle: Arc::clone(handle),
            statements: prepared::ClientStatements::default(),
            tracker: SessionTracker::default(),
            known,
            dialect: Dialect::new(Backslash::Plain, b""),
            last: announced.connection(),
            announced,
            catalog,
            pin: None,
            draws: 0,
            streak: 0,
        };
        client.read_dialect();
        client
    }

    /// The custom settings that it has ever made.
    pub(super) fn placeholders(&self) -> Option<Arc<Placeholders>> {
        let mut names = self.tracker.settings().placeholders().peekable();
        names.peek()?;
        Some(Arc::new(names.map(Into::into).collect()))
    }

    /// Whether it keeps its connection whatever it leaves there.
    pub(super) fn must_stay(&self) -> bool {
        // The server is to end this client when it idles, not a connection that
        // it has used.
        self.tracker.settings().changes(b"idle_session_timeout") || self.statements.must_stay()
    }

    /// Shares what is known of the use of currval and lastval: with the first one
    /// that is seen, values of sequences count as state for all.
    pub(super) fn share_habits(&mut self) {
        if self.tracker.asks_for_sequences() {
            self.catalog.sequences_asked_for();
        } else if self.catalog.sequences_matter() {
            self.tracker.expect_sequences();
        }
    }

    /// Notes that the client has been told of these parameters.
    pub(super) fn know(&mut self, parameters: Parameters) {
        self.known = parameters;
        self.read_dialect();
    }

    pub(super) fn read_dialect(&mut self) {
        let backslash = match self.known.get(b"standard_conforming_strings") {
            Some(b"off") => Backslash::Escape,
            _ => Backslash::Plain,
        };
        let encoding = self.known.get(b"client_encoding").unwrap_or_default();
        self.dialect = Dialect::new(backslash, encoding);
    }

    /// What the meaning of its prepared statements depends on.
    pub(super) fn environment(&self) -> Environment {
        Environment {
            settings: self.tracker.settings().fingerprint(),
            epoch: self.catalog.epoch(),
        }
    }

    /// What a text does, judged by what is known now.
    pub(super) fn note(&self, text: &[u8]) -> StatementNote {
        let known = self.catalog.known();
        let edition = known.as_ref().map(|known| known.edition);
        let proven = |statement: &Statement<'_>| match &known {
            Some(known) => match known.judge(statement) {
                CatalogVerdict::Clean => Proof::Clean,
                CatalogVerdict::Sequence => Proof::Sequence,
                CatalogVerdict::Unproven => Proof::Unproven,
                CatalogVerdict::Hidden => Proof::Hidden,
                CatalogVerdict::Library => Proof::Library,
            },
            None => Proof::Unjudged,
        };
        let judge = (self.catalog.number, edition);
        let digest = SHAPES.with_borrow_mut(|shapes| {
            shapes.digest(text, self.dialect, judge, || {
                digest(text, self.dialect, proven)
            })
        });
        StatementNote { digest, edition }
    }

    /// Notes that what `statement_effects` is about is about to run. `None`: its text is not
    /// known. True for a definition of what leads to code that keeps state in the
    /// server's process.
    pub(super) fn about_to_run(&mut self, digest: &StatementEffects, text: Option<&[u8]>) -> bool {
        let (catalog, dialect) = (&self.catalog, self.dialect);
        if digest.is_unjudged() {
            self.tracker.judge_later(text, dialect, catalog.judged());
        }
        digest.ddl() && catalog.touches_stateful_code(text, dialect)
    }

    /// The same of a prepared statement.
    pub(super) fn bound(&mut self, name: &[u8], digest: &StatementEffects) -> bool {
        if !(digest.is_unjudged() || digest.ddl()) {
            return false;
        }
        let (catalog, dialect) = (&self.catalog, self.dialect);
        let text = self.statements.text(name);
        if digest.is_unjudged() {
            self.tracker.judge_later(text, dialect, catalog.judged());
        }
        // It may be bound over and over, in few bytes: a long one is not read each time.
        let text = text.filter(|text| text.len() <= MAX_READ);
        digest.ddl() && catalog.touches_stateful_code(text, dialect)
    }

    /// What is known of a prepared statement that is about to be bound.
    pub(super) fn recall(&mut self, name: &[u8]) -> StatementEffects {
        let Some(noted) = self.statements.note(name) else {
            // The server will refuse it.
            return StatementEffects::default();
        };
        if noted.edition == self.edition() {
            return noted.digest.clone();
        }
        match self.statements.text(name).map(|text| self.note(text)) {
            Some(noted) => {
                let digest = noted.digest.clone();
                self.statements.note_anew(name, noted);
                digest
            }
            None => noted.digest.clone(),
        }
    }

    /// Whether a text would be read the same now.
    pub(super) fn is_current(&self, noted: &StatementNote, dialect: Dialect) -> bool {
        noted.edition == self.edition() && dialect == self.dialect
    }

    fn edition(&self) -> Option<u32> {
        self.catalog.known().map(|known| known.edition)
    }
}

impl StatementNote {
    /// Of a text that is too long to be read.
    pub(super) fn unread() -> Self {
        Self {
            digest: StatementEffects::unknown(),
            edition: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PooledSession;
    use super::*;

    #[test]
    fn an_idle_client_takes_little_room() {
        assert!(size_of::<PooledSession<'_>>() <= 384);
        assert!(size_of::<PooledClient>() <= 224);
    }
}
