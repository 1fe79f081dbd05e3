//! Addresses of one host name, and those that it had before: a name server that is
//! away is no reason to refuse a login while the database is where it was.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// A name server that has not answered within this part of the time for a connection
/// counts as away, where addresses are known.
const SHARE: u32 = 3;

/// What one host name was resolved to last.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// The addresses are in use though the name could not be resolved: said once.
    stale: bool,
}

impl Resolver {
    /// The addresses of `host`; if it cannot be resolved now, those of the last time.
    ///
    /// # Errors
    /// It cannot be resolved, and never could.
    pub(super) async fn resolve(
        &self,
        (host, port): (&str, u16),
        within: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        self.resolve_by(host, within, lookup(host, port)).await
    }

    async fn resolve_by(
        &self,
        host: &str,
        within: Duration,
        lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    ) -> io::Result<Vec<SocketAddr>> {
        let knows_some = !self.known.lock().addresses.is_empty();
        // Without known addresses there is nothing to hurry for: the caller bounds it.
        let lookup_timeout = if knows_some { within / SHARE } else { within };
        let resolved = match timeout(lookup_timeout, lookup).await {
            Ok(resolved) => resolved,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {lookup_timeout:?}"),
            )),
        };
        let mut known = self.known.lock();
        match resolved {
            Ok(addresses) if !addresses.is_empty() => {
                if std::mem::take(&mut known.stale) {
                    tracing::info!(host, "host name can be resolved again");
                }
                known.addresses.clone_from(&addresses);
                Ok(addresses)
            }
            other if known.addresses.is_empty() => other,
            other => {
                let error = other.err();
                let error = error.map_or_else(|| "no addresses".to_owned(), |e| e.to_string());
                if !std::mem::replace(&mut known.stale, true) {
                    let addresses = &known.addresses;
                    tracing::warn!(
                        host,
                        error,
                        ?addresses,
                        "host name cannot be resolved: its last known addresses are used; check \
                         this machine's name servers"
                    );
                }
                Ok(known.addresses.clone())
            }
        }
    }
}

async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, port)).await?.collect())
}

#[cfg(test)]
impl Resolver {
    pub(super) fn knowing(address: SocketAddr) -> Self {
        let known = Known {
            addresses: vec![address],
            stale: false,
        };
        Self {
            known: Mutex::new(known),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(15);

    fn addresses() -> Vec<SocketAddr> {
        vec![SocketAddr::from(([192, 0, 2, 1], 5432))]
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_fails_to_resolve_leads_where_it_led_before() {
        let resolver = Resolver::default();
        let away = || ready(Err(io::Error::other("name server away")));
        let nowhere = resolver.resolve_by("db", WITHIN, away()).await;
        assert_eq!(nowhere.unwrap_err().to_string(), "name server away");
        let there = ready(Ok(addresses()));
        let resolved = resolver.resolve_by("db", WITHIN, there).await;
        assert_eq!(resolved.unwrap(), addresses());
        let stale = resolver.resolve_by("db", WITHIN, away()).await;
        assert_eq!(stale.unwrap(), addresses());
        let none = ready(Ok(Vec::new()));
        let stale = resolver.resolve_by("db", WITHIN, none).await;
        assert_eq!(stale.unwrap(), addresses());
        let moved = vec![SocketAddr::from(([192, 0, 2, 2], 5432))];
        let there = ready(Ok(moved.clone()));
        let resolved = resolver.resolve_by("db", WITHIN, there).await;
        assert_eq!(resolved.unwrap(), moved);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_says_nothing_leaves_time_to_connect() {
        let resolver = Resolver::default();
        let there = ready(Ok(addresses()));
        assert!(resolver.resolve_by("db", WITHIN, there).await.is_ok());
        let began = tokio::time::Instant::now();
        let stale = resolver.resolve_by("db", WITHIN, pending()).await;
        assert_eq!(stale.unwrap(), addresses());
        assert!(began.elapsed() <= WITHIN / 2);
    }
}
