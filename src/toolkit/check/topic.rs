//! The sections of `docs/troubleshooting.md`, which findings point to.

/// One section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Files,
    Dns,
    NoAnswer,
    Refused,
    NoTls,
    OtherTls,
    UnknownCa,
    SelfSigned,
    Expired,
    WrongName,
    NotVerified,
    OldTls,
    ClientCertificate,
    Method,
    NoCredentials,
    Hba,
    Password,
    Database,
    Slots,
    NotReady,
    Server,
    Pooler,
    SchemaPublic,
    Clock,
    Latency,
    Move,
    Configuration,
}

impl Topic {
    /// The heading, as links name it.
    pub(crate) const fn anchor(self) -> &'static str {
        match self {
            Self::Files => "a-file-cannot-be-used",
            Self::Dns => "could-not-translate-host-name",
            Self::NoAnswer => "connection-timed-out",
            Self::Refused => "connection-refused",
            Self::NoTls => "server-does-not-support-ssl",
            Self::OtherTls => "other-tls-failures",
            Self::UnknownCa => "self-signed-certificate-in-certificate-chain",
            Self::SelfSigned => "the-servers-certificate-is-signed-by-itself",
            Self::Expired => "certificate-has-expired",
            Self::WrongName => "server-certificate-does-not-match-host-name",
            Self::NotVerified => "the-server-is-not-verified",
            Self::OldTls => "old-versions-of-tls-and-weak-ciphers",
            Self::ClientCertificate => "the-server-wants-a-client-certificate",
            Self::Method => "the-server-asks-for-something-else",
            Self::NoCredentials => "the-login-was-not-checked",
            Self::Hba => "no-pg_hbaconf-entry",
            Self::Password => "password-authentication-failed",
            Self::Database => "database-does-not-exist",
            Self::Slots => "remaining-connection-slots-are-reserved",
            Self::NotReady => "the-database-system-is-starting-up",
            Self::Server => "read-only-or-an-untested-version",
            Self::Pooler => "a-pgbouncer-is-in-between",
            Self::SchemaPublic => "permission-denied-for-schema-public",
            Self::Clock => "the-clocks-differ",
            Self::Latency => "the-server-is-far-away",
            Self::Move => "before-the-move",
            Self::Configuration => "the-configuration-warns",
        }
    }

    pub(crate) fn link(self) -> String {
        format!("docs/troubleshooting.md#{}", self.anchor())
    }
}
