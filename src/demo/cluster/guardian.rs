//! The process that outlives us by just as long as cleaning up takes.
//!
//! A crash leaves no chance to stop the server, so a small shell holds the other
//! end of a pipe and does it: a pipe is closed by the kernel, whatever happened.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::{User, geteuid};

use super::ClusterError;

const SCRIPT: &str = include_str!("guardian.sh");

/// What the guardian, and so initdb and postgres, keep of our environment. `PG*`
/// and `LC_*` would change the server behind our back.
const ENVIRONMENT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ"];

/// The system account that the cluster runs as, when it is not our own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Postgres refuses to run as root, so root hands the cluster to `postgres`.
    pub(crate) fn needed() -> Result<Option<Self>, ClusterError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let user = User::from_name("postgres")
            .map_err(|errno| ClusterError::Files(errno.into()))?
            .ok_or(ClusterError::OnlyRoot)?;
        Ok(Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }))
    }

    pub(crate) fn take_over(self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
    }
}

/// The shell that keeps the server; it ends, and ends the server, when this is dropped.
#[derive(Debug)]
pub(crate) struct Guardian {
    process: Child,
}

impl Guardian {
    pub(crate) fn spawn(bin_dir: &Path, dir: &Path, owner: Option<Owner>) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "guardian"])
            .arg(bin_dir)
            .current_dir(dir)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| {
                let value = std::env::var_os(name)?;
                Some((name, value))
            }))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("guardian.log"))?)
            // Ctrl-C in a terminal is for us; the server is stopped after the proxy.
            .process_group(0);
        if let Some(owner) = owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        Ok(Self {
            process: command.spawn()?,
        })
    }

    /// Has an order of `guardian.sh` carried out, after those before it.
    pub(crate) fn order(&mut self, order: &str) -> io::Result<()> {
        let pipe = self.process.stdin.as_mut();
        let pipe = pipe.ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(pipe, "{order}")
    }

    /// Waits until the server is stopped and its directory is gone. Blocks.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        // `wait` closes the pipe first.
        self.process.wait().map(drop)
    }
}

/// Writes a file that only the cluster's owner can read.
pub(crate) fn write_private(path: &Path, text: &str, owner: Option<Owner>) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    owner.map_or(Ok(()), |owner| owner.take_over(path))
}
