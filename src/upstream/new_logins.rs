//! Whether new logins are admitted while the server lets nobody in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Upstream;
use super::health::LoginPolicy;
use crate::fault::Fault;

/// How often a login that waits looks whether it waits in vain.
const LOOK: Duration = Duration::from_millis(250);

/// A connection that is logged in, until dropped.
#[derive(Debug)]
pub(crate) struct Alive(Arc<Upstream>);

impl Alive {
    pub(crate) fn new(upstream: &Arc<Upstream>) -> Self {
        upstream.health().logged_in();
        Self(Arc::clone(upstream))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.health().closed();
    }
}

impl Upstream {
    /// What becomes of a client that comes now, before it has proven anything.
    pub(crate) fn new_logins(&self) -> LoginPolicy {
        let grace = self.config().connect_timeout;
        let policy = self.health().policy(grace);
        self.health().doubt(grace);
        if let LoginPolicy::Refuse(fault) = &policy
            && self.health().refuses_first()
        {
            tracing::warn!(
                upstream = self.config().name,
                cause = &*fault.message,
                "new logins are refused: the upstream lets nobody in"
            );
        }
        policy
    }

    /// Completes when a login that waits does so in vain.
    pub(crate) async fn refuses_logins(&self) -> Fault {
        loop {
            match self.health().policy(self.config().connect_timeout) {
                LoginPolicy::Refuse(fault) => return fault,
                LoginPolicy::Admit => sleep(LOOK).await,
            }
        }
    }
}
