//! The client role: how the proxy logs in to an upstream.
//!
//! A wrapper that turns `postgres_protocol`'s state machine, which panics or
//! reports text when misused, into a typestate with our own faults. The server
//! is not trusted: sizes and the amount of work are checked before it is asked.
//!
//! Invariant: the gs2 flag is `p` or `n`, never `y`. A Postgres server over TLS
//! always offers `-PLUS`, and answers `y` with "negotiation error".

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::{MESSAGE_LIMIT, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramFault, check_shape};
use crate::secret::Secret;

/// The largest count that `postgres_protocol` works through, too.
const MAX_ITERATIONS: u32 = 100_000;

/// Ready to send client-first.
pub(crate) struct ClientScram {
    inner: ScramSha256,
    mechanism: &'static str,
}

/// Client-final is sent; the server has to prove itself.
pub(crate) struct ExpectServerFinal {
    inner: ScramSha256,
}

impl ClientScram {
    /// `SCRAM-SHA-256-PLUS`; `binding` is the certificate's `tls-server-end-point`.
    pub(crate) fn plus(password: &Secret, binding: Vec<u8>) -> Self {
        Self {
            inner: ScramSha256::new(
                password.expose().as_bytes(),
                ChannelBinding::tls_server_end_point(binding),
            ),
            mechanism: SCRAM_SHA_256_PLUS,
        }
    }

    /// `SCRAM-SHA-256` without binding.
    pub(crate) fn plain(password: &Secret) -> Self {
        Self {
            // `unsupported` is gs2 `n`; `unrequested` would be `y`.
            inner: ScramSha256::new(password.expose().as_bytes(), ChannelBinding::unsupported()),
            mechanism: SCRAM_SHA_256,
        }
    }

    pub(crate) fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// Client-first, for SASLInitialResponse.
    pub(crate) fn first(&self) -> &[u8] {
        self.inner.message()
    }

    /// Answers server-first with client-final. Costs a PBKDF2.
    pub(crate) fn answer(
        mut self,
        server_first: &[u8],
    ) -> Result<(Vec<u8>, ExpectServerFinal), ScramFault> {
        check_server_first(self.inner.message(), server_first)?;
        self.inner
            .update(server_first)
            .map_err(|_| ScramFault::Malformed("server-first"))?;
        let client_final = self.inner.message().to_vec();
        let next = ExpectServerFinal { inner: self.inner };
        Ok((client_final, next))
    }
}

impl ExpectServerFinal {
    /// `Ok` means that the server knows the password, too.
    pub(crate) fn finish(mut self, server_final: &[u8]) -> Result<(), ScramFault> {
        check_shape(server_final)?;
        self.inner
            .finish(server_final)
            .map_err(|_| ScramFault::ServerSignature)
    }
}

/// Bounds that are checked before the library sees the message.
fn check_server_first(client_first: &[u8], server_first: &[u8]) -> Result<(), ScramFault> {
    check_shape(server_first)?;
    let malformed = ScramFault::Malformed("server-first");
    let text = std::str::from_utf8(server_first).map_err(|_| malformed)?;
    let mut attributes = text.split(',');
    let nonce = attributes
        .next()
        .and_then(|attribute| attribute.strip_prefix("r="))
        .ok_or(malformed)?;
    // Client-final repeats the nonce: what we send has to fit a message as well.
    // (A proof, a binding of SHA-512 and the names around them stay below 256.)
    if nonce.len() > MESSAGE_LIMIT - 256 {
        return Err(ScramFault::TooLong);
    }
    let ours = client_first
        .rsplit(|&b| b == b',')
        .next()
        .and_then(|attribute| attribute.strip_prefix(b"r="))
        .unwrap_or_default();
    // A server that adds nothing of its own would sign a nonce that we chose.
    if nonce.len() <= ours.len() || !nonce.as_bytes().starts_with(ours) {
        return Err(ScramFault::Malformed("nonce does not match"));
    }
    let iterations = attributes
        .nth(1)
        .and_then(|attribute| attribute.strip_prefix("i="))
        .ok_or(malformed)?;
    match iterations.parse::<u32>() {
        Ok(count) if (1..=MAX_ITERATIONS).contains(&count) => Ok(()),
        _ => Err(ScramFault::Iterations),
    }
}
