//! What clients are told at their logins.

use super::*;
use crate::pool::greeting::LoginGreeting;

async fn introduce(pool: &Arc<Pool>, client: u64, holder: &Arc<IdleHold>) -> LoginGreeting {
    let deadline = Instant::now() + LONG;
    let introduced = pool.introduce(CheckoutRequest::new(client), holder, deadline);
    introduced.await.unwrap()
}

/// Goal: who waits for a connection of its own is told of that one, and no other is
/// opened for it, though openers of others and clients elsewhere come to an end meanwhile.
#[tokio::test]
async fn a_newcomer_asks_for_one_connection_and_waits_for_it() {
    for size in [2, 5] {
        let stand = Stand::new(9);
        let pool = stand.pool("d", size);
        let holders = [(); 2].map(|()| Arc::<IdleHold>::default());
        let first = introduce(&pool, 1, &holders[0]).await;
        let closed = stand.server.door.lock().await;
        let (second, ()) = tokio::join!(introduce(&pool, 2, &holders[1]), async {
            let live = || stand.server.live.load(Ordering::SeqCst);
            until(|| live() == 2).await;
            for _ in 0..3 {
                pool.opener_ended();
                tokio::task::yield_now().await;
            }
            drop(closed);
        });
        assert_ne!(first.pid, second.pid, "{size}");
        assert_eq!(stand.logins(), 2, "{size}");
        assert_eq!(stand.server.most.load(Ordering::SeqCst), 2, "{size}");
    }
}
