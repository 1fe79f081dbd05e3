//! SCRAM-SHA-256 (RFC 5802, 7677), both roles: messages in, messages out.
//!
//! Not here: sockets, randomness (nonces and keys are handed in) and SASL's
//! framing. The server role never offers `-PLUS`; the client role does bind.
//!
//! Invariant: each step consumes the one before it, so an exchange cannot be
//! replayed, and only [`ExpectFinal::finish`] returning `Ok` is a login. A user
//! that does not exist walks the same road as one with a wrong password.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::secret::Secret;

mod client;

pub(crate) use client::ClientScram;

#[cfg(test)]
mod tests;

pub(crate) const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
pub(crate) const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What Postgres uses for new verifiers.
pub(crate) const ITERATIONS: u32 = 4096;

/// Postgres's own bound on a SASL message (`PG_MAX_SASL_MESSAGE_LENGTH`).
pub(crate) const MESSAGE_LIMIT: usize = 1024;

const KEY_LEN: usize = 32;
const SALT_LEN: usize = 16;

/// Raw bytes of the server's half of the nonce; as many as Postgres takes.
pub(crate) type Nonce = [u8; 18];

/// Why an exchange ended. None of them quotes what the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramFault {
    /// SQLSTATE 08P01.
    #[error("SCRAM message is longer than {MESSAGE_LIMIT} bytes")]
    TooLong,
    /// SQLSTATE 08P01.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// SQLSTATE 0A000.
    #[error("unsupported SCRAM feature: {0}")]
    Unsupported(&'static str),
    /// SQLSTATE 28P01: wrong password, or no such user.
    #[error("password authentication failed")]
    WrongPassword,
    /// The server asks for too much work, or for none.
    #[error("SCRAM iteration count of the server is out of range")]
    Iterations,
    /// The server could not prove that it knows the password.
    #[error("the server's SCRAM signature does not match")]
    ServerSignature,
}

/// A key of this process from which salts are derived.
///
/// Known and unknown users get theirs by the same rule, so that neither asking
/// twice nor a reload tells them apart.
#[derive(Clone)]
pub(crate) struct SaltKey(Zeroizing<[u8; KEY_LEN]>);

impl SaltKey {
    pub(crate) fn new(random: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// The salt of `user`, for as long as this process lives.
    pub(crate) fn salt(&self, user: &[u8]) -> [u8; SALT_LEN] {
        let digest = hmac(&*self.0, &[b"salt", user]);
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&digest[..SALT_LEN]);
        salt
    }
}

impl fmt::Debug for SaltKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// What a server keeps in place of a password.
///
/// Deriving one costs a PBKDF2 (milliseconds), checking a login against it
/// costs microseconds: derive at start, not at login.
#[derive(Clone)]
pub(crate) struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; KEY_LEN],
    server_key: Zeroizing<[u8; KEY_LEN]>,
}

impl Verifier {
    pub(crate) fn derive(password: &Secret, salt: &[u8], iterations: u32) -> Self {
        let prepared = prepare(password.expose());
        let salted = Zeroizing::new(pbkdf2::pbkdf2_hmac_array::<Sha256, KEY_LEN>(
            prepared.as_bytes(),
            salt,
            iterations,
        ));
        let client_key = Zeroizing::new(hmac(&*salted, &[b"Client Key"]));
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: sha256(&*client_key),
            server_key: Zeroizing::new(hmac(&*salted, &[b"Server Key"])),
        }
    }

    /// Reads `pg_authid.rolpassword`: `SCRAM-SHA-256$4096:salt$stored:server`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mechanism, rest) = text.split_once('$')?;
        let (work, keys) = rest.split_once('$')?;
        let (iterations, salt) = work.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        // `u32::from_str` would take a leading plus sign.
        if mechanism != SCRAM_SHA_256 || !iterations.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        let iterations = iterations.parse().ok().filter(|&count| count > 0)?;
        // The server-first message must still fit, or nobody could log in.
        if salt.len() > MESSAGE_LIMIT / 2 {
            return None;
        }
        Some(Self {
            salt,
            iterations,
            stored_key: decode_key(stored.as_bytes())?,
            server_key: Zeroizing::new(decode_key(server.as_bytes())?),
        })
    }

    /// Whether `password` is the one this was derived from. Costs a PBKDF2.
    pub(crate) fn matches(&self, password: &Secret) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        self.stored_key.ct_eq(&other.stored_key).into()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// The server role, before the client's first message.
pub(crate) struct ServerScram {
    verifier: Arc<Verifier>,
    nonce: Nonce,
    /// Nobody has this password: the user does not exist.
    mock: bool,
}

/// The server role between the client's first and final message.
pub(crate) struct ExpectFinal {
    verifier: Arc<Verifier>,
    mock: bool,
    /// Base64 of the gs2 header, as the `c` attribute must repeat it.
    gs2_base64: &'static str,
    /// Both halves.
    nonce: Vec<u8>,
    /// `client-first-bare,server-first,`: the start of the auth message.
    transcript: Vec<u8>,
}

impl ServerScram {
    /// `nonce` is fresh random for every exchange.
    pub(crate) fn new(verifier: Arc<Verifier>, nonce: Nonce) -> Self {
        Self {
            verifier,
            nonce,
            mock: false,
        }
    }

    /// An exchange for a user that does not exist; it cannot succeed.
    pub(crate) fn mock(user: &[u8], key: &SaltKey, nonce: Nonce) -> Self {
        let verifier = Arc::new(Verifier {
            salt: key.salt(user).to_vec(),
            iterations: ITERATIONS,
            stored_key: hmac(&*key.0, &[b"mock", user]),
            server_key: Zeroizing::new([0; KEY_LEN]),
        });
        Self {
            verifier,
            nonce,
            mock: true,
        }
    }

    /// Answers client-first with server-first.
    pub(crate) fn first(self, client_first: &[u8]) -> Result<(Vec<u8>, ExpectFinal), ScramFault> {
        let ClientFirst {
            gs2_base64,
            bare,
            nonce: client_nonce,
        } = ClientFirst::parse(client_first)?;

        let mut nonce = client_nonce.to_vec();
        nonce.extend_from_slice(BASE64.encode(self.nonce).as_bytes());

        let mut server_first = b"r=".to_vec();
        server_first.extend_from_slice(&nonce);
        let work = format!(
            ",s={},i={}",
            BASE64.encode(&self.verifier.salt),
            self.verifier.iterations
        );
        server_first.extend_from_slice(work.as_bytes());

        let transcript = [bare, b",", &server_first, b","].concat();
        let next = ExpectFinal {
            verifier: self.verifier,
            mock: self.mock,
            gs2_base64,
            nonce,
            transcript,
        };
        Ok((server_first, next))
    }
}

impl ExpectFinal {
    /// Checks the proof; `Ok` is the login, with the server-final to send.
    pub(crate) fn finish(self, client_final: &[u8]) -> Result<Vec<u8>, ScramFault> {
        let parsed = ClientFinal::parse(client_final)?;
        if parsed.binding != self.gs2_base64.as_bytes() {
            return Err(ScramFault::Malformed("channel binding attribute"));
        }
        if parsed.nonce != self.nonce {
            return Err(ScramFault::Malformed("nonce does not match"));
        }

        let auth_message: [&[u8]; 2] = [&self.transcript, parsed.without_proof];
        let signature = hmac(&self.verifier.stored_key, &auth_message);
        let mut client_key = Zeroizing::new(parsed.proof);
        for (byte, mask) in client_key.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let proven = sha256(&*client_key).ct_eq(&self.verifier.stored_key)
            & !Choice::from(u8::from(self.mock));
        if !bool::from(proven) {
            return Err(ScramFault::WrongPassword);
        }

        let server_signature = hmac(&*self.verifier.server_key, &auth_message);
        Ok(format!("v={}", BASE64.encode(server_signature)).into_bytes())
    }
}

struct ClientFirst<'a> {
    gs2_base64: &'static str,
    bare: &'a [u8],
    nonce: &'a [u8],
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, ScramFault> {
        check_shape(message)?;
        // `y` (client binds, believes we do not) is the truth here: no -PLUS is
        // offered, so there is no downgrade to detect.
        let gs2_base64 = match message {
            [b'n', b',', ..] => "biws",
            [b'y', b',', ..] => "eSws",
            [b'p', ..] => return Err(ScramFault::Unsupported("channel binding")),
            _ => return Err(ScramFault::Malformed("channel binding flag")),
        };
        let bare = match message.get(2..) {
            Some([b',', bare @ ..]) => bare,
            Some([b'a', ..]) => return Err(ScramFault::Unsupported("authorization identity")),
            _ => return Err(ScramFault::Malformed("gs2 header")),
        };
        let mut attributes = Attributes::new(bare);
        // The user is the startup packet's; this name is ignored, as Postgres does.
        attributes.named(b'n')?;
        let nonce = attributes.named(b'r')?;
        if nonce.is_empty() || !nonce.iter().all(u8::is_ascii_graphic) {
            return Err(ScramFault::Malformed("nonce"));
        }
        while attributes.advance()?.is_some() {}
        Ok(Self {
            gs2_base64,
            bare,
            nonce,
        })
    }
}

struct ClientFinal<'a> {
    binding: &'a [u8],
    nonce: &'a [u8],
    proof: [u8; KEY_LEN],
    without_proof: &'a [u8],
}

impl<'a> ClientFinal<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, ScramFault> {
        check_shape(message)?;
        let mut attributes = Attributes::new(message);
        let binding = attributes.named(b'c')?;
        let nonce = attributes.named(b'r')?;
        let (without_proof, proof) = loop {
            let before = attributes.consumed();
            match attributes.advance()? {
                Some((b'p', proof)) => break (before, proof),
                Some(_) => {}
                None => return Err(ScramFault::Malformed("proof is missing")),
            }
        };
        if attributes.advance()?.is_some() {
            return Err(ScramFault::Malformed("attribute after the proof"));
        }
        Ok(Self {
            binding,
            nonce,
            proof: decode_key(proof).ok_or(ScramFault::Malformed("proof"))?,
            without_proof,
        })
    }
}

/// Walks `x=value,y=value`.
struct Attributes<'a> {
    whole: &'a [u8],
    rest: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    fn new(whole: &'a [u8]) -> Self {
        Self {
            whole,
            rest: Some(whole),
        }
    }

    /// What has been read, without the comma before the next attribute.
    fn consumed(&self) -> &'a [u8] {
        let unread = self.rest.map_or(0, |rest| rest.len() + 1);
        let read = self.whole.len().saturating_sub(unread);
        self.whole.get(..read).unwrap_or_default()
    }

    fn advance(&mut self) -> Result<Option<(u8, &'a [u8])>, ScramFault> {
        let Some(rest) = self.rest else {
            return Ok(None);
        };
        let (attribute, rest) = match rest.iter().position(|&b| b == b',') {
            Some(comma) => (&rest[..comma], Some(&rest[comma + 1..])),
            None => (rest, None),
        };
        self.rest = rest;
        match attribute {
            // RFC 5802, 5.1: a mandatory extension that is not understood ends
            // the exchange, wherever it stands.
            [b'm', b'=', ..] => Err(ScramFault::Unsupported("mandatory extension")),
            [name, b'=', value @ ..] if name.is_ascii_alphabetic() => Ok(Some((*name, value))),
            _ => Err(ScramFault::Malformed("attribute expected")),
        }
    }

    fn named(&mut self, wanted: u8) -> Result<&'a [u8], ScramFault> {
        match self.advance()? {
            Some((name, value)) if name == wanted => Ok(value),
            _ => Err(ScramFault::Malformed("attributes out of order")),
        }
    }
}

fn check_shape(message: &[u8]) -> Result<(), ScramFault> {
    if message.len() > MESSAGE_LIMIT {
        return Err(ScramFault::TooLong);
    }
    if message.contains(&0) {
        return Err(ScramFault::Malformed("zero byte"));
    }
    Ok(())
}

/// SASLprep as Postgres runs it, whose verdict a client's proof depends on.
///
/// What the profile forbids is used raw. Postgres looks for forbidden characters
/// before normalization where RFC 4013 looks after it, and refuses a result that
/// is empty, so both are asked here first. What is left is a few Arabic
/// presentation forms that only the RFC's order forbids.
fn prepare(password: &str) -> Zeroizing<String> {
    let prepared = if password.is_ascii() || forbidden_by_postgres(password) {
        password.to_owned()
    } else {
        match stringprep::saslprep(password) {
            Ok(prepared) => prepared.into_owned(),
            Err(_) => password.to_owned(),
        }
    };
    Zeroizing::new(prepared)
}

fn forbidden_by_postgres(password: &str) -> bool {
    use stringprep::tables;

    let mut mapped = password
        .chars()
        .filter(|&c| !tables::commonly_mapped_to_nothing(c))
        .peekable();
    let is_empty = mapped.peek().is_none();
    is_empty
        || mapped.any(|c| {
            tables::unassigned_code_point(c) || tables::change_display_properties_or_deprecated(c)
        })
}

fn decode_key(base64: &[u8]) -> Option<[u8; KEY_LEN]> {
    BASE64.decode(base64).ok()?.try_into().ok()
}

fn sha256(bytes: &[u8]) -> [u8; KEY_LEN] {
    Sha256::digest(bytes).into()
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_LEN] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
