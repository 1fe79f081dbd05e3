//! What an established stream can say about itself: the channel binding that
//! ties a SCRAM login to it, and a description for logs.
//!
//! Not a policy: whether binding is required is for the login to decide.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use tokio_rustls::client::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{self as oids, Oid, asn1_rs::oid};
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::AlgorithmIdentifier;

use super::certificate::Facts;

/// `tls-server-end-point` (RFC 5929) of a certificate: its hash, by the hash
/// algorithm of its own signature, with SHA-256 in place of MD5 and SHA-1.
///
/// `None` for signatures that name no hash (Ed25519, Ed448): Postgres cannot
/// bind to such certificates either, and the login goes on without binding.
pub(crate) fn tls_server_end_point(cert_der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(cert_der).ok()?;
    Some(match signature_hash(&certificate.signature_algorithm)? {
        Hash::Sha224 => Sha224::digest(cert_der).to_vec(),
        Hash::Sha256 => Sha256::digest(cert_der).to_vec(),
        Hash::Sha384 => Sha384::digest(cert_der).to_vec(),
        Hash::Sha512 => Sha512::digest(cert_der).to_vec(),
    })
}

/// The binding data of a connection to an upstream.
pub(crate) fn peer_binding<S>(stream: &TlsStream<S>) -> Option<Vec<u8>> {
    let own = stream.get_ref().1.peer_certificates()?.first()?;
    tls_server_end_point(own)
}

#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

fn signature_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    let name = &algorithm.algorithm;
    if *name == oids::OID_PKCS1_RSASSAPSS {
        let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
        return digest_hash(parameters.hash_algorithm_oid());
    }
    let is_one_of = |names: &[Oid<'_>]| names.contains(name);
    if is_one_of(&[
        oids::OID_PKCS1_MD5WITHRSAENC,
        oids::OID_PKCS1_SHA1WITHRSA,
        oids::OID_PKCS1_SHA256WITHRSA,
        oid!(1.2.840.10045.4.1), // ecdsa-with-SHA1
        oids::OID_SIG_ECDSA_WITH_SHA256,
        oid!(1.2.840.10040.4.3),      // dsa-with-sha1
        oid!(2.16.840.1.101.3.4.3.2), // dsa-with-sha256
    ]) {
        Some(Hash::Sha256)
    } else if is_one_of(&[
        oids::OID_PKCS1_SHA384WITHRSA,
        oids::OID_SIG_ECDSA_WITH_SHA384,
    ]) {
        Some(Hash::Sha384)
    } else if is_one_of(&[
        oids::OID_PKCS1_SHA512WITHRSA,
        oids::OID_SIG_ECDSA_WITH_SHA512,
    ]) {
        Some(Hash::Sha512)
    } else if is_one_of(&[
        oids::OID_PKCS1_SHA224WITHRSA,
        oids::OID_SIG_ECDSA_WITH_SHA224,
    ]) {
        Some(Hash::Sha224)
    } else {
        None
    }
}

fn digest_hash(name: &Oid<'_>) -> Option<Hash> {
    // id-md5, id-sha1, and the SHA-2 family of NIST.
    if *name == oid!(1.2.840.113549.2.5)
        || *name == oids::OID_HASH_SHA1
        || *name == oids::OID_NIST_HASH_SHA256
    {
        Some(Hash::Sha256)
    } else if *name == oids::OID_NIST_HASH_SHA384 {
        Some(Hash::Sha384)
    } else if *name == oids::OID_NIST_HASH_SHA512 {
        Some(Hash::Sha512)
    } else if *name == oid!(2.16.840.1.101.3.4.2.4) {
        Some(Hash::Sha224)
    } else {
        None
    }
}

/// An established upstream connection in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// As Postgres names it in `pg_stat_ssl`: `TLSv1.3`.
    pub(crate) version: &'static str,
    /// IANA's name, which is Postgres' too for TLS 1.3: `TLS_AES_256_GCM_SHA384`.
    pub(crate) cipher: String,
    /// The server confirmed `postgresql` by ALPN (Postgres 17 and newer).
    pub(crate) alpn: bool,
    pub(crate) subject: String,
    /// DNS names and addresses the certificate is valid for.
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    /// End of the certificate's validity in unix seconds.
    pub(crate) not_after: i64,
    /// The server asked for another key share first: one round trip lost.
    pub(crate) retried: bool,
}

/// The version of TLS that was agreed on, as Postgres names it.
pub(super) fn version_name<Data>(session: &rustls::ConnectionCommon<Data>) -> &'static str {
    match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "unknown",
    }
}

/// What was agreed on, and with whom. `None` only before the handshake is done.
pub(crate) fn describe<S>(stream: &TlsStream<S>) -> Option<Description> {
    let session = stream.get_ref().1;
    let facts = Facts::read(session.peer_certificates()?.first()?)?;
    let suite = format!("{:?}", session.negotiated_cipher_suite()?.suite());
    Some(Description {
        version: version_name(session),
        // rustls marks the suites of TLS 1.3 by a prefix of its own.
        cipher: suite.replacen("TLS13_", "TLS_", 1),
        alpn: session.alpn_protocol() == Some(super::provider::ALPN),
        subject: facts.subject,
        names: facts.names,
        issuer: facts.issuer,
        not_after: facts.not_after,
        retried: session.handshake_kind() == Some(rustls::HandshakeKind::FullWithHelloRetryRequest),
    })
}
