//! The cryptography both legs use: ring, named explicitly.
//!
//! Nothing is taken from rustls' process-wide default, so that another crate
//! that installs one cannot change what is offered here.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, kx_group};

/// The protocol name that Postgres 17 and newer select; older servers ignore it.
pub(super) const ALPN: &[u8] = b"postgresql";

/// For the upstream leg.
///
/// A client sends a key share for its first group only. Postgres 17 and older
/// accept nothing but P-256 unless `ssl_ecdh_curve` says otherwise, and answer
/// any other share with a HelloRetryRequest: one more round trip for every
/// connection. Postgres 18 takes P-256 as well as X25519, so P-256 goes first.
pub(super) fn upstream() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.kx_groups = vec![kx_group::SECP256R1, kx_group::X25519, kx_group::SECP384R1];
    Arc::new(provider)
}

/// For the local leg, where the client's share decides: the library's order.
pub(super) fn local() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
