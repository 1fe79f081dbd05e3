//! Whatever a client sends: no panic, no lost byte, linear time.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::split::segments;
use super::super::token::Lexer;
use super::{ESCAPE, PLAIN, statements};

/// Tokens tile, segments join, and every statement can be asked everything.
fn hold(text: &[u8]) {
    for escapes in [false, true] {
        let mut at = 0;
        for token in Lexer::new(text, escapes) {
            assert_eq!(token.at, at);
            assert!(!token.text.is_empty());
            at += token.text.len();
            assert_eq!(&text[token.at..at], token.text);
            assert!(!token.unterminated || at == text.len());
        }
        assert_eq!(at, text.len());

        let mut joined = Vec::new();
        for segment in segments(text, escapes) {
            assert_eq!(segment.at, joined.len());
            joined.extend(segment.text);
            joined.extend(segment.ended.then_some(b';'));
        }
        assert_eq!(joined, text);
    }
    for dialect in [PLAIN, ESCAPE] {
        for statement in statements(text, dialect) {
            super::kind(statement.kind);
            super::effects(&statement);
            statement.calls().count();
            statement.set_configs().count();
        }
    }
}

const SCRAPS: &[&str] = &[
    "select",
    "with",
    "set",
    "local",
    "session",
    "time",
    "zone",
    "to",
    "=",
    "default",
    "create",
    "function",
    "begin",
    "atomic",
    "end",
    "temp",
    "table",
    "explain",
    "analyze",
    "prepare",
    "transaction",
    "as",
    "into",
    "operator",
    "distinct",
    "on",
    "copy",
    "from",
    "fetch",
    "declare",
    "cursor",
    "for",
    "database",
    "template",
    "set_config",
    "pg_catalog",
    "true",
    "'",
    "''",
    "E'",
    "\\",
    "\"",
    "U&\"",
    "b'",
    "$$",
    "$a$",
    "$",
    "$1",
    "/*",
    "*/",
    "--",
    "\n",
    "\r",
    " ",
    "(",
    ")",
    ",",
    ".",
    ";",
    ":",
    "::",
    "*",
    "+",
    "-",
    "1",
    "1e",
    "0x",
    "_",
    "é",
    "@",
    "[",
    "]",
    "\0",
];

/// Pieces of SQL in any order.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let scraps = prop::sample::select(SCRAPS);
    prop::collection::vec((scraps, any::<bool>()), 0..60).prop_map(|scraps| {
        let mut text = Vec::new();
        for (scrap, space) in scraps {
            text.extend(scrap.as_bytes());
            text.extend(space.then_some(b' '));
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn sql_holds_for_any_bytes(text in prop::collection::vec(any::<u8>(), 0..200)) {
        hold(&text);
    }

    #[test]
    fn sql_holds_for_scraps_of_sql(text in scraps()) {
        hold(&text);
    }

    /// A value quoted as clients do it never leaves its quotes.
    #[test]
    fn sql_quoted_values_stay_one_token(value in "[^\0]{0,40}") {
        let plain = format!("select '{}' ; x", value.replace('\'', "''"));
        prop_assert_eq!(statements(plain.as_bytes(), PLAIN).count(), 2);
        let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
        let escaped = format!("select E'{escaped}' ; x");
        prop_assert_eq!(statements(escaped.as_bytes(), PLAIN).count(), 2);
        let name = format!("select \"{}\" ; x", value.replace('"', "\"\""));
        prop_assert_eq!(statements(name.as_bytes(), PLAIN).count(), 2);
    }
}

/// Each of these is quadratic, or recurses, if something is done badly.
const BOMBS: &[&str] = &[
    "/*",
    "/**/",
    "(",
    ")",
    "'a' ",
    "'a'\n",
    "'a' --\n",
    "$a",
    "$a$",
    "$$ ",
    "$",
    "+",
    "-+",
    "*+",
    "@",
    "a.",
    "a(",
    "f(",
    "set_config(",
    "set_config('a', ",
    "explain ",
    "explain (",
    "with a as (",
    "with a as (select 1), ",
    "(select ",
    "operator(",
    "distinct on (",
    ";",
    "begin; ",
    "create function f() begin atomic ",
    "u&\"",
    "E'\\",
    "\"",
    "1_",
    "0x",
    "1e",
    "fetch ",
    "fetch/**/ ",
    "copy (",
    "declare a no ",
    "create unique ",
    "a, ",
    "into ",
    "--\r",
    "prepare a as ",
    "create database a ",
    "select a from b where c = 'd' and e(f); ",
];

#[test]
fn sql_bombs_take_linear_time() {
    for scrap in BOMBS {
        let text = scrap.repeat(150_000 / scrap.len());
        let began = Instant::now();
        let mut count = 0_usize;
        for statement in statements(text.as_bytes(), PLAIN) {
            count += 1 + statement.calls().count() + statement.set_configs().count();
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{scrap}: {took:?}, {count}");
        hold(&text.as_bytes()[..20_000]);
    }
}

/// Figures for the cost of one statement: `cargo test --release --lib
/// sql_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "the figures are what it is for")]
fn sql_speed() {
    for text in [
        "SELECT 1",
        "SELECT id, name FROM users WHERE id = $1",
        "select u.id, lower(u.name), count(*) from users u join orders o on o.user_id = u.id where u.id = $1 group by 1, 2 order by 3 desc limit 10",
        "UPDATE pgbench_accounts SET abalance = abalance + 42 WHERE aid = 4711;",
        "begin; set local statement_timeout = 100; select 1; commit",
        "COMMIT",
        "SET extra_float_digits = 3",
    ] {
        let rounds = 300_000_u32;
        let mut marks = 0;
        let began = Instant::now();
        for _ in 0..rounds {
            for statement in statements(std::hint::black_box(text.as_bytes()), PLAIN) {
                marks += usize::from(statement.effects.certainty == super::Certainty::Unknown);
            }
        }
        let each = began.elapsed() / rounds;
        assert_eq!(marks, 0);
        eprintln!("{each:?} for {} bytes: {text}", text.len());
    }
}
