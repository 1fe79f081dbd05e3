//! Each way a server's certificate can be wrong, one certificate each.

use super::certs::Days;
use super::*;
use crate::tls::fault::Whose;

fn text(fault: &TlsFault) -> String {
    format!("{fault} | {}", fault.cure())
}

#[tokio::test]
async fn the_right_server_is_accepted() {
    let scene = Scene::new();
    let mut stream = scene.meet(&scene.good_server()).await.unwrap();
    echo(&mut stream).await;
}

#[tokio::test]
async fn names_match_by_wildcard_case_and_absolute_form() {
    let mut scene = Scene::new();
    let wildcard = scene.ca.issue(&Leaf::named(&["*.example.test"]));
    for name in ["db.example.test", "DB.Example.Test", "db.example.test."] {
        scene.settings.server_name = name.to_owned();
        scene.meet(&wildcard).await.unwrap();
    }
    for name in ["example.test", "a.db.example.test"] {
        scene.settings.server_name = name.to_owned();
        assert_eq!(scene.fault(&wildcard).await.label(), "wrong_name");
    }
}

#[tokio::test]
async fn an_unknown_ca_is_named_beside_the_ones_that_are_trusted() {
    let scene = Scene::new();
    let fault = scene
        .fault(&Authority::root("Other CA").issue(&Leaf::named(&[HOST])))
        .await;
    let TlsFault::UnknownCa(unknown) = &fault else {
        panic!("{fault:?}")
    };
    assert_eq!(unknown.issuer, "CN=Other CA");
    assert_eq!(unknown.trusted, ["CN=Scene CA"]);
    assert!(!unknown.shows_ca && !unknown.same_name);
    assert_eq!(unknown.fingerprint.len(), 32 * 3 - 1);
    let text = text(&fault);
    for part in [
        "CN=Other CA",
        &unknown.fingerprint,
        "root.crt holds CN=Scene CA",
        "sslrootcert",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_ca_that_changed_its_key_is_told_from_an_unknown_one() {
    let scene = Scene::new();
    let renewed = Authority::root("Scene CA");
    let fault = scene.fault(&renewed.issue(&Leaf::named(&[HOST]))).await;
    assert!(
        matches!(&fault, TlsFault::UnknownCa(unknown) if unknown.same_name),
        "{fault:?}"
    );
    assert!(text(&fault).contains("another key"), "{fault}");
}

#[tokio::test]
async fn a_chain_with_an_intermediate_ends_at_the_root() {
    let scene = Scene::new();
    let between = scene.ca.intermediate("Between CA", Days(-1, 30));
    let identity = between.issue(&Leaf::named(&[HOST]));
    assert_eq!(identity.chain_der().len(), 2);
    scene.meet(&identity).await.unwrap();

    // Under an unknown root, the message names the root and not the link.
    let strange = Authority::root("Strange CA").intermediate("Between CA", Days(-1, 30));
    let fault = scene.fault(&strange.issue(&Leaf::named(&[HOST]))).await;
    assert!(fault.to_string().contains("CN=Strange CA"), "{fault}");
}

#[tokio::test]
async fn a_wrong_name_lists_the_names_that_would_do() {
    let scene = Scene::new();
    let other = scene
        .ca
        .issue(&Leaf::named(&["other.example.test", "10.0.0.7", "fd00::7"]));
    let fault = scene.fault(&other).await;
    let text = text(&fault);
    for part in [HOST, "other.example.test, 10.0.0.7, fd00::7", "server_name"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_common_name_alone_does_not_count_and_the_text_says_so() {
    let scene = Scene::new();
    let fault = scene
        .fault(&scene.ca.issue(&Leaf::common_name_only(HOST)))
        .await;
    assert_eq!(fault.label(), "wrong_name");
    let text = text(&fault);
    assert!(
        text.contains("no subjectAltName") && text.contains("does not count"),
        "{text}"
    );
}

#[tokio::test]
async fn addresses_are_verified_as_addresses() {
    let mut scene = Scene::new();
    let identity = scene.ca.issue(&Leaf::named(&["127.0.0.1", "::1"]));
    for address in ["127.0.0.1", "::1"] {
        scene.settings.server_name = address.to_owned();
        scene.meet(&identity).await.unwrap();
    }
    scene.settings.server_name = "127.0.0.2".to_owned();
    let fault = scene.fault(&identity).await;
    assert!(
        fault
            .to_string()
            .contains("not for 127.0.0.2, but for 127.0.0.1, ::1"),
        "{fault}"
    );
}

#[tokio::test]
async fn an_expired_certificate_says_since_when() {
    let scene = Scene::new();
    let fault = scene
        .fault(&scene.ca.issue(&Leaf::named(&[HOST]).expired()))
        .await;
    let TlsFault::Expired {
        whose: Whose::Server,
        not_after,
        now,
        ..
    } = fault
    else {
        panic!("{fault:?}")
    };
    assert_eq!((now - not_after + 60) / 86_400, 3);
    assert!(text(&fault).contains("Z, 3 days ago"), "{fault}");
}

#[tokio::test]
async fn an_expired_ca_is_told_from_an_expired_server() {
    // In the chain that the server shows.
    let scene = Scene::new();
    let between = scene.ca.intermediate("Between CA", Days(-10, -3));
    let fault = scene.fault(&between.issue(&Leaf::named(&[HOST]))).await;
    let TlsFault::Expired {
        whose: Whose::Ca,
        subject,
        ..
    } = &fault
    else {
        panic!("{fault:?}")
    };
    assert_eq!(subject, "CN=Between CA");

    // In our own file.
    let scene = Scene::trusting(Authority::root_valid("Old CA", Days(-10, -3)));
    let fault = scene.fault(&scene.good_server()).await;
    let TlsFault::Expired {
        whose: Whose::Ca,
        subject,
        ..
    } = &fault
    else {
        panic!("{fault:?}")
    };
    assert_eq!(subject, "CN=Old CA");
}

#[tokio::test]
async fn an_expired_ca_beside_its_renewal_does_no_harm() {
    // One key, two certificates under one name, as after a CA's renewal.
    let old = Authority::root_valid("Renewed CA", Days(-10, -3));
    let renewed = old.renewed(Days(-4, 30));
    let mut scene = Scene::trusting(old);
    let identity = scene.good_server();
    assert_eq!(scene.fault(&identity).await.label(), "expired");

    let both = scene.ca.pem() + &renewed;
    scene.settings.roots = Roots::File(scene.file("both.crt", &both));
    scene.meet(&identity).await.unwrap();

    // A valid CA that has nothing to do with the chain does not help.
    let unrelated = scene.ca.pem() + &Authority::root("Unrelated CA").pem();
    scene.settings.roots = Roots::File(scene.file("unrelated.crt", &unrelated));
    assert_eq!(scene.fault(&identity).await.label(), "expired");

    scene.settings.verify = Verify::Ca;
    scene.settings.server_name = "elsewhere.test".to_owned();
    assert_eq!(scene.fault(&identity).await.label(), "expired");
    scene.settings.roots = Roots::File(scene.file("both.crt", &both));
    scene.meet(&identity).await.unwrap();
}

#[tokio::test]
async fn the_machines_own_anchors_are_consulted_when_asked_for() {
    let mut scene = Scene::new();
    scene.settings.roots = Roots::System;
    if let Err(error) = Connector::new(&scene.settings) {
        assert!(
            matches!(error, crate::tls::SetupError::NoSystemRoots { .. }),
            "{error}"
        );
        return;
    }
    let fault = scene.fault(&scene.good_server()).await;
    assert_eq!(fault.label(), "unknown_ca");
    assert!(
        fault
            .to_string()
            .contains("this machine's certificate store"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_certificate_of_tomorrow_hints_at_the_clock() {
    let scene = Scene::new();
    let fault = scene
        .fault(&scene.ca.issue(&Leaf::named(&[HOST]).not_yet_valid()))
        .await;
    assert!(
        matches!(
            fault,
            TlsFault::NotYetValid {
                whose: Whose::Server,
                ..
            }
        ),
        "{fault:?}"
    );
    assert!(text(&fault).contains("clock"), "{fault}");
}

#[tokio::test]
async fn a_self_signed_server_is_refused() {
    let scene = Scene::new();
    for leaf in [Leaf::named(&[HOST]), Leaf::named(&[HOST]).marked_as_ca()] {
        let fault = scene.fault(&leaf.self_signed()).await;
        assert_eq!(
            fault,
            TlsFault::SelfSigned {
                subject: format!("CN={HOST}"),
                trusted: false
            }
        );
    }
}

#[tokio::test]
async fn a_self_signed_server_given_as_root_works_unless_marked_as_a_ca() {
    let mut scene = Scene::new();
    let plain = Leaf::named(&[HOST]).self_signed();
    scene.settings.roots = Roots::File(plain.write(scene.dir.path(), "plain").cert);
    scene.meet(&plain).await.unwrap();

    let marked = Leaf::named(&[HOST]).marked_as_ca().self_signed();
    scene.settings.roots = Roots::File(marked.write(scene.dir.path(), "marked").cert);
    let fault = scene.fault(&marked).await;
    assert!(
        matches!(fault, TlsFault::SelfSigned { trusted: true, .. }),
        "{fault:?}"
    );
    assert!(fault.cure().contains("CA:FALSE"), "{}", fault.cure());
}

#[tokio::test]
async fn verify_ca_forgives_the_name_and_nothing_else() {
    let mut scene = Scene::new();
    scene.settings.verify = Verify::Ca;
    let other = Leaf::named(&["other.example.test"]);
    scene.meet(&scene.ca.issue(&other)).await.unwrap();
    scene
        .meet(&scene.ca.issue(&Leaf::common_name_only("x")))
        .await
        .unwrap();

    let strangers = Authority::root("Other CA").issue(&other);
    assert_eq!(scene.fault(&strangers).await.label(), "unknown_ca");
    assert_eq!(
        scene
            .fault(&scene.ca.issue(&other.clone().expired()))
            .await
            .label(),
        "expired"
    );
    assert_eq!(
        scene.fault(&other.self_signed()).await.label(),
        "self_signed"
    );

    let revoked = scene.ca.issue(&other);
    let crl = scene.file("ca.crl", &scene.ca.crl(&[&revoked], Days(-1, 7)));
    scene.settings.crl = Some(crl);
    assert_eq!(scene.fault(&revoked).await.label(), "revoked");
}

#[tokio::test]
async fn without_verification_the_handshake_is_still_signed_by_the_key_shown() {
    let mut scene = Scene::new();
    scene.settings.verify = Verify::Nothing;
    scene.settings.roots = Roots::Unneeded;
    let anybody = Leaf::named(&["nobody.example.test"])
        .expired()
        .self_signed();
    scene.meet(&anybody).await.unwrap();

    // Somebody else's certificate without its key.
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = mismatched(&scene.good_server(), &anybody, version);
        let server = serve(Script::Tls(Arc::new(config))).await;
        let fault = scene.connect(server.address).await.map(drop).unwrap_err();
        assert_eq!(fault, TlsFault::BadSignature);
    }
}

/// A server that shows one certificate and signs with another's key.
fn mismatched(
    shown: &Identity,
    key_of: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
) -> rustls::ServerConfig {
    use rustls::pki_types::PrivateKeyDer;
    let key = PrivateKeyDer::try_from(key_of.key_der()).unwrap();
    let signing = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let shown = rustls::sign::CertifiedKey::new(shown.chain_der(), signing);
    let mut config = tls_servers::server_config_of(key_of, version);
    config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(shown));
    config
}

#[tokio::test]
async fn revocation_lists_are_heeded() {
    let mut scene = Scene::new();
    let (good, bad) = (scene.good_server(), scene.good_server());
    let crl = scene.file("ca.crl", &scene.ca.crl(&[&bad], Days(-1, 7)));
    scene.settings.crl = Some(crl);
    scene.meet(&good).await.unwrap();
    assert_eq!(
        scene.fault(&bad).await,
        TlsFault::Revoked {
            subject: format!("CN={HOST}")
        }
    );
}

#[tokio::test]
async fn a_revocation_list_that_proves_nothing_refuses() {
    let mut scene = Scene::new();
    let good = scene.good_server();
    let old = scene.file("old.crl", &scene.ca.crl(&[], Days(-9, -2)));
    scene.settings.crl = Some(old);
    let fault = scene.fault(&good).await;
    assert!(matches!(fault, TlsFault::CrlExpired { .. }), "{fault:?}");

    let other = Authority::root("Other CA").crl(&[], Days(-1, 7));
    scene.settings.crl = Some(scene.file("other.crl", &other));
    let fault = scene.fault(&good).await;
    assert_eq!(
        fault,
        TlsFault::CrlOfAnotherCa {
            issuer: "CN=Scene CA".to_owned()
        }
    );
}

#[tokio::test]
async fn names_in_a_hostile_certificate_cannot_forge_a_line() {
    let scene = Scene::new();
    let stranger = Authority::root("Evil\nFATAL: all is well\x1b[2J");
    let text = text(&scene.fault(&stranger.issue(&Leaf::named(&[HOST]))).await);
    assert!(text.contains("CN=Evil?FATAL: all is well?[2J"), "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[tokio::test]
async fn a_certificate_for_another_purpose_cannot_be_used() {
    let scene = Scene::new();
    let fault = scene
        .fault(&scene.ca.issue(&Leaf::named(&[HOST]).marked_as_ca()))
        .await;
    assert!(
        fault
            .to_string()
            .ends_with("it is marked as a CA (CA:TRUE)"),
        "{fault}"
    );
    let fault = scene
        .fault(&scene.ca.issue(&Leaf::named(&[HOST]).for_clients_only()))
        .await;
    assert!(
        fault.to_string().contains("not meant for servers"),
        "{fault}"
    );
}
