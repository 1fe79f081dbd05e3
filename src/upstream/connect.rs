//! Dial and secure, within one deadline; and the cancel request.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::health::Health;
use crate::config::values::{self, UpstreamTls, Verify};
use crate::fault::{ClientFacing, Fault};
use crate::metrics::{Metrics, UpstreamMetrics};
use crate::net::{DialError, DialOptions, ReadAhead, Resolver, dial};
use crate::tls::{Connector, MaybeTls, SetupError, TlsFault};
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::CancelKey;

/// Cancel requests in flight at once, to one upstream. They take no connection
/// slot of the server (it forks, signals and closes), but each is a handshake.
const MAX_CANCELS: usize = 8;

/// A server that sessions can be carried to, ready to be connected to.
#[derive(Debug)]
pub(crate) struct Upstream {
    config: Arc<values::Upstream>,
    /// `None` is plaintext, which `config` allows for loopback and unix only.
    connector: Option<Connector>,
    metrics: UpstreamMetrics,
    resolver: Resolver,
    health: Health,
    /// Who asks the server how it is, where clients' logins do not reach it.
    prober: OnceLock<Prober>,
    cancels: Semaphore,
}

/// Whose login shows how the server is.
#[derive(Debug)]
pub(crate) struct Prober {
    pub(crate) role: Arc<str>,
    pub(crate) database: Arc<str>,
}

/// Why the upstream could not be connected to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

impl ConnectError {
    fn label(&self) -> &'static str {
        match self {
            Self::Dial(DialError::Resolve { .. } | DialError::NoAddresses(_)) => "resolve",
            Self::Dial(_) => "dial",
            Self::Tls(fault) => fault.label(),
            Self::TimedOut(_) => "timeout",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Dial(DialError::Resolve { .. } | DialError::NoAddresses(_)) => {
                "Check the upstream's `host`, and that this machine can resolve it."
            }
            Self::Dial(DialError::NotLoopback { .. }) => {
                "Set `sslmode` to \"verify-full\", or correct what the name resolves to on this machine."
            }
            Self::Dial(_) => {
                "Check that the server runs, its `port`, and that its firewall or trusted sources let this machine in."
            }
            Self::Tls(fault) => fault.cure(),
            Self::TimedOut(_) => {
                "Check the upstream's `host` and `port`, and that its firewall or trusted sources let this machine in; `connect_timeout` bounds the wait."
            }
        }
    }
}

/// A [`ConnectError`] with the name of the upstream it happened to.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to upstream \"{upstream}\": {source}")]
pub(crate) struct Unreachable {
    upstream: String,
    source: ConnectError,
}

impl Unreachable {
    /// Whether the server was there, and TLS is what failed.
    pub(crate) const fn is_tls(&self) -> bool {
        matches!(self.source, ConnectError::Tls(_))
    }
}

impl ClientFacing for Unreachable {
    fn fault(&self) -> Fault {
        Fault::new(
            SqlState::CANNOT_CONNECT_NOW,
            self.source.label(),
            self.to_string(),
        )
        .hint(self.source.hint())
    }
}

impl Upstream {
    /// Reads the files that TLS needs, once.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub(crate) fn new(
        config: Arc<values::Upstream>,
        metrics: &Metrics,
    ) -> Result<Self, SetupError> {
        let metrics = metrics.upstream(&config.name);
        let connector = match &config.tls {
            UpstreamTls::Disable => None,
            UpstreamTls::Enable(tls) => Some(Connector::new(tls)?),
        };
        metrics.verification(match &config.tls {
            UpstreamTls::Disable => 0,
            UpstreamTls::Enable(tls) => match tls.verify {
                Verify::Nothing => 1,
                Verify::Ca => 2,
                Verify::Full => 3,
            },
        });
        Ok(Self {
            config,
            connector,
            metrics,
            resolver: Resolver::default(),
            health: Health::default(),
            prober: OnceLock::new(),
            cancels: Semaphore::new(MAX_CANCELS),
        })
    }

    pub(crate) fn config(&self) -> &values::Upstream {
        &self.config
    }

    pub(crate) const fn health(&self) -> &Health {
        &self.health
    }

    /// From here on the proxy answers logins itself, and has to find out by itself
    /// whether the server would let anybody in: as this role.
    pub(crate) fn watch(&self, role: &str) {
        let database = self.config.dbname.as_deref().unwrap_or(role);
        let prober = Prober {
            role: role.into(),
            database: database.into(),
        };
        // The first one stays.
        let _ = self.prober.set(prober);
    }

    pub(crate) fn prober(&self) -> Option<&Prober> {
        self.prober.get()
    }

    pub(crate) const fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// A connection over which nothing has been said yet but TLS.
    ///
    /// # Errors
    /// It cannot be reached, verified, or not within `connect_timeout`.
    pub(crate) async fn connect(&self) -> Result<MaybeTls, Unreachable> {
        let began = Instant::now();
        self.health.tried();
        let limit = self.config.connect_timeout;
        let result = match timeout(limit, self.dial_and_secure()).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut(limit)),
        };
        match result {
            Ok(stream) => {
                self.metrics.connected(began.elapsed());
                Ok(stream)
            }
            Err(source) => {
                self.metrics.connect_failed(source.label());
                let unreachable = Unreachable {
                    upstream: self.config.name.clone(),
                    source,
                };
                self.health.failed(unreachable.fault());
                Err(unreachable)
            }
        }
    }

    async fn dial_and_secure(&self) -> Result<MaybeTls, ConnectError> {
        let reach = DialOptions {
            resolver: &self.resolver,
            within: self.config.connect_timeout,
            loopback_only: self.connector.is_none(),
        };
        let socket = dial(&self.config.address, &self.config.keepalive, reach).await?;
        match &self.connector {
            None => Ok(MaybeTls::Plain(socket)),
            Some(connector) => {
                let stream = connector.secure(ReadAhead::new(socket)).await?;
                Ok(MaybeTls::connected(stream))
            }
        }
    }

    /// Sends a CancelRequest and waits until the server has acted on it, which it
    /// shows by closing. Waits its turn, up to `connect_timeout`, where many are on
    /// their way: statements that time out together must all end. `false` when no
    /// turn came.
    ///
    /// # Errors
    /// The upstream cannot be reached.
    pub(crate) async fn cancel(&self, key: &CancelKey) -> Result<bool, Unreachable> {
        let turn = timeout(self.config.connect_timeout, self.cancels.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            return Ok(false);
        };
        let mut stream = self.connect().await?;
        let deliver = async {
            stream.write_all(&key.request()).await?;
            stream.flush().await?;
            let mut nothing = [0; 16];
            while stream.read(&mut nothing).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        match timeout(self.config.connect_timeout, deliver).await {
            Ok(Ok(())) => Ok(true),
            // The server closes by reset when it has not read everything: done all the same.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Ok(Err(source)) => Err(self.lost(source)),
            Err(_) => Err(Unreachable {
                upstream: self.config.name.clone(),
                source: ConnectError::TimedOut(self.config.connect_timeout),
            }),
        }
    }

    fn lost(&self, source: io::Error) -> Unreachable {
        let source = DialError::Lost(source);
        Unreachable {
            upstream: self.config.name.clone(),
            source: ConnectError::Dial(source),
        }
    }
}
