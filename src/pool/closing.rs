//! Closing a server connection, and giving its place back when the server has let
//! go of it.
//!
//! The place is held until the server has closed: a backend counts against its
//! limit until it has exited, and it exits before its socket closes. A server
//! that is gone for good shows by keepalive, so no other limit is set here.

use std::future::pending;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, split};
use tokio::time::sleep;

use super::ids::PoolNumber;
use super::permit::{Permit, Probation};
use crate::metrics::Counted;
use crate::pool::timing::CANCEL_INTERVAL;
use crate::tls::MaybeTls;
use crate::upstream::{Alive, Upstream};
use crate::wire::frontend::TERMINATE_MESSAGE;
use crate::wire::startup::CancelKey;

/// What the upstream connection is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamState {
    /// It has closed.
    Ended,
    /// Between two statements: Terminate can be said.
    AtRest,
    /// A statement runs for a client that is gone: it is cancelled.
    Busy,
    /// In the middle of a message or a login: all that can be done is to close.
    Torn,
}

/// A place under the cap, given back by being dropped.
#[derive(Debug)]
pub(crate) struct CapPlace {
    permit: Permit,
    _counted: Counted,
}

impl CapPlace {
    pub(crate) const fn new(permit: Permit, counted: Counted) -> Self {
        Self {
            permit,
            _counted: counted,
        }
    }
}

/// An upstream connection's place under the cap, and how to leave it.
#[derive(Debug)]
pub(crate) struct Closing {
    place: CapPlace,
    upstream: Arc<Upstream>,
    alive: Option<Alive>,
    pub(crate) key: Option<CancelKey>,
    pub(crate) state: UpstreamState,
}

impl Closing {
    pub(crate) const fn new(place: CapPlace, upstream: Arc<Upstream>) -> Self {
        Self {
            place,
            upstream,
            alive: None,
            key: None,
            state: UpstreamState::Torn,
        }
    }

    /// The connection is logged in.
    pub(crate) fn logged_in(&mut self) {
        self.alive = Some(Alive::new(&self.upstream));
    }

    /// A pool counts it from here on, until the server has closed.
    pub(super) fn joins(&mut self, pool: PoolNumber) {
        self.place.permit.joins(pool);
    }

    /// How long its client may take, of whom the server knows nothing yet.
    pub(crate) const fn probation(&self) -> Option<&Probation> {
        self.place.permit.probation()
    }

    /// The server is satisfied with the client.
    pub(crate) fn proven(&mut self) {
        self.place.permit.proven();
    }

    pub(crate) const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Lets go of the connection; returns when the server has.
    pub(crate) async fn close(mut self, stream: MaybeTls) {
        self.alive = None;
        if self.state == UpstreamState::Ended {
            return;
        }
        let (mut reader, mut writer) = split(stream);
        // A server that is busy may not read for long, and one that is gone never
        // will: that it has closed shows in reading, and in nothing else.
        let say_goodbye = async {
            if matches!(self.state, UpstreamState::AtRest | UpstreamState::Busy) {
                let _ = writer.write_all(&TERMINATE_MESSAGE).await;
            }
            let _ = writer.shutdown().await;
            pending::<()>().await;
        };
        tokio::select! {
            () = read_to_end(&mut reader) => {}
            () = say_goodbye => {}
            () = self.keep_cancelling() => {}
        }
    }

    /// Cancels again and again: behind the statement that runs there may be others.
    async fn keep_cancelling(&self) {
        let (mut patience, longest) = CANCEL_INTERVAL;
        if self.state == UpstreamState::Busy {
            self.cancel().await;
        }
        loop {
            sleep(patience).await;
            self.cancel().await;
            patience = (patience * 2).min(longest);
        }
    }

    async fn cancel(&self) {
        let Some(key) = &self.key else { return };
        if let Err(error) = self.upstream.cancel(key).await {
            let upstream = &self.upstream.config().name;
            tracing::debug!(upstream, %error, "a statement without a client could not be cancelled");
        }
    }
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut nothing = vec![0; 8192];
    while let Ok(1..) = stream.read(&mut nothing).await {}
}
