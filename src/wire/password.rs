//! Passwords as they are configured, and the two older ways to present one:
//! cleartext and md5, both roles.
//!
//! Not here: SCRAM's exchange (`scram`) and who may use which method.
//!
//! Invariant: every comparison with a secret takes the same time wherever the
//! difference is.

use std::fmt;
use std::sync::Arc;

use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::scram::{ITERATIONS, SCRAM_SHA_256, Verifier};
use crate::secret::Secret;

#[cfg(test)]
mod tests;

/// A configured password, in one of the forms that `pg_authid` knows.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    /// Good for every method.
    Plain(Secret),
    /// `md5` + hex of md5(password + user): good for md5 and cleartext.
    Md5(Md5Hash),
    /// A SCRAM verifier: good for SCRAM and cleartext.
    Scram(Arc<Verifier>),
}

/// Why a configured password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoredFault {
    /// Postgres never accepts one.
    #[error("the password is empty")]
    Empty,
    #[error("the password starts like a SCRAM verifier but is not one")]
    Verifier,
}

impl Stored {
    pub(crate) fn parse(text: &Secret) -> Result<Self, StoredFault> {
        let exposed = text.expose();
        if exposed.is_empty() {
            return Err(StoredFault::Empty);
        }
        if let Some(hash) = Md5Hash::parse(exposed) {
            return Ok(Self::Md5(hash));
        }
        // Postgres would take a damaged verifier for a password; that helps nobody.
        let is_verifier = exposed
            .strip_prefix(SCRAM_SHA_256)
            .is_some_and(|rest| rest.starts_with('$'));
        if !is_verifier {
            return Ok(Self::Plain(text.clone()));
        }
        match Verifier::parse(exposed) {
            Some(verifier) => Ok(Self::Scram(Arc::new(verifier))),
            None => Err(StoredFault::Verifier),
        }
    }

    /// The password itself, which is the only thing that may be sent or derived from as one.
    pub(crate) const fn plain(&self) -> Option<&Secret> {
        match self {
            Self::Plain(password) => Some(password),
            Self::Md5(_) | Self::Scram(_) => None,
        }
    }

    /// What SCRAM checks against; `None` for an md5 hash. Costs a PBKDF2 for a
    /// plain password: do it once, at start.
    pub(crate) fn verifier(&self, salt: &[u8]) -> Option<Arc<Verifier>> {
        match self {
            Self::Plain(password) => Some(Arc::new(Verifier::derive(password, salt, ITERATIONS))),
            Self::Md5(_) => None,
            Self::Scram(verifier) => Some(Arc::clone(verifier)),
        }
    }

    /// Server role of method `password`; `given` is without its final zero.
    pub(crate) fn accepts_cleartext(&self, user: &str, given: &[u8]) -> bool {
        match self {
            // Digests have one length, so that not even the password's is told.
            Self::Plain(password) => Sha256::digest(password.expose())
                .ct_eq(&Sha256::digest(given))
                .into(),
            Self::Md5(hash) => Md5Hash::derive(given, user).same_as(hash),
            Self::Scram(verifier) => {
                std::str::from_utf8(given).is_ok_and(|given| verifier.matches(&Secret::new(given)))
            }
        }
    }

    /// Server role of method `md5`; false for a SCRAM verifier, which cannot know.
    pub(crate) fn accepts_md5(&self, user: &str, salt: [u8; 4], given: &[u8]) -> bool {
        self.md5_response(user, salt)
            .is_some_and(|expected| expected.as_bytes().ct_eq(given).into())
    }

    /// Client role of method `md5`: the text of PasswordMessage.
    pub(crate) fn md5_response(&self, user: &str, salt: [u8; 4]) -> Option<Zeroizing<String>> {
        match self {
            Self::Plain(password) => {
                Some(Md5Hash::derive(password.expose().as_bytes(), user).response(salt))
            }
            Self::Md5(hash) => Some(hash.response(salt)),
            Self::Scram(_) => None,
        }
    }
}

/// Hex of md5(password + user). As good as the password itself: md5
/// authentication asks for nothing more.
#[derive(Clone)]
pub(crate) struct Md5Hash(Zeroizing<String>);

impl Md5Hash {
    fn derive(password: &[u8], user: &str) -> Self {
        Self(md5_hex(&[password, user.as_bytes()]))
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("md5")?;
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex.len() == 32 && is_hex).then(|| Self(Zeroizing::new(hex.to_owned())))
    }

    fn response(&self, salt: [u8; 4]) -> Zeroizing<String> {
        let hex = md5_hex(&[self.0.as_bytes(), &salt]);
        Zeroizing::new(format!("md5{}", hex.as_str()))
    }

    fn same_as(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Md5Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

fn md5_hex(parts: &[&[u8]]) -> Zeroizing<String> {
    use std::fmt::Write as _;

    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    let mut hex = Zeroizing::new(String::with_capacity(32));
    for byte in digest.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
