//! A client that is being logged in, and why that can fail.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::closing::SessionClose;
use super::login::LoginFailure;
use super::registry::Entry;
use super::service::{Route, Service};
use super::session_end::SessionEnd;
use crate::fault::Fault;
use crate::net::framed::Framed;
use crate::pool::Closing;
use crate::startup::Admitted;
use crate::tls::MaybeTls;
use crate::wire::backend::error_field;
use crate::wire::frame::HEADER;

/// A waiting client may send this much before it is served.
const MAX_AHEAD: usize = 16 * 1024;

/// A stream, and what was read ahead of its place.
pub(super) type Ahead = (MaybeTls, BytesMut);

/// A client that is being logged in, and what its login works with.
pub(super) struct NewSession<'a> {
    pub(super) client: &'a mut Admitted,
    pub(super) entry: &'a mut Entry,
    pub(super) service: &'a Service,
    pub(super) route: Arc<Route>,
}

/// Why no session came about.
pub(super) enum OpenFailure {
    Left,
    Fault(Fault),
    /// In the upstream's own words.
    Refused {
        response: Bytes,
        text: String,
    },
    Login {
        failure: LoginFailure,
        upstream: MaybeTls,
        closing: Closing,
    },
}

impl OpenFailure {
    /// How that ends for the client on `stream`.
    pub(super) fn end(self, stream: MaybeTls) -> (SessionEnd, SessionClose) {
        match self {
            Self::Left => (SessionEnd::LeftWhileWaiting, SessionClose::of(stream, None)),
            Self::Fault(fault) => {
                let close = SessionClose::of(stream, Some(fault.clone()));
                (SessionEnd::NotServed(fault), close)
            }
            Self::Refused { response, text } => {
                let mut close = SessionClose::of(stream, None);
                let end = SessionEnd::LoginFailed {
                    label: "upstream_refused",
                    text,
                    hint: error_field(response.get(HEADER..).unwrap_or_default(), b'H'),
                };
                close.response = Some(response);
                (end, close)
            }
            Self::Login {
                failure,
                upstream,
                closing,
            } => {
                let mut close = SessionClose::of(stream, failure.client_error());
                close.upstream = Some((closing, upstream));
                let end = SessionEnd::LoginFailed {
                    label: failure.label(),
                    text: failure.to_string(),
                    hint: failure.hint(),
                };
                (end, close)
            }
        }
    }
}

/// Waits for `future` as long as the client is there. What the client sends
/// meanwhile is kept for later; one that sends too much is no longer watched.
pub(super) async fn while_client_stays<T>(
    client: &mut Framed<MaybeTls>,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Result<T, OpenFailure> {
    loop {
        tokio::select! {
            biased;
            output = &mut future => return Ok(output),
            filled = client.fill(), if client.ahead() < MAX_AHEAD => {
                filled.map_err(|_| OpenFailure::Left)?;
            }
        }
    }
}
