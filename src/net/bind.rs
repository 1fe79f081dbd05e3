//! Listening sockets of both families.
//!
//! A unix socket has libpq's name, `.s.PGSQL.PORT`, and Postgres's lock file
//! beside it. It appears under its name by a rename, already listening, so that
//! clients of a stale socket that is taken over never meet a closed door.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::bind_error::{BindError, MAX_UNIX_PATH};
use super::owner::{self, Owner};
use super::socket::set_tcp_options;
use super::{Peer, Socket};
use crate::config::values::Keepalive;

/// How a socket file is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnixOptions<'a> {
    pub(crate) port: u16,
    pub(crate) mode: u32,
    pub(crate) group: Option<&'a str>,
}

/// A socket that clients connect to. It is watched by the runtime in which it was made,
/// and so is what it accepts.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        file: SocketFile,
    },
}

impl Listener {
    /// Binds a TCP address; port 0 takes a free one. What is accepted inherits the
    /// options that are set here, which spares it six system calls.
    ///
    /// # Errors
    /// The address is in use, not ours, or not allowed.
    pub(crate) fn bind_tcp(
        address: SocketAddr,
        backlog: u32,
        keepalive: &Keepalive,
    ) -> Result<Self, BindError> {
        let bind = || {
            let socket = RawSocket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            // A restart must not wait for connections in TIME_WAIT.
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                // 0.0.0.0 and [::] can then be listened on side by side.
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            set_tcp_options(&SockRef::from(&socket), keepalive);
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket.into())
        };
        bind()
            .map(Self::Tcp)
            .map_err(|source| BindError::tcp(address, source))
    }

    /// Binds `DIRECTORY/.s.PGSQL.PORT`, taking over a socket that nobody serves.
    ///
    /// # Errors
    /// Somebody serves it, or the directory does not allow it.
    pub(crate) fn bind_unix(
        directory: &Path,
        options: &UnixOptions<'_>,
    ) -> Result<Self, BindError> {
        let path = directory.join(format!(".s.PGSQL.{}", options.port));
        if path.as_os_str().len() > MAX_UNIX_PATH {
            return Err(BindError::PathTooLong(path));
        }
        let file = SocketFile::claim(path)?;
        let failed = |source| BindError::Unix {
            path: file.path.clone(),
            source,
        };
        let fresh = file
            .path
            .with_extension(format!("{}.{}", options.port, std::process::id()));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh).map_err(failed)?;
        let appear = || {
            if let Some(group) = options.group {
                std::os::unix::fs::chown(&fresh, None, Some(group_id(group)?)).map_err(failed)?;
            }
            let mode = fs::Permissions::from_mode(options.mode);
            fs::set_permissions(&fresh, mode).map_err(failed)?;
            fs::rename(&fresh, &file.path).map_err(failed)
        };
        if let Err(error) = appear() {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        Ok(Self::Unix { listener, file })
    }

    /// The next client.
    ///
    /// # Errors
    /// What `accept` reports: out of descriptors, or a client that left already.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Peer::Tcp(address)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Socket::Unix(stream), Peer::Unix { uid }))
            }
        }
    }

    /// The address as text: with the port that was taken, or the socket's path.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(
                |error| format!("unknown ({error})"),
                |address| address.to_string(),
            ),
            Self::Unix { file, .. } => file.path.display().to_string(),
        }
    }

    /// The TCP port that was taken.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Unix { .. } => None,
        }
    }
}

/// A socket file and its lock; both go when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    lock: PathBuf,
}

impl SocketFile {
    fn claim(path: PathBuf) -> Result<Self, BindError> {
        let mut lock = path.clone().into_os_string();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        if is_served(&path) {
            return Err(BindError::in_use(path, lock_holder(&lock)));
        }
        let failed = |source| BindError::Unix {
            path: lock.clone(),
            source,
        };
        if let Some(pid) = lock_holder(&lock) {
            if let Some(owner) = running(pid, &path) {
                let owner = Box::new(owner);
                return Err(BindError::Locked { path, lock, owner });
            }
            fs::remove_file(&lock).map_err(failed)?;
        }
        // Whoever creates the lock has the socket; a race is lost here, not at the rename.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&lock)
            .map_err(failed)?;
        let claimed = Self {
            path,
            lock: lock.clone(),
        };
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(claimed)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        for path in [&self.path, &self.lock] {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "socket file not removed");
            }
        }
    }
}

/// Whether somebody accepts on `path`. Only a refusal says that nobody does.
fn is_served(path: &Path) -> bool {
    match StdUnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        ),
    }
}

/// The process named in a lock file; a torn file names none that runs.
fn lock_holder(lock: &Path) -> Option<u32> {
    let text = fs::read_to_string(lock).ok()?;
    // Postgres writes a negative number for a standalone backend.
    Some(
        text.lines()
            .next()
            .and_then(|line| line.trim().trim_start_matches('-').parse().ok())
            .unwrap_or(0),
    )
}

/// The process `pid`, if it runs and may own a Postgres socket: after a reboot, or in
/// a new container, the number in a stale lock belongs to another.
fn running(pid: u32, path: &Path) -> Option<Owner> {
    if pid == 0 || pid == std::process::id() {
        return None;
    }
    let name = owner::program_name(pid)?;
    ["postgres", "postmaster", "pgsluice", "pgbouncer"]
        .contains(&&*name)
        .then(|| owner::of_unix(path, Some(pid)))
        .flatten()
}

fn group_id(group: &str) -> Result<u32, BindError> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    match nix::unistd::Group::from_name(group) {
        Ok(Some(found)) => Ok(found.gid.as_raw()),
        _ => Err(BindError::NoGroup(group.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OPTIONS: UnixOptions<'_> = UnixOptions {
        port: 5432,
        mode: 0o700,
        group: None,
    };

    #[tokio::test]
    async fn what_is_accepted_has_the_options_of_the_listener() {
        let keepalive = Keepalive {
            idle: Duration::from_secs(33),
            interval: Duration::from_secs(7),
            count: 4,
            user_timeout: Duration::from_millis(12_345),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind_tcp(any, 8, &keepalive).unwrap();
        let address: SocketAddr = listener.address().parse().unwrap();
        let (accepted, connected) =
            tokio::join!(listener.accept(), tokio::net::TcpStream::connect(address));
        connected.unwrap();
        let (Socket::Tcp(stream), _) = accepted.unwrap() else {
            panic!("a socket of another kind");
        };
        let options = SockRef::from(&stream);
        assert!(options.tcp_nodelay().unwrap());
        assert!(options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(
            options.tcp_keepalive_interval().unwrap(),
            keepalive.interval
        );
        assert_eq!(options.tcp_keepalive_retries().unwrap(), keepalive.count);
        let limit = options.tcp_user_timeout().unwrap();
        assert_eq!(limit, Some(keepalive.user_timeout));
    }

    #[tokio::test]
    async fn a_live_socket_is_not_taken_over_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind_unix(dir.path(), &OPTIONS).unwrap();
        let refused = Listener::bind_unix(dir.path(), &OPTIONS).unwrap_err();
        assert!(matches!(refused, BindError::InUse { .. }), "{refused}");
        drop(listener);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_stale_socket_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".s.PGSQL.5432");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        fs::write(
            dir.path().join(".s.PGSQL.5432.lock"),
            "4194305\n/old/data\n",
        )
        .unwrap();
        let listener = Listener::bind_unix(dir.path(), &OPTIONS).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let (accepted, connected) =
            tokio::join!(listener.accept(), tokio::net::UnixStream::connect(&path));
        connected.unwrap();
        let (_, peer) = accepted.unwrap();
        assert_eq!(
            peer,
            Peer::Unix {
                uid: nix::unistd::getuid().as_raw()
            }
        );
    }

    #[tokio::test]
    async fn a_socket_that_cannot_be_as_asked_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let options = UnixOptions {
            group: Some("no such group"),
            ..OPTIONS
        };
        let refused = Listener::bind_unix(dir.path(), &options).unwrap_err();
        assert!(matches!(refused, BindError::NoGroup(_)), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_path_that_does_not_fit_is_named() {
        let deep = PathBuf::from("/tmp").join("x".repeat(120));
        let refused = Listener::bind_unix(&deep, &OPTIONS).unwrap_err();
        assert!(matches!(refused, BindError::PathTooLong(_)), "{refused}");
    }
}
