//! What the tests are made with: servers, proxies, clients, and patience.

#![allow(
    dead_code,
    reason = "a toolbox is not emptied by every test that opens it"
)]

pub(crate) mod certs;
pub(crate) mod frontend;
pub(crate) mod libpq;
pub(crate) mod methods;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod psql;
pub(crate) mod raw_client;
pub(crate) mod scripted;
pub(crate) mod tls_servers;
pub(crate) mod wait;

pub(crate) use postgres::Postgres;
pub(crate) use proxy::Proxy;
pub(crate) use raw_client::RawClient;
