//! Who gets in from where, and what a server may ask: every combination that lets
//! strangers in is refused, and says which key accepts it.

use super::super::values::*;
use super::Room;

const HELD: &str = "auth.mode = 'held'\n";
const CERTIFICATE: &str = "listen.tls_cert_file = 'ca.crt'\nlisten.tls_key_file = 'own.key'\n";
const CLIENT_CA: &str = "listen.tls_ca_file = 'ca.crt'\n";
const UPSTREAM: &str = "[upstreams.cluster]\nhost = 'db.example.com'\nsslrootcert = 'ca.crt'\n";
const OWN_CERTIFICATE: &str = "sslcert = 'ca.crt'\nsslkey = 'own.key'\n";

/// The problems and the warnings of a proxy at `address` with this `tls_mode`.
fn said(address: &str, mode: &str, keys: &[&str]) -> (Vec<String>, Vec<String>) {
    let listen = format!("listen.addresses = ['{address}']\nlisten.tls_mode = '{mode}'\n");
    let certificate = if mode == "disable" { "" } else { CERTIFICATE };
    let text = [&[&*listen, certificate], keys].concat().concat();
    let lines = |text: &str, prefix: &str| {
        let lines = text.lines().filter(|line| line.contains(prefix));
        lines.map(str::to_owned).collect()
    };
    let (_, _, errors) = Room::new(&text).check();
    (lines(&errors, "proxy.toml:"), lines(&errors, "warning: "))
}

fn user(auth: &str) -> String {
    let proof = match auth {
        "trust" | "cert" | "peer" => "upstream_password_file = 'secret'",
        _ => "password_file = 'secret'",
    };
    format!("[[users]]\nname = 'sep'\nauth = '{auth}'\n{proof}\n")
}

/// What is said of `keys` on every address: of open ones `gap` with the modes `by`, and
/// with no other; a key accepts it.
fn is_open(keys: &[&str], gap: &str, by: &[&str]) {
    let accepted = [&["listen.allow_insecure_listen = true\n"], keys].concat();
    for mode in ["disable", "allow", "require", "verify-ca", "verify-full"] {
        let needs_ca = mode.starts_with("verify");
        let ca: &[&str] = if needs_ca { &[CLIENT_CA] } else { &[] };
        for address in ["0.0.0.0:5432", "[::]:5432", "10.0.0.1:5432"] {
            let (problems, _) = said(address, mode, &[ca, keys].concat());
            let (gaps, others): (Vec<_>, Vec<_>) =
                problems.into_iter().partition(|line| line.contains(gap));
            let expected = usize::from(by.contains(&mode));
            assert_eq!(
                gaps.len(),
                expected,
                "{mode} {address}: {gaps:?} {others:?}"
            );
            let (problems, warnings) = said(address, mode, &[ca, &accepted].concat());
            assert!(problems.is_empty(), "{mode}: {problems:?}");
            let accepted = warnings.iter().filter(|line| line.contains(gap));
            assert_eq!(accepted.count(), expected, "{mode}: {warnings:?}");
        }
        for address in ["127.0.0.1:5432", "[::1]:5432", "localhost:5432"] {
            let (problems, warnings) = said(address, mode, &[ca, keys].concat());
            assert!(problems.is_empty(), "{mode} {address}: {problems:?}");
            assert!(warnings.is_empty(), "{mode} {address}: {warnings:?}");
        }
    }
}

#[test]
fn tls_alone_proves_nobody() {
    let keys = [HELD, UPSTREAM, &user("trust")];
    is_open(
        &keys,
        "TLS alone proves nobody",
        &["disable", "allow", "require"],
    );
}

#[test]
fn a_password_does_not_cross_the_network_in_clear() {
    let keys = [HELD, UPSTREAM, &user("password")];
    is_open(&keys, "through the network in clear", &["disable", "allow"]);
}

#[test]
fn users_who_prove_themselves_may_come_from_anywhere() {
    for auth in ["scram-sha-256", "md5"] {
        is_open(&[HELD, UPSTREAM, &user(auth)], "is not loopback", &[]);
    }
}

#[test]
fn passthrough_needs_tls_beyond_this_machine() {
    is_open(
        &[UPSTREAM],
        "passthrough over plaintext",
        &["disable", "allow"],
    );
}

#[test]
fn the_proxys_certificate_is_not_lent_to_everybody() {
    let keys = [UPSTREAM, OWN_CERTIFICATE];
    is_open(
        &keys,
        "knows the proxy by its sslcert",
        &["disable", "allow", "require"],
    );
    // A server that has to ask each client is told apart from one that has not.
    let asking = [
        UPSTREAM,
        OWN_CERTIFICATE,
        "require_auth = 'scram-sha-256'\n",
    ];
    is_open(&asking, "knows the proxy by its sslcert", &[]);
    let unasking = [UPSTREAM, OWN_CERTIFICATE, "require_auth = 'none'\n"];
    let modes = ["disable", "allow", "require"];
    is_open(&unasking, "without asking them for anything", &modes);
}

#[test]
fn a_ca_for_clients_of_whom_no_certificate_is_asked_is_refused() {
    for address in ["0.0.0.0:5432", "127.0.0.1:5432"] {
        for (users, is_refused) in [(user("scram-sha-256"), true), (user("cert"), false)] {
            let keys = [CLIENT_CA, HELD, UPSTREAM, &users];
            let (problems, _) = said(address, "require", &keys);
            assert_eq!(problems.len(), usize::from(is_refused), "{problems:?}");
            let accepted = ["listen.allow_insecure_listen = true\n"];
            let (problems, warnings) = said(address, "require", &[&accepted, &keys[..]].concat());
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!(warnings.len(), usize::from(is_refused), "{warnings:?}");
        }
        let (problems, _) = said(address, "require", &[CLIENT_CA, UPSTREAM]);
        assert!(
            problems[0].contains("asks nobody for a certificate"),
            "{problems:?}"
        );
    }
}

#[test]
fn a_mode_that_demands_certificates_needs_to_know_of_which_ca() {
    for mode in ["verify-ca", "verify-full"] {
        let (problems, _) = said("127.0.0.1:5432", mode, &[UPSTREAM]);
        assert!(
            problems[0].contains("nothing says of which CA"),
            "{problems:?}"
        );
    }
}

/// Without files, a certificate is made where nobody could verify it anyway: for held
/// credentials, on this machine. libpq over TLS would say in passthrough that it could bind.
#[test]
fn a_certificate_is_made_for_held_credentials_on_loopback_only() {
    let listen = |address: &str, mode: &str| {
        format!("listen.addresses = ['{address}']\nlisten.tls_mode = '{mode}'\n")
    };
    let table = [
        ("127.0.0.1:5432", "allow", HELD, true),
        ("0.0.0.0:5432", "allow", HELD, false),
        ("127.0.0.1:5432", "require", HELD, false),
        ("127.0.0.1:5432", "allow", "", false),
    ];
    for (address, mode, auth, is_made) in table {
        let users = if auth == HELD {
            user("scram-sha-256")
        } else {
            String::new()
        };
        let room = Room::new(&[&listen(address, mode), auth, UPSTREAM, &users].concat());
        let (code, _, errors) = room.check();
        assert_eq!(code == 0, is_made, "{address} {mode} {auth}: {errors}");
        if is_made {
            let tls = room.config().listen.tls;
            let ListenTls::Allow(identity) = tls else {
                panic!("{tls:?}");
            };
            assert_eq!(identity.certificate, OwnCertificate::MadeAtStart);
        } else {
            assert!(
                errors.contains("tls_cert_file and tls_key_file"),
                "{errors}"
            );
        }
    }
}

/// The default by `sslmode`; in passthrough, whoever has proven who it is, or is on this
/// machine, may also ask for nothing: unless strangers come, or the proxy shows a certificate.
#[test]
fn what_a_server_may_ask_depends_on_what_it_has_proven() {
    let full = "[upstreams.cluster]\nhost = 'db.example.com'\nsslrootcert = 'ca.crt'\n";
    let ca = "[upstreams.cluster]\nhost = 'db.example.com'\nsslrootcert = 'ca.crt'\nsslmode = 'verify-ca'\n";
    let require = "[upstreams.cluster]\nhost = 'db.example.com'\nsslmode = 'require'\n";
    let local = "[upstreams.cluster]\nhost = '127.0.0.1'\nport = 5433\nsslmode = 'disable'\n";
    let unix = "[upstreams.cluster]\nhost = '/tmp'\nsslmode = 'disable'\n";
    let shown = &[full, OWN_CERTIFICATE].concat();
    let table: [(&str, &str, &str); 6] = [
        (full, "scram-sha-256,md5,password", ",none"),
        (ca, "scram-sha-256", ""),
        (require, "scram-sha-256", ""),
        (local, "scram-sha-256,md5", ",none"),
        (unix, "scram-sha-256,md5", ",none"),
        (shown, "scram-sha-256,md5,password", ""),
    ];
    let allowed = |keys: &[&str]| {
        let config = Room::new(&keys.concat()).config();
        config.upstreams["cluster"].require_auth.to_string()
    };
    let users = user("scram-sha-256");
    for (upstream, held, and_relayed) in table {
        assert_eq!(allowed(&[HELD, upstream, &users]), held);
        assert_eq!(allowed(&[upstream]), [held, and_relayed].concat());
        for written in ["scram-sha-256", "password,none"] {
            let written_key = format!("require_auth = '{written}'\n");
            assert_eq!(allowed(&[upstream, &written_key]), written);
            assert_eq!(allowed(&[HELD, upstream, &written_key, &users]), written);
        }
    }
    let open = "listen.addresses = ['0.0.0.0:5432']\nlisten.allow_insecure_listen = true\n";
    assert_eq!(allowed(&[open, full]), "scram-sha-256,md5,password");
}

#[test]
fn a_verifier_is_no_password_for_a_server() {
    let verifier = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$CANARY:CANARY";
    let client = format!("[[users]]\nname = 'sep'\npassword = '{verifier}'\n");
    let (code, _, errors) = Room::new(&[HELD, UPSTREAM, &client].concat()).check();
    assert_eq!(code, 2);
    assert!(errors.contains("SCRAM verifier"), "{errors}");
    assert!(!errors.contains("CANARY"), "{errors}");
    for cured in [
        "upstream_password_file = 'secret'\n",
        "upstream_user = 'app'\n",
    ] {
        let (code, _, errors) = Room::new(&[HELD, UPSTREAM, &client, cured].concat()).check();
        assert_eq!(code, 0, "{errors}");
    }
    let trusting = [HELD, UPSTREAM, "require_auth = 'none'\n", &client].concat();
    assert_eq!(Room::new(&trusting).check().0, 0);
    let upstream =
        format!("[[users]]\nname = 'sep'\nauth = 'trust'\nupstream_password = '{verifier}'\n");
    let (code, _, errors) = Room::new(&[HELD, UPSTREAM, &upstream].concat()).check();
    assert_eq!(code, 2);
    assert!(
        errors.contains("users[0].upstream_password: is a SCRAM verifier"),
        "{errors}"
    );
}
