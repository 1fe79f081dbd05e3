//! OpenSSL as the other side: what Postgres itself is built on, and what rustls
//! cannot serve (TLS 1.1, RSA-PSS certificates, SHA-1 signatures).

use std::path::Path;
use std::process::Stdio;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::*;
use crate::tls::binding::{describe, peer_binding, tls_server_end_point};

/// Runs `openssl` in `dir` and gives its standard output.
async fn openssl(dir: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("these tests need the openssl command");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {errors}");
    output.stdout
}

/// `openssl s_server` on a free port; killed when dropped.
struct SServer {
    address: SocketAddr,
    _process: Child,
}

impl SServer {
    async fn start(dir: &Path, arguments: &str) -> Self {
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "8"])
            .args(arguments.split_whitespace())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("these tests need the openssl command");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("s_server says where it listens");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.parse().unwrap();
            }
        };
        // The pipe stays open: s_server would die of writing to a closed one.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            address,
            _process: process,
        }
    }
}

impl Scene {
    /// Connects to an s_server behind an SSLRequest that is answered `S`.
    async fn meet_openssl(&self, arguments: &str) -> Result<TlsStream<TcpStream>, TlsFault> {
        let server = SServer::start(self.dir.path(), arguments).await;
        let front = serve(Script::Forward(server.address)).await;
        self.connect(front.address).await
    }

    /// A CA with an RSA key in `rsa-root.crt`, and `leaf.crt` signed by it.
    async fn rsa(&mut self, ca: &str, signature: &str) {
        let dir = self.dir.path();
        let root = format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout rsa-root.key -out rsa-root.crt -days 2 -subj /CN=RSA-CA -sha384 {ca}"
        );
        openssl(dir, &root).await;
        let request = "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf";
        openssl(dir, request).await;
        self.file("san.ext", &format!("subjectAltName=DNS:{HOST}\n"));
        let sign = format!(
            "x509 -req -in leaf.csr -CA rsa-root.crt -CAkey rsa-root.key -CAcreateserial -out leaf.crt -days 2 -extfile san.ext {signature}"
        );
        openssl(self.dir.path(), &sign).await;
        self.settings.roots = Roots::File(self.dir.path().join("rsa-root.crt"));
    }
}

#[tokio::test]
async fn a_server_of_tls11_is_too_old() {
    let mut scene = Scene::new();
    scene.rsa("", "-sha256").await;
    let serving = "-cert leaf.crt -key leaf.key -tls1_1 -cipher ALL:@SECLEVEL=0";
    let fault = scene.meet_openssl(serving).await.map(drop).unwrap_err();
    assert_eq!(fault, TlsFault::ProtocolTooOld { minimum: "TLSv1.2" });
}

#[tokio::test]
async fn the_default_curve_of_postgres_costs_no_retry() {
    let mut scene = Scene::new();
    scene.rsa("", "-sha256").await;
    for (groups, retried) in [
        ("prime256v1", false),
        ("X25519:prime256v1", false),
        ("X25519", true),
    ] {
        let serving = format!("-cert leaf.crt -key leaf.key -groups {groups}");
        let stream = scene.meet_openssl(&serving).await.unwrap();
        let description = describe(&stream).unwrap();
        assert_eq!(description.retried, retried, "{groups}");
        assert_eq!(description.version, "TLSv1.3");
    }
}

#[tokio::test]
async fn a_server_without_a_common_cipher_breaks_off() {
    let mut scene = Scene::new();
    scene.rsa("", "-sha256").await;
    let serving = "-cert leaf.crt -key leaf.key -tls1_2 -cipher AES128-SHA:@SECLEVEL=0";
    let fault = scene.meet_openssl(serving).await.map(drop).unwrap_err();
    assert_eq!(
        fault,
        TlsFault::Alert {
            alert: "handshake_failure".to_owned()
        }
    );
    assert!(fault.cure().contains("sslcert"), "{}", fault.cure());
}

#[tokio::test]
async fn tls12_ciphers_have_the_names_of_iana() {
    let mut scene = Scene::new();
    scene.rsa("", "-sha256").await;
    let serving = "-cert leaf.crt -key leaf.key -tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384";
    let description = describe(&scene.meet_openssl(serving).await.unwrap()).unwrap();
    assert_eq!(description.version, "TLSv1.2");
    assert_eq!(description.cipher, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn the_name_is_sent_to_the_server_and_an_address_is_not() {
    // With -servername_fatal s_server breaks off at any other name.
    let mut scene = Scene::new();
    scene.rsa("", "-sha256").await;
    scene.settings.verify = Verify::Ca;
    let serving = "-cert leaf.crt -key leaf.key -cert2 leaf.crt -key2 leaf.key -servername_fatal";
    for (name, greeted) in [(HOST, true), ("other.test", false), ("127.0.0.1", true)] {
        scene.settings.server_name = name.to_owned();
        let outcome = scene
            .meet_openssl(&format!("{serving} -servername {HOST}"))
            .await;
        assert_eq!(outcome.is_ok(), greeted, "{name}");
    }
}

/// The digest of `leaf.crt` that OpenSSL computes, and ours.
async fn digests(dir: &Path, hash: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    openssl(dir, "x509 -in leaf.crt -outform DER -out leaf.der").await;
    let expected = openssl(dir, &format!("dgst -{hash} -binary leaf.der")).await;
    let der = CertificateDer::from_pem_file(dir.join("leaf.crt")).unwrap();
    (expected, tls_server_end_point(&der))
}

#[tokio::test]
async fn binding_takes_the_hash_of_the_certificates_own_signature() {
    let cases = [
        ("-sha256", "sha256"),
        ("-sha384", "sha384"),
        ("-sha512", "sha512"),
        ("-sha224", "sha224"),
        // RFC 5929: never a hash that weak.
        ("-sha1", "sha256"),
        ("-md5", "sha256"),
        ("-sha256 -sigopt rsa_padding_mode:pss", "sha256"),
        ("-sha384 -sigopt rsa_padding_mode:pss", "sha384"),
        ("-sha512 -sigopt rsa_padding_mode:pss", "sha512"),
        // The defaults of RSA-PSS parameters are SHA-1.
        ("-sha1 -sigopt rsa_padding_mode:pss", "sha256"),
    ];
    let mut scene = Scene::new();
    scene.rsa("", "-sha256").await;
    for (signature, hash) in cases {
        let sign = format!(
            "x509 -req -in leaf.csr -CA rsa-root.crt -CAkey rsa-root.key -out leaf.crt -days 2 {signature}"
        );
        openssl(scene.dir.path(), &sign).await;
        let (expected, ours) = digests(scene.dir.path(), hash).await;
        assert_eq!(ours.as_deref(), Some(&expected[..]), "{signature}");
    }
}

#[tokio::test]
async fn binding_knows_the_elliptic_signatures() {
    for (kind, hash) in [
        ("ec -pkeyopt ec_paramgen_curve:P-256 -sha256", "sha256"),
        ("ec -pkeyopt ec_paramgen_curve:P-384 -sha384", "sha384"),
        ("ec -pkeyopt ec_paramgen_curve:P-521 -sha512", "sha512"),
        ("ec -pkeyopt ec_paramgen_curve:P-256 -sha224", "sha224"),
        ("ec -pkeyopt ec_paramgen_curve:P-256 -sha1", "sha256"),
    ] {
        let scene = Scene::new();
        let make = format!(
            "req -x509 -newkey {kind} -nodes -keyout leaf.key -out leaf.crt -days 2 -subj /CN=leaf"
        );
        openssl(scene.dir.path(), &make).await;
        let (expected, ours) = digests(scene.dir.path(), hash).await;
        assert_eq!(ours.as_deref(), Some(&expected[..]), "{kind}");
    }
}

#[tokio::test]
async fn signatures_without_a_hash_bind_to_nothing() {
    for kind in ["ed25519", "ed448"] {
        let scene = Scene::new();
        let make = format!(
            "req -x509 -newkey {kind} -nodes -keyout leaf.key -out leaf.crt -days 2 -subj /CN=leaf"
        );
        openssl(scene.dir.path(), &make).await;
        let (_, ours) = digests(scene.dir.path(), "sha256").await;
        assert_eq!(ours, None, "{kind}");
    }
    assert_eq!(tls_server_end_point(b"no certificate"), None);
}

#[tokio::test]
async fn a_live_connection_binds_to_the_certificate_it_was_shown() {
    for signature in [
        "-sha384",
        "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32",
    ] {
        let mut scene = Scene::new();
        scene.rsa("", signature).await;
        let stream = scene
            .meet_openssl("-cert leaf.crt -key leaf.key")
            .await
            .unwrap();
        let hash = signature
            .split_whitespace()
            .next()
            .unwrap()
            .trim_start_matches('-');
        let (expected, _) = digests(scene.dir.path(), hash).await;
        assert_eq!(peer_binding(&stream), Some(expected), "{signature}");
    }
}

#[tokio::test]
async fn a_chain_signed_with_sha1_cannot_be_used() {
    let mut scene = Scene::new();
    scene.rsa("", "-sha1").await;
    let serving = "-cert leaf.crt -key leaf.key -cipher ALL:@SECLEVEL=0";
    let fault = scene.meet_openssl(serving).await.map(drop).unwrap_err();
    assert!(fault.to_string().contains("SHA-1"), "{fault:?}");
}
