//! Our own certificate, shown to a server that asks for one.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::tls::explain_late_alert;

/// A server that demands a certificate by the scene's own CA.
async fn demanding(scene: &Scene, version: &'static SupportedProtocolVersion) -> ScriptedServer {
    let config = tls_servers::server_config_demanding(&scene.good_server(), version, &scene.ca);
    serve(Script::Tls(Arc::new(config))).await
}

fn show(scene: &mut Scene, identity: &Identity) {
    let files = identity.write(scene.dir.path(), "client");
    scene.settings.identity = Some((files.cert, files.key));
}

/// TLS 1.3 lets the client finish first; the verdict comes with the first read.
async fn late_fault(scene: &Scene, server: &ScriptedServer) -> TlsFault {
    let mut stream = scene.connect(server.address).await.unwrap();
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    explain_late_alert(&error).expect("an alert")
}

#[tokio::test]
async fn a_certificate_the_server_trusts_is_accepted() {
    for version in [&TLS12, &TLS13] {
        let mut scene = Scene::new();
        let own = scene.ca.issue(&Leaf::common_name_only("sep"));
        show(&mut scene, &own);
        let server = demanding(&scene, version).await;
        let mut stream = scene.connect(server.address).await.unwrap();
        echo(&mut stream).await;
    }
}

#[tokio::test]
async fn a_server_that_demands_one_says_so_late() {
    let scene = Scene::new();
    let server = demanding(&scene, &TLS13).await;
    let fault = late_fault(&scene, &server).await;
    assert_eq!(fault, TlsFault::ClientCertificateRequired);
    assert_eq!(fault.cure(), "set sslcert and sslkey");
}

#[tokio::test]
async fn a_server_of_tls12_says_so_in_the_handshake() {
    let scene = Scene::new();
    let server = demanding(&scene, &TLS12).await;
    let fault = scene.connect(server.address).await.map(drop).unwrap_err();
    assert_eq!(fault, TlsFault::ClientCertificateRequired);
}

#[tokio::test]
async fn a_certificate_by_another_ca_is_refused() {
    let mut scene = Scene::new();
    let foreign = Authority::root("Other CA").issue(&Leaf::common_name_only("sep"));
    show(&mut scene, &foreign);
    let server = demanding(&scene, &TLS13).await;
    let fault = late_fault(&scene, &server).await;
    assert_eq!(
        fault,
        TlsFault::ClientCertificateRefused {
            alert: "unknown_ca"
        }
    );

    let server = demanding(&scene, &TLS12).await;
    let fault = scene.connect(server.address).await.map(drop).unwrap_err();
    assert_eq!(
        fault,
        TlsFault::ClientCertificateRefused {
            alert: "unknown_ca"
        }
    );
}

#[test]
fn other_errors_of_a_stream_are_no_alerts() {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    assert_eq!(explain_late_alert(&reset), None);
    assert_eq!(explain_late_alert(&std::io::Error::other("x")), None);
}
