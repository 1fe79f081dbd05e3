//! ClientHellos of our own, to find out what a server accepts: rustls speaks neither the old
//! versions nor the weak ciphers that have to be refused.
//!
//! No handshake is ever completed here. A server says what it chose in its ServerHello, which
//! is all that is read; nothing of a session goes over such a connection.

use std::io;

use rand::random;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::connect::ask_for_tls;
use super::fault::TlsFault;
use super::provider::ALPN;
use crate::config::values::Negotiation;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OfferedVersion {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl OfferedVersion {
    pub(crate) const ALL: [Self; 4] = [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];

    /// As Postgres names it in `ssl_min_protocol_version`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tls10 => "TLSv1",
            Self::Tls11 => "TLSv1.1",
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }

    /// Whether a server has to refuse it (RFC 8996).
    pub(crate) const fn is_outdated(self) -> bool {
        matches!(self, Self::Tls10 | Self::Tls11)
    }

    const fn code(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }

    fn of_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.code() == code)
    }

    /// Those worth asking for with this version.
    pub(crate) fn ciphers(self) -> impl Iterator<Item = &'static Cipher> {
        let is_13 = self == Self::Tls13;
        let is_old = self.is_outdated();
        CIPHERS
            .iter()
            .filter(move |cipher| (cipher.code >> 8 == 0x13) == is_13)
            .filter(move |cipher| !is_old || !cipher.is_new())
    }
}

/// How good a cipher suite is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// Forward secrecy, and encryption that authenticates.
    Strong,
    /// One of the two is missing.
    Weak,
    /// No encryption, no proof of who it is, or one that is broken.
    Broken,
}

/// A cipher suite by IANA's number and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cipher {
    pub(crate) code: u16,
    pub(crate) name: &'static str,
    pub(crate) grade: Grade,
}

impl Cipher {
    /// Of TLS 1.2: hashes with SHA-2.
    fn is_new(self) -> bool {
        self.name.ends_with("SHA256") || self.name.ends_with("SHA384")
    }
}

const fn strong(code: u16, name: &'static str) -> Cipher {
    let grade = Grade::Strong;
    Cipher { code, name, grade }
}

const fn weak(code: u16, name: &'static str) -> Cipher {
    let grade = Grade::Weak;
    Cipher { code, name, grade }
}

const fn broken(code: u16, name: &'static str) -> Cipher {
    let grade = Grade::Broken;
    Cipher { code, name, grade }
}

/// What servers are asked for. Rare ones (Camellia, ARIA, CCM, pre-shared keys) are left out.
const CIPHERS: [Cipher; 46] = [
    strong(0x1301, "TLS_AES_128_GCM_SHA256"),
    strong(0x1302, "TLS_AES_256_GCM_SHA384"),
    strong(0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    strong(0x1304, "TLS_AES_128_CCM_SHA256"),
    strong(0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    strong(0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    strong(0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    strong(0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    strong(0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    strong(0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    strong(0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    strong(0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    strong(0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    weak(0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    weak(0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    weak(0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    weak(0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    weak(0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    weak(0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    weak(0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    weak(0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    weak(0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    weak(0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    weak(0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    weak(0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    weak(0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    weak(0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    weak(0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    weak(0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    weak(0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    weak(0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    broken(0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    broken(0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    broken(0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    broken(0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    broken(0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    broken(0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    broken(0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    broken(0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
    broken(0xc010, "TLS_ECDHE_RSA_WITH_NULL_SHA"),
    broken(0xc006, "TLS_ECDHE_ECDSA_WITH_NULL_SHA"),
    broken(0x003b, "TLS_RSA_WITH_NULL_SHA256"),
    broken(0x0002, "TLS_RSA_WITH_NULL_SHA"),
    broken(0xc018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA"),
    broken(0x006d, "TLS_DH_anon_WITH_AES_256_CBC_SHA256"),
    broken(0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA"),
];

/// What a server made of a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Chose {
        version: OfferedVersion,
        /// IANA's number.
        cipher: u16,
    },
    /// By an alert with this number, or by closing.
    Refused(Option<u8>),
    /// Something that is no answer to a ClientHello.
    Unclear,
}

/// One ClientHello: a version, and the ciphers that may go with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello<'a> {
    pub(crate) version: OfferedVersion,
    pub(crate) ciphers: &'a [&'a Cipher],
    /// Sent as SNI if it is a name.
    pub(crate) server_name: &'a str,
}

/// Longest record that TLS allows, with some room.
const MAX_RECORD: usize = 18 << 10;

impl Hello<'_> {
    /// Sends it over a fresh socket, and reads what the server chooses. The caller bounds
    /// the time.
    ///
    /// # Errors
    /// The server does not come to TLS at all.
    pub(crate) async fn offer<S>(
        &self,
        socket: &mut S,
        negotiation: Negotiation,
    ) -> Result<Answer, TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if negotiation == Negotiation::Postgres {
            ask_for_tls(socket).await?;
        }
        Ok(self.exchange(socket).await.unwrap_or(Answer::Refused(None)))
    }

    async fn exchange<S>(&self, socket: &mut S) -> io::Result<Answer>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        socket.write_all(&self.record()).await?;
        socket.flush().await?;
        let mut header = [0; 5];
        socket.read_exact(&mut header).await?;
        let [kind, _, _, high, low] = header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MAX_RECORD {
            return Ok(Answer::Unclear);
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await?;
        Ok(read_answer(kind, &body))
    }

    fn record(&self) -> Vec<u8> {
        let mut hello = Vec::with_capacity(256);
        let legacy = self.version.min(OfferedVersion::Tls12).code();
        hello.extend(legacy.to_be_bytes());
        hello.extend(random::<[u8; 32]>());
        // A session id as TLS 1.3 sends it to please what stands in between.
        put_short(&mut hello, &random::<[u8; 32]>());
        let codes = self
            .ciphers
            .iter()
            .flat_map(|cipher| cipher.code.to_be_bytes());
        put_long(&mut hello, &codes.collect::<Vec<_>>());
        put_short(&mut hello, &[0]);
        put_long(&mut hello, &self.extensions());
        let mut handshake = vec![1, 0];
        put_long(&mut handshake, &hello);
        let mut record = vec![0x16, 3, 1];
        put_long(&mut record, &handshake);
        record
    }

    fn extensions(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut put = |kind: u16, body: &[u8]| {
            all.extend(kind.to_be_bytes());
            put_long(&mut all, body);
        };
        let is_name = self.server_name.parse::<std::net::IpAddr>().is_err();
        if is_name {
            let mut entry = vec![0];
            put_long(
                &mut entry,
                self.server_name.trim_end_matches('.').as_bytes(),
            );
            let mut list = Vec::new();
            put_long(&mut list, &entry);
            put(0, &list);
        }
        // x25519, P-256, P-384, P-521, ffdhe2048.
        put(10, &list_of(&[0x001d, 0x0017, 0x0018, 0x0019, 0x0100]));
        put(11, &[1, 0]);
        // No renegotiation; some old servers want to hear it.
        put(0xff01, &[0]);
        let mut protocol = Vec::new();
        put_short(&mut protocol, ALPN);
        let mut list = Vec::new();
        put_long(&mut list, &protocol);
        put(16, &list);
        if self.version >= OfferedVersion::Tls12 {
            // ECDSA, RSA-PSS and RSA with SHA-2, Ed25519, and SHA-1 for who has nothing else.
            let schemes = [
                0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401,
                0x0501, 0x0601, 0x0807, 0x0203, 0x0201,
            ];
            put(13, &list_of(&schemes));
        }
        if self.version == OfferedVersion::Tls13 {
            put(43, &[2, 3, 4]);
            // No share: the server asks for one, and names the cipher as it does.
            put(51, &[0, 0]);
        }
        all
    }
}

/// A list of numbers behind its length in bytes.
fn list_of(codes: &[u16]) -> Vec<u8> {
    let bytes: Vec<_> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
    let mut list = Vec::new();
    put_long(&mut list, &bytes);
    list
}

fn put_short(out: &mut Vec<u8>, body: &[u8]) {
    out.push(u8::try_from(body.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(body);
}

fn put_long(out: &mut Vec<u8>, body: &[u8]) {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(body);
}

fn read_answer(kind: u8, body: &[u8]) -> Answer {
    match (kind, body) {
        (0x15, [_, alert, ..]) => Answer::Refused(Some(*alert)),
        (0x16, [2, _, _, _, hello @ ..]) => server_hello(hello).unwrap_or(Answer::Unclear),
        _ => Answer::Unclear,
    }
}

fn server_hello(hello: &[u8]) -> Option<Answer> {
    let (legacy, rest) = hello.split_first_chunk::<2>()?;
    let rest = rest.get(32..)?;
    let (id_length, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(*id_length)..)?;
    let (cipher, rest) = rest.split_first_chunk::<2>()?;
    let extensions = rest.get(3..).unwrap_or_default();
    let version = selected_version(extensions);
    let version = version.unwrap_or_else(|| u16::from_be_bytes(*legacy));
    Some(Answer::Chose {
        version: OfferedVersion::of_code(version)?,
        cipher: u16::from_be_bytes(*cipher),
    })
}

/// The version of TLS 1.3 stands in an extension.
fn selected_version(mut extensions: &[u8]) -> Option<u16> {
    loop {
        let (head, rest) = extensions.split_first_chunk::<4>()?;
        let [kind_high, kind_low, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let body = rest.get(..length)?;
        if u16::from_be_bytes([kind_high, kind_low]) == 43 {
            return body
                .first_chunk::<2>()
                .map(|code| u16::from_be_bytes(*code));
        }
        extensions = rest.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello_with(version: OfferedVersion) -> Vec<u8> {
        let ciphers: Vec<_> = version.ciphers().collect();
        let server_name = "db.internal";
        let ciphers = &ciphers[..];
        Hello {
            version,
            ciphers,
            server_name,
        }
        .record()
    }

    #[test]
    fn a_hello_has_the_lengths_that_it_says() {
        for version in OfferedVersion::ALL {
            let record = hello_with(version);
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            assert_eq!(record.len(), 5 + length);
            assert_eq!(record[5..7], [1, 0]);
            let length = usize::from(u16::from_be_bytes([record[7], record[8]]));
            assert_eq!(record.len(), 9 + length);
            assert!(record.windows(11).any(|window| window == b"db.internal"));
        }
    }

    #[test]
    fn every_number_is_in_the_list_once_and_old_versions_are_asked_for_what_they_know() {
        let mut codes: Vec<_> = CIPHERS.iter().map(|cipher| cipher.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CIPHERS.len());
        assert!(
            OfferedVersion::Tls10
                .ciphers()
                .all(|cipher| !cipher.is_new())
        );
        assert!(OfferedVersion::Tls10.ciphers().count() > 10);
        assert_eq!(OfferedVersion::Tls13.ciphers().count(), 4);
    }

    #[test]
    fn answers_are_read_and_no_answer_panics() {
        assert_eq!(read_answer(0x15, &[2, 70]), Answer::Refused(Some(70)));
        let mut hello = vec![2, 0, 0, 38, 3, 1];
        hello.extend([7; 32]);
        hello.extend([0, 0, 0x2f, 0]);
        let version = OfferedVersion::Tls10;
        assert_eq!(
            read_answer(0x16, &hello),
            Answer::Chose {
                version,
                cipher: 0x2f
            }
        );
        let mut hello = vec![2, 0, 0, 0, 3, 3];
        hello.extend([7; 32]);
        hello.extend([1, 9, 0x13, 0x02, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
        let version = OfferedVersion::Tls13;
        assert_eq!(
            read_answer(0x16, &hello),
            Answer::Chose {
                version,
                cipher: 0x1302
            }
        );
        for end in 0..hello.len() {
            let _ = read_answer(0x16, &hello[..end]);
        }
        assert_eq!(read_answer(0x48, b"TTP"), Answer::Unclear);
    }
}
