//! Certificates as people read them: those that a server showed, and those that files hold.
//!
//! Nothing is decided here. A server's were refused or not before they are looked at.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::{Facts, rfc3339};
use super::files::{self, SetupError};
use crate::config::values::{Roots, TlsClient};

/// What one certificate says of itself. Every text is one printable line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its subject, or its fingerprint where it has none.
    pub(crate) title: String,
    pub(crate) issuer: String,
    /// DNS names and addresses that it is valid for.
    pub(crate) names: Vec<String>,
    /// Unix seconds.
    pub(crate) not_after: i64,
    /// SHA-256, as `openssl x509 -fingerprint -sha256` writes it.
    pub(crate) fingerprint: String,
    pub(crate) is_self_signed: bool,
}

impl Certificate {
    fn read(der: &[u8]) -> Option<Self> {
        let facts = Facts::read(der)?;
        Some(Self {
            title: facts.title(),
            is_self_signed: facts.is_self_signed(),
            issuer: facts.issuer,
            names: facts.names,
            not_after: facts.not_after,
            fingerprint: facts.fingerprint,
        })
    }

    /// The end of its validity as `2026-11-22T17:48:00Z`.
    pub(crate) fn expiry(&self) -> String {
        rfc3339(self.not_after)
    }
}

fn read_all(ders: &[CertificateDer<'_>]) -> Vec<Certificate> {
    let read = ders.iter().filter_map(|der| Certificate::read(der));
    read.collect()
}

/// Where a handshake leaves what the server showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<OnceLock<Vec<CertificateDer<'static>>>>);

impl Recorder {
    /// The first handshake's stay.
    pub(super) fn note(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) {
        self.0.get_or_init(|| {
            let all = std::iter::once(own).chain(others);
            all.map(|der| der.clone().into_owned()).collect()
        });
    }

    /// The server's own first; empty if it came to none.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.0.get().map(|ders| read_all(ders)).unwrap_or_default()
    }
}

/// The CAs that an upstream's chain may end at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trusted {
    /// Where they were read from.
    pub(crate) place: String,
    pub(crate) certificates: Vec<Certificate>,
}

/// What `sslrootcert` holds; `None` where nothing is verified.
///
/// # Errors
/// A file that cannot be read or used.
pub(crate) fn trusted(settings: &TlsClient) -> Result<Option<Trusted>, SetupError> {
    const KEY: &str = "sslrootcert";
    let (place, found) = match &settings.roots {
        Roots::File(path) => (path.display().to_string(), files::certificates(KEY, path)?),
        Roots::Inline(text) => (
            "the value of sslrootcert".to_owned(),
            files::inline_certificates(KEY, text)?,
        ),
        Roots::System => (
            "this machine's certificate store".to_owned(),
            files::system_anchors()?.1,
        ),
        Roots::Unneeded => return Ok(None),
    };
    let certificates = read_all(&found);
    Ok(Some(Trusted {
        place,
        certificates,
    }))
}

/// What a certificate file of our own holds, the nearest first.
///
/// # Errors
/// It cannot be read or used.
pub(crate) fn own_certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<Certificate>, SetupError> {
    Ok(read_all(&files::certificates(key, path)?))
}

/// When the first of the revocation lists in a file is out of date, in unix seconds; `None`
/// if none says.
///
/// # Errors
/// It cannot be read or used.
pub(crate) fn revocation_expiry(path: &Path) -> Result<Option<i64>, SetupError> {
    let lists = files::revocation_lists("sslcrl", path)?;
    let ends = lists.iter().filter_map(|der| {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        list.next_update().map(|time| time.timestamp())
    });
    Ok(ends.min())
}
