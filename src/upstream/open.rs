//! A whole login of the proxy's own: dial, secure, authenticate, and read on until
//! the server is ready.

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::connect::Prober;
use super::{Credentials, LoginError, Unreachable, Upstream, log_in};
use crate::config::values::ServerMethod;
use crate::fault::{ClientFacing, Fault};
use crate::net::framed::{Framed, MAX_UPSTREAM_FRAME, WholeFrame};
use crate::tls::MaybeTls;
use crate::wire::backend::{self, AuthRequest, MAX_REPORTED};
use crate::wire::frontend::split_cstr;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::{CancelKey, StartupMessage};

/// Bytes of notices of one login that are kept: those that Postgres knows have some hundred.
const MAX_NOTICES: usize = 16 << 10;

/// Name and value.
type Setting = (Box<[u8]>, Box<[u8]>);

/// What a server reports of its settings at a login, in its order.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    settings: Vec<Setting>,
    bytes: usize,
}

impl Reported {
    /// Notes a ParameterStatus by its body.
    ///
    /// # Errors
    /// It is none, or one too many.
    pub(crate) fn note(&mut self, body: &[u8]) -> Result<(), LoginError> {
        let pair = split_cstr(body).and_then(|(name, rest)| Some((name, split_cstr(rest)?.0)));
        let (name, value) = pair.ok_or(LoginError::Protocol)?;
        let (most, most_bytes) = MAX_REPORTED;
        self.bytes += name.len() + value.len();
        if self.settings.len() >= most || self.bytes > most_bytes {
            return Err(LoginError::TooManyReports);
        }
        self.settings.push((name.into(), value.into()));
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.settings
            .iter()
            .map(|(name, value)| (&**name, &**value))
    }
}

/// A connection that has just said ReadyForQuery for the first time.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: MaybeTls,
    /// Read beyond ReadyForQuery: a notice, if anything.
    pub(crate) ahead: BytesMut,
    /// `None` from a server that cannot be asked to cancel.
    pub(crate) key: Option<CancelKey>,
    pub(crate) reported: Reported,
    /// Of its login, whole messages: about a name that is too long, a collation that has
    /// changed. None where its client has been told already.
    pub(crate) notices: Bytes,
}

/// What the server says of a session that has just begun.
struct SessionStart {
    key: Option<CancelKey>,
    reported: Reported,
    notices: Vec<u8>,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error("the upstream did not complete the login in time")]
    Silent,
}

impl OpenError {
    /// The server's own ErrorResponse, whole, if that was its answer.
    pub(crate) fn refusal(&self) -> Option<&Bytes> {
        match self {
            Self::Login(LoginError::Refused(frame)) => Some(&frame.bytes),
            _ => None,
        }
    }

    /// Whether the next attempt may well succeed without anybody doing anything: the
    /// server is away, or on its way up or down.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent => true,
            Self::Login(error) => error.may_pass(),
        }
    }
}

impl ClientFacing for OpenError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unreachable(error) => error.fault(),
            Self::Login(error) => error.fault(),
            Self::Silent => {
                Fault::new(SqlState::CANNOT_CONNECT_NOW, "timeout", self.to_string()).hint(
                    "The server took the connection and says nothing: look at its load and into its log; `connect_timeout` bounds the wait.",
                )
            }
        }
    }
}

/// A failure, and the connection it happened on: the server still has it.
#[derive(Debug)]
pub(crate) struct FailedOpen {
    pub(crate) error: OpenError,
    pub(crate) stream: Option<MaybeTls>,
}

/// Opens a connection with `startup` as it is, for `who`, which must be its user.
///
/// # Errors
/// See [`OpenError`].
pub(crate) async fn open(
    upstream: &Upstream,
    startup: &StartupMessage,
    who: &Credentials<'_>,
) -> Result<Opened, FailedOpen> {
    let stream = upstream.connect().await.map_err(|error| FailedOpen {
        error: error.into(),
        stream: None,
    })?;
    let limit = upstream.config().connect_timeout;
    let mut stream = Framed::new(stream);
    let outcome = timeout(limit, log_in_whole(&mut stream, startup, who)).await;
    let (stream, ahead) = stream.into_parts();
    let error = match outcome {
        Ok(Ok(begun)) => {
            upstream.note(Ok(()));
            return Ok(Opened {
                stream,
                ahead,
                key: begun.key,
                reported: begun.reported,
                notices: begun.notices.into(),
            });
        }
        Ok(Err(error)) => error.into(),
        Err(_) => OpenError::Silent,
    };
    upstream.note(Err(&error));
    Err(FailedOpen {
        error,
        stream: Some(stream),
    })
}

/// Whether the server lets anybody in: begins a login, and goes no further than its first
/// answer. The connection, if there is one, is for the caller to close.
///
/// # Errors
/// It does not.
pub(crate) async fn probe(upstream: &Upstream, prober: &Prober) -> Result<MaybeTls, FailedOpen> {
    let stream = upstream.connect().await.map_err(|error| FailedOpen {
        error: error.into(),
        stream: None,
    })?;
    let mut stream = Framed::new(stream);
    let startup = StartupMessage::new(&prober.role, &prober.database);
    let limit = upstream.config().connect_timeout;
    let outcome = match timeout(limit, first_answer(&mut stream, &startup)).await {
        Ok(outcome) => outcome.map(|_| ()).map_err(OpenError::from),
        Err(_) => Err(OpenError::Silent),
    };
    upstream.note(outcome.as_ref().copied());
    let stream = stream.into_parts().0;
    match outcome {
        Err(error) if error.may_pass() => Err(FailedOpen {
            error,
            stream: Some(stream),
        }),
        _ => Ok(stream),
    }
}

/// What a server asks for, before anything is proven to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asks {
    pub(crate) method: ServerMethod,
    /// Of SASL, in the server's order.
    pub(crate) mechanisms: Vec<String>,
    /// The server's certificate has a hash that a login can be bound to.
    pub(crate) can_be_bound_to: bool,
}

/// What the server would ask of this role; the login goes no further.
///
/// # Errors
/// It refuses, or cannot be reached.
pub(crate) async fn ask(
    upstream: &Upstream,
    (role, database): (&str, &str),
) -> Result<Asks, OpenError> {
    let mut stream = Framed::new(upstream.connect().await?);
    let startup = StartupMessage::new(role, database);
    let limit = upstream.config().connect_timeout;
    let answer = timeout(limit, first_answer(&mut stream, &startup)).await;
    let frame = answer.map_err(|_| OpenError::Silent)??;
    let request = AuthRequest::decode(frame.body()).ok_or(LoginError::Protocol)?;
    let mut mechanisms = Vec::new();
    let method = match request {
        AuthRequest::Ok => ServerMethod::None,
        AuthRequest::CleartextPassword => ServerMethod::Password,
        AuthRequest::Md5Password(_) => ServerMethod::Md5,
        AuthRequest::Sasl(list) => {
            let names = backend::mechanisms(list).into_iter();
            mechanisms = names.map(|name| name.escape_ascii().to_string()).collect();
            ServerMethod::ScramSha256
        }
        AuthRequest::Gss => ServerMethod::Gss,
        AuthRequest::SaslContinue(_) | AuthRequest::SaslFinal(_) => {
            return Err(LoginError::Protocol.into());
        }
        AuthRequest::Other(_) => {
            return Err(LoginError::Unsupported("unknown to this proxy").into());
        }
    };
    Ok(Asks {
        method,
        mechanisms,
        can_be_bound_to: stream.stream().peer_binding().is_some(),
    })
}

async fn first_answer(
    stream: &mut Framed<MaybeTls>,
    startup: &StartupMessage,
) -> Result<WholeFrame, LoginError> {
    stream.send(&startup.encode()).await?;
    loop {
        let frame = stream.read(MAX_UPSTREAM_FRAME).await?;
        match frame.tag() {
            backend::NEGOTIATE_PROTOCOL_VERSION | backend::NOTICE_RESPONSE => {}
            backend::AUTHENTICATION => return Ok(frame),
            backend::ERROR_RESPONSE => return Err(LoginError::Refused(frame)),
            _ => return Err(LoginError::Protocol),
        }
    }
}

impl Upstream {
    /// Notes what an outcome says of the server.
    fn note(&self, outcome: Result<(), &OpenError>) {
        match outcome {
            Err(error) if error.may_pass() => self.health().failed(error.fault()),
            _ => self.health().answered(&self.config().name),
        }
    }

    /// The same, of a login over a connection that was made already.
    pub(crate) fn note_login(&self, outcome: &Result<(), LoginError>) {
        match outcome {
            Err(error) if error.may_pass() => self.health().failed(error.fault()),
            _ => self.health().answered(&self.config().name),
        }
    }
}

impl LoginError {
    /// Whether the next attempt may well succeed without anybody doing anything.
    fn may_pass(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused(frame) => {
                backend::error_field(frame.body(), b'C').is_some_and(|code| code.starts_with("57P"))
            }
            _ => false,
        }
    }
}

async fn log_in_whole(
    stream: &mut Framed<MaybeTls>,
    startup: &StartupMessage,
    who: &Credentials<'_>,
) -> Result<SessionStart, LoginError> {
    stream.send(&startup.encode()).await?;
    log_in(stream, who).await?;
    let mut begun = SessionStart {
        key: None,
        reported: Reported::default(),
        notices: Vec::new(),
    };
    loop {
        let frame = stream.read(MAX_UPSTREAM_FRAME).await?;
        match frame.tag() {
            backend::PARAMETER_STATUS => begun.reported.note(frame.body())?,
            backend::BACKEND_KEY_DATA => begun.key = CancelKey::from_key_data(frame.body()),
            backend::NOTICE_RESPONSE if begun.notices.len() + frame.bytes.len() > MAX_NOTICES => {}
            backend::NOTICE_RESPONSE => begun.notices.extend_from_slice(&frame.bytes),
            backend::ERROR_RESPONSE => return Err(LoginError::Refused(frame)),
            backend::READY_FOR_QUERY => return Ok(begun),
            _ => return Err(LoginError::Protocol),
        }
    }
}
