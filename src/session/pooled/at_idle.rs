//! A connection at rest: whether its client keeps it, what is asked of the server
//! to know that, and how it is given back.

use std::future::Future as _;
use std::task::Context;
use std::time::Duration;

use tokio::time::sleep;

use super::super::handle::{StopOrder, log_session};
use super::super::relay::RelayExit;
use super::client::PooledClient;
use super::inspector::{ClientSide, Health, InternalQuery, ResetOutcome};
use super::relay::{LeaseExit, PooledRelay};
use crate::config::values::{OnSessionState, PoolMode, Scrub};
use crate::pool::{Connection, LeftBehind};
use crate::state::probe::{self, ProbeVerdict};
use crate::state::tracker::{Cleanup, HiddenCode, Hold, HoldReason, SessionTracker};
use crate::state::{catalog, reset};
use crate::wire::frontend;

/// How often, and for how long, a new client that may have used sequences keeps its
/// connection though others wait; while nobody is known to ask for their values.
const DRAWS: u8 = 5;
const GRACE: Duration = Duration::from_millis(100);

/// Transactions in a row on one connection after which a client keeps it in between,
/// and transactions after which it gives it back all the same.
const STREAK: u8 = 8;
const LINGERING: u16 = 1000;

/// What follows from a look at the connection.
#[derive(Debug)]
pub(super) enum IdleDecision {
    Wait,
    Again,
    Leave(LeaseExit),
}

impl PooledRelay<'_> {
    /// What to do with a connection that is at rest.
    pub(super) fn at_idle(
        &mut self,
        cx: &mut Context<'_>,
        order: Option<StopOrder>,
    ) -> IdleDecision {
        if let Some(next) = self.finish_errand() {
            return next;
        }
        if self.talk.client == ClientSide::Gone {
            return self.depart();
        }
        if order.is_some() && self.line.to_client.is_empty() {
            return IdleDecision::Leave(LeaseExit::Over(RelayExit::Ordered));
        }
        if self.talk.stirred || self.hold.is_none() {
            self.talk.stirred = false;
            return self.settle();
        }
        match self.hold {
            Some(Hold::Free | Hold::Soft | Hold::Check(_)) if !self.holder.poll_wanted(cx) => {
                self.learn()
            }
            Some(Hold::Free) => {
                self.talk.guest.streak = 0;
                IdleDecision::Leave(self.release(LeftBehind::Nothing))
            }
            Some(Hold::Soft) => match self.has_bethought(cx) {
                true => IdleDecision::Leave(self.release(LeftBehind::Light)),
                false => IdleDecision::Wait,
            },
            Some(Hold::Check(_)) => {
                self.ask();
                IdleDecision::Again
            }
            _ => self.learn(),
        }
    }

    /// A transaction has ended: does the connection go back?
    fn settle(&mut self) -> IdleDecision {
        self.vacancy = None;
        self.grace = None;
        let talk = &mut self.talk;
        if std::mem::take(&mut talk.changes.definitions) {
            talk.guest.knowledge.changed();
        }
        if std::mem::take(&mut talk.changes.hidden) {
            talk.guest.knowledge.hide();
        }
        if std::mem::take(&mut talk.changes.kept) {
            talk.guest.knowledge.keep();
        }
        if std::mem::take(&mut talk.changes.logins) {
            self.pools.bump_generation();
        }
        if std::mem::take(&mut talk.changes.sessions) {
            self.pools.expect_terminations();
        }
        talk.guest.share_habits();
        let hold = talk.guest.trace.hold();
        let stays = talk.rules.mode == PoolMode::Session || talk.guest.must_stay();
        let ignores = talk.rules.on_session_state == OnSessionState::Ignore;
        let lingers = hold == Hold::Free && !stays && self.may_linger();
        if (hold == Hold::Free || ignores) && !stays && !lingers {
            return IdleDecision::Leave(self.release(LeftBehind::Nothing));
        }
        self.holder.set_sticky(lingers);
        self.talk.lingers = lingers && self.lease.can_be_replaced();
        let asked = !stays && matches!(hold, Hold::Free | Hold::Soft | Hold::Check(_));
        if self.hold.is_none() && asked {
            self.lease.hold(self.holder);
        }
        match hold {
            Hold::Hard(reason) if !stays => self.tell_of_pin(reason),
            _ => {}
        }
        self.hold = Some(if stays {
            Hold::Hard(HoldReason::Session)
        } else {
            hold
        });
        if asked && matches!(hold, Hold::Check(_)) && self.lease.is_old() {
            self.ask();
        }
        IdleDecision::Again
    }

    /// Whether the client keeps a connection that it needs no more until somebody else
    /// needs it: one that has had the same again and again spares the way to the shelf
    /// and back. Once in a while it goes there, where its age is looked at.
    fn may_linger(&mut self) -> bool {
        let guest = &mut *self.talk.guest;
        if guest.streak < STREAK {
            guest.streak += 1;
            return false;
        }
        self.lingered += 1;
        self.lingered < LINGERING && self.lease.is_uncontested()
    }

    /// Whether a client that may ask what its sequences gave has had time to do so:
    /// most that do ask at once, and then it is known of all.
    fn has_bethought(&mut self, cx: &mut Context<'_>) -> bool {
        let guest = &mut *self.talk.guest;
        if guest.draws >= DRAWS || guest.knowledge.sequences_are_unasked_for() {
            return true;
        }
        let grace = self.grace.get_or_insert_with(|| Box::pin(sleep(GRACE)));
        let over = grace.as_mut().poll(cx).is_ready();
        if over {
            guest.draws += 1;
            guest.knowledge.sequence_left();
        }
        over
    }

    /// Asks the server what the client has left. Where code ran that nobody has
    /// looked at, the catalog has to say first what to ask for.
    fn ask(&mut self) {
        let guest = &mut *self.talk.guest;
        let knowledge = &guest.knowledge;
        let code = guest.trace.code();
        let informed = std::mem::take(&mut self.informed);
        if code == HiddenCode::Unjudged && !informed && knowledge.known().is_none() {
            let question = knowledge.question();
            self.informed = true;
            self.send(
                catalog::catalog_query(),
                InternalQuery::Census(question, catalog::CatalogReader::default()),
            );
            return;
        }
        let hides = match code {
            HiddenCode::None => false,
            HiddenCode::Known => knowledge.names.are_too_many(),
            HiddenCode::Unjudged => knowledge.hides(),
        };
        if hides {
            guest.trace.hide();
            self.keep(HoldReason::Setting);
            return;
        }
        if let Some(unjudged) = guest.trace.unjudged()
            && knowledge.keeps(unjudged)
        {
            guest.trace.keep();
            self.keep(HoldReason::Library);
            return;
        }
        let sequences = guest.trace.asks_for_sequences();
        let mut text = Vec::new();
        let custom = knowledge.names.with(guest.trace.custom());
        let custom = custom.iter().map(|name| &**name);
        probe::query(custom, sequences, &mut text);
        self.metrics.checks.increment(1);
        self.send(
            &text,
            InternalQuery::Check(probe::ProbeReader::new(sequences)),
        );
    }

    /// The client has left. What custom settings it leaves has to be known: nothing
    /// removes them, so that the connection is not for everybody any more.
    fn depart(&mut self) -> IdleDecision {
        let guest = &*self.talk.guest;
        let nameless = guest.knowledge.names.is_empty() && guest.trace.custom().next().is_none();
        let asks = match guest.trace.code() {
            HiddenCode::None => false,
            HiddenCode::Known => !nameless,
            HiddenCode::Unjudged => true,
        };
        if !asks || self.unwritable || guest.trace.residue() == Cleanup::Close {
            return self.undo();
        }
        self.ask();
        IdleDecision::Again
    }

    /// A client that has left leaves nothing that others could notice, be its
    /// connection idle afterwards: locks, temporary tables.
    fn undo(&mut self) -> IdleDecision {
        let guest = &self.talk.guest;
        let held = matches!(guest.trace.hold(), Hold::Check(_) | Hold::Hard(_));
        let held = held || self.lease.statements.must_be_cleared();
        // One that nothing can replace may have to stay, with what is not undone of it.
        let stays = guest.trace.residue() != Cleanup::Close || !self.lease.can_be_replaced();
        let undoable = stays
            && self.talk.health == Health::Good
            && self.talk.rules.scrub != Scrub::Never
            && !self.unwritable;
        if !(held && undoable) {
            return IdleDecision::Leave(LeaseExit::ClientLeft);
        }
        for text in reset::FULL.into_iter().chain([reset::TEMPORARY]) {
            self.send(text.as_bytes(), InternalQuery::Scrub(ResetOutcome::Yes));
        }
        IdleDecision::Again
    }

    fn undone(&mut self, scrubbed: ResetOutcome) {
        let guest = &mut *self.talk.guest;
        match scrubbed {
            ResetOutcome::Yes if guest.trace.residue() == Cleanup::Close => return,
            ResetOutcome::Yes => {}
            ResetOutcome::AllBut => return guest.trace.cannot_be_undone(),
            ResetOutcome::No => {
                self.talk.health = self.talk.health.max(Health::Doubtful);
                return;
            }
        }
        let connection = &mut *self.lease;
        note_left(connection, guest, LeftBehind::Nothing);
        connection.left = LeftBehind::Nothing;
        connection.statements.clear();
        guest.trace = SessionTracker::default();
    }

    /// The connection is found to be for nobody else.
    fn keep(&mut self, reason: HoldReason) {
        self.hold = Some(self.talk.guest.trace.hold());
        if self.talk.client == ClientSide::Gone {
            return;
        }
        self.lease.refuse(self.holder);
        self.tell_of_pin(reason);
    }

    /// Once a connection and reason.
    fn tell_of_pin(&mut self, reason: HoldReason) {
        if self.told == Some(reason) {
            return;
        }
        self.told = Some(reason);
        self.metrics.pinned(reason.label());
        log_session!(
            info,
            self.handle,
            reason = reason.label(),
            "client keeps its connection"
        );
    }

    /// An idle moment: is there something to be learnt from the catalog?
    fn learn(&mut self) -> IdleDecision {
        if self.hold != Some(Hold::Check(HoldReason::Function)) {
            return IdleDecision::Wait;
        }
        let Some(question) = self.talk.guest.knowledge.claim_question() else {
            return IdleDecision::Wait;
        };
        let reader = catalog::CatalogReader::default();
        self.send(
            catalog::catalog_query(),
            InternalQuery::Census(question, reader),
        );
        IdleDecision::Again
    }

    /// `None` if there was none.
    fn finish_errand(&mut self) -> Option<IdleDecision> {
        let errand = std::mem::replace(&mut self.talk.errand, InternalQuery::None);
        let guest = &mut *self.talk.guest;
        if !matches!(errand, InternalQuery::None) {
            self.lease.key.set_own(false);
        }
        match errand {
            InternalQuery::None | InternalQuery::Rollback => return None,
            InternalQuery::Marker => {}
            InternalQuery::Scrub(scrubbed) => {
                self.undone(scrubbed);
                return Some(IdleDecision::Leave(LeaseExit::ClientLeft));
            }
            InternalQuery::Census(question, reader) => question.answered(reader.finish()),
            InternalQuery::Check(reader) => {
                let verdict = guest.trace.checked(&reader.finish());
                if self.talk.client == ClientSide::Gone {
                    return Some(self.undo());
                }
                let hold = guest.trace.hold();
                if matches!(hold, Hold::Free | Hold::Soft) {
                    return Some(IdleDecision::Leave(self.release(LeftBehind::Light)));
                }
                match verdict {
                    ProbeVerdict::Pinned(reason) => self.keep(reason),
                    _ => {
                        self.hold = Some(hold);
                        self.lease.refuse(self.holder);
                    }
                }
            }
        }
        self.line.to_upstream.resume();
        Some(IdleDecision::Again)
    }

    /// Asks for an answer that cannot be mistaken: what comes ahead of it was owed.
    pub(super) fn mark(&mut self) {
        self.lease.key.set_own(true);
        self.line.to_upstream.append(&frontend::query(b""));
        self.lease.statements.unnamed_destroyed();
        self.talk.ledger.mark();
        self.talk.errand = InternalQuery::Marker;
    }

    /// Sends a text of the proxy's own; the client's messages wait until it is done.
    pub(super) fn send(&mut self, text: &[u8], errand: InternalQuery) {
        self.lease.key.set_own(true);
        self.line.to_upstream.append(&frontend::query(text));
        self.talk.own_query(&mut self.lease.statements);
        self.talk.errand = errand;
    }

    /// Gives the connection back for the time of a wait: nothing ran on it that would
    /// be missed, or it is kept.
    pub(super) fn let_go(&mut self) {
        let _ = self.release(LeftBehind::Nothing);
    }

    /// Gives the connection back as the client leaves it.
    fn release(&mut self, left: LeftBehind) -> LeaseExit {
        let guest = &mut *self.talk.guest;
        let ignores = self.talk.rules.on_session_state == OnSessionState::Ignore;
        let residue = guest.trace.residue_beside_settings();
        let connection = &mut *self.lease;
        note_left(connection, guest, left);
        guest.trace.reset();
        guest.pin = None;
        if residue == Cleanup::Close && !ignores {
            LeaseExit::Discarded
        } else {
            LeaseExit::Released
        }
    }
}

/// Notes on a connection what `guest`, which is about to give it back, leaves there.
pub(super) fn note_left(connection: &mut Connection, guest: &PooledClient, left: LeftBehind) {
    let residue = match guest.trace.residue_beside_settings() {
        Cleanup::Nothing => LeftBehind::Nothing,
        Cleanup::Scrub => LeftBehind::Light,
        Cleanup::Discard | Cleanup::Close => LeftBehind::Full,
    };
    connection.left = connection.left.max(left).max(residue);
    if connection.statements.must_be_cleared() {
        connection.left = LeftBehind::Full;
    }
    let settings = guest.trace.settings();
    connection.settings = Some(settings.clone());
    let placeholders = settings.placeholders().map(Into::into);
    connection.placeholders.extend(placeholders);
}
