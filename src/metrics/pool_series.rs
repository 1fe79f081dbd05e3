//! Series of pools. Clients choose the names in their labels, so their number is
//! bounded: a pool has series once the server has let somebody in, for as long as
//! it is used and a while longer, and those beyond the bound are one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::names::{ALL, POOL_CLOSED, POOL_CONNECTIONS, POOL_OPENED, POOL_WAITING};

/// Pools of one upstream that have series of their own.
pub(super) const MAX_POOLS: usize = 256;
/// How long the series of a pool that nobody uses are kept: a scrape must see their
/// last values. It also bounds how many new names a scraper is told in an hour.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// Stands for all others. No pool has this label: theirs have a slash.
const OTHER: &str = "other";

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

/// Series of the pools of all upstreams.
#[derive(Debug, Default)]
pub(super) struct PoolSeries(Mutex<BTreeMap<String, Table>>);

/// Those of one upstream.
#[derive(Debug, Clone, Default)]
struct Table {
    rows: BTreeMap<String, Row>,
    other: Option<Row>,
}

#[derive(Debug, Clone, Default)]
struct Row {
    figures: PoolFigures,
    opened: u64,
    closed: BTreeMap<&'static str, u64>,
    unused_since: Option<Instant>,
}

impl PoolSeries {
    /// A connection joined the pool: its names are no invention.
    pub(super) fn opened(&self, upstream: &str, pool: &str) {
        self.change(upstream, |table| {
            let admitted = table.rows.len() < MAX_POOLS;
            if admitted && !table.rows.contains_key(pool) {
                table.rows.insert(pool.to_owned(), Row::default());
            }
            table.row(pool).opened += 1;
        });
    }

    pub(super) fn closed(&self, upstream: &str, pool: &str, reason: &'static str) {
        self.change(upstream, |table| {
            *table.row(pool).closed.entry(reason).or_default() += 1;
        });
    }

    /// The numbers of all pools that somebody uses or that have a connection.
    pub(super) fn report(
        &self,
        upstream: &str,
        figures: &BTreeMap<String, PoolFigures>,
        now: Instant,
    ) {
        self.change(upstream, |table| table.report(figures, now));
    }

    fn change(&self, upstream: &str, change: impl FnOnce(&mut Table)) {
        let mut upstreams = self.0.lock();
        match upstreams.get_mut(upstream) {
            Some(table) => change(table),
            None => change(upstreams.entry(upstream.to_owned()).or_default()),
        }
    }

    /// All of it in Prometheus' text format.
    pub(super) fn render(&self, out: &mut String) {
        // Sessions that count must not wait for the text.
        let upstreams = self.0.lock().clone();
        let rows = || {
            upstreams.iter().flat_map(|(upstream, table)| {
                let other = table.other.iter().map(|row| (OTHER, row));
                let rows = table.rows.iter().map(|(pool, row)| (pool.as_str(), row));
                rows.chain(other)
                    .map(move |(pool, row)| (labels(upstream, pool), row))
            })
        };
        head(out, POOL_CONNECTIONS);
        for (labels, row) in rows() {
            let figures = row.figures;
            let states = [
                ("active", figures.active),
                ("held", figures.held),
                ("idle", figures.idle),
            ];
            for (state, value) in states {
                let labels = format!("{labels},state=\"{state}\"");
                line(out, POOL_CONNECTIONS, &labels, value.into());
            }
        }
        head(out, POOL_WAITING);
        for (labels, row) in rows() {
            line(out, POOL_WAITING, &labels, row.figures.waiting.into());
        }
        head(out, POOL_OPENED);
        for (labels, row) in rows() {
            line(out, POOL_OPENED, &labels, row.opened);
        }
        head(out, POOL_CLOSED);
        for (labels, row) in rows() {
            for (reason, times) in &row.closed {
                let labels = format!("{labels},reason=\"{reason}\"");
                line(out, POOL_CLOSED, &labels, *times);
            }
        }
    }
}

impl Table {
    fn row(&mut self, pool: &str) -> &mut Row {
        match self.rows.get_mut(pool) {
            Some(row) => row,
            None => self.other.get_or_insert_default(),
        }
    }

    fn report(&mut self, figures: &BTreeMap<String, PoolFigures>, now: Instant) {
        for row in self.rows.values_mut().chain(&mut self.other) {
            row.figures = PoolFigures::default();
        }
        for (pool, figures) in figures {
            self.row(pool).figures.add(*figures);
        }
        self.rows.retain(|_, row| {
            if row.figures != PoolFigures::default() {
                row.unused_since = None;
                return true;
            }
            now < *row.unused_since.get_or_insert(now) + KEPT
        });
    }
}

fn labels(upstream: &str, pool: &str) -> String {
    let (upstream, pool) = (escaped(upstream), escaped(pool));
    format!("upstream=\"{upstream}\",pool=\"{pool}\"")
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

fn head(out: &mut String, name: &str) {
    if let Some(metric) = ALL.iter().find(|metric| metric.name == name) {
        let (help, kind) = (metric.help, metric.kind.word());
        // To a text, which takes all of it.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: PoolFigures = PoolFigures {
        active: 1,
        held: 2,
        idle: 3,
        waiting: 4,
    };

    fn lines(series: &PoolSeries) -> Vec<String> {
        let mut text = String::new();
        series.render(&mut text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    fn report(series: &PoolSeries, pools: &[String], now: Instant) {
        let figures = pools.iter().map(|pool| (pool.clone(), BUSY)).collect();
        series.report("u", &figures, now);
    }

    fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("db{number}/me")).collect()
    }

    #[test]
    fn a_pool_whose_logins_all_failed_has_no_series_but_is_counted() {
        let series = PoolSeries::default();
        report(&series, &names(0..1000), Instant::now());
        assert_eq!(
            lines(&series),
            [
                r#"pgsluice_pool_connections{upstream="u",pool="other",state="active"} 1000"#,
                r#"pgsluice_pool_connections{upstream="u",pool="other",state="held"} 2000"#,
                r#"pgsluice_pool_connections{upstream="u",pool="other",state="idle"} 3000"#,
                r#"pgsluice_pool_waiting_clients{upstream="u",pool="other"} 4000"#,
                r#"pgsluice_pool_opened_total{upstream="u",pool="other"} 0"#,
            ]
        );
    }

    #[test]
    fn beyond_the_bound_pools_are_one_until_others_have_long_been_unused() {
        let series = PoolSeries::default();
        let began = Instant::now();
        for pool in names(0..1000) {
            series.opened("u", &pool);
            series.closed("u", &pool, "age");
        }
        let bounded = lines(&series).len();
        assert_eq!(bounded, (MAX_POOLS + 1) * 6);
        let other = r#"pgsluice_pool_opened_total{upstream="u",pool="other"} 744"#;
        assert!(lines(&series).contains(&other.to_owned()));
        let used = names(0..10);
        report(&series, &used, began);
        report(&series, &used, began + KEPT - Duration::from_secs(1));
        assert_eq!(lines(&series).len(), bounded);
        report(&series, &used, began + KEPT);
        assert_eq!(lines(&series).len(), 11 * 6);
        series.opened("u", "late/me");
        let late = r#"pgsluice_pool_opened_total{upstream="u",pool="late/me"} 1"#;
        assert!(lines(&series).contains(&late.to_owned()));
    }

    #[test]
    fn a_pool_that_is_used_again_in_time_keeps_its_numbers() {
        let series = PoolSeries::default();
        let began = Instant::now();
        series.opened("u", "a/b");
        for minutes in [0, 14, 28, 42] {
            let now = began + Duration::from_secs(minutes * 60);
            report(&series, &[], now);
            report(&series, &["a/b".to_owned()], now + Duration::from_secs(1));
        }
        let opened = r#"pgsluice_pool_opened_total{upstream="u",pool="a/b"} 1"#;
        assert!(lines(&series).contains(&opened.to_owned()));
    }

    #[test]
    fn no_name_breaks_out_of_its_label() {
        let series = PoolSeries::default();
        series.opened("u", "a\"b\\c\nd");
        let lines = lines(&series);
        let expected = r#"pgsluice_pool_opened_total{upstream="u",pool="a\"b\\c\nd"} 1"#;
        assert!(lines.contains(&expected.to_owned()), "{lines:#?}");
    }
}
