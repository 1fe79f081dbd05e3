//! One logged-in server connection, what is known of it, and the guard that keeps
//! a cancel request from hitting the next client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::thread::ThreadId;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::allocator::PooledConnection;
use super::closing::{Closing, UpstreamState};
use super::idle_hold::IdleHold;
use super::ids::{ConnectionId, PoolNumber};
use super::plan::{CheckoutRequest, Placeholders};
use crate::net::Peeked;
use crate::pool::timing::READ_TIMEOUT;
use crate::state::parameters::Parameters;
use crate::state::prepared::ServerStatements;
use crate::state::settings::Settings;
use crate::tls::MaybeTls;
use crate::upstream::Opened;
use crate::wire::backend;
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend::split_cstr;
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::CancelKey;

/// Longest message, in bytes, that a server may send between transactions.
const MAX_NEWS: usize = 64 << 10;

/// What a client may have left on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LeftBehind {
    #[default]
    Nothing,
    /// Undone by the scrub that keeps prepared statements.
    Light,
    /// Undone by DISCARD ALL.
    Full,
}

/// One logged-in server connection. Lives in a [`Lease`](super::Lease) or on the
/// shelf of its pool.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: MaybeTls,
    pub(crate) key: Arc<ServerKey>,
    pub(crate) reported: Parameters,
    /// As it was reported at the login.
    pub(crate) base: Parameters,
    /// What its owner had changed when it was given back; `None` while somebody uses it,
    /// and after that where it was not noted: then it has to be cleaned.
    pub(crate) settings: Option<Settings>,
    pub(crate) statements: ServerStatements,
    /// The client whose state may still be on it. Cleared by sessions.
    pub(crate) owner: Option<u64>,
    /// The client that was told of it at its login, and is to find it there.
    promised: Option<u64>,
    /// Who was told of it, whoever may have used it since.
    told: Weak<IdleHold>,
    /// What every client that begins on it, or as it has begun, is told at its login.
    pub(super) notices: Bytes,
    /// What has to be undone before another client uses it. Set by sessions.
    pub(crate) left: LeftBehind,
    /// Whether there was nothing more to read when it was used last. Set by sessions.
    pub(crate) dry: bool,
    /// Custom settings that were ever set on it: they cannot be removed.
    pub(crate) placeholders: Placeholders,
    pub(super) id: ConnectionId,
    pub(super) pool: PoolNumber,
    /// Who used it last, where that client is to hear of its end.
    pub(super) last_client: Weak<IdleHold>,
    /// The FATAL that the server has ended it with.
    last_words: Option<Bytes>,
    opened_at: Instant,
    thread: ThreadId,
    closing: Closing,
}

/// Why a connection cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// The server has closed it, or said that it will.
    Ended,
    /// The server has said what it should not, or half of something.
    Odd,
}

impl Connection {
    /// Fails where the server has said what it should not.
    pub(super) fn new(
        (id, pool): (ConnectionId, PoolNumber),
        opened: Opened,
        mut closing: Closing,
        max_prepared_statements: usize,
    ) -> Result<Box<Self>, Box<(Closing, MaybeTls)>> {
        closing.key.clone_from(&opened.key);
        closing.logged_in();
        let mut reported = Parameters::default();
        let noted = (opened.reported.iter())
            .try_for_each(|(name, value)| reported.set(name, value).map(|_| ()));
        let mut heard = opened.ahead;
        let heard_all = take_news(&mut heard, &mut reported).is_ok() && heard.is_empty();
        if noted.is_err() || !heard_all {
            return Err(Box::new((closing, opened.stream)));
        }
        Ok(Box::new(Self {
            stream: opened.stream,
            key: Arc::new(ServerKey::new(opened.key)),
            base: reported.clone(),
            reported,
            settings: Some(Settings::default()),
            statements: ServerStatements::new(max_prepared_statements),
            owner: None,
            promised: None,
            told: Weak::new(),
            notices: opened.notices,
            left: LeftBehind::Nothing,
            dry: false,
            placeholders: Placeholders::new(),
            id,
            pool,
            last_client: Weak::new(),
            last_words: None,
            opened_at: Instant::now(),
            thread: std::thread::current().id(),
            closing,
        }))
    }

    /// Shares what it reported at its login with the one before it in its pool, `known`,
    /// where that said the same: then nothing has to be compared at a change of hands.
    pub(super) fn share(&mut self, known: &mut Parameters) {
        self.base.unify(known);
        self.reported.unify(known);
        known.clone_from(&self.base);
    }

    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Since its login.
    pub(super) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// Its state is `client`'s from here on; `false`: it was that already. Statements
    /// that others prepared are foreign to it.
    pub(crate) fn give_to(&mut self, client: u64) -> bool {
        let other = self.owner.replace(client) != Some(client);
        if other {
            self.promised = None;
            self.statements.handed_over();
        }
        other
    }

    /// Keeps it for `client` rather than for others, if it is nobody's.
    pub(super) fn promise(&mut self, client: u64, holder: &Arc<IdleHold>) {
        let told = self.is_told();
        if self.owner.is_none() && !(told && self.promised.is_some()) {
            self.promised = Some(client);
        }
        if !told {
            self.told = Arc::downgrade(holder);
        }
    }

    /// Whether a client that is here takes it for its own.
    fn is_told(&self) -> bool {
        self.told.strong_count() > 0
    }

    /// Takes it over to the calling thread, and hears what the server has said
    /// since it was used last.
    pub(super) async fn freshen(&mut self) -> Result<(), Stale> {
        if poll_fn(|cx| Poll::Ready(self.is_quiet(cx))).await {
            return Ok(());
        }
        // Boxed: a hand-over on one thread is not to carry what it does not need.
        Box::pin(self.take_over()).await
    }

    async fn take_over(&mut self) -> Result<(), Stale> {
        let here = std::thread::current().id();
        let moved = self.thread != here;
        // Without a descriptor to spare it is served from where it was: slower.
        if moved && self.stream.rehome().is_ok() {
            self.thread = here;
        }
        let heard = timeout(READ_TIMEOUT, self.hear(moved)).await;
        self.dry = true;
        heard.map_err(|_| Stale::Odd)?
    }

    /// Whether it belongs to the calling thread, and the server has said nothing since
    /// it was used last. Whatever came before what this thread is doing now, its event
    /// loop has seen.
    pub(super) fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        self.thread == std::thread::current().id() && self.stream.socket().is_quiet(cx)
    }

    /// What the kernel knows of the server: nothing new, news, or that it has closed.
    pub(super) fn glance(&self) -> Peeked {
        self.stream.socket().glance()
    }

    /// `doubtful`: the event loop may not know yet what the kernel knows.
    async fn hear(&mut self, mut doubtful: bool) -> Result<(), Stale> {
        let mut heard = BytesMut::new();
        loop {
            let mut buffer = [0; 512];
            let poll = |cx: &mut Context<'_>| self.poll_hear(cx, &mut buffer, doubtful);
            let read = poll_fn(poll).await?;
            // Bytes of TLS's own bring none, and half a record comes in two pieces.
            doubtful = true;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                // Half a message is none: the rest would reach the next client.
                return if heard.is_empty() {
                    Ok(())
                } else {
                    Err(Stale::Odd)
                };
            }
            heard.extend_from_slice(bytes);
            if let Err(stale) = take_news(&mut heard, &mut self.reported) {
                self.last_words = last_words(&heard);
                let ended = self.last_words.is_some();
                return Err(if ended { Stale::Ended } else { stale });
            }
        }
    }

    /// Bytes that are there; none when there is nothing.
    fn poll_hear(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        doubtful: bool,
    ) -> Poll<Result<usize, Stale>> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(match buffer.filled().len() {
                0 => Err(Stale::Ended),
                read => Ok(read),
            }),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Stale::Ended)),
            // Whatever came before what this thread is doing now, its event loop has
            // seen: it would be ready.
            Poll::Pending if !doubtful => Poll::Ready(Ok(0)),
            // The event loop may not have looked yet, and what there is may be TLS's
            // own, which brings no bytes.
            Poll::Pending => match self.stream.socket().glance() {
                Peeked::Quiet => Poll::Ready(Ok(0)),
                Peeked::Ended => Poll::Ready(Err(Stale::Ended)),
                Peeked::Bytes => Poll::Pending,
            },
        }
    }

    /// The server has ended it while it was nobody's: whoever had it last may want to
    /// know. Where the proxy can open another, its end is nobody's loss; but a client that
    /// ends another by the process id which that was told has to see it go. `meant`: one
    /// may just have done so.
    pub(super) fn tell_of_loss(&mut self, meant: bool) {
        if let Some(holder) = self.last_client.upgrade() {
            holder.lose(self.id, self.last_words.take());
        } else if let Some(holder) = self.told.upgrade()
            && meant
            && self.last_words.as_deref().is_some_and(is_termination)
        {
            holder.dismiss(self.last_words.take());
        }
    }

    /// Its two halves, to be closed.
    pub(super) fn into_closing(self, state: UpstreamState) -> (Closing, MaybeTls) {
        let mut closing = self.closing;
        closing.state = state;
        (closing, self.stream)
    }
}

/// Takes in what a server may say between transactions.
fn take_news(heard: &mut BytesMut, reported: &mut Parameters) -> Result<(), Stale> {
    while let Some((tag, len)) = frame::header(heard).map_err(|_| Stale::Odd)? {
        if len > MAX_NEWS {
            return Err(Stale::Odd);
        }
        let Some(body) = heard.get(HEADER..HEADER + len) else {
            return Ok(());
        };
        match tag {
            backend::NOTICE_RESPONSE => {}
            backend::PARAMETER_STATUS => {
                let (name, rest) = split_cstr(body).ok_or(Stale::Odd)?;
                let (value, _) = split_cstr(rest).ok_or(Stale::Odd)?;
                reported.set(name, value).map_err(|_| Stale::Odd)?;
            }
            _ => return Err(Stale::Odd),
        }
        heard.advance(HEADER + len);
    }
    Ok(())
}

/// The FATAL at the front, whole.
fn last_words(heard: &[u8]) -> Option<Bytes> {
    let (tag, len) = frame::header(heard).ok()??;
    let message = heard.get(..HEADER + len)?;
    let fatal = tag == backend::ERROR_RESPONSE && backend::is_fatal(message.get(HEADER..)?);
    fatal.then(|| Bytes::copy_from_slice(message))
}

/// Whether an administrator has ended the backend.
fn is_termination(message: &[u8]) -> bool {
    let code = backend::error_field(message.get(HEADER..).unwrap_or_default(), b'C');
    code.as_deref() == Some(SqlState::ADMIN_SHUTDOWN.code())
}

impl PooledConnection for Box<Connection> {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn owner(&self) -> Option<u64> {
        self.owner.or(self.promised)
    }

    fn thread(&self) -> ThreadId {
        self.thread
    }

    fn opened_at(&self) -> Instant {
        self.opened_at
    }

    fn suits(&self, want: &CheckoutRequest) -> bool {
        (self.owner == Some(want.client) || want.tolerates(&self.placeholders))
            && !(want.is_newcomer() && self.is_told())
    }
}

/// The key that cancels what a connection does, for as long as it does it for the
/// client that wants it cancelled.
///
/// A cancel that is on its way while its client gives the connection back would hit
/// the next one's statement: the connection waits until the server has dealt with it.
/// And one that comes while the proxy's own statements run would hit those: it waits
/// until the client's are next.
#[derive(Debug)]
pub(crate) struct ServerKey {
    key: Option<CancelKey>,
    state: Mutex<KeyState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct KeyState {
    client: Option<u64>,
    /// What runs there is the proxy's own.
    own: bool,
    in_flight: u32,
}

impl ServerKey {
    pub(crate) fn new(key: Option<CancelKey>) -> Self {
        Self {
            key,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) const fn key(&self) -> Option<&CancelKey> {
        self.key.as_ref()
    }

    /// Of the server's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.key.as_ref().map(CancelKey::pid)
    }

    /// Begins to cancel what `client` does; `None` if it no longer has the connection.
    pub(crate) async fn begin_cancel(self: &Arc<Self>, client: u64) -> Option<CancelGuard> {
        loop {
            let changed = self.changed.notified();
            if !self.does_own(client) {
                return self.begin_cancel_at_once(client);
            }
            tracing::debug!(
                session = client,
                "a cancel waits until the proxy's own statement is done"
            );
            changed.await;
        }
    }

    fn does_own(&self, client: u64) -> bool {
        let state = self.state.lock();
        state.own && state.client == Some(client)
    }

    /// The same, whatever runs there.
    pub(crate) fn begin_cancel_at_once(self: &Arc<Self>, client: u64) -> Option<CancelGuard> {
        let key = self.key.clone()?;
        let mut state = self.state.lock();
        if state.client != Some(client) {
            return None;
        }
        state.in_flight += 1;
        Some(CancelGuard {
            key,
            of: Arc::clone(self),
        })
    }

    /// What runs on the connection from here on is the proxy's own, or the client's.
    pub(crate) fn set_own(&self, own: bool) {
        self.state.lock().own = own;
        self.changed.notify_waiters();
    }

    /// Until something is known to be the client's, nothing is.
    pub(super) fn lend_to(&self, client: u64) {
        let mut state = self.state.lock();
        state.client = Some(client);
        state.own = true;
    }

    /// Nobody can begin to cancel from here on; says whether all who did are done.
    pub(super) fn take_back(&self) -> bool {
        let mut state = self.state.lock();
        state.client = None;
        self.changed.notify_waiters();
        state.in_flight == 0
    }

    /// Completes when no cancel is on its way.
    pub(super) async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state.lock().in_flight == 0 {
                return;
            }
            changed.await;
        }
    }
}

/// A cancel request on its way; dropped when the server has closed its connection.
#[derive(Debug)]
#[must_use = "the connection may go to somebody else once this is dropped"]
pub(crate) struct CancelGuard {
    key: CancelKey,
    of: Arc<ServerKey>,
}

impl CancelGuard {
    pub(crate) const fn key(&self) -> &CancelKey {
        &self.key
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.of.state.lock().in_flight -= 1;
        self.of.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_an_idle_connection_is_bounded() {
        let mut reported = Parameters::default();
        let mut endless = BytesMut::from(&b"N\x3f\xff\xff\xffSNOTICE"[..]);
        let heard = take_news(&mut endless, &mut reported);
        assert_eq!(heard, Err(Stale::Odd), "a gigabyte is not waited for");
        let mut many = BytesMut::new();
        for n in 0..100_000_u32 {
            let name = format!("{n:08x}");
            many.extend_from_slice(b"S\0\0\0\x0e");
            many.extend_from_slice(name.as_bytes());
            many.extend_from_slice(b"\0\0");
        }
        assert_eq!(take_news(&mut many, &mut reported), Err(Stale::Odd));
        assert!(reported.iter().count() <= backend::MAX_REPORTED.0);
    }
}
