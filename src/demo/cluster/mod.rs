//! A throwaway Postgres cluster that accepts TLS only, as a managed one does.
//!
//! It lives in one directory below the temporary one, is reachable on loopback,
//! has certificates and passwords of its own, and is gone with the process that
//! started it, whichever way that ends (`guardian`). The integration tests use
//! the same files, so these name nothing else of the crate.

pub(crate) mod certificate;
mod error;
pub(crate) mod guardian;
mod programs;

use std::fmt::{self, Write as _};
use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use certificate::Identity;
pub(crate) use error::ClusterError;
use guardian::{Guardian, Owner, write_private};

/// A slow machine under load needs some seconds; a minute means that something hangs.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A free port can be taken by somebody else before the server binds it.
const PORT_ATTEMPTS: usize = 5;

/// Names of the roles and the database that every cluster has.
pub(crate) const SUPERUSER: &str = "postgres";
pub(crate) const APP_USER: &str = "app";
pub(crate) const DATABASE: &str = "demo";

/// Settings of a server that is thrown away: durability costs time and buys
/// nothing. The connection limit is that of a small managed plan: 25, of which
/// 3 are kept for superusers.
const SETTINGS: [(&str, &str); 11] = [
    ("listen_addresses", "127.0.0.1"),
    ("ssl", "on"),
    ("password_encryption", "scram-sha-256"),
    ("max_connections", "25"),
    ("superuser_reserved_connections", "3"),
    ("shared_buffers", "16MB"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("jit", "off"),
    ("log_checkpoints", "off"),
];

/// Plaintext is possible only within the cluster's own directory.
const HBA: [&str; 2] = [
    "local   all all               scram-sha-256",
    "hostssl all all 127.0.0.1/32  scram-sha-256",
];

/// What is special about a cluster; the default is nothing.
#[derive(Clone)]
pub(crate) struct ClusterOptions {
    /// Directory of `initdb` and `postgres`; `None` searches the usual places.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Port to use if it is free; any free one otherwise.
    pub(crate) port: Option<u16>,
    /// Name in the server's certificate. It need not resolve to anything.
    pub(crate) host_name: String,
    /// Certificates in place of generated ones.
    pub(crate) identity: Option<Identity>,
    /// Lines of `pg_hba.conf` that go before the usual ones.
    pub(crate) hba: Vec<String>,
    /// Settings in addition to, or in place of, the usual ones.
    pub(crate) settings: Vec<(String, String)>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            bin_dir: None,
            port: None,
            host_name: "pgsluice-demo.internal".to_owned(),
            identity: None,
            hba: Vec::new(),
            settings: Vec::new(),
        }
    }
}

/// A role that can log in.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) user: &'static str,
    pub(crate) password: String,
}

impl Account {
    fn generate(user: &'static str) -> Self {
        let password = format!("{:032x}", rand::random::<u128>());
        Self { user, password }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}, ********)", self.user)
    }
}

/// A running cluster. Dropping it stops the server and removes its directory
/// shortly after; [`Cluster::close`] waits for that.
#[derive(Debug)]
pub(crate) struct Cluster {
    guardian: Guardian,
    owner: Option<Owner>,
    dir: PathBuf,
    port: u16,
    pub(crate) host_name: String,
    pub(crate) superuser: Account,
    /// Owner of [`DATABASE`].
    pub(crate) app: Account,
}

impl Cluster {
    pub(crate) async fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        let bin_dir = programs::find(options.bin_dir.as_deref())?;
        let owner = Owner::needed()?;
        let dir = tempfile::Builder::new()
            .prefix("pgsluice-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(base_dir(owner)?)?;
        let superuser = Account::generate(SUPERUSER);
        let app = Account::generate(APP_USER);
        write_files(dir.path(), &options, (&superuser, &app), owner)?;
        if let Some(owner) = owner {
            owner.take_over(dir.path())?;
        }
        let guardian = Guardian::spawn(&bin_dir, dir.path(), owner)?;
        let mut cluster = Self {
            guardian,
            owner,
            // From here on the guardian removes it.
            dir: dir.keep(),
            port: 0,
            host_name: options.host_name.clone(),
            superuser,
            app,
        };
        cluster.start_on_a_free_port(&options).await?;
        Ok(cluster)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The cluster's directory: the server's socket, its log, the CA.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The only CA that vouches for the server; PEM.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    pub(crate) fn socket_file(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// What the server, and the programs before it, wrote.
    pub(crate) fn log(&self) -> String {
        fs::read(self.dir.join("postgres.log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Whether the server process has ended since it was started last.
    pub(crate) fn has_exited(&self) -> bool {
        self.dir.join("exited").exists()
    }

    /// Passes an order of `guardian.sh` on; it is carried out in the background.
    pub(crate) fn order(&mut self, order: &str) -> io::Result<()> {
        self.guardian.order(order)
    }

    /// Writes a file into the cluster's directory that its owner alone can read.
    pub(crate) fn write_file(&self, name: &str, text: &str) -> io::Result<()> {
        write_private(&self.dir.join(name), text, self.owner)
    }

    /// Starts the server, for the first time or again, and waits until clients get in.
    pub(crate) async fn start_server(&mut self) -> Result<(), ClusterError> {
        // The order removes it too, but only when it is carried out.
        if self.has_exited() {
            fs::remove_file(self.dir.join("exited"))?;
        }
        self.order("start")?;
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&self) -> Result<(), ClusterError> {
        let ready = async {
            let mut pause = Duration::from_millis(5);
            while !self.has_exited() {
                if self.lets_clients_in().await.unwrap_or(false) {
                    return true;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(40));
            }
            false
        };
        match tokio::time::timeout(START_TIMEOUT, ready).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(ClusterError::Start {
                log: last_lines(&self.log(), 15),
            }),
        }
    }

    /// Stops the server and waits until its directory is gone.
    pub(crate) async fn close(self) -> io::Result<()> {
        tokio::task::spawn_blocking(|| self.guardian.finish())
            .await
            .map_err(io::Error::other)?
    }

    async fn start_on_a_free_port(&mut self, options: &ClusterOptions) -> Result<(), ClusterError> {
        let mut preferred = options.port;
        let mut attempts = 1;
        loop {
            self.port = free_port(preferred.take())?;
            let settings = settings_file(&self.dir, self.port, options);
            self.write_file("postgresql.conf", &settings)?;
            if attempts == 1 {
                self.order("initialize")?;
            }
            match self.start_server().await {
                Err(ClusterError::Start { log })
                    if attempts < PORT_ATTEMPTS && log.contains("could not create any TCP/IP") =>
                {
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    /// Asks as a client would: a server that is still starting answers 57P03,
    /// one that is ready asks for a password or names another reason.
    async fn lets_clients_in(&self) -> io::Result<bool> {
        let mut server = UnixStream::connect(self.socket_file()).await?;
        let mut packet = Vec::from(&b"\0\0\0\0\0\x03\0\0user\0"[..]);
        packet.extend_from_slice(SUPERUSER.as_bytes());
        packet.extend_from_slice(b"\0\0");
        let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
        packet.splice(..4, length.to_be_bytes());
        server.write_all(&packet).await?;
        let mut answer = [0; 64];
        let length = server.read(&mut answer).await?;
        let answer = answer.get(..length).unwrap_or_default();
        Ok(!answer.is_empty() && !answer.windows(5).any(|code| code == b"57P03"))
    }
}

/// The temporary directory, unless the cluster's owner could not work in it.
fn base_dir(owner: Option<Owner>) -> io::Result<PathBuf> {
    let dir = std::env::temp_dir();
    let for_everyone = fs::metadata(&dir)?.permissions().mode() & 0o007 == 0o007;
    Ok(if owner.is_none() || for_everyone {
        dir
    } else {
        PathBuf::from("/tmp")
    })
}

fn write_files(
    dir: &Path,
    options: &ClusterOptions,
    (superuser, app): (&Account, &Account),
    owner: Option<Owner>,
) -> Result<(), ClusterError> {
    let identity = match &options.identity {
        Some(identity) => identity.clone(),
        None => Identity::generate(&options.host_name)?,
    };
    let hba: Vec<&str> = options.hba.iter().map(String::as_str).chain(HBA).collect();
    // One statement a line: that is how a single-user backend reads them.
    let setup = format!(
        "CREATE ROLE {APP_USER} LOGIN PASSWORD '{}'\nCREATE DATABASE {DATABASE} OWNER {APP_USER}\n",
        app.password
    );
    for (name, text) in [
        ("ca.crt", identity.ca.as_str()),
        ("server.crt", &identity.certificate),
        ("server.key", &identity.key),
        ("pg_hba.conf", &(hba.join("\n") + "\n")),
        ("superuser.password", &superuser.password),
        ("setup.sql", &setup),
    ] {
        write_private(&dir.join(name), text, owner)?;
    }
    Ok(())
}

/// `postgresql.conf`; the last of two lines for one setting counts.
fn settings_file(dir: &Path, port: u16, options: &ClusterOptions) -> String {
    let place = |name: &str| dir.join(name).display().to_string();
    let places = [
        ("port", port.to_string()),
        ("unix_socket_directories", dir.display().to_string()),
        ("hba_file", place("pg_hba.conf")),
        ("ssl_cert_file", place("server.crt")),
        ("ssl_key_file", place("server.key")),
    ];
    let places = places.iter().map(|(name, value)| (*name, value.as_str()));
    let special = options.settings.iter();
    let special = special.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut file = String::new();
    for (name, value) in SETTINGS.into_iter().chain(places).chain(special) {
        let value = value.replace('\'', "''");
        writeln!(file, "{name} = '{value}'").unwrap_or_default();
    }
    file
}

fn free_port(preferred: Option<u16>) -> io::Result<u16> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match preferred.map(bind) {
        Some(Ok(listener)) => listener,
        Some(Err(_)) | None => bind(0)?,
    };
    Ok(listener.local_addr()?.port())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
