//! Where a text is cut, and what its tokens are.

use super::super::split::segments;
use super::super::token::Lexer;
use super::super::token::TokenKind::{
    self, BitText, DollarText, EscapeText, LineComment, Number, Operator, Other, Parameter, Punct,
    QuotedName, Space, Text, UnicodeName, UnicodeText, Word,
};
use super::{
    Backslash, Certainty, Command, Dialect, ESCAPE, PLAIN, all, calls, kind, statements, text,
};

/// The statements' texts, trimmed.
fn cut(sql: &str, dialect: Dialect) -> Vec<String> {
    statements(sql.as_bytes(), dialect)
        .map(|statement| text(statement.text).trim().to_owned())
        .collect()
}

#[test]
fn sql_cuts_at_semicolons() {
    assert_eq!(cut("", PLAIN), [""; 0]);
    assert_eq!(cut(" ; ;; -- x;y\n/* ; */", PLAIN), [""; 0]);
    assert_eq!(cut("select 1", PLAIN), ["select 1"]);
    assert_eq!(cut("a;b; c ;", PLAIN), ["a", "b", "c"]);
    let batch = "begin; set local x = 1; select 1; commit";
    let kinds: Vec<_> = all(batch).iter().map(|found| kind(found.kind)).collect();
    assert_eq!(
        kinds,
        ["Begin", "Set Local x = 1", "Select", "Commitchain:false"]
    );
}

#[test]
fn sql_cuts_not_in_what_quotes() {
    for whole in [
        "select ';'",
        "select ';'';'",
        "select E'\\';' ",
        "select e'\\\\\\';'",
        "select E'a'\n  -- ; '\n '\\';'",
        "select 'a'\r';'",
        "select N';', B';', x';', U&';', U&\";;\"\";\"",
        "select \";\"\";\"",
        "select $$;$$, $a$;$b$;$$;$a$, $_1$ ; $1$ ; $_1$",
        "select $é$;$é$",
        "select /* ; /* ; */ ; */ 1 -- ;",
        "select 1 + /* ; */ - 2",
        "select (1; 2)",
        "create rule r as on update to t do (select 1; select ')' ; delete from t)",
    ] {
        assert_eq!(cut(whole, PLAIN), [whole.trim()], "{whole}");
        let two = format!("{whole}\n;x");
        assert_eq!(cut(&two, PLAIN), [whole.trim(), "x"], "{two}");
    }
}

#[test]
fn sql_cuts_beside_what_only_seems_to_quote() {
    for (sql, parts) in [
        // A plain string's backslash is no escape, a bit string knows no doubling.
        ("select '\\'; x'", 2),
        ("select b'0''1\\'; x", 2),
        // A comment ends at either line's end, a string goes on only after one.
        ("select 1 --'\r; x", 2),
        ("select 'a' ';' ; x", 2),
        ("select 'a' /*\n*/ '; x", 1),
        // A dollar within a word opens nothing, nor does a tag with a digit first.
        ("select a$b$ ; x$b$", 2),
        ("select $1$ ; $1$", 2),
        ("select 1$$ ; $$", 1),
        // A number's letters are its own or begin the next token.
        ("select 1e'\\'; x'", 1),
        ("select 0xE'\\'; x'", 2),
        ("select 1.5e3'\\'; x'", 2),
        // An operator ends before a comment.
        ("select 1 +-- ;\n2; x", 2),
        ("select 1 @/* ; */ 2; x", 2),
        ("select u&';' ; x", 2),
        ("select e ';\\' ; x", 2),
    ] {
        assert_eq!(cut(sql, PLAIN).len(), parts, "{sql}");
    }
    assert_eq!(cut("select '\\'; x'", ESCAPE).len(), 1);
    assert_eq!(cut("select n'\\'; x'", ESCAPE).len(), 1);
    assert_eq!(cut("select x'\\'; x", ESCAPE).len(), 2);
}

#[test]
fn sql_keeps_bodies_of_routines_whole() {
    for whole in [
        "create function f() returns int begin atomic select 1; select 2; end",
        "CREATE OR REPLACE PROCEDURE p(begin atomic) BEGIN/**/ATOMIC END",
        "create function f() returns int begin atomic select case x when 1 then 2 end; end",
        "create function f() returns int begin atomic select 1 as end; select t.end from t; end",
        "create function f() returns int begin atomic select begin atomic from t; end",
        "create function f() returns int return 1",
        "create function f() returns int as $$ begin; end $$ language plpgsql",
    ] {
        let two = format!("{whole}; set x = 1");
        assert_eq!(cut(&two, PLAIN), [whole, "set x = 1"], "{two}");
    }
    // Nothing else has such a body.
    for (sql, parts) in [
        ("begin; atomic", 2),
        ("select begin atomic from t; select 2", 2),
        ("create view v as select begin atomic from t; select 2", 2),
        ("create function f(begin atomic) returns int return 1; x", 2),
    ] {
        assert_eq!(cut(sql, PLAIN).len(), parts, "{sql}");
    }
}

#[test]
fn sql_segments_say_where_they_end() {
    let found: Vec<_> = segments(b"a; ;b", false)
        .map(|segment| (text(segment.text), segment.at, segment.ended))
        .collect();
    let expected = [("a", 0, true), (" ", 2, true), ("b", 4, false)];
    assert_eq!(found, expected.map(|(t, at, e)| (t.to_owned(), at, e)));
}

const TOKENS: &[(&str, &[TokenKind])] = &[
    ("1.5e3", &[Number]),
    (".5", &[Number]),
    ("1_000", &[Number]),
    ("0x1F", &[Number]),
    ("0o17", &[Number]),
    ("0b_1", &[Number]),
    ("1..2", &[Number, Operator, Number]),
    ("1.e", &[Number, Word]),
    ("1e+", &[Number, Word, Operator]),
    ("0b2", &[Number, Word]),
    ("1_0e", &[Other, Word]),
    ("$1", &[Parameter]),
    ("$1a", &[Parameter, Word]),
    ("$a", &[Other, Word]),
    ("a::b", &[Word, Operator, Word]),
    ("a:=b", &[Word, Operator, Word]),
    ("*-+", &[Operator, Operator, Operator]),
    ("@-", &[Operator]),
    ("=-1", &[Operator, Operator, Number]),
    ("+*", &[Operator]),
    ("a.b", &[Word, Punct(b'.'), Word]),
    ("e'\\''", &[EscapeText]),
    ("X'1F'", &[BitText]),
    ("n'a'", &[Text]),
    ("u&'a'", &[UnicodeText]),
    ("U&\"a\"", &[UnicodeName]),
    ("u&a", &[Word, Operator, Word]),
    ("\"a\"\"b\"", &[QuotedName]),
    ("$a$ $ $b$ $a$", &[DollarText]),
    ("-- a\n", &[LineComment, Space]),
    ("\\", &[Other]),
];

#[test]
fn sql_tokens() {
    for (sql, expected) in TOKENS {
        let found: Vec<_> = Lexer::new(sql.as_bytes(), false)
            .map(|token| token.kind)
            .collect();
        assert_eq!(found, *expected, "{sql}");
    }
}

#[test]
fn sql_unterminated_is_unknown() {
    for sql in [
        "select 'a",
        "select E'a\\'",
        "select \"a",
        "select $$ $",
        "select /* /* */",
        "select (1",
        "select 1)",
        "select U&\"a",
        "select \\",
        "select 'a''",
    ] {
        for tail in ["", "; commit"] {
            let whole = format!("{sql}{tail}");
            let found = all(&whole).remove(0);
            assert_eq!(found.effects.certainty, Certainty::Unknown, "{sql}");
        }
    }
    let last = Lexer::new(b"a 'b", false).last().unwrap();
    assert!(last.unterminated && last.at == 2);
}

#[test]
fn sql_unreadable_texts_are_unknown() {
    let unknown = |sql: &str, dialect| {
        let found: Vec<_> = statements(sql.as_bytes(), dialect).collect();
        found.len() == 1
            && found[0].kind == Command::Unknown
            && found[0].effects.certainty == Certainty::Unknown
    };
    for encoding in [
        "SJIS",
        "BIG5",
        "GBK",
        "GB18030",
        "UHC",
        "JOHAB",
        "SHIFT_JIS_2004",
        "new",
    ] {
        let dialect = Dialect::new(Backslash::Plain, encoding.as_bytes());
        assert!(unknown("select 1; select 2", dialect), "{encoding}");
    }
    for encoding in [
        "UTF8",
        "SQL_ASCII",
        "LATIN1",
        "WIN1252",
        "EUC_JP",
        "ISO_8859_5",
    ] {
        let dialect = Dialect::new(Backslash::Plain, encoding.as_bytes());
        assert_eq!(cut("select 1; select 2", dialect).len(), 2, "{encoding}");
    }
    let unsure = Dialect::new(Backslash::Unsure, b"UTF8");
    assert!(unknown("select '\\'; select 2", unsure));
    assert_eq!(cut("select 1; select 2", unsure).len(), 2);
}

const CALLS: &[(&str, &str)] = &[
    (
        "select lower(a), s.f(b), \"F\"(c), pg_catalog.now()",
        "lower s.f! F! pg_catalog.now",
    ),
    (
        "select d.pg_catalog.now(), public.now()",
        "pg_catalog.now public.now!",
    ),
    (
        "select count(*) filter (where f(a)) over (partition by b)",
        "count f!",
    ),
    (
        "select distinct on (a) over(b), a operator(pg_catalog.+) filter(c)",
        "over! filter!",
    ),
    ("select operator(a)", "operator!"),
    (
        "select a from b join (select 1) c on true left join (table d) e using (x)",
        "",
    ),
    (
        "select join(1), public.join(2), left(a, 1)",
        "join! public.join! left",
    ),
    (
        "select a like (b), a not in (1), exists (select 1), not f(1)",
        "f!",
    ),
    (
        "select x::numeric(1, 2), cast(y as varchar(3)), z::character varying (4)",
        "",
    ),
    (
        "select * from f(1) as t(a, b), g(2) u(c), lateral h(3)",
        "f! g! h!",
    ),
    (
        "select * from t x(a) tablesample system (10) repeatable (1)",
        "system",
    ),
    (
        "select public.select(1), coalesce(a, b), greatest(1, 2)",
        "public.select!",
    ),
    (
        "with x(a) as (select 1) insert into s.t (a) select f(a) from x",
        "f!",
    ),
    ("select a from t group by (a), order by (b)", ""),
    (
        "select sum(a) from t group by grouping sets ((a), (b)) having f(1) > 0",
        "sum f!",
    ),
    (
        "select 1 between f(1) and g(2), 'a' like 'b' escape h('c')",
        "f! g! h!",
    ),
    ("select extract(year from f(a)), a at time zone (b)", "f!"),
    ("call p(1)", "p!"),
    (
        "select a from data order by left(a, 1), verbose(b)",
        "left verbose!",
    ),
    ("select 1 where a like verbose(b) or a like (b)", "verbose!"),
    (
        "select f /* x */ (1), 'f(1)', \"f(2)\", $$f(3)$$ -- f(4)",
        "f!",
    ),
    ("select json_table(1)", "json_table!"),
    ("select U&\"f\"(1)", "?!"),
    ("insert into t default values returning f(1)", "f!"),
    ("execute e(f(1))", "f!"),
    ("explain (analyze) select f(1)", "f!"),
];

#[test]
fn sql_calls_are_what_may_call() {
    for (sql, expected) in CALLS {
        assert_eq!(calls(sql), *expected, "{sql}");
    }
    assert_eq!(
        super::only("select U&\"f\"(1)").effects.certainty,
        Certainty::Unknown
    );
}

#[test]
fn sql_set_config_shows_its_arguments() {
    let show = |sql: &str| -> Vec<String> {
        let one = |bytes: Option<&[u8]>| bytes.map_or_else(|| "?".to_owned(), text);
        super::only(sql)
            .set_configs()
            .map(|found| format!("{} {} {:?}", one(found.name), one(found.value), found.local))
            .collect()
    };
    assert_eq!(
        show("SELECT pg_catalog.set_config('search_path', '', false)"),
        ["'search_path' '' Some(false)"]
    );
    assert_eq!(
        show("select set_config('a'::text, $1, TRUE), set_config('b', lower('c'), true)"),
        ["'a' ? Some(true)", "'b' ? None"]
    );
    assert_eq!(
        show("select set_config(set_config('a', 'b', true), 'c', true)"),
        ["? ? None", "'a' 'b' Some(true)"]
    );
}
