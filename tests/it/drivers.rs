//! Drivers: tokio-postgres and sqlx do through the proxy what they do without it.

use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use sqlx::postgres::{PgConnectOptions, PgListener, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::support::wait::PATIENCE;
use crate::support::{Postgres, Proxy};

const BIG: usize = 64 << 20;

async fn ground() -> (Proxy, String) {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    (Proxy::new(postgres).start().await, database)
}

async fn tokio_postgres() -> (Proxy, Client) {
    let (proxy, database) = ground().await;
    let client = proxy.connect(&database).await;
    (proxy, client)
}

/// A value in which every shift would show.
fn big_value() -> Vec<u8> {
    let word = |n: u32| n.wrapping_mul(0x9e37_79b9).to_be_bytes();
    (0..u32::try_from(BIG / 4).unwrap())
        .flat_map(word)
        .collect()
}

#[tokio::test]
async fn tokio_postgres_is_told_of_a_wrong_password_by_the_server() {
    let (proxy, database) = ground().await;
    let mut config = proxy.config(&database);
    config.password("wrong");
    let error = config.connect(NoTls).await.err().unwrap();
    assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD), "{error}");
    proxy.connect(&database).await;
}

#[tokio::test]
async fn tokio_postgres_prepares_statements_and_pipelines_them() {
    let (_proxy, client) = tokio_postgres().await;
    let statement = client
        .prepare("select $1::int4 * 2, $2::text")
        .await
        .unwrap();
    let rows = (0..200).map(|n: i32| {
        let (client, statement) = (&client, &statement);
        async move {
            client
                .query_one(statement, &[&n, &"x"])
                .await
                .unwrap()
                .get::<_, i32>(0)
        }
    });
    let doubled = future::join_all(rows).await;
    assert!(doubled.into_iter().eq((0..200).map(|n| n * 2)));
}

#[tokio::test]
async fn tokio_postgres_goes_on_after_an_error_and_a_rollback() {
    let (_proxy, mut client) = tokio_postgres().await;
    client
        .batch_execute("create table t (a int primary key)")
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute("insert into t values (1)", &[])
        .await
        .unwrap();
    let error = transaction
        .execute("insert into t values (1)", &[])
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
    let error = transaction.query("select 1", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    transaction.rollback().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute("insert into t values (2)", &[])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let row = client
        .query_one("select array_agg(a) from t", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, Vec<i32>>(0), [2]);
}

#[tokio::test]
async fn tokio_postgres_copies_in_and_out() {
    let (_proxy, client) = tokio_postgres().await;
    client
        .batch_execute("create table t (a int)")
        .await
        .unwrap();
    let mut sink = pin!(client.copy_in("copy t from stdin").await.unwrap());
    for n in 0..1000 {
        sink.send(Bytes::from(format!("{n}\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 1000);
    let out = client.copy_out("copy t to stdout").await.unwrap();
    let parts: Vec<Bytes> = out.try_collect().await.unwrap();
    assert_eq!(parts.concat().split(|byte| *byte == b'\n').count(), 1001);
    // One that is dropped half-way sends CopyFail.
    let mut dropped = Box::pin(client.copy_in("copy t from stdin").await.unwrap());
    dropped.send(Bytes::from_static(b"1\n")).await.unwrap();
    drop(dropped);
    let row = client
        .query_one("select count(*) from t", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1000);
}

#[tokio::test]
async fn tokio_postgres_cancels_its_own_query_and_no_other() {
    let (proxy, database) = ground().await;
    let (client, bystander) = (
        proxy.connect(&database).await,
        proxy.connect(&database).await,
    );
    let token = client.cancel_token();
    let watcher = Postgres::shared().await.superuser(&database).await;
    let cancel = async {
        let sql =
            "select 1 from pg_stat_activity where datname = $1 and query like 'select pg_sleep%'";
        crate::support::wait::until(PATIENCE, "both run", async || {
            watcher.query(sql, &[&database]).await.unwrap().len() == 2
        })
        .await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (cancelled, undisturbed, ()) = tokio::join!(
        client.batch_execute("select pg_sleep(60)"),
        bystander.batch_execute("select pg_sleep(1)"),
        cancel,
    );
    assert_eq!(
        cancelled.unwrap_err().code(),
        Some(&SqlState::QUERY_CANCELED)
    );
    undisturbed.unwrap();
    client.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn tokio_postgres_is_notified() {
    let (proxy, database) = ground().await;
    let (client, mut connection) = proxy.config(&database).connect(NoTls).await.unwrap();
    let (sender, mut messages) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut stream = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = stream.next().await {
            drop(sender.send(message));
        }
    });
    client.batch_execute("listen news").await.unwrap();
    let other = proxy.connect(&database).await;
    other.batch_execute("notify news, 'hello'").await.unwrap();
    match timeout(PATIENCE, messages.recv()).await.unwrap() {
        Some(AsyncMessage::Notification(news)) => assert_eq!(news.payload(), "hello"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tokio_postgres_carries_64_mib_both_ways() {
    let (_proxy, client) = tokio_postgres().await;
    let value = big_value();
    let row = client
        .query_one("select $1::bytea, length($1)", &[&value])
        .await
        .unwrap();
    assert_eq!(usize::try_from(row.get::<_, i32>(1)).unwrap(), BIG);
    assert!(row.get::<_, &[u8]>(0) == value, "a byte has changed");
}

fn sqlx_options(proxy: &Proxy, database: &str) -> PgConnectOptions {
    let config = proxy.config(database);
    let password = String::from_utf8(config.get_password().unwrap().to_vec()).unwrap();
    let address = proxy.addr();
    let url = format!(
        "postgres://{}@{address}/{database}",
        config.get_user().unwrap()
    );
    PgConnectOptions::from_str(&url)
        .unwrap()
        .password(&password)
}

async fn sqlx() -> (Proxy, PgConnection) {
    let (proxy, database) = ground().await;
    let client = sqlx_options(&proxy, &database).connect().await.unwrap();
    (proxy, client)
}

fn code(error: &sqlx::Error) -> String {
    let error = error
        .as_database_error()
        .unwrap_or_else(|| panic!("{error}"));
    error.code().unwrap().into_owned()
}

#[tokio::test]
async fn sqlx_connects_with_tls_preferred_or_off_and_is_told_of_a_wrong_password() {
    let (proxy, database) = ground().await;
    let options = sqlx_options(&proxy, &database);
    for mode in [PgSslMode::Disable, PgSslMode::Prefer] {
        let client = options.clone().ssl_mode(mode).connect().await.unwrap();
        client.close().await.unwrap();
    }
    let error = options.password("wrong").connect().await.unwrap_err();
    assert_eq!(code(&error), "28P01");
}

#[tokio::test]
async fn sqlx_prepares_statements() {
    let (_proxy, mut client) = sqlx().await;
    for n in 0..200_i32 {
        let query = sqlx::query("select $1 * 2, $2").bind(n).bind("x");
        let row = client.fetch_one(query).await.unwrap();
        assert_eq!(row.get::<i32, _>(0), n * 2);
    }
    client.clear_cached_statements().await.unwrap();
    client.ping().await.unwrap();
}

#[tokio::test]
async fn sqlx_goes_on_after_an_error_and_a_rollback() {
    let (_proxy, mut client) = sqlx().await;
    client
        .execute("create table t (a int primary key)")
        .await
        .unwrap();
    let mut transaction = client.begin().await.unwrap();
    transaction
        .execute("insert into t values (1)")
        .await
        .unwrap();
    let error = transaction
        .execute("insert into t values (1)")
        .await
        .unwrap_err();
    assert_eq!(code(&error), "23505");
    transaction.rollback().await.unwrap();
    let mut transaction = client.begin().await.unwrap();
    transaction
        .execute("insert into t values (2)")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    // Dropped without a word: rolled back before the next statement.
    let mut transaction = client.begin().await.unwrap();
    transaction
        .execute("insert into t values (3)")
        .await
        .unwrap();
    drop(transaction);
    let row = client
        .fetch_one("select array_agg(a) from t")
        .await
        .unwrap();
    assert_eq!(row.get::<Vec<i32>, _>(0), [2]);
}

#[tokio::test]
async fn sqlx_copies_in_and_out() {
    let (_proxy, mut client) = sqlx().await;
    client.execute("create table t (a int)").await.unwrap();
    let mut copy = client.copy_in_raw("copy t from stdin").await.unwrap();
    copy.send(&b"1\n2\n3\n"[..]).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 3);
    let out = client.copy_out_raw("copy t to stdout").await.unwrap();
    let parts: Vec<Bytes> = out.try_collect().await.unwrap();
    assert_eq!(parts.concat(), b"1\n2\n3\n");
}

#[tokio::test]
async fn sqlx_can_be_stopped_by_a_timeout_of_the_server() {
    let (_proxy, mut client) = sqlx().await;
    client
        .execute("set statement_timeout = '100ms'")
        .await
        .unwrap();
    let error = client.execute("select pg_sleep(60)").await.unwrap_err();
    assert_eq!(code(&error), "57014");
    client.ping().await.unwrap();
}

#[tokio::test]
async fn sqlx_pools_connections_and_is_notified() {
    let (proxy, database) = ground().await;
    let options = sqlx::postgres::PgPoolOptions::new()
        .max_connections(3)
        .acquire_timeout(PATIENCE);
    let pool = options
        .connect_with(sqlx_options(&proxy, &database))
        .await
        .unwrap();
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen("news").await.unwrap();
    let queries = (0..50).map(|_| sqlx::query("select pg_notify('news', 'hello')").execute(&pool));
    for sent in future::join_all(queries).await {
        sent.unwrap();
    }
    let news = timeout(Duration::from_secs(5), listener.recv())
        .await
        .unwrap();
    assert_eq!(news.unwrap().payload(), "hello");
}

#[tokio::test]
async fn sqlx_carries_64_mib_both_ways() {
    let (_proxy, mut client) = sqlx().await;
    let value = big_value();
    let query = sqlx::query("select $1, length($1)").bind(&value);
    let row = client.fetch_one(query).await.unwrap();
    assert_eq!(usize::try_from(row.get::<i32, _>(1)).unwrap(), BIG);
    assert!(row.get::<&[u8], _>(0) == value, "a byte has changed");
}
