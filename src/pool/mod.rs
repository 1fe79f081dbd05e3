//! pool.

pub(crate) mod accounts;
