//! Intervals and counts by which pools decide: here, as they depend on one another.
//!
//! | Who | Waits, or counts | Then |
//! |---|---|---|
//! | the oldest waiter for a place | [`PASSES_BEFORE_TURN`] times passed over | goes first, and places are kept for it |
//! | the oldest waiter of a pool | [`PRIORITY_YIELDS_AFTER`] | goes before higher priorities |
//! | a waiter on the connection's thread | [`SAME_THREAD_DELAY`] later than another | goes before that one |
//! | a waiter whom no connection suits | [`UNSUITED_WAIT`] | one is closed, to open another for it |
//! | a pool of the same priority that has fewer | [`SHARE_AFTER`] | is given a connection of those that have more |
//! | one that has none at all | [`CLAIM_AFTER`] | is given one whatever the priorities |
//! | logins of a busy pool's own user | [`LOGIN_PAUSE`] between two | each takes one place |
//! | the next of them, while one is slow | [`SLOW_LOGIN`] | takes another place |
//! | a client that the server has asked | [`SILENCE_ALLOWED`] | gives its place to who waits |
//! | the same, though nobody waits | [`ANSWER_TIMEOUT`] | ends |
//! | a client that is to be told a process id of its own | [`GREETING_WAIT`] | is told that of a shared connection |
//! | a pool whose login has failed | [`FIRST_RETRY`], doubled with each | tries again |
//! | a client that cleans a database away | [`EVICTION_TIMEOUT`] | goes on, though connections are left |
//! | a statement whose client is gone | [`CANCEL_INTERVAL`] | is cancelled, again and again |
//!
//! [`UNSUITED_WAIT`] and [`LOGIN_PAUSE`] are shorter than [`SHARE_AFTER`]: a pool serves its
//! own clients before it gives to others. [`CLAIM_AFTER`] and [`PRIORITY_YIELDS_AFTER`] are
//! equal: priority delays nobody for longer in one queue than in the other.

use std::time::Duration;

/// How often a waiter for a place is passed over before its turn is due.
pub(super) const PASSES_BEFORE_TURN: u32 = 8;
/// After that long a waiter goes before those of higher priority.
pub(super) const PRIORITY_YIELDS_AFTER: Duration = Duration::from_secs(1);
/// How long one waits to whom no connection is any good that others could use: a
/// login costs more than a transaction.
pub(super) const UNSUITED_WAIT: Duration = Duration::from_millis(50);
/// How much later one may have come that is served before another because it is on
/// the connection's own thread (taking it to another costs system calls on both): this,
/// or such a part of the other's wait. And how far down the line one is looked for.
pub(super) const SAME_THREAD_DELAY: (Duration, u32) = (Duration::from_millis(5), 2);
pub(super) const SAME_THREAD_REACH: usize = 64;

/// Openers of one pool that wait for a place at a time.
pub(super) const MAX_QUEUED_OPENERS: u32 = 2;
/// First pause after a failed login; doubled with each.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);

/// How long a pool of the same priority waits before it is given a fair share.
pub(super) const SHARE_AFTER: Duration = Duration::from_millis(100);
/// How long one waits at most that has nothing at all.
pub(super) const CLAIM_AFTER: Duration = Duration::from_secs(1);
/// Between two connections that a pool gives to logins of its own user: each costs
/// the others a login's time.
pub(super) const LOGIN_PAUSE: Duration = Duration::from_millis(50);
/// How long the next waits while one is on its way: it may be a slow client's.
pub(super) const SLOW_LOGIN: Duration = Duration::from_secs(1);
/// Waiters for a place that are looked at when room can be made.
pub(super) const COMPETING_WAITERS: usize = 16;
/// The part of the queue that these are chosen from: whoever comes behind is looked at later.
pub(super) const COMPETING_SCAN: usize = 256;

/// How long a client that was asked is safe, though others wait: first, and for a while
/// after one has given way. Those that are alive answer within milliseconds.
pub(super) const SILENCE_ALLOWED: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_millis(250));
/// That while.
pub(super) const ALERT: Duration = Duration::from_secs(10);
/// How long an answer may take though nobody waits.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody waits for a silent client's place.
pub(super) const SILENCE_CHECK: Duration = Duration::from_millis(100);

/// How long a client that could be told of a connection of others waits for one of its
/// own: several times what a login over a long way takes.
pub(super) const GREETING_WAIT: Duration = Duration::from_secs(1);
/// How often the pools are looked over.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How long after a client has ended others by their process ids it may be seen.
pub(super) const TERMINATION_WINDOW: Duration = Duration::from_secs(5);
/// How long somebody who needs a database to be free waits for it: as long as
/// Postgres itself.
pub(super) const EVICTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long bytes that the kernel has may take to come through TLS.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a statement whose client is gone may go on before it is cancelled
/// (again), the first time and at most.
pub(super) const CANCEL_INTERVAL: (Duration, Duration) =
    (Duration::from_secs(2), Duration::from_mins(1));
