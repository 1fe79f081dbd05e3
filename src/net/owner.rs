//! Who has what a listener wants, as far as `/proc` tells: for the words of a start
//! that fails. Blocks on the file system; elsewhere than on Linux it knows nobody.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// What a program is to somebody who starts a proxy for Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Postgres,
    /// Another instance of this one.
    Pgsluice,
    /// Docker's or Podman's, for a port that a container publishes.
    Container,
    Other,
}

/// Who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// `None` where only root may know.
    pub(crate) process: Option<Process>,
    /// Whose process it is.
    pub(crate) user: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// The data directory in a Postgres server's arguments.
    pub(crate) data_directory: Option<PathBuf>,
}

impl Owner {
    pub(crate) fn program(&self) -> Program {
        match (&self.process, self.user.as_deref()) {
            (Some(process), _) => program(&process.name),
            (None, Some("postgres")) => Program::Postgres,
            (None, _) => Program::Other,
        }
    }
}

/// `process 1234 (postgres) of user postgres`, or as much as is known.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "process {} ({})", process.pid, process.name)?,
            None => f.write_str("a process")?,
        }
        match &self.user {
            Some(user) => write!(f, " of user {user}"),
            None => Ok(()),
        }
    }
}

/// What a program of this name is.
pub(super) fn program(name: &str) -> Program {
    match name {
        "postgres" | "postmaster" => Program::Postgres,
        "pgsluice" => Program::Pgsluice,
        "docker-proxy" | "rootlessport" | "conmon" => Program::Container,
        _ => Program::Other,
    }
}

/// The name of the program that a process runs.
pub(super) fn program_name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// Who listens where `wanted` cannot be bound.
pub(super) fn of_tcp(wanted: SocketAddr) -> Option<Owner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    let (inode, uid) = tables
        .iter()
        .flat_map(|table| table.lines())
        .find_map(|line| listener(line, wanted))?;
    Some(Owner {
        process: socket_holder(inode).and_then(process),
        user: user_name(uid),
    })
}

/// Who listens at a unix socket: the process in Postgres's lock file beside it, or who
/// has the socket itself.
pub(super) fn of_unix(path: &Path, lock: Option<u32>) -> Option<Owner> {
    let locked = lock.filter(|pid| program_name(*pid).is_some());
    let pid = locked.or_else(|| {
        let table = fs::read_to_string("/proc/net/unix").ok()?;
        let inode = table.lines().find_map(|line| unix_inode(line, path))?;
        socket_holder(inode)
    });
    let user = match pid {
        Some(pid) => fs::metadata(format!("/proc/{pid}")),
        None => fs::metadata(path),
    };
    Some(Owner {
        process: pid.and_then(process),
        user: user.ok().and_then(|file| user_name(file.uid())),
    })
}

/// The inode and the user of a listening socket in a line of `/proc/net/tcp`, if it is
/// in the way of `wanted`.
fn listener(line: &str, wanted: SocketAddr) -> Option<(u64, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if state != LISTENING || port != wanted.port() || !clashes(ip(address)?, wanted.ip()) {
        return None;
    }
    // Between them: queues, timer, retransmissions.
    let (uid, inode) = (fields.nth(3)?, fields.nth(1)?);
    Some((inode.parse().ok()?, uid.parse().ok()?))
}

/// An address in `/proc/net/tcp`: words of four bytes, each as this machine has it.
fn ip(text: &str) -> Option<IpAddr> {
    let words = text.len() / 8;
    let mut bytes = Vec::with_capacity(16);
    for word in 0..words {
        let word = text.get(word * 8..word * 8 + 8)?;
        bytes.extend_from_slice(&u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
    }
    let four = <[u8; 4]>::try_from(&*bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let sixteen = || <[u8; 16]>::try_from(&*bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    four.or_else(|_| sixteen()).ok()
}

/// Whether both cannot listen on one port. The unspecified IPv6 address takes IPv4 too,
/// unless it is told not to, which the table does not show.
fn clashes(has: IpAddr, wants: IpAddr) -> bool {
    let has = has.to_canonical();
    let same_family = has.is_ipv4() == wants.is_ipv4();
    has == wants
        || (has.is_unspecified() && (same_family || has.is_ipv6()))
        || (wants.is_unspecified() && same_family)
}

/// The inode of the socket at `path`, if this line of `/proc/net/unix` is its.
fn unix_inode(line: &str, path: &Path) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let inode = fields.nth(6)?;
    (Path::new(fields.next()?) == path)
        .then(|| inode.parse().ok())
        .flatten()
}

/// The process that has the socket open; the eldest of several, which is who bound it.
fn socket_holder(inode: u64) -> Option<u32> {
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let has = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"));
        let mut links = files.into_iter().flatten().flatten();
        links.any(|link| fs::read_link(link.path()).is_ok_and(|target| target == socket))
    };
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let started = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: the twentieth field.
        let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
        let time = rest.split_ascii_whitespace().nth(19);
        time.and_then(|time| time.parse::<u64>().ok())
    };
    pids.filter(has).min_by_key(started)
}

fn process(pid: u32) -> Option<Process> {
    let name = program_name(pid)?;
    let data_directory = (program(&name) == Program::Postgres)
        .then(|| data_directory(pid))
        .flatten();
    Some(Process {
        pid,
        name,
        data_directory,
    })
}

/// What stands behind `-D` in the arguments of a server; a server's own directory is
/// also where it works.
fn data_directory(pid: u32) -> Option<PathBuf> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = arguments.split(|byte| *byte == 0);
    let given = arguments
        .find(|argument| *argument == b"-D")
        .and_then(|_| arguments.next());
    match given.map(str::from_utf8) {
        Some(Ok(given)) if given.starts_with('/') => Some(given.into()),
        _ => fs::read_link(format!("/proc/{pid}/cwd")).ok(),
    }
}

/// The name of a user, or else its number.
#[expect(
    clippy::disallowed_methods,
    reason = "only a start that fails asks, and nobody is served yet"
)]
pub(super) fn user_name(uid: u32) -> Option<String> {
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Some(known.map_or_else(|| format!("with number {uid}"), |user| user.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as a little-endian machine writes it.
    fn line(address: &str, state: &str) -> String {
        format!(
            "   0: {address}:1538 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  \
             105        0 28412 1 0000000000000000 100 0 0 10 0"
        )
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_listener_is_in_the_way_of_its_own_address_and_of_all() {
        let loopback = "0100007F";
        let any = "00000000";
        let any6 = "00000000000000000000000000000000";
        let loopback6 = "00000000000000000000000001000000";
        let mapped = "0000000000000000FFFF00000100007F";
        let (v4, v6) = ("127.0.0.1:5432", "[::1]:5432");
        for (has, wants, clash) in [
            (loopback, v4, true),
            (loopback, v6, false),
            (loopback, "0.0.0.0:5432", true),
            (loopback, "127.0.0.2:5432", false),
            (loopback, "127.0.0.1:5433", false),
            (any, v4, true),
            (any6, v4, true),
            (any6, v6, true),
            (loopback6, v6, true),
            (loopback6, v4, false),
            (loopback6, "[::]:5432", true),
            (mapped, v4, true),
        ] {
            let found = listener(&line(has, LISTENING), wants.parse().unwrap());
            assert_eq!(found, clash.then_some((28412, 105)), "{has} {wants}");
            assert_eq!(listener(&line(has, "01"), wants.parse().unwrap()), None);
        }
    }

    #[test]
    fn what_is_no_line_of_the_table_is_passed_over() {
        let wanted = "127.0.0.1:5432".parse().unwrap();
        for text in [
            "",
            "  sl  local_address rem_address   st",
            "0: zz:1538 x 0A",
        ] {
            assert_eq!(listener(text, wanted), None, "{text}");
        }
    }

    #[test]
    fn this_process_is_found_by_its_sockets() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let owners = [of_tcp(tcp.local_addr().unwrap()), of_unix(&path, None)];
        for owner in owners {
            let owner = owner.unwrap();
            assert_eq!(owner.process.unwrap().pid, std::process::id());
            assert!(owner.user.is_some());
        }
    }
}
