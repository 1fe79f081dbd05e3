//! Carrying over a lease: both directions in one task, until the connection can go
//! back, or cannot go on.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep, timeout};

use super::super::close::CLIENT_CLOSE_TIMEOUT;
use super::super::flow::{Flow, FlowError, Progress};
use super::super::handle::{Activity, Handle, StopOrder};
use super::super::session_end::RelayExit;
use super::inspector::{
    Admission, ClientSide, Health, Inspector, InternalQuery, Precondition, ServerSide,
};
use crate::buffers::{self, BUFFER};
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::pool::{Connection, DatabaseEviction, IdleHold, Lease, Pools, UpstreamState};
use crate::state::tracker::{Hold, HoldReason};
use crate::tls::MaybeTls;
use crate::wire::frontend;
use crate::wire::ledger::Awaited;

/// Why carrying stopped.
#[derive(Debug)]
pub(super) enum LeaseExit {
    /// The client needs no connection now; others may have its.
    Released,
    /// The client needs no connection now, and its is for nobody else.
    Discarded,
    /// The client needs no connection now, and the server has ended its.
    Lost,
    /// A frame waits for something.
    Needs(Precondition),
    /// The client has left, and what it asked for goes on and on.
    OrphanedStatement,
    /// The client has left, and its connection is at rest.
    ClientLeft,
    /// The session is over.
    Over(RelayExit),
}

/// What follows from a look at the connection.
#[derive(Debug)]
pub(super) enum IdleDecision {
    Wait,
    Again,
    Leave(LeaseExit),
}

/// The client's socket and what is on its way from and to it.
#[derive(Debug)]
pub(super) struct ClientLink {
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

impl ClientLink {
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
        let _ = timeout(CLIENT_CLOSE_TIMEOUT, drained).await;
        let told = told.filter(|_| self.to_client.is_clear());
        (self.client, told)
    }
}

/// A client with a connection.
#[derive(Debug)]
pub(super) struct PooledRelay<'a> {
    pub(super) link: &'a mut ClientLink,
    pub(super) lease: Lease,
    pub(super) inspector: Inspector<'a>,
    pub(super) handle: &'a Handle,
    pub(super) metrics: &'a Metrics,
    pub(super) idle_hold: &'a Arc<IdleHold>,
    pub(super) pools: &'a Pools,
    /// As of the last time the connection was at rest; `None` while it is not.
    pub(super) hold: Option<Hold>,
    activity: Activity,
    pub(super) eviction: Option<DatabaseEviction>,
    /// The reason for keeping the connection that was logged last.
    pub(super) logged_reason: Option<HoldReason>,
    pub(super) grace: Option<Pin<Box<Sleep>>>,
    /// How often a statement without a client was cancelled, and the time until it is
    /// again.
    orphan_cancel: Option<(u32, Pin<Box<Sleep>>)>,
    pub(super) unwritable: bool,
    /// Transactions after which the client has kept the connection without need.
    pub(super) sticky_count: u16,
    /// The catalog was asked for the sake of the next check.
    pub(super) catalog_asked: bool,
}

impl<'a> PooledRelay<'a> {
    pub(super) fn new(
        link: &'a mut ClientLink,
        lease: Lease,
        inspector: Inspector<'a>,
        (handle, metrics, pools): (&'a Handle, &'a Metrics, &'a Pools),
        idle_hold: &'a Arc<IdleHold>,
    ) -> Self {
        handle.set_activity(Activity::Active);
        Self {
            link,
            lease,
            inspector,
            handle,
            metrics,
            idle_hold,
            pools,
            hold: None,
            activity: Activity::Active,
            eviction: None,
            logged_reason: None,
            grace: None,
            orphan_cancel: None,
            unwritable: false,
            sticky_count: 0,
            catalog_asked: false,
        }
    }

    pub(super) async fn run(&mut self) -> LeaseExit {
        let lease_exit = poll_fn(|cx| self.poll(cx)).await;
        self.count();
        lease_exit
    }

    /// The client is about to use the connection: it cannot be asked for it.
    pub(super) fn busy(&mut self) {
        if self.hold.take().is_some() {
            self.inspector.sticky = false;
            self.lease.resume(self.idle_hold);
        }
    }

    /// The frame that waited may go on; the database stays free until it is done.
    pub(super) fn satisfied(&mut self, eviction: Option<DatabaseEviction>) {
        self.eviction = eviction;
        self.inspector.admission = Admission::Satisfied;
        self.link.to_upstream.resume();
    }

    /// The frame that waited gets an error.
    pub(super) fn refused(&mut self, reason: HoldReason) {
        self.inspector.admission = Admission::Refused(reason);
        self.link.to_upstream.resume();
    }

    /// What the connection is in the middle of.
    pub(super) fn upstream_state(&self) -> UpstreamState {
        if self.link.to_upstream.is_torn() {
            UpstreamState::Torn
        } else if self.inspector.ledger.owes_nothing() {
            UpstreamState::AtRest
        } else {
            UpstreamState::Busy
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LeaseExit> {
        loop {
            // Before anything is asked of a server that may be gone.
            let heard = self.inspector.sticky;
            if heard && self.poll_loss(cx).is_ready() {
                self.let_go();
                return Poll::Ready(LeaseExit::Lost);
            }
            if let Poll::Ready(exit) = self.poll_to_upstream(cx) {
                return Poll::Ready(LeaseExit::Over(exit));
            }
            let waited = self.inspector.admission == Admission::Closed;
            if !heard && let Poll::Ready(exit) = self.poll_to_client(cx) {
                return Poll::Ready(LeaseExit::Over(exit));
            }
            self.count();
            if waited && self.inspector.admission != Admission::Closed {
                self.link.to_upstream.resume();
                continue;
            }
            if let Some(need) = self.inspector.precondition.take() {
                return Poll::Ready(LeaseExit::Needs(need));
            }
            let order = self.handle.poll_order(cx);
            match order {
                Some(StopOrder::End) => return Poll::Ready(LeaseExit::Over(RelayExit::Ordered)),
                Some(StopOrder::TimedOut(limit)) => {
                    return Poll::Ready(LeaseExit::Over(RelayExit::TimedOut(limit)));
                }
                Some(StopOrder::Drain) | None => {}
            }
            let next = if self.is_at_rest() {
                self.at_idle(cx, order)
            } else {
                self.mid_transaction(cx)
            };
            match next {
                IdleDecision::Wait => return Poll::Pending,
                IdleDecision::Again => {}
                IdleDecision::Leave(lease_exit) => return Poll::Ready(lease_exit),
            }
        }
    }

    /// Whether the server has ended, or is about to end, a connection that the client
    /// has without need: it goes on with another, as if that had been on the shelf.
    fn poll_loss(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lost = self.poll_to_client(cx).is_ready() || self.inspector.health != Health::Good;
        let unharmed = self.is_at_rest() && self.link.to_client.is_empty();
        match lost && unharmed {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Nothing is asked, nothing half-said, in no transaction.
    fn is_at_rest(&self) -> bool {
        self.inspector.is_quiescent() && self.is_between_messages()
    }

    fn is_between_messages(&self) -> bool {
        self.link.to_upstream.is_clear() && self.link.to_client.is_between_frames()
    }

    fn mid_transaction(&mut self, cx: &mut Context<'_>) -> IdleDecision {
        self.busy();
        // All that is said to be owed has come, and it is not certain that this is all.
        let idle = matches!(self.inspector.internal_query, InternalQuery::None)
            && self.inspector.ledger.is_quiescent();
        if idle && self.is_between_messages() {
            self.mark();
            return IdleDecision::Again;
        }
        if self.inspector.client_side != ClientSide::Gone {
            return IdleDecision::Wait;
        }
        // What it was in the middle of will never be complete.
        let over = IdleDecision::Leave(LeaseExit::Over(RelayExit::ClientLeft));
        if self.link.to_upstream.is_torn() {
            return over;
        }
        let inspector = &mut self.inspector;
        if !matches!(inspector.internal_query, InternalQuery::None)
            || !self.link.to_upstream.is_clear()
        {
            return self.outlast(cx);
        }
        match inspector.ledger.awaits() {
            Some(Awaited::Copy) => over,
            Some(Awaited::Sync) => {
                // What the batch did so far must not be committed by that Sync.
                self.link.to_upstream.append(&frontend::SPOILER);
                self.lease.statements.unnamed_destroyed();
                inspector.ledger.on_own(frontend::PARSE);
                self.link.to_upstream.append(&frontend::SYNC_MESSAGE);
                inspector.synced_for_gone();
                IdleDecision::Again
            }
            None if inspector.ledger.owes_nothing() => {
                self.send(b"ROLLBACK", InternalQuery::Rollback);
                IdleDecision::Again
            }
            None => self.outlast(cx),
        }
    }

    /// The client is gone in the middle of something: what runs is cancelled, a few
    /// times. The connection is not kept if that does not help. What the proxy asked
    /// itself has as long, and is not cancelled: without an answer it has to be closed.
    fn outlast(&mut self, cx: &mut Context<'_>) -> IdleDecision {
        let (cancels, timer) = self
            .orphan_cancel
            .get_or_insert_with(|| (0, Box::pin(sleep(STATEMENT_PATIENCE))));
        if timer.as_mut().poll(cx).is_pending() {
            return IdleDecision::Wait;
        }
        if *cancels == MOST_CANCELS {
            return IdleDecision::Leave(LeaseExit::Over(RelayExit::ClientLeft));
        }
        *cancels += 1;
        timer.set(sleep(STATEMENT_PATIENCE * 2_u32.pow(*cancels)));
        match self.inspector.internal_query {
            InternalQuery::None => IdleDecision::Leave(LeaseExit::OrphanedStatement),
            _ => IdleDecision::Again,
        }
    }

    fn poll_to_upstream(&mut self, cx: &mut Context<'_>) -> Poll<RelayExit> {
        let Connection {
            stream,
            statements,
            reported,
            ..
        } = &mut *self.lease;
        let link = &mut *self.link;
        if self.unwritable {
            return Poll::Pending;
        }
        if self.inspector.client_side == ClientSide::Gone {
            self.unwritable = link.to_upstream.poll_drain(cx, stream).is_err();
            return Poll::Pending;
        }
        let inspector = &mut self.inspector;
        let mut held = ServerSide {
            statements,
            reported,
        };
        let turn = link
            .to_upstream
            .turn(cx, &mut link.client, stream, |frame, before| {
                inspector.on_frontend(&mut held, frame, before)
            });
        match turn {
            Ok(Progress::Empty | Progress::Full | Progress::Stopped) => Poll::Pending,
            Ok(Progress::Ended) => {
                inspector.client_side = ClientSide::Gone;
                Poll::Pending
            }
            // The server's last words, if any, are still to be read and passed on.
            Err(FlowError::Destination(_)) => {
                self.unwritable = true;
                Poll::Pending
            }
            Err(FlowError::Source(_)) => {
                inspector.client_side = ClientSide::Gone;
                link.to_upstream.end_source();
                link.to_client.lose_outlet();
                Poll::Pending
            }
            Err(FlowError::BadLength(error)) => Poll::Ready(RelayExit::BadClient(error)),
        }
    }

    fn poll_to_client(&mut self, cx: &mut Context<'_>) -> Poll<RelayExit> {
        let Connection {
            stream,
            statements,
            reported,
            ..
        } = &mut *self.lease;
        let link = &mut *self.link;
        let inspector = &mut self.inspector;
        let mut held = ServerSide {
            statements,
            reported,
        };
        let turn = link
            .to_client
            .turn(cx, stream, &mut link.client, |frame, before| {
                inspector.on_backend(&mut held, frame, before)
            });
        if inspector.health == Health::Broken {
            return Poll::Ready(lost(inspector, None));
        }
        Poll::Ready(match turn {
            Ok(Progress::Empty | Progress::Full | Progress::Stopped) => return Poll::Pending,
            Ok(Progress::Ended) => lost(inspector, None),
            Err(FlowError::Source(error)) => {
                link.to_client.end_source();
                lost(inspector, Some(error))
            }
            // It has left, and what it had asked for goes on without it.
            Err(FlowError::Destination(_)) => {
                inspector.client_side = ClientSide::Gone;
                link.to_upstream.end_source();
                link.to_client.lose_outlet();
                return self.poll_to_client(cx);
            }
            Err(FlowError::BadLength(error)) => RelayExit::BadUpstream(error),
        })
    }

    /// Reports what was carried since the last time.
    fn count(&mut self) {
        let up = self.link.to_upstream.take_carried();
        let down = self.link.to_client.take_carried();
        if up > 0 {
            self.metrics.bytes_to_upstream.increment(up);
        }
        if down > 0 {
            self.metrics.bytes_to_client.increment(down);
        }
        let activity = Activity::of(&self.inspector.ledger);
        if activity != self.activity {
            self.activity = activity;
            self.handle.set_activity(activity);
        }
    }
}

fn lost(inspector: &Inspector<'_>, error: Option<io::Error>) -> RelayExit {
    match (inspector.health, inspector.client_side) {
        (Health::Terminated, _) => RelayExit::UpstreamEnded,
        (_, ClientSide::Gone) => RelayExit::ClientLeft,
        _ => RelayExit::UpstreamLost {
            commit_in_flight: inspector.commit.in_flight(),
            error,
        },
    }
}
