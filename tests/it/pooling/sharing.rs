//! Few connections for many clients: everybody is served, nobody by another's
//! answer, and never by one connection too many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::*;
use crate::observed::WAITING;

/// Many statements of one client, each with an answer that is nobody else's.
async fn converse(mut client: Pooled, number: usize) {
    for turn in 0..30 {
        let own = format!("{number}/{turn}");
        match turn % 3 {
            0 => assert_eq!(ask(&mut client, &format!("select '{own}'")).await, own),
            1 => {
                let answer = exchange(
                    &mut client,
                    &[frontend::extended_query("select $1::text", &[Some(&own)])],
                )
                .await;
                assert_eq!((&*tags(&answer), said(&answer)), ("12TDCZ", own));
            }
            _ => {
                assert_eq!(ask(&mut client, "begin").await, "");
                let sql = format!("select pg_sleep(0.001), '{own}'");
                assert!(ask(&mut client, &sql).await.ends_with(&own));
                assert_eq!(ask(&mut client, "commit").await, "");
            }
        }
    }
}

/// Goal: many clients share few connections, and each gets its own answers.
/// Method: the text of each answer says whose it is; `pg_stat_activity` is read
/// all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_beyond_the_pool_get_their_own_answers_over_no_more_connections_than_its_size() {
    for auth in BOTH {
        let stage = Stage::of(auth, 3).await;
        let clients = stage.clients(20).await;
        stage.settles_at(3).await;
        let over = Arc::new(AtomicBool::new(false));
        let (done, database) = (Arc::clone(&over), stage.database.clone());
        let watcher = stage.watcher().await;
        let most = tokio::spawn(async move {
            let sql = "select count(*) from pg_stat_activity where datname = $1 and backend_type = 'client backend'";
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                let row = watcher.query_one(sql, &[&database]).await.unwrap();
                most = most.max(row.get::<_, i64>(0));
            }
            most
        });
        let talks = clients.into_iter().enumerate();
        let talks: Vec<_> = talks
            .map(|(number, client)| tokio::spawn(converse(client, number)))
            .collect();
        for talk in join_all(talks).await {
            talk.unwrap();
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(most.await.unwrap(), 3, "{auth:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_pools_together_stay_under_the_cap_and_close_idle_connections_for_each_other() {
    let postgres = Postgres::shared().await;
    let builder = pooling(postgres, Auth::Held, "default_pool_size = 3")
        .toml("[limits]\nmax_upstream_conn = 4");
    let stage = Stage::on(postgres, builder).await;
    let mut databases = vec![stage.database.clone()];
    for _ in 0..3 {
        databases.push(postgres.create_database().await);
    }
    // Idle connections of a pool are in the way of those of the next.
    for database in databases.iter().cycle().take(12) {
        let mut transactions = Vec::new();
        for _ in 0..3 {
            let mut client = stage.proxy.raw_session(database).await;
            assert_eq!(
                ask(&mut client, "begin; select current_database()").await,
                *database
            );
            transactions.push(client);
        }
    }
    let talks = (0..24).map(|number| {
        let client = stage
            .proxy
            .raw_session(&databases[number % databases.len()]);
        async move { converse(client.await, number).await }
    });
    let over = AtomicBool::new(false);
    let watch = async {
        let watcher = stage.watcher().await;
        let sql = "select count(*) from pg_stat_activity where datname = any($1) and backend_type = 'client backend'";
        let mut most = 0;
        while !over.load(Ordering::Relaxed) {
            let row = watcher.query_one(sql, &[&databases]).await.unwrap();
            most = most.max(row.get::<_, i64>(0));
        }
        most
    };
    let talking = async {
        join_all(talks).await;
        over.store(true, Ordering::Relaxed);
    };
    let (most, ()) = tokio::join!(watch, talking);
    assert_eq!(most, 4);
}

/// One connection at most; the role `app` has low priority, the superuser high.
async fn unequal() -> Stage<'static> {
    let postgres = Postgres::shared().await;
    let (low, high) = (&postgres.app, &postgres.superuser);
    let builder = Proxy::new(postgres).toml(ADMIN).toml(&format!(
        "auth.mode = 'held'\nlimits.max_upstream_conn = 1\n\
         [pooling]\npool_mode = 'transaction'\ndefault_pool_size = 1\n\
         {}priority = 'low'\n{}priority = 'high'",
        user(low.user, &low.password),
        user(high.user, &high.password),
    ));
    Stage::on(postgres, builder).await
}

#[tokio::test]
async fn at_the_cap_a_client_of_high_priority_goes_first_and_one_of_low_priority_after_it() {
    let stage = unequal().await;
    let postgres = stage.postgres;
    let other = postgres.create_database().await;
    let mut holder = stage.client().await;
    assert_eq!(ask(&mut holder, "begin").await, "");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut logins = Vec::new();
    for (number, account) in [&postgres.app, &postgres.superuser].into_iter().enumerate() {
        let (order, database) = (Arc::clone(&order), other.clone());
        let mut client = stage.proxy.raw().await;
        logins.push(tokio::spawn(async move {
            client
                .login(account.user, &account.password, &database)
                .await;
            order.lock().unwrap().push(account.user);
        }));
        wait::until(PATIENCE, "both wait", async || {
            stage.metrics.get(WAITING).await == (number + 1) as f64
        })
        .await;
    }
    assert_eq!(ask(&mut holder, "commit").await, "");
    for login in logins {
        login.await.unwrap();
    }
    let users = [postgres.superuser.user, postgres.app.user];
    assert_eq!(*order.lock().unwrap(), users);
}

#[tokio::test]
async fn a_client_of_low_priority_is_served_while_those_of_high_priority_never_stop() {
    let stage = unequal().await;
    let high = &stage.postgres.superuser;
    let over = AtomicBool::new(false);
    let pressing = (0..4).map(|_| async {
        let mut client = stage.proxy.raw().await;
        client
            .login(high.user, &high.password, &stage.database)
            .await;
        while !over.load(Ordering::Relaxed) {
            assert_eq!(ask(&mut client, "select 1").await, "1");
        }
    });
    let patient = async {
        let mut client = stage.client().await;
        for _ in 0..5 {
            assert_eq!(ask(&mut client, "select 2").await, "2");
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all(pressing), patient);
}

#[tokio::test]
async fn clients_with_wrong_passwords_are_refused_and_those_with_right_ones_share() {
    let stage = Stage::of(Auth::Passthrough, 3).await;
    let app = &stage.postgres.app;
    let file = std::fs::read_to_string(stage.proxy.dir().join("proxy.toml")).unwrap();
    assert!(!file.contains(&app.password), "{file}");
    for _ in 0..10 {
        let mut client = stage.proxy.raw().await;
        client
            .startup(&[("user", app.user), ("database", &stage.database)])
            .await;
        let login = client.finish_login("wrong", &Gs2::Unsupported).await;
        assert_eq!(login.unwrap_err()[&'C'], "28P01");
    }
    let mut clients = stage.clients(10).await;
    stage.settles_at(3).await;
    // Nor does a pool with room let anybody in.
    let mut client = stage.proxy.raw().await;
    client
        .startup(&[("user", app.user), ("database", &stage.database)])
        .await;
    let login = client.finish_login("wrong", &Gs2::Unsupported).await;
    assert_eq!(login.unwrap_err()[&'C'], "28P01");
    for (number, client) in clients.iter_mut().enumerate() {
        let sql = format!("begin; select {number}; commit");
        assert_eq!(ask(client, &sql).await, number.to_string());
    }
    stage.settles_at(3).await;
}

#[tokio::test]
async fn a_client_that_waits_is_served_when_a_transaction_ends_and_not_before() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let [mut first, mut second, mut third] =
            <[Pooled; 3]>::try_from(stage.clients(3).await).unwrap();
        assert_eq!(ask(&mut first, "begin; select 1").await, "1");
        second.send(frontend::query("select 2")).await;
        stage.waiting(1.0).await;
        third.send(frontend::query("select 3")).await;
        stage.waiting(2.0).await;
        assert_eq!(ask(&mut first, "select 1").await, "1");
        stage.waiting(2.0).await;
        assert_eq!(ask(&mut first, "commit").await, "");
        assert_eq!(said(&second.read_until_ready().await), "2");
        assert_eq!(said(&third.read_until_ready().await), "3");
        assert_eq!(stage.backends().await, 1);
    }
}

/// A server carries out what it has received, whether or not anybody is there to
/// be told.
#[tokio::test]
async fn the_statement_of_a_client_that_hung_up_while_it_waited_is_carried_out() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let [mut first, mut second, mut third] =
            <[Pooled; 3]>::try_from(stage.clients(3).await).unwrap();
        assert_eq!(ask(&mut first, "begin").await, "");
        second
            .send(frontend::query("create table left_behind ()"))
            .await;
        second.send(frontend::terminate()).await;
        stage.waiting(1.0).await;
        drop(second);
        assert_eq!(ask(&mut first, "commit").await, "");
        // Whose turn is first among the two is not told.
        wait::until(PATIENCE, "it was carried out", async || {
            ask(&mut third, "select to_regclass('left_behind')").await == "left_behind"
        })
        .await;
    }
}
