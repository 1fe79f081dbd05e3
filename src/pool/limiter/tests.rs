//! Tasks at the door, in paused time; above all: what is dropped is given back.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::task::noop_waker;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A door that reports to nobody.
fn door(caps: Caps) -> ConnectionLimiter {
    ConnectionLimiter::new(caps)
}

fn gatekeeper(total: u32) -> ConnectionLimiter {
    door(Caps {
        total,
        per_user: None,
        per_database: None,
    })
}

fn key() -> Key {
    Key::new("sep", "defaultdb")
}

async fn admit(gatekeeper: &ConnectionLimiter, patience: Duration) -> Result<Permit, Refusal> {
    let deadline = Instant::now() + patience;
    gatekeeper.admit(key(), Priority::Medium, deadline).await
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&noop_waker()))
}

fn assert_clear(gatekeeper: &ConnectionLimiter) {
    let snapshot = gatekeeper.snapshot();
    assert_eq!((snapshot.in_use, snapshot.waiting), (0, 0));
    assert!(snapshot.by_key.is_empty());
    assert!(gatekeeper.inner.lock().mailboxes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_permit_gives_back_on_drop() {
    let door = gatekeeper(1);
    let permit = admit(&door, SECOND).await.unwrap();
    assert_eq!(permit.key(), Some(&key()));
    assert_eq!(door.snapshot().in_use, 1);
    drop(permit);
    assert_clear(&door);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_a_release() {
    let door = gatekeeper(1);
    let permit = admit(&door, SECOND).await.unwrap();
    let started = Instant::now();
    let (admitted, ()) = tokio::join!(admit(&door, 5 * SECOND), async {
        sleep(SECOND).await;
        assert_eq!(door.snapshot().longest_wait, SECOND);
        drop(permit);
    });
    assert_eq!(started.elapsed(), SECOND);
    drop(admitted.unwrap());
    assert_clear(&door);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_what_it_saw() {
    let door = gatekeeper(1);
    let permit = admit(&door, SECOND).await.unwrap();
    let (short, long) = tokio::join!(admit(&door, SECOND), admit(&door, 2 * SECOND));
    assert_eq!(
        short.unwrap_err(),
        Refusal::TimedOut {
            waited: SECOND,
            obstacle: BlockedBy::Total,
            in_use: 1,
            waiting: 1,
        }
    );
    assert!(matches!(long, Err(Refusal::TimedOut { waiting: 0, .. })));
    drop(permit);
    assert_clear(&door);
}

#[test]
fn a_client_is_told_which_cap_to_look_at() {
    for (obstacle, limit) in [
        (BlockedBy::Total, "limits.max_upstream_conn"),
        (BlockedBy::User, "limits.max_user_connections"),
        (BlockedBy::Database, "limits.max_db_connections"),
    ] {
        let refusal = Refusal::TimedOut {
            waited: SECOND,
            obstacle,
            in_use: 22,
            waiting: 3,
        };
        let fault = refusal.fault();
        assert_eq!(fault.sqlstate, SqlState::TOO_MANY_CONNECTIONS);
        assert!(fault.hint.unwrap().contains(limit));
    }
    assert_eq!(Refusal::Closed.fault().sqlstate, SqlState::ADMIN_SHUTDOWN);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_still_takes_what_is_free() {
    let door = gatekeeper(1);
    let past = Instant::now();
    sleep(SECOND).await;
    let permit = door.admit(key(), Priority::Low, past).await.unwrap();
    let refused = door.admit(key(), Priority::High, past).await;
    assert!(matches!(refused, Err(Refusal::TimedOut { waited, .. }) if waited.is_zero()));
    drop(permit);
    assert_clear(&door);
}

#[tokio::test(start_paused = true)]
async fn a_slot_granted_to_a_future_that_is_dropped_unread_goes_to_the_next() {
    let door = gatekeeper(1);
    let permit = admit(&door, SECOND).await.unwrap();
    let mut gone = Box::pin(admit(&door, SECOND));
    let mut next = Box::pin(admit(&door, SECOND));
    assert!(poll(gone.as_mut()).is_pending());
    assert!(poll(next.as_mut()).is_pending());
    drop(permit);
    drop(gone);
    let Poll::Ready(Ok(permit)) = poll(next.as_mut()) else {
        panic!("the slot was lost");
    };
    drop(permit);
    assert_clear(&door);
}

#[tokio::test(start_paused = true)]
async fn a_slot_granted_in_the_moment_of_the_timeout_counts() {
    let door = gatekeeper(1);
    let permit = admit(&door, SECOND).await.unwrap();
    let Admission::Wait(mut waiting) = door.ask(key(), Priority::Low, Whose::Clients).unwrap()
    else {
        panic!("admitted beyond the cap");
    };
    drop(permit);
    let slot = waiting.give_up().unwrap();
    drop(slot);
    drop(waiting);
    assert_clear(&door);
}

#[tokio::test(start_paused = true)]
async fn closing_refuses_those_who_wait_and_those_who_come() {
    let door = gatekeeper(1);
    let permit = admit(&door, SECOND).await.unwrap();
    let mut one = Box::pin(admit(&door, SECOND));
    let mut two = Box::pin(admit(&door, SECOND));
    assert!(poll(one.as_mut()).is_pending());
    assert!(poll(two.as_mut()).is_pending());
    door.close();
    // Its slot finds no mailbox, twice.
    drop(permit);
    assert_eq!(one.await.unwrap_err(), Refusal::Closed);
    drop(two);
    assert_eq!(admit(&door, SECOND).await.unwrap_err(), Refusal::Closed);
    assert_clear(&door);
}

#[tokio::test(start_paused = true)]
async fn growing_admits_and_shrinking_waits() {
    let door = gatekeeper(1);
    let first = admit(&door, SECOND).await.unwrap();
    let mut second = Box::pin(admit(&door, SECOND));
    assert!(poll(second.as_mut()).is_pending());
    let caps = |total| Caps {
        total,
        ..door.snapshot().caps
    };
    door.resize(caps(2));
    let second = second.await.unwrap();
    door.resize(caps(1));
    assert_eq!(door.snapshot().in_use, 2);
    drop(first);
    assert!(admit(&door, SECOND).await.is_err());
    drop(second);
    let _ = admit(&door, SECOND).await.unwrap();
    assert_clear(&door);
}

/// Comes, waits, holds, goes; notes how many hold at once.
async fn visit(
    door: ConnectionLimiter,
    number: u64,
    holding: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
) {
    let key = Key::new(&*format!("u{}", number % 5), &*format!("d{}", number % 3));
    let priority = match number % 4 {
        0 => Priority::High,
        1 => Priority::Medium,
        _ => Priority::Low,
    };
    sleep(Duration::from_millis(number * 7 % 50)).await;
    let deadline = Instant::now() + Duration::from_millis(20 + number * 13 % 300);
    if let Ok(_permit) = door.admit(key, priority, deadline).await {
        most.fetch_max(holding.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _hold = Hold(holding);
        sleep(Duration::from_millis(1 + number * 11 % 40)).await;
    }
}

/// Counts down however its task ends. Dropped before the permit.
struct Hold(Arc<AtomicU32>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Hundreds of tasks, some aborted at whatever point they have reached.
async fn crowd(tasks: u64) {
    let door = door(Caps {
        total: 7,
        per_user: Some(3),
        per_database: Some(4),
    });
    let (holding, most) = (Arc::default(), Arc::<AtomicU32>::default());
    let mut set = JoinSet::new();
    let mut aborts = Vec::new();
    for number in 0..tasks {
        let visit = visit(
            door.clone(),
            number,
            Arc::clone(&holding),
            Arc::clone(&most),
        );
        let handle = set.spawn(visit);
        if number % 3 == 0 {
            aborts.push((number, handle));
        }
    }
    for (number, handle) in aborts {
        if number % 9 == 0 {
            sleep(Duration::from_millis(2)).await;
        }
        handle.abort();
    }
    while set.join_next().await.is_some() {}
    assert!((1..=7).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(holding.load(Ordering::SeqCst), 0);
    assert_clear(&door);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_leaves_nothing_behind() {
    crowd(600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_does_one_on_several_threads() {
    crowd(600).await;
}

#[derive(Debug, Clone)]
enum Act {
    Come,
    Poll(prop::sample::Index),
    DropFuture(prop::sample::Index),
    DropPermit(prop::sample::Index),
    Resize(u32),
}

fn act() -> impl Strategy<Value = Act> {
    use prop::sample::Index;
    prop_oneof![
        4 => Just(Act::Come),
        6 => any::<Index>().prop_map(Act::Poll),
        2 => any::<Index>().prop_map(Act::DropFuture),
        3 => any::<Index>().prop_map(Act::DropPermit),
        1 => (0_u32..4).prop_map(Act::Resize),
    ]
}

proptest! {
    /// Polls and drops by hand: every interleaving of one thread is reached,
    /// a drop before the first poll and between grant and wakeup among them.
    #[test]
    fn futures_dropped_at_any_point_lose_nothing(acts in prop::collection::vec(act(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let _context = runtime.enter();
        let door = gatekeeper(2);
        let mut futures = Vec::new();
        let mut permits = Vec::new();
        for act in acts {
            match act {
                Act::Come => futures.push(Box::pin(admit(&door, SECOND))),
                Act::Poll(index) if !futures.is_empty() => {
                    let at = index.index(futures.len());
                    if let Poll::Ready(outcome) = poll(futures[at].as_mut()) {
                        drop(futures.swap_remove(at));
                        permits.push(outcome.unwrap());
                    }
                }
                Act::DropFuture(index) if !futures.is_empty() => {
                    drop(futures.swap_remove(index.index(futures.len())));
                }
                Act::DropPermit(index) if !permits.is_empty() => {
                    drop(permits.swap_remove(index.index(permits.len())));
                }
                Act::Resize(total) => door.resize(Caps { total, ..door.snapshot().caps }),
                _ => {}
            }
            prop_assert!(permits.len() <= door.snapshot().in_use as usize);
        }
        drop(futures);
        prop_assert_eq!(door.snapshot().in_use as usize, permits.len());
        drop(permits);
        assert_clear(&door);
    }
}
