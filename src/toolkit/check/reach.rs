//! Name resolution and the first packet there and back.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::report::Finding;
use super::topic::Topic;
use super::words::{millis, span};
use crate::config::values::{Upstream, UpstreamAddress};

/// Addresses that are tried, if a name has more.
const MOST_ADDRESSES: usize = 8;
/// No address gets less.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// What a name leads to; empty where there is none to resolve, or it failed.
pub(super) async fn dns(upstream: &Upstream) -> (Vec<SocketAddr>, Finding) {
    let UpstreamAddress::Tcp { host, port } = &upstream.address else {
        return (Vec::new(), Finding::not_applicable("a socket file"));
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        let finding = Finding::not_applicable(format!("{address} is an address"));
        return (vec![SocketAddr::new(address, *port)], finding);
    }
    let began = Instant::now();
    let resolved = timeout(
        upstream.connect_timeout,
        lookup_host((host.as_str(), *port)),
    )
    .await;
    let took = began.elapsed();
    let key = format!("upstreams.{}.host", upstream.name);
    let mut addresses: Vec<SocketAddr> = match resolved {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return (Vec::new(), unresolved(&key, host, &error)),
        Err(_) => {
            let evidence = format!(
                "{host}: the name servers did not answer within {}",
                span(took)
            );
            let cure = "ask by hand: getent hosts, and look at /etc/resolv.conf and the way out to the name servers";
            return (Vec::new(), Finding::fail(evidence, cure, Topic::Dns));
        }
    };
    addresses.dedup();
    let shown: Vec<_> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    if shown.is_empty() {
        let evidence = format!("{host} has no addresses");
        let finding = Finding::fail(evidence, format!("correct {key}"), Topic::Dns);
        return (addresses, finding);
    }
    let amount = match shown.len() {
        1 => "1 address".to_owned(),
        n => format!("{n} addresses"),
    };
    let finding = Finding::pass(format!("{amount} in {}: {}", span(took), shown.join(", ")))
        .figure("ms", millis(took))
        .figure("addresses", shown);
    (addresses, finding)
}

fn unresolved(key: &str, host: &str, error: &io::Error) -> Finding {
    let cure = match host.starts_with("private-") {
        true => format!(
            "give {key} the public host name: a private- one leads somewhere only inside the cluster's own network (VPC)"
        ),
        false => {
            format!("correct {key} (copy it from the control panel), then try: getent hosts {host}")
        }
    };
    Finding::fail(format!("{host}: {error}"), cure, Topic::Dns)
}

/// How one address took the connection.
struct Tried {
    address: SocketAddr,
    outcome: Result<Duration, io::Error>,
}

/// Connects to each address; the first that answers is the one to go on with.
pub(super) async fn connect(
    upstream: &Upstream,
    addresses: &[SocketAddr],
) -> (Option<SocketAddr>, Finding) {
    if let UpstreamAddress::Unix(path) = &upstream.address {
        let began = Instant::now();
        return match UnixStream::connect(path).await {
            Ok(_) => {
                let took = began.elapsed();
                let finding = Finding::pass(format!("{}: {}", path.display(), span(took)));
                (None, finding.figure("ms", millis(took)))
            }
            Err(error) => {
                let evidence = format!("{}: {error}", path.display());
                let cure = format!(
                    "start the server, or correct upstreams.{0}.host and upstreams.{0}.port: the file is HOST/.s.PGSQL.PORT",
                    upstream.name
                );
                (None, Finding::fail(evidence, cure, Topic::Refused))
            }
        };
    }
    let tried = try_all(upstream.connect_timeout, addresses).await;
    let good: Vec<_> = tried
        .iter()
        .filter_map(|one| Some((one.address, one.outcome.as_ref().ok()?)))
        .collect();
    let bad: Vec<_> = tried
        .iter()
        .filter_map(|one| Some((one.address, one.outcome.as_ref().err()?)))
        .collect();
    match (good.first(), bad.first()) {
        (Some((address, took)), None) => {
            let finding = Finding::pass(format!("{address}: {}", span(**took)));
            let finding = finding.figure("ms", millis(**took));
            (Some(*address), finding.more(lines(&good)))
        }
        (Some((address, took)), Some((silent, error))) => {
            let evidence = format!("{address}: {}; but {silent}: {error}", span(**took));
            let cure = "every address of the name should answer: some connections are slow, or fail; ask who runs the name server, or give one address as `host` and the name as `server_name`";
            let finding = Finding::warn(evidence, cure, topic(error));
            (Some(*address), finding.figure("ms", millis(**took)))
        }
        (None, Some((address, error))) => (None, unreachable(upstream, *address, error)),
        (None, None) => {
            let cure = format!("correct upstreams.{}.host", upstream.name);
            (None, Finding::fail("there is no address", cure, Topic::Dns))
        }
    }
}

fn lines(good: &[(SocketAddr, &Duration)]) -> Vec<String> {
    let others = good.iter().skip(1);
    others
        .map(|(address, took)| format!("{address}: {}", span(**took)))
        .collect()
}

async fn try_all(within: Duration, addresses: &[SocketAddr]) -> Vec<Tried> {
    let addresses = addresses.get(..MOST_ADDRESSES).unwrap_or(addresses);
    let share = within / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let share = share.max(LEAST_WAIT.min(within));
    let mut tried = Vec::new();
    for &address in addresses {
        let began = Instant::now();
        let outcome = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(began.elapsed()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("no answer within {}", span(share)),
            )),
        };
        tried.push(Tried { address, outcome });
    }
    tried
}

fn topic(error: &io::Error) -> Topic {
    match error.kind() {
        ErrorKind::ConnectionRefused => Topic::Refused,
        _ => Topic::NoAnswer,
    }
}

fn unreachable(upstream: &Upstream, address: SocketAddr, error: &io::Error) -> Finding {
    let name = &upstream.name;
    let cure = match error.kind() {
        ErrorKind::ConnectionRefused if address.ip().is_loopback() => format!(
            "start the server, or correct upstreams.{name}.port: nothing listens there on this machine"
        ),
        ErrorKind::ConnectionRefused => format!(
            "correct upstreams.{name}.port (a managed cluster has 25060, and 25061 for its pools): the machine is there, and nothing listens on that port"
        ),
        ErrorKind::TimedOut => format!(
            "add this machine's public address to the cluster's trusted sources (it is what a web server sees of it, not what the machine calls itself), or correct upstreams.{name}.host: packets to port {} are dropped on the way",
            address.port()
        ),
        _ => format!(
            "see whether this machine has a route there: ip route get {}",
            address.ip()
        ),
    };
    Finding::fail(format!("{address}: {error}"), cure, topic(error))
}
