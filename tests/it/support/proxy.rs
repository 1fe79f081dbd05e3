//! The real binary as a process of its own, with a configuration for one test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::{Client, Config};
use toml::Table;

use super::postgres::{Account, Postgres, login};
use super::raw_client::RawClient;
use super::wait::PATIENCE;

/// Variables that the proxy keeps; any other could be configuration.
const ENVIRONMENT: [&str; 3] = ["PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"];

/// A proxy that is not running yet.
#[derive(Debug)]
pub(crate) struct ProxyBuilder {
    config: Table,
    program: PathBuf,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    files: TempDir,
    account: Account,
}

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Child,
    log: watch::Receiver<Log>,
    addresses: Vec<String>,
    files: TempDir,
    account: Account,
}

/// What the proxy has written to stderr so far.
#[derive(Debug, Default)]
struct Log {
    lines: Vec<Value>,
    ended: bool,
}

impl Proxy {
    /// A proxy that listens on one free port and carries sessions to `postgres`.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a test reads as `Proxy::new(..).start()`"
    )]
    pub(crate) fn new(postgres: &Postgres) -> ProxyBuilder {
        let defaults = toml::toml! {
            upstream = "cluster"
            [listen]
            addresses = ["127.0.0.1:0"]
            [log]
            format = "json"
            level = "debug"
        };
        let builder = ProxyBuilder {
            config: defaults,
            program: PathBuf::from(env!("CARGO_BIN_EXE_pgsluice")),
            environment: Vec::new(),
            arguments: Vec::new(),
            files: TempDir::new().unwrap(),
            account: postgres.app.clone(),
        };
        builder.upstream("cluster", postgres)
    }

    /// The first TCP address that it listens on.
    pub(crate) fn addr(&self) -> SocketAddr {
        let mut addresses = self.addresses.iter();
        addresses.find_map(|text| text.parse().ok()).unwrap()
    }

    /// Everything that it listens on, in the order of the log.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The directory that it works in; holds `proxy.toml`.
    pub(crate) fn dir(&self) -> &Path {
        self.files.path()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// A plaintext connection, before its startup packet.
    pub(crate) async fn raw(&self) -> RawClient<TcpStream> {
        RawClient::connect(self.addr()).await
    }

    /// A connection that is logged in as `app`.
    pub(crate) async fn raw_session(&self, database: &str) -> RawClient<TcpStream> {
        let mut client = self.raw().await;
        client
            .login(self.account.user, &self.account.password, database)
            .await;
        client
    }

    /// What a client needs to know to log in as `app`.
    pub(crate) fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host(self.addr().ip().to_string())
            .port(self.addr().port())
            .user(self.account.user)
            .password(&self.account.password)
            .dbname(database);
        config
    }

    pub(crate) async fn connect(&self, database: &str) -> Client {
        login(&self.config(database)).await
    }

    /// The first line of the log, past or future, that `wanted` accepts. Fields
    /// of an event are at the top: `line["message"]`.
    pub(crate) async fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_logs(1, wanted).await.remove(0)
    }

    /// As [`Proxy::wait_for_log`], for the first `count` lines.
    pub(crate) async fn wait_for_logs(
        &self,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let mut log = self.log.clone();
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let enough = |log: &Log| {
            let lines = log.lines[looked_at..].iter().filter(|line| wanted(line));
            found.extend(lines.take(count - found.len()).cloned());
            looked_at = log.lines.len();
            found.len() == count || log.ended
        };
        let ending = timeout(PATIENCE, log.wait_for(enough)).await;
        let why = match ending {
            Ok(_) if found.len() == count => return found,
            Ok(_) => "the proxy has ended".to_owned(),
            Err(_) => format!("{PATIENCE:?} have passed"),
        };
        let log = self.log_text();
        panic!(
            "{why}, and the log has {} of {count} lines:\n{log}",
            found.len()
        )
    }

    /// All lines so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.borrow().lines.clone()
    }

    fn log_text(&self) -> String {
        let lines = self.log().into_iter().map(|line| line.to_string());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Asks it to drain and end (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).unwrap();
        signal::kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Ends it at once (SIGKILL).
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Waits for its end, and returns everything it has written.
    pub(crate) async fn last_words(&mut self) -> (ExitStatus, String) {
        let status = self.wait().await;
        let mut log = self.log.clone();
        let ended = timeout(PATIENCE, log.wait_for(|log| log.ended)).await;
        assert!(ended.is_ok(), "its stderr stays open");
        (status, self.log_text())
    }

    /// Waits for its end; fails the test at the deadline.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        match timeout(PATIENCE, self.process.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("the proxy does not end:\n{}", self.log_text()),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The other half of the story of a test that fails.
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "shown by the test harness")]
            {
                eprintln!("log of the proxy:\n{}", self.log_text());
            }
        }
    }
}

impl ProxyBuilder {
    /// Keys that are added to `proxy.toml`, or take the place of those there.
    pub(crate) fn toml(mut self, text: &str) -> Self {
        merge(&mut self.config, text.parse().unwrap());
        self
    }

    /// Leaves no upstream in `proxy.toml`: for those that come from elsewhere.
    pub(crate) fn without_upstreams(mut self) -> Self {
        self.config.remove("upstream");
        self.config.remove("upstreams");
        self
    }

    /// Adds `[upstreams.NAME]` for another server.
    pub(crate) fn upstream(self, name: &str, postgres: &Postgres) -> Self {
        let mut upstream = Table::new();
        upstream.insert("host".to_owned(), "127.0.0.1".into());
        upstream.insert("port".to_owned(), i64::from(postgres.port()).into());
        let server_name = postgres.host_name.as_str();
        upstream.insert("server_name".to_owned(), server_name.into());
        upstream.insert("sslmode".to_owned(), "verify-full".into());
        let ca_file = postgres.ca_file().display().to_string();
        upstream.insert("sslrootcert".to_owned(), ca_file.into());
        let mut wrapped = Table::new();
        wrapped.insert(name.to_owned(), upstream.into());
        let mut config = Table::new();
        config.insert("upstreams".to_owned(), wrapped.into());
        self.toml(&config.to_string())
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An argument after `run -c proxy.toml`.
    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Another program in place of the proxy.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// The directory that the proxy will work in, for files beside `proxy.toml`.
    pub(crate) fn dir(&self) -> &Path {
        self.files.path()
    }

    /// Starts the proxy and waits until it listens on everything it should.
    pub(crate) async fn start(self) -> Proxy {
        let listen = &self.config["listen"];
        let count = |key| {
            listen
                .get(key)
                .and_then(|list| Some(list.as_array()?.len()))
        };
        let expected =
            count("addresses").unwrap_or_default() + count("unix_socket_dirs").unwrap_or_default();
        let mut proxy = self.spawn();
        let lines = proxy
            .wait_for_logs(expected, |line| line["message"] == "listening")
            .await;
        proxy.addresses = lines
            .iter()
            .map(|line| line["address"].as_str().unwrap().to_owned())
            .collect();
        proxy
    }

    /// Starts the proxy and does not wait: for starts that are to fail.
    pub(crate) fn spawn(self) -> Proxy {
        let file = self.files.path().join("proxy.toml");
        std::fs::write(&file, self.config.to_string()).unwrap();
        let kept = ENVIRONMENT.iter();
        let kept = kept.filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let mut process = Command::new(&self.program)
            .args(["run", "-c", "proxy.toml"])
            .args(&self.arguments)
            .current_dir(self.files.path())
            .env_clear()
            .envs(kept)
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (writer, log) = watch::channel(Log::default());
        let stderr = process.stderr.take().unwrap();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                writer.send_modify(|log| log.lines.push(parse(&line)));
            }
            writer.send_modify(|log| log.ended = true);
        });
        Proxy {
            process,
            log,
            addresses: Vec::new(),
            files: self.files,
            account: self.account,
        }
    }
}

/// One line of the log; one that is no JSON becomes a message.
fn parse(line: &str) -> Value {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Value::Object(object),
        _ => serde_json::json!({ "message": line }),
    }
}

/// Puts `extra` over `base`, table by table.
fn merge(base: &mut Table, extra: Table) {
    for (key, value) in extra {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
