//! A session with a connection of its own, logged in.

use std::sync::Arc;

use super::closing::SessionClose;
use super::new_session::Ahead;
use super::registry::Entry;
use super::relay::Relay;
use super::service::Service;
use super::session_end::{SessionEnd, UpstreamLeg};
use crate::pool::Closing;

/// A client with a connection of its own.
pub(super) struct Direct<'a> {
    relay: Relay<'a>,
    entry: Entry,
    closing: Closing,
    tls: &'static str,
}

impl<'a> Direct<'a> {
    pub(super) fn new(
        client: Ahead,
        upstream: Ahead,
        (mut closing, entry): (Closing, Entry),
        service: &'a Service,
    ) -> Self {
        closing.logged_in();
        let tls = upstream.0.tls_version();
        let handle = Arc::clone(entry.handle());
        Self {
            relay: Relay::new(client, upstream, handle, &service.metrics),
            entry,
            closing,
            tls,
        }
    }

    /// Carries until one side is done.
    pub(super) async fn run(mut self: Box<Self>) -> (SessionEnd, SessionClose) {
        let exit = self.relay.run().await;
        let Self {
            relay,
            mut entry,
            mut closing,
            tls,
        } = *self;
        let over = UpstreamLeg {
            upstream: Arc::clone(closing.upstream()),
            tls,
        };
        closing.key = entry.clear_cancel_key();
        drop(entry);
        closing.state = relay.upstream_state(&exit);
        let (client, upstream) = relay.into_streams();
        let mut close = SessionClose::of(client, None);
        close.upstream = Some((closing, upstream));
        let end = SessionEnd::Carried { exit, over };
        (end, close)
    }
}
