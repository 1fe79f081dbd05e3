//! A connection at rest: whether its client keeps it, what is asked of the server
//! to know that, and how it is given back.

use std::future::Future as _;
use std::task::Context;
use std::time::Duration;

use tokio::time::sleep;

use super::super::handle::{Order, log_session};
use super::super::relay::Departure;
use super::guest::Guest;
use super::relay::{Leave, Relay};
use super::talk::{ClientSide, Errand, Health, Scrubbed};
use crate::config::values::{OnSessionState, PoolMode, Scrub};
use crate::pool::{Connection, Left};
use crate::state::check::{self, Verdict};
use crate::state::trace::{Code, Hold, Reason, Residue, Trace};
use crate::state::{proof, scrub};
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
pub(super) enum Next {
    Wait,
    Again,
    Leave(Leave),
}

impl Relay<'_> {
    /// What to do with a connection that is at rest.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>, order: Option<Order>) -> Next {
        if let Some(next) = self.finish_errand() {
            return next;
        }
        if self.talk.client == ClientSide::Gone {
            return self.depart();
        }
        if order.is_some() && self.line.to_client.is_empty() {
            return Next::Leave(Leave::Over(Departure::Ordered));
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
                Next::Leave(self.release(Left::Nothing))
            }
            Some(Hold::Soft) => match self.has_bethought(cx) {
                true => Next::Leave(self.release(Left::Light)),
                false => Next::Wait,
            },
            Some(Hold::Check(_)) => {
                self.ask();
                Next::Again
            }
            _ => self.learn(),
        }
    }

    /// A transaction has ended: does the connection go back?
    fn settle(&mut self) -> Next {
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
            return Next::Leave(self.release(Left::Nothing));
        }
        self.holder.lingers(lingers);
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
            Hold::Hard(Reason::Session)
        } else {
            hold
        });
        if asked && matches!(hold, Hold::Check(_)) && self.lease.is_old() {
            self.ask();
        }
        Next::Again
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
        if code == Code::Unjudged && !informed && knowledge.known().is_none() {
            let question = knowledge.question();
            self.informed = true;
            self.send(
                proof::census(),
                Errand::Census(question, proof::Reader::default()),
            );
            return;
        }
        let hides = match code {
            Code::None => false,
            Code::Known => knowledge.names.are_too_many(),
            Code::Unjudged => knowledge.hides(),
        };
        if hides {
            guest.trace.hide();
            self.keep(Reason::Setting);
            return;
        }
        if let Some(unjudged) = guest.trace.unjudged()
            && knowledge.keeps(unjudged)
        {
            guest.trace.keep();
            self.keep(Reason::Library);
            return;
        }
        let sequences = guest.trace.asks_for_sequences();
        let mut text = Vec::new();
        let custom = knowledge.names.with(guest.trace.custom());
        let custom = custom.iter().map(|name| &**name);
        check::query(custom, sequences, &mut text);
        self.metrics.checks.increment(1);
        self.send(&text, Errand::Check(check::Reader::new(sequences)));
    }

    /// The client has left. What custom settings it leaves has to be known: nothing
    /// removes them, so that the connection is not for everybody any more.
    fn depart(&mut self) -> Next {
        let guest = &*self.talk.guest;
        let nameless = guest.knowledge.names.is_empty() && guest.trace.custom().next().is_none();
        let asks = match guest.trace.code() {
            Code::None => false,
            Code::Known => !nameless,
            Code::Unjudged => true,
        };
        if !asks || self.unwritable || guest.trace.residue() == Residue::Close {
            return self.undo();
        }
        self.ask();
        Next::Again
    }

    /// A client that has left leaves nothing that others could notice, be its
    /// connection idle afterwards: locks, temporary tables.
    fn undo(&mut self) -> Next {
        let guest = &self.talk.guest;
        let held = matches!(guest.trace.hold(), Hold::Check(_) | Hold::Hard(_));
        let held = held || self.lease.statements.must_be_cleared();
        // One that nothing can replace may have to stay, with what is not undone of it.
        let stays = guest.trace.residue() != Residue::Close || !self.lease.can_be_replaced();
        let undoable = stays
            && self.talk.health == Health::Good
            && self.talk.rules.scrub != Scrub::Never
            && !self.unwritable;
        if !(held && undoable) {
            return Next::Leave(Leave::ClientLeft);
        }
        for text in scrub::FULL.into_iter().chain([scrub::TEMPORARY]) {
            self.send(text.as_bytes(), Errand::Scrub(Scrubbed::Yes));
        }
        Next::Again
    }

    fn undone(&mut self, scrubbed: Scrubbed) {
        let guest = &mut *self.talk.guest;
        match scrubbed {
            Scrubbed::Yes if guest.trace.residue() == Residue::Close => return,
            Scrubbed::Yes => {}
            Scrubbed::AllBut => return guest.trace.cannot_be_undone(),
            Scrubbed::No => {
                self.talk.health = self.talk.health.max(Health::Doubtful);
                return;
            }
        }
        let connection = &mut *self.lease;
        note_left(connection, guest, Left::Nothing);
        connection.left = Left::Nothing;
        connection.statements.clear();
        guest.trace = Trace::default();
    }

    /// The connection is found to be for nobody else.
    fn keep(&mut self, reason: Reason) {
        self.hold = Some(self.talk.guest.trace.hold());
        if self.talk.client == ClientSide::Gone {
            return;
        }
        self.lease.refuse(self.holder);
        self.tell_of_pin(reason);
    }

    /// Once a connection and reason.
    fn tell_of_pin(&mut self, reason: Reason) {
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
    fn learn(&mut self) -> Next {
        if self.hold != Some(Hold::Check(Reason::Function)) {
            return Next::Wait;
        }
        let Some(question) = self.talk.guest.knowledge.claim_question() else {
            return Next::Wait;
        };
        let reader = proof::Reader::default();
        self.send(proof::census(), Errand::Census(question, reader));
        Next::Again
    }

    /// `None` if there was none.
    fn finish_errand(&mut self) -> Option<Next> {
        let errand = std::mem::replace(&mut self.talk.errand, Errand::None);
        let guest = &mut *self.talk.guest;
        if !matches!(errand, Errand::None) {
            self.lease.key.set_own(false);
        }
        match errand {
            Errand::None | Errand::Rollback => return None,
            Errand::Marker => {}
            Errand::Scrub(scrubbed) => {
                self.undone(scrubbed);
                return Some(Next::Leave(Leave::ClientLeft));
            }
            Errand::Census(question, reader) => question.answered(reader.finish()),
            Errand::Check(reader) => {
                let verdict = guest.trace.checked(&reader.finish());
                if self.talk.client == ClientSide::Gone {
                    return Some(self.undo());
                }
                let hold = guest.trace.hold();
                if matches!(hold, Hold::Free | Hold::Soft) {
                    return Some(Next::Leave(self.release(Left::Light)));
                }
                match verdict {
                    Verdict::Pinned(reason) => self.keep(reason),
                    _ => {
                        self.hold = Some(hold);
                        self.lease.refuse(self.holder);
                    }
                }
            }
        }
        self.line.to_upstream.resume();
        Some(Next::Again)
    }

    /// Asks for an answer that cannot be mistaken: what comes ahead of it was owed.
    pub(super) fn mark(&mut self) {
        self.lease.key.set_own(true);
        self.line.to_upstream.append(&frontend::query(b""));
        self.lease.statements.unnamed_destroyed();
        self.talk.ledger.mark();
        self.talk.errand = Errand::Marker;
    }

    /// Sends a text of the proxy's own; the client's messages wait until it is done.
    pub(super) fn send(&mut self, text: &[u8], errand: Errand) {
        self.lease.key.set_own(true);
        self.line.to_upstream.append(&frontend::query(text));
        self.talk.own_query(&mut self.lease.statements);
        self.talk.errand = errand;
    }

    /// Gives the connection back for the time of a wait: nothing ran on it that would
    /// be missed, or it is kept.
    pub(super) fn let_go(&mut self) {
        let _ = self.release(Left::Nothing);
    }

    /// Gives the connection back as the client leaves it.
    fn release(&mut self, left: Left) -> Leave {
        let guest = &mut *self.talk.guest;
        let ignores = self.talk.rules.on_session_state == OnSessionState::Ignore;
        let residue = guest.trace.residue_beside_settings();
        let connection = &mut *self.lease;
        note_left(connection, guest, left);
        guest.trace.reset();
        guest.pin = None;
        if residue == Residue::Close && !ignores {
            Leave::Discarded
        } else {
            Leave::Released
        }
    }
}

/// Notes on a connection what `guest`, which is about to give it back, leaves there.
pub(super) fn note_left(connection: &mut Connection, guest: &Guest, left: Left) {
    let residue = match guest.trace.residue_beside_settings() {
        Residue::Nothing => Left::Nothing,
        Residue::Scrub => Left::Light,
        Residue::Discard | Residue::Close => Left::Full,
    };
    connection.left = connection.left.max(left).max(residue);
    if connection.statements.must_be_cleared() {
        connection.left = Left::Full;
    }
    let settings = guest.trace.settings();
    connection.settings = Some(settings.clone());
    let placeholders = settings.placeholders().map(Into::into);
    connection.placeholders.extend(placeholders);
}
