//! Logging a session in: the client's own login relayed, or the proxy's.
//!
//! Relayed, nothing is kept and little is touched: `SCRAM-SHA-256-PLUS` is captured
//! off the offer where the client's leg cannot bind to the server, and errors
//! that a user can do something about get a hint.

use std::future::pending;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

mod failure;

pub(super) use failure::LoginFailure;

use super::registry::{CancelSlot, CancelTarget, Entry};
use crate::config::values::{SaslPlus, ServerMethod, User};
use crate::name::Name;
use crate::net::framed::{FrameError, Framed, MAX_LOGIN_FRAME, MAX_UPSTREAM_FRAME, WholeFrame};
use crate::pool::{Probation, Silence};
use crate::startup::{Admitted, Identity};
use crate::tls::{MaybeTls, explain_late_alert};
use crate::upstream::{
    Asked, Credentials, LoginError, Reported, Upstream, blame, check, explain, log_in,
};
use crate::wire::backend::{self, AuthRequest};
use crate::wire::frame::HEADER;
use crate::wire::frontend;
use crate::wire::scram::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use crate::wire::startup::{CancelKey, StartupMessage, Version};

/// What a client may send ahead of its turn in a login.
const MAX_AHEAD: usize = 16 * 1024;

impl CapturedLogin {
    pub(super) fn new(cancel_slot: Arc<CancelSlot>) -> Self {
        Self {
            key: None,
            reported: Reported::default(),
            cancel_slot,
        }
    }
}

/// A login that is under way.
#[derive(Debug)]
struct Login<'a> {
    client: &'a mut Framed<MaybeTls>,
    upstream: &'a mut Framed<MaybeTls>,
    sasl_plus: SaslPlus,
    expects: LoginTurn,
    /// The upstream has asked for some proof.
    has_asked: bool,
    /// When the upstream must have spoken, if it is its turn.
    due: Instant,
    /// The upstream offered channel binding, and the client was not told.
    stripped: bool,
    /// The version that the client has to be told in the upstream's stead.
    clamped: Option<Version>,
    target: &'a Arc<Upstream>,
    entry: &'a mut Entry,
    probation: Option<&'a Probation>,
    /// The database that the upstream is asked for, where the client's name is another.
    sent_dbname: Option<&'a Name>,
    captured: Option<&'a mut CapturedLogin>,
    /// Whose credentials are the proxy's.
    held: Option<Arc<User>>,
}

/// What a pool needs to know of a connection that a client's login opened. The
/// client is given a key of the proxy's own.
#[derive(Debug)]
pub(super) struct CapturedLogin {
    pub(super) key: Option<CancelKey>,
    pub(super) reported: Reported,
    pub(super) cancel_slot: Arc<CancelSlot>,
}

/// Whose turn it is, as far as the client is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginTurn {
    /// The upstream has asked for nothing.
    Nothing,
    /// SASLInitialResponse.
    Mechanism,
    /// Any other password message.
    Response,
    /// The upstream is satisfied; what the client sends now is for the session.
    Authenticated,
}

/// Logs `client` in over `upstream`, and passes on what that says up to its first
/// ReadyForQuery. The key among it is entered before the client can use it.
///
/// # Errors
/// See [`LoginFailure`].
pub(super) async fn log_client_in(
    client: &mut Admitted,
    upstream: &mut Framed<MaybeTls>,
    entry: &mut Entry,
    plan: LoginPlan<'_>,
) -> Result<(), LoginFailure> {
    let mut startup = client.startup.clone();
    let clamped = startup.clamp_version().then_some(startup.version());
    if let Some(dbname) = plan.dbname {
        startup.set(b"database", dbname.as_bytes());
    }
    let mut login = Login {
        client: &mut client.stream,
        upstream,
        sasl_plus: plan.sasl_plus,
        expects: LoginTurn::Nothing,
        has_asked: false,
        due: Instant::now() + plan.upstream.config().connect_timeout,
        stripped: false,
        clamped,
        target: plan.upstream,
        entry,
        probation: plan.probation,
        sent_dbname: plan.dbname,
        captured: plan.captured,
        held: match &client.identity {
            Identity::Relayed => None,
            Identity::Held(user) => Some(Arc::clone(user)),
        },
    };
    let authenticate = async {
        match &client.identity {
            Identity::Relayed => {
                login.begin(&startup).await?;
                login.relay().await
            }
            Identity::Held(user) => {
                startup.set(b"user", user.upstream_user.as_bytes());
                login.begin(&startup).await?;
                login.log_in_for(user).await
            }
        }
    };
    let outcome = timeout_at(client.login_deadline, authenticate).await;
    if let Some(probation) = plan.probation {
        probation.awaits_client(false);
    }
    match outcome {
        Ok(outcome) => outcome?,
        Err(_) if login.expects == LoginTurn::Nothing => return Err(LoginFailure::UpstreamSilent),
        Err(_) => return Err(LoginFailure::TimedOut),
    }
    // Authenticated: how long the server takes from here on is its own affair.
    login.relay().await
}

/// What a login needs to know.
#[derive(Debug)]
pub(super) struct LoginPlan<'a> {
    pub(super) upstream: &'a Arc<Upstream>,
    /// The database to ask for, where it is not what the client asked for.
    pub(super) dbname: Option<&'a Name>,
    pub(super) sasl_plus: SaslPlus,
    /// Until the upstream is satisfied; `None` if the proxy is already.
    pub(super) probation: Option<&'a Probation>,
    /// Filled in, if the connection is for a pool.
    pub(super) captured: Option<&'a mut CapturedLogin>,
}

impl Login<'_> {
    async fn begin(&mut self, startup: &StartupMessage) -> Result<(), LoginFailure> {
        self.upstream
            .send(&startup.encode())
            .await
            .map_err(|error| upstream_failure(error.into()))
    }

    /// With credentials that the proxy holds; the client is told the outcome.
    async fn log_in_for(&mut self, user: &User) -> Result<(), LoginFailure> {
        let who = Credentials {
            user: &user.upstream_user,
            password: user.upstream_password.as_ref(),
            channel_binding: self.target.config().channel_binding,
            require_auth: self.target.config().require_auth,
        };
        let limit = self.target.config().connect_timeout;
        let logged_in = timeout(limit, log_in(self.upstream, &who))
            .await
            .map_err(|_| LoginFailure::UpstreamSilent)?;
        self.target.note_login(&logged_in);
        match logged_in {
            Ok(()) => {}
            Err(LoginError::Refused(frame)) => return self.pass_refusal(&frame).await,
            Err(LoginError::Lost(error)) => return Err(upstream_failure(error)),
            Err(error) => return Err(error.into()),
        }
        self.expects = LoginTurn::Authenticated;
        self.tell_client(&backend::AUTHENTICATION_OK).await
    }

    /// Relays until AuthenticationOk, and once that has been seen until
    /// ReadyForQuery.
    async fn relay(&mut self) -> Result<(), LoginFailure> {
        let until_ready = self.expects == LoginTurn::Authenticated;
        loop {
            let asked = matches!(self.expects, LoginTurn::Mechanism | LoginTurn::Response);
            let room = self.client.ahead() < MAX_AHEAD;
            if let Some(probation) = self.probation {
                probation.awaits_client(asked);
            }
            tokio::select! {
                frame = self.upstream.read(MAX_UPSTREAM_FRAME) => {
                    let frame = frame.map_err(upstream_failure)?;
                    if self.on_upstream(frame, until_ready).await? {
                        return Ok(());
                    }
                }
                () = sleep_until(self.due), if self.expects == LoginTurn::Nothing => {
                    return Err(LoginFailure::UpstreamSilent);
                }
                silence = outstayed(self.probation), if asked => {
                    return Err(match silence {
                        Silence::GaveWay(after) => LoginFailure::GaveWay(after),
                        Silence::TooLong(_) => LoginFailure::TimedOut,
                    });
                }
                spoken = listen(self.client, asked), if asked || room => {
                    if let Some(frame) = spoken.map_err(client_failure)? {
                        self.on_client(frame).await?;
                    }
                }
            }
        }
    }

    /// Passes on this frame and those that came with it, in one write; says
    /// whether the end of this stage has been reached.
    async fn on_upstream(
        &mut self,
        first: WholeFrame,
        until_ready: bool,
    ) -> Result<bool, LoginFailure> {
        let mut out = BytesMut::new();
        let mut next = Some(first);
        let mut reached = false;
        while let Some(frame) = next {
            if let Some(version) = self.clamped.take()
                && frame.tag() != backend::NEGOTIATE_PROTOCOL_VERSION
            {
                out.extend_from_slice(&backend::negotiate_protocol_version(version, &[]));
            }
            match frame.tag() {
                backend::ERROR_RESPONSE => {
                    self.tell_client(&out).await?;
                    self.pass_refusal(&frame).await?;
                }
                backend::AUTHENTICATION if !until_ready => {
                    out.extend_from_slice(&self.challenge(&frame)?);
                    reached = self.expects == LoginTurn::Authenticated;
                }
                backend::BACKEND_KEY_DATA => out.extend_from_slice(&self.enter_key(&frame)),
                backend::PARAMETER_STATUS => {
                    if let Some(captured) = &mut self.captured {
                        captured.reported.note(frame.body())?;
                    }
                    out.extend_from_slice(&frame.bytes);
                }
                tag => {
                    out.extend_from_slice(&frame.bytes);
                    reached = until_ready && tag == backend::READY_FOR_QUERY;
                }
            }
            next = match reached {
                true => None,
                false => self
                    .upstream
                    .buffered(MAX_UPSTREAM_FRAME)
                    .map_err(upstream_failure)?,
            };
        }
        self.tell_client(&out).await?;
        Ok(reached)
    }

    /// Makes the session cancellable, with the key that the client is given.
    fn enter_key(&mut self, frame: &WholeFrame) -> Bytes {
        let Some(key) = CancelKey::from_key_data(frame.body()) else {
            return frame.bytes.clone();
        };
        let Some(captured) = &mut self.captured else {
            self.entry
                .set_cancel_key(key, CancelTarget::Direct(Arc::clone(self.target)));
            return frame.bytes.clone();
        };
        let target = CancelTarget::Pooled(Arc::clone(&captured.cancel_slot));
        let disguised = || key.disguised(rand::random);
        let own = self.entry.issue_cancel_key(target, disguised);
        captured.key = Some(key);
        let mut message = Vec::new();
        backend::put_key_data(&mut message, &own);
        message.into()
    }

    /// An authentication request as the client is to see it.
    fn challenge(&mut self, frame: &WholeFrame) -> Result<Bytes, LoginFailure> {
        let request = AuthRequest::decode(frame.body()).ok_or(LoginFailure::UpstreamProtocol)?;
        match request {
            AuthRequest::Ok if !self.has_asked => self.may_ask(ServerMethod::None)?,
            AuthRequest::CleartextPassword => self.may_ask(ServerMethod::Password)?,
            AuthRequest::Md5Password(_) => self.may_ask(ServerMethod::Md5)?,
            // What it comes to shows when the client has chosen a mechanism.
            _ => {}
        }
        self.has_asked = true;
        self.expects = match request {
            AuthRequest::Ok => LoginTurn::Authenticated,
            AuthRequest::Sasl(list) => {
                self.expects = LoginTurn::Mechanism;
                return Ok(self.offer(list, frame));
            }
            AuthRequest::SaslFinal(_) => LoginTurn::Nothing,
            AuthRequest::Gss => return Err(LoginFailure::Gss),
            AuthRequest::CleartextPassword
            | AuthRequest::Md5Password(_)
            | AuthRequest::SaslContinue(_)
            | AuthRequest::Other(_) => LoginTurn::Response,
        };
        Ok(frame.bytes.clone())
    }

    fn may_ask(&self, method: ServerMethod) -> Result<(), LoginFailure> {
        Ok(check(self.target.config().require_auth, method)?)
    }

    /// The mechanisms without the one that binds to a channel the client is not
    /// at the other end of; libpq refuses to go on when it is offered in plaintext.
    fn offer(&mut self, list: &[u8], frame: &WholeFrame) -> Bytes {
        let mut names = backend::mechanisms(list);
        let offered = names.len();
        if self.sasl_plus == SaslPlus::Strip {
            names.retain(|name| *name != SCRAM_SHA_256_PLUS.as_bytes());
        }
        self.stripped = names.len() < offered;
        if self.stripped {
            backend::authentication_sasl(&names)
        } else {
            frame.bytes.clone()
        }
    }

    async fn on_client(&mut self, frame: WholeFrame) -> Result<(), LoginFailure> {
        if frame.tag() == frontend::TERMINATE {
            return Err(LoginFailure::ClientLeft);
        }
        if frame.tag() != frontend::PASSWORD {
            return Err(LoginFailure::Client("expected a password message"));
        }
        if self.expects == LoginTurn::Mechanism {
            let (mechanism, data) = frontend::parse_sasl_initial_response(frame.body())
                .ok_or(LoginFailure::Client("malformed SASLInitialResponse"))?;
            let scram = [SCRAM_SHA_256, SCRAM_SHA_256_PLUS].map(str::as_bytes);
            self.may_ask(match scram.contains(&mechanism) {
                true => ServerMethod::ScramSha256,
                // Others hand over what they prove, as a password or a token in clear.
                false => ServerMethod::Password,
            })?;
            // The server checks this byte against its own offer, and the client's
            // proof covers it: it can be neither changed nor carried through.
            let thinks_unsupported = self.stripped && data.first() == Some(&b'y');
            if mechanism == SCRAM_SHA_256_PLUS.as_bytes() || thinks_unsupported {
                return Err(LoginFailure::ChannelBinding(
                    if self.client.stream().is_tls() {
                        "the client's TLS session ends at the proxy"
                    } else {
                        "the client says that it could bind, and has no TLS to bind to"
                    },
                ));
            }
        }
        self.expects = LoginTurn::Nothing;
        self.due = Instant::now() + self.target.config().connect_timeout;
        self.upstream
            .send(&frame.bytes)
            .await
            .map_err(|error| upstream_failure(error.into()))
    }

    /// The upstream's refusal in its own words, with a hint where one helps; in the
    /// proxy's where it is the proxy that is refused.
    async fn pass_refusal<T>(&mut self, frame: &WholeFrame) -> Result<T, LoginFailure> {
        let body = frame.body();
        if let Some(user) = &self.held
            && let Some(fault) = blame(body, &user.upstream_user, &user.upstream_password_key)
        {
            return Err(LoginFailure::HeldRefused(fault));
        }
        let handle = self.entry.handle();
        let asked = Asked {
            user: &handle.user,
            database: &handle.database,
            sent: self.sent_dbname.unwrap_or(&handle.database),
            dbname: self.target.config().dbname.as_deref(),
        };
        let bytes = match explain(body, asked) {
            Some(hint) => backend::with_hint(body, &hint),
            None => frame.bytes.clone(),
        };
        self.tell_client(&bytes).await?;
        let told = bytes.get(HEADER..).unwrap_or_default();
        Err(LoginFailure::Refused {
            text: backend::error_field(body, b'M').unwrap_or_default(),
            hint: backend::error_field(told, b'H'),
        })
    }

    async fn tell_client(&mut self, bytes: &[u8]) -> Result<(), LoginFailure> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.client
            .send(bytes)
            .await
            .map_err(LoginFailure::ClientLost)
    }
}

/// Completes when a client that is not vouched for has been silent for too long.
async fn outstayed(probation: Option<&Probation>) -> Silence {
    match probation {
        Some(probation) => probation.outstayed().await,
        None => pending().await,
    }
}

/// The client's answer where it was asked; else only notices when it leaves.
async fn listen(
    client: &mut Framed<MaybeTls>,
    asked: bool,
) -> Result<Option<WholeFrame>, FrameError> {
    if asked {
        client.read(MAX_LOGIN_FRAME).await.map(Some)
    } else {
        client.fill().await.map(|()| None)
    }
}

fn upstream_failure(error: FrameError) -> LoginFailure {
    match &error {
        FrameError::Io(source) => match explain_late_alert(source) {
            Some(fault) => LoginFailure::UpstreamTls(fault),
            None => LoginFailure::Upstream(error),
        },
        _ => LoginFailure::Upstream(error),
    }
}

fn client_failure(error: FrameError) -> LoginFailure {
    match error {
        FrameError::Closed | FrameError::Torn => LoginFailure::ClientLeft,
        FrameError::Io(error) => LoginFailure::ClientLost(error),
        FrameError::TooLong { .. } | FrameError::TooMuch => {
            LoginFailure::Client("a message is too long for a login")
        }
        FrameError::BadLength(_) => LoginFailure::Client("invalid message length"),
    }
}
