//! TLS to the server, end to end: each way to fail by the word that the client
//! gets and by the plaintext that the server did not get.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::observed::{ADMIN, Metrics};
use super::support::certs::{self, Authority, Days, Leaf};
use super::support::postgres::{DATABASE, Identity};
use super::support::proxy::ProxyBuilder;
use super::support::raw_client::{ErrorFields, first_error};
use super::support::tls_servers::{
    SSL_REQUEST, Script, ScriptedServer, serve, server_config, server_config_demanding,
    server_config_of,
};
use super::support::wait::{self, PATIENCE};
use super::support::{Postgres, Proxy};

/// What the proxy verifies, unless a test says otherwise.
const NAME: &str = "db.internal";

/// A CA that is trusted, and one that is not.
struct Scene {
    postgres: &'static Postgres,
    ca: Authority,
    stranger: Authority,
}

impl Scene {
    async fn new() -> Self {
        Self {
            postgres: Postgres::shared().await,
            ca: Authority::root("CA of the cluster"),
            stranger: Authority::root("CA of a stranger"),
        }
    }

    /// A proxy in front of whatever listens on `port`.
    fn proxy(&self, port: u16, extra: &str) -> ProxyBuilder {
        let builder = Proxy::new(self.postgres);
        let ca = self.ca.write(builder.dir(), "ca");
        to_port(builder, port, &format!("sslrootcert = {ca:?}\n{extra}"))
    }

    /// Starts `script` and a proxy in front of it, and has a client refused.
    async fn refusal(&self, script: Script, extra: &str) -> (ErrorFields, ScriptedServer) {
        let server = serve(script).await;
        let proxy = self.proxy(server.address.port(), extra).start().await;
        (refusal(&proxy).await, server)
    }

    /// The same for a TLS server with a certificate that is somehow wrong.
    async fn refusal_of(&self, identity: &certs::Identity) -> ErrorFields {
        let script = Script::Tls(Arc::new(server_config(identity)));
        let (refused, server) = self.refusal(script, "").await;
        assert_only_asked_for_tls(&server);
        refused
    }
}

/// Makes an upstream of its own the target: the usual one is not merged into.
fn to_port(builder: ProxyBuilder, port: u16, extra: &str) -> ProxyBuilder {
    let server_name = if extra.contains("server_name") {
        String::new()
    } else {
        format!("server_name = \"{NAME}\"")
    };
    builder.toml(&format!(
        "upstream = \"target\"\n\
         [upstreams.target]\n\
         host = \"127.0.0.1\"\n\
         port = {port}\n\
         connect_timeout = \"5s\"\n\
         {server_name}\n\
         {extra}"
    ))
}

/// What a client is told that cannot be connected; the promises that hold for
/// every reason are checked here.
async fn refusal(proxy: &Proxy) -> ErrorFields {
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", "secret_user"), ("database", "secret_database")])
        .await;
    let messages = client.read_until_closed().await;
    // Until then the proxy waits, for its word to arrive.
    drop(client);
    let refused = first_error(&messages);
    assert_eq!(refused[&'S'], "FATAL", "{refused:?}");
    assert_eq!(refused[&'C'], "57P03", "{refused:?}");
    let begin = "pgsluice: cannot connect to upstream \"target\": ";
    assert!(refused[&'M'].starts_with(begin), "{refused:?}");
    assert!(refused.get(&'H').is_some_and(|hint| hint.len() > 10));
    proxy
        .wait_for_log(|line| line["message"] == "session failed" && line["level"] == "WARN")
        .await;
    refused
}

/// Nothing but SSLRequest was said outside of TLS, however often.
fn assert_only_asked_for_tls(server: &ScriptedServer) {
    let received = server.plaintext_received();
    assert!(!received.is_empty());
    for chunk in received.chunks(SSL_REQUEST.len()) {
        assert_eq!(chunk, SSL_REQUEST, "{}", received.escape_ascii());
    }
}

fn assert_says(refused: &ErrorFields, words: &[&str]) {
    for word in words {
        assert!(refused[&'M'].contains(word), "no {word:?} in {refused:?}");
    }
}

#[tokio::test]
async fn the_ca_that_a_server_showed_is_named_and_the_one_that_is_trusted() {
    let scene = Scene::new().await;
    let refused = scene
        .refusal_of(&scene.stranger.issue(&Leaf::named(&[NAME])))
        .await;
    let words = ["not trusted", "CA of a stranger", "CA of the cluster"];
    assert_says(&refused, &words);
    assert!(refused[&'H'].contains("sslrootcert"), "{refused:?}");
}

#[tokio::test]
async fn the_names_that_a_certificate_bears_are_named() {
    let scene = Scene::new().await;
    let other = Leaf::named(&["one.internal", "two.internal", "10.0.0.1"]);
    let refused = scene.refusal_of(&scene.ca.issue(&other)).await;
    let words = [NAME, "one.internal, two.internal, 10.0.0.1"];
    assert_says(&refused, &words);
    assert!(refused[&'H'].contains("server_name"), "{refused:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_dated() {
    let scene = Scene::new().await;
    let expired = Leaf::named(&[NAME]).expired();
    let refused = scene.refusal_of(&scene.ca.issue(&expired)).await;
    assert_says(&refused, &["expired on 20", "3 days ago"]);
    assert!(refused[&'H'].contains("renew"), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_from_the_future_is_dated() {
    let scene = Scene::new().await;
    let early = Leaf::named(&[NAME]).not_yet_valid();
    let refused = scene.refusal_of(&scene.ca.issue(&early)).await;
    assert_says(&refused, &["is not valid before 20"]);
    assert!(refused[&'H'].contains("clock"), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_is_called_that() {
    let scene = Scene::new().await;
    let refused = scene.refusal_of(&Leaf::named(&[NAME]).self_signed()).await;
    assert_says(&refused, &["signed by itself"]);
}

/// Goal: the same words for a real server as for the scripted ones.
/// Method: one server that is given one bad certificate after the other.
#[tokio::test]
async fn each_fault_of_a_real_servers_certificate_is_told_apart() {
    let scene = Scene::new().await;
    let good = scene.ca.issue(&Leaf::named(&[NAME]));
    let server = Postgres::builder().identity(files(&scene.ca, &good));
    let server = server.start().await;
    let proxy = scene.proxy(server.port(), "").start().await;
    let named = Leaf::named(&[NAME]);
    for (identity, words) in [
        (scene.stranger.issue(&named), "CA of a stranger"),
        (
            scene.ca.issue(&Leaf::named(&["other.internal"])),
            "but for other.internal",
        ),
        (scene.ca.issue(&named.clone().expired()), "expired on"),
        (
            scene.ca.issue(&named.clone().not_yet_valid()),
            "is not valid before",
        ),
        (named.self_signed(), "signed by itself"),
    ] {
        server
            .write_file("server.crt", &identity.chain_pem())
            .unwrap();
        server
            .write_file("server.key", &identity.key_pem())
            .unwrap();
        server.execute("select pg_reload_conf()").await;
        wait::until(PATIENCE, words, async || {
            let mut client = proxy.raw().await;
            client
                .startup(&[("user", "app"), ("database", DATABASE)])
                .await;
            let (tag, body) = client.read_message().await;
            tag == b'E' && String::from_utf8_lossy(&body).contains(words)
        })
        .await;
        assert_says(&refusal(&proxy).await, &[words]);
    }
}

/// For a real server.
fn files(ca: &Authority, identity: &certs::Identity) -> Identity {
    Identity {
        ca: ca.pem(),
        certificate: identity.chain_pem(),
        key: identity.key_pem(),
    }
}

#[tokio::test]
async fn a_server_with_tls_1_1_at_most_is_too_old() {
    let scene = Scene::new().await;
    let identity = scene.ca.issue(&Leaf::named(&[NAME]));
    let dir = tempfile::tempdir().unwrap();
    identity.write(dir.path(), "server");
    let options = "-tls1_1 -cipher ALL:@SECLEVEL=0 -cert server.crt -key server.key";
    let (port, _process) = s_server(dir.path(), options).await;
    let script = Script::Forward(([127, 0, 0, 1], port).into());
    let (refused, server) = scene.refusal(script, "").await;
    assert_says(&refused, &["no TLS version as new as TLSv1.2"]);
    assert_only_asked_for_tls(&server);
}

/// `openssl s_server` on a free port; killed when dropped.
async fn s_server(dir: &Path, options: &str) -> (u16, Child) {
    let mut process = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0"])
        .args(options.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("it listens");
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            let address: std::net::SocketAddr = address.parse().unwrap();
            // The pipe stays open: s_server would die of writing to a closed one.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (address.port(), process);
        }
    }
}

#[tokio::test]
async fn a_lowest_version_of_1_3_refuses_a_real_server_that_has_only_1_2() {
    let scene = Scene::new().await;
    let good = scene.ca.issue(&Leaf::named(&[NAME]));
    let server = Postgres::builder()
        .identity(files(&scene.ca, &good))
        .setting("ssl_max_protocol_version", "TLSv1.2");
    let server = server.start().await;
    let extra = "ssl_min_protocol_version = \"TLSv1.3\"";
    let proxy = scene.proxy(server.port(), extra).start().await;
    let refused = refusal(&proxy).await;
    assert_says(&refused, &["no TLS version as new as TLSv1.3"]);
    assert!(refused[&'H'].contains("ssl_min_protocol_version"));
    let proxy = scene.proxy(server.port(), "").start().await;
    let app = &server.app;
    let mut client = proxy.raw().await;
    client.login(app.user, &app.password, DATABASE).await;
    let sql = "select version from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(client.rows(sql).await, [[Some("TLSv1.2".to_owned())]]);
}

#[tokio::test]
async fn a_server_without_tls_is_sent_nothing_else() {
    let scene = Scene::new().await;
    let (refused, server) = scene.refusal(Script::answer_n(), "").await;
    assert_says(&refused, &["does not speak TLS"]);
    assert!(
        refused[&'H'].contains("nothing in plaintext"),
        "{refused:?}"
    );
    assert_only_asked_for_tls(&server);
}

#[tokio::test]
async fn a_real_server_without_tls_is_refused() {
    let scene = Scene::new().await;
    let server = Postgres::builder()
        .setting("ssl", "off")
        .setting("log_connections", "on")
        .hba("host all all 127.0.0.1/32 trust")
        .start()
        .await;
    let proxy = scene.proxy(server.port(), "").start().await;
    let refused = refusal(&proxy).await;
    assert_says(&refused, &["does not speak TLS"]);
    assert!(!server.log().contains("secret_user"));
}

/// The text of an error before the handshake is anybody's (CVE-2024-10977).
#[tokio::test]
async fn an_error_in_place_of_the_answer_is_reported_and_not_repeated() {
    let scene = Scene::new().await;
    let script = Script::answer_e("send your password to mallory");
    let (refused, server) = scene.refusal(script, "").await;
    assert_says(&refused, &["answered the request for TLS with an error"]);
    assert!(!format!("{refused:?}").contains("mallory"));
    assert_only_asked_for_tls(&server);
}

#[tokio::test]
async fn plaintext_stuffed_behind_the_answer_ends_the_connection() {
    let scene = Scene::new().await;
    let forged = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    let (refused, server) = scene.refusal(Script::stuffed(forged), "").await;
    assert_says(&refused, &["slipped in"]);
    assert_only_asked_for_tls(&server);
}

#[tokio::test]
async fn a_server_that_resets_or_closes_is_told_apart() {
    let scene = Scene::new().await;
    for (script, words) in [
        (Script::Reset, "was reset before answering"),
        (Script::Close, "closed the connection before answering"),
        (
            Script::CloseAfterS,
            "closed the connection during the TLS handshake",
        ),
        (
            Script::ResetInHandshake,
            "was reset during the TLS handshake",
        ),
    ] {
        let (refused, server) = scene.refusal(script, "").await;
        assert_says(&refused, &[words]);
        assert_only_asked_for_tls(&server);
    }
}

#[tokio::test]
async fn a_web_server_is_no_postgres() {
    let scene = Scene::new().await;
    let (refused, server) = scene.refusal(Script::Http, "").await;
    assert_says(&refused, &["no Postgres server"]);
    assert!(refused[&'H'].contains("host and port"), "{refused:?}");
    assert_only_asked_for_tls(&server);
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_named() {
    let scene = Scene::new().await;
    // Bound, so that nobody else gets it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let proxy = scene.proxy(address.port(), "").start().await;
    let refused = refusal(&proxy).await;
    assert_says(&refused, &[&address.to_string(), "refused"]);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let scene = Scene::new().await;
    // The kernel accepts; nobody reads.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let builder = scene
        .proxy(port, "")
        .toml("upstreams.target.connect_timeout = \"400ms\"");
    let proxy = builder.start().await;
    let refused = refusal(&proxy).await;
    assert_says(&refused, &["no connection within 400ms"]);
    assert!(refused[&'H'].contains("connect_timeout"), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_stops_in_the_handshake_is_given_up_in_time() {
    let scene = Scene::new().await;
    let timeout = "upstreams.target.connect_timeout = \"400ms\"";
    let server = serve(Script::Answer(b"S".to_vec())).await;
    let builder = scene.proxy(server.address.port(), "").toml(timeout);
    let refused = refusal(&builder.start().await).await;
    assert_says(&refused, &["no connection within 400ms"]);
    // What follows is TLS: a handshake record.
    let received = server.plaintext_received();
    assert_eq!(received[..8], SSL_REQUEST);
    assert_eq!(received[8], 0x16);
    assert!(!received.windows(11).any(|bytes| bytes == b"secret_user"));
}

#[tokio::test]
async fn a_host_that_cannot_be_resolved_is_named() {
    let scene = Scene::new().await;
    let builder = scene
        .proxy(1, "")
        .toml("upstreams.target.host = \"nowhere.invalid\"");
    let refused = refusal(&builder.start().await).await;
    assert_says(&refused, &["\"nowhere.invalid\" cannot be resolved"]);
    assert!(refused[&'H'].contains("`host`"), "{refused:?}");
}

/// Starts a proxy with less than full verification to the shared server, under a
/// name that is not the server's; logs in; checks the warning and the gauge.
async fn lowered(upstream: &str, warning: &str, level: u8) {
    let postgres = Postgres::shared().await;
    let upstream = format!("{upstream}\nserver_name = \"another.internal\"");
    let builder = to_port(Proxy::new(postgres), postgres.port(), &upstream);
    let proxy = builder.toml(ADMIN).start().await;
    proxy
        .wait_for_log(|line| {
            let text = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && text.contains("target") && text.contains(warning)
        })
        .await;
    let mut client = proxy.raw_session(DATABASE).await;
    assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    let metrics = Metrics::of(&proxy);
    for (upstream, level) in [("target", level), ("cluster", 3)] {
        let gauge = format!("pgsluice_upstream_tls_verification{{upstream=\"{upstream}\"}}");
        assert_eq!(metrics.get(&gauge).await, f64::from(level), "{upstream}");
    }
}

#[tokio::test]
async fn verify_ca_accepts_another_name_and_says_so() {
    let ca = Postgres::shared().await.ca_file();
    let upstream = format!("sslmode = \"verify-ca\"\nsslrootcert = {ca:?}");
    lowered(&upstream, "verify-ca does not verify the host name", 2).await;
}

#[tokio::test]
async fn require_without_a_ca_accepts_an_unknown_one_and_says_so() {
    lowered("sslmode = \"require\"", "require verifies nothing", 1).await;
}

#[tokio::test]
async fn require_with_a_ca_is_verify_ca_as_in_libpq() {
    let ca = Postgres::shared().await.ca_file();
    let upstream = format!("sslmode = \"require\"\nsslrootcert = {ca:?}");
    lowered(&upstream, "but not the host name", 2).await;
}

#[tokio::test]
async fn verify_ca_refuses_an_unknown_ca() {
    let scene = Scene::new().await;
    let identity = scene.stranger.issue(&Leaf::named(&[NAME]));
    let script = Script::Tls(Arc::new(server_config(&identity)));
    let (refused, _server) = scene.refusal(script, "sslmode = \"verify-ca\"").await;
    assert_says(&refused, &["not trusted", "CA of a stranger"]);
}

/// A server that lets `app` in by certificate and password, from `dir`'s files.
async fn demanding(scene: &Scene) -> Postgres {
    let good = scene.ca.issue(&Leaf::named(&[NAME]));
    let server = Postgres::builder()
        .identity(files(&scene.ca, &good))
        .setting("ssl_ca_file", "../ca.crt")
        .hba("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full");
    server.start().await
}

#[tokio::test]
async fn a_real_server_that_demands_a_client_certificate_is_shown_one() {
    let scene = Scene::new().await;
    let server = demanding(&scene).await;
    let app = &server.app;
    let bearer = scene.ca.issue(&Leaf::common_name_only(app.user));
    let builder = scene.proxy(
        server.port(),
        "sslcert = \"client.crt\"\nsslkey = \"client.key\"",
    );
    bearer.write(builder.dir(), "client");
    let proxy = builder.start().await;
    let mut client = proxy.raw().await;
    client.login(app.user, &app.password, DATABASE).await;
    let sql = "select client_dn from pg_stat_ssl where pid = pg_backend_pid()";
    let dn = format!("/CN={}", app.user);
    assert_eq!(client.rows(sql).await, [[Some(dn)]]);

    let proxy = scene.proxy(server.port(), "").start().await;
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", app.user), ("database", DATABASE)])
        .await;
    let refused = first_error(&client.read_until_closed().await);
    assert_eq!(refused[&'C'], "28000", "{refused:?}");
    assert!(refused[&'M'].contains("valid client certificate"));
    let hint = refused.get(&'H').map_or("", String::as_str);
    assert!(hint.contains("sslcert"), "no cure in {refused:?}");
}

/// Some servers judge in the handshake; in TLS 1.3 after the client's part of it.
#[tokio::test]
async fn a_server_that_demands_a_client_certificate_in_the_handshake_names_the_cure() {
    let scene = Scene::new().await;
    let identity = scene.ca.issue(&Leaf::named(&[NAME]));
    for version in [&TLS12, &TLS13] {
        let config = server_config_demanding(&identity, version, &scene.stranger);
        let server = serve(Script::Tls(Arc::new(config))).await;
        let proxy = scene.proxy(server.address.port(), "").start().await;
        let mut client = proxy.raw().await;
        client.startup(&[("user", "app")]).await;
        let refused = first_error(&client.read_until_closed().await);
        assert_eq!(refused[&'C'], "57P03", "{refused:?}");
        let said = format!("{refused:?}");
        assert!(said.contains("client certificate"), "{said}");
        assert!(said.contains("sslcert"), "{said}");
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_another_of_the_same_ca_is_not() {
    let scene = Scene::new().await;
    let identity = scene.ca.issue(&Leaf::named(&[NAME]));
    let server = Postgres::builder().identity(files(&scene.ca, &identity));
    let server = server.start().await;
    let app = &server.app;
    for (revoked, words) in [(vec![&identity], Some("revoked")), (vec![], None)] {
        let builder = scene.proxy(server.port(), "sslcrl = \"list.pem\"");
        let list = scene.ca.crl(&revoked, Days(-1, 30));
        std::fs::write(builder.dir().join("list.pem"), list).unwrap();
        let proxy = builder.start().await;
        match words {
            Some(words) => assert_says(&refusal(&proxy).await, &[words]),
            None => {
                let mut client = proxy.raw().await;
                client.login(app.user, &app.password, DATABASE).await;
            }
        }
    }
}

/// The server speaks TLS and then no Postgres: what counts is how far it got.
#[tokio::test]
async fn direct_tls_begins_without_a_request() {
    let scene = Scene::new().await;
    let identity = scene.ca.issue(&Leaf::named(&[NAME]));
    let config = server_config_of(&identity, &TLS13);
    let server = serve(Script::DirectTls(Arc::new(config))).await;
    let proxy = scene
        .proxy(server.address.port(), "sslnegotiation = \"direct\"")
        .toml("limits.client_login_timeout = \"500ms\"")
        .start()
        .await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "app")]).await;
    let refused = first_error(&client.read_until_closed().await);
    assert_says(&refused, &["the upstream did not answer the login in time"]);
    assert_eq!(refused[&'C'], "57P03");
    // The server has not closed, and may never: that is when the log is looked at.
    proxy
        .wait_for_log(|line| line["message"] == "session failed" && line["reason"] == "timeout")
        .await;
    assert_eq!(server.plaintext_received(), b"");
}

#[tokio::test]
async fn a_file_that_tls_needs_and_cannot_use_ends_the_start_by_name() {
    let scene = Scene::new().await;
    let missing = "sslrootcert = \"missing.crt\"";
    let garbage = "sslrootcert = \"garbage.crt\"";
    let damaged = "sslrootcert = \"damaged.crt\"";
    let no_list = "sslrootcert = \"good.crt\"\nsslcrl = \"garbage.crt\"";
    let no_key = "sslrootcert = \"good.crt\"\nsslcert = \"good.crt\"\nsslkey = \"missing.crt\"";
    for (extra, file) in [
        (missing, "missing.crt"),
        (garbage, "garbage.crt"),
        (damaged, "damaged.crt"),
        (no_list, "garbage.crt"),
        (no_key, "missing.crt"),
    ] {
        let builder = to_port(Proxy::new(scene.postgres), 5432, extra);
        let file_in = |name: &str| builder.dir().join(name);
        std::fs::write(file_in("garbage.crt"), "no certificate at all").unwrap();
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(file_in("damaged.crt"), damaged).unwrap();
        scene.ca.write(builder.dir(), "good");
        let (status, said) = builder.spawn().last_words().await;
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(file), "{said}");
    }
}
