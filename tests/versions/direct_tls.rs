//! TLS without a question before it, which servers know from version 17 on.

use crate::servers::{postgres_15, postgres_18};
use crate::support::postgres::DATABASE;
use crate::support::raw_client::first_error;
use crate::support::{Postgres, Proxy};

async fn direct(postgres: &Postgres) -> Proxy {
    let builder = Proxy::new(postgres).toml("upstreams.cluster.sslnegotiation = \"direct\"");
    builder.start().await
}

#[tokio::test]
async fn direct_tls_to_a_server_that_does_not_know_it_names_the_cure() {
    let proxy = direct(postgres_15().await).await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "app")]).await;
    let refused = first_error(&client.read_until_closed().await);
    let said = &refused[&'M'];
    assert!(said.contains("during the direct TLS handshake"), "{said}");
    assert!(refused[&'H'].contains("Postgres 17"), "{refused:?}");
}

#[tokio::test]
async fn direct_tls_carries_sessions_to_a_server_that_knows_it() {
    let proxy = direct(postgres_18().await).await;
    let mut client = proxy.raw_session(DATABASE).await;
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(client.rows(sql).await, [[Some("t".to_owned())]]);
}
