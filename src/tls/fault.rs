//! Why TLS to an upstream was not reached, and what to do about it.
//!
//! A closed list: every way to fail has its own cause, cure and metric label.
//! No text here was said by an unauthenticated server, except the names in the
//! certificate it showed, and those are made printable first. The host is named
//! by the caller, who knows what the user wrote.

use super::certificate::{rfc3339, span};

/// How far a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// SSLRequest was sent, its one-byte answer is awaited.
    SslRequest,
    Handshake,
    /// A handshake that was not announced by SSLRequest.
    DirectHandshake,
}

impl Stage {
    /// Whether the server had not even said that it speaks TLS.
    pub(crate) const fn is_before_tls(self) -> bool {
        matches!(self, Self::SslRequest)
    }

    fn text(self) -> &'static str {
        match self {
            Self::SslRequest => "before answering whether it speaks TLS",
            Self::Handshake => "during the TLS handshake",
            Self::DirectHandshake => "during the direct TLS handshake",
        }
    }
}

/// Which certificate of a chain is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The server's own.
    Server,
    /// One above it.
    Ca,
}

impl Whose {
    fn text(self) -> &'static str {
        match self {
            Self::Server => "the server's certificate",
            Self::Ca => "a CA above the server's certificate",
        }
    }
}

/// A chain that ends at nobody we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownCa {
    /// Issuer of the topmost certificate the server showed.
    pub(crate) issuer: String,
    /// SHA-256 of that topmost certificate.
    pub(crate) fingerprint: String,
    /// The topmost certificate is the CA's own, not one it issued.
    pub(crate) shows_ca: bool,
    /// Where the trusted CAs were read from.
    pub(crate) place: String,
    /// Subjects of the trusted CAs.
    pub(crate) trusted: Vec<String>,
    /// A trusted CA has that name, but another key.
    pub(crate) same_name: bool,
}

/// A certificate for somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongName {
    pub(crate) wanted: String,
    /// DNS names and addresses the certificate is valid for.
    pub(crate) borne: Vec<String>,
    pub(crate) common_name: Option<String>,
}

/// Why an upstream could not be secured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error("the server does not speak TLS on this port")]
    PlaintextServer,
    #[error("the server answered the request for TLS with an error")]
    ServerError,
    #[error("no Postgres server: the request for TLS was answered with the byte {}", byte_text(*.byte))]
    NotPostgres { byte: u8 },
    #[error("plaintext was slipped in between the server's answer and the TLS handshake")]
    Stuffed,
    #[error("the server closed the connection {}", .during.text())]
    Closed { during: Stage },
    #[error("the connection was reset {}", .during.text())]
    Reset { during: Stage },
    #[error("the connection failed {}: {reason}", .during.text())]
    Network { during: Stage, reason: String },
    #[error("{}", unknown_ca_text(.0))]
    UnknownCa(Box<UnknownCa>),
    #[error("{}", wrong_name_text(.0))]
    WrongName(Box<WrongName>),
    #[error("{} ({subject}) expired on {}, {} ago", .whose.text(), rfc3339(*.not_after), span(now - not_after))]
    Expired {
        whose: Whose,
        subject: String,
        not_after: i64,
        now: i64,
    },
    #[error("{} ({subject}) is not valid before {}, {} from now", .whose.text(), rfc3339(*.not_before), span(not_before - now))]
    NotYetValid {
        whose: Whose,
        subject: String,
        not_before: i64,
        now: i64,
    },
    #[error("the server's certificate ({subject}) is signed by itself{}", if *.trusted { ", and marked as a CA" } else { "" })]
    SelfSigned { subject: String, trusted: bool },
    #[error("the server's certificate ({subject}) was revoked by its CA")]
    Revoked { subject: String },
    #[error("the revocation list in sslcrl expired on {}", rfc3339(*.next_update))]
    CrlExpired { next_update: i64 },
    #[error(
        "the revocation list in sslcrl says nothing about the CA that issued the server's certificate ({issuer})"
    )]
    CrlOfAnotherCa { issuer: String },
    #[error("a signature in the server's certificate chain is wrong")]
    BadSignature,
    #[error("the server's certificate cannot be used: {what}")]
    BadCertificate { what: String },
    #[error("the server offers no TLS version as new as {minimum}")]
    ProtocolTooOld { minimum: &'static str },
    #[error("the server demands a client certificate")]
    ClientCertificateRequired,
    #[error("the server refused our client certificate ({alert})")]
    ClientCertificateRefused { alert: &'static str },
    #[error("the server did not select the protocol `postgresql` (ALPN), which direct TLS demands")]
    NoAlpn,
    #[error("the server broke off the TLS handshake ({alert})")]
    Alert { alert: String },
    #[error("what the server sent is no TLS handshake: {what}")]
    Protocol { what: String },
}

impl TlsFault {
    /// What to do about it.
    pub(crate) fn cure(&self) -> &'static str {
        match self {
            Self::PlaintextServer => {
                "set ssl = on at the server, or check host and port; pgsluice sends nothing in plaintext to it"
            }
            Self::ServerError => "see the server's own log; it may be out of connections or memory",
            // 0x15 opens a TLS alert record: the peer took SSLRequest for a bad ClientHello.
            Self::NotPostgres { byte: 0x15 } => {
                "this port speaks TLS at once: check the port, or set sslnegotiation = \"direct\" for Postgres 17 and newer"
            }
            Self::NotPostgres { .. } => {
                "check host and port: something other than Postgres listens there"
            }
            Self::Stuffed => {
                "somebody on the way may be tampering with the connection; check what stands between here and the server"
            }
            Self::Closed { during } | Self::Reset { during } | Self::Network { during, .. } => {
                cut_off_cure(*during)
            }
            Self::ProtocolTooOld { .. } => {
                "upgrade the server's TLS, or lower ssl_min_protocol_version (TLSv1.2 is the lowest)"
            }
            Self::ClientCertificateRequired => "set sslcert and sslkey",
            Self::ClientCertificateRefused { .. } => {
                "check that sslcert was issued by the CA the server trusts, is complete and has not expired"
            }
            Self::NoAlpn => {
                "direct TLS needs Postgres 17 or newer; set sslnegotiation = \"postgres\""
            }
            Self::Alert { .. } => {
                "the two sides may share no cipher or curve, or the server demands a client certificate (sslcert, sslkey); its log says which"
            }
            Self::Protocol { .. } => {
                "check host and port, and what stands between here and the server"
            }
            Self::UnknownCa(unknown) => unknown_ca_cure(unknown),
            Self::WrongName(wrong) if wrong.borne.is_empty() => {
                "have the server's certificate issued with a subjectAltName for this host"
            }
            Self::WrongName(_) => {
                "set host to a name the certificate bears, or server_name to the one that is meant"
            }
            Self::Expired { whose, .. } => expired_cure(*whose),
            Self::NotYetValid { .. } => {
                "check this machine's clock and time zone; it is probably behind"
            }
            Self::SelfSigned { trusted, .. } => self_signed_cure(*trusted),
            Self::Revoked { .. } => "do not connect; ask who runs the server for a new certificate",
            Self::CrlExpired { .. } => {
                "fetch a new revocation list, or take sslcrl out of the configuration"
            }
            Self::CrlOfAnotherCa { .. } => {
                "give the revocation list of that CA in sslcrl, or take sslcrl out"
            }
            Self::BadSignature => {
                "download the CA certificate again; if it stays so, somebody may be tampering with the connection"
            }
            Self::BadCertificate { .. } => "have the server's certificate issued anew",
        }
    }

    /// Name for metrics: few, fixed, snake_case.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::PlaintextServer => "plaintext_server",
            Self::ServerError => "server_error",
            Self::NotPostgres { .. } => "not_postgres",
            Self::Stuffed => "stuffed",
            Self::Closed { .. } => "closed",
            Self::Reset { .. } => "reset",
            Self::Network { .. } => "network",
            Self::UnknownCa(_) => "unknown_ca",
            Self::WrongName(_) => "wrong_name",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::SelfSigned { .. } => "self_signed",
            Self::Revoked { .. } => "revoked",
            Self::CrlExpired { .. } => "crl_expired",
            Self::CrlOfAnotherCa { .. } => "crl_of_another_ca",
            Self::BadSignature => "bad_signature",
            Self::BadCertificate { .. } => "bad_certificate",
            Self::ProtocolTooOld { .. } => "protocol_too_old",
            Self::ClientCertificateRequired => "client_certificate_required",
            Self::ClientCertificateRefused { .. } => "client_certificate_refused",
            Self::NoAlpn => "no_alpn",
            Self::Alert { .. } => "alert",
            Self::Protocol { .. } => "protocol",
        }
    }
}

fn cut_off_cure(during: Stage) -> &'static str {
    match during {
        Stage::SslRequest => {
            "check host and port; managed clusters hang up on addresses that are not among their trusted sources"
        }
        Stage::Handshake => "see the server's log, and whether a firewall on the way breaks TLS",
        Stage::DirectHandshake => {
            "direct TLS needs Postgres 17 or newer; set sslnegotiation = \"postgres\" for older servers"
        }
    }
}

fn expired_cure(whose: Whose) -> &'static str {
    match whose {
        Whose::Server => {
            "renew the server's certificate; if that date is yet to come, set this machine's clock"
        }
        Whose::Ca => {
            "download the CA certificate again; the server's chain may have to be renewed as well"
        }
    }
}

fn self_signed_cure(trusted: bool) -> &'static str {
    if trusted {
        "a CA certificate cannot serve as a server's own: have the CA issue one for the server, or remake this one with -addext basicConstraints=critical,CA:FALSE and a subjectAltName"
    } else {
        "is this the right server? if so, have a CA issue its certificate, and set sslrootcert to that CA's"
    }
}

fn unknown_ca_cure(unknown: &UnknownCa) -> &'static str {
    if unknown.same_name {
        "the CA has a new key under its old name: download its certificate again and replace sslrootcert"
    } else {
        "set sslrootcert to the certificate of the CA that issued the server's (for a managed cluster: download it from the control panel)"
    }
}

fn unknown_ca_text(unknown: &UnknownCa) -> String {
    let UnknownCa {
        issuer,
        fingerprint,
        shows_ca,
        place,
        trusted,
        same_name,
    } = unknown;
    let held = if *same_name {
        "a CA of that name, but with another key".to_owned()
    } else {
        list(trusted)
    };
    let shown = if *shows_ca {
        "the CA certificate shown"
    } else {
        "the topmost certificate shown"
    };
    format!(
        "the server's certificate comes from a CA that is not trusted, {issuer}; {place} holds {held} (SHA-256 of {shown}: {fingerprint})"
    )
}

fn wrong_name_text(wrong: &WrongName) -> String {
    let WrongName {
        wanted,
        borne,
        common_name,
    } = wrong;
    match common_name {
        _ if !borne.is_empty() => {
            format!(
                "the server's certificate is not for {wanted}, but for {}",
                borne.join(", ")
            )
        }
        Some(name) => format!(
            "the server's certificate is not for {wanted}: it bears no subjectAltName, and its common name {name} does not count"
        ),
        None => format!("the server's certificate is not for {wanted}: it bears no name at all"),
    }
}

/// The first few, and how many more.
fn list(names: &[String]) -> String {
    const FEW: usize = 3;
    let shown: Vec<_> = names.iter().take(FEW).map(String::as_str).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        n if n > FEW => format!("{} and {} more", shown.join("; "), n - FEW),
        _ => shown.join("; "),
    }
}

fn byte_text(byte: u8) -> String {
    if byte.is_ascii_graphic() {
        format!("`{}`", char::from(byte))
    } else {
        format!("0x{byte:02x}")
    }
}
