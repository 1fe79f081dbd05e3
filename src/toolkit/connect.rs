//! A session of the toolkit's own on an upstream: the proxy's upstream definition, its
//! verified TLS and its login, and tokio-postgres for the SQL.
//!
//! tokio-postgres neither dials nor logs in: it is handed a connection on which that is
//! done (`adopted`). So `sslmode`, `require_auth` and `channel_binding` hold here too, and
//! a failure is explained in the words that clients of the proxy know.

mod adopted;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use tokio_postgres::{Client, NoTls};

use crate::config::values;
use crate::fault::{ClientFacing, Fault};
use crate::metrics::Metrics;
use crate::tls::{Description, SetupError};
use crate::upstream::{Credentials, OpenError, Unreachable, Upstream, open};
use crate::wire::backend;
use crate::wire::startup::{CancelKey, StartupMessage};

use adopted::Adopted;

/// An upstream, and whom to log in as.
#[derive(Debug)]
pub(crate) struct Target {
    upstream: Upstream,
    user: String,
    database: String,
    application_name: &'static str,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("upstream \"{0}\" has no `user`")]
    NoUser(String),
    /// A certificate or key that cannot be read or used.
    #[error("upstream \"{upstream}\": {source}")]
    Setup {
        upstream: String,
        source: SetupError,
    },
    #[error("{0}")]
    Connect(Unreachable),
    #[error("{0}")]
    Tls(Unreachable),
    #[error("upstream \"{upstream}\": {source}")]
    Login { upstream: String, source: OpenError },
    /// The server was lost between the login and the first statement.
    #[error("upstream \"{upstream}\": {source}")]
    Lost {
        upstream: String,
        source: tokio_postgres::Error,
    },
}

impl ConnectError {
    /// Whether the configuration is at fault: nothing was connected to.
    pub(crate) const fn is_configuration(&self) -> bool {
        matches!(self, Self::NoUser(_) | Self::Setup { .. })
    }

    /// What the server answered, if it was a refusal of its own: SQLSTATE and message.
    #[allow(dead_code, reason = "for commands that explain it")]
    pub(crate) fn refusal(&self) -> Option<(String, String)> {
        let Self::Login { source, .. } = self else {
            return None;
        };
        let body = source.refusal()?.get(5..)?;
        let field = |name| backend::error_field(body, name).unwrap_or_default();
        Some((field(b'C'), field(b'M')))
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NoUser(name) => Some(
                format!(
                    "give `user` and `password_file` in [upstreams.{name}], or in DATABASE_URL"
                )
                .into(),
            ),
            Self::Setup { source, .. } => Some(source.cure().into()),
            Self::Connect(error) | Self::Tls(error) => error.fault().hint,
            Self::Login { source, .. } => source.fault().hint,
            Self::Lost { .. } => Some("Look into the server's log, and try again.".into()),
        }
    }

    fn of_open(upstream: &str, error: OpenError) -> Self {
        match error {
            OpenError::Unreachable(error) if error.is_tls() => Self::Tls(error),
            OpenError::Unreachable(error) => Self::Connect(error),
            source => Self::Login {
                upstream: upstream.to_owned(),
                source,
            },
        }
    }
}

impl Target {
    /// Reads the files that TLS needs. The database is the one given, else the
    /// upstream's `dbname`, else the one named as the user, as with libpq.
    ///
    /// # Errors
    /// [`ConnectError::NoUser`], [`ConnectError::Setup`].
    pub(crate) fn new(
        config: &Arc<values::Upstream>,
        database: Option<&str>,
        application_name: &'static str,
    ) -> Result<Self, ConnectError> {
        let user = config
            .user
            .clone()
            .ok_or_else(|| ConnectError::NoUser(config.name.clone()))?;
        let upstream =
            Upstream::new(Arc::clone(config), &Metrics::detached()).map_err(|source| {
                ConnectError::Setup {
                    upstream: config.name.clone(),
                    source,
                }
            })?;
        let database = database.or(config.dbname.as_deref()).unwrap_or(&user);
        Ok(Self {
            database: database.to_owned(),
            upstream,
            user,
            application_name,
        })
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Dials, secures, logs in.
    ///
    /// # Errors
    /// See [`ConnectError`]. A [`ConnectError::Setup`] has come before.
    pub(crate) async fn connect(&self) -> Result<Session, ConnectError> {
        let config = self.upstream.config();
        let mut startup = StartupMessage::new(&self.user, &self.database);
        startup.set(b"client_encoding", b"UTF8");
        startup.set(b"application_name", self.application_name.as_bytes());
        let who = Credentials {
            user: &self.user,
            password: config.password.as_ref(),
            channel_binding: config.channel_binding,
            require_auth: config.require_auth,
        };
        let opened = open(&self.upstream, &startup, &who)
            .await
            .map_err(|failed| ConnectError::of_open(&config.name, failed.error))?;
        let (key, tls) = (opened.key.clone(), opened.stream.description());
        let mut login = tokio_postgres::Config::new();
        // It goes nowhere, and the login is done: without one it would ask the system.
        login.user(&self.user);
        let (client, connection) = login
            .connect_raw(Adopted::new(opened), NoTls)
            .await
            .map_err(|source| ConnectError::Lost {
                upstream: config.name.clone(),
                source,
            })?;
        // Ends when the client is dropped; an error is told by the statement that meets it.
        tokio::spawn(connection);
        Ok(Session { client, key, tls })
    }

    /// Asks the server to end what a session is doing.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn cancel(&self, key: &CancelKey) -> Result<(), Fault> {
        let sent = self.upstream.cancel(key).await;
        sent.map(|_| ()).map_err(|error| error.fault())
    }
}

/// A session that is logged in; closed when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    key: Option<CancelKey>,
    tls: Option<Description>,
}

impl Session {
    /// What [`Target::cancel`] needs; `None` from a server that cannot be asked.
    pub(crate) const fn key(&self) -> Option<&CancelKey> {
        self.key.as_ref()
    }

    /// What was agreed on; `None` in plaintext.
    pub(crate) const fn tls(&self) -> Option<&Description> {
        self.tls.as_ref()
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

#[cfg(test)]
mod tests;
