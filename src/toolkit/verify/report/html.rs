//! The report as one page that needs nothing else, to be kept.

use std::fmt::Write as _;

use super::{ALGORITHM, Report, utc};
use crate::toolkit::verify::side::PINNED;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1a1a1a}\
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}\
th,td{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em}\
.match{color:#0a6b2d}.mismatch{color:#a11;font-weight:600}.unchecked{color:#8a5a00;font-weight:600}.skipped{color:#666}\
h1 span{padding:.1rem .6rem;border-radius:.3rem;color:#fff;background:#a11}h1 span.equal{background:#0a6b2d}";

impl Report {
    pub(crate) fn to_html(&self) -> String {
        let (class, verdict) = match self.is_equal() {
            true => ("equal", "equal"),
            false => ("", "not proven equal"),
        };
        let tally = self.tally();
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>pgsluice verify: {verdict}</title>\
             <style>{STYLE}</style><h1>pgsluice verify <span class=\"{class}\">{verdict}</span></h1>\
             <p>{} match, {} mismatch, {} unchecked, {} skipped. Mode frozen, started {}, {:.1} s.</p>",
            tally.matches,
            tally.mismatches,
            tally.unchecked,
            tally.skipped,
            utc(self.seconds()),
            self.duration.as_secs_f64()
        );
        self.put_sides(&mut page);
        if !self.findings.is_empty() || !self.warnings.is_empty() {
            self.put_findings(&mut page);
        }
        self.put_tables(&mut page);
        self.put_kinds(&mut page);
        page
    }

    fn put_sides(&self, page: &mut String) {
        let rows = self.sides.iter().zip(&self.snapshots).zip(["from", "to"]);
        let rows = rows.map(|((side, snapshots), which)| {
            let snapshots = snapshots
                .iter()
                .map(|s| format!("{} at {}", s.id, s.position));
            vec![
                which.to_owned(),
                side.upstream.clone(),
                format!("{} in {}", side.user, side.database),
                format!("Postgres {}", side.version),
                side.encoding.clone(),
                side.tls.clone(),
                snapshots.collect::<Vec<_>>().join(", "),
            ]
        });
        let heads = [
            "",
            "upstream",
            "user and database",
            "version",
            "encoding",
            "TLS",
            "snapshot",
        ];
        put_table(page, &heads, rows);
    }

    fn put_findings(&self, page: &mut String) {
        page.push_str("<h2>What is not equal</h2>");
        let rows = self.findings.iter().map(|finding| {
            vec![
                finding.state.name().to_owned(),
                finding.kind.clone(),
                finding.name.clone(),
                finding.detail.clone(),
            ]
        });
        put_table(page, &["state", "kind", "name", "detail"], rows);
        for warning in &self.warnings {
            // Writing to a String does not fail.
            let _ = write!(page, "<p>Warning: {}</p>", escaped(warning));
        }
    }

    fn put_tables(&self, page: &mut String) {
        page.push_str("<h2>Rows</h2>");
        let rows = self.tables.iter().map(|table| {
            let [from, to] = table.totals;
            vec![
                table.state.name().to_owned(),
                table.name.clone(),
                format!("{} / {}", from.rows, to.rows),
                table.bytes[0].to_string(),
                from.sum.to_string(),
                to.sum.to_string(),
                format!("{:.1}", table.times[0].max(table.times[1]).as_secs_f64()),
            ]
        });
        let heads = [
            "state",
            "table",
            "rows, old / new",
            "bytes",
            "old sum",
            "new sum",
            "seconds",
        ];
        put_table(page, &heads, rows);
    }

    fn put_kinds(&self, page: &mut String) {
        page.push_str("<h2>What was compared</h2>");
        let rows = self.kinds.iter().map(|(kind, tally)| {
            let numbers = [
                tally.matches,
                tally.mismatches,
                tally.unchecked,
                tally.skipped,
            ];
            let numbers = numbers.iter().map(usize::to_string);
            std::iter::once(kind.clone()).chain(numbers).collect()
        });
        put_table(
            page,
            &["kind", "match", "mismatch", "unchecked", "skipped"],
            rows,
        );
        let settings = PINNED.map(|(name, value)| format!("{name} = {value}"));
        let _ = write!(
            page,
            "<p>Algorithm: <code>{ALGORITHM}</code>. Settings: <code>{}</code>. pgsluice {}.</p>",
            escaped(&settings.join("; ")),
            env!("PGSLUICE_VERSION")
        );
    }
}

/// A state's name, where it stands first, is the colour of its row.
fn put_table(page: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    page.push_str("<table><tr>");
    for head in heads {
        let _ = write!(page, "<th>{}", escaped(head));
    }
    for row in rows {
        page.push_str("<tr>");
        for cell in &row {
            let class = match cell.as_str() {
                "match" | "mismatch" | "unchecked" | "skipped" => cell,
                text if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => "n",
                _ => "",
            };
            let _ = write!(page, "<td class=\"{class}\">{}", escaped(cell));
        }
    }
    page.push_str("</table>");
}

/// Names and texts of a database may hold anything.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
