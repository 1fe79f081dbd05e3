//! Servers of other versions than the system's, which `scripts/fetch-postgres` gets with
//! npm. Not among the tests of `cargo test`: run it with `make test-versions`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where it stopped"
)]
#![allow(dead_code, reason = "tools are shared with tests/it")]

mod catalog;
#[path = "../it/census.rs"]
mod census;
mod direct_tls;
mod protocol;
mod servers;
#[path = "../it/session_state.rs"]
mod session_state;
#[path = "../it/support/mod.rs"]
mod support;
#[path = "../it/verify/mod.rs"]
mod verify;
#[path = "../it/versions.rs"]
mod versions;

/// What the tests that are shared with `tests/it` run against.
async fn servers() -> Vec<&'static support::Postgres> {
    vec![servers::postgres_15().await, servers::postgres_18().await]
}

/// All damages that `verify` has to find are tried here.
const VERIFY_EVERY: usize = 1;

/// The two servers that `verify` compares: nobody else changes what they hold.
async fn verify_servers() -> (support::Postgres, support::Postgres) {
    tokio::join!(servers::for_verify(15), servers::for_verify(18))
}
