//! The SQL with which the proxy asks a server what a session holds, and undoes it,
//! run as it stands in the source against real servers.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::servers;
use crate::support::Postgres;

const CHECK: &str = include_str!("../../src/state/probe.sql");
const LASTVAL: &str = include_str!("../../src/state/lastval.sql");
const LIGHT: &str = include_str!("../../src/state/reset.sql");
const FULL: &str = "DISCARD ALL";

type Row = [Option<String>; 3];

/// Everything that a session can hold and a check can see, with what it says.
const HOLDS: &[(&str, &str)] = &[
    ("listen \"A b\"", "listen A b -"),
    ("declare c cursor with hold for select 1", "cursor c -"),
    ("prepare p as select 1", "prepared p -"),
    ("select pg_advisory_lock(7)", "lock - -"),
    ("select pg_advisory_lock_shared(1, 2)", "lock - -"),
    ("create temp table t(a int)", "temp - -"),
    ("create temp sequence s", "temp - -"),
    (
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "temp - -",
    ),
    ("create type pg_temp.e as enum ('a')", "temp - -"),
    ("create temp view v as select 1", "temp - -"),
    ("set work_mem = '1MB'", "setting work_mem 1024"),
    (
        "set search_path to a, \"B c\"",
        "setting search_path a, \"B c\"",
    ),
    (
        "set time zone interval '-08:00' hour to minute",
        "setting TimeZone <-08>+08",
    ),
    ("set role pg_monitor", "role pg_monitor -"),
];

async fn rows(client: &Client, sql: &str) -> Vec<Row> {
    let messages = client.simple_query(sql).await.unwrap();
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push([0, 1, 2].map(|column| row.get(column).map(str::to_owned)));
        }
    }
    rows
}

/// What the check says beyond that there is a user, a role, and a temporary schema.
async fn held(client: &Client) -> Vec<String> {
    let mut held = Vec::new();
    for row in rows(client, CHECK).await {
        let row = row.map(|column| column.unwrap_or_else(|| "-".to_owned()));
        let usual = match row[0].as_str() {
            "user" => row[2] != "changed",
            "role" => row[1] == "none" && row[2] == "-",
            // It stays until the end of the connection.
            "schema" => true,
            _ => false,
        };
        if !usual && row[1] != "transaction_isolation" {
            held.push(row.join(" "));
        }
    }
    held
}

/// A database and a role without any rights of its own in it, but to set the role
/// pg_monitor.
async fn login(postgres: &Postgres) -> (Client, Client) {
    let database = postgres.create_database().await;
    let (role, password) = postgres.create_role("in role pg_monitor").await;
    let admin = postgres.superuser(&database).await;
    let grant = format!("grant temporary on database {database} to {role}");
    admin.batch_execute(&grant).await.unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host_path(postgres.dir()).port(postgres.port());
    config.user(&role).password(password).dbname(&database);
    (crate::support::postgres::login(&config).await, admin)
}

/// Leaves one of everything.
async fn leave_everything(client: &Client) {
    for (sql, _) in HOLDS {
        client.batch_execute(sql).await.unwrap();
    }
    for sql in [
        "set standard_conforming_strings = off",
        "set default_transaction_read_only = on",
        "set statement_timeout = 500",
        "set a.b = 'c'",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
}

#[tokio::test]
async fn check_finds_nothing_in_a_fresh_session() {
    for postgres in servers().await {
        let (client, _) = login(postgres).await;
        assert_eq!(held(&client).await, [""; 0]);
        assert_eq!(held(&client).await, [""; 0], "nor after a check");
    }
}

#[tokio::test]
async fn check_finds_each_thing_that_a_session_holds() {
    for postgres in servers().await {
        for (sql, found) in HOLDS {
            let (client, _) = login(postgres).await;
            client.batch_execute(sql).await.unwrap();
            assert_eq!(held(&client).await, [*found], "{sql}");
        }
    }
}

#[tokio::test]
async fn check_tells_statements_of_the_protocol_from_those_of_sql() {
    let (client, _) = login(Postgres::shared().await).await;
    let _statement = client.prepare("select 1").await.unwrap();
    let held = held(&client).await;
    assert!(
        held.len() == 1 && held[0].starts_with("parsed s"),
        "{held:?}"
    );
}

#[tokio::test]
async fn check_sees_another_user_and_privileged_settings() {
    for postgres in servers().await {
        let database = postgres.create_database().await;
        let client = postgres.superuser(&database).await;
        let user = |rows: Vec<Row>| {
            rows.into_iter()
                .find(|row| row[0].as_deref() == Some("user"))
        };
        let found = user(rows(&client, CHECK).await).unwrap();
        assert_eq!(found[2].as_deref(), Some("super"));
        client
            .batch_execute("set log_statement = 'all'")
            .await
            .unwrap();
        assert_eq!(held(&client).await, ["privileged log_statement all"]);
        let other = format!("set session authorization {}", postgres.app.user);
        client.batch_execute(&other).await.unwrap();
        let found = user(rows(&client, CHECK).await).unwrap();
        assert_eq!(found[2].as_deref(), Some("changed"));
        client.batch_execute(LIGHT).await.unwrap();
        assert_eq!(held(&client).await, [""; 0]);
    }
}

#[tokio::test]
async fn check_cannot_be_misled_by_what_the_session_has_set_up() {
    for postgres in servers().await {
        let (client, admin) = login(postgres).await;
        let sql = "create schema evil; grant usage on schema evil to public;
            create function evil.no(text, text) returns bool language sql as 'select false';
            create function evil.no(name, name) returns bool language sql as 'select false';
            create function evil.no(oid, oid) returns bool language sql as 'select false';
            create function evil.no(int, int) returns bool language sql as 'select false';
            create operator evil.= (function = evil.no, leftarg = text, rightarg = text);
            create operator evil.= (function = evil.no, leftarg = name, rightarg = name);
            create operator evil.= (function = evil.no, leftarg = oid, rightarg = oid);
            create operator evil.= (function = evil.no, leftarg = int, rightarg = int);
            create function evil.pg_listening_channels() returns setof text language sql
                as 'select null::text where false';
            create function evil.current_setting(text) returns text language sql as 'select ''x''';
            create table evil.pg_depend(refclassid oid, refobjid oid)";
        admin.batch_execute(sql).await.unwrap();
        let sql = "set search_path = evil, pg_catalog; set client_min_messages = debug5;
            set standard_conforming_strings = off; set bytea_output = escape;
            set quote_all_identifiers = on; set client_encoding = 'SJIS';
            set default_transaction_isolation = serializable";
        client.batch_execute(sql).await.unwrap();
        client.batch_execute("listen a").await.unwrap();
        client.batch_execute("create temp table t()").await.unwrap();
        let found = held(&client).await;
        let expected = ["listen a -", "temp - -", "setting bytea_output escape"];
        assert_eq!(found[..3], expected, "{found:?}");
        assert_eq!(found.len(), 9, "{found:?}");
        client.batch_execute(LIGHT).await.unwrap();
        assert_eq!(held(&client).await, [""; 0]);
    }
}

#[tokio::test]
async fn scrubbing_makes_a_connection_equal_to_a_fresh_one() {
    for postgres in servers().await {
        for scrub in [FULL, &LIGHT.replace('\n', " "), LIGHT] {
            let (client, _) = login(postgres).await;
            leave_everything(&client).await;
            assert!(held(&client).await.len() >= 11);
            client.batch_execute(scrub).await.unwrap();
            let expected: &[&str] = if scrub == FULL {
                &[]
            } else {
                &["prepared p -"]
            };
            assert_eq!(held(&client).await, expected, "{scrub}");
            let own = rows(&client, "select current_setting('a.b', true), null, null").await;
            assert_eq!(own[0][0].as_deref(), Some(""), "it cannot be removed");
        }
    }
}

#[tokio::test]
async fn a_light_scrub_keeps_prepared_statements_and_a_full_one_does_not() {
    let (client, _) = login(Postgres::shared().await).await;
    let statement = client.prepare("select 1").await.unwrap();
    client.batch_execute(LIGHT).await.unwrap();
    client.query_one(&statement, &[]).await.unwrap();
    client.batch_execute(FULL).await.unwrap();
    assert!(client.query_one(&statement, &[]).await.is_err());
}

#[tokio::test]
async fn scrubbing_goes_back_to_the_role_that_a_login_begins_with() {
    for postgres in servers().await {
        for scrub in [FULL, LIGHT] {
            let (first, admin) = login(postgres).await;
            let name = rows(&first, "select session_user, current_database(), null").await;
            let [Some(role), Some(database), _] = &name[0] else {
                panic!("{name:?}")
            };
            let sql =
                format!("alter role {role} set role = pg_monitor; alter role {role} password 'x'");
            admin.batch_execute(&sql).await.unwrap();
            let mut config = tokio_postgres::Config::new();
            config.host_path(postgres.dir()).port(postgres.port());
            config.user(role).password("x").dbname(database);
            let client = crate::support::postgres::login(&config).await;
            let fresh = held(&client).await;
            assert_eq!(fresh, ["role pg_monitor login"]);
            client.batch_execute("set role none").await.unwrap();
            assert_eq!(held(&client).await, ["role none login"]);
            client.batch_execute(scrub).await.unwrap();
            assert_eq!(held(&client).await, fresh, "{scrub}");
        }
    }
}

#[tokio::test]
async fn lastval_is_told_by_a_row_an_error_or_not_at_all() {
    for postgres in servers().await {
        let (client, _) = login(postgres).await;
        let sql = format!("{};\n{LASTVAL}", CHECK.trim_end());
        let error = client.simple_query(&sql).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "55000");
        client
            .batch_execute("set exit_on_error = on")
            .await
            .unwrap();
        assert_eq!(rows(&client, LASTVAL).await.len(), 0);
        client.batch_execute("reset exit_on_error").await.unwrap();
        let sql = "create temp sequence s; select nextval('s'), nextval('s')";
        client.batch_execute(sql).await.unwrap();
        assert_eq!(rows(&client, LASTVAL).await[0][2].as_deref(), Some("2"));
        client.batch_execute(LIGHT).await.unwrap();
        assert!(client.simple_query(LASTVAL).await.is_err());
    }
}

/// What a check names can be set again: the other connection then says the same.
#[tokio::test]
async fn settings_that_a_check_names_can_be_set_again() {
    for postgres in servers().await {
        let (client, _) = login(postgres).await;
        let sql = "select name, setting, null from pg_settings
            where context = 'user' and name not in ('exit_on_error',
                'transaction_deferrable', 'transaction_isolation', 'transaction_read_only')";
        let all = rows(&client, sql).await;
        assert!(all.len() > 100);
        for setting in &all {
            set(&client, setting).await;
        }
        let named: Vec<Row> = rows(&client, CHECK).await;
        let (other, _) = login(postgres).await;
        for [what, name, value] in named.clone() {
            if what.as_deref() == Some("setting")
                && !name.as_deref().unwrap().starts_with("transaction_")
            {
                set(&other, &[name, value, None]).await;
            }
        }
        let again = rows(&other, CHECK).await;
        let of_session = |rows: Vec<Row>| -> Vec<Row> {
            let setting = |row: &Row| row[0].as_deref() == Some("setting");
            let lasting = |row: &Row| !row[1].as_deref().unwrap().starts_with("transaction_");
            rows.into_iter()
                .filter(|row| setting(row) && lasting(row))
                .collect()
        };
        assert_eq!(of_session(again), of_session(named));
    }
}

async fn set(client: &Client, setting: &Row) {
    let [Some(name), Some(value), _] = setting else {
        panic!("{setting:?}")
    };
    let value = value.replace('\\', "\\\\").replace('\'', "''");
    let sql = format!("SELECT pg_catalog.set_config(E'{name}',E'{value}',false)");
    if let Err(error) = client.batch_execute(&sql).await {
        panic!("{sql}: {error:?}");
    }
}
