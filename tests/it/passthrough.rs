//! Passthrough: the client's own login reaches the server and comes back, changed
//! in nothing but the offer of `SCRAM-SHA-256-PLUS` and the hints on errors.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::methods::{self, Methods};
use super::support::postgres::{DATABASE, Identity, trusting};
use super::support::proxy::ProxyBuilder;
use super::support::psql::psql;
use super::support::raw_client::{ErrorFields, Gs2, Message, first_error, tags, texts};
use super::support::scripted::{Scripted, authentication, error, reported, sasl, welcome};
use super::support::wait::{self, PATIENCE};
use super::support::{Postgres, Proxy, RawClient, frontend};

const TLS_NAME: &str = "proxy.internal";

/// Adds a certificate to a proxy, so that clients may use TLS.
fn with_tls(builder: ProxyBuilder) -> ProxyBuilder {
    let identity = Identity::generate(TLS_NAME).unwrap();
    for (name, text) in [
        ("proxy-ca.crt", &identity.ca),
        ("proxy.crt", &identity.certificate),
        ("proxy.key", &identity.key),
    ] {
        std::fs::write(builder.dir().join(name), text).unwrap();
    }
    builder.toml(
        "[listen]\ntls_mode = 'allow'\ntls_cert_file = 'proxy.crt'\ntls_key_file = 'proxy.key'",
    )
}

async fn tls_client(proxy: &Proxy) -> RawClient<TlsStream<TcpStream>> {
    let mut client = proxy.raw().await;
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'S');
    let connector = TlsConnector::from(trusting(&proxy.dir().join("proxy-ca.crt")));
    let name = TLS_NAME.try_into().unwrap();
    RawClient::over(connector.connect(name, client.into_inner()).await.unwrap())
}

/// The first answer to a startup packet for `user`.
async fn first_answer<S>(client: &mut RawClient<S>, user: &str, database: &str) -> Message
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client
        .startup(&[("user", user), ("database", database)])
        .await;
    client.read_message().await
}

/// A login of role `user` that is to fail.
async fn refusal(proxy: &Proxy, user: &str, password: &str, gs2: &Gs2) -> ErrorFields {
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", user), ("database", DATABASE)])
        .await;
    client.finish_login(password, gs2).await.unwrap_err()
}

/// What a server says to a login that it refuses: asked directly, and through the proxy.
async fn refusals(
    postgres: &Postgres,
    parameters: &[(&str, &str)],
    password: &str,
) -> (ErrorFields, ErrorFields) {
    let proxy = Proxy::new(postgres).start().await;
    let mut direct = postgres.raw_tls().await;
    let mut carried = proxy.raw().await;
    direct.startup(parameters).await;
    carried.startup(parameters).await;
    let gs2 = Gs2::Unsupported;
    let expected = direct.finish_login(password, &gs2).await.unwrap_err();
    let error = carried.finish_login(password, &gs2).await.unwrap_err();
    assert_eq!(carried.read_until_closed().await, []);
    (expected, error)
}

/// The same of a refusal that is the same, field for field; fails the test unless it is.
async fn refused_alike(
    postgres: &Postgres,
    parameters: &[(&str, &str)],
    password: &str,
) -> ErrorFields {
    let (expected, error) = refusals(postgres, parameters, password).await;
    assert_eq!(error, expected);
    error
}

fn mentions_the_cure(error: &ErrorFields) {
    assert_eq!(error[&'S'], "FATAL");
    assert_eq!(error[&'C'], "28000");
    assert!(error[&'M'].starts_with("pgsluice: "), "{error:?}");
    for cure in ["channel_binding=disable", "mode = \"held\""] {
        assert!(error[&'H'].contains(cure), "{error:?}");
    }
}

#[tokio::test]
async fn a_scram_login_is_carried_and_channel_binding_is_not_offered_in_plaintext() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let mut direct = postgres.raw_tls().await;
    let (_, offer) = first_answer(&mut direct, postgres.app.user, DATABASE).await;
    assert_eq!(
        texts(&offer[4..]),
        ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", ""]
    );
    let mut client = proxy.raw().await;
    let (_, offer) = first_answer(&mut client, postgres.app.user, DATABASE).await;
    assert_eq!(texts(&offer[4..]), ["SCRAM-SHA-256", ""]);
    let mut session = proxy.raw_session(DATABASE).await;
    let rows = session.rows("select current_user").await;
    assert_eq!(rows, [[Some(postgres.app.user.to_owned())]]);
}

#[tokio::test]
async fn psql_logs_in_with_channel_binding_disabled_and_preferred() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    for mode in ["disable", "prefer"] {
        let options = format!("channel_binding={mode}");
        let ran = psql(proxy.addr(), &postgres.app, &options, "select 41 + 1").await;
        assert_eq!((ran.success, &ran.stdout[..]), (true, "42"), "{ran:?}");
    }
}

#[tokio::test]
async fn psql_with_channel_binding_required_fails_in_its_own_words() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let ran = psql(
        proxy.addr(),
        &postgres.app,
        "channel_binding=require",
        "select 1",
    )
    .await;
    assert!(!ran.success);
    let text = "channel binding required, but SSL not in use";
    assert!(ran.stderr.contains(text), "{ran:?}");
    let proxy = with_tls(Proxy::new(postgres)).start().await;
    let options = "sslmode=require channel_binding=require";
    let ran = psql(proxy.addr(), &postgres.app, options, "select 1").await;
    let text = "channel binding is required, but server did not offer an authentication method that supports channel binding";
    assert!(!ran.success && ran.stderr.contains(text), "{ran:?}");
}

#[tokio::test]
async fn psql_over_tls_is_told_to_disable_channel_binding_and_then_logs_in() {
    let postgres = Postgres::shared().await;
    let proxy = with_tls(Proxy::new(postgres)).start().await;
    let ran = psql(proxy.addr(), &postgres.app, "sslmode=require", "select 1").await;
    assert!(!ran.success);
    assert!(ran.stderr.contains("FATAL:  pgsluice: "), "{ran:?}");
    for cure in ["HINT:", "sslmode=disable", "channel_binding=disable"] {
        assert!(ran.stderr.contains(cure), "{ran:?}");
    }
    let options = "sslmode=require channel_binding=disable";
    let ran = psql(proxy.addr(), &postgres.app, options, "select 1").await;
    assert_eq!(ran.stdout, "1", "{ran:?}");
}

#[tokio::test]
async fn a_client_that_would_bind_gets_an_error_with_the_cure() {
    let postgres = Postgres::shared().await;
    let proxy = with_tls(Proxy::new(postgres)).start().await;
    // As Npgsql does, with TLS or without.
    let error = refusal(
        &proxy,
        postgres.app.user,
        &postgres.app.password,
        &Gs2::Unrequested,
    )
    .await;
    mentions_the_cure(&error);
    let mut client = tls_client(&proxy).await;
    client.startup(&[("user", postgres.app.user)]).await;
    let outcome = client
        .finish_login(&postgres.app.password, &Gs2::Unrequested)
        .await;
    mentions_the_cure(&outcome.unwrap_err());
}

#[tokio::test]
async fn a_client_that_binds_without_being_offered_to_gets_an_error_with_the_cure() {
    let postgres = Postgres::shared().await;
    for mode in ["strip", "keep"] {
        let builder = with_tls(Proxy::new(postgres));
        let proxy = builder
            .toml(&format!("listen.sasl_plus = '{mode}'"))
            .start()
            .await;
        let mut client = tls_client(&proxy).await;
        first_answer(&mut client, postgres.app.user, DATABASE).await;
        let first = b"p=tls-server-end-point,,n=,r=cccccccccccccccccc";
        client
            .send(frontend::sasl_initial_response("SCRAM-SHA-256-PLUS", first))
            .await;
        mentions_the_cure(&first_error(&client.read_until_closed().await));
    }
}

#[tokio::test]
async fn a_kept_offer_is_the_servers_own_and_serves_clients_that_cannot_bind() {
    let postgres = Postgres::shared().await;
    let builder = Proxy::new(postgres).toml("listen.sasl_plus = 'keep'");
    let proxy = builder.start().await;
    let mut client = proxy.raw().await;
    let (_, offer) = first_answer(&mut client, postgres.app.user, DATABASE).await;
    assert_eq!(
        texts(&offer[4..]),
        ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", ""]
    );
    // As Npgsql does with `Channel Binding=Disable`.
    let mut session = proxy.raw_session(DATABASE).await;
    assert_eq!(session.rows("select 1").await, [[Some("1".to_owned())]]);
    // The server's own refusal of `y`, with our hint.
    let error = refusal(
        &proxy,
        postgres.app.user,
        &postgres.app.password,
        &Gs2::Unrequested,
    )
    .await;
    assert_eq!(error[&'C'], "28000");
    assert!(
        error[&'M'].contains("SCRAM channel binding negotiation error"),
        "{error:?}"
    );
    assert!(error[&'H'].contains("channel_binding=disable"), "{error:?}");
}

/// Goal: other mechanisms of a list, known or not, keep their places.
#[tokio::test]
async fn only_channel_binding_is_taken_off_an_offer() {
    let server = Scripted::start(async |connection| {
        let mut server = connection.secure().await;
        server.packet().await;
        let names = ["OAUTHBEARER", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "X"];
        server.send(sasl(&names)).await;
        server.rest().await;
    })
    .await;
    let proxy = Proxy::new(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    let mut client = proxy.raw().await;
    let (_, offer) = first_answer(&mut client, "anybody", DATABASE).await;
    assert_eq!(
        texts(&offer[4..]),
        ["OAUTHBEARER", "SCRAM-SHA-256", "X", ""]
    );
}

async fn logs_in_by(role: &str, request: u32) {
    let postgres = &Methods::shared().await.postgres;
    let proxy = Proxy::new(postgres).start().await;
    let mut client = proxy.raw().await;
    let (_, asked) = first_answer(&mut client, role, DATABASE).await;
    assert_eq!(asked[..4], request.to_be_bytes());
    let mut client = proxy.raw().await;
    client.login(role, methods::PASSWORD, DATABASE).await;
    assert_eq!(
        client.rows("select current_user").await,
        [[Some(role.to_owned())]]
    );
    let parameters = [("user", role), ("database", DATABASE)];
    if request != 0 {
        let error = refused_alike(postgres, &parameters, "wrong").await;
        assert_eq!(error[&'C'], "28P01");
    }
}

#[tokio::test]
async fn an_md5_login_is_carried() {
    logs_in_by(methods::MD5, 5).await;
}

#[tokio::test]
async fn a_cleartext_login_is_carried() {
    logs_in_by(methods::CLEARTEXT, 3).await;
}

#[tokio::test]
async fn a_login_without_proof_is_carried() {
    logs_in_by(methods::TRUST, 0).await;
}

#[tokio::test]
async fn a_role_that_needs_a_certificate_logs_in_by_that_of_the_proxy() {
    let methods = Methods::shared().await;
    let showing = async |keys: &str| {
        let builder = Proxy::new(&methods.postgres);
        methods.write_client_certificate(builder.dir(), methods::CERT);
        let shown = "[upstreams.cluster]\nsslcert = 'client.crt'\nsslkey = 'client.key'\n";
        builder.toml(&[shown, keys].concat()).start().await
    };
    // Whoever comes would be let in for the proxy's sake.
    let proxy = showing("").await;
    let error = refusal(&proxy, methods::CERT, "", &Gs2::Unsupported).await;
    assert_eq!(error[&'C'], "28000");
    assert!(error[&'M'].contains("asks for no password"), "{error:?}");
    assert!(error[&'H'].contains("require_auth"), "{error:?}");
    let proxy = showing("require_auth = 'none'").await;
    let mut client = proxy.raw().await;
    client.login(methods::CERT, "", DATABASE).await;
    let sql = "select current_user, client_dn from pg_stat_ssl where pid = pg_backend_pid()";
    let row = client.rows(sql).await.remove(0);
    assert_eq!(row[0].as_deref(), Some(methods::CERT));
    // Without it, the server's own words.
    let proxy = Proxy::new(&methods.postgres).start().await;
    let error = refusal(&proxy, methods::CERT, "", &Gs2::Unsupported).await;
    assert_eq!(error[&'C'], "28000");
    assert!(
        error[&'M'].contains("valid client certificate"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_the_servers_own_words() {
    let postgres = Postgres::shared().await;
    let parameters = [("user", postgres.app.user), ("database", DATABASE)];
    let error = refused_alike(postgres, &parameters, "wrong").await;
    assert_eq!(error[&'C'], "28P01");
}

#[tokio::test]
async fn an_unknown_role_is_refused_in_the_servers_own_words() {
    let postgres = Postgres::shared().await;
    let error = refused_alike(postgres, &[("user", "nobody")], "any").await;
    assert_eq!(error[&'C'], "28P01");
}

#[tokio::test]
async fn an_unknown_database_is_refused_in_the_servers_own_words() {
    let postgres = Postgres::shared().await;
    let parameters = [("user", postgres.app.user), ("database", "nowhere")];
    let error = refused_alike(postgres, &parameters, &postgres.app.password).await;
    assert_eq!(error[&'C'], "3D000");
}

#[tokio::test]
async fn an_unknown_setting_is_refused_in_the_servers_own_words() {
    let postgres = Postgres::shared().await;
    let who = ("user", postgres.app.user);
    let parameters = [who, ("database", DATABASE), ("no_such_setting", "1")];
    let error = refused_alike(postgres, &parameters, &postgres.app.password).await;
    assert_eq!(error[&'C'], "42704");
}

#[tokio::test]
async fn a_full_role_is_refused_with_the_servers_code_and_a_hint_that_fits() {
    let postgres = Postgres::shared().await;
    let (role, password) = postgres.create_role("connection limit 1").await;
    let proxy = Proxy::new(postgres).start().await;
    let mut first = proxy.raw().await;
    first.login(&role, &password, DATABASE).await;
    let error = refusal(&proxy, &role, &password, &Gs2::Unsupported).await;
    assert_eq!(error[&'C'], "53300");
    assert_eq!(
        error[&'M'],
        format!("too many connections for role \"{role}\"")
    );
    assert!(error[&'H'].contains("CONNECTION LIMIT"), "{error:?}");
    assert!(error[&'H'].contains("max_user_connections"), "{error:?}");
}

#[tokio::test]
async fn a_full_server_is_refused_with_its_own_code_and_our_hint() {
    let postgres = Postgres::builder()
        .setting("max_connections", "6")
        .setting("max_wal_senders", "0")
        .start()
        .await;
    let proxy = Proxy::new(&postgres).start().await;
    let mut held = Vec::new();
    let error = loop {
        let mut client = proxy.raw().await;
        let user = ("user", postgres.app.user);
        client.startup(&[user, ("database", DATABASE)]).await;
        let outcome = client
            .finish_login(&postgres.app.password, &Gs2::Unsupported)
            .await;
        match outcome {
            Ok(_) => held.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(held.len(), 3, "6 less 3 that are kept for superusers");
    assert_eq!(error[&'C'], "53300");
    assert!(error[&'H'].contains("max_upstream_conn"), "{error:?}");
}

#[tokio::test]
async fn a_gssapi_login_is_refused_with_a_clear_text() {
    let server = Scripted::start(async |connection| {
        let mut server = connection.secure().await;
        server.packet().await;
        server.send(authentication(7, &[])).await;
        server.rest().await;
    })
    .await;
    let proxy = Proxy::new(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    let error = refusal(&proxy, "anybody", "", &Gs2::Unsupported).await;
    assert_eq!(error[&'C'], "28000");
    assert!(error[&'M'].contains("GSSAPI"), "{error:?}");
    assert!(error[&'H'].contains("scram-sha-256"), "{error:?}");
}

#[tokio::test]
async fn a_servers_refusal_keeps_every_field_it_has() {
    let fields = [
        ('S', "FATAL"),
        ('V', "FATAL"),
        ('C', "XX123"),
        ('M', "not today"),
        ('D', "a detail"),
        ('?', "a field of the future"),
    ];
    let sent = error(&fields);
    let script = sent.clone();
    let server = Scripted::start(move |connection| {
        let answer = script.clone();
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(answer).await;
        }
    })
    .await;
    let proxy = Proxy::new(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "anybody")]).await;
    let messages = client.read_until_closed().await;
    assert_eq!(tags(&messages), "E");
    assert_eq!(messages[0].1, sent[5..]);
}

#[tokio::test]
async fn a_server_that_leaves_during_a_login_is_reported_with_a_hint() {
    let server = Scripted::start(async |connection| {
        let mut server = connection.secure().await;
        server.packet().await;
    })
    .await;
    let proxy = Proxy::new(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    let error = refusal(&proxy, "anybody", "", &Gs2::Unsupported).await;
    assert_eq!(error[&'C'], "57P03");
    assert!(error[&'M'].contains("lost during login"), "{error:?}");
    assert!(error.contains_key(&'H'));
}

#[tokio::test]
async fn a_startup_packet_arrives_byte_for_byte() {
    let (sender, mut packets) = mpsc::unbounded_channel();
    let server = Scripted::start(move |connection| {
        let sender = sender.clone();
        async move {
            let mut server = connection.secure().await;
            let packet = server.packet().await;
            sender.send(packet).unwrap();
            server.send(welcome(1, &[1, 2, 3, 4])).await;
            server.rest().await;
        }
    })
    .await;
    let proxy = Proxy::new(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    let mut body = frontend::PROTOCOL_3_0.to_be_bytes().to_vec();
    // Latin 1, a duplicate, an empty value, an order of its own.
    body.extend(
        b"application_name\0caf\xe9\0options\0-c geqo=off\\ x\0user\0b\xf6se\0\
          database\0d\0search_path\0\"a, b\",c\0user\0b\xf6se\0x.y\0\0\0",
    );
    let packet = frontend::untagged(&body);
    let mut client = proxy.raw().await;
    client.send(&packet).await;
    assert_eq!(tags(&client.read_until_ready().await), "RKZ");
    assert_eq!(reported(&mut packets).await.unwrap(), packet);
}

#[tokio::test]
async fn settings_of_a_startup_packet_take_effect() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let mut client = proxy.raw().await;
    let settings = [
        ("application_name", "ledger"),
        ("TimeZone", "Asia/Kathmandu"),
        ("search_path", "\"a, b\", c"),
        ("extra_float_digits", "2"),
        ("client_encoding", "LATIN1"),
        ("my.own", "v"),
    ];
    let options = [
        ("user", postgres.app.user),
        ("database", DATABASE),
        ("options", "-c geqo=off -c work_mem=5MB"),
    ];
    client
        .startup(&[&options[..], &settings[..]].concat())
        .await;
    let session = client
        .finish_login(&postgres.app.password, &Gs2::Unsupported)
        .await
        .unwrap();
    assert_eq!(session.parameters["application_name"], "ledger");
    assert_eq!(session.parameters["TimeZone"], "Asia/Kathmandu");
    for (name, value) in settings
        .into_iter()
        .chain([("geqo", "off"), ("work_mem", "5MB")])
    {
        let shown = client.rows(&format!("show {name}")).await;
        assert_eq!(shown, [[Some(value.to_owned())]], "{name}");
    }
}

#[tokio::test]
async fn a_replication_connection_is_carried() {
    let postgres = Postgres::shared().await;
    let (role, password) = postgres.create_role("replication").await;
    let proxy = Proxy::new(postgres).start().await;
    let mut client = proxy.raw().await;
    let parameters = [
        ("user", &role[..]),
        ("database", DATABASE),
        ("replication", "database"),
    ];
    client.startup(&parameters).await;
    client
        .finish_login(&password, &Gs2::Unsupported)
        .await
        .unwrap();
    let system = client.rows("IDENTIFY_SYSTEM").await.remove(0);
    assert_eq!(system[3].as_deref(), Some(DATABASE));
    assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
}

#[tokio::test]
async fn a_query_sent_along_with_the_startup_packet_is_answered() {
    let postgres = &Methods::shared().await.postgres;
    let proxy = Proxy::new(postgres).start().await;
    let mut client = proxy.raw().await;
    let parameters = [("user", methods::TRUST), ("database", DATABASE)];
    let startup = frontend::startup(frontend::PROTOCOL_3_0, &parameters);
    client
        .send([startup, frontend::query("select 'early'")].concat())
        .await;
    client.read_until_ready().await;
    assert_eq!(tags(&client.read_until_ready().await), "TDCZ");
}

#[tokio::test]
async fn a_client_that_answers_with_something_else_is_refused() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    for (answer, text) in [
        (frontend::query("select 1"), "expected a password message"),
        (frontend::sasl_response(&[0; 70_000]), "too long"),
        (
            frontend::sasl_response(b"SCRAM-SHA-256"),
            "malformed SASLInitialResponse",
        ),
        (vec![b'p', 0, 0, 0, 3], "invalid message length"),
    ] {
        let mut client = proxy.raw().await;
        first_answer(&mut client, postgres.app.user, DATABASE).await;
        client.send(answer).await;
        let error = first_error(&client.read_until_closed().await);
        assert_eq!(error[&'C'], "08P01");
        assert!(error[&'M'].contains(text), "{error:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_its_login_leaves_nothing_on_the_server() {
    let (sender, mut ended) = mpsc::unbounded_channel();
    let server = Scripted::start(move |connection| {
        let sender = sender.clone();
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(sasl(&["SCRAM-SHA-256"])).await;
            sender.send(server.rest().await).unwrap();
        }
    })
    .await;
    let proxy = Proxy::new(Postgres::shared().await)
        .toml(&server.toml())
        .start()
        .await;
    let mut client = proxy.raw().await;
    first_answer(&mut client, "anybody", DATABASE).await;
    drop(client);
    assert_eq!(reported(&mut ended).await, b"");
    proxy
        .wait_for_log(|line| line["reason"] == "client_left")
        .await;
}

/// Goal: what a client proves itself with goes through, and nowhere else.
/// Method: cleartext, right and wrong, with the log at its most talkative.
#[tokio::test]
async fn no_password_is_in_the_log() {
    let postgres = &Methods::shared().await.postgres;
    let proxy = Proxy::new(postgres)
        .toml("log.level = 'trace'")
        .start()
        .await;
    let mut client = proxy.raw().await;
    client
        .login(methods::CLEARTEXT, methods::PASSWORD, DATABASE)
        .await;
    client.query("select 1").await;
    client.send(frontend::terminate()).await;
    client.read_until_closed().await;
    let canary = "canary-4711";
    for role in [methods::CLEARTEXT, methods::SCRAM, methods::MD5] {
        refusal(&proxy, role, canary, &Gs2::Unsupported).await;
    }
    wait::until(PATIENCE, "all four sessions are logged", async || {
        let ended = proxy.log().into_iter();
        ended.filter(|line| line["reason"].is_string()).count() >= 4
    })
    .await;
    let log = format!("{:?}", proxy.log());
    for secret in [canary, methods::PASSWORD] {
        assert!(!log.contains(secret), "{secret} is in the log");
        // Nor as bytes, the way a buffer is shown.
        let bytes = secret.as_bytes().iter().map(u8::to_string);
        let bytes = bytes.collect::<Vec<_>>().join(", ");
        assert!(!log.contains(&bytes), "{secret} is in the log as bytes");
    }
}
