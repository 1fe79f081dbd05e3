//! TLS towards local clients, for those who want the local leg encrypted too.
//!
//! Whether a client must use TLS, or must show a certificate, is decided above;
//! here a certificate that is shown must be good, and one that is not shown is
//! no fault. Like Postgres, sessions are never resumed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, PeerIncompatible, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::{self, printable};
use super::files::{self, SetupError};
use super::provider::{self, ALPN};
use crate::config::values::{ClientCertificates, OwnCertificate, ServerIdentity};

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
    #[error("the client showed no certificate, which listen.tls_mode demands")]
    NoCertificate,
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
            Self::NoCertificate => "no_certificate",
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
        let (chain, key) = match &identity.certificate {
            OwnCertificate::Files {
                cert_file,
                key_file,
            } => (
                files::certificates("tls_cert_file", cert_file)?,
                files::private_key("tls_key_file", key_file)?,
            ),
            OwnCertificate::MadeAtStart => made_for_loopback()?,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::Library(error.to_string()))?;
        let builder = match &identity.clients {
            ClientCertificates::NotAsked => builder.with_no_client_auth(),
            ClientCertificates::Asked { ca_file } => {
                let verifier = of_clients(ca_file, provider)?.allow_unauthenticated();
                builder.with_client_cert_verifier(built(verifier)?)
            }
            ClientCertificates::Demanded { ca_file, .. } => {
                let verifier = of_clients(ca_file, provider)?;
                builder.with_client_cert_verifier(built(verifier)?)
            }
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| match &identity.certificate {
            OwnCertificate::Files {
                cert_file,
                key_file,
            } => files::identity_error(
                ("tls_cert_file", cert_file),
                ("tls_key_file", key_file),
                &error,
            ),
            OwnCertificate::MadeAtStart => SetupError::Library(error.to_string()),
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

/// For clients of this machine that insist on TLS and verify nothing (`sslmode=require`).
/// Key and certificate are in memory only, and others at every start.
fn made_for_loopback() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SetupError>
{
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let make = || {
        let key = rcgen::KeyPair::generate()?;
        let mut parameters = rcgen::CertificateParams::new(names)?;
        let name = &mut parameters.distinguished_name;
        name.push(rcgen::DnType::CommonName, "pgsluice, made at start");
        Ok((parameters.self_signed(&key)?, key))
    };
    let (certificate, key) =
        make().map_err(|error: rcgen::Error| SetupError::Library(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![certificate.der().clone()], key.into()))
}

fn of_clients(
    ca_file: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<ClientCertVerifierBuilder, SetupError> {
    let certificates = files::certificates("tls_ca_file", ca_file)?;
    let anchors = files::anchors("tls_ca_file", ca_file, &certificates)?;
    let anchors = Arc::new(anchors);
    Ok(WebPkiClientVerifier::builder_with_provider(
        anchors, provider,
    ))
}

fn built(builder: ClientCertVerifierBuilder) -> Result<Arc<dyn ClientCertVerifier>, SetupError> {
    let built = builder.build();
    built.map_err(|error| SetupError::Library(error.to_string()))
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
        Error::NoCertificatesPresented => AcceptFault::NoCertificate,
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
