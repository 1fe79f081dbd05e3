//! What clients see of a server that is cut off, frozen, or refuses for a while.

use std::env;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::Places;
use crate::guest::{Fate, Outcome};
use crate::run::{make_tables, percentile, settle};
use crate::wire::{Connection, Target, Trouble};

const CLIENTS: u32 = 50;

/// Seconds in which the server is not to be had.
const AWAY: Duration = Duration::from_secs(5);

/// Longest time to the first answer after the server's return.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one client went through.
#[derive(Default)]
struct Log {
    fates: Vec<(u64, Fate)>,
    /// When confirmed rows were confirmed.
    confirmed: Vec<Instant>,
    lost: Vec<String>,
    refused: Vec<String>,
}

impl Log {
    /// Whether the connection is still there.
    fn note(&mut self, seq: u64, outcome: Result<bool, Trouble>) -> bool {
        let fate = match &outcome {
            Ok(true) => Fate::Confirmed,
            Ok(false) => Fate::Undone,
            Err(_) => Fate::Unknown,
        };
        self.fates.push((seq, fate));
        if fate == Fate::Confirmed {
            self.confirmed.push(Instant::now());
        }
        if let Err(error) = &outcome {
            self.lost.push(error.to_string());
        }
        outcome.is_ok()
    }
}

pub async fn recovery(places: &Places) -> Outcome {
    println!(
        "| server | clients | connections lost | refusals | first answer after its return, s: p50 | max |"
    );
    println!("|---|---|---|---|---|---|");
    // What a server confirms without having written it may be lost when it is killed.
    let mut superuser = Connection::open(&places.superuser).await?;
    for sql in [
        "alter system set synchronous_commit = on",
        "select pg_reload_conf()",
    ] {
        superuser.query(sql).await?;
    }
    superuser.leave().await;
    let mut wrong = Vec::new();
    for how in ["killed", "frozen", "refusing"] {
        if let Err(error) = suffer(places, how).await {
            wrong.push(format!("{how}: {error}"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

async fn suffer(places: &Places, how: &'static str) -> Outcome {
    make_tables(&places.direct).await?;
    let over = Arc::new(AtomicBool::new(false));
    let logs: Vec<Arc<Mutex<Log>>> = (0..CLIENTS).map(|_| Arc::default()).collect();
    let mut working = JoinSet::new();
    for (id, log) in logs.iter().enumerate() {
        let (target, log, over) = (places.proxy.clone(), Arc::clone(log), Arc::clone(&over));
        working.spawn(async move { insist(id as u32, &target, &log, &over).await });
    }
    sleep(Duration::from_secs(2)).await;
    let back = trouble(places, how).await?;
    // Until all have had an answer, or should have.
    let is_served = |log: &Arc<Mutex<Log>>| {
        log.lock()
            .confirmed
            .last()
            .is_some_and(|confirmed| *confirmed > back)
    };
    while back.elapsed() < PATIENCE && !logs.iter().all(is_served) {
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(1)).await;
    over.store(true, Ordering::Relaxed);
    let stopping = async { while working.join_next().await.is_some() {} };
    let stopped = timeout(PATIENCE, stopping).await.is_ok();
    let mut told = Vec::new();
    let (mut firsts, mut stuck, mut lost, mut refused) = (Vec::new(), 0, Vec::new(), Vec::new());
    for (id, log) in logs.iter().enumerate() {
        let log = log.lock();
        match log.confirmed.iter().find(|confirmed| **confirmed > back) {
            Some(first) => firsts.push(first.duration_since(back)),
            None => stuck += 1,
        }
        lost.extend(log.lost.iter().cloned());
        refused.extend(log.refused.iter().cloned());
        told.push((id as u32, log.fates.clone()));
    }
    firsts.sort_unstable();
    println!(
        "| {how} | {CLIENTS} | {} | {} | {:.2} | {:.2} |",
        lost.len(),
        refused.len(),
        percentile(&firsts, 50) / 1000.0,
        percentile(&firsts, 100) / 1000.0,
    );
    summary("lost", lost);
    summary("refused", refused);
    println!("{}", settle(&places.direct, &told).await?);
    if stuck > 0 || !stopped {
        return Err(format!(
            "{stuck} clients without an answer, all ended: {stopped}"
        ));
    }
    Ok(())
}

fn summary(what: &str, mut texts: Vec<String>) {
    texts.sort_unstable();
    let all = texts.clone();
    texts.dedup();
    for text in texts {
        println!(
            "  {what} {} times: {text}",
            all.iter().filter(|other| **other == text).count()
        );
    }
}

/// Inserts rows, and logs in again whenever its connection is lost.
async fn insist(id: u32, target: &Target, log: &Mutex<Log>, over: &AtomicBool) {
    let mut seq = 0;
    while !over.load(Ordering::Relaxed) {
        let mut connection = match Connection::open(target).await {
            Ok(connection) => connection,
            Err(error) => {
                log.lock().refused.push(format!("login {error}"));
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while !over.load(Ordering::Relaxed) {
            seq += 1;
            let outcome = insert(&mut connection, id, seq).await;
            if !log.lock().note(seq, outcome) {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether the row was confirmed; every third is a transaction of three statements.
async fn insert(connection: &mut Connection, id: u32, seq: u64) -> Result<bool, Trouble> {
    let row = format!("insert into ledger values ({id}, {seq})");
    if !seq.is_multiple_of(3) {
        let answer = connection.query(&row).await?;
        return Ok(answer.errors.is_empty());
    }
    let begun = connection.query("begin").await?;
    if !begun.errors.is_empty() {
        return Ok(false);
    }
    connection.query(&row).await?;
    let ended = connection.query("commit").await?;
    Ok(ended.tags == ["COMMIT"])
}

/// Takes the server away and brings it back; when it was back.
async fn trouble(places: &Places, how: &str) -> Outcome<Instant> {
    match how {
        "killed" => {
            server("kill").await?;
            sleep(AWAY).await;
            server("start").await?;
        }
        "frozen" => {
            server("freeze").await?;
            sleep(AWAY).await;
            server("thaw").await?;
        }
        _ => {
            let mut superuser = Connection::open(&places.superuser).await?;
            let (user, database) = (&places.proxy.user, &places.proxy.database);
            let refuse = format!(
                "alter database {database} connection limit 0; \
                 select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{user}'"
            );
            superuser.query(&refuse).await?;
            sleep(AWAY).await;
            let allow = format!("alter database {database} connection limit -1");
            superuser.query(&allow).await?;
        }
    }
    Ok(Instant::now())
}

async fn server(verb: &str) -> Outcome {
    let control = env::var("SERVER_CONTROL").map_err(|_| "SERVER_CONTROL is not set")?;
    let status = Command::new(control)
        .arg(verb)
        .stdout(Stdio::null())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("server {verb}: {other:?}")),
    }
}
