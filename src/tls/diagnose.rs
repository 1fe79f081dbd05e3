//! Words for a certificate that was refused.
//!
//! Nothing is decided here: webpki has spoken, this finds out what it was about
//! by reading the certificates once more. Every error of webpki has an answer.

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, OtherError};

use super::certificate::{Facts, printable};
use super::fault::{TlsFault, UnknownCa, Whose, WrongName};

/// The trusted CAs, as messages speak of them.
#[derive(Debug)]
pub(super) struct Trusted {
    /// The anchors with what they say of themselves.
    pub(super) anchors: Vec<(Facts, CertificateDer<'static>)>,
    /// Where they were read from.
    pub(super) place: String,
}

impl Trusted {
    pub(super) fn explain(
        &self,
        error: &Error,
        shown: &Shown<'_>,
        name: &ServerName<'_>,
    ) -> TlsFault {
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
                what: unusable(other),
            },
        }
    }

    fn self_signed(&self, server: &Facts) -> TlsFault {
        let trusted = self
            .anchors
            .iter()
            .any(|(anchor, _)| anchor.fingerprint == server.fingerprint);
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
            trusted: self
                .anchors
                .iter()
                .map(|(anchor, _)| anchor.title())
                .collect(),
            same_name: self.knows_name_of_issuer(chain),
        }))
    }

    fn knows_name_of_issuer(&self, chain: &[Facts]) -> bool {
        let known = |name| {
            self.anchors
                .iter()
                .any(|(anchor, _)| anchor.raw_subject == name)
        };
        chain.iter().any(|facts| known(facts.raw_issuer.clone()))
    }
}

/// Words for what is wrong with a certificate besides trust, time and name.
fn unusable(error: &CertificateError) -> String {
    #[allow(deprecated, reason = "the deprecated variant must be worded as well")]
    let text = match error {
        CertificateError::UnsupportedSignatureAlgorithm
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the algorithm of a signature in its chain is not accepted (SHA-1 and MD5 are too weak)"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for servers (extended key usage)"
        }
        CertificateError::BadEncoding => "its encoding is damaged",
        // webpki's own errors cannot be named here; their text can.
        CertificateError::Other(OtherError(inner)) => match inner.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is marked as a CA (CA:TRUE)",
            "UnsupportedCertVersion" => "it is not an X.509 certificate of version 3",
            other => return printable(other),
        },
        other => return printable(&other.to_string()),
    };
    text.to_owned()
}

/// One server's chain at one moment.
pub(super) struct Shown<'a> {
    pub(super) server: &'a CertificateDer<'a>,
    pub(super) others: &'a [CertificateDer<'a>],
    pub(super) now: UnixTime,
}

impl Shown<'_> {
    /// The server's own first; what cannot be read is left out.
    pub(super) fn facts(&self) -> Vec<Facts> {
        let Some(server) = Facts::read(self.server) else {
            return Vec::new();
        };
        let others = self.others.iter().filter_map(|der| Facts::read(der));
        std::iter::once(server).chain(others).collect()
    }
}

pub(super) fn is_wrong_name(error: &Error) -> bool {
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

pub(super) fn outdated_ca(anchor: &Facts, now: i64) -> TlsFault {
    let &Facts {
        not_before,
        not_after,
        ..
    } = anchor;
    let (whose, subject) = (Whose::Ca, anchor.title());
    if now < not_before {
        TlsFault::NotYetValid {
            whose,
            subject,
            not_before,
            now,
        }
    } else {
        TlsFault::Expired {
            whose,
            subject,
            not_after,
            now,
        }
    }
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

pub(super) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
