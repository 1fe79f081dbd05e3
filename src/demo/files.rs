//! The texts that a demo hands to others: the proxy's configuration, and the
//! environment and password file of clients.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::cluster::{Cluster, DATABASE};

/// A `proxy.toml` that carries sessions to `cluster`. The certificate's name
/// resolves nowhere, so the address is given beside it.
pub(crate) fn proxy_toml(cluster: &Cluster, port: u16) -> String {
    let text = |value: &str| toml::Value::from(value).to_string();
    format!(
        "upstream = \"demo\"\n\
         \n\
         [listen]\n\
         addresses = [\"127.0.0.1:{port}\"]\n\
         \n\
         [upstreams.demo]\n\
         host = \"127.0.0.1\"\n\
         port = {upstream_port}\n\
         server_name = {server_name}\n\
         sslmode = \"verify-full\"\n\
         sslrootcert = {ca}\n\
         \n\
         [limits]\n\
         max_upstream_conn = 22\n",
        upstream_port = cluster.port(),
        server_name = text(&cluster.host_name),
        ca = text(&cluster.ca_file().display().to_string()),
    )
}

/// libpq's password file for clients of the proxy, in the cluster's directory.
pub(crate) fn write_password_file(cluster: &Cluster, proxy: SocketAddr) -> io::Result<PathBuf> {
    let line = format!(
        "{}:{}:{DATABASE}:{}:{}\n",
        proxy.ip(),
        proxy.port(),
        cluster.app.user,
        cluster.app.password
    );
    cluster.write_file("pgpass", &line)?;
    Ok(cluster.dir().join("pgpass"))
}

/// A file of `NAME=value` lines for scripts; removed when dropped, since what it
/// leads to is gone then.
pub(crate) struct EnvFile(PathBuf);

impl EnvFile {
    /// The file appears complete or not at all: its presence says "ready".
    pub(crate) fn write(path: &Path, cluster: &Cluster, proxy: SocketAddr) -> io::Result<Self> {
        let describe = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot write {}: {error}", path.display()),
            )
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(dir.unwrap_or_else(|| Path::new(".")))
            .map_err(describe)?;
        file.write_all(environment(cluster, proxy).as_bytes())
            .map_err(describe)?;
        file.persist(path).map_err(|error| describe(error.error))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        // Somebody else may have removed it, which is as well.
        let _ = fs::remove_file(&self.0);
    }
}

fn environment(cluster: &Cluster, proxy: SocketAddr) -> String {
    let variables = [
        ("PGHOST", proxy.ip().to_string()),
        ("PGPORT", proxy.port().to_string()),
        ("PGUSER", cluster.app.user.to_owned()),
        ("PGPASSWORD", cluster.app.password.clone()),
        ("PGDATABASE", DATABASE.to_owned()),
        ("UPSTREAM_HOST", cluster.host_name.clone()),
        ("UPSTREAM_HOSTADDR", "127.0.0.1".to_owned()),
        ("UPSTREAM_PORT", cluster.port().to_string()),
        ("UPSTREAM_CA", cluster.ca_file().display().to_string()),
        ("UPSTREAM_SUPERUSER", cluster.superuser.user.to_owned()),
        (
            "UPSTREAM_SUPERUSER_PASSWORD",
            cluster.superuser.password.clone(),
        ),
    ];
    let mut text = String::new();
    for (name, value) in variables {
        writeln!(text, "{name}={}", shell_word(&value)).unwrap_or_default();
    }
    text
}

/// As it is where a shell, or a reader of plain `NAME=value` lines, takes it so; quoted otherwise.
fn shell_word(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("/tmp/a-1/ca.crt"), "/tmp/a-1/ca.crt");
        assert_eq!(shell_word("it's here"), r"'it'\''s here'");
    }
}
