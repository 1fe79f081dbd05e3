//! Names and handles of everything that is counted.
//!
//! The only room that names `metrics`. Rooms are handed a [`Metrics`] and report
//! to it; nothing ever reads a metric to decide something.

mod pool_series;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;

use pool_series::PoolSeries;

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
        $(const $id: &str = $name;)*
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

/// Bounds of the histograms' buckets in seconds: from a warm local wait to a
/// login timeout.
const BUCKETS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded: {0}")]
pub(crate) struct MetricsError(#[from] BuildError);

/// Typed handles; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) clients: Gauge,
    pub(crate) clients_total: Counter,
    pub(crate) checks: Counter,
    pub(crate) scrubs: Counter,
    pub(crate) bytes_to_upstream: Counter,
    pub(crate) bytes_to_client: Counter,
    pools: Arc<PoolSeries>,
}

/// What was recorded, for whoever shows it.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    handle: PrometheusHandle,
    pools: Arc<PoolSeries>,
}

impl Recorded {
    /// All series in Prometheus' text format. Takes a millisecond for some hundred
    /// of them: not for a thread that sessions live on.
    pub(crate) fn render(&self) -> String {
        let mut text = self.handle.render();
        self.pools.render(&mut text);
        text
    }

    /// What histograms keep until somebody looks is put into their buckets. To be
    /// done every few seconds, or it grows.
    pub(crate) fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

impl Metrics {
    /// Records from now on what handles are told. Once a process.
    ///
    /// # Errors
    /// Somebody records already.
    pub(crate) fn record() -> Result<(Self, Recorded), MetricsError> {
        let builder = PrometheusBuilder::new().set_buckets(BUCKETS)?;
        let handle = builder.install_recorder()?;
        let metrics = Self::detached();
        let pools = Arc::clone(&metrics.pools);
        Ok((metrics, Recorded { handle, pools }))
    }

    /// Handles. Where nothing records they do nothing.
    pub(crate) fn detached() -> Self {
        for metric in ALL {
            match metric.kind {
                Kind::Counter => describe_counter!(metric.name, metric.help),
                Kind::Gauge => describe_gauge!(metric.name, metric.help),
                Kind::Histogram => describe_histogram!(metric.name, metric.help),
            }
        }
        Self {
            clients: gauge!(CLIENT_CONNECTIONS),
            clients_total: counter!(CLIENT_CONNECTIONS_TOTAL),
            checks: counter!(CHECKS),
            scrubs: counter!(SCRUBS),
            bytes_to_upstream: counter!(BYTES, "direction" => "to_upstream"),
            bytes_to_client: counter!(BYTES, "direction" => "to_client"),
            pools: Arc::default(),
        }
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        counter!(CLIENT_REFUSALS, "reason" => reason).increment(1);
    }

    pub(crate) fn session_ended(&self, reason: &'static str) {
        counter!(SESSION_ENDS, "reason" => reason).increment(1);
    }

    /// A client keeps its connection.
    pub(crate) fn pinned(&self, reason: &'static str) {
        counter!(PINS, "reason" => reason).increment(1);
    }

    pub(crate) fn cancel(&self, outcome: &'static str) {
        counter!(CANCELS, "outcome" => outcome).increment(1);
    }

    /// The handles of one upstream.
    pub(crate) fn upstream(&self, name: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            name: name.to_owned(),
            connections: gauge!(UPSTREAM_CONNECTIONS, "upstream" => name.to_owned()),
            waiting: gauge!(CLIENT_WAITING, "upstream" => name.to_owned()),
            wait: histogram!(CLIENT_WAIT, "upstream" => name.to_owned()),
            pools: Arc::clone(&self.pools),
        }
    }
}

/// Handles of one upstream.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamMetrics {
    name: String,
    connections: Gauge,
    waiting: Gauge,
    wait: Histogram,
    pools: Arc<PoolSeries>,
}

/// Counts in a gauge for as long as it lives.
#[derive(Debug)]
#[must_use = "counts until it is dropped"]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn one(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Numbers of one pool at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PoolFigures {
    pub(crate) active: u32,
    pub(crate) held: u32,
    pub(crate) idle: u32,
    pub(crate) waiting: u32,
}

impl PoolFigures {
    const fn add(&mut self, other: Self) {
        self.active += other.active;
        self.held += other.held;
        self.idle += other.idle;
        self.waiting += other.waiting;
    }
}

impl UpstreamMetrics {
    /// One connection that counts against the cap.
    pub(crate) fn connection(&self) -> Counted {
        Counted::one(&self.connections)
    }

    /// One client that waits for a connection.
    pub(crate) fn waiting(&self) -> Counted {
        Counted::one(&self.waiting)
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait.record(time);
    }

    pub(crate) fn connected(&self, time: Duration) {
        histogram!(UPSTREAM_CONNECT, "upstream" => self.name.clone()).record(time);
    }

    pub(crate) fn connect_failed(&self, reason: &'static str) {
        counter!(UPSTREAM_CONNECT_ERRORS, "upstream" => self.name.clone(), "reason" => reason)
            .increment(1);
    }

    /// The numbers of all pools that somebody uses or that have a connection.
    pub(crate) fn pools(&self, figures: &BTreeMap<String, PoolFigures>) {
        self.pools.report(&self.name, figures, Instant::now());
    }

    pub(crate) fn pool_opened(&self, pool: &str) {
        self.pools.opened(&self.name, pool);
    }

    pub(crate) fn pool_closed(&self, pool: &str, reason: &'static str) {
        self.pools.closed(&self.name, pool, reason);
    }

    /// `level` as in the help text of the metric.
    pub(crate) fn verification(&self, level: u8) {
        gauge!(UPSTREAM_VERIFICATION, "upstream" => self.name.clone()).set(f64::from(level));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_docs_is_the_one_in_the_code() {
        let docs = include_str!("../../docs/metrics.md");
        let rows: Vec<_> = docs
            .lines()
            .filter(|line| line.starts_with("| `pgsluice_"))
            .collect();
        let expected: Vec<_> = ALL
            .iter()
            .map(|metric| {
                let kind = metric.kind.word();
                format!(
                    "| `{}` | {kind} | {} | {} |",
                    metric.name, metric.labels, metric.help
                )
            })
            .collect();
        assert_eq!(
            rows,
            expected,
            "docs/metrics.md should have:\n{}",
            expected.join("\n")
        );
    }
}
