//! One server connection: dial, secure, log in; and the cancel request.
//!
//! Knows nothing of clients and pools. Everything that goes to an upstream goes
//! through [`Upstream::connect`], so that no byte, a cancel's included, can leave
//! in plaintext where TLS is configured.

mod authenticate;
mod connect;
mod explain;
mod health;
mod new_logins;
mod open;

pub(crate) use authenticate::{Credentials, LoginError, check, log_in};
pub(crate) use connect::{Unreachable, Upstream};
pub(crate) use explain::{Asked, blame, correct, explain};
pub(crate) use health::LoginPolicy;
pub(crate) use new_logins::Alive;
pub(crate) use open::{Asks, FailedOpen, OpenError, Opened, Reported, ask, open, probe};
