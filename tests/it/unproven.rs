//! Passthrough: clients that begin a login and do not complete it.

use crate::observed::{ADMIN, Metrics, WAITING};
use crate::support::raw_client::error_fields;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy};

/// Goal: who has proven nothing takes no more than a share of the places from those who
/// have, and keeps none of it from those who come after.
/// Method: a pool that has all six places, twenty clients that stop after their startup
/// packet, and one behind them that does not.
#[tokio::test]
async fn clients_that_stop_in_their_logins_neither_starve_others_nor_lock_them_out() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let builder = Proxy::new(postgres).toml(ADMIN);
    let proxy = builder
        .toml("limits.max_upstream_conn = 6\npooling.pool_mode = 'transaction'")
        .start()
        .await;
    let metrics = Metrics::of(&proxy);
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(proxy.raw_session(&database).await);
    }
    assert_eq!(postgres.sessions(&database).await, 6);
    let user = postgres.app.user;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut client = proxy.raw().await;
        client
            .startup(&[("user", user), ("database", &database)])
            .await;
        silent.push(client);
    }
    wait::until(PATIENCE, "most of them wait", async || {
        metrics.get(WAITING).await >= 18.0
    })
    .await;
    let mut newcomer = Box::pin(proxy.raw_session(&database));
    let mut least = 6;
    let mut newcomer = loop {
        tokio::select! {
            newcomer = &mut newcomer => break newcomer,
            left = postgres.sessions(&database) => least = left.min(least),
        }
    };
    assert!(least >= 4, "{least} of six connections were left");
    for client in clients.iter_mut().chain([&mut newcomer]) {
        assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    }
    let (tag, _) = silent[0].read_message().await;
    assert_eq!(tag, b'R');
    let (_, body) = silent[0].read_message().await;
    let error = error_fields(&body);
    assert_eq!(
        (&*error[&'C'], &*error[&'S']),
        ("53300", "FATAL"),
        "{error:?}"
    );
    assert!(error[&'M'].contains("unanswered"), "{error:?}");
}
