//! The census of a database finds what a text does not show, by every way that
//! leads there, and leaves the harmless twins of it alone. Against real servers.

use std::collections::BTreeSet;

use tokio_postgres::SimpleQueryMessage;

use crate::servers;
use crate::support::Postgres;

const CENSUS: &str = include_str!("../../src/database/catalog/catalog_query.sql");

/// What most tests begin with: a function that leaves a setting behind and one
/// that leaves nothing, neither of which says so by its name.
const BEGINNING: &str = "
    create sequence s;
    create function leaks() returns int language plpgsql as
        $$ begin perform set_config('a.b', 'c', false); return 1; end $$;
    create function keeps() returns int language plpgsql as
        $$ begin perform set_config_of_mine from pg_class; return 1; end $$;
    create function leaks_trigger() returns trigger language plpgsql as
        $$ begin listen x; return new; end $$;
    create function keeps_trigger() returns trigger language plpgsql as
        $$ begin new := new; return new; end $$;
    create function draws_trigger() returns trigger language plpgsql as
        $$ begin perform nextval('s'); return new; end $$;
";

/// The lines of a census, as `kind level name`; the same on all servers.
pub(crate) struct Census(BTreeSet<String>);

impl Census {
    /// Of a database with these objects in it, which nobody else sees.
    async fn of(objects: &str) -> Self {
        let mut same: Option<Self> = None;
        for postgres in servers().await {
            let census = Self::on(postgres, objects).await;
            if let Some(other) = &same {
                assert_eq!(census.0, other.0);
            }
            same = Some(census);
        }
        same.unwrap()
    }

    pub(crate) async fn on(postgres: &Postgres, objects: &str) -> Self {
        let client = postgres.superuser("postgres").await;
        let begin = format!("begin; {BEGINNING} {objects}");
        client.batch_execute(&begin).await.unwrap();
        let messages = client.simple_query(CENSUS).await.unwrap();
        client.batch_execute("rollback").await.unwrap();
        Self::read(&messages)
    }

    fn read(messages: &[SimpleQueryMessage]) -> Self {
        let mut lines = BTreeSet::new();
        let mut end = None;
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                let [kind, level, name] = [0, 1, 2].map(|at| row.get(at).unwrap());
                if kind == "end" {
                    end = Some(name.parse::<usize>().unwrap());
                } else {
                    lines.insert(format!("{kind} {level} {name}"));
                }
            }
        }
        assert_eq!(end, Some(lines.len()));
        Self(lines)
    }

    /// What it says of `name`, without that it is a function.
    fn of_name(&self, name: &str) -> Vec<&str> {
        let ends = format!(" {name}");
        let about = self.0.iter().filter(|line| line.ends_with(&ends));
        about
            .map(|line| line.strip_suffix(&ends).unwrap())
            .filter(|line| *line != "function 0" && !line.starts_with("hidden"))
            .collect()
    }

    fn custom(&self) -> Vec<&str> {
        let lines = self.0.iter();
        lines
            .filter_map(|line| line.strip_prefix("custom 0 "))
            .collect()
    }

    #[track_caller]
    pub(crate) fn says(&self, expected: &[(&str, &[&str])]) {
        for (name, about) in expected {
            assert_eq!(self.of_name(name), *about, "{name}");
        }
        let names_everything = expected.iter().any(|(name, _)| *name == "everything");
        assert!(names_everything || self.of_name("everything").is_empty());
    }
}

const USED: &[&str] = &["unproven 0"];
const WRITTEN: &[&str] = &["unproven 1"];
const INSERTED: &[&str] = &["unproven 2"];
const DRAWS: &[&str] = &["sequence 0"];
const DRAWS_WRITTEN: &[&str] = &["sequence 1"];
const DRAWS_INSERTED: &[&str] = &["sequence 2"];
/// Keeps state where nobody sees it.
pub(crate) const LIBRARY: &[&str] = &["library 0"];
const LIBRARY_WRITTEN: &[&str] = &["library 1"];
const LIBRARY_INSERTED: &[&str] = &["library 2"];
pub(crate) const NOTHING: &[&str] = &[];

/// Names and bodies of functions, and whether these leave a trace.
const BODIES: &[(&str, &str, bool)] = &[
    ("f01", "perform set_config('a.b', 'c', true);", true),
    ("f02", "set a.b = 'c';", true),
    ("f03", "if true then set a.b = 'c'; end if;", true),
    ("f04", "-- update\n set a.b = 'c';", true),
    ("f05", "/* update t */ set a.b = 'c';", true),
    ("f06", "reset all;", true),
    ("f07", "execute 'select 1';", true),
    ("f08", "create temp table x (a int);", true),
    ("f09", "perform pg_advisory_lock(1);", true),
    ("f10", "perform inet_client_addr();", true),
    ("f11", "perform \"pg_backend_pid\"();", true),
    ("f12", "perform LEAKS();", true),
    ("f13", "perform x from \"leaks\"() x;", true),
    ("f14", "do 'begin listen x; end';", true),
    (
        "f15",
        "perform '-- ' || E'it\\'s -- '; set a.b = 'c';",
        true,
    ),
    ("f16", "perform 'it''s -- '; set a.b = 'c'; -- '", true),
    ("f17", "perform $q$it's$q$; set a.b = '--'; -- '", true),
    ("f18", "update pg_settings set setting = 'x';", true),
    ("f19", "perform u&\"\\006ceaks\"();", true),
    ("f20", "perform pg_temp.g();", true),
    ("f21", "perform query_to_xml('x', true, true, '');", true),
    ("f22", "/* /* */ don't */ set a.b = 'c'; -- '", true),
    ("f23", "/* a */ perform '/*'; set a.b = '*/';", true),
    ("f24", "truncate t cascade;", true),
    ("f25", "<<here>> begin set a.b = 'c'; end;", true),
    ("f26", "perform \"a -- b\" from t; set a.b = 'c';", true),
    (
        "g01",
        "update t set a = 1; update only t as x set a = 2;",
        false,
    ),
    ("g02", "update \"A b\".t set a = 1;", false),
    (
        "g03",
        "insert into t values (1) on conflict do update set a = 1;",
        false,
    ),
    ("f27", "set local a.b = 'c';", true),
    ("f28", "set local a /* */ .b = 'c';", true),
    (
        "g04",
        "set local work_mem = '1MB'; set local search_path to a, b;",
        false,
    ),
    ("g05", "-- we listen and execute\n null;", false),
    ("g06", "raise notice 'set % listen', 'it''s load';", false),
    (
        "g07",
        "/* temp */ perform now(), pg_notify('a', 'b');",
        false,
    ),
    (
        "g08",
        "insert into t values (1) on conflict do nothing;",
        false,
    ),
    (
        "g09",
        "perform current_setting('a.b'), txid_current();",
        false,
    ),
    ("g10", "perform pg_advisory_xact_lock(1); notify x;", false),
];

#[tokio::test]
async fn a_function_is_unproven_by_what_its_body_says() {
    let objects: String = BODIES
        .iter()
        .map(|(name, body, _)| {
            format!(
                "create function {name}() returns void language plpgsql as \
                 $body$ begin {body}\n end $body$;"
            )
        })
        .collect();
    let census = Census::of(&objects).await;
    for (name, body, unproven) in BODIES {
        let expected = if *unproven { USED } else { NOTHING };
        assert_eq!(census.of_name(name), expected, "{body}");
        assert!(census.0.contains(&format!("function 0 {name}")));
    }
    census.says(&[("leaks", USED), ("keeps", NOTHING)]);
}

#[tokio::test]
async fn custom_settings_are_named_wherever_code_makes_them() {
    let function = |name: &str, body: &str| {
        format!(
            "create function {name}() returns text language plpgsql as $body$ begin {body}\n end $body$;"
        )
    };
    let objects = [
        function("n1", "perform SET_CONFIG ( 'Fn.Called'::text, 'x', false);"),
        function("n2", "set fn.set = 'x'; set local fn.local to 'y';"),
        function("n3", "execute format('SET fn.executed = %L', x);"),
        function("n4", "execute 'select set_config(''fn.quoted'', $1, true)' using x;"),
        "create function n5() returns int language sql set fn.declared = 'x' as 'select 1';
         create function n6() returns text begin atomic select set_config('fn.atomic', 'c', false); end;
         create view vw as select set_config('v.iew', 'x', false) as one, set_config('v.second', a, true) as two from (values ('x')) as x (a);
         create table t (a text default set_config('t.default', 'c', false), check (set_config('t.check', 'x', false) > ''));
         create rule r as on insert to t do also select set_config('t.rule', new.a, false);
         create trigger g before update on t for each row
             when (set_config('t.when', 'c', false) = 'c') execute function keeps_trigger();
         create policy p on t using (set_config('t.policy', a, true) = 'x');"
            .to_owned(),
    ];
    let census = Census::of(&objects.concat()).await;
    assert_eq!(
        census.custom(),
        [
            "Fn.Called",
            "a.b",
            "fn.atomic",
            "fn.declared",
            "fn.executed",
            "fn.local",
            "fn.quoted",
            "fn.set",
            "t.check",
            "t.default",
            "t.policy",
            "t.rule",
            "t.when",
            "v.iew",
            "v.second",
        ]
    );
    let hidden: Vec<_> = census
        .0
        .iter()
        .filter(|line| line.starts_with("hidden"))
        .collect();
    assert_eq!(hidden, Vec::<&String>::new());
    census.says(&[("n2", USED), ("n5", USED), ("vw", USED), ("t", USED)]);
}

/// Bodies of functions, and whether they make settings of names that do not show.
const HIDDEN: &[(&str, &str, bool)] = &[
    ("h01", "perform set_config(x, 'c', false);", true),
    ("h02", "perform set_config('a.' || x, 'c', false);", true),
    ("h03", "perform set_config(E'a.b', 'c', false);", true),
    ("h04", "execute 'set ' || x;", true),
    ("h05", "execute format('SET LOCAL %I = %L', a, b);", true),
    ("h06", "set a.\"B\" = 1;", true),
    ("h07", "set \"a.b\" = 1;", true),
    ("h08", "execute x;", true),
    ("h09", "execute x using y;", true),
    ("h10", "perform h01();", true),
    (
        "o01",
        "perform set_config('work_mem', '1MB', false);",
        false,
    ),
    ("o02", "-- see set_config and set\n null;", false),
    (
        "o03",
        "execute format('create table %I (a int)', x);",
        false,
    ),
    ("o04", "execute 'update t' || ' set ' || x;", false),
    ("o05", "update t set \"A\" = 1, b = '2';", false),
    ("o06", "perform h02_not();", false),
];

#[tokio::test]
async fn code_that_computes_names_of_settings_is_hidden() {
    let mut objects: String = HIDDEN
        .iter()
        .map(|(name, body, _)| {
            format!(
                "create function {name}() returns void language plpgsql as \
                 $body$ begin {body}\n end $body$;"
            )
        })
        .collect();
    objects.push_str(
        "create view hiding as select set_config(a, 'x', false) from (values ('x.y')) as x (a);
         create view showing as select set_config('x.y', a, false) from (values ('x')) as x (a);
         create table hiding_default (a text default set_config('x.' || current_user, 'x', false));
         create table hiding_trigger (a int);
         create function hiding_trigger_function() returns trigger language plpgsql as
             $$ begin perform h01(); return new; end $$;
         create trigger t before update on hiding_trigger for each row
             execute function hiding_trigger_function();",
    );
    let census = Census::of(&objects).await;
    let hides = |name: &str, level: u8| census.0.contains(&format!("hidden {level} {name}"));
    for (name, body, hidden) in HIDDEN {
        assert_eq!(hides(name, 0), *hidden, "{body}");
    }
    assert!(hides("hiding", 0) && !hides("showing", 0));
    assert!(hides("hiding_default", 2) && hides("hiding_trigger", 1));
}

#[tokio::test]
async fn a_function_is_unproven_by_what_its_parsed_body_calls() {
    let census = Census::of(
        "create function built_in() returns text begin atomic select set_config('a.b', 'c', false); end;
         create function through() returns int begin atomic select leaks(); end;
         create function reads() returns bigint begin atomic select count(*) from pg_class; end;
         create function argued(a int default leaks()) returns int language sql as 'select 1';
         create function draws() returns bigint begin atomic select nextval('s'); end;",
    );
    census.await.says(&[
        ("built_in", USED),
        ("through", USED),
        ("argued", USED),
        ("reads", NOTHING),
        ("draws", DRAWS),
    ]);
}

#[tokio::test]
async fn a_function_in_a_language_nobody_can_read_is_unproven() {
    let census = Census::of(
        "create function same(text) returns text language internal as 'textin';
         create function library(text) returns text language c as 'plpgsql', 'plpgsql_call_handler';
         create aggregate sums(int) (sfunc = int4pl, stype = int);
         create function adds(int, int) returns int language sql as 'select public.leaks()';
         create aggregate leaking_sums(int) (sfunc = adds, stype = int);",
    );
    census.await.says(&[
        ("same", USED),
        ("library", LIBRARY),
        ("sums", NOTHING),
        ("leaking_sums", USED),
    ]);
}

#[tokio::test]
async fn a_trigger_makes_writing_its_table_unproven() {
    let census = Census::of(
        "create table bad (a int); create table on_insert (a int); create table fine (a int);
         create table conditional (a int); create table disabled (a int); create table drawing (a int);
         create trigger t before update on bad for each row execute function leaks_trigger();
         create trigger t before insert on on_insert for each row execute function leaks_trigger();
         create trigger t before update on fine for each row execute function keeps_trigger();
         create trigger t before update on conditional for each row
             when (set_config('a.b', 'c', false) = 'c') execute function keeps_trigger();
         create trigger t before update on disabled for each row execute function leaks_trigger();
         alter table disabled disable trigger t;
         create trigger t before delete on drawing for each row execute function draws_trigger();",
    );
    census.await.says(&[
        ("bad", WRITTEN),
        ("on_insert", INSERTED),
        ("fine", NOTHING),
        ("conditional", WRITTEN),
        ("disabled", NOTHING),
        ("drawing", DRAWS_WRITTEN),
    ]);
}

#[tokio::test]
async fn an_event_trigger_makes_definitions_unproven() {
    let function = |name: &str, body: &str| {
        format!(
            "create function {name}() returns event_trigger language plpgsql as $$ begin {body} end $$;
             create event trigger {name} on ddl_command_end execute function {name}();"
        )
    };
    let census = Census::of(&function("watcher", "null;")).await;
    census.says(&[("definitions", NOTHING)]);
    let census = Census::of(&function("watcher", "listen x;")).await;
    census.says(&[("definitions", USED)]);
}

#[tokio::test]
async fn views_and_rules_are_unproven_by_what_they_reach() {
    let census = Census::of(
        "create view v1 as select leaks() as a; create view v2 as select a from v1;
         create view v3 as select pg_try_advisory_lock(1) as a; create view fine as select 1 as a, keeps();
         create view settings as select * from pg_settings;
         create table ruled (a int); create rule r as on insert to ruled do also select leaks();
         create table log (id serial, a int); create table logged (a int);
         create rule r as on update to logged do also insert into log (a) values (1);
         create view of_log as select * from log;
         create view drawing as select nextval('log_id_seq');
         create materialized view stored as select a from v1 with no data;",
    );
    census.await.says(&[
        ("v1", USED),
        ("v2", USED),
        ("v3", USED),
        ("fine", NOTHING),
        ("settings", WRITTEN),
        ("ruled", INSERTED),
        ("log", DRAWS_INSERTED),
        ("logged", DRAWS_WRITTEN),
        ("of_log", DRAWS_INSERTED),
        ("drawing", DRAWS),
        ("stored", USED),
    ]);
}

#[tokio::test]
async fn defaults_and_generated_columns_are_evaluated_where_rows_are_made() {
    let census = Census::of(
        "create function leaks_of(int) returns int immutable language sql as 'select public.leaks()';
         create table by_default (a int default leaks());
         create table by_built_in (a text default set_config('a.b', 'c', false));
         create table generated (a int, b int generated always as (leaks_of(a)) stored);
         create table identity (a int generated by default as identity);
         create table serial_one (a serial);
         create table fine (a int default keeps(), b timestamp default now());",
    );
    census.await.says(&[
        ("by_default", INSERTED),
        ("by_built_in", INSERTED),
        ("generated", WRITTEN),
        ("identity", DRAWS_INSERTED),
        ("serial_one", DRAWS_INSERTED),
        ("fine", NOTHING),
    ]);
}

#[tokio::test]
async fn constraints_indexes_and_statistics_are_unproven_by_what_they_call() {
    let census = Census::of(
        "create function leaks_of(int) returns int immutable language sql as 'select public.leaks()';
         create function keeps_of(int) returns int immutable language sql as 'select 1';
         create table checked (a int check (leaks_of(a) > 0)); create table fine (a int check (keeps_of(a) > 0));
         create table indexed (a int); create index on indexed (leaks_of(a));
         create table in_part (a int); create index on in_part (a) where leaks_of(a) > 0;
         create table measured (a int, b int); create statistics st on (leaks_of(a)), b from measured;
         create table divided (a int) partition by hash (leaks_of(a));",
    );
    census.await.says(&[
        ("checked", USED),
        ("fine", NOTHING),
        ("indexed", USED),
        ("in_part", USED),
        ("measured", USED),
        ("divided", USED),
    ]);
}

#[tokio::test]
async fn domains_and_types_are_unproven_with_all_that_is_made_of_them() {
    let census = Census::of(
        "create function leaks_of(int) returns int immutable language sql as 'select public.leaks()';
         create domain dom as int check (leaks_of(value) > 0);
         create domain built_in as text check (set_config('a.b', value, false) = value);
         create domain fine as int check (value > 0);
         create domain lazy as int default leaks();
         create type pair as (a dom, b int);
         create table of_dom (a dom); create table of_array (a dom[]); create table of_pair (a pair);
         create table of_fine (a fine);
         create view casting as select 1::dom as a;
         create function declares() returns void language plpgsql as $$ declare x dom; begin x := 1; end $$;
         create function takes(dom) returns int language sql as 'select 1';",
    );
    census.await.says(&[
        ("dom", USED),
        ("built_in", USED),
        ("fine", NOTHING),
        ("lazy", USED),
        ("pair", USED),
        ("of_dom", USED),
        ("of_array", USED),
        ("of_pair", USED),
        ("of_fine", NOTHING),
        ("casting", USED),
        ("declares", USED),
        ("takes", USED),
    ]);
}

#[tokio::test]
async fn an_operator_that_leaks_shows_by_its_name_or_by_its_types() {
    let census = Census::of(
        "create function adds(int, text) returns int language sql as 'select 1';
         create operator + (function = adds, leftarg = int, rightarg = text);",
    );
    census.await.says(&[("+", NOTHING)]);
    let census = Census::of(
        "create type pair as (a int, b int);
         create function adds(int, text) returns int language sql as 'select public.leaks()';
         create function equals(pair, int) returns boolean language sql as 'select public.leaks() = 1';
         create operator + (function = adds, leftarg = int, rightarg = text);
         create operator = (function = equals, leftarg = pair, rightarg = int);
         create table of_pair (a pair); create view v as select 1 + 'a'::text as a;
         create function uses() returns int language plpgsql as $$ begin return 1 + 'a'::text; end $$;",
    );
    census.await.says(&[
        ("+", USED),
        ("v", USED),
        ("uses", USED),
        ("=", NOTHING),
        ("pair", USED),
        ("of_pair", USED),
    ]);
}

#[tokio::test]
async fn an_operator_that_syntax_implies_makes_everything_unproven() {
    let census = Census::of(
        "create function same(int, text) returns boolean language sql as 'select public.leaks() = 1';
         create operator = (function = same, leftarg = int, rightarg = text);",
    );
    census.await.says(&[("everything", USED)]);
}

#[tokio::test]
async fn a_cast_that_leaks_makes_its_types_unproven_or_else_everything() {
    let census = Census::of(
        "create type pair as (a int, b int); create table of_pair (a pair);
         create function makes(pair) returns int language sql as 'select public.leaks()';
         create cast (pair as int) with function makes(pair) as implicit;",
    );
    census.await.says(&[("pair", USED), ("of_pair", USED)]);
    let census = Census::of(
        "create function makes(point) returns int language sql as 'select public.leaks()';
         create cast (point as int) with function makes(point) as implicit;",
    );
    census.await.says(&[("everything", USED)]);
}

#[tokio::test]
async fn an_operator_class_that_leaks_makes_everything_unproven() {
    let census = Census::of(
        "create function compares(int, int) returns int immutable language sql as 'select public.leaks()';
         create operator class odd for type int using btree as operator 1 <, operator 3 =,
             function 1 compares(int, int);",
    );
    census.await.says(&[("everything", USED)]);
}

#[tokio::test]
async fn an_operator_class_that_leaks_shows_by_its_tables_or_its_type() {
    let census = Census::of(
        "create function hashes(int, bigint) returns bigint immutable language sql as 'select public.leaks()::bigint';
         create function near(int, int) returns boolean immutable language sql as 'select true';
         create operator <~> (function = near, leftarg = int, rightarg = int);
         create operator class near_ops for type int using hash as operator 1 <~>, function 2 hashes(int, bigint);
         create function orders(int, int) returns int immutable language sql as 'select public.leaks()';
         create operator class extra for type int using gin as
             operator 1 <~>, function 1 orders(int, int), function 2 ginarrayextract(anyarray, internal),
             function 3 ginqueryarrayextract(anyarray, internal, smallint, internal, internal, internal, internal),
             function 4 ginarrayconsistent(internal, smallint, anyarray, integer, internal, internal, internal, internal);
         create table indexed (a int); create index on indexed using gin (a extra); create table other (a int);",
    );
    census.await.says(&[
        ("near_ops", USED),
        ("<~>", USED),
        ("extra", USED),
        ("indexed", USED),
        ("other", NOTHING),
    ]);
}

/// A function of C code that nobody knows, and what leads to it.
const UNKNOWN_CODE: &str = "
    create function keeping(int) returns int language c immutable as 'plpgsql', 'plpgsql_call_handler';
    create function keeping_trigger() returns trigger language c as 'plpgsql', 'plpgsql_call_handler';
";

#[tokio::test]
async fn code_that_may_keep_state_in_the_process_is_found_by_every_way_to_it() {
    let census = Census::of(&format!(
        "{UNKNOWN_CODE}
         create function calls() returns int language plpgsql as $$ begin return KEEPING(1); end $$;
         create view v as select keeping(1); create domain dom as int check (keeping(value) > 0);
         create table of_dom (a dom); create table by_default (a int default keeping(1));
         create table indexed (a int); create index on indexed (keeping(a));
         create table updated (a int); create trigger t before update on updated for each row execute function keeping_trigger();
         create table inserted (a int); create trigger t after insert on inserted for each row execute function keeping_trigger();
         create table conditional (a int); create trigger t before update on conditional for each row
             when (keeping(new.a) = 1) execute function keeps_trigger();
         create table guarded (a int); create policy p on guarded using (keeping(a) = 1);
         create operator @@@ (function = keeping, rightarg = int); create view w as select @@@ 1 as a;
         create aggregate totals(int) (sfunc = int4pl, stype = int, finalfunc = keeping);
         create type pair as (a int); create function of_pair(pair) returns int language c as 'plpgsql', 'plpgsql_call_handler';
         create cast (pair as int) with function of_pair(pair);
         create function seeds() returns void language plpgsql as $$ begin perform setseed(0.5); end $$;
         create function parsed_seeds() returns void begin atomic select setseed(0.5); end;
         create function loads() returns void language plpgsql as $$ begin load 'plpgsql'; end $$;
         create function seeding() returns void language internal as 'setseed';
         create table plain (load int); create function reads() returns void language plpgsql as $$ begin perform load from plain; end $$;"
    ))
    .await;
    for name in [
        "calls", "v", "dom", "of_dom", "indexed", "guarded", "@@@", "w", "totals", "pair",
        "seeding",
    ] {
        assert_eq!(census.of_name(name), LIBRARY, "{name}");
    }
    for name in ["seeds", "parsed_seeds", "loads"] {
        assert_eq!(census.of_name(name), ["library 0", "unproven 0"], "{name}");
    }
    census.says(&[
        ("by_default", LIBRARY_INSERTED),
        ("updated", LIBRARY_WRITTEN),
        ("inserted", LIBRARY_INSERTED),
        ("conditional", LIBRARY_WRITTEN),
        ("reads", USED),
        ("plain", NOTHING),
        ("leaks", USED),
    ]);
}

#[tokio::test]
async fn texts_that_are_run_reach_such_code_by_the_names_in_them_or_by_any() {
    let function = |name: &str, body: &str| {
        format!(
            "create function {name}() returns text language plpgsql as $body$ begin {body} end $body$;"
        )
    };
    let functions = [
        function("x1", "execute 'select keeping(1)';"),
        function("x2", "execute x;"),
        function("x3", "perform query_to_xml(x, true, true, '');"),
        function("x4", "do 'begin perform keeping(1); end';"),
        function("x5", "execute format('insert into %I values (1)', x);"),
        function("x6", "truncate t cascade;"),
    ];
    let functions = functions.concat();
    let says = |census: &Census, expected: &[&str]| {
        let library = ["x1", "x2", "x3", "x4", "x5", "x6"]
            .into_iter()
            .filter(|name| census.of_name(name).contains(&"library 0"));
        assert_eq!(library.collect::<Vec<_>>(), expected);
    };
    let code = format!("{UNKNOWN_CODE} {functions}");
    let census = Census::of(&code).await;
    says(&census, &["x1", "x2", "x3", "x4"]);
    let tables = "create table updated (a int);
         create trigger t before update on updated for each row execute function keeping_trigger();";
    let census = Census::of(&format!("{code} {tables}")).await;
    assert_eq!(census.of_name("*tables"), LIBRARY);
    says(&census, &["x1", "x2", "x3", "x4", "x5", "x6"]);
    says(&Census::of(&functions).await, &[]);
}

#[tokio::test]
async fn a_policy_makes_its_table_unproven() {
    let census = Census::of(
        "create table bad (a int); create policy p on bad using (leaks() = 1);
         create table built_in (a int); create policy p on built_in using (pg_try_advisory_lock(a));
         create table log (id serial);
         create table fine (a int);
         create policy p on fine using (a = current_setting('a.b')::int and exists (select from log));",
    );
    census
        .await
        .says(&[("bad", USED), ("built_in", USED), ("fine", NOTHING)]);
}

#[tokio::test]
async fn a_foreign_table_is_unproven() {
    let census = Census::of(
        "create foreign data wrapper w; create server s foreign data wrapper w;
         create foreign table far (a int) server s; create view over as select * from far;",
    );
    census.await.says(&[("far", USED), ("over", USED)]);
}

#[tokio::test]
async fn parents_reach_children_and_cascades_reach_referencing_tables() {
    let census = Census::of(
        "create table parent (a int); create table child () inherits (parent);
         create trigger t before update on child for each row execute function leaks_trigger();
         create table whole (a int) partition by list (a);
         create table part partition of whole for values in (1);
         create trigger t before insert on part for each row execute function leaks_trigger();
         create table target (a int primary key);
         create table cascading (id serial, a int references target on delete cascade);
         create table restricting (id serial, a int references target);
         create trigger t after delete on cascading for each row execute function leaks_trigger();
         create table plain (a int primary key);
         create table follows (id serial, a int references plain on delete cascade);
         create trigger t before insert on follows for each row execute function leaks_trigger();",
    );
    census.await.says(&[
        ("parent", WRITTEN),
        ("child", WRITTEN),
        // A row that moves is inserted.
        ("whole", WRITTEN),
        ("part", WRITTEN),
        ("target", WRITTEN),
        ("cascading", &["sequence 2", "unproven 1"]),
        ("restricting", DRAWS_INSERTED),
        ("plain", NOTHING),
        ("follows", &["sequence 2", "unproven 2"]),
    ]);
}

#[tokio::test]
async fn functions_do_what_the_tables_in_their_bodies_make_them_do() {
    let census = Census::of(
        "create table log (id serial, a int);
         create function writes() returns void language sql as 'insert into LOG (a) values (1)';
         create function removes() returns void language sql as 'delete from log';
         create function reads() returns bigint language sql as 'select count(*) from log';
         create function parsed() returns void begin atomic insert into log (a) values (1); end;
         create function parsed_reads() returns bigint begin atomic select count(*) from log; end;
         create table \"Odd name\" (id serial);
         create function odd() returns void language sql as 'insert into \"Odd name\" default values';
         create table audited (a int);
         create function audits() returns trigger language plpgsql as
             $$ begin insert into log (a) values (new.a); return new; end $$;
         create trigger t after insert or update on audited for each row execute function audits();",
    );
    census.await.says(&[
        ("writes", DRAWS),
        ("removes", NOTHING),
        ("reads", NOTHING),
        ("parsed", DRAWS),
        ("parsed_reads", NOTHING),
        ("Odd name", DRAWS_INSERTED),
        ("odd", DRAWS),
        ("audited", DRAWS_WRITTEN),
    ]);
}

#[tokio::test]
async fn a_function_that_shadows_a_built_in_is_in_the_census() {
    let census = Census::of(
        "create function lower(int) returns int language sql as 'select public.leaks()';
         create function upper(int) returns int language sql as 'select 1';",
    );
    census.await.says(&[("lower", USED), ("upper", NOTHING)]);
}

#[tokio::test]
async fn names_beyond_ascii_are_told_as_one() {
    let census = Census::of(
        "create table größe (a int default leaks());
         create function misst() returns void language sql as 'insert into größe default values';",
    );
    census.await.says(&[("", INSERTED), ("misst", USED)]);
}

#[tokio::test]
async fn an_ordinary_role_reads_the_census_and_keeps_its_settings() {
    for postgres in servers().await {
        let database = postgres.create_database().await;
        let client = postgres.local(&database).await;
        let setup = "set standard_conforming_strings = off; set search_path = hostile, pg_catalog;
             create schema hostile;
             create function hostile.lower(text) returns text language sql as 'select 1 / 0';
             create table hostile.pg_class (a int); create temp table pg_proc (a int);";
        client.batch_execute(setup).await.unwrap();
        let census = Census::read(&client.simple_query(CENSUS).await.unwrap());
        assert!(census.0.contains("function 0 lower"));
        let row = client.query_one("show search_path", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "hostile, pg_catalog");
    }
}

#[tokio::test]
async fn extensions_that_are_believed_are_not_suspicious_but_for_some_functions() {
    let postgres = Postgres::shared().await;
    let needed = [
        "pg_trgm",
        "dblink",
        "citext",
        "isn",
        "postgres_fdw",
        "tablefunc",
    ];
    postgres.has_extensions(&needed).await;
    let census = Census::on(
        postgres,
        "create extension pg_trgm; create extension dblink; create extension citext; create extension isn;
         create extension postgres_fdw; create extension tablefunc;
         create server s foreign data wrapper postgres_fdw; create foreign table far (a int) server s;
         create table fine (a citext, b isbn); create index on fine using gin (a gin_trgm_ops);",
    )
    .await;
    census.says(&[
        ("similarity", NOTHING),
        ("%", NOTHING),
        ("fine", NOTHING),
        ("far", USED),
        ("set_limit", USED),
        ("crosstab", &["library 0", "unproven 0"]),
        ("isn_weak", LIBRARY),
        ("postgres_fdw_get_connections", LIBRARY),
        ("dblink_connect", LIBRARY),
    ]);
}
