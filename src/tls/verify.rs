//! Verification of the server's certificate, with the reason when it fails.
//!
//! Trust is decided by webpki and by nothing here, with two exceptions that are
//! spelled out below: `verify-ca` forgives a wrong name, and an expired anchor,
//! which webpki does not look at, is refused as OpenSSL would. The rest only
//! finds words for a refusal. Invariant: no path turns an error into an
//! acceptance other than `forgives`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::{Facts, printable};
use super::fault::{TlsFault, UnknownCa, Whose, WrongName};
use super::files::SetupError;

/// What is asked of a server's chain.
#[derive(Debug)]
pub(super) struct Chain {
    webpki: Arc<WebPkiServerVerifier>,
    check_name: bool,
    trusted: Vec<Facts>,
    place: String,
}

/// The CAs an upstream's chain may end at.
pub(super) struct Trust {
    pub(super) anchors: RootCertStore,
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Where they were read from, for messages.
    pub(super) place: String,
    pub(super) crls: Vec<CertificateRevocationListDer<'static>>,
}

impl Chain {
    pub(super) fn new(
        trust: Trust,
        check_name: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, SetupError> {
        let anchors = Arc::new(trust.anchors);
        let mut builder =
            WebPkiServerVerifier::builder_with_provider(anchors, Arc::clone(provider));
        if !trust.crls.is_empty() {
            // A list that is out of date, or that is by another CA, proves
            // nothing: both refuse, as they do with libpq. Only the server's own
            // certificate is looked up, for the lists of CAs above it are rarely at hand.
            builder = builder
                .with_crls(trust.crls)
                .only_check_end_entity_revocation()
                .enforce_revocation_expiration();
        }
        let webpki = builder.build().map_err(|error| SetupError::BadFile {
            key: "sslcrl",
            path: "the revocation list".to_owned(),
            reason: error.to_string(),
        })?;
        let trusted = trust
            .certificates
            .iter()
            .filter_map(|der| Facts::read(der))
            .collect();
        Ok(Self {
            webpki,
            check_name,
            trusted,
            place: trust.place,
        })
    }

    fn verify(
        &self,
        shown: &Shown<'_>,
        name: &ServerName<'_>,
        ocsp: &[u8],
    ) -> Result<(), TlsFault> {
        let verdict =
            self.webpki
                .verify_server_cert(shown.server, shown.others, name, ocsp, shown.now);
        match verdict {
            Err(error) if !self.forgives(&error) => Err(self.explain(&error, shown, name)),
            _ => self.refuse_expired_anchor(shown),
        }
    }

    /// webpki compares the name last, when the chain is known to be good.
    fn forgives(&self, error: &Error) -> bool {
        !self.check_name && is_wrong_name(error)
    }

    /// Anchors have no expiry in webpki. Refused only when every anchor that
    /// the chain can have ended at is out of date.
    fn refuse_expired_anchor(&self, shown: &Shown<'_>) -> Result<(), TlsFault> {
        let now = seconds(shown.now);
        let chain = shown.facts();
        let mut last_expired = None;
        for anchor in &self.trusted {
            if chain
                .iter()
                .any(|facts| facts.raw_issuer == anchor.raw_subject)
            {
                if anchor.not_after >= now {
                    return Ok(());
                }
                last_expired = Some(anchor);
            }
        }
        match last_expired {
            None => Ok(()),
            Some(anchor) => Err(TlsFault::Expired {
                whose: Whose::Ca,
                subject: anchor.title(),
                not_after: anchor.not_after,
                now,
            }),
        }
    }

    fn explain(&self, error: &Error, shown: &Shown<'_>, name: &ServerName<'_>) -> TlsFault {
        let chain = shown.facts();
        let Some(server) = chain.first() else {
            return TlsFault::BadCertificate {
                what: "it cannot be read".to_owned(),
            };
        };
        let error = match error {
            Error::InvalidCertificate(error) => error,
            Error::InvalidCertRevocationList(_) => {
                return TlsFault::CrlOfAnotherCa {
                    issuer: server.issuer.clone(),
                };
            }
            other => {
                return TlsFault::BadCertificate {
                    what: printable(&other.to_string()),
                };
            }
        };
        match error {
            CertificateError::UnknownIssuer if server.is_self_signed() => self.self_signed(server),
            CertificateError::UnknownIssuer => self.unknown_ca(&chain, server),
            CertificateError::BadSignature if self.knows_name_of_issuer(&chain) => {
                self.unknown_ca(&chain, server)
            }
            CertificateError::BadSignature => TlsFault::BadSignature,
            CertificateError::Revoked => TlsFault::Revoked {
                subject: server.title(),
            },
            CertificateError::UnknownRevocationStatus => TlsFault::CrlOfAnotherCa {
                issuer: server.issuer.clone(),
            },
            CertificateError::ExpiredRevocationListContext { next_update, .. } => {
                TlsFault::CrlExpired {
                    next_update: seconds(*next_update),
                }
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                expired(&chain, server, seconds(*not_after), seconds(shown.now))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                not_yet_valid(&chain, server, seconds(*not_before), seconds(shown.now))
            }
            _ if is_wrong_name(&error.clone().into()) => wrong_name(server, name),
            // webpki's "CA used as end entity" among others.
            CertificateError::Other(_) if server.is_self_signed() => self.self_signed(server),
            other => TlsFault::BadCertificate {
                what: printable(&other.to_string()),
            },
        }
    }

    fn self_signed(&self, server: &Facts) -> TlsFault {
        let trusted = self
            .trusted
            .iter()
            .any(|anchor| anchor.fingerprint == server.fingerprint);
        TlsFault::SelfSigned {
            subject: server.title(),
            trusted,
        }
    }

    fn unknown_ca(&self, chain: &[Facts], server: &Facts) -> TlsFault {
        let top = chain.last().unwrap_or(server);
        TlsFault::UnknownCa(Box::new(UnknownCa {
            issuer: top.issuer.clone(),
            fingerprint: top.fingerprint.clone(),
            shows_ca: top.is_self_signed(),
            place: self.place.clone(),
            trusted: self.trusted.iter().map(Facts::title).collect(),
            same_name: self.knows_name_of_issuer(chain),
        }))
    }

    fn knows_name_of_issuer(&self, chain: &[Facts]) -> bool {
        let known = |name| self.trusted.iter().any(|anchor| anchor.raw_subject == name);
        chain.iter().any(|facts| known(facts.raw_issuer.clone()))
    }
}

/// One server's chain at one moment.
struct Shown<'a> {
    server: &'a CertificateDer<'a>,
    others: &'a [CertificateDer<'a>],
    now: UnixTime,
}

impl Shown<'_> {
    /// The server's own first; what cannot be read is left out.
    fn facts(&self) -> Vec<Facts> {
        let Some(server) = Facts::read(self.server) else {
            return Vec::new();
        };
        let others = self.others.iter().filter_map(|der| Facts::read(der));
        std::iter::once(server).chain(others).collect()
    }
}

fn is_wrong_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

fn wrong_name(server: &Facts, wanted: &ServerName<'_>) -> TlsFault {
    TlsFault::WrongName(Box::new(WrongName {
        wanted: wanted.to_str().into_owned(),
        borne: server.names.clone(),
        common_name: server.common_name.clone(),
    }))
}

fn expired(chain: &[Facts], server: &Facts, not_after: i64, now: i64) -> TlsFault {
    let (whose, facts) = culprit(chain, server, |facts| facts.not_after == not_after);
    TlsFault::Expired {
        whose,
        subject: facts.title(),
        not_after,
        now,
    }
}

fn not_yet_valid(chain: &[Facts], server: &Facts, not_before: i64, now: i64) -> TlsFault {
    let (whose, facts) = culprit(chain, server, |facts| facts.not_before == not_before);
    TlsFault::NotYetValid {
        whose,
        subject: facts.title(),
        not_before,
        now,
    }
}

/// The certificate of the chain that an error speaks of, told by its date.
fn culprit<'a>(
    chain: &'a [Facts],
    server: &'a Facts,
    is_it: impl Fn(&Facts) -> bool,
) -> (Whose, &'a Facts) {
    if is_it(server) {
        return (Whose::Server, server);
    }
    match chain.iter().skip(1).find(|facts| is_it(facts)) {
        Some(ca) => (Whose::Ca, ca),
        None => (Whose::Server, server),
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// rustls' view of it: a chain to verify, or none with `sslmode = "require"`.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    chain: Option<Chain>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(chain: Option<Chain>, provider: &CryptoProvider) -> Self {
        Self {
            chain,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let shown = Shown {
            server: end_entity,
            others: intermediates,
            now,
        };
        match chain.verify(&shown, server_name, ocsp_response) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(fault) => Err(CertificateError::Other(OtherError(Arc::new(fault))).into()),
        }
    }

    // The handshake's signature proves that the server holds the key of the
    // certificate it showed. It is checked in every mode.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
