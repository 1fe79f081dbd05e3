//! Procedural languages, whose packages have to be installed. Not among the tests of
//! `cargo test`: `make test-languages` runs those of the room `languages` here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where it stopped"
)]
#![allow(dead_code, reason = "tools are shared with tests/it")]

#[path = "../it/census.rs"]
mod census;
mod languages;
#[path = "../it/observed.rs"]
mod observed;
#[path = "../it/pooling/mod.rs"]
mod pooling;
#[path = "../it/scripted.rs"]
mod scripted;
#[path = "../it/support/mod.rs"]
mod support;

async fn servers() -> Vec<&'static support::Postgres> {
    vec![support::Postgres::shared().await]
}
