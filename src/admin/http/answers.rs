//! What is answered at which path.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Mutex;

use super::hosts::{Hosts, Misaddressed};
use crate::admin::Health;
use crate::metrics::Recorded;

type Answer = Response<Full<Bytes>>;

/// What there is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Metrics,
    Startup,
    Liveness,
    Readiness,
}

const PAGES: &[(&str, Page)] = &[
    ("/metrics", Page::Metrics),
    ("/startup", Page::Startup),
    ("/liveness", Page::Liveness),
    ("/readiness", Page::Readiness),
];

const NOT_FOUND: &str =
    "nothing is here\nthere is /metrics, and for probes /startup, /liveness and /readiness\n";
const NOT_ALLOWED: &str = "this can only be read: use GET\n";
const STRANGER: &str = "the Host of the request is not a name of this proxy\nask localhost or 127.0.0.1, or add the name to admin.http_hosts\n";
const UNCLEAR: &str = "one Host header is needed, with a name or an address\n";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

#[derive(Debug)]
pub(super) struct Answers {
    hosts: Hosts,
    health: Health,
    recorded: Recorded,
    /// One at a time: many who ask at once take no more than a core.
    rendering: Mutex<()>,
}

impl Answers {
    pub(super) fn new(hosts: Hosts, health: Health, recorded: Recorded) -> Self {
        Self {
            hosts,
            health,
            recorded,
            rendering: Mutex::default(),
        }
    }

    pub(super) async fn to(&self, request: &Request<Incoming>) -> Answer {
        match self.hosts.check(request) {
            Err(Misaddressed::Unclear) => return plain(StatusCode::BAD_REQUEST, UNCLEAR),
            Err(Misaddressed::Stranger) => return plain(StatusCode::FORBIDDEN, STRANGER),
            Ok(()) => {}
        }
        let path = request.uri().path();
        let Some((_, page)) = PAGES.iter().find(|(at, _)| *at == path) else {
            return plain(StatusCode::NOT_FOUND, NOT_FOUND);
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allowed);
            return answer;
        }
        match page {
            Page::Metrics => self.metrics().await,
            // Nobody can ask before the proxy listens.
            Page::Startup => plain(StatusCode::OK, "started\n"),
            Page::Liveness if self.health.is_alive().await => plain(StatusCode::OK, "alive\n"),
            Page::Liveness => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "a worker thread does not answer\n",
            ),
            Page::Readiness if self.health.is_ready() => plain(StatusCode::OK, "ready\n"),
            Page::Readiness => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        }
    }

    async fn metrics(&self) -> Answer {
        let _turn = self.rendering.lock().await;
        let recorded = self.recorded.clone();
        // Not on this thread, which looks after the pools.
        match tokio::task::spawn_blocking(move || recorded.render()).await {
            Ok(text) => answer(StatusCode::OK, PROMETHEUS, text.into()),
            Err(_) => plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "metrics cannot be shown; the log says why\n",
            ),
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    answer(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn answer(status: StatusCode, kind: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let no_guessing = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_guessing);
    answer
}
