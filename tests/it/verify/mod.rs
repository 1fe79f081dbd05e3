//! `pgsluice verify` between real servers: equal databases are equal, and each damage is
//! found, by a process that ends with 1.

mod damages;

use std::path::Path;
use std::process::Stdio;

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::support::Postgres;
use crate::support::wait::{self, PATIENCE};
use crate::{VERIFY_EVERY, verify_servers};

const FIXTURE: &str = include_str!("fixture.sql");

/// What happens to a table that is no change of its rows.
const UNCHANGED: &str = "
    create table public.again as select * from plain.no_key order by random();
    truncate plain.no_key;
    insert into plain.no_key select * from public.again;
    drop table public.again;
    alter table plain.customer add column gone integer default 7;
    alter table plain.customer drop column gone;
    update plain.customer set name = name;
    reindex table plain.customer;
    analyze;
";

/// Two servers with the same in the database `base` of both, and in `fixture`, which nobody uses.
struct Stand {
    from: Postgres,
    to: Postgres,
}

impl Stand {
    async fn get() -> &'static Self {
        static STAND: OnceCell<Stand> = OnceCell::const_new();
        STAND
            .get_or_init(|| async {
                let (from, to) = verify_servers().await;
                for postgres in [&from, &to] {
                    create(postgres, "fixture", "template0").await;
                    let client = postgres.superuser("fixture").await;
                    client.batch_execute(FIXTURE).await.unwrap();
                    drop(client);
                    create(postgres, "base", "fixture").await;
                }
                Self { from, to }
            })
            .await
    }

    async fn verify(&self, database: &str, arguments: &[&str]) -> Outcome {
        let run = Run::new(self, ("base", database));
        run.arguments(arguments).await
    }
}

async fn create(postgres: &Postgres, name: &str, template: &str) {
    wait::until(PATIENCE, "nobody uses the template", async || {
        postgres.sessions(template).await == 0
    })
    .await;
    let sql = format!("create database {name} template {template}");
    postgres.execute(&sql).await;
}

/// One call of the command.
struct Run {
    config: String,
    _directory: TempDir,
}

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }

    /// State, kind, name and detail of everything that is not equal.
    fn findings(&self) -> Vec<String> {
        let json = self.json();
        let findings = json["findings"].as_array().unwrap().iter();
        let line = |finding: &Value| {
            let field = |name: &str| finding[name].as_str().unwrap().to_owned();
            format!(
                "{} {} {}: {}",
                field("state"),
                field("kind"),
                field("name"),
                field("detail")
            )
        };
        findings.map(line).collect()
    }
}

impl Run {
    fn new(stand: &Stand, (from, to): (&str, &str)) -> Self {
        let one = |name: &str, postgres: &Postgres, database: &str| {
            let superuser = &postgres.superuser;
            format!(
                "[upstreams.{name}]\nhost = \"127.0.0.1\"\nport = {}\nserver_name = \"{}\"\nsslmode = \"verify-full\"\n\
                 sslrootcert = \"{}\"\nuser = \"{}\"\npassword = \"{}\"\ndbname = \"{database}\"\nrequire_auth = \"none,scram-sha-256\"\n",
                postgres.port(),
                postgres.host_name,
                postgres.ca_file().display(),
                superuser.user,
                superuser.password,
            )
        };
        let text = format!(
            "upstream = \"old\"\n{}{}",
            one("old", &stand.from, from),
            one("new", &stand.to, to)
        );
        Self::with_config(&text)
    }

    fn with_config(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("proxy.toml");
        std::fs::write(&file, text).unwrap();
        Self {
            config: file.display().to_string(),
            _directory: directory,
        }
    }

    fn directory(&self) -> &Path {
        self._directory.path()
    }

    async fn arguments(&self, arguments: &[&str]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_pgsluice"))
            .args(["verify", "-c", &self.config, "--from", "old", "--to", "new"])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        Outcome {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[tokio::test]
async fn equal_databases_are_equal_whatever_the_order_of_rows_and_columns() {
    let stand = Stand::get().await;
    create(&stand.to, "unchanged", "fixture").await;
    let client = stand.to.superuser("unchanged").await;
    client.batch_execute(UNCHANGED).await.unwrap();
    let run = Run::new(stand, ("base", "unchanged"));
    let page = run.directory().join("report.html");
    let page = page.to_str().unwrap();
    let outcome = run.arguments(&["--json", "--report", page]).await;
    assert_eq!(outcome.findings(), Vec::<String>::new());
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let json = outcome.json();
    assert_eq!(
        (&json["equal"], &json["exit_code"]),
        (&true.into(), &0.into())
    );
    let rows = |name: &str| {
        let tables = json["tables"].as_array().unwrap();
        let table = tables.iter().find(|table| table["name"] == name);
        table.unwrap()["rows"].clone()
    };
    assert_eq!(rows("plain.customer"), serde_json::json!([3000, 3000]));
    assert_eq!(
        rows("\"Sales & Co\".\"Order\""),
        serde_json::json!([200, 200])
    );
    assert_eq!(rows("large objects"), serde_json::json!([2, 2]));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("plain.customer") && !page.contains("http"),
        "{page}"
    );
}

#[tokio::test]
async fn each_damage_is_found_and_named() {
    let stand = Stand::get().await;
    let all = damages::ROWS.iter().chain(damages::OBJECTS);
    let all = all.step_by(VERIFY_EVERY).enumerate();
    let checks = all.map(|(number, damage)| check(stand, number, damage));
    let wrong: Vec<_> = stream::iter(checks)
        .buffer_unordered(3)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong about how one damage is found, if anything.
async fn check(stand: &Stand, number: usize, damage: &damages::Damage) -> Option<String> {
    let database = format!("damaged_{number}");
    create(&stand.to, &database, "fixture").await;
    let client = stand.to.superuser(&database).await;
    if let Err(error) = client
        .batch_execute(&damage.sql.replace("{database}", &database))
        .await
    {
        return Some(format!("{}: {error:?}", damage.sql));
    }
    drop(client);
    let outcome = stand.verify(&database, &["--json", "--jobs", "1"]).await;
    stand
        .to
        .execute(&format!("drop database {database} with (force)"))
        .await;
    let findings = outcome.findings();
    let is_found = findings.iter().any(|line| {
        line.starts_with("mismatch ") && damage.found.iter().all(|word| line.contains(word))
    });
    (outcome.code != Some(1) || !is_found)
        .then(|| format!("{}: {:?}, {findings:#?}", damage.sql, outcome.code))
}

#[tokio::test]
async fn what_must_not_be_read_is_unchecked_and_not_equal() {
    let stand = Stand::get().await;
    let run = Run::new(stand, ("base", "base"));
    let text = std::fs::read_to_string(&run.config).unwrap();
    let (user, password) = (stand.to.app.user, &stand.to.app.password);
    let (old, new) = text.split_once("[upstreams.new]").unwrap();
    let superuser = &stand.to.superuser;
    let new = new
        .replace(&format!("\"{}\"", superuser.user), &format!("\"{user}\""))
        .replace(&superuser.password, password);
    let run = Run::with_config(&format!("{old}[upstreams.new]{new}"));
    let outcome = run.arguments(&["--json", "--table", "plain.*"]).await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.err);
    let findings = outcome.findings();
    for wanted in [
        "unchecked rows plain.no_key: on new: ",
        "unchecked sequence position plain.counter: no right to read it",
        "unchecked rows plain.empty: on new: permission denied",
        "skipped rows large objects: ",
    ] {
        assert!(
            findings.iter().any(|line| line.starts_with(wanted)),
            "{wanted}: {findings:#?}"
        );
    }
    let customer = findings
        .iter()
        .find(|line| line.contains("rows plain.customer"));
    assert_eq!(customer, None, "it may read that one");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_with_the_code_that_says_why() {
    let stand = Stand::get().await;
    let text = std::fs::read_to_string(Run::new(stand, ("base", "base")).config).unwrap();
    let (old, _) = text.split_once("[upstreams.new]").unwrap();
    let copy = old.split_once("[upstreams.old]").unwrap().1;
    let itself = Run::with_config(&format!("{old}[upstreams.new]{copy}"))
        .arguments(&[])
        .await;
    assert_eq!(itself.code, Some(3), "{}", itself.err);
    assert!(itself.err.contains("the same database"), "{}", itself.err);
    let pair = stand.verify("base", &["--mode", "snapshot-pair"]).await;
    assert_eq!(pair.code, Some(2));
    assert!(pair.err.contains("--mode frozen"), "{}", pair.err);
    let nothing = stand.verify("base", &["--table", "no.such"]).await;
    assert_eq!(nothing.code, Some(2), "{}", nothing.err);
    let missing = stand.verify("no_such_database", &[]).await;
    assert_eq!(missing.code, Some(4), "{}", missing.err);
    let unknown = Run::with_config(old).arguments(&[]).await;
    assert_eq!(unknown.code, Some(2), "{}", unknown.err);
    assert!(unknown.err.contains("there are: old"), "{}", unknown.err);
    let wrong_ca = text.replacen("verify-full", "verify-full\"\nsslcrl = \"/no/such/file", 1);
    let wrong_ca = Run::with_config(&wrong_ca).arguments(&[]).await;
    assert_eq!(wrong_ca.code, Some(2), "{}", wrong_ca.err);
}

#[tokio::test]
async fn a_rate_divides_tables_and_finds_the_same() {
    let stand = Stand::get().await;
    let arguments = ["--json", "--max-rate", "64MiB", "--max-snapshot-age", "1s"];
    let outcome = stand.verify("base", &arguments).await;
    assert_eq!(outcome.findings(), Vec::<String>::new());
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
}
