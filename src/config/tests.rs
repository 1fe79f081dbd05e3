//! The whole room, from sources to what is printed: the fixtures in
//! `tests/config`, precedence, secrets, and the documentation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::keys::SECTIONS;
use super::schema::Fallback;
use super::values::*;
use super::*;
use crate::cli::config::{check, show};

/// In every secret of every test; must never be seen.
const CANARY: &str = "CANARY";

/// A directory with what the fixtures name: `ca.crt`, and `secret` for one password.
struct Room {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Room {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issued = rcgen::generate_simple_self_signed(["db.example.com".to_owned()]).unwrap();
        fs::write(dir.path().join("ca.crt"), issued.cert.pem()).unwrap();
        let mut sources = Sources::default();
        write_secret(&dir.path().join("secret"), &format!("{CANARY}\n"));
        write_secret(&dir.path().join("proxy.toml"), text);
        sources.file = Some(dir.path().join("proxy.toml"));
        for line in text.lines() {
            let given = |prefix: &str| line.strip_prefix(prefix)?.split_once('=');
            if let Some((name, text)) = given("# env: ") {
                sources.env.insert(name.to_owned(), text.to_owned());
            } else if let Some((key, text)) = given("# flag: ") {
                sources.flags.insert(key.to_owned(), text.to_owned());
            } else if let Some((name, text)) = given("# file: ") {
                fs::write(dir.path().join(name), text).unwrap();
            }
        }
        Self { dir, sources }
    }

    fn env(mut self, name: &str, text: &str) -> Self {
        self.sources.env.insert(name.to_owned(), text.to_owned());
        self
    }

    fn flag(mut self, key: &str, text: &str) -> Self {
        self.sources.flags.insert(key.to_owned(), text.to_owned());
        self
    }

    /// With no file at all (the working directory's is not looked for).
    fn load_env(&self) -> Result<Loaded, Vec<Problem>> {
        load_file(None, &self.sources)
    }

    fn config(&self) -> Config {
        load(&self.sources).unwrap().config
    }

    /// Exit code, stdout and stderr of `config check`, without the directory's name.
    fn check(&self) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(&self.sources, false, &mut out, &mut err).unwrap();
        (code, self.clean(out), self.clean(err))
    }

    fn show(&self, json: bool) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(show(&self.sources, json, &mut out, &mut err).unwrap(), 0);
        self.clean(out)
    }

    fn clean(&self, output: Vec<u8>) -> String {
        let dir = format!("{}/", self.dir.path().display());
        String::from_utf8(output).unwrap().replace(&dir, "")
    }
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let dir = repository().join("tests/config").join(kind);
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Compares with a checked-in file; `BLESS=1` writes the file instead.
fn assert_blessed(path: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        actual,
        expected,
        "{} differs; BLESS=1 rewrites it",
        path.display()
    );
}

const MINIMAL: &str = "[upstreams.cluster]\nhost = \"db.example.com\"\nsslrootcert = \"ca.crt\"\n";

#[test]
fn valid_fixtures_are_ok() {
    for path in fixtures("valid") {
        let text = fs::read_to_string(&path).unwrap();
        let room = Room::new(&text);
        let (code, out, err) = room.check();
        assert_eq!(
            (code, out.as_str()),
            (0, "configuration ok\n"),
            "{}: {err}",
            path.display()
        );
        let wanted: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# warns: "))
            .collect();
        let warnings: Vec<&str> = err
            .lines()
            .filter_map(|line| line.strip_prefix("warning: "))
            .collect();
        assert_eq!(warnings.len(), wanted.len(), "{}: {err}", path.display());
        for (warning, wanted) in warnings.iter().zip(wanted) {
            assert!(warning.starts_with(wanted), "{}: {warning}", path.display());
        }
        let shown = room.show(false);
        shown
            .parse::<toml::Table>()
            .unwrap_or_else(|error| panic!("{}: {error}\n{shown}", path.display()));
        assert!(
            !format!("{err}{shown}{}{:?}", room.show(true), load(&room.sources)).contains(CANARY)
        );
    }
}

#[test]
fn invalid_fixtures_report_every_problem() {
    for path in fixtures("invalid") {
        let room = Room::new(&fs::read_to_string(&path).unwrap());
        let (code, out, err) = room.check();
        assert_eq!((code, out.as_str()), (2, ""), "{}", path.display());
        assert_blessed(&path.with_extension("expected"), &err);
        let problems = load(&room.sources).unwrap_err();
        // Names may hold the word; a value never does.
        assert!(
            !format!("{err}{problems:?}")
                .replace("CANARY_VARIABLE", "")
                .contains(CANARY),
            "{}",
            path.display()
        );
        for problem in problems {
            assert!(!problem.message.is_empty() && !problem.fix.is_empty());
            assert_eq!(problem.to_json()["key"], problem.key);
        }
    }
}

#[test]
fn the_example_is_valid_beside_its_ca() {
    let room = Room::new(&fs::read_to_string(repository().join("proxy.toml")).unwrap());
    fs::copy(
        room.dir.path().join("ca.crt"),
        room.dir.path().join("ca-certificate.crt"),
    )
    .unwrap();
    assert_eq!(
        room.check(),
        (0, "configuration ok\n".to_owned(), String::new())
    );
    let config = room.config();
    assert_eq!(config.upstream, "cluster");
    assert_eq!(config.limits.max_upstream_conn, 22);
}

#[test]
fn the_example_is_valid_with_every_commented_key() {
    let text = fs::read_to_string(repository().join("proxy.toml")).unwrap();
    let is_setting = |line: &str| line.contains(" = ") || line.starts_with("[");
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| is_setting(rest))
                .unwrap_or(line)
        })
        .collect();
    let room = Room::new(
        &uncommented
            .join("\n")
            .replace("\"passthrough\"", "\"held\""),
    );
    let dir = room.dir.path();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for name in ["ca-certificate.crt", "server.crt"] {
        fs::write(dir.join(name), issued.cert.pem()).unwrap();
    }
    write_secret(&dir.join("server.key"), &issued.signing_key.serialize_pem());
    fs::create_dir(dir.join("secrets")).unwrap();
    write_secret(&dir.join("secrets/sep"), "a");
    write_secret(&dir.join("secrets/doadmin"), "b");
    let json = r#"{"connection_pools": [{"name": "json", "size": 1, "database": "d"}]}"#;
    fs::write(dir.join("pools.json"), json).unwrap();
    assert_eq!(
        room.check(),
        (0, "configuration ok\n".to_owned(), String::new())
    );
    let config = room.config();
    assert_eq!(config.users["sep"].upstream_user, "doadmin");
    assert_eq!(config.databases["sep-primary-pool"].dbname, "defaultdb");
    assert_eq!(config.databases["app"].dbname, "defaultdb");
    assert_eq!(config.admin.users, ["postgres"]);
    assert!(matches!(config.listen.tls, ListenTls::Require(_)));
}

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
        "port = 4  # flag upstreams.cluster.port",
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
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let pool = Pool {
        name: "sep-primary-pool".to_owned(),
        mode: PoolMode::Transaction,
        size: 20,
        database: "defaultdb".to_owned(),
        user: Some("pooluser".to_owned()),
        priority: Priority::Medium,
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
        2,
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
    assert!(room.config().warnings.is_empty());
    let secret = room.dir.path().join("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    let config = room.config();
    assert!(
        config.warnings[0].contains("others can read it"),
        "{:?}",
        config.warnings
    );
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

#[test]
fn a_file_given_by_name_must_exist() {
    let sources = Sources {
        file: Some("/does/not/exist.toml".into()),
        ..Sources::default()
    };
    let problems = load(&sources).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .to_string()
            .starts_with("/does/not/exist.toml: cannot be read")
    );
}

#[test]
fn without_any_source_the_fix_shows_the_lines() {
    let problems = load_file(None, &Sources::default()).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].fix.contains("[upstreams.cluster]\n"));
}

#[test]
fn machine_readable_output() {
    let room = Room::new(MINIMAL).env("DB_PASSWORD", CANARY);
    let shown: serde_json::Value = serde_json::from_str(&room.show(true)).unwrap();
    assert_eq!(shown["limits.max_client_conn"]["value"], 200);
    assert_eq!(shown["upstreams.cluster.host"]["origin"], "proxy.toml:2");
    assert_eq!(shown["upstreams.cluster.password"]["value"], "********");
    let mut out = Vec::new();
    let code = check(&Room::new("x = 1").sources, true, &mut out, &mut Vec::new()).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (code, &report["ok"], &report["problems"][0]["line"]),
        (2, &false.into(), &1.into())
    );
}

/// What `show` prints configures the same proxy again.
#[test]
fn show_is_a_configuration() {
    for path in fixtures("valid") {
        let room = Room::new(&fs::read_to_string(&path).unwrap());
        let first = load(&room.sources).unwrap();
        let values = |loaded: &Loaded| -> Vec<(String, String)> {
            let settings = loaded.settings.iter();
            settings
                .map(|setting| (setting.key.clone(), setting.toml.clone()))
                .collect()
        };
        write_secret(&room.dir.path().join("proxy.toml"), &first.to_toml());
        let second = load(&Sources {
            env: BTreeMap::new(),
            ..room.sources.clone()
        });
        // The pools of a pools file are shown in full, so they would come twice.
        if !first.to_toml().contains("pools_file") {
            assert_eq!(
                values(&second.unwrap()),
                values(&first),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn every_default_is_a_correct_value() {
    let text = format!("{MINIMAL}[databases.d]\n");
    let loaded = load(&Room::new(&text).sources).unwrap();
    for section in SECTIONS {
        for key in section.keys {
            assert!(
                key.doc.trim().ends_with('.'),
                "{} needs a sentence",
                key.name
            );
            let always = section.repeat == schema::Repeat::Once;
            if always && matches!(key.fallback, Fallback::Text(_)) {
                let shown = loaded
                    .settings
                    .iter()
                    .any(|setting| setting.key == section.path(None).join(key.name).to_string());
                assert!(shown, "{} is not shown", key.name);
            }
        }
    }
}

#[test]
fn the_documentation_is_the_table() {
    const BEGIN: &str = "<!-- keys: written by `BLESS=1 cargo test --lib config` -->\n";
    const END: &str = "<!-- end of keys -->\n";
    let path = repository().join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    assert_blessed(
        &path,
        &format!("{before}{BEGIN}\n{}{END}{after}", show::reference()),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_file_panics(text in "\\PC*") {
        let _ = load(&Room::new(&text).sources);
    }

    #[test]
    fn no_line_panics(
        section in prop::sample::select(vec!["", "[listen]", "[upstreams.cluster]", "[[users]]", "[[pools]]", "[limits]"]),
        key in prop::sample::select(SECTIONS.iter().flat_map(|s| s.keys).map(|key| key.name).collect::<Vec<_>>()),
        value in "[0-9]{0,30}|\"[ -~]{0,12}\"|\\[.{0,9}\\]|\\{.{0,9}\\}|[+-]?0x[0-9a-f]{1,40}|\\PC{0,12}",
    ) {
        let _ = load(&Room::new(&format!("{section}\n{key} = {value}\n")).sources);
    }

    #[test]
    fn no_variable_panics(
        name in "PGSLUICE_[A-Z_]{0,20}|PGSLUICE_(USERS|POOLS|UPSTREAMS|LIMITS)(__[A-Z0-9_é]{0,9}){0,4}|D(ATABASE_URL|B_POOL_URL|B_SSL_MODE|B_PORT)",
        value in "\\PC{0,30}|postgres://[ -~]{0,30}",
    ) {
        let _ = load(&Room::new(MINIMAL).env(&name, &value).sources);
    }

    #[test]
    fn no_secret_is_seen(
        tail in "[ -~]{0,8}",
        key in prop::sample::select(vec!["password", "password = ", "sslkey", "pasword", "upstream_password", "x.password"]),
    ) {
        let text = format!("{MINIMAL}{key} = \"{CANARY}{tail}\n");
        let room = Room::new(&text).env("DATABASE_URL", &format!("postgres://u:{CANARY}{tail}@h/d?sslmode=disable"));
        let (_, out, err) = room.check();
        prop_assert!(!format!("{out}{err}{:?}", load(&room.sources)).contains(CANARY));
    }
}
