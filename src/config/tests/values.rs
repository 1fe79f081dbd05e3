//! What the sources become: defaults, precedence, the plan's variables, secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::super::values::*;
use super::{CANARY, MINIMAL, Room};

#[test]
fn defaults_hold() {
    let config = Room::new(MINIMAL).config();
    assert_eq!(config.upstream, "cluster");
    let addresses = [
        "127.0.0.1:5432".parse().unwrap(),
        "[::1]:5432".parse().unwrap(),
    ];
    assert_eq!(config.listen.addresses, addresses);
    assert_eq!(config.listen.unix_socket_mode, 0o777);
    assert_eq!(config.limits.query_wait_timeout, Duration::from_secs(120));
    assert_eq!(config.limits.max_user_connections, None);
    assert_eq!(config.auth.mode, AuthMode::Passthrough);
    let upstream = &config.upstreams["cluster"];
    assert_eq!(upstream.connect_timeout, Duration::from_secs(15));
    let UpstreamTls::Enable(tls) = &upstream.tls else {
        panic!("plaintext by default");
    };
    assert_eq!(
        (tls.verify, tls.min_version),
        (Verify::Full, TlsVersion::Tls12)
    );
    assert_eq!(tls.server_name, "db.example.com");
    assert!(config.warnings.is_empty());
}

#[test]
fn a_stronger_source_wins() {
    let text = format!("{MINIMAL}port = 1\nuser = \"file\"\ndbname = \"file\"\n");
    let room = Room::new(&text)
        .env("DB_PORT", "2")
        .env("DB_USER", "plan")
        .env("PGSLUICE_UPSTREAMS__CLUSTER__PORT", "3")
        .flag("upstreams.cluster.port", "4");
    let upstream = &room.config().upstreams["cluster"];
    let address = UpstreamAddress::Tcp {
        host: "db.example.com".to_owned(),
        port: 4,
    };
    assert_eq!(upstream.address, address);
    assert_eq!(upstream.user.as_deref(), Some("plan"));
    assert_eq!(upstream.dbname.as_deref(), Some("file"));
    let shown = room.show(false);
    for line in [
        "port = 4  # --set upstreams.cluster.port",
        "user = \"plan\"  # env DB_USER",
        "dbname = \"file\"  # proxy.toml:6",
        "connect_timeout = \"15s\"  # default",
        "upstream = \"cluster\"  # default",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} is not in\n{shown}"
        );
    }
}

/// Figment's own environment provider makes numbers of such values.
#[test]
fn text_in_the_environment_stays_text() {
    for text in ["12345", "true", "[a]", "\"quoted\"", "1e3", " "] {
        let room = Room::new(MINIMAL).env("PGSLUICE_UPSTREAMS__CLUSTER__PASSWORD", text);
        let config = room.config();
        let password = config.upstreams["cluster"].password.as_ref().unwrap();
        assert_eq!(password.expose(), text);
    }
}

#[test]
fn lists_and_entries_come_from_the_environment() {
    let room = Room::new(MINIMAL)
        .env("PGSLUICE_LISTEN__ADDRESSES", "127.0.0.1:1, [::1]:2")
        .env("PGSLUICE_AUTH__MODE", "held")
        .env("PGSLUICE_USERS__0__NAME", "app")
        .env("PGSLUICE_USERS__0__PASSWORD_ENV", "APP_PASSWORD")
        .env("APP_PASSWORD", CANARY)
        .env("PGSLUICE_DATABASES__APP__DBNAME", "defaultdb");
    let config = room.config();
    assert_eq!(config.listen.addresses.len(), 2);
    assert_eq!(config.listen.unix_socket_port, 1);
    assert_eq!(
        config.users["app"].password.as_ref().unwrap().expose(),
        CANARY
    );
    assert_eq!(
        config.users["app"]
            .upstream_password
            .as_ref()
            .unwrap()
            .expose(),
        CANARY
    );
    assert_eq!(config.databases["app"].dbname, "defaultdb");
}

#[test]
fn the_plans_variables_suffice() {
    let room = Room::new("");
    let ca = room.dir.path().join("ca.crt").display().to_string();
    let room = room
        .env("DB_HOST", "db.example.com")
        .env("DB_PORT", "25060")
        .env("DB_USER", "doadmin")
        .env("DB_PASSWORD", "12345")
        .env("DB_NAME", "defaultdb")
        .env("DB_SSL_MODE", "require")
        .env("DB_SSL_CERT", &ca)
        .env("DB_POOL_NAME", "sep-primary-pool")
        .env("DB_POOL_MODE", "transaction")
        .env("DB_POOL_SIZE", "20")
        .env(
            "DB_POOL_URL",
            "postgres://pooluser:CANARY@db.example.com:25061/ignored",
        );
    let config = room.load_env().unwrap().config;
    let upstream = &config.upstreams["cluster"];
    assert_eq!(upstream.password.as_ref().unwrap().expose(), "12345");
    let UpstreamTls::Enable(tls) = &upstream.tls else {
        panic!("plaintext");
    };
    assert_eq!(
        (tls.verify, &tls.roots),
        (Verify::Full, &Roots::File(ca.into()))
    );
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    let pool = Pool {
        name: "sep-primary-pool".to_owned(),
        database: "defaultdb".to_owned(),
        user: Some("pooluser".to_owned()),
        overrides: Overrides {
            mode: Some(PoolMode::Transaction),
            size: Some(20),
            ..Overrides::default()
        },
    };
    assert_eq!(config.pools, [pool]);
}

#[test]
fn a_database_url_suffices() {
    let room = Room::new("");
    let ca = room.dir.path().join("ca.crt").display().to_string();
    let url = format!(
        "postgresql+psycopg://do%40min:p%3Aw%25@[2001:db8::1]:25060/defaultdb\
         ?sslmode=require&sslrootcert={ca}&connect_timeout=7&schema=public"
    );
    let loaded = room.env("DATABASE_URL", &url).load_env().unwrap();
    let upstream = &loaded.config.upstreams["cluster"];
    assert_eq!(upstream.user.as_deref(), Some("do@min"));
    assert_eq!(upstream.password.as_ref().unwrap().expose(), "p:w%");
    assert_eq!(upstream.connect_timeout, Duration::from_secs(7));
    let address = UpstreamAddress::Tcp {
        host: "2001:db8::1".to_owned(),
        port: 25060,
    };
    assert_eq!(upstream.address, address);
    assert!(matches!(&upstream.tls, UpstreamTls::Enable(tls) if tls.verify == Verify::Full));
    assert_eq!(
        loaded.config.warnings.len(),
        3,
        "{:?}",
        loaded.config.warnings
    );
}

/// Only `proxy.toml` and `PGSLUICE_` may ask for less than verify-full.
#[test]
fn the_plans_variables_never_lower_sslmode() {
    let verify = |room: &Room| match &room.config().upstreams["cluster"].tls {
        UpstreamTls::Enable(tls) => tls.verify,
        UpstreamTls::Disable => panic!("plaintext"),
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let room = Room::new(MINIMAL).env("DB_SSL_MODE", mode);
        assert_eq!(verify(&room), Verify::Full, "{mode}");
        let text = MINIMAL.to_owned() + "sslmode = \"verify-full\"\n";
        assert_eq!(
            verify(&Room::new(&text).env("DB_SSL_MODE", mode)),
            Verify::Full,
            "{mode}"
        );
    }
    let asked = MINIMAL.to_owned() + "sslmode = \"verify-ca\"\n";
    assert_eq!(
        verify(&Room::new(&asked).env("DB_SSL_MODE", "require")),
        Verify::Ca
    );
    assert_eq!(
        verify(&Room::new(&asked).env("DB_SSL_MODE", "verify-full")),
        Verify::Full
    );
    let room = Room::new(MINIMAL)
        .env("DB_SSL_MODE", "require")
        .env("PGSLUICE_UPSTREAMS__CLUSTER__SSLMODE", "verify-ca");
    assert_eq!(verify(&room), Verify::Ca);
}

#[test]
fn a_readable_secret_file_is_said() {
    let text = format!("{MINIMAL}user = \"u\"\npassword_file = \"secret\"\n");
    let room = Room::new(&text);
    let said = |room: &Room| {
        let warnings = room.config().warnings;
        warnings
            .iter()
            .any(|text| text.contains("others can read it"))
    };
    assert!(!said(&room));
    let secret = room.dir.path().join("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(said(&room));
    let config = room.config();
    assert_eq!(
        config.upstreams["cluster"]
            .password
            .as_ref()
            .unwrap()
            .expose(),
        CANARY
    );
}

#[test]
fn the_upstreams_credentials_are_for_its_own_user() {
    let text = format!(
        "{MINIMAL}user = \"shared\"\npassword_file = \"secret\"\n[auth]\nmode = \"held\"\n\
         [[users]]\nname = \"a\"\npassword = \"own-a\"\n\
         [[users]]\nname = \"b\"\npassword = \"own-b\"\nupstream_user = \"b\"\n\
         [[users]]\nname = \"c\"\npassword = \"own-c\"\nupstream_user = \"other\"\n"
    );
    let config = Room::new(&text).config();
    let given = |name: &str| {
        let user = &config.users[name];
        let password = user
            .upstream_password
            .as_ref()
            .map(|secret| secret.expose().to_owned());
        (user.upstream_user.clone(), password)
    };
    assert_eq!(given("a"), ("shared".to_owned(), Some(CANARY.to_owned())));
    assert_eq!(given("b"), ("b".to_owned(), Some("own-b".to_owned())));
    assert_eq!(given("c"), ("other".to_owned(), None));
}

/// The word that holds is the operator's, and `show` says so.
#[test]
fn an_equal_sslmode_in_the_file_keeps_its_place() {
    let text = format!("{MINIMAL}sslmode = \"verify-full\"\n");
    let room = Room::new(&text).env("DB_SSL_MODE", "require");
    assert!(room.config().warnings.is_empty());
    let line = "sslmode = \"verify-full\"  # proxy.toml:4\n";
    assert!(room.show(false).contains(line), "{}", room.show(false));
}

/// As platforms hand it over, and as editors and browsers leave it.
#[test]
fn a_certificate_may_be_text_in_a_variable_or_wrapped_in_its_file() {
    let room = Room::new("[upstreams.cluster]\nhost = \"db.example.com\"\n");
    let pem = fs::read_to_string(room.dir.path().join("ca.crt")).unwrap();
    let room = room.env("DB_SSL_CERT", &pem);
    let roots = |room: &Room| match &room.config().upstreams["cluster"].tls {
        UpstreamTls::Enable(tls) => tls.roots.clone(),
        UpstreamTls::Disable => panic!("plaintext"),
    };
    assert_eq!(roots(&room), Roots::Inline(pem.clone()));

    let room = Room::new(MINIMAL);
    let path = room.dir.path().join("ca.crt");
    let issued = rcgen::generate_simple_self_signed(["db.example.com".to_owned()]).unwrap();
    for bytes in [
        format!("\u{feff}{pem}").into_bytes(),
        issued.cert.der().to_vec(),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(roots(&room), Roots::File(path.clone()));
    }
    // PKCS#12, by its beginning.
    fs::write(&path, b"\x30\x82\x01\x00\x02\x01\x03").unwrap();
    let (code, _, err) = room.check();
    assert_eq!(code, 2);
    assert!(err.contains("`openssl pkcs12 -in FILE -nokeys"), "{err}");
}
