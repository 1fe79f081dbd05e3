//! Cancel requests on their way while connections change hands.

use super::*;

#[tokio::test]
async fn a_cancel_waits_until_the_clients_own_statements_are_next() {
    let stand = Stand::new(1);
    let pool = stand.pool("d", 1);
    let first = lease(&pool, 1).await.unwrap();
    let key = Arc::clone(&first.key);
    let mut early = Box::pin(key.begin_cancel(1));
    assert!(futures_util::poll!(&mut early).is_pending());
    assert!(key.begin_cancel(2).await.is_none(), "not its connection");
    key.set_own(false);
    assert_eq!(early.await.unwrap().key().pid(), 1);
    key.set_own(true);
    let mut late = Box::pin(key.begin_cancel(1));
    assert!(futures_util::poll!(&mut late).is_pending());
    first.check_in();
    assert!(late.await.is_none(), "it has given it back");
}

#[tokio::test]
async fn a_cancel_on_its_way_keeps_the_connection_from_the_next_client() {
    let stand = Stand::new(1);
    let pool = stand.pool("d", 1);
    let first = lease(&pool, 1).await.unwrap();
    let key = Arc::clone(&first.key);
    assert!(key.begin_cancel_at_once(2).is_none(), "not its connection");
    let guard = key.begin_cancel_at_once(1).unwrap();
    assert_eq!(guard.key().pid(), 1);
    first.check_in();
    assert!(
        key.begin_cancel_at_once(1).is_none(),
        "it has given it back"
    );
    let mut second = Box::pin(lease(&pool, 2));
    assert!(futures_util::poll!(&mut second).is_pending());
    tokio::task::yield_now().await;
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(guard);
    second.await.unwrap().check_in();
    assert_eq!(stand.logins(), 1);
}
