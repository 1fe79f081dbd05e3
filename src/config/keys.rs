//! What the user may write: the one table of keys.
//!
//! A line `name: Type = "default";` with its sentence is the whole definition of
//! a setting. From it come the field that `resolve` reads, the check for unknown
//! keys, the environment variable, the line of `config show` and the row in
//! `docs/configuration.md`. `~` gives the words for a default that another value
//! decides. A key that nothing uses is a warning of the compiler (a dead field).

use std::time::Duration;

use super::layer::{Set, Table};
use super::log_filter::LogFilter;
use super::problem::{Location, Problems};
use super::require_auth::RequireAuth;
use super::schema::{Fallback, Key, Repeat, Section};
use super::value_parsers::{AuthMethod, FileMode, FilePath, Kind, List, SslMode, Text, TlsMode};
use super::values::{
    AuthMode, ChannelBinding, LogFormat, Negotiation, OnSessionState, PoolMode, Priority, SaslPlus,
    Scrub, TlsVersion,
};
use crate::secret::Secret;

macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $repeat:ident $Name:ident $path:literal {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $Kind:ident $(= $default:literal)? $(~ $derived:literal)?;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(super) struct $Name {
            /// The section itself, for problems that are about all of it.
            #[allow(dead_code, reason = "some sections have no such problem")]
            pub(super) section: Location,
            $(pub(super) $key: section!(@field $Kind $($default)?),)*
        }

        impl $Name {
            pub(super) const SECTION: Section = Section {
                name: $path,
                repeat: Repeat::$repeat,
                doc: concat!($($about),+),
                keys: &[$(Key {
                    name: stringify!($key),
                    info: <$Kind as Kind>::INFO,
                    fallback: section!(@fallback $(= $default)? $(~ $derived)?),
                    doc: concat!($($doc),+),
                }),*],
            };

            pub(super) fn read(table: &Table<'_>, problems: &mut Problems) -> Self {
                Self {
                    section: table.at(),
                    $($key: section!(@read table problems $key $($default)?),)*
                }
            }
        }
    };
    (@field $Kind:ident) => { Option<Set<$Kind>> };
    (@field $Kind:ident $default:literal) => { Set<$Kind> };
    (@fallback) => { Fallback::Nothing };
    (@fallback = $default:literal) => { Fallback::Text($default) };
    (@fallback ~ $derived:literal) => { Fallback::Derived($derived) };
    (@read $table:ident $problems:ident $key:ident) => {
        $table.optional(stringify!($key), $problems)
    };
    (@read $table:ident $problems:ident $key:ident $default:literal) => {
        $table.required(stringify!($key), $default, $problems)
    };
}

/// Every section, in the order in which they are documented and shown.
pub(super) const SECTIONS: &[Section] = &[
    Root::SECTION,
    ListenKeys::SECTION,
    UpstreamKeys::SECTION,
    LimitKeys::SECTION,
    AuthKeys::SECTION,
    UserKeys::SECTION,
    DatabaseKeys::SECTION,
    PoolingKeys::SECTION,
    PoolKeys::SECTION,
    AdminKeys::SECTION,
    LogKeys::SECTION,
];

section! {
    /// The keys above the first section.
    Once Root "" {
        /// Name of the upstream that sessions go to.
        upstream: Text ~ "the only upstream";
        /// JSON file with a `connection_pools` list, added to `[[pools]]`.
        pools_file: FilePath;
        /// Threads that serve sessions, each with an event loop of its own; 0 is one a core, at most four.
        workers: u32 = "0";
    }
}

section! {
    /// Where clients are accepted.
    Once ListenKeys "listen" {
        /// TCP addresses as `host:port`; `*:5432` is every IPv4 and IPv6 address.
        addresses: List = "127.0.0.1:5432,[::1]:5432";
        /// Directories that get a socket `.s.PGSQL.PORT`.
        unix_socket_dirs: List = "";
        /// Port in the socket's file name.
        unix_socket_port: u16 ~ "the first address's port, else 5432";
        /// Permission bits of the socket.
        unix_socket_mode: FileMode = "0777";
        /// Group of the socket, as a name or a number.
        unix_socket_group: Text;
        /// Whether clients may, or must, use TLS to reach the proxy; `verify-ca` demands a certificate of `tls_ca_file` too, `verify-full` one in the name of the user.
        tls_mode: TlsMode = "disable";
        /// The proxy's own certificate chain (PEM); `allow` in held mode makes one at start if there is none.
        tls_cert_file: FilePath;
        /// Private key of `tls_cert_file` (PEM).
        tls_key_file: FilePath;
        /// CA that client certificates must chain to (PEM); for users with `cert`, and for `verify-ca` and `verify-full`.
        tls_ca_file: FilePath;
        /// What happens to `SCRAM-SHA-256-PLUS` on its way to the client.
        sasl_plus: SaslPlus = "strip";
        /// Allows an address other than loopback where whoever reaches it may get in, or may read passwords.
        allow_insecure_listen: bool = "false";
        /// Idle time before the first keepalive probe to a client.
        tcp_keepidle: Duration = "30s";
        /// Time between keepalive probes to a client.
        tcp_keepintvl: Duration = "10s";
        /// Probes without an answer before a client is given up.
        tcp_keepcnt: u32 = "3";
        /// How long sent bytes may stay unacknowledged by a client, or unread by one that pauses; `0s` leaves it to the kernel.
        tcp_user_timeout: Duration = "2h";
        /// Length of the kernel's accept queue.
        backlog: u32 = "1024";
    }
}

section! {
    /// One server that sessions can be carried to.
    Named UpstreamKeys "upstreams" {
        /// Name or address of the server, or the directory of its unix socket.
        host: Text;
        /// Port of the server.
        port: u16 = "5432";
        /// How the server is verified; `disable` only for loopback and unix sockets.
        sslmode: SslMode = "verify-full";
        /// CA that the server's certificate must chain to (PEM), or `system`.
        sslrootcert: FilePath;
        /// Name to verify, and to ask for, in place of `host`.
        server_name: Text ~ "`host`";
        /// Client certificate shown to the server (PEM).
        sslcert: FilePath;
        /// Private key of `sslcert` (PEM).
        sslkey: FilePath;
        /// Revocation list (PEM).
        sslcrl: FilePath;
        /// Lowest TLS version accepted.
        ssl_min_protocol_version: TlsVersion = "TLSv1.2";
        /// `direct` starts TLS without SSLRequest; Postgres 17 and newer.
        sslnegotiation: Negotiation = "postgres";
        /// Channel binding of logins that the proxy makes itself.
        channel_binding: ChannelBinding = "prefer";
        /// What the server may ask for at a login, in libpq's words: `scram-sha-256`, `md5`, `password` (in clear), `none` (nothing is asked), `gss`, `sspi`; or what it may not, each with a `!` in front.
        require_auth: RequireAuth ~ "by `sslmode`, see below";
        /// Role for users without an `upstream_user` of their own.
        user: Text;
        /// Password of `user`.
        password: Secret;
        /// File that holds the password of `user`.
        password_file: FilePath;
        /// Environment variable that holds the password of `user`.
        password_env: Text;
        /// Database for clients that name none.
        dbname: Text;
        /// Bound on name resolution, TCP and TLS together, and on each of the server's answers in a login.
        connect_timeout: Duration = "15s";
        /// Idle time before the first keepalive probe to the server.
        keepalives_idle: Duration = "30s";
        /// Time between keepalive probes to the server.
        keepalives_interval: Duration = "10s";
        /// Probes without an answer before the server is given up.
        keepalives_count: u32 = "3";
        /// How long sent bytes may stay unacknowledged by the server, or unread by one that waits for a lock; `0s` leaves it to the kernel.
        tcp_user_timeout: Duration = "5m";
    }
}

section! {
    /// Numbers that are promises.
    Once LimitKeys "limits" {
        /// Clients connected at once.
        max_client_conn: u32 = "200";
        /// Clients of one user connected at once; 0 is no limit.
        max_user_client_connections: u32 = "0";
        /// Clients of one database connected at once; 0 is no limit.
        max_db_client_connections: u32 = "0";
        /// Connections to one upstream, logins in flight included.
        max_upstream_conn: u32 = "22";
        /// Upstream connections of one user; 0 is no limit.
        max_user_connections: u32 = "0";
        /// Upstream connections of one database; 0 is no limit.
        max_db_connections: u32 = "0";
        /// How long a client waits for an upstream connection.
        query_wait_timeout: Duration = "120s";
        /// From accept to the client's complete login.
        client_login_timeout: Duration = "60s";
        /// How long TERM waits for busy sessions.
        drain_timeout: Duration = "30s";
    }
}

section! {
    /// Who proves the client's identity.
    Once AuthKeys "auth" {
        /// `passthrough`: the upstream checks the client. `held`: the proxy does, and logs in by itself.
        mode: AuthMode = "passthrough";
    }
}

section! {
    /// Held mode: what the client presents, and what the upstream is given.
    Listed UserKeys "users" {
        /// Name that the client logs in with.
        name: Text;
        /// How the client proves it; names as in `pg_hba.conf`.
        auth: AuthMethod = "scram-sha-256";
        /// Password that the client must know.
        password: Secret;
        /// File that holds the client's password.
        password_file: FilePath;
        /// Environment variable that holds the client's password.
        password_env: Text;
        /// `peer`: OS user of the process behind the unix socket.
        os_user: Text ~ "`name`";
        /// `cert`: common name of the client's certificate.
        common_name: Text ~ "`name`";
        /// Role on the upstream.
        upstream_user: Text ~ "the upstream's `user`, else `name`";
        /// Password of `upstream_user`.
        upstream_password: Secret ~ "the upstream's for its `user`, the client's own for its own name";
        /// File that holds the password of `upstream_user`.
        upstream_password_file: FilePath;
        /// Environment variable that holds the password of `upstream_user`.
        upstream_password_env: Text;
        /// When a connection of this user goes back to be used by others.
        pool_mode: PoolMode ~ "the database's, else `pooling.pool_mode`";
        /// Connections of this user to one database at most.
        pool_size: u32 ~ "the database's, else `pooling.default_pool_size`";
        /// Who is served first when the cap is reached.
        priority: Priority ~ "medium";
    }
}

section! {
    /// A database name that clients ask for, and what the upstream is asked for.
    Named DatabaseKeys "databases" {
        /// Database on the upstream.
        dbname: Text ~ "the section's name";
        /// When a connection to this database goes back to be used by others.
        pool_mode: PoolMode ~ "`pooling.pool_mode`";
        /// Connections of one user to this database at most.
        pool_size: u32 ~ "`pooling.default_pool_size`";
        /// Connections of one user to this database that are kept warm.
        min_pool_size: u32 ~ "`pooling.min_pool_size`";
    }
}

section! {
    /// What holds for every pool, and for clients that no `[[pools]]` entry is for.
    Once PoolingKeys "pooling" {
        /// When a connection goes back to be used by others; with `session`, a client without a `[[pools]]` entry has one of its own.
        pool_mode: PoolMode = "session";
        /// Connections of one user to one database at most.
        default_pool_size: u32 = "20";
        /// Connections of one user to one database that are kept warm.
        min_pool_size: u32 = "0";
        /// Connections beyond a pool's size, for clients that waited `reserve_pool_timeout`.
        reserve_pool_size: u32 = "0";
        /// How long a client waits before the reserve is used.
        reserve_pool_timeout: Duration = "5s";
        /// Age at which an idle connection is closed; `0s` is never.
        server_lifetime: Duration = "1h";
        /// How long a connection may be idle before it is closed; `0s` is for ever.
        server_idle_timeout: Duration = "10m";
        /// Longest pause between logins that fail.
        server_login_retry: Duration = "1s";
        /// Logins in flight at once to one upstream; 0 is no limit.
        max_logins: u32 = "4";
        /// Named statements kept on one server connection.
        max_prepared_statements: u32 = "200";
        /// Whether a connection is cleaned for its next client: unless proven clean, always, or never (for measuring only).
        scrub: Scrub = "auto";
        /// What happens to a client with session state that cannot be carried to another connection: it keeps this one, gets an error, or loses the state.
        on_session_state: OnSessionState = "pin";
        /// Connections of a pool that clients may keep for their session state.
        max_pinned: u32 ~ "one less than the pool's size, at least 1";
        /// Longest statement; `0s` is no limit, here and below.
        query_timeout: Duration = "0s";
        /// Longest transaction.
        transaction_timeout: Duration = "0s";
        /// Longest pause of a client inside a transaction.
        idle_transaction_timeout: Duration = "0s";
        /// Longest pause of a client outside a transaction.
        client_idle_timeout: Duration = "0s";
    }
}

section! {
    /// Upstream connections that clients share.
    Listed PoolKeys "pools" {
        /// Name of the pool; also a database name that clients may ask for.
        name: Text;
        /// When a connection goes back to be used by others.
        mode: PoolMode ~ "the user's `pool_mode`, else the database's, else `pooling.pool_mode`";
        /// Connections at most; of each user, where the pool has no `user`.
        size: u32;
        /// Database on the upstream.
        database: Text;
        /// The only user of the pool, as the upstream knows it; without, every user of the database.
        user: Text;
        /// Who is served first when the cap is reached.
        priority: Priority ~ "the user's, else medium";
        /// Connections that are kept warm.
        min_size: u32 ~ "the database's `min_pool_size`, else `pooling.min_pool_size`";
        /// Connections beyond `size`, for clients that waited `pooling.reserve_pool_timeout`.
        reserve_size: u32 ~ "`pooling.reserve_pool_size`";
        /// Age at which an idle connection is closed; `0s` is never.
        server_lifetime: Duration ~ "`pooling.server_lifetime`";
        /// How long a connection may be idle before it is closed; `0s` is for ever.
        server_idle_timeout: Duration ~ "`pooling.server_idle_timeout`";
        /// Connections that clients may keep for their session state.
        max_pinned: u32 ~ "`pooling.max_pinned`";
        /// How long a client waits for a connection.
        query_wait_timeout: Duration ~ "`limits.query_wait_timeout`";
        /// Longest statement; `0s` is no limit, here and below.
        query_timeout: Duration ~ "`pooling.query_timeout`";
        /// Longest transaction.
        transaction_timeout: Duration ~ "`pooling.transaction_timeout`";
        /// Longest pause of a client inside a transaction.
        idle_transaction_timeout: Duration ~ "`pooling.idle_transaction_timeout`";
        /// Longest pause of a client outside a transaction.
        client_idle_timeout: Duration ~ "`pooling.client_idle_timeout`";
    }
}

section! {
    /// Watching and steering the running proxy.
    Once AdminKeys "admin" {
        /// Loopback address of the HTTP face: `/metrics` and probes.
        http: Text;
        /// Names and addresses that requests to it may be for, beside those of loopback.
        http_hosts: List = "";
        /// Users who may log in to the console.
        users: List = "";
    }
}

section! {
    /// What is written to stderr.
    Once LogKeys "log" {
        /// Shape of a line.
        format: LogFormat = "text";
        /// `off`, `error`, `warn`, `info`, `debug` or `trace`, for all or for a target, as in `info,pgsluice::pool=debug`.
        level: LogFilter = "info";
    }
}
