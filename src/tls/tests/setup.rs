//! Files that are missing, empty, damaged or not what they should be.

use super::*;
use crate::tls::SetupError;

fn refused(scene: &Scene) -> SetupError {
    Connector::new(&scene.settings)
        .map(drop)
        .expect_err("unusable settings")
}

#[test]
fn every_file_problem_names_the_key_and_the_file() {
    let mut scene = Scene::new();
    let missing = scene.dir.path().join("missing.crt");
    scene.settings.roots = Roots::File(missing);
    let error = refused(&scene);
    assert!(
        matches!(
            error,
            SetupError::Unreadable {
                key: "sslrootcert",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("missing.crt"), "{error}");

    scene.settings.roots = Roots::File(scene.file("empty.crt", "nothing here\n"));
    assert!(matches!(
        refused(&scene),
        SetupError::Nothing {
            key: "sslrootcert",
            wanted: "certificate",
            ..
        }
    ));

    let damaged = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    scene.settings.roots = Roots::File(scene.file("damaged.crt", damaged));
    assert!(matches!(
        refused(&scene),
        SetupError::BadFile {
            key: "sslrootcert",
            ..
        }
    ));
}

/// A file that an editor, a shell or a platform has wrapped is read all the same.
#[test]
fn every_form_of_a_certificate_is_read() {
    use base64::Engine as _;
    let mut scene = Scene::new();
    let pem = scene.ca.pem();
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(&body)
        .unwrap();
    let utf16 = "\u{feff}"
        .encode_utf16()
        .chain(pem.encode_utf16())
        .flat_map(u16::to_le_bytes);
    let forms: [(&str, Vec<u8>); 5] = [
        ("bom", [b"\xef\xbb\xbf", pem.as_bytes()].concat()),
        ("utf16", utf16.collect()),
        ("pem in base64", base64(pem.as_bytes()).into_bytes()),
        ("der in base64", body.into_bytes()),
        ("der", der),
    ];
    for (name, bytes) in forms {
        let path = scene.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        scene.settings.roots = Roots::File(path);
        assert!(Connector::new(&scene.settings).is_ok(), "{name}");
    }
    let values = [
        pem.clone(),
        pem.replace('\n', "\\n"),
        pem.replace('\n', " "),
        pem.replace('\n', ""),
        base64(pem.as_bytes()),
    ];
    for value in values {
        scene.settings.roots = Roots::Inline(value.clone());
        assert!(Connector::new(&scene.settings).is_ok(), "{value}");
    }
}

#[test]
fn one_unusable_anchor_fails_the_file() {
    let mut scene = Scene::new();
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let both = scene.ca.pem() + junk;
    scene.settings.roots = Roots::File(scene.file("both.crt", &both));
    let error = refused(&scene);
    assert!(
        matches!(error, SetupError::BadCertificate { nth: 2, .. }),
        "{error:?}"
    );
}

#[test]
fn verification_without_anchors_is_refused() {
    let mut scene = Scene::new();
    scene.settings.roots = Roots::Unneeded;
    for verify in [Verify::Full, Verify::Ca] {
        scene.settings.verify = verify;
        assert_eq!(refused(&scene), SetupError::NoRoots);
    }
}

#[test]
fn a_key_must_fit_its_certificate_and_never_shows() {
    let mut scene = Scene::new();
    let one = scene
        .ca
        .issue(&Leaf::common_name_only("one"))
        .write(scene.dir.path(), "one");
    let two = scene
        .ca
        .issue(&Leaf::common_name_only("two"))
        .write(scene.dir.path(), "two");
    scene.settings.identity = Some((one.cert.clone(), two.key));
    let error = refused(&scene);
    assert!(
        matches!(error, SetupError::KeyMismatch { key: "sslkey", .. }),
        "{error:?}"
    );

    let sealed =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    scene.settings.identity = Some((one.cert.clone(), scene.file("sealed.key", sealed)));
    let error = refused(&scene);
    assert!(
        matches!(
            error,
            SetupError::Nothing {
                wanted: "private key",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.cure().contains("openssl pkey"), "{}", error.cure());

    let torn = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!!c2VjcmV0\n-----END PRIVATE KEY-----\n";
    scene.settings.identity = Some((one.cert, scene.file("torn.key", torn)));
    let error = refused(&scene);
    assert!(!format!("{error} {error:?}").contains("c2Vj"), "{error:?}");
}

#[test]
fn a_damaged_revocation_list_is_refused() {
    let mut scene = Scene::new();
    let junk = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    scene.settings.crl = Some(scene.file("junk.crl", junk));
    let error = refused(&scene);
    assert!(error.to_string().starts_with("sslcrl: "), "{error}");
    assert!(error.to_string().contains("junk.crl"), "{error}");
}

#[test]
fn a_server_name_must_be_a_name_or_an_address() {
    let mut scene = Scene::new();
    for good in ["db", "db_1.internal", "10.0.0.1", "fd00::1"] {
        scene.settings.server_name = good.to_owned();
        Connector::new(&scene.settings).unwrap();
    }
    for bad in ["", "a b", "höst", "[::1]:5432"] {
        scene.settings.server_name = bad.to_owned();
        assert!(
            matches!(refused(&scene), SetupError::ServerName(_)),
            "{bad}"
        );
    }
}
