//! Connections that the server has ended, and who hears of it.

use super::*;

#[tokio::test]
async fn connections_that_the_server_has_closed_are_replaced() {
    let stand = Stand::new(2);
    let pool = stand.pool("d", 2);
    let both = (
        lease(&pool, 1).await.unwrap(),
        lease(&pool, 2).await.unwrap(),
    );
    both.0.check_in();
    both.1.check_in();
    stand.server.news.send_replace(News::Close);
    until(|| stand.server.live.load(Ordering::SeqCst) == 0).await;
    let mut lease = lease(&pool, 3).await.unwrap();
    use_it(&mut lease).await;
    assert_eq!(stand.logins(), 3);
}

#[tokio::test]
async fn the_places_of_connections_that_the_server_has_ended_are_given_back() {
    let stand = Stand::new(2);
    let pool = stand.pool("d", 2);
    lease(&pool, 1).await.unwrap().check_in();
    let farewell = News::Farewell(error("57P01"));
    stand.server.news.send_replace(farewell);
    while stand.pools.inner.state.lock().allocator.limits().in_use() > 0 {
        stand.pools.tick();
        tokio::task::yield_now().await;
    }
    let notice = frame(b'N', b"SNOTICE\0\0");
    let second = lease(&pool, 1).await.unwrap();
    let connection = second.id();
    second.check_in();
    stand.server.news.send_replace(News::Say(notice));
    let idle = || {
        let state = stand.pools.inner.state.lock();
        let tally = state.allocator.tally(pool.number);
        (tally.idle, tally.lent)
    };
    let mut inspected = false;
    while !inspected || idle() != (1, 0) {
        stand.pools.tick();
        inspected |= idle() == (0, 1);
        tokio::task::yield_now().await;
    }
    assert_eq!(lease(&pool, 1).await.unwrap().id(), connection);
}

/// What was not the server's doing is no matter to a client that can go on.
#[tokio::test]
async fn the_client_that_used_a_connection_last_hears_that_the_server_has_ended_it() {
    let fatal = error("57P01");
    let cases = [
        (
            News::Farewell(fatal.clone()),
            Poll::Ready(Some(fatal.clone())),
        ),
        (News::Say(fatal.clone()), Poll::Ready(Some(fatal))),
        (News::Close, Poll::Ready(None)),
        (News::Say(frame(b'A', b"odd")), Poll::Pending),
    ];
    for (news, heard) in cases {
        let stand = Stand::new(1);
        let pool = stand.passthrough("d");
        let (before, last) = (Arc::<IdleHold>::default(), Arc::<IdleHold>::default());
        let mut lease = stand.adopt(&pool, 1).await.unwrap();
        lease.used_by(&before);
        lease.used_by(&last);
        lease.check_in();
        let poll = async |holder: &IdleHold| poll_fn(|cx| Poll::Ready(holder.poll_lost(cx))).await;
        assert_eq!(poll(&last).await, Poll::Pending);
        stand.server.news.send_replace(news.clone());
        while stand.pools.inner.state.lock().allocator.limits().in_use() > 0 {
            stand.pools.tick();
            tokio::task::yield_now().await;
        }
        assert_eq!(poll(&last).await, heard, "{news:?}");
        assert_eq!(poll(&before).await, Poll::Pending, "{news:?}");
    }
}

#[tokio::test]
async fn a_client_that_has_used_another_connection_since_hears_nothing_of_the_first() {
    let stand = Stand::new(2);
    let pools = [stand.passthrough("d"), stand.passthrough("e")];
    let holder = Arc::<IdleHold>::default();
    for pool in &pools {
        let mut lease = stand.adopt(pool, 1).await.unwrap();
        lease.used_by(&holder);
        lease.check_in();
    }
    let [mut first, mut second] = [
        lease(&pools[0], 2).await.unwrap(),
        lease(&pools[1], 2).await.unwrap(),
    ];
    first.lose(Stale::Ended);
    let poll = async || poll_fn(|cx| Poll::Ready(holder.poll_lost(cx))).await;
    assert_eq!(poll().await, Poll::Pending);
    second.lose(Stale::Ended);
    assert_eq!(poll().await, Poll::Ready(None));
}
