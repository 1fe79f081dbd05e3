//! The certificates of a throwaway server: a CA of its own, and what it issues.
//!
//! Made anew for every cluster, so that nothing trusts them afterwards and
//! nothing has to be kept secret.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

/// A server's certificate with its key, and the CA that clients verify it with; all PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    /// A new CA, and a certificate from it for `host_name`.
    pub(crate) fn generate(host_name: &str) -> Result<Self, rcgen::Error> {
        Authority::generate("pgsluice throwaway CA")?.issue(server_certificate(host_name)?)
    }
}

/// A certificate authority.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn generate(common_name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Signs `params` for a new key, with SHA-256: channel binding hashes the
    /// certificate with the digest of its signature, and every client has that one.
    pub(crate) fn issue(&self, params: CertificateParams) -> Result<Identity, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            ca: self.pem.clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// What a well-made server certificate for `host_name` says.
pub(crate) fn server_certificate(host_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![host_name.to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, host_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}
