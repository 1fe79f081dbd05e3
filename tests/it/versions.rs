//! Protocol versions 3.0 to 3.2, and those that do not exist: what the client is
//! told, and what it gets.

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::servers;
use crate::support::frontend::{self, PROTOCOL_3_0, PROTOCOL_3_2};
use crate::support::postgres::DATABASE;
use crate::support::raw_client::{Gs2, Session};
use crate::support::scripted::{Scripted, reported, sasl, welcome};
use crate::support::{Postgres, Proxy, RawClient};

const PROTOCOL_3_1: u32 = (3 << 16) | 1;
pub(crate) const PROTOCOL_3_3: u32 = (3 << 16) | 3;
/// What libpq asks for when it tests servers.
pub(crate) const GREASE: u32 = (3 << 16) | 9999;
pub(crate) const GREASE_OPTION: &str = "_pq_.test_protocol_negotiation";

/// What a client learned about the version, and the session it got.
pub(crate) struct Negotiated {
    /// The version and the options not known, if it was told any.
    pub(crate) told: Option<(u32, Vec<String>)>,
    pub(crate) session: Session,
    #[allow(dead_code, reason = "its session lasts as long as it does")]
    pub(crate) client: RawClient<TcpStream>,
}

impl Negotiated {
    pub(crate) fn key_length(&self) -> usize {
        self.session.secret.len()
    }
}

pub(crate) async fn passthrough(postgres: &Postgres) -> Proxy {
    Proxy::new(postgres).start().await
}

pub(crate) async fn held(postgres: &Postgres) -> Proxy {
    let (user, password) = (postgres.app.user, &postgres.app.password);
    let toml = format!("auth.mode = 'held'\n[[users]]\nname = '{user}'\npassword = '{password}'");
    Proxy::new(postgres).toml(&toml).start().await
}

/// Logs in with `version` and `options`, and proves that the session works.
pub(crate) async fn negotiate(
    proxy: &Proxy,
    postgres: &Postgres,
    version: u32,
    options: &[&str],
) -> Negotiated {
    let mut client = proxy.raw().await;
    let mut parameters = vec![("user", postgres.app.user), ("database", DATABASE)];
    parameters.extend(options.iter().map(|name| (*name, "")));
    client.send(frontend::startup(version, &parameters)).await;
    let (tag, body) = client.peek().await;
    let told = (tag == b'v').then(|| read_negotiation(&body));
    let outcome = client
        .finish_login(&postgres.app.password, &Gs2::Unsupported)
        .await;
    let session = outcome.unwrap();
    assert_eq!(client.rows("select 1").await, [[Some("1".to_owned())]]);
    Negotiated {
        told,
        session,
        client,
    }
}

/// The whole body of NegotiateProtocolVersion.
fn read_negotiation(body: &[u8]) -> (u32, Vec<String>) {
    let (version, rest) = body.split_first_chunk::<4>().unwrap();
    let (count, rest) = rest.split_first_chunk::<4>().unwrap();
    let names = rest.split_inclusive(|byte| *byte == 0);
    let names: Vec<String> = names
        .map(|name| String::from_utf8(name[..name.len() - 1].to_vec()).unwrap())
        .collect();
    assert_eq!(names.len(), u32::from_be_bytes(*count) as usize);
    (u32::from_be_bytes(*version), names)
}

/// Both modes: what a client of `version` is told, and how long its key is.
pub(crate) async fn outcomes(
    postgres: &Postgres,
    version: u32,
    options: &[&str],
) -> [(Option<(u32, Vec<String>)>, usize); 2] {
    let relayed = negotiate(&passthrough(postgres).await, postgres, version, options).await;
    let own = negotiate(&held(postgres).await, postgres, version, options).await;
    [relayed, own].map(|negotiated| (negotiated.told.clone(), negotiated.key_length()))
}

#[tokio::test]
async fn a_client_of_version_3_0_is_told_nothing_and_has_a_key_of_4_bytes() {
    for postgres in servers().await {
        let outcomes = outcomes(postgres, PROTOCOL_3_0, &[]).await;
        assert_eq!(outcomes, [(None, 4), (None, 4)]);
    }
}

#[tokio::test]
async fn every_option_that_is_not_known_is_named_whatever_the_version() {
    let names = ["_pq_.b", "_pq_.a", "_pq_.b"];
    for postgres in servers().await {
        for (told, _) in outcomes(postgres, PROTOCOL_3_0, &names).await {
            let (version, unknown) = told.unwrap();
            assert_eq!(version, PROTOCOL_3_0);
            assert_eq!(unknown, names);
        }
    }
}

/// 3.1 does not exist: an old PgBouncer once claimed it.
#[tokio::test]
async fn version_3_1_is_never_offered() {
    for postgres in servers().await {
        for version in [PROTOCOL_3_2, PROTOCOL_3_3, GREASE] {
            for (told, _) in outcomes(postgres, version, &[]).await {
                assert!(told.is_none_or(|(version, _)| version != PROTOCOL_3_1));
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_is_to_be_told_the_version_hears_it_before_anything_else() {
    // A server that says nothing about the version: the proxy has to.
    let server = Scripted::start(async |connection| {
        let mut server = connection.secure().await;
        server.packet().await;
        server.send(sasl(&["SCRAM-SHA-256"])).await;
        server.rest().await;
    })
    .await;
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).toml(&server.toml()).start().await;
    let mut client = proxy.raw().await;
    client
        .send(frontend::startup(PROTOCOL_3_3, &[("user", "anybody")]))
        .await;
    let (tag, body) = client.read_message().await;
    assert_eq!(tag, b'v');
    assert_eq!(read_negotiation(&body), (PROTOCOL_3_2, vec![]));
    assert_eq!(client.read_message().await.0, b'R');
}

/// Goal: what the server is asked for is what the client asked for, as far as the
/// proxy understands it.
#[tokio::test]
async fn a_server_is_never_asked_for_more_than_the_proxy_understands() {
    let (sender, mut packets) = mpsc::unbounded_channel();
    let server = Scripted::start(move |connection| {
        let sender = sender.clone();
        async move {
            let mut server = connection.secure().await;
            let packet = server.packet().await.unwrap();
            sender.send(packet).unwrap();
            server.send(welcome(1, b"none")).await;
            server.rest().await;
        }
    })
    .await;
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).toml(&server.toml()).start().await;
    for (asked, forwarded) in [
        (PROTOCOL_3_0, PROTOCOL_3_0),
        (PROTOCOL_3_2, PROTOCOL_3_2),
        (PROTOCOL_3_3, PROTOCOL_3_2),
        (GREASE, PROTOCOL_3_2),
    ] {
        let mut client = proxy.raw().await;
        let parameters = [("user", "anybody"), (GREASE_OPTION, "")];
        client.send(frontend::startup(asked, &parameters)).await;
        client.read_until_ready().await;
        let packet = reported(&mut packets).await;
        assert_eq!(packet, frontend::startup(forwarded, &parameters));
    }
}
