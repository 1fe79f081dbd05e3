//! With `--pre`: what stands in the way of a move from the old server to the new one.
//!
//! The old one is an upstream on this machine that is not the active one. Blockers are found
//! by one question each; the two sides are compared without asking anything more.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::report::{Finding, Verdict};
use super::server::{number, text, unanswered};
use super::session::{AskError, Session};
use super::topic::Topic;
use super::words::{count, one_line};
use crate::config::values::{Upstream, UpstreamAddress};

/// Names that are shown.
const SHOWN: usize = 5;

/// Whether it is a server to move away from: here, and not where sessions go.
pub(super) fn is_old(upstream: &Upstream, active: &str) -> bool {
    let is_here = match &upstream.address {
        UpstreamAddress::Unix(_) => true,
        UpstreamAddress::Tcp { host, .. } => {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    };
    is_here && upstream.name != active
}

/// One thing that is better not there.
struct Blocker {
    /// Gives a row for each.
    sql: &'static str,
    verdict: Verdict,
    what: &'static str,
    cure: &'static str,
}

const fn warns(sql: &'static str, what: &'static str, cure: &'static str) -> Blocker {
    Blocker {
        sql,
        verdict: Verdict::Warn,
        what,
        cure,
    }
}

/// On the old server, in the database that moves.
const BLOCKERS: [Blocker; 10] = [
    Blocker {
        sql: "select gid from pg_catalog.pg_prepared_xacts where database = current_database()",
        verdict: Verdict::Fail,
        what: "prepared transactions are open, and end on no other server",
        cure: "end each: COMMIT PREPARED '…', or ROLLBACK PREPARED '…'",
    },
    warns(
        "select pid || ' of ' || coalesce(usename, '?') from pg_catalog.pg_stat_activity \
         where xact_start < pg_catalog.now() - interval '5 minutes' \
         and pid <> pg_catalog.pg_backend_pid()",
        "transactions are open for more than 5 minutes, and a consistent copy waits for them",
        "end them before the move: SELECT pg_terminate_backend(PID)",
    ),
    warns(
        "select distinct coalesce(usename, '?') || ' from ' || pg_catalog.host(client_addr) \
         from pg_catalog.pg_stat_activity where client_addr is not null \
         and not client_addr <<= inet '127.0.0.0/8' and client_addr <> inet '::1'",
        "clients come from other machines, past this one: they do not move with pgsluice",
        "let each connect to a pgsluice, or to the new server, on the day of the move",
    ),
    warns(
        "select pg_catalog.current_setting('wal_level') \
         where pg_catalog.current_setting('wal_level') <> 'logical'",
        "wal_level allows no logical replication: the move takes a dump, and the time for it",
        "for a move with little downtime: ALTER SYSTEM SET wal_level = 'logical', and a restart",
    ),
    warns(
        "select c.oid::regclass from pg_catalog.pg_class c \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind = 'r' and c.relpersistence = 'p' \
         and n.nspname not in ('pg_catalog', 'information_schema') \
         and (c.relreplident = 'n' or c.relreplident = 'd' and not exists \
              (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary)) \
         order by 1",
        "tables have no primary key: once they are published, UPDATE and DELETE fail there",
        "ALTER TABLE … ADD PRIMARY KEY (…), or ALTER TABLE … REPLICA IDENTITY FULL",
    ),
    warns(
        "select oid::regclass from pg_catalog.pg_class \
         where relpersistence = 'u' and relkind = 'r' order by 1",
        "tables are unlogged: a dump has them, replication does not",
        "ALTER TABLE … SET LOGGED, or copy them in the pause",
    ),
    warns(
        "select pg_catalog.count(*) from pg_catalog.pg_largeobject_metadata \
         having pg_catalog.count(*) > 0",
        "large objects are there: a dump has them, replication does not",
        "move them with pg_dump --large-objects in the pause",
    ),
    warns(
        "select slot_name from pg_catalog.pg_replication_slots \
         where database = current_database() order by 1",
        "replication slots are read by somebody who does not move with the data",
        "let those readers begin anew on the new server",
    ),
    warns(
        "select indexrelid::regclass from pg_catalog.pg_index where not indisvalid order by 1",
        "indexes are invalid",
        "REINDEX INDEX CONCURRENTLY …, or drop them, before the move",
    ),
    warns(
        "select rolname from pg_catalog.pg_authid \
         where rolcanlogin and rolpassword like 'md5%' order by 1",
        "roles have passwords stored as md5, which newer servers no longer like",
        "on the new server set them anew: ALTER ROLE … PASSWORD '…'",
    ),
];

/// What is compared between the two sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Side {
    name: String,
    version: u32,
    encoding: String,
    collation: String,
    /// Installed on the old side, available on the new one.
    extensions: BTreeSet<String>,
    roles: BTreeSet<String>,
    tables: u64,
    bytes: u64,
}

const SIDE: &str = "select pg_catalog.current_setting('server_version_num'), \
    pg_catalog.pg_encoding_to_char(encoding), datcollate, \
    pg_catalog.pg_database_size(oid), \
    (select pg_catalog.count(*) from pg_catalog.pg_class c \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema') \
     and n.nspname not like 'pg\\_temp%') \
    from pg_catalog.pg_database where datname = current_database()";
const INSTALLED: &str = "select extname from pg_catalog.pg_extension";
const AVAILABLE: &str = "select name from pg_catalog.pg_available_extensions";
const ROLES: &str = "select rolname from pg_catalog.pg_roles where rolcanlogin and not rolsuper";

impl Side {
    async fn read(session: &mut Session, name: &str, extensions: &str) -> Result<Self, AskError> {
        let (row, _) = session.timed_row(SIDE).await?;
        let names = |rows: Vec<super::session::Row>| -> BTreeSet<String> {
            rows.iter().map(|row| one_line(text(row, 0))).collect()
        };
        Ok(Self {
            name: name.to_owned(),
            version: number(&row, 0).unwrap_or_default(),
            encoding: one_line(text(&row, 1)),
            collation: one_line(text(&row, 2)),
            bytes: number(&row, 3).unwrap_or_default(),
            tables: number(&row, 4).unwrap_or_default(),
            extensions: names(session.rows(extensions).await?),
            roles: names(session.rows(ROLES).await?),
        })
    }
}

/// Blockers of the old server; and what it is compared by.
pub(super) async fn old(session: &mut Session, name: &str) -> (Option<Side>, Vec<Finding>) {
    let side = match Side::read(session, name, INSTALLED).await {
        Ok(side) => side,
        Err(error) => return (None, vec![unanswered(&error)]),
    };
    let megabytes = side.bytes / (1 << 20);
    let evidence = format!(
        "to be moved: {megabytes} MiB in {}, {}",
        count(side.tables, "table"),
        count(side.extensions.len() as u64, "extension")
    );
    let main = Finding::pass(evidence)
        .figure("bytes", side.bytes)
        .figure("tables", side.tables);
    let mut findings = vec![main];
    findings.extend(blind(session).await);
    for blocker in &BLOCKERS {
        match session.rows(blocker.sql).await {
            Ok(rows) => {
                let names: Vec<_> = rows.iter().map(|row| one_line(text(row, 0))).collect();
                findings.extend(blocker.finding(&names));
            }
            Err(error) => {
                let why = format!("{} ({})", blocker.what, one_line(&error.to_string()));
                let cure = "check with a role that may see it: a superuser of the old server";
                let why = format!("it could not be seen whether {why}");
                findings.push(Finding::unchecked(why, cure, Topic::Move));
            }
        }
    }
    (Some(side), findings)
}

/// Sessions of other roles look to many a role as if they did nothing, and came from nowhere.
async fn blind(session: &mut Session) -> Option<Finding> {
    let sql = "select pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage'), \
               pg_catalog.quote_ident(current_user)";
    let row = match session.timed_row(sql).await {
        Ok((row, _)) => row,
        Err(error) => return Some(unanswered(&error)),
    };
    (text(&row, 0) != "t").then(|| {
        Finding::unchecked(
            "this role does not see others' long transactions, nor where their clients come from",
            format!(
                "as a superuser: GRANT pg_read_all_stats TO {}",
                one_line(text(&row, 1))
            ),
            Topic::Move,
        )
    })
}

impl Blocker {
    fn finding(&self, names: &[String]) -> Option<Finding> {
        if names.is_empty() {
            return None;
        }
        let evidence = format!("{}: {}", self.what, few(names));
        Some(match self.verdict {
            Verdict::Fail => Finding::fail(evidence, self.cure, Topic::Move),
            _ => Finding::warn(evidence, self.cure, Topic::Move),
        })
    }
}

fn few(names: &[String]) -> String {
    let shown = names.get(..SHOWN).unwrap_or(names).join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The new server, compared with each old one.
pub(super) async fn new(session: &mut Session, name: &str, olds: &[Side]) -> Vec<Finding> {
    match Side::read(session, name, AVAILABLE).await {
        Ok(_) if olds.is_empty() => {
            vec![Finding::not_applicable(
                "no old server to compare with was reached",
            )]
        }
        Ok(new) => olds.iter().flat_map(|old| compare(old, &new)).collect(),
        Err(error) => vec![unanswered(&error)],
    }
}

fn compare(old: &Side, new: &Side) -> Vec<Finding> {
    let (from, to) = (old.version / 10_000, new.version / 10_000);
    let mut findings = Vec::new();
    findings.push(match to < from {
        true => Finding::fail(
            format!(
                "PostgreSQL {to} is older than the {from} of {:?}: it need not understand its dump",
                old.name
            ),
            format!("make the new cluster with version {from} or newer"),
            Topic::Move,
        ),
        false => Finding::pass(format!(
            "PostgreSQL {to} can take over from the {from} of {:?}",
            old.name
        )),
    });
    let missing = |olds: &BTreeSet<String>, news: &BTreeSet<String>| -> Vec<String> {
        olds.difference(news).cloned().collect()
    };
    let extensions = missing(&old.extensions, &new.extensions);
    if !extensions.is_empty() {
        findings.push(Finding::fail(
            format!(
                "the new server has no such extensions: {}",
                few(&extensions)
            ),
            "do without them, or ask the provider: SELECT * FROM pg_available_extensions",
            Topic::Move,
        ));
    }
    let roles = missing(&old.roles, &new.roles);
    if !roles.is_empty() {
        findings.push(Finding::warn(
            format!(
                "roles that log in to {:?} are not on the new server: {}",
                old.name,
                few(&roles)
            ),
            format!(
                "in the control panel, or: CREATE ROLE \"{}\" LOGIN PASSWORD '…'",
                roles.join("\", \"")
            ),
            Topic::Move,
        ));
    }
    findings.extend(differences(old, new));
    findings
}

/// Of the two databases.
fn differences(old: &Side, new: &Side) -> Vec<Finding> {
    let mut findings = Vec::new();
    if old.encoding != new.encoding {
        findings.push(Finding::warn(
            format!("the encoding is {} and was {}", new.encoding, old.encoding),
            format!(
                "CREATE DATABASE … ENCODING '{}' TEMPLATE template0, or convert",
                old.encoding
            ),
            Topic::Move,
        ));
    }
    if old.collation != new.collation {
        findings.push(Finding::warn(
            format!(
                "text sorts by {} and did by {}: ORDER BY and ranges of text may differ",
                new.collation, old.collation
            ),
            format!(
                "CREATE DATABASE … LC_COLLATE '{}' TEMPLATE template0",
                old.collation
            ),
            Topic::Move,
        ));
    }
    if new.tables > 0 {
        findings.push(Finding::warn(
            format!(
                "the database on the new server is not empty: {}",
                count(new.tables, "table")
            ),
            "move into an empty database, or drop what is there first",
            Topic::Move,
        ));
    }
    findings
}

/// There is nothing to compare with.
pub(super) fn no_old_server() -> Finding {
    Finding::unchecked(
        "the old server: the configuration has no other upstream on this machine",
        "add [upstreams.old] with host = \"127.0.0.1\", port = 5433, sslmode = \"disable\", user, password_file and dbname",
        Topic::Move,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(version: u32) -> Side {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Side {
            name: "old".to_owned(),
            version: version * 10_000,
            encoding: "UTF8".to_owned(),
            collation: "C".to_owned(),
            extensions: names(&["plpgsql"]),
            roles: names(&["app"]),
            tables: 0,
            bytes: 0,
        }
    }

    #[test]
    fn each_difference_that_harms_a_move_is_told_and_equal_sides_pass() {
        let found = compare(&side(14), &side(15));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].verdict, Verdict::Pass);
        let mut old = side(16);
        old.extensions.insert("timescaledb".to_owned());
        old.roles.insert("cron".to_owned());
        "LATIN1".clone_into(&mut old.encoding);
        "de_DE.UTF-8".clone_into(&mut old.collation);
        let mut new = side(15);
        new.tables = 2;
        let found = compare(&old, &new);
        let told: Vec<_> = found.iter().map(|one| one.evidence.as_str()).collect();
        for part in [
            "older than",
            "timescaledb",
            "cron",
            "LATIN1",
            "de_DE",
            "2 tables",
        ] {
            assert!(
                told.iter().any(|text| text.contains(part)),
                "{part}: {told:?}"
            );
        }
        let failed = found.iter().filter(|one| one.verdict == Verdict::Fail);
        assert_eq!(failed.count(), 2);
    }

    #[test]
    fn many_names_are_cut_short() {
        let names: Vec<_> = (1..=7).map(|n| n.to_string()).collect();
        assert_eq!(few(&names), "1, 2, 3, 4, 5 and 2 more");
        assert_eq!(BLOCKERS[0].finding(&[]), None);
    }
}
