//! The whole room, from sources to what is printed: the fixtures in
//! `tests/config`, the example, the output and the documentation.

mod exposure;
mod hostile;
mod pooling;
mod values;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::keys::SECTIONS;
use super::schema::Fallback;
use super::values::ListenTls;
use super::*;
use crate::cli::config::{check, show};

/// In every secret of every test; must never be seen.
const CANARY: &str = "CANARY";

/// A directory with what the fixtures name: `ca.crt` and its key `own.key`, and `secret` for
/// one password.
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
        let key = issued.signing_key.serialize_pem();
        write_secret(&dir.path().join("own.key"), &key);
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
    assert!(!config.pooling.is_used());
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
    let plan = {
        let [asked, database, presented, user] =
            ["app", "defaultdb", "sep", "doadmin"].map(Into::into);
        config.pooling.plan(&asked, &database, &presented, &user)
    };
    assert_eq!(plan.unwrap().name.as_deref(), Some("sep-primary-pool"));
    assert_eq!(config.admin.users, ["postgres"]);
    assert!(matches!(config.listen.tls, ListenTls::Require(_)));
}

#[test]
fn a_variable_that_is_not_text_is_refused_if_it_is_read() {
    let sources = Sources {
        env_not_text: ["DB_PASSWORD", "PGSLUICE_UPSTREAM", "HOME"]
            .map(str::to_owned)
            .into(),
        ..Sources::default()
    };
    let problems = load(&sources).unwrap_err();
    let of = |name: &str| {
        let told = |problem: &&Problem| {
            problem.message.contains("UTF-8") && problem.to_string().contains(name)
        };
        problems.iter().filter(told).count()
    };
    assert_eq!(
        ["DB_PASSWORD", "PGSLUICE_UPSTREAM", "HOME"].map(of),
        [1, 1, 0]
    );
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
            .starts_with("/does/not/exist.toml: there is no such file")
    );
}

/// What is right is shown beside what is wrong or missing.
#[test]
fn show_goes_on_without_an_upstream() {
    let room = Room::new("[limits]\nmax_client_conn = 7\nmax_upstream_conn = 0\n");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(show(&room.sources, false, &mut out, &mut err).unwrap(), 2);
    let (out, err) = (room.clean(out), room.clean(err));
    assert!(
        out.contains("max_client_conn = 7  # proxy.toml:2\n"),
        "{out}"
    );
    assert!(!out.contains("max_upstream_conn"), "{out}");
    assert!(err.contains("no upstream is configured"), "{err}");
    assert!(
        err.contains("limits.max_upstream_conn: must be at least 1"),
        "{err}"
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
        write_secret(
            &room.dir.path().join("proxy.toml"),
            &as_toml(&first.settings),
        );
        let second = load(&Sources {
            env: BTreeMap::new(),
            ..room.sources.clone()
        });
        // The pools of a pools file are shown in full, so they would come twice.
        if !as_toml(&first.settings).contains("pools_file") {
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
