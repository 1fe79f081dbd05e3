//! A server that does what a test tells it to, behind a real TLS handshake: for
//! what no Postgres would say or do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::frontend::{message, ssl_request};
use super::postgres::Identity;
use super::raw_client::{Message, take_message};
use super::wait::PATIENCE;

const HOST_NAME: &str = "scripted.internal";

/// A listener that runs its script for each connection; gone when dropped.
#[derive(Debug)]
pub(crate) struct Scripted {
    port: u16,
    files: TempDir,
    accepting: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Scripted {
    /// `script` gets each connection before its first byte. What it finds out it
    /// has to send to the test: a panic of its own is seen by nobody.
    pub(crate) async fn start<F>(script: impl Fn(Connection) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_identity(Identity::generate(HOST_NAME).unwrap(), script).await
    }

    /// As [`Scripted::start`], with a certificate that names `scripted.internal`.
    pub(crate) async fn with_identity<F>(
        identity: Identity,
        script: impl Fn(Connection) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let files = TempDir::new().unwrap();
        std::fs::write(files.path().join("ca.crt"), &identity.ca).unwrap();
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = Connection {
                    stream,
                    acceptor: acceptor.clone(),
                };
                tokio::spawn(script(connection));
            }
        });
        Self {
            port,
            files,
            accepting,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Makes a proxy's upstream `cluster` this server, which need not ask for any proof.
    pub(crate) fn toml(&self) -> String {
        let ca_file = self.files.path().join("ca.crt");
        format!(
            "[upstreams.cluster]\nport = {}\nserver_name = {HOST_NAME:?}\nsslrootcert = {ca_file:?}\n\
             require_auth = 'none,scram-sha-256,md5,password'",
            self.port
        )
    }
}

/// A connection before its first byte.
pub(crate) struct Connection {
    stream: TcpStream,
    acceptor: TlsAcceptor,
}

impl Connection {
    /// Without TLS, of which nothing is said.
    pub(crate) fn plain(self) -> Server<TcpStream> {
        Server::over(self.stream)
    }

    /// Answers the SSLRequest with `S` and shakes hands.
    pub(crate) async fn secure(mut self) -> Server<TlsStream<TcpStream>> {
        self.read_ssl_request().await;
        self.stream.write_all(b"S").await.unwrap();
        Server::over(self.acceptor.accept(self.stream).await.unwrap())
    }

    /// Answers the SSLRequest with `N` and goes on in plaintext.
    pub(crate) async fn refuse_tls(mut self) -> Server<TcpStream> {
        self.read_ssl_request().await;
        self.stream.write_all(b"N").await.unwrap();
        Server::over(self.stream)
    }

    async fn read_ssl_request(&mut self) {
        let mut request = [0; 8];
        self.stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..], ssl_request());
    }
}

/// The server's end of a connection.
pub(crate) struct Server<S> {
    pub(crate) stream: S,
    received: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    fn over(stream: S) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    /// The first packet, its length field included; `None` when the client leaves.
    pub(crate) async fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = self.received.first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if self.received.len() >= length {
                    return Some(self.received.split_to(length).to_vec());
                }
            }
            self.receive().await?;
        }
    }

    /// The next message; `None` when the client leaves.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = take_message(&mut self.received) {
                return Some(message);
            }
            self.receive().await?;
        }
    }

    /// Everything that the client still sends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.receive().await.is_some() {}
        self.received.to_vec()
    }

    /// Sends, unless the client has left.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sending = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        sending.await.unwrap_or_default();
    }

    async fn receive(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(1..) => Some(()),
            Ok(0) | Err(_) => None,
        }
    }
}

/// An `R` message.
pub(crate) fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes(), data].concat())
}

/// AuthenticationSASL.
pub(crate) fn sasl(mechanisms: &[&str]) -> Vec<u8> {
    let list: String = mechanisms.iter().map(|name| format!("{name}\0")).collect();
    authentication(10, format!("{list}\0").as_bytes())
}

/// An ErrorResponse of the fields given.
pub(crate) fn error(fields: &[(char, &str)]) -> Vec<u8> {
    let texts: String = fields
        .iter()
        .map(|(letter, text)| format!("{letter}{text}\0"))
        .collect();
    message(b'E', format!("{texts}\0").as_bytes())
}

/// All that follows a login: AuthenticationOk, the cancel key, ReadyForQuery.
pub(crate) fn welcome(process_id: u32, secret: &[u8]) -> Vec<u8> {
    [
        authentication(0, &[]),
        message(b'K', &[&process_id.to_be_bytes(), secret].concat()),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// What a script has sent to the test.
pub(crate) async fn reported<T>(reports: &mut mpsc::UnboundedReceiver<T>) -> T {
    let report = timeout(PATIENCE, reports.recv()).await;
    report.expect("the script reports nothing").unwrap()
}
