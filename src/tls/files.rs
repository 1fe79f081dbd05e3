//! Certificate, key and revocation files, read once at start and at reload.
//!
//! Not a watcher. A file that is there but holds nothing usable is an error
//! and never an empty set: an empty set of anchors must not come to mean
//! anything. No text of a file is ever repeated in an error, a key might be in it.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{Error, RootCertStore};

use crate::config::encoding::Encoded;

/// Why a side of TLS cannot be set up from its configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("{key}: cannot read {path}: {reason}")]
    Unreadable {
        key: &'static str,
        path: String,
        reason: String,
    },
    #[error("{key}: {path} holds no {wanted} in PEM form")]
    Nothing {
        key: &'static str,
        path: String,
        wanted: &'static str,
    },
    #[error("{key}: certificate {nth} in {path} cannot be used: {reason}")]
    BadCertificate {
        key: &'static str,
        path: String,
        nth: usize,
        reason: String,
    },
    #[error("{key}: {path} cannot be used: {reason}")]
    BadFile {
        key: &'static str,
        path: String,
        reason: String,
    },
    #[error("{key}: {path} is not the key of {certificate}")]
    KeyMismatch {
        key: &'static str,
        path: String,
        certificate: String,
    },
    #[error("sslrootcert = \"system\": no certificates were found on this machine{detail}")]
    NoSystemRoots { detail: String },
    #[error("sslmode asks for verification, and there is no sslrootcert to verify against")]
    NoRoots,
    #[error("`{0}` is neither a host name nor an address")]
    ServerName(String),
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}

impl SetupError {
    /// What to do about it.
    pub(crate) fn cure(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "check the path (relative paths start at the configuration file) and that this user may read it"
            }
            Self::Nothing {
                wanted: "private key",
                ..
            } => {
                "give an unencrypted key: `openssl pkey -in KEY -out PLAIN` takes a passphrase off"
            }
            Self::Nothing { .. } | Self::BadCertificate { .. } | Self::BadFile { .. } => {
                "give a PEM file; for a managed cluster download the CA certificate again from its control panel"
            }
            Self::KeyMismatch { .. } => "give the certificate and the key that were made together",
            Self::NoSystemRoots { .. } => {
                "install the ca-certificates package, or set sslrootcert to a file"
            }
            Self::NoRoots => "set sslrootcert to the CA certificate of the cluster",
            Self::ServerName(_) => "set server_name to the name in the server's certificate",
            Self::Library(_) => "please report this with the version of pgsluice",
        }
    }
}

/// All certificates of a PEM file, in its order; at least one.
pub(super) fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    of_encoded(key, path, &read(key, path)?)
}

/// All certificates of a text that stands where a path could.
pub(super) fn inline_certificates(
    key: &'static str,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let place = Path::new("its value");
    of_encoded(key, place, &Encoded::of_value(text))
}

fn of_encoded(
    key: &'static str,
    path: &Path,
    encoded: &Encoded,
) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let found = match encoded {
        Encoded::Pem(pem) => CertificateDer::pem_slice_iter(pem).collect(),
        Encoded::Der(der) => Ok(vec![CertificateDer::from(der.clone())]),
    };
    at_least_one(key, path, "certificate", found)
}

/// A file in whichever form it is.
fn read(key: &'static str, path: &Path) -> Result<Encoded, SetupError> {
    std::fs::read(path)
        .map(Encoded::of)
        .map_err(|error| pem_error(key, path, "", pem::Error::Io(error)))
}

/// All revocation lists of a PEM file; at least one.
pub(super) fn revocation_lists(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, SetupError> {
    let found = match &read(key, path)? {
        Encoded::Pem(pem) => CertificateRevocationListDer::pem_slice_iter(pem).collect(),
        Encoded::Der(der) => Ok(vec![CertificateRevocationListDer::from(der.clone())]),
    };
    at_least_one(key, path, "revocation list", found)
}

/// The first private key of a PEM file.
pub(super) fn private_key(
    key: &'static str,
    path: &Path,
) -> Result<PrivateKeyDer<'static>, SetupError> {
    match read(key, path)? {
        Encoded::Pem(pem) => PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| pem_error(key, path, "private key", error)),
        Encoded::Der(der) => PrivateKeyDer::try_from(der).map_err(|reason| SetupError::BadFile {
            key,
            path: path.display().to_string(),
            reason: reason.to_owned(),
        }),
    }
}

/// Trust anchors. One that cannot be used fails the whole file: who added it
/// expects servers that chain to it to be accepted.
pub(super) fn anchors(
    key: &'static str,
    path: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        store
            .add(certificate.clone())
            .map_err(|error| SetupError::BadCertificate {
                key,
                path: path.display().to_string(),
                nth: index + 1,
                reason: error.to_string(),
            })?;
    }
    Ok(store)
}

/// The machine's own anchors; unusable ones among them are passed over.
pub(super) fn system_anchors() -> Result<(RootCertStore, Vec<CertificateDer<'static>>), SetupError>
{
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let certificates: Vec<_> = found
        .certs
        .into_iter()
        .filter(|certificate| store.add(certificate.clone()).is_ok())
        .collect();
    if certificates.is_empty() {
        let detail = found
            .errors
            .first()
            .map(|error| format!(" ({error})"))
            .unwrap_or_default();
        return Err(SetupError::NoSystemRoots { detail });
    }
    Ok((store, certificates))
}

fn at_least_one<T>(
    key: &'static str,
    path: &Path,
    wanted: &'static str,
    found: Result<Vec<T>, pem::Error>,
) -> Result<Vec<T>, SetupError> {
    let found = found.map_err(|error| pem_error(key, path, wanted, error))?;
    if found.is_empty() {
        return Err(pem_error(key, path, wanted, pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn pem_error(
    key: &'static str,
    path: &Path,
    wanted: &'static str,
    error: pem::Error,
) -> SetupError {
    let path = path.display().to_string();
    match error {
        pem::Error::Io(error) => SetupError::Unreadable {
            key,
            path,
            reason: error.to_string(),
        },
        pem::Error::NoItemsFound => SetupError::Nothing { key, path, wanted },
        // The library's text quotes the file.
        _ => SetupError::BadFile {
            key,
            path,
            reason: "the PEM text is damaged".to_owned(),
        },
    }
}

/// Why rustls would not take a certificate together with its key.
pub(super) fn identity_error(
    (certificate_key, certificate): (&'static str, &Path),
    (key_key, key): (&'static str, &Path),
    error: &Error,
) -> SetupError {
    let certificate_path = certificate.display().to_string();
    let key_path = key.display().to_string();
    match error {
        Error::InconsistentKeys(_) => SetupError::KeyMismatch {
            key: key_key,
            path: key_path,
            certificate: certificate_path,
        },
        Error::InvalidCertificate(error) => SetupError::BadFile {
            key: certificate_key,
            path: certificate_path,
            reason: error.to_string(),
        },
        other => SetupError::BadFile {
            key: key_key,
            path: key_path,
            reason: other.to_string(),
        },
    }
}
