//! The promises of pgsluice, tested from the outside: the real binary, a real
//! Postgres, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where it stopped"
)]

mod behind_pgbouncer;
mod cancel;
mod held;
mod passthrough;
mod support;
mod versions;
