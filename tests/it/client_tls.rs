//! TLS on the local leg: who may, who must, and what must never be taken for
//! something said inside it.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::certs::{self, Authority, Leaf};
use super::support::libpq::{assert_carried, psql};
use super::support::postgres::DATABASE;
use super::support::proxy::ProxyBuilder;
use super::support::raw_client::{Gs2, first_error, tags};
use super::support::wait::{self, PATIENCE};
use super::support::{Postgres, Proxy, RawClient, frontend};

const NAME: &str = "proxy.internal";
const ALPN: &[u8] = b"postgresql";

/// The CA of the proxy's certificate and the CA of its clients.
struct Scene {
    postgres: &'static Postgres,
    ca: Authority,
    client_ca: Authority,
}

impl Scene {
    async fn new() -> Self {
        Self {
            postgres: Postgres::shared().await,
            ca: Authority::root("CA of the proxy"),
            client_ca: Authority::root("CA of the clients"),
        }
    }

    /// A proxy with a certificate of its own; `mode` is listen.tls_mode.
    fn proxy(&self, mode: &str) -> ProxyBuilder {
        let builder = Proxy::new(self.postgres);
        self.ca.write(builder.dir(), "ca");
        self.client_ca.write(builder.dir(), "client-ca");
        self.ca
            .issue(&Leaf::named(&[NAME, "127.0.0.1"]))
            .write(builder.dir(), "proxy");
        builder.toml(&format!(
            "listen.tls_mode = \"{mode}\"\n\
             listen.tls_cert_file = \"proxy.crt\"\n\
             listen.tls_key_file = \"proxy.key\""
        ))
    }

    /// One user, whom the proxy itself checks by `auth`.
    fn held(&self, mode: &str, auth: &str) -> ProxyBuilder {
        let app = &self.postgres.app;
        let ca = match auth.contains("cert") {
            true => "listen.tls_ca_file = \"client-ca.crt\"\n",
            false => "",
        };
        self.proxy(mode).toml(&format!(
            "{ca}\
             auth.mode = \"held\"\n\
             [[users]]\n\
             name = \"app\"\n\
             {auth}\n\
             upstream_user = \"{}\"\n\
             upstream_password = \"{}\"",
            app.user, app.password
        ))
    }

    fn config(&self) -> ClientConfig {
        self.config_with(None)
    }

    fn config_with(&self, identity: Option<&certs::Identity>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key_der()));
                builder
                    .with_client_auth_cert(identity.chain_der(), key)
                    .unwrap()
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config
    }

    /// A client that asks for TLS and gets it.
    async fn secure(&self, proxy: &Proxy) -> RawClient<TlsStream<TcpStream>> {
        secure(proxy, self.config()).await.unwrap()
    }

    async fn log_in<S>(&self, client: &mut RawClient<S>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let app = &self.postgres.app;
        client.login(app.user, &app.password, DATABASE).await;
        assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    }
}

/// SSLRequest, `S`, handshake.
async fn secure(
    proxy: &Proxy,
    config: ClientConfig,
) -> std::io::Result<RawClient<TlsStream<TcpStream>>> {
    let mut client = proxy.raw().await;
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'S');
    shake(client.into_inner(), config).await
}

/// The handshake without asking for it.
async fn direct(
    proxy: &Proxy,
    config: ClientConfig,
) -> std::io::Result<RawClient<TlsStream<TcpStream>>> {
    shake(proxy.raw().await.into_inner(), config).await
}

async fn shake(
    socket: TcpStream,
    config: ClientConfig,
) -> std::io::Result<RawClient<TlsStream<TcpStream>>> {
    let name = ServerName::try_from(NAME).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, socket).await.map(RawClient::over)
}

fn with_alpn(mut config: ClientConfig, protocols: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

/// libpq's words for a connection whose server must prove to be ours.
fn verified(proxy: &Proxy) -> String {
    format!(
        "host={NAME} hostaddr=127.0.0.1 port={} sslmode=verify-full sslrootcert={}",
        proxy.addr().port(),
        proxy.dir().join("ca.crt").display()
    )
}

#[tokio::test]
async fn where_tls_is_allowed_both_kinds_of_clients_are_served() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("allow").start().await;
    scene.log_in(&mut proxy.raw().await).await;
    scene.log_in(&mut scene.secure(&proxy).await).await;
    let plaintext = format!(
        "host=127.0.0.1 port={} sslmode=disable",
        proxy.addr().port()
    );
    assert_carried(&psql(scene.postgres, &plaintext).await);
    let secured = format!("{} channel_binding=disable", verified(&proxy));
    assert_carried(&psql(scene.postgres, &secured).await);
}

#[tokio::test]
async fn where_tls_is_required_a_client_without_it_is_told_what_to_do() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("require").start().await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "app")]).await;
    let refused = first_error(&client.read_until_closed().await);
    assert_eq!(refused[&'C'], "28000");
    assert_eq!(refused[&'S'], "FATAL");
    assert!(refused[&'M'].starts_with("pgsluice: "), "{refused:?}");
    assert!(refused[&'H'].contains("sslmode=require"), "{refused:?}");
    scene.log_in(&mut scene.secure(&proxy).await).await;
}

#[tokio::test]
async fn where_tls_is_required_a_unix_socket_needs_none() {
    let scene = Scene::new().await;
    let builder = scene
        .proxy("require")
        .toml("listen.unix_socket_dirs = [\".\"]");
    let proxy = builder.start().await;
    let socket = proxy.dir().join(".s.PGSQL.5432");
    let mut client = RawClient::connect_unix(&socket).await;
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'N');
    scene.log_in(&mut client).await;
}

#[tokio::test]
async fn a_handshake_without_a_request_is_taken_with_the_right_protocol() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("require").start().await;
    let mut client = direct(&proxy, scene.config()).await.unwrap();
    let session = client.stream().get_ref().1;
    assert_eq!(session.alpn_protocol(), Some(ALPN));
    scene.log_in(&mut client).await;
}

#[tokio::test]
async fn a_handshake_without_a_request_and_without_a_protocol_is_dropped_without_a_word() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("allow").start().await;
    let config = with_alpn(scene.config(), &[]);
    // TLS 1.3 lets a client finish before the server has judged it.
    if let Ok(mut client) = direct(&proxy, config).await {
        client
            .send(frontend::startup(
                frontend::PROTOCOL_3_0,
                &[("user", "app")],
            ))
            .await;
        assert_eq!(tags(&client.read_until_closed().await), "");
    }
    dropped_because(&proxy, "without offering the protocol `postgresql`").await;
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused_in_the_handshake() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("allow").start().await;
    let http = || with_alpn(scene.config(), &[b"http/1.1", b"h2"]);
    for outcome in [direct(&proxy, http()).await, secure(&proxy, http()).await] {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    }
    dropped_because(&proxy, "other protocols than `postgresql`").await;
}

#[tokio::test]
async fn a_client_that_asked_for_tls_need_not_name_a_protocol() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("require").start().await;
    let config = with_alpn(scene.config(), &[]);
    scene
        .log_in(&mut secure(&proxy, config).await.unwrap())
        .await;
}

/// Waits for the proxy's own account of a connection it did not answer.
async fn dropped_because(proxy: &Proxy, reason: &str) {
    proxy
        .wait_for_log(|line| {
            line["message"] == "connection dropped"
                && line["level"] == "WARN"
                && line["error"]
                    .as_str()
                    .is_some_and(|text| text.contains(reason))
        })
        .await;
}

/// Goal: what came before the handshake is never taken for something said in it
/// (CVE-2021-23214).
/// Method: a startup packet right behind SSLRequest, in one write.
#[tokio::test]
async fn a_startup_packet_behind_the_request_for_tls_is_not_obeyed() {
    let scene = Scene::new().await;
    for mode in ["allow", "require"] {
        let proxy = scene.proxy(mode).start().await;
        let app = scene.postgres.app.user;
        let startup = frontend::startup(
            frontend::PROTOCOL_3_0,
            &[("user", app), ("database", DATABASE)],
        );
        let mut client = proxy.raw().await;
        client
            .send([frontend::ssl_request(), startup].concat())
            .await;
        assert_eq!(client.read_byte().await, b'S');
        // A TLS alert at most, which is no message of Postgres.
        let mut rest = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(client.stream(), &mut rest);
        drop(
            tokio::time::timeout(PATIENCE, reading)
                .await
                .expect("closed"),
        );
        assert!(rest.is_empty() || rest[0] == 0x15, "{rest:?}");
        dropped_because(&proxy, "no TLS handshake").await;
        let sessions = proxy.log();
        assert!(sessions.iter().all(|line| line["user"].is_null()));
    }
}

/// A client that does not wait for the `S`: Postgres 17 takes that, too.
#[tokio::test]
async fn a_handshake_that_begins_right_behind_the_request_is_taken_as_such() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("require").start().await;
    let name = ServerName::try_from(NAME).unwrap();
    let mut hello = frontend::ssl_request();
    let mut connection = ClientConnection::new(Arc::new(scene.config()), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    let mut client = proxy.raw().await;
    client.send(&hello).await;
    assert_eq!(client.read_byte().await, b'S');
    assert_eq!(client.read_byte().await, 0x16);
}

#[tokio::test]
async fn a_request_for_encryption_inside_tls_is_refused() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("allow").start().await;
    for request in [frontend::ssl_request(), frontend::gssenc_request()] {
        let mut client = scene.secure(&proxy).await;
        client.send(request).await;
        let refused = first_error(&client.read_until_closed().await);
        assert_eq!(refused[&'C'], "0A000");
    }
}

#[tokio::test]
async fn a_cancel_is_taken_before_and_inside_tls() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("require").start().await;
    let app = &scene.postgres.app;
    for inside in [false, true] {
        let mut client = scene.secure(&proxy).await;
        let session = client.login(app.user, &app.password, DATABASE).await;
        client.send(frontend::query("select pg_sleep(60)")).await;
        // The statement may not have begun: a cancel is then for nothing.
        let canceller = async {
            loop {
                cancel(&scene, &proxy, inside, &session.cancel_request()).await;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let answer = tokio::select! {
            answer = client.read_until_ready() => answer,
            () = canceller => unreachable!(),
        };
        assert_eq!(first_error(&answer)[&'C'], "57014");
    }
}

/// Sends a cancel request and waits for the close that says it was acted on.
async fn cancel(scene: &Scene, proxy: &Proxy, inside: bool, request: &[u8]) {
    let answer = if inside {
        let mut client = scene.secure(proxy).await;
        client.send(request).await;
        client.read_until_closed().await
    } else {
        let mut client = proxy.raw().await;
        client.send(request).await;
        client.read_until_closed().await
    };
    assert_eq!(tags(&answer), "");
}

#[tokio::test]
async fn a_certificate_logs_its_bearer_in() {
    let scene = Scene::new().await;
    let proxy = scene.held("require", "auth = \"cert\"").start().await;
    let identity = scene.client_ca.issue(&Leaf::common_name_only("app"));
    let mut client = secure(&proxy, scene.config_with(Some(&identity)))
        .await
        .unwrap();
    client
        .startup(&[("user", "app"), ("database", DATABASE)])
        .await;
    client.finish_login("", &Gs2::Unsupported).await.unwrap();
    let rows = client.rows("select current_user::text").await;
    assert_eq!(rows, [[Some(scene.postgres.app.user.to_owned())]]);
}

#[tokio::test]
async fn psql_logs_in_with_a_certificate() {
    let scene = Scene::new().await;
    let proxy = scene.held("require", "auth = \"cert\"").start().await;
    let identity = scene.client_ca.issue(&Leaf::common_name_only("app"));
    let files = identity.write(proxy.dir(), "client");
    let connection = format!(
        "{} sslcert={} sslkey={}",
        verified(&proxy),
        files.cert.display(),
        files.key.display()
    );
    assert_carried(&psql(scene.postgres, &connection).await);
}

#[tokio::test]
async fn a_certificate_for_somebody_else_and_none_at_all_are_refused() {
    let scene = Scene::new().await;
    let proxy = scene.held("require", "auth = \"cert\"").start().await;
    let other = scene.client_ca.issue(&Leaf::common_name_only("other"));
    for identity in [Some(&other), None] {
        let mut client = secure(&proxy, scene.config_with(identity)).await.unwrap();
        client
            .startup(&[("user", "app"), ("database", DATABASE)])
            .await;
        let refused = first_error(&client.read_until_closed().await);
        assert_eq!(refused[&'C'], "28000");
        assert!(refused[&'M'].contains("certificate authentication failed"));
    }
}

#[tokio::test]
async fn a_certificate_of_another_ca_or_out_of_date_is_refused() {
    let scene = Scene::new().await;
    let proxy = scene.held("require", "auth = \"cert\"").start().await;
    let stranger = Authority::root("CA of strangers");
    let bearer = Leaf::common_name_only("app");
    let forged = stranger.issue(&bearer);
    let expired = scene.client_ca.issue(&bearer.expired());
    for identity in [forged, expired] {
        // TLS 1.3 lets a client finish before the server has judged it.
        if let Ok(mut client) = secure(&proxy, scene.config_with(Some(&identity))).await {
            let startup = frontend::startup(frontend::PROTOCOL_3_0, &[("user", "app")]);
            let stream = client.stream();
            drop(tokio::io::AsyncWriteExt::write_all(stream, &startup).await);
            assert_eq!(tags(&client.read_until_closed().await), "");
        }
    }
    let refused = |line: &serde_json::Value| {
        let error = line["error"].as_str().unwrap_or_default();
        error.contains("the client's certificate is not accepted")
    };
    proxy.wait_for_logs(2, refused).await;
}

#[tokio::test]
async fn a_client_with_tls_1_1_is_refused() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("allow").start().await;
    let address = proxy.addr().to_string();
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-starttls", "postgres"])
        .args(["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    dropped_because(&proxy, "no TLS version as new as TLSv1.2").await;
}

/// A certificate of the CA lets nobody in by itself, but nobody comes in without one.
#[tokio::test]
async fn a_listener_that_demands_certificates_lets_nobody_in_without() {
    let scene = Scene::new().await;
    let app = scene.postgres.app.user;
    let theirs = scene.client_ca.issue(&Leaf::common_name_only(app));
    let others = scene
        .client_ca
        .issue(&Leaf::common_name_only("somebody else"));
    for (mode, others_get_in) in [("verify-ca", true), ("verify-full", false)] {
        let ca = "listen.tls_ca_file = \"client-ca.crt\"";
        let proxy = scene.proxy(mode).toml(ca).start().await;
        for (identity, gets_in) in [(&theirs, true), (&others, others_get_in)] {
            let config = scene.config_with(Some(identity));
            let mut client = secure(&proxy, config).await.unwrap();
            if gets_in {
                scene.log_in(&mut client).await;
                continue;
            }
            client
                .startup(&[("user", app), ("database", DATABASE)])
                .await;
            let refused = first_error(&client.read_until_closed().await);
            assert_eq!(refused[&'C'], "28000");
            assert!(refused[&'M'].contains("certificate authentication failed"));
        }
        // TLS 1.3 lets a client finish before the server has judged it.
        if let Ok(mut client) = secure(&proxy, scene.config()).await {
            let startup = frontend::startup(frontend::PROTOCOL_3_0, &[("user", app)]);
            let sent = tokio::io::AsyncWriteExt::write_all(client.stream(), &startup).await;
            drop(sent);
            assert_eq!(tags(&client.read_until_closed().await), "");
        }
        dropped_because(&proxy, "the client showed no certificate").await;
        let mut client = proxy.raw().await;
        client.startup(&[("user", app)]).await;
        let refused = first_error(&client.read_until_closed().await);
        assert!(refused[&'M'].contains("demands TLS"), "{refused:?}");
    }
}

/// An application's URL as a provider prints it: `sslmode=require`, and nothing verified.
fn insisting(proxy: &Proxy) -> String {
    format!(
        "host=127.0.0.1 port={} sslmode=require",
        proxy.addr().port()
    )
}

#[tokio::test]
async fn a_url_that_insists_on_tls_works_unchanged_with_held_credentials() {
    let postgres = Postgres::shared().await;
    let (user, password) = (postgres.app.user, &postgres.app.password);
    let text = format!(
        "listen.tls_mode = 'allow'\nauth.mode = 'held'\n\
         [[users]]\nname = '{user}'\npassword = '{password}'"
    );
    let proxy = Proxy::new(postgres).toml(&text).start().await;
    assert_carried(&psql(postgres, &insisting(&proxy)).await);
    let plain = insisting(&proxy).replace("require", "disable");
    assert_carried(&psql(postgres, &plain).await);
    // Nothing of it is on disk.
    let files = std::fs::read_dir(proxy.dir()).unwrap();
    let names = files.map(|file| file.unwrap().file_name());
    assert!(names.eq(["proxy.toml"]), "a file is left");
}

#[tokio::test]
async fn a_url_that_insists_on_tls_in_vain_is_logged_with_the_cure() {
    let postgres = Postgres::shared().await;
    let (user, password) = (postgres.app.user, &postgres.app.password);
    let held = format!("auth.mode = 'held'\n[[users]]\nname = '{user}'\npassword = '{password}'");
    for (keys, cure) in [("", "sslmode=disable"), (&held, "listen.tls_mode")] {
        let proxy = Proxy::new(postgres).toml(keys).start().await;
        // One that leaves TLS out when there is none is nobody's concern.
        let preferring = insisting(&proxy).replace("require", "prefer");
        assert_carried(&psql(postgres, &preferring).await);
        let output = psql(postgres, &insisting(&proxy)).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("server does not support SSL"), "{said}");
        let wants_tls = |line: &serde_json::Value| line["reason"] == "wants_tls";
        let line = proxy.wait_for_log(wants_tls).await;
        assert_eq!(line["level"], "WARN");
        let fix = line["fix"].as_str().unwrap();
        assert!(
            fix.contains(cure) && fix.contains("sslmode=disable"),
            "{fix}"
        );
        assert_eq!(proxy.log().iter().filter(|line| wants_tls(line)).count(), 1);
    }
}

/// libpq says `y` in SCRAM here: it could bind, and the proxy does not offer it.
#[tokio::test]
async fn a_password_is_checked_over_tls_with_the_defaults_of_libpq() {
    let scene = Scene::new().await;
    let auth = format!("password = {:?}", scene.postgres.app.password);
    let proxy = scene.held("allow", &auth).start().await;
    assert_carried(&psql(scene.postgres, &verified(&proxy)).await);
    let mut client = scene.secure(&proxy).await;
    client
        .startup(&[("user", "app"), ("database", DATABASE)])
        .await;
    let password = &scene.postgres.app.password;
    let login = client.finish_login(password, &Gs2::Unrequested).await;
    login.unwrap();
}

/// The binding would be to the proxy's certificate, not the server's.
#[tokio::test]
async fn a_relayed_login_over_tls_names_the_cure_for_channel_binding() {
    let scene = Scene::new().await;
    let proxy = scene.proxy("allow").start().await;
    let output = psql(scene.postgres, &verified(&proxy)).await;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for cure in ["sslmode=disable", "channel_binding=disable"] {
        assert!(said.contains(cure), "{said}");
    }
}

#[tokio::test]
async fn a_certificate_or_key_that_cannot_be_used_ends_the_start() {
    let scene = Scene::new().await;
    let spoil = |file: &str, text: &str| {
        let builder = scene.proxy("allow");
        std::fs::write(builder.dir().join(file), text).unwrap();
        builder
    };
    let other_key = Leaf::named(&["other"]).self_signed().key_pem();
    for (builder, file) in [
        (spoil("proxy.crt", "garbage"), "proxy.crt"),
        (spoil("proxy.key", "garbage"), "proxy.key"),
        (spoil("proxy.key", &other_key), "proxy.key"),
        (without(scene.proxy("allow"), "proxy.crt"), "proxy.crt"),
    ] {
        let (status, said) = builder.spawn().last_words().await;
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(file), "{said}");
    }
}

fn without(builder: ProxyBuilder, file: &str) -> ProxyBuilder {
    std::fs::remove_file(builder.dir().join(Path::new(file))).unwrap();
    builder
}

#[tokio::test]
async fn nobody_waits_for_a_client_that_stops_in_the_handshake() {
    let scene = Scene::new().await;
    let builder = scene
        .proxy("require")
        .toml("limits.client_login_timeout = \"300ms\"");
    let proxy = builder.start().await;
    let mut client = proxy.raw().await;
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'S');
    assert_eq!(tags(&client.read_until_closed().await), "");
    wait::until(PATIENCE, "it is logged", async || {
        proxy.log().iter().any(|line| {
            let error = line["error"].as_str().unwrap_or_default();
            error.contains("login not complete within")
        })
    })
    .await;
}
