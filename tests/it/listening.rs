//! Where clients are accepted: addresses of both families, unix sockets, and
//! the answers to the two requests for encryption that this listener declines.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use super::support::libpq::{assert_carried, psql};
use super::support::postgres::DATABASE;
use super::support::proxy::ProxyBuilder;
use super::support::raw_client::first_error;
use super::support::{Postgres, Proxy, RawClient, frontend};

/// Usage or configuration.
const EXIT_USAGE: i32 = 2;

/// The socket's name where no TCP address fixes a port.
const SOCKET: &str = ".s.PGSQL.5432";
const LOCK: &str = ".s.PGSQL.5432.lock";

/// Starts what is not to start; returns what it said.
async fn refusal_to_start(builder: ProxyBuilder) -> String {
    let mut proxy = builder.spawn();
    let (status, said) = proxy.last_words().await;
    assert_eq!(status.code(), Some(EXIT_USAGE), "{said}");
    said
}

/// A proxy with a unix socket in `sockets` beside its configuration.
fn with_socket_dir(postgres: &Postgres) -> ProxyBuilder {
    let builder = Proxy::new(postgres).toml("listen.unix_socket_dirs = [\"sockets\"]");
    std::fs::create_dir(builder.dir().join("sockets")).unwrap();
    builder
}

#[tokio::test]
async fn an_ipv4_and_an_ipv6_address_are_served_side_by_side() {
    let postgres = Postgres::shared().await;
    let builder = Proxy::new(postgres).toml("listen.addresses = [\"127.0.0.1:0\", \"[::1]:0\"]");
    let proxy = builder.start().await;
    let [v4, v6] = proxy.addresses() else {
        panic!("{:?}", proxy.addresses())
    };
    assert!(v4.starts_with("127.0.0.1:") && v6.starts_with("[::1]:"));
    for address in [v4, v6] {
        let mut client = RawClient::connect(address.parse().unwrap()).await;
        let app = &postgres.app;
        client.login(app.user, &app.password, DATABASE).await;
        assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    }
}

#[tokio::test]
async fn localhost_is_the_loopback_of_both_families() {
    let builder = Proxy::new(Postgres::shared().await);
    let builder = builder.toml("listen.addresses = [\"localhost:0\"]");
    let proxy = builder.start().await;
    let lines = proxy
        .wait_for_logs(2, |line| line["message"] == "listening")
        .await;
    let addresses: Vec<_> = lines
        .iter()
        .map(|line| line["address"].as_str().unwrap())
        .collect();
    assert!(addresses[0].starts_with("127.0.0.1:"), "{addresses:?}");
    assert!(addresses[1].starts_with("[::1]:"), "{addresses:?}");
    for address in addresses {
        let mut client = RawClient::connect(address.parse().unwrap()).await;
        client.send(frontend::ssl_request()).await;
        assert_eq!(client.read_byte().await, b'N');
    }
}

#[tokio::test]
async fn an_address_that_is_not_loopback_refuses_to_start_unprotected() {
    let builder = Proxy::new(Postgres::shared().await).toml("listen.addresses = [\"*:0\"]");
    let said = refusal_to_start(builder).await;
    assert!(said.contains("is not loopback"), "{said}");
    assert!(said.contains("allow_insecure_listen"), "{said}");
    assert!(said.contains("tls_mode"), "{said}");
}

#[tokio::test]
async fn an_open_address_that_is_insisted_on_is_served_and_warned_of() {
    let builder = Proxy::new(Postgres::shared().await);
    let proxy = builder
        .toml("listen.addresses = [\"*:0\"]\nlisten.allow_insecure_listen = true")
        .start()
        .await;
    let lines = proxy
        .wait_for_logs(2, |line| line["message"] == "listening")
        .await;
    let v4: std::net::SocketAddr = lines[0]["address"].as_str().unwrap().parse().unwrap();
    assert!(v4.ip().is_unspecified() && v4.is_ipv4());
    assert!(lines[1]["address"].as_str().unwrap().starts_with("[::]:"));
    proxy
        .wait_for_log(|line| {
            let text = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && text.contains("allow_insecure_listen")
        })
        .await;
    let mut client = RawClient::connect(([127, 0, 0, 1], v4.port()).into()).await;
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'N');
}

#[tokio::test]
async fn a_taken_port_is_named_and_ends_the_start() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let builder = Proxy::new(Postgres::shared().await);
    let builder = builder.toml(&format!("listen.addresses = [\"{address}\"]"));
    let said = refusal_to_start(builder).await;
    assert!(
        said.contains(&format!(
            "cannot listen on {address}: Address already in use"
        )),
        "{said}"
    );
    // And so is who has it: this process.
    let owner = format!("process {} (", std::process::id());
    for part in [&*owner, "listens there", "listen.addresses"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[tokio::test]
async fn a_port_that_the_old_server_has_is_to_be_given_up_by_it() {
    let postgres = Postgres::shared().await;
    let address = format!("127.0.0.1:{}", postgres.port());
    let builder = Proxy::new(postgres).toml(&format!("listen.addresses = [\"{address}\"]"));
    // It is not the upstream, or the configuration itself would say no.
    let elsewhere = "[upstreams.cluster]\nhost = \"192.0.2.1\"\nport = 1";
    let said = refusal_to_start(builder.toml(elsewhere)).await;
    for part in [
        "(postgres) of user",
        "SET port = 5433",
        "pg_ctl -D",
        "systemctl stop",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[tokio::test]
async fn a_port_that_another_proxy_has_names_that_one() {
    let first = Proxy::new(Postgres::shared().await).start().await;
    let address = format!("listen.addresses = [\"{}\"]", first.addr());
    let builder = Proxy::new(Postgres::shared().await).toml(&address);
    let said = refusal_to_start(builder).await;
    for part in [
        format!("process {} (pgsluice)", first.id()),
        format!("kill {}", first.id()),
    ] {
        assert!(said.contains(&part), "{part} in {said}");
    }
}

#[tokio::test]
async fn a_unix_socket_has_the_name_the_lock_and_the_mode_that_clients_expect() {
    let postgres = Postgres::shared().await;
    let builder = with_socket_dir(postgres).toml("listen.unix_socket_mode = \"0750\"");
    let proxy = builder.start().await;
    let dir = proxy.dir().join("sockets");
    assert!(proxy.addresses()[1].ends_with(&format!("sockets/{SOCKET}")));
    let mode = std::fs::metadata(dir.join(SOCKET)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o750);
    let lock = std::fs::read_to_string(dir.join(LOCK)).unwrap();
    assert_eq!(lock.lines().next(), Some(&*proxy.id().to_string()));
    assert_carried(&psql(postgres, &format!("host={}", dir.display())).await);
}

#[tokio::test]
async fn a_unix_socket_and_its_lock_are_gone_after_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut proxy = with_socket_dir(Postgres::shared().await).start().await;
        let dir = proxy.dir().join("sockets");
        assert!(dir.join(SOCKET).exists() && dir.join(LOCK).exists());
        proxy.signal(signal);
        assert_eq!(proxy.wait().await.code(), Some(0));
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn the_socket_of_a_killed_server_is_taken_over() {
    let postgres = Postgres::shared().await;
    let builder = with_socket_dir(postgres);
    let dir = builder.dir().join("sockets");
    drop(UnixListener::bind(dir.join(SOCKET)).unwrap());
    // Above any process number of Linux.
    std::fs::write(dir.join(LOCK), "4194305\n/old/data\n").unwrap();
    let proxy = builder.start().await;
    let lock = std::fs::read_to_string(dir.join(LOCK)).unwrap();
    assert_eq!(lock.lines().next(), Some(&*proxy.id().to_string()));
    assert_carried(&psql(postgres, &format!("host={}", dir.display())).await);
}

#[tokio::test]
async fn a_proxy_that_was_killed_can_be_started_again() {
    let postgres = Postgres::shared().await;
    let mut first = with_socket_dir(postgres).start().await;
    let dir = first.dir().join("sockets");
    first.kill().await;
    assert!(dir.join(SOCKET).exists() && dir.join(LOCK).exists());
    let again = Proxy::new(postgres).toml(&unix_dir(&dir)).start().await;
    assert_carried(&psql(postgres, &format!("host={}", dir.display())).await);
    drop(again);
}

fn unix_dir(dir: &Path) -> String {
    format!(
        "listen.unix_socket_dirs = [{:?}]",
        dir.display().to_string()
    )
}

#[tokio::test]
async fn a_socket_that_another_proxy_serves_is_left_to_it() {
    let postgres = Postgres::shared().await;
    let first = with_socket_dir(postgres).start().await;
    let dir = first.dir().join("sockets");
    let said = refusal_to_start(Proxy::new(postgres).toml(&unix_dir(&dir))).await;
    assert!(said.contains("is in use by another server"), "{said}");
    assert!(said.contains(dir.join(SOCKET).to_str().unwrap()), "{said}");
    assert!(said.contains(&format!("kill {}", first.id())), "{said}");
    assert!(dir.join(LOCK).exists());
    assert_carried(&psql(postgres, &format!("host={}", dir.display())).await);
}

#[tokio::test]
async fn a_socket_that_postgres_serves_is_left_to_it() {
    let postgres = Postgres::shared().await;
    let port = postgres.port();
    let before = std::fs::metadata(postgres.socket_file()).unwrap();
    let builder = Proxy::new(postgres).toml(&unix_dir(postgres.dir()));
    let builder = builder.toml(&format!("listen.unix_socket_port = {port}"));
    let said = refusal_to_start(builder).await;
    assert!(said.contains("is in use by another server"), "{said}");
    assert!(said.contains("(postgres) of user"), "{said}");
    let after = std::fs::metadata(postgres.socket_file()).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_carried(
        &psql(
            postgres,
            &format!("host={} port={port}", postgres.dir().display()),
        )
        .await,
    );
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_socket_behind() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = other.local_addr().unwrap();
    let first = tempfile::tempdir().unwrap();
    let second = tempfile::tempdir().unwrap();
    let served = UnixListener::bind(second.path().join(SOCKET)).unwrap();
    let dirs = format!(
        "listen.unix_socket_dirs = [{:?}, {:?}]",
        first.path(),
        second.path()
    );
    let said = refusal_to_start(Proxy::new(Postgres::shared().await).toml(&dirs)).await;
    assert!(said.contains("is in use by another server"), "{said}");
    assert_eq!(std::fs::read_dir(first.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(second.path()).unwrap().count(), 1);
    drop(served);
    let builder = Proxy::new(Postgres::shared().await).toml(&unix_dir(first.path()));
    let builder = builder.toml(&format!("listen.addresses = [\"{taken}\"]"));
    refusal_to_start(builder).await;
    assert_eq!(std::fs::read_dir(first.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_socket_directory_that_cannot_hold_one_is_refused_by_name() {
    let builder = Proxy::new(Postgres::shared().await).toml(&unix_dir(Path::new("/no/such")));
    let said = refusal_to_start(builder).await;
    assert!(said.contains("/no/such is not a directory"), "{said}");
    let deep = format!("/tmp/{}", "x".repeat(110));
    let builder = Proxy::new(Postgres::shared().await).toml(&unix_dir(Path::new(&deep)));
    let said = refusal_to_start(builder).await;
    assert!(said.contains("longer than a socket's path"), "{said}");
}

#[tokio::test]
async fn a_request_for_tls_is_declined_and_the_session_goes_on_in_plaintext() {
    let postgres = Postgres::shared().await;
    let proxy = with_socket_dir(postgres).start().await;
    let app = &postgres.app;
    let mut client = proxy.raw().await;
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'N');
    client.login(app.user, &app.password, DATABASE).await;

    let socket = proxy.dir().join("sockets").join(SOCKET);
    let mut client = RawClient::connect_unix(&socket).await;
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'N');
    client.login(app.user, &app.password, DATABASE).await;
}

#[tokio::test]
async fn requests_for_gssapi_and_then_tls_are_both_declined_on_one_connection() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let mut client = proxy.raw().await;
    client.send(frontend::gssenc_request()).await;
    assert_eq!(client.read_byte().await, b'N');
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'N');
    let app = &postgres.app;
    client.login(app.user, &app.password, DATABASE).await;
    assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
}

/// Goal: the proxy is no more patient than Postgres.
/// Method: the same bytes to the server's own socket, which declines TLS as well.
#[tokio::test]
async fn a_second_request_for_encryption_is_refused_in_the_words_of_postgres() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    for request in [frontend::ssl_request(), frontend::gssenc_request()] {
        let mut server = postgres.raw_unix().await;
        server.send(&request).await;
        assert_eq!(server.read_byte().await, b'N');
        server.send(&request).await;
        let expected = first_error(&server.read_until_closed().await);

        let mut client = proxy.raw().await;
        client.send(&request).await;
        assert_eq!(client.read_byte().await, b'N');
        client.send(&request).await;
        let refused = first_error(&client.read_until_closed().await);
        assert_eq!(refused[&'C'], expected[&'C']);
        assert_eq!(refused[&'S'], "FATAL");
        let protocol = |text: &str| text.split(':').next().unwrap().to_owned();
        let words = refused[&'M'].strip_prefix("pgsluice: ").unwrap();
        assert_eq!(protocol(words), protocol(&expected[&'M']));
    }
}

#[tokio::test]
async fn psql_gets_in_with_every_sslmode_that_allows_plaintext() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let address = proxy.addr();
    for sslmode in ["disable", "allow", "prefer"] {
        let connection = format!(
            "host={} port={} sslmode={sslmode}",
            address.ip(),
            address.port()
        );
        assert_carried(&psql(postgres, &connection).await);
    }
}

#[tokio::test]
async fn psql_that_demands_tls_is_told_that_there_is_none() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let connection = format!(
        "host=127.0.0.1 port={} sslmode=require",
        proxy.addr().port()
    );
    let output = psql(postgres, &connection).await;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("server does not support SSL, but SSL was required"),
        "{said}"
    );
}
