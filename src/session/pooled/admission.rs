//! What has to happen before a client's message may go on.

use super::backend_pid;
use super::inspector::{Admission, Blocked, Inspector, Precondition};
use crate::config::values::{OnSessionState, PoolMode};
use crate::state::tracker::{Hold, StatementEffects};
use crate::wire::ledger::TransactionStatus;

impl Inspector<'_> {
    /// A failed transaction says so first.
    pub(super) fn ask_whether_stale(&self, name: &[u8]) -> Result<(), Blocked> {
        let failed = self.ledger.status() == TransactionStatus::Failed;
        if !failed && self.client.statements.is_refused(name) {
            return Err(Blocked::Stale);
        }
        Ok(())
    }

    /// A client that asks which process it has is best asked where it believes to be.
    pub(super) fn ask_for_announced(&self, digest: &StatementEffects) -> Result<(), Blocked> {
        let asks = backend_pid::is_asked_for(digest);
        if !asks || self.rules.mode == PoolMode::Session {
            return Ok(());
        }
        let client = &*self.client;
        if !client.announced.is_elsewhere(client.last) {
            return Ok(());
        }
        if self.can_let_go() {
            return Err(Blocked::Need(Precondition::AnnouncedBackend));
        }
        match self.can_soon_let_go() {
            true => Err(Blocked::Wait),
            false => Ok(()),
        }
    }

    /// Whether something has to happen first.
    pub(super) fn ask_for(&self, digest: &StatementEffects) -> Result<(), Blocked> {
        if self.may_pass()? {
            return Ok(());
        }
        self.ask_for_announced(digest)?;
        if let Some(database) = digest.alone() {
            return Err(Blocked::Need(Precondition::Vacant(database.to_vec())));
        }
        self.ask_to_keep(digest)
    }

    /// The same for a Parse.
    pub(super) fn ask_for_parse(
        &self,
        name: &[u8],
        digest: &StatementEffects,
    ) -> Result<(), Blocked> {
        if self.may_pass()? {
            return Ok(());
        }
        self.ask_for_announced(digest)?;
        // Most drivers send its Bind along with it, and then it is too late to wait.
        match name.is_empty() {
            true => self.ask_to_keep(digest),
            false => Ok(()),
        }
    }

    /// Whether what the message asked for has been done; an error if it cannot be.
    pub(super) const fn may_pass(&self) -> Result<bool, Blocked> {
        match self.admission {
            Admission::Satisfied => Ok(true),
            Admission::Refused(reason) => Err(Blocked::Refused(reason)),
            Admission::Open | Admission::Closed => Ok(false),
        }
    }

    /// A statement after which the client keeps its connection needs leave for that.
    pub(super) fn ask_to_keep(&self, digest: &StatementEffects) -> Result<(), Blocked> {
        let pins = digest.pins();
        let Some(reason) = pins.filter(|_| self.rules.mode != PoolMode::Session) else {
            return Ok(());
        };
        match self.rules.on_session_state {
            OnSessionState::Error => Err(Blocked::Refused(reason)),
            OnSessionState::Pin if self.may_wait() => Err(Blocked::Need(Precondition::Pin(reason))),
            OnSessionState::Pin if self.client.pin.is_none() && self.can_soon_let_go() => {
                Err(Blocked::Wait)
            }
            OnSessionState::Pin | OnSessionState::Ignore => Ok(()),
        }
    }

    /// Whether the client needs a place to keep its connection, and can wait for one
    /// without it: who is in a transaction may hold what others wait for.
    fn may_wait(&self) -> bool {
        self.client.pin.is_none() && self.can_let_go()
    }

    /// Whether another connection would do for what comes next.
    fn can_let_go(&self) -> bool {
        self.is_quiescent() && self.client.tracker.hold() == Hold::Free && !self.client.must_stay()
    }

    /// The same, once the connection is this client's.
    fn can_soon_let_go(&self) -> bool {
        self.setup_replies > 0
            && self.client.tracker.hold() == Hold::Free
            && !self.client.must_stay()
    }
}
