//! Names and handles of everything that is counted.
//!
//! The only room that names `metrics`. Rooms are handed a [`Metrics`] and report
//! to it; nothing ever reads a metric to decide something.

mod names;
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

pub(crate) use names::{ALL, Kind};
pub(crate) use pool_series::PoolFigures;

use names::{
    BYTES, CANCELS, CHECKS, CLIENT_CONNECTIONS, CLIENT_CONNECTIONS_TOTAL, CLIENT_REFUSALS,
    CLIENT_WAIT, CLIENT_WAITING, PINS, SCRUBS, SESSION_ENDS, UPSTREAM_CONNECT,
    UPSTREAM_CONNECT_ERRORS, UPSTREAM_CONNECTIONS, UPSTREAM_VERIFICATION,
};
use pool_series::PoolSeries;

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
