//! Lifecycle: how the proxy starts, drains, ends, and bears an upstream that is
//! not there; what it tells its operators meanwhile.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::Instant;

use crate::observed::{ADMIN, CLIENTS, CONNECTIONS, Metrics, WAITING};
use crate::scripted::{Scripted, proxy_to};
use crate::support::frontend as say;
use crate::support::postgres::Stop;
use crate::support::raw_client::{ErrorFields, Gs2, first_error, tags};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy, RawClient};

/// A proxy to the shared server with more configuration, and a database.
async fn ground(toml: &str) -> (Proxy, String) {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    (Proxy::new(postgres).toml(toml).start().await, database)
}

async fn last_words(client: &mut RawClient<TcpStream>) -> ErrorFields {
    first_error(&client.read_until_closed().await)
}

fn assert_shutdown(error: &ErrorFields) {
    assert_eq!(
        (&*error[&'C'], &*error[&'S']),
        ("57P01", "FATAL"),
        "{error:?}"
    );
    assert!(error[&'M'].starts_with("pgsluice:"), "{error:?}");
}

async fn nobody_listens(address: SocketAddr) {
    wait::until(PATIENCE, "the listener is closed", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
}

/// Waits until the server has begun the statement: TERM must not overtake it. One
/// that is over by then was begun too.
async fn runs(database: &str, sql: &str) {
    let superuser = Postgres::shared().await.superuser(database).await;
    wait::until(PATIENCE, "the statement runs", async || {
        let begun =
            "select 1 from pg_stat_activity where datname = current_database() and query = $1";
        !superuser.query(begun, &[&sql]).await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn term_tells_idle_sessions_and_ends_at_once() {
    let (mut proxy, database) = ground("").await;
    let mut idle = proxy.raw_session(&database).await;
    idle.query("select 1").await;
    let mut fresh = proxy.raw_session(&database).await;
    let mut mute = proxy.raw().await;
    proxy.terminate();
    assert_shutdown(&last_words(&mut idle).await);
    assert_shutdown(&last_words(&mut fresh).await);
    drop(mute.read_until_closed().await);
    // Within a test's patience: drain_timeout is 30 s.
    assert_eq!(proxy.wait().await.code(), Some(0));
    wait::until(PATIENCE, "the server has let go", async || {
        Postgres::shared().await.sessions(&database).await == 0
    })
    .await;
}

#[tokio::test]
async fn term_lets_busy_sessions_finish_their_transaction_first() {
    let (mut proxy, database) = ground("").await;
    let mut statement = proxy.raw_session(&database).await;
    let mut transaction = proxy.raw_session(&database).await;
    let mut batch = proxy.raw_session(&database).await;
    transaction
        .query("create table t (a int); begin; insert into t values (1)")
        .await;
    let open = [
        say::parse("", "select 1"),
        say::bind("", "", &[]),
        say::execute("", 0),
        say::flush(),
    ];
    batch.send(open.concat()).await;
    batch.read_message().await;
    statement.send(say::query("select pg_sleep(0.5)")).await;
    runs(&database, "select pg_sleep(0.5)").await;
    proxy.terminate();
    nobody_listens(proxy.addr()).await;
    assert_eq!(tags(&statement.read_until_closed().await), "TDCZE");
    assert_eq!(
        tags(&transaction.query("insert into t values (2)").await),
        "CZ"
    );
    batch.send(say::sync()).await;
    let rest = batch.read_until_closed().await;
    assert_eq!(tags(&rest), "2DCZE");
    assert_shutdown(&first_error(&rest));
    assert_eq!(tags(&transaction.query("commit").await), "CZ");
    assert_shutdown(&last_words(&mut transaction).await);
    assert_eq!(proxy.wait().await.code(), Some(0));
    let survivor = Postgres::shared().await.local(&database).await;
    assert_eq!(survivor.query("table t", &[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn sessions_that_outstay_drain_timeout_are_named_told_and_cut_off() {
    let (mut proxy, database) = ground("limits.drain_timeout = \"300ms\"").await;
    let mut straggler = proxy.raw_session(&database).await;
    straggler.query("begin").await;
    let mut running = proxy.raw_session(&database).await;
    running.send(say::query("select pg_sleep(60)")).await;
    runs(&database, "select pg_sleep(60)").await;
    proxy.terminate();
    assert_shutdown(&last_words(&mut straggler).await);
    assert_shutdown(&last_words(&mut running).await);
    assert_eq!(proxy.wait().await.code(), Some(0));
    let named = proxy
        .wait_for_logs(2, |line| line["message"] == "session cut off")
        .await;
    for line in named {
        assert_eq!(line["reason"], "drain_timeout");
        assert_eq!(line["database"], *database);
        assert_eq!(line["user"], "app");
    }
    wait::until(PATIENCE, "the statement is cancelled", async || {
        Postgres::shared().await.sessions(&database).await == 0
    })
    .await;
}

#[tokio::test]
async fn a_second_term_and_a_quit_end_at_once() {
    for (first, second) in [
        (Signal::SIGTERM, Some(Signal::SIGTERM)),
        (Signal::SIGINT, Some(Signal::SIGTERM)),
        (Signal::SIGQUIT, None),
    ] {
        let (mut proxy, database) = ground("").await;
        let mut busy = proxy.raw_session(&database).await;
        busy.query("begin").await;
        proxy.signal(first);
        if let Some(second) = second {
            proxy
                .wait_for_log(|line| line["drain_timeout"].is_string())
                .await;
            proxy.signal(second);
        }
        assert_shutdown(&last_words(&mut busy).await);
        assert_eq!(proxy.wait().await.code(), Some(0));
    }
}

#[tokio::test]
async fn waiting_clients_are_told_of_a_drain() {
    let (mut proxy, database) = ground(&format!("{ADMIN}\nlimits.max_upstream_conn = 1")).await;
    let metrics = Metrics::of(&proxy);
    let mut holder = proxy.raw_session(&database).await;
    holder.query("begin").await;
    let mut waiter = proxy.raw().await;
    waiter
        .startup(&[("user", "app"), ("database", &database)])
        .await;
    wait::until(PATIENCE, "it waits", async || {
        metrics.get(WAITING).await == 1.0
    })
    .await;
    proxy.terminate();
    assert_shutdown(&last_words(&mut waiter).await);
    assert_eq!(tags(&holder.query("commit").await), "CZ");
    assert_shutdown(&last_words(&mut holder).await);
    assert_eq!(proxy.wait().await.code(), Some(0));
}

/// What a client is told that asks for a session now, and how long that took.
async fn turned_away(proxy: &Proxy) -> (ErrorFields, Duration) {
    let began = Instant::now();
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", "app"), ("database", "demo")])
        .await;
    let error = client
        .finish_login("", &Gs2::Unsupported)
        .await
        .unwrap_err();
    (error, began.elapsed())
}

#[tokio::test]
async fn an_upstream_that_is_down_is_57p03_for_each_client_until_it_is_back() {
    let mut postgres = Postgres::builder().start().await;
    let proxy = Proxy::new(&postgres).start().await;
    proxy.raw_session("demo").await.query("select 1").await;
    postgres.stop(Stop::Fast).await;
    for _ in 0..3 {
        let (error, _) = turned_away(&proxy).await;
        assert_eq!(
            (&*error[&'C'], &*error[&'S']),
            ("57P03", "FATAL"),
            "{error:?}"
        );
        assert!(
            error[&'M'].contains("\"cluster\"") && error.contains_key(&'H'),
            "{error:?}"
        );
    }
    postgres.start_again().await;
    proxy.raw_session("demo").await.query("select 1").await;
}

/// Method: a listener that accepts and says nothing, and one whose queue is full,
/// so that not even TCP is answered.
#[tokio::test]
async fn an_upstream_that_does_not_answer_is_57p03_within_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let hole = socket.local_addr().unwrap().as_socket().unwrap();
    let _fill = std::net::TcpStream::connect(hole).unwrap();
    for (address, what) in [
        (silent.local_addr().unwrap(), "silent"),
        (hole, "black hole"),
    ] {
        let builder = proxy_to(address).await;
        // TLS is asked for, so that there is an answer to wait for.
        let tls = "[upstreams.scripted]\nsslmode = \"require\"\nconnect_timeout = \"400ms\"";
        let proxy = builder.toml(tls).start().await;
        for _ in 0..2 {
            let (error, waited) = turned_away(&proxy).await;
            assert_eq!(error[&'C'], "57P03", "{what}: {error:?}");
            assert!(error[&'H'].contains("connect_timeout"), "{what}: {error:?}");
            assert!(waited >= Duration::from_millis(400), "{what}: {waited:?}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_dies_in_the_login_is_57p03() {
    let upstream = Scripted::bind().await;
    let proxy = upstream.proxy().await.start().await;
    let listener = upstream.into_listener();
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(stream.read_u32().await);
    };
    let ((error, _), ()) = tokio::join!(turned_away(&proxy), answering);
    assert_eq!(error[&'C'], "57P03", "{error:?}");
}

#[tokio::test]
async fn the_log_tells_each_session_from_its_start_to_its_end() {
    let (proxy, database) = ground("").await;
    let mut client = proxy.raw_session(&database).await;
    client.send(say::terminate()).await;
    let from_here = |line: &Value| line["database"] == *database;
    let started = proxy
        .wait_for_log(|line| line["message"] == "session started" && from_here(line))
        .await;
    for (field, value) in [("user", "app"), ("upstream", "cluster"), ("tls", "TLSv1.3")] {
        assert_eq!(started[field], value);
    }
    let peer = client.stream().local_addr().unwrap().to_string();
    assert_eq!(started["client"], *peer);
    let ended = proxy
        .wait_for_log(|line| line["message"] == "session ended" && from_here(line))
        .await;
    assert_eq!(
        (&ended["reason"], &ended["user"]),
        (&"client_left".into(), &"app".into())
    );
    assert_eq!(ended["client"], *peer);
    assert_eq!(
        (&ended["upstream"], &ended["tls"]),
        (&"cluster".into(), &"TLSv1.3".into())
    );
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", "app"), ("database", &database)])
        .await;
    let error = client
        .finish_login("wrong", &Gs2::Unsupported)
        .await
        .unwrap_err();
    let failed = proxy
        .wait_for_log(|line| line["message"] == "session failed" && from_here(line))
        .await;
    assert_eq!(failed["reason"], "upstream_refused");
    assert!(failed["detail"].as_str().unwrap().contains(&error[&'M']));
}

#[tokio::test]
async fn the_log_can_be_text_and_says_the_same() {
    let postgres = Postgres::shared().await;
    let builder = Proxy::new(postgres).toml("[log]\nformat = \"text\"\nlevel = \"info\"");
    let proxy = builder.spawn();
    let says = |line: &Value, part| line["message"].as_str().unwrap().contains(part);
    let listening = proxy.wait_for_log(|line| says(line, "listening")).await;
    let listening = listening["message"].as_str().unwrap();
    let address = listening.split('"').nth(1).unwrap();
    let mut client = RawClient::connect(address.parse().unwrap()).await;
    let app = &postgres.app;
    client.login(app.user, &app.password, "demo").await;
    drop(client);
    proxy.wait_for_log(|line| says(line, "session ended")).await;
    let lines = proxy.log();
    let lines = lines.iter().filter_map(|line| line["message"].as_str());
    let text = lines.collect::<Vec<_>>().join("\n");
    for part in [
        "session started",
        "tls=\"TLSv1.3\"",
        "upstream=\"cluster\"",
        "user=\"app\"",
        "reason=\"client_left\"",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours in a log");
}

#[tokio::test]
async fn metrics_move_with_what_happens() {
    let (proxy, database) = ground(ADMIN).await;
    let metrics = Metrics::of(&proxy);
    let mut client = proxy.raw_session(&database).await;
    client.query("select repeat('x', 1000)").await;
    // Counted once a turn, which may be after the client has its answer.
    wait::until(PATIENCE, "the answer is counted", async || {
        metrics.read().await["pgsluice_bytes_total{direction=\"to_client\"}"] > 1000.0
    })
    .await;
    let now = metrics.read().await;
    assert_eq!(
        (now[CLIENTS], now[CONNECTIONS], now[WAITING]),
        (1.0, 1.0, 0.0)
    );
    assert!(now["pgsluice_bytes_total{direction=\"to_upstream\"}"] > 20.0);
    assert_eq!(
        now["pgsluice_upstream_tls_verification{upstream=\"cluster\"}"],
        3.0
    );
    assert_eq!(
        now["pgsluice_upstream_connect_seconds_count{upstream=\"cluster\"}"],
        1.0
    );
    assert_eq!(
        now["pgsluice_client_wait_seconds_count{upstream=\"cluster\"}"],
        1.0
    );
    client.send(say::terminate()).await;
    wait::until(PATIENCE, "the gauges are back", async || {
        let now = metrics.read().await;
        now[CLIENTS] == 0.0 && now[CONNECTIONS] == 0.0
    })
    .await;
    let now = metrics.read().await;
    assert_eq!(
        now["pgsluice_session_ends_total{reason=\"client_left\"}"],
        1.0
    );
    assert_eq!(now["pgsluice_client_connections_total"], 1.0);
}

/// Runs the binary to its end without any configuration around it.
async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pgsluice"))
        .args(arguments)
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn version_help_and_completions_go_to_stdout_with_exit_code_0() {
    let (code, out, err) = run(&["--version"]).await;
    let version = concat!("pgsluice ", env!("CARGO_PKG_VERSION"));
    assert!(
        code == Some(0) && out.starts_with(version) && err.is_empty(),
        "{out}{err}"
    );
    let (code, brief, err) = run(&["-h"]).await;
    assert!(
        code == Some(0) && brief.contains("Examples:") && err.is_empty(),
        "{brief}{err}"
    );
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["config", "--help"],
        &["config", "check", "--help"],
    ] {
        let (code, out, err) = run(arguments).await;
        assert!(code == Some(0) && err.is_empty(), "{arguments:?}: {err}");
        for part in ["DATABASE_URL", "PGSLUICE_", "Exit codes:", "docs/", "-c"] {
            assert!(out.contains(part), "{arguments:?}: {part} in\n{out}");
        }
        assert!(out.lines().count() > brief.lines().count(), "{out}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, err) = run(&["completions", shell]).await;
        assert!(
            code == Some(0) && out.contains("demo") && err.is_empty(),
            "{shell}: {out}{err}"
        );
    }
}

/// Goal: where an option stands does not matter, and none is lost.
#[tokio::test]
async fn options_may_stand_before_the_command_and_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.toml");
    let text = "[upstreams.old]\nhost = \"127.0.0.1\"\nport = 1\nsslmode = \"disable\"\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        &["-c", file, "config", "show"][..],
        &["config", "-c", file, "show"],
        &["config", "show", "-c", file],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.insert(0, "--set");
        arguments.insert(1, "limits.max_client_conn=7");
        arguments.extend(["--set", "limits.max_upstream_conn=3"]);
        let (code, out, err) = run(&arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        for part in [
            "[upstreams.old]",
            "max_client_conn = 7",
            "max_upstream_conn = 3",
        ] {
            assert!(out.contains(part), "{arguments:?}: {part} in\n{out}");
        }
    }
    // A start that fails at once, and for the reason in this file.
    std::fs::write(file, "[limits]\nmax_client_con = 1\n").unwrap();
    for arguments in [
        &["-c", file, "run"][..],
        &["-c", file],
        &["run", "-c", file],
    ] {
        let (code, _, err) = run(arguments).await;
        assert!(
            code == Some(2) && err.contains("max_client_con:"),
            "{arguments:?}: {err}"
        );
    }
    let (code, _, err) = run(&["-c", file, "demo", "--once"]).await;
    assert!(
        code == Some(2) && err.contains("reads no configuration"),
        "{err}"
    );
}

#[tokio::test]
async fn wrong_usage_and_wrong_configuration_are_exit_code_2() {
    for arguments in [
        &["no-such-command"][..],
        &["--no-such-flag"],
        &["run", "-c", "missing.toml"],
        &["run"],
        &["run", "--set", "limits.max_client_con=1"],
    ] {
        let (code, out, err) = run(arguments).await;
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
        assert!(out.is_empty() && !err.is_empty(), "{arguments:?}: {out}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_start_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let builder = Proxy::new(Postgres::shared().await);
    let mut proxy = builder
        .toml(&format!("listen.addresses = [\"{address}\"]"))
        .spawn();
    assert_eq!(proxy.wait().await.code(), Some(2));
    proxy
        .wait_for_log(|line| line.to_string().contains(&address.to_string()))
        .await;
}

#[tokio::test]
async fn the_environment_alone_configures_a_proxy() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let builder = Proxy::new(postgres).without_upstreams();
    let proxy = builder
        .env("DB_HOST", "127.0.0.1")
        .env("DB_PORT", &postgres.port().to_string())
        .env("DB_SSL_MODE", "require")
        .env("DB_SSL_CERT", &postgres.ca_file().display().to_string())
        .env("DB_NAME", &database)
        .env(
            "PGSLUICE_UPSTREAMS__CLUSTER__SERVER_NAME",
            &postgres.host_name,
        )
        .env("PGSLUICE_LISTEN__ADDRESSES", "127.0.0.1:0")
        .env("PGSLUICE_LOG__FORMAT", "json")
        .start()
        .await;
    let mut client = proxy.raw_session(&database).await;
    let rows = client.rows("select current_database()").await;
    assert_eq!(rows, [[Some(database)]]);
    // A CA was given, so it is used; and the log says so.
    proxy
        .wait_for_log(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("verify-full"))
        })
        .await;
}

#[tokio::test]
async fn a_demo_that_runs_once_leaves_nothing_and_exits_0() {
    let dir = tempfile::tempdir().unwrap();
    let status = demo(dir.path(), &["--once"]).status().await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(clusters(dir.path()), Vec::<std::path::PathBuf>::new());
}

fn demo(tmp: &std::path::Path, arguments: &[&str]) -> Command {
    use std::os::unix::fs::PermissionsExt;
    // Postgres may run as another user, who must get in.
    std::fs::set_permissions(tmp, PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgsluice"));
    command
        .arg("demo")
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", tmp)
        .current_dir(tmp)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

fn clusters(tmp: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(tmp)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.to_string_lossy().contains("pgsluice-demo-"))
        .collect()
}

#[tokio::test]
async fn a_demo_whose_terminal_goes_or_that_is_killed_leaves_nothing() {
    for signal in [Signal::SIGKILL, Signal::SIGHUP, Signal::SIGQUIT] {
        a_demo_leaves_nothing_after(signal).await;
    }
}

async fn a_demo_leaves_nothing_after(signal: Signal) {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    let mut process = demo(dir.path(), &["--env-file", "ready"]).spawn().unwrap();
    wait::until(Duration::from_secs(30), "the demo is up", async || {
        ready.exists()
    })
    .await;
    let server = clusters(dir.path()).remove(0);
    let server_pid = std::fs::read_to_string(server.join("server.pid")).unwrap();
    let server_pid = Pid::from_raw(server_pid.trim().parse().unwrap());
    let id = i32::try_from(process.id().unwrap()).unwrap();
    signal::kill(Pid::from_raw(id), signal).unwrap();
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
    assert!(ended.is_ok(), "{signal} does not end it");
    wait::until(PATIENCE, "the server is gone", async || {
        signal::kill(server_pid, None) == Err(Errno::ESRCH)
    })
    .await;
    wait::until(PATIENCE, "its directory is gone", async || !server.exists()).await;
}

/// A proxy whose upstream is not there: each client gets a refusal, and each
/// refusal is a line of the log.
async fn talkative(stderr: Stdio) -> (tokio::process::Child, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, dir) = (free.local_addr().unwrap(), tempfile::tempdir().unwrap());
    drop(free);
    let mut process = Command::new(env!("CARGO_BIN_EXE_pgsluice"))
        .current_dir(dir.path())
        .env_clear()
        .args(["--set", &format!("listen.addresses={address}")])
        .args(["--set", "upstreams.cluster.host=127.0.0.1"])
        .args(["--set", "upstreams.cluster.port=1"])
        .args(["--set", "upstreams.cluster.sslmode=disable"])
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    wait::until(PATIENCE, "it listens", async || {
        assert!(process.try_wait().unwrap().is_none(), "it has ended");
        TcpStream::connect(address).await.is_ok()
    })
    .await;
    (process, address)
}

/// Clients are refused in words, and SIGTERM ends it as ever.
async fn carries_on(mut process: tokio::process::Child, address: SocketAddr) {
    for _ in 0..600 {
        let mut client = RawClient::connect(address).await;
        client.startup(&[("user", "app")]).await;
        assert_eq!(last_words(&mut client).await[&'C'], "57P03");
    }
    let id = i32::try_from(process.id().unwrap()).unwrap();
    signal::kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(PATIENCE, process.wait()).await;
    assert!(status.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let (mut process, address) = talkative(Stdio::piped()).await;
    drop(process.stderr.take());
    carries_on(process, address).await;
}

#[tokio::test]
async fn a_log_whose_reader_has_stopped_stops_nothing() {
    let (process, address) = talkative(Stdio::piped()).await;
    carries_on(process, address).await;
}

#[tokio::test]
async fn a_log_on_a_full_disk_stops_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let (process, address) = talkative(full.unwrap().into()).await;
    carries_on(process, address).await;
}
