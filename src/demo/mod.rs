//! `pgsluice demo`: a throwaway server, the proxy in front of it, and the proof.
//!
//! Everything here but the proxy itself, which the caller starts: so this room
//! knows nothing of the ones that the proxy is made of.

mod cluster;
mod files;
mod proof;
mod proxy;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::pin::{Pin, pin};

use cluster::{Cluster, ClusterError, ClusterOptions};
use proof::Proof;

pub(crate) use proxy::{DemoProxy, TlsFacts};

/// Port of a DigitalOcean managed cluster, so that the demo looks like one.
const MANAGED_PORT: u16 = 25060;
const POSTGRES_PORT: u16 = 5432;

/// Flags of the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct DemoOptions {
    /// End after the proof instead of waiting for Ctrl-C
    #[arg(long)]
    pub(crate) once: bool,
    /// Write the environment of both sides (PGHOST, …, UPSTREAM_HOST, …) to this file once ready
    #[arg(long, value_name = "PATH")]
    pub(crate) env_file: Option<PathBuf>,
    /// Directory of initdb and postgres [default: PATH, then the newest installed]
    #[arg(long, value_name = "DIR")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// Port of the proxy [default: 5432, or a free one]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Port of the server [default: 25060, or a free one]
    #[arg(long, value_name = "PORT")]
    pub(crate) upstream_port: Option<u16>,
}

/// Why a demo ended other than as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("port {0} is taken; name another one with --upstream-port")]
    UpstreamPortTaken(u16),
    #[error("the proxy did not start: {0}")]
    Proxy(#[source] Box<dyn Error + Send + Sync>),
    #[error("the proof failed: {0}")]
    Proof(String),
    #[error("cannot write what the demo is to tell: {0}")]
    Files(#[from] io::Error),
    #[error("interrupted before the proof")]
    Interrupted,
}

impl DemoError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Proof(_) => 1,
            Self::UpstreamPortTaken(_) | Self::Files(_) => 2,
            Self::Cluster(ClusterError::NotInstalled { .. } | ClusterError::OnlyRoot) => 3,
            Self::Cluster(_) | Self::Proxy(_) => 4,
            Self::Interrupted => 130,
        }
    }
}

/// Runs the demo until `interrupted`, or until the proof with `--once`.
///
/// `start_proxy` is given the text of a `proxy.toml`, to which no environment is to be added.
pub(crate) async fn run<P: DemoProxy>(
    options: DemoOptions,
    start_proxy: impl AsyncFnOnce(String) -> Result<P, Box<dyn Error + Send + Sync>>,
    interrupted: impl Future<Output = ()>,
    out: &mut impl Write,
) -> Result<(), DemoError> {
    let mut interrupted = pin!(interrupted);
    let starting = Cluster::start(ClusterOptions {
        bin_dir: options.postgres_bin.clone(),
        port: Some(options.upstream_port.unwrap_or(MANAGED_PORT)),
        ..ClusterOptions::default()
    });
    let cluster = tokio::select! {
        cluster = starting => cluster?,
        () = &mut interrupted => return Err(DemoError::Interrupted),
    };
    let ended = serve(&options, &cluster, start_proxy, interrupted, out).await;
    let closed = cluster.close().await;
    ended?;
    Ok(closed?)
}

/// What lies between the start of the cluster and its end.
async fn serve<P: DemoProxy>(
    options: &DemoOptions,
    cluster: &Cluster,
    start_proxy: impl AsyncFnOnce(String) -> Result<P, Box<dyn Error + Send + Sync>>,
    mut interrupted: Pin<&mut impl Future<Output = ()>>,
    out: &mut impl Write,
) -> Result<(), DemoError> {
    if let Some(port) = options.upstream_port.filter(|port| *port != cluster.port()) {
        return Err(DemoError::UpstreamPortTaken(port));
    }
    let toml = files::proxy_toml(cluster, proxy_port(options.port));
    let proxy = tokio::select! {
        proxy = start_proxy(toml) => proxy.map_err(DemoError::Proxy)?,
        () = &mut interrupted => return Err(DemoError::Interrupted),
    };
    let proof = tokio::select! {
        proof = Proof::take(cluster, &proxy) => proof.map_err(DemoError::Proof),
        () = &mut interrupted => Err(DemoError::Interrupted),
    };
    let ended = match proof {
        Ok(proof) => show(options, cluster, (&proxy, &proof), interrupted, out).await,
        Err(error) => Err(error),
    };
    proxy.stop().await;
    ended
}

/// Tells what there is, and keeps it up.
async fn show(
    options: &DemoOptions,
    cluster: &Cluster,
    (proxy, proof): (&impl DemoProxy, &Proof),
    interrupted: Pin<&mut impl Future<Output = ()>>,
    out: &mut impl Write,
) -> Result<(), DemoError> {
    let address = proxy.address();
    proof.print(cluster, address, out)?;
    let env_file = match &options.env_file {
        Some(path) => Some(files::EnvFile::write(path, cluster, address)?),
        None => None,
    };
    if !options.once {
        let password_file = files::write_password_file(cluster, address)?;
        writeln!(
            out,
            "\nTry it:\n  PGPASSFILE={} psql 'host={} port={} user={} dbname={}'\n\n\
             Ctrl-C ends both and leaves nothing behind.",
            password_file.display(),
            address.ip(),
            address.port(),
            cluster.app.user,
            cluster::DATABASE,
        )?;
        out.flush()?;
        interrupted.await;
    }
    drop(env_file);
    Ok(())
}

/// The port that was asked for, taken or not: the proxy says so better. Without
/// one, the usual port if it is free; 0 otherwise.
fn proxy_port(asked: Option<u16>) -> u16 {
    asked.unwrap_or_else(
        || match TcpListener::bind((Ipv4Addr::LOCALHOST, POSTGRES_PORT)) {
            Ok(_) => POSTGRES_PORT,
            Err(_) => 0,
        },
    )
}
