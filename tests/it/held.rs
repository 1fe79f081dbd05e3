//! Held mode: the client proves itself to the proxy, and the proxy logs in to the
//! server by itself, trusting it no further than it has to.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::unistd::{User, geteuid};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use sha2::{Digest, Sha384};
use tokio::sync::mpsc;

use super::support::methods::{self, Methods};
use super::support::postgres::{DATABASE, Identity, server_certificate};
use super::support::proxy::ProxyBuilder;
use super::support::raw_client::{ErrorFields, Gs2, Message, first_error, tags};
use super::support::scripted::{
    Connection, Scripted, authentication, error, reported, sasl, welcome,
};
use super::support::{Postgres, Proxy, RawClient, frontend};

/// What the client `sep` presents.
const CLIENT_PASSWORD: &str = "between client and proxy";

/// A proxy that knows one user `sep`; `keys` are further lines of its entry.
fn held(postgres: &Postgres, keys: &str) -> ProxyBuilder {
    Proxy::new(postgres).toml(&format!(
        "auth.mode = 'held'\n[[users]]\nname = 'sep'\n{keys}"
    ))
}

/// Lines of an entry for a client that is let in, and the role it becomes.
fn becomes(role: &str, password: &str) -> String {
    format!("auth = 'trust'\nupstream_user = '{role}'\nupstream_password = '{password}'")
}

/// How the client is to prove itself; upstream it is the server's own role `app`.
fn proves(postgres: &Postgres, method: &str) -> String {
    format!(
        "auth = '{method}'\npassword = '{CLIENT_PASSWORD}'\n\
         upstream_user = '{}'\nupstream_password = '{}'",
        postgres.app.user, postgres.app.password
    )
}

async fn log_in(proxy: &Proxy, user: &str, password: &str) -> Result<(), ErrorFields> {
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", user), ("database", DATABASE)])
        .await;
    client.finish_login(password, &Gs2::Unsupported).await?;
    assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    Ok(())
}

/// A proxy in front of `server`, whose only client becomes the role `app`.
async fn in_front_of(server: &Scripted, keys: &str) -> Proxy {
    let postgres = Postgres::shared().await;
    let builder = held(postgres, &becomes("app", "secret")).toml(&server.toml());
    builder.toml(keys).start().await
}

/// The request for proof that a client gets, and the outcome.
async fn proven_by(method: &str, request: u32) {
    let postgres = Postgres::shared().await;
    let proxy = held(postgres, &proves(postgres, method)).start().await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "sep")]).await;
    let (_, asked) = client.read_message().await;
    assert_eq!(asked[..4], request.to_be_bytes());
    log_in(&proxy, "sep", CLIENT_PASSWORD).await.unwrap();
    let error = log_in(&proxy, "sep", "wrong").await.unwrap_err();
    assert_eq!((&error[&'S'][..], &error[&'C'][..]), ("FATAL", "28P01"));
    let text = "pgsluice: password authentication failed for user \"sep\"";
    assert_eq!(error[&'M'], text);
}

#[tokio::test]
async fn a_client_is_let_in_by_a_cleartext_password() {
    proven_by("password", 3).await;
}

#[tokio::test]
async fn a_client_is_let_in_by_md5() {
    proven_by("md5", 5).await;
}

#[tokio::test]
async fn a_client_is_let_in_by_scram() {
    proven_by("scram-sha-256", 10).await;
}

#[tokio::test]
async fn a_trusted_client_is_let_in_without_a_question() {
    let postgres = Postgres::shared().await;
    let app = &postgres.app;
    let builder = held(postgres, &becomes(app.user, &app.password));
    let proxy = builder.start().await;
    let mut client = proxy.raw().await;
    let who = [("user", "sep"), ("database", DATABASE)];
    client.startup(&who).await;
    assert_eq!(client.read_message().await, (b'R', vec![0; 4]));
    client.read_until_ready().await;
    let row = client.rows("select current_user").await.remove(0);
    assert_eq!(row[0].as_deref(), Some(app.user));
}

/// A client may say `y`: the proxy offers no binding, so nothing was taken away.
#[tokio::test]
async fn a_client_that_would_bind_is_let_in() {
    let postgres = Postgres::shared().await;
    let builder = held(postgres, &proves(postgres, "scram-sha-256"));
    let proxy = builder.start().await;
    let mut client = proxy.raw().await;
    client
        .startup(&[("user", "sep"), ("database", DATABASE)])
        .await;
    let outcome = client
        .finish_login(CLIENT_PASSWORD, &Gs2::Unrequested)
        .await;
    outcome.unwrap();
}

async fn through_the_socket(os_user: &str) -> Result<(), ErrorFields> {
    let postgres = Postgres::shared().await;
    let (user, password) = (postgres.app.user, &postgres.app.password);
    let keys = format!(
        "auth = 'peer'\nos_user = '{os_user}'\n\
         upstream_user = '{user}'\nupstream_password = '{password}'"
    );
    let builder = held(postgres, &keys);
    let dir = builder.dir().display().to_string();
    let builder = builder.toml(&format!("listen.unix_socket_dirs = ['{dir}']"));
    let proxy = builder.start().await;
    let mut client = RawClient::connect_unix(Path::new(&proxy.addresses()[1])).await;
    let who = [("user", "sep"), ("database", DATABASE)];
    client.startup(&who).await;
    // Over TCP nobody is a peer.
    let error = log_in(&proxy, "sep", "").await.unwrap_err();
    assert_eq!(error[&'C'], "28000");
    client.finish_login("", &Gs2::Unsupported).await.map(|_| ())
}

#[tokio::test]
async fn a_process_is_let_in_by_the_name_or_number_of_its_user() {
    let uid = geteuid();
    #[expect(clippy::disallowed_methods, reason = "a test may wait")]
    let name = User::from_uid(uid).unwrap().unwrap().name;
    through_the_socket(&name).await.unwrap();
    through_the_socket(&uid.to_string()).await.unwrap();
}

#[tokio::test]
async fn a_process_of_another_user_is_refused() {
    for stranger in ["nobody", "4711", "no such user"] {
        let error = through_the_socket(stranger).await.unwrap_err();
        assert_eq!(error[&'C'], "28000");
        let text = "pgsluice: peer authentication failed for user \"sep\"";
        assert_eq!(error[&'M'], text);
    }
}

/// All that a client gets to see which answers the offer and the challenge.
async fn exchange(proxy: &Proxy, user: &str) -> Vec<Message> {
    let mut client = proxy.raw().await;
    client.startup(&[("user", user)]).await;
    let offer = client.read_message().await;
    let first = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO";
    client
        .send(frontend::sasl_initial_response("SCRAM-SHA-256", first))
        .await;
    let (tag, challenge) = client.read_message().await;
    let text = String::from_utf8(challenge[4..].to_vec()).unwrap();
    let mut attributes = text.split(',');
    let nonce = attributes.next().unwrap().to_owned();
    // Nonce and salt differ from try to try and from user to user: their shape is
    // what must not.
    let shape = attributes.map(|a| {
        if a.starts_with("s=") {
            a.len().to_string()
        } else {
            a.to_owned()
        }
    });
    let shape = format!("{} {}", nonce.len(), shape.collect::<Vec<_>>().join(" "));
    let proof = BASE64.encode([7; 32]);
    let last = format!("c=biws,{nonce},p={proof}");
    client.send(frontend::sasl_response(last.as_bytes())).await;
    let rest = client.read_until_closed().await;
    let ending = rest.into_iter().map(|(tag, body)| {
        let text = String::from_utf8(body).unwrap();
        (tag, text.replace(user, "USER").into_bytes())
    });
    [offer, (tag, shape.into_bytes())]
        .into_iter()
        .chain(ending)
        .collect()
}

#[tokio::test]
async fn an_unknown_user_gets_the_same_messages_as_a_wrong_password() {
    let postgres = Postgres::shared().await;
    let proxy = held(postgres, &proves(postgres, "scram-sha-256"))
        .start()
        .await;
    let known = exchange(&proxy, "sep").await;
    let unknown = exchange(&proxy, "ufo").await;
    assert_eq!(known, unknown);
    assert_eq!(tags(&known), "RRE");
    assert_eq!(first_error(&known)[&'C'], "28P01");
    // Only the log tells them apart.
    for error in [
        "password authentication failed for user \"sep\"",
        "no user \"ufo\" in [[users]]",
    ] {
        let refused = |line: &Value| line["message"] == "client refused" && line["error"] == error;
        proxy.wait_for_log(refused).await;
    }
}

/// What `user` is asked, and told after a wrong answer; no name is in it.
async fn asked_and_told(proxy: &Proxy, user: &str) -> (u32, String) {
    let mut client = proxy.raw().await;
    client.startup(&[("user", user)]).await;
    let (tag, body) = client.read_message().await;
    let code = match tag {
        b'R' => u32::from_be_bytes(*body.first_chunk().unwrap()),
        _ => 0,
    };
    let told = log_in(proxy, user, "wrong").await.unwrap_err();
    let quoted = format!("{user:?}");
    (
        code,
        told[&'C'].clone() + &told[&'M'].replace(&quoted, "USER"),
    )
}

/// Names that nobody has are asked as most of those are that somebody has, every time.
#[tokio::test]
async fn an_unknown_user_is_asked_as_most_known_ones_are() {
    let postgres = Postgres::shared().await;
    let user = |name: &str, auth: &str| {
        format!("[[users]]\nname = '{name}'\nauth = '{auth}'\npassword = 'secret'\n")
    };
    let trusted = |name: &str| {
        format!("[[users]]\nname = '{name}'\nauth = 'trust'\nupstream_password = 'secret'\n")
    };
    // The trusted ones, of whom there are more, are asked nothing, which strangers cannot be.
    let table = [
        (["password", "password", "scram-sha-256"], 3),
        (["md5", "scram-sha-256", "md5"], 5),
        (["md5", "scram-sha-256", "scram-sha-256"], 10),
        (["md5", "scram-sha-256", "password"], 10),
    ];
    for (methods, expected) in table {
        let known = ["a", "b", "c"].iter().zip(methods);
        let known: String = known.map(|(name, auth)| user(name, auth)).collect();
        let trusted: String = ["v", "w", "x", "y", "z"].map(trusted).concat();
        let text = format!("auth.mode = 'held'\n{known}{trusted}");
        let like = ["a", "b", "c"]
            .into_iter()
            .zip(methods)
            .find(|(_, method)| {
                let code = match *method {
                    "password" => 3,
                    "md5" => 5,
                    _ => 10,
                };
                code == expected
            });
        // Two starts: what differs between them tells a stranger from a user.
        for _ in 0..2 {
            let proxy = Proxy::new(postgres).toml(&text).start().await;
            let known = asked_and_told(&proxy, like.unwrap().0).await;
            assert_eq!(known.0, expected, "{methods:?}");
            for stranger in ["ufo", "root", "ufo"] {
                let unknown = asked_and_told(&proxy, stranger).await;
                assert_eq!(unknown, known, "{methods:?}");
            }
            // Not even with somebody's password.
            log_in(&proxy, "ufo", "secret").await.unwrap_err();
        }
    }
}

/// Soft and hard limit on core files, of the process whose directory in /proc that is.
fn core_limits(process: &str) -> Vec<String> {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let words = line.unwrap().split_whitespace().take(2);
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_crash_leaves_no_held_password_in_a_core_file() {
    let postgres = Postgres::shared().await;
    let holding = held(postgres, &becomes("app", "secret")).start().await;
    assert_eq!(core_limits(&holding.id().to_string()), ["0", "0"]);
    let relaying = Proxy::new(postgres).start().await;
    let own = core_limits("self");
    assert_eq!(core_limits(&relaying.id().to_string()), own);
}

#[tokio::test]
async fn an_unknown_user_has_the_same_salt_every_time() {
    let postgres = Postgres::shared().await;
    let proxy = held(postgres, &proves(postgres, "scram-sha-256"))
        .start()
        .await;
    let mut salts = Vec::new();
    for user in ["ufo", "ufo", "sep", "sep"] {
        let mut client = proxy.raw().await;
        client.startup(&[("user", user)]).await;
        client.read_message().await;
        let first = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO";
        client
            .send(frontend::sasl_initial_response("SCRAM-SHA-256", first))
            .await;
        let (_, challenge) = client.read_message().await;
        let text = String::from_utf8(challenge[4..].to_vec()).unwrap();
        salts.push(text.split(',').nth(1).unwrap().to_owned());
    }
    assert_eq!(salts[0], salts[1]);
    assert_eq!(salts[2], salts[3]);
    assert_ne!(salts[0], salts[2]);
}

#[tokio::test]
async fn users_and_databases_are_mapped() {
    let postgres = Postgres::shared().await;
    let app = &postgres.app;
    let database = postgres.create_database().await;
    let builder = held(postgres, &becomes(app.user, &app.password));
    let builder = builder.toml(&format!("[databases.ledger]\ndbname = '{database}'"));
    let proxy = builder.start().await;
    let mut client = proxy.raw().await;
    client.login("sep", "", "ledger").await;
    let row = client
        .rows("select current_user, current_database()")
        .await
        .remove(0);
    assert_eq!(row, [Some(app.user.to_owned()), Some(database)]);
}

/// Goal: a client that names no database gets the one of its own name, as from
/// Postgres; the name of the role it becomes is not its affair.
#[tokio::test]
async fn a_client_without_a_database_asks_for_the_one_of_its_own_name() {
    let postgres = Postgres::shared().await;
    let app = &postgres.app;
    let proxy = held(postgres, &becomes(app.user, &app.password))
        .start()
        .await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "sep")]).await;
    let error = client
        .finish_login("", &Gs2::Unsupported)
        .await
        .unwrap_err();
    assert_eq!(error[&'C'], "3D000");
    assert_eq!(error[&'M'], "database \"sep\" does not exist");
    let hint = &error[&'H'];
    assert!(
        hint.starts_with("A client that names no database"),
        "{hint}"
    );
    assert!(hint.contains("[databases.\"sep\"] dbname"), "{hint}");
    let failed = proxy
        .wait_for_log(|line| line["reason"] == "upstream_refused")
        .await;
    assert_eq!(failed["fix"], **hint);
}

#[tokio::test]
async fn passwords_come_from_files_and_the_environment() {
    let postgres = Postgres::shared().await;
    let keys = format!(
        "password_file = 'client.secret'\nupstream_user = '{}'\n\
         upstream_password_env = 'HELD_SECRET'",
        postgres.app.user
    );
    let builder = held(postgres, &keys).env("HELD_SECRET", &postgres.app.password);
    std::fs::write(builder.dir().join("client.secret"), "from a file\n").unwrap();
    let proxy = builder.start().await;
    log_in(&proxy, "sep", "from a file").await.unwrap();
}

/// Goal: a client whose own password is right hears that the proxy's is not, and where
/// that is written; a pool's client as one without.
#[tokio::test]
async fn a_wrong_held_password_is_the_proxys_and_not_the_clients() {
    let postgres = Postgres::shared().await;
    let app = postgres.app.user;
    let own = |key: &str| format!("auth = 'trust'\nupstream_user = '{app}'\n{key}");
    let shared = format!("[upstreams.cluster]\nuser = '{app}'\npassword = 'wrong'");
    for (keys, upstream, hint) in [
        (
            own("upstream_password = 'wrong'"),
            "",
            "`upstream_password` of user \"sep\"",
        ),
        (
            own("upstream_password_env = 'WRONG'"),
            "",
            "`upstream_password_env` of user \"sep\"",
        ),
        (own(""), &shared, "`password_env`) of [upstreams.cluster]"),
    ] {
        for pooling in ["", "pooling.pool_mode = 'transaction'"] {
            let builder = held(postgres, &keys).env("WRONG", "wrong");
            let proxy = builder.toml(upstream).toml(pooling).start().await;
            let error = log_in(&proxy, "sep", "").await.unwrap_err();
            assert_eq!(
                (&*error[&'C'], &*error[&'S']),
                ("28000", "FATAL"),
                "{error:?}"
            );
            let said = format!("password authentication failed for user \"{app}\"");
            assert!(error[&'M'].starts_with("pgsluice: "), "{error:?}");
            assert!(error[&'M'].ends_with(&said), "{error:?}");
            assert!(error[&'H'].contains(hint), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_held_role_that_the_server_does_not_know_is_named() {
    let postgres = Postgres::builder()
        .hba("hostssl all all all trust")
        .start()
        .await;
    let builder = held(&postgres, &becomes("ufo", "secret"));
    let builder = builder.toml("upstreams.cluster.require_auth = 'none'");
    let proxy = builder.start().await;
    let error = log_in(&proxy, "sep", "").await.unwrap_err();
    assert_eq!(error[&'C'], "28000");
    assert!(error[&'H'].contains("`upstream_user`"), "{error:?}");
}

/// The outcome of a held login as `role`, whose password is right.
async fn upstream_login(role: &str, binding: &str) -> Result<(), ErrorFields> {
    let postgres = &Methods::shared().await.postgres;
    let builder = held(postgres, &becomes(role, methods::PASSWORD));
    let builder = builder.toml(&format!(
        "upstreams.cluster.channel_binding = '{binding}'\n\
         upstreams.cluster.require_auth = 'scram-sha-256,md5,password,none'"
    ));
    log_in(&builder.start().await, "sep", "").await
}

#[tokio::test]
async fn the_proxy_logs_in_by_scram_with_binding_and_without() {
    for binding in ["disable", "prefer", "require"] {
        upstream_login(methods::SCRAM, binding).await.unwrap();
    }
}

#[tokio::test]
async fn the_proxy_logs_in_by_md5_and_cleartext_unless_binding_is_required() {
    for role in [methods::MD5, methods::CLEARTEXT, methods::TRUST] {
        for binding in ["disable", "prefer"] {
            upstream_login(role, binding).await.unwrap();
        }
        let error = upstream_login(role, "require").await.unwrap_err();
        assert_eq!(error[&'C'], "28000");
        assert!(
            error[&'M'].contains("channel_binding is \"require\""),
            "{error:?}"
        );
        assert!(
            error[&'H'].contains("channel_binding = \"prefer\""),
            "{error:?}"
        );
    }
}

/// A certificate for `host_name` that is signed by `algorithm`.
fn signed_by(algorithm: &'static SignatureAlgorithm, host_name: &str) -> Identity {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate_for(algorithm).unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let leaf = server_certificate(host_name).unwrap();
    Identity {
        ca: ca.pem(),
        certificate: leaf.signed_by(&key, &issuer).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

/// The outcome of a held login at a server with such a certificate.
async fn login_with_certificate(
    algorithm: &'static SignatureAlgorithm,
) -> [Result<(), ErrorFields>; 2] {
    let postgres = Postgres::builder()
        .identity(signed_by(algorithm, "signed.internal"))
        .host_name("signed.internal")
        .start()
        .await;
    let app = &postgres.app;
    let outcome = async |binding: &str| {
        let builder = held(&postgres, &becomes(app.user, &app.password));
        let builder = builder.toml(&format!("upstreams.cluster.channel_binding = '{binding}'"));
        log_in(&builder.start().await, "sep", "").await
    };
    [outcome("prefer").await, outcome("require").await]
}

#[tokio::test]
async fn the_proxy_binds_to_a_certificate_signed_with_sha384() {
    let [preferred, required] = login_with_certificate(&PKCS_ECDSA_P384_SHA384).await;
    preferred.unwrap();
    required.unwrap();
}

#[tokio::test]
async fn the_proxy_logs_in_without_binding_where_the_certificate_allows_none() {
    let [preferred, required] = login_with_certificate(&PKCS_ED25519).await;
    preferred.unwrap();
    let error = required.unwrap_err();
    assert_eq!(error[&'C'], "28000");
    assert!(error[&'M'].contains("certificate"), "{error:?}");
    assert!(
        error[&'H'].contains("channel_binding = \"prefer\""),
        "{error:?}"
    );
}

/// What a proxy says in its first two messages to a server that offers `mechanisms`.
async fn said_to(server: Identity, mechanisms: &'static [&str]) -> (String, String) {
    let (sender, mut said) = mpsc::unbounded_channel();
    let server = Scripted::with_identity(server, move |connection| {
        let sender = sender.clone();
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(sasl(mechanisms)).await;
            let (_, first) = server.message().await.unwrap();
            let first = String::from_utf8_lossy(&first).into_owned();
            // Any printable character may be in a nonce, but a comma.
            let nonce = first.rsplit(",r=").next().unwrap_or_default().to_owned();
            server
                .send(challenge(&format!("{nonce}more"), "4096"))
                .await;
            let (_, last) = server.message().await.unwrap();
            let last = String::from_utf8_lossy(&last).into_owned();
            sender.send((first, last)).unwrap();
        }
    })
    .await;
    let proxy = in_front_of(&server, "").await;
    log_in(&proxy, "sep", "").await.unwrap_err();
    reported(&mut said).await
}

fn challenge(nonce: &str, iterations: &str) -> Vec<u8> {
    let text = format!("r={nonce},s={},i={iterations}", BASE64.encode([1; 16]));
    authentication(11, text.as_bytes())
}

#[tokio::test]
async fn the_binding_is_the_hash_of_the_certificate_by_its_own_signature() {
    let identity = signed_by(&PKCS_ECDSA_P384_SHA384, "scripted.internal");
    let der = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let hash = Sha384::digest(&der);
    let offered = &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    let (first, last) = said_to(identity, offered).await;
    assert!(first.starts_with("SCRAM-SHA-256-PLUS\0"), "{first:?}");
    assert!(first.contains("p=tls-server-end-point,,n=,r="), "{first:?}");
    let bound = [b"p=tls-server-end-point,,", &hash[..]].concat();
    let expected = format!("c={},", BASE64.encode(bound));
    assert!(last.starts_with(&expected), "{last:?}");
}

#[tokio::test]
async fn without_an_offer_to_bind_the_proxy_says_that_it_cannot() {
    for (algorithm, offered) in [
        (&PKCS_ECDSA_P384_SHA384, &["SCRAM-SHA-256"][..]),
        (&PKCS_ED25519, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]),
    ] {
        let identity = signed_by(algorithm, "scripted.internal");
        let (first, last) = said_to(identity, offered).await;
        assert!(first.starts_with("SCRAM-SHA-256\0"), "{first:?}");
        assert!(first.contains("n,,n=,r="), "{first:?}");
        assert!(last.starts_with("c=biws,"), "{last:?}");
    }
}

/// A server that answers client-first with `answer(nonce)`, and then with `last`.
async fn lying(
    answer: impl Fn(&str) -> Vec<u8> + Clone + Send + Sync + 'static,
    last: &'static [u8],
) -> Scripted {
    Scripted::start(move |connection| {
        let answer = answer.clone();
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(sasl(&["SCRAM-SHA-256"])).await;
            let Some((_, first)) = server.message().await else {
                return;
            };
            let first = String::from_utf8_lossy(&first).into_owned();
            let nonce = first.rsplit(",r=").next().unwrap_or_default();
            server.send(answer(nonce)).await;
            if server.message().await.is_some() {
                server.send(authentication(12, last)).await;
                server.send(welcome(1, b"none")).await;
                server.rest().await;
            }
        }
    })
    .await
}

async fn is_not_trusted(server: &Scripted) {
    let proxy = in_front_of(server, "").await;
    let error = log_in(&proxy, "sep", "").await.unwrap_err();
    assert_eq!(error[&'C'], "28000");
    assert!(error[&'M'].contains("could not be trusted"), "{error:?}");
    assert!(error[&'H'].contains("check that the upstream"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_know_the_password_either_is_not_trusted() {
    for last in [
        &b"v=bm90IHRoZSBzaWduYXR1cmUgYnV0IDMyIGJ5dGVzISE="[..],
        b"v=",
        b"e=other-error",
        b"",
    ] {
        let server = lying(|nonce| challenge(&format!("{nonce}more"), "4096"), last).await;
        is_not_trusted(&server).await;
    }
}

#[tokio::test]
async fn a_server_with_a_nonce_of_its_own_is_not_trusted() {
    is_not_trusted(&lying(|_| challenge("mine", "4096"), b"").await).await;
    is_not_trusted(&lying(|nonce| challenge(nonce, "4096"), b"").await).await;
}

#[tokio::test]
async fn a_server_that_asks_for_too_much_work_is_not_given_it() {
    for iterations in ["2147483648", "4294967296", "100001", "0", "-1", "x"] {
        let answer = move |nonce: &str| challenge(&format!("{nonce}more"), iterations);
        is_not_trusted(&lying(answer, b"").await).await;
    }
}

#[tokio::test]
async fn a_server_with_an_endless_nonce_is_not_trusted() {
    for length in [2000, (1 << 20) - 100] {
        let answer =
            move |nonce: &str| challenge(&format!("{nonce}{}", "x".repeat(length)), "4096");
        is_not_trusted(&lying(answer, b"").await).await;
    }
}

/// A server that says `message` to a startup packet, and then waits.
async fn saying(message: Vec<u8>) -> Scripted {
    Scripted::start(move |connection: Connection| {
        let message = message.clone();
        async move {
            let mut server = connection.secure().await;
            server.packet().await;
            server.send(message).await;
            server.rest().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_asks_for_no_proof_is_no_match_for_required_binding() {
    let server = saying(welcome(1, b"none")).await;
    let proxy = in_front_of(&server, "upstreams.cluster.channel_binding = 'require'").await;
    let error = log_in(&proxy, "sep", "").await.unwrap_err();
    assert_eq!(error[&'C'], "28000");
    assert!(
        error[&'M'].contains("channel_binding is \"require\""),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_without_a_code_reaches_the_client() {
    let server = saying(error(&[('S', "FATAL"), ('M', "no code")])).await;
    let proxy = in_front_of(&server, "").await;
    let error = log_in(&proxy, "sep", "").await.unwrap_err();
    assert_eq!(error[&'M'], "no code");
    // Nor does one in which nothing is well-formed do harm.
    for body in [&b""[..], b"C", b"S\0", b"\0\0\0", &[0xff; 9]] {
        let server = saying(frontend::message(b'E', body)).await;
        let proxy = in_front_of(&server, "").await;
        let mut client = proxy.raw().await;
        client.startup(&[("user", "sep")]).await;
        assert_eq!(tags(&client.read_until_closed().await), "E");
    }
}

#[tokio::test]
async fn a_login_message_that_is_none_ends_in_an_error() {
    let cases = [
        frontend::message(b'R', b""),
        frontend::message(b'R', b"\0\0\0"),
        frontend::message(b'R', b"\0\0\0\x05"),
        authentication(11, b"r=x"),
        authentication(12, b""),
        authentication(99, b""),
        sasl(&[]),
        sasl(&["SCRAM-SHA-1"]),
        authentication(10, b"SCRAM-SHA-256"),
        frontend::message(b'Z', b"I"),
        frontend::message(b'x', b""),
        vec![b'R', 0, 0, 0, 3],
        vec![b'R', 0xff, 0xff, 0xff, 0xff],
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ];
    for message in cases {
        let server = saying(message.clone()).await;
        let proxy = in_front_of(&server, "").await;
        let error = log_in(&proxy, "sep", "").await.unwrap_err();
        assert_eq!(error[&'S'], "FATAL", "{message:?}");
        assert!(
            ["28000", "57P03"].contains(&&error[&'C'][..]),
            "{message:?} {error:?}"
        );
        assert!(error[&'M'].starts_with("pgsluice: "), "{message:?}");
    }
}

/// Goal: a server cannot make the proxy keep what it sends.
/// Method: ten logins at once at a server that answers each with 10 MB.
#[tokio::test]
async fn a_login_message_of_ten_megabytes_is_not_gathered() {
    let server = saying(authentication(10, &vec![b'x'; 10_000_000])).await;
    let proxy = in_front_of(&server, "").await;
    let logins = (0..10).map(|_| log_in(&proxy, "sep", ""));
    for outcome in futures_util::future::join_all(logins).await {
        let error = outcome.unwrap_err();
        assert_eq!(error[&'C'], "57P03");
        assert!(error[&'M'].contains("too long for a login"), "{error:?}");
    }
    let peak = peak_memory(&proxy);
    assert!(peak < 60_000, "{peak} kB");
}

/// The most memory that the proxy ever had, in kB.
fn peak_memory(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Goal: nothing that is held, or presented, is ever written down.
#[tokio::test]
async fn no_password_is_in_the_log() {
    let postgres = Postgres::shared().await;
    let mut keys = proves(postgres, "password");
    write!(
        keys,
        "\n[[users]]\nname = 'other'\npassword = 'canary-1'\nupstream_password = 'canary-2'"
    )
    .unwrap();
    let proxy = held(postgres, &keys)
        .toml("log.level = 'trace'")
        .start()
        .await;
    log_in(&proxy, "sep", CLIENT_PASSWORD).await.unwrap();
    log_in(&proxy, "sep", "canary-3").await.unwrap_err();
    log_in(&proxy, "other", "canary-1").await.unwrap_err();
    proxy
        .wait_for_log(|line| line["user"] == "other" && line["reason"] == "upstream_login")
        .await;
    let log = format!("{:?}", proxy.log());
    for secret in [CLIENT_PASSWORD, &postgres.app.password, "canary-"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
