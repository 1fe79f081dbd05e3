//! Whose notifications are whose: a client that notifies on a connection which
//! is not its home is known to others by the process id that it was told itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use foldhash::HashMap;
use parking_lot::Mutex;

use super::super::flow::FrameAction;
use super::inspector::Inspector;
use crate::pool::ServerKey;
use crate::state::tracker::{HoldReason, StatementEffects};
use crate::wire::frame::Frame;

/// More connections than this are looked through for those that have closed.
const MANY: usize = 256;

/// Of one database. Notifications come by themselves, so that the last client of a
/// connection that may have sent any counts.
#[derive(Debug, Default)]
pub(super) struct NotificationPids {
    /// Somebody listens, or has.
    heard: AtomicBool,
    /// Connections by process id, and the process id that their client was told.
    by_pid: Mutex<HashMap<u32, (Weak<ServerKey>, u32)>>,
}

impl NotificationPids {
    pub(super) fn somebody_listens(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// The client that was told `pid` may notify over the connection of `key`.
    pub(super) fn speaks(&self, key: &Arc<ServerKey>, pid: u32) {
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

impl Inspector<'_> {
    /// Notes whose notifications what `statement_effects` is about may send. Who asks for its
    /// process id is known by the answer from then on.
    pub(super) fn speak(&mut self, digest: &StatementEffects) {
        let named = digest.pins() == Some(HoldReason::Identity);
        if named {
            self.known_pid = self.key.as_ref().and_then(|key| key.pid());
        }
        if (named || digest.may_notify())
            && let (Some(key), Some(pid)) = (&self.key, self.known_pid)
        {
            self.client.catalog.notification_pids.speaks(key, pid);
        }
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
    fn heard(voices: &NotificationPids, pid: u32) -> u32 {
        let mut body = pid.to_be_bytes().to_vec();
        body.extend(b"channel\0payload\0");
        let frame = Frame {
            tag: b'A',
            len: body.len(),
            body: &body,
        };
        let mut before = Vec::new();
        match voices.translate(frame, &mut before) {
            FrameAction::Pass => pid,
            _ => {
                assert_eq!(before[9..], body[4..]);
                u32::from_be_bytes(before[5..9].try_into().unwrap())
            }
        }
    }

    #[test]
    fn a_notification_bears_the_process_id_that_its_sender_was_told() {
        let voices = NotificationPids::default();
        let connection = key(7);
        voices.speaks(&connection, 1);
        assert_eq!(heard(&voices, 7), 7, "nobody listened");
        voices.somebody_listens();
        voices.speaks(&connection, 1);
        assert_eq!(heard(&voices, 7), 1);
        assert_eq!(heard(&voices, 8), 8);
        voices.speaks(&connection, 7);
        assert_eq!(heard(&voices, 7), 7, "it is at home");
        voices.speaks(&connection, 2);
        drop(connection);
        assert_eq!(
            heard(&voices, 7),
            7,
            "another process may have the number now"
        );
    }
}
