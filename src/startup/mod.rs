//! From a raw socket to an admitted client, a cancel key, or a refusal.
//!
//! Negotiation (`negotiate`) ends in exactly one check of what the listener
//! demands; in held mode the client then proves itself here (`authenticate`), in
//! passthrough later, to the upstream. Knows no pool and no session.

mod authenticate;
mod negotiate;
mod reject;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, timeout_at};

use crate::config::values::{AuthMode, ClientCertificates, Config, ListenTls, User};
use crate::fault::{ClientFacing, Fault};
use crate::name::Name;
use crate::net::framed::{FrameError, Framed};
use crate::net::{Peer, Socket};
use crate::tls::{AcceptFault, Acceptor, MaybeTls, SetupError};
use crate::wire::password::{Stored, StoredFault};
use crate::wire::scram::{SaltKey, Verifier};
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::{CancelKey, StartupError, StartupMessage, Version};

pub(crate) use reject::refuse;

/// What a listener demands of clients, built once from the configuration.
#[derive(Debug)]
pub(crate) struct Admission {
    tls: LocalTls,
    /// A client's certificate has to be in the name of the user it logs in as.
    names_user: bool,
    users: Users,
    login_timeout: Duration,
}

#[derive(Debug)]
enum LocalTls {
    Disable,
    Allow(Acceptor),
    Require(Acceptor),
}

impl LocalTls {
    const fn acceptor(&self) -> Option<&Acceptor> {
        match self {
            Self::Disable => None,
            Self::Allow(acceptor) | Self::Require(acceptor) => Some(acceptor),
        }
    }
}

/// Who may log in, and who checks it.
#[derive(Debug)]
enum Users {
    Relayed,
    Held {
        users: BTreeMap<String, HeldUser>,
        salts: SaltKey,
        /// How names are asked that nobody has: as most of those who have one.
        stranger: Stranger,
    },
}

/// Nobody, who looks like somebody until the answer is wrong.
#[derive(Debug)]
enum Stranger {
    Password(Stored),
    Md5(Stored),
    Scram,
    Peer,
    Cert,
}

#[derive(Debug)]
struct HeldUser {
    user: Arc<User>,
    stored: Option<Stored>,
    /// Derived once, so that a login costs microseconds.
    verifier: Option<Arc<Verifier>>,
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmissionError {
    #[error(transparent)]
    Tls(#[from] SetupError),
    #[error("the password of user \"{user}\" cannot be used: {source}")]
    Password { user: String, source: StoredFault },
}

/// What a socket turned out to be.
#[derive(Debug)]
pub(crate) enum Arrival {
    Client(Box<Admitted>),
    /// The stream is kept open until the cancel is done: clients wait for that.
    Cancel(CancelKey, MaybeTls),
}

/// What the client wants.
#[derive(Debug)]
enum ClientRequest {
    /// With what was read beyond it.
    Session(StartupMessage, BytesMut),
    Cancel(CancelKey),
}

/// A client that may be given a session.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) stream: Framed<MaybeTls>,
    pub(crate) peer: Peer,
    pub(crate) startup: StartupMessage,
    pub(crate) identity: Identity,
    /// When the login must be complete.
    pub(crate) login_deadline: Instant,
}

/// Who vouches for the client.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Nobody yet: the upstream will, in the relayed login.
    Relayed,
    /// The proxy checked it; AuthenticationOk has not been said yet.
    Held(Arc<User>),
}

/// Why a client was not admitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupFailure {
    #[error("login not complete within {0:?}")]
    TimedOut(Duration),
    #[error("client left during startup")]
    Left,
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error("unsupported frontend protocol {0}: server supports 3.0 to 3.2")]
    Unsupported(Version),
    #[error("TLS with the client failed: {0}")]
    Tls(#[from] AcceptFault),
    #[error("client began TLS on a listener without it")]
    NoTls { fix: &'static str },
    #[error("client asked for TLS, was told that this listener has none, and left")]
    WantsTls { fix: &'static str },
    #[error("this listener demands TLS")]
    TlsRequired,
    #[error("password authentication failed for user \"{0}\"")]
    WrongPassword(Name),
    /// For the log: the client hears what a known one would hear.
    #[error("no user \"{0}\" in [[users]]")]
    UnknownUser(Name, fn(Name) -> Self),
    #[error("peer authentication failed for user \"{0}\"")]
    WrongPeer(Name),
    #[error("certificate authentication failed for user \"{0}\"")]
    WrongCertificate(Name),
    /// As `pg_isready` understands it.
    #[error("{}", .0.message)]
    Unavailable(Fault),
    #[error("client broke the protocol: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StartupFailure {
    /// What the client is told; `None` closes without a word, as Postgres does.
    pub(crate) fn client_error(&self) -> Option<Fault> {
        let (sqlstate, hint) = match self {
            Self::Left
            | Self::Io(_)
            | Self::Frame(FrameError::Io(_) | FrameError::Closed | FrameError::Torn) => {
                return None;
            }
            Self::Startup(StartupError::Length(_) | StartupError::CancelKey(_))
            | Self::Tls(_)
            | Self::NoTls { .. }
            | Self::WantsTls { .. } => {
                return None;
            }
            Self::Unavailable(fault) => return Some(fault.clone()),
            Self::TimedOut(_) => (SqlState::PROTOCOL_VIOLATION, None),
            Self::Startup(StartupError::NoUser) => (SqlState::INVALID_AUTHORIZATION, None),
            Self::Startup(StartupError::Layout(_)) | Self::Protocol(_) | Self::Frame(_) => {
                (SqlState::PROTOCOL_VIOLATION, None)
            }
            Self::Unsupported(_) => (SqlState::FEATURE_NOT_SUPPORTED, None),
            Self::TlsRequired => (
                SqlState::INVALID_AUTHORIZATION,
                Some(
                    "Connect with sslmode=require or stronger, or set listen.tls_mode = \"allow\".",
                ),
            ),
            Self::UnknownUser(name, heard) => return heard(name.clone()).client_error(),
            Self::WrongPassword(_) => (SqlState::INVALID_PASSWORD, None),
            Self::WrongPeer(_) | Self::WrongCertificate(_) => {
                (SqlState::INVALID_AUTHORIZATION, None)
            }
        };
        let fault = Fault::new(sqlstate, self.label(), self.to_string());
        Some(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        })
    }

    /// What to do about it, of what the client is not told.
    pub(crate) const fn fix(&self) -> Option<&'static str> {
        match self {
            Self::NoTls { fix } | Self::WantsTls { fix } => Some(fix),
            _ => None,
        }
    }

    /// Whether the client left by itself.
    pub(crate) const fn is_departure(&self) -> bool {
        matches!(
            self,
            Self::Left
                | Self::Io(_)
                | Self::Frame(FrameError::Io(_) | FrameError::Closed | FrameError::Torn)
                | Self::Tls(AcceptFault::Left)
        )
    }

    /// Label of the metric that counts it.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "login_timeout",
            Self::Left
            | Self::Io(_)
            | Self::Frame(FrameError::Io(_) | FrameError::Closed | FrameError::Torn) => {
                "client_left"
            }
            Self::Startup(_) | Self::Protocol(_) | Self::Frame(_) | Self::Unsupported(_) => {
                "protocol"
            }
            Self::Unavailable(fault) => fault.label,
            Self::Tls(fault) => fault.label(),
            Self::NoTls { .. } | Self::TlsRequired => "client_tls",
            Self::WantsTls { .. } => "wants_tls",
            Self::WrongPassword(_)
            | Self::UnknownUser(..)
            | Self::WrongPeer(_)
            | Self::WrongCertificate(_) => "auth",
        }
    }
}

/// A refusal and the stream to say it on, where there still is one.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) failure: StartupFailure,
    pub(crate) stream: Option<MaybeTls>,
    /// Who it was, if it came to that.
    pub(crate) startup: Option<Box<StartupMessage>>,
}

impl Admission {
    /// Reads certificates and derives what logins are checked against.
    ///
    /// # Errors
    /// A certificate, a key or a password that cannot be read or used.
    pub(crate) fn new(config: &Config) -> Result<Self, AdmissionError> {
        let tls = match &config.listen.tls {
            ListenTls::Disable => LocalTls::Disable,
            ListenTls::Allow(identity) => LocalTls::Allow(Acceptor::new(identity)?),
            ListenTls::Require(identity) => LocalTls::Require(Acceptor::new(identity)?),
        };
        let users = match config.auth.mode {
            AuthMode::Passthrough => Users::Relayed,
            AuthMode::Held => Users::held(&config.users)
                .map_err(|(user, source)| AdmissionError::Password { user, source })?,
        };
        let names_user = match &config.listen.tls {
            ListenTls::Disable => false,
            ListenTls::Allow(identity) | ListenTls::Require(identity) => matches!(
                identity.clients,
                ClientCertificates::Demanded {
                    names_user: true,
                    ..
                }
            ),
        };
        Ok(Self {
            tls,
            names_user,
            users,
            login_timeout: config.limits.client_login_timeout,
        })
    }

    /// Speaks to a new socket until it is clear what it wants. Where the proxy answers
    /// logins itself, `unavailable` may say that none are accepted now.
    ///
    /// # Errors
    /// A refusal, with the stream on which the client can be told.
    pub(crate) async fn admit(
        &self,
        (socket, peer): (Socket, Peer),
        unavailable: impl Fn() -> Option<Fault>,
    ) -> Result<Arrival, Refused> {
        let deadline = Instant::now() + self.login_timeout;
        let negotiating = self.negotiate(socket);
        let (stream, first) = match timeout_at(deadline, negotiating).await {
            Ok(Ok(negotiated)) => negotiated,
            Ok(Err(refused)) => return Err(refused),
            Err(_) => {
                return Err(Refused {
                    failure: self.timed_out(),
                    stream: None,
                    startup: None,
                });
            }
        };
        let (startup, ahead) = match first {
            ClientRequest::Cancel(key) => return Ok(Arrival::Cancel(key, stream)),
            ClientRequest::Session(startup, ahead) => (startup, ahead),
        };
        let mut admitted = Box::new(Admitted {
            stream: Framed::with_ahead(stream, ahead),
            peer,
            startup,
            identity: Identity::Relayed,
            login_deadline: deadline,
        });
        if let Users::Held { .. } = self.users {
            if let Some(fault) = unavailable() {
                return Err(Refused {
                    failure: StartupFailure::Unavailable(fault),
                    stream: Some(admitted.stream.into_parts().0),
                    startup: Some(Box::new(admitted.startup)),
                });
            }
            let failure = match timeout_at(deadline, self.authenticate(&mut admitted)).await {
                Ok(Ok(())) => return Ok(Arrival::Client(admitted)),
                Ok(Err(failure)) => failure,
                Err(_) => self.timed_out(),
            };
            return Err(Refused {
                failure,
                stream: Some(admitted.stream.into_parts().0),
                startup: Some(Box::new(admitted.startup)),
            });
        }
        Ok(Arrival::Client(admitted))
    }

    /// What clients can do who want TLS where there is none. In passthrough they would say
    /// over TLS that they could bind to a channel, which ends here.
    const fn without_tls(&self) -> &'static str {
        match self.users {
            Users::Held { .. } => {
                "write sslmode=disable in the client's URL, or listen.tls_mode = \"allow\" to serve such URLs as they are"
            }
            Users::Relayed => {
                "write sslmode=disable in the client's URL: what goes to the server is encrypted by the proxy"
            }
        }
    }

    const fn timed_out(&self) -> StartupFailure {
        StartupFailure::TimedOut(self.login_timeout)
    }
}

impl ClientFacing for StartupFailure {
    fn fault(&self) -> Fault {
        self.client_error().unwrap_or_else(|| {
            Fault::new(SqlState::PROTOCOL_VIOLATION, self.label(), self.to_string())
        })
    }
}
