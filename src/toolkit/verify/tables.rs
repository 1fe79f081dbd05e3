//! Which tables there are on both sides, and which of them are compared.

use std::collections::BTreeMap;

use super::buckets::number_of_buckets;
use super::side::{Side, TextRow, reason, value};
use super::table::{Hashing, Table};
use super::verdict::{Finding, State};

const TABLES: &str = include_str!("catalog/tables.sql");
const LARGE_OBJECTS: &str = "select count(*) as number from pg_largeobject_metadata";

/// A table of both sides, and how its rows are hashed.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) from: Table,
    pub(crate) to: Table,
    pub(crate) hashing: Hashing,
}

/// Which tables are compared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    /// Patterns of schemas and of tables, in which `*` is any text. None is all of them.
    pub(crate) schemas: Vec<String>,
    pub(crate) tables: Vec<String>,
}

impl Filters {
    pub(crate) fn let_through(&self, name: &str) -> bool {
        let schema = name.split('.').next().unwrap_or_default();
        let any = |patterns: &[String], text: &str| {
            patterns
                .iter()
                .any(|pattern| matches(pattern, text) || matches(pattern, &text.replace('"', "")))
        };
        (self.schemas.is_empty() && self.tables.is_empty())
            || any(&self.schemas, schema)
            || any(&self.tables, name)
    }
}

/// Whether a text is like a pattern in which `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, behind)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| matches(behind, &rest[at..]))
        }),
    }
}

/// The tables to compare, the largest first, and what is to say of the others.
pub(crate) async fn pairs(from: &Side, to: &Side, filters: &Filters) -> (Vec<Pair>, Vec<Finding>) {
    let (old, new) = tokio::join!(tables(from), tables(to));
    let (old, new) = match (old, new) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            let reasons = [old.err(), new.err()].into_iter().flatten();
            let finding = |reason| Finding::new("rows", "all tables", State::Unchecked, reason);
            return (Vec::new(), reasons.map(finding).collect());
        }
    };
    let recode = from.about.encoding != to.about.encoding;
    pair_up(old, new, filters, recode)
}

type Found = BTreeMap<String, (Kind, Table)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Foreign,
}

fn pair_up(
    old: Found,
    mut new: Found,
    filters: &Filters,
    recode: bool,
) -> (Vec<Pair>, Vec<Finding>) {
    let (mut pairs, mut findings) = (Vec::new(), Vec::new());
    let mut say = |name: &str, state, detail: String| {
        findings.push(Finding::new("rows", name, state, detail));
    };
    for (name, (kind, from)) in old {
        let other = new.remove(&name);
        if !filters.let_through(&name) {
            say(
                &name,
                State::Skipped,
                "left out by --schema or --table".to_owned(),
            );
            continue;
        }
        let Some((other_kind, to)) = other else {
            say(
                &name,
                State::Mismatch,
                "the table is missing on the new side".to_owned(),
            );
            continue;
        };
        if kind == Kind::Foreign && other_kind == Kind::Foreign {
            say(
                &name,
                State::Skipped,
                "a foreign table: its rows are on another server".to_owned(),
            );
        } else if kind != other_kind {
            say(
                &name,
                State::Unchecked,
                "a foreign table on one side alone".to_owned(),
            );
        } else if let Some(reason) = from.incomparable(&to) {
            say(&name, State::Unchecked, reason);
        } else {
            pairs.push(Pair {
                hashing: Hashing {
                    buckets: number_of_buckets(rows_of(&from).max(rows_of(&to))),
                    recode,
                },
                from,
                to,
            });
        }
    }
    for name in new.into_keys().filter(|name| filters.let_through(name)) {
        say(
            &name,
            State::Mismatch,
            "the table is only on the new side".to_owned(),
        );
    }
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.from.bytes.max(pair.to.bytes)));
    // Keys that are not the same on both sides name no rows.
    for pair in &mut pairs {
        if pair.from.key != pair.to.key {
            pair.from.key.clear();
            pair.to.key.clear();
        }
    }
    (pairs, findings)
}

/// What statistics say, or else what fits into its blocks.
fn rows_of(table: &Table) -> u64 {
    table.rows.max(table.blocks * 20)
}

async fn tables(side: &Side) -> Result<Found, String> {
    let told = |error| {
        format!(
            "the tables of {} cannot be listed: {}",
            side.about.upstream,
            reason(&error)
        )
    };
    let rows = side.read(TABLES).await.map_err(told)?;
    let mut found: Found = rows.iter().map(table).collect::<Result<_, _>>()?;
    let rows = side.read(LARGE_OBJECTS).await.map_err(told)?;
    let number = rows.first().and_then(|row| value(row, "number"));
    let number = number.and_then(|number| number.parse().ok()).unwrap_or(0);
    let table = large_objects(number);
    found.insert(table.name.clone(), (Kind::Local, table));
    Ok(found)
}

fn table(row: &TextRow) -> Result<(String, (Kind, Table)), String> {
    let field = |name: &str| value(row, name).unwrap_or_default();
    let number = |name: &str| field(name).parse().unwrap_or(0);
    let name = field("name").to_owned();
    let unreadable = || format!("the columns of {name} cannot be read");
    let columns: Vec<(String, String)> = match field("columns") {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|_| unreadable())?,
    };
    let key: Vec<String> = match field("key") {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|_| unreadable())?,
    };
    let kind = if field("kind") == "f" {
        Kind::Foreign
    } else {
        Kind::Local
    };
    let condition = field("condition").trim();
    let condition = condition
        .strip_prefix("WHERE")
        .or_else(|| condition.strip_prefix("where"))
        .unwrap_or(condition);
    let table = Table {
        source: format!("only {name}"),
        condition: Some(condition.trim().to_owned()).filter(|text| !text.is_empty()),
        columns,
        expressions: BTreeMap::new(),
        key,
        blocks: number("blocks"),
        bytes: number("bytes"),
        rows: number("rows"),
        name: name.clone(),
    };
    Ok((name, (kind, table)))
}

/// Large objects as a table: whoever may read them need not be superuser.
fn large_objects(number: u64) -> Table {
    Table {
        name: "large objects".to_owned(),
        source: "pg_largeobject_metadata".to_owned(),
        condition: None,
        columns: vec![
            ("content".to_owned(), "bytea".to_owned()),
            ("oid".to_owned(), "oid".to_owned()),
        ],
        expressions: BTreeMap::from([("content".to_owned(), "sha256(lo_get(oid))".to_owned())]),
        key: vec!["oid".to_owned()],
        blocks: 0,
        bytes: 0,
        rows: number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &[(&str, Kind, &[&str])]) -> Found {
        let one = |(name, kind, columns): &(&str, Kind, &[&str])| {
            let columns = columns
                .iter()
                .map(|name| ((*name).to_owned(), "text".to_owned()));
            let table = Table {
                name: (*name).to_owned(),
                columns: columns.collect(),
                ..large_objects(1)
            };
            ((*name).to_owned(), (*kind, table))
        };
        list.iter().map(one).collect()
    }

    fn states(old: &Found, new: &Found, filters: &Filters) -> (usize, Vec<State>) {
        let (pairs, findings) = pair_up(old.clone(), new.clone(), filters, false);
        (
            pairs.len(),
            findings.iter().map(|finding| finding.state).collect(),
        )
    }

    #[test]
    fn every_table_of_either_side_is_compared_or_spoken_of() {
        use Kind::{Foreign, Local};
        let all = Filters::default();
        let one = found(&[("s.a", Local, &["x"])]);
        let none = found(&[]);
        assert_eq!(states(&one, &one, &all), (1, vec![]));
        assert_eq!(states(&one, &none, &all), (0, vec![State::Mismatch]));
        assert_eq!(states(&none, &one, &all), (0, vec![State::Mismatch]));
        let other = found(&[("s.a", Local, &["y"])]);
        assert_eq!(states(&one, &other, &all), (0, vec![State::Unchecked]));
        let foreign = found(&[("s.a", Foreign, &["x"])]);
        assert_eq!(states(&one, &foreign, &all), (0, vec![State::Unchecked]));
        assert_eq!(states(&foreign, &foreign, &all), (0, vec![State::Skipped]));
    }

    #[test]
    fn what_a_filter_leaves_out_is_skipped_and_not_equal() {
        let one = found(&[("s.a", Kind::Local, &["x"]), ("t.b", Kind::Local, &["x"])]);
        let filters = Filters {
            schemas: vec!["s".to_owned()],
            tables: vec![],
        };
        assert_eq!(states(&one, &one, &filters), (1, vec![State::Skipped]));
    }

    #[test]
    fn patterns_are_of_whole_names() {
        for (pattern, text, expected) in [
            ("a.b", "a.b", true),
            ("a", "a.b", false),
            ("a.*", "a.b", true),
            ("*b", "a.b", true),
            ("a*c*", "abcd", true),
            ("a*c", "abcd", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let filters = Filters {
            schemas: vec![],
            tables: vec!["Sales.Order".to_owned()],
        };
        assert!(
            filters.let_through("\"Sales\".\"Order\""),
            "quotes need not be written"
        );
    }
}
