//! The process id that a client was told at its login, and what has to be right for it.
//!
//! A client believes to be served by that process, but uses other connections too.
//! So the connection of that process is the one on which it asks for its process id. What
//! others are told of the client bears the number that it was told itself: notifications that
//! it sends. When somebody ends that process, the client's session ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::flow::FrameAction;
use crate::pool::{CheckoutRequest, Connection, ConnectionId, Lease, Pool, ServerKey};
use crate::state::tracker::{HoldReason, StatementEffects};
use crate::wire::frame::Frame;

/// How long a client that asks for its process id waits for the connection that it was
/// told of: for a short transaction of another client, not for a long one.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(250);

/// More connections than this are looked through for those that have closed.
const MANY: usize = 256;

/// What a client was told at its login.
#[derive(Debug)]
pub(super) struct AnnouncedBackend {
    pid: Option<u32>,
    /// The connection of that process; `None` once it could not be had.
    connection: Option<AnnouncedConnection>,
}

#[derive(Debug)]
struct AnnouncedConnection {
    id: ConnectionId,
    /// Gone with the connection.
    key: Weak<ServerKey>,
}

impl AnnouncedBackend {
    /// `connection`: the one that has the process id `pid`.
    pub(super) fn new(
        pid: Option<u32>,
        connection: Option<(ConnectionId, Weak<ServerKey>)>,
    ) -> Self {
        let connection = connection.map(|(id, key)| AnnouncedConnection { id, key });
        Self { pid, connection }
    }

    pub(super) fn connection(&self) -> Option<ConnectionId> {
        self.connection.as_ref().map(|connection| connection.id)
    }

    /// Whether the connection is another than `last`, and still there.
    pub(super) fn is_elsewhere(&self, last: Option<ConnectionId>) -> bool {
        self.connection.as_ref().is_some_and(|connection| {
            last != Some(connection.id) && connection.key.strong_count() > 0
        })
    }

    /// Whether the client was told of this connection.
    pub(super) fn is(&self, connection: &Connection) -> bool {
        self.connection() == Some(connection.id())
    }

    /// The connection itself, if it can be had soon. If not, it is not asked for again.
    pub(super) async fn claim(
        &mut self,
        pool: &Arc<Pool>,
        request: CheckoutRequest,
        deadline: Instant,
    ) -> Option<Lease> {
        let id = self.connection()?;
        let deadline = deadline.min(Instant::now() + CLAIM_TIMEOUT);
        let lease = Box::pin(pool.claim(id, request, deadline)).await;
        if lease.is_none() {
            self.connection = None;
        }
        lease
    }
}

/// Whether a statement asks for the process id of its connection.
pub(super) fn is_asked_for(effects: &StatementEffects) -> bool {
    effects.pins() == Some(HoldReason::Identity)
}

/// The process id by which others know a client while it has a connection: that of its
/// login, or that of the connection, once the client has asked for it.
#[derive(Debug, Default)]
pub(super) struct KnownPid(Option<u32>);

impl KnownPid {
    pub(super) const fn of_login(announced: &AnnouncedBackend) -> Self {
        Self(announced.pid)
    }

    /// Notes what a statement that is about to run on the connection of `key` tells others
    /// of the client, or the client of itself.
    pub(super) fn about_to_run(
        &mut self,
        effects: &StatementEffects,
        key: Option<&Arc<ServerKey>>,
        pids: &NotificationPids,
    ) {
        if effects.listens() {
            pids.somebody_listens();
        }
        let asks = is_asked_for(effects);
        if asks {
            self.0 = key.and_then(|key| key.pid());
        }
        if (asks || effects.may_notify())
            && let (Some(key), Some(pid)) = (key, self.0)
        {
            pids.notifies(key, pid);
        }
    }
}

/// Which clients may have sent the notifications of a connection, of one database.
/// Notifications come by themselves, so that the last client of a connection that may
/// have sent any counts.
#[derive(Debug, Default)]
pub(super) struct NotificationPids {
    /// Somebody listens, or has.
    heard: AtomicBool,
    /// Connections by process id, and the process id that their client was told.
    by_pid: Mutex<HashMap<u32, (Weak<ServerKey>, u32)>>,
}

impl NotificationPids {
    fn somebody_listens(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// The client that was told `pid` may notify over the connection of `key`.
    fn notifies(&self, key: &Arc<ServerKey>, pid: u32) {
        let Some(real) = key.pid() else {
            return;
        };
        if !self.heard.load(Ordering::Relaxed) {
            return;
        }
        let mut by_pid = self.by_pid.lock();
        if real == pid {
            by_pid.remove(&real);
            return;
        }
        if by_pid.len() >= MANY {
            by_pid.retain(|_, (key, _)| key.strong_count() > 0);
        }
        by_pid.insert(real, (Arc::downgrade(key), pid));
    }

    /// A NotificationResponse on its way to a client.
    pub(super) fn translate(&self, frame: Frame<'_>, before: &mut Vec<u8>) -> FrameAction {
        let Some((real, rest)) = frame.body.split_first_chunk::<4>() else {
            return FrameAction::Pass;
        };
        let known = |(key, pid): &(Weak<ServerKey>, u32)| (key.strong_count() > 0).then_some(*pid);
        let told = self
            .by_pid
            .lock()
            .get(&u32::from_be_bytes(*real))
            .and_then(known);
        let Some(told) = told.filter(|_| frame.body.len() == frame.len) else {
            return FrameAction::Pass;
        };
        before.push(frame.tag);
        let len = u32::try_from(4 + frame.len).unwrap_or(u32::MAX);
        before.extend_from_slice(&len.to_be_bytes());
        before.extend_from_slice(&told.to_be_bytes());
        before.extend_from_slice(rest);
        FrameAction::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::startup::CancelKey;

    fn key(pid: u32) -> Arc<ServerKey> {
        Arc::new(ServerKey::new(Some(CancelKey::with_secret(
            pid,
            b"1234"[..].into(),
        ))))
    }

    /// The process id that a listener is told.
    fn heard(pids: &NotificationPids, pid: u32) -> u32 {
        let mut body = pid.to_be_bytes().to_vec();
        body.extend(b"channel\0payload\0");
        let frame = Frame {
            tag: b'A',
            len: body.len(),
            body: &body,
        };
        let mut before = Vec::new();
        match pids.translate(frame, &mut before) {
            FrameAction::Pass => pid,
            _ => {
                assert_eq!(before[9..], body[4..]);
                u32::from_be_bytes(before[5..9].try_into().unwrap())
            }
        }
    }

    #[test]
    fn a_notification_bears_the_process_id_that_its_sender_was_told() {
        let pids = NotificationPids::default();
        let connection = key(7);
        pids.notifies(&connection, 1);
        assert_eq!(heard(&pids, 7), 7, "nobody listened");
        pids.somebody_listens();
        pids.notifies(&connection, 1);
        assert_eq!(heard(&pids, 7), 1);
        assert_eq!(heard(&pids, 8), 8);
        pids.notifies(&connection, 7);
        assert_eq!(
            heard(&pids, 7),
            7,
            "it is the connection that the client was told of"
        );
        pids.notifies(&connection, 2);
        drop(connection);
        assert_eq!(
            heard(&pids, 7),
            7,
            "another process may have the number now"
        );
    }
}
