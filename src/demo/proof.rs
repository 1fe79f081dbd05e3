//! The proof that a session went through the proxy, encrypted, to a server that
//! showed who it is. Each fact is asked of whoever can know it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio_postgres::{Config, NoTls, Row};

use super::cluster::{Cluster, DATABASE};
use super::{DemoProxy, TlsFacts};

/// Everything is on this machine; what takes longer hangs.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

const FIRST_QUERY: &str = "select current_user::text, current_database()::text, \
     inet_server_port(), current_setting('server_version'), \
     ssl, coalesce(version, ''), coalesce(cipher, '') \
     from pg_stat_ssl where pid = pg_backend_pid()";

/// What was found out.
pub(crate) struct Proof {
    user: String,
    database: String,
    server_version: String,
    /// Of the session that carried the first query, from the server's own view.
    tls_version: String,
    cipher: String,
    /// Of a handshake that the proxy made in the same way.
    proxy_side: TlsFacts,
    /// What the proxy says when the server should be somebody else.
    wrong_name: String,
    /// What the server says to a client without TLS.
    plaintext: String,
}

impl Proof {
    /// Collects the facts; the first that is not as it should be is the error.
    pub(crate) async fn take(cluster: &Cluster, proxy: &impl DemoProxy) -> Result<Self, String> {
        let row = in_time("the first query", first_query(cluster, proxy.address())).await?;
        let (port, encrypted): (i32, bool) = (column(&row, 2)?, column(&row, 4)?);
        if port != i32::from(cluster.port()) {
            return Err(format!("the session went to port {port}"));
        }
        if !encrypted {
            return Err("the server says that the session is not encrypted".to_owned());
        }
        let proxy_side = in_time("the proxy's handshake", async {
            let facts = proxy.secure_upstream(&cluster.host_name).await;
            facts.map_err(|error| format!("the proxy cannot secure a connection: {error}"))
        })
        .await?;
        let wrong_name = format!("not-{}", cluster.host_name);
        let wrong_name = in_time("the handshake under another name", async {
            match proxy.secure_upstream(&wrong_name).await {
                Ok(_) => Err(format!("the proxy takes the server for {wrong_name}")),
                Err(error) => Ok(error.to_string()),
            }
        })
        .await?;
        Ok(Self {
            user: column(&row, 0)?,
            database: column(&row, 1)?,
            server_version: column(&row, 3)?,
            tls_version: column(&row, 5)?,
            cipher: column(&row, 6)?,
            proxy_side,
            wrong_name,
            plaintext: in_time("the attempt without TLS", plaintext_refusal(cluster)).await?,
        })
    }

    pub(crate) fn print(
        &self,
        cluster: &Cluster,
        proxy: SocketAddr,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let Self {
            user,
            database,
            server_version,
            tls_version,
            cipher,
            proxy_side,
            wrong_name,
            plaintext,
        } = self;
        let (name, port) = (&cluster.host_name, cluster.port());
        writeln!(out, "Started")?;
        writeln!(
            out,
            "  PostgreSQL {server_version} on 127.0.0.1:{port}, TLS only"
        )?;
        writeln!(out, "  its certificate: {name}, from a CA of its own")?;
        writeln!(out, "  pgsluice on {proxy}, plaintext on this machine only")?;
        writeln!(
            out,
            "\nCarried through: a first query, as {user} in {database}"
        )?;
        writeln!(out, "\nProof")?;
        writeln!(
            out,
            "  server's side (pg_stat_ssl)   {tls_version}, {cipher}"
        )?;
        writeln!(
            out,
            "  proxy's side                  {}, {}",
            proxy_side.version, proxy_side.cipher
        )?;
        writeln!(
            out,
            "  peer verified as              {}",
            proxy_side.peer_name
        )?;
        writeln!(out, "  under another name, refused   {wrong_name}")?;
        writeln!(out, "  without TLS, server refuses   {plaintext}")
    }
}

async fn in_time<T>(
    what: &str,
    step: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(STEP_TIMEOUT, step).await {
        Ok(result) => result,
        Err(_) => Err(format!("{what} took longer than {STEP_TIMEOUT:?}")),
    }
}

async fn first_query(cluster: &Cluster, proxy: SocketAddr) -> Result<Row, String> {
    let describe = |error| format!("the first query failed: {}", describe(&error));
    let (client, connection) = login(cluster, proxy)
        .connect(NoTls)
        .await
        .map_err(describe)?;
    let connection = tokio::spawn(connection);
    let row = client.query_one(FIRST_QUERY, &[]).await.map_err(describe)?;
    drop(client);
    // Its last act is the goodbye; how that went proves nothing.
    let _ = connection.await;
    Ok(row)
}

/// Goes to the server directly and without TLS, which has to fail.
async fn plaintext_refusal(cluster: &Cluster) -> Result<String, String> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port()));
    match login(cluster, server).connect(NoTls).await {
        Ok(_) => Err("the server lets clients in without TLS".to_owned()),
        Err(error) if error.as_db_error().is_some() => Ok(describe(&error)),
        Err(error) => Err(format!("the server cannot be reached: {error}")),
    }
}

fn login(cluster: &Cluster, server: SocketAddr) -> Config {
    let mut config = Config::new();
    config
        .host(server.ip().to_string())
        .port(server.port())
        .user(cluster.app.user)
        .password(&cluster.app.password)
        .dbname(DATABASE)
        .application_name("pgsluice demo");
    config
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    index: usize,
) -> Result<T, String> {
    row.try_get(index)
        .map_err(|error| format!("the first query's answer is not understood: {error}"))
}

/// tokio-postgres shows a server's own words only when asked.
fn describe(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |error| error.message().to_owned())
}
