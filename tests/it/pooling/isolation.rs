//! A pool of one connection: whatever a client leaves on it, the next one sees
//! nothing of it, and the client itself finds it again.

use super::*;
use crate::support::wait::{PATIENCE, until};

/// How a client's state is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is taken off the connection, and put back for its owner.
    Carried,
    /// Its owner keeps the connection.
    Pinned,
}

use Kept::{Carried, Pinned};

/// What a client leaves, and a question whose answer shows it.
const LEFT: &[(&str, &str, Kept)] = &[
    ("set work_mem = '3MB'", "show work_mem", Carried),
    ("set local work_mem = '3MB'", "show work_mem", Carried),
    (
        "begin; set work_mem = '3MB'; rollback",
        "show work_mem",
        Carried,
    ),
    (
        "begin; set work_mem = '3MB'; commit",
        "show work_mem",
        Carried,
    ),
    (
        "select set_config('work_mem', '3MB', false)",
        "show work_mem",
        Carried,
    ),
    (
        "set search_path = pg_catalog, nowhere",
        "show search_path",
        Carried,
    ),
    ("set time zone 'Asia/Tokyo'", "show timezone", Carried),
    ("set datestyle = 'German, DMY'", "show datestyle", Carried),
    (
        "set application_name = 'somebody'",
        "show application_name",
        Carried,
    ),
    (
        "set client_encoding = 'latin1'",
        "show client_encoding",
        Carried,
    ),
    (
        "set standard_conforming_strings = off",
        "select 'a\\\\b'",
        Carried,
    ),
    ("set role pg_monitor", "select current_user", Carried),
    (
        "set session authorization pg_monitor",
        "select session_user, current_user",
        Pinned,
    ),
    (
        "set session characteristics as transaction isolation level serializable, read only",
        "select current_setting('transaction_isolation'), current_setting('transaction_read_only')",
        Carried,
    ),
    (
        "set app.tenant = 'a'",
        "select current_setting('app.tenant', true)",
        Carried,
    ),
    (
        "select set_config('app.tenant', 'a', false)",
        "select current_setting('app.tenant', true)",
        Carried,
    ),
    (
        "do $$ begin perform set_config('app.tenant', 'a', false); end $$",
        "select current_setting('app.tenant', true)",
        Carried,
    ),
    (
        "do $$ begin perform set_config('work_mem', '3MB', false); end $$",
        "show work_mem",
        Carried,
    ),
    (
        "create temp table t as select 1",
        "select to_regclass('t')",
        Pinned,
    ),
    (
        "select 1 as a into temp t",
        "select to_regclass('t')",
        Pinned,
    ),
    (
        "do $$ begin create temp table t (); end $$",
        "select to_regclass('t')",
        Pinned,
    ),
    (
        "create function pg_temp.f() returns int return 1",
        "select pg_temp.f()",
        Pinned,
    ),
    (
        "listen news",
        "select * from pg_listening_channels()",
        Pinned,
    ),
    (
        "select pg_advisory_lock(7)",
        "select count(*) from pg_locks l join pg_database d on d.oid = l.database \
         where locktype = 'advisory' and datname = current_database()",
        Pinned,
    ),
    (
        "prepare p as select 7",
        "select name from pg_prepared_statements",
        Pinned,
    ),
    (
        "declare c cursor with hold for select 7",
        "select name from pg_cursors",
        Pinned,
    ),
    ("select setseed(0.5)", "select 1", Pinned),
    ("load 'plpgsql'", "select 1", Pinned),
    ("select nextval('numbers')", "select lastval()", Pinned),
    (
        "insert into rows default values",
        "select currval('rows_id_seq')",
        Pinned,
    ),
];

/// Objects that some of these need.
const OBJECTS: &str = "create sequence numbers; create table rows (id serial)";

/// A pool of one connection for a superuser, for which clients wait as long as
/// `query_wait_timeout` says.
pub(super) async fn alone(auth: Auth, query_wait_timeout: &str) -> Stage<'static> {
    let keys = "default_pool_size = 1\nmax_pinned = 1";
    let postgres = Postgres::shared().await;
    let limit = format!("limits.query_wait_timeout = '{query_wait_timeout}'");
    let builder = pooling(postgres, auth, keys).toml(&limit);
    let stage = Stage::on(postgres, builder).await;
    let client = postgres.superuser(&stage.database).await;
    client.batch_execute(OBJECTS).await.unwrap();
    stage
}

pub(super) async fn superuser(stage: &Stage<'_>) -> Pooled {
    let account = &stage.postgres.superuser;
    let mut client = stage.proxy.raw().await;
    client
        .login(account.user, &account.password, &stage.database)
        .await;
    client
}

/// The answer of a session that nobody had before.
pub(super) async fn untouched(stage: &Stage<'_>, question: &str) -> Vec<Message> {
    let account = &stage.postgres.superuser;
    let mut client = stage.postgres.raw_tls().await;
    client
        .login(account.user, &account.password, &stage.database)
        .await;
    client.query(question).await
}

/// The rows and errors of an answer: a client that gets a connection may be told of
/// parameters in between.
fn essence(messages: &[Message]) -> Vec<&Message> {
    messages.iter().filter(|(tag, _)| *tag != b'S').collect()
}

fn is_timeout(messages: &[Message]) -> bool {
    if tags(messages) != "EZ" {
        return false;
    }
    let error = first_error(messages);
    error[&'C'] == "53300" && error[&'S'] == "ERROR"
}

/// What cannot be removed from a connection is no matter where another can be had:
/// an empty custom setting, and the name of a schema for temporary objects.
fn can_be_undone(auth: Auth, leaves: &str) -> bool {
    auth == Auth::Held || !(leaves.contains("app.tenant") || leaves.contains("pg_temp"))
}

/// How answers differ from what they should be, if they do.
pub(super) fn differs(what: &str, found: &[Message], wanted: &[Message]) -> Option<String> {
    let shown = || format!("{what}: {:?} for {:?}", said(found), said(wanted));
    (essence(found) != essence(wanted)).then(shown)
}

/// One client leaves something and stays, a second one looks, the first looks again
/// and leaves, the second looks again.
pub(super) async fn while_it_stays(
    stage: &Stage<'_>,
    (leaves, question, kept): (&str, &str, Kept),
) -> Option<String> {
    let what = leaves;
    let mut first = superuser(stage).await;
    let mut second = superuser(stage).await;
    let done = first.query(leaves).await;
    assert!(!tags(&done).contains('E'), "{what}: {}", said(&done));
    let own = first.query(question).await;
    let fresh = untouched(stage, question).await;
    let answer = second.query(question).await;
    if kept == Pinned {
        let pipeline = [frontend::extended_query("select 1", &[])];
        let piped = exchange(&mut second, &pipeline).await;
        if !is_timeout(&answer) || !is_timeout(&piped) {
            return Some(format!("{what} is not pinned: {}", said(&answer)));
        }
    } else if let Some(difference) = differs(what, &answer, &fresh) {
        return Some(difference);
    }
    let again = first.query(question).await;
    if let Some(difference) = differs(&format!("{what}, again"), &again, &own) {
        return Some(difference);
    }
    first.send(frontend::terminate()).await;
    assert_eq!(first.read_until_closed().await, []);
    let answer = second.query(question).await;
    let fresh = untouched(stage, question).await;
    differs(&format!("{what}, left"), &answer, &fresh)
}

#[tokio::test]
async fn what_a_client_leaves_while_it_stays_is_not_seen_by_the_next_and_found_again() {
    let mut differences = Vec::new();
    for auth in BOTH {
        let stage = alone(auth, "1500ms").await;
        for case in LEFT.iter().filter(|case| can_be_undone(auth, case.0)) {
            let difference = while_it_stays(&stage, *case).await;
            differences.extend(difference.map(|text| format!("{auth:?} {text}")));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// One client leaves something, and leaves.
pub(super) async fn when_it_leaves(
    stage: &Stage<'_>,
    (leaves, question, _): (&str, &str, Kept),
) -> Option<String> {
    let mut first = superuser(stage).await;
    let mut second = superuser(stage).await;
    first.query(leaves).await;
    drop(first);
    let answer = second.query(question).await;
    let fresh = untouched(stage, question).await;
    differs(leaves, &answer, &fresh)
}

#[tokio::test]
async fn what_a_client_leaves_when_it_leaves_is_not_seen_by_the_next() {
    let mut differences = Vec::new();
    for auth in BOTH {
        let stage = alone(auth, "10s").await;
        for case in LEFT.iter().filter(|case| can_be_undone(auth, case.0)) {
            let difference = when_it_leaves(&stage, *case).await;
            differences.extend(difference.map(|text| format!("{auth:?} {text}")));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test]
async fn locks_and_tables_go_with_their_client_though_its_connection_has_to_stay() {
    for auth in BOTH {
        let stage = alone(auth, "10s").await;
        // With it the connection is needed, and nobody has used it afterwards.
        let _other = superuser(&stage).await;
        let mut client = superuser(&stage).await;
        let leaves =
            "select setseed(0.5); create temp table left_by_it (); select pg_advisory_lock(7)";
        assert!(!tags(&client.query(leaves).await).contains('E'));
        drop(client);
        let direct = stage.postgres.superuser(&stage.database).await;
        let sql = "select (select count(*) from pg_class where relname = 'left_by_it') + \
                   (select count(*) from pg_locks l join pg_database d on d.oid = l.database \
                    where locktype = 'advisory' and datname = current_database())";
        until(PATIENCE, "nothing is left", async || {
            direct.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_was_not_served_in_time_is_told_so_and_served_later() {
    for auth in BOTH {
        let stage = alone(auth, "500ms").await;
        let mut first = superuser(&stage).await;
        let mut second = superuser(&stage).await;
        assert_eq!(ask(&mut first, "begin").await, "");
        let error = first_error(&second.query("select 1").await);
        assert_eq!((&*error[&'C'], &*error[&'S']), ("53300", "ERROR"));
        assert!(error[&'M'].starts_with("pgsluice:"), "{error:?}");
        assert!(error.contains_key(&'H'), "{error:?}");
        // A pipeline up to its Sync, and then the next.
        let pipeline = [
            frontend::parse("s", "select 1"),
            frontend::flush(),
            frontend::bind("", "s", &[]),
            frontend::execute("", 0),
        ];
        second.send(pipeline.concat()).await;
        let (tag, _) = second.read_message().await;
        assert_eq!(tag, b'E');
        second.send(frontend::extended_query("select 2", &[])).await;
        assert_eq!(tags(&second.read_until_ready().await), "Z");
        assert_eq!(ask(&mut first, "commit").await, "");
        let answer = exchange(&mut second, &[frontend::extended_query("select 3", &[])]).await;
        assert_eq!((&*tags(&answer), &*said(&answer)), ("12TDCZ", "3"));
        // What was refused was not done.
        let answer = exchange(
            &mut second,
            &[frontend::bind("", "s", &[]), frontend::sync()],
        )
        .await;
        assert_eq!(said(&answer), "26000");
    }
}

#[tokio::test]
async fn a_client_that_drew_from_a_sequence_and_asks_no_more_does_not_keep_its_connection() {
    for auth in BOTH {
        let stage = alone(auth, "500ms").await;
        let mut first = superuser(&stage).await;
        let mut second = superuser(&stage).await;
        for client in [&mut first, &mut second] {
            let number = ask(client, "select nextval('numbers')").await;
            assert_ne!(number, "53300");
        }
        assert_eq!(ask(&mut first, "select lastval()").await, "55000");
    }
}

/// Waits for the next notification; gives its channel and text.
async fn notified(client: &mut Pooled) -> (String, String) {
    let (tag, body) = client.read_message().await;
    assert_eq!(tag, b'A');
    let mut words = crate::support::raw_client::texts(&body[4..]);
    (words.remove(0), words.remove(0))
}

#[tokio::test]
async fn notifications_reach_the_listener_while_it_idles_and_nobody_else() {
    for auth in BOTH {
        let stage = Stage::of(auth, 2).await;
        let mut listener = stage.client().await;
        let mut others = stage.clients(3).await;
        assert_eq!(ask(&mut listener, "listen news").await, "");
        for (number, other) in others.iter_mut().enumerate() {
            let answer = other.query(&format!("notify news, '{number}'")).await;
            assert_eq!(tags(&answer), "CZ");
            let heard = notified(&mut listener).await;
            assert_eq!(heard, ("news".to_owned(), number.to_string()));
        }
        // Not even one that comes over the listener's connection later.
        assert_eq!(ask(&mut listener, "unlisten *").await, "");
        for _ in 0..6 {
            let answers = others.iter_mut().chain([&mut listener]);
            for client in answers {
                let answer = client.query("notify news, 'late'").await;
                assert_eq!(tags(&answer), "CZ");
            }
        }
    }
}

/// The process id that a client has asked for is the one that its notification bears,
/// wherever it was when it asked.
#[tokio::test]
async fn a_notification_bears_the_process_id_that_its_sender_found() {
    for auth in BOTH {
        let stage = Stage::of(auth, 2).await;
        let mut sender = stage.client().await;
        let mut others = stage.clients(2).await;
        for number in 0..6 {
            let other = &mut others[number % 2];
            assert_eq!(ask(other, "begin").await, "");
            let asked = ["begin", "select pg_backend_pid()", "listen x; notify x"];
            let mut found = String::new();
            for sql in asked {
                found.push_str(&ask(&mut sender, sql).await);
            }
            let done = sender.query("commit").await;
            let notified = done.iter().find(|(tag, _)| *tag == b'A').unwrap();
            let id = u32::from_be_bytes(*notified.1.first_chunk().unwrap());
            assert_eq!(id.to_string(), found, "{auth:?} {number}");
            assert_eq!(ask(&mut sender, "unlisten *").await, "");
            assert_eq!(ask(&mut others[number % 2], "commit").await, "");
        }
    }
}

#[tokio::test]
async fn notifications_of_a_listener_that_left_are_for_nobody() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut listener = stage.client().await;
        let mut next = stage.client().await;
        assert_eq!(ask(&mut listener, "listen news").await, "");
        drop(listener);
        let direct = stage.postgres.local(&stage.database).await;
        direct.batch_execute("notify news").await.unwrap();
        for _ in 0..3 {
            assert_eq!(tags(&next.query("notify news").await), "CZ");
        }
        let channels = "select * from pg_listening_channels()";
        assert_eq!(ask(&mut next, channels).await, "");
    }
}

/// A name that the search path resolves is resolved when it is set, not when it is
/// set again.
#[tokio::test]
async fn a_text_search_configuration_stays_what_it_was_when_it_was_set() {
    let stage = Stage::of(Auth::Held, 1).await;
    let owner = stage.postgres.superuser(&stage.database).await;
    owner
        .batch_execute(
            "create schema a; create schema b; grant usage on schema a, b to public;
             create text search configuration a.cfg (copy = pg_catalog.english);
             create text search configuration b.cfg (copy = pg_catalog.simple)",
        )
        .await
        .unwrap();
    for first in [
        "set default_text_search_config = 'pg_catalog.german'",
        "select 1",
    ] {
        let mut clients = stage.clients(2).await;
        let (client, other) = clients.split_at_mut(1);
        for sql in [
            first,
            "set search_path = a",
            "set default_text_search_config = cfg",
            "set search_path = b",
        ] {
            ask(&mut client[0], sql).await;
        }
        assert_eq!(ask(&mut other[0], "select 2").await, "2");
        let show = "show default_text_search_config";
        assert_eq!(ask(&mut client[0], show).await, "a.cfg", "{first}");
    }
}

/// Goal: what the proxy asks the server means what it says, whatever a client has
/// defined and put first in its path.
#[tokio::test]
async fn a_clients_own_operators_have_no_part_in_the_proxys_questions() {
    let stage = Stage::of(Auth::Held, 1).await;
    let superuser = stage.postgres.superuser(&stage.database).await;
    let evil = "create schema evil; create table evil.calls (what text); \
        grant usage on schema evil to public; grant insert on evil.calls to public; \
        create function evil.equal(text, text) returns boolean language plpgsql \
        as $$ begin insert into evil.calls values ($1); return true; end $$; \
        create operator evil.= (leftarg = text, rightarg = text, function = evil.equal)";
    superuser.batch_execute(evil).await.unwrap();
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    ask(&mut client, "set search_path = evil, pg_catalog").await;
    let sql = "select set_config('work_mem', '3MB', false)";
    assert_eq!(ask(&mut client, sql).await, "3MB");
    // For this one the first is asked what it has left.
    assert_eq!(ask(&mut other, "select 1").await, "1");
    assert_eq!(ask(&mut client, "show work_mem").await, "3MB");
    let checks = stage.metrics.get("pgsluice_pool_checks_total").await;
    assert!(checks >= 1.0, "{checks}");
    let calls = "select coalesce(string_agg(what, ' '), 'none') from evil.calls";
    let row = superuser.query_one(calls, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "none");
}
