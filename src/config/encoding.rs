//! What is in a certificate or key file, whatever its form: PEM, PEM with a byte
//! order mark or in UTF-16, PEM in base64, DER; and what to do about a file that
//! holds something else. No text of a file is repeated, a key might be in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::problem::Invalid;

/// A file's text or bytes, in a form that the TLS library reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// With the blocks of a PEM text, if there are any.
    Pem(Vec<u8>),
    Der(Vec<u8>),
}

/// What a file is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Those whom to trust.
    Authority,
    /// What one shows for oneself.
    Certificate,
    PrivateKey,
    RevocationList,
}

/// PEM in base64 begins so, whatever comes behind `-----BEGIN `.
const PEM_IN_BASE64: &str = "LS0tLS1CRUdJTi";

/// And DER of more than 127 bytes so.
const DER_IN_BASE64: &[u8] = b"MI";

impl Encoded {
    /// Undoes what may be wrapped around PEM or DER.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => rest.to_vec(),
            None => of_utf16(&bytes).unwrap_or(bytes),
        };
        if bytes.first() == Some(&0x30) {
            return Self::Der(bytes);
        }
        let text = bytes.trim_ascii_start();
        if text.starts_with(PEM_IN_BASE64.as_bytes()) || text.starts_with(DER_IN_BASE64) {
            let joined: Vec<u8> = text.iter().copied().filter(u8::is_ascii_graphic).collect();
            match BASE64.decode(joined) {
                Ok(der) if der.first() == Some(&0x30) => return Self::Der(der),
                Ok(pem) => return Self::Pem(pem),
                Err(_) => {}
            }
        }
        Self::Pem(bytes)
    }

    /// Certificates that stand where a path could, as platforms hand them to
    /// containers: with line feeds spelled out, or all in one line, too.
    pub(crate) fn of_value(text: &str) -> Self {
        let text = text.trim().replace("\\n", "\n");
        match Self::of(text.into_bytes()) {
            Self::Pem(pem) => {
                let lines = String::from_utf8_lossy(&pem)
                    .replace("-----BEGIN ", "\n-----BEGIN ")
                    .replace("-----END ", "\n-----END ");
                let lines = lines.lines().map(broken_after_label);
                Self::Pem(lines.collect::<Vec<_>>().join("\n").into_bytes())
            }
            der @ Self::Der(_) => der,
        }
    }

    /// Whether a path's text is no path but what the file would hold.
    pub(super) fn is_value(text: &str) -> bool {
        let text = text.trim_start();
        text.starts_with("-----BEGIN") || text.starts_with(PEM_IN_BASE64)
    }

    /// Whether what is wanted seems to be there, else what is.
    pub(super) fn check(&self, wanted: Wanted) -> Result<(), Invalid> {
        match self {
            Self::Der(bytes) => check_der(bytes, wanted),
            Self::Pem(text) => check_pem(&String::from_utf8_lossy(text), wanted),
        }
    }

    pub(super) fn has_key(&self) -> bool {
        match self {
            Self::Der(bytes) => kind_of_der(bytes) == Kind::PrivateKey,
            Self::Pem(text) => kinds(&String::from_utf8_lossy(text))
                .iter()
                .any(|kind| matches!(kind, Kind::PrivateKey | Kind::LockedKey | Kind::SshKey)),
        }
    }
}

/// Two bytes a character, as Windows redirects output.
fn of_utf16(bytes: &[u8]) -> Option<Vec<u8>> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let units: Vec<u16> = bytes[2..]
        .chunks_exact(2)
        .map(|pair| unit([pair[0], pair[1]]))
        .collect();
    Some(String::from_utf16_lossy(&units).into_bytes())
}

/// The base64 of a block in the line of its label goes to a line of its own.
fn broken_after_label(line: &str) -> String {
    for mark in ["-----BEGIN ", "-----END "] {
        if let Some(rest) = line.strip_prefix(mark)
            && let Some((label, rest)) = rest.split_once("-----")
        {
            return format!("{mark}{label}-----\n{}", rest.trim());
        }
    }
    // Blanks where line feeds were.
    line.trim().replace(' ', "\n")
}

/// What a block, or a whole file, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certificate,
    TrustedCertificate,
    Request,
    PrivateKey,
    LockedKey,
    SshKey,
    PublicKey,
    RevocationList,
    Pkcs7,
    Pkcs12,
    Other,
}

fn kinds(text: &str) -> Vec<Kind> {
    let labels = text.lines().filter_map(|line| {
        let label = line.trim_start().strip_prefix("-----BEGIN ")?;
        label.trim_end().strip_suffix("-----")
    });
    let kinds = labels.map(|label| match label {
        "CERTIFICATE" => Kind::Certificate,
        "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => Kind::TrustedCertificate,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Kind::Request,
        "ENCRYPTED PRIVATE KEY" => Kind::LockedKey,
        "OPENSSH PRIVATE KEY" => Kind::SshKey,
        "X509 CRL" => Kind::RevocationList,
        "PKCS7" | "CMS" => Kind::Pkcs7,
        label if label.ends_with("PRIVATE KEY") => Kind::PrivateKey,
        label if label.ends_with("PUBLIC KEY") => Kind::PublicKey,
        _ => Kind::Other,
    });
    let locked = text.contains("Proc-Type: 4,ENCRYPTED");
    kinds
        .map(|kind| match kind {
            Kind::PrivateKey if locked => Kind::LockedKey,
            kind => kind,
        })
        .collect()
}

/// By the first element inside the outermost sequence.
fn kind_of_der(bytes: &[u8]) -> Kind {
    let header = match bytes.get(1) {
        Some(length) if length & 0x80 != 0 => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    match bytes.get(header..).unwrap_or_default() {
        [0x02, 0x01, 0x03, ..] => Kind::Pkcs12,
        [0x02, ..] => Kind::PrivateKey,
        [0x06, ..] => Kind::Pkcs7,
        // A revocation list looks the same so far; the TLS library tells them apart.
        [0x30, ..] => Kind::Certificate,
        _ => Kind::Other,
    }
}

fn check_der(bytes: &[u8], wanted: Wanted) -> Result<(), Invalid> {
    let kind = kind_of_der(bytes);
    match (wanted, kind) {
        (Wanted::PrivateKey, Kind::PrivateKey)
        | (Wanted::Authority | Wanted::Certificate | Wanted::RevocationList, Kind::Certificate) => {
            Ok(())
        }
        _ => Err(instead(wanted, kind)),
    }
}

fn check_pem(text: &str, wanted: Wanted) -> Result<(), Invalid> {
    let kinds = kinds(text);
    let right = match wanted {
        Wanted::Authority | Wanted::Certificate => Kind::Certificate,
        Wanted::PrivateKey => Kind::PrivateKey,
        Wanted::RevocationList => Kind::RevocationList,
    };
    if kinds.contains(&right) {
        return Ok(());
    }
    if let Some(first) = kinds.first() {
        return Err(instead(wanted, *first));
    }
    let start = text.trim_start().to_ascii_lowercase();
    Err(if start.is_empty() {
        Invalid::new("is empty", fetch(wanted))
    } else if start.starts_with("<!doctype") || start.starts_with("<html") {
        let fix = format!(
            "it is what a download without a login gets; {}",
            fetch(wanted)
        );
        Invalid::new("holds a web page", fix)
    } else {
        instead(wanted, Kind::Other)
    })
}

const fn fetch(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Authority => {
            "give the CA's certificate; that of a managed cluster is in its control panel"
        }
        Wanted::Certificate => "give the certificate, in PEM or DER form",
        Wanted::PrivateKey => "give the private key of the certificate, in PEM or DER form",
        Wanted::RevocationList => "give the revocation list that the CA publishes, in PEM form",
    }
}

const PLAIN_KEY: &str = "`openssl pkey -in FILE -out PLAIN` takes the passphrase off; give PLAIN, \
                         readable to this user alone";

/// What to say of a file that holds something else.
fn instead(wanted: Wanted, kind: Kind) -> Invalid {
    let name = match wanted {
        Wanted::Authority | Wanted::Certificate => "certificate",
        Wanted::PrivateKey => "private key",
        Wanted::RevocationList => "revocation list",
    };
    let holds = |what: &str, fix: &str| Invalid::new(format!("holds {what}, and no {name}"), fix);
    match (wanted, kind) {
        (Wanted::Authority, Kind::PrivateKey | Kind::LockedKey | Kind::SshKey) => holds(
            "a private key",
            "give the CA's certificate; nobody's private key is needed to verify a peer",
        ),
        (Wanted::Certificate, Kind::PrivateKey | Kind::LockedKey | Kind::SshKey) => holds(
            "a private key",
            "give the certificate here, and the key under the key beside this one",
        ),
        (Wanted::PrivateKey, Kind::Certificate | Kind::TrustedCertificate) => holds(
            "a certificate",
            "give its private key here, and the certificate under the key beside this one",
        ),
        (Wanted::PrivateKey, Kind::LockedKey) => {
            Invalid::new("holds a private key with a passphrase", PLAIN_KEY)
        }
        (Wanted::RevocationList, Kind::Certificate) => holds("a certificate", fetch(wanted)),
        (_, Kind::SshKey) => holds("an OpenSSH key, which TLS does not use", fetch(wanted)),
        (_, Kind::Request) => holds(
            "a request for a certificate",
            "give the certificate that the CA made of it",
        ),
        (_, Kind::PublicKey) => holds("a public key", fetch(wanted)),
        (_, Kind::TrustedCertificate) => holds(
            "a certificate in OpenSSL's own form",
            "`openssl x509 -in FILE -out PLAIN` makes a plain one",
        ),
        (_, Kind::Pkcs7) => holds(
            "a PKCS#7 bundle",
            "`openssl pkcs7 -print_certs -in FILE -out PEM` (with -inform der, if it is binary) \
             takes the certificates out",
        ),
        (Wanted::PrivateKey, Kind::Pkcs12) => holds(
            "a PKCS#12 bundle",
            "`openssl pkcs12 -in FILE -nocerts -nodes -out KEY` takes the key out",
        ),
        (_, Kind::Pkcs12) => holds(
            "a PKCS#12 bundle",
            "`openssl pkcs12 -in FILE -nokeys -out PEM` takes the certificates out",
        ),
        _ => Invalid::new(format!("holds no {name}"), fetch(wanted)),
    }
}
