//! Places for connections, and who gives way when there are none left.
//!
//! A place costs nothing to take: one connects and says nothing. So that places
//! cannot be hoarded like that, whoever has not shown in a moment what it wants
//! gives way to a newcomer, the longest silent first; without newcomers it may
//! take its time. What is bounded here is everything accepted, sessions included.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

/// How long a client is safe: one that is alive has spoken by then.
const MOMENT: Duration = Duration::from_millis(250);
/// How long a newcomer waits, in the kernel's queue others behind it.
const ADMISSION_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct AcceptLimit {
    places: Arc<Semaphore>,
    undecided: Mutex<PendingConnections>,
}

/// Those who are not admitted yet, oldest first.
#[derive(Debug, Default)]
struct PendingConnections {
    next: u64,
    guests: BTreeMap<u64, PendingEntry>,
}

#[derive(Debug)]
struct PendingEntry {
    since: Instant,
    place: OwnedSemaphorePermit,
    dismissal: Arc<Notify>,
}

/// A connection that is not admitted yet; leaves when dropped.
#[derive(Debug)]
pub(crate) struct PendingConnection {
    accept_limit: Arc<AcceptLimit>,
    /// `None` once it is left.
    number: Option<u64>,
    dismissal: Arc<Notify>,
}

impl AcceptLimit {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            undecided: Mutex::default(),
        }
    }

    /// Waits for a place; `None` when all are taken by those who may keep them.
    pub(crate) async fn enter(self: &Arc<Self>) -> Option<PendingConnection> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => timeout(ADMISSION_TIMEOUT, self.wait()).await.ok()?,
        };
        let dismissal = Arc::new(Notify::new());
        let guest = PendingEntry {
            since: Instant::now(),
            place,
            dismissal: Arc::clone(&dismissal),
        };
        let mut undecided = self.undecided.lock();
        let number = undecided.next;
        undecided.next += 1;
        undecided.guests.insert(number, guest);
        Some(PendingConnection {
            accept_limit: Arc::clone(self),
            number: Some(number),
            dismissal,
        })
    }

    /// A place that becomes free, or is made so.
    async fn wait(&self) -> OwnedSemaphorePermit {
        loop {
            let oldest = self.oldest();
            let look_again = oldest.unwrap_or_else(Instant::now) + MOMENT;
            tokio::select! {
                Ok(place) = Arc::clone(&self.places).acquire_owned() => return place,
                () = sleep_until(look_again) => {}
            }
            if let Some(place) = self.dismiss_oldest() {
                return place;
            }
        }
    }

    fn oldest(&self) -> Option<Instant> {
        let undecided = self.undecided.lock();
        undecided
            .guests
            .first_key_value()
            .map(|(_, guest)| guest.since)
    }

    fn dismiss_oldest(&self) -> Option<OwnedSemaphorePermit> {
        let mut undecided = self.undecided.lock();
        let oldest = undecided.guests.first_entry()?;
        if oldest.get().since.elapsed() < MOMENT {
            return None;
        }
        let guest = oldest.remove();
        guest.dismissal.notify_one();
        Some(guest.place)
    }

    fn leave(&self, number: u64) -> Option<OwnedSemaphorePermit> {
        let guest = self.undecided.lock().guests.remove(&number)?;
        Some(guest.place)
    }
}

impl PendingConnection {
    /// Completes when the place is needed for somebody else.
    pub(crate) async fn dismissed(&self) {
        self.dismissal.notified().await;
    }

    /// Keeps the place for good; `None` when it went to somebody else.
    pub(crate) fn stay(mut self) -> Option<OwnedSemaphorePermit> {
        self.leave()
    }

    fn leave(&mut self) -> Option<OwnedSemaphorePermit> {
        self.accept_limit.leave(self.number.take()?)
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_gives_way_and_only_after_a_moment() {
        let accept_limit = Arc::new(AcceptLimit::new(2));
        let began = Instant::now();
        let first = accept_limit.enter().await.unwrap();
        let second = accept_limit.enter().await.unwrap();
        let third = accept_limit.enter().await.unwrap();
        assert_eq!(began.elapsed(), MOMENT);
        first.dismissed().await;
        assert!(first.stay().is_none());
        let places = (second.stay().unwrap(), third.stay().unwrap());
        assert!(accept_limit.enter().await.is_none());
        drop(places);
        assert!(accept_limit.enter().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_is_taken_at_once() {
        let accept_limit = Arc::new(AcceptLimit::new(1));
        let began = Instant::now();
        let first = accept_limit.enter().await.unwrap();
        let (_second, ()) = tokio::join!(accept_limit.enter(), async { drop(first) });
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_newcomers_nobody_is_hurried() {
        let accept_limit = Arc::new(AcceptLimit::new(1));
        let pending = accept_limit.enter().await.unwrap();
        let dismissed = timeout(Duration::from_secs(3600), pending.dismissed()).await;
        assert!(dismissed.is_err());
        assert!(pending.stay().is_some());
    }
}
