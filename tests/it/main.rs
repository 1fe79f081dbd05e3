//! The promises of pgsluice, tested from the outside: the real binary, a real
//! Postgres, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where it stopped"
)]

mod admin;
mod architecture;
mod availability;
mod bad_input;
mod cancel;
mod caps;
mod carrying;
mod census;
mod check;
mod client_tls;
mod docs;
mod drivers;
mod held;
mod hostile_server;
mod lifecycle;
mod listening;
mod logging;
mod observed;
mod passthrough;
mod pooling;
mod require_auth;
mod scripted;
mod self_test;
mod session_state;
mod stuck;
mod support;
mod terminal;
mod unproven;
mod upstream_tls;
mod verify;
mod version;
mod versions;

/// What tests about servers run against. `tests/versions` has the same tests, and others
/// to run them against.
async fn servers() -> Vec<&'static support::Postgres> {
    vec![support::Postgres::shared().await]
}

/// Of the damages that `verify` has to find, one in so many is tried here.
const VERIFY_EVERY: usize = 9;

/// The two servers that `verify` compares: nobody else changes what they hold.
async fn verify_servers() -> (support::Postgres, support::Postgres) {
    let start = || verify_server(support::Postgres::builder());
    tokio::join!(start(), start())
}

async fn verify_server(builder: support::postgres::PostgresBuilder) -> support::Postgres {
    // Logins cost more than all else here, and are not what is tested.
    let builder = builder.hba("hostssl all all 127.0.0.1/32 trust");
    builder.setting("max_connections", "60").start().await
}
