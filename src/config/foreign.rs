//! Words that people bring along: what pgbouncer, libpq, drivers and plain habit
//! call a key of ours, or why there is none.

/// What a word stands for here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foreign {
    /// Sections in which it means this; empty is everywhere.
    within: &'static [&'static str],
    words: &'static [&'static str],
    /// Section and name of our key; no name is the section itself.
    pub(super) ours: Option<(&'static str, &'static str)>,
    /// What else there is to know, or to do where there is no such key.
    pub(super) note: &'static str,
}

impl Foreign {
    /// The first entry for `word`, written in the section called `within`.
    pub(super) fn find(word: &str, within: Option<&str>) -> Option<&'static Self> {
        TABLE.iter().find(|entry| {
            let here = entry.within.is_empty()
                || within.is_some_and(|within| entry.within.contains(&within));
            here && entry.words.contains(&word)
        })
    }
}

const fn ours(
    within: &'static [&'static str],
    words: &'static [&'static str],
    key: (&'static str, &'static str),
) -> Foreign {
    Foreign {
        within,
        words,
        ours: Some(key),
        note: "",
    }
}

const fn but(
    within: &'static [&'static str],
    words: &'static [&'static str],
    key: (&'static str, &'static str),
    note: &'static str,
) -> Foreign {
    Foreign {
        within,
        words,
        ours: Some(key),
        note,
    }
}

const fn none(
    within: &'static [&'static str],
    words: &'static [&'static str],
    note: &'static str,
) -> Foreign {
    Foreign {
        within,
        words,
        ours: None,
        note,
    }
}

const ANY: &[&str] = &[];
const ROOT: &str = "";

/// An address carries its port.
const ADDRESSES: &str = "each address has its port in it, as in 127.0.0.1:5432";

const LOG_FILE: &str =
    "take it out: the log goes to stderr, and whoever starts the program keeps it";

const NO_SUCH_LIST: &str = "passthrough needs no list of users, for the upstream checks every client; \
     in held mode write [[users]] with name and password_file";

#[rustfmt::skip]
const TABLE: &[Foreign] = &[
    // One section's habits in another; the narrower entries come first.
    but(&["listen"], &["port", "listen_port", "host", "address", "bind", "listen_addr", "listen_addresses", "listen_address", "interfaces"], ("listen", "addresses"), ADDRESSES),
    ours(&["listen"], &["cert", "cert_file", "certificate", "tls_cert", "sslcert", "ssl_cert_file", "server_cert"], ("listen", "tls_cert_file")),
    ours(&["listen"], &["key", "key_file", "tls_key", "sslkey", "ssl_key_file", "server_key"], ("listen", "tls_key_file")),
    ours(&["listen"], &["ca", "ca_file", "tls_ca", "sslrootcert", "ssl_ca_file", "client_ca"], ("listen", "tls_ca_file")),
    ours(&["listen"], &["tls", "ssl", "sslmode", "ssl_mode"], ("listen", "tls_mode")),
    ours(&["pooling"], &["mode"], ("pooling", "pool_mode")),
    ours(&["pooling"], &["size", "pool_size", "max_size", "max_pool_size"], ("pooling", "default_pool_size")),
    ours(&["pooling"], &["min_size"], ("pooling", "min_pool_size")),
    ours(&["pooling"], &["reserve_size"], ("pooling", "reserve_pool_size")),
    ours(&["pools"], &["pool_mode"], ("pools", "mode")),
    ours(&["pools"], &["pool_size", "max_size", "default_pool_size"], ("pools", "size")),
    ours(&["pools"], &["min_pool_size"], ("pools", "min_size")),
    ours(&["pools"], &["reserve_pool", "reserve_pool_size"], ("pools", "reserve_size")),
    ours(&["pools"], &["dbname", "db", "db_name"], ("pools", "database")),
    ours(&["pools"], &["username", "upstream_user", "role"], ("pools", "user")),
    ours(&["users"], &["user", "username", "role", "login"], ("users", "name")),
    ours(&["users"], &["mode"], ("users", "pool_mode")),
    ours(&["users"], &["size"], ("users", "pool_size")),
    ours(&["users"], &["method", "auth_method", "auth_type"], ("users", "auth")),
    ours(&["databases"], &["mode"], ("databases", "pool_mode")),
    ours(&["databases"], &["size"], ("databases", "pool_size")),
    ours(&["databases"], &["min_size"], ("databases", "min_pool_size")),
    ours(&["databases"], &["database", "name", "db", "db_name"], ("databases", "dbname")),
    none(&["databases"], &["host", "port", "user", "password", "auth_user", "sslmode"],
        "write it under [upstreams.NAME]; a [databases.NAME] section says only which database of the upstream a name stands for"),
    ours(&["upstreams"], &["database", "db", "db_name"], ("upstreams", "dbname")),
    but(&["upstreams"], &["pool_size", "max_connections", "max_db_connections"], ("limits", "max_upstream_conn"), "it bounds all connections to the upstream"),
    ours(&["limits"], &["max_clients", "max_client_connections"], ("limits", "max_client_conn")),
    ours(&["limits"], &["max_server_conn", "max_connections", "max_conn", "max_upstream_connections", "max_upstreams"], ("limits", "max_upstream_conn")),
    ours(&["log"], &["verbose", "verbosity", "filter", "log_min_messages"], ("log", "level")),
    ours(&["log"], &["type", "json", "style"], ("log", "format")),
    none(&["log"], &["file", "path", "output", "destination", "target"], LOG_FILE),
    but(&["admin"], &["port", "listen", "address", "addresses", "metrics", "http_port", "prometheus", "listen_addr", "metrics_port"], ("admin", "http"), "it is a loopback address with its port, as in 127.0.0.1:9127"),
    ours(&["auth"], &["type", "method"], ("auth", "mode")),

    // pgbouncer.ini
    but(ANY, &["listen_addr", "listen_port", "listen_addresses", "listen_address"], ("listen", "addresses"), ADDRESSES),
    but(&[ROOT], &["port"], ("listen", "addresses"), ADDRESSES),
    ours(ANY, &["unix_socket_dir", "unix_socket_directories", "socket_dir"], ("listen", "unix_socket_dirs")),
    ours(ANY, &["listen_backlog"], ("listen", "backlog")),
    but(ANY, &["client_tls_sslmode"], ("listen", "tls_mode"), "it is disable, allow or require"),
    ours(ANY, &["client_tls_cert_file"], ("listen", "tls_cert_file")),
    ours(ANY, &["client_tls_key_file"], ("listen", "tls_key_file")),
    ours(ANY, &["client_tls_ca_file"], ("listen", "tls_ca_file")),
    ours(ANY, &["server_tls_sslmode"], ("upstreams", "sslmode")),
    ours(ANY, &["server_tls_ca_file"], ("upstreams", "sslrootcert")),
    ours(ANY, &["server_tls_cert_file"], ("upstreams", "sslcert")),
    ours(ANY, &["server_tls_key_file"], ("upstreams", "sslkey")),
    ours(ANY, &["server_tls_protocols"], ("upstreams", "ssl_min_protocol_version")),
    but(ANY, &["server_connect_timeout"], ("upstreams", "connect_timeout"), "with a unit: \"15s\""),
    but(ANY, &["auth_type"], ("auth", "mode"), "it is passthrough or held; in held mode each of [[users]] has auth"),
    none(ANY, &["auth_file", "auth_query", "auth_user", "auth_dbname", "auth_hba_file", "auth_ident_file"], NO_SUCH_LIST),
    ours(ANY, &["admin_users", "stats_users"], ("admin", "users")),
    ours(ANY, &["max_clients", "max_client_connections"], ("limits", "max_client_conn")),
    ours(ANY, &["max_server_conn", "max_connections", "max_server_connections"], ("limits", "max_upstream_conn")),
    ours(ANY, &["shutdown_timeout", "shutdown_wait_timeout", "server_shutdown_timeout"], ("limits", "drain_timeout")),
    ours(ANY, &["pool_size"], ("pooling", "default_pool_size")),
    ours(ANY, &["reserve_pool"], ("pooling", "reserve_pool_size")),
    ours(ANY, &["idle_in_transaction_session_timeout"], ("pooling", "idle_transaction_timeout")),
    but(ANY, &["server_reset_query", "server_reset_query_always"], ("pooling", "scrub"), "what a session leaves behind is found and undone by itself; \"always\" cleans at every hand-over"),
    ours(ANY, &["verbose", "log_level", "loglevel", "log_min_messages"], ("log", "level")),
    ours(ANY, &["log_format"], ("log", "format")),
    none(ANY, &["logfile", "log_file", "syslog", "syslog_ident", "syslog_facility", "log_destination"],
        LOG_FILE),
    none(ANY, &["pidfile", "pid_file", "daemon", "daemonize"], "take it out: the proxy stays in the foreground, and systemd or a container looks after it"),
    none(ANY, &["log_connections", "log_disconnections", "log_pooler_errors", "log_stats", "stats_period"],
        "take it out: every session and error is logged, and numbers are in /metrics (admin.http)"),
    none(ANY, &["ignore_startup_parameters", "track_extra_parameters"], "take it out: every startup parameter is carried to the server"),
    none(ANY, &["server_check_query", "server_check_delay", "server_fast_close", "pkt_buf", "max_packet_size", "so_reuseport",
                "server_round_robin", "tcp_defer_accept", "tcp_socket_buffer", "disable_pqexec", "application_name_add_host"],
        "take it out: nothing here needs it"),

    // libpq and drivers
    but(ANY, &["hostaddr"], ("upstreams", "host"), "with an address in it, give server_name too"),
    ours(ANY, &["ca", "ca_file", "cafile", "ca_cert", "sslca", "ssl_ca", "ssl_cert", "ssl_root_cert", "sslrootcertificate", "tls_ca", "root_cert", "cacert"], ("upstreams", "sslrootcert")),
    ours(ANY, &["sslservername", "sni", "tls_server_name"], ("upstreams", "server_name")),
    ours(ANY, &["username"], ("upstreams", "user")),
    ours(ANY, &["passfile", "pgpass", "passwd_file"], ("upstreams", "password_file")),
    none(ANY, &["url", "uri", "dsn", "connection_string", "conninfo", "database_url"],
        "give host, port, user and dbname one by one, or set the variable DATABASE_URL"),
    none(ANY, &["application_name", "options", "client_encoding", "target_session_attrs", "gssencmode", "load_balance_hosts", "sslsni", "sslcompression", "fallback_application_name", "replication"],
        "take it out: it is the client's to say, and is carried to the server"),
    none(ANY, &["keepalives"], "take it out: keepalives are always on; keepalives_idle says how often"),
    none(ANY, &["sslpassword"], "give an unencrypted key: `openssl pkey -in KEY -out PLAIN` takes a passphrase off"),

    // Sections
    ours(&[ROOT], &["listener", "listeners", "server", "frontend", "bind"], ("listen", "")),
    ours(&[ROOT], &["cluster", "backend", "backends", "primary", "servers", "target"], ("upstreams", "")),
    ours(&[ROOT], &["authentication"], ("auth", "")),
    ours(&[ROOT], &["logging", "logs", "logger"], ("log", "")),
    ours(&[ROOT], &["pooler"], ("pooling", "")),
    ours(&[ROOT], &["metrics", "prometheus", "http", "console"], ("admin", "")),
    ours(&[ROOT], &["connections"], ("limits", "")),
    none(&[ROOT], &["pgbouncer", "general", "settings"],
        "its keys belong under [listen], [upstreams.NAME], [limits], [auth], [pooling], [admin] and [log]; docs/configuration.md lists them"),
    none(&[ROOT], &["config", "config_file", "conf", "file"], "give the configuration file with -c"),
];

#[cfg(test)]
mod tests {
    use super::super::schema::Section;
    use super::*;

    #[test]
    fn foreign_words_lead_to_keys_that_exist() {
        for entry in TABLE {
            assert!(entry.ours.is_some() || !entry.note.is_empty(), "{entry:?}");
            let Some((section, key)) = entry.ours else {
                continue;
            };
            let found = Section::named(section).unwrap();
            assert!(key.is_empty() || found.key(key).is_some(), "{entry:?}");
            for within in entry.within {
                let within = Section::named(within).unwrap();
                for word in entry.words {
                    assert!(within.key(word).is_none(), "{word} is a key of ours");
                }
            }
        }
    }
}
