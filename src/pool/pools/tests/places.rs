//! Tasks that wait for places, in paused time; above all: what is dropped is given back.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll};

use futures_util::task::noop_waker;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::fault::ClientFacing as _;
use crate::pool::allocator::BlockedBy;
use crate::pool::permit::Refusal;
use crate::wire::sqlstate::SqlState;

const SECOND: Duration = Duration::from_secs(1);

fn pools(total: u32) -> Pools {
    capped(Caps {
        total,
        per_user: None,
        per_database: None,
    })
}

/// Pools of a server that nobody dials.
fn capped(caps: Caps) -> Pools {
    let upstream = upstream_at(PathBuf::from("/nowhere"));
    Pools::new(upstream, caps, None, Handle::current())
}

fn key() -> Key {
    Key::new("sep", "defaultdb")
}

async fn admit(pools: &Pools, patience: Duration) -> Result<Permit, Refusal> {
    let deadline = Instant::now() + patience;
    (pools.admit(key(), (Priority::Medium, true), deadline)).await
}

fn in_use(pools: &Pools) -> u32 {
    pools.inner.state.lock().allocator.limits().in_use()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&noop_waker()))
}

fn assert_clear(pools: &Pools) {
    let state = pools.inner.state.lock();
    let limits = state.allocator.limits();
    assert_eq!((limits.in_use(), limits.waiting()), (0, 0));
    assert!(limits.in_use_by_key().is_empty());
    assert!(state.mailboxes.is_empty());
    assert!(!pools.is_contended());
}

fn resize(pools: &Pools, total: u32) {
    pools.act(|state| {
        let caps = Caps {
            total,
            ..state.allocator.limits().caps()
        };
        state.allocator.resize(caps, Instant::now());
    });
}

#[tokio::test(start_paused = true)]
async fn a_permit_gives_back_on_drop() {
    let pools = pools(1);
    let permit = admit(&pools, SECOND).await.unwrap();
    assert_eq!(in_use(&pools), 1);
    drop(permit);
    assert_clear(&pools);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_a_release() {
    let pools = pools(1);
    let permit = admit(&pools, SECOND).await.unwrap();
    let started = Instant::now();
    let (admitted, ()) = tokio::join!(admit(&pools, 5 * SECOND), async {
        sleep(SECOND).await;
        drop(permit);
    });
    assert_eq!(started.elapsed(), SECOND);
    drop(admitted.unwrap());
    assert_clear(&pools);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_what_it_saw() {
    let pools = pools(1);
    let permit = admit(&pools, SECOND).await.unwrap();
    let (short, long) = tokio::join!(admit(&pools, SECOND), admit(&pools, 2 * SECOND));
    assert_eq!(
        short.unwrap_err(),
        Refusal::TimedOut {
            waited: SECOND,
            blocked_by: BlockedBy::Total,
            in_use: 1,
            waiting: 1,
        }
    );
    assert!(matches!(long, Err(Refusal::TimedOut { waiting: 0, .. })));
    drop(permit);
    assert_clear(&pools);
}

#[test]
fn a_client_is_told_which_cap_to_look_at() {
    for (blocked_by, limit) in [
        (BlockedBy::Total, "limits.max_upstream_conn"),
        (BlockedBy::User, "limits.max_user_connections"),
        (BlockedBy::Database, "limits.max_db_connections"),
    ] {
        let refusal = Refusal::TimedOut {
            waited: SECOND,
            blocked_by,
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
    let pools = pools(1);
    let past = Instant::now();
    sleep(SECOND).await;
    let permit = pools
        .admit(key(), (Priority::Low, true), past)
        .await
        .unwrap();
    let refused = pools.admit(key(), (Priority::High, true), past).await;
    assert!(matches!(refused, Err(Refusal::TimedOut { waited, .. }) if waited.is_zero()));
    drop(permit);
    assert_clear(&pools);
}

#[tokio::test(start_paused = true)]
async fn a_place_granted_to_a_future_that_is_dropped_unread_goes_to_the_next() {
    let pools = pools(1);
    let permit = admit(&pools, SECOND).await.unwrap();
    let mut gone = Box::pin(admit(&pools, SECOND));
    let mut next = Box::pin(admit(&pools, SECOND));
    assert!(poll(gone.as_mut()).is_pending());
    assert!(poll(next.as_mut()).is_pending());
    drop(permit);
    drop(gone);
    let Poll::Ready(Ok(permit)) = poll(next.as_mut()) else {
        panic!("the place was lost");
    };
    drop(permit);
    assert_clear(&pools);
}

#[tokio::test(start_paused = true)]
async fn a_place_granted_in_the_moment_of_the_timeout_counts() {
    let pools = pools(1);
    let permit = admit(&pools, SECOND).await.unwrap();
    let Err(mut waiting) = pools.request_place(&key(), (Priority::Low, true)).unwrap() else {
        panic!("admitted beyond the cap");
    };
    drop(permit);
    let place = waiting.give_up_place().unwrap();
    drop(place);
    drop(waiting);
    assert_clear(&pools);
}

#[tokio::test(start_paused = true)]
async fn closing_refuses_those_who_wait_and_those_who_come() {
    let pools = pools(1);
    let permit = admit(&pools, SECOND).await.unwrap();
    let mut one = Box::pin(admit(&pools, SECOND));
    let mut two = Box::pin(admit(&pools, SECOND));
    assert!(poll(one.as_mut()).is_pending());
    assert!(poll(two.as_mut()).is_pending());
    pools.drain();
    drop(permit);
    assert_eq!(one.await.unwrap_err(), Refusal::Closed);
    drop(two);
    assert_eq!(admit(&pools, SECOND).await.unwrap_err(), Refusal::Closed);
    assert_clear(&pools);
}

#[tokio::test(start_paused = true)]
async fn growing_admits_and_shrinking_waits() {
    let pools = pools(1);
    let first = admit(&pools, SECOND).await.unwrap();
    let mut second = Box::pin(admit(&pools, SECOND));
    assert!(poll(second.as_mut()).is_pending());
    resize(&pools, 2);
    let second = second.await.unwrap();
    resize(&pools, 1);
    assert_eq!(in_use(&pools), 2);
    drop(first);
    assert!(admit(&pools, SECOND).await.is_err());
    drop(second);
    let _ = admit(&pools, SECOND).await.unwrap();
    assert_clear(&pools);
}

#[tokio::test]
async fn the_cap_that_is_reached_is_named_with_those_who_have_the_places() {
    let caps = Caps {
        total: 3,
        per_user: Some(2),
        per_database: None,
    };
    let pools = capped(caps);
    let key = |user: &str| Key::new(user, "shop");
    let mut held = Vec::new();
    for user in ["app", "app", "report"] {
        let admitted = pools.admit(key(user), (Priority::Medium, true), Instant::now());
        held.push(admitted.await.unwrap());
    }
    let wait = pools.wait_of(&key("report"));
    assert_eq!(wait.limit, "limits.max_upstream_conn = 3");
    assert_eq!((wait.in_use, wait.waiting), (3, 0));
    assert_eq!(wait.owners, "shop/app 2, shop/report 1");
    let wait = pools.wait_of(&key("app"));
    assert_eq!(wait.limit, "limits.max_user_connections = 2");
    assert_eq!(wait.in_use, 2);
}

/// Comes, waits, holds, goes; notes how many hold at once.
async fn visit(pools: Pools, number: u64, holding: Arc<AtomicU32>, most: Arc<AtomicU32>) {
    let key = Key::new(&*format!("u{}", number % 5), &*format!("d{}", number % 3));
    let priority = match number % 4 {
        0 => Priority::High,
        1 => Priority::Medium,
        _ => Priority::Low,
    };
    sleep(Duration::from_millis(number * 7 % 50)).await;
    let deadline = Instant::now() + Duration::from_millis(20 + number * 13 % 300);
    if let Ok(_permit) = pools
        .admit(key, (priority, number.is_multiple_of(2)), deadline)
        .await
    {
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
    let pools = capped(Caps {
        total: 7,
        per_user: Some(3),
        per_database: Some(4),
    });
    let (holding, most) = (Arc::default(), Arc::<AtomicU32>::default());
    let mut set = JoinSet::new();
    let mut aborts = Vec::new();
    for number in 0..tasks {
        let visit = visit(
            pools.clone(),
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
    assert_clear(&pools);
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
        let pools = pools(2);
        let mut futures = Vec::new();
        let mut permits = Vec::new();
        for act in acts {
            match act {
                Act::Come => futures.push(Box::pin(admit(&pools, SECOND))),
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
                Act::Resize(total) => resize(&pools, total),
                _ => {}
            }
            prop_assert!(permits.len() <= in_use(&pools) as usize);
        }
        drop(futures);
        prop_assert_eq!(in_use(&pools) as usize, permits.len());
        drop(permits);
        assert_clear(&pools);
    }
}
