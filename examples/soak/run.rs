//! The soak itself: many clients on few connections, and the accounts at the end.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep};

use crate::Places;
use crate::guest::{Fate, Guest, Outcome, Shared};
use crate::wire::{Connection, Target};

/// What is seen of the proxy and of the server from outside, by time.
#[derive(Default)]
pub struct Seen {
    /// Resident memory of the proxy in KiB, and its descriptors.
    memory: Vec<u64>,
    descriptors: Vec<u64>,
    pub most_backends: u64,
}

pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |all| all.count() as u64)
}

/// Looks five times a second until all is over.
pub fn watch(places: &Places, shared: &Arc<Shared>) -> JoinHandle<Outcome<Seen>> {
    let (superuser, pid) = (places.superuser.clone(), places.proxy_pid);
    let (user, shared) = (places.proxy.user.clone(), Arc::clone(shared));
    tokio::spawn(async move {
        let mut seen = Seen::default();
        let mut server = Connection::open(&superuser).await?;
        let mut tick = interval(Duration::from_millis(200));
        let count = format!(
            "select count(*) from pg_stat_activity where backend_type = 'client backend' and usename = '{user}'"
        );
        while !shared.over.load(Ordering::Relaxed) {
            tick.tick().await;
            let answer = server.query(&count).await?;
            let backends = answer
                .one()
                .and_then(|count| count.parse().ok())
                .unwrap_or(u64::MAX);
            seen.most_backends = seen.most_backends.max(backends);
            seen.memory.push(resident(pid));
            seen.descriptors.push(descriptors(pid));
        }
        Ok(seen)
    })
}

fn mean(of: &[u64]) -> u64 {
    of.iter().sum::<u64>() / (of.len() as u64).max(1)
}

/// Means of the second fifth of the time and of the last: first steps take memory.
fn drift(of: &[u64]) -> (u64, u64) {
    let fifth = of.len() / 5;
    (mean(&of[fifth..2 * fifth]), mean(&of[of.len() - fifth..]))
}

pub fn percentile(sorted: &[Duration], of_100: usize) -> f64 {
    let at = (sorted.len() * of_100 / 100).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(0.0, |took| took.as_secs_f64() * 1000.0)
}

pub async fn make_tables(direct: &Target) -> Outcome {
    let mut server = Connection::open(direct).await?;
    let made = server
        .query("drop table if exists ledger; create table ledger (client int, seq bigint); drop sequence if exists numbers; create sequence numbers")
        .await?;
    if made.errors.is_empty() {
        Ok(())
    } else {
        Err(format!("{made:?}"))
    }
}

/// Compares the rows that there are with what their clients were told.
pub async fn settle(direct: &Target, told: &[(u32, Vec<(u64, Fate)>)]) -> Outcome<String> {
    let mut server = Connection::open(direct).await?;
    let answer = server
        .query("select client, seq, count(*) from ledger group by 1, 2")
        .await?;
    let number = |value: &Option<String>| value.as_deref().unwrap_or("0").parse().unwrap_or(0_u64);
    let mut rows: HashMap<(u64, u64), u64> = answer
        .rows
        .iter()
        .map(|row| ((number(&row[0]), number(&row[1])), number(&row[2])))
        .collect();
    let (mut confirmed, mut undone, mut unknown, mut wrong) = (0, 0, 0, Vec::new());
    for (client, fates) in told {
        for (seq, fate) in fates {
            let found = rows.remove(&(u64::from(*client), *seq)).unwrap_or(0);
            let right = match fate {
                Fate::Confirmed => found == 1,
                Fate::Undone => found == 0,
                Fate::Unknown => found <= 1,
            };
            if !right {
                wrong.push(format!("client {client} row {seq} {fate:?}: {found} times"));
            }
            match fate {
                Fate::Confirmed => confirmed += 1,
                Fate::Undone => undone += 1,
                Fate::Unknown => unknown += 1,
            }
        }
    }
    wrong.extend(rows.keys().map(|row| format!("row {row:?} of nobody")));
    if !wrong.is_empty() {
        wrong.truncate(10);
        return Err(format!("rows: {wrong:?}"));
    }
    Ok(format!(
        "rows: {confirmed} confirmed, {undone} undone, {unknown} unknown; none lost, none doubled"
    ))
}

/// What clients that are gone left on connections that stay.
async fn check_leftovers(places: &Places) -> Outcome {
    let mut server = Connection::open(&places.superuser).await?;
    let sql = "select (select count(*) from pg_locks where locktype = 'advisory'), \
               (select count(*) from pg_class where relname = 'mine' and relpersistence = 't'), \
               (select count(*) from pg_stat_activity where state like 'idle in transaction%')";
    let began = Instant::now();
    loop {
        let answer = server.query(sql).await?;
        let clean = answer.rows[0]
            .iter()
            .all(|count| count.as_deref() == Some("0"));
        if clean {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(10) {
            return Err(format!(
                "locks, temporary tables, transactions left: {:?}",
                answer.rows
            ));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn report(shared: &Shared, seen: &Seen, elapsed: Duration) {
    let done = shared.done.load(Ordering::Relaxed);
    println!(
        "{done} steps in {:.0} s, {:.0} a second; {} turned down for state, {} saw another's placeholder as blank, {} asked for currval in vain",
        elapsed.as_secs_f64(),
        done as f64 / elapsed.as_secs_f64(),
        shared.turned_down.load(Ordering::Relaxed),
        shared.blank.load(Ordering::Relaxed),
        shared.forgotten.load(Ordering::Relaxed),
    );
    let kinds = shared.kinds.lock();
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    println!("steps: {}", kinds.join(", "));
    let mut waits = shared.waits.lock().clone();
    waits.sort_unstable();
    println!(
        "a simple statement, ms: p50 {:.1}, p95 {:.1}, p99 {:.1}, max {:.1}",
        percentile(&waits, 50),
        percentile(&waits, 95),
        percentile(&waits, 99),
        percentile(&waits, 100),
    );
    println!("backends: at most {}", seen.most_backends);
    let (memory, descriptors) = (drift(&seen.memory), drift(&seen.descriptors));
    println!(
        "proxy: memory {} KiB early, {} late, at most {}; descriptors {} early, {} late, at most {}",
        memory.0,
        memory.1,
        seen.memory.iter().max().unwrap_or(&0),
        descriptors.0,
        descriptors.1,
        seen.descriptors.iter().max().unwrap_or(&0),
    );
}

fn check(seen: &Seen, clients: u32, cap: u64) -> Outcome {
    if seen.most_backends > cap {
        return Err(format!("{} backends, {cap} allowed", seen.most_backends));
    }
    let (early, late) = drift(&seen.memory);
    if late > early + early / 10 + 4096 {
        return Err(format!("memory grew from {early} to {late} KiB"));
    }
    let most = seen.descriptors.iter().max().copied().unwrap_or(0);
    // Cancels, and clients that left and are not quite gone, come on top.
    let due = u64::from(clients) * 6 / 5 + cap + 50;
    if most > due {
        return Err(format!("{most} descriptors"));
    }
    Ok(())
}

pub async fn run(places: &Places, minutes: f64, clients: u32, cap: u64) -> Outcome {
    make_tables(&places.direct).await?;
    let shared = Arc::new(Shared::default());
    let mut entering = JoinSet::new();
    let began = Instant::now();
    for id in 0..clients {
        let (target, shared) = (places.proxy.clone(), Arc::clone(&shared));
        entering.spawn(async move { Guest::enter(id, &target, &shared).await });
    }
    let mut guests = Vec::new();
    for guest in entering.join_all().await {
        guests.push(guest.map_err(|error| format!("enters: {error}"))?);
    }
    println!(
        "{clients} clients entered in {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let watching = watch(places, &shared);
    let began = Instant::now();
    let mut working = JoinSet::new();
    for mut guest in guests {
        working.spawn(async move {
            let outcome = guest.run(100).await;
            (outcome, guest.goodbye().await)
        });
    }
    let ending = Arc::clone(&shared);
    tokio::spawn(async move {
        sleep(Duration::from_secs_f64(minutes * 60.0)).await;
        ending.over.store(true, Ordering::Relaxed);
    });
    let (mut told, mut wrong) = (Vec::new(), Vec::new());
    while let Some(ended) = working.join_next().await {
        let (outcome, fates) = ended.map_err(|error| error.to_string())?;
        told.push(fates);
        if let Err(error) = outcome {
            // The first is the one that counts; others may only follow from it.
            shared.over.store(true, Ordering::Relaxed);
            wrong.push(format!(
                "after {:.1} s {error}",
                began.elapsed().as_secs_f64()
            ));
        }
    }
    let elapsed = began.elapsed();
    let seen = watching.await.map_err(|error| error.to_string())??;
    report(&shared, &seen, elapsed);
    if !wrong.is_empty() {
        wrong.truncate(20);
        return Err(format!("{} clients\n{}", wrong.len(), wrong.join("\n")));
    }
    check_leftovers(places).await?;
    println!("{}", settle(&places.direct, &told).await?);
    check(&seen, clients, cap)
}
