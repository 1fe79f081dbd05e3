//! What a certificate says about itself, made readable.
//!
//! Not a verifier: whether a certificate is trusted is decided by webpki alone,
//! this only finds the words. The text comes from a peer that nobody vouches
//! for, so every string made here is one line, printable and bounded.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{ASN1Time, FromDer};
use x509_parser::x509::X509Name;

/// Longest text taken over from a certificate, in characters.
const LONGEST_TEXT: usize = 200;
/// Most names taken over from one certificate.
const MOST_NAMES: usize = 12;

/// The parts of a certificate that errors and logs speak of.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) subject: String,
    pub(super) issuer: String,
    /// DER of the names: equality of names is equality of these.
    pub(super) raw_subject: Vec<u8>,
    pub(super) raw_issuer: Vec<u8>,
    /// DNS names and addresses of the subjectAltName extension.
    pub(super) names: Vec<String>,
    pub(super) common_name: Option<String>,
    /// Unix seconds.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// SHA-256 of the DER, as `openssl x509 -fingerprint -sha256` writes it.
    pub(super) fingerprint: String,
    key_ids_differ: bool,
}

impl Facts {
    /// `None` when the bytes are not a certificate.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            raw_subject: certificate.subject().as_raw().to_vec(),
            raw_issuer: certificate.issuer().as_raw().to_vec(),
            names: alternative_names(&certificate),
            common_name: only_common_name(&certificate).map(|name| printable(&name)),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            fingerprint: fingerprint(der),
            key_ids_differ: key_ids_differ(&certificate),
        })
    }

    /// Whether the certificate names itself as its issuer. Home-made CAs are
    /// often given the name of their server; differing key ids tell those apart.
    pub(super) fn is_self_signed(&self) -> bool {
        self.raw_subject == self.raw_issuer && !self.key_ids_differ
    }

    /// How messages call the certificate.
    pub(super) fn title(&self) -> String {
        if self.subject.is_empty() {
            format!("SHA-256 {}", self.fingerprint)
        } else {
            self.subject.clone()
        }
    }
}

/// The common name as Postgres' `cert` method reads it: exactly one, and
/// without a NUL that would cut it short for another reader.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    only_common_name(&certificate)
}

fn only_common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return None;
    };
    let text = name.as_str().ok()?;
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let mut names: Vec<_> = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(text) => Some(printable(text)),
            GeneralName::IPAddress(octets) => address(octets),
            _ => None,
        })
        .collect();
    if names.len() > MOST_NAMES {
        let left_out = names.len() - MOST_NAMES;
        names.truncate(MOST_NAMES);
        names.push(format!("and {left_out} more"));
    }
    names
}

fn address(octets: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(octets)
        .ok()
        .map(|v6| Ipv6Addr::from(v6).to_string())
}

fn key_ids_differ(certificate: &X509Certificate<'_>) -> bool {
    let mut own = None;
    let mut issuers = None;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => own = Some(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                issuers = id.key_identifier.as_ref().map(|id| id.0);
            }
            _ => {}
        }
    }
    matches!((own, issuers), (Some(own), Some(issuers)) if own != issuers)
}

fn distinguished_name(name: &X509Name<'_>) -> String {
    printable(&name.to_string())
}

fn fingerprint(der: &[u8]) -> String {
    let octets: Vec<_> = Sha256::digest(der)
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    octets.join(":")
}

/// One line that cannot steer a terminal or forge a log line.
pub(super) fn printable(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(LONGEST_TEXT)
        .map(|c| {
            if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect();
    if text.chars().nth(LONGEST_TEXT).is_some() {
        line.push('…');
    }
    line
}

/// Unix seconds as `2026-11-22T17:48:00Z`.
pub(super) fn rfc3339(seconds: i64) -> String {
    let Ok(time) = ASN1Time::from_timestamp(seconds) else {
        return format!("@{seconds}");
    };
    let time = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// A span in the largest unit that fits: `3 days`.
pub(super) fn span(seconds: i64) -> String {
    let (count, unit) = match seconds.max(0) {
        s if s >= 2 * 86_400 => (s / 86_400, "days"),
        s if s >= 2 * 3_600 => (s / 3_600, "hours"),
        s if s >= 120 => (s / 60, "minutes"),
        s => (s, "seconds"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_text_is_one_bounded_printable_line() {
        assert_eq!(printable("a\nb\x1b[31m\u{202e}é"), "a?b?[31m?é");
        let long = printable(&"x".repeat(1000));
        assert_eq!(long.chars().count(), LONGEST_TEXT + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn times_and_spans_read_well() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_795_369_680), "2026-11-22T17:48:00Z");
        assert_eq!(rfc3339(i64::MAX), format!("@{}", i64::MAX));
        assert_eq!(span(90), "90 seconds");
        assert_eq!(span(7_199), "119 minutes");
        assert_eq!(span(7_200), "2 hours");
        assert_eq!(span(3 * 86_400 + 5), "3 days");
        assert_eq!(span(-5), "0 seconds");
    }

    #[test]
    fn what_is_not_a_certificate_has_no_facts() {
        assert!(Facts::read(b"").is_none());
        assert!(Facts::read(&[0x30, 0x82, 0xff, 0xff, 0x30]).is_none());
    }
}
