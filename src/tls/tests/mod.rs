//! The room against real TLS servers over real sockets.

#[allow(dead_code, reason = "shared with the tests of the whole proxy")]
#[path = "../../../tests/it/support/certs.rs"]
mod certs;
#[allow(dead_code, reason = "shared with the tests of the whole proxy")]
#[path = "../../../tests/it/support/tls_servers.rs"]
mod tls_servers;

mod client_certificates;
mod local_leg;
mod negotiation;
mod openssl;
mod secured;
mod setup;
mod verification;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Connector, TlsFault};
use crate::config::values::{Negotiation, Roots, TlsClient, TlsVersion, Verify};
use certs::{Authority, Identity, Leaf};
use tls_servers::{Script, ScriptedServer, serve, server_config};

const HOST: &str = "db.example.test";

/// A CA, a server's certificate, and settings that trust the one for the other.
struct Scene {
    dir: TempDir,
    ca: Authority,
    settings: TlsClient,
    /// Kept running for as long as the scene.
    servers: RefCell<Vec<ScriptedServer>>,
}

impl Scene {
    fn new() -> Self {
        Self::trusting(Authority::root("Scene CA"))
    }

    fn trusting(ca: Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(Roots::File(ca.write(dir.path(), "root")));
        Self {
            dir,
            ca,
            settings,
            servers: RefCell::default(),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        certs::write(&self.dir.path().join(name), text, 0o600)
    }

    fn good_server(&self) -> Identity {
        self.ca.issue(&Leaf::named(&[HOST]))
    }

    /// What comes of connecting to a server with this certificate.
    async fn meet(&self, identity: &Identity) -> Result<TlsStream<TcpStream>, TlsFault> {
        let server = serve(Script::Tls(Arc::new(server_config(identity)))).await;
        let address = server.address;
        self.servers.borrow_mut().push(server);
        self.connect(address).await
    }

    async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>, TlsFault> {
        let connector = Connector::new(&self.settings).unwrap();
        let socket = TcpStream::connect(address).await.unwrap();
        connector.secure(socket).await
    }

    async fn fault(&self, identity: &Identity) -> TlsFault {
        self.meet(identity)
            .await
            .map(drop)
            .expect_err("the certificate must be refused")
    }
}

fn settings(roots: Roots) -> TlsClient {
    TlsClient {
        verify: Verify::Full,
        roots,
        server_name: HOST.to_owned(),
        identity: None,
        crl: None,
        min_version: TlsVersion::Tls12,
        negotiation: Negotiation::Postgres,
    }
}

/// Proves that bytes go both ways.
async fn echo<S>(stream: &mut S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(b"through").await.unwrap();
    stream.flush().await.unwrap();
    let mut back = [0; 7];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"through");
}

/// A server that never sees anything but SSLRequest outside of TLS.
fn assert_no_plaintext(server: &ScriptedServer) {
    assert_eq!(server.plaintext_received(), tls_servers::SSL_REQUEST);
}
