//! How a session ended, in words for the log and a label for the metrics.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use super::handle::Limit;
use super::registry::ClientRejected;
use crate::fault::{ClientFacing as _, Fault};
use crate::upstream::Upstream;
use crate::wire::frame::BadLength;
use crate::wire::sqlstate::SqlState;

/// Why carrying ended.
#[derive(Debug)]
pub(crate) enum RelayExit {
    /// The client said Terminate, or closed, and the upstream closed in turn.
    ClientLeft,
    /// The client cannot be written to.
    ClientLost(io::Error),
    /// The upstream said why in a FATAL of its own, which the client has seen.
    UpstreamEnded,
    /// The upstream went without a word.
    UpstreamLost {
        commit_in_flight: bool,
        error: Option<io::Error>,
    },
    /// The client's bytes are no messages.
    BadClient(BadLength),
    /// The client's message is of a type that no server knows, and it has been told so.
    BadMessage(u8),
    /// The upstream's bytes are no messages.
    BadUpstream(BadLength),
    /// It was told to, from outside.
    Ordered,
    /// Something lasted too long.
    TimedOut(Limit),
    /// Its pool has no connection for it, and never will.
    Stranded(Fault),
    /// It asked for what its pool does not do.
    Dismissed(Fault),
}

impl RelayExit {
    /// Label of the metric and reason in the log.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::ClientLost(_) => "client_lost",
            Self::UpstreamEnded => "upstream_ended",
            Self::UpstreamLost { .. } => "upstream_lost",
            Self::BadClient(_) | Self::BadMessage(_) => "client_protocol",
            Self::BadUpstream(_) => "upstream_protocol",
            Self::Ordered => "shutdown",
            Self::TimedOut(limit) => limit.name(),
            Self::Stranded(fault) | Self::Dismissed(fault) => fault.label,
        }
    }

    /// The error behind it, for the log.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::ClientLost(error)
            | Self::UpstreamLost {
                error: Some(error), ..
            } => Some(error.to_string()),
            Self::BadClient(error) | Self::BadUpstream(error) => Some(error.to_string()),
            Self::BadMessage(tag) => Some(format!("message of unknown type 0x{tag:02x}")),
            _ => None,
        }
    }

    /// What the client is told; `None` when it has left or been told already.
    pub(super) fn client_error(&self) -> Option<Fault> {
        let (state, text) = match self {
            Self::ClientLeft | Self::ClientLost(_) | Self::UpstreamEnded | Self::BadMessage(_) => {
                return None;
            }
            Self::TimedOut(limit) => return Some(limit.fault()),
            Self::Stranded(fault) | Self::Dismissed(fault) => return Some(fault.clone()),
            Self::UpstreamLost {
                commit_in_flight: true,
                ..
            } => (
                SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
                "the upstream connection was lost while COMMIT was in flight".to_owned(),
            ),
            Self::UpstreamLost { .. } => (
                SqlState::CONNECTION_FAILURE,
                "the upstream connection was lost".to_owned(),
            ),
            Self::BadClient(error) => (SqlState::PROTOCOL_VIOLATION, error.to_string()),
            Self::BadUpstream(error) => (
                SqlState::CONNECTION_FAILURE,
                format!("the upstream sent garbage: {error}"),
            ),
            Self::Ordered => (
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection: the proxy is shutting down".to_owned(),
            ),
        };
        let fault = Fault::new(state, self.label(), text);
        Some(match self {
            Self::UpstreamLost {
                commit_in_flight: true,
                ..
            } => fault.hint(
                "The transaction may or may not have been committed: look before you repeat it.",
            ),
            Self::UpstreamLost { .. } => {
                fault.hint("Connect again; a transaction that was open has been rolled back.")
            }
            _ => fault,
        })
    }
}

/// How a session ended, for the one place that logs and counts it.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    NoRoom(ClientRejected),
    NotServed(Fault),
    LeftWhileWaiting,
    LoginFailed {
        label: &'static str,
        text: String,
        hint: Option<String>,
    },
    Carried {
        exit: RelayExit,
        over: UpstreamLeg,
    },
}

/// The upstream's side of a session, for the log.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamLeg {
    pub(crate) upstream: Arc<Upstream>,
    /// Version of TLS, or `none`.
    pub(crate) tls: &'static str,
}

impl SessionEnd {
    /// Over what the session was carried, if it came to that.
    pub(crate) const fn over(&self) -> Option<&UpstreamLeg> {
        match self {
            Self::Carried { over, .. } => Some(over),
            _ => None,
        }
    }

    /// Label of the metric and reason in the log.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::NoRoom(error) => error.fault().label,
            Self::NotServed(fault) => fault.label,
            Self::LeftWhileWaiting => "client_left",
            Self::LoginFailed { label, .. } => label,
            Self::Carried { exit, .. } => exit.label(),
        }
    }

    /// The story behind the label, if there is one.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::NoRoom(error) => Some(error.to_string()),
            Self::NotServed(fault) => Some(fault.message.clone().into_owned()),
            Self::LeftWhileWaiting => Some("client left while waiting for a connection".to_owned()),
            Self::LoginFailed { text, .. } => Some(text.clone()),
            Self::Carried { exit, .. } => exit.detail(),
        }
    }

    /// What the client was told to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoRoom(error) => error.fault().hint.map(Cow::into_owned),
            Self::NotServed(fault) => fault.hint.clone().map(Cow::into_owned),
            Self::LoginFailed { hint, .. } => hint.clone(),
            Self::LeftWhileWaiting | Self::Carried { .. } => None,
        }
    }

    /// Whether the proxy or the upstream failed the client.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::LeftWhileWaiting => false,
            Self::Carried { exit, .. } => !matches!(
                exit,
                RelayExit::ClientLeft | RelayExit::ClientLost(_) | RelayExit::Ordered
            ),
            Self::LoginFailed { label, .. } => *label != "client_left",
            Self::NoRoom(_) | Self::NotServed(_) => true,
        }
    }
}
