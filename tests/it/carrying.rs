//! Carrying: whatever a client and a server say to each other arrives, unchanged,
//! in order and without delay; and what happens when one of them is gone.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::observed::{ADMIN, Metrics, peak, resident};
use crate::scripted::{Scripted, read_message, reset};
use crate::support::frontend as say;
use crate::support::postgres::Stop;
use crate::support::raw_client::{Message, error_fields, first_error, tags};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy, RawClient};

const MIB: u64 = 1 << 20;

/// Held by tests that move gigabytes, so that they do not do it all at once.
static HEAVY: Mutex<()> = Mutex::const_new(());

/// A proxy to the shared server, and a database of the test's own.
async fn ground() -> (Proxy, String) {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    (Proxy::new(postgres).start().await, database)
}

/// Two sessions that are told the same: through the proxy, and to the server.
struct Twins {
    carried: RawClient<TcpStream>,
    direct: RawClient<TlsStream<TcpStream>>,
    _proxy: Proxy,
}

impl Twins {
    async fn new() -> Self {
        let (proxy, database) = ground().await;
        let postgres = Postgres::shared().await;
        let carried = proxy.raw_session(&database).await;
        let mut direct = postgres.raw_tls().await;
        let app = &postgres.app;
        direct.login(app.user, &app.password, &database).await;
        Self {
            carried,
            direct,
            _proxy: proxy,
        }
    }

    /// Sends to both; the answers must be the same to the byte. `expected` are
    /// their tags up to the last one.
    async fn agree(&mut self, bytes: impl AsRef<[u8]>, expected: &str) -> Vec<Message> {
        self.carried.send(&bytes).await;
        self.direct.send(&bytes).await;
        let (mut carried, mut direct) = (Vec::new(), Vec::new());
        for _ in expected.chars() {
            carried.push(self.carried.read_message().await);
            direct.push(self.direct.read_message().await);
        }
        assert_eq!(tags(&carried), expected);
        assert!(carried == direct, "{carried:?}\n{direct:?}");
        carried
    }
}

fn batch(sql: &str) -> Vec<u8> {
    [
        say::parse("", sql),
        say::bind("", "", &[]),
        say::execute("", 0),
    ]
    .concat()
}

#[tokio::test]
async fn simple_queries_are_answered_as_by_the_server() {
    let mut twins = Twins::new().await;
    for (sql, expected) in [
        ("", "IZ"),
        ("select 1 as a, null as b, 'ü'", "TDCZ"),
        ("select 1; select 2; select 3", "TDCTDCTDCZ"),
        ("select 1; select 1/0; select 3", "TDCEZ"),
        ("begin; savepoint a; selekt 1", "EZ"),
        ("begin", "CZ"),
        ("selekt 1", "EZ"),
        ("select 'in a failed transaction'", "EZ"),
        ("rollback", "CZ"),
        ("set application_name = 'twin'", "CSZ"),
        ("do $$ begin raise notice 'look'; end $$", "NCZ"),
    ] {
        twins.agree(say::query(sql), expected).await;
    }
}

#[tokio::test]
async fn extended_queries_are_answered_as_by_the_server() {
    let mut twins = Twins::new().await;
    let one = say::extended_query("select $1::int + 1", &[Some("41")]);
    twins.agree(one, "12TDCZ").await;
    let named = [
        say::parse("s", "select generate_series(1, $1::int)"),
        say::describe_statement("s"),
        say::bind("p", "s", &[Some("5")]),
        say::execute("p", 2),
        say::flush(),
    ];
    twins.agree(named.concat(), "1tT2DDs").await;
    let rest = [say::execute("p", 2), say::execute("p", 0), say::sync()];
    twins.agree(rest.concat(), "DDsDCZ").await;
    let closing = [
        say::bind("", "s", &[None]),
        say::close_portal("missing"),
        say::close_statement("s"),
        say::sync(),
    ];
    twins.agree(closing.concat(), "233Z").await;
    let gone = [say::bind("", "s", &[None]), say::sync()];
    twins.agree(gone.concat(), "EZ").await;
    twins.agree(say::sync(), "Z").await;
}

#[tokio::test]
async fn a_function_call_is_answered_as_by_the_server() {
    let mut twins = Twins::new().await;
    let (two, three) = (2_i32.to_be_bytes(), 3_i32.to_be_bytes());
    let int4pl = say::function_call(177, &[&two, &three]);
    let answer = twins.agree(&int4pl, "VZ").await;
    assert_eq!(answer[0].1, [0, 0, 0, 4, 0, 0, 0, 5]);
    twins.agree(say::function_call(1, &[]), "EZ").await;
    twins.agree(&int4pl, "VZ").await;
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order_whatever_its_shape() {
    let mut twins = Twins::new().await;
    let bad = say::parse("", "selekt");
    let shapes = [
        // Two batches, then two Syncs in a row.
        (
            [
                batch("select 1"),
                say::sync(),
                batch("select 2"),
                say::sync(),
                say::sync(),
            ]
            .concat(),
            "12DCZ12DCZZ",
        ),
        // An error in the middle skips up to the next Sync, and no further.
        (
            [
                batch("select 1"),
                batch("select 1/0"),
                batch("select 3"),
                say::sync(),
                batch("select 4"),
                say::sync(),
            ]
            .concat(),
            "12DC1EZ12DCZ",
        ),
        // A simple Query behind a failed Parse is skipped too: one Z.
        (
            [bad.clone(), say::query("select 1"), say::sync()].concat(),
            "EZ",
        ),
        (
            [
                bad.clone(),
                say::query("select 1"),
                batch("select 1"),
                say::sync(),
                say::query("select 2"),
            ]
            .concat(),
            "EZTDCZ",
        ),
        // A simple Query in a batch that is well ends it.
        (
            [batch("select 1"), say::query("select 2"), say::sync()].concat(),
            "12DCTDCZZ",
        ),
        (
            [
                say::query("select 1"),
                say::query("selekt"),
                batch("select 3"),
                say::sync(),
            ]
            .concat(),
            "TDCZEZ12DCZ",
        ),
        // Flush in between changes nothing but the time.
        (
            [bad, say::flush(), say::flush(), say::sync()].concat(),
            "EZ",
        ),
    ];
    for (bytes, expected) in shapes {
        twins.agree(bytes, expected).await;
        twins
            .agree(say::query("select 'still in step'"), "TDCZ")
            .await;
    }
}

#[tokio::test]
async fn a_flush_is_answered_without_a_sync_and_a_sync_may_come_much_later() {
    let mut twins = Twins::new().await;
    twins
        .agree([batch("select 1"), say::flush()].concat(), "12DC")
        .await;
    twins
        .agree([batch("select 2"), say::flush()].concat(), "12DC")
        .await;
    twins
        .agree([batch("select 1/0"), say::flush()].concat(), "1E")
        .await;
    twins.agree(say::sync(), "Z").await;
}

/// Goal: nobody waits for somebody who waits for him.
/// Method: requests and answers far larger than all buffers on the way, and a
/// client that reads nothing until it can write no more, or has written all.
#[tokio::test]
async fn thousands_of_batches_without_reading_do_not_deadlock() {
    const BATCHES: usize = 20_000;
    let _alone = HEAVY.lock().await;
    let (proxy, database) = ground().await;
    let before = peak(&proxy);
    let stream = proxy.raw_session(&database).await.into_inner();
    let (mut reader, mut writer) = stream.into_split();
    let (told, mut written) = tokio::sync::watch::channel(0);
    // Requests must fill the sockets' buffers too.
    let sql = format!("select repeat('x', 1000) -- {}", "x".repeat(2000));
    let one = say::extended_query(&sql, &[]);
    let writing = tokio::spawn(async move {
        for n in 1..=BATCHES {
            writer.write_all(&one).await.unwrap();
            told.send_replace(n);
        }
        writer
    });
    // Stuck, or done: nothing moves for a while.
    while let Ok(Ok(())) = timeout(Duration::from_millis(300), written.changed()).await {}
    assert!(
        *written.borrow() < BATCHES,
        "backpressure reaches the client"
    );
    let expected = BATCHES * (5 + 5 + 32 + 1011 + 14 + 6);
    let mut answers = vec![0; expected];
    timeout(PATIENCE, reader.read_exact(&mut answers))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answers[expected - 6..], *b"Z\0\0\0\x05I");
    let _writer = writing.await.unwrap();
    let grown = peak(&proxy) - before;
    assert!(grown < 4 * MIB, "{grown}");
}

#[tokio::test]
async fn copy_by_simple_query_is_carried_both_ways() {
    let mut twins = Twins::new().await;
    twins
        .agree(say::query("create temp table t (a int)"), "CZ")
        .await;
    twins.agree(say::query("copy t from stdin"), "G").await;
    let rows = [
        say::copy_data(b"1\n2"),
        say::copy_data(b"\n3\n"),
        say::flush(),
        say::sync(),
    ];
    twins
        .agree([rows.concat(), say::copy_done()].concat(), "CZ")
        .await;
    twins.agree(say::query("copy t to stdout"), "HdddcCZ").await;
    twins.agree(say::query("copy t from stdin"), "G").await;
    twins.agree(say::copy_fail("changed my mind"), "EZ").await;
    // Sent along with its data, and two in one string.
    let at_once = [
        say::query("copy t from stdin"),
        say::copy_data(b"4\n"),
        say::copy_done(),
    ];
    twins.agree(at_once.concat(), "GCZ").await;
    twins
        .agree(say::query("copy t from stdin; copy t to stdout"), "G")
        .await;
    twins.agree(say::copy_done(), "CHddddcCZ").await;
    // The error comes in the middle; what is on its way is ignored.
    twins.agree(say::query("copy t from stdin"), "G").await;
    twins.agree(say::copy_data(b"no number\n"), "").await;
    let rest = [
        say::copy_data(b"6\n"),
        say::copy_done(),
        say::query("select 1"),
    ];
    twins.agree(rest.concat(), "EZTDCZ").await;
}

#[tokio::test]
async fn copy_by_extended_query_is_carried_with_its_swallowed_sync() {
    let mut twins = Twins::new().await;
    twins
        .agree(say::query("create temp table t (a int)"), "CZ")
        .await;
    let copy = [batch("copy t from stdin"), say::sync()].concat();
    twins.agree(&copy, "12G").await;
    let data = [say::copy_data(b"1\n"), say::copy_done(), say::sync()];
    twins.agree(data.concat(), "CZ").await;
    twins
        .agree([batch("copy t to stdout"), say::sync()].concat(), "12HdcCZ")
        .await;
    twins.agree(&copy, "12G").await;
    let failing = [say::copy_data(b"x\n"), say::copy_done(), say::sync()];
    twins.agree(failing.concat(), "EZ").await;
    twins.agree(&copy, "12G").await;
    twins
        .agree([say::copy_fail("no"), say::sync()].concat(), "EZ")
        .await;
    twins
        .agree(say::query("select count(*) from t"), "TDCZ")
        .await;
}

/// What a client sends, and how often the server is ready for more afterwards.
fn exchanges() -> Vec<(Vec<u8>, usize)> {
    let copy = "create temp table t (a int); copy t from stdin";
    let extended_copy = [batch("copy pg_temp.t from stdin"), say::sync()].concat();
    let make = say::query("create temp table t (a int)");
    let row = [say::copy_data(b"1\n"), say::copy_done()].concat();
    vec![
        (
            [
                say::parse("", "selekt"),
                say::query("select 1"),
                say::sync(),
            ]
            .concat(),
            1,
        ),
        (
            [batch("select 1"), say::query("select 2"), say::sync()].concat(),
            2,
        ),
        (
            [
                batch("select 1"),
                batch("select 1/0"),
                batch("select 3"),
                say::sync(),
            ]
            .concat(),
            1,
        ),
        ([say::query(copy), row.clone()].concat(), 1),
        ([say::query(copy), say::copy_fail("no")].concat(), 1),
        (
            [
                say::query(copy),
                say::copy_data(b"x\n"),
                say::copy_data(b"y\n"),
                say::copy_done(),
            ]
            .concat(),
            1,
        ),
        (
            [make.clone(), extended_copy.clone(), row, say::sync()].concat(),
            2,
        ),
        (
            [
                make,
                extended_copy,
                say::copy_data(b"x\n"),
                say::copy_done(),
                say::sync(),
            ]
            .concat(),
            2,
        ),
        (say::function_call(1, &[]), 1),
        (
            [
                say::query("begin"),
                say::query("selekt"),
                say::query("rollback"),
            ]
            .concat(),
            3,
        ),
        (
            say::query("copy (select generate_series(1, 10)) to stdout; select 1"),
            1,
        ),
    ]
}

/// Goal: after any of these the proxy knows that nothing is owed.
/// Method: a session for each, then a drain: each is told to go at once, and not
/// only when `drain_timeout` is over.
#[tokio::test]
async fn after_any_exchange_the_session_is_known_to_be_at_rest() {
    let (mut proxy, database) = ground().await;
    let mut clients = Vec::new();
    for (bytes, answers) in exchanges() {
        let mut client = proxy.raw_session(&database).await;
        client.send(bytes).await;
        for _ in 0..answers {
            client.read_until_ready().await;
        }
        clients.push(client);
    }
    proxy.terminate();
    for client in &mut clients {
        assert_eq!(
            first_error(&client.read_until_closed().await)[&'C'],
            "57P01"
        );
    }
    assert!(proxy.wait().await.success());
    let puzzled = proxy
        .log()
        .into_iter()
        .find(|line| line["message"] == "the upstream's answer fits no question");
    assert_eq!(puzzled, None);
}

#[tokio::test]
async fn notifications_and_notices_reach_an_idle_client() {
    let (proxy, database) = ground().await;
    let mut client = proxy.raw_session(&database).await;
    client.query("listen news").await;
    let postgres = Postgres::shared().await;
    let other = postgres.local(&database).await;
    other.batch_execute("notify news, 'hello'").await.unwrap();
    let (tag, body) = client.read_message().await;
    assert_eq!((tag, &body[4..]), (b'A', &b"news\0hello\0"[..]));
    assert_eq!(tags(&client.query("select 1").await), "TDCZ");
}

#[tokio::test]
async fn logical_replication_is_carried() {
    let postgres = Postgres::shared().await;
    let (proxy, database) = ground().await;
    let (user, password) = postgres.create_role("replication").await;
    let mut client = proxy.raw().await;
    let parameters = [
        ("user", &*user),
        ("database", &*database),
        ("replication", "database"),
    ];
    client.startup(&parameters).await;
    let gs2 = crate::support::raw_client::Gs2::Unsupported;
    client.finish_login(&password, &gs2).await.unwrap();
    let slot = format!("slot_{user}");
    client
        .rows(&format!(
            "CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL test_decoding"
        ))
        .await;
    client
        .send(say::query(&format!(
            "START_REPLICATION SLOT {slot} LOGICAL 0/0"
        )))
        .await;
    assert_eq!(client.read_message().await.0, b'W');
    let other = postgres.local(&database).await;
    other
        .batch_execute("create table t (a int); insert into t values (4711)")
        .await
        .unwrap();
    loop {
        let (tag, body) = client.read_message().await;
        assert_eq!(tag, b'd');
        if String::from_utf8_lossy(&body).contains("4711") {
            break;
        }
        // Whatever it asks, an answer is welcome.
        client
            .send(say::copy_data(&[&b"r"[..], &[0; 33]].concat()))
            .await;
    }
    client.send(say::copy_done()).await;
    let ending = tags(&client.read_until_ready().await);
    assert!(ending.contains('c') && ending.ends_with("CZ"), "{ending}");
    assert_eq!(client.rows("select 1").await.len(), 1);
}

#[tokio::test]
async fn physical_replication_is_carried() {
    let postgres = Postgres::builder()
        .hba("hostssl replication all 127.0.0.1/32 scram-sha-256")
        .start()
        .await;
    let (user, password) = postgres.create_role("replication").await;
    let proxy = Proxy::new(&postgres).start().await;
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", &user), ("replication", "true")])
        .await;
    let gs2 = crate::support::raw_client::Gs2::Unsupported;
    client.finish_login(&password, &gs2).await.unwrap();
    let system = client.rows("IDENTIFY_SYSTEM").await.remove(0);
    let position = system[2].clone().unwrap();
    client
        .send(say::query(&format!("START_REPLICATION {position}")))
        .await;
    assert_eq!(client.read_message().await.0, b'W');
    postgres
        .execute("create table t (a int); select pg_switch_wal()")
        .await;
    assert_eq!(client.read_message().await.0, b'd');
    client.send(say::terminate()).await;
    // It goes in the middle of what it has to say, as to any client.
    let (stream, mut sink) = (client.stream(), tokio::io::sink());
    let rest = timeout(PATIENCE, tokio::io::copy(stream, &mut sink));
    rest.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_arrives_after_the_client_has_closed_its_own_side() {
    let (proxy, database) = ground().await;
    let mut client = proxy.raw_session(&database).await;
    client
        .send(say::query("select pg_sleep(0.2), repeat('x', 100000)"))
        .await;
    client.stream().shutdown().await.unwrap();
    assert_eq!(tags(&client.read_until_closed().await), "TDCZ");
    no_session_is_left(&database).await;
    proxy
        .wait_for_log(|line| line["reason"] == "client_left")
        .await;
}

#[tokio::test]
async fn an_upstream_is_told_terminate_for_a_client_that_closed_without() {
    let upstream = Scripted::bind().await;
    let proxy = upstream.proxy().await.start().await;
    let (mut client, mut server) = upstream.session(&proxy).await;
    client.send(say::query("select")).await;
    client.stream().shutdown().await.unwrap();
    assert_eq!(read_message(&mut server).await.0, b'Q');
    assert_eq!(read_message(&mut server).await, (b'X', Vec::new()));
    let answer = [say::message(b'C', b"SELECT 0\0"), say::message(b'Z', b"I")].concat();
    server.write_all(&answer).await.unwrap();
    drop(server);
    assert_eq!(tags(&client.read_until_closed().await), "CZ");
}

#[tokio::test]
async fn what_was_sent_before_terminate_is_executed() {
    let (proxy, database) = ground().await;
    let postgres = Postgres::shared().await;
    let watcher = postgres.local(&database).await;
    watcher
        .batch_execute("create table t (a int)")
        .await
        .unwrap();
    let mut client = proxy.raw_session(&database).await;
    let sql = "insert into t select 1 from pg_sleep(0.1)";
    client
        .send([say::query(sql), say::terminate()].concat())
        .await;
    drop(client);
    wait::until(PATIENCE, "the row is there", async || {
        watcher.query("table t", &[]).await.unwrap().len() == 1
    })
    .await;
    drop(watcher);
    no_session_is_left(&database).await;
}

async fn no_session_is_left(database: &str) {
    let postgres = Postgres::shared().await;
    wait::until(PATIENCE, "the server has let go", async || {
        postgres.sessions(database).await == 0
    })
    .await;
}

/// Bytes that no compression or pattern explains, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bind of one binary parameter and a binary result, Execute, Sync.
fn bind_binary(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let body = [&[0, 0, 0, 1, 0, 1, 0, 1][..], &length, value, &[0, 1, 0, 1]].concat();
    [say::message(b'B', &body), say::execute("", 0), say::sync()].concat()
}

#[tokio::test]
async fn a_value_of_64_mib_is_the_same_when_it_comes_back() {
    let _alone = HEAVY.lock().await;
    let (proxy, database) = ground().await;
    let mut client = proxy.raw_session(&database).await;
    let value = noise(64 << 20);
    client.send(say::parse("", "select $1::bytea")).await;
    let bytes = bind_binary(&value);
    let (mut reader, mut writer) = client.into_inner().into_split();
    let sending = async {
        let mut rest = &bytes[..];
        for size in [1, 2, 4, 7, 4093, 32_763, 32_768, 65_537, 1_000_003]
            .into_iter()
            .cycle()
        {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            writer.write_all(piece).await.unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    };
    // ParseComplete, BindComplete, and the header of the row.
    let mut answer = vec![0; 5 + 5 + 11 + value.len()];
    let (_, read) = tokio::join!(sending, reader.read_exact(&mut answer));
    read.unwrap();
    assert_eq!(answer[..10], *b"1\0\0\0\x042\0\0\0\x04");
    assert!(answer[21..] == value[..], "a byte has changed");
}

/// Goal: frames are seen right wherever the network cuts them.
/// Method: both directions in pieces of all sizes, larger frames than a buffer
/// among them; a scripted upstream gives back what it is told.
#[tokio::test]
async fn frames_arrive_whole_wherever_they_are_cut() {
    let upstream = Scripted::bind().await;
    let proxy = upstream.proxy().await.start().await;
    let (client, server) = upstream.session(&proxy).await;
    let client = client.into_inner();
    let big = noise(100_000);
    let mut stream = Vec::new();
    for size in [
        0, 1, 5, 507, 512, 1000, 32_762, 32_763, 32_764, 32_768, 70_000,
    ] {
        stream.extend(say::message(b'd', &big[..size]));
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    for (mut from, mut to, what) in [
        (from_server, to_client, "to the upstream"),
        (from_client, to_server, "to the client"),
    ] {
        let expected = stream.clone();
        let reading = tokio::spawn(async move {
            let mut seen = vec![0; expected.len()];
            from.read_exact(&mut seen).await.unwrap();
            assert!(seen == expected, "{what}");
        });
        // Every small step first, so that each header is cut everywhere.
        let (head, tail) = stream.split_at(1200);
        for piece in head.chunks(1).chain(tail.chunks(5003)) {
            to.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        timeout(PATIENCE, reading).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_the_server_and_fills_no_memory() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres).toml(ADMIN).start().await;
    let metrics = Metrics::of(&proxy);
    let mut client = proxy.raw_session(&database).await;
    let before = resident(&proxy);
    let sql = "select repeat('x', 10000) from generate_series(1, 100000)";
    client.send(say::query(sql)).await;
    let carried = "pgsluice_bytes_total{direction=\"to_client\"}";
    let mut last = -1.0;
    wait::until(PATIENCE, "the stream stands still", async || {
        let now = metrics.get(carried).await;
        std::mem::replace(&mut last, now) == now && now > 100_000.0
    })
    .await;
    assert!(
        last < 64e6,
        "{last} bytes went into a client that does not read"
    );
    let grown = resident(&proxy).saturating_sub(before);
    assert!(grown < 4 * MIB, "{grown}");
    drop(client);
    no_session_is_left(&database).await;
}

#[tokio::test]
async fn an_administrator_who_ends_a_session_is_heard_in_the_servers_own_words() {
    let (proxy, database) = ground().await;
    let mut idle = proxy.raw_session(&database).await;
    let mut busy = proxy.raw_session(&database).await;
    busy.send(say::query("select pg_sleep(60)")).await;
    Postgres::shared().await.terminate_sessions(&database).await;
    for client in [&mut idle, &mut busy] {
        let error = first_error(&client.read_until_closed().await);
        assert_eq!((&*error[&'C'], &*error[&'S']), ("57P01", "FATAL"));
        assert!(!error[&'M'].contains("pgsluice"), "{error:?}");
    }
    proxy
        .wait_for_log(|line| line["reason"] == "upstream_ended")
        .await;
}

#[tokio::test]
async fn a_server_that_crashes_is_reported_as_08006_with_a_hint() {
    let mut postgres = Postgres::builder().start().await;
    let proxy = Proxy::new(&postgres).start().await;
    let mut idle = proxy.raw_session("demo").await;
    let mut busy = proxy.raw_session("demo").await;
    busy.send(say::query("select pg_sleep(60)")).await;
    postgres.stop(Stop::Immediate).await;
    for client in [&mut idle, &mut busy] {
        let error = first_error(&client.read_until_closed().await);
        assert_eq!((&*error[&'C'], &*error[&'S']), ("08006", "FATAL"));
        assert!(
            error[&'M'].starts_with("pgsluice:") && error.contains_key(&'H'),
            "{error:?}"
        );
    }
    postgres.start_again().await;
    let mut next = proxy.raw_session("demo").await;
    assert_eq!(next.rows("select 1").await.len(), 1);
}

#[tokio::test]
async fn a_backend_that_is_killed_is_reported_as_08006() {
    let postgres = Postgres::builder().start().await;
    let proxy = Proxy::new(&postgres).start().await;
    let mut client = proxy.raw_session("demo").await;
    let pid = client.rows("select pg_backend_pid()").await[0][0]
        .clone()
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    client.send(say::query("select pg_sleep(60)")).await;
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let error = first_error(&client.read_until_closed().await);
    assert_eq!(error[&'C'], "08006");
}

/// Sends `bytes`, lets the upstream die when it has read `frames` messages, and
/// gives the error that the client is left with.
async fn lost_after(bytes: Vec<u8>, frames: usize) -> String {
    let upstream = Scripted::bind().await;
    let proxy = upstream.proxy().await.start().await;
    let (mut client, mut server) = upstream.session(&proxy).await;
    client.send(bytes).await;
    for _ in 0..frames {
        read_message(&mut server).await;
    }
    reset(server);
    let error = first_error(&client.read_until_closed().await);
    assert!(error.contains_key(&'H'), "{error:?}");
    error[&'C'].clone()
}

#[tokio::test]
async fn a_commit_that_is_lost_in_flight_is_reported_as_unknown() {
    for sql in [
        "COMMIT",
        "insert into t values (1); commit",
        "/* x */ end",
        "prepare transaction 'a'",
    ] {
        assert_eq!(lost_after(say::query(sql), 1).await, "08007", "{sql}");
    }
    let prepared = [
        say::parse("c", "/* tagged */ COMMIT"),
        say::bind("", "c", &[]),
        say::execute("", 0),
        say::sync(),
    ];
    assert_eq!(lost_after(prepared.concat(), 4).await, "08007");
    let piped = [
        batch("insert into t values (1)"),
        batch("COMMIT"),
        say::sync(),
    ];
    assert_eq!(lost_after(piped.concat(), 7).await, "08007");
}

#[tokio::test]
async fn a_loss_without_a_commit_in_flight_is_no_question() {
    for sql in ["select 1", "begin", "rollback"] {
        assert_eq!(lost_after(say::query(sql), 1).await, "08006", "{sql}");
    }
    let only_prepared = [say::parse("c", "COMMIT"), say::sync()].concat();
    assert_eq!(lost_after(only_prepared, 2).await, "08006");
    // One that was answered is settled.
    let upstream = Scripted::bind().await;
    let proxy = upstream.proxy().await.start().await;
    let (mut client, mut server) = upstream.session(&proxy).await;
    client.send(say::query("commit")).await;
    read_message(&mut server).await;
    let answer = [say::message(b'C', b"COMMIT\0"), say::message(b'Z', b"I")];
    server.write_all(&answer.concat()).await.unwrap();
    client.read_until_ready().await;
    drop(server);
    assert_eq!(
        first_error(&client.read_until_closed().await)[&'C'],
        "08006"
    );
}

#[tokio::test]
async fn a_server_that_dies_within_a_message_leaves_no_torn_frame() {
    let row = say::message(b'D', &[&[0, 1, 0, 0, 3, 232][..], &[b'x'; 1000]].concat());
    for (cut, by_reset) in [
        (1, false),
        (4, true),
        (5, false),
        (6, true),
        (500, false),
        (1010, true),
    ] {
        let upstream = Scripted::bind().await;
        let proxy = upstream.proxy().await.start().await;
        let (mut client, mut server) = upstream.session(&proxy).await;
        client.send(say::query("select")).await;
        read_message(&mut server).await;
        server
            .write_all(&[&row[..], &row[..], &row[..cut]].concat())
            .await
            .unwrap();
        assert_eq!(client.read_message().await.0, b'D');
        if by_reset {
            reset(server);
        } else {
            drop(server);
        }
        let last = client.read_until_closed().await;
        assert_eq!(tags(&last), "DE", "cut at {cut}");
        assert_eq!(first_error(&last)[&'C'], "08006");
    }
}

#[tokio::test]
async fn an_upstream_that_sends_garbage_is_not_passed_on() {
    let upstream = Scripted::bind().await;
    let proxy = upstream.proxy().await.start().await;
    let (mut client, mut server) = upstream.session(&proxy).await;
    client.send(say::query("select")).await;
    read_message(&mut server).await;
    let whole = say::message(b'C', b"SELECT 0\0");
    server
        .write_all(&[&whole[..], b"D\0\0\0\x01"].concat())
        .await
        .unwrap();
    let last = client.read_until_closed().await;
    let (_, body) = last.last().unwrap();
    assert_eq!(error_fields(body)[&'C'], "08006");
    assert_eq!(tags(&last), "CE", "what was whole arrives");
}

#[tokio::test]
async fn a_client_that_sends_garbage_is_told_so_and_what_was_whole_is_executed() {
    let (proxy, database) = ground().await;
    let mut client = proxy.raw_session(&database).await;
    client.query("create table t (a int)").await;
    let insert = say::query("insert into t values (1)");
    client.send([&insert[..], b"Q\0\0\0\x03"].concat()).await;
    let last = client.read_until_closed().await;
    assert_eq!(first_error(&last)[&'C'], "08P01");
    no_session_is_left(&database).await;
}
