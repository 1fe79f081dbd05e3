//! Databases that have to be free of connections.

use tokio::time::{Instant, timeout};

use super::{Pools, State};
use crate::name::Name;
use crate::pool::timing::EVICTION_TIMEOUT;

/// A database that somebody needs to be free; see [`Pools::evict_database`].
#[derive(Debug)]
#[must_use = "once it is dropped, idle connections to the database are kept again"]
pub(crate) struct DatabaseEviction {
    pools: Pools,
    database: Name,
}

impl Drop for DatabaseEviction {
    fn drop(&mut self) {
        let mut state = self.pools.inner.state.lock();
        state.allocator.end_eviction(&self.database);
    }
}

impl Pools {
    /// Frees a database of connections that no client uses: those that are idle are
    /// closed, clients that keep one are asked for it. Returns when the server has let
    /// go of them, or after five seconds. While the result lives, connections to the
    /// database that are given back are closed unless somebody waits for them.
    pub(crate) async fn evict_database(&self, database: Name) -> DatabaseEviction {
        let eviction = DatabaseEviction {
            pools: self.clone(),
            database,
        };
        self.act(|state| {
            let now = Instant::now();
            state.allocator.evict_database(&eviction.database, now);
        });
        let evicted = async {
            loop {
                let gone = self.inner.gone.notified();
                let evicting = |state: &State| state.allocator.is_evicting(&eviction.database);
                if !evicting(&self.inner.state.lock()) {
                    return;
                }
                gone.await;
            }
        };
        let _ = timeout(EVICTION_TIMEOUT, evicted).await;
        eviction
    }
}
