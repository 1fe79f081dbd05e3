//! The untagged first packets of a connection: SSLRequest, GSSENCRequest,
//! CancelRequest, StartupMessage.
//!
//! Limits and rules are Postgres's own (`src/backend/tcop/backend_startup.c`).

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

/// Postgres's `MAX_STARTUP_PACKET_LENGTH`: longest packet without its length field.
pub(crate) const MAX_LENGTH: usize = 10_000;
/// Longest cancel key of protocol 3.2.
const MAX_CANCEL_KEY: usize = 256;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// What a client, or the proxy as one, says first.
#[derive(Debug)]
pub(crate) enum First {
    SslRequest,
    GssEncRequest,
    Cancel(CancelKey),
    Startup(StartupMessage),
    /// A protocol that is not version 3.
    Unsupported(Version),
}

/// Why a first packet was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartupError {
    /// Postgres drops such a connection without a word.
    #[error("invalid length of startup packet: {0}")]
    Length(u32),
    #[error("invalid startup packet layout: {0}")]
    Layout(&'static str),
    #[error("invalid length of cancel key: {0}")]
    CancelKey(usize),
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
}

/// A protocol version as it travels: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u16,
    pub(crate) minor: u16,
}

impl Version {
    /// The newest protocol this proxy understands.
    pub(crate) const NEWEST: Self = Self { major: 3, minor: 2 };

    #[expect(
        clippy::cast_possible_truncation,
        reason = "both halves are taken on purpose"
    )]
    const fn from_code(code: u32) -> Self {
        Self {
            major: (code >> 16) as u16,
            minor: code as u16,
        }
    }

    pub(crate) fn code(self) -> u32 {
        (u32::from(self.major) << 16) | u32::from(self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a CancelRequest carries: the process ID and secret of BackendKeyData.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CancelKey {
    pid: u32,
    /// Shared: whoever has the key, and the register of all keys.
    secret: Arc<[u8]>,
}

impl CancelKey {
    /// From the body of BackendKeyData; `None` when it is too short or too long.
    pub(crate) fn from_key_data(body: &[u8]) -> Option<Self> {
        let (pid, secret) = body.split_first_chunk::<4>()?;
        (4..=MAX_CANCEL_KEY).contains(&secret.len()).then(|| Self {
            pid: u32::from_be_bytes(*pid),
            secret: secret.into(),
        })
    }

    /// A key of the proxy's own for the same process, as long as this one.
    pub(crate) fn disguised(&self, mut random: impl FnMut() -> u8) -> Self {
        Self {
            pid: self.pid,
            secret: self.secret.iter().map(|_| random()).collect(),
        }
    }

    /// The secret's length in bytes: 4 before protocol 3.2.
    pub(crate) const fn with_secret(pid: u32, secret: Arc<[u8]>) -> Self {
        Self { pid, secret }
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// The CancelRequest packet.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(12 + self.secret.len());
        packet.put_u32(u32::try_from(12 + self.secret.len()).unwrap_or(u32::MAX));
        packet.put_u32(CANCEL_REQUEST);
        packet.put_u32(self.pid);
        packet.extend_from_slice(&self.secret);
        packet
    }
}

/// Keys are credentials: only the process ID is shown.
impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelKey(pid {})", self.pid)
    }
}

/// The eight bytes of SSLRequest.
pub(crate) const fn ssl_request() -> [u8; 8] {
    let [a, b, c, d] = SSL_REQUEST.to_be_bytes();
    [0, 0, 0, 8, a, b, c, d]
}

/// Length of the packet that begins with `prefix`, its length field included.
///
/// # Errors
/// A length that Postgres refuses.
pub(crate) fn packet_length(prefix: [u8; 4]) -> Result<usize, StartupError> {
    let len = u32::from_be_bytes(prefix);
    match usize::try_from(len) {
        Ok(total) if (8..=MAX_LENGTH + 4).contains(&total) => Ok(total),
        _ => Err(StartupError::Length(len)),
    }
}

/// Whether the packet that begins with `head` is a StartupMessage, which is the last of
/// its kind: encryption is begun before it or not at all.
pub(crate) const fn is_startup(head: [u8; 8]) -> bool {
    let [_, _, _, _, a, b, c, d] = head;
    Version::from_code(u32::from_be_bytes([a, b, c, d])).major == 3
}

/// Decodes one whole packet, its length field included.
///
/// # Errors
/// See [`StartupError`].
pub(crate) fn decode(packet: Bytes) -> Result<First, StartupError> {
    let Some((head, rest)) = packet.split_first_chunk::<8>() else {
        return Err(StartupError::Length(
            u32::try_from(packet.len()).unwrap_or(u32::MAX),
        ));
    };
    let [_, _, _, _, a, b, c, d] = *head;
    match u32::from_be_bytes([a, b, c, d]) {
        SSL_REQUEST if rest.is_empty() => Ok(First::SslRequest),
        GSSENC_REQUEST if rest.is_empty() => Ok(First::GssEncRequest),
        CANCEL_REQUEST => CancelKey::from_key_data(rest)
            .map(First::Cancel)
            .ok_or_else(|| StartupError::CancelKey(rest.len().saturating_sub(4))),
        code => match Version::from_code(code) {
            version @ Version { major: 3, .. } => {
                StartupMessage::decode(version, &packet).map(First::Startup)
            }
            version => Ok(First::Unsupported(version)),
        },
    }
}

/// A StartupMessage: the version and the parameters in the order they came.
#[derive(Debug, Clone)]
pub(crate) struct StartupMessage {
    version: Version,
    params: Vec<(Bytes, Bytes)>,
}

impl StartupMessage {
    /// Of protocol 3.0, without settings.
    pub(crate) fn new(user: &str, database: &str) -> Self {
        let param = |name: &'static [u8], value: &str| {
            (
                Bytes::from_static(name),
                Bytes::copy_from_slice(value.as_bytes()),
            )
        };
        Self {
            version: Version { major: 3, minor: 0 },
            params: vec![param(b"user", user), param(b"database", database)],
        }
    }

    fn decode(version: Version, packet: &Bytes) -> Result<Self, StartupError> {
        let mut params = Vec::new();
        let mut at = 8;
        loop {
            let name = cstr(packet, &mut at)?;
            if name.is_empty() {
                break;
            }
            params.push((name, cstr(packet, &mut at)?));
        }
        if at != packet.len() {
            return Err(StartupError::Layout("expected terminator as last byte"));
        }
        let message = Self { version, params };
        if message.get(b"user").is_none_or(<[u8]>::is_empty) {
            return Err(StartupError::NoUser);
        }
        Ok(message)
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// The value of `name`; of duplicates the last counts, as in Postgres.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.params
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| &value[..])
    }

    /// The role asked for.
    pub(crate) fn user(&self) -> &[u8] {
        self.get(b"user").unwrap_or_default()
    }

    /// The database asked for; the user's name when none is given.
    pub(crate) fn database(&self) -> &[u8] {
        match self.get(b"database") {
            Some(name) if !name.is_empty() => name,
            _ => self.user(),
        }
    }

    /// Whether a replication connection is asked for: such a one is nobody else's.
    pub(crate) fn is_replication(&self) -> bool {
        let off = ["false", "off", "no", "0", "f", "n"];
        self.get(b"replication").is_some_and(|value| {
            let is = |word: &&str| value.eq_ignore_ascii_case(word.as_bytes());
            !off.iter().any(is)
        })
    }

    /// The settings that the session begins with, in a form to be compared:
    /// everything but who and where.
    pub(crate) fn settings(&self) -> Bytes {
        let mut settings = BytesMut::new();
        for (name, value) in &self.params {
            let is_setting = !matches!(&name[..], b"user" | b"database" | b"replication")
                && !name.starts_with(b"_pq_.");
            if is_setting {
                for text in [name, value] {
                    settings.extend_from_slice(text);
                    settings.put_u8(0);
                }
            }
        }
        settings.freeze()
    }

    /// The same for a connection of the proxy's own: what only concerns the
    /// client's leg is left out.
    pub(crate) fn for_pool(&self, user: &[u8], database: &[u8]) -> Self {
        let mut message = self.clone();
        message.remove_protocol_options();
        message.version = Version { major: 3, minor: 0 };
        message.set(b"user", user);
        message.set(b"database", database);
        message
    }

    /// Names of the protocol extensions (`_pq_.`) that are asked for.
    pub(crate) fn protocol_options(&self) -> Vec<&[u8]> {
        self.params
            .iter()
            .map(|(name, _)| &name[..])
            .filter(|n| n.starts_with(b"_pq_."))
            .collect()
    }

    /// Takes the protocol extensions out.
    pub(crate) fn remove_protocol_options(&mut self) {
        self.params.retain(|(name, _)| !name.starts_with(b"_pq_."));
    }

    /// Replaces every occurrence of `name`, or adds it.
    pub(crate) fn set(&mut self, name: &'static [u8], value: &[u8]) {
        let value = Bytes::copy_from_slice(value);
        let mut found = false;
        for (_, old) in self.params.iter_mut().filter(|(n, _)| n == name) {
            old.clone_from(&value);
            found = true;
        }
        if !found {
            self.params.push((Bytes::from_static(name), value));
        }
    }

    /// Lowers the minor version to the newest that the proxy understands;
    /// says whether that changed anything.
    pub(crate) fn clamp_version(&mut self) -> bool {
        let clamped = self.version > Version::NEWEST;
        self.version = self.version.min(Version::NEWEST);
        clamped
    }

    /// The packet, byte for byte the one it was decoded from unless changed.
    pub(crate) fn encode(&self) -> Bytes {
        let body: usize = self.params.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
        let total = 8 + body + 1;
        let mut packet = BytesMut::with_capacity(total);
        packet.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
        packet.put_u32(self.version.code());
        for (name, value) in &self.params {
            for text in [name, value] {
                packet.extend_from_slice(text);
                packet.put_u8(0);
            }
        }
        packet.put_u8(0);
        packet.freeze()
    }
}

/// The zero-terminated string at `*at`, which moves behind its terminator.
fn cstr(packet: &Bytes, at: &mut usize) -> Result<Bytes, StartupError> {
    let rest = packet.get(*at..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|&byte| byte == 0)
        .ok_or(StartupError::Layout("a string has no terminator"))?;
    let text = packet.slice(*at..*at + end);
    *at += end + 1;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::try_from(8 + body.len()).unwrap());
        bytes.put_u32(code);
        bytes.extend_from_slice(body);
        bytes.freeze()
    }

    fn startup(body: &[u8]) -> Result<StartupMessage, StartupError> {
        match decode(packet(0x0003_0000, body))? {
            First::Startup(message) => Ok(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_startup_message_goes_out_as_it_came() {
        let body = b"user\0app\0options\0-c geqo=off\0user\0sep\0_pq_.x\0\0\0";
        let message = startup(body).unwrap();
        assert_eq!(message.encode(), packet(0x0003_0000, body));
        assert_eq!(message.user(), b"sep", "the last of duplicates counts");
        assert_eq!(message.database(), b"sep");
        assert_eq!(message.protocol_options(), [b"_pq_.x"]);
    }

    #[test]
    fn layouts_that_postgres_refuses_are_refused() {
        assert_eq!(startup(b"\0").unwrap_err(), StartupError::NoUser);
        assert!(matches!(
            startup(b"user\0a\0\0x").unwrap_err(),
            StartupError::Layout(_)
        ));
        assert!(matches!(
            startup(b"user\0a").unwrap_err(),
            StartupError::Layout(_)
        ));
        assert!(matches!(
            startup(b"user\0a\0").unwrap_err(),
            StartupError::Layout(_)
        ));
    }

    #[test]
    fn lengths_outside_postgres_limits_are_refused() {
        for len in [0, 7, 10_005, u32::MAX] {
            assert_eq!(
                packet_length(len.to_be_bytes()),
                Err(StartupError::Length(len))
            );
        }
        assert_eq!(packet_length(10_004_u32.to_be_bytes()), Ok(10_004));
    }

    #[test]
    fn cancel_keys_of_4_to_256_bytes_survive_the_round_trip() {
        for n in [4, 32, 256] {
            let mut body = vec![0, 0, 1, 2];
            body.extend(vec![9; n]);
            let First::Cancel(key) = decode(packet(CANCEL_REQUEST, &body)).unwrap() else {
                panic!("not a cancel")
            };
            assert_eq!(key.request(), packet(CANCEL_REQUEST, &body));
        }
        for n in [0, 3, 257] {
            let mut body = vec![0, 0, 1, 2];
            body.extend(vec![9; n]);
            assert_eq!(
                decode(packet(CANCEL_REQUEST, &body)).unwrap_err(),
                StartupError::CancelKey(n)
            );
        }
    }

    #[test]
    fn other_major_versions_are_named() {
        let First::Unsupported(version) = decode(packet(0x0002_0000, b"")).unwrap() else {
            panic!("accepted")
        };
        assert_eq!(version.to_string(), "2.0");
    }
}
