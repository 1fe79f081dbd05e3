//! A whole login of the proxy's own: dial, secure, authenticate, and read on until
//! the server is ready.

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::{Credentials, LoginError, Unreachable, Upstream, log_in};
use crate::fault::{ClientFacing, Fault};
use crate::net::framed::{Framed, MAX_UPSTREAM_FRAME, WholeFrame};
use crate::tls::MaybeTls;
use crate::wire::backend;
use crate::wire::frontend::split_cstr;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::{CancelKey, StartupMessage};

/// Bytes of notices of one login that are kept: those that Postgres knows have some hundred.
const MAX_NOTICES: usize = 16 << 10;

/// Name and value.
type Setting = (Box<[u8]>, Box<[u8]>);

/// What a server reports of its settings, in its order.
pub(crate) type Reported = Vec<Setting>;

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
struct Begun {
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
            Self::Unreachable(_) | Self::Silent | Self::Login(LoginError::Lost(_)) => true,
            Self::Login(LoginError::Refused(frame)) => {
                backend::error_field(frame.body(), b'C').is_some_and(|code| code.starts_with("57P"))
            }
            Self::Login(_) => false,
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
pub(crate) struct NotOpened {
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
) -> Result<Opened, NotOpened> {
    let stream = upstream.connect().await.map_err(|error| NotOpened {
        error: error.into(),
        stream: None,
    })?;
    let limit = upstream.config().connect_timeout;
    let mut stream = Framed::new(stream);
    let outcome = timeout(limit, log_in_whole(&mut stream, startup, who)).await;
    let (stream, ahead) = stream.into_parts();
    let error = match outcome {
        Ok(Ok(begun)) => {
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
    Err(NotOpened {
        error,
        stream: Some(stream),
    })
}

async fn log_in_whole(
    stream: &mut Framed<MaybeTls>,
    startup: &StartupMessage,
    who: &Credentials<'_>,
) -> Result<Begun, LoginError> {
    stream.send(&startup.encode()).await?;
    log_in(stream, who).await?;
    let mut begun = Begun {
        key: None,
        reported: Vec::new(),
        notices: Vec::new(),
    };
    loop {
        let frame = stream.read(MAX_UPSTREAM_FRAME).await?;
        match frame.tag() {
            backend::PARAMETER_STATUS => begun.reported.push(status(&frame)?),
            backend::BACKEND_KEY_DATA => begun.key = CancelKey::from_key_data(frame.body()),
            backend::NOTICE_RESPONSE if begun.notices.len() + frame.bytes.len() > MAX_NOTICES => {}
            backend::NOTICE_RESPONSE => begun.notices.extend_from_slice(&frame.bytes),
            backend::ERROR_RESPONSE => return Err(LoginError::Refused(frame)),
            backend::READY_FOR_QUERY => return Ok(begun),
            _ => return Err(LoginError::Protocol),
        }
    }
}

fn status(frame: &WholeFrame) -> Result<Setting, LoginError> {
    let pair = split_cstr(frame.body())
        .and_then(|(name, rest)| Some((name.into(), split_cstr(rest)?.0.into())));
    pair.ok_or(LoginError::Protocol)
}
