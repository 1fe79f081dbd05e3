//! `pgsluice check` from outside: what is well passes with figures, each known mistake is told
//! with its cause and cure, and nothing that was not looked at passes.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::support::certs::{self, Authority, Days, Identity, Leaf};
use super::support::postgres::{DATABASE, Stop};
use super::support::scripted::{Scripted, error, sasl, welcome};
use super::support::tls_servers::{Script, ScriptedServer, serve, server_config};
use super::support::wait::PATIENCE;
use super::support::{Postgres, frontend};

const NAME: &str = "db.internal";

/// A directory with a `proxy.toml`, and the command that is run there.
struct Bench {
    files: TempDir,
}

/// What a run came to.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn new(toml: &str) -> Self {
        let bench = Self {
            files: TempDir::new().unwrap(),
        };
        bench.rewrite(toml);
        bench
    }

    /// Nobody else may read it: it holds passwords.
    fn rewrite(&self, toml: &str) {
        certs::write(&self.files.path().join("proxy.toml"), toml, 0o600);
    }

    /// `[upstreams.cluster]` for a real server; what `extra` says comes behind.
    fn of(postgres: &Postgres, extra: &str) -> Self {
        Self::new(&section(postgres, extra))
    }

    /// Of a server that is played, which `ca` vouches for.
    fn played(address: SocketAddr, ca: &Authority, extra: &str) -> Self {
        let bench = Self::new("");
        let ca = ca.write(bench.files.path(), "ca");
        let port = address.port();
        let toml = format!(
            "[upstreams.cluster]\nhost = '127.0.0.1'\nport = {port}\nserver_name = '{NAME}'\n\
             sslrootcert = {ca:?}\nconnect_timeout = '2s'\n{extra}"
        );
        bench.rewrite(&toml);
        bench
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgsluice"));
        command
            .arg("check")
            .args(arguments)
            .current_dir(self.files.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Outcome {
        let output = timeout(PATIENCE * 3, self.command(arguments).output()).await;
        let output = output.expect("the check ends").unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The exit code, and the report for machines.
    async fn report(&self) -> (i32, Value) {
        let outcome = self.run(&["--json"]).await;
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(report["exit_code"], outcome.code);
        (outcome.code, report)
    }

    /// The one failure, which has to be of this step, with a cure and a place to read on.
    async fn failure(&self, code: i32, step: &str) -> Value {
        let (seen, report) = self.report().await;
        assert_eq!(seen, code, "{report:#}");
        let failed = found(&report, "fail");
        assert_eq!(failed.len(), 1, "{report:#}");
        assert_eq!(failed[0]["step"], step, "{report:#}");
        assert!(failed[0]["fix"].as_str().unwrap().len() > 10);
        assert!(failed[0]["docs"].as_str().unwrap().contains('#'));
        failed[0].clone()
    }
}

fn section(postgres: &Postgres, extra: &str) -> String {
    format!(
        "[upstreams.cluster]\nhost = '127.0.0.1'\nport = {}\nserver_name = {:?}\n\
         sslrootcert = {:?}\n{extra}",
        postgres.port(),
        postgres.host_name,
        postgres.ca_file()
    )
}

/// `user`, `password` and `dbname` for the role `app`.
fn as_app(postgres: &Postgres, database: &str) -> String {
    let app = &postgres.app;
    format!(
        "user = '{}'\npassword = '{}'\ndbname = '{database}'\n",
        app.user, app.password
    )
}

/// Findings of the only upstream with this verdict.
fn found(report: &Value, verdict: &str) -> Vec<Value> {
    let findings = report["upstreams"][0]["findings"].as_array().unwrap();
    let some = findings.iter().filter(|one| one["verdict"] == verdict);
    some.cloned().collect()
}

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let findings = report["upstreams"][0]["findings"].as_array().unwrap();
    let one = findings.iter().find(|one| one["step"] == name);
    one.unwrap_or_else(|| panic!("no step {name}: {report:#}"))
}

#[track_caller]
fn assert_says(finding: &Value, field: &str, parts: &[&str]) {
    let text = finding[field].as_str().unwrap_or_default();
    for part in parts {
        assert!(text.contains(part), "{field} lacks {part:?}: {finding:#}");
    }
}

async fn tls_server(identity: &Identity) -> ScriptedServer {
    serve(Script::Tls(Arc::new(server_config(identity)))).await
}

#[tokio::test]
async fn a_server_that_is_well_passes_every_step_with_figures_and_no_secret() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let bench = Bench::of(postgres, &as_app(postgres, &database));
    let (code, report) = bench.report().await;
    assert_eq!(
        (code, &report["verdict"]),
        (0, &Value::from("pass")),
        "{report:#}"
    );
    assert_eq!(report["upstreams"][0]["not_checked"], serde_json::json!([]));
    let figure = |name: &str, figure: &str| step(&report, name)["figures"][figure].clone();
    assert_eq!(figure("handshake", "version"), "TLSv1.3");
    assert!(figure("chain", "days_left").as_i64().unwrap() > 14);
    assert_eq!(
        figure("versions", "accepted"),
        serde_json::json!(["TLSv1.2", "TLSv1.3"])
    );
    assert_eq!(
        figure("versions", "refused"),
        serde_json::json!(["TLSv1", "TLSv1.1"])
    );
    assert_eq!(figure("auth", "channel_binding"), true);
    assert_eq!(figure("pooler", "pooler"), false);
    assert_eq!(figure("limits", "max_connections"), 300);
    assert!(figure("clock", "skew_ms").as_f64().unwrap().abs() < 5_000.0);
    assert!(figure("latency", "median_ms").as_f64().unwrap() > 0.0);
    for arguments in [&[][..], &["--short"], &["--json"], &["cluster"]] {
        let outcome = bench.run(arguments).await;
        assert_eq!(outcome.code, 0, "{}", outcome.stdout);
        let said = outcome.stdout + &outcome.stderr;
        assert!(
            !said.contains(&postgres.app.password),
            "a password is shown"
        );
    }
}

#[tokio::test]
async fn a_login_that_could_not_be_tried_does_not_pass() {
    let postgres = Postgres::shared().await;
    let bench = Bench::of(postgres, "");
    let (code, report) = bench.report().await;
    assert_eq!((code, &report["verdict"]), (0, &Value::from("not_checked")));
    assert_eq!(step(&report, "login")["verdict"], "not_checked");
    let missing = report["upstreams"][0]["not_checked"].as_array().unwrap();
    assert!(missing.contains(&Value::from("limits")), "{missing:?}");
    assert_eq!(step(&report, "auth")["figures"]["method"], "scram-sha-256");
    let outcome = bench.run(&["--strict"]).await;
    assert_eq!(outcome.code, 3);
    assert!(outcome.stdout.contains("INCOMPLETE"), "{}", outcome.stdout);
}

#[tokio::test]
async fn held_roles_are_logged_in_each() {
    let postgres = Postgres::shared().await;
    let (other, password) = postgres.create_role("").await;
    let database = postgres.create_database().await;
    let app = &postgres.app;
    let held = format!(
        "dbname = '{database}'\n[auth]\nmode = 'held'\n\
         [[users]]\nname = 'app'\npassword = '{}'\n[[users]]\nname = '{other}'\npassword = 'wrong'\n",
        app.password
    );
    let bench = Bench::of(postgres, &held);
    let failed = bench.failure(4, "login").await;
    assert_says(
        &failed,
        "evidence",
        &[&other, "password authentication failed", "28P01"],
    );
    assert_says(&failed, "fix", &["[[users]]", &other]);
    let bench = Bench::of(postgres, &held.replace("wrong", &password));
    let (code, report) = bench.report().await;
    assert_eq!(code, 0, "{report:#}");
    let logins = found(&report, "pass");
    assert_eq!(
        logins.iter().filter(|one| one["step"] == "login").count(),
        2
    );
}

#[tokio::test]
async fn an_unknown_ca_is_told_with_the_one_that_is_needed_and_the_one_that_was_given() {
    let postgres = Postgres::shared().await;
    let stranger = Authority::root("CA of a stranger");
    let address = (std::net::Ipv4Addr::LOCALHOST, postgres.port()).into();
    let bench = Bench::played(address, &stranger, "");
    let failed = bench.failure(4, "chain").await;
    assert_says(
        &failed,
        "evidence",
        &["pgsluice throwaway CA", "CA of a stranger", "SHA-256"],
    );
    assert_says(&failed, "fix", &["sslrootcert"]);
    assert_says(
        &failed,
        "docs",
        &["#self-signed-certificate-in-certificate-chain"],
    );
    let text = bench.run(&[]).await.stdout;
    assert!(
        text.contains("not checked: name, versions, auth, login"),
        "{text}"
    );
    assert!(text.contains("(chain comes first)"), "{text}");
}

#[tokio::test]
async fn certificates_are_told_by_what_is_wrong_with_them() {
    let ca = Authority::root("CA of the cluster");
    let good = || Leaf::named(&[NAME]);
    let soon = Authority::root_valid("CA that ends", Days(-1, 5));
    for (identity, step, evidence, anchor) in [
        (
            ca.issue(&good().expired()),
            "chain",
            "expired on",
            "#certificate-has-expired",
        ),
        (
            ca.issue(&good().not_yet_valid()),
            "chain",
            "not valid before",
            "#certificate-has-expired",
        ),
        (
            good().self_signed(),
            "chain",
            "signed by itself",
            "#the-servers-certificate-is-signed-by-itself",
        ),
        (
            ca.issue(&Leaf::named(&["other.internal"])),
            "name",
            "other.internal",
            "#server-certificate-does-not-match-host-name",
        ),
    ] {
        let server = tls_server(&identity).await;
        let failed = Bench::played(server.address, &ca, "")
            .failure(4, step)
            .await;
        assert_says(&failed, "evidence", &[evidence]);
        assert_says(&failed, "docs", &[anchor]);
    }
    let server = tls_server(&soon.issue(&good())).await;
    let (_, report) = Bench::played(server.address, &soon, "").report().await;
    let warned = found(&report, "warn");
    assert_says(&warned[0], "evidence", &["sslrootcert", " days left"]);
    let server = tls_server(&ca.issue(&good())).await;
    let bench = Bench::played(server.address, &ca, "sslcrl = 'list.pem'");
    let list = ca.crl(&[], Days(-1, 5));
    certs::write(&bench.files.path().join("list.pem"), &list, 0o644);
    let (_, report) = bench.report().await;
    let warned = found(&report, "warn");
    assert_says(&warned[0], "evidence", &["list.pem", "due in "]);
}

#[tokio::test]
async fn what_verifies_less_is_warned_of() {
    let postgres = Postgres::shared().await;
    let ca = postgres.ca_file();
    for (mode, step) in [("require", "chain"), ("verify-ca", "name")] {
        let roots = match mode {
            "require" => String::new(),
            _ => format!("sslrootcert = {ca:?}"),
        };
        let bench = Bench::new(&format!(
            "[upstreams.cluster]\nhost = '127.0.0.1'\nport = {}\nsslmode = '{mode}'\n{roots}",
            postgres.port()
        ));
        let (code, report) = bench.report().await;
        assert_eq!(code, 0, "{report:#}");
        let warned = found(&report, "warn");
        assert!(warned.iter().any(|one| one["step"] == step), "{report:#}");
        assert_says(&warned[0], "docs", &["#the-server-is-not-verified"]);
    }
}

#[tokio::test]
async fn servers_that_are_none_are_told_by_what_they_answer() {
    let ca = Authority::root("CA of the cluster");
    for (script, evidence, anchor) in [
        (
            Script::answer_n(),
            "does not speak TLS",
            "#server-does-not-support-ssl",
        ),
        (Script::Http, "byte `H`", "#other-tls-failures"),
        (
            Script::Close,
            "closed the connection before",
            "#connection-timed-out",
        ),
        (Script::Reset, "reset before", "#connection-timed-out"),
        (
            Script::Answer(Vec::new()),
            "no answer came within",
            "#connection-timed-out",
        ),
    ] {
        let server = serve(script).await;
        let failed = Bench::played(server.address, &ca, "")
            .failure(4, "sslrequest")
            .await;
        assert_says(&failed, "evidence", &[evidence]);
        assert_says(&failed, "docs", &[anchor]);
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_by_where_it_ends() {
    let ca = Authority::root("CA of the cluster");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let failed = Bench::played(free, &ca, "").failure(4, "connect").await;
    assert_says(&failed, "docs", &["#connection-refused"]);

    let bench = Bench::played(free, &ca, "");
    let file = bench.files.path().join("proxy.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    bench.rewrite(&toml.replace("127.0.0.1", "no-such-host.invalid"));
    let failed = bench.failure(4, "dns").await;
    assert_says(&failed, "evidence", &["no-such-host.invalid"]);
    assert_says(&failed, "fix", &["upstreams.cluster.host", "getent hosts"]);

    // A listener whose queue is full lets no packet be answered.
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap();
    let fill = (0..4).map(|_| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _in_progress = socket.connect(&address);
        socket
    });
    let _fill: Vec<_> = fill.collect();
    let bench = Bench::played(address.as_socket().unwrap(), &ca, "");
    let failed = bench.failure(4, "connect").await;
    assert_says(&failed, "fix", &["trusted sources"]);
    assert_says(&failed, "docs", &["#connection-timed-out"]);
}

#[tokio::test]
async fn a_refused_login_is_told_in_the_servers_words_with_the_cure() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let app = &postgres.app;
    let account = as_app(postgres, &database);
    for (account, evidence, fix, anchor) in [
        (
            account.replace(&app.password, "wrong"),
            "password authentication failed",
            "[upstreams.cluster]",
            "#password-authentication-failed",
        ),
        (
            account.replace(&database, "nowhere"),
            "database \"nowhere\" does not exist",
            "create",
            "#database-does-not-exist",
        ),
        (
            format!("user = 'app'\npassword = '{}'\n", app.password),
            "database \"app\" does not exist",
            "upstreams.cluster.dbname",
            "#database-does-not-exist",
        ),
        (
            format!("user = 'app'\ndbname = '{database}'\n"),
            "holds none for \"app\"",
            "password_file",
            "#the-login-was-not-checked",
        ),
    ] {
        let failed = Bench::of(postgres, &account).failure(4, "login").await;
        assert_says(&failed, "evidence", &[evidence]);
        assert_says(&failed, "fix", &[fix]);
        assert_says(&failed, "docs", &[anchor]);
    }
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_without_tls_says_so_with_the_line_that_is_missing() {
    let postgres = Postgres::shared().await;
    let bench = Bench::new(&format!(
        "[upstreams.old]\nhost = '127.0.0.1'\nport = {}\nsslmode = 'disable'\n{}",
        postgres.port(),
        as_app(postgres, DATABASE)
    ));
    let outcome = bench.run(&["--json", "--set", "upstream=old"]).await;
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(outcome.code, 4, "{report:#}");
    let failed = &found(&report, "fail")[0];
    assert_eq!(failed["step"], "auth");
    assert_says(
        failed,
        "evidence",
        &["no pg_hba.conf entry for host \"127.0.0.1\""],
    );
    assert_says(failed, "docs", &["#no-pg_hbaconf-entry"]);
}

#[tokio::test]
async fn a_full_server_and_a_full_role_are_told_with_who_may_have_more() {
    let postgres = Postgres::builder()
        .setting("max_connections", "5")
        .start()
        .await;
    let (role, password) = postgres.create_role("connection limit 1").await;
    let account = as_app(&postgres, DATABASE);
    let (code, report) = Bench::of(&postgres, &account).report().await;
    assert_eq!(code, 3, "22 are above 2: {report:#}");
    let limits = step(&report, "limits");
    assert_says(limits, "fix", &["limits.max_upstream_conn = 2"]);
    assert_eq!(limits["figures"]["usable"], 2);

    let limited = format!("user = '{role}'\npassword = '{password}'\ndbname = '{DATABASE}'\n");
    let bench = Bench::of(
        &postgres,
        &format!("{limited}[limits]\nmax_upstream_conn = 2"),
    );
    let (code, report) = bench.report().await;
    assert_eq!(code, 0, "{report:#}");
    let warned = found(&report, "warn");
    let limits = warned.iter().find(|one| one["step"] == "limits").unwrap();
    assert_says(
        limits,
        "fix",
        &["ALTER ROLE", &role, "limits.max_user_connections = 1"],
    );

    let _one = postgres.local(DATABASE).await;
    let config = format!("{account}[limits]\nmax_upstream_conn = 2");
    let (_, report) = Bench::of(&postgres, &config).report().await;
    let holders = step(&report, "limits")["more"].to_string();
    assert!(holders.contains("1 connection of app to demo"), "{holders}");
    let _two = postgres.local(DATABASE).await;
    let failed = Bench::of(&postgres, &account).failure(4, "login").await;
    assert_says(
        &failed,
        "evidence",
        &["remaining connection slots are reserved", "53300"],
    );
    assert_says(
        &failed,
        "docs",
        &["#remaining-connection-slots-are-reserved"],
    );
}

#[tokio::test]
async fn a_role_that_may_create_nothing_in_public_is_told_before_its_first_migration() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let (role, password) = postgres.create_role("").await;
    let account = format!("user = '{role}'\npassword = '{password}'\ndbname = '{database}'\n");
    let (code, report) = Bench::of(postgres, &account).report().await;
    assert_eq!(code, 0, "{report:#}");
    let rights = step(&report, "rights");
    assert_eq!(rights["verdict"], "warn");
    assert_says(rights, "evidence", &["permission denied for schema public"]);
    assert_says(rights, "docs", &["#permission-denied-for-schema-public"]);
    // The cure cures, with `public` as the owner of the database has it.
    let cure = rights["fix"].as_str().unwrap();
    let (_, grant) = cure.split_once(": ").unwrap();
    let owner = postgres.local(&database).await;
    owner.batch_execute(grant).await.unwrap();
    let (_, report) = Bench::of(postgres, &account).report().await;
    assert_eq!(step(&report, "rights")["verdict"], "pass", "{report:#}");
}

#[tokio::test]
async fn old_tls_and_a_missing_client_certificate_are_found_on_a_real_server() {
    let postgres = Postgres::builder()
        .setting("ssl_min_protocol_version", "TLSv1")
        .setting("ssl_ciphers", "ALL:@SECLEVEL=0")
        .setting("ssl_ca_file", "../ca.crt")
        .hba("hostssl all shy all scram-sha-256 clientcert=verify-ca")
        .start()
        .await;
    let account = as_app(&postgres, DATABASE);
    let failed = Bench::of(&postgres, &account).failure(3, "versions").await;
    assert_says(&failed, "evidence", &["accepts TLSv1 and TLSv1.1"]);
    assert_says(&failed, "fix", &["ssl_min_protocol_version"]);
    let failed = Bench::of(&postgres, "user = 'shy'\npassword = 'x'\n");
    let (code, report) = failed.report().await;
    assert_eq!(code, 4, "{report:#}");
    let failed = found(&report, "fail");
    let failed = failed.iter().find(|one| one["step"] == "auth").unwrap();
    assert_says(failed, "evidence", &["valid client certificate"]);
    assert_says(failed, "fix", &["sslcert"]);
    assert_says(failed, "docs", &["#the-server-wants-a-client-certificate"]);
}

#[tokio::test]
async fn a_read_only_server_is_warned_of() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let sql = format!("alter database {database} set default_transaction_read_only = on");
    postgres.execute(&sql).await;
    let (code, report) = Bench::of(postgres, &as_app(postgres, &database))
        .report()
        .await;
    assert_eq!(code, 0);
    let warned = found(&report, "warn");
    let server = warned.iter().find(|one| one["step"] == "server").unwrap();
    assert_says(server, "evidence", &["read-only"]);
}

/// What a server that is played says to whoever logs in.
async fn scripted(said: Vec<u8>) -> Scripted {
    Scripted::start(move |connection| {
        let said = said.clone();
        async move {
            let mut server = connection.secure().await;
            if server.packet().await.is_some() {
                server.send(said).await;
                server.rest().await;
            }
        }
    })
    .await
}

fn fatal(code: &str, message: &str) -> Vec<u8> {
    error(&[('S', "FATAL"), ('V', "FATAL"), ('C', code), ('M', message)])
}

#[tokio::test]
async fn the_refusals_of_poolers_and_of_servers_that_start_have_their_cures() {
    for (said, step, evidence, fix, anchor) in [
        (
            fatal("08P01", "no such database: app"),
            "auth",
            "no such database",
            "pools",
            "#a-pgbouncer-is-in-between",
        ),
        (
            fatal("08P01", "unsupported startup parameter: x"),
            "auth",
            "unsupported",
            "25060",
            "#a-pgbouncer-is-in-between",
        ),
        (
            fatal("57P03", "the database system is starting up"),
            "auth",
            "starting up",
            "--wait",
            "#the-database-system-is-starting-up",
        ),
        (
            fatal("53300", "sorry, too many clients already"),
            "auth",
            "too many clients",
            "max_upstream_conn",
            "#remaining-connection-slots-are-reserved",
        ),
        (
            sasl(&["SCRAM-SHA-512"]),
            "login",
            "SASL without SCRAM-SHA-256",
            "pg_hba.conf",
            "#the-server-asks-for-something-else",
        ),
    ] {
        let server = scripted(said).await;
        let toml = format!(
            "{}\nhost = '127.0.0.1'\nuser = 'app'\npassword = 'x'",
            server.toml()
        );
        let failed = Bench::new(&toml).failure(4, step).await;
        assert_says(&failed, "evidence", &[evidence]);
        assert_says(&failed, "fix", &[fix]);
        assert_says(&failed, "docs", &[anchor]);
    }
}

/// Answers every question with one row of one column.
async fn answering(process_id: u32, answer: &'static str) -> Scripted {
    Scripted::start(move |connection| async move {
        let mut server = connection.secure().await;
        if server.packet().await.is_none() {
            return;
        }
        server.send(welcome(process_id, &[7; 4])).await;
        while server.message().await.is_some() {
            let row = [
                &1_u16.to_be_bytes()[..],
                &u32::try_from(answer.len()).unwrap().to_be_bytes(),
                answer.as_bytes(),
            ];
            let said = [
                frontend::message(b'D', &row.concat()),
                frontend::message(b'C', b"SELECT 1\0"),
                frontend::message(b'Z', b"I"),
            ];
            server.send(said.concat()).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_pooler_is_known_by_the_process_that_answers() {
    for (process_id, verdict) in [(4711, "pass"), (4712, "warn")] {
        let server = answering(process_id, "4711").await;
        let toml = format!(
            "{}\nhost = '127.0.0.1'\nuser = 'app'\npassword = 'x'",
            server.toml()
        );
        let (_, report) = Bench::new(&toml).report().await;
        assert_eq!(step(&report, "pooler")["verdict"], verdict, "{report:#}");
    }
}

#[tokio::test]
async fn before_the_move_the_old_server_is_asked_for_what_stands_in_the_way() {
    let postgres = Postgres::shared().await;
    let (old, new) = (
        postgres.create_database().await,
        postgres.create_database().await,
    );
    let sql = "create table keyless (x int); create unlogged table fleeting (x int primary key); \
               select lo_create(0); create table good (x int primary key)";
    postgres.local(&old).await.batch_execute(sql).await.unwrap();
    let account = as_app(postgres, &old);
    let toml = format!(
        "{}\n[upstreams.old]\nhost = {:?}\nport = {}\nsslmode = 'disable'\n{account}",
        section(postgres, &as_app(postgres, &new)),
        postgres.dir(),
        postgres.port()
    );
    let bench = Bench::new(&toml);
    let outcome = bench
        .run(&["--pre", "--json", "cluster", "--set", "upstream=cluster"])
        .await;
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(outcome.code, 0, "{report:#}");
    assert_eq!(report["upstreams"][0]["name"], "old");
    let findings = report["upstreams"][0]["findings"].as_array().unwrap();
    let of_move = findings.iter().filter(|one| one["step"] == "move");
    let told: String = of_move
        .map(|one| one["evidence"].as_str().unwrap())
        .collect();
    for part in [
        "3 tables",
        "no primary key: once they are published, UPDATE and DELETE fail there: keyless",
        "unlogged: a dump has them, replication does not: fleeting",
        "large objects",
        "could not be seen",
        "does not see others' long transactions",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("good"), "{told}");
    let newer = &report["upstreams"][1]["findings"];
    assert!(newer.to_string().contains("can take over"), "{newer:#}");
    let alone = Bench::of(postgres, &as_app(postgres, &new));
    let outcome = alone.run(&["--pre", "--strict"]).await;
    assert_eq!(outcome.code, 3, "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("[upstreams.old]"),
        "{}",
        outcome.stdout
    );
}

#[tokio::test]
async fn waiting_ends_when_all_is_well_or_with_the_last_verdict() {
    let mut postgres = Postgres::builder().start().await;
    let bench = Bench::of(&postgres, &as_app(&postgres, DATABASE));
    postgres.stop(Stop::Fast).await;
    let outcome = bench.run(&["--wait", "1ms"]).await;
    assert_eq!(outcome.code, 4, "{}", outcome.stdout);
    let mut command = bench.command(&["--wait", "60s"]);
    let checking = tokio::spawn(async move { command.output().await.unwrap() });
    postgres.start_again().await;
    let output = timeout(PATIENCE * 3, checking).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let words = String::from_utf8(output.stderr).unwrap();
    let causes: Vec<_> = words
        .lines()
        .map(|line| line.split_once("): ").unwrap().1)
        .collect();
    assert!(causes.windows(2).all(|pair| pair[0] != pair[1]), "{words}");
}

#[tokio::test]
async fn mistakes_of_the_command_and_the_configuration_end_before_anything_is_asked() {
    let postgres = Postgres::shared().await;
    let bench = Bench::of(postgres, "");
    let outcome = bench.run(&["clutser"]).await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("cluster"), "{}", outcome.stderr);
    let outcome = bench.run(&["--wait", "5"]).await;
    assert_eq!(outcome.code, 2);
    let bench = Bench::new("[upstreams.cluster]\nhots = 'x'\n");
    let outcome = bench.run(&["--json"]).await;
    assert_eq!(outcome.code, 2);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["upstreams"], serde_json::json!([]));
    assert!(!report["problems"].as_array().unwrap().is_empty());
}
