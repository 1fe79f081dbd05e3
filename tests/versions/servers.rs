//! Servers of versions that differ in the protocol: the newest before 3.2, and
//! the first with it.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::support::Postgres;

static POSTGRES_15: OnceCell<Postgres> = OnceCell::const_new();
static POSTGRES_18: OnceCell<Postgres> = OnceCell::const_new();

/// Knows protocol 3.0 only, and cancel keys of four bytes.
pub(crate) async fn postgres_15() -> &'static Postgres {
    POSTGRES_15.get_or_init(|| start(15)).await
}

/// Knows protocol 3.2, with cancel keys of 32 bytes.
pub(crate) async fn postgres_18() -> &'static Postgres {
    POSTGRES_18.get_or_init(|| start(18)).await
}

/// One of its own.
pub(crate) async fn for_verify(major: u32) -> Postgres {
    let builder = Postgres::builder().bin_dir(&fetch(major).await);
    // Logins cost more than all else here, and are not what is tested.
    let builder = builder.hba("hostssl all all 127.0.0.1/32 trust");
    builder.setting("max_connections", "60").start().await
}

async fn start(major: u32) -> Postgres {
    let builder = Postgres::builder().bin_dir(&fetch(major).await);
    builder.setting("max_connections", "100").start().await
}

/// The directory of the server's programs; downloaded once if need be.
async fn fetch(major: u32) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/fetch-postgres");
    let mut command = Command::new(script);
    command.arg(major.to_string()).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {major}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}
