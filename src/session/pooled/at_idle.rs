//! A connection at rest: whether its client keeps it, what is asked of the server
//! to know that, and how it is given back.

use std::future::Future as _;
use std::task::Context;
use std::time::Duration;

use tokio::time::sleep;

use super::super::handle::{StopOrder, log_session};
use super::super::session_end::RelayExit;
use super::client::PooledClient;
use super::inspector::{ClientSide, Health, InternalQuery, ResetOutcome};
use super::relay::{IdleDecision, LeaseExit, PooledRelay};
use crate::config::values::{OnSessionState, PoolMode, Scrub};
use crate::database::catalog;
use crate::pool::{Connection, LeftBehind};
use crate::state::probe::{self, ProbeVerdict};
use crate::state::reset;
use crate::state::tracker::{Cleanup, HiddenCode, Hold, HoldReason, SessionTracker};
use crate::wire::frontend;

/// How often, and for how long, a new client that may have used sequences keeps its
/// connection though others wait; while nobody is known to ask for their values.
const DRAWS: u8 = 5;
const GRACE: Duration = Duration::from_millis(100);

/// Transactions in a row on one connection after which a client keeps it in between,
/// and transactions after which it gives it back all the same.
const STREAK: u8 = 8;
const LINGERING: u16 = 1000;

impl PooledRelay<'_> {
    /// What to do with a connection that is at rest.
    pub(super) fn at_idle(
        &mut self,
        cx: &mut Context<'_>,
        order: Option<StopOrder>,
    ) -> IdleDecision {
        if let Some(next) = self.finish_internal_query() {
            return next;
        }
        if self.inspector.client_side == ClientSide::Gone {
            return self.depart();
        }
        if order.is_some() && self.link.to_client.is_empty() {
            return IdleDecision::Leave(LeaseExit::Over(RelayExit::Ordered));
        }
        if self.inspector.has_run || self.hold.is_none() {
            self.inspector.has_run = false;
            return self.settle();
        }
        match self.hold {
            Some(Hold::Free | Hold::Soft | Hold::Check(_)) if !self.idle_hold.poll_wanted(cx) => {
                self.learn()
            }
            Some(Hold::Free) => {
                self.inspector.client.streak = 0;
                IdleDecision::Leave(self.release(LeftBehind::Nothing))
            }
            Some(Hold::Soft) => match self.grace_is_over(cx) {
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
        self.eviction = None;
        self.grace = None;
        let inspector = &mut self.inspector;
        if std::mem::take(&mut inspector.changes.definitions) {
            inspector.client.catalog.changed();
        }
        if std::mem::take(&mut inspector.changes.hidden) {
            inspector.client.catalog.hide();
        }
        if std::mem::take(&mut inspector.changes.kept) {
            inspector.client.catalog.keep();
        }
        if std::mem::take(&mut inspector.changes.logins) {
            self.pools.bump_generation();
        }
        if std::mem::take(&mut inspector.changes.sessions) {
            self.pools.expect_terminations();
        }
        inspector.client.share_habits();
        let hold = inspector.client.tracker.hold();
        let stays = inspector.rules.mode == PoolMode::Session || inspector.client.must_stay();
        let ignores = inspector.rules.on_session_state == OnSessionState::Ignore;
        let lingers = hold == Hold::Free && !stays && self.may_linger();
        if (hold == Hold::Free || ignores) && !stays && !lingers {
            return IdleDecision::Leave(self.release(LeftBehind::Nothing));
        }
        self.idle_hold.set_sticky(lingers);
        self.inspector.sticky = lingers && self.lease.can_be_replaced();
        let asked = !stays && matches!(hold, Hold::Free | Hold::Soft | Hold::Check(_));
        if self.hold.is_none() && asked {
            self.lease.hold(self.idle_hold);
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
        let client = &mut *self.inspector.client;
        if client.streak < STREAK {
            client.streak += 1;
            return false;
        }
        self.sticky_count += 1;
        self.sticky_count < LINGERING && self.lease.is_uncontested()
    }

    /// Whether a client that may ask what its sequences gave has had time to do so:
    /// most that do ask at once, and then it is known of all.
    fn grace_is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let client = &mut *self.inspector.client;
        if client.draws >= DRAWS || client.catalog.sequences_are_unasked_for() {
            return true;
        }
        let grace = self.grace.get_or_insert_with(|| Box::pin(sleep(GRACE)));
        let over = grace.as_mut().poll(cx).is_ready();
        if over {
            client.draws += 1;
            client.catalog.sequence_left();
        }
        over
    }

    /// Asks the server what the client has left. Where code ran that nobody has
    /// looked at, the catalog has to say first what to ask for.
    fn ask(&mut self) {
        let client = &mut *self.inspector.client;
        let catalog = &client.catalog;
        let code = client.tracker.code();
        let informed = std::mem::take(&mut self.catalog_asked);
        if code == HiddenCode::Unjudged && !informed && catalog.known().is_none() {
            let question = catalog.question();
            self.catalog_asked = true;
            self.send(
                catalog::catalog_query(),
                InternalQuery::CatalogQuery(question, catalog::CatalogReader::default()),
            );
            return;
        }
        let hides = match code {
            HiddenCode::None => false,
            HiddenCode::Known => catalog.custom_settings.are_too_many(),
            HiddenCode::Unjudged => catalog.hides(),
        };
        if hides {
            client.tracker.hide();
            self.keep(HoldReason::Setting);
            return;
        }
        if let Some(unjudged) = client.tracker.unjudged()
            && catalog.leaves_state(unjudged)
        {
            client.tracker.keep();
            self.keep(HoldReason::Library);
            return;
        }
        let sequences = client.tracker.asks_for_sequences();
        let mut text = Vec::new();
        let custom = catalog.custom_settings.with(client.tracker.custom());
        let custom = custom.iter().map(|name| &**name);
        probe::query(custom, sequences, &mut text);
        self.metrics.checks.increment(1);
        self.send(
            &text,
            InternalQuery::Probe(probe::ProbeReader::new(sequences)),
        );
    }

    /// The client has left. What custom settings it leaves has to be known: nothing
    /// removes them, so that the connection is not for everybody any more.
    fn depart(&mut self) -> IdleDecision {
        let client = &*self.inspector.client;
        let nameless =
            client.catalog.custom_settings.is_empty() && client.tracker.custom().next().is_none();
        let asks = match client.tracker.code() {
            HiddenCode::None => false,
            HiddenCode::Known => !nameless,
            HiddenCode::Unjudged => true,
        };
        if !asks || self.unwritable || client.tracker.cleanup() == Cleanup::Close {
            return self.reset();
        }
        self.ask();
        IdleDecision::Again
    }

    /// A client that has left leaves nothing that others could notice, be its
    /// connection idle afterwards: locks, temporary tables.
    fn reset(&mut self) -> IdleDecision {
        let client = &self.inspector.client;
        let held = matches!(client.tracker.hold(), Hold::Check(_) | Hold::Hard(_));
        let held = held || self.lease.statements.must_be_cleared();
        // One that nothing can replace may have to stay, with what is not undone of it.
        let stays = client.tracker.cleanup() != Cleanup::Close || !self.lease.can_be_replaced();
        let undoable = stays
            && self.inspector.health == Health::Good
            && self.inspector.rules.scrub != Scrub::Never
            && !self.unwritable;
        if !(held && undoable) {
            return IdleDecision::Leave(LeaseExit::ClientLeft);
        }
        for text in reset::FULL.into_iter().chain([reset::TEMPORARY]) {
            self.send(text.as_bytes(), InternalQuery::Reset(ResetOutcome::Yes));
        }
        IdleDecision::Again
    }

    fn reset_done(&mut self, outcome: ResetOutcome) {
        let client = &mut *self.inspector.client;
        match outcome {
            ResetOutcome::Yes if client.tracker.cleanup() == Cleanup::Close => return,
            ResetOutcome::Yes => {}
            ResetOutcome::AllBut => return client.tracker.cannot_be_undone(),
            ResetOutcome::No => {
                self.inspector.health = self.inspector.health.max(Health::Doubtful);
                return;
            }
        }
        let connection = &mut *self.lease;
        note_left(connection, client, LeftBehind::Nothing);
        connection.left = LeftBehind::Nothing;
        connection.statements.clear();
        client.tracker = SessionTracker::default();
    }

    /// The connection is found to be for nobody else.
    fn keep(&mut self, reason: HoldReason) {
        self.hold = Some(self.inspector.client.tracker.hold());
        if self.inspector.client_side == ClientSide::Gone {
            return;
        }
        self.lease.refuse(self.idle_hold);
        self.tell_of_pin(reason);
    }

    /// Once a connection and reason.
    fn tell_of_pin(&mut self, reason: HoldReason) {
        if self.logged_reason == Some(reason) {
            return;
        }
        self.logged_reason = Some(reason);
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
        let Some(question) = self.inspector.client.catalog.claim_question() else {
            return IdleDecision::Wait;
        };
        let reader = catalog::CatalogReader::default();
        self.send(
            catalog::catalog_query(),
            InternalQuery::CatalogQuery(question, reader),
        );
        IdleDecision::Again
    }

    /// `None` if there was none.
    fn finish_internal_query(&mut self) -> Option<IdleDecision> {
        let internal_query =
            std::mem::replace(&mut self.inspector.internal_query, InternalQuery::None);
        let client = &mut *self.inspector.client;
        if !matches!(internal_query, InternalQuery::None) {
            self.lease.key.set_own(false);
        }
        match internal_query {
            InternalQuery::None | InternalQuery::Rollback => return None,
            InternalQuery::Marker => {}
            InternalQuery::Reset(outcome) => {
                self.reset_done(outcome);
                return Some(IdleDecision::Leave(LeaseExit::ClientLeft));
            }
            InternalQuery::CatalogQuery(question, reader) => question.answered(reader.finish()),
            InternalQuery::Probe(reader) => {
                let verdict = client.tracker.checked(&reader.finish());
                if self.inspector.client_side == ClientSide::Gone {
                    return Some(self.reset());
                }
                let hold = client.tracker.hold();
                if matches!(hold, Hold::Free | Hold::Soft) {
                    return Some(IdleDecision::Leave(self.release(LeftBehind::Light)));
                }
                match verdict {
                    ProbeVerdict::Pinned(reason) => self.keep(reason),
                    _ => {
                        self.hold = Some(hold);
                        self.lease.refuse(self.idle_hold);
                    }
                }
            }
        }
        self.link.to_upstream.resume();
        Some(IdleDecision::Again)
    }

    /// Asks for an answer that cannot be mistaken: what comes ahead of it was owed.
    pub(super) fn mark(&mut self) {
        self.lease.key.set_own(true);
        self.link.to_upstream.append(&frontend::query(b""));
        self.lease.statements.unnamed_destroyed();
        self.inspector.ledger.mark();
        self.inspector.internal_query = InternalQuery::Marker;
    }

    /// Sends a text of the proxy's own; the client's messages wait until it is done.
    pub(super) fn send(&mut self, text: &[u8], internal_query: InternalQuery) {
        self.lease.key.set_own(true);
        self.link.to_upstream.append(&frontend::query(text));
        self.inspector.own_query(&mut self.lease.statements);
        self.inspector.internal_query = internal_query;
    }

    /// Gives the connection back for the time of a wait: nothing ran on it that would
    /// be missed, or it is kept.
    pub(super) fn let_go(&mut self) {
        let _ = self.release(LeftBehind::Nothing);
    }

    /// Gives the connection back as the client leaves it.
    fn release(&mut self, left: LeftBehind) -> LeaseExit {
        let client = &mut *self.inspector.client;
        let ignores = self.inspector.rules.on_session_state == OnSessionState::Ignore;
        let cleanup = client.tracker.cleanup_beside_settings();
        let connection = &mut *self.lease;
        note_left(connection, client, left);
        client.tracker.reset();
        client.pin = None;
        if cleanup == Cleanup::Close && !ignores {
            LeaseExit::Discarded
        } else {
            LeaseExit::Released
        }
    }
}

/// Notes on a connection what `client`, which is about to give it back, leaves there.
pub(super) fn note_left(connection: &mut Connection, client: &PooledClient, left: LeftBehind) {
    let cleanup = match client.tracker.cleanup_beside_settings() {
        Cleanup::Nothing => LeftBehind::Nothing,
        Cleanup::Scrub => LeftBehind::Light,
        Cleanup::Discard | Cleanup::Close => LeftBehind::Full,
    };
    connection.left = connection.left.max(left).max(cleanup);
    if connection.statements.must_be_cleared() {
        connection.left = LeftBehind::Full;
    }
    let settings = client.tracker.settings();
    connection.settings = Some(settings.clone());
    let placeholders = settings.placeholders().map(Into::into);
    connection.placeholders.extend(placeholders);
}
