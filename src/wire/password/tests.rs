//! Vectors of both methods, and each stored form against each method.

use super::*;

const SALT: [u8; 4] = [0x2a, 0x3d, 0x8f, 0xe0];

fn stored(text: &str) -> Stored {
    Stored::parse(&Secret::new(text)).unwrap()
}

#[test]
fn md5_vectors() {
    // The one of postgres_protocol.
    let response = stored("password").md5_response("md5_user", SALT).unwrap();
    assert_eq!(*response, "md562af4dd09bbb41884907a838a3233294");
    // `set password_encryption = 'md5'; create role m1 password 'secret'` on Postgres 15.
    let hash = stored("md5132ecbcbfa11be529b63ea4c4e734056");
    assert!(hash.accepts_cleartext("m1", b"secret"));
    assert!(!hash.accepts_cleartext("m2", b"secret"));
    assert_eq!(
        hash.md5_response("m1", SALT),
        stored("secret").md5_response("m1", SALT)
    );
}

#[test]
fn md5_agrees_with_the_library() {
    let theirs =
        postgres_protocol::authentication::md5_hash("zoë".as_bytes(), "pä".as_bytes(), SALT);
    assert_eq!(*stored("pä").md5_response("zoë", SALT).unwrap(), theirs);
    assert!(stored("pä").accepts_md5("zoë", SALT, theirs.as_bytes()));
    assert!(!stored("pä").accepts_md5("zoë", [0; 4], theirs.as_bytes()));
    assert!(!stored("pä").accepts_md5("zoe", SALT, theirs.as_bytes()));
    assert!(!stored("pä").accepts_md5("zoë", SALT, &theirs.as_bytes()[..34]));
    assert!(!stored("pä").accepts_md5("zoë", SALT, b""));
}

#[test]
fn forms_are_told_apart_as_postgres_does() {
    assert!(matches!(stored("secret"), Stored::Plain(_)));
    assert!(matches!(stored("md5rocks"), Stored::Plain(_)));
    assert!(matches!(
        stored("md5132ECBCBFA11BE529B63EA4C4E734056"),
        Stored::Plain(_)
    ));
    assert!(matches!(
        stored("md5132ecbcbfa11be529b63ea4c4e734056"),
        Stored::Md5(_)
    ));
    assert!(matches!(
        stored("SCRAM-SHA-256 is a mechanism"),
        Stored::Plain(_)
    ));
    let fault = |text: &str| Stored::parse(&Secret::new(text)).unwrap_err();
    assert_eq!(fault(""), StoredFault::Empty);
    assert_eq!(fault("SCRAM-SHA-256$4096:oops"), StoredFault::Verifier);
}

#[test]
fn a_verifier_serves_scram_and_cleartext_but_not_md5() {
    let text = postgres_protocol::password::scram_sha_256(b"secret");
    let verifier = stored(&text);
    assert!(matches!(verifier, Stored::Scram(_)));
    assert!(verifier.accepts_cleartext("anybody", b"secret"));
    assert!(!verifier.accepts_cleartext("anybody", b"Secret"));
    assert!(!verifier.accepts_cleartext("anybody", b"\xff"));
    assert!(verifier.md5_response("anybody", SALT).is_none());
    assert!(!verifier.accepts_md5("anybody", SALT, b"md5"));
    assert!(verifier.verifier(b"unused").is_some());
    assert!(
        stored("md5132ecbcbfa11be529b63ea4c4e734056")
            .verifier(b"salt")
            .is_none()
    );
    let derived = stored("secret").verifier(b"salt").unwrap();
    assert!(derived.matches(&Secret::new("secret")));
}

#[test]
fn cleartext_is_compared_whole() {
    let plain = stored("secret");
    assert!(plain.accepts_cleartext("u", b"secret"));
    for wrong in [&b""[..], b"secre", b"secrets", b"Secret", b"secret\0"] {
        assert!(!plain.accepts_cleartext("u", wrong));
    }
}

#[test]
fn secrets_do_not_show() {
    for text in ["secret", "md5132ecbcbfa11be529b63ea4c4e734056"] {
        let shown = format!("{:?}", stored(text));
        assert!(!shown.contains(text.trim_start_matches("md5")), "{shown}");
    }
}
