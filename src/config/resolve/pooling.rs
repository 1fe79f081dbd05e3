//! `[pooling]`, what databases and users say otherwise, and what does not go
//! together.

use std::collections::BTreeMap;

use super::resolver::{Resolver, at_least_one, entries, some_time, zero_is_none};
use crate::config::keys::{AuthKeys, DatabaseKeys, PoolingKeys, UserKeys};
use crate::config::layer::Set;
use crate::config::problem::Invalid;
use crate::config::values::{
    AuthMode, Limits, OnSessionState, Overrides, Pool, PoolMode, PoolPlan, Pooling, Priority,
    Rules, Scrub, Timeouts, unless_zero,
};

pub(super) fn read(desk: &mut Resolver<'_>) -> PoolingKeys {
    let table = desk.merged.table(&PoolingKeys::SECTION, None);
    PoolingKeys::read(&table, desk.problems)
}

/// What everything before this has found.
pub(super) struct Resolved<'a> {
    pub(super) keys: &'a PoolingKeys,
    pub(super) limits: &'a Limits,
    pub(super) auth: &'a AuthKeys,
    pub(super) pools: &'a [Pool],
}

pub(super) fn resolve(desk: &mut Resolver<'_>, found: &Resolved<'_>) -> Pooling {
    check(desk, found.keys);
    let defaults = defaults(desk, found);
    let databases = databases(desk, found);
    let users = users(desk, found);
    let pooling = Pooling::new(Rules {
        defaults,
        max_pinned: found.keys.max_pinned.as_ref().map(|set| set.value),
        max_upstream_conn: found.limits.max_upstream_conn,
        pools: found.pools.to_vec(),
        databases,
        users,
    });
    if !pooling.is_used() {
        warn_of_unused_sizes(desk);
    }
    pooling
}

fn defaults(desk: &mut Resolver<'_>, found: &Resolved<'_>) -> PoolPlan {
    let keys = found.keys;
    let prepared = at_least_one(desk, &keys.max_prepared_statements);
    PoolPlan {
        name: None,
        mode: keys.pool_mode.value,
        size: at_least_one(desk, &keys.default_pool_size),
        min_size: keys.min_pool_size.value,
        reserve_size: keys.reserve_pool_size.value,
        reserve_timeout: some_time(desk, &keys.reserve_pool_timeout),
        priority: Priority::Medium,
        server_lifetime: unless_zero(keys.server_lifetime.value),
        server_idle_timeout: unless_zero(keys.server_idle_timeout.value),
        login_retry: some_time(desk, &keys.server_login_retry),
        max_logins: zero_is_none(&keys.max_logins),
        max_prepared_statements: usize::try_from(prepared).unwrap_or(usize::MAX),
        scrub: keys.scrub.value,
        on_session_state: keys.on_session_state.value,
        max_pinned: keys.max_pinned.as_ref().map_or(0, |set| set.value),
        query_wait_timeout: found.limits.query_wait_timeout,
        timeouts: Timeouts {
            query: unless_zero(keys.query_timeout.value),
            transaction: unless_zero(keys.transaction_timeout.value),
            idle_transaction: unless_zero(keys.idle_transaction_timeout.value),
            client_idle: unless_zero(keys.client_idle_timeout.value),
        },
    }
}

fn check(desk: &mut Resolver<'_>, keys: &PoolingKeys) {
    min_within_size(desk, &keys.min_pool_size, keys.default_pool_size.value);
    if keys.pool_mode.value == PoolMode::Statement {
        no_transactions(desk, &keys.transaction_timeout);
        no_transactions(desk, &keys.idle_transaction_timeout);
    }
    if keys.scrub.value == Scrub::Never {
        desk.problems.warn(
            "pooling.scrub=never: a client finds what others left on its connection; \
             this is for measuring",
        );
    }
    if keys.on_session_state.value == OnSessionState::Ignore {
        desk.problems.warn(
            "pooling.on_session_state=ignore: clients lose session state without a word \
             when others need their connection",
        );
    }
}

pub(super) fn min_within_size(desk: &mut Resolver<'_>, min: &Set<u32>, size: u32) {
    if min.value > size {
        let message = format!(
            "{} connections are to be kept in a pool of {size}",
            min.value
        );
        desk.problems.add(
            &min.at,
            Invalid::new(
                message,
                format!("write at most {size}, or make the pool larger"),
            ),
        );
    }
}

/// In statement mode no transaction outlives its statement.
pub(super) fn no_transactions(desk: &mut Resolver<'_>, timeout: &Set<std::time::Duration>) {
    if !timeout.value.is_zero() {
        desk.problems.add(
            &timeout.at,
            Invalid::new(
                "there are no transactions to bound in statement mode",
                "take it out; query_timeout bounds each statement",
            ),
        );
    }
}

fn databases(desk: &mut Resolver<'_>, found: &Resolved<'_>) -> BTreeMap<String, Overrides> {
    let mut databases = BTreeMap::new();
    let pools = found.pools.iter();
    let mut kept: u64 = pools
        .filter_map(|pool| pool.overrides.min_size)
        .map(u64::from)
        .sum();
    let most = u64::from(found.limits.max_upstream_conn);
    for name in entries(desk, &DatabaseKeys::SECTION) {
        let table = desk.merged.table(&DatabaseKeys::SECTION, Some(&name));
        let keys = DatabaseKeys::read(&table, desk.problems);
        let size = keys.pool_size.as_ref().map(|set| at_least_one(desk, set));
        if let Some(min) = &keys.min_pool_size {
            let size = size.unwrap_or(found.keys.default_pool_size.value);
            min_within_size(desk, min, size);
            let before = kept;
            kept += u64::from(min.value);
            // Said once, at the database that crosses the line.
            if kept > most && before <= most {
                desk.problems.add(&min.at, Invalid::new(
                    format!("{kept} connections are to be kept up to here, and limits.max_upstream_conn is {most}"),
                    "keep fewer, or raise max_upstream_conn if the server allows it",
                ));
            }
        }
        let overrides = Overrides {
            mode: keys.pool_mode.map(|set| set.value),
            size,
            min_size: keys.min_pool_size.map(|set| set.value),
            ..Overrides::default()
        };
        databases.insert(name, overrides);
    }
    databases
}

fn users(desk: &mut Resolver<'_>, found: &Resolved<'_>) -> BTreeMap<String, Overrides> {
    let mut users = BTreeMap::new();
    for entry in entries(desk, &UserKeys::SECTION) {
        let table = desk.merged.table(&UserKeys::SECTION, Some(&entry));
        let keys = UserKeys::read(&table, desk.problems);
        let places = [
            keys.pool_mode.as_ref().map(|set| &set.at),
            keys.pool_size.as_ref().map(|set| &set.at),
            keys.priority.as_ref().map(|set| &set.at),
        ];
        if found.auth.mode.value == AuthMode::Passthrough {
            for at in places.into_iter().flatten() {
                let message = "users have settings of their own only in held mode";
                let fix = "write mode = \"held\" under [auth], or a [[pools]] entry with this user";
                desk.problems.add(at, Invalid::new(message, fix));
            }
        }
        let overrides = Overrides {
            mode: keys.pool_mode.map(|set| set.value),
            size: keys.pool_size.as_ref().map(|set| at_least_one(desk, set)),
            priority: keys.priority.map(|set| set.value),
            ..Overrides::default()
        };
        if let Some(name) = keys.name {
            users.insert(name.value, overrides);
        }
    }
    users
}

/// Sizes of a user's or a database's pools although every client has a
/// connection of its own.
fn warn_of_unused_sizes(desk: &mut Resolver<'_>) {
    for section in [&DatabaseKeys::SECTION, &UserKeys::SECTION] {
        for entry in entries(desk, section) {
            for key in ["pool_size", "min_pool_size"] {
                let path = section.path(Some(&entry)).join(key);
                if let Some((_, at)) = desk.merged.get(&path) {
                    desk.problems.warn(format!(
                        "{} is not used: there are no pools, and every pool_mode is session",
                        at.key
                    ));
                }
            }
        }
    }
}
