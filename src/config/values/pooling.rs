//! What applies to a client's pool: `[pooling]` below what `[databases.NAME]`,
//! `[[users]]` and `[[pools]]` say otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashSet;

use crate::name::Name;

use super::{OnSessionState, PoolMode, Priority, Scrub};

/// What applies to one client's pool, complete.
///
/// Equal plans of one [`Pooling`] are the same allocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolPlan {
    /// Of the `[[pools]]` entry; `None` is a pool that nobody gave a name.
    pub(crate) name: Option<String>,
    pub(crate) mode: PoolMode,
    /// Connections of one user at most; at least 1, at most `max_upstream_conn`.
    pub(crate) size: u32,
    /// Connections kept warm; at most `size`.
    pub(crate) min_size: u32,
    /// Connections beyond `size` for clients that waited `reserve_timeout`.
    pub(crate) reserve_size: u32,
    pub(crate) reserve_timeout: Duration,
    pub(crate) priority: Priority,
    /// `None` is no limit, here and for the idle timeout.
    pub(crate) server_lifetime: Option<Duration>,
    pub(crate) server_idle_timeout: Option<Duration>,
    /// Longest pause between logins that fail.
    pub(crate) login_retry: Duration,
    /// Logins in flight at once to one upstream; `None` is no limit.
    pub(crate) max_logins: Option<u32>,
    /// Named statements kept on one server connection; at least 1.
    pub(crate) max_prepared_statements: usize,
    pub(crate) scrub: Scrub,
    pub(crate) on_session_state: OnSessionState,
    /// Connections that may be pinned at once; at most `size`, 0 is none.
    pub(crate) max_pinned: u32,
    pub(crate) query_wait_timeout: Duration,
    pub(crate) timeouts: Timeouts,
}

/// Bounds on what a client does; `None` is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Timeouts {
    pub(crate) query: Option<Duration>,
    pub(crate) transaction: Option<Duration>,
    pub(crate) idle_transaction: Option<Duration>,
    pub(crate) client_idle: Option<Duration>,
}

impl Timeouts {
    /// The shortest; `None` if there is none.
    pub(crate) fn least(&self) -> Option<Duration> {
        let all = [
            self.query,
            self.transaction,
            self.idle_transaction,
            self.client_idle,
        ];
        all.into_iter().flatten().min()
    }
}

/// One `[[pools]]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    /// On the upstream, as is `user`.
    pub(crate) database: String,
    /// `None` serves every user of the database, each with connections of its own.
    pub(crate) user: Option<String>,
    pub(crate) overrides: Overrides,
}

/// What a pool, a user or a database says; `None` is left to a weaker one.
/// `0s` is off where [`PoolPlan`] has `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    pub(crate) mode: Option<PoolMode>,
    pub(crate) size: Option<u32>,
    pub(crate) min_size: Option<u32>,
    pub(crate) reserve_size: Option<u32>,
    pub(crate) priority: Option<Priority>,
    pub(crate) server_lifetime: Option<Duration>,
    pub(crate) server_idle_timeout: Option<Duration>,
    pub(crate) max_pinned: Option<u32>,
    pub(crate) query_wait_timeout: Option<Duration>,
    pub(crate) query_timeout: Option<Duration>,
    pub(crate) transaction_timeout: Option<Duration>,
    pub(crate) idle_transaction_timeout: Option<Duration>,
    pub(crate) client_idle_timeout: Option<Duration>,
}

/// What pools are made from.
#[derive(Debug)]
pub(crate) struct Rules {
    /// `[pooling]` itself; its `max_pinned` counts only if `max_pinned` is written.
    pub(crate) defaults: PoolPlan,
    /// `pooling.max_pinned`; `None` is one less than the size, and at least 1.
    pub(crate) max_pinned: Option<u32>,
    /// No pool can be larger.
    pub(crate) max_upstream_conn: u32,
    pub(crate) pools: Vec<Pool>,
    /// By the name that clients ask for.
    pub(crate) databases: BTreeMap<String, Overrides>,
    /// By the name that clients log in with; held mode only.
    pub(crate) users: BTreeMap<String, Overrides>,
}

/// Whose pool is looked for.
struct Asker<'a> {
    asked_database: Option<&'a str>,
    upstream_database: &'a Name,
    upstream_user: Option<&'a str>,
}

/// Answers which plan a client's pool follows.
#[derive(Debug)]
pub(crate) struct Pooling {
    rules: Rules,
    /// Positions of the pools in `rules`, by database on the upstream.
    by_database: BTreeMap<String, Vec<usize>>,
    /// Plans that were given out. Only so that equal ones are one: no answer
    /// depends on it, and there are no more than combinations of rules.
    given: Mutex<HashSet<Arc<PoolPlan>>>,
}

impl Pooling {
    pub(crate) fn new(rules: Rules) -> Self {
        let mut by_database: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (position, pool) in rules.pools.iter().enumerate() {
            let same_place = by_database.entry(pool.database.clone()).or_default();
            same_place.push(position);
        }
        Self {
            rules,
            by_database,
            given: Mutex::default(),
        }
    }

    /// What pools are made from, for the log.
    pub(crate) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Logins in flight at once to one upstream; `None` is no limit.
    pub(crate) fn max_logins(&self) -> Option<u32> {
        self.rules.defaults.max_logins
    }

    /// The plan for a client that asked for `asked_database` as `user` (its own
    /// names) and goes to `upstream_database` as `upstream_user`; `None`: not
    /// pooled, a connection of its own.
    pub(crate) fn plan(
        &self,
        asked_database: &Name,
        upstream_database: &Name,
        user: &Name,
        upstream_user: &Name,
    ) -> Option<Arc<PoolPlan>> {
        let pool = self.pool(&Asker {
            asked_database: asked_database.text(),
            upstream_database,
            upstream_user: upstream_user.text(),
        });
        let plan = self.assemble(pool, asked_database, user);
        if pool.is_none() && plan.mode == PoolMode::Session {
            return None;
        }
        Some(self.shared(plan))
    }

    /// Who is served first at the cap, for a client that is not pooled.
    pub(crate) fn priority(&self, user: &Name) -> Priority {
        let own = of(&self.rules.users, user).and_then(|own| own.priority);
        own.unwrap_or(self.rules.defaults.priority)
    }

    /// Whether any client at all could be pooled.
    pub(crate) fn is_used(&self) -> bool {
        let rules = &self.rules;
        let pools = |said: &Overrides| said.mode.is_some_and(|mode| mode != PoolMode::Session);
        rules.defaults.mode != PoolMode::Session
            || !rules.pools.is_empty()
            || rules.databases.values().any(pools)
            || rules.users.values().any(pools)
    }

    /// The `[[pools]]` entry whose name was asked for, else the one of this user,
    /// else the one of every user; the first of equals.
    fn pool(&self, asker: &Asker<'_>) -> Option<&Pool> {
        let positions = of(&self.by_database, asker.upstream_database)?;
        let pools = || positions.iter().filter_map(|at| self.rules.pools.get(*at));
        let of_user =
            |pool: &&Pool| pool.user.is_some() && pool.user.as_deref() == asker.upstream_user;
        let of_all = |pool: &&Pool| pool.user.is_none();
        // A pool of another user is not this client's, whatever it asked for: what
        // it would be asked to share was opened with another login.
        let named = pools()
            .filter(|pool| of_user(pool) || of_all(pool))
            .find(|pool| Some(&*pool.name) == asker.asked_database);
        named
            .or_else(|| pools().find(of_user))
            .or_else(|| pools().find(of_all))
    }

    fn assemble(&self, pool: Option<&Pool>, asked_database: &Name, user: &Name) -> PoolPlan {
        let rules = &self.rules;
        let mut plan = rules.defaults.clone();
        plan.name = pool.map(|pool| pool.name.clone());
        let mut max_pinned = rules.max_pinned;
        // Weakest first.
        let said = [
            of(&rules.databases, asked_database),
            of(&rules.users, user),
            pool.map(|pool| &pool.overrides),
        ];
        for overrides in said.into_iter().flatten() {
            overrides.apply(&mut plan);
            max_pinned = overrides.max_pinned.or(max_pinned);
        }
        // What was written for a larger pool means as much as there is here.
        plan.size = plan.size.min(rules.max_upstream_conn);
        plan.min_size = plan.min_size.min(plan.size);
        plan.max_pinned = max_pinned
            .unwrap_or_else(|| plan.size.saturating_sub(1).max(1))
            .min(plan.size);
        plan
    }

    fn shared(&self, plan: PoolPlan) -> Arc<PoolPlan> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = given.get(&plan) {
            return Arc::clone(known);
        }
        let plan = Arc::new(plan);
        given.insert(Arc::clone(&plan));
        plan
    }
}

/// What is written for `name`: nothing for one that is not text.
fn of<'m, T>(written: &'m BTreeMap<String, T>, name: &Name) -> Option<&'m T> {
    written.get(name.text()?)
}

impl Overrides {
    fn apply(&self, plan: &mut PoolPlan) {
        fn put<T: Copy>(place: &mut T, said: Option<T>) {
            if let Some(value) = said {
                *place = value;
            }
        }
        let time = |said: Option<Duration>| said.map(unless_zero);
        put(&mut plan.mode, self.mode);
        put(&mut plan.size, self.size);
        put(&mut plan.min_size, self.min_size);
        put(&mut plan.reserve_size, self.reserve_size);
        put(&mut plan.priority, self.priority);
        put(&mut plan.server_lifetime, time(self.server_lifetime));
        put(
            &mut plan.server_idle_timeout,
            time(self.server_idle_timeout),
        );
        put(&mut plan.query_wait_timeout, self.query_wait_timeout);
        let timeouts = &mut plan.timeouts;
        put(&mut timeouts.query, time(self.query_timeout));
        put(&mut timeouts.transaction, time(self.transaction_timeout));
        put(
            &mut timeouts.idle_transaction,
            time(self.idle_transaction_timeout),
        );
        put(&mut timeouts.client_idle, time(self.client_idle_timeout));
    }
}

/// `0s` turns a bound off.
pub(crate) fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}
