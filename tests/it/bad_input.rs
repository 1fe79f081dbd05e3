//! Input that no proper client sends: a clear error or a closed socket, never a
//! panic, never memory without bound, and everybody else is served as before.

use std::time::Duration;

use futures_util::StreamExt as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::support::postgres::DATABASE;
use super::support::raw_client::{Gs2, Message, first_error, tags};
use super::support::wait::{self, PATIENCE};
use super::support::{Postgres, Proxy, RawClient, frontend};

/// A login and a query, as if nothing had happened; and nothing did happen.
async fn assert_unharmed(proxy: &Proxy) {
    // Where logins have little time, a busy machine may take too long for one.
    let app = &Postgres::shared().await.app;
    let client = wait::until_some(PATIENCE, "a login", async || {
        let mut client = proxy.raw().await;
        let own = [("user", app.user), ("database", DATABASE)];
        client.startup(&own).await;
        let session = client.finish_login(&app.password, &Gs2::Unsupported).await;
        session.ok().map(|_| client)
    });
    let mut client = client.await;
    assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    for line in proxy.log() {
        assert!(!line.to_string().contains("panicked"), "{line}");
    }
}

/// Sends `bytes` and no more; returns what comes back up to the close.
async fn answer_to(proxy: &Proxy, bytes: &[u8]) -> Vec<Message> {
    let mut client = proxy.raw().await;
    // The proxy may have seen enough before it has seen all.
    drop(client.stream().write_all(bytes).await);
    drop(client.stream().shutdown().await);
    client.read_until_closed().await
}

fn body(version: u32, text: &[u8]) -> Vec<u8> {
    frontend::untagged(&[&version.to_be_bytes()[..], text].concat())
}

/// Goal: the first packet is judged as Postgres judges it.
/// Method: the same bytes to the server's own socket; the same code and words.
#[tokio::test]
async fn a_first_packet_that_is_wrong_is_refused_as_postgres_does() {
    const V3: u32 = frontend::PROTOCOL_3_0;
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let huge = [b"user\0".to_vec(), vec![b'x'; 9_991], vec![0, 0]].concat();
    for (what, packet) in [
        ("no parameters", body(V3, b"\0")),
        ("no user", body(V3, b"database\0demo\0\0")),
        ("an empty user", body(V3, b"user\0\0\0")),
        ("no terminator", body(V3, b"user\0app\0")),
        ("no terminator, nor end of a value", body(V3, b"user\0app")),
        ("nothing but the version", body(V3, b"")),
        (
            "more behind the terminator",
            body(V3, b"user\0app\0\0more\0"),
        ),
        ("a name without a value", body(V3, b"user\0app\0database\0")),
        ("protocol 4.0", body(4 << 16, b"user\0app\0\0")),
        ("a cancel without a key", body(80_877_102, b"")),
        (
            "a cancel with half a key",
            body(80_877_102, b"\0\0\0\x01\0\0"),
        ),
        ("the length 0", vec![0; 4]),
        ("the length 7", vec![0, 0, 0, 7, 0, 3, 0]),
        ("the length 10005", vec![0, 0, 0x27, 0x15, 0, 3, 0, 0]),
        ("a length below zero", vec![0xff; 16]),
        ("as much as may be", body(V3, &huge)),
        (
            "an HTTP request",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "a ClientHello",
            b"\x16\x03\x01\x00\x05\x01\0\0\x01\x03".to_vec(),
        ),
        ("half a length", vec![0, 0]),
        ("half a packet", body(V3, b"user\0app\0\0")[..12].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let mut server = postgres.raw_unix().await;
        drop(server.stream().write_all(&packet).await);
        drop(server.stream().shutdown().await);
        let expected = server.read_until_closed().await;
        let found = answer_to(&proxy, &packet).await;
        // A login that would have begun is refused, for want of an answer.
        let (expected, found) = (outcome(&expected), outcome(&found));
        assert_eq!(found, expected, "{what}");
    }
    assert_unharmed(&proxy).await;
}

/// Postgres says this in the format of protocol 2, which no client reads any more.
#[tokio::test]
async fn a_protocol_from_before_3_is_refused() {
    let proxy = Proxy::new(Postgres::shared().await).start().await;
    for (major, name) in [(0, "0.0"), (1, "1.0"), (2, "2.0")] {
        let packet = body(major << 16, b"user\0app\0\0");
        let refused = first_error(&answer_to(&proxy, &packet).await);
        assert_eq!(refused[&'C'], "0A000");
        let words = format!("unsupported frontend protocol {name}");
        assert!(refused[&'M'].contains(&words), "{refused:?}");
    }
}

/// The code and the words of a refusal, as far as both sides can say the same.
fn outcome(messages: &[Message]) -> Option<(String, String)> {
    let (_, body) = messages.iter().find(|(tag, _)| *tag == b'E')?;
    let fields = super::support::raw_client::error_fields(body);
    let words = fields[&'M'].trim_start_matches("pgsluice: ");
    let words = words.split(": ").next().unwrap_or_default();
    Some((fields[&'C'].clone(), words.to_owned()))
}

#[tokio::test]
async fn a_cancel_with_a_key_that_is_too_long_is_closed_without_a_word() {
    let proxy = Proxy::new(Postgres::shared().await).start().await;
    for length in [256, 257, 5000] {
        let request = frontend::cancel_request(1, &vec![7; length]);
        assert_eq!(tags(&answer_to(&proxy, &request).await), "");
    }
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_clienthello_to_a_listener_without_tls_is_closed_while_the_client_waits() {
    let proxy = Proxy::new(Postgres::shared().await).start().await;
    let mut client = proxy.raw().await;
    client
        .send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .await;
    assert_eq!(tags(&client.read_until_closed().await), "");
    assert_unharmed(&proxy).await;
}

/// Postgres logs it and closes; a client of the proxy is told.
#[tokio::test]
async fn a_message_whose_length_cannot_be_ends_the_session_with_a_word() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres).start().await;
    for length in [0_i32, 3, -1, i32::MIN] {
        let message = [&b"Q"[..], &length.to_be_bytes()].concat();
        let mut client = proxy.raw_session(&database).await;
        client.send(&message).await;
        let refused = first_error(&client.read_until_closed().await);
        assert_eq!(refused[&'C'], "08P01", "{length}: {refused:?}");
        assert_eq!(refused[&'S'], "FATAL");
        assert!(refused[&'M'].starts_with("pgsluice: "), "{refused:?}");
    }
    wait::until(PATIENCE, "no session is left at the server", async || {
        postgres.sessions(&database).await == 0
    })
    .await;
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_message_that_is_cut_off_takes_the_servers_session_with_it() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres).start().await;
    for message in [
        b"Q\x3f\xff\xff\xffselect 1".to_vec(),
        b"d\x3f\xff\xff\xffdata".to_vec(),
        b"Q\0\0\x01\0select 1".to_vec(),
        b"Q\0\0".to_vec(),
        b"Q".to_vec(),
    ] {
        let mut client = proxy.raw_session(&database).await;
        assert_eq!(postgres.sessions(&database).await, 1);
        client.send(&message).await;
        client.stream().shutdown().await.unwrap();
        drop(client);
        wait::until(PATIENCE, "the server's session is gone", async || {
            postgres.sessions(&database).await == 0
        })
        .await;
    }
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_message_of_an_unknown_type_is_the_servers_to_refuse() {
    let proxy = Proxy::new(Postgres::shared().await).start().await;
    for tag in [b'z', 0, 0xff, b'R'] {
        let mut client = proxy.raw_session(DATABASE).await;
        client.send(frontend::message(tag, b"what is this")).await;
        let refused = first_error(&client.read_until_closed().await);
        assert_eq!(refused[&'C'], "08P01");
        let words = format!("invalid frontend message type {tag}");
        assert_eq!(refused[&'M'], words);
    }
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn messages_before_the_login_are_refused_and_not_collected() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    assert_unharmed(&proxy).await;
    let before = resident_kib(&proxy);
    let startup = frontend::startup(
        frontend::PROTOCOL_3_0,
        &[("user", postgres.app.user), ("database", DATABASE)],
    );
    let flood = frontend::query(&" ".repeat(1000)).repeat(8 * 1024);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let bytes = [&startup[..], &flood].concat();
        let mut socket = proxy.raw().await.into_inner();
        clients.spawn(async move {
            let sending = socket.write_all(&bytes);
            let sent = timeout(PATIENCE, sending)
                .await
                .expect("it is taken or cut off");
            assert!(sent.is_err(), "all of it was taken");
        });
    }
    clients.join_all().await;
    let grown = resident_kib(&proxy).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_message_in_place_of_the_password_ends_the_login_with_a_word() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let endless = [&b"p"[..], &0x3fff_ffff_u32.to_be_bytes()].concat();
    for message in [
        frontend::query("select 1"),
        frontend::message(b'p', &vec![b'x'; 70_000]),
        frontend::sasl_response(b""),
        frontend::sasl_initial_response("PLAIN", b"\0app\0secret"),
        frontend::sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=\xff\xfe"),
        frontend::sasl_initial_response("SCRAM-SHA-256", &[b'n'; 5000]),
        endless,
        b"p\0\0\0\x02".to_vec(),
    ] {
        let mut client = proxy.raw().await;
        let parameters = [("user", postgres.app.user), ("database", DATABASE)];
        client.startup(&parameters).await;
        assert_eq!(client.read_message().await.0, b'R');
        drop(client.stream().write_all(&message).await);
        let refused = first_error(&client.read_until_closed().await);
        assert!(
            ["08P01", "28000", "28P01"].contains(&&*refused[&'C']),
            "{refused:?}"
        );
    }
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_login_that_only_drips_is_cut_off_in_time() {
    let builder = Proxy::new(Postgres::shared().await);
    let builder = builder.toml("limits.client_login_timeout = \"1s\"");
    let proxy = builder.start().await;
    let began = Instant::now();
    let mut silent = proxy.raw().await;
    let mut dripping = proxy.raw().await;
    let startup = frontend::startup(frontend::PROTOCOL_3_0, &[("user", "somebody")]);
    let mut cut_off = false;
    for byte in &startup {
        // What is sent when nobody reads any more does not matter.
        drop(dripping.stream().write_all(&[*byte]).await);
        let mut answer = [0];
        let read = dripping.stream().read(&mut answer);
        if let Ok(read) = timeout(Duration::from_millis(200), read).await {
            assert!(!matches!(read, Ok(1..)), "it was answered: {answer:?}");
            cut_off = true;
            break;
        }
    }
    assert!(cut_off, "it was read to the end");
    assert_eq!(tags(&silent.read_until_closed().await), "");
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_client_that_never_answers_the_challenge_is_cut_off_in_time() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let builder = Proxy::new(postgres).toml("limits.client_login_timeout = \"1s\"");
    let proxy = builder.start().await;
    let mut client = proxy.raw().await;
    let parameters = [("user", postgres.app.user), ("database", &*database)];
    client.startup(&parameters).await;
    assert_eq!(client.read_message().await.0, b'R');
    let refused = first_error(&client.read_until_closed().await);
    assert_eq!(refused[&'C'], "08P01");
    assert!(refused[&'M'].contains("login not complete in time"));
    assert_unharmed(&proxy).await;
}

/// Connects and says nothing, as soon as the proxy takes it.
async fn connect_silently(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test]
async fn a_flood_of_silent_connections_locks_nobody_out() {
    const FLOOD: usize = 2000;
    let proxy = Proxy::new(Postgres::shared().await).start().await;
    assert_unharmed(&proxy).await;
    let before = resident_kib(&proxy);
    let mut flood = JoinSet::new();
    for _ in 0..FLOOD {
        flood.spawn(connect_silently(proxy.addr()));
    }
    // The first that get in would hold every place there is for a minute.
    let mut held = Vec::new();
    while held.len() < FLOOD / 4 {
        held.push(flood.join_next().await.unwrap().unwrap());
    }
    // Within a test's patience, which is shorter.
    let mut client = proxy.raw_session(DATABASE).await;
    assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    held.extend(flood.join_all().await);
    assert_unharmed(&proxy).await;
    let grown = resident_kib(&proxy).saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more");
    // Who was in the middle of a session is not touched.
    assert_eq!(client.rows("select 2").await, [[Some("2".to_owned())]]);
}

#[tokio::test]
async fn a_flood_of_logins_gets_a_word_each_and_leaves_no_trace() {
    let postgres = Postgres::shared().await;
    let builder = Proxy::new(postgres);
    let limits = "limits.max_client_conn = 10\nlimits.max_upstream_conn = 10";
    let proxy = builder.toml(limits).start().await;
    let mut seated = Vec::new();
    for _ in 0..10 {
        seated.push(proxy.raw_session(DATABASE).await);
    }
    let parameters = [("user", postgres.app.user), ("database", DATABASE)];
    let startup = frontend::startup(frontend::PROTOCOL_3_0, &parameters);
    let before = resident_kib(&proxy);
    let logins = std::iter::repeat_with(|| refused_login(proxy.addr(), startup.clone()));
    let mut flood = futures_util::stream::iter(logins.take(1000)).buffer_unordered(50);
    while let Some(messages) = flood.next().await {
        let refused = first_error(&messages);
        assert_eq!(refused[&'C'], "53300");
        assert!(refused[&'M'].contains("too many clients"));
        assert!(refused[&'H'].contains("max_client_conn"));
    }
    let grown = resident_kib(&proxy).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    drop(seated);
    wait::until(PATIENCE, "the places are free again", async || {
        let messages = refused_login(proxy.addr(), startup.clone()).await;
        messages.first().is_some_and(|(tag, _)| *tag == b'R')
    })
    .await;
    assert_unharmed(&proxy).await;
}

/// Logs in as far as the first answer; what a client does that is refused.
async fn refused_login(address: std::net::SocketAddr, startup: Vec<u8>) -> Vec<Message> {
    let mut client = RawClient::over(connect_silently(address).await);
    client.send(startup).await;
    vec![client.read_message().await]
}

#[tokio::test]
async fn no_log_line_at_any_level_holds_a_password() {
    let postgres = Postgres::shared().await;
    let (role, password) = postgres.create_role("").await;
    let canaries = ["canary-of-the-client", "canary-of-a-liar", &password];
    let proxy = Proxy::new(postgres)
        .toml(&format!(
            "auth.mode = \"held\"\n\
             log.level = \"trace\"\n\
             [[users]]\n\
             name = \"clear\"\n\
             auth = \"password\"\n\
             password = \"{0}\"\n\
             upstream_user = \"{role}\"\n\
             upstream_password = \"{password}\"\n\
             [[users]]\n\
             name = \"hashed\"\n\
             auth = \"md5\"\n\
             password = \"{0}\"\n\
             upstream_user = \"{role}\"\n\
             upstream_password = \"{password}-wrong\"\n",
            canaries[0]
        ))
        .start()
        .await;
    for (user, password) in [
        ("clear", canaries[0]),
        ("clear", canaries[1]),
        ("hashed", canaries[0]),
        ("hashed", canaries[1]),
        ("nobody", canaries[0]),
    ] {
        let mut client = proxy.raw().await;
        client
            .startup(&[("user", user), ("database", DATABASE)])
            .await;
        let gs2 = Gs2::Unsupported;
        let login = client.finish_login(password, &gs2).await;
        assert_eq!(login.is_ok(), user == "clear" && password == canaries[0]);
        drop(client);
    }
    // A password where a user or a message belongs.
    answer_to(&proxy, &frontend::password(canaries[1])).await;
    proxy
        .wait_for_log(|line| line["message"] == "session ended")
        .await;
    for line in proxy.log() {
        let text = line.to_string();
        for canary in canaries {
            assert!(!text.contains(canary), "{text}");
        }
    }
}

/// Bytes that begin as something proper and are then damaged.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let session = [
        frontend::query("select 1"),
        frontend::extended_query("select $1::int", &[Some("1")]),
        frontend::sync(),
    ]
    .concat();
    let login = |parameters| frontend::startup(frontend::PROTOCOL_3_0, parameters);
    let wholes = vec![
        login(&[("user", "app"), ("database", DATABASE)]),
        login(&[("user", "app"), ("_pq_.x", "1"), ("options", "-c a=b")]),
        frontend::startup(frontend::PROTOCOL_3_2, &[("user", "app")]),
        frontend::ssl_request(),
        frontend::gssenc_request(),
        frontend::cancel_request(4711, b"1234"),
        [frontend::ssl_request(), login(&[("user", "app")])].concat(),
        [login(&[("user", "app")]), frontend::password("x"), session].concat(),
    ];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let cut = prop::option::of(any::<prop::sample::Index>());
    let tail = prop::collection::vec(any::<u8>(), 0..40);
    (prop::sample::select(wholes), damage, cut, tail).prop_map(|(mut bytes, damage, cut, tail)| {
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(tail);
        bytes
    })
}

/// Goal: no bytes of a stranger harm anybody else.
/// Method: 300 damaged beginnings, each from a client that closes behind it. The
/// answer may be anything; the connection must end.
#[tokio::test]
async fn no_bytes_of_a_stranger_do_harm() {
    let proxy = Proxy::new(Postgres::shared().await).start().await;
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..300 {
        let bytes = mutated().new_tree(&mut runner).unwrap().current();
        assert_ends(proxy.raw().await.into_inner(), &bytes).await;
    }
    assert_unharmed(&proxy).await;
}

/// The same from clients that are logged in.
#[tokio::test]
async fn no_bytes_of_a_client_that_is_logged_in_do_harm() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres).start().await;
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..10 {
        let mut clients = Vec::new();
        for _ in 0..8 {
            let bytes = mutated().new_tree(&mut runner).unwrap().current();
            let client = proxy.raw_session(&database);
            clients.push(async move { assert_ends(client.await.into_inner(), &bytes).await });
        }
        futures_util::future::join_all(clients).await;
    }
    wait::until(PATIENCE, "no session is left at the server", async || {
        postgres.sessions(&database).await == 0
    })
    .await;
    assert_unharmed(&proxy).await;
}

/// Messages in a row as no proper client would send them: any type, any body.
fn babble() -> impl Strategy<Value = Vec<u8>> {
    let proper = vec![
        frontend::query("begin"),
        frontend::query("select 1"),
        frontend::query("copy (select 1) to stdout"),
        frontend::query("copy babble from stdin"),
        frontend::parse("", "copy babble from stdin"),
        frontend::parse("a", "select $1::int"),
        frontend::bind("", "", &[]),
        frontend::bind("", "a", &[Some("1")]),
        frontend::describe_portal(""),
        frontend::execute("", 0),
        frontend::close_statement("a"),
        frontend::flush(),
        frontend::sync(),
        frontend::function_call(870, &[b"A"]),
        frontend::copy_data(b"1\n"),
        frontend::copy_done(),
        frontend::copy_fail("enough"),
    ];
    let tags = prop::sample::select(b"QPBDECHSFdcfpz\0".to_vec());
    let improper = (tags, prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(tag, body)| frontend::message(tag, &body));
    let one = prop_oneof![3 => prop::sample::select(proper), 1 => improper];
    prop::collection::vec(one, 1..12).prop_map(|messages| messages.concat())
}

/// Goal: no bytes of one client of a pool reach another.
/// Method: a second client wants the same two connections all the while, and looks at
/// each answer that it gets.
#[tokio::test]
async fn no_bytes_of_a_client_of_a_pool_harm_the_next_one() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let (user, password) = (postgres.app.user, &postgres.app.password);
    let builder = Proxy::new(postgres).toml(&format!(
        "auth.mode = 'held'\n\
         [pooling]\npool_mode = 'transaction'\ndefault_pool_size = 2\n\
         [[users]]\nname = '{user}'\nauth = 'scram-sha-256'\npassword = '{password}'\n"
    ));
    let proxy = builder.start().await;
    let mut second = proxy.raw_session(&database).await;
    second.rows("create table babble (n int)").await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let questions = async {
        let mut number = 0_u64;
        while stopped.try_recv().is_err() {
            number += 1;
            let answer = second.query(&format!("select {number}")).await;
            assert_eq!(tags(&answer), "TDCZ", "{number}");
            let row = super::support::raw_client::data_row(&answer[1].1);
            assert_eq!(row, [Some(number.to_string())]);
        }
    };
    let babblers = async {
        let mut runner = TestRunner::new(Config::default());
        for _ in 0..8 {
            let clients = (0..8).map(|number| {
                let bytes = match number % 2 {
                    0 => babble().new_tree(&mut runner).unwrap().current(),
                    _ => mutated().new_tree(&mut runner).unwrap().current(),
                };
                let client = proxy.raw_session(&database);
                async move { assert_ends(client.await.into_inner(), &bytes).await }
            });
            futures_util::future::join_all(clients.collect::<Vec<_>>()).await;
        }
        let _ = stop.send(());
    };
    tokio::join!(questions, babblers);
    assert_unharmed(&proxy).await;
}

/// Sends `bytes` and no more; the other side must close as well.
async fn assert_ends(mut socket: TcpStream, bytes: &[u8]) {
    drop(socket.write_all(bytes).await);
    drop(socket.shutdown().await);
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "still open after {}", bytes.escape_ascii());
}

/// Goal: what is waited for is bounded for all clients together.
/// Method: many clients that send nearly the whole of a long Query, 122 MiB in all.
#[tokio::test]
async fn texts_that_never_end_take_little_room() {
    const LENGTH: u32 = 4_000_000;
    let postgres = Postgres::shared().await;
    let builder = Proxy::new(postgres).toml("pooling.pool_mode = 'transaction'");
    let proxy = builder.start().await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(proxy.raw_session(DATABASE).await);
    }
    let before = resident_kib(&proxy);
    let header = [&b"Q"[..], &LENGTH.to_be_bytes()].concat();
    let text = [header, vec![b' '; LENGTH as usize - 100]].concat();
    let sending = clients.iter_mut().map(|client| {
        // One that is not waited for goes on as far as there is a connection for it.
        let sending = client.stream().write_all(&text);
        timeout(Duration::from_secs(3), sending)
    });
    futures_util::future::join_all(sending).await;
    let grown = resident_kib(&proxy).saturating_sub(before);
    assert!(grown < 100 * 1024, "{grown} KiB more");
    drop(clients);
    assert_unharmed(&proxy).await;
}

/// Memory of the proxy that is in use.
fn resident_kib(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
