//! What was compared and what came of it, with everything that somebody needs who did not
//! see it happen. `text`, `json` and `html` are its three forms.

mod html;
mod json;
mod text;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::buckets::Bucket;
use super::rows::Sum;
use super::side::{About, Snapshot};
use super::tables::Pair;
use super::verdict::{Finding, State, Tally};

/// How a row becomes a sum; a report is comparable only with one of the same name.
pub(crate) const ALGORITHM: &str =
    "sum and count of 64-bit row hashes by bucket (hashtextextended), v1";

/// Major versions that verify is tested with.
const TESTED: [u32; 2] = [15, 18];

#[derive(Debug)]
pub(crate) struct Report {
    started: SystemTime,
    pub(super) duration: Duration,
    pub(super) jobs: usize,
    sides: [About; 2],
    snapshots: [Vec<Snapshot>; 2],
    kinds: BTreeMap<String, Tally>,
    findings: Vec<Finding>,
    tables: Vec<TableReport>,
    warnings: Vec<String>,
}

/// The rows of one table.
#[derive(Debug)]
struct TableReport {
    name: String,
    state: State,
    detail: String,
    totals: [Bucket; 2],
    bytes: [u64; 2],
    times: [Duration; 2],
    buckets: u32,
    key: Vec<String>,
}

impl Report {
    pub(super) fn new(started: SystemTime, sides: [About; 2]) -> Self {
        let untested = sides.iter().filter(|side| !TESTED.contains(&side.major()));
        let warnings = untested.map(|side| {
            format!(
                "{} is Postgres {}: verify is not tested with that version",
                side.upstream, side.version
            )
        });
        Self {
            started,
            warnings: warnings.collect(),
            sides,
            duration: Duration::ZERO,
            jobs: 1,
            snapshots: [Vec::new(), Vec::new()],
            kinds: BTreeMap::new(),
            findings: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Adds what was found of one kind.
    pub(super) fn add(&mut self, kind: &str, matches: usize, findings: Vec<Finding>) {
        let tally = self.kinds.entry(kind.to_owned()).or_default();
        tally.add(State::Match, matches);
        for finding in &findings {
            tally.add(finding.state, 1);
        }
        self.findings.extend(findings);
    }

    pub(super) fn add_table(&mut self, pair: &Pair, sums: &[Sum; 2], state: State, detail: String) {
        let name = pair.from.name.clone();
        match state {
            State::Match => self.add("rows", 1, Vec::new()),
            state => {
                let finding = Finding::new("rows", name.as_str(), state, detail.as_str());
                self.add("rows", 0, vec![finding]);
            }
        }
        self.tables.push(TableReport {
            name,
            state,
            detail,
            totals: [sums[0].buckets.total(), sums[1].buckets.total()],
            bytes: [pair.from.bytes, pair.to.bytes],
            times: [sums[0].time, sums[1].time],
            buckets: pair.hashing.buckets,
            key: pair.from.key.clone(),
        });
    }

    /// Adds a side's snapshots, and whether anything was written since the first.
    pub(super) fn add_snapshots(&mut self, side: usize, snapshots: Vec<Snapshot>, now: &Snapshot) {
        let first = snapshots.first().map(|snapshot| &snapshot.next_transaction);
        if first.is_some_and(|first| *first != now.next_transaction) {
            self.warnings.push(format!(
                "{} was written to while it was compared (autovacuum counts too): what is reported holds for the snapshot",
                self.sides[side].upstream
            ));
        }
        self.snapshots[side] = snapshots;
    }

    fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for tally in self.kinds.values() {
            all.add(State::Match, tally.matches);
            all.add(State::Mismatch, tally.mismatches);
            all.add(State::Unchecked, tally.unchecked);
            all.add(State::Skipped, tally.skipped);
        }
        all
    }

    /// Whether everything was compared and agrees.
    pub(crate) fn is_equal(&self) -> bool {
        self.tally().is_equal()
    }

    fn seconds(&self) -> u64 {
        let since = self.started.duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }
}

/// The lower half of a sum, for people to compare; the JSON has all of it.
fn short(sum: i128) -> String {
    format!("{:016x}", sum & i128::from(u64::MAX))
}

/// A moment as `2024-02-29T01:02:03Z`.
fn utc(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have the leap day at their end.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (year + era * 400, month + 3),
        _ => (year + era * 400 + 1, month - 9),
    };
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests;
