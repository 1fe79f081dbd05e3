//! wire.

pub(crate) mod password;
pub(crate) mod scram;
