//! What somebody waits for who wants a connection: for people, in logs. Nothing here
//! decides anything.

use super::limiter::ConnectionLimiter;
use super::limiter_state::{Caps, Key};
use super::pools::Pool;

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

impl ConnectionLimiter {
    /// What a connection for `key` waits for at the caps.
    pub(crate) fn wait_of(&self, key: &Key) -> Wait {
        let now = self.snapshot();
        let of = |same: &dyn Fn(&Key) -> bool| -> u32 {
            let tallies = now.by_key.iter();
            tallies
                .filter(|(key, _)| same(key))
                .map(|(_, tally)| tally.in_use)
                .sum()
        };
        let Caps {
            total,
            per_user,
            per_database,
        } = now.caps;
        let user = of(&|other| other.user == key.user);
        let database = of(&|other| other.database == key.database);
        let (limit, in_use) = match (per_user, per_database) {
            (Some(max), _) if user >= max => (format!("limits.max_user_connections = {max}"), user),
            (_, Some(max)) if database >= max => {
                (format!("limits.max_db_connections = {max}"), database)
            }
            _ => (format!("limits.max_upstream_conn = {total}"), now.in_use),
        };
        let mut owners: Vec<_> = now
            .by_key
            .iter()
            .filter(|(_, tally)| tally.in_use > 0)
            .map(|(key, tally)| (tally.in_use, format!("{}/{}", key.database, key.user)))
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
            waiting: now.waiting,
            owners: owners.join(", "),
        }
    }
}

impl Pool {
    /// What a client of this pool waits for.
    pub(crate) fn wait(&self) -> Wait {
        let inner = self.pools().inner();
        let tally = inner.state.lock().pools.tally(self.number);
        let size = self.plan.size;
        let label = self.label();
        let limit = if tally.total() - tally.queued >= size {
            format!("the size of pool {label} = {size}")
        } else if let Some(error) = &*self.last_error.lock() {
            format!("a connection for pool {label}: {error}")
        } else if tally.queued > 0 {
            // Its places are others', which it does not tell.
            let wait = inner.limiter.wait_of(&self.key());
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::config::values::Priority;

    #[tokio::test]
    async fn the_cap_that_is_reached_is_named_with_those_who_have_the_places() {
        let caps = Caps {
            total: 3,
            per_user: Some(2),
            per_database: None,
        };
        let gatekeeper = ConnectionLimiter::new(caps);
        let key = |user: &str| Key::new(user, "shop");
        let mut held = Vec::new();
        for user in ["app", "app", "report"] {
            let admitted = gatekeeper.admit(key(user), Priority::Medium, Instant::now());
            held.push(admitted.await.unwrap());
        }
        let wait = gatekeeper.wait_of(&key("report"));
        assert_eq!(wait.limit, "limits.max_upstream_conn = 3");
        assert_eq!((wait.in_use, wait.waiting), (3, 0));
        assert_eq!(wait.owners, "shop/app 2, shop/report 1");
        let wait = gatekeeper.wait_of(&key("app"));
        assert_eq!(wait.limit, "limits.max_user_connections = 2");
        assert_eq!(wait.in_use, 2);
    }
}
