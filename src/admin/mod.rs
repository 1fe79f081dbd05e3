//! Watching and steering the running proxy: what can be asked, once, and the faces
//! that people and programs ask it through.
//!
//! Nothing here is on the path of a session's bytes.

mod health;
mod http;

pub(crate) use health::Health;
pub(crate) use http::{Http, HttpError};
