//! What a pooled client takes along from one connection to the next.

use std::sync::Arc;

use crate::pool::ConnectionId;
use crate::state::parameters::Parameters;
use crate::state::proof::Verdict;
use crate::state::settings::Settings;
use crate::state::statements::{self, Environment};
use crate::state::trace::{Digest, Trace};
use crate::wire::sql::{Backslash, Dialect};

use super::knowledge::Knowledge;

/// A client of a pool.
#[derive(Debug)]
pub(super) struct Guest {
    /// The session's number, which is also how pools know it.
    pub(super) id: u64,
    pub(super) statements: statements::Client<Noted>,
    pub(super) settings: Settings,
    pub(super) trace: Trace,
    /// The parameters as the client knows them.
    pub(super) known: Parameters,
    /// How the server reads this client's texts.
    pub(super) dialect: Dialect,
    /// The connection it used last.
    pub(super) last: Option<ConnectionId>,
    /// What is known of its database.
    pub(super) knowledge: Arc<Knowledge>,
}

/// What is remembered of a prepared statement.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    pub(super) digest: Digest,
    /// Of the knowledge it was judged by.
    pub(super) edition: Option<u32>,
}

impl Guest {
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
            settings: self.settings.fingerprint(),
            epoch: self.knowledge.epoch(),
        }
    }

    /// What a text does, judged by what is known now.
    pub(super) fn note(&self, text: &[u8]) -> Noted {
        match self.knowledge.known() {
            Some(known) => Noted {
                digest: Digest::of(text, self.dialect, |statement| known.judge(statement)),
                edition: Some(known.edition),
            },
            None => Noted {
                digest: Digest::of(text, self.dialect, |_| Verdict::Unproven),
                edition: None,
            },
        }
    }

    /// Whether a note was made by what is known now.
    pub(super) fn is_current(&self, noted: &Noted) -> bool {
        noted.edition == self.knowledge.known().map(|known| known.edition)
    }
}
