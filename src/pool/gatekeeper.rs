//! stub
use super::accounts::{Caps, Key};
use crate::config::values::Priority;
use crate::fault::*;
use std::sync::Arc;
use tokio::time::Instant;
#[derive(Debug)]
pub(crate) struct Gatekeeper(Arc<tokio::sync::Semaphore>);
#[derive(Debug)]
pub(crate) struct Permit(tokio::sync::OwnedSemaphorePermit);
#[derive(Debug)]
pub(crate) enum Refusal {
    T,
}
impl ClientFacing for Refusal {
    fn fault(&self) -> Fault {
        Fault::new(
            crate::wire::sqlstate::SqlState::TOO_MANY_CONNECTIONS,
            "query_wait_timeout",
            "timeout",
        )
    }
}
impl Gatekeeper {
    pub(crate) fn new(c: Caps) -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(c.total as usize)))
    }
    pub(crate) async fn admit(&self, _k: Key, _p: Priority, d: Instant) -> Result<Permit, Refusal> {
        tokio::time::timeout_at(d, self.0.clone().acquire_owned())
            .await
            .map_err(|_| Refusal::T)
            .and_then(|r| r.map(Permit).map_err(|_| Refusal::T))
    }
}
