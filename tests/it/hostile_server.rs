//! Servers that say more than the proxy could bear: nothing of it is kept beyond bounds.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::observed::peak;
use crate::support::frontend::{self, message};
use crate::support::postgres::DATABASE;
use crate::support::raw_client::{ErrorFields, Gs2, tags};
use crate::support::scripted::{Connection, Scripted, authentication, reported, welcome};
use crate::support::{Postgres, Proxy};

/// Far more than any of these tests may cost.
const FLOOD: usize = 64 << 20;
/// What one of them may: buffers, and what a login may say.
const MOST: u64 = 16 << 20;

/// ParameterStatus messages of ever new names, about a mebibyte; `size` of each value.
fn reports(first: u32, size: usize) -> Vec<u8> {
    let value = "x".repeat(size);
    let count = u32::try_from((1 << 20) / (size + 16)).unwrap();
    let report = |n| message(b'S', format!("n{n:09}\0{value}\0").as_bytes());
    (first..first + count).flat_map(report).collect()
}

/// A server that goes on and on with `chunk` once a login has succeeded.
async fn endless(chunk: Vec<u8>) -> Scripted {
    let chunk = Arc::new(chunk);
    Scripted::start(move |connection: Connection| {
        let chunk = Arc::clone(&chunk);
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(authentication(0, &[])).await;
            for _ in 0..FLOOD / chunk.len() {
                server.send(&*chunk).await;
            }
            server.rest().await;
        }
    })
    .await
}

/// Keys of each way to log in.
fn ways() -> [String; 4] {
    let held =
        "auth.mode = 'held'\n[[users]]\nname = 'app'\nauth = 'trust'\nupstream_password = 'x'";
    let pooled = "pooling.pool_mode = 'transaction'";
    [
        String::new(),
        pooled.to_owned(),
        held.to_owned(),
        format!("{pooled}\n{held}"),
    ]
}

async fn refused_by(proxy: &Proxy) -> ErrorFields {
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", "app"), ("database", DATABASE)])
        .await;
    client
        .finish_login("", &Gs2::Unsupported)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_server_that_talks_without_end_in_a_login_is_cut_off() {
    let notice = message(
        b'N',
        format!("SNOTICE\0M{}\0\0", "x".repeat(1000)).as_bytes(),
    );
    for chunk in [reports(0, 1000), reports(0, 0), notice.repeat(1000)] {
        let server = endless(chunk).await;
        for way in ways() {
            let builder = Proxy::new(Postgres::shared().await).toml(&server.toml());
            let builder = builder.toml("upstreams.cluster.connect_timeout = '3s'");
            let proxy = builder.toml(&way).toml("limits.query_wait_timeout = '1s'");
            let proxy = proxy.start().await;
            let before = peak(&proxy);
            let error = refused_by(&proxy).await;
            assert_eq!(error[&'C'], "57P03", "{way} {error:?}");
            let grown = peak(&proxy) - before;
            assert!(grown < MOST, "{way} {grown} bytes");
        }
    }
}

/// Goal: in a session the client gets all of it, and nothing is kept of what is too much:
/// the connection is for nobody else.
#[tokio::test]
async fn a_server_that_reports_settings_without_end_in_a_session_is_not_remembered() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let server = Scripted::start(move |connection: Connection| {
        let sender = sender.clone();
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(welcome(7, b"1234")).await;
            server.message().await;
            for turn in 0..16 {
                server.send(reports(turn * 100_000, 1000)).await;
            }
            let done = [message(b'C', b"SELECT 0\0"), message(b'Z', b"I")];
            server.send(done.concat()).await;
            server.rest().await;
            sender.send(()).unwrap();
        }
    });
    let server = server.await;
    for way in [
        "",
        "auth.mode = 'held'\n[[users]]\nname = 'app'\nauth = 'trust'",
    ] {
        let builder = Proxy::new(Postgres::shared().await).toml(&server.toml());
        let pooled = "pooling.pool_mode = 'transaction'\npooling.scrub = 'never'";
        let proxy = builder.toml(pooled).toml(way).start().await;
        let mut client = proxy.raw().await;
        client.login("app", "", DATABASE).await;
        let before = peak(&proxy);
        let answer = client.query("begin; commit").await;
        assert!(answer.len() > 16_000, "{}", answer.len());
        assert!(tags(&answer).ends_with("SCZ"));
        client.send(frontend::terminate()).await;
        reported(&mut closed).await;
        let grown = peak(&proxy) - before;
        assert!(grown < MOST, "{way} {grown} bytes");
    }
}

/// Goal: on the shelf a connection that begins a message of a gigabyte is closed, not read.
#[tokio::test]
async fn what_a_server_says_to_nobody_is_not_gathered() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let server = Scripted::start(move |connection: Connection| {
        let sender = sender.clone();
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(welcome(7, b"1234")).await;
            server.send(b"N\x3f\xff\xff\xff").await;
            for _ in 0..FLOOD >> 20 {
                server.send(vec![b'x'; 1 << 20]).await;
            }
            server.rest().await;
            let _ = sender.send(());
        }
    });
    let server = server.await;
    let held = "auth.mode = 'held'\n[[users]]\nname = 'app'\nauth = 'trust'";
    let builder = Proxy::new(Postgres::shared().await).toml(&server.toml());
    let builder = builder.toml("pooling.pool_mode = 'transaction'").toml(held);
    let proxy = builder
        .toml("limits.query_wait_timeout = '1s'")
        .start()
        .await;
    let before = peak(&proxy);
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", "app"), ("database", DATABASE)])
        .await;
    reported(&mut closed).await;
    let grown = peak(&proxy) - before;
    assert!(grown < MOST, "{grown} bytes");
}
