//! Logging in upstream with credentials that the proxy holds.
//!
//! SCRAM-SHA-256-PLUS where the server offers it and its certificate has a hash
//! to bind to, else SCRAM-SHA-256, md5 or cleartext, as the server asks and the
//! upstream's `require_auth` allows. What leaves as a password is never a hash of it.

use zeroize::Zeroizing;

use crate::config::values::{ChannelBinding, RequireAuth, ServerMethod};
use crate::fault::{ClientFacing, Fault};
use crate::net::framed::{FrameError, Framed, MAX_UPSTREAM_FRAME, WholeFrame};
use crate::secret::Secret;
use crate::tls::MaybeTls;
use crate::wire::backend::{self, AuthRequest};
use crate::wire::frontend;
use crate::wire::password::{Stored, StoredFault};
use crate::wire::scram::{ClientScram, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramFault};
use crate::wire::sqlstate::SqlState;

/// Whom to log in as, and how.
#[derive(Debug, Clone)]
pub(crate) struct Credentials<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: Option<&'a Secret>,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) require_auth: RequireAuth,
}

/// Why a login with held credentials failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The server said so itself: its whole ErrorResponse.
    #[error("the upstream refused the login: {}", error_text(.0))]
    Refused(WholeFrame),
    #[error("the upstream asks for a password, and the proxy holds none for \"{0}\"")]
    NoPassword(String),
    #[error("the upstream offers no channel binding, and channel_binding is \"require\"")]
    NoChannelBinding,
    #[error(
        "the upstream's certificate is signed without a hash to bind to, and channel_binding is \"require\""
    )]
    UnbindableCertificate,
    #[error("the upstream asks for authentication of an unsupported kind ({0})")]
    Unsupported(&'static str),
    #[error("the password held for \"{user}\" cannot be used: {source}")]
    Unusable { user: String, source: StoredFault },
    #[error("the password held for \"{0}\" is a hash that cannot answer what the upstream asks")]
    Hashed(String),
    #[error("the upstream asks {}, and require_auth allows {allowed} alone", asking(*.asks))]
    Unwanted {
        asks: ServerMethod,
        allowed: RequireAuth,
    },
    #[error("the upstream's login could not be trusted: {0}")]
    Scram(#[from] ScramFault),
    #[error("the upstream broke the protocol during login")]
    Protocol,
    #[error("the upstream reports more settings at the login than any server does")]
    TooManyReports,
    #[error("the upstream was lost during login: {0}")]
    Lost(#[from] FrameError),
}

impl From<std::io::Error> for LoginError {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(FrameError::Io(error))
    }
}

const fn asking(asks: ServerMethod) -> &'static str {
    match asks {
        ServerMethod::None => "for no password or other proof",
        ServerMethod::Password => "for the password in clear",
        ServerMethod::Md5 => "for md5",
        ServerMethod::ScramSha256 => "for scram-sha-256",
        ServerMethod::Gss => "for GSSAPI",
        ServerMethod::Sspi => "for SSPI",
    }
}

const fn cure(asks: ServerMethod) -> &'static str {
    match asks {
        ServerMethod::None => {
            "Is it the server you mean? If it is, let its pg_hba.conf ask for scram-sha-256, or accept that it asks for nothing, with none in the upstream's require_auth."
        }
        ServerMethod::Password => {
            "Is it the server you mean? If it is, let it ask for scram-sha-256, or verify it (sslmode = \"verify-full\"), or accept this with password in the upstream's require_auth."
        }
        ServerMethod::Md5 => {
            "Is it the server you mean? If it is, store the role's password as scram-sha-256, or verify the server (sslmode = \"verify-full\"), or accept this with md5 in the upstream's require_auth."
        }
        ServerMethod::ScramSha256 | ServerMethod::Gss | ServerMethod::Sspi => {
            "Put the method into the upstream's require_auth."
        }
    }
}

/// Whether the server may ask this.
///
/// # Errors
/// [`LoginError::Unwanted`].
pub(crate) const fn check(allowed: RequireAuth, asks: ServerMethod) -> Result<(), LoginError> {
    match allowed.allows(asks) {
        true => Ok(()),
        false => Err(LoginError::Unwanted { asks, allowed }),
    }
}

fn error_text(frame: &WholeFrame) -> String {
    backend::error_field(frame.body(), b'M').unwrap_or_default()
}

impl ClientFacing for LoginError {
    fn fault(&self) -> Fault {
        let (sqlstate, label, hint) = match self {
            Self::Refused(_) => (SqlState::INVALID_AUTHORIZATION, "upstream_login", None),
            Self::NoPassword(_) => (
                SqlState::INVALID_AUTHORIZATION,
                "upstream_login",
                Some(
                    "Give `upstream_password_file` in the user's [[users]] entry, or `password_file` in the upstream's section.",
                ),
            ),
            Self::Unusable { .. } | Self::Hashed(_) => (
                SqlState::INVALID_AUTHORIZATION,
                "upstream_login",
                Some("Give the password itself in `upstream_password_file`, not a hash of it."),
            ),
            Self::Unwanted { asks, .. } => (
                SqlState::INVALID_AUTHORIZATION,
                "upstream_login",
                Some(cure(*asks)),
            ),
            Self::NoChannelBinding => (
                SqlState::INVALID_AUTHORIZATION,
                "upstream_login",
                Some(
                    "The role's password may be stored as md5, or the upstream is a PgBouncer: neither can bind. Set channel_binding = \"prefer\".",
                ),
            ),
            Self::UnbindableCertificate => (
                SqlState::INVALID_AUTHORIZATION,
                "upstream_login",
                Some(
                    "Give the server a certificate signed with RSA or ECDSA (Ed25519 cannot bind), or set channel_binding = \"prefer\".",
                ),
            ),
            Self::Unsupported(_) => (
                SqlState::INVALID_AUTHORIZATION,
                "upstream_login",
                Some(
                    "Let the server ask this role for scram-sha-256, md5 or password in its pg_hba.conf.",
                ),
            ),
            Self::Scram(_) => (
                SqlState::INVALID_AUTHORIZATION,
                "upstream_login",
                Some(
                    "The server did not prove that it knows the password: check that the upstream is the server you mean.",
                ),
            ),
            Self::Protocol | Self::TooManyReports | Self::Lost(_) => {
                (SqlState::CANNOT_CONNECT_NOW, "upstream_lost", None)
            }
        };
        let fault = Fault::new(sqlstate, label, self.to_string());
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

/// Answers the server's challenges until AuthenticationOk, which is consumed.
/// The startup message has been sent. NegotiateProtocolVersion and notices on
/// the way are dropped: the client has been answered already.
///
/// # Errors
/// See [`LoginError`].
pub(crate) async fn log_in(
    stream: &mut Framed<MaybeTls>,
    who: &Credentials<'_>,
) -> Result<(), LoginError> {
    let may_ask = |asks| check(who.require_auth, asks);
    let mut has_asked = false;
    loop {
        let frame = stream.read(MAX_UPSTREAM_FRAME).await?;
        match frame.tag() {
            backend::AUTHENTICATION => {}
            backend::ERROR_RESPONSE => return Err(LoginError::Refused(frame)),
            backend::NEGOTIATE_PROTOCOL_VERSION | backend::NOTICE_RESPONSE => continue,
            _ => return Err(LoginError::Protocol),
        }
        match AuthRequest::decode(frame.body()).ok_or(LoginError::Protocol)? {
            AuthRequest::Ok if who.channel_binding == ChannelBinding::Require => {
                return Err(LoginError::NoChannelBinding);
            }
            AuthRequest::Ok if has_asked => return Ok(()),
            AuthRequest::Ok => return may_ask(ServerMethod::None),
            AuthRequest::CleartextPassword => {
                may_ask(ServerMethod::Password)?;
                send_password(stream, who, None).await?;
            }
            AuthRequest::Md5Password(salt) => {
                may_ask(ServerMethod::Md5)?;
                send_password(stream, who, Some(salt)).await?;
            }
            AuthRequest::Sasl(list) => {
                may_ask(ServerMethod::ScramSha256)?;
                return scram(stream, who, list).await;
            }
            AuthRequest::Gss => return Err(LoginError::Unsupported("GSSAPI or SSPI")),
            AuthRequest::SaslContinue(_) | AuthRequest::SaslFinal(_) => {
                return Err(LoginError::Protocol);
            }
            AuthRequest::Other(_) => return Err(LoginError::Unsupported("unknown to this proxy")),
        }
        has_asked = true;
    }
}

fn held(who: &Credentials<'_>) -> Result<Stored, LoginError> {
    let password = who.password;
    let password = password.ok_or_else(|| LoginError::NoPassword(who.user.to_owned()))?;
    Stored::parse(password).map_err(|source| LoginError::Unusable {
        user: who.user.to_owned(),
        source,
    })
}

/// The password itself: a hash would tell a server that only asks for it what others hold
/// to be a secret, and would never be right.
fn plain(who: &Credentials<'_>) -> Result<Secret, LoginError> {
    let stored = held(who)?;
    let password = stored.plain().cloned();
    password.ok_or_else(|| LoginError::Hashed(who.user.to_owned()))
}

async fn send_password(
    stream: &mut Framed<MaybeTls>,
    who: &Credentials<'_>,
    salt: Option<[u8; 4]>,
) -> Result<(), LoginError> {
    if who.channel_binding == ChannelBinding::Require {
        return Err(LoginError::NoChannelBinding);
    }
    let mut text = Zeroizing::new(match salt {
        None => plain(who)?.expose().to_owned(),
        Some(salt) => held(who)?
            .md5_response(who.user, salt)
            .ok_or_else(|| LoginError::Hashed(who.user.to_owned()))?
            .to_string(),
    });
    text.push('\0');
    stream
        .send(&frontend::password_message(text.as_bytes()))
        .await?;
    Ok(())
}

/// The four messages of SCRAM and the AuthenticationOk behind them.
async fn scram(
    stream: &mut Framed<MaybeTls>,
    who: &Credentials<'_>,
    list: &[u8],
) -> Result<(), LoginError> {
    let offered = backend::mechanisms(list);
    let offers = |name: &str| offered.contains(&name.as_bytes());
    let binding = match who.channel_binding {
        ChannelBinding::Prefer | ChannelBinding::Require if offers(SCRAM_SHA_256_PLUS) => {
            stream.stream().peer_binding()
        }
        _ => None,
    };
    let client = match binding {
        Some(hash) => ClientScram::plus(&plain(who)?, hash),
        None if who.channel_binding == ChannelBinding::Require => {
            return Err(match offers(SCRAM_SHA_256_PLUS) {
                true => LoginError::UnbindableCertificate,
                false => LoginError::NoChannelBinding,
            });
        }
        None if offers(SCRAM_SHA_256) => ClientScram::plain(&plain(who)?),
        None => return Err(LoginError::Unsupported("SASL without SCRAM-SHA-256")),
    };
    let first = frontend::sasl_initial_response(client.mechanism(), client.first());
    stream.send(&first).await?;
    let frame = expect_authentication(stream).await?;
    let Some(AuthRequest::SaslContinue(server_first)) = AuthRequest::decode(frame.body()) else {
        return Err(LoginError::Protocol);
    };
    let (client_final, server) = client.answer(server_first)?;
    stream
        .send(&frontend::password_message(&client_final))
        .await?;
    let frame = expect_authentication(stream).await?;
    let Some(AuthRequest::SaslFinal(server_final)) = AuthRequest::decode(frame.body()) else {
        return Err(LoginError::Protocol);
    };
    server.finish(server_final)?;
    let frame = expect_authentication(stream).await?;
    match AuthRequest::decode(frame.body()) {
        Some(AuthRequest::Ok) => Ok(()),
        _ => Err(LoginError::Protocol),
    }
}

async fn expect_authentication(stream: &mut Framed<MaybeTls>) -> Result<WholeFrame, LoginError> {
    let frame = stream.read(MAX_UPSTREAM_FRAME).await?;
    match frame.tag() {
        backend::AUTHENTICATION => Ok(frame),
        backend::ERROR_RESPONSE => Err(LoginError::Refused(frame)),
        _ => Err(LoginError::Protocol),
    }
}
