//! The work for a text grows as its length, whatever stands in it.

use super::*;
use crate::database::catalog::{Catalog, CatalogReader};
use crate::tests::assert_linear;

/// Beginnings, what is repeated behind them, and ends.
const HOSTILE: &[(&str, &str, &str)] = &[
    ("do $$", "set -- ", "$$"),
    ("do $$", "set /* ", "$$"),
    ("do $$", "set/* */--\n", "$$"),
    ("do $$ set ", "--set\n", "$$"),
    ("do $$ set ", ".set", "$$"),
    ("do $$ set_config('", "set.", "$$"),
    ("do $$", "set_config/**/(", "$$"),
    ("do $$", "execute -- ", "$$"),
    ("do $$", "execute /*", "*/ x $$"),
    ("do $$", "set \"", "$$"),
    ("do $$", "'", "$$"),
    ("do 'execute ''", "x''", "'"),
    (
        "create function f() returns int as $$",
        "set session ",
        "$$",
    ),
    ("", "do '';", ""),
    ("", "do $a$ $b$;", ""),
    ("", "set a.b = 1;", ""),
    ("set a", ".a", " = 1"),
    ("set a = 1", ", b", ""),
    ("set a = ", "-- x\n", "1"),
    ("", "set local search_path = pg_temp;", ""),
    (
        "set session characteristics as transaction",
        " read only,",
        " read write",
    ),
    ("", "deallocate a;", ""),
    ("", "savepoint a; rollback to a;", ""),
    ("", "begin; commit;", ""),
    ("", "declare c cursor with hold for select 1;", ""),
    ("", "fetch from c;", ""),
    ("fetch ", "1 ", "c"),
    ("close ", "-- \n", "c"),
    ("select ", "(", ""),
    ("select ", "operator(", ""),
    ("select ", "operator(a.", ""),
    ("select ", "operator(/* */", ""),
    ("select ", "set_config(", ""),
    ("select ", "set_config('a.b', '', false), ", "1"),
    ("select set_config('a'::a", ".a", ", 'b', true)"),
    ("select ", "f(1), ", "1"),
    ("select ", "+-", "1"),
    ("select 1 ", "+/", "1"),
    ("select ", "''--\n", ""),
    ("select ''", "\n", "x"),
    ("select ", "$a", ""),
    ("select $a$ ", "$a", ""),
    ("select ", "\"", ""),
    ("select ", "/*", ""),
    ("select ", "1_", ""),
    ("select ", "0x", ""),
    ("select ", "e'\\'", ""),
    ("select ", "u&'", ""),
    ("select ", "u&'", "'"),
    ("select ", "e'", "'"),
    ("with ", "a as (select 1), ", "b as (select 1) select 1"),
    ("with a as (", "with a as (", ""),
    ("explain (", "analyze off, ", ") select 1"),
    ("create ", "temp ", "table t ()"),
    ("create database a ", "template ", ""),
    ("create function f() begin atomic ", "select 1; ", "end"),
    ("create function f() ", "begin atomic ", ""),
    ("copy t ", "(a)", " to stdout"),
    ("prepare a ", "(int)", " as select 1"),
    ("alter role a ", "x ", "set b = c"),
    ("select 'pg_prepared_", "pg_prepared_", "'"),
    ("select a from ", "pg_prepared_statements, ", "b"),
    ("notify a, ", "u&'' uescape ", "''"),
    ("", ";", ""),
    ("", "é", ""),
];

fn text((begin, middle, end): (&str, &str, &str), size: usize) -> Vec<u8> {
    // Odd, so that quotes are open at the end of all or of none.
    let repeated = middle.repeat((size / middle.len()) | 1);
    [begin, &repeated, end].concat().into_bytes()
}

/// A census with names by which code that keeps state is reached.
fn stateful_catalog() -> Catalog {
    let mut reader = CatalogReader::default();
    let mut row = |columns: [&str; 3]| {
        let mut body = vec![0, 3];
        for column in columns {
            body.extend(u32::try_from(column.len()).unwrap().to_be_bytes());
            body.extend(column.as_bytes());
        }
        reader.row(&body);
    };
    for number in 0..2000 {
        row(["library", "0", &format!("keeper{number}")]);
    }
    row(["end", "0", "2000"]);
    reader.finish().unwrap()
}

#[test]
fn a_text_of_twice_the_length_is_twice_the_work() {
    let catalog = stateful_catalog();
    for hostile in HOSTILE {
        let what = format!("{hostile:?}");
        assert_linear(
            &what,
            2 * 1024,
            |size| text(*hostile, size),
            |text| {
                let digest = digest(text, DIALECT, |statement| {
                    catalog.judge(statement);
                    catalog.concerns_process_state(statement);
                    Proof::Unproven
                });
                let mut tracker = SessionTracker::default();
                tracker.ran(&digest, ExecutedBy::Query);
                tracker.settle(TransactionStatus::Idle, true);
            },
        );
    }
}
