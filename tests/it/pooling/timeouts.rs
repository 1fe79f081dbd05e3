//! Limits on what may last, each with its own code.

use super::*;

/// The end of a client that has nothing more to say.
async fn ends_with(client: &mut Pooled, code: &str, setting: &str) {
    let error = first_error(&client.read_until_closed().await);
    assert_eq!((&*error[&'C'], &*error[&'S']), (code, "FATAL"), "{error:?}");
    assert!(error[&'M'].contains(setting), "{error:?}");
}

#[tokio::test]
async fn a_statement_that_lasts_longer_than_query_timeout_ends_its_session() {
    for auth in BOTH {
        let stage = Stage::with(auth, "default_pool_size = 2\nquery_timeout = '300ms'").await;
        let mut other = stage.client().await;
        let mut client = stage.client().await;
        client.send(frontend::query("select pg_sleep(60)")).await;
        ends_with(&mut client, "57014", "query_timeout").await;
        stage.in_state("active", 0).await;
        assert_eq!(ask(&mut other, "select 1").await, "1");
    }
}

#[tokio::test]
async fn a_transaction_that_lasts_longer_than_transaction_timeout_ends_its_session() {
    for auth in BOTH {
        let keys = "default_pool_size = 2\ntransaction_timeout = '300ms'";
        let stage = Stage::with(auth, keys).await;
        let mut other = stage.client().await;
        let mut client = stage.client().await;
        client
            .send(frontend::query("begin; select pg_sleep(60)"))
            .await;
        ends_with(&mut client, "25P04", "transaction_timeout").await;
        stage.in_state("active", 0).await;
        assert_eq!(ask(&mut other, "select 1").await, "1");
    }
}

#[tokio::test]
async fn a_pause_in_a_transaction_longer_than_idle_transaction_timeout_ends_its_session() {
    for auth in BOTH {
        let keys = "default_pool_size = 2\nidle_transaction_timeout = '300ms'";
        let stage = Stage::with(auth, keys).await;
        let mut other = stage.client().await;
        let mut client = stage.client().await;
        assert_eq!(ask(&mut other, "create table t ()").await, "");
        let insert = "begin; insert into t default values";
        assert_eq!(ask(&mut client, insert).await, "");
        ends_with(&mut client, "25P03", "idle_transaction_timeout").await;
        assert_eq!(ask(&mut other, "select count(*) from t").await, "0");
        // Outside of a transaction a pause is no matter.
        stage.in_state("idle in transaction", 0).await;
        assert_eq!(ask(&mut other, "select 1").await, "1");
    }
}

#[tokio::test]
async fn a_client_that_idles_longer_than_client_idle_timeout_ends() {
    for auth in BOTH {
        let keys = "default_pool_size = 1\nclient_idle_timeout = '500ms'";
        let stage = Stage::with(auth, keys).await;
        let mut idle = stage.client().await;
        let mut pinned = stage.client().await;
        assert_eq!(ask(&mut pinned, "create temp table t ()").await, "");
        ends_with(&mut pinned, "57P05", "client_idle_timeout").await;
        ends_with(&mut idle, "57P05", "client_idle_timeout").await;
        // A transaction is no idling.
        let mut busy = stage.client().await;
        assert_eq!(
            ask(&mut busy, "begin; select to_regclass('t') is null").await,
            "t"
        );
        assert_eq!(ask(&mut busy, "select pg_sleep(0.7); commit").await, "");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_for_server_idle_timeout_is_closed() {
    let keys = "default_pool_size = 4\nserver_idle_timeout = '1s'";
    let stage = Stage::with(Auth::Held, keys).await;
    let mut clients = stage.clients(4).await;
    for client in &mut clients {
        assert_eq!(ask(client, "begin").await, "");
    }
    assert_eq!(stage.backends().await, 4);
    for client in &mut clients {
        assert_eq!(ask(client, "commit").await, "");
    }
    stage.settles_at(0).await;
    // Nor does one stay that a client keeps and does not use.
    let sql = "select count(*) from pg_class where false";
    assert_eq!(ask(&mut clients[0], sql).await, "0");
    stage.settles_at(0).await;
    assert_eq!(ask(&mut clients[0], "create temp table t ()").await, "");
    assert_eq!(ask(&mut clients[1], sql).await, "0");
    stage.settles_at(1).await;
    assert_eq!(ask(&mut clients[0], "select count(*) from t").await, "0");
    // Clients without a password upstream keep their last one.
    let stage = Stage::with(Auth::Passthrough, keys).await;
    let mut clients = stage.clients(3).await;
    stage.settles_at(1).await;
    for client in &mut clients {
        assert_eq!(ask(client, "select 1").await, "1");
    }
}

#[tokio::test]
async fn a_connection_older_than_server_lifetime_is_replaced() {
    let keys = "default_pool_size = 1\nserver_lifetime = '1s'";
    let stage = Stage::with(Auth::Held, keys).await;
    let mut client = stage.client().await;
    let own = stage.watcher().await;
    let sql = "select pid from pg_stat_activity where datname = $1";
    assert_eq!(ask(&mut client, "select 1").await, "1");
    let first: i32 = own.query_one(sql, &[&stage.database]).await.unwrap().get(0);
    wait::until(PATIENCE, "another connection", async || {
        assert_eq!(ask(&mut client, "select 1").await, "1");
        let row = own.query_opt(sql, &[&stage.database]).await.unwrap();
        row.is_some_and(|row| row.get::<_, i32>(0) != first)
    })
    .await;
}

#[tokio::test]
async fn a_pool_keeps_min_size_connections_warm() {
    let keys = "default_pool_size = 4\nmin_pool_size = 2\nserver_idle_timeout = '1s'";
    let stage = Stage::with(Auth::Held, keys).await;
    let mut client = stage.client().await;
    stage.settles_at(2).await;
    stage.postgres.terminate_sessions(&stage.database).await;
    wait::until(PATIENCE, "they are back", async || {
        stage.backends().await == 2
    })
    .await;
    assert_eq!(ask(&mut client, "select 1").await, "1");
}
