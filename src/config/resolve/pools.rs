//! `[[pools]]`, the pools file, and the database names that clients ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pooling;
use super::resolver::{Resolver, at_least_one, entries, missing, some_time};
use crate::config::keys::{DatabaseKeys, PoolKeys, PoolingKeys};
use crate::config::layer::Set;
use crate::config::problem::Invalid;
use crate::config::values::{Database, Overrides, Pool, PoolMode, User};

pub(super) fn resolve_all(
    desk: &mut Resolver<'_>,
    pooling: &PoolingKeys,
    max_upstream_conn: u32,
) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    let mut sum = PoolTotals {
        most: u64::from(max_upstream_conn),
        ..PoolTotals::default()
    };
    for entry in entries(desk, &PoolKeys::SECTION) {
        let table = desk.merged.table(&PoolKeys::SECTION, Some(&entry));
        let keys = PoolKeys::read(&table, desk.problems);
        let (Some(name), Some(size), Some(database)) = (
            needed(desk, (&keys, &entry), "name", keys.name.as_ref()),
            needed(desk, (&keys, &entry), "size", keys.size.as_ref()),
            needed(desk, (&keys, &entry), "database", keys.database.as_ref()),
        ) else {
            continue;
        };
        if pools.iter().any(|pool| pool.name == name.value) {
            let message = format!("there is another pool {:?}", name.value);
            desk.problems.add(
                &name.at,
                Invalid::new(message, "give each pool its own name"),
            );
        }
        let reserve = keys.reserve_size.as_ref();
        let reserve = reserve.unwrap_or(&pooling.reserve_pool_size).value;
        sum.add(desk, size, reserve);
        check(desk, &keys, size.value, pooling.pool_mode.value);
        pools.push(Pool {
            name: name.value.clone(),
            database: database.value.clone(),
            user: keys.user.as_ref().map(|set| set.value.clone()),
            overrides: overrides(desk, &keys),
        });
    }
    pools
}

/// What the pools up to here may take together.
#[derive(Default)]
struct PoolTotals {
    most: u64,
    sizes: u64,
    reserves: u64,
}

impl PoolTotals {
    fn add(&mut self, desk: &mut Resolver<'_>, size: &Set<u32>, reserve: u32) {
        if desk.problems.excuses("limits.max_upstream_conn") {
            return;
        }
        let before = self.sizes + self.reserves;
        self.sizes += u64::from(at_least_one(desk, size));
        self.reserves += u64::from(reserve);
        let sum = self.sizes + self.reserves;
        // Said once, at the pool that crosses the line.
        if sum > self.most && before <= self.most {
            let reserves = match self.reserves {
                0 => String::new(),
                count => format!(" ({count} of them in reserve)"),
            };
            desk.problems.add(&size.at, Invalid::new(
                format!(
                    "the pools up to here need {sum} connections{reserves}, and limits.max_upstream_conn is {}",
                    self.most
                ),
                "make pools smaller, or raise max_upstream_conn if the server allows it",
            ));
        }
    }
}

fn check(desk: &mut Resolver<'_>, keys: &PoolKeys, size: u32, default_mode: PoolMode) {
    if let Some(min) = &keys.min_size {
        pooling::min_within_size(desk, min, size);
    }
    if let Some(set) = keys.max_pinned.as_ref().filter(|set| set.value > size) {
        let message = format!("{} of {size} connections cannot be pinned", set.value);
        desk.problems.add(
            &set.at,
            Invalid::new(message, format!("write at most {size}")),
        );
    }
    let mode = keys.mode.as_ref().map_or(default_mode, |set| set.value);
    if mode == PoolMode::Statement {
        let timeouts = [&keys.transaction_timeout, &keys.idle_transaction_timeout];
        for timeout in timeouts.into_iter().flatten() {
            pooling::no_transactions(desk, timeout);
        }
    }
}

fn overrides(desk: &mut Resolver<'_>, keys: &PoolKeys) -> Overrides {
    fn value<T: Copy>(set: Option<&Set<T>>) -> Option<T> {
        set.map(|set| set.value)
    }
    Overrides {
        mode: value(keys.mode.as_ref()),
        size: value(keys.size.as_ref()),
        min_size: value(keys.min_size.as_ref()),
        reserve_size: value(keys.reserve_size.as_ref()),
        priority: value(keys.priority.as_ref()),
        server_lifetime: value(keys.server_lifetime.as_ref()),
        server_idle_timeout: value(keys.server_idle_timeout.as_ref()),
        max_pinned: value(keys.max_pinned.as_ref()),
        query_wait_timeout: keys
            .query_wait_timeout
            .as_ref()
            .map(|set| some_time(desk, set)),
        query_timeout: value(keys.query_timeout.as_ref()),
        transaction_timeout: value(keys.transaction_timeout.as_ref()),
        idle_transaction_timeout: value(keys.idle_transaction_timeout.as_ref()),
        client_idle_timeout: value(keys.client_idle_timeout.as_ref()),
    }
}

/// In held mode every role is known, so a pool that nobody can use is seen.
pub(super) fn warn_of_strangers(
    desk: &mut Resolver<'_>,
    pools: &[Pool],
    users: &BTreeMap<String, Arc<User>>,
) {
    if users.is_empty() {
        return;
    }
    for pool in pools {
        let Some(role) = &pool.user else { continue };
        if users.values().all(|user| user.upstream_user != *role) {
            desk.problems.warn(format!(
                "pool {:?} is not used: no user has the role {role:?} on the upstream",
                pool.name
            ));
        }
    }
}

fn needed<'k, T>(
    desk: &mut Resolver<'_>,
    (keys, entry): (&PoolKeys, &str),
    name: &str,
    set: Option<&'k Set<T>>,
) -> Option<&'k Set<T>> {
    if set.is_none() {
        let fix = match name {
            "size" => "write size = 20",
            "database" => "write database = \"defaultdb\"",
            _ => "write name = \"app-pool\"",
        };
        let (at, bad) = missing(&keys.section, (&PoolKeys::SECTION, entry), name, fix);
        desk.problems.add_missing(&at, bad);
    }
    set
}

/// The written names, and each pool's name unless it was written too.
pub(super) fn databases(desk: &mut Resolver<'_>, pools: &[Pool]) -> BTreeMap<String, Database> {
    let mut databases = BTreeMap::new();
    for name in entries(desk, &DatabaseKeys::SECTION) {
        let table = desk.merged.table(&DatabaseKeys::SECTION, Some(&name));
        let keys = DatabaseKeys::read(&table, desk.problems);
        let dbname = keys.dbname.map_or_else(|| name.clone(), |set| set.value);
        databases.insert(name, Database { dbname });
    }
    for pool in pools {
        databases
            .entry(pool.name.clone())
            .or_insert_with(|| Database {
                dbname: pool.database.clone(),
            });
    }
    databases
}
