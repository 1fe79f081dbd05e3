//! The report for a person at a terminal.

use std::fmt::{self, Display, Formatter};

use super::{ALGORITHM, Report, utc};
use crate::toolkit::verify::verdict::State;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (which, (side, snapshots)) in ["from", "to"]
            .iter()
            .zip(self.sides.iter().zip(&self.snapshots))
        {
            write!(
                f,
                "{which:<5}{} as {} in {}, Postgres {}, {}, TLS {}",
                side.upstream, side.user, side.database, side.version, side.encoding, side.tls
            )?;
            let snapshots = snapshots.iter();
            let shown: Vec<_> = snapshots
                .map(|s| format!("{} at {}", s.id, s.position))
                .collect();
            writeln!(f, ", snapshot {}", shown.join(", "))?;
        }
        writeln!(
            f,
            "mode frozen, started {}, {:.1} s, algorithm {ALGORITHM}\n",
            utc(self.seconds()),
            self.duration.as_secs_f64()
        )?;
        self.write_tables(f)?;
        self.write_kinds(f)?;
        for finding in &self.findings {
            // Words in capitals stand out where there are no colours.
            let state = match finding.state {
                State::Skipped => "skipped".to_owned(),
                state => state.name().to_uppercase(),
            };
            writeln!(
                f,
                "{state:<10} {} {}: {}",
                finding.kind, finding.name, finding.detail
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let tally = self.tally();
        writeln!(
            f,
            "{}: {} match, {} mismatch, {} unchecked, {} skipped",
            if self.is_equal() {
                "EQUAL"
            } else {
                "NOT PROVEN EQUAL"
            },
            tally.matches,
            tally.mismatches,
            tally.unchecked,
            tally.skipped
        )
    }
}

impl Report {
    fn write_tables(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.tables.is_empty() {
            return Ok(());
        }
        let width = self.tables.iter().map(|table| table.name.chars().count());
        let width = width.max().unwrap_or_default().clamp(5, 50);
        writeln!(
            f,
            "{:<width$} {:>14} {:>11}  {:<17} {:<17} {:<9} {:>7}",
            "rows of", "number", "bytes", "old sum", "new sum", "state", "s"
        )?;
        for table in &self.tables {
            let [from, to] = table.totals;
            let number = match from.rows == to.rows {
                true => from.rows.to_string(),
                false => format!("{}/{}", from.rows, to.rows),
            };
            writeln!(
                f,
                "{:<width$} {number:>14} {:>11}  {:<17} {:<17} {:<9} {:>7.1}",
                table.name,
                table.bytes[0],
                super::short(from.sum),
                super::short(to.sum),
                table.state.name(),
                table.times[0].max(table.times[1]).as_secs_f64(),
            )?;
        }
        writeln!(f)
    }

    fn write_kinds(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (kind, tally) in &self.kinds {
            write!(f, "{kind:<18} {:>6} match", tally.matches)?;
            for (number, what) in [
                (tally.mismatches, "mismatch"),
                (tally.unchecked, "unchecked"),
                (tally.skipped, "skipped"),
            ] {
                if number > 0 {
                    write!(f, ", {number} {what}")?;
                }
            }
            writeln!(f)?;
        }
        writeln!(f)
    }
}
