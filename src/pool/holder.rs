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

use super::books::ConnectionId;

/// See the top of this file.
#[derive(Debug, Default)]
pub(crate) struct Holder {
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
enum Standing {
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
pub(super) enum Asked {
    /// It will answer.
    Told,
    /// It uses the connection, which is entered no longer.
    Busy,
    /// It has used the connection not long ago.
    Used,
}

/// Which clients are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// One that does not need it: another, if it has been used not long ago.
    Idler,
    /// This one.
    Anyone,
}

/// No connection has this number.
const LOST: u64 = u64::MAX;

impl Holder {
    fn exchange(&self, from: Standing, to: Standing) -> bool {
        let exchanged = self.standing.compare_exchange(
            from as u8,
            to as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        exchanged.is_ok()
    }

    fn stands(&self, standing: Standing) -> bool {
        self.standing.load(Ordering::Acquire) == standing as u8
    }

    /// The connection is entered as kept. Under the lock of the books, as all that the
    /// client does not do alone.
    pub(super) fn list(&self) {
        self.standing
            .store(Standing::Rests as u8, Ordering::Release);
    }

    /// It is so no longer.
    pub(super) fn unlist(&self) {
        self.standing
            .store(Standing::Unlisted as u8, Ordering::Release);
    }

    /// The client's connection is at rest; `false`: it is not entered.
    pub(super) fn rest(&self) -> bool {
        self.exchange(Standing::Busy, Standing::Used)
    }

    /// The client uses the connection; `false`: somebody has asked for it, or it is
    /// not entered.
    pub(super) fn resume(&self) -> bool {
        self.exchange(Standing::Used, Standing::Busy)
            || self.exchange(Standing::Rests, Standing::Busy)
    }

    pub(super) fn ask(&self, whom: Whom) -> Asked {
        loop {
            if self.exchange(Standing::Rests, Standing::Asked) {
                self.waker.wake();
                return Asked::Told;
            }
            if self.exchange(Standing::Busy, Standing::Unlisted) || self.stands(Standing::Unlisted)
            {
                return Asked::Busy;
            }
            if self.stands(Standing::Asked) {
                return Asked::Told;
            }
            if self.exchange(Standing::Used, Standing::Rests) && whom == Whom::Idler {
                return Asked::Used;
            }
        }
    }

    /// Whether it has used its connection since this was last asked.
    pub(super) fn look(&self) -> bool {
        self.exchange(Standing::Used, Standing::Rests)
    }

    /// Whether its connection is at rest.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.stands(Standing::Busy)
    }

    /// Whether its connection is at rest, and there for whoever needs it.
    pub(super) fn is_idle(&self) -> bool {
        self.lingers.load(Ordering::Relaxed) && self.is_at_rest()
    }

    /// From here on it gives its connection away as soon as it is asked, or not.
    pub(crate) fn lingers(&self, lingers: bool) {
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
        self.stands(Standing::Asked)
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
        let holder = Holder::default();
        assert_eq!(holder.ask(Whom::Anyone), Asked::Busy, "not entered");
        holder.list();
        assert!(holder.resume());
        assert_eq!(holder.ask(Whom::Anyone), Asked::Busy);
        assert!(!holder.rest(), "it has to turn to the books");
        holder.list();
        assert_eq!(holder.ask(Whom::Anyone), Asked::Told);
        assert!(holder.is_wanted());
        assert!(!holder.resume(), "it has to tell the books");
    }

    #[test]
    fn one_that_used_its_connection_not_long_ago_is_passed_over_once() {
        let holder = Holder::default();
        holder.list();
        assert!(holder.resume() && holder.rest());
        assert_eq!(holder.ask(Whom::Idler), Asked::Used);
        assert_eq!(holder.ask(Whom::Idler), Asked::Told);
        holder.list();
        assert!(holder.resume() && holder.rest());
        assert_eq!(holder.ask(Whom::Anyone), Asked::Told);
    }

    #[test]
    fn who_asks_and_who_resumes_agree_on_who_was_first() {
        for _ in 0..2000 {
            let holder = Holder::default();
            holder.list();
            let (asked, resumed) = std::thread::scope(|scope| {
                let asking = scope.spawn(|| holder.ask(Whom::Idler));
                let resumed = holder.resume();
                (asking.join().unwrap(), resumed)
            });
            assert_eq!(asked == Asked::Told, !resumed);
        }
    }
}
