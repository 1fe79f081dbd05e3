//! The name, kind, labels and help text of every metric.

/// What a metric is, for the exporter and for the table in `docs/metrics.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric: its name exists here and nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the table in the docs"))]
    pub(crate) labels: &'static str,
    pub(crate) help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$labels:literal] $help:literal;)*) => {
        $(pub(super) const $id: &str = $name;)*
        /// Every metric there is.
        pub(crate) const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help },)*
        ];
    };
}

metrics! {
    CLIENT_CONNECTIONS = Gauge "pgsluice_client_connections" [""]
        "Clients connected now, logins included.";
    CLIENT_CONNECTIONS_TOTAL = Counter "pgsluice_client_connections_total" [""]
        "Clients accepted.";
    CLIENT_REFUSALS = Counter "pgsluice_client_refusals_total" ["reason"]
        "Clients that were refused or ended with an error by the proxy.";
    CLIENT_WAITING = Gauge "pgsluice_client_waiting_connections" ["upstream"]
        "Clients waiting for an upstream connection.";
    CLIENT_WAIT = Histogram "pgsluice_client_wait_seconds" ["upstream"]
        "Time that clients waited for an upstream connection.";
    SESSION_ENDS = Counter "pgsluice_session_ends_total" ["reason"]
        "Sessions ended, by reason.";
    UPSTREAM_CONNECTIONS = Gauge "pgsluice_upstream_connections" ["upstream"]
        "Upstream connections that count against the cap, logins and closing ones included.";
    UPSTREAM_CONNECT = Histogram "pgsluice_upstream_connect_seconds" ["upstream"]
        "Time to connect to the upstream and secure the connection.";
    UPSTREAM_CONNECT_ERRORS = Counter "pgsluice_upstream_connect_errors_total" ["upstream, reason"]
        "Upstream connections that failed before login.";
    UPSTREAM_VERIFICATION = Gauge "pgsluice_upstream_tls_verification" ["upstream"]
        "How the upstream is verified: 3 verify-full, 2 verify-ca, 1 require, 0 plaintext.";
    POOL_CONNECTIONS = Gauge "pgsluice_pool_connections" ["upstream, pool, state"]
        "Pooled connections: active, held (kept by an idle client) and idle; pool is database/user.";
    POOL_WAITING = Gauge "pgsluice_pool_waiting_clients" ["upstream, pool"]
        "Clients waiting for a connection of the pool.";
    POOL_OPENED = Counter "pgsluice_pool_opened_total" ["upstream, pool"]
        "Connections that joined the pool.";
    POOL_CLOSED = Counter "pgsluice_pool_closed_total" ["upstream, pool, reason"]
        "Connections that left the pool, by reason.";
    PINS = Counter "pgsluice_pins_total" ["reason"]
        "Times that a client was found to need the connection it had, by reason.";
    CHECKS = Counter "pgsluice_pool_checks_total" [""]
        "Times that the server was asked what a client had left on its connection.";
    SCRUBS = Counter "pgsluice_pool_scrubs_total" [""]
        "Times that a connection was cleaned, or given other settings, for its next client.";
    CANCELS = Counter "pgsluice_cancel_requests_total" ["outcome"]
        "Cancel requests: forwarded, called_off (waited for a connection), idle (nothing to cancel), unknown, limited or failed.";
    BYTES = Counter "pgsluice_bytes_total" ["direction"]
        "Bytes carried in sessions: to_upstream and to_client.";
}
