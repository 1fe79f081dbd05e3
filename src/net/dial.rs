//! One TCP or unix connection to an upstream's address.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::Socket;
use crate::config::values::{Keepalive, UpstreamAddress};

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("host name \"{host}\" cannot be resolved: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("host name \"{0}\" has no addresses")]
    NoAddresses(String),
    #[error("the connection was lost: {0}")]
    Lost(io::Error),
    #[error("{address}: {source}")]
    Tcp {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{}: {source}", path.display())]
    Unix { path: PathBuf, source: io::Error },
}

/// Resolves and connects; of several addresses the first that answers is taken.
/// The caller bounds the time.
///
/// # Errors
/// The failure of the last address tried.
pub(crate) async fn dial(
    address: &UpstreamAddress,
    keepalive: &Keepalive,
) -> Result<Socket, DialError> {
    let socket =
        match address {
            UpstreamAddress::Tcp { host, port } => dial_tcp(host, *port).await?,
            UpstreamAddress::Unix(path) => UnixStream::connect(path)
                .await
                .map(Socket::Unix)
                .map_err(|source| DialError::Unix {
                    path: path.clone(),
                    source,
                })?,
        };
    socket.set_options(keepalive);
    Ok(socket)
}

async fn dial_tcp(host: &str, port: u16) -> Result<Socket, DialError> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|source| DialError::Resolve {
            host: host.to_owned(),
            source,
        })?;
    let mut failure = DialError::NoAddresses(host.to_owned());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(Socket::Tcp(stream)),
            Err(source) => failure = DialError::Tcp { address, source },
        }
    }
    Err(failure)
}
