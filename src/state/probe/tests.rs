//! Answers of the server, and what is made of them.

use super::*;
use crate::database::catalog;
use crate::sql::token::{Lexer, TokenKind};
use crate::state::reset;

type Row<'a> = [Option<&'a str>; 3];

fn feed(reader: &mut ProbeReader, tag: u8, body: &[u8]) {
    let len = body.len();
    reader.on_backend(Frame { tag, len, body });
}

fn row(reader: &mut ProbeReader, columns: Row<'_>) {
    let mut body = 3_u16.to_be_bytes().to_vec();
    for column in columns {
        match column {
            Some(text) => {
                body.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                body.extend(text.as_bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    feed(reader, b'D', &body);
}

fn verdict(rows: &[Row<'_>]) -> ProbeVerdict {
    let mut reader = ProbeReader::new(false);
    for columns in rows {
        row(&mut reader, *columns);
    }
    feed(&mut reader, b'C', b"SELECT 2\0");
    reader.finish().verdict()
}

#[test]
fn nothing_but_the_login_is_clean() {
    let rows: &[Row<'_>] = &[
        [Some("user"), Some("app"), None],
        [Some("role"), Some("none"), None],
        [
            Some("setting"),
            Some("transaction_isolation"),
            Some("read committed"),
        ],
        [Some("custom"), Some("a.b"), Some("")],
        [Some("custom"), Some("a.c"), None],
        [Some("parsed"), Some("s1"), None],
    ];
    assert_eq!(verdict(rows), ProbeVerdict::Clean);
}

#[test]
fn what_is_held_is_named() {
    let pinned = ProbeVerdict::Pinned;
    let cases: &[(Row<'_>, ProbeVerdict)] = &[
        (
            [Some("listen"), Some("a"), None],
            pinned(HoldReason::Listen),
        ),
        ([Some("lock"), None, None], pinned(HoldReason::AdvisoryLock)),
        ([Some("temp"), None, None], pinned(HoldReason::TempObject)),
        (
            [Some("cursor"), Some("c"), None],
            pinned(HoldReason::HoldCursor),
        ),
        (
            [Some("prepared"), Some("p"), None],
            pinned(HoldReason::Prepared),
        ),
        (
            [Some("user"), Some("x"), Some("changed")],
            pinned(HoldReason::Role),
        ),
        (
            [Some("privileged"), Some("log_statement"), Some("all")],
            pinned(HoldReason::Setting),
        ),
        (
            [Some("setting"), Some("search_path"), Some("a, pg_temp")],
            pinned(HoldReason::TempObject),
        ),
        (
            [Some("setting"), Some("work_mem"), Some("64")],
            ProbeVerdict::SettingsOnly,
        ),
        (
            [Some("custom"), Some("a.b"), Some("x")],
            ProbeVerdict::SettingsOnly,
        ),
        ([Some("role"), Some("x"), None], ProbeVerdict::SettingsOnly),
        (
            [Some("role"), Some("none"), Some("login")],
            ProbeVerdict::SettingsOnly,
        ),
        ([Some("something"), None, None], pinned(HoldReason::Unknown)),
    ];
    for (row, expected) in cases {
        assert_eq!(verdict(&[*row]), *expected, "{row:?}");
    }
}

#[test]
fn a_superuser_may_set_again_what_only_superusers_may() {
    let rows: &[Row<'_>] = &[
        [Some("privileged"), Some("log_statement"), Some("all")],
        [Some("user"), Some("postgres"), Some("super")],
    ];
    assert_eq!(verdict(rows), ProbeVerdict::SettingsOnly);
}

#[test]
fn an_answer_that_is_cut_or_an_error_is_unknown() {
    let unknown = ProbeVerdict::Pinned(HoldReason::Unknown);
    assert_eq!(ProbeReader::new(false).finish().verdict(), unknown);

    let mut reader = ProbeReader::new(false);
    feed(&mut reader, b'E', b"SERROR\0C57014\0Mx\0\0");
    assert_eq!(reader.finish().verdict(), unknown);

    for body in [
        &b""[..],
        b"\0\x03",
        b"\0\x03\0\0\0\xffx",
        b"\0\x02\xff\xff\xff\xff",
    ] {
        let mut reader = ProbeReader::new(false);
        feed(&mut reader, b'D', body);
        feed(&mut reader, b'C', b"SELECT 1\0");
        assert_eq!(reader.finish().verdict(), unknown);
    }

    let mut reader = ProbeReader::new(false);
    let body = b"\0\x03";
    reader.on_backend(Frame {
        tag: b'D',
        len: 9000,
        body,
    });
    feed(&mut reader, b'C', b"SELECT 1\0");
    assert_eq!(reader.finish().verdict(), unknown);
}

#[test]
fn lastval_answers_by_a_row_or_by_its_error() {
    let undefined: &[u8] = b"SERROR\0C55000\0Mlastval is not yet defined in this session\0\0";
    let begin = || {
        let mut reader = ProbeReader::new(true);
        row(&mut reader, [Some("role"), Some("none"), None]);
        feed(&mut reader, b'C', b"SELECT 1\0");
        reader
    };
    let mut reader = begin();
    feed(&mut reader, b'E', undefined);
    let findings = reader.finish();
    assert_eq!(
        (findings.verdict(), findings.sequences()),
        (ProbeVerdict::Clean, Some(false))
    );

    let mut reader = begin();
    row(&mut reader, [Some("sequence"), None, Some("7")]);
    feed(&mut reader, b'C', b"SELECT 1\0");
    assert_eq!(reader.finish().verdict(), ProbeVerdict::Sequence);

    // It did not dare to ask.
    let mut reader = begin();
    feed(&mut reader, b'C', b"SELECT 0\0");
    assert_eq!(reader.finish().verdict(), ProbeVerdict::Sequence);

    // The same error in another place is one.
    let mut reader = ProbeReader::new(true);
    feed(&mut reader, b'E', undefined);
    assert_eq!(
        reader.finish().verdict(),
        ProbeVerdict::Pinned(HoldReason::Unknown)
    );
}

#[test]
fn custom_settings_and_lastval_are_asked_for_at_the_end() {
    let mut out = Vec::new();
    query([&b"a.b"[..], b"it's"], true, &mut out);
    let text = String::from_utf8(out).unwrap();
    let rest = text.strip_prefix(SQL.trim_end()).unwrap();
    let custom = "\nUNION ALL SELECT 'custom', E'a.b', pg_catalog.current_setting(E'a.b', true)\
                  \nUNION ALL SELECT 'custom', E'it''s', pg_catalog.current_setting(E'it''s', true)";
    let rest = rest.strip_prefix(custom).unwrap();
    assert_eq!(rest, format!(";\n{}", LASTVAL.trim_end()));
}

/// The words between a text's operators, with everything that names one in them.
fn words(text: &str) -> Vec<String> {
    use TokenKind::{BlockComment, LineComment, Space};
    let tokens = Lexer::new(text.as_bytes(), false)
        .filter(|token| !matches!(token.kind, Space | LineComment | BlockComment));
    let words = tokens.map(|token| String::from_utf8_lossy(token.text).to_lowercase());
    words.collect()
}

/// Where a client's own operators, functions and types could come first.
fn unqualified(text: &str) -> Option<Vec<String>> {
    // Each of them looks an operator up by its bare name; so does a CASE with an operand.
    const BARE: &[&str] = &[
        "in", "like", "ilike", "similar", "between", "nullif", "distinct", "using", "any", "some",
        "greatest", "least", "::", "order", "group",
    ];
    let words = words(text);
    let bare = words.windows(5).find(|window| {
        let [a, b, c, word, d] = window else {
            unreachable!()
        };
        let operator = word.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c));
        let name = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let syntax = ["operator", "as", "select", "all", "and", "cast"];
        let calls = name && d == "(" && !syntax.contains(&&**word);
        BARE.contains(&&**word)
            || word == "case" && d != "when"
            || operator && ![a, b, c].into_iter().eq(["(", "pg_catalog", "."])
            || calls && !(b == "pg_catalog" && c == ".")
    });
    bare.map(<[String]>::to_vec)
}

#[test]
fn nothing_that_the_server_is_asked_can_be_redefined_by_a_client() {
    let mut custom = Vec::new();
    query([&b"a.b"[..]], true, &mut custom);
    let custom = String::from_utf8(custom).unwrap();
    for text in [&custom, reset::LIGHT, reset::TEMPORARY] {
        assert_eq!(unqualified(&format!(";;;{};", text.replace('*', ""))), None);
    }
    for bare in [
        "select a from b where c = d",
        "select case a when b then c end",
        "select a from b where c in (d)",
        "select a from b where f(c)",
        "select a operator(evil.=) b",
    ] {
        assert!(unqualified(&format!(";;;{bare};")).is_some(), "{bare}");
    }
    // This one says first where everything is.
    let census = str::from_utf8(catalog::catalog_query()).unwrap();
    let statements = census.lines().find(|line| !line.starts_with("--"));
    assert_eq!(
        statements,
        Some("SET LOCAL search_path = pg_catalog, pg_temp;")
    );
}
