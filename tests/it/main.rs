//! The promises of pgsluice, tested from the outside: the real binary, a real
//! Postgres, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where it stopped"
)]

mod caps;
mod carrying;
mod drivers;
mod endurance;
mod lifecycle;
mod observed;
mod scripted;
mod support;
