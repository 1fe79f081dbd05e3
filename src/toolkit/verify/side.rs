//! One of the two servers: sessions that see one snapshot and print values alike.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_postgres::SimpleQueryMessage;

use super::error::VerifyError;
use crate::toolkit::connect::{Session, Target};
use crate::wire::startup::CancelKey;

/// What a value's text depends on, and what may end or change a long comparison.
pub(crate) const PINNED: [(&str, &str); 15] = [
    // Names of types and tables come out with their schema, and nobody's function is taken
    // for Postgres's own.
    ("search_path", "pg_catalog"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    ("lc_monetary", "C"),
    ("xmlbinary", "base64"),
    ("quote_all_identifiers", "off"),
    // A policy that hides rows is an error, not a smaller table.
    ("row_security", "off"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "0"),
    ("jit", "off"),
    ("work_mem", "64MB"),
    // How much of the server is used is for --jobs to say.
    ("max_parallel_workers_per_gather", "0"),
];

/// A row of text: names of columns and values.
pub(crate) type TextRow = Vec<(String, Option<String>)>;

/// What a server says of itself.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) upstream: String,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) version: String,
    /// As 150004 for 15.4.
    pub(crate) version_number: u32,
    pub(crate) encoding: String,
    pub(crate) in_recovery: bool,
    /// Start of the server and the database's number: the same for the same database.
    pub(crate) identity: String,
    pub(crate) tls: String,
}

impl About {
    pub(crate) const fn major(&self) -> u32 {
        self.version_number / 10_000
    }
}

/// A snapshot that other sessions can see by, as long as its holder lives.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) position: String,
    /// The first transaction that it does not see.
    pub(crate) next_transaction: String,
}

#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) about: About,
    target: Target,
    /// A snapshot holds back the server's vacuum: it is exchanged when it is so old, and no
    /// statement runs longer.
    max_age: Duration,
    holder: tokio::sync::Mutex<Holder>,
    /// All snapshots so far.
    snapshots: Mutex<Vec<Snapshot>>,
    running: Mutex<Vec<CancelKey>>,
}

#[derive(Debug)]
struct Holder {
    session: Session,
    snapshot: Snapshot,
    taken: Instant,
}

const ABOUT: &str = "select current_setting('server_version') as version, \
    current_setting('server_version_num') as version_number, \
    current_setting('server_encoding') as encoding, pg_is_in_recovery() as in_recovery, \
    pg_postmaster_start_time() || ' ' || d.oid as identity \
    from pg_database d where d.datname = current_database()";

const EXPORT: &str = "select pg_export_snapshot() as id, \
    txid_snapshot_xmax(txid_current_snapshot()) as next_transaction, \
    case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end as position";

impl Side {
    pub(crate) async fn open(target: Target, max_age: Duration) -> Result<Self, VerifyError> {
        let session = target.connect().await?;
        let upstream = target.upstream().config().name.clone();
        let failed = |what, error| VerifyError::sql(&upstream, what, reason(&error));
        let told = |error| failed("asking for the version", error);
        let row = one(&session, ABOUT).await.map_err(told)?;
        let field = |name: &str| value(&row, name).unwrap_or_default().to_owned();
        let about = About {
            user: target.user().to_owned(),
            database: target.database().to_owned(),
            version: field("version"),
            version_number: field("version_number").parse().unwrap_or_default(),
            encoding: field("encoding"),
            in_recovery: field("in_recovery") == "t",
            identity: field("identity"),
            tls: session.tls().map_or_else(
                || "none".to_owned(),
                |tls| format!("{} {}", tls.version, tls.cipher),
            ),
            upstream: upstream.clone(),
        };
        let begin = begin(None, about.major(), Duration::ZERO);
        let told = |error| failed("taking a snapshot", error);
        let snapshot = take(&session, &begin).await.map_err(told)?;
        Ok(Self {
            about,
            target,
            max_age,
            snapshots: Mutex::new(vec![snapshot.clone()]),
            running: Mutex::new(session.key().cloned().into_iter().collect()),
            holder: tokio::sync::Mutex::new(Holder {
                session,
                snapshot,
                taken: Instant::now(),
            }),
        })
    }

    /// A session of its own, for [`Self::begin`].
    pub(crate) async fn session(&self) -> Result<Session, VerifyError> {
        let session = self.target.connect().await?;
        self.running.lock().extend(session.key().cloned());
        Ok(session)
    }

    /// Begins a transaction in the snapshot, with pinned settings.
    pub(crate) async fn begin(&self, session: &Session) -> Result<(), tokio_postgres::Error> {
        let snapshot = self.current().await?;
        let sql = begin(Some(&snapshot.id), self.about.major(), self.max_age);
        session.batch_execute(&sql).await
    }

    /// The snapshot in force; a new one if it has become too old.
    async fn current(&self) -> Result<Snapshot, tokio_postgres::Error> {
        let mut holder = self.holder.lock().await;
        if holder.taken.elapsed() > self.max_age {
            holder.session.batch_execute("rollback").await?;
            let begin = begin(None, self.about.major(), Duration::ZERO);
            holder.snapshot = take(&holder.session, &begin).await?;
            holder.taken = Instant::now();
            self.snapshots.lock().push(holder.snapshot.clone());
        }
        Ok(holder.snapshot.clone())
    }

    /// Runs one query in the holder's own transaction; a failure leaves it usable.
    pub(crate) async fn read(&self, sql: &str) -> Result<Vec<TextRow>, tokio_postgres::Error> {
        let holder = self.holder.lock().await;
        holder.session.batch_execute("savepoint reading").await?;
        let read = rows(&holder.session, sql).await;
        let end = match &read {
            Ok(_) => "release savepoint reading",
            Err(_) => "rollback to savepoint reading",
        };
        holder.session.batch_execute(end).await?;
        read
    }

    /// Every snapshot that was used, and one of now, to see what has happened since.
    pub(crate) async fn finish(&self) -> Result<(Vec<Snapshot>, Snapshot), tokio_postgres::Error> {
        let holder = self.holder.lock().await;
        holder.session.batch_execute("rollback").await?;
        let begin = begin(None, self.about.major(), Duration::ZERO);
        let now = take(&holder.session, &begin).await?;
        holder.session.batch_execute("rollback").await?;
        Ok((self.snapshots.lock().clone(), now))
    }

    /// Asks the server to end what is running.
    pub(crate) async fn cancel(&self) {
        let keys: Vec<_> = self.running.lock().clone();
        for key in &keys {
            // Whoever interrupts is not to wait; the server ends it at the latest when it answers.
            let _ = self.target.cancel(key).await;
        }
    }
}

async fn take(session: &Session, begin: &str) -> Result<Snapshot, tokio_postgres::Error> {
    session.batch_execute(begin).await?;
    let row = one(session, EXPORT).await?;
    let field = |name: &str| value(&row, name).unwrap_or_default().to_owned();
    Ok(Snapshot {
        id: field("id"),
        position: field("position"),
        next_transaction: field("next_transaction"),
    })
}

/// The beginning of a transaction. A timeout of zero is none.
fn begin(snapshot: Option<&str>, major: u32, timeout: Duration) -> String {
    let mut sql = "begin isolation level repeatable read read only;".to_owned();
    if let Some(id) = snapshot {
        sql += &format!("set transaction snapshot '{}';", id.replace('\'', "''"));
    }
    for (name, value) in PINNED {
        sql += &format!("set local {name} = '{value}';");
    }
    sql += &format!("set local statement_timeout = {};", timeout.as_millis());
    if major >= 17 {
        sql += "set local transaction_timeout = 0;";
    }
    sql
}

/// All rows of a query, as text.
pub(crate) async fn rows(
    session: &Session,
    sql: &str,
) -> Result<Vec<TextRow>, tokio_postgres::Error> {
    let messages = session.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let columns = row.columns().iter().enumerate();
            let pair = |(at, column): (usize, &tokio_postgres::SimpleColumn)| {
                (column.name().to_owned(), row.get(at).map(str::to_owned))
            };
            Some(columns.map(pair).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

async fn one(session: &Session, sql: &str) -> Result<TextRow, tokio_postgres::Error> {
    Ok(rows(session, sql)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default())
}

/// A value by its column's name.
pub(crate) fn value<'a>(row: &'a TextRow, name: &str) -> Option<&'a str> {
    let found = row.iter().find(|(column, _)| column == name);
    found.and_then(|(_, value)| value.as_deref())
}

/// A server's own words for why a statement failed.
pub(crate) fn reason(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} ({})", error.message(), error.code().code()),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_comes_before_everything_else_in_its_transaction() {
        let sql = begin(Some("00000003-1"), 17, Duration::from_secs(2));
        assert!(sql.starts_with(
            "begin isolation level repeatable read read only;set transaction snapshot '00000003-1';set local"
        ));
        assert!(sql.contains("statement_timeout = 2000;"), "{sql}");
        assert!(sql.contains("transaction_timeout = 0"), "{sql}");
        assert!(!begin(None, 16, Duration::ZERO).contains("transaction_timeout = 0"));
    }

    #[test]
    fn everything_that_changes_a_values_text_is_pinned() {
        let sql = begin(None, 15, Duration::ZERO);
        for name in [
            "search_path",
            "DateStyle",
            "IntervalStyle",
            "TimeZone",
            "bytea_output",
            "extra_float_digits",
            "lc_monetary",
            "xmlbinary",
            "row_security = 'off'",
        ] {
            assert!(sql.contains(&format!("set local {name}")), "{name}");
        }
    }
}
