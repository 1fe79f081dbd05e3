//! Endurance: what takes a minute or a gigabyte. Not among the tests of `cargo test`:
//! run it with `make endurance`, on a machine that has nothing else to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where it stopped"
)]
#![allow(dead_code, reason = "tools are shared with tests/it")]

mod gigabyte;
mod long;
#[path = "../it/observed.rs"]
mod observed;
#[path = "../it/scripted.rs"]
mod scripted;
#[path = "../it/support/mod.rs"]
mod support;
