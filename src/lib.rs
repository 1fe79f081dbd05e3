//! pgsluice: a local sidecar proxy for Postgres.
//!
//! It listens where the old database was, carries every session over verified
//! TLS to the new one and keeps the number of connections under the cluster's
//! limit. The modules below are in reading order, lowest layer first; a module
//! names only modules of lower layers, and `tests/it/architecture.rs` keeps
//! that true. `docs/internals/architecture.md` is the map.

mod buffers;
mod name;
mod secret;
mod sql;
mod wire;

mod fault;
mod state;

mod database;

mod config;

mod metrics;
mod net;
mod tls;

mod upstream;

mod pool;

mod startup;

mod session;

mod listener;

mod admin;

mod app;

mod toolkit;

mod cli;
mod demo;

#[cfg(test)]
mod tests;

pub use cli::run;
