//! `verify`: proves that one database holds what another holds, or says what differs and
//! what it could not look at.
//!
//! `verdict`, `objects`, `normalise`, `buckets`, `table` and `drill` decide; they have no
//! sockets. `side` is a server, `catalog`, `sequences`, `tables`, `rows` and `suspects`
//! read from two of them, `report` tells.

mod buckets;
mod catalog;
mod drill;
mod error;
mod normalise;
mod objects;
mod report;
mod rows;
mod sequences;
mod side;
mod suspects;
mod table;
mod tables;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::connect::Target;
use rows::{Effort, Sides, Sum, sum_up};
use side::Side;
use suspects::find;
use tables::{Filters, Pair, pairs};
use verdict::{Finding, State};

pub(crate) use error::VerifyError;
pub(crate) use report::Report;

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) schemas: Vec<String>,
    pub(crate) tables: Vec<String>,
    /// Roles of the old side by the names that they have on the new one.
    pub(crate) roles: BTreeMap<String, String>,
    pub(crate) jobs: usize,
    pub(crate) max_rate: Option<u64>,
    pub(crate) max_snapshot_age: Duration,
    /// Keys that are shown of a table that differs.
    pub(crate) samples: usize,
}

/// Both databases, connected to and fit to be compared.
#[derive(Debug)]
pub(crate) struct Verification {
    sides: Sides,
    options: Options,
    began: Instant,
    started: SystemTime,
}

impl Verification {
    /// Connects to both, and takes their snapshots.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub(crate) async fn open(
        from: Target,
        to: Target,
        options: Options,
    ) -> Result<Self, VerifyError> {
        let (began, started) = (Instant::now(), SystemTime::now());
        let (from, to) = tokio::join!(
            Side::open(from, options.max_snapshot_age),
            Side::open(to, options.max_snapshot_age)
        );
        let (from, to) = (from?, to?);
        if from.about.identity == to.about.identity {
            return Err(VerifyError::Preflight {
                problem: format!(
                    "\"{}\" and \"{}\" are the same database: it would agree with itself",
                    from.about.upstream, to.about.upstream
                ),
                cure: "check host, port and dbname of both upstreams",
            });
        }
        for side in [&from, &to] {
            if side.about.major() < 11 {
                return Err(VerifyError::Preflight {
                    problem: format!(
                        "\"{}\" is Postgres {}, which lacks the functions that rows are compared with",
                        side.about.upstream, side.about.version
                    ),
                    cure: "verify needs Postgres 11 or newer, and is tested from 14 on",
                });
            }
        }
        Ok(Self {
            sides: [Arc::new(from), Arc::new(to)],
            options,
            began,
            started,
        })
    }

    /// Asks both servers to end what is running, for whoever is interrupted.
    pub(crate) async fn cancel(&self) {
        tokio::join!(self.sides[0].cancel(), self.sides[1].cancel());
    }

    /// Compares everything. `progress` is told what is finished.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub(crate) async fn run(&self, progress: &mut dyn FnMut(&str)) -> Result<Report, VerifyError> {
        let [from, to] = &self.sides;
        let mut report = Report::new(self.started, [from.about.clone(), to.about.clone()]);
        report.jobs = self.options.jobs;
        progress("comparing definitions");
        for (kind, comparison) in catalog::compare_catalogs(from, to, &self.options.roles).await {
            report.add(kind, comparison.matches, comparison.findings);
        }
        let filters = Filters {
            schemas: self.options.schemas.clone(),
            tables: self.options.tables.clone(),
        };
        let (matches, findings) = sequences::compare_positions(from, to, &filters).await;
        report.add("sequence position", matches, findings);
        self.rows(&filters, &mut report, progress).await?;
        self.finish(&mut report).await;
        Ok(report)
    }

    async fn rows(
        &self,
        filters: &Filters,
        report: &mut Report,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), VerifyError> {
        let (pairs, findings) = pairs(&self.sides[0], &self.sides[1], filters).await;
        let is_chosen = |finding: &Finding| finding.state != State::Skipped;
        if pairs.is_empty() && !findings.is_empty() && !findings.iter().any(is_chosen) {
            return Err(VerifyError::NothingChosen);
        }
        report.add("rows", 0, findings);
        let pairs = Arc::new(pairs);
        let effort = Effort {
            jobs: self.options.jobs,
            max_rate: self.options.max_rate,
        };
        let total = pairs.len();
        let mut number = 0;
        let seen = |pair: usize, _: &[Sum; 2]| {
            number += 1;
            progress(&format!("{number}/{total} {}", pairs[pair].from.name));
        };
        let sums = sum_up(&self.sides, &pairs, effort, seen).await;
        for (pair, sums) in pairs.iter().zip(&sums) {
            let (state, detail) = self.judge(pair, sums).await;
            report.add_table(pair, sums, state, detail);
        }
        Ok(())
    }

    /// What the sums of a table say, and where they differ, the rows.
    async fn judge(&self, pair: &Pair, sums: &[Sum; 2]) -> (State, String) {
        let errors: Vec<_> = sums.iter().filter_map(|sum| sum.error.clone()).collect();
        if !errors.is_empty() {
            return (State::Unchecked, errors.join("; "));
        }
        let [from, to] = [&sums[0].buckets, &sums[1].buckets];
        if from == to {
            return (State::Match, String::new());
        }
        let detail = match find(&self.sides, pair, [from, to], self.options.samples).await {
            Ok(difference) => difference.describe(),
            Err(error) => format!("the sums differ; which rows could not be found: {error}"),
        };
        (State::Mismatch, detail)
    }

    async fn finish(&self, report: &mut Report) {
        for (number, side) in self.sides.iter().enumerate() {
            match side.finish().await {
                Ok((snapshots, now)) => report.add_snapshots(number, snapshots, &now),
                Err(error) => {
                    let detail = format!("{}: {}", side.about.upstream, side::reason(&error));
                    let finding = Finding::new("snapshot", "at the end", State::Unchecked, detail);
                    report.add("snapshot", 0, vec![finding]);
                }
            }
        }
        report.duration = self.began.elapsed();
    }
}
