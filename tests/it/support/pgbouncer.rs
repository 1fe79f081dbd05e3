//! A real PgBouncer with TLS in front of a server: what a managed cluster's
//! pooler port is.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::unistd::{User, geteuid};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::Postgres;
use super::postgres::Identity;
use super::wait::{self, PATIENCE};

const HOST_NAME: &str = "pooler.internal";

/// Debian puts it where an ordinary user's PATH does not lead.
const FURTHER_DIRS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Ends the pooler with the test, however that ends: a pipe is closed by the kernel.
const KEEPER: &str = r#"
"$@" >log 2>&1 </dev/null &
trap 'kill -9 $!' EXIT
while read -r _; do :; done
"#;

/// A running pooler; gone when dropped.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    port: u16,
    files: TempDir,
    /// Its stdin is what keeps the pooler.
    _keeper: Child,
}

impl PgBouncer {
    /// In front of `postgres`, for its role `app`, by SCRAM; `pool_mode` is
    /// `session` or `transaction`.
    pub(crate) async fn start(postgres: &Postgres, pool_mode: &str) -> Self {
        // Somebody else may take the port before the pooler does.
        for _ in 0..5 {
            if let Some(pooler) = Self::try_start(postgres, pool_mode).await {
                return pooler;
            }
        }
        panic!("PgBouncer finds no free port");
    }

    async fn try_start(postgres: &Postgres, pool_mode: &str) -> Option<Self> {
        let program = program();
        let files = TempDir::new_in("/tmp").unwrap();
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        write_files(files.path(), postgres, port, pool_mode);
        let mut arguments = vec![program.display().to_string(), "pooler.ini".to_owned()];
        if geteuid().is_root() {
            // It refuses to be root.
            arguments.extend(["-u".to_owned(), "postgres".to_owned()]);
        }
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .args(arguments)
            .current_dir(files.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pooler = Self {
            port,
            files,
            _keeper: keeper,
        };
        let listens = wait::until_some(PATIENCE, "PgBouncer listens", async || {
            if pooler.log().contains("Address already in use") {
                return Some(false);
            }
            assert!(!pooler.log().contains(" FATAL "), "{}", pooler.log());
            let up = pooler.log().contains("process up");
            up.then_some(
                TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                    .await
                    .is_ok(),
            )
            .filter(|listens| *listens)
        })
        .await;
        listens.then_some(pooler)
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    /// Makes a proxy's upstream `cluster` this pooler.
    pub(crate) fn toml(&self) -> String {
        let ca_file = self.files.path().join("ca.crt");
        format!(
            "[upstreams.cluster]\nport = {}\nserver_name = {HOST_NAME:?}\nsslrootcert = {ca_file:?}",
            self.port
        )
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = std::env::split_paths(&path).chain(FURTHER_DIRS.map(PathBuf::from));
    let found = dirs.find_map(|dir| {
        let program = dir.join("pgbouncer");
        program.is_file().then_some(program)
    });
    found.expect("no pgbouncer; on Debian and Ubuntu: apt-get install pgbouncer")
}

fn write_files(dir: &Path, postgres: &Postgres, port: u16, pool_mode: &str) {
    let identity = Identity::generate(HOST_NAME).unwrap();
    let app = &postgres.app;
    let settings = format!(
        "[databases]\n\
         * = host=127.0.0.1 port={}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         pool_mode = {pool_mode}\ndefault_pool_size = 4\n\
         auth_type = scram-sha-256\nauth_file = userlist.txt\n\
         server_tls_sslmode = require\nclient_tls_sslmode = require\n\
         client_tls_cert_file = server.crt\nclient_tls_key_file = server.key\n",
        postgres.port()
    );
    for (name, text) in [
        ("ca.crt", identity.ca),
        ("server.crt", identity.certificate),
        ("server.key", identity.key),
        (
            "userlist.txt",
            format!("\"{}\" \"{}\"\n", app.user, app.password),
        ),
        ("pooler.ini", settings),
    ] {
        let file = dir.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        hand_over(&file);
    }
    hand_over(dir);
}

/// Root hands files to the user that the pooler runs as.
fn hand_over(path: &Path) {
    if geteuid().is_root() {
        let user = User::from_name("postgres")
            .unwrap()
            .expect("no user postgres");
        match chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}
