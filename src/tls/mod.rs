//! TLS on both legs: verified towards the upstream, optional towards clients.
//!
//! The only room that names rustls. It is handed a connected socket and gives
//! back a stream, or says in words why not; it dials nothing, waits for no
//! clock (time limits belong to the caller) and never goes on in plaintext: no
//! path leads from a [`TlsFault`] back to the bare socket.

mod accept;
mod binding;
mod certificate;
mod connect;
mod diagnose;
mod fault;
mod files;
mod hello;
mod provider;
mod secured;
mod shown;
mod stream;
mod verify;

#[cfg(test)]
mod tests;

pub(crate) use accept::{AcceptFault, Acceptor};
pub(crate) use binding::Description;
pub(crate) use connect::{Connector, explain_late_alert};
pub(crate) use fault::TlsFault;
pub(crate) use files::SetupError;
pub(crate) use hello::{Answer, Cipher, Grade, Hello, OfferedVersion};
pub(crate) use shown::{Certificate, Trusted, own_certificates, revocation_expiry, trusted};
pub(crate) use stream::MaybeTls;
