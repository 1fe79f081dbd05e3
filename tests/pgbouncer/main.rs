//! Behind PgBouncer, which has to be installed. Not among the tests of `cargo test`: run
//! it with `make test-pgbouncer`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where it stopped"
)]
#![allow(dead_code, reason = "tools are shared with tests/it")]

mod behind;
#[path = "../it/support/mod.rs"]
mod support;
