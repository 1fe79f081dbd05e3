//! All three forms say the same, and what cannot be read is no markup.

use std::collections::BTreeMap;

use super::*;
use crate::toolkit::verify::table::{Hashing, Table};

fn about(upstream: &str, version: u32) -> About {
    About {
        upstream: upstream.to_owned(),
        user: "app".to_owned(),
        database: "shop".to_owned(),
        version: format!("{version}.4"),
        version_number: version * 10_000 + 4,
        encoding: "UTF8".to_owned(),
        in_recovery: false,
        identity: upstream.to_owned(),
        tls: "none".to_owned(),
    }
}

fn report() -> Report {
    Report::new(UNIX_EPOCH, [about("old", 15), about("new", 18)])
}

fn pair(name: &str) -> Pair {
    let table = Table {
        name: name.to_owned(),
        source: String::new(),
        condition: None,
        columns: Vec::new(),
        expressions: BTreeMap::new(),
        key: Vec::new(),
        blocks: 1,
        bytes: 8192,
        rows: 1,
    };
    Pair {
        from: table.clone(),
        to: table,
        hashing: Hashing {
            buckets: 1,
            recode: false,
        },
    }
}

fn snapshot(next: &str) -> Snapshot {
    Snapshot {
        id: "3-1".to_owned(),
        position: "0/1".to_owned(),
        next_transaction: next.to_owned(),
    }
}

#[test]
fn a_report_of_nothing_is_not_equal() {
    let report = report();
    assert!(!report.is_equal());
    assert_eq!(report.to_json()["exit_code"], 1);
    assert!(report.to_string().contains("NOT PROVEN EQUAL"));
    assert!(report.to_html().contains("not proven equal"));
}

#[test]
fn one_unchecked_table_among_many_that_match_is_not_equal() {
    let mut report = report();
    report.add("column", 1000, Vec::new());
    let sums = [Sum::default(), Sum::default()];
    report.add_table(&pair("s.good"), &sums, State::Match, String::new());
    assert!(report.is_equal());
    report.add_table(
        &pair("s.bad"),
        &sums,
        State::Unchecked,
        "permission denied".to_owned(),
    );
    assert!(!report.is_equal());
    let json = report.to_json();
    assert_eq!(json["summary"]["unchecked"], 1);
    assert_eq!(json["findings"][0]["detail"], "permission denied");
    assert!(
        report
            .to_string()
            .contains("UNCHECKED  rows s.bad: permission denied"),
        "{report}"
    );
    assert!(report.to_html().contains("permission denied"));
}

#[test]
fn what_a_database_holds_is_no_markup() {
    let mut report = report();
    let name = "s.\"<script>alert(1)</script>\"";
    report.add_table(
        &pair(name),
        &[Sum::default(), Sum::default()],
        State::Mismatch,
        "<b>".to_owned(),
    );
    let page = report.to_html();
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[test]
fn writes_meanwhile_and_untested_versions_are_told() {
    let mut report = Report::new(UNIX_EPOCH, [about("old", 12), about("new", 18)]);
    report.add_snapshots(0, vec![snapshot("700")], &snapshot("700"));
    report.add_snapshots(1, vec![snapshot("700")], &snapshot("701"));
    let text = report.to_string();
    assert!(
        text.contains("old is Postgres 12.4: verify is not tested"),
        "{text}"
    );
    assert!(text.contains("new was written to"), "{text}");
    assert!(!text.contains("old was written to"), "{text}");
}

#[test]
fn moments_are_in_utc() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_709_168_523, "2024-02-29T01:02:03Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
    ] {
        assert_eq!(utc(seconds), text);
    }
}
