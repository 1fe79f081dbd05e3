//! Postgres's own client, as a process.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::postgres::{Account, DATABASE};
use super::wait::PATIENCE;

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `sql` in plaintext, as `account` in [`DATABASE`] unless `options`, words of
/// a connection string, say otherwise. Several statements go on lines of their own.
pub(crate) async fn psql(address: SocketAddr, account: &Account, options: &str, sql: &str) -> Ran {
    let connection = format!(
        "host={} port={} user={} password={} dbname={DATABASE} sslmode=disable {options}",
        address.ip(),
        address.port(),
        account.user,
        account.password,
    );
    let mut command = Command::new("psql");
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
    for line in sql.lines() {
        command.args(["-c", line]);
    }
    command
        .args(["-d", &connection])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.expect("psql does not end").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ran {
        success: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
