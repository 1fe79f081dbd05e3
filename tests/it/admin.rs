//! The HTTP face: what it answers, to whom, and what it costs the proxy when it is
//! asked too much.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::observed::{ADMIN, Metrics};
use crate::scripted::proxy_to;
use crate::support::frontend::message;
use crate::support::raw_client::{Gs2, first_error};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Postgres, Proxy, RawClient};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// A proxy whose database is away.
async fn alone() -> (Proxy, SocketAddr) {
    let proxy = proxy_to(NOWHERE.parse().unwrap()).await.toml(ADMIN);
    let proxy = proxy.start().await;
    let http = Metrics::of(&proxy).address();
    (proxy, http)
}

/// Everything that is answered to `request`.
async fn ask(http: SocketAddr, request: &str) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(http).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    timeout(PATIENCE, asking).await.unwrap()
}

async fn status(http: SocketAddr, request: &str) -> u16 {
    let answer = ask(http, request).await;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("{answer:?}"))
}

async fn get(http: SocketAddr, path: &str) -> u16 {
    status(
        http,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let (_proxy, http) = alone().await;
    for path in [
        "/",
        "/health",
        "/healthz",
        "/metrics/",
        "/metric",
        "/%00",
        "//metrics",
    ] {
        assert_eq!(get(http, path).await, 404, "{path}");
    }
    assert_eq!(get(http, "/metrics").await, 200);
    assert_eq!(get(http, "/metrics?x=y").await, 200);
    let told = ask(http, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(told.contains("/liveness"), "{told}");
}

#[tokio::test]
async fn it_can_only_be_read() {
    let (_proxy, http) = alone().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        for path in ["/metrics", "/liveness", "/readiness", "/startup"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = ask(http, &request).await;
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
            assert!(answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
        }
        let request = format!("{method} /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(status(http, &request).await, 404);
    }
    let head = ask(http, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_read_it_under_a_name_of_its_own() {
    let (proxy, http) = alone().await;
    let to = |host: &str| format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in [
        "evil.example",
        "evil.example:9127",
        "localhost.evil.example",
    ] {
        let answer = ask(http, &to(host)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("admin.http_hosts"), "{answer}");
        assert!(!answer.contains("pgsluice_"), "{answer}");
    }
    let two = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n";
    assert_eq!(status(http, two).await, 400);
    assert_eq!(status(http, "GET /metrics HTTP/1.1\r\n\r\n").await, 400);
    assert_eq!(status(http, "GET /metrics HTTP/1.0\r\n\r\n").await, 200);
    assert_eq!(status(http, &to(&http.to_string())).await, 200);
    drop(proxy);
    let known = proxy_to(NOWHERE.parse().unwrap()).await.toml(ADMIN);
    let known = known.toml("admin.http_hosts = [\"Metrics.Internal\"]");
    let known = known.start().await;
    let http = Metrics::of(&known).address();
    assert_eq!(status(http, &to("metrics.internal:80")).await, 200);
    assert_eq!(status(http, &to("evil.example")).await, 403);
}

#[tokio::test]
async fn a_request_is_bounded() {
    let (proxy, http) = alone().await;
    let long = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let mut stream = TcpStream::connect(http).await.unwrap();
    // It may be cut off before all of it is sent.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "));
    let many = "X: y\r\n".repeat(200);
    let many = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(status(http, &many).await, 431);
    // Its body is not waited for.
    let body = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    assert_eq!(status(http, body).await, 200);
    assert_eq!(status(http, "nonsense\r\n\r\n").await, 400);
    drop(proxy);
}

#[tokio::test]
async fn probes_do_not_depend_on_the_database() {
    let (_proxy, http) = alone().await;
    for path in ["/startup", "/liveness", "/readiness"] {
        assert_eq!(get(http, path).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_proxy_that_drains_is_alive_and_not_ready() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let mut proxy = Proxy::new(postgres).toml(ADMIN).start().await;
    let http = Metrics::of(&proxy).address();
    let mut client = proxy.raw_session(&database).await;
    client.query("begin").await;
    assert_eq!(get(http, "/readiness").await, 200);
    proxy.terminate();
    wait::until(PATIENCE, "it is not ready", async || {
        get(http, "/readiness").await == 503
    })
    .await;
    assert_eq!(get(http, "/liveness").await, 200);
    assert_eq!(get(http, "/startup").await, 200);
    client.query("commit").await;
    assert!(proxy.wait().await.success());
}

fn descriptors(proxy: &Proxy) -> usize {
    let directory = format!("/proc/{}/fd", proxy.id());
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn silent_connections_take_few_places_and_keep_nobody_out() {
    let (proxy, http) = alone().await;
    let before = descriptors(&proxy);
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(TcpStream::connect(http).await.unwrap());
    }
    // Behind all of them in the kernel's queue.
    assert_eq!(get(http, "/liveness").await, 200);
    let held = descriptors(&proxy) - before;
    assert!(held <= 70, "{held} descriptors");
    // And half a request is no request.
    for stream in &mut silent {
        let _ = stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: loc")
            .await;
    }
    let all_closed = async {
        for mut stream in silent {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    let closed = timeout(PATIENCE, all_closed).await;
    assert!(closed.is_ok(), "silent connections are kept");
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(proxy: &Proxy) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn out_of_descriptors_it_neither_spins_nor_floods_the_log() {
    let builder = proxy_to(NOWHERE.parse().unwrap()).await.toml(ADMIN);
    let script = builder.dir().join("limited");
    let program = env!("CARGO_BIN_EXE_pgsluice");
    let text = format!("#!/bin/sh\nulimit -n 40\nexec {program:?} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    let started = Instant::now();
    let proxy = builder.program(&script).start().await;
    let http = Metrics::of(&proxy).address();
    let mut guests = Vec::new();
    for address in [http, proxy.addr()] {
        for _ in 0..60 {
            guests.push(TcpStream::connect(address).await.unwrap());
        }
    }
    let failed = |line: &serde_json::Value| line["message"] == "accept failed";
    let line = proxy.wait_for_log(failed).await;
    assert!(line["fix"].as_str().unwrap().contains("ulimit"), "{line}");
    let (lines, ticks) = (proxy.log().len(), cpu_ticks(&proxy));
    let began = Instant::now();
    sleep(Duration::from_secs(2)).await;
    let (lines, ticks) = (proxy.log().len() - lines, cpu_ticks(&proxy) - ticks);
    let passed = began.elapsed();
    assert!(
        u128::from(ticks) * 10 < passed.as_millis() / 4,
        "{ticks} ticks in {passed:?}"
    );
    let said = proxy.log().iter().filter(|line| failed(line)).count();
    let may = 2 * (1 + started.elapsed().as_secs() / 10);
    assert!(said as u64 <= may, "said {said} times");
    assert!(lines < 300, "{lines} lines");
    drop(guests);
    wait::until(PATIENCE, "it answers again", async || {
        let answer = ask(http, "GET /liveness HTTP/1.1\r\nHost: localhost\r\n\r\n");
        answer.await.starts_with("HTTP/1.1 200 ")
    })
    .await;
}

/// A server that knows none of the databases that it is asked for; of those called
/// `slow…` it takes its time to say so.
async fn knows_nothing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let length = stream.read_u32().await.unwrap();
                let mut startup = vec![0; length as usize - 4];
                stream.read_exact(&mut startup).await.unwrap();
                if String::from_utf8_lossy(&startup).contains("slow") {
                    let _ = stream.read_u8().await;
                    return;
                }
                let refusal = b"SFATAL\0VFATAL\0C3D000\0Mdatabase does not exist\0\0";
                stream.write_all(&message(b'E', refusal)).await.unwrap();
            });
        }
    });
    address
}

fn pools_in(samples: &std::collections::BTreeMap<String, f64>) -> BTreeSet<String> {
    let labels = samples.keys().filter_map(|name| {
        let (_, rest) = name.split_once("pool=\"")?;
        Some(rest.split('"').next().unwrap().to_owned())
    });
    labels.collect()
}

#[tokio::test]
async fn names_that_clients_invent_make_no_series() {
    let proxy = proxy_to(knows_nothing().await).await.toml(ADMIN).toml(
        "auth.mode = 'held'\npooling.pool_mode = 'transaction'\nlimits = { max_upstream_conn = 200, max_client_conn = 200 }\n\
         [[users]]\nname = 'me'\nauth = 'trust'",
    );
    let proxy = proxy.start().await;
    let metrics = Metrics::of(&proxy);
    let before = metrics.read().await.len();
    let address = proxy.addr();
    let login = async move |database: String| {
        let mut client = RawClient::connect(address).await;
        client
            .startup(&[("user", "me"), ("database", &database)])
            .await;
        client
    };
    for round in 0..20 {
        let logins = (0..50).map(|number| {
            tokio::spawn(async move {
                let mut client = login(format!("invented{round}_{number}")).await;
                assert_eq!(
                    first_error(&client.read_until_closed().await)[&'C'],
                    "3D000"
                );
            })
        });
        for login in logins.collect::<Vec<_>>() {
            login.await.unwrap();
        }
    }
    // Some are still on their way in when the pools are looked over.
    let mut slow = Vec::new();
    for number in 0..20 {
        slow.push(login(format!("slow{number}")).await);
    }
    wait::until(PATIENCE, "those on their way are counted", async || {
        !pools_in(&metrics.read().await).is_empty()
    })
    .await;
    let samples = metrics.read().await;
    assert_eq!(pools_in(&samples), BTreeSet::from(["other".to_owned()]));
    // What was never counted before: refusals, waits.
    let more = samples.len() - before;
    assert!(more < 60, "{more} more series");
    drop(slow);
}

#[tokio::test]
async fn a_long_name_is_cut_in_labels_and_in_the_log() {
    let postgres = Postgres::shared().await;
    let long = "x".repeat(4000);
    let held = "auth.mode = 'held'\n[[users]]\nname = 'me'\nauth = 'trust'\nupstream_user = 'me'";
    for mode in ["", held] {
        let proxy = Proxy::new(postgres).toml(ADMIN);
        let proxy = proxy.toml("pooling.pool_mode = 'transaction'").toml(mode);
        let proxy = proxy.start().await;
        let metrics = Metrics::of(&proxy);
        let (user, password) = (postgres.app.user, &postgres.app.password);
        for (user, database) in [("me", &*long), (user, &long), (&long, "postgres")] {
            let mut client = proxy.raw().await;
            client
                .startup(&[("user", user), ("database", database)])
                .await;
            let refused = client.finish_login(password, &Gs2::Unsupported).await;
            assert!(refused.is_err(), "{refused:?}");
        }
        let over = |line: &serde_json::Value| {
            let text = line["message"].as_str().unwrap_or_default();
            ["session ended", "session failed", "client refused"].contains(&text)
        };
        proxy.wait_for_logs(3, over).await;
        let too_long = &long[..64];
        for line in proxy.log() {
            assert!(!line.to_string().contains(too_long), "{line}");
        }
        for name in metrics.read().await.keys() {
            assert!(!name.contains(too_long), "{name}");
        }
    }
}
