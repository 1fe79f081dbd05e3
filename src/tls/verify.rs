//! Verification of the server's certificate, with the reason when it fails.
//!
//! Trust is decided by webpki and by nothing here, with two exceptions that are
//! spelled out below: `verify-ca` forgives a wrong name, and an anchor that is
//! out of date, which webpki does not look at, is refused as OpenSSL would. The rest only
//! finds words for a refusal. Invariant: no path turns an error into an
//! acceptance other than `forgives`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::Facts;
use super::diagnose::{Shown, Trusted, is_wrong_name, outdated_ca, seconds};
use super::fault::TlsFault;
use super::files::SetupError;
use super::shown::Recorder;

/// What is asked of a server's chain.
#[derive(Debug)]
pub(super) struct Chain {
    webpki: Arc<WebPkiServerVerifier>,
    check_name: bool,
    trusted: Trusted,
    provider: Arc<CryptoProvider>,
}

/// The CAs an upstream's chain may end at.
pub(super) struct Trust {
    pub(super) anchors: RootCertStore,
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Where they were read from, for messages.
    pub(super) place: String,
    pub(super) crl: Option<RevocationLists>,
}

/// What `sslcrl` holds.
pub(super) struct RevocationLists {
    pub(super) path: PathBuf,
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
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
        let mut crl_path = PathBuf::new();
        if let Some(crl) = trust.crl {
            // A list that is out of date, or that is by another CA, proves
            // nothing: both refuse, as they do with libpq. Only the server's own
            // certificate is looked up, for the lists of CAs above it are rarely at hand.
            builder = builder
                .with_crls(crl.lists)
                .only_check_end_entity_revocation()
                .enforce_revocation_expiration();
            crl_path = crl.path;
        }
        let webpki = builder.build().map_err(|error| match error {
            VerifierBuilderError::InvalidCrl(_) => SetupError::BadFile {
                key: "sslcrl",
                path: crl_path.display().to_string(),
                reason: "it holds no revocation list of a supported kind".to_owned(),
            },
            _ => SetupError::NoRoots,
        })?;
        let anchors = trust
            .certificates
            .into_iter()
            .filter_map(|der| Some((Facts::read(&der)?, der)))
            .collect();
        Ok(Self {
            webpki,
            check_name,
            trusted: Trusted {
                anchors,
                place: trust.place,
            },
            provider: Arc::clone(provider),
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
            Err(error) if !self.forgives(&error) => Err(self.trusted.explain(&error, shown, name)),
            _ => self.refuse_outdated_anchor(shown, name),
        }
    }

    /// webpki compares the name last, when the chain is known to be good.
    fn forgives(&self, error: &Error) -> bool {
        !self.check_name && is_wrong_name(error)
    }

    /// Anchors have no validity in webpki, and OpenSSL gives them one. When the
    /// chain names an anchor that is out of date, it is verified once more
    /// without such anchors: another one may bear it, as after a CA's renewal.
    fn refuse_outdated_anchor(
        &self,
        shown: &Shown<'_>,
        name: &ServerName<'_>,
    ) -> Result<(), TlsFault> {
        let now = seconds(shown.now);
        let chain = shown.facts();
        let outdated = |anchor: &Facts| !(anchor.not_before..=anchor.not_after).contains(&now);
        let named = |anchor: &Facts| {
            chain
                .iter()
                .any(|facts| facts.raw_issuer == anchor.raw_subject)
        };
        let suspect = self
            .trusted
            .anchors
            .iter()
            .map(|(facts, _)| facts)
            .find(|a| outdated(a) && named(a));
        let Some(suspect) = suspect else {
            return Ok(());
        };
        let mut valid = RootCertStore::empty();
        let in_date = self
            .trusted
            .anchors
            .iter()
            .filter(|(facts, _)| !outdated(facts));
        valid.add_parsable_certificates(in_date.map(|(_, der)| der.clone()));
        let again = WebPkiServerVerifier::builder_with_provider(
            Arc::new(valid),
            Arc::clone(&self.provider),
        );
        let verdict = again.build().ok().map(|webpki| {
            webpki.verify_server_cert(shown.server, shown.others, name, &[], shown.now)
        });
        match verdict {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) if self.forgives(&error) => Ok(()),
            _ => Err(outdated_ca(suspect, now)),
        }
    }
}

/// rustls' view of it: a chain to verify, or none with `sslmode = "require"`.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    chain: Option<Chain>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Keeps what the server showed, be it good or not.
    recorder: Option<Recorder>,
}

impl ServerVerifier {
    pub(super) fn new(chain: Option<Chain>, provider: &CryptoProvider) -> Self {
        Self {
            chain,
            algorithms: provider.signature_verification_algorithms,
            recorder: None,
        }
    }

    pub(super) fn recording(mut self, recorder: Option<Recorder>) -> Self {
        self.recorder = recorder;
        self
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
        if let Some(recorder) = &self.recorder {
            recorder.note(end_entity, intermediates);
        }
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
