//! Knowing that there is nothing more to read.

use std::io::{self, Write as _};

use rustls::ServerConnection;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::{ReadAhead, Socket};
use crate::tls::MaybeTls;

/// A leg to a server, the server's own socket, and its side of TLS.
async fn leg() -> (MaybeTls, TcpStream, ServerConnection) {
    let scene = Scene::new();
    let acceptor = TlsAcceptor::from(Arc::new(server_config(&scene.good_server())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        socket.write_all(b"S").await.unwrap();
        acceptor.accept(socket).await.unwrap().into_inner()
    };
    let connecting = async {
        let socket = Socket::Tcp(TcpStream::connect(address).await.unwrap());
        let connector = Connector::new(&scene.settings).unwrap();
        connector.secure(ReadAhead::new(socket)).await.unwrap()
    };
    let ((socket, session), stream) = tokio::join!(serving, connecting);
    (MaybeTls::connected(stream), socket, session)
}

fn record(session: &mut ServerConnection, bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    session.writer().write_all(bytes).unwrap();
    while session.wants_write() {
        session.write_tls(&mut sealed).unwrap();
    }
    sealed
}

#[tokio::test]
async fn a_leg_is_drained_when_every_record_has_been_given_out() {
    let (mut stream, mut socket, mut session) = leg().await;
    let mut sealed = record(&mut session, b"one");
    sealed.extend(record(&mut session, b"two"));
    socket.write_all(&sealed).await.unwrap();
    let mut few = [0; 4];
    stream.read_exact(&mut few).await.unwrap();
    assert_eq!(&few, b"onet");
    assert!(!stream.is_drained(), "the rest of a record is left");
    let n = stream.read(&mut few).await.unwrap();
    assert_eq!(&few[..n], b"wo");
    assert!(stream.is_drained());

    // Half a record is nothing to read yet.
    let sealed = record(&mut session, b"three");
    let (half, rest) = sealed.split_at(9);
    socket.write_all(half).await.unwrap();
    let mut more = [0; 8];
    let reading = tokio::spawn(async move {
        let n = stream.read(&mut more).await.unwrap();
        (more[..n].to_vec(), stream.is_drained())
    });
    tokio::task::yield_now().await;
    socket.write_all(rest).await.unwrap();
    assert_eq!(reading.await.unwrap(), (b"three".to_vec(), true));
}

#[tokio::test]
async fn what_is_wrong_behind_good_bytes_is_told_after_them_and_not_kept() {
    let (mut stream, mut socket, mut session) = leg().await;
    // As much as the engine asks for at once, so that it sees the next record later.
    let mut sealed = record(&mut session, &[b'x'; 4096 - 22]);
    assert_eq!(sealed.len(), 4096);
    // A record that nobody sealed.
    sealed.extend_from_slice(&[23, 3, 3, 0, 32]);
    sealed.extend_from_slice(&[0; 32]);
    socket.write_all(&sealed).await.unwrap();
    let mut bytes = [0; 8192];
    let mut good = 0;
    let error = loop {
        match stream.read(&mut bytes).await {
            Ok(n) => good += n,
            Err(error) => break error,
        }
        assert!(!stream.is_drained(), "the socket will say nothing more");
    };
    assert_eq!(good, 4096 - 22);
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}
