//! Each way in which a session does not come about is told apart from the others; and one
//! that does is used.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::config::{self, Sources};

const STEP: Duration = Duration::from_secs(20);

/// A server that says `first` to the first packet, and `then` to each message behind it.
fn serve(
    listener: TcpListener,
    first: &'static [u8],
    then: &'static [&'static [u8]],
) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut heard = packet(&mut socket).await;
        socket.write_all(first).await.unwrap();
        for answer in then {
            let tag = socket.read_u8().await.unwrap();
            heard.push(tag);
            heard.extend(packet(&mut socket).await);
            socket.write_all(answer).await.unwrap();
        }
        let _ = socket.read_to_end(&mut heard).await;
        heard
    })
}

async fn packet(socket: &mut TcpStream) -> Vec<u8> {
    let length = socket.read_u32().await.unwrap();
    let mut body = vec![0; usize::try_from(length).unwrap() - 4];
    socket.read_exact(&mut body).await.unwrap();
    body
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn target(address: SocketAddr, extra: &str) -> Result<Target, ConnectError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let text = format!(
        "upstream = \"old\"\n[upstreams.old]\nhost = \"127.0.0.1\"\nport = {}\n\
         connect_timeout = \"10s\"\n{extra}",
        address.port()
    );
    std::fs::write(&file, text).unwrap();
    let loaded = config::load(&Sources {
        file: Some(file),
        ..Sources::default()
    });
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems:?}"));
    Target::new(&loaded.config.upstreams["old"], None, "test")
}

const PLAIN: &str = "sslmode = \"disable\"\nuser = \"app\"\nrequire_auth = \"none\"";
/// AuthenticationOk, a setting, a key, ReadyForQuery.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x16server_version\x0015\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x08Z\0\0\0\x05I";

#[tokio::test]
async fn a_session_is_logged_in_and_answers() {
    let (listener, address) = listener().await;
    const ANSWER: &[u8] = b"C\0\0\0\x08SET\0Z\0\0\0\x05I";
    let server = serve(listener, WELCOME, &[ANSWER]);
    let target = target(address, PLAIN).unwrap();
    assert_eq!((target.user(), target.database()), ("app", "app"));
    let session = target.connect().await.unwrap();
    assert_eq!(session.key().map(CancelKey::pid), Some(7));
    assert!(session.tls().is_none());
    session.batch_execute("set x = 1").await.unwrap();
    drop(session);
    let heard = tokio::time::timeout(STEP, server).await.unwrap().unwrap();
    // One startup message, ours; then the statement, then Terminate.
    let heard = String::from_utf8_lossy(&heard);
    assert_eq!(heard.matches("user\0app\0").count(), 1, "{heard}");
    assert!(heard.contains("application_name\0test\0"), "{heard}");
    assert!(heard.ends_with("Qset x = 1\0X\0\0\0\x04"), "{heard}");
}

#[tokio::test]
async fn nobody_there_is_told_as_a_failure_to_connect() {
    let (listener, address) = listener().await;
    drop(listener);
    let error = target(address, PLAIN).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
    assert!(error.hint().unwrap().contains("port"), "{error}");
    assert!(!error.is_configuration());
}

#[tokio::test]
async fn a_server_without_tls_is_told_as_a_failure_of_tls() {
    let (listener, address) = listener().await;
    serve(listener, b"N", &[]);
    let tls = "sslmode = \"require\"\nuser = \"app\"\npassword = \"x\"";
    let error = target(address, tls).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
    assert!(error.hint().is_some() && error.refusal().is_none());
}

#[tokio::test]
async fn a_refused_login_is_told_with_what_the_server_said() {
    let (listener, address) = listener().await;
    serve(listener, b"E\0\0\0\x1aSFATAL\0C28P01\0Mwrong\0\0", &[]);
    let error = target(address, PLAIN).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Login { .. }), "{error:?}");
    let said = ("28P01".to_owned(), "wrong".to_owned());
    assert_eq!(error.refusal(), Some(said));
    assert!(error.to_string().contains("upstream \"old\""), "{error}");
}

#[tokio::test]
async fn an_upstream_without_a_user_is_a_matter_of_configuration() {
    let (_listener, address) = listener().await;
    let error = target(address, "sslmode = \"disable\"").unwrap_err();
    assert!(error.is_configuration(), "{error:?}");
    assert!(error.hint().unwrap().contains("[upstreams.old]"), "{error}");
}

#[tokio::test]
async fn a_cancel_goes_the_way_of_every_connection() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        packet(&mut socket).await
    });
    let target = target(address, PLAIN).unwrap();
    let key = CancelKey::with_secret(7, vec![0, 0, 0, 8].into());
    target.cancel(&key).await.unwrap();
    let heard = tokio::time::timeout(STEP, server).await.unwrap().unwrap();
    assert_eq!(heard[4..], [0, 0, 0, 7, 0, 0, 0, 8]);
    assert_eq!(target.upstream().config().name, "old");
}
