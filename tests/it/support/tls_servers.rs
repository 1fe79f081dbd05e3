//! Scripted upstream servers: each does one thing to whoever connects.
//!
//! Not Postgres. They listen on a free port of 127.0.0.1, serve any number of
//! connections, keep what they were sent in plaintext, and stop when dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::certs::Identity;

/// Length 8, code 80877103.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What a server does.
#[derive(Clone)]
pub(crate) enum Script {
    /// Reads SSLRequest, answers with these bytes in one write, stays open.
    Answer(Vec<u8>),
    /// Reads SSLRequest and resets the connection.
    Reset,
    /// Reads SSLRequest and closes in good order.
    Close,
    /// Answers `S` and closes in good order.
    CloseAfterS,
    /// Answers `S`, reads the ClientHello and resets the connection.
    ResetInHandshake,
    /// Answers anything as a web server would.
    Http,
    /// Answers `S`, shakes hands, then sends back what it is sent.
    Tls(Arc<ServerConfig>),
    /// The same without waiting for SSLRequest.
    DirectTls(Arc<ServerConfig>),
    /// Answers `S` and passes the rest on to another server.
    Forward(SocketAddr),
}

impl Script {
    pub(crate) fn answer_n() -> Self {
        Self::Answer(b"N".to_vec())
    }

    /// `E` and what looks like the body of an ErrorResponse.
    pub(crate) fn answer_e(message: &str) -> Self {
        let fields = format!("SFATAL\0VFATAL\0CXX000\0M{message}\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap();
        let mut bytes = vec![b'E'];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(fields.as_bytes());
        Self::Answer(bytes)
    }

    /// `S` with plaintext right behind it.
    pub(crate) fn stuffed(plaintext: &[u8]) -> Self {
        Self::Answer([b"S", plaintext].concat())
    }
}

/// A running [`Script`].
pub(crate) struct ScriptedServer {
    pub(crate) address: SocketAddr,
    plaintext: Arc<Mutex<Vec<u8>>>,
    accepting: JoinHandle<()>,
}

impl ScriptedServer {
    /// Every byte received outside of TLS, all connections together.
    pub(crate) fn plaintext_received(&self) -> Vec<u8> {
        self.plaintext.lock().unwrap().clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(crate) async fn serve(script: Script) -> ScriptedServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plaintext = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&plaintext);
    let accepting = tokio::spawn(async move {
        // Aborts the connections with itself.
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            connections.spawn(play(script.clone(), socket, Arc::clone(&seen)));
        }
    });
    ScriptedServer {
        address,
        plaintext,
        accepting,
    }
}

/// A TLS server with this certificate and rustls' defaults, ALPN `postgresql`.
pub(crate) fn server_config(identity: &Identity) -> ServerConfig {
    let versions = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth();
    finish(builder, identity)
}

/// The same, speaking one version only.
pub(crate) fn server_config_of(
    identity: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth();
    finish(builder, identity)
}

/// The same, demanding a client certificate that chains to `ca`.
pub(crate) fn server_config_demanding(
    identity: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
    ca: &super::certs::Authority,
) -> ServerConfig {
    let mut anchors = rustls::RootCertStore::empty();
    anchors.add(ca.der()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider())
            .build()
            .unwrap();
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier);
    finish(builder, identity)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn finish(
    builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    identity: &Identity,
) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key_der()));
    let mut config = builder.with_single_cert(identity.chain_der(), key).unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    config
}

/// Errors are the other side's business: it is the one under test.
async fn play(script: Script, socket: TcpStream, seen: Arc<Mutex<Vec<u8>>>) {
    drop(act(script, socket, &seen).await);
}

async fn act(script: Script, mut socket: TcpStream, seen: &Mutex<Vec<u8>>) -> io::Result<()> {
    match script {
        Script::Http => {
            let mut request = [0; 1024];
            let length = socket.read(&mut request).await?;
            seen.lock().unwrap().extend_from_slice(&request[..length]);
            socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                .await?;
            return socket.shutdown().await;
        }
        Script::DirectTls(config) => return echo_over_tls(config, socket).await,
        _ => {}
    }
    let mut request = [0; SSL_REQUEST.len()];
    socket.read_exact(&mut request).await?;
    seen.lock().unwrap().extend_from_slice(&request);
    match script {
        Script::Answer(bytes) => {
            socket.write_all(&bytes).await?;
            keep_reading(&mut socket, seen).await
        }
        Script::Reset => reset(&socket),
        Script::Close => socket.shutdown().await,
        Script::CloseAfterS => {
            socket.write_all(b"S").await?;
            socket.shutdown().await?;
            keep_reading(&mut socket, &Mutex::default()).await
        }
        Script::ResetInHandshake => {
            socket.write_all(b"S").await?;
            let mut hello = [0; 5];
            socket.read_exact(&mut hello).await?;
            reset(&socket)
        }
        Script::Tls(config) => {
            socket.write_all(b"S").await?;
            echo_over_tls(config, socket).await
        }
        Script::Forward(address) => {
            let mut other = TcpStream::connect(address).await?;
            socket.write_all(b"S").await?;
            copy_bidirectional(&mut socket, &mut other)
                .await
                .map(|_| ())
        }
        Script::Http | Script::DirectTls(_) => Ok(()),
    }
}

async fn keep_reading(socket: &mut TcpStream, seen: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut chunk = [0; 1024];
    loop {
        let length = socket.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        seen.lock().unwrap().extend_from_slice(&chunk[..length]);
    }
}

/// The socket is dropped by the caller, and says RST for want of a linger.
fn reset(socket: &TcpStream) -> io::Result<()> {
    socket.set_zero_linger()
}

async fn echo_over_tls<S>(config: Arc<ServerConfig>, socket: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsAcceptor::from(config).accept(socket).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
