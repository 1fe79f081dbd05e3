//! The report for machines.

use serde_json::{Value, json};

use super::{ALGORITHM, Report, TableReport, utc};
use crate::toolkit::verify::side::{About, PINNED, Snapshot};
use crate::toolkit::verify::verdict::{Finding, Tally};

impl Report {
    pub(crate) fn to_json(&self) -> Value {
        let kinds = self
            .kinds
            .iter()
            .map(|(kind, tally)| (kind.clone(), counts(*tally)));
        let sides = self.sides.iter().zip(&self.snapshots);
        json!({
            "schema_version": 1,
            "tool": format!("pgsluice {}", env!("PGSLUICE_VERSION")),
            "mode": "frozen",
            "started": utc(self.seconds()),
            "seconds": self.duration.as_secs_f64(),
            "jobs": self.jobs,
            "algorithm": ALGORITHM,
            "settings": PINNED.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
            "sides": sides.map(|(side, snapshots)| of_side(side, snapshots)).collect::<Vec<_>>(),
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(),
            "kinds": kinds.collect::<serde_json::Map<_, _>>(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "warnings": self.warnings,
            "summary": counts(self.tally()),
            "equal": self.is_equal(),
            "exit_code": u8::from(!self.is_equal()),
        })
    }
}

fn counts(tally: Tally) -> Value {
    json!({
        "match": tally.matches,
        "mismatch": tally.mismatches,
        "unchecked": tally.unchecked,
        "skipped": tally.skipped,
    })
}

fn of_side(side: &About, snapshots: &[Snapshot]) -> Value {
    let snapshots = snapshots.iter();
    json!({
        "upstream": side.upstream,
        "user": side.user,
        "database": side.database,
        "server_version": side.version,
        "encoding": side.encoding,
        "in_recovery": side.in_recovery,
        "tls": side.tls,
        "snapshots": snapshots.map(|snapshot| json!({
            "id": snapshot.id,
            "position": snapshot.position,
            "next_transaction": snapshot.next_transaction,
        })).collect::<Vec<_>>(),
    })
}

fn table(table: &TableReport) -> Value {
    json!({
        "name": table.name,
        "state": table.state.name(),
        "detail": table.detail,
        "rows": table.totals.map(|total| total.rows),
        // Wider than what a number in JSON holds.
        "sums": table.totals.map(|total| total.sum.to_string()),
        "bytes": table.bytes,
        "seconds": table.times.map(|time| time.as_secs_f64()),
        "buckets": table.buckets,
        "key": table.key,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind,
        "name": finding.name,
        "state": finding.state.name(),
        "detail": finding.detail,
    })
}
