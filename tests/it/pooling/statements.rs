//! Prepared statements of clients that share one connection: each has its own,
//! under its own names.

use super::*;
use crate::support::raw_client::error_fields;

/// Two clients of a pool of one connection, and the same two directly.
type Direct = RawClient<TlsStream<TcpStream>>;

/// Messages that each of two clients sends in turn; each ends with a ReadyForQuery.
type Script = fn(&str) -> Vec<Vec<u8>>;

fn run(name: &str) -> Vec<u8> {
    [
        frontend::bind("", name, &[]),
        frontend::execute("", 0),
        frontend::sync(),
    ]
    .concat()
}

fn prepare(name: &str, sql: &str) -> Vec<u8> {
    [
        frontend::parse(name, sql),
        frontend::describe_statement(name),
        frontend::sync(),
    ]
    .concat()
}

/// `who` makes the texts of the two clients differ.
const SCRIPTS: &[(&str, Script)] = &[
    ("the same name", |who| {
        let again = prepare("s", &format!("select '{who}', 2"));
        vec![
            prepare("s", &format!("select '{who}', 1")),
            run("s"),
            run("s"),
            // 42P05.
            again.clone(),
            run("s"),
            [frontend::close_statement("s"), frontend::sync()].concat(),
            run("s"),
            again,
            run("s"),
        ]
    }),
    ("the unnamed statement", |who| {
        vec![
            run(""),
            prepare("", &format!("select '{who}', 1")),
            run(""),
            run(""),
            [frontend::describe_statement(""), frontend::sync()].concat(),
            // Destroyed by a simple query.
            frontend::query("select 1"),
            run(""),
            // And by a Parse that fails.
            prepare("", &format!("select '{who}', 2")),
            prepare("", "select nonsense"),
            run(""),
        ]
    }),
    ("parameters", |who| {
        let bind = |value| {
            let bind = frontend::bind("p", "add", &[Some(value), Some(who)]);
            [
                bind,
                frontend::describe_portal("p"),
                frontend::execute("p", 0),
                frontend::sync(),
            ]
            .concat()
        };
        vec![
            prepare("add", "select $1::int + 1, $2::text"),
            bind("1"),
            bind("x"),
            bind("2"),
        ]
    }),
    ("errors in pipelines", |who| {
        let good = prepare("good", &format!("select '{who}'"));
        vec![
            [
                frontend::parse("a", &format!("select '{who}', 'a'")),
                frontend::parse("b", "select nonsense"),
                frontend::parse("c", &format!("select '{who}', 'c'")),
                frontend::sync(),
            ]
            .concat(),
            run("a"),
            run("b"),
            run("c"),
            good,
            [
                frontend::bind("", "good", &[]),
                frontend::execute("", 0),
                frontend::bind("", "missing", &[]),
                frontend::close_statement("good"),
                frontend::sync(),
            ]
            .concat(),
            run("good"),
            [
                frontend::parse("bad", "select 1/0"),
                frontend::bind("", "bad", &[]),
                frontend::execute("", 0),
                frontend::sync(),
            ]
            .concat(),
            run("bad"),
        ]
    }),
    ("deallocation", |who| {
        vec![
            prepare("s", &format!("select '{who}', 1")),
            frontend::query("deallocate s"),
            run("s"),
            prepare("s", &format!("select '{who}', 2")),
            prepare("t", &format!("select '{who}', 3")),
            frontend::query("deallocate all"),
            run("s"),
            run("t"),
            prepare("s", &format!("select '{who}', 4")),
            frontend::query("discard all"),
            run("s"),
            prepare("s", &format!("select '{who}', 5")),
            run("s"),
            frontend::query("deallocate missing"),
            run("s"),
        ]
    }),
    ("execution by SQL", |who| {
        vec![
            prepare("s", &format!("select '{who}'")),
            frontend::query("execute s"),
            frontend::query("select name, statement from pg_prepared_statements order by 1"),
            frontend::query("begin; execute s; commit"),
        ]
    }),
    ("a transaction", |who| {
        vec![
            frontend::query("begin"),
            prepare("s", &format!("select '{who}'")),
            run("s"),
            frontend::query("rollback"),
            // Preparing is not undone.
            run("s"),
            [
                frontend::parse("x", "select 1"),
                frontend::parse("x", "select 2"),
                frontend::sync(),
            ]
            .concat(),
            run("x"),
        ]
    }),
    ("settings", |who| {
        let path = if who == "first" { "one" } else { "two" };
        vec![
            frontend::query(&format!(
                "create schema {path}; create table {path}.t as select '{who}' as a; set search_path = {path}"
            )),
            prepare("s", "select a || '' from t"),
            run("s"),
            run("s"),
            prepare("u", "select a || '' from t where a = $1"),
            [
                frontend::bind("", "u", &[Some(who)]),
                frontend::execute("", 0),
                frontend::sync(),
            ]
            .concat(),
        ]
    }),
];

/// The answer up to the next ReadyForQuery. A client that gets a connection may be
/// told of parameters, and positions in texts are not all of a session's own.
async fn answer<S>(client: &mut RawClient<S>, messages: &[u8]) -> Vec<Message>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    client.send(messages).await;
    client.read_until_ready().await
}

fn shown(messages: &[Message]) -> String {
    let show = |(tag, body): &Message| match tag {
        b'E' => format!("{:?}", error_fields(body)),
        _ => format!("{} {}", char::from(*tag), body.escape_ascii()),
    };
    messages.iter().map(show).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn prepared_statements_of_two_clients_on_one_connection_are_as_on_two() {
    for auth in BOTH {
        for (what, script) in SCRIPTS {
            // Open transactions have a connection each.
            let size = if *what == "a transaction" { 2 } else { 1 };
            let stage = Stage::of(auth, size).await;
            let other = stage.postgres.create_database().await;
            let mut pooled = stage.clients(2).await;
            let mut direct: Vec<Direct> = Vec::new();
            for _ in 0..2 {
                let app = &stage.postgres.app;
                let mut client = stage.postgres.raw_tls().await;
                client.login(app.user, &app.password, &other).await;
                direct.push(client);
            }
            let lines = script("first").into_iter().zip(script("second"));
            for (number, (first, second)) in lines.enumerate() {
                for (who, messages) in [first, second].iter().enumerate() {
                    let expected = answer(&mut direct[who], messages).await;
                    let found = answer(&mut pooled[who], messages).await;
                    assert_eq!(
                        shown(&found),
                        shown(&expected),
                        "{auth:?}, {what}: step {number} of client {who}"
                    );
                }
            }
            assert!(stage.backends().await <= i64::from(size), "{what}");
        }
    }
}

#[tokio::test]
async fn a_statement_whose_table_has_changed_is_well_again_when_it_is_prepared_anew() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut pooled = stage.clients(2).await;
        assert_eq!(
            ask(&mut pooled[0], "create table t as select 1 as a").await,
            ""
        );
        for client in &mut pooled {
            let prepared = answer(client, &prepare("s", "select * from t")).await;
            assert_eq!(tags(&prepared), "1tTZ");
            assert_eq!(said(&answer(client, &run("s")).await), "1");
        }
        assert_eq!(
            ask(&mut pooled[0], "alter table t add b int default 2").await,
            ""
        );
        for client in &mut pooled {
            // As a server says it, or with the statement prepared anew meanwhile.
            let first = said(&answer(client, &run("s")).await);
            assert!(["0A000", "1 2"].contains(&&*first), "{first}");
            let close = [frontend::close_statement("s"), frontend::sync()].concat();
            assert_eq!(tags(&answer(client, &close).await), "3Z");
            answer(client, &prepare("s", "select * from t")).await;
            assert_eq!(said(&answer(client, &run("s")).await), "1 2");
        }
    }
}

#[tokio::test]
async fn more_statements_than_a_connection_keeps_are_all_there() {
    for auth in BOTH {
        let keys = "default_pool_size = 1\nmax_prepared_statements = 5";
        let stage = Stage::with(auth, keys).await;
        let mut clients = stage.clients(3).await;
        for (who, client) in clients.iter_mut().enumerate() {
            for number in 0..12 {
                let sql = format!("select '{who}/{number}'");
                answer(client, &prepare(&format!("s{number}"), &sql)).await;
            }
        }
        for _ in 0..2 {
            for number in (0..12).rev() {
                for (who, client) in clients.iter_mut().enumerate() {
                    let found = said(&answer(client, &run(&format!("s{number}"))).await);
                    assert_eq!(found, format!("{who}/{number}"));
                }
            }
        }
    }
}
