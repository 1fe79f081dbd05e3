//! The whole demo against a real server, with a stand-in for the proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;

type AnyError = Box<dyn Error + Send + Sync>;

/// Does to a connection what the proxy does, without any of its care.
struct StandIn {
    address: SocketAddr,
    upstream: SocketAddr,
    tls: Arc<ClientConfig>,
    /// Believes that the server is whoever it should be.
    gullible_name: Option<String>,
}

impl StandIn {
    async fn start(toml: String, gullible: bool) -> Result<Self, AnyError> {
        let toml: toml::Table = toml.parse()?;
        let demo = &toml["upstreams"]["demo"];
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(
            demo["sslrootcert"].as_str().unwrap(),
        )?)?;
        let tls = Arc::new(
            ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        );
        let name = demo["server_name"].as_str().unwrap().to_owned();
        let port = u16::try_from(demo["port"].as_integer().unwrap())?;
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (session_tls, session_name) = (Arc::clone(&tls), name.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = secure(upstream, &session_tls, &session_name).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        });
        Ok(Self {
            address,
            upstream,
            tls,
            gullible_name: gullible.then_some(name),
        })
    }
}

impl DemoProxy for StandIn {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn secure_upstream(&self, server_name: &str) -> Result<TlsFacts, AnyError> {
        let verified = self.gullible_name.as_deref().unwrap_or(server_name);
        let stream = secure(self.upstream, &self.tls, verified).await?;
        let tls = stream.get_ref().1;
        Ok(TlsFacts {
            version: format!("{:?}", tls.protocol_version().unwrap()),
            cipher: format!("{:?}", tls.negotiated_cipher_suite().unwrap().suite()),
            peer_name: verified.to_owned(),
        })
    }

    async fn stop(self) {}
}

async fn secure(
    upstream: SocketAddr,
    tls: &Arc<ClientConfig>,
    name: &str,
) -> Result<TlsStream<TcpStream>, AnyError> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await?;
    assert_eq!(stream.read_u8().await?, b'S');
    let name = ServerName::try_from(name.to_owned())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls));
    Ok(connector.connect(name, stream).await?)
}

/// Any free port for the server, so that a running demo is in nobody's way.
fn options(once: bool) -> DemoOptions {
    DemoOptions {
        once,
        ..DemoOptions::default()
    }
}

fn directory_in(toml: &str) -> PathBuf {
    let toml: toml::Table = toml.parse().unwrap();
    let ca = toml["upstreams"]["demo"]["sslrootcert"].as_str().unwrap();
    PathBuf::from(ca).parent().unwrap().to_owned()
}

#[tokio::test]
async fn once_ends_with_the_proof_and_leaves_nothing() {
    let mut out = Vec::new();
    let mut directory = PathBuf::new();
    run(
        options(true),
        async |toml: String| {
            directory = directory_in(&toml);
            assert!(directory.is_dir());
            StandIn::start(toml, false).await
        },
        std::future::pending(),
        &mut out,
    )
    .await
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in [
        "PostgreSQL ",
        "pgsluice-demo.internal",
        "(pg_stat_ssl)   TLSv1.3, TLS_AES_",
        "as app in demo",
        "refused   invalid peer certificate",
        "no pg_hba.conf entry",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_proxy_that_does_not_verify_fails_the_proof() {
    let error = run(
        options(true),
        async |toml| StandIn::start(toml, true).await,
        std::future::pending(),
        &mut io::sink(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.exit_code(), 1, "{error}");
    assert!(error.to_string().contains("not-pgsluice-demo.internal"));
}

#[tokio::test]
async fn the_environment_file_is_there_while_the_demo_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.env");
    let seen = AtomicBool::new(false);
    let interrupted = async {
        while !path.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for name in ["PGHOST=127.0.0.1", "PGPASSWORD=", "UPSTREAM_CA=/"] {
            assert!(text.contains(name), "no {name} in:\n{text}");
        }
        seen.store(true, Ordering::Relaxed);
    };
    let options = DemoOptions {
        env_file: Some(path.clone()),
        ..options(false)
    };
    let mut out = Vec::new();
    run(
        options,
        async |toml| StandIn::start(toml, false).await,
        interrupted,
        &mut out,
    )
    .await
    .unwrap();
    assert!(seen.load(Ordering::Relaxed));
    assert!(!path.exists());
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("PGPASSFILE=/"), "{text}");
}

#[tokio::test]
async fn an_upstream_port_that_was_asked_for_is_not_replaced() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = DemoOptions {
        upstream_port: Some(taken.local_addr().unwrap().port()),
        ..options(true)
    };
    let error = run(
        options,
        async |toml| StandIn::start(toml, false).await,
        std::future::pending(),
        &mut io::sink(),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, DemoError::UpstreamPortTaken(_)), "{error}");
}

#[tokio::test]
async fn without_postgres_the_error_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let options = DemoOptions {
        postgres_bin: Some(dir.path().to_owned()),
        ..options(true)
    };
    let error = run(
        options,
        async |toml| StandIn::start(toml, false).await,
        std::future::pending(),
        &mut io::sink(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("apt-get install postgresql"));
}
