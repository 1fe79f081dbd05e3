//! How many connections there are, for whom, and who has them now, against the caps that are
//! configured.

use super::account::Account;
use super::report::Finding;
use super::server::{number, text, unanswered};
use super::session::{AskError, Row, Session};
use super::topic::Topic;
use super::words::{count, one_line};
use crate::config::values::Limits;

/// Groups of sessions that are shown.
const SHOWN: usize = 8;

/// What a server allows.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    max_connections: u32,
    superuser_reserved: u32,
    /// For roles with pg_use_reserved_connections, from Postgres 16 on.
    reserved: u32,
    /// -1 is none, here and below.
    role_limit: i64,
    database_limit: i64,
}

impl Allowed {
    fn read(row: &Row) -> Option<Self> {
        Some(Self {
            max_connections: number(row, 0)?,
            superuser_reserved: number(row, 1)?,
            reserved: number(row, 2).unwrap_or_default(),
            role_limit: number(row, 3).unwrap_or(-1),
            database_limit: number(row, 4).unwrap_or(-1),
        })
    }

    /// For roles that are nothing special, as those of applications.
    const fn usable(self) -> u32 {
        self.max_connections
            .saturating_sub(self.superuser_reserved)
            .saturating_sub(self.reserved)
    }
}

/// Sessions that look alike.
#[derive(Debug, Clone)]
struct Group {
    user: String,
    database: String,
    application: String,
    address: String,
    count: u32,
    origin: Origin,
}

/// Where sessions come from, as far as the role may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here,
    Elsewhere,
    Unseen,
}

const ALLOWED: &str = "select pg_catalog.current_setting('max_connections'), \
    pg_catalog.current_setting('superuser_reserved_connections'), \
    pg_catalog.current_setting('reserved_connections', true), \
    (select rolconnlimit from pg_catalog.pg_roles where rolname = current_user), \
    (select datconnlimit from pg_catalog.pg_database where datname = current_database())";

/// Of others, a role without pg_read_all_stats sees the names alone.
const SESSIONS: &str = "select usename, datname, application_name, \
    coalesce(pg_catalog.host(client_addr), '?'), pg_catalog.count(*), \
    case when backend_type is null then 'unseen' \
         when client_addr = pg_catalog.inet_client_addr() then 'here' end \
    from pg_catalog.pg_stat_activity where pid <> pg_catalog.pg_backend_pid() \
    and (backend_type = 'client backend' or backend_type is null and datid is not null \
         and usesysid is not null) \
    group by 1, 2, 3, 4, 6 order by 5 desc, 1, 2, 3, 4";

pub(super) async fn limits(
    session: &mut Session,
    limits: &Limits,
    account: &Account,
) -> Vec<Finding> {
    match facts(session).await {
        Ok((allowed, groups)) => judge(allowed, &groups, limits, account),
        Err(error) => vec![unanswered(&error)],
    }
}

async fn facts(session: &mut Session) -> Result<(Allowed, Vec<Group>), AskError> {
    let (row, _) = session.timed_row(ALLOWED).await?;
    let unreadable = || AskError::Lost("limits that are no numbers".to_owned());
    let allowed = Allowed::read(&row).ok_or_else(unreadable)?;
    let rows = session.rows(SESSIONS).await?;
    let groups = rows.iter().map(|row| Group {
        user: one_line(text(row, 0)),
        database: one_line(text(row, 1)),
        application: one_line(text(row, 2)),
        address: one_line(text(row, 3)),
        count: number(row, 4).unwrap_or_default(),
        origin: match text(row, 5) {
            "here" => Origin::Here,
            "unseen" => Origin::Unseen,
            _ => Origin::Elsewhere,
        },
    });
    Ok((allowed, groups.collect()))
}

fn judge(allowed: Allowed, groups: &[Group], limits: &Limits, account: &Account) -> Vec<Finding> {
    let usable = allowed.usable();
    let cap = limits.max_upstream_conn;
    let of = |origin: Option<Origin>| -> u32 {
        let some = groups.iter();
        let some = some.filter(|group| origin.is_none_or(|origin| group.origin == origin));
        some.map(|group| group.count).sum()
    };
    let in_use = of(None);
    let elsewhere = of(Some(Origin::Elsewhere));
    let unseen = match of(Some(Origin::Unseen)) {
        0 => String::new(),
        number => format!(
            " and {number} of other roles, whose origin {:?} may not see",
            account.user
        ),
    };
    let room = usable.saturating_sub(elsewhere);
    let kept = allowed.superuser_reserved + allowed.reserved;
    let facts = format!(
        "{usable} for applications (max_connections {}, {kept} reserved), {in_use} in use, {elsewhere} of them not from this machine{unseen}; max_upstream_conn is {cap}",
        allowed.max_connections
    );
    let main = if cap > usable {
        let cure = format!("write limits.max_upstream_conn = {}", room.max(1));
        Finding::fail(
            format!("the cap is above what the server has: {facts}"),
            cure,
            Topic::Slots,
        )
    } else if cap > room {
        let cure = format!(
            "write limits.max_upstream_conn = {}, or end the others' connections",
            room.max(1)
        );
        Finding::warn(
            format!("the cap and the others together are above what the server has: {facts}"),
            cure,
            Topic::Slots,
        )
    } else {
        Finding::pass(facts)
    };
    let main = main
        .more(groups.iter().take(SHOWN).map(line))
        .more(left_out(groups))
        .figure("max_connections", allowed.max_connections)
        .figure("reserved", kept)
        .figure("usable", usable)
        .figure("in_use", in_use)
        .figure("in_use_from_elsewhere", elsewhere)
        .figure("max_upstream_conn", cap);
    let mut findings = vec![main];
    findings.extend(own_limits(allowed, limits, account));
    findings
}

fn line(group: &Group) -> String {
    let Group {
        user,
        database,
        application,
        address,
        count: number,
        origin,
    } = group;
    let application = match application.as_str() {
        "" => String::new(),
        name => format!(" ({name})"),
    };
    let place = match origin {
        Origin::Here => "this machine",
        Origin::Unseen => "where this role may not see",
        Origin::Elsewhere if address == "?" => "a socket of the server's machine",
        Origin::Elsewhere => address,
    };
    let sessions = count(*number, "connection");
    format!("{sessions} of {user} to {database}{application} from {place}")
}

fn left_out(groups: &[Group]) -> Option<String> {
    let others = groups.get(SHOWN..)?;
    let number: u32 = others.iter().map(|group| group.count).sum();
    (number > 0).then(|| format!("{} more", count(number, "connection")))
}

/// What the role or the database may have by itself.
fn own_limits(
    allowed: Allowed,
    limits: &Limits,
    account: &Account,
) -> impl Iterator<Item = Finding> {
    let cap = i64::from(limits.max_upstream_conn);
    let capped = |own: Option<u32>| own.map_or(cap, |own| cap.min(i64::from(own)));
    let quoted = |name: &str| name.replace('"', "\"\"");
    let (user, database) = (quoted(&account.user), quoted(&account.database));
    let role = (
        allowed.role_limit,
        capped(limits.max_user_connections),
        format!("role {:?}", account.user),
        format!("ALTER ROLE \"{user}\" CONNECTION LIMIT -1"),
        "max_user_connections",
    );
    let database = (
        allowed.database_limit,
        capped(limits.max_db_connections),
        format!("database {:?}", account.database),
        format!("ALTER DATABASE \"{database}\" CONNECTION LIMIT -1"),
        "max_db_connections",
    );
    [role, database]
        .into_iter()
        .filter(|(limit, cap, ..)| (0..*cap).contains(limit))
        .map(|(limit, cap, what, command, key)| {
            let evidence =
                format!("{what} may have {limit} connections, and the proxy would open {cap}");
            let cure = format!("on the server: {command}; or write limits.{key} = {limit}");
            Finding::warn(evidence, cure, Topic::Slots)
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::Verdict;
    use super::*;

    const ALLOWED: Allowed = Allowed {
        max_connections: 25,
        superuser_reserved: 3,
        reserved: 0,
        role_limit: -1,
        database_limit: -1,
    };

    fn with(cap: u32, allowed: Allowed, elsewhere: u32) -> Vec<Finding> {
        let limits = Limits {
            max_client_conn: 100,
            max_user_client_connections: None,
            max_db_client_connections: None,
            max_upstream_conn: cap,
            max_user_connections: None,
            max_db_connections: Some(4),
            query_wait_timeout: Duration::ZERO,
            client_login_timeout: Duration::ZERO,
            drain_timeout: Duration::ZERO,
        };
        let group = |count, origin| Group {
            user: "cron".to_owned(),
            database: "defaultdb".to_owned(),
            application: "psql".to_owned(),
            address: "10.0.0.9".to_owned(),
            count,
            origin,
        };
        let account = Account {
            user: "app".to_owned(),
            password: None,
            password_key: String::new(),
            database: "defaultdb".to_owned(),
            is_database_guessed: false,
        };
        let groups = [
            group(elsewhere, Origin::Elsewhere),
            group(2, Origin::Here),
            group(20, Origin::Unseen),
        ];
        judge(allowed, &groups, &limits, &account)
    }

    #[test]
    fn the_cap_is_judged_by_what_the_server_leaves_for_applications_and_what_others_have() {
        for (cap, elsewhere, verdict, cure) in [
            (22, 0, Verdict::Pass, ""),
            (23, 0, Verdict::Fail, "max_upstream_conn = 22"),
            (17, 5, Verdict::Pass, ""),
            (18, 5, Verdict::Warn, "max_upstream_conn = 17"),
            (5, 22, Verdict::Warn, "max_upstream_conn = 1,"),
        ] {
            let found = with(cap, ALLOWED, elsewhere);
            assert_eq!(found[0].verdict, verdict, "{cap} and {elsewhere}");
            let told = found[0].cure.clone().unwrap_or_default();
            assert!(told.contains(cure), "{told}");
        }
        let found = with(22, ALLOWED, 1);
        assert!(
            found[0].more[0].contains("1 connection of cron to defaultdb (psql) from 10.0.0.9")
        );
    }

    #[test]
    fn limits_of_the_role_and_of_the_database_count_against_the_caps_for_them() {
        let allowed = Allowed {
            role_limit: 5,
            database_limit: 4,
            reserved: 2,
            ..ALLOWED
        };
        let found = with(20, allowed, 0);
        assert_eq!(
            found.len(),
            2,
            "4 connections to one database are capped: {found:?}"
        );
        assert_eq!(found[0].verdict, Verdict::Pass);
        assert!(
            found[1]
                .cure
                .as_ref()
                .unwrap()
                .contains("ALTER ROLE \"app\"")
        );
        let found = with(21, allowed, 0);
        assert_eq!(
            found[0].verdict,
            Verdict::Fail,
            "reserved_connections count"
        );
    }
}
