//! Why a login came to nothing, in words for the client and for the log.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use crate::fault::{ClientFacing as _, Fault};
use crate::net::framed::FrameError;
use crate::tls::TlsFault;
use crate::upstream::LoginError;
use crate::wire::sqlstate::SqlState;

/// Why a login came to nothing.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum LoginFailure {
    #[error("client left during login")]
    ClientLeft,
    #[error("client lost during login: {0}")]
    ClientLost(io::Error),
    #[error("client broke the protocol during login: {0}")]
    Client(&'static str),
    /// The client has been told, in the upstream's own words.
    #[error("the upstream refused the login: {text}")]
    Refused { text: String, hint: Option<String> },
    #[error(transparent)]
    Held(#[from] LoginError),
    /// The upstream does not want the credentials that the proxy holds.
    #[error("{}", .0.message)]
    HeldRefused(Fault),
    #[error("the upstream was lost during login: {0}")]
    Upstream(FrameError),
    /// A server of TLS 1.3 says only now what it thinks of the client certificate.
    #[error("the upstream ended TLS during login: {0}")]
    UpstreamTls(TlsFault),
    #[error("the upstream broke the protocol during login")]
    UpstreamProtocol,
    #[error("the upstream did not answer the login in time")]
    UpstreamSilent,
    #[error("login not complete in time")]
    TimedOut,
    #[error(
        "the client left the upstream's question unanswered for {0:?}, and others wait for its place"
    )]
    GaveWay(Duration),
    #[error("the upstream cannot verify the client's channel binding: {0}")]
    ChannelBinding(&'static str),
    #[error("GSSAPI and SSPI logins cannot be relayed: the ticket is for the proxy's name")]
    Gss,
}

impl LoginFailure {
    pub(in super::super) fn label(&self) -> &'static str {
        match self {
            Self::ClientLeft | Self::ClientLost(_) => "client_left",
            Self::Client(_) => "protocol",
            Self::Refused { .. } => "upstream_refused",
            Self::Held(_) | Self::HeldRefused(_) => "upstream_login",
            Self::UpstreamTls(fault) => fault.label(),
            Self::Upstream(_) | Self::UpstreamProtocol => "upstream_lost",
            Self::UpstreamSilent => "timeout",
            Self::TimedOut => "login_timeout",
            Self::GaveWay(_) => "login_gave_way",
            Self::ChannelBinding(_) => "channel_binding",
            Self::Gss => "gss",
        }
    }

    /// What to do about it, for the log.
    pub(in super::super) fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => hint.clone(),
            _ => self.client_error()?.hint.map(Cow::into_owned),
        }
    }

    /// What the client is still to be told.
    pub(in super::super) fn client_error(&self) -> Option<Fault> {
        let (sqlstate, hint) = match self {
            Self::ClientLeft | Self::ClientLost(_) | Self::Refused { .. } => return None,
            Self::Held(error) => return Some(error.fault()),
            Self::HeldRefused(fault) => return Some(fault.clone()),
            Self::UpstreamTls(fault) => (SqlState::CANNOT_CONNECT_NOW, Some(fault.cure())),
            Self::GaveWay(_) => (
                SqlState::TOO_MANY_CONNECTIONS,
                Some(
                    "All connections of `max_upstream_conn` are in use: connect again, and answer at once. Look for clients that begin logins and do not complete them.",
                ),
            ),
            Self::Client(_) | Self::TimedOut => (SqlState::PROTOCOL_VIOLATION, None),
            Self::UpstreamSilent => (
                SqlState::CANNOT_CONNECT_NOW,
                Some(
                    "The server took the connection and says nothing: look at its load and into its log; `connect_timeout` bounds the wait.",
                ),
            ),
            Self::Upstream(_) | Self::UpstreamProtocol => (
                SqlState::CANNOT_CONNECT_NOW,
                Some("Connect again; if it persists, look into the upstream's log."),
            ),
            Self::ChannelBinding(_) => (
                SqlState::INVALID_AUTHORIZATION,
                Some(
                    "Connect to the proxy without TLS (sslmode=disable), or set channel_binding=disable in the client (Npgsql: `Channel Binding=Disable`, and listen.sasl_plus = \"keep\"), or let the proxy hold the credentials ([auth] mode = \"held\").",
                ),
            ),
            Self::Gss => (
                SqlState::INVALID_AUTHORIZATION,
                Some(
                    "Use a role that logs in with scram-sha-256, or let the proxy hold its credentials.",
                ),
            ),
        };
        let fault = Fault::new(sqlstate, self.label(), self.to_string());
        Some(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        })
    }
}
