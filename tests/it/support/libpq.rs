//! The client that everybody has: what it makes of a connection.

use std::process::Output;

use tokio::process::Command;

use super::Postgres;
use super::postgres::DATABASE;

/// Runs a query as `app`, over the connection that libpq's own words describe.
pub(crate) async fn psql(postgres: &Postgres, connection: &str) -> Output {
    let app = &postgres.app;
    Command::new("psql")
        .args(["-X", "-A", "-t", "-w", "-c", "select 'carried'"])
        .arg(format!(
            "{connection} user={} dbname={DATABASE} connect_timeout=10",
            app.user
        ))
        .env("PGPASSWORD", &app.password)
        .output()
        .await
        .unwrap()
}

/// The query was answered.
pub(crate) fn assert_carried(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, b"carried\n");
}
