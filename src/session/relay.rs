//! Carrying: both directions at once, in one task, until one side is done.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::close::CLIENT_CLOSE_TIMEOUT;
use super::commit::CommitWatch;
use super::flow::{Flow, FlowError, FrameAction, Progress};
use super::handle::{Activity, Handle, StopOrder, log_session};
use super::session_end::RelayExit;
use crate::metrics::Metrics;
use crate::pool::UpstreamState;
use crate::tls::MaybeTls;
use crate::wire::frame::Frame;
use crate::wire::ledger::{Ledger, TransactionStatus};
use crate::wire::{backend, frontend};

/// A client and its upstream connection, both logged in.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    pub(super) client: MaybeTls,
    pub(super) upstream: MaybeTls,
    to_upstream: Flow,
    to_client: Flow,
    inspector: DirectInspector,
    handle: Arc<Handle>,
    metrics: &'a Metrics,
    activity: Activity,
    upstream_ended: bool,
}

/// What is known from the frames that passed.
#[derive(Debug)]
struct DirectInspector {
    ledger: Ledger,
    commit: CommitWatch,
    client: ClientSide,
    /// The upstream has announced the end of the session.
    upstream_terminated: bool,
    /// An answer fitted no question; said once.
    untracked_logged: bool,
    /// For the log.
    handle: Arc<Handle>,
}

/// What is still to be expected of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientSide {
    Speaking,
    /// Terminate was said, by it or for it.
    Terminated,
    /// Nothing more goes to the upstream.
    Done,
}

impl DirectInspector {
    fn on_frontend(&mut self, frame: Frame<'_>) {
        if frame.tag == frontend::COPY_DATA {
            return;
        }
        self.ledger.on_frontend(frame);
        self.commit.on_frontend(frame);
        if frame.tag == frontend::TERMINATE {
            self.client = ClientSide::Terminated;
        }
    }

    fn on_backend(&mut self, frame: Frame<'_>) {
        // Nine in ten frames are rows, and rows settle nothing.
        if matches!(frame.tag, backend::DATA_ROW | backend::COPY_DATA) {
            return;
        }
        self.settle(frame);
    }

    fn settle(&mut self, frame: Frame<'_>) {
        if let Err(unexpected) = self.ledger.on_backend(frame) {
            // The bytes go on as they are: a session of its own mixes nothing up.
            if !std::mem::replace(&mut self.untracked_logged, true) {
                log_session!(
                    warn,
                    &self.handle,
                    error = %unexpected,
                    "the upstream's answer fits no question"
                );
            }
            if backend::is_known(frame.tag) {
                self.ledger = Ledger::new(self.ledger.status());
            }
        }
        match frame.tag {
            backend::READY_FOR_QUERY if self.ledger.owes_nothing() => self.commit.settled(),
            backend::ERROR_RESPONSE => self.upstream_terminated |= backend::is_fatal(frame.body),
            _ => {}
        }
    }
}

impl<'a> Relay<'a> {
    /// Takes over from a login; `*_ahead` is what was read beyond it.
    pub(super) fn new(
        (client, client_ahead): (MaybeTls, BytesMut),
        (upstream, upstream_ahead): (MaybeTls, BytesMut),
        handle: Arc<Handle>,
        metrics: &'a Metrics,
    ) -> Self {
        let inspector = DirectInspector {
            ledger: Ledger::new(TransactionStatus::Idle),
            commit: CommitWatch::default(),
            client: ClientSide::Speaking,
            upstream_terminated: false,
            untracked_logged: false,
            handle: Arc::clone(&handle),
        };
        let to_upstream = Flow::default().with_ahead(&client_ahead);
        let to_client = Flow::default().with_ahead(&upstream_ahead);
        handle.set_activity(Activity::Idle);
        Self {
            client,
            upstream,
            to_upstream,
            to_client,
            inspector,
            handle,
            metrics,
            activity: Activity::Idle,
            upstream_ended: false,
        }
    }

    /// Carries until one side is done. What is still owed to the client, a FATAL
    /// of the proxy's own included, has been written when this returns.
    pub(super) async fn run(&mut self) -> RelayExit {
        let exit = poll_fn(|cx| self.poll(cx)).await;
        Box::pin(self.end(exit)).await
    }

    async fn end(&mut self, exit: RelayExit) -> RelayExit {
        self.count();
        // In the middle of a message nothing can be said.
        let told = exit.client_error().filter(|_| self.to_client.is_clear());
        let last_words = async {
            if let Some(fault) = told {
                self.client.write_all(&fault.fatal()).await?;
            }
            self.client.flush().await
        };
        // Whoever does not take it has left; the exit says enough.
        let _ = timeout(CLIENT_CLOSE_TIMEOUT, last_words).await;
        exit
    }

    /// What the upstream is in the middle of, now that carrying has ended.
    pub(super) fn upstream_state(&self, exit: &RelayExit) -> UpstreamState {
        match exit {
            RelayExit::UpstreamEnded | RelayExit::UpstreamLost { .. } => UpstreamState::Ended,
            RelayExit::ClientLeft if self.upstream_ended => UpstreamState::Ended,
            RelayExit::BadUpstream(_) => UpstreamState::Torn,
            _ if !self.to_upstream.is_clear() => UpstreamState::Torn,
            // A transaction that is open ends with the session.
            _ if self.inspector.ledger.owes_nothing() => UpstreamState::AtRest,
            _ => UpstreamState::Busy,
        }
    }

    /// Both legs back, to be closed.
    pub(super) fn into_streams(self) -> (MaybeTls, MaybeTls) {
        (self.client, self.upstream)
    }

    /// Whether the upstream is at rest: nothing asked, nothing half-sent.
    pub(super) fn is_at_rest(&self) -> bool {
        self.inspector.ledger.is_quiescent() && self.to_upstream.is_empty()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RelayExit> {
        if let Poll::Ready(exit) = self.poll_to_upstream(cx) {
            return Poll::Ready(exit);
        }
        if let Poll::Ready(exit) = self.poll_to_client(cx) {
            return Poll::Ready(exit);
        }
        self.count();
        match self.handle.poll_order(cx) {
            Some(StopOrder::Drain) if self.is_at_rest() && self.to_client.is_empty() => {
                Poll::Ready(RelayExit::Ordered)
            }
            Some(StopOrder::End) => Poll::Ready(RelayExit::Ordered),
            Some(StopOrder::TimedOut(limit)) => Poll::Ready(RelayExit::TimedOut(limit)),
            Some(StopOrder::Drain) | None => Poll::Pending,
        }
    }

    fn poll_to_upstream(&mut self, cx: &mut Context<'_>) -> Poll<RelayExit> {
        let inspector = &mut self.inspector;
        if inspector.client == ClientSide::Done {
            return Poll::Pending;
        }
        let turn = self
            .to_upstream
            .turn(cx, &mut self.client, &mut self.upstream, |frame, _| {
                inspector.on_frontend(frame);
                FrameAction::Pass
            });
        match turn {
            Ok(Progress::Empty | Progress::Full | Progress::Stopped) => Poll::Pending,
            Ok(Progress::Ended) => self.poll_half_close(cx),
            // The upstream's last words, if any, are still to be read and passed on.
            Err(FlowError::Destination(_)) => {
                inspector.client = ClientSide::Done;
                Poll::Pending
            }
            Err(FlowError::Source(_)) if inspector.client == ClientSide::Terminated => {
                self.to_upstream.end_source();
                self.poll_half_close(cx)
            }
            // A reset: unlike after an end of file, no answer can reach it.
            Err(FlowError::Source(error)) => Poll::Ready(RelayExit::ClientLost(error)),
            Err(FlowError::BadLength(error)) => Poll::Ready(RelayExit::BadClient(error)),
        }
    }

    /// The client closed: Terminate is said for it if it did not, and the
    /// upstream's half is closed as well. The server answers what was asked before,
    /// and `client_connection_check_interval` sees what it would see without us.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<RelayExit> {
        if self.inspector.client == ClientSide::Speaking {
            // In the middle of a message nothing can be said.
            if self.to_upstream.is_clear() {
                self.to_upstream.append(&frontend::TERMINATE_MESSAGE);
            }
            self.inspector.client = ClientSide::Terminated;
        }
        let drained = self.to_upstream.poll_drain(cx, &mut self.upstream);
        if matches!(drained, Ok(Poll::Pending))
            || Pin::new(&mut self.upstream).poll_shutdown(cx).is_pending()
        {
            return Poll::Pending;
        }
        // A write that failed shows in what is read, too.
        self.inspector.client = ClientSide::Done;
        Poll::Pending
    }

    fn poll_to_client(&mut self, cx: &mut Context<'_>) -> Poll<RelayExit> {
        let inspector = &mut self.inspector;
        let turn = self
            .to_client
            .turn(cx, &mut self.upstream, &mut self.client, |frame, _| {
                inspector.on_backend(frame);
                FrameAction::Pass
            });
        self.upstream_ended |= matches!(turn, Ok(Progress::Ended) | Err(FlowError::Source(_)));
        let lost = |error| RelayExit::UpstreamLost {
            commit_in_flight: inspector.commit.in_flight(),
            error,
        };
        Poll::Ready(match turn {
            Ok(Progress::Empty | Progress::Full | Progress::Stopped) => return Poll::Pending,
            Ok(Progress::Ended) if inspector.upstream_terminated => RelayExit::UpstreamEnded,
            Ok(Progress::Ended) if inspector.client != ClientSide::Speaking => {
                RelayExit::ClientLeft
            }
            Ok(Progress::Ended) => lost(None),
            Err(FlowError::Source(_)) if inspector.upstream_terminated => RelayExit::UpstreamEnded,
            Err(FlowError::Source(error)) => {
                self.to_client.end_source();
                lost(Some(error))
            }
            Err(FlowError::Destination(error)) => RelayExit::ClientLost(error),
            Err(FlowError::BadLength(error)) => RelayExit::BadUpstream(error),
        })
    }

    /// Reports what was carried since the last time.
    fn count(&mut self) {
        let (up, down) = (
            self.to_upstream.take_carried(),
            self.to_client.take_carried(),
        );
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
