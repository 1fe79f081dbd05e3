//! Real servers to test against: one that the tests of a run share, and private
//! ones for tests that need something special or do harm.

#[path = "../../../src/demo/cluster/mod.rs"]
mod cluster;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) use cluster::certificate::{Authority, Identity, server_certificate};
pub(crate) use cluster::{Account, Cluster, ClusterOptions, DATABASE};

use super::frontend;
use super::raw_client::RawClient;
use super::wait::{self, PATIENCE};

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

/// Names must not meet in the shared cluster.
static COUNTER: AtomicU32 = AtomicU32::new(1);

/// How a server is stopped, by the signal for it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Waits for sessions to end.
    Smart,
    /// Ends sessions: 57P01.
    Fast,
    /// Drops everything, as a crash does.
    Immediate,
}

/// A running server; gone when dropped, and when the tests are killed.
#[derive(Debug)]
pub(crate) struct Postgres(Cluster);

impl Deref for Postgres {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Postgres {
    /// The server that all tests of a run share. Leave it as it was found: work
    /// in a database of your own, and change nothing that is global.
    pub(crate) async fn shared() -> &'static Self {
        SHARED
            .get_or_init(|| async {
                // Tests that count connections bring their own server or limit.
                let builder = Self::builder().setting("max_connections", "300");
                builder.setting("wal_level", "logical").start().await
            })
            .await
    }

    /// A server of its own for one test. `PGSLUICE_TEST_PG_BIN` names the
    /// programs of another version than the newest.
    pub(crate) fn builder() -> PostgresBuilder {
        PostgresBuilder(ClusterOptions {
            bin_dir: std::env::var_os("PGSLUICE_TEST_PG_BIN").map(PathBuf::from),
            ..ClusterOptions::default()
        })
    }

    /// A new, empty database that belongs to the role `app`.
    pub(crate) async fn create_database(&self) -> String {
        let name = unique("test");
        let sql = format!("create database {name} owner {}", self.app.user);
        self.execute(&sql).await;
        name
    }

    /// A new role with `options` such as `superuser` or `connection limit 3`;
    /// gives its name and password.
    pub(crate) async fn create_role(&self, options: &str) -> (String, String) {
        let (name, password) = (unique("role"), unique("password"));
        self.execute(&format!(
            "create role {name} login password '{password}' {options}"
        ))
        .await;
        (name, password)
    }

    /// Fails without one of these extensions: what was not tried has not passed.
    pub(crate) async fn has_extensions(&self, names: &[&str]) {
        let client = self.superuser("postgres").await;
        let sql = "select name from unnest($1::text[]) as name \
                   where name not in (select name from pg_available_extensions)";
        let missing = client.query(sql, &[&names]).await.unwrap();
        let missing: Vec<String> = missing.iter().map(|row| row.get(0)).collect();
        assert!(
            missing.is_empty(),
            "the server lacks the extensions {missing:?}: scripts/install-deps base languages \
             installs those of the system's server"
        );
    }

    /// Runs SQL as the superuser in the database `postgres`.
    pub(crate) async fn execute(&self, sql: &str) {
        let client = self.superuser("postgres").await;
        client.batch_execute(sql).await.unwrap();
    }

    /// Logs in as the superuser, past everything that a test is about.
    pub(crate) async fn superuser(&self, database: &str) -> Client {
        self.local_login(&self.superuser, database).await
    }

    /// Logs in as `app` through the server's own socket.
    pub(crate) async fn local(&self, database: &str) -> Client {
        self.local_login(&self.app, database).await
    }

    async fn local_login(&self, account: &Account, database: &str) -> Client {
        let mut config = Config::new();
        config
            .host_path(self.dir())
            .port(self.port())
            .user(account.user)
            .password(&account.password)
            .dbname(database);
        login(&config).await
    }

    /// Number of client connections to `database` that the server knows of.
    pub(crate) async fn sessions(&self, database: &str) -> i64 {
        let client = self.superuser("postgres").await;
        let sql = "select count(*) from pg_stat_activity \
                   where backend_type = 'client backend' and datname = $1";
        client.query_one(sql, &[&database]).await.unwrap().get(0)
    }

    /// Ends all connections to `database` as an administrator does: 57P01.
    pub(crate) async fn terminate_sessions(&self, database: &str) {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
        let client = self.superuser("postgres").await;
        client.execute(sql, &[&database]).await.unwrap();
    }

    /// A connection through the server's own socket, before its startup packet.
    pub(crate) async fn raw_unix(&self) -> RawClient<UnixStream> {
        RawClient::connect_unix(&self.socket_file()).await
    }

    /// A verified TLS connection, before its startup packet.
    pub(crate) async fn raw_tls(&self) -> RawClient<TlsStream<TcpStream>> {
        RawClient::over(self.secure(&self.host_name).await.unwrap())
    }

    /// Asks for TLS and shakes hands with a server that has to be `server_name`.
    pub(crate) async fn secure(&self, server_name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut client = RawClient::connect(([127, 0, 0, 1], self.port()).into()).await;
        client.send(frontend::ssl_request()).await;
        assert_eq!(client.read_byte().await, b'S');
        let name = ServerName::try_from(server_name.to_owned()).unwrap();
        let connector = TlsConnector::from(trusting(&self.ca_file()));
        connector.connect(name, client.into_inner()).await
    }

    /// Stops the server and waits for its end; the directory stays.
    pub(crate) async fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Smart => "TERM",
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        self.0.order(&format!("stop {signal}")).unwrap();
        wait::until(PATIENCE, "the server stops", async || self.has_exited()).await;
    }

    /// Starts a stopped server again, on the same port.
    pub(crate) async fn start_again(&mut self) {
        self.0.start_server().await.unwrap();
    }

    pub(crate) async fn close(self) {
        self.0.close().await.unwrap();
    }
}

/// A server that is not running yet.
#[derive(Clone)]
pub(crate) struct PostgresBuilder(ClusterOptions);

impl PostgresBuilder {
    /// One setting of `postgresql.conf`. A relative path starts at the data
    /// directory, so the cluster's own CA is `../ca.crt`.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.0.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One line of `pg_hba.conf`, before the usual ones.
    pub(crate) fn hba(mut self, line: &str) -> Self {
        self.0.hba.push(line.to_owned());
        self
    }

    /// The name in the server's certificate.
    pub(crate) fn host_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.0.host_name);
        self
    }

    /// Certificates in place of the generated ones.
    pub(crate) fn identity(mut self, identity: Identity) -> Self {
        self.0.identity = Some(identity);
        self
    }

    /// Certificates in place of the generated ones, from PEM files.
    pub(crate) fn identity_files(self, ca: &Path, certificate: &Path, key: &Path) -> Self {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        self.identity(Identity {
            ca: read(ca),
            certificate: read(certificate),
            key: read(key),
        })
    }

    /// The server programs to use.
    pub(crate) fn bin_dir(mut self, dir: &Path) -> Self {
        self.0.bin_dir = Some(dir.to_owned());
        self
    }

    pub(crate) async fn start(self) -> Postgres {
        match Cluster::start(self.0).await {
            Ok(cluster) => Postgres(cluster),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until a backend works on a statement; `superuser` is of the same server.
pub(crate) async fn wait_until_active(superuser: &Client, process_id: i32) {
    let sql = "select exists (select from pg_stat_activity where pid = $1 and state = 'active')";
    wait::until(PATIENCE, "the statement runs", async || {
        superuser
            .query_one(sql, &[&process_id])
            .await
            .unwrap()
            .get(0)
    })
    .await;
}

/// Logs in without TLS; the connection is driven in the background.
pub(crate) async fn login(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What a client hashes for channel binding to a server with `identity`'s kind
/// of certificate: one that is signed with SHA-256.
pub(crate) fn server_end_point(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    Sha256::digest(&certificates[0]).to_vec()
}

/// A client's TLS configuration that trusts the CAs of one file.
pub(crate) fn trusting(ca_file: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

fn unique(kind: &str) -> String {
    format!("{kind}_{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}
