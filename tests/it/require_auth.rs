//! What a server may ask for at a login, of the proxy and of a client that it relays:
//! a server that asks for more is left before anything is sent.

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::support::methods::{self, Methods};
use super::support::postgres::DATABASE;
use super::support::raw_client::{ErrorFields, Gs2, first_error};
use super::support::scripted::{Scripted, Server, authentication, error, reported, sasl, welcome};
use super::support::{Postgres, Proxy, frontend};

const PASSWORD: &str = "not for strangers";

/// What a server asks for, by the name of the user who logs in.
const DEMANDS: [&str; 4] = ["none", "password", "md5", "scram-sha-256"];

/// A demand, and what the server was answered, if it was.
type Heard = (String, Option<Vec<u8>>);

/// The user's name in a startup packet.
fn user(packet: &[u8]) -> String {
    let mut texts = packet[8..].split(|byte| *byte == 0);
    texts.find(|text| *text == b"user");
    String::from_utf8(texts.next().unwrap().to_vec()).unwrap()
}

async fn ask<S>(mut server: Server<S>, heard: &mpsc::UnboundedSender<Heard>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(packet) = server.packet().await else {
        return;
    };
    let demand = user(&packet);
    let request = match &demand[..] {
        "password" => authentication(3, &[]),
        "md5" => authentication(5, b"salt"),
        "scram-sha-256" => sasl(&["SCRAM-SHA-256"]),
        "bearer" => sasl(&["OAUTHBEARER"]),
        _ => Vec::new(),
    };
    server.send(request).await;
    let answer = match &demand[..] {
        "none" => None,
        _ => server.message().await.map(|(_, body)| body),
    };
    let is_done = ["none", "password", "md5"].contains(&&demand[..]);
    let reply = match (&answer, is_done) {
        (None, _) if demand != "none" => Vec::new(),
        (_, true) => welcome(1, b"none"),
        (_, false) => error(&[('S', "FATAL"), ('C', "58000"), ('M', "as far as this goes")]),
    };
    heard.send((demand, answer)).unwrap();
    server.send(reply).await;
    server.rest().await;
}

/// A server that asks for what the user's name says, with TLS or without.
async fn asking(tls: bool) -> (Scripted, mpsc::UnboundedReceiver<Heard>) {
    let (sender, heard) = mpsc::unbounded_channel();
    let server = Scripted::start(move |connection| {
        let sender = sender.clone();
        async move {
            match tls {
                true => ask(connection.secure().await, &sender).await,
                false => ask(connection.plain(), &sender).await,
            }
        }
    });
    (server.await, heard)
}

/// The proxy's only upstream is `server`, reached with `sslmode`.
fn upstream(server: &Scripted, sslmode: &str, require_auth: Option<&str>) -> String {
    let verifies = sslmode.starts_with("verify");
    let keys = server.toml();
    let keys = keys.replace("[upstreams.cluster]", "[upstreams.asking]");
    let keys = keys
        .lines()
        .filter(|line| !line.starts_with("require_auth"))
        .filter(|line| verifies || !line.starts_with("sslrootcert"));
    let mut text = String::from("upstream = 'asking'\n");
    text.extend(keys.map(|line| format!("{line}\n")));
    text += &format!("host = '127.0.0.1'\nsslmode = '{sslmode}'\n");
    if let Some(list) = require_auth {
        text += &format!("require_auth = '{list}'\n");
    }
    text
}

/// Every demand is a user whom the proxy lets in, and logs in by `password`.
fn held(password: &str) -> String {
    let user = |name: &&str| {
        format!("[[users]]\nname = '{name}'\nauth = 'trust'\nupstream_password = '{password}'\n")
    };
    let users: String = DEMANDS.iter().map(user).collect();
    format!("[auth]\nmode = 'held'\n{users}")
}

/// What an answer to a demand has to look like.
fn is_answer(demand: &str, answer: Option<&[u8]>) -> bool {
    let starts = |prefix: &str| answer.is_some_and(|answer| answer.starts_with(prefix.as_bytes()));
    match demand {
        "none" => answer.is_none(),
        "password" => answer == Some(format!("{PASSWORD}\0").as_bytes()),
        "md5" => starts("md5"),
        _ => starts("SCRAM-SHA-256\0"),
    }
}

/// What the server was answered. Beside logins it hears of the proxy's probes, which look
/// whether it is there, and answer nothing.
async fn answer_to(
    demand: &str,
    is_awaited: bool,
    heard: &mut mpsc::UnboundedReceiver<Heard>,
) -> Option<Vec<u8>> {
    loop {
        let (of, answer) = reported(heard).await;
        assert!(of == demand || answer.is_none(), "{of} was answered");
        if of == demand && (answer.is_some() || !is_awaited) {
            return answer;
        }
    }
}

fn assert_names_require_auth(told: &ErrorFields, scene: &str) {
    assert_eq!(told[&'C'], "28000", "{scene}");
    assert!(
        told[&'M'].contains("require_auth allows"),
        "{scene}: {told:?}"
    );
    assert!(told[&'H'].contains("require_auth"), "{scene}: {told:?}");
}

/// One row of the table: each demand, in one mode, is answered or refused as `allowed` says.
async fn row(sslmode: &str, mode: &str, list: Option<&str>, allowed: &[&str]) {
    let (server, mut heard) = asking(sslmode != "disable").await;
    let mut text = upstream(&server, sslmode, list);
    if mode == "held" {
        text += &held(PASSWORD);
    }
    let proxy = Proxy::new(Postgres::shared().await).toml(&text);
    let proxy = proxy.start().await;
    for demand in DEMANDS {
        let scene = format!("{sslmode} {mode} {list:?} {demand}");
        let mut client = proxy.raw().await;
        client.startup(&[("user", demand)]).await;
        let outcome = client.finish_login(PASSWORD, &Gs2::Unsupported).await;
        let is_allowed = allowed.contains(&demand);
        match (is_allowed, outcome) {
            (true, Ok(_)) => assert_ne!(demand, "scram-sha-256", "{scene}"),
            // As far as the script plays it.
            (true, Err(told)) => assert_eq!(told[&'C'], "58000", "{scene}: {told:?}"),
            (false, Err(told)) => assert_names_require_auth(&told, &scene),
            (false, Ok(_)) => panic!("{scene}: it was let in"),
        }
        let answer = answer_to(demand, is_allowed && demand != "none", &mut heard).await;
        match is_allowed {
            true => assert!(is_answer(demand, answer.as_deref()), "{scene}: {answer:?}"),
            false => assert_eq!(answer, None, "{scene}"),
        }
    }
}

/// By `sslmode`: what the proxy itself answers, and what it relays besides.
const DEFAULTS: [(&str, &[&str], &[&str]); 4] = [
    (
        "verify-full",
        &["scram-sha-256", "md5", "password"],
        &["none"],
    ),
    ("verify-ca", &["scram-sha-256"], &[]),
    ("require", &["scram-sha-256"], &[]),
    ("disable", &["scram-sha-256", "md5"], &["none"]),
];

#[tokio::test]
async fn a_server_gets_what_it_has_proven_to_deserve() {
    let rows = DEFAULTS.map(|(sslmode, held, and_relayed)| async move {
        row(sslmode, "held", None, held).await;
        row(sslmode, "passthrough", None, &[held, and_relayed].concat()).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn what_is_written_holds_for_every_server() {
    let lists: [(&str, &[&str]); 5] = [
        ("scram-sha-256", &["scram-sha-256"]),
        ("md5", &["md5"]),
        ("password,none", &["password", "none"]),
        ("!password", &["scram-sha-256", "md5"]),
        ("!scram-sha-256,!md5", &["password"]),
    ];
    let rows = lists
        .into_iter()
        .enumerate()
        .map(|(nth, (list, allowed))| async move {
            for (other, mode) in ["held", "passthrough"].into_iter().enumerate() {
                // Whichever server it is; each list meets two kinds.
                let (sslmode, ..) = DEFAULTS[(nth + 2 * other) % DEFAULTS.len()];
                row(sslmode, mode, Some(list), allowed).await;
            }
        });
    join_all(rows).await;
}

/// The classic: a held hash, and a server that says that it wants the password in clear.
#[tokio::test]
async fn a_hash_is_never_sent_as_if_it_were_the_password() {
    let md5 = format!("md5{}", "0123456789abcdef".repeat(2));
    let (server, mut heard) = asking(true).await;
    let everything = Some("none,password,md5,scram-sha-256");
    let text = upstream(&server, "verify-full", everything) + &held(&md5);
    let proxy = Proxy::new(Postgres::shared().await)
        .toml(&text)
        .start()
        .await;
    for demand in ["password", "scram-sha-256", "md5"] {
        let mut client = proxy.raw().await;
        client.startup(&[("user", demand)]).await;
        let outcome = client.finish_login("", &Gs2::Unsupported).await;
        let answer = answer_to(demand, demand == "md5", &mut heard).await;
        if demand == "md5" {
            // Which is all that md5 ever asks for.
            outcome.unwrap();
            assert!(answer.unwrap().starts_with(b"md5"));
            continue;
        }
        let told = outcome.unwrap_err();
        assert!(told[&'M'].contains("is a hash"), "{told:?}");
        assert_eq!(answer, None);
    }
}

/// A token is as good as a password, and is sent as it is.
#[tokio::test]
async fn a_bearer_token_is_relayed_only_where_a_password_would_be() {
    for (sslmode, is_relayed) in [("verify-full", true), ("require", false)] {
        let (server, mut heard) = asking(true).await;
        let text = upstream(&server, sslmode, None);
        let proxy = Proxy::new(Postgres::shared().await)
            .toml(&text)
            .start()
            .await;
        let mut client = proxy.raw().await;
        client.startup(&[("user", "bearer")]).await;
        client.read_message().await;
        let token = frontend::sasl_initial_response("OAUTHBEARER", b"token");
        client.send(token).await;
        let told = first_error(&client.read_until_closed().await);
        if is_relayed {
            assert_eq!(told[&'C'], "58000");
            assert!(reported(&mut heard).await.1.is_some());
        } else {
            assert_names_require_auth(&told, sslmode);
            assert_eq!(reported(&mut heard).await.1, None);
        }
    }
}

/// Real servers, each asking by its `pg_hba.conf`.
#[tokio::test]
async fn an_unverified_server_of_each_kind_is_asked_for_scram() {
    let postgres = &Methods::shared().await.postgres;
    let port = postgres.port();
    let unverified = format!(
        "upstream = 'other'\n[upstreams.other]\nhost = '127.0.0.1'\nport = {port}\nsslmode = 'require'\n"
    );
    let roles = [
        methods::SCRAM,
        methods::MD5,
        methods::CLEARTEXT,
        methods::TRUST,
    ];
    for (list, allowed) in [
        ("", &[methods::SCRAM][..]),
        (
            "require_auth = 'md5,none'\n",
            &[methods::MD5, methods::TRUST],
        ),
    ] {
        let relaying = Proxy::new(postgres).toml(&[&*unverified, list].concat());
        let users = roles.iter().map(|role| {
            format!(
                "[[users]]\nname = '{role}'\nauth = 'trust'\nupstream_password = '{}'\n",
                methods::PASSWORD
            )
        });
        let users: String = users.collect();
        let text = [&*unverified, list, "[auth]\nmode = 'held'\n", &users].concat();
        let holding = Proxy::new(postgres).toml(&text);
        for proxy in [relaying.start().await, holding.start().await] {
            for role in roles {
                let mut client = proxy.raw().await;
                client
                    .startup(&[("user", role), ("database", DATABASE)])
                    .await;
                let outcome = client
                    .finish_login(methods::PASSWORD, &Gs2::Unsupported)
                    .await;
                match outcome {
                    Ok(_) => assert!(allowed.contains(&role), "{role} {list}"),
                    Err(told) => {
                        assert!(!allowed.contains(&role), "{role} {list}: {told:?}");
                        assert_names_require_auth(&told, role);
                    }
                }
            }
        }
    }
}
