//! What the server says of itself, of the role, of its clock, and how far away it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::account::Account;
use super::report::Finding;
use super::session::{AskError, Row, Session};
use super::topic::Topic;
use super::words::{millis, one_line, span};
use crate::config::Config;
use crate::config::values::UpstreamAddress;

/// Versions that the proxy is tested with.
const TESTED: std::ops::RangeInclusive<u32> = 14..=18;
/// Questions of which the latency is made.
const ROUND_TRIPS: usize = 20;
/// A session makes one round trip for a statement.
const FAR: Duration = Duration::from_millis(30);
/// Clocks that are watched are nearer than that.
const SKEW: f64 = 5.0;

/// What a question that has no answer comes to.
pub(super) fn unanswered(error: &AskError) -> Finding {
    let cure = "look into the server's log, and try again";
    Finding::unchecked(one_line(&error.to_string()), cure, Topic::Server)
}

pub(super) fn text(row: &Row, at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

pub(super) fn number<T: std::str::FromStr>(row: &Row, at: usize) -> Option<T> {
    text(row, at).parse().ok()
}

pub(super) async fn server(session: &mut Session, config: &Config) -> Vec<Finding> {
    let sql = "select pg_catalog.current_setting('server_version_num'), \
               pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery(), \
               pg_catalog.current_setting('transaction_read_only'), \
               pg_catalog.current_setting('server_encoding')";
    let row = match session.timed_row(sql).await {
        Ok((row, _)) => row,
        Err(error) => return vec![unanswered(&error)],
    };
    let mut findings = vec![version(&row)];
    if text(&row, 2) == "t" {
        findings.push(Finding::warn(
            "this server is a standby: it refuses writes (cannot execute … in a read-only transaction)",
            "correct the upstream's `host`: that of the primary has no \"replica\" or \"standby\" in its name",
            Topic::Server,
        ));
    } else if text(&row, 3) == "on" {
        findings.push(Finding::warn(
            "transactions are read-only by default for this role and database",
            "ALTER ROLE … RESET default_transaction_read_only, or the same of the database; a managed cluster whose disk is full sets it by itself",
            Topic::Server,
        ));
    }
    findings.extend(missing_databases(session, config).await);
    findings
}

fn version(row: &Row) -> Finding {
    let (shown, encoding) = (one_line(text(row, 1)), one_line(text(row, 4)));
    let num: u32 = number(row, 0).unwrap_or_default();
    let evidence = format!("PostgreSQL {shown}, {encoding}");
    let finding = match TESTED.contains(&(num / 10_000)) {
        true => Finding::pass(evidence),
        false => Finding::warn(
            format!("{evidence}: not among the versions that pgsluice is tested with"),
            format!(
                "try the application against it first; tested are {} to {}",
                TESTED.start(),
                TESTED.end()
            ),
            Topic::Server,
        ),
    };
    finding.figure("server_version_num", num)
}

/// Databases that the configuration names, and the server has not.
async fn missing_databases(session: &mut Session, config: &Config) -> Option<Finding> {
    let pools = config.pools.iter().map(|pool| &pool.database);
    let mapped = config.databases.values().map(|database| &database.dbname);
    let mut names: Vec<_> = pools.chain(mapped).map(|name| literal(name)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let sql = format!(
        "select name from pg_catalog.unnest(array[{}]::text[]) as name \
         where name not in (select datname::text from pg_catalog.pg_database)",
        names.join(", ")
    );
    let rows = session.rows(&sql).await.ok()?;
    let missing: Vec<_> = rows.iter().map(|row| one_line(text(row, 0))).collect();
    let first = missing.first()?;
    Some(Finding::warn(
        format!(
            "the configuration names databases that the server has not: {}",
            missing.join(", ")
        ),
        format!(
            "correct `database` in [[pools]] or `dbname` in [databases.…], or: createdb {first}"
        ),
        Topic::Database,
    ))
}

/// A literal of a server with standard_conforming_strings, the default since 9.1.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether somebody stands between: the process that the login named is not the one that answers.
pub(super) async fn pooler(session: &mut Session, address: &UpstreamAddress) -> Finding {
    let named = session.process_id;
    let (row, _) = match session
        .timed_row("select pg_catalog.pg_backend_pid()")
        .await
    {
        Ok(answer) => answer,
        Err(error) => return unanswered(&error),
    };
    let is_pool_port = matches!(address, UpstreamAddress::Tcp { port: 25061, .. });
    let answers: Option<u32> = number(&row, 0);
    let between = match named {
        Some(pid) => answers != Some(pid),
        None => true,
    };
    match between {
        false if is_pool_port => Finding::pass("none, though the port is 25061: the server itself answers"),
        false => Finding::pass("none: the server itself answers"),
        true => Finding::warn(
            "a pooler (PgBouncer) stands between: the login names another process than the one that answers",
            "use the server's direct port: port = 25060 in place of 25061; pgsluice pools by itself (pooling.pool_mode)",
            Topic::Pooler,
        ),
    }
    .figure("pooler", between)
}

/// Whether the role may do what applications do at their first start.
pub(super) async fn rights(session: &mut Session, account: &Account) -> Finding {
    let sql = "select pg_catalog.has_schema_privilege(oid, 'usage'), \
               pg_catalog.has_schema_privilege(oid, 'create'), \
               pg_catalog.pg_get_userbyid(nspowner), current_user \
               from pg_catalog.pg_namespace where nspname = 'public'";
    let rows = match session.rows(sql).await {
        Ok(rows) => rows,
        Err(error) => return unanswered(&error),
    };
    let Some(row) = rows.first() else {
        return Finding::not_applicable("there is no schema public");
    };
    let (user, database) = (&account.user, &account.database);
    let missing = match (text(row, 0), text(row, 1)) {
        ("t", "t") => {
            let evidence = format!("{user:?} may create tables in schema public of {database:?}");
            return Finding::pass(evidence);
        }
        ("t", _) => "may use schema public, and create nothing in it",
        _ => "may not use schema public",
    };
    let quoted = user.replace('"', "\"\"");
    Finding::warn(
        format!(
            "{user:?} {missing} of {database:?}: migrations would end with permission denied for schema public"
        ),
        format!(
            "as its owner ({}), in {database:?}: GRANT USAGE, CREATE ON SCHEMA public TO \"{quoted}\"",
            one_line(text(row, 2))
        ),
        Topic::SchemaPublic,
    )
}

/// How far the two clocks are apart, as far as the way there lets it be seen.
pub(super) async fn clock(session: &mut Session) -> Finding {
    let before = SystemTime::now();
    let sql = "select extract(epoch from pg_catalog.clock_timestamp())";
    let (row, took) = match session.timed_row(sql).await {
        Ok(answer) => answer,
        Err(error) => return unanswered(&error),
    };
    let local = before.duration_since(UNIX_EPOCH).unwrap_or_default() + took / 2;
    let Some(remote) = number::<f64>(&row, 0) else {
        return unanswered(&AskError::Lost("a time that is no number".to_owned()));
    };
    judge_clock(remote - local.as_secs_f64(), took / 2)
}

fn judge_clock(ahead: f64, uncertain: Duration) -> Finding {
    let side = if ahead < 0.0 { "behind" } else { "ahead of" };
    let apart = span(Duration::try_from_secs_f64(ahead.abs()).unwrap_or(Duration::MAX));
    let evidence = format!(
        "the server's clock is {apart} {side} this machine's (to within {})",
        span(uncertain)
    );
    let finding = match ahead.abs() - uncertain.as_secs_f64() > SKEW {
        false => Finding::pass(evidence),
        true => Finding::warn(
            evidence,
            "set this machine's clock: timedatectl set-ntp true; then check again",
            Topic::Clock,
        ),
    };
    finding.figure("skew_ms", (ahead * 1e6).round() / 1e3)
}

/// Least, median and most of some round trips.
pub(super) async fn latency(session: &mut Session) -> Finding {
    let mut times = Vec::new();
    for _ in 0..ROUND_TRIPS {
        match session.timed_row("select 1").await {
            Ok((_, took)) => times.push(took),
            Err(error) => return unanswered(&error),
        }
    }
    judge_latency(times)
}

fn judge_latency(mut times: Vec<Duration>) -> Finding {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    let (least, median) = (at(0), at(times.len() / 2));
    let most = at(times.len().saturating_sub(1));
    let [a, b, c] = [least, median, most].map(span);
    let evidence = format!(
        "select 1, {} times: least {a}, median {b}, most {c}",
        times.len()
    );
    let finding = match median > FAR {
        false => Finding::pass(evidence),
        true => Finding::warn(
            evidence,
            "run the application, or the cluster, in the other's region; a private network is nearer than the public one: try the private- host name",
            Topic::Latency,
        ),
    };
    finding
        .figure("min_ms", millis(least))
        .figure("median_ms", millis(median))
        .figure("max_ms", millis(most))
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    #[test]
    fn a_slow_answer_is_not_taken_for_a_wrong_clock() {
        let ms = Duration::from_millis;
        assert_eq!(judge_clock(-5.5, ms(1)).verdict, Verdict::Warn);
        assert_eq!(judge_clock(5.5, ms(900)).verdict, Verdict::Pass);
        let behind = judge_clock(-5.5, ms(1));
        assert!(behind.evidence.contains("5.5 s behind"), "{behind:?}");
        assert_eq!(behind.figures["skew_ms"], -5500.0);
    }

    #[test]
    fn one_slow_answer_does_not_make_a_server_far() {
        let ms = Duration::from_millis;
        let near = judge_latency(vec![ms(900), ms(1), ms(2)]);
        assert_eq!(near.verdict, Verdict::Pass);
        assert_eq!(near.figures["median_ms"], 2.0);
        assert_eq!(
            judge_latency(vec![ms(31), ms(40), ms(40)]).verdict,
            Verdict::Warn
        );
    }

    #[test]
    fn names_stay_within_their_literal() {
        assert_eq!(literal("o'clock"), "'o''clock'");
    }
}
