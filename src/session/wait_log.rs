//! Waiting that lasts is told in the log: who waits, which limit is in the way, who has
//! the places, and how many wait.

use std::fmt::Write as _;
use std::pin::Pin;
use std::time::Duration;

use foldhash::HashMap;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::handle::{Activity, Handle, log_session};
use super::service::Service;
use super::warnings::PAUSE;
use crate::fault::rounded;
use crate::pool::Wait;

/// How long a client waits before the log says so.
const LONG: Duration = Duration::from_secs(1);
/// Between two looks at who waits for a connection of a pool.
const LOOK: Duration = Duration::from_millis(250);
/// Sessions that are named as those who have the places.
const NAMED: usize = 3;

/// Says in the log which clients wait long for a connection of their pool, until `stop`.
///
/// They are looked at from here, so that a wait sets no timer of its own.
pub(crate) async fn watch(service: &Service, stop: CancellationToken) {
    let mut last = PoolWaits::default();
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let sessions = service.registry.handles();
        let waiting = sessions.iter().filter_map(|session| {
            let (pool, number) = session.awaited_pool()?;
            Some((session, pool, number))
        });
        let now = Instant::now();
        let mut seen = PoolWaits::default();
        for (session, pool, number) in waiting {
            let wait = last.get(&session.id).filter(|wait| wait.number == number);
            let mut wait = wait.copied().unwrap_or(PoolWait {
                number,
                since: now,
                due: now + LONG,
            });
            if wait.due <= now {
                wait.due = now + PAUSE;
                tell(session, service, &pool.wait(), now - wait.since);
            }
            seen.insert(session.id, wait);
        }
        last = seen;
    }
}

/// Waits of sessions, by their numbers.
type PoolWaits = HashMap<u64, PoolWait>;

#[derive(Debug, Clone, Copy)]
struct PoolWait {
    /// Which of the session's waits it is.
    number: u32,
    /// When it was seen first.
    since: Instant,
    /// When the log says so next.
    due: Instant,
}

/// Waits for `future`, a connection for `handle`'s client. Where that lasts, the log says
/// what it waits for, as `wait` has it at that moment.
///
/// It borrows the future, because one that is moved into another is kept there twice.
pub(super) async fn noted<T>(
    mut future: Pin<&mut impl Future<Output = T>>,
    handle: &Handle,
    service: &Service,
    wait: impl Fn() -> Wait,
) -> T {
    let mut waited = Duration::ZERO;
    loop {
        let next = if waited.is_zero() { LONG } else { PAUSE };
        tokio::select! {
            biased;
            output = &mut future => return output,
            // No clock is looked at for a future that is ready.
            () = async { sleep(next).await } => {}
        }
        waited += next;
        tell(handle, service, &wait(), waited);
    }
}

fn tell(handle: &Handle, service: &Service, wait: &Wait, waited: Duration) {
    let Wait {
        limit,
        in_use,
        waiting,
        owners,
    } = wait;
    let Some(unsaid) = service.warnings.may_say(limit) else {
        return;
    };
    let owners = Some(&**owners).filter(|owners| !owners.is_empty());
    let near = |other: &Handle| owners.is_some() || other.database == handle.database;
    let holders = holders(service, near);
    log_session!(
        warn,
        handle,
        limit = &**limit,
        in_use,
        waiting,
        waited = ?rounded(waited),
        owners,
        holders = &*holders,
        unsaid,
        "client waits for a connection"
    );
}

/// Who has connections, of the sessions that are `near`: how many do what, and the first
/// of those that are the likeliest to be in the way.
fn holders(service: &Service, near: impl Fn(&Handle) -> bool) -> String {
    let order = [
        Activity::IdleInTransaction,
        Activity::Idle,
        Activity::Active,
    ];
    let sessions = service.registry.handles();
    let mut holding: Vec<_> = sessions
        .iter()
        .filter(|session| session.has_connection() && near(session))
        .filter_map(|session| {
            let activity = session.activity();
            let rank = order.iter().position(|known| *known == activity)?;
            Some((rank, session.id, session))
        })
        .collect();
    holding.sort_by_key(|(rank, id, _)| (*rank, *id));
    let mut text = String::new();
    for (rank, activity) in order.iter().enumerate() {
        let count = holding.iter().filter(|(at, ..)| *at == rank).count();
        if count > 0 {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{count} {activity}");
        }
    }
    for (nth, (_, id, session)) in holding.iter().take(NAMED).enumerate() {
        let before = if nth == 0 { ": session" } else { ", session" };
        let _ = write!(text, "{before} {id} at {}", session.peer);
    }
    text
}
