//! Why an address cannot be listened on, and what to do about it. That a port is taken
//! is the rule, not the exception: the proxy is to be where the old server was.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::owner::{self, Owner, Process, Program};

/// Longest path of a unix socket, its terminator excluded.
pub(super) const MAX_UNIX_PATH: usize = 107;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("cannot listen on {address}: {source}{}", listens(owner.as_deref()))]
    Tcp {
        address: SocketAddr,
        source: io::Error,
        /// Who listens there.
        owner: Option<Box<Owner>>,
    },
    #[error("cannot listen on {}: {source}", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("{} is in use by another server{}", path.display(), listens(owner.as_deref()))]
    InUse {
        path: PathBuf,
        owner: Option<Box<Owner>>,
    },
    #[error("{} is longer than the {MAX_UNIX_PATH} bytes a socket path may have", .0.display())]
    PathTooLong(PathBuf),
    #[error("{} is locked by {}{}", path.display(), lock.display(), holds(owner))]
    Locked {
        path: PathBuf,
        lock: PathBuf,
        owner: Box<Owner>,
    },
    #[error("no group \"{0}\" on this machine")]
    NoGroup(String),
}

fn listens(owner: Option<&Owner>) -> String {
    owner.map_or_else(String::new, |owner| format!(": {owner} listens there"))
}

fn holds(owner: &Owner) -> String {
    format!(", which names {owner}")
}

impl BindError {
    pub(super) fn tcp(address: SocketAddr, source: io::Error) -> Self {
        let taken = source.kind() == io::ErrorKind::AddrInUse;
        Self::Tcp {
            address,
            source,
            owner: taken
                .then(|| owner::of_tcp(address))
                .flatten()
                .map(Box::new),
        }
    }

    pub(super) fn in_use(path: PathBuf, lock: Option<u32>) -> Self {
        let owner = owner::of_unix(&path, lock).map(Box::new);
        Self::InUse { path, owner }
    }

    /// Whether this machine has no such address, or no such family.
    pub(crate) fn is_no_such_address(&self) -> bool {
        let Self::Tcp { source, .. } = self else {
            return false;
        };
        source.kind() == io::ErrorKind::AddrNotAvailable
            || source.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
    }

    /// What to do about it.
    pub(crate) fn cure(&self) -> String {
        match self {
            Self::Tcp {
                address,
                source,
                owner,
            } => tcp_cure(*address, source, owner.as_deref()),
            Self::Unix { path, source } => unix_cure(path, source),
            Self::InUse { owner, .. } => {
                let port = "another listen.unix_socket_port, or another directory in \
                            listen.unix_socket_dirs";
                taken_cure(owner.as_deref(), port)
            }
            Self::PathTooLong(_) => {
                "name a shorter directory in listen.unix_socket_dirs".to_owned()
            }
            Self::Locked { lock, owner, .. } => {
                let end = owner.process.as_ref().map_or_else(
                    || "end that process".to_owned(),
                    |process| format!("end process {}", process.pid),
                );
                let lock = lock.display();
                format!("{end}; if it serves nothing there any more, remove {lock}")
            }
            Self::NoGroup(_) => {
                "write a group of `getent group` as listen.unix_socket_group".to_owned()
            }
        }
    }
}

fn tcp_cure(address: SocketAddr, source: &io::Error, owner: Option<&Owner>) -> String {
    let port = address.port();
    match source.kind() {
        io::ErrorKind::AddrInUse if owner.is_none() => format!(
            "see who listens there: `sudo ss -ltnp 'sport = :{port}'`; end it, or give pgsluice \
             another port in listen.addresses"
        ),
        io::ErrorKind::AddrInUse => {
            let other = "another port in listen.addresses, for example \"127.0.0.1:6432\"";
            taken_cure(owner, other)
        }
        io::ErrorKind::PermissionDenied => format!(
            "port {port} is for root and for programs with CAP_NET_BIND_SERVICE: write a port \
             from 1024 on in listen.addresses, or allow it: `sudo setcap \
             cap_net_bind_service=+ep {}`, or under systemd \
             AmbientCapabilities=CAP_NET_BIND_SERVICE",
            program_path()
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}: take one of `ip address` for listen.addresses",
            address.ip()
        ),
        _ => "write another address in listen.addresses".to_owned(),
    }
}

/// For an address or a socket that `owner` has; `other` says what could be taken instead.
fn taken_cure(owner: Option<&Owner>, other: &str) -> String {
    let process = owner.and_then(|owner| owner.process.as_ref());
    match (owner.map(Owner::program), process) {
        (Some(Program::Postgres), process) => postgres_cure(process, other),
        (Some(Program::Pgsluice), Some(process)) => format!(
            "another pgsluice runs already: end it with `kill {}` (its clients may finish), or \
             give this one {other}",
            process.pid
        ),
        (Some(Program::Container), _) => format!(
            "a container publishes that port: find it with `docker ps`, and end it or publish \
             another one; or give pgsluice {other}"
        ),
        (_, Some(process)) => format!("end process {}, or give pgsluice {other}", process.pid),
        _ => format!("end the server that has it, or give pgsluice {other}"),
    }
}

/// The old server has the port that the proxy is to take over.
fn postgres_cure(process: Option<&Process>, other: &str) -> String {
    let directory = process.and_then(|process| process.data_directory.as_deref());
    let (stop, restart) = match directory.map(Path::display) {
        Some(directory) => (
            format!("`pg_ctl -D {directory} stop`"),
            format!("`pg_ctl -D {directory} restart`"),
        ),
        None => (
            "`sudo systemctl stop postgresql`".to_owned(),
            "`sudo systemctl restart postgresql`".to_owned(),
        ),
    };
    format!(
        "if that is the old server, whose place pgsluice is to take, move it to another port \
         (`ALTER SYSTEM SET port = 5433`, then {restart}), or stop it ({stop}; a service of the \
         system by `sudo systemctl stop postgresql`); or give pgsluice {other}"
    )
}

fn unix_cure(path: &Path, source: &io::Error) -> String {
    let directory = path.parent().unwrap_or(path);
    match source.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "{}: run it as a user that may write there, let this one (`sudo chgrp` and `sudo \
             chmod g+w`, or `sudo usermod -aG`), or name another directory in \
             listen.unix_socket_dirs",
            rights(directory)
        ),
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "{} cannot be written to: name another directory in listen.unix_socket_dirs",
            directory.display()
        ),
        _ => "name another directory in listen.unix_socket_dirs".to_owned(),
    }
}

/// Whose a directory is, and who wants to write there.
fn rights(directory: &Path) -> String {
    let we = owner::user_name(Uid::effective().as_raw()).unwrap_or_default();
    let directory_text = directory.display();
    let Ok(file) = fs::metadata(directory) else {
        return format!("user {we}, as whom pgsluice runs, may not write to {directory_text}");
    };
    let theirs = owner::user_name(file.uid()).unwrap_or_default();
    format!(
        "{directory_text} is of user {theirs} with mode {:04o}, and pgsluice runs as user {we}",
        file.mode() & 0o7777
    )
}

fn program_path() -> String {
    let program = std::env::current_exe();
    program.map_or_else(|_| "pgsluice".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, data_directory: Option<&str>) -> Owner {
        Owner {
            process: Some(Process {
                pid: 4711,
                name: name.to_owned(),
                data_directory: data_directory.map(PathBuf::from),
            }),
            user: Some("postgres".to_owned()),
        }
    }

    fn taken(owner: Option<Owner>) -> BindError {
        BindError::Tcp {
            address: ([127, 0, 0, 1], 5432).into(),
            source: io::Error::from_raw_os_error(nix::libc::EADDRINUSE),
            owner: owner.map(Box::new),
        }
    }

    #[test]
    fn the_old_server_is_named_and_so_is_how_to_move_or_stop_it() {
        let error = taken(Some(owner("postgres", Some("/var/lib/pg"))));
        let text = error.to_string();
        assert!(
            text.ends_with(": process 4711 (postgres) of user postgres listens there"),
            "{text}"
        );
        let cure = error.cure();
        for part in [
            "SET port = 5433",
            "pg_ctl -D /var/lib/pg restart",
            "pg_ctl -D /var/lib/pg stop",
            "listen.addresses",
        ] {
            assert!(cure.contains(part), "{part}: {cure}");
        }
    }

    #[test]
    fn each_owner_has_a_cure_of_its_own() {
        for (owner, part) in [
            (None, "ss -ltnp 'sport = :5432'"),
            (Some(owner("pgsluice", None)), "kill 4711"),
            (Some(owner("docker-proxy", None)), "docker ps"),
            (Some(owner("nginx", None)), "end process 4711"),
            (
                Some(Owner {
                    process: None,
                    user: Some("postgres".to_owned()),
                }),
                "systemctl stop postgresql",
            ),
        ] {
            let cure = taken(owner).cure();
            assert!(cure.contains(part), "{part}: {cure}");
            assert!(cure.contains("listen.addresses"), "{cure}");
        }
    }

    #[test]
    fn what_is_not_allowed_says_whom_to_ask() {
        let denied = || io::Error::from_raw_os_error(nix::libc::EACCES);
        let error = BindError::tcp(([127, 0, 0, 1], 432).into(), denied());
        assert!(error.cure().contains("CAP_NET_BIND_SERVICE"));
        let dir = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o750);
        fs::set_permissions(dir.path(), mode).unwrap();
        let error = BindError::Unix {
            path: dir.path().join(".s.PGSQL.5432"),
            source: denied(),
        };
        let cure = error.cure();
        assert!(cure.contains(&dir.path().display().to_string()), "{cure}");
        assert!(cure.contains("mode 0750"), "{cure}");
    }
}
