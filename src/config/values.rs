//! The values a running proxy works with: complete, validated, immutable.
//!
//! Nothing here is optional that must be present, and nothing here knows where
//! a value came from (`resolve` does) or what it is used for (the rooms above do).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;

mod pooling;

pub(crate) use super::require_auth::{RequireAuth, ServerMethod};

pub(crate) use pooling::{Overrides, Pool, PoolPlan, Pooling, Rules, Timeouts, unless_zero};

/// The whole configuration of one proxy.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Name of the upstream that sessions go to; always a key of `upstreams`.
    pub(crate) upstream: String,
    /// Threads that serve sessions; at least one.
    pub(crate) workers: usize,
    pub(crate) listen: Listen,
    pub(crate) upstreams: BTreeMap<String, Arc<Upstream>>,
    pub(crate) limits: Limits,
    pub(crate) auth: Auth,
    /// Held credentials by the name the client presents.
    pub(crate) users: BTreeMap<String, Arc<User>>,
    /// Database names that clients ask for, mapped to what the upstream is asked for.
    pub(crate) databases: BTreeMap<String, Database>,
    /// `pooling` is made from them.
    pub(crate) pools: Vec<Pool>,
    /// Which pool a client uses, and what applies there.
    pub(crate) pooling: Arc<Pooling>,
    pub(crate) admin: Admin,
    pub(crate) log: Log,
    /// Said at every start: lowered verification, raised modes, readable secret files.
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Whether the process keeps something in memory that others must not read.
    pub(crate) fn holds_secrets(&self) -> bool {
        let has_key = |upstream: &Arc<Upstream>| {
            let shown = match &upstream.tls {
                UpstreamTls::Disable => None,
                UpstreamTls::Enable(tls) => tls.identity.as_ref(),
            };
            shown.is_some() || upstream.password.is_some()
        };
        self.auth.mode == AuthMode::Held
            || !matches!(self.listen.tls, ListenTls::Disable)
            || self.upstreams.values().any(has_key)
    }
}

/// Where clients are accepted.
#[derive(Debug, Clone)]
pub(crate) struct Listen {
    /// Resolved `addresses`; port 0 asks the kernel for a free one.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) unix_socket_dirs: Vec<PathBuf>,
    /// The port in the socket file's name when no TCP address gives one.
    pub(crate) unix_socket_port: u16,
    /// Permission bits of the socket file, for example `0o777`.
    pub(crate) unix_socket_mode: u32,
    /// Numeric or named group of the socket file.
    pub(crate) unix_socket_group: Option<String>,
    pub(crate) tls: ListenTls,
    pub(crate) sasl_plus: SaslPlus,
    pub(crate) keepalive: Keepalive,
    /// Length of the kernel's accept queue.
    pub(crate) backlog: u32,
}

/// Whether clients may, or must, use TLS on the local leg.
#[derive(Debug, Clone)]
pub(crate) enum ListenTls {
    Disable,
    Allow(ServerIdentity),
    Require(ServerIdentity),
}

/// What the proxy shows to clients, and asks of them.
#[derive(Debug, Clone)]
pub(crate) struct ServerIdentity {
    pub(crate) certificate: OwnCertificate,
    pub(crate) clients: ClientCertificates,
}

/// Where the proxy's own certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnCertificate {
    Files {
        cert_file: PathBuf,
        key_file: PathBuf,
    },
    /// For clients that want TLS and verify nothing; it exists in memory only.
    MadeAtStart,
}

/// Whether clients show certificates, and of which CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    NotAsked,
    /// Users with `cert` need one.
    Asked {
        ca_file: PathBuf,
    },
    /// Nobody gets in without one.
    Demanded {
        ca_file: PathBuf,
        /// Its common name is the user who is logged in.
        names_user: bool,
    },
}

/// What happens to `SCRAM-SHA-256-PLUS` in the server's list of mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SaslPlus {
    /// Taken off, so that clients without TLS log in (libpq refuses it otherwise).
    Strip,
    /// Kept, for clients such as Npgsql with `Channel Binding=Disable`.
    Keep,
}

/// TCP liveness options of one side; `user_timeout` is `TCP_USER_TIMEOUT`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keepalive {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) count: u32,
    pub(crate) user_timeout: Duration,
}

/// One server that sessions can be carried to.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) address: UpstreamAddress,
    pub(crate) tls: UpstreamTls,
    /// Credentials of held mode for users without their own.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    /// Database for clients that name none.
    pub(crate) dbname: Option<String>,
    pub(crate) channel_binding: ChannelBinding,
    /// What it may ask for at a login, of the proxy or of a client.
    pub(crate) require_auth: RequireAuth,
    /// Bound on name resolution, TCP, TLS and login together.
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Keepalive,
}

/// How an upstream is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamAddress {
    /// `host` is a name or an address literal, resolved anew for every connection.
    Tcp { host: String, port: u16 },
    /// The socket file itself, `DIR/.s.PGSQL.PORT`.
    Unix(PathBuf),
}

/// Protection of the upstream leg.
#[derive(Debug, Clone)]
pub(crate) enum UpstreamTls {
    /// Plaintext; `resolve` allows it only for loopback and unix sockets.
    Disable,
    Enable(TlsClient),
}

/// What the proxy demands of, and shows to, an upstream over TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsClient {
    pub(crate) verify: Verify,
    pub(crate) roots: Roots,
    /// Name to verify (and send as SNI) in place of `host`.
    pub(crate) server_name: String,
    /// Client certificate chain and key, both PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) crl: Option<PathBuf>,
    pub(crate) min_version: TlsVersion,
    pub(crate) negotiation: Negotiation,
}

/// libpq's `sslmode`, without the ones that may end in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Chain and host name.
    Full,
    /// Chain only.
    Ca,
    /// Nothing: encrypted, but to anybody.
    Nothing,
}

/// Trust anchors of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// A PEM file: the only anchors, the system's are not consulted.
    File(PathBuf),
    /// The certificates themselves, written where a path could be.
    Inline(String),
    /// `sslrootcert = "system"`, asked for by name.
    System,
    /// None needed, with [`Verify::Nothing`].
    Unneeded,
}

/// Lowest TLS version accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    Tls12,
    Tls13,
}

/// libpq's `sslnegotiation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Negotiation {
    /// SSLRequest, then TLS.
    Postgres,
    /// TLS at once with ALPN; Postgres 17 and newer.
    Direct,
}

/// libpq's `channel_binding`, for logins that the proxy makes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// Numbers that are promises.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_client_conn: u32,
    /// `None` is no limit, here and below.
    pub(crate) max_user_client_connections: Option<u32>,
    pub(crate) max_db_client_connections: Option<u32>,
    /// All connections to one upstream, logins in flight and closing ones included.
    pub(crate) max_upstream_conn: u32,
    pub(crate) max_user_connections: Option<u32>,
    pub(crate) max_db_connections: Option<u32>,
    /// How long a client waits for an upstream connection.
    pub(crate) query_wait_timeout: Duration,
    /// From accept to the client's complete login.
    pub(crate) client_login_timeout: Duration,
    /// How long TERM waits for busy sessions.
    pub(crate) drain_timeout: Duration,
}

/// Who proves the client's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMode {
    /// The upstream does: its challenge is relayed.
    Passthrough,
    /// The proxy does, and logs in upstream with credentials it holds.
    Held,
}

/// Section `[auth]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Auth {
    pub(crate) mode: AuthMode,
}

/// How a client proves who it is in held mode; names as in `pg_hba.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Trust,
    /// Cleartext password.
    Password,
    Md5,
    ScramSha256,
    /// Unix socket whose peer runs as this OS user (name or number).
    Peer {
        os_user: String,
    },
    /// TLS client certificate with this common name.
    Cert {
        common_name: String,
    },
}

/// One `[[users]]` entry.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) auth: ClientAuth,
    /// What the client must present; `None` with trust, peer and cert.
    pub(crate) password: Option<Secret>,
    /// Role on the upstream.
    pub(crate) upstream_user: String,
    /// `None` logs in without a password (trust or certificate upstream).
    pub(crate) upstream_password: Option<Secret>,
    /// The key that `upstream_password` came from, or belongs into, for messages.
    pub(crate) upstream_password_key: String,
}

/// One `[databases.NAME]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) dbname: String,
}

/// When an upstream connection goes back to be used by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PoolMode {
    Session,
    Transaction,
    Statement,
}

/// Who is served first when the cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Priority {
    High,
    Medium,
    Low,
}

/// Whether a connection is cleaned at its hand-over to another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scrub {
    /// Unless what ran on it is proven to leave nothing behind.
    Auto,
    Always,
    /// For measuring: clients see what others left.
    Never,
}

/// What happens to a client that leaves state on a connection which cannot be
/// carried to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OnSessionState {
    /// It keeps the connection.
    Pin,
    /// It gets an error.
    Error,
    /// The state is lost.
    Ignore,
}

/// Section `[admin]`.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// Loopback addresses of the HTTP face; empty is none.
    pub(crate) http: Vec<SocketAddr>,
    /// Names and addresses that requests may be for, beside those of loopback.
    pub(crate) http_hosts: Vec<String>,
    /// Who may log in to the console.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "checked; the console comes later")
    )]
    pub(crate) users: Vec<String>,
}

/// Section `[log]`.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    /// A `tracing` filter such as `info` or `pgsluice=debug`.
    pub(crate) level: String,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}
