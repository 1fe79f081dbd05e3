//! What every session of a proxy shares: the upstream with its pools, the register, the
//! settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::pooled::DatabaseRegistry;
use super::registry::Registry;
use super::warnings::Warnings;
use crate::config::values::{Database, Pooling, SaslPlus};
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::name::Name;
use crate::pool::Pools;
use crate::startup::{Admitted, Identity};
use crate::upstream::{LoginPolicy, Upstream};

/// Where sessions go, as one value that can be exchanged.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) pools: Pools,
    pub(crate) databases: DatabaseRegistry,
}

/// What every session of a proxy shares.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) route: ArcSwap<Route>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) databases: BTreeMap<String, Database>,
    pub(crate) pooling: Arc<Pooling>,
    pub(crate) query_wait_timeout: Duration,
    pub(crate) sasl_plus: SaslPlus,
    pub(crate) metrics: Metrics,
    pub(crate) warnings: Warnings,
}

impl Service {
    /// Why a client that comes now is not to be asked who it is.
    pub(crate) fn refuses_logins(&self) -> Option<Fault> {
        match self.route.load().upstream.new_logins() {
            LoginPolicy::Admit => None,
            LoginPolicy::Refuse(fault) => Some(fault),
        }
    }

    /// The database to ask the upstream for, where it is not what the client said.
    pub(super) fn database(
        &self,
        client: &Admitted,
        asked: &Name,
        upstream: &Upstream,
    ) -> Option<Name> {
        if let Some(database) = asked.text().and_then(|asked| self.databases.get(asked)) {
            return Some(asked.or(&database.dbname));
        }
        match client.startup.get(b"database") {
            Some(name) if !name.is_empty() => None,
            _ => match (&upstream.config().dbname, &client.identity) {
                (Some(dbname), _) => Some(asked.or(dbname)),
                // The server would take the name of a role that the client has never heard of.
                (None, Identity::Held(_)) => Some(asked.clone()),
                (None, Identity::Relayed) => None,
            },
        }
    }
}
