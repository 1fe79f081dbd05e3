//! One TCP or unix connection to an upstream's address.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::{Resolver, Socket};
use crate::config::values::{Keepalive, UpstreamAddress};

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("host name \"{host}\" cannot be resolved: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("host name \"{0}\" has no addresses")]
    NoAddresses(String),
    #[error("host name \"{host}\" leads to {address}, and plaintext is for loopback only")]
    NotLoopback { host: String, address: SocketAddr },
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

/// How far a connection may lead, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialOptions<'a> {
    pub(crate) resolver: &'a Resolver,
    pub(crate) within: Duration,
    /// For plaintext: what `localhost` means is up to the machine's hosts file.
    pub(crate) loopback_only: bool,
}

/// Resolves and connects; of several addresses the first that answers is taken,
/// and one that does not answer leaves the others their share of the time. The
/// caller bounds the whole.
///
/// # Errors
/// The failure of the last address tried.
pub(crate) async fn dial(
    address: &UpstreamAddress,
    keepalive: &Keepalive,
    reach: DialOptions<'_>,
) -> Result<Socket, DialError> {
    let socket =
        match address {
            UpstreamAddress::Tcp { host, port } => dial_tcp((host, *port), reach).await?,
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

async fn dial_tcp((host, port): (&str, u16), reach: DialOptions<'_>) -> Result<Socket, DialError> {
    let deadline = Instant::now() + reach.within;
    let resolved = reach.resolver.resolve((host, port), reach.within).await;
    let addresses = resolved.map_err(|source| DialError::Resolve {
        host: host.to_owned(),
        source,
    })?;
    let elsewhere = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    match addresses.iter().find(elsewhere) {
        Some(&address) if reach.loopback_only => Err(DialError::NotLoopback {
            host: host.to_owned(),
            address,
        }),
        _ => match first_that_answers(&addresses, deadline).await {
            Some(connected) => connected.map(Socket::Tcp),
            None => Err(DialError::NoAddresses(host.to_owned())),
        },
    }
}

/// The last address may take all the time that is left.
async fn first_that_answers(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Option<Result<TcpStream, DialError>> {
    let (&last, others) = addresses.split_last()?;
    let mut remaining = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for &address in others {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Ok(Ok(stream)) = timeout(left / remaining, TcpStream::connect(address)).await {
            return Some(Ok(stream));
        }
        remaining -= 1;
    }
    let connected = TcpStream::connect(last).await;
    Some(connected.map_err(|source| DialError::Tcp {
        address: last,
        source,
    }))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        // A listener whose queue is full lets no handshake end.
        let silent = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        silent.bind(&any.into()).unwrap();
        silent.listen(0).unwrap();
        let dead = silent.local_addr().unwrap();
        let _fill: Vec<_> = (0..4).map(|_| begin_to_connect(&dead)).collect();
        let alive = TcpListener::bind(any).unwrap();
        let addresses = [dead.as_socket().unwrap(), alive.local_addr().unwrap()];
        let limit = Duration::from_secs(2);
        let dialled = first_that_answers(&addresses, Instant::now() + limit);
        let stream = timeout(limit, dialled).await.unwrap().unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
    }

    fn begin_to_connect(address: &SockAddr) -> RawSocket {
        let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _in_progress = socket.connect(address);
        socket
    }

    #[tokio::test]
    async fn plaintext_stays_on_this_machine_whatever_a_name_resolves_to() {
        let reach = DialOptions {
            resolver: &Resolver::default(),
            within: Duration::from_secs(1),
            loopback_only: true,
        };
        let refused = dial_tcp(("192.0.2.1", 5432), reach).await.unwrap_err();
        assert!(
            matches!(refused, DialError::NotLoopback { .. }),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_any_more_leads_to_its_last_address() {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let reach = DialOptions {
            resolver: &Resolver::knowing(address),
            within: Duration::from_secs(3),
            loopback_only: true,
        };
        let dialled = dial_tcp(("no-such-host.invalid", address.port()), reach);
        assert!(dialled.await.is_ok());
    }
}
