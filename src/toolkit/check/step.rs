//! What is looked at, and in which order: each step needs those below it to be well.

use super::topic::Topic;

/// One thing that can be well or not. In the order of dependence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// Certificates, keys and lists that the upstream's section names.
    Files,
    Dns,
    Connect,
    SslRequest,
    /// Version, cipher, and whatever ends a handshake but a certificate.
    Handshake,
    Chain,
    Name,
    /// Which versions and ciphers the server accepts beside the one it chose.
    Versions,
    /// What the server asks for, before anything is proven.
    Authentication,
    Login,
    Server,
    Pooler,
    Rights,
    Limits,
    Clock,
    Latency,
    /// With `--pre`: what stands in the way of a move.
    Move,
}

impl Step {
    pub(crate) const ALL: [Self; 17] = [
        Self::Files,
        Self::Dns,
        Self::Connect,
        Self::SslRequest,
        Self::Handshake,
        Self::Chain,
        Self::Name,
        Self::Versions,
        Self::Authentication,
        Self::Login,
        Self::Server,
        Self::Pooler,
        Self::Rights,
        Self::Limits,
        Self::Clock,
        Self::Latency,
        Self::Move,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::SslRequest => "sslrequest",
            Self::Handshake => "handshake",
            Self::Chain => "chain",
            Self::Name => "name",
            Self::Versions => "versions",
            Self::Authentication => "auth",
            Self::Login => "login",
            Self::Server => "server",
            Self::Pooler => "pooler",
            Self::Rights => "rights",
            Self::Limits => "limits",
            Self::Clock => "clock",
            Self::Latency => "latency",
            Self::Move => "move",
        }
    }

    /// What has to be well for this to be looked at. A server is asked for its ciphers only
    /// when it is known to be the one that is meant.
    pub(crate) const fn needs(self) -> Option<Self> {
        match self {
            Self::Files => None,
            Self::Dns => Some(Self::Files),
            Self::Connect => Some(Self::Dns),
            Self::SslRequest => Some(Self::Connect),
            Self::Handshake => Some(Self::SslRequest),
            Self::Chain => Some(Self::Handshake),
            Self::Name => Some(Self::Chain),
            Self::Versions | Self::Authentication => Some(Self::Name),
            Self::Login => Some(Self::Authentication),
            Self::Server
            | Self::Pooler
            | Self::Rights
            | Self::Limits
            | Self::Clock
            | Self::Latency
            | Self::Move => Some(Self::Login),
        }
    }

    /// Whether a failure means that there is no session with the server at all.
    pub(crate) const fn is_connecting(self) -> bool {
        matches!(
            self,
            Self::Dns
                | Self::Connect
                | Self::SslRequest
                | Self::Handshake
                | Self::Chain
                | Self::Name
                | Self::Authentication
                | Self::Login
        )
    }

    /// Where to read on if a finding says nothing more exact.
    pub(super) const fn topic(self) -> Topic {
        match self {
            Self::Files => Topic::Files,
            Self::Dns => Topic::Dns,
            Self::Connect => Topic::NoAnswer,
            Self::SslRequest => Topic::NoTls,
            Self::Handshake => Topic::OtherTls,
            Self::Chain => Topic::UnknownCa,
            Self::Name => Topic::WrongName,
            Self::Versions => Topic::OldTls,
            Self::Authentication => Topic::Method,
            Self::Login => Topic::Password,
            Self::Server => Topic::Server,
            Self::Pooler => Topic::Pooler,
            Self::Rights => Topic::SchemaPublic,
            Self::Limits => Topic::Slots,
            Self::Clock => Topic::Clock,
            Self::Latency => Topic::Latency,
            Self::Move => Topic::Move,
        }
    }
}
