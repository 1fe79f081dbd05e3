//! Our own certificate towards clients, which here are rustls clients.

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpListener;
use tokio_rustls::{TlsConnector, server};

use super::certs::Files;
use super::*;
use crate::config::values::{ClientCertificates, OwnCertificate, ServerIdentity};
use crate::tls::accept::peer_common_name;
use crate::tls::{AcceptFault, Acceptor, SetupError};

type Accepted = Result<server::TlsStream<TcpStream>, AcceptFault>;

fn acceptor(files: Files, ca_file: Option<PathBuf>) -> Acceptor {
    let identity = ServerIdentity {
        certificate: OwnCertificate::Files {
            cert_file: files.cert,
            key_file: files.key,
        },
        clients: match ca_file {
            None => ClientCertificates::NotAsked,
            Some(ca_file) => ClientCertificates::Asked { ca_file },
        },
    };
    Acceptor::new(&identity).unwrap()
}

/// A client that trusts `ca`, offers these protocols and shows this identity.
fn client(ca: &Authority, protocols: &[&str], own: Option<&Identity>) -> ClientConfig {
    let mut anchors = RootCertStore::empty();
    anchors.add(ca.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(anchors);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.key_der()).unwrap();
            builder.with_client_auth_cert(own.chain_der(), key).unwrap()
        }
    };
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config
}

/// One handshake; the client's end is held until both are through.
async fn shake(acceptor: &Acceptor, client: ClientConfig, direct: bool) -> Accepted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = tokio::spawn(async move {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client))
            .connect(name, socket)
            .await?;
        stream.read(&mut [0; 1]).await
    });
    let (socket, _) = listener.accept().await.unwrap();
    let accepted = acceptor.accept(socket, direct).await;
    connecting.abort();
    accepted
}

#[tokio::test]
async fn clients_see_the_full_chain_and_may_leave_alpn_out_after_ssl_request() {
    let scene = Scene::new();
    let between = scene.ca.intermediate("Between CA", certs::Days(-1, 30));
    let files = between
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "own");
    let acceptor = acceptor(files, None);
    for protocols in [&[][..], &["postgresql"], &["h2", "postgresql"]] {
        let stream = shake(&acceptor, client(&scene.ca, protocols, None), false)
            .await
            .unwrap();
        assert_eq!(peer_common_name(&stream), None);
    }
}

#[tokio::test]
async fn direct_tls_demands_the_protocol() {
    let scene = Scene::new();
    let files = scene
        .ca
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "own");
    let acceptor = acceptor(files, None);
    shake(&acceptor, client(&scene.ca, &["postgresql"], None), true)
        .await
        .unwrap();
    let fault = shake(&acceptor, client(&scene.ca, &[], None), true)
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(fault, AcceptFault::NoAlpn);
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused_either_way() {
    let scene = Scene::new();
    let files = scene
        .ca
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "own");
    let acceptor = acceptor(files, None);
    for direct in [false, true] {
        let web = client(&scene.ca, &["h2", "http/1.1"], None);
        let fault = shake(&acceptor, web, direct).await.map(drop).unwrap_err();
        assert_eq!(fault, AcceptFault::WrongAlpn);
    }
}

#[tokio::test]
async fn a_client_certificate_is_optional_but_must_be_good() {
    let scene = Scene::new();
    let files = scene
        .ca
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "own");
    let acceptor = acceptor(files, Some(scene.ca.write(scene.dir.path(), "clients")));

    let none = shake(&acceptor, client(&scene.ca, &[], None), false)
        .await
        .unwrap();
    assert_eq!(peer_common_name(&none), None);

    let sep = scene.ca.issue(&Leaf::common_name_only("sep"));
    let stream = shake(&acceptor, client(&scene.ca, &[], Some(&sep)), false)
        .await
        .unwrap();
    assert_eq!(peer_common_name(&stream).as_deref(), Some("sep"));

    let foreign = Authority::root("Other CA").issue(&Leaf::common_name_only("sep"));
    let expired = scene.ca.issue(&Leaf::common_name_only("sep").expired());
    for bad in [&foreign, &expired] {
        let outcome = shake(&acceptor, client(&scene.ca, &[], Some(bad)), false).await;
        let fault = outcome.map(drop).unwrap_err();
        assert!(
            matches!(fault, AcceptFault::BadCertificate { .. }),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_or_talks_nonsense_is_told_apart() {
    let scene = Scene::new();
    let files = scene
        .ca
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "own");
    let acceptor = acceptor(files, None);

    let (near, far) = tokio::io::duplex(64);
    drop(far);
    assert_eq!(
        acceptor.accept(near, false).await.map(drop),
        Err(AcceptFault::Left)
    );

    let (near, mut far) = tokio::io::duplex(64);
    far.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap();
    let fault = acceptor.accept(near, false).await.map(drop).unwrap_err();
    assert!(matches!(fault, AcceptFault::Protocol { .. }), "{fault:?}");

    // A client that does not trust us says so.
    let stranger = Authority::root("Other CA");
    let fault = shake(&acceptor, client(&stranger, &[], None), false)
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(fault, AcceptFault::Alert { .. }), "{fault:?}");
}

#[test]
fn a_key_of_another_certificate_is_refused_by_its_configuration_key() {
    let scene = Scene::new();
    let one = scene
        .ca
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "one");
    let two = scene
        .ca
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "two");
    let identity = ServerIdentity {
        certificate: OwnCertificate::Files {
            cert_file: one.cert,
            key_file: two.key,
        },
        clients: ClientCertificates::NotAsked,
    };
    let error = Acceptor::new(&identity).map(drop).unwrap_err();
    assert!(
        matches!(
            error,
            SetupError::KeyMismatch {
                key: "tls_key_file",
                ..
            }
        ),
        "{error:?}"
    );
}

/// `openssl s_client` through SSLRequest, as an older libpq would come.
async fn openssl_client(acceptor: &Acceptor, scene: &Scene, options: &str) -> Accepted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut process = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-starttls",
            "postgres",
            "-verify_return_error",
            "-CAfile",
            "root.crt",
        ])
        .args(["-verify_hostname", "localhost", "-connect", &address])
        .args(options.split_whitespace())
        .current_dir(scene.dir.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("these tests need the openssl command");
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut request = [0; 8];
    socket.read_exact(&mut request).await.unwrap();
    assert_eq!(request, tls_servers::SSL_REQUEST);
    socket.write_all(b"S").await.unwrap();
    let accepted = acceptor.accept(socket, false).await;
    process.kill().await.unwrap();
    accepted
}

#[tokio::test]
async fn openssl_clients_verify_the_chain_and_show_their_own() {
    let scene = Scene::new();
    let between = scene.ca.intermediate("Between CA", certs::Days(-1, 30));
    let files = between
        .issue(&Leaf::named(&["localhost"]))
        .write(scene.dir.path(), "own");
    let acceptor = acceptor(files, Some(scene.ca.write(scene.dir.path(), "root")));
    scene
        .ca
        .issue(&Leaf::common_name_only("sep"))
        .write(scene.dir.path(), "sep");

    let stream = openssl_client(&acceptor, &scene, "-alpn postgresql")
        .await
        .unwrap();
    assert_eq!(peer_common_name(&stream), None);
    for version in ["-tls1_2", "-tls1_3"] {
        let options = format!("{version} -cert sep.crt -key sep.key");
        let stream = openssl_client(&acceptor, &scene, &options).await.unwrap();
        assert_eq!(peer_common_name(&stream).as_deref(), Some("sep"));
    }
    let old = "-tls1_1 -cipher ALL:@SECLEVEL=0";
    let fault = openssl_client(&acceptor, &scene, old)
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(fault, AcceptFault::ProtocolTooOld);
}
