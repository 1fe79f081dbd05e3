//! The log: what the start says, whose a line is, and that no filter and no format hides
//! why a start fails.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::observed::ADMIN;
use crate::support::frontend as say;
use crate::support::raw_client::{Gs2, first_error, tags};
use crate::support::{Postgres, Proxy, RawClient};

fn is(line: &Value, message: &str) -> bool {
    line["message"] == message
}

#[tokio::test]
async fn a_line_of_json_is_flat() {
    let proxy = Proxy::new(Postgres::shared().await).start().await;
    let line = proxy.wait_for_log(|line| is(line, "listening")).await;
    assert!(
        line["address"].is_string() && line["level"] == "INFO",
        "{line}"
    );
    let nested = |line: &Value| line.as_object().unwrap().values().any(Value::is_object);
    assert!(!proxy.log().iter().any(nested), "{:?}", proxy.log());
}

#[tokio::test]
async fn what_ends_a_start_is_said_whatever_the_filter() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("listen.addresses = [\"{}\"]", other.local_addr().unwrap());
    for format in ["text", "json"] {
        for level in ["off", "pgsluice=off", "tokio=debug"] {
            let log = format!("log.format = \"{format}\"\nlog.level = \"{level}\"");
            let builder = Proxy::new(Postgres::shared().await).toml(&taken);
            let (status, said) = builder.toml(&log).spawn().last_words().await;
            assert_eq!(status.code(), Some(2));
            for part in ["pgsluice cannot start", "already in use", "fix"] {
                assert!(said.contains(part), "{format} {level}: {part} in {said:?}");
            }
        }
    }
}

#[tokio::test]
async fn problems_of_the_configuration_are_json_where_the_log_is() {
    let builder = Proxy::new(Postgres::shared().await);
    let wrong = "limits.max_client_con = 1\nlimits.query_wait_timeout = 5";
    let mut proxy = builder.toml(wrong).spawn();
    let (status, _) = proxy.last_words().await;
    assert_eq!(status.code(), Some(2));
    let lines = proxy.log();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line["level"], "ERROR", "{line}");
        assert!(
            line["timestamp"].is_string() && line["line"].is_u64(),
            "{line}"
        );
        for field in ["key", "origin", "fix", "message"] {
            assert!(
                line[field].as_str().is_some_and(|text| !text.is_empty()),
                "{line}"
            );
        }
    }
    assert_eq!(lines[0]["key"], "limits.max_client_con");
    // Where there is no file to be read, the environment still says how.
    let output = Command::new(env!("CARGO_BIN_EXE_pgsluice"))
        .args(["-c", "/no/such/file"])
        .env_clear()
        .env("PGSLUICE_LOG__FORMAT", "json")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(line["level"], "ERROR", "{line}");
}

#[tokio::test]
async fn the_start_says_where_sessions_go_and_what_holds_for_them() {
    let postgres = Postgres::shared().await;
    let pools = "pooling.pool_mode = \"transaction\"\npooling.default_pool_size = 4";
    let limits = "limits.max_upstream_conn = 7\nlimits.max_client_conn = 9";
    let builder = Proxy::new(postgres).toml(ADMIN).toml(pools).toml(limits);
    let proxy = builder.start().await;
    let to = format!("127.0.0.1:{}", postgres.port());
    let from = proxy.addr().to_string();
    let ca = postgres.ca_file().display().to_string();
    for parts in [
        &[&*from, " → ", &to][..],
        &["verification: verify-full", &postgres.host_name, &ca],
        &["auth: passthrough"],
        &["pool mode: transaction", "4"],
        &["cap: 7 connections", "9 clients"],
        &["metrics: http://127.0.0.1:"],
    ] {
        let says = |line: &Value| {
            let text = line["message"].as_str().unwrap_or_default();
            line["level"] == "INFO" && parts.iter().all(|part| text.contains(part))
        };
        proxy.wait_for_log(says).await;
    }
}

/// Goal: each line about a session names its number, its client, its user and database.
/// Method: one session that begins, is cancelled and ends, and one without room.
#[tokio::test]
async fn every_line_about_a_session_says_whose_it_is() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let pools = "pooling.pool_mode = \"transaction\"\nlimits.max_client_conn = 1";
    let proxy = Proxy::new(postgres).toml(pools).start().await;
    let app = &postgres.app;
    let mut client = proxy.raw().await;
    let session = client.login(app.user, &app.password, &database).await;
    client.query("select pg_advisory_lock(1)").await;
    let mut canceller = proxy.raw().await;
    canceller.send(session.cancel_request()).await;
    canceller.read_until_closed().await;
    // The one place is taken.
    let mut other = proxy.raw().await;
    other
        .startup(&[("user", app.user), ("database", &database)])
        .await;
    let refused = other.finish_login("", &Gs2::Unsupported).await;
    assert_eq!(refused.unwrap_err()[&'C'], "53300");
    client.send(say::terminate()).await;
    let peer = client.stream().local_addr().unwrap().to_string();
    let mut number = None;
    for message in ["session started", "cancel request", "session ended"] {
        let line = proxy.wait_for_log(|line| is(line, message)).await;
        let id = line["session"].as_u64();
        assert_eq!(*number.get_or_insert(id), id, "{line}");
        assert!(id.is_some() && line["client"] == *peer, "{line}");
        assert_eq!(
            (&line["user"], &line["database"]),
            (&app.user.into(), &(&*database).into())
        );
    }
    let ended = proxy.wait_for_log(|line| is(line, "session ended")).await;
    let seconds = ended["seconds"].as_f64().unwrap();
    assert!((seconds * 1000.0).fract().abs() < 1e-6, "{seconds}");
    let failed = proxy.wait_for_log(|line| is(line, "session failed")).await;
    assert_eq!(failed["reason"], "max_client_conn");
    let peer = other.stream().local_addr().unwrap().to_string();
    assert!(
        failed["session"].is_u64() && failed["client"] == *peer,
        "{failed}"
    );
    assert_eq!(
        (&failed["user"], &failed["database"]),
        (&app.user.into(), &(&*database).into())
    );
}

#[tokio::test]
async fn a_client_that_proves_nothing_is_refused_by_name() {
    let postgres = Postgres::shared().await;
    let held = "auth.mode = \"held\"\n[[users]]\nname = \"someone\"\npassword = \"x\"\n\
                upstream_user = \"app\"";
    let proxy = Proxy::new(postgres).toml(held).start().await;
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", "someone"), ("database", "shop")])
        .await;
    let refused = client.finish_login("wrong", &Gs2::Unsupported).await;
    assert_eq!(refused.unwrap_err()[&'C'], "28P01");
    let line = proxy.wait_for_log(|line| is(line, "client refused")).await;
    assert_eq!(
        (&line["user"], &line["database"]),
        (&"someone".into(), &"shop".into())
    );
}

/// Asks for a session and does not wait for it.
async fn newcomer(proxy: &Proxy, database: &str) -> RawClient<TcpStream> {
    let mut client = proxy.raw().await;
    let user = Postgres::shared().await.app.user;
    client
        .startup(&[("user", user), ("database", database)])
        .await;
    client
}

#[tokio::test]
async fn a_client_that_waits_at_the_cap_is_told_of_with_those_who_have_the_places() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres).toml("limits.max_upstream_conn = 1");
    let proxy = proxy.start().await;
    let mut holder = proxy.raw_session(&database).await;
    holder.query("begin").await;
    let mut waiters = [
        newcomer(&proxy, &database).await,
        newcomer(&proxy, &database).await,
    ];
    let line = proxy
        .wait_for_log(|line| is(line, "client waits for a connection"))
        .await;
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["limit"], "limits.max_upstream_conn = 1");
    assert_eq!((&line["in_use"], &line["waiting"]), (&1.into(), &2.into()));
    assert_eq!(line["owners"], format!("{database}/app 1"));
    let holders = line["holders"].as_str().unwrap();
    let peer = holder.stream().local_addr().unwrap().to_string();
    assert!(
        holders.starts_with("1 idle in transaction: session ") && holders.ends_with(&peer),
        "{line}"
    );
    let peers = waiters
        .each_mut()
        .map(|waiter| waiter.stream().local_addr().unwrap().to_string());
    assert!(peers.iter().any(|peer| line["client"] == **peer), "{line}");
    assert!(
        line["session"].is_u64() && line["database"] == *database,
        "{line}"
    );
    // Two have waited for as long, and one line says so.
    let lines = proxy.log();
    let told = lines
        .iter()
        .filter(|line| is(line, "client waits for a connection"));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn a_statement_that_waits_for_a_pool_in_vain_is_told_of() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let pools = "[pooling]\npool_mode = \"transaction\"\ndefault_pool_size = 1";
    let wait = "limits.query_wait_timeout = \"2500ms\"\nlimits.max_upstream_conn = 3";
    let proxy = Proxy::new(postgres).toml(pools).toml(wait).start().await;
    let mut holder = proxy.raw_session(&database).await;
    let mut other = proxy.raw_session(&database).await;
    assert_eq!(tags(&holder.query("begin").await), "CZ");
    let error = first_error(&other.query("select 1").await);
    assert_eq!(error[&'C'], "53300", "{error:?}");
    let waits = proxy
        .wait_for_log(|line| is(line, "client waits for a connection"))
        .await;
    let size = format!("the size of pool {database}/app = 1");
    assert_eq!(
        (&waits["limit"], &waits["in_use"]),
        (&size.into(), &1.into())
    );
    let holders = waits["holders"].as_str().unwrap();
    assert!(
        holders.starts_with("1 idle in transaction: session "),
        "{waits}"
    );
    let refused = proxy
        .wait_for_log(|line| is(line, "statement refused"))
        .await;
    assert_eq!(refused["reason"], "query_wait_timeout");
    let peer = other.stream().local_addr().unwrap().to_string();
    for line in [&waits, &refused] {
        assert_eq!(
            (&line["client"], &line["level"]),
            (&(&*peer).into(), &"WARN".into())
        );
        assert_eq!(
            (&line["user"], &line["database"]),
            (&"app".into(), &(&*database).into())
        );
    }
    // What was waited for is said as people say it.
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains(" in 2.5s (1 in use, 0 others waiting)"),
        "{detail}"
    );
}
