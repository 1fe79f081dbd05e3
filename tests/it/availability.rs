//! Held mode while the server lets nobody in: who comes anew hears of it before a
//! question is asked, who is logged in waits, and both notice when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;

use crate::support::postgres::{DATABASE, Stop};
use crate::support::proxy::ProxyBuilder;
use crate::support::raw_client::{ErrorFields, Gs2, data_row, error_fields};
use crate::support::scripted::{Connection, Scripted, error, welcome};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy, RawClient, frontend};

/// A proxy that pools and lets everybody in as `app`, and soon takes a server for away.
fn impatient(postgres: &Postgres) -> ProxyBuilder {
    let app = &postgres.app;
    Proxy::new(postgres).toml(&format!(
        "auth.mode = 'held'\npooling.pool_mode = 'transaction'\nupstreams.cluster.connect_timeout = '1s'\n\
         [[users]]\nname = '{}'\nauth = 'trust'\nupstream_password = '{}'",
        app.user, app.password
    ))
}

/// What `pg_isready` finds out: sends a startup packet, and looks at the first answer.
/// `None` is accepting.
async fn rejected(proxy: &Proxy) -> Option<ErrorFields> {
    let mut client = proxy.raw().await;
    let app = Postgres::shared().await.app.user;
    client
        .startup(&[("user", app), ("database", DATABASE)])
        .await;
    match client.read_message().await {
        (b'E', body) => Some(error_fields(&body)),
        _ => None,
    }
}

async fn until_rejected(proxy: &Proxy) -> ErrorFields {
    wait::until_some(PATIENCE, "new logins are refused", || rejected(proxy)).await
}

async fn until_accepted(proxy: &Proxy) {
    wait::until(PATIENCE, "new logins are accepted", async || {
        rejected(proxy).await.is_none()
    })
    .await;
}

fn assert_refused_for(error: &ErrorFields, cause: &str) {
    assert_eq!(
        (&*error[&'C'], &*error[&'S']),
        ("57P03", "FATAL"),
        "{error:?}"
    );
    assert!(error[&'M'].starts_with("pgsluice: "), "{error:?}");
    assert!(error[&'M'].contains(cause), "{error:?}");
}

#[tokio::test]
async fn while_the_server_is_away_new_logins_are_refused_and_clients_that_are_in_wait() {
    let mut postgres = Postgres::builder().start().await;
    let proxy = impatient(&postgres).start().await;
    assert!(rejected(&proxy).await.is_none());
    let mut inside = proxy.raw_session(DATABASE).await;
    postgres.stop(Stop::Fast).await;
    inside.send(frontend::query("select 42")).await;
    let error = until_rejected(&proxy).await;
    assert_refused_for(&error, "Connection refused");
    assert!(error[&'D'].contains("let nobody in for"), "{error:?}");
    assert!(
        error[&'H'].contains("Check that the server runs"),
        "{error:?}"
    );
    postgres.start_again().await;
    let answer = inside.read_until_ready().await;
    let row = answer.iter().find(|(tag, _)| *tag == b'D');
    assert_eq!(
        row.map(|(_, body)| data_row(body)),
        Some(vec![Some("42".to_owned())])
    );
    until_accepted(&proxy).await;
    proxy.raw_session(DATABASE).await.query("select 1").await;
}

/// Goal: a login that has begun to wait is not left to `query_wait_timeout` (120 s).
#[tokio::test]
async fn a_login_that_waits_for_a_server_with_the_wrong_tls_hears_of_that() {
    let server = Scripted::start(async |connection: Connection| {
        connection.refuse_tls().await.rest().await;
    });
    let server = server.await;
    let proxy = impatient(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    let mut client: RawClient<TcpStream> = proxy.raw().await;
    let app = &Postgres::shared().await.app;
    client
        .startup(&[("user", app.user), ("database", DATABASE)])
        .await;
    let error = client
        .finish_login("", &Gs2::Unsupported)
        .await
        .unwrap_err();
    assert_refused_for(&error, "the server does not speak TLS on this port");
    assert_refused_for(&until_rejected(&proxy).await, "does not speak TLS");
    proxy
        .wait_for_log(|line| {
            line["message"] == "new logins are refused: the upstream lets nobody in"
        })
        .await;
}

/// Goal: nobody has to log in for it. A probe of the proxy's own sees that a server is
/// starting up, and that it is up.
#[tokio::test]
async fn who_only_asks_whether_the_server_is_ready_hears_the_truth() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let server = Scripted::start(move |connection: Connection| {
        let is_up = Arc::clone(&is_up);
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            let starting = [
                ('S', "FATAL"),
                ('V', "FATAL"),
                ('C', "57P03"),
                ('M', "the database system is starting up"),
            ];
            match is_up.load(Ordering::SeqCst) {
                true => server.send(welcome(7, b"1234")).await,
                false => server.send(error(&starting)).await,
            }
        }
    });
    let server = server.await;
    let proxy = impatient(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    assert_refused_for(
        &until_rejected(&proxy).await,
        "the database system is starting up",
    );
    up.store(true, Ordering::SeqCst);
    until_accepted(&proxy).await;
}
