//! Protocol versions 3.0 to 3.2, and those that do not exist: what the client is
//! told, and what it gets.

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::support::frontend::{self, PROTOCOL_3_0, PROTOCOL_3_2};
use super::support::postgres::{DATABASE, wait_until_active};
use super::support::raw_client::{Gs2, Session, first_error, tags};
use super::support::scripted::{Scripted, reported, sasl, welcome};
use super::support::version::{postgres_15, postgres_18};
use super::support::{Postgres, Proxy, RawClient};

const PROTOCOL_3_1: u32 = (3 << 16) | 1;
const PROTOCOL_3_3: u32 = (3 << 16) | 3;
/// What libpq asks for when it tests servers.
const GREASE: u32 = (3 << 16) | 9999;
const GREASE_OPTION: &str = "_pq_.test_protocol_negotiation";

/// What a client learned about the version, and the session it got.
struct Negotiated {
    /// The version and the options not known, if it was told any.
    told: Option<(u32, Vec<String>)>,
    session: Session,
    client: RawClient<TcpStream>,
}

impl Negotiated {
    fn key_length(&self) -> usize {
        self.session.secret.len()
    }
}

async fn passthrough(postgres: &Postgres) -> Proxy {
    Proxy::new(postgres).start().await
}

async fn held(postgres: &Postgres) -> Proxy {
    let (user, password) = (postgres.app.user, &postgres.app.password);
    let toml = format!("auth.mode = 'held'\n[[users]]\nname = '{user}'\npassword = '{password}'");
    Proxy::new(postgres).toml(&toml).start().await
}

/// Logs in with `version` and `options`, and proves that the session works.
async fn negotiate(
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
async fn outcomes(
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
    for postgres in [postgres_15().await, postgres_18().await] {
        let outcomes = outcomes(postgres, PROTOCOL_3_0, &[]).await;
        assert_eq!(outcomes, [(None, 4), (None, 4)]);
    }
}

#[tokio::test]
async fn a_client_of_version_3_2_gets_the_long_key_of_a_server_that_has_one() {
    let outcomes = outcomes(postgres_18().await, PROTOCOL_3_2, &[]).await;
    assert_eq!(outcomes, [(None, 32), (None, 32)]);
}

#[tokio::test]
async fn a_client_of_version_3_2_is_told_by_an_older_server_that_it_speaks_3_0() {
    let postgres = postgres_15().await;
    let relayed = negotiate(&passthrough(postgres).await, postgres, PROTOCOL_3_2, &[]).await;
    assert_eq!(relayed.told, Some((PROTOCOL_3_0, vec![])));
    assert_eq!(relayed.key_length(), 4);
}

/// With the proxy it speaks 3.2, whatever the server behind it speaks; a key of
/// four bytes is within 3.2.
#[tokio::test]
async fn a_client_of_version_3_2_in_held_mode_speaks_it_with_the_proxy() {
    let postgres = postgres_15().await;
    let own = negotiate(&held(postgres).await, postgres, PROTOCOL_3_2, &[]).await;
    assert_eq!(own.told, None);
    assert_eq!(own.key_length(), 4);
}

#[tokio::test]
async fn a_greased_client_is_told_the_version_and_the_option() {
    let unknown = vec![GREASE_OPTION.to_owned()];
    let old = outcomes(postgres_15().await, GREASE, &[GREASE_OPTION]).await;
    assert_eq!(old[0], (Some((PROTOCOL_3_0, unknown.clone())), 4));
    assert_eq!(old[1], (Some((PROTOCOL_3_2, unknown.clone())), 4));
    let new = outcomes(postgres_18().await, GREASE, &[GREASE_OPTION]).await;
    assert_eq!(new[0], (Some((PROTOCOL_3_2, unknown.clone())), 32));
    assert_eq!(new[1], (Some((PROTOCOL_3_2, unknown)), 32));
}

#[tokio::test]
async fn every_option_that_is_not_known_is_named_whatever_the_version() {
    let names = ["_pq_.b", "_pq_.a", "_pq_.b"];
    for postgres in [postgres_15().await, postgres_18().await] {
        for (told, _) in outcomes(postgres, PROTOCOL_3_0, &names).await {
            let (version, unknown) = told.unwrap();
            assert_eq!(version, PROTOCOL_3_0);
            assert_eq!(unknown, names);
        }
    }
}

#[tokio::test]
async fn a_client_of_a_version_to_come_is_told_the_newest_there_is() {
    let outcomes = outcomes(postgres_18().await, PROTOCOL_3_3, &[]).await;
    let expected = (Some((PROTOCOL_3_2, vec![])), 32);
    assert_eq!(outcomes, [expected.clone(), expected]);
    let postgres = postgres_15().await;
    let relayed = negotiate(&passthrough(postgres).await, postgres, PROTOCOL_3_3, &[]).await;
    assert_eq!(relayed.told, Some((PROTOCOL_3_0, vec![])));
}

/// 3.1 does not exist: an old PgBouncer once claimed it.
#[tokio::test]
async fn version_3_1_is_never_offered() {
    for postgres in [postgres_15().await, postgres_18().await] {
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

#[tokio::test]
async fn other_major_versions_are_refused_as_postgres_does() {
    let postgres = postgres_18().await;
    let proxy = passthrough(postgres).await;
    // To version 2 Postgres answers in the words of version 2, which nobody speaks.
    for version in [0, 4 << 16, 0xffff_ffff, 1234 << 16] {
        let packet = frontend::startup(version, &[("user", postgres.app.user)]);
        let mut direct = postgres.raw_tls().await;
        direct.send(&packet).await;
        let expected = first_error(&direct.read_until_closed().await);
        let mut client = proxy.raw().await;
        client.send(&packet).await;
        let messages = client.read_until_closed().await;
        assert_eq!(tags(&messages), "E");
        let error = first_error(&messages);
        assert_eq!(error[&'C'], expected[&'C']);
        assert_eq!(error[&'M'], format!("pgsluice: {}", expected[&'M']));
    }
}

#[tokio::test]
async fn a_session_of_version_3_2_is_cancelled_by_its_long_key() {
    let postgres = postgres_18().await;
    for proxy in [passthrough(postgres).await, held(postgres).await] {
        let mut negotiated = negotiate(&proxy, postgres, PROTOCOL_3_2, &[]).await;
        let superuser = postgres.superuser("postgres").await;
        let process_id = i32::try_from(negotiated.session.process_id).unwrap();
        negotiated
            .client
            .send(frontend::query("select pg_sleep(60)"))
            .await;
        wait_until_active(&superuser, process_id).await;
        let mut canceller = proxy.raw().await;
        canceller.send(negotiated.session.cancel_request()).await;
        assert_eq!(canceller.read_until_closed().await, []);
        let error = first_error(&negotiated.client.read_until_ready().await);
        assert_eq!(error[&'C'], "57014");
    }
}
