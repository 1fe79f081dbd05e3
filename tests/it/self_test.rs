//! The tools themselves, tried on a plain server: a test that fails should never
//! have to ask whether they work.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::frontend;
use crate::support::postgres::{Authority, DATABASE, Stop, server_certificate, server_end_point};
use crate::support::raw_client::{self, Gs2, tags};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy, RawClient};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_server_over_tls_takes_a_login_with_and_without_channel_binding() {
    let postgres = Postgres::shared().await;
    let app = &postgres.app;
    let stream = postgres.secure(&postgres.host_name).await.unwrap();
    let end_point = server_end_point(&stream);
    let mut bound = RawClient::over(stream);
    bound
        .startup(&[("user", app.user), ("database", DATABASE)])
        .await;
    let gs2 = Gs2::ServerEndPoint(end_point);
    bound.finish_login(&app.password, &gs2).await.unwrap();
    let rows = bound
        .rows("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        .await;
    assert_eq!(rows, [[Some("t".to_owned())]]);

    let mut plain = postgres.raw_tls().await;
    let session = plain.login(app.user, &app.password, DATABASE).await;
    assert!(session.parameters.contains_key("server_version"));
    assert_ne!(session.process_id, 0);

    let mut suspicious = postgres.raw_tls().await;
    suspicious
        .startup(&[("user", app.user), ("database", DATABASE)])
        .await;
    let refused = suspicious
        .finish_login(&app.password, &Gs2::Unrequested)
        .await;
    assert_eq!(refused.unwrap_err()[&'C'], "28000");
}

#[tokio::test]
async fn a_server_lets_nobody_in_without_tls_or_under_another_name() {
    let postgres = Postgres::shared().await;
    let mut client = RawClient::connect(([127, 0, 0, 1], postgres.port()).into()).await;
    client.startup(&[("user", postgres.app.user)]).await;
    let error = raw_client::first_error(&client.read_until_closed().await);
    assert_eq!(error[&'C'], "28000");
    let error = postgres.secure("elsewhere.internal").await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn md5_and_cleartext_passwords_are_answered() {
    let postgres = Postgres::builder()
        .hba("local all hashed md5")
        .hba("local all clear password")
        .start()
        .await;
    postgres
        .execute(
            "set password_encryption = 'md5'; \
             create role hashed login password 'x'; create role clear login password 'y'",
        )
        .await;
    for (user, password) in [("hashed", "x"), ("clear", "y")] {
        postgres
            .raw_unix()
            .await
            .login(user, password, DATABASE)
            .await;
        let mut client = postgres.raw_unix().await;
        client
            .startup(&[("user", user), ("database", DATABASE)])
            .await;
        let refused = client.finish_login("wrong", &Gs2::Unsupported).await;
        assert_eq!(refused.unwrap_err()[&'C'], "28P01");
    }
}

#[tokio::test]
async fn every_message_of_a_client_can_be_sent() {
    let postgres = Postgres::shared().await;
    let mut client = postgres.raw_unix().await;
    let database = postgres.create_database().await;
    client
        .login(postgres.app.user, &postgres.app.password, &database)
        .await;

    client
        .send(frontend::extended_query("select $1::text", &[None]))
        .await;
    let answer = client.read_until_ready().await;
    assert_eq!(tags(&answer), "12TDCZ");
    assert_eq!(raw_client::data_row(&answer[3].1), [None]);

    let named = [
        frontend::parse("s", "select generate_series(1, $1::int)"),
        frontend::describe_statement("s"),
        frontend::bind("p", "s", &[Some("3")]),
        frontend::execute("p", 2),
        frontend::flush(),
    ];
    client.send(named.concat()).await;
    for expected in *b"1tT2DDs" {
        assert_eq!(client.read_message().await.0, expected);
    }
    let closing = [
        frontend::execute("p", 0),
        frontend::close_portal("p"),
        frontend::close_statement("s"),
        frontend::sync(),
    ];
    client.send(closing.concat()).await;
    assert_eq!(tags(&client.read_until_ready().await), "DC33Z");

    client.query("create table t (a int)").await;
    client.send(frontend::query("copy t from stdin")).await;
    assert_eq!(client.read_message().await.0, b'G');
    client
        .send([frontend::copy_data(b"1\n"), frontend::copy_done()].concat())
        .await;
    assert_eq!(tags(&client.read_until_ready().await), "CZ");
    assert_eq!(tags(&client.query("copy t to stdout").await), "HdcCZ");
    client.send(frontend::query("copy t from stdin")).await;
    client.send(frontend::copy_fail("changed my mind")).await;
    let error = raw_client::first_error(&client.read_until_ready().await);
    assert_eq!(error[&'C'], "57014");

    // int4pl
    let (two, three) = (2_i32.to_be_bytes(), 3_i32.to_be_bytes());
    client
        .send(frontend::function_call(177, &[&two, &three]))
        .await;
    let answer = client.read_until_ready().await;
    assert_eq!(answer[0].1, [0, 0, 0, 4, 0, 0, 0, 5]);

    client.assert_silent(Duration::from_millis(1)).await;
    client.send(frontend::terminate()).await;
    assert_eq!(client.read_until_closed().await, []);
}

#[tokio::test]
async fn a_cancel_request_ends_a_statement() {
    let postgres = Postgres::shared().await;
    let mut client = postgres.raw_unix().await;
    let session = client
        .login(postgres.app.user, &postgres.app.password, DATABASE)
        .await;
    client.send(frontend::query("select pg_sleep(60)")).await;
    let process_id = i32::try_from(session.process_id).unwrap();
    let superuser = postgres.superuser("postgres").await;
    let busy = "select exists (select from pg_stat_activity where pid = $1 and state = 'active')";
    wait::until(PATIENCE, "the statement runs", async || {
        superuser
            .query_one(busy, &[&process_id])
            .await
            .unwrap()
            .get(0)
    })
    .await;
    let mut canceller = postgres.raw_unix().await;
    canceller.send(session.cancel_request()).await;
    assert_eq!(canceller.read_until_closed().await, []);
    let error = raw_client::first_error(&client.read_until_ready().await);
    assert_eq!(error[&'C'], "57014");
}

#[tokio::test]
async fn databases_are_apart_and_their_sessions_can_be_counted_and_ended() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let client = postgres.local(&database).await;
    client
        .batch_execute("create table only_here ()")
        .await
        .unwrap();
    assert_eq!(postgres.sessions(&database).await, 1);
    postgres.terminate_sessions(&database).await;
    wait::until(PATIENCE, "the session is closed", async || {
        client.is_closed()
    })
    .await;
    let other = postgres.local(&postgres.create_database().await).await;
    assert!(other.batch_execute("table only_here").await.is_err());
}

#[tokio::test]
async fn a_server_can_be_crashed_and_started_again() {
    let mut postgres = Postgres::builder()
        .setting("max_connections", "10")
        .start()
        .await;
    let (port, client) = (postgres.port(), postgres.local(DATABASE).await);
    for how in [Stop::Immediate, Stop::Fast] {
        postgres.stop(how).await;
        postgres.start_again().await;
    }
    wait::until(PATIENCE, "the session is closed", async || {
        client.is_closed()
    })
    .await;
    assert_eq!(postgres.port(), port);
    let client = postgres.local(DATABASE).await;
    let row = client.query_one("show max_connections", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "10");
    let dir = postgres.dir().to_owned();
    postgres.close().await;
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_server_shows_the_certificate_that_a_test_gives_it() {
    let mut params = server_certificate("old.internal").unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let identity = Authority::generate("test CA")
        .unwrap()
        .issue(params)
        .unwrap();
    let builder = Postgres::builder()
        .host_name("old.internal")
        .identity(identity);
    let postgres = builder.start().await;
    let error = postgres.secure("old.internal").await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn a_server_with_wrong_settings_shows_its_log() {
    let builder = Postgres::builder().setting("shared_bufers", "1");
    let error = tokio::spawn(builder.start())
        .await
        .unwrap_err()
        .into_panic();
    let text = error.downcast::<String>().unwrap();
    assert!(
        text.contains("unrecognized configuration parameter"),
        "{text}"
    );
}

/// Set for the process that is to be killed, so that `--include-ignored` ends.
const HOLD: &str = "PGSLUICE_TEST_HOLD";

/// Not a test of its own: what the next one kills.
#[tokio::test]
#[ignore = "holds a server until it is killed"]
async fn hold_a_server() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let postgres = Postgres::builder().start().await;
    let process_id = std::fs::read_to_string(postgres.dir().join("server.pid")).unwrap();
    writeln!(
        std::io::stdout(),
        "\nheld {} {}",
        process_id.trim(),
        postgres.dir().display()
    )
    .unwrap();
    std::future::pending::<()>().await;
}

/// Goal: nothing is left of a process that had no chance to clean up.
/// Method: SIGKILL for a process that holds a server; then look at both.
#[tokio::test]
async fn a_server_is_gone_after_its_process_was_killed() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "self_test::hold_a_server",
        ])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let (process, dir) = loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the holder has ended");
        if let Some(held) = line.strip_prefix("held ") {
            let (process, dir) = held.split_once(' ').unwrap();
            break (Pid::from_raw(process.parse().unwrap()), PathBuf::from(dir));
        }
    };
    assert!(dir.exists());
    assert_eq!(signal::kill(process, None), Ok(()));
    holder.kill().await.unwrap();
    wait::until(LONG, "the server is gone", async || {
        signal::kill(process, None) == Err(Errno::ESRCH)
    })
    .await;
    wait::until(LONG, "its directory is gone", async || !dir.exists()).await;
}

/// A stand-in for the proxy: says that it listens, and ends when told to.
fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("stand-in");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

const LISTENING: &str = r#"
echo '{"message":"listening","address":"127.0.0.1:4711"}' >&2
echo '{"message":"listening","address":"/run/.s.PGSQL.5432"}' >&2
echo "plain $1 $3 $GREETING" >&2
cp proxy.toml copy.toml
"#;

#[tokio::test]
async fn a_proxy_is_started_watched_and_ended() {
    let postgres = Postgres::shared().await;
    let builder = Proxy::new(postgres)
        .toml("listen.unix_socket_dirs = [\"/run\"]\nlimits.max_upstream_conn = 3")
        .env("GREETING", "hello");
    // The trap first: what is waited for below must not come before it.
    let body = format!("trap 'echo bye >&2; exit 7' TERM\n{LISTENING}while :; do sleep 0.01; done");
    let program = script(builder.dir(), &body);
    let mut proxy = builder.program(&program).start().await;
    assert_eq!(proxy.addr(), ([127, 0, 0, 1], 4711).into());
    assert_eq!(proxy.addresses()[1], "/run/.s.PGSQL.5432");
    proxy
        .wait_for_log(|line| line["message"] == "plain run proxy.toml hello")
        .await;
    let copy = proxy.dir().join("copy.toml");
    let config = wait::until_some(PATIENCE, "the configuration is copied", async || {
        std::fs::read_to_string(&copy)
            .ok()?
            .parse::<toml::Table>()
            .ok()
            .filter(|t| !t.is_empty())
    })
    .await;
    assert_eq!(config["limits"]["max_upstream_conn"].as_integer(), Some(3));
    assert_eq!(
        config["listen"]["addresses"][0].as_str(),
        Some("127.0.0.1:0")
    );
    let port = i64::from(postgres.port());
    assert_eq!(
        config["upstreams"]["cluster"]["port"].as_integer(),
        Some(port)
    );
    proxy.terminate();
    assert_eq!(proxy.wait().await.code(), Some(7));
    proxy.wait_for_log(|line| line["message"] == "bye").await;
}

#[tokio::test]
async fn a_proxy_that_ends_early_fails_the_test_with_its_log() {
    let builder = Proxy::new(Postgres::shared().await);
    let program = script(builder.dir(), "echo no such key >&2; exit 2");
    let start = tokio::spawn(builder.program(&program).start());
    let text = start.await.unwrap_err().into_panic();
    let text = text.downcast::<String>().unwrap();
    assert!(
        text.contains("has ended") && text.contains("no such key"),
        "{text}"
    );
}

#[tokio::test]
async fn a_proxy_is_killed_when_dropped() {
    let builder = Proxy::new(Postgres::shared().await);
    let program = script(builder.dir(), &format!("{LISTENING}exec sleep 600"));
    let proxy = builder.program(&program).start().await;
    let process = Pid::from_raw(i32::try_from(proxy.id()).unwrap());
    drop(proxy);
    wait::until(PATIENCE, "the process is gone", async || {
        signal::kill(process, None) == Err(Errno::ESRCH)
    })
    .await;
}
