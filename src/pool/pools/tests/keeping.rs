//! Clients that keep a connection between two transactions, and what becomes of it when
//! others need one.

use super::*;

async fn asked(holder: &IdleHold) {
    poll_fn(|cx| match holder.poll_wanted(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[tokio::test]
async fn who_keeps_an_idle_connection_is_asked_for_it() {
    let stand = Stand::new(1);
    let pool = stand.pool("d", 1);
    let mut kept = lease(&pool, 1).await.unwrap();
    let holder = Arc::new(IdleHold::default());
    kept.hold(&holder);
    assert!(!holder.is_wanted());
    let (second, ()) = tokio::join!(lease(&pool, 2), async {
        asked(&holder).await;
        kept.refuse(&holder);
        assert!(!holder.is_wanted());
        kept.resume(&holder);
        kept.hold(&holder);
        assert!(holder.is_wanted(), "somebody waits still");
        kept.check_in();
    });
    second.unwrap().check_in();
}

#[tokio::test]
async fn who_waits_is_not_kept_waiting_for_one_that_is_used() {
    let stand = Stand::new(2);
    let pool = stand.pool("d", 2);
    let (mut busy, mut idle) = (
        lease(&pool, 1).await.unwrap(),
        lease(&pool, 2).await.unwrap(),
    );
    let (user, keeper) = (Arc::<IdleHold>::default(), Arc::<IdleHold>::default());
    busy.hold(&user);
    idle.hold(&keeper);
    // Nothing is told to the books.
    busy.resume(&user);
    let (third, ()) = tokio::join!(lease(&pool, 3), async {
        asked(&keeper).await;
        assert!(!user.is_wanted());
        idle.check_in();
    });
    third.unwrap().check_in();
    // From here on it has to tell them again.
    busy.hold(&user);
    assert!(!user.is_wanted());
    let (fourth, fifth) = (lease(&pool, 4).await.unwrap(), lease(&pool, 5));
    let (fifth, ()) = tokio::join!(fifth, async {
        asked(&user).await;
        busy.check_in();
    });
    fifth.unwrap().check_in();
    fourth.check_in();
}

#[tokio::test]
async fn one_that_was_used_a_moment_ago_is_asked_last() {
    let stand = Stand::new(2);
    let pool = stand.pool("d", 2);
    let (mut active, mut idle) = (
        lease(&pool, 1).await.unwrap(),
        lease(&pool, 2).await.unwrap(),
    );
    let (user, keeper) = (Arc::<IdleHold>::default(), Arc::<IdleHold>::default());
    // The first of them has kept its for longer.
    active.hold(&user);
    idle.hold(&keeper);
    active.resume(&user);
    active.hold(&user);
    let (third, ()) = tokio::join!(lease(&pool, 3), async {
        asked(&keeper).await;
        assert!(!user.is_wanted());
        idle.check_in();
    });
    third.unwrap().check_in();
    active.check_in();
}

#[tokio::test]
async fn one_that_is_used_again_while_it_is_asked_for_does_not_keep_who_waits() {
    let stand = Stand::new(2);
    let pool = stand.pool("d", 2);
    let (mut first, mut second) = (
        lease(&pool, 1).await.unwrap(),
        lease(&pool, 2).await.unwrap(),
    );
    let (one, other) = (Arc::<IdleHold>::default(), Arc::<IdleHold>::default());
    first.hold(&one);
    second.hold(&other);
    let (third, ()) = tokio::join!(lease(&pool, 3), async {
        asked(&one).await;
        assert!(!other.is_wanted());
        first.resume(&one);
        asked(&other).await;
        second.check_in();
    });
    third.unwrap().check_in();
    first.check_in();
}

#[tokio::test]
async fn what_lingers_unused_is_asked_for_by_the_clock_and_what_is_used_is_not() {
    let stand = Stand::new(2);
    let pool = stand.pool("d", 2);
    let (mut unused, mut used) = (
        lease(&pool, 1).await.unwrap(),
        lease(&pool, 2).await.unwrap(),
    );
    let (idler, user) = (Arc::<IdleHold>::default(), Arc::<IdleHold>::default());
    idler.set_sticky(true);
    user.set_sticky(true);
    unused.hold(&idler);
    used.hold(&user);
    used.resume(&user);
    used.hold(&user);
    stand.pools.tick();
    assert!(idler.is_wanted() && !user.is_wanted());
    unused.check_in();
    stand.pools.tick();
    assert!(user.is_wanted(), "not used since");
    used.check_in();
    // Whoever keeps its for a reason is left alone.
    let mut kept = lease(&pool, 1).await.unwrap();
    idler.set_sticky(false);
    kept.hold(&idler);
    stand.pools.tick();
    stand.pools.tick();
    assert!(!idler.is_wanted());
    kept.check_in();
}
