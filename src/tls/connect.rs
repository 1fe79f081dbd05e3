//! From a connected socket to a verified TLS stream towards an upstream.
//!
//! Not a dialler and not a login. Exactly one byte of plaintext is read in the
//! life of a connection, the answer to SSLRequest, and that byte decides only
//! between TLS and failure: there is no plaintext to fall back to.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, PeerIncompatible};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::printable;
use super::fault::{Stage, TlsFault};
use super::files::{self, SetupError};
use super::provider::{self, ALPN};
use super::shown::Recorder;
use super::verify::{Chain, RevocationLists, ServerVerifier, Trust};
use crate::config::values::{Negotiation, Roots, TlsClient, TlsVersion, Verify};
use crate::wire::startup::ssl_request;

/// Everything that TLS to one upstream needs, read and built once.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
    negotiation: Negotiation,
    minimum: &'static str,
}

impl Connector {
    /// Reads the files that `settings` names. Made anew on reload.
    pub(crate) fn new(settings: &TlsClient) -> Result<Self, SetupError> {
        Self::build(settings, None)
    }

    /// The same, and where to find what a server showed of itself, also when it was refused.
    pub(crate) fn recording(settings: &TlsClient) -> Result<(Self, Recorder), SetupError> {
        let recorder = Recorder::default();
        let connector = Self::build(settings, Some(recorder.clone()))?;
        Ok((connector, recorder))
    }

    fn build(settings: &TlsClient, recorder: Option<Recorder>) -> Result<Self, SetupError> {
        let provider = provider::upstream();
        let chain = match settings.verify {
            Verify::Nothing => None,
            Verify::Ca => Some(Chain::new(trust(settings)?, false, &provider)?),
            Verify::Full => Some(Chain::new(trust(settings)?, true, &provider)?),
        };
        let verifier = ServerVerifier::new(chain, &provider).recording(recorder);
        let verifier = Arc::new(verifier);
        let (versions, minimum) = match settings.min_version {
            TlsVersion::Tls12 => (&[&TLS13, &TLS12][..], "TLSv1.2"),
            TlsVersion::Tls13 => (&[&TLS13][..], "TLSv1.3"),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| SetupError::Library(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = files::certificates("sslcert", certificate)?;
                let private = files::private_key("sslkey", key)?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| {
                        files::identity_error(("sslcert", certificate), ("sslkey", key), &error)
                    })?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Postgres resumes no sessions, so none are kept.
        config.resumption = Resumption::disabled();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            name: server_name(&settings.server_name)?,
            negotiation: settings.negotiation,
            minimum,
        })
    }

    /// Takes a connection from its first byte to a verified stream. The socket
    /// is gone when this fails; the caller bounds the time it may take.
    pub(crate) async fn secure<S>(&self, mut socket: S) -> Result<TlsStream<S>, TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let stage = match self.negotiation {
            Negotiation::Postgres => {
                ask_for_tls(&mut socket).await?;
                Stage::Handshake
            }
            Negotiation::Direct => Stage::DirectHandshake,
        };
        let stream = self
            .tls
            .connect(self.name.clone(), socket)
            .await
            .map_err(|error| self.handshake_fault(&error, stage))?;
        // Without it a server of another protocol could be made to answer us.
        if stage == Stage::DirectHandshake && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(TlsFault::NoAlpn);
        }
        Ok(stream)
    }

    fn handshake_fault(&self, error: &io::Error, stage: Stage) -> TlsFault {
        match rustls_error(error) {
            None => cut_off(error, stage),
            Some(error) => self.tls_fault(error),
        }
    }

    fn tls_fault(&self, error: &Error) -> TlsFault {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other))
                if other.0.is::<TlsFault>() =>
            {
                other
                    .0
                    .downcast_ref::<TlsFault>()
                    .cloned()
                    .unwrap_or(TlsFault::BadSignature)
            }
            // Our verifier explains chains; what is left is the handshake's own signature.
            Error::InvalidCertificate(CertificateError::BadSignature) => TlsFault::BadSignature,
            Error::InvalidCertificate(other) => TlsFault::BadCertificate {
                what: printable(&other.to_string()),
            },
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => TlsFault::ProtocolTooOld {
                minimum: self.minimum,
            },
            Error::AlertReceived(AlertDescription::NoApplicationProtocol) => TlsFault::NoAlpn,
            Error::AlertReceived(alert) => alert_fault(*alert),
            other => TlsFault::Protocol {
                what: printable(&other.to_string()),
            },
        }
    }
}

/// What a failed read on an established stream says about the handshake: a
/// TLS 1.3 server judges the client's certificate after the client is through,
/// so its verdict comes in place of the first answer. After a failed write a
/// read may still find it: such a server hangs up as soon as it has spoken.
pub(crate) fn explain_late_alert(error: &io::Error) -> Option<TlsFault> {
    match rustls_error(error)? {
        Error::AlertReceived(alert) => Some(alert_fault(*alert)),
        _ => None,
    }
}

fn trust(settings: &TlsClient) -> Result<Trust, SetupError> {
    let crl = match &settings.crl {
        None => None,
        Some(path) => {
            let lists = files::revocation_lists("sslcrl", path)?;
            Some(RevocationLists {
                path: path.clone(),
                lists,
            })
        }
    };
    match &settings.roots {
        Roots::File(path) => {
            let certificates = files::certificates("sslrootcert", path)?;
            let anchors = files::anchors("sslrootcert", path, &certificates)?;
            Ok(Trust {
                anchors,
                certificates,
                place: path.display().to_string(),
                crl,
            })
        }
        Roots::Inline(text) => {
            let certificates = files::inline_certificates("sslrootcert", text)?;
            // Errors name a path; this one is where the text stands.
            let place = Path::new("the value of sslrootcert");
            let anchors = files::anchors("sslrootcert", place, &certificates)?;
            Ok(Trust {
                anchors,
                certificates,
                place: place.display().to_string(),
                crl,
            })
        }
        Roots::System => {
            let (anchors, certificates) = files::system_anchors()?;
            let place = "this machine's certificate store".to_owned();
            Ok(Trust {
                anchors,
                certificates,
                place,
                crl,
            })
        }
        Roots::Unneeded => Err(SetupError::NoRoots),
    }
}

/// Addresses are verified against the certificate's addresses and not sent as
/// SNI; names are sent. The dot of an absolute name is no part of either.
fn server_name(text: &str) -> Result<ServerName<'static>, SetupError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    ServerName::try_from(name.to_owned()).map_err(|_| SetupError::ServerName(printable(text)))
}

/// SSLRequest, and its answer of one byte.
///
/// # Errors
/// Any answer but yes.
pub(super) async fn ask_for_tls<S>(socket: &mut S) -> Result<(), TlsFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let lost = |error: io::Error| cut_off(&error, Stage::SslRequest);
    socket.write_all(&ssl_request()).await.map_err(lost)?;
    socket.flush().await.map_err(lost)?;
    // One byte and no buffer: what follows it belongs to the TLS engine
    // (CVE-2021-23222).
    let mut answer = [0; 1];
    socket.read_exact(&mut answer).await.map_err(lost)?;
    match answer {
        [b'S'] => refuse_stuffing(socket).await,
        [b'N'] => Err(TlsFault::PlaintextServer),
        // The text behind it comes from nobody in particular and is not read
        // (CVE-2024-10977).
        [b'E'] => Err(TlsFault::ServerError),
        [byte] => Err(TlsFault::NotPostgres { byte }),
    }
}

/// A server has nothing to say before our ClientHello, so whatever can be read
/// now was put there by somebody. Bytes that come a moment later reach the TLS
/// engine, which refuses them too, only in vaguer words.
async fn refuse_stuffing<S: AsyncRead + Unpin>(socket: &mut S) -> Result<(), TlsFault> {
    let mut byte = [0; 1];
    let mut buffer = ReadBuf::new(&mut byte);
    // Polled once. The wake-up this leaves behind finds the handshake's own read.
    let polled =
        poll_fn(|context| Poll::Ready(Pin::new(&mut *socket).poll_read(context, &mut buffer)))
            .await;
    match polled {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => Err(TlsFault::Closed {
            during: Stage::Handshake,
        }),
        Poll::Ready(Ok(())) => Err(TlsFault::Stuffed),
        Poll::Ready(Err(error)) => Err(cut_off(&error, Stage::Handshake)),
    }
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn cut_off(error: &io::Error, during: Stage) -> TlsFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TlsFault::Closed { during },
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => TlsFault::Reset { during },
        _ => TlsFault::Network {
            during,
            reason: error.to_string(),
        },
    }
}

fn alert_fault(alert: AlertDescription) -> TlsFault {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            TlsFault::ClientCertificateRequired
        }
        AlertDescription::UnknownCA => refused("unknown_ca"),
        AlertDescription::BadCertificate => refused("bad_certificate"),
        AlertDescription::UnsupportedCertificate => refused("unsupported_certificate"),
        AlertDescription::CertificateRevoked => refused("certificate_revoked"),
        AlertDescription::CertificateExpired => refused("certificate_expired"),
        AlertDescription::CertificateUnknown => refused("certificate_unknown"),
        AlertDescription::AccessDenied => refused("access_denied"),
        other => TlsFault::Alert {
            alert: alert_name(other),
        },
    }
}

fn refused(alert: &'static str) -> TlsFault {
    TlsFault::ClientCertificateRefused { alert }
}

/// The names of RFC 8446 for the alerts that servers send here.
fn alert_name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure => "handshake_failure".to_owned(),
        AlertDescription::InternalError => "internal_error".to_owned(),
        AlertDescription::UnrecognisedName => "unrecognized_name".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Keys and certificates are not for logs.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
