//! Sessions in which something may last only so long, and when to look at them next:
//! most of those that are idle cannot be overdue for a long time.

use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::handle::{Handle, StopOrder};
use crate::config::values::Timeouts;

/// The sessions of one proxy that have limits.
#[derive(Debug, Default)]
pub(crate) struct LimitWatch(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    by_id: HashMap<u64, Arc<Handle>>,
    /// Before this nobody is overdue; `None`: nobody ever is.
    next: Option<Instant>,
}

impl LimitWatch {
    /// `limits` hold for this session from here on; once a session.
    pub(super) fn enter(&self, handle: &Arc<Handle>, limits: Timeouts) {
        let Some(least) = limits.least() else { return };
        handle.set_limits(limits);
        let mut watched = self.0.lock();
        watched.by_id.insert(handle.id, Arc::clone(handle));
        let soonest = Instant::now() + least;
        watched.next = Some(watched.next.map_or(soonest, |next| next.min(soonest)));
    }

    pub(super) fn leave(&self, handle: &Handle) {
        if handle.has_limits() {
            self.0.lock().by_id.remove(&handle.id);
        }
    }

    /// Tells those that have lasted too long.
    pub(crate) fn enforce(&self) {
        let mut watched = self.0.lock();
        let now = Instant::now();
        if watched.next.is_none_or(|next| now < next) {
            return;
        }
        for handle in watched.by_id.values() {
            if let Some(limit) = handle.overdue() {
                handle.give(StopOrder::TimedOut(limit));
            }
        }
        let left = watched.by_id.values().filter_map(|handle| handle.left());
        watched.next = left.min().map(|left| now + left);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::handle::{Activity, Limit};
    use super::*;
    use crate::net::Peer;

    const IDLE: Timeouts = Timeouts {
        query: Some(Duration::from_secs(3)),
        transaction: None,
        idle_transaction: None,
        client_idle: Some(Duration::from_secs(60)),
    };

    fn session(id: u64) -> Arc<Handle> {
        Arc::new(Handle::new(
            id,
            "app".into(),
            "app".into(),
            Peer::Unix { uid: 0 },
        ))
    }

    async fn order(handle: &Handle) -> Option<StopOrder> {
        poll_fn(|cx| Poll::Ready(handle.poll_order(cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_told_when_it_is_overdue_and_no_other() {
        let watch = LimitWatch::default();
        let [idle, busy, free] = [1, 2, 3].map(session);
        free.set_activity(Activity::Idle);
        watch.enter(&free, Timeouts::default());
        for handle in [&idle, &busy] {
            watch.enter(handle, IDLE);
            handle.set_activity(Activity::Idle);
        }
        for second in 0..58 {
            assert_eq!(order(&idle).await, None, "{second}");
            busy.set_activity(if second % 2 == 0 {
                Activity::Active
            } else {
                Activity::Idle
            });
            watch.enforce();
            advance(Duration::from_secs(1)).await;
        }
        busy.set_activity(Activity::Active);
        advance(Duration::from_secs(2)).await;
        watch.enforce();
        assert_eq!(
            order(&idle).await,
            Some(StopOrder::TimedOut(Limit::ClientIdle))
        );
        assert_eq!(order(&busy).await, None);
        advance(Duration::from_secs(1)).await;
        watch.enforce();
        assert_eq!(order(&busy).await, Some(StopOrder::TimedOut(Limit::Query)));
        assert_eq!(order(&free).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_later_may_be_overdue_before_the_others() {
        let watch = LimitWatch::default();
        let [first, second] = [1, 2].map(session);
        first.set_activity(Activity::Idle);
        watch.enter(&first, IDLE);
        watch.enforce();
        watch.enter(
            &second,
            Timeouts {
                client_idle: Some(Duration::from_secs(1)),
                ..IDLE
            },
        );
        second.set_activity(Activity::Idle);
        advance(Duration::from_secs(1)).await;
        watch.enforce();
        assert_eq!(
            order(&second).await,
            Some(StopOrder::TimedOut(Limit::ClientIdle))
        );
        watch.leave(&second);
        assert!(!watch.0.lock().by_id.contains_key(&2));
    }
}
