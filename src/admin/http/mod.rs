//! The HTTP face: accepting, and the bounds on what a connection may take up. A
//! connection is for one request. What is answered: `answers`; to whom: `hosts`.

mod answers;
mod hosts;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::{Instant, interval, sleep, timeout};

use super::Health;
use crate::config::values::{Admin, Keepalive};
use crate::metrics::Recorded;
use crate::net::{
    AcceptBackoff, AcceptLimit, BindError, Listener, PendingConnection, RateLimited, Socket,
};

use answers::Answers;
use hosts::Hosts;

/// Connections at a time. When they are taken, the longest silent gives way to a
/// newcomer, as among clients.
const PLACES: usize = 64;
/// Connections that wait in the kernel.
const BACKLOG: u32 = 128;
/// How long a request may take to arrive.
const HEAD: Duration = Duration::from_secs(5);
/// How long an answer may take, its reader's slowness included.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes of a request, and lines of its head.
const MAX_REQUEST: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// How often what was recorded is tidied.
const TIDY: Duration = Duration::from_secs(5);

/// Why there is no HTTP face.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("admin.http: {0}")]
    Bind(#[from] BindError),
    #[error("admin.http: none of its addresses exists on this machine")]
    NoAddress,
}

/// The bound sockets; nobody is answered yet.
#[derive(Debug)]
pub(crate) struct Http {
    listeners: Vec<Listener>,
    hosts: Hosts,
    recorded: Recorded,
}

/// What all connections share.
#[derive(Debug)]
struct HttpServer {
    answers: Answers,
    accept_limit: Arc<AcceptLimit>,
}

impl Http {
    /// Binds what `admin.http` names, if it names anything.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub(crate) fn bind(
        config: &Admin,
        keepalive: &Keepalive,
        recorded: Recorded,
    ) -> Result<Self, HttpError> {
        let mut listeners = Vec::new();
        for address in &config.http {
            match Listener::bind_tcp(*address, BACKLOG, keepalive) {
                Ok(listener) => listeners.push(listener),
                // "localhost" is both families; many containers have only one.
                Err(error) if error.is_no_such_address() && config.http.len() > 1 => {
                    tracing::warn!(%error, "address left out");
                }
                Err(error) => return Err(error.into()),
            }
        }
        if listeners.is_empty() {
            return Err(HttpError::NoAddress);
        }
        Ok(Self {
            listeners,
            hosts: Hosts::new(&config.http_hosts),
            recorded,
        })
    }

    /// Answers, in tasks of the calling runtime, for as long as that is there.
    pub(crate) fn serve(self, health: Health) {
        let recorded = self.recorded;
        let desk = Arc::new(HttpServer {
            answers: Answers::new(self.hosts, health, recorded.clone()),
            accept_limit: Arc::new(AcceptLimit::new(PLACES)),
        });
        for listener in self.listeners {
            tracing::info!(address = listener.address(), "http listening");
            tokio::spawn(accept(listener, Arc::clone(&desk)));
        }
        tokio::spawn(async move {
            let mut rounds = interval(TIDY);
            loop {
                rounds.tick().await;
                recorded.tidy();
            }
        });
    }
}

async fn accept(listener: Listener, desk: Arc<HttpServer>) {
    let mut setback = AcceptBackoff::default();
    let mut full = RateLimited::default();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                setback.is_over();
                if let Some(pending) = desk.accept_limit.enter().await {
                    tokio::spawn(handle_connection(socket, pending, Arc::clone(&desk)));
                } else if let Some(times) = full.due(Instant::now()) {
                    let address = listener.address();
                    tracing::warn!(address, client = %peer, places = PLACES, times, "http connection closed: requests under way take all places");
                }
            }
            Err(error) => sleep(setback.after(&listener, &error)).await,
        }
    }
}

/// One connection from its first byte to its last. How it ends is nobody's concern:
/// whoever asks sees that there is no answer.
async fn handle_connection(socket: Socket, pending: PendingConnection, desk: Arc<HttpServer>) {
    let asked = Notify::new();
    let service = service_fn(|request: Request<Incoming>| {
        asked.notify_one();
        let desk = &desk;
        async move { Ok::<_, Infallible>(desk.answers.to(&request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_REQUEST)
            .keep_alive(false)
            .serve_connection(TokioIo::new(socket), service)
    );
    tokio::select! {
        biased;
        _ = &mut connection => return,
        () = asked.notified() => {}
        () = pending.dismissed() => return,
    }
    // Who has asked keeps the place.
    if let Some(_place) = pending.stay() {
        let _ = timeout(ANSWER, connection).await;
    }
}
