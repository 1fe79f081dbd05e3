//! HUP: a terminal that closes ends the proxy that was started in it; `nohup` keeps it;
//! from anybody else it means a reload.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::support::wait::{self, PATIENCE};
use crate::support::{RawClient, frontend};

/// A proxy that is started by another program.
struct Started {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    address: SocketAddr,
}

/// Starts the proxy by `program`, which becomes it, in the terminal `input` or without.
async fn start(program: &[&str], input: Stdio) -> Started {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, dir) = (free.local_addr().unwrap(), tempfile::tempdir().unwrap());
    drop(free);
    // Whatever the tests themselves were started by.
    let mut process = Command::new("env")
        .arg("--default-signal=HUP")
        .args(program)
        .arg(env!("CARGO_BIN_EXE_pgsluice"))
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(["--set", &format!("listen.addresses={address}")])
        .args(["--set", "upstreams.cluster.host=127.0.0.1"])
        .args(["--set", "upstreams.cluster.port=1"])
        .args(["--set", "upstreams.cluster.sslmode=disable"])
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let log = BufReader::new(process.stderr.take().unwrap()).lines();
    wait::until(PATIENCE, "it listens", async || {
        assert!(process.try_wait().unwrap().is_none(), "it has ended");
        TcpStream::connect(address).await.is_ok()
    })
    .await;
    let mut started = Started {
        process,
        log,
        address,
    };
    // Only now does it listen to signals for sure.
    started.says("metrics: off").await;
    started
}

impl Started {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id().unwrap()).unwrap();
        signal::kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Reads the log up to the line with `part`.
    async fn says(&mut self, part: &str) {
        let reading = async {
            loop {
                let line = self.log.next_line().await.unwrap();
                if line.expect(part).contains(part) {
                    return;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect(part);
    }

    /// Waits for its end; returns the rest of its log.
    async fn ends(&mut self) -> String {
        let status = timeout(PATIENCE, self.process.wait()).await;
        assert_eq!(status.expect("it does not end").unwrap().code(), Some(0));
        let mut rest = String::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            rest += &line;
            rest.push('\n');
        }
        rest
    }
}

/// Starts the proxy in a terminal of its own; what is returned first is the terminal's
/// other end, which closes it when dropped.
async fn in_a_terminal(program: &[&str]) -> (PtyMaster, Started) {
    // Not for the programs that other tests start at this moment: they would keep it open.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(ptsname_r(&master).unwrap())
        .unwrap();
    let started = start(program, slave.into()).await;
    (master, started)
}

#[tokio::test]
async fn a_terminal_that_closes_ends_what_was_started_in_it() {
    let (terminal, mut proxy) = in_a_terminal(&["setsid", "--ctty"]).await;
    drop(terminal);
    let rest = proxy.ends().await;
    assert!(rest.contains("the terminal"), "{rest}");
    // The port is free again.
    drop(TcpListener::bind(proxy.address).await.unwrap());
}

#[tokio::test]
async fn a_hangup_in_a_terminal_that_stays_ends_nothing() {
    let (_terminal, mut proxy) = in_a_terminal(&["setsid", "--ctty"]).await;
    proxy.signal(Signal::SIGHUP);
    proxy.says("reload").await;
    drop(TcpStream::connect(proxy.address).await.unwrap());
    proxy.signal(Signal::SIGTERM);
    proxy.ends().await;
}

#[tokio::test]
async fn a_hangup_that_is_ignored_at_the_start_stays_ignored() {
    let (terminal, mut proxy) = in_a_terminal(&["setsid", "--ctty", "nohup"]).await;
    drop(terminal);
    proxy.signal(Signal::SIGHUP);
    drop(TcpStream::connect(proxy.address).await.unwrap());
    // TERM is told behind it, and would come second.
    proxy.signal(Signal::SIGTERM);
    let rest = proxy.ends().await;
    assert!(rest.contains("draining"), "{rest}");
    assert!(
        !rest.contains("terminal") && !rest.contains("reload"),
        "{rest}"
    );
}

#[tokio::test]
async fn a_hangup_without_a_terminal_is_for_a_reload() {
    let mut proxy = start(&["setsid"], Stdio::null()).await;
    let mut client = RawClient::connect(proxy.address).await;
    proxy.signal(Signal::SIGHUP);
    proxy.says("reload").await;
    // Clients stay, and others are let in.
    client.send(frontend::ssl_request()).await;
    assert_eq!(client.read_byte().await, b'N');
    drop(TcpStream::connect(proxy.address).await.unwrap());
    proxy.signal(Signal::SIGTERM);
    proxy.ends().await;
}
