//! Carrying over a lease: both directions in one task, until the connection can go
//! back, or cannot go on.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep, timeout};

use super::super::close::CLIENT_PATIENCE;
use super::super::flow::{Flow, FlowError, Turn};
use super::super::handle::{Activity, Handle, Order};
use super::super::relay::Departure;
use super::guest::Guest;
use super::talk::{ClientSide, Errand, Health, Held, Need, Talk};
use crate::buffers::BUFFER;
use crate::config::values::PoolMode;
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::pool::{Connection, Holder, Lease, Left, Pools, Vacancy};
use crate::state::check::{self, Verdict};
use crate::state::proof;
use crate::state::trace::{Hold, Reason, Residue};
use crate::tls::MaybeTls;
use crate::wire::frontend;
use crate::wire::ledger::TransactionStatus;

/// Why carrying stopped.
#[derive(Debug)]
pub(super) enum Leave {
    /// The client needs no connection now; others may have its.
    Released,
    /// The client needs no connection now, and its is for nobody else.
    Discarded,
    /// A frame waits for something.
    Needs(Need),
    /// The client has left, and what it asked for goes on and on.
    Stuck,
    /// The client has left, and its connection is at rest.
    ClientLeft,
    /// The session is over.
    Over(Departure),
}

/// The client's socket and what is on its way from and to it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: MaybeTls,
    pub(super) to_upstream: Flow,
    pub(super) to_client: Flow,
}

/// How often, and for how long, a new client that may have used sequences keeps its
/// connection though others wait; while nobody is known to ask for their values.
const DRAWS: u8 = 5;
const GRACE: Duration = Duration::from_millis(100);

/// How long a statement whose client is gone may go on before it is cancelled
/// (again), the first time and at most.
const STATEMENT_PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));

/// A text is waited for until it is whole up to this many bytes; a longer one
/// cannot be read.
const MAX_TEXT: usize = 1 << 20;

impl Line {
    /// Of a client that is logged in; `ahead` is what was read beyond that.
    pub(super) fn new(client: MaybeTls, ahead: &[u8]) -> Self {
        let whole = |tag| match tag {
            frontend::QUERY | frontend::PARSE => MAX_TEXT,
            _ => BUFFER,
        };
        Self {
            client,
            to_upstream: Flow::new(whole).with_ahead(ahead),
            to_client: Flow::default(),
        }
    }

    /// The client's socket back, with everything written that it takes, and the
    /// fault that can still be told: in the middle of a message nothing can.
    pub(super) async fn part(mut self, told: Option<Fault>) -> (MaybeTls, Option<Fault>) {
        let drained = poll_fn(|cx| match self.to_client.poll_drain(cx, &mut self.client) {
            Ok(Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        });
        // Whoever does not take it has left.
        let _ = timeout(CLIENT_PATIENCE, drained).await;
        let told = told.filter(|_| self.to_client.is_clear());
        (self.client, told)
    }
}

/// A client with a connection.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    line: &'a mut Line,
    pub(super) lease: Lease,
    pub(super) talk: Talk<'a>,
    handle: &'a Handle,
    metrics: &'a Metrics,
    holder: Arc<Holder>,
    pools: &'a Pools,
    /// As of the last time the connection was at rest; `None` while it is not.
    hold: Option<Hold>,
    activity: Activity,
    vacancy: Option<Vacancy>,
    grace: Option<Pin<Box<Sleep>>>,
    /// Until a statement without a client is cancelled, and how long that was.
    outlasting: Option<(Duration, Pin<Box<Sleep>>)>,
    unwritable: bool,
    /// A client that has left is not asked about again.
    asked_last: bool,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        line: &'a mut Line,
        lease: Lease,
        talk: Talk<'a>,
        (handle, metrics, pools): (&'a Handle, &'a Metrics, &'a Pools),
    ) -> Self {
        handle.set_activity(Activity::Active);
        Self {
            line,
            lease,
            talk,
            handle,
            metrics,
            holder: Arc::new(Holder::default()),
            pools,
            hold: None,
            activity: Activity::Active,
            vacancy: None,
            grace: None,
            outlasting: None,
            unwritable: false,
            asked_last: false,
        }
    }

    pub(super) async fn run(&mut self) -> Leave {
        let leave = poll_fn(|cx| self.poll(cx)).await;
        self.count();
        leave
    }

    /// The client is about to use the connection: it cannot be asked for it.
    pub(super) fn busy(&mut self) {
        if self.hold.take().is_some() {
            self.lease.resume();
        }
    }

    /// The frame that waited may go on; the database stays free until it is done.
    pub(super) fn satisfied(&mut self, vacancy: Vacancy) {
        self.vacancy = Some(vacancy);
        self.talk.satisfied = true;
        self.line.to_upstream.resume();
    }

    /// Nobody can say anything over the connection any more.
    pub(super) const fn is_torn(&self) -> bool {
        self.line.to_upstream.is_torn()
    }

    /// The lease back, to be given to others or closed.
    pub(super) fn into_lease(self) -> Lease {
        self.lease
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Leave> {
        loop {
            if let Poll::Ready(departure) = self.poll_to_upstream(cx) {
                return Poll::Ready(Leave::Over(departure));
            }
            let waited = self.talk.waits;
            if let Poll::Ready(departure) = self.poll_to_client(cx) {
                return Poll::Ready(Leave::Over(departure));
            }
            self.count();
            if waited && !self.talk.waits {
                self.line.to_upstream.resume();
                continue;
            }
            if let Some(need) = self.talk.need.take() {
                return Poll::Ready(Leave::Needs(need));
            }
            let order = self.handle.poll_order(cx);
            match order {
                Some(Order::End) => return Poll::Ready(Leave::Over(Departure::Ordered)),
                Some(Order::TimedOut(limit)) => {
                    return Poll::Ready(Leave::Over(Departure::TimedOut(limit)));
                }
                Some(Order::Drain) | None => {}
            }
            let next = if self.is_at_rest() {
                self.rest(cx, order)
            } else {
                self.unrest(cx)
            };
            match next {
                Next::Wait => return Poll::Pending,
                Next::Again => {}
                Next::Leave(leave) => return Poll::Ready(leave),
            }
        }
    }

    /// Nothing is asked, nothing half-said, in no transaction.
    fn is_at_rest(&self) -> bool {
        self.talk.ledger.is_quiescent()
            && self.line.to_upstream.is_clear()
            && self.line.to_client.is_between_frames()
    }

    fn unrest(&mut self, cx: &mut Context<'_>) -> Next {
        self.busy();
        let talk = &mut self.talk;
        if talk.client == ClientSide::Gone {
            // Nobody can end what it began, and it is not to be done.
            if self.line.to_upstream.is_torn() || talk.ledger.awaits_client() {
                return Next::Leave(Leave::Over(Departure::ClientLeft));
            }
            if !talk.ledger.owes_nothing() {
                return self.outlast(cx);
            }
        }
        let may_end = talk.client == ClientSide::Gone
            && talk.ledger.owes_nothing()
            && talk.ledger.status() != TransactionStatus::Idle
            && self.line.to_upstream.is_clear()
            && matches!(talk.errand, Errand::None);
        if !may_end {
            return Next::Wait;
        }
        self.send(b"ROLLBACK", Errand::Rollback);
        Next::Again
    }

    /// The client is gone in the middle of something.
    fn outlast(&mut self, cx: &mut Context<'_>) -> Next {
        let (first, longest) = STATEMENT_PATIENCE;
        let (patience, timer) = self
            .outlasting
            .get_or_insert_with(|| (first, Box::pin(sleep(first))));
        if timer.as_mut().poll(cx).is_pending() {
            return Next::Wait;
        }
        *patience = (*patience * 2).min(longest);
        timer.set(sleep(*patience));
        Next::Leave(Leave::Stuck)
    }

    /// What to do with a connection that is at rest.
    fn rest(&mut self, cx: &mut Context<'_>, order: Option<Order>) -> Next {
        if let Some(next) = self.finish_errand() {
            return next;
        }
        if self.talk.client == ClientSide::Gone {
            return self.leave();
        }
        if order.is_some() && self.line.to_client.is_empty() {
            return Next::Leave(Leave::Over(Departure::Ordered));
        }
        if self.talk.stirred || self.hold.is_none() {
            self.talk.stirred = false;
            return self.settle();
        }
        match self.hold {
            Some(Hold::Soft | Hold::Check(_)) if !self.holder.poll_wanted(cx) => self.learn(),
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

    /// The client is gone, and the connection at rest.
    fn leave(&mut self) -> Next {
        let trace = &self.talk.guest.trace;
        let suspected = matches!(trace.hold(), Hold::Check(_)) && trace.custom().next().is_some();
        // A custom setting cannot be removed from a connection: only who has the
        // same ones may have it next.
        if suspected && !std::mem::replace(&mut self.asked_last, true) {
            self.ask();
            return Next::Again;
        }
        Next::Leave(Leave::ClientLeft)
    }

    /// A transaction has ended: does the connection go back?
    fn settle(&mut self) -> Next {
        self.vacancy = None;
        self.grace = None;
        let talk = &mut self.talk;
        if std::mem::take(&mut talk.changes.definitions) {
            talk.guest.knowledge.changed();
        }
        if std::mem::take(&mut talk.changes.logins) {
            self.pools.bump_generation();
        }
        talk.guest.share_habits();
        let hold = talk.guest.trace.hold();
        // The server is to end this client when it idles, not a connection that
        // it has used.
        let settings = talk.guest.trace.settings();
        let stays = talk.rules.mode == PoolMode::Session
            || settings.changes(b"idle_session_timeout")
            || talk.guest.statements.must_stay();
        if hold == Hold::Free && !stays {
            return Next::Leave(self.release(Left::Nothing));
        }
        let asked = !stays && matches!(hold, Hold::Soft | Hold::Check(_));
        if self.hold.is_none() && asked {
            self.lease.hold(&self.holder);
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

    /// Asks the server what the client has left.
    fn ask(&mut self) {
        let trace = &self.talk.guest.trace;
        let sequences = trace.asks_for_sequences();
        let mut text = Vec::new();
        check::query(trace.custom(), sequences, &mut text);
        self.send(&text, Errand::Check(check::Reader::new(sequences)));
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
        match errand {
            Errand::None | Errand::Rollback => return None,
            Errand::Census(question, reader) => {
                guest.knowledge.answered(question, reader.finish());
            }
            Errand::Check(reader) => {
                let verdict = guest.trace.checked(&reader.finish());
                if self.talk.client == ClientSide::Gone {
                    return None;
                }
                let hold = guest.trace.hold();
                if matches!(hold, Hold::Free | Hold::Soft) {
                    return Some(Next::Leave(self.release(Left::Light)));
                }
                self.hold = Some(hold);
                self.lease.refuse(&self.holder);
                if let Verdict::Pinned(reason) = verdict {
                    self.metrics.pinned(reason.label());
                    tracing::info!(
                        session = guest.id,
                        reason = reason.label(),
                        "client keeps its connection"
                    );
                }
            }
        }
        self.line.to_upstream.resume();
        Some(Next::Again)
    }

    /// Sends a text of the proxy's own; the client's messages wait until it is done.
    fn send(&mut self, text: &[u8], errand: Errand) {
        self.line.to_upstream.append(&frontend::query(text));
        self.talk.own_query(&mut self.lease.statements);
        self.talk.errand = errand;
    }

    /// Gives the connection back as the client leaves it.
    fn release(&mut self, left: Left) -> Leave {
        let guest = &mut *self.talk.guest;
        let residue = guest.trace.residue_beside_settings();
        let connection = &mut *self.lease;
        note_left(connection, guest, left);
        guest.trace.reset();
        if residue == Residue::Close {
            Leave::Discarded
        } else {
            Leave::Released
        }
    }

    fn poll_to_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Departure> {
        let Connection {
            stream,
            statements,
            reported,
            ..
        } = &mut *self.lease;
        let line = &mut *self.line;
        if self.unwritable {
            return Poll::Pending;
        }
        if self.talk.client == ClientSide::Gone {
            self.unwritable = line.to_upstream.poll_drain(cx, stream).is_err();
            return Poll::Pending;
        }
        let talk = &mut self.talk;
        let mut held = Held {
            statements,
            reported,
        };
        let turn = line
            .to_upstream
            .turn(cx, &mut line.client, stream, |frame, before| {
                talk.on_frontend(&mut held, frame, before)
            });
        match turn {
            Ok(Turn::Empty | Turn::Full | Turn::Stopped) => Poll::Pending,
            Ok(Turn::Ended) => {
                talk.client = ClientSide::Gone;
                Poll::Pending
            }
            // The server's last words, if any, are still to be read and passed on.
            Err(FlowError::Destination(_)) => {
                self.unwritable = true;
                Poll::Pending
            }
            Err(FlowError::Source(_)) => {
                talk.client = ClientSide::Gone;
                line.to_upstream.end_source();
                line.to_client.lose_outlet();
                Poll::Pending
            }
            Err(FlowError::BadLength(error)) => Poll::Ready(Departure::BadClient(error)),
        }
    }

    fn poll_to_client(&mut self, cx: &mut Context<'_>) -> Poll<Departure> {
        let Connection {
            stream,
            statements,
            reported,
            ..
        } = &mut *self.lease;
        let line = &mut *self.line;
        let talk = &mut self.talk;
        let mut held = Held {
            statements,
            reported,
        };
        let turn = line
            .to_client
            .turn(cx, stream, &mut line.client, |frame, before| {
                talk.on_backend(&mut held, frame, before)
            });
        if talk.health == Health::Broken {
            return Poll::Ready(lost(talk, None));
        }
        Poll::Ready(match turn {
            Ok(Turn::Empty | Turn::Full | Turn::Stopped) => return Poll::Pending,
            Ok(Turn::Ended) => lost(talk, None),
            Err(FlowError::Source(error)) => {
                line.to_client.end_source();
                lost(talk, Some(error))
            }
            // It has left, and what it had asked for goes on without it.
            Err(FlowError::Destination(_)) => {
                talk.client = ClientSide::Gone;
                line.to_upstream.end_source();
                line.to_client.lose_outlet();
                return self.poll_to_client(cx);
            }
            Err(FlowError::BadLength(error)) => Departure::BadUpstream(error),
        })
    }

    /// Reports what was carried since the last time.
    fn count(&mut self) {
        let up = self.line.to_upstream.take_carried();
        let down = self.line.to_client.take_carried();
        if up > 0 {
            self.metrics.bytes_to_upstream.increment(up);
        }
        if down > 0 {
            self.metrics.bytes_to_client.increment(down);
        }
        let activity = Activity::of(&self.talk.ledger);
        if activity != self.activity {
            self.activity = activity;
            self.handle.set_activity(activity);
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
    connection.settings = settings.identity();
    let placeholders = settings.placeholders().map(Into::into);
    connection.placeholders.extend(placeholders);
}

fn lost(talk: &Talk<'_>, error: Option<io::Error>) -> Departure {
    match (talk.health, talk.client) {
        (Health::Farewell, _) => Departure::UpstreamEnded,
        (_, ClientSide::Gone) => Departure::ClientLeft,
        _ => Departure::UpstreamLost {
            commit_in_flight: talk.commit.in_flight(),
            error,
        },
    }
}

/// What follows from a look at the connection.
#[derive(Debug)]
enum Next {
    Wait,
    Again,
    Leave(Leave),
}
