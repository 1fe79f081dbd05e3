//! TLS towards local clients, for those who want the local leg encrypted too.
//!
//! Whether a client must use TLS, or must show a certificate, is decided above;
//! here a certificate that is shown must be good, and one that is not shown is
//! no fault. Like Postgres, sessions are never resumed.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, PeerIncompatible, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::{self, printable};
use super::files::{self, SetupError};
use super::provider::{self, ALPN};
use crate::config::values::ServerIdentity;

/// Why a client's TLS was not accepted. Texts are for our own log: there is no
/// channel to the client when this happens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AcceptFault {
    #[error("the client left during the TLS handshake")]
    Left,
    #[error("the connection failed during the TLS handshake: {reason}")]
    Network { reason: String },
    #[error("the client began TLS directly without offering the protocol `postgresql` (ALPN)")]
    NoAlpn,
    #[error("the client offered other protocols than `postgresql` (ALPN)")]
    WrongAlpn,
    #[error("the client offers no TLS version as new as TLSv1.2")]
    ProtocolTooOld,
    #[error("the client's certificate is not accepted: {reason}")]
    BadCertificate { reason: String },
    #[error("the client broke off the TLS handshake ({alert}); it may not trust our certificate")]
    Alert { alert: String },
    #[error("what the client sent is no TLS handshake: {reason}")]
    Protocol { reason: String },
}

impl AcceptFault {
    /// Name for metrics: few, fixed, snake_case.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Network { .. } => "network",
            Self::NoAlpn => "no_alpn",
            Self::WrongAlpn => "wrong_alpn",
            Self::ProtocolTooOld => "protocol_too_old",
            Self::BadCertificate { .. } => "bad_certificate",
            Self::Alert { .. } => "alert",
            Self::Protocol { .. } => "protocol",
        }
    }
}

/// The proxy's own identity, read and built once.
#[derive(Clone)]
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
}

impl Acceptor {
    /// Reads the files that `identity` names. Made anew on reload.
    pub(crate) fn new(identity: &ServerIdentity) -> Result<Self, SetupError> {
        let provider = provider::local();
        let chain = files::certificates("tls_cert_file", &identity.cert_file)?;
        let key = files::private_key("tls_key_file", &identity.key_file)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::Library(error.to_string()))?;
        let builder = match &identity.ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let certificates = files::certificates("tls_ca_file", path)?;
                let anchors = files::anchors("tls_ca_file", path, &certificates)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(|error| SetupError::Library(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            files::identity_error(
                ("tls_cert_file", &identity.cert_file),
                ("tls_key_file", &identity.key_file),
                &error,
            )
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Shakes hands with a client whose SSLRequest was answered with `S`, or
    /// that began TLS by itself (`direct`). `io` must give the ClientHello from
    /// its first byte; the caller bounds the time this may take.
    pub(crate) async fn accept<S>(&self, io: S, direct: bool) -> Result<TlsStream<S>, AcceptFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let stream = self
            .tls
            .accept(io)
            .await
            .map_err(|error| accept_fault(&error))?;
        // Announced by SSLRequest, a client may leave ALPN out: older libpq do.
        if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(AcceptFault::NoAlpn);
        }
        Ok(stream)
    }
}

/// Common name in the certificate that the client showed, which the handshake
/// verified. `None` without a certificate or without exactly one name.
pub(crate) fn peer_common_name<S>(stream: &TlsStream<S>) -> Option<String> {
    let own = stream.get_ref().1.peer_certificates()?.first()?;
    certificate::common_name(own)
}

fn accept_fault(error: &io::Error) -> AcceptFault {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => AcceptFault::Left,
            _ => AcceptFault::Network {
                reason: error.to_string(),
            },
        };
    };
    match tls {
        Error::NoApplicationProtocol => AcceptFault::WrongAlpn,
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // An extension that clients of TLS 1.1 have nothing to say in.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => AcceptFault::ProtocolTooOld,
        Error::InvalidCertificate(reason) => AcceptFault::BadCertificate {
            reason: printable(&reason.to_string()),
        },
        Error::AlertReceived(alert) => AcceptFault::Alert {
            alert: format!("{alert:?}"),
        },
        other => AcceptFault::Protocol {
            reason: printable(&other.to_string()),
        },
    }
}

/// Keys and certificates are not for logs.
impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}
