//! What somebody waits for who wants a connection: for people, in logs. Nothing here
//! decides anything.

use super::allocator::Caps;
use super::key::Key;
use super::pools::{Pool, Pools};

/// Users and databases that are named as those who have the connections.
const NAMED: usize = 5;

/// One limit, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The setting, or what else is in the way.
    pub(crate) limit: String,
    pub(crate) in_use: u32,
    pub(crate) waiting: usize,
    /// Whose the connections are: `shop/app 20, shop/report 2`; empty of a pool, where
    /// all are one user's.
    pub(crate) owners: String,
}

impl Pools {
    /// What a connection for `key` waits for at the caps.
    pub(crate) fn wait_of(&self, key: &Key) -> Wait {
        let state = self.inner().state.lock();
        let limits = state.allocator.limits();
        let by_key = limits.in_use_by_key();
        let of = |same: &dyn Fn(&Key) -> bool| -> u32 {
            let same = by_key.iter().filter(|(key, _)| same(key));
            same.map(|(_, in_use)| in_use).sum()
        };
        let Caps {
            total,
            per_user,
            per_database,
        } = limits.caps();
        let user = of(&|other| other.user == key.user);
        let database = of(&|other| other.database == key.database);
        let (limit, in_use) = match (per_user, per_database) {
            (Some(max), _) if user >= max => (format!("limits.max_user_connections = {max}"), user),
            (_, Some(max)) if database >= max => {
                (format!("limits.max_db_connections = {max}"), database)
            }
            _ => (
                format!("limits.max_upstream_conn = {total}"),
                limits.in_use(),
            ),
        };
        let mut owners: Vec<_> = by_key
            .iter()
            .map(|(key, in_use)| (in_use, format!("{}/{}", key.database, key.user)))
            .collect();
        owners.sort_by(|one, other| other.cmp(one));
        let others = owners.len().saturating_sub(NAMED);
        let mut owners: Vec<_> = owners
            .into_iter()
            .take(NAMED)
            .map(|(in_use, name)| format!("{name} {in_use}"))
            .collect();
        if others > 0 {
            owners.push(format!("and {others} more"));
        }
        Wait {
            limit,
            in_use,
            waiting: limits.waiting(),
            owners: owners.join(", "),
        }
    }
}

impl Pool {
    /// What a client of this pool waits for.
    pub(crate) fn wait(&self) -> Wait {
        let inner = self.pools().inner();
        let tally = inner.state.lock().allocator.tally(self.number);
        let size = self.plan.size;
        let label = self.label();
        let limit = if tally.total() - tally.queued >= size {
            format!("the size of pool {label} = {size}")
        } else if let Some(error) = &*self.last_error.lock() {
            format!("a connection for pool {label}: {error}")
        } else if tally.queued > 0 {
            // Its places are others', which it does not tell.
            let wait = self.pools().wait_of(&self.key());
            return Wait {
                waiting: tally.waiting as usize,
                ..wait
            };
        } else {
            format!("a connection for pool {label} that is being opened")
        };
        Wait {
            limit,
            in_use: tally.lent,
            waiting: tally.waiting as usize,
            owners: String::new(),
        }
    }
}
