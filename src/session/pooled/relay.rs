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
use super::rest::Next;
use super::talk::{ClientSide, Errand, Gate, Health, Held, Need, Talk};
use crate::buffers::{self, BUFFER};
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::pool::{Connection, Holder, Lease, Pools, UpstreamState, Vacancy};
use crate::state::trace::{Hold, Reason};
use crate::tls::MaybeTls;
use crate::wire::frontend;
use crate::wire::ledger::Awaited;

/// Why carrying stopped.
#[derive(Debug)]
pub(super) enum Leave {
    /// The client needs no connection now; others may have its.
    Released,
    /// The client needs no connection now, and its is for nobody else.
    Discarded,
    /// The client needs no connection now, and the server has ended its.
    Lost,
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

/// How long a statement whose client is gone may go on before it is cancelled; then
/// twice as long each time.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is cancelled before its connection is closed.
const MOST_CANCELS: u32 = 2;

/// A text is waited for until it is whole up to this many bytes, if not too much is
/// waited for already; a longer one cannot be read.
const MAX_TEXT: usize = 4 << 20;

impl Line {
    /// Of a client that is logged in; `ahead` is what was read beyond that.
    pub(super) fn new(client: MaybeTls, ahead: &[u8]) -> Self {
        let whole = |tag| match tag {
            frontend::QUERY | frontend::PARSE if !buffers::are_scarce() => MAX_TEXT,
            tag if frontend::is_known(tag) => BUFFER,
            // The server refuses it before it has read it.
            _ => 0,
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
    pub(super) line: &'a mut Line,
    pub(super) lease: Lease,
    pub(super) talk: Talk<'a>,
    pub(super) handle: &'a Handle,
    pub(super) metrics: &'a Metrics,
    pub(super) holder: &'a Arc<Holder>,
    pub(super) pools: &'a Pools,
    /// As of the last time the connection was at rest; `None` while it is not.
    pub(super) hold: Option<Hold>,
    activity: Activity,
    pub(super) vacancy: Option<Vacancy>,
    /// The reason for keeping the connection that was logged last.
    pub(super) told: Option<Reason>,
    pub(super) grace: Option<Pin<Box<Sleep>>>,
    /// How often a statement without a client was cancelled, and the time until it is
    /// again.
    outlasting: Option<(u32, Pin<Box<Sleep>>)>,
    pub(super) unwritable: bool,
    /// Transactions after which the client has kept the connection without need.
    pub(super) lingered: u16,
    /// The catalog was asked for the sake of the next check.
    pub(super) informed: bool,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        line: &'a mut Line,
        lease: Lease,
        talk: Talk<'a>,
        (handle, metrics, pools): (&'a Handle, &'a Metrics, &'a Pools),
        holder: &'a Arc<Holder>,
    ) -> Self {
        handle.set_activity(Activity::Active);
        Self {
            line,
            lease,
            talk,
            handle,
            metrics,
            holder,
            pools,
            hold: None,
            activity: Activity::Active,
            vacancy: None,
            told: None,
            grace: None,
            outlasting: None,
            unwritable: false,
            lingered: 0,
            informed: false,
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
            self.talk.lingers = false;
            self.lease.resume(self.holder);
        }
    }

    /// The frame that waited may go on; the database stays free until it is done.
    pub(super) fn satisfied(&mut self, vacancy: Option<Vacancy>) {
        self.vacancy = vacancy;
        self.talk.gate = Gate::Satisfied;
        self.line.to_upstream.resume();
    }

    /// The frame that waited gets an error.
    pub(super) fn refused(&mut self, reason: Reason) {
        self.talk.gate = Gate::Refused(reason);
        self.line.to_upstream.resume();
    }

    /// What the connection is in the middle of.
    pub(super) fn upstream_state(&self) -> UpstreamState {
        if self.line.to_upstream.is_torn() {
            UpstreamState::Torn
        } else if self.talk.ledger.owes_nothing() {
            UpstreamState::AtRest
        } else {
            UpstreamState::Busy
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Leave> {
        loop {
            // Before anything is asked of a server that may be gone.
            let heard = self.talk.lingers;
            if heard && self.poll_loss(cx).is_ready() {
                self.let_go();
                return Poll::Ready(Leave::Lost);
            }
            if let Poll::Ready(departure) = self.poll_to_upstream(cx) {
                return Poll::Ready(Leave::Over(departure));
            }
            let waited = self.talk.gate == Gate::Closed;
            if !heard && let Poll::Ready(departure) = self.poll_to_client(cx) {
                return Poll::Ready(Leave::Over(departure));
            }
            self.count();
            if waited && self.talk.gate != Gate::Closed {
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

    /// Whether the server has ended, or is about to end, a connection that the client
    /// has without need: it goes on with another, as if that had been on the shelf.
    fn poll_loss(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lost = self.poll_to_client(cx).is_ready() || self.talk.health != Health::Good;
        let unharmed = self.is_at_rest() && self.line.to_client.is_empty();
        match lost && unharmed {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Nothing is asked, nothing half-said, in no transaction.
    fn is_at_rest(&self) -> bool {
        self.talk.is_quiescent() && self.is_between_messages()
    }

    fn is_between_messages(&self) -> bool {
        self.line.to_upstream.is_clear() && self.line.to_client.is_between_frames()
    }

    fn unrest(&mut self, cx: &mut Context<'_>) -> Next {
        self.busy();
        // All that is said to be owed has come, and it is not certain that this is all.
        let idle = matches!(self.talk.errand, Errand::None) && self.talk.ledger.is_quiescent();
        if idle && self.is_between_messages() {
            self.mark();
            return Next::Again;
        }
        if self.talk.client != ClientSide::Gone {
            return Next::Wait;
        }
        // What it was in the middle of will never be complete.
        let over = Next::Leave(Leave::Over(Departure::ClientLeft));
        if self.line.to_upstream.is_torn() {
            return over;
        }
        let talk = &mut self.talk;
        if !matches!(talk.errand, Errand::None) || !self.line.to_upstream.is_clear() {
            return self.outlast(cx);
        }
        match talk.ledger.awaits() {
            Some(Awaited::Copy) => over,
            Some(Awaited::Sync) => {
                // What the batch did so far must not be committed by that Sync.
                self.line.to_upstream.append(&frontend::SPOILER);
                self.lease.statements.unnamed_destroyed();
                talk.ledger.on_own(frontend::PARSE);
                self.line.to_upstream.append(&frontend::SYNC_MESSAGE);
                talk.synced_for_gone();
                Next::Again
            }
            None if talk.ledger.owes_nothing() => {
                self.send(b"ROLLBACK", Errand::Rollback);
                Next::Again
            }
            None => self.outlast(cx),
        }
    }

    /// The client is gone in the middle of something: what runs is cancelled, a few
    /// times. The connection is not kept if that does not help. What the proxy asked
    /// itself has as long, and is not cancelled: without an answer it has to be closed.
    fn outlast(&mut self, cx: &mut Context<'_>) -> Next {
        let (cancels, timer) = self
            .outlasting
            .get_or_insert_with(|| (0, Box::pin(sleep(STATEMENT_PATIENCE))));
        if timer.as_mut().poll(cx).is_pending() {
            return Next::Wait;
        }
        if *cancels == MOST_CANCELS {
            return Next::Leave(Leave::Over(Departure::ClientLeft));
        }
        *cancels += 1;
        timer.set(sleep(STATEMENT_PATIENCE * 2_u32.pow(*cancels)));
        match self.talk.errand {
            Errand::None => Next::Leave(Leave::Stuck),
            _ => Next::Again,
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
