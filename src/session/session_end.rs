//! How a session ended, in words for the log and a label for the metrics.

use std::borrow::Cow;
use std::sync::Arc;

use super::registry::ClientRejected;
use crate::fault::{ClientFacing as _, Fault};
use crate::upstream::Upstream;

/// How a session ended, for the one place that logs and counts it.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    NoRoom(ClientRejected),
    NotServed(Fault),
    LeftWhileWaiting,
    LoginFailed {
        label: &'static str,
        text: String,
        cure: Option<String>,
    },
    Carried {
        reason: &'static str,
        detail: Option<String>,
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
            Self::Carried { reason, .. } => reason,
        }
    }

    /// The story behind the label, if there is one.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::NoRoom(error) => Some(error.to_string()),
            Self::NotServed(fault) => Some(fault.message.clone().into_owned()),
            Self::LeftWhileWaiting => Some("client left while waiting for a connection".to_owned()),
            Self::LoginFailed { text, .. } => Some(text.clone()),
            Self::Carried { detail, .. } => detail.clone(),
        }
    }

    /// What the client was told to do about it.
    pub(crate) fn cure(&self) -> Option<String> {
        match self {
            Self::NoRoom(error) => error.fault().hint.map(Cow::into_owned),
            Self::NotServed(fault) => fault.hint.clone().map(Cow::into_owned),
            Self::LoginFailed { cure, .. } => cure.clone(),
            Self::LeftWhileWaiting | Self::Carried { .. } => None,
        }
    }

    /// Whether the proxy or the upstream failed the client.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::LeftWhileWaiting => false,
            Self::Carried { reason, .. } => {
                !matches!(*reason, "client_left" | "client_lost" | "shutdown")
            }
            Self::LoginFailed { label, .. } => *label != "client_left",
            Self::NoRoom(_) | Self::NotServed(_) => true,
        }
    }
}
