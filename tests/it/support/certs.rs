//! Certificates made for one property each, generated at every run.
//!
//! Nothing made here is ever committed or trusted outside a test: a private key
//! lives in memory or in a test's temporary directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;

const DAY: Duration = Duration::from_secs(86_400);

/// A window of time, in days from now; negative is the past.
#[derive(Clone, Copy)]
pub(crate) struct Days(pub(crate) i64, pub(crate) i64);

impl Days {
    const VALID: Self = Self(-1, 30);
}

fn from_now(days: i64) -> SystemTime {
    let span = DAY * u32::try_from(days.unsigned_abs()).unwrap();
    if days < 0 {
        SystemTime::now() - span
    } else {
        SystemTime::now() + span
    }
}

/// A CA: the anchor of a chain, or a link in it.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    name: DistinguishedName,
    /// What a server has to show above its own certificate, nearest first.
    links: Vec<Link>,
}

#[derive(Clone)]
struct Link {
    pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    /// A self-signed root.
    pub(crate) fn root(common_name: &str) -> Self {
        Self::root_valid(common_name, Days::VALID)
    }

    pub(crate) fn root_valid(common_name: &str, valid: Days) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(common_name, valid);
        let name = params.distinguished_name.clone();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self {
            issuer,
            name,
            links: Vec::new(),
        }
    }

    /// Another certificate of a root, for the same name and key.
    pub(crate) fn renewed(&self, valid: Days) -> String {
        let mut params = CertificateParams::default();
        within(&mut params, valid);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = self.name.clone();
        params.self_signed(self.issuer.key()).unwrap().pem()
    }

    /// A CA below this one.
    pub(crate) fn intermediate(&self, common_name: &str, valid: Days) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(common_name, valid);
        let name = params.distinguished_name.clone();
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap();
        let own = Link {
            pem: issuer.pem(),
            der: issuer.der().clone(),
        };
        let links = std::iter::once(own)
            .chain(self.links.iter().cloned())
            .collect();
        Self {
            issuer,
            name,
            links,
        }
    }

    /// Its certificate: what `sslrootcert` holds.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Identity {
        let key = leaf.key();
        let (params, serial) = leaf.params();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let own = Link {
            pem: certificate.pem(),
            der: certificate.der().clone(),
        };
        let chain = std::iter::once(own)
            .chain(self.links.iter().cloned())
            .collect();
        Identity { chain, key, serial }
    }

    /// A revocation list that names `revoked`.
    pub(crate) fn crl(&self, revoked: &[&Identity], valid: Days) -> String {
        let revoked_certs = revoked
            .iter()
            .map(|identity| RevokedCertParams {
                serial_number: SerialNumber::from(identity.serial),
                revocation_time: from_now(-1).into(),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
            .collect();
        CertificateRevocationListParams {
            this_update: from_now(valid.0).into(),
            next_update: from_now(valid.1).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }

    pub(crate) fn write(&self, dir: &Path, stem: &str) -> PathBuf {
        write(&dir.join(format!("{stem}.crt")), &self.pem(), 0o644)
    }
}

/// What a server's or client's certificate is to say.
#[derive(Clone)]
pub(crate) struct Leaf {
    common_name: String,
    names: Vec<String>,
    valid: Days,
    is_ca: bool,
    purposes: &'static [ExtendedKeyUsagePurpose],
    algorithm: &'static rcgen::SignatureAlgorithm,
}

impl Leaf {
    /// Good for these DNS names and addresses; the first is the common name too.
    pub(crate) fn named(names: &[&str]) -> Self {
        Self {
            common_name: names.first().copied().unwrap_or_default().to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            valid: Days::VALID,
            is_ca: false,
            purposes: &[
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }

    /// No subjectAltName at all.
    pub(crate) fn common_name_only(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            ..Self::named(&[])
        }
    }

    pub(crate) fn expired(self) -> Self {
        Self {
            valid: Days(-10, -3),
            ..self
        }
    }

    pub(crate) fn not_yet_valid(self) -> Self {
        Self {
            valid: Days(2, 30),
            ..self
        }
    }

    /// CA:TRUE in a server's own certificate, what `openssl req -x509` makes.
    pub(crate) fn marked_as_ca(self) -> Self {
        Self {
            is_ca: true,
            ..self
        }
    }

    /// An extended key usage without server authentication.
    pub(crate) fn for_clients_only(self) -> Self {
        Self {
            purposes: &[ExtendedKeyUsagePurpose::ClientAuth],
            ..self
        }
    }

    pub(crate) fn key_type(self, algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub(crate) fn self_signed(&self) -> Identity {
        let key = self.key();
        let (params, serial) = self.params();
        let certificate = params.self_signed(&key).unwrap();
        let own = Link {
            pem: certificate.pem(),
            der: certificate.der().clone(),
        };
        Identity {
            chain: vec![own],
            key,
            serial,
        }
    }

    fn key(&self) -> KeyPair {
        KeyPair::generate_for(self.algorithm).unwrap()
    }

    fn params(&self) -> (CertificateParams, u64) {
        static SERIAL: AtomicU64 = AtomicU64::new(1000);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        name(&mut params, &self.common_name);
        within(&mut params, self.valid);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        } else {
            params.extended_key_usages = self.purposes.to_vec();
        }
        (params, serial)
    }
}

/// A certificate with its chain and key.
pub(crate) struct Identity {
    chain: Vec<Link>,
    key: KeyPair,
    serial: u64,
}

/// Where an [`Identity`] was written.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// Its own certificate first, as servers show it; the root is left out.
    pub(crate) fn chain_pem(&self) -> String {
        self.chain.iter().map(|link| link.pem.as_str()).collect()
    }

    pub(crate) fn chain_der(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().map(|link| link.der.clone()).collect()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// `STEM.crt` and `STEM.key`; the key readable by its owner alone, as
    /// Postgres demands.
    pub(crate) fn write(&self, dir: &Path, stem: &str) -> Files {
        Files {
            cert: write(&dir.join(format!("{stem}.crt")), &self.chain_pem(), 0o644),
            key: write(&dir.join(format!("{stem}.key")), &self.key_pem(), 0o600),
        }
    }
}

/// Writes a new file with these permission bits.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> PathBuf {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
    path.to_owned()
}

fn ca_params(common_name: &str, valid: Days) -> CertificateParams {
    let mut params = CertificateParams::default();
    name(&mut params, common_name);
    within(&mut params, valid);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(params: &mut CertificateParams, common_name: &str) {
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
}

fn within(params: &mut CertificateParams, valid: Days) {
    params.not_before = from_now(valid.0).into();
    params.not_after = from_now(valid.1).into();
}
