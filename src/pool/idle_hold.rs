//! A client as its pool reaches it: it keeps a connection for as long as nobody else
//! needs that, or has given one back and is to hear if the server ends it.
//!
//! Between two transactions it would cost two turns at the books' lock to say that the
//! connection is at rest, and that it is used again. Nobody wants to know that most of
//! the time. So the books enter once that a client keeps its connection; whether it
//! rests is found out when somebody needs one, by one exchange of this word:
//!
//! ```text
//!              list                    ask
//!   Unlisted ────────► Rests ◄──────────────► Asked
//!      ▲                 │ ▲ looked at          ▲
//!      │ ask      resume │ └────── Used ────────┘
//!      └───────── Busy ◄─┴──────────┘  ▲
//!                  └────────── rest ───┘
//! ```
//!
//! Invariant: who asks gets an answer, of the client or at once. What was `Busy` when it
//! was asked for is no longer entered, so that the client has to turn to the books when
//! its connection rests.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use parking_lot::Mutex;

use super::ids::ConnectionId;

/// See the top of this file.
#[derive(Debug, Default)]
pub(crate) struct IdleHold {
    standing: AtomicU8,
    /// It needs the connection no more, and gives it away as soon as it is asked.
    lingers: AtomicBool,
    /// The connection that it used last, zero if none; or [`LOST`].
    used: AtomicU64,
    /// What the server said when that was lost.
    last_words: Mutex<Option<Bytes>>,
    waker: AtomicWaker,
}

/// How a client and its connection stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum HoldState {
    /// The books have it as in use: nobody asks.
    Unlisted,
    /// As all that follow, entered as kept. The client uses it.
    Busy,
    /// It has not been used since it was entered, or last looked at.
    Rests,
    /// It rests, and has been used.
    Used,
    /// Somebody needs it.
    Asked,
}

/// What comes of asking a client for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReclaimAnswer {
    /// It will answer.
    Told,
    /// It uses the connection, which is entered no longer.
    Busy,
    /// It has used the connection not long ago.
    Used,
}

/// Which clients are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReclaimPolicy {
    /// One that does not need it: another, if it has been used not long ago.
    Idler,
    /// This one.
    Anyone,
}

/// No connection has this number.
const LOST: u64 = u64::MAX;

impl IdleHold {
    fn exchange(&self, from: HoldState, to: HoldState) -> bool {
        let exchanged = self.standing.compare_exchange(
            from as u8,
            to as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        exchanged.is_ok()
    }

    fn stands(&self, standing: HoldState) -> bool {
        self.standing.load(Ordering::Acquire) == standing as u8
    }

    /// The connection is entered as kept. Under the lock of the books, as all that the
    /// client does not do alone.
    pub(super) fn list(&self) {
        self.standing
            .store(HoldState::Rests as u8, Ordering::Release);
    }

    /// It is so no longer.
    pub(super) fn unlist(&self) {
        self.standing
            .store(HoldState::Unlisted as u8, Ordering::Release);
    }

    /// The client's connection is at rest; `false`: it is not entered.
    pub(super) fn rest(&self) -> bool {
        self.exchange(HoldState::Busy, HoldState::Used)
    }

    /// The client uses the connection; `false`: somebody has asked for it, or it is
    /// not entered.
    pub(super) fn resume(&self) -> bool {
        self.exchange(HoldState::Used, HoldState::Busy)
            || self.exchange(HoldState::Rests, HoldState::Busy)
    }

    pub(super) fn ask(&self, whom: ReclaimPolicy) -> ReclaimAnswer {
        loop {
            if self.exchange(HoldState::Rests, HoldState::Asked) {
                self.waker.wake();
                return ReclaimAnswer::Told;
            }
            if self.exchange(HoldState::Busy, HoldState::Unlisted)
                || self.stands(HoldState::Unlisted)
            {
                return ReclaimAnswer::Busy;
            }
            if self.stands(HoldState::Asked) {
                return ReclaimAnswer::Told;
            }
            if self.exchange(HoldState::Used, HoldState::Rests) && whom == ReclaimPolicy::Idler {
                return ReclaimAnswer::Used;
            }
        }
    }

    /// Whether it has used its connection since this was last asked.
    pub(super) fn look(&self) -> bool {
        self.exchange(HoldState::Used, HoldState::Rests)
    }

    /// Whether its connection is at rest.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.stands(HoldState::Busy)
    }

    /// Whether its connection is at rest, and there for whoever needs it.
    pub(super) fn is_idle(&self) -> bool {
        self.lingers.load(Ordering::Relaxed) && self.is_at_rest()
    }

    /// From here on it gives its connection away as soon as it is asked, or not.
    pub(crate) fn set_sticky(&self, lingers: bool) {
        if self.lingers.load(Ordering::Relaxed) != lingers {
            self.lingers.store(lingers, Ordering::Relaxed);
        }
    }

    /// Whether somebody waits for the connection. The task is woken when that is so.
    pub(crate) fn poll_wanted(&self, cx: &Context<'_>) -> bool {
        if !self.is_wanted() {
            self.waker.register(cx.waker());
        }
        // Asked in between: the old waker was told.
        self.is_wanted()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.stands(HoldState::Asked)
    }

    /// The client uses this connection from here on.
    pub(super) fn uses(&self, id: ConnectionId) {
        self.used.store(id.0, Ordering::Release);
    }

    /// Whether the connection that the client used last was lost after it had given it
    /// back, and the server's last words. The task is woken when that is so.
    pub(crate) fn poll_lost(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        self.waker.register(cx.waker());
        match self.used.load(Ordering::Acquire) {
            LOST => Poll::Ready(self.last_words.lock().take()),
            _ => Poll::Pending,
        }
    }

    /// Somebody has ended the client by the process id that it was told.
    pub(super) fn dismiss(&self, last_words: Option<Bytes>) {
        *self.last_words.lock() = last_words;
        self.used.store(LOST, Ordering::Release);
        self.waker.wake();
    }

    /// It is no matter to a client that has used another since.
    pub(super) fn lose(&self, id: ConnectionId, last_words: Option<Bytes>) {
        if self.used.load(Ordering::Acquire) != id.0 {
            return;
        }
        *self.last_words.lock() = last_words;
        let lost = self
            .used
            .compare_exchange(id.0, LOST, Ordering::AcqRel, Ordering::Relaxed);
        if lost.is_ok() {
            self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_rest_is_told_and_one_that_is_busy_is_entered_no_longer() {
        let holder = IdleHold::default();
        assert_eq!(
            holder.ask(ReclaimPolicy::Anyone),
            ReclaimAnswer::Busy,
            "not entered"
        );
        holder.list();
        assert!(holder.resume());
        assert_eq!(holder.ask(ReclaimPolicy::Anyone), ReclaimAnswer::Busy);
        assert!(!holder.rest(), "it has to turn to the books");
        holder.list();
        assert_eq!(holder.ask(ReclaimPolicy::Anyone), ReclaimAnswer::Told);
        assert!(holder.is_wanted());
        assert!(!holder.resume(), "it has to tell the books");
    }

    #[test]
    fn one_that_used_its_connection_not_long_ago_is_passed_over_once() {
        let holder = IdleHold::default();
        holder.list();
        assert!(holder.resume() && holder.rest());
        assert_eq!(holder.ask(ReclaimPolicy::Idler), ReclaimAnswer::Used);
        assert_eq!(holder.ask(ReclaimPolicy::Idler), ReclaimAnswer::Told);
        holder.list();
        assert!(holder.resume() && holder.rest());
        assert_eq!(holder.ask(ReclaimPolicy::Anyone), ReclaimAnswer::Told);
    }

    #[test]
    fn who_asks_and_who_resumes_agree_on_who_was_first() {
        for _ in 0..2000 {
            let holder = IdleHold::default();
            holder.list();
            let (asked, resumed) = std::thread::scope(|scope| {
                let asking = scope.spawn(|| holder.ask(ReclaimPolicy::Idler));
                let resumed = holder.resume();
                (asking.join().unwrap(), resumed)
            });
            assert_eq!(asked == ReclaimAnswer::Told, !resumed);
        }
    }
}
