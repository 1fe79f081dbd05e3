//! Pools: clients share connections, and none of them can tell.

use tokio::net::TcpStream;
use tokio_postgres::Client;
use tokio_rustls::client::TlsStream;

use crate::observed::{ADMIN, Metrics};
use crate::support::proxy::ProxyBuilder;
use crate::support::raw_client::{ErrorFields, Gs2, Message, Session, data_row, first_error, tags};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy, RawClient, frontend};

mod cancelling;
mod deaths;
mod isolation;
pub(crate) mod library;
mod lingering;
mod messages;
mod modes;
mod names;
mod outages;
mod parameters;
mod sharing;
mod statements;
mod timeouts;

/// A client of a pool.
type Pooled = RawClient<TcpStream>;

/// Where the password for the upstream comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auth {
    /// The proxy has it, and logs in itself.
    Held,
    /// Each client has its own; its login is the only way to a connection.
    Passthrough,
}

const BOTH: [Auth; 2] = [Auth::Held, Auth::Passthrough];

/// A proxy that pools, in front of a server, and a database of the test's own.
#[derive(Debug)]
struct Stage<'a> {
    postgres: &'a Postgres,
    proxy: Proxy,
    metrics: Metrics,
    database: String,
}

/// A configuration of pools with `keys` of `[pooling]`.
fn pooling(postgres: &Postgres, auth: Auth, keys: &str) -> ProxyBuilder {
    let builder = Proxy::new(postgres)
        .toml(ADMIN)
        .toml(&format!("[pooling]\npool_mode = 'transaction'\n{keys}"));
    match auth {
        Auth::Passthrough => builder,
        Auth::Held => builder.toml(&format!(
            "auth.mode = 'held'\n{}{}",
            user(postgres.app.user, &postgres.app.password),
            user(postgres.superuser.user, &postgres.superuser.password),
        )),
    }
}

/// Of a client that has the same name and password upstream.
fn user(name: &str, password: &str) -> String {
    format!("[[users]]\nname = '{name}'\nauth = 'scram-sha-256'\npassword = '{password}'\n")
}

impl Stage<'static> {
    /// Pools of `size` connections.
    async fn of(auth: Auth, size: u32) -> Self {
        Self::with(auth, &format!("default_pool_size = {size}")).await
    }

    async fn with(auth: Auth, keys: &str) -> Self {
        let postgres = Postgres::shared().await;
        Self::on(postgres, pooling(postgres, auth, keys)).await
    }
}

impl<'a> Stage<'a> {
    async fn on(postgres: &'a Postgres, builder: ProxyBuilder) -> Self {
        let database = postgres.create_database().await;
        let proxy = builder.start().await;
        let metrics = Metrics::of(&proxy);
        Self {
            postgres,
            proxy,
            metrics,
            database,
        }
    }

    async fn client(&self) -> Pooled {
        self.proxy.raw_session(&self.database).await
    }

    async fn clients(&self, count: usize) -> Vec<Pooled> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(self.client().await);
        }
        clients
    }

    /// A client with these startup parameters, and what its login told it.
    async fn session(&self, parameters: &[(&str, &str)]) -> (Pooled, Session) {
        let app = &self.postgres.app;
        let own = [("user", app.user), ("database", &*self.database)];
        let mut client = self.proxy.raw().await;
        client.startup(&[&own[..], parameters].concat()).await;
        let session = client.finish_login(&app.password, &Gs2::Unsupported).await;
        (client, session.unwrap())
    }

    /// A client, unless its login is refused.
    async fn try_client(&self) -> Result<Pooled, ErrorFields> {
        let app = &self.postgres.app;
        let mut client = self.proxy.raw().await;
        let own = [("user", app.user), ("database", &*self.database)];
        client.startup(&own).await;
        let session = client.finish_login(&app.password, &Gs2::Unsupported).await;
        session.map(|_| client)
    }

    /// As [`Self::session`], without the proxy.
    async fn direct(
        &self,
        parameters: &[(&str, &str)],
    ) -> (RawClient<TlsStream<TcpStream>>, Session) {
        let app = &self.postgres.app;
        let own = [("user", app.user), ("database", &*self.database)];
        let mut client = self.postgres.raw_tls().await;
        client.startup(&[&own[..], parameters].concat()).await;
        let session = client.finish_login(&app.password, &Gs2::Unsupported).await;
        (client, session.unwrap())
    }

    /// A look from beside.
    async fn watcher(&self) -> Client {
        self.postgres.superuser("postgres").await
    }

    /// Connections to the database that the server knows of.
    async fn backends(&self) -> i64 {
        self.postgres.sessions(&self.database).await
    }

    async fn settles_at(&self, backends: i64) {
        wait::until(PATIENCE, &format!("{backends} backends"), async || {
            self.backends().await == backends
        })
        .await;
    }

    /// Waits until `count` clients wait for a connection of the pool.
    async fn waiting(&self, count: f64) {
        self.gauge("pgsluice_pool_waiting_clients", "", count).await;
    }

    /// Waits until `count` connections of the pool are with nobody.
    async fn idle(&self, count: f64) {
        let name = "pgsluice_pool_connections";
        self.gauge(name, ",state=\"idle\"", count).await;
    }

    async fn gauge(&self, name: &str, label: &str, value: f64) {
        let name = format!(
            "{name}{{upstream=\"cluster\",pool=\"{}/{}\"{label}}}",
            self.database, self.postgres.app.user
        );
        wait::until(PATIENCE, &format!("{name} is {value}"), async || {
            self.metrics.get(&name).await == value
        })
        .await;
    }

    /// Waits until `count` backends of the database are in `state`.
    async fn in_state(&self, state: &str, count: i64) {
        let watcher = self.watcher().await;
        let sql = "select count(*) from pg_stat_activity where datname = $1 and state = $2";
        wait::until(PATIENCE, &format!("{count} {state}"), async || {
            let row = watcher.query_one(sql, &[&self.database, &state]).await;
            row.unwrap().get::<_, i64>(0) == count
        })
        .await;
    }
}

/// The values of all rows of an answer; an error's code in their place.
fn said(messages: &[Message]) -> String {
    let mut words = Vec::new();
    for (tag, body) in messages {
        match tag {
            b'D' => words.extend(
                data_row(body)
                    .into_iter()
                    .map(|word| word.unwrap_or_else(|| "null".to_owned())),
            ),
            b'E' => words.push(crate::support::raw_client::error_fields(body)[&'C'].clone()),
            _ => {}
        }
    }
    words.join(" ")
}

async fn ask<S>(client: &mut RawClient<S>, sql: &str) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    said(&client.query(sql).await)
}

/// A client's message, and everything up to ReadyForQuery.
async fn exchange<S>(client: &mut RawClient<S>, messages: &[Vec<u8>]) -> Vec<Message>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    client.send(messages.concat()).await;
    client.read_until_ready().await
}
