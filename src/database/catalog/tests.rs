//! Tests of the catalog over rows as the server sends them.

use super::*;
use crate::sql::effects::Marks;
use crate::sql::functions::{self, FunctionClass};
use crate::sql::{Backslash, Dialect, Statement, statements};

const FUNCTIONS: &str = include_str!("../../sql/functions.txt");

const ROWS: &[(&str, &str, &str)] = &[
    ("unproven", "0", "leaks"),
    ("function", "0", "leaks"),
    ("function", "0", "keeps"),
    ("function", "0", "draws"),
    ("sequence", "0", "draws"),
    ("unproven", "0", "Bad View"),
    ("unproven", "1", "audited"),
    ("unproven", "2", "tricky"),
    ("sequence", "2", "users"),
    ("sequence", "1", "logged"),
    ("unproven", "0", "lower"),
    ("function", "0", "lower"),
];

fn row(columns: &[&str]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for column in columns {
        body.extend(i32::try_from(column.len()).unwrap().to_be_bytes());
        body.extend(column.as_bytes());
    }
    body
}

fn read(rows: &[(&str, &str, &str)], end: usize) -> Option<Catalog> {
    let mut reader = CatalogReader::default();
    for (kind, level, name) in rows {
        reader.row(&row(&[kind, level, name]));
    }
    reader.row(&row(&["end", "0", &end.to_string()]));
    reader.finish()
}

fn catalog_with(more: &[(&str, &str, &str)]) -> Catalog {
    let rows = [ROWS, more].concat();
    read(&rows, rows.len()).unwrap()
}

fn only(text: &str) -> Statement<'_> {
    let dialect = Dialect::new(Backslash::Plain, b"UTF8");
    let found: Vec<_> = statements(text.as_bytes(), dialect).collect();
    assert_eq!(found.len(), 1, "{text}");
    found[0]
}

#[track_caller]
fn judges(catalog: &Catalog, expected: CatalogVerdict, texts: &[&str]) {
    for text in texts {
        assert_eq!(catalog.judge(&only(text)), expected, "{text}");
    }
}

#[test]
fn proof_of_queries_is_by_the_names_in_them() {
    let catalog = catalog_with(&[]);
    judges(
        &catalog,
        CatalogVerdict::Clean,
        &[
            "select 1",
            "SELECT upper(name) FROM users WHERE id = $1 FOR UPDATE",
            "select * from users for no key update",
            "update users set name = $1 where id = $2",
            "delete from users",
            "select * from audited for update",
            "select keeps(1), s.keeps(2)",
            "update tricky set a = 1",
            "select * from \"bad view\"",
            "copy users to stdout",
            "truncate users",
            "begin",
            "commit",
            "lock table audited",
            "create table x as select 1 as a",
            "explain select 1",
            "fetch 10 from c",
        ],
    );
    judges(
        &catalog,
        CatalogVerdict::Unproven,
        &[
            "select leaks()",
            "select LEAKS (1)",
            "select \"leaks\"()",
            "select (t).leaks from t",
            "select * from \"Bad View\"",
            "select * from x.\"Bad View\"",
            "update audited set a = 1",
            "with x as (update audited set a = 1 returning a) select * from x",
            "with x as (with y as (select 1) update audited set a = 1) select 1",
            "with x as (with y as (select substring(a for 1)) update audited set a = 1) select 1",
            "insert into tricky values (1)",
            "update tricky set a = default",
            "merge into tricky using x on true when matched then update set a = 1",
            "select lower('A')",
            "select unknown_function(1)",
            "update pg_settings set setting = 1",
            "prepare p as select 1",
            "execute p",
            "do $$ begin end $$",
            "truncate users cascade",
            "analyze",
            "select query_to_xml('select 1', true, true, '')",
            "explain analyze update audited set a = 1",
        ],
    );
}

#[test]
fn what_makes_settings_of_unknown_names_is_hidden() {
    let catalog = catalog_with(&[
        ("hidden", "0", "leaks"),
        ("hidden", "1", "audited"),
        ("custom", "0", "app.last"),
        ("custom", "0", "My.view"),
    ]);
    assert!(catalog.hides());
    let custom: Vec<_> = catalog.custom().collect();
    assert_eq!(custom, [&b"app.last"[..], b"My.view"]);
    judges(
        &catalog,
        CatalogVerdict::Hidden,
        &[
            "select leaks()",
            "update audited set a = leaks",
            "do $$ begin end $$",
            "select unknown_function(1)",
            "select query_to_xml('select 1', true, true, '')",
        ],
    );
    judges(
        &catalog,
        CatalogVerdict::Unproven,
        &[
            "insert into tricky values (1)",
            "create function f() returns int language sql as 'select 1'",
        ],
    );
    judges(
        &catalog,
        CatalogVerdict::Clean,
        &["select 1", "select * from audited"],
    );
    assert!(!catalog_with(&[]).hides());
}

#[test]
fn more_custom_settings_than_can_be_asked_for_are_hidden() {
    let names: Vec<_> = (0..=200).map(|at| format!("a.b{at}")).collect();
    let rows: Vec<_> = names
        .iter()
        .map(|name| ("custom", "0", name.as_str()))
        .collect();
    let catalog = catalog_with(&rows);
    judges(&catalog, CatalogVerdict::Hidden, &["select leaks()"]);
    judges(&catalog, CatalogVerdict::Clean, &["select keeps(1)"]);
}

#[test]
fn proof_allows_for_values_of_sequences() {
    judges(
        &catalog_with(&[]),
        CatalogVerdict::Sequence,
        &[
            "insert into users (name) values ($1) returning id",
            "copy users from stdin",
            "with x as (insert into users default values) select 1",
            "merge into users using x on true when not matched then insert values (1)",
            "update logged set a = 1",
            "select draws()",
            "call draws()",
            "select nextval('s')",
            "alter table users add column x serial",
        ],
    );
}

#[test]
fn proof_asks_for_the_name_as_the_server_reads_it() {
    let catalog = catalog_with(&[]);
    let long = "x".repeat(64);
    judges(
        &catalog,
        CatalogVerdict::Unproven,
        &[&format!("select {long}")],
    );
    judges(
        &catalog,
        CatalogVerdict::Clean,
        &["select größe from \"größe\""],
    );
    let catalog = catalog_with(&[("unproven", "2", ""), ("function", "0", "")]);
    judges(&catalog, CatalogVerdict::Unproven, &["select größe()"]);
    judges(&catalog, CatalogVerdict::Clean, &["select größe"]);
    judges(
        &catalog,
        CatalogVerdict::Unproven,
        &[
            "insert into größe values (1)",
            "insert into \"größe\" values (1)",
        ],
    );
}

#[test]
fn proof_of_everything_and_of_definitions() {
    let catalog = catalog_with(&[("unproven", "0", "everything")]);
    judges(&catalog, CatalogVerdict::Unproven, &["select 1"]);
    judges(&catalog, CatalogVerdict::Clean, &["begin", "set a.b = 1"]);
    let catalog = catalog_with(&[("sequence", "0", "everything")]);
    judges(&catalog, CatalogVerdict::Sequence, &["select 1"]);
    let catalog = catalog_with(&[("unproven", "0", "definitions")]);
    judges(&catalog, CatalogVerdict::Clean, &["select 1"]);
    judges(
        &catalog,
        CatalogVerdict::Unproven,
        &[
            "create table x (a int)",
            "comment on table x is 'y'",
            "grant select on x to y",
            "select 1 as a into x",
            "drop table x",
        ],
    );
}

#[test]
fn proof_needs_a_census_that_was_read_to_its_end() {
    assert!(read(ROWS, ROWS.len()).is_some());
    assert!(read(ROWS, ROWS.len() + 1).is_none());
    assert!(read(&[("unproven", "7", "a")], 1).is_none());
    assert!(read(&[("other", "0", "a")], 1).is_none());
    assert!(CatalogReader::default().finish().is_none());
    for body in [
        &b""[..],
        b"\0\x03",
        b"\0\x03\xff\xff\xff\xff",
        &row(&["end", "0"]),
    ] {
        let mut reader = CatalogReader::default();
        reader.row(&row(&["end", "0", "0"]));
        reader.row(body);
        assert!(reader.finish().is_none());
    }
}

/// The list in the census is the one of `sql`.
#[test]
fn proof_watches_the_functions_that_the_reader_of_sql_watches() {
    let census = str::from_utf8(catalog_query()).unwrap();
    let list = |name: &str| {
        let (_, after) = census.split_once(&format!("{name}(word) AS")).unwrap();
        after.split("$$").nth(1).unwrap().split_whitespace()
    };
    let harmless = [
        Marks::NOTIFY,
        Marks::ADVISORY_XACT,
        Marks::XACT_ID,
        Marks::READS_SESSION,
        // Another taint.
        Marks::SEQUENCE_SET,
    ];
    let names = FUNCTIONS.lines().filter(|line| !line.starts_with('#'));
    let mut expected = [const { Vec::new() }; 3];
    for line in names {
        let name = line.split(' ').next().unwrap();
        let which = match functions::class(name.as_bytes()).unwrap() {
            FunctionClass::Pure => continue,
            FunctionClass::Marked(Marks::SEED | Marks::SESSION) => 0,
            FunctionClass::Opaque(_) => 1,
            FunctionClass::Marked(marks) if harmless.contains(&marks) => continue,
            FunctionClass::Marked(_) => 2,
        };
        expected[which].push(name);
    }
    for (name, expected) in ["lasting", "running", "watched"].into_iter().zip(expected) {
        assert_eq!(list(name).collect::<Vec<_>>(), expected, "{name}");
    }
}

const KEEPERS: &[(&str, &str, &str)] = &[
    ("library", "0", "remembers"),
    ("function", "0", "remembers"),
    ("library", "1", "watched_table"),
    ("library", "0", "@@@"),
    ("library", "0", "Odd Name"),
];

#[test]
fn what_keeps_state_in_the_process_is_found_by_name() {
    let catalog = catalog_with(KEEPERS);
    assert!(catalog.keeps() && !catalog_with(&[]).keeps());
    judges(
        &catalog,
        CatalogVerdict::Library,
        &[
            "select remembers()",
            "select 1 @@@ 2",
            "update watched_table set a = 1",
            "select leaks(), \"Odd Name\"",
            "prepare p as select remembers()",
            "select query_to_xml('select 1', true, true, '')",
        ],
    );
    judges(
        &catalog,
        CatalogVerdict::Unproven,
        &[
            "select leaks()",
            "prepare p as select 1",
            "select unknown_function(1)",
            "analyze",
        ],
    );
    judges(
        &catalog,
        CatalogVerdict::Clean,
        &[
            "select a from watched_table where a @@ b",
            "select '@@@', 'remembers()'",
        ],
    );
    let tables = catalog_with(&[KEEPERS, &[("library", "1", "*tables")]].concat());
    judges(
        &tables,
        CatalogVerdict::Library,
        &["analyze", "vacuum", "truncate t cascade"],
    );
}

#[test]
fn what_keeps_state_is_found_in_the_body_of_a_do() {
    let catalog = catalog_with(KEEPERS);
    judges(
        &catalog,
        CatalogVerdict::Library,
        &[
            "do $$ begin perform REMEMBERS(); end $$",
            "do 'begin execute ''select remembers()''; end'",
            "do $$ begin execute x; end $$",
            "do $$ begin perform 1 @@@ 2; end $$",
            "do $$ begin perform \"Odd Name\"; end $$",
            "do language plperl $$ $_SHARED{a} = 1 $$",
            "do $$ $$ language 'plpython3u'",
        ],
    );
    judges(
        &catalog,
        CatalogVerdict::Unproven,
        &[
            "do $$ begin perform leaks(); end $$",
            "do language plpgsql $$ begin execute 'select language from x'; end $$",
            "do $$ begin execute format('insert into %I values (1)', x); end $$",
        ],
    );
    let execute = "do $$ begin execute format('insert into %I values (1)', x); end $$";
    let tables = catalog_with(&[KEEPERS, &[("library", "1", "*tables")]].concat());
    judges(&tables, CatalogVerdict::Library, &[execute]);
    judges(
        &catalog_with(&[]),
        CatalogVerdict::Unproven,
        &["do language plperl 'x'"],
    );
}

#[test]
fn definitions_that_concern_such_code_are_told_from_others() {
    let catalog = catalog_with(KEEPERS);
    for (text, concerns) in [
        ("drop table watched_table", true),
        (
            "create trigger t before insert on x for each row execute function remembers()",
            true,
        ),
        ("drop schema x cascade", true),
        ("drop owned by x", true),
        ("create table x (a int)", false),
        ("create extension x", false),
        ("drop extension x", false),
        ("drop extension x cascade", true),
    ] {
        assert_eq!(
            catalog.concerns_process_state(&only(text)),
            concerns,
            "{text}"
        );
        assert!(!catalog_with(&[]).concerns_process_state(&only(text)));
    }
}
