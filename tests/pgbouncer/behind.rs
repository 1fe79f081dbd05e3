//! A pooler as the upstream, as a managed cluster has on its second port: what
//! works there, and an explanation for each thing that cannot.
//!
//! PgBouncer offers no channel binding and does not mind `y`; it takes few startup
//! parameters. In transaction mode the sessions of Postgres are not its own: what
//! one transaction prepares or sets is not there in the next.

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{DATABASE, wait_until_active};
use crate::support::psql::psql;
use crate::support::raw_client::{ErrorFields, Gs2, Session, first_error, tags, texts};
use crate::support::{Postgres, Proxy, RawClient, frontend};

/// A pooler and a proxy in front of it.
struct Stack {
    postgres: &'static Postgres,
    proxy: Proxy,
    _pooler: PgBouncer,
}

impl Stack {
    async fn passthrough(pool_mode: &str) -> Self {
        Self::start(pool_mode, "").await
    }

    /// The client `sep` becomes `app`.
    async fn held(pool_mode: &str, keys: &str) -> Self {
        let app = &Postgres::shared().await.app;
        let users = format!(
            "auth.mode = 'held'\n[[users]]\nname = 'sep'\npassword = 'local'\n\
             upstream_user = '{}'\nupstream_password = '{}'\n{keys}",
            app.user, app.password
        );
        Self::start(pool_mode, &users).await
    }

    async fn start(pool_mode: &str, keys: &str) -> Self {
        let postgres = Postgres::shared().await;
        let pooler = PgBouncer::start(postgres, pool_mode).await;
        let builder = Proxy::new(postgres).toml(&pooler.toml()).toml(keys);
        Self {
            postgres,
            proxy: builder.start().await,
            _pooler: pooler,
        }
    }

    async fn client(&self) -> (RawClient<TcpStream>, Session) {
        let mut client = self.proxy.raw().await;
        let app = &self.postgres.app;
        let session = client.login(app.user, &app.password, DATABASE).await;
        (client, session)
    }

    /// A login with one more parameter, or another gs2 flag.
    async fn try_login(&self, parameter: (&str, &str), gs2: &Gs2) -> Result<Session, ErrorFields> {
        let mut client = self.proxy.raw().await;
        let who = ("user", self.postgres.app.user);
        client
            .startup(&[who, ("database", DATABASE), parameter])
            .await;
        client.finish_login(&self.postgres.app.password, gs2).await
    }
}

const HARMLESS: (&str, &str) = ("application_name", "test");

#[tokio::test]
async fn psql_works_through_a_pooler_in_passthrough() {
    for pool_mode in ["session", "transaction"] {
        let stack = Stack::passthrough(pool_mode).await;
        let sql = "select 41 + 1\nselect current_user";
        let ran = psql(stack.proxy.addr(), &stack.postgres.app, "", sql).await;
        assert_eq!(ran.stdout, "42\napp", "{ran:?}");
    }
}

#[tokio::test]
async fn psql_works_through_a_pooler_in_held_mode() {
    for pool_mode in ["session", "transaction"] {
        let stack = Stack::held(pool_mode, "").await;
        let options = "user=sep password=local";
        let sql = "select 41 + 1\nselect current_user";
        let ran = psql(stack.proxy.addr(), &stack.postgres.app, options, sql).await;
        assert_eq!(ran.stdout, "42\napp", "{ran:?}");
    }
}

#[tokio::test]
async fn a_poolers_offer_is_passed_on_and_every_flag_that_it_takes() {
    let stack = Stack::passthrough("session").await;
    let mut client = stack.proxy.raw().await;
    client.startup(&[("user", stack.postgres.app.user)]).await;
    let (_, offer) = client.read_message().await;
    assert_eq!(texts(&offer[4..]), ["SCRAM-SHA-256", ""]);
    for gs2 in [Gs2::Unsupported, Gs2::Unrequested] {
        stack.try_login(HARMLESS, &gs2).await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_the_poolers_own_words() {
    let stack = Stack::passthrough("session").await;
    let mut client = stack.proxy.raw().await;
    client.startup(&[("user", stack.postgres.app.user)]).await;
    let outcome = client.finish_login("wrong", &Gs2::Unsupported).await;
    let error = outcome.unwrap_err();
    assert!(!error[&'M'].contains("pgsluice"), "{error:?}");
    assert!(error[&'M'].contains("authentication failed"), "{error:?}");
}

#[tokio::test]
async fn a_parameter_that_a_pooler_refuses_is_explained() {
    let stack = Stack::passthrough("transaction").await;
    for (name, value) in [
        ("extra_float_digits", "2"),
        ("options", "-c geqo=off"),
        ("search_path", "x"),
    ] {
        let outcome = stack.try_login((name, value), &Gs2::Unsupported).await;
        let error = outcome.unwrap_err();
        assert_eq!(error[&'C'], "08P01");
        assert!(
            error[&'M'].contains("unsupported startup parameter"),
            "{error:?}"
        );
        assert!(error[&'M'].contains(name), "{error:?}");
        assert!(
            error[&'H'].contains("PgBouncer") && error[&'H'].contains("25060"),
            "{error:?}"
        );
    }
    let allowed = [("client_encoding", "LATIN1"), ("TimeZone", "UTC"), HARMLESS];
    for parameter in allowed {
        stack.try_login(parameter, &Gs2::Unsupported).await.unwrap();
    }
}

#[tokio::test]
async fn a_prepared_statement_lasts_as_long_as_a_transaction_does() {
    let stack = Stack::passthrough("transaction").await;
    let (mut client, _) = stack.client().await;
    // In one transaction it works.
    client.query("begin").await;
    client
        .send([frontend::parse("s", "select 'kept'"), frontend::sync()].concat())
        .await;
    assert_eq!(tags(&client.read_until_ready().await), "1Z");
    let execution = [
        frontend::bind("", "s", &[]),
        frontend::execute("", 0),
        frontend::sync(),
    ];
    client.send(execution.concat()).await;
    assert_eq!(tags(&client.read_until_ready().await), "2DCZ");
    client.query("commit").await;
    // The server connection goes to another client, which changes it.
    let (mut other, _) = stack.client().await;
    other.query("begin; deallocate all").await;
    client.send(execution.concat()).await;
    let error = first_error(&client.read_until_ready().await);
    assert_eq!(error[&'C'], "26000");
    assert!(!error[&'M'].contains("pgsluice"), "{error:?}");
}

#[tokio::test]
async fn a_prepared_statement_lasts_where_the_pooler_keeps_sessions() {
    let stack = Stack::passthrough("session").await;
    let (mut client, _) = stack.client().await;
    client.query("prepare s as select 'kept'").await;
    let (_other, _) = stack.client().await;
    assert_eq!(tags(&client.query("execute s").await), "TDCZ");
}

#[tokio::test]
async fn a_cancel_goes_through_a_pooler() {
    for pool_mode in ["session", "transaction"] {
        let stack = Stack::passthrough(pool_mode).await;
        let (mut client, session) = stack.client().await;
        let sql = "select pg_backend_pid()";
        let superuser = stack.postgres.superuser("postgres").await;
        client.query("begin").await;
        let process_id = client.rows(sql).await.remove(0).remove(0).unwrap();
        client.send(frontend::query("select pg_sleep(60)")).await;
        wait_until_active(&superuser, process_id.parse().unwrap()).await;
        let mut canceller = stack.proxy.raw().await;
        canceller.send(session.cancel_request()).await;
        assert_eq!(canceller.read_until_closed().await, []);
        let error = first_error(&client.read_until_ready().await);
        assert_eq!(error[&'C'], "57014");
    }
}

#[tokio::test]
async fn binding_that_is_required_of_a_pooler_is_explained() {
    let keys = "[upstreams.cluster]\nchannel_binding = 'require'";
    let stack = Stack::held("session", keys).await;
    let mut client = stack.proxy.raw().await;
    client
        .startup(&[("user", "sep"), ("database", DATABASE)])
        .await;
    let error = client
        .finish_login("local", &Gs2::Unsupported)
        .await
        .unwrap_err();
    assert_eq!(error[&'C'], "28000");
    assert!(
        error[&'M'].contains("offers no channel binding"),
        "{error:?}"
    );
    assert!(error[&'H'].contains("PgBouncer"), "{error:?}");
    assert!(
        error[&'H'].contains("channel_binding = \"prefer\""),
        "{error:?}"
    );
}

/// An old PgBouncer, such as 1.18, does not negotiate; newer ones do.
#[tokio::test]
async fn a_pooler_that_knows_no_newer_version_is_explained() {
    let stack = Stack::passthrough("session").await;
    for version in [frontend::PROTOCOL_3_2, (3 << 16) | 9999] {
        let mut client = stack.proxy.raw().await;
        let app = &stack.postgres.app;
        let who = [("user", app.user), ("database", DATABASE)];
        client.send(frontend::startup(version, &who)).await;
        let outcome = client.finish_login(&app.password, &Gs2::Unsupported).await;
        if let Err(error) = outcome {
            assert_eq!(error[&'C'], "08P01");
            assert!(
                error[&'H'].contains("max_protocol_version=3.0"),
                "{error:?}"
            );
        }
    }
}

/// `pgsluice check` of the pooler, as `user`; the report for machines.
async fn check(pooler: &PgBouncer, user: &str, password: &str) -> serde_json::Value {
    let files = tempfile::TempDir::new().unwrap();
    let toml = format!(
        "{}\nhost = '127.0.0.1'\nuser = '{user}'\npassword = '{password}'\ndbname = '{DATABASE}'",
        pooler.toml()
    );
    std::fs::write(files.path().join("proxy.toml"), toml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgsluice"));
    command.args(["check", "--json"]).env_clear();
    let output = command.current_dir(files.path()).output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn step<'a>(report: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let findings = report["upstreams"][0]["findings"].as_array().unwrap();
    findings.iter().find(|one| one["step"] == name).unwrap()
}

#[tokio::test]
async fn a_check_tells_the_pooler_from_the_server_and_what_it_lacks() {
    let postgres = Postgres::shared().await;
    let pooler = PgBouncer::start(postgres, "transaction").await;
    let app = &postgres.app;
    let report = check(&pooler, app.user, &app.password).await;
    assert_eq!(report["exit_code"], 0, "{report:#}");
    assert_eq!(step(&report, "pooler")["verdict"], "warn", "{report:#}");
    assert_eq!(step(&report, "auth")["figures"]["channel_binding"], false);
    assert_eq!(step(&report, "latency")["verdict"], "pass");
    let report = check(&pooler, "stranger", "x").await;
    assert_eq!(report["exit_code"], 4, "{report:#}");
    let failed = step(&report, "login");
    assert!(
        failed["docs"]
            .as_str()
            .unwrap()
            .ends_with("#password-authentication-failed"),
        "{failed:#}"
    );
}
