//! `[[pools]]`, the pools file, and the database names that clients ask for.

use std::collections::BTreeMap;

use super::{Desk, at_least_one};
use crate::config::keys::{DatabaseKeys, PoolKeys};
use crate::config::layer::Set;
use crate::config::problem::Bad;
use crate::config::schema::missing;
use crate::config::values::{Database, Pool};

pub(super) fn resolve_all(desk: &mut Desk<'_>, max_upstream_conn: u32) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    let mut sum: u64 = 0;
    for entry in super::entries(desk, &PoolKeys::SECTION) {
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
            desk.problems
                .add(&name.at, Bad::new(message, "give each pool its own name"));
        }
        let before = sum;
        sum += u64::from(at_least_one(desk, size));
        // Said once, at the pool that crosses the line.
        if sum > u64::from(max_upstream_conn) && before <= u64::from(max_upstream_conn) {
            desk.problems.add(&size.at, Bad::new(
                format!("the pools up to here need {sum} connections, and limits.max_upstream_conn is {max_upstream_conn}"),
                "make pools smaller, or raise max_upstream_conn if the server allows it",
            ));
        }
        pools.push(Pool {
            name: name.value.clone(),
            mode: keys.mode.value,
            size: size.value,
            database: database.value.clone(),
            user: keys.user.as_ref().map(|set| set.value.clone()),
            priority: keys.priority.value,
        });
    }
    pools
}

fn needed<'k, T>(
    desk: &mut Desk<'_>,
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
        desk.problems.add(&at, bad);
    }
    set
}

/// The written names, and each pool's name unless it was written too.
pub(super) fn databases(desk: &mut Desk<'_>, pools: &[Pool]) -> BTreeMap<String, Database> {
    let mut databases = BTreeMap::new();
    for name in super::entries(desk, &DatabaseKeys::SECTION) {
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
