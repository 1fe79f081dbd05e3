//! An upstream that a test plays itself, in plaintext on loopback: for servers
//! that die at a chosen byte, and for more of them than a real one would bear.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::frontend::message;
use crate::support::proxy::ProxyBuilder;
use crate::support::{Postgres, Proxy, RawClient};

/// A listening upstream.
#[derive(Debug)]
pub(crate) struct Scripted(TcpListener);

impl Scripted {
    pub(crate) async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// A proxy whose sessions come here.
    pub(crate) async fn proxy(&self) -> ProxyBuilder {
        proxy_to(self.address()).await
    }

    /// For a test that accepts by itself.
    pub(crate) fn into_listener(self) -> TcpListener {
        self.0
    }

    /// The next connection, logged in.
    pub(crate) async fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        log_in(stream).await
    }

    /// A client's session through `proxy`, and its upstream's end.
    pub(crate) async fn session(&self, proxy: &Proxy) -> (RawClient<TcpStream>, TcpStream) {
        tokio::join!(proxy.raw_session("script"), self.accept())
    }
}

/// A proxy to a plaintext upstream at `address`, which need not exist.
pub(crate) async fn proxy_to(address: SocketAddr) -> ProxyBuilder {
    Proxy::new(Postgres::shared().await).toml(&format!(
        "upstream = \"scripted\"\n[upstreams.scripted]\nhost = \"{}\"\nport = {}\nsslmode = \"disable\"\n\
         require_auth = \"none,scram-sha-256,md5,password\"",
        address.ip(),
        address.port(),
    ))
}

/// Lets a client in without a question.
async fn log_in(mut stream: TcpStream) -> TcpStream {
    let length = stream.read_u32().await.unwrap();
    let mut startup = vec![0; length as usize - 4];
    stream.read_exact(&mut startup).await.unwrap();
    let greeting = [
        message(b'R', &[0; 4]),
        message(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]),
        message(b'Z', b"I"),
    ];
    stream.write_all(&greeting.concat()).await.unwrap();
    stream
}

/// Reads one message of the client.
pub(crate) async fn read_message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let tag = stream.read_u8().await.unwrap();
    let length = stream.read_u32().await.unwrap();
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    (tag, body)
}

/// Closes so that the other side sees a reset.
pub(crate) fn reset(stream: TcpStream) {
    let stream = socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .map(|()| stream);
    drop(stream.unwrap());
}
