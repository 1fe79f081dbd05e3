//! What the tests share.

#[allow(
    dead_code,
    reason = "a library for tests: not every test uses every part"
)]
pub(crate) mod certs;
#[allow(
    dead_code,
    reason = "a library for tests: not every test uses every part"
)]
pub(crate) mod tls_servers;
